--- What the fuzzers of spec/fuzz do, for a moment: a few programs on the whole
--- API, and what was found for the parsers. `make fuzz` and `make fuzz-parsers`
--- take longer.

local lfs = require "lfs"
local libevent = require "libevent"
local corpus = require "spec.fuzz.corpus"
local t = require "spec.helper"
local tls = require "libevent.tls"

--- Too few under valgrind, or under the sanitizers as `make fuzz` is, to reach
--- every function.
local ALL = 24
local PROGRAMS = os.getenv "VALGRIND" and 2 or t.slow > 1 and 8 or ALL

local function run(command)
  local pipe = io.popen(command .. " 2>&1; echo \"status $?\"")
  local output = pipe:read "a"
  pipe:close()
  return output, math.tointeger(output:match "status (%d+)\n$")
end

--- "libevent.Base.loop" -> true, for every function that a script can call.
local function functions()
  local names = {}
  for name, value in pairs(libevent) do
    if type(value) == "function" then names["libevent." .. name] = true end
  end
  for name in pairs(tls) do names["libevent.tls." .. name] = true end
  for key, metatable in pairs(debug.getregistry()) do
    if type(key) == "string" and key:match "^libevent%.[%l.]*%u%w*$" then
      for name in pairs(metatable.__index or {}) do
        names[key .. "." .. name] = true
      end
    end
  end
  return names
end

describe("Random programs", function()
  local answered = {}

  it("end as they choose to", function()
    for seed = 1, PROGRAMS do
      local output, status = run(
        ("ASAN_OPTIONS=$ASAN_OPTIONS:allocator_may_return_null=1 COUNT=1 "
         .. "timeout -s KILL %d %s spec/fuzz/api.lua %d"):format(
          20 * t.slow, os.getenv "LUA" or "lua5.4", seed))
      local ended = output:find("\nseed " .. seed .. ": %d+ steps\n")
      assert.truthy(ended and status <= 1, output:sub(-2000))
      for name, n in output:gmatch "(libevent[%w_.]+)\t(%d+)\t" do
        answered[name] = (answered[name] or 0) + n
      end
    end
  end)

  if PROGRAMS == ALL then
    it("call every function, and get an answer from it", function()
      for name in pairs(functions()) do
        assert.truthy((answered[name] or 0) > 0, name)
      end
    end)
  end
end)

-- 500 steps of a few seeds find nothing.
local function passes(name)
  for seed = 1, PROGRAMS // 4 + 1 do
    local output, status = run((
      "timeout -s KILL %d %s spec/fuzz/%s.lua %d 500"):format(
        20 * t.slow, os.getenv "LUA" or "lua5.4", name, seed))
    assert.equal(0, status, output)
  end
end

describe("A man in the middle of TLS", function()
  it("reads, changes and ends nothing unnoticed", function() passes "tls" end)
end)

describe("Random tasks", function()
  it("lose nothing, and leave nothing", function() passes "co" end)
end)

describe("A parser", function()
  for file in lfs.dir "spec/fuzz/corpus" do
    local target = file:match "^(%w+)%.txt$"
    if target then
      it("reads what was found for it: " .. target, function()
        local folder = t.path()
        assert(lfs.mkdir(folder))
        finally(function() os.execute("rm -r " .. folder) end)
        local n = corpus.unpack("spec/fuzz/corpus/" .. file, folder)
        local output, status = run(("%s/parsers %s %s/*"):format(
          os.getenv "BUILD", target, folder))
        assert.equal(0, status, output)
        assert.match(n .. " inputs\n", output)
      end)
    end
  end
end)
