--- Inputs of the parsers as text: one a line, a byte that is no printable ASCII
--- and the backslash as \xHH.
---   lua5.4 spec/fuzz/corpus.lua unpack FILE FOLDER
---   lua5.4 spec/fuzz/corpus.lua pack FOLDER FILE    each file of it a line

local lfs = require "lfs"

local corpus = {}

--- A file for each line, "1", "2" and so on; how many.
function corpus.unpack(path, folder)
  local n = 0
  for line in io.lines(path) do
    n = n + 1
    local file = assert(io.open(folder .. "/" .. n, "wb"))
    file:write((line:gsub("\\x(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)))
    file:close()
  end
  return n
end

local function escape(byte)
  return ("\\x%02x"):format(byte:byte())
end

--- Each once, the short ones first.
function corpus.pack(folder, path)
  local lines, there = {}, {}
  for name in lfs.dir(folder) do
    local file = name:sub(1, 1) ~= "." and io.open(folder .. "/" .. name, "rb")
    if file then
      local line = file:read "a":gsub("[%c\128-\255\\]", escape)
      file:close()
      lines[#lines + 1] = not there[line] and line or nil
      there[line] = true
    end
  end
  table.sort(lines, function(a, b)
    if #a ~= #b then return #a < #b end
    return a < b
  end)
  local file = assert(io.open(path, "w"))
  file:write(table.concat(lines, "\n"), "\n")
  file:close()
end

if arg and corpus[arg[1]] then corpus[arg[1]](arg[2], arg[3]) end

return corpus
