--- A server with TLS among hostile peers: noise, HTTP in the clear, floods of
--- what is not worth an answer, silence, and changes of keys without end. Each
--- of them ends; meanwhile an honest client has its answer, and memory is
--- bounded.

local libevent = require "libevent"
local process = require "spec.process"
local secure = require "spec.secure"
local t = require "spec.helper"

local PEERS = 20
local PATIENCE = 1 * t.slow     -- seconds for an honest client
local SILENCE = 0.2 * t.slow    -- seconds for who says nothing
local MEMORY = 24 * 1024        -- KiB, what the peers have yet to send included

local client = secure.client()

--- An echo server: how each connection that did not say goodbye has ended, and
--- how many did.
local function serve(base, address, options)
  local ends = {good = 0}
  local listener = assert(base:listener(address, function(_, conn)
    conn:setcb(function(b) b:write(b:input()) end, nil,
      function(b, what, detail)
        if what == "connected" then return end
        if what == "eof" then
          ends.good = ends.good + 1
        else
          ends[#ends + 1] = what .. ": " .. detail
        end
        b:close()
      end):enable "read"
  end, {tls = secure.server(options)}))
  return listener, ends
end

--- An honest client: seconds is how long it has waited for its answer.
local function ask(base, address)
  local honest = {since = base:gettime_monotonic()}
  local bev = base:bufferevent(nil, {tls = client, hostname = "localhost"})
  bev:setcb(function(b)
    assert(b:read() == "hello")
    honest.seconds = base:gettime_monotonic() - honest.since
    b:close()
  end, nil, function(_, what, message)
    assert(what == "connected", message or what)
  end):enable "read":write "hello"
  assert(bev:connect(address))
  return honest
end

--- Runs the loop until f says so and the honest client has its answer.
local function besieged(base, address, f)
  local before, most = t.memory "VmRSS", 0
  local honest = ask(base, address)
  t.runtill(base, function()
    most = math.max(most, t.memory "VmRSS" - before)
    return f() and honest.seconds
  end)
  assert.is_true(honest.seconds < PATIENCE, honest.seconds .. " seconds")
  assert.is_true(t.slow > 1 or most < MEMORY, most .. " KiB")
end

--- Records of TLS, of a type and with some bytes, n times.
local function records(type, bytes, n)
  return string.pack(">BI2s2", type, 0x303, bytes):rep(n)
end

local CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23

--- What hostile peers send: from the beginning, or after a good first message.
local hostile = {
  ["send noise"] = {libevent.secure_rng_bytes(300000)},
  ["send HTTP in the clear"] = {("GET / HTTP/1.1\r\n"):rep(10000),
                                ends = "http request"},
  ["send a message of 16 MiB"] = {
    records(HANDSHAKE, "\1\255\255\255" .. ("x"):rep(16000), 20),
    ends = "excessive message size"},
  ["flood with changes of ciphers"] = {records(CCS, "\1", 50000)},
  ["flood with alerts"] = {records(ALERT, "\1\90", 40000)},
  ["flood with empty records"] = {records(HANDSHAKE, "", 50000)},
  ["flood with empty data"] = {records(DATA, "", 50000)},
  ["go on with changes of ciphers"] = {records(CCS, "\1", 50000), hello = true},
  ["go on with alerts"] = {records(ALERT, "\1\90", 40000), hello = true},
  ["go on with empty records"] = {records(HANDSHAKE, "", 50000), hello = true},
  ["go on with empty data"] = {records(DATA, "", 50000), hello = true},
  ["go on with noise"] = {records(DATA, libevent.secure_rng_bytes(16000), 20),
                          hello = true},
  ["go on with a message of 16 MiB"] = {
    records(HANDSHAKE, "\16\255\255\255" .. ("x"):rep(16000), 20),
    hello = true},
  ["say nothing"] = {"", silent = true},
  ["say a byte"] = {"\22", silent = true},
  ["say half of it"] = {"\22\3\1\2\0\1\0\1\252\3\3", silent = true},
  ["do not go on"] = {"", hello = true, silent = true},
}

for _, version in ipairs(secure.VERSIONS) do
  describe("A server of TLS " .. version, function()
    before_each(t.start)
    after_each(t.finish)

    for what, how in pairs(hostile) do
      it("serves others while peers " .. what, function()
        local base = t.base()
        local listener, ends = serve(base, "127.0.0.1:0", {
          max_version = version, handshake_timeout = how.silent and SILENCE})
        local data = (how.hello and secure.hello(base) or "") .. how[1]
        local peers = {}
        for i = 1, PEERS do
          peers[i] = base:bufferevent():write(data)
          assert(peers[i]:enable "read":connect(listener:sockname()))
        end
        besieged(base, listener:sockname(), function()
          return #ends == PEERS
        end)
        for _, word in ipairs(ends) do
          assert.matches(how.silent and "^timeout: reading$"
                         or "^error: .*" .. (how.ends or ""), word)
        end
        base:close()
      end)
    end
  end)
end

describe("A server of TLS", function()
  before_each(t.start)
  after_each(function()
    process.killall()
    t.finish()
  end)

  --- The client of spec/c/keyupdates.c, and a server for it and for others.
  local function changekeys(base, count)
    local path = t.path()
    local address = "unix:" .. path
    local _, ends = serve(base, address)
    local p = process.launch(("%s/keyupdates %s %s"):format(
      os.getenv "BUILD", path, count or ""))
    return p, address, ends
  end

  it("ends a peer that asks for keys and takes none", function()
    local base = t.base()
    local p, address, ends = changekeys(base)
    besieged(base, address, function() return ends[1] end)
    assert.equal("error: the peer asks for answers and takes none", ends[1])
    local text, status = p:finish()
    assert.equal(0, status, text)
    assert.is_true(tonumber(text:match "^asked (%d+) times") > 10000, text)
    base:close()
  end)

  it("gives one its keys that takes them later", function()
    local base = t.base()
    local p, address, ends = changekeys(base, 1000)
    besieged(base, address, function() return ends.good == 2 end)
    local text, status = p:finish()
    assert.same({"asked 1000 times\n", 0}, {text, status})
    assert.equal(0, #ends)
    base:close()
  end)
end)
