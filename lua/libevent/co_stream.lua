--- libevent.co_stream: where the streams of tasks come from: from addresses and
--- names, from listeners, from descriptors and files, and in pairs.

local core = require "libevent.core"
local expect = require "libevent.expect"

local here, wait, wake = core.task.here, core.task.wait, core.task.wake
local start = core.task.start
local connected, newstream = core.task.connected, core.task.stream

local TIMEOUT = 60                      -- seconds of connecting
local FOREVER = 2147483647              -- seconds, the most there may be
local PENDING = 64                      -- connections that nobody has accepted

local streams = {}

--- A copy of options that have these names; and what is wrong with them.
local function pick(options, known)
  local picked = {}
  if options == nil then return picked end
  if type(options) ~= "table" then
    return picked, "table of options expected, got " .. type(options)
  end
  for key, value in pairs(options) do
    if not known[key] then
      local names = {}
      for option in pairs(known) do names[#names + 1] = option end
      table.sort(names)
      return picked, ("unknown option '%s' (known: %s)"):format(
        tostring(key), table.concat(names, ", "))
    end
    picked[key] = value
  end
  local wrong = expect.notseconds(picked.timeout)
  return picked, wrong and "option 'timeout': " .. wrong
end

-- {==== Connecting ====

local CONNECT = {timeout = true, tls = true, hostname = true, dns = true,
                 family = true, delay = true}

--- Begins to connect: to an address at once, to a name when that is known. Its
--- time is the task's, which waits.
local function begin(bev, host, port, options)
  if not port then return bev:connect(host) end
  return bev:connect_hostname(host, port, {
    dns = options.dns, family = options.family, delay = options.delay,
    timeout = FOREVER,
  })
end

---@param base libevent.Base
---@param host string
---@param port integer|nil of a name; nil: host is an address
---@param options table|nil
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function streams.connect(base, host, port, options)
  if type(port) == "table" then port, options = nil, port end
  local n = port and 3 or 2
  local wrong
  options, wrong = pick(options, CONNECT)
  expect.that(not wrong, n, "connect", wrong)
  here "co.connect"
  local done, bev = pcall(base.bufferevent, base, nil, {
    tls = options.tls, hostname = options.hostname,
  })
  if not done then expect.again(bev, "connect", {[3] = n}) end
  local ok, message, errno
  done, ok, message, errno = pcall(begin, bev, host, port, options)
  if not done then
    bev:close()
    expect.again(ok, "connect", {1, 2, 3})
  end
  if not ok then
    bev:close()
    return nil, message, errno
  end
  local stream
  stream, message, errno = newstream(bev)
  if not stream then return nil, message, errno end
  local _ <close> = setmetatable({}, {__close = function()
    if not ok then stream:bufferevent():close() end
  end})
  stream:set_timeout(options.timeout or TIMEOUT)
  ok = nil
  ok, message, errno = connected(stream)
  if not ok then return nil, message, errno end
  return stream:set_timeout()
end

-- ====}

-- {==== Listening ====

--- What listens for a task, or calls a handler in a task for each connection.
---@class libevent.StreamListener
local Listener = {__name = "libevent.StreamListener"}
Listener.__index = Listener

local LISTEN = {flags = true, backlog = true, tls = true, timeout = true,
                max_connections = true}

--- Accepts no more than there may be.
local function limit(self)
  if self.closed then return end
  local full = self.count >= self.most or #self.pending >= PENDING
  if full ~= self.full then
    self.full = full
    if full then self.listener:disable() else self.listener:enable() end
  end
end

--- One less.
local function ended(self)
  self.count = self.count - 1
  limit(self)
end

--- Shakes hands before the handler. This call makes place for that one: the
--- collector looks through the stack of each task in each of its rounds.
local function serve(stream, peer, handler)
  if connected(stream) then return handler(stream, peer) end
end

--- Gives a connection to who waits for one, or keeps it until somebody does.
local function offer(self, stream, peer)
  local task = self.acceptor
  if task then
    self.acceptor = nil
    wake(task, stream, peer)
  else
    self.pending[#self.pending + 1] = {stream, peer}
    limit(self)
  end
end

--- The same when its handshake is done.
local function shake(self, stream, peer)
  if connected(stream) then offer(self, stream, peer) end
end

local function onaccept(self, bev, peer)
  local stream, message = newstream(bev)
  if not stream then
    bev:close()
    error(message, 0)                   -- the system's limits, or no memory
  end
  stream:set_timeout(self.timeout)
  if self.handler then
    local function last()
      stream:close()
      ended(self)
    end
    self.count = self.count + 1
    if self.tls then
      start(self.base, peer, last, serve, stream, peer, self.handler)
    else
      start(self.base, peer, last, self.handler, stream, peer)
    end
    limit(self)
  elseif self.tls then
    start(self.base, peer, nil, shake, self, stream, peer)
  else
    offer(self, stream, peer)
  end
end

local function unaccept(_, self) self.acceptor = nil end

--- Waits for the next connection.
---@param timeout? libevent.seconds
---@return libevent.Stream|nil stream
---@return string peer its address; or the message: "closed", "timeout", "busy"
function Listener:accept(timeout)
  expect.timeout(timeout, 1, "accept")
  if self.handler then error("a listener with a handler accepts itself", 2) end
  local first = table.remove(self.pending, 1)
  limit(self)
  if first then return first[1], first[2] end
  if self.closed then return nil, "closed" end
  if self.acceptor then return nil, "busy" end
  local task = here "listener:accept"
  self.acceptor = task
  return wait(task, unaccept, self, timeout)
end

--- The address that it listens on, with the port that port 0 has become.
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function Listener:sockname()
  if self.closed then return nil, "closed" end
  return self.listener:sockname()
end

--- The connections whose handlers run.
---@return integer count
function Listener:connections() return self.count end

--- Stops listening. Connections go on; who waits for one gets nil and
--- "closed".
---@return libevent.StreamListener listener
function Listener:close()
  if self.closed then return self end
  self.closed = true
  self.listener:close()
  local task = self.acceptor
  self.acceptor = nil
  if task then wake(task, nil, "closed") end
  return self
end

Listener.__close = Listener.close

function Listener:__tostring()
  return Listener.__name .. (self.closed and " (closed)" or " (open)")
end

--- Is it a number of connections?
local function iscount(value)
  return math.type(value) == "integer" and value > 0
end

---@param base libevent.Base
---@param address libevent.address|libevent.descriptor
---@param handler? fun(stream: libevent.Stream, peer: string)
---@param options? table
---@return libevent.StreamListener|nil listener
---@return string? message
---@return integer? errno
function streams.listen(base, address, handler, options)
  local n = 3
  if type(handler) == "table" then handler, options, n = nil, handler, 2 end
  expect.that(handler == nil or type(handler) == "function", 2, "listen",
              "function expected, got " .. type(handler))
  local wrong
  options, wrong = pick(options, LISTEN)
  expect.that(not wrong, n, "listen", wrong)
  local most = options.max_connections
  expect.that(most == nil or iscount(most), n, "listen",
              "option 'max_connections': number of connections expected")
  local self = setmetatable({
    base = base, handler = handler, tls = options.tls ~= nil,
    timeout = options.timeout, most = most or math.huge,
    count = 0, pending = {}, full = false,
  }, Listener)
  options.max_connections, options.timeout = nil, nil
  local ok, listener, message, errno = pcall(
    base.listener, base, address,
    function(_, bev, peer) onaccept(self, bev, peer) end, options)
  if not ok then expect.again(listener, "listen", {[4] = n}) end
  self.listener = listener
  if not listener then return nil, message, errno end
  return self
end

-- ====}

-- {==== Descriptors and files ====

--- The bytes of a file, which no loop can wait for.
local function fromfile(base, file)
  local bev, rest = base:pair()
  local ok, data = pcall(function()
    return assert(core.buffer():add_file(file, file:seek()))
  end)
  rest:write(ok and data or file:read "a")      -- of a device, as it comes
  rest:close_after_flush()
  return newstream(bev)
end

--- A stream on what there is: a bufferevent, which belongs to it from then on,
--- or an open descriptor.
---@param base libevent.Base
---@param what libevent.Bufferevent|libevent.descriptor
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function streams.stream(base, what)
  expect.that(what ~= nil, 1, "stream",
              "Bufferevent or descriptor expected, got nil")
  if getmetatable(what) ~= "libevent.Bufferevent" then
    local ok, bev = pcall(base.bufferevent, base, what)
    if not ok then expect.again(bev, "stream", {}) end
    what = bev
  end
  return newstream(what)
end

--- Standard input: a terminal, a pipe, or a file.
---@param base libevent.Base
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function streams.stdin(base)
  if io.stdin:seek() then return fromfile(base, io.stdin) end
  return newstream(base:bufferevent(io.stdin))
end

-- Closes those that nobody has taken.
local Numbers = {__close = function(fds)
  for i = 1, 2 do
    if math.type(fds[i]) then core.closesocket(fds[i]) end
  end
end}

--- Two streams, joined to each other by sockets: one waits for the other one to
--- read.
---@param base libevent.Base
---@return libevent.Stream|nil a
---@return libevent.Stream|string b or the message
---@return integer? errno
function streams.pair(base)
  local fds <close> = setmetatable({false, false}, Numbers)
  local errno
  fds[1], fds[2], errno = core.socketpair()
  if not fds[1] then return nil, fds[2], errno end
  local pair = {}
  for i = 1, 2 do
    local bev = base:bufferevent(fds[i])
    fds[i] = false
    local message
    pair[i], message, errno = newstream(bev)
    if not pair[i] then return nil, message, errno end
  end
  return pair[1], pair[2]
end

-- ====}

return streams
