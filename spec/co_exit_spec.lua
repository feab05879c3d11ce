--- The process ends while a task waits, in every call that waits.

local assert = require "luassert"
local t = require "spec.helper"
local waits = require "spec.waits"

describe("os.exit(true, true) while a task waits", function()
  before_each(t.start)
  after_each(t.finish)

  -- In a process of its own; 'ending' is what happens there.
  local function exits(i, ending)
    local text, status = t.lua(([[
      local co = require "libevent.co"
      local wait = require "spec.waits"[%d]
      local base = require "libevent".base()
      local c = {base = base}
      co.spawn(base, function()
        wait[2](c)
        co.spawn(function()
          for _ = 1, 5 do co.sleep(0) end
          %s
        end)
        local _ <close> = setmetatable({}, {__close = function()
          if not leaving then print "closed" end
        end})
        leaving = true
        c.wait()
        print "woken"
      end)
      base:dispatch()
      print "returned"
    ]]):format(i, ending))
    assert.equal("", text)
    assert.equal(0, status)
  end

  for i, wait in ipairs(waits) do
    it("ends the process: " .. wait[1], function()
      exits(i, "os.exit(true, true)")
    end)
  end

  it("ends the process from a plain callback", function()
    exits(1, "base:timer(function() os.exit(true, true) end):add(0)")
  end)

  it("ends the process after everything was dropped", function()
    exits(1, "c.task, c.a, c.b = nil collectgarbage() os.exit(true, true)")
  end)
end)

describe("The end of a script while tasks wait", function()
  before_each(t.start)
  after_each(t.finish)

  it("is an end without a word", function()
    for i = 1, #waits, 5 do
      local text, status = t.lua(([[
        local co = require "libevent.co"
        local base = require "libevent".base()
        local c = {base = base}
        co.spawn(base, function()
          require "spec.waits"[%d][2](c)
          c.wait()
        end)
        for _ = 1, 5 do base:loop "nonblock" end
      ]]):format(i))
      assert.equal("", text)
      assert.equal(0, status)
    end
  end)
end)
