--- base:dns_server: what a DnsQuery tells and how it is answered; who forgets
--- one, or fails, leaves nobody waiting.

local unix = require "socket.unix"
local d = require "spec.dns"
local t = require "spec.helper"

local EADDRINUSE, EMSGSIZE, ECONNREFUSED, EADDRNOTAVAIL = 98, 90, 111, 99

--- A base, a server that is called so often, and a Dns that asks it.
local function start(cb, n)
  local base = t.base()
  local server = assert(base:dns_server("127.0.0.1:0", n and t.expect(cb, n)
                                                       or cb))
  return base, server, d.resolver(base, server:sockname(), {attempts = 1})
end

--- Asks for the IPv4 address of a name: what the callback gets.
local function ask(dns, name)
  return d.ask(dns, name or "www.example", {family = "inet"})
end

--- The code of the answer to a datagram, and all of it.
local function answered(base, server, packet)
  local answer = d.exchange(base, server:sockname(), packet)
  return string.unpack(">I2", answer, 3) & 15, answer
end

describe("a DNS server", function()
  before_each(t.start)
  after_each(t.finish)

  it("tells what is asked, and by whom", function()
    local base <close>, server = start(function(q)
      assert.matches("^libevent%.DnsQuery %(0x%x+%)$", tostring(q))
      assert.equal("Www.Example", q:name())
      assert.equal(1, q:class())
      assert.matches("^127%.0%.0%.1:%d+$", q:requesting_addr())
      assert.equal("127.0.0.1:0", (q:server():sockname():gsub("%d+$", "0")))
      q:respond()
    end, 1)
    assert.equal(0, (answered(base, server, d.question(7, "Www.Example", 1))))
  end)

  it("names the types that are common, and numbers the others", function()
    local wanted
    local base <close>, server = start(function(q)
      assert.equal(wanted, q:type())
      q:respond()
    end)
    for word, number in pairs {A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12,
      MX = 15, TXT = 16, AAAA = 28, SRV = 33, CAA = 257, AXFR = 252,
      ANY = 255} do
      wanted = word
      answered(base, server, d.question(1, "x", number))
    end
    for _, number in ipairs {0, 3, 65, 256, 32768, 65535} do
      wanted = number
      answered(base, server, d.question(1, "x", number))
    end
  end)

  it("tells classes of any number", function()
    local class
    local base <close>, server = start(function(q)
      class = q:class()
      q:respond()
    end)
    for _, number in ipairs {0, 1, 3, 254, 255, 32768, 65535} do
      local packet = d.question(1, "x", 16)
      answered(base, server, packet:sub(1, -3) .. string.pack(">I2", number))
      assert.equal(number, class)
    end
  end)

  it("is asked for the root, and for names of any bytes", function()
    local name
    local base <close>, server = start(function(q)
      name = q:name()
      assert(q:add_reply("answer", nil, "TXT", 1, 60, "\1x"))
      assert(q:add_reply("answer", ".", "NS", 1, 60, "ns.example", true))
      assert(q:add_reply("answer", "", "MX", 1, 60, ".", true))
      q:respond()
    end)
    local code, answer = answered(base, server, d.question(1, "", 16))
    assert.equal(0, code)
    assert.equal("", name)
    assert.equal(3, (string.unpack(">I2", answer, 7)))
    answered(base, server, d.question(1, "\xff\1 \\", 16))
    assert.equal("\\255\\001\\032\\\\", name)   -- as zone files do
    local long = ("a."):rep(126) .. "a"
    code = answered(base, server, d.question(1, long, 16))
    assert.equal(0, code)
    assert.equal(long, name)
    for label, wanted in pairs {["a\0c"] = "a\\000c", ["a.c"] = "a\\.c",
                                ["..."] = "\\.\\.\\."} do
      code = answered(base, server,
        (d.question(1, "abc", 16):gsub("abc", label)))
      assert.equal(0, code)
      assert.equal(wanted, name)
    end
  end)

  it("answers each error that there is", function()
    local err
    local base <close>, server = start(function(q)
      assert.equal(q, q:respond(err))
      assert.equal("libevent.DnsQuery (closed)", tostring(q))
    end)
    for word, number in pairs {none = 0, format = 1, serverfailed = 2,
                               notexist = 3, notimpl = 4, refused = 5} do
      err = word
      assert.equal(number, (answered(base, server, d.question(1, "x", 1))))
    end
    for number = 0, 15 do
      err = number
      assert.equal(number, (answered(base, server, d.question(1, "x", 1))))
    end
  end)

  it("is called by the callback that was set last", function()
    local _ <close>, server, dns = start(nil, 0)
    assert.equal(server, server:set_cb(t.expect(function(q)
      q:respond "refused"
    end)))
    assert.equal("refused", select(3, ask(dns)))
    local callable = setmetatable({}, {__call = t.expect(function(_, q)
      q:respond "notexist"
    end)})
    server:set_cb(callable)
    assert.equal("notexist", select(3, ask(dns)))
    server:set_cb(coroutine.wrap(t.expect(function(q)
      while true do
        q:respond "notimpl"
        q = coroutine.yield()
      end
    end)))
    for _ = 1, 3 do assert.equal("notimpl", select(3, ask(dns))) end
    t.raises("function expected, got no value", server.set_cb, server)
    t.raises("function expected, got table", server.set_cb, server, {})
  end)

  it("knows its address, descriptor and base", function()
    local base <close>, server = start(function() end)
    assert.matches("^127%.0%.0%.1:[1-9]%d*$", server:sockname())
    assert.is_true(t.isopen(server:fd()))
    assert.equal(t.O_NONBLOCK | t.O_CLOEXEC,
      t.flagsof(server:fd()) & (t.O_NONBLOCK | t.O_CLOEXEC))
    assert.equal(base, server:base())
    local six = assert(base:dns_server("[::1]:0", function() end))
    assert.matches("^%[::1%]:%d+$", six:sockname())
    six:close()
    server:close()
    d.idle(base)
  end)

  describe("that is asked nonsense", function()
    --- Sends datagrams, and then a question that is answered: the server has
    --- heard of n requests, and what else was answered is "format".
    local function hears(n, ...)
      local calls = 0
      local base <close>, server = start(function(q)
        calls = calls + 1
        q:respond()
      end)
      local s = d.socket()
      local port = tonumber(server:sockname():match "%d+$")
      for _, packet in ipairs {...} do s:sendto(packet, "127.0.0.1", port) end
      s:sendto(d.question(0x7777, "last", 1), "127.0.0.1", port)
      local answers = {}
      t.runtill(base, function()
        local answer = s:receive()
        while answer do
          answers[#answers + 1] = answer
          answer = s:receive()
        end
        return #answers > 0
               and string.unpack(">I2", answers[#answers]) == 0x7777
      end)
      assert.equal(n + 1, calls)
      local good = 0
      for _, packet in ipairs(answers) do
        local code = packet:byte(4) & 15
        assert.is_true(code == 0 or code == 1)
        good = good + 1 - code
      end
      assert.equal(n + 1, good)
      s:close()
      server:close()
      d.idle(base)
    end

    local whole = d.question(1, "www.example", 1)

    it("does not hear of what is no request", function()
      hears(0, "", "x", whole:sub(1, 2), whole:sub(1, 11), ("\xff"):rep(12),
        ("\xff"):rep(1500), ("\xff"):rep(2000),
        d.answer {id = 1, question = d.labels "x" .. "\0\1\0\1"})
    end)

    it("does not hear of half a question", function()
      local halves = {}
      for n = 12, #whole - 1 do halves[#halves + 1] = whole:sub(1, n) end
      hears(0, table.unpack(halves))
    end)

    it("does not hear of names that lead nowhere", function()
      hears(0,
        whole:sub(1, 12) .. "\xc0\x0c\0\1\0\1",            -- to itself
        whole:sub(1, 12) .. "\xc0\x0e\xc0\x0c\0\1\0\1",    -- in a circle
        whole:sub(1, 12) .. "\xff\xff\0\1\0\1",            -- outside
        whole:sub(1, 12) .. "\x40" .. ("x"):rep(64) .. "\0\0\1\0\1",
        whole:sub(1, 12) .. ("\x3f" .. ("x"):rep(63)):rep(5) .. "\0\0\1\0\1")
    end)

    it("does not hear of several questions at once", function()
      for _, n in ipairs {2, 3, 100, 65535} do
        hears(0, string.pack(">I2I2I2I2I2I2", 1, 0x100, n, 0, 0, 0)
                 .. whole:sub(13):rep(math.min(n, 80)))
      end
    end)

    it("hears of a question with more behind it", function()
      hears(2, whole .. "and more",
        (whole:gsub("^(" .. ("."):rep(10) .. ")..", "%1\0\1"))
        .. "\0\0\x29\x10\0\0\0\0\0\0\0")
    end)

    it("finds behind other records how much the client takes", function()
      local base <close>, server = start(function(q)
        for i = 1, 40 do assert(q:add_a_reply(nil, "192.0.2." .. i, 60)) end
        q:respond()
      end)
      local header = whole:sub(1, 6) .. string.pack(">I2I2I2", 1, 0, 1)
      local function size(before, opt)
        return #select(2, answered(base, server,
          header .. whole:sub(13) .. before .. opt))
      end
      local opt = "\0" .. string.pack(">I2I2I4I2", 41, 4096, 0, 0)
      local record = string.pack(">I2I2I4s2", 16, 1, 0, "\4text")
      for _, name in ipairs {"\xc0\x0c", "\3www\0", "\0", "\3www\xc0\x0c"} do
        local little = opt:gsub("\x10\0", "\2\0", 1)
        assert.is_true(size(name .. record, opt) > 600)
        assert.is_true(size(name .. record, little) < 513)
      end
      for _, bad in ipairs {"\x40" .. record, "\xc0", "\3ww", ""} do
        assert.is_true(size(bad, "") < 513)
      end
    end)

    it("stays what it is with any bytes", function()
      math.randomseed(11)
      local calls = 0
      local base <close>, server = start(function(q)
        calls = calls + 1
        if q:name() ~= "last" then
          q:add_a_reply(nil, "192.0.2.1", 1)
          q:add_cname_reply(nil, "x.y", 1)
        end
        q:respond()
      end)
      local s = d.socket()
      local port = tonumber(server:sockname():match "%d+$")
      for _ = 1, 2000 // t.slow do
        local bytes = {whole:byte(1, -1)}
        for _ = 1, math.random(1, 4) do
          bytes[math.random(3, #bytes)] = math.random(0, 255)
        end
        s:sendto(string.char(table.unpack(bytes)), "127.0.0.1", port)
        t.turns(base)
      end
      assert.is_true(calls > 100 // t.slow)
      assert.equal(0, (answered(base, server, d.question(1, "last", 1))))
      s:close()
      server:close()
      d.idle(base)
    end)
  end)

  describe("without an address of its own", function()
    it("is refused one that is taken, or not of this machine", function()
      local base <close>, server = start(function() end)
      t.refused(EADDRINUSE, base:dns_server(server:sockname(), print))
      t.refused(EADDRNOTAVAIL, base:dns_server("192.0.2.1:0", print))
      server:close()
      d.idle(base)
    end)

    it("raises for what is no address", function()
      local base <close> = t.base()
      for _, address in ipairs {"127.0.0.1", "localhost:53", "", "::1"} do
        t.raises("address", base.dns_server, base, address, print)
      end
      t.raises("DNS needs an IP address", base.dns_server, base, "unix:/x",
        print)
      t.raises("DNS needs an IP address", base.dns_server, base, "unix:@x",
        print)
      t.raises("descriptor", base.dns_server, base, nil, print)
      t.raises("descriptor", base.dns_server, base, {}, print)
      t.raises("descriptor 999 is not open", base.dns_server, base, 999, print)
      t.raises("function expected", base.dns_server, base, "127.0.0.1:0")
      t.raises("libevent.Base expected", base.dns_server, 1, "127.0.0.1:0",
        print)
      d.idle(base)
    end)

    it("owns a descriptor that is a number", function()
      local base <close> = t.base()
      local s = d.socket()
      local fd = s:getfd()
      s:setfd(-1)
      local server = assert(base:dns_server(fd, function(q) q:respond() end))
      assert.equal(fd, server:fd())
      assert.equal(0, (answered(base, server, d.question(1, "x", 1))))
      server:close()
      assert.is_false(t.isopen(fd))
      d.idle(base)
    end)

    it("shares that of an object with getfd", function()
      local base <close> = t.base()
      local s, address = d.socket()
      local server = assert(base:dns_server(s, function(q) q:respond() end))
      assert.equal(address, server:sockname())
      assert.equal(math.tointeger(s:getfd()), server:fd())
      assert.equal(0, (answered(base, server, d.question(1, "x", 1))))
      server:close()
      assert.is_true(t.isopen(s:getfd()))
      s:close()
      d.idle(base)
    end)

    it("answers on a unix socket", function()
      local base <close> = t.base()
      local here, there = t.path(), t.path()
      local s, client = unix.dgram(), unix.dgram()
      assert(s:bind(here))
      assert(client:bind(there))
      client:settimeout(0)
      local server = assert(base:dns_server(s, t.expect(function(q)
        assert.equal("unix:" .. there, q:requesting_addr())
        q:respond "refused"
      end)))
      assert(client:sendto(d.question(1, "x", 1), here))
      local answer
      t.runtill(base, function()
        answer = client:receive()
        return answer
      end)
      assert.equal(5, string.unpack(">I2", answer, 3) & 15)
      for _, each in ipairs {s, client, server} do each:close() end
      os.remove(here)
      os.remove(there)
      d.idle(base)
    end)

    it("tells that the one who asked is gone", function()
      local base <close> = t.base()
      local here, there = t.path(), t.path()
      local s, client = unix.dgram(), unix.dgram()
      assert(s:bind(here))
      assert(client:bind(there))
      local server
      server = assert(base:dns_server(s, t.expect(function(q)
        client:close()
        os.remove(there)
        t.refused(2, q:respond())              -- no such file
        assert.is_true(t.isclosed(q))
        server:close()
      end)))
      assert(client:sendto(d.question(1, "x", 1), here))
      d.idle(base)
      s:close()
      os.remove(here)
    end)

    it("goes on, when the one who asked cannot be told", function()
      local base <close> = t.base()
      local s, address = d.socket()
      local client = d.socket()
      local port = tonumber(address:match "%d+$")
      assert(s:setpeername("127.0.0.1", select(2, client:getsockname())))
      local results = {}
      local queries = {}
      local server = assert(base:dns_server(s, function(q)
        queries[#queries + 1] = q
      end))
      for i = 1, 3 do
        client:sendto(d.question(i, "x", 1), "127.0.0.1", port)
      end
      t.runtill(base, function() return #queries == 3 end)
      client:close()
      for i, q in ipairs(queries) do
        results[i] = table.pack(q:respond())
        assert.is_true(t.isclosed(q))
      end
      assert.equal(ECONNREFUSED, results[2][3])
      s:close()
      server:close()
      d.idle(base)
    end)
  end)

  describe("that takes its time", function()
    it("answers later, and in another order", function()
      local open = {}
      local base <close>, server, dns = start(print)
      server:set_cb(function(q)
        open[#open + 1] = q
        if #open < 3 then return end
        base:timer(t.expect(function()
          for i = 3, 1, -1 do
            assert(open[i]:add_a_reply(nil, "192.0.2." .. i, 60))
            assert(open[i]:respond())
          end
          open = {}
        end)):add(0.005)
      end)
      local n = 0
      for _ = 1, 3 do
        dns:resolve("www.example", {family = "inet"}, t.expect(function(_, a)
          assert.equal(1, #a)
          n = n + 1
          if n == 3 then server:close() end
        end))
      end
      d.idle(base)
    end)

    it("answers nothing, if it drops the query", function()
      local base <close>, server, dns = start(function(q)
        assert.equal(q, q:drop())
        assert.is_true(t.isclosed(q))
      end, 1)
      dns:set_option("timeout", 0.01 * t.slow)
      assert.equal("timeout", select(3, ask(dns)))
      server:close()
      d.idle(base)
    end)

    it("answers for a query that is closed, or forgotten", function()
      for _, how in ipairs {"closed", "forgotten", "scoped"} do
        local base <close>, server, dns = start(print)
        server:set_cb(t.expect(function(q)
          if how == "closed" then
            assert.equal(q, q:close())
            assert.equal(q, q:close())
          elseif how == "scoped" then
            local scoped <close> = q
            assert(scoped:add_a_reply(nil, "192.0.2.1", 60))
          else
            base:timer(function() collectgarbage() collectgarbage() end):add(0)
          end
        end))
        assert.equal("serverfailed", select(3, ask(dns)))
        server:close()
        d.idle(base)
      end
    end)

    it("answers for those that are open when it is closed", function()
      local queries = {}
      local base <close>, server, dns = start(function(q)
        queries[#queries + 1] = q
      end)
      local codes = {}
      for i = 1, 3 do
        dns:resolve("www.example", {family = "inet"},
          t.expect(function(_, _, _, code) codes[i] = code end))
      end
      t.runtill(base, function() return #queries == 3 end)
      local fd = server:fd()
      assert.equal(server, server:close())
      assert.equal(server, server:close())
      assert.is_false(t.isopen(fd))
      for _, q in ipairs(queries) do assert.is_true(t.isclosed(q)) end
      d.idle(base)
      assert.same({"serverfailed", "serverfailed", "serverfailed"}, codes)
    end)

    it("holds many queries, and leaves them", function()
      local queries = {}
      local n = 100
      local base <close>, server, dns = start(function(q)
        queries[#queries + 1] = q
      end)
      dns:set_option("max_inflight", n)
      for _ = 1, n do
        dns:resolve("www.example", {family = "inet"}, function() end)
      end
      t.runtill(base, function() return #queries == n end)
      base:close()
      assert.is_true(t.isclosed(server))
      for _, q in ipairs(queries) do assert.is_true(t.isclosed(q)) end
    end)
  end)

  describe("whose callback", function()
    it("raises answers that it has failed, and the loop ends", function()
      local base <close>, server, dns = start(function() error "oh no" end, 2)
      for _ = 1, 2 do
        local got, cb = d.outcome()
        dns:resolve("www.example", {family = "inet"}, cb)
        t.raises("oh no", base.dispatch, base)
        t.runtill(base, function() return got.n end)
        assert.equal("serverfailed", got[3])
      end
      server:close()
      d.idle(base)
    end)

    it("raises tells the base's error callback, and goes on", function()
      local base <close>, server, dns = start(function(q)
        q:add_a_reply(nil, "192.0.2.1", 1)
        error "oh no"
      end, 2)
      base:set_error_cb(t.expect(function(message, object)
        assert.matches("oh no", message)
        assert.equal(server, object)
      end, 2))
      for _ = 1, 2 do
        assert.equal("serverfailed", select(3, ask(dns)))
      end
      server:close()
      d.idle(base)
    end)

    it("raises after its answer has given it", function()
      local base <close>, server, dns = start(function(q)
        q:add_a_reply(nil, "192.0.2.1", 1):respond()
        error "oh no"
      end, 1)
      base:set_error_cb(t.expect())
      assert.same({"192.0.2.1"}, (ask(dns)))
      server:close()
      d.idle(base)
    end)

    it("cannot yield", function()
      local base <close>, server, dns = start(function() coroutine.yield() end)
      base:set_error_cb(t.expect(function(message)
        assert.matches("yield", message)
      end))
      assert.equal("serverfailed", select(3, ask(dns)))
      server:close()
      d.idle(base)
    end)

    it("collects garbage, and asks again", function()
      local depth = 0
      local base <close>, server, dns = start(function(q)
        collectgarbage()
        depth = depth + 1
        if depth == 5 then return q:respond() end
        q:server():base():timer(function() end):add(0)
        q:respond "notexist"
      end)
      for _ = 1, 5 do ask(dns) end
      assert.equal(5, depth)
      server:close()
      d.idle(base)
    end)

    it("closes it answers before or after, or not at all", function()
      for _, how in ipairs {"before", "after", "never", "drop"} do
        local base <close>, server, dns = start(function(q)
          local s = q:server()
          if how == "before" then q:respond "notexist" end
          if how == "drop" then q:drop() end
          assert.equal(s, s:close())
          assert.equal(s, s:close())
          collectgarbage()
          assert.is_true(t.isclosed(q))
          if how == "after" then
            t.raises("DnsQuery is closed", q.respond, q)
          end
        end, 1)
        dns:set_option("timeout", 0.01 * t.slow)
        local fd = server:fd()
        local code = select(3, ask(dns))
        assert.equal(({before = "notexist", after = "serverfailed",
                       never = "serverfailed", drop = "timeout"})[how], code)
        d.idle(base)
        assert.is_false(t.isopen(fd))
      end
    end)

    it("closes it leaves what has come already", function()
      local base <close>, server = start(function(q)
        q:server():close()
      end, 1)
      local s, port = d.socket(), tonumber(server:sockname():match "%d+$")
      for i = 1, 50 do s:sendto(d.question(i, "x", 1), "127.0.0.1", port) end
      d.idle(base)
      s:close()
    end)

    it("closes the base ends the loop", function()
      for _, how in ipairs {"respond", "drop", "nothing"} do
        local base, server = start(function(q)
          local mine = q:server():base()
          if how ~= "nothing" then q[how](q) end
          mine:close()
          assert.is_true(t.isclosed(q))
        end, 1)
        local s, port = d.socket(), tonumber(server:sockname():match "%d+$")
        for i = 1, 5 do s:sendto(d.question(i, "x", 1), "127.0.0.1", port) end
        t.run(base)
        assert.is_true(t.isclosed(server))
        s:close()
      end
    end)

    it("breaks the loop hears no more before the next", function()
      local calls = 0
      local base <close>, server = start(print)
      server:set_cb(function(q)
        calls = calls + 1
        q:respond()
        base:loopbreak()
      end)
      local s, port = d.socket(), tonumber(server:sockname():match "%d+$")
      for round = 1, 3 do
        s:sendto(d.question(round, "x", 1), "127.0.0.1", port)
        assert.is_true(base:dispatch())
        assert.equal(round, calls)
      end
      s:close()
      server:close()
      d.idle(base)
    end)

    it("is never still leaves all others their turn", function()
      local n = 0
      local s = d.socket()
      local base <close>, server = start(function(q) q:respond() end)
      local port = tonumber(server:sockname():match "%d+$")
      server:set_cb(function(q)
        n = n + 1
        q:drop()
        s:sendto(d.question(n & 0xffff, "x", 1), "127.0.0.1", port)
      end)
      s:sendto(d.question(1, "x", 1), "127.0.0.1", port)
      base:timer(t.expect(function() server:close() end)):add(0.02)
      d.idle(base)
      assert.is_true(n > 1)
      s:close()
    end)

    it("ends the process", function()
      for _, before in ipairs {"", "q:respond()", "q:drop()", "server:close()",
                               "base:close()"} do
        local text, status = t.lua(([[
          local base = require "libevent".base()
          local server
          server = base:dns_server("127.0.0.1:0", function(q)
            %s
            os.exit(7, true)
          end)
          local dns = base:dns {nameservers = {server:sockname()},
                                hosts = false}
          for i = 1, 3 do dns:resolve("b.example", print) end
          base:dispatch()
        ]]):format(before))
        assert.equal("", text)
        assert.equal(7, status, before)
      end
    end)
  end)

  describe("that is closed", function()
    it("has no method left but close", function()
      local base <close>, server = start(print)
      assert.matches("^libevent%.DnsServer %(0x%x+%)$", tostring(server))
      assert.equal(server, server:close())
      assert.equal("libevent.DnsServer (closed)", tostring(server))
      local n = 0
      for name, method in pairs(debug.getmetatable(server).__index) do
        n = n + 1
        if name ~= "close" then
          t.raises("DnsServer is closed", method, server, print)
        end
        t.raises("libevent.DnsServer expected, got libevent.Base", method, base)
      end
      assert.equal(5, n)
    end)

    it("closes at the end of its scope", function()
      local base <close> = t.base()
      local fd
      do
        local server <close> = base:dns_server("127.0.0.1:0", print)
        fd = server:fd()
      end
      assert.is_false(t.isopen(fd))
      d.idle(base)
    end)
  end)

  it("that nobody holds goes on", function()
    local base <close> = t.base()
    local address = base:dns_server("127.0.0.1:0", t.expect(function(q)
      local server = q:server()
      q:respond "notexist"
      server:close()
    end)):sockname()
    collectgarbage() collectgarbage()
    local dns = d.resolver(base, address)
    assert.equal("notexist", select(3, ask(dns)))
    d.idle(base)
  end)
end)

describe("a DNS query", function()
  before_each(t.start)
  after_each(t.finish)

  --- Calls f with a query, which is closed then.
  local function with(f, name, type)
    local base <close>, server = start(function(q)
      f(q)
      if not t.isclosed(q) then q:respond() end
    end, 1)
    local s, port = d.socket(), tonumber(server:sockname():match "%d+$")
    s:sendto(d.question(1, name or "www.example", type or 1), "127.0.0.1", port)
    local answer
    t.runtill(base, function()
      answer = s:receive()
      return answer
    end)
    s:close()
    server:close()
    d.idle(base)
    return answer
  end

  --- The numbers of records in an answer's three parts, and its flags.
  local function counts(answer)
    local _, flags, _, an, ns, ar = string.unpack(">I2I2I2I2I2I2", answer)
    return {an, ns, ar}, flags
  end

  it("is answered addresses, one or many", function()
    local answer = with(function(q)
      assert.equal(q, q:add_a_reply(nil, "192.0.2.1", 60))
      assert.equal(q, q:add_a_reply("www.example", {"192.0.2.2", "192.0.2.3"},
        0))
      assert.equal(q, q:add_a_reply("other.example.", {}, 60))
      assert.equal(q, q:add_aaaa_reply(nil, "2001:db8::1", 60))
      assert.equal(q, q:add_aaaa_reply(nil, {"::", "::1"}, 0x7fffffff))
    end)
    assert.same({6, 0, 0}, counts(answer))
    assert.truthy(answer:find(d.record(1, d.ip "192.0.2.1", 60), 1, true))
    assert.truthy(answer:find(d.record(1, d.ip "192.0.2.3", 0), 1, true))
    assert.truthy(answer:find(d.record(28, ("\0"):rep(15) .. "\1", 0x7fffffff),
      1, true))
  end)

  it("is answered records of all sorts, in each section", function()
    local answer = with(function(q)
      assert.equal(q, q:add_reply("answer", nil, "TXT", 1, 60, "\5hello"))
      assert.equal(q, q:add_reply("answer", "x.y", "MX", 1, 60, "\0\5\1m\0"))
      assert.equal(q, q:add_reply("authority", nil, 6, 1, 60, d.labels "ns"
        .. d.labels "me" .. string.pack(">I4I4I4I4I4", 1, 2, 3, 4, 5)))
      assert.equal(q, q:add_reply("additional", nil, 65535, 65535, 0, ""))
      assert.equal(q, q:add_reply("authority", nil, "NS", 1, 60, "ns.example",
        true))
      assert.equal(q, q:add_cname_reply(nil, "www.example", 60))
      assert.equal(q, q:add_ptr_reply(nil, "www.example", 60))
    end)
    assert.same({4, 2, 1}, counts(answer))
    assert.truthy(answer:find(d.record(16, "\5hello"), 1, true))
    assert.truthy(answer:find(d.record(5, "\xc0\x0c"), 1, true))
    assert.truthy(answer:find(d.record(12, "\xc0\x0c"), 1, true))
    assert.truthy(answer:find(d.record(2, "\2ns\xc0\x10"), 1, true))
  end)

  it("is answered names of addresses", function()
    local answer = with(function(q)
      assert.equal(q, q:add_ptr_reply("192.0.2.1", "one.example", 60))
      assert.equal(q, q:add_ptr_reply("2001:db8::1", "six.example", 60))
      assert.equal(q, q:add_ptr_reply("x.y", "three.example", 60))
    end, "1.2.0.192.in-addr.arpa", 12)
    assert.same({3, 0, 0}, counts(answer))
    assert.truthy(answer:find(d.record(12, d.labels "one.example"), 1, true))
    assert.truthy(answer:find(d.labels(("1.0.0.0." .. ("0."):rep(20)
      .. "8.b.d.0.1.0.0.2.ip6")):sub(1, -2), 1, true))
  end)

  it("is answered with flags", function()
    for flags, wanted in pairs {[""] = 0x8100, aa = 0x8500, ra = 0x8180,
                                ["aa|ra"] = 0x8580} do
      local _, got = counts(with(function(q)
        assert.equal(q, q:set_flags "aa|ra":set_flags(flags))
      end))
      assert.equal(wanted, got)
    end
  end)

  it("is answered truncated where there is too much for a datagram", function()
    local answer = with(function(q)
      for i = 1, 60 do assert(q:add_a_reply(nil, "192.0.2." .. i, 60)) end
    end)
    assert.is_true(#answer <= 512 and #answer > 490)
    assert.equal((#answer - #d.question(1, "x.example", 1)) // 16,
                 (string.unpack(">I2", answer, 7)))
    assert.equal(d.TC, select(2, counts(answer)) & d.TC)
  end)

  it("refuses what is more than an answer can hold", function()
    for _, f in ipairs {
      function(q) return q:add_a_reply(nil, "192.0.2.1", 60) end,
      function(q) return q:add_aaaa_reply(nil, {"::1", "::2"}, 60) end,
      function(q) return q:add_cname_reply("x.example", ("y"):rep(63), 60) end,
      function(q) return q:add_ptr_reply("127.0.0.1", ("y"):rep(63), 60) end,
      function(q)
        return q:add_reply("additional", ("z"):rep(63), 16, 1, 60,
                           ("t"):rep(200))
      end,
    } do
      local n = 0
      local answer = with(function(q)
        local result, message, errno
        repeat
          result, message, errno = f(q)
          n = n + 1
        until result ~= q or n > 1000
        t.refused(EMSGSIZE, result, message, errno)
        t.refused(EMSGSIZE, f(q))
        assert.is_false(t.isclosed(q))
      end)
      assert.is_true(n > 4 and n < 200, n)
      assert.is_true(#answer <= 512)
    end
    with(function(q)
      t.refused(EMSGSIZE, q:add_reply("answer", nil, 16, 1, 1, ("x"):rep(1e6)))
      t.refused(EMSGSIZE, q:add_reply("answer", nil, 16, 1, 1, ("x"):rep(1400)))
      local list = {}
      for i = 1, 1000 do list[i] = "192.0.2.1" end
      t.refused(EMSGSIZE, q:add_a_reply(nil, list, 1))
      assert(q:add_reply("answer", nil, 16, 1, 1, ("x"):rep(100)))
    end)
  end)

  it("of the longest name is answered so, too", function()
    local long = ("a."):rep(126) .. "a"
    local answer = with(function(q)
      repeat until not q:add_cname_reply(nil, long, 60)
      repeat until not q:add_cname_reply(("b."):rep(126) .. "b", long, 60)
    end, long)
    assert.is_true(#answer <= 512)
  end)

  it("raises for what is wrong, and can be answered then", function()
    with(function(q)
      for _, add in ipairs {"add_a_reply", "add_aaaa_reply"} do
        local f = q[add]
        local good = add == "add_a_reply" and "192.0.2.1" or "::1"
        for _, bad in ipairs {"x", "", 1, good .. "\0", good .. "/8",
                              add == "add_a_reply" and "::1" or "192.0.2.1",
                              {good, "x"}, {1}, {{good}}} do
          t.raises("bad argument #3", f, q, nil, bad, 60)
        end
        t.raises("bad argument", f, q)
        t.raises("bad argument #4", f, q, nil, good)
        t.raises("bad argument #4", f, q, nil, good, -1)
        t.raises("bad argument #4", f, q, nil, good, 1 << 31)
        t.raises("bad argument #4", f, q, nil, good, 1.5)
        for _, name in ipairs {"..", "a..b", ("x"):rep(64), 1, {}, "a\0b"} do
          t.raises("bad argument #2", f, q, name, good, 60)
        end
      end
      for _, add in ipairs {"add_cname_reply", "add_ptr_reply"} do
        local f = q[add]
        t.raises("bad argument #3", f, q, nil, nil, 60)
        t.raises("bad argument #3", f, q, nil, "a..b", 60)
        t.raises("bad argument #3", f, q, nil, 1, 60)
        t.raises("bad argument #4", f, q, nil, "x")
        t.raises("bad argument #2", f, q, "a..b", "x", 60)
        t.raises("bad argument #2", f, q, 1, "x", 60)
      end
      local f = q.add_reply
      t.raises("bad argument #2", f, q, "question", nil, 1, 1, 1, "")
      t.raises("bad argument #2", f, q)
      t.raises("bad argument #3", f, q, "answer", {}, 1, 1, 1, "")
      t.raises("bad argument #4", f, q, "answer", nil, "a", 1, 1, "")
      t.raises("bad argument #4", f, q, "answer", nil, 65536, 1, 1, "")
      t.raises("bad argument #5", f, q, "answer", nil, 1, -1, 1, "")
      t.raises("bad argument #5", f, q, "answer", nil, 1, nil, 1, "")
      t.raises("bad argument #6", f, q, "answer", nil, 1, 1, -1, "")
      t.raises("bad argument #7", f, q, "answer", nil, 1, 1, 1)
      t.raises("bad argument #7", f, q, "answer", nil, 1, 1, 1, 5)
      t.raises("bad argument #7", f, q, "answer", nil, 1, 1, 1, "a..b", true)
      t.raises("bad argument #2", q.set_flags, q, "tc")
      t.raises("bad argument #2", q.set_flags, q)
      t.raises("bad argument #2", q.respond, q, "nodata")
      t.raises("bad argument #2", q.respond, q, 16)
      t.raises("bad argument #2", q.respond, q, -1)
      t.raises("bad argument #2", q.respond, q, {})
      assert(q:add_a_reply(nil, "192.0.2.1", 60))
    end)
  end)

  it("has no method left but close, once it is answered", function()
    local kept
    with(function(q)
      kept = q
      q:respond()
      assert.equal(q, q:close())
    end)
    local n = 0
    for name, method in pairs(debug.getmetatable(kept).__index) do
      n = n + 1
      if name ~= "close" then
        t.raises("DnsQuery is closed", method, kept, nil)
      end
      t.raises("libevent.DnsQuery expected, got number", method, 1)
    end
    assert.equal(14, n)
    assert.equal(kept, kept:close())
    assert.equal("libevent.DnsQuery (closed)", tostring(kept))
  end)

  it("keeps its server, and not the other way round", function()
    local weak = setmetatable({}, {__mode = "k"})
    local base <close>, server, dns = start(function(q)
      weak[q] = true
      q:respond()
    end)
    ask(dns)
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    server:close()
    d.idle(base)
  end)

  it("is answered a million bytes of queries without keeping any", function()
    local text, status = t.lua [[
      local d = require "spec.dns"
      local t = require "spec.helper"
      local libevent = require "libevent"
      local base = t.base()
      local n = 0
      local server = base:dns_server("127.0.0.1:0", function(q)
        n = n + 1
        q:add_a_reply(nil, {"192.0.2.1", "192.0.2.2"}, 60)
        if n % 4 == 0 then q:respond() end
        if n % 4 == 1 then q:drop() end
        if n % 4 == 2 then q:close() end
      end)
      local s = d.socket()
      local port = tonumber(server:sockname():match "%d+$")
      local function run(times)
        for i = 1, times do
          s:sendto(d.question(i & 0xffff, "www.example", 1), "127.0.0.1", port)
          t.turns(base)
          s:receive()
        end
        collectgarbage()
      end
      run(10000 // t.slow)
      local before = t.heap()
      run(10000 // t.slow)
      t.heapgrown(before, 64 << 10)
    ]]
    assert.same({"", 0}, {text, status})
  end)
end)
