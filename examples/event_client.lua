-- Message client with bare events: one waits for what is typed, one for what
-- the server says, one for the socket to take more.
--   lua5.4 examples/event_client.lua [address]      (127.0.0.1:9999)
-- Try it: start examples/event_server.lua, and type here
local libevent = require "libevent"
local socket = require "socket"

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9999"

local function fail(...)
  io.stderr:write(...)
  io.stderr:write "\n"
  os.exit(1)
end

local host, port = address:match "^(.*):(%d+)$"
local sock, message = socket.connect(host, port)
if not sock then fail("cannot connect to ", address, ": ", message) end
print("connected to " .. address)

local base = libevent.base {features = "fds"}    -- stdin may be a file
local input, output = libevent.buffer(), libevent.buffer()
local typing, writing

-- Nothing is read from stdin before the socket has taken what came before.
typing = base:event(io.stdin, "read", function()
  local count, why = output:read(io.stdin)
  if not count then fail("cannot read standard input: ", why) end
  if count > 0 then
    writing:add()
  else
    sock:shutdown "send"                         -- the answers still come
  end
end)

writing = base:event(sock, "write", function()
  local count, why = output:write(sock)
  if not count then fail("connection lost: ", why) end
  if #output > 0 then writing:add() else typing:add() end
end)

base:event(sock, "read|persist", function()
  local count, why = input:read(sock)
  if not count then fail("connection lost: ", why) end
  for line in function() return input:readln() end do
    print("server says: " .. line)
  end
  if count == 0 then
    if #input > 0 then print("server says: " .. input:remove()) end
    print "connection closed"
    base:loopexit()
  end
end):add()

typing:add()
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
