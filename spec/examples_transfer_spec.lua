--- The examples that pass data on: real processes, spoken to over sockets.

local libevent = require "libevent"
local process = require "spec.process"
local socket = require "socket"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local MEGABYTE = ("0123456789abcdef"):rep(2^16)

local dial, listen, vanish = sockets.dial, sockets.listen, sockets.vanish

--- The most memory that a process has had, in KiB.
local function peak(p) return t.memory("VmHWM", p.pid) end

describe("examples/filter.lua", function()
  after_each(process.killall)

  it("sends lines as frames and gets them back in upper case", function()
    local text, status = process.start "examples/filter.lua one '' two":finish()
    assert.equal(0, status, text)
    for _, line in ipairs {"server got: one\n", "client got: ONE\n",
                           "client got: \n", "client got: TWO\n"} do
      assert.truthy(text:find(line, 1, true), text)
    end
    assert.match("client: eof, reading\n$", text)
  end)

  it("takes long lines, and refuses those that no frame can hold", function()
    local long = ("x"):rep(0xffff)
    local text = process.start("examples/filter.lua " .. long):finish()
    assert.truthy(text:find("client got: " .. long:upper(), 1, true))
    text = process.start("examples/filter.lua " .. long .. "x"):finish()
    assert.truthy(text:find("client: error, line too long", 1, true), text)
  end)
end)

describe("examples/tcp_proxy.lua", function()
  after_each(process.killall)

  --- A proxy in front of a server that the spec plays.
  local function proxied()
    local server, target = listen()
    local p = process.start(("examples/tcp_proxy.lua 127.0.0.1:0 127.0.0.1:%d")
                            :format(target))
    local port = tonumber((p:expect "proxy on 127.0.0.1:(%d+)"))
    local client = dial(port)
    local conn = assert(server:accept())
    conn:settimeout(5 * t.slow)
    server:close()
    return p, client, conn, port
  end

  it("has fewer than 40 lines of code", function()
    local n = 0
    for line in io.lines "examples/tcp_proxy.lua" do
      if line:match "%S" and not line:match "^%s*%-%-" then n = n + 1 end
    end
    assert.is_true(n < 40, tostring(n))
  end)

  it("passes on what both sides say", function()
    local p, client, conn = proxied()
    assert(client:send "question\n")
    assert.equal("question", conn:receive())
    assert(conn:send "answer\n")
    assert.equal("answer", client:receive())
    client:close()
    assert.same({nil, "closed", ""}, {conn:receive()})
    conn:close()
    assert.equal(0, select(2, p:stop "TERM"))
  end)

  it("keeps one direction open when the other is closed", function()
    local p, client, conn = proxied()
    assert(client:send "all I have\n")
    client:shutdown "send"
    assert.equal("all I have\n", conn:receive "*a")
    assert(conn:send(MEGABYTE))
    conn:close()
    assert.is_true(client:receive "*a" == MEGABYTE)
    client:close()
    assert.equal(0, select(2, p:stop "TERM"))
  end)

  it("does not buffer what a stalled side does not take", function()
    local p, client, conn = proxied()
    local before = peak(p)
    client:settimeout(0.05)
    local sent, blocked = 0, 0
    while blocked < 3 do
      local n, err, part = client:send(MEGABYTE)
      blocked = err and blocked + 1 or 0
      sent = sent + (n or part)
    end
    local grown = peak(p) - before
    assert.is_true(grown < 4096 * t.slow, grown .. " KiB")
    client:shutdown "send"
    assert.equal(sent, #conn:receive "*a")
    client:close()
    conn:close()
    assert.equal(0, select(2, p:stop "TERM"))
  end)

  it("ends both sides after a reset, and serves on", function()
    local p, client, conn, port = proxied()
    assert(client:send "hello\n")
    assert.equal("hello", conn:receive())
    vanish(conn)
    assert.same({nil, "closed", ""}, {client:receive()})
    p:expect "ended: error, "
    client:close()
    local next = dial(port)                     -- its server is no more
    assert.same({nil, "closed", ""}, {next:receive()})
    p:expect "Connection refused"
    next:close()
    assert.equal(0, select(2, p:stop "INT"))
  end)
end)

describe("examples/file_server.lua", function()
  after_each(process.killall)

  local function serving(size)
    local path = t.path()
    os.execute(("truncate -s %d %s"):format(size, path))
    local p = process.start(("examples/file_server.lua %s 127.0.0.1:0")
                            :format(path))
    return p, tonumber((p:expect " on 127.0.0.1:(%d+)")), path
  end

  it("sends a file of 1 GiB with less than 16 MiB of memory", function()
    local p, port, path = serving(2^30 // 1)
    local client = dial(port)
    local got, err = 0, nil
    local function take(all, message, part)
      got, err = got + #(all or part), message
    end
    while not err do take(client:receive(2^20)) end
    assert.equal(2^30, got)
    client:close()
    p:expect "1073741824 bytes in "
    assert.is_true(peak(p) < 16 * 1024 * t.slow, peak(p) .. " KiB")
    assert.equal(0, select(2, p:stop "TERM"))
    os.remove(path)
  end)

  it("sends every byte in its place", function()
    local p, port, path = serving(0)
    local file = io.open(path, "wb")
    for i = 1, 500000 do file:write(("%8d"):format(i)) end
    file:close()
    local client = dial(port)
    local n = 0
    for number in client:receive "*a":gmatch " *(%d+)" do
      n = n + 1
      assert(tonumber(number) == n)
    end
    assert.equal(500000, n)
    client:close()
    assert.equal(0, select(2, p:stop "TERM"))
    os.remove(path)
  end)

  it("says so of clients that leave, and of a file that is gone", function()
    local p, port, path = serving(2^26 // 1)
    local client = dial(port)
    client:receive(1)
    vanish(client)
    p:expect "error, "
    os.remove(path)
    assert.same({nil, "closed", ""}, {dial(port):receive()})
    p:expect "No such file"
    assert.equal(0, select(2, p:stop "TERM"))
  end)
end)

describe("examples/rate_limited_server.lua", function()
  -- Of 2 seconds at 200,000 bytes a second: the first tick's bytes are there at
  -- once, and the next tick, a tenth of a second, may be near.
  local FASTEST = 400000 / 1.8 + 3000

  after_each(process.killall)

  it("serves at its limit", function()
    local p = process.start("examples/rate_limited_server.lua "
                            .. "400000 200000 500000 127.0.0.1:0")
    local port = tonumber((p:expect " on 127.0.0.1:(%d+)"))
    local start = libevent.gettime_monotonic()
    local client = dial(port)
    assert.equal(400000, #client:receive "*a")
    local rate = 400000 / (libevent.gettime_monotonic() - start)
    assert.is_true(rate < FASTEST, rate)
    assert.is_true(t.slow > 1 or rate > 180000, rate)
    client:close()
    p:expect "bytes a second\n"
    local text, status = p:stop "TERM"
    assert.equal(0, status)
    assert.match("400000 bytes sent\n$", text)
  end)

  it("shares the limit of all among them", function()
    local p = process.start("examples/rate_limited_server.lua "
                            .. "100000 1000000 200000 127.0.0.1:0")
    local port = tonumber((p:expect " on 127.0.0.1:(%d+)"))
    local start = libevent.gettime_monotonic()
    local clients = {}
    for i = 1, 5 do clients[i] = dial(port) end
    for i = 1, 5 do
      assert.equal(100000, #clients[i]:receive "*a")
      clients[i]:close()
    end
    local rate = 500000 / (libevent.gettime_monotonic() - start)
    assert.is_true(rate < FASTEST, rate)
    assert.is_true(t.slow > 1 or rate > 180000, rate)
    assert.equal(0, select(2, p:stop "TERM"))
  end)
end)

describe("examples/udp_echo_server.lua", function()
  after_each(process.killall)

  it("sends each datagram back to whoever sent it", function()
    local p = process.start "examples/udp_echo_server.lua 127.0.0.1 0"
    local port = p:expect " on 127.0.0.1:(%d+)"
    for client = 1, 3 do
      local udp = socket.udp4()
      udp:settimeout(5 * t.slow)
      assert(udp:setpeername("127.0.0.1", port))
      for i = 1, 5 do
        assert(udp:send(("%d/%d"):format(client, i):rep(200)))
      end
      for i = 1, 5 do
        assert.equal(("%d/%d"):format(client, i):rep(200), udp:receive())
      end
      udp:close()
    end
    assert.equal(0, select(2, p:stop "TERM"))
  end)
end)

describe("examples/unix_datagram.lua", function()
  after_each(process.killall)

  it("keeps each message whole, and ends", function()
    local text, status =
      process.start "examples/unix_datagram.lua first 'and a second'":finish()
    assert.equal(0, status, text)
    local got = {left = {}, right = {}}         -- in which order is open
    for side, message in text:gmatch "(%a+) got ([^\n]*)\n" do
      table.insert(got[side], message)
    end
    assert.same({left = {"FIRST", "AND A SECOND", "BYE"},
                 right = {"first", "and a second", "bye"}}, got)
  end)
end)
