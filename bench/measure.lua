--- One round of one thing: a server under load, a server that holds idle
--- connections, a program that runs alone.

local process = require "bench.process"

local BUILD = os.getenv "BUILD" or "build"

local LIMIT, SIGXCPU = 30, 24   -- seconds of CPU of a program; Linux's number

local measure = {}

--- The command of a client: load, http_load or tls_load, perhaps with an option
--- more.
local function client(program, options, load, ...)
  return ("%s/%s -t 60 %s "):format(BUILD, program, options or "")
    .. load:format(...)
end

local port = 20000 + os.time() % 8000

--- What a program says when it fails, in a few words.
local function brief(text)
  local module = text:match "module '([%w_.]+)' not found"
  if module then return ("no module `%s` here"):format(module) end
  local command = text:match "failed to execute '?([%w_.-]+)'?: No such file"
    or text:match "exec: ([%w_.-]+): not found"
  if command then return ("no command `%s` here"):format(command) end
  return text:match "[^\n]+" or "ends without a word"
end

--- A server that is ready, and its address. A port may be somebody else's: the
--- next one is tried.
local function start(command)
  local line
  for _ = 1, 3 do
    port = port + 1
    local p = process.start(command .. " " .. port, "server")
    line = p.pipe:read "l"
    if line == "ready" then return p, "127.0.0.1:" .. port end
    process.stop(p)
  end
  return nil, brief(line or "")
end

--- True, or why a server cannot be compared here.
function measure.available(command)
  local p <close>, why = start(command)
  return p ~= nil, why
end

--- What a client has printed, as figures: how many messages, cycles, requests
--- or handshakes, how many a second, and round trips in microseconds; of HTTP
--- also the megabytes a second, and the bytes of an answer before its body.
local function figures(text)
  local n, seconds = text:match "(%d+) %a+ of %d+ %a+.-, ([%d.]+) s,"
  return {
    n = tonumber(n), rate = n / seconds,
    p50 = tonumber(text:match "p50 (%d+)"),
    p99 = tonumber(text:match "p99 (%d+)"),
    p999 = tonumber(text:match "p99%.9 (%d+)"),
    mb = tonumber(text:match "([%d.]+) MB/s"),
    head = tonumber(text:match "heads of (%d+)"),
  }
end

--- A server under load: figures(), and 'cpu', the server's microseconds for
--- each message; or nil and what went wrong.
function measure.load(command, program, load, warmup, options)
  local p <close>, address = start(command)
  if not p then return nil, address end
  process.run(client(program, options, warmup, address), "load")
  local before = process.cpu(p)
  local text, why = process.run(client(program, options, load, address), "load")
  local used = process.cpu(p) - before
  if not text then return nil, brief(why) end
  local round = figures(text)
  round.cpu = used / round.n * 1e6
  return round
end

--- Waits until a server holds so many connections; one that has ended has no
--- descriptors.
local function held(p, connections)
  for _ = 1, 200 do
    local n = process.descriptors(p)
    if n >= connections then return true end
    if n == 0 then return end
    process.sleep(0.05)
  end
end

--- A server that holds connections: 'bytes' for each of them; or nil and what
--- went wrong.
function measure.idle(command, connections, options)
  local p <close>, address = start(command)
  if not p then return nil, address end
  process.sleep(0.1)
  local before = process.rss(p)
  local _ <close> = process.start(client("load", options, "idle %s %d 60",
    address, connections), "load")
  if not held(p, connections) then return nil, "does not take so many" end
  process.sleep(0.2)
  return {bytes = (process.rss(p) - before) / connections}
end

--- The same of an HTTP server, which has answered once on each connection.
function measure.keep(command, file, connections)
  local p <close>, address = start(command)
  if not p then return nil, address end
  process.sleep(0.1)
  local before = process.rss(p)
  local load <close> = process.start(client("http_load", nil,
    "keep %s %s %d 60000", address, file, connections), "load")
  local line = load.pipe:read "l" or ""
  if not line:find "^keep:" then return nil, brief(line) end
  process.sleep(0.2)
  return {bytes = (process.rss(p) - before) / connections}
end

--- What a program takes: its CPU time, and the bytes of its memory if it tells
--- them; or nil and what went wrong.
local function taken(command, numbers)
  local text, cpu, signal = process.run(command .. " " .. numbers, "server",
    LIMIT)
  if signal == SIGXCPU then
    return nil, ("not done after %d seconds of CPU"):format(LIMIT)
  elseif not text then
    return nil, brief(cpu)
  end
  return {cpu = cpu, bytes = (text:match "peak (%d+)" or 0) * 1024}
end

--- A program that runs alone: 'cpu' in microseconds and 'bytes' of memory for
--- each of n things, less what it takes with nothing to do; or nil and what
--- went wrong.
function measure.program(command, numbers, n)
  local idle, why = taken(command, (numbers:gsub("%d+", "0")))
  if not idle then return nil, why end
  local busy
  busy, why = taken(command, numbers)
  if not busy then return nil, why end
  return {cpu = (busy.cpu - idle.cpu) / n * 1e6,
          bytes = (busy.bytes - idle.bytes) / n}
end

return measure
