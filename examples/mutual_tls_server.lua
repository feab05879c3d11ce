-- Server for those whom it knows: each client has to have a certificate that
-- the authority has signed, and is called by the name in it.
--   lua5.4 examples/mutual_tls_server.lua [address [folder]]
--                                         (127.0.0.1:9444, certificates)
-- Try it: lua5.4 examples/certificates.lua, start this one, and then
--   lua5.4 examples/mutual_tls_client.lua, or
--   openssl s_client -connect localhost:9444 -CAfile certificates/ca.pem \
--     -cert certificates/alice.pem
local libevent = require "libevent"
local tls = require "libevent.tls"

local folder = arg[2] or "certificates"
local context = tls.context {
  role = "server", certificate = folder .. "/localhost.pem",
  verify = "required", trust = folder .. "/ca.pem",
}
local base = libevent.base()

local function serve(_, conn, peer)
  conn:setcb(nil, nil, function(c, what, detail)
    if what == "connected" then
      local name = c:tls().peer.subject:match "CN=([^,]+)"
      print(peer .. " is " .. name)
      c:write("hello, ", name, "\n")
    elseif what == "error" then
      print(peer .. ": " .. detail)
    end
    c:close_after_flush()
  end)
  conn:enable "read"
end

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9444"
local listener, message = base:listener(address, serve, {tls = context})
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("mutual tls server on " .. listener:sockname())
base:dispatch()
