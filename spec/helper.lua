--- What the specs share: loops with a deadline, callbacks that are counted,
--- child processes, and the check that a test leaves nothing alive.
---
---   local t = require "spec.helper"
---   before_each(t.start)
---   after_each(t.finish)
---
--- What is about time calls base:dispatch itself: each turn that t.run makes
--- begins with a fresh look at the clock.

local lfs = require "lfs"
local assert = require "luassert"
local libevent = require "libevent"
local listdescriptors = require "spec.descriptors"

local t = {}

local expected = {}                           -- {name, wanted, got} each
local alive = setmetatable({}, {__mode = "k"})  -- the bases of this test
local descriptors                             -- open when the test began

--- Valgrind, the sanitizers and collecting all the time make everything slower.
t.slow = (os.getenv "VALGRIND" or os.getenv "LD_PRELOAD"
          or os.getenv "LUA_INIT") and 10 or 1

--- Is this the build that reads and writes nothing past libevent?
t.plain = (os.getenv "BUILD" or ""):find "%-plain$" ~= nil

local function opendescriptors()
  return table.concat(listdescriptors(), " ")
end

--- Collects what tests that do not end with t.finish have left open.
function t.start()
  expected = {}
  if opendescriptors() ~= descriptors then
    collectgarbage() collectgarbage()
    descriptors = opendescriptors()
  end
end

--- Fails the test for callbacks that were missing, and for bases and
--- descriptors that outlive two collections.
function t.finish()
  local list = expected
  expected = {}
  collectgarbage() collectgarbage()
  for _, e in ipairs(list) do
    if e.got ~= e.wanted then
      error(("%s: %d calls expected, got %d"):format(e.name, e.wanted, e.got))
    end
  end
  local base = next(alive)
  alive = setmetatable({}, {__mode = "k"})
  if base then error("left alive: " .. tostring(base)) end
  local now = opendescriptors()
  if now ~= descriptors then
    error(("descriptors before: %s; after: %s"):format(descriptors, now))
  end
end

--- A base that the check at the end of the test knows.
function t.base(options)
  local base = assert(libevent.base(options))
  alive[base] = true
  return base
end

--- f, to be called exactly n times (1) before the test ends; without f a
--- function that only counts.
function t.expect(f, n, name)
  local info = debug.getinfo(2, "Sl")
  local e = {wanted = n or 1, got = 0,
             name = name or info.short_src .. ":" .. info.currentline}
  expected[#expected + 1] = e
  return function(...)
    e.got = e.got + 1
    if e.got > e.wanted then
      error(("%s: more than %d calls"):format(e.name, e.wanted), 2)
    end
    if f then return f(...) end
  end
end

--- A function that must not be called.
function t.never(name)
  return t.expect(nil, 0, name)
end

--- Runs the loop until nothing is left, it is told to stop, or the deadline
--- (5 seconds) passes, which is an error.
function t.run(base, seconds)
  local late = false
  local deadline = base:timer(function() late = true end)
  deadline:add((seconds or 5) * t.slow)
  repeat
    base:loop "once"
    local closed = tostring(base):match "closed"
    if late then error("the deadline has passed", 2) end
    if closed then return end
  until base:got_exit() or base:got_break() or base:num_events() <= 1
  deadline:close()
end

--- Runs the loop for some seconds.
function t.runfor(base, seconds)
  base:timer(function() base:loopexit() end):add(seconds)
  t.run(base)
end

--- Runs the loop until f says so.
function t.runtill(base, f)
  local late = false
  local timer = base:timer(function() late = true end):add(5 * t.slow)
  repeat base:loop "once" until late or f()
  timer:close()
  assert.is_false(late)
end

--- Is the descriptor open in this process?
function t.isopen(fd)
  return lfs.symlinkattributes(("/proc/self/fd/%d"):format(fd), "mode") ~= nil
end

t.O_NONBLOCK, t.O_CLOEXEC = tonumber("4000", 8), tonumber("2000000", 8)

--- The flags of an open descriptor, as Linux tells them.
function t.flagsof(fd)
  for line in io.lines(("/proc/self/fdinfo/%d"):format(fd)) do
    local flags = line:match "^flags:%s*(%d+)"
    if flags then return tonumber(flags, 8) end
  end
end

--- A path where nothing is yet.
function t.path()
  local name = os.tmpname()
  os.remove(name)
  return name
end

--- All that is in a file.
function t.contents(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

--- The kilobytes of a process (this one), "VmRSS", "VmSize" or "VmHWM".
function t.memory(what, pid)
  local status = t.contents(("/proc/%s/status"):format(pid or "self"))
  return tonumber(status:match(what .. ":%s*(%d+)"))
end

--- The bytes in use when garbage is collected, as malloc counts them; where it
--- does not, the process's, and how far they may be off.
function t.heap()
  collectgarbage() collectgarbage()
  local bytes = require "mallinfo"()
  if bytes then return bytes, 0 end
  return t.memory "VmRSS" << 10, 16 << 20       -- free places among them
end

--- Fails if there are more than 'most' bytes beside those of t.heap 'before':
--- not under valgrind and the like, which keep for a while what is freed.
function t.heapgrown(before, most)
  local now, off = t.heap()
  if t.slow == 1 and now - before > most + off then
    error(("%d bytes are in use, then %d"):format(before, now), 2)
  end
end

--- A buffer in which every piece is a chain of its own.
function t.chained(...)
  local b = libevent.buffer()
  for _, piece in ipairs {...} do b:add(libevent.buffer(piece)) end
  return b
end

--- Is the object closed?
function t.isclosed(object)
  return tostring(object):match "^libevent%.%a+ %(closed%)$" ~= nil
end

--- f raises a message with these words in it.
function t.raises(words, f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(words, message, 1, true)
end

--- The same, and the message begins with the place, in the file of f.
function t.blames(words, f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  assert.equal(debug.getinfo(f, "S").short_src, message:match "^(.-):%d+: ")
  assert.matches(words, message, 1, true)
end

--- A refusal by the system: nil, a message and this errno.
function t.refused(errno, ...)
  local result, message, number = ...
  assert.is_nil(result)
  assert.is_string(message)
  assert.equal(errno, number)
end

--- Turns of the loop, without waiting, as long as the base is open.
function t.turns(base, n)
  for _ = 1, n or 1 do
    if tostring(base):match "closed" then return end
    base:loop "nonblock"
  end
end

--- The turns of the loop in some seconds: few where nothing happens.
function t.countturns(base, seconds)
  local n, over = 0, false
  base:timer(function() over = true end):add(seconds)
  repeat
    base:loop "once"
    n = n + 1
  until over
  return n
end

--- A string of n bytes, n a multiple of 8, in which no two places look alike.
function t.pattern(n)
  local list = {}
  for i = 1, n // 8 do list[i] = ("%08x"):format(i) end
  return table.concat(list)
end

--- An event callback that is expected n times and keeps its arguments.
function t.events(n)
  local list = {}
  return list, t.expect(function(_, ...) list[#list + 1] = {...} end, n)
end

--- The bytes that arrive at 'bev' until its end, in list.data; it is closed
--- then, when it has sent all.
function t.collect(bev)
  local list = {}
  bev:setcb(function(b) list[#list + 1] = b:read() end, nil,
    t.expect(function(b, what, detail)
      assert(what == "eof" and detail == "reading", what)
      list.data = table.concat(list) .. b:read()
      b:close_after_flush()
    end))
  bev:enable "read"
  return list
end

--- Writes a file, a new one if no path is given; returns the path.
function t.write(text, path)
  path = path or os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

--- Runs 'code' in 'program': all that it printed, and its exit status (128 + n
--- for a signal n, 124 after 20 seconds).
local function execute(program, code)
  local path = t.write(code)
  local pipe = io.popen(("timeout %d %s %s 2>&1; echo \"status $?\""):format(
    20 * t.slow, program, path))
  local output = pipe:read "a"
  pipe:close()
  os.remove(path)
  local text, status = output:match "^(.*)status (%d+)\n$"
  return text, tonumber(status)
end

--- The same in an interpreter of its own...
function t.lua(code)
  return execute(os.getenv "LUA" or "lua5.4", code)
end

--- ...and in a host program of spec/c; one that 'loses' memory, as it must, is
--- not told of it by valgrind.
function t.host(name, code, loses)
  local valgrind = os.getenv "VALGRIND" or ""
  if loses and valgrind ~= "" then valgrind = valgrind .. " --leak-check=no" end
  return execute(("%s %s/%s"):format(valgrind, os.getenv "BUILD", name), code)
end

--- A listener on a free port of 127.0.0.1 and a bufferevent connected to it:
--- both ends are given to f(server, client) when the two are connected.
function t.connected(base, f)
  local server, client, listener
  local function go()
    if server and client then
      listener:close()
      f(server, client)
    end
  end
  listener = assert(base:listener("127.0.0.1:0", function(_, conn)
    server = conn
    go()
  end))
  local bev = base:bufferevent()
  bev:setcb(nil, nil, function(b, what)
    assert(what == "connected", what)
    client = b
    go()
  end)
  assert(bev:connect(listener:sockname()))
end

return t
