--- Two bar charts, as an SVG picture.

local cases = require "bench.cases"
local stats = require "bench.stats"

local WIDTH = 450                       -- of a chart
local LABEL, FIGURE = 185, 50           -- beside the bars
local TOP = 54                          -- titles
local BAR, GAP = 18, 6

local lines

local function put(...) lines[#lines + 1] = string.format(...) end

local function text(x, y, anchor, more, content)
  put('<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>', x, y, anchor,
    more, content)
end

--- A bar with its name before it and its figure behind it.
local function putbar(x, y, entry, most)
  local length = (WIDTH - LABEL - FIGURE) * entry.figure / most
  local own = entry.name:find "^lua%-libevent"
  text(x + LABEL - 6, y + 13, "end", "", entry.name)
  put('<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>',
    x + LABEL, y, length, BAR, own and "#2a6fb0" or "#b5b9bf")
  text(x + LABEL + length + 5, y + 13, "start", "",
    ("%.2f"):format(entry.figure))
end

local function putchart(x, title, subtitle, list)
  local most = 0
  for _, entry in ipairs(list) do most = math.max(most, entry.figure) end
  text(x + 8, 20, "start", ' font-weight="bold"', title)
  text(x + 8, 38, "start", ' fill="#555"', subtitle)
  for i, entry in ipairs(list) do
    putbar(x, TOP + (i - 1) * (BAR + GAP), entry, most)
  end
end

--- The best of each server of a case, divided by raw epoll's.
local function relative(result, key, best)
  local list, one = {}, nil
  for i, entry in ipairs(result) do
    local figure = stats.summary(entry.rounds, key, best).best
    list[i] = {name = entry.name, figure = figure}
    if entry.name == cases.epoll then one = figure end
  end
  for _, entry in ipairs(list) do entry.figure = entry.figure / one end
  return list
end

local function plot(results)
  local bykey = {}
  for _, result in ipairs(results.loads) do bykey[result.key] = result end
  local cpu = relative(bykey.echo64, "cpu", math.min)
  local rate = relative(bykey.echo16k, "rate", math.max)
  local height = TOP + math.max(#cpu, #rate) * (BAR + GAP) + 8
  lines = {}
  put('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
    .. 'font-family="sans-serif" font-size="12">', 2 * WIDTH, height)
  put '<rect width="100%%" height="100%%" fill="white"/>'
  putchart(0, "Server CPU per message, raw epoll = 1",
    "echo of 64 bytes, 50 connections; shorter is better", cpu)
  putchart(WIDTH, "Messages per second, raw epoll = 1",
    "echo of 16 KiB, 50 connections; longer is better", rate)
  put "</svg>\n"
  return table.concat(lines, "\n")
end

return plot
