-- co.resolve and co.reverse: a task waits for a name or an address.
local co = require "libevent.co"
local dns = require "spec.dns"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local play, raises, tells = tasks.play, t.blames, tasks.tells(it)

-- A Dns that asks a server of a few names.
local function asking()
  local base = co.base()
  local server, counts = dns.zone(base, {
    ["some.test"] = {A = {"192.0.2.1", "192.0.2.2"}},
    ["1.2.0.192.in-addr.arpa"] = {PTR = "some.test"},
  })
  return dns.resolver(base, server:sockname()), server, counts
end

-- One whose server never answers.
local function mute()
  local server = dns.raw(co.base())
  return dns.resolver(co.base(), server.address), server
end

describe("co.resolve", function()
  before_each(t.start)
  after_each(t.finish)

  tells("returns addresses, and how long they hold", function()
    local resolver, server = asking()
    local addresses, ttl = co.resolve("some.test", {dns = resolver})
    assert.same({"192.0.2.1", "192.0.2.2"}, addresses)
    assert.equal(60, ttl)
    assert.same({"192.0.2.1:80", "192.0.2.2:80"},
                (co.resolve("some.test", {dns = resolver, port = 80})))
    server:close()
  end)

  tells("returns nil, a message and a code for a name that is none", function()
    local resolver, server = asking()
    local result, message, code = co.resolve("other.test", {dns = resolver})
    assert.is_nil(result)
    assert.equal("other.test: name does not exist", message)
    assert.equal("notexist", code)
    result, message, code = co.resolve("", {dns = resolver})
    assert.is_nil(result)
    assert.is_string(message)
    assert.equal("invalid", code)
    server:close()
  end)

  it("has a Dns for each base", function()
    for _ = 1, 2 do
      play(function()
        assert.same({"127.0.0.1"}, (co.resolve("localhost", {family = "inet"})))
        assert.same({"127.0.0.1"}, (co.resolve "127.0.0.1"))
        assert.same({"::1"}, (co.resolve "::1"))
      end)
    end
  end)

  tells("lets other tasks run meanwhile", function()
    local resolver, server = asking()
    local list = {}
    for i = 1, 50 do
      list[i] = co.spawn(co.resolve, "some.test", {dns = resolver})
    end
    for i = 1, 50 do assert.equal(2, #list[i]:join()) end
    server:close()
  end)

  tells("ends at its own deadline, and at one around it", function()
    local resolver, server = mute()
    local result, _, code = co.resolve("some.test",
                                       {dns = resolver, deadline = 0.03})
    assert.is_nil(result)
    assert.equal("timeout", code)
    assert.same({nil, "timeout"}, {co.deadline(0.03, co.resolve, "some.test",
                                               {dns = resolver})})
    server:close()
  end)

  tells("can be cancelled", function()
    local resolver, server = mute()
    local task = co.spawn(co.resolve, "some.test", {dns = resolver})
    tasks.till(function() return #server.asked > 0 end)
    task:cancel()
    assert.same({nil, "cancelled"}, {task:join()})
    server:close()                    -- and nothing else keeps the loop
  end)

  it("raises for what is no argument of it", function()
    play(function()
      raises("bad argument #1 to 'resolve' (string expected, got table)",
             function() co.resolve {} end)
      raises("bad argument #2 to 'resolve' (table of options expected, got "
             .. "number)", function() co.resolve("some.test", 1) end)
      raises("bad argument #2 to 'resolve' (option 'dns': Dns expected, got "
             .. "boolean)", function() co.resolve("x", {dns = true}) end)
      raises("bad argument #2 to 'resolve' (unknown option 'prot' ",
             function() co.resolve("x", {prot = 80}) end)
    end)
    raises("co.resolve waits, and can be called in a task only",
           function() co.resolve "some.test" end)
  end)
end)

describe("co.reverse", function()
  before_each(t.start)
  after_each(t.finish)

  tells("returns the name of an address", function()
    local resolver, server = asking()
    local name, ttl = co.reverse("192.0.2.1", {dns = resolver})
    assert.same({"some.test", 90}, {name, ttl})
    local result, message, code = co.reverse("192.0.2.3", {dns = resolver})
    assert.is_nil(result)
    assert.equal("192.0.2.3: name does not exist", message)
    assert.equal("notexist", code)
    server:close()
  end)

  tells("raises for what is no address", function()
    raises("bad argument #1 to 'reverse' (address without a port",
           function() co.reverse "some.test" end)
    raises("bad argument #2 to 'reverse' (unknown option 'port' ",
           function() co.reverse("127.0.0.1", {port = 80}) end)
  end)
end)
