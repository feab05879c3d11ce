--- A mixed load for some minutes, and what it leaves behind.
---   lua5.4 bench/soak.lua [minutes]
--- One process serves echoes in six ways while clients of bench/load.c, in the
--- folder $BUILD, check every byte; between their events it makes and drops
--- timers, pairs, filters, files, wakers and errors. Every ten seconds it says
--- what it has, after a full collection, and how long an idle client of another
--- process has waited for its answers. A trend is a failure: memory,
--- descriptors or latency that the last quarter has more of than the second.
--- So is an event that did not come, and what is still open in the end.

local libevent = require "libevent"
local listdescriptors = require "spec.descriptors"
local relay = require "libevent.relay"

local BUILD = os.getenv "BUILD" or "build"
local EVERY = 10                -- seconds between two looks

local MINUTES = assert(tonumber(arg[1] or 10), "usage: soak.lua [minutes]")

local function descriptors() return #listdescriptors() end

local first = descriptors()
local base = libevent.base {priorities = 2}
local failures, over = 0, false
local running, made = 0, 0      -- clients; what the maker has made
local errors = {due = 0, told = 0}

local function complain(...)
  io.stderr:write("soak: ", string.format(...), "\n")
  failures = failures + 1
end

-- {==== Servers, and a client of load.c for each ====

local function echo(c) c:write(c:input()) end

local function echostrings(c) c:write(c:read()) end

local flipped = {}
for i = 0, 255 do flipped[string.char(i)] = string.char(i ~ 0x55) end

local function flip(source, sink)
  sink:add((source:remove():gsub(".", flipped)))
end

--- What is behind it is served as it was: each filter undoes the other one.
local function filtered(conn)
  base:filter(base:filter(conn, flip, flip), flip, flip)
    :setcb(echo):enable "read"
end

local addresses = {}

local function relayed(conn)
  local other = base:bufferevent()
  relay(conn, other)
  assert(other:connect(addresses.moved))
end

local group = base:rate_limit_group {read = 20e6, write = 20e6}

local function limited(conn)
  conn:setcb(echo):enable "read"
  conn:set_rate_limit {read = 5e6, write = 5e6}
  conn:add_to_rate_limit_group(group)
end

local function timed(conn)
  conn:set_timeouts(30, 30)
  conn:setwatermark("read", 1, 4096):setcb(echostrings):enable "read"
end

local servers = {
  {"strings", "echo %s 50 4000 64",
   function(conn) conn:setcb(echostrings):enable "read" end},
  {"moved", "cycle %s 20000 256 100",
   function(conn) conn:setcb(echo):enable "read" end},
  {"filtered", "echo %s 10 500 1000", filtered},
  {"relayed", "cycle %s 2000 5000 20", relayed},
  {"limited", "echo %s 5 100 20000", limited},
  {"timed", "echo %s 20 500 3000", timed},
}

--- Runs a client again and again until the time is over.
local function client(command)
  local child = assert(io.popen(command))
  running = running + 1
  base:event(child, "read|persist", function(event)
    if child:read "L" then return end
    event:close()
    running = running - 1
    if not child:close() then complain("%s has failed", command) end
    if not over then client(command) end
  end):add()
end

--- Serves by 'accept'; the command of its client.
local function serve(name, load, accept)
  local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
    accept(conn)
  end))
  addresses[name] = listener:sockname()
  return ("exec %s/load -t 3600 %s"):format(BUILD, load:format(addresses[name]))
end

-- ====}

-- {==== What is made and dropped ====

local fired, due = 0, 0

local function fire() fired = fired + 1 end

--- The next call of 'fire' is expected.
local function expected()
  due = due + 1
  return fire
end

local pattern = ("0123456789abcdef"):rep(4096)

--- Both ends of a pair; what comes out of the second one is as it went in.
local function through(a, b, data)
  local got = {}
  due = due + 1
  b:setcb(function() got[#got + 1] = b:read() end, nil, function(_, what)
    if what ~= "eof" or table.concat(got) .. b:read() ~= data then
      complain("a pair has passed on something else: %s", what)
    end
    b:close()
    fire()
  end):enable "read"
  a:write(data):close_after_flush()
end

local kinds = {
  function() base:timer(expected()):add(0) end,
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
  function()                    -- added anew, and deleted by another one
    local timer
    timer = base:timer(function() timer:add(1) end):add(3600):add(1800)
    local f = expected()
    base:once(nil, "timeout", function() timer:del() f() end, 0)
  end,
  function() base:user(expected()):active "read" end,
  function()
    local f = expected()
    base:waker(function(waker) waker:close() f() end):wake()
  end,
  function()
    local a, b = base:pair()
    through(a, b, pattern)
  end,
  function()
    local a, b = base:pair()
    through(base:filter(a, flip, flip), base:filter(b, flip, flip), pattern)
  end,
  function()                    -- nobody ever reads or closes it
    local a = base:pair()
    a:write(pattern)
  end,
  function()                    -- a file, into a buffer and out again
    local file <close> = assert(io.open(arg[0]))
    local buffer = libevent.buffer "x":add(pattern)
    assert(buffer:add_file(file))
    buffer:drain(#buffer - 1)
  end,
  function()                    -- dropped: perhaps before it is told of
    local buffer = libevent.buffer()
    buffer:add_cb(function(b) b:drain() end, base)
    buffer:add(pattern)
  end,
  function()
    errors.due = errors.due + 1
    base:once(nil, "timeout", function() error "of the soak" end, 0)
  end,
  function() base:signal("USR1", fire):add():del() end,
  function()                    -- refused
    local bev = base:bufferevent()
    local f = expected()
    bev:setcb(nil, nil, function(b, what)
      if what ~= "error" then complain("port 1 says %s", what) end
      b:close()
      f()
    end)
    assert(bev:connect "127.0.0.1:1")
  end,
}

base:set_error_cb(function(message)
  errors.told = errors.told + 1
  if not message:find "of the soak" then complain("%s", message) end
end)

local maker = base:timer(function()
  made = made + 1
  kinds[made % #kinds + 1]()
end, "persist"):priority_set(0)

-- ====}

-- {==== Looks ====

local looks = {}
local waits = {p50 = 0 / 0, p99 = 0 / 0, max = 0 / 0}

local function rss()
  for line in io.lines "/proc/self/status" do
    local kib = line:match "^VmRSS:%s+(%d+)"
    if kib then return math.tointeger(kib) end
  end
end

local function look()
  collectgarbage() collectgarbage()
  looks[#looks + 1] = {
    rss = rss(), lua = collectgarbage "count", fds = descriptors(),
    p99 = waits.p99,
  }
  local now = looks[#looks]
  print(("%5d s  RSS %6d KiB  Lua %6.0f KiB  descriptors %4d  "
    .. "waits %.2f %.2f %.2f ms  made %d"):format(#looks * EVERY, now.rss,
    now.lua, now.fds, waits.p50, waits.p99, waits.max, made))
  io.stdout:flush()
end

--- The median of a figure in the n-th quarter of the looks.
local function quarter(n, key)
  local list = {}
  for i = #looks * (n - 1) // 4 + 1, #looks * n // 4 do
    list[#list + 1] = looks[i][key]
  end
  table.sort(list)
  return list[(#list + 1) // 2]
end

--- Fails if a figure has grown by more than a factor and a number.
local function trend(key, factor, more, unit)
  local before, after = quarter(2, key), quarter(4, key)
  if after > before * factor + more then
    complain("%s has grown from %.1f to %.1f %s", key, before, after, unit)
  end
end

-- ====}

local commands = {}
for i, server in ipairs(servers) do
  commands[i] = serve(table.unpack(server))
end
for _, command in ipairs(commands) do client(command) end

local prober = assert(io.popen(("exec %s %s/probe.lua %s"):format(
  os.getenv "LUA" or "lua5.4", arg[0]:match "^(.*)/" or ".",
  addresses.strings)))
local heard = base:event(prober, "read|persist", function(event)
  local line = prober:read "l"
  if not line then
    complain "the idle client has gone"
    return event:close()
  end
  local p50, p99, max = line:match "(%S+) (%S+) (%S+)"
  waits = {p50 = tonumber(p50), p99 = tonumber(p99), max = tonumber(max)}
end):add()

maker:add(0.001)
local looker = base:timer(look, "persist"):add(EVERY)
base:loopexit(MINUTES * 60)
base:dispatch()

-- The end: the clients finish, all comes that was to come, nothing is left.
over = true
maker:close()
looker:close()
base:loopexit(60)
repeat
  base:loop "once"
until base:got_exit() or running == 0 and fired == due
heard:close()
if running > 0 then complain("%d clients do not end", running) end
if fired ~= due then complain("%d calls, not %d", fired, due) end
if errors.told ~= errors.due then
  complain("%d errors told, not %d", errors.told, errors.due)
end
base:close()
prober:read "a"
if not prober:close() then complain "the idle client has failed" end
if descriptors() ~= first then
  complain("%d descriptors, not %d", descriptors(), first)
end
if #looks >= 4 then
  trend("rss", 1.05, 1024, "KiB")
  trend("lua", 1.1, 256, "KiB")
  trend("fds", 1.2, 20, "descriptors")
  trend("p99", 3, 5, "ms")
end
print(("%d made, %d calls, %d failures"):format(made, fired, failures))
os.exit(failures == 0, true)
