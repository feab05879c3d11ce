--- HttpConnections and a server that is none: mutated answers, split anywhere,
--- to what was asked or not; and honest ones.

local libevent = require "libevent"
local messages = require "spec.fuzz.messages"
local socket = require "socket"
local turns = require "spec.fuzz.turns"

local random, one = math.random, messages.one
local base, seen, MARK = turns.base, turns.seen, turns.MARK
local soon, await, sendpiece = turns.soon, turns.await, turns.sendpiece

-- {==== The server that is none ====

local liar = assert(socket.bind("127.0.0.1", 0))
liar:settimeout(0)
local liarport = math.tointeger(select(2, liar:getsockname()))
local peers = {}
local patient = false           -- nobody hangs up

local lies = base:event(liar, "read|persist", function()
  while true do
    local s = liar:accept()
    if not s then return end
    peers[#peers + 1] = {socket = turns.nonblocking(s), got = "", pieces = {},
                         at = 1, calm = random(0, 30)}
  end
end):add()

--- The answers to what it has understood, if it waits for that at all.
local function reply(p)
  local data, err, part = p.socket:receive(8192)
  p.got = p.got .. (data or part)
  local head, rest = p.got:match "^(.-\r\n\r\n)(.*)$"
  if not head then return err == "closed" end
  local body = head:match "X%-Honest: (%d+)"
  local text = body and messages.honest(("h"):rep(tonumber(body)))
               or messages.mutate(messages.answer())
  p.got = rest
  table.move(messages.pieces(text), 1, #text, #p.pieces + 1, p.pieces)
end

local function lie(p)
  if reply(p) then return true end
  if p.pieces[p.at] then return random(3) > 1 and sendpiece(p) end
  if patient then return false end
  p.calm = p.calm - 1
  if p.calm > 0 then return false end
  local r = random(4)
  if r == 1 then p.socket:shutdown "send" end
  if r == 2 then turns.reset(p.socket) end
  p.calm = random(0, 30)
  return r <= 3 and r > 1
end

local function lieall()
  for i = #peers, 1, -1 do
    if lie(peers[i]) then
      peers[i].socket:close()
      table.remove(peers, i)
    end
  end
end

-- ====}

-- {==== Those who ask that one ====

local connections, open = {}, 0
local pending = {}              -- request -> what is known of it

local function newconnection()
  local c = assert(base:http_connection("127.0.0.1", liarport, {
    read_timeout = one {0.05, 0.2}, write_timeout = 0.2, connect_timeout = 1,
    idle_timeout = one {1, 60}, max_body_size = one {1000, 5000, 2^20 // 1},
    max_headers_size = one {500, 5000, 65536}
  }))
  seen[c] = true
  return c
end

--- The request is over without a callback.
local function forget(state)
  if not state.over then
    state.over = true
    open = open - 1
  end
end

local function closeall(conn)
  conn:close()
  for req, state in pairs(pending) do
    if state.conn == conn then
      forget(state)
      pending[req] = nil
    end
  end
end

--- What a callback of a request does beside its work.
local function disturb(req, state)
  local r = random(50)
  if r == 1 then collectgarbage() end
  if r == 2 then
    forget(state)
    pending[req] = nil
    if random(2) == 1 then error(MARK, 0) end
    req:close()
  end
  if r == 3 then closeall(state.conn) end
end

--- A body piece by piece, which does not always come to its end.
local function upload(state)
  return function(req)
    assert(not state.over)
    local n = random(0, 5)
    local function more()
      if state.over then return end
      n = n - 1
      if n < 0 then
        if random(5) > 1 then req:send_end() end
      else
        req:send_chunk(("x"):rep(one {0, 1, 1000, 50000}), more)
      end
    end
    more()
  end
end

local function options(state)
  local t = {headers = random(3) == 1 and {["X-A"] = {"b", "c"}} or nil}
  local r = random(4)
  if r == 1 then t.body = messages.body() end
  if r == 2 then t.body = libevent.buffer(messages.body()) end
  if r == 3 then t.stream = upload(state) end
  if random(3) == 1 then
    t.header_cb = function(req)
      assert(not state.over and not state.head)
      state.head = true
      assert(req:response_code() >= 100 and req:response_code() < 1000)
      disturb(req, state)
    end
  end
  if random(3) == 1 then
    t.chunked_cb = function(req, data)
      assert(not state.over and not state.ended)
      assert(data == nil or #data > 0)
      state.ended = data == nil
      disturb(req, state)
    end
  end
  return t
end

local function learn(req)
  for _, list in ipairs {req:headers(), req:trailers()} do
    for _, pair in ipairs(list) do assert(list[pair[1]]) end
  end
  req:find_header "content-length" req:version() req:response_code_line()
  local body = req:body()
  assert(#body <= 2^20)
  if req:response_code() == 101 and random(2) == 1 then
    local bev = req:upgrade()
    if bev and random(2) == 1 then bev:close() end
  end
end

local function ask()
  local i = random(3)
  local conn = connections[i]
  if not conn or tostring(conn):find "closed" then
    conn = newconnection()
    connections[i] = conn
  end
  local state = {conn = conn}
  open = open + 1
  local req
  req = conn:make_request(one {"GET", "GET", "HEAD", "POST", "PUT", "CONNECT"},
    one {"/", "/a?b"}, options(state), function(answer, message, code)
      assert(not state.over, "told twice, or after its end")
      assert(answer or message and math.type(code) == "integer")
      assert(not answer or answer == req)
      forget(state)
      pending[req] = nil
      if answer then learn(answer) end
      disturb(req, state)
    end)
  pending[req] = state
  seen[req] = true
  if random(15) == 1 then
    soon(function()
      if state.over then return end
      forget(state)
      pending[req] = nil
      req:close()
    end)
  end
  if random(60) == 1 then closeall(conn) end
end

--- A right answer of the other one's, and of our own server's.
local function honest(port)
  local size = one {0, 1, 100, 900}
  local body = messages.body()
  local liars = base:http_connection("127.0.0.1", liarport)
  local ours = base:http_connection("127.0.0.1", port)
  local left = 2
  local function done() left = left - 1 end
  local function tell(where, right)
    return function(req, message)
      if not req then error(where .. message) end
      assert(req:body() == right, where .. "another body")
      done()
    end
  end
  liars:make_request("GET", "/", {headers = {["X-Honest"] = size}},
                     tell("the liar: ", ("h"):rep(size)))
  body = body:sub(1, 900)
  ours:make_request("POST", "/echo", {headers = {["X-Honest"] = "1"},
                                      body = body}, tell("ours: ", body))
  patient = true
  await("an honest answer", function()
    lieall()
    return left == 0
  end)
  patient = false
  liars:close()
  ours:close()
end

-- ====}

--- Every request is told of its end, unless its connection is closed.
local function finish()
  await("the end of every request", function()
    lieall()
    return open == 0
  end)
  for _, conn in pairs(connections) do conn:close() end
  for _, p in ipairs(peers) do p.socket:close() end
  lies:close()
  liar:close()
  connections, peers, pending = {}, {}, {}
end

return {
  ask = ask, lie = lieall, honest = honest, finish = finish,
  open = function() return open end
}
