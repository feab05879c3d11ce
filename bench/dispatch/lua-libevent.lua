--- Events of this library on descriptors that stay readable.
---   lua5.4 lua-libevent.lua DESCRIPTORS CALLBACKS

local libevent = require "libevent"

local n, left = math.tointeger(arg[1]), math.tointeger(arg[2])
local base = libevent.base()

local function readable()
  left = left - 1
  if left == 0 then base:loopbreak() end
end

local byte = libevent.buffer()
for _ = 1, n do
  local a, b = libevent.socketpair()
  byte:add("x"):write(b)
  base:event(a, "read|persist", readable):add()
end
base:dispatch()
assert(left == 0)
