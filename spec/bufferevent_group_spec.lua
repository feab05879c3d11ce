local rates = require "spec.rates"
local t = require "spec.helper"

local raises = t.raises
local now, ends = rates.now, rates.ends
local stream, count = rates.stream, rates.count
local runfor, runtill, moved = rates.runfor, t.runtill, rates.moved
local rundown, isfree, early = rates.rundown, rates.isfree, rates.early
local CHUNK, INT_MAX = rates.CHUNK, 2147483647
local it = rates.patiently(it)

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
      assert.is_true(math.abs(s.bytes / (100000 * s.seconds) - 1)
                     < (t.slow > 1 and 0.5 or 0.25), s.bytes)
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
