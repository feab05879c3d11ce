--- An echo server on lua-eco: a coroutine for each client.
---   eco eco.lua PORT

local eco = require "eco"
local socket = require "eco.socket"

local function serve(client)
  while true do
    local data = client:read(65536)
    if not data or not client:send(data) then break end
  end
  client:close()
end

local server = assert(socket.listen_tcp("127.0.0.1",
  math.tointeger(arg[#arg]),
  {reuseaddr = true, backlog = 1024, tcp_nodelay = true}))
io.stdout:write "ready\n":flush()
while true do
  local client = assert(server:accept())
  client:setoption("tcp_nodelay", true)
  eco.run(serve, client)
end
