--- Every call that waits in a task, for the specs of lifetimes.
---
--- Each entry is {name, make}: make(c) runs in a task of c.base, and puts
---   c.wait()    what waits, in a task of its own; called again it waits again,
---               unless c.once is set
---   c.go()      what has it end well, called anywhere on that base
---   c.close()   what closes the object that it waits for, if there is one:
---               c.wait then returns nil and "closed"
---   c.clean()   what closes all the rest
---   c.final     whether it cannot be begun again
--- and c.got, what c.wait then returns first, a function if it has to be asked.

local co = require "libevent.co"
local libevent = require "libevent"
local secure = require "spec.selfsigned"
local tasks = require "spec.tasks"

local server, trusting          -- contexts of TLS, once they are needed

local function contexts()
  if not server then server, trusting = secure.contexts() end
end

-- {==== Streams ====

--- Two ends of a connection, c.a and c.b, of which c.a is what is closed.
local function connect(c, a, b)
  c.a, c.b = a, b
  function c.close() c.a:close() end
  function c.clean()
    c.a:close()
    c.b:close()
  end
end

--- A call that reads as one of tasks.readings does, or else 'read', on streams
--- of 'pair'.
local function reading(r, read, pair)
  return function(c)
    connect(c, (pair or tasks.ends)())
    c.b:write(r[2])
    c.got, c.once = r[5], r[6]
    function c.wait() return (read or r[4])(c.a) end
    function c.go()
      c.b:write(r[3])
      if r[6] then return c.b:shutdown() end
      c.b:write(r[2])                   -- for who reads again
    end
  end
end

local line = tasks.readings[2]
local readline = line[4]

--- A connection by TLS.
local function securely()
  contexts()
  local listener <close> = assert(co.listen("127.0.0.1:0", {tls = server}))
  local task = co.spawn(co.connect, listener:sockname(),
                        {tls = trusting, hostname = "localhost"})
  local a = assert(listener:accept())
  return a, assert(task:join())
end

--- A call that writes more than is taken.
local function writing(write)
  return function(c)
    connect(c, tasks.ends())
    local piece = ("x"):rep(65536)
    c.a:set_timeout(0.005)      -- what the system takes, it has by then
    while c.a:write(piece) do end
    c.a:set_timeout()
    c.once = true
    function c.wait() return write(c.a) end
    function c.go()
      co.spawn(c.base, function() for _ in c.b:chunks() do end end)
    end
    function c.got(result) return result == c.a end
  end
end

-- ====}

-- {==== Peers that say nothing ====

--- A server of names.
local function mute(c)
  local socket
  c.dns, socket = tasks.mute(c.base)
  function c.clean()
    socket:close()
    if c.dns then c.dns:close() end
  end
end

--- A listener that accepts, and leaves it at that; and what it has accepted.
local function silent(c)
  local peers = {}
  local listener = assert(c.base:listener("127.0.0.1:0", function(_, conn)
    peers[#peers + 1] = conn:setcb(nil, nil, function() end)
  end))
  function c.clean()
    listener:close()
    for _, conn in ipairs(peers) do conn:close() end
  end
  return listener, peers
end

-- ====}

local function isstream(value)
  return tostring(value):find "^libevent.Stream" and value:close()
end

local waits = {
  {"read of a pair", reading(line, nil, co.pair)},
  {"read by TLS", reading(line, nil, securely)},
  {"read in a generator", reading(line, function(s)
    return co.wrap(readline)(s)
  end)},
  {"read with a deadline", reading(line, function(s)
    return co.deadline(60, readline, s)
  end)},
  {"read in pcall", reading(line, function(s)
    local results = table.pack(pcall(readline, s))
    if not results[1] then error(results[2], 0) end
    return table.unpack(results, 2, results.n)
  end)},
  {"write", writing(function(s) return s:write(("y"):rep(100000)) end)},
  {"flush", writing(function(s) return s:flush() end)},
  {"starttls", function(c)
    connect(c, tasks.ends())
    contexts()
    c.final = true
    function c.wait() return c.a:starttls(trusting, "localhost") end
    function c.go()
      co.spawn(c.base, function() c.b:starttls(server) end)
    end
    function c.got(result) return result == c.a end
  end},
  {"connect by TLS", function(c)
    local listener, peers = silent(c)
    contexts()
    function c.wait()
      return co.connect(listener:sockname(), {tls = trusting,
                                              hostname = "localhost"})
    end
    function c.go() peers[#peers]:starttls(server) end
    c.got = isstream
  end},
  {"connect to a name", function(c)
    mute(c)
    function c.wait()
      return co.connect("slow.test", 80, {dns = c.dns})
    end
  end},
  {"resolve", function(c)
    mute(c)
    function c.wait() return co.resolve("slow.test", {dns = c.dns}) end
  end},
  {"accept", function(c)
    local listener = assert(co.listen "127.0.0.1:0")
    local address = listener:sockname()
    function c.wait() return listener:accept() end
    function c.close() listener:close() end
    function c.go()
      co.spawn(c.base, function()
        local stream <close> = co.connect(address)
        if stream then stream:write "x":flush() end
      end)
    end
    function c.clean() listener:close() end
    c.got = isstream
  end},
  {"join", function(c)
    local gate = co.condition()
    local other = co.spawn(gate.wait, gate)
    function c.wait() return other:join() end
    function c.go() gate:broadcast "data" end
    function c.clean() other:cancel() end
    c.got, c.once = "data", true
  end},
  {"get", function(c)
    c.channel = co.channel()
    function c.wait() return c.channel:get() end
    function c.go() co.spawn(c.base, c.channel.put, c.channel, "data", 1) end
    function c.close() c.channel:close() end
    c.got = "data"
  end},
  {"put", function(c)
    c.channel = co.channel(1)
    c.channel:put "first"
    function c.wait() return c.channel:put "data" end
    function c.go() c.channel:get(0) end
    function c.close() c.channel:close() end
    c.got = true
  end},
  {"acquire", function(c)
    c.semaphore = co.semaphore(0)
    function c.wait() return c.semaphore:acquire() end
    function c.go() c.semaphore:release() end
    function c.got(result) return result == c.semaphore end
  end},
  {"place", function(c)
    c.semaphore = co.semaphore(0)
    function c.wait()
      local _ <close> = c.semaphore:place()
      return "data"
    end
    function c.go() c.semaphore:release() end
    c.got, c.once = "data", true
  end},
  {"wait of a condition", function(c)
    c.condition = co.condition()
    function c.wait() return c.condition:wait() end
    function c.go() c.condition:broadcast "data" end
    c.got = "data"
  end},
  {"wait of a wait group", function(c)
    c.group = co.waitgroup():add()
    function c.wait() return c.group:wait() end
    function c.go() c.group:done() end
    c.got, c.once = true, true
  end},
  {"select", function(c)
    local channel, other = co.channel(), co.spawn(co.sleep, 60)
    function c.wait() return select(2, co.select {other, channel}) end
    function c.go() co.spawn(c.base, channel.put, channel, "data", 1) end
    function c.clean() other:cancel() end
    c.got = "data"
  end},
  {"sleep", function(c)
    function c.wait() return co.sleep(60) end
  end},
  {"wait for a descriptor", function(c)
    local one, two = assert(libevent.socketpair())
    function c.wait()
      local words, message = co.wait(one, "read")
      if words then libevent.buffer():read(one) end
      return words, message
    end
    function c.go() libevent.buffer "x":write(two) end
    function c.clean()
      libevent.closesocket(one)
      libevent.closesocket(two)
    end
    c.got = "read"
  end},
  {"signal", function(c)
    local other = c.base:signal("USR1", function() end):add()
    function c.wait() return co.signal "USR1" end
    function c.go() if other:pending "signal" then tasks.kill "USR1" end end
    function c.clean() other:close() end
    c.got = true
  end},
  {"await", function(c)
    local timer, over
    function c.wait()
      return co.await(function(done)
        over = done
        timer = c.base:timer(print):add(60)
        return function() timer:close() end
      end)
    end
    function c.go()
      timer:close()
      over "data"
    end
    c.got = "data"
  end},
  {"a request by HTTP", function(c)
    local listener, peers = silent(c)
    function c.wait()
      return co.http.get("http://" .. listener:sockname() .. "/")
    end
    function c.go()
      local conn = peers[#peers]
      if tostring(conn):find "closed" then return end
      conn:write "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata"
      conn:close_after_flush()
    end
    function c.got(result) return result.body == "data" end
  end},
  {"receive of datagrams", function(c)
    local udp = assert(co.udp {address = "127.0.0.1:0"})
    local address = udp:sockname()
    function c.wait() return udp:receive() end
    function c.go()
      co.spawn(c.base, function()
        local other = assert(co.udp())
        other:send("data", address)
        other:close()
      end)
    end
    function c.close() udp:close() end
    function c.clean() udp:close() end
    c.got = "data"
  end},
}

for i, r in ipairs(tasks.readings) do
  table.insert(waits, i, {"read of " .. r[1], reading(r)})
end

return waits
