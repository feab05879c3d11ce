-- HTTP client: prints what a URL answers as it comes, after redirects; with -i
-- the head, too. Data after the URL is sent to it by POST. For https the server
-- has to be who it says it is, to those whom the system trusts, or to those in
-- the file behind --cacert.
--   lua5.4 examples/http_client.lua [-i] [--cacert file] url [data]
-- Try it with any server: lua5.4 examples/http_client.lua -i \
--   http://127.0.0.1:8080/
-- and with examples/https_server.lua: lua5.4 examples/http_client.lua \
--   --cacert certificates/ca.pem https://localhost:8443/
local http = require "libevent.http"
local libevent = require "libevent"

local showhead, trust
local first = 1
while arg[first] == "-i" or arg[first] == "--cacert" do
  if arg[first] == "-i" then
    showhead = true
  else
    first = first + 1
    trust = arg[first]
  end
  first = first + 1
end
local url, data = arg[first], arg[first + 1]
if not url then
  io.stderr:write "usage: http_client.lua [-i] [--cacert file] url [data]\n"
  os.exit(1)
end
local context = trust and require "libevent.tls".context {trust = trust}
local base = libevent.base()
local failed = false

local function head(_, response)
  if not showhead then return end
  print(response.url)
  print(response.status .. " " .. response.reason)
  for _, pair in ipairs(response.headers) do
    print(pair[1] .. ": " .. pair[2])
  end
  print()
end

local function body(_, piece)
  if piece then io.write(piece) end
end

local function done(response, message)
  if response then return end
  io.stderr:write(message, "\n")
  failed = true
end

http.request(base, url, {
  body = data, header_cb = head, chunked_cb = body, tls = context,
}, done)
base:dispatch()
os.exit(not failed, true)
