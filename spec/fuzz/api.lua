--- One random program: calls of every function of libevent's, with arguments
--- that fit and arguments that do not, in any order, from anywhere.
---   lua5.4 spec/fuzz/api.lua SEED [STEPS]
---
--- The seed decides on everything but the kernel's timing: each step is drawn
--- from the seed and its own number, so that what differs in one run does not
--- make all steps after it others. Each call is told to stderr before it is
--- made. To stdout goes a line at the end,
---   seed 7: 1500 steps
--- and with COUNT=1 one for each function before it: how often it answered,
--- refused (nil and a message) and raised. The exit status is 0 or 1, by the
--- program's own choice after that line; what goes wrong gives another, or no
--- line.

package.path = "./?.lua;" .. package.path

local core = require "libevent.core"
local libevent = require "libevent"
local listdescriptors = require "spec.descriptors"
local pool = require "spec.fuzz.pool"
local secure = require "spec.selfsigned"
local signatures = require "spec.fuzz.signatures"
local values = require "spec.fuzz.values"

local SEED = math.tointeger(arg[1])
local STEPS = math.tointeger(arg[2] or 1000)
local COUNT = os.getenv "COUNT"
assert(SEED and STEPS, "usage: api.lua SEED [STEPS]")

local random, one = math.random, pool.one
local steps = 0                 -- taken so far, in callbacks too
local budget = 5 * STEPS        -- of these
local depth = 0                 -- of callbacks
local quiet = false             -- callbacks do nothing any more
local step                      -- the function

-- {==== Calls ====

local counts = {}         -- "libevent.Base.loop" -> {answered, refused, raised}

local function count(name, ok, result, message)
  local c = counts[name] or {0, 0, 0}
  local refused = result == nil and type(message) == "string"
  local i = not ok and 3 or refused and 2 or 1
  counts[name] = c
  c[i] = c[i] + 1
end

local function fault(format, ...)
  io.stderr:write(format:format(...), "\n")
  os.exit(3, false)
end

local function describe(value)
  local class = pool.classof(value)
  if class or type(value) ~= "string" then
    return class and tostring(value) or type(value) == "number"
           and tostring(value) or type(value)
  end
  return #value < 30 and ("%q"):format(value) or #value .. " bytes"
end

local function trace(name, args)
  local list = {}
  for i = 1, args.n do list[i] = describe(args[i]) end
  io.stderr:write(("%d %s%s(%s)\n"):format(steps, ("  "):rep(depth), name,
                                           table.concat(list, ", ")))
end

--- Calls that a program makes at its own risk are changed into others.
local before = {}

--- Memory that is asked for is given, if the machine has it.
local function modest(args, i)
  local n = args[i]
  if type(n) == "number" and n > 2^20 and n < 2^50 then args[i] = 2^20 // 1 end
end
before["libevent.secure_rng_bytes"] = function(args) modest(args, 1) end
before["libevent.Buffer.expand"] = function(args) modest(args, 2) end

--- A name that is looked up can take seconds.
before["libevent.getaddrinfo"] = function(args)
  if type(args[1]) == "string" then
    args[1] = values.sensible("string", "libevent.getaddrinfo.host")
  end
end

--- No program asks anybody outside: where options do not say who is asked they
--- are changed into others, which do.
local function completed(options, name, f)
  if options ~= nil and type(options) ~= "table" then return options end
  local t = {}
  for k, v in next, options or t do t[k] = v end
  if t[name] == nil then t[name] = f() end
  return t
end

before["libevent.Base.dns"] = function(args)
  args[2] = completed(args[2], "nameservers", function()
    return values.sensible("string[]", "libevent.DnsOptions.nameservers")
  end)
  args.n = math.max(args.n, 2)
end

before["libevent.Bufferevent.connect_hostname"] = function(args)
  args[4] = completed(args[4], "dns", function()
    return pool.object "libevent.Dns" or false
  end)
  args.n = math.max(args.n, 4)
end

before["libevent.Base.http_connection"] = function(args)
  args[4] = completed(args[4], "dns", function()
    return pool.object "libevent.Dns" or nil
  end)
  if type(args[2]) == "string" and not args[2]:find "^[%d:]+$"
     and not args[2]:find "^127%." and not args[2]:find "^unix:"
     and (type(args[4]) ~= "table" or args[4].dns == nil) then
    args[2] = "127.0.0.1"       -- a name, and nobody to ask for it
  end
  args.n = math.max(args.n, 4)
end

--- See values.lua on signals.
before["libevent.Base.signal"] = function(args)
  if type(args[2]) == "number" or type(args[2]) == "string" then
    args[2] = values.sensible "libevent.signal"
  end
end

before["libevent.Base.loop"] = function(args)
  pcall(pool.guard, args[1])
end
before["libevent.Base.dispatch"] = before["libevent.Base.loop"]

--- A socket of its own is about to take the place of somebody else's.
before["libevent.Bufferevent.connect"] = function(args)
  local ok, fd = pcall(function() return args[1]:getfd() end)
  if ok and not fd then pool.lend(args[1], nil) end
end

--- An object with the descriptor that was the bufferevent's is its owner then.
before["libevent.Bufferevent.setfd"] = function(args)
  local ok, fd = pcall(function() return args[1]:getfd() end)
  args.old = ok and not pool.islent(args[1]) and fd or nil
end

--- The argument that is the callee's from now on, if it is a number.
local taken = {["libevent.closesocket"] = 1, ["libevent.Base.listener"] = 2,
               ["libevent.Base.dns_server"] = 2,
               ["libevent.Http.bind_socket"] = 2,
               ["libevent.Base.bufferevent"] = 2,
               ["libevent.Bufferevent.setfd"] = 2}

--- What becomes of descriptors.
local after = {}

after["libevent.socketpair"] = function(_, a, b)
  if a then pool.own(a) pool.own(b) end
end

after["libevent.Bufferevent.detach"] = function(args, fd)
  if math.type(fd) == "integer" then pool.detached(args[1], fd) end
end

after["libevent.Base.bufferevent"] = function(args, bev)
  pool.lend(bev, args[2] ~= nil and type(args[2]) ~= "number" or nil)
end

after["libevent.Bufferevent.setfd"] = function(args)
  if args.old and type(args[2]) ~= "number"
     and args[1]:getfd() == args.old then
    pool.own(args.old)
  end
  pool.lend(args[1], args[2] ~= nil and type(args[2]) ~= "number" or nil)
end

for _, name in ipairs {"Bufferevent.getfd", "Event.fd", "Listener.fd",
                       "DnsServer.fd"} do
  after["libevent." .. name] = function(_, fd)
    if fd then pool.see(fd) end
  end
end

--- An error of the Lua parts of the library that is not meant for the caller.
local function check(name, message)
  if type(message) == "string"
     and message:find "^[^\n]*lua/libevent/[^\n]*: attempt to" then
    fault("%s: %s", name, message)
  end
end

--- These leave a number to the caller when they fail.
local refuses = {listener = true, dns_server = true, bind_socket = true}

local function invoke(class, method, args)
  local name = class .. "." .. method
  if before[name] then before[name](args) end
  trace(name, args)
  local fd = pool.give(args[taken[name]])
  local results = table.pack(pcall(pool.functions[class][method],
                                   table.unpack(args, 1, args.n)))
  local ok, result = results[1], results[2]
  count(name, ok, result, results[3])
  if not ok then check(name, result) end
  if fd and (not ok or result == nil and refuses[method]) then pool.own(fd) end
  if ok and after[name] then after[name](args, table.unpack(results, 2)) end
  for i = 2, results.n do pool.keep(results[i]) end
  return ok, result
end

--- How far the arguments are from what the function asks for.
local function arguments(class, method, object)
  local params = (signatures.functions[class] or {})[method] or {}
  local oddity = one {0, 0, 0, 0.3, 1}
  local args = {object}
  local n = object and 1 or 0
  for _, p in ipairs(params) do
    for _ = 1, p.name == "..." and random(0, 3) or 1 do
      n = n + 1
      if random() < oddity then
        args[n] = values.odd()
      elseif not p.optional or random(2) == 1 then
        args[n] = values.sensible(p.type, class .. "." .. method .. "."
                                          .. p.name)
      end
    end
  end
  if random(20) == 1 then
    args[n + 1] = values.odd()
    n = n + 1
  elseif random(20) == 1 and n > 0 then
    args[n] = nil
    n = n - 1
  end
  args.n = n
  return args
end

local function callany(class, object)
  local method = one(pool.methods[class])
  if method == "close" and random(4) > 1 then return end
  return invoke(class, method, arguments(class, method, object))
end

-- ====}

-- {==== What a step can be ====

local actions = {}
local create = {}               -- class -> makes an object

local function action(weight, f)
  for _ = 1, weight do actions[#actions + 1] = f end
end

--- As a call of the script's that fits: method(object, ...), its first result.
local function try(object, method, ...)
  local class = pool.classof(object)
  if not class then return end
  local ok, result = invoke(class, method, table.pack(object, ...))
  return ok and result or nil
end

local function callback() return values.sensible "function" end

local function context() return values.sensible "libevent.tls.Context" end

local function base()
  local b = pool.object "libevent.Base"
  if b and (pool.isopen(b) or random(3) > 1) then return b end
  return create["libevent.Base"]()
end

create["libevent.Base"] = function()
  local options = random(3) == 1 and values.sensible "libevent.BaseOptions"
                  or nil
  local _, b = invoke("libevent", "base", {options, n = 1})
  return pool.classof(b) and b
end

create["libevent.Event"] = function()
  local b = base()
  local r = random(4)
  if r == 1 then return try(b, "user", callback()) end
  if r == 2 then return try(b, "signal", one {"URG", "WINCH"}, callback()) end
  if r == 3 then
    return try(b, "event", pool.fd(), one {"read", "write|persist"}, callback())
  end
  return try(b, "timer", callback(), one {"persist", "timeout"})
end

create["libevent.Waker"] = function()
  return try(base(), "waker", callback())
end

create["libevent.Buffer"] = function()
  local _, b = invoke("libevent", "buffer",
                      {values.sensible "libevent.data", n = 1})
  return b
end

create["libevent.FileSegment"] = function()
  local _, s = invoke("libevent", "file_segment",
                      {values.sensible "file*", n = 1})
  return s
end

local function ready(bev)
  local function maybe() return random(3) > 1 and callback() or nil end
  try(bev, "setcb", maybe(), maybe(), maybe())
  if random(3) > 1 then try(bev, "enable", "read") end
  if random(2) == 1 then
    try(bev, "write", values.sensible "libevent.data")
  end
  return bev
end

create["libevent.Bufferevent"] = function()
  local fd = random(2) == 1 and pool.fd() or nil
  return ready(try(base(), "bufferevent", fd))
end

create["libevent.Listener"] = function()
  return try(base(), "listener", values.sensible "libevent.address",
             callback())
end

create["libevent.RateLimitGroup"] = function()
  return try(base(), "rate_limit_group",
             {read = one {1, 1000, 2^20 // 1}, write = one {1, 2^31 - 1 // 1}})
end

create["libevent.DnsServer"] = function()
  return try(base(), "dns_server",
             values.sensible("string", "libevent.Base.dns_server.address"),
             callback())
end

create["libevent.Dns"] = function()
  return try(base(), "dns", values.sensible "libevent.DnsOptions")
end

--- With a server of its own, as a rule, which is asked when a loop runs.
local function lookup()
  local b = base()
  local server = try(b, "dns_server", "127.0.0.1:0", callback())
  local ok, address = pcall(function() return server:sockname() end)
  local dns = try(b, "dns", {
    nameservers = {ok and address or nil}, timeout = 0.01,
    search = random(3) == 1 and {"example"} or nil
  }) or pool.object "libevent.Dns"
  return b, dns
end

create["libevent.DnsRequest"] = function()
  local _, dns = lookup()
  local name = values.sensible("string", "libevent.Dns.resolve.host")
  if random(3) == 1 then return try(dns, "reverse", "192.0.2.1", callback()) end
  return try(dns, "resolve", name, callback())
end

create["libevent.DnsQuery"] = function()
  local b, dns = lookup()
  try(dns, "resolve", "www.example", {family = "inet"}, callback())
  for _ = 1, 3 do try(b, "loop", "once") end
  return pool.object "libevent.DnsQuery"
end

local function keep(object)
  pool.keep(object)
  return object
end

--- What a server does with a request, each with anything in between.
local handlers = {
  function(req) try(req, "send_reply", 200, nil, "body") end,
  function(req)
    try(req, "add_header", "X-A", "v")
    try(req, "remove_header", "X-A")
    try(req, "clear_headers")
    try(req, "set_on_complete_cb", callback())
    if random(2) == 1 then values.react(req) end
    try(req, "send_error", 404)
  end,
  function(req)
    try(req, "send_reply_start", 200)
    if random(2) == 1 then values.react(req) end
    try(req, "send_reply_chunk", "data", callback())
    try(req, "send_reply_end", values.sensible "libevent.httpheaders")
  end,
  function(req)
    try(req, "set_chunked_cb", function(_, data)
      values.react(req)
      if not data then try(req, "send_reply", 200) end
    end)
    if random(2) == 1 then try(req, "pause") end
    try(req, "resume")
  end,
  function(req) ready(try(req, "upgrade", "x")) end,
  function(req) try(req, "set_closecb", callback()) end,
  function() end
}

local function handler()
  local f = one(handlers)
  return function(req)
    f(keep(req))
    return values.react(req)
  end
end

--- How a body goes out with a request, or none.
local function upload()
  return {stream = function(req)
    keep(req)
    try(req, "send_chunk", "data", callback())
    if random(2) == 1 then values.react(req) end
    try(req, "send_end", values.sensible "libevent.httpheaders")
  end, chunked_cb = random(2) == 1 and callback() or nil}
end

create["libevent.Http"] = function()
  local options = random(3) == 1 and values.sensible "libevent.HttpOptions"
                  or nil
  local http = try(base(), "http", options)
  try(http, "set_gencb", handler(), {stream = random(2) == 1})
  try(http, "set_cb", "/", handler())
  return http
end

create["libevent.HttpConnection"] = function()
  return try(base(), "http_connection",
             values.sensible("string", "libevent.Base.http_connection.host"),
             one {4000, 4001},
             values.sensible "libevent.HttpConnectionOptions")
end

--- A server, and one who asks it, for some turns of the loop.
local function ask(turns)
  local b = base()
  local http = try(b, "http") or pool.object "libevent.Http"
  try(http, "set_gencb", handler(), {stream = random(2) == 1})
  local listener = try(http, "bind_socket",
    values.sensible("string", "libevent.Base.dns_server.address"))
  local _, address = pcall(function() return listener:sockname() end)
  local host, port = tostring(address):match "^([%d.]+):(%d+)$"
  local conn = host and try(b, "http_connection", host, tonumber(port))
               or pool.object "libevent.HttpConnection"
  for _ = 1, random(3) do
    try(conn, "make_request", one {"GET", "POST", "HEAD"}, one {"/a?b=c", "/"},
        random(2) == 1 and upload()
        or values.sensible "libevent.HttpRequestOptions", callback())
  end
  for _ = 1, turns do try(b, "loop", "nonblock") end
  return b, http
end

create["libevent.tls.Context"] = function()
  local options = {certificate = secure.pem(), trust = secure.pem()}
  if random(2) == 1 then options.role = "server" end
  if random(3) == 1 and signatures.fields["libevent.tls.Options"] then
    local more = values.sensible "libevent.tls.Options"
    for name, value in pairs(more) do options[name] = value end
  end
  local _, made = invoke("libevent.tls", "context", {options, n = 1})
  return pool.classof(made) and made
end

--- Two ends that speak TLS, as they come together or later.
local function speak(turns)
  local b = base()
  local listener, address, later
  local function accept(_, conn)
    ready(keep(conn))
    if later then try(conn, "starttls", context()) end
    return values.react(conn)
  end
  later = random(3) == 1
  listener = try(b, "listener", "127.0.0.1:0", accept,
                 not later and {tls = context()} or nil)
  pcall(function() address = listener:sockname() end)
  local bev = try(b, "bufferevent", nil, not later and {tls = context(),
    hostname = one {"localhost", "localhost", false, "a.test"}} or nil)
  if address then try(ready(bev), "connect", address) end
  for i = 1, turns do
    try(b, "loop", "nonblock")
    if later and i == 3 then
      try(bev, "starttls", context(), one {"localhost", false})
    end
    if random(10) == 1 then step() end
  end
  try(bev, "tls")
end

--- The life of a task: calls that wait, as a rule.
local function live(object)
  for _ = 1, random(0, 6) do
    if quiet or budget <= 0 then return end
    budget, steps = budget - 1, steps + 1
    object = random(2) == 1 and object
             or pool.object(one {"libevent.Task", "libevent.Stream"})
    if pool.classof(object) then callany(pool.classof(object), object) end
    if random(20) == 1 then error(one {"an error", 7, {}}) end
    if random(30) == 1 then coroutine.yield(object) end
  end
  return one {1, "a result", nil}, 2
end

local function spawn(b, f, ...)
  local ok, task = pcall(core.task.spawn, b, f, ...)
  if ok then pool.keep(task) end
  return ok and task
end

create["libevent.Task"] = function()
  return spawn(base(), live, pool.object "libevent.Stream")
end

--- Two streams that are joined, and tasks of theirs.
local function streams()
  local b = base()
  local list = {}
  for _, fd in ipairs {libevent.socketpair()} do
    local ok, stream = pcall(function()
      return core.task.stream(b:bufferevent(fd))
    end)
    if not ok then pcall(libevent.closesocket, fd) end
    list[#list + 1] = ok and keep(stream) or nil
  end
  return b, list[1], list[2]
end

create["libevent.Stream"] = function()
  local b, one_, other = streams()
  if other then
    spawn(b, live, one_)
    spawn(b, live, other)
  end
  return one_
end

--- One end says something, and the other one reads it in several ways.
local function talked()
  local b, a, c = streams()
  if not c then return end
  spawn(b, function()
    try(a, "write", "one;two\nthree\n")
    if random(2) == 1 then try(a, "shutdown") end
  end)
  spawn(b, function()
    try(c, "read_until", ";")
    try(c, "read", one {"l", "L", 3})
    try(c, "read_some", 2)
    try(c, "read", one {"l", "a", 1})
  end)
  for _ = 1, random(6) do try(b, "loop", "nonblock") end
end

--- Both ends begin with TLS, as they should.
local function secured()
  local b, a, c = streams()
  if not c then return end
  local server, client = secure.contexts()
  spawn(b, function() try(a, "starttls", server) end)
  spawn(b, function()
    if try(c, "starttls", client, "localhost") then try(c, "tls") end
  end)
  for _ = 1, random(12) do try(b, "loop", "nonblock") end
end

create["libevent.HttpRequest"] = function()
  ask(9)
  return pool.object "libevent.HttpRequest"
end

action(12, function()           -- any functions of one object
  local class = one(pool.classes)
  local object = random(3) > 1 and pool.object(class) or create[class]()
  for _ = 1, random(1, 4) do callany(class, object) end
end)

action(1, function() callany(one {"libevent", "libevent", "libevent.tls"}) end)

action(3, function()            -- TLS
  speak(random(0, 20))
end)

action(4, function()            -- tasks, and their streams
  local task = create["libevent.Task"]()
  create["libevent.Stream"]()
  if random(4) == 1 then secured() end
  if random(4) == 1 then talked() end
  for _ = 1, random(0, 6) do try(base(), "loop", "nonblock") end
  if random(3) == 1 then try(task, "cancel") end
end)

action(1, function()            -- TLS on whatever there is
  try(pool.object "libevent.Bufferevent", "starttls", context(),
      one {"localhost", false, nil})
end)

action(1, function()
  local class = one(pool.classes)
  create[class]()
end)

action(2, function()            -- a connection
  local b = base()
  local _, listener = invoke("libevent.Base", "listener",
    {b, values.sensible "libevent.address", callback(), n = 3})
  local _, address = pcall(function() return listener:sockname() end)
  local bev = try(b, "bufferevent")
  if type(address) == "string" then try(ready(bev), "connect", address) end
end)

action(2, function()            -- the same by a name
  local b, dns = lookup()
  local bev = try(b, "bufferevent")
  try(ready(bev), "connect_hostname",
      values.sensible("string", "libevent.Bufferevent.connect_hostname.host"),
      one {1, 4000, 4001}, {dns = dns, timeout = one {nil, 0, 0.01, 1}})
end)

action(2, function()            -- a pair, a filter, one on the other
  local b = base()
  local bev = one {try(b, "pair"), pool.object "libevent.Bufferevent"}
  for _ = 1, random(0, 3) do
    bev = try(b, "filter", bev, values.sensible "libevent.filtercb",
              values.sensible "libevent.filtercb")
  end
  ready(bev)
end)

action(1, function()            -- a member of a group
  local group = pool.object "libevent.RateLimitGroup"
  try(pool.object "libevent.Bufferevent", "add_to_rate_limit_group", group)
end)

action(1, function()            -- callbacks of a buffer
  local buffer = pool.object "libevent.Buffer"
  local f = callback()
  try(buffer, "add_cb", f, base())
  try(buffer, "add", "data")
  if random(2) == 1 then try(buffer, "remove_cb", f) end
end)

action(1, function()            -- two connections joined
  local b = base()
  invoke("libevent", "relay", {try(b, "pair"), try(b, "pair"),
                               random(2) == 1 and callback() or nil, n = 3})
end)

action(3, function()            -- requests
  ask(random(0, 19))
end)

action(1, function()            -- a virtual host
  local b, http = ask(0)
  local vhost = try(b, "http")
  try(vhost, "set_gencb", handler())
  try(http, "add_virtual_host", one {"*", "127.*"}, vhost)
  if random(2) == 1 then try(http, "remove_virtual_host", vhost) end
end)

action(1, function()            -- a limit
  local bev = create["libevent.Bufferevent"]()
  try(bev, "set_rate_limit", {read = 9999, write = one {1, 9999}})
  for _ = 1, random(0, 9) do callany("libevent.Bufferevent", bev) end
end)

action(6, function()            -- a turn of the loop
  try(base(), "loop", one {"once", "nonblock", "once|nonblock"})
end)

action(3, function()
  local event = pool.object "libevent.Event" or create["libevent.Event"]()
  try(event, one {"add", "active"}, one {0, 0.001, "read", nil})
end)

action(1, function() collectgarbage(one {"step", "collect"}) end)
action(1, pool.drop)

action(1, function()
  local found = pool.object(one(pool.classes))
  local metatable = debug.getmetatable(found) or {}
  local object <close> = metatable.__close and found or nil
  if not object or random(10) > 1 then step() end
end)

action(1, function()            -- on a coroutine, which may never go on
  local go = coroutine.wrap(function()
    step()
    coroutine.yield()
    step()
  end)
  go()
  if random(2) == 1 then go() end
end)

-- ====}

-- {==== Steps ====

function step()
  if budget <= 0 then return end
  budget = budget - 1
  steps = steps + 1
  one(actions)()
end

--- What a callback is given can be used later.
local function keepall(...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    pool.keep(type(value) == "table" and rawget(value, "object") or value)
  end
end

--- Ends what called it, and what that stands on, if it is a filter; nobody
--- holds either of them any more, and new objects take their memory.
local function finish(object)
  local below
  repeat
    below = try(object, "detach")
    try(object, "close")
    pool.forget(object)
    object = below
  until not pool.classof(below)
  collectgarbage()
  collectgarbage()
  for i = 1, 50 do local _ = ("x"):rep(i * 20) end
end

local function misbehave(object)
  local r = random(40)
  if r == 1 then error "an error" end
  if r == 2 then error(one {{}, false, 7}) end
  if r == 3 then coroutine.yield(object) end
  if r == 4 then collectgarbage() end
  if r == 5 then try(object, "close") end
  if r == 6 then try(base(), "close") end
  if r == 7 then return nil, "refused", 5 end
  if r == 8 then return true end
  if r <= 11 then return finish(object) end
end

--- Any function of the object whose callback it is.
local function callself(object)
  local class = pool.classof(object)
  if class and budget > 0 then
    budget = budget - 1
    steps = steps + 1
    callany(class, object)
  end
end

function values.react(...)
  if quiet then return end
  keepall(...)
  depth = depth + 1
  if depth <= 3 then
    for _ = 1, random(0, 2) do pcall(step) end
    for _ = 1, random(0, 2) do pcall(callself, ...) end
  end
  depth = depth - 1
  return misbehave(...)
end

-- ====}

-- {==== The program and its end ====

local function descriptors()
  return table.concat(listdescriptors(), " ")
end

--- Nothing is left of what nobody holds any more, whether its base was closed
--- or not.
local function tidy(first)
  quiet = true
  if random(2) == 1 then pool.closebases() end
  pool.clear()
  pool.closeown()
  libevent.set_log_callback(nil)
  for _ = 1, 4 do collectgarbage() end
  local left = next(pool.seen)
  if left then fault("left alive: %s", tostring(left)) end
  local now = descriptors()
  if now ~= first then
    fault("descriptors before: %s; after: %s", first, now)
  end
end

local function report()
  local names = {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(COUNT and names or {}) do
    print(name, table.unpack(counts[name]))
  end
  io.stdout:write(("seed %d: %d steps\n"):format(SEED, steps)):flush()
end

--- The collector is hardly there, always there, or of the other kind.
local function collector()
  local r = random(4)
  if r == 1 then
    collectgarbage("incremental", 100, 1000)
  elseif r == 2 then
    collectgarbage("generational")
  elseif r == 3 then
    collectgarbage("incremental", 1000, 100)
  end
end

math.randomseed(SEED, 0)
values.start(SEED)
local before_all = descriptors()
collector()
for i = 1, STEPS do
  math.randomseed(SEED, i)
  step()
end
math.randomseed(SEED, -1)
local ending = random(5)
if ending == 1 then tidy(before_all) end
os.remove(values.path)
budget = 50                     -- for what finalizers do at the end, but...
quiet = quiet or os.getenv "VALGRIND"   -- ...objects that they make while the
                                        -- state is closed Lua never finalizes
report()
if ending == 2 then os.exit(true, true) end
if ending == 3 then os.exit(false, true) end
if ending == 4 then
  local b = libevent.base()
  b:timer(function() os.exit(true, true) end):add(0)
  b:dispatch()
end

-- ====}
