--- libevent.socket_udp: LuaSocket's udp objects, and unix datagram sockets: its
--- own, whose waits are done here.

local dns = require "libevent.socket_dns"
local expect = require "libevent.expect"
local inet_pton = require "libevent.core".inet_pton
local luasocket = require "socket.core"
local unix = require "socket.unix"
local waits = require "libevent.socket_wait"

local FAMILIES = {inet4 = "inet", inet6 = "inet6"}

local udp = {}

-- What waits, and for what.
local WAITS = {receive = "read", receivefrom = "read", send = "write",
               sendto = "write"}

--- Calls a method of LuaSocket's until it has not to wait.
local function untildone(self, name, ...)
  if self.closed then return nil, "closed" end
  local real, limits = self.real, self.limits
  limits:begin()
  while true do
    local results = table.pack(waits.call(real, name, ...))
    if results[2] ~= "timeout" then
      return table.unpack(results, 1, results.n)
    end
    local ok, message = waits.ready(self, WAITS[name], limits:left(), name)
    if not ok then return nil, message end
  end
end

-- {==== What is done here ====

local Common = {}

function Common:close()
  if self.closed then return 1 end
  self.closed = true
  waits.stir(self)
  return self.real:close()
end

function Common:getfd()
  return math.tointeger(self.real:getfd())
end

function Common:settimeout(seconds, mode)
  return self.limits:set(seconds, mode)
end

function Common:gettimeout()
  return self.limits.block, self.limits.total
end

--- setpeername or setsockname, which ask nobody for an address, and not for
--- "*" either.
local function naming(name)
  return function(self, host, port)
    host = expect.text(host, 1, name)
    local real = self.real
    if host == "*" or inet_pton(host) then
      return real[name](real, host, port)
    end
    local family = real:getfd() >= 0 and FAMILIES[real:getfamily()] or nil
    local list, message = dns.addresses(host, family)
    if not list then return nil, message end
    for _, address in ipairs(list) do
      local ok
      ok, message = real[name](real, address, port)
      if ok then return ok end
    end
    return nil, message
  end
end

-- ====}

--- A class for objects like this one of LuaSocket's; 'own' are methods of it
--- that are others.
local function class(real, own)
  local methods = {}
  for name in pairs(getmetatable(real).__index) do
    if WAITS[name] then
      methods[name] = function(self, ...) return untildone(self, name, ...) end
    elseif type(real[name]) == "function" then
      methods[name] = function(self, ...)
        return waits.call(self.real, name, ...)
      end
    end
  end
  real:close()
  for _, more in ipairs {Common, own} do
    for name, method in pairs(more) do methods[name] = method end
  end
  return {
    __index = methods, __close = methods.close,
    __tostring = function(self)
      return ("%s: %p"):format(tostring(self.real):match "^[^:]*", self)
    end,
  }
end

local inet = class(luasocket.udp(), {setpeername = naming "setpeername",
                                     setsockname = naming "setsockname"})
local path = class(unix.dgram(), {})

local function maker(meta, make)
  return function()
    local real, message = make()
    if not real then return nil, message end
    real:settimeout(0)
    return setmetatable({real = real, limits = waits.limits(), waiting = {}},
                        meta)
  end
end

udp.udp = maker(inet, luasocket.udp)
udp.udp4 = maker(inet, luasocket.udp4)
udp.udp6 = maker(inet, luasocket.udp6)
udp.dgram = maker(path, unix.dgram)

return udp
