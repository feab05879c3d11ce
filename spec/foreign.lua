--- Clients and servers of others', for the specs of libevent.socket: Debian's
--- lua-redis, LuaSocket's http, smtp and ftp, LuaSec's https, OpenResty's
--- memcached; and what they speak with.
---
---   local clients = foreign.load()              -- over tasks
---   local server = foreign.redis()              -- a process: server:stop()

local lfs = require "lfs"
local nginx = require "spec.nginx"
local process = require "spec.process"
local socket = require "socket"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local foreign = {}

-- {==== Servers ====

--- Until it answers on a port, or at a path.
local function listening(self)
  assert(process.wait(function()
    local sock = socket.connect("127.0.0.1", self.port)
    if sock then sock:close() end
    return sock
  end, 10), "it does not listen: " .. self.process:output())
  return self
end

local Server = {}
Server.__index = Server

--- Starts a command, which gets "%d" for a free port and "%s" for a directory
--- of its own. The sanitizers' libraries are not for programs of others'.
local function start(command)
  local self = setmetatable({dir = t.path(), port = sockets.unused()}, Server)
  assert(lfs.mkdir(self.dir))
  self.process = process.launch("env -u LD_PRELOAD " .. command:gsub("%%[sd]", {
    ["%s"] = self.dir, ["%d"] = math.tointeger(self.port),
  }))
  return listening(self)
end

function Server:stop()
  self.process:stop "TERM"
  os.execute("rm -r " .. self.dir)
end

--- Its path is server.dir .. "/redis".
function foreign.redis()
  return start("redis-server --bind 127.0.0.1 --port %d --save '' --dir %s "
               .. "--unixsocket %s/redis")
end

function foreign.memcached()
  return start "memcached -l 127.0.0.1 -p %d -U 0 -u $(id -un)"
end

local NGINX = [[
  server {
    listen 127.0.0.1:PORT;
    listen 127.0.0.1:SECURE ssl;
    ssl_certificate CERTIFICATE;
    ssl_certificate_key KEY;
    root DIR;
    location /echo { return 200 "$request_method $arg_x"; }
    location /moved { return 302 /echo?x=moved; }
    location /limited { limit_rate 100k; alias DIR/file; }
  }
]]

--- It serves "/file" of so many bytes; by server.secure with a certificate.
function foreign.nginx(own, size)
  local secure = sockets.unused()
  local server = nginx(NGINX, {SECURE = secure, CERTIFICATE = own.certificate,
                               KEY = own.key})
  server.secure = secure
  t.write(t.pattern(size), server.dir .. "/file")
  return server
end

--- The interpreter of Python that has a module.
local function python(module)
  for _, name in ipairs {"python3", "/usr/bin/python3"} do
    if os.execute(("%s -c 'import %s' 2>/dev/null"):format(name, module)) then
      return name
    end
  end
  error("Python has no module " .. module)
end

--- Mails are files in server.dir .. "/mail/new".
function foreign.smtp()
  return start(python "aiosmtpd" .. " -m aiosmtpd -n -l 127.0.0.1:%d "
               .. "-c aiosmtpd.handlers.Mailbox %s/mail")
end

--- Its files are in server.dir.
function foreign.ftp()
  return start(python "pyftpdlib" .. " -m pyftpdlib -i 127.0.0.1 -p %d -d %s "
               .. "-w")
end

-- ====}

-- {==== Clients ====

-- Debian has them where Lua 5.4 does not look.
local PATHS = ";/usr/share/lua/5.4/?.lua;/usr/share/lua/5.3/?.lua"
              .. ";/usr/share/lua/5.1/?.lua"

local NAMES = {"socket", "socket.core", "socket.unix", "socket.http",
               "socket.smtp", "socket.ftp", "socket.tp", "socket.url",
               "socket.headers", "ssl", "ssl.https"}

--- What OpenResty would be to its clients: sockets whose times are in
--- milliseconds, and some functions.
local function openresty(modules)
  local Sock = {}
  Sock.__index = Sock
  for _, name in ipairs {"connect", "send", "receive", "close"} do
    Sock[name] = function(self, ...)
      return self.sock[name](self.sock, ...)
    end
  end
  function Sock:settimeout(milliseconds)
    self.sock:settimeout(milliseconds / 1000, "t")
  end
  return {
    socket = {tcp = function()
      return setmetatable({sock = modules.socket.tcp()}, Sock)
    end},
    escape_uri = modules.url.escape, unescape_uri = modules.url.unescape,
  }
end

--- A module, by its name in Debian or elsewhere, that is run with these
--- globals, too.
local function run(name, globals, elsewhere)
  local paths = package.path .. PATHS
  local path = package.searchpath(name, paths)
               or assert(package.searchpath(elsewhere or name, paths))
  return assert(loadfile(path, "t", setmetatable(globals,
                                                 {__index = _G})))()
end

local before
local wrap, resume = coroutine.wrap, coroutine.resume

--- The clients, over libevent.socket, which stays in LuaSocket's place until
--- `unload`: some require it when they connect. What the specs have required
--- before is LuaSocket itself.
function foreign.load()
  before = {}
  for _, name in ipairs(NAMES) do before[name] = package.loaded[name] end
  local modules = {socket = require "libevent.socket".install()}
  modules.http, modules.smtp = require "socket.http", require "socket.smtp"
  modules.ftp, modules.url = require "socket.ftp", require "socket.url"
  modules.redis = run("redis", {})
  modules.memcached = run("nginx.memcached", {ngx = openresty(modules)},
                          "resty.memcached")
  return modules
end

function foreign.unload()
  for _, name in ipairs(NAMES) do package.loaded[name] = before[name] end
  package.preload["ssl"] = nil
  local coroutines = package.loaded.coroutine
  coroutines.wrap, coroutines.resume = wrap, resume
end

-- ====}

return foreign
