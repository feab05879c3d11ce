local socket = require "socket"
local sockets = require "spec.sockets"
local libevent = require "libevent"
local pair = require "spec.kinds".pair
local t = require "spec.helper"

local base
local function start() t.start() base = t.base() end
local function finish() base = nil t.finish() end
local function nop() end

--- The next n bytes: LuaSocket would take more, and keep them.
local function take(sock, n)
  local bytes = libevent.buffer()
  assert(bytes:read(sock, n))
  return tostring(bytes)
end

--- A computation that takes its time.
local function compute(seconds)
  local since = socket.gettime()
  repeat local now = socket.gettime() until now - since >= seconds
end

local function kill(signal)
  local file = io.open "/proc/self/stat"
  local pid = file:read "n"
  file:close()
  assert(os.execute(("kill -%s %d"):format(signal, pid)))
end

local raises = t.raises

describe("an event on a descriptor", function()
  before_each(start)
  after_each(finish)

  it("fires once it can be read, and only once", function()
    local client, server = sockets.pair()
    local event
    event = base:event(server, "read", t.expect(function(e, what)
      assert.equal(event, e)
      assert.equal("read", what)
      assert.is_nil(e:pending())
    end))
    assert.equal(event, event:add())
    t.turns(base, 2)
    assert.equal("read", event:pending())
    client:send "x"
    t.run(base)
    t.turns(base, 2)
  end)

  it("fires once it can be written", function()
    local client = sockets.pair()
    base:event(client, "write", t.expect(function(_, what)
      assert.equal("write", what)
    end)):add()
    t.run(base)
  end)

  it("tells all that it fires for", function()
    local client, server = sockets.pair()
    server:send "x"
    base:event(client, "read|write", t.expect(function(_, what)
      assert.equal("read|write", what)
    end)):add()
    t.run(base)
  end)

  it("fires again and again with persist", function()
    local client, server = sockets.pair()
    client:send "abc"
    base:event(server, "read|persist", t.expect(function(e, what)
      assert.equal("read", what)
      if take(server, 1) == "c" then e:del() end
    end, 3)):add()
    t.run(base)
  end)

  it("fires for each arrival alone with et", function()
    local client, server = sockets.pair()
    base:event(server, "read|persist|et", t.expect(nil, 2)):add()
    for _, data in ipairs {"first", "second"} do
      client:send(data)
      t.turns(base, 3)
    end
    base:close()
  end)

  it("fires with closed when the peer has ended", function()
    local client, server = sockets.pair()
    local event = base:event(server, "closed", t.expect(function(_, what)
      assert.equal("closed", what)
    end)):add()
    client:send "x"
    t.turns(base, 2)
    assert.equal("closed", event:pending())
    client:close()
    t.run(base)
  end)

  for how, finish_ in pairs {
    closed = function(client) client:close() end,
    ["shut down"] = function(client) client:shutdown "send" end,
  } do
    for words, calls in pairs {
      ["closed"] = 1, ["closed|et"] = 1, ["closed|persist|et"] = 1,
      ["closed|persist"] = 3, ["read|write|closed|persist"] = 3,
    } do
      it(("is told as '%s' that the peer has %s"):format(words, how),
      function()
        local client, server = sockets.pair()
        local closed = 0
        base:event(server, words, function(_, what)
          if what:find "closed" then closed = closed + 1 end
        end):add()
        t.turns(base, 2)
        assert.equal(0, closed)
        finish_(client)
        t.turns(base, 3)
        assert.equal(calls, closed)
      end)
    end
  end

  it("fires with closed beside a bufferevent on its descriptor", function()
    local client, server = sockets.pair()
    local got = ""
    local bev = base:bufferevent(server)
    bev:setcb(function(b) got = got .. b:read() end, nil, t.expect())
    bev:enable "read"
    local event = base:event(server, "closed", t.expect(function(_, what)
      assert.equal("closed", what)
    end)):add()
    client:send "data"
    t.runfor(base, 0.01)
    assert.equal("data", got)
    assert.equal("closed", event:pending())
    client:close()
    t.run(base)
  end)

  it("hears of a reset as of something to read, or to write", function()
    for _, word in ipairs {"read", "write"} do
      local client, server = sockets.pair()
      local event = base:event(server, word .. "|persist|et", t.expect(
        function(_, what) assert.equal(word, what) end,
        word == "write" and 2 or 1)):add()
      t.turns(base, 2)
      client:setoption("linger", {on = true, timeout = 0})
      client:close()
      t.turns(base, 3)
      event:close()
    end
  end)

  it("with et fires beside another one with et", function()
    local client, server = sockets.pair()
    local log = {}
    for i = 1, 2 do
      base:event(server, "read|persist|et", t.expect(function()
        log[#log + 1] = i
      end, 2)):add()
    end
    for _, data in ipairs {"first", "second"} do
      client:send(data)
      t.turns(base, 3)
    end
    table.sort(log)
    assert.same({1, 1, 2, 2}, log)
    base:close()
  end)

  it("fires for a timeout if nothing else comes first", function()
    local _, server = sockets.pair()
    base:event(server, "read", t.expect(function(_, what)
      assert.equal("timeout", what)
    end)):add(0.01)
    t.run(base)
  end)

  it("begins its timeout anew when it fires", function()
    local client, server = sockets.pair()
    client:send "x"
    local event = base:event(server, "read|persist", t.expect()):add(10)
    compute(0.05)
    base:loop "once"
    local what, left = event:pending()
    assert.equal("timeout|read", what)
    assert.is_true(left > 9.97)
    event:close()
  end)

  it("needs a method that knows its words", function()
    local select = t.base {method = "select"}
    for _, word in ipairs {"et", "closed"} do
      raises("method 'select' does not know '" .. word .. "'",
              select.event, select, 0, "read|" .. word, nop)
    end
  end)

  it("is not added for a regular file, of which nothing is printed",
     function()
    local output, status = t.lua [[
      local base = require "libevent".base()
      local file = io.tmpfile()
      local f = function() error "called" end
      local event = base:event(file, "read|persist", f)
      print(event:add())
      print(event:add(1))
      print(base:once(file, "write", f))
      print(base:num_events(), event:pending())
    ]]
    local line = "nil\tOperation not permitted\t1\n"
    assert.equal(line:rep(3) .. "0\tnil\n", output)
    assert.equal(0, status)
  end)

  it("is added for a regular file where the method can", function()
    local poll = t.base {method = "poll"}
    local file = io.tmpfile()
    poll:event(file, "read", t.expect(function(_, what)
      assert.equal("read", what)
    end)):add()
    t.run(poll)
    file:close()
  end)

  it("is not added when its descriptor was closed", function()
    local client = sockets.pair()
    local event = base:event(client:getfd(), "read", t.never())
    client:close()
    assert.same({nil, "Bad file descriptor", 9}, {event:add()})
    assert.is_nil(event:pending())
  end)

  it("closed before its descriptor leaves the number to the next one",
  function()
    local client, server = sockets.pair()
    local fd = server:getfd()
    base:event(server, "read|persist", t.never()):add():close()
    server:close()
    local other
    repeat
      local c, s = sockets.pair()
      other = c:getfd() == fd and {c, s} or s:getfd() == fd and {s, c}
    until other
    base:event(other[1], "read", t.expect(function(e)
      assert.equal(fd, e:fd())
    end)):add()
    other[2]:send "x"
    t.run(base)
    client:close()
  end)

  -- What poll and select say of one that is not open they cannot keep back.
  it("whose descriptor was closed behind its back holds up no others",
  function()
    local output, status = t.lua [[
      local libevent = require "libevent"
      for _, method in ipairs {"epoll", "poll", "select"} do
        local base = libevent.base {method = method}
        local a, b = libevent.socketpair()
        local c, d = libevent.socketpair()
        local n = 0
        local event = base:event(a, "read", function() n = n + 1 end):add()
        base:event(c, "read", function() base:loopexit() end):add()
        libevent.closesocket(a)
        libevent.buffer("x"):write(d)
        local stopped, _, errno = base:dispatch()
        io.stdout:write(method, " ", tostring(stopped), " ",
                        tostring(errno), " ", n, "\n")
        event:close()
        print(base:loop "nonblock")
        base:close()
        for _, fd in ipairs {b, c, d} do libevent.closesocket(fd) end
      end
    ]]
    assert.equal("epoll true nil 0\nfalse\npoll true nil 1\nfalse\n"
                 .. "select nil 9 0\ntrue\n",
                 (output:gsub("%[warn%][^\n]*\n", "")))
    assert.equal(0, status)
  end)

  it("is one of up to 65535 on a descriptor", function()
    if os.getenv "LUA_INIT" then return end     -- a collection for each of them
    local output, status = t.lua [[
      local libevent = require "libevent"
      local base = libevent.base()
      local fd = libevent.socketpair()
      local events = {}
      for i = 1, 65536 do
        events[i] = base:event(fd, "read", print)
        local added, message, errno = events[i]:add()
        if not added then print(i, message, errno, events[i]:pending()) end
      end
      events[1]:close()
      print(events[65536]:add() == events[65536])
      base:event(fd, "write", function() print "still told" end):add()
      base:loop "once"
      base:close()
    ]]
    assert.equal("65536\ttoo many events on one descriptor\t75\tnil\n"
                 .. "true\nstill told\n",
                 (output:gsub("%[warn%][^\n]*\n", "")))
    assert.equal(0, status)
  end)

  it("shares its descriptor with others", function()
    local client, server = sockets.pair()
    client:send "x"
    local calls = {}
    for _, what in ipairs {"read", "write", "read"} do
      base:event(server, what, t.expect(function(_, told)
        calls[#calls + 1] = told
      end)):add()
    end
    t.run(base)
    table.sort(calls)
    assert.same({"read", "read", "write"}, calls)
  end)

  it("is silent once deleted", function()
    local client, server = sockets.pair()
    client:send "x"
    local event = base:event(server, "read|persist", t.never()):add(0)
    assert.equal(event, event:del())
    assert.equal(event, event:del())
    t.turns(base, 2)
    assert.equal(0, base:num_events())
  end)
end)

describe("a timer", function()
  before_each(start)
  after_each(finish)

  it("fires once, not early", function()
    local since = socket.gettime()
    local timer
    timer = base:timer(t.expect(function(e, what)
      assert.equal(timer, e)
      assert.equal("timeout", what)
      assert.is_nil(e:pending())
      assert.is_true(socket.gettime() - since > 0.015)
    end))
    assert.equal(timer, timer:add(0.02))
    t.run(base)
    assert.equal(0, base:num_events())
  end)

  it("can be set again in its callback and later", function()
    local n = 0
    local timer = base:timer(t.expect(function(e)
      n = n + 1
      if n < 3 then e:add(0) end
    end, 4)):add(0)
    t.run(base)
    timer:add(0.001)
    t.run(base)
  end)

  it("set again has the new time alone", function()
    local timer = base:timer(t.never()):add(0):add(1000)
    t.turns(base, 2)
    local what, left = timer:pending()
    assert.equal("timeout", what)
    assert.is_near(1000, left, 1 * t.slow)
    timer:del()
  end)

  it("and others fire in the order of their times", function()
    local order, timers = {}, {}
    for _, ms in ipairs {45, 15, 35, 5, 25} do
      timers[ms] = base:timer(t.expect(function()
        order[#order + 1] = ms
      end))
    end
    for ms, timer in pairs(timers) do timer:add(ms / 1000) end
    t.run(base)
    assert.same({5, 15, 25, 35, 45}, order)
  end)

  it("is not late because the callback before it was slow", function()
    local since = socket.gettime()
    base:timer(t.expect(function() compute(0.04) end)):add(0)
    base:timer(t.expect(function()
      assert.is_true(socket.gettime() - since < 0.05 + 0.03 * t.slow)
    end)):add(0.05)
    base:dispatch()       -- in one loop, which reads the time once a turn
  end)

  it("set after a slow computation in a callback is not early", function()
    base:timer(t.expect(function()
      compute(0.04)
      local since = socket.gettime()
      base:timer(t.expect(function()
        assert.is_true(socket.gettime() - since > 0.015)
      end)):add(0.02)
      local _, left = base:timer(t.expect()):add(0.02):pending()
      assert.is_near(0.02, left, 0.005 * t.slow)
    end)):add(0)
    base:dispatch()
  end)

  it("can be deleted", function()
    local timer = base:timer(t.never()):add(0)
    assert.equal(timer, timer:del())
    t.turns(base, 2)
    assert.equal(timer, timer:add(0):remove_timer())
    assert.is_nil(timer:pending())
    t.turns(base, 2)
  end)

  it("is exact with precise_timer", function()
    local precise = t.base {flags = "precise_timer"}
    local least = math.huge
    for i = 1, 10 do
      local due = 0.003 * i
      local since = socket.gettime()
      precise:timer(t.expect(function()
        local late = socket.gettime() - since - due
        assert.is_true(late > -0.0005, late)
        least = math.min(least, late)
      end)):add(due)
    end
    precise:dispatch()
    assert.is_true(least < 0.001 * t.slow, least)
  end)

  it("can be deleted by the one that fires before it", function()
    local second = base:timer(t.never())
    base:timer(t.expect(function() second:del() end)):add(0)
    second:add(0)
    t.run(base)
  end)
end)

describe("a persistent timer", function()
  before_each(start)
  after_each(finish)

  it("fires again and again, until it is deleted", function()
    local n = 0
    base:timer(t.expect(function(e, what)
      assert.equal("timeout", what)
      assert.equal("timeout", (e:pending()))
      n = n + 1
      if n == 5 then e:del() end
    end, 5), "persist"):add(0.002)
    t.run(base)
  end)

  it("counts from when it was due, not from when its callback ended",
     function()
    local n = 0
    base:timer(t.expect(function(e)
      compute(0.01)
      local _, left = e:pending()
      assert.is_true(left <= 0.015, left)
      n = n + 1
      if n == 3 then e:close() end
    end, 3), "persist"):add(0.02)
    t.run(base)
  end)

  it("leaves out the times that it missed", function()
    local n = 0
    base:timer(t.expect(function(e)
      n = n + 1
      if n == 1 then compute(0.055) end
      local _, left = e:pending()
      assert.is_true(left <= 0.02)
      if n == 3 then e:close() end
    end, 3), "persist"):add(0.02)
    local since = socket.gettime()
    base:dispatch()
    assert.is_true(socket.gettime() - since > 0.075)
  end)

  it("goes on with its times when it is made active in between", function()
    local whats = {}
    local since = socket.gettime()
    base:timer(function(e, what)
      whats[#whats + 1] = what
      if #whats == 3 then e:close() end
    end, "persist"):add(0.04):active "read"
    base:dispatch()
    assert.same({"read", "timeout", "timeout"}, whats)
    assert.is_true(socket.gettime() - since > 0.07)
  end)

  it("fires each turn with an interval of 0", function()
    local n = 0
    local timer = base:timer(function() n = n + 1 end, "persist"):add(0)
    for _ = 1, 5 do base:loop "once" end
    assert.equal(5, n)
    timer:del()
  end)

  it("can get another interval in its callback", function()
    local timer = base:timer(t.expect(function(e) e:add(1000) end), "persist")
    timer:add(0)
    base:loop "once"
    assert.is_near(1000, select(2, timer:pending()), 10)
    timer:close()
  end)
end)

describe("the timeout of an event", function()
  before_each(start)
  after_each(finish)

  it("stays when it is added again without one", function()
    local _, server = sockets.pair()
    local event = base:event(server, "read", t.expect(function(_, what)
      assert.equal("timeout", what)
    end))
    event:add(0.01)
    assert.equal("timeout|read", (event:add():pending()))
    t.run(base)
  end)

  it("ends with remove_timer, and the event stays", function()
    local client, server = sockets.pair()
    local event = base:event(server, "read|persist",
                             t.expect(function(e, what)
      assert.equal("read", what)
      assert.same({n = 1, "read"}, table.pack(e:pending()))
      e:del()
    end)):add(0)
    assert.equal(event, event:remove_timer())
    assert.equal(event, event:remove_timer())
    assert.same({n = 1, "read"}, table.pack(event:pending()))
    t.turns(base, 2)
    client:send "x"
    t.run(base)
  end)

  it("is forgotten with del, also when it was an interval", function()
    local client, server = sockets.pair()
    local event = base:event(server, "read|persist",
                             t.expect(function(e, what)
      assert.equal("read", what)
      assert.same({n = 1, "read"}, table.pack(e:pending()))
    end)):add(0.001)
    event:del()
    event:add()
    client:send "x"
    base:loop "once"
    take(server, 1)
    compute(0.005)
    t.turns(base, 2)
    event:close()
  end)

  it("is forgotten without the event's priority", function()
    local three = t.base {priorities = 3}
    local timer = three:timer(nop, "persist"):priority_set(2):add(1):del()
    assert.equal(2, timer:priority())
    assert.equal("timeout|persist", timer:events())
    assert.equal(nop, timer:callback())
  end)
end)

describe("a signal", function()
  before_each(start)
  after_each(finish)

  for _, signal in ipairs {"USR1", "SIGUSR1", 10} do
    it("is heard as " .. signal, function()
      base:signal(signal, t.expect(function(e, what)
        assert.equal("signal", what)
        assert.equal(10, e:signal())
        e:close()
      end)):add()
      kill "USR1"
      t.run(base)
    end)
  end

  it("that came N times before the loop is N callbacks", function()
    local event = base:signal("USR1", t.expect(nil, 3)):add()
    for _ = 1, 3 do kill "USR1" end
    t.turns(base, 3)
    assert.equal("signal", event:pending())
    event:del()
    assert.is_nil(event:pending())
  end)

  it("can be closed in the first of these callbacks", function()
    base:signal("USR1", t.expect(function(e) e:close() end)):add()
    for _ = 1, 3 do kill "USR1" end
    t.run(base)
  end)

  it("that comes during its own callback is heard after it", function()
    local n, running = 0, false
    base:signal("USR1", t.expect(function(e)
      assert.is_false(running)
      running = true
      n = n + 1
      if n < 3 then kill "USR1" else e:close() end
      running = false
    end, 3)):add()
    kill "USR1"
    t.run(base)
  end)

  it("is not lost among many others", function()
    local heard = {USR1 = 0, USR2 = 0}
    local events = {}
    for name in pairs(heard) do
      events[name] = base:signal(name, function()
        heard[name] = heard[name] + 1
      end):add()
    end
    local pid = io.open "/proc/self/stat":read "n"
    os.execute(("for i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3 4 5 6 7 8 9; "
      .. "do kill -USR1 %d; done; done; kill -USR2 %d"):format(pid, pid))
    t.turns(base, 3)
    assert.equal(1, heard.USR2)
    assert.is_true(heard.USR1 > 0 and heard.USR1 <= 81)
    for _, event in pairs(events) do event:close() end
  end)

  it("is heard by all that listen to it, and by them alone", function()
    local events = {
      base:signal("USR1", t.expect()):add(),
      base:signal("USR1", t.expect()):add(),
      base:signal("USR2", t.never()):add(),
      base:signal("USR1", t.never()),
    }
    kill "USR1"
    t.turns(base, 3)
    for _, event in ipairs(events) do event:close() end
  end)

  it("can have a timeout", function()
    base:signal("USR1", t.expect(function(e, what)
      assert.equal("timeout", what)
      e:close()
    end)):add(0.01)
    t.run(base)
  end)

  for name, stop in pairs {
    ["its event is deleted"] = "event:del()",
    ["its event is closed"] = "event:close()",
    ["its base is closed"] = "base:close()",
    ["all is collected"] = "base, event = nil collectgarbage()",
  } do
    it("does to the process what it did before when " .. name, function()
      local output, status = t.lua([[
        local base = require "libevent".base()
        local file = io.open "/proc/self/stat"
        local kill = "kill -USR1 " .. file:read "n"
        local event = base:signal("USR1", print):add()
        os.execute(kill)
        base:loop "once"
        io.stdout:flush()
      ]] .. stop .. [[ collectgarbage()
        os.execute(kill)
        print "alive"
      ]])
      assert.matches("^libevent%.Event %(0x%x+%)\tsignal\n", output)
      assert.not_matches("alive", output, 1, true)
      assert.equal(128 + 10, status)
    end)
  end

  it("belongs to one base of the process, and a second is told so", function()
    local other = t.base()
    local mine = base:signal("USR1", t.expect()):add()
    local theirs = other:signal("USR2", t.expect())
    local refusal = {nil, "another base has the process's signals", 16}
    assert.same(refusal, {theirs:add()})
    assert.same(refusal, {theirs:add(0)})
    assert.is_nil(theirs:pending())
    assert.equal(0, other:num_events())
    assert.equal(mine, mine:add())
    kill "USR1"
    t.turns(base, 2)
    mine:del()
    assert.equal(theirs, theirs:add())
    assert.same(refusal, {mine:add()})
    kill "USR2"
    t.turns(other, 2)
    other:close()
    assert.equal(mine, mine:add())
    mine:del()
  end)
end)

describe("an event of the script", function()
  before_each(start)
  after_each(finish)

  it("fires when it is made active", function()
    local user
    user = base:user(t.expect(function(e, what)
      assert.equal(user, e)
      assert.equal("", what)
    end))
    assert.equal(user, user:active())
    base:loop "nonblock"
    t.turns(base, 2)
  end)

  it("is told the words that it was made active with", function()
    for _, word in ipairs {"read", "write", "timeout", "signal", "closed",
                           "read|write"} do
      local user = base:user(t.expect(function(_, what)
        assert.equal(word, what)
      end)):active(word)
      assert.equal(word, user:pending())
      base:loop "nonblock"
      assert.is_nil(user:pending())
    end
  end)

  it("made active twice fires once, for both", function()
    base:user(t.expect(function(_, what)
      assert.equal("read|write", what)
    end)):active("read"):active "write"
    t.turns(base, 2)
  end)

  it("fires after a time too", function()
    base:user(t.expect(function(_, what)
      assert.equal("timeout", what)
    end)):add(0.001)
    t.run(base)
    raises("seconds expected", function() base:user(nop):add() end)
  end)

  it("fires in the order in which it and others were made active", function()
    local order = {}
    local users = {}
    for i = 1, 5 do
      users[i] = base:user(t.expect(function() order[#order + 1] = i end))
    end
    for _, i in ipairs {3, 1, 5, 2, 4, 1} do users[i]:active() end
    t.run(base)
    assert.same({3, 1, 5, 2, 4}, order)
  end)

  it("may change in its callback what else is due", function()
    local due = {}
    base:user(t.expect(function()
      due.deleted:del()
      due.closed:close()
      due.changed:set_callback(t.expect())
      due.again:active "read"
      assert.same({nil, "the event is active", 16},
                  {due.kept:priority_set(0)})
      due.dropped = nil
      collectgarbage() collectgarbage()
    end)):active()
    for name, f in pairs {
      deleted = t.never(), closed = t.never(), changed = t.never(),
      kept = t.expect(), dropped = t.expect(),
      again = t.expect(function(_, what) assert.equal("read", what) end),
    } do
      due[name] = base:user(f):active()
    end
    t.run(base)
    raises("unknown word 'persist'", due.kept.active, due.kept, "persist")
  end)

  it("can be made active from another callback, and from its own", function()
    local n = 0
    local user = base:user(t.expect(function(e)
      n = n + 1
      if n < 3 then e:active() end
    end, 3))
    base:timer(t.expect(function() user:active() end)):add(0)
    base:loop "once"
    t.turns(base, 3)
  end)

  it("is silent when it is deleted or closed in time", function()
    base:user(t.never()):active():del()
    base:user(t.never()):active():close()
    t.turns(base, 2)
  end)

  it("can be any event, added or not", function()
    local _, server = sockets.pair()
    local event = base:event(server, "read|persist", t.expect(nil, 2))
    event:active "read"
    t.turns(base, 2)
    event:add():active "read"
    t.turns(base, 2)
    assert.equal("read", event:pending())
    event:del()
    base:signal("USR1", t.expect(function(_, what)
      assert.equal("signal", what)
    end)):active "signal"
    t.turns(base, 2)
  end)
end)

describe("pending", function()
  before_each(start)
  after_each(finish)

  it("tells what an event waits for, and the seconds left", function()
    local _, server = sockets.pair()
    local event = base:event(server, "read|write|persist", nop)
    assert.same({n = 1}, table.pack(event:pending()))
    event:add()
    assert.same({n = 1, "read|write"}, table.pack(event:pending()))
    local what, left = event:add(2.5):pending()
    assert.equal("timeout|read|write", what)
    assert.is_near(2.5, left, 0.1 * t.slow)
    event:close()
  end)

  it("tells of the words that are asked for alone", function()
    local _, server = sockets.pair()
    local event = base:event(server, "read", nop):add(1000)
    assert.same({n = 1, "read"}, table.pack(event:pending "read"))
    assert.same({n = 1, "read"}, table.pack(event:pending "read|write"))
    assert.same({n = 1}, table.pack(event:pending "write"))
    local what, left = event:pending "timeout"
    assert.equal("timeout", what)
    assert.is_near(1000, left, 1 * t.slow)
    raises("unknown word 'persist'", event.pending, event, "persist")
    event:close()
  end)

  it("tells of 0 seconds when the time is over", function()
    local timer = base:timer(nop):add(0)
    compute(0.01)
    assert.same({"timeout", 0}, {timer:pending()})
    timer:close()
  end)
end)

describe("priorities", function()
  before_each(start)
  after_each(finish)

  it("are in the middle unless set, and from 0 to one less than there are",
     function()
    for n, middle in pairs {[1] = 0, [2] = 1, [3] = 1, [255] = 127} do
      local timer = t.base({priorities = n}):timer(nop)
      assert.equal(middle, timer:priority())
      assert.equal(timer, timer:priority_set(0))
      assert.equal(0, timer:priority())
      assert.equal(n - 1, timer:priority_set(n - 1):priority())
      for _, wrong in ipairs {-1, n, 0.5, "0", 2^31, 2^32} do
        raises("integer from 0 to " .. n - 1, timer.priority_set, timer,
                wrong)
      end
      assert.equal(n - 1, timer:priority())
    end
  end)

  it("say which of the active events comes first", function()
    local three = t.base {priorities = 3}
    local order = {}
    for _, priority in ipairs {2, 0, 1, 2, 0} do
      three:user(t.expect(function(e)
        order[#order + 1] = e:priority()
      end)):priority_set(priority):active()
    end
    t.turns(three, 3)
    assert.same({0, 0, 1, 2, 2}, order)
  end)

  it("put one that becomes active before others that are", function()
    local two = t.base {priorities = 2}
    local order = {}
    local function log(name, f)
      return t.expect(function()
        order[#order + 1] = name
        if f then f() end
      end)
    end
    local urgent = two:user(log "urgent"):priority_set(0)
    two:user(log("first", function() urgent:active() end)):active()
    two:user(log "second"):active()
    t.turns(two, 3)
    assert.same({"first", "urgent", "second"}, order)
  end)

  it("stay while an event is active", function()
    local two = t.base {priorities = 2}
    local user = two:user(t.expect(function(e)
      assert.equal(e, e:priority_set(0))
    end)):active()
    assert.same({nil, "the event is active", 16}, {user:priority_set(0)})
    assert.equal(1, user:priority())
    t.turns(two, 2)
    assert.equal(0, user:priority())
  end)
end)

describe("an event", function()
  before_each(start)
  after_each(finish)

  it("tells what it was made of", function()
    local client = sockets.pair()
    local fd = client:getfd()
    for _, case in ipairs {
      {base:event(client, "read", nop), fd, nil, "read"},
      {base:event(fd, "write|persist|et", nop), fd, nil, "write|persist|et"},
      {base:event(client, "closed|timeout", nop), fd, nil, "timeout|closed"},
      {base:timer(nop), nil, nil, "timeout"},
      {base:timer(nop, "persist"), nil, nil, "timeout|persist"},
      {base:signal("INT", nop), nil, 2, "signal|persist"},
      {base:user(nop), nil, nil, ""},
    } do
      local event, descriptor, signal, words = table.unpack(case, 1, 4)
      assert.equal(descriptor, event:fd())
      assert.equal(signal, event:signal())
      assert.equal(words, event:events())
      assert.equal(nop, event:callback())
      assert.is_true(rawequal(base, event:base()))
      assert.matches("^libevent%.Event %(0x%x+%)$", tostring(event))
    end
  end)

  it("can get another callback, pending or not", function()
    local timer = base:timer(t.never()):add(0)
    local function second() return 2 end
    assert.equal(timer, timer:set_callback(second))
    assert.equal(second, timer:callback())
    timer:set_callback(t.expect(function(e)
      e:set_callback(t.expect()):add(0)
    end))
    t.run(base)
    raises("function expected, got nil", timer.set_callback, timer, nil)
  end)

  it("needs no variable while it is pending", function()
    base:timer(t.expect()):add(0.005)
    base:user(t.expect()):active()
    collectgarbage() collectgarbage()
    t.run(base)
  end)

  it("counts as one of its base's events while it is pending", function()
    local timer = base:timer(nop)
    assert.equal(0, base:num_events())
    timer:add(1000)
    assert.equal(1, base:num_events())
    timer:del()
    assert.equal(0, base:num_events())
  end)

  for name, make in pairs {
    descriptor = function() return base:event(0, "read|persist", nop) end,
    timer = function() return base:timer(nop):add(0) end,
    signal = function() return base:signal("USR1", nop):add() end,
    script = function() return base:user(nop):active() end,
  } do
    it("is closed once and for all: " .. name, function()
      local event = make()
      assert.equal(event, event:close())
      assert.equal(event, event:close())
      assert.equal("libevent.Event (closed)", tostring(event))
      assert.equal(0, base:num_events())
      for method, f in pairs(debug.getmetatable(event).__index) do
        if method ~= "close" then raises("Event is closed", f, event) end
      end
    end)
  end

  it("is closed with its base, and at the end of its block", function()
    local kept
    do
      local event <close> = base:timer(t.never()):add(0)
      kept = event
    end
    t.turns(base, 2)
    local other = base:timer(t.never()):add(0)
    base:close()
    raises("Event is closed", kept.add, kept, 0)
    raises("Event is closed", other.add, other, 0)
    raises("Base is closed", function() base:timer(nop) end)
  end)

  it("can be closed in its own callback", function()
    local _, server = sockets.pair()
    for _, make in ipairs {
      function(f) return base:event(server, "write|persist", f):add(1) end,
      function(f) return base:timer(f, "persist"):add(0) end,
      function(f) return base:timer(f):add(0) end,
      function(f) return base:user(f):active() end,
    } do
      make(t.expect(function(e)
        e:close()
        collectgarbage()
        raises("Event is closed", e.del, e)
      end))
    end
    t.run(base)
  end)
end)

describe("once", function()
  before_each(start)
  after_each(finish)

  it("waits for a descriptor and gives the event", function()
    local client, server = sockets.pair()
    local event
    event = base:once(server, "read", t.expect(function(e, what)
      assert.equal(event, e)
      assert.equal("read", what)
    end))
    assert.equal("read", event:pending())
    client:send "x"
    t.run(base)
    t.turns(base, 2)
  end)

  it("waits for a descriptor no longer than told", function()
    local _, server = sockets.pair()
    base:once(server, "read", t.expect(function(_, what)
      assert.equal("timeout", what)
    end), 0.005)
    t.run(base)
  end)

  it("waits for a time", function()
    local event = base:once(nil, "timeout", t.expect(function(e, what)
      assert.equal("timeout", what)
      assert.is_nil(e:pending())
    end), 0.005)
    assert.equal("timeout", (event:pending()))
    collectgarbage()
    t.run(base)
  end)

  it("can be given up", function()
    base:once(nil, "timeout", t.never(), 0):close()
    base:once(nil, "timeout", t.never(), 0):del()
    t.turns(base, 2)
  end)

  it("is not persist, and not without a time or a descriptor", function()
    raises("'persist' is not once", base.once, base, 0, "read|persist", nop)
    raises("unknown word 'persist'", base.once, base, nil, "persist", nop, 1)
    raises("unknown word 'read'", base.once, base, nil, "read", nop, 1)
    raises("seconds expected", base.once, base, nil, "timeout", nop)
    raises("one of read, write, closed", base.once, base, 0, "timeout", nop,
            1)
    raises("function expected", base.once, base, nil, "timeout", nil, 1)
    assert.equal(0, base:num_events())
  end)
end)

describe("a signal that came twice before the loop", function()
  before_each(start)
  after_each(finish)

  local function twice(f)
    local event = base:signal("USR1", f):add()
    local pid = io.open "/proc/self/stat":read "n"
    for _ = 1, 2 do os.execute("kill -USR1 " .. pid) end
    t.runfor(base, 0.02)
    event:close()
  end

  for _, stop in ipairs {"close", "del"} do
    it("calls once if its event ends in between: " .. stop, function()
      twice(t.expect(function(event) event[stop](event) end))
    end)
  end

  it("calls once if its timeout was removed before its event ends", function()
    local event = base:signal("USR1", t.expect(function(event)
      event:remove_timer():del():add()
    end)):add(600)
    for _ = 1, 2 do kill "USR1" end
    t.turns(base, 2)
    event:close()
  end)

  it("calls no closed event, although it was made active first", function()
    twice(t.expect(function(event)
      event:active "signal"
      event:close()
    end))
  end)

  it("calls once more for an event that is made active", function()
    local n = 0
    twice(function(event)
      n = n + 1
      if n == 1 then event:active "signal" end
    end)
    assert.equal(3, n)
  end)
end)

describe("active_by_fd", function()
  before_each(start)
  after_each(finish)

  it("calls all who wait for that on the descriptor, and nobody else",
  function()
    local a, b = sockets.pair()
    local heard = {}
    local function hear(name)
      return t.expect(function(_, what) heard[name] = what end)
    end
    base:event(a, "read", t.never("reads a")):add(600)
    base:event(a, "write", hear "writes a"):add()
    base:event(b, "read", hear "reads b"):add()
    base:event(b, "read", hear "reads b, in time"):add(600)
    base:event(b, "write", t.never("not added"))
    base:init_common_timeout(500)
    base:event(b, "read", hear "reads b, in common time"):add(500)
    assert.equal(base, base:active_by_fd(a, "write"))
    base:active_by_fd(b:getfd(), "read|timeout")
    t.turns(base, 2)
    assert.same({
      ["writes a"] = "write", ["reads b"] = "read",
      ["reads b, in time"] = "timeout|read",
      ["reads b, in common time"] = "timeout|read",
    }, heard)
  end)

  it("needs nobody who holds them, or waits at all", function()
    local a, b = sockets.pair()
    base:active_by_fd(a, "read|write|closed|timeout")
    base:event(a, "read", t.expect()):add()
    base:active_by_fd(a, "read"):active_by_fd(b, "read")
    collectgarbage() collectgarbage()
    t.turns(base, 2)
    base:active_by_fd(a, "read|write|closed|timeout")
    assert.equal(0, base:num_events())
  end)

  it("is nothing new to a listener and to bufferevents", function()
    local listener = base:listener("127.0.0.1:0", t.never())
    base:active_by_fd(listener:fd(), "read")
    t.turns(base, 2)
    listener:close()
    local server, client = pair(base)
    local heard = {}
    server:setcb(function(c) heard[#heard + 1] = c:read() end, t.never(),
                 t.never()):enable "read":write(("x"):rep(2^24))
    t.turns(base, 2)
    base:active_by_fd(server, "read|write|closed")
    t.turns(base, 2)
    client:write "data"
    repeat base:loop "once" until #heard > 0
    assert.same({"data"}, heard)
    server:close()
    client:close()
  end)

  it("ends the timeouts of a bufferevent", function()
    local server, client = pair(base)
    server:setcb(nil, nil, t.expect(function(_, what, detail)
      assert.same({"timeout", "reading"}, {what, detail})
    end)):set_timeouts(600, 600):enable "read"
    base:active_by_fd(server, "timeout")
    t.turns(base, 2)
    server:close()
    client:close()
  end)

  it("does not take a signal's number for a descriptor", function()
    local a, b = sockets.pair()
    local fd = a:getfd() == 9 and b:getfd() or a:getfd()  -- 9 is KILL
    local signal = base:signal(fd, t.never()):add(600)
    base:event(fd, "read", t.expect()):add(600)
    base:active_by_fd(fd, "timeout")
    t.turns(base, 2)
    assert.equal(fd, signal:signal())
    assert.equal("timeout|signal", signal:pending())
    signal:close()
  end)

  it("can be taken back by the first who is called", function()
    local a = sockets.pair()
    local events = {}
    local function f(event)
      for _, other in pairs(events) do
        if other ~= event then other:del() end
      end
    end
    local called = t.expect(f)
    for i = 1, 3 do events[i] = base:event(a, "read", called):add() end
    base:active_by_fd(a, "read")
    t.turns(base, 2)
  end)

  it("takes an open descriptor and words for it", function()
    local a = sockets.pair()
    raises("descriptor 1000 is not open", base.active_by_fd, base, 1000,
            "read")
    raises("descriptor -1 is not open", base.active_by_fd, base, -1, "read")
    raises("descriptor, file or", base.active_by_fd, base, nil, "read")
    raises("unknown word 'signal' (known: read, write, closed, timeout)",
            base.active_by_fd, base, a, "signal")
    raises("one of read, write, closed, timeout", base.active_by_fd, base, a,
            "")
    raises("words of", base.active_by_fd, base, a)
    local closer = {getfd = function() base:close() return a:getfd() end}
    raises("Base is closed", base.active_by_fd, base, closer, "read")
  end)
end)

describe("active_by_signal", function()
  before_each(start)
  after_each(finish)

  it("calls all who listen to the signal, and nobody else", function()
    local hears = t.expect(function(_, what) assert.equal("signal", what) end,
                           2)
    local events = {
      base:signal("USR1", hears):add(), base:signal("USR1", hears):add(600),
      base:signal("USR1", t.never("not added")),
      base:signal("USR2", t.never("another signal")):add(),
    }
    assert.equal(base, base:active_by_signal "USR1")
    base:active_by_signal "USR1"                    -- due already
    t.turns(base, 2)
    assert.equal("signal", events[1]:pending())
    for _, event in ipairs(events) do event:close() end
  end)

  it("is nothing to a process where nobody listens", function()
    base:active_by_signal "TERM":active_by_signal(64)
    local event = base:signal("USR1", t.never()):add()
    base:active_by_signal "TERM":active_by_signal(64)
    t.base():active_by_signal "USR1"
    t.turns(base, 2)
    event:close()
    base:active_by_signal "USR1"
    t.turns(base, 2)
  end)

  -- libevent would forget it: three calls, not four
  it("is one call more between two calls for one signal", function()
    local event
    event = base:signal("USR1", t.expect(function()
      if event then base:active_by_signal "USR1" end
      event = nil
    end, 4)):add()
    local kept = event
    for _ = 1, 3 do kill "USR1" end
    t.turns(base, 3)
    kept:close()
  end)

  -- libevent would go on: three calls, not one
  for _, stop in ipairs {"del", "close"} do
    it("does not keep these calls from ending with " .. stop, function()
      local n = 0
      base:signal("USR1", t.expect(function(event)
        n = n + 1
        base:active_by_signal "USR1"
        event[stop](event)
        if stop == "del" and n == 1 then event:add() end
      end)):add()
      for _ = 1, 3 do kill "USR1" end
      t.turns(base, 3)
      collectgarbage()
      base:close()
    end)
  end

  it("takes the signals that can be caught", function()
    raises("unknown signal 'KILL'", base.active_by_signal, base, "KILL")
    raises("cannot be caught", base.active_by_signal, base, 9)
    raises("integer from 1 to", base.active_by_signal, base, 0)
    raises("integer from 1 to", base.active_by_signal, base)
  end)
end)
