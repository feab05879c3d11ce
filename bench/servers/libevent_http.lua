--- An HTTP server on this library: /hello, and /mebibyte out of DIRECTORY.
---   lua5.4 libevent_http.lua DIRECTORY PORT

local libevent = require "libevent"
local base = libevent.base()
local http = base:http {default_content_type = "text/plain"}

local file = arg[#arg - 1] .. "/mebibyte"

http:set_cb("/hello", function(req) req:send_reply(200, "OK", "hello") end)

http:set_cb("/mebibyte", function(req)
  local content <close> = assert(io.open(file, "rb"))
  req:send_reply(200, "OK", libevent.file_segment(content))
end)

assert(http:bind_socket("127.0.0.1:" .. arg[#arg], {backlog = 1024}))
io.stdout:write "ready\n":flush()
base:dispatch()
