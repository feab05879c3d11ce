--- What LuaSocket leaves open, as it has no tasks: who waits for
--- libevent.socket lets others run, and ends in every way that a task can end.

local co = require "libevent.co"
local socket = require "libevent.socket"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local function run(f) tasks.within(5, f) end

--- The two ends of a connection.
local function pair()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  local a = assert(socket.connect("127.0.0.1", port))
  local b = assert(server:accept())
  server:close()
  return a, b
end

--- A UDP socket on a free port.
local function udp()
  local s = socket.udp()
  assert(s:setsockname("127.0.0.1", 0))
  return s
end

describe("A task that waits for libevent.socket", function()
  before_each(t.start)
  after_each(t.finish)

  it("lets others run", function()
    local order = {}
    run(function()
      local a, b = pair()
      local task = co.spawn(function()
        table.insert(order, (b:receive()))
        b:send "two\n"
      end)
      table.insert(order, "zero")
      a:send "one\n"
      table.insert(order, (a:receive()))
      task:join()
      a:close()
      b:close()
    end)
    assert.same({"zero", "one", "two"}, order)
  end)

  it("is one of many", function()
    local sum = 0
    run(function()
      local server = assert(socket.bind("127.0.0.1", 0))
      local _, port = server:getsockname()
      co.spawn(function()
        for _ = 1, 50 do
          local client = server:accept()
          co.spawn(function()
            for line in function() return (client:receive()) end do
              client:send(line * 2 .. "\n")
            end
            client:close()
          end)
        end
        server:close()
      end)
      local list = {}
      for i = 1, 50 do
        list[i] = co.spawn(function()
          local c = assert(socket.connect("127.0.0.1", port))
          for j = 1, 10 do
            c:send(i * j .. "\n")
            local line = c:receive()
            sum = sum + math.tointeger(line)
          end
          c:close()
        end)
      end
      for _, task in ipairs(list) do task:join() end
    end)
    assert.equal(2 * 55 * 1275, sum)
  end)

  it("sends what others read slowly", function()
    local got
    run(function()
      local a, b = pair()
      local data = t.pattern(8000000)
      local task = co.spawn(function()
        local pieces = {}
        repeat
          local piece, message, part = b:receive(100000)
          pieces[#pieces + 1] = piece or part
        until message
        got = table.concat(pieces) == data
        b:close()
      end)
      assert.equal(#data, a:send(data))
      a:close()
      task:join()
    end)
    assert.is_true(got)
  end)

  it("gets 'closed' when the socket is closed", function()
    local results = {}
    run(function()
      local a, b = pair()
      local server, u = assert(socket.bind("127.0.0.1", 0)), udp()
      local function wait(name, f)
        co.spawn(function() results[name] = table.pack(f()) end)
      end
      a:send "part"
      wait("receive", function() return b:receive() end)
      wait("send", function() return (select(2, a:send(("x"):rep(1e7)))) end)
      wait("accept", function() return server:accept() end)
      wait("datagram", function() return u:receive() end)
      co.sleep(0.02)
      for _, s in ipairs {b, a, server, u} do s:close() end
      co.sleep(0)
    end)
    assert.same({nil, "closed", "", n = 3}, results.receive)
    assert.same({"closed", n = 1}, results.send)
    assert.same({nil, "closed", n = 2}, results.accept)
    assert.same({nil, "closed", n = 2}, results.datagram)
  end)

  it("gets 'busy' where another one waits", function()
    run(function()
      local a, b = pair()
      local server, u = assert(socket.bind("127.0.0.1", 0)), udp()
      local list = {
        co.spawn(function() return b:receive() end),
        co.spawn(function() return server:accept() end),
        co.spawn(function() return u:receive() end),
      }
      co.sleep(0.01)
      assert.same({nil, "busy", "p"}, {b:receive("*l", "p")})
      assert.same({nil, "busy"}, {server:accept()})
      assert.same({nil, "busy"}, {u:receive()})
      assert.equal(3, b:send "abc")
      a:send "line\n"
      assert.equal("line", list[1]:join())
      for _, s in ipairs {a, b, server, u} do s:close() end
    end)
  end)

  it("is cancelled, and what has come stays", function()
    run(function()
      local a, b = pair()
      for _, pattern in ipairs {"*l", 100, "*a"} do
        local task = co.spawn(function() return b:receive(pattern) end)
        a:send "ab"
        co.sleep(0.01)
        task:cancel()
        assert.same({nil, "cancelled"}, {task:join()})
      end
      a:send "c\n"
      assert.equal("abababc", b:receive())
      a:close()
      b:close()
    end)
  end)

  it("is cancelled wherever it is", function()
    run(function()
      local a, b = pair()
      local server, u = assert(socket.bind("127.0.0.1", 0)), udp()
      local list = {
        co.spawn(function() server:accept() end),
        co.spawn(function() u:receivefrom() end),
        co.spawn(function() socket.select({a, server}, nil) end),
        co.spawn(function() a:send(("x"):rep(1e7)) end),
        co.spawn(function() socket.sleep(100) end),
        co.spawn(function() socket.connect("192.0.2.1", 1) end),
      }
      co.sleep(0.01)
      for _, task in ipairs(list) do task:cancel() end
      for _, task in ipairs(list) do task:join() end
      server:settimeout(0)
      assert.same({nil, "timeout"}, {server:accept()})
      for _, s in ipairs {a, b, server, u} do s:close() end
    end)
  end)

  it("has a deadline around it", function()
    run(function()
      local a, b = pair()
      a:send "ab"
      assert.same({nil, "timeout"},
                  {co.deadline(0.02, function() return b:receive() end)})
      a:send "c\n"
      assert.equal("abc", b:receive())
      a:close()
      b:close()
    end)
  end)

  it("waits in metamethods, iterators and protected calls", function()
    run(function()
      local a, b = pair()
      local lines = setmetatable({}, {__index = function()
        return b:receive()
      end})
      a:send "one\ntwo\n"
      assert.equal("one", lines.next)
      local tried = socket.newtry(function()
        a:send "three\n"
        assert.equal("two", b:receive())
        assert.equal("three", b:receive())
      end)
      assert.same({nil, "bad"},
                  {socket.protect(function() tried(nil, "bad") end)()})
      a:close()
      b:close()
    end)
  end)
end)

describe("The timeouts of libevent.socket", function()
  before_each(t.start)
  after_each(t.finish)

  --- Sends a byte every 20 ms, ten of them.
  local function trickle(a)
    return co.spawn(function()
      for _ = 1, 10 do
        co.sleep(0.02)
        a:send "x"
      end
      a:send "\n"
    end)
  end

  it("of mode 'b' begin anew with all that comes", function()
    run(function()
      local a, b = pair()
      b:settimeout(0.1 * t.slow, "b")
      trickle(a)
      assert.equal(("x"):rep(10), b:receive())
      trickle(a)
      assert.equal(("x"):rep(10), b:receive(10))
      a:close()
      b:close()
    end)
  end)

  it("of mode 't' are for the whole call", function()
    run(function()
      local a, b = pair()
      b:settimeout(0.07, "t")
      local task = trickle(a)
      local data, message, part = b:receive()
      assert.same({nil, "timeout"}, {data, message})
      assert.is_true(#part > 0 and #part < 10)
      b:settimeout(-1, "t")
      assert.equal(("x"):rep(10), b:receive("*l", part))
      task:join()
      a:close()
      b:close()
    end)
  end)

  it("let send go on while the peer takes something", function()
    run(function()
      local a, b = pair()
      b:setoption("recv-buffer-size", 32768)
      a:settimeout(0.3 * t.slow, "b")
      local task = co.spawn(function()
        local n = 0
        repeat
          local data, _, part = b:receive(100000)
          n = n + #(data or part)
          co.sleep(0.01)
        until not data
        return n
      end)
      assert.equal(2000000, a:send(("x"):rep(2000000)))
      a:close()
      assert.equal(2000000, task:join())
      b:close()
    end)
  end)

  it("of 0 give others a turn", function()
    run(function()
      local a, b = pair()
      b:settimeout(0)
      co.spawn(function() a:send "x\n" end)
      local n = 0
      while not b:receive() do n = n + 1 end
      assert.is_true(n < 100)
      a:close()
      b:close()
    end)
  end)
end)

describe("libevent.socket's sockets", function()
  before_each(t.start)
  after_each(t.finish)

  it("are closed when nobody has them any more", function()
    run(function()
      local a, b = pair()
      a:send "x"
      b:receive(1)
      socket.bind("127.0.0.1", 0)
      udp()
      socket.unix.stream()
      a, b = nil, nil                                   -- luacheck: ignore
      collectgarbage() collectgarbage()
    end)
  end)

  it("are closed at the end of a block", function()
    run(function()
      local a, b
      do
        local one, other = pair()
        local _ <close> = one
        local _ <close> = other
        local server <close> = assert(socket.bind("127.0.0.1", 0))
        local u <close> = udp()
        assert.is_true(server:getfd() > 0 and u:getfd() > 0)
        a, b = one, other
      end
      assert.equal(-1, a:getfd())
      assert.equal(-1, b:getfd())
    end)
  end)

  it("wait in tasks only, and say so", function()
    local s = assert(socket.bind("127.0.0.1", 0))
    local _, port = s:getsockname()
    local u = udp()
    t.raises("in a task only", s.accept, s)
    t.raises("in a task only", u.receive, u)
    t.raises("in a task only", socket.connect, "127.0.0.1", port)
    t.raises("in a task only", socket.select, {s}, nil, 1)
    t.raises("in a task only", socket.sleep, 1)
    t.raises("in a task only", socket.dns.toip, "localhost")
    s:settimeout(0)
    assert.same({nil, "timeout"}, {s:accept()})
    s:close()
    u:close()
  end)

  it("give their descriptor away, and get another one", function()
    run(function()
      local a, b = pair()
      a:send "one\n"
      assert.equal("one", b:receive())
      local fd = b:getfd()
      b:setfd(-1)
      assert.same({nil, "closed", ""}, {b:receive()})
      b:setfd(fd)
      a:send "two\n"
      assert.equal("two", b:receive())
      a:close()
      b:close()
    end)
  end)

  it("wait for their turn at a unix socket that is full", function()
    local path = t.path()
    run(function()
      local server = socket.unix.stream()
      assert(server:bind(path))
      assert(server:listen(1))
      local list = {}
      for i = 1, 10 do
        list[i] = co.spawn(function()
          local c = socket.unix.stream()
          assert(c:connect(path))
          c:send(i .. "\n")
          c:close()
        end)
      end
      co.sleep(0.02)
      local sum = 0
      for _ = 1, 10 do
        local c = server:accept()
        sum = sum + math.tointeger(c:receive())
        c:close()
      end
      assert.equal(55, sum)
      for _, task in ipairs(list) do task:join() end
      server:close()
    end)
    os.remove(path)
  end)
end)

describe("install", function()
  local names = {"socket", "socket.core", "socket.unix", "socket.http",
                 "socket.url", "ssl", "ssl.https"}
  local before, wrap, resume

  before_each(function()
    before, wrap, resume = {}, coroutine.wrap, coroutine.resume
    for _, name in ipairs(names) do before[name] = package.loaded[name] end
  end)

  after_each(function()
    for _, name in ipairs(names) do package.loaded[name] = before[name] end
    package.preload["ssl"] = nil
    local coroutines = package.loaded.coroutine
    coroutines.wrap, coroutines.resume = wrap, resume
  end)

  it("puts it in LuaSocket's place, for what is required then", function()
    local old = require "socket.http"
    local installed = require "libevent.socket".install()
    assert.equal(socket, installed)
    assert.equal(socket, require "socket")
    assert.equal(socket.unix, require "socket.unix")
    assert.equal(socket.tcp, require "socket.core".tcp)
    assert.equal(require "libevent.ssl", require "ssl")
    assert.not_equal(old, require "socket.http")
  end)
end)
