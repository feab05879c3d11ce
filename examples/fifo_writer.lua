-- Writes a FIFO: sends what is typed to its reader. A FIFO can be full, so
-- that reading and writing take turns: a write event waits until the reader
-- has made room, and only then the next lines are read. Needs luaposix.
--   lua5.4 examples/fifo_writer.lua [path]      (myfifo)
-- Try it: lua5.4 examples/fifo_reader.lua in another terminal first
local libevent = require "libevent"
local fcntl = require "posix.fcntl"
local stat = require "posix.sys.stat"

local path = arg[1] or "myfifo"

local function fail(message)
  io.stderr:write(message, "\n")
  os.exit(1)
end

local found = stat.stat(path)
if not found or stat.S_ISFIFO(found.st_mode) == 0 then
  fail("there is no FIFO " .. path .. ", start the reader first")
end
-- Without O_NONBLOCK this would wait for a reader, and so would each write.
local fifo, message = fcntl.open(path, fcntl.O_WRONLY | fcntl.O_NONBLOCK)
if not fifo then fail("no reader: " .. message) end

local base = libevent.base {features = "fds"}            -- stdin can be a file
local buffer = libevent.buffer()
local reading, writing

reading = base:event(io.stdin, "read", function()
  local count, why = buffer:read(io.stdin)
  if not count then fail("standard input: " .. why) end
  if count > 0 then writing:add() else base:loopexit() end
end)

writing = base:event(fifo, "write", function()
  local _, _, err = buffer:write(fifo)
  if err == 32 then fail("the reader of " .. path .. " is gone") end   -- EPIPE
  if #buffer > 0 then writing:add() else reading:add() end
end)

reading:add()
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
