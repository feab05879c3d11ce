--- libevent.expect: what the parts in Lua say of a caller's mistake.
---
--- All are called by a public function, and raise where that one was called.

local expect = {}

--- Raises where the function was called whose caller calls this.
local function blame(n, name, message)
  error(("bad argument #%d to '%s' (%s)"):format(n, name, message), 4)
end

--- Raises the error of argument n of the function 'name' unless ok.
function expect.that(ok, n, name, message)
  if not ok then blame(n, name, message) end
end

--- The string that argument n is; a number is one, as it is in Lua.
function expect.text(value, n, name)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then
    blame(n, name, "string expected, got " .. type(value))
  end
  return value
end

--- What is wrong with a timeout: nothing with seconds, or nil for none.
function expect.notseconds(value)
  if value ~= nil and not (math.type(value) and value >= 0
                           and value <= 0x7fffffff) then
    return "seconds expected, got "
           .. (math.type(value) and tostring(value) or type(value))
  end
end

--- Seconds, or nil for none.
function expect.timeout(value, n, name)
  local wrong = expect.notseconds(value)
  if wrong then blame(n, name, wrong) end
end

--- Raises an error of another function again, as one of the function 'name'
--- that has called it with its arguments: number n of those is numbers[n] of
--- its own, n - 1 if that is nil, and 0 is what a method is called on.
function expect.again(err, name, numbers)
  local n, what = tostring(err):match "bad argument #(%d+) to .-%((.*)%)$"
  if not n then error(err, 0) end
  n = numbers[n + 0] or n - 1
  if n == 0 then
    error(("calling '%s' on bad self (%s)"):format(name, what), 3)
  end
  blame(n, name, what)
end

return expect
