-- Message client that connects through its bufferevent, and is told when it is
-- connected: nothing ever blocks.
--   lua5.4 examples/message_client.lua [address]      (127.0.0.1:9999)
-- Try it: start examples/message_server.lua, and type here
local libevent = require "libevent"

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9999"

local function fail(...)
  io.stderr:write(...)
  io.stderr:write "\n"
  os.exit(1)
end

local base = libevent.base {features = "fds"}    -- stdin may be a file
local conn = base:bufferevent()

-- Once each time: what is typed next waits until the server has taken this.
local typing = base:event(io.stdin, "read", function()
  local count, why = conn:output():read(io.stdin)
  if not count then fail("cannot read standard input: ", why) end
  if count == 0 then conn:shutdown "write" end   -- the answers still come
end)

local connected = false
conn:setcb(function()
  for line in function() return conn:input():readln() end do
    print("server says: " .. line)
  end
end, function() typing:add() end, function(_, what, detail)
  if what == "connected" then
    connected = true
    print("connected to " .. address)
    typing:add()
  elseif what == "eof" then
    if #conn:input() > 0 then print("server says: " .. conn:read()) end
    print "connection closed"
    base:loopexit()
  elseif connected then
    fail("connection lost: ", detail)
  else
    fail("cannot connect to ", address, ": ", detail)
  end
end)

conn:enable "read"
local _, message = conn:connect(address)
if message then fail("cannot connect to ", address, ": ", message) end
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
