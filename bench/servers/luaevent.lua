--- An echo server on luaevent's events, with LuaSocket's sockets.
---   lua5.4 luaevent.lua PORT
--- An event is deleted when its object is collected: two tables hold them. One
--- that changes from reading to writing would have a timeout of 0 afterwards,
--- so there is one for each.

local core = require "luaevent.core"
local socket = require "socket"

local READ, WRITE, LEAVE = core.EV_READ, core.EV_WRITE, core.LEAVE
local base = core.new()
local reading, writing = {}, {}         -- luacheck: ignore 241

local function finish(client)
  reading[client], writing[client] = nil, nil
  client:close()
  return LEAVE
end

local function serve(client)
  local onreadable, rest, from
  local function onwritable()
    local sent, why, last = client:send(rest, from)
    if not sent and why ~= "timeout" then return finish(client) end
    if not sent then from = last + 1 return end
    rest = nil
    reading[client] = base:addevent(client, READ, onreadable)
    return LEAVE
  end
  function onreadable()
    local data, why, part = client:receive(65536)
    if why == "closed" then return finish(client) end
    local sent, failure, last = client:send(data or part)
    if sent then return end
    if failure ~= "timeout" then return finish(client) end
    rest, from = data or part, last + 1
    writing[client] = base:addevent(client, WRITE, onwritable)
    return LEAVE
  end
  reading[client] = base:addevent(client, READ, onreadable)
end

local server = assert(socket.bind("127.0.0.1", arg[#arg], 1024))
server:settimeout(0)
reading[server] = base:addevent(server, READ, function()
  local client = server:accept()
  if not client then return end
  client:settimeout(0)
  client:setoption("tcp-nodelay", true)
  serve(client)
end)
io.stdout:write "ready\n":flush()
base:loop()
