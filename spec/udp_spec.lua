--- Sockets that are no streams: LuaSocket's UDP objects and pairs of unix
--- datagram sockets, watched by events.

local libevent = require "libevent"
local socket = require "socket"
local t = require "spec.helper"

--- A UDP socket on a free port of 127.0.0.1, and the port.
local function udp()
  local s = assert(socket.udp4())
  assert(s:setsockname("127.0.0.1", 0))
  s:settimeout(0)
  return s, select(2, s:getsockname())
end

describe("A UDP socket of LuaSocket's", function()
  before_each(t.start)
  after_each(t.finish)

  it("is watched by an event, and echoes", function()
    local base <close> = t.base()
    local server, port = udp()
    local client = udp()
    local got = {}
    local echo = base:event(server, "read|persist", t.expect(function(_, what)
      assert.equal("read", what)
      server:sendto(server:receivefrom())
    end, 5)):add()
    base:event(client, "read|persist", function(event)
      got[#got + 1] = client:receive()
      if #got == 5 then
        event:close()
        echo:close()
      end
    end):add()
    for i = 1, 5 do client:sendto("datagram " .. i, "127.0.0.1", port) end
    t.run(base)
    assert.same({"datagram 1", "datagram 2", "datagram 3", "datagram 4",
                 "datagram 5"}, got)
    server:close()
    client:close()
  end)

  it("is told once for all that has come, with 'et'", function()
    local base <close> = t.base()
    local server, port = udp()
    local client = udp()
    for i = 1, 3 do client:sendto(tostring(i), "127.0.0.1", port) end
    local all = ""
    local event = base:event(server, "read|persist|et", t.expect(function()
      local datagram = server:receive()
      while datagram do
        all = all .. datagram
        datagram = server:receive()
      end
    end)):add()
    t.turns(base, 3)
    assert.equal("123", all)
    event:close()
    server:close()
    client:close()
  end)

  it("can be written to", function()
    local base <close> = t.base()
    local s = udp()
    base:event(s, "write", t.expect(function(_, what)
      assert.equal("write", what)
    end)):add()
    t.run(base)
    s:close()
  end)

  it("tells of a port where nobody is", function()
    local base <close> = t.base()
    local nobody, port = udp()
    nobody:close()
    local s = assert(socket.udp4())
    assert(s:setpeername("127.0.0.1", port))
    s:settimeout(0)
    s:send "hello?"
    base:event(s, "read", t.expect(function()
      local datagram, message = s:receive()
      assert.is_nil(datagram)
      assert.match("refused", message)
    end)):add(1)
    t.run(base)
    s:close()
  end)

  it("is kept alive by the event that watches it", function()
    local base <close> = t.base()
    local client = udp()
    local port
    do
      local s
      s, port = udp()
      base:event(s, "read", t.expect(function(event)
        assert.is_true(t.isopen(event:fd()))
      end)):add(1)
    end
    collectgarbage() collectgarbage()
    client:sendto("x", "127.0.0.1", port)
    t.run(base)
    client:close()
  end)

  it("is no bufferevent's matter, but a buffer reads from it", function()
    local server, port = udp()
    local client = udp()
    client:sendto(("x"):rep(20000), "127.0.0.1", port)
    client:sendto("y", "127.0.0.1", port)
    local buffer = libevent.buffer()
    assert.equal(20000, buffer:read(server))    -- a datagram, whole
    assert.equal(1, buffer:read(server))
    assert.equal(11, select(3, buffer:read(server)))
    assert.equal(("x"):rep(20000) .. "y", tostring(buffer))
    server:close()
    client:close()
  end)
end)

describe("A pair of unix datagram sockets", function()
  before_each(t.start)
  after_each(t.finish)

  it("carries messages both ways", function()
    local base <close> = t.base()
    local left, right = assert(libevent.socketpair "dgram")
    local got = {}
    base:event(right, "read|persist", t.expect(function(event)
      local message = libevent.buffer()
      assert(message:read(right))
      got[#got + 1] = tostring(message)
      if #got == 3 then event:close() end
      libevent.buffer "thanks":write(right)
    end, 3)):add()
    for _, message in ipairs {"one", "two", ("3"):rep(5000)} do
      assert.equal(#message, libevent.buffer(message):write(left))
    end
    t.run(base)
    assert.same({"one", "two", ("3"):rep(5000)}, got)
    local answers = libevent.buffer()
    for _ = 1, 3 do assert.equal(6, answers:read(left)) end
    assert.equal("thanksthanksthanks", tostring(answers))
    libevent.closesocket(left)
    libevent.closesocket(right)
  end)

  it("is full some time, and writable again", function()
    local base <close> = t.base()
    local left, right = assert(libevent.socketpair "dgram")
    local message, n, errno = ("x"):rep(1000), 0, nil
    while not errno do
      local _
      _, _, errno = libevent.buffer(message):write(left)
      n = n + (errno and 0 or 1)
    end
    assert.equal(11, errno)
    base:event(left, "write", t.expect()):add()
    base:timer(function()
      local buffer = libevent.buffer()
      for _ = 1, n do assert.equal(1000, buffer:read(right)) end
    end):add(0.01)
    t.run(base)
    libevent.closesocket(left)
    libevent.closesocket(right)
  end)
end)
