--- Coroutines of lua-eco, in its scheduler.
---   eco eco.lua waitgroup COUNT ATONCE
---   eco eco.lua sleep COUNT [SECONDS]

local eco = require "eco"
local peak = require "bench.tasks.peak"
local sleepers = require "bench.tasks.sleepers"
local sync = require "eco.sync"

local how, n, atonce = arg[1], math.tointeger(arg[2]), math.tointeger(arg[3])

local function waitgroup()
  local sum, group = 0, sync.waitgroup()
  for done = 0, n - 1, atonce do
    group:add(atonce)
    for i = 1, atonce do
      eco.run(function()
        sum = sum + done + i
        group:done()
      end)
    end
    group:wait()
  end
  assert(sum == n * (n + 1) // 2)
end

local function sleep()
  local group = sync.waitgroup()
  group:add(n)
  sleepers.start(n, eco.run, function(seconds)
    eco.sleep(seconds)
    group:done()
  end)
  group:wait()
  sleepers.finish(n)
end

if how == "sleep" then
  if n > 0 then sleep() end
elseif n > 0 then
  waitgroup()
end
peak()
