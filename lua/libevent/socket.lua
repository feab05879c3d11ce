--- libevent.socket: LuaSocket's API for tasks. What waits there waits here for
--- the loop, while others run.
---
---     local socket = require "libevent.socket".install()
---     local http = require "socket.http"          -- LuaSocket's own, as it is
---
---     co.run(function()
---       for _, url in ipairs(urls) do
---         co.spawn(function() print(url, select(2, http.request(url))) end)
---       end
---     end)
---
--- LuaSocket itself must be there: its sockets bind, listen, connect and send
--- datagrams, and all that it has in Lua is used as it is.

local co = require "libevent.co"
local dns = require "libevent.socket_dns"
local luasocket = require "socket.core"
local tcp = require "libevent.socket_tcp"
local udp = require "libevent.socket_udp"
local waits = require "libevent.socket_wait"

--- In the place of "socket.core": what LuaSocket has in C.
---@class libevent.socket
local core = {
  _VERSION = luasocket._VERSION,
  _SETSIZE = luasocket._SETSIZE, _SOCKETINVALID = luasocket._SOCKETINVALID,
  _DATAGRAMSIZE = luasocket._DATAGRAMSIZE,
  tcp = tcp.tcp, tcp4 = tcp.tcp4, tcp6 = tcp.tcp6, connect = tcp.connect,
  udp = udp.udp, udp4 = udp.udp4, udp6 = udp.udp6,
  select = require "libevent.socket_select",
  gettime = luasocket.gettime, skip = luasocket.skip,
  dns = {
    toip = dns.toip, tohostname = dns.tohostname,
    getaddrinfo = dns.getaddrinfo, getnameinfo = dns.getnameinfo,
    gethostname = dns.gethostname,
  },
}

function core.__unload() end

--- Waits so many seconds.
function core.sleep(seconds)
  seconds = waits.number(seconds, nil, 1, "sleep")
  waits.intask "sleep"
  co.sleep(math.max(seconds, 0))
end

-- {==== Exceptions ====
-- In Lua, so that finalizers can wait, too.

local Exception = {__metatable = false}

--- A function that returns its arguments, if the first of them is true; else it
--- calls the finalizer and raises the second one, for `protect`.
function core.newtry(finalizer)
  return function(ok, message, ...)
    if ok then return ok, message, ... end
    if finalizer then finalizer() end
    error(setmetatable({message}, Exception), 0)
  end
end

local function result(ok, first, ...)
  if ok then return first, ... end
  if type(first) == "table" and debug.getmetatable(first) == Exception then
    return nil, first[1]
  end
  error(first, 0)
end

--- A function that returns nil and what a function of `newtry` raises in f.
function core.protect(f)
  return function(...) return result(pcall(f, ...)) end
end

-- ====}

-- {==== In LuaSocket's place ====

local unix = setmetatable({
  stream = tcp.stream, dgram = udp.dgram, tcp = tcp.stream, udp = udp.dgram,
}, {__call = tcp.stream})

core.unix = unix

local REPLACED = {["socket.core"] = core, ["socket.unix"] = unix}

-- What LuaSocket and LuaSec have in Lua on top of that.
local ABOVE = {"socket.http", "socket.ftp", "socket.smtp", "socket.tp",
               "socket.url", "socket.headers", "ssl.https"}

--- Runs LuaSocket's "socket" again, on this core.
local function load()
  local loaded = package.loaded
  local before, beforecore = loaded["socket"], loaded["socket.core"]
  loaded["socket"], loaded["socket.core"] = nil, core
  local ok, socket = pcall(require, "socket")
  loaded["socket"], loaded["socket.core"] = before, beforecore
  if not ok then error(socket, 0) end
  return socket
end

local socket = load()

--- Puts this into LuaSocket's place, and libevent.ssl into LuaSec's: code that
--- is required from now on finds it by the names "socket", "socket.core",
--- "socket.unix" and "ssl". What has required LuaSocket before goes on with it.
--- coroutine.wrap and coroutine.resume become those of libevent.co, which do
--- the same, and let clients wait in coroutines of their own.
---@return libevent.socket socket
function socket.install()
  local coroutines = package.loaded.coroutine
  coroutines.wrap, coroutines.resume = co.wrap, co.resume
  local loaded = package.loaded
  for name, module in pairs(REPLACED) do loaded[name] = module end
  loaded["socket"], loaded["ssl"] = socket, nil
  for _, name in ipairs(ABOVE) do loaded[name] = nil end
  package.preload["ssl"] = function() return require "libevent.ssl" end
  return socket
end

-- ====}

return socket
