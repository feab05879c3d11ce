--- libevent.socket beside LuaSocket: the same cases, with the same results.

local cases = require "spec.socket_cases"
local co = require "libevent.co"
local t = require "spec.helper"

--- What LuaSocket itself does in each case, in a process that waits.
local function original()
  local output, status = t.lua [[
    local cases = require "spec.socket_cases"
    local socket, unix = require "socket", require "socket.unix"
    for _, case in ipairs(cases) do
      io.write("CASE ", case.name, "\n")
      for _, line in ipairs(cases.run(case, socket, unix)) do
        io.write(("LINE %q"):format(line):gsub("\\\n", "\\n"), "\n")
      end
    end
  ]]
  assert(status == 0, output)
  local found, name = {}, nil
  for line in output:gmatch "[^\n]+" do
    name = line:match "^CASE (.*)" or name
    local text = line:match "^LINE (.*)"
    found[name] = found[name] or {}
    if text then
      table.insert(found[name], load("return " .. text)())
    end
  end
  return found
end

describe("libevent.socket, as LuaSocket,", function()
  local expected
  local socket = require "libevent.socket"
  local unix = socket.unix

  setup(function() expected = original() end)
  before_each(t.start)
  after_each(t.finish)

  for _, case in ipairs(cases) do
    it(case.name, function()
      local lines = co.run(function()
        return (co.deadline(5 * t.slow, cases.run, case, socket, unix))
      end)
      assert.same(expected[case.name], lines)
    end)
  end
end)
