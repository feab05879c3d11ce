-- src/http_parse.c: what is a request and what is none. Two that read the same
-- bytes differently let a third smuggle a request past one of them: each case
-- here has another request behind it, which is answered or not, and each comes
-- whole, and again byte by byte.
local http = require "spec.http"
local t = require "spec.helper"

local behind = "GET /behind HTTP/1.1\r\nHost: some.test\r\n"
               .. "Connection: close\r\n\r\n"

--- A request with these fields behind its host...
local function get(...)
  return http.request("GET /", {"Host: some.test", ...})
end

--- ...and one with a body as it comes in chunks.
local function post(chunks)
  return http.request("POST /", {"Transfer-Encoding: chunked"}) .. chunks
end

--- One with this first line, with this target, with this host.
local function line(text)
  return text .. "\r\nHost: some.test\r\n\r\n"
end

local function target(text)
  return line("GET " .. text .. " HTTP/1.1")
end

local function host(text)
  return http.request("GET /", {"Host: " .. text})
end

--- What is refused: the status, and the cases by what they are.
local refused = {
  {400, "a first line", {
    ["without a version"] = line "GET /",
    ["without a version, but a space"] = line "GET / ",
    ["without a target"] = line "GET HTTP/1.1",
    ["of a method only"] = line "GET",
    ["with a space before it"] = line " GET / HTTP/1.1",
    ["with two spaces before the target"] = line "GET  / HTTP/1.1",
    ["with two spaces behind the target"] = line "GET /  HTTP/1.1",
    ["with a space at its end"] = line "GET / HTTP/1.1 ",
    ["with tabs"] = line "GET\t/\tHTTP/1.1",
    ["with a vertical tab"] = line "GET /\vHTTP/1.1",
    ["with a word more"] = line "GET / HTTP/1.1 HTTP/1.1",
    ["with a method that is no token"] = line "G(T / HTTP/1.1",
    ["with a colon in its method"] = line "GET: / HTTP/1.1",
    ["with a NUL in its method"] = line "G\0T / HTTP/1.1",
    ["with a letter above ASCII in its method"] = line "G\xc3\x89T / HTTP/1.1",
    ["of TLS"] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ["of an answer"] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ["behind two empty ones"] = "\r\n\r\n" .. get(),
    ["behind a line feed"] = "\n" .. get(),
    ["behind a carriage return"] = "\r" .. get(),
    ["that is empty but for a NUL"] = "\0\r\n" .. get(),
  }},
  {400, "a version", {
    ["in lower case"] = line "GET / http/1.1",
    ["of three numbers"] = line "GET / HTTP/1.1.1",
    ["of one number"] = line "GET / HTTP/1",
    ["of two digits"] = line "GET / HTTP/1.10",
    ["of two digits before the point"] = line "GET / HTTP/01.1",
    ["with a sign"] = line "GET / HTTP/+1.1",
    ["with a minus"] = line "GET / HTTP/-1.1",
    ["with a space in it"] = line "GET / HTTP/ 1.1",
    ["with a comma"] = line "GET / HTTP/1,1",
    ["with a letter"] = line "GET / HTTP/x.1",
    ["of something else"] = line "GET / HTTQ/1.1",
    ["with a letter more"] = line "GET / XHTTP/1.1",
  }},
  {505, "a version", {
    ["2.0"] = line "GET / HTTP/2.0",
    ["2.0, as its preface has it"] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ["3.0"] = line "GET / HTTP/3.0",
    ["1.2"] = line "GET / HTTP/1.2",
    ["1.7"] = line "GET / HTTP/1.7",
    ["0.9"] = line "GET / HTTP/0.9",
    ["9.9"] = line "GET / HTTP/9.9",
  }},
  {400, "a target", {
    ["without a slash"] = target "a",
    ["that is all of a server, but for OPTIONS"] = target "*",
    ["that begins with that"] = target "*/a",
    ["with a fragment"] = target "/a#b",
    ["with a NUL"] = target "/a\0b",
    ["with a control character"] = target "/a\1b",
    ["with a DEL"] = target "/a\x7fb",
    ["with a letter above ASCII"] = target "/\xc3\xa9",
    ["with a carriage return"] = target "/a\rb",
    ["of another scheme"] = target "ftp://some.test/",
    ["of a scheme only"] = target "http:",
    ["of one slash too few"] = target "http:/some.test/",
    ["without a host"] = target "http:///a",
    ["with nothing behind the scheme"] = target "http://",
    ["with a user"] = target "http://user@some.test/",
    ["with a host that never ends"] = target "http://[::1/",
    ["with a bad port"] = target "http://some.test:x/",
    ["with a backslash in its host"] = target "http://some.test\\a/",
    ["of a host and port"] = target "some.test:80",
    ["of CONNECT without a port"] = line "CONNECT some.test HTTP/1.1",
    ["of CONNECT with an empty port"] = line "CONNECT some.test: HTTP/1.1",
    ["of CONNECT without a host"] = line "CONNECT :443 HTTP/1.1",
    ["of CONNECT that is a path"] = line "CONNECT / HTTP/1.1",
  }},
  {400, "a path", {
    ["with a bare percent sign"] = target "/a%",
    ["with half an escape"] = target "/a%4",
    ["with no escape"] = target "/%zz",
    ["with half an escape of none"] = target "/%4g",
    ["with an escaped NUL"] = target "/a%00b",
    ["above the root"] = target "/..",
    ["above the root, with a slash"] = target "/../",
    ["above the root, further down"] = target "/a/../../b",
    ["above the root and back"] = target "/../a",
    ["above the root, escaped"] = target "/%2e%2e/a",
    ["above the root, half escaped"] = target "/.%2E/a",
    ["above the root by escaped slashes"] = target "/a/..%2f..%2fb",
    ["above the root behind dots"] = target "/./.././a",
    ["above the root in all of a URI"] = target "http://some.test/../a",
  }},
  {400, "the end of a line", {
    ["that is a line feed"] = "GET / HTTP/1.1\nHost: some.test\r\n\r\n",
    ["of all lines that is a line feed"] = "GET / HTTP/1.1\nHost: a\n\n",
    ["of a field that is a line feed"] = get "X: a\nY: b",
    ["of a field that is a line feed before another length"] =
      get("X: a\nContent-Length: 5"),
    ["of the fields that is a line feed"] =
      "GET / HTTP/1.1\r\nHost: some.test\r\n\n",
    ["that is a carriage return"] =
      "GET / HTTP/1.1\rHost: some.test\r\n\r\n",
    ["of a field that is a carriage return"] = get "X: a\rY: b",
    ["with two carriage returns"] = get "X: a\r",
    ["with two carriage returns in the first line"] = line "GET / HTTP/1.1\r",
    ["with a carriage return and a NUL"] = get "X: a\r\0",
  }},
  {400, "a field", {
    ["without a colon"] = get "X",
    ["without a name"] = get ": a",
    ["of a colon"] = get ":",
    ["with a space before the colon"] = get "X : a",
    ["with a tab before the colon"] = get "X\t: a",
    ["with a space in its name"] = get "X Y: a",
    ["with parentheses in its name"] = get "X(Y): a",
    ["with a quote in its name"] = get "X\"Y: a",
    ["with a slash in its name"] = get "X/Y: a",
    ["with a NUL in its name"] = get "X\0Y: a",
    ["with a letter above ASCII in its name"] = get "X\xc3\xa9: a",
    ["that is folded"] = get "X: a\r\n b",
    ["that is folded by a tab"] = get "X: a\r\n\tb",
    ["that is folded to nothing"] = get "X: a\r\n ",
    ["that is folded before its value"] = get "X:\r\n a",
    ["that is the first, and begins with a space"] =
      "GET / HTTP/1.1\r\n Host: some.test\r\nHost: some.test\r\n\r\n",
    ["with a NUL in its value"] = get "X: a\0b",
    ["with a control character in its value"] = get "X: a\1b",
    ["with an escape character in its value"] = get "X: \x1b[2J",
    ["with a backspace in its value"] = get "X: a\bb",
    ["with a DEL in its value"] = get "X: a\x7fb",
    ["with a vertical tab before its value"] = get "X: \va",
  }},
  {400, "a host", {
    ["that is missing"] = "GET / HTTP/1.1\r\n\r\n",
    ["that is missing, but for all of a URI"] =
      "GET http://some.test/ HTTP/1.1\r\n\r\n",
    ["that comes twice"] = get "Host: some.test",
    ["that comes twice, once empty"] = get "Host:",
    ["beside another one"] = get "Host: other.test",
    ["beside another one, in HTTP/1.0"] =
      "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ["with a space before the colon"] =
      "GET / HTTP/1.1\r\nHost : some.test\r\n\r\n",
    ["in a list"] = host "some.test, other.test",
    ["with a space"] = host "some test",
    ["with a slash"] = host "some.test/a",
    ["with a backslash"] = host "some.test\\a",
    ["with a user"] = host "user@some.test",
    ["with a scheme"] = host "http://some.test",
    ["with a query"] = host "some.test?a",
    ["with a fragment"] = host "some.test#a",
    ["with a letter above ASCII"] = host "s\xc3\xb6me.test",
    ["with a word for a port"] = host "some.test:http",
    ["with two ports"] = host "some.test:80:80",
    ["with a port of six digits"] = host "some.test:655360",
    ["with a bracket that is not closed"] = host "[::1",
    ["with a bracket that is not opened"] = host "::1]",
    ["with something behind its bracket"] = host "[::1]a",
    ["of IPv6 without brackets"] = host "::1",
  }},
  {400, "a length", {
    ["with a plus"] = get "Content-Length: +3",
    ["with a minus"] = get "Content-Length: -3",
    ["below zero"] = get "Content-Length: -0",
    ["that is empty"] = get "Content-Length:",
    ["that is a word"] = get "Content-Length: three",
    ["in hexadecimal"] = get "Content-Length: 0x3",
    ["that is a float"] = get "Content-Length: 3.0",
    ["with an exponent"] = get "Content-Length: 3e0",
    ["with a space in it"] = get "Content-Length: 3 3",
    ["with a comma"] = get "Content-Length: 3,",
    ["that is a list of the same"] = get "Content-Length: 3, 3",
    ["that is a list"] = get "Content-Length: 3, 4",
    ["in quotes"] = get "Content-Length: \"3\"",
    ["that nobody can count"] = get "Content-Length: 99999999999999999999",
    ["that is negative in 64 bits"] = get "Content-Length: 9223372036854775808",
    ["that is small in 64 bits"] = get "Content-Length: 18446744073709551619",
    ["that comes twice"] = get("Content-Length: 3", "Content-Length: 3"),
    ["beside another one"] = get("Content-Length: 3", "Content-Length: 0"),
    ["that comes twice in other letters"] =
      get("Content-Length: 0", "CONTENT-LENGTH: 3"),
    ["with a space before the colon"] = get "Content-Length : 3",
    ["that is folded"] = get "Content-Length:\r\n 3",
    ["before a transfer coding"] =
      get("Content-Length: 3", "Transfer-Encoding: chunked"),
    ["behind a transfer coding"] =
      get("Transfer-Encoding: chunked", "Content-Length: 3"),
    ["of nothing beside a transfer coding"] =
      get("Content-Length: 0", "Transfer-Encoding: chunked"),
  }},
  {400, "a transfer coding", {
    ["that comes twice"] =
      get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    ["before another one"] =
      get("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    ["in HTTP/1.0"] = "POST / HTTP/1.0\r\nHost: some.test\r\n"
                      .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ["with a space before the colon"] = get "Transfer-Encoding : chunked",
    ["behind a vertical tab"] = get "Transfer-Encoding: \vchunked",
    ["with a NUL"] = get "Transfer-Encoding: chunked\0",
    ["that is folded"] = get "Transfer-Encoding: chunked\r\n , gzip",
    ["behind a line feed"] = get "X: a\nTransfer-Encoding: chunked",
  }},
  {501, "a transfer coding", {
    ["that is not known"] = get "Transfer-Encoding: gzip",
    ["that is none"] = get "Transfer-Encoding: identity",
    ["that is empty"] = get "Transfer-Encoding:",
    ["of two"] = get "Transfer-Encoding: gzip, chunked",
    ["of two in two fields"] =
      get("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"),
    ["of the same twice"] = get "Transfer-Encoding: chunked, chunked",
    ["behind a comma"] = get "Transfer-Encoding: ,chunked",
    ["before a comma"] = get "Transfer-Encoding: chunked,",
    ["with a letter before it"] = get "Transfer-Encoding: xchunked",
    ["with a letter behind it"] = get "Transfer-Encoding: chunkedx",
    ["with a parameter"] = get "Transfer-Encoding: chunked;q=1",
    ["in quotes"] = get "Transfer-Encoding: \"chunked\"",
  }},
  {417, "an expectation", {
    ["that is not known"] = get "Expect: a-miracle",
    ["of two"] = get "Expect: 100-continue, a-miracle",
    ["that is empty"] = get "Expect:",
  }},
  {400, "a chunk", {
    ["without a size"] = post "\r\nabc\r\n0\r\n\r\n",
    ["of an extension only"] = post ";a\r\nabc\r\n0\r\n\r\n",
    ["of no hexadecimal size"] = post "x\r\nabc\r\n0\r\n\r\n",
    ["with \"0x\" before its size"] = post "0x3\r\nabc\r\n0\r\n\r\n",
    ["with a plus"] = post "+3\r\nabc\r\n0\r\n\r\n",
    ["with a minus"] = post "-3\r\nabc\r\n0\r\n\r\n",
    ["with a space before its size"] = post " 3\r\nabc\r\n0\r\n\r\n",
    ["with a space behind its size"] = post "3 \r\nabc\r\n0\r\n\r\n",
    ["with a tab behind its size"] = post "3\t\r\nabc\r\n0\r\n\r\n",
    ["with a comma"] = post "3,3\r\nabc\r\n0\r\n\r\n",
    ["with a size that nobody can count"] = post "ffffffffffffffff1\r\nabc",
    ["with a size of 64 bits"] = post "ffffffffffffffff\r\nabc",
    ["with too many zeros"] = post "0000000000000003\r\nabc\r\n0\r\n\r\n",
    ["whose size ends with a line feed"] = post "3\nabc\r\n0\r\n\r\n",
    ["whose size ends with a carriage return"] = post "3\rabc\r\n0\r\n\r\n",
    ["whose size ends with two"] = post "3\r\r\nabc\r\n0\r\n\r\n",
    ["whose extension ends with a line feed"] =
      post "3;a\nabc\r\n0\r\n\r\n",
    ["whose extension has a NUL"] = post "3;\0\r\nabc\r\n0\r\n\r\n",
    ["whose extension has a bare carriage return"] =
      post "3;a\rb\r\nabc\r\n0\r\n\r\n",
    ["with no line end behind its data"] = post "3\r\nabc0\r\n\r\n",
    ["with a line feed behind its data"] = post "3\r\nabc\n0\r\n\r\n",
    ["with a carriage return behind its data"] = post "3\r\nabc\r0\r\n\r\n",
    ["with more data than its size"] = post "3\r\nabcd\r\n0\r\n\r\n",
    ["with less data than its size"] = post "4\r\nabc\r\n0\r\n\r\n",
    ["that is the last and ends with a line feed"] = post "0\n\r\n",
    ["that is the second and wrong"] = post "3\r\nabc\r\nz\r\nabc\r\n0\r\n\r\n",
  }},
  {400, "a trailer", {
    ["without a colon"] = post "0\r\nX\r\n\r\n",
    ["with a space before the colon"] = post "0\r\nX : a\r\n\r\n",
    ["without a name"] = post "0\r\n: a\r\n\r\n",
    ["with a space before it"] = post "0\r\n X: a\r\n\r\n",
    ["that is folded"] = post "0\r\nX: a\r\n b\r\n\r\n",
    ["with a NUL"] = post "0\r\nX: a\0\r\n\r\n",
    ["with a bare carriage return"] = post "0\r\nX: a\rb\r\n\r\n",
    ["that ends with a line feed"] = post "0\r\nX: a\n\r\n",
    ["that is a line feed"] = post "0\r\n\n",
    ["that is the next request"] = post "0\r\n",
  }},
}

--- What is accepted: the bytes, and what the handler sees of them: method,
--- path, query, body.
local accepted = {
  {"a first line", {
    ["as usual"] = {get(), "GET /"},
    ["behind an empty one"] = {"\r\n" .. get(), "GET /"},
    ["of HTTP/1.0"] = {line "GET / HTTP/1.0", "GET /", close = true},
    ["of HTTP/1.0 without a host"] =
      {"GET / HTTP/1.0\r\n\r\n", "GET /", close = true},
    ["for all of the server"] = {line "OPTIONS * HTTP/1.1", "OPTIONS *"},
  }},
  {"a target", {
    ["that is all of a URI"] = {target "http://some.test/a?b", "GET /a ?b"},
    ["in capitals"] = {target "HTTP://SOME.TEST/A", "GET /A"},
    ["of https"] = {target "https://some.test/a", "GET /a"},
    ["of a host only"] = {target "http://some.test", "GET /"},
    ["of a host with a port"] = {target "http://some.test:80/a", "GET /a"},
    ["of a host and a query"] = {target "http://some.test?a=b", "GET / ?a=b"},
    ["with an empty query"] = {target "/a?", "GET /a ?"},
    ["with a URI in its query"] =
      {target "/a?http://b/../?c", "GET /a ?http://b/../?c"},
    ["with what a path may have"] =
      {target "/a-._~!$&'()*+,;=:@/b", "GET /a-._~!$&'()*+,;=:@/b"},
    ["with what a path had better not have"] =
      {target "/a\"<>[]\\^`{|}", "GET /a\"<>[]\\^`{|}"},
  }},
  {"a path", {
    ["with escapes"] = {target "/%41%2d%7E%20", "GET /A-~ "},
    ["with an escaped escape"] = {target "/%2541", "GET /%41"},
    ["with an escaped query"] = {target "/a%3Fb?c", "GET /a?b ?c"},
    ["with an escaped slash"] = {target "/a%2Fb", "GET /a/b"},
    ["with letters above ASCII"] = {target "/%c3%a9", "GET /\xc3\xa9"},
    ["with an escaped line"] = {target "/a%0d%0ab", "GET /a\r\nb"},
    ["with a plus"] = {target "/a+b", "GET /a+b"},
    ["with two slashes"] = {target "//a//b", "GET //a//b"},
    ["with a dot"] = {target "/./a/./b", "GET /a/b"},
    ["that ends with a dot"] = {target "/a/.", "GET /a/"},
    ["with two dots"] = {target "/a/../b", "GET /b"},
    ["that ends with two dots"] = {target "/a/b/..", "GET /a/"},
    ["with escaped dots"] = {target "/a/%2e%2E/b", "GET /b"},
    ["with three dots"] = {target "/a/.../b", "GET /a/.../b"},
    ["with dots in its names"] = {target "/a./.b/..c", "GET /a./.b/..c"},
    ["up to the root"] = {target "/a/b/../..", "GET /"},
    ["with dots in its query only"] = {target "/a?/../..", "GET /a ?/../.."},
  }},
  {"a field", {
    ["without a space behind the colon"] = {get "X:a", "GET /"},
    ["with spaces and tabs around it"] =
      {get "Content-Length: \t 3\t " .. "abc", "GET / abc"},
    ["without a value"] = {get("X:", "Y: "), "GET /"},
    ["with any token as its name"] = {get "!#$%&'*+-.^_`|~09aZ: b", "GET /"},
    ["with letters above ASCII in its value"] = {get "X: \xc3\xa9", "GET /"},
    ["with a tab and colons in its value"] = {get "X: a\tb:c: d", "GET /"},
    ["that looks like a length"] = {get "Content_Length: 3", "GET /"},
    ["that looks like a transfer coding"] =
      {get "Transfer_Encoding: chunked", "GET /"},
  }},
  {"a host", {
    ["with a port"] = {host "some.test:80", "GET /"},
    ["with an empty port"] = {host "some.test:", "GET /"},
    ["that is empty"] = {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET /"},
    ["of IPv4"] = {host "127.0.0.1:65535", "GET /"},
    ["of IPv6"] = {host "[::1]:80", "GET /"},
  }},
  {"a body", {
    ["with a length"] = {http.request("POST /", {}, "abc"), "POST / abc"},
    ["of nothing"] = {http.request("POST /", {}, ""), "POST /"},
    ["with zeros before its length"] =
      {get "Content-Length: 003" .. "abc", "GET / abc"},
    ["that is a request"] =
      {http.request("POST /", {}, get()), "POST / " .. get()},
    ["in chunks"] = {post "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "POST / abcde"},
    ["in chunks, as another case says"] =
      {http.request("POST /", {"transfer-ENCODING: Chunked"})
       .. "3\r\nabc\r\n0\r\n\r\n", "POST / abc"},
    ["in no chunks"] = {post "0\r\n\r\n", "POST /"},
    ["with many zeros at its end"] =
      {post "3\r\nabc\r\n000000\r\n\r\n", "POST / abc"},
    ["in chunks of sizes in capitals"] =
      {post "A\r\n0123456789\r\n00b\r\n0123456789\n\r\n0\r\n\r\n",
       "POST / 01234567890123456789\n"},
    ["in chunks with extensions"] =
      {post "3;a=b;c=\"d;e\"\r\nabc\r\n0;f\r\n\r\n", "POST / abc"},
    ["in chunks that look like chunks"] =
      {post "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "POST / 0\r\n\r\n"},
    ["with trailers"] =
      {post "3\r\nabc\r\n0\r\nX: a\r\nY: b\r\n\r\n", "POST / abc"},
    ["with trailers that count for nothing"] =
      {post "3\r\nabc\r\n0\r\nContent-Length: 9\r\nHost: other.test\r\n"
       .. "Transfer-Encoding: gzip\r\nConnection: close\r\n\r\n", "POST / abc"},
  }},
}

--- The names of a table, in order.
local function sorted(list)
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  table.sort(names)
  return ipairs(names)
end

local function see(req)
  local query = req:query_string()
  local body = req:body()
  return req:command() .. " " .. req:path() .. (query and " ?" .. query or "")
         .. (body ~= "" and " " .. body or "")
end

describe("a request is refused for", function()
  before_each(t.start)
  after_each(t.finish)

  for _, group in ipairs(refused) do
    local status, what, cases = table.unpack(group)
    for _, name in sorted(cases) do
      it(("%s %s: %d"):format(what, name, status), function()
        local s <close> = http.start(function(req)
          error("it sees " .. see(req))
        end, {allowed_methods = "GET|POST|CONNECT"})
        for _, slowly in ipairs {false, true} do
          local answers, rest, over = s:exchange(cases[name] .. behind, slowly)
          assert.equal(1, #answers)
          assert.equal(status, answers[1].status)
          assert.equal("close", answers[1].headers.connection)
          assert.equal("", rest)
          assert.equal("eof", over)
        end
        s:idle()
      end)
    end
  end
end)

describe("a request is understood with", function()
  before_each(t.start)
  after_each(t.finish)

  for _, group in ipairs(accepted) do
    local what, cases = table.unpack(group)
    for _, name in sorted(cases) do
      it(what .. " " .. name, function()
        local seen = {}
        local s <close> = http.start(function(req)
          seen[#seen + 1] = see(req)
          req:send_reply(200)
        end)
        local bytes, wanted, close = cases[name][1], cases[name][2],
                                     cases[name].close
        for _, slowly in ipairs {false, true} do
          local answers, rest, over = s:exchange(bytes .. behind, slowly)
          assert.same(close and {wanted} or {wanted, "GET /behind"}, seen)
          assert.equal(close and 1 or 2, #answers)
          for _, answer in ipairs(answers) do
            assert.equal(200, answer.status)
          end
          assert.equal("close", answers[#answers].headers.connection)
          assert.equal("", rest)
          assert.equal("eof", over)
          seen = {}
        end
        s:idle()
      end)
    end
  end
end)

describe("the parser of requests", function()
  before_each(t.start)
  after_each(t.finish)

  it("refuses what is not HTTP before the end of its line", function()
    local s <close> = http.start(t.never())
    for _, bytes in ipairs {"\0", "\x16\x03", " ", "(", "\x80\x81"} do
      local answers, _, over = s:exchange(bytes)
      assert.equal(400, answers[1].status)
      assert.equal("eof", over)
    end
  end)

  it("reads the same wherever it is cut", function()
    local seen = {}
    local s <close> = http.start(function(req)
      seen[#seen + 1] = see(req)
      req:send_reply(200)
    end)
    local bytes = "\r\n" .. http.request("POST /a", {"X: b"}, "body")
                  .. post "3;x\r\nabc\r\n0\r\nX: y\r\n\r\n" .. behind
    for i = 1, #bytes - 1 do
      local client = s:dial()
      http.till(s.base, function() return client.up end)
      client:send(bytes:sub(1, i))
      t.turns(s.base, 3)
      assert.equal(3, #client:send(bytes:sub(i + 1)):finish())
      assert.same({"POST /a body", "POST / abc", "GET /behind"}, seen)
      seen = {}
    end
  end)

  it("answers any mix of bytes, or none of it", function()
    math.randomseed(12)
    local s <close> = http.start(function(req) req:send_reply(200) end)
    local parts = {"GET ", "/", " HTTP/1.1", "\r\n", "Host: a", "\r\n\r\n", ":",
      "Content-Length: ", "5", "Transfer-Encoding: chunked", "0", "\n", "\0",
      "POST ", "Connection: close", " ", "abcde", "%00", ".."}
    for _ = 1, 300 do
      local list = {}
      for i = 1, math.random(20) do list[i] = parts[math.random(#parts)] end
      local client = s:dial():send(table.concat(list)):shutdown()
      local answers, rest = client:finish()
      assert.equal("", rest)
      for _, answer in ipairs(answers) do
        assert.is_true(answer.status == 200 or answer.status >= 400)
      end
    end
    s:idle()
  end)
end)
