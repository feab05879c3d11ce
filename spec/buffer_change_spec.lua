-- src/change.c: callbacks of changes of a buffer.
local libevent = require "libevent"
local kinds = require "spec.kinds"
local t = require "spec.helper"

local buffer = libevent.buffer

local base
local function start() t.start() base = t.base() end
local function finish() base = nil t.finish() end

local raises = t.raises

--- Counts of all calls so far: "added/deleted" each.
local function told(b)
  local calls = {}
  b:add_cb(function(self, added, deleted)
    assert.equal(b, self)
    calls[#calls + 1] = ("%d/%d"):format(added, deleted)
  end, base)
  return calls
end

local function file(bytes)
  local f = io.tmpfile()
  f:write(bytes):flush()
  f:seek "set"
  return f
end

describe("A change of a buffer", function()
  before_each(start)
  after_each(finish)

  local large = ("x"):rep(100000)

  --- {what is done to a buffer "abc\n" and another one "other"; what the two
  --- are told}
  for name, case in pairs {
    ["add"] = {function(b) b:add("de", 1.5, "") end, "5/0"},
    ["add of a large string"] = {function(b) b:add(large) end, "100000/0"},
    ["add of a buffer"] = {function(b, o) b:add("de", o) end, "7/0", "0/5"},
    ["prepend"] = {function(b) b:prepend "de" end, "2/0"},
    ["prepend of a large string"] = {function(b) b:prepend(large) end,
                                     "100000/0"},
    ["prepend of a buffer"] = {function(b, o) b:prepend(o) end, "5/0", "0/5"},
    ["remove"] = {function(b) b:remove(3) end, "0/3"},
    ["drain"] = {function(b) b:drain() end, "0/4"},
    ["readln"] = {function(b) b:readln() end, "0/4"},
    ["add_buffer"] = {function(b, o) b:add_buffer(o) end, "5/0", "0/5"},
    ["prepend_buffer"] = {function(b, o) b:prepend_buffer(o) end, "5/0",
                          "0/5"},
    ["remove_buffer"] = {function(b, o) b:remove_buffer(o, 3) end, "0/3",
                         "3/0"},
    ["remove_buffer of all"] = {function(b, o) b:remove_buffer(o, 9) end,
                                "0/4", "4/0"},
    ["add_buffer_reference"] = {function(b, o) b:add_buffer_reference(o) end,
                                "5/0"},
    ["read"] = {function(b)
      local f <close> = file "1234567"
      b:read(f)
    end, "7/0"},
    ["write"] = {function(b)
      local f <close> = io.open("/dev/null", "w")
      b:write(f, 3)
    end, "0/3"},
    ["add_file"] = {function(b)
      local f <close> = file "1234567"
      b:add_file(f, 1, 5)
    end, "5/0"},
    ["add_file_segment"] = {function(b)
      local f <close> = file "1234567"
      b:add_file_segment(libevent.file_segment(f))
    end, "7/0"},
    ["a new one"] = {function(b) return #buffer(b) end, "0/4"},
    ["all that happens until the loop runs"] = {function(b, o)
      b:add("12"):drain(5):prepend(o):remove(1)
      o:add(b)
    end, "7/11", "5/5"},
    ["nothing"] = {function(b, o)
      b:add():add(""):drain(0):expand(100):freeze():unfreeze():prepend ""
      b:remove_buffer(o, 0)
      b:add(b):add_buffer(b):prepend(b)
      b:add(buffer()):add_buffer_reference(buffer())
      assert.equal("abc\n", b:peek() .. b:copyout(0) .. b:remove(0))
    end},
  } do
    it("is told with the bytes added and taken: " .. name, function()
      local b, o = buffer "abc\n", buffer "other"
      local calls, others = told(b), told(o)
      case[1](b, o)
      assert.same({}, calls)
      t.turns(base)
      assert.same({case[2]}, calls)
      assert.same({case[3]}, others)
      t.turns(base, 2)
      assert.same({case[2]}, calls)
    end)
  end

  it("is told in the loop, each turn's changes at once", function()
    local b = buffer()
    local calls = told(b)
    base:timer(function()
      b:add "a"
      b:add "b"
      assert.same({}, calls)
    end):add(0)
    base:timer(function()
      b:drain(1)
      assert.same({"2/0"}, calls)
    end):add(0.02)
    t.run(base)
    assert.same({"2/0", "0/1"}, calls)
  end)

  it("keeps the loop until it is told", function()
    local b = buffer()
    local calls = told(b)
    b:add "a"
    assert.is_false(base:dispatch())
    assert.same({"1/0"}, calls)
    assert.is_false(base:dispatch())
  end)

  it("is told of a connection's input and output", function()
    local total = 300000
    t.connected(base, t.expect(function(server, client)
      local sent, got, left = {0, 0}, {0, 0}, 0
      server:output():add_cb(function(b, added, deleted)
        assert.equal(server:output(), b)
        sent[1], sent[2] = sent[1] + added, sent[2] + deleted
        if #b == 0 then server:close() end
      end)
      client:input():add_cb(function(b, added, deleted)
        got[1], got[2] = got[1] + added, got[2] + deleted
        left = #b
        b:drain()
      end, base)
      client:setcb(nil, nil, function(c)
        base:timer(function()
          assert.is_true(t.isclosed(server))
          assert.same({total, total}, sent)
          assert.same({total, total}, got)
          assert.equal(0, left)
          c:close()
        end):add(0.02 * t.slow)
      end)
      client:enable "read"
      server:write(("x"):rep(total - 1), "y")
    end))
    t.run(base)
  end)

  it("is told by a host's base too", function()
    local text, status = t.host("host", [[
      local libevent = require "libevent.core"
      b = libevent.buffer()
      local gone = libevent.buffer()
      b:add_cb(function(_, added) print("added", added) end, base)
      gone:add_cb(print, base):add("never told"):close()
      base:timer(function() b:add "later" end):add(0.005)
      local bev = base:bufferevent():write "unsent"
      bev:output():add_cb(print)
      bev:input():add_cb(print)
      bev:close()
      kept = base:bufferevent():write "unsent"
      kept:output():add_cb(print)
    ]])
    assert.matches("^same 1\nadded\t5\nrunning %d\nafter lua_close 1\n"
                   .. "events left 1\n$", text)
    assert.equal(0, status)
  end)
end)

describe("Callbacks of a buffer", function()
  before_each(start)
  after_each(finish)

  --- A buffer whose callbacks append their names to the list.
  local function named(names, ...)
    local b, list = buffer(), {}
    for name in names:gmatch "%a" do
      b:add_cb(function()
        list[#list + 1] = name
      end, base)
    end
    return b, list, ...
  end

  it("are called in the order in which they came", function()
    local b, list = named "abc"
    b:add "x"
    t.turns(base)
    b:add "y"
    t.turns(base)
    assert.equal("abcabc", table.concat(list))
  end)

  it("may be one function several times", function()
    local b = buffer()
    local f = t.expect(nil, 4)
    b:add_cb(f, base):add_cb(f):add_cb(f, base):add "x"
    t.turns(base)
    b:remove_cb(f):remove_cb(f):add "y"
    t.turns(base)
    b:remove_cb(f):add "z"
    t.turns(base)
    raises("not a callback of this buffer", b.remove_cb, b, f)
  end)

  it("may be anything that can be called", function()
    local f = setmetatable({}, {__call = t.expect()})
    local b = buffer():add_cb(f, base):add "x"
    t.turns(base)
    b:remove_cb(f):add "y"
    t.turns(base)
    for _, value in ipairs {1, "x", {}, true} do
      raises("function expected", b.add_cb, b, value, base)
    end
    raises("function expected", b.add_cb, b)
  end)

  it("may be removed before they are called", function()
    local b, f = buffer(), t.never()
    b:add_cb(f, base):add "x"
    assert.equal(b, b:remove_cb(f))
    raises("not a callback of this buffer", b.remove_cb, b, f)
    raises("not a callback of this buffer", b.remove_cb, b, nil)
    t.turns(base, 2)
    assert.equal(0, base:num_events "active")
  end)

  it("may remove themselves and each other", function()
    local b, list = buffer(), {}
    local function add(name, f)
      local function cb()
        list[#list + 1] = name
        f(cb)
      end
      b:add_cb(cb, base)
      return cb
    end
    local third
    add("a", function(self) b:remove_cb(self) end)
    add("b", function() if third then b:remove_cb(third) end third = nil end)
    third = add("c", function() end)
    add("d", function() end)
    b:add "x"
    t.turns(base)
    b:add "x"
    t.turns(base)
    assert.equal("abdbd", table.concat(list))
  end)

  it("may be the last to remove itself, and come back", function()
    local b, n = buffer(), 0
    local function cb(self)
      n = n + 1
      self:remove_cb(cb)
      if n == 1 then self:add_cb(cb, base) end
    end
    b:add_cb(cb, base):add "x"
    t.turns(base, 2)
    assert.equal(1, n)
    b:add "y"
    t.turns(base, 2)
    b:add "z"
    t.turns(base, 2)
    assert.equal(2, n)
  end)

  it("that come in a callback hear of the next change", function()
    local b, list = named "a"
    local second = t.expect(function() list[#list + 1] = "b" end)
    local function cb()
      b:remove_cb(cb)
      b:add_cb(second)
    end
    b:add_cb(cb):add "x"
    t.turns(base, 3)
    assert.equal("a", table.concat(list))
    b:add "y"
    t.turns(base)
    assert.equal("aab", table.concat(list))
  end)

  it("may change the buffer, and are called again in the next turn",
  function()
    local b, n, turns = buffer(), 0, 0
    local pipe = io.popen "echo always something to read"
    pipe:setvbuf "no"
    pipe:read(1)
    b:add_cb(function(self, added, deleted)
      n = n + 1
      assert.equal(n == 1 and 1 or 2, added)
      assert.equal(n == 1 and 0 or 1, deleted)
      assert.is_true(turns >= n - 2)
      if n < 50 then self:add("ab"):drain(1) end
    end, base)
    base:event(pipe, "read|persist", function(self)
      turns = turns + 1
      if n == 50 then self:close() end
    end):add()
    b:add "x"
    t.turns(base)
    assert.equal(1, n)
    t.turns(base)
    assert.equal(2, n)
    t.run(base)
    assert.equal(50, n)
    pipe:close()
  end)

  it("may change another buffer, which is told in the next turn", function()
    local a, b = buffer(), buffer()
    local calls = told(b)
    a:add_cb(function() b:add(a) end, base):add "abc"
    t.turns(base)
    assert.same({}, calls)
    t.turns(base)
    assert.same({"3/0"}, calls)
  end)

  it("are all called if one of them raises", function()
    local b, list = named "a"
    b:add_cb(function() error "oh no" end)
    b:add_cb(function() error "worse" end)
    b:add_cb(function() list[#list + 1] = "b" end)
    base:set_error_cb(t.expect(function(err, object)
      list[#list + 1] = err:match ": (%a+)"
      assert.equal(b, object)
    end, 2))
    b:add "x"
    t.turns(base)
    assert.equal("a oh worse b", table.concat(list, " "))
    base:set_error_cb()
    b:add "y"
    warn "@off"
    raises("oh no", base.dispatch, base)
    assert.equal("ab", table.concat(list, "", 5))
    b:add "z"
    raises("oh no", base.dispatch, base)
  end)

  it("wait for the next loop if this one is to break", function()
    local list, buffers = {}, {}
    for i = 1, 4 do
      buffers[i] = buffer()
      buffers[i]:add_cb(function()
        list[#list + 1] = i
        if i == 2 then base:loopbreak() end
      end, base):add "x"
    end
    assert.is_true(base:dispatch())
    assert.equal("12", table.concat(list))
    assert.is_false(base:dispatch())
    assert.equal("1234", table.concat(list))
  end)

  it("cannot yield", function()
    local b = buffer():add_cb(function() coroutine.yield() end, base):add "x"
    raises("cannot yield", base.dispatch, base)
    assert.equal(1, #b)
  end)

  for _, ending in ipairs {
    {"close their buffer", function(b) b:close() end},
    {"close the base", function() base:close() end},
    {"close both", function(b) b:close() base:close() end},
    {"close the base and raise", function() base:close() error "oh no" end,
     "oh no"},
    {"close their buffer and raise", function(b) b:close() error "oh no" end,
     "oh no"},
  } do
    it("may " .. ending[1] .. ", and are the last then", function()
      local b, other = buffer(), buffer()
      b:add_cb(t.expect(function(self)
        ending[2](self)
        collectgarbage() collectgarbage()
      end), base)
      b:add_cb(t.never())
      b:add "x"
      other:add_cb(function() end, base):add "x"
      local ok, message = pcall(base.loop, base, "nonblock")
      assert.equal(ending[3] == nil, ok)
      if not ok then assert.matches(ending[3], message) end
      if not tostring(base):find "closed" then t.turns(base, 3) end
    end)

    it("may drop every reference and " .. ending[1], function()
      local weak = setmetatable({}, {__mode = "k"})
      do
        local b = buffer()
        b:add_cb(t.expect(function(self)
          weak[self] = true
          collectgarbage() collectgarbage()
          ending[2](self)
        end), base)
        b:add_cb(t.never())
        b:add "x"
        pcall(base.loop, base, "nonblock")
      end
      collectgarbage() collectgarbage()
      assert.is_nil(next(weak))
    end)
  end

  it("may close a connection, whose buffer it is, and the other's",
  function()
    local server, client = kinds.pair(base)
    server:input():add_cb(t.expect(function(b)
      assert.equal(5, #b)
      server:close()
      client:close()
      collectgarbage() collectgarbage()
      assert.equal("libevent.Buffer (closed)", tostring(b))
    end))
    server:input():add_cb(t.never())
    client:input():add_cb(t.never())
    server:setcb(function() client:input():prepend "not told" end)
    server:enable "read"
    client:write "hello"
    t.run(base)
  end)

  it("may end the program", function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      local base = libevent.base()
      local b = libevent.buffer()
      b:add_cb(function() os.exit(true, true) end, base):add "x"
      b:add_cb(print)
      base:bufferevent():write "x":output():add_cb(print)
      base:dispatch()
      print "did not exit"
    ]]
    assert.equal("", text)
    assert.equal(0, status)
  end)
end)

describe("Nothing is told any more", function()
  before_each(start)
  after_each(finish)

  it("of a buffer that is closed", function()
    local b = buffer():add_cb(t.never(), base):add "x"
    b:close()
    t.turns(base, 2)
    assert.equal(0, base:num_events "active")
    raises("Buffer is closed", b.add_cb, b, print, base)
    raises("Buffer is closed", b.remove_cb, b, print)
  end)

  it("of a buffer that is collected", function()
    buffer():add_cb(t.never(), base):add "x"
    collectgarbage() collectgarbage()
    t.turns(base, 2)
  end)

  it("of a buffer whose bytes live on in another", function()
    local b, other = buffer "abc", buffer()
    b:add_cb(t.never(), base)
    other:add_buffer_reference(b)
    b:close()
    t.turns(base)
    assert.equal("abc", other:remove())
  end)

  it("of the buffers of a bufferevent that is closed", function()
    local bev = base:bufferevent()
    local input, output = bev:input(), bev:output()
    local never = t.never()
    input:add_cb(never):prepend "x"
    output:add_cb(never):add "y"
    bev:close()
    t.turns(base, 3)
    raises("Bufferevent is closed", input.add_cb, input, print)
    raises("Bufferevent is closed", output.remove_cb, output, never)
  end)

  it("on a base that is closed, but on another one", function()
    local b, old = buffer(), t.base()
    local never = t.never()
    b:add_cb(never, old):add "x"
    old:close()
    raises("not a callback of this buffer", b.remove_cb, b, never)
    raises("libevent.Base expected, got nil", b.add_cb, b, print)
    raises("Base is closed", b.add_cb, b, print, old)
    b:add_cb(t.expect(function(_, added) assert.equal(1, added) end), base)
    b:add "y"
    t.turns(base)
  end)
end)

describe("The base of a buffer's callbacks", function()
  before_each(start)
  after_each(finish)

  it("is given with the first of them", function()
    local b = buffer()
    raises("libevent.Base expected, got nil", b.add_cb, b, print)
    raises("libevent.Base expected", b.add_cb, b, print, "base")
    b:add_cb(t.expect(), base)
    b:add_cb(t.expect()):add "x"
    raises("the buffer's callbacks run on another base", b.add_cb, b, print,
            t.base())
    t.turns(base)
  end)

  it("may be another one when all are removed", function()
    local b, other = buffer(), t.base()
    b:add_cb(print, other):add("x"):remove_cb(print)
    b:add_cb(t.expect(), base):add "y"
    t.turns(other)
    t.turns(base)
  end)

  it("is the bufferevent's own", function()
    local bev = base:bufferevent()
    local input = bev:input()
    raises("the buffer's callbacks run on another base", input.add_cb, input,
            print, t.base())
    input:add_cb(t.expect()):add_cb(t.expect(), base):prepend "x"
    t.turns(base)
  end)

  it("lives as long as the buffer", function()
    local weak = setmetatable({}, {__mode = "k"})
    local b = buffer()
    local function watch()
      local other = t.base()
      weak[other] = true
      b:add_cb(t.expect(), other)
    end
    watch()
    collectgarbage() collectgarbage()
    b:add "x"
    t.turns((next(weak)))
    b:close()
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    b = buffer():add_cb(print, t.base()):remove_cb(print)
    collectgarbage() collectgarbage()
    assert.equal(0, #b)
  end)
end)

describe("A callback that mentions its buffer", function()
  before_each(start)
  after_each(finish)

  for _, changed in ipairs {false, true} do
    it("does not keep it" .. (changed and ", nor does a change" or ""),
    function()
      local weak = setmetatable({}, {__mode = "k"})
      for _ = 1, 10 do
        local b = buffer()
        weak[b] = true
        b:add_cb(function() return b, base end, base)
        if changed then b:add "x" end
        local bev = base:bufferevent()
        weak[bev] = true
        bev:input():add_cb(function() return bev end)
        bev:output():add_cb(function() return bev end)
        if changed then bev:input():prepend "x" end
      end
      collectgarbage() collectgarbage()
      assert.is_nil(next(weak))
      t.turns(base, 2)
    end)
  end

  it("does not keep it after it was called", function()
    local weak = setmetatable({}, {__mode = "k"})
    do
      local b = buffer()
      weak[b] = true
      b:add_cb(t.expect(function() error(b) end), base):add "x"
      pcall(base.loop, base, "nonblock")
    end
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("may end in any order", function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      for round = 1, 50 do
        local keep = {}
        for _ = 1, 3 do
          local base = libevent.base()
          local bev = base:bufferevent()
          local b, other = libevent.buffer(), libevent.buffer()
          for _, buffer in ipairs {b, other, bev:input(), bev:output()} do
            buffer:add_cb(function() return b, base, bev, keep end, base)
            if math.random(2) == 1 then pcall(buffer.prepend, buffer, "x") end
            keep[#keep + 1] = buffer
          end
          b:add_cb(function() pcall(other.add, other, b) end):add "y"
          bev:write "z"
          keep[#keep + 1], keep[#keep + 2] = base, bev
        end
        while #keep > 0 do
          local object = table.remove(keep, math.random(#keep))
          local what = math.random(6)
          if what == 1 then object:close() end
          if what == 2 then collectgarbage() end
          if what == 3 then collectgarbage "step" end
          if object.loop and what > 3 then object:loop "nonblock" end
        end
      end
      print "ended"
    ]]
    assert.equal("ended\n", text)
    assert.equal(0, status)
  end)

  it("leaves nothing behind, however often it comes and goes", function()
    local b = buffer()
    local function round(n)
      for _ = 1, n do
        local function cb() return b end
        b:add_cb(cb, base):add("x"):drain(1):remove_cb(cb)
      end
      t.turns(base)
      collectgarbage() collectgarbage()
      return collectgarbage "count"
    end
    round(1000)
    local before = round(1000)
    assert.is_true(round(10000) - before < 16)
  end)
end)
