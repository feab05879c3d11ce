--- Figures of several rounds, as one.

local stats = {}

function stats.median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local half = #sorted // 2
  if #sorted % 2 == 1 then return sorted[half + 1] end
  return (sorted[half] + sorted[half + 1]) / 2
end

--- Best, median and spread of the figure 'key' of each round; 'best' is
--- math.min or math.max.
function stats.summary(rounds, key, best)
  local list = {}
  for i, round in ipairs(rounds) do list[i] = round[key] end
  return {
    best = best(table.unpack(list)), median = stats.median(list),
    spread = math.max(table.unpack(list)) / math.min(table.unpack(list)) - 1,
  }
end

--- The round in which 'key' is highest.
function stats.top(rounds, key)
  local top = rounds[1]
  for _, round in ipairs(rounds) do
    if round[key] > top[key] then top = round end
  end
  return top
end

return stats
