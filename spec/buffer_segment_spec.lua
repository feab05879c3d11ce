-- src/segment.c: files in buffers.
local socket = require "socket"
local libevent = require "libevent"
local process = require "spec.process"
local t = require "spec.helper"

local buffer = libevent.buffer

local GIGA <const> = 2 ^ 30 | 0

local files = {}

local function finish()
  for _, file in ipairs(files) do
    if io.type(file) == "file" then file:close() end
  end
  files = {}
  t.finish()
end

--- A file that has no name, with these bytes in it, open for both.
local function file(bytes)
  local f = io.tmpfile()
  files[#files + 1] = f
  if bytes then f:write(bytes):flush() end
  return f
end

--- Bytes that are nowhere the same.
local function pattern(n)
  local s = {}
  for i = 1, n // 8 + 1 do s[i] = ("%07x "):format(i) end
  return table.concat(s):sub(1, n)
end

--- A file of 'size' bytes, nearly all of them zeros that take no space.
local function sparse(size, last)
  local f = file()
  f:seek("set", size - #last)
  f:write(last):flush()
  return f
end

local raises = t.raises

--- All that arrives at the other end of a socket to whose output 'fill' adds.
local function sent(base, fill)
  local got = buffer()
  t.connected(base, t.expect(function(server, client)
    fill(server:output(), server)
    server:shutdown()
    client:setcb(function() got:add(client:input()) end, nil,
    function(_, what)
      assert.equal("eof", what)
      client:close()
      server:close()
    end)
    client:enable "read"
  end))
  t.run(base, 20)
  return tostring(got)
end

--- Both ways in which a file comes into a buffer.
local ways = {
  add_file = function(b, f, ...) return b:add_file(f, ...) end,
  add_file_segment = function(b, f, ...)
    local segment <close> = assert(libevent.file_segment(f))
    return b:add_file_segment(segment, ...)
  end,
}

for name, add in pairs(ways) do
  describe("A file in a buffer of the script's, by " .. name, function()
    before_each(t.start)
    after_each(finish)

    it("is read at once, whole or in part", function()
      local f, b = file "0123456789", buffer "<"
      assert.equal(b, add(b, f))
      b:add ","
      assert.equal(b, add(b, f, 7))
      add(b:add ",", f, 2, 3)
      add(b:add ",", f, 9, 1)
      add(b:add ",", f, 0, 1)
      assert.equal("<0123456789,789,234,9,0", tostring(b))
      f:seek("set", 0)
      f:write "9876543210":flush()
      assert.equal("<0123456789,789,234,9,0", tostring(b))
    end)

    it("may be of no bytes, and the part too", function()
      local b = buffer "a"
      assert.equal(b, add(b, file ""))
      assert.equal(b, add(b, file "", 0, 0))
      assert.equal(b, add(b, file "abc", 3))
      assert.equal(b, add(b, file "abc", 1, 0))
      assert.equal(b, add(b, file "abc", nil, 0))
      assert.equal("a", tostring(b))
    end)

    it("may be of megabytes", function()
      local bytes = pattern(3 * 2 ^ 20 + 7)
      local b = buffer()
      add(b, file(bytes))
      assert.is_true(tostring(b) == bytes)
      b:drain():add "x"
      add(b, file(bytes), 2 ^ 20, 2 ^ 20)
      assert.is_true(tostring(b) == "x" .. bytes:sub(2 ^ 20 + 1, 2 ^ 21))
    end)

    it("may begin behind the first 4 gigabytes", function()
      local b = buffer()
      add(b, sparse(5 * GIGA, "the end"), 5 * GIGA - 9, 9)
      assert.equal("\0\0the end", tostring(b))
    end)

    it("is not moved by reading it", function()
      local f, b = file "0123456789", buffer()
      f:seek("set", 4)
      add(b, f, 1, 2)
      assert.equal("12", tostring(b))
      assert.equal(4, f:seek())
      assert.equal("4567", f:read(4))
    end)

    it("stays when the file is cut", function()
      local path = t.path()
      local f = assert(io.open(path, "w+"))
      f:write(("x"):rep(100000)):flush()
      local b = buffer()
      add(b, f)
      assert(io.open(path, "w")):close()
      os.remove(path)
      f:close()
      assert.is_true(tostring(b) == ("x"):rep(100000))
    end)

    it("does not flush what Lua has not yet written", function()
      local f, b = file(), buffer()
      f:setvbuf("full")
      f:write "unwritten"
      add(b, f)
      assert.equal(0, #b)
    end)
  end)

  describe("A file in the output of a socket, by " .. name, function()
    before_each(t.start)
    after_each(finish)

    it("arrives whole, between what stands beside it", function()
      for _, n in ipairs {0, 1, 5000, 16319, 16320, 16321, 20000, 400000} do
        local bytes = pattern(n)
        local got = sent(t.base(), function(output)
          output:add "head"
          assert.equal(output, add(output, file(bytes)))
          output:add(",")
          add(output, file(bytes))
          output:add "tail"
          assert.equal(2 * n + 9, #output)
        end)
        assert.is_true(got == "head" .. bytes .. "," .. bytes .. "tail", n)
      end
    end)

    it("arrives in part", function()
      local bytes = pattern(400000)
      local got = sent(t.base(), function(output)
        add(output, file(bytes), 100001, 200003)
        add(output, file(bytes), 399999)
        add(output, file(bytes), 17, 5)
      end)
      assert.is_true(got == bytes:sub(100002, 300004) .. bytes:sub(400000)
                            .. bytes:sub(18, 22))
    end)

    it("arrives from behind the first 4 gigabytes", function()
      local last = pattern(300000)
      local got = sent(t.base(), function(output)
        add(output, sparse(5 * GIGA, last), 5 * GIGA - #last)
      end)
      assert.is_true(got == last)
    end)

    it("arrives when it is closed, and has no name any more", function()
      local path, bytes = t.path(), pattern(400000)
      local got = sent(t.base(), function(output)
        local f = assert(io.open(path, "w+"))
        f:write(bytes):flush()
        add(output, f)
        f:close()
        os.remove(path)
      end)
      assert.is_true(got == bytes)
    end)

    it("is not read into memory, and what follows it is small", function()
      local base = t.base()
      local bev = base:bufferevent()
      local size = t.memory "VmSize"
      add(bev:output(), sparse(5 * GIGA, "."))
      bev:write("\r\n", "more")
      assert.equal(5 * GIGA + 6, #bev:output())
      assert.is_true(t.memory "VmSize" - size < 16 * 1024)
      bev:close()
    end)

    it("cannot be looked at before it is sent", function()
      local bytes, other = pattern(100000), buffer "a"
      local message = "this output holds a file, whose bytes are not in memory"
      sent(t.base(), function(output, bev)
        output:add "head\n"
        assert.equal("head\n", tostring(output))
        add(output, file(bytes), 0, 5)
        assert.equal("head\n00000", output:copyout())
        add(output, file(bytes))
        bev:setcb(nil, t.expect(function()
          assert.equal("", tostring(output))
          assert.is_nil(output:search "a")
        end))
        for _, f in ipairs {
          function() return output:copyout() end,
          function() return output:copyout(0) end,
          function() return output:copyout(1, 3) end,
          function() return output:search "head" end,
          function() return output:search_eol() end,
          function() return output:peek() end,
          function() return output:chunks() end,
          function() return output:contiguous_space() end,
          function() return other:add_buffer_reference(output) end,
        } do raises(message, f) end
        assert.match("^libevent.Buffer %(0x", tostring(output))
        raises("the start of an output is frozen", output.remove, output)
        raises("the start of an output is frozen", other.add, other, output)
        assert.equal(100010, #output)
        assert.equal("a", tostring(other))
      end)
    end)

    it("lets others have their turns", function()
      local base = t.base()
      t.connected(base, t.expect(function(server, client)
        local output = server:output()
        add(output, sparse(10 * 2 ^ 20, "."))
        local left, most = #output, 0
        client:setcb(function()
          client:input():drain()
          if #output < left then
            most = math.max(most, left - #output)
            left = #output
          end
          if left == 0 then
            assert.is_true(most > 0 and most <= 2 * 128 * 1024)
            server:close()
            client:close()
          end
        end):enable "read"
      end))
      t.run(base)
    end)

    it("goes with the bufferevent that did not send it", function()
      local base = t.base()
      local bev = base:bufferevent()
      add(bev:output(), file(pattern(100000)))
      bev:close()
      t.turns(base, 2)
      add(base:bufferevent():output(), file(pattern(100000)))
      base:close()
    end)
  end)

  describe("A file cannot be added by " .. name, function()
    before_each(t.start)
    after_each(finish)

    it("where its bytes are not", function()
      local f, b = file "0123456789", buffer "a"
      for _, offset in ipairs {-1, 11, 1.5, "1", math.maxinteger,
                               math.mininteger} do
        raises("integer from 0 to 10 expected", add, b, f, offset)
      end
      for _, length in ipairs {-1, 8, 1.5, "1", math.maxinteger} do
        raises("integer from 0 to 7 expected", add, b, f, 3, length)
      end
      raises("integer from 0 to 0 expected", add, b, f, 10, 1)
      raises("integer from 0 to 0 expected", add, b, file "", 0, 1)
      assert.equal("a", tostring(b))
    end)

    it("where nothing can be added", function()
      local bev, f = t.base():bufferevent(), file(pattern(100000))
      raises("the end of an input is frozen", add, bev:input(), f)
      raises("Buffer is closed", add, buffer():close(), f)
      local input, output = bev:input(), bev:output()
      bev:close()
      raises("Bufferevent is closed", add, input, f)
      raises("Bufferevent is closed", add, output, f)
    end)

    it("after shutdown", function()
      local base = t.base()
      t.connected(base, t.expect(function(server, client)
        server:shutdown()
        raises("Bufferevent is shut down for writing", add, server:output(),
                file(pattern(100000)))
        server:close()
        client:close()
      end))
      t.run(base)
    end)

    it("if it is no file on disk that can be read", function()
      local b = buffer "a"
      local closed = io.tmpfile()
      closed:close()
      local path = t.path()
      for message, f in pairs {
        ["a file on disk expected"] = {
          io.open("/", "r"), io.popen("cat </dev/null", "r"),
          io.open("/dev/null"), (socket.udp4()),
        },
        ["the file is not open for reading"] = {io.open(path, "w")},
        ["file is closed"] = {closed},
        ["descriptor -1 is not open"] = {-1},
        ["descriptor, file or object with getfd expected"] = {{}, "1", true},
      } do
        for _, value in ipairs(f) do
          raises(message, add, b, value)
          if io.type(value) == "file" or type(value) == "userdata"
             and value ~= closed then
            value:close()
          end
        end
      end
      os.remove(path)
      assert.equal("a", tostring(b))
    end)
  end)
end

describe("An object with getfd", function()
  before_each(t.start)
  after_each(finish)

  --- The number of a file's descriptor.
  local function number(base, f)
    return base:event(f, "read", print):fd()
  end

  it("is as good as the file", function()
    local f = file "abc"
    local fd = number(t.base(), f)
    local object = {getfd = function() return fd end}
    assert.equal("abc", tostring(buffer():add_file(fd)))
    assert.equal("abc", tostring(buffer():add_file(object)))
    assert.equal(3, #libevent.file_segment(object))
  end)

  it("may do anything meanwhile", function()
    local base = t.base()
    local fd = number(base, file(pattern(100000)))
    local function closes(object)
      return {getfd = function()
        object:close()
        return fd
      end}
    end
    local b, bev = buffer(), base:bufferevent()
    local output = bev:output()
    raises("Buffer is closed", b.add_file, b, closes(b))
    raises("Bufferevent is closed", output.add_file, output, closes(bev))
    output = base:bufferevent():output()
    raises("Bufferevent is closed", output.add_file, output, closes(base))
  end)
end)

describe("A file segment", function()
  before_each(t.start)
  after_each(finish)

  it("is a part of a file, and knows its length", function()
    local f = file "0123456789"
    for _, case in ipairs {
      {10}, {10, 0}, {6, 4}, {3, 4, 3}, {0, 10}, {0, 4, 0}, {1, 9, 1},
    } do
      local segment = assert(libevent.file_segment(f, case[2], case[3]))
      assert.equal(case[1], #segment)
      assert.equal(case[1], segment:length())
      local b = buffer():add_file_segment(segment)
      assert.equal(("0123456789"):sub((case[2] or 0) + 1,
                                      (case[2] or 0) + case[1]), tostring(b))
    end
  end)

  it("has parts that count from its own start", function()
    local segment = assert(libevent.file_segment(file "0123456789", 3, 5))
    local b = buffer():add_file_segment(segment, 1, 3)
    assert.equal("456", tostring(b))
    raises("integer from 0 to 5 expected", b.add_file_segment, b, segment, 6)
    raises("integer from 0 to 3 expected", b.add_file_segment, b, segment, 2,
            4)
    assert.equal("456", tostring(b))
  end)

  it("goes into several buffers, and may be closed then", function()
    local bytes = pattern(400000)
    local segment = assert(libevent.file_segment(file(bytes)))
    files[#files]:close()
    local b, base = buffer(), t.base()
    b:add_file_segment(segment):add_file_segment(segment, 399990)
    local function fill(output)
      output:add_file_segment(segment):add_file_segment(segment, 100000, 99)
    end
    for _ = 1, 3 do
      assert.is_true(sent(base, fill) == bytes .. bytes:sub(100001, 100099))
    end
    assert.is_true(sent(base, function(output)
      output:add_file_segment(segment)
      segment:close()
    end) == bytes)
    assert.is_true(tostring(b) == bytes .. bytes:sub(399991))
  end)

  it("that is closed cannot be added", function()
    local segment = libevent.file_segment(file "abc")
    assert.equal(segment, segment:close())
    assert.equal(segment, segment:close())
    assert.equal("libevent.FileSegment (closed)", tostring(segment))
    local b = buffer()
    raises("FileSegment is closed", b.add_file_segment, b, segment)
    raises("FileSegment is closed", segment.length, segment)
    raises("FileSegment is closed", function() return #segment end)
    raises("libevent.FileSegment expected, got string", b.add_file_segment, b,
            "x")
  end)

  it("is refused where there is no such part", function()
    local f = file "abc"
    for _, offset in ipairs {-1, 4, 0.5, math.mininteger} do
      raises("integer from 0 to 3 expected", libevent.file_segment, f, offset)
    end
    for _, length in ipairs {-1, 3, math.maxinteger} do
      raises("integer from 0 to 2 expected", libevent.file_segment, f, 1,
              length)
    end
    raises("bad argument #1", libevent.file_segment)
  end)

  it("adds nothing when its file has become shorter", function()
    local path = t.path()
    local f = assert(io.open(path, "w+"))
    files[#files + 1] = f
    f:write(pattern(400000)):flush()
    local segment = assert(libevent.file_segment(f))
    assert(io.open(path, "w")):close()
    os.remove(path)
    local bev, b = t.base():bufferevent(), buffer "a"
    for _, to in ipairs {b, bev:output()} do
      local n = #to
      assert.same({nil, "the file ends early", 5},
                  {to:add_file_segment(segment)})
      assert.equal(n, #to)
    end
    assert.equal("", tostring(bev:output()))
    bev:close()
  end)

  it("needs a descriptor of its own", function()
    local text, status = t.lua [[
      if not arg[1] then
        os.exit(os.execute(
          ("env sh -c 'ulimit -n 64; exec %s %s again'"):format(arg[-1],
                                                                arg[0])))
      end
      local libevent = require "libevent"
      local bev = libevent.base():bufferevent()
      local f = io.tmpfile()
      f:write(("x"):rep(100000)):flush()
      local list = {}
      repeat list[#list + 1] = io.open "/dev/null" until not io.open "/dev/null"
      print(libevent.file_segment(f))
      print(bev:output():add_file(f))
      print(#bev:output(), #libevent.buffer():add_file(f))
    ]]
    assert.equal("nil\tToo many open files\t24\n"
                 .. "nil\tToo many open files\t24\n0\t100000\n", text)
    assert.equal(0, status)
  end)
end)

describe("A file that is not sent", function()
  before_each(t.start)
  after_each(finish)

  it("is an error when it has become shorter", function()
    local base, path = t.base(), t.path()
    local f = assert(io.open(path, "w+"))
    f:write(("x"):rep(2^22)):flush()
    local one, two = assert(libevent.socketpair())
    local from, to = base:bufferevent(one), base:bufferevent(two)
    local list, event = t.events(1)
    from:setcb(nil, nil, event)
    assert(from:output():add_file(f))
    f:close()
    io.open(path, "w"):close()
    os.remove(path)
    to:setcb(function(c) c:input():drain() end):enable "read"
    t.turns(base, 50)
    assert.same({{"error", "Input/output error", 5}}, list)
    base:close()
  end)

  it("goes with its state, on the base of a host too", function()
    local text, status = t.host("host", [[
      local libevent = require "libevent.core"
      local f = io.tmpfile()
      f:write(("x"):rep(10 * 2 ^ 20)):flush()
      segment = libevent.file_segment(f)
      local listener = base:listener("127.0.0.1:0", function(l, conn)
        conn:output():add_file(f):add_file_segment(segment)
        l:close()
      end)
      local client = base:bufferevent():connect(listener:sockname())
      client:setcb(function() client:disable "read" end):enable "read"
      unsent = base:bufferevent():output():add_file(f)
    ]])
    assert.matches("^same 1\nrunning %d\nafter lua_close 1\n"
                   .. "events left 1\n$", text)
    assert.equal(0, status)
  end)
end)

describe("A file of a gigabyte", function()
  before_each(t.start)
  after_each(function()
    process.killall()
    finish()
  end)

  it("is sent without taking memory", function()
    local size = t.slow == 1 and GIGA or GIGA // 16
    local path = t.path()
    local script = assert(io.open(path, "w"))
    script:write [[
      local libevent = require "libevent"
      local function peak()
        return tonumber(io.open "/proc/self/status":read "a"
                        :match "VmHWM:%s*(%d+)")
      end
      local base = libevent.base()
      local listener = base:listener("127.0.0.1:0", function(listener, conn)
        listener:close()
        local f = io.tmpfile()
        f:seek("set", arg[1] - 1)
        f:write ".":flush()
        local before = peak()
        assert(conn:output():add_file(f))
        assert(#conn:output() == math.tointeger(arg[1]))
        f:close()
        conn:setcb(nil, function(c)
          print("kilobytes", peak() - before)
          c:close()
        end)
      end)
      print("port", listener:sockname())
      io.stdout:flush()
      base:dispatch()
    ]]
    script:close()
    local server = process.start(path .. " " .. size)
    local address = server:expect "port%s+(%S+)\n"
    local base, got = t.base(), 0
    local client = base:bufferevent():setcb(function(c)
      got = got + #c:input()
      c:input():drain()
    end, nil, function(c, what)
      if what == "eof" then c:close() end
    end)
    client:enable "read":connect(address)
    t.run(base, 30)
    assert.equal(size, got)
    local text, status = server:finish()
    os.remove(path)
    assert.is_true(tonumber(text:match "kilobytes%s+(%d+)") < 8 * 1024, text)
    assert.equal(0, status)
  end)
end)
