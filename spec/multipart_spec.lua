--- libevent.multipart: multipart bodies as they arrive.

local http = require "libevent.http"
local t = require "spec.helper"

local MUCH = 2^20 // t.slow                   -- bytes of what is hostile
local FORM = "multipart/form-data; boundary=AaB"

local function body(...)
  return table.concat({...}, "\r\n")
end

local PART = 'Content-Disposition: form-data; name="a"'
local FILE = PART .. '; filename="f.txt"'

--- 'text' in pieces of a given length, or up to -length, at random.
local function cut(text, length)
  local pieces, at = {}, 1
  while at <= #text do
    local n = length > 0 and length or math.random(0, -length)
    pieces[#pieces + 1] = text:sub(at, at + n - 1)
    at = at + n
  end
  return pieces
end

--- What the callbacks of a parser hear of these pieces: {headers, name,
--- filename, data, complete} of each part, and the message of an error.
local function hear(content_type, pieces, options)
  local parser, message = http.multipart(content_type, options)
  local heard, part = {}, nil
  local function on_part(headers, name, filename)
    part = {headers = headers, name = name, filename = filename, data = {}}
    heard[#heard + 1] = part
  end
  local function on_data(data)
    assert(#data > 0, "an empty piece")
    part.data[#part.data + 1] = data
  end
  local function on_end()
    part.complete = true
  end
  for _, piece in ipairs(pieces) do
    if not parser then break end
    parser, message = parser:feed(piece, on_part, on_data, on_end)
  end
  if parser then parser, message = parser:feed(nil) end
  heard.message = not parser and message or nil
  for _, known in ipairs(heard) do known.data = table.concat(known.data) end
  return heard
end

--- {name, filename, data} of each part of a body that is complete.
local function parts(text, content_type, options)
  local heard = hear(content_type or FORM, {text}, options)
  assert.is_nil(heard.message)
  local list = {}
  for i, part in ipairs(heard) do
    assert.is_true(part.complete)
    list[i] = {part.name, part.filename or false, part.data}
  end
  return list
end

--- The message for a body that is refused.
local function refused(text, content_type, options)
  return hear(content_type or FORM, {text}, options).message
end

describe("A multipart parser", function()
  it("tells of each part, its content and its end", function()
    local parser = http.multipart(FORM)
    local heard = {}
    local function note(what)
      return function(...) heard[#heard + 1] = {what, ...} end
    end
    local headers = {
      {"Content-Disposition", 'form-data; name="a"; filename="f.txt"'},
      {"CONTENT-TYPE", "text/plain"}, {"X^", "1"}, {"x^", ""},
      ["content-disposition"] = 'form-data; name="a"; filename="f.txt"',
      ["content-type"] = "text/plain", ["x^"] = "1",
    }
    assert.equal(parser, parser:feed(
      body("--AaB", FILE, "CONTENT-TYPE:text/plain", "X^: \t1\t ", "x^:",
           "",
           "one", "two", "--AaB", PART, "", "", "--AaB--", ""),
      note "part", note "data", note "end"))
    assert.same({
      {"part", headers, "a", "f.txt"}, {"data", "one\r\ntwo"}, {"end"},
      {"part", {{"Content-Disposition", 'form-data; name="a"'},
                ["content-disposition"] = 'form-data; name="a"'}, "a"}, {"end"},
    }, heard)
    assert.equal(parser, parser:feed(nil))
  end)

  it("needs no callbacks", function()
    local parser = http.multipart(FORM)
    assert.equal(parser, parser:feed(body("--AaB", PART, "", "x", "--AaB--")))
    assert.equal(parser, parser:feed())
  end)

  for name, text in pairs {
    ["a preamble and an epilogue"] = body("hello", "--Aa", "-- AaB", "--AaB",
      PART, "", "x", "--AaB--", "--AaB", "nothing", "\0"),
    ["blanks behind a boundary"] = body("--AaB \t ", PART, "", "x", "--AaB--"),
    ["blanks behind the last boundary"] = body("--AaB", PART, "", "x",
                                               "--AaB-- \t", "", "--AaB"),
    ["an empty line before the first boundary"] = body("", "--AaB", PART, "",
                                                       "x", "--AaB--"),
    ["no end of line behind the last boundary"] = body("--AaB", PART, "", "x",
                                                       "--AaB--"),
  } do
    it("takes " .. name, function()
      assert.same({{"a", false, "x"}}, parts(text))
    end)
  end

  it("gives content as it is, whatever it looks like", function()
    for _, data in ipairs {
      "", "\r", "\n", "\r\n", "\r\n\r\n", "-", "--", "--Aa", "\r\n--",
      "\r\n--Aa", "\r\n--Aa\r\n", "\r\r\n--Aa", "\r\n-AaB", "\n--AaB\n",
      "\r--AaB", "\r\n\r\n--aAB", "x--AaB--", " --AaB", "\r\n --AaB",
      "\0\255\r\0\n",
      "\r\n--A\r\n--Aa\r\n-", "\r\n--Aa\r", "--AaC", "\n--AaB--",
    } do
      local text = body("--AaB", PART, "", data, "--AaB", FILE, "", data,
                        "--AaB--")
      assert.same({{"a", false, data}, {"a", "f.txt", data}}, parts(text))
    end
  end)

  it("takes an empty part without an end of line of its own", function()
    assert.same({{"a", false, ""}, {"a", false, ""}},
                parts(body("--AaB", PART, "", "--AaB", PART, "", "--AaB--")))
  end)

  it("takes no part at all", function()
    assert.same({}, parts "--AaB--")
  end)

  for disposition, names in pairs {
    ['form-data; name=a'] = {"a"},
    ['form-data; name=""'] = {""},
    ['Form-Data;NAME="a";FileName=b'] = {"a", "b"},
    ['form-data ; name="a" ; filename="b" ;'] = {"a", "b"},
    ['form-data;\tname="a"'] = {"a"},
    ['form-data; filename=""; name="a"'] = {"a", ""},
    ['form-data; name="a;b=\\"c\\"\\\\"'] = {'a;b="c"\\'},
    ['form-data; name="a"; filename="C:\\d\\x.txt"'] = {"a", "C:\\d\\x.txt"},
    ['form-data; name="a"; filename="%22x%22"'] = {"a", "%22x%22"},
    ['form-data; name="na\u{ef}ve"; filename="\u{20ac}"'] = {"na\u{ef}ve",
                                                             "\u{20ac}"},
    ['form-data; name="a"; filename="../../x"'] = {"a", "../../x"},
    ['form-data; name="a"; filename*=UTF-8\'\'%e2%82%ac%20rates'] =
      {"a", "\u{20ac} rates"},
    ['form-data; name="a"; filename="x"; filename*=utf-8\'en\'y'] = {"a", "y"},
    ['form-data; name="a"; filename*="utf-8\'\'y"; filename="x"'] = {"a", "y"},
    ['form-data; name="a"; filename*=ISO-8859-1\'\'%A3'] = {"a", "\u{a3}"},
  } do
    it("understands " .. disposition, function()
      assert.same({{names[1], names[2] or false, "x"}},
        parts(body("--AaB", "content-disposition: " .. disposition, "", "x",
                   "--AaB--")))
    end)
  end

  for _, disposition in ipairs {
    "", "form-data", 'form-data; filename="a"', 'attachment; name="a"',
    'form-data; name="a"; name="b"', 'form-data; name="a', 'form-data; name=',
    'form-data; name= a', '@form-data; name="a"',
    'form-data; name="a\\"', 'form-data; name="a" x', 'form-data; ="a"',
    'form-data name="a"', 'form-data; name = "a"', 'form-data;; name="a"',
    'form-data; name=a b', '; name="a"', 'form-data; name="a"b',
    'form-data; name="a"; filename="b"; FILENAME="c"',
    'form-data; name="a"; filename*=b',
    'form-data; name="a"; filename*=utf-8\'b',
    'form-data; name="a"; filename*=utf-8\'\'%e2%82',
    'form-data; name="a"; filename*=utf-8\'\'%', 'form-data, name="a"',
    'form-data; name="a"; filename*=utf-8\'\'a%00b',
    'form-data; name="a"; filename*=utf-8\'\'a%0d%0ab',
    'form-data; name="a"; filename*=koi8-r\'\'a',
  } do
    it("refuses Content-Disposition: " .. disposition, function()
      assert.equal("bad Content-Disposition",
        refused(body("--AaB", "Content-Disposition: " .. disposition, "", "x",
                     "--AaB--")))
    end)
  end

  for message, texts in pairs {
    ["bad Content-Disposition"] = {body("--AaB", "", "x", "--AaB--"),
      body("--AaB", "Content-Type: text/plain", "", "x", "--AaB--")},
    ["bad header"] = {
      body("--AaB", PART, PART, "", ""), body("--AaB", PART, "x", "", ""),
      body("--AaB", PART, "x : y", "", ""), body("--AaB", PART, ": y", "", ""),
      body("--AaB", PART, "x: y\0", "", ""), body("--AaB", " " .. PART, "", ""),
      body("--AaB", PART, " folded", "", ""), body("--AaB", PART .. "\n\n"),
      body("--AaB", PART, "x: \ry", "", ""), body("--AaB", PART, "\n"),
      body("--AaB", PART, "--AaB--", ""), body("--AaB", PART, "x: \127", ""),
    },
    ["bad boundary line"] = {
      "--AaBb\r\n", "--AaB\n", "--AaB\rx", "--AaB-\r\n", "--AaB --\r\n",
      "--AaB-x", "--AaB x", body("--AaB", PART, "", "x", "--AaBx"),
    },
    ["the last boundary is missing"] = {
      "", "x", "--Aa", "--AaB", "--AaB\r\n", body("--AaB", PART), "--AaB-",
      body("--AaB", PART, "", ""), body("--AaB", PART, "", "x", "--AaB", ""),
      body("--AaB", PART, "", "x", "--AaB-"), body("x--AaB--"),
    },
  } do
    it("returns nil, '" .. message .. "'", function()
      for _, text in ipairs(texts) do assert.equal(message, refused(text)) end
    end)
  end

  it("repeats an error for whatever follows", function()
    local parser = http.multipart(FORM)
    for _ = 1, 2 do
      assert.same({nil, "bad boundary line"},
                  {parser:feed("--AaB!", t.never())})
    end
    assert.same({nil, "bad boundary line"}, {parser:feed(nil)})
    parser = http.multipart(FORM)
    for _, data in ipairs {false, body("--AaB", PART, "", "x", "--AaB--")} do
      assert.same({nil, "the last boundary is missing"},
                  {parser:feed(data or nil)})
    end
  end)

  it("takes other multipart types, whose parts need no name", function()
    for _, kind in ipairs {"mixed", "byteranges", "x-mixed-replace"} do
      local heard = hear("multipart/" .. kind .. "; boundary=AaB",
        {body("--AaB", "", "one", "--AaB", "A: b", "", "two", "--AaB",
              "Content-Disposition: attachment; filename=x", "", "three",
              "--AaB--")})
      assert.is_nil(heard.message)
      assert.same({{}, nil, "one"}, {heard[1].headers, nil, heard[1].data})
      assert.same({"b", "two"}, {heard[2].headers.a, heard[2].data})
      assert.same({"x", "three"}, {heard[3].filename, heard[3].data})
    end
  end)

  describe("hears the same", function()
    --- Bodies that are right, or nearly.
    local function invent()
      local list = {math.random(4) == 1 and "preamble\r\n" or ""}
      local function add(s) list[#list + 1] = s end
      local pieces = {"\r", "\n", "\r\n", "-", "--", "\r\n--", "\r\n--Aa", "A",
                      "\r\n--A", "x", "\0", "AaB", "--AaC"}
      for _ = 1, math.random(0, 4) do
        add(math.random(8) == 1 and "--AaB \t\r\n" or "--AaB\r\n")
        add(math.random(2) == 1 and FILE or PART)
        add(math.random(4) == 1 and "\r\nX: " .. ("y"):rep(70) or "")
        add "\r\n\r\n"
        for _ = 1, math.random(0, 8) do
          local piece = pieces[math.random(#pieces)]
          if not (list[#list] .. piece):find("\r\n--AaB", 1, true) then
            add(piece)
          end
        end
        add "\r\n"
      end
      add "--AaB--"
      add(math.random(4) == 1 and "\r\nepilogue" or "")
      return table.concat(list)
    end

    local function agree(text, options)
      local whole = hear(FORM, {text}, options)
      for _, length in ipairs {1, 2, 3, 7, -3, -20} do
        assert.same(whole, hear(FORM, cut(text, length), options), text)
      end
      return whole
    end

    it("byte by byte, at once, or cut anywhere", function()
      math.randomseed(1)
      local complete = 0
      for _ = 1, 1000 // t.slow do
        local heard = agree(invent())
        if not heard.message then complete = complete + #heard end
      end
      assert.is_true(complete > 500 // t.slow)
    end)

    it("of damaged bodies, too", function()
      math.randomseed(2)
      local messages = {}
      for _ = 1, 2000 // t.slow do
        local text = invent()
        local at = math.random(#text)
        local bytes = {"", "\r", "\n", "-", "\r\n", "\0", " ", ";", '"', ":"}
        text = text:sub(1, at - 1) .. bytes[math.random(#bytes)]
               .. text:sub(at + math.random(0, 1))
        if math.random(4) == 1 then text = text:sub(1, math.random(#text)) end
        local heard = agree(text, {max_parts = 3, max_headers_size = 130})
        messages[heard.message or "none"] = true
      end
      for _, message in ipairs {"none", "bad header", "bad boundary line",
                                "the last boundary is missing",
                                "headers too large", "too many parts",
                                "bad Content-Disposition"} do
        assert.is_true(messages[message], message)
      end
    end)
  end)

  describe("has limits", function()
    it("to the bytes of a header", function()
      local header = body(PART, "", "")           -- as it is counted
      local text = body("--AaB", PART, "", "x", "--AaB", PART, "", "y",
                        "--AaB--")
      assert.equal(2, #parts(text, FORM, {max_headers_size = #header}))
      assert.equal("headers too large", refused(text, FORM,
                                       {max_headers_size = #header - 1}))
      local long = "--AaB\r\nx: " .. ("y"):rep(16384)
      assert.equal("headers too large", refused(long))
      assert.equal("the last boundary is missing",
                   refused(long, FORM, {max_headers_size = false}))
    end)

    it("to the number of parts", function()
      local part = body("--AaB", PART, "", "x", "")
      assert.equal(1000, #parts(part:rep(1000) .. "--AaB--"))
      assert.equal("too many parts", refused(part:rep(1001) .. "--AaB--"))
      assert.equal(1001, #parts(part:rep(1001) .. "--AaB--", FORM,
                                {max_parts = false}))
      assert.equal("too many parts", refused(part, FORM, {max_parts = 0}))
    end)

    it("to what it keeps", function()
      local parser = http.multipart(FORM)
      parser:feed(body("--AaB", PART, "", ""))
      local piece = ("\r\n--Aa"):rep(10000)
      collectgarbage() collectgarbage()
      local before = collectgarbage "count"
      for _ = 1, 50 do assert(parser:feed(piece)) end
      collectgarbage() collectgarbage()
      assert.is_true(collectgarbage "count" - before < 64)
    end)
  end)

  describe("needs time in proportion", function()
    local function soon(f)
      local start = os.clock()
      f()
      local seconds = os.clock() - start
      assert.is_true(seconds < 10 * t.slow, seconds .. " seconds")
    end

    local boundary = ("A"):rep(70)
    local kind = "multipart/form-data; boundary=" .. boundary
    local start = body("--" .. boundary, PART, "", "")

    for _, nearly in ipairs {
      "\r", "\n", "-", "A", "\r\n", "\r\n-", "\r\n--", "\r\n--A",
      "\r\n--" .. boundary:sub(2), "\r\n--" .. boundary:sub(2) .. "\r",
    } do
      it(("for %q again and again"):format(nearly), function()
        local text = nearly:rep(MUCH // #nearly)
        soon(function() hear(kind, {start, text}) end)
        soon(function() hear(kind, {text}) end)
        soon(function()
          local parser = http.multipart(kind)
          parser:feed(start)
          for at = 1, MUCH // 8 do assert(parser:feed(text:sub(at, at))) end
        end)
      end)
    end

    it("for many parts at once", function()
      local part = body("--AaB", PART, "", "x", "")
      local text = part:rep(MUCH // #part) .. "--AaB--"
      local n = 0
      soon(function()
        local parser = http.multipart(FORM, {max_parts = false})
        assert(parser:feed(text, function() n = n + 1 end))
      end)
      assert.equal(MUCH // #part, n)
    end)

    it("for headers, byte by byte too", function()
      local n = MUCH // 8
      for _, line in ipairs {
        "x: " .. ("y "):rep(n // 2), "x: " .. (" "):rep(n) .. "y",
        ("x:\r\n"):rep(1000), (" "):rep(n), ("\r"):rep(n),
        PART .. ("; a"):rep(n // 3), PART .. (";"):rep(n),
        PART .. '; a="' .. ("\\"):rep(n),
      } do
        local text = "--AaB\r\n" .. line .. "\r\n\r\n"
        local options = {max_headers_size = false}
        soon(function() hear(FORM, {text}, options) end)
        soon(function() hear(FORM, cut(text, 1), options) end)
      end
    end)

    it("for blanks behind a boundary", function()
      local parser = http.multipart(FORM)
      parser:feed "--AaB"
      soon(function()
        for _ = 1, MUCH // 8 do assert(parser:feed " ") end
      end)
      assert.same({nil, "bad boundary line"}, {parser:feed "--"})
    end)
  end)

  it("raises for what it cannot take", function()
    local parser = http.multipart(FORM)
    t.raises("bad argument #1 to 'feed' (string expected, got table)",
             parser.feed, parser, {})
    t.raises("bad argument #2 to 'feed' (function expected, got string)",
             parser.feed, parser, "", "x")
    t.raises("bad argument #4 to 'feed' (function expected, got table)",
             parser.feed, parser, "", nil, nil, {})
    t.raises("calling 'feed' on bad self (libevent.MultipartParser expected, "
             .. "got string)", parser.feed, "x")
    assert.is_false(pcall(setmetatable, parser, {}))
  end)

  it("raises when it is fed by its own callback, or after its error", function()
    local parser = http.multipart(FORM)
    t.raises("oh no", parser.feed, parser, body("--AaB", PART, "", "x"),
             t.expect(function()
      t.raises("feed is called by its own callback", parser.feed, parser, "")
      error "oh no"
    end))
    t.raises("or after an error of one", parser.feed, parser, "x")
  end)
end)

describe("http.multipart", function()
  for boundary, raw in pairs {
    ["AaB"] = "AaB", ["----WebKitFormBoundary7MA4YWxkTrZu0gW"] =
      "----WebKitFormBoundary7MA4YWxkTrZu0gW",
    ["----=_Part_1_2.3"] = "----=_Part_1_2.3", ["a b"] = '"a b"',
    ["'()+_,-./:=?"] = '"\'()+_,-./:=?"', ["0"] = "0",
    [("x"):rep(70)] = ("x"):rep(70),
  } do
    it("takes the boundary " .. raw, function()
      assert.same({{"a", false, "x"}},
        parts(body("--" .. boundary, PART, "", "x", "--" .. boundary .. "--"),
              "Multipart/Form-Data; charset=utf-8; Boundary=" .. raw))
    end)
  end

  for content_type, message in pairs {
    [""] = "bad Content-Type", ["multipart/form-data boundary=a"] =
      "bad Content-Type",
    ["multipart/form-data; boundary=a; boundary=b"] = "bad Content-Type",
    ['multipart/form-data; boundary="a'] = "bad Content-Type",
    ["multipart/form-data; boundary"] = "bad Content-Type",
    ["multipart"] = "not multipart", ["multipart/"] = "not multipart",
    ["text/plain; boundary=a"] = "not multipart",
    ["x-multipart/form-data; boundary=a"] = "not multipart",
    ["multipart/form-data"] = "bad boundary",
    ['multipart/form-data; boundary=""'] = "bad boundary",
    ['multipart/form-data; boundary="a "'] = "bad boundary",
    ['multipart/form-data; boundary="a*"'] = "bad boundary",
    ['multipart/form-data; boundary="a\r\nb"'] = "bad boundary",
    ["multipart/form-data; boundary=" .. ("x"):rep(71)] = "bad boundary",
  } do
    it(("returns nil, '%s' for %q"):format(message, content_type), function()
      assert.same({nil, message}, {http.multipart(content_type)})
    end)
  end

  it("returns nil for a header that is not there", function()
    assert.same({nil, "no Content-Type"}, {http.multipart(nil)})
  end)

  it("raises for what it cannot take", function()
    for message, args in pairs {
      ["#1 to 'multipart' (string expected, got table)"] = {{}},
      ["#2 to 'multipart' (table of options expected, got number)"] = {FORM, 1},
      ["#2 to 'multipart' (unknown option 'max' (known: max_headers_size, "
       .. "max_parts))"] = {FORM, {max = 1}},
      ["#2 to 'multipart' (option 'max_parts': integer from 0 on, or false, "
       .. "expected, got -1)"] = {FORM, {max_parts = -1}},
      ["#2 to 'multipart' (option 'max_parts': integer from 0 on, or false, "
       .. "expected, got string)"] = {FORM, {max_parts = "1"}},
      ["#2 to 'multipart' (option 'max_headers_size': integer from 0 on, or "
       .. "false, expected, got 1.5)"] = {FORM, {max_headers_size = 1.5}},
    } do
      t.raises("bad argument " .. message, http.multipart, args[1], args[2])
    end
  end)
end)
