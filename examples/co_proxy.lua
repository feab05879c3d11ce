-- TCP proxy, as tcp_proxy.lua is, in straight lines: two tasks for each client,
-- of which each writes to one side what it reads from the other. Half-closed
-- connections stay open the other way; a side that reads slowly slows the other
-- one down.
--   lua5.4 examples/co_proxy.lua [listen [target]]
--                                (127.0.0.1:8888, 127.0.0.1:9999)
-- Try it with the echo server: lua5.4 examples/co_echo_server.lua &
--   nc 127.0.0.1 8888
local co = require "libevent.co"

local target = arg[2] or "127.0.0.1:9999"

local function pass(from, to)
  for data in from:chunks() do
    if not to:write(data) then break end
  end
  to:shutdown()
end

local function join(client)
  local server <close>, message = co.connect(target, {timeout = 10})
  if not server then return print(target .. ": " .. message) end
  local back = co.spawn(pass, server, client)
  pass(client, server)
  back:join()
end

io.stdout:setvbuf "line"
co.run(function()
  local listener = assert(co.listen(arg[1] or "127.0.0.1:8888", join))
  print("proxy on " .. listener:sockname() .. " for " .. target)
  co.signal "INT"
  co.base():loopexit()
end)
