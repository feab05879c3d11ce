-- Echo server: whatever a client sends comes back, byte for byte.
--   lua5.4 examples/echo_server.lua [address]      (127.0.0.1:9999)
-- Try it: nc 127.0.0.1 9999
local libevent = require "libevent"
local base = libevent.base()

local function serve(_, conn)
  conn:setcb(function(c)
    c:write(c:input())                                   -- moved, not copied
    if #c:output() > 2^20 then c:disable "read" end      -- back-pressure...
  end, function(c) c:enable "read" end)                  -- ...until it is sent
  conn:enable "read"
end
local listener = assert(base:listener(arg[1] or "127.0.0.1:9999", serve))
local address = listener:sockname()
local host = address:gsub("^unix:", "-U "):gsub(":(%d+)$", " %1")
io.stdout:write("echo server on ", address, ", try: nc ", host, "\n"):flush()
base:signal("INT", function() base:loopexit() end):add()
base:dispatch()
