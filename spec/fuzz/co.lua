--- Tasks that do what comes to their minds: they read and write streams, hand
--- each other values, join, cancel and fail, with deadlines and without, while
--- plain callbacks close what they wait for, and garbage is collected.
---   lua5.4 spec/fuzz/co.lua SEED [STEPS]
---
--- The seed decides on all that they do. Bytes come as they were written, none
--- is lost or comes twice, whatever ends a wait; a value that was put is got
--- once, one that was refused never; a semaphore lets in no more than it may;
--- each error is told to somebody, once, if nobody has joined the task; nobody
--- waits when all is over, and nothing is left. To stdout goes a line at the
--- end, as spec/fuzz/run reads it:
---   seed 7: 2000 steps

package.path = "./?.lua;" .. package.path

local SEED = math.tointeger(arg[1])
local STEPS = math.tointeger(arg[2] or 4000)
assert(SEED and STEPS, "usage: co.lua SEED [STEPS]")
math.randomseed(SEED)

local co = require "libevent.co"
local libevent = require "libevent"
local listdescriptors = require "spec.descriptors"
local secure = require "spec.selfsigned"

local random = math.random
local descriptors = #listdescriptors()
local steps = 0                 -- done by all tasks
local failure                   -- the first thing that should not be
local world                     -- what tasks of this round have

local function one(list) return #list > 0 and list[random(#list)] or nil end
local function chance(n) return random(n) == 1 end

--- Seconds: mostly few.
local function seconds()
  return one {0, 0, 0.0001, 0.001, 0.003, random() / 200}
end

local function perhaps() return chance(2) and seconds() or nil end

--- Raises what is no error of the tasks' own.
local function check(ok, message, ...)
  if ok then return ok, message, ... end
  failure = failure or debug.traceback(tostring(message))
  error(failure, 0)
end

-- {==== Streams ====

--- One direction: what has been written and not yet read, whether there may be
--- an end of it, and whether it has broken.
local function direction()
  return {pending = "", over = false, broken = false}
end

local function bytes()
  local n = one {1, 3, 10, random(100), random(3000), random(20000),
                 random(90000)}
  local piece = ("%d:"):format(random(1000000)):rep(n // 4 + 1):sub(1, n)
  return chance(2) and piece .. "\n" or chance(6) and piece .. ";;" or piece
end

local made = {
  function() return co.pair() end,
  function()
    local a, b = assert(libevent.socketpair())
    return co.stream(a), co.stream(b)
  end,
  function()
    local listener <close> = assert(co.listen "127.0.0.1:0")
    local task <close> = co.spawn(co.connect, listener:sockname())
    local a = check(listener:accept())
    return a, (task:join())
  end,
  function()
    local context, trusting = world.server, world.client
    local listener <close> = assert(co.listen("127.0.0.1:0", {tls = context}))
    local task <close> = co.spawn(co.connect, listener:sockname(),
                                  {tls = trusting, hostname = "localhost"})
    local a, message = listener:accept(5)
    check(a, message)
    return a, (task:join())
  end,
}

--- Makes two ends that are connected.
local function connect()
  local a, b = one(made)()
  if not a or not b then return end
  local there, back = direction(), direction()
  local x = {stream = a, input = there, output = back, reading = 0}
  local y = {stream = b, input = back, output = there, reading = 0}
  x.other, y.other = y, x
  for _, e in ipairs {x, y} do
    world.ends[#world.ends < 12 and #world.ends + 1 or random(12)] = e
  end
end

--- One of the ends; callbacks cannot make any.
local function anend()
  if #world.ends == 0 and co.current() then connect() end
  local i = random(math.max(#world.ends, 1))
  local e = world.ends[i]
  if e and e.closed and chance(2) then table.remove(world.ends, i) end
  return e
end

--- Counts who reads, also if he is cancelled.
local function reading(e)
  e.reading = e.reading + 1
  return setmetatable({}, {__close = function()
    e.reading = e.reading - 1
  end})
end

--- How to read: read(stream) and max or what it wants; take(pending, data)
--- returns how many bytes that are.
local formats = {
  function()
    local n = one {0, 1, 5, random(100), random(100000)}
    return function(s) return s:read(n) end, function(d, data)
      check(#data <= n, "more than was asked for")
      check(#data == n or d.over, "less than was asked for")
      return #data
    end
  end,
  function()
    local max = one {10, 1000, 200000}
    local keep = chance(2)
    return function(s) return s:read(keep and "L" or "l", max) end,
           function(d, data)
      local line = keep and data:gsub("\n$", "") or data
      check(not line:find "\n" and #line <= max, "no line")
      local ended = d.pending:sub(#line + 1, #line + 1) == "\n"
      check(ended or d.over, "half a line")
      check(ended == (#data > #line) or not keep, "a line without its end")
      return #line + (ended and 1 or 0)
    end, "line too long", function(d)
      return (d.pending:find("\n", 1, true) or #d.pending + 1) - 1 > max
    end
  end,
  function()
    local max = one {10, 1000, 200000}
    return function(s) return s:read_until(";;", max) end, function(d, data)
      check(#data <= max, "too much before a delimiter")
      check(d.pending:sub(#data + 1, #data + 2) == ";;", "no delimiter")
      check((d.pending:find(";;", 1, true)) == #data + 1, "not the first one")
      return #data + 2
    end, "too long", function(d)
      return (d.pending:find(";;", 1, true) or #d.pending + 1) - 1 > max
    end, function(d) return not d.pending:find(";;", 1, true) end
  end,
  function()
    local max = one {1, 10, 1000, 100000}
    local chunks = chance(3)
    return function(s)
      if not chunks then return s:read_some(max) end
      local f, state = s:chunks(max)
      return f(state)
    end, function(_, data)
      check(#data > 0 and #data <= max, "no piece, or a large one")
      return #data
    end
  end,
  function()
    local max = one {100, 100000, 10000000}
    return function(s) return s:read("a", max) end, function(d, data)
      check(d.over or d.broken, "an end that nobody has said")
      check(d.broken or #data == #d.pending, "not all")
      return #data
    end, "too long", function(d) return #d.pending > max end
  end,
}

local function read(e)
  e = e or anend()
  if not e then return end
  local d = e.input
  local f, take, toolong, istoolong, ended = one(formats)()
  local data, message
  do
    local _ <close> = reading(e)
    data, message = f(e.stream)
  end
  if data then
    check(d.broken or d.pending:sub(1, #data) == data,
          "bytes that nobody has written, or not then")
    if not d.broken then d.pending = d.pending:sub(take(d, data) + 1) end
  elseif message == "eof" then
    check(d.over or d.broken, "an end that nobody has said")
    check(d.broken or d.pending == "" or ended and ended(d), "bytes are lost")
  elseif message == "timeout" then
    check(e.timed, "a timeout that nobody has set")
  elseif message == "closed" then
    check(e.closed, "nobody has closed it")
  elseif message == "busy" then
    check(e.reading > 0, "nobody else reads")
  elseif message == toolong then
    check(d.broken or istoolong(d), "not too long at all")
  elseif message then
    check(e.other.closed or d.broken or d.over, message)
    d.broken, e.output.broken = true, true
  end
end

local function write()
  local e = anend()
  if not e then return end
  local d, text = e.output, bytes()
  if e.said or #d.pending > 400000 then return end
  local before = d.pending
  d.pending = before .. text
  local ok, message
  if chance(5) then
    local at = random(#text)
    ok, message = e.stream:write(text:sub(1, at),
                                 libevent.buffer(text:sub(at + 1)))
  else
    ok, message = e.stream:write(text)
  end
  if ok then
    check(ok == e.stream, "not the stream")
  elseif message == "busy" then
    check(d.pending == before .. text, "busy, after a while")
    d.pending = before
  elseif message == "timeout" then
    check(e.timed, "a timeout that nobody has set")
  elseif message == "closed" then
    check(e.closed, "nobody has closed it")
    d.broken = true
  else
    check(e.other.closed or d.broken, message)
    d.broken, e.input.broken = true, true
  end
end

local function flush()
  local e = anend()
  if not e then return end
  local ok, message = e.stream:flush()
  check(ok or message ~= "closed" or e.closed, "nobody has closed it")
  check(ok or message ~= "timeout" or e.timed, "a timeout nobody has set")
end

local function shutdown()
  local e = anend()
  if not e or e.said then return end
  e.said, e.output.over = true, true
  e.stream:shutdown()
end

local function close(e)
  e = e or anend()
  if not e then return end
  e.closed, e.said, e.output.over = true, true, true
  check(e.stream:close() == e.stream)
end

--- Forgets one: it is closed when it is collected.
local function drop()
  local n = #world.ends
  local e = n > 0 and table.remove(world.ends, random(n))
  if e then e.closed, e.said, e.output.over = true, true, true end
end

local function settimeout()
  local e = anend()
  if not e then return end
  local time = perhaps()
  e.timed = e.timed or time ~= nil
  e.stream:set_timeout(time)
end

-- ====}

-- {==== What tasks hand to each other ====

local function put()
  local channel = one(world.channels)
  local value = {}
  local accepted, over
  local _ <close> = setmetatable({}, {__close = function()
    if not over and not accepted then           -- cancelled, or too late
      check(not value.got, "got what was never put")
      value.refused = true
    end
  end})
  local ok, message = channel:put(value, perhaps())
  over = true
  if ok then
    accepted = true
    world.put = world.put + 1
  else
    check(message == "timeout" or message == "closed", message)
    check(not value.got, "got, and refused")
    value.refused = true
  end
end

local function take(value)
  check(not value.got, "got twice")
  check(not value.refused, "got, and refused")
  value.got = true
  world.got = world.got + 1
end

local function get()
  local channel = one(world.channels)
  local value, message = channel:get(perhaps())
  if value then take(value) else
    check(message == "timeout" or message == "closed", message)
  end
end

local function choose()
  local list = {}
  for _ = 1, random(3) do
    list[#list + 1] = one {one(world.channels), one(world.tasks)}
  end
  local which, value, message = co.select(list, chance(4) and nil or seconds())
  if value and which then
    take(value)
  elseif which then
    check(message == "closed" or which.join, "nothing, and no word")
  else
    check(value == "timeout", value)
  end
end

local function enter(deeper)
  local semaphore = one(world.semaphores)
  local ok, message = semaphore.it:acquire(perhaps())
  if not ok then return check(message == "timeout", message) end
  semaphore.inside = semaphore.inside + 1
  local _ <close> = setmetatable({}, {__close = function()
    semaphore.inside = semaphore.inside - 1
    semaphore.it:release()
  end})
  check(semaphore.inside <= semaphore.places, "too many inside")
  deeper()
end

local function await()
  local n = random(100)
  local over
  local got, message = co.await(function(done)
    if chance(5) then return done(n) end
    local timer = world.base:timer(function() done(n) end):add(seconds())
    return function()
      over = true
      timer:close()
      if chance(3) then done "too late" end
    end
  end, perhaps())
  if got then check(got == n and not over, "another callback's") else
    check(message == "timeout", message)
  end
end

-- ====}

-- {==== Tasks ====

local step, spawn               -- below

local function walk(n)
  for _ = 1, n do
    if world.over then return end
    step()
  end
end

--- An error of the tasks' own.
local function oops()
  local err = {joined = 0, told = 0}
  world.errors[#world.errors + 1] = err
  return err
end

local function join()
  local task = one(world.tasks)
  if not task or task == co.current() then return end
  local info = world.infos[task]
  local results = table.pack(pcall(task.join, task, perhaps()))
  local ok, result, message = table.unpack(results)
  if not ok then
    if type(result) == "table" and result.joined then
      check(info.err == result, "an error of another task")
      result.joined = result.joined + 1
    elseif not (tostring(result):find "coroutine.yield" and info.foreign) then
      error(result, 0)                          -- our own end
    end
  elseif result == nil then
    check(message == "timeout" or message == "cancelled", message)
    check(message == "timeout" or info.cancelled, "nobody has cancelled it")
  else
    check(result == info, "results of another task")
  end
end

local function cancel()
  local task = one(world.tasks)
  if not task then return end
  if task:status() == "waiting" then world.infos[task].cancelled = true end
  if task ~= co.current() then check(task:cancel() == task) end
end

local function deadline()
  local n = random(4)
  local result, message = co.deadline(seconds(), function()
    walk(n)
    return n
  end)
  check(result == n or message == "timeout", message)
end

local function generate()
  local n = random(4)
  local got = 0
  for i in co.wrap(function()
    for i = 1, n do
      step()
      coroutine.yield(i)
    end
  end) do
    got = got + 1
    check(i == got, "another generator's")
    if chance(4) then return end
  end
  check(got == n, "too few")
end

local function protect()
  local ok, err = pcall(walk, random(3))
  if not ok and (type(err) == "table" and err.joined or chance(2)) then
    error(err, 0)
  end
end

--- A wait where Lua lets nobody yield.
local function boundary()
  local ok, err = pcall(string.gsub, "x", ".", function()
    co.channel():get()
  end)
  check(not ok)
  if not tostring(err):find "boundary" then error(err, 0) end
end

local function waitfd()
  local words, message = co.wait(world.fd, one {"read", "write", "read|write"},
                                 seconds())
  check(words or message == "timeout", message)
end

local function callback()
  local f = one {close, drop, shutdown, cancel, collectgarbage, function()
    local channel = one(world.channels)
    if channel:length() > 0 then take(check(channel:get())) end
  end, function() one(world.conditions):broadcast() end, spawn}
  world.base:timer(function()
    if not world.over then f() end
  end):add(seconds())
end

local small = {
  function() co.sleep(0) end,
  function() co.sleep(seconds()) end,
  read, read, read, read, write, write, write, flush, settimeout, put, put,
  get, get, choose, await, join, waitfd, boundary,
  function() one(world.conditions):wait(seconds()) end,
  function() one(world.conditions):signal(random(2)) end,
  function() spawn() end,
  function() collectgarbage "step" end,
}

local rare = {
  connect, shutdown, function() close() end, drop, cancel, deadline, generate,
  protect, callback, callback, cancel,
  function() enter(function() walk(random(3)) end) end,
  function() enter(function() co.sleep(seconds()) end) end,
  function() collectgarbage() end,
  function()
    local i = random(#world.channels)
    world.channels[i]:close()
    world.closed[#world.closed + 1] = world.channels[i]
    world.channels[i] = co.channel(random(0, 3))
  end,
  function()
    co.current():set_name("task " .. random(100))
    check(co.current():traceback())
    check(co.current():status() == "running")
    check(#co.tasks() > 0)
  end,
}

function step()
  steps = steps + 1
  one(chance(4) and rare or small)()
end

local function live(info, n)
  walk(n)
  if world.over then return info end
  local how = random(20)
  if how == 1 then
    info.err = oops()
    error(info.err)
  elseif how == 2 then
    info.foreign = true
    world.foreign = world.foreign + 1
    coroutine.yield(random(100))
  end
  return info
end

function spawn()
  if world.over then return end
  local info = {}
  local task = co.spawn(world.base, live, info, random(12))
  world.infos[task] = info
  world.tasks[#world.tasks < 15 and #world.tasks + 1 or random(15)] = task
end

-- ====}

-- {==== Rounds ====

local function ontold(err)
  if type(err) == "table" and err.told then
    err.told = err.told + 1
  elseif tostring(err):find "coroutine.yield" and world.foreign > 0 then
    world.foreign = world.foreign - 1
  else
    failure = failure or tostring(err)
  end
end

local function create()
  local base = libevent.base():set_error_cb(ontold)
  world = {
    base = base, ends = {}, tasks = {}, errors = {}, channels = {},
    closed = {}, semaphores = {}, conditions = {}, put = 0, got = 0,
    foreign = 0, infos = setmetatable({}, {__mode = "k"}),
  }
  world.server, world.client = secure.contexts()
  world.fd, world.fd2 = assert(libevent.socketpair())
  for i = 1, 3 do
    world.channels[i] = co.channel(i - 1)
    world.semaphores[i] = {it = co.semaphore(i), places = i, inside = 0}
    world.conditions[i] = co.condition()
  end
end

--- Runs the loop until f says so: in short turns, as there may be nothing that
--- wakes it.
local function run(f, words)
  local late = os.time() + 30
  local timer = world.base:timer(function() end, "persist"):add(0.002)
  repeat
    world.base:loop "once"
    if failure then error(failure, 0) end
    assert(os.time() < late, words)
  until f()
  timer:close()
end

--- What has been put has been got, or is still there.
local function count()
  for _, list in ipairs {world.channels, world.closed} do
    for _, channel in ipairs(list) do
      while channel:length() > 0 do take(channel:get()) end
    end
  end
  check(world.got == world.put, ("%d values put, %d got"):format(world.put,
                                                                world.got))
  for _, semaphore in ipairs(world.semaphores) do
    check(semaphore.inside == 0, "somebody is still inside")
    for _ = 1, semaphore.places do
      check(semaphore.it:acquire() == semaphore.it, "a place is lost")
    end
  end
end

local function round()
  create()
  local base, last = world.base, steps + random(300)
  for _ = 1, random(10) do spawn() end
  local before
  run(function()
    if before == steps or chance(30) then spawn() end   -- all wait
    before = steps
    return steps >= last
  end, "no step is done")
  world.over = true
  if chance(8) then                     -- the base goes first
    base:close()
    libevent.closesocket(world.fd)
    libevent.closesocket(world.fd2)
    return
  end
  run(function()
    for _, task in ipairs(co.tasks(base)) do
      world.infos[task] = world.infos[task] or {}
      world.infos[task].cancelled = true
      task:cancel()
    end
    return #co.tasks(base) == 0
  end, "tasks do not end")
  count()
  for _, e in ipairs(world.ends) do e.stream:close() end
  world.ends, world.tasks, world.semaphores = {}, {}, {}
  run(function()
    collectgarbage()
    if base:num_events() > 1 then return false end
    for _, err in ipairs(world.errors) do
      if err.joined == 0 and err.told == 0 then return false end
    end
    return true
  end, "errors are not told, or events are left")
  for _, err in ipairs(world.errors) do
    check(err.told <= 1, "told twice")
  end
  check(base:num_events() == 0, "events are left")
  base:close()
  libevent.closesocket(world.fd)
  libevent.closesocket(world.fd2)
end

local function memory()
  world = nil
  for _ = 1, 4 do collectgarbage() end
  return collectgarbage "count"
end

local first
while steps < STEPS do
  round()
  if not first and steps > STEPS / 4 then first = memory() end
end
local grown = memory() - first
assert(grown < 1000, ("%.0f KiB more than in the beginning"):format(grown))
assert(#listdescriptors() == descriptors, "descriptors are left")
assert(not failure, failure)
io.stdout:write(("seed %d: %d steps\n"):format(SEED, steps))
