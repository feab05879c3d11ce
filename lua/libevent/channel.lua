--- libevent.channel: what tasks hand to each other, and wait for together:
--- channels, semaphores, conditions, wait groups, and select over several.
---
--- Tasks that wait are served in their order. One that gives up leaves a hole
--- in the queue, so that it costs the same however many wait.

local core = require "libevent.core"
local expect = require "libevent.expect"

local here, wait, wake = core.task.here, core.task.wait, core.task.wake

local function now() return core.gettime_monotonic "precise" end

-- {==== Queues ====

local Queue = {}
Queue.__index = Queue

local function queue()
  return setmetatable({first = 1, last = 0, count = 0, at = {}}, Queue)
end

function Queue:push(task, value)
  self.last = self.last + 1
  self[self.last], self.at[task] = {task, value}, self.last
  self.count = self.count + 1
end

--- The first one, and what came with it; nil if there is none.
function Queue:pop()
  while self.first <= self.last do
    local first = self.first
    local entry = self[first]
    self[first], self.first = nil, first + 1
    if entry then
      self.at[entry[1]] = nil
      self.count = self.count - 1
      return entry[1], entry[2]
    end
  end
  self.first, self.last = 1, 0
end

--- Undoes push.
local function leave(task, self)
  self[self.at[task]], self.at[task] = false, nil
  self.count = self.count - 1
end

--- Wakes all.
function Queue:clear(...)
  local task = self:pop()
  while task do
    wake(task, ...)
    task = self:pop()
  end
end

--- Waits in the queue, with a value.
function Queue:wait(task, timeout, value)
  self:push(task, value)
  return wait(task, leave, self, timeout)
end

-- ====}

-- {==== Select ====

-- Whom to tell when there is something new: task or channel -> set of tasks.
local watchers = setmetatable({}, {__mode = "k"})

--- Has those look again who wait for any of several things.
local function notify(object)
  local set = watchers[object]
  if set then
    watchers[object] = nil
    for task in pairs(set) do wake(task, true) end
  end
end

local function watch(task, object)
  local set = watchers[object] or {}
  watchers[object], set[task] = set, true
  if getmetatable(object) == "libevent.Task" then
    core.task.watch(object, notify)
  end
end

local function unwatch(task, list)
  for _, object in ipairs(list) do
    local set = watchers[object]
    if set then set[task] = nil end
  end
end

-- ====}

-- {==== Channels ====

--- Values on their way from tasks to tasks, in their order.
---@class libevent.Channel
local Channel = {__name = "libevent.Channel"}
Channel.__index = Channel

--- Gives a value to who gets one. Waits while the channel is full.
---@param value any but nil
---@param timeout? libevent.seconds
---@return true|nil done nil and "closed", or "timeout"
---@return string? message
function Channel:put(value, timeout)
  expect.that(value ~= nil, 1, "put", "value expected, got nil")
  expect.timeout(timeout, 2, "put")
  if self.closed then return nil, "closed" end
  local getter = self.getters:pop()
  if getter then
    wake(getter, true, value)
    return true
  elseif self.last - self.first + 1 < self.capacity then
    self.last = self.last + 1
    self[self.last] = value
    notify(self)
    return true
  end
  local task = here "channel:put"
  notify(self)
  return self.putters:wait(task, timeout, value)
end

--- Takes what there is: true and a value, false if there is nothing.
local function take(self)
  local first = self.first
  if first <= self.last then
    local value = self[first]
    self[first] = nil
    if first == self.last then
      self.first, self.last = 1, 0
    else
      self.first = first + 1
    end
    local putter, more = self.putters:pop()
    if putter then
      self.last = self.last + 1
      self[self.last] = more
      wake(putter, true)
    end
    return true, value
  end
  local putter, value = self.putters:pop()
  if putter then
    wake(putter, true)
    return true, value
  end
  return false
end

--- Takes the first value. Waits until there is one.
---@param timeout? libevent.seconds
---@return any value nil and "closed", once it is closed and empty, or "timeout"
---@return string? message
function Channel:get(timeout)
  expect.timeout(timeout, 1, "get")
  local ok, value = take(self)
  if ok then return value end
  if self.closed then return nil, "closed" end
  local message
  ok, message = self.getters:wait(here "channel:get", timeout)
  if ok then return message end
  return nil, message
end

--- For each value until the channel is closed and empty.
---@return fun(): any iterator
function Channel:values()
  return function() return (self:get()) end
end

--- The number of values in it.
---@return integer count
function Channel:length()
  return self.last - self.first + 1
end

--- Takes no more values. Those that are in it can still be got; who waits to
--- put one gets nil and "closed".
---@return libevent.Channel channel
function Channel:close()
  if not self.closed then
    self.closed = true
    self.putters:clear(nil, "closed")
    self.getters:clear(nil, "closed")
    notify(self)
  end
  return self
end

Channel.__len, Channel.__close = Channel.length, Channel.close

--- Is there something? Then that, too.
local function poll(object)
  if getmetatable(object) == "libevent.Task" then
    local status = object:status()
    return status ~= "waiting" and status ~= "running"
  end
  local ok, value = take(object)
  if ok then return true, value end
  return object.closed or false, nil, object.closed and "closed" or nil
end

local channel = {}

--- A channel that holds so many values that nobody has got yet: with none, who
--- puts one waits for who gets it.
---@param capacity? integer 0 if nil
---@return libevent.Channel channel
function channel.channel(capacity)
  capacity = capacity or 0
  expect.that(math.type(capacity) == "integer" and capacity >= 0
              or capacity == math.huge, 1, "channel",
              "number of values expected")
  return setmetatable({capacity = capacity, first = 1, last = 0,
                       getters = queue(), putters = queue()}, Channel)
end

-- ====}

-- {==== Semaphores ====

--- So many tasks at a time.
---@class libevent.Semaphore
local Semaphore = {__name = "libevent.Semaphore"}
Semaphore.__index = Semaphore

--- Waits for a place, and takes it.
---@param timeout? libevent.seconds
---@return libevent.Semaphore|nil semaphore
---@return string? message "timeout"
function Semaphore:acquire(timeout)
  expect.timeout(timeout, 1, "acquire")
  if self.free > 0 then
    self.free = self.free - 1
    return self
  end
  local ok, message = self.waiting:wait(here "semaphore:acquire", timeout)
  if not ok then return nil, message end
  return self
end

--- Gives a place back.
---@return libevent.Semaphore semaphore
function Semaphore:release()
  local task = self.waiting:pop()
  if task then
    wake(task, true)
  else
    self.free = self.free + 1
  end
  return self
end

local Place = {__close = function(place) place.semaphore:release() end}

--- Waits for a place that is given back where the variable ends:
--- `local place <close> = semaphore:place()`.
---@return table place
function Semaphore:place()
  self:acquire()
  return setmetatable({semaphore = self}, Place)
end

---@param places integer
---@return libevent.Semaphore semaphore
function channel.semaphore(places)
  expect.that(math.type(places) == "integer" and places >= 0, 1, "semaphore",
              "number of places expected")
  return setmetatable({free = places, waiting = queue()}, Semaphore)
end

-- ====}

-- {==== Conditions ====

--- What tasks wait for until another says that it has come.
---@class libevent.Condition
local Condition = {__name = "libevent.Condition"}
Condition.__index = Condition

--- Waits for the next signal, and returns what comes with it.
---@param timeout? libevent.seconds
---@return any value true if it has none; nil and "timeout"
---@return string? message
function Condition:wait(timeout)
  expect.timeout(timeout, 1, "wait")
  local ok, value = self.waiting:wait(here "condition:wait", timeout)
  if not ok then return nil, value end
  if value == nil then return true end
  return value
end

--- Wakes so many of those that wait, first those that came first.
---@param count? integer 1 if nil
---@return integer woken
function Condition:signal(count, value)
  local woken = 0
  while woken < (count or 1) do
    local task = self.waiting:pop()
    if not task then break end
    wake(task, true, value)
    woken = woken + 1
  end
  return woken
end

--- Wakes all.
---@return integer woken
function Condition:broadcast(value)
  return self:signal(math.huge, value)
end

---@return libevent.Condition condition
function channel.condition()
  return setmetatable({waiting = queue()}, Condition)
end

-- ====}

-- {==== Wait groups ====

--- Tasks whose end is waited for together.
---@class libevent.WaitGroup
local WaitGroup = {__name = "libevent.WaitGroup"}
WaitGroup.__index = WaitGroup

---@param count? integer 1 if nil
---@return libevent.WaitGroup group
function WaitGroup:add(count)
  expect.that(count == nil or math.type(count) == "integer" and count >= 0,
              1, "add", "number of tasks expected")
  self.count = self.count + (count or 1)
  return self
end

---@return libevent.WaitGroup group
function WaitGroup:done()
  if self.count <= 0 then error("more ends than beginnings", 2) end
  self.count = self.count - 1
  if self.count == 0 then self.waiting:clear(true) end
  return self
end

--- Waits until as many have ended as have begun.
---@param timeout? libevent.seconds
---@return true|nil done
---@return string? message "timeout"
function WaitGroup:wait(timeout)
  expect.timeout(timeout, 1, "wait")
  if self.count == 0 then return true end
  return self.waiting:wait(here "waitgroup:wait", timeout)
end

---@return libevent.WaitGroup group
function channel.waitgroup()
  return setmetatable({count = 0, waiting = queue()}, WaitGroup)
end

-- ====}

--- Waits for the first of several tasks and channels: of those that are ready
--- the first in the list. Returns it, and a channel's value, or nil and
--- "closed"; a task that has ended is to be joined. Or nil and "timeout".
---@param list (libevent.Task|libevent.Channel)[]
---@param timeout? libevent.seconds
---@return libevent.Task|libevent.Channel|nil which
---@return any value
---@return string? message
function channel.select(list, timeout)
  expect.that(type(list) == "table", 1, "select",
              "list of tasks and channels expected, got " .. type(list))
  for i, object in ipairs(list) do
    local kind = getmetatable(object)
    expect.that(kind == Channel or kind == "libevent.Task", 1, "select",
                ("number %d is no task and no channel"):format(i))
  end
  expect.timeout(timeout, 2, "select")
  local task = here "co.select"
  local due = timeout and now() + timeout
  while true do
    for _, object in ipairs(list) do
      local ok, value, message = poll(object)
      if ok then return object, value, message end
    end
    for _, object in ipairs(list) do watch(task, object) end
    local left = due and math.max(0, due - now())
    local ok, message = wait(task, unwatch, list, left)
    unwatch(task, list)
    if not ok then return nil, message end
  end
end

return channel
