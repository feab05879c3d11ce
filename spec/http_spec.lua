-- src/http.c: the server: where it listens, whom it calls, how long it waits,
-- how much it takes, and its end.
local http = require "spec.http"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local EADDRINUSE, ECONNRESET = 98, 104

--- A handler that answers with these words.
local function saying(words)
  return function(req) req:send_reply(200, nil, words) end
end

local function path(req) req:send_reply(200, nil, req:path()) end

--- The status and the body that a server gives to a request.
local function ask(s, ...)
  local answer = s:ask(...)
  return answer.status, answer.body
end

--- The seconds that f takes.
local function duration(base, f)
  local since = base:gettime_monotonic()
  f()
  return base:gettime_monotonic() - since
end

describe("an HTTP server", function()
  before_each(t.start)
  after_each(t.finish)

  it("is made by a base, and needs nothing else", function()
    local base <close> = t.base()
    local server = base:http()
    assert.matches("^libevent%.Http %(0x%x+%)$", tostring(server))
    assert.equal(base, server:base())
    assert.equal(0, server:connection_count())
    assert.equal(0, base:num_events())
    assert.is_false(base:dispatch())
  end)

  it("lives as long as it is bound to a socket", function()
    local s <close> = http.start(path)
    s.http, s.listener = nil, nil
    collectgarbage() collectgarbage()
    assert.equal(200, (ask(s, "GET /")))
  end)

  it("lives as long as it has a connection", function()
    local s <close> = http.start(path)
    local client = s:dial()
    client:send(http.request "GET /1"):wait()
    s.listener:close()
    s.http, s.listener = nil, nil
    collectgarbage() collectgarbage()
    assert.equal("/2", client:send(http.request "GET /2"):wait(2).body)
    client:close()
    t.run(s.base)                               -- nothing is left
  end)

  it("takes options that it knows, and no other ones", function()
    local base <close> = t.base()
    base:http {max_line_size = 1, max_headers_size = 1, max_headers = 1,
      max_body_size = 0, header_timeout = 0.001, body_timeout = 1,
      idle_timeout = 1e6, write_timeout = 1, max_connections = 1,
      allowed_methods = "GET", default_content_type = ""}
    base:http {max_line_size = false, max_headers_size = false,
      max_headers = false, max_body_size = false, header_timeout = false,
      body_timeout = false, idle_timeout = false, write_timeout = false,
      max_connections = false, default_content_type = false}
    t.raises("max_headers_sizes", base.http, base, {max_headers_sizes = 1})
    for _, bad in ipairs {1, "x", true, print} do
      t.raises("bad argument #2", base.http, base, bad)
    end
    for name, values in pairs {
      max_line_size = {0, -1, 0.5, "x", true, 1 << 40},
      max_headers_size = {0, -1, 0.5, "x", true, 1 << 40},
      max_headers = {0, -1, {}},
      max_body_size = {-1, 0.5, "x", true},
      header_timeout = {-1, 0, 0 / 0, "x", true, {}},
      body_timeout = {-1, 0}, idle_timeout = {-1, 0}, write_timeout = {-1, 0},
      max_connections = {0, -1, "x"},
      allowed_methods = {"get", "PULL", 1, false},
      default_content_type = {1, true, "a\r\nB: c"}} do
      for _, bad in ipairs(values) do
        t.raises("bad argument #2", base.http, base, {[name] = bad})
      end
    end
    t.raises("libevent.Base expected", base.http, 1)
  end)

  it("answers on any number of sockets", function()
    local base <close> = t.base()
    local server = base:http():set_gencb(path)
    local there = t.path()
    local addresses = {}
    for i, address in ipairs {"127.0.0.1:0", "127.0.0.1:0", "[::1]:0",
                              "unix:" .. there} do
      local listener = assert(server:bind_socket(address))
      assert.matches("^libevent.Listener", tostring(listener))
      addresses[i] = listener:sockname()
    end
    for _, address in ipairs(addresses) do
      local client = http.dial(base, address):send(http.request "GET /here")
      assert.equal("/here", client:wait().body)
      client:close()
    end
    os.remove(there)
  end)

  it("answers on a descriptor, with options of a listener", function()
    local base <close> = t.base()
    local server = base:http():set_gencb(path)
    local socket, port = sockets.listen()
    local listener = assert(server:bind_socket(socket:getfd()))
    local client = http.dial(base, "127.0.0.1:" .. port)
    assert.equal(200, client:send(http.request "GET /"):wait().status)
    client:close()
    listener:close()
    socket:setfd(-1)
    assert(server:bind_socket("127.0.0.1:0", {backlog = 5})):close()
    t.raises("nonsense", server.bind_socket, server, "127.0.0.1:0",
      {nonsense = 1})
  end)

  it("is refused an address that is taken", function()
    local s <close> = http.start(path)
    t.refused(EADDRINUSE, s.http:bind_socket(s.address))
    for _, bad in ipairs {"nonsense", "127.0.0.1", "1.2.3.4:99999"} do
      t.raises("address", s.http.bind_socket, s.http, bad)
    end
    t.raises("bad argument", s.http.bind_socket, s.http)
  end)

  it("has listeners that can be disabled and closed one by one", function()
    local s <close> = http.start(path)
    local second = assert(s.http:bind_socket "127.0.0.1:0")
    local client = s:dial()
    client:send(http.request "GET /"):wait()
    s.listener:close()
    assert.equal(200, client:send(http.request "GET /"):wait(2).status)
    client:close()
    second:disable()
    client = http.dial(s.base, second:sockname())
    client:send(http.request "GET /")
    t.turns(s.base, 10)
    assert.equal("", client:text())
    second:enable()
    assert.equal(200, client:wait().status)
    client:close()
  end)

  it("says what is wrong with its arguments", function()
    local base <close> = t.base()
    local server = base:http()
    for _, bad in ipairs {1, true, {}} do
      t.raises("function expected", server.set_gencb, server, bad)
      t.raises("function expected", server.set_cb, server, "/", bad)
      t.raises("function expected", server.stop, server, bad)
      t.raises("bad argument #2", server.set_timeouts, server, 1)
      t.raises("libevent.Http expected", server.remove_virtual_host, server,
        bad)
      t.raises("libevent.Http expected", server.add_virtual_host, server, "a",
        bad)
    end
    for _, bad in ipairs {1, true, {}, print} do
      t.raises("string expected", server.set_cb, server, bad, print)
      t.raises("string expected", server.del_cb, server, bad)
    end
    for _, options in ipairs {{streams = true}, {stream = 1},
      {max_body_size = -1}, {max_body_size = "x"}, 1} do
      t.raises("bad argument #4", server.set_cb, server, "/", print, options)
      t.raises("bad argument #3", server.set_gencb, server, print, options)
    end
    for name, values in pairs {
      set_timeout = {-1, "x", {}, 0 / 0},
      set_max_headers_size = {0, -1, "x"},
      set_max_body_size = {-1, "x"},
      set_max_connections = {0, -1, "x"},
      set_default_content_type = {1, {}, "a\nb"},
      set_allowed_methods = {"get", {}, "PULL"},
      set_timeouts = {{nonsense = 1}, {idle_timeout = 0},
                      {idle_timeout = "x"}},
      add_virtual_host = {"", ("x"):rep(256), {}, "a\0b"},
      add_server_alias = {"", ("x"):rep(256), {}, "a\0b"},
      remove_server_alias = {"", {}}} do
      for _, bad in ipairs(values) do
        t.raises("bad argument #2", server[name], server, bad, base:http())
      end
    end
    t.raises("bad argument #2", server.set_max_headers_size, server)
    t.raises("bad argument #2", server.set_allowed_methods, server)
  end)

  it("returns itself where there is nothing else to return", function()
    local base <close> = t.base()
    local s, vhost = base:http(), base:http()
    for _, result in ipairs {s:set_cb("/", print), s:set_gencb(print),
      s:set_allowed_methods "GET", s:set_timeout(1), s:set_timeout(),
      s:set_timeouts {header_timeout = 1}, s:set_max_headers_size(1000),
      s:set_max_body_size(0), s:set_max_body_size(), s:set_max_connections(1),
      s:set_max_connections(), s:set_default_content_type "a/b",
      s:set_default_content_type(), s:add_virtual_host("*", vhost),
      s:add_server_alias "a", s:stop(), s:close()} do
      assert.equal(s, result)
    end
  end)

  it("that is closed says so", function()
    local base <close> = t.base()
    local server = base:http()
    server:close()
    server:close()
    assert.equal("libevent.Http (closed)", tostring(server))
    for _, name in ipairs {"bind_socket", "set_cb", "del_cb", "set_gencb",
      "set_allowed_methods", "set_timeout", "set_timeouts", "base",
      "set_max_headers_size", "set_max_body_size", "set_max_connections",
      "set_default_content_type", "add_virtual_host", "remove_virtual_host",
      "add_server_alias", "remove_server_alias", "connection_count",
      "stop"} do
      t.raises("Http is closed", server[name], server)
      t.raises("libevent.Http expected, got libevent.Base", server[name], base)
    end
  end)
end)

describe("a handler", function()
  before_each(t.start)
  after_each(t.finish)

  it("is called for its path, as it is after decoding", function()
    local s <close> = http.start(saying "other")
    s.http:set_cb("/a b", saying "spaced"):set_cb("/a", saying "a")
    s.http:set_cb("/A", saying "capital"):set_cb("/a/", saying "a/")
    s.http:set_cb("*", saying "all")
    for target, words in pairs {["/a%20b"] = "spaced", ["/%61+b"] = "other",
      ["/a"] = "a", ["/%61"] = "a", ["/b/../a"] = "a", ["/a?b"] = "a",
      ["/A"] = "capital", ["/a/"] = "a/", ["/a/."] = "a/", ["//a"] = "other",
      ["/a/b"] = "other", ["/"] = "other", ["http://some.test/a"] = "a",
      ["/*"] = "other"} do
      assert.same({200, words}, {ask(s, "GET " .. target)})
    end
    assert.equal("all", s:ask("OPTIONS *").body)
  end)

  it("is the last one that was set, or none", function()
    local s <close> = http.start()
    assert.equal(404, (ask(s, "GET /")))
    s.http:set_cb("/", saying "first"):set_cb("/", saying "second")
    assert.same({200, "second"}, {ask(s, "GET /")})
    assert.is_true(s.http:del_cb "/")
    assert.is_false(s.http:del_cb "/")
    assert.equal(404, (ask(s, "GET /")))
    s.http:set_cb("/", saying "third"):set_gencb(saying "any")
    assert.same({200, "third"}, {ask(s, "GET /")})
    s.http:set_cb("/", nil)
    assert.same({200, "any"}, {ask(s, "GET /")})
    s.http:set_gencb(nil)
    assert.equal(404, (ask(s, "GET /")))
  end)

  it("is looked for again when a body has come", function()
    local s <close> = http.start()
    s.http:set_cb("/", t.never())
    local client = s:dial():send(http.request("POST /",
      {"Content-Length: 4"}) .. "bo")
    t.turns(s.base, 10)
    s.http:set_cb("/", saying "new")
    assert.equal("new", client:send("dy"):wait().body)
    client:send(http.request("POST /", {"Content-Length: 4"}) .. "bo")
    t.turns(s.base, 10)
    s.http:del_cb "/"
    assert.equal(404, client:send("dy"):wait(2).status)
    client:close()
  end)

  it("can be given new ones by itself", function()
    local s <close> = http.start()
    local server = s.http
    server:set_cb("/", function(req)
      server:del_cb "/"
      server:set_cb("/b", saying "b")
      collectgarbage()
      req:send_reply(200, nil, "a")
    end)
    assert.same({200, "a"}, {ask(s, "GET /")})
    assert.equal(404, (ask(s, "GET /")))
    assert.same({200, "b"}, {ask(s, "GET /b")})
  end)

  it("has options of its own", function()
    local s <close> = http.start(path, {max_body_size = 10})
    s.http:set_cb("/big", path, {max_body_size = 20})
    s.http:set_cb("/small", path, {max_body_size = 5})
    s.http:set_cb("/any", path, {max_body_size = false})
    s.http:set_cb("/none", path, {max_body_size = 0})
    for target, limit in pairs {["/"] = 10, ["/big"] = 20, ["/small"] = 5,
                                ["/none"] = 0} do
      assert.equal(200, (ask(s, "POST " .. target, {}, ("x"):rep(limit))))
      assert.equal(413, (ask(s, "POST " .. target, {}, ("x"):rep(limit + 1))))
    end
    assert.equal(200, (ask(s, "POST /any", {}, ("x"):rep(3000000))))
    s.http:set_cb("/small", path)               -- and then no longer
    assert.equal(200, (ask(s, "POST /small", {}, ("x"):rep(10))))
  end)
end)

describe("a virtual host", function()
  before_each(t.start)
  after_each(t.finish)

  --- What hosts are answered with.
  local function hosts(s, wanted)
    for host, words in pairs(wanted) do
      assert.equal(words, s:ask("GET /", {"Host: " .. host}).body, host)
    end
  end

  it("has the requests for the names that fit its pattern", function()
    local s <close> = http.start(saying "main")
    local a = s.base:http():set_gencb(saying "a")
    local b = s.base:http():set_gencb(saying "b")
    s.http:add_virtual_host("*.Example.org", a):add_virtual_host("b.test", b)
    s.http:add_virtual_host("b.*.*.test", b)
    hosts(s, {["www.example.org"] = "a", ["WWW.EXAMPLE.ORG:80"] = "a",
      ["a.b.example.org"] = "a", ["example.org"] = "main",
      [".example.org"] = "a", ["www.example.org.test"] = "main",
      ["b.test"] = "b", ["ab.test"] = "main", ["b.test."] = "main",
      ["b.x.y.test"] = "b", ["b.x.test"] = "main", [""] = "main",
      ["127.0.0.1"] = "main", ["[::1]"] = "main"})
    assert.equal("b", s:ask("GET http://b.test/", {"Host: x.test"}).body)
  end)

  it("has the requests for its other names", function()
    local s <close> = http.start(saying "main")
    local a = s.base:http():set_gencb(saying "a")
    s.http:add_virtual_host("a.test", a)
    a:add_server_alias "Other.test":add_server_alias "third.test"
    hosts(s, {["a.test"] = "a", ["OTHER.test"] = "a", ["third.test:1"] = "a",
              ["x.other.test"] = "main"})
    assert.is_true(a:remove_server_alias "other.TEST")
    assert.is_false(a:remove_server_alias "other.test")
    hosts(s, {["other.test"] = "main", ["third.test"] = "a"})
  end)

  it("can have virtual hosts", function()
    local s <close> = http.start(saying "main")
    local a = s.base:http():set_gencb(saying "a")
    local b = s.base:http():set_gencb(saying "b")
    s.http:add_virtual_host("*.test", a)
    a:add_virtual_host("b.*", b)
    hosts(s, {["a.test"] = "a", ["b.test"] = "b", ["b.org"] = "main"})
    t.raises("its own virtual host", b.add_virtual_host, b, "x", s.http)
    t.raises("its own virtual host", b.add_virtual_host, b, "x", b)
  end)

  it("is the first one that fits, until it is taken away", function()
    local s <close> = http.start(saying "main")
    local a = s.base:http():set_gencb(saying "a")
    local b = s.base:http():set_gencb(saying "b")
    s.http:add_virtual_host("*", a):add_virtual_host("b.test", b)
    s.http:add_virtual_host("b.*", a)
    hosts(s, {["b.test"] = "a", ["x"] = "a"})
    assert.is_true(s.http:remove_virtual_host(a))
    assert.is_false(s.http:remove_virtual_host(a))
    hosts(s, {["b.test"] = "b", ["x"] = "main"})
    assert.is_true(s.http:remove_virtual_host(b))
    hosts(s, {["b.test"] = "main"})
  end)

  it("has paths, limits of bodies and 404s of its own", function()
    local s <close> = http.start(path)
    local a = s.base:http {max_body_size = 5}
    a:set_cb("/a", saying "a")
    s.http:add_virtual_host("a.test", a)
    local function of(...) return (ask(s, ...)) end
    assert.equal(200, of("GET /a", {"Host: a.test"}))
    assert.equal(404, of("GET /b", {"Host: a.test"}))
    assert.equal(200, of("GET /b"))
    assert.equal(413, of("POST /a", {"Host: a.test"}, "123456"))
    assert.equal(200, of("POST /a", {}, "123456"))
  end)

  it("is kept by the server that it belongs to", function()
    local s <close> = http.start(saying "main")
    s.http:add_virtual_host("a.test", s.base:http():set_gencb(saying "a"))
    collectgarbage() collectgarbage()
    hosts(s, {["a.test"] = "a"})
  end)

  it("that is closed leaves nobody without an answer", function()
    local s <close> = http.start(saying "main")
    local a = s.base:http():set_gencb(saying "a")
    s.http:add_virtual_host("a.test", a)
    a:close()
    assert.is_number((ask(s, "GET /", {"Host: a.test"})))
    assert.is_true(s.http:remove_virtual_host(a))
    hosts(s, {["a.test"] = "main"})
  end)

  it("is on the same base", function()
    local base <close> = t.base()
    local other <close> = t.base()
    t.raises("of another base", base:http().add_virtual_host, base:http(), "x",
      other:http())
  end)

  it("is found in no time by a pattern of any kind", function()
    local s <close> = http.start(saying "main")
    s.http:add_virtual_host(("*a"):rep(60) .. "b", s.base:http())
    local seconds = duration(s.base, function()
      hosts(s, {[("a"):rep(250)] = "main"})
    end)
    assert.is_true(seconds < 1, seconds)
  end)
end)

describe("a method", function()
  before_each(t.start)
  after_each(t.finish)

  it("is one of seven", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, req:command())
    end)
    for _, method in ipairs {"GET", "POST", "PUT", "DELETE", "OPTIONS",
                             "PATCH", "HEAD"} do
      local answer = s:ask(method .. " /")
      assert.equal(200, answer.status)
      assert.equal(method, answer.reason)
    end
  end)

  it("that is known and not allowed is answered 405, and what is", function()
    local s <close> = http.start(path)
    for _, method in ipairs {"TRACE", "PROPFIND", "PROPPATCH", "MKCOL", "LOCK",
                             "UNLOCK", "COPY", "MOVE"} do
      local answer = s:ask(method .. " /")
      assert.equal(405, answer.status)
      assert.equal("GET, POST, HEAD, PUT, DELETE, OPTIONS, PATCH",
        answer.headers.allow)
    end
    assert.equal(405, s:ask("CONNECT some.test:80").status)
  end)

  it("that is not known is answered 501", function()
    local s <close> = http.start(path)
    for _, method in ipairs {"get", "GETS", "GE", "PULL", "X-Y",
                             ("X"):rep(1000)} do
      local answer = s:ask(method .. " /")
      assert.equal(501, answer.status)
      assert.is_nil(answer.headers.allow)
    end
  end)

  it("is allowed by the script", function()
    local s <close> = http.start(path, {allowed_methods = "GET|MOVE"})
    assert.equal(200, (ask(s, "MOVE /")))
    assert.equal("GET, MOVE", s:ask("POST /").headers.allow)
    s.http:set_allowed_methods "POST"
    assert.equal(405, (ask(s, "GET /")))
    assert.equal("POST", s:ask("GET /").headers.allow)
    assert.equal(200, (ask(s, "POST /")))
  end)

  it("that is not allowed does not end the connection", function()
    local s <close> = http.start(path)
    local client = s:dial():send(http.request("TRACE /", {}, "body")
      .. http.request("PULL /", {"Transfer-Encoding: chunked"})
      .. http.chunked("some", "body") .. http.request "GET /after")
    assert.equal(405, client:wait(1).status)
    assert.equal(501, client:wait(2).status)
    assert.equal("/after", client:wait(3).body)
    client:close()
  end)
end)

describe("the time", function()
  before_each(t.start)
  after_each(t.finish)

  local short = 0.05

  --- Waits for the end of a connection, which comes after that time.
  local function ended(s, client, from)
    local answers, rest, over
    local seconds = duration(s.base, function()
      answers, rest, over = client:finish()
    end)
    assert.is_true(seconds > (from or 0.03) and seconds < 0.5 * t.slow, seconds)
    assert.equal("", rest)
    assert.equal("eof", over)
    s:idle()
    return answers[#answers], #answers
  end

  it("of a client that says nothing is short", function()
    local s <close> = http.start(path, {header_timeout = short})
    assert.is_nil((ended(s, s:dial())))
  end)

  it("for a head is short: 408", function()
    local s <close> = http.start(path, {header_timeout = short})
    for _, bytes in ipairs {"G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nX",
                            http.request "GET /":sub(1, -2)} do
      local answer = ended(s, s:dial():send(bytes))
      assert.equal(408, answer.status)
      assert.equal("close", answer.headers.connection)
    end
  end)

  it("for a head is not lengthened by a byte now and then", function()
    local s <close> = http.start(path, {header_timeout = short})
    local client = s:dial():send "GET / HTTP/1.1\r\n"
    local timer = s.base:timer(function() client:send "X" end, "persist")
    timer:add(0.005)
    assert.equal(408, ended(s, client).status)
    timer:close()
  end)

  it("for the next head is as short", function()
    local s <close> = http.start(path, {header_timeout = short})
    local client = s:dial()
    client:send(http.request "GET /"):wait()
    local answer, n = ended(s, client:send "GET")
    assert.equal(408, answer.status)
    assert.equal(2, n)
  end)

  it("between two pieces of a body is short: 408", function()
    local s <close> = http.start(t.never(), {body_timeout = short})
    local bytes = http.request("POST /", {"Content-Length: 9"})
    assert.equal(408, ended(s, s:dial():send(bytes)).status)
    assert.equal(408, ended(s, s:dial():send(bytes .. "body")).status)
    bytes = http.request("POST /", {"Transfer-Encoding: chunked"})
    for _, piece in ipairs {"", "5", "5\r\nabc", "0\r\n", "0\r\nX: y\r\n"} do
      assert.equal(408, ended(s, s:dial():send(bytes .. piece)).status)
    end
  end)

  it("of a body is long if it goes on", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, req:body())
    end, {body_timeout = 0.1 * t.slow})
    local client = s:dial():send(http.request("POST /", {"Content-Length: 20"}))
    local timer = s.base:timer(function() client:send "x" end, "persist")
    timer:add(0.01 * t.slow)
    assert.equal(("x"):rep(20), client:wait().body)
    timer:close()
    client:close()
  end)

  it("of a body that its handler does not want now does not run", function()
    local kept
    local s <close> = http.start(function(req) kept = req end,
      {body_timeout = 0.02}, {stream = true})
    local client = s:dial():send(http.request("POST /", {"Content-Length: 5"}))
    http.till(s.base, function() return kept end)
    t.runfor(s.base, 0.06)
    assert.is_false(client.over)
    kept:set_chunked_cb(function() end):pause()
    t.runfor(s.base, 0.06)
    assert.is_false(client.over)
    kept:resume()
    assert.equal(408, ended(s, client, 0.01).status)
  end)

  it("of a handler does not run", function()
    local s <close> = http.start(function(req)
      req:base():timer(function() path(req) end):add(0.1)
    end, {header_timeout = 0.02, body_timeout = 0.02, idle_timeout = 0.02,
          write_timeout = 0.02})
    local client = s:dial():send(http.request("POST /slow", {}, "body"))
    assert.equal("/slow", client:wait().body)
    client:close()
  end)

  it("between two requests is short, and nothing is said of it", function()
    local s <close> = http.start(path, {idle_timeout = short})
    local client = s:dial()
    client:send(http.request "GET /"):wait()
    local answer, n = ended(s, client)
    assert.equal(200, answer.status)
    assert.equal(1, n)
  end)

  it("of a client that takes nothing is short", function()
    local kept, told
    local s <close> = http.start(function(req)
      kept = req
      req:set_closecb(function(r, ...) told = {r, ...} end)
      req:send_reply_start(200)
      req:send_reply_chunk(("x"):rep(1 << 23))
    end, {write_timeout = short})
    local client = s:dial(true):send(http.request "GET /")
    http.till(s.base, function() return s.http:connection_count() > 0 end)
    local seconds = duration(s.base, function() s:idle() end)
    assert.is_true(seconds > 0.01 and seconds < 0.5 * t.slow, seconds)
    assert.equal(kept, told[1])
    assert.equal("timeout", told[2])
    assert.is_string(told[3])
    assert.equal(110, told[4])
    client:close()
  end)

  it("is set for all at once", function()
    local s <close> = http.start(path)
    s.http:set_timeout(short)
    assert.is_nil((ended(s, s:dial())))
    assert.equal(408, ended(s, s:dial():send "GET").status)
    local client = s:dial()
    client:send(http.request "GET /"):wait()
    ended(s, client)
    s.http:set_timeouts {idle_timeout = false, header_timeout = 60}
    client = s:dial()
    client:send(http.request "GET /"):wait()
    t.runfor(s.base, 0.08)
    assert.is_false(client.over)
    client:close()
    s.http:set_timeout()
    client = s:dial():send "GET"
    t.runfor(s.base, 0.08)
    assert.is_false(client.over)
    client:close()
  end)

  it("that the loop itself needs is nobody's", function()
    local s <close> = http.start(path, {header_timeout = 0.1,
                                        idle_timeout = 0.1})
    local client = s:dial()
    client:send(http.request "GET /1"):wait()
    local since = os.clock()
    while os.clock() - since < 0.3 do end
    assert.equal("/2", client:send(http.request "GET /2"):wait(2).body)
    client:close()
  end)
end)

describe("the size", function()
  before_each(t.start)
  after_each(t.finish)

  --- The status of the answer to all of these bytes, and to each of them: the
  --- connection is closed.
  local function closes(s, status, bytes)
    for _, slowly in ipairs {false, true} do
      local answers, rest, over = s:exchange(bytes, slowly)
      assert.equal(status, answers[#answers].status)
      assert.equal("close", answers[#answers].headers.connection)
      assert.equal("", rest)
      assert.equal("eof", over)
    end
  end

  it("of the first line is limited: 414", function()
    local s <close> = http.start(path, {max_line_size = 100})
    local line = "GET /%s HTTP/1.1"
    local longest = line:format(("x"):rep(100 - #line + 2))
    assert.equal(100, #longest)
    assert.equal(200, (ask(s, longest)))
    closes(s, 414, http.request(line:format(("x"):rep(100 - #line + 3))))
    closes(s, 414, ("x"):rep(200))
    closes(s, 414, "GET /" .. ("x"):rep(200))
  end)

  it("of the first line is 8 KiB unless it is said", function()
    local s <close> = http.start(path)
    assert.equal(200, (ask(s, "GET /" .. ("x"):rep(8000))))
    assert.equal(414, (ask(s, "GET /" .. ("x"):rep(8192))))
  end)

  it("of the fields is limited: 431", function()
    local s <close> = http.start(path, {max_headers_size = 100})
    local fields = "Host: some.test\r\nX: "
    local longest = ("x"):rep(100 - #fields - 2)
    assert.equal(200, (ask(s, "GET /", {"Host: some.test", "X: " .. longest})))
    closes(s, 431, "GET / HTTP/1.1\r\n" .. fields .. longest .. "x\r\n\r\n")
    closes(s, 431, "GET / HTTP/1.1\r\n" .. ("x"):rep(200))
    closes(s, 431, "GET / HTTP/1.1\r\nX: " .. ("x"):rep(200))
    closes(s, 431, "GET / HTTP/1.1\r\n" .. ("X: y\r\n"):rep(100))
    s.http:set_max_headers_size(1000)
    assert.equal(200, (ask(s, "GET /", {"X: " .. ("x"):rep(900)})))
    closes(s, 431, http.request("GET /", {"X: " .. ("x"):rep(1000)}))
  end)

  it("of the fields is 16 KiB unless it is said", function()
    local s <close> = http.start(path)
    assert.equal(200, (ask(s, "GET /", {"X: " .. ("x"):rep(16000)})))
    assert.equal(431, (ask(s, "GET /", {"X: " .. ("x"):rep(16384)})))
  end)

  it("of the list of fields is limited: 431", function()
    local s <close> = http.start(path, {max_headers = 3})
    assert.equal(200, (ask(s, "GET /", {"A: 1", "B: 2"})))
    closes(s, 431, http.request("GET /", {"A: 1", "B: 2", "C: 3"}))
    local usual <close> = http.start(path)
    local list = {}
    for i = 1, 99 do list[i] = "X: " .. i end
    assert.equal(200, (ask(usual, "GET /", list)))
    list[100] = "Y: z"
    assert.equal(431, (ask(usual, "GET /", list)))
  end)

  it("of trailers is limited as that of fields: 431", function()
    local s <close> = http.start(t.never(), {max_headers = 5,
                                             max_headers_size = 200})
    local bytes = http.request("POST /", {"Transfer-Encoding: chunked"})
                  .. "3\r\nabc\r\n0\r\n"
    closes(s, 431, bytes .. ("X: y\r\n"):rep(6) .. "\r\n")
    closes(s, 431, bytes .. "X: " .. ("x"):rep(300))
  end)

  it("of a body is limited: 413", function()
    local s <close> = http.start(path, {max_body_size = 10})
    assert.equal(200, (ask(s, "POST /", {}, ("x"):rep(10))))
    closes(s, 413, http.request("POST /", {}, ("x"):rep(11)))
    closes(s, 413, http.request("POST /", {"Content-Length: 11"}))
    closes(s, 413, http.request("POST /",
      {"Content-Length: 900000000000000000"}))
    local chunked = http.request("POST /", {"Transfer-Encoding: chunked"})
    local client = s:dial():send(chunked .. http.chunked("12345", "67890"))
    assert.equal(200, client:wait().status)
    client:close()
    closes(s, 413, chunked .. http.chunked("12345", "67890", "1"))
    closes(s, 413, chunked .. "b\r\n12345678901")
    s.http:set_max_body_size(20)
    assert.equal(200, (ask(s, "POST /", {}, ("x"):rep(20))))
    assert.equal(413, (ask(s, "POST /", {}, ("x"):rep(21))))
    s.http:set_max_body_size()
    assert.equal(200, (ask(s, "POST /", {}, ("x"):rep(3000000))))
  end)

  it("of a body is told to a client that goes on sending it", function()
    local s <close> = http.start(path, {max_body_size = 10})
    for _ = 1, 5 do
      local client = s:dial():send(http.request("POST /", {},
        ("x"):rep(1 << 21)))
      assert.equal(413, client:wait().status)
      client:close()
    end
    s:idle()
  end)

  it("of a body is a MiB unless it is said", function()
    local s <close> = http.start(path)
    assert.equal(200, (ask(s, "POST /", {}, ("x"):rep(1 << 20))))
    assert.equal(413, (ask(s, "POST /", {}, ("x"):rep((1 << 20) + 1))))
  end)

  it("of a body is refused before it is sent", function()
    local s <close> = http.start(t.never(), {max_body_size = 10})
    local client = s:dial():send(http.request("POST /",
      {"Content-Length: 11", "Expect: 100-continue"}))
    local answers = client:finish()
    assert.equal(1, #answers)
    assert.equal(413, answers[1].status)
  end)

  it("of what nobody reads stays small", function()
    local s <close> = http.start(t.never(), {max_body_size = 10})
    local sock = s:socket(http.request("POST /",
      {"Content-Length: 1000000000"}))
    sock:settimeout(0)
    local sent, piece = 0, ("x"):rep(100000)
    for _ = 1, 2000 do
      local n, err, part = sock:send(piece)
      sent = sent + (n or part)
      s.base:loop "nonblock"
      if err == "closed" then break end
      if sent > 50e6 then break end
    end
    assert.is_true(sent < 50e6, sent)           -- it is cut off
    sock:close()
    s:idle()
  end)
end)

describe("the number of connections", function()
  before_each(t.start)
  after_each(t.finish)

  it("is limited: others wait until one has gone", function()
    local s <close> = http.start(path, {max_connections = 2})
    local clients = {}
    for i = 1, 4 do
      clients[i] = s:dial():send(http.request("GET /" .. i))
    end
    clients[1]:wait()
    clients[2]:wait()
    t.turns(s.base, 10)
    assert.equal(2, s.http:connection_count())
    assert.equal("", clients[3]:text())
    clients[1]:close()
    assert.equal("/3", clients[3]:wait().body)
    t.turns(s.base, 10)
    assert.equal("", clients[4]:text())
    assert.equal(2, s.http:connection_count())
    s.http:set_max_connections(3)
    assert.equal("/4", clients[4]:wait().body)
    for _, client in ipairs(clients) do client:close() end
    s:idle()
    s.http:set_max_connections()
    clients = {}
    for i = 1, 10 do
      clients[i] = s:dial():send(http.request "GET /")
    end
    for i = 1, 10 do clients[i]:wait() end
    assert.equal(10, s.http:connection_count())
    for _, client in ipairs(clients) do client:close() end
  end)

  it("is that of all sockets", function()
    local s <close> = http.start(path, {max_connections = 1})
    local client = s:dial()
    client:send(http.request "GET /"):wait()
    local second = assert(s.http:bind_socket "127.0.0.1:0")
    local other = http.dial(s.base, second:sockname())
    other:send(http.request "GET /")
    t.turns(s.base, 10)
    assert.equal("", other:text())
    assert.equal(1, s.http:connection_count())
    client:close()
    assert.equal(200, other:wait().status)
    other:close()
  end)

  it("falls by the clients that the server closes, too", function()
    local s <close> = http.start(path, {max_connections = 1})
    for i = 1, 20 do
      local answers = s:exchange(http.request("GET /" .. i,
                                              {"Connection: close"}))
      assert.equal("/" .. i, answers[1].body)
    end
    assert.equal(200, s:ask("GET /").status)
  end)

  it("is none of a listener that the script has closed", function()
    local s <close> = http.start(path, {max_connections = 1})
    local client = s:dial()
    client:send(http.request "GET /"):wait()
    s.listener:close()
    client:close()
    s:idle()
    local second = assert(s.http:bind_socket "127.0.0.1:0")
    client = http.dial(s.base, second:sockname())
    assert.equal(200, client:send(http.request "GET /"):wait().status)
    client:close()
  end)
end)

describe("a server that stops", function()
  before_each(t.start)
  after_each(t.finish)

  it("tells when that is, and not at once", function()
    local s <close> = http.start(path)
    local told
    assert.equal(s.http, s.http:stop(t.expect(function(server)
      told = server
    end)))
    assert.is_nil(told)
    t.run(s.base)                               -- there is nothing left
    assert.equal(s.http, told)
  end)

  it("takes no more connections", function()
    local s <close> = http.start(path)
    s.http:stop()
    local _, _, over = s:dial():finish()
    assert.matches("refused", over)
  end)

  it("closes the connections that wait, and ends the others", function()
    local kept
    local stopped = false
    local s <close> = http.start(function(req)
      if req:path() == "/later" then
        kept = req
      else
        path(req)
      end
    end)
    local idle, silent, busy, slow = s:dial(), s:dial(), s:dial(), s:dial()
    idle:send(http.request "GET /"):wait()
    busy:send(http.request "GET /later" .. http.request "GET /behind")
    slow:send(http.request("POST /slow", {"Content-Length: 4"}) .. "bo")
    http.till(s.base, function()
      return kept and s.http:connection_count() == 4
    end)
    t.turns(s.base, 5)
    s.http:stop(function() stopped = true end)
    assert.equal(1, #idle:finish())
    assert.equal(0, #silent:finish())
    assert.equal(2, s.http:connection_count())
    local answers = slow:send("dy"):finish()
    assert.equal("/slow", answers[1].body)
    assert.equal("close", answers[1].headers.connection)
    assert.is_false(stopped)
    kept:send_reply(200, nil, "late")
    answers = busy:finish()
    assert.equal("late", answers[1].body)
    assert.equal("close", answers[1].headers.connection)
    assert.equal(1, #answers)
    t.run(s.base)
    assert.is_true(stopped)
  end)

  it("waits for what is on its way to a client", function()
    local body = ("x"):rep(2 ^ 23)
    local answered, stopped = false, false
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, body)
      answered = true
    end)
    local client = s:dial(true):send(http.request "GET /")
    http.till(s.base, function() return answered end)
    t.turns(s.base, 5)
    s.http:stop(function() stopped = true end)
    t.turns(s.base, 5)
    assert.is_false(stopped)
    client.bev:enable "read"
    assert.equal(body, client:finish()[1].body)
    t.run(s.base)
    assert.is_true(stopped)
  end)

  it("reads the rest of a request that has begun", function()
    local s <close> = http.start(path)
    local bytes = http.request "GET /begun"
    local client = s:dial():send(bytes:sub(1, 20))
    http.till(s.base, function() return s.http:connection_count() > 0 end)
    t.turns(s.base, 5)
    s.http:stop(t.expect())
    local answers = client:send(bytes:sub(21)):finish()
    assert.equal("/begun", answers[1].body)
    t.run(s.base)
  end)

  it("ends with a timeout that is missed", function()
    local s <close> = http.start(path, {header_timeout = 0.05})
    local client = s:dial():send "GET"
    http.till(s.base, function() return s.http:connection_count() > 0 end)
    t.turns(s.base, 5)
    s.http:stop(t.expect())
    assert.equal(408, client:finish()[1].status)
    t.run(s.base)
  end)

  it("tells the last one who asked", function()
    local s <close> = http.start(path)
    s.http:stop(t.never())
    s.http:stop(t.expect())
    t.run(s.base)
    s.http:stop():stop()
    t.run(s.base)
  end)

  it("needs no variable", function()
    local s <close> = http.start(path)
    local client = s:dial():send "GET"
    http.till(s.base, function() return s.http:connection_count() > 0 end)
    s.http:stop(t.expect())
    s.http, s.listener = nil, nil
    collectgarbage() collectgarbage()
    client:close()
    t.run(s.base)
  end)

  it("can begin anew", function()
    local s <close> = http.start(path)
    local answer
    s.http:stop(function(server)
      s.address = assert(server:bind_socket "127.0.0.1:0"):sockname()
      answer = true
    end)
    http.till(s.base, function() return answer end)
    local client = s:dial():send(http.request "GET /":rep(2))
    assert.is_nil(client:wait(2).headers.connection)
    client:close()
  end)

  it("can be closed, or its base, in the end", function()
    local s <close> = http.start(path)
    s.http:stop(t.expect(function(server) server:close() end))
    t.run(s.base)
    local other <close> = http.start(path)
    other.http:stop(t.expect(function(server) server:base():close() end))
    t.run(other.base)
  end)

  it("tells an error of its callback", function()
    local s <close> = http.start(path)
    s.http:stop(function() error "oh no" end)
    t.raises("oh no", s.base.dispatch, s.base)
  end)
end)

describe("a server that is closed", function()
  before_each(t.start)
  after_each(t.finish)

  it("closes its sockets and its connections at once", function()
    local kept
    local s <close> = http.start(function(req) kept = req end)
    local waiting, busy = s:dial(), s:dial()
    busy:send(http.request "GET /")
    http.till(s.base, function()
      return kept and s.http:connection_count() == 2
    end)
    s.http:close()
    assert.equal("libevent.Listener (closed)", tostring(s.listener))
    assert.equal(0, #waiting:finish())
    assert.equal(0, #busy:finish())
    t.refused(ECONNRESET, kept:send_reply(200))
    assert.equal("GET", kept:command())
    t.run(s.base)
  end)

  it("tells no one", function()
    local kept
    local s <close> = http.start(function(req)
      req:set_closecb(t.never()):set_on_complete_cb(t.never())
      kept = req
    end)
    local client = s:dial():send(http.request "GET /")
    http.till(s.base, function() return kept end)
    s.http:stop(t.never())
    s.http:close()
    client:finish()
  end)

  it("is closed by a handler", function()
    local s <close> = http.start()
    local server = s.http
    server:set_gencb(t.expect(function(req)
      server:close()
      t.refused(ECONNRESET, req:send_reply(200))
    end))
    assert.equal(0, #s:exchange(http.request "GET /":rep(3)))
    t.run(s.base)
  end)

  it("is closed with its base", function()
    local s = http.start(path)
    local client = s:dial()
    client:send(http.request "GET /"):wait()
    s.base:close()
    assert.is_true(t.isclosed(s.http))
    assert.is_true(t.isclosed(s.listener))
  end)
end)
