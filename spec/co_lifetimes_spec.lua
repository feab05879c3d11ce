--- What may happen while a task waits, in every call that waits: nothing is
--- lost, left open or called again, and no task waits for what has gone.

local assert = require "luassert"
local co = require "libevent.co"
local t = require "spec.helper"
local tasks = require "spec.tasks"
local waits = require "spec.waits"

local closes, fails = tasks.closes, tasks.fails

-- Waits in a task that notes its end: c.log, c.results.
local function begin(c)
  c.log = {}
  c.task = co.spawn(c.base, function(wait, log)
    local _ <close> = closes(log, "closed")
    return wait()
  end, c.wait, c.log)
end

-- Turns of the loop until something is so.
local function till(base, f)
  t.runtill(base, function() return t.isclosed(base) or f() end)
end

-- Turns that let everything happen that can.
local function settle(base)
  t.turns(base, 6)
end

-- And those in which what has been closed sends the rest.
local function leave(base)
  for _ = 1, 200 do
    if base:num_events() == 0 then break end
    base:loop "nonblock"
  end
end

-- What a task waits for in this call: c, see spec/waits.lua.
local function prepare(make)
  local c = {base = t.base()}
  local made = co.spawn(c.base, make, c)
  till(c.base, function() return made:status() ~= "waiting" end)
  made:join()
  begin(c)
  settle(c.base)
  assert.equal("waiting", c.task:status())
  return c
end

-- Closes all that is left, and looks whether there was more.
local function over(c)
  local base = c.base
  if c.clean then c.clean() end
  if not t.isclosed(base) then
    settle(base)
    for _, task in ipairs(co.tasks(base)) do task:cancel() end
    settle(base)
    c.task = nil                        -- and a stream that it has returned
    collectgarbage() collectgarbage()
    leave(base)
    assert.same({}, co.tasks(base))
    if base:num_events() > 0 then       -- a look for streams that were dropped
      t.runtill(base, function() return base:num_events() <= 1 end)
    end
  end
  base:close()
end

local function ended(c)
  till(c.base, function() return c.task:status() ~= "waiting" end)
  assert.same({"closed"}, c.log)
end

-- It ends well.
local function finish(c)
  if not c.go then return end
  c.go()
  ended(c)
  local result = c.task:join()
  if type(c.got) == "function" then
    assert.truthy(c.got(result))
  else
    assert.equal(c.got, result)
  end
end

-- It can be waited for as if nobody had.
local function again(c)
  if c.final then return end
  begin(c)
  settle(c.base)
  assert.equal("waiting", c.task:status())
  finish(c)
end

-- Does it for every call that waits, and names the one that goes wrong.
local function each(f)
  for _, wait in ipairs(waits) do
    local ok, err = xpcall(f, debug.traceback, wait[2])
    if not ok then error(wait[1] .. ": " .. tostring(err), 0) end
  end
end

-- {==== One thing ====

local actions = {
  ["it ends well"] = function(c)
    finish(c)
    if c.go and not c.once then again(c) end
  end,

  ["it is cancelled"] = function(c)
    c.task:cancel()
    ended(c)
    fails("cancelled", c.task:join())
    again(c)
  end,

  ["it is cancelled in a plain callback"] = function(c)
    c.base:timer(function() c.task:cancel() end):add(0)
    ended(c)
    fails("cancelled", c.task:join())
    again(c)
  end,

  ["a deadline passes"] = function(c)
    if c.final then return end
    c.task:cancel()
    settle(c.base)
    local task = co.spawn(c.base, co.deadline, 0.002, c.wait)
    till(c.base, function() return task:status() ~= "waiting" end)
    fails("timeout", task:join())
    again(c)
  end,

  ["garbage is collected"] = function(c)
    for _ = 1, 3 do
      collectgarbage() collectgarbage()
      settle(c.base)
    end
    assert.equal("waiting", c.task:status())
    finish(c)
  end,

  ["every reference is dropped"] = function(c)
    local base = c.base
    local clean = not c.b and c.clean or nil
    for key in pairs(c) do c[key] = nil end
    c.base = base
    for _ = 1, 3 do
      collectgarbage() collectgarbage()
      settle(base)
    end
    c.clean = clean
  end,

  ["every reference is dropped, and the base is closed"] = function(c)
    local base = c.base
    local clean = not c.b and c.clean or nil
    for key in pairs(c) do c[key] = nil end
    c.base, c.clean = base, clean
    collectgarbage()
    base:close()
    collectgarbage() collectgarbage()
  end,

  ["the object is closed"] = function(c)
    if not c.close then return end
    c.close()
    c.close()
    ended(c)
    fails("closed", c.task:join())
    begin(c)
    settle(c.base)
    fails("closed", c.task:join())
  end,

  ["the object is closed in a plain callback"] = function(c)
    if not c.close then return end
    c.base:timer(c.close):add(0)
    ended(c)
    fails("closed", c.task:join())
  end,

  ["the object is closed by another task"] = function(c)
    if not c.close then return end
    co.spawn(c.base, c.close)
    ended(c)
    fails("closed", c.task:join())
  end,

  ["the base is closed"] = function(c)
    c.base:close()
    collectgarbage() collectgarbage()
    assert.is_string(c.task:status())
    assert.is_string(c.task:traceback())
    c.task:cancel()
    pcall(c.task.join, c.task)
    if c.close then c.close() end
  end,

  ["the base is closed in a plain callback"] = function(c)
    c.base:timer(function() c.base:close() end):add(0)
    c.base:loop "once"
    assert.is_true(t.isclosed(c.base))
  end,

  ["the base is closed by another task"] = function(c)
    local log = {}
    co.spawn(c.base, function()
      local _ <close> = closes(log, "other")
      c.base:close()
      log[1] = "still here"
    end)
    c.base:loop "once"
    assert.is_true(t.isclosed(c.base))
    assert.equal("still here", log[1])
  end,

  ["an error is raised elsewhere"] = function(c)
    c.base:timer(function() error "oh no" end):add(0)
    t.raises("oh no", c.base.dispatch, c.base)
    assert.equal("waiting", c.task:status())
    finish(c)
  end,

  ["another task fails"] = function(c)
    c.base:set_error_cb(t.expect(function(err) assert.equal(c, err) end))
    co.spawn(c.base, error, c)
    settle(c.base)
    collectgarbage() collectgarbage()
    settle(c.base)
    c.base:set_error_cb()
    assert.equal("waiting", c.task:status())
    finish(c)
  end,

  ["it is joined, and that is given up"] = function(c)
    local joiner = co.spawn(c.base, c.task.join, c.task)
    settle(c.base)
    joiner:cancel()
    settle(c.base)
    assert.equal("cancelled", joiner:status())
    finish(c)
  end,

  ["the loop ends, and begins again"] = function(c)
    c.base:loopexit()
    c.base:dispatch()
    c.base:timer(function() c.base:loopbreak() end):add(0)
    c.base:dispatch()
    assert.equal("waiting", c.task:status())
    finish(c)
  end,
}

describe("Every call that waits is safe:", function()
  before_each(t.start)
  after_each(t.finish)

  for name, action in pairs(actions) do
    it(name, function()
      each(function(make)
        local c = prepare(make)
        action(c)
        over(c)
      end)
    end)
  end
end)

-- ====}

-- {==== Two things at once ====

local deeds = {
  {"goes on", function(c) if c.go then c.go() end end},
  {"is cancelled", function(c) c.task:cancel() end},
  {"is closed", function(c) if c.close then c.close() end end},
  {"loses its base", function(c) c.base:close() end},
  {"is joined", function(c)
    if not t.isclosed(c.base) then
      co.spawn(c.base, function() pcall(c.task.join, c.task, 0) end)
    end
  end},
  {"sees garbage collected", function() collectgarbage() collectgarbage() end},
}

describe("A task that waits, in the same turn,", function()
  before_each(t.start)
  after_each(t.finish)

  for _, first in ipairs(deeds) do
    for _, second in ipairs(deeds) do
      it(("%s and %s"):format(first[1], second[1]), function()
        each(function(make)
          local c = prepare(make)
          pcall(first[2], c)
          pcall(second[2], c)
          settle(c.base)
          over(c)
        end)
      end)
    end
  end
end)

-- ====}

-- {==== Ends ====

describe("co.run, while its function waits, ends", function()
  before_each(t.start)
  after_each(t.finish)

  -- Runs a function that waits in this call, and another one; what co.run says.
  local function run(make, other)
    local c = {base = t.base(), log = {}}
    local results = table.pack(pcall(co.run, c.base, function()
      make(c)
      co.spawn(function()
        tasks.turns(5)
        other(c)
      end)
      local _ <close> = closes(c.log, "closed")
      return c.wait()
    end))
    assert.same({"closed"}, c.log)
    over(c)
    return table.unpack(results, 1, results.n)
  end

  it("by loopexit", function()
    each(function(make)
      local ok, result, text = run(make, function(c) c.base:loopexit() end)
      assert.is_true(ok)
      fails("stopped", result, text)
    end)
  end)

  it("by an error of another task", function()
    each(function(make)
      local ok, text = run(make, function() error "oh no" end)
      assert.is_false(ok)
      assert.matches("oh no", text, 1, true)
    end)
  end)

  it("by an error of a callback", function()
    each(function(make)
      local ok, text = run(make, function(c)
        c.base:timer(function() error "oh no" end):add(0)
      end)
      assert.is_false(ok)
      assert.matches("oh no", text, 1, true)
    end)
  end)
end)

-- ====}
