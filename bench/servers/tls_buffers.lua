--- An echo server on TLS and this library: what has come is moved, not copied.
---   lua5.4 tls_buffers.lua CERTIFICATE PORT

local libevent = require "libevent"
local tls = require "libevent.tls"
local base = libevent.base()
local context = tls.context {role = "server", certificate = arg[#arg - 1]}

local function echo(conn) conn:write(conn:input()) end

assert(base:listener("127.0.0.1:" .. arg[#arg], function(_, conn)
  conn:setcb(echo):enable "read"
end, {backlog = 1024, tls = context}))
io.stdout:write "ready\n":flush()
base:dispatch()
