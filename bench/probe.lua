--- A client with little to do, and how long it waits for its answers.
---   lua5.4 bench/probe.lua 127.0.0.1:port
--- Sends 64 bytes to an echo server every ten milliseconds, and prints a line
--- every ten seconds: the median of the waits, their 99th percentile and the
--- longest one, in milliseconds. Ends when the server closes.

local libevent = require "libevent"

local base = libevent.base()
local client = assert(base:bufferevent():connect(arg[1]))
local waits, sent = {}, nil

local function clock() return libevent.gettime_monotonic "precise" end

client:setcb(function(c)
  if #c:input() < 64 then return end
  c:input():drain()
  waits[#waits + 1] = (clock() - sent) * 1000
  sent = nil
end, nil, function(_, what)
  if what ~= "connected" then os.exit(what == "eof", true) end
end):enable "read"

base:timer(function()
  if sent then return end
  sent = clock()
  client:write(("x"):rep(64))
end, "persist"):add(0.01)

base:timer(function()
  table.sort(waits)
  local function at(part) return waits[math.ceil(#waits * part)] or 0 / 0 end
  print(("%.2f %.2f %.2f"):format(at(0.5), at(0.99), at(1)))
  io.stdout:flush()
  waits = {}
end, "persist"):add(10)

base:dispatch()
