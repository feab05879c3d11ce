-- Ticker: two ways to do something once a second. A timer that is added again
-- counts from then, so it falls behind a little each time; a persistent one
-- counts from when it was due.
--   lua5.4 examples/ticker.lua [seconds]      (1)
local libevent = require "libevent"

io.stdout:setvbuf "line"
local seconds = tonumber(arg[1] or 1)
local base = libevent.base()
local start = base:gettimeofday_cached()

local function tick(name)
  print(("%-11s%9.4f s"):format(name, base:gettimeofday_cached() - start))
end

base:timer(function(event)
  tick "added again"
  event:add(seconds)
end):add(seconds)
base:timer(function() tick "persistent" end, "persist"):add(seconds)

for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
