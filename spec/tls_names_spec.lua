-- TLS on the bufferevent of a socket: whom it connects to, and by which names;
-- what the two agree on by SNI and ALPN, and resume.
local libevent = require "libevent"
local certificates = require "spec.certificates"
local secure = require "spec.secure"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local ECONNREFUSED = 111

local server, client = secure.server(), secure.client()
local gather, isidle, pair = secure.gather, secure.isidle, secure.pair

for _, version in ipairs(secure.VERSIONS) do
  local bound = secure.server {max_version = version}

  describe("A bufferevent with TLS " .. version, function()
    before_each(t.start)
    after_each(t.finish)

    it("resumes what it was before", function()
      local base = t.base()
      local mine = secure.client()
      local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
        conn:write "x"
      end, {tls = bound}))
      local function meet(options)
        local session
        local bev = base:bufferevent(nil, options)
        bev:setcb(function(b)
          session = b:tls()
          b:close()
        end):enable "read":connect(listener:sockname())
        t.runtill(base, function() return session end)
        return session
      end
      local named = {tls = mine, hostname = "localhost"}
      assert.is_false(meet(named).resumed)
      for _ = 1, 3 do
        local session = meet(named)
        assert.is_true(session.resumed)
        assert.is_true(session.verified)
        assert.equal(certificates.good.pem, session.peer.pem)
      end
      -- of another name, or another context, nothing
      assert.is_false(meet {tls = mine, hostname = "x.good.test"}.resumed)
      assert.is_false(meet {tls = secure.client(),
                            hostname = "localhost"}.resumed)
      local never = secure.client {resume = false}
      for _ = 1, 2 do
        assert.is_false(meet {tls = never, hostname = "localhost"}.resumed)
      end
      listener:close()
      bound = secure.server {max_version = version, resume = false}
      listener = assert(base:listener("127.0.0.1:0", function(_, conn)
        conn:write "x"
      end, {tls = bound}))
      for _ = 1, 2 do assert.is_false(meet(named).resumed) end
      base:close()
    end)

    it("keeps the sessions of the last peers", function()
      local base = t.base()
      local mine = secure.client {verify = false}
      local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
        conn:write "x"
      end, {tls = secure.server {max_version = version}}))
      local function resumes(name)
        local session
        local bev = base:bufferevent(nil, {tls = mine, hostname = name})
        bev:setcb(function(b)
          session = b:tls()
          b:close()
        end):enable "read":connect(listener:sockname())
        t.runtill(base, function() return session end)
        return session.resumed
      end
      assert.is_false(resumes "first.test")
      assert.is_true(resumes "first.test")
      for i = 1, 257 do assert.is_false(resumes("n" .. i .. ".test")) end
      assert.is_false(resumes "first.test")
      assert.is_true(resumes "n257.test")
      base:close()
    end)

    it("resumes a client that the server knows", function()
      local base = t.base()
      local mine = secure.known "client"
      local seen = {}
      local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
        conn:setcb(nil, nil, function(b, what)
          if what ~= "connected" then return end
          seen[#seen + 1] = b:tls()
          b:write "x"
        end)
      end, {tls = secure.server {max_version = version, verify = "required",
                                 trust = certificates.root.certificate}}))
      for i = 1, 2 do
        local bev = base:bufferevent(nil, {tls = mine, hostname = "localhost"})
        bev:setcb(function(b) b:close() end):enable "read"
        bev:connect(listener:sockname())
        t.runtill(base, function() return t.isclosed(bev) and seen[i] end)
        assert.is_true(seen[i].verified)
        assert.equal(certificates.client.pem, seen[i].peer.pem)
        assert.equal(i == 2, seen[i].resumed)
      end
      base:close()
    end)
  end)
end

describe("A bufferevent with TLS", function()
  before_each(t.start)
  after_each(t.finish)

  describe("that is to be made", function()
    it("knows what it is for", function()
      local base = t.base()
      t.raises("libevent.tls.Context expected, got boolean", base.bufferevent,
               base, nil, {tls = true})
      t.raises("'hostname' without 'tls'", base.bufferevent, base, nil,
               {hostname = "localhost"})
      for _, name in ipairs {"", "a\0b", ("x"):rep(256), ".good.test",
                             "*.good.test", "127.0.0.1 ", "a b"} do
        t.raises("'hostname': a host name or an IP address expected",
                 base.bufferevent, base, nil, {tls = client, hostname = name})
      end
      t.raises("'hostname': string or false expected, got boolean",
               base.bufferevent, base, nil, {tls = client, hostname = true})
      t.raises("'tls': a context for servers expected", base.listener, base,
               "127.0.0.1:0", print, {tls = client})
      t.raises("libevent.tls.Context expected", base.listener, base,
               "127.0.0.1:0", print, {tls = io.stdout})
      isidle(base)
    end)

    it("has to name its peer", function()
      local base = t.base()
      local listener = assert(base:listener("unix:@" .. t.path(), t.never()))
      local bev = base:bufferevent(nil, {tls = client})
      t.raises("an option 'hostname' of base:bufferevent expected",
               bev.connect, bev, listener:sockname())
      local a, b = libevent.socketpair()
      t.raises("'hostname' of base:bufferevent expected", bev.setfd, bev, a)
      t.raises("'hostname' expected, which the peer's certificate must have",
               base.bufferevent, base, a, {tls = client})
      libevent.closesocket(a)
      libevent.closesocket(b)
      listener:close()
      isidle(base)
    end)

    it("is no detached one", function()
      local base = t.base()
      local s, c = pair(base)
      t.raises("Bufferevent speaks TLS", s.detach, s)
      t.raises("Bufferevent speaks TLS", c.detach, c)
      t.raises("Bufferevent speaks TLS already", c.starttls, c, client, false)
      base:close()
    end)
  end)

  describe("connects", function()
    local function check(base, address, options, dial)
      local heard
      local listener = assert(base:listener(address, function(l, conn)
        conn:setcb(nil, nil, function(b, what, message)
          assert(what == "connected", message)
          b:write(b:tls().hostname or "nobody"):close_after_flush()
        end)
        l:close()
      end, {tls = server}))
      local bev = base:bufferevent(nil, options)
      local list = secure.listen(bev, {})
      assert(dial(bev, listener))
      assert.is_nil(bev:tls())
      t.runtill(base, function() return list.over end)
      heard = list.data
      assert.same({"connected", "eof reading"}, {list[1], list[2]})
      isidle(base)
      return heard
    end

    local function byaddress(bev, listener)
      return bev:connect(listener:sockname())
    end

    local function byname(host)
      return function(bev, listener)
        return bev:connect_hostname(host, secure.portof(listener))
      end
    end

    it("by an address, which the certificate must have", function()
      local base = t.base()
      assert.equal("nobody", check(base, "127.0.0.1:0", {tls = client},
                                   byaddress))
      assert.equal("nobody", check(base, "[::1]:0", {tls = client},
                                   byaddress))
    end)

    it("by a name", function()
      local base = t.base()
      for _, name in ipairs {"localhost", "LocalHost", "localhost."} do
        assert.equal("localhost", check(base, "127.0.0.1:0", {tls = client},
                                        byname(name)):lower())
      end
      assert.equal("nobody", check(base, "127.0.0.1:0", {tls = client},
                                   byname "127.0.0.1"))
      assert.equal("x.good.test", check(base, "127.0.0.1:0",
        {tls = client, hostname = "x.good.test"}, byname "localhost"))
    end)

    it("by a name of its own, or to anybody", function()
      local base = t.base()
      for _, address in ipairs {"127.0.0.1:0", "unix:" .. t.path(),
                                "unix:@" .. t.path()} do
        assert.equal("x.good.test", check(base, address, {
          tls = client, hostname = "x.good.test"}, byaddress))
        assert.equal("nobody", check(base, address, {
          tls = client, hostname = false}, byaddress))
        assert.equal("nobody", check(base, address, {
          tls = secure.client {verify = false}, hostname = nil}, byaddress))
      end
    end)

    it("again, when it is over", function()
      local base = t.base()
      local n = 0
      local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
        n = n + 1
        conn:write(tostring(n)):close_after_flush()
      end, {tls = server}))
      local bev = base:bufferevent(nil, {tls = client})
      local got, over = {}, nil
      bev:setcb(function(b) got[#got + 1] = b:read() end, nil,
        function(b, what)
          if what == "connected" then return end
          assert.equal("eof", what)
          b:setfd()
          assert.is_nil(b:tls())
          if #got < 3 then
            assert(b:enable "read":connect(listener:sockname()))
          else
            over = true
          end
        end)
      assert(bev:enable "read":connect(listener:sockname()))
      t.runtill(base, function() return over end)
      assert.same({"1", "2", "3"}, got)
      bev:close()
      listener:close()
      isidle(base)
    end)

    it("again, when nobody was there", function()
      local base = t.base()
      local bev = base:bufferevent(nil, {tls = client})
      local heard
      bev:setcb(nil, nil, function(_, what, _, errno)
        heard = errno or what
      end)
      assert(bev:connect("127.0.0.1:" .. sockets.unused()))
      t.runtill(base, function() return heard end)
      assert.equal(ECONNREFUSED, heard)
      heard = nil
      local listener = assert(base:listener("127.0.0.1:0", function() end,
                                            {tls = server}))
      assert(bev:connect(listener:sockname()))
      t.runtill(base, function() return heard end)
      assert.equal("connected", heard)
      base:close()
    end)

    it("again, when it was refused", function()
      local base = t.base()
      local bev = base:bufferevent(nil, {tls = client, hostname = "localhost"})
      local heard
      bev:setcb(nil, nil, function(_, what, message)
        heard = message or what
      end)
      local bad = assert(base:listener("127.0.0.1:0", function() end,
                                       {tls = secure.server({}, "expired")}))
      local fine = assert(base:listener("127.0.0.1:0", function() end,
                                        {tls = server}))
      for _ = 1, 2 do
        for _, listener in ipairs {bad, fine} do
          heard = nil
          assert(bev:connect(listener:sockname()))
          t.runtill(base, function() return heard end)
          assert.matches(listener == bad and "certificate has expired"
                         or "connected", heard)
        end
        assert.is_true(bev:tls().verified)
        bev:setfd()
      end
      base:close()
    end)

    it("on descriptors that it is given", function()
      local base = t.base()
      local heard = 0
      local function event(_, what, message)
        assert.equal("connected", what, message)
        heard = heard + 1
      end
      local a, b = libevent.socketpair()
      local one = base:bufferevent(a, {tls = server}):setcb(nil, nil, event)
      local other = base:bufferevent(nil, {tls = client,
                                           hostname = "localhost"})
      other:setcb(nil, nil, event)
      assert(other:setfd(b))
      t.runtill(base, function() return heard == 2 end)
      assert.is_true(other:tls().verified)
      local list = gather(one)
      other:write "over it":close_after_flush()
      t.runtill(base, function() return list.over end)
      assert.same({"over it", "eof reading"}, {list.data, list[1]})
      isidle(base)
    end)

    it("on a descriptor that is another's, and leaves it", function()
      local base = t.base()
      local sock, peer = sockets.pair()
      local heard = 0
      local function event(_, what, message)
        assert.equal("connected", what, message)
        heard = heard + 1
      end
      local one = base:bufferevent(sock, {tls = server}):setcb(nil, nil, event)
      local other = base:bufferevent(peer, {tls = client, hostname = false})
      other:setcb(nil, nil, event)
      t.runtill(base, function() return heard == 2 end)
      one:close()
      other:close()
      assert.is_true(t.isopen(sock:getfd()))
      sock:close()
      peer:close()
      isidle(base)
    end)
  end)

  describe("shows by SNI", function()
    local names

    setup(function()
      names = secure.server {names = {
        ["a.test"] = secure.server({}, "a"),
        ["*.b.test"] = secure.server({}, "b"),
        ["x.b.test"] = secure.server({}, "other"),
      }}
    end)

    local any = secure.client {verify = false}

    local function shown(base, name)
      local s, c = pair(base, names, any, name)
      local wanted = name
      assert.equal(wanted or nil, s:tls().hostname)
      local cn = c:tls().peer.subject:match "CN=(%w+)"
      s:close()
      c:close()
      return cn
    end

    it("the certificate of a name", function()
      local base = t.base()
      for name, cn in pairs {
        ["a.test"] = "a", ["A.TEST"] = "a", ["x.a.test"] = "good",
        ["y.b.test"] = "b", ["Y.B.Test"] = "b", ["x.b.test"] = "other",
        ["b.test"] = "good", ["x.y.b.test"] = "good", ["a.test.b"] = "good",
        ["localhost"] = "good", ["xb.test"] = "good",
      } do
        assert.equal(cn, shown(base, name), name)
      end
      local s, c = pair(base, names, any, false)
      assert.is_nil(s:tls().hostname)
      assert.is_truthy(c:tls().peer.subject:find "CN=good")
      base:close()
    end)

    it("which the client finds good", function()
      local base = t.base()
      for _, version in ipairs(secure.VERSIONS) do
        local mine = secure.client {max_version = version}
        for _, name in ipairs {"a.test", "y.b.test", "localhost"} do
          local s, c = pair(base, names, mine, name)
          assert.is_true(c:tls().verified)
          assert.equal(name, c:tls().hostname)
          s:close()
          c:close()
        end
      end
      base:close()
    end)

    it("and asks for certificates as ever", function()
      local base = t.base()
      local ctx = secure.server {verify = "required",
        trust = certificates.root.certificate,
        names = {["a.test"] = secure.server({}, "a")}}
      local one, other = secure.meet(base, ctx, client, "a.test")
      assert.matches("^error 71 peer did not return a certificate", one[1])
      assert.matches("alert", other[#other])
      one = secure.meet(base, ctx, secure.known "strange", "a.test")
      assert.matches("certificate verify failed", one[1])
      local s = pair(base, ctx, secure.known "client", "a.test")
      assert.is_true(s:tls().verified)
      base:close()
    end)

    it("and trusts whom it trusts, whatever the other one does", function()
      local base = t.base()
      local ctx = secure.server {verify = "required",
        trust = certificates.root.certificate,
        names = {["a.test"] = secure.server({
          trust = certificates.stranger.certificate, verify = "optional",
          alpn = {"never"}}, "a")}}
      for _, version in ipairs(secure.VERSIONS) do
        local one = secure.meet(base, ctx, secure.known("strange", {
          max_version = version}), "a.test")
        assert.matches("^error 71 certificate verify failed", one[1])
        one = secure.meet(base, ctx, secure.client {max_version = version},
                          "a.test")
        assert.matches("^error 71 peer did not return a certificate", one[1])
        local s, c = pair(base, ctx, secure.known("client", {
          max_version = version, alpn = {"other"}}), "a.test")
        assert.is_true(s:tls().verified)
        assert.is_nil(c:tls().alpn)
      end
      base:close()
    end)
  end)

  describe("agrees by ALPN", function()
    local function agreed(base, one, other)
      local s, c = pair(base, secure.server(one), secure.client(other))
      local alpn = s:tls().alpn
      assert.equal(alpn, c:tls().alpn)
      s:close()
      c:close()
      return alpn
    end

    it("on what the server likes best", function()
      local base = t.base()
      assert.equal("h2", agreed(base, {alpn = {"h2", "http/1.1"}},
                                {alpn = {"http/1.1", "h2"}}))
      assert.equal("http/1.1", agreed(base, {alpn = {"h2", "http/1.1"}},
                                      {alpn = {"http/1.1"}}))
      assert.is_nil(agreed(base, {alpn = {"h2"}}, {}))
      assert.is_nil(agreed(base, {}, {alpn = {"h2"}}))
      local long = ("x"):rep(255)
      assert.equal(long, agreed(base, {alpn = {long}, alpn_required = true},
                                {alpn = {"a", "b\0c", long},
                                 alpn_required = true}))
      base:close()
    end)
  end)
end)
