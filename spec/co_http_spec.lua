-- co.http: requests that a task waits for, servers whose handlers are tasks.
local co = require "libevent.co"
local http = require "spec.http"
local libevent = require "libevent"
local origin = require "spec.origin"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local answer, raises, till = origin.answer, t.blames, tasks.till

local ECONNRESET, ECONNREFUSED = 104, 111

-- Runs f(base, url) beside a server of ours with this handler.
local function serving(handler, options, f)
  if not f then options, f = nil, options end
  tasks.play(function()
    local server <close> = assert(co.http.serve("127.0.0.1:0", handler,
                                                options))
    f(co.base(), "http://" .. server:sockname(), server)
  end)
end

-- The same beside a server that answers as it is told.
local function beside(respond, f)
  tasks.play(function()
    local o = origin.start(co.base(), respond)
    f(co.base(), "http://" .. o.address, o)
    o.rest()
  end)
end

-- A body of n pieces.
local function pieces(n, piece, f)
  return function()
    n = n - 1
    if f then f(n) end
    return n >= 0 and piece or nil
  end
end

-- Sends a body without an end, as long as somebody takes it; then the number of
-- its bytes, and why it ended.
local function pour(req)
  req:send_reply_start(200)
  local piece, n = ("x"):rep(10000), 0
  while true do
    local ok, message, errno = req:send_reply_chunk(piece)
    if not ok then return n, message, errno end
    n = n + #piece
  end
end

describe("co.http.request", function()
  before_each(t.start)
  after_each(t.finish)

  it("asks for a URL, and returns the answer", function()
    serving(function(req)
      req:send_reply(404, nil, req:command() .. " " .. req:uri(),
                     {["X-A"] = "b"})
    end, function(_, url)
      local response = co.http.request(url .. "/a?b#c")
      assert.equal(404, response.status)
      assert.equal("Not Found", response.reason)
      assert.equal("b", response.headers["x-a"])
      assert.equal("GET /a?b", response.body)
      assert.equal(url .. "/a?b#c", response.url)
      assert.equal("GET /", co.http.get(url).body)
      assert.equal("GET /", co.http.get(url, {body = "x"}).body)
      assert.equal("POST /", co.http.request(url, {body = "x"}).body)
      assert.equal("PUT /", co.http.request(url, {method = "PUT"}).body)
    end)
  end)

  it("follows redirects, and keeps connections", function()
    beside(function(q)
      if q.line:find "/moved" then
        return answer("", "Location: /here\r\n", "302 Found")
      end
      return answer(q.line)
    end, function(_, url, o)
      local response = co.http.get(url .. "/moved")
      assert.equal("GET /here HTTP/1.1", response.body)
      assert.equal(url .. "/here", response.url)
      assert.equal(1, o.connections)
    end)
  end)

  it("returns nil, a message and an errno for what has no answer", function()
    tasks.play(function()
      local result, message, errno = co.http.get(
        ("http://127.0.0.1:%d/"):format(origin.nobody(co.base())))
      assert.is_nil(result)
      assert.matches("Connection refused", message)
      assert.equal(ECONNREFUSED, errno)
      result, message = co.http.get "mailto:somebody"
      assert.is_nil(result)
      assert.matches("bad URL", message)
    end)
  end)

  it("runs beside others", function()
    serving(function(req)
      co.sleep(0.01)
      req:send_reply(200, nil, req:path())
    end, function(base, url)
      local list, start = {}, base:gettimeofday_cached()
      for i = 1, 50 do list[i] = co.spawn(co.http.get, url .. "/" .. i) end
      for i = 1, 50 do assert.equal("/" .. i, list[i]:join().body) end
      assert.is_true(base:gettimeofday_cached() - start < 0.3 * t.slow)
    end)
  end)

  it("has a timeout, and heeds a deadline", function()
    beside(function() end, function(_, url, o)
      assert.same({nil, "timeout"}, {co.http.get(url, {timeout = 0.02})})
      assert.same({nil, "timeout"}, {co.deadline(0.02, co.http.get, url)})
      assert.same({nil, "timeout"}, {co.http.get(url, {timeout = 0.02,
                                                       stream = true})})
      assert.equal(3, o.connections)            -- none of them is used again
    end)
  end)

  it("can be cancelled", function()
    beside(function() end, function(_, url, o)
      local task = co.spawn(co.http.get, url)
      till(function() return #o.requests == 1 end)
      task:cancel()
      assert.same({nil, "cancelled"}, {task:join()})
    end)
  end)

  it("raises for what is no argument of it, and outside of tasks", function()
    tasks.play(function()
      local url = "http://127.0.0.1/"
      raises("bad argument #1 to 'get' (string expected, got nil)",
             function() co.http.get() end)
      raises("bad argument #2 to 'request' (table of options expected, got "
             .. "number)", function() co.http.request(url, 1) end)
      raises("bad argument #2 to 'request' (unknown option 'boddy' ",
             function() co.http.request(url, {boddy = 1}) end)
      raises("bad argument #2 to 'get' (no callbacks expected: see the option "
             .. "'stream')", function()
        co.http.get(url, {header_cb = print})
      end)
      raises("bad argument #2 to 'get' (option 'stream': boolean expected, got "
             .. "function)", function() co.http.get(url, {stream = print}) end)
      raises("bad argument #2 to 'get' (option 'timeout': seconds or false "
             .. "expected)", function() co.http.get(url, {timeout = 0}) end)
      raises("bad argument #2 to 'get' (option 'body': ",
             function() co.http.get(url, {body = {}}) end)
    end)
    raises("co.http.get waits, and can be called in a task only",
           function() co.http.get "http://127.0.0.1/" end)
  end)
end)

describe("A body that an iterator gives", function()
  before_each(t.start)
  after_each(t.finish)

  it("is sent as it comes, and may wait", function()
    serving(function(req)
      req:send_reply(200, nil, req:find_header "transfer-encoding" .. " "
                               .. req:body())
    end, function(_, url)
      assert.equal("chunked ababab", co.http.request(url, {
        body = pieces(3, "ab", function() co.sleep(0.002) end),
      }).body)
      assert.equal("chunked ", co.http.request(url, {
        body = function() end,
      }).body)
    end)
  end)

  it("is not asked for faster than the server reads", function()
    local go
    local asked = 0
    serving(function(req)
      till(function() return go end)
      local n = 0
      for data in req:chunks() do n = n + #data end
      req:send_reply(200, nil, tostring(n))
    end, {stream = true}, function(_, url)
      local task = co.spawn(co.http.request, url, {
        body = pieces(2000, ("x"):rep(10000), function() asked = asked + 1 end),
      })
      local before
      repeat
        before = asked
        co.sleep(0.03)
      until asked == before and asked > 0
      assert.is_true(asked < 1900, asked)
      go = true
      assert.equal("20000000", task:join().body)
    end)
  end)

  it("ends when the server has answered without it", function()
    local closed
    beside(function(q)
      q.conn:write(answer("enough", "Connection: close\r\n"))
      return nil
    end, function(_, url)
      local response = assert(co.http.request(url, {body = function()
        local _ <close> = setmetatable({}, {__close = function()
          closed = true
        end})
        co.sleep(60)
      end}))
      assert.equal("enough", response.body)
      till(function() return closed end)
    end)
  end)

  it("raises its error from the request", function()
    serving(function(req) req:send_reply(200) end, function(_, url)
      local ok, message = pcall(co.http.request, url, {body = function()
        error "no body"
      end})
      assert.is_false(ok)
      assert.matches("^spec/co_http_spec.lua:%d+: no body\nstack traceback:",
                     message)
      local object = {}
      ok, message = pcall(co.http.request, url, {body = function()
        co.sleep(0.002)
        error(object)
      end})
      assert.is_false(ok)
      assert.equal(object, message)
      ok, message = pcall(co.http.request, url, {body = pieces(1, {})})
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'send_chunk'", message, 1, true)
    end)
  end)

  it("is cancelled with the request", function()
    local closed = 0
    local function body()
      local _ <close> = setmetatable({}, {__close = function()
        closed = closed + 1
      end})
      co.sleep(60)
    end
    serving(function(req) req:send_reply(200) end, function(_, url)
      assert.same({nil, "timeout"}, {co.http.request(url, {body = body,
                                                           timeout = 0.02})})
      till(function() return closed == 1 end)
      local task = co.spawn(co.http.request, url, {body = body})
      co.sleep(0.02)
      task:cancel()
      till(function() return closed == 2 end)
    end)
  end)

  it("can go on while the answer is read", function()
    serving(function(req)
      req:send_reply_start(200)
      for line in req:lines() do req:send_reply_chunk(line:upper() .. "\n") end
    end, {stream = true}, function(_, url)
      local words = co.channel()
      local response = co.http.request(url, {body = words:values(),
                                             stream = true})
      for _, word in ipairs {"one", "two", "three"} do
        words:put(word .. "\n")
        assert.equal(word:upper(), response:read())
      end
      words:close()
      assert.same({nil, "eof"}, {response:read()})
    end)
  end)

  it("raises its error from who reads the answer", function()
    serving(function(req)
      req:send_reply_start(200)
      for data in req:chunks() do req:send_reply_chunk(data) end
    end, {stream = true}, function(_, url)
      local words = co.channel()
      local response = co.http.request(url, {stream = true, body = function()
        local word = words:get()
        return word ~= "bad" and word or error "a bad word"
      end})
      words:put "good"
      assert.equal("good", response:read_some())
      words:put "bad"
      local ok, message = pcall(response.read_some, response)
      assert.is_false(ok)
      assert.matches("a bad word", message)
    end)
  end)
end)

describe("An answer that is streamed", function()
  before_each(t.start)
  after_each(t.finish)

  local function numbers(req)
    req:send_reply_start(200, nil, {["X-A"] = "b"})
    for i = 1, 3 do
      co.sleep(0.002)
      req:send_reply_chunk(i .. "\n")
    end
    req:send_reply_end {["X-Sum"] = "6"}
  end

  it("is there with its head, and read as it comes", function()
    serving(numbers, function(_, url)
      local response = co.http.get(url, {stream = true})
      assert.equal("libevent.Response (open)", tostring(response))
      assert.equal(200, response.status)
      assert.equal("b", response.headers["x-a"])
      assert.is_nil(response.body)
      assert.is_nil(response.trailers)
      local list = {}
      for data in response:chunks() do list[#list + 1] = data end
      assert.same({"1\n", "2\n", "3\n"}, list)
      assert.same({nil, "eof"}, {response:read_some()})
      assert.equal("6", response.trailers["x-sum"])
    end)
  end)

  it("is read in the formats of files", function()
    serving(numbers, function(_, url)
      local function get() return co.http.get(url, {stream = true}) end
      local lines = {}
      for line in get():lines() do lines[#lines + 1] = line end
      assert.same({"1", "2", "3"}, lines)
      assert.equal("1\n2\n3\n", get():read "a")
      local response = get()
      assert.equal("1\n", response:read "L")
      assert.equal("2\n3", response:read(3))
      assert.equal("\n", response:read(100))
      assert.same({nil, "eof"}, {response:read(1)})
      assert.same({nil, "eof"}, {response:read()})
      assert.equal("", response:read "a")
      response = get()
      assert.same({nil, "too long"}, {response:read("a", 5)})
      assert.same({nil, "line too long"}, {response:read("l", 0)})
      assert.equal("1\n2\n3\n", response:read("a", 6))
      for _, format in ipairs {"n", 0, -1, 1.5} do
        raises("bad argument #1 to 'read'",
               function() response:read(format) end)
      end
    end)
  end)

  it("holds the server back while nobody reads", function()
    local sent
    serving(function(req) sent = pour(req) end, function(_, url)
      local response = co.http.get(url, {stream = true})
      local n = #response:read(200000)
      co.sleep(0.05)
      assert.is_nil(sent)
      assert.equal(200000, n)
      response:close()
      till(function() return sent end)
      assert.is_true(sent < 20000000, sent)
    end)
  end)

  it("comes whole, however slowly it is read", function()
    local data = t.pattern(1000000)
    serving(function(req) req:send_reply(200, nil, data) end, function(_, url)
      local response = co.http.get(url, {stream = true})
      local list = {}
      for piece in response:chunks(50000) do
        list[#list + 1] = piece
        co.sleep(0)
      end
      assert.is_true(table.concat(list) == data)
    end)
  end)

  it("tells that it has been cut off", function()
    beside(function(q)
      q.conn:write "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
      return "", "close"
    end, function(_, url)
      local response = co.http.get(url, {stream = true})
      assert.equal("abc", response:read_some())
      local data, message, errno = response:read_some()
      assert.is_nil(data)
      assert.not_equal("eof", message)
      assert.equal(ECONNRESET, errno)
    end)
  end)

  it("has timeouts for each read, and is left as it was", function()
    local words = {}
    serving(function(req)
      req:send_reply_start(200)
      local word = till(function() return words[1] end)
      req:send_reply_chunk(word)
    end, function(_, url)
      local response = co.http.get(url, {stream = true}):set_timeout(0.02)
      assert.same({nil, "timeout"}, {response:read_some()})
      assert.same({nil, "timeout"},
                  {co.deadline(0.01, response.read, response)})
      words[1] = "word"
      assert.equal("word", response:read "a")
    end)
  end)

  it("has one reader, and ends it when it is closed", function()
    local gone
    serving(function(req)
      req:send_reply_start(200)
      local me = co.current()
      req:set_closecb(function() me:cancel() end)
      local _ <close> = setmetatable({}, {__close = function() gone = true end})
      co.sleep(60)
    end, function(_, url)
      local response = co.http.get(url, {stream = true})
      local task = co.spawn(response.read, response, "a")
      co.sleep(0.005)
      assert.same({nil, "busy"}, {response:read_some()})
      response:close()
      assert.same({nil, "closed"}, {task:join()})
      assert.same({nil, "closed"}, {response:read_some()})
      assert.equal("libevent.Response (closed)", tostring(response:close()))
      till(function() return gone end)
    end)
  end)

  it("is held by who reads it", function()
    serving(numbers, function(_, url)
      local n = 0
      for line in co.http.get(url, {stream = true}):lines() do
        collectgarbage()
        collectgarbage()
        n = n + tonumber(line)
      end
      assert.equal(6, n)
      co.spawn(function()
        for _ = 1, 10 do
          collectgarbage()
          co.sleep(0.001)
        end
      end)
      assert.equal(6, #co.http.get(url, {stream = true}):read "a")
    end)
  end)

  it("is cancelled when nobody has it any more", function()
    local sent
    serving(function(req) sent = pour(req) end, function(_, url)
      assert(co.http.get(url, {stream = true}):read_some())
      till(function()
        collectgarbage()
        return sent
      end)
    end)
  end)
end)

describe("co.http.serve", function()
  before_each(t.start)
  after_each(t.finish)

  it("runs each request in a task of its own, which may wait", function()
    local order = {}
    serving(function(req)
      assert.equal("GET " .. req:uri(), co.current():name())
      local n = tonumber((req:query "n"))
      till(function() return #order == 3 - n end)      -- the last one first
      order[#order + 1] = n
      req:add_header("X-N", n):send_reply(200, nil, req:query "n")
    end, function(_, url)
      local list = {}
      for i = 1, 3 do list[i] = co.spawn(co.http.get, url .. "/?n=" .. i) end
      for i = 1, 3 do
        local response = list[i]:join()
        assert.same({i .. "", i .. ""}, {response.body,
                                         response.headers["x-n"]})
      end
      assert.same({3, 2, 1}, order)
    end)
  end)

  it("ends the answer when the handler returns", function()
    serving(function(req)
      if req:path() == "/begun" then
        req:send_reply_start(200)
        req:send_reply_chunk "some"
      elseif req:path() == "/short" then
        req:send_reply_start(200, nil, {["Content-Length"] = 10})
        req:send_reply_chunk "some"
      elseif req:path() == "/whole" then
        req:send_reply(200, nil, ("x"):rep(1000000))
      elseif req:path() == "/error" then
        req:send_error(403)
      end
    end, function(_, url)
      assert.equal("some", co.http.get(url .. "/begun").body)
      assert.equal(500, co.http.get(url .. "/none").status)
      assert.equal(403, co.http.get(url .. "/error").status)
      assert.equal(1000000, #co.http.get(url .. "/whole").body)
      t.refused(ECONNRESET, co.http.get(url .. "/short"))
    end)
  end)

  it("answers 500 for an error, which goes where those of callbacks go",
     function()
    serving(function(req)
      req:add_header("X-A", "b")
      if req:path() == "/begun" then
        req:send_reply_start(200)
        req:send_reply_chunk "some"
      end
      co.sleep(0.001)
      error(req:path())
    end, function(base, url)
      local errors = {}
      base:set_error_cb(t.expect(function(err)
        errors[#errors + 1] = err
      end, 2))
      local response = co.http.get(url .. "/early")
      assert.equal(500, response.status)
      assert.is_nil(response.headers["x-a"])
      t.refused(ECONNRESET, co.http.get(url .. "/begun"))
      till(function() return #errors == 2 end)
      assert.matches("co_http_spec.lua:%d+: /early\nstack traceback:",
                     errors[1])
      assert.matches("in task 'GET /early'", errors[1], 1, true)
      assert.matches("co_http_spec.lua:%d+: /begun\n", errors[2])
    end)
  end)

  it("lets the handler find out that the client has gone", function()
    local result
    serving(function(req)
      local n, message, errno = pour(req)
      result = {n > 0, message, errno}
      t.refused(ECONNRESET, req:send_reply_chunk "more")
      t.refused(ECONNRESET, req:send_reply_end())
    end, function(_, url)
      co.http.get(url, {stream = true}):close()
      till(function() return result end)
      assert.is_true(result[1])
      assert.is_string(result[2])
      assert.is_number(result[3])               -- ECONNRESET, or EPIPE
    end)
  end)

  it("wakes who waits for a client that vanishes", function()
    local result
    serving(function(req) result = {pour(req)} end, function(_, url)
      local client = co.connect(url:match "//(.*)")
      client:write "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
      client:shutdown()                         -- which is no reason to end
      assert(client:read(100000))
      co.sleep(0.02)
      assert.is_nil(result)
      client:bufferevent():close()              -- at once, whatever comes
      till(function() return result end)
      assert.is_number(result[3])
    end)
  end)

  it("has timeouts for each piece that is sent", function()
    local result
    serving(function(req)
      req:set_timeout(0.02)
      result = {pour(req)}
    end, function(_, url)
      local response = co.http.get(url, {stream = true})
      till(function() return result end)
      assert.equal("timeout", result[2])
      response:close()
    end)
  end)

  it("reads a body whole, unless it is streamed", function()
    serving(function(req)
      raises("calling 'read' on bad self (its body is not streamed)",
             function() req:read "a" end)
      req:send_reply(200, nil, req:body())
    end, function(_, url)
      assert.equal("data", co.http.request(url, {body = "data"}).body)
      local response = co.http.request(url, {body = ("x"):rep(2000000)})
      assert.equal(413, response.status)
    end)
  end)

  it("streams a body both ways", function()
    local data = t.pattern(1000000)
    serving(function(req)
      req:send_reply_start(200)
      for piece in req:chunks() do req:send_reply_chunk(piece) end
      assert.same({nil, "eof"}, {req:read_some()})
    end, {stream = true}, function(_, url)
      assert.is_true(co.http.request(url, {body = data}).body == data)
      assert.equal("", co.http.get(url).body)
    end)
  end)

  it("tells of a body that is cut off", function()
    local result
    serving(function(req)
      assert.equal("abc", req:read_some())
      result = {req:read "a"}
      req:send_reply(200)
    end, {stream = true}, function(_, url)
      local client = co.connect(url:match "//(.*)")
      client:write "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
      co.sleep(0.01)
      client:close()
      till(function() return result end)
      assert.same({nil, "the client has closed the connection", ECONNRESET},
                  {table.unpack(result, 1, 3)})
    end)
  end)

  it("waits with a timeout for a body that does not come", function()
    serving(function(req)
      req:set_timeout(0.02)
      local _, message = req:read(10)
      req:send_reply(200, nil, message)
    end, {stream = true}, function(_, url)
      local client <close> = co.connect(url:match "//(.*)")
      client:write "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
      assert.equal("HTTP/1.1 200 OK", client:read())
    end)
  end)

  it("has handlers for paths, and 404 for all others", function()
    serving(nil, function(_, url, server)
      assert.equal(server, server:set_cb("/a b", function(req)
        co.sleep(0.001)
        req:send_reply(200, nil, "here")
      end))
      server:set_cb("/up", function(req)
        req:send_reply(200, nil, #req:read "a" .. "")
      end, {stream = true})
      assert.equal("here", co.http.get(url .. "/a%20b").body)
      assert.equal("5", co.http.request(url .. "/up", {body = "12345"}).body)
      assert.equal(404, co.http.get(url).status)
      server:set_cb("/a b", nil)
      assert.equal(404, co.http.get(url .. "/a%20b").status)
    end)
  end)

  it("hands the connection over as a stream", function()
    serving(function(req)
      local stream <close> = assert(req:upgrade "upper")
      for line in stream:lines() do stream:write(line:upper(), "\n") end
    end, function(_, url)
      local client <close> = co.connect(url:match "//(.*)")
      client:write("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
                   .. "Upgrade: upper\r\n\r\nfirst\n")
      assert.equal("HTTP/1.1 101 Switching Protocols", client:read())
      repeat until client:read() == ""
      assert.equal("FIRST", client:read())
      client:write "second\n"
      assert.equal("SECOND", client:read())
    end)
  end)

  it("closes a request", function()
    serving(function(req) req:close() end, function(_, url)
      t.refused(ECONNRESET, co.http.get(url))
    end)
  end)

  it("is an Http underneath", function()
    serving(function(req)
      assert.equal(co.base(), req:base())
      req:http_request():send_reply(200, nil, "underneath")
    end, {max_body_size = 3, backlog = 5}, function(_, url, server)
      server:http():set_default_content_type "text/plain"
      local response = co.http.get(url)
      assert.equal("underneath", response.body)
      assert.equal("text/plain", response.headers["content-type"])
      assert.equal(413, co.http.request(url, {body = "1234"}).status)
    end)
  end)

  it("stops when all have been answered", function()
    local go
    serving(function(req)
      till(function() return go end)
      req:send_reply(200, nil, "at last")
    end, function(_, url, server)
      local task = co.spawn(co.http.get, url)
      till(function() return server:http():connection_count() == 1 end)
      co.sleep(0.01)
      assert.same({nil, "timeout"}, {server:stop(0.02)})
      go = true
      assert.equal(server, server:stop())
      assert.equal("at last", task:join().body)
    end)
  end)

  it("ends at once when it is closed", function()
    local results = co.channel(2)
    serving(function(req)
      if req:path() == "/read" then
        results:put {req:read "a"}
      else
        results:put {select(2, pour(req))}
      end
    end, {stream = true}, function(_, url, server)
      local reading = co.spawn(co.http.request, url .. "/read",
                               {body = function() co.sleep(60) end})
      local writing = co.http.get(url .. "/write", {stream = true})
      co.sleep(0.03)
      server:close()
      assert.equal("libevent.CoHttpServer (closed)", tostring(server))
      local list = {results:get(), results:get()}
      table.sort(list, function(a) return a[1] == nil end)
      assert.same({nil, "closed"}, list[1])
      assert.equal("closed", list[2][1])
      t.refused(ECONNRESET, reading:join())
      writing:close()
    end)
  end)

  it("says that it cannot listen, and raises for bad arguments", function()
    serving(print, function(_, url)
      t.refused(98, co.http.serve(url:match "//(.*)", print))
      raises("bad argument #1 to 'serve'", function() co.http.serve() end)
      raises("bad argument #2 to 'serve' (function expected, got table)",
             function() co.http.serve("127.0.0.1:0", {}) end)
      raises("bad argument #3 to 'serve' (unknown option 'max_boddy_size' ",
             function()
        co.http.serve("127.0.0.1:0", print, {max_boddy_size = 1})
      end)
      raises("bad argument #3 to 'serve'", function()
        co.http.serve("127.0.0.1:0", print, {flags = "some"})
      end)
    end)
  end)

  it("raises for bad arguments where a handler has them", function()
    serving(function(req)
      raises("bad argument #1 to 'send_reply' (", function()
        req:send_reply "OK"
      end)
      raises("bad argument #1 to 'find_header' (", function()
        req:find_header()
      end)
      raises("calling 'send_reply_chunk' on bad self (", function()
        req:send_reply_chunk "x"
      end)
      req:send_reply(200)
      raises("calling 'send_reply' on bad self (", function()
        req:send_reply(200)
      end)
    end, function(_, url)
      assert.equal(200, co.http.get(url).status)
    end)
  end)

  it("serves those who send many requests at once", function()
    serving(function(req)
      co.sleep(0.001)
      req:send_reply(200, nil, req:path())
    end, function(base, url)
      local client = http.dial(base, url:match "//(.*)")
      for i = 1, 20 do client:send(http.request("GET /" .. i)) end
      till(function() return #client:answers() == 20 end)
      for i, reply in ipairs(client:answers()) do
        assert.equal("/" .. i, reply.body)
      end
      client:close()
    end)
  end)

  it("takes a Buffer, and moves it", function()
    serving(function(req)
      local buffer = libevent.buffer(("x"):rep(100000))
      req:send_reply_start(200)
      assert.equal(req, req:send_reply_chunk(buffer))
      assert.equal(0, #buffer)
    end, function(_, url)
      assert.equal(100000, #co.http.get(url).body)
    end)
  end)
end)
