-- Message server with a listener: it accepts, and hands each connection over
-- as a bufferevent.
--   lua5.4 examples/message_server.lua [address]      (127.0.0.1:9999)
-- Try it: nc 127.0.0.1 9999, or lua5.4 examples/message_client.lua
local libevent = require "libevent"

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9999"
local base = libevent.base()

local function serve(_, conn, peer)
  local function answer(line)
    print(peer .. " says: " .. line)
    conn:write("I have received the msg: ", line, "\n")
  end

  local function close(why)
    print(peer .. ": " .. why)
    conn:close_after_flush()
  end

  conn:setcb(function()
    local line, toolong
    repeat
      line, toolong = conn:input():readln("crlf", 4096)
      if line then answer(line) end
    until not line
    if toolong then return close(toolong) end
    if #conn:output() > 2^20 then conn:disable "read" end  -- back-pressure...
  end, function() conn:enable "read" end,                  -- ...until sent
  function(_, what, detail)
    if what ~= "eof" then return close(detail) end
    if #conn:input() > 0 then answer(conn:read()) end
    close "connection closed"
  end)
  print(peer .. " accepted")
  conn:enable "read"
end

local listener, message = base:listener(address, serve)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
print("message server on " .. listener:sockname())
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
