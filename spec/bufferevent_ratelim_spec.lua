local rates = require "spec.rates"
local t = require "spec.helper"

local raises = t.raises
local now, ends = rates.now, rates.ends
local stream, count = rates.stream, rates.count
local runfor, runtill, moved = rates.runfor, t.runtill, rates.moved
local rundown, isfree, early = rates.rundown, rates.isfree, rates.early
local CHUNK, INT_MAX = rates.CHUNK, 2147483647
local it = rates.patiently(it)

--- A base and a bufferevent that has no limits yet.
local function one()
  local base = t.base()
  return base, base:bufferevent((ends(base):detach()))
end

describe("The rate limit of a bufferevent", function()
  before_each(t.start)
  after_each(t.finish)

  it("holds for reading", function()
    local base = t.base()
    local s = stream(base)
    s.to:set_rate_limit {read = 200000, tick = 0.01}
    runfor(base, 0.3, s)
    moved(200000, s)
    base:close()
  end)

  it("holds for writing", function()
    local base = t.base()
    local s = stream(base)
    s.from:set_rate_limit {write = 200000, tick = 0.01}
    runfor(base, 0.3, s)
    moved(200000, s)
    base:close()
  end)

  it("holds for each direction alone", function()
    local base = t.base()
    local there, back = stream(base), {}
    back.from, back.to, back.bytes = there.to, there.from, 0
    back.to:setcb(function(to)
      back.bytes = back.bytes + #to:input()
      to:input():drain()
    end, (select(2, there.from:getcb()))):enable "read"
    there.to:setcb((there.to:getcb()), function(to) to:write(CHUNK) end)
    there.to:write(CHUNK)
    there.to:set_rate_limit {read = 100000, tick = 0.01}
    runfor(base, 0.3, there)
    moved(100000, there)
    isfree(base, back)
    base:close()
  end)

  it("holds in ticks of any length", function()
    local base = t.base()
    local streams = {}
    for i, tick in ipairs {0.001, 0.0015, 0.005, 0.02, 0.1} do
      streams[i] = stream(base)
      streams[i].to:set_rate_limit {read = 30000, tick = tick}
    end
    runfor(base, 0.65, table.unpack(streams))
    for _, s in ipairs(streams) do moved(30000, s) end
    base:close()
  end)

  it("holds over TCP, from before the connection on", function()
    local base = t.base()
    local server
    local meter = {}
    local listener = base:listener("127.0.0.1:0", function(_, conn)
      server = conn:setcb(nil, function(c) c:write(CHUNK) end):write(CHUNK)
    end)
    local client = base:bufferevent():setcb(function(c)
      count(meter, c, #c:read())
    end, nil, function() end)
    client:set_rate_limit {read = 100000, tick = 0.01}
    client:enable "read":connect(listener:sockname())
    runfor(base, 0.3)
    moved(100000, meter)
    assert.truthy(server)
    base:close()
  end)

  it("is changed on the way", function()
    local base = t.base()
    local s = stream(base)
    s.to:set_rate_limit {read = 100000, tick = 0.01}
    runfor(base, 0.3, s)
    moved(100000, s)
    s.to:set_rate_limit {read = 300000, tick = 0.01}
    runfor(base, 0.3, s)
    moved(300000, s)
    base:close()
  end)

  -- libevent goes on counting from the number of the last tick, and waits for
  -- years where the new ticks have lower numbers.
  it("is changed on the way to ticks of another length", function()
    local base = t.base()
    local s = stream(base)
    for i, tick in ipairs {0.01, 0.02, 0.005, 0.013, 0.001} do
      s.to:set_rate_limit {read = 100000 + 20000 * i, tick = tick}
      runfor(base, 0.2, s)
      moved(100000 + 20000 * i, s)
    end
    base:close()
  end)

  it("is taken away on the way", function()
    local base = t.base()
    local s = stream(base)
    s.to:set_rate_limit {read = 1000}
    runfor(base, 0.05, s)
    assert.is_true(s.bytes <= 1000)
    assert.equal(s.to, s.to:set_rate_limit())
    assert.is_nil(s.to:read_limit())
    isfree(base, s)
    s.to:set_rate_limit(nil)
    base:close()
  end)

  it("hands out no more when it is set again and again", function()
    local base = t.base()
    local s = stream(base)
    local read = s.to:getcb()
    s.to:set_rate_limit {read = 100000, tick = 0.01}
    s.to:setcb(function(to)
      read(to)
      to:set_rate_limit {read = 100000, tick = 0.01}
    end)
    runfor(base, 0.3, s)
    moved(100000, s)
    base:close()
  end)

  it("takes over what the old one had left, and what it had too much",
  function()
    local base, b = one()
    early()
    b:set_rate_limit {read = 1000, write = 1000, tick = 1}
    b:decrement_read_limit(400):decrement_write_limit(5000)
    b:set_rate_limit {read = 2000, write = 20000, tick = 1}
    assert.same({600, -4000}, {b:read_limit(), b:write_limit()})
    b:set_rate_limit {read = 100, write = 20000, read_burst = 150, tick = 1}
    assert.same({150, -4000}, {b:read_limit(), b:write_limit()})
    b:set_rate_limit {write = 20000, tick = 1}
    b:set_rate_limit {read = 1000, write = 20000, tick = 1}
    assert.same({1000, -4000}, {b:read_limit(), b:write_limit()})
    base:close()
  end)

  it("begins with the bytes of one tick, and saves up to its burst", function()
    local base, b = one()
    early()
    b:set_rate_limit {read = 1000, write = 500, read_burst = 1500, tick = 1}
    assert.same({1000, 500}, {b:read_limit(), b:write_limit()})
    b:set_rate_limit()
    b:set_rate_limit {read = 100000, write = 50000, read_burst = 1500,
                      tick = 0.01}
    b:decrement_read_limit(3000):decrement_write_limit(3000)
    assert.is_true(b:read_limit() < 0)
    runfor(base, 0.05)
    assert.equal(1500, b:read_limit())
    runfor(base, 0.25)
    assert.equal(10000, b:write_limit())          -- 0.2 seconds' worth
    base:close()
  end)

  it("is not off by more than 2 percent, whatever the tick", function()
    local base = t.base()
    local settings = {
      {1500, 0.001}, {1999, 0.001}, {29999, 0.001}, {99999, 0.0014},
      {100001, 0.0016}, {12345, 0.002}, {70, 0.001}, {1009, 0.01},
    }
    for _, l in ipairs(settings) do
      l.b = base:bufferevent()
      l.b:set_rate_limit {read = l[1], read_burst = INT_MAX, tick = l[2]}
      l.bytes = l.b:read_limit()                  -- those of a tick
      l.since = now()
    end
    runfor(base, 0.5)
    for _, l in ipairs(settings) do
      local got = l.b:read_limit() - l.bytes
      local wanted = l[1] * (now() - l.since)
      assert.is_true(math.abs(got - wanted) < wanted * 0.02 + l.bytes,
        ("%d bytes, not %.0f: %d a second in ticks of %g s"):format(
          got, wanted, l[1], l[2]))
    end
    base:close()
  end)

  it("lengthens ticks that would have a part of a byte", function()
    local base, b = one()
    for _, l in ipairs {
      {rate = 1000, bytes = 100}, {rate = 1009, bytes = 100},  -- 0.9 percent
      {rate = 1, bytes = 1}, {rate = 7, bytes = 1},
      {rate = 1500, tick = 0.001, bytes = 3}, {rate = 999, bytes = 99},
      {rate = 51, tick = 0.5, bytes = 26}, {rate = INT_MAX, bytes = 214748364},
      {rate = INT_MAX, tick = 1, bytes = INT_MAX},
    } do
      b:set_rate_limit()
      b:set_rate_limit {write = l.rate, tick = l.tick, write_burst = l.bytes}
      assert.equal(l.bytes, b:write_limit())
    end
    base:close()
  end)

  -- libevent reads 2^32 bytes as none, and takes that for the end.
  it("may be as high as there are numbers", function()
    local base = t.base()
    local s = stream(base)
    s.to:set_rate_limit {read = INT_MAX, read_burst = INT_MAX, tick = 1}
    isfree(base, s)
    base:close()
  end)

  it("lets the end of the data through, and all before it", function()
    local base = t.base()
    local from, to = ends(base)
    local bytes = 0
    to:set_rate_limit {read = 200000, tick = 0.005}
    to:setcb(function() bytes = bytes + #to:read() end, nil,
      t.expect(function(_, what)
        assert.equal("eof", what)
        to:close()
      end))
    from:write(CHUNK:sub(1, 20000)):close_after_flush()
    rundown(base)
    assert.equal(20000, bytes)
  end)

  it("closes after the flush at its rate", function()
    local base = t.base()
    local from, to = ends(base)
    local since, bytes = now(), 0
    to:setcb(function() bytes = bytes + #to:read() end)
    from:set_rate_limit {write = 200000, tick = 0.005}
    from:write(CHUNK:sub(1, 20000)):close_after_flush()
    rundown(base)
    assert.equal(20000, bytes)
    assert.is_true(now() - since > 0.08)
  end)

  it("lets no timeout pass while it waits", function()
    local base = t.base()
    local s = stream(base)
    s.to:setcb((s.to:getcb()), nil, t.never())
    s.to:set_timeouts(0.02):set_rate_limit {read = 20, tick = 0.2}
    runfor(base, 0.15)
    base:close()
  end)

  it("is that of the one below a filter", function()
    local base = t.base()
    local s = stream(base)
    local filter = base:filter(s.to)
    raises("Bufferevent is not on a socket", filter.set_rate_limit, filter,
           {read = 1000})
    s.to:set_rate_limit {read = 100000, tick = 0.01}
    local meter = {}
    filter:setcb(function() count(meter, filter, #filter:read()) end)
    filter:enable "read"
    runfor(base, 0.3)
    moved(100000, meter)
    base:close()
  end)

  it("is not for pairs", function()
    local base = t.base()
    local a, b = base:pair()
    local group = base:rate_limit_group {read = 1}
    for _, name in ipairs {
      "set_rate_limit", "add_to_rate_limit_group", "read_limit", "write_limit",
      "remove_from_rate_limit_group", "max_to_read", "max_to_write",
      "decrement_read_limit", "decrement_write_limit", "max_single_read",
      "max_single_write", "set_max_single_read", "set_max_single_write",
    } do
      raises("Bufferevent is not on a socket", a[name], a, group)
    end
    b:close()
    base:close()
  end)

  it("ends with its bufferevent, which then waits no more", function()
    local base = t.base()
    local from, to = ends(base)
    from:write "data"
    to:set_rate_limit {read = 1, tick = 1}
    to:decrement_read_limit(1000)
    to:close()
    from:close()
    rundown(base)
    raises("Bufferevent is closed", to.set_rate_limit, to, {read = 1})
    raises("Bufferevent is closed", to.read_limit, to)
  end)

  it("does not stay with the descriptor", function()
    local base = t.base()
    local s = stream(base)
    s.to:set_rate_limit {read = 1000}
    runfor(base, 0.02, s)
    local other = base:bufferevent((s.to:detach()))
    s.to = other:setcb((select(2, s.from:getcb())))
    s.to:setcb(function(to)
      s.bytes = s.bytes + #to:input()
      to:input():drain()
    end):enable "read"
    isfree(base, s)
    base:close()
  end)

  it("lets go of a bufferevent that is not to read any more", function()
    local base = t.base()
    local weak = setmetatable({}, {__mode = "k"})
    do
      local from, to = ends(base)
      from:write(CHUNK)
      to:set_rate_limit {read = 1000, tick = 1}
      runtill(base, function() return to:read_limit() <= 0 end)
      from:close()
      weak[to:disable "read"] = true
    end
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    rundown(base)
  end)

  for name, act in pairs {
    ["closes it"] = function(b) b:close() end,
    ["closes the base"] = function(b) b:base():close() end,
    ["takes the limit away"] = function(b) b:set_rate_limit() end,
    ["drops it"] = function(b) b:disable "read" end,
    ["raises"] = function(b) b:close() error "oh no" end,
  } do
    it("is survived by a read callback that " .. name, function()
      local base = t.base()
      local from, to = ends(base)
      from:write(CHUNK:sub(1, 1000))
      to:set_rate_limit {read = 1000, tick = 0.001}
      local done = 0
      to:setcb(function(b)
        done = done + 1
        if done == 1 then
          base:loopexit(0.01)
          act(b)
        end
        collectgarbage() collectgarbage()
      end)
      from, to = nil, nil                         -- luacheck: ignore
      local ok, message = pcall(runfor, base, 5)
      assert.equal(name ~= "raises", ok, message)
      assert.is_true(done > 0)
      base:close()
    end)
  end

  it("says nothing on stderr when the descriptor is closed first", function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      local base = libevent.base()
      local a, b = libevent.socketpair()
      local to = base:bufferevent {getfd = function() return a end}
      to:set_rate_limit({read = 1, tick = 1}):enable "read"
      to:decrement_read_limit(10)                 -- waits
      libevent.closesocket(a)
      to:close()
      base:loop "nonblock"
      print(libevent.closesocket(b))
    ]]
    assert.equal("true\n", text)
    assert.equal(0, status)
  end)

  for _, case in ipairs {
    {"table of limits expected, got 1000", 1000},
    {"table of limits expected, got \"1000\"", "1000"},
    {"options 'read' or 'write' expected", {}},
    {"options 'read' or 'write' expected", {tick = 0.1}},
    {"unknown option 'rate' (known: read, write, read_burst, write_burst, "
     .. "tick)", {rate = 1}},
    {"unknown option '1'", {1000}},
    {"option 'read': integer from 1 to 2147483647 expected, got 0", {read = 0}},
    {"option 'write': integer from 1 to 2147483647 expected, got -1",
     {write = -1}},
    {"option 'read': integer from 1 to 2147483647 expected, got 1.5",
     {read = 1.5}},
    {"option 'read': integer from 1 to 2147483647 expected, got 2147483648",
     {read = INT_MAX + 1}},
    {"option 'read': integer from 1 to 2147483647 expected, got \"5\"",
     {read = "5"}},
    {"option 'read': integer from 1 to 2147483647 expected, got boolean",
     {read = true}},
    {"option 'read_burst': integer from 1 to 2147483647 expected",
     {read = 1, read_burst = 2^40}},
    {"option 'write_burst': integer from 1 to 2147483647 expected",
     {write = 1, write_burst = 0}},
    {"a burst without a rate", {read = 10, write_burst = 10}},
    {"a burst without a rate", {write = 10, read_burst = 10}},
    {"a burst of less than a tick's bytes", {read = 1000, read_burst = 99}},
    {"a burst of less than a tick's bytes",
     {read = 1, write = 1000, write_burst = 999, tick = 1}},
    -- below a millisecond libevent divides by 0
    {"option 'tick': seconds from 0.001 to 1 expected, got 0.0009",
     {read = 1, tick = 0.0009}},
    {"option 'tick': seconds from 0.001 to 1 expected, got 0",
     {read = 1, tick = 0}},
    {"option 'tick': seconds from 0.001 to 1 expected", {read = 1, tick = -1}},
    {"option 'tick': seconds from 0.001 to 1 expected", {read = 1, tick = 1.1}},
    {"option 'tick': seconds from 0.001 to 1 expected",
     {read = 1, tick = 0 / 0}},
    {"option 'tick': seconds from 0.001 to 1 expected",
     {read = 1, tick = math.huge}},
    {"option 'tick': seconds from 0.001 to 1 expected, got \"1\"",
     {read = 1, tick = "1"}},
  } do
    it("is refused, and changes nothing: " .. case[1], function()
      local base, b = one()
      local group = base:rate_limit_group {read = 500, read_burst = 500,
                                           tick = 1}
      b:set_rate_limit {read = 700, read_burst = 700, tick = 1}
      raises(case[1], b.set_rate_limit, b, case[2])
      raises(case[1], group.set_cfg, group, case[2])
      raises(case[1], base.rate_limit_group, base, case[2])
      assert.same({700, 500}, {b:read_limit(), group:read_limit()})
      base:close()
    end)
  end
end)

describe("What a bufferevent may move", function()
  before_each(t.start)
  after_each(t.finish)

  it("is 16384 bytes at a time, unless it is set", function()
    local base, b = one()
    for _, way in ipairs {"read", "write"} do
      local set, get = "set_max_single_" .. way, "max_single_" .. way
      local most = "max_to_" .. way
      assert.equal(16384, b[get](b))
      assert.equal(16384, b[most](b))
      for _, n in ipairs {1, 100, INT_MAX} do
        assert.equal(b, b[set](b, n))
        assert.equal(n, b[get](b))
        assert.equal(n, b[most](b))
      end
      for _, bad in ipairs {0, -1, 1.5, INT_MAX + 1, "1", {}} do
        raises("integer from 1 to 2147483647 expected", b[set], b, bad)
      end
      assert.equal(INT_MAX, b[get](b))
      b[set](b)
      assert.equal(16384, b[get](b))
    end
    base:close()
  end)

  it("is set for what one turn takes", function()
    local base = t.base()
    local from, to = ends(base)
    local sizes = {}
    to:setcb(function() sizes[#sizes + 1] = #to:read() end)
    to:set_max_single_read(300)
    from:write(CHUNK:sub(1, 1000))
    runtill(base, function() return #sizes == 4 end)
    assert.same({300, 300, 300, 100}, sizes)
    local left = {}
    from:setcb(nil, function() left[#left + 1] = #from:output() end)
    from:setwatermark("write", 1000):set_max_single_write(400)
    from:write(CHUNK:sub(1, 1000))
    runtill(base, function() return #left == 3 end)
    assert.same({600, 200, 0}, left)
    base:close()
  end)

  it("is what a limit leaves, and never less than nothing", function()
    local base, b = one()
    b:set_max_single_read(10):set_max_single_write(10)
    early()
    b:set_rate_limit {read = 500, write = 400, tick = 1}
    assert.same({500, 400}, {b:max_to_read(), b:max_to_write()})
    b:decrement_read_limit(100):decrement_write_limit(1000)
    assert.same({400, -600}, {b:read_limit(), b:write_limit()})
    assert.same({400, 0}, {b:max_to_read(), b:max_to_write()})
    b:set_rate_limit()
    assert.same({10, 10}, {b:max_to_read(), b:max_to_write()})
    base:close()
  end)

  it("is nil without a limit, in each direction", function()
    local base, b = one()
    assert.same({}, {b:read_limit(), b:write_limit()})
    b:set_rate_limit {read = 10}
    assert.is_number(b:read_limit())
    assert.is_nil(b:write_limit())
    b:set_rate_limit {write = 10}
    assert.is_nil(b:read_limit())
    assert.is_number(b:write_limit())
    base:close()
  end)

  it("is less by what the script counts, until the ticks make up for it",
  function()
    local base = t.base()
    local s = stream(base)
    s.to:set_rate_limit {read = 100000, tick = 0.01}
    s.to:decrement_read_limit(11000)              -- a tenth of a second
    local since = now()
    runfor(base, 0.3, s)
    assert.is_true(s.since - since > 0.085, s.since - since)
    moved(100000, s)
    base:close()
  end)

  it("is more by what the script gives back, at once", function()
    local base = t.base()
    local s = stream(base)
    local got = 0
    s.to:setcb(function(to) got = got + #to:read() end)
    early()
    s.to:set_rate_limit {read = 1000, tick = 1}
    s.to:decrement_read_limit(1000)
    runfor(base, 0.05)
    assert.equal(0, got)
    s.to:decrement_read_limit(-300)
    assert.equal(300, s.to:read_limit())
    runtill(base, function() return got > 0 end)
    assert.equal(300, got)
    base:close()
  end)

  -- libevent's bucket, once too full, goes on filling.
  it("is never more than the burst", function()
    local base, b = one()
    b:set_rate_limit {read = 1000, write = 1000, tick = 0.01,
                      read_burst = 50, write_burst = INT_MAX}
    b:decrement_read_limit(-INT_MAX):decrement_write_limit(-INT_MAX)
    b:decrement_read_limit(-1):decrement_write_limit(-INT_MAX)
    runfor(base, 0.05)
    assert.same({50, INT_MAX}, {b:read_limit(), b:write_limit()})
    base:close()
  end)

  -- libevent ends the process.
  it("cannot be counted without a limit", function()
    local base, b = one()
    local group = base:rate_limit_group {read = 10}
    raises("there is no read limit", b.decrement_read_limit, b, 1)
    raises("there is no write limit", b.decrement_write_limit, b, 1)
    b:add_to_rate_limit_group(group)
    raises("there is no read limit", b.decrement_read_limit, b, 1)
    b:set_rate_limit {read = 10}
    raises("there is no write limit", b.decrement_write_limit, b, -1)
    raises("there is no write limit", group.decrement_write, group, 1)
    b:set_rate_limit()
    raises("there is no read limit", b.decrement_read_limit, b, 1)
    base:close()
  end)

  it("is counted in integers", function()
    local base, b = one()
    local group = base:rate_limit_group {read = 10, write = 10}
    b:set_rate_limit {read = 10, write = 10}
    for _, bad in ipairs {1.5, "1", {}, INT_MAX + 1, -INT_MAX - 1, 0 / 0} do
      for _, f in ipairs {b.decrement_read_limit, b.decrement_write_limit} do
        raises("integer from -2147483647 to 2147483647 expected", f, b, bad)
      end
      for _, f in ipairs {group.decrement_read, group.decrement_write} do
        raises("integer from -2147483647 to 2147483647 expected", f, group, bad)
      end
    end
    base:close()
  end)
end)
