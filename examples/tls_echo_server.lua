-- TLS echo server: the echo server, with TLS on each connection. All that is
-- different is the context, and "connected" when a handshake is done.
--   lua5.4 examples/tls_echo_server.lua [address [folder]]
--                                       (127.0.0.1:9443, certificates)
-- Try it: lua5.4 examples/certificates.lua, start this one, and then
--   lua5.4 examples/tls_echo_client.lua, or
--   openssl s_client -connect localhost:9443 -CAfile certificates/ca.pem
local libevent = require "libevent"
local tls = require "libevent.tls"

local folder = arg[2] or "certificates"
local context = tls.context {
  role = "server", certificate = folder .. "/localhost.pem",
}
local base = libevent.base()

local function serve(_, conn, peer)
  conn:setcb(function(c)
    c:write(c:input())
    if #c:output() > 2^20 then c:disable "read" end      -- back-pressure...
  end, function(c) c:enable "read" end,                  -- ...until it is sent
  function(c, what, detail)
    if what == "connected" then
      local session = c:tls()
      print(peer .. ": " .. session.version .. ", " .. session.cipher)
    else
      print(peer .. ": " .. (what == "error" and detail or what))
      c:close_after_flush()
    end
  end)
  conn:enable "read"
end

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9443"
local listener, message = base:listener(address, serve, {tls = context})
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("tls echo server on " .. listener:sockname())
base:dispatch()
