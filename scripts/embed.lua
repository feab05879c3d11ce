--- Lua files as a C header: an array 'parts' of their names and texts.
---   lua embed.lua lua/libevent/init.lua ... >parts.h

local function name(path)
  return (path:gsub("^%l+/", ""):gsub("%.lua$", ""):gsub("/init$", "")
              :gsub("/", "."))
end

--- The bytes of a text, sixteen to a line: C has a limit for string literals.
local function bytes(text)
  local lines = {}
  for i = 1, #text, 16 do
    lines[#lines + 1] = "  " .. table.concat({text:byte(i, i + 15)}, ", ")
  end
  return table.concat(lines, ",\n")
end

local names = {}
for i, path in ipairs(arg) do
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  io.write(("/* %s */\nstatic const unsigned char part%d[] = {\n%s\n};\n\n")
             :format(path, i, bytes(text)))
  names[i] = ('  {"%s", "@%s", (const char *)part%d, sizeof(part%d)},\n')
               :format(name(path), path:match "^%l+/(.*)", i, i)
end
io.write("typedef struct Part {\n  const char *name, *file, *text;\n",
         "  size_t len;\n} Part;\n\nstatic const Part parts[] = {\n",
         table.concat(names), "  {NULL, NULL, NULL, 0}\n};\n")
