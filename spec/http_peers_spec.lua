-- HTTP with servers that are not ours: nginx and node.
local http = require "libevent.http"
local nginx = require "spec.nginx"
local process = require "spec.process"
local socket = require "socket"
local t = require "spec.helper"

local FILE = t.pattern(800000)

local NGINX = [[
  keepalive_requests 5;
  keepalive_timeout 1s;
  client_max_body_size 1000;
  gzip on;
  gzip_types *;
  server {
    listen 127.0.0.1:PORT;
    root DIR;
    location /connection { return 200 $connection:$connection_requests; }
    location /moved { return 301 /file?x; }
    location /empty { return 204; }
    location /closed { return 444; }
    location /chunked {
      ssi on;
      ssi_types *;
    }
  }
]]

local NODE = [[
  const http = require("http")
  const server = http.createServer((req, res) => {
    const url = new URL(req.url, "http://x")
    if (url.pathname == "/hints") {
      res.writeEarlyHints({link: "</a>; rel=preload"})
      return res.end("hinted")
    }
    if (url.pathname == "/trailers") {
      res.writeHead(200, {Trailer: "X-Sum"})
      res.write("some")
      res.addTrailers({"X-Sum": "4"})
      return res.end()
    }
    if (url.pathname == "/slow") {
      let n = 0
      const timer = setInterval(() => {
        res.write("tick")
        if (++n == 5) { clearInterval(timer); res.end() }
      }, 5)
      return
    }
    if (url.pathname == "/truncated") {
      res.writeHead(200, {"Content-Length": 100})
      res.write("half")
      return setTimeout(() => res.destroy(), 5)
    }
    if (url.pathname == "/cookies") {
      res.writeHead(200, {"Set-Cookie": ["a=1", "b=2"]})
      return res.end()
    }
    let size = 0
    req.on("data", data => size += data.length)
    req.on("end", () => res.end(`${req.method} ${size} `
      + `${req.headers["transfer-encoding"]} ${req.headers["content-length"]} `
      + `${req.trailers["x-sum"]}`))
  })
  server.on("upgrade", (req, sock, head) => {
    sock.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
      + "Upgrade: echo\r\n\r\nearly ")
    sock.write(head)
    sock.pipe(sock)
  })
  server.keepAliveTimeout = 60000
  server.listen(0, "127.0.0.1",
                () => console.log("port", server.address().port))
]]

local function node()
  local path = t.path() .. ".js"
  t.write(NODE, path)
  local p = process.launch("node " .. path)
  local port = tonumber(p:expect("^port (%d+)\n", 10))
  os.remove(path)
  return port, p
end

local function request(base, conn, method, uri, options)
  local result, message
  conn:make_request(method, uri, options, t.expect(function(...)
    result, message = ...
  end))
  t.runtill(base, function() return result or message end)
  return result, message
end

describe("An HttpConnection to nginx", function()
  local server, port

  setup(function()
    server = nginx(NGINX)
    port = server.port
    t.write(FILE, server.dir .. "/file")
    t.write(("<!--# echo var=\"host\" -->"):rep(10) .. FILE,
            server.dir .. "/chunked")
  end)

  teardown(function() server:stop() end)
  before_each(t.start)
  after_each(t.finish)

  local function connect(base, options)
    return base:http_connection("127.0.0.1", port, options)
  end

  it("gets a file whole, in parts, and not again", function()
    local base = t.base()
    local conn = connect(base)
    local req = request(base, conn, "GET", "/file")
    assert.equal(200, req:response_code())
    assert.is_true(req:body() == FILE)
    local etag, date = req:find_header "etag", req:find_header "last-modified"
    req = request(base, conn, "GET", "/file",
                  {headers = {Range = "bytes=100-199"}})
    assert.equal(206, req:response_code())
    assert.equal(FILE:sub(101, 200), req:body())
    assert.equal("bytes 100-199/800000", req:find_header "content-range")
    req = request(base, conn, "GET", "/file",
                  {headers = {Range = "bytes=0-7,16-23"}})
    assert.equal(206, req:response_code())
    assert.matches("^multipart/byteranges; boundary=",
                   req:find_header "content-type")
    assert.truthy(req:body():find(FILE:sub(17, 24), 1, true))
    req = request(base, conn, "GET", "/file",
                  {headers = {Range = "bytes=900000-"}})
    assert.equal(416, req:response_code())
    for name, value in pairs {["If-None-Match"] = etag,
                              ["If-Modified-Since"] = date} do
      req = request(base, conn, "GET", "/file", {headers = {[name] = value}})
      assert.equal(304, req:response_code())
      assert.equal("", req:body())
    end
    base:close()
  end)

  it("gets heads, and bodies of no bytes", function()
    local base = t.base()
    local conn = connect(base)
    local req = request(base, conn, "HEAD", "/file")
    assert.equal("800000", req:find_header "content-length")
    assert.equal("", req:body())
    req = request(base, conn, "GET", "/empty")
    assert.same({204, ""}, {req:response_code(), req:body()})
    req = request(base, conn, "GET", "/absent")
    assert.equal(404, req:response_code())
    assert.truthy(req:body():find "nginx")
    assert.matches("^%d+:4$", request(base, conn, "GET", "/connection"):body())
    base:close()
  end)

  it("gets what is chunked, or packed", function()
    local base = t.base()
    local conn = connect(base)
    local size = 0
    local req = request(base, conn, "GET", "/chunked", {
      chunked_cb = function(_, data) size = size + #(data or "") end})
    assert.equal("chunked", req:find_header "transfer-encoding")
    assert.equal(800000 + 10 * #"127.0.0.1", size)
    req = request(base, conn, "GET", "/file",
                  {headers = {["Accept-Encoding"] = "gzip"}})
    assert.equal("gzip", req:find_header "content-encoding")
    assert.matches("^\x1f\x8b", req:body())
    base:close()
  end)

  it("is kept for as many requests as nginx wants", function()
    local base = t.base()
    local conn = connect(base)
    local list = {}
    for i = 1, 12 do
      list[i] = request(base, conn, "GET", "/connection"):body()
    end
    local first, numbers = list[1]:match "^%d+", {}
    for i, text in ipairs(list) do numbers[i] = tonumber(text:match "%d+$") end
    assert.same({1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2}, numbers)
    assert.equal(first, list[5]:match "^%d+")
    base:close()
  end)

  it("is made again when nginx has closed it", function()
    local base = t.base()
    local conn = connect(base)
    request(base, conn, "GET", "/connection")
    socket.sleep(1.5)
    local req = request(base, conn, "POST", "/connection", {body = "x"})
    assert.matches(":1$", req:body())
    base:close()
  end)

  it("is refused what is too much, and told of none", function()
    local base = t.base()
    local conn = connect(base)
    local req = request(base, conn, "POST", "/file", {body = ("x"):rep(1001)})
    assert.equal(413, req:response_code())
    local none, message = request(base, conn, "GET", "/closed")
    assert.is_nil(none)
    assert.matches("closed the connection", message)
    assert.matches(":1$", request(base, conn, "GET", "/connection"):body())
    base:close()
  end)

  it("is the way of http.request, too", function()
    local base = t.base()
    local got
    http.request(base, ("http://localhost:%d/moved"):format(port),
                 {family = "inet"}, t.expect(function(response, message)
      got = assert(response, message)
    end))
    t.runtill(base, function() return got end)
    assert.equal(("http://localhost:%d/file?x"):format(port), got.url)
    assert.is_true(got.body == FILE)
    base:close()
  end)
end)

describe("An HttpConnection to node", function()
  local port, server

  setup(function() port, server = node() end)
  teardown(function() server:stop "TERM" end)
  before_each(t.start)
  after_each(t.finish)

  it("sends bodies of any kind, and trailers", function()
    local base = t.base()
    local conn = base:http_connection("127.0.0.1", port)
    assert.equal("POST 4 undefined 4 undefined",
                 request(base, conn, "POST", "/", {body = "data"}):body())
    local req = request(base, conn, "PUT", "/", {stream = function(up)
      up:send_chunk("first"):send_chunk "later"
      up:send_end {["X-Sum"] = 10}
    end})
    assert.equal("PUT 10 chunked undefined 10", req:body())
    local sent = 0
    assert.equal("POST 5000000 chunked undefined undefined",
                 request(base, conn, "POST", "/", {stream = function(up)
      local function more()
        if sent == 5000000 then return up:send_end() end
        sent = sent + 50000
        up:send_chunk(("x"):rep(50000), more)
      end
      more()
    end}):body())
    base:close()
  end)

  it("gets hints, trailers, cookies, and what comes slowly", function()
    local base = t.base()
    local conn = base:http_connection("127.0.0.1", port)
    assert.equal("hinted", request(base, conn, "GET", "/hints"):body())
    local req = request(base, conn, "GET", "/trailers")
    assert.same({"some", "4"}, {req:body(), req:trailers()["x-sum"]})
    assert.equal(("tick"):rep(5), request(base, conn, "GET", "/slow"):body())
    assert.same({"a=1", "b=2"}, {request(base, conn, "GET", "/cookies")
                                   :find_header "set-cookie"})
    assert.equal("HEAD", request(base, conn, "HEAD", "/"):command())
    base:close()
  end)

  it("fails where an answer is cut, and goes on", function()
    local base = t.base()
    local conn = base:http_connection("127.0.0.1", port)
    assert.is_nil((request(base, conn, "GET", "/truncated")))
    assert.equal("GET 0 undefined undefined undefined",
                 request(base, conn, "GET", "/"):body())
    base:close()
  end)

  it("becomes another when both want that", function()
    local base = t.base()
    local conn = base:http_connection("127.0.0.1", port)
    local bev, text
    conn:make_request("GET", "/", {headers = {Upgrade = "echo",
                                              Connection = "Upgrade"}},
      t.expect(function(req, message)
        assert.equal("echo", assert(req, message):find_header "upgrade")
        bev = req:upgrade()
        text = bev:read()
        bev:setcb(function(b) text = text .. b:read() end, nil, print)
        bev:enable "read":write "and late"
      end))
    t.runtill(base, function() return text == "early and late" end)
    bev:close()
    base:close()
  end)
end)
