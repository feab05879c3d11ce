--- Coroutines of Lua, each resumed by hand: what tasks are made of.
---   lua5.4 lua.lua spawn COUNT ATONCE
---   lua5.4 lua.lua sleep COUNT [SECONDS]

local peak = require "bench.tasks.peak"
local sleepers = require "bench.tasks.sleepers"

local how, n = arg[1], math.tointeger(arg[2])
local create, resume = coroutine.create, coroutine.resume

local function spawn(count, atonce)
  local sum, list = 0, {}
  for done = 0, count - 1, atonce do
    for i = 1, atonce do
      list[i] = create(function() return done + i end)
    end
    for i = 1, atonce do
      local _, result = resume(list[i])
      sum = sum + result
      list[i] = nil
    end
  end
  assert(sum == count * (count + 1) // 2)
end

local function sleep(count)
  local list = {}
  sleepers.start(count, function(f)
    local thread = create(f)
    list[#list + 1] = thread
    resume(thread)
  end, coroutine.yield)
  for _, thread in ipairs(list) do resume(thread) end
  sleepers.finish(count)
end

if how == "spawn" then
  if n > 0 then spawn(n, math.tointeger(arg[3])) end
else
  sleep(n)
end
peak()
