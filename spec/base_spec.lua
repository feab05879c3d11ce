local libevent = require "libevent"
local kinds = require "spec.kinds"
local t = require "spec.helper"

describe("A new base", function()
  before_each(t.start)
  after_each(t.finish)

  it("uses the method that is asked for", function()
    for _, name in ipairs(libevent.methods()) do
      assert.equal(name, t.base({method = name}):method())
    end
  end)

  it("avoids one method or several", function()
    local methods = libevent.methods()
    assert.equal(methods[2], t.base({avoid = methods[1]}):method())
    local most = {table.unpack(methods, 1, #methods - 1)}
    assert.equal(methods[#methods], t.base({avoid = most}):method())
  end)

  it("has the features that are required, or is refused", function()
    assert.truthy(t.base({features = "et"}):features():find("et", 1, true))
    assert.truthy(t.base({features = "fds"}):features():find("fds", 1, true))
    local text, status = t.lua [[
      print(require "libevent".base {features = "et|fds"})
    ]]
    assert.equal(0, status)
    assert.truthy(text:find "nil\tno method is left")
  end)

  it("has one priority, or as many as it is given", function()
    assert.equal(1, t.base():npriorities())
    assert.equal(255, t.base({priorities = 255}):npriorities())
  end)

  it("takes every flag of libevent's", function()
    local base = t.base {flags = "nolock|ignore_env|no_cache_time|"
                                 .. "epoll_use_changelist|precise_timer"}
    base:timer(t.expect()):add(0)
    base:dispatch()
  end)

  it("ignores the environment when told to", function()
    local code = [[
      local le = require "libevent"
      print(le.base():method(), le.base {flags = "ignore_env"}:method())
    ]]
    local best, second = table.unpack(libevent.methods())
    local text = t.lua(("os.execute(%q)"):format(
      ("EVENT_NO%s=1 %s -e %q"):format(best:upper(),
        os.getenv "LUA" or "lua5.4", (code:gsub("\n", " ")))))
    assert.equal(second .. "\t" .. best .. "\n", text)
  end)

  it("refuses options that it does not know or cannot use", function()
    for _, case in ipairs {
      {{speed = 1}, "unknown option 'speed' %(known: method, avoid"},
      {{"epoll"}, "unknown option '1'"},
      {{method = "kqueu"}, "option 'method': a name .* got \"kqueu\""},
      {{avoid = {"poll", 3}}, "option 'avoid': a name .* got 3"},
      {{flags = "fast"}, "unknown word 'fast' %(known: nolock"},
      {{features = true}, "words of %(et, o1, fds, early_close%)"},
      {{priorities = 0}, "integer from 1 to 255 expected, got 0"},
      {{priorities = 256}, "integer from 1 to 255 expected, got 256"},
      {{priorities = 1.5}, "integer from 1 to 255 expected, got 1.5"},
      {{max_interval = -1}, "seconds from 0"},
      {{max_callbacks = 0}, "integer from 1"},
      {{min_priority = -1}, "integer from 0"},
      {"epoll", "table of options expected, got \"epoll\""},
    } do
      local ok, message = pcall(libevent.base, case[1])
      assert.is_false(ok)
      assert.truthy(message:find(case[2]), message)
    end
  end)

  it("is refused, not the end of the process, without descriptors", function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      local files = {}
      while true do
        local f = io.open "/dev/null"
        if not f then break end
        files[#files + 1] = f
      end
      files[#files]:close()             -- enough for epoll, not for signals
      print(libevent.base())
      for i = 1, 4 do files[#files - i]:close() end
      print((libevent.base():method()))
    ]]
    assert.equal(0, status)
    assert.equal("nil\tToo many open files\t24\n" .. libevent.methods()[1]
                 .. "\n", text)
  end)
end)

describe("A loop", function()
  before_each(t.start)
  after_each(t.finish)

  it("ends when nothing is left to wait for, and says so", function()
    local base = t.base()
    assert.is_false(base:dispatch())
    base:timer(t.expect()):add(0.001)
    assert.is_false(base:dispatch())
    assert.is_false(base:got_exit())
    assert.is_false(base:got_break())
  end)

  for name, make in pairs {
    ["an enabled listener"] = function(base)
      base:listener("127.0.0.1:0", print)
    end,
    ["a signal"] = function(base) base:signal("USR1", print):add() end,
    ["a time that is far"] = function(base) base:timer(print):add(1000) end,
    ["a bufferevent that reads"] = function(base, keep)
      local a, b = libevent.socketpair()
      keep[1] = base:bufferevent(b)
      base:bufferevent(a):enable "read"
    end,
    ["a bufferevent with output"] = function(base, keep)
      local a, b = libevent.socketpair()
      keep[1] = base:bufferevent(b)
      base:bufferevent(a):write(("x"):rep(1 << 22))
    end,
  } do
    it("is kept by " .. name, function()
      local base, keep = t.base(), {}
      make(base, keep)
      for _ = 1, 3 do assert.is_true(base:loop "nonblock") end
      base:close()
    end)
  end

  it("is kept by loopexit after a time, but no later loop", function()
    local base = t.base()
    base:loopexit(1000)
    assert.is_true(base:loop "nonblock")
    assert.is_false(base:loop "nonblock")
  end)

  it("is not kept by what has nothing to wait for", function()
    local base = t.base()
    local a, b = libevent.socketpair()
    local kept = {
      base:timer(print), base:user(print), base:signal("USR1", print),
      base:event(a, "read|persist", print),
      base:listener("127.0.0.1:0", print):disable(),
      base:bufferevent(b),                    -- it could write
      base:bufferevent():enable "read":write "data",
      base:rate_limit_group {read = 1},
    }
    assert.is_false(base:dispatch())
    assert.equal(8, #kept)
    base:close()
    libevent.closesocket(a)
  end)

  it("goes round once, or only looks", function()
    local base = t.base()
    local timer = base:timer(t.expect(nil, 2), "persist"):add(0.01)
    base:loop "nonblock"
    base:loop "once"
    base:loop "once"
    timer:close()
  end)

  it("waits with nothing to wait for when told to", function()
    local base = t.base()
    base:loopexit(0.02)
    assert.is_true(base:loop "no_exit_on_empty")
    assert.is_true(base:got_exit())
  end)

  it("exits after its batch of events, breaks after this one", function()
    for stop, calls in pairs {loopexit = 3, loopbreak = 1} do
      local base = t.base()
      local n = 0
      for _ = 1, 3 do
        base:user(function() n = n + 1 base[stop](base) end):active()
      end
      assert.is_true(base:dispatch())
      assert.equal(calls, n)
      assert.equal(stop == "loopexit", base:got_exit())
      assert.equal(stop == "loopbreak", base:got_break())
    end
  end)

  it("heeds a loopexit from before it, but not a loopbreak", function()
    local base = t.base()
    base:timer(t.expect()):add(0.005)
    base:loopbreak()
    assert.is_false(base:dispatch())
    base:timer(t.never()):add(0.005)
    base:loopexit()
    assert.is_true(base:dispatch())
  end)

  it("heeds the earliest of several loopexits, and none of them later",
  function()
    local base = t.base()
    base:loopexit(5):loopexit(0.01):loopexit(5)
    local before = os.time()
    assert.is_true(base:dispatch())
    assert.is_true(os.time() - before < 4)
    assert.equal(0, base:num_events())
    assert.is_false(base:dispatch())
  end)

  it("looks for urgent events again after loopcontinue", function()
    local base = t.base {priorities = 2}
    local order = {}
    local urgent = base:user(function() order[#order + 1] = "urgent" end)
    urgent:priority_set(0)
    for _ = 1, 2 do
      base:user(function()
        order[#order + 1] = "other"
        if not order[2] then urgent:active() base:loopcontinue() end
      end):priority_set(1):active()
    end
    base:dispatch()
    assert.same({"other", "urgent", "other"}, order)
  end)

  it("runs urgent events first, within the limits of a dispatch", function()
    local base = t.base {priorities = 2, max_callbacks = 1, min_priority = 1}
    local order = {}
    local urgent = base:user(function() order[#order + 1] = "urgent" end)
    urgent:priority_set(0)
    for _ = 1, 3 do
      base:user(function()
        order[#order + 1] = "other"
        urgent:active()
      end):priority_set(1):active()
    end
    base:dispatch()
    assert.same({"other", "urgent", "other", "urgent", "other", "urgent"},
                order)
  end)

  it("looks for new events after so many callbacks, or such a time",
  function()
    for wanted, options in pairs {
      ["other other other urgent"] = {},
      ["other urgent other other"] = {max_callbacks = 1, min_priority = 1},
      ["other other urgent other"] = {max_callbacks = 2},
      ["other urgent other other "] = {max_interval = 0.001},
      ["other other other urgent "] = {max_interval = 0.001, min_priority = 2},
    } do
      options.priorities = 3
      local base = t.base(options)
      local a, b = libevent.socketpair()
      local order = {}
      base:event(a, "read", t.expect(function()
        order[#order + 1] = "urgent"
      end)):priority_set(0):add()
      for _ = 1, 3 do
        base:user(t.expect(function()
          order[#order + 1] = "other"
          libevent.buffer("x"):write(b)
          local late = os.clock() + 0.005
          while os.clock() < late do end
        end)):priority_set(1):active()
      end
      t.run(base)
      assert.equal(wanted:match "^(.-) ?$", table.concat(order, " "))
      libevent.closesocket(a)
      libevent.closesocket(b)
    end
  end)

  it("serves all others beside an event that makes itself active", function()
    local base = t.base()
    local n = 0
    base:user(function(event)
      n = n + 1
      event:active()
    end):active()
    base:timer(function() base:loopbreak() end):add(0.005)
    assert.is_true(base:dispatch())
    assert.is_true(n > 1000)
  end)

  it("is refused inside itself, and goes on", function()
    local base = t.base()
    base:timer(t.expect(function()
      local ok, message = pcall(base.dispatch, base)
      assert.is_false(ok)
      assert.truthy(message:find "runs already")
    end)):add(0)
    base:timer(t.expect()):add(0.005)
    base:dispatch()
  end)

  it("can run inside a callback of another base's", function()
    local outer, inner = t.base(), t.base()
    inner:timer(t.expect(function() inner:loopexit() end)):add(0)
    outer:timer(t.expect(function() assert.is_true(inner:dispatch()) end))
      :add(0)
    outer:dispatch()
  end)

  it("cannot be nested until the C stack is full, however deep each is",
  function()
    local function deep(n, f)
      if n == 0 then return f() end
      ("x"):gsub("x", function() deep(n - 1, f) end)
    end
    local function nest()
      local base = libevent.base()
      base:timer(function() deep(150, nest) end):add(0)
      base:dispatch()
    end
    local ok, message = pcall(nest)
    assert.is_false(ok)
    assert.truthy(message:find "too many loops" or message:find "C stack")
  end)

  it("cannot be nested for ever", function()
    local deepest = 0
    local function nest(depth)
      local base = libevent.base()
      base:timer(function()
        deepest = depth
        nest(depth + 1)
      end):add(0)
      base:dispatch()
    end
    local ok, message = pcall(nest, 1)
    assert.is_false(ok)
    assert.truthy(message:find "too many loops inside callbacks")
    assert.is_true(deepest >= 16)
    nest = nil                                                -- luacheck: ignore
  end)
end)

describe("A base", function()
  before_each(t.start)
  after_each(t.finish)

  it("counts those that are due", function()
    local base = t.base()
    for i = 1, 3 do
      base:user(t.expect(function()
        assert.equal(3 - i, base:num_events "active")
      end)):active()
    end
    assert.equal(3, base:num_events "active")
    t.run(base)
    assert.equal(0, base:num_events "active")
    assert.equal(3, base:max_events("active", true))
    assert.equal(0, base:max_events "active")
  end)

  it("hears of many descriptors at once", function()
    local base = t.base()
    local ends, heard = {}, 0
    for i = 1, 70 do
      local a, b = libevent.socketpair()
      ends[2 * i - 1], ends[2 * i] = a, b
      base:event(a, "read", t.expect(function(event)
        assert.equal(a, event:fd())
        heard = heard + 1
      end)):add()
      libevent.buffer("x"):write(b)
    end
    base:loop "once"
    for _ = 1, 2 do
      if heard < 70 then base:loop "once" end     -- epoll begins with 32
    end
    assert.equal(70, heard)
    for _, fd in ipairs(ends) do libevent.closesocket(fd) end
  end)

  for name, flags in pairs {
    without = "", with = "epoll_use_changelist",
  } do
    it("takes a descriptor and its duplicate for two, " .. name
       .. " a changelist", function()
      local unistd = require "posix.unistd"
      local base = t.base {flags = flags}
      local a, b = libevent.socketpair()
      local dup = assert(unistd.dup(a))
      local heard = {}
      local function watch(fd)
        heard[fd] = 0
        return base:event(fd, "read|write|persist", function(event, what)
          if what:find "read" then heard[event:fd()] = heard[event:fd()] + 1 end
        end):add()
      end
      local one, two = watch(a), watch(dup)
      libevent.buffer("x"):write(b)
      t.turns(base, 2)
      assert.same({[a] = 2, [dup] = 2}, heard)
      one:del()
      t.turns(base, 2)
      assert.same({[a] = 2, [dup] = 4}, heard)
      libevent.closesocket(a)
      t.turns(base, 2)
      assert.same({[a] = 2, [dup] = 6}, heard)
      two:close()
      libevent.closesocket(dup)
      libevent.closesocket(b)
    end)
  end

  it("counts its events", function()
    local base = t.base()
    assert.equal(0, base:num_events())
    local a, b = base:timer(t.never()):add(9), base:timer(t.never()):add(9)
    assert.equal(2, base:num_events())
    assert.equal(2, base:num_events "added|active|virtual")
    assert.equal(0, base:num_events "active")
    a:close() b:close()
    assert.equal(0, base:num_events())
    assert.equal(2, base:max_events("added", true))
    assert.equal(0, base:max_events())
  end)

  it("tells the time of this turn, until it is told to look", function()
    local base = t.base()
    base:timer(t.expect(function()
      local before = base:gettimeofday_cached()
      assert.near(os.time(), before, 2)
      local late = os.clock() + 0.02
      while os.clock() < late do end
      assert.equal(before, base:gettimeofday_cached())
      assert.is_true(base:update_cache_time():gettimeofday_cached() > before)
    end)):add(0)
    base:dispatch()
  end)

  it("tells a time that only goes forward, without a look at the turn's",
  function()
    local base = t.base()
    base:timer(t.expect(function()
      local before = base:gettime_monotonic()
      local late = os.clock() + 0.02
      while os.clock() < late do end
      local passed = base:gettime_monotonic() - before
      assert.is_true(passed > 0.01 and passed < 5, passed)
    end)):add(0)
    base:dispatch()
  end)

  it("tells the time of each moment with no_cache_time", function()
    local base = t.base {flags = "no_cache_time"}
    base:timer(t.expect(function()
      local before = base:gettimeofday_cached()
      local late = os.clock() + 0.01
      while os.clock() < late do end
      assert.is_true(base:gettimeofday_cached() - before > 0.005)
    end)):add(0)
    base:dispatch()
  end)

  it("can be closed twice, by hand or by leaving a block", function()
    local base = t.base()
    assert.equal(base, base:close():close())
    assert.equal("libevent.Base (closed)", tostring(base))
    local other <close> = t.base()
    assert.truthy(tostring(other):find "^libevent.Base %(0x")
  end)

  it("refuses every call once it is closed", function()
    local base = t.base():close()
    for name, method in pairs(debug.getmetatable(base).__index) do
      if name ~= "close" then
        local ok, message = pcall(method, base, "", print, print)
        assert.is_false(ok, name)
        assert.truthy(message:find "Base is closed", name .. message)
      end
    end
  end)

  it("closes all that lives on it", function()
    local base = t.base()
    local objects = {
      base:timer(t.never()):add(9), base:timer(t.never()),
      base:signal("USR1", t.never()):add(), base:user(t.never()):active(),
      base:bufferevent(), base:listener("127.0.0.1:0", t.never()),
    }
    local input = objects[5]:input()
    base:close()
    for _, object in ipairs(objects) do
      assert.truthy(tostring(object):find "%(closed%)$")
      assert.equal(object, object:close())
    end
    assert.has_error(function() return #input end,
                     "bad argument #1 to 'len' (Bufferevent is closed)")
  end)
end)

describe("A common timeout", function()
  before_each(t.start)
  after_each(t.finish)

  -- Adds n timers of one duration in one turn; the order in which they fire.
  local function order(base, seconds, n)
    local list = {}
    for i = 1, n do
      base:timer(function() list[#list + 1] = i end):add(seconds)
    end
    base:dispatch()
    return list
  end

  it("ends equal timeouts in the order in which they were added", function()
    local base = t.base()
    assert.equal(base, base:init_common_timeout(0.01))
    local sorted = {}
    for i = 1, 20 do sorted[i] = i end
    assert.same(sorted, order(base, 0.01, 20))
    assert.not_same(sorted, order(base, 0.011, 20))       -- not a common one
  end)

  it("may be told of any number of times", function()
    local base = t.base()
    for _ = 1, 1000 do base:init_common_timeout(0.25) end
    assert.equal(base, base:init_common_timeout(1 / 4))
    base:init_common_timeout(2):init_common_timeout(0.999999)
  end)

  it("fires when plain timers would, added for another time before or not",
  function()
    local base = t.base()
    base:init_common_timeout(0.01):init_common_timeout(0.02)
    local function now() return base:gettime_monotonic() end
    local begin = now()
    local counts, times, plain = {}, {}, {}
    for i, seconds in ipairs {0.0101, 0.0201} do
      local n = 0
      base:timer(function(timer)
        n = n + 1
        if n == 4 then
          timer:del()
          plain[i] = now() - begin
        end
      end, "persist"):add(seconds)
    end
    for i = 1, 100 do
      counts[i] = 0
      local timer = base:timer(function(timer)
        counts[i] = counts[i] + 1
        if counts[i] == 4 then
          timer:del()
          times[i] = now() - begin
        end
      end, "persist")
      if i % 2 == 0 then
        timer:add(0.02)                         -- common
      elseif i % 20 == 1 then
        timer:add(0.02):add(0.015):add(0.01)    -- from common to plain
      elseif i % 20 == 3 then
        timer:add(0.015):add(0.01)              -- from plain to common
      elseif i % 20 == 5 then
        timer:add(0.02):add(0.01)               -- from common to common
      elseif i % 20 == 7 then
        timer:add(0.01):add(0.0101)             -- plain in the end
      else
        timer:add(0.01)
      end
    end
    base:dispatch()
    for i = 1, 100 do
      assert.equal(4, counts[i])
      assert.near(plain[i % 2 == 0 and 2 or 1], times[i],
                  t.slow > 1 and 0.3 or 0.01)
    end
    assert.equal(0, base:num_events())
  end)

  it("is known to its own base alone", function()
    local one, other = t.base(), t.base()
    one:init_common_timeout(0.01)
    local sorted = {}
    for i = 1, 20 do sorted[i] = i end
    local before = other:gettime_monotonic()
    assert.not_same(sorted, order(other, 0.01, 20))
    assert.is_true(other:gettime_monotonic() - before < 1)
    other:init_common_timeout(0.02):init_common_timeout(0.01)
    assert.same(sorted, order(other, 0.01, 20))
    assert.same(sorted, order(one, 0.01, 20))
    assert.same(sorted, order(other, 0.02, 20))
  end)

  it("holds for an event on a descriptor, and begins anew when that fires",
  function()
    local base = t.base()
    base:init_common_timeout(0.05)
    local a, b = kinds.pair(base)
    local heard, times = {}, {}
    local event = base:event(b, "read|persist", function(event, what)
      heard[#heard + 1] = what
      times[#times + 1] = base:gettime_monotonic()
      if what == "read" then libevent.buffer():read(b) end
      if #heard == 3 then event:close() end
    end):add(0.05)
    base:timer(function() a:write "x" end):add(0.01)
    while #heard < 3 do base:loop "once" end
    assert.same({"read", "timeout", "timeout"}, heard)
    assert.is_true(times[2] - times[1] > 0.045)
    assert.is_true(times[3] - times[1] > 0.095)
    assert.truthy(tostring(event):find "closed")
  end)

  it("is forgotten with del and remove_timer, as any other", function()
    local base = t.base()
    base:init_common_timeout(0.005)
    for _, stop in ipairs {"del", "remove_timer"} do
      local a, b = kinds.pair(base)
      local event = base:event(b, "read|persist", t.never()):add(0.005)
      event[stop](event):add()
      assert.equal("read", event:pending())
      t.runfor(base, 0.01)
      event:close()
      a:close()
    end
  end)

  it("holds for a signal, which keeps it in a child", function()
    local text = t.lua [[
      local base = require "libevent".base()
      base:init_common_timeout(0.02)
      base:signal("USR1", function(_, what) print(what) end):add(0.02)
      if require "posix.unistd".fork() > 0 then
        require "posix.sys.wait".wait()
      else
        base:reinit()
      end
      base:dispatch()
      os.exit(true, true)
    ]]
    assert.equal("timeout\ntimeout\n", text)
  end)

  it("is no interval of 0", function()
    local base = t.base()
    base:init_common_timeout(0.000001)
    local n = 0
    base:timer(function(timer)
      n = n + 1
      if n == 3 then timer:close() end
    end, "persist"):add(0)
    t.run(base)
    assert.equal(3, n)
  end)

  it("holds for a bufferevent that reads", function()
    local base = t.base()
    base:init_common_timeout(0.01)
    local server, client = kinds.pair(base)
    local begin = base:gettime_monotonic()
    server:setcb(nil, nil, t.expect(function(bev, what, detail)
      assert.same({"timeout", "reading"}, {what, detail})
      assert.near(0.01, base:gettime_monotonic() - begin, 0.02 * t.slow)
      bev:close()
      client:close()
    end)):set_timeouts(0.01):enable "read"
    t.run(base)
  end)

  -- libevent copies the timeval, and so does bufferevent.c.
  it("holds for a bufferevent that writes, with and without callbacks",
  function()
    local base = t.base()
    base:init_common_timeout(0.05)
    for _, callback in ipairs {true, false} do
      local server, client = kinds.pair(base)
      local ended = t.expect(function(bev, what, detail)
        assert.same({"timeout", "writing"}, {what, detail})
        bev:close()
      end, callback and 1 or 0)
      server:setcb(nil, nil, callback and ended or nil)
      server:set_timeouts(nil, 0.05):write(("x"):rep(2^24))
      if not callback then          -- its own end: the rest is flushed
        server:enable "read"
        client:shutdown()
      end
      repeat base:loop "once" until tostring(server):find "closed"
      local begin = base:gettime_monotonic()
      t.turns(base, 2)
      while base:num_events() > 0 do base:loop "once" end
      assert.is_true(base:gettime_monotonic() - begin < 1 * t.slow)
      client:close()
    end
  end)

  it("can be taken from a bufferevent again", function()
    local base = t.base()
    base:init_common_timeout(0.005)
    local server, client = kinds.pair(base)
    server:setcb(nil, nil, t.never()):enable "read":set_timeouts(0.005)
    server:set_timeouts()
    t.runfor(base, 0.01)
    server:close()
    client:close()
  end)

  it("leaves nothing behind when its base is closed in the middle", function()
    local base = t.base()
    base:init_common_timeout(0.005):init_common_timeout(9)
    for _ = 1, 5 do base:timer(t.never()):add(9) end
    base:timer(t.expect(function()
      base:close()
      collectgarbage()
    end)):add(0.005)
    base:timer(t.never()):add(0.005)
    base:dispatch()
  end)

  it("is refused when there are 256, and nothing is printed", function()
    local text, status = t.lua [[
      local base = require "libevent".base()
      for i = 1, 256 do assert(base:init_common_timeout(i)) end
      print(base:init_common_timeout(257))
      print(base:init_common_timeout(256) == base)
      base:timer(print):add(257)
      print(base:num_events())
    ]]
    assert.equal(0, status)
    assert.equal("nil\tno room for another common timeout\t28\ntrue\n1\n",
                 text)
  end)

  it("has a length", function()
    local base = t.base()
    for _, wrong in ipairs {0, -1, 0 / 0, 2^31, "1", false, 1e-9} do
      assert.error_matches(function() base:init_common_timeout(wrong) end,
                           "seconds .* expected, got ")
    end
    assert.error_matches(function() base:init_common_timeout() end,
                         "seconds above 0 expected, got n")
  end)
end)

describe("After a fork", function()
  -- The parent must hear of its events whatever the child did.
  local function forked(child)
    return t.lua(([[
      local libevent = require "libevent"
      local fork = require "posix.unistd".fork
      local base = libevent.base()
      local server, client
      local who = "parent"
      local listener = base:listener("127.0.0.1:0", function(_, conn)
        server = conn
        conn:setcb(function(c) io.write(who, c:read()) base:loopexit() end)
        conn:enable "read"
        client:write " hears\n"
      end)
      client = base:bufferevent()
      client:setcb(nil, nil, function() end)
      client:connect(listener:sockname())
      base:loop "once"
      local signal = base:signal("USR1", print):add()
      if fork() == 0 then
        who = "child"
        local function leave()      -- what the parent is to read and accept
          for _, o in pairs {listener, client, server} do o:close() end
        end
        %s
      end
      os.execute "sleep 0.05"
      base:loopexit(3)
      base:dispatch()
    ]]):format(child))
  end

  for name, child in pairs {
    ["closes its base"] = "base:close() os.exit(true, false)",
    ["collects all"] = [[base, server, client, listener, signal = nil
                         collectgarbage() os.exit(true, false)]],
    ["exits and closes the state"] = "os.exit(true, true)",
    ["deletes one event"] = "client:close() os.exit(true, false)",
    ["hears of signals on another base"] = [[leave() signal:close()
      local other = libevent.base()
      other:signal("USR2", function() other:loopexit() end):add()
      other:timer(function()
        base:loop "nonblock"
        os.execute("kill -USR2 " .. require "posix.unistd".getpid())
      end):add(0)
      other:loopexit(2)
      other:dispatch()
      os.exit(true, true)]],
    ["runs a base made its own"] = [[base:reinit() leave()
      base:timer(function() base:loopexit() end):add(0)
      base:dispatch() os.exit(true, true)]],
  } do
    it("a child that " .. name .. " does not touch the parent's loop",
    function()
      local text, status = forked(child)
      assert.equal("parent hears\n", text)
      assert.equal(0, status)
    end)
  end
end)
