-- libevent.channel: what tasks hand to each other, and wait for together.
local co = require "libevent.co"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local fails, tells, turns = tasks.fails, tasks.tells(it), tasks.turns

-- A task that has begun to wait.
local function begun(f, ...)
  local task = co.spawn(f, ...)
  co.sleep(0)
  return task
end

-- Cancels a task that waits, which then has ended.
local function cancel(task)
  task:cancel()
  fails("cancelled", task:join())
end

local function putter(channel, value)
  return begun(channel.put, channel, value)
end

local function getter(channel) return begun(channel.get, channel) end

describe("A channel", function()
  before_each(t.start)
  after_each(t.finish)

  tells("hands values over in their order", function()
    for _, capacity in ipairs {0, 1, 2, 10, 1000} do
      local channel = co.channel(capacity)
      local task = co.spawn(function()
        for i = 1, 100 do assert(channel:put(i)) end
        channel:close()
      end)
      local n = 0
      for value in channel:values() do
        n = n + 1
        assert.equal(n, value)
      end
      assert.equal(100, n)
      task:join()
    end
  end)

  tells("hands over any value but nil", function()
    local channel = co.channel(10)
    local object = {}
    for _, value in ipairs {false, 0, "", object, print, co.current()} do
      assert.is_true(channel:put(value))
      assert.equal(value, (channel:get()))
      channel:put(value)
      local which, got = co.select {channel}
      assert.equal(channel, which)
      assert.equal(value, got)
    end
    tasks.misuse("bad argument #1 to 'put' (value expected, got nil)", channel,
                 "put", nil)
    tasks.misuse("bad argument #1 to 'put'", channel, "put")
  end)

  tells("without room waits for who gets", function()
    local channel = co.channel()
    local task = putter(channel, "data")
    assert.equal("waiting", task:status())
    assert.equal(0, channel:length())
    assert.equal("data", channel:get())
    assert.is_true(task:join())
  end)

  tells("without room gives to who waits already, at once", function()
    local channel = co.channel()
    local task = getter(channel)
    assert.is_true(channel:put "data")
    assert.equal("data", task:join())
  end)

  tells("has room for so many", function()
    local channel = co.channel(3)
    for i = 1, 3 do
      assert.is_true(channel:put(i))
      assert.equal(i, channel:length())
      assert.equal(i, #channel)
    end
    local task = putter(channel, 4)
    assert.equal("waiting", task:status())
    assert.equal(1, channel:get())
    assert.is_true(task:join())
    assert.equal(3, #channel)
    for i = 2, 4 do assert.equal(i, channel:get()) end
    assert.equal(0, #channel)
  end)

  tells("may have room for all", function()
    local channel = co.channel(math.huge)
    for i = 1, 10000 do channel:put(i) end
    for i = 1, 10000 do
      if channel:get() ~= i then error(i) end
    end
  end)

  tells("serves those that get in their order", function()
    local channel = co.channel()
    local list = {}
    for i = 1, 4 do list[i] = getter(channel) end
    for i = 1, 4 do channel:put(i) end
    for i = 1, 4 do assert.equal(i, list[i]:join()) end
  end)

  tells("serves those that put in their order", function()
    for _, capacity in ipairs {0, 1, 2} do
      local channel = co.channel(capacity)
      for i = 1, 5 do putter(channel, i) end
      for i = 1, 5 do assert.equal(i, channel:get()) end
      turns()
    end
  end)

  tells("serves one each, whoever comes later", function()
    local channel = co.channel()
    local first = getter(channel)
    channel:put "one"
    local second = co.spawn(channel.get, channel, 0.001)
    assert.equal("one", first:join())
    fails("timeout", second:join())
  end)

  tells("gives up after a time: what it then holds is unchanged", function()
    for _, capacity in ipairs {0, 1, 3} do
      local channel = co.channel(capacity)
      fails("timeout", channel:get(0.001))
      fails("timeout", channel:get(0))
      for i = 1, capacity do assert(channel:put(i, 0)) end
      fails("timeout", channel:put("late", 0.001))
      fails("timeout", channel:put("late", 0))
      assert.equal(capacity, #channel)
      for i = 1, capacity do assert.equal(i, channel:get()) end
      fails("timeout", channel:get(0))
    end
  end)

  tells("takes what is there though there is no time", function()
    local channel = co.channel(1)
    channel:put "data"
    assert.equal("data", channel:get(0))
    putter(channel, "a")
    local task = putter(channel, "b")
    assert.equal("a", channel:get(0))
    assert.equal("b", channel:get(0))
    task:join()
  end)

  tells("forgets who is cancelled while he gets", function()
    local channel = co.channel()
    local one, two, three = getter(channel), getter(channel), getter(channel)
    cancel(two)
    assert.is_true(channel:put(1, 0))
    assert.is_true(channel:put(3, 0))
    fails("timeout", channel:put(4, 0))
    assert.equal(1, one:join())
    assert.equal(3, three:join())
  end)

  tells("forgets who is cancelled while he puts, and his value", function()
    for _, capacity in ipairs {0, 1} do
      local channel = co.channel(capacity)
      for i = 1, capacity do channel:put(-i) end
      local one, two, three = putter(channel, 1), putter(channel, 2),
                              putter(channel, 3)
      cancel(two)
      for i = 1, capacity do assert.equal(-i, channel:get()) end
      assert.equal(1, channel:get())
      assert.equal(3, channel:get())
      fails("timeout", channel:get(0))
      one:join()
      three:join()
    end
  end)

  tells("forgets who had a deadline", function()
    local channel = co.channel()
    fails("timeout", co.deadline(0.001, channel.get, channel))
    fails("timeout", co.deadline(0.001, channel.put, channel, "late"))
    local task = getter(channel)
    channel:put "data"
    assert.equal("data", task:join())
  end)

  tells("does not lose a value whose getter is cancelled with it", function()
    local channel = co.channel(1)
    local got
    local task = begun(function()
      got = channel:get()
      channel:get()
    end)
    channel:put "data"
    task:cancel()
    fails("cancelled", task:join())
    assert.equal("data", got or channel:get(0))
  end)

  tells("serves many that give up, and those that do not", function()
    local channel = co.channel()
    local list = {}
    for i = 1, 200 do list[i] = co.spawn(channel.get, channel) end
    co.sleep(0)
    for i = 1, 200 do
      if i % 10 ~= 0 then list[i]:cancel() end
    end
    for i = 10, 200, 10 do assert(channel:put(i, 0)) end
    for i = 10, 200, 10 do assert.equal(i, list[i]:join()) end
    fails("timeout", channel:put(1, 0))
  end)

  tells("costs nothing for those that have given up", function()
    local channel = co.channel()
    local function round()
      for _ = 1, 2000 do channel:get(0) end
      collectgarbage() collectgarbage()
      return collectgarbage "count"
    end
    local before = round()
    assert.is_true(round() - before < 100)
  end)

  tells("works outside of tasks where nothing is waited for", function()
    local base = co.base()
    local channel = co.channel(1)
    local results = co.await(function(done)
      base:timer(function()
        done {channel:put "data", select("#", channel:get()),
              pcall(channel.get, channel)}
      end):add(0)
    end)
    assert.is_true(results[1])
    assert.equal(1, results[2])
    assert.is_false(results[3])
    assert.matches("channel:get", results[4], 1, true)
  end)

  tells("is checked", function()
    for _, value in ipairs {-1, 1.5, "x", {}, 0/0} do
      t.raises("bad argument #1 to 'channel'",
               function() co.channel(value) end)
    end
    local channel = co.channel()
    assert.is_false(pcall(channel.get, channel, -1))
    assert.is_false(pcall(channel.get, channel, "x"))
    assert.is_false(pcall(channel.put, channel, 1, -1))
    fails("timeout", channel:put(1, 0))
    fails("timeout", channel:get(0))
  end)
end)

describe("channel:close", function()
  before_each(t.start)
  after_each(t.finish)

  tells("wakes those that get with nil and 'closed'", function()
    local channel = co.channel(1)
    local one, two = getter(channel), getter(channel)
    assert.equal(channel, channel:close())
    fails("closed", one:join())
    fails("closed", two:join())
    fails("closed", channel:get())
    fails("closed", channel:get(0))
  end)

  tells("wakes those that put with nil and 'closed'", function()
    local channel = co.channel()
    local one, two = putter(channel, 1), putter(channel, 2)
    channel:close()
    fails("closed", one:join())
    fails("closed", two:join())
    fails("closed", channel:put(3))
    fails("closed", channel:get())
  end)

  tells("leaves what is in it to be got", function()
    local channel = co.channel(2)
    channel:put(1)
    channel:put(2)
    local task = putter(channel, 3)
    channel:close()
    fails("closed", task:join())
    assert.equal(1, channel:get())
    assert.equal(2, channel:get())
    fails("closed", channel:get())
  end)

  tells("ends loops over its values", function()
    local channel = co.channel()
    local task = co.spawn(function()
      local n = 0
      for _ in channel:values() do n = n + 1 end
      return n
    end)
    for i = 1, 3 do channel:put(i) end
    channel:close()
    assert.equal(3, task:join())
  end)

  tells("may come twice", function()
    local channel = co.channel()
    assert.equal(channel, channel:close():close())
  end)

  tells("is what a variable does at its end", function()
    local channel = co.channel()
    local task = getter(channel)
    do
      local _ <close> = channel
    end
    fails("closed", task:join())
  end)

  tells("makes it ready for select", function()
    local channel = co.channel()
    local task = begun(co.select, {channel})
    channel:close()
    local which, value, text = task:join()
    assert.equal(channel, which)
    assert.is_nil(value)
    assert.equal("closed", text)
  end)
end)

describe("A semaphore", function()
  before_each(t.start)
  after_each(t.finish)

  tells("lets in so many at a time", function()
    for _, places in ipairs {1, 2, 5} do
      local semaphore = co.semaphore(places)
      local inside, most = 0, 0
      local group = co.waitgroup()
      for _ = 1, 12 do
        group:add()
        co.spawn(function()
          assert.equal(semaphore, semaphore:acquire())
          inside = inside + 1
          most = math.max(most, inside)
          co.sleep(0.0005)
          inside = inside - 1
          assert.equal(semaphore, semaphore:release())
          group:done()
        end)
      end
      group:wait()
      assert.equal(places, most)
      assert.equal(0, inside)
    end
  end)

  tells("serves those that wait in their order", function()
    local semaphore = co.semaphore(1)
    semaphore:acquire()
    local log = {}
    for i = 1, 4 do
      begun(function()
        semaphore:acquire()
        log[#log + 1] = i
        semaphore:release()
      end)
    end
    semaphore:release()
    turns(10)
    assert.same({1, 2, 3, 4}, log)
  end)

  tells("is not overtaken by who comes later", function()
    local semaphore = co.semaphore(1)
    semaphore:acquire()
    local first = begun(semaphore.acquire, semaphore)
    semaphore:release()
    fails("timeout", semaphore:acquire(0))
    assert.equal(semaphore, first:join())
  end)

  tells("gives up after a time, and the place is not lost", function()
    local semaphore = co.semaphore(1)
    semaphore:acquire()
    fails("timeout", semaphore:acquire(0.001))
    fails("timeout", semaphore:acquire(0))
    fails("timeout", co.deadline(0.001, semaphore.acquire, semaphore))
    semaphore:release()
    assert.equal(semaphore, semaphore:acquire(0))
    fails("timeout", semaphore:acquire(0))
  end)

  tells("forgets who is cancelled while he waits", function()
    local semaphore = co.semaphore(0)
    local one, two = begun(semaphore.acquire, semaphore),
                     begun(semaphore.acquire, semaphore)
    cancel(one)
    semaphore:release()
    assert.equal(semaphore, two:join())
    fails("timeout", semaphore:acquire(0))
  end)

  tells("gives a place that is given back at the end of a variable", function()
    local semaphore = co.semaphore(1)
    do
      local _ <close> = semaphore:place()
      fails("timeout", semaphore:acquire(0))
    end
    pcall(function()
      local _ <close> = semaphore:place()
      error "oh no"
    end)
    local task = begun(function()
      local _ <close> = semaphore:place()
      co.sleep(5)
    end)
    cancel(task)
    assert.equal(semaphore, semaphore:acquire(0))
  end)

  tells("gives no place to who is cancelled before he has it", function()
    local semaphore = co.semaphore(1)
    semaphore:acquire()
    local task = begun(function()
      local _ <close> = semaphore:place()
    end)
    cancel(task)
    semaphore:release()
    assert.equal(semaphore, semaphore:acquire(0))
    fails("timeout", semaphore:acquire(0))
  end)

  tells("does not lose a place whose owner is cancelled with it", function()
    local semaphore = co.semaphore(0)
    local task = begun(function()
      local _ <close> = semaphore:place()
      co.sleep(5)
    end)
    semaphore:release()
    task:cancel()
    fails("cancelled", task:join())
    assert.equal(semaphore, semaphore:acquire(0))
  end)

  tells("may be released more often than acquired", function()
    local semaphore = co.semaphore(0)
    semaphore:release():release()
    semaphore:acquire(0)
    assert.equal(semaphore, semaphore:acquire(0))
    fails("timeout", semaphore:acquire(0))
  end)

  tells("is checked", function()
    for _, value in ipairs {-1, 1.5, "x", {}} do
      t.raises("bad argument #1 to 'semaphore'",
               function() co.semaphore(value) end)
    end
    assert.is_false(pcall(co.semaphore))
  end)
end)

describe("A condition", function()
  before_each(t.start)
  after_each(t.finish)

  tells("wakes one that waits, the first one", function()
    local condition = co.condition()
    local one, two = begun(condition.wait, condition),
                     begun(condition.wait, condition)
    assert.equal(1, condition:signal())
    assert.is_true(one:join())
    assert.equal("waiting", two:status())
    assert.equal(1, condition:signal())
    assert.is_true(two:join())
    assert.equal(0, condition:signal())
  end)

  tells("wakes so many, or all", function()
    local condition = co.condition()
    local list = {}
    for i = 1, 6 do list[i] = begun(condition.wait, condition) end
    assert.equal(2, condition:signal(2))
    assert.equal(4, condition:broadcast())
    for i = 1, 6 do assert.is_true(list[i]:join()) end
    assert.equal(0, condition:broadcast())
  end)

  tells("passes a value on", function()
    local condition = co.condition()
    local one, two = begun(condition.wait, condition),
                     begun(condition.wait, condition)
    condition:signal(1, "one")
    condition:broadcast "all"
    assert.equal("one", one:join())
    assert.equal("all", two:join())
  end)

  tells("does not keep a signal for later", function()
    local condition = co.condition()
    condition:signal()
    condition:broadcast()
    fails("timeout", condition:wait(0.001))
    fails("timeout", condition:wait(0))
  end)

  tells("wakes nobody twice", function()
    local condition = co.condition()
    local n = 0
    begun(function()
      while condition:wait(0.003) do n = n + 1 end
    end)
    assert.equal(1, condition:broadcast())
    assert.equal(0, condition:broadcast())
    co.sleep(0.005)
    assert.equal(1, n)
  end)

  tells("forgets who gives up, or is cancelled", function()
    local condition = co.condition()
    local one, two, three = begun(condition.wait, condition),
                            begun(condition.wait, condition, 0.001),
                            begun(condition.wait, condition)
    cancel(one)
    fails("timeout", two:join())
    fails("timeout", co.deadline(0, condition.wait, condition))
    assert.equal(1, condition:broadcast())
    assert.is_true(three:join())
  end)

  tells("may be signalled by plain callbacks", function()
    local condition = co.condition()
    co.base():timer(function() condition:signal() end):add(0.001)
    assert.is_true(condition:wait())
  end)
end)

describe("A wait group", function()
  before_each(t.start)
  after_each(t.finish)

  tells("waits until as many have ended as have begun", function()
    local group = co.waitgroup()
    local n = 0
    for i = 1, 5 do
      assert.equal(group, group:add())
      co.spawn(function()
        co.sleep(i * 0.0003)
        n = n + 1
        group:done()
      end)
    end
    assert.is_true(group:wait())
    assert.equal(5, n)
  end)

  tells("need not wait where nothing has begun", function()
    assert.is_true(co.waitgroup():wait())
    assert.is_true(co.waitgroup():add(2):done():done():wait(0))
  end)

  tells("wakes all that wait", function()
    local group = co.waitgroup():add(2)
    local one, two = begun(group.wait, group), begun(group.wait, group)
    group:done()
    turns()
    assert.equal("waiting", one:status())
    group:done()
    assert.is_true(one:join())
    assert.is_true(two:join())
  end)

  tells("gives up after a time, or when it is cancelled", function()
    local group = co.waitgroup():add()
    fails("timeout", group:wait(0.001))
    fails("timeout", co.deadline(0.001, group.wait, group))
    cancel(begun(group.wait, group))
    local task = begun(group.wait, group)
    group:done()
    assert.is_true(task:join())
  end)

  tells("may be used again", function()
    local group = co.waitgroup()
    for _ = 1, 3 do
      group:add(2)
      co.spawn(group.done, group)
      co.spawn(group.done, group)
      assert.is_true(group:wait())
    end
  end)

  tells("refuses more ends than beginnings", function()
    local group = co.waitgroup():add()
    group:done()
    assert.is_false(pcall(group.done, group))
    assert.is_true(group:wait(0))
  end)
end)

describe("co.select", function()
  before_each(t.start)
  after_each(t.finish)

  tells("returns a channel that has something, and that", function()
    local one, two = co.channel(1), co.channel(1)
    two:put "data"
    local which, value, text = co.select {one, two}
    assert.equal(two, which)
    assert.equal("data", value)
    assert.is_nil(text)
    assert.equal(0, #two)
  end)

  tells("waits for the first of them", function()
    local one, two = co.channel(), co.channel()
    local task = begun(co.select, {one, two})
    assert.equal("waiting", task:status())
    assert.is_true(two:put("data", 1))
    local which, value = task:join()
    assert.equal(two, which)
    assert.equal("data", value)
    fails("timeout", one:put("late", 0))
  end)

  tells("takes those that are ready in the order of the list", function()
    local one, two = co.channel(2), co.channel(2)
    for i = 1, 2 do
      one:put("one " .. i)
      two:put("two " .. i)
    end
    local log = {}
    for _ = 1, 4 do log[#log + 1] = select(2, co.select {two, one}) end
    assert.same({"two 1", "two 2", "one 1", "one 2"}, log)
  end)

  tells("takes from one channel only", function()
    local one, two = co.channel(1), co.channel(1)
    local task = begun(co.select, {one, two})
    one:put(1)
    two:put(2)
    local which, value = task:join()
    assert.equal(1, (which == one and #two or #one))
    assert.equal(which == one and 1 or 2, value)
    assert.equal(which == one and 2 or 1, (which == one and two or one):get(0))
  end)

  tells("takes from who waits to put", function()
    local one, two = co.channel(), co.channel()
    local task = putter(two, "data")
    local which, value = co.select {one, two}
    assert.equal(two, which)
    assert.equal("data", value)
    assert.is_true(task:join())
  end)

  tells("returns a task that has ended", function()
    local gate = co.condition()
    local one, two = co.spawn(gate.wait, gate), co.spawn(function()
      return "data"
    end)
    assert.equal(two, (co.select {one, two}))
    assert.equal("data", two:join())
    gate:signal()
    assert.equal(one, (co.select {one}))
    assert.equal(one, (co.select {one}))
  end)

  tells("returns a task that has failed or was cancelled, to be joined",
        function()
    local object = {}
    local failed = co.spawn(function()
      co.sleep(0.001)
      error(object)
    end)
    assert.equal(failed, (co.select {failed}))
    local ok, err = pcall(failed.join, failed)
    assert.is_false(ok)
    assert.equal(object, err)
    local cancelled = co.spawn(co.sleep, 5)
    co.spawn(function() cancelled:cancel() end)
    assert.equal(cancelled, (co.select {cancelled}))
    fails("cancelled", cancelled:join())
  end)

  tells("waits for tasks and channels together", function()
    local channel, gate = co.channel(), co.condition()
    local task = begun(gate.wait, gate)
    co.spawn(function()
      co.sleep(0.001)
      channel:put "data"
      co.sleep(0.001)
      gate:signal()
    end)
    local which, value = co.select {task, channel}
    assert.equal(channel, which)
    assert.equal("data", value)
    assert.equal(task, (co.select {task, channel}))
  end)

  tells("returns nil and 'timeout' after a time, and leaves nothing", function()
    local channel = co.channel()
    local task = co.spawn(co.sleep, 5)
    fails("timeout", co.select({channel, task}, 0.002))
    fails("timeout", co.select({channel, task}, 0))
    fails("timeout", co.deadline(0.002, co.select, {channel, task}))
    fails("timeout", channel:put("late", 0))
    local other = getter(channel)
    channel:put "data"
    assert.equal("data", other:join())
    task:cancel()
  end)

  tells("takes what is there though there is no time", function()
    local channel = co.channel(1)
    channel:put "data"
    assert.equal("data", select(2, co.select({channel}, 0)))
    local task = putter(channel, "x")
    assert.equal("x", select(2, co.select({channel}, 0)))
    task:join()
  end)

  tells("leaves nothing when it is cancelled", function()
    local channel = co.channel()
    local task = co.spawn(co.sleep, 5)
    local selector = begun(co.select, {channel, task})
    cancel(selector)
    fails("timeout", channel:put("late", 0))
    cancel(task)
  end)

  tells("may be done by several tasks at once: each value is one's", function()
    local channel, got = co.channel(), {}
    for i = 1, 3 do
      begun(function()
        while true do
          local which, value, text = co.select {channel}
          assert.equal(channel, which)
          if text == "closed" then return end
          got[#got + 1] = value
          if i == 2 then co.sleep(0) end
        end
      end)
    end
    for i = 1, 30 do channel:put(i) end
    channel:close()
    turns(5)
    table.sort(got)
    assert.equal(30, #got)
    for i = 1, 30 do assert.equal(i, got[i]) end
  end)

  tells("and channel:get may share a channel", function()
    local channel, got = co.channel(), {}
    begun(function()
      for value in channel:values() do got[#got + 1] = value end
    end)
    begun(function()
      while true do
        local _, value = co.select {channel}
        if not value then return end
        got[#got + 1] = value
      end
    end)
    for i = 1, 20 do channel:put(i) end
    channel:close()
    turns(5)
    assert.equal(20, #got)
  end)

  tells("is told of an end though it comes to all", function()
    local task = co.spawn(co.sleep, 0.002)
    local list = {}
    for i = 1, 3 do list[i] = co.spawn(co.select, {task}) end
    local joiner = co.spawn(task.join, task)
    for i = 1, 3 do assert.equal(task, (list[i]:join())) end
    joiner:join()
  end)

  tells("takes the same object twice", function()
    local channel = co.channel()
    local task = begun(co.select, {channel, channel})
    channel:put(1)
    assert.equal(channel, (task:join()))
    fails("timeout", channel:put(2, 0))
  end)

  tells("without any waits for its time", function()
    fails("timeout", co.select({}, 0.001))
  end)

  tells("does not keep what it has waited for", function()
    local weak = setmetatable({}, {__mode = "k"})
    co.spawn(function()
      local channel, task = co.channel(), co.spawn(co.sleep, 0.001)
      weak[channel] = true
      weak[task] = true
      co.select({channel, task}, 0)
      co.select {channel, task}
    end):join()
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
  end)

  tells("is checked", function()
    for _, value in ipairs {1, "x", true} do
      assert.is_false(pcall(co.select, value))
      assert.is_false(pcall(co.select, {value}))
    end
    assert.is_false(pcall(co.select))
    assert.is_false(pcall(co.select, {co.channel(), io.stdout}))
    assert.is_false(pcall(co.select, {co.channel()}, -1))
    assert.is_false(pcall(co.select, {co.semaphore(1)}))
  end)
end)
