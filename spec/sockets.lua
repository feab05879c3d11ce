--- Peers that are not ours: LuaSocket's sockets, on the loopback. They wait
--- five seconds for what is to come.

local libevent = require "libevent"
local socket = require "socket"
local t = require "spec.helper"

local sockets = {}

--- A connection to a port.
function sockets.dial(port)
  local sock = assert(socket.connect("127.0.0.1", port))
  sock:settimeout(5 * t.slow)
  return sock
end

--- A server and its port. No child process inherits it.
function sockets.listen()
  local server = assert(socket.bind("127.0.0.1", 0))
  assert(libevent.make_socket_closeonexec(server))
  server:settimeout(5 * t.slow)
  return server, math.tointeger(select(2, server:getsockname()))
end

--- A port that nothing listens on.
function sockets.unused()
  local server, port = sockets.listen()
  server:close()
  return port
end

--- Both ends of a connection.
function sockets.pair()
  local server, port = sockets.listen()
  local sock = sockets.dial(port)
  local accepted = assert(server:accept())
  server:close()
  return sock, accepted
end

--- Leaves without a word, by a reset.
function sockets.vanish(sock)
  assert(sock:setoption("linger", {on = true, timeout = 0}))
  sock:close()
end

return sockets
