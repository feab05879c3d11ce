-- src/log.c, and who calls it: levL_tell of callback.c, the loop of base.c.
local libevent = require "libevent"
local t = require "spec.helper"

local NOMETHOD = "event_base_new_with_config: no event mechanism available"

--- Has libevent say so.
local function warn()
  assert(not libevent.base {avoid = libevent.methods()})
end

--- Has libevent say so when the loop of a base with "select" begins to wait.
local function spoil(base)
  local file = io.open "/dev/null"
  local event = base:event(file, "read", t.never()):add()
  file:close()
  return event
end

--- For code that runs elsewhere: the same, and a base.
local PROLOGUE = [[
  local libevent = require "libevent.core"
  local function warn() libevent.base {avoid = libevent.methods()} end
  local base = base or libevent.base()
]]

local function lua(code) return t.lua(PROLOGUE .. code) end
local function host(code) return t.host("threads", PROLOGUE .. code) end

describe("libevent.set_log_callback", function()
  before_each(t.start)
  after_each(function()
    libevent.set_log_callback()
    t.finish()
  end)

  it("takes a function, or what can be called, or nil", function()
    assert.is_true(libevent.set_log_callback(print))
    assert.is_true(libevent.set_log_callback(setmetatable({}, {
      __call = print})))
    assert.is_true(libevent.set_log_callback(nil))
    assert.has_error(function() libevent.set_log_callback "print" end,
      "bad argument #1 to 'set_log_callback' "
      .. "(function expected, got \"print\")")
  end)

  it("is told after a callback what libevent said in it", function()
    local base = t.base()
    local steps = {}
    base:user(function()
      warn()
      steps[#steps + 1] = "callback"
    end):active()
    base:user(function() steps[#steps + 1] = "next" end):active()
    libevent.set_log_callback(t.expect(function(severity, message, ...)
      assert.equal("warn", severity)
      assert.equal(NOMETHOD, message)
      assert.equal(0, select("#", ...))
      steps[#steps + 1] = "told"
    end))
    base:dispatch()
    assert.same({"callback", "told", "next"}, steps)
  end)

  it("is told when a loop begins what was said without one", function()
    local base = t.base()
    local told = 0
    libevent.set_log_callback(t.expect(function() told = told + 1 end, 2))
    warn()
    warn()
    assert.equal(0, told)
    base:timer(t.expect(function() assert.equal(2, told) end)):add(0)
    base:dispatch()
  end)

  it("is told when a loop ends what was said in no callback", function()
    local base = t.base {method = "select"}
    local told
    libevent.set_log_callback(t.expect(function(severity, message)
      told = severity .. ": " .. message
      assert.is_nil((io.open "/nowhere/file"))    -- an errno of its own
    end))
    spoil(base)
    assert.same({n = 3, nil, "Bad file descriptor", 9},
                table.pack(base:dispatch()))
    assert.equal("warn: select: Bad file descriptor", told)
  end)

  it("is told in order, and in the end of those that were too many",
  function()
    local base = t.base()
    local told = {}
    libevent.set_log_callback(function(severity, message)
      told[#told + 1] = severity .. ": " .. message
    end)
    for _ = 1, 40 do warn() end
    base:dispatch()
    assert.equal(33, #told)
    assert.equal("warn: " .. NOMETHOD, told[32])
    assert.equal("warn: 8 more messages were lost", told[33])
    warn()
    base:dispatch()
    assert.equal(34, #told)
    assert.equal("warn: " .. NOMETHOD, told[34])
  end)

  it("is told of messages that are no warnings", function()
    local text = lua [[
      os.execute(("EVENT_SHOW_METHOD=1 %s -e '%s'"):format(arg[-1],
        "local libevent = require \"libevent\" " ..
        "libevent.set_log_callback(print) " ..
        "libevent.base {method = \"poll\"}:dispatch()"))
    ]]
    assert.equal("msg\tlibevent using: poll\n", text)
  end)

  it("may be set, or ended, in itself", function()
    local base = t.base()
    local second = t.expect(function() libevent.set_log_callback() end)
    libevent.set_log_callback(t.expect(function()
      libevent.set_log_callback(second)
    end))
    warn()
    warn()
    base:dispatch()
    base:dispatch()
  end)

  it("lets go of its function", function()
    local weak = setmetatable({}, {__mode = "v"})
    weak[1] = function() return weak end
    libevent.set_log_callback(weak[1])
    collectgarbage() collectgarbage()
    assert.truthy(weak[1])
    libevent.set_log_callback()
    collectgarbage() collectgarbage()
    assert.is_nil(weak[1])
  end)
end)

describe("The callback of the log", function()
  before_each(t.start)
  after_each(function()
    libevent.set_log_callback()
    t.finish()
  end)

  it("is told another time of what it causes itself", function()
    local base = t.base()
    libevent.set_log_callback(t.expect(warn, 3))
    warn()
    base:timer(t.expect()):add(0)
    base:dispatch()
    libevent.set_log_callback(t.expect())
    base:dispatch()
  end)

  it("may close the base before its loop, in it and at its end", function()
    local started = os.time()
    for moment, prepare in pairs {
      before = function() warn() end,
      ["in"] = function(base) base:timer(warn):add(0) end,
      ["end"] = spoil,
    } do
      local base = t.base {method = "select"}
      local event = base:timer(t.never()):add(9)
      base:loopexit(9)
      libevent.set_log_callback(t.expect(function()
        base:close()
        collectgarbage()
      end, 1, moment))
      prepare(base)
      assert.equal(moment ~= "end" or nil, (base:dispatch()))
      assert.equal("libevent.Base (closed)", tostring(base))
      assert.equal("libevent.Event (closed)", tostring(event))
    end
    assert.is_true(os.time() - started < 5)
  end)

  it("may close the object whose callback has run, and drop it", function()
    local base = t.base()
    local listener
    listener = base:listener("127.0.0.1:0", t.expect(function(_, conn)
      conn:close()
      warn()
    end))
    base:bufferevent():connect(listener:sockname())
    libevent.set_log_callback(t.expect(function()
      listener:close()
      listener = nil
      collectgarbage() collectgarbage()
      coroutine.wrap(function() return {}, {}, {} end)()
    end))
    t.run(base)
  end)

  it("may run the loop of another base, where the next one is told",
  function()
    local outer, inner = t.base(), t.base()
    local depth, deepest = 0, 0
    libevent.set_log_callback(t.expect(function()
      depth = depth + 1
      deepest = math.max(depth, deepest)
      if depth == 1 then inner:dispatch() end
      depth = depth - 1
    end, 2))
    warn()
    warn()
    outer:dispatch()
    assert.equal(2, deepest)
  end)

  it("cannot yield, and cannot run the loop that tells it", function()
    local base = t.base()
    libevent.set_log_callback(function() coroutine.yield() end)
    warn()
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find("cannot yield", 1, true), message)
    libevent.set_log_callback(t.expect(function()
      assert.has_error(function() base:dispatch() end,
                       "the loop of this base runs already")
    end))
    warn()
    base:dispatch()
  end)

  it("may exit", function()
    local text, status = lua [[
      libevent.set_log_callback(function() os.exit(3, true) end)
      base:timer(warn):add(0)
      base:dispatch()
    ]]
    assert.equal("", text)
    assert.equal(3, status)
  end)
end)

describe("An error in the callback of the log", function()
  before_each(t.start)
  after_each(function()
    libevent.set_log_callback()
    t.finish()
  end)

  local function culprit(_, message) error("oh no: " .. message) end

  it("is raised by dispatch after a callback, and the loop runs again",
  function()
    local base = t.base()
    libevent.set_log_callback(culprit)
    base:timer(warn):add(0)
    base:timer(t.expect()):add(0.005)
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find "log_spec.lua:%d+: oh no: event_base_new")
    assert.truthy(message:find "stack traceback:.*in function <")
    assert.is_true(base:got_break())
    assert.is_false(base:dispatch())
  end)

  it("is raised by dispatch before the loop, which does not run", function()
    local base = t.base()
    libevent.set_log_callback(culprit)
    local ran = false
    base:timer(t.expect(function() ran = true end)):add(0)
    warn()
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find "oh no: event_base_new")
    assert.is_false(ran)
    assert.is_false(base:dispatch())
  end)

  it("is raised by dispatch at the loop's end", function()
    local base = t.base {method = "select"}
    libevent.set_log_callback(culprit)
    local event = spoil(base)
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find "oh no: select: Bad file descriptor")
    event:close()
    assert.is_false(base:dispatch())
  end)

  it("goes to the error callback of the base whose loop it is", function()
    local base, other = t.base(), t.base()
    other:set_error_cb(t.never())
    base:set_error_cb(t.expect(function(err, object, ...)
      assert.truthy(err:find "oh no: event_base_new")
      assert.is_nil(object)
      assert.equal(0, select("#", ...))
    end, 2))
    libevent.set_log_callback(culprit)
    warn()
    base:timer(warn):add(0)
    base:timer(t.expect()):add(0.005)
    assert.is_false(base:dispatch())
  end)

  it("leaves the first error of a loop what it is", function()
    local text = lua [[
      _G.warn "@on"
      libevent.set_log_callback(function() print "told" error "second" end)
      base:timer(function()
        warn()
        error "first"
      end):add(0)
      print(pcall(base.dispatch, base))
    ]]
    text = text:gsub("\nstack traceback:[^\n]*", ""):gsub("\n\t[^\n]*", "")
    assert.truthy(text:find "^told\n", text)
    assert.truthy(text:find "error in a callback: [^\n]*second\n", text)
    assert.truthy(text:find "\nfalse\t[^\n]*first\n$", text)
  end)

  it("is warned of in a host's loop, which goes on", function()
    local text, status = t.host("host", PROLOGUE .. [[
      _G.warn "@on"
      libevent.set_log_callback(function() error "oh no" end)
      base:timer(warn):add(0)
      base:timer(function() print "later" end):add(0.01)
    ]])
    assert.equal(0, status)
    assert.truthy(text:find "error in a callback: .*oh no.*later\n", text)
  end)
end)

describe("What libevent says", function()
  local printed = "[warn] " .. NOMETHOD .. "\n"

  it("is printed without a callback, before one and after", function()
    local text = lua [[
      warn()
      libevent.set_log_callback(function() print "told" end)
      warn()
      base:dispatch()
      libevent.set_log_callback()
      warn()
      base:dispatch()
    ]]
    assert.equal(printed .. "told\n" .. printed, text)
  end)

  it("is printed in the end if no loop has told it", function()
    local text = lua [[
      libevent.set_log_callback(print)
      warn()
      print "ended"
      libevent.set_log_callback()
      libevent.set_log_callback(print)
      for _ = 1, 40 do warn() end
    ]]
    assert.equal("ended\n" .. printed .. printed:rep(32)
                 .. "[warn] 8 more messages were lost\n", text)
  end)

  it("is printed in the end though the state is not closed", function()
    local text, status = lua [[
      libevent.set_log_callback(print)
      warn()
      os.exit(3)
    ]]
    assert.equal(printed, text)
    assert.equal(3, status)
  end)

  it("is printed at once if it is the end, after what came before", function()
    local text, status = host [[
      libevent.set_log_callback(print)
      warn()
      fatal()
      print "not reached"
    ]]
    assert.equal(1, status)
    assert.matches("^%[warn%] [^\n]*\n%[err%] [^\n]*debug_mode[^\n]*\n$", text)
  end)

  it("in a thread without a callback is printed", function()
    local text, status = host [[
      libevent.set_log_callback(function() print "told" end)
      warn()
      elsewhere()
      base:loop "nonblock"
    ]]
    assert.equal(printed .. "told\nopen 0\n", text)
    assert.equal(0, status)
  end)

  it("goes to the host's own callback until a script sets one", function()
    local text, status = host [[
      hostlog()
      warn()
      libevent.set_log_callback(function() print "told" end)
      warn()
      base:loop "nonblock"
      libevent.set_log_callback()
      warn()
    ]]
    assert.equal("the host's: 2 " .. NOMETHOD .. "\ntold\n" .. printed
                 .. "open 0\n", text)
    assert.equal(0, status)
  end)

  it("is told to the state that listens, be it closed or not", function()
    local text, status = host [[
      local code = "local libevent = require 'libevent.core' "
        .. "libevent.base {avoid = libevent.methods()} "
      state "require 'libevent.core'.set_log_callback(error)"
      warn()                          -- nobody listens: printed
      libevent.set_log_callback(function() print "told" end)
      state(code .. "libevent.base():loop 'nonblock'")
      print "not told there"
      state "require 'libevent.core'.set_log_callback(print)"
      print "not printed there"
      base:loop "nonblock"
      state(code .. "libevent.set_log_callback(print) "
            .. "libevent.base():loop 'nonblock'")
    ]]
    assert.equal(printed .. [[
not told there
not printed there
told
warn	event_base_new_with_config: no event mechanism available
open 0
]], text)
    assert.equal(0, status)
  end)

  it("before a fork is told to both processes", function()
    local text, status = host [[
      local child
      libevent.set_log_callback(function()
        print(child == 0 and "child is told" or "parent is told")
      end)
      warn()
      child = fork()
      if child ~= 0 then wait(child) end
      base:loop "nonblock"
      if child == 0 then os.exit(true, true) end
    ]]
    assert.equal("child is told\nparent is told\nopen 0\n", text)
    assert.equal(0, status)
  end)

  it("may make its callback fork", function()
    local text, status = host [[
      local child
      libevent.set_log_callback(function()
        child = fork()
        if child ~= 0 then wait(child) end
      end)
      local pipe = io.popen "echo data"
      base:event(pipe, "read", function()
        print(child == 0 and "child hears" or "parent hears")
      end):add()
      warn()
      base:dispatch()
      if child == 0 then os.exit(true, true) end
      pipe:close()
    ]]
    assert.equal("child hears\nparent hears\nopen 0\n", text)
    assert.equal(0, status)
  end)
end)
