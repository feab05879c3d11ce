-- src/http_reply.c, src/http_text.c: what a server answers, exactly once:
-- whole, piece by piece, later, or with a connection that is no longer HTTP's.
local libevent = require "libevent"
local http = require "spec.http"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local ECONNRESET = 104

--- A server whose requests are answered with these arguments.
local function replying(...)
  local args = table.pack(...)
  return http.start(function(req)
    assert.equal(req, req:send_reply(table.unpack(args, 1, args.n)))
  end)
end

--- The answer to GET of a server whose handler is cb.
local function asked(cb, ...)
  local s <close> = http.start(t.expect(cb))
  local answer = s:ask("GET /", ...)
  return answer
end

--- The errors that callbacks on a base raise, from now on.
local function errors(base)
  local list = {}
  base:set_error_cb(function(err) list[#list + 1] = tostring(err) end)
  return list
end

describe("a whole answer", function()
  before_each(t.start)
  after_each(t.finish)

  it("has a status, its reason, the date, a type and a body", function()
    local s <close> = replying(200, nil, "hello")
    local answer = s:ask "GET /"
    assert.equal("1.1", answer.version)
    assert.equal(200, answer.status)
    assert.equal("OK", answer.reason)
    assert.equal("hello", answer.body)
    local date = answer.headers.date
    assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", date)
    answer.headers.date = nil
    assert.same({["content-type"] = "text/html; charset=utf-8",
                 ["content-length"] = "5"}, answer.headers)
  end)

  it("has nothing but its status and its length without a body", function()
    for _, body in ipairs {false, ""} do
      local s <close> = replying(404, nil, body or nil)
      local answer = s:ask "GET /"
      assert.equal("Not Found", answer.reason)
      answer.headers.date = nil
      assert.same({["content-length"] = "0"}, answer.headers)
    end
  end)

  it("has the reason that is given", function()
    for _, reason in ipairs {"Fine", "", "not at all \xc3\xa9"} do
      local s <close> = replying(200, reason)
      assert.equal(reason, s:ask("GET /").reason)
    end
  end)

  it("has any status from 200 to 599", function()
    local s <close> = http.start(function(req)
      for _, bad in ipairs {199, 600, 100, 101, 0, -1, 200.5, "x", {}} do
        t.raises("bad argument #2", req.send_reply, req, bad)
        t.raises("bad argument #2", req.send_reply_start, req, bad)
      end
      t.raises("bad argument #2", req.send_reply, req)
      req:send_reply(tonumber(req:path():match "%d+"))
    end)
    for status, reason in pairs {[200] = "OK", [299] = "Success",
      [302] = "Found", [399] = "Redirection", [451] =
      "Unavailable For Legal Reasons", [499] = "Client Error",
      [503] = "Service Unavailable", [599] = "Server Error"} do
      local answer = s:ask("GET /" .. status)
      assert.equal(status, answer.status)
      assert.equal(reason, answer.reason)
    end
  end)

  it("has a body of any bytes and any size", function()
    for _, body in ipairs {"\0\r\n\xff", ("x"):rep(1500), t.pattern(1 << 16),
                           t.pattern(1 << 20)} do
      local s <close> = replying(200, nil, body)
      assert.is_true(body == s:ask("GET /").body)
    end
  end)

  it("takes all of a Buffer", function()
    local buffer = t.chained("he", "llo", t.pattern(1 << 18))
    local text = tostring(buffer)
    local s <close> = replying(200, nil, buffer)
    assert.is_true(text == s:ask("GET /").body)
    assert.equal(0, #buffer)
  end)

  it("has all of a file, or of a part of one", function()
    local text = t.pattern(300000)
    local path = t.write(text)
    local answer = asked(function(req)
      local file <close> = assert(io.open(path))
      req:send_reply(200, nil, file, {["Content-Type"] = "text/plain"})
    end)
    assert.is_true(text == answer.body)
    assert.equal("text/plain", answer.headers["content-type"])
    answer = asked(function(req)
      local file <close> = assert(io.open(path))
      local part <close> = assert(libevent.file_segment(file, 7, 100000))
      req:send_reply(206, nil, part)
    end)
    assert.equal(206, answer.status)
    assert.is_true(text:sub(8, 100007) == answer.body)
    answer = asked(function(req)
      local file <close> = assert(io.open(t.write("", path)))
      req:send_reply(200, nil, file)
    end)
    assert.equal("", answer.body)
    os.remove(path)
  end)

  it("has the same file as often as it is asked for", function()
    local text = t.pattern(100000)
    local path = t.write(text)
    local file = assert(io.open(path))
    local segment = assert(libevent.file_segment(file))
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, req:path() == "/file" and file or segment)
    end)
    local client = s:dial()
    for i = 1, 6 do
      client:send(http.request(i % 2 == 0 and "GET /file" or "GET /segment"))
    end
    for i = 1, 6 do assert.is_true(text == client:wait(i).body) end
    client:close()
    s:idle()
    segment:close()
    file:close()
    os.remove(path)
  end)

  it("is refused for a file that is closed, or a directory", function()
    local answer = asked(function(req)
      local file = assert(io.open "/dev/null")
      file:close()
      t.raises("closed", req.send_reply, req, 200, nil, file)
      local directory <close> = assert(io.open "/")
      local ok, _, errno = pcall(req.send_reply, req, 200, nil, directory)
      assert.is_true(not ok or errno ~= nil)
      req:send_reply(404)
    end)
    assert.equal(404, answer.status)
  end)

  it("is refused for a file that has shrunk, and can be another then",
  function()
    local path = t.write(("x"):rep(1000))
    local answer = asked(function(req)
      local file <close> = assert(io.open(path))
      local segment <close> = assert(libevent.file_segment(file))
      t.write("", path)
      t.refused(5, req:send_reply(200, nil, segment, {X = "y"}))
      req:send_reply(404)
    end)
    assert.equal(404, answer.status)
    os.remove(path)
  end)

  it("is refused for a body that is none", function()
    local answer = asked(function(req)
      for _, bad in ipairs {true, {}, print} do
        t.raises("bad argument #4", req.send_reply, req, 200, nil, bad)
      end
      req:send_reply(200)
    end)
    assert.equal(200, answer.status)
  end)
end)

describe("the fields of an answer", function()
  before_each(t.start)
  after_each(t.finish)

  it("are a table by names", function()
    local answer = asked(function(req)
      req:send_reply(200, nil, "x", {["Content-Type"] = "text/plain",
        ["X-List"] = {"a", "b", 3}, ["X-Number"] = 42, ["X-Empty"] = "",
        ["X-None"] = {}})
    end)
    local h = answer.headers
    assert.equal("text/plain", h["content-type"])
    assert.equal("a|b|3", h["x-list"])
    assert.equal("42", h["x-number"])
    assert.equal("", h["x-empty"])
    assert.is_nil(h["x-none"])
  end)

  it("are a list of pairs in their order", function()
    local s <close> = replying(200, nil, nil,
      {{"B", "1"}, {"A", 2}, {"B", "3"}, {"set-COOKIE", "a=b; c"}})
    local client = s:dial():send(http.request "GET /")
    client:wait()
    assert.truthy(client:text():find(
      "\r\nB: 1\r\nA: 2\r\nB: 3\r\nset-COOKIE: a=b; c\r\n", 1, true))
    client:close()
  end)

  it("are added and taken away before it", function()
    local answer = asked(function(req)
      assert.equal(req, req:add_header("A", "1"))
      req:add_header("B", 2):add_header("a", "3"):add_header("C", "4")
      assert.is_true(req:remove_header "b")
      assert.is_false(req:remove_header "b")
      assert.is_false(req:remove_header "")
      req:send_reply(200, nil, nil, {D = "5"})
    end)
    assert.equal("1|3", answer.headers.a)
    assert.is_nil(answer.headers.b)
    assert.equal("4", answer.headers.c)
    assert.equal("5", answer.headers.d)
    answer = asked(function(req)
      req:add_header("A", "1"):add_header("Content-Type", "a/b")
      assert.equal(req, req:clear_headers())
      req:add_header("B", "2")
      req:send_reply(200, nil, "x")
    end)
    assert.is_nil(answer.headers.a)
    assert.equal("2", answer.headers.b)
    assert.equal("text/html; charset=utf-8", answer.headers["content-type"])
  end)

  it("are many and long ones", function()
    local list = {}
    for i = 1, 200 do list[i] = {"X-" .. i, ("v"):rep(i * 10)} end
    local s <close> = replying(200, nil, "body", list)
    local answer = s:ask "GET /"
    for i = 1, 200 do
      assert.equal(#list[i][2], #answer.headers["x-" .. i])
    end
    assert.equal("body", answer.body)
  end)

  it("have the type that the server has for all of them", function()
    for option, wanted in pairs {["text/plain"] = "text/plain",
                                 [false] = false} do
      local s <close> = http.start(function(req)
        req:send_reply(200, nil, "x")
      end, {default_content_type = option})
      assert.equal(wanted or nil, s:ask("GET /").headers["content-type"])
    end
    local s <close> = replying(200, nil, "x")
    s.http:set_default_content_type "a/b"
    assert.equal("a/b", s:ask("GET /").headers["content-type"])
    s.http:set_default_content_type()
    assert.is_nil(s:ask("GET /").headers["content-type"])
  end)

  it("can have a date of their own", function()
    local s <close> = replying(200, nil, nil, {Date = "some day"})
    assert.equal("some day", s:ask("GET /").headers.date)
  end)

  it("can have the length that the body has, and no other one", function()
    local answer = asked(function(req)
      t.raises("Content-Length", req.send_reply, req, 200, nil, "body",
        {["Content-Length"] = 5})
      req:clear_headers()
      req:send_reply(200, nil, "body", {["content-length"] = 4})
    end)
    assert.equal("4", answer.headers["content-length"])
    assert.equal("body", answer.body)
  end)

  it("cannot be injected", function()
    local names = {"", "X Y", "X:", "X\r\nY", "X\n", "X\0", "X(", "\xc3\xa9",
                   " X", "X\t", 1, true}
    local values = {"a\r\nB: c", "a\nb", "a\rb", "a\0b", "\1", "\x7f",
                    "\r\n\r\nHTTP/1.1 200 OK", true, print}
    local answer = asked(function(req)
      for _, name in ipairs(names) do
        t.raises("bad argument #2", req.add_header, req, name, "x")
        t.raises("bad argument #5", req.send_reply, req, 200, nil, "b",
          {{"A", "first"}, {name, "x"}})
        t.raises("bad argument #4", req.send_reply_start, req, 200, nil,
          {{"A", "first"}, {name, "x"}})
      end
      for _, value in ipairs(values) do
        t.raises("bad argument #2", req.add_header, req, "X", value)
        t.raises("bad argument #5", req.send_reply, req, 200, nil, "b",
          {{"A", "first"}, {"X", value}})
        t.raises("bad argument #5", req.send_reply, req, 200, nil, "b",
          {X = {"first", value}})
      end
      for _, reason in ipairs {"a\r\nB: c", "a\nb", "a\rb", "a\0b", "\x7f"} do
        t.raises("bad argument #3", req.send_reply, req, 200, reason)
        t.raises("bad argument #3", req.send_reply_start, req, 200, reason)
        t.raises("bad argument #3", req.send_error, req, 400, reason)
      end
      req:send_reply(200)
    end)
    answer.headers.date = nil
    assert.same({["content-length"] = "0"}, answer.headers)
  end)

  it("leave how it is framed to the library", function()
    local answer = asked(function(req)
      for name, values in pairs {
        ["Transfer-Encoding"] = {"chunked", "gzip", ""},
        Connection = {"close, X", "X", ""},
        ["Content-Length"] = {"", "-1", "+1", "1.0", "0x1", "1 1", "1,1", "a",
                              "99999999999999999999"}} do
        for _, value in ipairs(values) do
          t.raises("bad argument #2", req.add_header, req, name, value)
          t.raises("bad argument #2", req.add_header, req, name:upper(), value)
        end
      end
      for _, bad in ipairs {1, "x", print} do
        t.raises("bad argument #5", req.send_reply, req, 200, nil, nil, bad)
      end
      for _, bad in ipairs {{{}}, {{"X"}}, {"X"}, {{1, 2}}, {X = print}} do
        t.raises("bad argument #5", req.send_reply, req, 200, nil, nil, bad)
      end
      t.raises("bad argument #2", req.add_header, req)
      t.raises("bad argument #2", req.add_header, req, "X")
      req:send_reply(200)
    end)
    answer.headers.date = nil
    assert.same({["content-length"] = "0"}, answer.headers)
  end)
end)

describe("a request", function()
  before_each(t.start)
  after_each(t.finish)

  it("is answered exactly once", function()
    local kept
    local answer = asked(function(req)
      kept = req
      t.raises("its answer has not begun", req.send_reply_chunk, req, "x")
      t.raises("its answer has not begun", req.send_reply_end, req)
      req:send_reply(200, nil, "once")
      for _, name in ipairs {"send_reply", "send_reply_start", "send_error",
        "send_reply_chunk", "send_reply_end", "upgrade", "add_header",
        "remove_header", "clear_headers", "set_on_complete_cb"} do
        t.raises("answered already", req[name], req, 400, "x")
      end
    end)
    assert.equal("once", answer.body)
    t.raises("answered already", kept.send_reply, kept, 200)
  end)

  it("is not answered again while it is being answered", function()
    local answer = asked(function(req)
      req:send_reply_start(200)
      for _, name in ipairs {"send_reply", "send_reply_start", "send_error",
        "upgrade", "add_header", "remove_header", "clear_headers"} do
        t.raises("has begun already", req[name], req, 400, "x")
      end
      req:send_reply_chunk "once":send_reply_end()
      t.raises("answered already", req.send_reply_chunk, req, "x")
      t.raises("answered already", req.send_reply_end, req)
    end)
    assert.equal("once", answer.body)
  end)

  it("tells the status of its answer", function()
    asked(function(req)
      assert.is_nil(req:response_code())
      req:send_reply(404)
      assert.equal(404, req:response_code())
    end)
  end)

  it("is answered later, from a timer", function()
    local s <close> = http.start(function(req)
      req:base():timer(function()
        collectgarbage()
        req:send_reply(200, nil, req:path())
      end):add(0.005)
      collectgarbage()
    end)
    assert.equal("/later", s:ask("GET /later").body)
  end)

  it("is refused an answer when its client is gone", function()
    local kept
    local s <close> = http.start(t.expect(function(req) kept = req end))
    local sock = s:socket(http.request "GET /")
    http.till(s.base, function() return kept end)
    sockets.vanish(sock)
    s:idle()
    t.refused(ECONNRESET, kept:send_reply(200, nil, "too late"))
    assert.equal("/", kept:path())
  end)

  it("is refused the rest of an answer when its client is gone", function()
    local kept
    local s <close> = http.start(t.expect(function(req) kept = req end))
    local sock = s:socket(http.request "GET /")
    http.till(s.base, function() return kept end)
    kept:send_reply_start(200)
    kept:send_reply_chunk "a piece"
    sockets.vanish(sock)
    s:idle()
    t.refused(ECONNRESET, kept:send_reply_chunk "x")
    t.refused(ECONNRESET, kept:send_reply_end())
  end)

  it("is closed without an answer", function()
    local s <close> = http.start(t.expect(function(req)
      assert.equal(req, req:close())
      assert.is_true(t.isclosed(req))
      req:close()
      t.refused(ECONNRESET, req:send_reply(200))
      assert.equal("/", req:path())
    end))
    local answers, rest = s:exchange(http.request "GET /":rep(2))
    assert.equal(0, #answers)
    assert.equal("", rest)
    s:idle()
  end)
end)

describe("an error as an answer", function()
  before_each(t.start)
  after_each(t.finish)

  it("is a page with its reason", function()
    local answer = asked(function(req)
      for _, bad in ipairs {200, 299, 600, "x"} do
        t.raises("bad argument #2", req.send_error, req, bad)
      end
      req:add_header("X", "kept"):add_header("Content-Type", "a/b")
      assert.equal(req, req:send_error(404))
    end)
    assert.equal(404, answer.status)
    assert.equal("text/html; charset=utf-8", answer.headers["content-type"])
    assert.equal("kept", answer.headers.x)
    assert.matches("<title>404 Not Found</title>", answer.body, 1, true)
  end)

  it("has words of its own, as text", function()
    local answer = asked(function(req)
      req:send_error(403, "no <b>&</b>")
    end)
    assert.equal("no <b>&</b>", answer.reason)
    assert.matches("<h1>no &lt;b>&amp;&lt;/b></h1>", answer.body, 1, true)
  end)

  it("is none for a client that is gone", function()
    local kept
    local s <close> = http.start(t.expect(function(req) kept = req end))
    local sock = s:socket(http.request "GET /")
    http.till(s.base, function() return kept end)
    sockets.vanish(sock)
    s:idle()
    t.refused(ECONNRESET, kept:send_error(500))
  end)
end)

describe("an answer piece by piece", function()
  before_each(t.start)
  after_each(t.finish)

  it("comes in chunks", function()
    local answer = asked(function(req)
      assert.equal(req, req:send_reply_start(200, "Fine", {X = "y"}))
      assert.equal(req, req:send_reply_chunk "one")
      req:send_reply_chunk(libevent.buffer "two"):send_reply_chunk ""
      assert.equal(req, req:send_reply_end())
    end)
    assert.equal("Fine", answer.reason)
    assert.same({"one", "two"}, answer.chunks)
    assert.same({}, answer.trailers)
    assert.equal("y", answer.headers.x)
    assert.equal("text/html; charset=utf-8", answer.headers["content-type"])
    assert.is_nil(answer.headers["content-length"])
  end)

  it("comes with trailers", function()
    local answer = asked(function(req)
      req:send_reply_start(200):send_reply_chunk "x"
      t.raises("bad argument #2", req.send_reply_end, req, {["a b"] = "c"})
      t.raises("bad argument #2", req.send_reply_end, req, {X = "a\r\nb"})
      req:send_reply_end {{"X-Sum", "42"}, {"X-Sum", "43"}, {"Y", "z"}}
    end)
    assert.equal("x", answer.body)
    assert.same({["x-sum"] = "42|43", y = "z"}, answer.trailers)
  end)

  it("comes over time", function()
    local s <close> = http.start(function(req)
      local n = 0
      req:send_reply_start(200)
      local timer
      timer = req:base():timer(function()
        n = n + 1
        if n <= 5 then
          req:send_reply_chunk(tostring(n))
        else
          req:send_reply_end()
          timer:close()
        end
      end, "persist"):add(0.002)
    end)
    assert.same({"1", "2", "3", "4", "5"}, s:ask("GET /").chunks)
  end)

  it("tells when each piece has been sent, in order", function()
    local told = {}
    local s <close> = http.start(function(req)
      local function tell(n)
        return t.expect(function(r)
          assert.equal(req, r)
          told[#told + 1] = n
        end)
      end
      req:set_on_complete_cb(tell "end")
      req:send_reply_start(200)
      for i = 1, 5 do req:send_reply_chunk("x", tell(i)) end
      req:send_reply_chunk("", tell(6))
      req:send_reply_end()
      assert.same({}, told)                     -- never at once
    end)
    assert.equal("xxxxx", s:ask("GET /").body)
    http.till(s.base, function() return told[#told] == "end" end)
    assert.same({1, 2, 3, 4, 5, 6, "end"}, told)
  end)

  it("is made as its client takes it", function()
    local piece, n, sent = ("x"):rep(65536), 0, 0
    local s <close> = http.start(function(req)
      local function more()
        n = n + 1
        if n > 400 then return req:send_reply_end() end
        req:send_reply_chunk(piece, more)
        sent = sent + #piece
      end
      req:send_reply_start(200)
      more()
    end)
    local client = s:dial(true):send(http.request "GET /")
    t.runfor(s.base, 0.03)
    assert.is_true(n < 400, n)                  -- it waits for its client
    local received = 0
    client.bev:setcb(function(bev) received = received + #bev:read() end)
    client.bev:enable "read"
    http.till(s.base, function() return received > sent and n > 400 end)
    client:close()
  end)

  it("is framed by the length that it says", function()
    local answer = asked(function(req)
      req:send_reply_start(200, nil, {["Content-Length"] = 6})
      req:send_reply_chunk "one"
      t.raises("Content-Length", req.send_reply_chunk, req, "four")
      t.raises("Content-Length", req.send_reply_chunk, req,
        libevent.buffer "four")
      req:send_reply_chunk "two"
      t.raises("Content-Length", req.send_reply_chunk, req, "x")
      req:send_reply_chunk ""
      req:send_reply_end()
    end)
    assert.equal("6", answer.headers["content-length"])
    assert.equal("onetwo", answer.body)
    assert.is_nil(answer.headers["transfer-encoding"])
  end)

  it("that is shorter than its length ends the connection", function()
    local s <close> = http.start(function(req)
      req:send_reply_start(200, nil, {["Content-Length"] = 6})
      req:send_reply_chunk "abc"
      pcall(req.send_reply_end, req)
    end)
    local client = s:dial():send(http.request "GET /":rep(2))
    http.till(s.base, function()
      collectgarbage()
      return client.over
    end)
    assert.equal(0, #client:finish())           -- no whole one
  end)

  it("raises for what it is not", function()
    asked(function(req)
      for _, bad in ipairs {1, true, {"X"}, {{1}}} do
        t.raises("bad argument #4", req.send_reply_start, req, 200, nil, bad)
      end
      req:send_reply_start(200)
      for _, bad in ipairs {true, {}, print} do
        t.raises("bad argument #2", req.send_reply_chunk, req, bad)
      end
      for _, bad in ipairs {1, true, {}} do
        t.raises("bad argument #3", req.send_reply_chunk, req, "x", bad)
      end
      t.raises("bad argument #2", req.send_reply_chunk, req)
      t.raises("bad argument #2", req.send_reply_end, req, 1)
      req:send_reply_end()
    end)
  end)

  it("is followed by the next one", function()
    local s <close> = http.start(function(req)
      req:send_reply_start(200):send_reply_chunk(req:path()):send_reply_end()
    end)
    local client = s:dial()
    for i = 1, 3 do
      client:send(http.request("GET /" .. i))
      assert.equal("/" .. i, client:wait(i).body)
    end
    client:close()
  end)
end)

describe("an answer without a body", function()
  before_each(t.start)
  after_each(t.finish)

  --- The bytes of the answer to a request, and of another one behind it.
  local function bytes(method, cb)
    local s <close> = http.start(function(req)
      if req:path() == "/2" then return req:send_reply(200, nil, "second") end
      cb(req)
    end)
    local client = s:dial():send(http.request(method .. " /1")
      .. http.request("GET /2", {"Connection: close"}))
    client:finish()
    local head, rest = client:text():match "^(.-\r\n\r\n)(.*)$"
    assert.matches("^HTTP/1.1 200 OK\r\n.*second$", rest)
    return head
  end

  it("is one to HEAD, which tells of what it has not", function()
    local path = t.write "12345678"
    local buffer = libevent.buffer "12345678"
    for _, body in ipairs {"12345678", buffer, path} do
      local head = bytes("HEAD", function(req)
        local file <close> = body == path and assert(io.open(path)) or nil
        req:send_reply(200, nil, file or body)
      end)
      assert.matches("\r\nContent%-Length: 8\r\n", head)
      assert.matches("\r\nContent%-Type: text/html", head)
    end
    assert.equal(0, #buffer)
    os.remove(path)
    assert.matches("\r\nContent%-Length: 9\r\n", bytes("HEAD", function(req)
      req:send_reply(200, nil, nil, {["Content-Length"] = 9})
    end))
    assert.matches("^HTTP/1.1 404", bytes("HEAD", function(req)
      req:send_error(404)
    end))
  end)

  it("is one to HEAD piece by piece", function()
    local buffer = libevent.buffer "def"
    bytes("HEAD", function(req)
      req:send_reply_start(200):send_reply_chunk("abc", t.expect())
      req:send_reply_chunk(buffer):send_reply_end {X = "y"}
    end)
    assert.equal(0, #buffer)
    assert.matches("\r\nContent%-Length: 9\r\n", bytes("HEAD", function(req)
      req:send_reply_start(200, nil, {["Content-Length"] = 9})
      req:send_reply_chunk "123456789":send_reply_end()
    end))
  end)

  it("is one of 204, and has no length", function()
    for _, body in ipairs {"body", ""} do
      local head = bytes("GET", function(req)
        req:send_reply(204, nil, body)
      end)
      assert.is_nil(head:find "Content%-Length")
      assert.is_nil(head:find "Transfer%-Encoding")
    end
    local head = bytes("GET", function(req)
      req:send_reply_start(204):send_reply_chunk "x":send_reply_end()
    end)
    assert.is_nil(head:find "Content%-Length")
    assert.is_nil(head:find "Transfer%-Encoding")
  end)

  it("is one of 304, with the length that it would have had", function()
    local head = bytes("GET", function(req)
      req:send_reply(304, nil, nil, {ETag = '"x"'})
    end)
    assert.is_nil(head:find "Content%-Length")
    assert.matches('\r\nETag: "x"\r\n', head)
    assert.matches("\r\nContent%-Length: 7\r\n", bytes("GET", function(req)
      req:send_reply(304, nil, nil, {["Content-Length"] = 7})
    end))
    bytes("GET", function(req)
      req:send_reply_start(304):send_reply_chunk "x":send_reply_end()
    end)
  end)
end)

describe("a connection", function()
  before_each(t.start)
  after_each(t.finish)

  local function path(req) req:send_reply(200, nil, req:path()) end

  it("goes on for the next request", function()
    local s <close> = http.start(path)
    local client = s:dial()
    for i = 1, 5 do
      client:send(http.request("GET /" .. i))
      local answer = client:wait(i)
      assert.equal("/" .. i, answer.body)
      assert.is_nil(answer.headers.connection)
    end
    assert.equal(1, s.http:connection_count())
    client:close()
    s:idle()
  end)

  it("ends when its client says so", function()
    local s <close> = http.start(path)
    for _, word in ipairs {"close", "Close", "keep-alive, close", "X,close",
                           "close\r\nConnection: X"} do
      local answers, rest, over = s:exchange(
        http.request("GET /a", {"Connection: " .. word})
        .. http.request "GET /b")
      assert.equal(1, #answers)
      assert.equal("close", answers[1].headers.connection)
      assert.equal("", rest)
      assert.equal("eof", over)
    end
  end)

  it("ends when the script says so", function()
    for _, headers in ipairs {{Connection = "close"}, {connection = "Close"},
                              {{"CONNECTION", "close"}}} do
      local s <close> = http.start(t.expect(function(req)
        req:send_reply(200, nil, "x", headers)
      end))
      local answers = s:exchange(http.request "GET /":rep(2))
      assert.equal(1, #answers)
      assert.equal("close", answers[1].headers.connection)
    end
    local s <close> = http.start(t.expect(function(req)
      req:send_reply_start(200, nil, {Connection = "close"})
      req:send_reply_chunk "x":send_reply_end()
    end))
    local answers = s:exchange(http.request "GET /":rep(2))
    assert.equal("x", answers[1].body)
    assert.equal("close", answers[1].headers.connection)
  end)

  it("of HTTP/1.0 ends with its answer", function()
    local s <close> = http.start(path)
    local answers = s:exchange "GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n"
    assert.equal(1, #answers)
    assert.equal("/a", answers[1].body)
    assert.equal("close", answers[1].headers.connection)
  end)

  it("of HTTP/1.0 goes on if it asks for that", function()
    local s <close> = http.start(path)
    local answers = s:exchange("GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n"
      .. "\r\nGET /b HTTP/1.0\r\n\r\n")
    assert.equal(2, #answers)
    assert.equal("keep-alive", answers[1].headers.connection)
    assert.equal("close", answers[2].headers.connection)
  end)

  it("of HTTP/1.0 gets no chunks", function()
    local s <close> = http.start(function(req)
      req:send_reply_start(200):send_reply_chunk "one"
      req:send_reply_chunk "two":send_reply_end {X = "y"}
    end)
    local answers = s:exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n"
      .. "\r\nGET / HTTP/1.0\r\n\r\n")
    assert.equal(1, #answers)
    assert.equal("onetwo", answers[1].body)
    assert.equal("close", answers[1].headers.connection)
  end)

  it("of HTTP/1.0 goes on after pieces of a known length", function()
    local s <close> = http.start(function(req)
      req:send_reply_start(200, nil, {["Content-Length"] = 3})
      req:send_reply_chunk "abc":send_reply_end()
    end)
    local answers = s:exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n"
      .. "\r\nGET / HTTP/1.0\r\n\r\n")
    assert.equal(2, #answers)
    assert.equal("abc", answers[2].body)
  end)

  it("answers many requests that come at once, in their order", function()
    local s <close> = http.start(path)
    local list = {}
    for i = 1, 500 do list[i] = http.request("GET /" .. i) end
    local client = s:dial():send(table.concat(list)):shutdown()
    local answers = client:finish()
    assert.equal(500, #answers)
    for i, answer in ipairs(answers) do assert.equal("/" .. i, answer.body) end
  end)

  it("sends all the answers to one read at once", function()
    local s <close> = http.start(path)
    local client = s:dial():send(http.request "GET /":rep(20))
    client:wait(20)
    assert.equal(1, #client.got)
    client:close()
  end)

  it("answers requests in order that are answered later", function()
    local waiting
    local s <close> = http.start(function(req)
      assert.is_nil(waiting)                    -- one after the other
      waiting = req
      req:base():timer(function()
        waiting = nil
        req:send_reply(200, nil, req:path())
      end):add(math.random() / 500)
    end)
    local list = {}
    for i = 1, 10 do list[i] = http.request("POST /" .. i, {}, "body") end
    local answers = s:dial():send(table.concat(list)):shutdown():finish()
    assert.equal(10, #answers)
    for i, answer in ipairs(answers) do assert.equal("/" .. i, answer.body) end
  end)

  it("answers a client that has closed its side", function()
    local s <close> = http.start(function(req)
      req:base():timer(function() path(req) end):add(0.005)
    end)
    local answers, rest, over = s:dial():send(http.request "GET /a"):shutdown()
      :finish()
    assert.equal(1, #answers)
    assert.equal("/a", answers[1].body)
    assert.equal("", rest)
    assert.equal("eof", over)
  end)

  it("ends with a long body that nobody wanted", function()
    local s <close> = http.start()
    local answers = s:exchange(http.request("POST /absent", {},
      ("x"):rep(1000000)) .. http.request "GET /")
    assert.equal(1, #answers)
    assert.equal(404, answers[1].status)
    s:idle()
  end)

  it("ends when all is sent, without a limit of time", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, ("x"):rep(1 << 23), {Connection = "close"})
    end, {write_timeout = false})
    local client = s:dial(true):send(http.request "GET /")
    t.runfor(s.base, 0.02)
    client.bev:enable "read"
    local answers = client:finish()
    assert.equal(1 << 23, #answers[1].body)
    s:idle()
  end)

  it("reads a body that nobody wanted", function()
    local s <close> = http.start(path)
    s.http:set_gencb()
    s.http:set_cb("/", path)
    local client = s:dial():send(http.request("POST /absent", {},
      ("x"):rep(100000)) .. http.request "GET /")
    assert.equal(404, client:wait(1).status)
    assert.equal(200, client:wait(2).status)
    client:close()
  end)
end)

describe("the end of an answer", function()
  before_each(t.start)
  after_each(t.finish)

  it("is told when all of it has been sent", function()
    local told
    local body = ("x"):rep(1 << 24)
    local s <close> = http.start(function(req)
      assert.equal(req, req:set_on_complete_cb(t.expect(function(r)
        assert.equal(req, r)
        told = true
      end)))
      req:send_reply(200, nil, body)
    end)
    local client = s:dial(true):send(http.request "GET /")
    t.runfor(s.base, 0.02)
    assert.is_nil(told)
    local received = 0
    client.bev:setcb(function(bev) received = received + #bev:read() end)
    client.bev:enable "read"
    http.till(s.base, function() return received > #body and told end)
    client:close()
  end)

  it("is told by the callback that was set last", function()
    local s <close> = http.start(function(req)
      req:set_on_complete_cb(t.never()):set_on_complete_cb(t.expect())
      for _, bad in ipairs {1, true, {}} do
        t.raises("bad argument #2", req.set_on_complete_cb, req, bad)
      end
      req:send_reply(200)
    end)
    local answers = s:exchange(http.request("GET /", {"Connection: close"}))
    assert.equal(1, #answers)
    s:idle()
  end)

  it("is told before the connection is closed", function()
    local told, server
    local s <close> = http.start(function(req)
      req:set_on_complete_cb(function() told = server:connection_count() end)
      req:send_reply(200, nil, "x", {Connection = "close"})
    end)
    server = s.http
    s:exchange(http.request "GET /")
    assert.equal(1, told)
  end)

  it("is not told to one who does not ask, or of no answer", function()
    local s <close> = http.start(t.expect(function(req)
      req:set_on_complete_cb(t.never()):set_on_complete_cb(nil)
      req:send_reply(200)
    end))
    s:ask "GET /"
    s.http:set_gencb(t.expect(function(req)
      req:set_on_complete_cb(t.never()):close()
    end))
    s:exchange(http.request "GET /")
    s:idle()
  end)
end)

describe("a connection that becomes something else", function()
  before_each(t.start)
  after_each(t.finish)

  local fields = {"Connection: Upgrade", "Upgrade: echo"}

  local function echo(req)
    local bev = req:upgrade("echo", {X = "y"})
    bev:setcb(function(b) b:write(b:read()) end)
    bev:enable "read"
    return bev
  end

  it("is the script's from then on", function()
    local bev, kept
    local s <close> = http.start(t.expect(function(req)
      kept = req
      bev = echo(req)
      assert.matches("^libevent.Bufferevent", tostring(bev))
    end))
    local client = s:dial():send(http.request("GET /chat", fields))
    local answer = client:wait()
    assert.equal(101, answer.status)
    assert.equal("Switching Protocols", answer.reason)
    assert.equal("echo", answer.headers.upgrade)
    assert.equal("Upgrade", answer.headers.connection)
    assert.equal("y", answer.headers.x)
    assert.is_nil(answer.headers["content-length"])
    assert.equal(0, s.http:connection_count())
    assert.equal("/chat", kept:path())
    t.raises("answered already", kept.send_reply, kept, 200)
    client:send "GET / HTTP/1.1\r\n\r\n"
    http.till(s.base, function()
      return select(2, client:answers()) == "GET / HTTP/1.1\r\n\r\n"
    end)
    bev:close()
    client:finish()
  end)

  it("has what came already", function()
    for _, slowly in ipairs {false, true} do
      local s <close> = http.start(t.expect(echo))
      local client = s:dial():send(http.request("GET /", fields) .. "early",
        slowly)
      http.till(s.base, function()
        return select(2, client:answers()) == "early"
      end)
      client:shutdown():finish()
    end
  end)

  it("has what came already when the script asks for it later", function()
    local bev
    local s <close> = http.start(function(req) bev = req:upgrade "x" end)
    local client = s:dial():send(http.request("GET /", fields) .. "early")
    client:wait()
    t.turns(s.base, 5)
    local got = ""
    bev:setcb(function(b) got = got .. b:read() end)
    bev:enable "read"
    client:send " and late"
    http.till(s.base, function() return got == "early and late" end)
    bev:close()
    client:finish()
  end)

  it("is one later, too", function()
    local s <close> = http.start(function(req)
      req:base():timer(function() echo(req) end):add(0.002)
    end)
    local client = s:dial():send(http.request("GET /", fields) .. "early")
    http.till(s.base, function()
      return select(2, client:answers()) == "early"
    end)
    client:shutdown():finish()
  end)

  it("is a tunnel", function()
    local s <close> = http.start(function(req)
      assert.equal("some.test:443", req:uri())
      local bev = req:upgrade()
      bev:setcb(function(b) b:write(b:read()) end)
      bev:enable "read"
    end, {allowed_methods = "CONNECT"})
    local client = s:dial():send(http.request("CONNECT some.test:443")
                                 .. "\x16\x03")
    client.head = true                          -- it has no body
    local answer = client:wait()
    assert.equal(200, answer.status)
    assert.is_nil(answer.headers["content-length"])
    assert.is_nil(answer.headers["transfer-encoding"])
    http.till(s.base, function() return client:text():sub(-2) == "\x16\x03" end)
    client:shutdown():finish()
  end)

  it("cannot be injected into", function()
    local answer = asked(function(req)
      for _, bad in ipairs {"a\r\nB: c", "a\nb", "a\0b"} do
        t.raises("bad argument #2", req.upgrade, req, bad)
        t.raises("bad argument #3", req.upgrade, req, "x", {X = bad})
      end
      t.raises("bad argument #2", req.upgrade, req, {})
      t.raises("bad argument #3", req.upgrade, req, "x", 1)
      req:send_reply(400)
    end)
    assert.equal(400, answer.status)
    assert.is_nil(answer.headers.x)
  end)

  it("is none while a body comes, or for a client that is gone", function()
    local kept
    local s <close> = http.start(t.expect(function(req)
      t.raises("body", req.upgrade, req, "x")
      kept = req
    end), {}, {stream = true})
    local sock = s:socket(http.request("POST /", fields, "body"))
    http.till(s.base, function() return kept end)
    sockets.vanish(sock)
    s:idle()
    t.refused(ECONNRESET, kept:upgrade "x")
  end)

  it("is not closed with the server", function()
    local bev
    local s <close> = http.start(function(req) bev = echo(req) end)
    local client = s:dial():send(http.request("GET /", fields))
    client:wait()
    s.http:close()
    client:send "still"
    http.till(s.base, function() return client:text():sub(-5) == "still" end)
    bev:close()
    client:finish()
  end)
end)

describe("a handler", function()
  before_each(t.start)
  after_each(t.finish)

  it("that raises answers 500, and its error ends the loop", function()
    local s <close> = http.start(function() error "oh no" end)
    local client = s:dial():send(http.request "GET /")
    t.raises("oh no", s.base.dispatch, s.base)
    local answer = client:wait()
    assert.equal(500, answer.status)
    assert.is_nil(answer.body:find "oh no")     -- nobody else's business
    client:close()
  end)

  it("that raises tells the base's error callback, and all goes on", function()
    local s <close> = http.start(function(req)
      if req:path() == "/bad" then error "oh no" end
      req:send_reply(200)
    end)
    local list = errors(s.base)
    local client = s:dial()
    client:send(http.request "GET /" .. http.request "GET /bad"
                .. http.request "GET /")
    assert.equal(200, client:wait(1).status)
    assert.equal(500, client:wait(2).status)
    assert.equal(200, client:wait(3).status)
    assert.equal(1, #list)
    assert.matches("oh no", list[1])
    client:close()
  end)

  it("that raises after its answer has given it", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, "given")
      error "oh no"
    end)
    local list = errors(s.base)
    local client = s:dial():send(http.request "GET /":rep(2))
    assert.equal("given", client:wait(1).body)
    assert.equal("given", client:wait(2).body)
    assert.equal(2, #list)
    client:close()
  end)

  it("that raises in the middle of its answer closes", function()
    local s <close> = http.start(function(req)
      req:send_reply_start(200):send_reply_chunk "half"
      error "oh no"
    end)
    local list = errors(s.base)
    local answers = s:exchange(http.request "GET /":rep(2))
    assert.equal(0, #answers)                   -- no whole one
    assert.equal(1, #list)
    s:idle()
  end)

  it("that raises has none of its fields in the answer", function()
    local s <close> = http.start(function(req)
      req:add_header("X-Secret", "x")
      error "oh no"
    end)
    errors(s.base)
    assert.is_nil(s:ask("GET /").headers["x-secret"])
  end)

  it("that forgets a request answers 500", function()
    local s <close> = http.start(function() end)
    local client = s:dial():send(http.request "GET /":rep(2))
    for i = 1, 2 do
      http.till(s.base, function()
        collectgarbage()
        return #client:answers() >= i
      end)
      assert.equal(500, client:wait(i).status)
    end
    client:close()
  end)

  it("that forgets a request in the middle of its answer closes", function()
    local s <close> = http.start(function(req)
      req:send_reply_start(200):send_reply_chunk "half"
    end)
    local client = s:dial():send(http.request "GET /")
    http.till(s.base, function()
      collectgarbage()
      return client.over
    end)
    assert.equal(0, #client:answers())
    client:close()
    s:idle()
  end)

  it("that forgets a request that is answered has answered it", function()
    local s <close> = http.start(function(req)
      req:send_reply(200, nil, ("x"):rep(1 << 22))
    end)
    local client = s:dial(true):send(http.request "GET /")
    t.turns(s.base, 10)
    collectgarbage() collectgarbage()
    client.bev:enable "read"
    assert.equal(1 << 22, #client:wait().body)
    client:close()
  end)

  it("is any that can be called", function()
    local callable = setmetatable({}, {__call = function(_, req)
      req:send_reply(201)
    end})
    local s <close> = http.start(callable)
    assert.equal(201, s:ask("GET /").status)
    s.http:set_gencb(coroutine.wrap(function(req)
      while true do
        req:send_reply(202)
        req = coroutine.yield()
      end
    end))
    for _ = 1, 3 do assert.equal(202, s:ask("GET /").status) end
  end)
end)
