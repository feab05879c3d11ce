--- What the scenarios of spec/torture have: a base, a loop that ends, and
--- buffers that are looked after. spec/torture_spec.lua tells how they run.
---
--- A file of scenarios returns a list of {name, run [, check]}. run(s) is where
--- memory ends: what it raises then is the library's word for that. check(s)
--- is called afterwards, with memory for all.

local libevent = require "libevent"

local PATIENCE = os.getenv "VALGRIND" and 5 or 1

local torture = {}

local Scenario = {}
Scenario.__index = Scenario

--- Runs the loop until done() says so: without memory the script may never
--- hear of it, but the loop ends.
function Scenario:run(done)
  local over = false
  local deadline = self.base:gettime_monotonic() + PATIENCE
  repeat
    if over then error "the deadline has passed" end
    self.base:loopexit(PATIENCE)                -- of this turn
    self.base:loop "once"
    over = self.base:got_exit() or self.base:got_break()
           or self.base:gettime_monotonic() > deadline
  until done()
end

--- A timer that is added, or an error.
function Scenario:timer(cb, seconds, what)
  return assert(self.base:timer(cb, what):add(seconds))
end

--- The buffers that a call of Scenario:try changes as it should, or not at all.
function Scenario:watch(...)
  self.watched = {...}
end

local function passed(s, ...)
  s.before = false
  return ...
end

--- object:method(...), and if it fails, the buffers are compared afterwards.
function Scenario:try(object, method, ...)
  local before = {}
  for i, buffer in ipairs(self.watched) do before[i] = tostring(buffer) end
  self.before = before
  return passed(self, object[method](object, ...))
end

local function compare(s)
  for i, was in ipairs(s.before or {}) do
    local is = tostring(s.watched[i])
    assert(is == was, ("buffer %d had %d bytes and has %d"):format(i, #was,
                                                                   #is))
  end
end

--- An event callback: an error ends the loop. Without one the bufferevent would
--- close itself.
function Scenario.onevent(_, what, message)
  if what == "error" then error(message, 0) end
end

--- Two connected ends: what was accepted, and what has connected.
function Scenario:connected()
  local server
  local listener <close> = assert(self.base:listener("127.0.0.1:0",
    function(_, conn) server = conn end))
  local client, up = self.base:bufferevent(), false
  client:setcb(nil, nil, function(...)
    self.onevent(...)
    up = true
  end)
  assert(client:connect(listener:sockname()))
  self:run(function() return up and server end)
  server:setcb(nil, nil, self.onevent)
  return server, client:setcb(nil, nil, self.onevent)
end

local function isopen(object)
  return object and not tostring(object):find "%(closed%)$"
end

--- A new base works, and the old one if it is open. On that, something may
--- come to its end only now, and raise.
local function works(base)
  local done = false
  base:timer(function() done = true end):add(0)
  for _ = 1, 5 do pcall(base.loop, base, "nonblock") end
  assert(done, "the base is of no use")
end

--- What the host runs: the scenario, and what comes after it.
function torture.prepare(scenario)
  local s = setmetatable({base = false, watched = false, before = false,
                          fd = false, fd2 = false}, Scenario)
  local name, run, check = table.unpack(scenario)
  assert(name and run)
  return function()
    s.base = assert(libevent.base())
    run(s)
  end, function()
    compare(s)
    if s.fd then libevent.closesocket(s.fd) end
    if s.fd2 then libevent.closesocket(s.fd2) end
    if check then check(s) end
    if isopen(s.base) then
      collectgarbage()
      for _ = 1, 12 do                          -- what is left may raise
        pcall(s.base.loop, s.base, "nonblock")
      end
      if isopen(s.base) then works(s.base:set_error_cb()) end
      s.base:close()
    end
    local base = assert(libevent.base())
    works(base)
    base:close()
  end
end

return torture
