-- Back ends: the ways to wait for events that this libevent has, and the one
-- that it takes here.
--   lua5.4 examples/methods.lua
-- Try it: EVENT_NOEPOLL=1 lua5.4 examples/methods.lua
local libevent = require "libevent"
local base = libevent.base()

print("libevent " .. libevent.version() .. " has these back ends:")
for _, name in ipairs(libevent.methods()) do print("  " .. name) end
print("in use: " .. base:method() .. " (" .. base:features() .. ")")
