-- src/object.c: what all objects have in common. Lifetimes: gc_spec.lua.
local libevent = require "libevent"
local t = require "spec.helper"

local function objects(base)
  return {
    ["libevent.Base"] = base,
    ["libevent.Event"] = base:timer(print),
    ["libevent.Waker"] = base:waker(print),
    ["libevent.Buffer"] = libevent.buffer(),
    ["libevent.FileSegment"] = libevent.file_segment(io.tmpfile()),
    ["libevent.Bufferevent"] = base:bufferevent(),
    ["libevent.RateLimitGroup"] = base:rate_limit_group {read = 1},
    ["libevent.Http"] = base:http(),
    ["libevent.Listener"] = base:listener("127.0.0.1:0", print),
  }
end

describe("Every object", function()
  before_each(t.start)
  after_each(t.finish)

  it("hides its metatable, and its metamethods among its methods", function()
    for name, object in pairs(objects(t.base())) do
      assert.equal(name, getmetatable(object))
      for _, event in ipairs {"__gc", "__close", "__index", "__tostring"} do
        assert.is_nil(object[event])
      end
      assert.is_false(pcall(setmetatable, object, {}))
    end
  end)

  it("says what it is, and when it is closed", function()
    local all = objects(t.base())
    for name, object in pairs(all) do
      if name ~= "libevent.Buffer" then
        assert.matches("^" .. name .. " %(0x%x+%)$", tostring(object))
      end
    end
    for name, object in pairs(all) do
      object:close()
      assert.equal(name .. " (closed)", tostring(object))
    end
  end)

  it("is closed at the end of its block", function()
    local base = t.base()
    for name in pairs(objects(base)) do
      local kept
      do
        local object <close> = objects(name == "libevent.Base" and t.base()
                                       or base)[name]
        kept = object
      end
      assert.equal(name .. " (closed)", tostring(kept))
    end
  end)

  it("has methods for its own type only", function()
    local all = objects(t.base())
    for name, object in pairs(all) do
      for other, wrong in pairs(all) do
        if name ~= other then
          local ok, message = pcall(object.close, wrong)
          assert.is_false(ok)
          assert.matches(name .. " expected, got " .. other, message, 1, true)
        end
      end
      assert.is_false(pcall(object.close, io.stdout))
      assert.is_false(pcall(object.close))
    end
  end)

  it("that lives on a base knows it", function()
    local base = t.base()
    for name, object in pairs(objects(base)) do
      if object.base and name ~= "libevent.Base" then
        assert.equal(base, object:base())
      end
    end
  end)
end)
