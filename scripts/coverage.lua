--- What of src/ has run, from the counts that gcov finds in a folder.
---   lua5.4 scripts/coverage.lua build-cov
--- Prints doc/coverage.md: a table of the files, and each line that has not run
--- with the reason that stands in scripts/uncovered.lua. Fails below 95 %, for
--- a line without a reason, and for a reason without a line.

local lfs = require "lfs"

local LEAST = 95
local folder = assert(arg[1], "usage: coverage.lua FOLDER")
local reasons = dofile "scripts/uncovered.lua"
local failed, used = false, {}

local function complain(...)
  io.stderr:write("coverage: ", string.format(...), "\n")
  failed = true
end

--- Lines that can run, and those that have not, as {number, text, function}.
local function measure(name)
  local lines, missing, current, own = 0, {}, "?", false
  local pipe = assert(io.popen(("gcov -t -o %s/%s src/%s 2>/dev/null"):format(
    folder, name:match "^.*/" or "", name)))
  for line in pipe:lines() do
    local count, number, text = line:match "^%s*([^:]+):%s*(%d+):(.*)$"
    if number == "0" and text:match "^Source:" then
      own = text == "Source:src/" .. name       -- and not a header's
    end
    current = text and text:match "^[%a_][^;]-([%w_]+) %(.*[{,]$" or current
    if own and count and number ~= "0" and count ~= "-" then
      lines = lines + 1
      if count:match "^[#=]" then
        missing[#missing + 1] = {tonumber(number), text, current}
      end
    end
  end
  pipe:close()
  return lines, missing
end

--- Why a line has not run: by "file: function", or its text.
local function reason(file, line)
  for _, key in ipairs {file .. ": " .. line[3],
                        line[2]:match "^%s*(.-)%s*$"} do
    if reasons[key] then
      used[key] = true
      return reasons[key][1]
    end
  end
  complain("%s:%d: %s: no reason for `%s`", file, line[1], line[3],
           line[2]:match "^%s*(.-)%s*$")
  return "?"
end

local files = {}
for _, place in ipairs {"", "tls/"} do
  for name in lfs.dir("src/" .. place) do
    if name:match "%.c$" then files[#files + 1] = place .. name end
  end
end
table.sort(files)

print [[
# Coverage

What of `src/` the specs run, by gcov: the output of `make coverage`.

| file | lines | not run | run |
|---|---|---|---|]]

local all, left, list = 0, 0, {}
for _, name in ipairs(files) do
  local lines, missing = measure(name)
  all, left = all + lines, left + #missing
  print(("| %s | %d | %d | %.1f %% |"):format(name, lines, #missing,
    100 - #missing / lines * 100))
  for _, line in ipairs(missing) do
    list[#list + 1] = ("| %s | `%s` | `%s` | %s |"):format(name, line[3],
      line[2]:match "^%s*(.-)%s*$":gsub("|", "\\|"), reason(name, line))
  end
end
local percent = 100 - left / all * 100
print(("| all | %d | %d | %.1f %% |"):format(all, left, percent))
print [[

## What has not run, and why

| file | function | line | why |
|---|---|---|---|]]
print(table.concat(list, "\n"))

for key, value in pairs(reasons) do
  if not used[key] and not value[2] then
    complain("a reason without a line: %s", key)
  end
end
if percent < LEAST then complain("%.1f %% is below %d %%", percent, LEAST) end
os.exit(not failed, true)
