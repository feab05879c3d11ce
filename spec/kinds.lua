--- Every kind of callback that libevent can call, for the specs of lifetimes.
--- Each entry is {name, setup}: setup(base, cb) returns an object whose
--- callback is cb, and arranges for it to be called once the loop runs.

local libevent = require "libevent"
local secure = require "spec.selfsigned"

local safe, trusting = secure.contexts()
local hasty = secure.client {handshake_timeout = 0.001}

--- Where TLS is spoken, and who goes there.
local function listen(base, f)
  return assert(base:listener("127.0.0.1:0", f, {tls = safe}))
end

local function dial(base, listener, hostname)
  local client = base:bufferevent(nil, {tls = trusting, hostname = hostname})
  return client:connect(listener:sockname())
end

--- Two connected ends, both of the given base, while its loop runs.
local function pair(base, address)
  local server, listener
  listener = assert(base:listener(address or "127.0.0.1:0",
    function(_, conn) server = conn end))
  local client = base:bufferevent()
  client:setcb(nil, nil, function() end)
  assert(client:connect(listener:sockname()))
  while not server do base:loop "once" end
  listener:close()
  base:loop "nonblock"
  return server, client
end

--- A server of HTTP whose handler is f, and a client that has sent this.
local function serve(base, f, bytes, options)
  local server = base:http():set_gencb(f, options)
  local listener = assert(server:bind_socket "127.0.0.1:0")
  local client = base:bufferevent():setcb(function() end, nil, function() end)
  client:enable "read":connect(listener:sockname())
  client:write(bytes)
  return server, client
end

local HELLO = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"

local function pid()
  return io.open "/proc/self/stat":read "n"
end

--- A request of an HttpConnection with one of its callbacks; it is told of the
--- connection.
local function asking(method, name)
  return function(base, cb)
    local server = base:http()
    server:set_gencb(function(req) req:send_reply(200, nil, "data") end)
    local address = server:bind_socket "127.0.0.1:0":sockname()
    local conn = base:http_connection("127.0.0.1",
                                      tonumber(address:match "%d+$"))
    local function tell() cb(conn) end
    conn:make_request(method, "/", name and {[name] = tell},
                      name and function() end or tell)
    return conn
  end
end

local kinds = {
  {"a timer", function(base, cb)
    return base:timer(cb):add(0)
  end},
  {"a persistent timer", function(base, cb)
    return base:timer(cb, "persist"):add(0.001)
  end},
  {"a timer of a common timeout", function(base, cb)
    return base:init_common_timeout(0.001):timer(cb):add(0.001)
  end},
  {"a persistent timer of a common timeout", function(base, cb)
    return base:init_common_timeout(0.001):timer(cb, "persist"):add(0.001)
  end},
  {"an event on a descriptor", function(base, cb)
    return base:event(io.popen "echo data", "read", cb):add()
  end},
  {"a persistent event on a descriptor", function(base, cb)
    return base:event(io.popen "echo data", "read|persist", cb):add()
  end},
  {"a signal", function(base, cb)
    local event = base:signal("USR1", cb):add()
    for _ = 1, 3 do os.execute("kill -USR1 " .. pid()) end
    return event
  end},
  {"an event of the script's own", function(base, cb)
    return base:user(cb):active "read"
  end},
  {"a waker", function(base, cb)
    return base:waker(cb):wake()
  end},
  {"base:once", function(base, cb)
    return base:once(nil, "timeout", cb, 0)
  end},
  {"the read callback", function(base, cb)
    local server, client = pair(base)
    server:setcb(cb):enable "read"
    client:write "data"
    return server
  end},
  {"the write callback", function(base, cb)
    local server, client = pair(base)
    client:enable "read"
    return server:setcb(nil, cb):write "data"
  end},
  {"connected", function(base, cb)
    local listener = base:listener("127.0.0.1:0", function() end)
    local client = base:bufferevent():setcb(nil, nil, cb)
    return client:connect(listener:sockname()):write "data"
  end},
  {"eof", function(base, cb)
    local server, client = pair(base)
    server:setcb(nil, nil, cb):enable "read"
    client:close()
    return server
  end},
  {"a refused connection", function(base, cb)
    local listener = base:listener("127.0.0.1:0", function() end)
    local address = listener:sockname()
    listener:close()
    return base:bufferevent():setcb(nil, nil, cb):connect(address)
  end},
  {"connected to a name", function(base, cb)
    local listener = base:listener("127.0.0.1:0", function() end)
    local port = tonumber(listener:sockname():match "%d+$")
    local client = base:bufferevent():setcb(nil, nil, cb)
    return client:connect_hostname("localhost", port, {family = "inet"})
  end},
  {"no connection to a name", function(base, cb)
    local dns = base:dns {nameservers = {}, hosts = false}
    local client = base:bufferevent():setcb(nil, nil, cb)
    return client:connect_hostname("absent.test", 1, {dns = dns})
  end},
  {"connected by TLS", function(base, cb)
    return dial(base, listen(base, function() end)):setcb(nil, nil, cb)
  end},
  {"connected by TLS, at a server", function(base, cb)
    local server, client = pair(base)
    client:setcb(nil, nil, function() end):starttls(trusting, "localhost")
    return server:setcb(nil, nil, cb):starttls(safe)
  end},
  {"the accept callback of TLS", function(base, cb)
    local listener
    listener = listen(base, function() cb(listener) end)
    return listener, dial(base, listener)
  end},
  {"the read callback of TLS", function(base, cb)
    local server, client = secure.pair(base, safe, trusting)
    server:setcb(cb):enable "read"
    client:write "data"
    return server
  end},
  {"the write callback of TLS", function(base, cb)
    local server, client = secure.pair(base, safe, trusting)
    client:enable "read"
    return server:setcb(nil, cb):write "data"
  end},
  {"eof of TLS", function(base, cb)
    local server, client = secure.pair(base, safe, trusting)
    server:setcb(nil, nil, cb):enable "read"
    client:close()
    return server
  end},
  {"a certificate that is refused", function(base, cb)
    local client = dial(base, listen(base, function() end), "another.test")
    return client:setcb(nil, nil, cb)
  end},
  {"a peer that refuses a certificate", function(base, cb)
    local server, client = pair(base)
    client:setcb(nil, nil, function() end):starttls(trusting, "another.test")
    return server:setcb(nil, nil, cb):starttls(safe)
  end},
  {"a handshake that takes too long", function(base, cb)
    local listener = base:listener("127.0.0.1:0", function() end)
    local client = base:bufferevent(nil, {tls = hasty, hostname = false})
    return client:setcb(nil, nil, cb):connect(listener:sockname())
  end},
  {"TLS in the middle of a conversation", function(base, cb)
    local server, client = pair(base)
    server:setcb(nil, nil, function() end):starttls(safe)
    return client:setcb(nil, nil, cb):starttls(trusting, "localhost")
  end},
  {"a server of HTTPS", function(base, cb)
    local server
    server = base:http {tls = safe}:set_gencb(function() cb(server) end)
    local client = dial(base, assert(server:bind_socket "127.0.0.1:0"))
    client:setcb(nil, nil, function() end):write(HELLO)
    return server
  end},
  {"an answer by HTTPS", function(base, cb)
    local server = base:http {tls = safe}:set_gencb(function(req)
      req:send_reply(200, nil, "data")
    end)
    local address = server:bind_socket "127.0.0.1:0":sockname()
    local conn = base:http_connection("127.0.0.1",
      tonumber(address:match "%d+$"), {tls = trusting})
    conn:make_request("GET", "/", nil, function() cb(conn) end)
    return conn
  end},
  {"a look-up", function(base, cb)
    return base:dns {nameservers = {}}:resolve("127.0.0.1", cb)
  end},
  {"a look-up that asks a server", function(base, cb)
    local server = base:dns_server("127.0.0.1:0", function(query)
      query:respond()
    end)
    local dns = base:dns {nameservers = {server:sockname()}, hosts = false}
    return dns:resolve("absent.test", {search = false}, cb)
  end},
  {"a DNS server", function(base, cb)
    local server
    server = base:dns_server("127.0.0.1:0", function() cb(server) end)
    local dns = base:dns {nameservers = {server:sockname()}, hosts = false}
    dns:resolve("some.test", {family = "inet", search = false}, function() end)
    return server
  end},
  {"an HTTP server", function(base, cb)
    local server
    server = serve(base, function() cb(server) end, HELLO)
    return server
  end},
  {"an HTTP server that stops", function(base, cb)
    return base:http():stop(cb)
  end},
  {"a body of HTTP as it comes", function(base, cb)
    local server
    server = serve(base, function(req)
      req:set_chunked_cb(function() cb(server) end)
    end, HELLO, {stream = true})
    return server
  end},
  {"a piece of an HTTP answer that is sent", function(base, cb)
    local server
    server = serve(base, function(req)
      req:send_reply_start(200):send_reply_chunk("x", function() cb(server) end)
    end, HELLO)
    return server
  end},
  {"an HTTP answer that is sent", function(base, cb)
    local server
    server = serve(base, function(req)
      req:set_on_complete_cb(function() cb(server) end):send_reply(200)
    end, HELLO)
    return server
  end},
  {"the end of an HTTP client", function(base, cb)
    local server, client, kept
    server, client = serve(base, function(req)
      kept = req:set_closecb(function() cb(server) end)
      client:setcb(nil, nil, function() return kept end):shutdown()
    end, HELLO)
    return server
  end},
  {"an HTTP client that is late", function(base, cb)
    local server
    server = serve(base, function(req)
      req:set_chunked_cb(function() end):set_closecb(function() cb(server) end)
    end, HELLO:sub(1, -2), {stream = true})
    return server:set_timeout(0.005)
  end},
  {"a read timeout", function(base, cb)
    local server = pair(base)
    return server:setcb(nil, nil, cb):set_timeouts(0.005):enable "read"
  end},
  {"a read timeout that is a common one", function(base, cb)
    base:init_common_timeout(0.005)
    return pair(base):setcb(nil, nil, cb):set_timeouts(0.005):enable "read"
  end},
  {"a deferred callback", function(base, cb)
    local server, client = pair(base)
    local fd = server:detach()
    server = base:bufferevent(fd, {flags = "defer_callbacks"})
    client:write "data"
    return server:setcb(cb, cb, cb):enable "read"
  end},
  {"the read callback of a pair", function(base, cb)
    local a, b = base:pair()
    b:write "data"
    return a:setcb(cb):enable "read"
  end},
  {"the write callback of a pair", function(base, cb)
    local a, b = base:pair()
    b:enable "read"
    return a:setcb(nil, cb):write "data"
  end},
  {"the eof of a pair", function(base, cb)
    local a, b = base:pair()
    a:setcb(nil, nil, cb)
    b:close()
    return a
  end},
  {"the error of a pair", function(base, cb)
    local a, b = base:pair()
    a:setcb(nil, nil, function(...)
      if select(2, ...) == "error" then cb(...) end
    end):write "data"
    b:close()
    return a
  end},
  {"a timeout of a pair", function(base, cb)
    local a = base:pair()
    return a:setcb(nil, nil, cb):set_timeouts(0.001):enable "read"
  end},
  {"the read callback of a filter", function(base, cb)
    local a, b = base:pair()
    b:write "data"
    return base:filter(a):setcb(cb):enable "read"
  end},
  {"the write callback of a filter", function(base, cb)
    local server, client = pair(base)
    client:enable "read"
    return base:filter(server):setcb(nil, cb):write "data"
  end},
  {"the eof of a filter", function(base, cb)
    local server, client = pair(base)
    client:close()
    return base:filter(server):setcb(nil, nil, cb):enable "read"
  end},
  {"a filter's function for what it reads", function(base, cb)
    local server, client = pair(base)
    local filter
    filter = base:filter(server, function() cb(filter) end)
    client:write "data"
    return filter:setcb(nil, nil, function() end):enable "read"
  end},
  {"a filter's function for what it writes", function(base, cb)
    local filter
    filter = base:filter(base:pair(), nil, function() cb(filter) end)
    return filter:setcb(nil, nil, function() end):write "data"
  end},
  {"the last word of a filter", function(base, cb)
    local lower = base:filter((pair(base)))
    local filter
    filter = base:filter(lower, nil, function(_, _, mode)
      if mode == "finished" then cb(filter) end
    end)
    return filter:setcb(nil, nil, function() end):shutdown()
  end},
  {"the refusal of a filter", function(base, cb)
    local function refuse() return nil, "refused" end
    return base:filter(base:pair(), nil, refuse):setcb(nil, nil, cb):write "x"
  end},
  {"trigger", function(base, cb)
    return base:bufferevent():setcb(nil, cb):trigger "write"
  end},
  {"trigger_event", function(base, cb)
    return base:bufferevent():setcb(nil, nil, cb):trigger_event "error"
  end},
  {"the accept callback", function(base, cb)
    local listener = base:listener("127.0.0.1:0", cb)
    for _ = 1, 3 do base:bufferevent():connect(listener:sockname()) end
    return listener
  end},
  {"the accept callback of a unix socket", function(base, cb)
    local path = os.tmpname()
    os.remove(path)
    local listener = base:listener("unix:" .. path, cb)
    for _ = 1, 3 do base:bufferevent():connect("unix:" .. path) end
    return listener
  end},
  {"an answer to an HttpConnection", asking "GET"},
  {"the head of an answer", asking("GET", "header_cb")},
  {"a piece of an answer", asking("GET", "chunked_cb")},
  {"the stream of an HttpConnection", asking("POST", "stream")},
  {"a request that fails", function(base, cb)
    local listener = base:listener("127.0.0.1:0", function() end)
    local port = tonumber(listener:sockname():match "%d+$")
    listener:close()
    local conn = base:http_connection("127.0.0.1", port)
    conn:make_request("GET", "/", nil, function() cb(conn) end)
    return conn
  end},
}

return {kinds = kinds, pair = pair, libevent = libevent}
