--- What was measured, as Markdown.

local libevent = require "libevent"
local cases = require "bench.cases"
local process = require "bench.process"
local stats = require "bench.stats"

local LUA = os.getenv "LUA" or "lua5.4"

-- {==== Pieces ====

local lines

local function put(...) lines[#lines + 1] = string.format(...) end

--- A table: numbers to the right, the names before them to the left.
local function puttable(header, rows, names)
  put("| %s |", table.concat(header, " | "))
  put("|%s%s", ("---|"):rep(names or 1), ("--:|"):rep(#header - (names or 1)))
  for _, row in ipairs(rows) do put("| %s |", table.concat(row, " | ")) end
  put ""
end

--- 1234567.8 as "1,234,568".
local function whole(x)
  local text = ("%.0f"):format(x)
  return (text:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local function fine(x) return ("%.2f"):format(x) end

--- Microseconds: of less than one, a digit more.
local function micro(x) return (x < 1 and "%.3f" or "%.2f"):format(x) end

local function percent(x) return ("%.0f %%"):format(x * 100) end

local function find(result, name)
  for _, entry in ipairs(result or {}) do
    if entry.name == name then return entry end
  end
end

--- How the best of one compares with the best of another: "1.23", or "-" if
--- one of them is not there.
local function ratio(result, name, other, key, best)
  local a, b = find(result, name), find(result, other)
  if not (a and b) then return "-" end
  return fine(stats.summary(a.rounds, key, best).best
              / stats.summary(b.rounds, key, best).best)
end

local references = {cases.epoll, cases.bufferevent, cases.luv}
local httpreferences = {cases.nginx, cases.nginxlua, cases.evhttp}
local tlsreferences = {cases.tls}

--- The heads of columns of comparisons.
local short = {
  [cases.epoll] = "epoll", [cases.bufferevent] = "bufferevents",
  [cases.luv] = "luv try_write", [cases.evhttp] = "evhttp",
  [cases.tls] = "bufferevents", [cases.coroutines] = "coroutines",
}

--- A header: some cells, and one for each reference.
local function headers(cells, refs)
  for _, name in ipairs(refs) do
    cells[#cells + 1] = "÷ " .. (short[name] or name)
  end
  return cells
end

--- A row: a name, best, median and spread of a figure, and what it is compared
--- with each reference.
local function row(result, entry, key, best, format, refs)
  local s = stats.summary(entry.rounds, key, best)
  local cells = {entry.name, format(s.best), format(s.median),
                 percent(s.spread)}
  for _, reference in ipairs(refs) do
    cells[#cells + 1] = ratio(result, entry.name, reference, key, best)
  end
  return cells
end

local function rows(result, key, best, format, refs)
  local list = {}
  for i, entry in ipairs(result) do
    list[i] = row(result, entry, key, best, format, refs)
  end
  return list
end

local function putmissing(list)
  for _, item in ipairs(list) do
    put("Left out: %s (%s).\n", item.name, item.why)
  end
end

-- ====}

-- {==== The machine ====

local function processor()
  return process.slurp "/proc/cpuinfo":match "model name%s*:%s*([^\n]*)"
    or "a processor without a name"
end

--- A command's first line, or nil.
local function told(command)
  return process.output(command .. " 2>/dev/null"):match "[^\n]+"
end

--- Of the rivals that the system may have no package of.
local function others()
  local copas = told(LUA .. [[ -e 'print(require "bench.copas"._VERSION)']])
  local eco = process.output "eco -v 2>&1":match "Lua%-eco [%w.]+"
  return ("%s, %s, Node.js %s"):format(
    copas or "no copas",
    eco or "no lua-eco", told "node --version" or "is not here")
end

local function placed()
  if not process.core "load" then return ", which server and load share" end
  return (": server on core %d, load on core %d"):format(process.core "server",
    process.core "load")
end

--- Of the rivals, by the system's packages where it knows them.
local function versions()
  local packages = process.output("dpkg-query -W -f '${Package} ${Version}\n' "
    .. "lua-luv lua-cqueues lua-event lua-copas lua-socket nginx "
    .. "libnginx-mod-http-lua lua-http 2>/dev/null")
  local list = {}
  for line in packages:gmatch "[^\n]+" do list[#list + 1] = line end
  return #list > 0 and table.concat(list, ", ") or "not known here"
end

local function putmachine(results)
  put("- %s, %s cores%s; Linux %s", processor(), told "nproc", placed(),
    told "uname -rm")
  put("- this library at %s, libevent %s, %s",
    told "git describe --always --dirty" or "no commit", libevent.version(),
    told(LUA .. " -v"):match "^Lua %S+")
  put("- %s; %s", versions(), others())
  put("- %s; load average %s", os.date "!%Y-%m-%d %H:%M UTC", results.busy)
  put ""
end

-- ====}

-- {==== Sections ====

--- What is read first: a figure, what it is compared with, and both servers of
--- this library.
local summary = {
  {"echo64", "64 B, 50 connections: CPU", "cpu", math.min, references},
  {"echo1000", "64 B, 1,000 connections: messages/s", "rate", math.max,
   {cases.luv}},
  {"echo16k", "16 KiB, 50 connections: messages/s", "rate", math.max,
   {cases.epoll, cases.bufferevent}},
  {"pipeline", "64 B, 16 under way: CPU", "cpu", math.min,
   {cases.epoll, cases.bufferevent}},
  {"cycle", "connect, echo, close: CPU", "cpu", math.min, {cases.bufferevent}},
  {"cycle", "connect, echo, close: cycles/s", "rate", math.max,
   {cases.bufferevent}},
  {"idle", "memory of an idle connection", "bytes", math.min,
   {cases.bufferevent}},
}

--- The same of HTTP: a figure, what it is compared with, and the goal.
local httpsummary = {
  {"http32", "5 B, 32 connections: CPU", "cpu", math.min, cases.nginx,
   "≤ 1.00"},
  {"http32", "5 B, 32 connections: CPU", "cpu", math.min, cases.nginxlua,
   "< 1.00"},
  {"http32", "5 B, 32 connections: CPU", "cpu", math.min, cases.evhttp, ""},
  {"http16", "5 B, 16 in a packet: requests/s", "rate", math.max, cases.nginx,
   "≥ 5.00"},
  {"http1m", "file of 1 MiB: throughput", "rate", math.max, cases.nginx,
   "≥ 0.90"},
  {"httpidle", "memory of an idle connection", "bytes", math.min, cases.nginx,
   ""},
  {"httpidle", "memory of an idle connection", "bytes", math.min, cases.evhttp,
   ""},
}

local function puthttpsummary(bykey)
  local list = {}
  for _, line in ipairs(httpsummary) do
    local key, title, figure, best, reference, goal = table.unpack(line)
    if bykey[key] then
      list[#list + 1] = {title, reference,
        ratio(bykey[key], cases.http, reference, figure, best), goal}
    end
  end
  if #list == 0 then return end
  puttable({"HTTP", "compared with", "this library", "goal"}, list, 2)
end

--- The same of TLS, for both servers of this library.
local tlssummary = {
  {"tls64", "64 B, 50 connections: messages/s", "rate", math.max, "≥ 0.95"},
  {"tls64", "64 B, 50 connections: CPU", "cpu", math.min, "≤ 1.05"},
  {"tls16k", "16 KiB, 50 connections: messages/s", "rate", math.max, "≥ 0.95"},
  {"tls16k", "16 KiB, 50 connections: CPU", "cpu", math.min, "≤ 1.05"},
  {"tlsfull", "full handshakes/s", "rate", math.max, "≥ 0.95"},
  {"tlsfull", "full handshakes: CPU", "cpu", math.min, "≤ 1.05"},
  {"tlsresumed", "resumed handshakes/s", "rate", math.max, "≥ 0.95"},
  {"tlsresumed", "resumed handshakes: CPU", "cpu", math.min, "≤ 1.05"},
}

local function puttlssummary(bykey)
  local list = {}
  for _, line in ipairs(tlssummary) do
    local key, title, figure, best, goal = table.unpack(line)
    if bykey[key] then
      list[#list + 1] = {title, cases.tls,
        ratio(bykey[key], cases.strings, cases.tls, figure, best),
        ratio(bykey[key], cases.buffers, cases.tls, figure, best), goal}
    end
  end
  if #list == 0 then return end
  puttable({"TLS", "compared with", "strings", "moved buffers", "goal"}, list,
           2)
end

--- The same of straight lines, by what tasks are compared with. They are to be
--- above all others, and near callbacks.
local lineservers = {
  {cases.strings, "callbacks"}, {"cqueues"}, {"copas"}, {"lua-eco"},
  {cases.openresty, "OpenResty, stream"}, {cases.cosocket, "nginx with Lua"},
  {cases.byhand, "by hand"},
}

local linesummary = {
  {"echo64", "64 B, 50 connections"}, {"echo1000", "64 B, 1,000 connections"},
  {"echo16k", "16 KiB, 50 connections"},
  {"echo16k1000", "16 KiB, 1,000 connections"},
}

local function putlines(bykey, what, figure, best, goal)
  local header, list = {"straight lines: " .. what}, {}
  for i, server in ipairs(lineservers) do
    header[i + 1] = "÷ " .. (server[2] or server[1])
  end
  for _, line in ipairs(linesummary) do
    local cells = {line[2]}
    for _, server in ipairs(lineservers) do
      cells[#cells + 1] = ratio(bykey[line[1]], cases.tasks, server[1], figure,
                                best)
    end
    if bykey[line[1]] then list[#list + 1] = cells end
  end
  if #list == 0 then return end
  if goal then list[#list + 1] = goal end
  puttable(header, list)
end

--- The same of tasks: a case, and which of ours. cqueues and copas are those to
--- be beaten.
local tasksummary = {
  {"taskjoin", cases.join}, {"taskmillion", cases.join},
  {"tasksleep", cases.sleep},
}

local function puttask(list, result, own, name)
  list[#list + 1] = {
    result.title, name, ratio(result, own, name, "cpu", math.min),
    result.bytes and ratio(result, own, name, "bytes", math.min) or "",
    (name:find "^cqueues" or name:find "^copas") and "< 1.00" or "",
  }
end

local function puttasks(bykey)
  local list = {}
  for _, line in ipairs(tasksummary) do
    local result = bykey[line[1]] or {}
    for _, entry in ipairs(result) do
      if not entry.name:find "^lua%-libevent" then
        puttask(list, result, line[2], entry.name)
      end
    end
  end
  if #list == 0 then return end
  puttable({"tasks", "compared with", "CPU", "bytes", "goal"}, list, 2)
end

local function putprograms(programs)
  local list = {}
  for _, result in ipairs(programs) do
    for _, entry in ipairs(result) do
      if find(result, "libevent, C") and entry.name:find "^lua%-libevent" then
        list[#list + 1] = {result.title, entry.name, "libevent, C",
          ratio(result, entry.name, "libevent, C", "cpu", math.min)}
      end
    end
  end
  if #list == 0 then return end
  puttable({"CPU of programs that run alone", "of", "compared with", "ratio"},
           list, 3)
end

local function putsummary(bykey)
  local list = {}
  for _, line in ipairs(summary) do
    local key, title, figure, best, refs = table.unpack(line)
    for _, reference in ipairs(bykey[key] and refs or {}) do
      list[#list + 1] = {title, reference,
        ratio(bykey[key], cases.strings, reference, figure, best),
        ratio(bykey[key], cases.buffers, reference, figure, best)}
    end
  end
  if #list == 0 then return end
  puttable({"servers", "compared with", "strings", "moved buffers"}, list,
           2)
end

--- Of the round with the highest rate, more figures for the end of each row.
local function putmore(result, header, list, names, keys)
  for i, entry in ipairs(result) do
    local top = stats.top(entry.rounds, "rate")
    for _, key in ipairs(keys) do list[i][#list[i] + 1] = top[key] end
  end
  table.move(names, 1, #names, #header + 1, header)
end

local trips, tripkeys = {"p50 µs", "p99", "p99.9"}, {"p50", "p99", "p999"}

--- A load, by the name of what is counted and with more than the usual figures.
local function putload(result, unit, refs, names, keys)
  put("## %s\n", result.title)
  puttable(headers({"server CPU, µs/" .. unit, "best", "median", "spread"},
                   refs),
           rows(result, "cpu", math.min, micro, refs))
  local header = headers({unit .. "s/s", "best", "median", "spread"}, refs)
  local list = rows(result, "rate", math.max, whole, refs)
  if names then putmore(result, header, list, names, keys) end
  if unit ~= "cycle" then putmore(result, header, list, trips, tripkeys) end
  puttable(header, list)
  putmissing(result.missing)
end

local function putprogram(result)
  local first = result[1] and {result[1].name} or {}
  put("## %s\n", result.title)
  puttable(headers({"CPU, µs/" .. result.unit, "best", "median", "spread"},
                   first),
           rows(result, "cpu", math.min, micro, first))
  if result.bytes then
    puttable(headers({"bytes/" .. result.unit, "best", "median", "spread"},
                     first),
             rows(result, "bytes", math.min, whole, first))
  end
  putmissing(result.missing)
end

local function putidle(result, refs)
  put("## %s\n", result.title)
  puttable(headers({"bytes", "best", "median", "spread"}, refs),
           rows(result, "bytes", math.min, whole, refs))
  putmissing(result.missing)
end

-- ====}

local about = [[
# What `make bench` found

Figures of one machine in one run, `ROUNDS=%d`: they compare programs with each
other, here, and say little by themselves. All of a case take turns, so that
what else the machine does meets them alike; *best* is the best round, and
*spread* how much more the highest figure is than the lowest one: differences
below it mean nothing. Ratios are of best to best. [README.md](README.md) says
what each case does, and `servers/`, `timers/`, `dispatch/` and `tasks/` are the
programs.
]]

local function report(results)
  lines = {}
  put("%s", about:format(results.rounds))
  putmachine(results)
  local bykey = {idle = results.idle, httpidle = results.httpidle}
  for _, result in ipairs(results.loads) do bykey[result.key] = result end
  for _, result in ipairs(results.http) do bykey[result.key] = result end
  for _, result in ipairs(results.tls) do bykey[result.key] = result end
  for _, result in ipairs(results.programs) do bykey[result.key] = result end
  put "## In short\n"
  put "This library's figure divided by the other one's:\n"
  putsummary(bykey)
  putlines(bykey, "messages/s", "rate", math.max,
           {"*goal*", "≥ 0.90", "> 1.00", "> 1.00", "> 1.00", "> 1.00",
            "> 1.00", ""})
  putlines(bykey, "CPU", "cpu", math.min)
  puttasks(bykey)
  puthttpsummary(bykey)
  puttlssummary(bykey)
  putprograms(results.programs)
  if bykey.echo64 and bykey.echo16k then
    put "![CPU of an echo, and throughput](plot.svg)\n"
  end
  putmissing(results.missing)
  for _, result in ipairs(results.loads) do
    putload(result, result.key == "cycle" and "cycle" or "message", references)
  end
  for _, result in ipairs(results.http) do
    putload(result, "request", httpreferences, {"MB/s", "head, bytes"},
            {"mb", "head"})
  end
  for _, result in ipairs(results.tls) do
    putload(result, result.key:find "^tls%d" and "message" or "handshake",
            tlsreferences)
  end
  for _, result in ipairs(results.programs) do putprogram(result) end
  if results.idle then
    putidle(results.idle, {cases.epoll, cases.bufferevent})
  end
  if results.httpidle then putidle(results.httpidle, httpreferences) end
  return table.concat(lines, "\n"):gsub("\n+$", "") .. "\n"
end

return report
