local libevent = require "libevent"
local socket = require "socket"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local buffer, raises = libevent.buffer, t.raises

describe("a buffer", function()
  before_each(t.start)
  after_each(t.finish)

  describe("reads and writes descriptors:", function()
    it("a pipe, up to its end", function()
      local pipe = io.popen("printf 'a\\0bc'", "r")
      local b = buffer "x"
      assert.equal(2, b:read(pipe, 2))
      assert.equal(2, b:read(pipe))
      assert.equal(0, b:read(pipe))
      assert.equal("xa\0bc", tostring(b))
      pipe:close()
    end)

    it("sockets, both ways", function()
      local client, server = sockets.pair()
      local b, got = buffer("request"), buffer()
      assert.equal(3, b:write(client, 3))
      assert.equal("uest", tostring(b))
      assert.equal(4, b:write(client:getfd()))
      assert.equal(0, #b)
      while #got < 7 do assert(got:read(server, 7 - #got) > 0) end
      assert.equal("request", tostring(got))
      client:close()
      assert.equal(0, got:read(server))
    end)

    it("as much as there is, at once", function()
      local client, server = sockets.pair()
      server:settimeout(0)
      local bytes = ("0123456789"):rep(20000)
      local sent = assert(client:send(bytes))
      assert.equal(#bytes, sent)
      local got = buffer()
      local n = got:read(server)
      assert.is_true(n > 4096)
      while #got < sent do assert(got:read(server)) end
      assert.is_true(tostring(got) == bytes)
      client:send(bytes)
      assert.equal(5000, got:drain():read(server, 5000))
      assert.equal(1, got:read(server, 1))
      while #got < sent do assert(got:read(server, 70000) <= 70000) end
      assert.is_true(tostring(got) == bytes)
    end)

    it("a file on disk", function()
      local file <close> = io.tmpfile()
      local bytes = ("0123456789"):rep(100000)
      file:write(bytes):seek "set"
      local got = buffer()
      assert.equal(256 * 1024, got:read(file))
      assert.equal(7, got:read(file, 7))
      repeat until assert(got:read(file)) == 0
      assert.is_true(tostring(got) == bytes)
      file:seek("set", 5000000000)
      assert.equal(0, got:read(file))
    end)

    it("what does not say how much there is", function()
      local zero <close> = io.open "/dev/zero"
      local got = buffer()
      assert.equal(4096, got:read(zero))
      assert.equal(1000, got:read(zero, 1000))
      assert.equal(("\0"):rep(5096), tostring(got))
    end)

    it("a datagram at a time, whole", function()
      local receiver, sender = socket.udp4(), socket.udp4()
      assert(receiver:setsockname("127.0.0.1", 0))
      receiver:settimeout(0)
      assert(sender:setpeername(receiver:getsockname()))
      local sizes, got = {1, 5000, 0, 60000, 300}, buffer()
      for _, size in ipairs(sizes) do
        assert(sender:send(("d"):rep(size)))
      end
      local before = 0
      for _, size in ipairs(sizes) do
        assert.equal(size, got:read(receiver))
        assert.equal(before + size, #got)
        before = #got
      end
      assert.same({nil, "Resource temporarily unavailable", 11},
                  {got:read(receiver)})
      sender:send "a datagram"
      assert.equal(1, got:drain():read(receiver, 1))
      assert.equal("a", tostring(got))
      assert.is_nil(got:read(receiver))
    end)

    it("into the room that is left, whatever it is", function()
      local pipe = io.popen("printf %060000d 0", "r")
      local got, n = buffer "<", 0
      got:add(buffer()):add(("y"):rep(20000)):expand(100)
      for i = 1, math.huge do
        local count = assert(got:read(pipe, i))
        if count == 0 then break end
        n = n + count
        if i % 3 == 0 then got:expand(i) end
        if i % 7 == 0 then got:add "z" n = n + 1 end
        assert.equal(n + 20001, #got)
      end
      pipe:close()
      local bytes = tostring(got):gsub("z", "")
      assert.is_true(bytes == "<" .. ("y"):rep(20000) .. ("0"):rep(60000))
    end)

    it("a bufferevent's", function()
      local base = t.base()
      local client, server = sockets.pair()
      local bev = base:bufferevent(server)
      assert.equal(2, buffer("hi"):write(bev))
      assert.equal("hi", client:receive(2))
    end)

    it("of many pieces, all of which arrive", function()
      local client, server = sockets.pair()
      local b, got, pieces = buffer(), buffer(), {}
      for i = 1, 300 do
        pieces[i] = ("%03d"):format(i)
        b:add(buffer(pieces[i]))
      end
      while #b > 0 do assert(b:write(client) > 0) end
      while #got < 900 do assert(got:read(server) > 0) end
      assert.equal(table.concat(pieces), tostring(got))
    end)

    it("nothing, when there is nothing or nothing is asked for", function()
      local client = sockets.pair()
      assert.equal(0, buffer():write(client))
      local b = buffer "a"
      assert.equal(0, b:write(client, 0))
      assert.equal("a", tostring(b))
    end)

    it("what the system refuses it tells", function()
      local client, server = sockets.pair()
      client:settimeout(0)
      local b = buffer "a"
      assert.same({nil, "Resource temporarily unavailable", 11},
                  {b:read(client)})
      local null = io.open("/dev/null", "r")
      assert.same({nil, "Bad file descriptor", 9}, {b:write(null)})
      assert.equal(0, b:read(null))
      server:close()
      local ok, message, errno
      repeat ok, message, errno = b:add("b"):write(client) until not ok
      assert.same({"Broken pipe", 32}, {message, errno})
      null:close()
    end)

    it("what is no open descriptor is an error", function()
      local closed = io.tmpfile()
      closed:close()
      local b = buffer "a"
      for _, name in ipairs {"read", "write"} do
        raises("descriptor -1 is not open", b[name], b, -1)
        raises("file is closed", b[name], b, closed)
        raises("descriptor, file or object with getfd expected",
                b[name], b, "1")
        raises("to 9223372036854775807 expected", b[name], b, io.stdout, -1)
      end
      raises("integer from 1 to", b.read, b, io.stdout, 0)
      assert.equal("a", tostring(b))
    end)
  end)
end)
