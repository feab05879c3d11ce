--- Servers that say what they are told to, for the specs of HTTP's clients.
---
---   local o = origin.start(base, function(request)
---     return "HTTP/1.1 204 None\r\n\r\n"
---   end)
---   base:http_connection("127.0.0.1", o.port)

local t = require "spec.helper"

local origin = {}

--- An answer with a body and its length; fields end with "\r\n".
function origin.answer(body, fields, status)
  return ("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s"):format(
    status or "200 OK", fields or "", #body, body)
end

--- Runs the loop until these requests are all done, which they say themselves.
function origin.await(base, ...)
  local list = {...}
  t.runtill(base, function()
    for _, r in ipairs(list) do
      if not r.done then return false end
    end
    return true
  end)
  return ...
end

--- What a head says of the body behind it: the number of its bytes.
local function lengthof(head)
  return tonumber(head:lower():match "\r\ncontent%-length: (%d+)" or 0)
end

--- A server on a free port. answer(request) is called for each whole request
--- with {head, body, line, n = its number on its connection, connection = the
--- number of that, conn = its bufferevent}, and returns bytes to send, or nil,
--- and what is to be done then: "close" after they are sent, or "vanish".
---
--- It keeps 'requests', all of them, and 'connections', how many there were;
--- rest() lets nothing of it wait in the loop any more.
function origin.start(base, answer)
  local o = {requests = {}, connections = 0}
  local conns = {}

  local function serve(conn, number)
    local text, n = "", 0
    conn:setcb(function()
      text = text .. conn:read()
      while true do
        local head, rest = text:match "^(.-\r\n\r\n)(.*)$"
        if not head or #rest < lengthof(head) then return end
        n = n + 1
        local request = {
          head = head, line = head:match "^[^\r]*", n = n, conn = conn,
          body = rest:sub(1, lengthof(head)), connection = number,
        }
        text = rest:sub(lengthof(head) + 1)
        o.requests[#o.requests + 1] = request
        local bytes, what = answer(request)
        if bytes then conn:write(bytes) end
        if what == "close" then return conn:close_after_flush() end
        if what == "vanish" then return conn:close() end
      end
    end, nil, function() conn:close() end)
    conn:enable "read"
  end

  o.listener = assert(base:listener("127.0.0.1:0", function(_, conn)
    o.connections = o.connections + 1
    conns[o.connections] = conn
    serve(conn, o.connections)
  end))
  function o.rest()
    o.listener:close()
    for _, conn in ipairs(conns) do
      if not t.isclosed(conn) then conn:disable "read" end
    end
  end
  o.address = o.listener:sockname()
  o.port = math.tointeger(o.address:match "%d+$")
  return o
end

--- One that answers everything with the same bytes.
function origin.always(base, bytes, what)
  return origin.start(base, function() return bytes, what end)
end

--- A port that takes no more connections: who connects waits. Returns it and
--- what keeps it so.
function origin.full(base)
  local listener = assert(base:listener("127.0.0.1:0", function() end,
                                        {backlog = 1}))
  listener:disable()
  local waiting = {listener}
  for i = 1, 3 do
    local bev = base:bufferevent():setcb(nil, nil, function() end)
    bev:connect(listener:sockname())
    waiting[i + 1] = bev
  end
  for _ = 1, 5 do base:loop "nonblock" end
  return math.tointeger(listener:sockname():match "%d+$"), waiting
end

--- A port that nothing listens on.
function origin.nobody(base)
  local listener = assert(base:listener("127.0.0.1:0", function() end))
  local port = math.tointeger(listener:sockname():match "%d+$")
  listener:close()
  return port
end

return origin
