--- Tasks of this library.
---   lua5.4 lua-libevent.lua join|waitgroup COUNT ATONCE
---   lua5.4 lua-libevent.lua sleep COUNT [SECONDS]

local co = require "libevent.co"
local peak = require "bench.tasks.peak"
local sleepers = require "bench.tasks.sleepers"

local how, n, atonce = arg[1], math.tointeger(arg[2]), math.tointeger(arg[3])

local modes = {}

function modes.join()
  local sum, list = 0, {}
  for done = 0, n - 1, atonce do
    for i = 1, atonce do
      list[i] = co.spawn(function() return done + i end)
    end
    for i = 1, atonce do
      sum = sum + list[i]:join()
      list[i] = nil
    end
  end
  assert(sum == n * (n + 1) // 2)
end

function modes.waitgroup()
  local sum, group = 0, co.waitgroup()
  for done = 0, n - 1, atonce do
    group:add(atonce)
    for i = 1, atonce do
      co.spawn(function()
        sum = sum + done + i
        group:done()
      end)
    end
    group:wait()
  end
  assert(sum == n * (n + 1) // 2)
end

function modes.sleep() sleepers.start(n, co.spawn, co.sleep) end

co.run(function() if n > 0 then modes[how]() end end)
if how == "sleep" then sleepers.finish(n) end
peak()
