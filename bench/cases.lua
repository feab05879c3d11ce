--- What is compared: servers, loads for them, and programs that run alone.

local BUILD = os.getenv "BUILD" or "build"
local LUA = os.getenv "LUA" or "lua5.4"

local function c(name) return BUILD .. "/bench/" .. name .. " " end

local function lua(file) return LUA .. " bench/" .. file .. " " end

local cases = {}

--- What others are measured by.
cases.epoll = "raw epoll, C"
cases.bufferevent = "libevent bufferevents, C"
cases.luv = "luv, try_write"
cases.strings = "lua-libevent, strings"
cases.buffers = "lua-libevent, moved buffers"
cases.tasks = "lua-libevent, tasks"
cases.byhand = "lua-libevent, coroutines by hand"
cases.openresty = "OpenResty, stream cosocket"
cases.cosocket = "nginx with Lua, cosocket"
cases.nginx = "nginx"
cases.nginxlua = "nginx with Lua"
cases.evhttp = "libevent evhttp, C"
cases.http = "lua-libevent"
cases.tls = "libevent bufferevents on OpenSSL, C"

--- What HTTP servers have to give: a directory with 'hello', five bytes, and
--- 'mebibyte'. They find the second one there; nginx has its own files in it.
cases.www = BUILD .. "/bench/www"

local function serves(command) return command .. cases.www .. " " end

--- Servers: a name, a command that takes the port, and what load.c has to be
--- told of them.
cases.servers = {
  {cases.epoll, c "epoll"},
  {"libevent events, C", c "events"},
  {cases.bufferevent, c "bufferevent"},
  {cases.strings, lua "servers/strings.lua"},
  {cases.buffers, lua "servers/buffers.lua"},
  {cases.tasks, lua "servers/tasks.lua"},
  {cases.byhand, lua "servers/coroutines.lua"},
  {"luv, write", lua "servers/luv.lua write"},
  {cases.luv, lua "servers/luv.lua try_write"},
  {"cqueues", lua "servers/cqueues.lua"},
  {"luaevent", lua "servers/luaevent.lua"},
  {"copas", lua "servers/copas.lua"},
  {"lua-eco", "eco bench/servers/eco.lua "},
  {cases.openresty, serves "bench/servers/nginx stream "},
  {cases.cosocket, serves "bench/servers/nginx upgrade ", "-u"},
  {"Node.js", "node bench/servers/node.js "},
}

--- Loads: a name for ONLY, a title, and the arguments of load.c; the shorter
--- ones warm a server up. A request of HTTP more makes another thing of a short
--- connection.
cases.loads = {
  {"echo64", "Echo, 64 bytes, 50 connections",
   "echo %s 50 1200 64", "echo %s 50 100 64"},
  {"echo1000", "Echo, 64 bytes, 1,000 connections",
   "echo %s 1000 80 64", "echo %s 1000 5 64"},
  {"echo16k", "Echo, 16 KiB, 50 connections",
   "echo %s 50 300 16384", "echo %s 50 20 16384"},
  {"echo16k1000", "Echo, 16 KiB, 1,000 connections",
   "echo %s 1000 80 16384", "echo %s 1000 5 16384"},
  {"pipeline", "Echo, 64 bytes, 50 connections, 16 messages under way in each",
   "pipeline %s 50 8000 64 16", "pipeline %s 50 200 64 16"},
  {"cycle", "Connect, echo 64 bytes, close; 50 at a time",
   "cycle %s 6000 64 50", "cycle %s 300 64 50", without = cases.cosocket},
}

cases.connections = 10000       -- idle ones

--- HTTP servers, as above.
cases.httpservers = {
  {cases.nginx, serves "bench/servers/nginx return "},
  {cases.nginxlua, serves "bench/servers/nginx lua "},
  {cases.evhttp, serves(c "evhttp")},
  {cases.http, serves(lua "servers/libevent_http.lua")},
  {"Node.js", serves "node bench/servers/http.js "},
  {"lua-http", serves(lua "servers/lua-http.lua")},
}

local function get(name, rest)
  return ("get %%s %s/%s %s"):format(cases.www, name, rest)
end

--- Their loads, for http_load.c. nginx serves files without a line of Lua.
cases.httploads = {
  {"http32", "HTTP, 5 bytes, 32 connections",
   get("hello", "32 1000 1"), get("hello", "32 200 1")},
  {"http16", "HTTP, 5 bytes, 32 connections, 16 requests in a packet",
   get("hello", "32 1000 16"), get("hello", "32 200 16")},
  {"http1m", "HTTP, a file of 1 MiB, 8 connections",
   get("mebibyte", "8 1000 1"), get("mebibyte", "8 200 1"),
   without = cases.nginxlua},
}

--- A certificate and its key, which the TLS servers have and their client
--- trusts.
cases.certificate = BUILD .. "/bench/certificate.pem"

local function shows(command) return command .. cases.certificate .. " " end

--- TLS servers, as above.
cases.tlsservers = {
  {cases.tls, shows(c "tls_bufferevent")},
  {cases.strings, shows(lua "servers/tls_strings.lua")},
  {cases.buffers, shows(lua "servers/tls_buffers.lua")},
  {"Node.js", shows "node bench/servers/tls.js "},
}

local function trusting(mode, rest)
  return ("%s %%s %s %s"):format(mode, cases.certificate, rest)
end

--- Their loads, for tls_load.c. Strings or buffers: a handshake has neither.
cases.tlsloads = {
  {"tls64", "TLS echo, 64 bytes, 50 connections",
   trusting("echo", "50 1200 64"), trusting("echo", "50 100 64")},
  {"tls16k", "TLS echo, 16 KiB, 50 connections",
   trusting("echo", "50 300 16384"), trusting("echo", "50 20 16384")},
  {"tlsfull", "TLS handshakes, full ones; 50 at a time",
   trusting("full", "2000 50"), trusting("full", "200 50"),
   without = cases.buffers},
  {"tlsresumed", "TLS handshakes, resumed sessions; 50 at a time",
   trusting("resumed", "3000 50"), trusting("resumed", "300 50"),
   without = cases.buffers},
}

--- What tasks are made of, and those of this library.
cases.coroutines = "Lua's coroutines, resumed by hand"
cases.join = "lua-libevent, join"
cases.sleep = "lua-libevent, co.sleep"

local function task(file) return lua("tasks/" .. file .. ".lua") end

local ecotask = "eco bench/tasks/eco.lua "

--- Those that wait for their turn until they are joined, and all of them:
--- lua-eco runs one at once until it waits, and these do not.
local later = {
  {cases.coroutines, task "lua" .. "spawn"},
  {cases.join, task "lua-libevent" .. "join"},
  {"lua-libevent, wait group", task "lua-libevent" .. "waitgroup"},
  {"cqueues, one condition", task "cqueues" .. "condition"},
  {"cqueues, promises", task "cqueues" .. "promise"},
  {"copas, wakeup", task "copas" .. "wakeup"},
  {"copas, futures", task "copas" .. "future"},
}
local joined = table.move(later, 1, #later, 1, {})
joined[#joined + 1] = {"lua-eco, wait group", ecotask .. "waitgroup"}

--- Programs that run alone: a name for ONLY, a title, what is counted and how
--- many there are; and programs, by name and command: the first is what the
--- others are measured by. With "0" for the numbers a program has nothing to
--- do. Those that have 'bytes' tell their most memory.
cases.programs = {
  {"timers", "100,000 one-shot timers, made, fired and dropped",
   "timer", 100000, "100000", {
     {"libevent, C", c "timers" .. "new"},
     {"libevent, C, event_base_once", c "timers" .. "once"},
     {"lua-libevent, base:timer", lua "timers/lua-libevent.lua" .. "timer"},
     {"lua-libevent, base:once", lua "timers/lua-libevent.lua" .. "once"},
     {"luv", lua "timers/luv.lua"},
     {"luaevent", lua "timers/luaevent.lua"},
     {"cqueues", lua "timers/cqueues.lua"},
   }},
  {"dispatch", "1,000,000 callbacks of events on 100 readable descriptors",
   "callback", 1000000, "100 1000000", {
     {"libevent, C", c "dispatch"},
     {"lua-libevent", lua "dispatch/lua-libevent.lua"},
     {"luv", lua "dispatch/luv.lua"},
     {"luaevent", lua "dispatch/luaevent.lua"},
     {"cqueues", lua "dispatch/cqueues.lua"},
   }},
  {"taskjoin", "1,000,000 tasks spawned and joined, 1,000 at a time",
   "task", 1000000, "1000000 1000", joined},
  {"taskmillion", "1,000,000 tasks spawned, then joined",
   "task", 1000000, "1000000 1000000", later, bytes = true},
  {"tasksleep", "100,000 tasks that sleep at once",
   "task", 100000, "100000", {
     {cases.coroutines, task "lua" .. "sleep"},
     {cases.sleep, task "lua-libevent" .. "sleep"},
     {"cqueues", task "cqueues" .. "sleep"},
     {"copas", task "copas" .. "sleep"},
     {"lua-eco", ecotask .. "sleep"},
   }, bytes = true},
}

return cases
