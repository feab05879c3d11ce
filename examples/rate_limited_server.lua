-- Downloads at a limited rate: each client gets so many bytes a second, and
-- all of them together no more than a second number.
--   lua5.4 examples/rate_limited_server.lua [bytes [each [all [address]]]]
--                             (1000000, 200000, 500000, 127.0.0.1:9999)
-- Try it: time nc -d 127.0.0.1 9999 | wc -c
local libevent = require "libevent"

local size = math.tointeger(arg[1] or 1000000)
local each = math.tointeger(arg[2] or 200000)
local all = math.tointeger(arg[3] or 500000)
local base = libevent.base()
local group = base:rate_limit_group {write = all}
local data = ("x"):rep(size)                    -- one string for all clients

local function serve(_, conn, peer)
  local start = libevent.gettime_monotonic()
  conn:set_rate_limit {write = each}
  conn:add_to_rate_limit_group(group)
  conn:setcb(nil, function(c)
    local seconds = libevent.gettime_monotonic() - start
    print(("%s: %.0f bytes a second"):format(peer, size / seconds))
    c:close_after_flush()
  end)
  conn:write(data)
end
local listener = assert(base:listener(arg[4] or "127.0.0.1:9999", serve))

io.stdout:setvbuf "line"
local function stop()
  local _, written = group:totals()
  print(written .. " bytes sent")
  base:loopexit()
end
base:signal("INT", stop):add()
base:signal("TERM", stop):add()
print(("%d bytes a second for each client, %d for all, on %s")
      :format(each, all, listener:sockname()))
base:dispatch()
