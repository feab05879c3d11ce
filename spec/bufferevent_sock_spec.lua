local libevent = require "libevent"
local t = require "spec.helper"

local EBUSY, EINVAL, ENOPROTOOPT, EOPNOTSUPP, ENOTCONN = 16, 22, 92, 95, 107

--- Two bufferevents on a pair of local sockets.
local function joined(base)
  local one, two = assert(libevent.socketpair())
  return base:bufferevent(one), base:bufferevent(two)
end

describe("an option of a socket", function()
  before_each(t.start)
  after_each(t.finish)

  it("is set, and read again", function()
    local base = t.base()
    t.connected(base, t.expect(function(server, client)
      for name, value in pairs {
        nodelay = false, keepalive = true, keepidle = 77, keepintvl = 7,
        keepcnt = 3,
      } do
        assert.is_false(client:getsockopt(name) == value, name)
        assert.equal(client, client:setsockopt(name, value))
        assert.equal(value, client:getsockopt(name), name)
      end
      for _, name in ipairs {"sndbuf", "rcvbuf"} do
        assert.equal(client, client:setsockopt(name, 16384))
        local size = client:getsockopt(name)
        assert.is_true(size == 16384 or size == 32768, name)
        assert.equal(client, client:setsockopt(name, 1))
      end
      server:close()
      client:close()
    end))
    t.run(base)
  end)

  it("is TCP_NODELAY from the start, on both sides", function()
    local base = t.base()
    t.connected(base, t.expect(function(server, client)
      assert.is_true(server:getsockopt "nodelay")
      assert.is_true(client:getsockopt "nodelay")
      assert.is_false(client:getsockopt "keepalive")
      server:close()
      client:close()
    end))
    t.run(base)
  end)

  it("has to wait for the socket that connect makes", function()
    local base = t.base()
    local listener = assert(base:listener("127.0.0.1:0", t.never()))
    local bev = base:bufferevent()
    assert.same({nil, "Transport endpoint is not connected", ENOTCONN},
                {bev:setsockopt("keepalive", true)})
    assert.same({nil, "Transport endpoint is not connected", ENOTCONN},
                {bev:getsockopt "keepalive"})
    assert(bev:connect(listener:sockname()))
    assert.equal(bev, bev:setsockopt("keepalive", true))
    assert.is_true(bev:getsockopt "keepalive")
    bev:close()
    listener:close()
  end)

  it("is the socket's to refuse", function()
    local base = t.base()
    local bev, other = joined(base)
    for _, name in ipairs {"nodelay", "keepidle"} do
      local result, message, errno = bev:getsockopt(name)
      assert.is_nil(result)
      assert.is_string(message)
      assert.is_true(errno == EOPNOTSUPP or errno == ENOPROTOOPT
                     or errno == EINVAL, errno)
    end
    assert.is_nil((bev:setsockopt("nodelay", true)))
    assert.equal(bev, bev:setsockopt("sndbuf", 8192))
    bev:close()
    other:close()
  end)

  it("is checked before the socket sees it", function()
    local base = t.base()
    local bev = base:bufferevent()
    local filter = base:filter((base:pair()))
    for message, call in pairs {
      ["invalid option 'linger'"] = function() bev:getsockopt "linger" end,
      ["string expected, got no value"] = function() bev:getsockopt() end,
      ["boolean expected, got number"] =
        function() bev:setsockopt("nodelay", 1) end,
      ["integer from 1 to 127 expected, got 128"] =
        function() bev:setsockopt("keepcnt", 128) end,
      ["integer from 1 to 32767 expected, got 0"] =
        function() bev:setsockopt("keepidle", 0) end,
      ["integer from 1 to 1073741823 expected, got nil"] =
        function() bev:setsockopt "sndbuf" end,
      ["integer from 1 to 1073741823 expected, got boolean"] =
        function() bev:setsockopt("rcvbuf", true) end,
      ["Bufferevent is not on a socket"] =
        function() filter:setsockopt("nodelay", true) end,
    } do
      assert.error_matches(call, message)
    end
    bev:close()
    assert.has_error(function() bev:getsockopt "nodelay" end,
      "calling 'getsockopt' on bad self (Bufferevent is closed)")
  end)
end)

describe("a bufferevent's priority", function()
  before_each(t.start)
  after_each(t.finish)

  it("is in the middle, and one of the base's", function()
    local base = t.base {priorities = 5}
    local bev = base:bufferevent()
    assert.equal(2, bev:priority())
    for i = 0, 4 do
      assert.equal(bev, bev:priority_set(i))
      assert.equal(i, bev:priority())
    end
    for _, priority in ipairs {-1, 5, 1.5, "1"} do
      assert.error_matches(function() bev:priority_set(priority) end,
                           "integer from 0 to 4")
    end
    assert.has_error(function() base:pair():priority_set(0) end,
      "calling 'priority_set' on bad self (Bufferevent is not on a socket)")
  end)

  it("says who reads first", function()
    local base = t.base {priorities = 3}
    local order, fars = {}, {}
    for i = 2, 0, -1 do
      local near, far = joined(base)
      near:setcb(function(self)
        order[#order + 1] = i
        self:close()
      end):priority_set(i)
      near:enable "read"
      far:write "data"
      fars[i] = far
    end
    t.turns(base, 10)
    assert.same({0, 1, 2}, order)
    for i = 0, 2 do fars[i]:close() end
  end)

  it("is that of what it is triggered for", function()
    local base = t.base {priorities = 3}
    local order = {}
    local function new(name, priority)
      return base:bufferevent():setcb(function()
        order[#order + 1] = name
      end):priority_set(priority)
    end
    local last, first = new("last", 2):trigger "read", new("first", 0)
    first:trigger "read"
    assert.same({nil, "the bufferevent is active", EBUSY},
                {last:priority_set(1)})
    t.turns(base, 5)
    assert.same({"first", "last"}, order)
    assert.equal(last, last:priority_set(0))
    first:priority_set(2)
    first:trigger "read"
    last:trigger "read"
    t.turns(base, 5)
    assert.same({"first", "last", "last", "first"}, order)
  end)
end)
