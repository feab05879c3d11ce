--- libevent.expect: what the parts in Lua say of a caller's mistake.
---
--- Both are called by a public function, and raise where that one was called.

local expect = {}

--- Raises the error of argument n of the function 'name' unless ok.
function expect.that(ok, n, name, message)
  if not ok then
    error(("bad argument #%d to '%s' (%s)"):format(n, name, message), 3)
  end
end

--- The string that argument n is; a number is one, as it is in Lua.
function expect.text(value, n, name)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then
    error(("bad argument #%d to '%s' (string expected, got %s)"):format(
      n, name, type(value)), 3)
  end
  return value
end

return expect
