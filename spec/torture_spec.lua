--- Memory ends, at each allocation in turn, of Lua's, of libevent's and of our
--- own: the call says so, nothing is lost, left or half done, and the base can
--- be used afterwards. spec/c/torture.c plays each scenario of spec/torture
--- once for every allocation that it makes: that one fails alone, then it and
--- all after it, then of libevent's only, then now and then one of OpenSSL's.
---
--- Under the sanitizers, and where there is TLS, it is every third one, under
--- valgrind every 30th.

local lfs = require "lfs"
local libevent = require "libevent"
local t = require "spec.helper"
local tls = require "libevent.tls"
local torture = require "spec.torture"

local files = {}
for file in lfs.dir "spec/torture" do
  local name = file:match "^([%w_]+)%.lua$"
  if name then files[#files + 1] = name end
end
table.sort(files)

local stride = os.getenv "VALGRIND" and 30 or t.slow > 1 and 3 or 1

-- With a collection at every step finalizers find no memory to be called with:
-- the limit of Lua's that doc/robustness.md tells of.
local played = os.getenv "LUA_INIT" and {} or files

describe("A lack of memory", function()
  for _, file in ipairs(played) do
    for i, scenario in ipairs(require("spec.torture." .. file)) do
      it(("is survived by %s (%s)"):format(scenario[1], file), function()
        local every = file == "tls" and stride < 3 and 3 or stride
        local text, status = t.host("torture -s " .. every, ([[
          local scenarios = require "spec.torture.%s"
          return require "spec.torture".prepare(scenarios[%d])
        ]]):format(file, i))
        assert.match("%d allocations, 0 faults\n$", text)
        assert.equal(0, status, text)
      end)
    end
  end
end)

--- "libevent.Base.loop" -> the table that it is called in, for all that can be
--- called.
local function callable()
  local found = {}
  local function add(class, functions)
    for name, f in pairs(functions) do
      if type(f) == "function" then
        found[class .. "." .. name] = {functions, name, f}
      end
    end
  end
  add("libevent", libevent)
  add("libevent.tls", tls)
  for key, metatable in pairs(debug.getregistry()) do
    if type(key) == "string" and key:match "^libevent%.[%w.]*%u%w*$" then
      add(key, metatable.__index or {})
    end
  end
  return found
end

describe("The scenarios of a lack of memory", function()
  before_each(t.start)
  after_each(t.finish)

  it("call every function and every method", function()
    local missing = callable()
    local all = {}
    for name, place in pairs(missing) do
      all[name] = place
      place[1][place[2]] = function(...)
        missing[name] = nil
        return place[3](...)
      end
    end
    local ok, message = xpcall(function()
      for _, file in ipairs(files) do
        for _, scenario in ipairs(require("spec.torture." .. file)) do
          if not scenario.host then
            local run, check = torture.prepare(scenario)
            run()
            check()
          end
        end
      end
    end, debug.traceback)
    for name, place in pairs(callable()) do
      place[1][place[2]] = all[name][3]
    end
    assert(ok, message)
    local names = {}
    for name in pairs(missing) do names[#names + 1] = name end
    table.sort(names)
    assert.equal("", table.concat(names, "\n"))
  end)

  it("call every function of lualibevent.h", function()
    local host = t.contents "spec/c/torture.c"
    for name in t.contents "src/lualibevent.h":gmatch "([%w_]+) %(" do
      if name:find "^lua%w+_%w" then
        local called = name:gsub("_$", "")          -- behind a macro
        assert.truthy(host:find(called, 1, true), name)
      end
    end
  end)
end)
