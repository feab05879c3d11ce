--- Connecting to a host by its name: which addresses are tried, when, and what
--- is left of it at any end.

local socket = require "socket"
local t = require "spec.helper"

local raises = t.raises

local base, server, dns

--- What the server knows: name -> {A = list, AAAA = list, delay = {A = s}}.
local zone

local function answer(q)
  local entry = zone[q:name():lower()]
  if not entry then return q:respond "notexist" end
  local type = q:type()
  local function go()
    if entry[type] then
      local add = type == "A" and q.add_a_reply or q.add_aaaa_reply
      add(q, nil, entry[type], 60)
    end
    q:respond()
  end
  local delay = (entry.delay or {})[type]
  if delay == "never" then
    q:drop()
  elseif delay then
    base:timer(go):add(delay)
  else
    go()
  end
end

--- An address on which nobody ever answers: a listener whose queue is full.
local function blackhole(host, port)
  local s = assert(socket.tcp())
  assert(s:bind(host, port))
  assert(s:listen(0))
  local list = {s}
  for _ = 1, 4 do
    local c = assert(socket.tcp())
    c:settimeout(0)
    c:connect(host, port)
    list[#list + 1] = c
  end
  return function()
    for _, each in ipairs(list) do each:close() end
  end
end

--- A listener on 127.0.0.1, and its port. It says hello.
local function listener()
  local l = assert(base:listener("127.0.0.1:0", function(_, conn)
    conn:write "hello"
    conn:enable "read"
  end))
  return l, tonumber(l:sockname():match ":(%d+)$")
end

--- Connects, and keeps what the event callback is told in a list, with the
--- seconds since then.
local function connect(host, port, options)
  local told = {}
  local bev = base:bufferevent()
  local start = socket.gettime()
  bev:setcb(nil, nil, function(_, what, message, errno)
    told.what, told.message, told.errno = what, message, errno
    told.seconds = socket.gettime() - start
    told.n = (told.n or 0) + 1
  end)
  options = options or {}
  options.dns = options.dns or dns
  assert.equal(bev, bev:connect_hostname(host, port, options))
  return bev, told
end

local function wait(told)
  t.runtill(base, function() return told.what end)
end

describe("connect_hostname", function()
  before_each(function()
    t.start()
    zone = {
      ["one.test"] = {A = {"127.0.0.1"}},
      ["two.test"] = {A = {"127.0.0.2", "127.0.0.1"}},
      ["six.test"] = {AAAA = {"::1"}},
      ["both.test"] = {A = {"127.0.0.1"}, AAAA = {"::1"}},
      ["none.test"] = {A = {"127.0.0.2", "127.0.0.3"}, AAAA = {"::1"}},
      ["empty.test"] = {},
    }
    base = t.base()
    server = assert(base:dns_server("127.0.0.1:0", answer))
    dns = assert(base:dns {nameservers = {server:sockname()}, search = {},
                           timeout = 0.2 * t.slow, attempts = 1})
  end)

  after_each(function()
    base:close()
    base, server, dns = nil, nil, nil
    t.finish()
  end)

  it("connects to the address of a name", function()
    local l, port = listener()
    local bev, told = connect("one.test", port)
    raises("is connecting already", bev.connect_hostname, bev, "one.test", port)
    raises("is connecting already", bev.connect, bev, "127.0.0.1:1")
    wait(told)
    assert.equal("connected", told.what)
    assert.equal("127.0.0.1:" .. port, bev:peername())
    raises("has a descriptor", bev.connect_hostname, bev, "one.test", port)
    l:close()
  end)

  it("sends what was written before, and reads once it is there", function()
    local got
    local l = assert(base:listener("127.0.0.1:0", function(_, conn)
      conn:setcb(function(c) got = c:read() c:write "answer" end)
      conn:enable "read"
    end))
    local bev, told = connect("one.test", tonumber(l:sockname():match ":(%d+)"))
    local data
    bev:setcb(function(b) data = b:read() end, nil, select(3, bev:getcb()))
    bev:enable "read"
    bev:write "early"
    t.runtill(base, function() return data end)
    assert.equal("early", got)
    assert.equal("answer", data)
    assert.equal(1, told.n)
    l:close()
  end)

  it("takes addresses and names of the hosts file without a server", function()
    local l, port = listener()
    local path = t.write "127.0.0.1 here.test\n"
    local own = assert(base:dns {nameservers = {}, hosts = path, search = {}})
    for _, host in ipairs {"127.0.0.1", "here.test", "HERE.Test"} do
      local bev, told = connect(host, port, {dns = own})
      wait(told)
      assert.equal("connected", told.what)
      bev:close()
    end
    os.remove(path)
    l:close()
  end)

  it("has a Dns of the base's own, one for all", function()
    local l, port = listener()
    for _ = 1, 2 do
      local told
      local bev = base:bufferevent()
      bev:setcb(nil, nil, function(_, what) told = what end)
      bev:connect_hostname("localhost", port)
      t.runtill(base, function() return told end)
      assert.equal("connected", told)
      bev:close()
    end
    l:close()
  end)

  it("tries the next address at once after one that refuses", function()
    local l, port = listener()
    local bev, told = connect("two.test", port, {delay = 1000})
    wait(told)
    assert.equal("connected", told.what)
    assert.equal("127.0.0.1:" .. port, bev:peername())
    l:close()
  end)

  it("tries the next address while one is silent", function()
    local l, port = listener()
    local fill = blackhole("127.0.0.2", port)
    local bev, told = connect("two.test", port)
    wait(told)
    assert.equal("connected", told.what)
    assert.equal("127.0.0.1:" .. port, bev:peername())
    assert.is_true(told.seconds >= 0.23, told.seconds)
    assert.is_true(told.seconds < 0.25 + 0.25 * t.slow, told.seconds)
    bev, told = connect("two.test", port, {delay = 0.02})
    wait(told)
    assert.equal("connected", told.what)
    assert.is_true(told.seconds >= 0.01, told.seconds)
    assert.is_true(told.seconds < 0.2 * t.slow, told.seconds)
    bev:close()
    fill()
    l:close()
  end)

  it("tries IPv6 first, and the families in turns", function()
    zone["many.test"] = {A = {"127.0.0.2", "127.0.0.3"},
                         AAAA = {"::1", "::ffff:127.0.0.4"}}
    local _, told = connect("many.test", 1)
    wait(told)
    assert.equal("no connection to many.test:1: "
      .. "[::1]:1: Connection refused, 127.0.0.2:1: Connection refused, "
      .. "[::ffff:127.0.0.4]:1: Connection refused, "
      .. "127.0.0.3:1: Connection refused", told.message)
    assert.equal(111, told.errno)
  end)

  it("asks for one family alone", function()
    local _, told = connect("both.test", 1, {family = "inet"})
    wait(told)
    assert.equal("no connection to both.test:1: 127.0.0.1:1: "
                 .. "Connection refused", told.message)
    _, told = connect("both.test", 1, {family = "inet6"})
    wait(told)
    assert.equal("no connection to both.test:1: [::1]:1: Connection refused",
                 told.message)
    _, told = connect("one.test", 1, {family = "inet6"})
    wait(told)
    assert.equal("no connection to one.test:1: there is no such record",
                 told.message)
  end)

  it("gives IPv6 a moment when IPv4 has answered first", function()
    local l, port = listener()
    zone["late6.test"] = {A = {"127.0.0.1"}, delay = {AAAA = 5 * t.slow}}
    local _, told = connect("late6.test", port)
    wait(told)
    assert.equal("connected", told.what)
    assert.is_true(told.seconds >= 0.04, told.seconds)
    zone["soon6.test"] = {A = {"127.0.0.1"}, AAAA = {"::1"},
                          delay = {AAAA = 0.01}}
    _, told = connect("soon6.test", port, {delay = 1000})
    wait(told)                              -- ::1 is tried first, and refuses
    assert.equal("connected", told.what)
    l:close()
  end)

  it("tries addresses that come late, when those before have failed", function()
    local l, port = listener()
    zone["late4.test"] = {A = {"127.0.0.1"}, AAAA = {"::1"},
                          delay = {A = 0.05}}
    local bev, told = connect("late4.test", port)
    wait(told)
    assert.equal("connected", told.what)
    assert.equal("127.0.0.1:" .. port, bev:peername())
    l:close()
  end)

  it("says why there is no address", function()
    zone["silent.test"] = {delay = {A = "never", AAAA = "never"}}
    for host, message in pairs {
      ["absent.test"] = "name does not exist",
      ["empty.test"] = "there is no such record",
      ["silent.test"] = "request timed out",
      ["no..name"] = "this is not a name",
    } do
      local _, told = connect(host, 80)
      wait(told)
      assert.equal("error", told.what)
      assert.equal(("no connection to %s:80: %s"):format(host, message),
                   told.message)
      assert.equal(message:find "timed" and 110 or 113, told.errno)
      assert.equal(1, told.n)
    end
    local nobody = assert(base:dns {nameservers = {}, hosts = false})
    local _, told = connect("one.test", 80, {dns = nobody})
    wait(told)
    assert.equal("no connection to one.test:80: there is no name server to "
                 .. "ask", told.message)
  end)

  it("has one timeout for all, and names what was tried", function()
    local l, port = listener()
    local fill = blackhole("127.0.0.2", port)
    zone["hole.test"] = {A = {"127.0.0.2"}}
    local bev, told = connect("hole.test", port, {timeout = 0.1})
    wait(told)
    assert.equal("error", told.what)
    assert.equal(110, told.errno)
    assert.equal(("no connection to hole.test:%d: the time is over: "
                  .. "127.0.0.2:%d: no answer"):format(port, port),
                 told.message)
    assert.is_true(told.seconds >= 0.09, told.seconds)
    assert.is_nil(bev:getfd())
    -- the bufferevent is as new
    bev:connect_hostname("one.test", port, {dns = dns})
    told.what = nil
    wait(told)
    assert.equal("connected", told.what)
    fill()
    l:close()
  end)

  it("closes a bufferevent that nobody listens to, when it fails", function()
    local bev = base:bufferevent()
    bev:connect_hostname("none.test", 1, {dns = dns})
    t.runtill(base, function() return t.isclosed(bev) end)
  end)

  it("needs no variable", function()
    local l, port = listener()
    local told
    base:bufferevent():setcb(nil, nil, function(_, what) told = what end)
      :connect_hostname("one.test", port, {dns = dns})
    dns = nil
    collectgarbage() collectgarbage()
    t.runtill(base, function() return told end)
    assert.equal("connected", told)
    l:close()
  end)

  it("ends at once with its bufferevent, at any step", function()
    local l, port = listener()
    local fill = blackhole("127.0.0.2", port)
    zone["hole.test"] = {A = {"127.0.0.2", "127.0.0.2"}, AAAA = {"::1"},
                         delay = {AAAA = 0.03}}
    for _, seconds in ipairs {0, 0.001, 0.02, 0.06, 0.1} do
      local bev = base:bufferevent()
      bev:setcb(nil, nil, t.never())
      bev:connect_hostname("hole.test", port, {dns = dns, delay = 0.02})
      if seconds > 0 then t.runfor(base, seconds) end
      bev:close():close()
    end
    t.runfor(base, 0.05)
    fill()
    l:close()
  end)

  it("gives way to a descriptor", function()
    local a, b = assert(require "libevent".socketpair())
    local bev = connect("one.test", 1)
    assert(bev:setfd(a))
    require "libevent".closesocket(b)
    t.runfor(base, 0.05)
    assert.equal(a, bev:getfd())
  end)

  it("ends when its Dns is closed, and with its base", function()
    zone["silent.test"] = {delay = {A = "never", AAAA = "never"}}
    local _, told = connect("silent.test", 1)
    t.runfor(base, 0.01)
    dns:close()
    wait(told)
    assert.equal("no connection to silent.test:1: the resolver has been closed",
                 told.message)
    assert.equal(125, told.errno)
    local bev = base:bufferevent()
    bev:setcb(nil, nil, t.never())
    bev:connect_hostname("127.0.0.1", 1)
    base:close()
    assert.is_true(t.isclosed(bev))
  end)

  it("bears anything in its event callback", function()
    local l, port = listener()
    for _, host in ipairs {"one.test", "none.test"} do
      for _, act in ipairs {
        function(bev) bev:close() end,
        function() dns:close() end,
        function() collectgarbage() end,
        function() error "oops" end,
        function() coroutine.yield() end,
      } do
        local called = false
        local bev = base:bufferevent()
        bev:setcb(nil, nil, function(b) called = true act(b) end)
        if t.isclosed(dns) then
          dns = assert(base:dns {nameservers = {server:sockname()},
                                 search = {}})
        end
        bev:connect_hostname(host, host == "none.test" and 1 or port,
                             {dns = dns})
        local turn = function() return called end
        pcall(t.runtill, base, turn)
        assert.is_true(called)
        bev:close()
      end
    end
    local bev = base:bufferevent()
    bev:setcb(nil, nil, t.expect(function() base:close() end))
    bev:connect_hostname("none.test", 1, {dns = dns})
    base:dispatch()
    assert.is_true(t.isclosed(bev))
    l:close()
  end)

  it("checks its arguments", function()
    local bev = base:bufferevent()
    local function bad(words, ...)
      raises(words, bev.connect_hostname, bev, ...)
    end
    bad("string expected, got nil", nil, 80)
    bad("string expected, got 5", 5, 80)
    for _, port in ipairs {0, -1, 65536, 1.5, "http"} do
      bad("integer from 1 to 65535 expected", "one.test", port)
    end
    bad("unknown option 'x' (known: dns, family, timeout, delay)", "one.test",
        80, {x = 1})
    bad("option 'dns': Dns expected", "one.test", 80, {dns = base})
    bad("option 'family'", "one.test", 80, {family = "ipx"})
    bad("option 'timeout': seconds from 0", "one.test", 80, {timeout = -1})
    bad("option 'delay': seconds from 0", "one.test", 80, {delay = "soon"})
    local other = t.base()
    bad("Dns is of another base", "one.test", 80, {dns = other:dns()})
    other:close()
    local closed = base:dns():close()
    bad("Dns is closed", "one.test", 80, {dns = closed})
    raises("not on a socket", bev.connect_hostname, (base:pair()), "one.test",
           80)
    bev:close()
    bad("Bufferevent is closed", "one.test", 80)
  end)
end)
