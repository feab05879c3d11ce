-- libevent.co: streams on all that has a descriptor, and pairs.
local co = require "libevent.co"
local libevent = require "libevent"
local process = require "spec.process"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local ends, fails, fill, play = tasks.ends, tasks.fails, tasks.fill, tasks.play

local EPIPE = 32

describe("co.pair", function()
  before_each(t.start)
  after_each(t.finish)

  local tells = tasks.joins(it, co.pair)

  tells("makes two streams that are connected", function(a, b)
    assert.matches("^libevent%.Stream", tostring(a))
    a:write "hello\n"
    b:write "world\n"
    assert.equal("hello", b:read())
    assert.equal("world", a:read())
    a:close()
    fails("eof", b:read())
  end)

  tells("wakes, times out and closes as a socket does", function(a, b)
    a:set_timeout(0.002)
    fails("timeout", a:read())
    a:set_timeout()
    local reader = co.spawn(a.read, a)
    co.sleep(0)
    fails("busy", a:read())
    b:write "data\n"
    assert.equal("data", reader:join())
    reader = co.spawn(a.read, a)
    co.sleep(0)
    a:close()
    fails("closed", reader:join())
  end)

  tells("has an end of each direction", function(a, b)
    a:write "question":shutdown()
    assert.equal("question", b:read "a")
    b:write "answer":shutdown()
    assert.equal("answer", a:read "a")
  end)

  tells("waits while the other end is not read", function(a, b)
    local n = fill(a)
    assert.is_true(n < 1 << 20)
    local writer = co.spawn(a.write, a, "!")
    assert.equal(n, #b:read(n))
    assert.equal("!", b:read(1))
    assert.equal(a, writer:join())
  end)

  it("is made in tasks only", function()
    assert.is_false(pcall(co.pair))
  end)
end)

describe("co.stream", function()
  before_each(t.start)
  after_each(t.finish)

  it("takes a descriptor, and owns it", function()
    local one, two = assert(libevent.socketpair())
    play(function()
      local a = co.stream(one)
      assert.equal(one, a:getfd())
      co.stream(two):write "data":close()
      assert.equal("data", a:read "a")
      a:close()
    end)
    assert.is_false(t.isopen(one))
    assert.is_false(t.isopen(two))
  end)

  it("takes a bufferevent, and what has come to it", function()
    play(function()
      local one, two = assert(libevent.socketpair())
      local base = co.base()
      local bev = base:bufferevent(one)
      bev:enable "read"
      local other = co.stream(two)
      other:write "early\nla"
      co.sleep(0.002)
      assert.equal(8, #bev:input())
      local stream = co.stream(bev)
      assert.equal(bev, stream:bufferevent())
      assert.equal("early", stream:read())
      other:write "te\n":close()
      assert.equal("late", stream:read())
      stream:close()
      assert.is_true(t.isclosed(bev))
    end)
  end)

  it("takes the pipe of a program, to be read", function()
    play(function()
      local file = io.popen "printf 'one\\ntwo\\n'; sleep 0.01; printf three"
      local stream = co.stream(file)
      local list = {}
      for line in stream:lines() do list[#list + 1] = line end
      assert.same({"one", "two", "three"}, list)
      stream:close()
    end)
  end)

  it("takes the pipe of a program, to be written", function()
    local path = os.tmpname()
    play(function()
      local file = io.popen("cat >" .. path, "w")
      local stream = co.stream(file)
      local text = t.pattern(300000)
      for at = 1, #text, 50000 do
        assert(stream:write(text:sub(at, at + 49999)))
      end
      assert(stream:flush())
      stream:close()
      file:close()
      assert.equal(text, t.contents(path))
    end)
    os.remove(path)
  end)

  it("tells of a pipe that nobody reads", function()
    play(function()
      local file = io.popen("true", "w")
      local stream = co.stream(file)
      local ok, message, errno
      for _ = 1, 500 do
        ok, message, errno = stream:write(("x"):rep(1000))
        if not ok then break end
        co.sleep(0.001)
      end
      assert.is_nil(ok)
      assert.is_string(message)
      assert.equal(EPIPE, errno)
      stream:close()
    end)
  end)

  it("keeps a file alive that is read", function()
    play(function()
      local stream = co.stream(io.popen "sleep 0.01; echo data")
      collectgarbage() collectgarbage()
      assert.equal("data", stream:read())
      stream:close()
    end)
  end)

  it("refuses what is none", function()
    play(function()
      for _, value in ipairs {"x", {}, true, 1 << 20, -1, 0.5} do
        assert.is_false(pcall(co.stream, value))
      end
      assert.is_false(pcall(co.stream))
      local bev = co.base():bufferevent()
      bev:close()
      t.raises("closed", co.stream, bev)
      local a, b = ends()
      a:close()
      b:close()
      assert.is_false(pcall(co.stream, a:bufferevent()))
    end)
  end)

  it("needs a task, or the base of a bufferevent", function()
    assert.is_false(pcall(co.stream, 0))
  end)
end)

describe("co.stdin", function()
  before_each(t.start)
  after_each(t.finish)

  -- What a script says whose standard input this is, in the words of a shell.
  local function run(code, stdin)
    local path = t.write("local co = require 'libevent.co'\n" .. code)
    local program = ("timeout --foreground %d %s %s 2>&1"):format(20 * t.slow,
      os.getenv "LUA" or "lua5.4", path)
    local pipe = io.popen((stdin:gsub("PROGRAM", program)))
    local text = pipe:read "a"
    pipe:close()
    os.remove(path)
    return text
  end

  local COUNT = [[
    co.run(function()
      local n, last = 0, nil
      for line in co.stdin():lines() do
        n, last = n + 1, line
      end
      print(n, last)
    end)
  ]]

  it("reads a pipe, while others run", function()
    local path = t.write [[
      local co = require "libevent.co"
      io.stdout:setvbuf "no"
      co.run(function()
        local stdin <close> = co.stdin()
        co.spawn(function() print "others run" end)
        print("line", stdin:read())
        print("end", stdin:read())
      end)
    ]]
    finally(function()
      process.killall()
      os.remove(path)
    end)
    local p = process.start(path)
    p:expect "others run\n$"
    p:write "data\n"
    p:expect "line\tdata\n$"
    p:closeinput()
    assert.matches("end\tnil\teof\n$", (p:finish()))
  end)

  it("reads a file", function()
    local path = t.write(("some line\n"):rep(20000) .. "the last")
    assert.equal("20001\tthe last\n", run(COUNT, "PROGRAM <" .. path))
    os.remove(path)
  end)

  it("reads what is empty", function()
    assert.equal("0\tnil\n", run(COUNT, "PROGRAM </dev/null"))
    assert.equal("0\tnil\n", run(COUNT, ": | PROGRAM"))
    local path = t.write ""
    assert.equal("0\tnil\n", run(COUNT, "PROGRAM <" .. path))
    os.remove(path)
  end)

  it("reads much through a pipe", function()
    assert.equal("300000\t300000\n", run(COUNT, "seq 300000 | PROGRAM"))
  end)

  it("reads a terminal", function()
    local typed = "(echo data; sleep 0.05; printf '\\004')"
    assert.matches("1\tdata", run(COUNT,
      typed .. " | script -qec 'PROGRAM' /dev/null"), 1, true)
  end)

  it("lets the script end when it is closed", function()
    assert.equal("one\n", run([[
      co.run(function()
        local stdin = co.stdin()
        print(stdin:read())
        stdin:close()
      end)
    ]], "(echo one; exec sleep 0.05) | PROGRAM"))
  end)
end)

describe("A stream", function()
  before_each(t.start)
  after_each(t.finish)

  local tells = tasks.joins(it)

  it("knows its addresses", function()
    play(function()
      local listener <close> = co.listen("127.0.0.1:0", function(stream, peer)
        stream:write(peer, " ", stream:peername(), " ", stream:sockname(), "\n")
      end)
      local stream <close> = co.connect(listener:sockname())
      assert.equal(listener:sockname(), stream:peername())
      local mine = stream:sockname()
      assert.equal(("%s %s %s"):format(mine, mine, listener:sockname()),
                   stream:read())
    end)
  end)

  tells("has no session of TLS in the clear", function(a)
    assert.is_nil((a:tls()))
  end)

  tells("says what it must be given", function(a)
    for _, format in ipairs {"*l", "n", "", "all", -1, 1.5, {}, true} do
      tasks.misuse("bad argument #1 to 'read'", a, "read", format)
    end
    for _, max in ipairs {-1, "x", {}, 1.5} do
      tasks.misuse("bad argument #2 to 'read'", a, "read", "l", max)
      tasks.misuse("bad argument #2 to 'read'", a, "read", "a", max)
      tasks.misuse("bad argument #1 to 'read_some'", a, "read_some", max)
      tasks.misuse("bad argument #2 to 'read_until'", a, "read_until", ";", max)
      tasks.misuse("bad argument #1 to 'lines'", a, "lines", max)
      tasks.misuse("bad argument #1 to 'chunks'", a, "chunks", max)
    end
    tasks.misuse("bad argument #1 to 'read_some'", a, "read_some", 0)
    tasks.misuse("bad argument #1 to 'read_until'", a, "read_until", "")
    tasks.misuse("bad argument #1 to 'read_until'", a, "read_until")
    tasks.misuse("bad argument #1 to 'read_until'", a, "read_until", {})
  end)

  tells("is refused what is none", function(a)
    for _, value in ipairs {1, {}, "x", io.stdout, co.current()} do
      for _, name in ipairs {"read", "write", "close", "flush", "lines"} do
        assert.is_false(pcall(a[name], value))
      end
    end
  end)

  tells("waits in tasks only, but gives what is there", function(a, b)
    local seen = {}
    b:write "data\n"
    co.await(function(done)
      co.base():timer(function()
        seen[1] = a:read()
        seen[2], seen[3] = pcall(a.read, a)
        done()
      end):add(0.002)
    end)
    assert.equal("data", seen[1])
    assert.is_false(seen[2])
    assert.matches("stream:read", seen[3], 1, true)
    b:write "more\n"
    assert.equal("more", a:read())
  end)

  it("is not waited for by tasks of another base", function()
    local other = t.base()
    play(function()
      local a, b = ends()
      local task = co.spawn(other, function() return pcall(a.read, a) end)
      other:loop "nonblock"
      b:write "data\n"
      assert.equal("data", a:read())
      other:loop "nonblock"
      if task:status() == "done" then assert.is_false((task:join())) end
      a:close()
      b:close()
      other:loop "nonblock"
    end)
    other:close()
  end)

  tells("passes data on as buffers", function(a, b)
    local c, d = ends()
    a:write "data\n"
    co.sleep(0.001)
    c:write(b:bufferevent():input())
    assert.equal("data", d:read())
    c:close()
    d:close()
  end)
end)

