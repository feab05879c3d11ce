-- Message client with a bufferevent: a connected socket of LuaSocket's becomes
-- one. What is typed goes into its output; the event for that is closed when
-- the connection ends.
--   lua5.4 examples/bufferevent_client.lua [address]      (127.0.0.1:9999)
-- Try it: start examples/bufferevent_server.lua, and type here
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
local conn = base:bufferevent(sock)

-- Once each time: what is typed next waits until the server has taken this.
local typing = base:event(io.stdin, "read", function()
  local count, why = conn:output():read(io.stdin)
  if not count then fail("cannot read standard input: ", why) end
  if count == 0 then conn:shutdown "write" end   -- the answers still come
end)

conn:setcb(function()
  for line in function() return conn:input():readln() end do
    print("server says: " .. line)
  end
end, function() typing:add() end, function(_, what, detail)
  if what ~= "eof" then fail("connection lost: ", detail) end
  if #conn:input() > 0 then print("server says: " .. conn:read()) end
  print "connection closed"
  typing:close()
  conn:close()
  base:loopexit()                                -- the signals keep it alive
end)

conn:enable "read"
typing:add()
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
