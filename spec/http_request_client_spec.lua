-- libevent.http's request: a URL, its redirects, and connections that are used
-- again.
local http = require "libevent.http"
local libevent = require "libevent"
local origin = require "spec.origin"
local t = require "spec.helper"

local answer, raises = origin.answer, t.blames

local ECONNRESET, ECONNREFUSED = 104, 111

-- A callback that is expected once, and keeps what it gets.
local function result(also)
  local r = {}
  return r, t.expect(function(response, message, errno)
    r.done, r.response, r.message, r.errno = true, response, message, errno
    if also then also(response, message, errno) end
  end)
end

local function request(base, url, options, also)
  local r, cb = result(also)
  r.request = http.request(base, url, options, cb)
  return r
end

local await = origin.await

local function fetch(base, ...)
  local r = await(base, request(base, ...))
  return r.response, r.message, r.errno
end

local function redirect(where, status)
  return answer("moved", "Location: " .. where .. "\r\n",
                (status or 302) .. " Moved")
end

-- A server that answers what 'pages' has for a path, or else with what it was
-- asked.
local function site(base, pages)
  local o = origin.start(base, function(q)
    local path = q.line:match " ([^ ?]*)"
    local page = pages and pages[path]
    if type(page) == "function" then return page(q) end
    return page or answer(q.head .. q.body)
  end)
  o.url = "http://" .. o.address
  return o
end

-- The value of a header in the text of a request.
local function header(text, name)
  return text:match("\r\n" .. name:gsub("%p", "%%%0") .. ": ([^\r]*)\r\n")
end

describe("http.request", function()
  before_each(t.start)
  after_each(t.finish)

  it("asks for a URL", function()
    local base = t.base()
    local server = base:http()
    server:set_cb("/a b", function(req)
      req:send_reply(404, nil, req:uri() .. req:command(),
                     {["X-A"] = {"1", "2"}})
    end)
    local url = "http://"
                .. server:bind_socket "127.0.0.1:0":sockname() .. "/a%20b?c=d"
    local response = fetch(base, url .. "#e", {headers = {["X-Mine"] = "1"}})
    assert.equal(404, response.status)
    assert.equal("Not Found", response.reason)
    assert.equal("1.1", response.version)
    assert.equal("/a%20b?c=dGET", response.body)
    assert.equal("1", response.headers["x-a"])
    assert.same({}, response.trailers)
    assert.equal(url .. "#e", response.url)
    base:close()
  end)

  it("needs no options", function()
    local base = t.base()
    local o = site(base)
    local r, cb = result()
    http.request(base, o.url, cb)
    await(base, r)
    assert.equal("GET / HTTP/1.1\r\nHost: " .. o.address .. "\r\n\r\n",
                 r.response.body)
    base:close()
  end)

  it("sends a body by POST unless told otherwise", function()
    local base = t.base()
    local server = base:http()
    server:set_gencb(function(req)
      req:send_reply(200, nil, req:command() .. " " .. req:body())
    end)
    local url = "http://" .. server:bind_socket "127.0.0.1:0":sockname()
    local function becomes(text, options)
      assert.equal(text, fetch(base, url, options).body)
    end
    becomes("POST data", {body = "data"})
    becomes("POST ", {body = ""})
    becomes("PUT data", {body = libevent.buffer "data", method = "PUT"})
    becomes("POST data", {stream = function(req)
      assert.equal(req, req:send_chunk "data")
      assert.equal(req, req:send_end())
    end})
    base:close()
  end)

  it("gives the body as it comes", function()
    local base = t.base()
    local o = site(base, {["/"] = "HTTP/1.1 200 OK\r\nX-A: b\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
      .. "0\r\nX-Sum: 5\r\n\r\n"})
    local seen = {}
    local r
    r = request(base, o.url, {
      header_cb = function(req, response)
        assert.equal(r.request, req)
        assert.equal("b", response.headers["x-a"])
        assert.is_nil(response.body)
        seen[#seen + 1] = response.status
      end,
      chunked_cb = function(req, data)
        assert.equal(r.request, req)
        seen[#seen + 1] = data or "end"
      end,
    })
    await(base, r)
    assert.same({200, "abc", "de", "end"}, seen)
    assert.is_nil(r.response.body)
    assert.equal("5", r.response.trailers["x-sum"])
    base:close()
  end)

  it("pauses and goes on", function()
    local base = t.base()
    local o = site(base, {["/"] = answer(("x"):rep(300000)),
                          ["/moved"] = redirect "/"})
    local got, held = 0, false
    local r = request(base, o.url .. "/moved", {chunked_cb = function(req, data)
      assert.is_false(held)
      got = got + #(data or "")
      held = true
      assert.equal(req, req:pause())
      base:timer(function()
        held = false
        assert.equal(req, req:resume())
      end):add(0.001)
    end})
    held = true
    r.request:pause()                           -- over the redirect, too
    t.runfor(base, 0.03)
    assert.equal(2, #o.requests)
    held = false
    r.request:resume()
    await(base, r)
    assert.equal(300000, got)
    raises("calling 'pause' on bad self (its body is not streamed)", function()
      http.request(base, o.url, function() end):close():pause()
    end)
    base:close()
  end)

  it("sends no faster than the server reads", function()
    local base = t.base()
    local server = base:http {max_body_size = false}
    server:set_gencb(function(req)
      local n = 0
      req:set_chunked_cb(function(_, data)
        if not data then return req:send_reply(200, nil, tostring(n)) end
        n = n + #data
      end)
    end, {stream = true})
    local url = "http://" .. server:bind_socket "127.0.0.1:0":sockname()
    local piece, sent = ("x"):rep(10000), 0
    local response = fetch(base, url, {stream = function(req)
      local function more(again)
        assert.equal(req, again)
        if sent == 300 then return req:send_end {["X-Sum"] = 1} end
        sent = sent + 1
        req:send_chunk(piece, more)
      end
      more(req)
    end})
    assert.equal("3000000", response.body)
    base:close()
  end)

  it("refuses to send what nobody wants, or what is none", function()
    local base = t.base()
    local o = site(base, {["/"] = answer("no", "", "413 No")})
    local r
    r = request(base, o.url, {stream = function(req)
      raises("bad argument #1 to 'send_chunk' (string", function()
        req:send_chunk {}
      end)
      raises("bad argument #2 to 'send_chunk' (function", function()
        req:send_chunk("x", 1)
      end)
      raises("bad argument #1 to 'send_end' (", function()
        req:send_end {["a b"] = 1}
      end)
      req:send_chunk "some"
    end})
    raises("calling 'send_chunk' on bad self (its body is not sent",
           function() r.request:send_chunk "early" end)
    raises("calling 'send_end' on bad self (", function()
      r.request:send_end()
    end)
    raises("calling 'resume' on bad self (its body is not streamed)",
           function() r.request:resume() end)
    await(base, r)
    assert.equal(413, r.response.status)
    local ok, message = r.request:send_chunk "more"
    assert.is_nil(ok)
    assert.equal("the request is over", message)
    assert.is_nil((r.request:send_end()))
    base:close()
  end)

  it("says what it must be given, and where", function()
    local base = t.base()
    local function refused(words, ...)
      local arguments = table.pack(...)
      raises(words, function()
        http.request(table.unpack(arguments, 1, arguments.n))
      end)
    end
    local url, function_ = "http://127.0.0.1:1/", function() end
    refused("#1 to 'request' (Base expected, got nil)", nil, url, {}, function_)
    refused("#2 to 'request' (string expected, got nil)", base, nil, {},
            function_)
    refused("#3 to 'request' (table of options expected, got number)", base,
            url, 1, function_)
    refused("#4 to 'request' (function expected, got nil)", base, url, {})
    refused("#4 to 'request' (function expected, got nil)", base, url)
    for words, options in pairs {
      ["unknown option 'x' (known: body, "] = {x = 1},
      ["method expected"] = {method = "CONNECT"},
      ["option 'method': method expected, got number"] = {method = 1},
      ["(method expected)"] = {method = "G T"},
      ["'headers': table of headers expected"] = {headers = "x"},
      ["header name expected"] = {headers = {["a b"] = "c"}},
      ["control characters"] = {headers = {{"a", "b\r\nc"}}},
      ["'body': string or Buffer expected"] = {body = 1},
      ["'stream': function expected"] = {stream = true},
      ["'header_cb': function expected"] = {header_cb = 1},
      ["'chunked_cb': function expected"] = {chunked_cb = 1},
      ["either body or stream"] = {body = "", stream = print},
      ["'timeout': seconds or false expected"] = {timeout = -1},
      ["'redirects': number of redirects"] = {redirects = 1.5},
      ["'pool': boolean expected"] = {pool = 1},
      ["Dns expected"] = {dns = 1},
      ["option 'connect_timeout'"] = {connect_timeout = -1},
      ["family"] = {family = "x"},
      ["Content-Length"] = {body = "a", headers = {["Content-Length"] = 2}},
    } do
      refused(words, base, url, options, function_)
    end
    assert.equal(0, base:num_events())
    base:close()
    refused("#1 to 'request' (Base is closed)", base, url, {}, function_)
  end)

  it("tells of a URL that is none in its callback, from the loop", function()
    local base = t.base()
    for url, words in pairs {
      [""] = "scheme", ["/path"] = "scheme", ["ftp://a/"] = "scheme",
      ["http:///path"] = "host", ["http://"] = "host", ["http://a b/"] = "bad",
      ["http://a:0/"] = "port", ["http://a:99999/"] = "port",
      ["http://%61/"] = "host", ["http://a\r\nb/"] = "bad", ["http:a"] = "host",
      ["https:///path"] = "host",
    } do
      local r = request(base, url, {timeout = false})
      assert.is_nil(r.done)
      await(base, r)
      assert.is_nil(r.response)
      assert.matches(words, r.message, 1, true)
    end
    http.request(base, "", t.never()):close()
    t.turns(base, 3)
    base:close()
  end)

  it("tells of a server that is not there, or leaves", function()
    local base = t.base()
    local o = site(base, {["/"] = function() return nil, "vanish" end})
    local _, message, errno = fetch(base, ("http://127.0.0.1:%d/"):format(
      origin.nobody(base)))
    assert.matches("refused", message)
    assert.equal(ECONNREFUSED, errno)
    _, _, errno = fetch(base, o.url)
    assert.equal(ECONNRESET, errno)
    local dns = base:dns {nameservers = {}, hosts = false}
    _, message = fetch(base, "http://absent.test/", {dns = dns})
    assert.matches("absent.test", message, 1, true)
    base:close()
  end)

  it("passes limits on to its connection", function()
    local base = t.base()
    local o = site(base, {["/"] = answer(("x"):rep(100)),
                          ["/never"] = function() end})
    local _, message = fetch(base, o.url, {max_body_size = 99})
    assert.matches("too long", message)
    assert.equal(200, fetch(base, o.url, {max_body_size = 100}).status)
    _, message = fetch(base, o.url, {max_headers_size = 10})
    assert.matches("bad answer", message)
    assert.equal(110, select(3, fetch(base, o.url .. "/never",
                                      {read_timeout = 0.02})))
    base:close()
  end)

  it("ends after a time, wherever it is", function()
    local base = t.base()
    local o
    o = site(base, {
      ["/none"] = function() end,
      ["/half"] = function() return answer("12345"):sub(1, -3) end,
      ["/loop"] = function(q)
        base:timer(function()
          if not t.isclosed(q.conn) then q.conn:write(redirect "/loop") end
        end):add(0.005)
      end,
    })
    for _, path in ipairs {"/none", "/half", "/loop"} do
      local response, message = fetch(base, o.url .. path,
                                      {timeout = 0.04, redirects = 1000})
      assert.is_nil(response)
      assert.equal("the time is over", message)
    end
    local port <const>, waiting = origin.full(base)
    local _, message = fetch(base, ("http://127.0.0.1:%d"):format(port),
                             {timeout = 0.02})
    assert.equal("the time is over", message)
    for _, object in ipairs(waiting) do object:close() end
    o.rest()
    t.run(base)
    base:close()
  end)

  it("sends the credentials of a URL, and tells nobody else of them",
  function()
    local base = t.base()
    local o = site(base)
    local url = o.url:gsub("http://", "%0me:a%%3Ab%%20c@")
    local response = fetch(base, url .. "/p?q")
    assert.equal("Basic bWU6YTpiIGM=", header(response.body, "Authorization"))
    assert.equal(o.address, header(response.body, "Host"))
    assert.matches("^GET /p%?q HTTP", response.body)
    assert.equal(o.url .. "/p?q", response.url)
    for userinfo, encoded in pairs {[""] = "Og==", a = "YTo=", ["ab:"] = "YWI6",
                                    ["a:b"] = "YTpi", ["%ff:x"] = "/zp4"} do
      response = fetch(base, (o.url:gsub("http://", "%0" .. userinfo:gsub("%%",
                                         "%%%%") .. "@")))
      assert.equal("Basic " .. encoded,
                   header(response.body, "Authorization"))
    end
    response = fetch(base, url, {headers = {authorization = "Mine"}})
    assert.equal("Mine", header(response.body, "authorization"))
    assert.is_nil(header(response.body, "Authorization"))
    base:close()
  end)
end)

describe("A redirect of http.request", function()
  before_each(t.start)
  after_each(t.finish)

  it("is followed to where it says", function()
    local base = t.base()
    local o = site(base)
    local p
    p = site(base, {
      ["/abs"] = function() return redirect(o.url .. "/there?x") end,
      ["/rel/a"] = redirect "../b/./c?d",
      ["/query"] = function(q)
        return q.line:find "only" and answer "" or redirect "?only"
      end,
      ["/host"] = function() return redirect("//" .. o.address .. "/h") end,
      ["/empty"] = function(q)
        return q.n == 1 and redirect "" or answer "empty"
      end,
      ["/sloppy"] = redirect "/a b/\xe4%zz|?<x>#y z",
      ["/frag"] = redirect "/to#new",
    })
    local function lands(path, url)
      assert.equal(url, fetch(base, p.url .. path, {pool = false}).url)
    end
    lands("/abs", o.url .. "/there?x")
    lands("/rel/a", p.url .. "/b/c?d")
    lands("/query?all", p.url .. "/query?only")
    lands("/host", o.url .. "/h")
    lands("/sloppy", p.url .. "/a%20b/%E4%25zz%7C?%3Cx%3E#y%20z")
    lands("/frag#old", p.url .. "/to#new")
    lands("/rel/a#old", p.url .. "/b/c?d#old")
    base:close()
  end)

  it("keeps the method and the body, or does not", function()
    local base = t.base()
    local pages = {}
    for _, status in ipairs {301, 302, 303, 307, 308} do
      pages["/" .. status] = redirect("/to", status)
    end
    local o = site(base, pages)
    local function becomes(method, status, body)
      local response = fetch(base, o.url .. "/" .. status, {
        method = method, body = body,
        headers = {["Content-Type"] = "a/b", ["X-A"] = "kept"}})
      local text = o.requests[#o.requests].head .. o.requests[#o.requests].body
      assert.equal("kept", header(text, "X-A"))
      assert.equal(200, response.status)
      return text:match "^%u+", header(text, "Content-Type"),
             text:match "\r\n\r\n(.*)$"
    end
    for _, status in ipairs {301, 302, 303} do
      assert.same({"GET", nil, ""}, {becomes("POST", status, "data")})
    end
    for _, status in ipairs {307, 308} do
      assert.same({"POST", "a/b", "data"}, {becomes("POST", status, "data")})
    end
    for _, status in ipairs {301, 302, 307, 308} do
      assert.same({"PUT", "a/b", "data"}, {becomes("PUT", status, "data")})
      assert.same({"HEAD", "a/b", ""}, {becomes("HEAD", status)})
      assert.same({"GET", "a/b", ""}, {becomes("GET", status)})
    end
    assert.same({"GET", nil, ""}, {becomes("DELETE", 303, "data")})
    assert.same({"HEAD", nil, ""}, {becomes("HEAD", 303)})
    base:close()
  end)

  it("is given as it is if the body cannot be sent again", function()
    local base = t.base()
    local o = site(base, {["/307"] = redirect("/to", 307),
                          ["/303"] = redirect("/to", 303)})
    local function stream(req)
      req:send_chunk "data"
      req:send_end()
    end
    for _, how in ipairs {{stream = stream},
                          {body = function() return libevent.buffer "data" end}}
    do
      for _, status in ipairs {307, 303} do
        local response = fetch(base, o.url .. "/" .. status, {
          stream = how.stream, body = how.body and how.body()})
        assert.equal(status == 307 and 307 or 200, response.status)
        assert.equal(status == 307 and "moved", status == 307 and response.body)
      end
    end
    base:close()
  end)

  it("is given as it is if none are to be followed, or it says not where",
  function()
    local base = t.base()
    local o = site(base, {
      ["/a"] = redirect "/b", ["/304"] = "HTTP/1.1 304 No\r\n\r\n",
      ["/300"] = redirect("/b", 300), ["/201"] = redirect("/b", 201),
      ["/no"] = answer("nowhere", "", "302 Found"),
    })
    assert.equal(302, fetch(base, o.url .. "/a", {redirects = 0}).status)
    assert.equal(304, fetch(base, o.url .. "/304").status)
    assert.equal(300, fetch(base, o.url .. "/300").status)
    assert.equal(201, fetch(base, o.url .. "/201").status)
    assert.equal("nowhere", fetch(base, o.url .. "/no").body)
    base:close()
  end)

  it("is one of a limited number", function()
    local base = t.base()
    local o = site(base, {["/"] = function(q)
      return redirect("/?" .. (tonumber(q.line:match "%?(%d+)") or 0) + 1)
    end})
    local _, message = fetch(base, o.url)
    assert.equal("more than 10 redirects", message)
    assert.equal(11, #o.requests)
    _, message = fetch(base, o.url, {redirects = 2})
    assert.equal("more than 2 redirects", message)
    assert.equal(14, #o.requests)
    base:close()
  end)

  it("fails if it leads nowhere", function()
    local base = t.base()
    for _, where in ipairs {"ftp://a/", "http://", "//", "http://a:0/",
                            "http://[x]/", "javascript:x", "http://a\tb/",
                            "https://", "http://a:x/"} do
      local o = site(base, {["/"] = redirect(where)})
      local response, message = fetch(base, o.url)
      assert.is_nil(response)
      assert.matches("^bad redirect: ", message)
      o.listener:close()
    end
    base:close()
  end)

  it("to somebody else tells that one no secrets", function()
    local base = t.base()
    local other = site(base)
    local o
    local pages = {
      ["/other"] = function() return redirect(other.url .. "/x") end,
      ["/back"] = function() return redirect(other.url .. "/to") end,
      ["/same"] = redirect "/x",
      ["/login"] = function(q)
        return redirect("http://you:2@" .. q.head:match "Host: ([^\r]*)"
                        .. "/x")
      end,
    }
    o = site(base, pages)
    local secrets = {Authorization = "Basic x", cookie = "a=b",
                     ["Proxy-Authorization"] = "y", ["X-Open"] = "z",
                     Host = "named.test"}
    local function sent(path, headers)
      local text = fetch(base, o.url:gsub("http://", headers and "%0"
                                          or "%0me:1@") .. path,
                         {headers = headers}).body
      return {header(text, "Authorization") or "none",
              header(text, "cookie") or "none",
              header(text, "Proxy-Authorization") or "none",
              header(text, "X-Open") or "none", header(text, "Host")}
    end
    assert.same({"Basic x", "a=b", "y", "z", "named.test"},
                sent("/same", secrets))
    assert.same({"none", "none", "none", "z", other.address},
                sent("/other", secrets))
    assert.same("Basic bWU6MQ==", sent("/same")[1])
    assert.same("none", sent("/other")[1])
    assert.same("Basic eW91OjI=", sent("/login")[1])
    local p = site(base, {["/to"] = function()
      return redirect(o.url .. "/x")
    end})
    pages["/far"] = function() return redirect(p.url .. "/to") end
    assert.same({"none", "none", "none", "z", o.address},
                sent("/far", secrets))             -- nor on the way back
    base:close()
  end)

  it("says nothing to the script on the way", function()
    local base = t.base()
    local o = site(base, {["/"] = redirect "/to", ["/to"] = answer "there"})
    local heads, body = {}, {}
    fetch(base, o.url, {
      header_cb = function(_, response) heads[#heads + 1] = response.status end,
      chunked_cb = function(_, data) body[#body + 1] = data end,
    })
    assert.same({{200}, {"there"}}, {heads, body})
    assert.equal(1, o.connections)
    base:close()
  end)
end)

describe("The connections of http.request", function()
  before_each(t.start)
  after_each(t.finish)

  it("are used again, one request each at a time", function()
    local base = t.base()
    local o = site(base)
    local a, b = request(base, o.url), request(base, o.url)
    await(base, a, b)
    assert.equal(2, o.connections)
    await(base, request(base, o.url), request(base, o.url))
    assert.equal(2, o.connections)
    await(base, request(base, o.url, nil, function()
      a = request(base, o.url)
    end))
    await(base, a)
    assert.equal(2, o.connections)
    base:close()
  end)

  it("are not, if that is not wanted", function()
    local base = t.base()
    local o = site(base)
    for _ = 1, 2 do fetch(base, o.url, {pool = false}) end
    assert.equal(2, o.connections)
    fetch(base, o.url)
    fetch(base, o.url, {pool = false})
    assert.equal(4, o.connections)
    o.rest()
    assert.equal(0, base:num_events())
    base:close()
  end)

  it("are another's where that has other terms", function()
    local base = t.base()
    local o = site(base)
    local dns = base:dns()
    for n, options in ipairs {{}, {read_timeout = 3}, {dns = dns}, {},
                              {read_timeout = 3}, {dns = dns}} do
      fetch(base, o.url, options)
      assert.equal(math.min(n, 3), o.connections)
    end
    fetch(base, (o.url:gsub("127.0.0.1", "LOCALHOST")), {family = "inet"})
    fetch(base, (o.url:gsub("127.0.0.1", "localhost")), {family = "inet"})
    assert.equal(4, o.connections)
    base:close()
  end)

  it("are of one base", function()
    local base, other = t.base(), t.base()
    local o = site(base)
    fetch(base, o.url)
    local r = request(other, o.url)
    repeat
      base:loop "nonblock"
      other:loop "nonblock"
    until r.done
    assert.equal(2, o.connections)
    other:close()
    base:close()
  end)

  it("are few that wait", function()
    local base = t.base()
    local o = site(base)
    local list = {}
    for i = 1, 20 do list[i] = request(base, o.url) end
    await(base, table.unpack(list))
    t.turns(base, 3)
    local open = 0
    for _, q in ipairs(o.requests) do
      if not t.isclosed(q.conn) then open = open + 1 end
    end
    assert.equal(20, o.connections)
    assert.equal(8, open)
    base:close()
  end)

  it("keep neither the loop nor the base", function()
    local base = t.base()
    local o = site(base)
    fetch(base, o.url)
    o.rest()
    assert.equal(0, base:num_events())
    o = nil                                 -- luacheck: ignore
    base = nil                              -- luacheck: ignore
    collectgarbage() collectgarbage()
    -- the end of the test looks whether the base is still there
  end)

  it("are not used again after a failure, or what the server says", function()
    local base = t.base()
    local o = site(base, {
      ["/half"] = function() return answer("12345"):sub(1, -3), "close" end,
      ["/close"] = answer("x", "Connection: close\r\n"),
      ["/more"] = answer "x" .. "surplus",
    })
    for i, path in ipairs {"/half", "/close", "/more", "/"} do
      fetch(base, o.url .. path)
      assert.equal(i, o.connections)
    end
    base:close()
  end)

  it("that the server has closed meanwhile are made again", function()
    local base = t.base()
    local o = site(base)
    fetch(base, o.url)
    o.requests[1].conn:close()
    t.turns(base, 2)
    assert.equal(200, fetch(base, o.url, {body = "data"}).status)
    assert.equal(2, o.connections)
    base:close()
  end)
end)

-- Where a request of http.request can be when something happens to it.
local places = {
  {"before it is connected", function()
    return "/", {}, true
  end},
  {"while it waits for the answer", function(base, act)
    base:timer(act):add(0.01)
    return "/slow", {}
  end},
  {"while it waits for an answer after a redirect", function(base, act)
    base:timer(act):add(0.02)
    return "/moved", {}
  end},
  {"in its stream", function(_, act)
    return "/slow", {stream = act}
  end},
  {"when a chunk is sent", function(_, act)
    return "/slow", {stream = function(req) req:send_chunk("data", act) end}
  end},
  {"in header_cb", function(_, act)
    return "/", {header_cb = act}
  end},
  {"in chunked_cb", function(_, act)
    return "/", {chunked_cb = function(_, data) if data then act() end end}
  end},
  {"at the end of chunked_cb", function(_, act)
    return "/", {chunked_cb = function(_, data) if not data then act() end end}
  end},
  {"in its callback", function()
    return "/", {}, false, true
  end},
  {"in its callback, of a failure", function()
    return "/vanish", {}, false, true
  end},
  {"in its callback, for a bad URL", function()
    return nil, {}, false, true
  end},
}

for _, place in ipairs(places) do
  describe("http.request " .. place[1], function()
    before_each(t.start)
    after_each(t.finish)

    -- Calls act(request) there; returns the server and whether it has been.
    local function go(base, act)
      local o = site(base, {
        ["/slow"] = function() end, ["/moved"] = redirect "/slow",
        ["/vanish"] = function() return nil, "vanish" end,
      })
      local req
      local state = {}
      local function acts()
        state.done = true
        act(req)
      end
      local path, options, now, last = place[2](base, acts)
      req = http.request(base, path and o.url .. path or "", options,
                         last and t.expect(acts) or t.never())
      if now then acts() end
      return state, o
    end

    it("can be closed, and leaves nothing", function()
      local base = t.base()
      local state, o = go(base, function(req)
        assert.equal(req, req:close())
        req:close()
        assert.is_true(t.isclosed(req))
        collectgarbage()
      end)
      if not state.done then
        t.runtill(base, function() return state.done end)
      end
      t.turns(base, 5)
      o.rest()
      assert.equal(0, base:num_events())
      base:close()
    end)

    it("can have its base closed", function()
      local base = t.base()
      go(base, function(req)
        base:close()
        req:close()
        collectgarbage()
      end)
      if not t.isclosed(base) then t.run(base) end
      assert.is_true(t.isclosed(base))
    end)

    it("survives collections though nobody holds it", function()
      local base = t.base()
      local state = go(base, function(req)
        collectgarbage() collectgarbage()
        req:close()
      end)
      while not state.done do
        collectgarbage()
        base:loop "once"
      end
      base:close()
    end)

    if place[1] ~= "before it is connected" then
      it("may raise, and is over then", function()
        local base = t.base()
        local state, o = go(base, function() error "oh no" end)
        local ok, message
        repeat ok, message = pcall(base.loop, base, "once") until state.done
        assert.is_false(ok)
        assert.matches("oh no", message, 1, true)
        -- a timer of the spec's own is no part of it
        if place[1]:find "^while" then return base:close() end
        t.turns(base, 5)
        o.rest()
        assert.equal(0, base:num_events())
        base:close()
      end)
    end
  end)
end

describe("A request of http.request", function()
  before_each(t.start)
  after_each(t.finish)

  it("tells whether it is over, and ends with its block", function()
    local base = t.base()
    local o = site(base)
    local kept
    do
      local req <close> = http.request(base, o.url, t.never())
      assert.equal("libevent.HttpClientRequest (open)", tostring(req))
      kept = req
    end
    assert.equal("libevent.HttpClientRequest (closed)", tostring(kept))
    t.runfor(base, 0.02)
    base:close()
  end)

  it("is garbage when it is over", function()
    local base = t.base()
    local o = site(base)
    local weak = setmetatable({}, {__mode = "k"})
    do
      local r = request(base, o.url, {header_cb = function() end})
      weak[r.request] = true
      await(base, r)
    end
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    base:close()
  end)
end)
