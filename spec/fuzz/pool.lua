--- What a program of the fuzzer has at hand: objects by class, open or closed,
--- and descriptors by owner.

local libevent = require "libevent"
local tls = require "libevent.tls"

local random = math.random
local LIMIT = 8                 -- objects kept of each class
local DEADLINE = 0.002          -- seconds of a loop

local pool = {
  classes = {},                 -- names, sorted: choices depend on the order
  methods = {},                 -- class -> names of functions, sorted
  functions = {libevent = libevent, ["libevent.tls"] = tls},
                                -- class -> name -> function
  seen = setmetatable({}, {__mode = "k"}),          -- every object there was
}

for key, metatable in pairs(debug.getregistry()) do
  local class = type(key) == "string" and key:match "^libevent%.[%l.]*%u%w*$"
  local methods = class and metatable.__index       -- "Changes" has none
  if methods and next(methods) then
    table.insert(pool.classes, key)
    pool.functions[key] = metatable.__index
  end
end
table.sort(pool.classes)
for class, functions in pairs(pool.functions) do
  local names = {}
  for name, f in pairs(functions) do
    if type(f) == "function" then names[#names + 1] = name end
  end
  table.sort(names)
  pool.methods[class] = names
end

function pool.one(list)
  return list[random(#list)]
end

-- {==== Objects ====

local objects                   -- class -> list
local guards = setmetatable({}, {__mode = "k"})     -- base -> its timer
local hidden = setmetatable({}, {__mode = "k"})     -- such a timer -> true

function pool.classof(value)
  local metatable = type(value) == "userdata" and debug.getmetatable(value)
  local name = metatable and metatable.__name
  return type(name) == "string" and objects[name] and name or nil
end

--- A buffer from which a finalizer takes just as it is read says so, and is
--- open.
function pool.isopen(object)
  local ok, text = pcall(tostring, object)
  return not (ok and text:find "closed")
end

--- Every loop of a base ends after DEADLINE, whatever the program does: a
--- program that hangs has found something. The timer is no part of the program:
--- keep() does not let it in. It is persistent, as another loop that began
--- meanwhile, in a finalizer, would use up one that is not.
function pool.guard(base)
  local function stop(timer) timer:base():loopbreak() end
  if not guards[base] then
    local timer = base:timer(stop, "persist"):priority_set(0)
    hidden[timer] = true
    guards[base] = timer
  end
  guards[base]:add(DEADLINE)
end

--- Keeps an object for later calls, in place of another one.
function pool.keep(value)
  local class = pool.classof(value)
  if not class or hidden[value] then return end
  local list = objects[class]
  pool.seen[value] = true
  list[#list < LIMIT and #list + 1 or random(LIMIT)] = value
  if class == "libevent.Base" then pcall(pool.guard, value) end
end

--- An object of the class, rather an open one; nil if there is none.
function pool.object(class)
  local object = pool.one(objects[class])
  if object and not pool.isopen(object) and random(4) > 1 then
    object = pool.one(objects[class])
  end
  return object
end

function pool.drop()
  local list = objects[pool.one(pool.classes)]
  if #list > 0 then table.remove(list, random(#list)) end
end

--- Forgets one object.
function pool.forget(object)
  local list = objects[pool.classof(object) or 0] or {}
  for i = #list, 1, -1 do
    if rawequal(list[i], object) then table.remove(list, i) end
  end
end

function pool.closebases()
  local bases = {}
  for object in pairs(pool.seen) do
    if pool.classof(object) == "libevent.Base" then bases[object] = true end
  end
  for base in pairs(bases) do base:close() end
end

function pool.clear()
  objects = {}
  for _, class in ipairs(pool.classes) do objects[class] = {} end
end
pool.clear()

-- ====}

-- {==== Descriptors ====
--
-- Numbers that belong to the program are its own until a call takes them. What
-- it sees of the objects' numbers it may watch, read and write, but not close
-- or give away: who closes the descriptor of somebody else's destroys himself.

local own, seen = {}, {}
local lent = setmetatable({}, {__mode = "k"})   -- on a descriptor that an
                                                -- object of the script closes

local function has(list, value)
  for i, v in ipairs(list) do
    if v == value then return i end
  end
end

function pool.own(fd)
  if not has(own, fd) then own[#own + 1] = fd end
end

--- Takes a number away from the program: it is about to be closed or owned.
function pool.give(fd)
  local i = has(own, fd)
  return i and table.remove(own, i)
end

function pool.see(fd)
  seen[#seen < LIMIT and #seen + 1 or random(LIMIT)] = fd
end

--- One of its own.
function pool.fd()
  if #own < 4 or random(4) == 1 then
    local a, b = libevent.socketpair(pool.one {"stream", "stream", "dgram"})
    if a then
      pool.own(a)
      pool.own(b)
    end
  end
  return pool.one(own)
end

--- One of somebody's.
function pool.seenfd()
  return pool.one(seen)
end

function pool.lend(bev, yes)
  lent[bev] = yes
end

function pool.islent(bev)
  return lent[bev]
end

function pool.detached(bev, fd)
  if lent[bev] then pool.see(fd) else pool.own(fd) end
end

function pool.closeown()
  for _, fd in ipairs(own) do pcall(libevent.closesocket, fd) end
  own = {}
end

-- ====}

return pool
