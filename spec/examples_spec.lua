-- Every example is started as a real process and spoken to by real clients.
local lfs = require "lfs"
local socket = require "socket"
local t = require "spec.helper"

-- Starts an example; returns the first line that it prints, a function that
-- ends it with a signal and returns all that it printed, and its process id.
local function start(name, arguments)
  local output = os.tmpname()
  local pid = io.popen(("%s examples/%s.lua %s >%s 2>&1 & echo $!"):format(
    os.getenv "LUA" or "lua5.4", name, arguments or "", output)):read "n"
  local deadline = socket.gettime() + 5 * t.slow
  local line
  repeat
    socket.sleep(0.01)
    line = io.open(output):read "L"
  until line and line:find "\n$" or socket.gettime() > deadline
  return line, function(signal)
    os.execute(("kill -%s %d"):format(signal or "INT", pid))
    while io.open(("/proc/%d/stat"):format(pid)) do socket.sleep(0.01) end
    local text = io.open(output):read "a"
    os.remove(output)
    return text
  end, pid
end

local function shell(command)
  local pipe = io.popen(("timeout %d sh -c '%s' 2>&1"):format(10 * t.slow,
                                                              command))
  local text = pipe:read "a"
  pipe:close()
  return text
end

describe("Example", function()
  it("echo_server answers nc, socat and many at once", function()
    local line, stop = start("echo_server", "127.0.0.1:0")
    local host, port = line:match "^echo server on (%S+):(%d+), try: nc "
    assert.equal("127.0.0.1", host)
    assert.equal("hello\n", shell("echo hello | nc -q 1 127.0.0.1 " .. port))
    assert.equal("hello\n", shell("echo hello | socat - TCP:127.0.0.1:"
                                  .. port))
    assert.truthy(shell(("%s/load echo 127.0.0.1:%d 50 20 1000"):format(
      os.getenv "BUILD", port)):find "50 connections")
    assert.equal(line, stop())
  end)

  it("echo_server listens on a unix socket, and removes it", function()
    local path = os.tmpname()
    os.remove(path)
    local line, stop = start("echo_server", "unix:" .. path)
    assert.equal(("echo server on unix:%s, try: nc -U %s\n"):format(path, path),
                 line)
    assert.equal("hello\n", shell("echo hello | nc -q 1 -U " .. path))
    assert.equal(line, stop())
    assert.is_nil(lfs.attributes(path))
  end)

  it("echo_server says in a line why it cannot listen", function()
    assert.truthy(shell(("%s examples/echo_server.lua 192.0.2.1:9"):format(
      os.getenv "LUA" or "lua5.4")):find "Cannot assign requested address")
    assert.truthy(shell(("%s examples/echo_server.lua nowhere"):format(
      os.getenv "LUA" or "lua5.4")):find "address .* expected, got \"nowhere\"")
  end)

  it("echo_server's memory is bounded for a client that reads slowly",
  function()
    local line, stop, pid = start("echo_server", "127.0.0.1:0")
    local port = line:match ":(%d+),"
    local text = shell(("%s/load slow 127.0.0.1:%d 20000000 100000"):format(
      os.getenv "BUILD", port))
    local peak = io.open(("/proc/%d/status"):format(pid)):read "a"
                   :match "VmHWM:%s+(%d+) kB"
    stop()
    assert.truthy(text:find "20000000", text)
    if t.slow == 1 then
      assert.is_true(tonumber(peak) < 16 * 1024, peak .. " KiB")
    end
  end)
end)
