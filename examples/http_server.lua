-- HTTP server: a callback for each path, a timeout for those who dawdle, and
-- 404 for whatever else is asked. SIGTERM lets requests in progress end.
--   lua5.4 examples/http_server.lua [address]      (127.0.0.1:8081)
-- Try it: curl http://127.0.0.1:8081/hello/get
--   curl -d 'some words' http://127.0.0.1:8081/hello/post
local libevent = require "libevent"

local base = libevent.base()
local http = base:http {default_content_type = "text/plain; charset=utf-8"}
http:set_timeout(5)

-- Calls f for this method (and for HEAD, if it is GET), refuses others.
local function only(method, f)
  return function(req)
    local command = req:command()
    if command == method or command == "HEAD" and method == "GET" then
      return f(req)
    end
    req:send_reply(405, nil, "only " .. method .. " here\n", {Allow = method})
  end
end

http:set_cb("/hello/get", only("GET", function(req)
  req:send_reply(200, "OK", "hello\n")
end))

http:set_cb("/hello/post", only("POST", function(req)
  local body = req:body()
  req:send_reply(200, "OK", ("hello, %d bytes: %s\n"):format(#body, body))
end))

local address = arg[1] or "127.0.0.1:8081"
local listener, message = http:bind_socket(address)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
io.stdout:setvbuf "line"
base:signal("INT", function() base:loopexit() end):add()
base:signal("TERM", function()
  http:stop(function() base:loopexit() end)
end):add()
print("http server on " .. listener:sockname())
base:dispatch()
