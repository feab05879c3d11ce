-- TLS with peers that are not to be spoken with: who refuses says why, and the
-- other one hears of it.
local certificates = require "spec.certificates"
local process = require "spec.process"
local secure = require "spec.secure"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local root = certificates.root.certificate
local ALPN = {"h2"}

--- What the client refuses: the kind of the certificate, the name that it
--- wants, its reason, and what the server hears.
local SERVERS = {
  {"has expired", "expired", "localhost", "certificate has expired",
   "certificate expired"},
  {"is not yet valid", "future", "localhost", "certificate is not yet valid",
   "bad certificate"},
  {"has signed itself", "alone", "localhost", "self.signed certificate",
   "unknown ca"},
  {"is signed by a stranger", "unknown", "localhost",
   "unable to get local issuer certificate", "unknown ca"},
  {"is for another host", "other", "localhost", "hostname mismatch",
   "bad certificate"},
  {"is for a host below that one", "b", "b.test", "hostname mismatch",
   "bad certificate"},
  {"is for a host two below that one", "b", "x.y.b.test", "hostname mismatch",
   "bad certificate"},
  {"is for too many", "partial", "localhost", "hostname mismatch",
   "bad certificate"},
  {"has its name only as a subject", "commonname", "localhost",
   "hostname mismatch", "bad certificate"},
  {"is for a name, not for an address", "other", "127.0.0.1",
   "IP address mismatch", "bad certificate"},
  {"is for another address", "address", "127.0.0.1", "IP address mismatch",
   "bad certificate"},
  {"is for an address, not for a name", "address", "localhost",
   "hostname mismatch", "bad certificate"},
  {"is a client's", "client", "client.test", "unsuitable certificate purpose",
   "unsupported certificate"},
}

--- The same of a server: the kind, or nil, whether one is "required".
local CLIENTS = {
  {"is none", nil, "required", "peer did not return a certificate",
   {["1.2"] = "handshake failure", ["1.3"] = "certificate required"}},
  {"has expired", "old", "required",
   "certificate verify failed: certificate has expired",
   "certificate expired"},
  {"is signed by a stranger", "strange", "required",
   "certificate verify failed: unable to get local issuer certificate",
   "unknown ca"},
  {"is a server's", "good", "required",
   "certificate verify failed: unsuitable certificate purpose",
   "unsupported certificate"},
  {"has expired, though none is needed", "old", "optional",
   "certificate verify failed: certificate has expired",
   "certificate expired"},
  {"is signed by a stranger, though none is needed", "strange", "optional",
   "certificate verify failed: unable to get local issuer certificate",
   "unknown ca"},
}

--- The last that an end has heard.
local function failed(heard, words)
  assert.matches("^error 71 " .. words, heard[#heard])
  assert.equal("", heard.data)
end

for _, version in ipairs {"1.2", "1.3"} do
  describe("A client of TLS " .. version .. " refuses a certificate that",
  function()
    before_each(t.start)
    after_each(t.finish)

    for _, case in ipairs(SERVERS) do
      it(case[1], function()
        local base = t.base()
        local server, client = secure.meet(base, secure.server({}, case[2]),
          secure.client {max_version = version}, case[3])
        failed(client, "certificate verify failed: " .. case[4] .. "$")
        failed(server, ".*alert " .. case[5] .. "$")
        assert.same({1, 1}, {#client, #server})
        assert.equal(0, base:num_events())
        base:close()
      end)
    end

    it("comes to it by one who resumes nothing for it", function()
      local base = t.base()
      local client = secure.client {max_version = version}
      for _ = 1, 2 do
        local _, heard = secure.meet(base, secure.server({}, "expired"), client)
        failed(heard, "certificate verify failed")
      end
      base:close()
    end)
  end)

  describe("A server of TLS " .. version .. " refuses a certificate that",
  function()
    before_each(t.start)
    after_each(t.finish)

    for _, case in ipairs(CLIENTS) do
      it(case[1], function()
        local base = t.base()
        local ctx = secure.server {verify = case[3], trust = root}
        local mine = case[2] and secure.known(case[2], {max_version = version})
                     or secure.client {max_version = version}
        local server, client = secure.meet(base, ctx, mine)
        failed(server, case[4] .. "$")
        assert.equal(1, #server)
        local alert = case[5]
        if type(alert) == "table" then alert = alert[version] end
        failed(client, ".*alert " .. alert .. "$")
        assert.equal(version == "1.2" and 1 or 2, #client)
        base:close()
      end)
    end
  end)

  describe("TLS " .. version, function()
    before_each(t.start)
    after_each(t.finish)

    it("is not, where no protocol is common", function()
      local base = t.base()
      local function meet(one, other)
        other.max_version = version
        return secure.meet(base, secure.server(one), secure.client(other))
      end
      local server, client = meet({alpn = ALPN}, {alpn = {"http/1.1", "h3"}})
      failed(server, "no application protocol$")
      failed(client, ".*alert no application protocol$")
      server, client = meet({}, {alpn = ALPN, alpn_required = true})
      failed(client, "no common protocol of ALPN$")
      assert.matches("^error 104", server[#server])
      server, client = meet({alpn = ALPN, alpn_required = true}, {})
      failed(server, "no common protocol of ALPN$")
      failed(client, ".*alert no application protocol$")
      base:close()
    end)

    it("is not, where what is said is cut", function()
      local base = t.base()
      -- the answer of the server stops in its middle
      for _, size in ipairs {1, 5, 100, 700} do
        local heard = {}
        local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
          secure.listen(conn, {})
          l:close()
        end, {tls = secure.server()}))
        local proxy
        proxy = secure.proxy(base, listener:sockname(), {down = function(data)
          proxy.near:write(data:sub(1, size)):close_after_flush()
          proxy.far:close()
        end})
        local bev = base:bufferevent(nil, {
          tls = secure.client {max_version = version}})
        secure.listen(bev, heard)
        assert(bev:connect(proxy.address))
        t.runtill(base, function() return heard.over end)
        assert.matches("^error 104 ", heard[1])
      end
      base:close()
    end)

    it("is over, where a record is cut", function()
      local base = t.base()
      local armed
      local s, c, proxy
      s, c, proxy = secure.through(base, {up = function(data, p)
        if not armed then return data end
        p.far:write(data:sub(1, -2)):close_after_flush()
        p.near:close()
      end}, nil, secure.client {max_version = version})
      local heard = secure.listen(s, {})
      armed = true
      c:write "never whole"
      t.runtill(base, function() return heard.over end)
      assert.equal("", heard.data)
      assert.matches("^error 104 the connection was cut", heard[1])
      assert.is_true(t.isclosed(proxy.near))
      c:close()
      base:close()
    end)
  end)
end

describe("A server with TLS", function()
  before_each(t.start)
  after_each(process.killall)
  after_each(t.finish)

  --- What it makes of these bytes, and what it answers.
  local function told(base, bytes, finish)
    local heard, back = {}, {}
    local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
      secure.listen(conn, heard)
      l:close()
    end, {tls = secure.server()}))
    local bev = base:bufferevent()
    back.data = ""
    bev:setcb(function(b) back.data = back.data .. b:read() end, nil,
      function(b, what)
        if what ~= "connected" then
          back.over = true
          b:close()
        end
      end):enable "read":write(bytes)
    assert(bev:connect(listener:sockname()))
    if finish then bev:shutdown() end
    t.runtill(base, function() return heard.over and back.over end)
    assert.equal("", heard.data)
    return heard[1], back.data
  end

  it("takes nothing in the clear", function()
    local base = t.base()
    for bytes, words in pairs {
      ["GET / HTTP/1.1\r\nHost: x\r\n\r\n"] = "http request",
      ["CONNECT x:1 HTTP/1.1\r\n\r\n"] = "https proxy request",
      ["EHLO some.test\r\n"] = "",
      [("\0"):rep(1000)] = "", [("\255"):rep(1000)] = "",
      [("x"):rep(100000)] = "",
      ["\22\3\1\255\255" .. ("x"):rep(70000)] = "",
      ["\22\3\1\0\5\1\0\0\1\0"] = "",
      ["\22\3\1\0\4\1\255\255\255"] = "",
      ["\21\3\1\0\2\2\40"] = "", ["\23\3\3\0\1x"] = "",
      ["\20\3\3\0\1\1"] = "", ["\128\46\1\3\1"] = "",
    } do
      local heard, back = told(base, bytes, true)
      assert.matches(bytes:byte() == 128 and "^error 104 the peer has closed"
                     or "^error 71 .*" .. words, heard)
      assert.is_true(back == "" or back:byte() == 21, back)     -- an alert
    end
    assert.equal(0, base:num_events())
    base:close()
  end)

  it("takes no hello that somebody has spoilt", function()
    local base = t.base()
    local hello = secure.hello(base)
    -- lengths, versions, ciphers and extensions, one byte after the other
    for at = 1, #hello, t.slow > 1 and 37 or 7 do
      local spoilt = hello:sub(1, at - 1)
        .. string.char(hello:byte(at) ~ 0x81) .. hello:sub(at + 1)
      assert.matches("^error ", told(base, spoilt, true))
    end
    base:close()
  end)

  it("takes no version that is too old", function()
    local base = t.base()
    local old = {min_version = "1.0", max_version = "1.1",
                 ciphers = "DEFAULT@SECLEVEL=0"}
    local server, client = secure.meet(base, secure.server(),
                                       secure.client(old))
    failed(server, "unsupported protocol$")
    failed(client, ".*alert protocol version$")
    server, client = secure.meet(base, secure.server(old),
      secure.client {ciphers = "DEFAULT@SECLEVEL=0"})
    failed(server, "unsupported protocol$")
    failed(client, ".*alert protocol version$")
    server, client = secure.meet(base, secure.server {max_version = "1.2"},
                                 secure.client {min_version = "1.3"})
    failed(server, "unsupported protocol$")
    failed(client, ".*alert protocol version$")
    base:close()
  end)

  it("takes no alert for a handshake", function()
    local base = t.base()
    for _, bytes in ipairs {"\21\3\1\0\2\2\50", "\21\3\1\0\2\1\0",
                            "\21\3\1\0\2\1\90"} do
      assert.equal("error 71 unexpected message", told(base, bytes, true))
    end
    base:close()
  end)

  it("shakes hands once, whatever a client of TLS 1.2 asks for", function()
    local base = t.base()
    local heard, sessions = {}, 0
    local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
      secure.listen(conn, heard)
      local read, _, event = conn:getcb()
      conn:setcb(read, nil, function(b, what, ...)
        if what == "connected" then sessions = sessions + 1 end
        event(b, what, ...)
      end)
    end, {tls = secure.server()}))
    local p = process.launch(("env -u LD_PRELOAD openssl s_client -tls1_2 "
      .. "-connect %s -CAfile %s"):format(listener:sockname(), root))
    t.runtill(base, function() return heard[1] end)
    p:write "R\n"
    t.runtill(base, function() return heard.over end)
    local output = p:finish()
    assert.matches("RENEGOTIATING", output)
    assert.matches("no renegotiation", output)
    assert.equal("", heard.data)
    assert.equal(1, sessions)
    listener:close()
    base:close()
  end)
end)

describe("A client with TLS", function()
  before_each(t.start)
  after_each(process.killall)
  after_each(t.finish)

  --- What it makes of a server that says that when it has heard its hello.
  local function told(base, bytes)
    local heard = {}
    local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
      conn:setcb(function(b)
        b:input():drain()
        b:setcb(nil, nil, function() b:close() end)
        b:write(bytes):shutdown()
      end, nil, function(b) b:close() end):enable "read"
      l:close()
    end))
    local bev = base:bufferevent(nil, {tls = secure.client()})
    secure.listen(bev, heard)
    bev:write "secret"
    assert(bev:connect(listener:sockname()))
    t.runtill(base, function() return heard.over end)
    assert.same({1, ""}, {#heard, heard.data})
    t.runtill(base, function() return base:num_events() <= 1 end)
    return heard[1]
  end

  it("takes nothing in the clear", function()
    local base = t.base()
    for _, bytes in ipairs {
      "HTTP/1.1 400 Bad Request\r\n\r\n", "220 some.test ESMTP\r\n",
      ("\0"):rep(1000), ("\255"):rep(1000), ("x"):rep(100000),
      "\22\3\3\0\4\14\0\0\0", "\22\3\3\255\255" .. ("x"):rep(70000),
      "\23\3\3\0\1x", "\20\3\3\0\1\1",
    } do
      assert.matches("^error 71 ", told(base, bytes))
    end
    assert.matches("^error 71 wrong version number",
                   told(base, "220 some.test ESMTP\r\n"))
    base:close()
  end)

  it("is told what the server finds wrong", function()
    local base = t.base()
    for code, words in pairs {[40] = "handshake failure", [80] =
        "internal error", [70] = "protocol version", [112] =
        "unrecognized name", [49] = "access denied"} do
      assert.matches("^error 71 .*" .. words,
                     told(base, "\21\3\3\0\2\2" .. string.char(code)))
    end
    base:close()
  end)

  it("is told of an end in the middle", function()
    local base = t.base()
    assert.equal("error 104 the peer has closed the connection in the "
                 .. "handshake", told(base, ""))
    assert.matches("^error 104 ", told(base, "\22\3\3"))
    base:close()
  end)

  it("shakes hands once, whatever a server of TLS 1.2 asks for", function()
    local base = t.base()
    local own, port = certificates.good, sockets.unused()
    local p = process.launch(("env -u LD_PRELOAD openssl s_server -tls1_2 "
      .. "-accept 127.0.0.1:%d -cert %s -cert_chain %s -key %s"):format(port,
        own.certificate, own.certificate, own.key))
    p:expect "ACCEPT"
    local heard, sessions = {}, 0
    local bev = base:bufferevent(nil, {tls = secure.client()})
    secure.listen(bev, heard)
    local read, _, event = bev:getcb()
    bev:setcb(read, nil, function(b, what, ...)
      if what == "connected" then sessions = sessions + 1 end
      event(b, what, ...)
    end)
    assert(bev:connect("127.0.0.1:" .. port))
    t.runtill(base, function() return heard[1] end)
    p:expect "CIPHER is"
    p:write "r\n"
    t.runtill(base, function()
      return heard.over or p:output():find "no renegotiation"
    end)
    assert.equal(1, sessions)
    assert.equal("", heard.data)
    if not heard.over then bev:close() end
    p:stop "KILL"
    base:close()
  end)
end)

describe("HTTP with TLS", function()
  before_each(t.start)
  after_each(t.finish)

  it("answers nobody in the clear, and is not told of him", function()
    local base = t.base()
    local http = base:http {tls = secure.server()}
    http:set_gencb(t.never())
    local listener = assert(http:bind_socket "127.0.0.1:0")
    local sock = sockets.dial(tonumber(listener:sockname():match "%d+$"))
    sock:send "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    t.runtill(base, function()
      sock:settimeout(0)
      local _, why = sock:receive(1000)
      return why == "closed"
    end)
    sock:close()
    assert.equal(0, http:connection_count())
    base:close()
  end)
end)
