-- Half close: the client ends its own direction, and the answer still comes by
-- the other. A server that sorts has to see the end before it can answer.
--   lua5.4 examples/half_close.lua [word...]      (pear apple fig)
local libevent = require "libevent"
local base = libevent.base()
local words = #arg > 0 and arg or {"pear", "apple", "fig"}

local function sort(listener, conn)
  listener:close()                       -- one client is enough
  local list = {}
  conn:setcb(function(c)
    for line in function() return c:input():readln() end do
      print("server: got " .. line)
      list[#list + 1] = line
    end
  end, nil, function(c, what)
    if what ~= "eof" then c:close() return end
    print "server: eof, so these are all, and go back sorted"
    table.sort(list)
    c:write(table.concat(list, "\n"), "\n"):close_after_flush()
  end)
  conn:enable "read"
end
local listener = assert(base:listener("127.0.0.1:0", sort))

local client = base:bufferevent()
client:setcb(function(c)
  for line in function() return c:input():readln() end do
    print("client: got " .. line)
  end
end, nil, function(c, what)
  if what == "connected" then return end
  print("client: " .. what)
  c:close()
end)
assert(client:connect(listener:sockname()))
client:enable "read"
for _, word in ipairs(words) do client:write(word, "\n") end
client:shutdown "write"                  -- takes effect when all is sent
print "client: my words are written, no more will come"
base:dispatch()
