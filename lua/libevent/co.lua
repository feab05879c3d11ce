--- libevent.co: straight-line code, in tasks that wait for the loop.
---
---     local co = require "libevent.co"
---
---     co.run(function()
---       co.listen("127.0.0.1:9999", function(stream)
---         for data in stream:chunks() do stream:write(data) end
---       end)
---     end)
---
--- A task is a coroutine that the loop of a base runs. It runs until it waits,
--- and no other task of the base runs meanwhile. Callbacks and tasks share
--- their base, and all of its objects.

local channel = require "libevent.channel"
local core = require "libevent.core"
local expect = require "libevent.expect"
local streams = require "libevent.co_stream"

local here, wait, wake = core.task.here, core.task.wait, core.task.wake

---@class libevent.co
local co = {
  channel = channel.channel, semaphore = channel.semaphore,
  condition = channel.condition, waitgroup = channel.waitgroup,
  select = channel.select,
  spawn = core.task.spawn, current = core.task.current,
  deadline = core.task.deadline,
  -- As those of Lua's coroutine; what they run in a task can wait, too.
  wrap = core.task.wrap, resume = core.task.resume,
}

local function isbase(value) return getmetatable(value) == "libevent.Base" end

--- The base of the task that runs, for the function 'name'.
local function baseof(name)
  local base = core.task.base()
  if not base then error(name .. " is for tasks: see co.spawn", 3) end
  return base
end

-- {==== Tasks ====

--- The base of the task that runs.
---@return libevent.Base base
function co.base() return baseof "co.base" end

--- The tasks of a base that have not ended.
---@param base? libevent.Base that of the task that runs if nil
---@return libevent.Task[] tasks
function co.tasks(base)
  expect.that(base == nil or isbase(base), 1, "tasks", "Base expected")
  return core.task.tasks(base)
end

--- What a task waits for, without the library's own lines.
local function where(task)
  local lines = {}
  for line in task:traceback():gmatch "\n(\t[^\n]+)" do
    if not line:find "^\t%[C%]: in [%w%?]" and not line:find "/libevent/co"
       and not line:find "/libevent/channel" then
      lines[#lines + 1] = line
    end
  end
  return ("%s waits:\n%s"):format(task, table.concat(lines, "\n"))
end

--- Raises for tasks that nothing will wake any more.
local function checkstuck(base)
  local list = co.tasks(base)
  if #list == 0 then return end
  for i, task in ipairs(list) do list[i] = where(task) end
  table.sort(list)
  error(("the loop has ended, but %d task%s:\n%s"):format(
    #list, #list == 1 and " waits" or "s wait", table.concat(list, "\n")), 0)
end

--- Ends all tasks, as far as they let themselves be ended.
local function cancelall(base)
  for _ = 1, 100 do
    local list = co.tasks(base)
    if #list == 0 then return end
    for _, task in ipairs(list) do task:cancel() end
    base:loop "nonblock"
  end
end

-- Ends what is left on a base, and the base if it is our own.
local Ending = {__close = function(ending)
  local base = ending.base
  pcall(cancelall, base)                -- what they raise now, nobody hears
  if not ending.own then return end
  local list = co.tasks(base)
  base:close()
  for _, task in ipairs(list) do pcall(task.cancel, task) end
end}

--- The first task, whose error ends the loop.
local function spawnmain(base, f, ...)
  local main = co.spawn(base, f, ...)
  core.task.last(main, function(task)
    if task:status() == "failed" then base:loopbreak() end
  end)
  return main
end

--- Runs the loop; what the first task has come to.
local function dispatch(base, main)
  base:dispatch()
  if main:status() == "failed" then return main:join() end
  local failed, err = core.task.claim(base)
  if failed then error(err, 0) end
  local closed = not pcall(base.method, base)
  if closed or base:got_exit() or base:got_break() then
    if main:status() == "waiting" then return nil, "stopped" end
  else
    checkstuck(base)
  end
  return main:join()
end

local function run(base, own, ...)
  local _ <close> = setmetatable({base = base, own = own}, Ending)
  return dispatch(base, spawnmain(base, ...))
end

--- Runs a function as the first task of a base, and the loop until there is
--- nothing left to run for. In the end, tasks that still wait are cancelled.
--- Without a base it makes one, which it closes then.
---
--- Returns what the function has returned; nil and "stopped" if the loop was
--- told to end before that. Raises its error, and any that nobody takes: of
--- a task that nobody has joined, of a callback. Raises, too, when nothing is
--- left to wake a task that waits, and tells where that is.
---@param base? libevent.Base
---@param f function
---@param ... any its arguments
---@return any ...
function co.run(base, ...)
  if co.current() then error("co.run in a task: see co.spawn", 2) end
  local own = not isbase(base)
  local f = own and base or ...
  expect.that(type(f) == "function", own and 1 or 2, "run",
              "function expected, got " .. type(f))
  if own then return run(assert(core.base()), true, f, ...) end
  if core.task.runs(base) then
    error("the loop of this base runs already: see co.spawn", 2)
  end
  return run(base, false, ...)
end

-- ====}

-- {==== Waiting ====

--- Waits so many seconds; 0 gives others a turn.
---@param seconds libevent.seconds
co.sleep = core.task.sleep

local function forget(_, event) event:close() end

--- Waits for an event that has been made for it.
local function await(task, event, timeout)
  local ok, message, errno = event:add()
  if not ok then return nil, message, errno end
  return wait(task, forget, event, timeout)
end

--- Waits for a descriptor.
---@param fd libevent.descriptor
---@param what libevent.events "read", "write", "read|write"
---@param timeout? libevent.seconds
---@return libevent.what|nil what has happened
---@return string? message "timeout"
---@return integer? errno
function co.wait(fd, what, timeout)
  expect.timeout(timeout, 3, "wait")
  local task, base = here "co.wait", co.base()
  local ok, made = pcall(base.event, base, fd, what, function(event, words)
    event:close()
    wake(task, words)
  end)
  if not ok then expect.again(made, "wait", {}) end
  return await(task, made, timeout)
end

--- Waits for a signal.
---@param signal libevent.signal
---@param timeout? libevent.seconds
---@return true|nil done
---@return string? message "timeout"
---@return integer? errno
function co.signal(signal, timeout)
  expect.timeout(timeout, 2, "signal")
  local task, base = here "co.signal", co.base()
  local ok, made = pcall(base.signal, base, signal, function(event)
    event:close()
    wake(task, true)
  end)
  if not ok then expect.again(made, "signal", {}) end
  return await(task, made, timeout)
end

--- Waits for a callback: begin(done) starts something that calls done(...),
--- now or later, and may return a function that ends it. What `done` is called
--- with first is returned.
---
---     local response, message = co.await(function(done)
---       local request = http.request(co.base(), url, done)
---       return function() request:close() end
---     end)
---@param begin fun(done: fun(...)): function?
---@param timeout? libevent.seconds
---@return any ... or nil and "timeout"
function co.await(begin, timeout)
  expect.that(type(begin) == "function", 1, "await",
              "function expected, got " .. type(begin))
  expect.timeout(timeout, 2, "await")
  local task = here "co.await"
  local results, waits
  local cancel = begin(function(...)
    if results then return end
    results = table.pack(...)
    if waits then wake(task, true) end
  end)
  if not results then
    waits = true
    local ok, message = wait(task, function()
      results = {}
      if cancel then cancel() end
    end, nil, timeout)
    if not ok then return nil, message end
  end
  return table.unpack(results, 1, results.n)
end

-- ====}

-- {==== Streams ====

--- Connects to an address, or to a host and its port: to the first address
--- that answers, as RFC 8305 has it. `options`: timeout, of all of it (60
--- seconds); tls and hostname, as for `base:bufferevent`: then the handshake is
--- a part of it; dns, family and delay, as for `bev:connect_hostname`.
---@param host string
---@param port? integer|table
---@param options? table
---@return libevent.Stream|nil stream
---@return string? message "timeout", or what the system says
---@return integer? errno
function co.connect(host, port, options)
  return streams.connect(baseof "co.connect", host, port, options)
end

--- Listens on an address. With a handler, each connection is a task of its own
--- that calls handler(stream, peer), after its handshake if there is one; the
--- stream is closed when that returns. An error in it goes where errors of
--- callbacks go. Without one, `listener:accept` waits for connections.
--- `options`: flags, backlog and tls, as for `base:listener`; max_connections:
--- others wait in the system's queue; timeout, of each stream.
---@param address libevent.address|libevent.descriptor
---@param handler? fun(stream: libevent.Stream, peer: string)
---@param options? table
---@return libevent.StreamListener|nil listener
---@return string? message
---@return integer? errno
function co.listen(address, handler, options)
  return streams.listen(baseof "co.listen", address, handler, options)
end

--- A stream on a bufferevent, which belongs to it from then on, or on an open
--- descriptor: a socket, a pipe, a terminal.
---@param what libevent.Bufferevent|libevent.descriptor
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function co.stream(what) return streams.stream(baseof "co.stream", what) end

--- Standard input: a terminal, a pipe or a file.
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function co.stdin() return streams.stdin(baseof "co.stdin") end

--- Two streams, joined to each other by sockets.
---@return libevent.Stream|nil a
---@return libevent.Stream|string b or the message
---@return integer? errno
function co.pair() return streams.pair(baseof "co.pair") end

-- ====}

-- What needs more than this is loaded by who asks for it.
local PARTS = {http = "libevent.co_http", resolve = "libevent.co_dns",
               reverse = "libevent.co_dns", udp = "libevent.datagram"}

return setmetatable(co, {__index = function(_, name)
  local part = PARTS[name] and require(PARTS[name])
  return name == "http" and part or part and part[name]
end})
