--- Connections with TLS, both ends in this process, for its specs.

local assert = require "luassert"
local certificates = require "spec.certificates"
local tls = require "libevent.tls"
local t = require "spec.helper"

local secure = {}

secure.VERSIONS = {"1.2", "1.3"}

--- Bytes that compress to nothing, the same ones in each run.
function secure.noise(n)
  local list = {}
  local x = 12345
  for i = 1, n // 4096 + 1 do
    x = (x * 1103515245 + 12345) % 2147483648
    list[i] = ("%08x"):format(x):rep(512)
  end
  return table.concat(list):sub(1, n)
end

--- The listener's port, as a number.
function secure.portof(listener)
  return tonumber(listener:sockname():match "%d+$")
end

--- Nothing is left in the loop, but what is about to end.
function secure.isidle(base)
  if base:num_events() > 0 then t.run(base) end
  assert.equal(0, base:num_events(), base:dump_events())
end

local function with(defaults, options)
  for name, value in pairs(options or {}) do defaults[name] = value end
  return tls.context(defaults)
end

--- A context of a server with a certificate of that kind, "good".
function secure.server(options, kind)
  local own = certificates[kind or "good"]
  return with({role = "server", certificate = own.certificate, key = own.key},
              options)
end

--- A context of a client that trusts the root.
function secure.client(options)
  return with({trust = certificates.root.certificate}, options)
end

--- The same with a certificate of its own, of that kind.
function secure.known(kind, options)
  local own = certificates[kind]
  return with({trust = certificates.root.certificate, key = own.key,
               certificate = own.certificate}, options)
end

--- The name that "good" is for, unless nothing is wanted.
local function nameof(name)
  if name == nil then return "localhost" end
  return name
end

--- A listener with TLS, and a bufferevent that connects to it: both ends are
--- given to f(server, client) when both have shaken hands.
function secure.connected(base, server, client, f, name)
  local ends = {}
  local function ready(which)
    return function(bev, what, message)
      assert(what == "connected", message or what)
      ends[which] = bev:setcb()
      if ends.server and ends.client then f(ends.server, ends.client) end
    end
  end
  local listener
  listener = assert(base:listener("127.0.0.1:0", function(_, conn)
    conn:setcb(nil, nil, ready "server")
    listener:close()
  end, {tls = server}))
  local bev = base:bufferevent(nil, {tls = client, hostname = nameof(name)})
  bev:setcb(nil, nil, ready "client")
  assert(bev:connect(listener:sockname()))
  return bev, listener
end

--- The same, and the loop runs until it is so: server, client.
function secure.pair(base, server, client, name)
  local ends
  secure.connected(base, server or secure.server(), client or secure.client(),
    function(...) ends = {...} end, name)
  t.runtill(base, function() return ends end)
  return table.unpack(ends)
end

--- What happens to an end, in words: "connected", "eof reading", "error 71 the
--- reason". It reads, and is closed at its end.
function secure.listen(bev, list)
  list.data = ""
  bev:setcb(function(b) list.data = list.data .. b:read() end, nil,
    function(b, what, detail, errno)
      local words = detail and what .. " " .. detail or what
      if what == "error" then words = ("error %d %s"):format(errno, detail) end
      list[#list + 1] = words
      if what ~= "connected" then
        list.over = true
        b:close()
      end
    end)
  bev:enable "read"
  return list
end

--- What the end gets, until its end: list.data, list.over.
function secure.gather(bev)
  return secure.listen(bev, {})
end

--- Lets the two meet, until both have found that nothing comes of it: what has
--- happened to the server, and to the client.
function secure.meet(base, server, client, name, address)
  local one, other = {}, {}
  local listener
  listener = assert(base:listener(address or "127.0.0.1:0", function(_, conn)
    secure.listen(conn, one)
    listener:close()
  end, server and {tls = server}))
  local bev = base:bufferevent(nil, client and {tls = client,
                                                hostname = nameof(name)})
  secure.listen(bev, other)
  assert(bev:connect(listener:sockname()))
  t.runtill(base, function() return one.over and other.over end)
  return one, other
end

--- A server that passes bytes on to another one as they are, or as how.up and
--- how.down change them: {address =, near = its end to the client, far = to the
--- server, up =, down = bytes passed}. It passes their ends on unless how.mute.
function secure.proxy(base, address, how)
  local p, ended = {up = 0, down = 0}, nil
  local function pass(from, to, way)
    from:setcb(function(b)
      local data = b:read()
      p[way] = p[way] + #data
      if how[way] then data = how[way](data, p) end
      if data and not t.isclosed(to) then to:write(data) end
    end, nil, function(b, what)
      if what == "connected" or how.mute then return end
      if what == "error" then b:close() end
      if t.isclosed(to) then return end
      if what == "eof" then to:shutdown() else to:close() end
      ended = (ended or 0) + 1
      if ended == 2 then
        p.near:close_after_flush()
        p.far:close_after_flush()
      end
    end):enable "read"
    if how.single then from:set_max_single_read(how.single) end
  end
  p.listener = assert(base:listener("127.0.0.1:0", function(l, conn)
    p.near, p.far = conn, base:bufferevent()
    pass(p.near, p.far, "up")
    pass(p.far, p.near, "down")
    assert(p.far:connect(address))
    l:close()
  end))
  p.address = p.listener:sockname()
  return p
end

--- Both ends with such a proxy between them: server, client, proxy.
function secure.through(base, how, server, client)
  local s, c, done
  local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
    s = conn:setcb(nil, nil, function(_, what, message)
      assert(what == "connected", message or what)
      done = (done or 0) + 1
    end)
    l:close()
  end, {tls = server or secure.server()}))
  local proxy = secure.proxy(base, listener:sockname(), how)
  c = base:bufferevent(nil, {tls = client or secure.client(),
                             hostname = "localhost"})
  c:setcb(nil, nil, function(_, what, message)
    assert(what == "connected", message or what)
    done = (done or 0) + 1
  end)
  assert(c:connect(proxy.address))
  t.runtill(base, function() return done == 2 end)
  return s:setcb(), c:setcb(), proxy
end

--- The first bytes of a client, as it sends them.
function secure.hello(base, client)
  local hello
  local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
    conn:setcb(function(b)
      hello = b:read()
      b:close()
      l:close()
    end):enable "read"
  end))
  local bev = base:bufferevent(nil, {tls = client or secure.client(),
                                     hostname = "localhost"})
  bev:setcb(nil, nil, function(b) b:close() end)
  assert(bev:connect(listener:sockname()))
  t.runtill(base, function() return hello and t.isclosed(bev) end)
  return hello
end

return secure
