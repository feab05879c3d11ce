--- Coroutines of cqueues.
---   lua5.4 cqueues.lua condition|promise COUNT ATONCE
---   lua5.4 cqueues.lua sleep COUNT [SECONDS]
--- 'condition' is one for all of them, which the last one signals; 'promise' is
--- one each, with what it has returned.

local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local peak = require "bench.tasks.peak"
local promise = require "cqueues.promise"
local sleepers = require "bench.tasks.sleepers"

local how, n, atonce = arg[1], math.tointeger(arg[2]), math.tointeger(arg[3])
local loop = cqueues.new()

local modes = {}

function modes.condition()
  local sum, ended = 0, condition.new()
  for done = 0, n - 1, atonce do
    local left = atonce
    for i = 1, atonce do
      loop:wrap(function()
        sum = sum + done + i
        left = left - 1
        if left == 0 then ended:signal() end
      end)
    end
    ended:wait()
  end
  assert(sum == n * (n + 1) // 2)
end

function modes.promise()
  local sum, list = 0, {}
  for done = 0, n - 1, atonce do
    for i = 1, atonce do
      list[i] = promise.new(function() return done + i end)
    end
    for i = 1, atonce do
      sum = sum + list[i]:get()
      list[i] = nil
    end
  end
  assert(sum == n * (n + 1) // 2)
end

function modes.sleep()
  sleepers.start(n, function(f) loop:wrap(f) end, cqueues.sleep)
end

loop:wrap(function() if n > 0 then modes[how]() end end)
assert(loop:loop())
if how == "sleep" then sleepers.finish(n) end
peak()
