--- A guard: lua/libevent/_meta.lua, the live metatables and the C sources say
--- the same of every public function.

local lfs = require "lfs"
local libevent = require "libevent"
local tls = require "libevent.tls"
local contents = require "spec.helper".contents

local META = "lua/libevent/_meta.lua"

--- Fails with all of 'faults', one a line; each names its function.
local function none(faults)
  if #faults > 0 then error(table.concat(faults, "\n"), 0) end
end

--- Calls report(format, ...) for faults that none() then fails with.
local function check(f)
  local faults = {}
  f(function(...) faults[#faults + 1] = string.format(...) end)
  none(faults)
end

-- {==== _meta.lua as text ====

local MODULES = {libevent = libevent, ["libevent.tls"] = tls}

--- A function's name, as it is called.
local function fullname(class, name)
  return class .. (MODULES[class] and "." or ":") .. name
end

--- A function's entry, from the comment above it and its signature.
local function entry(class, name, args, comment)
  local e = {class = class, name = name, full = fullname(class, name),
             args = {}, params = {}, returns = {}}
  for arg in args:gmatch "[^,%s]+" do e.args[#e.args + 1] = arg end
  for _, line in ipairs(comment) do
    local tag, rest = line:match "^%-%-%-@(%w+)%s*(.*)"
    if tag == "param" then
      local param, optional = rest:match "^([%w_%.]+)(%??)%s+%S"
      e.params[#e.params + 1] = {name = param or rest,
                                 optional = optional == "?"}
    elseif tag == "return" then
      e.returns[#e.returns + 1] = rest
    elseif line:match "^%-%-%- C: " then
      e.c = line:match "^%-%-%- C: (.*)"
    elseif line:match "^%-%-%- %S" then
      e.described = true
    end
  end
  return e
end

--- classes: name -> {order = its entries, [method] = entry}; MODULES are among
--- them, and fields has those of "libevent". oddities: lines that nothing
--- matches.
local function parse(text)
  local classes, locals, oddities, comment, fields = {}, {}, {}, {}, {}
  local current
  for line in text:gmatch "([^\n]*)\n" do
    local class = line:match "^%-%-%-@class ([%w%.]+)"
    local field = line:match "^%-%-%-@field ([%w_]+)"
    local var = line:match "^local (%w+) = {}$"
    local owner, name, args =
      line:match "^function (%w+)[.:]([%w_]+)(%b()) end$"
    if class then current = class end
    if field and current == "libevent" then fields[field] = true end
    if var and current then
      locals[var] = current
      classes[current] = {order = {}}
    elseif owner and locals[owner] then
      local c = classes[locals[owner]]
      local e = entry(locals[owner], name, args:sub(2, -2), comment)
      if c[name] then oddities[#oddities + 1] = e.full .. ": twice" end
      c[name] = e
      c.order[#c.order + 1] = e
    elseif line ~= "" and line ~= "return libevent"
           and not line:match "^%-%-%-" then
      oddities[#oddities + 1] = "not understood: " .. line
    end
    if line:match "^%-%-%-" then
      comment[#comment + 1] = line
    else
      comment, current = {}, nil
    end
  end
  return classes, fields, oddities
end

local text = contents(META)
local classes, fields, oddities = parse(text)

local function eachentry(f)
  for _, class in pairs(classes) do
    for _, e in ipairs(class.order) do f(e) end
  end
end

-- ====}

-- {==== What is live ====

--- Class name -> its functions, of the modules and of every metatable.
local function live()
  local found = {}
  for class, module in pairs(MODULES) do
    found[class] = {}
    for name, value in pairs(module) do
      if type(value) == "function" then found[class][name] = value end
    end
  end
  for key, metatable in pairs(debug.getregistry()) do
    if type(key) == "string" and (key:match "^libevent%.%u%w*$"
                                  or key:match "^libevent%.tls%.%u%w*$") then
      found[key] = metatable.__index          -- nil: no script ever has one
    end
  end
  return found
end

-- ====}

-- {==== The C sources as text ====

local HEADERS = contents "src/lev.h" .. contents "src/lev_tls.h"

--- The class that a luaL_Reg table of a C file goes to; nil for metamethods.
local function classof(source, array, module)
  local newlib = "luaL_newlib%(L, " .. array .. "%)"
  local key = source:match("levL_newtype%(L, (LEV_%u+), " .. array .. ",")
    or source:match("levL_addmethods%(L, (LEV_%u+), " .. array .. "%)")
    or source:match("luaL_newmetatable%(L, (LEV_%u+)%).-" .. newlib
                    .. ";%s+lua_setfield%(L, %-2, \"__index\"%)")
  if key then return HEADERS:match(key .. ' "([^"]+)"') end
  if array ~= "metamethods"
     and (source:match("luaL_setfuncs%(L, " .. array .. ", 0%)")
          or source:match(newlib)) then
    return module
  end
end

--- The comment right above the definition of a C function.
local function commentof(source, cname)
  local start = source:find("\nstatic int " .. cname .. " (", 1, true)
  local above = start and source:sub(1, start - 1)
  if not above or above:sub(-2) ~= "*/" then return "" end
  return above:match ".*/%*(.-)%*/$":gsub("%s+", " ")
end

--- {file, class, names, functions} for each public luaL_Reg table.
local function tables()
  local list = {}
  for folder, module in pairs {["src/"] = "libevent",
                               ["src/tls/"] = "libevent.tls"} do
    for file in lfs.dir(folder) do
      local source = file:match "%.c$" and contents(folder .. file) or ""
      local pattern = "static const luaL_Reg (%w+)%[%] = (%b{});"
      for array, body in source:gmatch(pattern) do
        local class = classof(source, array, module)
        local t = {file = folder .. file, class = class, names = {},
                   comments = {}}
        for name, cname in body:gmatch '{"([%w_]+)",%s+([%w_]+)}' do
          t.names[#t.names + 1] = name
          t.comments[name] = commentof(source, cname)
        end
        if class then list[#list + 1] = t end
      end
    end
  end
  return list
end

--- The names of an option table that begins with 'first' in a C file, sorted.
local function coptions(file, first)
  local list = {}
  local body = contents(file):match("{%s*(\"" .. first .. "\",[^}]-NULL)%s*}")
  for name in body:gmatch '"([%w_]+)"' do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- The same of a class of options, with those of the class that it begins with.
local function fieldsof(class, list)
  local more, body = text:match("\n%-%-%-@class " .. class
                                .. "(:?[^\n]*)\n(.-)\n\n")
  list = list or {}
  for name in body:gmatch "%-%-%-@field ([%w_]+)" do list[#list + 1] = name end
  if more ~= "" then fieldsof(more:match ": (%S+)", list) end
  table.sort(list)
  return list
end

--- "fd, what [, seconds]" -> for each argument whether it is optional.
local function cparams(args)
  local list, depth, started = {}, 0, false
  for c in args:gmatch "." do
    if c == "," then
      started = false
    elseif c == "[" then
      depth = depth + 1
    elseif c == "]" then
      depth = depth - 1
    elseif c ~= " " and not started then
      started = true
      list[#list + 1] = depth > 0
    end
  end
  return list
end

-- ====}

describe("lua/libevent/_meta.lua", function()
  it("is a sequence of classes, functions and their comments", function()
    none(oddities)
  end)

  it("documents every live function", function()
    check(function(report)
      for class, functions in pairs(live()) do
        for name in pairs(functions) do
          if not (classes[class] and classes[class][name]) then
            report("%s: is not documented", fullname(class, name))
          end
        end
      end
    end)
  end)

  it("documents nothing that is not live", function()
    local found = live()
    check(function(report)
      for class in pairs(classes) do
        if not found[class] then report("%s: no such class", class) end
      end
      eachentry(function(e)
        if not (found[e.class] and found[e.class][e.name]) then
          report("%s: there is no such function", e.full)
        end
      end)
    end)
  end)

  it("documents the other values of the module", function()
    check(function(report)
      for name, value in pairs(libevent) do
        if type(value) ~= "function" and not fields[name] then
          report("libevent.%s: is not documented", name)
        end
      end
      for name in pairs(fields) do
        if libevent[name] == nil then
          report("libevent.%s: there is no such value", name)
        end
      end
    end)
  end)

  it("describes each function", function()
    check(function(report)
      eachentry(function(e)
        if not e.described then report("%s: no description", e.full) end
        if not e.c then
          report("%s: no line 'C:'", e.full)
        elseif e.c ~= "none" and e.c:gsub("`[%w_]+`", "X"):gsub(", X", "")
                                 ~= "X" then
          report("%s: C: %s", e.full, e.c)
        end
        if #e.returns == 0 then report("%s: no @return", e.full) end
      end)
    end)
  end)

  it("has a @param for each parameter, in order, and no other", function()
    check(function(report)
      eachentry(function(e)
        for i = 1, math.max(#e.args, #e.params) do
          local arg, param = e.args[i], e.params[i]
          if not param then
            report("%s: no @param %s", e.full, arg)
          elseif param.name ~= arg then
            report("%s: @param %s, parameter %s", e.full, param.name, arg)
          end
        end
      end)
    end)
  end)

  it("keeps to 80 columns", function()
    check(function(report)
      for line in text:gmatch "[^\n]+" do
        if #line > 80 then report("%s", line) end
      end
    end)
  end)
end)

describe("metamethods", function()
  it("cannot be called as methods", function()
    check(function(report)
      for class in pairs(live()) do
        local metatable = debug.getregistry()[class]
        for name in pairs(metatable or {}) do
          if metatable.__index[name] ~= nil then
            report("%s:%s: a metamethod is a method", class, name)
          end
        end
        for name in pairs(metatable and metatable.__index or {}) do
          if name:match "^__" then
            report("%s:%s: looks like a metamethod", class, name)
          end
        end
        if metatable and getmetatable(metatable.__index) then
          report("%s: its methods have a metatable", class)
        end
      end
    end)
    local base <close> = libevent.base()
    for _, object in ipairs {base, base:user(print), base:bufferevent(),
                             libevent.buffer(), tls.context()} do
      for _, name in ipairs {"__gc", "__close", "__index", "__tostring"} do
        assert.is_nil(object[name], tostring(object) .. "." .. name)
      end
    end
  end)
end)

describe("the C sources", function()
  local list = tables()

  it("register what is documented, in the same order", function()
    local registered = {}
    check(function(report)
      for _, t in ipairs(list) do
        local class, wanted, i = classes[t.class], {}, 0
        for _, name in ipairs(t.names) do
          wanted[name] = true
          registered[t.class .. "." .. name] = true
        end
        for _, e in ipairs(class and class.order or {}) do
          if wanted[e.name] then
            i = i + 1
            if t.names[i] ~= e.name then
              report("%s: %s has %s in its place", e.full, t.file, t.names[i])
              break
            end
          end
        end
      end
      for class, functions in pairs(live()) do
        for name, f in pairs(functions) do
          if debug.getinfo(f, "S").what == "C"
             and not registered[class .. "." .. name] then
            report("%s: in no luaL_Reg table of src",
                   fullname(class, name))
          end
        end
      end
    end)
  end)

  it("tell the signature of each function above it", function()
    check(function(report)
      for _, t in ipairs(list) do
        local noun = t.class:match "(%w+)$":lower()
                     .. (MODULES[t.class] and "." or ":")
        for _, name in ipairs(t.names) do
          local full = fullname(t.class, name)
          local comment = t.comments[name]
          local at, args = comment:match("()" .. noun .. name .. "(%b())")
          local e = classes[t.class] and classes[t.class][name]
          if not at or not comment:find("->", at, true) then
            report("%s: %s has no comment /* %s%s(...) -> ... */ above it",
                   full, t.file, noun, name)
          elseif e then
            local params = cparams(args:sub(2, -2))
            if #params ~= #e.args then
              report("%s: %s tells of %d parameters, %s of %d", full, t.file,
                     #params, META, #e.args)
            end
            for i, optional in ipairs(params) do
              local p = e.params[i]
              if p and p.name ~= "..." and p.optional ~= optional then
                report("%s: is %s optional?", full, p.name)
              end
            end
            local refuses = comment:find("errno", 1, true) ~= nil
            local documented = table.concat(e.returns, "\n"):find "errno"
            if refuses ~= (documented ~= nil) then
              report("%s: does it return an errno?", full)
            end
          end
        end
      end
    end)
  end)

  it("take the options that are documented", function()
    for class, options in pairs {
      ["libevent.tls.Options"] = coptions("src/tls/options.c", "role"),
      ["libevent.BuffereventOptions"] =
        coptions("src/bufferevent_sock.c", "flags"),
      ["libevent.ListenerOptions"] = coptions("src/listener.c", "flags"),
      ["libevent.HttpOptions"] = coptions("src/http.c", "max_line_size"),
      ["libevent.HttpConnectionOptions"] = coptions("src/http_client.c", "dns"),
    } do
      assert.same(options, fieldsof(class), class)
    end
  end)
end)
