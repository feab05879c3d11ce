--- A number of one-shot timers in cqueues: a coroutine that sleeps for each.
---   lua5.4 cqueues.lua COUNT

local cqueues = require "cqueues"

local n = math.tointeger(arg[1])
local loop = cqueues.new()
local left = n

for i = 0, n - 1 do
  loop:wrap(function()
    cqueues.sleep(i * 7919 % n * 0.9 / n)
    left = left - 1
  end)
end
assert(loop:loop())
assert(left == 0)
