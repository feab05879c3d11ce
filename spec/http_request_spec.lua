-- src/http_request.c: what a handler is told of its request, bodies as they
-- come, and the end of the client.
local libevent = require "libevent"
local http = require "spec.http"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local ECONNRESET, ETIMEDOUT = 104, 110

--- The request that these bytes are: answered, and with a client that has gone.
local function came(bytes)
  local kept
  local s <close> = http.start(t.expect(function(req)
    kept = req
    req:send_reply(200)
  end))
  local client = s:dial():send(bytes)
  client:wait()
  client:close()
  s:idle()
  return kept
end

local function get(target, ...)
  return came(http.request("GET " .. target, ...))
end

describe("a request", function()
  before_each(t.start)
  after_each(t.finish)

  it("tells what came, and whence", function()
    local s <close> = http.start(t.expect(function(req)
      assert.matches("^libevent%.HttpRequest %(0x%x+%)$", tostring(req))
      assert.equal("POST", req:command())
      assert.equal("/a%20b/../c?d=e&f", req:uri())
      assert.equal("/c", req:path())
      assert.equal("d=e&f", req:query_string())
      assert.equal("1.1", req:version())
      assert.equal("some.test", req:host())
      assert.equal("body", req:body())
      assert.matches("^127%.0%.0%.1:%d+$", req:peername())
      assert.matches("^libevent.Base", tostring(req:base()))
      req:send_reply(200)
    end))
    s:ask("POST /a%20b/../c?d=e&f", {"Host: Some.TEST:80"}, "body")
  end)

  it("tells it after its answer, too", function()
    local req = came(http.request("POST /a?b=c", {"X: y"}, "body"))
    assert.equal("libevent.HttpRequest (closed)", tostring(req))
    assert.equal("POST", req:command())
    assert.equal("/a?b=c", req:uri())
    assert.equal("/a", req:path())
    assert.equal("c", req:query "b")
    assert.equal("1.1", req:version())
    assert.equal("some.test", req:host())
    assert.equal("y", req:find_header "x")
    assert.equal("y", req:headers().x)
    assert.same({}, req:trailers())
    assert.equal("body", req:body())
    assert.equal(200, req:response_code())
    assert.matches("^127%.0%.0%.1:%d+$", req:peername())
    t.refused(ECONNRESET, req:base())
  end)

  it("tells its version", function()
    assert.equal("1.1", get "/":version())
    assert.equal("1.0", came "GET / HTTP/1.0\r\n\r\n":version())
  end)

  it("tells its host in lower case, without a port", function()
    for host, wanted in pairs {["A.Test"] = "a.test", ["a:80"] = "a",
      ["[::1]:80"] = "[::1]", ["127.0.0.1"] = "127.0.0.1", ["a."] = "a."} do
      assert.equal(wanted, get("/", {"Host: " .. host}):host())
    end
    assert.is_nil(get("/", {"Host:"}):host())
    assert.is_nil(came "GET / HTTP/1.0\r\n\r\n":host())
    assert.equal("b", get("http://B:81/", {"Host: a"}):host())
  end)

  it("tells who has sent it over a unix socket", function()
    local base <close> = t.base()
    local there = t.path()
    local server = base:http():set_gencb(t.expect(function(req)
      assert.matches("^unix:", req:peername())
      req:send_reply(200)
    end))
    assert(server:bind_socket("unix:" .. there))
    local client = http.dial(base, "unix:" .. there)
    client:send(http.request "GET /"):wait()
    client:close()
    os.remove(there)
  end)

  it("is none of the script's making, and of its own type only", function()
    local req = get "/"
    for _, name in ipairs {"command", "uri", "path", "query", "query_string",
      "version", "host", "find_header", "headers", "trailers", "body",
      "input_buffer", "peername", "base", "set_chunked_cb", "pause", "resume",
      "set_closecb", "set_on_complete_cb", "response_code", "close"} do
      t.raises("libevent.HttpRequest expected", req[name], 1)
    end
    t.raises("an answer to a client expected", req.response_code_line, req)
  end)
end)

describe("a query", function()
  before_each(t.start)
  after_each(t.finish)

  it("is a list of pairs, and of first values by their names", function()
    local list = get "/?a=1&b=2&a=3&c&=d&e=":query()
    assert.same({{"a", "1"}, {"b", "2"}, {"a", "3"}, {"c", ""}, {"", "d"},
      {"e", ""}, a = "1", b = "2", c = "", [""] = "d", e = ""}, list)
  end)

  it("has all values of a name", function()
    local req = get "/?a=1&b=2&a=3&a&c=4"
    assert.same({"1", "3", ""}, {req:query "a"})
    assert.same({"2"}, {req:query "b"})
    assert.same({nil, n = 1}, table.pack(req:query "d"))
    assert.same({nil, n = 1}, table.pack(req:query ""))
    t.raises("string expected", req.query, req, 1)
    assert.equal(400, select("#", get("/?" .. ("a=1&"):rep(400)):query "a"))
  end)

  it("is decoded, once", function()
    for text, wanted in pairs {["a+b=c+d"] = {"a b", "c d"},
      ["%61%3d=%26"] = {"a=", "&"}, ["a=b=c"] = {"a", "b=c"},
      ["a=%2541"] = {"a", "%41"}, ["a=%00b"] = {"a", "\0b"},
      ["a=%"] = {"a", "%"}, ["a=%4"] = {"a", "%4"}, ["a=%zz"] = {"a", "%zz"},
      ["%C3%A9=%ff"] = {"\xc3\xa9", "\xff"}, ["a=?/"] = {"a", "?/"}} do
      local req = get("/?" .. text)
      assert.same(wanted, req:query()[1])
      assert.same({wanted[2]}, {req:query(wanted[1])})
      assert.equal(text, req:query_string())
    end
  end)

  it("has no empty pairs", function()
    assert.same({{"a", "b"}, {"c", ""}, a = "b", c = ""},
      get "/?&&a=b&&c&":query())
  end)

  it("is empty or not there", function()
    local req = get "/?"
    assert.equal("", req:query_string())
    assert.same({}, req:query())
    req = get "/"
    assert.is_nil(req:query_string())
    assert.same({}, req:query())
    assert.is_nil(req:query "a")
  end)
end)

describe("the fields of a request", function()
  before_each(t.start)
  after_each(t.finish)

  it("are found by their names in any case, all of them", function()
    local req = get("/", {"X-One: a", "x-ONE:b ", "Y:", "X-One2: no"})
    for _, name in ipairs {"X-One", "x-one", "X-ONE"} do
      assert.same({"a", "b"}, {req:find_header(name)})
    end
    assert.equal("", req:find_header "y")
    assert.same({nil, n = 1}, table.pack(req:find_header "x"))
    assert.same({nil, n = 1}, table.pack(req:find_header ""))
    assert.is_nil(req:find_header "X-One\0")
    t.raises("string expected", req.find_header, req)
  end)

  it("are a list of pairs, and of first values by their names", function()
    local req = get("/", {"Host: some.test", "X: a", "Y: b", "x: c", "Z:"})
    assert.same({{"host", "some.test"}, {"x", "a"}, {"y", "b"}, {"x", "c"},
      {"z", ""}, host = "some.test", x = "a", y = "b", z = ""}, req:headers())
    req:headers().x = "changed"                 -- each time a new list
    assert.equal("a", req:headers().x)
  end)

  it("have values of any bytes that are no control characters", function()
    local value = "\xff\xc3\xa9 \"(,;=)\" \t x"
    assert.equal(value, get("/", {"X: \t" .. value .. " \t"}):find_header "x")
  end)

  it("come behind a body, too", function()
    local req = came(http.request("POST /", {"Transfer-Encoding: chunked"})
      .. "3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\nY: z\r\n\r\n")
    assert.equal("abc", req:body())
    assert.same({{"x-sum", "1"}, {"x-sum", "2"}, {"y", "z"}, ["x-sum"] = "1",
                 y = "z"}, req:trailers())
    assert.is_nil(req:find_header "x-sum")
  end)
end)

describe("a body", function()
  before_each(t.start)
  after_each(t.finish)

  it("is a string", function()
    for _, body in ipairs {"", "x", "\0\r\n\r\n", t.pattern(100000),
                           t.pattern(1 << 20)} do
      assert.is_true(body == came(http.request("POST /", {}, body)):body())
    end
    assert.equal("", get "/":body())
  end)

  it("is put together from chunks", function()
    local list = {}
    for i = 1, 300 do list[i] = ("%d,"):format(i):rep(i) end
    local req = came(http.request("POST /", {"Transfer-Encoding: chunked"})
                     .. http.chunked(table.unpack(list)))
    assert.is_true(table.concat(list) == req:body())
  end)

  it("is a Buffer, to be moved on", function()
    local body = t.pattern(300000)
    local req = came(http.request("POST /", {}, body))
    local buffer = req:input_buffer()
    assert.matches("libevent.Buffer", getmetatable(buffer), 1, true)
    assert.equal(#body, #buffer)
    assert.is_true(body == req:body())          -- it is still there
    assert.equal(buffer, req:input_buffer())
    local other = libevent.buffer(buffer)
    assert.is_true(body == tostring(other))
    assert.equal("", req:body())
    assert.equal(0, #req:input_buffer())
    assert.equal(0, #get "/":input_buffer())
  end)

  it("goes back to where it has come from", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, req:input_buffer())
    end)
    local body = t.pattern(200000)
    assert.is_true(body == s:ask("POST /", {}, body).body)
    assert.equal("", s:ask("GET /").body)
  end)

  it("waits behind a request that is answered later", function()
    local body = t.pattern(40000)
    local s <close> = http.start(function(req)
      if req:path() == "/later" then
        req:base():timer(function() req:send_reply(200) end):add(0.01)
      else
        req:send_reply(200, nil, req:body())
      end
    end)
    local client = s:dial():send(http.request "GET /later"
      .. http.request("POST /", {}, body)
      .. http.request("POST /", {"Transfer-Encoding: chunked"})
      .. http.chunked(body, body))
    assert.is_true(body == client:wait(2).body)
    assert.is_true(body .. body == client:wait(3).body)
    client:close()
  end)

  it("is asked for if its client waits for that", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, req:body())
    end)
    for _, word in ipairs {"100-continue", "100-Continue"} do
      local client = s:dial():send(http.request("POST /",
        {"Content-Length: 4", "Expect: " .. word}))
      local answer = client:wait()
      assert.equal(100, answer.status)
      assert.equal("Continue", answer.reason)
      assert.same({}, answer.headers)
      assert.equal("body", client:send "body":wait(2).body)
      assert.equal("body", client:send(http.request("POST /", {}, "body"))
                             :wait(3).body)
      client:close()
    end
    local client = s:dial():send("POST / HTTP/1.0\r\nExpect: 100-continue\r\n"
                                 .. "Content-Length: 4\r\n\r\nbody")
    assert.equal(200, client:wait(1).status)    -- there was no such thing
    client:close()
  end)
end)

describe("a body as it comes", function()
  before_each(t.start)
  after_each(t.finish)

  --- A server whose handler is called before a body comes.
  local function streaming(cb, options)
    return http.start(cb, options, {stream = true})
  end

  --- A handler that collects the pieces of a body, and answers.
  local function collect(list)
    return function(req)
      local all = {}
      list[#list + 1] = all
      assert.equal(req, req:set_chunked_cb(function(r, data)
        assert.equal(req, r)
        all[#all + 1] = data or false
        if data == nil then
          req:send_reply(200, nil, tostring(#all - 1))
        end
      end))
    end
  end

  it("is given piece by piece, and then its end", function()
    local list = {}
    local s <close> = streaming(collect(list))
    local client = s:dial():send(http.request("POST /", {"Content-Length: 6"}))
    for i = 1, 3 do
      client:send(i .. i)
      t.turns(s.base, 5)
    end
    assert.equal("3", client:wait(1).body)
    assert.same({"11", "22", "33", false}, list[1])
    client:send(http.request("POST /", {"Transfer-Encoding: chunked"})
                .. http.chunked("a", "bc"))
    client:wait(2)
    assert.same({"a", "bc", false}, list[2])
    client:send(http.request "GET /"):wait(3)
    client:send(http.request("POST /", {}, "")):wait(4)
    assert.same({false}, list[3])
    assert.same({false}, list[4])
    client:close()
  end)

  it("is whole, however it comes", function()
    local list = {}
    local s <close> = streaming(collect(list))
    local body = t.pattern(400)
    local client = s:dial():send(http.request("POST /", {}, body), true)
    client:send(http.request("POST /", {"Transfer-Encoding: chunked"})
                .. http.chunked(body, body), true)
    client:wait(2)
    table.remove(list[1])
    table.remove(list[2])
    assert.equal(body, table.concat(list[1]))
    assert.equal(body .. body, table.concat(list[2]))
    client:close()
  end)

  it("has its trailers at its end", function()
    local s <close> = streaming(function(req)
      req:set_chunked_cb(function(_, data)
        assert.same(data and {} or {{"x", "y"}, x = "y"}, req:trailers())
        if data == nil then req:send_reply(200) end
      end)
    end)
    local client = s:dial():send(http.request("POST /",
      {"Transfer-Encoding: chunked"}) .. "1\r\na\r\n0\r\nX: y\r\n\r\n")
    assert.equal(200, client:wait().status)
    client:close()
  end)

  it("is kept for the one who asks for it later", function()
    local kept
    local list = {}
    local s <close> = streaming(function(req) kept = req end)
    local client = s:dial():send(http.request("POST /", {}, "body"))
    http.till(s.base, function() return kept end)
    t.turns(s.base, 10)
    collect(list)(kept)
    assert.same({}, list[1])                    -- not at once
    client:wait()
    assert.same({"body", false}, list[1])
    client:close()
  end)

  it("goes on to another callback", function()
    local list = {}
    local s <close> = streaming(function(req)
      req:set_chunked_cb(function(_, first)
        list[1] = first
        req:set_chunked_cb(function(_, data)
          list[#list + 1] = data or false
          if data == nil then req:send_reply(200) end
        end)
      end)
    end)
    local client = s:dial():send(http.request("POST /",
      {"Transfer-Encoding: chunked"}) .. http.chunked("a", "b", "c"))
    client:wait()
    assert.same({"a", "b", "c", false}, list)
    client:close()
  end)

  it("waits while nobody listens", function()
    local kept
    local s <close> = streaming(function(req)
      kept = req
      req:set_chunked_cb(t.never()):set_chunked_cb(nil)
    end)
    local client = s:dial():send(http.request("POST /", {}, "body"))
    http.till(s.base, function() return kept end)
    t.turns(s.base, 10)
    kept:set_chunked_cb(function(_, data)
      if data == nil then kept:send_reply(200) end
    end)
    assert.equal(200, client:wait().status)
    client:close()
  end)

  it("is not collected", function()
    local s <close> = streaming(function(req)
      req:set_chunked_cb(function(_, data)
        assert.equal("", req:body())
        assert.equal(0, #req:input_buffer())
        if data == nil then req:send_reply(200) end
      end)
    end)
    assert.equal(200, s:ask("POST /", {}, "body").status)
  end)

  it("stops, and goes on", function()
    local list, kept = {}, nil
    local s <close> = streaming(function(req)
      kept = req
      req:set_chunked_cb(function(_, data)
        list[#list + 1] = data or false
        assert.equal(req, req:pause())
        if data == nil then req:send_reply(200) end
      end)
    end)
    local client = s:dial():send(http.request("POST /",
      {"Transfer-Encoding: chunked"}) .. http.chunked("a", "b"))
    for i, wanted in ipairs {"a", "b", false} do
      http.till(s.base, function() return #list >= i end)
      t.turns(s.base, 10)
      assert.equal(i, #list)
      assert.equal(wanted, list[i])
      assert.equal(kept, kept:resume())
    end
    assert.equal(200, client:wait().status)
    kept:pause():resume()                       -- nothing any more
    client:close()
  end)

  it("holds its sender back, in little memory", function()
    local total, received, ended, kept = 32 << 20, 0, false, nil
    local s <close> = streaming(function(req)
      kept = req
      req:set_chunked_cb(function(_, data)
        received = received + #(data or "")
        if data == nil then
          ended = true
          req:send_reply(200)
        end
      end):pause()
    end)
    local sock = s:socket(http.request("POST /", {"Content-Length: " .. total}))
    sock:settimeout(0)
    local piece, sent, stuck = ("x"):rep(65536), 0, 0
    collectgarbage()
    local before = t.memory "VmRSS"
    while stuck < 20 and sent < total do
      local n, _, part = sock:send(piece, 1, math.min(#piece, total - sent))
      n = n or part
      sent = sent + n
      stuck = n == 0 and stuck + 1 or 0
      s.base:loop "nonblock"
    end
    assert.is_true(sent < total)                -- the sender stands
    assert.equal(0, received)
    assert.is_true(t.slow > 1 or t.memory "VmRSS" - before < 4096)
    kept:resume()
    http.till(s.base, function()
      if sent < total then
        local n, _, part = sock:send(piece, 1, math.min(#piece, total - sent))
        sent = sent + (n or part)
      end
      return ended
    end)
    assert.equal(total, received)
    assert.is_true(t.slow > 1 or t.memory "VmRSS" - before < 16384)
    sock:close()
  end)

  it("has no limit but one that is given", function()
    local list = {}
    local s <close> = streaming(collect(list), {max_body_size = 10})
    local client = s:dial()
    client:send(http.request("POST /", {}, ("x"):rep(1000))):wait()
    client:close()
    s.http:set_gencb(collect(list), {stream = true, max_body_size = 5})
    assert.equal(200, s:ask("POST /", {}, "12345").status)
    assert.equal(413, s:ask("POST /", {}, "123456").status)
    local told
    s.http:set_gencb(function(req)
      req:set_chunked_cb(function(_, data) assert.is_string(data) end)
      req:set_closecb(function(_, ...) told = {...} end)
    end, {stream = true, max_body_size = 5})
    local answers = s:exchange(http.request("POST /",
      {"Transfer-Encoding: chunked"}) .. http.chunked("123", "456"))
    assert.equal(1, #answers)
    assert.equal(413, answers[1].status)
    assert.equal("error", told[1])
    assert.is_string(told[2])
    assert.is_number(told[3])
  end)

  it("that is wrong is refused, and its request told", function()
    local told
    local s <close> = streaming(function(req)
      req:set_chunked_cb(function(_, data) assert.equal("abc", data) end)
      req:set_closecb(t.expect(function(r, ...)
        assert.equal(req, r)
        told = {...}
        t.refused(ECONNRESET, r:send_reply(200))
      end))
    end)
    local answers, rest, over = s:exchange(http.request("POST /",
      {"Transfer-Encoding: chunked"}) .. "3\r\nabc\r\nx")
    assert.equal(1, #answers)
    assert.equal(400, answers[1].status)
    assert.equal("", rest)
    assert.equal("eof", over)
    assert.equal("error", told[1])
    assert.is_string(told[2])
    assert.is_number(told[3])
  end)

  it("that is wrong ends an answer that has begun", function()
    local s <close> = streaming(t.expect(function(req)
      req:send_reply_start(200)
      req:set_chunked_cb(function(_, data)
        if data then req:send_reply_chunk(data) end
      end)
    end))
    local answers, rest = s:exchange(http.request("POST /",
      {"Transfer-Encoding: chunked"}) .. "3\r\nabc\r\nx")
    assert.equal(0, #answers)
    assert.is_nil(rest:find "400")
  end)

  it("can be answered before it has come", function()
    local s <close> = streaming(function(req)
      req:send_reply(200, nil, "at once")
    end)
    local client = s:dial():send(http.request("POST /", {"Content-Length: 4"}))
    assert.equal("at once", client:wait(1).body)
    client:send("body" .. http.request "GET /")
    assert.equal("at once", client:wait(2).body)
    client:close()
  end)

  it("is echoed while it comes", function()
    local s <close> = streaming(function(req)
      req:send_reply_start(200)
      req:set_chunked_cb(function(_, data)
        if data then
          req:send_reply_chunk(data)
        else
          req:send_reply_end()
        end
      end)
    end)
    local client = s:dial():send(http.request("POST /", {"Content-Length: 6"}))
    for i = 1, 3 do
      client:send(i .. i)
      http.till(s.base, function()
        return client:text():find("\r\n2\r\n" .. i .. i, 1, true)
      end)
    end
    assert.same({"11", "22", "33"}, client:wait().chunks)
    client:close()
  end)

  it("is asked for when it is wanted", function()
    local kept
    local s <close> = streaming(function(req) kept = req end)
    local client = s:dial():send(http.request("POST /",
      {"Content-Length: 4", "Expect: 100-continue"}))
    http.till(s.base, function() return kept end)
    t.turns(s.base, 10)
    assert.equal("", client:text())
    kept:set_chunked_cb(function(_, data)
      if data == nil then kept:send_reply(200) end
    end)
    assert.equal(100, client:wait(1).status)
    assert.equal(200, client:send "body":wait(2).status)
    client:close()
  end)

  it("is not asked for when it is not wanted", function()
    local s <close> = streaming(t.expect(function(req)
      req:send_reply(401)
    end))
    local answers = s:dial():send(http.request("POST /",
      {"Content-Length: 4", "Expect: 100-continue"})):finish()
    assert.equal(1, #answers)
    assert.equal(401, answers[1].status)
    assert.equal("close", answers[1].headers.connection)
  end)

  it("is one of a streamed request only", function()
    local s <close> = http.start(t.expect(function(req)
      for _, name in ipairs {"set_chunked_cb", "pause", "resume"} do
        t.raises("its body is not streamed", req[name], req)
      end
      req:send_reply(200)
    end))
    s:ask("POST /", {}, "body")
    s.http:set_gencb(t.expect(function(req)
      for _, bad in ipairs {1, true, {}} do
        t.raises("function expected", req.set_chunked_cb, req, bad)
      end
      req:send_reply(200)
    end), {stream = true})
    s:ask "GET /"
  end)

  it("keeps its request as long as it comes", function()
    local s <close> = streaming(function(req)
      req:set_chunked_cb(function(r, data)
        if data == nil then r:send_reply(200) end
      end)
    end)
    local client = s:dial():send(http.request("POST /",
      {"Content-Length: 20"}))
    for _ = 1, 20 do
      collectgarbage() collectgarbage()
      client:send "x"
      t.turns(s.base, 3)
    end
    assert.equal(200, client:wait().status)
    client:close()
  end)

  it("of a request that is forgotten is answered 500", function()
    local s <close> = streaming(function(req)
      req:set_chunked_cb(function() end)
    end)
    local client = s:dial():send(http.request("POST /", {}, "body"))
    http.till(s.base, function()
      collectgarbage()
      return #client:answers() > 0
    end)
    assert.equal(500, client:wait().status)
    client:close()
  end)

  it("ends with its request", function()
    local s <close> = streaming(t.expect(function(req)
      req:set_chunked_cb(t.expect(function(r, data)
        assert.equal("abc", data)
        r:close()
      end))
    end))
    local answers, rest = s:exchange(http.request("POST /",
      {"Transfer-Encoding: chunked"}) .. http.chunked("abc", "def"))
    assert.equal(0, #answers)
    assert.equal("", rest)
    s:idle()
  end)
end)

describe("the end of a client", function()
  before_each(t.start)
  after_each(t.finish)

  --- A server, a list of what its requests are told of their clients' end, and
  --- the last request.
  local function start(stream, options)
    local told = {}
    local s
    s = http.start(function(req)
      s.req = req
      assert.equal(req, req:set_closecb(function(r, ...)
        assert.equal(req, r)
        told[#told + 1] = table.pack(...)
      end))
      if stream then req:set_chunked_cb(function() end) end
    end, options, {stream = stream})
    return s, told
  end

  local function arrived(s)
    http.till(s.base, function() return s.req end)
  end

  it("is told: it has closed its side, and may still read", function()
    local s <close>, told = start()
    local client = s:dial():send(http.request "GET /")
    arrived(s)
    t.turns(s.base, 5)
    assert.equal(0, #told)
    client:shutdown()
    http.till(s.base, function() return #told > 0 end)
    assert.same({"eof", n = 1}, told[1])
    assert.equal(s.req, s.req:send_reply(200, nil, "still"))
    assert.equal("still", client:finish()[1].body)
    assert.equal(1, #told)
  end)

  it("is told: it is gone", function()
    local s <close>, told = start()
    local sock = s:socket(http.request "GET /")
    arrived(s)
    sockets.vanish(sock)
    http.till(s.base, function() return #told > 0 end)
    assert.same({"error", "Connection reset by peer", ECONNRESET, n = 3},
                told[1])
    t.refused(ECONNRESET, s.req:send_reply(200))
    s:idle()
  end)

  it("is told: it sends nothing more of its body", function()
    local s <close>, told = start(true, {body_timeout = 0.02})
    local client = s:dial():send(http.request("POST /", {"Content-Length: 4"})
                                 .. "bo")
    assert.equal(408, client:finish()[1].status)
    assert.equal(1, #told)
    assert.equal("timeout", told[1][1])
    assert.is_string(told[1][2])
    assert.equal(ETIMEDOUT, told[1][3])
    t.refused(ECONNRESET, s.req:send_reply(200))
  end)

  it("is told: it leaves in the middle of its body", function()
    local s <close>, told = start(true)
    local client = s:dial():send(http.request("POST /", {"Content-Length: 4"})
                                 .. "bo")
    arrived(s)
    t.turns(s.base, 3)
    client:shutdown()
    http.till(s.base, function() return #told > 0 end)
    assert.equal("error", told[1][1])
    assert.is_string(told[1][2])
    assert.equal(ECONNRESET, told[1][3])
    t.refused(ECONNRESET, s.req:send_reply(200))
    client:finish()
    s:idle()
  end)

  it("is not told after the answer, or to nobody", function()
    local s <close>, told = start()
    local sock = s:socket(http.request "GET /")
    arrived(s)
    s.req:send_reply(200)
    sockets.vanish(sock)
    s:idle()
    s.req = nil
    sock = s:socket(http.request "GET /")
    arrived(s)
    s.req:set_closecb(nil)
    sockets.vanish(sock)
    s:idle()
    s.req = nil
    local client = s:dial():send(http.request "GET /")
    arrived(s)
    s.req:close()
    client:finish()
    assert.equal(0, #told)
  end)

  it("is told by the callback that was set last", function()
    local s <close>, told = start()
    local sock = s:socket(http.request "GET /")
    arrived(s)
    local last
    s.req:set_closecb(function(_, what) last = what end)
    for _, bad in ipairs {1, true, {}} do
      t.raises("function expected", s.req.set_closecb, s.req, bad)
    end
    sockets.vanish(sock)
    http.till(s.base, function() return last end)
    assert.equal("error", last)
    assert.equal(0, #told)
  end)

  it("is told in the middle of an answer", function()
    local s <close>, told = start()
    local sock = s:socket(http.request "GET /")
    arrived(s)
    s.req:send_reply_start(200):send_reply_chunk "abc"
    sockets.vanish(sock)
    http.till(s.base, function() return #told > 0 end)
    assert.equal("error", told[1][1])
    t.refused(ECONNRESET, s.req:send_reply_chunk "def")
    t.refused(ECONNRESET, s.req:send_reply_end())
  end)

  it("is told with an error that goes on to the loop", function()
    local s <close> = start()
    local sock = s:socket(http.request "GET /")
    arrived(s)
    s.req:set_closecb(function() error "oh no" end)
    sockets.vanish(sock)
    t.raises("oh no", s.base.dispatch, s.base)
  end)

  it("is not told by one that is not paused for", function()
    local s <close>, told = start(true)
    local client = s:dial():send(http.request("POST /", {}, "body"))
    arrived(s)
    s.req:pause()
    client:shutdown()
    t.turns(s.base, 10)
    s.req:resume()
    t.turns(s.base, 10)
    s.req:send_reply(200)
    assert.equal(200, client:finish()[1].status)
    assert.is_true(#told <= 1)
  end)
end)
