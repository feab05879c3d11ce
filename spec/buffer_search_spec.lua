local libevent = require "libevent"
local t = require "spec.helper"

local buffer, chained, raises = libevent.buffer, t.chained, t.raises

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

  describe("is searched", function()
    it("for bytes, across chains", function()
      local b = chained("a\0b", "c", "da\0", "bcd")
      assert.equal(1, b:search "a\0bcd")
      assert.equal(6, b:search("a\0bcd", 2))
      assert.equal(10, b:search("d", 6))
      assert.is_nil(b:search "ac")
      assert.is_nil(b:search("a", 7))
      assert.is_nil(buffer():search "a")
      raises("string expected", b.search, b, nil)
    end)

    it("from one position to another", function()
      local b = chained("ab", "ca", "bc")
      assert.equal(4, b:search("abc", 2, 6))
      assert.is_nil(b:search("abc", 2, 5))
      assert.is_nil(b:search("abc", 1, 2))
      assert.is_nil(b:search("a", 1, 0))
      assert.is_nil(b:search("a", 4, 3))
      assert.equal(4, b:search("a", 2, math.maxinteger))
      raises("integer from 0 to", b.search, b, "a", 1, -1)
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
        raises("one of any, crlf, crlf_strict, lf, nul", b.readln, b, style)
        raises("one of any, crlf, crlf_strict, lf, nul",
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
end)
