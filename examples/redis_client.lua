-- Redis client: its protocol over a stream, many commands at once, and messages
-- that come when others publish them.
--   lua5.4 examples/redis_client.lua [address]      (127.0.0.1:6379)
-- Try it: redis-server --port 6379 &
local co = require "libevent.co"

local address = arg[1] or "127.0.0.1:6379"

-- {==== The protocol ====

-- A command on the wire: a list of strings, each with its length.
local function encode(...)
  local list = {("*%d\r\n"):format(select("#", ...))}
  for i, word in ipairs {...} do
    word = tostring(word)
    list[i + 1] = ("$%d\r\n%s\r\n"):format(#word, word)
  end
  return table.concat(list)
end

-- Reads a reply: a string, an integer, false for nothing, a list, or a table
-- with the field 'error'.
local function reply(stream)
  local line = assert(stream:read())
  local kind, rest = line:sub(1, 1), line:sub(2)
  local n = tonumber(rest)
  if kind == "+" then
    return rest
  elseif kind == "-" then
    return {error = rest}
  elseif kind == ":" then
    return n
  elseif n < 0 then
    return false
  elseif kind == "$" then
    return assert(stream:read(n + 2)):sub(1, -3)
  end
  local list = {}
  for i = 1, n do list[i] = reply(stream) end
  return list
end

local function call(stream, ...)
  assert(stream:write(encode(...)))
  return reply(stream)
end

-- Sends all commands, and reads the replies while it does.
local function pipeline(stream, commands)
  local _ <close> = co.spawn(function()
    for _, command in ipairs(commands) do
      assert(stream:write(encode(table.unpack(command))))
    end
  end)
  local replies = {}
  for i = 1, #commands do replies[i] = reply(stream) end
  return replies
end

-- Prints the messages of a channel, up to "the end".
local function listen(name, channel, ready)
  local stream <close> = assert(co.connect(address))
  call(stream, "SUBSCRIBE", channel)
  ready:done()
  repeat
    local text = reply(stream)[3]
    print(name .. " hears", text)
  until text == "the end"
end

-- ====}

co.run(function()
  local redis <close> = assert(co.connect(address))
  print("PING", call(redis, "PING"))
  print("SET", call(redis, "SET", "example", "some words\r\nin two lines"))
  print("GET", (call(redis, "GET", "example"):gsub("\r\n", " | ")))
  print("INCR", call(redis, "INCR", "example").error)
  print("DEL", call(redis, "DEL", "example"))
  print("GET", call(redis, "GET", "example"))

  local commands = {{"DEL", "example:list"}}
  for i = 1, 10000 do commands[i + 1] = {"RPUSH", "example:list", i} end
  local replies = pipeline(redis, commands)
  print(#replies .. " commands at once", "the last one: " .. replies[#replies])
  local first = call(redis, "LRANGE", "example:list", 0, 4)
  print("LRANGE", table.concat(first, " "))
  call(redis, "DEL", "example:list")

  local ready = co.waitgroup():add(2)
  co.spawn(listen, "one task", "example:news", ready)
  co.spawn(listen, "another", "example:news", ready)
  ready:wait()
  for _, text in ipairs {"first news", "more news", "the end"} do
    print("PUBLISH", call(redis, "PUBLISH", "example:news", text))
  end
end)
