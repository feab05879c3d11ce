-- HTTPS server: what a server of HTTP needs for TLS is a context. SIGHUP has it
-- read its certificate again, for connections from then on.
--   lua5.4 examples/https_server.lua [address [folder]]
--                                    (127.0.0.1:8443, certificates)
-- Try it: lua5.4 examples/certificates.lua, start this one, and then
--   curl --cacert certificates/ca.pem https://localhost:8443/
local libevent = require "libevent"
local tls = require "libevent.tls"

local address = arg[1] or "127.0.0.1:8443"
local folder = arg[2] or "certificates"
local context = tls.context {
  role = "server", certificate = folder .. "/localhost.pem",
  alpn = {"http/1.1"},
}
local base = libevent.base()
local http = base:http {tls = context, default_content_type = "text/plain"}

local headers = {             -- browsers heed them
  ["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'",
  ["X-Content-Type-Options"] = "nosniff",
  ["X-Frame-Options"] = "DENY",
  ["Referrer-Policy"] = "no-referrer",
}

http:set_cb("/", function(req)
  req:send_reply(200, "OK", "nobody else has read this\n", headers)
end)

local listener, message = http:bind_socket(address)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
io.stdout:setvbuf "line"
base:signal("HUP", function()
  local ok, why = context:reload()
  print(ok and "the certificate is read again" or why)
end):add()
base:signal("INT", function() base:loopexit() end):add()
base:signal("TERM", function()
  http:stop(function() base:loopexit() end)
end):add()
print("https server on " .. listener:sockname())
base:dispatch()
