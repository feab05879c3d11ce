-- The examples of HTTP's clients: one that prints what a URL answers, and a
-- reverse proxy, as real processes between a peer of LuaSocket's and a server.
local process = require "spec.process"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local start, wait = process.start, process.wait

-- A server for both of them.
local BACKEND = [[
  local base = require "libevent".base()
  local server = base:http {max_body_size = false}
  local function text(req)
    local list = {req:command() .. " " .. req:uri()}
    for _, pair in ipairs(req:headers()) do
      list[#list + 1] = pair[1] .. ": " .. pair[2]
    end
    list[#list + 1] = req:body()
    return table.concat(list, "\n")
  end
  server:set_gencb(function(req) req:send_reply(200, nil, text(req)) end)
  server:set_cb("/teapot", function(req)
    req:send_reply(418, "Teapot", "short", {
      ["Set-Cookie"] = {"a", "b"}, ["Keep-Alive"] = "timeout=5",
      ["Content-Type"] = "text/x"})
  end)
  server:set_cb("/moved", function(req)
    req:send_reply(302, nil, "", {Location = "/there"})
  end)
  server:set_cb("/count", function(req)
    local n = 0
    req:set_closecb(function() print "gone" end)
    req:set_chunked_cb(function(_, data)
      if not data then return req:send_reply(200, nil, tostring(n)) end
      if n == 0 then print "counting" end
      n = n + #data
    end)
  end, {stream = true})
  server:set_cb("/much", function(req)
    req:set_closecb(function() print "gone" end)
    req:send_reply_start(200)
    local n = 0
    local function more()
      n = n + 1
      if n > 600 then return req:send_reply_end() end
      req:send_reply_chunk(("x"):rep(50000), more)
    end
    more()
  end)
  server:set_cb("/early", function(req) req:send_reply(413, nil, "enough") end,
                {stream = true})
  server:set_cb("/drop", function(req) req:close() end)
  server:set_cb("/half", function(req)
    req:send_reply_start(200, nil, {["Content-Length"] = 10})
    req:send_reply_chunk("12345", function() req:close() end)
  end)
  server:set_cb("/never", function(req)
    req:set_closecb(function() print "gone" end)
    base:timer(function() req:close() end):add(60)
    print "asked"
  end)
  io.stdout:setvbuf "line"
  print("backend on " .. server:bind_socket("127.0.0.1:0"):sockname())
  base:dispatch()
]]

local function backend()
  local path = t.write(BACKEND)
  local p = start(path)
  local address = p:expect "^backend on (%S+)\n"
  os.remove(path)
  return address, p
end

local function proxy(address)
  local p = start("examples/reverse_proxy.lua 127.0.0.1:0 " .. address)
  local own, to = p:expect "^reverse proxy on (%S+) for (%S+)\n"
  assert.equal(address, to)
  return own, p
end

local function dial(address)
  return sockets.dial(tonumber(address:match "%d+$"))
end

-- The head and the body of all that is answered.
local function ask(address, line, fields, body)
  local sock = dial(address)
  assert(sock:send(("%s HTTP/1.1\r\nHost: some.test\r\nConnection: close\r\n"
                    .. "%s\r\n%s"):format(line, fields or "", body or "")))
  local text = sock:receive "*a"
  sock:close()
  return text:match "^(.-\r\n\r\n)(.*)$"
end

-- It ends, and has said nothing more.
local function ends(p, signal)
  local before = p:output()
  local text, status = p:stop(signal)
  assert.same({before, 0}, {text, status})
end

describe("Example http_client", function()
  after_each(process.killall)

  local function client(arguments)
    return start("examples/http_client.lua " .. arguments):finish()
  end

  it("prints what a URL answers", function()
    local address = backend()
    assert.same({"short", 0}, {client("http://" .. address .. "/teapot")})
    local text, status = client("-i http://" .. address .. "/teapot")
    assert.equal(0, status)
    assert.matches("^http://" .. address .. "/teapot\n418 Teapot\n", text)
    assert.matches("\nset%-cookie: a\nset%-cookie: b\n.*\n\nshort$", text)
    assert.matches("^GET /there\n", (client("http://" .. address .. "/moved")))
    assert.matches("^POST /\n.*\ncontent%-length: 4\n.*data$",
                   (client("http://" .. address .. " data")))
    local much = client("http://" .. address .. "/much")
    assert.equal(30000000, #much)
  end)

  it("says what went wrong", function()
    local text, status = client(("http://127.0.0.1:%d/"):format(
      sockets.unused()))
    assert.matches("refused\n$", text)
    assert.equal(1, status)
    assert.same({"bad URL: no scheme that is known: none\n", 1},
                {client "nothing"})
    assert.same({"usage: http_client.lua [-i] [--cacert file] url [data]\n", 1},
                {client ""})
    local address = backend()
    text, status = client("http://" .. address .. "/half")
    assert.matches("12345", text, 1, true)
    assert.matches("the server has closed the connection\n", text, 1, true)
    assert.equal(1, status)
  end)
end)

describe("Example reverse_proxy", function()
  after_each(process.killall)

  it("hands on what belongs to the request, and says for whom", function()
    local address, p = proxy((backend()))
    local head, body = ask(address, "POST /a%20b?c=d", "X-Mine: 1\r\n"
      .. "X-Forwarded-For: 192.0.2.1\r\nTE: trailers\r\nUpgrade: x\r\n"
      .. "Keep-Alive: timeout=1\r\nContent-Length: 4\r\n", "data")
    assert.matches("^HTTP/1.1 200 OK\r\n", head)
    assert.equal("POST /a%20b?c=d\nhost: some.test\nx-mine: 1\n"
                 .. "content-length: 4\n"
                 .. "x-forwarded-for: 192.0.2.1, 127.0.0.1\ndata", body)
    body = select(2, ask(address, "GET http://other.test/x?y"))
    assert.matches("^GET /x%?y\n", body)
    assert.matches("\nx%-forwarded%-for: 127.0.0.1\n", body)
    ends(p, "TERM")
  end)

  it("hands back what belongs to the answer", function()
    local address, p = proxy((backend()))
    local head, body = ask(address, "GET /teapot")
    head = head:lower()
    assert.matches("^http/1.1 418 teapot\r\n", head)
    assert.matches("\r\nset%-cookie: a\r\nset%-cookie: b\r\n", head)
    assert.matches("\r\ncontent%-length: 5\r\n", head)
    assert.is_nil(head:find "keep%-alive")
    assert.equal("short", body)
    head, body = ask(address, "HEAD /teapot")
    assert.matches("\r\ncontent%-length: 5\r\n", head:lower())
    assert.equal("", body)
    head = ask(address, "GET /moved")
    assert.matches("\r\nlocation: /there\r\n", head:lower())
    ends(p)
  end)

  it("keeps the connection of a client, and its own", function()
    local address, p = proxy((backend()))
    local sock = dial(address)
    for _ = 1, 3 do
      sock:send "GET /teapot HTTP/1.1\r\nHost: a\r\n\r\n"
      assert.equal("HTTP/1.1 418 Teapot", sock:receive "*l")
      repeat local line = sock:receive "*l" until line == ""
      assert.equal("short", sock:receive(5))
    end
    sock:close()
    ends(p)
  end)

  it("takes large bodies both ways, and little memory", function()
    local address, p = proxy((backend()))
    local sock = dial(address)
    assert(sock:send("POST /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                     .. "Transfer-Encoding: chunked\r\n\r\n"))
    local chunk = ("c350\r\n%s\r\n"):format(("x"):rep(50000))
    for _ = 1, 600 do assert(sock:send(chunk)) end
    assert(sock:send "0\r\n\r\n")
    assert.matches("\r\n30000000", sock:receive "*a")
    sock:close()
    sock = dial(address)
    assert(sock:send "GET /much HTTP/1.0\r\n\r\n")
    local most = 0
    for _ = 1, 10 do                              -- it reads slowly at first
      assert(sock:receive(10000))
      most = math.max(most, t.memory("VmRSS", p.pid))
      require "socket".sleep(0.01)
    end
    assert.is_true(#sock:receive "*a" > 29900000)
    sock:close()
    assert.is_true(most < 20000 * t.slow, "kilobytes: " .. most)
    ends(p)
  end)

  it("answers for a backend that does not", function()
    local address, p = proxy(("127.0.0.1:%d"):format(sockets.unused()))
    assert.matches("^HTTP/1.1 502 Bad Gateway\r\n", (ask(address, "GET /")))
    ends(p)
    address, p = proxy((backend()))
    assert.matches("^HTTP/1.1 502 ", (ask(address, "GET /drop")))
    local head, body = ask(address, "GET /half")
    assert.matches("^HTTP/1.1 200 .*\r\nContent%-Length: 10\r\n", head)
    assert.equal("12345", body)                   -- and no word more
    assert.matches("^HTTP/1.1 413 ", (ask(address, "POST /early",
      "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")))
    assert.matches("^HTTP/1.1 418 ", (ask(address, "GET /teapot")))
    ends(p)
  end)

  it("leaves the backend when the client has left", function()
    local behind, b = backend()
    local address, p = proxy(behind)
    local function leaves(times)
      assert(wait(function()
        return select(2, b:output():gsub("gone\n", "")) == times
      end))
    end
    local sock = dial(address)
    assert(sock:send "GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
    assert(sock:receive(10))
    sockets.vanish(sock)
    leaves(1)
    sock = dial(address)
    assert(sock:send("POST /count HTTP/1.1\r\nHost: a\r\n"
                     .. "Content-Length: 9\r\n\r\n1"))
    b:expect "counting\n"
    sock:close()
    leaves(2)
    sock = dial(address)
    assert(sock:send "GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    b:expect "asked\n"
    sockets.vanish(sock)
    leaves(3)
    assert.matches("^HTTP/1.1 418 ", (ask(address, "GET /teapot")))
    ends(p)
  end)
end)
