--- The example servers among hostile peers: clients that say nothing, hardly
--- anything, or all at once and never read, that half close, reset, send lines
--- without an end, or open and close thousands of connections. Meanwhile an
--- honest client has its answer within a second; memory is bounded; and when
--- they have gone, so have their descriptors.

local libevent = require "libevent"
local listdescriptors = require "spec.descriptors"
local process = require "spec.process"
local socket = require "socket"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local PATIENCE = 1 * t.slow     -- seconds for an honest client
local MEMORY = 128 * 1024       -- kilobytes: a megabyte for each of 100 peers
local MANY = 50000 // t.slow    -- connections that come and go

local message = "I have received the msg: hello\n"
local file = os.tmpname()

--- What each server is started with, asked and to answer.
local servers = {
  echo_server = {"127.0.0.1:0", "hello\n", "hello\n"},
  message_server = {"127.0.0.1:0", "hello\n", message},
  bufferevent_server = {"127.0.0.1:0", "hello\n", message},
  event_server = {"127.0.0.1:0", "hello\n", message},
  upper_server = {"127.0.0.1:0", "hello\n", "HELLO\n"},
  tcp_proxy = {"127.0.0.1:0 127.0.0.1:%d", "hello\n", "hello\n"},
  file_server = {file .. " 127.0.0.1:0", "", "a file\n"},
  rate_limited_server = {"7 1000000 1000000 127.0.0.1:0", "", "xxxxxxx"},
}

local function start(name, before)
  local arguments = servers[name][1]
  if name == "tcp_proxy" then
    local target = process.start "examples/echo_server.lua 127.0.0.1:0"
    arguments = arguments:format(target:expect "127.0.0.1:(%d+)")
  end
  local p = process.start(("examples/%s.lua %s"):format(name, arguments),
                          nil, before)
  return p, tonumber((p:expect "127.0.0.1:(%d+)"))
end

--- The honest client.
local function ask(name, port)
  local _, question, answer = table.unpack(servers[name])
  local since = socket.gettime()
  local sock = sockets.dial(port)
  assert(question == "" or sock:send(question))
  assert.equal(answer, (sock:receive(#answer)))
  local seconds = socket.gettime() - since
  assert.is_true(seconds < PATIENCE, seconds .. " seconds")
  sock:close()
end

--- Connections that do nothing, yet.
local function open(port, n)
  local list = {}
  for i = 1, n do
    list[i] = sockets.dial(port)
    list[i]:settimeout(0)
  end
  return list
end

local function each(list, f)
  for _, sock in ipairs(list) do f(sock) end
end

local noise = libevent.secure_rng_bytes(65536)
local endless = ("y"):rep(65536)
local hellos = ("hello\n"):rep(10000)

--- What hostile peers do, again and again, after they have come.
local hostile = {
  ["say nothing"] = function() end,
  ["say a byte now and then"] = function(sock) sock:send "z" end,
  ["never read"] = function(sock)
    repeat local sent = sock:send(hellos) until not sent
  end,
  ["send noise"] = function(sock) sock:send(noise) end,
  ["send a line without an end"] = function(sock)
    for _ = 1, 50 do sock:send(endless) end
  end,
  ["half close"] = function(sock)
    sock:send "half a mess"
    sock:shutdown "send"
  end,
}

local function descriptors(p) return #listdescriptors(p.pid) end

--- Clock ticks that a process has worked for.
local function ticks(p)
  local stat = t.contents(("/proc/%d/stat"):format(p.pid))
  local user, system = stat:match("%) " .. ("%S+ "):rep(11) .. "(%d+) (%d+)")
  return user + system
end

--- Nothing is left of them, and the server ends when it is told to.
local function ends(p, before)
  assert.is_true(process.wait(function()
    return descriptors(p) <= before
  end, 5) or false, "descriptors: " .. descriptors(p) .. " not " .. before)
  assert.is_true(t.slow > 1 or t.memory("VmHWM", p.pid) < MEMORY)
  local text, status = p:stop()
  assert.equal(0, status, text)
  assert.is_nil(text:find "traceback", text)
end

for name in pairs(servers) do
  describe("examples/" .. name .. ".lua", function()
    setup(function() t.write("a file\n", file) end)
    teardown(function() os.remove(file) end)
    after_each(process.killall)

    for what, act in pairs(hostile) do
      it("answers others while peers " .. what, function()
        local p, port = start(name)
        ask(name, port)
        local before = descriptors(p)
        local peers = open(port, what == "never read" and 5 or 100)
        for _ = 1, 3 do
          each(peers, act)
          ask(name, port)
        end
        each(peers, sockets.vanish)
        ask(name, port)
        -- its target does not read either: given up after a minute
        if name == "tcp_proxy" and what == "never read" then before = 99 end
        ends(p, before)
      end)
    end

    it("sleeps while peers say nothing", function()
      local p, port = start(name)
      local peers = open(port, 100)
      ask(name, port)
      local before = ticks(p)
      socket.sleep(0.2)
      assert.is_true(ticks(p) - before <= 4 * t.slow)
      each(peers, sockets.vanish)
      p:stop()
    end)

    it("answers others while peers come and reset", function()
      local p, port = start(name)
      ask(name, port)
      local before = descriptors(p)
      for i = 1, 1000 // t.slow do
        local sock = sockets.dial(port)
        sock:send "half a mess"
        sockets.vanish(sock)
        if i % 100 == 0 then ask(name, port) end
      end
      ask(name, port)
      ends(p, before)
    end)

    it("goes on when descriptors come back", function()
      local p, port = start(name, "ulimit -n 40")
      ask(name, port)
      local before = descriptors(p)
      local peers = open(port, 60)
      socket.sleep(0.05)
      each(peers, sockets.vanish)
      process.wait(function() return descriptors(p) <= before end)
      ask(name, port)
      ends(p, before)
    end)
  end)
end

describe("An echo server", function()
  after_each(process.killall)

  it(("serves %d connections that come and go"):format(MANY), function()
    local p, port = start "echo_server"
    ask("echo_server", port)
    local before = descriptors(p)
    local load = io.popen(("%s/load -t 300 cycle 127.0.0.1:%d %d 64 100 2>&1")
      :format(os.getenv "BUILD", port, MANY))
    for _ = 1, 10 do
      ask("echo_server", port)
      socket.sleep(0.02)
    end
    local text = load:read "a"
    assert.is_true(load:close() or false, text)
    ends(p, before)
  end)
end)
