--- dns:resolve and dns:reverse: what they find, and how they fail.

local socket = require "socket"
local d = require "spec.dns"
local t = require "spec.helper"

local A, AAAA = d.A, d.AAAA

local zone = {
  ["both.example"] = {A = "192.0.2.1", AAAA = "2001:db8::1"},
  ["four.example"] = {A = {"192.0.2.1", "192.0.2.2", "192.0.2.3"}},
  ["six.example"] = {AAAA = {"2001:db8::1", "2001:db8::2"}},
  ["none.example"] = {},
  ["refused.example"] = "refused",
  ["failed.example"] = "serverfailed",
  ["format.example"] = "format",
  ["notimpl.example"] = "notimpl",
  ["1.2.0.192.in-addr.arpa"] = {PTR = "one.example"},
  ["1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"]
    = {PTR = "six.example"},
}

--- A base with a server of the zone and a Dns that asks it.
local function start(options)
  local base = t.base()
  local server, counts = d.zone(base, zone)
  return base, d.resolver(base, server:sockname(), options), server, counts
end

--- A server that answers each question so that f gives the bytes, and a Dns.
local function against(f, options)
  local base = t.base()
  local server = d.raw(base, function(q, reply)
    for _, bytes in ipairs {f(q)} do reply(bytes) end
  end)
  return base, d.resolver(base, server.address, options), server
end

--- Seconds since 'start'.
local function since(from) return socket.gettime() - from end

describe("dns:resolve", function()
  before_each(t.start)
  after_each(t.finish)

  it("gives the addresses of both families, IPv4 first", function()
    local _ <close>, dns = start()
    local addresses, ttl = d.ask(dns, "both.example")
    assert.same({"192.0.2.1", "2001:db8::1"}, addresses)
    assert.equal(30, ttl)
  end)

  it("gives all addresses of a name, in the server's order", function()
    local _ <close>, dns = start()
    assert.same({"192.0.2.1", "192.0.2.2", "192.0.2.3"},
      (d.ask(dns, "four.example")))
    assert.same({"2001:db8::1", "2001:db8::2"}, (d.ask(dns, "six.example")))
  end)

  it("asks for one family only, if so told", function()
    local _ <close>, dns, _, counts = start()
    assert.same({"192.0.2.1"}, (d.ask(dns, "both.example", {family = "inet"})))
    assert.same({"2001:db8::1"},
      (d.ask(dns, "both.example", {family = "inet6"})))
    assert.equal(2, counts["both.example"])
    assert.equal(2, #d.ask(dns, "both.example", {family = "inet|inet6"}))
  end)

  it("gives addresses with a port", function()
    local _ <close>, dns = start()
    assert.same({"192.0.2.1:80", "[2001:db8::1]:80"},
      (d.ask(dns, "both.example", {port = 80})))
    assert.same({"192.0.2.1:0", "[2001:db8::1]:0"},
      (d.ask(dns, "both.example", {port = 0})))
    assert.same({"10.0.0.1:65535"}, (d.ask(dns, "10.0.0.1", {port = 65535})))
    assert.same({"[::1]:1"}, (d.ask(dns, "::1", {port = 1})))
  end)

  it("takes an address for itself, and asks nobody", function()
    local base <close>, dns, _, counts = start()
    for host, wanted in pairs {["192.0.2.7"] = "192.0.2.7", ["::1"] = "::1",
                               ["2001:DB8:0::1"] = "2001:db8::1",
                               ["::ffff:1.2.3.4"] = "::ffff:1.2.3.4",
                               ["fe80::1%lo"] = "fe80::1%1"} do
      local got, cb = d.outcome()
      dns:resolve(host, cb)
      assert.equal(0, #got)
      t.runtill(base, function() return got.n end)
      assert.same({n = 1, {wanted}}, got)
    end
    assert.same({}, counts)
    assert.equal("nodata", d.code(dns, "::1", {family = "inet"}))
    assert.equal("nodata", d.code(dns, "127.0.0.1", {family = "inet6"}))
  end)

  it("says how it failed", function()
    local _ <close>, dns = start()
    for name, code in pairs {["absent.example"] = "notexist",
      ["none.example"] = "nodata", ["refused.example"] = "refused",
      ["failed.example"] = "serverfailed", ["format.example"] = "format",
      ["notimpl.example"] = "notimpl"} do
      local result, message, got = d.ask(dns, name)
      assert.is_nil(result)
      assert.equal(code, got, name)
      assert.matches("^" .. name:gsub("%p", "%%%0") .. ": %w", message)
    end
    assert.equal("nodata", d.code(dns, "four.example", {family = "inet6"}))
    assert.equal("nodata", d.code(dns, "six.example", {family = "inet"}))
  end)

  it("calls from the loop alone, with a request that is closed", function()
    local base <close>, dns = start()
    for _, name in ipairs {"both.example", "127.0.0.1", "", "absent.example",
                           "localhost", ("x"):rep(64)} do
      local got, cb = d.outcome()
      local request = dns:resolve(name, cb)
      assert.is_nil(got.n)
      assert.matches("^libevent%.DnsRequest %(0x%x+%)$", tostring(request))
      t.runtill(base, function() return got.n end)
      assert.equal("libevent.DnsRequest (closed)", tostring(request))
    end
  end)

  it("refuses what is no name, without a question", function()
    local _ <close>, dns, _, counts = start()
    for _, name in ipairs {
      "", ".", "..", ".example", "a..example", "example..",
      ("x"):rep(64) .. ".example", "a\0b.example", "\0", "example\0",
      ("yyyy."):rep(50) .. "yyyyy",
      ("a."):rep(127), ("x"):rep(300), ("x"):rep(100000),
    } do
      local code = d.code(dns, name)
      if name == ("a."):rep(127) then
        assert.equal("notexist", code)        -- 253 bytes and a dot
      else
        assert.equal("invalid", code, name)
      end
    end
    assert.same({[("a."):rep(127):sub(1, -2)] = 2}, counts)
  end)

  it("takes any bytes that a label can have", function()
    local odd = "\xff\1 %s\t_\x7f*"
    local asked
    local _ <close>, dns = against(function(q)
      asked = q.name
      return d.answer(q, {d.record(A, d.ip "192.0.2.1")})
    end, {randomize_case = false})
    assert.same({"192.0.2.1"},
      (d.ask(dns, odd .. ".example", {family = "inet"})))
    assert.equal(odd .. ".example", asked)
    local longest = ("x"):rep(63)
    assert.same({"192.0.2.1"}, (d.ask(dns, longest, {family = "inet"})))
    assert.equal(longest, asked)
  end)

  it("hides the questions in random case, or not", function()
    local name = ("abcdefghij"):rep(6) .. ".example"
    for _, random in ipairs {true, false} do
      local _ <close>, dns, server = against(function(q)
        return d.answer(q, {d.record(A, d.ip "192.0.2.1")})
      end, {randomize_case = random})
      d.ask(dns, name, {family = "inet"})
      local asked = server.asked[1].name
      assert.equal(name, asked:lower())
      assert.equal(random, asked ~= name)
      server:close()
    end
  end)

  it("asks from another port with each burst of questions", function()
    local base <close> = t.base()
    local peers, n = {}, 0
    local server = base:dns_server("127.0.0.1:0", function(q)
      local peer = q:requesting_addr()
      n = n + (peers[peer] and 0 or 1)
      peers[peer] = true
      q:respond "notexist"
    end)
    local dns = d.resolver(base, server:sockname())
    for _ = 1, 10 do d.ask(dns, "absent.example") end
    assert.is_true(n > 5)
  end)

  it("checks its arguments", function()
    local base <close>, dns = start()
    local function fails(words, ...) t.raises(words, dns.resolve, ...) end
    fails("string expected, got 1", dns, 1, print)
    fails("string expected, got nil", dns, nil, print)
    fails("function expected, got nil", dns, "example")
    fails("function expected, got table", dns, "example", {}, {})
    fails("table of options expected", dns, "example", "x", print)
    fails("family", dns, "example", {family = "unix"}, print)
    fails("port", dns, "example", {port = 65536}, print)
    fails("port", dns, "example", {port = -1}, print)
    fails("port", dns, "example", {port = 1.5}, print)
    fails("deadline", dns, "example", {deadline = "x"}, print)
    fails("deadline", dns, "example", {deadline = -1}, print)
    fails("search", dns, "example", {search = 1}, print)
    fails("unknown option 'ttl'", dns, "example", {ttl = 1}, print)
    fails("libevent.Dns expected, got", base, "example", print)
    dns:close()
    fails("Dns is closed", dns, "example", print)
  end)

  it("takes any callable as callback", function()
    local base <close>, dns = start()
    local callable = setmetatable({}, {__call = t.expect(nil, 2)})
    dns:resolve("both.example", callable)
    dns:resolve("both.example", {family = "inet"}, callable)
    local co = coroutine.wrap(t.expect(function(request, addresses)
      assert.is_true(t.isclosed(request))
      assert.same({"192.0.2.1"}, addresses)
      base:loopexit()
    end))
    dns:resolve("both.example", {family = "inet"}, co)
    t.run(base)
  end)
end)

describe("dns:reverse", function()
  before_each(t.start)
  after_each(t.finish)

  it("gives the name of an address of either family", function()
    local _ <close>, dns = start()
    local name, ttl = d.ask(dns, "192.0.2.1", nil, "reverse")
    assert.equal("one.example", name)
    assert.equal(90, ttl)
    assert.equal("six.example", (d.ask(dns, "2001:db8::1", nil, "reverse")))
    assert.equal("notexist", d.code(dns, "192.0.2.2", nil, "reverse"))
    assert.equal("notexist", d.code(dns, "::", nil, "reverse"))
    local _, message = d.ask(dns, "192.0.2.2", nil, "reverse")
    assert.matches("^192%.0%.2%.2: ", message)
  end)

  it("takes no name that nobody could ask for, or print", function()
    for _, labels in ipairs {"\4a..b\0", "\3a b\0", "\2a\n\0", "\0"} do
      local _ <close>, dns, server = against(function(q)
        return d.answer(q, {d.record(d.PTR, labels)})
      end)
      assert.equal("unknown", d.code(dns, "192.0.2.1", nil, "reverse"))
      server:close()
    end
  end)

  it("does not know names of more than 63 bytes", function()
    local name = ("x"):rep(55) .. ".example"
    for more, wanted in pairs {[""] = name, x = false} do
      local _ <close>, dns, server = against(function(q)
        return d.answer(q, {d.record(d.PTR, d.labels(more .. name))})
      end)
      local got, _, code = d.ask(dns, "192.0.2.1", nil, "reverse")
      if wanted then
        assert.equal(wanted, got)
      else
        assert.equal("unknown", code)
      end
      server:close()
    end
  end)

  it("checks its arguments", function()
    local _ <close>, dns = start()
    local function fails(words, ...) t.raises(words, dns.reverse, ...) end
    for _, address in ipairs {"example", "127.0.0.1:80", "[::1]", "", 1,
                              "127.0.0.1\0", "::1 ", "256.1.1.1"} do
      fails("address without a port", dns, address, print)
    end
    fails("function expected, got nil", dns, "::1")
    fails("unknown option 'family'", dns, "::1", {family = "inet"}, print)
    fails("deadline", dns, "::1", {deadline = false}, print)
  end)
end)

describe("a server that is not as it should be", function()
  before_each(t.start)
  after_each(t.finish)

  local QUICK = {timeout = 0.03 * t.slow, attempts = 2}

  --- The code of the failure against a server that answers with f(question).
  local function code(f, options)
    local base <close>, dns, server = against(f, options or QUICK)
    local result = d.code(dns, "www.example", {family = "inet"})
    server:close()
    d.idle(base)
    return result, server
  end

  it("and says nothing, has failed after all tries", function()
    local started = socket.gettime()
    local result, server = code(function() end)
    assert.equal("timeout", result)
    assert.equal(2, #server.asked)
    assert.is_true(since(started) > 1.8 * QUICK.timeout)
    assert.is_true(since(started) < 20 * QUICK.timeout)
    assert.equal(5, #select(2, code(function() end,
      {timeout = 0.01 * t.slow, attempts = 5})).asked)
  end)

  it("is not heard with another id", function()
    assert.equal("timeout", (code(function(q)
      q.id = q.id ~ 1
      return d.answer(q, {d.record(A, d.ip "192.0.2.1")})
    end)))
  end)

  it("is not heard with too few bytes for a header", function()
    for n = 0, 11 do
      local options = n == 11 and QUICK
                      or {timeout = 0.002 * t.slow, attempts = 1}
      assert.equal("timeout", (code(function(q)
        return d.answer(q):sub(1, n)
      end, options)))
    end
  end)

  it("is not heard when it asks in its turn", function()
    assert.equal("timeout", (code(function(q)
      return d.question(q.id, q.name, A)
    end)))
  end)

  it("makes no sense with another question, or half an answer", function()
    local whole = function(q)
      return d.answer(q, {d.record(A, d.ip "192.0.2.1")})
    end
    for what, f in pairs {
      ["another question"] = function(q)
        return d.answer({id = q.id, question = d.labels "mail.example"
                         .. "\0\1\0\1"}, {d.record(A, d.ip "192.0.2.1")})
      end,
      ["no question"] = function(q)
        return string.pack(">I2I2I2I2I2I2", q.id, d.QR, 0, 1, 0, 0)
               .. d.record(A, d.ip "192.0.2.1")
      end,
      ["a header"] = function(q) return whole(q):sub(1, 12) end,
      ["half of it"] = function(q) return whole(q):sub(1, -10) end,
      ["all but a byte"] = function(q) return whole(q):sub(1, -2) end,
      ["a name that points to itself"] = function(q)
        return d.answer(q, {"\xc0" .. string.char(12 + #q.question)})
      end,
      ["a name that points outside"] = function(q)
        return d.answer(q, {"\xff\xff\0\1\0\1"})
      end,
      ["an address of three bytes"] = function(q)
        return d.answer(q, {d.record(A, "\1\2\3")})
      end,
      ["an error that nobody knows"] = function(q)
        return d.answer(q, nil, 9)
      end,
    } do
      assert.equal("unknown", (code(f)), what)
    end
  end)

  it("has said it all with an answer without a record", function()
    assert.equal("nodata", (code(d.answer)))
    assert.equal("nodata", (code(function(q)
      return d.answer(q, {d.record(AAAA, ("\1"):rep(16)),
                          d.record(d.TXT, "\3abc")})
    end)))
  end)

  it("answers twice, or each time something else", function()
    local base <close>, dns, server = against(function(q)
      local one = d.answer(q, {d.record(A, d.ip "192.0.2.1")})
      return one, one, d.answer(q, {d.record(A, d.ip "192.0.2.2")}),
             d.answer(q, nil, 3)
    end)
    for _ = 1, 10 do
      assert.same({"192.0.2.1"},
        (d.ask(dns, "www.example", {family = "inet"})))
    end
    server:close()
    d.idle(base)
  end)

  it("answers late, when it is asked again", function()
    local first
    local _ <close>, dns, server = against(function(q)
      first = first or q
      if first ~= q then
        return d.answer(first, {d.record(A, d.ip "192.0.2.1")})
      end
    end, QUICK)
    assert.same({"192.0.2.1"}, (d.ask(dns, "www.example", {family = "inet"})))
    assert.equal(2, #server.asked)
    server:close()
  end)

  it("says more than an answer can hold", function()
    assert.equal("truncated", (code(function(q)
      return d.answer(q, nil, d.TC)
    end)))
    assert.equal("truncated", (code(function(q)
      return d.answer(q, {d.record(A, d.ip "192.0.2.1")}, d.TC)
    end)))
  end)

  it("says more than libevent takes", function()
    local records = {}
    for i = 1, 40 do records[i] = d.record(A, d.ip("192.0.2." .. i)) end
    local _ <close>, dns, server = against(function(q)
      return d.answer(q, records)
    end)
    local addresses = d.ask(dns, "www.example", {family = "inet"})
    assert.equal(32, #addresses)
    assert.equal("192.0.2.32", addresses[32])
    server:close()
  end)

  it("has the least ttl of an answer's, and an other name behind", function()
    local _ <close>, dns, server = against(function(q)
      return d.answer(q, {d.record(d.CNAME, d.labels "other.example", 5),
                          d.record(A, d.ip "192.0.2.1", 70),
                          d.record(A, d.ip "192.0.2.2", 60)})
    end)
    local addresses, ttl = d.ask(dns, "www.example", {family = "inet"})
    assert.same({"192.0.2.1", "192.0.2.2"}, addresses)
    assert.equal(60, ttl)
    server:close()
  end)

  it("knows one family, and is silent of the other", function()
    for _, silent in ipairs {A, AAAA} do
      local base <close>, dns, server = against(function(q)
        if q.type == silent then return end
        return d.answer(q, {q.type == A and d.record(A, d.ip "192.0.2.1")
                            or d.record(AAAA, ("\0"):rep(15) .. "\1")})
      end, {skew = 0.02 * t.slow})
      local started = socket.gettime()
      assert.same({silent == A and "::1" or "192.0.2.1"},
        (d.ask(dns, "www.example")))
      assert.is_true(since(started) > 0.015 * t.slow)
      assert.is_true(since(started) < 2 * t.slow)
      server:close()
      d.idle(base)
    end
  end)

  it("fails for one family, and knows the other", function()
    local _ <close>, dns, server = against(function(q)
      if q.type == A then return d.answer(q, nil, 2) end
      return d.answer(q, {d.record(AAAA, ("\0"):rep(15) .. "\1")})
    end)
    assert.same({"::1"}, (d.ask(dns, "www.example")))
    server:close()
  end)

  it("fails for one family, and has nothing of the other", function()
    local _ <close>, dns, server = against(function(q)
      return d.answer(q, nil, q.type == A and 2 or 0)
    end)
    assert.equal("serverfailed", d.code(dns, "www.example"))
    server:close()
  end)

  it("has failed at once, and not in time", function()
    local started = socket.gettime()
    assert.equal("serverfailed", (code(function(q)
      return d.answer(q, nil, 2)
    end, {timeout = 5, attempts = 3})))
    assert.is_true(since(started) < 4)
  end)

  it("is told from a silent one where the script takes its time", function()
    local base <close>, dns, server = against(function() end,
      {timeout = 0.05 * t.slow, attempts = 1, max_inflight = 1})
    local first = dns:resolve("first.example", function() end)
    local got, cb = d.outcome()
    dns:resolve("www.example", {family = "inet"}, cb)
    base:timer(function()
      local till = socket.gettime() + 0.04 * t.slow
      repeat until socket.gettime() > till
      first:cancel()              -- now the next one is asked
    end):add(0.001)
    t.runtill(base, function() return got.n end)
    assert.equal("timeout", got[3])
    server:close()
    d.idle(base)
  end)
end)

describe("several servers", function()
  before_each(t.start)
  after_each(t.finish)

  --- A base, a Dns with the servers that answer as the functions say, and they.
  local function servers(options, ...)
    local base = t.base()
    local list, addresses = {}, {}
    for i, f in ipairs {...} do
      list[i] = d.raw(base, function(q, reply)
        local bytes = f(q)
        if bytes then reply(bytes) end
      end)
      addresses[i] = list[i].address
    end
    local function closeall()
      for _, server in ipairs(list) do server:close() end
      d.idle(base)
    end
    return base, d.resolver(base, addresses, options), closeall, list
  end

  local function good(q)
    return d.answer(q, {d.record(A, d.ip "192.0.2.1")})
  end
  local function silent() end
  local function failing(code)
    return function(q) return d.answer(q, nil, code) end
  end

  for what, first in pairs {silence = silent, ["a failure"] = failing(2),
                            ["a refusal"] = failing(5),
                            ["not knowing how"] = failing(4)} do
    for place, order in pairs {first = {first, good}, last = {good, first}} do
      it("make up for " .. what .. " of the " .. place .. " one", function()
        local _ <close>, dns, closeall = servers(
          {timeout = 0.02 * t.slow}, table.unpack(order))
        for _ = 1, 5 do
          assert.same({"192.0.2.1"},
            (d.ask(dns, "www.example", {family = "inet"})))
        end
        closeall()
      end)
    end
  end

  it("are asked beginning with the one that has answered last", function()
    local _ <close>, dns, closeall, list = servers(
      {timeout = 0.05 * t.slow, attempts = 2}, silent, good)
    local started = socket.gettime()
    for _ = 1, 5 do                 -- both families; there is no IPv6 address
      assert.same({"192.0.2.1"}, (d.ask(dns, "www.example")))
    end
    assert.is_true(since(started) < 0.1 * t.slow)
    assert.equal(2, #list[1].asked)           -- both at once, and never again
    assert.equal(10, #list[2].asked)
    closeall()
  end)

  it("are asked once each, when all of them refuse or fail", function()
    for code, word in pairs {[2] = "serverfailed", [4] = "notimpl",
                             [5] = "refused"} do
      local _ <close>, dns, closeall, list = servers(nil, failing(code),
        failing(code))
      assert.equal(word, d.code(dns, "www.example", {family = "inet"}))
      for _, server in ipairs(list) do assert.equal(1, #server.asked) end
      closeall()
    end
  end)

  it("have all been asked, when none of them answers", function()
    local _ <close>, dns, closeall, list = servers(
      {timeout = 0.02 * t.slow, attempts = 3}, silent, silent, silent)
    local started = socket.gettime()
    assert.equal("timeout", d.code(dns, "www.example", {family = "inet"}))
    assert.is_true(since(started) > 0.05 * t.slow)
    for _, server in ipairs(list) do assert.equal(1, #server.asked) end
    closeall()
  end)

  it("and ports where nobody is leave nothing behind", function()
    local base <close> = t.base()
    local nobody, address = d.socket()
    nobody:close()
    local server = d.raw(base, function(q, reply) reply(good(q)) end)
    local dns = d.resolver(base, {address, server.address},
                           {timeout = 0.02 * t.slow})
    for _ = 1, 3 do
      assert.same({"192.0.2.1"},
        (d.ask(dns, "www.example", {family = "inet"})))
    end
    server:close()
    assert.equal("timeout", d.code(dns, "www.example"))
    d.idle(base)
  end)
end)
