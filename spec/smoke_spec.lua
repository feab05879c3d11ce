local t = require "spec.helper"
describe("smoke", function()
  before_each(t.start)
  after_each(t.finish)
  it("echoes", function()
    local base = t.base()
    t.connected(base, t.expect(function(server, client)
      server:setcb(function(s) s:write(s:input()) end):enable "read"
      client:setcb(t.expect(function(c) assert.equal("hi", c:read()) c:close() end))
      client:enable "read"
      client:write "hi"
    end))
    t.run(base)
  end)
end)
