local libevent = require "libevent"

describe("The module", function()
  it("names the methods that libevent supports, the best first", function()
    local methods = libevent.methods()
    assert.is_true(#methods > 0)
    assert.equal(methods[1], libevent.base():method())
  end)

  it("tells libevent's version as text and as a number", function()
    local text, number = libevent.version()
    local a, b, c = text:match "^(%d+)%.(%d+)%.(%d+)"
    assert.equal(tonumber(a) << 24 | tonumber(b) << 16 | tonumber(c) << 8,
                 number & ~0xff)
  end)
end)
