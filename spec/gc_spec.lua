-- Lifetimes across all types: what may happen inside a callback, and what is
-- left when nobody holds anything.
local t = require "spec.helper"
local kinds = require "spec.kinds".kinds

-- What starts a program of its own takes long under valgrind: every tenth.
local EXITS = os.getenv "VALGRIND" and 10 or 1

-- Runs what is left, in a loop that ends.
local function rest(base)
  local last = t.expect(function() base:loopbreak() end, 1, "a last timer")
  base:timer(last):add(0.005)
  base:dispatch()
end

-- Something active of every type, to be closed by somebody else's callback.
local function others(base)
  local listener = base:listener("127.0.0.1:0", function() end)
  local bev = base:bufferevent():setcb(nil, nil, function() end)
  bev:connect(listener:sockname())
  return {
    base:timer(function() end):add(0), base:user(function() end):active(),
    bev:write "data", listener,
    base:signal("USR2", function() end):add(),
    base:waker(function() end):wake(),
  }
end

-- What a callback does to (object, base); 'raises': what the loop does then.
local actions = {
  {"closes itself", function(object)
    object:close()
    object:close()
  end},
  {"closes all others", function(_, base)
    for _, other in ipairs(base.others) do other:close() end
  end},
  {"closes the base", function(_, base) base.base:close() end, closes = true},
  {"closes itself and the base", function(object, base)
    object:close()
    base.base:close()
  end, closes = true},
  {"raises an error", function() error("oh no") end, raises = "oh no"},
  {"raises after closing itself", function(object)
    object:close()
    error("oh no")
  end, raises = "oh no"},
  {"raises after closing the base", function(_, base)
    base.base:close()
    error("oh no")
  end, closes = true, raises = "oh no"},
  {"yields", function() coroutine.yield() end,
   raises = "cannot yield"},
  {"collects garbage", function() collectgarbage() collectgarbage() end},
  {"drops every reference", function(_, base)
    base.others, base.object = nil, nil
    collectgarbage() collectgarbage()
  end},
  {"drops every reference and raises", function(_, base)
    base.others, base.object = nil, nil
    collectgarbage() collectgarbage()
    error {}
  end, raises = "table"},
  {"replaces its callback", function(object)
    local new = function() end
    if object.setcb then object:setcb(new, new, new)
    elseif object.set_gencb then object:set_gencb(new):stop(new)
    elseif object.set_cb then object:set_cb(new)
    elseif object.set_callback then object:set_callback(new) end
    collectgarbage()
  end},
  {"leaves the loop", function(_, base) base.base:loopbreak() end},
}

for i, kind in ipairs(kinds) do
  describe("In " .. kind[1] .. ", a script that", function()
    before_each(t.start)
    after_each(t.finish)

    for _, action in ipairs(actions) do
      it(action[1] .. " is safe", function()
        local context = {}
        local done = false
        local base = t.base()
        context.base = base
        context.others = others(base)
        context.object = kind[2](base, function(object)
          if done then return object.close and object:close() end
          done = true
          action[2](object, context)
        end)
        base:loopexit(2)
        local ok, message
        repeat
          ok, message = pcall(base.loop, base, "once")
        until done
        assert.equal(action.raises == nil, ok, message)
        if action.raises then
          assert.truthy(tostring(message):find(action.raises), message)
        end
        if action.closes then
          assert.truthy(tostring(base):find "closed")
        else
          rest(base)
        end
        base:close()
      end)
    end

    it("raises with an error callback set goes on", function()
      local base = t.base()
      local called, late, object
      base:set_error_cb(t.expect(function(err, self)
        assert.truthy(err:find "oh no")
        called = self
      end))
      object = kind[2](base, t.expect(function(self)
        self:close()
        error("oh no")
      end))
      base:timer(function() late = true end):add(5 * t.slow)
      repeat base:loop "once" until called or late
      assert.equal(object, called)
      rest(base)
    end)

    local sometimes = i % EXITS == 0 and it or function() end
    sometimes("calls os.exit(true, true) exits", function()
      local text, status = t.lua(([[
        local kinds = require "spec.kinds".kinds
        local base = require "libevent".base()
        for _, kind in ipairs(kinds) do
          if kind[1] == %q then
            local object = kind[2](base, function() os.exit(true, true) end)
            base:timer(print):add(9)
            base:dispatch()
          end
        end
        print "did not exit"
      ]]):format(kind[1]))
      assert.equal("", text)
      assert.equal(0, status)
    end)
  end)
end

describe("What is active", function()
  before_each(t.start)
  after_each(t.finish)

  for _, kind in ipairs(kinds) do
    it("needs no variable: " .. kind[1], function()
      local base = t.base()
      kind[2](base, t.expect(function(object)
        object:close()
        base:loopbreak()
      end))
      collectgarbage() collectgarbage()
      t.run(base)
    end)
  end

  for collector, start in pairs {
    ["a generational collector"] = function()
      collectgarbage("generational", 1, 1)
    end,
    ["a collector that never rests"] = function()
      collectgarbage("incremental", 1, 1000, 1)
    end,
  } do
    it("is called under " .. collector, function()
      for _, kind in ipairs(kinds) do
        local base = t.base()
        local called
        start()
        kind[2](base, function(object)
          called = true
          for i = 1, 100 do local _ = {i, tostring(i)} end
          object:close()
        end)
        for i = 1, 1000 do local _ = {i, tostring(i)} end
        local deadline = os.time() + 5 * t.slow
        repeat
          base:loop "once"
        until called or os.time() > deadline
        collectgarbage("incremental", 200, 100, 13)
        assert.is_true(called, kind[1])
        base:close()
      end
    end)
  end
end)

describe("What can never be called again", function()
  before_each(t.start)
  after_each(t.finish)

  local function collected(make)
    local base = t.base()
    local weak = setmetatable({make(base)}, {__mode = "v"})
    t.turns(base, 3)
    collectgarbage() collectgarbage()
    assert.is_nil(weak[1])
    base:close()
  end

  for name, make in pairs {
    ["a timer that was never added"] = function(base)
      return base:timer(print)
    end,
    ["a timer that has fired"] = function(base)
      return base:timer(function() end):add(0)
    end,
    ["a timer that was deleted"] = function(base)
      return base:timer(print):add(9):del()
    end,
    ["a signal that was deleted"] = function(base)
      return base:signal("USR1", print):add():del()
    end,
    ["an event of the script's that has run"] = function(base)
      return base:user(function() end):active()
    end,
    ["a closure that mentions its own object"] = function(base)
      local timer
      timer = base:timer(function() return timer end)
      return timer
    end,
    ["a bufferevent without a descriptor"] = function(base)
      return base:bufferevent():setcb(print, print, print)
    end,
    ["a bufferevent that does nothing"] = function(base)
      local server, client = require "spec.kinds".pair(base)
      client:setcb(print)
      server:close()
      return client
    end,
    ["a bufferevent whose buffers are known"] = function(base)
      local bev = base:bufferevent()
      bev:setcb(function() return bev:input(), bev:output() end)
      return bev, bev:input(), bev:output()
    end,
    ["a pair that does nothing"] = function(base)
      local a, b = base:pair()
      a:setcb(function() return b end):enable "read"
      return a, b
    end,
    ["filters on each other that do nothing"] = function(base)
      local filter
      local lower = base:filter((base:pair()), function() return filter end)
      filter = base:filter(lower):setcb(function() return lower end)
      return filter, lower
    end,
    ["a bufferevent that was triggered"] = function(base)
      return base:bufferevent():setcb(function() end):trigger "read|write"
    end,
    ["a server of HTTP without connections"] = function(base)
      local http
      http = base:http():set_gencb(function() return http end)
      http:set_cb("/", function() return http end)
      http:add_virtual_host("*", base:http():set_gencb(function()
        return http
      end))
      local listener = http:bind_socket "127.0.0.1:0"
      listener:disable()
      return http
    end,
    ["a server of HTTP that has stopped"] = function(base)
      local http = base:http()
      http:bind_socket "127.0.0.1:0"
      http:stop(function() return http end)
      return http
    end,
    ["a listener that is disabled"] = function(base)
      return base:listener("127.0.0.1:0", print):disable()
    end,
  } do
    it("is collected: " .. name, function() collected(make) end)
  end

  it("is collected with its base, which nobody can run any more", function()
    local weak = setmetatable({}, {__mode = "v"})
    do
      local base = t.base()
      weak[1] = base
      weak[2] = base:timer(function() return base end):add(9)
      weak[3] = base:listener("127.0.0.1:0", function() return base end)
    end
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("is closed with the connection that an accept callback ignored",
  function()
    local base = t.base()
    local listener = base:listener("127.0.0.1:0", function() end)
    local client = base:bufferevent()
    client:setcb(nil, nil, t.expect(function(_, what)
      if what == "eof" then base:loopbreak() end
    end, 2))
    client:enable "read":connect(listener:sockname())
    base:timer(function() collectgarbage() end, "persist"):add(0.005)
    t.run(base)
    base:close()
  end)
end)

describe("At the end of a state", function()
  it("any order of collection is safe and calls nobody", function()
    local text, status = t.lua [[
      local kinds = require "spec.kinds".kinds
      local libevent = require "libevent"
      math.randomseed(os.time())
      for round = 1, os.getenv "VALGRIND" and 2 or 20 do
        local keep = {}
        for _ = 1, 3 do
          local base = libevent.base()
          for _, kind in ipairs(kinds) do
            if kind[1] ~= "a signal" then
              keep[#keep + 1] = kind[2](base, function() end)
              if keep[#keep].input then
                keep[#keep + 1] = keep[#keep]:input()
              end
            end
          end
          keep[#keep + 1] = base
        end
        while #keep > 0 do
          table.remove(keep, math.random(#keep))
          if math.random(5) == 1 then collectgarbage "step" end
        end
      end
      left = {}
      for i = 1, 3 do
        left[i] = libevent.base()
        for _, kind in ipairs(kinds) do
          if kind[1] ~= "a signal" then
            left[#left + 1] = kind[2](left[i], function() print "called" end)
          end
        end
      end
      print "ended"
    ]]
    local after = text:match "ended\n(.*)$"
    assert.is_nil(after:find "called", text)
    assert.equal(0, status)
  end)
end)
