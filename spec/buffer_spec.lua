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

    it("whatever empty chains the two have", function()
      local function empty(b)
        return b:expand(3000):add(buffer "x"):drain(#b):expand(5000)
      end
      local function full(b) return b:expand(4000):add "abcdef" end
      for _, source in ipairs {empty, full} do
        for _, to in ipairs {empty, full} do
          for n = 0, 7 do
            for _, name in ipairs {"add_buffer", "prepend_buffer",
                                   "remove_buffer"} do
              local a, b = to(buffer()), source(buffer())
              local s = tostring(b)
              local old = tostring(a)
              if name == "remove_buffer" then
                assert.equal(math.min(n, #s), b:remove_buffer(a, n))
                assert.equal(old .. s:sub(1, n), tostring(a))
                assert.equal(s:sub(n + 1), tostring(b))
              else
                a[name](a, b:drain(n))
                s = s:sub(n + 1)
                assert.equal(name == "add_buffer" and old .. s or s .. old,
                             tostring(a))
                assert.equal(0, #b)
              end
              assert.equal(tostring(a) .. "!", tostring(a:add "!"))
              assert.equal(tostring(b) .. "!", tostring(b:add "!"))
            end
          end
        end
      end
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

  describe("refers to bytes of another", function()
    it("which stay there, and may go", function()
      local b, source = buffer "a", chained("bc", "de")
      assert.equal(b, b:add_buffer_reference(source))
      assert.equal("abcde", tostring(b))
      assert.equal("bcde", tostring(source))
      source:drain(1)
      b:drain(2)
      assert.equal("cde", tostring(source))
      assert.equal("cde", tostring(b))
      source:add("!"):prepend "<"
      b:add("?"):prepend ">"
      assert.equal("<cde!", tostring(source))
      assert.equal(">cde?", tostring(b))
      source:close()
      collectgarbage() collectgarbage()
      assert.equal(">cde?", tostring(b))
      assert.equal(">cde?", b:remove())
    end)

    it("several times, and from several buffers", function()
      local large = ("x"):rep(100000)
      local source, list = chained("ab", large, "cd"), {}
      for i = 1, 10 do
        list[i] = buffer(i):add_buffer_reference(source)
          :add_buffer_reference(source)
      end
      source = nil -- luacheck: ignore
      collectgarbage() collectgarbage()
      for i, b in ipairs(list) do
        assert.is_true(tostring(b) == i .. ("ab" .. large .. "cd"):rep(2))
      end
    end)

    it("where one of the two has nothing but room", function()
      local b = buffer():expand(5000)
      assert.equal("ab", tostring(b:add_buffer_reference(chained("a", "b"))))
      b = buffer("x"):drain():expand(1)
      assert.equal(0, #b:add_buffer_reference(buffer():expand(10)))
      assert.equal(0, #b:add_buffer_reference(buffer()))
      assert.equal("y", tostring(b:add "y"))
    end)

    it("unless they are somebody else's, or its own", function()
      local source = buffer "a"
      local b = buffer("b"):add_buffer_reference(source)
      local c = buffer "c"
      refused("its own bytes are another Buffer's", c.add_buffer_reference, c,
              b)
      refused("another Buffer expected", c.add_buffer_reference, c, c)
      refused("libevent.Buffer expected", c.add_buffer_reference, c, "x")
      refused("Buffer is closed", c.add_buffer_reference, c, buffer():close())
      assert.equal("c", tostring(c))
      assert.equal("ba", tostring(b))
    end)

    it("of 2 gigabytes and more, and moves them", function()
      local source = buffer(("x"):rep(2 ^ 24))
      local b, to = buffer(), buffer()
      for _ = 1, 160 do b:add_buffer_reference(source) end
      assert.equal(160 * 2 ^ 24, #b)
      assert.equal(2 ^ 31 + 7, b:remove_buffer(to, (2 ^ 31 | 0) + 7))
      assert.equal(2 ^ 31 + 7, #to)
      assert.equal(160 * 2 ^ 24 - 2 ^ 31 - 7, #b)
      assert.equal("xx", to:copyout(3, (2 ^ 31 | 0) + 6))
      assert.equal(160 * 2 ^ 24, #to:add(b))
      assert.equal(5, #to:drain(160 * (2 ^ 24 | 0) - 5))
    end)
  end)

  describe("is looked at piece by piece", function()
    it("from any position, with peek", function()
      local b = chained("abc", "d", "ef")
      for from, piece in ipairs {"abc", "bc", "c", "d", "ef", "f"} do
        assert.equal(piece, b:peek(from))
      end
      assert.equal("abc", b:peek())
      assert.is_nil(b:peek(7))
      refused("integer from 1 to 7", b.peek, b, 8)
      refused("integer from 1 to 7", b.peek, b, 0)
      assert.is_nil(buffer():peek())
      assert.is_nil(buffer():expand(10):peek())
      assert.equal("abcdef", tostring(b))
    end)

    it("in a loop, with chunks", function()
      local pieces = {}
      for piece in chained("abc", "d", "ef"):chunks() do
        pieces[#pieces + 1] = piece
      end
      assert.same({"abc", "d", "ef"}, pieces)
      for _ in buffer():chunks() do error "there is none" end
    end)

    it("while it changes", function()
      local b, pieces = chained("ab", "cd", "ef", "gh"), {}
      for piece in b:chunks() do
        pieces[#pieces + 1] = piece
        if #pieces == 1 then b:drain(1) end
        if #pieces == 2 then b:add(buffer "ij") end
        if #pieces == 4 then b:drain() end
      end
      assert.same({"ab", "d", "ef", "gh"}, pieces)
      b = chained("ab", "cd")
      local next = b:chunks()
      assert.equal("ab", next())
      b:close()
      refused("Buffer is closed", next)
    end)

    it("of which the first has a length", function()
      local b = chained("abc", "d")
      assert.equal(3, b:contiguous_space())
      assert.equal(1, b:drain(3):contiguous_space())
      assert.equal(0, b:drain():contiguous_space())
      assert.equal(0, buffer():contiguous_space())
    end)
  end)

  describe("is given room", function()
    it("which is no content", function()
      for _, n in ipairs {0, 1, 1000, 5000, 100000} do
        local b = chained("ab", "cd")
        assert.equal(b, b:expand(n))
        assert.equal("abcd", tostring(b))
        b:add("ef"):expand(n):prepend("<"):expand(n):add(buffer "gh")
        assert.equal("<abcdefgh", tostring(b))
        assert.equal("x", tostring(buffer():expand(n):add "x"))
      end
    end)

    it("not without end", function()
      local b = buffer "a"
      refused("not enough memory", b.expand, b, math.maxinteger)
      for _, n in ipairs {-1, 1.5, "1", 2^63} do
        refused("integer from 0 to", b.expand, b, n)
      end
      refused("integer from 0 to", b.expand, b)
      assert.equal("ab", tostring(b:add "b"))
    end)
  end)

  describe("with frozen ends", function()
    local starts = {
      remove = function(b) b:remove(1) end,
      drain = function(b) b:drain() end,
      readln = function(b) b:readln() end,
      prepend = function(b) b:prepend "x" end,
      prepend_buffer = function(b, other) b:prepend_buffer(other) end,
      remove_buffer = function(b, other) b:remove_buffer(other, 1) end,
      write = function(b) b:write(1) end,
      ["another's add"] = function(b, other) other:add("x", b) end,
      ["another's prepend"] = function(b, other) other:prepend(b) end,
      ["another's add_buffer"] = function(b, other) other:add_buffer(b) end,
      ["a new one"] = function(b) buffer(b) end,
    }
    local ends = {
      add = function(b) b:add "x" end,
      ["add of nothing"] = function(b) b:add() end,
      add_buffer = function(b, other) b:add_buffer(other) end,
      add_buffer_reference = function(b, other)
        b:add_buffer_reference(other)
      end,
      add_file = function(b)
        local f <close> = io.tmpfile()
        b:add_file(f)
      end,
      read = function(b) b:read(0) end,
      expand = function(b) b:expand(1) end,
      ["another's remove_buffer"] = function(b, other)
        other:remove_buffer(b, 1)
      end,
    }

    local function check(b, cases, message)
      local text, other = tostring(b), buffer "other"
      for name, f in pairs(cases) do
        local ok, err = pcall(f, b, other)
        assert.is_false(ok, name)
        assert.matches(message, err, 1, true)
      end
      assert.equal(text, tostring(b))
      assert.equal("other", tostring(other))
    end

    it("gives nothing at its start, and takes nothing there", function()
      local b = buffer "ab\n"
      assert.equal(b, b:freeze "start")
      check(b, starts, "the start of the buffer is frozen")
      assert.equal("ab\nc", tostring(b:add "c"))
      assert.equal("ab", b:copyout(2))
      assert.equal(2, b:search "b")
      assert.equal("ab\nc", b:peek())
      assert.equal(b, b:unfreeze "start")
      assert.equal("ab", b:readln())
    end)

    it("takes nothing at its end", function()
      local b = buffer "ab\n"
      assert.equal(b, b:freeze "end")
      check(b, ends, "the end of the buffer is frozen")
      assert.equal("ab", b:prepend("<"):remove(3):sub(2))
      assert.equal("\nc", tostring(b:unfreeze("end"):add "c"))
    end)

    it("does neither, unless told otherwise", function()
      local b = buffer "ab"
      b:freeze()
      check(b, starts, "the start of the buffer is frozen")
      check(b, ends, "the end of the buffer is frozen")
      b:unfreeze "end"
      check(b, starts, "the start of the buffer is frozen")
      b:freeze("end"):unfreeze "start"
      check(b, ends, "the end of the buffer is frozen")
      assert.equal("abc", tostring(b:unfreeze():unfreeze():add "c"))
      b:freeze "start|end"
      refused("frozen", b.add, b, "d")
      refused("unknown word 'both'", b.freeze, b, "both")
      refused("words of (start, end)", b.unfreeze, b, 1)
      b:close()
    end)

    it("belongs to its bufferevent, if it has one", function()
      local bev = t.base():bufferevent()
      for _, b in ipairs {bev:input(), bev:output()} do
        refused("the Bufferevent freezes its buffers itself", b.freeze, b)
        refused("the Bufferevent freezes its buffers itself", b.unfreeze, b,
                "start")
      end
      check(bev:input(), ends, "the end of an input is frozen")
      check(bev:output():add "out", starts, "the start of an output is frozen")
    end)
  end)

  it("is what the same string would be, after any changes", function()
    local seed = math.random(1 << 30)
    math.randomseed(seed)
    local random = math.random
    local function text()
      local n = random(20) == 1 and random(40000) or random(0, 30)
      return ("%d\r\n"):format(random(1000)):rep(n // 4 + 1):sub(1, n)
    end
    local path = t.path()
    local file = assert(io.open(path, "w+"))
    os.remove(path)
    local b, s, other, o = buffer(), "", buffer(), ""
    local changes = {
      function() local x = text() b:add(x) s = s .. x end,
      function() local x = text() b:prepend(x) s = x .. s end,
      function() local x = text() b:add(buffer(x)) s = s .. x end,
      function() local x = text() b:prepend(buffer(x)) s = x .. s end,
      function() local x = text() other:add(x) o = o .. x end,
      function() b:add(other) s, o = s .. o, "" end,
      function() b:prepend_buffer(other) s, o = o .. s, "" end,
      function() b:add_buffer(other) s, o = s .. o, "" end,
      function()
        local n = random(0, #s + 5)
        assert.equal(math.min(n, #s), b:remove_buffer(other, n))
        s, o = s:sub(n + 1), o .. s:sub(1, n)
      end,
      function()
        local n = random(0, #s // 2 + 5)
        assert.is_true(b:remove(n) == s:sub(1, n))
        s = s:sub(n + 1)
      end,
      function()
        local n = random(0, #s // 2 + 5)
        b:drain(n)
        s = s:sub(n + 1)
      end,
      function()
        local line, last = s:match "^(.-)\r?\n()"
        assert.is_true(b:readln() == line)
        s = s:sub(last or 1)
      end,
      function() b:expand(random(5000)) end,
      function()
        local x = text()
        b:add_buffer_reference(buffer(x))
        s = s .. x
      end,
      function()
        local x = text()
        file:seek "set"
        file:write(x):flush()
        b:add_file(file, 0, #x)
        s = s .. x
      end,
      function()
        local x = text()
        file:seek "set"
        file:write(x):flush()
        file:seek "set"
        local n = 0
        while n < #x do n = n + b:read(file, #x - n) end
        s = s .. x
      end,
      function() other:drain() o = "" end,
    }
    for i = 1, 3000 do
      local said = ("seed %d, change %d"):format(seed, i)
      changes[random(#changes)]()
      if #s > 200000 then
        b:drain(190000)
        s = s:sub(190001)
      end
      assert.is_true(#b == #s and #other == #o, said)
      assert.is_true(tostring(b) == s and tostring(other) == o, said)
      if i % 100 == 0 then
        local pieces = {}
        for piece in b:chunks() do pieces[#pieces + 1] = piece end
        assert.is_true(table.concat(pieces) == s, said)
        assert.equal(pieces[1] and #pieces[1] or 0, b:contiguous_space())
        local at = random(#s + 1)
        assert.is_true(b:copyout(100, at) == s:sub(at, at + 99), said)
      end
    end
    file:close()
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

    it("that end twice in any, when their end comes in two pieces", function()
      local b = buffer "a\r"
      assert.equal("a", b:readln "any")
      b:add "\nb\r\n"
      assert.equal("", b:readln "any")
      assert.equal("b", b:readln "any")
      assert.is_nil(b:readln "any")
      b:add "c\r"
      assert.is_nil(b:readln "crlf")
      assert.equal("c", b:add("\n"):readln "crlf")
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

    it("as much as there is, at once", function()
      local client, server = sockets()
      server:settimeout(0)
      local bytes = ("0123456789"):rep(20000)
      local sent = assert(client:send(bytes))
      assert.equal(#bytes, sent)
      local got = buffer()
      local n = got:read(server)
      assert.is_true(n > 4096)
      while #got < sent do assert(got:read(server)) end
      assert.is_true(tostring(got) == bytes)
      client:send(bytes)
      assert.equal(5000, got:drain():read(server, 5000))
      assert.equal(1, got:read(server, 1))
      while #got < sent do assert(got:read(server, 70000) <= 70000) end
      assert.is_true(tostring(got) == bytes)
    end)

    it("a file on disk", function()
      local file <close> = io.tmpfile()
      local bytes = ("0123456789"):rep(100000)
      file:write(bytes):seek "set"
      local got = buffer()
      assert.equal(256 * 1024, got:read(file))
      assert.equal(7, got:read(file, 7))
      repeat until assert(got:read(file)) == 0
      assert.is_true(tostring(got) == bytes)
      file:seek("set", 5000000000)
      assert.equal(0, got:read(file))
    end)

    it("what does not say how much there is", function()
      local zero <close> = io.open "/dev/zero"
      local got = buffer()
      assert.equal(4096, got:read(zero))
      assert.equal(1000, got:read(zero, 1000))
      assert.equal(("\0"):rep(5096), tostring(got))
    end)

    it("a datagram at a time, whole", function()
      local receiver, sender = socket.udp4(), socket.udp4()
      assert(receiver:setsockname("127.0.0.1", 0))
      receiver:settimeout(0)
      assert(sender:setpeername(receiver:getsockname()))
      local sizes, got = {1, 5000, 0, 60000, 300}, buffer()
      for _, size in ipairs(sizes) do
        assert(sender:send(("d"):rep(size)))
      end
      local before = 0
      for _, size in ipairs(sizes) do
        assert.equal(size, got:read(receiver))
        assert.equal(before + size, #got)
        before = #got
      end
      assert.same({nil, "Resource temporarily unavailable", 11},
                  {got:read(receiver)})
      sender:send "a datagram"
      assert.equal(1, got:drain():read(receiver, 1))
      assert.equal("a", tostring(got))
      assert.is_nil(got:read(receiver))
    end)

    it("into the room that is left, whatever it is", function()
      local pipe = io.popen("printf %060000d 0", "r")
      local got, n = buffer "<", 0
      got:add(buffer()):add(("y"):rep(20000)):expand(100)
      for i = 1, math.huge do
        local count = assert(got:read(pipe, i))
        if count == 0 then break end
        n = n + count
        if i % 3 == 0 then got:expand(i) end
        if i % 7 == 0 then got:add "z" n = n + 1 end
        assert.equal(n + 20001, #got)
      end
      pipe:close()
      local bytes = tostring(got):gsub("z", "")
      assert.is_true(bytes == "<" .. ("y"):rep(20000) .. ("0"):rep(60000))
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
      function() input:expand(1) end,
      function() input:add_buffer_reference(other) end,
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
