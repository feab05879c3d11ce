--- An echo server on cqueues: a coroutine for each client.
---   lua5.4 cqueues.lua PORT

local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local function tell(_, _, why) return why end   -- instead of raising it

local function serve(client)
  client:setmode("bn", "bn")
  client:onerror(tell)
  for data in client:lines(-65536) do
    if not client:write(data) then break end
  end
  client:close()
end

local server = socket.listen {
  host = "127.0.0.1", port = math.tointeger(arg[#arg]), reuseaddr = true,
}
assert(server:listen())
local loop = cqueues.new()
loop:wrap(function()
  for client in server:clients {nodelay = true} do loop:wrap(serve, client) end
end)
io.stdout:write "ready\n":flush()
assert(loop:loop())
