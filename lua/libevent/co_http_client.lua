--- libevent.co_http_client: requests that a task waits for.
---
--- They are libevent.http's, with its callbacks turned into what waits.

local co = require "libevent.co"
local bodies = require "libevent.co_body"
local expect = require "libevent.expect"
local http_request = require "libevent.http_request"

local TIMEOUT = 60                      -- seconds of a request

---@class libevent.co_http_client
local client = {}

-- {==== Answers to a client ====

--- What a request was answered, while its body comes. Who drops it cancels the
--- request.
---@class libevent.Response: libevent.HttpResponse
local Response = {}

bodies.readers(Response, function(self) return self.incoming end)

--- Seconds for each call that waits, from now on; none if nil. The connection
--- has a limit of its own, `read_timeout`.
---
--- C: none
---@param seconds? libevent.seconds
---@return libevent.Response response
function Response:set_timeout(seconds)
  expect.that(seconds == nil or math.type(seconds) and seconds >= 0, 1,
              "set_timeout", "seconds expected")
  self.incoming.timeout = seconds
  return self
end

--- Cancels what has not come; who waits for it gets nil and "closed".
---
--- C: none
---@return libevent.Response response
function Response:close()
  local incoming = self.incoming
  if not incoming.closed then
    incoming:close()
    incoming.source:close()
  end
  return self
end

local responses = {
  __name = "libevent.Response", __gc = Response.close,
  __close = Response.close,
}

function responses:__index(name)
  if name == "trailers" then return self.incoming.trailers end
  return Response[name]
end

function responses:__tostring()
  return ("%s (%s)"):format(responses.__name,
                            self.incoming.closed and "closed" or "open")
end

-- ====}

-- {==== Requests of a client ====

--- A request on its way, and its body in both directions.
local Exchange = {}
Exchange.__index = Exchange

function Exchange:pause() self.request:pause() end
function Exchange:resume() self.request:resume() end

--- It is over: its own body is not sent any more.
local function finish(self)
  local uploader = self.uploader
  self.over, self.uploader = true, nil
  if uploader then uploader:cancel() end
end

function Exchange:close()
  self.request:close()
  finish(self)
end

--- It is answered: all of it, or to who reads the body as it comes its head.
local function answer(self, ...)
  local done = self.done
  self.done, self.results = nil, table.pack(...)
  if done then done(true) end
end

--- All of the answer has come, or has failed to.
local function complete(self, response, message, errno)
  finish(self)
  if self.incoming and self.results then
    self.incoming.trailers = response and response.trailers
    self.incoming:finish(response and "eof" or message, errno)
  else
    answer(self, response, message, errno)
  end
end

--- Its own body has failed, which ends all of it.
local function fail(self, err)
  self.request:close()
  self.raised = {err = err}
  if self.results then
    self.incoming.raised = self.raised
    self.incoming:finish "closed"
  else
    answer(self)
  end
end

local function explain(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

--- Sends the body that an iterator gives.
local function upload(self, body)
  local outgoing = bodies.outgoing(self.request, "send_chunk")
  for data in body do
    if not outgoing:send(data) then return end  -- it is answered already
  end
  self.request:send_end()
end

--- What http.request is told in place of a body that comes from a function...
local function sending(self, body)
  return function()
    self.uploader = co.spawn(self.base, function()
      local ok, err = xpcall(upload, explain, self, body)
      if not ok and not self.over then fail(self, err) end
    end):set_name "co.http: the body of a request"
  end
end

--- ...and of an answer whose body is read as it comes.
local function receiving(self)
  local incoming = bodies.incoming(self)
  self.incoming = incoming
  return function(_, response)
    local seen = {incoming = incoming}
    for name, value in pairs(response) do seen[name] = value end
    answer(self, setmetatable(seen, responses))
  end, function(_, data)
    if data then incoming:push(data) end
  end
end

--- What is wrong with the options, where http.request does not look.
local function fault(options)
  local body, timeout, stream = options.body, options.timeout, options.stream
  if options.header_cb or options.chunked_cb then
    return "no callbacks expected: see the option 'stream'"
  elseif stream ~= nil and type(stream) ~= "boolean" then
    return "option 'stream': boolean expected, got " .. type(stream)
  elseif timeout and not (math.type(timeout) and timeout > 0
                          and timeout < math.huge) then
    return "option 'timeout': seconds or false expected"
  elseif body and type(body) == "table" then
    return "option 'body': string, Buffer or function expected, got table"
  end
end

--- What http.request is told instead.
local function translate(self, method, options)
  local inner = {}
  for name, value in pairs(options) do inner[name] = value end
  inner.method = inner.method or method
  inner.timeout, inner.stream = false, nil
  if type(options.body) == "function" then
    inner.body, inner.stream = nil, sending(self, options.body)
  end
  if options.stream then
    inner.header_cb, inner.chunked_cb = receiving(self)
  end
  return inner
end

local Guard = {__close = function(guard, err)
  if err ~= nil then guard.exchange:close() end
end}

--- Waits for the answer.
local function await(self, timeout)
  local _ <close> = setmetatable({exchange = self}, Guard)
  local ok, message = co.await(function(done)
    self.done = done
    return function() self.done = nil end
  end, timeout)
  if not ok then
    self:close()
    return nil, message
  elseif self.raised then
    error(self.raised.err, 0)
  end
  local results = self.results
  self.results = {}                             -- a Response can be dropped
  return table.unpack(results, 1, results.n)
end

--- The function 'name', which calls it as its last.
local function request(name, method, url, options)
  expect.that(options == nil or type(options) == "table", 2, name,
              "table of options expected, got " .. type(options))
  options = options or {}
  local wrong = fault(options)
  expect.that(not wrong, 2, name, wrong)
  if not co.current() then
    error(("co.http.%s waits, and can be called in a task only, see co.spawn")
          :format(name), 2)
  end
  local self = setmetatable({base = co.base(), over = false}, Exchange)
  local ok, result = pcall(http_request.request, self.base, url,
                           translate(self, method, options),
                           function(...) complete(self, ...) end)
  if not ok then expect.again(result, name, {[2] = 1, [3] = 2}) end
  self.request = result
  local timeout = options.timeout
  return await(self, timeout == nil and TIMEOUT or timeout or nil)
end

---@class libevent.CoHttpOptions: libevent.HttpRequestOptions
---@field body? string|libevent.Buffer|fun(): string|nil the body, or an
--- iterator that gives it piece by piece, in a task of its own: that may wait,
--- and is called no faster than the server reads. The method is "POST", too
---@field stream? boolean true: the answer is returned when its head is there,
--- and has methods that read its body; not the function of http.request
---@field timeout? number|false seconds until all of the answer is there, or its
--- head if it is streamed: 60; false: any time

--- Asks for a URL, and waits for the answer: after redirects, on a connection
--- that may serve others later. What has no answer is a failure; any status is
--- an answer. An error of the body's iterator is raised.
---
---     local response = assert(co.http.request("http://127.0.0.1:8080/", {
---       body = io.lines("big", 65536), stream = true,
---     }))
---     for data in response:chunks() do io.write(data) end
---
--- C: `evhttp_make_request`
---@param url string
---@param options? libevent.CoHttpOptions
---@return libevent.HttpResponse|libevent.Response|nil response
---@return string? message "timeout", or what http.request says
---@return integer? errno
function client.request(url, options)
  return request("request", nil, url, options)
end

--- The same with the method "GET".
---
--- C: `evhttp_make_request`
---@param url string
---@param options? libevent.CoHttpOptions
---@return libevent.HttpResponse|libevent.Response|nil response
---@return string? message
---@return integer? errno
function client.get(url, options)
  return request("get", "GET", url, options)
end

-- ====}

return client
