--- libevent.socket_wait: what the sockets of libevent.socket have in common:
--- LuaSocket's two limits of time, its words for what goes wrong, and waits for
--- a descriptor that `close` ends.

local co = require "libevent.co"
local libevent = require "libevent.core"

local waits = {}

-- {==== Time ====

-- LuaSocket's timeouts: 'block' seconds for each wait of a call, 'total' for
-- all of them; there is none if it is negative.
local Limits = {}
Limits.__index = Limits

local function now()
  return libevent.gettime_monotonic "precise"
end

function waits.limits()
  return setmetatable({block = -1.0, total = -1.0}, Limits)
end

--- A number as LuaSocket takes it: in digits, too, or 'default' if nil.
function waits.number(value, default, n, name)
  if value == nil and default then return default end
  local number = tonumber(value)
  if not number then
    error(("bad argument #%d to '%s' (number expected, got %s)"):format(
      n, name, value == nil and "no value" or type(value)), 3)
  end
  return number
end

function Limits:set(value, mode)
  local seconds = waits.number(value, -1, 1, "settimeout") + 0.0
  mode = mode == nil and "b" or tostring(mode)
  local first = mode:sub(1, 1)
  if first == "b" then
    self.block = seconds
  elseif first == "t" or first == "r" then
    self.total = seconds
  else
    error("bad argument #2 to 'settimeout' (invalid timeout mode)", 3)
  end
  return 1
end

--- A call begins.
function Limits:begin()
  if self.total >= 0 then self.began = now() end
end

--- The seconds that its next wait may take, nil for any.
function Limits:left()
  local block, total = self.block, self.total
  if total < 0 then return block >= 0 and block or nil end
  local left = math.max(total - (now() - self.began), 0)
  return block >= 0 and math.min(block, left) or left
end

-- ====}

-- {==== Words ====

-- Where LuaSocket has words of its own for the system's.
local WORDS = {
  ["eof"] = "closed",
  ["Broken pipe"] = "closed",
  ["Connection reset by peer"] = "closed",
  ["Software caused connection abort"] = "closed",
  ["Connection timed out"] = "timeout",
  ["Operation timed out"] = "timeout",
  ["Connection refused"] = "connection refused",
  ["Address already in use"] = "address already in use",
  ["Permission denied"] = "permission denied",
}

function waits.word(message)
  return WORDS[message] or message
end

-- ====}

-- {==== Objects of LuaSocket's ====

local function results(name, ok, first, ...)
  if ok then return first, ... end
  local n, what = tostring(first):match "^bad argument #(%d+) to '%?' (.*)$"
  if n == "1" then
    first = ("calling '%s' on bad self %s"):format(name, what)
  elseif n then
    first = ("bad argument #%d to '%s' %s"):format(n - 1, name, what)
  end
  error(first, 4)
end

--- Calls a method of one, in a function that the script has called: errors are
--- that one's.
function waits.call(real, name, ...)
  return results(name, pcall(real[name], real, ...))
end

--- The same with a descriptor that it has only meanwhile.
local function restore(real, ...)
  real:setfd(-1)
  return ...
end

function waits.lend(real, fd, name, ...)
  real:setfd(fd)
  return results(name, restore(real, pcall(real[name], real, ...)))
end

-- ====}

-- {==== A descriptor ====

--- Waits for 'what' on a socket of LuaSocket's, self.real: true, or nil and
--- "timeout", "closed" if `waits.stir` ends it, "busy" if another task waits.
--- Without time there is nothing to wait for outside of a task, either. 'name'
--- is who waits.
function waits.ready(self, what, seconds, name)
  if seconds == 0 and not co.current() then return nil, "timeout" end
  waits.intask(name)
  local waiting = self.waiting
  if waiting[what] then return nil, "busy" end
  return co.await(function(done)
    local event
    local function stop()
      waiting[what] = nil
      event:close()
    end
    event = co.base():event(self.real, what, function()
      stop()
      done(true)
    end)
    local ok, message = event:add()
    if not ok then return done(nil, message) end
    waiting[what] = function()
      stop()
      done(nil, "closed")
    end
    return stop
  end, seconds)
end

--- Ends the waits of a socket that is about to be closed.
function waits.stir(self)
  for _, what in ipairs {"read", "write"} do
    local stop = self.waiting[what]
    if stop then stop() end
  end
end

--- Raises unless a task runs, for 'name', which would have to wait.
function waits.intask(name)
  if not co.current() then
    error(name .. " waits, and can be called in a task only, see co.run", 3)
  end
end

-- ====}

return waits
