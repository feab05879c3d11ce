-- UDP echo server: LuaSocket makes the socket and moves the datagrams, the
-- event says when. Any object with a method getfd can be watched so.
--   lua5.4 examples/udp_echo_server.lua [address [port]]   (127.0.0.1 9999)
-- Try it: nc -u 127.0.0.1 9999
local libevent = require "libevent"
local socket = require "socket"

local udp = assert(socket.udp4())
assert(udp:setsockname(arg[1] or "127.0.0.1", arg[2] or 9999))
udp:settimeout(0)                               -- an event is no promise

local base = libevent.base()
base:event(udp, "read|persist", function()
  repeat                                        -- all that have come
    local datagram, host, port = udp:receivefrom()
    if datagram then udp:sendto(datagram, host, port) end
  until not datagram
end):add()

io.stdout:setvbuf "line"
print(("UDP echo server on %s:%d"):format(udp:getsockname()))
base:signal("INT", function() base:loopexit() end):add()
base:signal("TERM", function() base:loopexit() end):add()
base:dispatch()
