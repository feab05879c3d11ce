-- Message server with bufferevents: an event accepts, and each connection
-- becomes a bufferevent. The listening socket is LuaSocket's.
--   lua5.4 examples/bufferevent_server.lua [address]      (127.0.0.1:9999)
-- Try it: nc 127.0.0.1 9999, or lua5.4 examples/bufferevent_client.lua
local libevent = require "libevent"
local socket = require "socket"

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9999"
local base = libevent.base()

local function serve(fd)
  local name = ("client %d"):format(fd)
  local conn = base:bufferevent(fd)

  local function answer(line)
    print(name .. " says: " .. line)
    conn:write("I have received the msg: ", line, "\n")
  end

  local function close(why)
    print(name .. ": " .. why)
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
  print(name .. " accepted")
  conn:enable "read"
end

local host, port = address:match "^(.*):(%d+)$"
local server, message = socket.bind(host, port, 511)
if not server then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
server:settimeout(0)                             -- the peer may be gone again
base:event(server, "read|persist", function(event)
  local sock, refusal = server:accept()
  if sock then
    local fd = sock:getfd()
    sock:setfd(-1)                               -- the bufferevent closes it
    return serve(fd)
  end
  if refusal == "timeout" then return end
  -- Out of descriptors the socket stays readable: wait for one to be closed.
  print("cannot accept: " .. refusal)
  event:del()
  base:timer(function() event:add() end):add(0.1)
end):add()
print(("message server on %s:%d"):format(server:getsockname()))
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
