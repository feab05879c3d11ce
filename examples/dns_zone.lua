-- DNS server for the zones of a Lua table. A name in a zone has records, or
-- none of the type that is asked for, or does not exist; any other is refused.
-- The table comes from a file that returns one like the one below.
--   lua5.4 examples/dns_zone.lua [address [file]]      (127.0.0.1:5353)
-- Try it: dig -p 5353 @127.0.0.1 www.example.test
--   lua5.4 examples/resolve.lua -s 127.0.0.1:5353 example.test 192.0.2.1
local libevent = require "libevent"

local zones = {
  ["example.test"] = {
    ["@"] = {A = {"192.0.2.1", "192.0.2.2"}, AAAA = "2001:db8::1",
             TXT = "a zone in a Lua table"},
    www = {CNAME = "example.test"},
    mail = {A = "192.0.2.25", ttl = 3600},              -- seconds, else 60
  },
  ["2.0.192.in-addr.arpa"] = {["1"] = {PTR = "example.test"},
                              ["25"] = {PTR = "mail.example.test"}},
}

local function fail(...)
  io.stderr:write(...)
  io.stderr:write "\n"
  os.exit(1)
end

-- How a record of each type is added to an answer.
local add = {
  A = function(query, ...) return query:add_a_reply(...) end,
  AAAA = function(query, ...) return query:add_aaaa_reply(...) end,
  CNAME = function(query, ...) return query:add_cname_reply(...) end,
  PTR = function(query, ...) return query:add_ptr_reply(...) end,
  TXT = function(query, name, text, ttl)
    return query:add_reply("answer", name, "TXT", 1, ttl, ("s1"):pack(text))
  end,
}

-- The names of the zones, and the records of all names in them. What lies
-- between a name and its zone exists, too.
local origins, names = {}, {}

local function index()
  for origin, list in pairs(zones) do
    origin = origin:lower()
    origins[origin] = true
    names[origin] = names[origin] or {}
    for name, records in pairs(list) do
      name = name == "@" and origin or name:lower() .. "." .. origin
      names[name] = records
      for kind in pairs(records) do
        if not add[kind] and kind ~= "ttl" then
          error(("%s: unknown type %s"):format(name, kind), 0)
        end
      end
      while name ~= origin do
        name = name:match "%.(.*)"
        names[name] = names[name] or {}
      end
    end
  end
end

local function iswithin(name)
  while name and not origins[name] do name = name:match "%.(.*)" end
  return name
end

-- Adds what a name (nil: the one that was asked for) has of a type, or what it
-- is an alias of and what that one has; returns how it went.
local function addall(query, owner, kind)
  local name = (owner or query:name()):lower()
  local records = names[name]
  if not records then return iswithin(name) and "notexist" or "none" end
  local alias = kind ~= "CNAME" and records.CNAME
  local type = alias and "CNAME" or kind
  if records[type] then
    assert(add[type](query, owner, records[type], records.ttl or 60))
  end
  if alias then return addall(query, alias, kind) end
  return "none"
end

local function answer(query)
  local name, kind = query:name(), query:type()
  if not iswithin(name:lower()) then return query:respond "refused" end
  local ok, result = pcall(addall, query, nil, kind)
  if not ok then                               -- what is in the table is wrong
    print(("%s, %s: %s"):format(name, kind, result))
    result = "serverfailed"
  end
  query:set_flags "aa":respond(result)
end

io.stdout:setvbuf "line"
local address, path = arg[1] or "127.0.0.1:5353", arg[2]
local ok, message = pcall(function()
  if path then
    local chunk, why = loadfile(path, "t", {})     -- text that can call nothing
    zones = (chunk or error(why, 0))()
  end
  index()
end)
if not ok then fail("bad zones: ", message) end

local base = libevent.base()
local server
server, message = base:dns_server(address, answer)
if not server then fail("cannot listen on ", address, ": ", message) end
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("zone server on " .. server:sockname())
base:dispatch()
