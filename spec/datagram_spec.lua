--- co.udp: datagrams for tasks.

local co = require "libevent.co"
local socket = require "socket"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local tells = tasks.tells(it)

local function bound()
  return assert(co.udp {address = "127.0.0.1:0"})
end

describe("co.udp", function()
  before_each(t.start)
  after_each(t.finish)

  tells("sends and receives, and says who it was", function()
    local a <close> = bound()
    local b <close> = bound()
    assert.equal(a, a:send("one", b:sockname()))
    assert.same({"one", a:sockname()}, {b:receive()})
    assert.equal(b, b:send("", a:sockname()))
    assert.same({"", b:sockname()}, {a:receive()})
    assert.is_nil(a:peername())
    assert.is_true(a:getfd() > 0)
  end)

  tells("takes datagrams of any length", function()
    local a <close>, data = bound(), t.pattern(60000)
    local b <close> = assert(co.udp())
    assert(b:send(data, a:sockname()))
    assert.equal(data, (a:receive()))
  end)

  tells("speaks with a peer alone", function()
    local a <close> = bound()
    local b <close> = assert(co.udp {peer = a:sockname()})
    local other <close> = bound()
    assert.equal(a:sockname(), b:peername())
    assert(b:send "hello")
    local _, address = a:receive()
    assert.equal(b:sockname(), address)
    other:send("no", address)
    a:send("yes", address)
    assert.same({"yes", a:sockname()}, {b:receive()})
    t.raises("there is a peer", b.send, b, "x", address)
  end)

  tells("speaks IPv6", function()
    local a <close> = assert(co.udp {address = "[::1]:0"})
    local b <close> = assert(co.udp {address = "[::1]:0",
                                     peer = a:sockname()})
    assert.matches("^%[::1%]:%d+$", a:sockname())
    b:send "six"
    assert.same({"six", b:sockname()}, {a:receive()})
  end)

  tells("serves many", function()
    local server = bound()
    local task = co.spawn(function()
      for data, peer in server:datagrams() do server:send(data * 2, peer) end
      return "over"
    end)
    local clients, sum = {}, 0
    for i = 1, 50 do
      clients[i] = co.spawn(function()
        local c <close> = assert(co.udp {peer = server:sockname()})
        c:send(i)
        local answer = c:receive()
        sum = sum + math.tointeger(answer)
      end)
    end
    for _, client in ipairs(clients) do client:join() end
    assert.equal(50 * 51, sum)
    server:close()
    assert.equal("over", task:join())
  end)

  tells("waits no longer than it is told", function()
    local a <close> = bound()
    assert.equal(a, a:set_timeout(0.02))
    assert.same({nil, "timeout"}, {a:receive()})
    a:set_timeout(0)
    assert.same({nil, "timeout"}, {a:receive()})
    a:set_timeout()
    assert.same({nil, "timeout"},
                {co.deadline(0.02, function() return a:receive() end)})
    a:send("x", a:sockname())
    assert.equal("x", (a:receive()))
  end)

  tells("lets one task wait, until it is closed", function()
    local a = bound()
    local task = co.spawn(function() return a:receive() end)
    co.sleep(0.01)
    assert.same({nil, "busy"}, {a:receive()})
    assert.equal(a, a:close())
    assert.same({nil, "closed"}, {task:join()})
    assert.same({nil, "closed"}, {a:receive()})
    assert.same({nil, "closed"}, {a:send("x", "127.0.0.1:9")})
    assert.is_nil(a:getfd())
    assert.equal("libevent.Udp (closed)", tostring(a:close()))
  end)

  tells("is cancelled", function()
    local a <close> = bound()
    local task = co.spawn(function() return a:receive() end)
    co.sleep(0.01)
    task:cancel()
    assert.same({nil, "cancelled"}, {task:join()})
    a:send("x", a:sockname())
    assert.equal("x", (a:receive()))
  end)

  tells("tells that nobody is there", function()
    local a = bound()
    local address = a:sockname()
    a:close()
    local b <close> = assert(co.udp {peer = address})
    b:send "x"
    assert.same({nil, "connection refused"}, {b:receive()})
    assert.is_nil((co.udp {address = "192.0.2.1:0"}))
  end)

  tells("speaks with LuaSocket, and has its options", function()
    local a <close> = bound()
    local other = socket.udp4()
    other:setsockname("127.0.0.1", 0)
    other:sendto("x", "127.0.0.1", (a:sockname():match "%d+$"))
    local data, peer = a:receive()
    assert.equal("x", data)
    assert.equal(("127.0.0.1:%d"):format(select(2, other:getsockname())),
                 peer)
    assert.equal(1, a:setoption("broadcast", true))
    other:close()
  end)

  it("raises for what is no address", function()
    for _, address in ipairs {"127.0.0.1", "127.0.0.1:70000", "::1:80", 7} do
      t.raises("address expected", co.udp, {address = address})
      t.raises("address expected", co.udp, {peer = address})
    end
    t.raises("unknown option 'port'", co.udp, {port = 1})
    t.raises("table expected", co.udp, 1)
    tasks.play(function()
      local a <close> = bound()
      t.raises("address expected", a.send, a, "x")
      t.raises("string expected", a.send, a, {}, "127.0.0.1:9")
      t.raises("seconds expected", a.set_timeout, a, -1)
    end)
  end)

  it("waits in tasks only", function()
    local a <close> = bound()
    t.raises("in a task only", a.receive, a)
    assert.equal(a, a:send("x", a:sockname()))
  end)
end)
