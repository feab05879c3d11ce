-- STARTTLS, as in SMTP: a conversation begins in the clear, and goes on with
-- TLS when the client asks for it. What counts is taken after that alone; and
-- what a stranger slips in behind "STARTTLS" is no command, but a handshake
-- that fails.
--   lua5.4 examples/starttls_server.lua [address [folder]]
--                                       (127.0.0.1:2525, certificates)
-- Try it: lua5.4 examples/certificates.lua, start this one, and then
--   lua5.4 examples/starttls_client.lua "some words", or
--   openssl s_client -starttls smtp -connect localhost:2525 \
--     -CAfile certificates/ca.pem
local libevent = require "libevent"
local tls = require "libevent.tls"

local folder = arg[2] or "certificates"
local context = tls.context {
  role = "server", certificate = folder .. "/localhost.pem",
}
local base = libevent.base()

-- Each returns something, but the one that ends it all.
local commands = {}

function commands.EHLO(conn)
  if conn:tls() then return conn:write "250 at your service\r\n" end
  return conn:write "250-at your service\r\n250 STARTTLS\r\n"
end

function commands.STARTTLS(conn)
  if conn:tls() then return conn:write "503 it has begun\r\n" end
  conn:write "220 go ahead\r\n"                  -- the last in the clear
  return assert(conn:starttls(context))
end

function commands.NOTE(conn, words)
  if not conn:tls() then return conn:write "530 STARTTLS first\r\n" end
  print("noted: " .. words)
  return conn:write "250 noted\r\n"
end

function commands.QUIT(conn)
  conn:write "221 bye\r\n"
end

local function answer(conn, line)
  local command, rest = line:match "^(%a+) ?(.*)$"
  local f = commands[(command or ""):upper()]
  if f then return f(conn, rest) end
  return conn:write "500 what?\r\n"
end

local function serve(_, conn, peer)
  conn:setcb(function(c)
    local line, toolong
    repeat
      line, toolong = c:input():readln("crlf", 512)      -- none after STARTTLS
      if toolong or line and not answer(c, line) then
        return c:close_after_flush()
      end
    until not line
  end, nil, function(c, what, detail)
    if what == "connected" then
      return print(peer .. ": " .. c:tls().version)
    end
    if what == "error" then print(peer .. ": " .. detail) end
    c:close()
  end)
  conn:set_timeouts(60, 60)
  conn:write "220 a server of notes\r\n"
  conn:enable "read"
end

io.stdout:setvbuf "line"
local address = arg[1] or "127.0.0.1:2525"
local listener, message = base:listener(address, serve)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("starttls server on " .. listener:sockname())
base:dispatch()
