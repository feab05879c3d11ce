-- TLS on the bufferevent of a socket: how it ends, is cut, or is given up after
-- some time.
local socket = require "socket"
local libevent = require "libevent"
local certificates = require "spec.certificates"
local secure = require "spec.secure"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local server, client = secure.server(), secure.client()
local gather, isidle, pair = secure.gather, secure.isidle, secure.pair
local NOISE = secure.noise(1 << 20)

for _, version in ipairs(secure.VERSIONS) do
  local bound = secure.server {max_version = version}

  describe("A bufferevent with TLS " .. version, function()
    before_each(t.start)
    after_each(t.finish)

    it("says that nothing more comes, and listens on", function()
      local base = t.base()
      local s, c = pair(base, bound)
      local one, other = {}, gather(c)
      one.data = ""
      s:setcb(function(b) one.data = one.data .. b:read() end, nil,
        t.expect(function(b, what, detail)
          assert.same({"eof", "reading"}, {what, detail})
          b:write("so far: ", one.data):close_after_flush()
        end)):enable "read"
      c:write "a question":shutdown()
      t.raises("shut down for writing", c.write, c, "x")
      t.runtill(base, function() return other.over end)
      assert.equal("so far: a question", other.data)
      assert.equal("eof reading", other[1])
      isidle(base)
    end)

    it("sends on after the peer's end", function()
      local base = t.base()
      local s, c = pair(base, bound)
      local one = gather(s)
      local ended
      c:setcb(nil, nil, t.expect(function(b, what)
        assert.equal("eof", what)
        ended = true
        b:write(NOISE)
        b:close_after_flush()
      end)):enable "read"
      s:shutdown()
      t.runtill(base, function() return one.over end)
      assert.is_true(ended and one.data == NOISE)
      assert.equal("eof reading", one[1])
      isidle(base)
    end)

    it("tells the end from a cut", function()
      local base = t.base()
      for _, side in ipairs {"near", "far"} do
        local s, c, proxy = secure.through(base, {mute = true}, bound)
        local one = gather(side == "near" and c or s)
        local other = side == "near" and s or c
        other:write "some":flush()
        t.runtill(base, function() return one.data == "some" end)
        proxy[side]:close()
        t.runtill(base, function() return one.over end)
        assert.same({"error 104 the connection was cut: its end is no end of "
                     .. "TLS"}, {one[1]})
        proxy[side == "near" and "far" or "near"]:close()
        other:close()
      end
      isidle(base)
    end)

    it("tells of its end though the connection stays", function()
      local base = t.base()
      local s, c, proxy = secure.through(base, {mute = true}, bound)
      local one = gather(s)
      c:write "some":close_after_flush()
      t.runtill(base, function() return one.over end)
      assert.same({"eof reading", "some"}, {one[1], one.data})
      proxy.near:close()
      proxy.far:close()
      isidle(base)
    end)

    it("tells of an end that came while it did not read", function()
      local base = t.base()
      local s, c, proxy = secure.through(base, {mute = true}, bound)
      local heard
      s:setcb(t.expect(function(b)
        assert.equal("some", b:read())
        b:disable "read"
        base:timer(function() b:enable "read" end):add(0.01)
      end), nil, t.expect(function(b, what)
        heard = what
        b:close()
      end)):enable "read"
      c:write "some":close_after_flush()
      t.runtill(base, function() return heard end)
      assert.equal("eof", heard)
      proxy.near:close()
      proxy.far:close()
      isidle(base)
    end)
  end)
end

describe("A bufferevent with TLS", function()
  before_each(t.start)
  after_each(t.finish)

  describe("ends", function()
    it("by close, with the last word of TLS", function()
      local base = t.base()
      for _, close in ipairs {"close", "close_after_flush"} do
        local s, c = pair(base)
        local one = gather(s)
        c[close](c)
        t.runtill(base, function() return one.over end)
        assert.equal("eof reading", one[1])
      end
      local one = gather((pair(base)))
      collectgarbage() collectgarbage()
      t.runtill(base, function() return one.over end)
      assert.equal("eof reading", one[1])
      isidle(base)
    end)

    it("by itself, where nobody listens to its end", function()
      local base = t.base()
      local s, c = pair(base)
      s:setcb(function(b) b:write(b:input()) end):enable "read"
      local other = gather(c)
      c:write(NOISE):shutdown()
      t.runtill(base, function() return other.over end)
      assert.is_true(other.data == NOISE)
      assert.equal("eof reading", other[1])
      assert.is_true(t.isclosed(s))
      isidle(base)
    end)

    it("with its base, in any callback", function()
      for _, which in ipairs {"connected", "read", "write", "eof"} do
        local base = t.base()
        local done = false
        local function finish(word)
          if word ~= which then return end
          base:close()
          done = true
        end
        local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
          conn:setcb(function(b) b:write(b:read()):shutdown() end)
            :enable "read"
        end, {tls = server}))
        local bev = base:bufferevent(nil, {tls = client})
        bev:setcb(function(b)
          b:read()
          finish "read"
        end, function() finish "write" end, function(_, what) finish(what) end)
        bev:enable "read":write "x":connect(listener:sockname())
        repeat base:loop "once" until done
        assert.is_true(t.isclosed(bev))
      end
    end)

    it("with the process", function()
      for finish, wanted in pairs {["os.exit(0, true)"] = 0, ["os.exit(0)"] = 0,
                                   [""] = 0, ["error 'mine'"] = 1} do
        local output, status = t.lua(([[
          local tls = require "libevent.tls"
          local base = require "libevent".base()
          local n = 0
          local function heard(_, what) n = n + (what == "connected" and 1 or 0)
          end
          local listener = base:listener("127.0.0.1:0", function(_, conn)
            conn:setcb(function() end, nil, heard):enable "read"
          end, {tls = tls.context {role = "server", certificate = "%s",
                                   key = "%s"}})
          local bev = base:bufferevent(nil, {tls = tls.context {trust = "%s"}})
          bev:setcb(nil, nil, heard):write(("x"):rep(1000000))
          bev:connect(listener:sockname())
          repeat base:loop "once" until n == 2
          print "spoken"
          %s
        ]]):format(certificates.good.certificate, certificates.good.key,
                   certificates.root.certificate, finish))
        assert.matches("^spoken\n", output)
        assert.equal(wanted, status)
      end
    end)

    it("with a cut, if it throws away what was to be sent", function()
      local base = t.base()
      for _, close in ipairs {"close", "setfd"} do
        local s, c = pair(base)
        local one = gather(s)
        c:write "lost"
        c[close](c)
        t.runtill(base, function() return one.over end)
        assert.matches("^error 104 ", one[1])
        assert.equal("", one.data)
        c:close()
      end
      isidle(base)
    end)

    it("with all that was written before it closes after that", function()
      local base = t.base()
      local s, c = pair(base)
      local one = gather(s)
      c:write(NOISE, NOISE):close_after_flush()
      t.raises("closed", c.write, c, "x")
      t.runtill(base, function() return one.over end)
      assert.is_true(one.data == NOISE .. NOISE)
      assert.equal("eof reading", one[1])
      isidle(base)
    end)

    it("though the peer sends on", function()
      local base = t.base()
      local s, c = pair(base)
      local one = gather(s)
      s:write(NOISE)
      t.turns(base, 2)
      c:write(NOISE):close_after_flush()
      t.runtill(base, function() return one.over end)
      assert.is_true(one.data == NOISE)
      assert.equal("eof reading", one[1])
      t.run(base)
      isidle(base)
    end)

    it("when the peer takes nothing", function()
      local base = t.base()
      local s, c = pair(base)
      s:write(NOISE:rep(8)):close_after_flush(0.05)
      local before = libevent.gettime_monotonic()
      t.run(base)
      assert.is_true(libevent.gettime_monotonic() - before < 2 * t.slow)
      c:close()
      isidle(base)
    end)

    it("by a reset", function()
      local base = t.base()
      local s, c, proxy = secure.through(base, {mute = true})
      local one = gather(s)
      local fd = proxy.far:detach()
      local sock = socket.tcp()
      sock:setfd(fd)
      sockets.vanish(sock)
      t.runtill(base, function() return one.over end)
      assert.matches("^error 104 Connection reset by peer", one[1])
      c:close()
      proxy.near:close()
      isidle(base)
    end)

    it("in any callback", function()
      local base = t.base()
      for _, which in ipairs {"read", "write", "event"} do
        local s, c = pair(base)
        local one = gather(s)
        local function close(b) b:close() end
        if which == "read" then
          c:setcb(close):enable "read"
          s:write "x"
        elseif which == "write" then
          c:setcb(nil, close):write "x"
        else
          c:setcb(nil, nil, close):enable "read"
          s:shutdown()
        end
        t.runtill(base, function() return one.over end)
        assert.equal("eof reading", one[1])
        assert.is_true(t.isclosed(c))
      end
      isidle(base)
    end)
  end)

  describe("with a timeout", function()
    it("ends a reading", function()
      local base = t.base()
      local s, c = pair(base)
      local heard
      c:set_timeouts(0.03 * t.slow)
      c:setcb(function(b) b:read() end, nil, t.expect(function(b, ...)
        heard = {...}
        b:close()
      end)):enable "read"
      local n = 0
      local ticks = base:timer(function(e)
        n = n + 1
        s:write "x"
        if n == 5 then e:close() end
      end, "persist"):add(0.01)
      t.runtill(base, function() return heard end)
      assert.same({"timeout", "reading"}, heard)
      assert.equal(5, n)
      assert.is_true(t.isclosed(ticks))
      base:close()
    end)

    it("ends a writing", function()
      local base = t.base()
      local s, c = pair(base)
      local heard
      c:set_timeouts(nil, 0.03)
      c:setcb(nil, nil, t.expect(function(b, ...)
        heard = {...}
        b:close()
      end))
      c:write(NOISE:rep(8))
      t.runtill(base, function() return heard end)
      assert.same({"timeout", "writing"}, heard)
      s:close()
      base:close()
    end)

    it("leaves the handshake its own", function()
      local base = t.base()
      local heard
      local plain = sockets.listen()
      local bev = base:bufferevent(nil, {
        tls = secure.client {handshake_timeout = 0.05}})
      bev:set_timeouts(0.01, 0.01)
      bev:setcb(nil, nil, t.expect(function(b, what, detail)
        heard = what .. " " .. detail
        b:close()
      end)):enable "read":write "x"
      local before = libevent.gettime_monotonic()
      assert(bev:connect("127.0.0.1:" .. select(2, plain:getsockname())))
      t.runtill(base, function() return heard end)
      assert.equal("timeout reading", heard)
      assert.is_true(libevent.gettime_monotonic() - before > 0.04)
      plain:close()
      isidle(base)
    end)
  end)
end)
