--- lualibevent.h, by a host program that does what a script tells it to, and
--- the example programs of examples/embedding.
local libevent = require "libevent"
local t = require "spec.helper"

local version = libevent._VERSION:match "%S+$"

--- Runs the script in the host, and compares what is printed; the host's own
--- last line tells that nothing is left on its base.
local function says(expected, script)
  local text, status = t.host("embedding", script)
  assert.equal(expected .. "events left 0\n", text)
  assert.equal(0, status)
end

describe("In a host program", function()
  describe("the module", function()
    it("opens without files, the parts in Lua too", function()
      says("true\ttrue\tfunction\tnil\n", [[
        print(require "libevent" == libevent,
              require "libevent.relay" == libevent.relay,
              type(libevent.relay), (package.searchpath("libevent", "")))
      ]])
    end)

    it("opens in a state that has no library at all", function()
      says(libevent._VERSION .. "\n", "print(bare())")
    end)

    it("has one version, and refuses a host of a later one", function()
      local major = math.tointeger(version:match "^%d+")
      local minor = math.tointeger(version:match "^%d+%.(%d+)")
      local patch = math.tointeger(version:match "%d+$")
      local number = major << 24 | minor << 16 | patch << 8
      says(("%d\t%d\t%s\n"):format(number, number, version)
           .. ("built for lua-libevent %d.%d, but this is %s\n")
                :format(major, minor + 1, version),
           "print(version()) print(select(2, pcall(later)))")
    end)
  end)

  describe("a call through the door", function()
    it("takes arguments and gives results", function()
      says("0\t6\tx\n", [[
        print(call(function(a, b) return a * b, "x" end, 2, 3))
      ]])
    end)

    it("leaves an error to the error callback and gives nothing", function()
      says("told: oh no, nil\n2\n2\n", [[
        base:set_error_cb(function(e, object)
          print(("told: %s, %s"):format(e[1], object))
        end)
        print(call(error, {"oh no"}))
        base:set_error_cb()
        print(call(error, "warnings are off"))
      ]])
    end)

    it("has a traceback in the error", function()
      local text = t.host("embedding", [[
        base:set_error_cb(print)
        call(function() error "oh no" end)
      ]])
      assert.truthy(text:find ":2: oh no\nstack traceback:\n", text)
    end)

    it("is refused without a Base", function()
      says("2\nLua goes on\n", [[
        detach()
        print(call(print, "not called"))
        print "Lua goes on"
      ]])
    end)

    if not t.plain then
      it("sends what was written, when it returns", function()
        says("0\n4\nhello\n", [[
          local a, b = libevent.socketpair()
          local conn = base:bufferevent(a)
          print(call(function()
            conn:write "hel":write "lo"
            return
          end))
          local buffer = libevent.buffer()
          print(buffer:read(b) and 4)
          print(buffer:remove())
          conn:close()
        ]])
      end)
    end

    it("can close the base", function()
      says("0\tlibevent.Base (closed)\n2\n", [[
        print(call(function() base:close() return tostring(base) end))
        print(call(print))
      ]])
    end)
  end)

  describe("the handler of errors", function()
    it("may be in C, and is replaced by Lua's", function()
      local text = t.host("embedding", [[
        print(handle())
        base:timer(function() error {} end):add(0)
        call(error, "oh no")
        base:timer(function()
          handle(function(e, object) print("Lua's: " .. e, object) end)
          error("again", 0)
        end):add(0.01)
      ]])
      assert.truthy(text:find "^0\nhost's handler: oh no\nstack", text)
      assert.truthy(text:find "\nhost's handler: table: [^\n]*, userdata\n",
                    text)
      assert.truthy(text:find "\nLua's: again\nstack.*libevent.Event", text)
    end)
  end)

  describe("a hook", function()
    it("is called in place of each callback's pcall", function()
      says("0\t1\n1\n2\t0\n", [[
        sethook(true)
        base:timer(function() print(hooks() - 1, (select(2, hooks()))) end)
          :add(0)
        base:timer(function()
          print((hooks()) - 1)
          sethook(false)
          base:timer(function() print(hooks()) end):add(0)
        end):add(0.02)
      ]])
    end)

    it("is called for a task that has something to read", function()
      says("hello\t1\ntold: oh no\n", [[
        base:set_error_cb(function(e) print("told: " .. e:match "oh no") end)
        local co = require "libevent.co"
        co.spawn(base, function()
          local a, b = co.pair()
          co.spawn(function()
            b:write "hello\n"
            co.sleep(0.01)
            a:close()
            b:close()
          end)
          sethook(true)
          print(a:read(), (select(2, hooks())))
          sethook(false)
          error "oh no"
        end)
      ]])
    end)

    it("sees the host's own calls, and leaves errors as they are", function()
      says("told: oh no\n2\n0\tx\n2\t0\n", [[
        sethook(true)
        base:set_error_cb(function(e) print("told: " .. e[1]) end)
        print(call(error, {"oh no"}))
        print(call(function() return "x" end))
        print(hooks())
      ]])
    end)
  end)

  describe("anything may happen", function()
    local places = {
      ["in a call of the host's"] = "print((call(action)))",
      ["in a callback"] = "base:timer(action):add(0)",
      ["in a callback, with a hook"] = "sethook(true) "
        .. "base:timer(action):add(0)",
      ["in the error callback"] = "base:set_error_cb(action) "
        .. "base:timer(error):add(0) print((call(error)))",
      ["in a call inside a callback"] = "base:timer(function() "
        .. "print((call(action))) end):add(0)",
      ["in what is given"] = "giveevent('timer', 1, false, action)",
    }
    local actions = {
      ["detach"] = "detach() detach()",
      ["close"] = "base:close() base:close() push():close()",
      ["an error"] = "error {}",
      ["a yield"] = "coroutine.yield()",
      ["a collection"] = "timer = nil collectgarbage() collectgarbage()",
      ["a wish for another call"] = "call(print, 'once more')",
      ["a new base"] = "detach() push():timer(print):add(0) detach()",
      ["an end"] = "os.exit(true, true)",
    }
    for where, place in pairs(places) do
      for what, action in pairs(actions) do
        it(where .. ": " .. what, function()
          local text, status = t.host("embedding", ([[
            timer = base:timer(function() end, "persist"):add(0.001)
            local conn = base:bufferevent((libevent.socketpair()))
            conn:enable "read":write(("x"):rep(1e6))
            local n = 0
            local function action()
              n = n + 1
              if n > 9 then return end
              %s
            end
            base:timer(function() detach() end):add(0.02)
            %s
          ]]):format(action, place))
          assert.equal(0, status, text)
          if what ~= "an end" then
            assert.truthy(text:find "events left 0\n$", text)
          end
        end)
      end
    end
  end)

  describe("detach", function()
    it("closes all that Lua has on the base, and no more", function()
      says("libevent.Base (closed)\tlibevent.Event (closed)\t"
           .. "libevent.Listener (closed)\nfalse\ta new one\n", [[
        local timer = base:timer(print, "persist"):add(0.001)
        local listener = base:listener("127.0.0.1:0", print)
        detach()
        detach()
        print(base, timer, listener)
        local again = push()
        print(again == base, "a new one")
        again:timer(function() detach() end):add(0.01)
      ]])
    end)

    it("waits for the callback that runs to return", function()
      says("libevent.Base (closed)\ttrue\n", [[
        base:timer(function()
          detach()
          print(base, push() ~= base)
          detach()
        end):add(0)
        base:timer(function() print "never" end):add(0.01)
      ]])
    end)
  end)

  it("may free its base when Lua is detached", function()
    local text, status = t.host("embedding", [[
      warn "@on"
      timer = base:timer(print, "persist"):add(0.001)
      conn = base:bufferevent((libevent.socketpair())):enable "read"
      conn:write(("x"):rep(1e6))
      detach()
      freebase()
      print(timer, conn, pcall(base.timer, base, print))
    ]])
    assert.equal("libevent.Event (closed)\tlibevent.Bufferevent (closed)\tfalse"
                 .. "\tbad argument #1 to '?' (Base is closed)\n"
                 .. "events left 0\n", text)
    assert.equal(0, status)
  end)

  it("breaks its loop inside a callback", function()
    says("last\nafter\n", [[
      base:timer(function() print "last" stop() end):add(0)
      base:timer(function() print "never" end):add(0.02)
      function after() print "after" end
    ]])
  end)

  describe("an object of Lua's", function()
    it("is lent to C", function()
      says("true\ttrue\ttrue\t5\ttrue\n", [[
        local a, b = libevent.socketpair()
        local bev = base:bufferevent(b)
        local l = base:listener("127.0.0.1:0", print)
        print(lend(base, "base"), lend(base:event(a, "read", print), "event")
                                  == a, lend(bev, "bufferevent") == b,
              lend(libevent.buffer("hello"), "buffer"),
              lend(l, "listener") > b)
        l:close()
        bev:close()
      ]])
    end)

    it("must be open, and of that type", function()
      local text = t.host("embedding", [[
        print(select(2, pcall(lend, base:user(print):close(), "event")))
        print(select(2, pcall(lend, base, "buffer")))
        print(select(2, pcall(lend, io.stdout, "bufferevent")))
      ]])
      assert.truthy(text:find "Event is closed", text)
      assert.truthy(text:find "libevent.Buffer expected, got libevent.Base",
                    text)
      assert.truthy(text:find "libevent.Bufferevent expected, got FILE", text)
    end)

    it("takes what the host writes between what Lua writes", function()
      says("one two three\n", [[
        local a, b = libevent.socketpair()
        local writer = base:bufferevent(a)
        local reader = base:bufferevent(b)
        base:timer(function()
          writer:write "one "
          hostwrite(writer, "two ")
          writer:write "three"
          writer:close_after_flush()
        end):add(0)
        reader:setcb(nil, nil, function(r) print(r:read()) r:close() end)
        reader:enable "read"
      ]])
    end)
  end)

  describe("a bufferevent that is given", function()
    for _, limited in ipairs {"false", "true"} do
      it("is the script's, with its bytes; limited: " .. limited, function()
        says("6\tread|write\n first hello\neof\n", ([[
          local a, b = libevent.socketpair()
          local bev = givebufferevent(a, " first", %s)
          print(#bev:input(), bev:enabled())
          local got = ""
          bev:setcb(function(c) got = got .. c:read() end, nil,
            function(c, what) print(got) print(what) c:close() end)
          bev = nil
          collectgarbage()
          local other = base:bufferevent(b)
          other:write " hello":close_after_flush()
        ]]):format(limited))
      end)
    end

    it("ends with the state", function()
      says("after the loop: open\nstill sending\nat last: closed\n", [[
        local a, b = libevent.socketpair()
        kept = givebufferevent(a, "bytes")
        kept:write(("x"):rep(1e6))
        base:timer(stop):add(0.01)
        watch(a)
        function after() print(#kept:output() > 0 and "still sending") end
      ]])
    end)

    it("ends with the base, of which Lua is detached", function()
      says("false\n", [[
        local a, b = libevent.socketpair()
        givebufferevent(a, "bytes")
        detach()
        freebase()
        print(isopen(a))
      ]])
    end)

    it("closes its descriptor, and the peer hears of it", function()
      says("eof\tfalse\n", [[
        local a, b = libevent.socketpair()
        local bev = givebufferevent(a, "")
        local other = base:bufferevent(b):set_timeouts(0.5):enable "read"
        other:setcb(nil, nil, function(c, what)
          print(what, isopen(a))
          c:close()
        end)
        base:timer(function() bev:close() end):add(0)
      ]])
    end)

    -- What a script does, and whether a descriptor that came with
    -- BEV_OPT_CLOSE_ON_FREE is open soon after that. At last it is not.
    local ends = {
      ["close"] = {"bev:close()", "closed"},
      ["close, of the base as well"] = {"bev:close() base:close()", "closed"},
      ["close_after_flush"] = {"bev:close_after_flush()", "closed"},
      ["a collection"] = {"bev = bev:disable('read') and nil collectgarbage()",
                          "closed"},
      ["close of the base"] = {"base:close()", "closed"},
      ["detach by the host"] = {"detach()", "closed"},
      ["close of a filter on it"] = {"base:filter(bev):close()", "closed"},
      ["an eof"] = {"libevent.closesocket(b)", "closed"},
      ["close of a stream"] = {[[
        local co = require "libevent.co"
        co.spawn(base, function() co.stream(bev):close() end)
      ]], "closed"},
      ["nothing"] = {"", "open"},
      ["setfd"] = {"bev:setfd(c) keep(bev:setfd()) assert(occupy(c))",
                   "open"},
      ["setfd and close"] = {"bev:setfd(c):close() assert(occupy(c))",
                             "closed"},
      ["setfd without one"] = {"keep(bev:setfd())", "open"},
      ["setfd without one, and close"] = {"bev:setfd():close()", "closed"},
      ["setfd, and a connect that fails"] = {
        "assert(not bev:setfd():connect 'unix:/nowhere/at/all') bev:close()",
        "closed"},
    }
    for what, case in pairs(ends) do
      it("leaves its descriptor to libevent after " .. what, function()
        says(("after the loop: %s open\nat last: closed open\n")
               :format(case[2]), ([[
          local kept = {}
          local function keep(bev) kept[#kept + 1] = bev end
          local function give(keeps)
            local a, b = libevent.socketpair()
            local c = libevent.socketpair()
            local bev = givebufferevent(a, "", false, keeps)
            watch(a)
            base:timer(function() %s end):add(0)
          end
          give(false)
          give(true)
          base:timer(function() stop(kept) end):add(0.02)
        ]]):format(case[1]))
      end)
    end

    -- Its number can be anybody's at once: libevent must not close it, too.
    local takers = {
      ["setfd makes it the script's"] = "bev:setfd(a):close()",
      ["setfd gives it to an object"] = [[
        bev:setfd({getfd = function() return a end}):close()
        libevent.closesocket(a)
      ]],
      ["detach gives it up"] = "libevent.closesocket((bev:detach()))",
    }
    for what, taker in pairs(takers) do
      it("loses its descriptor when " .. what, function()
        says("after the loop: open open\nat last: open open\n", ([[
          local function give(keeps)
            local a = libevent.socketpair()
            local bev = givebufferevent(a, "", false, keeps)
            watch(a)
            %s
            assert(occupy(a))
          end
          give(false)
          give(true)
        ]]):format(taker))
      end)
    end

    it("closes its descriptor when it does not connect", function()
      says("error\tnil\nafter the loop: open\nat last: closed\n", [[
        local listener = base:listener("127.0.0.1:0", print)
        local port = math.tointeger(listener:sockname():match "%d+$")
        listener:close()
        local bev, fd = giveconnecting(port)
        watch(fd)
        bev:setcb(nil, nil, function(c, what) print(what, c:getfd()) end)
      ]])
    end)

    it("must be on a socket", function()
      says("false\ta bufferevent on a socket expected\n", "print(giveother())")
    end)
  end)

  it("a listener that is given accepts for the script", function()
    says("2\nhello\n", [[
      local l = base:listener("127.0.0.1:0", print, {flags = "disabled"})
      local address = l:sockname()
      local given, top = givelistener(l:fd(), function(me, conn)
        conn:setcb(function(c) print(c:read()) c:close() end):enable "read"
        me:close()
      end)
      print(top)
      l:close()
      local bev = base:bufferevent()
      bev:connect(address)
      bev:write "hello":close_after_flush()
    ]])
  end)

  it("a buffer that is given is freed by the script", function()
    says("5\thello\n", [[
      local buffer = givebuffer "hello"
      print(#buffer, buffer:remove())
      buffer:close()
      givebuffer "garbage"
    ]])
  end)

  it("an event that is given goes on", function()
    says("4\nread\ntimeout\ntimeout\ntimeout\n", [[
      local n = 0
      print(select(2, giveevent("persist", 50, true, function(e, what)
        n = n + 1
        print(what)
        if n == 4 then e:close() end
      end)))
      giveevent("timer", 0, false, function() print "never" end)
    ]])
  end)

  describe("that frees its base too early", function()
    it("hears of it from methods, and from Lua's warnings", function()
      local text, status = t.host("embedding", [[
        warn "@on"
        local a, b = libevent.socketpair()
        local timer = base:timer(print):add(5)
        local conn = base:bufferevent(a):enable "read"
        local signal = base:signal("USR1", print):add()
        conn:write(("x"):rep(1e5))
        freebase()
        for _, f in ipairs {timer.pending, conn.read, signal.del} do
          print(select(2, pcall(f, f == timer.pending and timer
                                   or f == conn.read and conn or signal)))
        end
        print(select(2, pcall(base.timer, base, print)))
        print(conn:close(), timer:close())
        base:close()
        base:close()
        local new = push()
        print(new == base, new)
        print(new:signal("USR1", print):add():close())
        new:timer(function() print "goes on" end):add(0)
      ]], "loses")
      local _, n = text:gsub("its event_base has been freed by the host", "")
      assert.equal(4, n, text)
      assert.truthy(text:find("Lua warning: libevent: a host has freed", 1,
                              true), text)
      assert.truthy(text:find "Bufferevent %(closed%)\tlibevent.Event %(cl",
                    text)
      assert.truthy(text:find "false\tlibevent.Base %(0x", text)
      assert.truthy(text:find "goes on\nevents left 0\n$", text)
      assert.equal(0, status)
    end)

    it("hears of it at lua_close", function()
      local text, status = t.host("embedding", [[
        warn "@on"
        base:listener("127.0.0.1:0", print)
        base:timer(print, "persist"):add(1)
        freebase()
      ]], "loses")
      assert.truthy(text:find "Lua warning: libevent: a host has freed", text)
      assert.equal(0, status)
    end)
  end)

  it("one state ends in the middle of another one's traffic", function()
    local text, status = t.host("embedding", [[
      local n, late = 0, false
      local l = base:listener("127.0.0.1:0", function(_, conn)
        conn:setcb(function(c)
          n = n + 1
          c:write(c:read())
        end):enable "read"
      end)
      local address = l:sockname()
      local script = ([=[
        warn "@on"
        base:set_error_cb(function() end)
        base:timer(function() error "on purpose" end, "persist"):add(0.001)
        signal = base:signal("USR2", print):add()
        local bev = base:bufferevent()
        bev:setcb(function(c) c:write(c:read()) end)
        bev:connect("%s")
        bev:enable "read":write "x"
      ]=]):format(address)
      local signal = base:signal("USR2", print):add()
      other(script)
      local bev = base:bufferevent()
      bev:setcb(function(c) c:write(c:read()) end)
      bev:connect(address)
      bev:enable "read":write "y"
      base:timer(function()
        local before = n
        base:timer(function()
          print(n > before + 10)
          base:close()
        end):add(0.05)
      end):add(0.1)
    ]])
    assert.equal("closing the other one\ntrue\nevents left 0\n", text)
    assert.equal(0, status)
  end)
end)
