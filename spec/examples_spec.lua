-- Every example is started as a real process and spoken to by real clients.
local lfs = require "lfs"
local process = require "spec.process"
local t = require "spec.helper"

local start, shell = process.start, process.shell

describe("Example", function()
  after_each(process.killall)

  it("echo_server answers nc, socat and many at once", function()
    local p = start "examples/echo_server.lua 127.0.0.1:0"
    local port = p:expect "^echo server on 127.0.0.1:(%d+), try: nc "
    assert.equal("hello\n", shell("echo hello | nc -q 1 127.0.0.1 " .. port))
    assert.equal("hello\n", shell("echo hello | socat - TCP:127.0.0.1:"
                                  .. port))
    assert.truthy(shell(("%s/load echo 127.0.0.1:%d 50 20 1000"):format(
      os.getenv "BUILD", port)):find "50 connections")
    local text, status = p:stop()
    assert.equal(0, status)
    assert.equal(1, select(2, text:gsub("\n", "")))
  end)

  it("echo_server listens on a unix socket, and removes it", function()
    local path = t.path()
    local p = start("examples/echo_server.lua unix:" .. path)
    p:expect("^echo server on unix:" .. path .. ", try: nc %-U " .. path)
    assert.equal("hello\n", shell("echo hello | nc -q 1 -U " .. path))
    p:stop()
    assert.is_nil(lfs.attributes(path))
  end)

  it("echo_server says in a line why it cannot listen", function()
    local text, status = start "examples/echo_server.lua 192.0.2.1:9":finish()
    assert.equal(1, status)
    assert.truthy(text:find "Cannot assign requested address")
  end)

  it("echo_server's memory is bounded for a client that reads slowly",
  function()
    local p = start "examples/echo_server.lua 127.0.0.1:0"
    local port = p:expect ":(%d+),"
    local text = shell(("%s/load slow 127.0.0.1:%d 20000000 100000"):format(
      os.getenv "BUILD", port))
    local peak = t.memory("VmHWM", p.pid)
    p:stop()
    assert.truthy(text:find "20000000", text)
    if t.slow == 1 then
      assert.is_true(peak < 16 * 1024, peak .. " KiB")
    end
  end)
end)
