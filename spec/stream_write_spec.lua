-- libevent.co: streams, written in straight lines; and their end.
local co = require "libevent.co"
local libevent = require "libevent"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local ends, fails, fill = tasks.ends, tasks.fails, tasks.fill
local play, tells = tasks.play, tasks.joins(it)

local EPIPE, ECONNRESET = 32, 104
local MUCH = 8 * 1024 * 1024

describe("The end of what a peer sends", function()
  before_each(t.start)
  after_each(t.finish)

  tells("is told when all is read, again and again", function(a, b)
    b:write "data":close()
    co.sleep(0.001)
    assert.equal("data", a:read(4))
    for _ = 1, 3 do
      fails("eof", a:read(1))
      fails("eof", a:read "l")
      fails("eof", a:read_some())
      fails("eof", a:read_until ";")
    end
  end)

  tells("does not end the other direction", function(a, b)
    assert.equal(b, b:write "question":shutdown())
    assert.equal("question", a:read "a")
    fails("eof", a:read())
    assert.equal(a, a:write "answer")
    assert.equal("answer", b:read(6))
    a:close()
    fails("eof", b:read())
  end)

  tells("comes after all that was written before", function(a, b)
    local text = t.pattern(1 << 20)
    local writer = co.spawn(function() return b:write(text):shutdown() end)
    assert.equal(text, a:read "a")
    assert.equal(b, writer:join())
    a:write "thanks"
    assert.equal("thanks", b:read(6))
  end)

  tells("may be said twice", function(a, b)
    b:shutdown()
    b:shutdown()
    assert.equal("", a:read "a")
  end)

  tells("makes writing fail, once there is nobody", function(a, b)
    b:close()
    co.sleep(0.001)
    local ok, message, errno
    for _ = 1, 50 do
      ok, message, errno = a:write "data"
      if not ok then break end
      co.sleep(0.0005)
    end
    assert.is_nil(ok)
    assert.is_string(message)
    assert.is_true(errno == EPIPE or errno == ECONNRESET)
    assert.is_nil((a:flush()))
    assert.is_nil((a:write "more"))
  end)

  tells("wakes a writer whose peer has gone, with the reason", function(a, b)
    fill(a)
    local writer = co.spawn(a.write, a, ("x"):rep(200000))
    co.sleep(0.001)
    b:bufferevent():close()
    local ok, message, errno = writer:join()
    assert.is_nil(ok)
    assert.is_string(message)
    assert.is_true(errno == EPIPE or errno == ECONNRESET)
  end)

  tells("may be an error; what came before can be read", function(a, b)
    b:write "unread"
    a:write "data"
    co.sleep(0.001)
    b:bufferevent():close()             -- with bytes in its input: a reset
    co.sleep(0.001)
    assert.equal("unread", a:read(6))
    local data, message = a:read(1)
    assert.is_nil(data)
    assert.is_string(message)
  end)
end)

describe("stream:write", function()
  before_each(t.start)
  after_each(t.finish)

  local function unsent(stream) return #stream:bufferevent():output() end

  tells("returns the stream, and sends at once", function(a, b)
    assert.equal(a, a:write "data")
    assert.equal("data", b:read(4))
  end)

  tells("takes several values, numbers and buffers too", function(a, b)
    local buffer = libevent.buffer "buffer"
    assert.equal(a, a:write("one ", 2, " ", 3.5, " ", buffer, " end\n"))
    assert.equal(0, #buffer)
    assert.equal("one 2 3.5 buffer end", b:read())
    assert.equal(a, a:write())
    assert.equal(a, a:write "")
    assert.equal(a, a:write(libevent.buffer()))
  end)

  tells("writes nothing if a value is none", function(a, b)
    for _, value in ipairs {{}, true, print, a} do
      tasks.misuse("bad argument #2 to 'write'", a, "write", "x", value)
    end
    assert.is_false(pcall(a.write, a, nil))
    a:write "data":close()
    assert.equal("data", b:read "a")
  end)

  tells("waits while the peer does not read", function(a, b)
    local writer = co.spawn(a.write, a, t.pattern(2 << 20))
    co.sleep(0.005)
    assert.equal("waiting", writer:status())
    local reader = co.spawn(b.read, b, 2 << 20)
    assert.equal(a, writer:join())
    a:flush()
    assert.equal(t.pattern(2 << 20), reader:join())
  end)

  tells("waits only where there is much", function(a)
    a:set_timeout(0.003)
    local piece = ("x"):rep(1000)
    while a:write(piece) do assert.is_true(unsent(a) <= 64 * 1024) end
    assert.is_true(unsent(a) > 0)
    assert.is_true(unsent(a) < 80 * 1024)
  end)

  tells("by a timeout has written all the same, once", function(a, b)
    local text = t.pattern(1 << 20)
    a:set_timeout(0.002)
    fails("timeout", a:write(text))
    local reader = co.spawn(b.read, b, "a")
    a:set_timeout(5)
    assert.equal(a, a:write "!")
    a:shutdown()
    assert.equal(text .. "!", reader:join())
  end)

  tells("by a cancel or a deadline has written, too", function(a, b)
    local text = t.pattern(1 << 20)
    local writer = co.spawn(a.write, a, text)
    co.sleep(0.001)
    writer:cancel()
    fails("timeout", co.deadline(0.002, a.flush, a))
    local reader = co.spawn(b.read, b, "a")
    assert.equal(a, a:flush())
    a:shutdown()
    assert.equal(text, reader:join())
  end)

  tells("keeps the order of several writes", function(a, b)
    local reader = co.spawn(b.read, b, "a")
    local list = {}
    for i = 1, 2000 do
      list[i] = ("%d,"):format(i):rep(i % 50)
      a:write(list[i])
    end
    a:close()
    assert.equal(table.concat(list), reader:join())
  end)

  tells("fails after the half was closed", function(a, b)
    a:write "data":shutdown()
    assert.equal("data", b:read "a")
    local call, ok = pcall(a.write, a, "more")
    assert.is_true(not call or ok == nil or ok == a)
    b:write "answer"
    assert.equal("answer", a:read(6))
  end)
end)

describe("stream:flush", function()
  before_each(t.start)
  after_each(t.finish)

  tells("returns at once where nothing is unsent", function(a)
    assert.equal(a, a:flush())
  end)

  tells("waits until all is handed over", function(a, b)
    fill(a)
    local task = co.spawn(function()
      a:flush()
      return #a:bufferevent():output()
    end)
    co.sleep(0.002)
    assert.equal("waiting", task:status())
    co.spawn(function() for _ in b:chunks() do end end)
    assert.equal(0, task:join())
  end)

  tells("ends by a timeout, and may be called again", function(a, b)
    fill(a)
    a:set_timeout(0.002)
    fails("timeout", a:flush())
    fails("timeout", a:flush())
    a:set_timeout()
    co.spawn(function() for _ in b:chunks() do end end)
    assert.equal(a, a:flush())
  end)
end)

describe("A stream that nobody reads", function()
  before_each(t.start)
  after_each(t.finish)

  tells("takes no more than a part, and the rest when it is read",
        function(a, b)
    local text = t.pattern(4 << 20)
    local writer = co.spawn(a.write, a, text)
    for _ = 1, 20 do tasks.turns() end
    assert.is_true(#b:bufferevent():input() < 1 << 20)
    assert.equal("waiting", writer:status())
    assert.equal(text, b:read(4 << 20))
    writer:join()
  end)

  tells("costs no turns of the loop", function(a, b)
    fill(a)
    local writer = co.spawn(a.write, a, ("x"):rep(200000))
    co.sleep(0.002)
    assert.equal("waiting", writer:status())
    writer:cancel()
    b:close()
  end)

  tells("tells of the end after it", function(a, b)
    a:write(("x"):rep(50000)):close()
    co.sleep(0.002)
    assert.equal(50000, #b:read "a")
  end)
end)

describe("Much data", function()
  before_each(t.start)
  after_each(t.finish)

  local text = t.pattern(MUCH)

  local function exchange(a, b)
    local list = {}
    for i, pair in ipairs {{a, b}, {b, a}} do
      list[i] = co.spawn(function()
        for at = 1, MUCH, 100000 do
          assert(pair[1]:write(text:sub(at, at + 99999)))
        end
        assert(pair[1]:shutdown())
      end)
      list[i + 2] = co.spawn(pair[2].read, pair[2], "a")
    end
    assert.is_true(text == list[3]:join())
    assert.is_true(text == list[4]:join())
    a:close()
    b:close()
  end

  it("goes both ways at once between sockets", function()
    play(function() exchange(ends()) end)
  end)

  it("goes both ways at once by TCP", function()
    play(function()
      local server
      local listener <close> = co.listen "127.0.0.1:0"
      local accepted = co.spawn(function() server = listener:accept() end)
      local client = co.connect(listener:sockname())
      accepted:join()
      exchange(server, client)
    end)
  end)

  it("goes both ways at once in a pair", function()
    play(function() exchange(co.pair()) end)
  end)
end)

