-- Server-sent events: a page that shows the server's clock, in as many browsers
-- as look at it. Each answer goes on until its client leaves.
--   lua5.4 examples/events_page.lua [address [seconds]]   (127.0.0.1:8081, 1)
-- Try it: open http://127.0.0.1:8081/ in two windows, or
--   curl -N http://127.0.0.1:8081/events
local libevent = require "libevent"

local PAGE = [[
<!DOCTYPE html>
<meta charset="utf-8">
<title>Clock</title>
<h1 id="time">...</h1>
<p><span id="count">0</span> looking, <span id="state">connecting</span></p>
<script>
const show = (id, text) => document.getElementById(id).textContent = text
const events = new EventSource("/events")     // connects again by itself
events.onopen = () => show("state", "connected")
events.onerror = () => show("state", "connecting")
events.onmessage = event => {
  const {time, count} = JSON.parse(event.data)
  show("time", time)
  show("count", count)
}
</script>
]]

local base = libevent.base()
local http = base:http()
local clients, count = {}, 0          -- true: has taken all that it was sent

-- Sends an event to all; who has not taken the one before yet misses it.
local function tell()
  local text = ('data: {"time": "%s", "count": %d}\n\n'):format(
    os.date "%H:%M:%S", count)
  for req, ready in pairs(clients) do
    if ready then
      clients[req] = false
      req:send_reply_chunk(text, function() clients[req] = true end)
    end
  end
end

local function join(req)
  local peer = req:peername()
  req:send_reply_start(200, nil, {["Content-Type"] = "text/event-stream",
                                  ["Cache-Control"] = "no-store"})
  clients[req], count = true, count + 1
  req:set_closecb(function(_, what)
    clients[req], count = nil, count - 1
    print(("%s has left (%s), %d looking"):format(peer, what, count))
    req:close()
    tell()
  end)
  print(("%s is here, %d looking"):format(peer, count))
  tell()
end

http:set_cb("/", function(req) req:send_reply(200, nil, PAGE) end)
http:set_cb("/events", join)

local address = arg[1] or "127.0.0.1:8081"
local listener, message = http:bind_socket(address)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
io.stdout:setvbuf "line"
base:timer(tell, "persist"):add(tonumber(arg[2] or 1))
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("clock on " .. listener:sockname())
base:dispatch()
