--- Tasks that sleep, all of them at once.
---   sleepers.start(n, spawn, sleep)
---   ...
---   sleepers.finish(n)
--- Of n tasks that 'spawn' makes, each sleeps for a time of its own, with
--- 'sleep'. All have to be asleep before the first one wakes: after 1.5
--- seconds, or what the program's third argument says.

local sleepers = {}

local first = tonumber(arg[3] or 1.5)

local asleep, most, left = 0, 0, 0

function sleepers.start(n, spawn, sleep)
  left = n
  for i = 0, n - 1 do
    spawn(function()
      asleep = asleep + 1
      most = math.max(most, asleep)
      sleep(first * (1 + i * 7919 % n * 0.6 / n))
      asleep = asleep - 1
      left = left - 1
    end)
  end
end

function sleepers.finish(n)
  assert(left == 0)
  if most < n then
    io.stderr:write(("only %d of %d slept at once\n"):format(most, n))
    os.exit(false)
  end
end

return sleepers
