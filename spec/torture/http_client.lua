--- HttpConnection: requests, answers, and what becomes of those that fail.

local http = require "libevent.http"
local libevent = require "libevent"

--- A server that says the same to every request, and its port.
local function serve(s, bytes)
  local listener = assert(s.base:listener("127.0.0.1:0", function(_, conn)
    conn:setcb(function()
      if conn:read():find "\r\n\r\n" then conn:write(bytes) end
    end)
    assert(conn:enable "read")
  end))
  return listener, tonumber(listener:sockname():match "%d+$")
end

--- Raises what a request fails with: a server without memory resets it.
local function fail(message)
  error(message .. ": perhaps not enough memory", 0)
end

--- Waits for one of them to be answered, or to fail.
local function await(s, conn, method, options)
  local result, message
  conn:make_request(method, "/path?query", options, function(...)
    result, message = ...
  end)
  s:run(function() return result or message end)
  if not result then fail(message) end
  return result
end

local ANSWER = "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 4\r\n\r\ndata"
local CHUNKS = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               .. "4\r\ndata\r\n4\r\nmore\r\n0\r\nX-Sum: 8\r\n\r\n"

return {
  {"a request and its answer", function(s)
    local listener, port = serve(s, ANSWER)
    local conn = s.base:http_connection("127.0.0.1", port, {
      connect_timeout = 0.5, read_timeout = 0.5, max_body_size = 100})
    for _ = 1, 2 do
      local req = await(s, conn, "POST", {body = "what goes up",
        headers = {["X-Mine"] = {"1", "2"}, {"x-mine", 3}}})
      assert(req:response_code() == 200 and req:body() == "data")
      assert(req:response_code_line() == "OK" and req:version() == "1.1")
      assert(req:command() == "POST" and req:uri() == "/path?query")
      assert(req:find_header "x-a" == "b" and req:headers()["x-a"] == "b")
      assert(#req:input_buffer() == 4 and req:peername())
      assert(conn:peername() and conn:base() == s.base)
    end
    conn:close()
    listener:close()
  end},

  {"a request that moves a buffer", function(s)
    local listener, port = serve(s, ANSWER)
    local conn = s.base:http_connection("127.0.0.1", port)
    local buffer = libevent.buffer(("x"):rep(5000))
    s:watch(buffer)
    await(s, conn, "PUT", {body = buffer})
    assert(#buffer == 0)
    conn:close()
    listener:close()
  end},

  {"bodies in pieces", function(s)
    local listener, port = serve(s, CHUNKS)
    local conn = s.base:http_connection("127.0.0.1", port)
    local list, heads = {}, 0
    local req = await(s, conn, "PUT", {
      stream = function(up)
        assert(up:send_chunk("data", function()
          assert(up:send_end {["X-Sum"] = 4})
        end))
      end,
    })
    assert(req:body() == "datamore" and req:trailers()["x-sum"] == "8")
    await(s, conn, "GET", {
      header_cb = function() heads = heads + 1 end,
      chunked_cb = function(down, data)
        list[#list + 1] = data
        if data then down:pause():resume() end
      end,
    })
    assert(heads == 1 and table.concat(list) == "datamore")
    conn:close()
    listener:close()
  end},

  {"requests that wait, and are closed", function(s)
    local listener, port = serve(s, ANSWER)
    local conn = s.base:http_connection("127.0.0.1", port)
    local done = 0
    local function tell(req, message)
      done = done + 1
      if not req then fail(message) end
    end
    local first = conn:make_request("GET", "/1", nil, tell)
    conn:make_request("GET", "/2", nil, tell)
    conn:make_request("GET", "/3", nil, tell):close()
    first:close()
    conn:make_request("GET", "/4", {header_cb = function(req)
      req:close()
      done = done + 1
    end}, tell)
    s:run(function() return done == 2 end)
    conn:make_request("GET", "/5", nil, tell)
    conn:close()
    listener:close()
  end},

  {"a server that leaves", function(s)
    local listener = assert(s.base:listener("127.0.0.1:0", function(_, conn)
      conn:setcb(function()
        if conn:read():find "again" then return conn:close() end
        conn:write(ANSWER)
      end)
      assert(conn:enable "read")
    end))
    local port = tonumber(listener:sockname():match "%d+$")
    local conn = s.base:http_connection("127.0.0.1", port)
    local told
    conn:make_request("GET", "/", nil, function(req, message)
      if not req then fail(message) end
    end)
    conn:make_request("GET", "/again", nil, function(_, message)
      told = message
    end)
    s:run(function() return told end)
    if not told:find "closed the connection" then fail(told) end
    conn:close()
    listener:close()
  end},

  {"a connection to nobody", function(s)
    local conn = s.base:http_connection("127.0.0.1", 1)
    local told
    conn:make_request("GET", "/", nil, function(_, message) told = message end)
    s:run(function() return told end)
    if not told:find "refused" then error(told, 0) end
  end},

  {"a connection that becomes another", function(s)
    local listener, port = serve(s, "HTTP/1.1 101 Switching\r\n"
                                    .. "Upgrade: x\r\n\r\nearly")
    local conn = s.base:http_connection("127.0.0.1", port)
    local bev
    conn:make_request("GET", "/", {headers = {Upgrade = "x"}},
      function(req, message)
        if not req then fail(message) end
        bev = req:upgrade()
      end)
    s:run(function() return bev end)
    local early = bev:read()                    -- or it is not read yet
    bev:setcb(function() early = early .. bev:read() end, nil, s.onevent)
    assert(bev:enable "read")
    s:run(function() return early == "early" end)
    bev:close()
    conn:close()
    listener:close()
  end},

  {"requests to URLs", function(s)
    local listener, address
    listener = assert(s.base:listener("127.0.0.1:0", function(_, conn)
      conn:setcb(function()
        local text = conn:read()
        if text:find "GET /moved" then
          conn:write "HTTP/1.1 302 Found\r\nLocation: /\r\n"
          conn:write "Content-Length: 0\r\n\r\n"
        elseif text:find "\r\n\r\n" then
          conn:write(ANSWER)
        end
      end)
      assert(conn:enable "read")
    end))
    address = listener:sockname()
    for _, path in ipairs {"/moved", "/"} do
      local response, message
      http.request(s.base, "http://me:1@" .. address .. path, {
        headers = {["X-Mine"] = "1"}, timeout = 0.8,
        header_cb = function(_, head) assert(head.status == 200) end,
      }, function(...) response, message = ... end)
      s:run(function() return response or message end)
      if not response then
        error(message .. ": perhaps not enough memory", 0)
      end
      assert(response.body == "data" and response.headers["x-a"] == "b")
    end
    listener:close()
  end},
}
