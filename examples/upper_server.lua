-- Upper-case server: answers what a client sends in upper case, and reports
-- each answer that is sent.
--   lua5.4 examples/upper_server.lua [address]      (127.0.0.1:10086)
-- Try it: nc 127.0.0.1 10086, or lua5.4 examples/upper_client.lua
local libevent = require "libevent"

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:10086"
local base = libevent.base()

local function serve(_, conn, peer)
  print(peer .. " has come")
  conn:setcb(function(c)
    c:write(c:read():upper())
    c:disable "read"                     -- who does not take the answer waits
  end, function(c)
    print("answer sent to " .. peer)
    c:enable "read"
  end)
  conn:enable "read"
end

local listener, message = base:listener(address, serve)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("upper-case server on " .. listener:sockname())
base:dispatch()
