--- A number of one-shot timers in this library, made, fired and dropped.
---   lua5.4 lua-libevent.lua timer|once COUNT

local libevent = require "libevent"

local how, n = arg[1], math.tointeger(arg[2])
local base = libevent.base()
local left = n

local function fire() left = left - 1 end

for i = 0, n - 1 do
  local delay = i * 7919 % n * 0.9 / n
  if how == "once" then
    base:once(nil, "timeout", fire, delay)
  else
    base:timer(fire):add(delay)
  end
end
base:dispatch()
assert(left == 0)
