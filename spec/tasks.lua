--- Tasks for the specs: a base with a deadline, a first task on it, and the
--- check that nothing is left in the loop.
---
---   local tasks = require "spec.tasks"
---   tasks.play(function() ... end)      -- in a task, until all have ended

local assert = require "luassert"
local co = require "libevent.co"
local libevent = require "libevent"
local t = require "spec.helper"

local tasks = {}

--- Ends the loop with an error when it takes more than so many seconds (5);
--- what is watched may end before.
function tasks.watch(base, seconds)
  local due = base:gettime_monotonic "precise" + (seconds or 5) * t.slow
  base:timer(function(timer)
    if base:num_events() <= 1 then
      timer:close()
    elseif base:gettime_monotonic "precise" > due then
      timer:close()
      base:loopexit()           -- there may be an error callback
      error("the deadline has passed", 0)
    end
  end, "persist"):add(0.001)
  return base
end

--- A base with a deadline, for co.run(base, f).
function tasks.base(seconds)
  return tasks.watch(t.base(), seconds)
end

local function over(base, ok, ...)
  local left = not ok or base:num_events()
  base:close()
  if not ok then error((...), 0) end
  assert(left == 0, "events are left")
  return ...
end

--- Runs f as the first task of a base of its own. Returns what it returns, when
--- all tasks have ended, and nothing is left in the loop.
function tasks.play(f, ...)
  local base = tasks.base()
  return over(base, pcall(co.run, base, f, ...))
end

--- Runs f as the first task of co.run's own base, for so many seconds at most.
function tasks.within(seconds, f)
  co.run(function()
    local done = co.deadline(seconds * t.slow, function()
      f()
      return true
    end)
    assert(done, "the deadline has passed")
  end)
end

--- Of busted's 'it': one for what happens in a task.
function tasks.tells(it)
  return function(sentence, f)
    it(sentence, function() tasks.play(f) end)
  end
end

--- Runs f until it ends or raises: true or false, and what co.run says.
function tasks.try(f, ...)
  local base = tasks.base()
  local results = table.pack(pcall(co.run, base, f, ...))
  base:close()
  return table.unpack(results, 1, results.n)
end

--- Gives others a turn, so many times (3).
function tasks.turns(n)
  for _ = 1, n or 3 do co.sleep(0) end
end

--- Waits until f gives something true, and returns that.
function tasks.till(f)
  local result = f()
  while not result do
    co.sleep(0.002)
    result = f()
  end
  return result
end

--- Waits for what never comes.
function tasks.forever() co.channel():get() end

--- Two streams that are connected, by sockets of a pair, and the descriptors.
function tasks.ends()
  local one, two = assert(libevent.socketpair())
  return assert(co.stream(one)), assert(co.stream(two)), one, two
end

--- Of busted's 'it': one for two such streams, or those of 'pair', which f gets
--- in a task.
function tasks.joins(it, pair)
  return function(sentence, f)
    it(sentence, function()
      tasks.play(function()
        local a, b = (pair or tasks.ends)()
        f(a, b)
        a:close()
        b:close()
      end)
    end)
  end
end

--- A resolver whose server never answers, and that server.
function tasks.mute(base)
  local socket = assert(require "socket".udp())
  socket:setsockname("127.0.0.1", 0)
  local address = ("127.0.0.1:%d"):format(select(2, socket:getsockname()))
  return base:dns {nameservers = {address}, hosts = false, timeout = 30}, socket
end

--- A listener on a port of its own.
function tasks.listen(...) return assert(co.listen("127.0.0.1:0", ...)) end

--- Answers each line by the same.
function tasks.echo(stream)
  for line in stream:lines() do stream:write(line, "\n") end
end

--- Calls that read: a name, half of what is read, the rest, the call, and what
--- it returns; whether the end has to come, too.
tasks.readings = {
  {"bytes", "hal", "f-", function(s) return s:read(5) end, "half-"},
  {"a line", "hal", "f\n", function(s) return s:read "l" end, "half"},
  {"a whole line", "half\r", "\n", function(s) return s:read "L" end,
   "half\r\n"},
  {"all", "hal", "f", function(s) return s:read "a" end, "half", "at the end"},
  {"up to a delimiter", "half-", "-", function(s)
    return s:read_until "--"
  end, "half"},
  {"what comes", "", "half", function(s) return s:read_some() end, "half"},
  {"a line of an iterator", "hal", "f\n", function(s) return s:lines()(s) end,
   "half"},
  {"a chunk of an iterator", "", "half", function(s)
    return s:chunks()(s)
  end, "half"},
}

--- Says this, in pieces that come one by one, and then no more; unless the
--- stream is closed before.
function tasks.say(stream, ...)
  for _, piece in ipairs {...} do
    if not stream:write(piece) then return end
    tasks.turns()
  end
  stream:shutdown()
end

--- Writes as long as the peer takes it, up to 32 MiB: how much that was.
function tasks.fill(stream)
  local piece = ("0123456789abcdef"):rep(4096)
  local n = #piece
  stream:set_timeout(0.005)
  while n < 32 << 20 and stream:write(piece) do n = n + #piece end
  stream:set_timeout()
  return n
end

--- object:method(...) raises a message with these words in it.
function tasks.misuse(words, object, method, ...)
  local call = load("local o = ... return o:" .. method .. "(select(2, ...))")
  t.raises(words, call, object, ...)
end

--- The message that f raises.
function tasks.message(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

--- Is it nil, and this message?
function tasks.fails(words, result, message)
  assert.is_nil(result)
  assert.equal(words, message)
end

--- Notes all errors that are told where errors of callbacks go.
function tasks.errors(base)
  local list = {}
  base:set_error_cb(function(err) list[#list + 1] = err end)
  return list
end

--- The line of the caller.
function tasks.line() return debug.getinfo(2, "l").currentline end

--- Sends a signal to this process.
function tasks.kill(signal)
  local file <close> = assert(io.open "/proc/self/stat")
  os.execute(("kill -%s %d"):format(signal, file:read "n"))
end

--- A variable to be closed, which notes that it is.
function tasks.closes(list, name)
  return setmetatable({}, {__close = function() list[#list + 1] = name end})
end

return tasks
