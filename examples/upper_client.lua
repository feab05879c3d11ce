-- Upper-case client: sends what is typed and prints the answers, until the
-- server goes away, or standard input ends and the last answer has come.
--   lua5.4 examples/upper_client.lua [address]      (127.0.0.1:10086)
-- Try it: lua5.4 examples/upper_server.lua in another terminal first
local libevent = require "libevent"

io.stdout:setvbuf "no"                           -- half a line is shown too
local address = arg[1] or "127.0.0.1:10086"

local function fail(...)
  io.stderr:write(...)
  io.stderr:write "\n"
  os.exit(1)
end

local base = libevent.base {features = "fds"}            -- stdin can be a file
local server = base:bufferevent()
local ended = false

-- Once at a time: the next lines are read when these have been sent.
local typed = base:event(io.stdin, "read", function()
  local lines = libevent.buffer()
  local count, message = lines:read(io.stdin)
  if not count then fail("standard input: ", message) end
  if count > 0 then
    server:write(lines)
  else
    ended = true
    server:shutdown()                    -- the server answers what is left
  end
end)

server:setcb(function()
  io.write(server:read())
end, function()
  typed:add()
end, function(_, what, detail)
  if what == "connected" then
    typed:add()
  elseif what == "eof" and ended then
    base:loopexit()
  elseif what == "eof" then
    fail("the server is gone")
  else
    fail("no connection to ", address, ": ", detail)
  end
end)
server:enable "read"
local connecting, message = server:connect(address)
if not connecting then fail("no connection to ", address, ": ", message) end

for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
