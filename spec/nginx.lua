--- nginx, a server that is not ours, on the loopback.
---
---   local server = nginx("server { listen 127.0.0.1:PORT; root DIR; }")
---   t.write("data", server.dir .. "/file")
---   server:stop()

local lfs = require "lfs"
local process = require "spec.process"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local CONFIGURATION = [[
  daemon off;
  master_process off;
  error_log stderr error;
  pid pid;
  events {}
  http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    %s
  }
]]

local Server = {}
Server.__index = Server

function Server:stop()
  self.process:stop "TERM"
  os.execute("rm -r " .. self.dir)
end

--- Starts it with this in its block "http", where DIR is a directory of its
--- own, PORT a port, and 'words' says what others are. The sanitizers are not
--- its own.
local function nginx(http, words)
  local self = setmetatable({dir = process.folder(),
                             port = sockets.unused()}, Server)
  local all = {DIR = self.dir, PORT = self.port}
  for word, value in pairs(words or {}) do all[word] = value end
  t.write(CONFIGURATION:format(http):gsub("%u%u%u+", all),
          self.dir .. "/conf")
  self.process = process.launch(("env -u LD_PRELOAD PATH=\"$PATH:/usr/sbin\" "
    .. "nginx -p %s -c %s/conf"):format(self.dir, self.dir), "</dev/null")
  -- it writes its number when it listens
  assert(process.wait(function()
    return lfs.attributes(self.dir .. "/pid")
  end, 10), self.process:output())
  return self
end

return nginx
