-- The examples of TLS: each as a real process, with certificates of its own,
-- spoken to by openssl, by curl and by each other.
local lfs = require "lfs"
local socket = require "socket"
local curl = require "spec.curl"
local process = require "spec.process"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local start, shell, wait = process.start, process.shell, process.wait

local PLAIN = "env -u LD_PRELOAD "       -- the sanitizers are not its own

local folder

setup(function()
  folder = t.path()
  local text, status = start("examples/certificates.lua " .. folder):finish()
  assert.same({"certificates in " .. folder .. "\n", 0}, {text, status})
end)

teardown(function() os.execute("rm -r " .. folder) end)

-- A server on a free port, and that port.
local function serve(name, target)
  local p = start(("examples/%s.lua 127.0.0.1:0 %s %s"):format(name,
    target or "", folder))
  return p, (p:expect " on 127%.0%.0%.1:(%d+)")
end

-- Another example, with the port and the folder behind its own arguments.
local function client(name, port, rest)
  return start(("examples/%s.lua %s %s %s"):format(name, port, folder,
                                                   rest or ""))
end

local function ends(p, signal)
  local text, status = p:stop(signal)
  assert.equal(0, status, text)
  return text
end

-- The output of openssl s_client, which says 'text' and waits a little.
local function s_client(port, text, arguments)
  return shell(([[(printf "%s"; sleep 0.3) | %sopenssl s_client -quiet ]]
    .. "-verify_return_error -CAfile %s/ca.pem -connect 127.0.0.1:%d %s")
    :format(text, PLAIN, folder, port, arguments or ""))
end

local function https(port, arguments)
  return curl(("--cacert %s/ca.pem %s"):format(folder,
                                              arguments:gsub("PORT", port)))
end

local SERVERS = {"https_server", "tls_echo_server", "mutual_tls_server",
                 "sni_server", "starttls_server"}

describe("Every TLS server", function()
  after_each(process.killall)

  it("says in a line that it cannot listen", function()
    local _, port = serve "https_server"
    for _, name in ipairs(SERVERS) do
      local text, status = start(("examples/%s.lua 127.0.0.1:%d %s"):format(
        name, port, folder)):finish()
      assert.equal(("cannot listen on 127.0.0.1:%d: Address already in use\n")
                   :format(port), text)
      assert.equal(1, status)
    end
  end)

  it("ends on both signals", function()
    for _, name in ipairs(SERVERS) do
      ends(serve(name), "INT")
      ends(serve(name), "TERM")
    end
  end)

  it("does not begin without a certificate", function()
    for _, name in ipairs(SERVERS) do
      local text, status = start(("examples/%s.lua 127.0.0.1:0 /nowhere")
                                 :format(name)):finish()
      assert.equal(1, status)
      assert.matches("'certificate': /nowhere/[%l.]+: no such file",
                     text:lower())
    end
  end)
end)

describe("Example certificates", function()
  after_each(process.killall)

  it("makes certificates that hold, and keys for nobody else", function()
    for _, name in ipairs {"localhost", "one.localhost", "two.localhost",
                           "alice"} do
      assert.matches(": OK\n", shell(("openssl verify -CAfile %s/ca.pem "
        .. "%s/%s.pem"):format(folder, folder, name)), 1, true)
      assert.equal("rw-------", lfs.attributes(folder .. "/" .. name .. ".pem",
                                               "permissions"))
    end
    local count = 0
    for name in lfs.dir(folder) do
      if name:sub(1, 1) ~= "." then count = count + 1 end
    end
    assert.equal(6, count)
  end)

  it("keeps its authority when it is started again", function()
    local ca = t.contents(folder .. "/ca.pem")
    local old = t.contents(folder .. "/alice.pem")
    local _, status = start("examples/certificates.lua " .. folder):finish()
    assert.equal(0, status)
    assert.equal(ca, t.contents(folder .. "/ca.pem"))
    assert.not_equal(old, t.contents(folder .. "/alice.pem"))
  end)

  it("says why it cannot", function()
    local text, status =
      start "examples/certificates.lua /proc/nowhere":finish()
    assert.equal(1, status)
    assert.matches("/proc/nowhere", text, 1, true)
  end)
end)

describe("Example https_server", function()
  after_each(process.killall)

  it("answers curl, which knows it by its certificate", function()
    local p, port = serve "https_server"
    local status, headers, body = https(port, "https://localhost:PORT/")
    assert.same({200, "text/plain", "nobody else has read this\n"},
                {status, headers["content-type"], body})
    assert.equal(200, (https(port, "https://127.0.0.1:PORT/")))
    assert.matches("unable to get local issuer", shell(PLAIN .. "curl -sS "
                   .. "https://localhost:" .. port))
    ends(p, "TERM")
  end)

  it("is asked by http_client", function()
    local p, port = serve "https_server"
    local url = ("https://localhost:%d/"):format(port)
    local ask = "examples/http_client.lua "
    assert.same({"nobody else has read this\n", 0},
                {start(ask .. ("--cacert %s/ca.pem "):format(folder) .. url)
                   :finish()})
    local text, status = start(ask .. url):finish()
    assert.equal(1, status)
    assert.matches("certificate verify failed: unable to get local issuer",
                   text, 1, true)
    ends(p)
  end)

  it("reads its certificate again, and connections go on", function()
    local p, port = serve "https_server"
    local function serial()
      return shell(("%sopenssl s_client -connect 127.0.0.1:%d </dev/null "
                    .. "2>/dev/null | %sopenssl x509 -noout -serial")
                   :format(PLAIN, port, PLAIN))
    end
    local before = serial()
    start("examples/certificates.lua " .. folder):finish()
    assert.equal(before, serial())
    p:kill "HUP":expect "the certificate is read again\n"
    assert.not_equal(before, serial())
    os.rename(folder .. "/localhost.pem", folder .. "/away")
    p:kill "HUP":expect "/localhost.pem"
    os.rename(folder .. "/away", folder .. "/localhost.pem")
    assert.equal(200, (https(port, "https://localhost:PORT/")))
    ends(p)
  end)
end)

describe("Example tls_echo_server", function()
  after_each(process.killall)

  it("echoes for openssl", function()
    local p, port = serve "tls_echo_server"
    assert.matches("one line\nand another\n",
                   s_client(port, "one line\\nand another\\n",
                            "-no_ign_eof"), 1, true)
    p:expect "127.0.0.1:%d+: TLSv1.3, TLS_AES_256_GCM_SHA384\n"
    ends(p)
  end)

  it("echoes for tls_echo_client", function()
    local p, port = serve "tls_echo_server"
    local c = client("tls_echo_client", port)
    c:write "hello\n":expect "^TLSv1.3 with CN=localhost\nhello\n"
    c:write(("x"):rep(100000)):closeinput()
    local text, status = c:finish()
    assert.equal(0, status)
    assert.equal(32 + 100000, #text)
    p:expect ": eof\n"
    ends(p)
  end)

  it("is not believed by another name", function()
    local p, port = serve "tls_echo_server"
    local text, status = client("tls_echo_client", port, "one.localhost")
      :finish()
    assert.same({"one.localhost: certificate verify failed: "
                 .. "hostname mismatch\n", 1}, {text, status})
    p:expect "bad certificate\n"
    ends(p)
  end)

  it("tells who speaks no TLS", function()
    local p, port = serve "tls_echo_server"
    local sock = sockets.dial(tonumber(port))
    sock:send "GET / HTTP/1.0\r\n\r\n"
    p:expect "127.0.0.1:%d+: http request\n"
    sock:close()
    ends(p)
  end)

  it("tells an end from a cut", function()
    local p, port = serve "tls_echo_server"
    local c = client("tls_echo_client", port)
    c:write "hello\n":expect "\nhello\n"        -- it has read all there was
    c:kill "KILL"
    p:expect "the connection was cut"
    ends(p)
  end)
end)

describe("Example mutual_tls_server", function()
  after_each(process.killall)

  it("greets whom it knows", function()
    local p, port = serve "mutual_tls_server"
    assert.same({"hello, alice\n", 0},
                {client("mutual_tls_client", port):finish()})
    assert.matches("hello, alice\n", s_client(port, "",
                   "-cert " .. folder .. "/alice.pem"), 1, true)
    assert.equal(2, select(2, ends(p):gsub(" is alice\n", "")))
  end)

  it("refuses others, who are told", function()
    local p, port = serve "mutual_tls_server"
    assert.same({"tlsv13 alert certificate required\n", 1},
                {client("mutual_tls_client", port, "''"):finish()})
    p:expect ": peer did not return a certificate\n"
    local text, status = client("mutual_tls_client", port, "localhost")
      :finish()
    assert.equal(1, status)
    assert.matches("alert", text)
    p:expect ": certificate verify failed: "
    ends(p)
  end)
end)

describe("Example sni_server", function()
  after_each(process.killall)

  it("has a certificate and a page for each name", function()
    local p, port = serve "sni_server"
    for _, name in ipairs {"one.localhost", "two.localhost"} do
      local status, _, body = https(port, ("--resolve %s:PORT:127.0.0.1 "
        .. "https://%s:PORT/"):format(name, name))
      assert.same({200, "this is " .. name .. "\n"}, {status, body})
    end
    local _, _, body = https(port, "https://localhost:PORT/")
    assert.equal("neither of the two\n", body)
    ends(p)
  end)
end)

describe("Example starttls_server", function()
  after_each(process.killall)

  it("is spoken to by starttls_client", function()
    local p, port = serve "starttls_server"
    local text, status = start(("examples/starttls_client.lua 'my words' %d %s")
      :format(port, folder)):finish()
    assert.same({"TLSv1.3\n250 noted\n", 0}, {text, status})
    p:expect "127.0.0.1:%d+: TLSv1.3\nnoted: my words\n"
    ends(p)
  end)

  it("is spoken to by openssl", function()
    local p, port = serve "starttls_server"
    assert.matches("250 noted\r?\n221 bye", s_client(port,
      "NOTE this\\r\\nQUIT\\r\\n", "-starttls smtp"))
    p:expect "noted: this\n"
    ends(p)
  end)

  it("notes nothing in the clear, and nothing that was slipped in", function()
    local p, port = serve "starttls_server"
    local sock = sockets.dial(tonumber(port))
    sock:send "NOTE a\r\nWHAT\r\nEHLO x\r\nSTARTTLS\r\nNOTE b\r\nNOTE c\r\n"
    assert.equal("220 a server of notes\r\n530 STARTTLS first\r\n500 what?\r\n"
                 .. "250-at your service\r\n250 STARTTLS\r\n220 go ahead\r\n",
                 (sock:receive "*a"):sub(1, 114))
    sock:close()
    p:expect ": wrong version number\n"
    assert.is_nil(ends(p):find "noted")
  end)
end)

describe("Example starttls_client", function()
  after_each(process.killall)

  -- A server that says 'lines', one for each line that it hears.
  local function speak(lines)
    local server = assert(socket.bind("127.0.0.1", 0))
    server:settimeout(5 * t.slow)
    local p = start(("examples/starttls_client.lua words %d %s"):format(
      select(2, server:getsockname()), folder))
    local sock = assert(server:accept())
    sock:settimeout(5 * t.slow)
    local heard = {}
    for i, line in ipairs(lines) do
      sock:send(line .. "\r\n")
      if i < #lines then heard[i] = sock:receive() end
    end
    local text, status = p:finish()
    sock:close()
    server:close()
    return text, status, heard
  end

  it("says nothing to a server without TLS", function()
    assert.same({"the server offers no TLS\n", 1, {"EHLO localhost"}},
                {speak {"220 hello", "250 at your service"}})
  end)

  it("takes nothing that comes in the clear for an answer", function()
    local text, status = speak {"220 hello", "250-yes\r\n250 STARTTLS",
                                "220 go ahead\r\n250 noted\r\n221 bye"}
    assert.equal(1, status)
    assert.is_nil(text:find "noted", text)
  end)
end)

describe("Example tls_proxy", function()
  after_each(process.killall)

  it("speaks TLS for a server that cannot", function()
    local echo = start "examples/echo_server.lua 127.0.0.1:0"
    local target = echo:expect "on (127.0.0.1:%d+)"
    local p, port = serve("tls_proxy", target)
    local c = client("tls_echo_client", port)
    c:write "hello\n":expect "hello\n"
    c:closeinput()
    assert.same({"TLSv1.3 with CN=localhost\nhello\n", 0}, {c:finish()})
    ends(p)
    ends(echo)
  end)

  it("asks the server for nobody who cannot shake hands", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    server:settimeout(0)
    local target = "127.0.0.1:" .. select(2, server:getsockname())
    local p, port = serve("tls_proxy", target)
    local sock = sockets.dial(tonumber(port))
    sock:send "GET / HTTP/1.0\r\n\r\n"
    p:expect "ended: error, http request\n"
    sock:close()
    assert.is_nil((server:accept()))
    server:close()
    assert.truthy(wait(function() return p:output():find "ended" end))
    ends(p, "TERM")
  end)
end)
