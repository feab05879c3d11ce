-- libevent.co: co.listen, with a handler or in a loop that accepts.
local assert = require "luassert"
local co = require "libevent.co"
local secure = require "spec.selfsigned"
local socket = require "socket"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local closes, echo, fails = tasks.closes, tasks.echo, tasks.fails
local listen, play = tasks.listen, tasks.play
local tells, try = tasks.tells(it), tasks.try

local EADDRINUSE = 98

local server, trusting = secure.contexts()

local function dial(listener, options)
  return assert(co.connect(listener:sockname(), options))
end

describe("co.listen with a handler", function()
  before_each(t.start)
  after_each(t.finish)

  tells("calls it for each connection", function()
    local me = co.current()
    local listener <close> = listen(function(stream, peer)
      assert.are_not.equal(me, co.current())
      stream:write(peer, "\n", stream:read(), "\n")
    end)
    for i = 1, 3 do
      local stream <close> = dial(listener)
      stream:write(i, "\n")
      assert.equal(stream:sockname(), stream:read())
      assert.equal(tostring(i), stream:read())
      fails("eof", stream:read())
    end
  end)

  tells("calls it in a task of its own, so that it may wait", function()
    local listener <close> = listen(function(stream)
      co.sleep(0.001)
      local task = co.spawn(stream.read, stream)
      stream:write(task:join(), "!")
    end)
    local stream <close> = dial(listener)
    stream:write "hello\n"
    assert.equal("hello!", stream:read "a")
  end)

  tells("serves several at once", function()
    local listener <close> = listen(echo)
    local list = {}
    for i = 1, 20 do list[i] = dial(listener) end
    for i = 20, 1, -1 do list[i]:write(i, "\n") end
    for i = 1, 20 do
      assert.equal(tostring(i), list[i]:read())
      list[i]:close()
    end
  end)

  tells("closes the stream when it returns, and sends all before", function()
    local served
    local listener <close> = listen(function(stream)
      served = stream
      stream:write(("x"):rep(60000))
    end)
    local stream <close> = dial(listener)
    assert.equal(60000, #stream:read "a")
    fails("closed", served:read())
  end)

  tells("closes the stream also if the handler has done so", function()
    local listener <close> = listen(function(stream)
      stream:write "bye"
      stream:close()
    end)
    local stream <close> = dial(listener)
    assert.equal("bye", stream:read "a")
  end)

  it("tells of its error at once, closes the stream, and goes on", function()
    local base = tasks.base()
    local list = {}
    base:set_error_cb(function(err) list[#list + 1] = err end)
    local object = {}
    co.run(base, function()
      local n = 0
      local listener <close> = listen(function(stream)
        n = n + 1
        if n == 1 then error "oh no" elseif n == 2 then error(object) end
        echo(stream)
      end)
      for i = 1, 2 do
        local stream <close> = dial(listener)
        assert.equal("", stream:read "a")
        co.sleep(0.001)
        assert.equal(i, #list)
      end
      local stream <close> = dial(listener)
      stream:write "data\n"
      assert.equal("data", stream:read())
    end)
    assert.matches("stream_listener_spec.lua:%d+: oh no\n.*traceback", list[1])
    assert.equal(object, list[2])
    base:set_error_cb()
    base:close()
  end)

  it("ends co.run by an error of its own", function()
    local log = {}
    local ok, text = try(function()
      local _ <close> = closes(log, "main")
      local listener = listen(function() error "oh no" end)
      dial(listener):read()
      co.channel():get()
    end)
    assert.is_false(ok)
    assert.matches("oh no", text, 1, true)
    assert.same({"main"}, log)
  end)

  it("names the peer in what is told of an error", function()
    local peer
    local ok, text = try(function()
      local listener = listen(function(_, p)
        peer = p
        error "oh no"
      end)
      dial(listener):read()
      co.channel():get()
    end)
    assert.is_false(ok)
    assert.matches(peer, text, 1, true)
  end)

  tells("keeps the loop running", function()
    local listener = listen(echo)
    co.spawn(function()
      co.sleep(0.002)
      listener:close()
    end)
    listener = setmetatable({listener}, {__mode = "k"})[1]
    collectgarbage() collectgarbage()
  end)

  tells("goes on though nobody knows it", function()
    local address
    local function begin()
      local listener
      listener = listen(function(stream)
        echo(stream)
        listener:close()
      end)
      address = listener:sockname()
    end
    begin()
    collectgarbage() collectgarbage()
    local stream <close> = assert(co.connect(address))
    stream:write "data\n"
    assert.equal("data", stream:read())
  end)

  tells("listens on a socket of the file system, too", function()
    local path = t.path()
    local listener = assert(co.listen("unix:" .. path, echo))
    assert.equal("unix:" .. path, listener:sockname())
    local stream <close> = assert(co.connect("unix:" .. path))
    stream:write "data\n"
    assert.equal("data", stream:read())
    listener:close()
    os.remove(path)
  end)

  tells("passes options on", function()
    local listener <close> = listen(echo, {backlog = 5, flags = "reuseable"})
    local stream <close> = dial(listener)
    stream:write "data\n"
    assert.equal("data", stream:read())
  end)

  tells("returns nil, a message and an errno when it cannot", function()
    local listener <close> = listen(echo)
    t.refused(EADDRINUSE, co.listen(listener:sockname(), echo))
  end)

  tells("says what it must be given", function()
    for words, f in pairs {
      ["bad argument #2 to 'listen'"] = function()
        co.listen("127.0.0.1:0", 1)
      end,
      ["unknown option 'backlogs'"] = function()
        co.listen("127.0.0.1:0", echo, {backlogs = 1})
      end,
      ["unknown option 'x'"] = function()
        co.listen("127.0.0.1:0", {x = 1})
      end,
      ["max_connections"] = function()
        co.listen("127.0.0.1:0", echo, {max_connections = 0})
      end,
    } do
      t.raises(words, f)
    end
    for _, value in ipairs {-1, 1.5, "x", {}, 0/0} do
      assert.is_false(pcall(co.listen, "127.0.0.1:0", echo,
                            {max_connections = value}))
    end
    assert.is_false(pcall(co.listen, "127.0.0.1", echo))
    assert.is_false(pcall(co.listen, {}, echo))
    assert.is_false(pcall(co.listen))
    co.sleep(0)
  end)

  it("listens in tasks only", function()
    assert.is_false(pcall(co.listen, "127.0.0.1:0", echo))
  end)

  tells("serves many, one after the other", function()
    local listener <close> = listen(echo)
    for i = 1, 200 do
      local stream <close> = dial(listener)
      stream:write(i, "\n")
      assert.equal(tostring(i), stream:read())
    end
    co.sleep(0.001)
    assert.equal(0, listener:connections())
  end)
end)

describe("listener:connections", function()
  before_each(t.start)
  after_each(t.finish)

  tells("counts handlers that run", function()
    local listener <close> = listen(echo)
    assert.equal(0, listener:connections())
    local list = {}
    for i = 1, 3 do
      list[i] = dial(listener)
      list[i]:write "x\n"
      list[i]:read()
      assert.equal(i, listener:connections())
    end
    for i = 1, 3 do
      list[i]:close()
      co.sleep(0.001)
      while listener:connections() > 3 - i do co.sleep(0.001) end
    end
  end)

  it("counts no handler that has failed, or was cancelled", function()
    local base = tasks.base()
    base:set_error_cb(function() end)
    co.run(base, function()
      local n = 0
      local listener <close> = listen(function()
        n = n + 1
        if n == 1 then error "oh no" end
        co.current():cancel()
      end)
      for _ = 1, 2 do
        local stream <close> = dial(listener)
        assert.equal("", stream:read "a")
      end
      co.sleep(0.001)
      assert.equal(0, listener:connections())
    end)
    base:set_error_cb()
    base:close()
  end)

  tells("ends a connection whose handler is cancelled early", function()
    local me, begun = co.current(), 0
    local listener <close> = listen(function(stream)
      begun = begun + 1
      for _, task in ipairs(co.tasks()) do
        if task ~= me and task ~= co.current() then task:cancel() end
      end
      stream:read()
    end)
    local host, port = listener:sockname():match "(.*):(.*)"
    local first = assert(socket.connect(host, port))
    local second = assert(socket.connect(host, port))
    while begun == 0 do co.sleep(0.001) end
    assert.same({1, 1}, {begun, listener:connections()})
    second:settimeout(1)
    assert.equal("closed", (select(2, second:receive())))
    second:close()
    first:close()
    while listener:connections() > 0 do co.sleep(0.001) end
  end)
end)

describe("A listener with max_connections", function()
  before_each(t.start)
  after_each(t.finish)

  tells("lets others wait until one has ended", function()
    local running, most = 0, 0
    local listener <close> = listen(function(stream)
      running = running + 1
      most = math.max(most, running)
      echo(stream)
      running = running - 1
    end, {max_connections = 2})
    local group = co.waitgroup()
    for i = 1, 10 do
      group:add()
      co.spawn(function()
        local stream <close> = dial(listener)
        stream:write(i, "\n")
        assert.equal(tostring(i), stream:read())
        co.sleep(0.001)
        stream:close()
        group:done()
      end)
    end
    group:wait()
    assert.equal(2, most)
  end)

  tells("goes on after each end of a handler", function()
    local n = 0
    local listener <close> = listen(function(stream)
      n = n + 1
      stream:read()
      if n % 2 == 0 then co.current():cancel() end
    end, {max_connections = 1})
    for _ = 1, 6 do
      local stream <close> = dial(listener)
      stream:write "x\n"
      assert.equal("", stream:read "a")
    end
    assert.equal(6, n)
  end)

  it("goes on after errors, too", function()
    local base = tasks.base()
    local n = 0
    base:set_error_cb(function() n = n + 1 end)
    co.run(base, function()
      local listener <close> = listen(function() error {} end,
                                      {max_connections = 1})
      for _ = 1, 3 do
        local stream <close> = dial(listener)
        stream:read "a"
      end
      co.sleep(0.001)
    end)
    assert.equal(3, n)
    base:set_error_cb()
    base:close()
  end)

  tells("may be closed while it is full", function()
    local listener = listen(echo, {max_connections = 1})
    local stream <close> = dial(listener)
    stream:write "x\n"
    stream:read()
    assert.equal(1, listener:connections())
    listener:close()
    stream:write "y\n"
    assert.equal("y", stream:read())
  end)
end)

describe("listener:close", function()
  before_each(t.start)
  after_each(t.finish)

  tells("ends listening, and nothing else", function()
    local listener = listen(echo)
    local stream <close> = dial(listener)
    stream:write "one\n"
    assert.equal("one", stream:read())
    local address = listener:sockname()
    assert.equal(listener, listener:close():close())
    stream:write "two\n"
    assert.equal("two", stream:read())
    local other, text, errno = co.connect(address)
    assert.is_nil(other)
    assert.is_string(text)
    assert.equal(111, errno)
    fails("closed", listener:sockname())
    assert.equal(1, listener:connections())
  end)

  tells("is what a variable does at its end", function()
    local address
    do
      local listener <close> = listen(echo)
      address = listener:sockname()
    end
    assert.is_nil((co.connect(address)))
  end)

  tells("may come from a handler", function()
    local listener
    listener = listen(function(stream)
      listener:close()
      stream:write "bye"
    end)
    local stream <close> = dial(listener)
    assert.equal("bye", stream:read "a")
  end)

  tells("lets co.run end, when the handlers have", function()
    local listener = listen(echo)
    local stream = dial(listener)
    listener:close()
    stream:close()
  end)
end)

describe("listener:accept", function()
  before_each(t.start)
  after_each(t.finish)

  tells("waits for connections, one after the other", function()
    local listener <close> = listen()
    local client = co.spawn(function()
      for i = 1, 3 do
        local stream <close> = dial(listener)
        stream:write(i, "\n")
        assert.equal("bye", stream:read "a")
      end
    end)
    for i = 1, 3 do
      local stream, peer = listener:accept()
      assert.equal(peer, stream:peername())
      assert.equal(tostring(i), stream:read())
      stream:write "bye":close()
    end
    client:join()
  end)

  tells("makes a loop that spawns", function()
    local listener = listen()
    co.spawn(function()
      local stream = listener:accept()
      while stream do
        co.spawn(function(s)
          echo(s)
          s:close()
        end, stream)
        stream = listener:accept()
      end
    end)
    for i = 1, 3 do
      local stream <close> = dial(listener)
      stream:write(i, "\n")
      assert.equal(tostring(i), stream:read())
    end
    listener:close()
  end)

  tells("takes those that have come before", function()
    local listener <close> = listen {}
    local list = {}
    for i = 1, 3 do list[i] = dial(listener) end
    co.sleep(0.001)
    for i = 1, 3 do
      local stream, peer = listener:accept(0.1)
      assert.equal(list[i]:sockname(), peer)
      stream:close()
      list[i]:close()
    end
    fails("timeout", listener:accept(0))
  end)

  tells("returns nil and 'timeout' after a time, and may be called again",
        function()
    local listener <close> = listen()
    fails("timeout", listener:accept(0.001))
    fails("timeout", listener:accept(0))
    fails("timeout", co.deadline(0.001, listener.accept, listener))
    local task = co.spawn(listener.accept, listener)
    co.sleep(0)
    task:cancel()
    fails("cancelled", task:join())
    local client <close> = dial(listener)
    local stream <close> = listener:accept(1)
    assert.equal(client:sockname(), stream:peername())
  end)

  tells("returns nil and 'closed' when the listener is closed", function()
    local listener = listen()
    local task = co.spawn(listener.accept, listener)
    co.sleep(0)
    listener:close()
    fails("closed", task:join())
    fails("closed", listener:accept())
    fails("closed", listener:accept(0))
  end)

  tells("is for one at a time: the second is told 'busy'", function()
    local listener <close> = listen()
    local task = co.spawn(listener.accept, listener)
    co.sleep(0)
    fails("busy", listener:accept())
    local client <close> = dial(listener)
    local stream <close> = task:join()
    assert.equal(client:sockname(), stream:peername())
  end)

  tells("raises where there is a handler", function()
    local listener <close> = listen(echo)
    assert.matches("handler", select(2, pcall(listener.accept, listener)), 1,
                   true)
  end)

  it("waits in tasks only", function()
    local listener
    play(function()
      listener = listen()
      co.await(function(done)
        co.base():timer(function()
          assert.is_false(pcall(listener.accept, listener))
          done()
        end):add(0)
      end)
      listener:close()
    end)
    fails("closed", listener:accept())
  end)

  tells("loses no connection whose acceptor is cancelled with it", function()
    local listener <close> = listen()
    local got
    local task = co.spawn(function()
      got = listener:accept()
      co.sleep(5)
    end)
    co.sleep(0)
    local client <close> = dial(listener)
    task:cancel()
    task:join()
    local stream <close> = got or listener:accept(1)
    stream:write "hello\n"
    assert.equal("hello", client:read())
  end)

  tells("leaves connections that nobody accepts to be collected", function()
    local listener = listen()
    local stream <close> = dial(listener)
    co.sleep(0.001)
    listener:close()
    local n = 0
    while stream:peername() and n < 3 do
      n = n + 1
      co.sleep(0.001)
    end
  end)
end)

describe("co.listen with TLS", function()
  before_each(t.start)
  after_each(t.finish)

  local function connect(listener, options)
    options = options or {}
    options.tls = options.tls or trusting
    options.hostname = options.hostname or "localhost"
    return co.connect(listener:sockname(), options)
  end

  tells("calls its handler after the handshake", function()
    local listener <close> = listen(function(stream)
      stream:write(stream:tls().version, "\n", stream:read())
    end, {tls = server})
    local stream <close> = assert(connect(listener))
    assert.is_true(stream:tls().verified)
    stream:write "data\n"
    assert.equal("TLSv1.3", stream:read())
    assert.equal("data", stream:read "a")
  end)

  tells("accepts after the handshake, too", function()
    local listener <close> = listen {tls = server}
    local client = co.spawn(connect, listener)
    local stream = listener:accept()
    assert.equal("TLSv1.3", stream:tls().version)
    stream:write "data":close()
    local other <close> = client:join()
    assert.equal("data", other:read "a")
  end)

  -- Connects and speaks, but no TLS, or not enough of it.
  local strangers = {
    ["who speaks no TLS"] = function(stream)
      stream:write "GET / HTTP/1.1\r\n\r\n"
      stream:read "a"
    end,
    ["who leaves at once"] = function() end,
    ["who leaves in the middle"] = function(stream)
      stream:write "\22\3\1\2\0\1\0\1\252\3\3"
      co.sleep(0.001)
    end,
    ["who ends his half"] = function(stream)
      stream:shutdown()
      stream:read "a"
    end,
    ["who resets"] = function(stream)
      stream:write "x"
      stream:bufferevent():close()
    end,
  }

  for name, f in pairs(strangers) do
    tells("never calls its handler for one " .. name, function()
      local listener <close> = listen(t.never(), {tls = server})
      local stream <close> = dial(listener)
      f(stream)
      stream:close()
      while listener:connections() > 0 do co.sleep(0.001) end
    end)

    tells("never accepts one " .. name, function()
      local listener <close> = listen {tls = server}
      local task = co.spawn(listener.accept, listener, 0.01)
      co.sleep(0)
      local stream <close> = dial(listener)
      f(stream)
      stream:close()
      fails("timeout", task:join())
    end)
  end

  tells("never calls its handler for one who does not trust it", function()
    local stranger = secure.client {trust = secure.pem "other.test"}
    local listener <close> = listen(t.never(), {tls = server})
    local stream, text = connect(listener, {tls = stranger})
    assert.is_nil(stream)
    assert.matches("certificate", text, 1, true)
    while listener:connections() > 0 do co.sleep(0.001) end
  end)

  tells("is not held up by one who says nothing", function()
    local listener <close> = listen(echo, {tls = server})
    local silent <close> = dial(listener)
    local stream <close> = assert(connect(listener))
    stream:write "data\n"
    assert.equal("data", stream:read())
    assert.is_not_nil(silent)
  end)

  tells("gives up one who says nothing after a time", function()
    local hasty = secure.server {handshake_timeout = 0.005}
    local listener <close> = listen(t.never(), {tls = hasty})
    local silent <close> = dial(listener)
    assert.is_not_nil(silent)
    silent:read "a"
    while listener:connections() > 0 do co.sleep(0.001) end
  end)

  tells("tells of no error for those", function()
    co.base():set_error_cb(t.never())
    local listener <close> = listen(echo, {tls = server})
    for _, f in pairs(strangers) do
      local stream <close> = dial(listener)
      f(stream)
    end
    co.sleep(0.002)
    co.base():set_error_cb()
  end)
end)
