-- A pair of unix datagram sockets: each write is one message, and arrives
-- whole or not at all. Descriptors alone, without a socket library.
--   lua5.4 examples/unix_datagram.lua [message...]
local libevent = require "libevent"
local base = libevent.base()

local left, right = assert(libevent.socketpair "dgram")

local answers = base:event(left, "read|persist", function(event)
  local message = libevent.buffer()
  assert(message:read(left))                    -- one datagram
  print("left got " .. tostring(message))
  if tostring(message) == "BYE" then event:del() end
end):add()

base:event(right, "read|persist", function(event)
  local message = libevent.buffer()
  assert(message:read(right))
  print("right got " .. tostring(message))
  libevent.buffer(tostring(message):upper()):write(right)
  if tostring(message) == "bye" then event:del() end
end):add()

local messages = #arg > 0 and arg or {"one", "two words"}
messages[#messages + 1] = "bye"
base:timer(function(timer)                      -- one every 10 ms
  libevent.buffer(table.remove(messages, 1)):write(left)
  if #messages == 0 then timer:del() end
end, "persist"):add(0.01)

base:dispatch()
answers:close()
libevent.closesocket(left)
libevent.closesocket(right)
