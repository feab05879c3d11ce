--- Threads of copas.
---   lua5.4 copas.lua wakeup|future COUNT ATONCE
---   lua5.4 copas.lua sleep COUNT [SECONDS]
--- 'wakeup' is what the last of them does to the one that waits; 'future' is
--- one each, with what it has returned. The threads of an old copas can neither
--- sleep nor wait for each other.

local copas = require "bench.copas"
local peak = require "bench.tasks.peak"
local sleepers = require "bench.tasks.sleepers"

local how, n, atonce = arg[1], math.tointeger(arg[2]), math.tointeger(arg[3])

local function need(ok, what)
  if ok then return end
  io.stderr:write(copas._VERSION, " has no ", what, "\n")
  os.exit(false)
end

local modes = {}

function modes.wakeup()
  local main, sum = coroutine.running(), 0
  for done = 0, n - 1, atonce do
    local left = atonce
    for i = 1, atonce do
      copas.addthread(function()
        sum = sum + done + i
        left = left - 1
        if left == 0 then copas.wakeup(main) end
      end)
    end
    copas.pauseforever()
  end
  assert(sum == n * (n + 1) // 2)
end

function modes.future()
  local future = require "copas.future"
  local sum, list = 0, {}
  for done = 0, n - 1, atonce do
    for i = 1, atonce do
      list[i] = future.addthread(function() return done + i end)
    end
    for i = 1, atonce do
      sum = sum + select(2, list[i]:get())
      list[i] = nil
    end
  end
  assert(sum == n * (n + 1) // 2)
end

function modes.sleep() sleepers.start(n, copas.addthread, copas.pause) end

need(how ~= "sleep" or copas.pause, "pause")
need(how ~= "wakeup" or copas.pauseforever, "pauseforever")
need(how ~= "future" or pcall(require, "copas.future"), "future")
copas.addthread(function() if n > 0 then modes[how]() end end)
copas.loop()
if how == "sleep" then sleepers.finish(n) end
peak()
