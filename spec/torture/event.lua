--- Events: timers, descriptors, signals and the script's own, and wakers.

local libevent = require "libevent"

return {
  {"timers", function(s)
    local n = 0
    local function count() n = n + 1 end
    local timer = s.base:timer(count)
    for _ = 1, 20 do s:timer(function() end, 9) end  -- the heap grows
    assert(assert(timer:add(0)):pending() == "timeout")
    assert(timer:del():pending() == nil)
    assert(timer:add(0)):remove_timer()
    assert(timer:add(0))
    s:timer(count, 0.001, "persist")
    assert(s.base:once(nil, "timeout", count, 0))
    s:run(function() return n >= 4 end)
    assert(timer:callback() == count and timer:base() == s.base)
    assert(timer:set_callback(function() n = n + 100 end):add(0))
    s:run(function() return n > 100 end)
    timer:close()
  end},

  {"events of the script's own", function(s)
    local heard = {}
    local user = s.base:user(function(_, what) heard[#heard + 1] = what end)
    user:active "read|write":active()
    s:run(function() return #heard > 0 end)
    assert(user:events() == "" and user:fd() == nil and user:signal() == nil)
  end},

  {"events on descriptors", function(s)
    s.fd, s.fd2 = libevent.socketpair()
    local base, read, wrote = s.base, 0, 0
    local event = base:event(s.fd, "read|persist", function() read = 1 end)
    assert(event:add(5))
    local writer = assert(base:event(s.fd, "write", function()
      wrote = 1
    end)):add()
    assert(event:pending "read|timeout" and event:events() == "read|persist")
    assert(event:fd() == s.fd)
    libevent.buffer "x":write(s.fd2)
    s:run(function() return read == 1 and wrote == 1 end)
    read = 0
    base:active_by_fd(s.fd, "timeout|read")
    s:run(function() return read == 1 end)
    local once = 0
    assert(base:once(s.fd, "read", function() once = 1 end, 5))
    s:run(function() return once == 1 end)
    event:close()
    writer:close()
  end},

  {"events on descriptors, edge-triggered and closed", function(s)
    s.fd, s.fd2 = libevent.socketpair()
    local heard = ""
    local event = s.base:event(s.fd, "read|closed|et", function(_, what)
      heard = what
    end)
    assert(event:add())
    libevent.closesocket(s.fd2)
    s.fd2 = false
    s:run(function() return heard:find "closed" end)
    event:close()
  end},

  {"events of a high descriptor", function(s)
    s.fd, s.fd2 = libevent.socketpair()
    local list = {}
    for i = 1, 60 do
      local _, other = libevent.buffer(), assert(io.open "/dev/null")
      list[i] = other
    end
    local bev = s.base:bufferevent():setcb(nil, nil, function() end)
    local listener = assert(s.base:listener("127.0.0.1:0", function() end))
    assert(bev:connect(listener:sockname()))
    s.base:loop "nonblock"
    for _, file in ipairs(list) do file:close() end
  end},

  {"events in epoll's list of changes", function(s)
    local base <close> = assert(libevent.base {flags = "epoll_use_changelist"})
    s.fd, s.fd2 = libevent.socketpair()
    local n = 0
    local event = base:event(s.fd, "write|persist", function() n = n + 1 end)
    assert(event:add())
    base:loop "once"
    event:del()
    assert(event:add())
    event:del()
    base:loop "nonblock"
    assert(event:add())
    base:loop "once"
    assert(n == 2)
    event:del()
    base:loop "nonblock"
    event:close()
  end},

  {"signals", function(s)
    local n = 0
    local event = s.base:signal("USR1", function() n = n + 1 end)
    assert(event:add())
    assert(event:signal() == event:signal() and event:events():find "signal")
    s.base:active_by_signal "USR1"
    s:run(function() return n == 1 end)
    assert(event:del():add(0))
    s:run(function() return n == 2 end)
    event:close()
  end},

  {"priorities", function()
    local base <close> = assert(libevent.base {priorities = 2})
    local order = ""
    local last = base:user(function() order = order .. "2" end)
    local first = base:user(function() order = order .. "1" end)
    assert(last:priority_set(1) and first:priority_set(0))
    assert(first:priority() == 0)
    last:active()
    first:active()
    base:loop "nonblock"
    base:loop "nonblock"
    assert(order == "12")
  end},

  {"wakers", function(s)
    local n = 0
    local waker = assert(s.base:waker(function() n = n + 1 end))
    waker:wake():wake()
    s:run(function() return n == 1 end)
    assert(waker:callback() and waker:base() == s.base)
    waker:set_callback(function() n = 10 end):wake()
    s:run(function() return n == 10 end)
    waker:close()
  end},
}
