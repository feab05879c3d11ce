--- One allocation fails, of Lua's or of libevent's, each one in turn: the call
--- says so, nothing is lost or left, and the base can be used afterwards.
--- spec/c/torture.c runs each scenario once for every allocation it makes.

local t = require "spec.helper"

--- A scenario, and what must still work after it.
local function survives(name, scenario, afterwards)
  it("survives " .. name, function()
    local text, status = t.host("torture", ([[
      local libevent, base
      return function()
        libevent = require "libevent"
        base = assert(libevent.base())
        %s
      end, function()
        local open = base and not tostring(base):find "closed"
        base = open and base or require "libevent".base()
        %s
        local done = false
        base:timer(function() done = true end):add(0)
        pcall(base.loop, base, "nonblock")
        pcall(base.loop, base, "nonblock")
        assert(done, "no timer")
        base:close()
      end
    ]]):format(scenario, afterwards or ""))
    assert.match("\n?[%d]+ allocations, 0 faults\n$", text)
    assert.equal(0, status, text)
  end)
end

describe("A lack of memory", function()
  survives("making and closing a base", "base:close()")

  survives("timers and events of the script's own", [[
    local n = 0
    local function count() n = n + 1 end
    local timer = assert(base:timer(count):add(0))
    base:user(count):active "read"
    assert(base:once(nil, "timeout", count, 0))
    assert(assert(timer:add(0)):del():add(0))
    base:loop "nonblock"
    base:loop "nonblock"
    timer:close()
    assert(n == 3)
  ]])

  survives("buffers", [[
    local a, b = libevent.buffer "one\r\ntwo", libevent.buffer()
    a:add("x", 12, ("y"):rep(20000)):prepend "z"
    assert(a:readln() == "zone")
    b:add(a):add(b:copyout(3, 2))
    a:add_buffer_reference(b)
    local all = ""
    for piece in a:chunks() do all = all .. piece end
    assert(all == tostring(b) and #all == 20009, #all)
    a:expand(100000):freeze "end"
    a:close()
    assert(b:search "12" == 5 and b:remove(4) == "twox")
  ]])
end)
