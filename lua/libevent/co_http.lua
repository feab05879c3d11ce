--- libevent.co_http: HTTP in straight lines, what libevent.co has as co.http.
---
---     local response = assert(co.http.get "http://127.0.0.1:8080/")
---
---     co.http.serve("127.0.0.1:8080", function(req)
---       co.sleep(1)
---       req:send_reply(200, nil, "at last")
---     end)

local client = require "libevent.co_http_client"
local server = require "libevent.co_http_server"

---@class libevent.co.http
local http = {get = client.get, request = client.request, serve = server.serve}

return http
