--- src/lualibevent.h: a base of the host's, and wakers.

local libevent = require "libevent"

local host = rawget(_G, "host")               -- spec/c/torture.c's

return {
  {"a base of the host's", function(s)
    local base, n = host.base(), 0
    assert(base == host.base())
    local waker = assert(base:waker(function() n = n + 1 end))
    local heard = "not enough memory"
    base:set_error_cb(function(message) heard = message end)
    assert(base:timer(function() n = n + 10 end):add(0))
    host.loop(waker)
    if n ~= 11 then error(heard, 0) end
    base:close()
    s.base:close()
  end, host = true},

  {"the whole module in another state", function(s)
    host.open()
    s.base:close()
  end, host = true},

  {"a host's calls", function(s)
    local base = host.base()
    local heard
    local function handler(message) heard = message end
    local status, text = host.call(function()
      return ("text "):rep(10)
    end, handler)
    if status ~= 0 then error(heard or "not enough memory", 0) end
    assert(text == ("text "):rep(10))
    assert(host.call(function() error("oh no", 0) end, handler) ~= 0)
    base:close()
    s.base:close()
  end, host = true},

  {"what a host lends", function(s)
    local base = host.base()
    local listener = assert(base:listener("127.0.0.1:0", print))
    assert(host.lend(base, base:user(print), base:bufferevent(),
                     libevent.buffer "hello", listener))
    host.detach()
    assert(not pcall(base.timer, base, print))
    s.base:close()
  end, host = true},

  {"what a host gives", function(s)
    local base = host.base()
    local event = host.give("event", print)
    assert(event:pending() == "timeout")
    local bev = host.give "bufferevent"
    bev:setcb(print)
    assert(#host.give "buffer":add "hello" == 5)
    local listener = host.give("listener", print)
    assert(listener:enabled())
    base:close()
    s.base:close()
  end, host = true},
}
