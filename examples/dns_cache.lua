-- DNS cache: asks other servers for addresses and for names of addresses, and
-- answers from memory as long as what they said lasts. Equal questions that
-- come before the answer are asked once. SIGUSR1 tells how much that saves.
--   lua5.4 examples/dns_cache.lua [address [server ...]]
--                                 (127.0.0.1:5354, those of resolv.conf)
-- Try it: dig -p 5354 @127.0.0.1 debian.org
local libevent = require "libevent"

local SIZE = 10000             -- answers in each of two generations
local LONGEST = 86400          -- seconds that one is kept...
local NOTHING = 30             -- ...and that there is none

local base = libevent.base()
local servers = {table.unpack(arg, 2)}
local dns = assert(base:dns {
  nameservers = servers[1] and servers or nil, hosts = false,
  timeout = 2, attempts = 2, deadline = 4.5,       -- clients wait 5 seconds
})
local young, old, count = {}, {}, 0      -- answers, by their question
local waiting = {}                       -- queries, by a question on its way
local hits, misses = 0, 0

-- Each time that SIZE more have come, those before them are forgotten.
local function remember(question, answer)
  if count == SIZE then young, old, count = {}, young, 0 end
  young[question] = answer
  count = count + 1
end

local function now()
  return math.floor(libevent.gettime_monotonic())
end

local add = {
  A = function(query, ...) query:add_a_reply(nil, ...) end,
  AAAA = function(query, ...) query:add_aaaa_reply(nil, ...) end,
  PTR = function(query, ...) query:add_ptr_reply(nil, ...) end,
}

local function respond(query, answer, seconds)
  if answer.data then add[query:type()](query, answer.data, seconds) end
  query:set_flags "ra":respond(answer.result or "serverfailed")
end

-- The address that is meant by a name in reverse.
local function addressof(name)
  local d, c, b, a = name:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)%.in%-addr%.arpa$"
  local text = a and ("%s.%s.%s.%s"):format(a, b, c, d)
  if name:find("^" .. ("%x%."):rep(32) .. "ip6%.arpa$") then
    text = name:sub(1, 63):gsub("%.", ""):reverse():gsub("%x%x%x%x", "%0:", 7)
  end
  return text and libevent.inet_pton(text) and text
end

local results = {nodata = "none", notexist = "notexist"}

local function forward(question, kind, name)
  local function done(_, data, ttl, code)
    local seconds = data and math.min(ttl or LONGEST, LONGEST) or NOTHING
    local answer = {data = data, result = data and "none" or results[code],
                    ends = now() + seconds}
    if answer.result then remember(question, answer) end
    for _, query in ipairs(waiting[question]) do
      respond(query, answer, seconds)
    end
    waiting[question] = nil
  end

  if kind == "PTR" then
    dns:reverse(addressof(name), done)
  else
    local family = kind == "A" and "inet" or "inet6"
    dns:resolve(name, {family = family, search = false}, done)
  end
end

local function serve(query)
  local kind, name = query:type(), query:name():lower()
  if not add[kind] or kind == "PTR" and not addressof(name) then
    return query:respond "notimpl"
  end
  local question = kind .. " " .. name
  local answer = young[question] or old[question]
  local seconds = answer and answer.ends - now() or 0
  if seconds > 0 then
    respond(query, answer, seconds)
  elseif waiting[question] then
    table.insert(waiting[question], query)
  else
    misses = misses + 1
    waiting[question] = {query}
    return forward(question, kind, name)
  end
  hits = hits + 1
end

local address = arg[1] or "127.0.0.1:5354"
local server, message = base:dns_server(address, serve)
if not server then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
io.stdout:setvbuf "line"
base:signal("USR1", function()
  print(("%d hits, %d misses"):format(hits, misses))
end):add()
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("dns cache on " .. server:sockname())
base:dispatch()
