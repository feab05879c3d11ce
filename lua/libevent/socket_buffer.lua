--- libevent.socket_buffer: LuaSocket's receive and send, over a stream.
---
--- Of an object that has them, 'stream' is the Stream, 'limits' the timeouts,
--- 'closed' is true in the end; 'received' and 'sent' are bytes, 'birthday' is
--- when it was made.

local gettime = require "socket.core".gettime
local waits = require "libevent.socket_wait"

local word = waits.word

local HIGH = 64 * 1024        -- bytes that are taken before they are sent
local ANY = math.maxinteger   -- bytes of a line

local buffer = {}

function buffer.init(self)
  self.received, self.sent, self.birthday = 0, 0, gettime()
  self.pending = 0            -- bytes that may not be sent yet, at the most
end

local function length(self)
  return #self.stream:bufferevent():input()
end

-- {==== Receiving with all the time there is ====
-- The stream waits, and nothing is taken before all of it is there.

--- What is there when no more comes.
local function rest(self)
  local n = not self.closed and length(self) or 0
  return n > 0 and self.stream:read(n) or ""
end

--- A line ("L"), all ("a") or n bytes; and why it is not all of it, or nil.
local function receive(self, what)
  local data, message = self.stream:read(what, ANY)
  if message == "busy" then return "", message end
  if not data then return rest(self), word(message) end
  local done
  if what == "L" then
    done = data:byte(-1) == 10
  elseif what == "a" then
    done = data ~= ""
  else
    done = #data == what
  end
  return data, not done and "closed" or nil
end

-- ====}

-- {==== Receiving in time ====
-- Each wait is for anything that comes, which is taken.

--- Takes up to n bytes of what is there, or all: "" if there is nothing.
local function take(self, parts, n)
  n = math.min(n or ANY, length(self))
  local data = n > 0 and self.stream:read(n) or ""
  if data ~= "" then parts[#parts + 1] = data end
  return data
end

--- Waits for more, while nothing is in the input: nil, or why there is none.
--- What ends the task meanwhile puts 'parts' back.
local function more(self, parts)
  local stream = self.stream
  stream:set_timeout(self.limits:left())
  local ok, data, message = pcall(stream.read, stream, 0)
  if not self.closed then stream:set_timeout() end
  if not ok then
    if not self.closed then
      stream:bufferevent():input():prepend(table.concat(parts))
    end
    error(data, 0)
  end
  return not data and word(message) or nil
end

--- Each of these adds what it takes to 'parts', and returns nil, or why that is
--- not all of it.
local timed = {}

function timed.bytes(self, parts, n)
  while true do
    n = n - #take(self, parts, n)
    if n == 0 and (parts[1] or length(self) > 0) then return end
    local message = more(self, parts)
    if message then return message end
  end
end

function timed.a(self, parts)
  while true do
    take(self, parts)
    local message = more(self, parts)
    if message then
      return (message ~= "closed" or not parts[1]) and message or nil
    end
  end
end

function timed.L(self, parts)
  while true do
    local at = self.stream:bufferevent():input():search "\n"
    take(self, parts, at)
    if at then return end
    local message = more(self, parts)
    if message then return message end
  end
end

--- As 'receive'.
local function receivetimed(self, what)
  local parts = {}
  local message = (timed[what] or timed.bytes)(self, parts, what)
  return table.concat(parts), message
end

-- ====}

-- {==== Receiving ====

local FORMATS = {["*l"] = "L", ["*a"] = "a"}

--- Reads a line ("*l", also if nil), all up to the end ("*a") or so many bytes,
--- and puts them behind a prefix, which counts as some of them. Or nil,
--- "timeout", "closed" or another message, and what has come.
function buffer.receive(self, pattern, prefix)
  prefix = prefix == nil and "" or tostring(prefix)
  local n = tonumber(pattern)
  local what = FORMATS[pattern == nil and "*l" or tostring(pattern):sub(1, 2)]
  if n and n < 0 or not n and not what then
    error("bad argument #1 to 'receive' (invalid receive pattern)", 2)
  elseif n then
    what = math.floor(n) - #prefix
    if prefix ~= "" and what <= 0 then return prefix, nil, nil end
  end
  local limits = self.limits
  limits:begin()
  local data, message = (limits:left() and receivetimed or receive)(self, what)
  self.received = self.received + #data
  if what == "L" then data = data:gsub("[\r\n]", "") end
  if prefix ~= "" then data = prefix .. data end
  if message then return nil, message, data end
  return data, nil, nil
end

--- Has something come that is not received yet?
function buffer.dirty(self)
  return length(self) > 0
end

-- ====}

-- {==== Sending ====

--- Waits until all is sent that is taken: true, or nil and why not.
local function empty(self)
  local stream = self.stream
  local output = stream:bufferevent():output()
  while true do
    local before = #output
    stream:set_timeout(self.limits:left())
    local ok, message = stream:flush()
    if self.closed then return nil, "closed" end
    stream:set_timeout()
    if ok then
      self.pending = 0
      return true
    end
    -- A limit of each wait begins anew when something was sent.
    if message ~= "timeout" or #output == before or self.limits:left() == 0 then
      return nil, word(message)
    end
  end
end

--- How many bytes can be written without a wait. To look takes longer than to
--- count.
local function room(self)
  if self.pending >= HIGH then
    self.pending = #self.stream:bufferevent():output()
  end
  return HIGH - self.pending
end

--- Sends data, or its bytes from i to j: the index of the last one that is
--- sent; or nil, "timeout", "closed" or another message, and that index. They
--- are sent when the system has them, or the stream has, which holds no more
--- than 64 KiB.
function buffer.send(self, data, i, j)
  data = type(data) == "number" and tostring(data) or data
  if type(data) ~= "string" then
    error(("bad argument #1 to 'send' (string expected, got %s)"):format(
      data == nil and "no value" or type(data)), 2)
  end
  i = math.floor(waits.number(i, 1, 2, "send"))
  j = math.floor(waits.number(j, -1, 3, "send"))
  if i < 0 then i = #data + i + 1 end
  if j < 0 then j = #data + j + 1 end
  i, j = math.max(i, 1), math.min(j, #data)
  self.limits:begin()
  local stream, at = self.stream, i
  while at <= j do
    local free = room(self)
    local ok, message
    if free > 0 then
      local last = math.min(j, at + free - 1)
      ok, message = stream:write(data:sub(at, last))
      if ok then
        local n = last + 1 - at
        self.sent, self.pending = self.sent + n, self.pending + n
        at = last + 1
      end
    else
      ok, message = empty(self)
    end
    if not ok then return nil, word(message), at - 1 end
  end
  return at - 1, nil, nil
end

-- ====}

-- {==== Counting ====

--- Bytes received, bytes sent, and the age in seconds.
function buffer.getstats(self)
  return self.received, self.sent, gettime() - self.birthday
end

--- Sets them.
function buffer.setstats(self, received, sent, age)
  self.received = waits.number(received, self.received, 1, "setstats")
  self.sent = waits.number(sent, self.sent, 2, "setstats")
  if tonumber(age) then self.birthday = gettime() - tonumber(age) end
  return 1
end

-- ====}

return buffer
