-- src/waker.c. What threads and signal handlers do is spec/c/threads.c's.
local t = require "spec.helper"

describe("A waker", function()
  before_each(t.start)
  after_each(t.finish)

  it("calls its callback in the loop, once for all wakes before", function()
    local base = t.base()
    local waker
    waker = assert(base:waker(t.expect(function(w, ...)
      assert.equal(waker, w)
      assert.equal(0, select("#", ...))
      w:close()
    end)))
    assert.equal(waker, waker:wake():wake())
    assert.is_false(base:dispatch())
  end)

  it("is called again for a wake that comes in its callback", function()
    local base = t.base()
    local calls = 0
    base:waker(t.expect(function(w)
      calls = calls + 1
      if calls < 3 then w:wake() else w:close() end
    end, 3)):wake()
    base:dispatch()
  end)

  it("is not called without a wake", function()
    local base = t.base()
    local waker = base:waker(t.never())
    t.turns(base, 3)
    waker:wake():close()
    t.turns(base, 3)
  end)

  it("keeps its loop running until it is closed", function()
    local base = t.base()
    local waker = base:waker(t.never())
    base:timer(t.expect(function() waker:close() end)):add(0.005)
    assert.is_false(base:dispatch())
    base:waker(t.never())
    base:loopexit(0.005)
    assert.is_true(base:dispatch())
    base:close()
  end)

  it("knows its callback, and takes another one at any time", function()
    local base = t.base()
    local first, second
    first = t.expect(function(w) w:set_callback(second):wake() end)
    second = t.expect(function(w) w:close() end)
    local waker = base:waker(first):wake()
    assert.equal(first, waker:callback())
    base:loop "once"
    assert.equal(second, waker:callback())
    assert.equal(waker, waker:set_callback(second))
    base:dispatch()
  end)

  it("knows its base", function()
    local base = t.base()
    assert.equal(base, base:waker(print):base())
    base:close()
  end)

  it("goes on after an error in its callback", function()
    local base = t.base()
    local waker = base:waker(function() error "oh no" end):wake()
    local ok, message = pcall(base.dispatch, base)
    assert.is_false(ok)
    assert.truthy(message:find "waker_spec.lua:%d+: oh no\nstack traceback:")
    waker:set_callback(t.expect(function(w) w:close() end)):wake()
    base:dispatch()
  end)

  it("needs no variable while it is open, and is collected after it",
  function()
    local base = t.base()
    local weak = setmetatable({}, {__mode = "v"})
    weak[1] = base:waker(t.expect(function(w) w:close() end))
    collectgarbage() collectgarbage()
    weak[1]:wake()
    base:dispatch()
    collectgarbage() collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("is collected with its base", function()
    local weak = setmetatable({}, {__mode = "v"})
    do
      local base = t.base()
      weak[1] = base:waker(function() return base end):wake()
    end
    collectgarbage() collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("does nothing any more when it is closed", function()
    local base = t.base()
    local waker = base:waker(t.never()):wake()
    assert.equal(waker, waker:close())
    assert.equal(waker, waker:close())
    base:dispatch()
    for _, name in ipairs {"wake", "callback", "set_callback", "base"} do
      local ok, message = pcall(waker[name], waker, print)
      assert.is_false(ok)
      assert.truthy(message:find("(Waker is closed)", 1, true), message)
    end
  end)

  it("is told what is no callback", function()
    local base = t.base()
    local waker = base:waker(print)
    assert.has_error(function() base:waker() end,
      "bad argument #1 to 'waker' (function expected, got no value)")
    assert.has_error(function() waker:set_callback {} end,
      "bad argument #1 to 'set_callback' (function expected, got table)")
    assert.equal(print, waker:callback())
    base:close()
    assert.has_error(function() base:waker(print) end,
                     "calling 'waker' on bad self (Base is closed)")
  end)

  it("is refused without a descriptor", function()
    local text, status = t.lua [[
      local base = require "libevent".base()
      local files = {}
      while true do
        local f = io.open "/dev/null"
        if not f then break end
        files[#files + 1] = f
      end
      print(base:waker(print))
      files[#files]:close()
      files[#files - 1]:close()
      base:waker(function(waker) print "woken" waker:close() end):wake()
      base:dispatch()
    ]]
    assert.equal("nil\tToo many open files\t24\nwoken\n", text)
    assert.equal(0, status)
  end)
end)

for _, name in ipairs {"threads", "pipes"} do
  describe("In the host program '" .. name .. "', a waker", function()
    local function host(script)
      local text, status = t.host(name, script)
      assert.equal(0, status, text)
      return text
    end

    it("loses no wake of a thread", function()
      local text = host [[
        local calls = 0
        hold(base:waker(function(waker)
          calls = calls + 1
          if sent() == 1000 then waker:close() end
        end))
        start(1000)
        base:dispatch()
        join()
        print(calls >= 1 and calls <= 1000)
        raise()
      ]]
      assert.equal("true\nopen 0\n", text)
    end)

    it("takes a thousand wakes that nobody waits for as one", function()
      local text = host [[
        local calls = 0
        hold(base:waker(function() calls = calls + 1 end))
        start(1000)
        join()
        base:loop "nonblock"
        base:loop "nonblock"
        print(calls)
        raise()
      ]]
      assert.equal("1\nopen 0\n", text)
    end)

    it("is woken once more when there is room for no more wakes", function()
      local text = host [[
        hold(base:waker(function(waker) print "woken" waker:close() end))
        start(20000)                  -- more than a pipe takes
        join()
        print(raise())
        base:dispatch()
      ]]
      assert.equal("1234\nwoken\nopen 0\n", text)
    end)

    it("hears of a signal handler, which keeps its errno", function()
      local text = host [[
        local errno
        hold(base:waker(function(waker) print(errno) waker:close() end))
        base:timer(function() errno = raise() end):add(0.01)
        base:dispatch()
      ]]
      assert.equal("1234\nopen 0\n", text)
    end)

    it("may be woken when it is closed, or its base, or the state", function()
      local text = host [[
        local waker = base:waker(print)
        hold(waker)
        waker:close()
        wake()
        start(10)
        join()
        print(raise())
        base:loop "nonblock"
        base:close()
        wake()
        print(raise())
      ]]
      assert.equal("1234\n1234\nopen 0\n", text)
    end)

    it("keeps its descriptors until the host gives back its reference",
    function()
      local text = host [[
        local waker = base:waker(print)
        local open = descriptors()
        hold(waker)
        waker:close()
        print(descriptors() == open)
        drop()
        print(descriptors() < open)
      ]]
      assert.equal("true\ntrue\nopen 0\n", text)
    end)

    it("is nothing but an open Waker", function()
      local text = host [[
        local closed = base:waker(print):close()
        for _, value in ipairs {closed, base, io.stdout, "", false} do
          print(select(2, pcall(hold, value)))
        end
        print(select(2, pcall(hold)))
      ]]
      assert.equal([[
bad argument #1 to 'hold' (Waker is closed)
bad argument #1 to 'hold' (libevent.Waker expected, got libevent.Base)
bad argument #1 to 'hold' (libevent.Waker expected, got FILE*)
bad argument #1 to 'hold' (libevent.Waker expected, got string)
bad argument #1 to 'hold' (libevent.Waker expected, got boolean)
bad argument #1 to 'hold' (libevent.Waker expected, got no value)
open 0
]], text)
    end)

    it("of a child process is its own", function()
      local text = host [[
        local who = "parent"
        local waker = base:waker(function() print(who .. " is woken") end)
        hold(waker)
        wake()                        -- the parent's alone
        local child = fork()
        if child == 0 then
          who = "child"
          base:loop "nonblock"
          base:loop "nonblock"
          print "the child has looked"
          wake()
          base:loop "nonblock"
          raise()
          base:loop "nonblock"
          os.exit(true, true)
        end
        wait(child)
        base:loop "nonblock"
        base:loop "nonblock"
        waker:close()
        raise()
      ]]
      assert.equal("the child has looked\nchild is woken\nchild is woken\n"
                   .. "parent is woken\nopen 0\n", text)
    end)

    it("is woken in a child that has not touched its base yet", function()
      local text = host [[
        local who = "parent"
        local waker = base:waker(function() print(who .. " is woken") end)
        hold(waker)
        local child = fork()
        if child == 0 then
          who = "child"
          wake()
          base:loop "nonblock"
          base:loop "nonblock"
          os.exit(true, true)
        end
        wait(child)
        base:loop "nonblock"
        waker:close()
        raise()
      ]]
      assert.equal("child is woken\nopen 0\n", text)
    end)

    it("of a child is its own after the host's event_reinit", function()
      local text = host [[
        local who = "parent"
        local waker = base:waker(function() print(who .. " is woken") end)
        hold(waker)
        wake()
        local child = fork()
        if child == 0 then
          who = "child"
          reinit()
          turn()
          turn()
          print "the child has looked"
          wake()
          turn()
          os.exit(true, true)
        end
        wait(child)
        base:loop "nonblock"
        waker:close()
        raise()
      ]]
      assert.equal("the child has looked\nchild is woken\n"
                   .. "parent is woken\nopen 0\n", text)
    end)

    it("of a child without descriptors is mute, and its parent's is not",
    function()
      local text = host [[
        local who = "parent"
        local waker = base:waker(function() print(who .. " is woken") end)
        local function test(own)
          waker:wake()
          local child = fork()
          if child == 0 then
            local files = {}
            who = "child"
            own()
            while true do
              local file = io.open "/dev/null"
              if not file then break end
              files[#files + 1] = file
            end
            turn()
            turn()
            waker:wake()
            turn()
            os.exit(true, true)
          end
          wait(child)
          turn()
        end
        test(function() end)
        test(reinit)
        waker:close()
      ]]
      assert.equal("parent is woken\nparent is woken\nopen 0\n", text)
    end)

    it("is not inherited by programs that its process starts", function()
      local text = host [[
        local function inherited()
          local pipe = io.popen "ls /proc/self/fd | wc -l"
          local n = pipe:read "n"
          pipe:close()
          return n
        end
        local before = inherited()
        local waker = base:waker(print)
        print(inherited() == before)
        local child = fork()
        if child == 0 then
          base:loop "nonblock"
          print(inherited() == before)
          os.exit(true, true)
        end
        wait(child)
        waker:close()
      ]]
      assert.equal("true\ntrue\nopen 0\n", text)
    end)

    it("keeps its wakes when its own process calls reinit", function()
      local text = host [[
        local waker = base:waker(function(w) print "woken" w:close() end)
        waker:wake()
        base:reinit()
        base:dispatch()
      ]]
      assert.equal("woken\nopen 0\n", text)
    end)

    it("does not wake its parent when a child closes it", function()
      local text = host [[
        local waker = base:waker(function(w) print "woken" w:close() end)
        hold(waker)
        local child = fork()
        if child == 0 then
          waker:close()
          wake()
          os.exit(true, true)
        end
        wait(child)
        base:loop "nonblock"
        print "quiet"
        wake()
        base:dispatch()
        raise()
      ]]
      assert.equal("quiet\nwoken\nopen 0\n", text)
    end)
  end)
end
