local libevent = require "libevent"
local socket = require "socket"
local unix = require "socket.unix"
local t = require "spec.helper"

local isopen, path, runfor = t.isopen, t.path, t.runfor
local events, collect = t.events, t.collect

local ECONNRESET, EPIPE, ENOENT = 104, 32, 2
local EBUSY, ENOTCONN, EISCONN, ECONNREFUSED = 16, 107, 106, 111

local MEGABYTES = t.pattern(4 << 20)

--- The flags that each way of calling back is asked for with.
local ways = {["at once"] = "", ["from a queue"] = "defer_callbacks"}

--- Two connected bufferevents without callbacks, the accepted one first.
local function pair(base, address, options)
  local server
  local listener = assert(base:listener(address or "127.0.0.1:0",
    t.expect(function(l, conn)
      server = conn
      l:close()
    end)))
  local client = base:bufferevent(nil, options)
  client:setcb(nil, nil, t.expect(function(_, what)
    assert.equal("connected", what)
  end))
  assert(client:connect(listener:sockname()))
  t.run(base)
  return server, client:setcb()
end

--- A bufferevent and a LuaSocket object, connected.
local function withsocket(base)
  local server
  local listener = assert(base:listener("127.0.0.1:0",
    t.expect(function(l, conn)
      server = conn
      l:close()
    end)))
  local host, port = listener:sockname():match "^(.*):(%d+)$"
  local sock = assert(socket.connect(host, tonumber(port)))
  sock:settimeout(1)
  t.run(base)
  return server, sock
end

--- Where nobody listens: a port that just was somebody's.
local function deadaddress(base, address)
  local listener = assert(base:listener(address or "127.0.0.1:0", print))
  local name = listener:sockname()
  listener:close()
  return name
end

describe("a bufferevent", function()
  before_each(t.start)
  after_each(t.finish)

  describe("at its high mark", function()
    it("calls once, and again when the script has taken enough", function()
      local base = t.base()
      local server, client = pair(base)
      local sizes = {}
      server:setcb(function(s)
        sizes[#sizes + 1] = #s:input()
        if #sizes == 10 then base:loopbreak() end
      end):setwatermark("read", 0, 100):enable "read"
      client:write(("x"):rep(1000))
      runfor(base, 0.02)
      assert.same({100}, sizes)
      assert.equal("read|write", server:enabled())
      base:loop "nonblock"
      server:read(60)
      runfor(base, 0.02)
      assert.same({100, 100}, sizes)
      server:input():drain()
      server:setwatermark "read"
      runfor(base, 0.02)
      assert.equal(840, #server:input())
      server:close()
      client:close()
    end)

    it("hears of the end when the script has taken enough", function()
      local base = t.base()
      local server, client = pair(base)
      local told
      server:setcb(nil, nil, t.expect(function(s, what)
        assert.equal("eof", what)
        assert.equal(0, #s:input())
        told = true
      end)):setwatermark("read", 0, 100):enable "read"
      client:write(("x"):rep(100)):close_after_flush()
      runfor(base, 0.01)
      assert.is_nil(told)
      assert.equal(100, #server:read())
      t.run(base)
      server:close()
    end)

    it("stays disabled if it is disabled there", function()
      local base = t.base()
      local server, client = pair(base)
      server:setcb(t.expect()):setwatermark("read", 0, 100):enable "read"
      client:write(("x"):rep(1000))
      runfor(base, 0.01)
      server:disable "read"
      assert.equal(100, #server:read())
      runfor(base, 0.01)
      assert.equal(0, #server:input())
      server:close()
      client:close()
    end)
  end)

  it("is not connected twice, whatever Linux says", function()
    local base = t.base()
    local server, client = pair(base)
    local other = assert(base:listener("127.0.0.1:0", t.never()))
    assert.same({nil, "Transport endpoint is already connected", EISCONN},
                {client:connect(other:sockname())})
    runfor(base, 0.01)
    server:close() client:close() other:close()
  end)

  it("closed after the flush delivers all, whatever the peer has sent",
  function()
    local base = t.base()
    local server, client = pair(base)
    local list = collect(client)
    client:write(MEGABYTES)
    server:write(MEGABYTES):close_after_flush()
    t.run(base)
    assert.equal(#MEGABYTES, #list.data)
    assert.equal("libevent.Bufferevent (closed)", tostring(server))
  end)

  it("has nothing to flush on a socket", function()
    local bev = t.base():bufferevent():write "data"
    assert.is_false(bev:flush())
    assert.is_false(bev:flush("read|write", "finished"))
    assert.has_error(function() bev:flush("write", "hard") end,
      "bad argument #2 to 'flush' (unknown word 'hard' "
      .. "(known: normal, flush, finished))")
  end)

  it("without a descriptor waits for nothing", function()
    local base = t.base()
    local bev = base:bufferevent():setcb(t.never(), t.never(), t.never())
    bev:set_timeouts(0.001, 0.001):enable "read":write "data"
    assert.equal(0, base:num_events())
    assert.equal("read|write", bev:enabled())
    base:dispatch()
    bev:close()
  end)

  it("copies an output of many pieces rightly", function()
    local bev = t.base():bufferevent()
    for i = 1, 20 do bev:write((string.char(64 + i)):rep(1000)) end
    local whole = {}
    for i = 1, 20 do whole[i] = (string.char(64 + i)):rep(1000) end
    assert.equal(table.concat(whole), tostring(bev:output()))
    assert.equal(table.concat(whole):sub(995, 3005),
                 bev:output():copyout(2011, 995))
  end)

  it("sends what is added to its output, although nobody holds it", function()
    local base = t.base()
    local server, sock = withsocket(base)
    server:output():add "hello"
    server = nil                                            -- luacheck: ignore
    collectgarbage() collectgarbage()
    base:loop "once"
    assert.equal("hello", sock:receive(5))
    sock:close()
  end)

  it("that is shut down for writing can write to its next descriptor",
  function()
    local base = t.base()
    local server, sock = withsocket(base)
    server:shutdown()
    assert.has_error(function() server:output():add "x" end,
      "calling 'add' on bad self (Bufferevent is shut down for writing)")
    server:setfd()
    server:write "x"
    server:close()
    sock:close()
  end)

  describe("when made", function()
    it("has no descriptor unless it is given one", function()
      local bev = t.base():bufferevent()
      assert.is_nil(bev:getfd())
      assert.equal("write", bev:enabled())
      for _, method in ipairs {"peername", "sockname", "shutdown", "detach"} do
        local result, message, errno = bev[method](bev)
        assert.is_nil(result, method)
        assert.is_string(message)
        assert.equal(ENOTCONN, errno)
      end
    end)

    it("knows its base and its name", function()
      local base = t.base()
      local bev = base:bufferevent()
      assert.equal(base, bev:base())
      assert.matches("^libevent.Bufferevent %(0x%x+%)$", tostring(bev))
      assert.equal(bev, bev:close())
      assert.equal("libevent.Bufferevent (closed)", tostring(bev))
    end)

    it("owns an integer descriptor and closes it", function()
      for _, flags in ipairs {"", "close_on_free"} do
        local base = t.base()
        local server, client = pair(base)
        local fd = server:detach()
        local bev = base:bufferevent(fd, {flags = flags})
        assert.equal(fd, bev:getfd())
        local got = collect(client)
        bev:write "mine now":close_after_flush()
        t.run(base)
        assert.equal("mine now", got.data)
        assert.is_false(isopen(fd))
      end
    end)

    it("keeps an object alive and leaves its descriptor to it", function()
      local base = t.base()
      local server, sock = withsocket(base)
      local fd = sock:getfd()
      local weak = setmetatable({sock}, {__mode = "v"})
      local bev = base:bufferevent(sock)
      sock = nil -- luacheck: ignore
      collectgarbage() collectgarbage()
      assert.is_true(isopen(fd))
      bev:setcb(t.expect(function(b)
        assert.equal("hello", b:read())
        b:close()
      end)):enable "read"
      server:write "hello"
      t.run(base)
      assert.is_true(isopen(fd))
      assert.equal(5, weak[1]:send "still")
      weak[1]:close()
      assert.is_false(isopen(fd))
    end)

    it("reads from a Lua file that is a pipe", function()
      local base = t.base()
      local pipe = io.popen "echo through a pipe"
      local bev = base:bufferevent(pipe)
      local got = collect(bev)
      t.run(base)
      assert.equal("through a pipe\n", got.data)
      assert.is_true(pipe:close())
    end)

    it("refuses what cannot be waited for", function()
      local base = t.base()
      local file <close> = io.tmpfile()
      local sock <close> = setmetatable({socket.tcp4()},
        {__close = function(s) s[1]:close() end})
      local cases = {
        {"a file on disk is always ready", file},
        {"descriptor 99999 is not open", 99999},
        {"descriptor %-1 is not open", -1},
        {"descriptor, file or object with getfd expected", "1"},
        {"unknown word 'defer'", nil, {flags = "defer"}},
        {"unknown option 'flag'", nil, {flag = ""}},
        {"the object closes its own", sock[1], {flags = "close_on_free"}},
      }
      for _, c in ipairs(cases) do
        assert.error_matches(function() base:bufferevent(c[2], c[3]) end, c[1])
      end
    end)
  end)

  describe("with data", function()
    for _, address in ipairs {"127.0.0.1:0", "[::1]:0", "unix"} do
      it("echoes over " .. address, function()
        local base = t.base()
        local place = address == "unix" and "unix:" .. path() or address
        local server, client = pair(base, place)
        server:setcb(function(s) s:write(s:input()) end):enable "read"
        local got = ""
        client:setcb(function(c)
          got = got .. c:read()
          if #got == 10 then base:loopexit() end
        end)
        client:enable "read"
        client:write "there":write " and"
        client:write "!"
        t.run(base)
        assert.equal("there and!", got)
      end)
    end

    it("carries every byte both ways at once", function()
      local base = t.base()
      local bytes = {}
      for i = 0, 255 do bytes[i + 1] = string.char(i) end
      local all = table.concat(bytes)
      local server, client = pair(base)
      local one, two = collect(server), collect(client)
      server:write(all):shutdown()
      client:write(all:reverse()):shutdown()
      t.run(base)
      assert.equal(all:reverse(), one.data)
      assert.equal(all, two.data)
    end)

    for way, flags in pairs(ways) do
      it("keeps megabytes in order for a slow reader, called " .. way,
          function()
        local base = t.base()
        local server, client = pair(base, nil, {flags = flags})
        local list = {}
        local timer
        timer = base:timer(function()
          list[#list + 1] = client:read()
          client:enable "read"
        end)
        client:setcb(function(c)
          if #c:input() < 1 << 18 then return end
          c:disable "read"
          timer:add(0.001)
        end, nil, t.expect(function(c, what)
          assert.equal("eof", what)
          list[#list + 1] = c:read()
        end)):enable "read"
        server:write(MEGABYTES):close_after_flush()
        t.run(base)
        assert.is_true(MEGABYTES == table.concat(list))
        assert.is_true(#list >= 8)
      end)
    end

    it("writes strings, numbers and Buffers in one call", function()
      local base = t.base()
      local server, client = pair(base)
      local buffer = libevent.buffer "moved"
      local got = collect(client)
      assert.equal(server, server:write("a", 1, 2.5, buffer, ""))
      assert.equal(0, #buffer)
      assert.equal(server, server:write())
      server:write_buffer(buffer:add "again"):close_after_flush()
      assert.equal(0, #buffer)
      t.run(base)
      assert.equal("a12.5movedagain", got.data)
    end)

    it("writes nothing if one of the values is none", function()
      local server = pair(t.base())
      local buffer = libevent.buffer "kept"
      for _, value in ipairs {true, {}, print} do
        assert.error_matches(function() server:write("a", buffer, value) end,
          "string, number or Buffer expected")
      end
      assert.error_matches(function() server:write_buffer "a" end,
        "libevent.Buffer expected")
      assert.error_matches(function() server:write(server:output()) end,
        "the start of an output is frozen")
      assert.error_matches(function() server:write(buffer:close()) end,
        "Buffer is closed")
      assert.equal(0, #server:output())
    end)

    it("reads as much as it is asked for", function()
      local base = t.base()
      local server, client = pair(base)
      local into = libevent.buffer ">"
      assert.equal("", client:read())
      client:setcb(t.expect(function(c)
        assert.equal("", c:read(0))
        assert.equal("one", c:read(3))
        assert.equal(" two", c:read(4))
        assert.equal(c, c:read_buffer(into))
        assert.equal("", c:read(10))
        c:close()
      end)):enable "read"
      server:write "one two three"
      t.run(base)
      assert.equal("> three", into:remove())
      for _, n in ipairs {-1, 1.5, "1"} do
        assert.error_matches(function() server:read(n) end, "integer from 0")
      end
    end)

    it("relays from an input to another's output", function()
      local base = t.base()
      local a, b = pair(base)
      local c, d = pair(base)
      local got = collect(d)
      b:setcb(function() b:read_buffer(c:output()) end, nil,
        t.expect(function() c:close_after_flush() end)):enable "read"
      a:write(MEGABYTES):close_after_flush()
      t.run(base)
      assert.is_true(MEGABYTES == got.data)
    end)

    it("lends its input and its output, the same ones each time", function()
      local server, client = pair(t.base())
      local input, output = client:input(), client:output()
      assert.equal(input, client:input())
      assert.equal(output, client:output())
      assert.is_false(input == output)
      assert.error_matches(function() input:add "x" end,
        "the end of an input is frozen")
      assert.error_matches(function() output:remove() end,
        "the start of an output is frozen")
      client:close()
      for _, buffer in ipairs {input, output} do
        assert.error_matches(function() buffer:length() end,
          "Bufferevent is closed")
      end
      assert.equal(0, #server:input())
    end)

    it("sends what is added to its output", function()
      local base = t.base()
      local server, client = pair(base)
      local got = collect(client)
      server:output():add "added"
      assert.equal(5, #server:output())
      server:close_after_flush()
      t.run(base)
      assert.equal("added", got.data)
    end)

    it("keeps what a peer leaves unread small, as the echo server does",
        function()
      local LIMIT, base = 1 << 16, t.base()
      local server, client = pair(base)
      local highest, pauses, list = 0, 0, nil
      local reading = base:timer(t.expect(function()
        list = collect(client)
      end))
      server:setcb(function(s)
        s:write(s:input())
        highest = math.max(highest, #s:output())
        if #s:output() > LIMIT then
          pauses = pauses + 1
          s:disable "read"
          if pauses == 1 then reading:add(0.03) end
        end
      end, function(s) s:enable "read" end):enable "read"
      local data = MEGABYTES:rep(4)
      client:write(data):shutdown()
      t.run(base)
      assert.is_true(data == list.data)
      assert.is_true(highest <= LIMIT + (1 << 18))
    end)
  end)

  describe("with callbacks", function()
    it("tells which it has", function()
      local bev = t.base():bufferevent()
      local function read() end
      local function write() end
      local event = setmetatable({}, {__call = function() end})
      assert.same({n = 3}, table.pack(bev:getcb()))
      assert.equal(bev, bev:setcb(read, write, event))
      assert.same({read, write, event, n = 3}, table.pack(bev:getcb()))
      bev:setcb(nil, write)
      assert.same({nil, write, nil, n = 3}, table.pack(bev:getcb()))
    end)

    it("changes none if one of them cannot be called", function()
      local bev = t.base():bufferevent()
      bev:setcb(print)
      for i = 1, 3 do
        local list = {nil, nil, nil}
        list[i] = {}
        assert.error_matches(function() bev:setcb(list[1], list[2], list[3])
        end, "bad argument #" .. i .. ".*function expected")
      end
      assert.equal(print, (bev:getcb()))
    end)

    it("calls the ones that were set last, callable objects too", function()
      local base = t.base()
      local server, client = pair(base)
      local second = setmetatable({}, {__call = t.expect(function(_, c)
        assert.equal(client, c)
        assert.equal("second", c:read())
        c:close()
      end)})
      client:setcb(t.never())
      client:setcb(t.expect(function(c)
        assert.equal("first", c:read())
        c:setcb(second)
        server:write "second"
      end)):enable "read"
      server:write "first"
      t.run(base)
    end)

    it("calls the write callback when all is sent", function()
      local base = t.base()
      local server, client = pair(base)
      local got = collect(client)
      server:setcb(nil, t.expect(function(s)
        assert.equal(0, #s:output())
        s:close()
      end))
      server:write(MEGABYTES)
      t.run(base)
      assert.is_true(MEGABYTES == got.data)
    end)

    it("calls the write callback once more at most when writing is enabled",
    function()
      local base = t.base()
      local server, client = pair(base)
      local calls = 0
      server:setcb(nil, function() calls = calls + 1 end)
      runfor(base, 0.01)
      assert.equal(0, calls)
      server:enable "write"
      runfor(base, 0.01)
      assert.is_true(calls <= 1)
      client:close()
      server:close()
    end)

    it("needs no callback to read", function()
      local base = t.base()
      local server, client = pair(base)
      client:enable "read"
      server:write "quiet"
      runfor(base, 0.01)
      assert.equal("quiet", client:read())
    end)

    for _, name in ipairs {"read", "write", "event"} do
      it("may be closed in its " .. name .. " callback", function()
        local base = t.base()
        local server, client = pair(base)
        local fd = client:getfd()
        local close = t.expect(function(c)
          c:close()
          collectgarbage()
          assert.is_false(isopen(fd))
        end)
        client:setcb(name == "read" and close or nil,
          name == "write" and close or nil, name == "event" and close or nil)
        client:enable "read"
        if name == "write" then client:write(MEGABYTES:sub(1, 100000)) end
        if name == "read" then server:write(MEGABYTES:sub(1, 100000)) end
        if name == "event" then server:close() else server:enable "read" end
        t.run(base)
      end)

      it("may have its base closed in its " .. name .. " callback", function()
        local base = t.base()
        local server, client = pair(base)
        local close = t.expect(function() base:close() end)
        client:setcb(name == "read" and close or nil,
          name == "write" and close or nil, name == "event" and close or nil)
        client:enable "read"
        if name == "write" then client:write "x" end
        if name == "event" then server:close() else server:write "x" end
        t.run(base)
        assert.matches("closed", tostring(server))
        assert.matches("closed", tostring(client))
      end)
    end

    it("may close the other end in a callback", function()
      local base = t.base()
      local server, client = pair(base)
      server:setcb(t.never(), nil, t.never()):enable "read"
      client:setcb(t.expect(function() server:close() end), nil,
        t.expect(function(c, what, detail)
          assert.same({"eof", "reading"}, {what, detail})
          c:close()
        end)):enable "read"
      server:write "x"
      t.run(base)
    end)

    it("calls them from a queue with defer_callbacks", function()
      local base = t.base()
      local server, client = pair(base, nil, {flags = "defer_callbacks"})
      local order = {}
      client:setcb(t.expect(function(c)
        order[#order + 1] = "read " .. c:read()
      end), t.expect(function()
        order[#order + 1] = "write"
      end), t.expect(function(c, what)
        order[#order + 1] = what
        c:close()
      end)):enable "read"
      client:write "x"
      server:write "y":shutdown()
      t.run(base)
      table.sort(order)
      assert.same({"eof", "read y", "write"}, order)
    end)
  end)

  describe("that connects", function()
    local function listen(base, address)
      return assert(base:listener(address, t.expect(function(l, conn)
        conn:write "welcome":close_after_flush()
        l:close()
      end)))
    end

    for _, address in ipairs {"127.0.0.1:0", "[::1]:0", "unix"} do
      it("is connected to " .. address .. " and then reads", function()
        local base = t.base()
        local place = address == "unix" and "unix:" .. path() or address
        local listener = listen(base, place)
        local name = listener:sockname()
        local client = base:bufferevent()
        local list, event = events(2)
        client:setcb(t.expect(function(c)
          assert.equal(name, c:peername())
          assert.equal("welcome", c:read())
          assert.matches(address == "unix" and "^unix:$"
            or address == "[::1]:0" and "^%[::1%]:%d+$"
            or "^127%.0%.0%.1:%d+$", c:sockname())
        end), nil, event):enable "read"
        assert.equal(client, client:connect(name))
        assert.is_number(client:getfd())
        assert.equal("read|write", client:enabled())
        t.run(base)
        assert.same({{"connected"}, {"eof", "reading"}}, list)
      end)
    end

    for way, flags in pairs(ways) do
      for _, reading in ipairs {false, true} do
        for _, address in ipairs {"127.0.0.1:0", "[::1]:0"} do
          it(("hears once that it is refused by %s%s, called %s"):format(
              address, reading and " while reading" or "", way), function()
            local base = t.base()
            local client = base:bufferevent(nil, {flags = flags})
            local list, event = events()
            client:setcb(t.never(), t.never(), event)
            if reading then client:enable "read" end
            client:write "to nobody"
            assert(client:connect(deadaddress(base, address)))
            t.run(base)
            t.turns(base, 3)
            assert.same({{"error", "Connection refused", ECONNREFUSED}}, list)
            assert.is_nil(client:getfd())
            assert.equal(9, #client:output())
          end)
        end
      end
    end

    it("is told at once what unix sockets know at once", function()
      local base = t.base()
      local name = path()
      local client = base:bufferevent():setcb(nil, nil, t.never())
      local result, message, errno = client:connect("unix:" .. name)
      assert.is_nil(result)
      assert.equal("No such file or directory", message)
      assert.equal(ENOENT, errno)
      local stale = unix()
      stale:bind(name)
      result, message, errno = client:connect("unix:" .. name)
      stale:close()
      os.remove(name)
      assert.is_nil(result)
      assert.equal("Connection refused", message)
      assert.equal(ECONNREFUSED, errno)
      assert.is_nil(client:getfd())
    end)

    for way, flags in pairs(ways) do
      it("connects again after a refusal, called " .. way, function()
        local base = t.base()
        local listener = listen(base, "127.0.0.1:0")
        local list = {}
        local client = base:bufferevent(nil, {flags = flags})
        client:setcb(t.expect(function(c)
          assert.equal("welcome", c:read())
        end), nil, t.expect(function(c, what)
          list[#list + 1] = what
          if what == "error" then assert(c:connect(listener:sockname())) end
        end, 3)):enable "read"
        assert(client:connect(deadaddress(base)))
        t.run(base)
        assert.same({"error", "connected", "eof"}, list)
      end)
    end

    it("gives up after the write timeout, and may try again", function()
      local base = t.base()
      local full = assert(base:listener("127.0.0.1:0", t.never(),
        {flags = "disabled", backlog = 1}))
      local host, port = full:sockname():match "^(.*):(%d+)$"
      local crowd = {}
      for i = 1, 3 do
        crowd[i] = socket.tcp()
        crowd[i]:settimeout(0)
        crowd[i]:connect(host, tonumber(port))
      end
      local list, event = events()
      local client = base:bufferevent():setcb(nil, nil, event)
      client:set_timeouts(nil, 0.03)
      assert(client:connect(full:sockname()))
      t.run(base)
      assert.same({{"timeout", "writing"}}, list)
      assert.is_nil(client:getfd())
      for _, sock in ipairs(crowd) do sock:close() end
      full:close()

      local listener = listen(base, "127.0.0.1:0")
      list, event = events(2)
      client:setcb(nil, nil, event):enable "read"
      assert(client:connect(listener:sockname()))
      t.run(base)
      assert.same({{"connected"}, {"eof", "reading"}}, list)
      assert.equal("welcome", client:read())
    end)

    it("sends what was written before and while it connects", function()
      local base = t.base()
      local got
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l, conn)
          got = collect(conn)
          l:close()
        end)))
      local client = base:bufferevent():write "before "
      assert(client:connect(listener:sockname()))
      client:write "while":shutdown()
      t.run(base)
      assert.equal("before while", got.data)
    end)

    it("connects once at a time", function()
      local base = t.base()
      local server, listener
      listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        server = conn
        l:close()
      end))
      local name = listener:sockname()
      local client = base:bufferevent()
      assert(client:connect(name))
      assert.error_matches(function() client:connect(name) end,
        "Bufferevent is connecting already")
      t.run(base)
      local result, message, errno = server:connect(name)
      assert.is_nil(result)
      assert.is_string(message)
      assert.equal(EISCONN, errno)
      for _, address in ipairs {"localhost:80", "127.0.0.1", "unix:", 80} do
        assert.error_matches(function() client:connect(address) end,
          "address %b() expected")
      end
    end)

    it("uses the descriptor that it has", function()
      local base = t.base()
      local listener = listen(base, "127.0.0.1:0")
      local sock = socket.tcp4()
      local client = base:bufferevent(sock)
      local fd = client:getfd()
      local got
      client:setcb(nil, nil, t.expect(function(c, what)
        assert.equal("connected", what)
        got = collect(c)
      end))
      assert(client:connect(listener:sockname()))
      assert.equal(fd, client:getfd())
      t.run(base)
      assert.equal("welcome", got.data)
      assert.is_true(isopen(fd))
      sock:close()
    end)

    it("hears nothing if it is closed before", function()
      local base = t.base()
      local client = base:bufferevent():setcb(nil, nil, t.never())
      assert(client:connect(deadaddress(base)))
      local fd = client:getfd()
      client:write "x":close()
      assert.is_false(isopen(fd))
      t.run(base)
    end)

    it("may be closed as soon as it is connected", function()
      local base = t.base()
      local got
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l, conn)
          got = collect(conn)
          l:close()
        end)))
      local client = base:bufferevent():write "unsent"
      local files = {}
      client:setcb(nil, t.never(), t.expect(function(c)
        local fd = c:getfd()
        c:close()
        repeat files[#files + 1] = io.tmpfile() until isopen(fd)
      end))
      assert(client:connect(listener:sockname()))
      t.run(base)
      assert.equal("", got.data)
      for _, file in ipairs(files) do
        assert.equal(0, file:seek "end")
        file:close()
      end
    end)

    it("keeps its descriptor during the callback of connected", function()
      local base = t.base()
      local listener = listen(base, "127.0.0.1:0")
      local client = base:bufferevent()
      client:setcb(nil, nil, t.expect(function(c)
        assert.error_matches(function() c:setfd() end, "still writes")
      end))
      assert(client:connect(listener:sockname()))
      t.run(base)
    end)
  end)

  describe("at the end", function()
    it("tells of the peer's with the data still there", function()
      local base = t.base()
      local server, client = pair(base)
      local list, event = events()
      client:setcb(nil, nil, event):enable "read"
      server:write "last words":close_after_flush()
      t.run(base)
      assert.same({{"eof", "reading"}}, list)
      assert.equal("last words", client:read())
      assert.equal("write", client:enabled())
    end)

    it("can still write to a peer that sends no more", function()
      local base = t.base()
      local server, client = pair(base)
      local got = collect(client)
      server:setcb(nil, nil, t.expect(function(s, what)
        assert.equal("eof", what)
        s:write "answer":close_after_flush()
      end)):enable "read"
      client:shutdown()
      t.run(base)
      assert.equal("answer", got.data)
    end)

    it("tells of a reset as an error, with message and errno", function()
      local base = t.base()
      local server, sock = withsocket(base)
      local list, event = events()
      server:setcb(nil, nil, event):enable "read"
      sock:setoption("linger", {on = true, timeout = 0})
      sock:close()
      t.run(base)
      assert.same({{"error", "Connection reset by peer", ECONNRESET}}, list)
    end)

    it("tells of a closed peer while writing as an error", function()
      local base = t.base()
      local server, client = pair(base, "unix:" .. path())
      client:close()
      local list, event = events()
      server:setcb(nil, t.never(), event):write "to nobody"
      t.run(base)
      assert.same({{"error", "Broken pipe", EPIPE}}, list)
      assert.equal(9, #server:output())
      assert.equal("", server:enabled())
    end)

    it("tells of a reset while writing as an error", function()
      local base = t.base()
      local server, sock = withsocket(base)
      sock:setoption("linger", {on = true, timeout = 0})
      sock:close()
      local list, event = events()
      server:setcb(nil, t.never(), event):write "to nobody"
      t.run(base)
      assert.same({{"error", "Connection reset by peer", ECONNRESET}}, list)
      assert.equal(9, #server:output())
    end)

    it("survives SIGPIPE", function()
      local output, status = t.lua [[
        local base = require "libevent".base()
        local path = os.tmpname()
        os.remove(path)
        local listener = base:listener("unix:" .. path, function(l, conn)
          conn:close()
          l:close()
        end)
        local client = base:bufferevent()
        client:setcb(nil, nil, function(c, what, message, errno)
          if what == "error" then print(what, message, errno) end
        end)
        client:connect(listener:sockname())
        base:dispatch()
        client:write "x"
        base:dispatch()
      ]]
      assert.equal("error\tBroken pipe\t32\n", output)
      assert.equal(0, status)
    end)

    it("tells which direction timed out", function()
      local base = t.base()
      local server, client = pair(base)
      local list, event = events()
      client:setcb(nil, nil, event):enable "read"
      assert.equal(client, client:set_timeouts(0.02))
      t.run(base)
      assert.same({{"timeout", "reading"}}, list)
      assert.equal("write", client:enabled())

      list, event = events()
      client:setcb(nil, nil, event):set_timeouts(nil, 0.02)
      client:write(MEGABYTES:rep(4))
      t.run(base)
      assert.same({{"timeout", "writing"}}, list)
      assert.equal("", client:enabled())
      assert.is_true(#client:output() > 0)
      assert.equal("", server:read())
    end)

    it("does not time out while data comes, or after the timeout is gone",
        function()
      local base = t.base()
      local server, client = pair(base)
      client:setcb(function(c) c:read() end, nil, t.never()):enable "read"
      client:set_timeouts(0.05 * t.slow)
      for _ = 1, 8 do
        server:write "x"
        runfor(base, 0.01)
      end
      client:set_timeouts()
      for _ = 1, 8 do runfor(base, 0.01 * t.slow) end
    end)

    it("lets no time pass while there is nothing to wait for", function()
      local base = t.base()
      local server, client = pair(base)
      client:setcb(nil, nil, t.never()):set_timeouts(0.005, 0.005)
      runfor(base, 0.02)                      -- neither reads nor has output
      client:disable "write":write "waits"
      runfor(base, 0.02)
      client:enable "write"
      t.run(base)
      assert.equal(0, #client:output())
      local list, event = events()
      client:setcb(nil, nil, event):enable "read"
      t.run(base)
      assert.same({{"timeout", "reading"}}, list)
      server:close()
    end)

    it("refuses times that are none", function()
      local bev = t.base():bufferevent()
      for _, time in ipairs {-1, 0 / 0, math.huge, 2 ^ 40, "1", {}} do
        for i, args in ipairs {{time}, {nil, time}} do
          assert.error_matches(function()
            bev:set_timeouts(args[1], args[2])
          end, "bad argument #" .. i .. ".*seconds from 0")
        end
        assert.error_matches(function() bev:close_after_flush(time) end,
          "bad argument #1.*seconds from 0")
      end
    end)

    describe("without an event callback", function()
      it("closes itself once its output has gone", function()
        local base = t.base()
        local server, client = pair(base)
        server:enable "read"
        server:write(MEGABYTES)
        client:shutdown()
        local fd = server:getfd()
        base:timer(t.expect(function()
          assert.equal("libevent.Bufferevent (closed)", tostring(server))
          assert.is_true(isopen(fd))
          client = collect(client)
        end)):add(0.02)
        t.run(base)
        assert.is_true(MEGABYTES == client.data)
        assert.is_false(isopen(fd))
      end)

      local cases = {
        ["an end"] = function(_, sock) sock:shutdown "send" end,
        ["an error"] = function(_, sock)
          sock:setoption("linger", {on = true, timeout = 0})
          sock:close()
        end,
        ["a read timeout"] = function(bev) bev:set_timeouts(0.02) end,
        ["a write timeout"] = function(bev)
          bev:set_timeouts(nil, 0.02)
          bev:write(MEGABYTES:rep(4))
        end,
      }
      for name, start in pairs(cases) do
        it("closes itself on " .. name, function()
          local base = t.base()
          local bev, sock = withsocket(base)
          local fd = bev:getfd()
          bev:enable "read"
          start(bev, sock)
          t.run(base)
          assert.equal("libevent.Bufferevent (closed)", tostring(bev))
          assert.is_false(isopen(fd))
          sock:close()
        end)
      end

      it("closes itself when it is refused", function()
        local base = t.base()
        local bev = base:bufferevent()
        assert(bev:connect(deadaddress(base)))
        t.run(base)
        assert.equal("libevent.Bufferevent (closed)", tostring(bev))
      end)
    end)
  end)

  describe("with switches", function()
    it("reads only while it is told to", function()
      local base = t.base()
      local server, client = pair(base)
      local got = ""
      client:setcb(function(c) got = got .. c:read() end)
      assert.equal("write", client:enabled())
      assert.equal(client, client:enable "read")
      assert.equal("read|write", client:enabled())
      assert.equal(client, client:disable "read|write")
      assert.equal("", client:enabled())
      server:write "x"
      runfor(base, 0.01)
      assert.equal("", got)
      client:enable "read"
      runfor(base, 0.01)
      assert.equal("x", got)
    end)

    it("sends only while it is told to", function()
      local base = t.base()
      local server, client = pair(base)
      server:disable "write":write "later"
      runfor(base, 0.01)
      assert.equal(5, #server:output())
      local got = collect(client)
      server:enable "write":close_after_flush()
      t.run(base)
      assert.equal("later", got.data)
    end)

    it("refuses words that it does not know", function()
      local bev = t.base():bufferevent()
      for _, name in ipairs {"enable", "disable", "shutdown",
          "setwatermark", "getwatermark"} do
        assert.error_matches(function() bev[name](bev, "both") end,
          "unknown word 'both' %(known: read, write%)")
      end
    end)
  end)

  describe("with watermarks", function()
    it("tells them for each direction", function()
      local bev = t.base():bufferevent()
      assert.same({0, 0}, {bev:getwatermark "read"})
      assert.equal(bev, bev:setwatermark("read", 3, 9))
      assert.equal(bev, bev:setwatermark("write", 5))
      assert.same({3, 9}, {bev:getwatermark "read"})
      assert.same({5, 0}, {bev:getwatermark "write"})
      bev:setwatermark "read|write"
      assert.same({0, 0}, {bev:getwatermark "read"})
      assert.same({0, 0}, {bev:getwatermark "write"})
    end)

    it("refuses those that are none", function()
      local bev = t.base():bufferevent()
      assert.error_matches(function() bev:setwatermark("read", 2, 1) end,
        "a high mark below the low one")
      assert.error_matches(function() bev:setwatermark("read", -1) end,
        "integer from 0")
      assert.error_matches(function() bev:getwatermark "read|write" end,
        "one of read, write expected")
    end)

    it("holds the read callback back below the low mark", function()
      local base = t.base()
      local server, client = pair(base)
      client:setwatermark("read", 5)
      client:setcb(t.expect(function(c)
        assert.equal("12345", c:read())
        server:write "67":shutdown()
      end), nil, t.expect(function(c, what)
        assert.equal("eof", what)
        assert.equal("67", c:read())
        c:close()
      end)):enable "read"
      server:write "123"
      base:timer(t.expect(function()
        assert.equal(3, #client:input())
        server:write "45"
      end)):add(0.02)
      t.run(base)
    end)

    it("reads no more than the high mark before it is drained", function()
      local base = t.base()
      local server, client = pair(base)
      local data = MEGABYTES:sub(1, 100000)
      local list = {}
      client:setwatermark("read", 0, 5000)
      client:setcb(function(c)
        assert.is_true(#c:input() <= 5000)
        list[#list + 1] = c:read()
      end, nil, t.expect(function(c) c:close() end)):enable "read"
      server:write(data):close_after_flush()
      t.run(base)
      assert.is_true(data == table.concat(list))
    end)

    it("calls the write callback at the low mark", function()
      local base = t.base()
      local server, client = pair(base)
      local left
      server:setwatermark("write", 1 << 20)
      server:setcb(nil, function(s) left = left or #s:output() end)
      server:write(MEGABYTES)
      local got = collect(client)
      server:close_after_flush()
      t.run(base)
      assert.is_true(MEGABYTES == got.data)
      assert.is_nil(left)

      server, client = pair(base)
      server:setwatermark("write", 1 << 20)
      server:setcb(nil, function(s)
        left = left or #s:output()
        if #s:output() == 0 then s:close() end
      end)
      server:write(MEGABYTES)
      got = collect(client)
      t.run(base)
      assert.is_true(left > 0 and left <= 1 << 20)
      assert.is_true(MEGABYTES == got.data)
    end)
  end)

  describe("with descriptors", function()
    it("takes another one and closes the old", function()
      local base = t.base()
      local a, b = pair(base)
      local c, d = pair(base)
      local old, new = a:getfd(), c:detach()
      a:setcb(nil, nil, t.never()):enable "read"
      assert.equal(a, a:setfd(new))
      assert.is_false(isopen(old))
      assert.equal(new, a:getfd())
      assert.equal(a, a:setfd(new))
      assert.is_true(isopen(new))
      local one, two = collect(b), collect(d)
      a:write "to the new":close_after_flush()
      t.run(base)
      assert.equal("", one.data)
      assert.equal("to the new", two.data)
    end)

    it("guards its buffers whatever descriptor it gets", function()
      local base = t.base()
      local bev, sock = withsocket(base)
      local function guarded(b)
        assert.error_matches(function() b:input():add "x" end,
          "the end of an input is frozen")
        assert.error_matches(function() b:output():remove() end,
          "the start of an output is frozen")
      end
      guarded(bev)
      guarded(bev:setfd())
      guarded(bev:setfd(sock))
      local listener = assert(base:listener("127.0.0.1:0", t.expect()))
      local client = base:bufferevent()
      guarded(client:connect(listener:sockname()))
      client:setcb(nil, nil, t.expect(function(c, what)
        assert.equal("connected", what)
        guarded(c)
        listener:close()
      end))
      t.run(base)
      bev:close()
      sock:close()
    end)

    it("gives up an owned one and an object's in its own way", function()
      local base = t.base()
      local bev, sock = withsocket(base)
      local fd = bev:getfd()
      bev:enable "read"
      assert.equal(bev, bev:setfd(sock))
      assert.is_false(isopen(fd))
      assert.equal(sock:getfd(), bev:getfd())
      assert.equal(bev, bev:setfd())
      assert.is_nil(bev:getfd())
      assert.is_true(isopen(sock:getfd()))
      sock:close()
      assert.error_matches(function() bev:setfd(99999) end, "not open")
    end)

    it("hands over its descriptor and what is unread", function()
      local base = t.base()
      local server, client = pair(base)
      server:write "before"
      client:setcb(t.expect(function(c)
        local fd, unread = c:detach()
        assert.equal("before", unread)
        assert.error_matches(function() c:write "x" end,
          "Bufferevent is closed")
        assert.is_true(isopen(fd))
        local again = base:bufferevent(fd)
        again:write "after":close_after_flush()
      end)):enable "read"
      local got = collect(server)
      t.run(base)
      assert.equal("after", got.data)
    end)

    it("keeps its descriptor while output is unsent", function()
      local base = t.base()
      local server, client = pair(base)
      server:write "x"
      local result, message, errno = server:detach()
      assert.is_nil(result)
      assert.equal("there is unsent output", message)
      assert.equal(EBUSY, errno)
      t.run(base)
      local fd, unread = server:detach()
      assert.equal("", unread)
      base:bufferevent(fd):close()
      assert.is_false(isopen(fd))
      client:close()
    end)

    it("is not detached while it connects", function()
      local base = t.base()
      local bev = base:bufferevent()
      assert(bev:connect(deadaddress(base)))
      local result, _, errno = bev:detach()
      assert.is_nil(result)
      assert.equal(ENOTCONN, errno)
      t.run(base)
    end)
  end)

  describe("that shuts down", function()
    for _, first in ipairs {"server", "client"} do
      it("sends its output first: the " .. first .. " begins", function()
        local base = t.base()
        local server, client = pair(base)
        local one, two = collect(server), collect(client)
        local order = first == "server" and {server, client}
                                        or {client, server}
        for i, bev in ipairs(order) do
          bev:write(MEGABYTES, i)
          assert.equal(bev, bev:shutdown(i == 2 and "write" or nil))
          assert.is_true(#bev:output() > 0)
        end
        t.run(base)
        local swapped = first == "server"
        assert.is_true(MEGABYTES .. (swapped and 2 or 1) == one.data)
        assert.is_true(MEGABYTES .. (swapped and 1 or 2) == two.data)
      end)
    end

    it("writes no more", function()
      local server, client = pair(t.base())
      server:shutdown()
      assert.error_matches(function() server:write "x" end,
        "Bufferevent is shut down for writing")
      assert.error_matches(function()
        server:write_buffer(libevent.buffer "x")
      end, "Bufferevent is shut down for writing")
      assert.equal(server, server:shutdown())
      assert.equal(client, client:write "x")
    end)

    it("reads an end after it has shut down reading", function()
      local base = t.base()
      local server, client = pair(base)
      local list, event = events()
      client:setcb(t.never(), nil, event):enable "read"
      assert.equal(client, client:shutdown "read")
      t.run(base)
      assert.same({{"eof", "reading"}}, list)
      assert.equal(client, client:write "still")
      local got = collect(server)
      client:close_after_flush()
      t.run(base)
      assert.equal("still", got.data)
    end)

    it("ends both directions at once", function()
      local base = t.base()
      local server, client = pair(base)
      local one, two = collect(server), collect(client)
      client:write "last"
      assert.equal(client, client:shutdown "read|write")
      t.run(base)
      assert.equal("last", one.data)
      assert.equal("", two.data)
    end)
  end)

  describe("that is closed", function()
    it("closes its descriptor at once, and only once", function()
      local base = t.base()
      local server, client = pair(base)
      local fd = client:getfd()
      client:write "unsent"
      assert.equal(client, client:close())
      assert.is_false(isopen(fd))
      local files = {}
      repeat files[#files + 1] = io.tmpfile() until isopen(fd)
      assert.equal(client, client:close())
      assert.is_true(isopen(fd))
      for _, file in ipairs(files) do file:close() end
      local got = collect(server)
      t.run(base)
      assert.equal("", got.data)
    end)

    it("closes at the end of its scope", function()
      local _, client = pair(t.base())
      local fd = client:getfd()
      do
        local scoped <close> = client
        assert.equal(fd, scoped:getfd())
      end
      assert.is_false(isopen(fd))
    end)

    it("has no methods left but those that close", function()
      local base = t.base()
      local bev = base:bufferevent():close()
      local methods = debug.getmetatable(bev).__index
      local n = 0
      for name, method in pairs(methods) do
        if not name:match "^close" then
          n = n + 1
          assert.error_matches(function() method(bev, "read") end,
            "Bufferevent is closed", nil, nil, name)
        end
        assert.error_matches(function() method(base) end,
          "libevent.Bufferevent expected, got libevent.Base", nil, nil, name)
        assert.equal(bev, bev:close():close_after_flush(1))
      end
      assert.is_true(n >= 23)
    end)

    it("closes after the flush at once if there is nothing to send", function()
      local base = t.base()
      local server = pair(base)
      local fd = server:getfd()
      assert.equal(server, server:close_after_flush())
      assert.is_false(isopen(fd))
      local none = base:bufferevent():write "to nobody"
      assert.matches("closed", tostring(none:close_after_flush()))
    end)

    it("delivers all of its output before and calls nothing more", function()
      local base = t.base()
      local server, client = pair(base)
      server:setcb(t.never(), t.never(), t.never()):enable "read"
      server:setwatermark("write", 1 << 20)
      server:write(MEGABYTES)
      local fd = server:getfd()
      assert.equal(server, server:close_after_flush())
      assert.has_error(function() server:enable "read" end,
        "calling 'enable' on bad self (Bufferevent is closed)")
      server = nil -- luacheck: ignore
      collectgarbage()
      assert.is_true(isopen(fd))
      local got = collect(client)
      t.run(base)
      assert.is_true(MEGABYTES == got.data)
      assert.is_false(isopen(fd))
    end)

    it("does not wait for ever for a peer that takes nothing", function()
      local base = t.base()
      local server, client = pair(base)
      local fd = server:getfd()
      server:write(MEGABYTES:rep(4)):close_after_flush(0.03)
      t.run(base)
      assert.is_false(isopen(fd))
      assert.matches("closed", tostring(server))
      assert.matches("0x", tostring(client))
    end)

    it("delivers after the flush even if it still connects", function()
      local base = t.base()
      local got
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l, conn)
          got = collect(conn)
          l:close()
        end)))
      local client = base:bufferevent()
      assert(client:connect(listener:sockname()))
      client:write "in passing":close_after_flush()
      t.run(base)
      assert.equal("in passing", got.data)
      assert.matches("closed", tostring(client))
    end)
  end)
end)

describe("trigger", function()
  before_each(t.start)
  after_each(t.finish)

  local function list(bev)
    local called = {}
    local function note(name)
      return function(self, ...)
        assert.equal(bev, self)
        called[#called + 1] = table.concat({name, ...}, " ")
      end
    end
    bev:setcb(note "read", note "write", note "event")
    return called
  end

  it("calls from the loop, never at once, and once", function()
    local base = t.base()
    local bev = base:bufferevent()
    local called = list(bev)
    assert.equal(bev, bev:trigger "read")
    bev:trigger "read":trigger("write", "defer_callbacks")
    assert.same({}, called)
    t.turns(base, 3)
    assert.same({"read", "write"}, called)
  end)

  it("calls all that is asked for, although nobody holds it", function()
    local base = t.base()
    do
      local bev = base:bufferevent()
      bev:setcb(t.expect(), t.expect(), t.expect())
      bev:trigger "read|write":trigger_event "timeout|reading"
    end
    collectgarbage() collectgarbage()
    t.turns(base, 3)
  end)

  it("calls what is there when its turn comes", function()
    local base = t.base()
    local bev = base:bufferevent():trigger "read|write"
    bev:setcb(t.expect(), nil)
    t.turns(base, 3)
    bev:trigger "read":setcb()
    t.turns(base, 3)
  end)

  it("asks the watermarks, unless it is not to", function()
    local base = t.base()
    local server, client = pair(base)
    local called = list(server)
    client:write "12345"
    server:setwatermark("read", 10):setwatermark("write", 2)
    server:enable "read"
    runfor(base, 0.01)
    server:disable "write":write "123"
    server:trigger "read|write"
    t.turns(base, 3)
    assert.same({}, called)
    server:trigger("read|write", "ignore_watermarks")
    t.turns(base, 3)
    assert.same({"read", "write"}, called)
    server:setwatermark("read", 5):setwatermark("write", 3)
    server:trigger("read|write", "defer_callbacks")
    t.turns(base, 3)
    assert.same({"read", "write", "read", "write"}, called)
    server:close()
    client:close()
  end)

  it("asks again in its own callback, and others have their turn", function()
    local base = t.base()
    local n, late = 0, false
    local bev = base:bufferevent()
    bev:setcb(function()
      n = n + 1
      if not late then bev:trigger "read" end
    end)
    bev:trigger "read"
    base:timer(function() late = true end):add(0.01)
    base:dispatch()
    assert.is_true(n > 10)
  end)

  it("does nothing for no direction", function()
    local base = t.base()
    local bev = base:bufferevent():setcb(t.never(), t.never(), t.never())
    bev:trigger ""
    t.turns(base, 3)
  end)

  it("refuses words that it does not know", function()
    local bev = t.base():bufferevent()
    for message, call in pairs {
      ["bad argument #1 to 'trigger' (unknown word 'event' "
       .. "(known: read, write))"] = function() bev:trigger "event" end,
      ["bad argument #2 to 'trigger' (unknown word 'now' "
       .. "(known: ignore_watermarks, defer_callbacks))"] =
        function() bev:trigger("read", "now") end,
      ["bad argument #1 to 'trigger_event' (unknown word 'connected' "
       .. "(known: reading, writing, eof, error, timeout))"] =
        function() bev:trigger_event "connected" end,
      ["bad argument #1 to 'trigger_event' "
       .. "(one of eof, error, timeout expected)"] =
        function() bev:trigger_event "reading" end,
      ["bad argument #2 to 'trigger_event' "
       .. "(integer from 0 to 2147483647 expected, got -1)"] =
        function() bev:trigger_event("error", -1) end,
    } do
      assert.has_error(call, message)
    end
  end)

  it("has no place on a closed one, and calls none", function()
    local base = t.base()
    local bev = base:bufferevent():setcb(t.never(), t.never(), t.never())
    bev:trigger "read|write":trigger_event "eof":close()
    assert.has_error(function() bev:trigger "read" end,
      "calling 'trigger' on bad self (Bufferevent is closed)")
    assert.has_error(function() bev:trigger_event "eof" end,
      "calling 'trigger_event' on bad self (Bufferevent is closed)")
    t.turns(base, 3)
  end)

  it("of an event tells what has happened", function()
    local base = t.base()
    local bev = base:bufferevent()
    local called = list(bev)
    for _, what in ipairs {"eof|reading", "eof", "timeout|writing",
                           "timeout|reading"} do
      assert.equal(bev, bev:trigger_event(what))
      t.turns(base, 3)
    end
    bev:trigger_event "error"
    t.turns(base, 3)
    bev:trigger_event("error|reading", EPIPE)
    t.turns(base, 3)
    assert.same({
      "event eof reading", "event eof writing", "event timeout writing",
      "event timeout reading",
      "event error Software caused connection abort 103",
      "event error Broken pipe 32",
    }, called)
    assert.equal("write", bev:enabled())
  end)

  it("of an event closes one without such a callback", function()
    local base = t.base()
    local server, client = pair(base)
    local got = collect(client)
    server:write(MEGABYTES):trigger_event "eof|reading"
    t.run(base)
    assert.is_true(MEGABYTES == got.data)
    assert.matches("closed", tostring(server))
    local bev = base:bufferevent():trigger_event "timeout"
    t.turns(base, 3)
    assert.matches("closed", tostring(bev))
  end)

  it("calls nothing after the flush, and loses no output", function()
    for _, early in ipairs {true, false} do
      local base = t.base()
      local server, client = pair(base)
      server:setcb(t.expect(function() server:close_after_flush() end,
                            early and 0 or 1), t.never(), t.never())
      server:write(MEGABYTES):trigger "read|write":trigger_event "timeout"
      if early then server:close_after_flush() end
      local got = collect(client)
      t.run(base)
      assert.is_true(MEGABYTES == got.data)
    end
  end)

  it("of an event comes after the data", function()
    local base = t.base()
    local bev = base:bufferevent()
    local called = list(bev)
    bev:trigger_event "eof|reading":trigger "write":trigger "read"
    t.turns(base, 3)
    assert.same({"read", "write", "event eof reading"}, called)
  end)
end)

describe("a bufferevent that was connected and does nothing", function()
  before_each(t.start)
  after_each(t.finish)

  it("is collected when nobody holds it", function()
    local base = t.base()
    local weak = setmetatable({}, {__mode = "k"})
    local held
    local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
      held = conn
      l:close()
    end))
    do
      local client = base:bufferevent():setcb(nil, nil, t.expect())
      assert(client:connect(listener:sockname()))
      weak[client] = true
    end
    t.run(base)
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    held:close()
  end)
end)
