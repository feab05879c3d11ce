--- libevent.html: text into pages.

local http = require "libevent.http"
local t = require "spec.helper"

describe("http.htmlescape", function()
  it("escapes what begins something, and nothing else", function()
    local entities = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
                      ['"'] = "&quot;", ["'"] = "&#039;"}
    for byte = 0, 255 do
      local char = string.char(byte)
      assert.equal(entities[char] or char, http.htmlescape(char))
    end
    assert.equal("&lt;a href=&quot;x&quot;&gt;&amp;amp;",
                 http.htmlescape '<a href="x">&amp;')
    assert.same({""}, {http.htmlescape ""})
    assert.equal("1", http.htmlescape(1))
  end)

  it("raises for what is no string", function()
    t.raises("bad argument #1 to 'htmlescape' (string expected, got nil)",
             http.htmlescape)
  end)
end)
