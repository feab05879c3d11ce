-- HTTP server with one callback for all requests: it answers with what it has
-- been asked, and prints a line for each request.
--   lua5.4 examples/http_gencb.lua [address]      (127.0.0.1:8081)
-- Try it: curl -d 'some words' 'http://127.0.0.1:8081/a%20path?key=value'
local libevent = require "libevent"

local base = libevent.base()
local http = base:http {default_content_type = "text/plain; charset=utf-8"}

http:set_gencb(function(req)
  local lines = {
    "method: " .. req:command(),
    "path: " .. req:path(),
    "version: " .. req:version(),
  }
  for _, pair in ipairs(req:query()) do
    lines[#lines + 1] = ("query: %s = %s"):format(pair[1], pair[2])
  end
  for _, pair in ipairs(req:headers()) do
    lines[#lines + 1] = ("header: %s: %s"):format(pair[1], pair[2])
  end
  lines[#lines + 1] = "\n" .. req:body()
  print(("%s: %s %s"):format(req:peername(), req:command(), req:uri()))
  req:send_reply(200, "OK", table.concat(lines, "\n"))
end)

local address = arg[1] or "127.0.0.1:8081"
local listener, message = http:bind_socket(address)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
io.stdout:setvbuf "line"
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("http server on " .. listener:sockname())
base:dispatch()
