--- What lua/libevent/_meta.lua says of the arguments of every function, for a
--- program that calls them: the types as LuaLS annotations write them.
---
---   functions["libevent.Event"].add = {{name = "seconds", optional = true,
---                                       type = "libevent.seconds"}}
---   aliases["libevent.eol"] = '| "crlf" | "lf" ...'
---   fields["libevent.Limits"] = {{name = "read", type = "integer"}, ...}

local functions, aliases, fields = {}, {}, {}

--- The type at the beginning of a text that goes on in words.
local function typeof(text)
  return text:match "^fun%b()" and "function" or text:match "^%S+"
end

local function param(line)
  local name, optional, text = line:match "^%-%-%-@%l+ ([%w_%.]+)(%??) (.*)"
  return {name = name, optional = optional == "?", type = typeof(text)}
end

local classes, params, class, alias = {}, {}, nil, nil

--- A class has the fields of the one that it goes on from.
local function begin(name, parent)
  class = name
  if parent then
    fields[name] = table.move(fields[parent], 1, #fields[parent], 1, {})
  end
end

local function define(owner, name)
  local of = classes[owner]
  functions[of] = functions[of] or {}
  functions[of][name] = params
end

for line in io.lines "lua/libevent/_meta.lua" do
  local newalias, text = line:match "^%-%-%-@alias (%S+)%s*(.*)"
  local object = line:match "^local (%w+) = {}"
  local owner, name = line:match "^function (%w+)[.:]([%w_]+)%("
  if newalias then
    alias, aliases[newalias] = newalias, text
  elseif alias and line:match "^%-%-%-|" then
    aliases[alias] = aliases[alias] .. line:match "^%-%-%-([^#]*)"
  else
    alias = nil
  end
  if line:match "^%-%-%-@class" then
    begin(line:match "@class ([%w.]+)", line:match "@class [%w.]+: (%S+)")
  end
  if line:match "^%-%-%-@param" then
    params[#params + 1] = param(line)
  elseif line:match "^%-%-%-@field" then
    fields[class] = fields[class] or {}
    table.insert(fields[class], param(line))
  elseif object then
    classes[object] = class
  elseif owner then
    define(owner, name)
    params = {}
  end
end

return {functions = functions, aliases = aliases, fields = fields}
