--- Events of luaevent on descriptors that stay readable.
---   lua5.4 luaevent.lua DESCRIPTORS CALLBACKS
--- LuaSocket has no socket pairs: each socket holds a datagram of its own.

local core = require "luaevent.core"
local socket = require "socket"

local n, left = math.tointeger(arg[1]), math.tointeger(arg[2])
local base = core.new()
local events = {}               -- luacheck: ignore 241

local function readable()
  left = left - 1
  if left == 0 then base:loopexit() end
end

for _ = 1, n do
  local udp = socket.udp()
  udp:setsockname("127.0.0.1", 0)
  udp:sendto("x", udp:getsockname())
  events[udp] = base:addevent(udp, core.EV_READ, readable)
end
base:loop()
assert(left <= 0)
