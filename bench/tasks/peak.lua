--- Prints the most memory that this process has held, in kilobytes.

return function()
  local file <close> = assert(io.open "/proc/self/status")
  print("peak " .. file:read "a":match "VmHWM:%s*(%d+)")
end
