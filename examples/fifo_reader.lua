-- Reads a FIFO: prints in upper case what is written to it, says when the
-- writer is gone, and stays for the next one. Needs luaposix.
--   lua5.4 examples/fifo_reader.lua [path]      (myfifo)
-- Try it: echo hello >myfifo
local libevent = require "libevent"
local fcntl = require "posix.fcntl"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

io.stdout:setvbuf "no"                           -- half a line is shown too
local path = arg[1] or "myfifo"
local base = libevent.base()
local input = libevent.buffer()

local function fail(message)
  io.stderr:write(message, "\n")
  os.exit(1)
end

local function isfifo()
  local found = stat.stat(path)
  return found and stat.S_ISFIFO(found.st_mode) ~= 0
end

local function watch()
  local fd, message = fcntl.open(path, fcntl.O_RDONLY | fcntl.O_NONBLOCK)
  if not fd then fail(message) end
  base:event(fd, "read|persist", function(event)
    if input:read(fd) ~= 0 then
      io.write(input:remove():upper())
    else
      -- A FIFO at its end stays readable: only a descriptor that is new waits
      -- again. The old one goes last, so that no writer ever meets no reader.
      print "the writer is gone, waiting for the next one"
      event:close()
      watch()
      unistd.close(fd)
    end
  end):add()
end

-- One that is left over from an earlier run will do.
local made, message = stat.mkfifo(path, tonumber("644", 8))
if not made and not isfifo() then fail(message) end
watch()
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("reading " .. path .. ", try: echo hello >" .. path)
base:dispatch()
if isfifo() then os.remove(path) end
