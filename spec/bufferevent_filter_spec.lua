local libevent = require "libevent"
local t = require "spec.helper"

local runfor, runtill = t.runfor, t.runtill
local events, collect = t.events, t.collect

local EBUSY, EPROTO, ECONNREFUSED = 16, 71, 111
local MEGABYTES = t.pattern(2 << 20)
local SOME = t.pattern(os.getenv "VALGRIND" and 20000 or 100000)

--- Enough of them for all that needs no waiting.
local function turns(base) t.turns(base, 10) end

local isclosed = t.isclosed

--- What a filter can stand on: two ends that are joined.
local grounds = {
  ["a pair"] = function(base) return base:pair() end,
  ["a socket"] = function(base)
    local one, two = assert(libevent.socketpair())
    return base:bufferevent(one), base:bufferevent(two)
  end,
}

--- describe for each of the grounds, which f is called with.
local function oneach(f)
  for name, make in pairs(grounds) do
    describe("on " .. name, function() f(make) end)
  end
end

--- The pieces that arrive at 'bev' until list.ended; it stays open then.
local function gather(bev)
  local list = {}
  local function take() list[#list + 1] = bev:read() end
  bev:setcb(take, nil, function() take() list.ended = true end)
  return list
end

-- {==== filter functions ====

local function passon(source, sink) sink:add(source) end

local function upper(source, sink) sink:add(source:remove():upper()) end

--- Every byte twice, and the way back.
local function double(source, sink)
  sink:add((source:remove():gsub(".", "%0%0")))
end

local function halve(source, sink)
  local n = #source // 2 * 2
  sink:add((source:remove(n):gsub("(.).", "%1")))
end

--- Whole lines alone, and at the end the rest.
local function lines(source, sink, mode)
  for line in function() return source:readln "lf" end do
    sink:add("<", line, ">")
  end
  if mode == "finished" then sink:add(source) end
end

--- Passes on, and has a last word.
local function last(word)
  return function(source, sink, mode)
    sink:add(source)
    if mode == "finished" then sink:add(word) end
  end
end

--- Keeps a list of (what was in the source, mode), and takes nothing.
local function watch(list)
  return function(source, _, mode)
    list[#list + 1] = mode .. " " .. tostring(source)
  end
end

-- ====}

describe("a filter", function()
  before_each(t.start)
  after_each(t.finish)

  describe("when made", function()
    it("stands on another bufferevent", function()
      local base = t.base()
      local below, other = base:pair()
      local filter = base:filter(below)
      assert.equal(below, filter:underlying())
      assert.is_nil(below:underlying())
      assert.is_nil(filter:partner())
      assert.equal(other, below:partner())
      assert.equal(base, filter:base())
      assert.equal("write", filter:enabled())
      assert.is_nil(filter:getfd())
      assert.matches("^libevent.Bufferevent %(0x%x+%)$", tostring(filter))
    end)

    it("knows the names of the socket", function()
      local base = t.base()
      t.connected(base, t.expect(function(server, client)
        local fd, name = server:getfd(), server:peername()
        local filter = base:filter(server)
        assert.equal(fd, filter:getfd())
        assert.equal(name, filter:peername())
        assert.equal(client:peername(), filter:sockname())
        filter:close()
        client:close()
      end))
      t.run(base)
    end)

    it("refuses what it cannot stand on", function()
      local base, another = t.base(), t.base()
      local a, b = base:pair()
      local filter = base:filter(a)
      for message, call in pairs {
        ["bad argument #1 to 'filter' (Bufferevent belongs to a filter)"] =
          function() base:filter(a) end,
        ["bad argument #1 to 'filter' (Bufferevent is of another base)"] =
          function() another:filter(filter) end,
        ["bad argument #2 to 'filter' (function expected, got \"in\")"] =
          function() base:filter(filter, "in") end,
        ["bad argument #3 to 'filter' (function expected, got 1)"] =
          function() base:filter(filter, nil, 1) end,
        ["bad argument #1 to 'filter' "
         .. "(libevent.Bufferevent expected, got nil)"] =
          function() base:filter() end,
      } do
        assert.has_error(call, message)
      end
      b:close()
      assert.has_error(function() base:filter(b) end,
        "bad argument #1 to 'filter' (Bufferevent is closed)")
      a:close()
      assert.has_error(function() base:filter(filter) end,
        "bad argument #1 to 'filter' (Bufferevent is closed)")
      another:close()
      assert.has_error(function() another:filter(base:pair()) end,
        "calling 'filter' on bad self (Base is closed)")
    end)

    it("takes the one below away from the script", function()
      local base = t.base()
      local below = base:pair()
      local filter = base:filter(below)
      for _, call in ipairs {
        {"read"}, {"write", "x"}, {"enable", "read"}, {"disable", "read"},
        {"setcb"}, {"getcb"}, {"flush"}, {"shutdown"}, {"detach"},
        {"read_buffer", libevent.buffer()}, {"setwatermark", "read", 1},
        {"write_buffer", libevent.buffer()}, {"trigger", "read"},
        {"trigger_event", "eof"}, {"close_after_flush"},
      } do
        assert.error_matches(function()
          below[call[1]](below, table.unpack(call, 2))
        end, "Bufferevent belongs to a filter", nil, nil, call[1])
      end
      assert.equal("", filter:read())
      assert.equal("read|write", below:enabled())
    end)

    it("stands on up to 15 others", function()
      local base = t.base()
      local bottom, far = base:pair()
      local filter = bottom
      for _ = 1, 16 do filter = base:filter(filter, passon, passon) end
      assert.has_error(function() base:filter(filter) end,
        "bad argument #1 to 'filter' (too many filters on each other)")
      filter:enable "read":setcb(t.expect(function()
        assert.equal("up", filter:read())
        filter:write "down":shutdown()
      end), nil, t.expect())
      local list, event = events()
      far:setcb(t.expect(function() assert.equal("down", far:read()) end),
                nil, event):enable "read":write "up"
      turns(base)
      assert.same({{"eof", "reading"}}, list)
      far:close()
      t.turns(base, 20)
    end)

    it("gets what is unread below", function()
      local base = t.base()
      local a, b = base:pair()
      a:enable "read"
      b:write "early":flush("write", "flush")
      turns(base)
      local filter = base:filter(a, upper)
      filter:setcb(t.expect(function()
        assert.equal("EARLY", filter:read())
      end))
      turns(base)
      filter:enable "read"
      turns(base)
    end)
  end)

  oneach(function(make)
    describe("with data", function()
      it("passes it on both ways without functions", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a)
        local one, two = collect(filter), collect(b)
        filter:write(MEGABYTES):shutdown()
        b:write(MEGABYTES, "!"):shutdown()
        t.run(base)
        assert.is_true(MEGABYTES .. "!" == one.data)
        assert.is_true(MEGABYTES == two.data)
      end)

      it("turns it into other data on its way", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, upper, double)
        local one, two = collect(filter), collect(b)
        filter:write "abc":shutdown()
        b:write "xyz":shutdown()
        t.run(base)
        assert.equal("XYZ", one.data)
        assert.equal("aabbcc", two.data)
      end)

      it("turns it there and back between two filters", function()
        local base = t.base()
        local a, b = make(base)
        local one = base:filter(a, halve, double)
        local two = base:filter(b, halve, double)
        local list, list2 = collect(one), collect(two)
        one:write(MEGABYTES):shutdown()
        two:write(MEGABYTES:reverse()):shutdown()
        t.run(base, 20)
        assert.is_true(MEGABYTES:reverse() == list.data)
        assert.is_true(MEGABYTES == list2.data)
      end)

      it("turns it there and back through stacks of filters", function()
        local base = t.base()
        local a, b = make(base)
        local one, two = a, b
        for _ = 1, 4 do
          one = base:filter(one, halve, double)
          two = base:filter(two, halve, double)
        end
        local list, list2 = collect(one), collect(two)
        one:write(SOME):shutdown()
        two:write(SOME:reverse()):shutdown()
        t.run(base, 20)
        assert.is_true(SOME:reverse() == list.data)
        assert.is_true(SOME == list2.data)
      end)

      it("gets single bytes in order", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, lines, upper)
        local got, back = collect(filter), collect(b)
        local text = "one\ntwo\n\nthree"
        local i = 0
        local timer
        timer = base:timer(function()
          i = i + 1
          if i > #text then
            b:shutdown()
            filter:shutdown()
            return timer:close()
          end
          b:write(text:sub(i, i))
          filter:write(text:sub(i, i))
        end, "persist"):add(0.0001)
        t.run(base)
        assert.equal("<one><two><>three", got.data)
        assert.equal(text:upper(), back.data)
      end)

      it("sees again, with more, what it has left", function()
        local base = t.base()
        local a, b = make(base)
        local list, sent = {}, {}
        local filter = base:filter(a, watch(list), watch(sent))
        filter:setcb(t.never(), t.never(), t.never()):enable "read"
        b:write "one" filter:write "1"
        turns(base)
        b:write "two" filter:write "2"
        turns(base)
        assert.same({"normal one", "normal onetwo"}, list)
        assert.same({"normal 1", "normal 12"}, sent)
        assert.equal("12", tostring(filter:output()))
      end)

      it("does not spin when it takes nothing", function()
        local base = t.base()
        local a, b = make(base)
        local n = 0
        local function nothing() n = n + 1 end
        local filter = base:filter(a, nothing, nothing)
        filter:enable "read":write "x"
        b:write "x"
        assert.is_true(t.countturns(base, 0.02) < 12)
        assert.equal(2, n)
        filter:flush(nil, "flush")
        assert.is_true(t.countturns(base, 0.02) < 12)
        assert.equal(4, n)
      end)

      it("is not called to read without data", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, function(source) source:drain() end)
        filter:setcb(t.never()):enable "read"
        b:write "swallowed"
        turns(base)
        assert.equal(0, #filter:input())
        assert.equal(0, #a:input())
      end)

      it("calls write once all has left the one below", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, nil, double)
        filter:setcb(nil, t.expect(function()
          assert.equal(0, #filter:output())
          assert.equal(0, #a:output())
        end)):write(MEGABYTES)
        runfor(base, 0.02)
        assert.is_true(#a:output() > 0)
        local n = 0
        b:setcb(function() n = n + #b:read() end):enable "read"
        runtill(base, function() return n >= 2 * #MEGABYTES end)
        assert.equal(2 * #MEGABYTES, n)
      end)

      it("calls write at the low mark", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(base:filter(a))
        local left = {}
        filter:setwatermark("write", 1 << 20):write(MEGABYTES)
        filter:setcb(nil, function()
          left[#left + 1] = #filter:output() + #a:output()
                            + #filter:underlying():output()
        end)
        local got = collect(b)
        runtill(base, function() return left[#left] == 0 end)
        filter:close()
        t.run(base)
        assert.is_true(MEGABYTES == got.data)
        assert.is_true(left[1] <= 1 << 20)
        assert.equal(0, left[#left])
      end)

      it("hands down no more than the high mark below", function()
        local base = t.base()
        local a, b = make(base)
        if not a:getfd() then
          local filter = base:filter(a, nil, passon)
          for _ = 1, 100 do
            filter:write(("x"):rep(1000))
            turns(base)
          end
          assert.equal(66000, #a:output())
          a:setwatermark("write", 0, 70000)
          filter:write "more"
          turns(base)
          assert.equal(100004, #a:output())
          filter:write "again"
          turns(base)
          assert.equal("again", tostring(filter:output()))
          filter:setcb(nil, t.expect())
          b:enable "read"
          turns(base)
          assert.equal(100009, #b:read())
        end
      end)

      it("may write to itself inside its functions", function()
        local base = t.base()
        local a, b = make(base)
        local filter
        local n = 0
        filter = base:filter(a, function(source, sink)
          filter:write("re:", source:copyout())
          sink:add(source)
        end, function(source, sink)
          n = n + 1
          sink:add(source)
          if n == 1 then filter:write "again" end
        end)
        filter:setcb(function() filter:read() end):enable "read"
        b:write "hello"
        local got = {}
        b:setcb(function() got[#got + 1] = b:read() end):enable "read"
        turns(base)
        assert.equal("re:helloagain", table.concat(got))
      end)

      it("stands what its functions do to their buffers", function()
        local base = t.base()
        local a, b = make(base)
        local kept = {}
        local filter = base:filter(a, function(source, sink)
          kept[#kept + 1], kept[#kept + 2] = source, sink
          if #kept == 2 then
            sink:add "one "
          elseif #kept == 4 then
            sink:add "lost":close()
          elseif #kept == 6 then
            source:close()
            sink:add "three "
          elseif #kept == 8 then
            source:close()
            sink:close()
          else
            sink:add(source)
          end
        end)
        local got = {}
        filter:setcb(function() got[#got + 1] = filter:read() end)
        filter:enable "read"
        for i = 1, 6 do
          b:write(i)
          turns(base)
          for _, buffer in ipairs(kept) do
            if not tostring(buffer):find "closed" then buffer:add "later" end
          end
          collectgarbage()
        end
        assert.equal("one three 56", table.concat(got))
      end)
    end)

    describe("with switches", function()
      it("holds back what is not read, and lets it go", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, t.expect(upper))
        b:write "held"
        runfor(base, 0.01)
        assert.equal(0, #a:input())
        filter:setcb(t.expect(function()
          assert.equal("HELD", filter:read())
        end)):enable "read"
        turns(base)
        filter:disable "read"
        b:write "more"
        turns(base)
        assert.equal(0, #a:input() + #filter:input())
      end)

      it("holds back what is not to be written", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, nil, t.expect(upper))
        filter:disable "write":write "held"
        turns(base)
        assert.equal("held", tostring(filter:output()))
        filter:enable "write"
        local got = {}
        b:setcb(function() got[#got + 1] = b:read() end):enable "read"
        turns(base)
        assert.same({"HELD"}, got)
      end)

      it("lets all go in the end, through every pause", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(base:filter(a, upper), passon)
        local got = 0
        filter:setwatermark("read", 0, 3000)
        local timer = base:timer(function() filter:enable "read" end)
        filter:setcb(function()
          got = got + #filter:read()
          if math.random(3) == 1 then
            filter:disable "read"
            timer:add(0)
          end
        end, nil, t.expect(function()
          got = got + #filter:read()
        end)):enable "read"
        b:write(MEGABYTES:sub(1, 300000)):close_after_flush()
        t.run(base)
        assert.equal(300000, got)
      end)

      it("connects what was switched off below", function()
        local base = t.base()
        local a, b = make(base)
        a:disable "write"
        a:write "early"
        local filter = base:filter(a)
        local got = {}
        b:setcb(function() got[#got + 1] = b:read() end):enable "read"
        filter:write " late"
        turns(base)
        assert.equal("early late", table.concat(got))
      end)
    end)

    describe("with watermarks", function()
      it("waits for the low mark, and delivers less at the end", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, double)
        filter:setwatermark("read", 6):enable "read"
        filter:setcb(t.expect(function()
          assert.equal("aabbcc", filter:read())
        end), nil, t.expect(function(_, what)
          assert.equal("eof", what)
          assert.equal("dd", filter:read())
        end))
        b:write "ab"
        turns(base)
        b:write "c"
        turns(base)
        b:write "d":close_after_flush()
        turns(base)
      end)

      it("stops at the high mark and goes on when it is read", function()
        local base = t.base()
        local a, b = make(base)
        local sizes = {}
        local filter = base:filter(a, double)
        filter:setwatermark("read", 0, 4):enable "read"
        filter:setcb(function() sizes[#sizes + 1] = #filter:input() end)
        b:write "abc"
        turns(base)
        b:write "def"
        turns(base)
        assert.is_true(t.countturns(base, 0.02) < 12)
        assert.same({6}, sizes)
        filter:read(1)
        turns(base)
        assert.same({6}, sizes)
        filter:read(2)
        turns(base)
        assert.same({6, 9}, sizes)
        assert.equal("bccddeeff", filter:read())
      end)

      it("clears those below", function()
        local base = t.base()
        local a, b = make(base)
        a:setwatermark("read", 10, 20)
        local filter = base:filter(a)
        assert.same({0, 0}, {a:getwatermark "read"})
        filter:setcb(t.expect(function() filter:read() end)):enable "read"
        b:write "x"
        turns(base)
      end)
    end)

    describe("with timeouts", function()
      it("tells of nothing to read, and waits again when enabled", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(base:filter(a))
        local list, event = events(2)
        local got = {}
        filter:setcb(function() got[#got + 1] = filter:read() end, nil, event)
        filter:set_timeouts(0.02)
        runfor(base, 0.04)
        assert.same({}, list)
        filter:enable "read"
        runfor(base, 0.04)
        assert.same({{"timeout", "reading"}}, list)
        assert.equal("write", filter:enabled())
        b:write "late"
        runfor(base, 0.01)
        assert.same({}, got)
        filter:enable "read"
        runfor(base, 0.04)
        assert.same({"late"}, got)
        assert.same({"timeout", "reading"}, list[2])
      end)

      it("tells of a peer that takes nothing", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(base:filter(a))
        local list, event = events()
        filter:setcb(nil, nil, event)
        filter:set_timeouts(nil, 0.02):write(MEGABYTES)
        runfor(base, 0.05)
        assert.same({{"timeout", "writing"}}, list)
        assert.equal("", filter:enabled())
        filter:set_timeouts():enable "write"
        local got = collect(b)
        filter:close_after_flush()
        t.run(base)
        assert.is_true(MEGABYTES == got.data)
      end)

      it("closes itself after one without an event callback", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a)
        filter:set_timeouts(0.01):enable "read"
        local got = collect(b)
        t.run(base)
        assert.is_true(isclosed(filter))
        assert.is_true(isclosed(a))
        assert.equal("", got.data)
      end)
    end)

    describe("that is flushed", function()
      it("calls its functions in that mode, from the loop", function()
        local base = t.base()
        local a, b = make(base)
        local list, sent = {}, {}
        local filter = base:filter(a, watch(list), watch(sent))
        b:setcb(nil, nil, function() end)
        filter:enable "read":write "out"
        b:write "in"
        turns(base)
        assert.is_true(filter:flush())
        turns(base)
        assert.is_true(filter:flush(nil, "flush"))
        assert.equal(1, #list)
        turns(base)
        assert.is_true(filter:flush("write", "finished"))
        turns(base)
        assert.same({"normal in", "flush in"}, list)
        assert.same({"normal out", "flush out", "finished out"}, sent)
        assert.has_error(function() filter:write "x" end)
      end)

      it("asks from the bottom up, and from the top down", function()
        local base = t.base()
        local a, b = make(base)
        local order = {}
        local function note(name)
          return function(source, sink, mode)
            order[#order + 1] = name .. " " .. mode .. " " .. tostring(source)
            if mode == "flush" then sink:add(source) end
          end
        end
        local lower = base:filter(a, note "lower in", note "lower out")
        local filter = base:filter(lower, note "in", note "out")
        filter:enable "read":write "x"
        b:write "y"
        turns(base)
        filter:flush("read", "flush")
        turns(base)
        b:setcb(t.expect(function() assert.equal("x", b:read()) end))
        b:enable "read"
        filter:flush("write", "flush")
        turns(base)
        assert.equal("y", filter:read())
        assert.same({"out normal x", "lower in normal y", "lower in flush y",
                     "in flush y", "out flush x", "lower out flush x"}, order)
      end)

      it("flushes and finishes in its own functions", function()
        local base = t.base()
        local a, b = make(base)
        local sent = {}
        local filter
        filter = base:filter(a, nil, function(source, sink, mode)
          sent[#sent + 1] = mode
          sink:add(source)
          if mode == "normal" then
            filter:flush("write", "flush")
          elseif mode == "flush" then
            filter:shutdown()
          else
            sink:add "!"
          end
        end)
        local got = collect(b)
        filter:write "data"
        t.run(base)
        assert.same({"normal", "flush", "finished"}, sent)
        assert.equal("data!", got.data)
      end)
    end)

    describe("at the end", function()
      it("of the data from below has the last word, then eof", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(base:filter(a, last " one"), last " two")
        local got = collect(filter)
        b:write "data":close_after_flush()
        t.run(base)
        assert.equal("data one two", got.data)
      end)

      it("of the data from below has the last word alone", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, last "word")
        local got = collect(filter)
        turns(base)
        b:close()
        t.run(base)
        assert.equal("word", got.data)
      end)

      it("of the data gets what it has left, and then loses it", function()
        local base = t.base()
        local a, b = make(base)
        local list = {}
        local filter = base:filter(a, watch(list))
        local got = collect(filter)
        b:write "left"
        turns(base)
        b:close()
        t.run(base)
        assert.same({"normal left", "finished left"}, list)
        assert.equal("", got.data)
      end)

      for _, name in ipairs {"shutdown", "close_after_flush"} do
        for _, depth in ipairs {1, 3} do
          it(("of its own has the last word: %s, %d deep"):format(name, depth),
          function()
            local base = t.base()
            local a, b = make(base)
            local filter = a
            for i = 1, depth do filter = base:filter(filter, nil, last(i)) end
            local got = collect(b)
            filter:write "data"
            filter[name](filter)
            filter = nil                                    -- luacheck: ignore
            collectgarbage() collectgarbage()
            t.run(base)
            assert.equal("data" .. ("321"):sub(-depth), got.data)
          end)

          it(("of nothing has the last word: %s, %d deep"):format(name, depth),
          function()
            local base = t.base()
            local a, b = make(base)
            local filter = a
            for i = 1, depth do filter = base:filter(filter, nil, last(i)) end
            turns(base)
            local got = collect(b)
            filter[name](filter)
            filter = nil                                    -- luacheck: ignore
            collectgarbage() collectgarbage()
            t.run(base)
            assert.equal(("321"):sub(-depth), got.data)
          end)
        end
      end

      it("sends its megabytes before it closes", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(base:filter(a, nil, double), nil, last "!")
        filter:setcb(t.never(), t.never(), t.never()):enable "read"
        filter:write(MEGABYTES):close_after_flush()
        assert.has_error(function() filter:write "x" end,
          "calling 'write' on bad self (Bufferevent is closed)")
        assert.is_true(isclosed(filter))
        local got = collect(b)
        t.run(base)
        assert.equal(2 * #MEGABYTES + 2, #got.data)
        assert.is_true(isclosed(a))
      end)

      it("closes after a shutdown that was finished already", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(base:filter(a))
        local got = collect(b)
        filter:setcb(nil, nil, function() end)
        filter:write "data":shutdown()
        turns(base)
        assert.equal("data", got.data)
        filter:close_after_flush()
        turns(base)
        assert.is_true(isclosed(a))
      end)

      it("does not wait for ever for a peer that takes nothing", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(base:filter(a))
        filter:write(MEGABYTES):close_after_flush(0.02)
        b:setcb(nil, nil, function() end)
        t.run(base)
        assert.is_true(isclosed(a))
        b:close()
      end)

      it("sends its last word, then closes, without an event callback",
      function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, nil, last "bye")
        filter:enable "read"
        turns(base)
        local got = collect(b)
        b:shutdown()
        t.run(base)
        assert.equal("bye", got.data)
        assert.is_true(isclosed(filter))
        assert.is_true(isclosed(a))
      end)

      it("answers to the last word and closes after the flush", function()
        local base = t.base()
        local a, b = make(base)
        local list = gather(b)
        b:write "question":shutdown()
        local filter = base:filter(base:filter(a), lines)
        filter:setcb(t.expect(function()
          filter:write("to ", filter:read(), MEGABYTES):close_after_flush()
        end), nil, t.never()):enable "read"
        runfor(base, 0.01)
        b:enable "read"
        runtill(base, function() return list.ended end)
        assert.is_true("to question" .. MEGABYTES == table.concat(list))
        b:close()
      end)

      it("sends its rest although no more comes from the peer", function()
        local base = t.base()
        local a, b = make(base)
        local list = gather(b)
        local filter = base:filter(a, t.never())
        filter:enable "read"
        turns(base)
        filter:write(MEGABYTES):close_after_flush()
        b:shutdown()
        runfor(base, 0.01)
        b:enable "read"
        runtill(base, function() return list.ended end)
        assert.is_true(MEGABYTES == table.concat(list))
        b:close()
      end)

      it("goes on the other way after a shutdown", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, upper, last "!")
        local got = collect(filter)
        b:setcb(nil, nil, t.expect(function()
          assert.equal("bye!", b:read())
          b:write "still":close_after_flush()
        end)):enable "read"
        filter:write "bye":shutdown()
        t.run(base)
        assert.equal("STILL", got.data)
      end)
    end)

    describe("whose function refuses", function()
      local ways = {
        ["what it reads"] = {"reading", function(base, below, f)
          return base:filter(below, f)
        end},
        ["what it writes"] = {"writing", function(base, below, f)
          return base:filter(below, nil, f)
        end},
      }
      for name, way in pairs(ways) do
        it(name .. " tells the event callback of the top", function()
          local base = t.base()
          local a, b = make(base)
          local function refuse() return nil, "not mine", 42 end
          local lower = way[2](base, a, t.expect(refuse))
          lower:setcb(t.never(), t.never(), t.never())
          local filter = base:filter(lower)
          local list, event = events()
          filter:setcb(nil, nil, event):enable "read"
          filter:write "x"
          b:write "x"
          turns(base)
          assert.same({{"error", "not mine", 42}}, list)
          assert.equal(way[1] == "reading" and "write" or "read",
                       filter:enabled())
          filter:enable "read|write":write "y":flush(nil, "flush")
          b:setcb(nil, nil, function() end):write "y"
          assert.is_true(t.countturns(base, 0.01) < 12)
          filter:shutdown()
          assert.is_true(t.countturns(base, 0.01) < 12)
          filter:close()
        end)

        it(name .. " closes all where there is none", function()
          local base = t.base()
          local a, b = make(base)
          local lower = way[2](base, a, t.expect(function()
            return nil, "not mine"
          end))
          local filter = base:filter(lower):enable "read"
          filter:write "x"
          b:setcb(nil, nil, function() end):write "x":enable "read"
          turns(base)
          assert.is_true(isclosed(filter))
          assert.is_true(isclosed(lower))
          assert.is_true(isclosed(a))
        end)

        it(name .. " by an error, ends the stream with EPROTO", function()
          local base = t.base()
          local a, b = make(base)
          local lower = way[2](base, a, t.expect(function() error "oh no" end))
          local filter = base:filter(lower)
          local list, event = events()
          filter:setcb(nil, nil, event):enable "read"
          base:set_error_cb(t.expect(function(err, object)
            assert.truthy(err:find "oh no")
            assert.equal(lower, object)
          end))
          filter:write "x"
          b:write "x"
          turns(base)
          assert.same({{"error", "Protocol error", EPROTO}}, list)
          filter:write "y"
          b:setcb(nil, nil, function() end):write "y"
          turns(base)
          filter:close()
        end)

        it(name .. " by an error, closes all where nobody hears", function()
          local base = t.base()
          local a, b = make(base)
          local filter = way[2](base, a, function() error "oh no" end)
          b:setcb(nil, nil, function() end):write "x":enable "read"
          filter:enable "read":write "x"
          local ok, message = pcall(t.run, base)
          assert.is_false(ok)
          assert.truthy(message:find "oh no")
          assert.is_true(isclosed(filter))
          turns(base)
        end)

        it(name .. " to an event callback that raises, is told once",
        function()
          local base = t.base()
          local a, b = make(base)
          local filter = way[2](base, a, function() return nil, "no" end)
          filter:setcb(nil, nil, t.expect(function() error "oh no" end))
          filter:enable "read":write "x"
          b:write "x"
          local errors = t.expect(function(err)
            assert.truthy(err:find "oh no")
          end)
          base:set_error_cb(errors)
          turns(base)
          filter:close()
        end)
      end

      it("what it reads, reads no more, even if it is enabled", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, t.expect(function()
          return nil, "refused"
        end))
        filter:setcb(nil, nil, t.expect()):enable "read"
        b:setcb(nil, nil, function() end):write "x"
        turns(base)
        filter:enable "read"
        turns(base)
        b:write(MEGABYTES)
        turns(base)
        assert.equal("write", filter:enabled())
        assert.is_true(#a:input() < 10000)
        filter:close()
        b:close()
      end)

      it("what it reads last, tells of that alone", function()
        local base = t.base()
        local a, b = make(base)
        local filter = base:filter(a, function(source, sink, mode)
          sink:add(source)
          if mode == "finished" then return nil, "cut off" end
        end)
        local list, event = events()
        filter:setcb(function() filter:read() end, nil, event):enable "read"
        b:write "x":close_after_flush()
        turns(base)
        assert.same({{"error", "cut off"}}, list)
      end)
    end)

    describe("that is detached", function()
      it("gives back the one below, with its callbacks", function()
        local base = t.base()
        local a, b = make(base)
        local read = t.expect(function() assert.equal("raw", a:read()) end)
        a:setcb(read, nil, t.expect())
        local filter = base:filter(a, lines)
        filter:setcb(t.expect(function()
          local below, unread = filter:detach()
          assert.equal(a, below)
          assert.equal("<one><two>", unread)
          assert.is_true(isclosed(filter))
          assert.equal("rest", a:read())
          assert.equal("write", a:enabled())
          assert.is_nil(a:underlying())
        end)):enable "read"
        b:write "one\ntwo\nrest"
        turns(base)
        assert.equal(read, (a:getcb()))
        a:enable "read"
        b:write "raw"
        turns(base)
        local got = collect(b)
        a:write "answer":shutdown()
        turns(base)
        assert.equal("answer", got.data)
      end)

      it("keeps the one below alive as long as it sends", function()
        local base = t.base()
        local a, b = make(base)
        a:disable "write":write(MEGABYTES:sub(1, 10000))
        base:filter(a):detach()
        a = nil                                             -- luacheck: ignore
        collectgarbage() collectgarbage()
        local n = 0
        b:setcb(function() n = n + #b:read() end, nil, function() end)
        b:enable "read"
        runfor(base, 0.02)
        assert.equal(10000, n)
      end)

      it("can be put on again, also inside callbacks", function()
        local base = t.base()
        local a, b = make(base)
        local got = {}
        local function layer(below)
          local filter = base:filter(below, upper)
          filter:setcb(function()
            got[#got + 1] = filter:read()
            if #got == 5 then return filter:close() end
            layer((filter:detach()))
            b:write(#got)
          end):enable "read"
        end
        layer(a)
        b:setcb(nil, nil, t.expect()):enable "read":write "a"
        runfor(base, 0.02)
        assert.same({"A", "1", "2", "3", "4"}, got)
      end)

      it("is not, with output unsent or in its own functions", function()
        local base = t.base()
        local a, b = make(base)
        local filter
        local function try(source, sink)
          local result, message, errno = filter:detach()
          assert.is_nil(result)
          assert.equal("a function of the filter runs", message)
          assert.equal(EBUSY, errno)
          sink:add(source)
        end
        filter = base:filter(a, t.expect(try), t.expect(try))
        filter:disable "write":write "x":enable "read"
        assert.same({nil, "there is unsent output", EBUSY},
                    {filter:detach()})
        filter:enable "write"
        b:write "y"
        turns(base)
        local below, unread = filter:detach()
        assert.equal(a, below)
        assert.equal("y", unread)
      end)

      it("is not in the functions of those below either", function()
        local base = t.base()
        local a, b = make(base)
        local filter
        local lower = base:filter(a, t.expect(function(source, sink)
          assert.same({nil, "a function of the filter runs", EBUSY},
                      {filter:detach()})
          sink:add(source)
        end))
        filter = base:filter(lower):enable "read"
        b:write "x"
        turns(base)
        assert.equal("x", select(2, filter:detach()))
      end)

      it("from a stack, leaves the others", function()
        local base = t.base()
        local a, b = make(base)
        local lower = base:filter(a, upper)
        local below = base:filter(lower, double):detach()
        assert.equal(lower, below)
        lower:setcb(t.expect(function()
          assert.equal("ONE", lower:read())
        end)):enable "read"
        b:write "one"
        turns(base)
        assert.equal(a, (lower:detach()))
        a:setcb(t.expect(function() assert.equal("two", a:read()) end))
        a:enable "read"
        b:write "two"
        turns(base)
      end)
    end)

    describe("that is closed", function()
      for _, which in ipairs {"top", "middle", "bottom"} do
        it("closes all of its stack: the " .. which, function()
          local base = t.base()
          local a, b = make(base)
          local middle = base:filter(a)
          local top = base:filter(middle)
          local list, event = events()
          b:setcb(nil, nil, event):enable "read"
          turns(base)
          local all = {top = top, middle = middle, bottom = a}
          all[which]:close()
          for _, bev in pairs(all) do assert.is_true(isclosed(bev)) end
          turns(base)
          assert.same({{"eof", "reading"}}, list)
        end)
      end

      local closers = {
        ["itself"] = function(s) s.filter:close() end,
        ["the one below"] = function(s) s.below:close() end,
        ["the bottom"] = function(s) s.a:close() end,
        ["the peer"] = function(s) s.b:close() end,
        ["both sides"] = function(s) s.filter:close() s.b:close() end,
        ["the base"] = function(s) s.base:close() end,
        ["itself after the flush"] = function(s)
          s.filter:close_after_flush()
        end,
        ["nothing, but raises"] = function() error "oh no" end,
        ["itself, and raises"] = function(s)
          s.filter:close()
          error "oh no"
        end,
        ["the base, and raises"] = function(s)
          s.base:close()
          error "oh no"
        end,
        ["nothing, but detaches"] = function(s) s.filter:detach() end,
        ["nothing, but puts one on top"] = function(s)
          s.base:filter(s.filter, passon, passon)
        end,
      }
      local calls = {
        ["read"] = function(s) s.b:write "data" end,
        ["write"] = function(s) s.filter:write "data" end,
        ["eof"] = function(s) s.b:shutdown() end,
        ["timeout"] = function(s) s.filter:set_timeouts(0.001) end,
        ["trigger"] = function(s)
          s.filter:trigger("read|write", "ignore_watermarks")
        end,
        ["trigger_event"] = function(s) s.filter:trigger_event "timeout" end,
        ["input"] = function(s) s.b:write "data" end,
        ["output"] = function(s) s.filter:write "data" end,
        ["lower input"] = function(s) s.b:write "data" end,
        ["lower output"] = function(s) s.filter:write "data" end,
        ["last input"] = function(s) s.b:shutdown() end,
        ["last output"] = function(s) s.filter:shutdown() end,
        ["refusal"] = function(s) s.b:write "refuse" end,
      }
      for closed, close in pairs(closers) do
        for called, call in pairs(calls) do
          it(("in a callback is safe: %s, in %s"):format(closed, called),
          function()
            local s = {}
            local done
            s.base = t.base()
            s.a, s.b = make(s.base)
            local function act()
              if done then return end
              done = true
              close(s)
              s = {}
              collectgarbage() collectgarbage()
            end
            local function on(name, source, sink, mode)
              if called == name or (mode == "finished"
                                    and called == "last " .. name) then
                act()
              end
              if called == "refusal" and name == "input" then
                return nil, "refused"
              end
              if not tostring(source):find "closed" then sink:add(source) end
            end
            local function way(name)
              return function(...) return on(name, ...) end
            end
            s.below = s.base:filter(s.a, way "lower input",
                                    way "lower output")
            s.filter = s.base:filter(s.below, way "input", way "output")
            if not called:find "put" then s.filter:setcb(act, act, act) end
            s.filter:enable "read"
            s.b:setcb(nil, nil, function() end):enable "read"
            local base = s.base
            call(s)
            base:timer(function() base:loopexit() end):add(0.005)
            pcall(base.dispatch, base)
            if not tostring(base):find "closed" then
              turns(base)
              base:close()
            end
            assert.is_true(done)
          end)
        end
      end
    end)

    describe("that nobody holds", function()
      it("delivers what is on its way", function()
        local base = t.base()
        local results = {}
        for i = 1, 20 do
          local a, b = make(base)
          local filter = base:filter(base:filter(a, nil, last "."), upper)
          results[i] = collect(b)
          filter:write "data":close_after_flush()
        end
        collectgarbage() collectgarbage()
        t.run(base)
        for i = 1, 20 do assert.equal("data.", results[i].data) end
      end)

      it("lives through what it stands on, and the other way", function()
        local base = t.base()
        local a, b = make(base)
        do
          local filter = base:filter(a, upper)
          filter:setcb(t.expect(function(self)
            assert.equal("ECHO", self:read())
          end)):enable "read"
        end
        collectgarbage() collectgarbage()
        b:write "echo"
        turns(base)
        local filter
        do
          local c, d = make(base)
          filter = base:filter(base:filter(c))
          b:close()
          b = d
        end
        collectgarbage() collectgarbage()
        filter:setcb(t.expect()):enable "read"
        b:write "x"
        turns(base)
        filter:close()
      end)

      local states = {
        ["new"] = function() end,
        ["idle, with callbacks"] = function(filter, a, b)
          filter:setcb(function() return b end, function() return a end, print)
        end,
        ["after data"] = function(filter, _, b)
          filter:setcb(function() filter:read() end):enable "read"
          b:write "data"
          filter:write "data"
          filter:base():loop "nonblock"
          filter:base():loop "nonblock"
          filter:disable "read"
        end,
        ["after eof"] = function(filter, _, b)
          filter:setcb(nil, nil, function() end):enable "read"
          b:close()
        end,
        ["after a timeout"] = function(filter)
          filter:setcb(nil, nil, function() end):set_timeouts(0.001)
          filter:enable "read"
        end,
        ["after an error of its function"] = function(filter, _, b)
          filter:setcb(nil, nil, function() end):enable "read"
          b:write "refuse"
        end,
        ["with output that its function leaves"] = function(filter)
          filter:write "leave"
        end,
        ["full at eof"] = function(filter, a, b)
          if a:getfd() then return end      -- it would not see that
          filter:setwatermark("read", 0, 2):enable "read"
          filter:setcb(function() end, nil, function() end)
          b:write "data":close_after_flush()
        end,
        ["whose buffers are known"] = function(filter)
          filter:setcb(function() return filter:input() end)
          filter:setcb(filter:getcb(), function() return filter:output() end)
        end,
        ["closed"] = function(filter) filter:close() end,
        ["closed after the flush"] = function(filter)
          filter:close_after_flush()
        end,
        ["detached"] = function(filter) filter:detach() end,
      }
      for name, prepare in pairs(states) do
        it("is collected when it is " .. name, function()
          local base = t.base()
          local weak = setmetatable({}, {__mode = "k"})
          do
            local a, b = make(base)
            local filter
            filter = base:filter(base:filter(a), function(source, sink)
              if tostring(source):find "refuse" then return nil, "refused" end
              sink:add(source)
              return filter
            end, function(source, sink)
              if not tostring(source):find "leave" then sink:add(source) end
              return filter
            end)
            b:setcb(nil, nil, function() end)
            weak[a], weak[b], weak[filter] = true, true, true
            weak[filter:underlying()] = true
            prepare(filter, a, b)
          end
          runfor(base, 0.01)
          collectgarbage() collectgarbage()
          assert.is_nil(next(weak))
          turns(base)
          assert.equal(0, base:num_events())
        end)
      end
    end)
  end)

  describe("on a socket that is not connected yet", function()
    it("sends and reads once it is", function()
      local base = t.base()
      local got, answer
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l, conn)
          l:close()
          local server = base:filter(conn, halve, double)
          got = collect(server)
          server:write "answer":shutdown()
        end)))
      local socket = base:bufferevent()
      local filter = base:filter(socket, halve, double)
      local list, event = events(2)
      filter:setcb(function() answer = filter:read() end, nil, event)
      filter:enable "read":write "question"
      turns(base)
      assert.equal(socket, socket:connect(listener:sockname()))
      assert.equal(filter, filter:shutdown())
      runtill(base, function() return #list == 2 and got.data end)
      assert.same({{"connected"}, {"eof", "reading"}}, list)
      assert.equal("question", got.data)
      assert.equal("answer", answer)
    end)

    it("is told that it is refused, and may connect again", function()
      local base = t.base()
      local socket = base:bufferevent()
      local filter = base:filter(base:filter(socket))
      local listener = assert(base:listener("127.0.0.1:0", t.never()))
      local dead = listener:sockname()
      listener:close()
      local list, event = events(2)
      filter:setcb(nil, nil, event):enable "read":write "x"
      assert(socket:connect(dead))
      runfor(base, 0.02)
      assert.same({{"error", "Connection refused", ECONNREFUSED}}, list)
      assert.is_nil(filter:getfd())
      local got
      listener = assert(base:listener("127.0.0.1:0", t.expect(function(l, conn)
        l:close()
        got = collect(conn)
      end)))
      assert(socket:connect(listener:sockname()))
      runfor(base, 0.02)
      assert.same({"connected"}, list[2])
      filter:close_after_flush()
      t.run(base)
      assert.equal("x", got.data)
    end)

    it("times out", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0", t.never(),
                                            {backlog = 1})):disable()
      local rest = {}
      for i = 1, 4 do
        rest[i] = base:bufferevent():setcb(nil, nil, function() end)
        rest[i]:connect(listener:sockname())
      end
      runfor(base, 0.01)
      local socket = base:bufferevent()
      local filter = base:filter(socket)
      local list, event = events()
      filter:setcb(nil, nil, event):set_timeouts(nil, 0.03)
      assert(socket:connect(listener:sockname()))
      runfor(base, 0.05)
      assert.same({{"timeout", "writing"}}, list)
      assert.is_nil(filter:getfd())
      for i = 1, 4 do rest[i]:close() end
      listener:close()
    end)

    it("delivers after the flush even if it still connects", function()
      local base = t.base()
      local got
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l, conn)
          got = collect(conn)
          l:close()
        end)))
      local socket = base:bufferevent()
      local filter = base:filter(base:filter(socket, nil, last "!"))
      assert(socket:connect(listener:sockname()))
      filter:write "in passing":close_after_flush()
      t.run(base)
      assert.equal("in passing!", got.data)
      assert.is_true(isclosed(socket))
    end)

    it("is not detached in the callback of connected", function()
      local base = t.base()
      local server
      local listener = assert(base:listener("127.0.0.1:0",
        function(l, conn) server = conn l:close() end))
      local socket = base:bufferevent()
      local filter = base:filter(socket)
      filter:setcb(nil, nil, t.expect(function()
        assert.same({nil, "the callback of \"connected\" runs", EBUSY},
                    {filter:detach()})
        assert.error_matches(function() socket:setfd() end, "connected")
      end))
      assert(socket:connect(listener:sockname()))
      runfor(base, 0.02)
      assert.equal(socket, (filter:detach()))
      socket:setfd()
      server:close()
    end)

    it("is put on in the callback of connected", function()
      local base = t.base()
      local got
      local listener = assert(base:listener("127.0.0.1:0",
        function(l, conn) got = collect(conn) l:close() end))
      local socket = base:bufferevent()
      socket:setcb(nil, nil, t.expect(function()
        base:filter(socket, nil, upper):write "data":close_after_flush()
      end))
      assert(socket:connect(listener:sockname()))
      t.run(base)
      assert.equal("DATA", got.data)
    end)
  end)

  it("closes with the pair's end below it, which the partner hears", function()
    local base = t.base()
    local a, b = base:pair()
    local filter = base:filter(a)
    turns(base)
    local list, event = events()
    b:setcb(nil, nil, event):enable "read"
    filter:close()
    turns(base)
    assert.same({{"eof", "reading"}}, list)
  end)

  it("is told of a pair whose other end is closed: EPIPE", function()
    local base = t.base()
    local a, b = base:pair()
    local filter = base:filter(a)
    local list, event = events(2)
    a:underlying()
    filter:setcb(nil, nil, event):enable "read"
    b:close()
    turns(base)
    filter:write "x"
    turns(base)
    assert.same({{"eof", "reading"}, {"error", "Broken pipe", 32}}, list)
  end)

  it("gives up in its callbacks what calls it, closed and forgotten", function()
    local calls = {
      function(filter, a, b) b:close() filter:write(a and "x") end,
      function(filter, _, b) b:shutdown() filter:enable "read" end,
      function(filter) filter:set_timeouts(0.001):enable "read" end,
      function(filter) filter:trigger_event "error" end,
      function(filter) filter:trigger "read|write" end,
    }
    for _, call in ipairs(calls) do
      for depth = 1, 3 do
        local base = t.base()
        do
          local a, b = base:pair()
          local filter = a
          for _ = 1, depth do filter = base:filter(filter, passon, passon) end
          local called = false
          local function act(self)
            called = true
            while self and self:underlying() do self = self:detach() end
            if self then self:close() end
            self = nil                                      -- luacheck: ignore
            collectgarbage() collectgarbage()
            for i = 1, 100 do local _ = ("x"):rep(i * 10) end
          end
          b:setcb(nil, nil, function() end)
          filter:setcb(act, act, act)
          call(filter, a, b)
          base:timer(function(timer)
            if called then timer:close() end
          end, "persist"):add(0.01)
        end
        t.run(base)
        base:close()
      end
    end
  end)

  it("takes over what was triggered for the one below", function()
    local base = t.base()
    local a, b = base:pair()
    a:setcb(nil, nil, t.never()):enable "read"
    b:write "data"
    turns(base)
    a:setcb(t.never(), t.never(), t.never())
    a:trigger("read|write", "ignore_watermarks"):trigger_event "eof|writing"
    local filter = base:filter(a)
    local list, event = events()
    filter:setcb(t.expect(function() filter:read() end), nil, event)
    filter:enable "read"
    turns(base)
    assert.same({{"eof", "writing"}}, list)
  end)

  it("stands finalizers that close what it works on", function()
    local base = t.base()
    collectgarbage "generational"
    for round = 1, 40 do
      local a, b = base:pair()
      local filter, source, sink
      local function hook()
        setmetatable({}, {__gc = function()
          if round % 4 == 0 then filter:close() end
          if round % 4 == 1 and source then source:close() end
          if round % 4 == 2 and sink then sink:close() end
          if round % 4 == 3 then b:close() end
        end})
      end
      filter = base:filter(a, function(s, d)
        source, sink = s, d
        d:add(s)
        d:close()
        s:close()
      end)
      filter:setcb(function() hook() filter:read() end, nil, function() end)
      filter:enable "read"
      for i = 1, 20 do
        hook()
        if not isclosed(b) then b:write(("x"):rep(i)) end
        base:loop "nonblock"
      end
    end
    collectgarbage "incremental"
    base:close()
  end)
end)
