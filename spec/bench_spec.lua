-- The benchmarks' own programs, with little to do, and how figures become text.
local socket = require "socket"
local cases = require "bench.cases"
local plot = require "bench.plot"
local process = require "spec.process"
local report = require "bench.report"
local stats = require "bench.stats"

local start, shell = process.start, process.shell

--- A port of nobody's: these servers are told theirs.
local function freeport()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return math.tointeger(tonumber(port))
end

local function load(mode, port, rest)
  return shell(("%s/load -t 9 %s 127.0.0.1:%d %s"):format(os.getenv "BUILD",
    mode, port, rest))
end

--- What two rounds of each server might have given.
local function invented()
  local result = {missing = {}}
  for i, server in ipairs(cases.servers) do
    local function round(x)
      return {cpu = x, rate = 1000 / x, bytes = 100 * x, p50 = 1, p99 = 2,
              p999 = 3}
    end
    result[i] = {name = server[1], rounds = {round(2 * i), round(i)}}
  end
  return result
end

describe("Benchmarks", function()
  after_each(process.killall)

  for _, name in ipairs {"strings", "buffers"} do
    it(name .. " answers messages under way, and lives on", function()
      local port = freeport()
      local server = start(("bench/servers/%s.lua %d"):format(name, port))
      server:expect "^ready\n"
      assert.matches("^pipeline: 5 connections, 250 messages of 64 bytes, .*"
        .. "p99%.9 %d+ us\n$", load("pipeline", port, "5 50 64 16"))
      assert.matches("^pipeline: 2 connections, 10 messages of 70000 bytes, ",
        load("pipeline", port, "2 5 70000 3"))
      assert.matches("^pipeline: 1 connections, 2 messages of 9 bytes, ",
        load("pipeline", port, "1 2 9 16"))
      assert.matches("^cycle: 40 cycles", load("cycle", port, "40 64 5"))
    end)
  end

  it("count their timers and callbacks", function()
    for _, command in ipairs {"timers/lua-libevent.lua timer 100",
                              "timers/lua-libevent.lua once 100",
                              "timers/lua-libevent.lua timer 0",
                              "dispatch/lua-libevent.lua 10 1000",
                              "dispatch/lua-libevent.lua 0 0"} do
      local text, status = start("bench/" .. command):finish()
      assert.equal("", text)
      assert.equal(0, status)
    end
  end)

  it("take best, median and spread of what the rounds gave", function()
    local rounds = {{x = 3}, {x = 1}, {x = 2}, {x = 2}}
    assert.same({best = 1, median = 2, spread = 2},
                stats.summary(rounds, "x", math.min))
    assert.equal(rounds[1], stats.top(rounds, "x"))
    assert.equal(2.5, stats.median {4, 1, 2, 3})
  end)

  it("say how this library compares", function()
    local result = invented()
    result.key, result.title = "echo64", "Echo"
    local text = report {
      loads = {result}, programs = {}, rounds = 2, busy = "0.00",
      missing = {{name = "luv", why = "no module `luv` here"}},
    }
    for _, part in ipairs {"CPU | raw epoll, C | 4.00 | 5.00 |\n",
                           "\n| raw epoll, C | 1.00 | 1.50 | 100 % | 1.00 |",
                           "\nLeft out: luv (no module `luv` here).\n"} do
      assert.truthy(text:find(part, 1, true), part)
    end
  end)

  it("draw a bar for each server in both charts", function()
    local echo64, echo16k = invented(), invented()
    echo64.key, echo16k.key = "echo64", "echo16k"
    local picture = plot {loads = {echo64, echo16k}}
    assert.equal(1 + 2 * #cases.servers, select(2, picture:gsub("<rect", "")))
    assert.matches("</svg>\n$", picture)
  end)
end)
