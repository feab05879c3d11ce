--- libevent.relay: what one bufferevent reads the other writes.

local t = require "spec.helper"
local libevent = require "libevent"

local MEGABYTES = ("0123456789abcdef"):rep(2^16 * 4)      -- 4 MiB

before_each(t.start)
after_each(t.finish)

--- left and right, joined by a relay in the middle of the same process:
--- left <-> a = relay = b <-> right. All is given to f(left, right, a, b).
local function relayed(base, f, done)
  t.connected(base, function(a, left)
    t.connected(base, function(b, right)
      libevent.relay(a, b, done)
      f(left, right, a, b)
    end)
  end)
end

--- Gathers what comes to 'bev' until its end, then calls ended(all, what).
local function gather(bev, ended)
  local all = {}
  bev:setcb(function() all[#all + 1] = bev:read() end, nil,
            function(_, ...) ended(table.concat(all), ...) end)
  bev:enable "read"
end

describe("libevent.relay", function()
  it("passes on all that comes, both ways", function()
    local base <close> = t.base()
    relayed(base, function(left, right)
      gather(left, t.expect(function(all, what)
        assert.is_true(all == MEGABYTES:reverse())
        assert.equal("eof", what)
      end))
      gather(right, t.expect(function(all, what)
        assert.is_true(all == MEGABYTES)
        assert.equal("eof", what)
      end))
      left:write(MEGABYTES):shutdown()
      right:write(MEGABYTES:reverse()):shutdown()
    end, t.expect(function(_, _, what, detail)
      assert.same({"eof", "reading"}, {what, detail})
    end))
    t.run(base)
  end)

  it("returns the two, and gives both to the function at the end", function()
    local base <close> = t.base()
    local a, b = base:pair()
    local c, d = base:pair()
    local first, second = libevent.relay(b, c, t.expect(function(x, y)
      assert.same({b, c}, {x, y})
    end))
    assert.same({b, c}, {first, second})
    a:shutdown()
    d:shutdown()
    t.run(base)
  end)

  it("works without such a function", function()
    local base <close> = t.base()
    relayed(base, function(left, right, a, b)
      gather(right, t.expect(function(all) assert.equal("hello", all) end))
      left:write "hello":shutdown()
      right:shutdown()
      base:timer(t.expect(function()
        assert.match("closed", tostring(a))
        assert.match("closed", tostring(b))
        left:close()
      end)):add(0.03)
    end)
    t.run(base)
  end)

  it("passes on the end of one direction; the other goes on", function()
    local base <close> = t.base()
    relayed(base, function(left, right)
      gather(left, t.expect(function(all) assert.equal("answer", all) end))
      gather(right, t.expect(function(all)
        assert.equal("question", all)
        base:timer(function() right:write "answer":shutdown() end):add(0.01)
      end))
      left:write "question":shutdown()
    end, t.expect())
    t.run(base)
  end)

  it("raises for what it cannot join, and changes nothing then", function()
    local base <close> = t.base()
    local other <close> = t.base()
    local a, b = base:pair()
    local closed = base:bufferevent():close()
    local below = base:bufferevent()
    local filter = base:filter(below)
    for _, case in ipairs {
      {"#1 to 'relay' (Bufferevent expected, got nil)", nil, b},
      {"#2 to 'relay' (Bufferevent expected, got nil)", a, nil},
      {"#1 to 'relay' (Bufferevent expected, got table)", {}, b},
      {"#2 to 'relay' (Bufferevent expected, got userdata)", a, base},
      {"#2 to 'relay' (Bufferevent is closed)", a, closed},
      {"#2 to 'relay' (Bufferevent belongs to a filter)", a, below},
      {"#2 to 'relay' (another Bufferevent expected)", a, a},
      {"#2 to 'relay' (Bufferevent is of another base)", a,
       other:bufferevent()},
      {"#3 to 'relay' (function expected, got string)", a, filter, "done"},
    } do
      local ok, message = pcall(libevent.relay, case[2], case[3], case[4])
      assert.is_false(ok)
      assert.equal("bad argument " .. case[1], message)
    end
    assert.equal("write", a:enabled())
    assert.is_nil(a:getcb())
  end)

  it("needs no variable", function()
    local base <close> = t.base()
    relayed(base, function(left, right)
      gather(right, t.expect(function(all) assert.equal(5, #all) end))
      base:timer(function()
        collectgarbage() collectgarbage()
        left:write "hello":close_after_flush()
      end):add(0.01)
      right:shutdown()
    end, t.expect())
    collectgarbage()
    t.run(base)
  end)

  it("stops reading while the other side takes nothing", function()
    local base <close> = t.base()
    relayed(base, function(left, right, a, b)
      left:write(MEGABYTES, MEGABYTES, MEGABYTES)
      base:timer(function(timer)
        if a:enabled() ~= "write" then return end       -- not yet full
        local waiting = #b:output()
        assert.is_true(#left:output() > 0)
        assert.is_true(waiting > 0 and waiting < 512 * 1024, tostring(waiting))
        timer:close()
        gather(right, t.expect(function(all)
          assert.is_true(all == MEGABYTES:rep(3))
        end))
        left:shutdown()
        right:shutdown()
      end, "persist"):add(0.01)
    end, t.expect())
    t.run(base)
  end)

  it("sleeps while a side stalls", function()
    local base <close> = t.base()
    relayed(base, function(left)
      left:write(MEGABYTES, MEGABYTES)
      base:timer(function()
        local before, turns = os.clock(), 0
        local count = base:timer(function() turns = turns + 1 end, "persist")
        count:add(0.01)
        base:timer(function()
          assert.is_true(os.clock() - before < 0.1)
          assert.is_true(turns <= 25)
          base:close()
        end):add(0.2)
      end):add(0.05)
    end)
    t.run(base)
  end)

  it("ends both on an error, and says which", function()
    local base <close> = t.base()
    relayed(base, function(left, right)
      gather(right, t.expect(function(all, what)
        assert.same({"before", "eof"}, {all, what})
      end))
      left:write "before"
      base:timer(function() right:write "unread by left" end):add(0.01)
      base:timer(function() left:close() end):add(0.1)      -- a reset
    end, t.expect(function(_, _, what, detail, errno)
      assert.equal("error", what)
      assert.is_string(detail)
      assert.is_true(math.type(errno) == "integer")
    end))
    t.run(base)
  end)

  it("ends both on a timeout", function()
    local base <close> = t.base()
    relayed(base, function(left, right, a)
      a:set_timeouts(0.01)
      left:setcb(nil, nil, t.expect(function(_, what)
        assert.equal("eof", what)
      end)):enable "read"
      right:setcb(nil, nil, t.expect(function(_, what)
        assert.equal("eof", what)
      end)):enable "read"
    end, t.expect(function(_, _, what) assert.equal("timeout", what) end))
    t.run(base)
  end)

  it("gives up a peer that takes nothing for the write timeout", function()
    local base <close> = t.base()
    local silent
    relayed(base, function(left, right, _, b)
      silent = right
      b:set_timeouts(nil, 0.02)
      left:write(MEGABYTES, MEGABYTES)
      left:setcb():enable "read"                      -- closes itself
    end, t.expect(function(_, _, what, detail)
      assert.same({"timeout", "writing"}, {what, detail})
      silent:close()
    end))
    t.run(base)
  end)

  it("ends when the script closes one side", function()
    local base <close> = t.base()
    relayed(base, function(left, right, a, b)
      b:close()
      left:write "nobody hears this"
      left:setcb(nil, nil, t.expect(function()
        assert.match("closed", tostring(a))
      end)):enable "read"
      right:setcb(nil, nil, t.expect()):enable "read"
    end, t.expect(function(_, _, what, detail)
      assert.same({"error", "closed"}, {what, detail})
    end))
    t.run(base)
  end)

  it("joins a connection that is being made", function()
    local base <close> = t.base()
    local listener = base:listener("127.0.0.1:0", t.expect(function(l, conn)
      l:close()
      gather(conn, t.expect(function(all) assert.equal("early", all) end))
      conn:shutdown()
    end))
    local left, a = base:pair()
    left:write "early":shutdown()
    libevent.relay(a, base:bufferevent():connect(listener:sockname()),
                   t.expect())
    t.run(base)
  end)

  it("ends when that is refused", function()
    local base <close> = t.base()
    local listener = base:listener("127.0.0.1:0", t.never())
    local address = listener:sockname()
    listener:close()
    local left, a = base:pair()
    left:setcb(nil, nil, t.expect(function(_, what)
      assert.equal("eof", what)
    end)):enable "read"
    libevent.relay(a, base:bufferevent():connect(address),
      t.expect(function(_, _, what) assert.equal("error", what) end))
    t.run(base)
  end)

  it("joins pairs and filters as well", function()
    local base <close> = t.base()
    local left, a = base:pair()
    local b, right = base:pair()
    local f = base:filter(b, nil, function(source, sink)
      sink:add(source:remove():upper())
    end)
    libevent.relay(a, f, t.expect())
    gather(right, t.expect(function(all) assert.equal("QUIET", all) end))
    left:write "quiet":shutdown()
    right:shutdown()
    t.run(base)
  end)
end)
