--- Look-ups in their time: deadlines, requests that are cancelled or closed,
--- their callbacks, and many at once.

local socket = require "socket"
local d = require "spec.dns"
local t = require "spec.helper"

local zone = {
  ["both.example"] = {A = "192.0.2.1", AAAA = "2001:db8::1"},
  ["four.example"] = {A = {"192.0.2.1", "192.0.2.2", "192.0.2.3"}},
  ["six.example"] = {AAAA = {"2001:db8::1", "2001:db8::2"}},
}

--- A base with a server of the zone and a Dns that asks it.
local function start(options)
  local base = t.base()
  local server, counts = d.zone(base, zone)
  return base, d.resolver(base, server:sockname(), options), server, counts
end

--- Seconds since 'start'.
local function since(from) return socket.gettime() - from end

describe("a deadline", function()
  before_each(t.start)
  after_each(t.finish)

  --- A server that says nothing, and a Dns that asks it.
  local function silence(options)
    local base = t.base()
    local s, address = d.socket()
    return base, d.resolver(base, address, options), s
  end

  it("ends a look-up of which nobody has heard", function()
    local base <close>, dns, s = silence()
    for _, method in ipairs {"resolve", "reverse"} do
      local started = socket.gettime()
      assert.equal("timeout",
        d.code(dns, "192.0.2.1" .. (method == "resolve" and ".x" or ""),
          {deadline = 0.02 * t.slow}, method))
      assert.is_true(since(started) > 0.015 * t.slow)
      assert.is_true(since(started) < 1 * t.slow)
      d.idle(base)
    end
    s:close()
  end)

  it("is the same for all that have none of their own", function()
    local base <close>, dns, s = silence {deadline = 0.02 * t.slow}
    assert.equal("timeout", d.code(dns, "www.example"))
    dns:set_option("deadline", 60)
    local got, cb = d.outcome()
    dns:resolve("www.example", cb)
    t.runfor(base, 0.03 * t.slow)
    assert.is_nil(got.n)
    assert.equal("timeout",
      d.code(dns, "www.example", {deadline = 0.01 * t.slow}))
    dns:close()
    t.run(base)
    assert.equal("shutdown", got[3])
    s:close()
  end)

  it("counts while others are asked first", function()
    local base <close>, dns, s = silence {max_inflight = 1}
    local list = {}
    dns:resolve("first.example", {deadline = 0.05 * t.slow, family = "inet"},
      t.expect(function() list[#list + 1] = "first" end))
    for i = 1, 3 do
      dns:resolve("next.example", {deadline = 0.01 * i * t.slow},
        t.expect(function(_, _, _, code)
          assert.equal("timeout", code)
          list[#list + 1] = i
        end))
    end
    t.run(base)
    assert.same({1, 2, 3, "first"}, list)
    d.idle(base)
    s:close()
  end)

  it("counts over all names of a search", function()
    local base <close> = t.base()
    local answered = 0
    local server = d.raw(base, function(q, reply)
      answered = answered + 1
      if answered < 3 then reply(d.answer(q, nil, 3)) end
    end)
    local dns = d.resolver(base, server.address,
                           {search = {"a", "b", "c", "d"}})
    assert.equal("timeout", d.code(dns, "x", {deadline = 0.05 * t.slow,
                                             family = "inet"}))
    assert.equal(3, #server.asked)
    server:close()
    d.idle(base)
  end)

  it("of no time at all is over at once, without a callback", function()
    local base <close>, dns, s = silence()
    local got, cb = d.outcome()
    dns:resolve("www.example", {deadline = 0}, cb)
    assert.is_nil(got.n)
    t.run(base)
    assert.equal("timeout", got[3])
    d.idle(base)
    s:close()
  end)
end)

describe("a request", function()
  before_each(t.start)
  after_each(t.finish)

  it("is cancelled before it is on its way", function()
    local base <close>, dns, server = start()
    for _, name in ipairs {"both.example", "127.0.0.1", ""} do
      local got, cb = d.outcome()
      local request = dns:resolve(name, cb)
      local first = request:cancel()
      assert.is_false(request:cancel())
      assert.is_nil(got.n)
      t.runtill(base, function() return got.n end)
      -- what needs no question was over
      assert.equal(name == "both.example", first)
      if first then
        assert.is_nil(got[1])
        assert.equal("both.example: cancelled", got[2])
        assert.equal("cancel", got[3])
      end
      assert.is_false(request:cancel())
    end
    server:close()
    d.idle(base)
  end)

  it("is cancelled while it is asked, and while it waits", function()
    local base <close> = t.base()
    local requests, list = {}, {}
    local server = d.raw(base, function()
      for i = 1, 3 do assert.is_true(requests[i]:cancel()) end
    end)
    local dns = d.resolver(base, server.address, {max_inflight = 1})
    for i = 1, 3 do
      requests[i] = dns:resolve(i .. ".example", {family = "inet"},
        t.expect(function(request, _, _, code)
          assert.equal(requests[i], request)
          assert.equal("cancel", code)
          list[#list + 1] = i
          if i == 3 then server:close() end
        end))
    end
    t.run(base)
    assert.same({1, 2, 3}, list)
    assert.equal(1, #server.asked)
    d.idle(base)
  end)

  it("is cancelled when its answer has just come", function()
    local base <close>, dns, server = start()
    local got, cb = d.outcome()
    local request = dns:resolve("both.example", {family = "inet"}, cb)
    server:set_cb(t.expect(function(q)
      q:add_a_reply(nil, "192.0.2.1", 60):respond()
      -- the next turn of the loop reads the answer: it is cancelled in each
      for _ = 1, 3 do
        base:timer(function() request:cancel() end):add(0)
      end
    end))
    t.runtill(base, function() return got.n end)
    assert.is_true(got[3] == "cancel" or got[1][1] == "192.0.2.1")
    server:close()
    d.idle(base)
  end)

  it("is cancelled at each moment of its life", function()
    for turns = 0, 12 do
      local base <close>, dns, server = start()
      local got, cb = d.outcome()
      local request = dns:resolve("both.example", cb)
      t.turns(base, turns)
      local cancelled = request:cancel()
      if not got.n then t.runtill(base, function() return got.n end) end
      assert.equal(cancelled, got[3] == "cancel")
      assert.equal(not cancelled, got[1] ~= nil)
      server:close()
      d.idle(base)
    end
  end)

  it("is cancelled in another's callback, and not in its own", function()
    local base <close>, dns, server = start()
    local other, code
    dns:resolve("both.example", t.expect(function(request)
      assert.is_false(request:cancel())
      assert.is_true(other:cancel())
    end))
    server:set_cb(function(q)
      if q:name():lower() == "both.example" then q:respond "notexist" end
    end)
    other = dns:resolve("other.example", t.expect(function(_, _, _, c)
      code = c
      server:close()
    end))
    t.run(base)
    assert.equal("cancel", code)
    d.idle(base)
  end)

  it("that is closed has no callback any more", function()
    local base <close>, dns, server, counts = start()
    for turns = 0, 4 do
      local request = dns:resolve("both.example", t.never())
      t.turns(base, turns)
      if not t.isclosed(request) then
        assert.equal(request, request:close())
      end
      assert.equal(request, request:close())
      assert.equal("libevent.DnsRequest (closed)", tostring(request))
      assert.is_false(request:cancel())
      if turns == 0 then break end
    end
    do
      local scoped <close> = dns:resolve("both.example", t.never())
      assert.is_false(t.isclosed(scoped))
    end
    local one = dns:resolve("one.example", t.never())
    dns:resolve("two.example", t.expect(function()
      one:close()
      server:close()
    end)):cancel()
    d.idle(base)
    assert.is_nil(counts["one.example"])
  end)

  it("raises for anything but a request", function()
    local _ <close>, dns, server = start()
    local request = dns:resolve("both.example", print)
    for _, name in ipairs {"cancel", "close"} do
      t.raises("libevent.DnsRequest expected, got libevent.Dns", request[name],
        dns)
    end
    request:close()
    server:close()
  end)

  it("needs no variable", function()
    local base <close>, dns, server = start()
    dns:resolve("both.example", t.expect(function(_, addresses)
      assert.equal(2, #addresses)
      server:close()
    end))
    dns = nil -- luacheck: ignore
    base:timer(function() collectgarbage() collectgarbage() end):add(0)
    collectgarbage() collectgarbage()
    d.idle(base)
  end)

  it("ends with its Dns, which says so", function()
    local base <close>, dns, server = start {max_inflight = 1}
    local codes = {}
    for i = 1, 3 do
      dns:resolve(i .. ".example", t.expect(function(_, _, message, code)
        assert.matches("has been closed", message)
        codes[i] = code
      end))
    end
    dns:reverse("192.0.2.1", t.expect(function(_, _, _, code)
      codes[4] = code
    end))
    t.turns(base)
    assert.equal(dns, dns:close())
    assert.same({}, codes)
    server:close()
    t.run(base)
    assert.same({"shutdown", "shutdown", "shutdown", "shutdown"}, codes)
    d.idle(base)
  end)

  it("ends with its Dns or its base, in any callback", function()
    for _, what in ipairs {"dns", "base", "request"} do
      for _, where in ipairs {"own", "other", "server", "timer"} do
        local base <close>, dns, server = start()
        local requests = {}
        local function close()
          if what == "request" then
            for i = 1, 3 do requests[i]:close() end
          else
            (what == "dns" and dns or base):close()
          end
          collectgarbage()
          if what ~= "base" then server:close() end
        end
        local calls = 0
        for i = 1, 3 do
          requests[i] = dns:resolve(i .. ".example", function()
            calls = calls + 1
            if where == "own" and calls == 1 then close() end
          end)
        end
        if where == "timer" then base:timer(close):add(0) end
        if where == "server" then
          server:set_cb(function(q)
            close()
            if not t.isclosed(q) then q:respond() end
          end)
        end
        if where == "other" then
          dns:resolve("127.0.0.1", close)
        end
        t.run(base)
        assert.is_true(calls <= 3)
        if what == "dns" then assert.equal(3, calls) end
        if what ~= "base" then d.idle(base) end
      end
    end
  end)
end)

describe("the callback of a look-up", function()
  before_each(t.start)
  after_each(t.finish)

  it("raises out of the loop, and the next ones come", function()
    local base <close>, dns, server = start()
    local calls = 0
    for _ = 1, 3 do
      dns:resolve("both.example", function(request)
        calls = calls + 1
        assert.is_true(t.isclosed(request))
        error("no. " .. calls)
      end)
    end
    for i = 1, 3 do
      local ok, message = pcall(base.dispatch, base)
      assert.is_false(ok)
      assert.matches("no%. " .. i, message)
    end
    server:close()
    d.idle(base)
  end)

  it("raises, and the error callback hears of it", function()
    local base <close>, dns, server = start()
    local request
    base:set_error_cb(t.expect(function(message, object)
      assert.matches("oh no", message)
      assert.equal(request, object)
      server:close()
    end))
    request = dns:resolve("both.example", function() error "oh no" end)
    d.idle(base)
  end)

  it("may be a coroutine that yields", function()
    local base <close>, dns, server = start()
    local got = {}
    local step
    step = coroutine.wrap(function(_, addresses)
      got[1] = addresses
      _, got[2] = coroutine.yield()
      server:close()
    end)
    dns:resolve("four.example", step)
    t.runtill(base, function() return got[1] end)
    dns:resolve("six.example", step)
    t.run(base)
    assert.equal("192.0.2.1", got[1][1])
    assert.equal("2001:db8::1", got[2][1])
  end)

  it("cannot yield by itself", function()
    local base <close>, dns, server = start()
    dns:resolve("both.example", function() coroutine.yield() end)
    t.raises("yield", base.dispatch, base)
    server:close()
    d.idle(base)
  end)

  it("asks again, in a chain", function()
    local base <close>, dns, server = start()
    local n = 0
    local function again(_, addresses)
      assert.equal("192.0.2.1", addresses[1])
      collectgarbage "step"
      n = n + 1
      if n == 50 then return server:close() end
      dns:resolve("both.example", {family = "inet"}, again)
    end
    dns:resolve("both.example", {family = "inet"}, again)
    t.run(base)
    assert.equal(50, n)
    d.idle(base)
  end)

  it("ends the process", function()
    for _, where in ipairs {"answer", "server", "gone"} do
      local text, status = t.lua(([[
        local base = require "libevent".base()
        local where = %q
        local server = base:dns_server("127.0.0.1:0", function(q)
          if where == "server" then os.exit(7, true) end
          q:respond()
        end)
        local dns = base:dns {nameservers = {server:sockname()}, hosts = false}
        dns:resolve("a.example", function()
          if where == "gone" then base:close() end
          os.exit(7, true)
        end)
        for i = 1, 3 do dns:resolve("b.example", print) end
        base:dispatch()
      ]]):format(where))
      assert.equal("", text)
      assert.equal(7, status)
    end
  end)
end)

describe("many look-ups", function()
  before_each(t.start)
  after_each(t.finish)

  it("at once are all answered, in turn", function()
    local base <close>, dns, server, counts = start {timeout = 5 * t.slow}
    local n, answers = 1000 // t.slow, 0
    for _ = 1, n do
      dns:resolve("four.example", {family = "inet"}, function(_, addresses)
        assert.equal(3, #addresses)
        answers = answers + 1
        if answers == n then server:close() end
      end)
    end
    t.run(base)
    assert.equal(n, answers)
    assert.equal(n, counts["four.example"])
    d.idle(base)
  end)

  it("are asked in their order, so many at once as is said", function()
    local base <close> = t.base()
    local asked, open, most = {}, {}, 0
    local server = base:dns_server("127.0.0.1:0", function(q)
      asked[#asked + 1] = tonumber(q:name():match "^%d+")
      open[#open + 1] = q
      most = math.max(most, #open)
      base:timer(function()
        table.remove(open, 1):respond "notexist"
      end):add(0.001)
    end)
    local dns = d.resolver(base, server:sockname(), {max_inflight = 4})
    local n = 0
    for i = 1, 40 do
      dns:resolve(i .. ".example", {family = "inet"}, function()
        n = n + 1
        if n == 40 then server:close() end
      end)
    end
    t.run(base)
    assert.equal(4, most)
    local order = {}
    for i = 1, 40 do order[i] = i end
    assert.same(order, asked)
    d.idle(base)
  end)

  it("go on in a child process, from sockets of its own", function()
    local text, status = t.lua [[
      local d = require "spec.dns"
      local unistd = require "posix.unistd"
      local base = require "libevent".base()
      local asked = 0
      local server = assert(base:dns_server("127.0.0.1:0", function(q)
        asked = asked + 1
        if asked == 1 then return q:drop() end        -- the parent's first one
        q:add_a_reply(nil, "192.0.2.1", 60):respond()
      end))
      local dns = d.resolver(base, server:sockname(), {timeout = 0.5})
      local answer
      dns:resolve("www.example", {family = "inet"}, function(_, list, message)
        answer = list and list[1] or message
      end)
      base:loop "once"
      local child = unistd.fork() == 0
      if child then assert(base:reinit()) end
      repeat base:loop "once" until answer
      if child then os.exit(answer == "192.0.2.1") end
      print(answer, require "posix.sys.wait".wait())
    ]]
    assert.equal(0, status, text)
    assert.matches("^192%.0%.2%.1\t%d+\texited\t0\n$", text)
  end)

  it("take no memory that they keep: 100,000, and 1,000 at once", function()
    local text, status = t.lua [[
      local d = require "spec.dns"
      local t = require "spec.helper"
      local base = t.base()
      local server = d.zone(base, {["four.example"] = {A = "192.0.2.1"}})
      local dns = d.resolver(base, server:sockname(), {timeout = 5 * t.slow})
      local function run(n)
        local left = n
        local function ask()
          if left == 0 then return end
          left = left - 1
          dns:resolve(left % 2 == 0 and "four.example" or "absent.example",
            {family = "inet"}, ask)
          dns:resolve("both.example", function() end):cancel()
          dns:resolve("both.example", print):close()
        end
        for _ = 1, 1000 // t.slow do ask() end
        t.runtill(base, function() return left == 0 end)
        collectgarbage()
      end
      local n = 100000 // t.slow
      for _ = 1, 4 do run(n // 4) end
      local before = t.heap()
      for _ = 1, 4 do run(n // 4) end
      t.heapgrown(before, 64 << 10)
    ]]
    assert.same({"", 0}, {text, status})
  end)
end)
