--- libevent.socket_tcp: LuaSocket's tcp objects, and unix streams.
---
--- One is a socket of LuaSocket's at first, self.real, which binds, listens,
--- accepts and connects, without ever waiting: that is done here. When it is
--- connected, and is to receive or to send, its descriptor becomes a Stream's;
--- self.real then has it only as long as one of its methods is called.

local buffer = require "libevent.socket_buffer"
local co = require "libevent.co"
local dns = require "libevent.socket_dns"
local expect = require "libevent.expect"
local luasocket = require "socket.core"
local unix = require "socket.unix"
local waits = require "libevent.socket_wait"

local word = waits.word

local PAUSE = 0.01            -- seconds until a full unix socket is asked again

local FAMILIES = {inet4 = "inet", inet6 = "inet6"}

-- {==== A socket of one kind ====

--- The methods of one class: "tcp" or "unixstream".
local function class(kind)
  local methods = {}
  return methods, {
    __index = methods, __name = kind,
    __tostring = function(self)
      return ("%s{%s}: %p"):format(kind, self.state, self)
    end,
    __close = function(self) self:close() end,
  }
end

local Tcp, tcpmeta = class "tcp"
local Unix, unixmeta = class "unixstream"

--- An object for a socket of LuaSocket's: "master", "server" or "client".
local function wrap(real, state, meta)
  local self = {real = real, state = state, limits = waits.limits(),
                waiting = {}}
  real:settimeout(0)
  buffer.init(self)
  return setmetatable(self, meta)
end

--- Raises unless the socket is in that state.
local function check(self, state, name)
  if self.state ~= state then
    error(("calling '%s' on bad self (%s{%s} expected)"):format(
      name, getmetatable(self).__name, state), 3)
  end
end

--- Calls a method of LuaSocket's on the descriptor, wherever that is now.
local function through(self, name, ...)
  local real, stream = self.real, self.stream
  if self.closed or not stream then return waits.call(real, name, ...) end
  return waits.lend(real, stream:getfd(), name, ...)
end

--- Waits for a connection that has begun: 1, or nil and why not.
local function await(self)
  self.connecting = true
  local ok, message = waits.ready(self, "write", self.limits:left(), "connect")
  if not ok then return nil, message end
  self.connecting = nil
  message = self.real:getoption "error"
  if message then return nil, word(message) end
  return 1
end

--- The stream of a client, whose connection may still be on its way; or nil and
--- why there is none.
local function connected(self, name)
  if self.closed or self.refused then return nil, "closed" end
  if self.stream then return self.stream end
  waits.intask(name)
  local real = self.real
  if self.connecting then
    self.limits:begin()
    local ok, message = await(self)
    if not ok then
      self.refused = not self.connecting
      return nil, message
    end
  end
  local fd = real:getfd()
  if fd < 0 then return nil, "closed" end
  local stream, message = co.stream(math.tointeger(fd))
  if not stream then return nil, word(message) end
  real:setfd(-1)
  self.stream = stream
  return stream
end

-- ====}

-- {==== Connecting ====

--- What has become of one that an earlier call has begun.
local function again(self, address, port)
  local ok, message = self.real:connect(address, port)
  if not ok then return nil, word(message) end
  self.connecting = nil
  return 1
end

--- Tries an address after the other. Each attempt has a socket of its own,
--- unless there is one already, bound or of one family.
local function try(self, list, port, poll)
  local fresh = self.real:getfd() < 0 or self.fresh
  local ok, message
  for _, address in ipairs(list) do
    if fresh and self.fresh then
      self.real:close()
      self.real = luasocket.tcp()
      self.real:settimeout(0)
    end
    self.fresh = fresh
    self.limits:begin()
    ok, message = self.real:connect(address, port)
    if message == "timeout" then
      if poll then
        self.connecting = true
        return nil, message
      end
      ok, message = await(self)
    end
    if ok then return 1 end
    if self.closed or not fresh and message == "timeout" then break end
  end
  return nil, word(message)
end

--- Connects to a host, an address after the other: 1, or nil and why not. After
--- "timeout" it goes on in the background: select tells when it is writable.
function Tcp:connect(host, port)
  host = expect.text(host, 1, "connect")
  port = expect.text(port, 2, "connect")
  if self.closed then return nil, "closed" end
  if self.stream or self.state == "server" then
    return nil, "already connected"
  end
  local real, family = self.real, nil
  if real:getfd() >= 0 and not self.fresh then
    family = FAMILIES[real:getfamily()]
  end
  local list, message = dns.addresses(host, family)
  if not list then return nil, message end
  self.state = "client"
  if self.connecting then return again(self, list[1], port) end
  local poll = self.limits.block == 0 or self.limits.total == 0
  if not poll then waits.intask "connect" end
  local ok
  ok, message = try(self, list, port, poll)
  self.refused = not ok and not self.connecting
  return ok, message
end

--- Connects to a path: 1, or nil and why not.
function Unix:connect(path)
  check(self, "master", "connect")
  path = expect.text(path, 1, "connect")
  self.limits:begin()
  while true do
    local ok, message = self.real:connect(path)
    if ok then
      self.state = "client"
      return 1
    end
    local left = self.limits:left()
    if message ~= "timeout" or left and left <= 0 then
      return nil, word(message)
    end
    -- As many as can be wait already, and nobody tells when there is room.
    waits.intask "unix:connect"
    co.sleep(math.min(PAUSE, left or PAUSE))
    self.real = unix.stream()
    self.real:settimeout(0)
  end
end

Tcp.setpeername, Unix.setpeername = Tcp.connect, Unix.connect

-- ====}

-- {==== Servers ====

--- Binds the socket to an address of this machine, "*" for all, and a port.
function Tcp:bind(host, port)
  check(self, "master", "bind")
  host = expect.text(host, 1, "bind")
  port = expect.text(port, 2, "bind")
  if host == "*" then return self.real:bind(host, port) end
  local list, message = dns.addresses(host)
  if not list then return nil, message end
  for _, address in ipairs(list) do
    local ok
    ok, message = self.real:bind(address, port)
    if ok then return 1 end
  end
  return nil, message
end

--- Binds it to a path.
function Unix:bind(path)
  check(self, "master", "bind")
  return self.real:bind(expect.text(path, 1, "bind"))
end

Tcp.setsockname, Unix.setsockname = Tcp.bind, Unix.bind

-- ====}

-- {==== The rest is the same for both ====

local Both = {}

--- Begins to listen; 32 connections wait to be accepted, or 'backlog'.
function Both:listen(backlog)
  check(self, "master", "listen")
  local ok, message = self.real:listen(waits.number(backlog, 32, 1, "listen"))
  if not ok then return nil, message end
  self.state = "server"
  return 1
end

--- Waits for a connection.
function Both:accept()
  check(self, "server", "accept")
  if self.closed then return nil, "closed" end
  self.limits:begin()
  while true do
    local real, message = self.real:accept()
    if real then return wrap(real, "client", getmetatable(self)) end
    if message ~= "timeout" then return nil, word(message) end
    local ok
    ok, message = waits.ready(self, "read", self.limits:left(), "accept")
    if not ok then return nil, message end
  end
end

function Both:receive(pattern, prefix)
  check(self, "client", "receive")
  local stream, message = connected(self, "receive")
  if not stream then
    return nil, message, prefix == nil and "" or tostring(prefix)
  end
  return buffer.receive(self, pattern, prefix)
end

function Both:send(data, i, j)
  check(self, "client", "send")
  if self.shut then return nil, "closed", 0 end
  local stream, message = connected(self, "send")
  if not stream then return nil, message, 0 end
  return buffer.send(self, data, i, j)
end

local HOW = {send = true, receive = true, both = true}

--- Ends one direction, "send" or "receive", or "both".
function Both:shutdown(how)
  check(self, "client", "shutdown")
  how = how == nil and "both" or how
  expect.that(HOW[how], 1, "shutdown", ("invalid option '%s'"):format(how))
  local sends = how ~= "receive"
  if sends and self.stream and not self.closed then
    self.stream:shutdown()              -- when all is sent
    how = how == "both" and "receive" or nil
  end
  self.shut = self.shut or sends
  if how then through(self, "shutdown", how) end
  return 1
end

--- Closes it: who waits for it gets "closed". What was sent is on its way.
function Both:close()
  if self.closed then return 1 end
  self.closed = true
  waits.stir(self)
  if self.stream then self.stream:close() end
  self.real:close()
  return 1
end

function Both:getfd()
  if self.closed then return -1 end
  if self.stream then return self.stream:getfd() end
  return math.tointeger(self.real:getfd())
end

--- Gives it another descriptor; the one that it has is left as it is, without
--- what was received.
function Both:setfd(fd)
  local bev = self.stream and not self.closed and self.stream:detach()
  if bev and not bev:detach() then bev:close_after_flush() end
  self.stream, self.closed = nil, nil
  self.real:setfd(waits.number(fd, nil, 1, "setfd"))
end

--- Is there something to receive already?
function Both:dirty()
  return self.stream ~= nil and not self.closed and buffer.dirty(self)
end

function Both:settimeout(seconds, mode)
  return self.limits:set(seconds, mode)
end

function Both:gettimeout()
  return self.limits.block, self.limits.total
end

function Both:getstats()
  check(self, "client", "getstats")
  return buffer.getstats(self)
end

function Both:setstats(...)
  check(self, "client", "setstats")
  return buffer.setstats(self, ...)
end

--- All that LuaSocket's have; what is not done here is theirs.
for _, kind in ipairs {{Tcp, luasocket.tcp()}, {Unix, unix.stream()}} do
  local methods, real = kind[1], kind[2]
  for name in pairs(getmetatable(real).__index) do
    if type(real[name]) == "function" then
      methods[name] = methods[name] or Both[name] or function(self, ...)
        return through(self, name, ...)
      end
    end
  end
  real:close()
end

-- ====}

local tcp = {}

local function maker(meta, make)
  return function()
    local real, message = make()
    if not real then return nil, message end
    return wrap(real, "master", meta)
  end
end

tcp.tcp = maker(tcpmeta, luasocket.tcp)
tcp.tcp4 = maker(tcpmeta, luasocket.tcp4)
tcp.tcp6 = maker(tcpmeta, luasocket.tcp6)
tcp.stream = maker(unixmeta, unix.stream)

local MAKERS = {unspec = tcp.tcp, inet = tcp.tcp4, inet6 = tcp.tcp6}

--- A socket that is connected to a host, from an address of this machine and a
--- port, if they are given; or nil and why not.
function tcp.connect(host, port, localhost, localport, family)
  host = expect.text(host, 1, "connect")
  port = expect.text(port, 2, "connect")
  family = family == nil and "unspec" or family
  expect.that(MAKERS[family], 5, "connect",
              ("invalid option '%s'"):format(tostring(family)))
  local self, message = MAKERS[family]()
  local ok
  if not self then return nil, message end
  if localhost ~= nil then
    ok, message = self:bind(localhost, localport == nil and 0 or localport)
    if not ok then return nil, message end
  end
  ok, message = self:connect(host, port)
  if not ok then
    self:close()
    return nil, message
  end
  return self
end

--- What a client of this module has connected, or the like: its Stream, which
--- is the caller's from now on, and the socket has none.
function tcp.release(self)
  local meta = getmetatable(self)
  if meta ~= tcpmeta and meta ~= unixmeta then
    local fd = math.tointeger(self:getfd())
    self:setfd(-1)
    return co.stream(fd)
  end
  check(self, "client", "wrap")
  local stream, message = connected(self, "ssl.wrap")
  if not stream then return nil, message end
  self.stream = nil
  return stream
end

return tcp
