--- Scenarios in which a system call fails: the first one of its kind, the
--- second, and so on, until the scenario gets through. Run with
--- spec/c/faults.c preloaded, by spec/faults_spec.lua:
---   lua5.4 spec/faults.lua SCENARIO CALL ERRNO|short|none

local descriptors = require "spec.descriptors"
local lfs = require "lfs"
local libevent = require "libevent"

local name, call, kind = table.unpack(arg)
local faults = package.loadlib(os.getenv "FAULTS", "luaopen_faults")()
local errno = tonumber(kind)

--- What passes: the scenario must end as if nothing had happened.
local passes = ({[4] = true, [11] = true})[errno] or kind == "short"

local BYTES = ("0123456789abcdef"):rep(20000)

--- Runs the loop until 'done' says so, in turns that are counted: a loop that
--- spins is a fault.
local function run(base, done)
  local turns, late = 0, false
  local deadline = base:timer(function() late = true end):add(3)
  while not done() and not late do
    base:loop "once"
    turns = turns + 1
    if turns > 5000 then error "the loop spins" end
  end
  deadline:close()
  if late then error "the deadline has passed" end
end

--- What an event tells, as an error with the errno that it gives.
local function told(what, detail, number)
  return {what = what, detail = detail, errno = number}
end

--- The first event that is no plain end is the failure of a story.
local function note(story, what, ...)
  if what ~= "eof" then story.failure = story.failure or told(what, ...) end
end

--- Sends BYTES to an address, and returns what has come back when that is all,
--- or story.failure tells of an error, at whichever end.
local function exchange(base, address, story, options)
  local got, size, ended = {}, 0, false
  local client <close> = base:bufferevent(nil, options)
  client:setcb(function(c)
    local piece = c:read()
    got[#got + 1], size = piece, size + #piece
    if size == #BYTES then assert(c:shutdown()) end
  end, nil, function(_, what, ...)
    if what == "connected" then return end
    note(story, what, ...)
    ended = true
  end)
  assert(client:enable "read")
  assert(client:connect(address))
  client:write(BYTES)
  run(base, function() return ended or story.failure end)
  return table.concat(got)
end

--- Sends BYTES there and back; 'wrap' may put something on the connection, and
--- the two may speak TLS.
local function echo(base, wrap, safe, trusting)
  local server, story = nil, {}
  local listener <close> = assert(base:listener("127.0.0.1:0",
    function(_, conn)
      server = wrap and wrap(conn) or conn
      server:setcb(function(s) s:write(s:input()) end, nil,
        function(s, what, ...)
          if what == "connected" then return end
          note(story, what, ...)
          s:close_after_flush()
        end)
      assert(server:enable "read")
    end, {tls = safe}))
  listener:set_error_cb(function(_, message, number)
    assert(number == errno, message)
  end)
  local got = exchange(base, assert(listener:sockname()), story,
                       {tls = trusting, hostname = trusting and "localhost"})
  if server then server:close() end
  if story.failure then error(story.failure, 0) end
  assert(got == BYTES, "bytes are lost")
end

local function passon(source, sink) sink:add(source) end

local scenarios = {}

function scenarios.base()
  local base <close> = assert(libevent.base())
  local fired = false
  base:timer(function() fired = true end):add(0.001)
  run(base, function() return fired end)
end

function scenarios.echo(base)
  echo(base)
end

function scenarios.filter(base)
  echo(base, function(conn) return base:filter(conn, passon, passon) end)
end

local safe, trusting

--- By TLS, with handshakes that are full or resumed.
function scenarios.tls(base)
  echo(base, nil, safe, trusting)
end

--- By TLS that begins in the middle of a conversation.
function scenarios.starttls(base)
  local server, client, failure
  local up = 0
  local function onevent(bev, what, ...)
    if what == "connected" then up = up + 1 else
      failure = failure or told(what, ...)
      bev:close()
    end
  end
  local one, two = assert(libevent.socketpair())
  server, client = base:bufferevent(one), base:bufferevent(two)
  local got = {}
  server:setcb(nil, nil, onevent)
  client:setcb(nil, nil, onevent):write "in the clear"
  local function begin(bev, context)
    local ok, message, number = bev:starttls(context, "localhost")
    if not ok then failure = failure or told("error", message, number) end
  end
  server:setcb(function(s)
    got[#got + 1] = s:read()
    if table.concat(got) == "in the clear" then begin(s, safe) end
  end, nil, onevent)
  local ok, message, number = server:enable "read"
  if not ok then failure = told("error", message, number) end
  run(base, function() return failure or table.concat(got):find "clear" end)
  if not failure then begin(client, trusting) end
  if not failure then client:write(BYTES) end
  run(base, function() return failure or #table.concat(got) > #BYTES end)
  server:close()
  client:close()
  if failure then error(failure, 0) end
  assert(table.concat(got) == "in the clear" .. BYTES, "bytes are lost")
end

--- A bufferevent on a descriptor; if there is none, that and the other one are
--- closed.
local function secured(base, options, fd, other)
  local ok, bev = pcall(base.bufferevent, base, fd, options)
  if ok then return bev end
  libevent.closesocket(fd)
  if other then libevent.closesocket(other) end
  error(bev, 0)
end

--- A file by TLS: by a pipe.
function scenarios.tlsfile(base)
  local one, two = assert(libevent.socketpair())
  local from <close> = secured(base, {tls = safe}, one, two)
  local to <close> = secured(base, {tls = trusting, hostname = false}, two)
  local file <close> = assert(io.tmpfile())
  local got, size, failure = {}, 0, nil
  file:write(BYTES):flush()
  local function onevent(_, what, ...)
    if what ~= "connected" then failure = failure or told(what, ...) end
  end
  from:setcb(nil, nil, onevent)
  to:setcb(function(b)
    local piece = b:read()
    got[#got + 1], size = piece, size + #piece
  end, nil, onevent)
  assert(to:enable "read")
  assert(from:output():add_file(file))
  run(base, function() return size == #BYTES or failure end)
  if failure then error(failure, 0) end
  assert(table.concat(got) == BYTES, "bytes are lost")
end

function scenarios.unix(base)
  local path = os.tmpname()
  os.remove(path)
  local served
  local listener <close> = assert(base:listener("unix:" .. path,
    function(_, conn) served = conn conn:write "x" end))
  local client <close> = base:bufferevent()
  local got, failure
  client:setcb(function(c) got = c:read() end, nil, function(_, what, ...)
    if what ~= "connected" then failure = told(what, ...) end
  end)
  assert(client:enable "read")
  assert(client:connect(assert(listener:sockname())))
  run(base, function() return got or failure end)
  if served then served:close() end
  if failure then error(failure, 0) end
  assert(got == "x")
end

--- A file through a socket: by sendfile.
function scenarios.file(base)
  local one, two = assert(libevent.socketpair())
  local from <close> = base:bufferevent(one)
  local to <close> = base:bufferevent(two)
  local file <close> = assert(io.tmpfile())
  local got, size, failure = {}, 0, nil
  file:write(BYTES):flush()
  from:setcb(nil, nil, function(_, what, ...) failure = told(what, ...) end)
  to:setcb(function(t)
    local piece = t:read()
    got[#got + 1], size = piece, size + #piece
  end, nil, function(_, what, ...) failure = told(what, ...) end)
  assert(to:enable "read")
  assert(from:output():add_file(file))
  run(base, function() return size == #BYTES or failure end)
  if failure then error(failure, 0) end
  assert(table.concat(got) == BYTES, "bytes are lost")
end

--- A buffer and descriptors, without a loop.
function scenarios.buffer()
  local one, two = assert(libevent.socketpair())
  local buffer, got = libevent.buffer(BYTES:sub(1, 5000)), libevent.buffer()
  local ok, failure = pcall(function()
    for _ = 1, 20 do
      if #buffer == 0 then break end
      local n, message, number = buffer:write(one)
      if not n and not passes then
        error(told("error", message, number), 0)
      end
    end
    for _ = 1, 20 do
      if #got == 5000 then break end
      local n, message, number = got:read(two)
      if not n and not passes then
        error(told("error", message, number), 0)
      end
    end
    assert(tostring(got) == BYTES:sub(1, 5000), "bytes are lost")
  end)
  libevent.closesocket(one)
  libevent.closesocket(two)
  if not ok then error(failure, 0) end
end

function scenarios.waker(base)
  local woken = 0
  local waker <close> = assert(base:waker(function() woken = woken + 1 end))
  waker:wake()
  run(base, function() return woken == 1 end)
end

function scenarios.signal(base)
  local caught = false
  local signal <close> = assert(base:signal("USR1", function()
    caught = true
  end))
  assert(signal:add())
  local pid = lfs.symlinkattributes("/proc/self", "target")
  os.execute("kill -USR1 " .. pid)
  run(base, function() return caught end)
end

function scenarios.reinit(base)
  local fired = false
  assert(base:reinit())
  base:timer(function() fired = true end):add(0.001)
  run(base, function() return fired end)
end

function scenarios.relay(base)
  local target <close> = assert(base:listener("127.0.0.1:0",
    function(_, conn)
      conn:setcb(function(c) c:write(c:input()) end)
      assert(conn:enable "read")
    end))
  local story = {}
  local front <close> = assert(base:listener("127.0.0.1:0",
    function(_, conn)
      local other = base:bufferevent()
      libevent.relay(conn, other, function(_, _, ...) note(story, ...) end)
      if story.failure then return end
      local ok, message, number = other:connect(assert(target:sockname()))
      if not ok then
        story.failure = told("error", message, number)
        conn:close()
      end
    end))
  local got = exchange(base, assert(front:sockname()), story)
  if story.failure then error(story.failure, 0) end
  if #got < #BYTES then error(told "eof", 0) end    -- the target's own fault
end

--- BYTES to a server of HTTPS, and back, by two requests of a client.
function scenarios.httpstls(base)
  local failure, got, n = nil, nil, 0
  local server <close> = base:http {tls = safe}:set_gencb(function(req)
    local ok, message, number = req:send_reply(200, nil, req:input_buffer())
    if not ok then failure = failure or told("error", message, number) end
  end)
  local listener = assert(server:bind_socket "127.0.0.1:0")
  listener:set_error_cb(function(_, message, number)
    assert(number == errno, message)
  end)
  local port = tonumber(assert(listener:sockname()):match "%d+$")
  local conn <close> = base:http_connection("127.0.0.1", port, {tls = trusting})
  local function ask()
    conn:make_request("POST", "/", {body = BYTES}, function(req, message,
                                                            number)
      if not req then
        failure = failure or told("error", message, number)
      else
        n = n + 1
        got = req:body()
        if n == 1 then ask() end
      end
    end)
  end
  ask()
  run(base, function() return n == 2 or failure end)
  if failure then error(failure, 0) end
  assert(got == BYTES, "bytes are lost")
end

--- BYTES to a server of HTTP, and back.
function scenarios.http(base)
  local failure
  local server <close> = base:http():set_gencb(function(req)
    req:set_closecb(function(_, what, ...)
      if what ~= "eof" then failure = failure or told(what, ...) end
    end)
    local ok, message, number = req:send_reply(200, nil, req:input_buffer())
    if not ok then failure = failure or told("error", message, number) end
  end)
  local listener = assert(server:bind_socket "127.0.0.1:0")
  listener:set_error_cb(function(_, message, number)
    assert(number == errno, message)
  end)
  local got, size = {}, 0
  local client <close> = base:bufferevent()
  client:setcb(function(c)
    local piece = c:read()
    got[#got + 1], size = piece, size + #piece
  end, nil, function(_, what, ...)
    if what ~= "connected" then failure = failure or told(what, ...) end
  end)
  assert(client:enable "read")
  assert(client:connect(assert(listener:sockname())))
  client:write("POST / HTTP/1.1\r\nHost: some.test\r\nContent-Length: "
               .. #BYTES .. "\r\n\r\n", BYTES)
  run(base, function() return size > #BYTES or failure end)
  if failure then error(failure, 0) end
  assert(table.concat(got):sub(-#BYTES) == BYTES, "bytes are lost")
end

--- Are these the system's words for the fault?
local function names(message)
  return errno and message:find(faults.strerror(errno), 1, true)
         or errno == 12 and message:find "not enough memory"
end

--- Is that what may come of the fault? A connection may also end without a
--- word, or by a reset, when it was the other end that failed.
local function isclean(failure)
  if passes then return false end
  if type(failure) ~= "table" then return names(tostring(failure)) end
  return failure.errno == errno or names(tostring(failure.detail))
         or failure.what == "eof" or failure.errno == 104
         or failure.errno == 32 or kind == "none" and failure.errno == 5
         or name:find "tls" and failure.detail:find "alert"
end

--- One round: did the fault happen?
local function round(n)
  local before = #descriptors()
  local base = assert(libevent.base())
  faults.arm(call, errno or kind, n)
  local ok, failure = pcall(scenarios[name], base)
  local happened = faults.disarm()
  if not ok and not (happened and isclean(failure)) then
    error(("%s, call %d: %s"):format(call, n, type(failure) == "table"
      and table.concat({failure.what, tostring(failure.detail),
                        tostring(failure.errno)}, " ") or failure), 0)
  end
  local fired = false
  base:timer(function() fired = true end):add(0)
  run(base, function() return fired end)
  base:close()
  collectgarbage() collectgarbage()
  if #descriptors() ~= before then
    error(("%s, call %d: %d descriptors, not %d"):format(call, n,
          #descriptors(), before), 0)
  end
  return happened
end

if name:find "tls" then
  local secure = require "spec.selfsigned"
  safe, trusting = secure.contexts()
end
warn "@off"
libevent.set_log_callback(function() end)
round(1 << 30)                          -- whatever the process has only once
local n = 0
repeat n = n + 1 until not round(n)
print(n - 1)
