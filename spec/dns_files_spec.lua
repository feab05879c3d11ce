--- The files of a Dns: hosts and resolv.conf, and what comes of it when they
--- change.

local lfs = require "lfs"
local d = require "spec.dns"
local t = require "spec.helper"

local ENOENT, EACCES, EISDIR = 2, 13, 21

local paths

--- A file of this text; it is removed after the test.
local function file(text, path)
  path = t.write(text, path)
  paths[path] = true
  return path
end

--- Writes another text to a file, so that it is seen to have changed.
local function change(path, text)
  t.write(text, path)
  lfs.touch(path, os.time() - math.random(1000, 1000000))
end

local function begin()
  t.start()
  paths = {}
end

local function finish()
  for path in pairs(paths) do os.remove(path) end
  t.finish()
end

describe("a hosts file", function()
  before_each(begin)
  after_each(finish)

  --- A base and a Dns with a hosts file of this text and nobody to ask.
  local function hosts(text, options)
    local base = t.base()
    local path = file(text)
    local all = {nameservers = {}, hosts = path}
    for name, value in pairs(options or {}) do all[name] = value end
    return base, assert(base:dns(all)), path
  end

  it("is as good as a server", function()
    local base <close>, dns = hosts [[
# a comment
192.0.2.1 one.example one
	192.0.2.2	two.example   two # and so on
2001:db8::1 one.example
  # another one
192.0.2.3 one.example

fe80::1%lo link.example
192.0.2.4
192.0.2.5 last.example]]
    for name, wanted in pairs {
      ["one.example"] = {"192.0.2.1", "192.0.2.3", "2001:db8::1"},
      one = {"192.0.2.1"}, two = {"192.0.2.2"},
      ["two.example"] = {"192.0.2.2"}, ["last.example"] = {"192.0.2.5"},
      ["one.example."] = {"192.0.2.1", "192.0.2.3", "2001:db8::1"},
    } do
      local got, ttl, more = d.ask(dns, name)
      assert.same(wanted, got)
      assert.is_nil(ttl)
      assert.is_nil(more)
    end
    for _, name in ipairs {"and", "#", "a", "comment", "three.example"} do
      assert.equal("noserver", d.code(dns, name))
    end
    d.idle(base)
  end)

  it("is read in any case", function()
    local _ <close>, dns = hosts "192.0.2.1 One.EXAMPLE\n"
    for _, name in ipairs {"one.example", "ONE.example", "oNe.ExAmPlE"} do
      assert.same({"192.0.2.1"}, (d.ask(dns, name)))
    end
  end)

  it("gives addresses with a port", function()
    local _ <close>, dns = hosts "192.0.2.1 one\n2001:db8::1 one\n"
    assert.same({"192.0.2.1:80", "[2001:db8::1]:80"},
      (d.ask(dns, "one", {port = 80})))
  end)

  it("has no data of the other family, and nobody is asked", function()
    local _ <close>, dns = hosts "192.0.2.1 four\n::1 six\n"
    assert.equal("nodata", d.code(dns, "four", {family = "inet6"}))
    assert.equal("nodata", d.code(dns, "six", {family = "inet"}))
    assert.same({"192.0.2.1"}, (d.ask(dns, "four", {family = "inet"})))
    assert.same({"::1"}, (d.ask(dns, "six", {family = "inet6"})))
  end)

  it("comes before the servers, which know the others", function()
    local base <close> = t.base()
    local server, counts = d.zone(base, {
      one = {A = "192.0.2.9"}, two = {A = "192.0.2.8"}})
    local dns = assert(base:dns {nameservers = {server:sockname()},
                                 hosts = file "192.0.2.1 one\n"})
    assert.same({"192.0.2.1"}, (d.ask(dns, "one")))
    assert.same({"192.0.2.8"}, (d.ask(dns, "two")))
    assert.same({two = 2}, counts)
    server:close()
    d.idle(base)
  end)

  it("leaves out lines that have no address", function()
    local _ <close>, dns = hosts(table.concat {
      "one 192.0.2.1\n", "192.0.2.256 two\n", "192.0.2 three\n",
      "192.0.2.1:80 four\n", "[::1] five\n", "\0 192.0.2.1 six\n",
      ("x"):rep(10000) .. " seven\n", "192.0.2.2 " .. ("y"):rep(10000)
      .. " eight\n", "\xff\xfe\n", "192.0.2.3 nine"})
    for _, name in ipairs {"one", "two", "three", "four", "five", "six",
                           "seven"} do
      assert.equal("noserver", d.code(dns, name), name)
    end
    assert.same({"192.0.2.2"}, (d.ask(dns, "eight")))
    assert.same({"192.0.2.3"}, (d.ask(dns, "nine")))
  end)

  it("may have lines as on other systems", function()
    local _ <close>, dns = hosts "192.0.2.1 one\r\n192.0.2.2 two\r\n"
    assert.same({"192.0.2.1"}, (d.ask(dns, "one")))
    assert.same({"192.0.2.2"}, (d.ask(dns, "two")))
  end)

  it("gives 32 addresses of a family at most", function()
    local lines = {}
    for i = 1, 100 do lines[i] = ("192.0.2.%d many\n"):format(i) end
    local _ <close>, dns = hosts(table.concat(lines) .. "::1 many\n")
    local addresses = d.ask(dns, "many")
    assert.equal(33, #addresses)
    assert.equal("192.0.2.32", addresses[32])
    assert.equal("::1", addresses[33])
  end)

  it("may be large", function()
    local lines = {}
    for i = 1, 20000 do
      lines[i] = ("10.0.%d.%d host%d.example\n"):format(i >> 8, i & 255, i)
    end
    local _ <close>, dns = hosts(table.concat(lines))
    assert.same({"10.0.78.32"}, (d.ask(dns, "host20000.example")))
  end)

  it("says what this machine is, but never more than that", function()
    for _, text in ipairs {"", "192.0.2.1 other\n"} do
      local _ <close>, dns = hosts(text)
      for _, name in ipairs {"localhost", "LOCALHOST", "localhost.",
                             "a.b.localhost"} do
        assert.same({"127.0.0.1", "::1"}, (d.ask(dns, name)))
      end
      assert.same({"::1"}, (d.ask(dns, "localhost", {family = "inet6"})))
      for _, name in ipairs {"xlocalhost", "localhost.x", "local"} do
        assert.equal("noserver", d.code(dns, name))
      end
    end
    local _ <close>, dns = hosts "192.0.2.1 localhost\n"
    assert.same({"192.0.2.1"}, (d.ask(dns, "localhost")))
  end)

  it("is not there, and localhost is", function()
    local base <close> = t.base()
    local dns = base:dns {nameservers = {}, hosts = false}
    assert.same({"127.0.0.1", "::1"}, (d.ask(dns, "localhost")))
    d.idle(base)
  end)

  it("is read again when it has changed", function()
    local base <close>, dns, path = hosts "192.0.2.1 one\n"
    assert.same({"192.0.2.1"}, (d.ask(dns, "one")))
    change(path, "192.0.2.2 one\n")
    assert.same({"192.0.2.2"}, (d.ask(dns, "one")))
    local other = file "192.0.2.3 one\n"
    os.rename(other, path)
    assert.same({"192.0.2.3"}, (d.ask(dns, "one")))
    os.remove(path)
    assert.same({"192.0.2.3"}, (d.ask(dns, "one")))
    file("192.0.2.4 two\n", path)
    assert.same({"192.0.2.4"}, (d.ask(dns, "two")))
    assert.equal("noserver", d.code(dns, "one"))
    d.idle(base)
  end)

  it("is another one from now on", function()
    local _ <close>, dns, path = hosts "192.0.2.1 one\n"
    assert.equal(dns, dns:load_hosts(file "192.0.2.2 two\n"))
    assert.equal("noserver", d.code(dns, "one"))
    assert.same({"192.0.2.2"}, (d.ask(dns, "two")))
    change(path, "192.0.2.3 two\n")
    assert.same({"192.0.2.2"}, (d.ask(dns, "two")))
    t.refused(ENOENT, dns:load_hosts(t.path()))
    t.refused(EISDIR, dns:load_hosts "/tmp")
    assert.same({"192.0.2.2"}, (d.ask(dns, "two")))
    t.raises("string expected", dns.load_hosts, dns)
  end)

  it("is forgotten", function()
    local _ <close>, dns, path = hosts "192.0.2.1 one\n192.0.2.2 localhost\n"
    assert.equal(dns, dns:clear_host_addresses())
    assert.equal("noserver", d.code(dns, "one"))
    assert.same({"127.0.0.1", "::1"}, (d.ask(dns, "localhost")))
    change(path, "192.0.2.3 one\n")
    assert.equal("noserver", d.code(dns, "one"))
    assert.equal(dns, dns:clear_host_addresses())
    assert.equal(dns, dns:load_hosts(path))
    assert.same({"192.0.2.3"}, (d.ask(dns, "one")))
  end)

  it("that is named and cannot be read is refused", function()
    local base <close> = t.base()
    t.refused(ENOENT, base:dns {nameservers = {}, hosts = t.path()})
    t.refused(EISDIR, base:dns {nameservers = {}, hosts = "/tmp"})
    collectgarbage()
    d.idle(base)
  end)
end)

describe("resolv.conf", function()
  before_each(begin)
  after_each(finish)

  --- A base and a Dns with a resolv.conf of this text.
  local function conf(text, options)
    local base = t.base()
    local path = file(text)
    local all = {resolv_conf = path, hosts = false}
    for name, value in pairs(options or {}) do all[name] = value end
    return base, assert(base:dns(all)), path
  end

  --- A server that knows no name.
  local function server(base)
    return d.raw(base, function(q, reply) reply(d.answer(q, nil, 3)) end)
  end

  --- The names that a server has been asked for, in their order.
  local function asked(s)
    local names = {}
    for i, q in ipairs(s.asked) do names[i] = q.name:lower() end
    return names
  end

  --- The line for a server, whose port no resolv.conf of others has.
  local function line(s)
    return "nameserver " .. s.address .. "\n"
  end

  it("says who is asked", function()
    local _ <close>, dns = conf [[
# a comment
; another one
nameserver 192.0.2.1
  nameserver	192.0.2.2 # the second
nameserver 2001:db8::1
nameserver fe80::1%lo
nameserver
nameserver localhost
nameserver 192.0.2.256
nameserver 192.0.2.1
#nameserver 192.0.2.3
nameservers 192.0.2.4
Nameserver 192.0.2.5
nameserver 192.0.2.6]]
    local servers = d.servers(dns)
    assert.equal("192.0.2.1:53", servers[1])
    assert.equal("192.0.2.2:53", servers[2])
    assert.equal("[2001:db8::1]:53", servers[3])
    assert.matches("^%[fe80::1%%%w+%]:53$", servers[4])
    assert.equal("192.0.2.6:53", servers[#servers])
  end)

  it("without a server means this machine", function()
    for _, text in ipairs {"", "search example\n", "nameserver x\n"} do
      local _ <close>, dns = conf(text)
      assert.same({"127.0.0.1:53"}, d.servers(dns))
    end
  end)

  it("may have lines as on other systems, and zero bytes", function()
    local _ <close>, dns = conf "nameserver 192.0.2.1\r\nnameserver 192.0.2.2\r"
    assert.same({"192.0.2.1:53", "192.0.2.2:53"}, d.servers(dns))
    local _ <close>, other = conf "nameserver 192.0.2.1\n\0\0nameserver ::1\n"
    assert.equal("192.0.2.1:53", d.servers(other)[1])
  end)

  it("says how, and in which domains", function()
    local base <close> = t.base()
    local s = server(base)
    local dns = assert(base:dns {hosts = false, resolv_conf = file(line(s) .. [[
search one.example .two.example three.example. ..
options ndots:2 timeout:1 attempts:1 rotate edns0 ndots
]])})
    assert.same({s.address}, d.servers(dns))
    d.ask(dns, "a.b", {family = "inet"})
    assert.same({"a.b.one.example", "a.b.two.example", "a.b.three.example",
                 "a.b"}, asked(s))
    s:close()
    d.idle(base)
  end)

  it("has the domains of its last line of them", function()
    for text, wanted in pairs {
      ["search a b\ndomain c d"] = {"x.c", "x"},
      ["domain c\nsearch a b"] = {"x.a", "x.b", "x"},
      ["search a\nsearch b\n"] = {"x.b", "x"},
      ["domain a b\n"] = {"x.a", "x"},
      ["search a b\nsearch"] = {"x"},
      ["search a b\ndomain"] = {"x"},
    } do
      local base <close> = t.base()
      local s = server(base)
      local dns = assert(base:dns {hosts = false,
                                   resolv_conf = file(line(s) .. text)})
      d.ask(dns, "x", {family = "inet"})
      assert.same(wanted, asked(s))
      s:close()
      d.idle(base)
    end
  end)

  it("says how often", function()
    for text, wanted in pairs {["attempts:2"] = 2, ["attempts:5"] = 5,
                               ["attempts:99"] = 5, ["attempts:0"] = 3,
                               ["attempts:x"] = 3} do
      local base <close> = t.base()
      local s = d.raw(base)
      local dns = assert(base:dns {hosts = false, timeout = 0.005 * t.slow,
        resolv_conf = file(line(s) .. "options " .. text)})
      assert.equal("timeout", d.code(dns, "x.", {family = "inet"}))
      assert.equal(wanted, #s.asked)
      s:close()
      d.idle(base)
    end
  end)

  it("says how long", function()
    local base <close> = t.base()
    local s = d.raw(base)
    local dns = assert(base:dns {hosts = false,
      resolv_conf = file(line(s) .. "options timeout:1 attempts:1")})
    local started = base:gettime_monotonic()
    assert.equal("timeout", d.code(dns, "x.", {family = "inet"}))
    local took = base:gettime_monotonic() - started
    assert.is_true(took > 0.9 and took < 2 * t.slow)
    s:close()
    d.idle(base)
  end)

  it("has no say in what the script says", function()
    local base <close> = t.base()
    local s = server(base)
    local path = file [[
nameserver 192.0.2.1
search one.example
options ndots:3 timeout:30 attempts:5
]]
    local silent, address = d.socket()
    local dns = assert(base:dns {hosts = false, resolv_conf = path,
      nameservers = {s.address}, search = {"two.example"}, ndots = 1,
      timeout = 0.01 * t.slow, attempts = 2})
    for _ = 1, 2 do
      assert.same({s.address}, d.servers(dns))
      s.asked = {}
      d.ask(dns, "x", {family = "inet"})
      d.ask(dns, "x.y", {family = "inet"})
      assert.same({"x.two.example", "x", "x.y", "x.y.two.example"}, asked(s))
      assert.equal(dns, dns:resolv_conf_parse(path))
    end
    dns:clear_nameservers_and_suspend()
    dns:nameserver_ip_add(address):resume()
    assert.equal("timeout", d.code(dns, "x"))
    s:close()
    silent:close()
    d.idle(base)
  end)

  it("is read again when it has changed", function()
    local base <close> = t.base()
    local one, two = server(base), server(base)
    local path = file(line(one) .. "search a\n")
    local dns = assert(base:dns {hosts = false, resolv_conf = path})
    d.ask(dns, "x", {family = "inet"})
    assert.same({"x.a", "x"}, asked(one))
    change(path, line(two) .. "search b\noptions ndots:0\n")
    d.ask(dns, "x", {family = "inet"})
    assert.same({"x", "x.b"}, asked(two))
    assert.same({two.address}, d.servers(dns))
    os.remove(path)
    d.ask(dns, "y", {family = "inet"})
    file(line(one), path)
    d.ask(dns, "z.y", {family = "inet"})
    assert.equal("z.y", asked(one)[3])
    assert.equal(4, #two.asked)
    one:close()
    two:close()
    d.idle(base)
  end)

  it("is read again when nobody is being asked, and no sooner", function()
    local base <close> = t.base()
    local one, two = d.raw(base), server(base)
    local path = file(line(one))
    local dns = assert(base:dns {hosts = false, resolv_conf = path})
    local request = dns:resolve("x", {family = "inet"}, t.expect())
    t.runtill(base, function() return #one.asked > 0 end)
    change(path, line(two))
    dns:resolve("y", {family = "inet"}, t.expect()):cancel()
    assert.same({one.address}, d.servers(dns))
    request:cancel()
    t.turns(base, 3)
    d.ask(dns, "z.", {family = "inet"})
    assert.same({two.address}, d.servers(dns))
    assert.same({"z"}, asked(two))
    one:close()
    two:close()
    d.idle(base)
  end)

  it("is another one from now on, also while somebody is asked", function()
    local base <close> = t.base()
    local one, two = d.raw(base), server(base)
    local dns = assert(base:dns {hosts = false, resolv_conf = file(line(one))})
    local got, cb = d.outcome()
    dns:resolve("x", {search = false, family = "inet"}, cb)
    t.runtill(base, function() return #one.asked > 0 end)
    assert.equal(dns, dns:resolv_conf_parse(file(line(two))))
    t.runtill(base, function() return got.n end)
    assert.equal("notexist", got[3])
    assert.same({"x"}, asked(two))
    t.refused(ENOENT, dns:resolv_conf_parse(t.path()))
    t.refused(EISDIR, dns:resolv_conf_parse "/tmp")
    t.raises("string expected", dns.resolv_conf_parse, dns)
    assert.same({two.address}, d.servers(dns))
    one:close()
    two:close()
    d.idle(base)
  end)

  it("that is named and cannot be read is refused", function()
    local base <close> = t.base()
    t.refused(ENOENT, base:dns {resolv_conf = t.path(), hosts = false})
    t.refused(EISDIR, base:dns {resolv_conf = "/tmp", hosts = false})
    t.refused(ENOENT, base:dns {resolv_conf = t.path(), hosts = false,
                                nameservers = {"127.0.0.1"}})
    collectgarbage()
    d.idle(base)
  end)

  it("that may not be read is refused", function()
    local path = file "nameserver 192.0.2.1\n"
    os.execute("chmod 0 " .. path)
    local readable = io.open(path)
    if readable then            -- to root all files are open
      readable:close()
      return
    end
    local base <close> = t.base()
    t.refused(EACCES, base:dns {resolv_conf = path, hosts = false})
  end)

  it("may be of any bytes", function()
    math.randomseed(7)
    local words = {"nameserver ", "search ", "options ", "ndots:", "\n", "::1",
                   "192.0.2.1", "timeout:", "attempts:", "99999999999", "-1",
                   "\0", "#", ";", " ", "x.y", ("z"):rep(300), "..", "%", "[",
                   "]:53", "\xff", "\t", "\r"}
    for _ = 1, 300 do
      local text = {}
      for i = 1, math.random(0, 60) do text[i] = words[math.random(#words)] end
      local base <close>, dns, path = conf(table.concat(text))
      assert.is_true(dns:count_nameservers() > 0)
      assert.equal(dns, dns:load_hosts(path))
      dns:close()
      d.idle(base)
    end
  end)
end)
