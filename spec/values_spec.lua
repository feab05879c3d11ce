local socket = require "socket"
local libevent = require "libevent"
local t = require "spec.helper"

local function nop() end

--- f raises an error that names its argument number 'arg' and tells why.
local function refused(arg, why, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.matches("bad argument #" .. arg .. " to", err, 1, true)
  assert.matches(why, err, 1, true)
end

describe("flags", function()
  local base
  before_each(function() t.start() base = t.base() end)
  after_each(function() base = nil t.finish() end)

  local function event(what) return base:event(0, what, nop) end

  it("are words joined by '|', in any order", function()
    for words, told in pairs {
      ["read"] = "read", ["write|read"] = "read|write",
      ["read|read"] = "read", ["persist|closed|read"] = "read|closed|persist",
      ["et|write"] = "write|et", ["timeout|read"] = "timeout|read",
    } do
      assert.equal(told, event(words):events())
    end
  end)

  it("can be none where none are needed", function()
    assert.equal("timeout", base:timer(nop, ""):events())
    assert.equal("", base:bufferevent():disable("write"):enable(""):enabled())
    refused(2, "one of read, write, closed expected", event, "")
    refused(2, "one of read, write, closed expected", event, "persist|et")
  end)

  it("are refused with the list of the known ones", function()
    local known = "(known: read, write, closed, persist, et, timeout)"
    for words, unknown in pairs {
      ["raed"] = "raed", ["READ"] = "READ", ["EV_READ"] = "EV_READ",
      ["read,write"] = "read,write", ["read|signal"] = "signal",
      ["read | write"] = "read ", [" read"] = " read", ["|read"] = "",
      ["read||write"] = "", ["|"] = "", ["rea"] = "rea", ["reads"] = "reads",
    } do
      refused(2, ("unknown word '%s' %s"):format(unknown, known),
              event, words)
    end
    refused(1, "(known: once, nonblock, no_exit_on_empty)", function()
      base:loop "twice"
    end)
  end)

  it("are refused with a '|' at the end", function()
    refused(2, "a word is missing after '|'", event, "read|")
    refused(2, "a word is missing after '|'", event, "read|persist|")
  end)

  it("are strings without zeros", function()
    local wanted = "words of (read, write, closed, persist, et, timeout) "
      .. "joined by '|' expected"
    for _, value in ipairs {1, true, {}, nop, "read\0", "read\0|write"} do
      refused(2, wanted, event, value)
    end
    refused(2, wanted, event, nil)
  end)
end)

describe("times", function()
  local base, timer
  before_each(function()
    t.start()
    base = t.base()
    timer = base:timer(nop):add(1000)
  end)
  after_each(function()
    base, timer = nil, nil
    t.finish()
  end)

  it("are seconds with fractions", function()
    for _, seconds in ipairs {0.25, 1, 1.5, 3600, 86400.125, 2^31 - 1} do
      local _, left = timer:add(seconds):pending()
      assert.is_near(seconds, left, 0.1 * t.slow)
    end
  end)

  it("are rounded to the microsecond", function()
    local _, left = timer:add(1.9999999):pending()
    assert.is_near(2, left, 0.1 * t.slow)
    local fired = t.expect()
    base:timer(fired):add(1e-9)
    base:loop "once"
  end)

  for name, value in pairs {
    ["negative"] = -1, ["just below zero"] = -1e-300, ["NaN"] = 0/0,
    ["infinite"] = math.huge, ["minus infinity"] = -math.huge,
    ["overlarge"] = 2^31, ["an overlarge integer"] = math.maxinteger,
    ["a string"] = "1", ["a table"] = {}, ["a boolean"] = false,
  } do
    it("are not " .. name, function()
      local why = "seconds from 0 to 2147483647 expected"
      local bev = base:bufferevent()
      refused(1, why, function() timer:add(value) end)
      refused(1, why, function() base:loopexit(value) end)
      refused(2, why, function() bev:set_timeouts(1, value) end)
      refused(4, why, function() base:once(nil, "timeout", nop, value) end)
      assert.is_near(1000, select(2, timer:pending()), 10)
      assert.equal(1, base:num_events())
    end)
  end

  it("can be nil, which is none", function()
    local client = socket.tcp4()
    local event = base:event(client, "read", nop):add(nil)
    assert.same({n = 1, "read"}, table.pack(event:pending()))
    event:del()
  end)

  it("are not nil for a timer, which needs one", function()
    refused(1, "seconds expected, got nil", function() timer:add(nil) end)
    refused(1, "seconds expected, got no value", function() timer:add() end)
    refused(4, "seconds expected", function()
      base:once(nil, "timeout", nop)
    end)
    assert.equal("timeout", (timer:pending()))
  end)
end)

describe("addresses", function()
  local base
  before_each(function() t.start() base = t.base() end)
  after_each(function() base = nil t.finish() end)

  local path = os.tmpname()
  os.remove(path)

  for given, told in pairs {
    ["127.0.0.1:0"] = "^127%.0%.0%.1:[1-9]%d*$",
    ["127.0.0.1:00000"] = "^127%.0%.0%.1:[1-9]%d*$",
    ["[::1]:0"] = "^%[::1%]:[1-9]%d*$",
    ["[0:0:0:0:0:0:0:1]:0"] = "^%[::1%]:[1-9]%d*$",
    ["[::ffff:127.0.0.1]:0"] = "^%[::ffff:127%.0%.0%.1%]:[1-9]%d*$",
    ["[::1%0]:0"] = "^%[::1%]:[1-9]%d*$",
    ["[::1%1]:0"] = "^%[::1%]:[1-9]%d*$",
    ["[::1%lo]:0"] = "^%[::1%]:[1-9]%d*$",
    ["unix:" .. path] = "^unix:" .. path:gsub("%p", "%%%0") .. "$",
    ["unix:@libevent " .. path] = "^unix:@libevent "
      .. path:gsub("%p", "%%%0") .. "$",
  } do
    it("can be " .. given .. ", and are told as listened on", function()
      local listener = assert(base:listener(given, function(l) l:close() end))
      local name = listener:sockname()
      assert.matches(told, name)
      local bev = base:bufferevent():connect(name)
      assert.equal(name, bev:peername())
      t.turns(base, 2)
      bev:close()
    end)
  end

  it("can be those of all interfaces", function()
    for _, host in ipairs {"0.0.0.0", "[::]"} do
      local name = assert(base:listener(host .. ":0", nop)):sockname()
      assert.matches("^" .. host:gsub("%p", "%%%0") .. ":[1-9]%d*$", name)
    end
  end)

  it("of Linux's abstract names can hold zeros", function()
    local name = "unix:@libevent\0" .. path
    local listener = assert(base:listener(name, nop))
    assert.equal(name, listener:sockname())
  end)

  it("of peers without a name are unix:", function()
    local peer
    local listener = assert(base:listener("unix:@libevent " .. path,
                                          t.expect(function(l, _, name)
      peer = name
      l:close()
    end)))
    local bev = base:bufferevent():connect(listener:sockname())
    t.turns(base, 2)
    assert.equal("unix:", peer)
    bev:close()
  end)

  local good, sixteen = "127.0.0.1", ("x"):rep(16)
  for _, given in ipairs {
    "", ":", good, "80", ":80", good .. ":", good .. ":80x", good .. ":x80",
    good .. ": 80", good .. ":80 ", good .. " :80", good .. ":-1",
    good .. ":+80", good .. ":0x50", good .. ":8e1", good .. ":65536",
    good .. ":99999", good .. ":000080", good .. "::80", good .. ":80:80",
    "localhost:80", "www.example.com:80", "*:80", "127.1:80", "127.0.0:80",
    "127.0.0.256:80", "127.0.0.1.1:80", "0x7f.0.0.1:80", "2130706433:80",
    "[127.0.0.1]:80", "::1:80", "::1", "[::1]", "[::1]80", "[::1:80",
    "::1]:80", "[]:80", "[:80", "[", "[]", "[::1]:", "[::1]:80x",
    "[::1]:65536", "[::g]:80", "[:::1]:80", "[1:2:3:4:5:6:7]:80",
    "[1:2:3:4:5:6:7:8:9]:80", "[fe80::1%nosuchif]:80", "[[::1]]:80",
    "[" .. sixteen:rep(20) .. "]:80", sixteen:rep(20) .. ":80",
    "unix:", "unix:" .. sixteen:rep(7), "unix:@" .. sixteen:rep(7),
    "UNIX:/tmp/x", "/tmp/x", "unix:/tmp\0/x", good .. ":80\0",
    good .. "\0:80", "tcp://127.0.0.1:80",
  } do
    it(("are not %q"):format(given), function()
      local bev = base:bufferevent()
      refused(1, 'address ("127.0.0.1:80", "[::1]:80" or "unix:/path", '
                 .. "no host names) expected", function()
        bev:connect(given)
      end)
      refused(1, "expected, got", function() base:listener(given, nop) end)
      assert.is_nil(bev:getfd())
      assert.equal(0, base:num_events())
    end)
  end

  it("are strings", function()
    local bev = base:bufferevent()
    for _, value in ipairs {80, true, {}, nop} do
      refused(1, "no host names) expected", function() bev:connect(value) end)
    end
    refused(1, "no host names) expected", function() bev:connect() end)
    refused(1, "no host names) expected", function() bev:connect(nil) end)
  end)
end)

describe("descriptors", function()
  local base
  before_each(function() t.start() base = t.base() end)
  after_each(function() base = nil t.finish() end)

  local function event(fd) return base:event(fd, "read", nop) end

  it("can be integers", function()
    local server = socket.tcp4()
    assert.equal(server:getfd(), event(server:getfd()):fd())
    assert.equal(0, event(0):fd())
    assert.equal(0, event(0.0):fd())
  end)

  it("can be Lua's files and pipes", function()
    assert.equal(0, event(io.stdin):fd())
    local pipe = io.popen("exit", "r")
    assert(event(pipe):fd() > 2)
    pipe:close()
  end)

  it("can be objects with a method getfd", function()
    local client = socket.tcp4()
    assert.equal(client:getfd(), event(client):fd())
    assert.equal(client:getfd(), event(base:bufferevent(client)):fd())
    local object = {fd = client:getfd()}
    function object:getfd() return self.fd end
    assert.equal(client:getfd(), event(object):fd())
    local class = {__index = object}
    assert.equal(client:getfd(), event(setmetatable({}, class)):fd())
  end)

  it("of objects keep the object, and so stay open", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local pending = event(server)
    local weak = setmetatable({server}, {__mode = "v"})
    local fd = server:getfd()
    server = nil                                        -- luacheck: ignore
    collectgarbage() collectgarbage()
    assert.equal(fd, pending:fd())
    assert.is_not_nil(weak[1])
    pending = nil                                       -- luacheck: ignore
    collectgarbage() collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("raise what getfd raises", function()
    local object = {getfd = function() error("no descriptor today", 0) end}
    local ok, err = pcall(event, object)
    assert.is_false(ok)
    assert.equal("no descriptor today", err)
  end)

  it("are open", function()
    local closed, gone = socket.tcp4(), socket.tcp4()
    local number = gone:getfd()
    closed:close()
    gone:close()
    local function descriptor(fd) return {getfd = function() return fd end} end
    for fd, value in pairs {
      [number] = number, [-1] = closed, [-2] = -2, [100000000] = 100000000,
      [2^31 | 0] = 2^31, [2^32 | 0] = 2^32, [1 << 62] = 1 << 62,
      [math.mininteger] = math.mininteger, [-3] = descriptor(-3),
      [99999999] = descriptor(99999999),
    } do
      refused(1, ("descriptor %d is not open"):format(fd), function()
        base:event(value, "read", nop)
      end)
      refused(1, ("descriptor %d is not open"):format(fd), function()
        base:bufferevent(value)
      end)
      refused(1, ("descriptor %d is not open"):format(fd), function()
        base:listener(value, nop)
      end)
    end
    local file = io.tmpfile()
    file:close()
    refused(1, "file is closed", function() base:event(file, "read", nop) end)
    assert.equal(0, base:num_events())
  end)

  it("are nothing else", function()
    for got, value in pairs {
      ['"0"'] = "0", ["1.5"] = 1.5, ["boolean"] = true, ["function"] = nop,
      ["table"] = {}, ["libevent.Base"] = base, ["thread"] =
      coroutine.create(nop), ["libevent.Bufferevent"] = base:bufferevent(),
    } do
      refused(1, "descriptor, file or object with getfd expected, got " .. got,
              function() base:event(value, "read", nop) end)
    end
    refused(1, "descriptor, file or object with getfd expected", function()
      base:event({getfd = function() end}, "read", nop)
    end)
    refused(1, "descriptor, file or object with getfd expected", function()
      base:event(nil, "read", nop)
    end)
  end)
end)

describe("signals", function()
  local base
  before_each(function() t.start() base = t.base() end)
  after_each(function() base = nil t.finish() end)

  local function signal(sig) return base:signal(sig, nop) end

  it("are numbers or names, with or without SIG", function()
    for name, number in pairs {HUP = 1, INT = 2, ALRM = 14, TERM = 15} do
      assert.equal(number, signal(name):signal())
      assert.equal(number, signal("SIG" .. name):signal())
      assert.equal(number, signal(number):signal())
    end
    assert.equal(64, signal(64):signal())
  end)

  it("of no known name are refused with the list of the known ones",
     function()
    for name, unknown in pairs {
      int = "int", SIG = "", [""] = "", SIGSIGINT = "SIGINT", ["2"] = "2",
      ["INT "] = "INT ", KILL = "KILL", SIGSTOP = "STOP",
    } do
      refused(1, ("unknown signal '%s' (known: HUP, INT, QUIT, "):format(
        unknown), signal, name)
    end
  end)

  it("of no possible number are refused", function()
    for _, number in ipairs {0, -1, 65, 1.5, 2^31, math.huge, 0/0} do
      refused(1, "integer from 1 to 64 expected, got", signal, number)
    end
    for _, value in ipairs {true, {}, nop} do
      refused(1, "integer from 1 to 64 expected, got " .. type(value),
              signal, value)
    end
  end)

  it("are not KILL and STOP, which nobody catches", function()
    refused(1, "this signal cannot be caught", signal, 9)
    refused(1, "this signal cannot be caught", signal, 19)
  end)
end)

describe("callbacks", function()
  local base
  before_each(function() t.start() base = t.base() end)
  after_each(function() base = nil t.finish() end)

  it("can be any value that can be called", function()
    local called
    local object = setmetatable({}, {__call = function(_, e) called = e end})
    local timer = base:timer(object):add(0)
    base:loop "once"
    assert.equal(timer, called)
    assert.equal(object, timer:callback())
  end)

  it("are no other value", function()
    for got, value in pairs {
      ['"f"'] = "f", ["1"] = 1, ["table"] = {}, ["boolean"] = true,
      ["FILE*"] = io.stdout,
    } do
      local why = "function expected, got " .. got
      refused(1, why, function() base:timer(value) end)
      refused(1, why, function() base:user(value) end)
      refused(2, why, function() base:signal("INT", value) end)
      refused(3, why, function() base:event(0, "read", value) end)
      refused(2, why, function() base:listener("127.0.0.1:0", value) end)
      refused(1, why, function() base:set_error_cb(value) end)
    end
    refused(1, "function expected", function() base:timer() end)
    refused(1, "function expected", function() base:timer(nil) end)
  end)
end)

describe("options", function()
  local base
  before_each(function() t.start() base = t.base() end)
  after_each(function() base = nil t.finish() end)

  it("are tables, or nothing", function()
    assert.is_truthy(libevent.base())
    assert.is_truthy(libevent.base(nil))
    assert.is_truthy(libevent.base {})
    for _, value in ipairs {1, "x", true, nop} do
      refused(1, "table of options expected, got", libevent.base, value)
      refused(3, "table of options expected, got", function()
        base:listener("127.0.0.1:0", nop, value)
      end)
    end
  end)

  it("of unknown names are refused with the list of the known ones",
     function()
    for _, case in ipairs {
      {{priority = 3}, "priority"}, {{"epoll"}, "1"}, {{Flags = ""}, "Flags"},
      {{[true] = 1}, "true"}, {{priorities = 3, [2.5] = 1}, "2.5"},
    } do
      refused(1, ("unknown option '%s' (known: method, avoid, features, "
        .. "flags, priorities, max_interval, max_callbacks, min_priority)")
        :format(case[2]), libevent.base, case[1])
    end
    refused(3, "unknown option 'backlogs' (known: flags, backlog, tls)",
            function()
      base:listener("127.0.0.1:0", nop, {backlogs = 1})
    end)
    refused(2, "unknown option 'x' (known: flags, tls, hostname)", function()
      base:bufferevent(nil, {x = false})
    end)
  end)

  it("have values that are checked too", function()
    for _, options in ipairs {
      {priorities = 0}, {priorities = 256}, {priorities = "3"},
      {max_interval = -1}, {max_callbacks = 0}, {min_priority = -1},
      {flags = "lock"}, {features = 1}, {method = "kqueuex"},
      {avoid = {"epoll", 1}},
    } do
      refused(1, "", libevent.base, options)
    end
  end)
end)

describe("a wrong argument changes nothing:", function()
  before_each(t.start)
  after_each(t.finish)

  it("an event stays as it was", function()
    local base = t.base {priorities = 2}
    local event = base:timer(nop):add(1000):priority_set(1)
    refused(1, "seconds", function() event:add(-1) end)
    refused(1, "integer from 0 to 1", function() event:priority_set(2) end)
    refused(1, "function", function() event:set_callback(1) end)
    refused(1, "unknown word", function() event:active "late" end)
    refused(1, "unknown word", function() event:pending "late" end)
    assert.is_near(1000, select(2, event:pending()), 10)
    assert.equal(1, event:priority())
    assert.equal(nop, event:callback())
    assert.equal(0, base:num_events "active")
    event:close()
  end)

  it("a bufferevent stays as it was", function()
    local base = t.base()
    local client = socket.tcp4()
    local bev = base:bufferevent(client)
    bev:setwatermark("read", 1, 2)
    local was = bev:enabled()
    refused(1, "unknown word", function() bev:enable "read|writ" end)
    refused(1, "missing after '|'", function() bev:disable "write|" end)
    refused(2, "integer", function() bev:setwatermark("read", -1) end)
    refused(1, "descriptor", function() bev:setfd(-1) end)
    refused(2, "string, number", function() bev:write("a", {}) end)
    assert.equal(was, bev:enabled())
    assert.same({1, 2}, {bev:getwatermark "read"})
    assert.equal(client:getfd(), bev:getfd())
    assert.equal(0, #bev:output())
  end)

  it("a listener's address stays free", function()
    local base = t.base()
    local free = assert(base:listener("127.0.0.1:0", nop))
    local address = free:sockname()
    free:close()
    refused(3, "unknown word", function()
      base:listener(address, nop, {flags = "reuse"})
    end)
    refused(3, "integer from 1", function()
      base:listener(address, nop, {backlog = 0})
    end)
    base:listener(address, nop):close()
  end)
end)

describe("code of anybody's in the middle of a call", function()
  before_each(t.start)
  after_each(t.finish)

  local function closing(object)
    return {getfd = function() object:close() return 0 end}
  end

  it("may close what is called: a method getfd", function()
    for _, call in ipairs {
      function(base) base:event(closing(base), "read", print) end,
      function(base) base:once(closing(base), "read", print) end,
      function(base) base:bufferevent(closing(base)) end,
      function(base) base:bufferevent():setfd(closing(base)) end,
      function(base) base:listener(closing(base), print) end,
      function(base)
        local bev = base:bufferevent()
        bev:output():read(closing(bev))
      end,
    } do
      local ok, message = pcall(call, t.base())
      assert.is_false(ok)
      assert.matches("is closed", message)
    end
    local buffer = libevent.buffer "data"
    assert.is_false(pcall(buffer.write, buffer, closing(buffer)))
  end)

  it("is no part of an options table", function()
    local base = t.base()
    local options = setmetatable({}, {__index = function() base:close() end})
    base:bufferevent(nil, options):close()
    base:listener("127.0.0.1:0", print, options):close()
  end)

  it("may close what is called: a finalizer", function()
    local function finalized(f)
      for pause = 1, 200, os.getenv "VALGRIND" and 10 or 1 do
        local base = libevent.base()
        setmetatable({}, {__gc = function() base:close() end})
        local pad
        for _ = 1, pause do pad = {pad} end
        for _ = 1, 500 do if not pcall(f, base) then break end end
        base:close()
      end
    end
    finalized(function(base) base:timer(print):add(10) end)
    finalized(function(base) base:bufferevent():write(1, "2", 3.5) end)
    finalized(function(base)
      local bev = base:bufferevent()
      bev:write("x"):output():copyout()
      for _ = 1, 5 do bev:output():add(("y"):rep(5000)) end
      assert(#tostring(bev:output()) == 25001)
    end)
  end)
end)
