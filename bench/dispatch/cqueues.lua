--- Coroutines of cqueues that wait for descriptors that stay readable.
---   lua5.4 cqueues.lua DESCRIPTORS CALLBACKS

local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local n, left = math.tointeger(arg[1]), math.tointeger(arg[2])
local loop = cqueues.new()

local function wait(readable)
  while left > 0 do
    cqueues.poll(readable)
    left = left - 1
  end
end

for _ = 1, n do
  local a, b = socket.pair()
  b:setmode("bn", "bn")
  b:write "x"
  loop:wrap(function() wait({pollfd = a:pollfd(), events = "r"}, b) end)
end
assert(loop:loop())
assert(left <= 0)
