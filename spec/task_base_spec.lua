-- libevent.co: tasks beside plain callbacks, other bases, and each other.
local co = require "libevent.co"
local libevent = require "libevent"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local forever, play = tasks.forever, tasks.play

describe("Tasks and plain callbacks on a base", function()
  before_each(t.start)
  after_each(t.finish)

  it("take turns", function()
    local base = t.base()
    local n, m = 0, 0
    base:timer(function(timer)
      n = n + 1
      if n < 5 then timer:add(0.001) end
    end):add(0.001)
    co.spawn(base, function()
      while n < 5 do
        m = m + 1
        co.sleep(0.0005)
      end
    end)
    base:dispatch()
    assert.is_true(m > 3)
    base:close()
  end)

  it("hand each other values", function()
    local base = t.base()
    local channel = co.channel(1)
    local timer = base:timer(function() channel:put "data" end):add(0.001)
    local task = co.spawn(base, function() return channel:get() end)
    base:dispatch()
    assert.equal("data", task:join())
    timer:close()
    base:close()
  end)

  it("run in base:loop 'nonblock', too", function()
    local base = t.base()
    local n = 0
    co.spawn(base, function()
      for _ = 1, 3 do
        n = n + 1
        co.sleep(0)
      end
    end)
    t.turns(base, 10)
    assert.equal(3, n)
    assert.equal(0, base:num_events())
    base:close()
  end)

  it("let dispatch return when all have ended", function()
    local base = t.base()
    co.spawn(base, co.sleep, 0.002)
    base:timer(function() end):add(0.001)
    base:dispatch()
    assert.equal(0, base:num_events())
    assert.same({}, co.tasks(base))
    base:close()
  end)

  it("let dispatch return when the rest waits for each other", function()
    local base = t.base()
    local task = co.spawn(base, forever)
    base:dispatch()
    assert.equal("waiting", task:status())
    assert.same({task}, co.tasks(base))
    task:cancel()
    base:dispatch()
    assert.same({}, co.tasks(base))
    base:close()
  end)

  it("go on after loopbreak", function()
    local base = t.base()
    local n = 0
    local task = co.spawn(base, function()
      for _ = 1, 6 do
        n = n + 1
        if n % 2 == 0 then base:loopbreak() end
        co.sleep(0)
      end
      return n
    end)
    for _ = 1, 4 do base:dispatch() end
    assert.equal(6, task:join())
    base:close()
  end)

  it("close the base under themselves", function()
    local base = t.base()
    local reached
    co.spawn(base, function()
      base:close()
      reached = true
    end)
    base:dispatch()
    assert.is_true(reached)
    assert.is_true(t.isclosed(base))
  end)

  it("cannot wait on a base that is closed", function()
    local base = t.base()
    local ok
    co.spawn(base, function()
      base:close()
      ok = pcall(co.sleep, 0)
    end)
    base:dispatch()
    assert.is_false(ok)
  end)
end)

describe("Several bases", function()
  before_each(t.start)
  after_each(t.finish)

  it("have tasks of their own", function()
    local one, two = t.base(), t.base()
    local log = {}
    for _, base in ipairs {one, two} do
      co.spawn(base, function()
        for _ = 1, 3 do
          log[#log + 1] = co.base() == one and 1 or 2
          co.sleep(0)
          assert.equal(base, co.base())
        end
      end)
    end
    t.turns(one, 10)
    assert.same({1, 1, 1}, log)
    t.turns(two, 10)
    assert.same({1, 1, 1, 2, 2, 2}, log)
    one:close()
    two:close()
  end)

  it("may run in tasks of another one", function()
    local inner = t.base()
    play(function()
      local me = co.current()
      local task = co.spawn(inner, function()
        co.sleep(0.001)
        assert.equal(inner, co.base())
        return "inner"
      end)
      inner:dispatch()
      assert.equal(me, co.current())
      assert.equal("inner", task:join())
      co.sleep(0.001)
      assert.are_not.equal(inner, co.base())
    end)
    inner:close()
  end)

  it("hand values to each other", function()
    local one, two = t.base(), t.base()
    local channel = co.channel()
    local task = co.spawn(one, function() return channel:get() end)
    t.turns(one, 2)
    co.spawn(two, function() channel:put "data" end)
    t.turns(two, 3)
    t.turns(one, 3)
    assert.equal("data", task:join())
    one:close()
    two:close()
  end)

  it("wake a task that joins one of another base", function()
    local one, two = t.base(), t.base()
    local inner = co.spawn(two, function()
      co.sleep(0)
      return "data"
    end)
    local outer = co.spawn(one, function() return inner:join() end)
    t.turns(one, 3)
    t.turns(two, 3)
    t.turns(one, 3)
    assert.equal("data", outer:join())
    one:close()
    two:close()
  end)

  it("need not outlive each other", function()
    local one, two = t.base(), t.base()
    local inner = co.spawn(two, forever)
    local outer = co.spawn(one, function() return inner:join() end)
    t.turns(one, 2)
    t.turns(two, 2)
    two:close()
    collectgarbage() collectgarbage()
    t.turns(one, 2)
    outer:cancel()
    t.turns(one, 2)
    assert.equal("cancelled", outer:status())
    one:close()
  end)
end)

describe("A task that never stops waking others", function()
  before_each(t.start)
  after_each(t.finish)

  -- Runs while there is I/O: a timer, a stream and a plain callback.
  local function served(begin)
    play(function()
      local over = false
      begin(function() return over end)
      local base = co.base()
      local ticked
      base:timer(function() ticked = true end):add(0.001)
      local a, b = tasks.ends()
      co.spawn(function()
        for text in b:lines() do b:write(text:upper(), "\n") end
        b:close()
      end)
      for i = 1, 3 do
        a:write("ping ", i, "\n")
        assert.equal("PING " .. i, a:read "l")
        co.sleep(0.001)
      end
      a:close()
      while not ticked do co.sleep(0.001) end
      over = true
    end)
  end

  it("leaves I/O its turn: two tasks and a channel", function()
    served(function(over)
      local channel = co.channel()
      co.spawn(function()
        while not over() do channel:put(1) end
        channel:close()
      end)
      co.spawn(function() for _ in channel:values() do end end)
    end)
  end)

  it("leaves I/O its turn: tasks that sleep for no time", function()
    served(function(over)
      for _ = 1, 3 do
        co.spawn(function() while not over() do co.sleep(0) end end)
      end
    end)
  end)

  it("leaves I/O its turn: each task makes the next one", function()
    served(function(over)
      local function again() if not over() then co.spawn(again) end end
      co.spawn(again)
    end)
  end)

  it("leaves I/O its turn: two conditions", function()
    served(function(over)
      local one, two = co.condition(), co.condition()
      co.spawn(function()
        while not over() do
          two:signal()
          one:wait(0.001)
        end
      end)
      co.spawn(function()
        while not over() do
          one:signal()
          two:wait(0.001)
        end
      end)
    end)
  end)

  it("leaves I/O its turn: callbacks that are called at once", function()
    served(function(over)
      co.spawn(function()
        while not over() do
          co.await(function(done) co.spawn(done) end)
        end
      end)
    end)
  end)

  it("leaves I/O its turn: a stream that always has data", function()
    served(function(over)
      local a, b = tasks.ends()
      co.spawn(function()
        local piece = ("x"):rep(30000)
        while not over() do a:write(piece) end
        a:close()
      end)
      co.spawn(function()
        while b:read(10) do end
        b:close()
      end)
    end)
  end)

  it("leaves others their turn: a task cancelled that goes on", function()
    served(function(over)
      local task = co.spawn(function()
        while not over() do pcall(co.sleep, 0) end
      end)
      co.sleep(0)
      task:cancel()
    end)
  end)
end)

-- What others may do to the coroutine of a task, or of co.wrap in it.
local misdeeds = {
  ["resumed"] = function(thread) coroutine.resume(thread, 1, 2, 3) end,
  ["resumed twice"] = function(thread)
    coroutine.resume(thread)
    coroutine.resume(thread)
  end,
  ["closed"] = function(thread) coroutine.close(thread) end,
  ["given a hook"] = function(thread)
    debug.sethook(thread, function() coroutine.yield() end, "l")
  end,
}

-- What it waits for, with a stream and a channel that tell it to go on.
local waits = {
  ["sleeps"] = function() co.sleep(0.002) end,
  ["reads"] = function(_, stream) stream:read() end,
  ["gets"] = function(channel) channel:get() end,
  ["joins"] = function() co.spawn(co.sleep, 0.002):join() end,
  ["has a deadline"] = function() co.deadline(0.002, co.sleep, 5) end,
  ["waits for a callback"] = function()
    co.await(function(done) co.base():timer(done):add(0.001) end)
  end,
  ["runs a generator"] = function()
    co.wrap(function() co.sleep(0.002) end)()
  end,
}

describe("A task's coroutine in other hands", function()
  before_each(t.start)
  after_each(t.finish)

  for name, wait in pairs(waits) do
    for deed, f in pairs(misdeeds) do
      it(("may harm its task, and no other: one that %s is %s"):format(name,
         deed), function()
        tasks.try(function()
          local channel = co.channel(1)
          local a, b = tasks.ends()
          local thread
          local other = co.spawn(function()
            co.sleep(0.003)
            return "data"
          end)
          local task = co.spawn(function()
            thread = coroutine.running()
            wait(channel, a)
          end)
          co.sleep(0)
          f(thread)
          channel:put(1)
          b:write "line\n"
          pcall(task.join, task, 0.01)
          assert.equal("data", other:join())
          pcall(task.cancel, task)
          a:close()
          b:close()
        end)
      end)
    end
  end
end)

describe("Tasks", function()
  before_each(t.start)
  after_each(t.finish)

  it("need no memory once they have ended", function()
    play(function()
      local function round()
        for _ = 1, 500 do co.spawn(co.sleep, 0):join() end
        collectgarbage() collectgarbage()
        return collectgarbage "count"
      end
      local before = round()
      for _ = 1, 3 do round() end
      assert.is_true(round() - before < 100)
    end)
  end)

  it("are collected with their base", function()
    local weak = setmetatable({}, {__mode = "k"})
    for _ = 1, 3 do
      local base = libevent.base()
      weak[base] = true
      weak[co.spawn(base, forever)] = true
      weak[co.spawn(base, co.sleep, 1000)] = true
      base:loop "nonblock"
    end
    collectgarbage() collectgarbage()
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
  end)
end)
