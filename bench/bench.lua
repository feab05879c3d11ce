--- Compares servers, timers, events and tasks of this library with others'.
---   lua5.4 bench/bench.lua [ROUNDS [ONLY]]      (`make bench` builds first)
--- All of a case take turns, ROUNDS times. What it finds is printed. Without
--- ONLY, a Lua pattern that names cases, it also goes into bench/RESULTS.md and
--- bench/plot.svg. BUILD is where the programs are, LUA the interpreter.

local cases = require "bench.cases"
local certificate = require "bench.certificate"
local measure = require "bench.measure"
local plot = require "bench.plot"
local process = require "bench.process"
local report = require "bench.report"

local ROUNDS = assert(math.tointeger(arg[1] or 7), "how many rounds?")
local ONLY = arg[2] ~= "" and arg[2] or nil

local function say(...) io.stderr:write(string.format(...), "\n") end

local function wanted(key) return not ONLY or key:find(ONLY) end

--- One round more for an entry, unless one has failed before.
local function measured(entry, once)
  if entry.why then return end
  local figures, why = once(entry.command, entry.options)
  entry.rounds[#entry.rounds + 1] = figures
  entry.why = why
end

--- Moves the entries of which a round has failed to 'missing'.
local function sorted(result)
  for i = #result, 1, -1 do
    if result[i].why then
      table.insert(result.missing, 1, table.remove(result, i))
    end
  end
  return result
end

--- 'once' for each of the list, in turns: an entry for each, with the figures
--- of its rounds. 'most' rounds are enough.
local function turns(key, title, list, once, most)
  local result = {key = key, title = title, missing = {}}
  for i, item in ipairs(list) do
    result[i] = {name = item[1], command = item[2], options = item[3],
                 rounds = {}}
  end
  local n = math.min(ROUNDS, most or ROUNDS)
  for round = 1, n do
    say("%s: round %d of %d", title, round, n)
    for _, entry in ipairs(result) do measured(entry, once) end
  end
  return sorted(result)
end

local results = {
  programs = {}, rounds = ROUNDS, missing = {},
  busy = process.slurp "/proc/loadavg":match "%S+",     -- by others, so far
}

local known = {}                        -- lists of servers that have been tried

--- The servers of a list that start here; why the others do not is a result.
local function here(list)
  if known[list] then return known[list] end
  local found = {}
  for _, server in ipairs(list) do
    local ok, why = measure.available(server[2])
    if ok then
      found[#found + 1] = server
    else
      table.insert(results.missing, {name = server[1], why = why})
      say("%s is left out: %s", server[1], why)
    end
  end
  known[list] = found
  return found
end

--- All servers but one.
local function without(name, list)
  local rest = {}
  for _, server in ipairs(list) do
    if server[1] ~= name then rest[#rest + 1] = server end
  end
  return rest
end

--- Loads by a client, load, http_load or tls_load, for each of the servers.
local function loads(list, servers, program)
  local found = {}
  for _, case in ipairs(list) do
    local key, title, load, warmup = table.unpack(case)
    if wanted(key) then
      local some = without(case.without, here(servers))
      found[#found + 1] = turns(key, title, some, function(command, options)
        return measure.load(command, program, load, warmup, options)
      end)
    end
  end
  return found
end

local function write(path, content)
  local file <close> = assert(io.open(path, "w"))
  assert(file:write(content))
end

--- So many lines of 16 bytes, no two of them alike.
local function numbered(n)
  local lines = {}
  for i = 1, n do lines[i] = ("%015d\n"):format(i) end
  return table.concat(lines)
end

assert(os.execute("mkdir -p " .. cases.www))
write(cases.www .. "/hello", "hello")
write(cases.www .. "/mebibyte", numbered(65536))
certificate(cases.certificate)

results.loads = loads(cases.loads, cases.servers, "load")
results.http = loads(cases.httploads, cases.httpservers, "http_load")
results.tls = loads(cases.tlsloads, cases.tlsservers, "tls_load")

for _, case in ipairs(cases.programs) do
  local key, title, unit, n, numbers, list = table.unpack(case)
  if wanted(key) then
    local result = turns(key, title, list, function(command)
      return measure.program(command, numbers, n)
    end)
    result.unit, result.bytes = unit, case.bytes
    table.insert(results.programs, result)
  end
end

if wanted "idle" then
  results.idle = turns("idle", "Memory of an idle connection",
    here(cases.servers), function(command, options)
      return measure.idle(command, cases.connections, options)
    end, 5)
end

if wanted "httpidle" then
  results.httpidle = turns("httpidle", "Memory of an idle HTTP connection",
    here(cases.httpservers), function(command)
      return measure.keep(command, cases.www .. "/hello", cases.connections)
    end, 5)
end

local text = report(results)
io.stdout:write(text)
if not ONLY then
  write("bench/RESULTS.md", text)
  write("bench/plot.svg", plot(results))
end
