-- Urgent data: the kernel tells of it by SIGURG, before it can be read, and
-- delivers it in its place in the stream. Needs luaposix.
--   lua5.4 examples/urgent_server.lua [address]      (127.0.0.1:9999)
-- Try it (sending urgent data takes a flag that Lua's libraries do not have):
--   perl -MIO::Socket -e '$s = IO::Socket::INET->new("127.0.0.1:9999"); <$s>;
--   $s->send("slow "); $s->send("!", MSG_OOB); $s->send("more")'
local libevent = require "libevent"
local EAGAIN = require "posix.errno".EAGAIN
local fcntl = require "posix.fcntl"
local poll = require "posix.poll".poll
local psocket = require "posix.sys.socket"
local unistd = require "posix.unistd"

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9999"
local base = libevent.base {priorities = 2}
local input = libevent.buffer()

local function serve(_, conn, peer)
  local fd = conn:detach()               -- reading is done by hand here
  local fds = {[fd] = {events = {PRI = true}}}
  local function ahead()                 -- is there urgent data to be read?
    local ready
    repeat ready = poll(fds, 0) until ready      -- SIGURG may interrupt it
    return ready > 0 and fds[fd].revents.PRI
  end

  assert(fcntl.fcntl(fd, fcntl.F_SETOWN, unistd.getpid()))
  assert(psocket.setsockopt(fd, psocket.SOL_SOCKET, psocket.SO_OOBINLINE, 1))
  -- A read ends before the urgent byte, or begins with it.
  base:event(fd, "read|persist", function(event)
    local before = ahead()
    local count, message, errno = input:read(fd)
    if errno == EAGAIN then return end   -- interrupted: the event comes again
    if count and count > 0 then
      if before and not ahead() then
        print(("%s urgent: %q"):format(peer, input:remove(1)))
      end
      if #input > 0 then
        print(("%s: %q"):format(peer, input:remove()))
      end
    else
      print(peer .. ": " .. (message or "connection closed"))
      event:close()
      unistd.close(fd)
    end
  end):add()
  libevent.buffer("ready\n"):write(fd)   -- what came earlier was no signal
end

local listener, message = base:listener(address, serve)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
print("urgent server on " .. listener:sockname())
base:signal("URG", function()
  print "SIGURG: urgent data is coming"
end):priority_set(0):add()                       -- ahead of all reading
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
