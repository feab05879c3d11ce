-- HttpConnection: a client's connection to one host.
local libevent = require "libevent"
local origin = require "spec.origin"
local t = require "spec.helper"

local answer = origin.answer

-- Errno of Linux.
local ECONNRESET, ECONNREFUSED, ETIMEDOUT = 104, 111, 110
local EPROTO, EMSGSIZE = 71, 90

-- A connection to a port of this host.
local function connect(base, port, options)
  return base:http_connection("127.0.0.1", port, options)
end

-- A server of our own, and its port.
local function serve(base, options)
  local http = base:http(options)
  local listener = assert(http:bind_socket "127.0.0.1:0")
  return http, math.tointeger(listener:sockname():match "%d+$")
end

-- A callback that is expected once, and keeps what it gets.
local function result(also)
  local r = {}
  return r, t.expect(function(req, message, errno)
    assert(not r.done)
    r.done, r.req, r.message, r.errno = true, req, message, errno
    if req then r.code, r.body = req:response_code(), req:body() end
    if also then also(req, message, errno) end
  end)
end

-- Makes a request: what becomes of it.
local function request(conn, method, uri, options, also)
  local r, cb = result(also)
  r.made = conn:make_request(method, uri, options, cb)
  return r
end

local await = origin.await

-- Makes one, and waits for it.
local function fetch(base, conn, ...)
  return await(base, request(conn, ...))
end

-- Fetches what a server says that says only that, and closes.
local function told(base, bytes, method, options, limits)
  local o = origin.always(base, bytes, "close")
  local r = fetch(base, connect(base, o.port, limits), method or "GET", "/",
                  options)
  o.listener:close()
  return r
end

local function failed(r, errno, words)
  assert.is_nil(r.req)
  assert.matches(words or "", r.message, 1, true)
  assert.equal(errno, r.errno)
end

describe("An HttpConnection", function()
  before_each(t.start)
  after_each(t.finish)

  it("asks, and is answered", function()
    local base = t.base()
    local http, port = serve(base)
    http:set_cb("/path", function(req)
      assert.equal("GET", req:command())
      assert.equal("a=1&b", req:query_string())
      assert.equal("127.0.0.1", req:host())
      assert.equal("yes", req:find_header "x-mine")
      req:send_reply(202, "Fine", "the body",
                     {["X-Yours"] = {"1", "2"}})
    end)
    local conn = connect(base, port)
    local r = fetch(base, conn, "GET", "/path?a=1&b",
                    {headers = {["X-Mine"] = "yes"}}, function(req)
      assert.equal("GET", req:command())
      assert.equal("/path?a=1&b", req:uri())
      assert.equal("127.0.0.1:" .. port, conn:peername())
    end)
    assert.same({202, "the body"}, {r.code, r.body})
    assert.equal("Fine", r.req:response_code_line())
    assert.equal("1.1", r.req:version())
    assert.same({"1", "2"}, {r.req:find_header "x-yours"})
    assert.equal("8", r.req:headers()["content-length"])
    assert.equal("the body", tostring(r.req:input_buffer()))
    assert.equal(base, conn:base())
    assert.matches("^libevent.HttpConnection %(0x", tostring(conn))
    base:close()
    assert.is_true(t.isclosed(conn))
    t.raises("HttpConnection is closed", conn.make_request, conn, "GET", "/",
             nil, print)
  end)

  it("sends a body of any kind", function()
    local base = t.base()
    local http, port = serve(base)
    http:set_gencb(function(req)
      req:send_reply(200, nil, ("%s %s %s"):format(req:command(),
        req:find_header "content-length", req:body()))
    end)
    local conn = connect(base, port)
    local buffer = libevent.buffer "buffered"
    local a = request(conn, "POST", "/", {body = "a string"})
    local b = request(conn, "PUT", "/", {body = buffer})
    local c = request(conn, "POST", "/")
    local d = request(conn, "GET", "/", {body = ""})
    local e = request(conn, "PATCH", "/", {body = "x",
                      headers = {["content-length"] = 1}})
    await(base, a, b, c, d, e)
    assert.equal("POST 8 a string", a.body)
    assert.equal("PUT 8 buffered", b.body)
    assert.equal(0, #buffer)
    assert.equal("POST 0 ", c.body)
    assert.equal("GET nil ", d.body)
    assert.equal("PATCH 1 x", e.body)
    base:close()
  end)

  it("is told apart from no other client by its head", function()
    local base = t.base()
    local o = origin.always(base, answer "")
    local conn = connect(base, o.port)
    await(base, request(conn, "GET", "/a?b"),
          request(conn, "POST", "*", {headers = {{"X-A", "1"}, {"x-a", 2},
                                                 Host = "other.test"},
                                      body = "data"}))
    local port = o.port
    assert.equal("GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:" .. port
                 .. "\r\n\r\n", o.requests[1].head)
    assert.equal("POST * HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nHost: other.test\r\n"
                 .. "Content-Length: 4\r\n\r\n", o.requests[2].head)
    assert.equal("data", o.requests[2].body)
    base:close()
  end)

  it("connects to names, to IPv6 and to paths", function()
    local base = t.base()
    local http = base:http()
    http:set_gencb(function(req) req:send_reply(200, nil, req:host()) end)
    local path = t.path()
    local six = assert(http:bind_socket "[::1]:0")
    local four = assert(http:bind_socket "127.0.0.1:0")
    assert(http:bind_socket("unix:" .. path))
    local function port(listener)
      return math.tointeger(listener:sockname():match "%d+$")
    end
    local a = request(base:http_connection("::1", port(six)), "GET", "/")
    local b = request(base:http_connection("unix:" .. path), "GET", "/")
    local c = request(base:http_connection("localhost", port(four),
                                           {family = "inet"}), "GET", "/")
    await(base, a, b, c)
    assert.same({"[::1]", "localhost", "localhost"}, {a.body, b.body, c.body})
    base:close()
    os.remove(path)
  end)

  it("looks names up where it is told to", function()
    local base = t.base()
    local o = origin.always(base, answer "found")
    local server = base:dns_server("127.0.0.1:0", function(query)
      if query:type() == "A" then query:add_a_reply(nil, "127.0.0.1", 5) end
      query:respond()
    end)
    local dns = base:dns {nameservers = {server:sockname()}, hosts = false}
    local r = fetch(base, base:http_connection("some.test", o.port,
                                               {dns = dns}), "GET", "/")
    assert.equal("found", r.body)
    assert.matches("\r\nHost: some.test:" .. o.port .. "\r\n",
                   o.requests[1].head, 1, true)
    base:close()
  end)

  it("refuses what is no request, before anything is sent", function()
    local base = t.base()
    local conn = connect(base, 9)
    local function refused(words, ...)
      t.raises(words, conn.make_request, conn, ...)
    end
    refused("method expected", "G T", "/", nil, print)
    refused("method expected", "", "/", nil, print)
    refused("request target expected", "GET", "/a b", nil, print)
    refused("request target expected", "GET", "/a\r\nb", nil, print)
    refused("string expected", "GET", nil, nil, print)
    refused("function expected", "GET", "/", nil)
    refused("unknown option 'boddy'", "GET", "/", {boddy = 1}, print)
    refused("table of headers", "GET", "/", {headers = "x"}, print)
    refused("header name", "GET", "/", {headers = {["a b"] = 1}}, print)
    refused("control characters", "GET", "/", {headers = {a = "\r\nb: c"}},
            print)
    refused("Transfer-Encoding", "GET", "/",
            {headers = {["Transfer-Encoding"] = "chunked"}}, print)
    refused("Content-Length", "GET", "/",
            {body = "abc", headers = {["Content-Length"] = 2}}, print)
    refused("Buffer expected", "GET", "/", {body = {}}, print)
    refused("either body or stream", "GET", "/",
            {body = "", stream = print}, print)
    refused("function expected", "GET", "/", {stream = true}, print)
    refused("function expected", "GET", "/", {header_cb = 1}, print)
    refused("function expected", "GET", "/", {chunked_cb = 1}, print)
    t.raises("host name", base.http_connection, base, "a/b", 80)
    t.raises("host name", base.http_connection, base, "a b", 80)
    t.raises("host name", base.http_connection, base, "", 80)
    t.raises("a path has no port", base.http_connection, base, "unix:/x", 80)
    for _, port in ipairs {0, -1, 65536, "x"} do
      assert.is_false(pcall(base.http_connection, base, "a.test", port))
    end
    t.raises("unknown option", base.http_connection, base, "a", 80, {x = 1})
    t.raises("family", base.http_connection, base, "a", 80, {family = "x"})
    t.raises("seconds", base.http_connection, base, "a", 80,
             {read_timeout = -1})
    assert.equal(0, base:num_events())
    base:close()
  end)

  it("refuses what it could never connect by", function()
    local base, other = t.base(), t.base()
    local options = {nameservers = {}, hosts = false}
    for _, dns in ipairs {base:dns(options):close(), other:dns(options)} do
      t.raises("option 'dns'", base.http_connection, base, "a.test", 80,
               {dns = dns})
    end
    for _, host in ipairs {"unix:", "unix:/" .. ("x"):rep(200)} do
      assert.is_false(pcall(base.http_connection, base, host))
    end
    base:close()
    other:close()
  end)
end)

-- What a server says, and what that is to a client.
describe("An answer to an HttpConnection", function()
  before_each(t.start)
  after_each(t.finish)

  it("has a body with a length, in chunks, or until the end", function()
    local base = t.base()
    for _, bytes in ipairs {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "5\r\nhello\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n"
        .. "0001;x=\"y\"\r\nh\r\n4\r\nello\r\n00\r\n\r\n",
      "HTTP/1.1 200 OK\r\n\r\nhello",
      "HTTP/1.0 200 OK\r\n\r\nhello",
      "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
      "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    } do
      local r = told(base, bytes)
      assert.same({200, "hello"}, {r.code, r.body}, bytes)
      local list, ended = {}, false
      r = told(base, bytes, "GET", {chunked_cb = function(_, data)
        assert.is_false(ended)
        list[#list + 1] = data
        ended = data == nil
      end})
      assert.same({200, ""}, {r.code, r.body})
      assert.is_true(ended)
      assert.equal("hello", table.concat(list))
    end
    base:close()
  end)

  it("comes in any pieces", function()
    local base = t.base()
    local bytes = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
      .. "Transfer-Encoding: chunked\r\nX-Y: z\r\n\r\n"
      .. "3\r\nabc\r\n2;e\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
    local o = origin.start(base, function(q)
      local at = 0
      local timer
      timer = base:timer(function()
        at = at + 1
        if at > #bytes then return timer:close() end
        q.conn:write(bytes:sub(at, at))
      end, "persist"):add(0)
    end)
    local r = fetch(base, connect(base, o.port), "GET", "/")
    assert.same({200, "abcde"}, {r.code, r.body})
    assert.equal("5", r.req:trailers()["x-sum"])
    assert.equal("z", r.req:find_header "x-y")
    assert.is_nil(r.req:find_header "x-sum")
    base:close()
  end)

  it("follows those that are only on the way", function()
    local base = t.base()
    local o = origin.always(base, "HTTP/1.1 100 Continue\r\n\r\n"
      .. "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" .. answer "really")
    local conn = connect(base, o.port)
    for _ = 1, 2 do
      local r = fetch(base, conn, "GET", "/")
      assert.same({200, "really"}, {r.code, r.body})
      assert.is_nil(r.req:find_header "link")
    end
    assert.equal(1, o.connections)
    base:close()
  end)

  it("has no body where there is none by its nature", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      if q.line:find "^HEAD" then return answer("12345"):sub(1, -6) end
      local status, length = q.line:match "(%d+)(%l*)"
      return ("HTTP/1.1 %s X\r\n%s\r\n"):format(status, length == ""
        and "Content-Length: 5\r\n" or "")
    end)
    local conn = connect(base, o.port)
    local a, b = request(conn, "HEAD", "/"), request(conn, "GET", "/204")
    local c = request(conn, "GET", "/304", {chunked_cb =
      t.expect(function(_, data) assert.is_nil(data) end)})
    local d = request(conn, "HEAD", "/")
    await(base, a, b, c, d)
    assert.same({200, 204, 304, 200}, {a.code, b.code, c.code, d.code})
    assert.same({"", "", "", ""}, {a.body, b.body, c.body, d.body})
    assert.equal("5", a.req:find_header "content-length")
    assert.equal(1, o.connections)
    await(base, request(conn, "GET", "/204bare"),
          request(conn, "GET", "/304bare"), request(conn, "HEAD", "/200bare"),
          request(conn, "GET", "/204bare"))
    assert.equal(1, o.connections)
    base:close()
  end)

  it("is none if its head is not as it must be", function()
    local base = t.base()
    for _, bytes in ipairs {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        .. "\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
      "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
      "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
      "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
      "ICY 200 OK\r\n\r\nok",
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "garbage\r\n\r\n",
    } do
      failed(told(base, bytes), EPROTO, "bad answer")
    end
    base:close()
  end)

  it("is none if it ends too early", function()
    local base = t.base()
    for _, bytes in ipairs {
      "", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
      "HTTP/1.1 100 Continue\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        .. "0\r\n",
    } do
      failed(told(base, bytes), ECONNRESET, "closed the connection")
      failed(told(base, bytes, "GET", {chunked_cb = function(_, data)
        assert.is_string(data)                  -- no end is told
      end}), ECONNRESET)
    end
    base:close()
  end)

  it("is none if its chunks are wrong", function()
    local base = t.base()
    for _, chunks in ipairs {
      "x\r\nhello\r\n0\r\n\r\n", "5 \nhello\r\n0\r\n\r\n",
      "5\r\nhelloX0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n",
      "0x5\r\nhello\r\n0\r\n\r\n", "fffffffffffffffff\r\nhello",
      "\r\nhello", "5\r\nhello\r\n0\r\nA b\r\n\r\n",
      "5;" .. ("x"):rep(100000) .. "\r\nhello\r\n0\r\n\r\n",
      "0\r\n" .. ("A: b\r\n"):rep(20000) .. "\r\n",
      "0\r\nA: " .. ("b"):rep(100000) .. "\r\n\r\n",
    } do
      failed(told(base, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        .. chunks), EPROTO, "bad answer")
    end
    base:close()
  end)

  it("ends with a reset, and is none then", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      q.conn:write "HTTP/1.1 200 OK\r\n\r\nhalf of"
      base:timer(function()
        q.conn:write(("x"):rep(1000))
        -- what it has not read makes the kernel send a reset
        q.conn:close()
      end):add(0.02)
      q.conn:disable "read"
    end)
    local r
    r = request(connect(base, o.port), "GET", "/", {header_cb = function()
      r.head = true
    end, stream = function(req) req:send_chunk(("x"):rep(3000000)) end})
    await(base, r)
    failed(r, ECONNRESET)
    assert.is_true(r.head)
    base:close()
  end)

  it("has limits", function()
    local base = t.base()
    local limits = {max_headers_size = 1000, max_body_size = 100}
    local body = ("b"):rep(100)
    local chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert.equal(body, told(base, answer(body), "GET", nil, limits).body)
    for _, bytes in ipairs {
      answer(body .. "b"), "HTTP/1.1 200 OK\r\n\r\n" .. body .. "b",
      chunked .. "64\r\n" .. body .. "\r\n1\r\nb\r\n0\r\n\r\n",
    } do
      failed(told(base, bytes, "GET", nil, limits), EMSGSIZE,
             "the body is too long")
      assert.equal(200, told(base, bytes, "GET",
                             {chunked_cb = function() end}, limits).code)
    end
    for _, head in ipairs {
      "HTTP/1.1 200 " .. ("O"):rep(2000), "HTTP/1.1 200 OK\r\nX: "
        .. ("x"):rep(1000), "HTTP/1.1 200 OK" .. ("\r\nX: x"):rep(300),
    } do
      failed(told(base, head .. "\r\nContent-Length: 0\r\n\r\n", "GET", nil,
                  limits), EPROTO, "bad answer")
    end
    base:close()
  end)

  it("closes the connection by what comes after it", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      return answer(q.line) .. (q.n == 1 and answer "smuggled" or "")
    end)
    local conn = connect(base, o.port)
    for i = 1, 3 do
      local r = fetch(base, conn, "GET", "/" .. i)
      assert.equal("GET /" .. i .. " HTTP/1.1", r.body)
    end
    assert.equal(3, o.connections)
    base:close()
  end)

  it("closes the connection by what comes between two of them", function()
    local base = t.base()
    local first
    local o = origin.start(base, function(q)
      first = first or q.conn
      return answer(q.line)
    end)
    local conn = connect(base, o.port)
    fetch(base, conn, "GET", "/1")
    first:write(answer "smuggled")
    t.turns(base, 3)
    assert.equal("GET /2 HTTP/1.1", fetch(base, conn, "GET", "/2").body)
    assert.equal(2, o.connections)
    base:close()
  end)

  it("may come before the request is all sent", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      if q.n > 1 or q.connection > 1 then return answer "next" end
      return answer("enough", "", "413 Too Large")
    end)
    local conn = connect(base, o.port)
    local r = request(conn, "POST", "/", {stream = function(req)
      req:send_chunk "some of it"
    end})
    local next = request(conn, "GET", "/")
    await(base, r, next)
    assert.same({413, "enough"}, {r.code, r.body})
    t.refused(ECONNRESET, r.made:send_chunk "more")
    t.refused(ECONNRESET, r.made:send_end())
    assert.equal("next", next.body)
    assert.equal(2, o.connections)
    base:close()
  end)
end)

describe("An HttpConnection that is used again", function()
  before_each(t.start)
  after_each(t.finish)

  it("keeps its connection, and the order of its requests", function()
    local base = t.base()
    local http, port = serve(base)
    http:set_gencb(function(req)
      local n = tonumber(req:path():match "%d+")
      if n % 3 == 0 then
        base:timer(function() req:send_reply(200, nil, req:path()) end):add(0)
      else
        req:send_reply(200, nil, req:path())
      end
    end)
    local conn = connect(base, port)
    local order, list = {}, {}
    for i = 1, 100 do
      list[i] = request(conn, i % 2 == 0 and "GET" or "POST", "/" .. i, nil,
        function(req) order[#order + 1] = req:body() end)
    end
    assert.equal(0, #order)
    await(base, table.unpack(list))
    for i = 1, 100 do assert.equal("/" .. i, order[i]) end
    assert.equal(1, http:connection_count())
    base:close()
  end)

  it("keeps nothing in the loop between two requests", function()
    local base = t.base()
    local o = origin.always(base, answer "")
    local conn = connect(base, o.port)
    local r = fetch(base, conn, "GET", "/")
    o.rest()
    assert.equal(0, base:num_events())
    assert.equal(o.address, conn:peername())
    assert.equal(o.address, r.req:peername())
    base:close()
  end)

  it("closes it if either side says so, or the server is an old one",
  function()
    local base = t.base()
    local o = origin.start(base, function(q)
      if q.line:find "/close" then return answer("", "Connection: close\r\n")
      elseif q.line:find "/old" then
        return "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"
      elseif q.line:find "/kept" then
        return "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
               .. "Content-Length: 0\r\n\r\n"
      end
      return answer ""
    end)
    local conn = connect(base, o.port)
    for _, uri in ipairs {"/", "/close", "/", "/old", "/kept", "/kept", "/"} do
      fetch(base, conn, "GET", uri)
    end
    local list = {}
    for i, q in ipairs(o.requests) do list[i] = q.connection end
    assert.same({1, 1, 2, 2, 3, 3, 3}, list)
    fetch(base, conn, "GET", "/", {headers = {Connection = "close"}})
    fetch(base, conn, "GET", "/")
    assert.equal(4, o.connections)
    base:close()
  end)

  it("sees that the server has closed it meanwhile", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      base:timer(function() q.conn:close() end):add(0.005)
      return answer(q.body)
    end)
    local conn = connect(base, o.port)
    for i = 1, 3 do
      local r = fetch(base, conn, "POST", "/", {body = "nr " .. i})
      assert.equal("nr " .. i, r.body)
      t.runfor(base, 0.01)
    end
    assert.equal(3, o.connections)
    base:close()
  end)

  it("asks once more for what can be repeated if the server closes just then",
  function()
    local base = t.base()
    local o = origin.start(base, function(q)
      if q.n > 1 then return nil, "vanish" end
      return answer(q.line .. q.body)
    end)
    local conn = connect(base, o.port)
    for _, method in ipairs {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} do
      fetch(base, conn, method, "/")
      local r = fetch(base, conn, method, "/again",
                      method == "PUT" and {body = "data"} or nil)
      assert.equal(200, r.code)
      conn:close()
      conn = connect(base, o.port)
    end
    fetch(base, conn, "GET", "/")
    failed(fetch(base, conn, "POST", "/", {body = "data"}), ECONNRESET)
    fetch(base, conn, "GET", "/")
    failed(fetch(base, conn, "PUT", "/", {stream = function(req)
      req:send_chunk "data"
      req:send_end()
    end}), ECONNRESET)
    fetch(base, conn, "GET", "/")
    failed(fetch(base, conn, "PUT", "/", {body = libevent.buffer "data"}),
           ECONNRESET)
    base:close()
  end)

  it("asks no third time, nor after a byte of an answer", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      if q.connection == 1 and q.n == 1 then return answer "" end
      return nil, "vanish"
    end)
    local conn = connect(base, o.port)
    fetch(base, conn, "GET", "/")
    failed(fetch(base, conn, "GET", "/"), ECONNRESET)
    assert.equal(3, #o.requests)
    local p = origin.start(base, function(q)
      if q.n == 1 then return answer "" end
      return "HTTP/1.1 ", "close"
    end)
    conn = connect(base, p.port)
    fetch(base, conn, "GET", "/")
    failed(fetch(base, conn, "GET", "/"), ECONNRESET)
    assert.equal(2, #p.requests)
    base:close()
  end)

  it("connects again after it has been idle for too long", function()
    local base = t.base()
    local o = origin.always(base, answer "")
    local conn = connect(base, o.port, {idle_timeout = 0.02})
    fetch(base, conn, "GET", "/")
    t.runfor(base, 0.04)
    fetch(base, conn, "GET", "/")
    assert.equal(2, o.connections)
    base:close()
  end)
end)

describe("A request of an HttpConnection fails", function()
  before_each(t.start)
  after_each(t.finish)

  it("if nobody listens, and the next one too", function()
    local base = t.base()
    local conn = connect(base, origin.nobody(base))
    local a, b = request(conn, "GET", "/"), request(conn, "GET", "/")
    assert.is_nil(a.done)
    await(base, a, b)
    failed(a, ECONNREFUSED, "refused")
    failed(b, ECONNREFUSED, "refused")
    failed(fetch(base, base:http_connection("unix:" .. t.path()), "GET", "/"),
           2, "No such file")
    base:close()
  end)

  it("if its name does not exist", function()
    local base = t.base()
    local dns = base:dns {nameservers = {}, hosts = false}
    local conn = base:http_connection("absent.test", 80, {dns = dns})
    local r = fetch(base, conn, "GET", "/")
    assert.is_nil(r.req)
    assert.matches("absent.test", r.message, 1, true)
    base:close()
  end)

  it("if its Dns is closed", function()
    local base = t.base()
    local dns = base:dns {nameservers = {}, hosts = false}
    local conn = base:http_connection("absent.test", 80, {dns = dns})
    dns:close()
    local r = fetch(base, conn, "GET", "/")
    assert.is_nil(r.req)
    assert.matches("Dns is closed", r.message, 1, true)
    base:close()
  end)

  it("if connecting takes too long", function()
    local base = t.base()
    local port <const>, waiting = origin.full(base)
    local conn = connect(base, port, {connect_timeout = 0.05})
    local a, b = request(conn, "GET", "/"), request(conn, "GET", "/")
    await(base, a, b)
    failed(a, ETIMEDOUT)
    failed(b, ETIMEDOUT)
    for _, object in ipairs(waiting) do object:close() end
    base:close()
  end)

  it("if the answer takes too long, at any place", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      if q.line:find "/none" then return nil end
      if q.line:find "/head" then return "HTTP/1.1 200 OK\r\n" end
      if q.line:find "/body" then return answer("1234"):sub(1, -2) end
      return answer "fine"
    end)
    local conn = connect(base, o.port, {read_timeout = 0.03})
    local a, b = request(conn, "GET", "/none"), request(conn, "GET", "/head")
    local c, d = request(conn, "GET", "/body"), request(conn, "GET", "/fine")
    await(base, a, b, c, d)
    failed(a, ETIMEDOUT)
    failed(b, ETIMEDOUT)
    failed(c, ETIMEDOUT)
    assert.equal("fine", d.body)
    base:close()
  end)

  it("not if the script sends or reads slowly itself", function()
    local base = t.base()
    local http, port = serve(base)
    http:set_cb("/up", function(req)
      local n = 0
      req:set_chunked_cb(function(_, data)
        if data then n = n + #data
        else req:send_reply(200, nil, "got " .. n) end
      end)
    end, {stream = true})
    http:set_cb("/down", function(req)
      req:send_reply(200, nil, ("x"):rep(300000))
    end)
    local conn = connect(base, port, {read_timeout = 0.05})
    local up = request(conn, "POST", "/up", {stream = function(req)
      local n = 0
      local timer
      timer = base:timer(function()
        n = n + 1
        if n < 6 then return req:send_chunk "12345" end
        timer:close()
        req:send_end()
      end, "persist"):add(0.02)
    end})
    local read = 0
    local down = request(conn, "GET", "/down", {
      header_cb = function(req)
        req:pause()
        base:timer(function() req:resume() end):add(0.12)
      end,
      chunked_cb = function(_, data) read = read + #(data or "") end,
    })
    await(base, up, down)
    assert.equal("got 25", up.body)
    assert.equal(200, down.code, down.message)
    assert.equal(300000, read)
    base:close()
  end)

  it("if the server takes nothing of it", function()
    local base = t.base()
    local held
    local listener = base:listener("127.0.0.1:0", function(_, conn)
      held = conn
    end)
    local conn = connect(base, tonumber(listener:sockname():match "%d+$"),
                         {write_timeout = 0.05, read_timeout = false})
    local r = fetch(base, conn, "POST", "/", {body = ("x"):rep(20000000)})
    failed(r, ETIMEDOUT)
    assert.is_truthy(held)
    base:close()
  end)
end)

describe("A stream through an HttpConnection", function()
  before_each(t.start)
  after_each(t.finish)

  it("goes up in chunks, or with a length", function()
    local base = t.base()
    local http, port = serve(base)
    http:set_gencb(function(req)
      req:send_reply(200, nil, ("%s %s %s %s"):format(
        req:find_header "transfer-encoding", req:find_header "content-length",
        req:body(), req:trailers()["x-sum"]))
    end)
    local conn = connect(base, port)
    local a = request(conn, "POST", "/", {stream = function(req)
      assert.equal(req, req:send_chunk "abc")
      assert.equal(req, req:send_chunk(libevent.buffer "def"))
      req:send_chunk ""
      assert.equal(req, req:send_end {["X-Sum"] = "6"})
      t.raises("no more", req.send_chunk, req, "more")
    end})
    local b = request(conn, "PUT", "/", {
      headers = {["Content-Length"] = 5}, stream = function(req)
        req:send_chunk "abc"
        t.raises("more than its Content-Length", req.send_chunk, req, "def")
        t.raises("are missing", req.send_end, req)
        req:send_chunk "de"
        req:send_end()
      end})
    t.raises("or not yet", a.made.send_chunk, a.made, "early")
    local c = request(conn, "POST", "/", {stream = function(req)
      base:timer(function() req:send_end() end):add(0.01)
    end})
    await(base, a, b, c)
    assert.equal("chunked nil abcdef 6", a.body)
    assert.equal("nil 5 abcde nil", b.body)
    assert.equal("chunked nil  nil", c.body)
    base:close()
  end)

  -- In a process of its own: this one has other garbage.
  local function measure(code)
    local text, status = t.lua([[
      local t = require "spec.helper"
      local base = require "libevent".base()
      local http = base:http {max_body_size = false}
      local port = tonumber(http:bind_socket "127.0.0.1:0":sockname()
                            :match "%d+$")
      local conn = base:http_connection("127.0.0.1", port)
      local SIZE, piece, got = 40000000, ("x"):rep(40000), 0
      -- Takes a piece a turn.
      local function take(req, data)
        got = got + #(data or "")
        req:pause()
        base:timer(function() req:resume() end):add(0)
        return not data
      end
      -- Sends the next piece when the one before is sent.
      local function give(req, send, finish)
        local sent = 0
        local function more()
          if sent == SIZE then return req[finish](req) end
          sent = sent + #piece
          req[send](req, piece, more)
        end
        more()
      end
      local before = t.memory "VmHWM"
      local function done(req, message)
        print(req and req:response_code(), got == SIZE, message,
              t.slow > 1 or t.memory "VmHWM" - before < 10000)
        base:close()
      end
    ]] .. code .. " base:dispatch()")
    assert.equal("200\ttrue\tnil\ttrue\n", text)
    assert.equal(0, status)
  end

  it("waits for a server that waits", function()
    measure [[
      http:set_gencb(function(req)
        req:set_chunked_cb(function(_, data)
          if take(req, data) then req:send_reply(200) end
        end)
      end, {stream = true})
      conn:make_request("POST", "/", {stream = function(req)
        give(req, "send_chunk", "send_end")
      end}, done)
    ]]
  end)

  it("comes down as fast as it is taken", function()
    measure [[
      http:set_gencb(function(req)
        req:send_reply_start(200)
        give(req, "send_reply_chunk", "send_reply_end")
      end)
      conn:make_request("GET", "/", {chunked_cb = take}, done)
    ]]
  end)

  it("that is paused is told of nothing but goes on where it was", function()
    local base = t.base()
    local o = origin.always(base, "HTTP/1.1 200 OK\r\n\r\nall of it", "close")
    local list = {}
    local r = request(connect(base, o.port), "GET", "/", {
      chunked_cb = function(_, data) list[#list + 1] = data or "end" end})
    r.made:pause()
    t.runfor(base, 0.05)
    assert.same({nil, {}}, {r.done, list})
    r.made:resume()
    await(base, r)
    assert.same({"all of it", "end"}, list)
    base:close()
  end)
end)

describe("An HttpConnection that becomes another", function()
  before_each(t.start)
  after_each(t.finish)

  it("is the script's, with what came early", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      q.conn:setcb(function(b) b:write(b:input()) end, nil, nil)
      return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
             .. "Upgrade: echo\r\n\r\nearly"
    end)
    local conn = connect(base, o.port)
    local bev, got
    local r = fetch(base, conn, "GET", "/", {headers = {
      Connection = "Upgrade", Upgrade = "echo"}}, function(req)
      bev = req:upgrade()
      assert.equal("early", bev:read())
    end)
    assert.equal(101, r.code)
    assert.matches("\r\nConnection: Upgrade\r\n", o.requests[1].head, 1, true)
    assert.matches("\r\nUpgrade: echo\r\n", o.requests[1].head, 1, true)
    bev:setcb(function(b) got = b:read() end, nil, print)
    bev:enable "read":write "hello"
    conn:close()
    t.runtill(base, function() return got end)
    assert.equal("hello", got)
    base:close()
  end)

  it("can be a tunnel", function()
    local base = t.base()
    local o = origin.start(base, function(q)
      assert.equal("CONNECT some.test:1 HTTP/1.1", q.line)
      if q.connection == 1 then return answer("no", "", "403 No") end
      return "HTTP/1.1 200 OK\r\n\r\nthrough"
    end)
    local conn = connect(base, o.port)
    local text, message
    local r = fetch(base, conn, "CONNECT", "some.test:1", nil, function(req)
      assert.is_false(pcall(function()
        assert(req:upgrade())
      end))
    end)
    assert.same({403, "no"}, {r.code, r.body})
    conn = connect(base, o.port)
    fetch(base, conn, "CONNECT", "some.test:1", nil, function(req)
      local bev
      bev, message = req:upgrade()
      text = assert(bev, message):read()
      bev:close()
    end)
    assert.equal("through", text)
    base:close()
  end)

  it("is closed if nobody takes it, and connects for the next request",
  function()
    local base = t.base()
    local o = origin.start(base, function(q)
      if q.connection == 1 then return "HTTP/1.1 101 Switching\r\n\r\n" end
      return answer "next"
    end)
    local conn = connect(base, o.port)
    local a, b = request(conn, "GET", "/"), request(conn, "GET", "/")
    await(base, a, b)
    assert.same({101, "next"}, {a.code, b.body})
    base:close()
  end)
end)

-- Each place where a request can be when something happens to it.
local places = {
  {"while it waits for its turn", function(_, conn, act)
    conn:make_request("GET", "/first", nil, function() end)
    local req = conn:make_request("GET", "/", nil, t.never())
    act(req, true)
  end},
  {"before it is connected", function(_, conn, act)
    act(conn:make_request("GET", "/", nil, t.never()), true)
  end},
  {"while it waits for the answer", function(base, conn, act)
    local req = conn:make_request("GET", "/slow", nil, t.never())
    base:timer(function() act(req) end):add(0.01)
  end},
  {"in its stream", function(_, conn, act)
    conn:make_request("POST", "/slow", {stream = function(req)
      req:send_chunk "some"
      act(req)
    end}, t.never())
  end},
  {"while it sends", function(_, conn, act)
    conn:make_request("POST", "/slow", {stream = function(req)
      req:send_chunk("some", function() act(req) end)
    end}, t.never())
  end},
  {"in header_cb", function(_, conn, act)
    conn:make_request("GET", "/", {header_cb = act}, t.never())
  end},
  {"in chunked_cb", function(_, conn, act)
    conn:make_request("GET", "/", {chunked_cb = function(req, data)
      if data then act(req) end
    end}, t.never())
  end},
  {"at the end of chunked_cb", function(_, conn, act)
    conn:make_request("GET", "/", {chunked_cb = function(req, data)
      if not data then act(req) end
    end}, t.never())
  end},
  {"while it is paused", function(base, conn, act)
    local req
    req = conn:make_request("GET", "/", {chunked_cb = function()
      req:pause()
      base:timer(function() act(req) end):add(0.005)
    end}, t.never())
  end},
  {"in its callback", function(_, conn, act)
    conn:make_request("GET", "/", nil, t.expect(act))
  end, over = true},
  {"in its callback, for an answer that closes", function(_, conn, act)
    conn:make_request("GET", "/close", nil, t.expect(act))
  end, over = true},
  {"in its callback, when it has failed", function(_, conn, act)
    local req
    req = conn:make_request("GET", "/vanish", nil, t.expect(function()
      act(req)
    end))
  end, over = true},
}

local function several(base)
  return origin.start(base, function(q)
    if q.line:find "/slow" then return nil end
    if q.line:find "/vanish" then return nil, "vanish" end
    if q.line:find "/close" then
      return answer("some data", "Connection: close\r\n"), "close"
    end
    return answer "some data"
  end)
end

for _, place in ipairs(places) do
  describe("A request of an HttpConnection " .. place[1], function()
    before_each(t.start)
    after_each(t.finish)

    it("can be closed, and the next one is sent", function()
      local base = t.base()
      local conn = connect(base, several(base).port)
      place[2](base, conn, function(req)
        req:close()
        req:close()
        collectgarbage()
      end)
      local r = fetch(base, conn, "GET", "/next")
      assert.equal("some data", r.body)
      t.turns(base, 5)
      base:close()
    end)

    it("can be closed, and nothing is left in the loop", function()
      local base = t.base()
      local o = several(base)
      local closed
      place[2](base, connect(base, o.port), function(req)
        req:close()
        closed = true
      end)
      if not closed then t.runtill(base, function() return closed end) end
      t.runfor(base, 0.02)                  -- for the first in the queue, too
      o.rest()
      assert.equal(0, base:num_events())
      base:close()
    end)

    it("can have its connection closed", function()
      local base = t.base()
      local conn = connect(base, several(base).port)
      local done
      place[2](base, conn, function()
        conn:close()
        conn:close()
        done = true
      end)
      if not done then t.runtill(base, function() return done end) end
      t.turns(base, 5)
      t.raises("closed", conn.make_request, conn, "GET", "/", nil, print)
      base:close()
    end)

    it("can have its base closed", function()
      local base = t.base()
      place[2](base, connect(base, several(base).port), function()
        base:close()
        collectgarbage()
      end)
      if not t.isclosed(base) then t.run(base) end
      assert.is_true(t.isclosed(base))
    end)

    it("survives garbage collections when nobody holds it", function()
      local base = t.base()
      local o = several(base)
      local done
      do
        local conn = connect(base, o.port)
        place[2](base, conn, function(req)
          collectgarbage() collectgarbage()
          if req then req:close() end
          done = true
        end)
      end
      repeat
        collectgarbage()
        base:loop "once"
      until done
      base:close()
    end)
  end)
end

describe("A request of an HttpConnection that cannot connect", function()
  before_each(t.start)
  after_each(t.finish)

  it("can be closed, and the loop ends at once", function()
    local base = t.base()
    local port, waiting = origin.full(base)
    local req = connect(base, port):make_request("GET", "/", nil, t.never())
    t.runfor(base, 0.01)
    req:close()
    for _, object in ipairs(waiting) do object:close() end
    t.run(base, 0.3)
    base:close()
  end)

  it("can be closed while its name is looked up", function()
    local base = t.base()
    local asked = 0
    local server = base:dns_server("127.0.0.1:0", function(query)
      asked = asked + 1
      query:drop()
    end)
    local dns = base:dns {nameservers = {server:sockname()}, hosts = false}
    local conn = base:http_connection("some.test", 80, {dns = dns})
    local req = conn:make_request("GET", "/", nil, t.never())
    t.runtill(base, function() return asked > 0 end)
    req:close()
    conn:make_request("GET", "/", nil, t.never())
    t.turns(base, 3)
    conn:close()
    server:close()
    t.run(base, 0.3)
    base:close()
  end)

  it("is sent when the one before it has been closed", function()
    local base = t.base()
    local o = origin.always(base, answer "second")
    local conn = connect(base, o.port)
    local first = conn:make_request("GET", "/1", nil, t.never())
    local r = request(conn, "GET", "/2")
    first:close()
    assert.equal("second", await(base, r).body)
    assert.equal(1, #o.requests)
    base:close()
  end)
end)

describe("A request of an HttpConnection whose callback raises", function()
  before_each(t.start)
  after_each(t.finish)

  local function boom() error("oh no") end

  for name, make in pairs {
    stream = function(conn)
      conn:make_request("POST", "/slow", {stream = boom}, t.never())
    end,
    ["callback of a chunk"] = function(conn)
      conn:make_request("POST", "/slow", {stream = function(req)
        req:send_chunk("some", boom)
      end}, t.never())
    end,
    header_cb = function(conn)
      conn:make_request("GET", "/", {header_cb = boom}, t.never())
    end,
    chunked_cb = function(conn)
      conn:make_request("GET", "/", {chunked_cb = boom}, t.never())
    end,
    ["end of a chunked_cb"] = function(conn)
      conn:make_request("GET", "/", {chunked_cb = function(_, data)
        if not data then boom() end
      end}, t.never())
    end,
    ["last callback"] = function(conn)
      conn:make_request("GET", "/", nil, boom)
    end,
    ["last callback, of a failure"] = function(conn)
      conn:make_request("GET", "/vanish", nil, boom)
    end,
  } do
    it("in its " .. name .. " is over, and the queue goes on", function()
      local base = t.base()
      local conn = connect(base, several(base).port)
      make(conn)
      local r = request(conn, "GET", "/next")
      local ok, message
      repeat ok, message = pcall(base.loop, base, "once") until not ok or r.done
      assert.is_false(ok)
      assert.matches("oh no", message, 1, true)
      await(base, r)
      assert.equal("some data", r.body)
      local report = t.expect(function(err, object)
        assert.matches("oh no", err, 1, true)
        assert.equal(conn, object)
      end)
      base:set_error_cb(report)
      make(conn)
      assert.equal("some data", fetch(base, conn, "GET", "/next").body)
      base:close()
    end)
  end
end)

describe("What is left of an HttpConnection", function()
  before_each(t.start)
  after_each(t.finish)

  it("is nothing when nobody holds it and it has nothing to do", function()
    local base = t.base()
    local o = origin.always(base, answer "")
    local weak = setmetatable({}, {__mode = "k"})
    do
      local conn = connect(base, o.port)
      weak[conn] = true
      local r = fetch(base, conn, "GET", "/")
      weak[r.made] = true
    end
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    base:close()
  end)

  it("is what its answers say, without it", function()
    local base = t.base()
    local o = origin.always(base, answer("the body", "X-A: b\r\n"))
    local conn = connect(base, o.port)
    local r = fetch(base, conn, "GET", "/")
    conn:close()
    base:close()
    assert.equal("the body", r.req:body())
    assert.equal("b", r.req:find_header "x-a")
    assert.equal(200, r.req:response_code())
    assert.equal(o.address, r.req:peername())
    t.refused(ECONNRESET, r.req:base())
  end)

  it("is the loop's end, while requests wait for it", function()
    local base = t.base()
    local done = {}
    local o = origin.always(base, answer "", "close")
    for i = 1, 3 do
      connect(base, o.port):make_request("GET", "/", nil, function()
        done[i] = true
        if done[1] and done[2] and done[3] then o.listener:close() end
      end)
    end
    collectgarbage()
    t.run(base)
    assert.same({true, true, true}, done)
    base:close()
  end)

  it("makes requests in the callbacks of others", function()
    local base = t.base()
    local o = origin.always(base, answer "")
    local conn = connect(base, o.port)
    local n = 0
    local function again()
      n = n + 1
      if n < 50 then conn:make_request("GET", "/" .. n, nil, again) end
    end
    again()
    t.runtill(base, function() return n == 50 end)
    assert.equal(49, #o.requests)
    assert.equal(1, o.connections)
    base:close()
  end)
end)
