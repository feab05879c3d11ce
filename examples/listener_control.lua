-- A listener that is disabled, enabled and given another callback while it
-- runs. The clients are in this process too; the second one has to wait.
--   lua5.4 examples/listener_control.lua [address]      (127.0.0.1:9999)
local libevent = require "libevent"

io.stdout:setvbuf "line"
local base = libevent.base()
local address = arg[1] or "127.0.0.1:9999"

local function greet(text)
  return function(_, conn) conn:write(text, "\n"):close_after_flush() end
end
local listener, message = base:listener(address, greet "good morning")
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
address = listener:sockname()
print("listening on " .. address)

local function client(name, done)
  local bev = base:bufferevent()
  bev:setcb(function(b)
    local line = b:input():readln()
    if line then
      print(("%s client hears: %s"):format(name, line))
      b:close()
      done()
    end
  end, nil, function(_, what)
    print(("%s client: %s"):format(name, what))
  end)
  assert(bev:connect(address))
  bev:enable "read"
end

client("first", function()
  print "disabled: the system still connects, but nobody accepts"
  listener:disable()
  client("second", function()
    print "another callback"
    listener:set_cb(greet "good evening")
    client("third", function() listener:close() end)
  end)
  base:once(nil, "timeout", function()
    print "enabled"
    listener:enable()
  end, 0.2)
end)
base:dispatch()
