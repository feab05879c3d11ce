-- src/reference.c: large strings are not copied, and let go of exactly once.
local libevent = require "libevent"
local t = require "spec.helper"

local buffer = libevent.buffer

local MEGA = 2 ^ 20

--- A string of a megabyte that nobody else has.
local function large(letter)
  return (letter or "x"):rep(MEGA)
end

--- Megabytes that Lua's heap has more than at the start of the test.
local before
local function kept()
  collectgarbage() collectgarbage()
  return math.floor(collectgarbage "count" / 1024 - before + 0.5)
end

local function start()
  t.start()
  collectgarbage() collectgarbage()
  before = collectgarbage "count" / 1024
end

--- A string that was let go of twice would have left its slot to two others.
local function finish()
  assert.equal(0, kept())
  local b = buffer()
  for i = 1, 9 do b:add(large(tostring(i))) end
  for i = 1, 9 do
    assert.is_true(b:copyout(MEGA, (i - 1) * MEGA + 1) == large(tostring(i)))
  end
  assert.equal(9, kept())
  b:close()
  assert.equal(0, kept())
  t.finish()
end

describe("A large string in a buffer", function()
  before_each(start)
  after_each(finish)

  it("is the script's own, not a copy", function()
    local function hundred(s)
      local buffers = {}
      local size = t.memory "VmRSS"
      for i = 1, 100 do buffers[i] = buffer(s):add(s):prepend(s) end
      assert.is_true(t.memory "VmRSS" - size < 30 * 1024)
      assert.is_true(tostring(buffers[100]) == s .. s .. s)
      return buffers
    end
    local buffers = hundred(large())
    assert.equal(1, kept())
    for _, b in ipairs(buffers) do b:close() end
    assert.equal(0, kept())
  end)

  it("makes what follows it no larger than it is", function()
    local b = buffer(("x"):rep(64 * MEGA))
    local size = t.memory "VmSize"
    b:add "\r\n"
    assert.is_true(t.memory "VmSize" - size < 16 * 1024)
    assert.equal("x\r\n", b:copyout(3, 64 * MEGA))
    b:close()
  end)

  it("is as any other, whatever stands beside it", function()
    for n = 16382, 16387 do
      local s = ("abcdefg"):rep(n):sub(1, n)
      local b = buffer(s):add("\r\n", s):prepend "<":prepend(s)
      b:add(s, 1.5, buffer "moved", s, "")
      assert.equal(s .. "<" .. s .. "\r\n" .. s .. s .. "1.5moved" .. s,
                   tostring(b))
      assert.equal(n + 1, b:search "<")
      assert.equal(s .. "<" .. s, b:readln())
      assert.equal(3 * n + 8, #b)
      b:close()
    end
  end)

  it("is not held when it was refused", function()
    local bev, closed = t.base():bufferevent(), buffer():close()
    local b = buffer "a"
    assert.is_false(pcall(b.add, b, large(), closed))
    assert.is_false(pcall(b.add, b, large(), large(), {}))
    assert.is_false(pcall(b.prepend, closed, large()))
    assert.is_false(pcall(closed.add, closed, large()))
    local input = bev:input()
    assert.is_false(pcall(input.add, input, large()))
    assert.is_false(pcall(bev:output().prepend, bev:output(), large()))
    assert.is_false(pcall(bev.write, bev, large(), {}))
    assert.equal(0, kept())
    assert.equal("a", tostring(b))
  end)

  for _, way in ipairs {
    {"drained", function(b) b:drain() end},
    {"drained in pieces", function(b)
      b:drain(1)
      b:drain(MEGA - 3)
      assert.equal(1, kept())
      b:drain(2)
    end},
    {"removed", function(b) return #b:remove() end},
    {"taken as a line", function(b)
      b:add("\n")
      return #b:readln()
    end},
    {"closed", function(b) b:close() end},
    {"prepended to, then drained", function(b)
      b:prepend("more"):prepend(large()):prepend(buffer(large()))
      assert.equal(3, kept())
      b:drain()
    end},
    {"moved to another buffer, then closed", function(b)
      local other = buffer "a"
      other:add(b)
      b:close()
      assert.equal(1, kept())
      other:close()
    end},
    {"moved before another buffer, then drained", function(b)
      local other = buffer "a"
      other:prepend_buffer(b)
      assert.equal(1, kept())
      other:drain(MEGA)
      assert.equal("a", tostring(other))
    end},
    {"moved to another buffer by half", function(b)
      local other = buffer()
      b:remove_buffer(other, MEGA // 2)
      other:close()
      assert.equal(1, kept())
      b:remove_buffer(buffer(), MEGA // 2)
    end},
    {"moved into an input, which is closed", function(b)
      local bev = t.base():bufferevent()
      bev:input():prepend(b)
      assert.equal(1, kept())
      bev:close()
    end},
    {"moved into an output, which is closed", function(b)
      local bev = t.base():bufferevent()
      bev:write(b)
      assert.equal(1, kept())
      bev:close()
    end},
    {"moved into an output, whose base is closed", function(b)
      local base = t.base()
      local bev = base:bufferevent()
      bev:write(b):input():prepend(large())
      assert.equal(2, kept())
      base:close()
    end},
    {"written to a descriptor", function(b)
      local null = io.open("/dev/null", "w")
      while #b > 0 do assert(b:write(null)) end
      null:close()
    end},
  } do
    it("is let go of when the buffer is " .. way[1], function()
      local b = buffer(large())
      assert.equal(1, kept())
      way[2](b)
      assert.equal(0, kept())
      assert.is_true(#tostring(b) < MEGA)
    end)
  end

  it("is let go of though its buffer refers to itself", function()
    local a, b = buffer(), buffer(large())
    b:add(a:add_buffer_reference(b))
    assert.equal(2 * MEGA, #b)
    b:freeze():close()
    assert.equal(0, kept())
    a, b = buffer(large()), buffer(large())
    local froma = buffer():add_buffer_reference(a)
    a:add_buffer_reference(b)
    b:add(froma)
    assert.equal(2, kept())
    a:close()
    assert.is_true(tostring(b) == large():rep(2))
    b:close()
  end)

  it("is let go of though others refer to its neighbour", function()
    local a, b = buffer(), buffer "small"
    a:add_buffer_reference(b)
    b:add(large()):close()
    assert.equal(0, kept())
    assert.equal("small", tostring(a))
  end)

  it("is let go of with a buffer that is collected", function()
    local b = buffer(large())
    assert.equal(MEGA, #b)
    b = nil -- luacheck: ignore
    assert.equal(0, kept())
  end)

  it("is let go of with a base that is collected", function()
    local base = t.base()
    base:bufferevent():write(large()):input():prepend(large())
    base = nil -- luacheck: ignore
    assert.equal(0, kept())
  end)

  it("is sent as it is, and let go of when it is sent", function()
    local base = t.base()
    t.connected(base, t.expect(function(server, client)
      local sent, got = {}, buffer()
      for i = 1, 5 do
        sent[i] = large(tostring(i)) .. "\n"
        server:write(sent[i], "between")
      end
      sent = table.concat(sent, "between") .. "between"
      server:setcb(nil, function()
        assert.equal(0, #server:output())
        server:close()
      end)
      client:setcb(function() got:add(client:input()) end, nil,
      function(_, what)
        assert.equal("eof", what)
        assert.is_true(tostring(got) == sent)
        sent = nil
        assert.equal(0, kept())
        client:close()
      end)
      client:enable "read"
    end))
    t.run(base)
  end)

  it("is let go of when its peer has gone", function()
    local base = t.base()
    t.connected(base, t.expect(function(server, client)
      server:setcb(nil, nil, t.expect(function(_, what)
        assert.equal("error", what)
        server:close()
        assert.equal(0, kept())
      end))
      client:close()
      for _ = 1, 20 do server:write(large()) end
    end))
    t.run(base)
  end)

  it("has a place even where finalizers add others", function()
    local others, wanted = {}, {}
    local n = 0
    local mt = {__gc = function()
      n = n + 1
      local s = ("o"):rep(20000) .. n
      others[#others + 1] = {buffer(s), s}
    end}
    for i = 1, 300 do
      for _ = 1, 5 do setmetatable({}, mt) end
      local s = tostring(i):rep(20000)
      wanted[i] = {buffer(s):add(1.5 * i, s), s .. 1.5 * i .. s}
      if i % 50 == 0 then collectgarbage() end
    end
    assert.is_true(n > 0)
    for _, list in ipairs {wanted, others} do
      for _, pair in ipairs(list) do
        assert.is_true(tostring(pair[1]) == pair[2])
      end
    end
  end)

  it("does not outlive its state, wherever it is", function()
    for _, ending in ipairs {"", "os.exit(true, true)"} do
      local text, status = t.lua([[
        local libevent = require "libevent"
        local function large() return ("x"):rep(2 ^ 20) end
        base = libevent.base()
        own = libevent.buffer(large())
        kept = base:bufferevent()
        kept:input():prepend(large())
        base:bufferevent():write(large())
        base:listener("127.0.0.1:0", function(listener, conn)
          conn:write(large(), large())
          listener:close()
          base:loopexit()
        end)
        local listener = base:listener("127.0.0.1:0", function(_, conn)
          conn:write(large(), large())
          conn:input():prepend(large())
          base:loopexit()
        end)
        client = base:bufferevent():connect(listener:sockname())
        client:write(large())
        base:dispatch()
        print "end"
      ]] .. ending)
      assert.equal("end\n", text)
      assert.equal(0, status)
    end
  end)

  it("does not outlive its state on the base of a host", function()
    local text, status = t.host("host", [[
      local libevent = require "libevent.core"
      local function large() return ("x"):rep(2 ^ 20) end
      local listener = base:listener("127.0.0.1:0", function(l, conn)
        conn:write(large(), large())
        conn:input():prepend(large())
        l:close()
        print "connected"
      end)
      local client = base:bufferevent():connect(listener:sockname())
      client:write(large())
      client:setcb(function() client:disable "read" end):enable "read"
      local unused = base:bufferevent():write(large())
      base:timer(function() unused:close() end):add(0)
    ]])
    assert.matches("^same 1\nconnected\nrunning %d\nafter lua_close 1\n"
                   .. "events left 1\n$", text)
    assert.equal(0, status)
  end)
end)
