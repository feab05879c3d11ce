-- libevent.co: streams, read in straight lines.
local co = require "libevent.co"
local libevent = require "libevent"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local ends, fails, fill = tasks.ends, tasks.fails, tasks.fill
local play, tells = tasks.play, tasks.joins(it)
local readings = tasks.readings

-- Writes in a task of its own.
local function saying(stream, ...)
  return co.spawn(tasks.say, stream, ...)
end

describe("stream:read of bytes", function()
  before_each(t.start)
  after_each(t.finish)

  tells("gives just so many, however they come", function(a, b)
    saying(b, "a", "bc", "defg")
    assert.equal("abc", a:read(3))
    assert.equal("de", a:read(2))
    assert.equal("fg", a:read(2))
    fails("eof", a:read(1))
  end)

  tells("gives fewer at the end", function(a, b)
    saying(b, "abc")
    assert.equal("abc", a:read(10))
    fails("eof", a:read(10))
    fails("eof", a:read(10))
  end)

  tells("gives zero bytes unless it is the end", function(a, b)
    saying(b, "abc")
    assert.equal("", a:read(0))
    assert.equal("abc", a:read(3))
    fails("eof", a:read(0))
  end)

  tells("gives all bytes there are", function(a, b)
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    local text = table.concat(bytes)
    saying(b, text, text)
    assert.equal(text .. text, a:read(512))
  end)

  tells("gives more than is kept of what nobody reads", function(a, b)
    local text = t.pattern(400000)
    local writer = saying(b, text)
    assert.equal(text, a:read(400000))
    writer:join()
  end)

  tells("leaves the rest to be read otherwise", function(a, b)
    saying(b, "12three\nfourFIVE,six")
    assert.equal("12", a:read(2))
    assert.equal("three", a:read "l")
    assert.equal("four", a:read(4))
    assert.equal("FIVE", a:read_until ",")
    assert.equal("si", a:read_some(2))
    assert.equal("x", a:read "a")
  end)
end)

describe("stream:read of lines", function()
  before_each(t.start)
  after_each(t.finish)

  tells("gives them without their ends", function(a, b)
    saying(b, "one\ntwo\r\n\n\r\nfive")
    assert.equal("one", a:read "l")
    assert.equal("two", a:read())
    assert.equal("", a:read(nil))
    assert.equal("", a:read "l")
    assert.equal("five", a:read "l")
    fails("eof", a:read "l")
  end)

  tells("gives them with their ends", function(a, b)
    saying(b, "one\ntwo\r\n\nfour")
    assert.equal("one\n", a:read "L")
    assert.equal("two\r\n", a:read "L")
    assert.equal("\n", a:read "L")
    assert.equal("four", a:read "L")
    fails("eof", a:read "L")
  end)

  tells("takes a carriage return for no end", function(a, b)
    saying(b, "a\rb\r\r\n\r")
    assert.equal("a\rb\r", a:read "l")
    assert.equal("\r", a:read "l")
  end)

  tells("finds ends that come in two pieces", function(a, b)
    saying(b, "one\r", "\ntw", "o", "\n", "\r", "\n")
    assert.equal("one", a:read "l")
    assert.equal("two", a:read "l")
    assert.equal("", a:read "l")
    fails("eof", a:read "l")
  end)

  tells("takes zero bytes as any other", function(a, b)
    saying(b, "a\0b\n\0\n")
    assert.equal("a\0b", a:read "l")
    assert.equal("\0", a:read "l")
  end)

  tells("gives many that come at once", function(a, b)
    local list = {}
    for i = 1, 5000 do list[i] = "line " .. i end
    saying(b, table.concat(list, "\n"), "\n")
    for i = 1, 5000 do
      if a:read "l" ~= list[i] then error(list[i]) end
    end
    fails("eof", a:read "l")
  end)

  tells("refuses one that is too long, and leaves it", function(a, b)
    saying(b, "1234567890\nrest\n")
    fails("line too long", a:read("l", 9))
    fails("line too long", a:read("L", 9))
    fails("line too long", a:read("l", 1))
    assert.equal("1234567890", a:read("l", 10))
    assert.equal("rest\n", a:read("L", 4))
  end)

  tells("refuses one whose end has not come", function(a, b)
    b:write "12345678901"
    fails("line too long", a:read("l", 8))
    b:write "2\nrest\n"
    assert.equal("123456789012", a:read "l")
    assert.equal("rest", a:read "l")
  end)

  tells("takes 65536 bytes unless told otherwise", function(a, b)
    local long = ("x"):rep(65536)
    saying(b, long, "\n", long, "y\n", long, "yz")
    assert.equal(long, a:read "l")
    fails("line too long", a:read "l")
    assert.equal(long .. "y", a:read("l", 65537))
    fails("line too long", a:read "l")
    assert.equal(long .. "yz", a:read("L", 100000))
  end)

  tells("takes none of 0 bytes but empty ones", function(a, b)
    saying(b, "\n", "x\n")
    assert.equal("", a:read("l", 0))
    fails("line too long", a:read("l", 0))
  end)
end)

describe("stream:read of all", function()
  before_each(t.start)
  after_each(t.finish)

  tells("waits for the end", function(a, b)
    saying(b, "one ", "two ", "three")
    assert.equal("one two three", a:read "a")
  end)

  tells("gives '' when nothing is left, as Lua's files do", function(a, b)
    saying(b, "data")
    assert.equal("data", a:read "a")
    assert.equal("", a:read "a")
    fails("eof", a:read "l")
  end)

  tells("refuses more than a limit, and leaves it", function(a, b)
    saying(b, "1234567890")
    fails("too long", a:read("a", 9))
    assert.equal("1234567890", a:read("a", 10))
  end)

  tells("refuses before the end has come", function(a, b)
    b:write(("x"):rep(1000))
    fails("too long", a:read("a", 999))
    assert.equal(1000, #a:read(1000))
  end)

  tells("has no limit unless told", function(a, b)
    local text = t.pattern(800000)
    local writer = saying(b, text)
    assert.equal(text, a:read "a")
    writer:join()
  end)
end)

describe("stream:read_until", function()
  before_each(t.start)
  after_each(t.finish)

  tells("gives what is before a delimiter, and takes that", function(a, b)
    saying(b, "one--two----four")
    assert.equal("one", a:read_until "--")
    assert.equal("two", a:read_until "--")
    assert.equal("", a:read_until "--")
    assert.equal("four", a:read "a")
  end)

  tells("finds one that comes in pieces", function(a, b)
    saying(b, "data\r", "\n", "\r", "\nrest")
    assert.equal("data", a:read_until "\r\n\r\n")
    assert.equal("rest", a:read "a")
  end)

  tells("is not misled by half a delimiter", function(a, b)
    saying(b, "aaab", "aaaaab", "b")
    assert.equal("aaabaaa", a:read_until "aabb")
  end)

  tells("leaves what has none at the end", function(a, b)
    saying(b, "some", "thing")
    fails("eof", a:read_until ";")
    assert.equal("something", a:read "a")
  end)

  tells("refuses more than a limit before it, and leaves it", function(a, b)
    saying(b, "12345;;rest")
    fails("too long", a:read_until(";;", 4))
    assert.equal("12345", a:read_until(";;", 5))
    assert.equal("rest", a:read "a")
  end)

  tells("refuses it when it has not come", function(a, b)
    b:write(("x"):rep(100))
    fails("too long", a:read_until(";;", 50))
    b:write ";;"
    assert.equal(100, #a:read_until(";;", 100))
  end)

  tells("takes 65536 bytes unless told otherwise", function(a, b)
    local long = ("x"):rep(65536)
    saying(b, long, ";", long, "y;")
    assert.equal(long, a:read_until ";")
    fails("too long", a:read_until ";")
    assert.equal(65537, #a:read_until(";", 70000))
  end)

  tells("takes a delimiter as it is", function(a, b)
    saying(b, "a.b%c\0d")
    assert.equal("a", a:read_until ".")
    assert.equal("b", a:read_until "%")
    assert.equal("c", a:read_until "\0")
  end)
end)

describe("stream:read_some", function()
  before_each(t.start)
  after_each(t.finish)

  tells("gives what has come, at once", function(a, b)
    b:write "some"
    assert.equal("some", a:read_some())
    b:write "more"
    tasks.turns()
    assert.equal("mo", a:read_some(2))
    assert.equal("re", a:read_some(10))
  end)

  tells("waits for it", function(a, b)
    local reader = co.spawn(a.read_some, a)
    co.sleep(0.001)
    assert.equal("waiting", reader:status())
    b:write "data"
    assert.equal("data", reader:join())
  end)

  tells("ends with what has come", function(a, b)
    saying(b, "last")
    assert.equal("last", a:read_some())
    fails("eof", a:read_some())
  end)
end)

describe("An iterator of a stream", function()
  before_each(t.start)
  after_each(t.finish)

  tells("gives its lines, up to the end", function(a, b)
    saying(b, "one\n", "two\r\nthr", "ee")
    local list = {}
    for line in a:lines() do list[#list + 1] = line end
    assert.same({"one", "two", "three"}, list)
    fails("eof", a:read())
  end)

  tells("gives what comes, up to the end", function(a, b)
    saying(b, "one", "two", "three")
    local list = {}
    for data in a:chunks() do list[#list + 1] = data end
    assert.equal("onetwothree", table.concat(list))
  end)

  tells("gives pieces of no more than so many bytes", function(a, b)
    saying(b, "1234567")
    local list = {}
    for data in a:chunks(3) do list[#list + 1] = data end
    assert.same({"123", "456", "7"}, list)
  end)

  tells("ends at a line that is too long", function(a, b)
    saying(b, "one\n123456\n")
    local list = {}
    for line in a:lines(5) do list[#list + 1] = line end
    assert.same({"one"}, list)
    fails("line too long", a:read("l", 5))
    assert.equal("123456", a:read())
  end)

  tells("ends by a timeout, and goes on in another one", function(a, b)
    b:write "one\ntw"
    tasks.turns()
    a:set_timeout(0.003)
    for line in a:lines() do assert.equal("one", line) end
    b:write "o\n"
    tasks.turns()
    for line in a:lines() do assert.equal("two", line) end
  end)

  tells("may be left in the middle", function(a, b)
    saying(b, "one\ntwo\nthree\n")
    for line in a:lines() do if line == "one" then break end end
    assert.equal("two", a:read())
  end)
end)

-- {==== Waits that end before the data have come ====

-- How it ends: cut(stream, read).
local cuts = {
  ["a timeout"] = function(s, read)
    s:set_timeout(0.003)
    assert.is_nil((read(s)))
    s:set_timeout()
  end,
  ["no time at all"] = function(s, read)
    tasks.turns()
    s:set_timeout(0)
    assert.is_nil((read(s)))
    s:set_timeout()
  end,
  ["a deadline"] = function(s, read)
    fails("timeout", co.deadline(0.003, read, s))
  end,
  ["a cancel"] = function(s, read)
    local task = co.spawn(read, s)
    co.sleep(0.002)
    task:cancel()
    fails("cancelled", task:join())
  end,
  ["a cancel before it began to wait"] = function(s, read)
    local task = co.spawn(read, s)
    task:cancel()
    fails("cancelled", task:join())
  end,
}

describe("What has come of data is not lost by", function()
  before_each(t.start)
  after_each(t.finish)

  for name, cut in pairs(cuts) do
    for _, r in ipairs(readings) do
      tells(("%s while reading %s"):format(name, r[1]), function(a, b)
        local read = r[4]
        if r[2] ~= "" then b:write(r[2]) end
        cut(a, read)
        cut(a, read)
        b:write(r[3])
        if r[6] then b:shutdown() end
        assert.equal(r[5], read(a))
      end)
    end
  end

  for _, r in ipairs(readings) do
    tells("a timeout while reading " .. r[1] .. ", to be read otherwise",
          function(a, b)
      if r[2] == "" then return end
      b:write(r[2])
      a:set_timeout(0.002)
      fails("timeout", r[4](a))
      assert.equal(r[2], a:read_some())
    end)
  end
end)

-- ====}

describe("The timeout of a stream", function()
  before_each(t.start)
  after_each(t.finish)

  tells("is of each call that waits", function(a, b)
    local base = co.base()
    local before = base:gettime_monotonic "precise"
    assert.equal(a, a:set_timeout(0.01))
    fails("timeout", a:read(1))
    fails("timeout", a:read "l")
    assert.is_true(base:gettime_monotonic "precise" - before >= 0.02)
    a:set_timeout(nil)
    co.spawn(function()
      co.sleep(0.015)
      b:write "x"
    end)
    assert.equal("x", a:read(1))
    a:set_timeout(5)
    b:write "y"
    assert.equal("y", a:read(1))
  end)

  tells("is of the whole call, however the data trickle", function(a, b)
    local over
    co.spawn(function()
      while not over do
        b:write "x"
        co.sleep(0.002)
      end
    end)
    a:set_timeout(0.01)
    fails("timeout", a:read(100000))
    over = true
  end)

  tells("of 0 takes what is there", function(a, b)
    a:set_timeout(0)
    fails("timeout", a:read(1))
    b:write "data"
    tasks.turns()
    assert.equal("data", a:read(4))
    fails("timeout", a:read "l")
  end)

  tells("is needless where nothing is waited for", function(a, b)
    b:write "one\ntwo\n"
    tasks.turns()
    a:set_timeout(0)
    assert.equal("one", a:read())
    assert.equal("two", a:read())
  end)

  tells("leaves a deadline in force, and the other way round", function(a)
    a:set_timeout(0.002)
    co.deadline(5, function() fails("timeout", a:read()) end)
    a:set_timeout(5)
    fails("timeout", co.deadline(0.002, a.read, a))
  end)

  tells("is checked", function(a)
    for _, value in ipairs {-1, 0/0, "x", {}} do
      tasks.misuse("bad argument #1 to 'set_timeout'", a, "set_timeout", value)
    end
  end)
end)

describe("Two tasks and one stream", function()
  before_each(t.start)
  after_each(t.finish)

  tells("cannot both read it: the second is told 'busy'", function(a, b)
    local reader = co.spawn(a.read, a, "l")
    co.sleep(0.001)
    fails("busy", a:read "l")
    fails("busy", a:read(1))
    fails("busy", a:read "a")
    fails("busy", a:read_some())
    fails("busy", a:read_until ";")
    b:write "data\n"
    assert.equal("data", reader:join())
    b:write "more\n"
    assert.equal("more", a:read "l")
  end)

  tells("cannot take what the other one waits to be whole", function(a, b)
    local reader = co.spawn(a.read, a, 10)
    b:write "12345"
    co.sleep(0.001)
    fails("busy", a:read_some())
    fails("busy", a:read(1))
    b:write "67890"
    assert.equal("1234567890", reader:join())
  end)

  tells("cannot both wait for room: the second is told 'busy'", function(a, b)
    fill(a)
    local writer = co.spawn(a.write, a, ("x"):rep(200000))
    co.sleep(0.001)
    fails("busy", a:flush())
    fails("busy", a:write(("y"):rep(200000)))
    assert.equal("waiting", writer:status())
    co.spawn(function() for _ in b:chunks() do end end)
    assert.equal(a, writer:join())
    assert.equal(a, a:flush())
  end)

  tells("may read and write it at once", function(a, b)
    local reader = co.spawn(a.read, a, "l")
    co.sleep(0)
    fill(a)
    local writer = co.spawn(a.write, a, ("x"):rep(200000))
    co.sleep(0.001)
    b:write "data\n"
    assert.equal("data", reader:join())
    co.spawn(function() for _ in b:chunks() do end end)
    assert.equal(a, writer:join())
  end)

  tells("may take turns when the first has given up", function(a, b)
    a:set_timeout(0.002)
    fails("timeout", co.spawn(a.read, a, "l"):join())
    local reader = co.spawn(a.read, a, "l")
    co.sleep(0)
    reader:cancel()
    a:set_timeout()
    b:write "data\n"
    assert.equal("data", a:read "l")
  end)

  tells("are not mixed up by a cancel and a new reader", function(a, b)
    for i = 1, 20 do
      local one = co.spawn(a.read, a, "l")
      co.sleep(0)
      one:cancel()
      local two = co.spawn(a.read, a, "l")
      b:write(i, "\n")
      assert.equal(tostring(i), two:join())
    end
  end)
end)

describe("stream:close", function()
  before_each(t.start)
  after_each(t.finish)

  for _, r in ipairs(readings) do
    tells("wakes who reads " .. r[1] .. " with nil and 'closed'", function(a, b)
      if r[2] ~= "" then b:write(r[2]) end
      local task = co.spawn(r[4], a)
      co.sleep(0.002)
      assert.equal(a, a:close())
      fails("closed", task:join())
      fails("closed", r[4](a))
    end)
  end

  tells("wakes who writes with nil and 'closed'", function(a)
    fill(a)
    local writer = co.spawn(a.write, a, ("x"):rep(200000))
    co.sleep(0.001)
    a:close()
    fails("closed", writer:join())
    fails("closed", a:write "x")
  end)

  tells("wakes who flushes with nil and 'closed'", function(a)
    fill(a)
    local writer = co.spawn(a.flush, a)
    co.sleep(0.001)
    a:close()
    fails("closed", writer:join())
    fails("closed", a:flush())
  end)

  tells("wakes both", function(a)
    fill(a)
    local reader, writer = co.spawn(a.read, a), co.spawn(a.flush, a)
    co.sleep(0.001)
    a:close()
    fails("closed", reader:join())
    fails("closed", writer:join())
  end)

  tells("may come twice, and more often", function(a)
    assert.equal(a, a:close():close())
    assert.equal(a, a:close())
    fails("closed", a:shutdown())
    fails("closed", a:read "a")
    fails("closed", a:read(0))
    assert.matches("^libevent%.Stream %(closed%)$", tostring(a))
  end)

  tells("sends what has been written", function(a, b)
    a:write(("x"):rep(60000)):close()
    assert.equal(60000, #b:read "a")
  end)

  tells("sends it also to a peer that reads late", function(a, b)
    local n = fill(a)
    a:close()
    co.sleep(0.002)
    assert.equal(n, #b:read "a")
  end)

  tells("is what a variable does at its end", function(a, b)
    do
      local guard <close> = a
      assert.equal(a, guard)
    end
    fails("closed", a:read())
    assert.equal("", b:read "a")
  end)

  tells("frees the descriptor", function(a, b)
    local fd = a:getfd()
    assert.is_true(t.isopen(fd))
    a:close()
    co.sleep(0)
    assert.is_false(t.isopen(fd))
    b:close()
  end)

  tells("may come from a plain callback", function(a)
    co.base():timer(function() a:close() end):add(0.001)
    fails("closed", a:read())
  end)

  tells("may come from outside: of the bufferevent", function(a)
    local bev = a:bufferevent()
    co.base():timer(function() bev:close() end):add(0.001)
    fails("closed", a:read())
    fails("closed", a:read())
    fails("closed", a:write "x")
    assert.equal(a, a:close())
  end)

  tells("leaves nothing in the loop", function(a, b)
    local function count()
      local n = 0
      co.base():foreach_event(function(info)
        if tostring(info.object):find "Bufferevent" then n = n + 1 end
      end)
      return n
    end
    local before = count()
    local c, d = ends()
    local task = co.spawn(c.read, c)
    co.sleep(0.001)
    c:close()
    d:close()
    task:join()
    co.sleep(0.001)
    assert.equal(before, count())
    assert.is_not_nil(a)
    assert.is_not_nil(b)
  end)
end)

describe("A stream that is dropped", function()
  before_each(t.start)
  after_each(t.finish)

  it("while its task waits is read to the end", function()
    play(function()
      local one, two = assert(libevent.socketpair())
      local task = co.spawn(function() return (co.stream(one):read "l") end)
      local other = co.stream(two)
      co.sleep(0)
      for _ = 1, 3 do
        collectgarbage() collectgarbage()
        co.sleep(0)
      end
      other:write "data\n"
      assert.equal("data", task:join())
      collectgarbage() collectgarbage()
      fails("eof", other:read())
      other:close()
    end)
  end)

  it("while its task waits is written to the end", function()
    play(function()
      local one, two = assert(libevent.socketpair())
      local text = t.pattern(1 << 20)
      co.spawn(function() co.stream(one):write(text) end)
      local other = co.stream(two)
      co.sleep(0.001)
      collectgarbage() collectgarbage()
      assert.equal(text, other:read(1 << 20))
      collectgarbage() collectgarbage()
      fails("eof", other:read())
      other:close()
    end)
  end)

  for _, r in ipairs(readings) do
    it("while its task reads " .. r[1] .. " loses nothing", function()
      play(function()
        local one, two = assert(libevent.socketpair())
        local other = co.stream(two)
        if r[2] ~= "" then other:write(r[2]) end
        local task = co.spawn(function() return (r[4](co.stream(one))) end)
        co.sleep(0.001)
        collectgarbage() collectgarbage()
        other:write(r[3])
        if r[6] then other:shutdown() end
        assert.equal(r[5], task:join())
        other:close()
        task = nil
        collectgarbage() collectgarbage()
        assert.is_nil(task)
      end)
    end)
  end

  it("while nobody waits is closed", function()
    play(function()
      local one, two = assert(libevent.socketpair())
      local other = co.stream(two)
      co.spawn(function() assert.equal("data", co.stream(one):read()) end)
      other:write "data\n"
      co.sleep(0.002)
      collectgarbage() collectgarbage()
      fails("eof", other:read())
      assert.is_false(t.isopen(one))
      other:close()
    end)
  end)

  it("sends what was written", function()
    play(function()
      local one, two = assert(libevent.socketpair())
      local other = co.stream(two)
      co.spawn(function() co.stream(one):write(("x"):rep(50000)) end):join()
      collectgarbage() collectgarbage()
      assert.equal(50000, #other:read "a")
      other:close()
    end)
  end)

  it("with a task that was cancelled is closed", function()
    play(function()
      local one, two = assert(libevent.socketpair())
      local other = co.stream(two)
      local task = co.spawn(function() co.stream(one):read() end)
      co.sleep(0)
      task:cancel()
      task:join()
      task = nil
      collectgarbage() collectgarbage()
      assert.is_nil(task)
      fails("eof", other:read())
      other:close()
    end)
  end)

  it("by its task, which ends by an error, is closed", function()
    play(function()
      local one, two = assert(libevent.socketpair())
      local other = co.stream(two)
      local kept = {co.spawn(function()
        local stream = co.stream(one)
        stream:write "data\n"
        error "oh no"
      end)}
      assert.is_false(pcall(kept[1].join, kept[1]))
      kept[1] = nil
      collectgarbage() collectgarbage()
      assert.equal("data", other:read())
      fails("eof", other:read())
      other:close()
    end)
  end)

  it("need not be closed by anybody", function()
    play(function()
      local before = co.base():num_events()
      for _ = 1, 50 do
        local a, b = ends()
        a:write "x"
        assert.equal("x", b:read(1))
      end
      collectgarbage() collectgarbage()
      co.sleep(0.001)
      assert.is_true(co.base():num_events() <= before + 1)
    end)
  end)
end)
