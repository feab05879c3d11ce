--- What goes from a socket to the script and back past libevent's buffers: the
--- script sees no difference but the time. The same specs hold with PLAIN=1,
--- where nothing goes past them, but for those that count the calls.

local libevent = require "libevent"
local t = require "spec.helper"

local MEGABYTES = t.pattern(2 << 20)
local ECONNRESET, EPIPE = 104, 32

local runfor, runtill, collect = t.runfor, t.runtill, t.collect

--- Two connected bufferevents.
local function ends(base, type)
  local a, b = assert(libevent.socketpair(type))
  return base:bufferevent(a), base:bufferevent(b)
end

--- One that reads, so that it is anchored, and what comes to its other end.
local function sender(base)
  local a, b = ends(base)
  return a:enable "read", collect(b)
end

--- Calls f in a callback of the base's loop, and runs that for a moment.
local function inside(base, f)
  base:timer(t.expect(f)):add(0)
  base:loop "once"
end

describe("What a callback writes", function()
  before_each(t.start)
  after_each(t.finish)

  --- The messages that have come to a descriptor: each is one write.
  local function messages(fd)
    local list = {}
    local buffer = libevent.buffer()
    while (buffer:read(fd) or 0) > 0 do list[#list + 1] = buffer:remove() end
    return list
  end

  --- What f(bev) writes in a callback is this list of messages when it returns.
  local function sends(expected, f)
    local base = t.base()
    local a, b = assert(libevent.socketpair "dgram")
    local bev = base:bufferevent(a):enable "read"
    local sent
    inside(base, function() f(bev) end)
    if t.plain then t.turns(base, 3) end
    sent = messages(b)
    bev:close()
    libevent.closesocket(b)
    base:close()
    if not t.plain then assert.same(expected, sent) end
    assert.equal(table.concat(expected), table.concat(sent))
  end

  it("is sent when it returns, all at once", function()
    sends({"one two 3"}, function(bev)
      bev:write "one":write(" ", "two"):write(" ", 3)
    end)
  end)

  it("is sent in order, whatever it is made of", function()
    local large = MEGABYTES:sub(1, 20000)
    sends({"a" .. large .. "bc" .. "d"}, function(bev)
      bev:write "a":write(large):write(libevent.buffer "b", "c")
      bev:output():add "d"
    end)
  end)

  it("is in the output until then", function()
    sends({"onetwo"}, function(bev)
      bev:write "one"
      assert.equal(3, #bev:output())
      bev:write "two"
      assert.equal("onetwo", bev:output():copyout())
    end)
  end)

  it("is sent although an error follows", function()
    local base = t.base()
    local a, got = sender(base)
    base:timer(function()
      a:write "before"
      error "oh no"
    end):add(0)
    assert.has_error(function() base:dispatch() end)
    a:close_after_flush()
    t.run(base)
    assert.equal("before", got.data)
  end)

  --- What arrives of what f(a, c) writes in a callback.
  local function several(f)
    local base = t.base()
    local a, one = sender(base)
    local c, two = sender(base)
    inside(base, function() f(a, c) end)
    t.run(base)
    return {one.data, two.data}
  end

  it("is sent to each of several, in turns", function()
    assert.same({"a1a2a3", "c1c2c3"}, several(function(a, c)
      for i = 1, 3 do
        a:write("a" .. i)
        c:write("c" .. i)
      end
      a:close_after_flush()
      c:close_after_flush()
    end))
  end)

  it("is not sent where one of several is closed", function()
    assert.same({"", "c"}, several(function(a, c)
      a:output():add "never"
      c:output():add "c"
      a:close()
      c:close_after_flush()
    end))
  end)

  it("goes on when the socket takes more", function()
    local base = t.base()
    local a, b = ends(base)
    local got = collect(b)
    b:disable "read"
    inside(base, function()
      a:write(MEGABYTES:sub(1, 60000)):write(MEGABYTES:sub(60001))
      a:close_after_flush()
    end)
    b:enable "read"
    runtill(base, function() return got.data end)
    assert.is_true(MEGABYTES == got.data)
  end)

  it("waits while it is disabled", function()
    local base = t.base()
    local a, b = ends(base)
    local got = ""
    b:setcb(function() got = got .. b:read() end):enable "read"
    a:enable "read"
    inside(base, function() a:write "held":disable "write" end)
    runfor(base, 0.01)
    assert.equal("", got)
    assert.equal(4, #a:output())
    a:enable "write"
    runtill(base, function() return got == "held" end)
    a:close()
    b:close()
  end)

  it("keeps to a limit that is set after it", function()
    local base = t.base()
    local a, b = ends(base)
    local got = 0
    b:setcb(function() got = got + #b:read() end):enable "read"
    a:enable "read"
    inside(base, function()
      a:write(MEGABYTES:sub(1, 50000)):set_rate_limit {write = 1000}
    end)
    runfor(base, 0.05)
    assert.is_true(got <= 2000, got)
    a:close()
    b:close()
  end)

  it("goes through no filter that is put on it later", function()
    local base = t.base()
    local a, got = sender(base)
    inside(base, function()
      a:write "plain "
      base:filter(a, nil, function(from, to) to:add(from:remove():upper()) end)
          :write "filtered":close_after_flush()
    end)
    runtill(base, function() return got.data end)
    assert.equal("plain FILTERED", got.data)
  end)

  it("is lost when it is closed at once", function()
    local base = t.base()
    local a, got = sender(base)
    inside(base, function() a:write "lost":close() end)
    t.run(base)
    assert.equal("", got.data)
  end)

  it("comes before the end of a shutdown", function()
    local base = t.base()
    local a, got = sender(base)
    inside(base, function() a:write "last":shutdown() end)
    runtill(base, function() return got.data end)
    assert.equal("last", got.data)
    a:close()
  end)

  it("calls write once when it is sent, in the loop", function()
    local base = t.base()
    local a, b = ends(base)
    local inwrite = false
    a:setcb(nil, t.expect(function()
      assert.is_false(inwrite)
      assert.equal(0, #a:output())
    end))
    inside(base, function()
      inwrite = true
      a:write "one":write "two"
      inwrite = false
    end)
    runfor(base, 0.01)
    a:close()
    b:close()
  end)

  --- All that comes to 'conn', which reads from 0.05 seconds on.
  local function slowly(base, conn, n)
    local got = 0
    conn:setcb(function(c) got = got + #c:read() end)
    base:timer(function() conn:enable "read" end):add(0.05)
    t.runtill(base, function() return got == n end)
    return got
  end

  -- The event that is to tell of the first write was active, so that libevent
  -- did not begin to wait with the second one.
  it("goes on when more of it comes before the first is told of", function()
    local base = t.base()
    local fd, peer = libevent.socketpair()
    local fd2, other = libevent.socketpair()
    local conn, trigger = base:bufferevent(fd), base:bufferevent(fd2)
    local client = base:bufferevent(peer)
    local more = ("x"):rep(3 << 20)
    conn:setcb(function(c) c:write(c:read()) end, function() end)
    trigger:setcb(function() conn:write(more) end)
    conn:enable "read"
    trigger:enable "read"
    client:write "small"
    base:bufferevent(other):write "now"
    assert.equal(5 + #more, slowly(base, client, 5 + #more))
  end)

  it("is told as refused in the loop, and is kept", function()
    local base = t.base()
    local a, b = ends(base)
    b:close()
    a:setcb(nil, nil, t.expect(function(bev, what, message, errno)
      assert.equal("error", what)
      assert.is_string(message)
      assert.is_true(errno == EPIPE or errno == ECONNRESET)
      assert.equal("unsent", bev:output():copyout())
      assert.equal("", bev:enabled())
      bev:close()
    end))
    inside(base, function() a:write "unsent" end)
    runfor(base, 0.01)
    base:close()
  end)

  it("keeps what nobody holds until it is sent", function()
    local base = t.base()
    local a, b = ends(base)
    local got = collect(b)
    inside(base, function()
      a:write(MEGABYTES)
      a:close_after_flush()
      a = nil
      collectgarbage() collectgarbage()
    end)
    runtill(base, function() return got.data end)
    assert.is_true(MEGABYTES == got.data)
  end)
end)

describe("What arrives", function()
  before_each(t.start)
  after_each(t.finish)

  --- What f sees of "data" in the read callback of a bufferevent, and what is
  --- in the input after it.
  local function arrives(f)
    local base = t.base()
    local a, b = ends(base)
    b:setcb(t.expect(f)):enable "read"
    a:write "data"
    runfor(base, 0.01)
    local left = b:read()
    a:close()
    b:close()
    base:close()
    return left
  end

  it("is read in any pieces", function()
    assert.equal("", arrives(function(b)
      assert.equal("d", b:read(1))
      assert.equal("", b:read(0))
      assert.equal("at", b:read(2))
      assert.equal("a", b:read(5))
      assert.equal("", b:read())
    end))
  end)

  it("stays as far as it is not read", function()
    assert.equal("ta", arrives(function(b) b:read(2) end))
    assert.equal("data", arrives(function() end))
  end)

  it("is in the input", function()
    assert.equal("a", arrives(function(b)
      b:read(1)
      assert.equal(3, #b:input())
      assert.equal("at", b:input():remove(2))
      assert.equal("a", b:input():copyout())
    end))
  end)

  it("can be moved to a buffer", function()
    assert.equal("", arrives(function(b)
      local buffer = libevent.buffer()
      b:read(1)
      b:read_buffer(buffer)
      assert.equal("ata", buffer:remove())
    end))
  end)

  it("stays when the callback raises", function()
    local base = t.base()
    local a, b = ends(base)
    b:setcb(function()
      b:read(1)
      error "oh no"
    end):enable "read"
    a:write "data"
    assert.has_error(function() base:dispatch() end)
    assert.equal("ata", b:read())
    a:close()
    b:close()
  end)

  it("goes when it is closed in the callback", function()
    local base = t.base()
    local a, b = ends(base)
    b:setcb(t.expect(function()
      b:read(1)
      b:close()
      t.raises("Bufferevent is closed", b.read, b)
      collectgarbage() collectgarbage()
    end)):enable "read"
    a:write "data"
    runfor(base, 0.01)
    a:close()
  end)

  it("goes to a filter that is put on it in the callback", function()
    local base = t.base()
    local a, b = ends(base)
    local got = ""
    b:setcb(t.expect(function()
      b:read(1)
      local filter = base:filter(b)
      filter:setcb(function() got = got .. filter:read() end):enable "read"
    end)):enable "read"
    a:write "data"
    runfor(base, 0.01)
    a:write " more"
    runtill(base, function() return got == "ata more" end)
    a:close()
    base:close()
  end)

  it("waits for a mark that is set in the callback", function()
    local base = t.base()
    local a, b = ends(base)
    local got = {}
    b:setcb(function()
      got[#got + 1] = b:read(#got + 1)
      b:setwatermark("read", 6)
    end):enable "read"
    a:write "data"
    runfor(base, 0.01)
    assert.same({"d"}, got)
    a:write "abc"
    runtill(base, function() return #got == 2 end)
    assert.same({"d", "at"}, got)
    a:close()
    b:close()
  end)

  it("comes in large pieces, and in order", function()
    local base = t.base()
    local a, b = ends(base)
    local list, calls = {}, 0
    b:setcb(function()
      calls = calls + 1
      list[#list + 1] = b:read(calls % 3 == 0 and 1000 or nil)
    end, nil, function()
      list[#list + 1] = b:read()
      b:close()
    end):enable "read"
    a:write(MEGABYTES):close_after_flush()
    runtill(base, function() return t.isclosed(b) end)
    assert.is_true(MEGABYTES == table.concat(list))
    if not t.plain then assert.is_true(calls < 200, calls) end
  end)

  it("wakes timeouts as ever", function()
    local base = t.base()
    local a, b = ends(base)
    local since = base:gettime_monotonic()
    b:setcb(function() b:read() end, nil, t.expect(function(_, what)
      assert.equal("timeout", what)
      assert.is_true(base:gettime_monotonic() - since > 0.07)
      b:close()
    end)):set_timeouts(0.05):enable "read"
    base:timer(function() a:write "x" end):add(0.03)
    runtill(base, function() return t.isclosed(b) end)
    a:close()
  end)

  it("goes back with more behind it", function()
    local base = t.base()
    local a, b = ends(base)
    a:setcb(t.expect(function()
      a:write(a:input()):write(", ", "answered")
      a:close_after_flush()
    end)):enable "read"
    local got = collect(b)
    b:write "asked"
    t.run(base)
    assert.equal("asked, answered", got.data)
  end)

  it("is read again after an end that was taken for no end", function()
    local base = t.base()
    local a, b = ends(base)
    local list, event = t.events(1)
    b:setcb(nil, nil, event):enable "read"
    a:shutdown()
    runfor(base, 0.01)
    assert.same({{"eof", "reading"}}, list)
    assert.equal("write", b:enabled())
    a:close()
    b:close()
  end)
end)
