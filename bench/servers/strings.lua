--- An echo server on this library: what has come, as a string.
---   lua5.4 strings.lua PORT

local libevent = require "libevent"
local base = libevent.base()

local function echo(conn) conn:write(conn:read()) end

assert(base:listener("127.0.0.1:" .. arg[#arg], function(_, conn)
  conn:setcb(echo):enable "read"
end, {backlog = 1024}))
io.stdout:write "ready\n":flush()
base:dispatch()
