--- An Http among those who ask it anything: mutated requests, split anywhere,
--- many at a time, by who closes and resets as he likes; and honest ones.

local libevent = require "libevent"
local messages = require "spec.fuzz.messages"
local turns = require "spec.fuzz.turns"

local random, one = math.random, messages.one
local base, seen, MARK = turns.base, turns.seen, turns.MARK
local soon, await = turns.soon, turns.await
local connect, sendpiece = turns.connect, turns.sendpiece

-- {==== The server ====

local handlers, paths = {}, {}
local server, port
local largest = 0               -- body that any of them takes

local function decoded(s)
  return (s:gsub("%+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- A query, beside a plain way to read it.
local function lookquery(req)
  local list, i = req:query(), 0
  for part in (req:query_string() or ""):gmatch "[^&]+" do
    local name, value = part:match "^([^=]*)=?(.*)$"
    i = i + 1
    assert(list[i][1] == decoded(name) and list[i][2] == decoded(value), part)
    assert(list[list[i][1]] == req:query(list[i][1]))
  end
  assert(#list == i)
end

--- All that a request tells of itself.
local function look(req)
  seen[req] = true
  local path = req:path()
  assert(path:find "^/" or path == "*" or req:command() == "CONNECT", path)
  assert(not (path .. "/"):find "^/%.%.?/" and not path:find "/%.%.?/", path)
  assert(not path:find "\0")
  assert(req:command():find "^%u+$", req:command())
  assert(not req:uri():find "[%c ]", req:uri())
  assert(req:version() == "1.1" and req:find_header "host"
         or req:version() == "1.0" or req:uri():find "^%w+:")
  local hosts = table.pack(req:find_header "host")
  assert(hosts.n == 1)
  assert(not (req:find_header "content-length"
              and req:find_header "transfer-encoding"))
  lookquery(req)
  for _, list in ipairs {req:headers(), req:trailers()} do
    for _, pair in ipairs(list) do assert(pair[1] and pair[2] and list[pair[1]])
    end
  end
  for _, pair in ipairs(req:headers()) do
    assert(not (pair[1] .. pair[2]):find "[%z\r\n]")
  end
  assert(not req:host() or req:host():lower() == req:host())
  if #req:body() > largest then error "a body beyond its limit" end
  req:peername()
end

--- Now and then, what a script does at such a moment.
local function interfere(req)
  local r = random(60)
  if r == 1 then collectgarbage() end
  if r == 2 then error(MARK, 0) end
  if r == 3 then req:close() end
  if r == 4 then req:set_on_complete_cb(function(q) look(q) end) end
  if r == 5 then
    req:set_closecb(function(q, what)
      assert(what == "eof" or what == "timeout" or what == "error", what)
      if random(2) == 1 then q:close() end
    end)
  end
end

function handlers.whole(req)
  req:send_reply(200, nil, "hello", {["X-Handler"] = "whole"})
end

function handlers.echo(req)
  local body = req:body()
  req:send_reply(200, "Fine", random(2) == 1 and req:input_buffer() or body,
                 {{"Content-Type", "x/y"}})
end

--- As long as the body: it comes piece by piece, at times with rests.
function handlers.up(req)
  local n, ended = 0, false
  req:set_chunked_cb(function(q, data)
    assert(not ended, "a piece after the end")
    if data then
      assert(#data > 0)
      n = n + #data
      if random(4) == 1 then
        q:pause()
        soon(function() q:resume() end)
      end
    else
      ended = true
      q:send_reply(200, nil, tostring(n))
    end
  end)
end

--- A hundred lines, with a length, or in chunks with trailers.
local line = "a line\n"
function handlers.down(req)
  local counted = random(2) == 1
  local n = 0
  req:send_reply_start(200, nil, counted and {["Content-Length"] = 100 * #line}
                                 or nil)
  local function more()
    while n < 100 do
      n = n + 1
      local lines = one {1, 1, 10, 100}
      lines = math.min(lines, 101 - n)
      n = n + lines - 1
      local wait = random(5) == 1
      if not req:send_reply_chunk(line:rep(lines), wait and more or nil) then
        return
      end
      if wait then return end
    end
    req:send_reply_end(not counted and random(2) == 1 and {Sum = "1"} or nil)
  end
  more()
end

--- Answered when the loop does not run.
local kept = {}
function handlers.kept(req)
  kept[#kept + 1] = req
end

--- Before its body has come, which nobody asks for.
function handlers.early(req)
  if random(2) == 1 then handlers.whole(req) else handlers.later(req) end
end

local large = ("large "):rep(60000)
function handlers.large(req)
  req:send_reply(200, nil, large)
end

--- No faster than it is taken.
function handlers.slow(req)
  local n = 0
  local function more()
    n = n + 1
    if n <= 9 then
      req:send_reply_chunk(large, more)
    else
      req:send_reply_end()
    end
  end
  if req:send_reply_start(200) then more() end
end

function handlers.later(req)
  soon(function() req:send_reply(200, nil, "later") end)
end

local file = io.tmpfile()
file:write(("f"):rep(5000)):flush()
function handlers.file(req)
  req:send_reply(200, nil, libevent.file_segment(file))
end

local upgraded = setmetatable({}, {__mode = "k"})

--- Says again whatever it is told, for a while.
function handlers.upgrade(req)
  if random(4) == 1 and req:command() ~= "CONNECT" then
    return req:send_error(426, "Later")
  end
  local ok, bev = pcall(req.upgrade, req, random(2) == 1 and "x" or nil)
  if not ok then                -- its body is not all there
    assert(tostring(bev):find "has not all come", bev)
    return req:send_error(400)
  end
  if not bev then return end
  upgraded[bev] = true
  bev:setcb(function(b)
    if random(9) == 1 then b:close() else b:write(b:input()) end
  end)
  bev:enable "read"
end

function handlers.raise() error(MARK, 0) end

function handlers.drop(req)
  if random(2) == 1 then
    req:send_reply_start(200)
    if random(2) == 1 then req:send_reply_chunk("a part") end
  end
end

function handlers.close(req)
  if random(2) == 1 then req:send_reply_start(200) end
  req:close()
end

function handlers.twice(req)
  if not req:send_reply(204) then return end
  assert(not pcall(req.send_reply, req, 200))
  assert(not pcall(req.send_reply_start, req, 200))
end

--- Without a body, though it is given one.
function handlers.bodiless(req)
  req:send_reply(one {204, 304}, nil, "no body")
end

for name in pairs(handlers) do paths[#paths + 1] = "/" .. name end
table.sort(paths)
local streamed = {["/up"] = true, ["/early"] = true}

local function handle(http)
  for _, path in ipairs(paths) do
    local handler = handlers[path:sub(2)]
    http:set_cb(path, function(req)
      look(req)
      if req:find_header "x-honest" == nil then interfere(req) end
      if not tostring(req):find "closed" then return handler(req) end
    end, {stream = streamed[path]})
  end
  http:set_gencb(function(req)
    local path = one(paths)
    look(req)
    return handlers[streamed[path] and "whole" or path:sub(2)](req)
  end, {max_body_size = 2000})
end

local crowded                   -- it has no place for everybody

--- Whether it waits for nobody, or for those who take their time: this machine
--- has other work, too.
local function hurry(on)
  if not on then return server:set_timeout(60) end
  server:set_timeouts {
    header_timeout = one {0.1, 0.5}, body_timeout = one {0.1, 0.5},
    idle_timeout = one {0.1, 1}, write_timeout = one {0.1, 1}
  }
end

local function serve()
  local most = one {2000, 5000, 2^20 // 1}
  largest = math.max(largest, most)
  crowded = random(3) == 1
  server = assert(base:http {
    max_body_size = most, max_connections = crowded and 5,
    max_headers_size = one {1000, 16384}, max_line_size = one {100, 8192},
    allowed_methods = "GET|POST|HEAD|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT"
  })
  hurry(true)
  handle(server)
  local virtual = base:http()
  handle(virtual)
  virtual:add_server_alias "alias"
  server:add_virtual_host("o*r", virtual)
  local listener = assert(server:bind_socket "127.0.0.1:0")
  port = tonumber(listener:sockname():match ":(%d+)$")
  seen[server] = true
end

local function serveanew()
  local stopped = random(2) == 1
  if stopped then
    local old = server
    server:stop(function(http)
      assert(http == old and http:connection_count() == 0)
    end)
    if random(2) == 1 then soon(function() old:close() end) end
  else
    server:close()
  end
  serve()
end

-- ====}

-- {==== Those who ask it ====

local clients = {}

local function newclient()
  local list = {}
  local wild = random(2) == 1
  for i = 1, one {1, 1, 1, 2, 5, 20} do
    local body = one {false, messages.body, messages.body, messages.large}
    list[i] = wild and messages.mutate(messages.request(paths))
              or messages.ask(one {"GET", "POST", "PUT", "HEAD"}, one(paths),
                              body and body())
  end
  clients[#clients + 1] = {
    socket = connect(port), at = 1, got = "",
    pieces = messages.pieces(table.concat(list)),
    patience = one {0, 1, 10, 50},
    ending = one {"close", "reset", "half", "wait"}
  }
end

--- Takes what has come; true at the end.
local function receive(c)
  local data, err, part = c.socket:receive(8192)
  data = data or part
  if #c.got < 9 then c.got = c.got .. data:sub(1, 9) end
  if #c.got >= 9 then assert(c.got:find "^HTTP/1%.1 ", c.got) end
  return err and err ~= "timeout"
end

--- One thing that it does; true if it is the last.
local function act(c)
  local r = random(4)
  if r == 1 and receive(c) then return true end
  if c.pieces[c.at] and not c.shut then
    if random(60) == 1 then c.at = #c.pieces + 1 end          -- it gives up
    return c.pieces[c.at] and random(3) > 1 and sendpiece(c)
  end
  c.patience = c.patience - 1
  if c.patience > 0 then return false end
  if c.ending == "half" and not c.shut then
    c.socket:shutdown "send"
    c.shut, c.patience = true, one {0, 50}
    return false
  end
  if c.ending == "reset" then turns.reset(c.socket) end
  return true
end

local function actall()
  for i = #clients, 1, -1 do
    if act(clients[i]) then
      clients[i].socket:close()
      table.remove(clients, i)
    end
  end
end

local function hangup()
  for _, c in ipairs(clients) do c.socket:close() end
  clients = {}
end

local fair = {
  {"GET", "/whole", 200, function() return "hello" end},
  {"HEAD", "/whole", 200, function() return "" end},
  {"GET", "/file", 200, function() return ("f"):rep(5000) end},
  {"GET", "/later", 200, function() return "later" end},
  {"GET", "/kept", 200, function() return "hello" end},
  {"GET", "/down", 200, function() return line:rep(100) end},
  {"GET", "/large", 200, function() return large end},
  {"GET", "/slow", 200, function() return large:rep(9) end},
  {"POST", "/down", 200, function() return line:rep(100) end, messages.body},
  {"POST", "/echo", 200, function(body) return body end, messages.body},
  {"PUT", "/up", 200, function(body) return tostring(#body) end, messages.body},
  {"PUT", "/up", 200, function(body) return tostring(#body) end,
   messages.large},
  {"PUT", "/raise", 500, nil, messages.body}, {"GET", "/bodiless", nil, nil},
}

--- Does with the requests that were kept what their handlers have not done.
local function answerkept()
  local list = kept
  kept = {}
  for _, req in ipairs(list) do
    local path = req:find_header "x-honest" and "/whole" or one(paths)
    look(req)
    assert(not req:base() or req:base() == base)
    local ok, err = pcall(handlers[streamed[path] and "whole" or path:sub(2)],
                          req)
    if not ok and err ~= MARK then error(err) end
  end
end

--- Right requests, one after the other by one connection, and their answers.
local function honest()
  if crowded then hangup() end
  local asked, list = {}, {}
  local n = one {1, 1, 2, 10}
  for i = 1, n do
    local kind = one(fair)
    local body = kind[5] and kind[5]()
    asked[i] = {kind = kind, body = body}
    list[i] = messages.ask(kind[1], kind[2], body, i == n)
              :gsub("\r\n", "\r\nX-Honest: 1\r\n", 1)
  end
  local pieces = messages.pieces(table.concat(list))
  local c = {socket = connect(port), pieces = pieces, at = 1}
  local got, over = {}, false
  await("the answer to an honest request", function()
    answerkept()
    if c.pieces[c.at] then assert(not sendpiece(c), "it does not listen") end
    local data, err, part = c.socket:receive(1 << 20)
    got[#got + 1] = data or part
    over = err == "closed"
    assert(over or data or err == "timeout", err)
    return over
  end)
  c.socket:close()
  local text, at = table.concat(got), 1
  for _, a in ipairs(asked) do
    local kind = a.kind
    local status, body, past = messages.read(text, at, kind[1])
    at = past
    assert(status == kind[3] or not kind[3], kind[2] .. ": " .. status)
    if kind[4] then
      assert(body == kind[4](a.body), kind[2] .. ": another body")
    end
  end
  assert(at == #text + 1, "more than was asked for")
end

-- ====}

--- Turns that nobody disturbs, until it has no connection and has stopped.
local function finish()
  hangup()
  await("the end of every connection", function()
    answerkept()
    collectgarbage()
    return server:connection_count() == 0
  end)
  for bev in pairs(upgraded) do bev:close() end
  local stopped = false
  server:stop(function() stopped = true end)
  await("the end of the server", function() return stopped end)
  server, kept = nil, {}
  file:close()
end

return {
  serve = serve, serveanew = serveanew, hurry = hurry, newclient = newclient,
  act = actall, answerkept = answerkept, hangup = hangup, honest = honest,
  finish = finish, count = function() return #clients end,
  port = function() return port end
}
