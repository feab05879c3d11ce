--- libevent.co_body: bodies of HTTP for tasks, piece by piece.
---
--- What has come and is not read stays in a buffer: a call that ends without it
--- takes nothing. While nobody reads, no more than HIGH bytes of it are taken
--- from the peer, and no more than HIGH bytes wait to be sent.

local co = require "libevent.co"
local expect = require "libevent.expect"
local libevent = require "libevent.core"

local HIGH, LOW = 64 * 1024, 16 * 1024  -- bytes of input, and of output
local LINE = 64 * 1024                  -- of a line, if nothing else is said

local co_body = {}

-- {==== What comes ====

--- The body of a message that is on its way. 'source' has the functions that
--- pause and resume it.
local Incoming = {}
Incoming.__index = Incoming

function co_body.incoming(source)
  return setmetatable({source = source, buffer = libevent.buffer(),
                       paused = false}, Incoming)
end

local function wake(self)
  local done = self.reader
  self.reader = nil
  done(true)
end

--- Takes a piece: who waits for it runs at once.
function Incoming:push(data)
  self.buffer:add(data)
  if self.reader and #self.buffer >= self.need then wake(self) end
  if not self.reader and not self.fault and not self.paused
     and #self.buffer >= HIGH then
    self.paused = true
    self.source:pause()
  end
end

--- No more comes: "eof", or what else it is.
function Incoming:finish(message, errno)
  if self.fault then return end
  self.fault = {message, errno}
  if self.reader then wake(self) end
end

--- Nobody reads any more.
function Incoming:close()
  self.closed = true
  self:finish "closed"
end

--- Waits for so many bytes: true, or nil and why they do not come.
local function await(self, need)
  if self.closed then
    return nil, "closed"
  elseif self.reader then
    return nil, "busy"
  elseif #self.buffer >= need then
    return true
  elseif not self.fault then
    if self.paused then
      self.paused = false
      self.source:resume()
    end
    local ok, message = co.await(function(done)
      self.reader, self.need = done, need
      return function() self.reader = nil end
    end, self.timeout)
    if not ok then return nil, message end
  end
  if self.raised then error(self.raised.err, 0) end
  if self.closed then return nil, "closed" end
  if #self.buffer >= need then return true end
  return nil, self.fault[1], self.fault[2]
end

local function readsome(self, max)
  local ok, message, errno = await(self, 1)
  if not ok then return nil, message, errno end
  return self.buffer:remove(max)
end

--- Just so many bytes, fewer at the end.
local function readbytes(self, n)
  local ok, message, errno = await(self, n)
  if not ok and (message ~= "eof" or #self.buffer == 0) then
    return nil, message, errno
  end
  return self.buffer:remove(n)
end

--- All up to the end.
local function readall(self, max)
  local ok, message, errno = await(self, max and max + 1 or math.huge)
  if ok then
    return nil, "too long"
  elseif message ~= "eof" then
    return nil, message, errno
  end
  return self.buffer:remove()
end

--- A line, with its end if it is to be kept.
local function readline(self, max, keep)
  local buffer, from = self.buffer, 1
  while true do
    local at, length = buffer:search_eol("lf", from)
    if (at or #buffer + 1) - 1 > max then return nil, "line too long" end
    if at then
      local line = buffer:remove(at + length - 1)
      return keep and line or line:match "^(.-)\r?\n$"
    end
    from = #buffer + 1
    local ok, message, errno = await(self, from)
    if not ok then
      if message == "eof" and #buffer > 0 then return buffer:remove() end
      return nil, message, errno
    end
  end
end

--- Returns what has been read. Who reads is held meanwhile: a Response that
--- nobody has is collected, and cancels its request.
local function hold(_, ...) return ... end

--- The methods that read a body, of whatever has one: incoming(object) is it,
--- or nil with a message where there is none.
function co_body.readers(class, incoming)

  --- Reads, and waits for what is to be read: in the formats of Lua's files
  --- * a number: so many bytes, fewer at the end of the body;
  --- * "l": a line, without its "\n" or "\r\n"; "L": with it;
  --- * "a": all up to the end of the body, "" if there is nothing left.
  ---
  --- nil and "eof" at the end, "timeout", "closed" if it was closed here,
  --- "busy" if another task reads; "line too long" or "too long", if there are
  --- more than `max` bytes; or a message and an errno: then the body has been
  --- cut off.
  ---
  --- C: none
  ---@param format? integer|"l"|"L"|"a" "l" if nil
  ---@param max? integer bytes of a line (65536), or of "a" (no limit)
  ---@return string|nil data
  ---@return string? message
  ---@return integer? errno
  function class:read(format, max)
    local known = format == nil or format == "l" or format == "L"
                  or format == "a"
    expect.that(known or math.type(format) == "integer" and format > 0, 1,
                "read", "bytes, 'l', 'L' or 'a' expected")
    expect.that(max == nil or math.type(max) == "integer" and max >= 0, 2,
                "read", "number of bytes expected")
    local body = incoming(self, "read")
    if format == "a" then return hold(self, readall(body, max)) end
    if not known then return hold(self, readbytes(body, format)) end
    return hold(self, readline(body, max or LINE, format == "L"))
  end

  --- Reads what has come, as soon as something has.
  ---
  --- C: none
  ---@param max? integer bytes, all if nil
  ---@return string|nil data
  ---@return string? message as `read`
  ---@return integer? errno
  function class:read_some(max)
    expect.that(max == nil or math.type(max) == "integer" and max > 0, 1,
                "read_some", "number of bytes expected")
    return hold(self, readsome(incoming(self, "read_some"), max))
  end

  --- For chunks as `read_some` gives them, up to the end, or to what another
  --- `read_some` then tells: "eof" if that was all.
  ---
  --- C: none
  ---@param max? integer
  ---@return fun(): string|nil iterator
  function class:chunks(max)
    expect.that(max == nil or math.type(max) == "integer" and max > 0, 1,
                "chunks", "number of bytes expected")
    local body = incoming(self, "chunks")
    return function() return (hold(self, readsome(body, max))) end
  end

  --- For lines, likewise.
  ---
  --- C: none
  ---@param max? integer bytes of a line, 65536 if nil
  ---@return fun(): string|nil iterator
  function class:lines(max)
    expect.that(max == nil or math.type(max) == "integer" and max >= 0, 1,
                "lines", "number of bytes expected")
    local body = incoming(self, "lines")
    return function() return (hold(self, readline(body, max or LINE))) end
  end
end

-- ====}

-- {==== What goes ====

--- The body that the method 'name' of an object sends, piece by piece.
local Outgoing = {}
Outgoing.__index = Outgoing

function co_body.outgoing(object, name)
  return setmetatable({object = object, name = name, unsent = 0}, Outgoing)
end

local function isdata(value)
  return type(value) == "string" or getmetatable(value) == "libevent.Buffer"
end

--- Sends a piece. Waits while the peer does not take what was sent before.
function Outgoing:send(data, timeout)
  if self.sender then return nil, "busy" end
  local object, n = self.object, isdata(data) and #data or 0
  local ok, message, errno = object[self.name](object, data, function()
    self.unsent = self.unsent - n
    local done = self.sender
    if done and self.unsent <= LOW then
      self.sender = nil
      done(true)
    end
  end)
  if not ok then return nil, message, errno end
  self.unsent = self.unsent + n
  if self.unsent > HIGH then
    ok, message, errno = co.await(function(done)
      self.sender = done
      return function() self.sender = nil end
    end, timeout)
    if not ok then return nil, message, errno end
  end
  return object
end

--- Nobody takes it any more.
function Outgoing:finish(message, errno)
  local done = self.sender
  self.sender = nil
  if done then done(nil, message, errno) end
end

-- ====}

return co_body
