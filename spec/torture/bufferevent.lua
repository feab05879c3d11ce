--- Bufferevents on sockets.

local libevent = require "libevent"

local large = ("large "):rep(20000)

return {
  {"a connection", function(s)
    local server, client = s:connected()
    local heard = ""
    server:setcb(function(b) heard = heard .. b:read() end, nil, s.onevent)
    assert(server:enable "read")
    assert(server:enabled() == "read|write")
    client:write("hello ", libevent.buffer "world")
    s:run(function() return heard == "hello world" end)
    assert(client:peername() == server:sockname())
    assert(server:getcb() and server:base() == s.base and client:getfd())
    server:disable "read":close()
    client:close()
  end},

  {"a connection with words before it is up", function(s)
    local heard, over = {}, false
    local listener = assert(s.base:listener("127.0.0.1:0", function(_, conn)
      conn:setcb(function(b) heard[#heard + 1] = b:read() end, nil,
        function(...)
          over = s.onevent(...) or select(2, ...)
          conn:close()
        end)
      assert(conn:enable "read")
    end))
    local client = s.base:bufferevent()
    client:setcb(nil, nil, s.onevent)
    assert(client:enable "read")
    assert(client:connect(listener:sockname()))
    client:write(large):write "end"
    assert(client:shutdown())
    s:run(function() return over end)
    assert(over == "eof" and table.concat(heard) == large .. "end")
    listener:close()
  end},

  {"a refused connection", function(s)
    local listener = assert(s.base:listener("127.0.0.1:0", function() end))
    local address = listener:sockname()
    listener:close()
    local told
    local bev = s.base:bufferevent():setcb(nil, nil, function(_, what, message)
      told = what .. message
    end)
    local ok, message = bev:connect(address)
    if not ok then error(message) end
    s:run(function() return told end)
    assert(told:find "^error")
  end},

  {"large writes", function(s)
    local server, client = s:connected()
    local n, written = 0, false
    server:setcb(function(b) n = n + #b:read() end, nil, s.onevent)
    client:setcb(nil, function() written = true end, s.onevent)
    assert(server:enable "read")
    client:write_buffer(libevent.buffer(large)):write(large, "and", 12)
    s:run(function() return n == 2 * #large + 5 and written end)
  end},

  {"the input and the output", function(s)
    local server, client = s:connected()
    local got = libevent.buffer()
    server:setcb(function(b) b:read_buffer(got) end, nil, s.onevent)
    assert(server:enable "read")
    client:output():add("one", large):add(libevent.buffer "two")
    s:run(function() return #got == 6 + #large end)
    assert(#server:input() == 0 and #client:output() == 0)
  end},

  {"the first words of a socket", function(s)
    s.fd, s.fd2 = libevent.socketpair()
    local bev, got = s.base:bufferevent(s.fd), libevent.buffer()
    s.fd = false
    bev:set_timeouts(nil, 5):output():add "data"
    s:run(function() return got:read(s.fd2) end)
    assert(tostring(got) == "data")
  end},

  {"the first words of a filter on a socket", function(s)
    s.fd, s.fd2 = libevent.socketpair()
    local bev, got = s.base:bufferevent(s.fd), libevent.buffer()
    s.fd = false
    local filter = s.base:filter(bev):setcb(nil, nil, s.onevent)
    filter:write "data"
    s:run(function() return got:read(s.fd2) end)
    assert(tostring(got) == "data")
  end},

  {"the watermarks", function(s)
    local server, client = s:connected()
    local calls, n = 0, 0
    server:setcb(function() calls = calls + 1 end, nil, s.onevent)
    server:setwatermark("read", 2, 6)
    assert(server:enable "read")
    client:write "0123456789"
    s:run(function() return calls > 0 end)
    assert(select(2, server:getwatermark "read") == 6)
    server:setcb(function(b) n = n + #b:read() end, nil, s.onevent)
    n = n + #server:read()
    server:setwatermark("read", 0)
    s:run(function() return n == 10 end)
    client:setwatermark("write", 5):setwatermark("read", 0, 9)
    client:setwatermark("read", 0)
  end},

  {"timeouts", function(s)
    local server, client = s:connected()
    local told
    server:setcb(nil, nil, function(_, what, how) told = what .. how end)
    server:set_timeouts(0.001, 5)
    assert(server:enable "read")
    s:run(function() return told end)
    assert(told == "timeoutreading", told)
    client:set_timeouts()
  end},

  {"the timeout of a writer", function(s)
    local server, client = s:connected()
    local told
    client:setcb(nil, nil, function(_, what, how) told = what .. how end)
    client:set_timeouts(nil, 0.001):write(large:rep(80))
    s:run(function() return told end)
    assert(told == "timeoutwriting" and server:disable "read", told)
  end},

  {"close_after_flush", function(s)
    local server, client = s:connected()
    local n, over = 0, false
    server:setcb(function(b) n = n + #b:read() end, nil, function(...)
      over = s.onevent(...) or select(2, ...)
    end)
    assert(server:enable "read")
    client:write(large):close_after_flush(5)
    s:run(function() return over end)
    assert(over == "eof" and n == #large)
  end},

  {"shutdown", function(s)
    local server, client = s:connected()
    local over
    server:setcb(function(b) b:read() end, nil, function(...)
      over = s.onevent(...) or select(2, ...)
    end)
    assert(server:enable "read")
    assert(client:write(large):shutdown "write")
    s:run(function() return over end)
    assert(server:shutdown "read|write" and client:flush() == false)
  end},

  {"trigger and trigger_event", function(s)
    local told = {}
    local function tell(_, what) told[#told + 1] = what or "data" end
    local bev = s.base:bufferevent():setcb(tell, tell, tell)
    bev:trigger("read", "ignore_watermarks"):trigger "write"
    bev:trigger_event("error|reading", 5)
    s:run(function() return told[3] end)
    assert(told[3] == "error")
  end},

  {"setfd and detach", function(s)
    local bev = s.base:bufferevent(nil, {flags = "close_on_free"})
    local other = s.base:bufferevent():setcb(function() end)
    assert(bev:enable "read")
    s.fd, s.fd2 = libevent.socketpair()
    if not bev:setfd(s.fd) then
      s.fd = false
      error "not enough memory"
    end
    s.fd = false
    if not other:setfd(s.fd2) then
      s.fd2 = false
      error "not enough memory"
    end
    s.fd2 = false
    bev:setcb(nil, nil, s.onevent)
    other:write "data"
    s:run(function() return #bev:input() == 4 end)
    local unread
    s.fd, unread = bev:detach()
    assert(s.fd and unread == "data")
    assert(bev:close() and tostring(bev):find "closed")
  end},

  {"the options of a socket", function(s)
    local server = s:connected()
    assert(server:setsockopt("keepalive", true))
    assert(server:getsockopt "keepalive" == true)
    assert(server:priority_set(0) and server:priority() == 0)
    server:write "data"
  end},

  {"the descriptor of an object", function(s)
    s.fd, s.fd2 = libevent.socketpair()
    local object = {getfd = function() return s.fd end}
    local bev = s.base:bufferevent(object):setcb(function() end)
    if not bev:enable "read" then error "not enough memory" end
    assert(not bev:partner() and not bev:underlying())
    bev:close()
  end},

  {"an end that nobody listens to", function(s)
    local server, client = s:connected()
    assert(server:enable "read")
    server:write(large)
    server:setcb()
    client:setcb(function(b) b:read() end, nil, s.onevent):close()
    s:run(function() return tostring(server):find "closed" end)
  end},

  {"an error in a callback of the data", function(s)
    local server, client = s:connected()
    server:setcb(function() error "words" end, nil, s.onevent)
    assert(server:enable "read")
    client:write "data"
    local ok, message = pcall(s.run, s, function() return false end)
    assert(not ok)
    if not message:find "words" then error(message, 0) end
  end},

  {"deferred callbacks", function(s)
    s.fd, s.fd2 = libevent.socketpair()
    local bev = s.base:bufferevent(s.fd, {flags = "defer_callbacks"})
    s.fd = false
    local n = 0
    bev:setcb(function(b) n = n + #b:read() end, nil, s.onevent)
    assert(bev:enable "read")
    libevent.buffer "data":write(s.fd2)
    s:run(function() return n == 4 end)
  end},
}
