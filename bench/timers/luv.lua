--- A number of one-shot timers in luv, made, fired and closed.
---   lua5.4 luv.lua COUNT

local uv = require "luv"

local n = math.tointeger(arg[1])
local left = n

for i = 0, n - 1 do
  local timer = uv.new_timer()
  timer:start(i * 7919 % n * 900 // n, 0, function()
    left = left - 1
    timer:close()
  end)
end
uv.run()
assert(left == 0)
