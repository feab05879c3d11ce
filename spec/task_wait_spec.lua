-- libevent.co: what tasks wait for, how long, and where they may.
local co = require "libevent.co"
local libevent = require "libevent"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local closes, fails, line = tasks.closes, tasks.fails, tasks.line
local message, play = tasks.message, tasks.play
local tells, try = tasks.tells(it), tasks.try

local HERE = "task_wait_spec.lua:"

describe("co.sleep", function()
  before_each(t.start)
  after_each(t.finish)

  tells("waits so long, and returns nothing", function()
    local before = co.base():gettime_monotonic "precise"
    assert.equal(0, select("#", co.sleep(0.005)))
    assert.is_true(co.base():gettime_monotonic "precise" - before >= 0.005)
  end)

  tells("wakes tasks in the order of their times", function()
    local log, list = {}, {}
    for i, seconds in ipairs {0.009, 0.003, 0.006, 0.001, 0.012} do
      list[i] = co.spawn(function()
        local due = co.base():gettime_monotonic "precise" + seconds
        co.sleep(seconds)
        log[#log + 1] = due
      end)
    end
    for _, task in ipairs(list) do task:join() end
    for i = 2, 5 do assert.is_true(log[i - 1] < log[i]) end
  end)

  tells("for no time gives others their turn", function()
    local log = {}
    local task = co.spawn(function()
      for i = 1, 3 do
        log[#log + 1] = "a" .. i
        co.sleep(0)
      end
    end)
    for i = 1, 3 do
      log[#log + 1] = "b" .. i
      co.sleep(0)
    end
    task:join()
    assert.same({"b1", "a1", "b2", "a2", "b3", "a3"}, log)
  end)

  tells("is checked", function()
    for _, value in ipairs {-1, 0/0, 1/0, -1/0, "x", {}, true, 1e300} do
      t.raises("bad argument #1 to 'sleep'", function() co.sleep(value) end)
    end
    assert.is_false(pcall(co.sleep))
  end)

  tells("may be for years", function()
    local task = co.spawn(co.sleep, 1e9)
    co.sleep(0.001)
    assert.equal("waiting", task:status())
    task:cancel()
  end)
end)

describe("co.deadline", function()
  before_each(t.start)
  after_each(t.finish)

  tells("passes arguments and results on", function()
    local results = table.pack(co.deadline(5, function(...)
      co.sleep(0)
      return select("#", ...), ..., nil
    end, nil, 2, nil))
    assert.same({n = 3, 3, nil, nil}, results)
    assert.equal(0, select("#", co.deadline(5, function() end)))
  end)

  tells("returns nil and 'timeout' when its time has passed", function()
    assert.same({n = 2, nil, "timeout"},
                table.pack(co.deadline(0.002, co.sleep, 5)))
  end)

  tells("closes variables on the way out", function()
    local log = {}
    co.deadline(0.002, function()
      local _ <close> = closes(log, "outer")
      local _ <close> = closes(log, "inner")
      co.sleep(5)
      log[#log + 1] = "never"
    end)
    assert.same({"inner", "outer"}, log)
  end)

  tells("is of all waits together", function()
    local n = 0
    fails("timeout", co.deadline(0.01, function()
      while true do
        co.sleep(0.002)
        n = n + 1
      end
    end))
    assert.is_true(n < 6)
  end)

  tells("cannot be caught and waited on", function()
    local n = 0
    local _, text = co.deadline(0.002, function()
      for _ = 1, 3 do
        if not pcall(co.sleep, 5) then n = n + 1 end
      end
      return "in spite of it"
    end)
    assert.equal(3, n)
    assert.is_nil(text)
  end)

  tells("leaves a task that goes on as if there had been none", function()
    fails("timeout", co.deadline(0.001, co.sleep, 5))
    co.sleep(0.001)
    assert.equal(1, co.deadline(5, function()
      co.sleep(0.001)
      return 1
    end))
    co.sleep(0.001)
  end)

  tells("of 0 lets a function run up to its first wait", function()
    local reached
    fails("timeout", co.deadline(0, function()
      reached = true
      co.sleep(0.001)
      reached = false
    end))
    assert.is_true(reached)
    assert.equal(1, co.deadline(0, function() return 1 end))
  end)

  tells("within another one is the shorter one", function()
    local log = {}
    assert.equal("outer", co.deadline(5, function()
      fails("timeout", co.deadline(0.002, co.sleep, 5))
      log[1] = "inner"
      co.sleep(0.001)
      return "outer"
    end))
    assert.same({"inner"}, log)
  end)

  tells("around another one goes through it", function()
    local reached
    fails("timeout", co.deadline(0.002, function()
      co.deadline(5, co.sleep, 5)
      reached = true
    end))
    assert.is_nil(reached)
    fails("timeout", co.deadline(0.002, function()
      local ok = pcall(co.deadline, 5, co.sleep, 5)
      assert.is_false(ok)
      pcall(co.sleep, 5)
      co.sleep(0)
    end))
  end)

  tells("of the same time as another one belongs to the outer one", function()
    fails("timeout", co.deadline(0, function()
      co.deadline(0, co.sleep, 1)
      error "the outer one is over, too"
    end))
  end)

  tells("passes errors on as they are", function()
    local object = {}
    assert.equal(object, message(co.deadline, 5, error, object))
    local text = message(co.deadline, 5, function()
      co.sleep(0)
      error "oh no"
    end)
    assert.matches(HERE .. "%d+: oh no$", text)
    text = message(co.deadline, 5, function()
      co.deadline(5, error, "inner", 0)
    end)
    assert.equal("inner", text)
  end)

  tells("tells of an error that comes of its end", function()
    local text = message(co.deadline, 0.001, function()
      local _ <close> = setmetatable({}, {__close = function()
        error("of closing", 0)
      end})
      co.sleep(5)
    end)
    assert.equal("of closing", text)
  end)

  tells("gives way to a cancel", function()
    local log = {}
    local task = co.spawn(function()
      local _ <close> = closes(log, "closed")
      co.deadline(5, co.sleep, 5)
      log[#log + 1] = "never"
    end)
    co.sleep(0)
    task:cancel()
    fails("cancelled", task:join())
    assert.same({"closed"}, log)
  end)

  tells("leaves short timeouts as they are", function()
    local channel = co.channel()
    assert.equal(3, co.deadline(5, function()
      local n = 0
      for _ = 1, 3 do
        fails("timeout", channel:get(0.001))
        n = n + 1
      end
      return n
    end))
  end)

  tells("cuts long timeouts short", function()
    fails("timeout", co.deadline(0.002, function()
      co.channel():get(5)
      error "never"
    end))
  end)

  tells("is no more of those that it has begun", function()
    local task
    fails("timeout", co.deadline(0.002, function()
      task = co.spawn(function()
        co.sleep(0.004)
        return "data"
      end)
      co.sleep(5)
    end))
    assert.equal("data", task:join())
  end)

  tells("goes through generators", function()
    local f = co.wrap(function()
      while true do
        co.sleep(0.001)
        coroutine.yield "x"
      end
    end)
    fails("timeout", co.deadline(0.01, function()
      for x in f do assert.equal("x", x) end
    end))
  end)

  tells("may be around much and often", function()
    for i = 1, 500 do
      assert.equal(i, co.deadline(5, function()
        co.sleep(0)
        return i
      end))
    end
  end)

  tells("may be as deep as calls may be", function()
    local function f(n)
      if n == 0 then return co.sleep(5) end
      co.deadline(4, f, n - 1)
    end
    fails("timeout", co.deadline(0.003, f, 50))
  end)

  tells("is checked", function()
    for _, value in ipairs {-1, 0/0, "x", {}} do
      t.raises("bad argument #1 to 'deadline'",
               function() co.deadline(value, print) end)
    end
    t.raises("bad argument #2 to 'deadline' (function expected",
             function() co.deadline(1) end)
  end)
end)

describe("co.wait", function()
  before_each(t.start)
  after_each(t.finish)

  -- In a task, with both ends of a connection.
  local function between(sentence, f)
    it(sentence, function()
      local one, two = assert(libevent.socketpair())
      play(f, one, two)
      libevent.closesocket(one)
      libevent.closesocket(two)
    end)
  end

  local function send(fd, text) assert(libevent.buffer(text):write(fd)) end

  between("returns when a descriptor can be read", function(one, two)
    local task = co.spawn(co.wait, one, "read")
    co.sleep(0.001)
    assert.equal("waiting", task:status())
    send(two, "x")
    assert.equal("read", task:join())
    assert.equal("read", co.wait(one, "read", 0))
  end)

  between("returns when it can be written", function(one)
    assert.equal("write", co.wait(one, "write"))
  end)

  between("returns what of both has happened", function(one, two)
    assert.equal("write", co.wait(one, "read|write"))
    send(two, "x")
    local words = co.wait(one, "read|write")
    assert.truthy(words:find "read")
    assert.truthy(words:find "write")
  end)

  between("returns nil and 'timeout' after a time", function(one)
    fails("timeout", co.wait(one, "read", 0.002))
    fails("timeout", co.wait(one, "read", 0))
    fails("timeout", co.deadline(0.002, co.wait, one, "read"))
  end)

  between("may be done by several tasks for one descriptor", function(one, two)
    local list = {}
    for i = 1, 3 do list[i] = co.spawn(co.wait, one, "read") end
    co.sleep(0.001)
    list[2]:cancel()
    send(two, "x")
    assert.equal("read", list[1]:join())
    fails("cancelled", list[2]:join())
    assert.equal("read", list[3]:join())
  end)

  between("leaves nothing in the loop, however it ends", function(one, two)
    local before = co.base():num_events()
    local task = co.spawn(co.wait, one, "read")
    co.sleep(0.001)
    task:cancel()
    task:join()
    fails("timeout", co.wait(one, "read", 0.001))
    send(two, "x")
    assert.equal("read", co.wait(one, "read"))
    co.sleep(0)
    assert.is_true(co.base():num_events() <= before)
  end)

  tells("takes files, and objects with a descriptor", function()
    local file <close> = io.popen "echo data"
    assert.equal("read", co.wait(file, "read"))
    assert.equal("data", file:read())
    local a, b = tasks.ends()
    assert.equal("write", co.wait(a, "write"))
    a:close()
    b:close()
  end)

  tells("is checked", function()
    for _, value in ipairs {-1, 1 << 20, "x", {}, true} do
      assert.is_false(pcall(co.wait, value, "read"))
    end
    assert.is_false(pcall(co.wait, 0, "sleep"))
    assert.is_false(pcall(co.wait, 0, 1))
    assert.is_false(pcall(co.wait))
    co.sleep(0)
  end)

  tells("tells of a file that cannot be waited for", function()
    local file <close> = assert(io.open "/etc/passwd")
    local called, words, text, errno = pcall(co.wait, file, "read")
    assert.is_true(not called or words == nil)
    if called then
      assert.is_string(text)
      assert.equal(1, errno)            -- EPERM
    end
    co.sleep(0)
  end)
end)

describe("co.signal", function()
  before_each(t.start)
  after_each(t.finish)

  tells("waits for a signal", function()
    local task = co.spawn(co.signal, "USR1")
    co.sleep(0.001)
    assert.equal("waiting", task:status())
    tasks.kill "USR1"
    assert.is_true(task:join())
  end)

  tells("returns nil and 'timeout' after a time", function()
    fails("timeout", co.signal("USR1", 0.002))
    fails("timeout", co.deadline(0.002, co.signal, 10))
  end)

  tells("wakes all that wait for it", function()
    local list = {}
    for i = 1, 3 do list[i] = co.spawn(co.signal, "SIGUSR1") end
    co.sleep(0.001)
    list[1]:cancel()
    tasks.kill "USR1"
    fails("cancelled", list[1]:join())
    assert.is_true(list[2]:join())
    assert.is_true(list[3]:join())
  end)

  tells("may be called again", function()
    for _ = 1, 3 do
      local task = co.spawn(co.signal, "USR2")
      co.sleep(0)
      tasks.kill "USR2"
      assert.is_true(task:join())
    end
  end)

  tells("leaves nothing in the loop", function()
    local before = co.base():num_events()
    local task = co.spawn(co.signal, "USR1")
    co.sleep(0.001)
    task:cancel():join()
    co.sleep(0)
    assert.is_true(co.base():num_events() <= before)
  end)

  tells("is checked", function()
    for _, value in ipairs {"NONE", -1, 0, 1000, {}, true} do
      assert.is_false(pcall(co.signal, value))
    end
    assert.is_false(pcall(co.signal))
  end)
end)

describe("co.await", function()
  before_each(t.start)
  after_each(t.finish)

  tells("returns what a callback is called with", function()
    local results = table.pack(co.await(function(done)
      co.base():timer(function() done(nil, 2, nil) end):add(0.001)
    end))
    assert.same({n = 3, nil, 2, nil}, results)
    assert.equal(0, select("#", co.await(function(done)
      co.base():timer(function() done() end):add(0)
    end)))
  end)

  tells("returns at once what is there at once", function()
    assert.same({1, 2}, {co.await(function(done) done(1, 2) end)})
    assert.equal(0, select("#", co.await(function(done) done() end)))
    assert.same({"x"}, {co.await(function(done)
      done "x"
      return t.never()
    end)})
  end)

  tells("takes the first call, and no other", function()
    local again
    assert.equal(1, co.await(function(done)
      again = done
      done(1)
      done(2)
    end))
    again(3)
    local channel = co.channel(1)
    co.spawn(function()
      co.sleep(0)
      again(4)
      channel:put "data"
    end)
    assert.equal("data", channel:get())
    assert.equal(5, co.await(function(done)
      co.base():timer(function()
        done(5)
        done(6)
      end):add(0)
    end))
  end)

  tells("does not begin before the task has come there", function()
    local begun
    local task = co.spawn(function()
      return co.await(function(done)
        begun = true
        done(1)
      end)
    end)
    assert.is_nil(begun)
    assert.equal(1, task:join())
  end)

  tells("returns nil and 'timeout', and calls what cancels it", function()
    fails("timeout", co.await(function() return t.expect() end, 0.002))
    fails("timeout", co.await(function() end, 0.002))
    fails("timeout", co.deadline(0.002, co.await, function()
      return t.expect()
    end))
  end)

  tells("calls what cancels it when the task is cancelled", function()
    local task = co.spawn(co.await, function() return t.expect() end)
    co.sleep(0)
    task:cancel()
    fails("cancelled", task:join())
  end)

  tells("does not cancel what is done", function()
    local timer
    assert.equal(1, co.await(function(done)
      timer = co.base():timer(function() done(1) end):add(0.001)
      return t.never()
    end, 5))
    timer:close()
  end)

  tells("hears of nothing that comes too late", function()
    local late
    fails("timeout", co.await(function(done)
      late = done
      return function() done "while it is cancelled" end
    end, 0.001))
    late "later"
    assert.equal("data", co.await(function(done)
      co.spawn(function()
        late "still later"
        co.sleep(0.001)
        done "data"
      end)
    end))
  end)

  tells("raises what goes wrong in the beginning", function()
    local object = {}
    assert.equal(object, message(co.await, function() error(object) end))
    co.sleep(0)
  end)

  it("tells of what goes wrong in cancelling, and goes on", function()
    local base = tasks.base()
    local seen
    base:set_error_cb(function(err) seen = err end)
    co.run(base, function()
      fails("timeout", co.await(function()
        return function() error("oh no", 0) end
      end, 0.001))
    end)
    assert.matches("^oh no", seen)
    base:set_error_cb()
    base:close()
  end)

  tells("is the bridge to all that has callbacks", function()
    local base = co.base()
    local listener = base:listener("127.0.0.1:0", function(_, conn)
      conn:write "hello"
      conn:close_after_flush()
    end)
    local bev = base:bufferevent()
    local data = co.await(function(done)
      local list = {}
      bev:setcb(function(b) list[#list + 1] = b:read() end, nil,
                function(_, what)
        if what == "eof" then done(table.concat(list)) end
      end)
      bev:enable "read"
      assert(bev:connect(listener:sockname()))
      return function() bev:close() end
    end, 5)
    assert.equal("hello", data)
    bev:close()
    listener:close()
  end)

  tells("is checked", function()
    for _, value in ipairs {1, "x", {}} do
      t.raises("bad argument #1 to 'await' (function expected",
               function() co.await(value) end)
    end
    assert.is_false(pcall(co.await))
    assert.is_false(pcall(co.await, function() end, -1))
  end)
end)

describe("co.wrap", function()
  before_each(t.start)
  after_each(t.finish)

  tells("makes a generator that may wait", function()
    local list = {}
    for i, text in co.wrap(function()
      for i = 1, 3 do
        co.sleep(0.001)
        coroutine.yield(i, "x")
      end
    end) do
      list[#list + 1] = i .. text
    end
    assert.same({"1x", "2x", "3x"}, list)
  end)

  tells("passes values in both directions", function()
    local f = co.wrap(function(...)
      assert.same({n = 3, 1, nil, nil}, table.pack(...))
      co.sleep(0)
      assert.same({n = 2, nil, 4}, table.pack(coroutine.yield(nil, 2, nil)))
      co.sleep(0)
      return nil, 5, nil
    end)
    assert.same({n = 3, nil, 2, nil}, table.pack(f(1, nil, nil)))
    assert.same({n = 3, nil, 5, nil}, table.pack(f(nil, 4)))
    t.raises("dead coroutine", f)
  end)

  tells("raises errors as they are", function()
    local object = {}
    assert.equal(object, message(co.wrap(function()
      co.sleep(0)
      error(object)
    end)))
    assert.matches(HERE .. "%d+: oh no", message(co.wrap(function()
      error "oh no"
    end)))
  end)

  tells("closes the variables of one that fails", function()
    local log = {}
    assert.is_false(pcall(co.wrap(function()
      local _ <close> = closes(log, "closed")
      co.sleep(0)
      error "oh no"
    end)))
    assert.same({"closed"}, log)
  end)

  tells("makes generators within generators", function()
    local function range(n)
      return co.wrap(function()
        for i = 1, n do
          co.sleep(0)
          coroutine.yield(i)
        end
      end)
    end
    local list = {}
    for pair in co.wrap(function()
      for i in range(2) do
        for j in range(2) do
          co.sleep(0)
          coroutine.yield(i .. j)
        end
      end
    end) do
      list[#list + 1] = pair
    end
    assert.same({"11", "12", "21", "22"}, list)
  end)

  tells("makes generators that read streams", function()
    local a, b = tasks.ends()
    co.spawn(tasks.say, b, "2\nab", "cd", "3\nefg", "hij")
    local list = {}
    for packet in co.wrap(function()
      for size in a:lines() do
        for _ = 1, 2 do coroutine.yield(a:read(tonumber(size))) end
      end
    end) do
      list[#list + 1] = packet
    end
    assert.same({"ab", "cd", "efg", "hij"}, list)
    a:close()
    b:close()
  end)

  tells("makes generators that several tasks may call", function()
    local f = co.wrap(function()
      for i = 1, 4 do
        co.sleep(0.0005)
        coroutine.yield(i)
      end
    end)
    assert.equal(1, f())
    assert.equal(2, co.spawn(f):join())
    assert.equal(3, f())
    assert.equal(4, co.spawn(function() return f() end):join())
  end)

  tells("is no more to be called while it waits", function()
    local f = co.wrap(function()
      co.sleep(0.002)
      return 1
    end)
    local task = co.spawn(f)
    co.sleep(0)
    assert.is_false(pcall(f))
    assert.equal(1, task:join())
  end)

  tells("is cancelled with its task", function()
    local log = {}
    local f = co.wrap(function()
      local _ <close> = closes(log, "generator")
      co.sleep(5)
    end)
    local task = co.spawn(function()
      local _ <close> = closes(log, "task")
      f()
    end)
    co.sleep(0)
    task:cancel()
    fails("cancelled", task:join())
    assert.same({"generator", "task"}, log)
  end)

  tells("ends with a deadline", function()
    local log = {}
    fails("timeout", co.deadline(0.002, co.wrap(function()
      local _ <close> = closes(log, "closed")
      co.sleep(5)
    end)))
    assert.same({"closed"}, log)
  end)

  tells("knows its task", function()
    local me = co.current()
    co.wrap(function()
      assert.equal(me, co.current())
      assert.equal(co.base(), co.base())
      co.sleep(0)
      assert.equal(me, co.current())
      co.spawn(function() end):join()
    end)()
  end)

  tells("may be left in the middle, and is collected", function()
    local weak = setmetatable({}, {__mode = "k"})
    do
      local key = {}
      weak[key] = true
      local f = co.wrap(function()
        co.sleep(0)
        coroutine.yield(1)
        return key
      end)
      assert.equal(1, f())
    end
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("runs in tasks only, and not in plain coroutines of theirs", function()
    local f = co.wrap(function() co.sleep(0) end)
    t.raises("task", f)
    play(function()
      assert.is_false(pcall(coroutine.wrap(f)))
      co.sleep(0)
    end)
  end)

  tells("is checked", function()
    for _, value in ipairs {1, "x", {}} do
      assert.is_false(pcall(co.wrap, value))
    end
    assert.is_false(pcall(co.wrap))
  end)
end)

-- {==== Where a task may wait ====

local function nap(value)
  co.sleep(0)
  return value
end

-- What a metamethod is called by, whatever it returns.
local metamethods = {
  __index = function(x) return x.field end,
  __newindex = function(x) x.field = 1 end,
  __call = function(x) return x(1) end,
  __add = function(x) return x + 1 end,
  __sub = function(x) return 1 - x end,
  __mul = function(x) return x * 1 end,
  __div = function(x) return x / 1 end,
  __mod = function(x) return x % 1 end,
  __pow = function(x) return x ^ 1 end,
  __unm = function(x) return -x end,
  __idiv = function(x) return x // 1 end,
  __band = function(x) return x & 1 end,
  __bor = function(x) return x | 1 end,
  __bxor = function(x) return x ~ 1 end,
  __shl = function(x) return x << 1 end,
  __shr = function(x) return x >> 1 end,
  __bnot = function(x) return ~x end,
  __concat = function(x) return "a" .. x .. "b" end,
  __len = function(x) return #x end,
  __eq = function(x, y) return x == y end,
  __lt = function(x) return x < 1 end,
  __le = function(x) return x <= 1 end,
  __close = function(x) local _ <close> = x end,
}

describe("co.resume", function()
  before_each(t.start)
  after_each(t.finish)

  tells("is coroutine.resume for a coroutine that may wait", function()
    local thread = coroutine.create(function(...)
      co.sleep(0.001)
      local a, b = coroutine.yield(select("#", ...), ...)
      co.sleep(0.001)
      return a, b
    end)
    assert.same({true, 2, nil, "x", n = 4},
                table.pack(co.resume(thread, nil, "x")))
    assert.equal("suspended", coroutine.status(thread))
    assert.same({true, 1, nil, n = 3}, table.pack(co.resume(thread, 1)))
    assert.same({false, "cannot resume dead coroutine", n = 2},
                table.pack(co.resume(thread)))
  end)

  tells("returns errors, and leaves the variables as they are", function()
    local log, object = {}, {}
    local thread = coroutine.create(function()
      local _ <close> = closes(log, "closed")
      co.sleep(0)
      error(object)
    end)
    local ok, err = co.resume(thread)
    assert.is_false(ok)
    assert.equal(object, err)
    assert.same({}, log)
    assert.is_false(coroutine.close(thread))
    assert.same({"closed"}, log)
  end)

  tells("does not resume one in which another task waits", function()
    local thread = coroutine.create(function()
      co.sleep(0.005)
      return "done"
    end)
    local task = co.spawn(co.resume, thread)
    co.sleep(0.001)
    assert.same({false, "cannot resume non-suspended coroutine"},
                {co.resume(thread)})
    assert.same({true, "done"}, {task:join()})
  end)
end)

describe("A task may wait", function()
  before_each(t.start)
  after_each(t.finish)

  for event, use in pairs(metamethods) do
    tells("in a metamethod: " .. event, function()
      local n = 0
      local mt = {[event] = function(...)
        n = n + 1
        co.sleep(0)
        return select("#", ...)
      end}
      use(setmetatable({}, mt), setmetatable({}, mt))
      assert.is_true(n >= 1)
    end)
  end

  tells("in pcall, and go on after an error", function()
    local ok, text = pcall(function()
      co.sleep(0.001)
      error("oh no", 0)
    end)
    assert.is_false(ok)
    assert.equal("oh no", text)
    assert.same({true, 1}, {pcall(nap, 1)})
    co.sleep(0)
    assert.same({true, true, true, 2}, {pcall(pcall, pcall, nap, 2)})
  end)

  tells("in xpcall, whose handler sees where the error was", function()
    local ok, text = xpcall(function()
      co.sleep(0)
      local function culprit() error "oh no" end
      culprit()
      return 1
    end, debug.traceback)
    assert.is_false(ok)
    assert.matches("culprit", text, 1, true)
    assert.same({true, 3}, {xpcall(nap, print, 3)})
  end)

  tells("in an iterator of a loop", function()
    local sum = 0
    for i in function(_, i)
      i = nap((i or 0) + 1)
      return i <= 3 and i or nil
    end do
      sum = sum + i
    end
    assert.equal(6, sum)
  end)

  tells("in a variable that is closed, also after an error", function()
    local log = {}
    local function slowly(name)
      return setmetatable({}, {__close = function()
        log[#log + 1] = "closing " .. name
        co.sleep(0.001)
        log[#log + 1] = "closed " .. name
      end})
    end
    local ok = pcall(function()
      local _ <close> = slowly "a"
      local _ <close> = slowly "b"
      error "oh no"
    end)
    assert.is_false(ok)
    assert.same({"closing b", "closed b", "closing a", "closed a"}, log)
  end)

  tells("in dofile", function()
    local path = t.write "local co = ... or require 'libevent.co'\
      co.sleep(0.001) return 'data'"
    assert.equal("data", dofile(path))
    os.remove(path)
  end)

  tells("in vararg functions and tail calls", function()
    local function f(n, ...)
      if n == 0 then return nap(...) end
      return f(n - 1, ...)
    end
    assert.equal("x", f(1000, "x"))
  end)

  tells("deep in recursion", function()
    local function f(n)
      if n == 0 then
        co.sleep(0)
        return 0
      end
      return 1 + f(n - 1)
    end
    assert.equal(5000, f(5000))
  end)
end)

-- Where C calls Lua, and Lua 5.4 lets nobody yield.
local boundaries = {
  ["table.sort"] = function(f)
    table.sort({3, 2, 1}, function(a, b)
      f()
      return a < b
    end)
  end,
  ["string.gsub"] = function(f) return (("abc"):gsub(".", f)) end,
  ["load"] = function(f)
    local chunk, text = load(function() f() end)
    if not chunk then error(text, 0) end
  end,
  ["require"] = function(f)
    package.preload["spec.waits"] = f
    local ok, text = pcall(require, "spec.waits")
    package.preload["spec.waits"], package.loaded["spec.waits"] = nil, nil
    if not ok then error(text, 0) end
  end,
  ["__tostring"] = function(f)
    return tostring(setmetatable({}, {__tostring = function()
      f()
      return ""
    end}))
  end,
  ["__gc"] = function(f)
    local ok, text
    setmetatable({}, {__gc = function() ok, text = pcall(f) end})
    collectgarbage() collectgarbage()
    if not ok then error(text, 0) end
  end,
  ["a callback of base:foreach_event"] = function(f)
    co.base():foreach_event(function() f() end)
  end,
}

describe("A task cannot wait", function()
  before_each(t.start)
  after_each(t.finish)

  for name, call in pairs(boundaries) do
    tells("in " .. name .. ", is told so, and goes on", function()
      local text = message(call, function() co.sleep(0.001) end)
      assert.matches("C%-call boundary", text)
      assert.matches("co.sleep", text, 1, true)
      co.sleep(0.001)
      local channel = co.channel()
      text = message(call, function() channel:get() end)
      assert.matches("C%-call boundary", text)
      co.spawn(function() channel:put(1) end)
      assert.equal(1, channel:get())
    end)
  end

  for name, call in pairs(boundaries) do
    tells("in " .. name .. ", but read what is there", function()
      local a, b = tasks.ends()
      b:write(("one\n"):rep(10))
      co.sleep(0.001)
      pcall(call, function() assert.equal("one", a:read()) end)
      assert.equal("one", a:read())
      local text = message(call, function() error(select(2, pcall(a.read, a,
                                                                 1000)), 0) end)
      assert.matches("C%-call boundary", text)
      assert.equal("one", a:read())
      a:close()
      b:close()
    end)
  end

  tells("in a handler of xpcall", function()
    local seen
    xpcall(error, function()
      seen = message(co.sleep, 0)
    end)
    assert.matches("co.sleep", seen, 1, true)
    co.sleep(0)
  end)
end)

-- ====}

describe("A foreign yield in a task", function()
  before_each(t.start)
  after_each(t.finish)

  tells("ends it, and is told apart", function()
    local at
    local task = co.spawn(function()
      at = line() + 1
      coroutine.yield(1, 2)
    end)
    local text = message(task.join, task)
    assert.matches("coroutine.yield", text, 1, true)
    assert.matches(HERE .. at, text, 1, true)
    assert.equal("failed", task:status())
  end)

  tells("closes the variables of the task", function()
    local log = {}
    local task = co.spawn(function()
      local _ <close> = closes(log, "closed")
      coroutine.yield()
    end)
    assert.is_false(pcall(task.join, task))
    assert.same({"closed"}, log)
  end)

  it("is an error that is told as any other", function()
    local ok, text = try(function() coroutine.yield() end)
    assert.is_false(ok)
    assert.matches("coroutine.yield", text, 1, true)
  end)

  tells("cannot be taken for a wait, whatever it yields", function()
    for _, value in ipairs {1, "x", {}, co, coroutine.running()} do
      local task = co.spawn(coroutine.yield, value)
      t.raises("coroutine.yield", task.join, task)
    end
  end)

  tells("hurts no others", function()
    local other = co.spawn(function()
      co.sleep(0.002)
      return "data"
    end)
    local task = co.spawn(coroutine.yield)
    pcall(task.join, task)
    assert.equal("data", other:join())
  end)

  tells("is none in a coroutine of its own", function()
    local f = coroutine.wrap(function(a)
      local b = coroutine.yield(a + 1)
      return b + 1
    end)
    assert.equal(2, f(1))
    co.sleep(0.001)
    assert.equal(6, f(5))
  end)

  tells("where it waits in a coroutine of its own says so", function()
    local f = coroutine.wrap(function() co.sleep(0.001) end)
    local text = message(f)
    assert.matches("co.sleep", text, 1, true)
    assert.matches("co.wrap", text, 1, true)
    co.sleep(0.001)
  end)
end)

describe("Waiting outside of any task", function()
  before_each(t.start)
  after_each(t.finish)

  local calls = {
    ["co.sleep"] = function() co.sleep(0) end,
    ["co.wait"] = function() co.wait(0, "read") end,
    ["co.signal"] = function() co.signal "USR1" end,
    ["co.await"] = function() co.await(function() end) end,
    ["co.deadline"] = function() co.deadline(1, print) end,
    ["co.select"] = function() co.select {co.channel()} end,
    ["channel:get"] = function() co.channel():get() end,
    ["channel:put"] = function() co.channel():put(1) end,
    ["semaphore:acquire"] = function() co.semaphore(0):acquire() end,
    ["condition:wait"] = function() co.condition():wait() end,
    ["waitgroup:wait"] = function() co.waitgroup():add():wait() end,
  }

  for name, f in pairs(calls) do
    it("raises, and names the call: " .. name, function()
      local ok, text = pcall(f)
      assert.is_false(ok)
      assert.matches(name, text, 1, true)
      assert.matches("task", text, 1, true)
    end)

    it("raises in a plain callback: " .. name, function()
      local base = t.base()
      base:timer(f):add(0)
      local ok, text = pcall(base.dispatch, base)
      assert.is_false(ok)
      assert.matches(name, text, 1, true)
      base:close()
    end)
  end

  it("raises in a plain callback of a base with tasks", function()
    local base = t.base()
    local seen
    base:timer(function()
      seen = select(2, pcall(co.sleep, 0))
    end):add(0.001)
    co.run(base, co.sleep, 0.003)
    assert.matches("co.sleep waits", seen, 1, true)
    base:close()
  end)

  tells("raises in a callback that a waiting task has led to", function()
    local base = co.base()
    local seen
    co.await(function(done)
      base:timer(function()
        seen = select(2, pcall(co.sleep, 0))
        done()
      end):add(0)
    end)
    assert.matches("co.sleep waits", seen, 1, true)
  end)
end)

