local t = require "spec.helper"

describe("An error in a callback", function()
  before_each(t.start)
  after_each(t.finish)

  it("is raised by dispatch with its traceback, and the loop runs again",
  function()
    local base = t.base()
    local function culprit() error "oh no" end
    base:timer(function() culprit() end):add(0)
    base:timer(t.expect()):add(0.005)
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find("callback_spec.lua:%d+: oh no\n"))
    assert.truthy(message:find "stack traceback:.*upvalue 'culprit'")
    assert.is_true(base:got_break())
    assert.is_false(base:dispatch())
  end)

  it("is raised by loop too, as the object that it is", function()
    local base = t.base()
    for _, object in ipairs {{}, 42, true, print, coroutine.create(print)} do
      base:timer(function() error(object) end):add(0)
      local ok, got = pcall(base.loop, base, "once")
      assert.is_false(ok)
      assert.equal(object, got)
    end
    base:timer(function() error() end):add(0)
    assert.same({n = 2, false}, table.pack(pcall(base.dispatch, base)))
  end)

  it("goes to the base's error callback, if it has one, and the loop goes on",
  function()
    local base = t.base()
    local timer
    base:set_error_cb(t.expect(function(err, object)
      assert.truthy(err:find "oh no\nstack traceback:")
      assert.equal(timer, object)
    end, 2))
    timer = base:timer(function() error "oh no" end):add(0)
    base:timer(t.expect(function() timer:add(0) end)):add(0.005)
    assert.is_false(base:dispatch())
    base:set_error_cb()
    timer:add(0)
    assert.has_error(function() base:dispatch() end)
  end)

  it("of an error callback ends the loop", function()
    local base = t.base()
    base:set_error_cb(function() error "worse" end)
    base:timer(function() error "bad" end):add(0)
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find "worse")
  end)

  it("is warned of when another one is already on its way", function()
    local text, status = t.lua [[
      warn "@on"
      local base = require "libevent".base()
      local server
      local listener = base:listener("127.0.0.1:0", function(_, c)
        server = base:bufferevent((c:detach()), {flags = "defer_callbacks"})
        server:setcb(function() error "first" end, nil,
                     function() error "second" end):enable "read"
      end)
      local client = base:bufferevent():connect(listener:sockname())
      client:write "data":close_after_flush()
      base:loopexit(2)
      while true do
        local ok, message = pcall(base.loop, base, "once")
        if not ok then print(message:match "[^\n]*") break end
      end
      base:loopexit(0.01)
      print(pcall(base.dispatch, base))
    ]]
    assert.equal(0, status)
    assert.truthy(text:find "first\n", text)
    assert.truthy(text:find "second", text)
  end)

  it("inside a loop inside a callback stops that loop alone", function()
    local outer, inner = t.base(), t.base()
    inner:timer(function() error "inner" end):add(0)
    outer:timer(t.expect(function()
      local ok, message = pcall(inner.dispatch, inner)
      assert.is_false(ok)
      assert.truthy(message:find "inner")
    end)):add(0)
    outer:timer(t.expect()):add(0.005)
    assert.is_false(outer:dispatch())
  end)

  it("is not swallowed when memory ends", function()
    local base = t.base()
    base:timer(function() local s = ("x"):rep(1 << 62) return s end):add(0)
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find "resulting string too large"
                  or message:find "not enough memory")
  end)
end)

describe("A callback", function()
  before_each(t.start)
  after_each(t.finish)

  it("that yields is told of the coroutine layer", function()
    local base = t.base()
    base:timer(function() coroutine.yield() end):add(0)
    local ok, message = pcall(coroutine.wrap(function() base:dispatch() end))
    assert.is_false(ok)
    assert.truthy(message:find "cannot yield")
    assert.truthy(message:find("libevent.co", 1, true))
  end)

  it("runs coroutines of its own as it likes", function()
    local base = t.base()
    local co = coroutine.wrap(function(a)
      local b = coroutine.yield(a + 1)
      return b + 1
    end)
    base:timer(t.expect(function()
      assert.equal(2, co(1))
      assert.equal(11, co(10))
    end)):add(0)
    base:dispatch()
  end)

  it("does not run on the coroutine that made its object", function()
    local base = t.base()
    local maker
    coroutine.wrap(function()
      maker = coroutine.running()
      base:timer(t.expect(function()
        assert.not_equal(maker, coroutine.running())
      end)):add(0.001)
      coroutine.yield()
    end)()
    collectgarbage() collectgarbage()
    base:dispatch()
  end)

  it("works when the loop runs in a coroutine, and the loop may be left there",
  function()
    local base = t.base()
    local timer = base:timer(t.expect(nil, 2)):add(0)
    coroutine.wrap(function() base:dispatch() end)()
    timer:add(0)
    base:dispatch()
  end)

  it("can be any value that can be called", function()
    local base = t.base()
    local called = t.expect()
    base:timer(setmetatable({}, {__call = function() called() end})):add(0)
    base:dispatch()
    assert.has_error(function() base:timer {} end,
                     "bad argument #1 to 'timer' "
                     .. "(function expected, got table)")
  end)
end)

describe("In a host program that runs its own loop", function()
  local function host(script) return t.host("host", script) end

  local ending = "running 1\nafter lua_close 1\nevents left 1\n"

  it("callbacks come, and lua_close takes away what Lua hung there", function()
    local text, status = host [[
      local n = 0
      base:timer(function() n = n + 1 if n == 3 then print "three" end end,
                 "persist"):add(0.005)
      local listener = base:listener("127.0.0.1:0", function(l, conn)
        conn:setcb(function(c) print(c:read()) end):enable "read"
        l:close()
      end)
      base:bufferevent():connect(listener:sockname()):write "hello"
    ]]
    assert.truthy(text:find("same 1\n.*hello\n.*three\n" .. ending), text)
    assert.equal(0, status)
  end)

  it("an error is warned of and the loop goes on", function()
    local text, status = host [[
      warn "@on"
      base:timer(function() error "oh no" end):add(0)
      base:timer(function() print "later" end):add(0.01)
    ]]
    assert.truthy(text:find "error in a callback: .*oh no", text)
    assert.truthy(text:find("later\n" .. ending, 1, true), text)
    assert.equal(0, status)
  end)

  it("a base closed and forgotten in its callback ends after it", function()
    local text, status = host [[
      base:timer(function(timer)
        timer:base():close()
        base = nil
        coroutine.wrap(function() collectgarbage() collectgarbage() end)()
        for _ = 1, 200 do coroutine.create(print) end
        print(timer)
      end):add(0.005)
      base = nil
    ]]
    assert.equal("same 1\nlibevent.Event (closed)\n" .. ending, text)
    assert.equal(0, status)
  end)

  it("a callback cannot run the host's loop again", function()
    local text = host [[
      base:timer(function() print(pcall(base.dispatch, base)) end):add(0)
    ]]
    assert.truthy(text:find "false\tthe loop of this base runs already", text)
  end)

  it("an error after closing the base is warned of", function()
    local text, status = host [[
      warn "@on"
      base:timer(function() base:close() error "oh no" end):add(0)
    ]]
    assert.truthy(text:find "error in a callback: .*oh no", text)
    assert.truthy(text:find(ending, 1, true), text)
    assert.equal(0, status)
  end)

  it("closing the base in a callback leaves the host's loop alone", function()
    local text, status = host [[
      base:timer(print, "persist"):add(20)
      local listener = base:listener("127.0.0.1:0", print)
      base:timer(function(timer)
        base:close()
        base:close()
        print(base, timer, listener)
      end):add(0.005)
    ]]
    assert.equal("same 1\nlibevent.Base (closed)\tlibevent.Event (closed)\t"
                 .. "libevent.Listener (closed)\n" .. ending, text)
    assert.equal(0, status)
  end)
end)
