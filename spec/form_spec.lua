--- libevent.form: what forms send, read and written.

local http = require "libevent.http"
local t = require "spec.helper"

local MUCH = 2^20 // t.slow                   -- bytes of what is hostile
local URLENCODED = "application/x-www-form-urlencoded"

local function soon(f, ...)
  local start = os.clock()
  f(...)
  local seconds = os.clock() - start
  assert.is_true(seconds < 20 * t.slow, seconds .. " seconds")
end

--- A random string, of bytes that mean something and of others.
local function random(max)
  local list, special = {}, "\r\n-=&%+;\"\\' \0"
  for i = 1, math.random(0, max) do
    local k = math.random(#special * 2)
    list[i] = k <= #special and special:sub(k, k)
              or string.char(math.random(0, 255))
  end
  return table.concat(list)
end

--- Pairs as a list of fields.
local function list(...)
  local fields = {...}
  for _, pair in ipairs(fields) do
    fields[pair[1]] = fields[pair[1]] or pair[2]
  end
  return fields
end

describe("http.parse_query", function()
  for query, fields in pairs {
    ["a=1&b=2"] = list({"a", "1"}, {"b", "2"}),
    ["a=1&b=2&a=3"] = list({"a", "1"}, {"b", "2"}, {"a", "3"}),
    ["a&b=1&c="] = list({"a", ""}, {"b", "1"}, {"c", ""}),
    ["a=b=c"] = list({"a", "b=c"}),
    ["=x"] = list({"", "x"}),
    ["="] = list({"", ""}),
    ["a+b=c+d%2B"] = list({"a b", "c d+"}),
    ["%61%3d=%26%00"] = list({"a=", "&\0"}),
    ["&&a=1&"] = list({"a", "1"}),
    [""] = {}, ["&"] = {},
    ["1=one&2=two"] = list({"1", "one"}, {"2", "two"}),
    ["a=%&b=%4&%zz=%C3%BC"] = list({"a", "%"}, {"b", "%4"}, {"%zz", "\u{fc}"}),
    ["a=%2541"] = list({"a", "%41"}),
    ["a;b=1;c"] = list({"a;b", "1;c"}),
  } do
    it(("reads '%s'"):format(query), function()
      assert.same(fields, http.parse_query(query))
    end)
  end

  it("takes the query of a URI that has none", function()
    assert.same({}, http.parse_query(http.uri_parse "/a".query))
    t.raises("bad argument #1 to 'parse_query' (string expected, got table)",
             http.parse_query, {})
  end)

  it("needs time in proportion", function()
    for _, text in ipairs {"&", "%", "=", "+", "a&", "=&", "%41", "%4"} do
      soon(http.parse_query, text:rep(MUCH // #text))
    end
  end)
end)

describe("http.build_query", function()
  it("writes lists in their order, tables by their names", function()
    assert.equal("b=1&a=x+y&b=%26%3D%25%2B%C3%BC",
                 http.build_query {{"b", 1}, {"a", "x y"}, {"b", "&=%+\u{fc}"}})
    assert.equal("a+b=1.5&c=&d=2&d=1",
                 http.build_query {d = {2, "1"}, ["a b"] = 1.5, c = "", e = {}})
    assert.equal("", http.build_query {})
    assert.equal("f=text", http.build_query {{"f", "text", filename = "x"}})
  end)

  it("writes what parse_query reads", function()
    math.randomseed(1)
    for _ = 1, 1000 // t.slow do
      local pairs = {}
      for i = 1, math.random(0, 6) do pairs[i] = {random(6), random(20)} end
      local fields = list(table.unpack(pairs))
      local query = http.build_query(pairs)
      assert.is_truthy(query:find "^[%w%-._~%%+=&]*$")
      assert.same(fields, http.parse_query(query))
      assert.equal(query, http.build_query(fields))
      assert.same({query = query ~= "" and query or "", path = ""},
                  http.uri_parse("?" .. query))
    end
  end)

  for message, fields in pairs {
    ["field 'a': string expected, got boolean"] = {a = true},
    ["field 'a': string expected, got table"] = {a = {{}}},
    ["field '5': name expected, got number"] = {[5] = "x"},
    ["field 1: {name, value} expected"] = {"a=1"},
    ["field 2: {name, value} expected"] = {{"a", "b"}, {"c"}},
    ["field 1: unknown key 'file' (known: filename, content_type)"] =
      {{"a", "b", file = "c"}},
    ["field 1: filename: string expected, got boolean"] =
      {{"a", "b", filename = true}},
  } do
    it("raises '" .. message .. "'", function()
      t.raises("bad argument #1 to 'build_query' (" .. message .. ")",
               http.build_query, fields)
      t.raises("bad argument #1 to 'build_multipart' (" .. message .. ")",
               http.build_multipart, fields)
    end)
  end

  it("raises for what is no table", function()
    t.raises("bad argument #1 to 'build_query' (table expected, got nil)",
             http.build_query)
  end)
end)

describe("http.parse_form", function()
  it("reads what a form sends as a query", function()
    for _, kind in ipairs {URLENCODED, URLENCODED:upper(),
                           URLENCODED .. "; charset=utf-8"} do
      assert.same(list({"a b", "1"}, {"a b", ""}),
                  http.parse_form(kind, "a+b=1&a%20b"))
    end
    assert.same({}, http.parse_form(URLENCODED, ""))
  end)

  it("reads what a form sends in parts", function()
    local text = table.concat({
      "--x", 'Content-Disposition: form-data; name="a"', "", "1",
      "--x", 'Content-Disposition: form-data; name="f"; filename="g.txt"',
      "Content-Type: text/plain", "", "one\r\ntwo",
      "--x", 'Content-Disposition: form-data; name="a"', "", "",
      "--x", 'Content-Disposition: form-data; name="f"; filename=""', "", "",
      "--x--", ""}, "\r\n")
    assert.same({
      {"a", "1"},
      {"f", "one\r\ntwo", filename = "g.txt", content_type = "text/plain"},
      {"a", ""}, {"f", "", filename = ""}, a = "1", f = "one\r\ntwo",
    }, http.parse_form("multipart/form-data; boundary=x", text))
  end)

  for message, args in pairs {
    ["no Content-Type"] = {nil, "a=1"},
    ["bad Content-Type"] = {"a b", "a=1"},
    ["not a form"] = {"text/plain", "a=1"},
    ["bad boundary"] = {"multipart/form-data", ""},
    ["the last boundary is missing"] = {"multipart/form-data; boundary=x", ""},
    ["bad boundary line"] = {"multipart/form-data; boundary=x", "--xy"},
    ["too many parts"] = {URLENCODED, ("a&"):rep(1001)},
  } do
    it("returns nil, '" .. message .. "'", function()
      assert.same({nil, message}, {http.parse_form(args[1], args[2])})
    end)
  end

  it("has the limits that it is given", function()
    assert.equal(1000, #http.parse_form(URLENCODED, ("a&"):rep(1000)))
    assert.equal(2, #http.parse_form(URLENCODED, "a&b", {max_parts = 2}))
    assert.is_nil(http.parse_form(URLENCODED, "a&b&c", {max_parts = 2}))
    assert.equal(2000, #http.parse_form(URLENCODED, ("a&"):rep(2000),
                                        {max_parts = false}))
    local body, kind = http.build_multipart {a = 1, b = 2}
    assert.equal(2, #http.parse_form(kind, body, {max_parts = 2}))
    assert.same({nil, "too many parts"},
                {http.parse_form(kind, body, {max_parts = 1})})
    assert.same({nil, "headers too large"},
                {http.parse_form(kind, body, {max_headers_size = 10})})
  end)

  it("raises for what it cannot take", function()
    t.raises("bad argument #1 to 'parse_form' (string expected, got table)",
             http.parse_form, {}, "")
    t.raises("bad argument #2 to 'parse_form' (string expected, got nil)",
             http.parse_form, URLENCODED)
    t.raises("bad argument #3 to 'parse_form' (unknown option 'x' (known: ",
             http.parse_form, URLENCODED, "", {x = 1})
  end)

  it("needs time in proportion", function()
    for _, text in ipairs {"&", "%", "a&", "=", "\r\n--x", "--x\r\n"} do
      text = text:rep(MUCH // #text)
      soon(http.parse_form, URLENCODED, text, {max_parts = false})
      soon(http.parse_form, "multipart/form-data; boundary=x", text)
      soon(http.parse_form, text, text)
      soon(http.parse_form, "multipart/form-data; " .. text, text)
      soon(http.parse_form, 'multipart/form-data; a="' .. text, text)
    end
  end)
end)

describe("http.build_multipart", function()
  it("writes fields and files", function()
    local body, kind = http.build_multipart {
      {"a", 1}, {"f", "x", filename = 'q"\\.txt'},
      {"g", "y", filename = "h", content_type = "text/plain"},
      {"j", "{}", content_type = "application/json"},
    }
    local boundary = kind:match "^multipart/form%-data; boundary=([%w-]+)$"
    assert.equal(table.concat({
      "--B", 'Content-Disposition: form-data; name="a"', "", "1",
      "--B", 'Content-Disposition: form-data; name="f"; '
             .. 'filename="q\\"\\\\.txt"',
      "Content-Type: application/octet-stream", "", "x",
      "--B", 'Content-Disposition: form-data; name="g"; filename="h"',
      "Content-Type: text/plain", "", "y",
      "--B", 'Content-Disposition: form-data; name="j"',
      "Content-Type: application/json", "", "{}", "--B--", ""}, "\r\n"),
      (body:gsub(boundary:gsub("%-", "%%-"), "B")))
  end)

  it("writes what parse_form reads", function()
    math.randomseed(2)
    local function name()
      return (random(10):gsub("[\0-\31\127]", "-"))
    end
    for _ = 1, 1000 // t.slow do
      local pairs = {}
      for i = 1, math.random(0, 5) do
        pairs[i] = {name(), random(60)}
        if math.random(2) == 1 then
          pairs[i].filename, pairs[i].content_type = name(), "a/b"
        end
      end
      local body, kind = http.build_multipart(pairs)
      local fields = list(table.unpack(pairs))
      assert.same(fields, http.parse_form(kind, body))
      local again, newkind = http.build_multipart(fields)
      assert.same(fields, http.parse_form(newkind, again))
    end
  end)

  it("takes a boundary that is in no value", function()
    math.randomseed(3)
    local _, kind = http.build_multipart {{"a", ""}}
    local first = kind:match "boundary=(.*)"
    math.randomseed(3)
    local body
    body, kind = http.build_multipart {{"a", "x" .. first}, {"b", ""}}
    assert.is_nil(kind:find(first, 1, true))
    assert.equal("x" .. first, http.parse_form(kind, body).a)
  end)

  it("raises for control characters in what becomes a header", function()
    for _, pair in ipairs {
      {"a\r\nb", ""}, {"\0", ""}, {"a", "", filename = "\n"},
      {"a", "", filename = "\127"}, {"a", "", content_type = "a/b\r\nX: y"},
    } do
      t.raises("bad argument #1 to 'build_multipart' (control character in the "
               .. "header of field 2)", http.build_multipart,
               {{"a", "b"}, pair})
    end
  end)
end)
