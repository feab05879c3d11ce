--- A million connections and a million timers, and what they leave behind.
---   lua5.4 bench/soak.lua [cycles [timers]]
--- After the first ten thousand of each the process has what it needs; from
--- then on its memory may not grow by more than 1 MiB, and the number of its
--- open descriptors not at all. `load` of bench/load.c, in the folder $BUILD,
--- makes the connections.

local lfs = require "lfs"
local libevent = require "libevent"

local CYCLES = math.tointeger(arg[1] or 1000000)
local TIMERS = math.tointeger(arg[2] or 1000000)
local FIRST = 10000             -- before memory is first looked at
local GROWTH = 1024             -- KiB that are no leak yet
local LOAD = (os.getenv "BUILD" or "build") .. "/load"
assert(CYCLES and TIMERS, "usage: soak.lua [cycles [timers]]")

local base = libevent.base()
local failures = 0

local function rss()
  for line in io.lines "/proc/self/status" do
    local kib = line:match "^VmRSS:%s+(%d+)"
    if kib then return math.tointeger(kib) end
  end
end

local function descriptors()
  local n = 0
  for name in lfs.dir "/proc/self/fd" do
    if name:match "^%d+$" then n = n + 1 end
  end
  return n
end

local function now()
  return base:update_cache_time():gettimeofday_cached()
end

--- What the process has when nothing is left to collect.
local function measure()
  collectgarbage() collectgarbage()
  return {rss = rss(), lua = collectgarbage "count", fds = descriptors()}
end

local function complain(...)
  io.stderr:write("soak: ", string.format(...), "\n")
  failures = failures + 1
end

--- Runs f(n), says what it cost, and compares with 'before', if given.
local function stage(name, n, f, before)
  local start = now()
  local old = before or measure()
  f(n)
  local seconds = now() - start
  local new = measure()
  print(("%-7s %8d in %6.1f s, RSS %6d -> %6d KiB, Lua %5.0f -> %5.0f KiB, "
    .. "descriptors %d -> %d"):format(name, n, seconds, old.rss, new.rss,
    old.lua, new.lua, old.fds, new.fds))
  if before and new.rss - old.rss > GROWTH then
    complain("%s: memory has grown by %d KiB", name, new.rss - old.rss)
  end
  if before and new.fds ~= old.fds then
    complain("%s: %d descriptors instead of %d", name, new.fds, old.fds)
  end
  return new
end

local function soak(name, n, f)
  local before = stage(name, math.min(n, FIRST), f)
  if n > FIRST then stage(name, n - FIRST, f, before) end
end

-- Connections: an echo server here, its clients in a child process that has
-- nothing to say before it is done.

local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
  conn:setcb(function(c) c:write(c:input()) end)
  conn:enable "read"
end))

local function cycles(n)
  local events, turns = base:num_events(), 0
  local child = assert(io.popen(("exec %s -t 3600 cycle %s %d 256 100"):format(
    LOAD, listener:sockname(), n)))
  base:event(child, "read", function() base:loopexit() end):add()
  base:dispatch()
  while base:num_events() > events and turns < 1000 do  -- its last resets
    base:loop "nonblock"
    turns = turns + 1
  end
  child:read "a"
  if not child:close() then complain "load has failed" end
end

-- Timers: made by the thousand, each thousand over and collected before the
-- next. Lua lets its heap double between collections, and counts garbage that
-- waits for its finalizer as in use: where all garbage is of that kind, the
-- heap wanders for megabytes without holding anything.

local fired, due = 0, 0

local function fire() fired = fired + 1 end

local kinds = {
  function()                    -- fires, and nobody holds it
    due = due + 1
    base:timer(fire):add(0)
  end,
  function()                    -- its function refers to it
    local timer
    due = due + 1
    timer = base:timer(function() assert(not timer:pending()) fire() end)
    timer:add(0.0001)
  end,
  function()                    -- fires twice and ends itself
    local timer, again
    due = due + 2
    timer = base:timer(function()
      fire()
      if again then timer:close() end
      again = true
    end, "persist"):add(0)
  end,
  function()                    -- deleted
    local timer
    timer = base:timer(function() timer:add(1) end):add(3600)
    timer:del()
  end,
  function()                    -- closed
    local timer
    timer = base:timer(function() timer:add(1) end):add(3600)
    timer:close()
  end,
  function()                    -- never added
    local timer
    timer = base:timer(function() timer:add(1) end)
  end,
  function()                    -- added anew, and deleted by another one
    local timer
    timer = base:timer(function() timer:add(1) end):add(3600):add(1800)
    due = due + 1
    base:once(nil, "timeout", function() timer:del() fire() end, 0)
  end,
}

local function timers(n)
  for i = 1, n do
    kinds[i % #kinds + 1]()
    if i % 1000 == 0 or i == n then
      while fired < due do base:loop "once" end
      collectgarbage()
    end
  end
  if fired ~= due then complain("%d timers fired, not %d", fired, due) end
end

soak("cycles", CYCLES, cycles)
soak("timers", TIMERS, timers)
os.exit(failures == 0, true)
