--- Streams that never run dry, and meters of how fast they run: for the specs
--- of rate limits.

local assert = require "luassert"
local libevent = require "libevent"
local socket = require "socket"
local t = require "spec.helper"

local rates = {}

rates.CHUNK = ("x"):rep(65536)

function rates.now() return libevent.gettime_monotonic "precise" end

--- Two connected bufferevents; the second one reads.
function rates.ends(base)
  local a, b = libevent.socketpair()
  return base:bufferevent(a), base:bufferevent(b):enable "read"
end

--- Counts the n bytes that have come to 'to' after those of the first tick, and
--- the seconds since then, by the loop's clock, which libevent counts ticks by.
function rates.count(meter, to, n)
  local time = to:base():gettimeofday_cached()
  meter.since = meter.since or time
  meter.seconds = time - meter.since
  meter.bytes = meter.seconds > 0.002 and meter.bytes + n or 0
end

--- A stream that never runs dry, and counts what arrives; 'all' counts it too.
function rates.stream(base, all)
  local s = {}
  s.from, s.to = rates.ends(base)
  s.from:setcb(nil, function(from) from:write(rates.CHUNK) end)
  s.from:write(rates.CHUNK)
  s.to:setcb(function(to)
    local n = #to:input()
    to:input():drain()
    rates.count(s, to, n)
    if all then rates.count(all, to, n) end
  end)
  return s
end

--- Runs the loop for some seconds, of which these meters tell.
function rates.runfor(base, seconds, ...)
  for _, m in ipairs {...} do m.since, m.bytes, m.seconds = nil, 0, 0 end
  base:loopexit(seconds)
  base:dispatch()
end

--- Was it that many bytes a second, to 10 percent, or on a slow machine 30?
function rates.moved(rate, meter)
  local wanted = rate * meter.seconds
  assert.is_true(meter.seconds > 0.1, meter.seconds .. " seconds")
  assert.is_true(math.abs(meter.bytes / wanted - 1)
                 < (t.slow > 1 and 0.3 or 0.1),
                 ("%d bytes in %.3f s, not %.0f"):format(
                   meter.bytes, meter.seconds, wanted))
end

--- The same where bytes cost work: under valgrind no limit would be reached.
function rates.worked(rate, meter)
  if not os.getenv "VALGRIND" then rates.moved(rate, meter) end
end

--- Of busted's 'it': one for what a machine that stands still for a moment
--- spoils: it has three tries.
function rates.patiently(it)
  return function(name, f)
    it(name, function()
      for _ = 2, 3 do
        if pcall(f) then return end
        t.start()
      end
      f()
    end)
  end
end

--- Runs the loop until nothing is left in it.
function rates.rundown(base)
  if base:num_events() > 0 then t.run(base) end
end

--- Moves more than any limit here allows.
function rates.isfree(base, meter)
  meter.bytes, meter.since = 0, nil
  t.runtill(base, function() return meter.bytes > 2e6 end)
end

--- Waits until the next second is not near, in which the next tick of a second
--- begins.
function rates.early()
  while socket.gettime() % 1 > 0.5 do socket.sleep(0.02) end
end

return rates
