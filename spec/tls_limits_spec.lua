-- TLS on the bufferevent of a socket: its marks and limits, below filters, and
-- relayed.
local libevent = require "libevent"
local rates = require "spec.rates"
local secure = require "spec.secure"
local t = require "spec.helper"

local server, client = secure.server(), secure.client()
local gather, isidle, pair = secure.gather, secure.isidle, secure.pair
local NOISE = secure.noise(1 << 20)

describe("A bufferevent with TLS", function()
  before_each(t.start)
  after_each(t.finish)

  describe("is told to wait", function()
    it("by marks of reading", function()
      local base = t.base()
      local s, c = pair(base)
      local most, calls, sum = 0, 0, 0
      c:setwatermark("read", 0, 1000)
      c:setcb(function(b)
        calls = calls + 1
        most = math.max(most, #b:input())
        if calls % 2 == 0 then
          sum = sum + #b:read()
        else
          base:timer(function() sum = sum + #b:read() end):add(0)
        end
      end, nil, t.expect(function(b)
        sum = sum + #b:read()
        b:close()
      end)):enable "read"
      s:write(NOISE):close_after_flush()
      t.runtill(base, function() return t.isclosed(c) end)
      assert.equal(#NOISE, sum)
      assert.is_true(most < 1000 + 16385, most)
      isidle(base)
    end)

    it("by a low mark of reading", function()
      local base = t.base()
      local s, c = pair(base)
      local sizes = {}
      c:setwatermark("read", 100)
      c:setcb(function(b)
        sizes[#sizes + 1] = #b:input()
        b:input():drain()
      end):enable "read"
      for _ = 1, 15 do
        s:write(("x"):rep(10))
        t.turns(base, 3)
      end
      assert.same({100}, sizes)
      c:setwatermark("read", 0)
      s:write "y"
      t.runtill(base, function() return #sizes == 2 end)
      assert.equal(51, sizes[2])
      base:close()
    end)

    it("and tells how far it has written", function()
      local base = t.base()
      local s, c = pair(base)
      local one = gather(s)
      local left = {}
      c:setwatermark("write", 100000)
      c:setcb(nil, function(b)
        left[#left + 1] = #b:output()
        if #left == 1 then b:write "the end":shutdown() end
      end)
      c:write(NOISE)
      t.runtill(base, function() return one.over end)
      assert.equal(#NOISE + 7, #one.data)
      assert.is_true(left[1] <= 100000)
      base:close()
    end)

    it("while it does not read", function()
      local base = t.base()
      local s, c = pair(base)
      c:setcb(t.never(), nil, t.never())
      s:write "x"
      t.runfor(base, 0.02)
      local list = gather(c)
      t.runtill(base, function() return list.data == "x" end)
      c:disable "read"
      s:write "y":shutdown()
      t.runfor(base, 0.02)
      assert.equal("x", list.data)
      c:enable "read"
      t.runtill(base, function() return list.over end)
      assert.equal("xy", list.data)
      base:close()
    end)

    it("while it does not write", function()
      local base = t.base()
      local s, c = pair(base)
      local one = gather(s)
      c:disable "write":write "x"
      t.runfor(base, 0.02)
      assert.equal("", one.data)
      c:enable "write"
      t.runtill(base, function() return one.data == "x" end)
      base:close()
    end)

    it("though data came with the handshake", function()
      local base = t.base()
      for _, version in ipairs(secure.VERSIONS) do
        local got, conn
        local kept, n = "", 0
        local listener = assert(base:listener("127.0.0.1:0", function(l, b)
          conn = b:setcb(function(x) got = (got or "") .. x:read() end)
          l:close()
        end, {tls = secure.server {max_version = version}}))
        -- all that follows the hello comes at once
        local proxy = secure.proxy(base, listener:sockname(), {
          up = function(data, p)
            n = n + 1
            if n == 1 then return data end
            kept = kept .. data
            if #kept > 500 then
              p.passed = true
              data, kept = kept, ""
              return data
            end
          end})
        local bev = base:bufferevent(nil, {tls = client,
                                           hostname = "localhost"})
        bev:setcb(nil, nil, function(b, what)
          if what == "connected" then b:write(("x"):rep(1000)) end
        end)
        assert(bev:connect(proxy.address))
        if version == "1.2" then                -- the server is to be last
          bev:write(("x"):rep(500))
          base:timer(function()
            kept = kept .. ""
            if not proxy.passed then
              proxy.far:write(kept)
              kept = ""
            end
          end):add(0.02)
        end
        t.runfor(base, 0.05)
        assert.is_nil(got)
        conn:enable "read"
        t.runtill(base, function() return got and #got >= 1000 end)
        bev:close()
        conn:close()
        t.turns(base, 5)
      end
      base:close()
    end)
  end)

  describe("has limits", function()
    --- A stream as of spec/rates.lua, but with TLS.
    local function stream(base, all)
      local s = {}
      s.from, s.to = pair(base, server, client)
      s.from:setcb(nil, function(from) from:write(rates.CHUNK) end)
      s.from:write(rates.CHUNK)
      s.to:setcb(function(to)
        local n = #to:input()
        to:input():drain()
        rates.count(s, to, n)
        if all then rates.count(all, to, n) end
      end):enable "read"
      return s
    end

    it("of reading", function()
      local base = t.base()
      local s = stream(base)
      s.to:set_rate_limit {read = 400000, tick = 0.02}
      rates.runfor(base, 0.3, s)
      rates.worked(400000, s)
      base:close()
    end)

    it("of writing", function()
      local base = t.base()
      local s = stream(base)
      s.from:set_rate_limit {write = 400000, tick = 0.02}
      rates.runfor(base, 0.3, s)
      rates.worked(400000, s)
      base:close()
    end)

    it("that it shares with others", function()
      local base = t.base()
      local all = {}
      local group = base:rate_limit_group {read = 4000000, tick = 0.02}
      local streams = {}
      for i = 1, 3 do
        streams[i] = stream(base, all)
        streams[i].to:add_to_rate_limit_group(group)
      end
      rates.runfor(base, 0.4, all, table.unpack(streams))
      rates.worked(4000000, all)
      for _, s in ipairs(streams) do assert.is_true(s.bytes > 0) end
      base:close()
    end)

    it("whose group counts in its totals", function()
      local base = t.base()
      local s, c = pair(base)
      local group = base:rate_limit_group {read = 1e6, write = 1e6}
      s:add_to_rate_limit_group(group)
      c:add_to_rate_limit_group(group)
      local one = gather(s)
      c:write(NOISE:sub(1, 20000)):close_after_flush()
      t.runtill(base, function() return one.over end)
      local read, written = group:totals()
      assert.is_true(read >= 20000 and read < 22000, read)
      assert.is_true(written >= 20000 and written < 22000, written)
      base:close()
    end)

    it("from before the handshake on, and none after", function()
      local base = t.base()
      local got = {}
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        conn:write(NOISE):close_after_flush()
        l:close()
      end, {tls = server}))
      local bev = base:bufferevent(nil, {tls = client})
      secure.listen(bev, got)
      bev:set_rate_limit {read = 500000, tick = 0.01}
      assert(bev:connect(listener:sockname()))
      t.runfor(base, 0.1)
      assert.is_true(#got.data > 1000 and #got.data < 120000, #got.data)
      bev:set_rate_limit(nil)
      t.runtill(base, function() return got.over end)
      assert.is_true(got.data == NOISE)
      base:close()
    end)

    it("of one turn", function()
      local base = t.base()
      local s, c = pair(base)
      local most = 0
      local got = {}
      c:set_max_single_read(100)
      s:set_max_single_write(1000)
      c:setcb(function(b)
        most = math.max(most, #b:input())
        got[#got + 1] = b:read()
      end, nil, t.expect(function(b) b:close() end)):enable "read"
      s:write(NOISE:sub(1, 50000)):close_after_flush()
      t.runtill(base, function() return t.isclosed(c) end)
      assert.is_true(table.concat(got) == NOISE:sub(1, 50000))
      assert.is_true(most <= 1000, most)
      base:close()
    end)
  end)

  describe("is below a filter", function()
    local function swapped(source, sink)
      sink:add((source:remove():gsub("%a", function(c)
        return c:lower() == c and c:upper() or c:lower()
      end)))
      return true
    end

    it("which stands on it when the hands are shaken", function()
      local base = t.base()
      local s, c = pair(base)
      local f, g = base:filter(s, swapped, swapped), base:filter(c)
      local one, other = gather(f), gather(g)
      g:write "Hello":shutdown()
      f:write "wORLD"
      t.runtill(base, function()
        return one.over and other.data == "World"
      end)
      assert.same({"hELLO", "eof reading"}, {one.data, one[1]})
      t.runtill(base, function() return other.over end)
      assert.equal("eof reading", other[1])
      isidle(base)
    end)

    it("which stands on it before that", function()
      local base = t.base()
      local one
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        one = gather(base:filter(conn, swapped, swapped))
        l:close()
      end, {tls = server}))
      local below = base:bufferevent(nil, {tls = client})
      local top = base:filter(below, swapped, swapped)
      local other = gather(top)
      assert.is_nil(top:tls())
      assert(below:connect(listener:sockname()))
      top:write(NOISE)
      t.runtill(base, function() return one and #one.data == #NOISE end)
      assert.is_true(one.data == NOISE)
      assert.equal("connected", one[1])
      assert.equal("connected", other[1])
      assert.is_true(top:tls().verified)
      assert.equal(below:tls().cipher, top:tls().cipher)
      t.raises("belongs to a filter", below.starttls, below, client, false)
      top:close_after_flush()
      t.runtill(base, function() return one.over end)
      assert.equal("eof reading", one[2])
      isidle(base)
    end)

    it("and fails with it", function()
      local base = t.base()
      local s, c, proxy = secure.through(base, {mute = true})
      local top = gather(base:filter(base:filter(s)))
      c:write "some"
      t.runtill(base, function() return top.data == "some" end)
      proxy.far:close()
      t.runtill(base, function() return top.over end)
      assert.matches("^error 104 the connection was cut", top[1])
      proxy.near:close()
      c:close()
      isidle(base)
    end)

    it("and is refused with it", function()
      local base = t.base()
      local one
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        one = gather(base:filter(conn))
        l:close()
      end, {tls = server}))
      local below = base:bufferevent(nil, {tls = client,
                                           hostname = "other.test"})
      local other = gather(base:filter(below))
      assert(below:connect(listener:sockname()))
      t.runtill(base, function() return one and one.over and other.over end)
      assert.matches("^error 71 certificate verify failed: hostname mismatch",
                     other[1])
      assert.matches("^error 71 .*alert", one[1])
      isidle(base)
    end)

    it("with marks, timeouts and much data", function()
      local base = t.base()
      local s, c = pair(base)
      local f = base:filter(s)
      local sum = 0
      f:setwatermark("read", 0, 5000)
      f:set_timeouts(2 * t.slow, 2 * t.slow)
      f:setcb(function(b) sum = sum + #b:read() end, nil,
        t.expect(function(b, what)
          assert.equal("eof", what)
          b:close()
        end)):enable "read"
      c:write(NOISE, NOISE):close_after_flush()
      t.runtill(base, function() return t.isclosed(f) end)
      assert.equal(2 * #NOISE, sum)
      isidle(base)
    end)
  end)

  it("is relayed to one with it, or without", function()
    local base = t.base()
    for _, inner in ipairs {server, false} do
      local one, other
      local backend = assert(base:listener("127.0.0.1:0", function(l, conn)
        one = gather(conn:write(NOISE))
        conn:shutdown()
        l:close()
      end, {tls = inner or nil}))
      local front = assert(base:listener("127.0.0.1:0", function(l, conn)
        local out = base:bufferevent(nil, {tls = inner and client or nil})
        assert(out:connect(backend:sockname()))
        libevent.relay(conn, out)
        l:close()
      end, {tls = server}))
      local bev = base:bufferevent(nil, {tls = client})
      other = gather(bev)
      assert(bev:connect(front:sockname()))
      bev:write(NOISE, "!"):shutdown()
      t.runtill(base, function() return one and one.over and other.over end)
      assert.is_true(other.data == NOISE)
      assert.is_true(one.data == NOISE .. "!")
      isidle(base)
    end
  end)
end)
