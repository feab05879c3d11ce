-- Echo server: whatever a client sends comes back, byte for byte.
--   lua5.4 examples/echo_server.lua [address]      (127.0.0.1:9999)
-- Try it:  nc 127.0.0.1 9999
-- A client that sends without reading fills only LIMIT bytes here: until it
-- has read them all, nothing more is read from it (back-pressure).
local libevent = require "libevent"
local LIMIT = 1 << 20

local base = libevent.base()
local listener = assert(base:listener(arg[1] or "127.0.0.1:9999", function(_, conn)
  conn:setcb(function(c)
    c:write(c:input())
    if #c:output() > LIMIT then c:disable("read") end
  end, function(c) c:enable("read") end)
  conn:enable("read")
end))
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("echo server on " .. listener:sockname())
base:dispatch()
