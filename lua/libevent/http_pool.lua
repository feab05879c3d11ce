--- libevent.http_pool: connections that wait for another request.
---
--- None of them is in a loop: what waits here ends no program later, and keeps
--- no base alive. Those that have waited too long are closed when the next one
--- comes or is asked for.

local MOST = 8                          -- idle connections of one key
local LONGEST = 30                      -- seconds that one of them waits
local PAUSE = 1                         -- between two looks at all of them

--- The rest of libevent.http can do without the core, and is loaded with this.
local function now()
  return require "libevent.core".gettime_monotonic()
end

-- Of each base: key -> list of {connection, since}, the last one at its end.
-- The connections refer to their base, which only a weak key allows.
local pools = setmetatable({}, {__mode = "k"})

local http_pool = {}

--- Closes those at the beginning of a list that nobody wants any more.
local function shrink(list, most, time)
  while list[1] and (#list > most or time - list[1].since > LONGEST) do
    table.remove(list, 1).connection:close()
  end
  return #list > 0
end

local function sweep(pool)
  local time = now()
  if time - pool.swept < PAUSE then return end
  pool.swept = time
  for key, list in pairs(pool.lists) do
    if not shrink(list, MOST, time) then pool.lists[key] = nil end
  end
end

--- A connection that was put under this key, the one that has waited least.
function http_pool.take(base, key)
  local pool = pools[base]
  if not pool then return nil end
  sweep(pool)
  local list = pool.lists[key]
  if not list or not shrink(list, MOST, now()) then return nil end
  return table.remove(list).connection
end

--- Keeps a connection that has nothing to do.
function http_pool.put(base, key, connection)
  local pool = pools[base] or {lists = {}, swept = now()}
  pools[base] = pool
  local list = pool.lists[key] or {}
  pool.lists[key] = list
  list[#list + 1] = {connection = connection, since = now()}
  shrink(list, MOST, now())
  sweep(pool)
end

return http_pool
