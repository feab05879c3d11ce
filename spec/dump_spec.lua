local pair = require "spec.kinds".pair
local t = require "spec.helper"

local base
local function start() t.start() base = t.base {priorities = 3} end
local function finish() base = nil t.finish() end
local function nop() end

--- All that foreach_event tells.
local function infos()
  local list = {}
  assert.is_nil(base:foreach_event(function(info) list[#list + 1] = info end))
  return list
end

--- The one event that there is.
local function only()
  local list = infos()
  assert.equal(1, #list)
  return list[1]
end

--- dump_events without what differs from run to run.
local function dump()
  return (base:dump_events():gsub("0x%x+", "0x"):gsub("fd %d+", "fd")
                            :gsub("spec/dump_spec.lua:%d+", "here"))
end

describe("foreach_event", function()
  before_each(start)
  after_each(finish)

  it("has nothing to tell of a new base, or of what is not pending", function()
    base:timer(nop)
    base:event(0, "read", nop)
    local bev, listener = base:bufferevent(),
                          base:listener("127.0.0.1:0", nop):disable()
    assert.same({}, infos())
    bev:close()
    listener:close()
    assert.same({}, infos())
  end)

  it("tells of a timer", function()
    local timer = base:timer(nop):priority_set(2):add(60)
    local info = only()
    assert.near(60, info.timeout, 1 * t.slow)
    info.timeout = nil
    assert.same({object = timer, events = "timeout", pending = "timeout",
                 priority = 2}, info)
    timer:close()
  end)

  it("tells of a timer with a common timeout", function()
    local timer = base:init_common_timeout(60):timer(nop, "persist"):add(60)
    local info = only()
    assert.near(60, info.timeout, 1 * t.slow)
    assert.equal(timer, info.object)
    assert.equal("timeout|persist", info.events)
    timer:close()
  end)

  it("tells of 0 seconds when the time is over", function()
    local timer = base:timer(nop):add(0)
    local late = os.clock() + 0.01
    while os.clock() < late do end
    assert.equal(0, only().timeout)
    timer:close()
  end)

  it("tells of a descriptor, waited for and active", function()
    local pipe = io.popen ":"
    local event = base:event(pipe, "read|persist", nop):add():active "write"
    assert.same({object = event, fd = event:fd(), events = "read|persist",
                 pending = "read", active = "write", priority = 1}, only())
    event:close()
    pipe:close()
  end)

  it("tells of a signal", function()
    local event = base:signal("USR1", nop):add()
    assert.same({object = event, signal = 10, events = "signal|persist",
                 pending = "signal", priority = 1}, only())
    event:close()
  end)

  it("tells of an event of the script's own", function()
    local event = base:user(nop):active()
    assert.same({object = event, events = "", pending = "", active = "",
                 priority = 1}, only())
    event:close()
  end)

  it("tells of a bufferevent, each direction on its own", function()
    local server, client = pair(base)
    server:enable "read":set_timeouts(60)
    server:write(("x"):rep(2^24))
    local list = infos()
    assert.equal(2, #list)
    local words = {}
    for _, info in ipairs(list) do
      assert.equal(server, info.object)
      assert.equal(server:getfd(), info.fd)
      words[info.events] = info.pending
    end
    assert.same({["read|persist"] = "timeout|read",
                 ["write|persist"] = "write"}, words)
    server:close_after_flush()
    assert.equal(server, only().object)             -- it still sends
    client:close()
    base:close()
  end)

  it("tells of a listener, pausing too", function()
    local listener
    listener = base:listener("127.0.0.1:0", t.expect(function()
      base:loopbreak()                              -- which it waits for
    end))
    local info = only()
    assert.equal(listener, info.object)
    assert.equal(listener:fd(), info.fd)
    assert.equal("read|persist", info.events)
    local bev = base:bufferevent():setcb(nil, nil, nop)
    bev:connect(listener:sockname())
    base:dispatch()
    bev:close()
    info = only()
    assert.equal(listener, info.object)
    assert.equal("timeout", info.pending)
    listener:close()
  end)

  it("tells of a DNS server, a look-up and a connecting by name", function()
    local server = assert(base:dns_server("127.0.0.1:0", nop))
    local dns = assert(base:dns {nameservers = {server:sockname()}})
    assert.equal(server, only().object)             -- a Dns waits for nothing
    local request = dns:resolve("one.example", nop)
    local bev = base:bufferevent():setcb(nil, nil, nop)
    bev:connect_hostname("two.example", 80, {dns = dns})
    local waits = {}
    for _, info in ipairs(infos()) do
      if info.object then waits[info.object] = info.pending end
    end
    assert.same({[server] = "read", [request] = "timeout", [bev] = "timeout"},
                waits)
    assert.matches(tostring(request) .. ": timer, 30 s left, callback at ",
                   base:dump_events(), 1, true)
    base:close()
  end)

  it("tells of the timer of loopexit as the base's", function()
    base:loopexit(60)
    assert.equal(base, only().object)
    base:loopexit(0)
    base:dispatch()
    assert.same({}, infos())
  end)

  it("tells of the event whose callback runs only if it is still pending",
  function()
    base:timer(t.expect(function() assert.same({}, infos()) end)):add(0)
    base:dispatch()
    base:timer(t.expect(function(timer)
      assert.equal(timer, only().object)
      timer:close()
    end), "persist"):add(0.001)
    base:dispatch()
  end)

  it("tells of many", function()
    local wanted, got = {}, {}
    for i = 1, 2000 do
      wanted[i % 3 == 0 and base:user(nop):active()
             or base:timer(nop):add(60)] = true
    end
    for _, info in ipairs(infos()) do
      assert.is_nil(got[info.object])
      got[info.object] = true
    end
    assert.same(wanted, got)
    base:close()
  end)

  it("stops when it is told something, and hands that on", function()
    for _ = 1, 3 do base:timer(nop):add(60) end
    local n = 0
    for _, value in ipairs {true, 0, "found", base} do
      assert.equal(value, base:foreach_event(function()
        n = n + 1
        return value, "more"
      end))
    end
    assert.equal(4, n)
    assert.is_nil(base:foreach_event(function() n = n + 1 return false end))
    assert.equal(7, n)
    base:close()
  end)

  it("tells of the moment of the call, whatever its function does", function()
    for _ = 1, 3 do base:timer(nop):add(60) end
    local n = 0
    base:foreach_event(function(info)
      n = n + 1
      info.object:close()
      base:timer(nop):add(60)
      collectgarbage() collectgarbage()
    end)
    assert.equal(3, n)
    base:foreach_event(function(info)
      n = n + 1
      if n == 4 then base:close() end
      assert.equal("libevent.Event (closed)", tostring(info.object))
      assert.equal("timeout", info.pending)
    end)
    assert.equal(6, n)
  end)

  it("lets errors through, and can be called in itself and in a callback",
  function()
    base:timer(function()
      assert.same({"inner", 2}, base:foreach_event(function()
        return {"inner", #infos()}
      end))
      local oops = {}
      local function fail() error(oops) end
      local ok, err = pcall(base.foreach_event, base, fail)
      assert.is_false(ok)
      assert.equal(oops, err)
      base:close()
    end):add(0)
    for _ = 1, 2 do base:timer(nop):add(60) end
    base:dispatch()
  end)

  it("keeps no object alive", function()
    local weak = setmetatable({}, {__mode = "k"})
    do
      local timer = base:timer(nop):add(60)
      weak[timer] = true
      assert.equal(timer, only().object)
      timer:del()
    end
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
  end)

  -- Small states collect often: in the middle of the call, too.
  it("copes with finalizers that change the events meanwhile", function()
    local text, status = t.lua [[
      collectgarbage("incremental", 100, 1000)
      local base = require "libevent".base()
      local function nop() end
      local function finalizer()
        for _ = 1, 3 do base:timer(nop):add(60) end
        base:bufferevent():close()
      end
      local n = 0
      local function check(info) n = n + (info.object and 0 or 1) end
      for _ = 1, 50 do
        setmetatable({}, {__gc = finalizer})
        for _ = 1, 3 do base:foreach_event(check) end
      end
      base:loop "nonblock"
      print(base:num_events(), n)
    ]]
    assert.equal("150\t0\n", text)
    assert.equal(0, status)
  end)

  it("raises when a finalizer has closed the base", function()
    local text, status = t.lua [[
      collectgarbage("incremental", 100, 1000)
      local base = require "libevent".base()
      local function nop() end
      for _ = 1, 10 do base:timer(nop):add(60) end
      setmetatable({}, {__gc = function() base:close() end})
      repeat
        local ok, message = pcall(base.foreach_event, base, nop)
      until not ok and print(message) == nil
    ]]
    assert.matches("Base is closed", text)
    assert.equal(0, status)
  end)

  it("takes a function", function()
    for _, wrong in ipairs {1, "f", {}} do
      assert.error_matches(function() base:foreach_event(wrong) end,
                           "function expected, got")
    end
    assert.error_matches(function() base:foreach_event() end,
                         "function expected, got n")
    local called = 0
    base:timer(nop):add(60)
    base:foreach_event(setmetatable({}, {__call = function(_, info)
      called = called + (info.timeout and 1 or 0)
    end}))
    assert.equal(1, called)
    base:close()
  end)
end)

describe("dump_events", function()
  before_each(start)
  after_each(finish)

  it("counts", function()
    assert.equal("0 events", base:dump_events())
    base:user(nop):active()
    assert.matches("^1 event\n", base:dump_events())
    base:user(nop):active()
    assert.matches("^2 events\n", base:dump_events())
    base:close()
  end)

  it("has a line for each event", function()
    local server, client = pair(base)
    client:setcb(print, nop, nop):write(("x"):rep(2^24))
    server:setcb(nil, nil, nop):set_timeouts(60):enable "read"
    base:listener("127.0.0.1:0", nop)
    base:event(server:getfd(), "write|et", nop):add(60)
    base:signal("USR1", setmetatable({}, {__call = nop})):add()
    base:timer(load("", "=else"), "persist"):add(1000)
    base:loopexit(5000)
    base:user(nop):active():active "read|write"
    base:user(nop):active()
    local lines = {}
    for line in dump():gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal("9 events", table.remove(lines, 1))
    table.sort(lines)
    assert.same({
      "libevent.Base (0x): loopexit, 5000 s left",
      "libevent.Bufferevent (0x): fd read|persist, 60 s left, callback at here",
      "libevent.Bufferevent (0x): fd write|persist, callback in [C]",
      "libevent.Event (0x): fd write|et, 60 s left, callback at here",
      "libevent.Event (0x): signal 10",
      "libevent.Event (0x): timer persist, 1000 s left, callback at else:0",
      "libevent.Event (0x): user, active read|write, callback at here",
      "libevent.Event (0x): user, active, callback at here",
      "libevent.Listener (0x): fd read|persist, callback at here",
    }, lines)
    base:close()
  end)

  it("names objects as tostring does", function()
    local timer = base:timer(nop):add(60)
    assert.truthy(base:dump_events():find(tostring(timer) .. ": timer", 1,
                                          true))
    timer:close()
  end)

  it("tells of the timeouts of what has no descriptor", function()
    local a, b = base:pair()
    a:set_timeouts(60):enable "read"
    assert.match("Bufferevent %(0x%): timer, 60 s left$", dump())
    a:close()
    b:close()
    t.turns(base)
  end)

  it("tells short times to the millisecond", function()
    base:timer(nop):add(5)
    local seconds = base:dump_events():match "timer, (%d%.%d%d%d) s left"
    assert.near(5, tonumber(seconds), 0.5 * t.slow)
    base:close()
  end)

  it("tells of what the script has closed, while it sends its rest", function()
    local server, client = pair(base)
    server:write(("x"):rep(2^24))
    server:close_after_flush(60)
    assert.equal("1 event\nlibevent.Bufferevent (closed): fd write|persist, "
                 .. "60 s left", dump())
    client:close()
    base:close()
  end)

  it("is long for many events", function()
    for _ = 1, 3000 do base:timer(nop):add(60) end
    local _, lines = base:dump_events():gsub("\nlibevent.Event ", "")
    assert.equal(3000, lines)
    base:close()
  end)
end)

describe("On the host's loop", function()
  it("events of the host's are told of, without an object", function()
    local text = t.host("host", [[
      base:init_common_timeout(0.01)
      base:timer(print, "persist"):add(0.01)
      base:foreach_event(function(info) print(info.events, info.object) end)
      print((base:dump_events():gsub("0x%x+", "0x"):gsub("%d%.%d+", "0")))
      base:timer(function() base:close() end):add(0.005)
    ]])
    assert.matches("persist\tnil\ntimeout|persist\tlibevent.Event", text, 1,
                   true)
    assert.matches([[
2 events
no object: timer persist, 0 s left
libevent.Event (0x): timer persist, 0 s left, callback in [C]
]], text, 1, true)
    assert.matches("running 1\nafter lua_close 1\nevents left 1\n", text, 1,
                   true)
  end)
end)

