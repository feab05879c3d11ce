-- libevent.co: co.connect, to addresses and names, with TLS; and starttls.
local assert = require "luassert"
local co = require "libevent.co"
local secure = require "spec.selfsigned"
local sockets = require "spec.sockets"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local closes, fails, listen = tasks.closes, tasks.fails, tasks.listen
local play, tells = tasks.play, tasks.tells(it)

local ENOENT, ETIMEDOUT, ECONNREFUSED = 2, 110, 111

local server, trusting = secure.contexts()
local LOCALHOST = {tls = trusting, hostname = "localhost"}

-- A listener whose handler answers lines, and its port.
local function echoing(options)
  local listener = listen(tasks.echo, options)
  return listener, tonumber(listener:sockname():match "%d+$")
end

local function speaks(stream)
  stream:write "data\n"
  assert.equal("data", stream:read())
end

describe("co.connect", function()
  before_each(t.start)
  after_each(t.finish)

  tells("connects to an address", function()
    local listener <close> = echoing()
    local stream <close> = co.connect(listener:sockname())
    assert.matches("^libevent%.Stream", tostring(stream))
    assert.equal(listener:sockname(), stream:peername())
    speaks(stream)
  end)

  tells("connects to a name and a port", function()
    local listener <close>, port = echoing()
    for _, host in ipairs {"localhost", "127.0.0.1"} do
      local stream <close> = assert(co.connect(host, port))
      assert.equal(listener:sockname(), stream:peername())
      speaks(stream)
    end
  end)

  tells("takes options of names", function()
    local listener <close>, port = echoing()
    local stream <close> = assert(co.connect("localhost", port, {
      family = "inet", delay = 0.1, timeout = 5,
      dns = co.base():dns {nameservers = {}}}))
    speaks(stream)
    assert.is_not_nil(listener)
  end)

  tells("connects by IPv6, and to a file", function()
    local path = t.path()
    for _, address in ipairs {"[::1]:0", "unix:" .. path} do
      local listener = assert(co.listen(address, function(stream)
        stream:write "hello"
      end))
      local stream <close> = assert(co.connect(listener:sockname()))
      assert.equal("hello", stream:read "a")
      listener:close()
    end
    os.remove(path)
  end)

  tells("lets others run meanwhile", function()
    local listener <close> = echoing()
    local n = 0
    local task = co.spawn(function()
      while true do
        n = n + 1
        co.sleep(0)
      end
    end)
    local stream <close> = co.connect(listener:sockname())
    assert.is_true(n > 0)
    task:cancel()
    assert.is_not_nil(stream)
  end)

  tells("returns nil, a message and an errno when nobody is there", function()
    local port = sockets.unused()
    t.refused(ECONNREFUSED, co.connect(("127.0.0.1:%d"):format(port)))
    t.refused(ECONNREFUSED, co.connect("127.0.0.1", port))
    t.refused(ENOENT, co.connect("unix:" .. t.path()))
  end)

  tells("returns nil and a message for a name that is none", function()
    local dns = co.base():dns {nameservers = {}, hosts = false}
    local stream, text = co.connect("absent.test", 80, {dns = dns})
    assert.is_nil(stream)
    assert.matches("absent.test", text, 1, true)
    dns:close()
  end)

  tells("returns nil and 'timeout' after a time", function()
    local dns, socket = tasks.mute(co.base())
    fails("timeout", co.connect("slow.test", 80, {dns = dns, timeout = 0.005}))
    fails("timeout", co.deadline(0.005, co.connect, "slow.test", 80,
                                 {dns = dns}))
    dns:close()
    socket:close()
  end)

  tells("leaves nothing when it is cancelled", function()
    local dns, socket = tasks.mute(co.base())
    local log = {}
    local task = co.spawn(function()
      local _ <close> = closes(log, "closed")
      co.connect("slow.test", 80, {dns = dns})
    end)
    co.sleep(0.002)
    task:cancel()
    fails("cancelled", task:join())
    assert.same({"closed"}, log)
    dns:close()
    socket:close()
  end)

  tells("leaves nothing when it is cancelled at any step", function()
    local listener <close> = echoing()
    local address = listener:sockname()
    for turns = 0, 4 do
      local task = co.spawn(co.connect, address)
      tasks.turns(turns)
      task:cancel()
      local stream = task:join()
      if stream then stream:close() end
    end
    collectgarbage() collectgarbage()
    co.sleep(0.002)
    while listener:connections() > 0 do co.sleep(0.001) end
  end)

  tells("has no timeout of calls once it is connected", function()
    local listener <close> = echoing()
    local connected
    repeat
      connected = co.connect(listener:sockname(), {timeout = 0.02})
    until connected                     -- other programs may run meanwhile
    local stream <close> = connected
    local task = co.spawn(stream.read, stream)
    co.sleep(0.04)
    assert.equal("waiting", task:status())
    stream:write "x\n"
    assert.equal("x", task:join())
  end)

  tells("may be done many at once", function()
    local listener <close> = echoing()
    local list = {}
    for i = 1, 50 do list[i] = co.spawn(co.connect, listener:sockname()) end
    for i = 1, 50 do
      local stream <close> = assert(list[i]:join())
      speaks(stream)
    end
  end)

  tells("says what it must be given", function()
    for words, f in pairs {
      ["unknown option 'timeouts'"] = function()
        co.connect("127.0.0.1:1", {timeouts = 1})
      end,
      ["unknown option 'x'"] = function()
        co.connect("localhost", 1, {x = 1})
      end,
    } do
      t.raises(words, f)
    end
    for _, address in ipairs {"127.0.0.1", "127.0.0.1:x", "", {}, 1, "a:b:c"} do
      assert.is_false(pcall(co.connect, address))
    end
    for _, port in ipairs {0, -1, 65536, 1.5, true} do
      assert.is_false(pcall(co.connect, "localhost", port))
    end
    assert.is_false(pcall(co.connect, "127.0.0.1:1", {timeout = -1}))
    assert.is_false(pcall(co.connect, "127.0.0.1:1", {tls = 1}))
    assert.is_false(pcall(co.connect))
    co.sleep(0)
  end)

  it("connects in tasks only", function()
    assert.matches("task", select(2, pcall(co.connect, "127.0.0.1:1")), 1, true)
  end)
end)

describe("co.connect with TLS", function()
  before_each(t.start)
  after_each(t.finish)

  tells("returns when the hands are shaken", function()
    local listener <close>, port = echoing {tls = server}
    local stream <close> = assert(co.connect(listener:sockname(), LOCALHOST))
    assert.is_true(stream:tls().verified)
    speaks(stream)
    local other <close> = assert(co.connect("localhost", port,
                                            {tls = trusting}))
    assert.equal("localhost", other:tls().hostname)
    speaks(other)
  end)

  tells("returns nil and a message when they are not", function()
    local listener <close>, port = echoing {tls = server}
    local stranger = secure.client {trust = secure.pem "other.test"}
    for _, options in ipairs {
      {tls = stranger, hostname = "localhost"},
      {tls = trusting, hostname = "other.test"},
    } do
      local stream, text = co.connect(listener:sockname(), options)
      assert.is_nil(stream)
      assert.matches("certificate", text, 1, true)
    end
    assert.is_nil((co.connect("localhost", port, {tls = stranger})))
  end)

  tells("returns nil and a message when the server speaks none", function()
    local listener <close> = listen(function(stream)
      stream:write "220 hello\r\n"
      stream:read "a"
    end)
    local stream, text = co.connect(listener:sockname(), {tls = trusting,
                                                          hostname = false})
    assert.is_nil(stream)
    assert.is_string(text)
  end)

  tells("returns nil and 'timeout' when the server says nothing", function()
    local listener <close> = listen(function(stream) stream:read "a" end)
    fails("timeout", co.connect(listener:sockname(),
      {tls = trusting, hostname = "localhost", timeout = 0.005}))
    fails("timeout", co.deadline(0.005, co.connect, listener:sockname(),
                                 LOCALHOST))
  end)

  tells("has the limit of its context for the handshake, too", function()
    local listener <close> = listen(function(stream) stream:read "a" end)
    local hasty = secure.client {handshake_timeout = 0.005}
    t.refused(ETIMEDOUT, co.connect(listener:sockname(),
                                    {tls = hasty, hostname = "localhost"}))
  end)

  tells("returns nil and a message when the server leaves", function()
    local listener <close> = listen(function(stream) stream:read_some() end)
    local stream, text = co.connect(listener:sockname(), LOCALHOST)
    assert.is_nil(stream)
    assert.is_string(text)
  end)

  tells("passes much data in both directions", function()
    local text = t.pattern(1 << 20)
    local listener <close> = listen(function(stream)
      for data in stream:chunks() do stream:write(data) end
    end, {tls = server})
    local stream <close> = co.connect(listener:sockname(), LOCALHOST)
    local writer = co.spawn(function() stream:write(text):shutdown() end)
    assert.equal(text, stream:read "a")
    writer:join()
  end)

  tells("keeps partial data over a timeout", function()
    local listener <close> = listen(function(stream)
      stream:write "par"
      stream:read()
      stream:write "tial\n"
    end, {tls = server})
    local stream <close> = co.connect(listener:sockname(), LOCALHOST)
    stream:set_timeout(0.005)
    fails("timeout", stream:read())
    fails("timeout", stream:read(8))
    stream:set_timeout()
    stream:write "go on\n"
    assert.equal("partial", stream:read())
  end)

  tells("tells a cut from an end", function()
    local listener <close> = listen(function(stream)
      if stream:read() == "cut" then
        require "libevent".shutdown(stream:getfd(), "both")
      end
    end, {tls = server})
    local function ask(word)
      local stream <close> = co.connect(listener:sockname(), LOCALHOST)
      stream:write(word, "\n")
      return stream:read "a"
    end
    assert.equal("", ask "end")
    if require "libevent".shutdown then
      local data, text = ask "cut"
      assert.is_nil(data)
      assert.are_not.equal("eof", text)
    end
  end)

  tells("waits while the peer does not read", function()
    local gate, done = co.condition(), co.channel()
    local listener <close> = listen(function(stream)
      gate:wait()
      local n = 0
      for data in stream:chunks() do n = n + #data end
      done:put(n)
    end, {tls = server})
    local stream <close> = co.connect(listener:sockname(), LOCALHOST)
    local n = tasks.fill(stream)
    assert.is_true(n < 32 << 20)
    gate:signal()
    assert.equal(stream, stream:flush())
    stream:shutdown()
    assert.equal(n, done:get())
  end)
end)

describe("stream:starttls", function()
  before_each(t.start)
  after_each(t.finish)

  -- Both ends of a connection that has agreed on TLS.
  local function agreed(f)
    play(function()
      local a, b = tasks.ends()
      local task = co.spawn(function()
        assert.equal("STARTTLS", a:read())
        a:write "go ahead\n"
        return f(a, true)
      end)
      b:write "STARTTLS\n"
      assert.equal("go ahead", b:read())
      f(b, false)
      task:join()
      a:close()
      b:close()
    end)
  end

  it("speaks TLS from then on", function()
    agreed(function(stream, first)
      local context = first and server or trusting
      assert.equal(stream, assert(stream:starttls(context, "localhost")))
      assert.equal("TLSv1.3", stream:tls().version)
      stream:write(first and "hello\n" or "world\n")
      assert.equal(first and "world" or "hello", stream:read())
    end)
  end)

  it("returns nil and a message when it fails", function()
    agreed(function(stream, first)
      local context = first and server or trusting
      local ok, text = stream:starttls(context, "other.test")
      if first and ok then
        ok, text = stream:read()
      end
      assert.is_nil(ok)
      assert.is_string(text)
    end)
  end)

  tells("returns nil and 'timeout' when nobody answers", function()
    local a, b = tasks.ends()
    a:set_timeout(0.005)
    fails("timeout", a:starttls(trusting, "localhost"))
    a:close()
    b:close()
  end)

  tells("ends by a close, a cancel or a deadline", function()
    for _, how in ipairs {"close", "cancel", "deadline"} do
      local a, b = tasks.ends()
      local task = co.spawn(co.deadline, how == "deadline" and 0.002 or 5,
                            a.starttls, a, trusting, "localhost")
      co.sleep(0.001)
      if how == "close" then a:close() end
      if how == "cancel" then task:cancel() end
      fails(({close = "closed", cancel = "cancelled",
              deadline = "timeout"})[how], task:join())
      a:close()
      b:close()
    end
  end)

  it("does not lose what came in the clear before", function()
    agreed(function(stream, first)
      local context = first and server or trusting
      if first then
        assert(stream:starttls(context))
        stream:write "in secret\n"
      else
        assert(stream:starttls(context, "localhost"))
        assert.equal("in secret", stream:read())
      end
    end)
  end)

  tells("says what it must be given, and when", function()
    local a, b = tasks.ends()
    assert.is_false(pcall(a.starttls, a))
    assert.is_false(pcall(a.starttls, a, {}))
    assert.is_false(pcall(a.starttls, a, trusting, 1))
    a:write "still in the clear\n"
    assert.equal("still in the clear", b:read())
    a:close()
    fails("closed", a:starttls(trusting, "localhost"))
    b:close()
  end)
end)
