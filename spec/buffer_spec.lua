local libevent = require "libevent"
local t = require "spec.helper"

local buffer = libevent.buffer
local chained, raises = t.chained, t.raises

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
        raises("bad argument #1", function() return buffer(value) end)
        raises("string, number or Buffer expected", buffer, value)
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
      raises("bad argument #3 to 'add'", function()
        b:add("x", source, {})
      end)
      raises("string, number or Buffer expected, got nil", b.add, b, nil)
      raises("string, number or Buffer expected, got no value",
              b.prepend, b)
      raises("string, number or Buffer expected", b.prepend, b, {})
      raises("Buffer is closed", b.add, b, source, buffer():close())
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
          raises("integer from 0 to", b[name], b, n)
        end
        raises("integer from 0 to", b.readln, b, "lf", n)
        raises("integer from 0 to", b.remove_buffer, b, buffer(), n)
      end
      for _, from in ipairs {-1, 0, 5, 1.5, "1"} do
        raises("integer from 1 to 4", b.copyout, b, 1, from)
        raises("integer from 1 to 4", b.search, b, "a", from)
        raises("integer from 1 to 4", b.search_eol, b, "lf", from)
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
      raises("another Buffer expected", b.remove_buffer, b, b, 1)
      assert.equal("abcdef", tostring(b:add("e", b, b, "f")))
    end)

    it("to and from buffers only", function()
      local b = buffer "a"
      for _, name in ipairs {"add_buffer", "prepend_buffer"} do
        raises("libevent.Buffer expected, got string", b[name], b, "x")
      end
      raises("libevent.Buffer expected", b.remove_buffer, b, {}, 1)
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
      raises("its own bytes are another Buffer's", c.add_buffer_reference, c,
              b)
      raises("another Buffer expected", c.add_buffer_reference, c, c)
      raises("libevent.Buffer expected", c.add_buffer_reference, c, "x")
      raises("Buffer is closed", c.add_buffer_reference, c, buffer():close())
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
      raises("integer from 1 to 7", b.peek, b, 8)
      raises("integer from 1 to 7", b.peek, b, 0)
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
      raises("Buffer is closed", next)
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
      raises("not enough memory", b.expand, b, math.maxinteger)
      for _, n in ipairs {-1, 1.5, "1", 2^63} do
        raises("integer from 0 to", b.expand, b, n)
      end
      raises("integer from 0 to", b.expand, b)
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
      raises("frozen", b.add, b, "d")
      raises("unknown word 'both'", b.freeze, b, "both")
      raises("words of (start, end)", b.unfreeze, b, 1)
      b:close()
    end)

    it("belongs to its bufferevent, if it has one", function()
      local bev = t.base():bufferevent()
      for _, b in ipairs {bev:input(), bev:output()} do
        raises("the Bufferevent freezes its buffers itself", b.freeze, b)
        raises("the Bufferevent freezes its buffers itself", b.unfreeze, b,
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

  describe("is closed", function()
    it("once and for all", function()
      local b = buffer "a"
      assert.equal(b, b:close())
      assert.equal(b, b:close())
      assert.equal("libevent.Buffer (closed)", tostring(b))
      raises("Buffer is closed", function() return #b end)
      for name, method in pairs(debug.getmetatable(b).__index) do
        if name ~= "close" then raises("Buffer is closed", method, b) end
      end
    end)

    it("as an argument too, and then nothing moves", function()
      local b, closed = buffer "a", buffer():close()
      for _, name in ipairs {"add", "prepend", "add_buffer",
                             "prepend_buffer", "remove_buffer"} do
        raises("Buffer is closed", b[name], b, closed, 1)
      end
      raises("Buffer is closed", buffer, closed)
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
    } do raises("the end of an input is frozen", f) end
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
    } do raises("the start of an output is frozen", f) end
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
      raises("Bufferevent is closed", function() return #b end)
      raises("Bufferevent is closed", other.add, other, b)
      for name, method in pairs(debug.getmetatable(b).__index) do
        if name ~= "close" then
          raises("Bufferevent is closed", method, b)
        end
      end
    end
    assert.equal("a", tostring(other))
  end)

  it("is closed with the base", function()
    local base = t.base()
    local input = base:bufferevent():input()
    base:close()
    raises("Bufferevent is closed", input.length, input)
  end)

  it("is the same one, even if a finalizer asks for it meanwhile", function()
    local text, status = t.lua [[
      local base = require "libevent".base()
      local bev, made
      local asked = 0
      local last = {__gc = function()
        if not bev then return end
        made = bev:input():add_cb(function() end, base)
        bev:output():add_cb(function() end, base)
      end}
      collectgarbage("incremental", 100, 400)
      for _ = 1, 2000 do
        bev = base:bufferevent()
        setmetatable({}, last)
        local input = bev:input()
        if made then
          assert(rawequal(made, input))
          asked = asked + 1
        end
        bev:close()
        bev, made = nil, nil
      end
      base:close()
      print(asked > 0)
    ]]
    assert.truthy(text == "true\n" or os.getenv "LUA_INIT", text)
    assert.equal(0, status)
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
