-- TLS client: sends what is typed and prints what comes back, once it knows
-- that the server is the one that it asked for.
--   lua5.4 examples/tls_echo_client.lua [port [folder [host]]]
--                                       (9443, certificates, localhost)
-- Try it: start examples/tls_echo_server.lua, and type here; as 127.0.0.1 the
--   server is known, too, by another name of your machine it is refused
local libevent = require "libevent"
local tls = require "libevent.tls"

local port = tonumber(arg[1] or 9443)
local folder, host = arg[2] or "certificates", arg[3] or "localhost"

local function fail(...)
  io.stderr:write(...)
  io.stderr:write "\n"
  os.exit(1)
end

-- In the open a client trusts whom its system trusts: no option at all.
local context = tls.context {trust = folder .. "/ca.pem"}
local base = libevent.base {features = "fds"}            -- stdin may be a file
local server = base:bufferevent(nil, {tls = context})
local ended = false

-- Once at a time: the next lines are read when these have been sent.
local typed = base:event(io.stdin, "read", function()
  local count, message = server:output():read(io.stdin)
  if not count then fail("standard input: ", message) end
  if count == 0 then
    ended = true
    server:shutdown()                    -- the server answers what is left
  end
end)

io.stdout:setvbuf "no"
server:setcb(function()
  io.write(server:read())
end, function()
  typed:add()
end, function(_, what, detail)
  if what == "connected" then
    local session = server:tls()
    print(session.version .. " with " .. session.peer.subject)
    typed:add()
  elseif what == "eof" and ended then
    io.write(server:read())
    base:loopexit()
  else
    fail(host, ": ", what == "eof" and "the server is gone" or detail)
  end
end)
server:enable "read"
server:connect_hostname(host, port)
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
base:dispatch()
