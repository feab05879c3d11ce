-- The life of an event: not pending, pending, active, processed; then a
-- one-shot event is not pending again, a persistent one pending until `del`.
--   lua5.4 examples/event_life.lua
local libevent = require "libevent"
local base = libevent.base()

local function live(kind, what)
  print(kind .. ":")
  local timer
  local function show(moment)
    print(("  %-16s pending() is %-8s  callbacks due: %d"):format(moment,
      timer:pending(), base:num_events "active"))
  end

  timer = base:timer(function() show "in its callback" end, what)
  show "made"
  timer:add(60)
  show "added"
  timer:active "timeout"          -- as the loop does when the time is over
  show "active"
  base:loop "nonblock"
  show "processed"
  timer:del()
  show "deleted"
end

live "one-shot"
live("persistent", "persist")
