--- An echo server on this library's callbacks, with a coroutine of Lua's for
--- each client: the least that straight lines can cost.
---   lua5.4 coroutines.lua PORT

local libevent = require "libevent"
local base = libevent.base()
local coroutines = {}

local function serve(conn)
  while true do conn:write(coroutine.yield()) end
end

local function onread(conn) coroutine.resume(coroutines[conn], conn:read()) end

assert(base:listener("127.0.0.1:" .. arg[#arg], function(_, conn)
  coroutines[conn] = coroutine.create(serve)
  coroutine.resume(coroutines[conn], conn)
  conn:setcb(onread, nil, function(closed)
    coroutines[closed] = nil
    closed:close()
  end):enable "read"
end, {backlog = 1024}))
io.stdout:write "ready\n":flush()
base:dispatch()
