-- Chat room: what one of its members writes, all others read. Each member has a
-- task that reads its lines and one that writes to it what the others say; who
-- does not read that is out.
--   lua5.4 examples/chat_room.lua [address]      (127.0.0.1:9999)
-- Try it: nc 127.0.0.1 9999 in two windows
local co = require "libevent.co"

local MOST = 100                        -- lines that a member has not read yet
local members = {}                      -- name -> {stream, words for it}

local function tell(name, text)         -- all but this one
  for other, member in pairs(members) do
    if #member.words == MOST then
      member.stream:close()                                 -- it never reads
    elseif other ~= name then
      member.words:put(text .. "\n")
    end
  end
end

-- Asks for a name that nobody has.
local function ask(stream)
  repeat
    stream:write "Your name? "
    local name = stream:read("l", 20)
    if not name then return nil end
    name = name:match "^%s*(%w+)%s*$"
    if name and not members[name] then return name end
  until not stream:write "Letters and digits, please, and no one else's name.\n"
end

local function names()
  local list = {}
  for name in pairs(members) do list[#list + 1] = name end
  table.sort(list)
  return #list == 0 and "nobody" or table.concat(list, ", ")
end

local function chat(stream)
  local name = ask(stream)
  if not name then return end
  stream:write("Hello, ", name, ". Here: ", names(), ".\n")
  local words = co.channel(MOST)
  members[name] = {stream = stream, words = words}
  local _ <close> = co.spawn(function()         -- as long as chat runs
    for text in words:values() do
      if not stream:write(text) then return end
    end
  end)
  tell(name, name .. " is here.")
  for line in stream:lines(1000) do tell(name, name .. ": " .. line) end
  members[name] = nil
  tell(name, name .. " has left.")
end

co.run(function()
  local server = assert(co.listen(arg[1] or "127.0.0.1:9999", chat))
  io.stdout:write("chat room on ", server:sockname(), "\n"):flush()
  co.signal "INT"
  co.base():loopexit()
end)
