-- STARTTLS, the other end: says nothing of worth before TLS has begun, and goes
-- away if the server does not offer it: somebody between them can take the
-- offer out of the conversation.
--   lua5.4 examples/starttls_client.lua words [port [folder]]
--                                       (2525, certificates)
-- Try it: start examples/starttls_server.lua first
local libevent = require "libevent"
local tls = require "libevent.tls"

local words = arg[1] or "some words"
local port = tonumber(arg[2] or 2525)
local context = tls.context {trust = (arg[3] or "certificates") .. "/ca.pem"}
local base = libevent.base()
local conn = base:bufferevent()

local function fail(...)
  io.stderr:write(...)
  io.stderr:write "\n"
  os.exit(1)
end

local function expect(answer, code)
  if answer:sub(1, 3) ~= code then fail("the server says: ", answer) end
  return answer
end

-- As many answers as there are steps: each waits for its turn.
local talk = coroutine.wrap(function(answer)
  expect(answer, "220")
  conn:write "EHLO localhost\r\n"
  answer = expect(coroutine.yield(), "250")
  if not answer:find "STARTTLS" then fail "the server offers no TLS" end
  conn:write "STARTTLS\r\n"
  expect(coroutine.yield(), "220")
  assert(conn:starttls(context, "localhost"))
  coroutine.yield()                              -- "connected", this time
  print(conn:tls().version)
  conn:write("NOTE ", words, "\r\n")
  io.write(expect(coroutine.yield(), "250"))
  conn:write "QUIT\r\n"
  expect(coroutine.yield(), "221")
  conn:close()
  return true
end)

local answer = ""
conn:setcb(function(c)
  for line in function() return c:input():readln("crlf", 512) end do
    answer = answer .. line .. "\n"
    if line:find "^%d%d%d " then                 -- the last of its lines
      local whole = answer
      answer = ""
      if talk(whole) then return end
    end
  end
end, nil, function(_, what, detail)
  if what ~= "connected" then
    fail(what == "eof" and "the server is gone" or detail)
  end
  if conn:tls() then talk() end
end)
conn:enable "read"
conn:set_timeouts(60, 60)
conn:connect_hostname("localhost", port)
base:dispatch()
