-- The examples of DNS: a server, a cache before it and a tool that asks them,
-- as real processes; dig asks them, too.
local libevent = require "libevent"
local process = require "spec.process"
local t = require "spec.helper"

local shell, start, wait = process.shell, process.start, process.wait

local lua = os.getenv "LUA" or "lua5.4"

local function zone(path)
  local p = start("examples/dns_zone.lua 127.0.0.1:0 " .. (path or ""))
  return p, p:expect "^zone server on (127%.0%.0%.1:%d+)\n"
end

local function cache(upstream, script)
  local p = start(("%s 127.0.0.1:0 %s"):format(
    script or "examples/dns_cache.lua", upstream))
  return p, p:expect "^dns cache on (127%.0%.0%.1:%d+)\n"
end

local function resolve(arguments)
  return start("examples/resolve.lua " .. arguments):finish(20)
end

-- What dig has been answered: status, flags, and the records, one a line.
local function dig(address, question)
  local text = shell(("dig @127.0.0.1 -p %s +tries=1 +time=%d +noall +comments"
    .. " +answer %s"):format(address:match "%d+$", 8 * t.slow, question))
  local records = {}
  for line in text:gmatch "[^\n]+" do
    if not line:find "^;" then records[#records + 1] = line:gsub("%s+", " ") end
  end
  return text:match "status: (%u+)" or text, text:match "flags: ([%l ]+);",
         table.concat(records, "\n")
end

-- It ends, and has said nothing more.
local function ends(p, signal)
  local before = p:output()
  local text, status = p:stop(signal)
  assert.same({before, 0}, {text, status})
end

-- That is all that it says, on one line.
local function fails(p, message)
  local text, status = p:finish()
  assert.same({message .. "\n", 1}, {text, status})
end

-- What the cache counts, as of now.
local function counts(p)
  local before = #p:output()
  p:kill "USR1"
  return assert(wait(function()
    return p:output():sub(before + 1):match "^(.+)\n$"
  end), "it does not tell")
end

describe("Example dns_zone", function()
  after_each(process.killall)

  it("answers for its names, in any case", function()
    local p, address = zone()
    assert.same({"NOERROR", "qr aa rd", "example.test. 60 IN A 192.0.2.1\n"
                 .. "example.test. 60 IN A 192.0.2.2"},
                {dig(address, "example.test")})
    assert.same({"NOERROR", "qr aa rd",
                 "EXAMPLE.Test. 60 IN AAAA 2001:db8::1"},
                {dig(address, "EXAMPLE.Test AAAA")})
    assert.same({"NOERROR", "qr aa rd", "mail.example.test. 3600 IN A "
                 .. "192.0.2.25"}, {dig(address, "mail.example.test")})
    assert.same({"NOERROR", "qr aa rd",
                 'example.test. 60 IN TXT "a zone in a Lua table"'},
                {dig(address, "example.test TXT")})
    assert.same({"NOERROR", "qr aa rd",
                 "25.2.0.192.in-addr.arpa. 60 IN PTR mail.example.test."},
                {dig(address, "-x 192.0.2.25")})
    ends(p)
  end)

  it("adds what an alias stands for", function()
    local p, address = zone()
    local alias = "WWW.example.test. 60 IN CNAME example.test."
    assert.same({"NOERROR", "qr aa rd", alias
                 .. "\nexample.test. 60 IN A 192.0.2.1"
                 .. "\nexample.test. 60 IN A 192.0.2.2"},
                {dig(address, "WWW.example.test")})
    assert.same({"NOERROR", "qr aa rd", alias
                 .. "\nexample.test. 60 IN AAAA 2001:db8::1"},
                {dig(address, "WWW.example.test AAAA")})
    assert.same({"NOERROR", "qr aa rd", alias},
                {dig(address, "WWW.example.test CNAME")})
    assert.same({"NOERROR", "qr aa rd", alias},
                {dig(address, "WWW.example.test MX")})
    ends(p, "TERM")
  end)

  it("tells no such name, no such data and not its business apart", function()
    local p, address = zone()
    assert.same({"NXDOMAIN", "qr aa rd", ""}, {dig(address, "a.example.test")})
    assert.same({"NOERROR", "qr aa rd", ""},
                {dig(address, "mail.example.test AAAA")})
    for _, name in ipairs {"example.org", "test", ".", "an-example.test",
                           "-x 127.0.0.1", "version.bind CH TXT"} do
      assert.same({"REFUSED", "qr rd", ""}, {dig(address, name)})
    end
    ends(p)
  end)

  it("reads its zones from a file", function()
    local path = t.write [[
      return {
        Test = {
          ["one.TWO"] = {A = "192.0.2.1", AAAA = {"::1", "::2"}, ttl = 0},
          outside = {CNAME = "example.org"},
          nowhere = {CNAME = "Nothing.test"},
        },
        ["sub.test"] = {["@"] = {TXT = "of its own"}},
      }
    ]]
    local p, address = zone(path)
    os.remove(path)
    local flags = "qr aa rd"
    assert.same({"NOERROR", flags, "one.two.test. 0 IN A 192.0.2.1"},
                {dig(address, "one.two.test")})
    assert.same({"NOERROR", flags, "one.two.test. 0 IN AAAA ::1\n"
                 .. "one.two.test. 0 IN AAAA ::2"},
                {dig(address, "one.two.test AAAA")})
    for _, name in ipairs {"test", "two.test"} do     -- they lie between
      assert.same({"NOERROR", flags, ""}, {dig(address, name)})
    end
    assert.same({"NOERROR", flags, 'sub.test. 60 IN TXT "of its own"'},
                {dig(address, "sub.test TXT")})
    assert.same({"NOERROR", flags, "outside.test. 60 IN CNAME example.org."},
                {dig(address, "outside.test")})
    assert.same({"NXDOMAIN", flags, "nowhere.test. 60 IN CNAME Nothing.test."},
                {dig(address, "nowhere.test")})
    assert.equal("REFUSED", (dig(address, "example.test.org")))
    ends(p)
  end)

  it("says what is wrong in its zones when it is asked for, and goes on",
  function()
    local path = t.write [[
      return {test = {bad = {A = "192.0.2"}, circle = {CNAME = "circle.test"},
                      good = {A = "192.0.2.1"}}}
    ]]
    local p, address = zone(path)
    os.remove(path)
    assert.equal("SERVFAIL", (dig(address, "bad.test")))
    p:expect "\nbad%.test, A: [^\n]*IPv4 address[^\n]*\n$"
    assert.equal("SERVFAIL", (dig(address, "+ignore circle.test")))
    p:expect "\ncircle%.test, A: [^\n]*the answer is too long\n$"
    assert.equal("NOERROR", (dig(address, "good.test")))
    ends(p)
  end)

  it("says in a line that it cannot read them", function()
    local path = t.path()
    local address = "examples/dns_zone.lua 127.0.0.1:0 "
    fails(start(address .. path),
          ("bad zones: cannot open %s: No such file or directory"):format(path))
    for code, message in pairs {
      ["return {test = {www = {FOO = 'a'}}}"] = "www%.test: unknown type FOO",
      ["return {"] = path .. ":1: unexpected symbol near <eof>",
      ["return 5"] = "[^\n]*table expected, got number[^\n]*",
      ["return {test = {www = 5}}"] = "[^\n]*table expected, got number[^\n]*",
      ["return {{}}"] = "[^\n]*index a number value[^\n]*",
      ["os.exit(0)"] = path .. ":1: [^\n]*nil value %(global 'os'%)",
      [("").dump(function() return {} end)] =
        "attempt to load a binary chunk [^\n]*",
    } do
      t.write(code, path)
      local text, status = start(address .. path):finish()
      assert.equal(1, status)
      assert.matches("^bad zones: " .. message .. "\n$", text)
    end
    os.remove(path)
  end)

  it("says in a line that it cannot listen", function()
    local _, address = zone()
    fails(start("examples/dns_zone.lua " .. address),
          ("cannot listen on %s: Address already in use"):format(address))
  end)
end)

describe("Example resolve", function()
  after_each(process.killall)

  it("prints addresses and names, in the order in which they come", function()
    local _, address = zone()
    local text, status = resolve("-s " .. address
      .. " WWW.example.test 192.0.2.25 example.test")
    assert.equal(0, status, text)
    local lines = {}
    for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
    table.sort(lines)
    local addresses = "192.0.2.1 192.0.2.2 2001:db8::1"
    assert.same({"192.0.2.25\tmail.example.test",
                 "WWW.example.test\t" .. addresses,
                 "example.test\t" .. addresses}, lines)
  end)

  it("knows this machine without a server", function()
    local text, status = resolve "localhost"
    assert.equal(0, status, text)
    assert.matches("^localhost\t127%.0%.0%.1[ :1]*\n$", text)
  end)

  it("says on standard error what is not found, and fails", function()
    local _, address = zone()
    local command = ("%s examples/resolve.lua -s %s example.test"):format(lua,
                                                                      address)
    assert.equal("example.test\t192.0.2.1 192.0.2.2 2001:db8::1\nstatus 1\n",
      shell(command .. " a.example.test 2>/dev/null; echo status $?"))
    for what, message in pairs {
      ["a.example.test"] = "a%.example%.test: name does not exist",
      ["192.0.2.77"] = "192%.0%.2%.77: name does not exist",
      ["2001:db8::1"] = "2001:db8::1: [^\n]*",          -- refused
      ["example.org"] = "example%.org: [^\n]*",
      ["a..b"] = "[^\n]*this is not a name",
    } do
      local text, status = resolve("-s " .. address .. " " .. what)
      assert.equal(1, status)
      assert.matches("^" .. message .. "\n$", text)
    end
  end)

  it("says how to start it", function()
    local usage = "usage: resolve.lua [-s server] host or address ..."
    fails(start "examples/resolve.lua", usage)
    fails(start "examples/resolve.lua -s 127.0.0.1", usage)
    fails(start "examples/resolve.lua -s localhost example.test",
          "localhost is not the address of a server")
  end)
end)

describe("Example dns_cache", function()
  before_each(t.start)
  after_each(function()
    process.killall()
    t.finish()
  end)

  -- A server of ours that answers by f, a cache, and clients of it.
  local function around(f, script)
    local base = t.base()
    local server = assert(base:dns_server("127.0.0.1:0", f))
    local p, address = cache(server:sockname(), script)
    return base, p, function()
      return base:dns {nameservers = {address}, hosts = false, attempts = 1,
                       timeout = 8 * t.slow}
    end
  end

  local INET = {family = "inet", search = false}

  -- The address of a name, and its ttl; or nil, and why there is none.
  local function ask(base, client, name)
    local result
    client():resolve(name, INET, function(_, list, ...)
      result = table.pack(list and list[1], ...)
    end)
    t.runtill(base, function() return result end)
    return table.unpack(result, 1, result.n)
  end

  it("answers as the servers do, and from memory without them", function()
    local z, upstream = zone()
    local p, address = cache(upstream)
    local flags = "qr rd ra"
    for i = 1, 2 do
      for question, expected in pairs {
        ["WWW.example.test"] = {"NOERROR", flags,
          "WWW.example.test. IN A 192.0.2.1\nWWW.example.test. IN A 192.0.2.2"},
        ["example.TEST AAAA"] = {"NOERROR", flags,
                                 "example.TEST. IN AAAA 2001:db8::1"},
        ["mail.example.test AAAA"] = {"NOERROR", flags, ""},
        ["-x 192.0.2.25"] = {"NOERROR", flags,
          "25.2.0.192.in-addr.arpa. IN PTR mail.example.test."},
        ["a.example.test"] = {"NXDOMAIN", flags, ""},
        ["-x 192.0.2.77"] = {"NXDOMAIN", flags, ""},
      } do
        local status, bits, records = dig(address, question)
        records = records:gsub(" %d+ IN", " IN")
        assert.same(expected, {status, bits, records})
      end
      if i == 1 then ends(z) end
    end
    assert.equal("6 hits, 6 misses", counts(p))
    ends(p)
  end)

  it("stands between the zone and the other tool", function()
    local _, upstream = zone()
    local p, address = cache(upstream)
    for _ = 1, 2 do
      local text, status = resolve("-s " .. address .. " www.example.test")
      assert.equal("www.example.test\t192.0.2.1 192.0.2.2 2001:db8::1\n", text)
      assert.equal(0, status)
    end
    assert.equal("2 hits, 2 misses", counts(p))
    local base = t.base()
    local dns = base:dns {nameservers = {address}, hosts = false,
                          timeout = 8 * t.slow}
    dns:reverse("192.0.2.1", t.expect(function(_, name, ttl)
      assert.equal("example.test", name)
      assert.equal(60, ttl)
    end))
    dns:resolve("WWW.example.test", INET, t.expect(function(_, list, ttl)
      assert.same({"192.0.2.1", "192.0.2.2"}, list)
      assert.is_true(ttl <= 60)
    end))
    t.run(base)
    ends(p, "TERM")
  end)

  it("answers that a server has failed, and for other types nothing",
  function()
    local _, upstream = zone()
    local p, address = cache(upstream)
    assert.same({"SERVFAIL", "qr rd ra", ""}, {dig(address, "example.org")})
    for _, question in ipairs {"example.test TXT", "example.test PTR",
                               "1.0.0.ip6.arpa PTR", "1.in-addr.arpa PTR",
                               "300.2.0.192.in-addr.arpa PTR"} do
      assert.same({"NOTIMP", "qr rd", ""}, {dig(address, question)})
    end
    ends(p)
  end)

  it("asks once for all who ask at the same time", function()
    local query
    local base, p, client = around(t.expect(function(q) query = q end))
    local n = 0
    for _ = 1, 3 do
      client():resolve("a.test", INET, t.expect(function(_, list)
        assert.same({"192.0.2.1"}, list)
        n = n + 1
      end))
    end
    t.runtill(base, function() return query end)
    assert.equal("2 hits, 1 misses", counts(p))
    query:add_a_reply(nil, "192.0.2.1", 60):respond()
    t.runtill(base, function() return n == 3 end)
    ends(p)
  end)

  it("knows an answer for as long as it lasts", function()
    local asked = 0
    local base, p, client = around(function(q)
      asked = asked + 1
      local ttl = q:name():lower() == "a.test" and 2 or 0
      q:add_a_reply(nil, "192.0.2.1", ttl):respond()
    end)
    for i = 1, 3 do
      assert.same({"192.0.2.1", 0}, {ask(base, client, "b.test")})
      assert.equal(i, asked)
    end
    asked = 0
    assert.same({"192.0.2.1", 2}, {ask(base, client, "a.test")})
    local begin, least = libevent.gettime_monotonic(), 2
    repeat
      base:loopexit(0.02):dispatch()
      local address, ttl = ask(base, client, "a.test")
      assert.equal("192.0.2.1", address)
      least = math.min(least, ttl)
    until asked > 1
    local seconds = libevent.gettime_monotonic() - begin
    assert.equal(1, least)
    assert.is_true(seconds > 1 and seconds < 2 * t.slow + 1, seconds)
    ends(p)
  end)

  it("remembers no failure, and no name that is none", function()
    local result = "serverfailed"
    local base, p, client = around(function(q)
      if q:type() == "PTR" then
        q:add_reply("answer", nil, "PTR", 1, 60, "\4a..b\0")
      end
      q:respond(result)
    end)
    local _, _, code = ask(base, client, "a.test")
    assert.equal("serverfailed", code)
    result = "notexist"
    _, _, code = ask(base, client, "a.test")
    assert.equal("notexist", code)
    result = "none"
    code = nil
    client():reverse("192.0.2.1", function(_, _, _, why) code = why end)
    t.runtill(base, function() return code end)
    assert.equal("serverfailed", code)
    ends(p)
  end)

  it("turns the name of an IPv6 address round", function()
    local name = ("1." .. ("0."):rep(22) .. "a.8.b.d.0.1.0.0.2.ip6.arpa")
    local base, p, client = around(function(q)
      assert.equal(name, q:name():lower())
      q:add_ptr_reply(nil, "six.test", 60):respond()
    end)
    local found
    client():reverse("2001:db8:a000::1", function(_, six) found = six end)
    t.runtill(base, function() return found end)
    assert.equal("six.test", found)
    ends(p)
  end)

  it("forgets the oldest when there are many", function()
    local path = t.write((t.contents "examples/dns_cache.lua"
                          :gsub("SIZE = %d+", "SIZE = 2")))
    local names = {}
    local base, p, client = around(function(q)
      names[#names + 1] = q:name():lower()
      q:add_a_reply(nil, "192.0.2.1", 600):respond()
    end, path)
    for name in ("a b a c b d c b e d a"):gmatch "%a" do
      ask(base, client, name .. ".test")
    end
    assert.equal("a b c d e a", (table.concat(names, " "):gsub("%.test", "")))
    os.remove(path)
    ends(p)
  end)

  it("knows this machine without a server", function()
    local p, address = cache ""
    assert.same({"NOERROR", "qr rd ra", "localhost. 86400 IN A 127.0.0.1"},
                {dig(address, "localhost")})
    ends(p)
  end)

  it("says in a line that it cannot listen", function()
    local _, address = cache ""
    fails(start("examples/dns_cache.lua " .. address),
          ("cannot listen on %s: Address already in use"):format(address))
  end)
end)
