-- TLS with others' programs: openssl, curl, node and nginx.
local http = require "libevent.http"
local certificates = require "spec.certificates"
local nginx = require "spec.nginx"
local process = require "spec.process"
local secure = require "spec.secure"
local socket = require "socket"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local root, good = certificates.root.certificate, certificates.good
local DATA = t.pattern(1600000)

--- Starts a program; the sanitizers are not its own.
local function launch(format, ...)
  return process.launch("env -u LD_PRELOAD " .. format:format(...))
end

--- Runs the loop until f says so, which may be for what another process has
--- done.
local function till(base, f)
  local ticks = base:timer(function() end, "persist"):add(0.005)
  t.runtill(base, f)
  ticks:close()
end

--- Runs one while the loop does, until it ends: what it prints, and its status.
local function run(base, format, ...)
  local p = launch("sh -c '%s; echo status $?'", format:format(...))
  till(base, function() return p:output():find "status %d+\n$" end)
  return p:finish():match "^(.*)status (%d+)\n$"
end

local function portof(listener)
  return tonumber(listener:sockname():match "%d+$")
end

--- A server that answers each line in capitals.
local function shouting(base, ctx)
  local seen = {}
  local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
    local list = {}
    seen[#seen + 1] = list
    conn:setcb(function(b)
      for line in function() return b:input():readln() end do
        b:write(line:upper(), "\n")
      end
    end, nil, function(b, what, message)
      list[#list + 1] = message or what
      list.session = list.session or what == "connected" and b:tls() or nil
      if what ~= "connected" then b:close_after_flush() end
    end):enable "read"
  end, {tls = ctx}))
  return listener, seen
end

local function finish()
  process.killall()
  t.finish()
end

describe("openssl s_client", function()
  before_each(t.start)
  after_each(finish)

  --- One that has connected to the server, and whom it shows itself to.
  local function dial(base, listener, options)
    local p = launch("openssl s_client -connect %s -CAfile %s %s "
      .. "-verify_return_error -servername localhost -verify_hostname "
      .. "localhost", listener:sockname(), root, options or "")
    till(base, function()
      return p:output():find "Verify return code"
             or p:output():find "errno" or p:output():find "error:"
    end)
    return p
  end

  local function says(base, p, text, answer)
    p:write(text)
    till(base, function() return p:output():find(answer, 1, true) end)
  end

  for _, version in ipairs {"1_2", "1_3"} do
    it("speaks TLS " .. version:gsub("_", "."), function()
      local base = t.base()
      local listener, seen = shouting(base, secure.server())
      local p = dial(base, listener, "-tls" .. version)
      says(base, p, "hello\n", "HELLO\n")
      says(base, p, ("x"):rep(5000) .. "\n", ("X"):rep(5000) .. "\n")
      p:write "Q\n"
      till(base, function() return #seen[1] == 2 end)
      assert.same({"connected", "reading"}, {seen[1][1], seen[1][2]})
      assert.equal("TLSv" .. version:gsub("_", "."), seen[1].session.version)
      local output = p:finish()
      assert.matches("Verification: OK", output)
      base:close()
    end)

    it("resumes " .. version:gsub("_", "."), function()
      local base = t.base()
      local listener, seen = shouting(base, secure.server())
      local path = certificates.path "session"
      for i, word in ipairs {"New", "Reused"} do
        local p = dial(base, listener, ("-tls%s -sess_%s %s"):format(version,
          i == 1 and "out" or "in", path))
        says(base, p, "hello\n", "HELLO\n")
        p:write "Q\n"
        till(base, function() return #seen[i] == 2 end)
        assert.matches("\n" .. word .. ", TLSv", p:finish())
        assert.equal(i == 2, seen[i].session.resumed)
      end
      base:close()
    end)
  end

  it("wants small records", function()
    local base = t.base()
    local listener, seen = shouting(base, secure.server())
    for i, version in ipairs {"1_2", "1_3"} do
      local p = dial(base, listener, "-maxfraglen 512 -no_ticket -tls"
                                     .. version)
      says(base, p, ("x"):rep(9000) .. "\n", ("X"):rep(9000) .. "\n")
      p:write "Q\n"
      till(base, function() return #seen[i] == 2 end)
      assert.equal("reading", seen[i][2])
      p:finish()
    end
    base:close()
  end)

  it("changes its keys, and asks for others", function()
    local base = t.base()
    local listener, seen = shouting(base, secure.server())
    local p = dial(base, listener, "-tls1_3")
    for i = 1, 6 do
      p:write(i % 2 == 0 and "k\n" or "K\n")
      socket.sleep(0.01)
      t.turns(base, 5)
      says(base, p, "hello" .. i .. "\n", "HELLO" .. i .. "\n")
    end
    assert.matches("KEYUPDATE", p:output())
    p:write "Q\n"
    till(base, function() return #seen[1] == 2 end)
    assert.equal("reading", seen[1][2])
    p:finish()
    base:close()
  end)

  it("shows a certificate that is asked for", function()
    local base = t.base()
    local listener, seen = shouting(base, secure.server {
      verify = "required", trust = root})
    local own = certificates.client
    local p = dial(base, listener, ("-cert %s -cert_chain %s -key %s"):format(
      own.certificate, own.certificate, own.key))
    says(base, p, "hello\n", "HELLO\n")
    assert.equal("CN=client,O=Specs", seen[1].session.peer.subject)
    assert.matches("Acceptable client certificate CA names\nO = Specs, "
                   .. "CN = The root", p:output())
    p:write "Q\n"
    till(base, function() return #seen[1] == 2 end)
    p:finish()
    p = dial(base, listener)
    till(base, function() return seen[2] and seen[2][1] end)
    assert.same({"peer did not return a certificate"}, seen[2])
    p:stop "KILL"
    base:close()
  end)

  it("chooses by ALPN and by name", function()
    local base = t.base()
    local listener, seen = shouting(base, secure.server {
      alpn = {"beta", "alpha"}, names = {["a.test"] = secure.server({}, "a")}})
    local p = launch("openssl s_client -connect %s -CAfile %s -alpn alpha,beta "
      .. "-servername a.test -verify_hostname a.test -verify_return_error",
      listener:sockname(), root)
    till(base, function()
      return seen[1] and seen[1][1] and p:output():find "Verify return code"
    end)
    assert.matches("ALPN protocol: beta", p:output())
    assert.matches("Verification: OK", p:output())
    assert.same({"beta", "a.test"}, {seen[1].session.alpn,
                                     seen[1].session.hostname})
    p:write "Q\n"
    till(base, function() return #seen[1] == 2 end)
    p:finish()
    base:close()
  end)

  it("goes without a word, and that is told", function()
    local base = t.base()
    local listener, seen = shouting(base, secure.server())
    local p = dial(base, listener)
    says(base, p, "hello\n", "HELLO\n")
    p:stop "KILL"
    till(base, function() return #seen[1] == 2 end)
    assert.matches("the connection was cut", seen[1][2])
    base:close()
  end)

  it("takes STARTTLS", function()
    local base = t.base()
    local done
    local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
      conn:setcb(function(b)
        for line in function() return b:input():readln() end do
          if line:find "^EHLO" then
            b:write "250-some.test\r\n250 STARTTLS\r\n"
          elseif line == "STARTTLS" then
            b:write "220 go\r\n"
            return assert(b:starttls(secure.server()))
          else
            done = line .. " " .. b:tls().version
            b:write "221 bye\r\n":close_after_flush()
            return
          end
        end
      end):enable "read":write "220 some.test ESMTP\r\n"
    end))
    local p = dial(base, listener, "-starttls smtp -crlf")
    p:write "NOOP\n"
    till(base, function() return done end)
    assert.equal("NOOP TLSv1.3", done)
    till(base, function() return p:output():find "221 bye" end)
    p:stop "KILL"
    base:close()
  end)
end)

describe("openssl s_server", function()
  before_each(t.start)
  after_each(finish)

  local function serve(options)
    local port = sockets.unused()
    local p = launch("openssl s_server -accept 127.0.0.1:%d -cert %s "
      .. "-cert_chain %s -key %s %s", port, good.certificate,
      good.certificate, good.key, options)
    p:expect "ACCEPT"
    return p, "127.0.0.1:" .. port, port
  end

  local function dial(base, address, ctx)
    local list = {}
    local bev = base:bufferevent(nil, {tls = ctx, hostname = "localhost"})
    secure.listen(bev, list)
    assert(bev:connect(address))
    till(base, function() return list[1] end)
    return bev, list
  end

  for _, version in ipairs {"1_2", "1_3"} do
    it("speaks TLS " .. version:gsub("_", ".") .. ", and resumes it", function()
      local base = t.base()
      local p, address = serve("-rev -tls" .. version)
      local ctx = secure.client()
      for i = 1, 3 do
        local bev, list = dial(base, address, ctx)
        assert.equal("connected", list[1])
        bev:write "hello\n"
        till(base, function() return list.data == "olleh\n" end)
        local session = bev:tls()
        assert.is_true(session.verified)
        assert.equal("TLSv" .. version:gsub("_", "."), session.version)
        assert.equal(i > 1, session.resumed)
        bev:close()
      end
      p:stop "KILL"
      base:close()
    end)
  end

  it("asks for a certificate", function()
    local base = t.base()
    local p, address = serve(("-rev -Verify 3 -verify_return_error -CAfile %s")
      :format(root))
    local bev, list = dial(base, address, secure.known "client")
    bev:write "hello\n"
    till(base, function() return list.data == "olleh\n" end)
    bev:close()
    bev, list = dial(base, address, secure.client())
    till(base, function() return list.over end)
    assert.matches("^error 71 .*certificate required", list[#list])
    assert.is_true(t.isclosed(bev))
    p:stop "KILL"
    base:close()
  end)

  it("answers http.request", function()
    local base = t.base()
    local p, _, port = serve "-www"
    local got
    http.request(base, ("https://localhost:%d/"):format(port),
                 {tls = secure.client(), family = "inet"},
                 t.expect(function(response, message)
      got = response or message
    end))
    till(base, function() return got end)
    assert.equal("table", type(got), got)
    assert.equal(200, got.status)
    assert.matches("Ciphers supported in s_server binary", got.body)
    assert.matches("</pre></BODY></HTML>", got.body)
    got = nil
    http.request(base, ("https://localhost:%d/"):format(port),
                 {family = "inet"}, t.expect(function(response, message)
      assert.is_nil(response)
      got = message
    end))
    till(base, function() return got end)
    assert.matches("certificate verify failed", got)
    p:stop "KILL"
    base:close()
  end)
end)

describe("curl", function()
  before_each(t.start)
  after_each(finish)

  local function serve(base, options)
    local server = base:http {max_body_size = #DATA}
    local peers = {}
    server:set_gencb(function(req)
      peers[#peers + 1] = req:peername()
      req:send_reply(200, nil, req:command() .. " " .. #req:body())
    end)
    server:set_cb("/data", function(req)
      peers[#peers + 1] = req:peername()
      req:send_reply(200, nil, DATA)
    end)
    local listener = assert(server:bind_socket("127.0.0.1:0", {
      tls = secure.server(options)}))
    return portof(listener), peers
  end

  local function curl(base, port, arguments, ...)
    return run(base, ("curl -sS --cacert %s --resolve localhost:%d:127.0.0.1 "
      .. "%s 2>&1"):format(root, port,
      (arguments:gsub("@", "https://localhost:" .. port))), ...)
  end

  for _, version in ipairs {"1.2", "1.3"} do
    it("gets, posts and keeps TLS " .. version, function()
      local base = t.base()
      local port, peers = serve(base)
      local how = version == "1.2" and "--tls-max 1.2 " or "--tlsv1.3 "
      assert.same({"GET 0", "0"}, {curl(base, port, how .. "@/a")})
      assert.same({"GET 0GET 0GET 0", "0"}, {curl(base, port,
        how .. "@/1 @/2 @/3")})
      assert.equal(peers[2], peers[3])
      assert.equal(peers[2], peers[4])
      assert.not_equal(peers[1], peers[2])
      local path = t.write(DATA)
      assert.same({"PUT " .. #DATA, "0"}, {curl(base, port,
        how .. "-T " .. path .. " @/")})
      assert.same({"POST 4", "0"}, {curl(base, port, how .. "-d data @/")})
      os.remove(path)
      base:close()
    end)

    it("gets much by TLS " .. version, function()
      local base = t.base()
      local port = serve(base)
      local path = t.path()
      local output, status = curl(base, port, ("-o %s @/data --tls-max %s")
        :format(path, version))
      assert.same({"", "0"}, {output, status})
      assert.is_true(t.contents(path) == DATA)
      output, status = curl(base, port, ("-o %s @/data --tls-max %s "
        .. "--limit-rate 20M"):format(path, version))
      assert.same({"", "0"}, {output, status})
      assert.is_true(t.contents(path) == DATA)
      os.remove(path)
      base:close()
    end)
  end

  it("is told which protocol it is", function()
    local base = t.base()
    local port = serve(base, {alpn = {"http/1.1"}})
    assert.same({"GET 0 1.1", "0"}, {curl(base, port,
      "--http2 -w \" %%{http_version}\" @/")})
    base:close()
  end)

  it("shows a certificate that is asked for", function()
    local base = t.base()
    local port, peers = serve(base, {verify = "required", trust = root})
    local own = certificates.client
    assert.same({"GET 0", "0"}, {curl(base, port, ("--cert %s --key %s @/")
      :format(own.certificate, own.key))})
    local output, status = curl(base, port, "@/")
    assert.equal("56", status, output)
    assert.matches("certificate required", output)
    assert.equal(1, #peers)
    base:close()
  end)

  it("refuses what it should", function()
    local base = t.base()
    local port = serve(base)
    local _, status = run(base, "curl -sS https://127.0.0.1:%d/ 2>&1", port)
    assert.equal("60", status)
    local output
    output, status = run(base, "curl -sS http://127.0.0.1:%d/ 2>&1", port)
    assert.equal("52", status, output)
    output, status = curl(base, port, "--tls-max 1.1 @/")
    assert.equal("35", status, output)
    base:close()
  end)
end)

local NODE = [[
  const tls = require("tls"), https = require("https"), fs = require("fs")
  const [mode, ca, cert, key, port] = process.argv.slice(2)
  const own = {ca: fs.readFileSync(ca), cert: fs.readFileSync(cert),
               key: fs.readFileSync(key)}
  if (mode == "server") {
    const server = tls.createServer({...own, ALPNProtocols: ["echo"],
                                     requestCert: true,
                                     rejectUnauthorized: false}, sock => {
      sock.on("error", () => {})
      sock.write(`${sock.authorized} ${sock.getProtocol()} `
        + `${sock.isSessionReused()} ${sock.servername}\n`)
      sock.pipe(sock)
    })
    server.listen(0, "127.0.0.1",
                  () => console.log("port", server.address().port))
  } else if (mode == "https") {
    const server = https.createServer(own, (req, res) => {
      if (req.url == "/moved") {
        res.writeHead(302, {Location: "/there"})
        return res.end()
      }
      let n = 0
      req.on("data", data => n += data.length)
      req.on("end", () => {
        res.write(`${req.method} ${req.url} ${n} `)
        res.end(`${req.socket.remotePort}`)
      })
    })
    server.keepAliveTimeout = 60000
    server.listen(0, "127.0.0.1",
                  () => console.log("port", server.address().port))
  } else if (mode == "client") {
    const sock = tls.connect({...own, port: +port, host: "127.0.0.1",
                              servername: "localhost",
                              ALPNProtocols: ["echo"]}, () => {
      console.log("authorized", sock.authorized, sock.getProtocol(),
                  sock.alpnProtocol)
      sock.end(Buffer.alloc(3000000, "x"))
    })
    let n = 0
    sock.on("data", data => n += data.length)
    sock.on("end", () => console.log("end", n))
    sock.on("error", e => console.log("error", e.code))
  } else {
    const agent = new https.Agent({keepAlive: true, maxSockets: 1,
                                   ca: own.ca})
    const get = (path, then) => https.get({agent, port: +port, path,
      host: "127.0.0.1", servername: "localhost"}, res => {
        let body = ""
        res.on("data", data => body += data)
        res.on("end", () => { console.log(body); then() })
      }).on("error", e => console.log("error", e.code))
    get("/1", () => get("/2", () => agent.destroy()))
  }
]]

describe("node", function()
  before_each(t.start)
  after_each(finish)

  local script

  setup(function() script = t.write(NODE, certificates.path "peer.js") end)

  local function node(mode, port)
    return launch("node %s %s %s %s %s %s", script, mode, root,
                  good.certificate, good.key, port or "")
  end

  it("is a server", function()
    local base = t.base()
    local p = node "server"
    local port = tonumber(p:expect("^port (%d+)\n", 10))
    local ctx = secure.known("client", {alpn = {"other", "echo"}})
    for _, reused in ipairs {"false", "true"} do
      local list = {}
      local bev = base:bufferevent(nil, {tls = ctx, hostname = "localhost"})
      secure.listen(bev, list)
      assert(bev:connect("127.0.0.1:" .. port))
      bev:write(DATA):shutdown()
      till(base, function()
        return list.over or list.session == nil and bev:tls()
      end)
      if not list.over then assert.equal("echo", bev:tls().alpn) end
      till(base, function() return list.over end)
      assert.same({"connected", "eof reading"}, {list[1], list[2]})
      local line, rest = list.data:match "^([^\n]*)\n(.*)$"
      assert.equal(("true TLSv1.3 %s localhost"):format(reused), line)
      assert.is_true(rest == DATA)
    end
    p:stop "KILL"
    base:close()
  end)

  it("is a client", function()
    local base = t.base()
    local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
      conn:setcb(function(b) b:write(b:input()) end, nil, function(b, what)
        if what ~= "connected" then b:close_after_flush() end
      end):enable "read"
    end, {tls = secure.server {alpn = {"echo"}, alpn_required = true}}))
    local p = node("client", portof(listener))
    till(base, function() return p:output():find "end %d+\n" end)
    assert.equal("authorized true TLSv1.3 echo\nend 3000000\n", p:finish())
    base:close()
  end)

  it("asks HTTP, and keeps the connection", function()
    local base = t.base()
    local server = base:http {tls = secure.server()}
    local peers = {}
    server:set_gencb(function(req)
      peers[#peers + 1] = req:peername()
      req:send_reply(200, nil, req:path())
    end)
    local listener = assert(server:bind_socket "127.0.0.1:0")
    local p = node("agent", portof(listener))
    till(base, function() return p:output():find "/2\n" end)
    assert.equal("/1\n/2\n", p:finish())
    assert.equal(peers[1], peers[2])
    base:close()
  end)

  it("answers HTTP", function()
    local base = t.base()
    local p = node "https"
    local port = tonumber(p:expect("^port (%d+)\n", 10))
    local conn = base:http_connection("127.0.0.1", port, {
      tls = secure.client()})
    local list = {}
    for i, how in ipairs {{"GET", "/a"}, {"POST", "/b", {body = DATA}},
                          {"PUT", "/c", {body = "x"}}} do
      conn:make_request(how[1], how[2], how[3], t.expect(function(req, why)
        list[i] = assert(req, why):body()
      end))
      till(base, function() return list[i] end)
    end
    local peer = list[1]:match "%d+$"
    assert.same({"GET /a 0 " .. peer, "POST /b 1600000 " .. peer,
                 "PUT /c 1 " .. peer}, list)
    local got
    http.request(base, ("https://localhost:%d/moved"):format(port),
                 {tls = secure.client(), family = "inet"},
                 t.expect(function(response, message)
      got = assert(response, message)
    end))
    till(base, function() return got end)
    assert.matches("^GET /there 0 ", got.body)
    p:stop "KILL"
    base:close()
  end)
end)

local NGINX = [[
  ssl_certificate CERTIFICATE;
  ssl_certificate_key KEY;
  ssl_session_cache shared:s:1m;
  ssl_protocols TLSv1.2 TLSv1.3;
  server {
    listen 127.0.0.1:PORT ssl;
    server_name localhost;
    root DIR;
    location /session {
      return 200 "$ssl_protocol $ssl_session_reused $ssl_server_name";
    }
    location /proxied {
      proxy_pass https://127.0.0.1:BEHIND;
      proxy_http_version 1.1;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate ROOT;
      proxy_ssl_name localhost;
      proxy_ssl_server_name on;
    }
  }
]]

describe("nginx", function()
  before_each(t.start)
  after_each(finish)

  --- It passes on to another server what that is for.
  local function serve(behind)
    return nginx(NGINX, {CERTIFICATE = good.certificate, KEY = good.key,
                         ROOT = root, BEHIND = behind or 1})
  end

  local function get(base, url, options)
    local got
    options.family = "inet"
    http.request(base, url, options, t.expect(function(response, message)
      got = assert(response, message)
    end))
    till(base, function() return got end)
    return got.body
  end

  it("answers http.request", function()
    local base = t.base()
    local server = serve()
    t.write(DATA, server.dir .. "/file")
    local url = "https://localhost:" .. server.port
    for _, version in ipairs {"1.2", "1.3"} do
      local ctx = secure.client {max_version = version}
      assert.is_true(get(base, url .. "/file", {tls = ctx}) == DATA)
      for i = 1, 2 do
        local answer = get(base, url .. "/session", {tls = ctx, headers = {
          Connection = "close"}})
        if i == 2 then
          assert.equal(("TLSv%s r localhost"):format(version), answer)
        end
      end
    end
    server:stop()
    base:close()
  end)

  it("passes on to a server here", function()
    local base = t.base()
    local server = base:http {tls = secure.server()}
    server:set_gencb(function(req)
      req:send_reply(200, nil, req:path() .. " " .. #req:body())
    end)
    local listener = assert(server:bind_socket "127.0.0.1:0")
    local before = serve(portof(listener))
    local url = ("https://localhost:%d/proxied"):format(before.port)
    assert.equal("/proxied 500000", get(base, url, {
      tls = secure.client(), method = "POST", body = DATA:sub(1, 500000)}))
    before:stop()
    base:close()
  end)
end)
