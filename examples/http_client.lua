-- HTTP client: prints what a URL answers as it comes, after redirects; with -i
-- the head, too. Data after the URL is sent to it by POST.
--   lua5.4 examples/http_client.lua [-i] url [data]
-- Try it with any server: lua5.4 examples/http_client.lua -i \
--   http://127.0.0.1:8080/
local http = require "libevent.http"
local libevent = require "libevent"

local first = arg[1] == "-i" and 2 or 1
local url, data = arg[first], arg[first + 1]
if not url then
  io.stderr:write "usage: http_client.lua [-i] url [data]\n"
  os.exit(1)
end
local base = libevent.base()
local failed = false

local function head(_, response)
  if first == 1 then return end
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

http.request(base, url, {body = data, header_cb = head, chunked_cb = body},
             done)
base:dispatch()
os.exit(not failed, true)
