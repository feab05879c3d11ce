--- An echo server on copas: a coroutine for each client, over select().
---   lua5.4 copas.lua PORT
--- Debian's copas is installed for Lua 5.1 and 5.2 only; all of it is Lua, and
--- runs on 5.4 as well.

package.path = package.path .. ";/usr/share/lua/5.2/?.lua"

local copas = require "copas"
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
