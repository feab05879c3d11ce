--- What the specs of tasks share: a base whose first task is a function, with a
--- deadline.

local co = require "libevent.co"
local t = require "spec.helper"

local straight = {}

--- Runs f as the first task of a new base, which it gets, and closes that.
function straight.run(f)
  local base <close> = t.base()
  local timer = base:timer(function() error "the deadline has passed" end)
  timer:add(5 * t.slow)
  co.run(base, function()
    local _ <close> = setmetatable({}, {__close = function(_, err)
      timer:close()
      if err ~= nil then base:loopexit() end    -- whatever else it waits for
    end})
    f(base)
  end)
end

--- Waits until f gives something true, and returns that.
function straight.till(f)
  local result = f()
  while not result do
    co.sleep(0.002)
    result = f()
  end
  return result
end

return straight
