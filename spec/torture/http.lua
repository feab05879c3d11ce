--- HTTP: a server, its requests and its answers.

local libevent = require "libevent"

--- Nobody says what a connection was lost for.
local function fail(message)
  error(message .. ": perhaps not enough memory", 0)
end

--- A server whose handler is f, and its address.
local function serve(s, f, options, route)
  local server = s.base:http(options)
  server:set_timeout(0.05):set_gencb(f, route)
  return server, assert(server:bind_socket "127.0.0.1:0"):sockname()
end

--- Sends pieces, each when the one before has been sent, and waits for an
--- answer with these words.
local function ask(s, address, words, ...)
  local got, over = "", false
  local pieces, n = {...}, 1
  local bev = s.base:bufferevent()
  local function next()
    n = n + 1
    if pieces[n] then bev:write(pieces[n]) end
  end
  bev:setcb(function(b) got = got .. b:read() end, next,
    function(_, what, message)
      if what ~= "connected" then over = message or what end
    end)
  assert(bev:enable "read")
  assert(bev:connect(address)):write(pieces[1])
  s:run(function() return got:find(words, 1, true) or over end)
  bev:close()
  return got:find(words, 1, true) and got or fail(tostring(over) .. ": " .. got)
end

local function get(line, fields)
  return line .. " HTTP/1.1\r\nHost: some.test\r\n" .. (fields or "") .. "\r\n"
end

local chunked = get("POST /a%20b?c=d&c=e", "Transfer-Encoding: chunked\r\n"
                                           .. "X: y\r\nx: z\r\n")
local closing = get("GET /", "Connection: close\r\n")

-- made before memory ends
local path = os.tmpname()
do
  local file <close> = assert(io.open(path, "w"))
  file:write(("x"):rep(20000))
end

return {
  {"an HTTP server that answers", function(s)
    local server, address = serve(s, function(req)
      req:add_header("X", "y"):add_header("Y", "z"):remove_header "y"
      assert(req:send_reply(200, nil, "hello", {A = "b", C = {"d", "e"}}))
    end)
    ask(s, address, "hello", get "GET /")
    assert(server:base() == s.base)
    server:close()
  end},

  {"what an HTTP request tells", function(s)
    local _, address = serve(s, function(req)
      assert(req:command() == "POST" and req:path() == "/a b")
      assert(req:uri() == "/a%20b?c=d&c=e" and req:query_string() == "c=d&c=e")
      assert(req:query "c" == "d" and #req:query() == 2)
      assert(req:version() == "1.1" and req:host() == "some.test")
      assert(req:find_header "X" == "y" and #req:headers() == 4)
      assert(#req:trailers() == 1 and req:trailers().sum == "1")
      assert(req:body() == "somebody" and req:response_code() == nil)
      assert(#req:input_buffer() == 8 and req:base() == s.base)
      assert(req:peername())
      req:add_header("X", "y"):clear_headers()
      assert(req:send_error(404))
    end)
    ask(s, address, "404", chunked,
      "4\r\nsome\r\n4\r\nbody\r\n0\r\nSum: 1\r\n\r\n")
  end},

  {"an HTTP answer piece by piece", function(s)
    local told = 0
    local function tell() told = told + 1 end
    local _, address = serve(s, function(req)
      req:set_on_complete_cb(tell)
      assert(req:send_reply_start(200, nil, {X = "y"}))
      assert(req:send_reply_chunk("some", tell))
      assert(req:send_reply_chunk(libevent.buffer "body", tell))
      assert(req:send_reply_end {Sum = "1"})
    end)
    ask(s, address, "Sum: 1", get "GET /")
    s:run(function() return told == 3 end)
  end},

  {"an HTTP answer that is a file", function(s)
    local kept
    local _, address = serve(s, function(req)
      kept = req
      local file <close> = assert(io.open(path))
      assert(req:send_reply(200, nil, file, {Connection = "close"}))
    end)
    local got = ask(s, address, ("x"):rep(20000), get "GET /")
    assert(#got > 20000 and kept:response_code() == 200)
  end},

  {"a body of HTTP as it comes", function(s)
    local list = {}
    local _, address = serve(s, function(req)
      req:set_closecb(function(_, _, message) fail(message or "closed") end)
      req:set_chunked_cb(function(r, data)
        if data then
          list[#list + 1] = data
          r:pause()
          s.base:once(nil, "timeout", function() r:resume() end, 0)
        else
          assert(r:send_reply(200, nil, table.concat(list)))
        end
      end)
    end, nil, {stream = true})
    ask(s, address, "\r\n\r\nsomebody", chunked,
      "4\r\nsome\r\n", "4\r\nbody\r\n0\r\n\r\n")
  end},

  {"a connection of HTTP that becomes another", function(s)
    local bev
    local server, address = serve(s, function(req)
      bev = assert(req:upgrade("echo", {X = "y"}))
      bev:setcb(function(b) b:write(b:read()) end, nil, function() end)
      bev:enable "read"
    end)
    ask(s, address, "early", get("GET /", "Upgrade: echo\r\n"
                                 .. "Connection: Upgrade\r\n") .. "early")
    assert(server:connection_count() == 0)
    bev:close()
  end},

  {"the hosts and paths of HTTP servers", function(s)
    local function answer(req) assert(req:send_reply(200, nil, req:path())) end
    local server, address = serve(s)
    local vhost = s.base:http {default_content_type = "text/plain",
      header_timeout = 1, max_connections = 5}
    vhost:set_cb("/a", answer, {max_body_size = 5})
    vhost:set_allowed_methods "GET":set_timeouts {idle_timeout = 1}
    vhost:set_max_headers_size(100):set_max_body_size(10)
    vhost:set_default_content_type "a/b"
    server:set_max_connections(5):add_virtual_host("*.test", vhost)
    vhost:add_server_alias "Other.test"
    ask(s, address, "/a", get "GET /a")
    assert(vhost:remove_server_alias "other.test" and vhost:del_cb "/a")
    ask(s, address, "404", get "GET /a")
    assert(server:remove_virtual_host(vhost))
  end},

  {"what an HTTP server refuses", function(s)
    local server, address = serve(s, nil, {max_body_size = 5})
    server:set_cb("/close", function(req) req:close() end)
    ask(s, address, "405", get "TRACE /")
    ask(s, address, "404", get("HEAD /absent", "Expect: 100-continue\r\n"))
    ask(s, address, "400", get "GET /..")
    ask(s, address, "413", get("POST /close", "Content-Length: 9\r\n"))
    ask(s, address, "408", "GET /")
    pcall(ask, s, address, "no answer", get "GET /close")
  end},

  {"the end of an HTTP server", function(s)
    local stopped, kept, server, address
    server, address = serve(s, function(req)
      kept = req:set_closecb(function() end)
      s.base:once(nil, "timeout", function()
        if not req:send_reply(200, nil, "late") then fail "gone" end
      end, 0)
      server:stop(function() stopped = true end)
    end)
    ask(s, address, "late", closing)
    s:run(function() return stopped end)
    kept:close()
    server:close()
  end},
}
