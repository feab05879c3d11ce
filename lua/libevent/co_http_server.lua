--- libevent.co_http_server: servers of HTTP whose handlers are tasks.
---
--- A handler gets its HttpRequest in a wrapper that has the same methods; those
--- that took a callback wait instead.

local co = require "libevent.co"
local bodies = require "libevent.co_body"
local core = require "libevent.core"
local expect = require "libevent.expect"

---@class libevent.co_http_server
local servers = {}

-- {==== Requests to a server ====

--- What a handler gets: an HttpRequest's methods, some of which wait.
---@class libevent.CoHttpRequest: libevent.HttpRequest
local Request = {}
Request.__index, Request.__name = Request, "libevent.CoHttpRequest"

--- What an HttpRequest's method has returned or raised.
local function results(self, name, ok, first, ...)
  if not ok then expect.again(first, name, {}) end
  if first == self.inner then first = self end
  return first, ...
end

for _, name in ipairs {
  "command", "uri", "path", "query_string", "query", "version", "host",
  "find_header", "headers", "trailers", "response_code", "input_buffer",
  "body", "peername", "tls", "base", "add_header", "remove_header",
  "clear_headers", "send_reply_start",
} do
  Request[name] = function(self, ...)
    local inner = self.inner
    return results(self, name, pcall(inner[name], inner, ...))
  end
end

--- Those that end an answer. Of one that has ended nothing is to be settled.
local function ended(self, name, ok, ...)
  self.ended = ok
  return results(self, name, ok, ...)
end

for _, name in ipairs {"send_reply", "send_reply_end", "send_error"} do
  Request[name] = function(self, ...)
    local inner = self.inner
    return ended(self, name, pcall(inner[name], inner, ...))
  end
end

--- The client is gone, or the request is closed.
local function lose(self, message, errno)
  if self.incoming then self.incoming:finish(message, errno) end
  if self.outgoing then self.outgoing:finish(message, errno) end
end

--- Has those told who wait, from now on.
local function watch(self)
  if self.watched then return end
  self.watched = true
  local base, lost, number = self.inner:base()
  if not base then return lose(self, lost, number) end
  self.inner:set_closecb(function(_, what, message, errno)
    if what ~= "eof" then lose(self, message, errno) end
    if self.closecb then self.closecb(self, what, message, errno) end
  end)
end

--- As an HttpRequest's: for who is to hear at once that the client has gone.
--- It is no part of the task.
---
---     local task = co.current()
---     req:set_closecb(function() task:cancel() end)
---
--- C: `evhttp_connection_set_closecb`
---@param cb? fun(req: libevent.CoHttpRequest, what: string, message: string?,
--- errno: integer?)
---@return libevent.CoHttpRequest req
function Request:set_closecb(cb)
  expect.that(cb == nil or type(cb) == "function", 1, "set_closecb",
              "function expected, got " .. type(cb))
  self.closecb = cb
  watch(self)
  return self
end

bodies.readers(Request, function(self, name)
  local incoming = self.incoming
  if not incoming then
    error(("calling '%s' on bad self (its body is not streamed)"):format(name),
          3)
  elseif not self.reading then
    self.reading = true
    watch(self)
    self.inner:set_chunked_cb(function(_, data)
      if data then incoming:push(data) else incoming:finish "eof" end
    end)
  end
  return incoming
end)

--- Seconds for each call that waits, from now on; none if nil. The server has
--- limits of its own, `body_timeout` and `write_timeout`.
---
--- C: none
---@param seconds? libevent.seconds
---@return libevent.CoHttpRequest req
function Request:set_timeout(seconds)
  expect.that(seconds == nil or math.type(seconds) and seconds >= 0, 1,
              "set_timeout", "seconds expected")
  self.timeout = seconds
  if self.incoming then self.incoming.timeout = seconds end
  return self
end

--- Sends a piece of the answer's body. Waits while the client does not take
--- what was sent before, over 64 KiB.
---
--- C: `evhttp_send_reply_chunk_with_cb`
---@param data libevent.data
---@return libevent.CoHttpRequest|nil req
---@return string? message "timeout" or "closed", if it is that
---@return integer? errno ECONNRESET: the client is gone
function Request:send_reply_chunk(data)
  local outgoing = self.outgoing
  if not outgoing then
    outgoing = bodies.outgoing(self.inner, "send_reply_chunk")
    self.outgoing = outgoing
    watch(self)
  end
  return results(self, "send_reply_chunk", pcall(outgoing.send, outgoing, data,
                                                 self.timeout))
end

--- Ends HTTP on the connection.
---
--- C: `evhttp_connection_get_bufferevent`
---@param protocol? string "websocket"
---@param headers? libevent.httpheaders
---@return libevent.Stream|nil stream with what has come already in it
---@return string? message
---@return integer? errno
function Request:upgrade(protocol, headers)
  local function upgrade()
    local bev, message, errno = self.inner:upgrade(protocol, headers)
    if not bev then return nil, message, errno end
    return co.stream(bev)
  end
  return results(self, "upgrade", pcall(upgrade))
end

--- Closes the connection without an answer, or in the middle of one; who waits
--- gets nil and "closed".
---
--- C: `evhttp_cancel_request`
---@return libevent.CoHttpRequest req
function Request:close()
  self.inner:close()
  if self.incoming then self.incoming:close() end
  lose(self, "closed")
  return self
end

--- The HttpRequest itself.
---
--- C: none
---@return libevent.HttpRequest request
function Request:http_request() return self.inner end

Request.__close = Request.close

function Request:__tostring()
  return ("%s (%s)"):format(Request.__name, self.inner:response_code()
                            and "answered" or "open")
end

-- ====}

-- {==== Servers ====

--- Ends what the handler has not ended.
local function settle(self)
  local inner = self.inner
  if not inner:response_code() then
    inner:clear_headers():send_error(500)
  elseif self.failed then
    inner:close()
  else
    inner:send_reply_end()
  end
end

--- The end of a handler, which is that of the answer, too.
local Handling = {__close = function(handling, err)
  local self = handling.request
  handling.requests[self], self.failed = nil, err ~= nil
  if not self.ended and not pcall(settle, self) then self.inner:close() end
end}

local function handle(self, handler, requests)
  local _ <close> = setmetatable({request = self, requests = requests},
                                 Handling)
  handler(self)
end

--- What a server of the base calls.
local function callback(server, handler, streams)
  if not handler then return nil end
  local requests = server.requests
  return function(inner)
    local self = setmetatable({inner = inner}, Request)
    if streams then self.incoming = bodies.incoming(inner) end
    requests[self] = true
    core.task.start(server.base, inner:command() .. " " .. inner:uri(), nil,
                    handle, self, handler, requests)
  end
end

--- A server whose handlers are tasks.
---@class libevent.CoHttpServer
local Server = {__name = "libevent.CoHttpServer"}
Server.__index = Server

--- Sets the handler for requests of a path, as `http:set_cb` does.
---
--- C: `evhttp_set_cb`
---@param path string
---@param handler? fun(req: libevent.CoHttpRequest) nil takes it away
---@param options? libevent.HttpPathOptions
---@return libevent.CoHttpServer server
function Server:set_cb(path, handler, options)
  expect.that(handler == nil or type(handler) == "function", 2, "set_cb",
              "function expected, got " .. type(handler))
  local streams = type(options) == "table" and options.stream
  local ok, err = pcall(self.server.set_cb, self.server, path,
                        callback(self, handler, streams), options)
  if not ok then expect.again(err, "set_cb", {}) end
  return self
end

--- Where it listens.
---
--- C: none
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function Server:sockname() return self.listener:sockname() end

--- The Http itself.
---
--- C: none
---@return libevent.Http http
function Server:http() return self.server end

--- Ends without breaking anything off, and waits until the last connection is
--- gone.
---
--- C: none
---@param timeout? libevent.seconds
---@return libevent.CoHttpServer|nil server
---@return string? message "timeout": it goes on ending
function Server:stop(timeout)
  local ok, message = co.await(function(done)
    self.server:stop(function() done(true) end)
  end, timeout)
  if not ok then return nil, message end
  return self
end

--- Ends at once: handlers that wait for their clients get nil and "closed".
---
--- C: `evhttp_free`
---@return libevent.CoHttpServer server
function Server:close()
  self.server:close()
  for req in pairs(self.requests) do
    self.requests[req] = nil
    req:close()
  end
  return self
end

Server.__close = Server.close

function Server:__tostring()
  return ("%s (%s)"):format(Server.__name,
    tostring(self.server):match "closed" or "open")
end

-- What the options of serve are for, but for those of base:http.
local LISTENER = {flags = true, backlog = true}

--- Serves HTTP. handler(req) is called for each request in a task of its own,
--- when all of it is there, or with `stream` its head; it may wait, and answers
--- by `req:send_reply` and its likes. When it returns the answer is ended: one
--- that has not begun is 500. An error in it is answered 500, or cuts off what
--- it has begun to answer; then it goes where errors of callbacks go.
---
--- A client that goes away cancels nothing: what is sent next returns nil, a
--- message and ECONNRESET.
---
---     co.http.serve("127.0.0.1:8080", function(req)
---       req:send_reply_start(200, nil, {["Content-Type"] = "text/plain"})
---       for i = 1, 10 do
---         if not req:send_reply_chunk(i .. "\n") then return end
---         co.sleep(1)
---       end
---     end)
---
--- C: `evhttp_bind_socket_with_handle`, `evhttp_set_gencb`
---@param address libevent.address
---@param handler? fun(req: libevent.CoHttpRequest) nil: 404, but for the paths
--- of `server:set_cb`
---@param options? libevent.HttpOptions those of base:http, `stream` as in
--- `http:set_cb`, and `flags` and `backlog` of a listener
---@return libevent.CoHttpServer|nil server
---@return string? message
---@return integer? errno
function servers.serve(address, handler, options)
  expect.that(handler == nil or type(handler) == "function", 2, "serve",
              "function expected, got " .. type(handler))
  expect.that(options == nil or type(options) == "table", 3, "serve",
              "table of options expected, got " .. type(options))
  local how, listening, stream = {}, {}, nil
  for name, value in pairs(options or {}) do
    if name == "stream" then
      stream = value
    else
      (LISTENER[name] and listening or how)[name] = value
    end
  end
  local base = co.base()
  local self = setmetatable({base = base, requests = {}}, Server)
  local ok, result = pcall(base.http, base, how)
  if not ok then expect.again(result, "serve", {[2] = 3}) end
  self.server = result
  local err, message, errno
  ok, err = pcall(result.set_gencb, result, callback(self, handler, stream),
                  {stream = stream})
  if not ok then expect.again(err, "serve", {}) end
  ok, result, message, errno = pcall(result.bind_socket, result, address,
                                     listening)
  if not ok then expect.again(result, "serve", {[2] = 1, [3] = 3}) end
  if not result then return nil, message, errno end
  self.listener = result
  return self
end

-- ====}

return servers
