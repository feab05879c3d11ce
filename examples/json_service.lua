-- A JSON service: a list of things to do. Needs dkjson.
--   lua5.4 examples/json_service.lua [address]      (127.0.0.1:8081)
-- Try it: curl -d '{"text": "water the plants"}' http://127.0.0.1:8081/todos
--   curl -X PATCH -d '{"done": true}' http://127.0.0.1:8081/todos/1
--   curl http://127.0.0.1:8081/todos
--   curl -X DELETE http://127.0.0.1:8081/todos/1
local libevent = require "libevent"
local json = require "dkjson"

local base = libevent.base()
local http = base:http {default_content_type = "application/json",
                        max_body_size = 65536}
local todos, last = {}, 0

local function reply(req, status, value, headers)
  local text = json.encode(value, {keyorder = {"id", "text", "done"}})
  req:send_reply(status, nil, text .. "\n", headers)
end

local function refuse(req, status, message, headers)
  reply(req, status, {error = message}, headers)
end

-- What a body says of a thing to do, or nil and what is wrong with it.
local function parse(req)
  local value, _, message = json.decode(req:body())
  if message then return nil, message end
  if type(value) ~= "table" then return nil, "an object is expected" end
  for name, kind in pairs {text = "string", done = "boolean"} do
    if value[name] ~= nil and type(value[name]) ~= kind then
      return nil, ("%s: a %s is expected"):format(name, kind)
    end
  end
  return value
end

local list, item = {}, {}              -- by method: of /todos, and of one

function list.GET(req)
  local all = setmetatable({}, {__jsontype = "array"})      -- even when empty
  for id = 1, last do all[#all + 1] = todos[id] end
  reply(req, 200, all)
end

function list.POST(req)
  local new, message = parse(req)
  if not new then return refuse(req, 400, message) end
  if not new.text then return refuse(req, 422, "text is missing") end
  last = last + 1
  todos[last] = {id = last, text = new.text, done = new.done or false}
  reply(req, 201, todos[last], {Location = "/todos/" .. last})
end

function item.GET(req, todo)
  reply(req, 200, todo)
end

function item.PATCH(req, todo)
  local change, message = parse(req)
  if not change then return refuse(req, 400, message) end
  todo.text = change.text or todo.text
  if change.done ~= nil then todo.done = change.done end
  reply(req, 200, todo)
end

function item.DELETE(req, todo)
  todos[todo.id] = nil
  req:send_reply(204)
end

http:set_gencb(function(req)
  local path, method = req:path(), req:command()
  local todo = todos[tonumber(path:match "^/todos/(%d+)$")]
  local methods = path == "/todos" and list or todo and item
  if not methods then return refuse(req, 404, "not found") end
  local f = methods[method == "HEAD" and "GET" or method]
  if f then return f(req, todo) end
  local names = {}
  for name in pairs(methods) do names[#names + 1] = name end
  table.sort(names)
  refuse(req, 405, "not allowed", {Allow = table.concat(names, ", ")})
end)

local address = arg[1] or "127.0.0.1:8081"
local listener, message = http:bind_socket(address)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
io.stdout:setvbuf "line"
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("things to do on " .. listener:sockname())
base:dispatch()
