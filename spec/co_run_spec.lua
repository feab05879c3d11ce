-- libevent.co: co.run, from its function to the last of the tasks.
local co = require "libevent.co"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local closes, forever, line = tasks.closes, tasks.forever, tasks.line
local play, tells = tasks.play, tasks.tells(it)
local try, turns = tasks.try, tasks.turns

local HERE = "co_run_spec.lua:"

describe("co.run", function()
  before_each(t.start)
  after_each(t.finish)

  it("calls a function in a task, and returns what it returns", function()
    local results = table.pack(co.run(function(...)
      assert.truthy(co.current())
      return select("#", ...), nil, ...
    end, 1, nil, 3, nil))
    assert.same({n = 6, 4, nil, 1, nil, 3, nil}, results)
    assert.equal(0, select("#", co.run(function() end)))
  end)

  it("returns when all tasks have ended", function()
    local log = {}
    assert.equal("first", play(function()
      co.spawn(function()
        co.sleep(0.003)
        co.spawn(function() log[#log + 1] = "third" end)
        log[#log + 1] = "second"
      end)
      return "first"
    end))
    assert.same({"second", "third"}, log)
  end)

  it("makes a base of its own, and closes it", function()
    local base
    co.run(function() base = co.base() end)
    assert.is_true(t.isclosed(base))
    assert.is_false(pcall(co.run, function()
      base = co.base()
      error "oh no"
    end))
    assert.is_true(t.isclosed(base))
  end)

  it("leaves a base open that it is given", function()
    local base = t.base()
    for i = 1, 3 do
      assert.equal(i, co.run(base, function(n)
        assert.equal(base, co.base())
        co.sleep(0)
        return n
      end, i))
    end
    assert.equal(0, base:num_events())
    base:close()
  end)

  it("runs a base's plain callbacks, and ends when they have", function()
    local base = t.base()
    local n = 0
    base:timer(function(timer)
      n = n + 1
      if n < 3 then timer:add(0) end
    end):add(0)
    assert.equal("done", co.run(base, function() return "done" end))
    assert.equal(3, n)
    base:close()
  end)

  it("raises an error with the traceback of the task", function()
    local function innermost() error "oh no" end
    local function outer()
      co.sleep(0)
      innermost()
      return 1
    end
    local ok, text = try(function()
      outer()
      return 1
    end)
    assert.is_false(ok)
    assert.matches("^[^\n]*" .. HERE .. "%d+: oh no\n", text)
    assert.matches("stack traceback:", text, 1, true)
    assert.matches("innermost", text, 1, true)
    assert.matches("outer", text, 1, true)
    assert.is_nil(text:find("stack traceback:.*stack traceback:"))
  end)

  it("raises it at once when another task waits for both of them", function()
    local base = tasks.base()
    local ended = false
    local ok, err = pcall(co.run, base, function()
      local me = co.current()
      co.spawn(function() co.select {me} end)
      co.spawn(function()
        co.sleep(0.2)
        ended = true
      end)
      co.sleep(0.001)
      error "oh no"
    end)
    base:close()
    assert.is_false(ok)
    assert.matches("oh no", err, 1, true)
    assert.is_false(ended)
  end)

  it("raises objects as they are", function()
    local object = setmetatable({}, {__tostring = function() return "x" end})
    for _, value in ipairs {object, {}, 42, true, print} do
      local ok, err = try(function()
        co.sleep(0)
        error(value)
      end)
      assert.is_false(ok)
      assert.is_true(rawequal(value, err))
    end
    local ok, err = try(function() error() end)
    assert.is_false(ok)
    assert.is_nil(err)
  end)

  it("raises the error of a task that nobody joins", function()
    local object = {}
    for _, value in ipairs {object, "oh no"} do
      local ok, err = try(function()
        co.spawn(function()
          co.sleep(0)
          error(value, 0)
        end)
        forever()
      end)
      assert.is_false(ok)
      if value == object then
        assert.equal(object, err)
      else
        assert.matches("^oh no\nstack traceback:", err)
      end
    end
  end)

  it("raises the error of a task whose function has ended already", function()
    local object = {}
    local ok, err = try(function()
      co.spawn(function()
        co.sleep(0.002)
        error(object)
      end)
      return "done"
    end)
    assert.is_false(ok)
    assert.equal(object, err)
  end)

  it("raises it when the loop ends, if somebody could have joined", function()
    local object, kept = {}, nil
    local ok, err = try(function()
      kept = co.spawn(function() error(object) end)
      co.sleep(0.002)
      return "done"
    end)
    assert.is_false(ok)
    assert.equal(object, err)
    assert.equal("failed", kept:status())
  end)

  it("cancels all other tasks after an error", function()
    local log, kept = {}, {}
    local ok, text = try(function()
      local _ <close> = closes(log, "main")
      for i = 1, 3 do
        kept[i] = co.spawn(function()
          local _ <close> = closes(log, i)
          if i == 2 then co.sleep(50) else forever() end
        end)
      end
      co.spawn(function()
        turns()
        error "oh no"
      end)
      forever()
    end)
    assert.is_false(ok)
    assert.matches("oh no", text, 1, true)
    table.sort(log, function(a, b) return tostring(a) < tostring(b) end)
    assert.same({1, 2, 3, "main"}, log)
    for i = 1, 3 do assert.equal("cancelled", kept[i]:status()) end
  end)

  it("cancels all other tasks after an error of its function", function()
    local log = {}
    local ok, text = try(function()
      co.spawn(function()
        local _ <close> = closes(log, "closed")
        forever()
      end)
      turns()
      error "oh no"
    end)
    assert.is_false(ok)
    assert.matches("oh no", text, 1, true)
    assert.same({"closed"}, log)
  end)

  it("raises an error of a plain callback, and cancels all tasks", function()
    local log = {}
    local base = tasks.base()
    base:timer(function() error "oh no" end):add(0.002)
    local ok, text = pcall(co.run, base, function()
      local _ <close> = closes(log, "closed")
      forever()
    end)
    assert.is_false(ok)
    assert.matches("oh no", text, 1, true)
    assert.same({"closed"}, log)
    base:close()
  end)

  it("gives errors to the error callback of a base, and goes on", function()
    local base = tasks.base()
    local list = tasks.errors(base)
    assert.equal("done", co.run(base, function()
      for i = 1, 2 do
        co.spawn(function()
          co.sleep(0)
          error("no " .. i, 0)
        end)
      end
      while #list < 2 do co.sleep(0.001) end
      return "done"
    end))
    table.sort(list)
    assert.matches("^no 1\n", list[1])
    assert.matches("^no 2\n", list[2])
    base:set_error_cb()
    base:close()
  end)

  it("needs a function", function()
    t.raises("bad argument #1 to 'run' (function expected", co.run)
    t.raises("bad argument #1 to 'run' (function expected", co.run, 1)
    local base = t.base()
    t.raises("bad argument #2 to 'run' (function expected", co.run, base)
    base:close()
    t.raises("Base is closed", co.run, base, print)
  end)

  tells("raises in a task, which has a loop already", function()
    t.raises("co.run", co.run, print)
    local other = t.base()
    t.raises("co.run", co.run, other, print)
    other:close()
  end)

  it("raises in a callback of the same base, and begins nothing", function()
    local base = t.base()
    local begun = t.never()
    base:timer(t.expect(function()
      assert.is_false(pcall(co.run, base, begun))
    end)):add(0)
    base:dispatch()
    t.turns(base, 3)
    base:close()
  end)

  it("may run another base in a plain callback", function()
    local base = t.base()
    local got
    base:timer(function()
      got = co.run(function()
        co.sleep(0.001)
        return "inner"
      end)
    end):add(0)
    base:dispatch()
    assert.equal("inner", got)
    base:close()
  end)

  it("may be called again and again", function()
    for i = 1, 20 do
      assert.equal(i, co.run(function()
        return co.spawn(function() return i end):join()
      end))
    end
  end)
end)

describe("co.run when base:loopexit() has ended the loop", function()
  before_each(t.start)
  after_each(t.finish)

  it("returns nil and 'stopped', and cancels all tasks", function()
    local log, other = {}, nil
    local ok, result, text = try(function()
      local _ <close> = closes(log, "main")
      other = co.spawn(function()
        local _ <close> = closes(log, "other")
        forever()
      end)
      co.sleep(0.001)
      co.base():loopexit()
      forever()
    end)
    assert.is_true(ok)
    assert.is_nil(result)
    assert.equal("stopped", text)
    table.sort(log)
    assert.same({"main", "other"}, log)
    assert.equal("cancelled", other:status())
  end)

  it("returns what its function has returned", function()
    local ok, result, other = try(function()
      co.spawn(function()
        co.sleep(0.001)
        co.base():loopexit()
        forever()
      end)
      return "one", 2
    end)
    assert.is_true(ok)
    assert.equal("one", result)
    assert.equal(2, other)
  end)

  it("returns also where it was stopped by a plain callback", function()
    local base = t.base()
    base:timer(function() base:loopexit() end):add(0.001)
    local result, text = co.run(base, forever)
    assert.is_nil(result)
    assert.equal("stopped", text)
    assert.equal(7, co.run(base, function() return 7 end))
    base:close()
  end)

  it("runs what cancelled tasks still do without waiting", function()
    local log = {}
    try(function()
      co.spawn(function()
        local ok = pcall(co.sleep, 50)
        log[#log + 1] = tostring(ok)
        ok = pcall(co.sleep, 50)
        log[#log + 1] = tostring(ok)
      end)
      turns()
      co.base():loopexit()
    end)
    assert.same({"false", "false"}, log)
  end)
end)

describe("co.run when tasks wait for what never comes", function()
  before_each(t.start)
  after_each(t.finish)

  it("says where its function waits", function()
    local at
    local ok, text = pcall(co.run, function()
      at = line() + 1
      co.channel():get()
    end)
    assert.is_false(ok)
    assert.matches(HERE .. at, text, 1, true)
  end)

  it("names each task, and where it waits", function()
    local at = {}
    local ok, text = pcall(co.run, function()
      co.spawn(function()
        at[1] = line() + 1
        co.channel():get()
      end):set_name "the one"
      co.spawn(function()
        at[2] = line() + 1
        co.semaphore(0):acquire()
      end):set_name "the other"
      return "done"
    end)
    assert.is_false(ok)
    assert.matches("the one", text, 1, true)
    assert.matches("the other", text, 1, true)
    assert.matches(HERE .. at[1], text, 1, true)
    assert.matches(HERE .. at[2], text, 1, true)
  end)

  it("does not name those that have ended", function()
    local ok, text = pcall(co.run, function()
      co.spawn(function() co.sleep(0.001) end):set_name "the ended"
      co.spawn(forever):set_name "the waiting"
    end)
    assert.is_false(ok)
    assert.matches("the waiting", text, 1, true)
    assert.is_nil(text:find("the ended", 1, true))
  end)

  it("cancels them", function()
    local log, task = {}, nil
    assert.is_false(pcall(co.run, function()
      task = co.spawn(function()
        local _ <close> = closes(log, "closed")
        forever()
      end)
    end))
    assert.same({"closed"}, log)
    assert.equal("cancelled", task:status())
  end)

  it("tells of an error rather than of those", function()
    local object = {}
    local ok, err = pcall(co.run, function()
      co.spawn(forever)
      error(object)
    end)
    assert.is_false(ok)
    assert.equal(object, err)
  end)

  it("tells of tasks that wait for each other", function()
    local ok, text = pcall(co.run, function()
      local one, two
      one = co.spawn(function() two:join() end):set_name "one of both"
      two = co.spawn(function() one:join() end):set_name "two of both"
    end)
    assert.is_false(ok)
    assert.matches("one of both", text, 1, true)
    assert.matches("two of both", text, 1, true)
  end)
end)

