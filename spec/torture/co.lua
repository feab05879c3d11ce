--- Tasks, and streams in them.

local co = require "libevent.co"
local core = require "libevent.core"
local secure = require "spec.selfsigned"

local server, client = secure.contexts()
local large = ("large "):rep(20000)

--- Runs f in a task of its own, to its end; returns what it returns.
local function alone(s, f)
  local main = co.spawn(s.base, f)
  s:run(function() return main:status() ~= "waiting" end)
  return main:join()
end

--- The same with other tasks, which may fail, and be waited for in vain.
local function task(s, f, ...)
  local main <close> = co.spawn(s.base, f, ...):set_name "main"
  s:run(function()
    local failed, err = core.task.claim(s.base)
    if failed then error(err, 0) end
    return main:status() ~= "waiting"
  end)
  return main:join()
end

--- It is this why nothing has come; or else there is a better reason.
local function only(message, value, why)
  assert(not value)
  if why ~= message then error(why, 0) end
end

return {
  {"tasks that are joined", function(s)
    assert(task(s, function(...)
      assert(select("#", ...) == 2)
      local list = {}
      for i = 1, 3 do list[i] = co.spawn(function(n) return n, 2 * n end, i) end
      local sum = 0
      for _, t in ipairs(list) do
        local a, b = t:join()
        sum = sum + a + b
      end
      local one = co.spawn(function() co.sleep(0.001) return "one" end)
      assert(tostring(one):find "waiting" and one:traceback())
      assert(not one:name())
      assert(#co.tasks() == 2 and co.current():name() == "main")
      assert(one:join(1) == "one" and one:status() == "done")
      return sum == 18
    end, 1, nil))
  end},

  {"tasks that fail, with somebody who joins them and without", function(s)
    alone(s, function()
      local failed = co.spawn(function()
        co.sleep(0)
        error "a lack: not enough memory"
      end)
      local ok, err = pcall(failed.join, failed)
      assert(not ok and tostring(err):find "memory", err)
      local early = co.spawn(function() error "no words: not enough memory" end)
      co.sleep(0.001)
      ok, err = pcall(early.join, early)
      assert(not ok and tostring(err):find "memory", err)
      assert(early:traceback())
    end)
  end},

  {"tasks that are cancelled, or too late", function(s)
    task(s, function()
      local closed
      local t = co.spawn(function()
        local _ <close> = setmetatable({}, {__close = function()
          closed = true
        end})
        co.sleep(5)
      end)
      only("timeout", t:join(0))
      only("cancelled", t:cancel():join())
      assert(closed)
      only("timeout", co.deadline(0.001, co.sleep, 1))
      assert(co.deadline(1, function() co.sleep(0) return 5 end) == 5)
      local generate = co.wrap(function(a)
        co.sleep(0)
        a = coroutine.yield(a + 1)
        return a + 1
      end)
      assert(generate(1) == 2 and generate(2) == 3)
      local _ <close> = co.spawn(error, "never")
    end)
  end},

  {"channels, and what else tasks wait for together", function(s)
    task(s, function()
      local ch, places = co.channel(1), co.semaphore(1)
      local come, group = co.condition(), co.waitgroup():add(2)
      local giver = co.spawn(function()
        for i = 1, 3 do assert(ch:put(i)) end
        ch:close()
        group:done()
      end)
      local taker = co.spawn(function()
        local _ <close> = places:place()
        come:wait()
        group:done()
      end)
      local sum = 0
      for value in ch:values() do sum = sum + value end
      assert(sum == 6)
      co.sleep(0)
      come:broadcast()
      assert(places:acquire())
      assert(group:wait())
      assert(co.select {ch, giver} == ch)
      giver:join()
      taker:join()
    end)
  end},

  {"descriptors, signals and callbacks that are waited for", function(s)
    s.fd, s.fd2 = core.socketpair()
    local r, w = assert(s.fd), s.fd2
    task(s, function()
      assert(assert(co.wait(w, "write", 1)) == "write")
      only("timeout", co.wait(r, "read", 0.001))
      only("timeout", co.signal("USR1", 0.001))
      assert(co.await(function(done)
        s:timer(function() done("called") end, 0.001)
      end, 1) == "called")
    end)
  end},

  {"streams of a pair, in every format", function(s)
    task(s, function()
      local a, b = assert(co.pair())
      a:set_timeout(10)
      assert(a:write("line\r\n", "whole\n", "12345", "until--", large))
      assert(assert(b:read()) == "line")
      assert(assert(b:read "L") == "whole\n")
      assert(assert(b:read(5)) == "12345")
      assert(assert(b:read_until "--") == "until")
      local reader = co.spawn(b.read, b, "a")
      assert(a:flush())
      assert(a:shutdown())
      assert(assert(reader:join()) == large)
      assert(not b:tls() and b:bufferevent() and b:getfd())
      assert(b:peername() and b:sockname())
      local bev = assert(b:detach())
      assert(bev:input())
      a:close()
    end)
  end},

  {"streams of a listener and its clients", function(s)
    task(s, function()
      local listener = assert(co.listen("127.0.0.1:0", function(stream)
        for line in stream:lines() do stream:write(line, "\n") end
      end, {max_connections = 2}))
      for _ = 1, 2 do
        local stream <close> = assert(co.connect(listener:sockname(),
                                                 {timeout = 1}))
        assert(stream:write "hello\n")
        for data in stream:chunks() do
          assert(data == "hello\n")
          stream:shutdown()
        end
        only("eof", stream:read_some())
      end
      listener:close()
      local patient = assert(co.listen "127.0.0.1:0")
      local t = co.spawn(co.connect, patient:sockname())
      local stream <close> = assert(patient:accept())
      local other = assert(t:join())
      other:close()
      only("eof", stream:read(1))
      patient:close()
    end)
  end},

  {"streams that begin with TLS", function(s)
    task(s, function()
      local listener = assert(co.listen("127.0.0.1:0", function(stream)
        assert(assert(stream:read()) == "STARTTLS")
        assert(stream:starttls(server))
        assert(stream:write(stream:tls().version))
      end))
      local stream <close> = assert(co.connect(listener:sockname(),
                                               {timeout = 1}))
      assert(stream:write "STARTTLS\n")
      assert(stream:starttls(client, "localhost"))
      local version = assert(stream:read "a")
      assert(version == "TLSv1.3", "cut short: perhaps not enough memory")
      listener:close()
    end)
  end},
}
