--- libevent.datagram: datagrams for tasks, over UDP sockets of LuaSocket's.
---
---     local udp = assert(co.udp {address = "127.0.0.1:5353"})
---     for data, peer in udp:datagrams() do udp:send(data, peer) end

local expect = require "libevent.expect"
local udps = require "libevent.socket_udp"

local LONGEST = 65536         -- bytes of a datagram

--- A UDP socket.
---@class libevent.Udp
local Udp = {__name = "libevent.Udp"}
Udp.__index = Udp

-- {==== Addresses ====

--- "127.0.0.1:80" or "[::1]:80" -> host, port
local function split(address)
  local host, port = address:match "^%[(.*)%]:(%d+)$"
  if not host then host, port = address:match "^([^:]*):(%d+)$" end
  return host, tonumber(port)
end

local function join(host, port)
  local form = host:find(":", 1, true) and "[%s]:%d" or "%s:%d"
  return form:format(host, port)
end

--- The parts of argument n of 'name', an address.
local function parts(address, n, name)
  local host, port = split(type(address) == "string" and address or "")
  if not host or host == "" or port > 65535 then
    error(("bad argument #%d to '%s' (address expected, got %s)"):format(
      n, name, type(address) == "string" and ("%q"):format(address)
               or type(address)), 3)
  end
  return host, port
end

-- ====}

---@class libevent.UdpOptions
--- Where it receives, "127.0.0.1:0" with a free port. Default: a free port of
--- all addresses, from the first `send` on.
---@field address? string
--- With whom alone it speaks.
---@field peer? string

local OPTIONS = {address = true, peer = true}

local datagram = {}

--- Makes a UDP socket; nil and a message if the system refuses it.
---@param options? libevent.UdpOptions
---@return libevent.Udp|nil udp
---@return string? message
function datagram.udp(options)
  options = options or {}
  expect.that(type(options) == "table", 1, "udp", "table expected, got "
              .. type(options))
  for name in pairs(options) do
    expect.that(OPTIONS[name], 1, "udp",
                ("unknown option '%s'"):format(tostring(name)))
  end
  local sock, ok, message = udps.udp(), true, nil
  if options.address ~= nil then
    ok, message = sock:setsockname(parts(options.address, 1, "udp"))
  end
  if ok and options.peer ~= nil then
    ok, message = sock:setpeername(parts(options.peer, 1, "udp"))
  end
  if not ok then
    sock:close()
    return nil, message
  end
  return setmetatable({sock = sock, peer = options.peer}, Udp)
end

-- {==== Datagrams ====

--- Sends a datagram, to an address unless there is a `peer`.
---@param data string
---@param address? string
---@return libevent.Udp|nil udp
---@return string? message "timeout", "closed" or the system's
function Udp:send(data, address)
  data = expect.text(data, 1, "send")
  local ok, message
  if self.peer then
    expect.that(address == nil, 2, "send", "there is a peer: nil expected")
    ok, message = self.sock:send(data)
  else
    ok, message = self.sock:sendto(data, parts(address, 2, "send"))
  end
  if not ok then return nil, message end
  return self
end

--- Waits for a datagram, of up to 64 KiB.
---@return string|nil data
---@return string address of who has sent it; or "timeout", "closed", "busy" if
--- another task receives, "connection refused" if nobody is at the peer's
function Udp:receive()
  if self.peer then
    local data, message = self.sock:receive(LONGEST)
    if not data then return nil, message end
    return data, self.peer
  end
  local data, host, port = self.sock:receivefrom(LONGEST)
  if not data then return nil, host end
  return data, join(host, port)
end

--- For each datagram and who has sent it, up to any nil of `receive`.
function Udp:datagrams()
  return function() return self:receive() end
end

-- ====}

--- Seconds for each call that waits, from now on; none if nil.
function Udp:set_timeout(seconds)
  expect.that(seconds == nil or math.type(seconds) and seconds >= 0, 1,
              "set_timeout", "seconds expected")
  self.sock:settimeout(seconds)
  return self
end

--- The address of this end.
function Udp:sockname()
  local host, port = self.sock:getsockname()
  if not host then return nil, port end
  return join(host, port)
end

--- The peer, nil without one.
function Udp:peername() return self.peer end

--- Sets an option of LuaSocket's udp objects: "broadcast", "ip-add-membership".
function Udp:setoption(...) return self.sock:setoption(...) end

function Udp:getfd()
  local fd = self.sock:getfd()
  return fd >= 0 and fd or nil
end

--- Ends it: who waits for it gets nil and "closed".
function Udp:close()
  self.sock:close()
  return self
end

Udp.__close = Udp.close

function Udp:__tostring()
  return Udp.__name .. (self.sock.closed and " (closed)" or " (open)")
end

return datagram
