-- TLS proxy: takes TLS off before a server that knows nothing of it. Clients
-- speak TLS with this one, which passes on what they say in the clear.
--   lua5.4 examples/tls_proxy.lua [listen [target [folder]]]
--                          (127.0.0.1:9443, 127.0.0.1:9999, certificates)
-- Try it with the echo server: lua5.4 examples/certificates.lua
--   lua5.4 examples/echo_server.lua &
--   lua5.4 examples/tls_proxy.lua, and then examples/tls_echo_client.lua
local libevent = require "libevent"
local tls = require "libevent.tls"

local target = arg[2] or "127.0.0.1:9999"
local folder = arg[3] or "certificates"
local context = tls.context {
  role = "server", certificate = folder .. "/localhost.pem",
}
local base = libevent.base()

local function done(_, _, what, detail)
  if what ~= "eof" then print("ended: " .. what .. ", " .. detail) end
end

-- Nobody bothers the server who cannot shake hands.
local function join(client)
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

local function accept(_, client)
  client:setcb(nil, nil, function(_, what, detail)
    if what == "connected" then return join(client) end
    print("ended: " .. what .. ", " .. detail)
    client:close()
  end)
end

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9443"
local listener, message = base:listener(address, accept, {tls = context})
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("tls proxy on " .. listener:sockname() .. " for " .. target)
base:dispatch()
