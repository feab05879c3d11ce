--- A man in the middle of two ends that speak TLS, who turns bits, leaves bytes
--- out, says them twice, in another order, or what he has heard elsewhere, and
--- cuts the wire.
---   lua5.4 spec/fuzz/tls.lua SEED [STEPS]
---
--- The seed decides on all that he does. No end ever reads what the other has
--- not written, in that order; none takes a cut for an end; each that has not
--- closed itself is told of its end; a man who only cuts in pieces changes
--- nothing; and when all is over nothing is left. To stdout goes a line at the
--- end, as spec/fuzz/run reads it:
---   seed 7: 2000 steps

package.path = "./?.lua;" .. package.path

local SEED = math.tointeger(arg[1])
local STEPS = math.tointeger(arg[2] or 2000)
assert(SEED and STEPS, "usage: tls.lua SEED [STEPS]")
math.randomseed(SEED)

local libevent = require "libevent"
local listdescriptors = require "spec.descriptors"
local secure = require "spec.selfsigned"

local random = math.random
local descriptors = #listdescriptors()
local base = libevent.base()
local seen = setmetatable({}, {__mode = "k"})   -- bufferevents
local heard = {}                -- pieces of other conversations

local function one(list) return list[random(#list)] end

-- {==== What he does ====

--- What anybody can say: an end, an error, a change of the cipher, a key that
--- is new, data, a hello and half of one.
local forged = {
  "\21\3\3\0\2\1\0", "\21\3\3\0\2\2\40", "\20\3\3\0\1\1",
  "\22\3\3\0\5\24\0\0\1\1", "\23\3\3\0\5hello", "\22\3\1\0\4\0\0\0\0",
  "\22\3\1\2\0\1\0\1\252\3\3", "GET / HTTP/1.1\r\n\r\n", "\0",
  "\23\3\3\255\255", "\23\3\3\0\0", ("\23\3\3\0\0"):rep(50)
}

local function flip(s)
  local at = random(#s)
  return s:sub(1, at - 1) .. string.char(s:byte(at) ~ 1 << random(0, 7))
         .. s:sub(at + 1)
end

local function leaveout(s)
  local at = random(#s)
  return s:sub(1, at - 1) .. s:sub(at + random(#s - at + 1))
end

local function twice(s)
  local at = random(#s)
  local to = random(at, #s)
  return s:sub(1, to) .. s:sub(at)
end

local function reorder(s)
  local at = random(#s)
  return s:sub(at) .. s:sub(1, at - 1)
end

--- Records in another order, or one of them twice or not at all.
local function records(s)
  local list, at = {}, 1
  while at + 4 <= #s do
    local to = at + 4 + (">I2"):unpack(s, at + 3)
    list[#list + 1] = s:sub(at, to)
    at = to + 1
  end
  list[#list + 1] = s:sub(at)
  local i, j = random(#list), random(#list)
  local what = random(3)
  if what == 1 then list[i], list[j] = list[j], list[i] end
  if what == 2 then table.insert(list, j, list[i]) end
  if what == 3 then table.remove(list, i) end
  return table.concat(list)
end

local function insert(s)
  local at = random(0, #s)
  return s:sub(1, at) .. one(forged) .. s:sub(at + 1)
end

local function elsewhere(s)
  return #heard > 0 and one(heard) or s
end

local lies = {flip, flip, leaveout, twice, reorder, records, records, insert,
              elsewhere, insert}

-- ====}

-- {==== A conversation ====

local contexts = {}

--- A few, that last for many conversations, and now and then new ones.
local function context()
  if #contexts == 0 or random(20) == 1 then
    local versions = {max_version = one {"1.2", "1.3"},
                      resume = random(2) == 1}
    local s, c = secure.contexts(versions)
    if random(3) == 1 then
      s = secure.server {verify = one {"optional", "required"},
                         trust = secure.pem(), alpn = {"a", "b"}}
      c = secure.client {certificate = secure.pem(), alpn = {"b"}}
    end
    contexts[#contexts < 4 and #contexts + 1 or random(4)] = {s, c}
  end
  local pair = one(contexts)
  if random(20) == 1 then assert(pair[random(2)]:reload()) end
  return pair[1], pair[2]
end

local function bytes()
  local n = one {1, 10, 100, 1000, random(20000), random(70000)}
  return string.char(random(97, 122)):rep(n)
end

--- One end, of which all is known.
local function begin(bev, other)
  local e = {bev = bev, sent = {}, got = {}, ended = false, closed = false,
             said = false, other = other}
  seen[bev] = true
  local function take(b)
    e.got[#e.got + 1] = random(5) == 1 and b:read(random(100)) or b:read()
    if random(5) == 1 then e:say() end
  end
  local function tell(b, what, message)
    assert(not e.ended, "told after the end")
    if what == "connected" then
      assert(not e.up, "connected twice")
      assert(b:tls().version)
      e.up = true
      if random(3) == 1 then e:say() end
      return
    end
    e.ended = what
    e.got[#e.got + 1] = b:read()
    assert(what ~= "eof" or e.up, "an end before the beginning")
    assert(what == "eof" or type(message) == "string")
    e.said, e.closed = true, true
    if what == "eof" then b:close_after_flush() else b:close() end
  end
  bev:setcb(take, nil, tell)
  return e
end

local End = {}
End.__index = End

function End:say()
  if self.closed or self.ended or self.said then return end
  local s = bytes()
  self.sent[#self.sent + 1] = s
  local how = random(4)
  if how == 1 then self.bev:output():add(s)
  elseif how == 2 then self.bev:write(libevent.buffer(s))
  else self.bev:write(s) end
end

--- An honest end.
function End:finish()
  if self.closed or self.ended or self.said then return end
  self.said = true
  local how = random(3)
  if how == 1 then
    self.bev:shutdown()
  else
    self.closed = true
    if how == 2 then self.bev:close_after_flush() else self.bev:close() end
  end
end

--- What has been read is what has been written, as far as it goes.
local function compare(reader, writer, whole)
  local got, sent = table.concat(reader.got), table.concat(writer.sent)
  assert(sent:sub(1, #got) == got, "bytes that nobody has sent")
  if reader.ended == "eof" then
    assert(writer.said, "an end that nobody has said")
    assert(writer.closed or #got == #sent, "an end before the end")
  end
  if whole then assert(#got == #sent, "bytes are lost") end
end

local function start(clear)
  local s, c = context()
  local server, client, between
  if clear then
    server, client, between = secure.apart(base)
  else
    server, client, between = secure.apart(base, s, c)
  end
  local a = setmetatable(begin(server), End)
  local b = setmetatable(begin(client), End)
  for _, e in ipairs {a, b} do
    if random(10) == 1 then e.bev:set_rate_limit {read = 100000000} end
    assert(e.bev:enable "read")
  end
  if clear then
    if random(2) == 1 then between:give("server", one(forged)) end
    if random(2) == 1 then between:give("client", one(forged)) end
    assert(server:starttls(s))
    assert(client:starttls(c, "localhost"))
  end
  return a, b, between
end

local function turn()
  local late = os.time() + 20
  for _ = 1, random(3) do base:loop "nonblock" end
  assert(os.time() < late, "the loop does not end")
end

--- One conversation of so many steps; how often he has lied.
local function converse(steps, often)
  local a, b, between = start(often > 0 and random(5) == 1)
  local kept, told = {server = {}, client = {}}, 0
  for _ = 1, steps do
    local e = one {a, b}
    if random(4) == 1 then e:say() end
    if random(often > 0 and 40 or 1000) == 1 then e:finish() end
    if random(60) == 1 then collectgarbage "step" end
    turn()
    for from, to in pairs {server = "client", client = "server"} do
      local s = between:take(from, one {1, 5, 100, 1000, 20000, 65536})
      if s and #s > 0 then
        if random(20) == 1 then
          heard[#heard < 100 and #heard + 1 or random(100)] = s
        end
        if random(1000) < often then
          told = told + 1
          s = one(lies)(s)
        end
        table.insert(kept[to], s)
      end
      local n = random(8) == 1 and 0 or #kept[to]
      for _ = 1, n do between:give(to, table.remove(kept[to], 1)) end
    end
    if random(10000) < often then between:hangup(one {"server", "client"}) end
  end
  return a, b, between, kept, told
end

--- Both have said all, and hear what is left.
local function settle(a, b, between, kept)
  a:finish()
  b:finish()
  for _ = 1, 400 do
    turn()
    local n = between.server and between.client and between:pass() or 0
    for to, list in pairs(kept) do
      while #list > 0 do between:give(to, table.remove(list, 1)) end
    end
    if n == 0 and (a.ended or a.closed) and (b.ended or b.closed) then break end
  end
end

local function isopen(bev) return not tostring(bev):find "closed" end

local function honest()
  local a, b, between, kept = converse(20, 0)
  local late = os.time() + 20
  while not (a.ended or a.closed) and not (b.ended or b.closed) and not
        (a.up and b.up) do
    turn()
    between:pass()
    for to, list in pairs(kept) do
      while #list > 0 do between:give(to, table.remove(list, 1)) end
    end
    assert(os.time() < late, "no handshake")
  end
  for _, e in ipairs {a, b} do
    if not e.said then
      e.said = true
      if isopen(e.bev) then e.bev:shutdown() end
    end
  end
  local shut = not a.closed and not b.closed
  while shut and not (a.ended and b.ended) do
    turn()
    for to, list in pairs(kept) do
      while #list > 0 do between:give(to, table.remove(list, 1)) end
    end
    for from, to in pairs {server = "client", client = "server"} do
      local s = between:take(from)
      if s and #s > 0 then between:give(to, s) end
    end
    assert(os.time() < late, ("no end: %s %s"):format(a.ended, b.ended))
  end
  assert(not shut or a.ended == "eof" and b.ended == "eof", a.ended)
  compare(a, b, shut)
  compare(b, a, shut)
  between:close()
  for _, e in ipairs {a, b} do
    if isopen(e.bev) then e.bev:close() end
  end
end

local function dishonest(steps)
  local a, b, between, kept = converse(steps, one {5, 50, 200})
  settle(a, b, between, kept)
  between:close()
  local late = os.time() + 20
  for _, e in ipairs {a, b} do
    while not e.ended and isopen(e.bev) do
      base:loop "once|nonblock"
      assert(os.time() < late, "told of no end")
    end
    assert(e.ended or e.closed, "closed without a word")
  end
  compare(a, b)
  compare(b, a)
end

-- ====}

local function memory()
  for _ = 1, 4 do collectgarbage() end
  return collectgarbage "count"
end

local done, first = 0, nil
while done < STEPS do
  local n = random(5, 60)
  if random(5) == 1 then honest() else dishonest(n) end
  done = done + n
  if not first and done > STEPS / 4 then first = memory() end
end
heard, contexts = {}, {}
for _ = 1, 1000 do
  if not base:loop "nonblock" then break end
end
assert(base:loop "nonblock" == false, base:dump_events())
local grown = memory() - first
assert(grown < 2500, ("%.0f KiB more than in the beginning"):format(grown))
assert(next(seen) == nil, tostring(next(seen)))
base:close()
collectgarbage() collectgarbage()
assert(#listdescriptors() == descriptors, "descriptors are left")
io.stdout:write(("seed %d: %d steps\n"):format(SEED, done))
