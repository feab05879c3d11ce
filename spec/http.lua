--- HTTP as bytes, for the specs: a client that sends any of them at any time,
--- and what comes back, taken apart.

local sockets = require "spec.sockets"
local t = require "spec.helper"

local http = {}

--- Runs the loop until f says so, if it does not say so already.
function http.till(base, f)
  if not f() then t.runtill(base, f) end
end

--- A request: its first line, fields as lines, and a body. Its version and its
--- host are told unless it has them.
function http.request(line, fields, body)
  local list = {line:find " HTTP/" and line or line .. " HTTP/1.1"}
  fields = table.concat(fields or {}, "\r\n")
  if not ("\n" .. fields):lower():find "\nhost:" then
    list[#list + 1] = "Host: some.test"
  end
  if fields ~= "" then list[#list + 1] = fields end
  if body then list[#list + 1] = "Content-Length: " .. #body end
  return table.concat(list, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- A body in chunks.
function http.chunked(...)
  local list = {}
  for i, piece in ipairs {...} do
    list[i] = ("%x\r\n%s\r\n"):format(#piece, piece)
  end
  return table.concat(list) .. "0\r\n\r\n"
end

--- The fields at a place of the text: values by lower-case names, repeated ones
--- joined by "|"; and the place behind them.
local function fields(text, at)
  local list = {}
  while true do
    local line, next = text:match("^([^\r\n]*)\r\n()", at)
    if line == nil then return end
    if line == "" then return list, next end
    local name, value = line:match "^([^:]+): (.*)$"
    assert(name, line)
    name = name:lower()
    list[name] = list[name] and list[name] .. "|" .. value or value
    at = next
  end
end

--- The pieces of a chunked body at a place, its trailers, and the place behind.
local function chunks(text, at)
  local list = {}
  while true do
    local size, next = text:match("^(%x+)\r\n()", at)
    if size == nil then return end
    size = tonumber(size, 16)
    if size == 0 then
      local trailers, behind = fields(text, next)
      return list, trailers, behind
    end
    if #text < next + size + 1 then return end
    assert(text:sub(next + size, next + size + 1) == "\r\n")
    list[#list + 1] = text:sub(next, next + size - 1)
    at = next + size + 2
  end
end

--- The next answer in the text at a place, and the place behind it; nothing if
--- it is not whole. A body whose end is the connection's is whole when that is
--- 'over'.
local function parse(text, at, head, over)
  local version, status, reason, next = text:match(
    "^HTTP/(%d%.%d) (%d%d%d) ([^\r\n]*)\r\n()", at)
  if version == nil then return end
  local a = {version = version, status = tonumber(status), reason = reason}
  a.headers, next = fields(text, next)
  if next == nil then return end
  local length = tonumber(a.headers["content-length"])
  if head or a.status < 200 or a.status == 204 or a.status == 304 then
    a.body = ""
  elseif a.headers["transfer-encoding"] then
    assert(a.headers["transfer-encoding"] == "chunked" and not length)
    a.chunks, a.trailers, next = chunks(text, next)
    a.body = next and table.concat(a.chunks)
  elseif length then
    a.body = text:sub(next, next + length - 1)
    if #a.body < length then return end
    next = next + length
  elseif over then
    a.body = text:sub(next)
    next = #text + 1
  end
  if a.body == nil then return end
  return a, next
end

--- All whole answers in a text, and what is behind them. 'head': to HEAD.
function http.parse(text, head, over)
  local list, at = {}, 1
  while true do
    local answer, next = parse(text, at, head, over)
    if answer == nil then break end
    list[#list + 1], at = answer, next
  end
  return list, text:sub(at)
end

--- {==== A client ====

local Client = {}
Client.__index = Client

--- A connection to the address, which reads unless it is 'deaf'.
function http.dial(base, address, deaf)
  local self = setmetatable({base = base, got = {}, over = false, head = false,
                             up = false}, Client)
  self.bev = base:bufferevent()
  self.bev:setcb(function(bev) self.got[#self.got + 1] = bev:read() end, nil,
    function(bev, what, message)
      if what == "connected" then
        self.up = true
        return
      end
      self.got[#self.got + 1] = bev:read()
      self.over = what == "eof" and "eof" or message
    end)
  assert(self.bev:connect(address))
  if not deaf then self.bev:enable "read" end
  return self
end

--- Sends bytes, one after the other if they come 'slowly'.
function Client:send(bytes, slowly)
  if not slowly then
    self.bev:write(bytes)
    return self
  end
  http.till(self.base, function() return self.up or self.over end)
  for i = 1, #bytes do
    if self.over then break end
    self.bev:write(bytes:sub(i, i))
    t.turns(self.base, 2)             -- it is sent, and read
  end
  return self
end

--- Says that no more comes.
function Client:shutdown()
  self.bev:shutdown()
  return self
end

--- What has come so far, as it is...
function Client:text()
  return table.concat(self.got)
end

--- ...and as answers.
function Client:answers()
  return http.parse(self:text(), self.head, self.over)
end

--- Waits for n answers (1): the last of them.
function Client:wait(n)
  http.till(self.base, function()
    return #self:answers() >= (n or 1) or self.over
  end)
  return assert(self:answers()[n or 1], self.over)
end

--- Waits for the end of the connection: all answers, what is behind them, and
--- "eof" or an error's message.
function Client:finish()
  http.till(self.base, function() return self.over end)
  local list, rest = self:answers()
  self.bev:close()
  return list, rest, self.over
end

function Client:close()
  self.bev:close()
end

--- ====}

--- {==== A server ====

local Server = {}
Server.__index = Server
Server.__close = function(self) self.base:close() end

--- A server on a free port, all of whose requests go to cb; it has a base of
--- its own.
function http.start(cb, options, route)
  local self = setmetatable({base = t.base()}, Server)
  self.http = self.base:http(options)
  if cb then self.http:set_gencb(cb, route) end
  self.listener = assert(self.http:bind_socket "127.0.0.1:0")
  self.address = self.listener:sockname()
  self.port = tonumber(self.address:match "%d+$")
  return self
end

--- A connection to it.
function Server:dial(deaf)
  return http.dial(self.base, self.address, deaf)
end

--- Sends bytes and reads until the server closes: the answers, what is behind
--- them, and "eof" or an error's message.
function Server:exchange(bytes, slowly)
  return self:dial():send(bytes, slowly):finish()
end

--- The answer to a single request, on a connection of its own.
function Server:ask(...)
  local client = self:dial()
  client.head = (...):find "^HEAD " ~= nil
  client:send(http.request(...))
  local answer = client:wait()
  client:close()
  return answer
end

--- The socket of a client that has sent this, and can vanish.
function Server:socket(bytes)
  local sock = sockets.dial(self.port)
  assert(sock:send(bytes))
  return sock
end

--- Runs the loop until all its connections are gone.
function Server:idle()
  http.till(self.base, function() return self.http:connection_count() == 0 end)
end

--- ====}

return http
