-- TLS on the bufferevent of a socket: its handshake, what goes over it, and
-- what it tells of its session.
local lfs = require "lfs"
local libevent = require "libevent"
local certificates = require "spec.certificates"
local secure = require "spec.secure"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local ECONNRESET = 104

local server, client = secure.server(), secure.client()
local gather, isidle, pair = secure.gather, secure.isidle, secure.pair
local NOISE = secure.noise(1 << 20)

for _, version in ipairs(secure.VERSIONS) do
  local bound = secure.server {max_version = version}

  describe("A bufferevent with TLS " .. version, function()
    before_each(t.start)
    after_each(t.finish)

    it("shakes hands, and says so", function()
      local base = t.base()
      local s, c = pair(base, bound)
      assert.equal("TLSv" .. version, s:tls().version)
      assert.same({"", "write"}, {"", s:enabled()})
      assert.equal("write", c:enabled())
      local one, other = gather(s), gather(c)
      s:write "from the server"
      c:write("from ", "the client")
      t.runtill(base, function()
        return one.data == "from the client"
               and other.data == "from the server"
      end)
      c:close()
      t.runtill(base, function() return one.over end)
      assert.same({"eof reading"}, {one[1]})
      isidle(base)
    end)

    it("sends any size in any pieces", function()
      local base = t.base()
      local s, c = pair(base, bound)
      local file <close> = assert(io.tmpfile())
      file:write(NOISE):flush()
      local at, got = 0, {n = 0}
      local sizes = {0, 1, 2, 5, 1000, 4095, 4096, 4097, 16383, 16384, 16385,
                     32768, 65535, 65536, 65537, 100000, 262143, 262144,
                     262145, 524288}
      local function piece(n)
        local data = NOISE:sub(at % 4096 + 1, at % 4096 + n)
        local way = at % 4
        if way == 0 then
          c:write(data)
        elseif way == 1 then
          c:write(libevent.buffer(data))
        elseif way == 2 then
          c:write_buffer(t.chained(data:sub(1, n // 2), data:sub(n // 2 + 1)))
        elseif n > 0 then
          c:output():add_file(file, at % 4096, n)
        end
        at = at + n + 1
        got.wanted[#got.wanted + 1] = data
      end
      s:setcb(function(b)
        got[#got + 1] = b:read()
        got.n = got.n + #got[#got]
      end, nil, nil):enable "read"
      got.wanted = {}
      for _, n in ipairs(sizes) do piece(n) end
      for i = 1, 200 do piece(i * 7919 % 3001) end
      c:shutdown()
      local wanted = table.concat(got.wanted)
      t.runtill(base, function() return got.n >= #wanted end)
      assert.is_true(table.concat(got) == wanted)
      base:close()
    end)

    it("echoes what comes in pieces of any size", function()
      local base = t.base()
      local s, c = pair(base, bound)
      s:setcb(function(b) b:write(b:input()) end, nil, function(b)
        b:close_after_flush()
      end):enable "read"
      local back, n, sum = {}, 0, 0
      local list = gather(c)
      local function more(b)
        if n == 60 then return b:shutdown() end
        n = n + 1
        local size = n * n * 7919 % 40000
        back[n] = NOISE:sub(sum % 1000 + 1, sum % 1000 + size)
        sum = sum + size
        b:write(back[n])
      end
      local read, _, event = c:getcb()
      c:setcb(read, more, event)
      more(c)
      t.runtill(base, function() return list.over end)
      assert.equal("eof reading", list[1])
      assert.is_true(list.data == table.concat(back))
      isidle(base)
    end)

    it("answers one question after the other", function()
      local base = t.base()
      local list, asked = {}, {}
      local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
        conn:setcb(function(b) b:write(b:read():upper()) end, nil,
          function(b, what)
            if what ~= "connected" then b:close_after_flush() end
          end):enable "read"
      end, {tls = bound}))
      for i = 1, 10 do
        local bev = base:bufferevent(nil, {tls = client})
        asked[i] = 1
        bev:setcb(function(b)
          assert.equal("ASK " .. asked[i], b:read())
          asked[i] = asked[i] + 1
          if asked[i] < 6 then b:write("ask " .. asked[i]) else b:shutdown() end
        end, nil, function(b, what)
          if what == "connected" then
            -- right behind its last word, or some time after that
            if i % 2 == 0 then b:write "ask 1" end
          else
            list[#list + 1] = what
            b:close()
          end
        end):enable "read"
        if i % 2 == 1 then bev:write "ask 1" end
        assert(bev:connect(listener:sockname()))
      end
      t.runtill(base, function() return #list == 10 end)
      assert.equal(("eof "):rep(10), table.concat(list, " ") .. " ")
      base:close()
    end)

    it("is the same whatever the pieces of the net are", function()
      local base = t.base()
      local s, c, proxy = secure.through(base, {single = 1}, bound)
      local one, other = gather(s), gather(c)
      s:write(NOISE:sub(1, 700)):shutdown()
      c:write(NOISE:sub(1, 900)):shutdown()
      t.runtill(base, function() return one.over and other.over end)
      assert.same({"eof reading", "eof reading"}, {one[1], other[1]})
      assert.is_true(one.data == NOISE:sub(1, 900))
      assert.is_true(other.data == NOISE:sub(1, 700))
      assert.is_true(proxy.up > 900 and proxy.down > 700)
      base:close()
    end)

    it("sends to one who reads slowly", function()
      local base = t.base()
      local s, c = pair(base, bound)
      local file <close> = assert(io.tmpfile())
      file:write(NOISE, NOISE, NOISE):flush()
      local size, late = 0, 0
      local last = ""
      c:setcb(function(b)
        local data = b:read()
        size = size + #data
        last = data
        b:disable "read"
        late = late + 1
        base:timer(function() b:enable "read" end):add(0.0002)
      end, nil, t.expect(function(b, what)
        assert.equal("eof", what)
        b:close()
      end)):enable "read"
      s:output():add_file(file)
      s:write(NOISE, "the end"):close_after_flush()
      t.runtill(base, function() return t.isclosed(c) end)
      assert.equal(4 * #NOISE + 7, size)
      assert.equal("the end", last:sub(-7))
      assert.is_true(late > 10)
      isidle(base)
    end)

    it("takes nothing that somebody has changed on the way", function()
      local base = t.base()
      local change = false
      local s, c = secure.through(base, {up = function(data)
        if not change then return data end
        local last = data:byte(-1)
        return data:sub(1, -2) .. string.char(last ~ 1)
      end}, bound)
      local one, other = gather(s), gather(c)
      change = true
      c:write "something else"
      t.runtill(base, function() return one.over and other.over end)
      assert.equal("error 71 decryption failed or bad record mac", one[1])
      assert.equal("", one.data)
      assert.matches("^error 71 .*alert bad record mac", other[1])
      isidle(base)
    end)

    it("takes what came before that", function()
      local base = t.base()
      local kept
      local s, c = secure.through(base, {up = function(data)
        if kept == nil then return data end
        kept = kept .. data
        if #kept < 10000 then return nil end
        return kept .. "\23\3\3\0\64" .. ("x"):rep(64)
      end}, bound)
      local one = gather(s)
      kept = ""
      c:write(("x"):rep(10000))
      t.runtill(base, function() return one.over end)
      assert.equal(10000, #one.data)
      assert.equal("error 71 decryption failed or bad record mac", one[1])
      c:close()
      base:close()
    end)
  end)
end

describe("A bufferevent with TLS", function()
  before_each(t.start)
  after_each(t.finish)

  describe("in its handshake", function()
    it("takes what is to be sent for later", function()
      local base = t.base()
      local first
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        conn:setcb(function(b)
          first = (first or "") .. b:read()
        end):enable "read"
        l:close()
      end))
      local bev = base:bufferevent(nil, {tls = client})
      bev:write(("secret"):rep(100))
      bev:output():add "secret, too"
      assert(bev:connect(listener:sockname()))
      bev:write "secret":flush()
      t.runfor(base, 0.03)
      assert.equal("\22\3\1", first:sub(1, 3))
      assert.is_nil(first:find("secret", 1, true))
      base:close()
      base = t.base()
      local got
      listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        got = gather(conn:write "hello, ")
        conn:write "client"
        l:close()
      end, {tls = server}))
      bev = base:bufferevent(nil, {tls = client}):write "hello, "
      local back = gather(bev)
      assert(bev:connect(listener:sockname()))
      bev:write "server":close_after_flush()
      t.runtill(base, function() return got and got.over end)
      assert.same({"connected", "eof reading", data = "hello, server",
                   over = true}, got)
      assert.equal("", back.data)
      isidle(base)
    end)

    it("can be shut down, and sends what it has to", function()
      local base = t.base()
      local got
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        got = gather(conn)
        l:close()
      end, {tls = server}))
      local bev = base:bufferevent(nil, {tls = client}):write(NOISE)
      assert(bev:connect(listener:sockname()))
      bev:shutdown()
      local back = gather(bev)
      t.runtill(base, function() return back.over end)
      assert.is_true(got.data == NOISE)
      assert.same({"connected", "eof reading"}, {got[1], got[2]})
      isidle(base)
    end)

    it("ends when its time is over", function()
      local base = t.base()
      local quick = {handshake_timeout = 0.02}
      local sock
      local heard = {}
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        conn:setcb(nil, nil, t.expect(function(b, ...)
          heard.server = {...}
          assert.is_nil(b:tls())
          b:close()
        end)):enable "read"
        l:close()
      end, {tls = secure.server(quick)}))
      sock = sockets.dial(secure.portof(listener))
      t.runtill(base, function() return heard.server end)
      assert.same({"timeout", "reading"}, heard.server)
      assert.equal("closed", (select(2, sock:receive "*a")))
      sock:close()
      local plain = sockets.listen()
      local bev = base:bufferevent(nil, {tls = secure.client(quick)})
      bev:setcb(nil, nil, t.expect(function(b, ...)
        heard.client = {...}
        b:close()
      end))
      assert(bev:connect("127.0.0.1:" .. select(2, plain:getsockname())))
      t.runtill(base, function() return heard.client end)
      assert.same({"timeout", "reading"}, heard.client)
      plain:close()
      isidle(base)
    end)

    it("and a slow one ends as well", function()
      local base = t.base()
      local hello = secure.hello(base)
      local over
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        conn:setcb(nil, nil, t.expect(function(b, what)
          over = what
          b:close()
        end))
        l:close()
      end, {tls = secure.server {handshake_timeout = 0.05}}))
      local sock = sockets.dial(secure.portof(listener))
      local n = 0
      local drip = base:timer(function()
        n = n + 1
        sock:send(hello:sub(n, n))
      end, "persist"):add(0.002)
      t.runtill(base, function() return over end)
      assert.equal("timeout", over)
      drip:close()
      sock:close()
      isidle(base)
    end)

    it("waits for it as long as it takes, if it is told to", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function() end),
        {tls = secure.server {handshake_timeout = false}}))
      local sock = sockets.dial(secure.portof(listener))
      t.runfor(base, 0.03)
      assert.is_nil(base:dump_events():find "timeout")
      sock:close()
      base:close()
    end)

    it("leaves nothing behind when the peer goes", function()
      local base = t.base()
      local hello = secure.hello(base)
      local n, over = 0, 0
      local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
        conn:setcb(nil, nil, function(_, what, message, errno)
          over = over + 1
          assert.equal("error", what)
          assert.equal(ECONNRESET, errno)
          assert.matches(n % 2 == 0 and "closed the connection in the handshake"
                         or "reset by peer", message)
        end)
      end, {tls = server}))
      for _, size in ipairs {0, 1, 5, 6, 100, #hello - 1, #hello} do
        for _, leave in ipairs {sockets.vanish, function(s) s:close() end} do
          n = n + 1
          local sock = sockets.dial(secure.portof(listener))
          sock:send(hello:sub(1, size))
          t.turns(base, 3)
          if size == #hello then sock:receive(1) end
          leave(sock)
          t.runtill(base, function() return over == n end)
        end
      end
      listener:close()
      isidle(base)
    end)

    it("leaves nothing behind when nobody listens to it", function()
      local base = t.base()
      local hello = secure.hello(base)
      local n = 0
      local listener = assert(base:listener("127.0.0.1:0",
        function() n = n + 1 end, {tls = server}))
      for i = 1, 4 do
        local sock = sockets.dial(secure.portof(listener))
        if i > 1 then sock:send(hello:sub(1, i * 50)) end
        t.runtill(base, function() return n == i end)
        t.turns(base, 2)
        if i % 2 == 0 then sockets.vanish(sock) else sock:close() end
        t.runtill(base, function() return base:num_events() <= 2 end)
      end
      listener:close()
      isidle(base)
    end)

    it("can be closed, and dropped with its base", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        function(_, conn) conn:close() end, {tls = server}))
      local bev = base:bufferevent(nil, {tls = client})
      local list = secure.listen(bev, {})
      assert(bev:connect(listener:sockname()))
      t.runtill(base, function() return list.over end)
      assert.matches("^error 104 ", list[1])
      bev = base:bufferevent(nil, {tls = client})
      assert(bev:connect(listener:sockname()))
      bev:close()
      bev = base:bufferevent(nil, {tls = client})
      assert(bev:connect(listener:sockname()))
      bev:close_after_flush()
      bev = base:bufferevent(nil, {tls = client}):write "x"
      assert(bev:connect(listener:sockname()))
      bev:close_after_flush()
      base:bufferevent(nil, {tls = client}):connect(listener:sockname())
      base:loop "nonblock"
      base:close()
    end)

    it("lives on its own", function()
      local base = t.base()
      local done
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        conn:setcb(t.expect(function(b)
          assert.equal("still here", b:read())
          done = true
          b:close()
        end)):enable "read"
        l:close()
      end, {tls = server}))
      base:bufferevent(nil, {tls = client}):write "still here"
        :connect(listener:sockname())
      repeat
        collectgarbage() collectgarbage()
        base:loop "once"
      until done
      assert.is_true(t.isclosed(listener))
      isidle(base)
    end)

    it("whose callback raises, is over", function()
      local base = t.base()
      local raised = 0
      base:set_error_cb(function(err)
        assert.matches("^mine", err)
        raised = raised + 1
      end)
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        conn:setcb(nil, nil, function() error("mine", 0) end)
        l:close()
      end, {tls = server}))
      local bev = base:bufferevent(nil, {tls = client})
      bev:setcb(nil, nil, function() error("mine", 0) end)
      assert(bev:connect(listener:sockname()))
      t.runtill(base, function() return raised == 2 end)
      base:close()
    end)
  end)

  it("tells all of its session", function()
    local base = t.base()
    local s, c = pair(base, secure.server {verify = "optional",
                        trust = certificates.root.certificate},
                      secure.known "client")
    local session = c:tls()
    assert.equal("TLSv1.3", session.version)
    assert.matches("^TLS_", session.cipher)
    assert.is_nil(session.alpn)
    assert.is_nil(session.verify_error)
    assert.same({false, true, "localhost"}, {session.resumed,
                session.verified, session.hostname})
    local peer = session.peer
    assert.equal("CN=good,O=Specs", peer.subject)
    assert.equal("CN=The intermediate,O=Specs", peer.issuer)
    assert.same({"localhost", "*.good.test", "127.0.0.1", "::1"}, peer.names)
    assert.is_true(peer.not_before <= os.time()
                   and peer.not_before > os.time() - 3600)
    assert.equal(3650 * 86400, peer.not_after - peer.not_before)
    assert.equal(certificates.good.pem, peer.pem)
    local pipe = io.popen("env -u LD_PRELOAD openssl x509 -noout -serial "
      .. "-fingerprint -sha256 -in " .. certificates.good.certificate)
    local serial, print = pipe:read("a"):match "serial=(%x+)\n.-=([%x:]+)"
    pipe:close()
    assert.equal(serial:lower(), peer.serial:lower())
    assert.equal(print:gsub(":", ""):lower(), peer.fingerprint)
    assert.same({"client.test"}, s:tls().peer.names)
    assert.equal("CN=client,O=Specs", s:tls().peer.subject)
    c:close()
    t.raises("closed", c.tls, c)
    local list = gather(s)
    t.runtill(base, function() return list.over end)
    base:close()
  end)

  it("tells why a peer is none that it has not verified", function()
    local base = t.base()
    for kind, why in pairs {expired = "certificate has expired",
                            alone = "self.signed certificate"} do
      local _, c = pair(base, secure.server({}, kind),
                        secure.client {verify = false})
      assert.is_false(c:tls().verified)
      assert.matches(why, c:tls().verify_error)
    end
    base:close()
  end)

  it("tells of none where there is none", function()
    local base = t.base()
    local a, b = base:pair()
    assert.is_nil(a:tls())
    assert.is_nil(b:tls())
    assert.is_nil(base:bufferevent():tls())
    assert.is_nil(base:bufferevent(nil, {tls = client}):tls())
    base:close()
  end)

  it("logs the keys, for those who want to look into it", function()
    local base = t.base()
    for _, version in ipairs(secure.VERSIONS) do
      local one, other = t.path(), t.path()
      pair(base, secure.server {keylog = one, max_version = version},
           secure.client {keylog = other})
      local text = t.contents(one)
      assert.equal(#text, #t.contents(other))
      assert.matches(version == "1.2" and "^CLIENT_RANDOM %x+ %x+\n$"
                     or "\nSERVER_TRAFFIC_SECRET_0 %x+ %x+\n", text)
      assert.equal("rw-------", lfs.attributes(one, "permissions"))
      os.remove(one)
      os.remove(other)
    end
    base:close()
  end)

  it("keeps what it needs of its context", function()
    local base = t.base()
    local s, c = pair(base, secure.server(), secure.client())
    collectgarbage() collectgarbage()
    local one = gather(s)
    c:write(NOISE):close_after_flush()
    t.runtill(base, function() return one.over end)
    assert.is_true(one.data == NOISE)
    isidle(base)
  end)

  it("serves many at a time", function()
    local base = t.base()
    local over, sum = 0, 0
    local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
      conn:setcb(function(b) b:write(b:input()) end, nil, function(b, what)
        if what ~= "connected" then b:close_after_flush() end
      end):enable "read"
    end, {tls = server}))
    for i = 1, 30 do
      local bev = base:bufferevent(nil, {tls = client})
      bev:setcb(function(b) sum = sum + #b:read() end, nil,
        function(b, what, message)
          assert(what ~= "error", message)
          if what == "eof" then
            over = over + 1
            b:close()
          end
        end):enable "read"
      bev:write(NOISE:sub(1, i * 1000)):connect(listener:sockname())
      bev:shutdown()
    end
    t.runtill(base, function() return over == 30 end)
    assert.equal(30 * 31 * 500, sum)
    listener:close()
    isidle(base)
  end)
end)
