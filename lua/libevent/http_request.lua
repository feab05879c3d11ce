--- libevent.http_request: a request to a URL.
---
--- It takes as many of HttpConnection's requests as there are redirects. Each
--- has a connection for itself until it is answered; then that waits in a pool
--- for the next request to the same host.

local expect = require "libevent.expect"
local pool = require "libevent.http_pool"
local uri = require "libevent.uri"

local TIMEOUT, REDIRECTS = 60, 10

---@class libevent.http_request
local requests = {}

--- What a request was answered: the answer after all redirects.
---@class libevent.HttpResponse
---@field status integer 200
---@field reason string "OK", or what the server says instead
---@field version string "1.1" or "1.0"
---@field headers table pairs in their order, first values by lower-case name
---@field url string where it came from, without credentials
---@field body? string what has been collected; nil before the end, and if there
--- was a `chunked_cb`
---@field trailers? table as headers, from the end on

--- A request that is on its way. Nobody has to keep it.
---@class libevent.HttpClientRequest
local Request = {__name = "libevent.HttpClientRequest"}
Request.__index = Request

---@class libevent.HttpRequestOptions
---@field method? string "GET", or "POST" with a body
---@field headers? table as those of an HttpRequest's reply
---@field body? string|libevent.Buffer
---@field stream? fun(request: libevent.HttpClientRequest) called when the head
--- has been sent: the body follows with `send_chunk` and `send_end`
---@field header_cb? fun(request: libevent.HttpClientRequest,
--- response: libevent.HttpResponse) called before the body comes
---@field chunked_cb? fun(request: libevent.HttpClientRequest, data: string?)
--- called with each piece of the body, and with nil at its end
---@field timeout? number|false seconds for all of it: 60; false: any time
---@field redirects? integer that are followed: 10; 0 gives the answer as it is
---@field pool? boolean false: a connection of its own, closed at the end
---@field dns? libevent.Dns these and the following: as base:http_connection
---@field family? string
---@field connect_timeout? number|false
---@field read_timeout? number|false
---@field write_timeout? number|false
---@field idle_timeout? number|false
---@field max_headers_size? integer
---@field max_body_size? integer|false
---@field tls? libevent.tls.Context of "https": by default one that trusts whom
--- the system trusts
---@field hostname? string|false as base:http_connection; of the first host, and
--- of no other that a redirect leads to

-- {==== Headers ====

--- A list of pairs of whatever form headers have; what is none of them stays
--- for the connection to refuse.
local function pairsof(headers)
  if type(headers) ~= "table" then return headers end
  local list = {}
  for i, pair in ipairs(headers) do list[i] = pair end
  local n = #list
  for name, value in pairs(headers) do
    if math.type(name) ~= "integer" or name < 1 or name > n then
      for _, v in ipairs(type(value) == "table" and value or {value}) do
        list[#list + 1] = {name, v}
      end
    end
  end
  return list
end

local function nameof(pair)
  return type(pair) == "table" and type(pair[1]) == "string"
         and pair[1]:lower()
end

local function has(headers, name)
  for _, pair in ipairs(headers) do
    if nameof(pair) == name then return true end
  end
  return false
end

--- The same without those whose names f says yes to.
local function without(headers, f)
  local list = {}
  for _, pair in ipairs(headers or {}) do
    if not f(nameof(pair)) then list[#list + 1] = pair end
  end
  return list
end

--- What is meant for one server only...
local PRIVATE = {host = true, authorization = true, cookie = true,
                 ["proxy-authorization"] = true}

local function isprivate(name)
  return PRIVATE[name]
end

--- ...and what tells of a body.
local function isofbody(name)
  return name:find "^content%-"
end

-- ====}

-- {==== Where it goes ====

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
               .. "0123456789+/"

local function base64(s)
  local text = s:gsub("..?.?", function(three)
    local a, b, c = three:byte(1, 3)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    local four = ""
    for shift = 18, 18 - 6 * #three, -6 do
      local i = (n >> shift & 63) + 1
      four = four .. DIGITS:sub(i, i)
    end
    return four .. ("="):rep(3 - #three)
  end)
  return text
end

--- "Basic ..." of the "user:password" of a URL.
local function credentials(userinfo)
  local user, password = userinfo:match "^([^:]*):?(.*)$"
  return "Basic " .. base64(uri.decode(user) .. ":" .. uri.decode(password))
end

local PORTS = {http = 80, https = 443}

--- The parts of a URL that can be asked for; nil and a message of another.
local function destination(url)
  local parts, message = uri.uri_parse(url)
  if not parts then return nil, "bad URL: " .. message end
  if not PORTS[parts.scheme] then
    return nil, "bad URL: no scheme that is known: "
                .. tostring(parts.scheme or "none")
  elseif parts.scheme == "https" and not pcall(require, "libevent.tls") then
    return nil, "https needs libevent.tls, which is not there"
  elseif (parts.host or "") == "" or parts.host:find "[^%w._:-]" then
    return nil, "bad URL: bad host"
  elseif parts.port == 0 then
    return nil, "bad URL: bad port"
  end
  parts.host = parts.host:lower()
  parts.port = parts.port or PORTS[parts.scheme]
  if parts.path == "" then parts.path = "/" end
  return parts
end

--- Where the answer says that it is; sloppy servers do not escape what they
--- should.
local function resolve(from, location)
  location = location:gsub("%%%f[^%%%x]", "%%25"):gsub("[^!-~]", uri.uriencode)
                     :gsub('["<>\\^`{|}]', uri.uriencode)
  local url, message = uri.uri_resolve(from, location)
  if not url then return nil, "bad redirect: " .. message end
  local parts
  parts, message = destination(url)
  if not parts then return nil, "bad redirect: " .. message end
  return parts
end

local function urlof(parts)
  return uri.uri_join {
    scheme = parts.scheme, host = parts.host, path = parts.path,
    port = parts.port ~= PORTS[parts.scheme] and parts.port or nil,
    query = parts.query, fragment = parts.fragment,
  }
end

local function isatsame(a, b)
  return a.scheme == b.scheme and a.host == b.host and a.port == b.port
end

--- Notes where it goes now, and who asks.
local function direct(self, parts)
  self.target, self.url = parts, urlof(parts)
  if parts.userinfo and type(self.headers or {}) == "table" then
    self.headers = self.headers or {}
    table.insert(self.headers, {"Authorization", credentials(parts.userinfo)})
  end
end

-- ====}

-- {==== Its course ====

--- It is over, and calls nobody any more.
local function over(self)
  local connection = self.connection
  self.cb, self.connection, self.inner = nil, nil, nil
  if self.timer then self.timer:close() end
  if connection then connection:close() end
end

local function finish(self, ...)
  local cb = self.cb
  over(self)
  cb(...)
end

local Guard = {__close = function(guard, err)
  if err ~= nil then over(guard.request) end
end}

--- Calls a function of the script's; when that raises, the request is over.
local function call(self, f, ...)
  local _ <close> = setmetatable({request = self}, Guard)
  f(self, ...)
end

local FOLLOWED = {[301] = true, [302] = true, [303] = true, [307] = true,
                  [308] = true}

--- The method of a request without the body; nil for one that is as it was.
local function changed(status, method)
  if status == 303 then return method == "HEAD" and "HEAD" or "GET" end
  if status <= 302 and method == "POST" then return "GET" end
end

--- The target, the method and the fate of the body if the answer is a redirect
--- to be followed; else nil, with a message if it should have been.
local function redirection(self, inner)
  local status = inner:response_code()
  local location = inner:find_header "location"
  if not FOLLOWED[status] or not location or self.redirects == 0 then
    return nil
  end
  local method = changed(status, self.method)
  if not method and self.once then return nil end
  if self.followed == self.redirects then
    return nil, ("more than %d redirects"):format(self.redirects)
  end
  local target, message = resolve(self.url, location)
  if not target then return nil, message end
  target.fragment = target.fragment or self.target.fragment
  return {target = target, method = method or self.method,
          bodiless = method ~= nil}
end

local start

--- Goes where the answer has pointed to.
local function follow(self)
  local hop = self.hop
  self.hop = nil
  self.followed = self.followed + 1
  self.method = hop.method
  if hop.bodiless then
    self.body, self.stream, self.once = nil, nil, nil
    self.headers = without(self.headers, isofbody)
  end
  if hop.target.userinfo or not isatsame(hop.target, self.target) then
    self.headers = without(self.headers, isprivate)
  end
  direct(self, hop.target)
  local ok, message = pcall(start, self)
  if not ok then finish(self, nil, "bad redirect: " .. tostring(message)) end
end

local function onhead(self, inner)
  local message
  self.hop, message = redirection(self, inner)
  if message then return finish(self, nil, message) end
  if self.hop then
    if self.paused then inner:resume() end    -- what comes is for nobody
    return
  end
  self.response = {
    status = inner:response_code(), reason = inner:response_code_line(),
    version = inner:version(), headers = inner:headers(), url = self.url,
  }
  if self.header_cb then call(self, self.header_cb, self.response) end
end

local function ondone(self, inner, message, errno)
  if not inner then return finish(self, nil, message, errno) end
  local connection = self.connection
  self.connection, self.inner = nil, nil
  if self.pooled and inner:response_code() >= 200 and connection:peername()
  then
    pool.put(self.base, self.key, connection)
  else
    connection:close()
  end
  if self.hop then return follow(self) end
  local response = self.response
  if not self.chunked_cb then response.body = inner:body() end
  response.trailers = inner:trailers()
  finish(self, response)
end

local trusting

--- How its connection is made: for https with a context, if the script has
--- none with one that trusts whom the system trusts; for http without. The name
--- that a certificate must have is the first host's.
local function manner(self)
  local how = {}
  for name, value in pairs(self.how) do how[name] = value end
  if not isatsame(self.target, self.origin) then how.hostname = nil end
  if self.target.scheme == "http" then
    how.tls, how.hostname = nil, nil
  elseif not how.tls then
    trusting = trusting or require "libevent.tls".context()
    how.tls = trusting
  end
  return how
end

--- A connection to where it goes now.
local function connect(self)
  local target = self.target
  self.key = ("%s://%s:%d%s"):format(target.scheme, target.host, target.port,
                                     self.terms)
  return self.pooled and pool.take(self.base, self.key)
         or self.base:http_connection(target.host, target.port, manner(self))
end

--- One request, to where it goes now. Raises for what the script has given and
--- the connection refuses.
function start(self)
  local target, connection = self.target, connect(self)
  self.connection = connection
  local request = target.path
  if target.query then request = request .. "?" .. target.query end
  self.inner = connection:make_request(self.method, request, {
    headers = self.headers, body = self.body,
    stream = self.stream and function(inner)
      self.upload = inner
      call(self, self.stream)
    end,
    header_cb = function(inner) onhead(self, inner) end,
    chunked_cb = self.chunked_cb and function(_, data)
      if not self.hop then call(self, self.chunked_cb, data) end
    end,
  }, function(inner, ...) ondone(self, inner, ...) end)
  if self.paused then self.inner:pause() end
end

-- ====}

-- {==== Methods ====

local function isbuffer(value)
  return getmetatable(value) == "libevent.Buffer"
end

--- What a method raises where it was called by the script.
local function blame(name, what)
  error(("calling '%s' on bad self (%s)"):format(name, what), 4)
end

--- Calls a method of what sends the body; nil and a message when nobody wants
--- it any more.
local function send(self, name, ...)
  local inner = self.upload
  if not inner then
    blame(name, "its body is not sent piece by piece, or not yet")
  elseif inner ~= self.inner then
    return nil, "the request is over"
  end
  local ok, result, message, errno = pcall(inner[name], inner, ...)
  if not ok then
    local n, what = tostring(result):match "bad argument #(%d+) .-%((.*)%)$"
    if not n then error(result, 0) end
    if n == "1" then blame(name, what) end
    error(("bad argument #%d to '%s' (%s)"):format(n - 1, name, what), 3)
  elseif not result then
    return nil, message, errno
  end
  return self
end

--- What reads the answer, if it does; only a body that comes in pieces waits.
local function streaming(self, name)
  if not self.chunked_cb then blame(name, "its body is not streamed") end
  return self.inner
end

--- Sends a piece of the body; `cb` is called when it has been handed to the
--- kernel. A script that waits for that sends no faster than the server reads.
---
--- C: none
---@param data string|libevent.Buffer a Buffer is moved
---@param cb? fun(request: libevent.HttpClientRequest)
---@return libevent.HttpClientRequest|nil request nil when nobody wants it
---@return string? message
---@return integer? errno
function Request:send_chunk(data, cb)
  local told = type(cb) == "function" and function() call(self, cb) end or cb
  local request, message, errno = send(self, "send_chunk", data, told)
  return request, message, errno                -- no tail call: for its errors
end

--- Ends the body.
---
--- C: none
---@param trailers? table
---@return libevent.HttpClientRequest|nil request nil when nobody wants it
---@return string? message
---@return integer? errno
function Request:send_end(trailers)
  local request, message, errno = send(self, "send_end", trailers)
  return request, message, errno
end

--- Reads nothing more of a body that comes in pieces, so that the server waits.
---
--- C: none
---@return libevent.HttpClientRequest request
function Request:pause()
  local inner = streaming(self, "pause")
  if inner and not self.hop then inner:pause() end
  self.paused = true
  return self
end

--- Reads on.
---
--- C: none
---@return libevent.HttpClientRequest request
function Request:resume()
  local inner = streaming(self, "resume")
  if inner then inner:resume() end
  self.paused = false
  return self
end

--- Cancels it, wherever it is: nothing of it is called any more.
---
--- C: `evhttp_cancel_request`
---@return libevent.HttpClientRequest request
function Request:close()
  over(self)
  return self
end

Request.__close = Request.close

function Request:__tostring()
  return Request.__name .. (self.cb and " (open)" or " (closed)")
end

-- ====}

-- {==== The function ====

local CONNECTION = {"dns", "family", "connect_timeout", "read_timeout",
                    "write_timeout", "idle_timeout", "max_headers_size",
                    "max_body_size", "tls", "hostname"}

local function iscallback(value)
  return type(value) == "function", "function expected"
end

-- What an option must be, where the connection does not look itself.
local OPTIONS = {
  method = function(value)
    return type(value) == "string" and value ~= "CONNECT", "method expected"
  end,
  headers = function(value)
    return type(value) == "table", "table of headers expected"
  end,
  body = function(value)
    return type(value) == "string" or isbuffer(value),
           "string or Buffer expected"
  end,
  stream = iscallback, header_cb = iscallback, chunked_cb = iscallback,
  timeout = function(value)
    return value == false or math.type(value) and value > 0
           and value < math.huge, "seconds or false expected"
  end,
  redirects = function(value)
    return math.type(value) == "integer" and value >= 0,
           "number of redirects expected"
  end,
  pool = function(value)
    return type(value) == "boolean", "boolean expected"
  end,
}
for _, name in ipairs(CONNECTION) do
  OPTIONS[name] = function() return true end
end

--- What is wrong with the options, if anything is.
local function fault(options)
  if type(options) ~= "table" then
    return "table of options expected, got " .. type(options)
  end
  for name, value in pairs(options) do
    if not OPTIONS[name] then
      local known = {}
      for key in pairs(OPTIONS) do known[#known + 1] = key end
      table.sort(known)
      return ("unknown option '%s' (known: %s)"):format(
        tostring(name), table.concat(known, ", "))
    end
    local ok, expected = OPTIONS[name](value)
    if not ok then
      return ("option '%s': %s, got %s"):format(name, expected, type(value))
    end
  end
  if options.body and options.stream then return "either body or stream" end
end

--- The options of its connections, and the words that tell those apart.
local function terms(options)
  local how, words = {}, ""
  for _, name in ipairs(CONNECTION) do
    local value = options[name]
    how[name] = value
    if value ~= nil then
      words = ("%s %s=%s"):format(words, name, type(value) == "userdata"
                                  and ("%p"):format(value) or tostring(value))
    end
  end
  return how, words
end

--- Asks for a URL, follows redirects, and gives the answer to `cb`, once and
--- from the loop; or nil, a message and, where the system has one, an errno:
--- what has no answer is a failure, any status is an answer. A URL that is none
--- is told in that way, too.
---
--- Credentials in the URL are sent as Basic Authorization. On the way to
--- another host, port or scheme those, cookies, and what else is meant for one
--- server are left behind.
---
---     http.request(base, "http://127.0.0.1:8080/", function(response, message)
---       print(response and response.body or message)
---     end)
---
--- C: `evhttp_make_request`
---@param base libevent.Base
---@param url string "http://..."
---@param options? libevent.HttpRequestOptions
---@param cb fun(response: libevent.HttpResponse|nil, message: string?,
--- errno: integer?)
---@return libevent.HttpClientRequest request
function requests.request(base, url, options, cb)
  local last = 4
  if cb == nil and type(options) == "function" then
    options, cb, last = nil, options, 3
  end
  expect.that(getmetatable(base) == "libevent.Base", 1, "request",
              "Base expected, got " .. type(base))
  expect.that(type(url) == "string", 2, "request",
              "string expected, got " .. type(url))
  options = options == nil and {} or options
  local wrong = fault(options)
  expect.that(not wrong, 3, "request", wrong)
  expect.that(type(cb) == "function", last, "request",
              "function expected, got " .. type(cb))
  local self = setmetatable({
    base = base, cb = cb,
    method = options.method or (options.body or options.stream) and "POST"
             or "GET",
    headers = pairsof(options.headers), body = options.body,
    stream = options.stream, once = options.stream or isbuffer(options.body),
    header_cb = options.header_cb, chunked_cb = options.chunked_cb,
    redirects = options.redirects or REDIRECTS, followed = 0,
    pooled = options.pool ~= false, paused = false,
  }, Request)
  self.how, self.terms = terms(options)
  local timeout, late = options.timeout, "the time is over"
  local target, message = destination(url)
  if target then
    if has(self.headers or {}, "authorization") then target.userinfo = nil end
    direct(self, target)
    self.origin = target
    local ok
    ok, message = pcall(start, self)
    if not ok then
      over(self)
      local what = tostring(message):match "bad .-%((.*)%)$"
      if not what then error(message, 0) end    -- no memory
      expect.that(false, what == "Base is closed" and 1 or 3, "request", what)
    end
  else
    timeout, late = 0, message
  end
  if timeout ~= false then
    self.timer = base:timer(function() finish(self, nil, late) end)
    self.timer:add(timeout or TIMEOUT)
  end
  return self
end

-- ====}

return requests
