--- What the programs of HTTP have in common: a base, its turns, and sockets of
--- others at both ends of it.

local libevent = require "libevent"
local socket = require "socket"

local random = math.random
local DEADLINE = 20             -- seconds for whatever must come

local turns = {
  base = libevent.base(),
  MARK = "an error of the script's",    -- what callbacks may raise
  seen = setmetatable({}, {__mode = "k"})         -- requests and connections
}

local wrong                     -- what no callback should have raised

turns.base:set_error_cb(function(err)
  local expected = tostring(err):sub(1, #turns.MARK) == turns.MARK
  if not expected then wrong = wrong or err end
end)

--- One turn of the loop; false if nothing is left that it could wait for.
function turns.turn(how)
  local more = turns.base:loop(how or "nonblock")
  if wrong then error(wrong, 0) end
  return more
end

--- Turns of the loop until it is so.
function turns.await(what, f)
  local late = socket.gettime() + DEADLINE
  while not f() do
    if socket.gettime() > late then
      error(("never: %s\n%s"):format(what, turns.base:dump_events()))
    end
    collectgarbage "step"
    turns.turn()
  end
end

function turns.soon(f)
  turns.base:timer(f):add(random(0, 5) / 1000)
end

-- {==== Sockets ====

function turns.nonblocking(s)
  s:settimeout(0)
  s:setoption("tcp-nodelay", true)
  return s
end

function turns.connect(port)
  local s = socket.tcp4()
  s:settimeout(DEADLINE)
  assert(s:connect("127.0.0.1", port))
  return turns.nonblocking(s)
end

function turns.reset(s)
  s:setoption("linger", {on = true, timeout = 0})
  s:close()
end

--- Sends the next piece, or what is left of it; true if the peer is gone.
function turns.sendpiece(c)
  local piece = c.pieces[c.at]
  local sent, err, part = c.socket:send(piece)
  if not sent and err ~= "timeout" then return true end
  if sent or part == #piece then
    c.at = c.at + 1
  elseif part > 0 then
    c.pieces[c.at] = piece:sub(part + 1)
  end
end

-- ====}

return turns
