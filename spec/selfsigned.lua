--- TLS for the specs of its lifetimes: a certificate made at run time, contexts
--- with it, and connections of every kind.
---
---   local server, client = secure.contexts()
---   local a, b = secure.pair(base)      -- both have shaken hands

local libevent = require "libevent"
local tls = require "libevent.tls"

local secure = {}

local made = {}

--- A certificate of its own and its key, in one PEM, for these names.
function secure.pem(name)
  name = name or "localhost"
  if not made[name] then
    local pipe = io.popen(([[
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -days 2 -subj /CN=%s -addext subjectAltName=DNS:%s,IP:127.0.0.1 \
        -keyout - -out - 2>/dev/null
    ]]):format(name, name))
    made[name] = pipe:read "a"
    pipe:close()
    assert(made[name]:find "BEGIN CERT", "openssl makes no certificate")
  end
  return made[name]
end

local function with(options, more)
  for name, value in pairs(more or {}) do options[name] = value end
  return tls.context(options)
end

--- A server's context, with options beside those that it must have.
function secure.server(options)
  return with({role = "server", certificate = secure.pem()}, options)
end

--- A client's, which trusts that server and no other.
function secure.client(options)
  return with({trust = secure.pem()}, options)
end

function secure.contexts(options)
  return secure.server(options), secure.client(options)
end

--- Two ends that have connected and shaken hands, of the given base, while its
--- loop runs.
function secure.pair(base, server, client, address)
  local up, accepted = 0, nil
  local function oncomplete(_, what, message)
    assert(what == "connected", message)
    up = up + 1
  end
  local listener = assert(base:listener(address or "127.0.0.1:0",
    function(_, conn) accepted = conn:setcb(nil, nil, oncomplete) end,
    {tls = server or secure.server()}))
  local bev = base:bufferevent(nil, {tls = client or secure.client(),
                                     hostname = "localhost"})
  bev:setcb(nil, nil, oncomplete)
  assert(bev:connect(listener:sockname()))
  local deadline = os.time() + 60
  while up < 2 do
    base:loop "once"
    assert(os.time() < deadline, "the deadline has passed")
  end
  listener:close()
  accepted:setcb()
  return accepted, bev:setcb()
end

--- Two ends and what is between them: nothing of one comes to the other but by
--- between:pass(). Who calls close() has closed between's own two sockets.
local Between = {}
Between.__index = Between

function secure.apart(base, server, client, hostname)
  local a, b = assert(libevent.socketpair())
  local c, d = assert(libevent.socketpair())
  local between = setmetatable({server = b, client = c, sent = 0}, Between)
  return base:bufferevent(a, {tls = server}),
         base:bufferevent(d, {tls = client,
                              hostname = client and hostname
                                         or client and "localhost"}), between
end

--- Takes up to n bytes of the "server"'s or the "client"'s; nil at its end.
function Between:take(from, n)
  local buffer = libevent.buffer()
  if not self[from] then return nil end
  local got, _, errno = buffer:read(self[from], n or 65536)
  if got == 0 or (not got and errno ~= 11) then return nil end
  return tostring(buffer)
end

--- Gives bytes to one of them; false if it has gone.
function Between:give(to, bytes)
  if not self[to] or #bytes == 0 then return true end
  local buffer = libevent.buffer(bytes)
  while #buffer > 0 do
    local n, _, errno = buffer:write(self[to])
    if not n then return errno == 11 end
  end
  return true
end

--- Passes on up to n bytes each way: how many there were. One's end ends the
--- other's half.
function Between:pass(n)
  local sum = 0
  for from, to in pairs {server = "client", client = "server"} do
    local bytes = self:take(from, n)
    if bytes then
      self:give(to, bytes)
      sum = sum + #bytes
    else
      self:hangup(to)
    end
  end
  return sum
end

--- Nothing comes to this one any more.
function Between:hangup(to)
  if self[to] then libevent.closesocket(self[to]) end
  self[to] = nil
end

function Between:close()
  self:hangup "server"
  self:hangup "client"
end

return secure
