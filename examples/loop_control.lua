-- Two ways to end a loop: after loopbreak no other callback is called, after
-- loopexit all that are due, at once or when some time has passed.
--   lua5.4 examples/loop_control.lua
local libevent = require "libevent"

io.stdout:setvbuf "line"
local base = libevent.base()

local function threedue(stop)
  for i = 1, 3 do
    base:user(function()
      print(("  callback %d of 3"):format(i))
      if i == 1 then stop() end
    end):active()
  end
end

local function run()
  base:dispatch()
  print("  ended by " .. (base:got_break() and "loopbreak"
                          or base:got_exit() and "loopexit"
                          or "itself: nothing was left"))
end

print "loopbreak in the first of three callbacks that are due:"
threedue(function() base:loopbreak() end)
run()
print "the next loop calls the others:"
run()

print "loopexit in the first of three:"
threedue(function() base:loopexit() end)
run()
print "the next loop:"
run()

print "loopexit after 0.2 seconds, timers of 0.1 and 60 seconds:"
base:timer(function() print "  0.1 seconds are over" end):add(0.1)
local minute = base:timer(function() print "  a minute is over" end):add(60)
base:loopexit(0.2)
run()
print("the timer of 60 seconds is pending: " .. tostring(minute:pending()))
