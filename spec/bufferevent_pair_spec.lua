local libevent = require "libevent"
local t = require "spec.helper"

local runfor, events, collect = t.runfor, t.events, t.collect

--- Enough of them for all that needs no waiting.
local function turns(base) t.turns(base, 5) end

local EPIPE = 32
local MEGABYTES = t.pattern(4 << 20)

local isclosed = t.isclosed

--- Keeps what arrives in list, and closes nothing.
local function gather(bev, list)
  bev:setcb(function(b) list[#list + 1] = b:read() end)
  return bev:enable "read"
end

describe("a pair", function()
  before_each(t.start)
  after_each(t.finish)

  describe("when made", function()
    it("is two ends that know each other", function()
      local base = t.base()
      local a, b = base:pair()
      assert.equal(b, a:partner())
      assert.equal(a, b:partner())
      assert.is_nil(a:underlying())
      assert.equal(base, b:base())
      assert.equal("write", a:enabled())
      assert.same({a:getcb()}, {})
      assert.matches("^libevent.Bufferevent %(0x%x+%)$", tostring(a))
      assert.equal(0, base:num_events())
    end)

    it("has no descriptor, and so none of its methods", function()
      local base = t.base()
      local a, b = base:pair()
      assert.is_nil(a:getfd())
      assert.is_nil((a:sockname()))
      assert.is_nil((a:peername()))
      for _, call in ipairs {
        {"connect", "127.0.0.1:1"}, {"setfd"}, {"detach"},
        {"setsockopt", "nodelay", true}, {"getsockopt", "nodelay"},
        {"priority_set", 0},
      } do
        assert.error_matches(function()
          a[call[1]](a, table.unpack(call, 2))
        end, "Bufferevent is not on a socket", nil, nil, call[1])
      end
      assert.is_nil(base:bufferevent():partner())
      assert.equal(0, b:priority())
    end)

    it("wants an open base", function()
      local base = t.base()
      base:close()
      assert.has_error(function() base:pair() end,
        "calling 'pair' on bad self (Base is closed)")
    end)
  end)

  describe("with data", function()
    it("carries every byte both ways", function()
      local base = t.base()
      local bytes = {}
      for i = 0, 255 do bytes[i + 1] = string.char(i) end
      local all = table.concat(bytes)
      local a, b = base:pair()
      local one, two = collect(a), collect(b)
      a:write(all):shutdown()
      b:write(all:reverse()):shutdown()
      turns(base)
      assert.equal(all:reverse(), one.data)
      assert.equal(all, two.data)
    end)

    it("carries megabytes, written at once", function()
      local base = t.base()
      local a, b = base:pair()
      local one, two = collect(a), collect(b)
      a:write(MEGABYTES):shutdown()
      b:write(MEGABYTES, "!"):shutdown()
      turns(base)
      assert.is_true(MEGABYTES == two.data)
      assert.is_true(MEGABYTES .. "!" == one.data)
    end)

    it("carries single bytes in their order", function()
      local base = t.base()
      local a, b = base:pair()
      local got = collect(b)
      local n = 0
      a:setcb(nil, function()
        n = n + 1
        if n > 300 then return end
        a:write(string.char(n & 255))
        if n == 300 then a:shutdown() end
      end):trigger "write"
      turns(base)
      local wanted = {}
      for i = 1, 300 do wanted[i] = string.char(i & 255) end
      assert.equal(table.concat(wanted), got.data)
    end)

    it("calls nobody inside the script's own calls", function()
      local base = t.base()
      local a, b = base:pair()
      local called = 0
      local function count() called = called + 1 end
      a:setcb(count, count, count):enable "read"
      b:setcb(count, count, count):enable "read"
      a:write "x"
      b:write "y":flush(nil, "flush")
      a:close()
      assert.equal(0, called)
      assert.equal("x", b:read())
      turns(base)
      assert.is_true(called > 0)
    end)

    it("moves Buffers and inputs without a copy of its own", function()
      local base = t.base()
      local a, b = base:pair()
      local c, d = base:pair()
      local buffer = libevent.buffer(MEGABYTES)
      b:setcb(function() c:write(b:input()) end, nil,
              t.expect(function() c:close() end)):enable "read"
      local got = collect(d)
      a:write_buffer(buffer):close()
      assert.equal(0, #buffer)
      turns(base)
      assert.is_true(MEGABYTES == got.data)
    end)

    it("calls write when the partner has taken all", function()
      local base = t.base()
      local a, b = base:pair()
      a:setcb(nil, t.expect(function(self)
        assert.equal(a, self)
        assert.equal(0, #a:output())
      end)):write "data"
      runfor(base, 0.01)
      assert.equal(4, #a:output())
      b:enable "read"
      runfor(base, 0.01)
      assert.equal("data", b:read())
    end)

    it("does not call read when the script has read it all already", function()
      local base = t.base()
      local a, b = base:pair()
      b:setcb(t.never()):enable "read"
      a:write "data"
      assert.equal("data", b:read())
      turns(base)
    end)

    it("takes its own echo", function()
      local base = t.base()
      local a, b = base:pair()
      a:enable "read"
      for _ = 1, 10 do b:write(("0123456789"):rep(100)) end
      turns(base)
      assert.equal(5555, a:input():remove_buffer(b:output(), 5555))
      b:write(a:input())
      turns(base)
      local data = a:read()
      assert.equal(10000, #data)
      assert.equal(("5678901234"):rep(4), data:sub(1, 40))
    end)
  end)

  describe("with switches", function()
    it("holds back what is not read, and lets it go when enabled", function()
      local base = t.base()
      local a, b = base:pair()
      b:setcb(t.expect(function() assert.equal("held", b:read()) end))
      a:write "held"
      runfor(base, 0.01)
      assert.equal(4, #a:output())
      b:enable "read"
      turns(base)
      b:disable "read"
      a:write "again"
      turns(base)
      assert.equal(5, #a:output())
      assert.equal(0, #b:input())
    end)

    it("holds back what is not to be written", function()
      local base = t.base()
      local a, b = base:pair()
      local got = {}
      gather(b, got)
      a:disable "write":write "later"
      turns(base)
      assert.same({}, got)
      a:enable "write"
      turns(base)
      assert.same({"later"}, got)
    end)

    it("goes on when it is switched in its callbacks", function()
      local base = t.base()
      local a, b = base:pair()
      local list = {}
      b:setcb(function()
        list[#list + 1] = b:read()
        b:disable "read"
        base:timer(function() b:enable "read" end):add(0)
        if #list < 50 then a:write(#list) else a:close() end
      end, nil, t.expect(function(_, what) assert.equal("eof", what) end))
      b:enable "read"
      a:write "0"
      t.run(base)
      assert.equal("0123456789", table.concat(list):sub(1, 10))
      assert.equal(50, #list)
    end)
  end)

  describe("with watermarks", function()
    it("waits for the low mark, and delivers less at the end", function()
      local base = t.base()
      local a, b = base:pair()
      b:setwatermark("read", 5):enable "read"
      b:setcb(t.expect(function() assert.equal("12345", b:read()) end), nil,
        t.expect(function(_, what)
          assert.equal("eof", what)
          assert.equal("67", b:read())
        end))
      a:write "123"
      turns(base)
      a:write "45"
      turns(base)
      a:write "67":close()
      turns(base)
    end)

    it("takes no more than the high mark before it is read", function()
      local base = t.base()
      local a, b = base:pair()
      local data = MEGABYTES:sub(1, 100000)
      local list = {}
      b:setwatermark("read", 0, 5000)
      b:setcb(function()
        assert.is_true(#b:input() <= 5000)
        list[#list + 1] = b:read()
      end, nil, t.expect()):enable "read"
      a:setcb(nil, function() a:close() end)
      a:write(data)
      t.run(base)
      assert.is_true(data == table.concat(list))
      assert.equal(20, #list)
    end)

    it("calls once at the high mark and does not spin", function()
      local base = t.base()
      local a, b = base:pair()
      local calls = 0
      b:setcb(function() calls = calls + 1 end)
      b:setwatermark("read", 0, 100):enable "read"
      a:write(("x"):rep(1000))
      assert.is_true(t.countturns(base, 0.03) < 10)
      assert.equal(1, calls)
      assert.equal("read|write", b:enabled())
      assert.equal(100, #b:input())
      b:read(60)
      runfor(base, 0.01)
      assert.equal(2, calls)
      b:setwatermark "read"
      runfor(base, 0.01)
      assert.equal(940, #b:read())
      assert.equal(3, calls)
    end)

    it("goes on after it was enabled at its high mark", function()
      local base = t.base()
      local a, b = base:pair()
      local sizes = {}
      b:setcb(function() sizes[#sizes + 1] = #b:input() end)
      b:setwatermark("read", 0, 100):enable "read"
      a:write(("x"):rep(250))
      turns(base)
      b:disable "read":enable "read"
      turns(base)
      b:read()
      turns(base)
      assert.same({100, 100}, sizes)
    end)

    it("goes on after a mark was set below what is there", function()
      local base = t.base()
      local a, b = base:pair()
      local n = 0
      b:setcb(function() n = n + 1 end):enable "read"
      a:write(("x"):rep(250))
      turns(base)
      b:setwatermark("read", 0, 100)
      turns(base)
      a:write "more"
      turns(base)
      assert.equal(4, #a:output())
      assert.equal(1, n)
      b:read()
      turns(base)
      assert.equal("more", b:read())
      assert.equal(2, n)
    end)

    it("calls write at the low mark of its output", function()
      local base = t.base()
      local a, b = base:pair()
      local left = {}
      a:setwatermark("write", 300)
      a:setcb(nil, function() left[#left + 1] = #a:output() end)
      b:setwatermark("read", 0, 100)
      b:setcb(function() b:read() end)
      a:write(("x"):rep(1000))
      b:enable "read"
      turns(base)
      assert.is_true(left[1] <= 300)
      assert.equal(0, left[#left])
    end)
  end)

  describe("with timeouts", function()
    it("tells of nothing to read, and waits again when enabled", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events(2)
      b:setcb(function() b:read() end, nil, event)
      b:set_timeouts(0.02):enable "read"
      runfor(base, 0.04)
      assert.same({{"timeout", "reading"}}, list)
      assert.equal("write", b:enabled())
      a:write "held"
      turns(base)
      assert.equal(4, #a:output())
      b:enable "read"
      assert.equal("held", b:read())
      runfor(base, 0.04)
      assert.same({"timeout", "reading"}, list[2])
    end)

    it("tells of a partner that does not read", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events(2)
      a:setcb(nil, t.expect(), event):set_timeouts(nil, 0.02)
      turns(base)
      a:write "data"
      runfor(base, 0.04)
      assert.same({{"timeout", "writing"}}, list)
      assert.equal("", a:enabled())
      a:enable "write"
      runfor(base, 0.04)
      assert.same({"timeout", "writing"}, list[2])
      a:enable "write"
      b:enable "read"
      turns(base)
      assert.equal("data", b:read())
    end)

    it("counts from the last data", function()
      local base = t.base()
      local a, b = base:pair()
      local n = 0
      b:setcb(function() b:read() end, nil, t.expect(function(_, what)
        assert.equal("timeout", what)
        assert.equal(5, n)
      end)):set_timeouts(0.03):enable "read"
      local timer
      timer = base:timer(function()
        n = n + 1
        a:write "x"
        if n == 5 then timer:del() end
      end, "persist"):add(0.015)
      t.run(base)
    end)

    it("has none while it does not read, even if it is handed data", function()
      local base = t.base()
      local a, b = base:pair()
      b:setcb(t.expect(), nil, t.never()):set_timeouts(0.01)
      a:write "data":flush("write", "flush")
      runfor(base, 0.03)
      assert.equal("data", b:read())
    end)

    it("closes itself after one without an event callback", function()
      local base = t.base()
      local a, b = base:pair()
      a:set_timeouts(0.01):enable "read"
      local got = collect(b)
      t.run(base)
      assert.is_true(isclosed(a))
      assert.equal("", got.data)
    end)
  end)

  describe("that is flushed", function()
    it("does nothing in mode normal", function()
      local base = t.base()
      local a, b = base:pair()
      b:setcb(t.never(), nil, t.never())
      a:write "held"
      assert.is_false(a:flush())
      assert.is_false(a:flush("write", "normal"))
      turns(base)
      assert.equal(4, #a:output())
    end)

    it("hands over what its partner does not read yet", function()
      local base = t.base()
      local a, b = base:pair()
      b:setcb(t.expect(nil, 2), nil, t.never()):setwatermark("read", 0, 2)
      a:write "held"
      assert.is_true(a:flush("write", "flush"))
      turns(base)
      assert.equal("held", b:read())
      a:write "more"
      assert.is_true(b:flush("read", "flush"))
      assert.equal(0, #a:output())
      turns(base)
      assert.equal("more", b:read())
      assert.equal("", b:read())
    end)

    it("finished, is at an end", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events()
      b:setcb(t.expect(function() assert.equal("held", b:read()) end), nil,
              event)
      a:write "held"
      assert.is_true(a:flush("write", "finished"))
      assert.is_false(a:flush("write", "finished"))
      assert.has_error(function() a:write "x" end,
        "calling 'write' on bad self (Bufferevent is shut down for writing)")
      turns(base)
      assert.same({{"eof", "reading"}}, list)
      a:close()
      turns(base)
    end)

    it("tells the partner which direction is finished", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events()
      b:setcb(nil, nil, event)
      assert.is_true(a:flush("read", "finished"))
      turns(base)
      assert.same({{"eof", "writing"}}, list)
      assert.equal("", b:enabled())
      assert.is_true(a:close() == a)
    end)
  end)

  describe("at the end of one side's data", function()
    local ends = {
      ["closed"] = function(a) a:close() end,
      ["closed after the flush"] = function(a) a:close_after_flush() end,
      ["shut down"] = function(a) a:shutdown() end,
      ["closed after a shutdown"] = function(a) a:shutdown():close() end,
    }
    for name, finish in pairs(ends) do
      it("delivers all when " .. name, function()
        local base = t.base()
        local a, b = base:pair()
        local got = collect(b)
        a:write "last words"
        finish(a)
        turns(base)
        assert.equal("last words", got.data)
      end)

      it("delivers the end alone when " .. name, function()
        local base = t.base()
        local a, b = base:pair()
        local list, event = events()
        b:setcb(t.never(), t.never(), event):enable "read"
        finish(a)
        turns(base)
        assert.same({{"eof", "reading"}}, list)
        assert.equal("write", b:enabled())
      end)
    end

    for _, name in ipairs {"close", "close_after_flush"} do
      it("hands over all, whatever the marks: " .. name, function()
        local base = t.base()
        local a, b = base:pair()
        local list, event = events()
        b:setcb(nil, nil, event):setwatermark("read", 0, 100):enable "read"
        a:write(("x"):rep(1000))
        a[name](a)
        turns(base)
        assert.same({{"eof", "reading"}}, list)
        assert.equal(1000, #b:read())
      end)

      it("hands over all to one that does not read yet: " .. name, function()
        local base = t.base()
        local a, b = base:pair()
        local list, event = events()
        b:setcb(nil, nil, event)
        a:disable "write":write(MEGABYTES)
        a[name](a)
        assert.is_true(MEGABYTES == b:read())
        turns(base)
        assert.same({{"eof", "reading"}}, list)
      end)
    end

    it("ends a shutdown only when the partner has taken all", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events()
      b:setcb(nil, nil, event):setwatermark("read", 0, 4)
      a:write "12345678":shutdown()
      turns(base)
      assert.same({}, list)
      b:enable "read"
      turns(base)
      assert.equal("1234", b:read())
      turns(base)
      assert.equal("5678", b:read())
      turns(base)
      assert.same({{"eof", "reading"}}, list)
    end)

    it("goes on the other way after a shutdown", function()
      local base = t.base()
      local a, b = base:pair()
      local got = {}
      gather(a, got)
      b:setcb(nil, nil, t.expect(function() b:write "still":close() end))
      b:enable "read"
      a:setcb(a:getcb(), nil, t.expect())
      a:shutdown()
      turns(base)
      assert.same({"still"}, got)
      assert.is_true(isclosed(b))
    end)

    it("comes from shutting down the reading of one's own, too", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events()
      a:setcb(t.never(), t.never(), event):enable "read"
      assert.equal(a, a:shutdown "read")
      turns(base)
      assert.same({{"eof", "reading"}}, list)
      b:setcb(nil, nil, t.never()):write "not taken"
      turns(base)
      assert.equal(9, #b:output())
      local got = collect(b)
      a:write "still":shutdown "read|write"
      a:setcb(nil, nil, t.expect())
      turns(base)
      assert.equal("still", got.data)
    end)

    it("sends its own rest first without an event callback", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events()
      a:setcb(nil, nil, event)
      b:write(MEGABYTES)
      b:enable "read"
      a:shutdown()
      turns(base)
      assert.is_true(isclosed(b))
      assert.is_true(MEGABYTES == a:read())
      assert.same({{"eof", "reading"}}, list)
    end)

    it("is an error to write: EPIPE", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events(2)
      a:setcb(nil, t.never(), event):enable "read"
      b:close()
      assert.is_nil(a:partner())
      turns(base)
      assert.same({{"eof", "reading"}}, list)
      assert.equal(a, a:write "to nobody")
      turns(base)
      assert.same({"error", "Broken pipe", EPIPE}, list[2])
      assert.equal("", a:enabled())
      assert.equal(9, #a:output())
      assert.same({nil, "Broken pipe", EPIPE}, {a:shutdown()})
      assert.is_false(a:flush(nil, "finished"))
      turns(base)
    end)

    it("is an error for what was not taken", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events(2)
      a:setcb(nil, t.never(), event):write "not taken"
      b:close()
      turns(base)
      table.sort(list, function(x, y) return x[1] < y[1] end)
      assert.same({{"eof", "reading"}, {"error", "Broken pipe", EPIPE}}, list)
    end)

    it("is an error once writing is enabled", function()
      local base = t.base()
      local a, b = base:pair()
      local list, event = events(2)
      a:setcb(nil, nil, event):disable "write":write "x"
      b:close()
      turns(base)
      assert.same({{"eof", "reading"}}, list)
      a:enable "write"
      turns(base)
      assert.same({"error", "Broken pipe", EPIPE}, list[2])
    end)

    it("closes itself on EPIPE without an event callback", function()
      local base = t.base()
      local a, b = base:pair()
      b:close()
      turns(base)
      assert.is_true(isclosed(a))
      a, b = base:pair()
      a:setcb(nil, nil, t.expect())
      b:close()
      turns(base)
      a:setcb():write "x"
      turns(base)
      assert.is_true(isclosed(a))
    end)
  end)

  describe("whose ends are closed", function()
    for _, order in ipairs {{1, 2}, {2, 1}, {1, 1, 2}, {2, 2, 1, 1}} do
      it("in the order " .. table.concat(order, ", ") .. " calls nobody",
      function()
        local base = t.base()
        local ends = {base:pair()}
        for _, bev in ipairs(ends) do
          bev:setcb(t.never(), t.never(), t.never()):enable "read":write "x"
        end
        for _, i in ipairs(order) do
          assert.equal(ends[i], ends[i]:close())
        end
        turns(base)
        assert.equal(0, base:num_events())
      end)
    end

    local closers = {
      ["itself"] = function(a) a:close() end,
      ["its partner"] = function(_, b) b:close() end,
      ["both"] = function(a, b) a:close() b:close() end,
      ["both, the partner first"] = function(a, b) b:close() a:close() end,
      ["the base"] = function(a) a:base():close() end,
    }
    local calls = {
      ["read"] = function(a, b) a:enable "read" b:write "data" end,
      ["write"] = function(a, b) b:enable "read" a:write "data" end,
      ["eof"] = function(a, b) a:enable "read" b:shutdown() end,
      ["error"] = function(a, b) a:write "data" b:close() end,
      ["timeout"] = function(a) a:set_timeouts(0.001):enable "read" end,
      ["trigger"] = function(a) a:trigger "write" end,
      ["trigger_event"] = function(a) a:trigger_event "timeout|writing" end,
    }
    for closed, close in pairs(closers) do
      for called, call in pairs(calls) do
        it(("in a callback is safe: %s, in %s"):format(closed, called),
        function()
          local base = t.base()
          local a, b = base:pair()
          local done
          local function act()
            if done then return end
            done = true
            close(a, b)
            collectgarbage() collectgarbage()
          end
          a:setcb(act, act, act)
          call(a, b)
          base:timer(function() base:loopexit() end):add(0.005)
          base:dispatch()
          assert.is_true(done)
          assert.equal(closed ~= "its partner", isclosed(a))
          base:close()
        end)
      end
    end

    it("drops its callbacks and its buffers", function()
      local base = t.base()
      local a, b = base:pair()
      local input, output = a:input(), a:output()
      b:write "x"
      a:close()
      for _, buffer in ipairs {input, output} do
        assert.has_error(function() buffer:length() end,
          "calling 'length' on bad self (Bufferevent is closed)")
      end
      assert.has_error(function() a:partner() end,
        "calling 'partner' on bad self (Bufferevent is closed)")
    end)
  end)

  describe("that nobody holds", function()
    it("delivers what is on its way", function()
      local base = t.base()
      for _ = 1, 100 do
        local a, b = base:pair()
        local _ = collect(b)
        a:write "data":close_after_flush()
      end
      collectgarbage() collectgarbage()
      turns(base)
      assert.equal(0, base:num_events())
    end)

    it("delivers what is written in company", function()
      local base = t.base()
      local n = 0
      for _ = 1, 100 do
        local a, b = base:pair()
        b:setcb(function(self)
          n = n + 1
          collectgarbage()
          self:close()
        end):enable "read"
        a:setcb(nil, function() n = n + 1 end, function() n = n + 1 end)
        a:write "data"
      end
      turns(base)
      assert.equal(300, n)
    end)

    it("waits for its timeouts", function()
      local base = t.base()
      do
        local a = base:pair()
        a:setcb(nil, nil, t.expect()):set_timeouts(0.01):enable "read"
        local b = base:pair()
        b:setcb(nil, nil, t.expect()):set_timeouts(nil, 0.01):write "x"
      end
      collectgarbage() collectgarbage()
      t.run(base)
    end)

    it("lives through its partner", function()
      local base = t.base()
      local a = base:pair()
      do
        local b = a:partner()
        b:setcb(t.expect(function(self) self:write(self:input()) end))
        b:enable "read"
      end
      collectgarbage() collectgarbage()
      local got = {}
      gather(a, got):write "echo"
      turns(base)
      assert.same({"echo"}, got)
    end)

    local states = {
      ["new"] = function() end,
      ["idle, with callbacks"] = function(a, b)
        a:setcb(function() return b end, function() return a end, print)
        a:enable "read"
        b:setcb(function() return a end):enable "read"
      end,
      ["after data"] = function(a, b)
        a:setcb(function() a:read() end):enable "read"
        b:write "data"
      end,
      ["with output that nobody reads"] = function(a) a:write "data" end,
      ["at its high mark, after a close"] = function(a, b)
        b:setwatermark("read", 0, 2):setcb(function() end, nil, function() end)
        b:enable "read"
        a:write "data":close()
      end,
      ["after eof"] = function(a, b)
        b:setcb(nil, nil, function() end):enable "read"
        a:close()
      end,
      ["after a timeout"] = function(a)
        a:setcb(nil, nil, function() end):set_timeouts(0.001, 0.001)
        a:enable "read":write "data"
      end,
      ["whose buffers are known"] = function(a, b)
        a:setcb(function() return a:input(), b:output() end)
      end,
      ["closed, both"] = function(a, b) a:close() b:close() end,
    }
    for name, prepare in pairs(states) do
      it("is collected when it is " .. name, function()
        local base = t.base()
        local weak = setmetatable({}, {__mode = "k"})
        do
          local a, b = base:pair()
          weak[a], weak[b] = true, true
          prepare(a, b)
        end
        runfor(base, 0.01)
        turns(base)                       -- for what came late, and is deferred
        collectgarbage() collectgarbage()
        assert.is_nil(next(weak))
        turns(base)
        assert.equal(0, base:num_events())
      end)
    end

    it("is kept at its high mark until it is closed", function()
      local base = t.base()
      local weak = setmetatable({}, {__mode = "k"})
      do
        local a, b = base:pair()
        weak[a], weak[b] = true, true
        b:setwatermark("read", 0, 2):setcb(function() end):enable "read"
        a:write "data"
      end
      turns(base)
      collectgarbage() collectgarbage()
      for bev in pairs(weak) do bev:close() end
      collectgarbage() collectgarbage()
      assert.is_nil(next(weak))
      turns(base)
    end)
  end)

  it("that moves data all the time lets others have their turn", function()
    local base = t.base()
    local a, b = base:pair()
    local n = 0
    local function echo(self) n = n + 1 self:write(self:input()) end
    a:setcb(echo, nil, t.expect(function(_, what, detail)
      assert.equal("timeout", what)
      assert.equal("writing", detail)
      a:close()
    end)):enable "read"
    b:setcb(echo, nil, t.expect(function() b:close() end)):enable "read"
    base:timer(t.expect(function()
      assert.is_true(n > 10)
      a:trigger_event "timeout|writing"
    end)):add(0.01)
    a:write "x"
    t.run(base)
  end)

  it("that is disabled for writing is not called for it", function()
    local base = t.base()
    local a, b = base:pair()
    a:setcb(nil, t.never()):disable "write":write "x"
    b:enable "read"
    turns(base)
  end)

  it("calls with errors that the loop raises", function()
    local base = t.base()
    local a, b = base:pair()
    a:setcb(function() error "oh no" end):enable "read"
    b:write "data"
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find "oh no")
    assert.equal("data", a:read())
    a:setcb(t.expect())
    b:write "more"
    turns(base)
  end)
end)
