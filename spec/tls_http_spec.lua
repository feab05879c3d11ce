-- HTTP over TLS: servers, connections of clients, and requests by URL.
local libevent = require "libevent"
local http = require "libevent.http"
local secure = require "spec.secure"
local t = require "spec.helper"

local EPROTO = 71

local server, client = secure.server(), secure.client()
local NOISE = secure.noise(1 << 20)

describe("HTTP with TLS", function()
  before_each(t.start)
  after_each(t.finish)

  --- A server whose connections have TLS as its options say, and a GET of a
  --- client there: the response.
  local function fetch(base, served, options)
    local listener = assert(served:bind_socket("127.0.0.1:0", options))
    local response
    http.request(base, "https://" .. listener:sockname() .. "/", {
      tls = client, max_body_size = false,
    }, function(...) response = {...} end)
    t.runtill(base, function() return response end)
    listener:close()
    return assert(table.unpack(response))
  end

  it("is for all sockets of a server, or for one", function()
    local base = t.base()
    local safe, plain = base:http {tls = server}, base:http()
    for _, served in ipairs {safe, plain} do
      served:set_gencb(function(req) req:send_reply(200, nil, "words") end)
    end
    assert.equal("words", fetch(base, safe).body)
    assert.equal("words", fetch(base, safe, {backlog = 5}).body)
    assert.equal("words", fetch(base, plain, {tls = server, backlog = 5}).body)
    t.raises("option 'tls': libevent.tls.Context expected", function()
      safe:bind_socket("127.0.0.1:0", {tls = 1})
    end)
    t.raises("table of options expected", function()
      safe:bind_socket("127.0.0.1:0", 1)
    end)
    base:close()
  end)

  it("sends a file that the system would send in the clear", function()
    local base = t.base()
    local path = t.write(NOISE:rep(3))
    local served = base:http {tls = server}
    served:set_gencb(function(req)
      local segment = libevent.file_segment(assert(io.open(path)))
      req:send_reply(200, nil, segment)
    end)
    assert.is_true(fetch(base, served).body == NOISE:rep(3))
    base:close()
  end)

  it("by a path is for a name that is said", function()
    local base = t.base()
    t.raises("'hostname' expected", function()
      base:http_connection("unix:/nowhere", nil, {tls = client})
    end)
    base:http_connection("unix:/nowhere", nil, {tls = client, hostname = "a"})
      :close()
    base:close()
  end)

  it("sends files, and those who read slowly get all", function()
    local base = t.base()
    local path = t.write(NOISE:rep(3))
    local served = base:http {tls = server}
    served:set_cb("/file", function(req)
      local file <close> = assert(io.open(path))
      local body = libevent.buffer()
      assert(body:add_file(file))
      req:send_reply(200, nil, body)
    end)
    local listener = assert(served:bind_socket "127.0.0.1:0")
    for _, slow in ipairs {false, true} do
      local bev = base:bufferevent(nil, {tls = client})
      local size, whole = 0, nil
      bev:setcb(function(b)
        size = size + #b:read()
        whole = size > 3 * #NOISE
        if slow and not whole then
          b:disable "read"
          base:timer(function() b:enable "read" end):add(0.0005)
        end
      end):enable "read"
      bev:write "GET /file HTTP/1.1\r\nHost: x\r\n\r\n"
      assert(bev:connect(listener:sockname()))
      t.runtill(base, function() return whole end)
      bev:close()
    end
    os.remove(path)
    base:close()
  end)

  it("asks, is answered, and keeps the connection", function()
    local base = t.base()
    local served = base:http()
    local sessions = {}
    served:set_gencb(function(req)
      req:send_reply(200, nil, req:command() .. " " .. req:body())
    end)
    local listener = assert(served:bind_socket("127.0.0.1:0", {tls = server}))
    local conn = base:http_connection("127.0.0.1", secure.portof(listener),
                                      {tls = client})
    assert.is_nil(conn:tls())
    for i, body in ipairs {"a", NOISE, "c"} do
      local done
      conn:make_request("POST", "/", {body = body}, t.expect(function(req, why)
        assert(req, why)
        done = req:body()
        sessions[i] = conn:tls()
      end))
      t.runtill(base, function() return done end)
      assert.is_true(done == "POST " .. body)
      assert.is_true(sessions[i].verified)
    end
    assert.equal(1, served:connection_count())
    base:close()
  end)

  --- Asks one that answers with that, and then says that this is its end, or
  --- is cut: the body, or why there is none.
  local function told(base, answer, cut)
    local result, proxy
    local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
      conn:setcb(function(b)
        b:read()
        b:write(answer)
        if not cut then b:close_after_flush() end
      end, nil, function() end):enable "read"
      l:close()
    end, {tls = server}))
    proxy = secure.proxy(base, listener:sockname(), {mute = cut,
      down = function(data, p)
        if cut and p.up > 500 and not p.timer then    -- the answer is on it
          p.timer = base:timer(function()
            p.near:close()
            p.far:close()
          end):add(0.02)
        end
        return data
      end})
    local conn = base:http_connection("127.0.0.1",
      tonumber(proxy.address:match "%d+$"),
      {tls = client, hostname = "localhost"})
    conn:make_request("GET", "/" .. ("x"):rep(500), nil,
      t.expect(function(req, message)
        result = req and req:body() or message
      end))
    t.runtill(base, function() return result end)
    conn:close()
    return result
  end

  it("takes no answer for whole that was cut", function()
    local base = t.base()
    local head = "HTTP/1.1 200 OK\r\n"
    assert.equal("body", told(base, head .. "\r\nbody"))
    assert.equal("body", told(base, head .. "Content-Length: 4\r\n\r\nbody",
                              true))
    for _, answer in ipairs {head .. "\r\nbody", "HTTP/1.0 200 OK\r\n\r\nbody",
                             head .. "Content-Length: 5\r\n\r\nbody"} do
      assert.matches("the connection was cut", told(base, answer, true))
    end
    base:close()
  end)

  it("connects again where a kept connection was cut", function()
    local base = t.base()
    local served = base:http {tls = server}
    served:set_gencb(function(req) req:send_reply(200, nil, req:path()) end)
    local back = assert(served:bind_socket "127.0.0.1:0")
    local conns = {}
    local front = assert(base:listener("127.0.0.1:0", function(_, conn)
      conns[#conns + 1] = conn
      local out = base:bufferevent()
      assert(out:connect(back:sockname()))
      libevent.relay(conn, out)
    end))
    local conn = base:http_connection("127.0.0.1", secure.portof(front),
                                      {tls = client, hostname = "localhost"})
    for i = 1, 3 do
      for _ = 1, 2 do
        local path
        conn:make_request("GET", "/" .. i, nil, t.expect(function(req, why)
          path = assert(req, why):body()
        end))
        t.runtill(base, function() return path end)
        assert.equal("/" .. i, path)
      end
      assert.equal(i, #conns)
      conns[i]:close()
      t.runfor(base, 0.01)
    end
    base:close()
  end)

  it("is asked by the URL, and redirects to and fro", function()
    local base = t.base()
    local ports = {}
    local function serve(name, address, options, to)
      local one = base:http(options)
      one:set_gencb(function(req)
        if req:path() ~= "/away" then
          return req:send_reply(200, nil, req:host() .. req:path())
        end
        req:send_reply(302, nil, "", {Location = to()})
      end)
      ports[name] = secure.portof(assert(one:bind_socket(address)))
    end
    serve("six", "[::1]:0", {tls = server}, function()
      return ("http://127.0.0.1:%d/away"):format(ports.plain)
    end)
    serve("plain", "127.0.0.1:0", nil, function()
      return ("https://localhost:%d/there"):format(ports.four)
    end)
    serve("four", "127.0.0.1:0", {tls = server}, function()
      return ("https://[::1]:%d/away"):format(ports.six)
    end)
    local function get(url, options)
      options.tls = options.tls or client
      options.family = url:find "localhost" and "inet" or nil
      local got, why
      http.request(base, url, options, t.expect(function(response, message)
        got, why = response or false, message
      end))
      t.runtill(base, function() return got ~= nil end)
      return got and got.body or why
    end
    local four = "https://127.0.0.1:" .. ports.four
    assert.equal("[::1]/a", get(("https://[::1]:%d/a"):format(ports.six), {}))
    assert.equal("127.0.0.1/a", get(four .. "/a", {}))
    assert.equal("localhost./a", get(("https://LocalHost.:%d/a"):format(
      ports.four), {family = "inet"}))
    assert.equal("localhost/there", get(("https://[::1]:%d/away"):format(
      ports.six), {}))
    assert.equal("127.0.0.1/a", get(four .. "/a", {hostname = "x.good.test"}))
    assert.equal("localhost/there", get(four .. "/away",
                                        {hostname = "x.good.test"}))
    assert.matches("hostname mismatch", get(four .. "/a",
                                            {hostname = "other.test"}))
    assert.matches("closed the connection", get("http://127.0.0.1:"
                                                .. ports.four, {}))
    assert.matches("wrong version number", get("https://127.0.0.1:"
                                               .. ports.plain, {}))
    base:close()
  end)

  it("tells why nobody is asked", function()
    local base = t.base()
    local served = base:http {tls = secure.server({}, "expired")}
    served:set_gencb(t.never())
    local listener = assert(served:bind_socket "127.0.0.1:0")
    local conn = base:http_connection("127.0.0.1", secure.portof(listener),
                                      {tls = client, hostname = "localhost"})
    local why
    conn:make_request("GET", "/", nil, t.expect(function(req, message, errno)
      assert.is_nil(req)
      assert.equal(EPROTO, errno)
      why = message
    end))
    t.runtill(base, function() return why end)
    assert.matches("certificate has expired", why)
    base:close()
  end)
end)
