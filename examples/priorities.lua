-- Priorities: of the events that are due at the same time the urgent ones are
-- called first, and one that comes up meanwhile is called next.
--   lua5.4 examples/priorities.lua
local libevent = require "libevent"
local base = libevent.base {priorities = 2}
local URGENT, IDLE = 0, 1

local function event(name, priority, f)
  local e = base:user(function()
    print("called: " .. name)
    if f then f() end
  end)
  e:priority_set(priority)
  return e
end

local function due(e, name)
  print("due:    " .. name)
  e:active()
end

local alarm = event("alarm", URGENT)
local sweep = event("sweep", IDLE, function() due(alarm, "alarm") end)
local paint = event("paint", IDLE)

due(sweep, "sweep")
due(paint, "paint")
due(alarm, "alarm")
base:dispatch()
