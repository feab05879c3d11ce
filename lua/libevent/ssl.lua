--- libevent.ssl: LuaSec's API for tasks, over streams and libevent.tls.
---
---     local ssl = require "libevent.ssl"
---
---     local conn = assert(ssl.wrap(sock, {mode = "client", protocol = "any",
---                                         verify = "peer"}))
---     conn:sni("example.com")
---     assert(conn:dohandshake())
---
--- A client that verifies and has called `sni` speaks only with a server whose
--- certificate is for that name; LuaSec leaves that to its user. Certificates
--- are objects of LuaSec's own, if it is there.

local buffer = require "libevent.socket_buffer"
local co = require "libevent.co"
local contexts = require "libevent.ssl_context"
local tcp = require "libevent.socket_tcp"
local waits = require "libevent.socket_wait"

--- A connection, which speaks TLS from `dohandshake` on.
local methods = {}

local Connection = {
  __name = "SSL:Connection", __index = methods,
  __close = function(self) self:close() end,
  __tostring = function(self)
    return ("SSL connection: %p%s"):format(self, self.closed and " (closed)"
                                                 or "")
  end,
}

-- {==== The handshake ====

--- What ends in time goes on: LuaSec says that it wants more, and is asked
--- again.
local function shake(self)
  if not self.handshake then
    local stream, context = self.stream, self.context
    stream:set_timeout(nil)
    self.handshake = co.spawn(function()
      return stream:starttls(context.context, self.name or false)
    end)
  end
  return self.handshake:join(self.limits:left())
end

--- Waits for the handshake: true, or false and "wantread", if there was not
--- enough time, "closed" or another message.
function methods:dohandshake()
  if self.closed then return false, "closed" end
  if self.session then return true end
  waits.intask "dohandshake"
  self.limits:begin()
  local ok, message = shake(self)
  if not ok and message == "timeout" then return false, "wantread" end
  if self.closed then return false, "closed" end
  if not ok then return false, waits.word(message) end
  self.session = self.stream:tls()
  return true
end

--- A client's: whom it wants to speak with.
function methods:sni(name)
  if self.context.mode ~= "client" then
    error("sni with contexts of a server is not supported", 2)
  elseif type(name) ~= "string" then
    error(("bad argument #1 to 'sni' (string expected, got %s)"):format(
      type(name)), 2)
  end
  self.name = name
end

-- ====}

-- {==== Data ====

--- Why nothing can be received or sent, nil if it can.
local function closed(self)
  return (self.closed or not self.session) and "closed" or nil
end

--- As of a tcp object, but "wantread" is its word for "timeout".
function methods:receive(pattern, prefix)
  if closed(self) then
    return nil, "closed", prefix == nil and "" or tostring(prefix)
  end
  local data, message, partial = buffer.receive(self, pattern, prefix)
  if message == "timeout" then message = "wantread" end
  return data, message, partial
end

--- As of a tcp object, but "wantwrite" is its word for "timeout".
function methods:send(data, i, j)
  if closed(self) then return nil, "closed", 0 end
  local last, message, index = buffer.send(self, data, i, j)
  if message == "timeout" then message = "wantwrite" end
  return last, message, index
end

function methods:dirty()
  return not closed(self) and buffer.dirty(self)
end

methods.getstats, methods.setstats = buffer.getstats, buffer.setstats

function methods:settimeout(seconds, mode)
  return self.limits:set(seconds, mode)
end

--- What it waits for: "read" in a handshake, else "nothing".
function methods:want()
  return self.handshake and closed(self) and not self.closed and "read"
         or "nothing"
end

function methods:getfd()
  return self.closed and -1 or self.stream:getfd()
end

--- Closes it; who waits for it gets "closed".
function methods:close()
  if self.closed then return end
  self.closed = true
  self.stream:close()
end

-- ====}

-- {==== Who is at the other end ====

--- LuaSec's certificates. They need no more of it than this.
local function loadcertificate(pem)
  return require "ssl.x509".load(pem)
end

--- The certificate of the peer, nil if it has shown none, as an object of
--- LuaSec's.
function methods:getpeercertificate(n)
  if closed(self) then return nil, "closed" end
  if n ~= nil and n ~= 1 then return nil, "invalid certificate index" end
  local peer = self.session.peer
  return peer and loadcertificate(peer.pem) or nil
end

--- Does that hold? If not, also why.
function methods:getpeerverification()
  if closed(self) then return false, "closed" end
  local session = self.session
  if session.verified then return true end
  return session.verify_error == nil, session.verify_error
end

--- What is known of the connection: `protocol`, `cipher`; or one of these.
function methods:info(field)
  if closed(self) then return nil, "closed" end
  local info = {protocol = self.session.version, cipher = self.session.cipher}
  if field then return info[field] end
  return info
end

function methods:getalpn()
  return not closed(self) and self.session.alpn or nil
end

function methods:getsniname()
  return not closed(self) and self.session.hostname or self.name
end

-- ====}

local ssl = {
  _VERSION = "1.2.0",           -- of LuaSec, whose API this is
  _COPYRIGHT = "lua-libevent, in the words of LuaSec 1.2.0",
  newcontext = contexts.new, loadcertificate = loadcertificate,
  config = {
    protocols = {tlsv1 = true, tlsv1_1 = true, tlsv1_2 = true, tlsv1_3 = true},
    options = {all = true, no_sslv2 = true, no_sslv3 = true, no_tlsv1 = true,
               no_tlsv1_1 = true, no_tlsv1_2 = true, no_tlsv1_3 = true,
               no_ticket = true, no_compression = true,
               cipher_server_preference = true, single_dh_use = true,
               single_ecdh_use = true},
    algorithms = {ec = true},
    capabilities = {alpn = true, curves_list = true, ecdh_auto = true},
    curves = {X25519 = true, ["P-256"] = true, ["P-384"] = true,
              ["P-521"] = true},
  },
}

--- A connection on the socket of a tcp object, which has none from now on; with
--- a configuration, or a context of `newcontext`. Or nil and what is wrong.
function ssl.wrap(sock, cfg)
  local context, stream, message = cfg, nil, nil
  if not contexts.is(cfg) then context, message = contexts.new(cfg) end
  if context then stream, message = tcp.release(sock) end
  if not stream then return nil, message end
  local self = {stream = stream, context = context, limits = waits.limits()}
  buffer.init(self)
  return setmetatable(self, Connection)
end

return ssl
