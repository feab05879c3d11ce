-- Client with a certificate of its own, and what it hears if it has none.
--   lua5.4 examples/mutual_tls_client.lua [port [folder [name]]]
--                                         (9444, certificates, alice)
-- Try it: start examples/mutual_tls_server.lua first, and then this one; with
--   the name "" it shows no certificate, and is refused
local libevent = require "libevent"
local tls = require "libevent.tls"

local port = tonumber(arg[1] or 9444)
local folder, name = arg[2] or "certificates", arg[3] or "alice"
local context = tls.context {
  trust = folder .. "/ca.pem",
  certificate = name ~= "" and folder .. "/" .. name .. ".pem" or nil,
}
local base = libevent.base()
local server = base:bufferevent(nil, {tls = context})
local failed = false

server:setcb(nil, nil, function(_, what, detail)
  if what == "connected" then return end         -- not yet by the server: with
  if what == "eof" then                          -- TLS 1.3 it looks afterwards
    io.write(server:read())
  else
    io.stderr:write(detail, "\n")
    failed = true
  end
  server:close()
end)
server:enable "read"
server:connect_hostname("localhost", port)
base:dispatch()
os.exit(not failed, true)
