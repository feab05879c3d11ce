-- File server: sends a whole file to each client. The system takes the bytes
-- from the file to the socket: they never are in this program's memory.
--   lua5.4 examples/file_server.lua path [address]     (127.0.0.1:9999)
-- Try it: nc 127.0.0.1 9999 > copy
local libevent = require "libevent"

local path = assert(arg[1], "which file?")
local base = libevent.base()

local function serve(_, conn, peer)
  local file, message = io.open(path, "rb")
  if not file then
    print(message)
    return conn:close()
  end
  local start = libevent.gettime_monotonic()
  local size = #assert(conn:output():add_file(file))
  file:close()                                      -- the buffer has its own
  conn:setcb(nil, function(c)
    local seconds = libevent.gettime_monotonic() - start
    print(("%s: %d bytes in %.3f seconds"):format(peer, size, seconds))
    c:close_after_flush()
  end, function(c, what, detail)
    print(peer .. ": " .. what .. ", " .. detail)
    c:close()
  end)
  conn:set_timeouts(nil, 60)                        -- takes it, or is given up
end

local listener = assert(base:listener(arg[2] or "127.0.0.1:9999", serve))
io.stdout:setvbuf "line"
print("serving " .. path .. " on " .. listener:sockname())
base:signal("INT", function() base:loopexit() end):add()
base:signal("TERM", function() base:loopexit() end):add()
base:dispatch()
