-- src/http_stream.c: connections: what may happen in each callback, clients
-- that close half of theirs, that never read, and many of them at once.
local http = require "spec.http"
local listdescriptors = require "spec.descriptors"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local hello = http.request "GET /"

--- The callbacks of a server. Each is set up by f(s, cb), so that cb is called
--- with the request, once s.client has sent what it sends.
local kinds = {
  {"a handler", function(s, cb)
    s.http:set_gencb(cb)
    return hello
  end},
  {"a handler of a path", function(s, cb)
    s.http:set_cb("/", cb)
    return hello
  end},
  {"a handler of a body", function(s, cb)
    s.http:set_gencb(cb)
    return http.request("POST /", {}, "body") .. hello
  end},
  {"a handler of chunks", function(s, cb)
    s.http:set_gencb(cb)
    return http.request("POST /", {"Transfer-Encoding: chunked"})
           .. http.chunked("some", "body") .. hello
  end},
  {"a handler that streams", function(s, cb)
    s.http:set_gencb(cb, {stream = true})
    return http.request("POST /", {}, "body") .. hello
  end},
  {"a handler of a virtual host", function(s, cb)
    s.http:add_virtual_host("*.test", s.base:http():set_gencb(cb))
    return hello
  end},
  {"a piece of a body", function(s, cb)
    s.http:set_gencb(function(req)
      req:set_chunked_cb(function(r, data) if data then cb(r) end end)
    end, {stream = true})
    return http.request("POST /", {"Transfer-Encoding: chunked"})
           .. http.chunked("some", "body") .. hello
  end},
  {"the end of a body", function(s, cb)
    s.http:set_gencb(function(req)
      req:set_chunked_cb(function(r, data) if not data then cb(r) end end)
    end, {stream = true})
    return http.request("POST /", {}, "body") .. hello
  end},
  {"a chunk that is sent", function(s, cb)
    s.http:set_gencb(function(req)
      req:send_reply_start(200):send_reply_chunk("x", cb)
      req:send_reply_chunk("x", function() end)
    end)
    return hello
  end},
  {"an answer that is sent", function(s, cb)
    s.http:set_gencb(function(req)
      req:set_on_complete_cb(cb):send_reply(200, nil, "x")
    end)
    return hello:rep(2)
  end},
  {"the last answer that is sent", function(s, cb)
    s.http:set_gencb(function(req)
      req:set_on_complete_cb(cb)
      req:send_reply(200, nil, "x", {Connection = "close"})
    end)
    return hello:rep(2)
  end},
  {"the end of a client's side", function(s, cb)
    s.http:set_gencb(function(req)
      s.kept = req:set_closecb(cb)
      s.client:shutdown()
    end)
    return hello
  end},
  {"the end of a client", function(s, cb)
    s.http:set_gencb(function(req)
      s.kept = req:set_closecb(cb)
      sockets.vanish(s.sock)
    end)
    s.sock = s:socket(hello)
    return ""
  end},
  {"the end of a client in its body", function(s, cb)
    s.http:set_gencb(function(req)
      req:set_chunked_cb(function() end):set_closecb(cb)
      s.client:shutdown()
    end, {stream = true})
    return http.request("POST /", {"Content-Length: 5"}) .. "bo"
  end},
  {"a body that is late", function(s, cb)
    s.http:set_timeout(0.01)
    s.http:set_gencb(function(req)
      req:set_chunked_cb(function() end):set_closecb(cb)
    end, {stream = true})
    return http.request("POST /", {"Content-Length: 5"}) .. "bo"
  end},
  {"a body that is wrong", function(s, cb)
    s.http:set_gencb(function(req)
      req:set_chunked_cb(function() end):set_closecb(cb)
    end, {stream = true})
    return http.request("POST /", {"Transfer-Encoding: chunked"}) .. "x"
  end},
  {"a client that takes nothing", function(s, cb)
    s.http:set_timeout(0.01)
    s.http:set_gencb(function(req)
      s.client.bev:disable "read"
      s.kept = req:set_closecb(cb):send_reply_start(200)
      req:send_reply_chunk(("x"):rep(1 << 23))
    end)
    return hello
  end},
}

--- What a callback does to (request, server).
local actions = {
  {"closes its request", function(req)
    req:close()
    req:close()
  end},
  {"closes the server", function(_, s)
    s.http:close()
    s.http:close()
  end},
  {"closes the base", function(_, s) s.base:close() end},
  {"closes all of them", function(req, s)
    req:close()
    s.http:close()
    s.base:close()
  end},
  {"closes the listener", function(_, s) s.listener:close() end},
  {"closes its client", function(_, s) s.client:close() end},
  {"stops the server", function(_, s) s.http:stop(function() end) end},
  {"raises", function() error "oh no" end, raises = "oh no"},
  {"raises after closing its request", function(req)
    req:close()
    error "oh no"
  end, raises = "oh no"},
  {"raises after closing the server", function(_, s)
    s.http:close()
    error "oh no"
  end, raises = "oh no"},
  {"raises after closing the base", function(_, s)
    s.base:close()
    error "oh no"
  end, raises = "oh no"},
  {"yields", function() coroutine.yield() end, raises = "cannot yield"},
  {"answers and closes", function(req, s)
    pcall(req.send_reply, req, 200, nil, "x")
    s.http:close()
  end},
  {"answers and raises", function(req)
    pcall(req.send_reply, req, 200, nil, "x")
    error "oh no"
  end, raises = "oh no"},
  {"answers and drops every reference", function(req, s)
    pcall(req.send_reply, req, 200, nil, ("x"):rep(100000))
    s.kept, s.http, s.listener = nil, nil, nil
    collectgarbage() collectgarbage()
  end},
  {"begins an answer and closes it", function(req)
    pcall(req.send_reply_start, req, 200)
    pcall(req.send_reply_chunk, req, "x", function() end)
    req:close()
  end},
  {"begins an answer and forgets it", function(req, s)
    pcall(req.send_reply_start, req, 200)
    pcall(req.send_reply_chunk, req, "x", function() end)
    s.kept = nil
  end},
  {"makes something else of it", function(req, s)
    local ok, bev = pcall(req.upgrade, req, "x")
    s.bev = ok and bev
  end},
  {"makes something else of it that is closed", function(req)
    local ok, bev = pcall(req.upgrade, req, "x")
    if ok and bev then bev:close() end
    collectgarbage()
  end},
  {"collects garbage", function() collectgarbage() collectgarbage() end},
  {"drops every reference", function(_, s)
    s.kept, s.http, s.listener = nil, nil, nil
    collectgarbage() collectgarbage()
  end},
  {"takes its callbacks away", function(req, s)
    req:set_closecb(nil)
    pcall(req.set_chunked_cb, req, nil)
    pcall(req.set_on_complete_cb, req, nil)
    s.http:set_gencb(nil):set_cb("/", nil)
    collectgarbage()
  end},
  {"pauses", function(req) pcall(req.pause, req) end},
  {"runs the loop", function(_, s)
    pcall(s.base.loop, s.base, "nonblock")
  end},
  {"keeps its request", function(req, s) s.kept = req end},
}

for _, kind in ipairs(kinds) do
  describe("In the callback of " .. kind[1] .. ", a script that", function()
    before_each(t.start)
    after_each(t.finish)

    for _, action in ipairs(actions) do
      it(action[1] .. " is safe", function()
        local s <close> = http.start()
        local called, failed = false, nil
        local base = s.base
        base:set_error_cb(function(err) failed = failed or tostring(err) end)
        local bytes = kind[2](s, function(req)
          if called then
            return pcall(req.send_reply, req, 200, nil, "again")
          end
          called = true
          action[2](req, s)
        end)
        s.client = s:dial():send(bytes)
        local late = false
        base:timer(function() late = true end):add(5 * t.slow)
        repeat
          local ok, message = pcall(base.loop, base, "once")
          if not ok then failed = failed or tostring(message) end
        until late or t.isclosed(base)
              or called and (failed or not action.raises)
        assert.is_true(called)
        if action.raises then
          assert.truthy(failed and failed:find(action.raises, 1, true), failed)
        end
        t.turns(base, 10)
        collectgarbage() collectgarbage()
        t.turns(base, 10)
        if not action.raises then assert.is_nil(failed) end
        s.client.bev:close()
        if s.sock then s.sock:close() end
        t.turns(base, 10)
      end)
    end
  end)
end

describe("a request that is answered by nobody", function()
  before_each(t.start)
  after_each(t.finish)

  it("is answered by the end of its server, which closes", function()
    local s <close> = http.start(function()
      error(setmetatable({}, {__tostring = function() return "x" end}))
    end)
    s.base:set_error_cb(function() s.http:close() end)
    s:exchange(hello)
  end)

  it("is answered in a finalizer, too", function()
    local s <close> = http.start(function(req)
      setmetatable({}, {__gc = function() req:send_reply(200, nil, "late") end})
    end)
    local client = s:dial():send(hello)
    http.till(s.base, function()
      collectgarbage()
      return #client:answers() > 0
    end)
    assert.is_number(client:wait().status)
    client:close()
  end)

  it("is answered once, whatever a finalizer does meanwhile", function()
    local meddle = {
      function(req) req:send_reply(201, nil, "finalizer") end,
      function(req) req:close() end,
      function(req) req:send_reply_start(201):send_reply_end() end,
      function(req) req:add_header("X", "y") end,
      function(req) req:clear_headers() end,
      function(req) req:upgrade "x":close() end,
      function(req) req:input_buffer():drain(2) end,
    }
    local answer = {
      function(req) req:send_reply(200, nil, "x", {A = 1, B = {2, 3}}) end,
      function(req) req:send_error(400, "so") end,
      function(req)
        req:send_reply_start(200, nil, {{"A", 1}, {"B", 2}})
        req:send_reply_chunk(5, function() end):send_reply_end {C = 6}
      end,
      function(req) req:upgrade("x", {A = 1}):close() end,
      function(req)
        req:set_on_complete_cb(print):add_header("A", 1):close()
      end,
      function(req) req:send_reply(200, nil, req:body()) end,
      function(req)
        req:send_reply(200, nil, req:headers().host .. #req:query())
      end,
    }
    local n = 0
    local s <close> = http.start(function(req)
      n = n + 1
      local does = meddle[n % #meddle + 1]
      for _ = 1, n // 49 do local _ = {} end    -- it comes at another place
      setmetatable({}, {__gc = function() pcall(does, req) end})
      pcall(answer[n // #meddle % #answer + 1], req)
      pcall(req.send_reply, req, 500)
    end)
    collectgarbage("incremental", 1, 1000, 1)
    for _ = 1, 49 * (os.getenv "VALGRIND" and 2 or 20) do
      local client = s:dial():send(http.request("POST /?a=b", {}, "body"))
        :shutdown()
      assert.is_true(#client:finish() <= 1)
    end
    collectgarbage("incremental", 200, 100, 13)
    s:idle()
  end)

  it("is collected with everything else", function()
    local weak = setmetatable({}, {__mode = "v"})
    do
      local s <close> = http.start(function(req)
        weak[1] = req
        req:set_closecb(function() return req end)
        req:set_on_complete_cb(function() return req end)
        req:send_reply(200)
      end)
      s:ask "GET /"
      s:idle()
      collectgarbage() collectgarbage()
      assert.is_nil(weak[1])
      s.http:set_gencb(function(req)
        weak[2] = s
        req:send_reply(200)
      end)
    end
    collectgarbage() collectgarbage()
    assert.is_nil(weak[2])
  end)
end)

describe("a request outside the loop", function()
  before_each(t.start)
  after_each(t.finish)

  --- A server, a client that has sent this, and the request that has come.
  local function start(bytes, route)
    local s
    s = http.start(function(req) s.kept = req end, {}, route)
    s.client = s:dial():send(bytes)
    http.till(s.base, function() return s.kept end)
    return s
  end

  it("knows its base, and is answered", function()
    local s <close> = start(hello)
    assert.equal(s.base, s.kept:base())
    s.kept:set_on_complete_cb(t.expect()):send_reply(200, nil, "x")
    assert.equal("x", s.client:wait().body)
    s.client:close()
    s:idle()
  end)

  it("is answered piece by piece", function()
    local s <close> = start(hello)
    s.kept:set_on_complete_cb(t.expect()):send_reply_start(200)
    t.turns(s.base, 3)
    s.kept:send_reply_chunk("x", t.expect())
    t.turns(s.base, 3)
    s.kept:send_reply_end()
    assert.equal("x", s.client:wait().body)
    s.client:close()
    s:idle()
  end)

  it("becomes something else", function()
    local s <close> = start(hello .. "early")
    local bev = assert(s.kept:upgrade "x")
    bev:setcb(function(b) b:write(b:read()) end):enable "read"
    http.till(s.base, function()
      return select(2, s.client:answers()) == "early"
    end)
    s.client:close()
  end)

  it("is kept while its body comes", function()
    local s <close> = start(http.request("POST /", {"Content-Length: 4"}),
                            {stream = true})
    s.kept:set_chunked_cb(function(req, data)
      if not data then req:send_reply(200) end
    end)
    s.kept = nil
    collectgarbage() collectgarbage()
    assert.equal(200, s.client:send "body":wait().status)
    s.client:close()
  end)
end)

describe("a deadline", function()
  before_each(t.start)
  after_each(t.finish)

  it("may end the connection that is next in turn", function()
    local list = {}
    local s <close> = http.start(function(req)
      list[#list + 1] = req
      req:set_chunked_cb(function() end)
      req:set_closecb(function()
        for _, other in ipairs(list) do other:close() end
      end)
    end, {body_timeout = 0.03}, {stream = true})
    local clients = {}
    for i = 1, 5 do
      clients[i] = s:dial():send(http.request("POST /", {"Content-Length: 9"}))
    end
    for i = 1, 5 do assert.is_true(#clients[i]:finish() <= 1) end
    s:idle()
  end)

  it("may end the server", function()
    local base
    local s <close> = http.start(function(req)
      base = req:base()
      req:set_chunked_cb(function() end)
      req:set_closecb(function() base:close() end)
    end, {body_timeout = 0.01}, {stream = true})
    for _ = 1, 3 do
      s:dial():send(http.request("POST /", {"Content-Length: 9"}))
    end
    t.run(s.base)
    assert.is_true(t.isclosed(s.http))
  end)
end)

describe("a client that closes its side", function()
  before_each(t.start)
  after_each(t.finish)

  local function path(req) req:send_reply(200, nil, req:path()) end

  it("has the answers to all that it has asked", function()
    for _, later in ipairs {false, true} do
      local s <close> = http.start(function(req)
        if not later then return path(req) end
        req:base():timer(function() path(req) end):add(0.001)
      end)
      local client = s:dial():send(http.request "GET /1"
        .. http.request("POST /2", {}, "body") .. http.request "GET /3")
      local answers, rest, over = client:shutdown():finish()
      assert.equal(3, #answers)
      assert.equal("/3", answers[3].body)
      assert.equal("", rest)
      assert.equal("eof", over)
      s:idle()
    end
  end)

  it("has the answer that its end asks for, and those behind it", function()
    local kept
    local s <close> = http.start(function(req)
      if req:path() ~= "/1" then return path(req) end
      kept = req:set_closecb(path)
    end)
    local answers = s:dial():send(http.request "GET /1":rep(2)
                                  .. http.request "GET /2"):shutdown():finish()
    assert.equal(3, #answers)
    assert.equal("/2", answers[3].body)
    assert.equal("/1", kept:path())
  end)

  it("has all of a long one", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, ("x"):rep(1 << 24))
    end)
    local answers = s:dial():send(hello):shutdown():finish()
    assert.equal(1 << 24, #answers[1].body)
  end)

  it("has an answer that takes its time", function()
    local s <close> = http.start(function(req)
      local n = 0
      req:send_reply_start(200)
      local timer
      timer = req:base():timer(function()
        n = n + 1
        req:send_reply_chunk(tostring(n))
        if n == 5 then
          req:send_reply_end()
          timer:close()
        end
      end, "persist"):add(0.002)
    end)
    local answers = s:dial():send(hello):shutdown():finish()
    assert.equal("12345", answers[1].body)
  end)

  it("in the middle of a request has none", function()
    local s <close> = http.start(t.never())
    for _, bytes in ipairs {"", "\r\n", "G", hello:sub(1, -2),
      http.request("POST /", {"Content-Length: 5"}) .. "body",
      http.request("POST /", {"Transfer-Encoding: chunked"}) .. "4\r\nbody\r\n",
      http.request("POST /", {"Transfer-Encoding: chunked"}) .. "0\r\n"} do
      local answers, rest, over = s:dial():send(bytes):shutdown():finish()
      assert.equal(0, #answers)
      assert.equal("", rest)
      assert.equal("eof", over)
    end
    s:idle()
  end)

  it("and then goes leaves no timer behind", function()
    local s <close> = http.start(path)
    for _ = 1, 10 do s:dial():send(hello):shutdown():finish() end
    s.listener:close()
    t.run(s.base)
    assert.equal(0, s.base:num_events())
  end)
end)

describe("a client that never reads", function()
  before_each(t.start)
  after_each(t.finish)

  it("is answered as far as it takes, in little memory", function()
    local n = 0
    local body = ("x"):rep(10000)
    local s <close> = http.start(function(req)
      n = n + 1
      req:send_reply(200, nil, body)
    end, {write_timeout = 0.2})
    local sock = s:socket(hello)
    sock:settimeout(0)
    collectgarbage()
    local before = t.memory "VmRSS"
    local requests, stuck = hello:rep(1000), 0
    while stuck < 20 do
      local sent, _, part = sock:send(requests)
      stuck = (sent or part) == 0 and stuck + 1 or 0
      s.base:loop "nonblock"
    end
    assert.is_true(n * #body < 64 << 20, n)
    assert.is_true(t.slow > 1 or t.memory "VmRSS" - before < 8192)
    s:idle()                                    -- it is given up
    sock:close()
  end)

  it("and comes back has all its answers", function()
    local total = 3000
    local body = ("x"):rep(10000)
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, body)
    end)
    local client = s:dial(true):send(hello:rep(total))
    t.runfor(s.base, 0.05)
    local bytes = 0
    client.bev:setcb(function(bev) bytes = bytes + #bev:read() end, nil,
      function() client.over = true end)
    client.bev:enable "read"
    client:shutdown()
    http.till(s.base, function() return client.over end)
    assert.is_true(bytes > total * #body, bytes)
    client:close()
  end)
end)

describe("many clients", function()
  before_each(t.start)
  after_each(t.finish)

  --- As many connections as the limit of descriptors allows, 1,000 at most.
  local function many()
    local soft = 1024
    for line in io.lines "/proc/self/limits" do
      soft = tonumber(line:match "^Max open files%s+(%d+)") or soft
    end
    return math.min(1000, (soft - #listdescriptors() - 50) // 2) // t.slow
  end

  --- An honest client is answered soon while the others act.
  local function honest(act, cb, path)
    local s <close> = http.start(function(req)
      if req:path() ~= "/honest" then return cb(req) end
      req:send_reply(200, nil, "soon")
    end)
    if path then
      s.address = assert(s.http:bind_socket("unix:" .. path)):sockname()
    end
    local list = {}
    for i = 1, many() do
      list[i] = http.dial(s.base, s.address, true)
      act(list[i])
      if i % 50 == 0 then t.turns(s.base, 2) end
    end
    http.till(s.base, function()
      return s.http:connection_count() == #list
    end)
    t.turns(s.base, 5)
    local since = s.base:gettime_monotonic()
    assert.equal("soon", s:ask("GET /honest").body)
    assert.is_true(s.base:gettime_monotonic() - since < 0.2 * t.slow)
    assert.is_true(#list <= s.http:connection_count())
    for _, client in ipairs(list) do client:close() end
    s:idle()
  end

  it("that send their heads slowly stop nobody", function()
    honest(function(client) client:send "GET / HTTP/1.1\r\nX: " end)
  end)

  it("that send their bodies slowly stop nobody", function()
    honest(function(client)
      client:send(http.request("POST /", {"Content-Length: 100"}) .. "body")
    end)
  end)

  it("that never read stop nobody", function()
    -- over a unix socket, which takes no more than 208 KiB of each
    local path = t.path()
    local body = ("x"):rep(250000)
    honest(function(client) client:send(hello) end, function(req)
      req:set_on_complete_cb(t.never()):send_reply(200, nil, body)
    end, path)
    os.remove(path)
  end)

  it("that never stop asking stop nobody", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, req:path())
    end)
    local list = {}
    for i = 1, 20 do
      list[i] = s:dial()
      list[i].bev:setcb(function(bev)
        bev:read()
        bev:write(hello:rep(200))
      end)
      list[i]:send(hello:rep(200))
    end
    t.turns(s.base, 10)
    for _ = 1, t.slow > 1 and 1 or 5 do
      local since = s.base:gettime_monotonic()
      assert.equal("/honest", s:ask("GET /honest").body)
      assert.is_true(s.base:gettime_monotonic() - since < 0.5 * t.slow)
    end
    for _, client in ipairs(list) do client:close() end
  end)

  it("that say nothing stop nobody, and are all sent away in time", function()
    local s <close> = http.start(function(req) req:send_reply(200) end,
      {header_timeout = 0.1 * t.slow})
    local list = {}
    for i = 1, many() do
      list[i] = s:dial():send(i % 2 == 0 and "GET /" or "")
      if i % 50 == 0 then t.turns(s.base, 2) end
    end
    http.till(s.base, function()
      return s.http:connection_count() == #list
    end)
    assert.equal(200, s:ask("GET /").status)
    for i, client in ipairs(list) do
      local answers = client:finish()
      assert.equal(i % 2 == 0 and 408 or nil, answers[1] and answers[1].status)
    end
    s:idle()
  end)

  it("that come and go leave nothing", function()
    local s <close> = http.start(function(req) req:send_reply(200) end)
    for i = 1, 300 do
      local sock = s:socket(i % 3 == 0 and hello or i % 3 == 1 and "GET" or
        http.request("POST /", {"Content-Length: 9"}) .. "body")
      if i % 2 == 0 then s.base:loop "nonblock" end
      if i % 5 == 0 then sock:close() else sockets.vanish(sock) end
    end
    s:idle()
    assert.equal(200, s:ask("GET /").status)
  end)
end)
