--- Arguments: what the annotations of lua/libevent/_meta.lua ask for, and what
--- they do not.
---
---   values.sensible("libevent.eol")    -> "crlf"
---   values.odd()                       -> anything
---   values.react = f                   what callbacks, finalizers and other
---                                      code of the script's do when called

local libevent = require "libevent"
local pool = require "spec.fuzz.pool"
local secure = require "spec.selfsigned"
local signatures = require "spec.fuzz.signatures"

local random, one = math.random, pool.one
local values = {react = nil}
local sensible

-- {==== Code of the script's ====

local callbacks = {}            -- few: remove_cb finds one that is there
for i = 1, 6 do
  callbacks[i] = function(...) return values.react(...) end
end
callbacks[7] = setmetatable({}, {__call = function(_, ...)
  return values.react(...)
end})

local function callback() return one(callbacks) end

--- A function of a filter's that, as a rule, passes on what it is given.
local function filter()
  return function(source, sink, mode)
    local r = random(8)
    if r <= 5 then sink:add(source) end
    if r <= 6 then sink:add(source:remove(random(0, 99))) end
    if r == 7 and random(4) == 1 then return nil, "refused", random(0, 40) end
    return values.react(source, sink, mode)
  end
end

local function acting() return values.react() end

--- Values whose use, or end, is code.
local function trap()
  return setmetatable({getfd = random(2) == 1 and acting or nil}, {
    __index = function() return acting() end,
    __tostring = function() acting() return one {"trap", 7, {}} end,
    __name = one {"libevent.Base", "trap", 5}, __len = acting,
    __gc = acting, __close = acting, __eq = acting, __metatable = false
  })
end

-- ====}

-- {==== Data and numbers ====

local sizes = {0, 1, 2, 100, 4096, 16383, 16384, 20000}

local function bytes()
  local r = random(12)
  if r == 1 then return ("x\r\ny\0\n"):rep(random(0, 2000)) end
  return (one {"z", "\r\n", "a line\n", "\0", "123"}):rep(
    r == 2 and one(sizes) // 4 or random(0, 9))
end

local function integer()
  local r = random(12)
  if r <= 7 then return random(0, 3) end
  return r == 8 and one(sizes) or r == 9 and random(-9, 9)
         or random(0, r == 10 and 100 or 70000)
end

local function seconds()
  return random(20) == 1 and one {0.25, 1, 3600, 2147483647}
         or random(0, 5) / 1000
end

--- Of those that are ignored if nobody catches them, and of what nobody can.
--- Others would end the process when they come, and a script that catches SEGV
--- would hide what is looked for.
local function signal()
  return one {"WINCH", "SIGWINCH", "URG", "SIGURG", "CHLD", "CONT", "KILL",
              "STOP", "NONE", 9, 28, 23, 0, -1, 65, 0.5}
end

-- ====}

-- {==== Descriptors and addresses ====

local function file()
  local f = io.tmpfile()
  f:write(("f"):rep(one {0, 10, 5000, 40000})):flush()
  if random(10) == 1 then f:close() end
  return f
end

local function getfd()
  acting()
  return one {pool.fd(), pool.fd(), pool.seenfd() or -1, -1, 0.5, "no"}
end

local function object()
  local r = random(4)
  return r == 1 and file() or r == 2 and pool.object "libevent.Bufferevent"
         or {getfd = getfd}
end

--- Files and numbers that do not block: who reads from one that does must wait.
local function descriptor()
  local r = random(4)
  return r == 1 and object() or r == 2 and pool.seenfd() or pool.fd()
end

--- What a call may close.
local function owndescriptor()
  return random(4) == 1 and object() or pool.fd()
end

local addresses                 -- where to listen, and where somebody does
local net                       -- of this program

--- No program meets another one, or a server of the machine's: each has a
--- network of its own in 127/8.
function values.start(seed)
  net = ("127.%d.%d.%d"):format(random(1, 254), random(0, 255),
                                random(1, 254))
  local path = os.getenv "TMPDIR" or "/tmp"
  values.path = ("%s/fuzz%d"):format(path, seed)
  addresses = {net .. ":4000", net .. ":4001", net .. ":0", net .. ":1",
               "unix:@fuzz" .. seed, "unix:" .. values.path, "[::1]:0",
               "nowhere", ""}
end

local function address()
  local listener = random(3) > 1 and pool.object "libevent.Listener"
  local ok, name = pcall(function() return listener:sockname() end)
  return ok and name or one(addresses)
end

-- ====}

-- {==== By type ====

local function words(list)
  return function()
    local word = one(list)
    return random(3) == 1 and word .. "|" .. one(list) or word
  end
end

local function choice(list)
  return function() return one(list) end
end

--- Header fields by their names, or in order; now and then one that is wrong.
local function headers()
  local value = choice {"v", "v", 7, "", "a b", "a\r\nb: c"}
  local header = choice {"X-A", "X-A", "Content-Type", "Set-Cookie", "Date",
                         "Connection", "Content-Length", "bad name"}
  local list, named = {}, random(2) == 1
  for _ = 1, random(0, 3) do
    if named then
      list[header()] = random(4) == 1 and {value(), value()} or value()
    else
      list[#list + 1] = {header(), value()}
    end
  end
  return list
end

--- Contexts that most programs share: to make one takes long.
local pem = secure.pem()
local contexts = {secure.server(), secure.client(), secure.client(),
                  secure.client {max_version = "1.2", verify = false},
                  secure.server {verify = "optional", trust = pem,
                                 alpn = {"a"}, handshake_timeout = 0.002}}

local function context()
  return random(5) == 1 and pool.object "libevent.tls.Context" or one(contexts)
end

local hostname = choice {"localhost", "127.0.0.1", "localhost", false, "a.test",
                         "", "a\0b"}

local generators = {
  ["nil"] = function() end,
  ["false"] = function() return false end,
  ["function"] = callback,
  ["file*"] = file,
  ["string[]"] = function() return {one(libevent.methods()), "none"} end,
  integer = integer, number = integer, string = bytes,
  boolean = function() return random(2) == 1 end,
  ["libevent.seconds"] = seconds, ["libevent.signal"] = signal,
  ["libevent.descriptor"] = descriptor, ["libevent.address"] = address,
  ["libevent.filtercb"] = filter, ["libevent.eventcb"] = callback,
  ["libevent.relaycb"] = callback, ["libevent.resolvecb"] = callback,
  ["libevent.reversecb"] = callback, ["libevent.httpdonecb"] = callback,
  ["libevent.tls.Context"] = context, ["fun():"] = callback,
  ["table<string,"] = function()
    return {["localhost"] = context(), [one {"*.test", "", 7}] = context()}
  end,
  userdata = function() return pool.object(one(pool.classes)) end,
  ["libevent.httpclosecb"] = callback, ["libevent.httpheaders"] = headers
}

--- Whom to ask: a server of the program's own, or where nobody answers, never
--- anybody outside.
local function nameserver()
  local server = random(4) > 1 and pool.object "libevent.DnsServer"
  local ok, name = pcall(function() return server:sockname() end)
  return ok and name or one {net .. ":5353", "127.0.0.1:1", "[::1]:1", "no"}
end

local function nameservers()
  local list = {}
  for i = 1, random(0, 3) do list[i] = nameserver() end
  return list
end

local names = {"www.example", "www", "a.b.c.d.example", "localhost",
               "x.localhost", "127.0.0.1", "::1", "fe80::1%1", "example.",
               ("x"):rep(63) .. ".example", ("x"):rep(64), "a..b", "", ".",
               "a\0b", ("long."):rep(50) .. "e", "1.0.0.127.in-addr.arpa"}
local name = function() return one(names) end
local files = {"/etc/hosts", "/dev/null", "/nowhere", "/", "", false}

local function lists(f)
  return function()
    local list = {}
    for i = 1, random(0, 9) do list[i] = f() end
    return random(3) == 1 and list or list[1] or f()
  end
end

local hosts = {"127.0.0.1", "::1", "fe80::1%1", "1.2.3.4.5\0", ""}
local small = choice {0, 0, 0, 1, 255}
local rate = choice {1, 1000, 100000, 2147483647}
local size = choice {0, 1, 100, 1000, 100000, false}
local path = choice {"/", "/", "/a", "/a b", "", "a"}
local status = choice {200, 200, 200, 204, 304, 404, 599, 600, 100}
local header = choice {"X-A", "host", "Content-Length", "bad name"}
local host = choice {"*", "*.example", "h", "H", "a*b", ""}

--- Where the type is not the whole truth.
local special = {
  ["libevent.closesocket.fd"] = pool.fd,
  ["libevent.Base.bufferevent.fd"] = owndescriptor,
  ["libevent.Base.listener.address"] = function()
    return random(4) == 1 and owndescriptor() or address()
  end,
  ["libevent.Bufferevent.setfd.fd"] = owndescriptor,
  ["libevent.file_segment.file"] = file,
  ["libevent.Buffer.add_file.file"] = file,
  -- A name would be looked up in the net.
  ["libevent.getaddrinfo.host"] = choice(hosts),
  ["libevent.getaddrinfo.port"] = choice {0, 80, 65536, "http", "80", ""},
  ["libevent.inet_pton.address"] = choice(hosts),
  ["libevent.inet_pton_scope.address"] = choice(hosts),
  ["libevent.Buffer.search.what"] = choice {"", "z", "\n", "123", "x\r", "no"},
  ["libevent.inet_ntop.packed"] = choice {"1234", ("\0"):rep(16), "123"},
  ["libevent.Base.active_by_fd.what"] =
    words {"read", "write", "closed", "timeout"},
  ["libevent.Bufferevent.trigger_event.what"] =
    choice {"eof|reading", "eof|writing", "timeout|reading", "error|writing"},
  ["libevent.Bufferevent.setsockopt.value"] = choice {true, false, 1, 10, 2000},
  ["libevent.Event.priority_set.priority"] = small,
  ["libevent.Bufferevent.priority_set.priority"] = small,
  ["libevent.BaseOptions.flags"] = words {"precise_timer", "no_cache_time",
    "epoll_use_changelist", "ignore_env", "nolock"},
  ["libevent.BaseOptions.method"] = function()
    return one(libevent.methods())
  end,
  ["libevent.BaseOptions.avoid"] = choice {"epoll", "poll", {"epoll"}, "none"},
  ["libevent.BaseOptions.priorities"] = choice {1, 2, 3, 255},
  ["libevent.BaseOptions.min_priority"] = small,
  ["libevent.BuffereventOptions.flags"] =
    words {"defer_callbacks", "close_on_free"},
  ["libevent.ListenerOptions.flags"] = words {"reuseable", "reuseable_port",
    "bind_ipv6only", "deferred_accept", "disabled", "close_on_free"},
  ["libevent.Limits.read"] = rate,
  ["libevent.Limits.write"] = rate,
  ["libevent.Limits.read_burst"] = rate,
  ["libevent.Limits.write_burst"] = rate,
  ["libevent.Limits.tick"] = choice {0.001, 0.002, 0.1, 1},
  ["libevent.Base.dns_server.address"] = function()
    return random(4) == 1 and owndescriptor() or one {net .. ":0", "[::1]:0",
                                                      net .. ":5353"}
  end,
  ["libevent.Bufferevent.connect_hostname.host"] = name,
  ["libevent.Bufferevent.connect_hostname.port"] = choice {1, 80, 4000, 4001},
  ["libevent.Dns.resolve.host"] = name,
  ["libevent.Dns.reverse.address"] = choice {"127.0.0.1", "::1", "1.2.3.4",
                                             "fe80::1%1", "127.0.0.1:1", ""},
  ["libevent.Dns.nameserver_ip_add.address"] = nameserver,
  ["libevent.Dns.search_add.domain"] = name,
  ["libevent.Dns.search_ndots_set.n"] = small,
  ["libevent.Dns.set_option.value"] = choice {0.001, 0.01, 1, 2, 100, true,
                                              false},
  ["libevent.Dns.resolv_conf_parse.path"] = choice(files),
  ["libevent.Dns.load_hosts.path"] = choice(files),
  ["libevent.DnsOptions.nameservers"] = nameservers,
  ["libevent.DnsOptions.resolv_conf"] = choice {"/dev/null", "/nowhere", false},
  ["libevent.DnsOptions.hosts"] = choice(files),
  ["libevent.DnsOptions.search"] = function() return {name(), one(names)} end,
  ["libevent.DnsOptions.bind_to"] = choice {"127.0.0.1", "::1", "no"},
  ["libevent.DnsOptions.ndots"] = small,
  ["libevent.DnsOptions.attempts"] = choice {1, 2, 3, 255},
  ["libevent.DnsOptions.max_inflight"] = choice {1, 2, 64, 65000},
  ["libevent.ResolveOptions.port"] = choice {0, 80, 65535, 65536},
  ["libevent.DnsQuery.add_a_reply.name"] = name,
  ["libevent.DnsQuery.add_a_reply.addresses"] =
    lists(choice {"127.0.0.1", "127.0.0.1", "192.0.2.1", "::1"}),
  ["libevent.DnsQuery.add_a_reply.ttl"] = small,
  ["libevent.DnsQuery.add_aaaa_reply.name"] = name,
  ["libevent.DnsQuery.add_aaaa_reply.addresses"] =
    lists(choice {"::1", "::1", "2001:db8::1", "127.0.0.1"}),
  ["libevent.DnsQuery.add_aaaa_reply.ttl"] = small,
  ["libevent.DnsQuery.add_ptr_reply.name"] = name,
  ["libevent.DnsQuery.add_ptr_reply.hostname"] = name,
  ["libevent.DnsQuery.add_cname_reply.name"] = name,
  ["libevent.DnsQuery.add_cname_reply.cname"] = name,
  ["libevent.Http.bind_socket.address"] = function()
    return random(4) == 1 and owndescriptor() or address()
  end,
  ["libevent.Http.set_cb.path"] = path,
  ["libevent.Http.del_cb.path"] = path,
  ["libevent.Http.add_virtual_host.pattern"] = host,
  ["libevent.Http.add_server_alias.name"] = host,
  ["libevent.Http.remove_server_alias.name"] = host,
  ["libevent.HttpOptions.max_line_size"] = size,
  ["libevent.HttpOptions.max_headers_size"] = size,
  ["libevent.HttpOptions.max_body_size"] = size,
  ["libevent.HttpOptions.max_connections"] = choice {1, 2, 100, false},
  ["libevent.HttpOptions.default_content_type"] = choice {"x/y", "", false},
  ["libevent.HttpPathOptions.max_body_size"] = size,
  ["libevent.HttpRequest.find_header.name"] = header,
  ["libevent.HttpRequest.add_header.name"] = header,
  ["libevent.HttpRequest.add_header.value"] = choice {"v", 7, "", "a\nb"},
  ["libevent.HttpRequest.remove_header.name"] = header,
  ["libevent.HttpRequest.query.name"] = choice {"a", "b", ""},
  ["libevent.HttpRequest.send_reply.status"] = status,
  ["libevent.HttpRequest.send_reply.reason"] = choice {"Fine", "", "a\rb"},
  ["libevent.HttpRequest.send_reply_start.status"] = status,
  ["libevent.HttpRequest.send_reply_start.reason"] = choice {"Fine", "a\nb"},
  ["libevent.HttpRequest.send_error.status"] = choice {300, 404, 500, 200},
  ["libevent.HttpRequest.send_error.reason"] = choice {"<b>&", "", "a\nb"},
  ["libevent.HttpRequest.upgrade.protocol"] = choice {"x", "", "a\nb"},
  ["libevent.Base.http_connection.host"] = function()
    return one {net, net, "::1", "www.example", "unix:" .. values.path, "a/b"}
  end,
  ["libevent.Base.http_connection.port"] = choice {4000, 4001, 1, nil, 0},
  ["libevent.HttpConnectionOptions.max_headers_size"] = size,
  ["libevent.HttpConnectionOptions.max_body_size"] = size,
  ["libevent.HttpConnection.make_request.method"] =
    choice {"GET", "POST", "HEAD", "CONNECT", "OPTIONS", "a b", ""},
  ["libevent.HttpConnection.make_request.uri"] =
    choice {"/", "/a?a=1&b", "/a%20b", "/%", "*", "h:1", "a b", ""},
  ["libevent.DnsQuery.add_reply.name"] = name,
  ["libevent.DnsQuery.add_reply.data"] = function()
    return random(2) == 1 and name() or bytes()
  end
}

local identity = choice {pem, pem, pem, "/nowhere", "", "-----BEGIN "}

for option, f in pairs {
  certificate = identity, key = identity,
  trust = function() return one {pem, pem, {pem, pem}, "/tmp", {}, "no", 7} end,
  min_version = choice {"1.2", "1.0", "1.3", "2"},
  ciphers = choice {"ECDHE+AESGCM", "no"}, groups = choice {"X25519", "no"},
  ciphersuites = choice {"TLS_AES_128_GCM_SHA256", "no"},
  alpn = choice {{"a"}, {"b", "a"}, {}, {""}, {7}},
  keylog = choice {"/dev/null", "/nowhere/at/all"},
  ssl_ctx = function() return pool.object(one(pool.classes)) end
} do
  special["libevent.tls.Options." .. option] = f
end
for _, class in ipairs {"Bufferevent", "HttpConnection"} do
  special["libevent." .. class .. "Options.hostname"] = hostname
end
special["libevent.Bufferevent.starttls.hostname"] = hostname

local function options(type)
  local t = {}
  for _, field in ipairs(signatures.fields[type]) do
    if random(3) == 1 then
      t[field.name] = sensible(field.type, type .. "." .. field.name)
    end
  end
  return t
end

--- A word of those that an alias names, or several where it is a string, too.
local function word(alias)
  local list = {}
  for literal in alias:gmatch '"([^"]*)"' do list[#list + 1] = literal end
  return (alias:find "string" and words or choice)(list)()
end

local function alternative(type)
  local list = {}
  for t in type:gmatch "[^|]+" do list[#list + 1] = t end
  local t = one(list)
  return t:match '^"(.*)"$' or sensible(t)
end

--- A value of the type; 'name' is that of a parameter or field.
function sensible(type, field)
  local f = special[field] or generators[type]
  local alias = signatures.aliases[type]
  if f then return f() end
  if signatures.fields[type] then return options(type) end
  if pool.methods[type] then return pool.object(type) end
  if alias and alias:find '"' then return word(alias) end
  assert(alias or type:find "[|\"]", "no generator for the type " .. type)
  return alternative(alias or type)
end
values.sensible = sensible

--- A value of no particular type. No number is an open descriptor: a call
--- might close it.
function values.odd()
  local r = random(12)
  if r <= 4 then
    return pool.object(one(pool.classes))
  elseif r == 5 then
    return one {-1, 0.5, 1e300, 2^31, 2^53, math.maxinteger, math.mininteger,
                0/0, 1/0, -1/0, 1 << 31, (1 << 31) - 1}
  elseif r == 6 then
    return one {"", "read", "read|", "|", "read|bogus", "a\0b", "10", "0x10"}
  elseif r == 7 then
    return one {true, false, error, select, coroutine.create(error)}
  elseif r == 8 then
    return {[one {1, "flags", "read", "nothing", true, 0.5}] = values.odd()}
  elseif r == 9 then
    return {flags = trap(), [trap()] = trap()}
  elseif r == 10 then
    return callback()
  elseif r == 11 then
    return trap()
  end
end

-- ====}

return values
