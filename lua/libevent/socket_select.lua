--- libevent.socket_select: LuaSocket's select, for any objects with a getfd.
---
--- It looks at descriptors, as LuaSocket does, and first at what is received
--- already. That the loop reads from a stream's meanwhile does not matter: what
--- comes is told of all the same.

local co = require "libevent.co"
local waits = require "libevent.socket_wait"

--- Calls a method that an object may have.
local function ask(object, name)
  local ok, method = pcall(function() return object[name] end)
  return ok and method and method(object)
end

--- The objects of a list: those that are ready already go into 'ready', and the
--- others with their descriptors into 'watched'.
local function sort(list, what, ready, watched)
  for _, object in ipairs(list or {}) do
    local fd = math.tointeger(ask(object, "getfd"))
    if fd and fd >= 0 then
      if what == "read" and ask(object, "dirty") then
        ready[#ready + 1] = object
      else
        watched[#watched + 1] = {object = object, fd = fd, what = what}
      end
    end
  end
end

--- Watches descriptors: when one is ready, and all others that are too have
--- told so, it is done.
local function watch(watched, done)
  local events, base, timer = {}, co.base(), nil
  local function stop()
    for _, event in ipairs(events) do event:close() end
    if timer then timer:close() end
  end
  timer = base:timer(function()
    stop()
    done()
  end)
  for _, one in ipairs(watched) do
    local event = base:event(one.fd, one.what, function()
      one.ready = true
      timer:add(0)
    end)
    events[#events + 1] = event
    if not event:add() then one.ready = true end    -- a file on disk
    if one.ready then timer:add(0) end
  end
  return stop
end

--- Numbers of the objects under themselves, too.
local function associate(list)
  for i, object in ipairs(list) do list[object] = i end
  return list
end

--- Waits until some of the sockets of a list can be received from, or some of
--- another list can be sent to: returns lists of these; and "timeout" if there
--- is none after so many seconds.
local function select(receivers, senders, seconds)
  for i, list in ipairs {receivers or {}, senders or {}} do
    if type(list) ~= "table" then
      error(("bad argument #%d to 'select' (table expected, got %s)"):format(
        i, type(list)), 2)
    end
  end
  seconds = waits.number(seconds, -1, 3, "select")
  waits.intask "select"
  local ready, watched = {read = {}, write = {}}, {}
  sort(receivers, "read", ready.read, watched)
  sort(senders, "write", ready.write, watched)
  if #ready.read > 0 then seconds = 0 end
  co.await(function(done) return watch(watched, done) end,
           seconds >= 0 and seconds or nil)
  for _, one in ipairs(watched) do
    if one.ready then table.insert(ready[one.what], one.object) end
  end
  local late = #ready.read + #ready.write == 0
  return associate(ready.read), associate(ready.write),
         late and "timeout" or nil
end

return select
