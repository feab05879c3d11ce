-- Message server with bare events: one accepts; of each connection, one waits
-- to read and one to write, in turns. The sockets are LuaSocket's.
--   lua5.4 examples/event_server.lua [address]      (127.0.0.1:9999)
-- Try it: nc 127.0.0.1 9999, or lua5.4 examples/event_client.lua
local libevent = require "libevent"
local socket = require "socket"

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:9999"
local base = libevent.base()

local function serve(sock)
  local name = ("client %d"):format(sock:getfd())
  local input, output = libevent.buffer(), libevent.buffer()
  local reading, writing
  local ended                                    -- why nothing more is read

  local function answer(line)
    print(name .. " says: " .. line)
    output:add("I have received the msg: ", line, "\n")
  end

  local function close(why)
    print(name .. ": " .. why)
    reading:close()                              -- before their descriptor
    writing:close()
    sock:close()
  end

  -- Who does not take the answers is not read: nothing piles up here.
  local function go_on()
    if #output > 0 then
      writing:add()
    elseif ended then
      close(ended)
    else
      reading:add()
    end
  end

  reading = base:event(sock, "read", function()
    local count, message = input:read(sock)
    if not count then return close(message) end
    local line, toolong
    repeat
      line, toolong = input:readln("crlf", 4096)
      if line then answer(line) end
    until not line
    ended = toolong or count == 0 and "connection closed"
    if count == 0 and #input > 0 then answer(input:remove()) end
    go_on()
  end)

  writing = base:event(sock, "write", function()
    local count, message = output:write(sock)
    if not count then return close(message) end
    go_on()
  end)

  print(name .. " accepted")
  reading:add()
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
  if sock then return serve(sock) end
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
