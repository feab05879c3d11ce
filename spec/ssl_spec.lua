--- libevent.ssl beside LuaSec: the same clients, the same results, with the
--- same server; and both ends of it in tasks.

local certificates = require "spec.certificates"
local co = require "libevent.co"
local process = require "spec.process"
local secure = require "spec.secure"
local socket = require "libevent.socket"
local ssl = require "libevent.ssl"
local t = require "spec.helper"

local ROOT, GOOD = certificates.root.certificate, certificates.good

--- Runs f as the first task, for no longer than 10 seconds.
local function run(f)
  local result
  co.run(function()
    local done = co.deadline(10 * t.slow, function()
      result = f()
      return true
    end)
    assert(done, "the deadline has passed")
    co.base():loopexit()
  end)
  return result
end

--- A client of LuaSec's in a script, which gets modules, a port and a file with
--- whom to trust, and shows what its calls return.
local CLIENT = [[
  local socket, ssl, port, root, show = ...

  local function dial(cfg)
    local sock = assert(socket.connect("127.0.0.1", port))
    cfg.mode, cfg.protocol = "client", cfg.protocol or "any"
    local conn = assert(ssl.wrap(sock, cfg))
    show("wrapped", sock:getfd(), tostring(conn):match "^[^:]*")
    return conn
  end

  -- A conversation.
  local conn = dial {verify = "peer", cafile = root, alpn = {"x", "y"}}
  show(conn:receive())
  show(conn:send "too early")
  show(conn:getpeercertificate())
  show(conn:info())
  conn:sni "localhost"
  show(conn:settimeout(5))
  show(conn:dohandshake())
  show(conn:getpeerverification())
  show(conn:getalpn(), conn:getsniname(), conn:info "protocol")
  show(conn:info().protocol, conn:info "cipher")
  show(conn:getpeercertificate():pem() == show.certificate)
  show(conn:getpeercertificate():validat(os.time()))
  show(conn:send "line\r\n")
  show(conn:receive())
  show(conn:dirty())
  show(conn:send("12345", 2, 4))
  show(conn:receive(3))
  conn:settimeout(0.02)
  show(conn:receive())
  conn:settimeout(5)
  show(conn:send "end\n")
  show(conn:receive "*a")
  show(conn:receive())
  show(conn:close())
  show(conn:receive())
  show(conn:send "x")
  show((tostring(conn):gsub(": 0x%x+", "")))

  -- Without verification.
  conn = dial {verify = "none"}
  show(conn:dohandshake())
  show(conn:send "end\n")
  show(conn:receive "*l")
  conn:close()

  -- Without time.
  conn = dial {verify = "none"}
  conn:settimeout(0)
  local ok, message = conn:dohandshake()
  while not ok and message == "wantread" do
    socket.select({conn}, nil, 1)
    ok, message = conn:dohandshake()
  end
  show(ok, message)
  show(conn:receive())
  conn:close()

  -- What is wrong.
  show(ssl.newcontext {mode = "client", protocol = "foo"})
  show(ssl.newcontext {mode = "client", protocol = "any", verify = "foo"})
  show(ssl.newcontext {mode = "client", protocol = "any", options = {"foo"}})
  show(ssl.newcontext {mode = "client", protocol = "any", alpn = 1})
  show(pcall(ssl.newcontext, {mode = "client"}) == false)
  show(ssl.newcontext {mode = "client", protocol = "any",
                       cafile = "/nosuch"} == nil)
  show(ssl.newcontext {mode = "client", protocol = "any",
                       options = {"all", "no_tlsv1", "no_ticket"}} ~= nil)
  conn = dial {verify = "peer", cafile = root, protocol = "tlsv1_2"}
  show(conn:dohandshake())
  show(conn:info "protocol")
  conn:close()
]]

--- Calls with a list for its results as text.
local function shower()
  local lines = {}
  local first = t.contents(GOOD.certificate)
    :match "%-%-%-%-%-BEGIN CERT.-END CERT[^\n]*\n"
  return lines, setmetatable({certificate = first}, {__call = function(_, ...)
    local list = table.pack(...)
    for i = 1, list.n do
      local value = list[i]
      if math.type(value) == "float" then value = math.tointeger(value) end
      list[i] = tostring(value)
    end
    while list[list.n] == "nil" and list.n > 1 do
      list[list.n] = nil
      list.n = list.n - 1
    end
    lines[#lines + 1] = table.concat(list, ", ")
  end})
end

--- A server that sends lines back, to the end of which one says "end".
local function serve()
  local listener = co.listen("127.0.0.1:0", function(stream)
    local data = ""
    repeat
      local piece = stream:read_some()
      if piece then stream:write(piece) end
      data = data .. (piece or "")
    until not piece or data:find "end\n$"
  end, {tls = secure.server {alpn = {"y"}}})
  return listener, tonumber(listener:sockname():match "%d+$")
end

--- The client with LuaSec itself, in a process, while the loop runs.
local function original(port)
  local _, show = shower()
  local path = t.write(([[
    local lines = {}
    local show = setmetatable({certificate = %q}, {__call = function(_, ...)
      local list = table.pack(...)
      for i = 1, list.n do
        if math.type(list[i]) == "float" then
          list[i] = math.tointeger(list[i])
        end
        list[i] = tostring(list[i])
      end
      while list[list.n] == "nil" and list.n > 1 do
        list[list.n] = nil
        list.n = list.n - 1
      end
      local line = ("%%q"):format(table.concat(list, ", "))
      io.write((line:gsub("\n", "n")), "\n")
    end})
    load(%q)(require "socket", require "ssl", %d, %q, show)
  ]]):format(show.certificate, CLIENT, port, ROOT))
  local p = process.start(path)
  repeat co.sleep(0.02) until io.open(p.name .. ".status")
  repeat co.sleep(0.02) until t.contents(p.name .. ".status") ~= ""
  local output, status = p:finish()
  os.remove(path)
  assert(status == 0, output)
  local lines = {}
  for line in output:gmatch "[^\n]+" do
    lines[#lines + 1] = load("return " .. line)()
  end
  return lines
end

describe("libevent.ssl", function()
  before_each(t.start)
  after_each(t.finish)

  it("does as LuaSec", function()
    local expected, lines
    run(function()
      local listener, port = serve()
      expected = original(port)
      local show
      lines, show = shower()
      load(CLIENT)(socket, ssl, port, ROOT, show)
      listener:close()
    end)
    assert.same(expected, lines)
  end)

  --- A connection with TLS on both ends: the client's, the server's.
  local function pair(clientcfg, servercfg, name)
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local task = co.spawn(function()
      local conn = assert(ssl.wrap(server:accept(), servercfg))
      local ok, message = conn:dohandshake()
      if not ok then conn:close() end
      return ok and conn, message
    end)
    local conn = assert(ssl.wrap(socket.connect("127.0.0.1", port), clientcfg))
    if name then conn:sni(name) end
    local ok, message = conn:dohandshake()
    if not ok then conn:close() end
    server:close()
    return ok and conn, task:join(), message
  end

  local function server(more)
    local cfg = {mode = "server", protocol = "any",
                 certificate = GOOD.certificate, key = GOOD.key}
    for name, value in pairs(more or {}) do cfg[name] = value end
    return cfg
  end

  local function client(more)
    local cfg = {mode = "client", protocol = "any", verify = "peer",
                 cafile = ROOT}
    for name, value in pairs(more or {}) do cfg[name] = value end
    return cfg
  end

  it("has both ends of a conversation", function()
    run(function()
      local a, b = pair(client(), server {alpn = "z"}, "localhost")
      local data = t.pattern(2000000)
      local task = co.spawn(function() return (b:receive "*a") end)
      assert.equal(#data, a:send(data))
      a:close()
      assert.equal(data, task:join())
      assert.equal("localhost", b:getsniname())
      b:close()
    end)
  end)

  it("speaks only with whom sni names, if it verifies", function()
    run(function()
      local a, b, message = pair(client(), server(), "other.example")
      assert.is_false(a)
      assert.is_false(b)
      assert.matches("[Hh]ostname", message)
      a, b = pair(client {verify = "none"}, server(), "other.example")
      assert.is_true(a:getpeerverification() ~= nil)
      a:close()
      b:close()
    end)
  end)

  it("does not trust whom it does not know", function()
    run(function()
      local a, _, message = pair({mode = "client", protocol = "any",
                                  verify = "peer"}, server(), "localhost")
      assert.is_false(a)
      assert.matches("certificate", message)
    end)
  end)

  it("asks a client for its certificate", function()
    run(function()
      local strict = server {verify = {"peer", "fail_if_no_peer_cert"},
                             cafile = ROOT}
      local own = certificates.client
      local a, b = pair(client {certificate = own.certificate, key = own.key},
                        strict, "localhost")
      assert.is_true(b:getpeerverification())
      assert.is_string(b:getpeercertificate():pem())
      a:close()
      b:close()
      local _, none = pair(client(), strict, "localhost")
      assert.is_false(none)
    end)
  end)

  it("ends a wait when it is closed, or cancelled", function()
    run(function()
      local a, b = pair(client(), server(), "localhost")
      local task = co.spawn(function() return a:receive() end)
      co.sleep(0.01)
      task:cancel()
      task:join()
      task = co.spawn(function() return a:receive() end)
      co.sleep(0.01)
      a:close()
      assert.same({nil, "closed", ""}, {task:join()})
      b:close()
      local silent = assert(socket.bind("127.0.0.1", 0))
      local _, port = silent:getsockname()
      local conn = ssl.wrap(socket.connect("127.0.0.1", port), client())
      task = co.spawn(function() return conn:dohandshake() end)
      co.sleep(0.01)
      conn:close()
      assert.same({false, "closed"}, {task:join()})
      silent:close()
    end)
  end)

  it("says what it does not do", function()
    for name, value in pairs {depth = 3, verifyext = "lsec_continue",
                              dane = true, alpn = print} do
      local context, message = ssl.newcontext(client {[name] = value})
      assert.is_nil(context)
      assert.matches("not supported", message)
    end
    assert.is_nil((ssl.newcontext {mode = "server", protocol = "any"}))
    t.raises("string expected", ssl.newcontext, {mode = "client"})
    t.raises("table expected", ssl.newcontext, nil)
  end)
end)
