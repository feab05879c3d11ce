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

local function placed()
  if not process.core "load" then return ", which server and load share" end
  return (": server on core %d, load on core %d"):format(process.core "server",
    process.core "load")
end

--- Of the rivals, by the system's packages where it knows them.
local function versions()
  local packages = process.output("dpkg-query -W -f '${Package} ${Version}\n' "
    .. "lua-luv lua-cqueues lua-event lua-copas lua-socket 2>/dev/null")
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
  put("- %s; Node.js %s", versions(), told "node --version" or "is not here")
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

local function putprograms(programs)
  local list = {}
  for _, result in ipairs(programs) do
    for _, entry in ipairs(result) do
      if entry.name:find "^lua%-libevent" then
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

local function putload(result)
  put("## %s\n", result.title)
  local unit = result.key == "cycle" and "cycle" or "message"
  puttable({"server CPU, µs/" .. unit, "best", "median", "spread", "÷ epoll",
            "÷ bufferevents", "÷ luv try_write"},
           rows(result, "cpu", math.min, micro, references))
  local header = {unit .. "s/s", "best", "median", "spread", "÷ epoll",
                  "÷ bufferevents", "÷ luv try_write"}
  local list = rows(result, "rate", math.max, whole, references)
  for i, entry in ipairs(result) do
    local top = stats.top(entry.rounds, "rate")
    table.move({top.p50, top.p99, top.p999}, 1, 3, #list[i] + 1, list[i])
  end
  if unit == "message" then
    table.move({"p50 µs", "p99", "p99.9"}, 1, 3, #header + 1, header)
  end
  puttable(header, list)
  putmissing(result.missing)
end

local function putprogram(result)
  put("## %s\n", result.title)
  puttable({"CPU, µs/" .. result.unit, "best", "median", "spread",
            "÷ libevent, C"},
           rows(result, "cpu", math.min, micro, {"libevent, C"}))
  putmissing(result.missing)
end

local function putidle(result)
  put("## %s\n", result.title)
  puttable({"bytes", "best", "median", "spread", "÷ epoll", "÷ bufferevents"},
           rows(result, "bytes", math.min, whole,
                {cases.epoll, cases.bufferevent}))
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
what each case does, and `servers/`, `timers/` and `dispatch/` are the programs.
]]

local function report(results)
  lines = {}
  put("%s", about:format(results.rounds))
  putmachine(results)
  local bykey = {idle = results.idle}
  for _, result in ipairs(results.loads) do bykey[result.key] = result end
  put "## In short\n"
  put "This library's figure divided by the other one's:\n"
  putsummary(bykey)
  putprograms(results.programs)
  if bykey.echo64 and bykey.echo16k then
    put "![CPU of an echo, and throughput](plot.svg)\n"
  end
  putmissing(results.missing)
  for _, result in ipairs(results.loads) do putload(result) end
  for _, result in ipairs(results.programs) do putprogram(result) end
  if results.idle then putidle(results.idle) end
  return table.concat(lines, "\n"):gsub("\n+$", "") .. "\n"
end

return report
