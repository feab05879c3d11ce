--- Mutated messages of HTTP: requests to an Http, and answers to
--- HttpConnections from a server that is none.
---   lua5.4 spec/fuzz/http.lua SEED [STEPS]
---
--- The seed decides on all that is sent, and on how it is cut. After each round
--- right requests by a new connection must be answered rightly, in both
--- directions; each request of a client must be told of its end, once; and when
--- all is over nothing may be left. To stdout goes a line at the end, as
--- spec/fuzz/run reads it:
---   seed 7: 2000 steps

package.path = "./?.lua;" .. package.path

local SEED = math.tointeger(arg[1])
local STEPS = math.tointeger(arg[2] or 1000)
assert(SEED and STEPS, "usage: http.lua SEED [STEPS]")
math.randomseed(SEED)

local listdescriptors = require "spec.descriptors"
local descriptors = #listdescriptors()

local turns = require "spec.fuzz.turns"
local server = require "spec.fuzz.http_server"
local client = require "spec.fuzz.http_client"

local ROUND = 100               -- steps
local random = math.random

local function round(steps)
  for _ = 1, steps do
    if server.count() < 20 and random(3) == 1 then server.newclient() end
    if client.open() < 20 and random(3) == 1 then client.ask() end
    server.act()
    client.lie()
    if random(3) == 1 then server.answerkept() end
    turns.turn(random(10) == 1 and "once" or "nonblock")
  end
  if random(5) == 1 then server.hangup() end
  server.hurry(false)
  server.honest()
  client.honest(server.port())
  server.hurry(true)
  if random(5) == 1 then server.serveanew() end
end

--- KiB of Lua's that are in use.
local function memory()
  for _ = 1, 4 do collectgarbage() end
  return collectgarbage "count"
end

--- What was in use after the first round.
local function run()
  local nap = turns.base:timer(function() end, "persist"):add(0.001)
  local done, first = 0, nil    -- "once" is never long: there is a nap
  server.serve()
  while done < STEPS do
    local n = math.min(ROUND, STEPS - done)
    round(n)
    done = done + n
    first = first or memory()
  end
  nap:close()
  client.finish()
  server.finish()
  return first
end

local first = run()
turns.await("a loop with nothing to do", function()
  return turns.turn() == false
end)
local grown = memory() - first
assert(grown < 500, ("%.0f KiB more than after the first round"):format(grown))
assert(next(turns.seen) == nil, tostring(next(turns.seen)))
turns.base:close()
assert(#listdescriptors() == descriptors, "descriptors are left")
io.stdout:write(("seed %d: %d steps\n"):format(SEED, STEPS))
