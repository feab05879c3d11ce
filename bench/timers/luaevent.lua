--- A number of one-shot timers in luaevent, made, fired and dropped.
---   lua5.4 luaevent.lua COUNT
--- An event is deleted when its object is collected: a table holds it.

local core = require "luaevent.core"

local n = math.tointeger(arg[1])
local base = core.new()
local timers = {}               -- luacheck: ignore 241
local left = n

for i = 0, n - 1 do
  timers[i] = base:addevent(nil, core.EV_TIMEOUT, function()
    left = left - 1
    timers[i] = nil
    return core.LEAVE
  end, i * 7919 % n * 0.9 / n)
end
base:loop()
assert(left == 0)
