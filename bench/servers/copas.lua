--- An echo server on copas: a coroutine for each client, over select().
---   lua5.4 copas.lua PORT

local copas = require "bench.copas"
local socket = require "socket"

local function serve(client)
  client:setoption("tcp-nodelay", true)
  while true do
    local data, why, part = copas.receivePartial(client, 65536)
    data = data or part
    if why == "closed" or not copas.send(client, data) then return end
  end
end

copas.addserver(assert(socket.bind("127.0.0.1", arg[#arg], 1024)), serve, 0)
io.stdout:write "ready\n":flush()
copas.loop()
