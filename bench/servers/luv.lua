--- An echo server on luv.
---   lua5.4 luv.lua write|try_write PORT
--- try_write costs no request, but the kernel may not take all of it: the rest
--- is left to write.

local uv = require "luv"

local how, port = arg[#arg - 1], math.tointeger(arg[#arg])

local function write(client, data) client:write(data) end

local function try_write(client, data)
  local sent, _, name = client:try_write(data)
  if not sent and name ~= "EAGAIN" then
    client:close()
  elseif sent ~= #data then
    client:write(data:sub((sent or 0) + 1))
  end
end

local echo = how == "try_write" and try_write or write

local server = uv.new_tcp()
assert(server:bind("127.0.0.1", port))
assert(server:listen(1024, function()
  local client = uv.new_tcp()
  server:accept(client)
  client:nodelay(true)
  client:read_start(function(_, data)
    if data then echo(client, data) else client:close() end
  end)
end))
io.stdout:write "ready\n":flush()
uv.run()
