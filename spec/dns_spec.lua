--- base:dns: who is asked, how, and for how long libevent knows of them.

local libevent = require "libevent"
local d = require "spec.dns"
local listdescriptors = require "spec.descriptors"
local t = require "spec.helper"

local EDESTADDRREQ = 89

local zone = {
  ["www.example"] = {A = "192.0.2.1"},
  ["www.example.org"] = {A = "192.0.2.2"},
  ["a.b.example.org"] = {A = "192.0.2.3"},
}

--- A base with a server of the zone and a Dns that asks it.
local function start(options)
  local base = t.base()
  local server, counts = d.zone(base, zone)
  return base, d.resolver(base, server:sockname(), options), server, counts
end

describe("a Dns", function()
  before_each(t.start)
  after_each(t.finish)

  describe("with options", function()
    it("has the servers that it is given, each once", function()
      local base <close> = t.base()
      local dns = base:dns {nameservers = {"127.0.0.1", "::1", "127.0.0.2:5353",
        "[::1]:5353", "127.0.0.1:53", "[::1]:53"}, hosts = false}
      assert.equal(4, dns:count_nameservers())
      assert.same({"127.0.0.1:53", "[::1]:53", "127.0.0.2:5353", "[::1]:5353"},
        d.servers(dns))
      assert.is_nil(dns:nameserver_addr(5))
      assert.is_nil(dns:nameserver_addr(0))
      assert.is_nil(dns:nameserver_addr(-1))
      assert.equal(base, dns:base())
    end)

    it("has nobody to ask, if it is given an empty list", function()
      local base <close> = t.base()
      for _, options in ipairs {{nameservers = {}, hosts = false},
                                {resolv_conf = false, hosts = false}} do
        local dns = base:dns(options)
        assert.equal(0, dns:count_nameservers())
        assert.equal("noserver", d.code(dns, "www.example"))
        assert.equal("noserver", d.code(dns, "127.0.0.1", nil, "reverse"))
        assert.same({"127.0.0.1"}, (d.ask(dns, "127.0.0.1")))
        d.idle(base)
      end
    end)

    it("names the one that is wrong", function()
      local base <close> = t.base()
      for name, values in pairs {
        nameservers = {"127.0.0.1", {"localhost"}, {1}, {"127.0.0.1:x"},
                       {"unix:/x"}, {""}, {"127.0.0.1\0"}, {"127.0.0.1:65536"},
                       {"::1", "[::1"}},
        resolv_conf = {true, 1, {}}, hosts = {true, 1, {}},
        search = {"example", {1}, {""}, {".."}, {"a..b"}, {("x"):rep(64)},
                  {"a\0b"}},
        bind_to = {1, true, "localhost", "", "127.0.0.1\0"},
        ndots = {-1, 256, 1.5, "x", true},
        timeout = {0, -1, "x", 1 / 0, 0 / 0, 1e300, 0.0001},
        attempts = {0, 256, 1.5, "x"},
        max_inflight = {0, 65001, "x"},
        randomize_case = {0, 1, "on"},
        so_rcvbuf = {0, -1, "x", 1.5}, so_sndbuf = {0, -1, "x", 1 << 40},
        skew = {-1, "x", 0 / 0}, deadline = {0, -1, "x"},
      } do
        for _, value in ipairs(values) do
          t.raises("option '" .. name .. "'", base.dns, base, {[name] = value})
        end
      end
      t.raises("unknown option 'nameserver'", base.dns, base, {nameserver = {}})
      t.raises("unknown option '1'", base.dns, base, {"127.0.0.1"})
      t.raises("table of options expected", base.dns, base, "127.0.0.1")
      t.raises("libevent.Base expected", base.dns, 1)
      collectgarbage()
      d.idle(base)
    end)

    it("takes the least and the most of each", function()
      local base <close>, dns = start {timeout = 100000, attempts = 255,
        max_inflight = 65000, randomize_case = false, so_rcvbuf = 1 << 20,
        so_sndbuf = 1 << 20, ndots = 255, skew = 0, deadline = 100000,
        search = {}, bind_to = "127.0.0.1"}
      assert.same({"192.0.2.1"}, (d.ask(dns, "www.example")))
      dns:close()
      dns = select(2, start {timeout = 0.001, attempts = 1,
        max_inflight = 1, so_rcvbuf = 1, so_sndbuf = 1, ndots = 0,
        deadline = 0.001, skew = 1000})
      assert.equal("libevent.Dns (closed)", tostring(dns:close()))
      collectgarbage()
      assert.equal(1, base:num_events())       -- the server's
    end)

    it("takes all at once in any order, and files that are there", function()
      local base <close> = t.base()
      local dns = assert(base:dns())
      assert.is_true(dns:count_nameservers() > 0)
      assert.same({"127.0.0.1"},
        (d.ask(dns, "localhost", {family = "inet"})))
      dns = assert(base:dns {})
      assert.is_true(dns:count_nameservers() > 0)
    end)
  end)

  describe("whose options change", function()
    it("has the new ones from then on", function()
      local base <close> = t.base()
      local s, address = d.socket()
      local dns = d.resolver(base, address)
      for name, value in pairs {timeout = 0.01 * t.slow, attempts = 2,
        max_inflight = 2, randomize_case = false,
        so_rcvbuf = 4096, so_sndbuf = 4096, ndots = 2, skew = 1,
        deadline = 50} do
        assert.equal(dns, dns:set_option(name, value))
      end
      assert.equal("timeout", d.code(dns, "www.example"))
      d.idle(base)
      local got, n = {}, 0
      repeat
        got[n] = s:receive()
        n = n + 1
      until not got[n - 1]
      assert.equal(5, n)                       -- two of each family
      assert.equal("www.example", d.parse(got[0]).name)
      s:close()
    end)

    it("names the one that is wrong", function()
      local base <close>, dns, server = start()
      for name, value in pairs {timeout = 0, attempts = 0,
        max_inflight = 0, randomize_case = 1, so_rcvbuf = 0, so_sndbuf = "x",
        ndots = 256, skew = -1, deadline = {}} do
        t.raises("bad argument #3", dns.set_option, dns, name, value)
        t.raises("bad argument #3", dns.set_option, dns, name)
      end
      for _, name in ipairs {"hosts", "bind_to", "", "Timeout", "ndots:"} do
        t.raises("unknown option (known: timeout, attempts, max_inflight, "
          .. "randomize_case, so_rcvbuf, so_sndbuf, ndots, skew, deadline)",
          dns.set_option, dns, name, 1)
      end
      t.raises("bad argument #2", dns.set_option, dns)
      server:close()
      d.idle(base)
    end)

    it("asks as many at once as it is told, while it is asking", function()
      local base <close> = t.base()
      local open = {}
      local server = base:dns_server("127.0.0.1:0", function(q)
        open[#open + 1] = q
      end)
      local dns = d.resolver(base, server:sockname(), {max_inflight = 1})
      for i = 1, 6 do
        dns:resolve(i .. ".example", {family = "inet"}, t.expect(function()
          if i == 6 then server:close() end
        end))
      end
      t.runtill(base, function() return #open == 1 end)
      t.turns(base, 5)
      assert.equal(1, #open)
      dns:set_option("max_inflight", 3)
      table.remove(open):respond "notexist"
      t.runtill(base, function() return #open == 3 end)
      t.turns(base, 5)
      assert.equal(3, #open)
      server:set_cb(function(q) q:respond "notexist" end)
      for _, q in ipairs(open) do q:respond "notexist" end
      d.idle(base)
    end)
  end)

  describe("with nothing on its way", function()
    it("has neither events nor descriptors", function()
      local base <close>, dns, server = start()
      local before, events = #listdescriptors(), base:num_events()
      assert.equal(1, events)
      for _ = 1, 3 do
        dns:resolve("www.example", function() end)
        assert.is_true(#listdescriptors() > before)
        assert.is_true(base:num_events() > events)
        t.runtill(base, function() return base:num_events() == 1 + 1 end)
        assert.equal(before, #listdescriptors())
      end
      server:close()
      d.idle(base)
    end)

    it("ends the loop after each sort of end", function()
      for _, code in ipairs {"none", "notexist", "serverfailed", "refused",
                             "notimpl", "format", "drop"} do
        local base <close>, dns, server = start {attempts = 2,
                                                 timeout = 0.01 * t.slow}
        server:set_cb(function(q)
          if code == "drop" then return q:drop() end
          q:respond(code)
        end)
        for i = 1, 3 do
          dns:resolve("www.example", t.expect(function()
            if i == 3 then server:close() end
          end))
          dns:reverse("192.0.2.1", t.expect())
        end
        d.idle(base)
        assert.is_false(t.isclosed(dns))
      end
    end)

    it("is collected", function()
      local base <close>, dns, server = start()
      local weak = setmetatable({dns}, {__mode = "k"})
      weak[dns] = true
      d.ask(dns, "www.example")
      weak = setmetatable({[dns] = true}, {__mode = "k"})
      dns = nil -- luacheck: ignore
      collectgarbage() collectgarbage()
      assert.is_nil(next(weak))
      server:close()
      d.idle(base)
    end)

    it("is not held by its base, nor holds a variable's", function()
      local weak = setmetatable({}, {__mode = "k"})
      do
        local base = t.base()
        local dns = base:dns {nameservers = {"127.0.0.1"}, hosts = false}
        weak[base], weak[dns] = true, true
      end
      collectgarbage() collectgarbage()
      assert.is_nil(next(weak))
    end)
  end)

  describe("without servers for a while", function()
    it("lets questions wait, and asks the new one", function()
      local base <close>, dns, server = start()
      assert.equal(dns, dns:clear_nameservers_and_suspend())
      assert.equal(0, dns:count_nameservers())
      local got, cb = d.outcome()
      dns:resolve("www.example", cb)
      t.runfor(base, 0.01)
      assert.is_nil(got.n)
      t.refused(EDESTADDRREQ, dns:resume())
      assert.equal(dns, dns:nameserver_ip_add(server:sockname()))
      t.runfor(base, 0.01)
      assert.is_nil(got.n)
      assert.equal(dns, dns:resume())
      assert.equal(dns, dns:resume())
      t.runtill(base, function() return got.n end)
      assert.same({"192.0.2.1"}, got[1])
      server:close()
      d.idle(base)
    end)

    it("puts questions that were on their way to the new one", function()
      local base <close> = t.base()
      local silent = d.raw(base)
      local server = d.zone(base, zone)
      local dns = d.resolver(base, silent.address, {max_inflight = 2})
      local got = {}
      for i = 1, 4 do
        dns:resolve("www.example", t.expect(function(_, addresses)
          got[i] = addresses[1]
          if #got == 4 then server:close() end
        end))
      end
      t.runtill(base, function() return #silent.asked == 2 end)
      dns:clear_nameservers_and_suspend()
      t.turns(base, 3)
      dns:nameserver_ip_add(server:sockname()):resume()
      silent:close()
      t.run(base)
      assert.same({"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1"}, got)
      d.idle(base)
    end)

    it("ends look-ups by their deadline, or when they are cancelled", function()
      local base <close> = t.base()
      local silent = d.raw(base)
      local dns = d.resolver(base, silent.address, {max_inflight = 1})
      local codes = {}
      local requests = {}
      for i = 1, 4 do
        requests[i] = dns:resolve("www.example",
          {deadline = i > 2 and 0.02 * t.slow or nil},
          t.expect(function(_, _, _, code) codes[i] = code end))
      end
      t.runtill(base, function() return #silent.asked == 1 end)
      dns:clear_nameservers_and_suspend()
      assert.is_true(requests[1]:cancel())
      assert.is_true(requests[2]:cancel())
      silent:close()
      t.run(base)
      assert.same({"cancel", "cancel", "timeout", "timeout"}, codes)
      d.idle(base)
      dns:nameserver_ip_add "127.0.0.1":resume()
      d.idle(base)
    end)

    it("is closed while questions wait", function()
      local base <close>, dns, server = start()
      dns:clear_nameservers_and_suspend()
      dns:resolve("www.example", t.expect(function(_, _, _, code)
        assert.equal("shutdown", code)
      end, 1))
      dns:close()
      server:close()
      d.idle(base)
    end)

    it("suspends in a callback", function()
      local base <close>, dns, server = start()
      local address = server:sockname()
      local n = 0
      for _ = 1, 5 do
        dns:resolve("www.example", function()
          n = n + 1
          dns:clear_nameservers_and_suspend()
          base:timer(function()
            dns:nameserver_ip_add(address):resume()
          end):add(0.002)
        end)
      end
      t.runtill(base, function() return n == 5 end)
      t.runfor(base, 0.005)
      server:close()
      d.idle(base)
    end)
  end)

  describe("with another server", function()
    it("asks it as well, while it is asking", function()
      local base <close> = t.base()
      local silent = d.raw(base)
      local server = d.zone(base, zone)
      local dns = d.resolver(base, silent.address, {timeout = 0.02 * t.slow})
      local got, cb = d.outcome()
      dns:resolve("www.example", {family = "inet"}, cb)
      t.runtill(base, function() return #silent.asked == 1 end)
      dns:nameserver_ip_add(server:sockname())
      dns:nameserver_ip_add(server:sockname())
      assert.equal(2, dns:count_nameservers())
      t.runtill(base, function() return got.n end)
      assert.same({"192.0.2.1"}, got[1])
      silent:close()
      server:close()
      d.idle(base)
    end)

    it("takes none that is no address", function()
      local base <close>, dns, server = start()
      for _, address in ipairs {"localhost", "", "unix:/x", 1, "1.2.3.4:x"} do
        t.raises("address of a name server", dns.nameserver_ip_add, dns,
          address)
      end
      t.raises("address of a name server", dns.nameserver_ip_add, dns)
      t.raises("number expected", dns.nameserver_addr, dns)
      server:close()
      d.idle(base)
    end)

    it("asks by IPv6", function()
      local base <close> = t.base()
      local server = d.zone(base, zone, "[::1]:0")
      local dns = d.resolver(base, server:sockname())
      assert.same({"192.0.2.1"}, (d.ask(dns, "www.example")))
      server:close()
      d.idle(base)
    end)

    it("asks from an address of its own", function()
      local base <close> = t.base()
      local server = d.zone(base, zone, "127.0.0.1:0")
      local dns = d.resolver(base, server:sockname(), {bind_to = "127.0.0.2"})
      assert.same({"192.0.2.1"}, (d.ask(dns, "www.example")))
      server:close()
      d.idle(base)
    end)
  end)

  describe("with domains", function()
    --- The names that are asked for, in their order.
    local function asked(dns, name, options)
      local base <close> = t.base()
      local server = d.raw(base, function(q, reply)
        reply(d.answer(q, nil, 3))
      end)
      local resolver = d.resolver(base, server.address, dns)
      options = options or {}
      options.family = "inet"
      assert.equal("notexist", d.code(resolver, name, options))
      local names = {}
      for i, q in ipairs(server.asked) do names[i] = q.name:lower() end
      server:close()
      return names
    end

    it("tries a name in each of them, and then as it is", function()
      local options = {search = {"a.example", ".b.example", "c.example."}}
      assert.same({"x.a.example", "x.b.example", "x.c.example", "x"},
        asked(options, "x"))
    end)

    it("tries a name with dots enough as it is first", function()
      local search = {"a.example", "b.example"}
      assert.same({"x.y", "x.y.a.example", "x.y.b.example"},
        asked({search = search}, "x.y"))
      assert.same({"x.y.a.example", "x.y.b.example", "x.y"},
        asked({search = search, ndots = 2}, "x.y"))
      assert.same({"x", "x.a.example", "x.b.example"},
        asked({search = search, ndots = 0}, "x"))
      assert.same({"x.y.z", "x.y.z.a.example", "x.y.z.b.example"},
        asked({search = search, ndots = 2}, "x.y.z"))
    end)

    it("tries a name with a dot at its end, or alone, no further", function()
      local search = {"a.example", "b.example"}
      assert.same({"x"}, asked({search = search}, "x."))
      assert.same({"x"}, asked({search = search}, "x", {search = false}))
      assert.same({"x"}, asked({search = search, ndots = 3}, "x.",
        {search = true}))
    end)

    it("leaves out what gets too long", function()
      local long = ("x"):rep(60, "."):rep(2, ".")            -- 239
      local fits = ("y"):rep(253 - #long - 1)
      assert.same({long, long .. "." .. fits, long .. ".z"},
        asked({search = {fits, fits .. "y", "z"}}, long))
    end)

    it("ends the search where there is an answer, or a failure", function()
      local base <close>, dns, server, counts = start {
        search = {"none", "example.org", "example.net"}}
      assert.same({"192.0.2.2"}, (d.ask(dns, "www")))
      assert.is_nil(counts["www.example.net"])
      assert.same({"192.0.2.3"}, (d.ask(dns, "a.b")))
      server:set_cb(function(q)
        q:respond(q:name():lower() == "www.none" and "notexist" or "refused")
      end)
      assert.equal("refused", d.code(dns, "www", {family = "inet"}))
      server:close()
      d.idle(base)
    end)

    it("says 'nodata', if one of the names is there", function()
      local base <close>, dns, server = start {search = {"example", "x"}}
      assert.equal("nodata", d.code(dns, "www", {family = "inet6"}))
      server:close()
      d.idle(base)
    end)

    it("is given others", function()
      local base <close>, dns, server, counts = start {search = {"x"}}
      assert.equal(dns, dns:search_add "example.org")
      assert.same({"192.0.2.2"}, (d.ask(dns, "www")))
      assert.equal(2, counts["www.x"])
      assert.equal(dns, dns:search_clear())
      assert.equal("notexist", d.code(dns, "www"))
      assert.equal(dns, dns:search_add ".example.")
      assert.same({"192.0.2.1"}, (d.ask(dns, "www")))
      counts["www"] = 0
      assert.equal(dns, dns:search_ndots_set(0))
      assert.same({"192.0.2.1"}, (d.ask(dns, "www", {family = "inet"})))
      assert.equal(1, counts["www"])
      for _, domain in ipairs {"", ".", "a..b", 1, ("x"):rep(64), "a\0"} do
        t.raises("domain expected", dns.search_add, dns, domain)
      end
      t.raises("bad argument #2", dns.search_ndots_set, dns, 256)
      t.raises("bad argument #2", dns.search_ndots_set, dns)
      server:close()
      d.idle(base)
    end)

    it("is given others while a search is on its way", function()
      local base <close>, dns, server = start {search = {"x", "y", "z"}}
      local n = 0
      server:set_cb(function(q)
        n = n + 1
        if n == 1 then dns:search_clear() end
        if n == 2 then for _ = 1, 100 do dns:search_add "w" end end
        q:respond "notexist"
      end)
      assert.equal("notexist", d.code(dns, "www", {family = "inet"}))
      server:close()
      d.idle(base)
    end)
  end)

  describe("that is closed", function()
    it("closes at the end of its scope, and as often as one likes", function()
      local base <close> = t.base()
      local dns
      do
        local scoped <close> = base:dns {nameservers = {"127.0.0.1"}}
        assert.matches("^libevent%.Dns %(0x%x+%)$", tostring(scoped))
        dns = scoped
      end
      assert.equal("libevent.Dns (closed)", tostring(dns))
      assert.equal(dns, dns:close():close())
      d.idle(base)
    end)

    it("is closed with its base", function()
      local base, dns, server = start()
      dns:resolve("www.example", t.never())
      t.turns(base)
      base:close()
      assert.is_true(t.isclosed(dns))
      assert.is_true(t.isclosed(server))
      dns:close()
      t.raises("Base is closed", base.dns, base)
    end)

    it("has no method left but close", function()
      local base <close> = t.base()
      local dns = base:dns {nameservers = {"127.0.0.1"}}:close()
      local n = 0
      for name, method in pairs(debug.getmetatable(dns).__index) do
        n = n + 1
        if name ~= "close" then
          t.raises("Dns is closed", method, dns, "x", print)
        end
        t.raises("libevent.Dns expected, got libevent.Base", method, base)
      end
      assert.equal(16, n)
    end)

    it("and made anew asks again, a thousand times", function()
      local base <close>, _, server = start()
      local address = server:sockname()
      for _ = 1, 1000 // t.slow do
        local dns <close> = d.resolver(base, address)
        dns:resolve("www.example", function() end)
      end
      t.turns(base, 3)
      server:close()
      d.idle(base)
    end)
  end)

  it("and others of the same base do not know of each other", function()
    local base <close> = t.base()
    local list_ = {}
    for i = 1, 5 do
      local server = d.zone(base, {["www.example"] = {A = "192.0.2." .. i}})
      list_[i] = {server, d.resolver(base, server:sockname())}
    end
    local n = 0
    for i, pair in ipairs(list_) do
      pair[2]:resolve("www.example", t.expect(function(_, addresses)
        n = n + 1
        assert.same({"192.0.2." .. i}, addresses)
        pair[1]:close()
        pair[2]:close()
      end))
    end
    t.run(base)
    assert.equal(5, n)
    d.idle(base)
  end)

  it("finds nobody to ask without descriptors, and then again", function()
    local text, status = t.lua [[
      if arg[1] == nil then
        -- by env, since valgrind's idea of limits is its own: not traced
        local ok, _, code = os.execute((
          "env sh -c 'ulimit -n 64; exec %s %s again'"):format(arg[-1], arg[0]))
        os.exit(ok or code)
      end
      local base = require "libevent".base()
      local server = base:dns_server("127.0.0.1:0", function(q)
        q:respond "notexist"
      end)
      local dns = base:dns {nameservers = {server:sockname()}, hosts = false}
      local ballast = {}
      repeat
        local file = io.open "/dev/null"
        ballast[#ballast + 1] = file
      until not file
      dns:resolve("www.example", function(_, _, _, code)
        print(code)
        for _, file in ipairs(ballast) do file:close() end
        dns:resolve("www.example", function(_, _, _, again)
          print(again)
          server:close()
        end)
      end)
      print(base:dispatch())
    ]]
    -- libevent has a warning for it, too
    assert.equal("noserver\nnotexist\nfalse\n",
      (text:gsub("%[warn%][^\n]*\n", "")))
    assert.equal(0, status)
  end)

  it("needs a base that is open", function()
    t.raises("libevent.Base expected", libevent.base().dns)
  end)
end)
