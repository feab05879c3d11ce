-- Two listeners on one port: refused without "reuseable_port"; with it Linux
-- spreads the connections over both. Mostly each has a process of its own.
--   lua5.4 examples/reusable_ports.lua [address]      (127.0.0.1:9999)
local libevent = require "libevent"
local base = libevent.base()
local address = arg[1] or "127.0.0.1:9999"
local CONNECTIONS = 50
local accepted = {0, 0}

local function listen(i, flags)
  return base:listener(address, function(_, conn)
    conn:close()
    accepted[i] = accepted[i] + 1
    if accepted[1] + accepted[2] == CONNECTIONS then base:loopexit() end
  end, {flags = flags})
end

local function must(listener, message)
  if listener then return listener end
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end

local first = must(listen(1, "reuseable_port"))
address = first:sockname()
print("first listener, with reuseable_port: on " .. address)

local second, refusal = listen(2)
print("second listener, without: " .. (second and "on " .. address or refusal))
second = must(listen(2, "reuseable_port"))
print("second listener, with it: on " .. second:sockname())

for _ = 1, CONNECTIONS do
  local client = base:bufferevent()
  assert(client:connect(address))
  client:enable "read"       -- sees the end, and closes itself
end
base:dispatch()
print(("%d connections: %d to the first, %d to the second"):format(CONNECTIONS,
  accepted[1], accepted[2]))
