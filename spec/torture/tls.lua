--- TLS: contexts, handshakes, data, ends, and HTTP on it.

local http = require "libevent.http"
local libevent = require "libevent"
local secure = require "spec.selfsigned"
local tls = require "libevent.tls"

-- made before memory ends
local pem = secure.pem()
local server, client = secure.contexts()
local early = secure.client {resume = false, max_version = "1.2"}
local strict = secure.server {verify = "required", trust = pem,
                              names = {["*.test"] = server}, alpn = {"a", "b"}}
local known = secure.client {certificate = pem, alpn = {"c", "b"}}
local hasty = secure.client {handshake_timeout = 0.01}
local stranger = tls.context {trust = secure.pem "other.test"}
local large = ("large "):rep(20000)
local path = os.tmpname()
do
  local file <close> = assert(io.open(path, "w"))
  file:write(large)
end

--- Raises what a connection fails with: a peer without memory breaks off, and
--- nobody says why.
local function fail(message)
  error(tostring(message) .. ": perhaps not enough memory", 0)
end

local function onevent(_, what, message)
  if what ~= "connected" and what ~= "eof" then fail(message) end
end

--- Two ends that have shaken hands.
local function connected(s, ctx, other, hostname)
  local up, over = 0, false
  local a
  local function tell(_, what, message)
    if what == "connected" then up = up + 1 else over = message or what end
  end
  local listener <close> = assert(s.base:listener("127.0.0.1:0",
    function(_, conn) a = conn:setcb(nil, nil, tell) end, {tls = ctx}))
  local b = s.base:bufferevent(nil, {tls = other, hostname = hostname})
  b:setcb(nil, nil, tell)
  assert(b:connect(listener:sockname()))
  s:run(function() return up == 2 or over end)
  if over then fail(over) end
  return a:setcb(nil, nil, onevent), b:setcb(nil, nil, onevent)
end

--- What arrives at the end of a connection, until it is this much.
local function receive(s, bev, n)
  local list, size, over = {}, 0, false
  bev:setcb(function(b)
    local piece = b:read()
    list[#list + 1], size = piece, size + #piece
  end, nil, function(_, what, message)
    if what == "eof" then over = true else fail(message) end
  end)
  assert(bev:enable "read")
  s:run(function() return size >= n or over end)
  if size < n then fail "eof" end
  return table.concat(list)
end

--- A server of HTTPS, and its port.
local function serve(s, f)
  local listener = assert(s.base:http {tls = server}:set_gencb(f)
                          :bind_socket "127.0.0.1:0")
  return tonumber(listener:sockname():match "%d+$")
end

return {
  {"contexts of TLS", function()
    local a = tls.context {role = "server", certificate = pem, key = pem,
      trust = {pem, "/etc"}, verify = "optional", min_version = "1.2",
      max_version = "1.3", alpn = {"h2", "http/1.1"}, alpn_required = true,
      names = {["a.test"] = server, ["*.b.test"] = server}, keylog = path,
      ciphers = "ECDHE+AESGCM", ciphersuites = "TLS_AES_128_GCM_SHA256",
      groups = "X25519:P-256", resume = false, handshake_timeout = 5,
      password = function() return "secret" end}
    local b = tls.context {trust = pem, verify = false, alpn = {"a"},
                           certificate = pem}
    for _, context in ipairs {a, b} do
      local ok, message = context:reload()
      if not ok then error(message) end
      assert(tostring(context):find "^libevent.tls.Context")
    end
    assert(tls.version():find "SSL")
  end},

  {"a conversation by TLS", function(s)
    local a, b = connected(s, server, client, "localhost")
    b:write("hello ", libevent.buffer "world")
    assert(receive(s, a, 11) == "hello world")
    a:write(large):write(large)
    assert(#receive(s, b, 2 * #large) == 2 * #large)
    a:close()
    s:run(function() return b:setcb(nil, nil, onevent) end)
    b:close()
  end},

  {"a conversation by an older TLS", function(s)
    local a, b = connected(s, server, early, "127.0.0.1")
    assert(a:tls().version == "TLSv1.2" and b:tls().verified)
    b:output():add "data"
    assert(receive(s, a, 4) == "data")
    b:output():add(libevent.buffer(large))
    assert(receive(s, a, #large) == large)
  end},

  {"what a session of TLS tells", function(s)
    local a, b = connected(s, strict, known, "localhost")
    for _, bev in ipairs {a, b} do
      local told = bev:tls()
      assert(told.version == "TLSv1.3" and told.cipher:find "^TLS_")
      assert(told.alpn == "b" and told.verified == true)
      assert(told.hostname == "localhost" and told.resumed == false)
      local peer = told.peer
      assert(peer.subject == "CN=localhost" and peer.issuer == peer.subject)
      assert(peer.names[1] == "localhost" and peer.names[2] == "127.0.0.1")
      assert(peer.not_before < peer.not_after and peer.serial:find "^%x+$")
      assert(#tostring(peer.fingerprint) == 64 and pem:find(peer.pem, 1, true))
    end
  end},

  {"what a session of TLS tells in callbacks", function(s)
    local told, over = {}, false
    local function tell(bev)
      told[#told + 1] = assert(bev:tls()).version
    end
    local listener = assert(s.base:listener("127.0.0.1:0", function(_, conn)
      assert(conn:tls() == nil)
      conn:setcb(function(c)
        tell(c)
        c:write(c:read())
      end, tell, function(c, what, message)
        if what == "error" then over = message else tell(c) end
      end)
      assert(conn:enable "read")
    end, {tls = server}))
    local bev = s.base:bufferevent(nil, {tls = client, hostname = "localhost"})
    bev:setcb(function(b)
      tell(b)
      b:close_after_flush()
    end, tell, function(b, what, message)
      if what == "connected" then tell(b) else over = message or what end
    end)
    assert(bev:enable "read")
    assert(bev:connect(listener:sockname()))
    bev:write "early words"
    s:run(function() return over or tostring(bev):find "closed" end)
    if over then fail(over) end
    assert(#told >= 5)
    listener:close()
  end},

  {"a file by TLS", function(s)
    local a, b = connected(s, server, client, "localhost")
    local file <close> = assert(io.open(path))
    local size = file:seek "end"
    assert(b:output():add_file(file))
    assert(#receive(s, a, size) == size)
  end},

  {"the end of TLS", function(s)
    local a, b = connected(s, server, client, "localhost")
    local ends = 0
    for i, bev in ipairs {a, b} do
      bev:setcb(nil, nil, function(c, what, message)
        if what ~= "eof" then fail(message) end
        ends = ends + 1
        if i == 1 then c:close_after_flush() end
      end)
      assert(bev:enable "read")
    end
    b:write "last words"
    assert(b:shutdown())
    s:run(function() return ends == 2 end)
  end},


  {"TLS in the middle of a conversation", function(s)
    local a, b = s:connected()
    local up = 0
    for _, bev in ipairs {a, b} do
      bev:setcb(nil, nil, function(_, what, message)
        if what ~= "connected" then fail(message) end
        up = up + 1
      end)
      assert(bev:enable "read")
    end
    b:write "in the clear"
    assert(receive(s, a, 12) == "in the clear")
    a:setcb(nil, nil, function(_, what, message)
      if what ~= "connected" then fail(message) end
      up = up + 1
    end)
    a:write "go ahead"
    for i, bev in ipairs {a, b} do
      local ok, message = bev:starttls(({server, client})[i], "localhost")
      if not ok then fail(message) end
      if i == 1 then receive(s, b, 8) end
      if i == 1 then
        b:setcb(nil, nil, function(_, what, text)
          if what ~= "connected" then fail(text) end
          up = up + 1
        end)
      end
    end
    s:run(function() return up == 2 end)
    b:write "secret"
    assert(receive(s, a, 6) == "secret")
    assert(a:tls() and b:tls().verified)
  end},

  {"TLS that is resumed", function(s)
    for _ = 1, 2 do
      local a, b = connected(s, server, client, "localhost")
      b:write "hello"
      receive(s, a, 5)
      a:write "world"
      receive(s, b, 5)          -- and a ticket before it
      assert(a:tls().resumed == b:tls().resumed)
      a:close()
      b:close()
    end
  end},

  {"names of TLS", function(s)
    local a = connected(s, strict, known, "localhost")
    a:close()
    local any = secure.client {verify = false, certificate = pem,
                               alpn = {"a"}}
    local c, d = connected(s, strict, any, "www.test")
    assert(c:tls().hostname == "www.test" and d:tls().verified == false)
  end},

  {"a certificate that is not trusted", function(s)
    local ok, message = pcall(connected, s, server, stranger, "localhost")
    assert(not ok)
    if not message:find "certificate" then error(message, 0) end
  end},

  {"a handshake that takes too long", function(s)
    local peer, told
    local listener = assert(s.base:listener("127.0.0.1:0", function(_, conn)
      peer = conn             -- and says nothing
    end))
    local bev = s.base:bufferevent(nil, {tls = hasty, hostname = false})
    bev:setcb(nil, nil, function(_, what, message) told = what .. message end)
    assert(bev:connect(listener:sockname()))
    s:run(function() return told end)
    if told ~= "timeoutreading" then error(told, 0) end
    listener:close()
    peer:close()
  end},

  {"TLS to a name", function(s)
    local over
    local listener = assert(s.base:listener("127.0.0.1:0", function(_, conn)
      conn:setcb(nil, nil, onevent)
    end, {tls = server}))
    local bev = s.base:bufferevent(nil, {tls = client})
    bev:setcb(nil, nil, function(_, what, message)
      over = what == "connected" and what or message
    end)
    local port = tonumber(listener:sockname():match "%d+$")
    assert(bev:connect_hostname("localhost", port, {family = "inet"}))
    s:run(function() return over end)
    if over ~= "connected" then fail(over) end
    assert(bev:tls().peer.names[1] == "localhost")
  end},

  {"contexts that are loaded again, and gone", function(s)
    local contexts = {secure.contexts()}
    local a, b = connected(s, contexts[1], contexts[2], "localhost")
    for _, context in ipairs(contexts) do
      local ok, message = context:reload()
      if not ok then error(message) end
    end
    contexts[1], contexts[2] = nil, nil
    collectgarbage()
    b:write "hello"
    assert(receive(s, a, 5) == "hello" and a:tls())
  end},

  {"a filter on TLS", function(s)
    local a, b = connected(s, server, client, "localhost")
    local filter = s.base:filter(a, function(from, to) to:add(from) end)
    b:write "hello"
    assert(receive(s, filter, 5) == "hello" and filter:tls())
    filter:write "world"
    assert(receive(s, b, 5) == "world")
  end},

  {"a server of HTTPS and its client", function(s)
    local port = serve(s, function(req)
      assert(req:tls().version == "TLSv1.3")
      assert(req:send_reply(200, nil, req:input_buffer()))
    end)
    local conn = s.base:http_connection("localhost", port,
                                        {tls = client, family = "inet"})
    for _ = 1, 2 do
      local result, message
      conn:make_request("POST", "/", {body = large}, function(...)
        result, message = ...
      end)
      s:run(function() return result or message end)
      if not result then fail(message) end
      assert(result:body() == large and conn:tls().verified)
    end
    conn:close()
  end},

  {"a request by HTTPS", function(s)
    local port = serve(s, function(req)
      assert(req:send_reply(200, nil, "hello"))
    end)
    local result, message
    http.request(s.base, "https://localhost:" .. port, {tls = client},
      function(...) result, message = ... end)
    s:run(function() return result or message end)
    if not result then fail(message) end
    assert(result.body == "hello")
  end},
}
