--- Poll handles of luv on descriptors that stay readable.
---   lua5.4 luv.lua DESCRIPTORS CALLBACKS

local uv = require "luv"

local n, left = math.tointeger(arg[1]), math.tointeger(arg[2])

local function readable()
  left = left - 1
  if left == 0 then uv.stop() end
end

for _ = 1, n do
  local pair = uv.socketpair()
  uv.fs_write(pair[2], "x")
  uv.new_poll(pair[1]):start("r", readable)
end
uv.run()
assert(left <= 0)
