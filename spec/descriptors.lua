--- The descriptors that are open in a process (this one), in order: a list of
--- their numbers, as strings. The one that it is found by is among them.

local lfs = require "lfs"

return function(pid)
  local list = {}
  for name in lfs.dir(("/proc/%s/fd"):format(pid or "self")) do
    if name:match "^%d+$" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end
