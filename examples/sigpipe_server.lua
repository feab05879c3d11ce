-- Writes twice to a peer that has shut down. The first write is answered by a
-- reset, the second one fails: an error like any other, for SIGPIPE does not
-- kill who has loaded libevent.
--   lua5.4 examples/sigpipe_server.lua [address]      (127.0.0.1:8888)
-- Try it: lua5.4 examples/sigpipe_client.lua
local libevent = require "libevent"

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:8888"
local base = libevent.base()

local function serve(_, conn, peer)
  local doing = "waiting for the end"
  local function report(what)
    print(("%s: %s: %s"):format(peer, doing, what))
  end

  conn:setcb(function() conn:input():drain() end, function()
    report "sent"
    if doing == "second write" then return conn:close() end
    base:timer(function()                        -- the reset takes its time
      doing = "second write"
      conn:write "second message\n"
    end):add(0.1)
  end, function(_, what, detail, errno)
    if what == "eof" then
      report "the peer has shut down"
      doing = "first write"
      conn:write "first message\n"
    else
      report(("%s (errno %d)"):format(detail, errno))
      conn:close()
    end
  end)
  conn:enable "read"
end

local listener, message = base:listener(address, serve)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
print("sigpipe server on " .. listener:sockname())
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
