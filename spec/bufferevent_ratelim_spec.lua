local libevent = require "libevent"
local socket = require "socket"
local t = require "spec.helper"

local CHUNK = ("x"):rep(65536)
local INT_MAX = 2147483647

local function now() return libevent.gettime_monotonic "precise" end

local function raises(message, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(message, err, 1, true)
end

--- Two connected bufferevents; the second one reads.
local function ends(base)
  local a, b = libevent.socketpair()
  return base:bufferevent(a), base:bufferevent(b):enable "read"
end

--- Counts the n bytes that have come to 'to' after those of the first tick, and
--- the seconds since then, by the loop's clock, which libevent counts ticks by.
local function count(meter, to, n)
  local time = to:base():gettimeofday_cached()
  meter.since = meter.since or time
  meter.seconds = time - meter.since
  meter.bytes = meter.seconds > 0.002 and meter.bytes + n or 0
end

--- A stream that never runs dry, and counts what arrives; 'all' counts it too.
local function stream(base, all)
  local s = {}
  s.from, s.to = ends(base)
  s.from:setcb(nil, function(from) from:write(CHUNK) end):write(CHUNK)
  s.to:setcb(function(to)
    local n = #to:input()
    to:input():drain()
    count(s, to, n)
    if all then count(all, to, n) end
  end)
  return s
end

--- Runs the loop for some seconds, of which these meters tell.
local function runfor(base, seconds, ...)
  for _, m in ipairs {...} do m.since, m.bytes, m.seconds = nil, 0, 0 end
  base:loopexit(seconds)
  base:dispatch()
end

--- Runs the loop until f says so.
local function runtill(base, f)
  local late = false
  local timer = base:timer(function() late = true end):add(5 * t.slow)
  repeat base:loop "once" until late or f()
  timer:close()
  assert.is_false(late)
end

--- Was it that many bytes a second, to 10 percent?
local function moved(rate, meter)
  local wanted = rate * meter.seconds
  assert.is_true(meter.seconds > 0.1, meter.seconds .. " seconds")
  assert.is_true(math.abs(meter.bytes - wanted) < wanted / 10,
                 ("%d bytes in %.3f s, not %.0f"):format(
                   meter.bytes, meter.seconds, wanted))
end

--- Runs the loop until nothing is left in it.
local function rundown(base)
  if base:num_events() > 0 then t.run(base) end
end

--- Moves more than any limit here allows.
local function isfree(base, meter)
  meter.bytes, meter.since = 0, nil
  runtill(base, function() return meter.bytes > 2e6 end)
end

--- Waits until the next second is not near, in which the next tick of a second
--- begins.
local function early()
  while socket.gettime() % 1 > 0.5 do socket.sleep(0.02) end
end

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

--- A group, what counts for all of it, and the streams of its members, which
--- are their readers.
local function groupof(base, n, limits)
  local group, all, streams = base:rate_limit_group(limits), {}, {}
  for i = 1, n do
    streams[i] = stream(base, all)
    streams[i].to:add_to_rate_limit_group(group)
  end
  return group, all, table.unpack(streams)
end

describe("A rate limit group", function()
  before_each(t.start)
  after_each(t.finish)

  it("holds its limit for all together, and shares it evenly", function()
    local base = t.base()
    local _, all, a, b, c, d = groupof(base, 4, {read = 400000, tick = 0.01})
    runfor(base, 0.5, all, a, b, c, d)
    moved(400000, all)
    for _, s in ipairs {a, b, c, d} do
      assert.is_true(math.abs(s.bytes / (100000 * s.seconds) - 1) < 0.25,
                     s.bytes)
    end
    base:close()
  end)

  it("holds its limit for writing", function()
    local base = t.base()
    local group = base:rate_limit_group {write = 400000, tick = 0.01}
    local all = {}
    local a, b = stream(base, all), stream(base, all)
    a.from:add_to_rate_limit_group(group)
    b.from:add_to_rate_limit_group(group)
    runfor(base, 0.3, all)
    moved(400000, all)
    base:close()
  end)

  it("leaves what a slow member does not take to the others", function()
    local base = t.base()
    local _, _, a, b = groupof(base, 2, {read = 400000, tick = 0.01})
    b.to:set_rate_limit {read = 50000, tick = 0.01}
    runfor(base, 0.3, a, b)
    moved(50000, b)
    moved(350000, a)
    base:close()
  end)

  it("leaves idle members aside", function()
    local base = t.base()
    local group, all = groupof(base, 1, {read = 200000, tick = 0.01})
    for _ = 1, 10 do
      select(2, ends(base)):add_to_rate_limit_group(group)
    end
    runfor(base, 0.3, all)
    moved(200000, all)
    base:close()
  end)

  it("holds for many members and few bytes", function()
    local base = t.base()
    local _, all = groupof(base, 20, {read = 20000, tick = 0.005})
    runfor(base, 0.3, all)
    moved(20000, all)
    base:close()
  end)

  it("gets other limits on the way", function()
    local base = t.base()
    local group, all = groupof(base, 2, {read = 100000, tick = 0.01})
    for _, l in ipairs {
      {read = 150000, tick = 0.01}, {read = 100000, tick = 0.02},
      {read = 150000, tick = 0.001}, {read = 300000, tick = 0.013},
    } do
      assert.equal(group, group:set_cfg(l))
      runfor(base, 0.25, all)
      moved(l.read, all)
    end
    group:set_cfg {write = 1}
    isfree(base, all)
    base:close()
  end)

  it("hands out no more when it gets them again and again", function()
    local base = t.base()
    local group, all = groupof(base, 2, {read = 100000, tick = 0.01})
    base:timer(function() group:set_cfg {read = 100000, tick = 0.01} end,
               "persist"):add(0.003)
    runfor(base, 0.3, all)
    moved(100000, all)
    base:close()
  end)

  it("goes on with what its old limits had left", function()
    local base = t.base()
    early()
    local group = base:rate_limit_group {read = 1000, write = 500, tick = 1}
    group:decrement_read(400):decrement_write(5000)
    group:set_cfg {read = 2000, write = 20000, tick = 1}
    assert.same({600, -4500}, {group:read_limit(), group:write_limit()})
    group:set_cfg {read = 100, write = 1, read_burst = 150, tick = 1}
    assert.same({150, -4500}, {group:read_limit(), group:write_limit()})
    group:set_cfg {write = 1, tick = 1}
    assert.same({nil, -4500}, {group:read_limit(), group:write_limit()})
    group:set_cfg {read = 1000, write = 1, tick = 1}
    assert.same({1000, -4500}, {group:read_limit(), group:write_limit()})
    base:close()
  end)

  it("lets members go, who then have no limit", function()
    local base = t.base()
    local group, _, a, b = groupof(base, 2, {read = 100000, tick = 0.01})
    runfor(base, 0.02, a, b)
    assert.equal(a.to, a.to:remove_from_rate_limit_group())
    a.to:remove_from_rate_limit_group()
    runfor(base, 0.2, b)
    moved(100000, b)
    isfree(base, a)
    b.to:add_to_rate_limit_group(group):add_to_rate_limit_group(group)
    runfor(base, 0.2, b)
    moved(100000, b)
    base:close()
  end)

  it("takes a member from another group", function()
    local base = t.base()
    local slow, _, a = groupof(base, 1, {read = 1000, tick = 1})
    runfor(base, 0.02, a)
    local fast = base:rate_limit_group {read = 100000, tick = 0.01}
    a.to:add_to_rate_limit_group(fast)
    slow:close()
    runfor(base, 0.2, a)
    moved(100000, a)
    base:close()
  end)

  it("keeps a new member waiting while there is nothing left", function()
    local base = t.base()
    local s = stream(base)
    local got = 0
    s.to:setcb(function(to) got = got + #to:read() end)
    early()
    local group = base:rate_limit_group {read = 1000, tick = 1}
    group:decrement_read(5000)
    s.to:add_to_rate_limit_group(group)
    runfor(base, 0.05)
    assert.equal(0, got)
    group:decrement_read(-4100)
    runtill(base, function() return got > 0 end)
    assert.equal(100, got)
    base:close()
  end)

  it("knows what it may move now", function()
    local base = t.base()
    early()
    local group = base:rate_limit_group {read = 10, write = 5, tick = 1}
    assert.same({10, 5}, {group:read_limit(), group:write_limit()})
    group = base:rate_limit_group {read = 1000, write = 500, tick = 0.01,
                                   write_burst = 20}
    assert.equal(group, group:decrement_read(70))
    assert.equal(group, group:decrement_write(70))
    assert.is_true(group:read_limit() < 0)
    runfor(base, 0.35)
    assert.same({200, 20}, {group:read_limit(), group:write_limit()})
    group:decrement_read(-INT_MAX):decrement_write(-INT_MAX)
    assert.same({200, 20}, {group:read_limit(), group:write_limit()})
    base:close()
  end)

  it("gives no member more than its share, or the least share", function()
    local base = t.base()
    early()
    local group = base:rate_limit_group {read = 1000, write = 8000, tick = 1}
    local bufs = {}
    for i = 1, 10 do
      bufs[i] = base:bufferevent():add_to_rate_limit_group(group)
    end
    local b = bufs[1]
    assert.same({100, 800}, {b:max_to_read(), b:max_to_write()})
    assert.equal(group, group:set_min_share(300))
    assert.same({300, 800}, {b:max_to_read(), b:max_to_write()})
    group:set_min_share(INT_MAX)                -- the bytes of a tick
    assert.same({1000, 1000}, {b:max_to_read(), b:max_to_write()})
    group:set_min_share(1)
    assert.same({100, 800}, {b:max_to_read(), b:max_to_write()})
    b:set_rate_limit {read = 10, write = 900, tick = 1}
    assert.same({10, 800}, {b:max_to_read(), b:max_to_write()})
    group:set_min_share(150):set_cfg {read = 1000, write = 1000, tick = 1}
    assert.equal(150, bufs[2]:max_to_read())
    base:close()
  end)

  -- With a share of 0 libevent reads nothing, and takes that for the end.
  it("gives every member something", function()
    local base = t.base()
    local group = base:rate_limit_group {read = 10}
    for _, bad in ipairs {0, -1, 1.5, "1", INT_MAX + 1} do
      raises("integer from 1 to 2147483647 expected", group.set_min_share,
             group, bad)
    end
    group:set_min_share(1)
    for _ = 1, 20 do
      local s = stream(base)
      s.to:setcb((s.to:getcb()), nil, t.never())
      s.to:add_to_rate_limit_group(group)
    end
    runfor(base, 0.15)
    base:close()
  end)

  it("counts what its members move, while they are members", function()
    local base = t.base()
    local group = base:rate_limit_group {read = 1e6, write = 1e6}
    local a, b = ends(base)
    local before, member = ends(base)
    assert.same({0, 0}, {group:totals()})
    a:add_to_rate_limit_group(group)
    b:add_to_rate_limit_group(group)
    member:add_to_rate_limit_group(group)
    a:write(CHUNK:sub(1, 1000))
    before:write "12345"
    runtill(base, function()
      return #b:input() == 1000 and #member:input() == 5
    end)
    assert.same({1005, 1000}, {group:totals()})
    group:decrement_read(100)                   -- moves nothing
    group:set_cfg {read = 5e5, tick = 0.02}
    assert.same({1005, 1000}, {group:totals()})
    member:close()
    b:remove_from_rate_limit_group()
    a:write "123"
    runtill(base, function() return #b:input() == 1003 end)
    assert.same({1005, 1003}, {group:totals()})
    assert.equal(group, group:reset_totals())
    assert.same({0, 0}, {group:totals()})
    a:write "12"
    runtill(base, function() return #b:input() == 1005 end)
    assert.same({0, 2}, {group:totals()})
    base:close()
  end)
end)

describe("The life of a rate limit group", function()
  before_each(t.start)
  after_each(t.finish)

  it("knows its base and its name", function()
    local base = t.base()
    local group = base:rate_limit_group {read = 1}
    assert.equal(base, group:base())
    assert.matches("^libevent%.RateLimitGroup %(0x%x+%)$", tostring(group))
    assert.equal(group, group:close())
    assert.equal("libevent.RateLimitGroup (closed)", tostring(group))
    group:close()
    base:close()
  end)

  it("keeps no loop running", function()
    local base = t.base()
    local group = base:rate_limit_group {read = 1, tick = 0.01}
    assert.equal(0, base:num_events())
    group:set_cfg {read = 100, tick = 0.02}
    group:decrement_read(4)
    assert.equal(0, base:num_events())
    assert.is_false(base:dispatch())
    local member = base:bufferevent():add_to_rate_limit_group(group)
    rundown(base)
    member:close()
    group:close()
  end)

  it("keeps no loop running for members that do nothing", function()
    local base = t.base()
    local group = base:rate_limit_group {read = 10000, tick = 0.01}
    local from, to = ends(base)
    from:add_to_rate_limit_group(group)
    to:add_to_rate_limit_group(group)
    local got = 0
    to:setcb(function()
      got = got + #to:read()
      if got == 2000 then to:disable "read" end
    end)
    from:write(CHUNK:sub(1, 2000))
    local since = now()
    rundown(base)
    assert.equal(2000, got)
    assert.is_true(now() - since > 0.15)
    assert.equal(0, base:num_events())
    assert.is_true(t.isopen(to:getfd()))
  end)

  it("sleeps while nothing moves, and holds its limit again after", function()
    local base = t.base()
    local group = base:rate_limit_group {read = 100000, read_burst = 2000,
                                         tick = 0.01}
    local from, to = ends(base)
    to:add_to_rate_limit_group(group)
    base:timer(print):add(9)
    runfor(base, 0.05)
    assert.equal(2, base:num_events())          -- to read, and 9 seconds
    local meter = {}
    to:setcb(function() count(meter, to, #to:read()) end)
    from:write(CHUNK)
    runfor(base, 0.2)
    moved(100000, meter)
    base:close()
  end)

  it("keeps members waiting for a long tick in the loop", function()
    local base = t.base()
    local group = base:rate_limit_group {write = 10, tick = 0.2}
    local from, to = ends(base)
    local got = ""
    to:setcb(function()
      got = got .. to:read()
      if #got == 4 then to:close() end
    end)
    from:add_to_rate_limit_group(group):write "data"
    rundown(base)
    assert.equal("data", got)
  end)

  it("lasts while it has a member", function()
    local base = t.base()
    local weak = setmetatable({}, {__mode = "k"})
    local s = stream(base)
    do
      local group = base:rate_limit_group {read = 100000, tick = 0.01}
      s.to:add_to_rate_limit_group(group)
      weak[group] = true
    end
    collectgarbage() collectgarbage()
    runfor(base, 0.2, s)
    moved(100000, s)
    assert.truthy(next(weak))
    s.to:remove_from_rate_limit_group()
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    base:close()
  end)

  it("keeps no member alive", function()
    local base = t.base()
    local group = base:rate_limit_group {read = 100, tick = 0.01}
    local weak = setmetatable({}, {__mode = "k"})
    weak[base:bufferevent():add_to_rate_limit_group(group)] = true
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    group:close()
    base:close()
  end)

  -- libevent ends the process when a group with members is freed.
  it("may end before its members, who then have no limit", function()
    local base = t.base()
    local group, _, a, b = groupof(base, 2, {read = 1000, tick = 1})
    runfor(base, 0.02, a, b)
    group:close()
    isfree(base, a)
    isfree(base, b)
    a.to:remove_from_rate_limit_group()
    a.to:add_to_rate_limit_group(base:rate_limit_group {read = 1000, tick = 1})
    base:close()
  end)

  -- libevent's bufferevent stays a member until the loop finalizes it.
  it("may end in the same turn as its members", function()
    local base = t.base()
    local group, _, a, b = groupof(base, 2, {read = 1000, tick = 0.01})
    runfor(base, 0.02, a, b)
    base:timer(t.expect(function()
      a.to:close()
      group:close()
      b.to:close()
    end)):add(0)
    runfor(base, 0.02)
    local other = groupof(base, 1, {read = 1000, tick = 0.01})
    runfor(base, 0.02)
    base:timer(t.expect(function() other:close() base:close() end)):add(0)
    rundown(base)
  end)

  it("does not count a closed member", function()
    local base = t.base()
    early()
    local group, _, a, b = groupof(base, 2, {read = 1000, tick = 1})
    assert.equal(500, a.to:max_to_read())
    b.to:close()
    assert.equal(1000, a.to:max_to_read())
    a.to:remove_from_rate_limit_group()
    assert.equal(1000, group:read_limit())
    base:close()
  end)

  it("ends with its base", function()
    local base = t.base()
    local group, _, a = groupof(base, 1, {read = 1000, tick = 0.01})
    runfor(base, 0.02, a)
    base:close()
    for _, name in ipairs {"read_limit", "write_limit", "totals", "base",
                           "reset_totals"} do
      raises("RateLimitGroup is closed", group[name], group)
    end
    raises("RateLimitGroup is closed", group.set_cfg, group, {read = 1})
    raises("RateLimitGroup is closed", group.set_min_share, group, 1)
    raises("RateLimitGroup is closed", group.decrement_read, group, 1)
    raises("RateLimitGroup is closed", group.decrement_write, group, 1)
    raises("Base is closed", base.rate_limit_group, base, {read = 1})
    group:close()
  end)

  it("takes members of its base only, that are open", function()
    local base, other = t.base(), t.base()
    local group = base:rate_limit_group {read = 1}
    local b, stranger = base:bufferevent(), other:bufferevent()
    raises("group is of another base", stranger.add_to_rate_limit_group,
           stranger, group)
    raises("libevent.RateLimitGroup expected, got table",
           b.add_to_rate_limit_group, b, {read = 1})
    raises("libevent.RateLimitGroup expected, got no value",
           b.add_to_rate_limit_group, b)
    group:close()
    raises("RateLimitGroup is closed", b.add_to_rate_limit_group, b, group)
    b:close()
    raises("Bufferevent is closed", b.add_to_rate_limit_group, b, group)
    raises("Bufferevent is closed", b.remove_from_rate_limit_group, b)
    base:close()
    other:close()
  end)

  for name, act in pairs {
    ["closes itself"] = function(b) b:close() end,
    ["closes itself, then the group"] = function(b, g) b:close() g:close() end,
    ["closes the group, then itself"] = function(b, g) g:close() b:close() end,
    ["closes the base"] = function(b) b:base():close() end,
    ["leaves"] = function(b) b:remove_from_rate_limit_group() end,
    ["changes the group"] = function(_, g) g:set_cfg {read = 9, tick = 0.5} end,
    ["goes to another group"] = function(b)
      b:add_to_rate_limit_group(b:base():rate_limit_group {read = 9})
    end,
    ["drops itself"] = function(b) b:disable "read" end,
    ["raises"] = function(b) b:close() error "oh no" end,
  } do
    it("is safe when a member's callback " .. name, function()
      local base = t.base()
      local group = base:rate_limit_group {read = 5000, tick = 0.001}
      local done = 0
      for _ = 1, 3 do
        local from, to = ends(base)
        from:write(CHUNK:sub(1, 1000))
        to:add_to_rate_limit_group(group)
        to:setcb(function(b)
          done = done + 1
          if done == 2 then
            base:loopexit(0.01)
            local g = group
            group = nil
            act(b, g)
          end
          collectgarbage() collectgarbage()
        end)
      end
      local ok, message = pcall(runfor, base, 5)
      assert.equal(name ~= "raises", ok, message)
      if name == "raises" then runfor(base, 0.01) end
      assert.is_true(done >= 2)
      base:close()
    end)
  end

  it("ends in any order of collection", function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      local function make(keep)
        local base = libevent.base()
        local group = base:rate_limit_group {read = 100, tick = 0.001}
        keep[#keep + 1], keep[#keep + 2] = base, group
        for i = 1, 3 do
          local a, b = libevent.socketpair()
          local from = base:bufferevent(a):write(("x"):rep(1000))
          local to = base:bufferevent(b):enable "read"
          to:set_rate_limit {read = 50 * i, tick = 0.001}
          to:add_to_rate_limit_group(group)
          from:add_to_rate_limit_group(group)
          keep[#keep + 1], keep[#keep + 2] = from, to
        end
        base:loopexit(0.002)
        base:dispatch()
      end
      for round = 1, 50 do
        local keep = {}
        make(keep)
        while #keep > 0 do
          table.remove(keep, math.random(#keep))
          collectgarbage "step"
          if math.random(3) == 1 then collectgarbage() end
        end
      end
      left = {}
      make(left)
      print "ended"
      os.exit(true, true)
    ]]
    assert.equal("ended\n", text)
    assert.equal(0, status)
  end)

  it("goes on in a child process, and in its parent", function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      local unistd = require "posix.unistd"
      local base = libevent.base()
      local group = base:rate_limit_group {read = 100000, tick = 0.01}
      local a, b = libevent.socketpair()
      local from, to = base:bufferevent(a), base:bufferevent(b)
      to:add_to_rate_limit_group(group)
      if unistd.fork() == 0 then
        group:set_cfg {read = 1}
        to:close()
        group:close()
        base:close()
        os.exit(true, true)
      end
      require "posix.sys.wait".wait()
      local got = 0
      to:setcb(function()
        got = got + #to:read()
        if got == 5000 then base:close() end
      end):enable "read"
      from:write(("x"):rep(5000))
      base:dispatch()
      print(got)
    ]]
    assert.equal("5000\n", text)
    assert.equal(0, status)
  end)
end)
