local socket = require "socket"
local libevent = require "libevent"
local t = require "spec.helper"

local buffer = libevent.buffer

--- A buffer in which every piece is a chain of its own.
local function chained(...)
  local b = buffer()
  for _, piece in ipairs {...} do b:add(buffer(piece)) end
  return b
end

--- Both ends of a TCP connection of the loopback, as LuaSocket's objects.
local function sockets()
  local server = assert(socket.bind("127.0.0.1", 0))
  local address, port = server:getsockname()
  return assert(socket.connect(address, port)), assert(server:accept())
end

local function refused(message, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(message, err, 1, true)
end

--- The five styles on strings: position and length of the first end of a
--- line from 'from' on, or nil.
local function found(pattern)
  return function(s, from)
    local first, last = s:find(pattern, from)
    return first, first and last - first + 1
  end
end
local lineends = {any = found "[\r\n]+", crlf = found "\r?\n",
                  crlf_strict = found "\r\n", lf = found "\n",
                  nul = found "\0"}

describe("a buffer", function()
  before_each(t.start)
  after_each(t.finish)

  describe("is made", function()
    it("empty", function()
      local b = buffer()
      assert.equal(0, #b)
      assert.equal(0, b:length())
      assert.equal("", tostring(b))
    end)

    it("of a string, a number or a buffer, whose bytes it takes", function()
      local source = buffer "moved"
      assert.equal("moved", tostring(buffer(source)))
      assert.equal(0, #source)
      assert.equal("42", tostring(buffer(42)))
      assert.equal("", tostring(buffer ""))
      assert.equal("", tostring(buffer(nil)))
    end)

    it("of nothing else", function()
      for _, value in ipairs {true, {}, print, io.stdout} do
        refused("bad argument #1", function() return buffer(value) end)
        refused("string, number or Buffer expected", buffer, value)
      end
    end)
  end)

  describe("takes bytes", function()
    it("at its end, several strings, numbers and buffers at once", function()
      local b, source = buffer "a", buffer "c"
      assert.equal(b, b:add("b", source, 1, 2.5, ""))
      assert.equal("abc12.5", tostring(b))
      assert.equal(0, #source)
      assert.equal(b, b:add())
      assert.equal(7, #b)
    end)

    it("of any value and number", function()
      local all = {}
      for i = 0, 255 do all[#all + 1] = string.char(i) end
      local bytes = table.concat(all):rep(1000)
      local b = buffer(bytes):add("\0"):prepend "\0"
      assert.equal("\0" .. bytes .. "\0", tostring(b))
      assert.equal(256002, #b)
    end)

    it("at its start", function()
      local b, source = buffer "c", buffer "b"
      assert.equal(b, b:prepend(source))
      assert.equal(b, b:prepend "a")
      assert.equal("1.5abc", tostring(b:prepend(1.5)))
      assert.equal(0, #source)
    end)

    it("all or none of them", function()
      local b, source = buffer "a", buffer "b"
      refused("bad argument #3 to 'add'", function()
        b:add("x", source, {})
      end)
      refused("string, number or Buffer expected, got nil", b.add, b, nil)
      refused("string, number or Buffer expected, got no value",
              b.prepend, b)
      refused("string, number or Buffer expected", b.prepend, b, {})
      refused("Buffer is closed", b.add, b, source, buffer():close())
      assert.equal("a", tostring(b))
      assert.equal("b", tostring(source))
    end)
  end)

  describe("gives bytes", function()
    it("from its start, with remove", function()
      local b = chained("ab", "cd", "ef")
      assert.equal("", b:remove(0))
      assert.equal("abc", b:remove(3))
      assert.equal("def", b:remove())
      assert.equal("", b:remove())
      assert.equal("", b:remove(7))
    end)

    it("back to nobody, with drain", function()
      local b = chained("ab", "cd", "ef")
      assert.equal(b, b:drain(0))
      assert.equal("def", tostring(b:drain(3)))
      assert.equal(0, #b:drain())
      assert.equal(0, #b:drain(7))
    end)

    it("as a copy, from any position, with copyout", function()
      local b = chained("ab", "cd", "ef")
      for from = 1, 7 do
        for n = 0, 8 do
          assert.equal(("abcdef"):sub(from, from + n - 1),
                       b:copyout(n, from))
        end
        assert.equal(("abcdef"):sub(from), b:copyout(nil, from))
      end
      assert.equal("abcdef", b:copyout())
      assert.equal("", buffer():copyout(5, 1))
      assert.equal(6, #b)
    end)

    it("no more than it has, whatever the number", function()
      local b = buffer "abc"
      assert.equal("bc", b:copyout(math.maxinteger, 2))
      assert.equal("abc", b:remove(math.maxinteger))
      assert.equal(0, #b:add("d"):drain(math.maxinteger))
      local other = buffer()
      assert.equal(1, buffer("e"):remove_buffer(other, math.maxinteger))
    end)

    it("in counts from 0 and positions from 1 only", function()
      local b = buffer "abc"
      for _, n in ipairs {-1, 1.5, 0/0, 2^63, "1", math.mininteger} do
        for _, name in ipairs {"remove", "drain", "copyout"} do
          refused("integer from 0 to", b[name], b, n)
        end
        refused("integer from 0 to", b.readln, b, "lf", n)
        refused("integer from 0 to", b.remove_buffer, b, buffer(), n)
      end
      for _, from in ipairs {-1, 0, 5, 1.5, "1"} do
        refused("integer from 1 to 4", b.copyout, b, 1, from)
        refused("integer from 1 to 4", b.search, b, "a", from)
        refused("integer from 1 to 4", b.search_eol, b, "lf", from)
      end
      assert.equal("abc", tostring(b))
    end)

    it("of megabytes as they came", function()
      local mega = ("0123456789abcdef"):rep(2 ^ 18)
      local b = buffer(mega):add(mega)
      assert.equal(#mega * 2, #b)
      assert.equal("abcdef", b:copyout(6, #mega - 5))
      assert.is_true(b:remove(#mega) == mega)
      assert.is_true(tostring(b) == mega)
    end)
  end)

  describe("moves bytes", function()
    it("to the end or the start of another", function()
      local b, source = buffer "b", buffer "c"
      assert.equal(b, b:add_buffer(source))
      assert.equal(b, b:prepend_buffer(source:add "a"))
      assert.equal("abc", tostring(b))
      assert.equal(0, #source)
      assert.equal("abc", tostring(b:add_buffer(source)))
      assert.equal("abc", tostring(b:prepend_buffer(source)))
    end)

    it("as many as told", function()
      local b, to = chained("ab", "cd", "ef"), buffer "x"
      assert.equal(0, b:remove_buffer(to, 0))
      assert.equal(3, b:remove_buffer(to, 3))
      assert.equal("def", tostring(b))
      assert.equal("xabc", tostring(to))
      assert.equal(3, b:remove_buffer(to, 100))
      assert.equal(0, b:remove_buffer(to, 100))
      assert.equal("xabcdef", tostring(to))
    end)

    it("to itself without a change", function()
      local b = chained("ab", "cd")
      assert.equal("abcd", tostring(b:add(b)))
      assert.equal("abcd", tostring(b:prepend(b)))
      assert.equal("abcd", tostring(b:add_buffer(b)))
      assert.equal("abcd", tostring(b:prepend_buffer(b)))
      refused("another Buffer expected", b.remove_buffer, b, b, 1)
      assert.equal("abcdef", tostring(b:add("e", b, b, "f")))
    end)

    it("to and from buffers only", function()
      local b = buffer "a"
      for _, name in ipairs {"add_buffer", "prepend_buffer"} do
        refused("libevent.Buffer expected, got string", b[name], b, "x")
      end
      refused("libevent.Buffer expected", b.remove_buffer, b, {}, 1)
      assert.equal("a", tostring(b))
    end)
  end)

  describe("is searched", function()
    it("for bytes, across chains", function()
      local b = chained("a\0b", "c", "da\0", "bcd")
      assert.equal(1, b:search "a\0bcd")
      assert.equal(6, b:search("a\0bcd", 2))
      assert.equal(10, b:search("d", 6))
      assert.is_nil(b:search "ac")
      assert.is_nil(b:search("a", 7))
      assert.is_nil(buffer():search "a")
      refused("string expected", b.search, b, nil)
    end)

    it("from one position to another", function()
      local b = chained("ab", "ca", "bc")
      assert.equal(4, b:search("abc", 2, 6))
      assert.is_nil(b:search("abc", 2, 5))
      assert.is_nil(b:search("abc", 1, 2))
      assert.is_nil(b:search("a", 1, 0))
      assert.is_nil(b:search("a", 4, 3))
      assert.equal(4, b:search("a", 2, math.maxinteger))
      refused("integer from 0 to", b.search, b, "a", 1, -1)
    end)

    it("for nothing, which is anywhere", function()
      assert.equal(1, buffer():search "")
      assert.equal(1, buffer("ab"):search "")
      assert.equal(3, buffer("ab"):search("", 3))
    end)

    it("like the string that it holds, whatever its chains", function()
      local seed = math.random(1 << 30)
      math.randomseed(seed)
      local letters = {"a", "b", "\r", "\n", "\0"}
      local function text(n)
        local s = {}
        for i = 1, math.random(0, n) do s[i] = letters[math.random(5)] end
        return table.concat(s)
      end
      local function case()
        local b = chained(text(4), text(4), text(4), text(4))
        local s, what = tostring(b), text(3)
        local from, to = math.random(#s + 1), math.random(0, #s + 1)
        local said = ("seed %d, %q in %q, %d to %d"):format(seed, what, s,
                                                            from, to)
        local wanted = from <= to + 1 and s:sub(1, to):find(what, from, true)
        assert.equal(wanted or nil, b:search(what, from, to), said)
        for style, find in pairs(lineends) do
          local position, length = b:search_eol(style, from)
          local first, n = find(s, from)
          assert.equal(first, position, style .. " " .. said)
          assert.equal(n, length, style .. " " .. said)
        end
      end
      for _ = 1, 500 do case() end
    end)
  end)

  describe("has lines", function()
    local text = "a\nb\r\nc\r\r\n\n\0d\re"
    local lines = {
      lf = {"a", "b\r", "c\r\r", "", rest = "\0d\re"},
      crlf = {"a", "b", "c\r", "", rest = "\0d\re"},
      crlf_strict = {"a\nb", "c\r", rest = "\n\0d\re"},
      any = {"a", "b", "c", "\0d", rest = "e"},
      nul = {"a\nb\r\nc\r\r\n\n", rest = "d\re"},
    }

    for style, wanted in pairs(lines) do
      it("that end in " .. style .. ", over any border of chains", function()
        for size = 1, #text do
          local b = buffer()
          for at = 1, #text, size do
            b:add(buffer(text:sub(at, at + size - 1)))
          end
          for _, line in ipairs(wanted) do
            assert.equal(line, b:readln(style))
          end
          assert.same({n = 1}, table.pack(b:readln(style)))
          assert.equal(wanted.rest, tostring(b))
        end
      end)
    end

    it("that end in crlf unless told otherwise", function()
      local b = buffer "a\r\nb\nc\r"
      assert.same({2, 2}, {b:search_eol()})
      assert.same({5, 1}, {b:search_eol(nil, 4)})
      assert.equal("a", b:readln())
      assert.equal("b", b:readln())
      assert.is_nil(b:readln())
      assert.is_nil(b:search_eol())
      assert.equal("c\r", tostring(b))
    end)

    it("of no style but the five", function()
      local b = buffer "a\n"
      for _, style in ipairs {"cr", "", "LF", 1, true} do
        refused("one of any, crlf, crlf_strict, lf, nul", b.readln, b, style)
        refused("one of any, crlf, crlf_strict, lf, nul",
                b.search_eol, b, style)
      end
      assert.equal(2, #b)
    end)

    it("not longer than a maximum, ended or not", function()
      local b = buffer "abc\ndef"
      assert.same({nil, "line too long"}, {b:readln("lf", 2)})
      assert.equal("abc\ndef", tostring(b))
      assert.equal("abc", b:readln("lf", 3))
      assert.same({}, {b:readln("lf", 3)})
      assert.same({nil, "line too long"}, {b:readln("lf", 2)})
      assert.equal("", buffer("\n"):readln("lf", 0))
      assert.is_nil(buffer():readln("lf", 0))
    end)
  end)

  describe("reads and writes descriptors:", function()
    it("a pipe, up to its end", function()
      local pipe = io.popen("printf 'a\\0bc'", "r")
      local b = buffer "x"
      assert.equal(2, b:read(pipe, 2))
      assert.equal(2, b:read(pipe))
      assert.equal(0, b:read(pipe))
      assert.equal("xa\0bc", tostring(b))
      pipe:close()
    end)

    it("sockets, both ways", function()
      local client, server = sockets()
      local b, got = buffer("request"), buffer()
      assert.equal(3, b:write(client, 3))
      assert.equal("uest", tostring(b))
      assert.equal(4, b:write(client:getfd()))
      assert.equal(0, #b)
      while #got < 7 do assert(got:read(server, 7 - #got) > 0) end
      assert.equal("request", tostring(got))
      client:close()
      assert.equal(0, got:read(server))
    end)

    it("a bufferevent's", function()
      local base = t.base()
      local client, server = sockets()
      local bev = base:bufferevent(server)
      assert.equal(2, buffer("hi"):write(bev))
      assert.equal("hi", client:receive(2))
    end)

    it("of many pieces, all of which arrive", function()
      local client, server = sockets()
      local b, got, pieces = buffer(), buffer(), {}
      for i = 1, 300 do
        pieces[i] = ("%03d"):format(i)
        b:add(buffer(pieces[i]))
      end
      while #b > 0 do assert(b:write(client) > 0) end
      while #got < 900 do assert(got:read(server) > 0) end
      assert.equal(table.concat(pieces), tostring(got))
    end)

    it("nothing, when there is nothing or nothing is asked for", function()
      local client = sockets()
      assert.equal(0, buffer():write(client))
      local b = buffer "a"
      assert.equal(0, b:write(client, 0))
      assert.equal("a", tostring(b))
    end)

    it("what the system refuses it tells", function()
      local client, server = sockets()
      client:settimeout(0)
      local b = buffer "a"
      assert.same({nil, "Resource temporarily unavailable", 11},
                  {b:read(client)})
      local null = io.open("/dev/null", "r")
      assert.same({nil, "Bad file descriptor", 9}, {b:write(null)})
      assert.equal(0, b:read(null))
      server:close()
      local ok, message, errno
      repeat ok, message, errno = b:add("b"):write(client) until not ok
      assert.same({"Broken pipe", 32}, {message, errno})
      null:close()
    end)

    it("what is no open descriptor is an error", function()
      local closed = io.tmpfile()
      closed:close()
      local b = buffer "a"
      for _, name in ipairs {"read", "write"} do
        refused("descriptor -1 is not open", b[name], b, -1)
        refused("file is closed", b[name], b, closed)
        refused("descriptor, file or object with getfd expected",
                b[name], b, "1")
        refused("to 9223372036854775807 expected", b[name], b, io.stdout, -1)
      end
      refused("integer from 1 to", b.read, b, io.stdout, 0)
      assert.equal("a", tostring(b))
    end)
  end)

  describe("is closed", function()
    it("once and for all", function()
      local b = buffer "a"
      assert.equal(b, b:close())
      assert.equal(b, b:close())
      assert.equal("libevent.Buffer (closed)", tostring(b))
      refused("Buffer is closed", function() return #b end)
      for name, method in pairs(debug.getmetatable(b).__index) do
        if name ~= "close" then refused("Buffer is closed", method, b) end
      end
    end)

    it("as an argument too, and then nothing moves", function()
      local b, closed = buffer "a", buffer():close()
      for _, name in ipairs {"add", "prepend", "add_buffer",
                             "prepend_buffer", "remove_buffer"} do
        refused("Buffer is closed", b[name], b, closed, 1)
      end
      refused("Buffer is closed", buffer, closed)
      assert.equal("a", tostring(b))
    end)

    it("at the end of its block", function()
      local kept
      do
        local b <close> = buffer "a"
        kept = b
      end
      assert.equal("libevent.Buffer (closed)", tostring(kept))
    end)
  end)
end)

describe("a bufferevent's buffer", function()
  before_each(t.start)
  after_each(t.finish)

  it("is the same object each time", function()
    local bev = t.base():bufferevent()
    assert.is_true(rawequal(bev:input(), bev:input()))
    assert.is_true(rawequal(bev:output(), bev:output()))
    assert.is_false(rawequal(bev:input(), bev:output()))
  end)

  it("takes no bytes at the end of an input", function()
    local bev, other = t.base():bufferevent(), buffer "ab"
    local input = bev:input()
    for _, f in ipairs {
      function() input:add "x" end,
      function() input:add(other) end,
      function() input:add_buffer(other) end,
      function() other:remove_buffer(input, 1) end,
      function() input:read(0) end,
    } do refused("the end of an input is frozen", f) end
    assert.equal(0, #input)
    assert.equal("ab", tostring(other))
    assert.equal("pre", input:prepend("pre"):remove())
  end)

  it("gives no bytes from the start of an output", function()
    local bev, other = t.base():bufferevent(), buffer "ab"
    local output = bev:output():add "out"
    for _, f in ipairs {
      function() output:remove(1) end,
      function() output:drain() end,
      function() output:readln() end,
      function() output:prepend "x" end,
      function() output:prepend_buffer(other) end,
      function() output:remove_buffer(other, 1) end,
      function() output:write(1) end,
      function() other:add("x", output) end,
      function() other:prepend(output) end,
      function() other:add_buffer(output) end,
      function() buffer(output) end,
    } do refused("the start of an output is frozen", f) end
    assert.equal("ab", tostring(other))
    assert.equal("out", output:copyout())
    assert.equal(2, output:search "u")
  end)

  it("is not closed by its own close, but with its owner", function()
    local bev, other = t.base():bufferevent(), buffer "a"
    local input, output = bev:input(), bev:output()
    assert.equal(input, input:close())
    assert.equal(0, #input)
    bev:close()
    for _, b in ipairs {input, output} do
      assert.equal("libevent.Buffer (closed)", tostring(b:close()))
      refused("Bufferevent is closed", function() return #b end)
      refused("Bufferevent is closed", other.add, other, b)
      for name, method in pairs(debug.getmetatable(b).__index) do
        if name ~= "close" then
          refused("Bufferevent is closed", method, b)
        end
      end
    end
    assert.equal("a", tostring(other))
  end)

  it("is closed with the base", function()
    local base = t.base()
    local input = base:bufferevent():input()
    base:close()
    refused("Bufferevent is closed", input.length, input)
  end)

  it("keeps its owner", function()
    local base = t.base()
    local input = base:bufferevent():input()
    collectgarbage() collectgarbage()
    assert.equal(0, #input)
  end)

  it("goes from one connection to the next without a copy", function()
    local base = t.base()
    t.connected(base, t.expect(function(server, client)
      server:setcb(t.expect(function(s)
        s:output():add_buffer(s:input())
        assert.equal(0, #s:input())
      end)):enable "read"
      client:setcb(t.expect(function(c)
        assert.equal("hello", c:input():readln())
        server:close()
        c:close()
      end)):enable "read"
      client:write "hello\r\n"
    end))
    t.run(base)
  end)
end)
