local socket = require "socket"
local libevent = require "libevent"
local t = require "spec.helper"

local inet_pton, inet_ntop = libevent.inet_pton, libevent.inet_ntop

local raises, refused = t.raises, t.refused

local function closeall(...)
  for _, fd in ipairs {...} do assert.is_true(libevent.closesocket(fd)) end
end

--- What can be read from the descriptor at once; nil, message, errno.
local function receive(fd)
  local buffer = libevent.buffer()
  local n, message, errno = buffer:read(fd)
  if not n then return nil, message, errno end
  return tostring(buffer)
end

local function send(fd, data)
  assert.equal(#data, libevent.buffer(data):write(fd))
end

describe("libevent.socketpair", function()
  before_each(t.start)
  after_each(t.finish)

  it("makes two sockets that speak to each other", function()
    local a, b = libevent.socketpair()
    assert.equal("integer", math.type(a))
    assert.equal("integer", math.type(b))
    send(a, "to b\0")
    send(b, "to a")
    assert.equal("to b\0", receive(b))
    assert.equal("to a", receive(a))
    closeall(a, b)
  end)

  for _, kind in ipairs {"stream", "dgram", "seqpacket"} do
    it("makes them ready to use: " .. kind, function()
      local a, b = libevent.socketpair(kind)
      for _, fd in ipairs {a, b} do
        local flags = t.flagsof(fd)
        assert.not_equal(0, flags & t.O_NONBLOCK)
        assert.not_equal(0, flags & t.O_CLOEXEC)
        local _, _, errno = receive(fd)
        assert.equal(11, errno)                               -- EAGAIN
      end
      closeall(a, b)
    end)
  end

  it("keeps the bounds of messages, or does not, as its type has it",
  function()
    for kind, wanted in pairs {
      stream = {"onetwo"}, dgram = {"one", "two"}, seqpacket = {"one", "two"},
    } do
      local a, b = libevent.socketpair(kind)
      send(a, "one")
      send(a, "two")
      for _, message in ipairs(wanted) do
        assert.equal(message, receive(b))
      end
      closeall(a, b)
    end
  end)

  it("makes streams if nothing else is asked for", function()
    for _, type in ipairs {"stream", false} do
      local a, b = libevent.socketpair(type or nil)
      send(a, "one")
      send(a, "two")
      assert.equal("onetwo", receive(b))
      closeall(a, b)
    end
  end)

  it("makes what bufferevents talk through", function()
    local base = t.base()
    local a, b = libevent.socketpair()
    local left, right = base:bufferevent(a), base:bufferevent(b)
    right:setcb(function(r) r:write(r:input()) end):enable "read"
    left:setcb(t.expect(function(l)
      assert.equal("echo", l:read())
      base:close()
    end)):enable "read"
    left:write "echo"
    t.run(base)
    assert.is_false(t.isopen(a))
    assert.is_false(t.isopen(b))
  end)

  it("wants one known type", function()
    for _, bad in ipairs {"raw", "stream|dgram", "", "stream\0", "STREAM", 1,
                          true, {}} do
      raises("bad argument #1", libevent.socketpair, bad)
      raises("one of stream, dgram, seqpacket expected", libevent.socketpair,
             bad)
    end
  end)

  it("tells that no descriptor is left, and leaves none behind", function()
    -- by env, since valgrind's idea of limits is its own: not traced
    local text, status = t.lua [[
      if arg[1] == nil then
        local ok, _, status = os.execute((
          "env sh -c 'ulimit -n 32; exec %s %s again'"):format(arg[-1], arg[0]))
        os.exit(ok or status)
      end
      local libevent = require "libevent"
      local files = {}
      repeat
        local file = io.open "/dev/null"
        files[#files + 1] = file
      until not file
      print(libevent.socketpair())
      table.remove(files):close()
      print(libevent.socketpair())
      print(io.open "/dev/null" ~= nil)
    ]]
    assert.equal("nil\tToo many open files\t24\n"
                 .. "nil\tToo many open files\t24\ntrue\n", text)
    assert.equal(0, status)
  end)
end)

describe("A descriptor", function()
  before_each(t.start)
  after_each(t.finish)

  local NEITHER = ~(t.O_NONBLOCK | t.O_CLOEXEC)

  --- A file with neither flag, and its number.
  local function newfile()
    local fd = 0
    while t.isopen(fd) do fd = fd + 1 end         -- it gets the lowest one
    local file = io.open("/dev/null", "a")
    assert.equal(t.flagsof(fd), t.flagsof(fd) & NEITHER)
    return file, fd
  end

  for name, flag in pairs {
    make_socket_nonblocking = t.O_NONBLOCK,
    make_socket_closeonexec = t.O_CLOEXEC,
  } do
    local f = libevent[name]

    for form, convert in pairs {
      ["a number"] = function(_, fd) return fd end,
      ["a Lua file"] = function(file) return file end,
      ["an object"] = function(_, fd)
        return {getfd = function() return fd + 0.0 end}
      end,
    } do
      it(("that is %s gets one flag by %s"):format(form, name), function()
        local file, fd = newfile()
        local before = t.flagsof(fd)
        for _ = 1, 2 do
          assert.is_true(f(convert(file, fd)))
          assert.equal(before | flag, t.flagsof(fd))
        end
        file:close()
      end)
    end

    it("keeps the other flag: " .. name, function()
      local file, fd = newfile()
      local before = t.flagsof(fd)
      libevent.make_socket_closeonexec(file)
      libevent.make_socket_nonblocking(file)
      assert.is_true(f(file))
      assert.equal(before | ~NEITHER, t.flagsof(fd))
      file:close()
    end)

    it("of LuaSocket's is taken by " .. name, function()
      local sock = assert(socket.bind("127.0.0.1", 0))
      assert.is_true(f(sock))
      assert.not_equal(0, t.flagsof(sock:getfd()) & flag)
      sock:close()
    end)

    it("must be open for " .. name, function()
      local a, b = libevent.socketpair()
      closeall(a, b)
      raises(("descriptor %d is not open"):format(a), f, a)
      raises("descriptor -1 is not open", f, -1)
      raises("descriptor 2147483648 is not open", f, 2^31)
      raises("descriptor, file or object with getfd expected, got \"1\"",
             f, "1")
      raises("descriptor, file or object with getfd expected, got no value", f)
      raises("descriptor, file or object with getfd expected", f, {})
      local file = io.open "/dev/null"
      file:close()
      raises("file is closed", f, file)
    end)
  end
end)

describe("libevent.closesocket", function()
  before_each(t.start)
  after_each(t.finish)

  it("closes a descriptor", function()
    local a, b = libevent.socketpair()
    assert.is_true(libevent.closesocket(a))
    assert.is_false(t.isopen(a))
    assert.is_true(t.isopen(b))
    assert.equal("", receive(b))                  -- the end
    assert.is_true(libevent.closesocket(b + 0.0)) -- as LuaSocket tells it
  end)

  it("closes what a bufferevent gave up", function()
    local base = t.base()
    local a, b = libevent.socketpair()
    local fd = base:bufferevent(a):detach()
    assert.is_true(libevent.closesocket(fd))
    closeall(b)
  end)

  it("raises for one that is not open", function()
    local a, b = libevent.socketpair()
    closeall(a, b)
    raises(("descriptor %d is not open"):format(a), libevent.closesocket, a)
    raises("descriptor -1 is not open", libevent.closesocket, -1)
    raises("descriptor 4294967296 is not open", libevent.closesocket, 2^32)
  end)

  it("leaves it to an object to close its own", function()
    local base = t.base()
    local a, b = libevent.socketpair()
    local file = io.open "/dev/null"
    local bev = base:bufferevent(a)
    for _, value in ipairs {file, bev, {getfd = function() return b end},
                            "0", true} do
      raises("number of a descriptor expected", libevent.closesocket, value)
    end
    raises("number of a descriptor expected", libevent.closesocket)
    raises("bad argument #1", libevent.closesocket, b + 0.5)
    assert.is_true(t.isopen(a) and t.isopen(b))
    bev:close()
    file:close()
    closeall(b)
  end)

  it("makes no difference of the standard streams", function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      print(libevent.closesocket(0))
      print(io.read())
      print(libevent.closesocket(2))
      print(pcall(libevent.closesocket, 2))
    ]]
    assert.matches("^true\nnil\tBad file descriptor\t9\ntrue\nfalse\t.*"
                   .. "descriptor 2 is not open%)\n$", text)
    assert.equal(0, status)
  end)

  it("works in the callback that reads from the other end", function()
    local base = t.base()
    local a, b = libevent.socketpair()
    base:event(b, "read|persist", t.expect(function(event)
      local data = receive(b)
      if data == "bye" then
        libevent.closesocket(a)
      else
        assert.equal("", data)
        event:close()
        libevent.closesocket(b)
      end
    end, 2)):add()
    send(a, "bye")
    t.run(base)
  end)
end)

describe("libevent.date_rfc1123", function()
  for time, date in pairs {
    [0] = "Thu, 01 Jan 1970 00:00:00 GMT",
    [951782400] = "Tue, 29 Feb 2000 00:00:00 GMT",
    [946684799] = "Fri, 31 Dec 1999 23:59:59 GMT",
    [946684800] = "Sat, 01 Jan 2000 00:00:00 GMT",
    [981072000] = "Fri, 02 Feb 2001 00:00:00 GMT",
    [1015113600] = "Sun, 03 Mar 2002 00:00:00 GMT",
    [1049414400] = "Fri, 04 Apr 2003 00:00:00 GMT",
    [1083715200] = "Wed, 05 May 2004 00:00:00 GMT",
    [1118016000] = "Mon, 06 Jun 2005 00:00:00 GMT",
    [1152230400] = "Fri, 07 Jul 2006 00:00:00 GMT",
    [1186531200] = "Wed, 08 Aug 2007 00:00:00 GMT",
    [1220918400] = "Tue, 09 Sep 2008 00:00:00 GMT",
    [1255132800] = "Sat, 10 Oct 2009 00:00:00 GMT",
    [1289433600] = "Thu, 11 Nov 2010 00:00:00 GMT",
    [1323648000] = "Mon, 12 Dec 2011 00:00:00 GMT",
    [1435708800] = "Wed, 01 Jul 2015 00:00:00 GMT",
    [1456704000] = "Mon, 29 Feb 2016 00:00:00 GMT",
    [1481866376] = "Fri, 16 Dec 2016 05:32:56 GMT",
    [4294967296] = "Sun, 07 Feb 2106 06:28:16 GMT",
    [253402300799] = "Fri, 31 Dec 9999 23:59:59 GMT",
    [253402300799.75] = "Fri, 31 Dec 9999 23:59:59 GMT",
    [0.999] = "Thu, 01 Jan 1970 00:00:00 GMT",
    [-0.001] = "Wed, 31 Dec 1969 23:59:59 GMT",
    [-1] = "Wed, 31 Dec 1969 23:59:59 GMT",
    [-30610224000] = "Wed, 01 Jan 1000 00:00:00 GMT",
    [-30610224001] = "Tue, 31 Dec 0999 23:59:59 GMT",
    [-61000000000] = "Fri, 26 Dec 0036 11:33:20 GMT",
    [-62167219200] = "Sat, 01 Jan 0000 00:00:00 GMT",
  } do
    it(("writes %s for %s"):format(date, time), function()
      assert.equal(date, libevent.date_rfc1123(time))
    end)
  end

  it("writes the time that it is, without an argument", function()
    for _ = 1, 2 do
      local before, date, after = os.time(), libevent.date_rfc1123(), os.time()
      assert.equal(29, #date)
      assert.is_true(date == libevent.date_rfc1123(before)
                     or date == libevent.date_rfc1123(after))
    end
    assert.equal(29, #libevent.date_rfc1123(nil))
  end)

  it("agrees with os.date", function()
    for _ = 1, 200 do
      local time = math.random(0, 4102444800)
      assert.equal(os.date("!%H:%M:%S %d %Y", time),
        (libevent.date_rfc1123(time):gsub("^..., (..) ... (....) (%S+) GMT$",
                                          "%3 %1 %2")))
    end
  end)

  it("knows the years 0 to 9999", function()
    for _, bad in ipairs {253402300800, -62167219201, -62167219200.5, 1/0,
                          -1/0, 0/0, math.maxinteger, math.mininteger, 1e300,
                          "0", {}, true} do
      raises("time of the years 0 to 9999 expected", libevent.date_rfc1123,
             bad)
    end
  end)
end)

describe("libevent.gettime_monotonic", function()
  for _, flags in ipairs {"precise", false} do
    local function now() return libevent.gettime_monotonic(flags or nil) end
    local name = flags or "without a flag"

    it("never goes back: " .. name, function()
      local last = now()
      for _ = 1, 10000 do
        local time = now()
        assert.is_true(time >= last)
        last = time
      end
    end)

    it("goes on in steps that are small enough: " .. name, function()
      local first = now()
      local last, steps = first, 0
      repeat
        local time = now()
        if time > last then last, steps = time, steps + 1 end
      until steps == 9
      local mean = (last - first) / 9
      assert.is_true(mean < (flags and 0.0005 or 0.025) * t.slow, mean)
    end)

    it("goes on while the process sleeps: " .. name, function()
      local slack = flags and 0 or 0.02
      local before, since = now(), socket.gettime()
      socket.sleep(0.04)
      local told, passed = now() - before, socket.gettime() - since
      assert.is_true(told >= 0.04 - slack, told)
      assert.is_true(told <= passed + slack + 0.001, told .. " " .. passed)
    end)
  end

  it("tells much the same with a flag and without", function()
    local coarse = libevent.gettime_monotonic()
    local precise = libevent.gettime_monotonic "precise"
    assert.is_true(math.abs(precise - coarse) < 0.1 * t.slow)
  end)

  it("wants a known flag", function()
    raises("unknown word 'fallback' (known: precise)",
           libevent.gettime_monotonic, "fallback")
    raises("bad argument #1", libevent.gettime_monotonic, true)
  end)
end)

describe("libevent.inet_pton and inet_ntop", function()
  local function pack4(n) return string.pack(">I4", n) end
  local function pack16(a, b, c, d) return string.pack(">I4I4I4I4", a, b, c, d)
  end

  -- in the shortest form: written as read
  local canonical = {
    ["1.2.3.4"] = pack4(0x01020304),
    ["0.0.0.0"] = pack4(0),
    ["255.255.255.255"] = pack4(0xffffffff),
    ["176.192.208.244"] = pack4(0xb0c0d0f4),
    ["::"] = pack16(0, 0, 0, 0),
    ["::1"] = pack16(0, 0, 0, 1),
    ["::1.2.3.4"] = pack16(0, 0, 0, 0x01020304),
    ["ffff:1::"] = pack16(0xffff0001, 0, 0, 0),
    ["ffff::1234"] = pack16(0xffff0000, 0, 0, 0x1234),
    ["::9:c0a8:1:1"] = pack16(0, 0, 0x9c0a8, 0x10001),
    ["::ffff:1.2.3.4"] = pack16(0, 0, 0xffff, 0x01020304),
    ["1:2:3:4:5:6:7:8"] = pack16(0x10002, 0x30004, 0x50006, 0x70008),
    ["2001:db8::1:0:0:1"] = pack16(0x20010db8, 0, 0x10000, 1),
  }

  local other = {
    ["0:0:0:0:0:0:0:0"] = "::",
    ["ffff:0000::"] = "ffff::",
    ["0102::1.2.3.4"] = "102::102:304",
    ["FFFF::"] = "ffff::",
    ["2001:DB8:0:0:1::1"] = "2001:db8::1:0:0:1",
    ["0:0:0:0:0:ffff:0102:0304"] = "::ffff:1.2.3.4",
  }

  local bad = {
    "", " ", "256.0.0.0", "ABC", "1.2.3.4.5", "1.2.3", "127.1", "1.2.3.4 ",
    " 1.2.3.4", "1. 2.3.4", "+1.2.3.4", "1.2.3.4294967300", "1.2.3.-1",
    "0x1.2.3.4", "1.2.3.4\0", "1.2.3.4:80", "1.2.3.4%1", "localhost",
    "foobar.", "foobar", "fo:obar", "ffff", "fffff::", "::1.0.1.1000",
    "1:2:33333:4::", "1:2:3:4:5:6:7:8:9", "1::2::3", ":::1", ":", "1:",
    "0x1::", "::0x1", "::1:", "1:2:3:4:5:6:7:8:", "::1 ", "::1\0", "[::1]",
    "::ffff:1.2.3. 4", "::1.2.3.4294967300", "1.2.3.4::", "::1/128",
    ("1"):rep(100000), ("1:"):rep(100000),
  }

  for text, packed in pairs(canonical) do
    it("read and write " .. text, function()
      assert.equal(packed, inet_pton(text))
      assert.equal(text, inet_ntop(packed))
      assert.equal(1, select("#", inet_pton(text)))
      assert.same({packed, 0}, {libevent.inet_pton_scope(text)})
    end)
  end

  for text, short in pairs(other) do
    it(("read %s and write %s"):format(text, short), function()
      assert.equal(short, inet_ntop(inet_pton(text)))
    end)
  end

  it("read no other text", function()
    for _, text in ipairs(bad) do
      assert.is_nil(inet_pton(text), text:sub(1, 40))
      assert.is_nil(libevent.inet_pton_scope(text), text:sub(1, 40))
    end
  end)

  it("agree on any bytes", function()
    for _, n in ipairs {4, 16} do
      for _ = 1, 200 do
        local packed = libevent.secure_rng_bytes(n):gsub(".", function(c)
          return c:byte() > 128 and "\0" or c     -- with runs of zeros
        end)
        assert.equal(packed, inet_pton(inet_ntop(packed)))
      end
    end
  end)

  it("agree with the addresses of sockets", function()
    local base = t.base()
    for address, host in pairs {["127.0.0.1:0"] = "127.0.0.1",
                                ["[::1]:0"] = "::1"} do
      local listener = assert(base:listener(address, t.never()))
      assert.equal(host, listener:sockname():match "^%[?(.-)%]?:%d+$")
      assert.equal(host, inet_ntop(inet_pton(host)))
      listener:close()
    end
  end)

  it("want strings, and 4 or 16 bytes", function()
    for _, f in ipairs {inet_pton, libevent.inet_pton_scope} do
      raises("string expected, got 1", f, 1)
      raises("string expected, got no value", f)
      raises("string expected, got table", f, {})
    end
    for _, wrong in ipairs {"", "1", "12345", ("x"):rep(17), "127.0.0.1",
                            1234, {}} do
      raises("string of 4 or 16 bytes expected", inet_ntop, wrong)
    end
    raises("string of 4 or 16 bytes expected, got no value", inet_ntop)
  end)
end)

describe("libevent.inet_pton_scope", function()
  local packed = inet_pton "2001:db8::"

  for text, scope in pairs {
    ["2001:DB8::"] = 0, ["2001:DB8::%0"] = 0, ["2001:DB8::%1"] = 1,
    ["2001:DB8::%lo"] = 1, ["2001:db8::%12345678"] = 12345678,
  } do
    it("reads " .. text, function()
      assert.same({packed, scope}, {libevent.inet_pton_scope(text)})
    end)
  end

  it("reads no other text", function()
    for _, text in ipairs {
      "2001:DB8::%does-not-exist", "2001:DB8::%", "2001:DB8::%-1",
      "2001:DB8::% 1", "2001:DB8::%1 ", "2001:DB8::%1%1", "2001:DB8::%lo\0",
      "2001:DB8::%4294967297", "2001:DB8::%0x1", "%1", "%", "1.2.3.4%1",
      "foobar.%1", "2001:DB8::%" .. ("x"):rep(100000),
    } do
      assert.is_nil(libevent.inet_pton_scope(text), text:sub(1, 40))
    end
  end)

  it("is what inet_pton leaves out", function()
    assert.is_nil(inet_pton "2001:db8::%1")
    assert.is_nil(inet_pton "2001:db8::%0")
  end)
end)

describe("libevent.getaddrinfo", function()
  local get = libevent.getaddrinfo
  local NOFAMILY, NONAME, SERVICE = -9, -2, -8    -- EAI_... of Linux

  before_each(t.start)
  after_each(t.finish)

  it("tells each address once", function()
    assert.same({"1.2.3.4:8080"}, get("1.2.3.4", 8080))
    assert.same({"[1001:b0b::f00f]:4321"}, get("1001:b0b::f00f", 4321))
    assert.same({"127.0.0.1:80"}, get("127.0.0.1", 80))
    assert.same({"[::1]:80"}, get("::1", 80))
    assert.same({"127.0.0.1:65535"}, get("127.0.0.1", 65535, "inet"))
  end)

  it("knows the hosts that the system knows, each address once", function()
    local file = io.open "/etc/hosts"           -- a bare system has none
    local hosts = file and file:read "a" or ""
    if file then file:close() end
    local seen = {}
    for _, address in ipairs(get("localhost", 0) or {}) do
      assert.is_nil(seen[address])
      seen[address] = true
    end
    if hosts:find "127%.0%.0%.1%s[^\n]*localhost" then
      assert.is_true(seen["127.0.0.1:0"])
      assert.same({"127.0.0.1:65535"}, get("localhost", 65535, "inet"))
    end
  end)

  it("takes a port as a number or its digits", function()
    for _, port in ipairs {80, 80.0, "80", "080"} do
      assert.same({"1.2.3.4:80"}, get("1.2.3.4", port))
    end
    assert.same({"1.2.3.4:0"}, get("1.2.3.4", 0))
    assert.same({"1.2.3.4:65535"}, get("1.2.3.4", 65535))
  end)

  it("knows the services that the system knows", function()
    local file = io.open "/etc/services"
    local port = file and file:read "a":match "\nhttp%s+(%d+)/tcp"
    if file then file:close() end
    if port then
      assert.same({"1.2.3.4:" .. port}, get("1.2.3.4", "http"))
    else
      refused(SERVICE, get("1.2.3.4", "http"))
    end
    for _, name in ipairs {"no-such-service", "-", " ", "8 0", "80x"} do
      refused(SERVICE, get("1.2.3.4", name))
    end
  end)

  it("keeps to a family", function()
    assert.same({"1.2.3.4:80"}, get("1.2.3.4", 80, "inet"))
    assert.same({"[::1]:80"}, get("::1", 80, "inet6"))
    refused(NOFAMILY, get("::1", 80, "inet"))
    refused(NOFAMILY, get("1.2.3.4", 80, "inet6"))
    assert.same({"1.2.3.4:80"}, get("1.2.3.4", 80, nil))
  end)

  it("tells the interface of a link-local address", function()
    assert.same({"[fe80::1%1]:80"}, get("fe80::1%lo", 80))
  end)

  it("tells what went wrong in libevent's words", function()
    local _, message, code = get("::1", 80, "inet")
    assert.equal("address family for nodename not supported", message)
    assert.equal(NOFAMILY, code)
  end)

  it("finds no host of a name that is none", function()
    for _, name in ipairs {"", "localhost\0", "127.0.0.1\0", "[::1]", "::g",
                           "1.2.3.4.5 "} do
      refused(NONAME, get(name, 80))
    end
  end)

  it("tells what the loop connects to", function()
    local base = t.base()
    local listener = assert(base:listener(get("127.0.0.1", 0, "inet")[1],
      t.expect(function(l, conn)
        conn:close()
        l:close()
      end)))
    local port = listener:sockname():match ":(%d+)$"
    local bev = base:bufferevent()
    bev:setcb(nil, nil, t.expect(function(b, what)
      assert.equal("connected", what)
      b:close()
    end))
    assert(bev:connect(get("127.0.0.1", port, "inet")[1]))
    t.run(base)
  end)

  it("works while garbage is collected by all that it makes", function()
    local pause = collectgarbage("setpause", 0)
    local step = collectgarbage("setstepmul", 1000)
    for _ = 1, 200 do
      setmetatable({}, {__gc = function() get("::1", 80) end})
      assert.same({"1.2.3.4:80"}, get("1.2.3.4", "80"))
    end
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", step)
  end)

  it("wants a string, a port and a family", function()
    for _, host in ipairs {1, true, {}} do
      raises("bad argument #1", get, host, 80)
      raises("string expected", get, host, 80)
    end
    raises("string expected", get)
    for _, port in ipairs {-1, 65536, 80.5, 2^53, 1e300, 0/0, "", "-1",
                           "65536", "65616", "80.5", "4294967376",
                           "99999999999999999999", "80\0", "http\0", true, {}}
    do
      raises("bad argument #2", get, "::1", port)
      raises("port from 0 to 65535 or name of a service expected", get, "::1",
             port)
    end
    raises("bad argument #2", get, "::1")
    for _, family in ipairs {"unix", "inet|inet6", "", 2, true} do
      raises("bad argument #3", get, "::1", 80, family)
      raises("one of inet, inet6 expected", get, "::1", 80, family)
    end
  end)
end)

describe("libevent.secure_rng_bytes", function()
  local bytes = libevent.secure_rng_bytes

  it("makes as many bytes as are asked for", function()
    for _, n in ipairs {0, 1, 2, 3, 4, 5, 31, 1000, 100000, 16.0} do
      assert.equal(math.tointeger(n), #bytes(n))
    end
  end)

  it("sets each of them", function()
    for n = 1, 32 do                -- wrong once in 2^64 for each byte
      local set = {}
      for _ = 1, 8 do
        local s = bytes(n)
        for i = 1, n do set[i] = (set[i] or 0) | s:byte(i) end
      end
      for i = 1, n do assert.not_equal(0, set[i]) end
    end
  end)

  it("makes every byte about as often as any other", function()
    local counts = {}
    for c in bytes(256 * 1000):gmatch "." do
      counts[c] = (counts[c] or 0) + 1
    end
    for i = 0, 255 do               -- ten standard deviations
      local n = counts[string.char(i)] or 0
      assert.is_true(n > 680 and n < 1320, i .. ": " .. n)
    end
  end)

  it("makes others each time, in other processes too", function()
    local seen = {}
    for _ = 1, 1000 do
      local s = bytes(16)
      assert.is_nil(seen[s])
      seen[s] = true
    end
    local code = [[
      local s = require "libevent".secure_rng_bytes(16)
      print((s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
    ]]
    local one, other = t.lua(code), t.lua(code)
    assert.matches("^%x+\n$", one)
    assert.not_equal(one, other)
  end)

  it("goes on differently in a child made by fork", function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      local fork = require "posix.unistd".fork
      local wait = require "posix.sys.wait".wait
      libevent.secure_rng_bytes(1)
      local a, b = libevent.socketpair()
      if fork() == 0 then
        libevent.buffer(libevent.secure_rng_bytes(16)):write(a)
        os.exit(true, true)
      end
      local mine = libevent.secure_rng_bytes(16)
      wait()
      local theirs = libevent.buffer()
      theirs:read(b)
      print(#theirs, mine == tostring(theirs))
    ]]
    assert.equal("16\tfalse\n", text)
    assert.equal(0, status)
  end)

  it("wants a count", function()
    for _, bad in ipairs {-1, 0.5, 2^31, math.maxinteger, "1", true} do
      raises("integer from 0 to 2147483647 expected", bytes, bad)
    end
    raises("integer from 0 to 2147483647 expected", bytes)
  end)
end)
