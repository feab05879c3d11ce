-- Connects, shuts the connection down at once, and is gone: what the server
-- then writes finds nobody.
--   lua5.4 examples/sigpipe_client.lua [address]      (127.0.0.1:8888)
-- Try it: start examples/sigpipe_server.lua first
local libevent = require "libevent"

local address = arg[1] or "127.0.0.1:8888"
local base = libevent.base()

local function fail(message)
  io.stderr:write("cannot connect to ", address, ": ", message, "\n")
  os.exit(1)
end

local conn = base:bufferevent()
conn:setcb(nil, nil, function(_, what, message)
  if what ~= "connected" then fail(message) end
  print("connected to " .. address)
  conn:shutdown "read|write"
  print "shut down both directions"
  base:loopexit()
end)
local _, message = conn:connect(address)
if message then fail(message) end
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
