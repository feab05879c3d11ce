--- An echo server on this library's tasks: one for each client.
---   lua5.4 tasks.lua PORT

local co = require "libevent.co"

local function serve(stream)
  while true do
    local data = stream:read_some()
    if not data then return end
    stream:write(data)
  end
end

co.run(function()
  assert(co.listen("127.0.0.1:" .. arg[#arg], serve, {backlog = 1024}))
  io.stdout:write "ready\n":flush()
end)
