--- Bases and their loops.

local libevent = require "libevent"

return {
  {"the module", function()
    assert(libevent.version() and libevent.methods()[1])
  end},

  {"a base with options", function(s)
    s.other = assert(libevent.base {
      avoid = {"poll"}, features = "et|o1", priorities = 3,
      flags = "precise_timer|no_cache_time|ignore_env|nolock",
      max_interval = 1, max_callbacks = 10, min_priority = 1})
    assert(s.other:method() == "epoll" and s.other:npriorities() == 3)
    assert(s.other:features():find "et")
    s.other:close()
    local base <close> = assert(libevent.base {method = "poll"})
    assert(base:method() == "poll")
  end},

  {"a base of the best method", function(s)
    assert(s.base:method() == libevent.methods()[1])
  end},

  {"the end of a loop", function(s)
    local base, n = s.base, 0
    s:timer(function() n = n + 1 end, 0, "persist")
    base:loopexit(0.001):dispatch()
    assert(base:got_exit() or base:got_break())
    s:timer(function() base:loopexit() end, 0)
    base:dispatch()
    assert(base:got_exit() and n > 0)
    s:timer(function() base:loopcontinue():loopbreak() end, 0)
    base:dispatch()
    assert(base:got_break())
    base:loopexit():dispatch()
  end},

  {"what a base knows", function(s)
    local base = s.base
    s:timer(function() end, 9)
    assert(base:num_events() == 1 and base:num_events "active|virtual" == 0)
    assert(base:max_events() == 1 and base:max_events("added", true) == 1)
    assert(base:update_cache_time():gettimeofday_cached() > 0)
    assert(base:gettime_monotonic() > 0)
    assert(tostring(base):find "Base")
  end},

  {"an error in a callback", function(s)
    local base = s.base
    s:timer(function() error {} end, 0)
    local ok, object = pcall(base.dispatch, base)
    if not ok and type(object) == "string" then error(object, 0) end
    assert(not ok and type(object) == "table")
    s:timer(function() error "words" end, 0)
    object = select(2, pcall(base.dispatch, base))
    if not object:find "words" then error(object, 0) end
  end},

  {"an error callback", function(s)
    local base, heard = s.base, 0
    base:set_error_cb(function(message, object)
      if not tostring(message):find "words" then error(message, 0) end
      assert(object:base() == base)
      heard = heard + 1
    end)
    s:timer(function() error "words" end, 0)
    s:run(function() return heard == 1 end)
    base:set_error_cb(function(message) error(message, 0) end)
    s:timer(function() error "words" end, 0)
    local ok, message = pcall(base.dispatch, base)
    assert(not ok)
    if not message:find "words" then error(message, 0) end
    base:set_error_cb()
  end},

  {"base:foreach_event and base:dump_events", function(s)
    local base, seen = s.base, 0
    s:timer(function() end, 9, "persist")
    base:user(function() end):active "read"
    assert(base:signal("USR1", function() end):add())
    assert(base:listener("127.0.0.1:0", function() end))
    base:loopexit(5)
    assert(base:foreach_event(function(info)
      seen = seen + 1
      return info.object == base and "found"
    end) == "found")
    assert(not base:foreach_event(function() end) and seen > 0)
    assert(base:dump_events():find "5 events")
  end},

  {"base:reinit", function(s)
    local base, n = s.base, 0
    local function count() n = n + 1 end
    local signal = assert(base:signal("USR1", count):add())
    assert(base:waker(count)):wake()
    assert(base:reinit())
    base:active_by_signal "USR1"
    s:run(function() return n == 2 end)
    signal:close()
  end},

  {"what libevent has to say", function(s)
    local heard
    libevent.set_log_callback(function(_, message) heard = message end)
    assert(not libevent.base {avoid = libevent.methods()})
    s.base:loop "nonblock"
    assert(heard)
    libevent.set_log_callback()
  end},

  {"a loop in another one's callback", function(s)
    local inner <close> = assert(libevent.base())
    local n = 0
    assert(inner:timer(function() n = n + 1 end):add(0))
    s:timer(function() inner:dispatch() end, 0)
    s:run(function() return n == 1 end)
  end},

  {"base:init_common_timeout", function(s)
    for i = 1, 20 do assert(s.base:init_common_timeout(i / 1000)) end
    local n = 0
    local function count() n = n + 1 end
    local timer = s:timer(count, 0.001, "persist")
    s:timer(count, 0.002)
    s:run(function() return n > 4 end)
    assert(timer:pending() == "timeout")
  end},

  {"closing a base and all on it", function(s)
    local base = s.base
    local n = 0
    s:timer(function() base:close() n = 1 end, 0)
    assert(base:listener("127.0.0.1:0", function() end))
    base:pair()
    base:dispatch()
    assert(n == 1)
  end},
}
