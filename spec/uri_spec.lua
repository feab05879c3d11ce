--- libevent.uri: URIs as RFC 3986 has them.

local http = require "libevent.http"
local libevent = require "libevent"
local t = require "spec.helper"

local MUCH = 2^20 // t.slow                   -- bytes of what is hostile

--- f(text) needs no more than time in proportion: with the square of it, it
--- would take minutes.
local function soon(f, text)
  local start = os.clock()
  f(text)
  local seconds = os.clock() - start
  assert.is_true(seconds < 10 * t.slow, seconds .. " seconds")
end

--- A string of up to max pieces, each one of 'pieces' (a list or a string).
local function random(pieces, max)
  local list = {}
  for i = 1, math.random(0, max) do
    local k = math.random(#pieces)
    list[i] = type(pieces) == "table" and pieces[k] or pieces:sub(k, k)
  end
  return table.concat(list)
end

local NAME = {"a", "Z", "7", "-", ".", "_", "~", "!", "$", "&", "'", "(", ")",
              "*", "+", ",", ";", "=", "%20", "%fF", "%00"}

local function with(list, ...)
  return table.move({...}, 1, select("#", ...), #list + 1, {table.unpack(list)})
end

describe("http.uri_parse", function()
  for text, parts in pairs {
    ["http://user:pw@example.org:8080/a/b?x=1&y#end"] = {scheme = "http",
      userinfo = "user:pw", host = "example.org", port = 8080, path = "/a/b",
      query = "x=1&y", fragment = "end"},
    ["ftp://ftp.is.co.za/rfc/rfc1808.txt"] = {scheme = "ftp",
      host = "ftp.is.co.za", path = "/rfc/rfc1808.txt"},
    ["ldap://[2001:db8::7]/c=GB?objectClass?one"] = {scheme = "ldap",
      host = "2001:db8::7", path = "/c=GB", query = "objectClass?one"},
    ["mailto:John.Doe@example.com"] = {scheme = "mailto",
      path = "John.Doe@example.com"},
    ["news:comp.infosystems.www.servers.unix"] = {scheme = "news",
      path = "comp.infosystems.www.servers.unix"},
    ["tel:+1-816-555-1212"] = {scheme = "tel", path = "+1-816-555-1212"},
    ["telnet://192.0.2.16:80/"] = {scheme = "telnet", host = "192.0.2.16",
      port = 80, path = "/"},
    ["urn:oasis:names:specification:docbook:dtd:xml:4.1.2"] = {scheme = "urn",
      path = "oasis:names:specification:docbook:dtd:xml:4.1.2"},
    ["file:///etc/passwd"] = {scheme = "file", host = "", path = "/etc/passwd"},
    ["//host"] = {host = "host", path = ""},
    ["/a//b/../c"] = {path = "/a//b/../c"},
    ["../a;b=c"] = {path = "../a;b=c"},
    ["a/b:c"] = {path = "a/b:c"},
    ["?"] = {path = "", query = ""},
    ["#"] = {path = "", fragment = ""},
    ["?a?b/c#d?e/f"] = {path = "", query = "a?b/c", fragment = "d?e/f"},
    [""] = {path = ""},
    ["a:"] = {scheme = "a", path = ""},
    ["http://@h"] = {scheme = "http", userinfo = "", host = "h", path = ""},
    ["http://%41%2f"] = {scheme = "http", host = "%41%2f", path = ""},
    ["http://[::ffff:1.2.3.4]:1"] = {scheme = "http", host = "::ffff:1.2.3.4",
      port = 1, path = ""},
    ["http://[v7.a:b]/"] = {scheme = "http", host = "[v7.a:b]", path = "/"},
    ["http://h:0"] = {scheme = "http", host = "h", port = 0, path = ""},
    ["http://h:65535"] = {scheme = "http", host = "h", port = 65535, path = ""},
    ["http://999.999.999.999/"] = {scheme = "http", host = "999.999.999.999",
      path = "/"},
  } do
    it(("takes '%s' apart, and uri_join puts it together"):format(text),
       function()
      assert.same(parts, http.uri_parse(text))
      assert.equal(text, http.uri_join(parts))
    end)
  end

  it("tells the scheme in lower case, and all else as it stands", function()
    assert.same({scheme = "http", host = "A.De", path = "/%5b"},
                http.uri_parse "HTTP://A.De/%5b")
  end)

  it("knows a port by its number", function()
    assert.equal(80, http.uri_parse "http://h:0000000080/".port)
    assert.is_nil(http.uri_parse "http://h:/".port)
  end)

  for message, texts in pairs {
    ["bad scheme"] = {":", "1a:b", "a_b:c", "%61:b", ":a", "a b:c", "\0:"},
    ["bad userinfo"] = {"//a b@c", "//%@h", "//[@h", "//\200@h"},
    ["bad host"] = {"//a b", "//a@b@c", "//[::1", "//]", "//a\\b", "//a%4",
                    "//[]", "//[1.2.3.4]", "//[::1%25eth0]", "//[fe80::1%eth0]",
                    "//[v.a]", "//[v1.]", "//[v1.a/]", "//\127", "//a\0",
                    "//h%", "http://caf\u{e9}/", "//<", "//a\"",
                    "//a^b", "//a|b", "//{}", "//`"},
    ["bad port"] = {"//h:65536", "//h:99999999999999999999", "//h:-1", "//h:+1",
                    "//h:8o", "//h:80:80", "//::1", "//[::1]80", "//[::1]a",
                    "//::1]", "//[::1]]", "//h: 80", "//h:80 ", "//h:0x50",
                    "//h:1e3"},
    ["bad path"] = {" ", "a b", "/%", "/%4", "/%4g", "/%%41", "/[", "/a\\b",
                    "/\n", "/\0", "/\u{e9}", "http://h/a\rb", "/^", "/|"},
    ["bad query"] = {"? ", "?%", "?[a]", "?\u{e9}", "?a\r\nb", "?`"},
    ["bad fragment"] = {"# ", "##", "#%x", "#\0"},
  } do
    for _, text in ipairs(texts) do
      it(("returns nil, '%s' for %q"):format(message, text), function()
        assert.same({nil, message}, {http.uri_parse(text)})
      end)
    end
  end

  it("takes the IPv6 addresses that the system takes, and no other", function()
    math.randomseed(4)
    local seeds = {"::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::",
      "::2:3:4:5:6:7:8", "1::8", "fe80::a:b", "::ffff:1.2.3.4", "1::4:5:6:7",
      "1:2:3:4:5:6:255.254.253.252", "ABCD:EF01:2345:6789:abcd:ef01:2345:6789",
      "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "1:2:3:4:5::1.2.3.4"}
    local taken, refused = 0, 0
    for i = 1, 20000 // t.slow do
      local s = seeds[i] or seeds[math.random(#seeds)]
      for _ = 1, seeds[i] and 0 or math.random(0, 2) do
        local at = math.random(0, #s)
        s = s:sub(1, at) .. random("0123456789abcdef::::...", 2)
            .. s:sub(at + 1 + math.random(0, 2))
      end
      local known = s:find ":" and libevent.inet_pton(s) ~= nil
      local parsed = http.uri_parse("//[" .. s .. "]") ~= nil
      assert.equal(known or false, parsed, s)
      if parsed then taken = taken + 1 else refused = refused + 1 end
    end
    assert.is_true(taken > 100 and refused > 100)
  end)

  it("raises for what is no string, and never for a string", function()
    for value, got in pairs {[print] = "function", [true] = "boolean"} do
      t.raises("bad argument #1 to 'uri_parse' (string expected, got " .. got,
               http.uri_parse, value)
    end
    t.raises("bad argument #1 to 'uri_parse' (string expected, got nil)",
             http.uri_parse)
    t.blames("bad argument #1", function() http.uri_parse() end)
    math.randomseed(1)
    for _ = 1, 20000 // t.slow do
      local text = random({":", "/", "?", "#", "[", "]", "@", "%", "%41", "a",
                           "1", ".", "//", "::", "\0", "\255", " "}, 12)
      local parts = http.uri_parse(text)
      if parts then
        assert.same(parts, http.uri_parse(http.uri_join(parts)), text)
      end
    end
  end)

  it("needs time in proportion", function()
    for _, text in ipairs {"%", "%41", ":", "[", "]", "@", "/", "?", "#", "a",
                           "//[", "0:", "http://"} do
      text = text:rep(MUCH // #text)
      soon(http.uri_parse, text)
      soon(http.uri_parse, "http://" .. text)
      soon(http.uri_parse, "http://[" .. text .. "]:" .. text)
      soon(http.uridecode, text)
      soon(http.uriencode, text)
    end
  end)
end)

describe("http.uri_join", function()
  it("joins whatever parts are possible, and they are read again", function()
    math.randomseed(2)
    local hosts = {"", "::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1.2.3.4",
                   "[vA.1:2]", "h"}
    local segment = with(NAME, ":", "@", "/")
    for _ = 1, 5000 // t.slow do
      local parts = {path = random(segment, 6)}
      if math.random(2) == 1 then parts.scheme = "a+-." .. random("az09", 3) end
      if math.random(2) == 1 then
        parts.host = hosts[math.random(#hosts)]
        if parts.host == "h" then parts.host = random(NAME, 5) end
        if math.random(2) == 1 then parts.port = math.random(0, 65535) end
        if math.random(2) == 1 then
          parts.userinfo = random(with(NAME, ":"), 5)
        end
        if parts.path ~= "" then parts.path = "/" .. parts.path end
      else
        parts.path = parts.path:gsub("^/+", "/")
        if not parts.scheme then parts.path = parts.path:gsub(":", "") end
      end
      local rest = with(segment, "?")
      if math.random(2) == 1 then parts.query = random(rest, 5) end
      if math.random(2) == 1 then parts.fragment = random(rest, 5) end
      local text = http.uri_join(parts)
      assert.same(parts, http.uri_parse(text), text)
    end
  end)

  it("needs no path, and takes the brackets of IPv6 or none", function()
    assert.equal("http://a", http.uri_join {scheme = "HTTP", host = "a"})
    assert.equal("", http.uri_join {})
    assert.equal("//[::1]:80", http.uri_join {host = "::1", port = 80.0})
    assert.equal("//[::1]", http.uri_join {host = "[::1]"})
  end)

  for message, parts in pairs {
    ["unknown field 'params' (known: scheme, userinfo, host, port, path, query,"
     .. " fragment)"] = {params = "x"},
    ["field 'path': string expected, got table"] = {path = {}},
    ["field 'host': string expected, got number"] = {host = 1},
    ["field 'port': integer 0 to 65535 expected, got string"] =
      {host = "a", port = "80"},
    ["field 'port': integer 0 to 65535 expected, got 65536"] =
      {host = "a", port = 65536},
    ["field 'port': integer 0 to 65535 expected, got -1"] =
      {host = "a", port = -1},
    ["field 'port': integer 0 to 65535 expected, got 1.5"] =
      {host = "a", port = 1.5},
    ["field 'port': there is no host"] = {port = 80},
    ["field 'userinfo': there is no host"] = {userinfo = "a"},
    ["field 'scheme': not possible in a URI"] = {scheme = "", path = "b"},
    ["field 'userinfo': not possible in a URI"] = {host = "a", userinfo = "@"},
    ["field 'host': not possible in a URI"] = {host = "a/b"},
    ["field 'query': not possible in a URI"] = {query = "a b"},
    ["field 'fragment': not possible in a URI"] = {fragment = "#"},
  } do
    it("raises '" .. message .. "'", function()
      t.raises("bad argument #1 to 'uri_join' (" .. message .. ")",
               http.uri_join, parts)
    end)
  end

  it("raises for hosts that would be read as something else", function()
    for _, host in ipairs {"[v1.a]x", "[::1]x", "[::1]:80", "x[::1]", "a:80",
                           "[", "::1%eth0", "a@b", "a?b", "a#b", "%", "\0"} do
      t.raises("bad argument #1 to 'uri_join' (field 'host': not possible",
               http.uri_join, {host = host})
    end
  end)

  it("raises for paths that would be read as something else", function()
    for _, parts in ipairs {
      {host = "h", path = "a"}, {path = "//a"}, {scheme = "s", path = "//a"},
      {path = "a:b"}, {path = "a?b"}, {path = "a#b"}, {path = "a b"},
      {path = "/\r\n"}, {path = ":"},
    } do
      t.raises("bad argument #1 to 'uri_join' (field 'path': not possible",
               http.uri_join, parts)
    end
    t.raises("#1 to 'uri_join' (table expected, got nil)", http.uri_join)
  end)
end)

describe("http.uri_resolve", function()
  -- RFC 3986, 5.4.1 and 5.4.2, all of them, strictly.
  for reference, target in pairs {
    ["g:h"] = "g:h",
    ["g"] = "http://a/b/c/g",
    ["./g"] = "http://a/b/c/g",
    ["g/"] = "http://a/b/c/g/",
    ["/g"] = "http://a/g",
    ["//g"] = "http://g",
    ["?y"] = "http://a/b/c/d;p?y",
    ["g?y"] = "http://a/b/c/g?y",
    ["#s"] = "http://a/b/c/d;p?q#s",
    ["g#s"] = "http://a/b/c/g#s",
    ["g?y#s"] = "http://a/b/c/g?y#s",
    [";x"] = "http://a/b/c/;x",
    ["g;x"] = "http://a/b/c/g;x",
    ["g;x?y#s"] = "http://a/b/c/g;x?y#s",
    [""] = "http://a/b/c/d;p?q",
    ["."] = "http://a/b/c/",
    ["./"] = "http://a/b/c/",
    [".."] = "http://a/b/",
    ["../"] = "http://a/b/",
    ["../g"] = "http://a/b/g",
    ["../.."] = "http://a/",
    ["../../"] = "http://a/",
    ["../../g"] = "http://a/g",
    ["../../../g"] = "http://a/g",
    ["../../../../g"] = "http://a/g",
    ["/./g"] = "http://a/g",
    ["/../g"] = "http://a/g",
    ["g."] = "http://a/b/c/g.",
    [".g"] = "http://a/b/c/.g",
    ["g.."] = "http://a/b/c/g..",
    ["..g"] = "http://a/b/c/..g",
    ["./../g"] = "http://a/b/g",
    ["./g/."] = "http://a/b/c/g/",
    ["g/./h"] = "http://a/b/c/g/h",
    ["g/../h"] = "http://a/b/c/h",
    ["g;x=1/./y"] = "http://a/b/c/g;x=1/y",
    ["g;x=1/../y"] = "http://a/b/c/y",
    ["g?y/./x"] = "http://a/b/c/g?y/./x",
    ["g?y/../x"] = "http://a/b/c/g?y/../x",
    ["g#s/./x"] = "http://a/b/c/g#s/./x",
    ["g#s/../x"] = "http://a/b/c/g#s/../x",
    ["http:g"] = "http:g",
  } do
    it(("finds '%s' at '%s'"):format(reference, target), function()
      assert.equal(target,
                   http.uri_resolve("http://a/b/c/d;p?q", reference))
    end)
  end

  for _, case in ipairs {
    {"http://u@a:1/b", "c", "http://u@a:1/c"},
    {"http://u@a:1/b", "//a", "http://a"},
    {"http://u@a:1/b", "//a?x", "http://a?x"},
    {"http://a", "b", "http://a/b"},
    {"http://a?x", "", "http://a?x"},
    {"http://a?x", "?", "http://a?"},
    {"http://a?x#y", "#z", "http://a?x#z"},
    {"http://[::1]/a", "b", "http://[::1]/b"},
    {"http://a/b//c", "..", "http://a/b/"},
    {"file:///a/b", "../../c", "file:///c"},
    {"urn:a:b", "c", "urn:c"},
    {"s:a/b", "../../c", "s:/c"},
    {"s:/a", "/.//b", "s:/.//b"},         -- "s://b" would name a host
    {"s:/a", "..//b", "s:/.//b"},
    {"http://a/b", "c/../../../d", "http://a/d"},
  } do
    it(("finds '%s' from '%s' at '%s'"):format(case[2], case[1], case[3]),
       function()
      assert.equal(case[3], http.uri_resolve(case[1], case[2]))
    end)
  end

  it("gives URIs without dots, which are their own targets", function()
    math.randomseed(3)
    local pieces = {"a", "b:", ".", "..", "/", "/", "/", "//", "/.", "/.."}
    local resolved = 0
    for _ = 1, 10000 // t.slow do
      local base = ({"s:", "s://h", "s://h/"})[math.random(3)]
                   .. random(pieces, 4)
      local target = http.uri_resolve(base, random(pieces, 8))
      if target then
        local again = assert(http.uri_resolve(base, target))
        assert.equal(again, http.uri_resolve("x:", again))
        assert.is_nil(("/" .. http.uri_parse(again).path:gsub("^/%.//", "")
                       .. "/"):find "/%.%.?/", again)
        resolved = resolved + 1
      end
    end
    assert.is_true(resolved > 100)
  end)

  it("returns nil and whose fault it is", function()
    for _, case in ipairs {
      {"http://a b", "c", "base: bad host"}, {"/a", "b", "base: no scheme"},
      {"http://a", "b c", "reference: bad path"},
      {"http://a", "//h:x", "reference: bad port"},
    } do
      assert.same({nil, case[3]}, {http.uri_resolve(case[1], case[2])})
    end
    t.raises("#1 to 'uri_resolve' (string expected, got nil)", http.uri_resolve)
    t.raises("#2 to 'uri_resolve' (string expected, got nil)", http.uri_resolve,
             "http://a")
  end)

  it("needs time in proportion", function()
    for _, text in ipairs {"../", "./", "/..", "/.", "/", "a/../", "a/", "."} do
      text = text:rep(MUCH // #text)
      soon(function() http.uri_resolve("http://a/b", text) end)
      soon(function() http.uri_resolve("http://a/" .. text, "../b") end)
    end
  end)
end)

describe("http.remove_dot_segments", function()
  for path, clean in pairs {
    ["/a/b/c/./../../g"] = "/a/g", ["mid/content=5/../6"] = "mid/6",
    [""] = "", ["."] = "", [".."] = "", ["/"] = "/", ["/."] = "/",
    ["/.."] = "/", ["../a"] = "a", ["./a"] = "a", ["../../a"] = "a",
    ["a/.."] = "/", ["a/../b"] = "/b", ["a/."] = "a/", ["//"] = "//",
    ["/a//../b"] = "/a/b", ["/..."] = "/...",
    [".g"] = ".g", ["..g/h"] = "..g/h", ["/.a/..b"] = "/.a/..b",
    ["/../../a/"] = "/a/", ["/a/b/../.."] = "/", ["/%2e%2e/a"] = "/%2e%2e/a",
  } do
    it(("makes '%s' of '%s'"):format(clean, path), function()
      assert.equal(clean, http.remove_dot_segments(path))
    end)
  end

  it("raises for what is no string", function()
    t.raises("#1 to 'remove_dot_segments' (string expected, got nil)",
             http.remove_dot_segments)
  end)
end)

describe("http.uriencode", function()
  it("keeps letters, digits and '-._~', and escapes the others", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      local kept = char:find "^[A-Za-z0-9._~-]$"
      assert.equal(kept and char or ("%%%02X"):format(byte),
                   http.uriencode(char))
    end
    assert.equal("a%20b%2Fc%3F", http.uriencode "a b/c?")
  end)

  it("writes a space as '+' if asked to", function()
    assert.equal("a+b%2B", http.uriencode("a b+", true))
    assert.equal("a%20b%2B", http.uriencode("a b+", false))
  end)

  it("takes a number, as strings do, and nothing else", function()
    assert.equal("-1.5", http.uriencode(-1.5))
    t.raises("bad argument #1 to 'uriencode' (string expected, got nil)",
             http.uriencode)
    t.raises("bad argument #1 to 'uridecode' (string expected, got table)",
             http.uridecode, {})
  end)
end)

describe("http.uridecode", function()
  it("gives back what uriencode was given", function()
    math.randomseed(5)
    for _ = 1, 1000 // t.slow do
      local list = {}
      for i = 1, math.random(0, 40) do
        list[i] = string.char(math.random(0, 255))
      end
      local text = table.concat(list)
      for _, plus in ipairs {true, false} do
        local encoded = http.uriencode(text, plus)
        assert.is_nil(encoded:find "[^%w%%+._~-]")
        assert.equal(text, http.uridecode(encoded, plus))
      end
    end
  end)

  it("decodes once, either case, zeros too", function()
    assert.equal("%41/\0\xaf", http.uridecode "%2541%2f%00%aF")
  end)

  it("reads '+' as a space if asked to", function()
    assert.equal("a b+", http.uridecode("a+b%2B", true))
    assert.equal("a+b+", http.uridecode("a+b%2B"))
  end)

  it("returns nil, 'bad escape' for a '%' that begins none", function()
    for _, text in ipairs {"%", "a%", "%4", "%4g", "%g4", "%%41", "%41%", "% 1",
                           "%-1", "%+1", "%0x", "%u0041", "%\0\0"} do
      assert.same({nil, "bad escape"}, {http.uridecode(text)})
    end
  end)
end)
