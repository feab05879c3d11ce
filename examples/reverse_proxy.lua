-- Reverse proxy: hands each request on to a backend, and the answer back. Both
-- bodies go through piece by piece, each no faster than it is taken; a backend
-- that does not answer is a 502 or a 504.
--   lua5.4 examples/reverse_proxy.lua [listen [backend]]
--                                     (127.0.0.1:8080, 127.0.0.1:8000)
-- Try it: python3 -m http.server 8000 & curl http://127.0.0.1:8080/
local libevent = require "libevent"

local host, port = (arg[2] or "127.0.0.1:8000"):match "^%[?(.-)%]?:(%d+)$"
local base = libevent.base()
local idle = {}                         -- connections to the backend

-- Fields that are about one connection, not about what goes through it.
local HOP = {}
for name in ([[connection keep-alive proxy-connection te trailer
               transfer-encoding upgrade expect]]):gmatch "%S+" do
  HOP[name] = true
end

local function through(headers)
  local own, list = {}, {}
  for _, pair in ipairs(headers) do
    if pair[1] == "connection" then
      for name in pair[2]:lower():gmatch "[^%s,]+" do own[name] = true end
    end
  end
  for _, pair in ipairs(headers) do
    if not HOP[pair[1]] and not own[pair[1]] then list[#list + 1] = pair end
  end
  return list
end

-- The client's fields, and where it is.
local function forwarded(req)
  local list, before = {}, ""
  for _, pair in ipairs(through(req:headers())) do
    if pair[1] == "x-forwarded-for" then before = before .. pair[2] .. ", "
    else list[#list + 1] = pair end
  end
  local client = req:peername():gsub(":%d+$", ""):gsub("[%[%]]", "")
  list[#list + 1] = {"x-forwarded-for", before .. client}
  return list
end

-- From one side to the other, which says when it can take the next piece.
local function pass(from, send, data)
  from:pause()
  send(data, function() from:resume() end)
end

local function handle(req)
  local conn = table.remove(idle) or base:http_connection(host, tonumber(port))
  local length = req:find_header "content-length"
  local uploading = length and length ~= "0"
                    or req:find_header "transfer-encoding"
  local answered = false

  local function upload(up)
    req:set_chunked_cb(function(_, data)
      uploading = data ~= nil
      if not uploading then return up:send_end() end
      pass(req, function(...) up:send_chunk(...) end, data)
    end)
  end

  local function head(up)
    answered = true
    req:send_reply_start(up:response_code(), up:response_code_line(),
                         through(up:headers()))
  end

  local function download(up, data)
    if not data then return end
    pass(up, function(...) req:send_reply_chunk(...) end, data)
  end

  local function done(up, message)
    idle[#idle + 1] = conn
    if up then
      req:send_reply_end()
    elseif answered then
      req:close()                       -- half of an answer is none
    else
      req:send_error(message:find "timed out" and 504 or 502)
    end
  end

  local up = conn:make_request(req:command(),
    req:uri():gsub("^%a+://[^/?]*", ""):gsub("^%f[?\0]", "/"),
    {headers = forwarded(req), stream = uploading and upload or nil,
     header_cb = head, chunked_cb = download}, done)
  req:set_closecb(function(_, what)
    if what ~= "eof" or uploading then up:close() end   -- nobody waits for it
  end)
end

local server = base:http {max_body_size = false, default_content_type = false}
server:set_gencb(handle, {stream = true})
local listener = assert(server:bind_socket(arg[1] or "127.0.0.1:8080"))
print(("reverse proxy on %s for %s:%s"):format(listener:sockname(), host, port))
io.stdout:setvbuf "line"
base:signal("INT", function() base:loopexit() end):add()
base:signal("TERM", function() base:loopexit() end):add()
base:dispatch()
