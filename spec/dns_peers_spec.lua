--- Others that speak DNS, as real processes on the loopback: dig asks our
--- server, and dnsmasq answers our resolver.

local lfs = require "lfs"
local process = require "spec.process"
local d = require "spec.dns"
local t = require "spec.helper"

-- The sanitizers are not theirs.
local PLAIN = "env -u LD_PRELOAD "

describe("dig", function()
  before_each(t.start)
  after_each(function()
    process.killall()
    t.finish()
  end)

  --- A base and a server with this callback.
  local function start(cb, address)
    local base = t.base()
    return base, assert(base:dns_server(address or "127.0.0.1:0", cb))
  end

  --- What dig prints when it asks the server, without the line's end, and its
  --- exit status.
  local function dig(server, arguments)
    local base = server:base()
    local host, port = server:sockname():match "^%[?(.-)%]?:(%d+)$"
    local tick = base:timer(function() end, "persist"):add(0.005)
    local p = process.launch((PLAIN .. "dig @%s -p %s +tries=1 +time=%d %s")
      :format(host, port, 5 * t.slow, arguments), "</dev/null")
    t.runtill(base, function()
      return (lfs.attributes(p.name .. ".status", "size") or 0) > 0
    end)
    tick:close()
    local text, status = p:finish()
    return text:gsub("%s+$", ""), status
  end

  --- The same with all runs of spaces as one.
  local function answer(server, arguments)
    return (dig(server, arguments .. " +noall +answer"):gsub("[ \t]+", " "))
  end

  --- A server that knows www.example, and a few things of it.
  local function zone(q)
    local name, type = q:name():lower(), q:type()
    if name == "www.example" then
      if type == "A" then
        q:add_a_reply(nil, {"192.0.2.1", "192.0.2.2"}, 60)
      elseif type == "AAAA" then
        q:add_aaaa_reply(nil, "2001:db8::1", 61)
      elseif type == "TXT" then
        q:add_reply("answer", nil, "TXT", 1, 62, "\5hello\5world")
      elseif type == "MX" then
        q:add_reply("answer", nil, "MX", 1, 63,
          "\0\10" .. d.labels "mx.example")
        q:add_a_reply("mx.example", "192.0.2.3", 64)
        q:add_reply("additional", "mx.example", "A", 1, 64, d.ip "192.0.2.3")
      elseif type == "SRV" then
        q:add_reply("answer", nil, "SRV", 1, 65,
          string.pack(">I2I2I2", 1, 2, 80) .. d.labels "a.example")
      elseif type == 65 then
        q:add_reply("answer", nil, 65, 1, 66, "\0\1\0")
      else
        q:add_reply("authority", "example", "SOA", 1, 67, d.labels "ns.example"
          .. d.labels "me.example" .. string.pack(">I4I4I4I4I4", 1, 2, 3, 4, 5))
      end
      q:set_flags "aa":respond()
    elseif name == "alias.example" then
      q:add_cname_reply(nil, "www.example", 60)
      q:add_a_reply("www.example", "192.0.2.1", 60)
      q:respond()
    elseif type == "PTR" then
      q:add_ptr_reply(name:match "ip6" and "2001:db8::1" or "192.0.2.1",
        "www.example", 90)
      q:respond()
    else
      q:respond(name:match "^(%a+)%.error$" or "notexist")
    end
  end

  it("gets addresses of both families", function()
    local base <close>, server = start(zone)
    assert.equal("192.0.2.1\n192.0.2.2", (dig(server, "+short www.example")))
    assert.equal("www.example. 60 IN A 192.0.2.1\n"
      .. "www.example. 60 IN A 192.0.2.2", answer(server, "www.example A"))
    assert.equal("www.example. 61 IN AAAA 2001:db8::1",
      answer(server, "www.example AAAA"))
    assert.equal(1, base:num_events())
    server:close()
    d.idle(base)
  end)

  it("gets names, and the way to them", function()
    local _ <close>, server = start(zone)
    assert.equal("alias.example. 60 IN CNAME www.example.\n"
      .. "www.example. 60 IN A 192.0.2.1", answer(server, "alias.example"))
    assert.equal("1.2.0.192.in-addr.arpa. 90 IN PTR www.example.",
      answer(server, "-x 192.0.2.1"))
    assert.equal("www.example.", (dig(server, "+short -x 2001:db8::1")))
    server:close()
  end)

  it("gets records of other types, in their sections", function()
    local _ <close>, server = start(zone)
    assert.equal('www.example. 62 IN TXT "hello" "world"',
      answer(server, "www.example TXT"))
    assert.equal("1 2 80 a.example.", (dig(server, "+short www.example SRV")))
    local text = dig(server, "www.example MX"):gsub("[ \t]+", " ")
    assert.matches("ANSWER SECTION:\nwww%.example%. 63 IN MX 10 mx%.example%.\n"
      .. "mx%.example%. 64 IN A 192%.0%.2%.3\n", text)
    assert.matches("ADDITIONAL SECTION:\nmx%.example%. 64 IN A 192%.0%.2%.3",
      text)
    text = dig(server, "www.example NS"):gsub("[ \t]+", " ")
    assert.matches("status: NOERROR", text)
    assert.matches("ANSWER: 0, AUTHORITY: 1", text)
    assert.matches("AUTHORITY SECTION:\nexample%. 67 IN SOA ns%.example%. "
      .. "me%.example%. 1 2 3 4 5\n", text)
    assert.matches("^www%.example%. 66 IN %S+ .*",
      answer(server, "www.example TYPE65"))
    server:close()
  end)

  it("gets each error", function()
    local _ <close>, server = start(zone)
    for word, status in pairs {notexist = "NXDOMAIN", refused = "REFUSED",
      serverfailed = "SERVFAIL", notimpl = "NOTIMP", format = "FORMERR",
      none = "NOERROR"} do
      assert.matches("status: " .. status, (dig(server, word .. ".error")))
    end
    server:close()
  end)

  it("sees the flags", function()
    local flags
    local _ <close>, server = start(function(q)
      q:set_flags(flags):respond()
    end)
    for set, seen in pairs {[""] = "qr rd", aa = "qr aa rd", ra = "qr rd ra",
                            ["aa|ra"] = "qr aa rd ra"} do
      flags = set
      assert.matches("flags: " .. seen .. ";", (dig(server, "x.example")))
    end
    flags = "aa"
    assert.matches("flags: qr aa;", (dig(server, "+norecurse x.example")))
    server:close()
  end)

  it("keeps the case in which it asks", function()
    local asked
    local _ <close>, server = start(function(q)
      asked = q:name()
      zone(q)
    end)
    assert.matches("^wWw%.eXample%.", answer(server, "wWw.eXample"))
    assert.equal("wWw.eXample", asked)
    server:close()
  end)

  it("sees what did not fit in its datagram", function()
    local _ <close>, server = start(function(q)
      for i = 1, 60 do q:add_a_reply(nil, "192.0.2." .. i, 60) end
      q:respond()
    end)
    assert.matches("flags: qr tc rd;",
      (dig(server, "+ignore +noedns www.example")))
    assert.matches("[Tt]runcated, retrying in TCP",
      (dig(server, "+noedns www.example")))
    server:close()
  end)

  it("asks for other classes, and for the root", function()
    local seen = {}
    local _ <close>, server = start(function(q)
      seen[#seen + 1] = ("%s %d %s"):format(q:name(), q:class(), q:type())
      q:add_reply("answer", nil, "TXT", q:class(), 0, "\5ours!")
      q:respond()
    end)
    assert.equal('"ours!"', (dig(server, "+short version.bind CH TXT")))
    assert.equal('"ours!"', (dig(server, "+short . TXT")))
    assert.same({"version.bind 3 TXT", " 1 TXT"}, seen)
    server:close()
  end)

  it("asks by IPv6", function()
    local _ <close>, server = start(zone, "[::1]:0")
    assert.equal("192.0.2.1\n192.0.2.2", (dig(server, "+short www.example")))
    server:close()
  end)

  it("hears of a callback that fails", function()
    local base <close>, server = start(function() error "oh no" end)
    base:set_error_cb(t.expect())
    assert.matches("status: SERVFAIL", (dig(server, "www.example")))
    server:close()
  end)

  it("gets its answer when there is one", function()
    local base <close>, server = start(print)
    server:set_cb(t.expect(function(q)
      base:timer(function() zone(q) end):add(0.02)
    end))
    assert.equal("2001:db8::1", (dig(server, "+short www.example AAAA")))
    server:close()
  end)

  it("hears nothing of a query that is dropped", function()
    local _ <close>, server = start(t.expect(function(q) q:drop() end))
    local text, status = dig(server, "+time=1 www.example")
    assert.matches("timed out", text)
    assert.equal(9, status)
    server:close()
  end)
end)

describe("dnsmasq", function()
  local files = {}

  before_each(t.start)
  after_each(function()
    process.killall()
    for i = #files, 1, -1 do os.remove(table.remove(files, i)) end
    t.finish()
  end)

  --- Starts it to ask 'upstream', if any, for names in up.test; returns its
  --- address, and the process. A port that is free may be taken in between.
  local function dnsmasq(upstream)
    local lines = {}
    for i = 1, 3 do lines[i] = ("192.0.2.1%d several.example\n"):format(i) end
    for i = 1, 50 do
      lines[#lines + 1] = ("192.0.2.%d many.example\n"):format(i)
    end
    local hosts = t.write(table.concat(lines))
    files[#files + 1] = hosts
    for _ = 1, 20 do
      local s, address = d.socket()
      s:close()
      local p = process.launch(table.concat({
        PLAIN .. "dnsmasq --no-daemon --no-resolv --no-hosts",
        "--conf-file=/dev/null", "--listen-address=127.0.0.1",
        "--bind-interfaces --user=root --pid-file= --local=/example/",
        "--port=" .. address:match "%d+$", "--local-ttl=77",
        "--addn-hosts=" .. hosts,
        "--host-record=both.example,192.0.2.1,2001:db8::1",
        "--host-record=four.example,192.0.2.4",
        "--host-record=six.example,2001:db8::6",
        "--cname=alias.example,both.example",
        "--ptr-record=9.2.0.192.in-addr.arpa,nine.example",
        "--txt-record=text.example,hello",
        upstream and "--server=/up.test/" .. upstream:gsub(":", "#") or ""},
        " "), "</dev/null")
      process.wait(function()
        return p:output():match "read [^\n]+ %d+ names"
               or p:output():match "already in use"
      end)
      if not p:output():match "already in use" then
        p:expect "read [^\n]+ %d+ names"
        return address, p
      end
      p:finish()
    end
    error "no port is free"
  end

  it("tells addresses of both families, and others' names", function()
    local base <close> = t.base()
    local dns = d.resolver(base, (dnsmasq()))
    local addresses, ttl = d.ask(dns, "both.example")
    assert.same({"192.0.2.1", "2001:db8::1"}, addresses)
    assert.equal(77, ttl)
    assert.same({"192.0.2.1", "2001:db8::1"}, (d.ask(dns, "alias.example")))
    assert.same({"192.0.2.4"}, (d.ask(dns, "four.example")))
    assert.same({"2001:db8::6"}, (d.ask(dns, "six.example")))
    assert.same({"192.0.2.1"}, (d.ask(dns, "BOTH.Example", {family = "inet"})))
    assert.same({"192.0.2.1", "2001:db8::1"}, (d.ask(dns, "both.example.")))
    d.idle(base)
  end)

  it("tells several addresses of a name", function()
    local base <close> = t.base()
    local dns = d.resolver(base, (dnsmasq()))
    local addresses = d.ask(dns, "several.example")
    table.sort(addresses)
    assert.same({"192.0.2.11", "192.0.2.12", "192.0.2.13"}, addresses)
    d.idle(base)
  end)

  it("tells the names of addresses", function()
    local base <close> = t.base()
    local dns = d.resolver(base, (dnsmasq()))
    assert.equal("nine.example", (d.ask(dns, "192.0.2.9", nil, "reverse")))
    assert.equal("six.example", (d.ask(dns, "2001:db8::6", nil, "reverse")))
    d.idle(base)
  end)

  it("tells what there is not", function()
    local base <close> = t.base()
    local dns = d.resolver(base, (dnsmasq()))
    assert.equal("notexist", d.code(dns, "absent.example"))
    assert.equal("nodata", d.code(dns, "four.example", {family = "inet6"}))
    assert.equal("nodata", d.code(dns, "text.example"))
    assert.equal("refused", d.code(dns, "elsewhere.test"))
    d.idle(base)
  end)

  it("searches its domain", function()
    local base <close> = t.base()
    local dns = d.resolver(base, (dnsmasq()),
                           {search = {"absent.example", "example"}})
    assert.same({"192.0.2.4"}, (d.ask(dns, "four")))
    d.idle(base)
  end)

  it("has more to say than fits in a datagram", function()
    local base <close> = t.base()
    local dns = d.resolver(base, (dnsmasq()))
    assert.equal("truncated", d.code(dns, "many.example"))
    d.idle(base)
  end)

  it("asks a server of ours, with the case that our resolver had", function()
    local base <close> = t.base()
    local asked
    local server = base:dns_server("127.0.0.1:0", function(q)
      local name = q:name():lower()
      asked = q:name()
      if name == "www.up.test" and q:type() == "A" then
        q:add_cname_reply(nil, "real.up.test", 20)
        q:add_a_reply("real.up.test", {"192.0.2.1", "192.0.2.2"}, 20)
      elseif name == "one.up.test" and q:type() == "AAAA" then
        q:add_aaaa_reply(nil, "2001:db8::1", 20)
      elseif q:type() == "MX" then
        q:drop()
        return
      end
      q:set_flags "ra"
      q:respond(name:match "^(%a+)%.error" or "none")
    end)
    local dns = d.resolver(base, (dnsmasq(server:sockname())),
                           {attempts = 1, timeout = 5 * t.slow})
    local addresses = d.ask(dns, "www.up.test")
    table.sort(addresses)
    assert.same({"192.0.2.1", "192.0.2.2"}, addresses)
    assert.equal("www.up.test", asked:lower())
    assert.same({"2001:db8::1"}, (d.ask(dns, "one.up.test")))
    for _, code in ipairs {"notexist", "serverfailed", "refused"} do
      assert.equal(code, d.code(dns, code .. ".error.up.test"))
    end
    assert.equal("nodata", d.code(dns, "none.error.up.test"))
    server:close()
    d.idle(base)
  end)

  it("that has gone is asked in vain, and another one answers", function()
    local base <close> = t.base()
    local first, p = dnsmasq()
    local second = dnsmasq()
    local dns = d.resolver(base, {first, second}, {timeout = 0.05 * t.slow})
    local options = {family = "inet"}
    assert.same({"192.0.2.1"}, (d.ask(dns, "both.example", options)))
    p:stop "TERM"
    for _ = 1, 5 do
      assert.same({"192.0.2.1"}, (d.ask(dns, "both.example", options)))
    end
    d.idle(base)
  end)

  it("answers a thousand look-ups at once", function()
    local base <close> = t.base()
    local dns = d.resolver(base, (dnsmasq()), {timeout = 5 * t.slow})
    local n = 1000 // t.slow
    for i = 1, n do
      dns:resolve(i % 2 == 0 and "both.example" or i .. ".example",
        t.expect(function(_, addresses, _, code)
          if i % 2 == 0 then
            assert.equal(2, #addresses)
          else
            assert.equal("notexist", code)
          end
        end))
    end
    d.idle(base)
  end)
end)
