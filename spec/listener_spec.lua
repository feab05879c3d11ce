local lfs = require "lfs"
local socket = require "socket"
local unix = require "socket.unix"
local t = require "spec.helper"

local isopen, path, runfor = t.isopen, t.path, t.runfor

local EINVAL, ENOTSOCK, EADDRINUSE = 22, 88, 98
local O_NONBLOCK, O_CLOEXEC = t.O_NONBLOCK, t.O_CLOEXEC
local flagsof = t.flagsof

--- A LuaSocket object, connected to the listener.
local function connect(listener)
  local name = listener:sockname()
  if name:match "^unix:" then
    local sock = unix()
    assert(sock:connect(name:sub(6)))
    return sock
  end
  local host, port = name:gsub("::ffff:", ""):match "^%[?(.-)%]?:(%d+)$"
  local sock = assert(socket.connect(host, tonumber(port)))
  sock:settimeout(1)
  return sock
end

local function connectall(listener, n)
  local socks = {}
  for i = 1, n do socks[i] = connect(listener) end
  return socks
end

local function closeall(socks)
  for _, sock in ipairs(socks) do sock:close() end
end

local refused = t.refused

describe("a listener", function()
  before_each(t.start)
  after_each(t.finish)

  describe("on an address", function()
    for address, form in pairs {
      ["127.0.0.1:0"] = "^127%.0%.0%.1:[1-9]%d*$",
      ["[::1]:0"] = "^%[::1%]:[1-9]%d*$",
    } do
      it("finds a free port of " .. address .. " and names peers", function()
        local base = t.base()
        local sock
        local listener = assert(base:listener(address,
          t.expect(function(l, conn, peer)
            assert.matches(form, peer)
            assert.equal(conn:peername(), peer)
            assert.equal(l:sockname(), conn:sockname())
            assert.equal(tonumber((select(2, sock:getsockname()))),
              tonumber(peer:match "%d+$"))
            l:close()
          end)))
        assert.matches(form, listener:sockname())
        sock = connect(listener)
        t.run(base)
        sock:close()
      end)
    end

    for what, address in pairs {
      ["a unix socket"] = "unix:" .. path(),
      ["an abstract unix socket"] = "unix:@" .. path(),
    } do
      it("takes " .. what, function()
        local base = t.base()
        local listener = assert(base:listener(address,
          t.expect(function(l, conn, peer)
            assert.equal("unix:", peer)
            assert.equal(address, conn:sockname())
            conn:write "hello":close_after_flush()
            l:close()
          end)))
        assert.equal(address, listener:sockname())
        local client = base:bufferevent()
        client:setcb(t.expect(function(c)
          assert.equal(address, c:peername())
          assert.equal("hello", c:read())
          c:close()
        end)):enable "read"
        assert(client:connect(address))
        t.run(base)
      end)
    end

    it("hands out connections that survive and do not block", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l, conn)
          assert.equal("write", conn:enabled())
          conn:setcb(t.expect(function(c)
            c:write(c:input()):close_after_flush()
          end)):enable "read"
          local flags = flagsof(conn:getfd())
          assert.is_true(flags & O_NONBLOCK ~= 0 and flags & O_CLOEXEC ~= 0)
          l:close()
        end)))
      local sock = connect(listener)
      base:loop "once"
      collectgarbage() collectgarbage()
      sock:send "x"
      t.run(base)
      assert.equal("x", sock:receive "*a")
      sock:close()
    end)

    it("does not block, and leaves its socket to no other program", function()
      local base = t.base()
      local sock = socket.tcp4()
      assert(sock:bind("127.0.0.1", 0))
      for _, address in ipairs {"127.0.0.1:0", "unix:@" .. path(), sock} do
        local listener = assert(base:listener(address, t.never()))
        local flags = flagsof(listener:fd())
        assert.not_equal(0, flags & O_NONBLOCK)
        if address ~= sock then assert.not_equal(0, flags & O_CLOEXEC) end
        listener:close()
      end
      sock:close()
    end)

    it("closes a connection that the script drops", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l) l:close() end)))
      local sock = connect(listener)
      t.run(base)
      collectgarbage() collectgarbage()
      assert.same({n = 3, nil, "closed", ""}, table.pack(sock:receive "*l"))
      sock:close()
    end)

    it("is refused where another one listens", function()
      local base = t.base()
      for _, address in ipairs {"127.0.0.1:0", "unix:" .. path()} do
        local listener = assert(base:listener(address, t.never()))
        refused(EADDRINUSE, base:listener(listener:sockname(), t.never()))
        listener:close()
      end
    end)

    it("raises what can be no listener", function()
      local base = t.base()
      local cases = {
        {"address %b() expected", "localhost:80", print},
        {"address %b() expected", "127.0.0.1:65536", print},
        {"descriptor, file or object with getfd expected", {}, print},
        {"descriptor 99999 is not open", 99999, print},
        {"function expected, got nil", "127.0.0.1:0"},
        {"unknown option 'flag'", "127.0.0.1:0", print, {flag = ""}},
        {"unknown word 'reusable' %(known: .*reuseable,", "127.0.0.1:0", print,
          {flags = "reusable"}},
        {"integer from 1", "127.0.0.1:0", print, {backlog = 0}},
      }
      for _, c in ipairs(cases) do
        assert.error_matches(function() base:listener(c[2], c[3], c[4]) end,
          c[1])
      end
    end)
  end)

  describe("with flags", function()
    it("shares its port with reuseable_port alone", function()
      local base = t.base()
      local options = {flags = "reuseable_port"}
      local one = assert(base:listener("127.0.0.1:0", t.never(), options))
      local two = assert(base:listener(one:sockname(), t.never(), options))
      assert.equal(one:sockname(), two:sockname())
      refused(EADDRINUSE, base:listener(one:sockname(), t.never()))
    end)

    it("takes its port again at once", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(_, conn) conn:close() end)))
      local name = listener:sockname()
      local sock = connect(listener)
      base:loop "once"
      listener:close()
      assert.is_nil((sock:receive "*l"))
      sock:close()
      assert(base:listener(name, t.never()):close())
    end)

    it("begins disabled, and accepts when it is enabled", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l) l:close() end), {flags = "disabled|reuseable"}))
      assert.is_false(listener:enabled())
      local sock = connect(listener)
      t.turns(base, 3)
      assert.equal(listener, listener:enable())
      assert.is_true(listener:enabled())
      t.run(base)
      sock:close()
    end)

    it("lets no more wait than its backlog", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0", t.never(),
        {flags = "disabled", backlog = 1}))
      local host, port = listener:sockname():match "^(.*):(%d+)$"
      local socks = {}
      for i = 1, 3 do
        socks[i] = socket.tcp()
        socks[i]:settimeout(0.03)
      end
      assert.equal(1, (socks[1]:connect(host, port)))
      assert.equal(1, (socks[2]:connect(host, port)))
      assert.same({n = 2, nil, "timeout"},
        table.pack(socks[3]:connect(host, port)))
      closeall(socks)
    end)

    it("takes no IPv4 with bind_ipv6only", function()
      local base = t.base()
      local address = "[::ffff:127.0.0.1]:0"
      refused(EINVAL, base:listener(address, t.never(),
        {flags = "bind_ipv6only"}))
      local listener = assert(base:listener(address,
        t.expect(function(l, _, peer)
          assert.matches("^%[::ffff:127%.0%.0%.1%]:%d+$", peer)
          l:close()
        end)))
      local sock = connect(listener)
      t.run(base)
      sock:close()
    end)

    it("waits for the first bytes with deferred_accept", function()
      local base = t.base()
      local calls = 0
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        calls = calls + 1
        conn:setcb(t.expect(function(c)
          assert.equal("first", c:read())
          c:close()
        end)):enable "read"
        l:close()
      end, {flags = "deferred_accept"}))
      local sock = connect(listener)
      runfor(base, 0.02)
      assert.equal(0, calls)
      sock:send "first"
      t.run(base)
      assert.equal(1, calls)
      sock:close()
    end)

    it("leaves no socket blocking, even if it is told to", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l, conn)
          assert.equal(O_NONBLOCK, flagsof(conn:getfd()) & O_NONBLOCK)
          l:close()
        end), {flags = "leave_sockets_blocking|threadsafe"}))
      local sock = connect(listener)
      t.run(base)
      sock:close()
    end)

    it("refuses those that the address does not know", function()
      local base = t.base()
      for flag, address in pairs {bind_ipv6only = "127.0.0.1:0",
          deferred_accept = "unix:@" .. path()} do
        local result, message, errno = base:listener(address, t.never(),
          {flags = flag})
        assert.is_nil(result)
        assert.is_string(message)
        assert.is_true(errno > 0)
      end
    end)
  end)

  describe("on a descriptor", function()
    it("leaves an object its socket", function()
      local base = t.base()
      local sock = socket.tcp4()
      assert(sock:bind("127.0.0.1", 0))
      local listener = assert(base:listener(sock, t.expect(function(l)
        l:close()
      end), {backlog = 5}))
      assert.equal(sock:getfd(), listener:fd())
      local client = connect(listener)
      t.run(base)
      assert.is_true(isopen(sock:getfd()))
      client:close()
      sock:close()
    end)

    it("keeps an object alive", function()
      local base = t.base()
      local sock = socket.tcp4()
      assert(sock:bind("127.0.0.1", 0))
      assert(base:listener(sock, t.expect(function(l) l:close() end)))
      local host, port = sock:getsockname()
      sock = setmetatable({sock}, {__mode = "v"})
      collectgarbage() collectgarbage()
      local client = assert(socket.connect(host, port))
      t.run(base)
      sock[1]:close()
      client:close()
    end)

    it("owns an integer one and closes it", function()
      for _, flags in ipairs {"", "close_on_free"} do
        local base = t.base()
        local sock = socket.tcp4()
        assert(sock:bind("127.0.0.1", 0))
        local fd = sock:getfd()
        sock:setfd(-1)
        local listener = assert(base:listener(fd, t.expect(function(l)
          l:close()
        end), {flags = flags}))
        local client = connect(listener)
        t.run(base)
        assert.is_false(isopen(fd))
        client:close()
      end
    end)

    it("is refused one that cannot listen", function()
      local base = t.base()
      local file <close> = io.tmpfile()
      refused(ENOTSOCK, base:listener(file, t.never()))
      assert.equal("file", io.type(file))
      assert.error_matches(function()
        base:listener(file, print, {flags = "close_on_free"})
      end, "the object closes its own descriptor")
    end)
  end)

  describe("with switches", function()
    it("accepts nothing while it is disabled", function()
      local base = t.base()
      local calls = 0
      local listener = assert(base:listener("127.0.0.1:0", function(l)
        calls = calls + 1
        if calls == 1 then assert.equal(l, l:disable()) else l:close() end
      end))
      assert.is_true(listener:enabled())
      local socks = connectall(listener, 2)
      t.run(base)
      assert.equal(1, calls)
      assert.is_false(listener:enabled())
      listener:enable():enable()
      t.run(base)
      assert.equal(2, calls)
      closeall(socks)
    end)

    it("tells each sort of callback the peer's address", function()
      local base = t.base()
      local listener
      local function check(_, conn, ...)
        assert.equal(1, select("#", ...))
        assert.equal(conn:peername(), (...))
        conn:close()
        base:loopbreak()
      end
      for _, cb in ipairs {
        function(...) check(...) end,
        function(l, conn, peer) check(l, conn, peer) end,
        setmetatable({}, {__call = function(_, ...) check(...) end}),
        coroutine.wrap(function(...)
          check(...)
          while true do check(coroutine.yield()) end
        end),
      } do
        local heard = t.expect(cb)
        listener = listener and listener:set_cb(heard)
          or assert(base:listener("127.0.0.1:0", heard))
        local sock = connect(listener)
        t.run(base)
        listener:set_cb(cb)
        local another = connect(listener)
        t.run(base)
        closeall {sock, another}
      end
      listener:set_cb(function(l, conn) conn:close() l:close() end)
      connect(listener):close()
      t.run(base)
    end)

    it("calls the callback that was set last", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l)
          local last = setmetatable({}, {__call = t.expect(function(_, me)
            me:close()
          end)})
          assert.equal(l, l:set_cb(last))
        end)))
      for _, value in ipairs {"nil", "table"} do
        assert.error_matches(function()
          listener:set_cb(value == "table" and {} or nil)
        end, "function expected, got " .. value)
      end
      assert.error_matches(function() listener:set_error_cb {} end,
        "function expected, got table")
      assert.equal(listener, listener:set_error_cb())
      local socks = connectall(listener, 2)
      t.run(base)
      closeall(socks)
    end)
  end)

  describe("whose callback", function()
    it("raises closes that connection, and the next ones can wait", function()
      local base = t.base()
      local calls, kept = 0, nil
      local err = setmetatable({}, {__name = "my error"})
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        calls = calls + 1
        if calls == 1 then
          kept = conn
          error(err)
        elseif calls == 3 then
          l:close()
        end
      end))
      local socks = connectall(listener, 3)
      local ok, message = pcall(base.dispatch, base)
      assert.is_false(ok)
      assert.equal(err, message)
      assert.equal(1, calls)
      assert.matches("closed", tostring(kept))
      assert.same({n = 3, nil, "closed", ""}, table.pack(socks[1]:receive "*l"))
      assert.is_true(listener:enabled())
      t.run(base)
      assert.equal(3, calls)
      closeall(socks)
    end)

    it("raises tells the base's error callback, and goes on", function()
      local base = t.base()
      local calls, listener = 0, nil
      base:set_error_cb(t.expect(function(err, object)
        assert.matches("no%. 1", err)
        assert.equal(listener, object)
      end))
      listener = assert(base:listener("127.0.0.1:0", function(l)
        calls = calls + 1
        if calls == 1 then error "no. 1" end
        l:close()
      end))
      local socks = connectall(listener, 2)
      t.run(base)
      assert.equal(2, calls)
      assert.is_nil((socks[1]:receive "*l"))
      closeall(socks)
    end)

    it("breaks the loop accepts nothing more before the next", function()
      local base = t.base()
      local calls = 0
      local listener = assert(base:listener("127.0.0.1:0", function(l)
        calls = calls + 1
        if calls < 3 then base:loopbreak() else l:close() end
      end))
      local socks = connectall(listener, 3)
      for i = 1, 2 do
        assert.is_true(base:dispatch())
        assert.equal(i, calls)
        assert.is_true(listener:enabled())
      end
      t.run(base)
      assert.equal(3, calls)
      closeall(socks)
    end)

    it("breaks the loop and disables it stays disabled", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l) l:disable():base():loopbreak() end)))
      local socks = connectall(listener, 2)
      assert.is_true(base:dispatch())
      assert.is_false(listener:enabled())
      runfor(base, 0.01)
      closeall(socks)
    end)

    it("closes it leaves the waiting connections to nobody", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l)
          local fd = l:fd()
          assert.equal(l, l:close())
          assert.equal(l, l:close())
          collectgarbage()
          assert.is_true(isopen(fd))
        end)))
      local socks = connectall(listener, 3)
      local fd = listener:fd()
      t.run(base)
      assert.is_false(isopen(fd))
      closeall(socks)
    end)

    it("closes the base ends the loop", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function() base:close() end)))
      local socks = connectall(listener, 2)
      t.run(base)
      assert.matches("closed", tostring(listener))
      closeall(socks)
    end)
  end)

  describe("on a unix path", function()
    it("removes its socket when it is closed", function()
      local base = t.base()
      local name = path()
      local listener = assert(base:listener("unix:" .. name, t.never()))
      assert.equal("socket", lfs.attributes(name, "mode"))
      listener:close()
      assert.is_nil(lfs.attributes(name))
    end)

    it("removes nobody else's", function()
      local base = t.base()
      local name = path()
      local one = assert(base:listener("unix:" .. name, t.never()))
      os.rename(name, name .. ".old")
      local two = assert(base:listener("unix:" .. name,
        t.expect(function(l) l:close() end)))
      one:close()
      local sock = connect(two)
      t.run(base)
      sock:close()
      os.remove(name .. ".old")
      assert.is_nil(lfs.attributes(name))
    end)

    it("takes over the socket of a dead server", function()
      local base = t.base()
      local name = path()
      local dead = unix()
      assert(dead:bind(name))
      assert(dead:listen())
      dead:close()
      local listener = assert(base:listener("unix:" .. name,
        t.expect(function(l) l:close() end)))
      local sock = connect(listener)
      t.run(base)
      sock:close()
    end)

    it("takes over neither a living server nor a file", function()
      local base = t.base()
      local name = path()
      local server = unix()
      assert(server:bind(name))
      assert(server:listen())
      refused(EADDRINUSE, base:listener("unix:" .. name, t.never()))
      local sock = unix()
      assert.equal(1, sock:connect(name))
      sock:close()
      server:close()
      os.remove(name)
      io.open(name, "w"):write("text"):close()
      refused(EADDRINUSE, base:listener("unix:" .. name, t.never()))
      assert.equal(4, lfs.attributes(name, "size"))
      os.remove(name)
    end)
  end)

  describe("without descriptors for another connection", function()
    local code = [[
      if arg[1] == nil then
        -- by env, since valgrind's idea of limits is its own: not traced
        local ok, _, status = os.execute((
          "env sh -c 'ulimit -n 64; exec %s %s again'"):format(arg[-1], arg[0]))
        os.exit(ok or status)
      end
      local base = require "libevent".base()
      local socket = require "socket"
      local accepted, told, ballast = 0, {}, {}
      local listener = base:listener("127.0.0.1:0", function(l, conn)
        accepted = accepted + 1
        conn:close()
      end)
      listener:set_error_cb(function(l, message, errno)
        assert(l == listener)
        told[#told + 1] = message .. " " .. errno
      end)
      local host, port = listener:sockname():match "^(.*):(%d+)$"
      local function shortage()
        local sock = assert(socket.connect(host, tonumber(port)))
        repeat
          local file = io.open "/dev/null"
          ballast[#ballast + 1] = file
        until not file
        local cpu = os.clock()
        base:timer(function() base:loopexit() end):add(0.25)
        base:dispatch()
        print("accepted " .. accepted, "told " .. #told, told[#told],
          os.clock() - cpu < 0.1 and "idle" or "busy")
        for i = #ballast, 1, -1 do table.remove(ballast):close() end
        base:timer(function() base:loopexit() end):add(0.25)
        base:dispatch()
        print("accepted " .. accepted, "told " .. #told)
        sock:close()
      end
      shortage()
      shortage()
      print(listener:enabled())
    ]]

    it("warns once, if nobody is to be told", function()
      local silent = code:gsub("listener:set_error_cb%b()", "")
      local output, status = t.lua('warn "@on"\n' .. silent)
      local warnings
      output, warnings = output:gsub("Lua warning: [^\n]*\n", function(line)
        assert.truthy(line:find "Too many open files", line)
        return ""
      end)
      assert.equal(2, warnings, output)           -- there are two shortages
      assert.truthy(output:find "accepted 2\ttold 0\ntrue\n$", output)
      assert.equal(0, status)
      output = t.lua(silent)
      assert.is_nil(output:find "arning", output)
    end)

    it("pauses, says so once and comes back", function()
      local output, status = t.lua(code)
      assert.equal(table.concat({
        "accepted 0\ttold 1\tToo many open files 24\tidle",
        "accepted 1\ttold 1",
        "accepted 1\ttold 2\tToo many open files 24\tidle",
        "accepted 2\ttold 2",
        "true\n"}, "\n"), output)
      assert.equal(0, status)
    end)
  end)

  describe("that nobody holds", function()
    it("listens on while it is enabled", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0",
        t.expect(function(l) l:close() end)))
      local sock = connect(listener)
      listener = nil -- luacheck: ignore
      collectgarbage() collectgarbage()
      t.run(base)
      sock:close()
    end)

    it("is closed when it is disabled", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0", t.never()))
      local fd = listener:disable():fd()
      listener = nil -- luacheck: ignore
      collectgarbage() collectgarbage()
      assert.is_false(isopen(fd))
    end)
  end)

  describe("that is closed", function()
    it("closes at the end of its scope", function()
      local fd
      do
        local listener <close> = assert(t.base():listener("127.0.0.1:0",
          t.never()))
        fd = listener:fd()
        assert.is_true(isopen(fd))
      end
      assert.is_false(isopen(fd))
    end)

    it("has no method left but close", function()
      local base = t.base()
      local listener = assert(base:listener("127.0.0.1:0", print))
      assert.equal(base, listener:base())
      assert.matches("^libevent.Listener %(0x%x+%)$", tostring(listener))
      assert.equal(listener, listener:close())
      assert.equal("libevent.Listener (closed)", tostring(listener))
      local n = 0
      for name, method in pairs(debug.getmetatable(listener).__index) do
        if name ~= "close" then
          n = n + 1
          assert.error_matches(function() method(listener, print) end,
            "Listener is closed", nil, nil, name)
        end
        assert.error_matches(function() method(base) end,
          "libevent.Listener expected, got libevent.Base", nil, nil, name)
      end
      assert.equal(8, n)
    end)
  end)
end)

describe("a listener whose callback connects again", function()
  before_each(t.start)
  after_each(t.finish)

  it("leaves all others their turn", function()
    local base = t.base()
    local n = 0
    local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
      n = n + 1
      conn:close()
      base:bufferevent():connect(l:sockname())
    end))
    base:bufferevent():connect(listener:sockname())
    base:timer(t.expect(function() base:loopbreak() end)):add(0.02)
    t.run(base)
    assert.is_true(n > 1 and n < 20000)
    base:close()
  end)
end)
