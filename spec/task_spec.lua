-- libevent.co: tasks, from their beginning to their end.
local co = require "libevent.co"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local closes, fails, forever = tasks.closes, tasks.fails, tasks.forever
local line, message, play = tasks.line, tasks.message, tasks.play
local tells, try = tasks.tells(it), tasks.try

local HERE = "task_spec.lua:"

describe("co.spawn", function()
  before_each(t.start)
  after_each(t.finish)

  tells("begins tasks soon, not at once, and in their order", function()
    local log = {}
    for i = 1, 5 do
      co.spawn(function() log[#log + 1] = i end)
    end
    assert.same({}, log)
    co.sleep(0)
    assert.same({1, 2, 3, 4, 5}, log)
  end)

  tells("passes arguments on, nil too", function()
    local results
    co.spawn(function(...) results = table.pack(...) end, nil, 2, nil):join()
    assert.same({n = 3, nil, 2, nil}, results)
    co.spawn(function(...) results = table.pack(...) end):join()
    assert.same({n = 0}, results)
  end)

  tells("says what it must be given, and where", function()
    t.raises("bad argument #1 to 'spawn' (function expected, got number)",
             function() co.spawn(1) end)
    t.raises("bad argument #2 to 'spawn' (function expected",
             function() co.spawn(co.base(), "x") end)
    for _, value in ipairs {{}, true, "print"} do
      assert.is_false(pcall(co.spawn, value))
    end
    assert.is_false(pcall(co.spawn))
  end)

  it("needs a base outside of tasks", function()
    t.raises("base", co.spawn, print)
    local base = t.base()
    local task = co.spawn(base, function(...) return ... end, 1, 2)
    assert.equal("waiting", task:status())
    base:dispatch()
    assert.same({1, 2}, {task:join()})
    base:close()
    t.raises("Base is closed", co.spawn, base, print)
  end)

  it("works in plain callbacks", function()
    local base = t.base()
    local log = {}
    base:timer(function()
      co.spawn(base, function()
        log[#log + 1] = "task"
        co.sleep(0.001)
        log[#log + 1] = "slept"
      end)
      log[#log + 1] = "callback"
    end):add(0)
    base:dispatch()
    assert.same({"callback", "task", "slept"}, log)
    base:close()
  end)

  tells("begins a task that a task has just made in the same turn", function()
    local depth = 0
    local function deeper()
      depth = depth + 1
      if depth < 50 then co.spawn(deeper) end
    end
    co.spawn(deeper)
    tasks.turns(60)
    assert.equal(50, depth)
  end)

  tells("takes functions of C", function()
    assert.equal("ABC", co.spawn(string.upper, "abc"):join())
    assert.equal("timeout", select(2, co.spawn(co.sleep, 0.01):join(0)))
  end)

  it("leaves nothing of those that have ended", function()
    local weak = setmetatable({}, {__mode = "k"})
    play(function()
      for _ = 1, 50 do
        local task = co.spawn(function() co.sleep(0) end)
        weak[task] = true
        if _ % 2 == 0 then task:cancel() end
      end
      co.sleep(0.002)
      collectgarbage() collectgarbage()
      assert.is_nil(next(weak))
    end)
  end)

  tells("has room for thousands that wait at once", function()
    local n, gate = 0, co.condition()
    local group = co.waitgroup()
    for i = 1, 5000 do
      group:add()
      co.spawn(function()
        if i % 2 == 0 then gate:wait() else co.sleep(0.005) end
        n = n + 1
        group:done()
      end)
    end
    co.sleep(0.001)
    gate:broadcast()
    group:wait()
    assert.equal(5000, n)
  end)
end)

describe("A task", function()
  before_each(t.start)
  after_each(t.finish)

  tells("says what it does", function()
    local gate, task = co.condition(), nil
    task = co.spawn(function()
      assert.equal("running", task:status())
      gate:wait()
    end)
    assert.equal("waiting", task:status())
    co.sleep(0)
    assert.equal("waiting", task:status())
    gate:signal()
    task:join()
    assert.equal("done", task:status())
    task = co.spawn(forever)
    task:cancel()
    co.sleep(0)
    assert.equal("cancelled", task:status())
    task = co.spawn(error, {})
    assert.is_false(pcall(task.join, task))
    assert.equal("failed", task:status())
    assert.equal("running", co.current():status())
  end)

  tells("that joins is waiting, and not the one that runs", function()
    local me = co.current()
    co.spawn(function()
      assert.equal("waiting", me:status())
      assert.are_not.equal(me, co.current())
    end):join()
    assert.equal(me, co.current())
  end)

  it("is the current one only while it runs", function()
    local base = t.base()
    assert.is_nil(co.current())
    base:timer(function() assert.is_nil(co.current()) end):add(0.001)
    local task
    task = co.spawn(base, function()
      assert.equal(task, co.current())
      co.sleep(0.002)
      assert.equal(task, co.current())
    end)
    assert.is_nil(co.current())
    base:dispatch()
    assert.is_nil(co.current())
    base:close()
  end)

  it("knows its base", function()
    t.raises("task", co.base)
    local base = t.base()
    assert.equal(base, co.run(base, function() return co.base() end))
    base:close()
  end)

  tells("is called something", function()
    local task = co.spawn(function() end)
    assert.equal(task, task:set_name "the reader")
    assert.equal("the reader", task:name())
    assert.matches("the reader", tostring(task), 1, true)
    task:join()
    assert.equal("the reader", task:name())
    tasks.misuse("bad argument #1 to 'set_name' (string expected", task,
                 "set_name", {})
  end)

  tells("looks like one", function()
    assert.matches("^libevent%.Task", tostring(co.current()))
    assert.matches("waiting", tostring(co.spawn(function() end)))
  end)

  it("has its name in the message of its error", function()
    local ok, text = try(function()
      co.spawn(function() error "oh no" end):set_name "the reader"
      forever()
    end)
    assert.is_false(ok)
    assert.matches("the reader", text, 1, true)
  end)

  tells("tells where it waits", function()
    local at
    local function deep()
      at = line() + 1
      co.sleep(5)
    end
    local task = co.spawn(function()
      deep()
      return 1
    end)
    co.sleep(0)
    assert.matches(HERE .. at, task:traceback(), 1, true)
    assert.matches("deep", task:traceback(), 1, true)
    task:cancel()
  end)

  tells("tells where it has failed", function()
    local at
    local task = co.spawn(function()
      at = line() + 1
      error "oh no"
    end)
    pcall(task.join, task)
    assert.matches(HERE .. at, task:traceback(), 1, true)
  end)

  tells("tells where it is", function()
    local at = line() + 1
    local text = co.current():traceback()
    assert.matches(HERE .. at, text, 1, true)
  end)

  it("goes on though nobody knows it", function()
    local log = {}
    play(function()
      co.spawn(function()
        co.sleep(0.002)
        log[1] = "went on"
      end)
      collectgarbage() collectgarbage()
    end)
    assert.same({"went on"}, log)
  end)

  it("is refused what is no task", function()
    local task = co.run(co.current)
    for _, name in ipairs {"join", "cancel", "status", "traceback", "name"} do
      for _, value in ipairs {1, {}, "x", io.stdout} do
        assert.is_false(pcall(task[name], value))
      end
      assert.is_false(pcall(task[name]))
    end
  end)

  it("is one of co.tasks() until it has ended", function()
    local base = t.base()
    assert.same({}, co.tasks(base))
    co.run(base, function()
      local me = co.current()
      assert.same({me}, co.tasks())
      local task = co.spawn(function() co.sleep(0.001) end)
      assert.equal(2, #co.tasks())
      task:join()
      assert.same({me}, co.tasks())
      task = co.spawn(forever)
      task:cancel()
      assert.same({me}, co.tasks(base))
      co.sleep(0)
      assert.same({me}, co.tasks(base))
    end)
    assert.same({}, co.tasks(base))
    base:close()
    assert.is_false(pcall(co.tasks))
  end)
end)

describe("task:join", function()
  before_each(t.start)
  after_each(t.finish)

  tells("waits for the end, and returns the results", function()
    local task = co.spawn(function()
      co.sleep(0.001)
      return 1, nil, 3, nil
    end)
    assert.same({n = 4, 1, nil, 3, nil}, table.pack(task:join()))
    assert.equal("done", task:status())
  end)

  tells("returns them again, to each one", function()
    local task = co.spawn(function()
      co.sleep(0.001)
      return "data"
    end)
    local got = {}
    local list = {}
    for i = 1, 3 do
      list[i] = co.spawn(function() got[i] = task:join() end)
    end
    for i = 1, 3 do list[i]:join() end
    assert.same({"data", "data", "data"}, got)
    assert.equal("data", task:join())
  end)

  tells("wakes those that wait in their order", function()
    local log, list = {}, {}
    local task = co.spawn(co.sleep, 0.002)
    for i = 1, 4 do
      list[i] = co.spawn(function()
        task:join()
        log[#log + 1] = i
      end)
    end
    for i = 1, 4 do list[i]:join() end
    table.sort(log)
    assert.same({1, 2, 3, 4}, log)
  end)

  tells("returns nothing where nothing is returned", function()
    assert.equal(0, select("#", co.spawn(function() end):join()))
    assert.same({n = 1}, table.pack(co.spawn(function() return nil end)
                                      :join()))
    assert.same({n = 2, false}, table.pack(co.spawn(function()
      return false, nil
    end):join()))
  end)

  tells("raises the error of the task", function()
    local task = co.spawn(function()
      co.sleep(0.001)
      error "oh no"
    end)
    assert.matches(HERE .. "%d+: oh no", message(task.join, task))
    local object = {}
    task = co.spawn(error, object)
    assert.equal(object, message(task.join, task))
    assert.equal(object, message(task.join, task))
  end)

  tells("raises it for each one, and nobody else hears of it", function()
    local object, n = {}, 0
    local task = co.spawn(function()
      co.sleep(0.001)
      error(object)
    end)
    local list = {}
    for i = 1, 3 do
      list[i] = co.spawn(function()
        if message(task.join, task) == object then n = n + 1 end
      end)
    end
    for i = 1, 3 do list[i]:join() end
    assert.equal(3, n)
    collectgarbage() collectgarbage()
  end)

  tells("raises it late, as long as the task is kept", function()
    local object = {}
    local task = co.spawn(error, object)
    co.sleep(0.005)
    assert.equal(object, message(task.join, task))
  end)

  tells("returns nil and 'cancelled' for one that was", function()
    local task = co.spawn(forever)
    co.spawn(function()
      co.sleep(0.001)
      task:cancel()
    end)
    local result, text = task:join()
    assert.is_nil(result)
    assert.equal("cancelled", text)
    assert.equal("cancelled", select(2, task:join()))
  end)

  tells("returns nil and 'timeout' after a time; the task goes on", function()
    local gate = co.condition()
    local task = co.spawn(gate.wait, gate)
    fails("timeout", task:join(0.001))
    fails("timeout", task:join(0))
    assert.equal("waiting", task:status())
    gate:signal(1, "data")
    assert.equal("data", task:join(5))
  end)

  tells("is needless for a task that it has given up", function()
    local gate = co.condition()
    local task = co.spawn(gate.wait, gate)
    for _ = 1, 20 do fails("timeout", task:join(0)) end
    local other = co.spawn(task.join, task)
    co.sleep(0)
    other:cancel()
    fails("cancelled", other:join())
    gate:signal(1, "data")
    assert.equal("data", task:join())
  end)

  it("leaves an error to others when it is over before", function()
    local object = {}
    local ok, err = try(function()
      local gate = co.condition()
      co.spawn(function()
        local task = co.spawn(function() error(gate:wait()) end)
        fails("timeout", task:join(0.001))
      end):join()
      gate:signal(1, object)
      forever()
    end)
    assert.is_false(ok)
    assert.equal(object, err)
  end)

  tells("raises for the task itself", function()
    t.raises("join", co.current().join, co.current())
  end)

  it("waits in tasks only, but tells of an end anywhere", function()
    local base = t.base()
    local task = co.spawn(base, function()
      co.sleep(0.001)
      return "data"
    end)
    local failed = co.spawn(base, error, {})
    t.raises("task:join", task.join, task)
    base:dispatch()
    assert.equal("data", task:join())
    assert.equal("data", task:join(1))
    assert.is_false(pcall(failed.join, failed))
    base:close()
  end)

  tells("checks its arguments", function()
    local task = co.spawn(co.sleep, 0)
    for _, value in ipairs {-1, 0/0, "x", {}} do
      tasks.misuse("bad argument #1 to 'join'", task, "join", value)
    end
  end)
end)

describe("An error in a task", function()
  before_each(t.start)
  after_each(t.finish)

  it("that nobody can join goes where errors of callbacks go", function()
    local base = t.base()
    co.spawn(base, function()
      co.sleep(0.001)
      error "oh no"
    end)
    local n = 0
    base:timer(function(timer)
      n = n + 1
      if n < 100 then timer:add(0.005) end
    end):add(0)
    local ok, text = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.matches(HERE .. "%d+: oh no\nstack traceback:", text)
    assert.is_true(n < 100)
    base:close()
  end)

  it("is told to the error callback, and the others go on", function()
    local base = t.base()
    local list = tasks.errors(base)
    local object = {}
    local done
    for _ = 1, 3 do co.spawn(base, error, object) end
    co.spawn(base, function()
      while #list < 3 do co.sleep(0.001) end
      done = true
    end)
    t.runtill(base, function() return done end)
    assert.same({object, object, object}, list)
    assert.equal(object, list[3])
    base:close()
  end)

  it("leaves a loop that can be entered again", function()
    local base = t.base()
    local done
    co.spawn(base, error, {})
    co.spawn(base, function()
      for _ = 1, 40 do co.sleep(0.002) end
      done = true
    end)
    assert.is_false(pcall(base.dispatch, base))
    assert.is_nil(done)
    base:dispatch()
    assert.is_true(done)
    base:close()
  end)

  it("is told once", function()
    local base = t.base()
    local list = tasks.errors(base)
    co.spawn(base, error, {})
    co.run(base, function()
      while #list < 1 do co.sleep(0.001) end
      for _ = 1, 5 do
        collectgarbage()
        co.sleep(0.001)
      end
    end)
    assert.equal(1, #list)
    base:close()
  end)

  it("is told to nobody who hears of its base no more", function()
    local base = t.base()
    local kept = {co.spawn(base, error, {})}
    base:loop "nonblock"
    assert.equal("failed", kept[1]:status())
    base:close()
    kept[1] = nil
    collectgarbage() collectgarbage()
  end)

  it("closes its variables first, with the error", function()
    local seen, object = nil, {}
    play(function()
      local task = co.spawn(function()
        local _ <close> = setmetatable({}, {__close = function(_, err)
          seen = err
        end})
        co.sleep(0)
        error(object)
      end)
      assert.equal(object, message(task.join, task))
    end)
    assert.equal(object, seen)
  end)

  tells("of closing a variable takes its place", function()
    local task = co.spawn(function()
      local _ <close> = setmetatable({}, {__close = function()
        error("of closing", 0)
      end})
      error("the first", 0)
    end)
    assert.matches("^of closing", message(task.join, task))
    assert.equal("failed", task:status())
  end)

  tells("may be of any value", function()
    for _, value in ipairs {false, 0/0, print, co} do
      local task = co.spawn(error, value)
      local ok, err = pcall(task.join, task)
      assert.is_false(ok)
      assert.is_true(value ~= value and err ~= err or rawequal(value, err))
    end
    local task = co.spawn(error)
    local ok, err = pcall(task.join, task)
    assert.is_false(ok)
    assert.is_nil(err)
  end)

  tells("may be of too deep a recursion", function()
    local task = co.spawn(function()
      local function f() return 1 + f() end
      return f()
    end)
    t.raises("stack overflow", task.join, task)
  end)

  tells("that is caught in it is none", function()
    assert.equal("caught", co.spawn(function()
      local ok = pcall(function()
        co.sleep(0.001)
        error "oh no"
      end)
      co.sleep(0.001)
      return not ok and "caught"
    end):join())
  end)
end)

describe("task:cancel", function()
  before_each(t.start)
  after_each(t.finish)

  tells("ends one that has not begun", function()
    local task = co.spawn(t.never())
    assert.equal(task, task:cancel())
    assert.equal("cancelled", task:status())
    assert.equal("cancelled", select(2, task:join()))
  end)

  tells("raises where the task waits, and closes its variables", function()
    local log = {}
    local task = co.spawn(function()
      local _ <close> = closes(log, "outer")
      do
        local _ <close> = closes(log, "inner")
        forever()
      end
      log[#log + 1] = "never"
    end)
    co.sleep(0)
    task:cancel()
    assert.equal("cancelled", select(2, task:join()))
    assert.same({"inner", "outer"}, log)
  end)

  tells("leaves nothing of the wait in the loop", function()
    local base = co.base()
    local before = base:num_events()
    local task = co.spawn(co.sleep, 1000)
    co.sleep(0.001)
    task:cancel()
    task:join()
    co.sleep(0.001)
    assert.is_true(base:num_events() <= before)
  end)

  tells("raises again in each wait to come", function()
    local n = 0
    local task = co.spawn(function()
      for _ = 1, 5 do
        if not pcall(co.sleep, 1) then n = n + 1 end
      end
    end)
    co.sleep(0)
    task:cancel()
    task:join()
    assert.equal(5, n)
  end)

  tells("does not stop others, whatever the task makes of it", function()
    local stubborn = co.spawn(function()
      local over
      while not over do
        pcall(co.sleep, 0)
        over = co.current():name() == "over"
      end
    end)
    co.sleep(0)
    stubborn:cancel()
    for _ = 1, 5 do co.sleep(0.001) end
    stubborn:set_name "over"
    stubborn:join()
  end)

  tells("lets a task end as it chooses, if it does not wait", function()
    local task = co.spawn(function()
      pcall(co.sleep, 1000)
      return "in spite of it"
    end)
    co.sleep(0)
    task:cancel()
    assert.equal("in spite of it", task:join())
    assert.equal("done", task:status())
  end)

  tells("tells of an error that comes of it", function()
    local task = co.spawn(function()
      local _ <close> = setmetatable({}, {__close = function()
        error("oh no", 0)
      end})
      forever()
    end)
    co.sleep(0)
    task:cancel()
    assert.matches("^oh no", message(task.join, task))
    assert.equal("failed", task:status())
  end)

  tells("ends the task itself at once", function()
    local log = {}
    local task = co.spawn(function()
      local _ <close> = closes(log, "closed")
      co.current():cancel()
      log[#log + 1] = "never"
    end)
    assert.equal("cancelled", select(2, task:join()))
    assert.same({"closed"}, log)
  end)

  it("of the first task ends co.run with nil and 'cancelled'", function()
    local ok, result, text = try(function()
      local me = co.current()
      co.spawn(function() me:cancel() end)
      forever()
    end)
    assert.is_true(ok)
    assert.is_nil(result)
    assert.equal("cancelled", text)
  end)

  tells("does nothing to one that has ended", function()
    local task = co.spawn(function() return 1 end)
    task:join()
    assert.equal(task, task:cancel():cancel())
    assert.equal("done", task:status())
    assert.equal(1, task:join())
    local failed = co.spawn(error, {})
    pcall(failed.join, failed)
    assert.equal("failed", failed:cancel():status())
  end)

  tells("may be called twice", function()
    local task = co.spawn(forever)
    co.sleep(0)
    task:cancel():cancel()
    co.sleep(0)
    task:cancel()
    assert.equal("cancelled", select(2, task:join()))
  end)

  tells("wakes those that join the task", function()
    local task = co.spawn(forever)
    local joiner = co.spawn(function() return task:join() end)
    co.sleep(0)
    task:cancel()
    assert.same({nil, "cancelled"}, {joiner:join()})
  end)

  tells("of one that joins leaves the other alone", function()
    local gate = co.condition()
    local task = co.spawn(gate.wait, gate)
    local joiner = co.spawn(task.join, task)
    co.sleep(0)
    joiner:cancel()
    fails("cancelled", joiner:join())
    gate:signal(1, "data")
    assert.equal("data", task:join())
  end)

  tells("of several that join takes each of them out", function()
    for skip = 1, 3 do
      local gate = co.condition()
      local task = co.spawn(gate.wait, gate)
      local list = {}
      for i = 1, 3 do list[i] = co.spawn(function() return task:join() end) end
      co.sleep(0)
      list[skip]:cancel()
      gate:signal()
      for i = 1, 3 do
        assert.equal(i == skip and "cancelled" or nil,
                     (select(2, list[i]:join())))
      end
    end
  end)

  tells("may come just as the wait is over", function()
    local task = co.spawn(function()
      co.sleep(0.001)
      return "data"
    end)
    local channel = co.channel()
    local getter = co.spawn(function()
      local value = channel:get()
      channel:put(value)
    end)
    co.sleep(0)
    channel:put "x"
    getter:cancel()                     -- it has the value already
    task:join()
    task:cancel()
    assert.equal("cancelled", select(2, getter:join()))
  end)

  it("is what a variable of a task does at its end", function()
    local kept
    play(function()
      do
        local task <close> = co.spawn(forever)
        co.sleep(0)
        kept = task
      end
      co.sleep(0)
      assert.equal("cancelled", kept:status())
    end)
    local ok, text = try(function()
      local task <close> = co.spawn(forever)
      kept = task
      co.sleep(0)
      error "oh no"
    end)
    assert.is_false(ok)
    assert.matches("oh no", text, 1, true)
    assert.equal("cancelled", kept:status())
  end)

  tells("goes down from task to task", function()
    local log = {}
    local outer = co.spawn(function()
      local _ <close> = closes(log, "outer")
      local inner <close> = co.spawn(function()
        local _ <close> = closes(log, "inner")
        forever()
      end)
      inner:join()
    end)
    co.sleep(0)
    outer:cancel()
    outer:join()
    co.sleep(0)
    table.sort(log)
    assert.same({"inner", "outer"}, log)
  end)

  it("may come from a plain callback", function()
    local base = t.base()
    local log = {}
    local task = co.spawn(base, function()
      local _ <close> = closes(log, "closed")
      forever()
    end)
    base:timer(function() task:cancel() end):add(0.001)
    base:dispatch()
    assert.same({"closed"}, log)
    assert.equal("cancelled", task:status())
    base:close()
  end)

  it("may come while no loop runs", function()
    local base = t.base()
    local log = {}
    local task = co.spawn(base, function()
      local _ <close> = closes(log, "closed")
      forever()
    end)
    t.turns(base, 2)
    task:cancel()
    t.turns(base, 2)
    assert.same({"closed"}, log)
    base:close()
  end)
end)

