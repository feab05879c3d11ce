-- Two names on one address: SNI, the name that a client asks for, chooses the
-- certificate, and the header Host whose pages it gets.
--   lua5.4 examples/sni_server.lua [address [folder]]
--                                  (127.0.0.1:8444, certificates)
-- Try it: lua5.4 examples/certificates.lua, start this one, and then
--   curl --cacert certificates/ca.pem https://one.localhost:8444/
--   curl --cacert certificates/ca.pem https://two.localhost:8444/
local libevent = require "libevent"
local tls = require "libevent.tls"

local folder = arg[2] or "certificates"

-- The one that answers those who ask for another name, or for none, has the
-- others' contexts.
local function context(name, names)
  return tls.context {
    role = "server", certificate = folder .. "/" .. name .. ".pem",
    names = names,
  }
end

local base = libevent.base()
local http = base:http {tls = context("localhost", {
  ["one.localhost"] = context "one.localhost",
  ["two.localhost"] = context "two.localhost",
})}
http:set_gencb(function(req)
  req:send_reply(200, nil, "neither of the two\n")
end)
for _, name in ipairs {"one.localhost", "two.localhost"} do
  local vhost = base:http()
  vhost:set_gencb(function(req)
    req:send_reply(200, nil, "this is " .. name .. "\n")
  end)
  http:add_virtual_host(name, vhost)
end

local address = arg[1] or "127.0.0.1:8444"
local listener, message = http:bind_socket(address)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
io.stdout:setvbuf "line"
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("sni server on " .. listener:sockname())
base:dispatch()
