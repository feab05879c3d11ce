--- Mutated packets of DNS: answers to a Dns from a server that is none, and
--- requests to a DnsServer.
---   lua5.4 spec/fuzz/dns.lua SEED [STEPS]
---
--- The seed decides on every packet. Each look-up must be told of its end,
--- once, and when all are over nothing may be left that keeps the loop running.
--- To stdout goes a line at the end, as spec/fuzz/run reads it:
---   seed 7: 2000 steps

package.path = "./?.lua;" .. package.path

local libevent = require "libevent"
local socket = require "socket"

local SEED = math.tointeger(arg[1])
local STEPS = math.tointeger(arg[2] or 2000)
assert(SEED and STEPS, "usage: dns.lua SEED [STEPS]")
math.randomseed(SEED)

local random = math.random

local function one(list) return list[random(#list)] end

-- {==== Packets ====

local names = {"a.test", "www.example.test", "x", ("l"):rep(63) .. ".test",
               (("m"):rep(60) .. "."):rep(4) .. "t", "1.0.0.127.in-addr.arpa"}

local function labels(name)
  local list = {}
  for label in name:gmatch "[^.]+" do list[#list + 1] = ("s1"):pack(label) end
  return table.concat(list) .. "\0"
end

--- A name as it stands in a record: written out, or a pointer, also to itself,
--- in circles and out of the packet.
local function name()
  local r = random(6)
  if r <= 2 then return "\xC0\x0C" end
  if r == 3 then return (">I2"):pack(0xC000 | random(0, 600)) end
  if r == 4 then return "\3www\xC0\x0C" end
  return labels(one(names))
end

local function bytes(n)
  local list = {}
  for i = 1, n do list[i] = string.char(random(0, 255)) end
  return table.concat(list)
end

local function soa()
  return name() .. name() .. (">I4I4I4I4I4"):pack(1, 2, 3, 4, random(0, 9))
end

local kinds = {
  {1, function() return bytes(4 * random(0, 3)) end},
  {28, function() return bytes(16 * random(0, 3)) end},
  {5, name}, {12, name}, {6, soa},
  {16, function() return bytes(random(0, 300)) end},
}

local function record()
  local kind = one(kinds)
  local data = kind[2]()
  return name() .. (">I2I2I4s2"):pack(kind[1], 1, random(0, 2^31), data)
end

local function records(n)
  local list = {}
  for i = 1, n do list[i] = record() end
  return table.concat(list)
end

--- The answer to a request, as a server could give it.
local function answer(request)
  local an, ns, ar = random(0, 4), random(0, 2), random(0, 1)
  if random(50) == 1 then an = 60 end
  local rcode = random(4) == 1 and random(0, 15) or 0
  local flags = 0x8180 | rcode | (random(20) == 1 and 0x200 or 0)
  return request:sub(1, 2) .. (">I2I2I2I2I2"):pack(flags, 1, an, ns, ar)
         .. request:sub(13) .. records(an + ns + ar)
end

local function request()
  local n = random(20) == 1 and random(0, 40) or 1
  local list = {}
  for i = 1, n do
    list[i] = (i == 1 and labels(one(names)) or name())
              .. (">I2I2"):pack(one {1, 28, 12, 5, 255, 999},
                                one {1, 1, 1, 255})
  end
  return (">I2I2I2I2I2I2"):pack(random(0, 65535), 0x100, n, 0, 0, random(0, 1))
         .. table.concat(list)
end

local changes = {
  function(s, i) return s:sub(1, i - 1) .. bytes(1) .. s:sub(i + 1) end,
  function(s, i) return s:sub(1, i - 1) .. one {"\0", "\xff", "\xc0", "\x3f"}
                        .. s:sub(i + 1) end,
  function(s, i) return s:sub(1, i) end,
  function(s, i) return s:sub(1, i) .. bytes(random(20)) .. s:sub(i + 1) end,
  function(s, i) return s:sub(1, i) .. s:sub(random(i), -1) end,
  function(s, i) return s:sub(1, i - 1) .. s:sub(i + random(10)) end,
}

local function mutate(s)
  for _ = 1, one {0, 1, 1, 2, 5} do
    if #s > 0 then s = one(changes)(s, random(#s)) end
  end
  return s:sub(1, 4000)
end

-- ====}

local base = libevent.base()
local steps, open, told = 0, 0, 0

-- {==== The server that is none ====

local liar = assert(socket.udp())
assert(liar:setsockname("127.0.0.1", 0))
liar:settimeout(0)
local _, port = liar:getsockname()

local lies = base:event(liar, "read|persist", function()
  while true do
    local packet, host, from = liar:receivefrom(4096)
    if not packet then return end
    for _ = 1, one {0, 1, 1, 1, 1, 2, 3} do
      liar:sendto(mutate(answer(packet)), host, from)
    end
  end
end):add()

local function dns()
  return assert(base:dns {nameservers = {"127.0.0.1:" .. port}, hosts = false,
    search = random(3) == 1 and {"test", "example.test"} or {},
    timeout = 0.02, attempts = random(2), skew = 0.01, deadline = 0.5,
    max_inflight = one {1, 3, 64}, randomize_case = random(2) == 1})
end

local function ask(d)
  local n = 0
  open = open + 1
  local function cb(_, result, message, code)
    n = n + 1
    assert(n == 1, "told twice")
    assert(result or message and code, "told nothing")
    open, told = open - 1, told + 1
    if random(20) == 1 then collectgarbage() end
  end
  local r
  if random(5) == 1 then
    r = d:reverse(one {"127.0.0.1", "::1"}, cb)
  else
    r = d:resolve(one(names), {family = one {"inet", "inet6", "inet|inet6"}},
                  cb)
  end
  if random(10) == 1 then r:cancel() end
end

-- ====}

-- {==== The server that is asked ====

local kept = {}

local function add(q)
  local owner = random(2) == 1 and one(names) or nil
  local r = random(6)
  if r == 1 then return q:add_a_reply(owner, {"1.2.3.4", "5.6.7.8"}, 60) end
  if r == 2 then return q:add_aaaa_reply(owner, "::1", random(0, 9)) end
  if r == 3 then return q:add_ptr_reply(owner, one(names), 1) end
  if r == 4 then return q:add_cname_reply(owner, one(names), 1) end
  return q:add_reply(one {"answer", "authority", "additional"}, owner,
                     random(0, 65535), 1, 1, bytes(random(0, 400)))
end

local function reply(q)
  q:name() q:type() q:class() q:requesting_addr()
  for _ = 1, one {0, 1, 2, 10} do add(q) end
  if random(2) == 1 then q:set_flags(one {"aa", "ra", "aa|ra"}) end
  if random(8) == 1 then q:drop() else q:respond(random(0, 15)) end
end

local server
local function serve()
  server = assert(base:dns_server("127.0.0.1:0", function(q)
    local r = random(10)
    if r == 1 then return end                       -- forgotten
    if r == 2 then kept[#kept + 1] = q return end
    if r == 3 and random(5) == 1 then                 -- in its own callback
      server:close()
      serve()
    end
    if tostring(q):find "closed" then return end
    reply(q)
  end))
end

local function serveanew()
  if server then server:close() end
  kept = {}
  serve()
end

local asker = assert(socket.udp())
asker:settimeout(0)

local function knock()
  local at = tonumber(server:sockname():match ":(%d+)$")
  asker:sendto(mutate(request()), "127.0.0.1", at)
  asker:receive()
end

-- ====}

local d = dns()
serveanew()
while steps < STEPS do
  steps = steps + 1
  ask(d)
  knock()
  if #kept > 20 then
    for _, q in ipairs(kept) do
      if not tostring(q):find "closed" then reply(q) end
    end
    kept = {}
  end
  if random(100) == 1 then
    d:close()
    d = dns()
  end
  if random(200) == 1 then serveanew() end
  if open < 50 then base:loop "nonblock" else base:loop "once" end
end
server:close()
local late = base:timer(function() error(open .. " were never told") end)
late:add(10)
while open > 0 do base:loop "once" end
late:close()
lies:close()
base:dispatch()                                     -- nothing may be left
assert(told == steps)
base:close()
print(("seed %d: %d steps"):format(SEED, steps))
