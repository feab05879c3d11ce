-- TCP proxy: joins each client to a connection of its own to another server.
-- Half-closed connections stay open the other way; a side that reads slowly
-- slows the other one down, and is given up after a minute.
--   lua5.4 examples/tcp_proxy.lua [listen [target]]
--                                 (127.0.0.1:8888, 127.0.0.1:9999)
-- Try it with the echo server: lua5.4 examples/echo_server.lua &
--   nc 127.0.0.1 8888
local libevent = require "libevent"

local target = arg[2] or "127.0.0.1:9999"
local base = libevent.base()

local function done(_, _, what, detail)
  if what ~= "eof" then print("ended: " .. what .. ", " .. detail) end
end

local function join(_, client)
  local server = base:bufferevent()
  local ok, message = server:connect(target)
  if not ok then
    print(target .. ": " .. message)
    return client:close()
  end
  client:set_timeouts(nil, 60)
  server:set_timeouts(nil, 60)
  libevent.relay(client, server, done)
end

local listener = assert(base:listener(arg[1] or "127.0.0.1:8888", join))
print("proxy on " .. listener:sockname() .. " for " .. target)
io.stdout:setvbuf "line"
base:signal("INT", function() base:loopexit() end):add()
base:signal("TERM", function() base:loopexit() end):add()
base:dispatch()
