-- One base in two processes: after reinit the child runs a loop of its own on
-- it, and whatever it ends there goes on in the parent.
--   lua5.4 examples/fork.lua      (needs luaposix)
local libevent = require "libevent"
local unistd = require "posix.unistd"
local wait = require "posix.sys.wait".wait

io.stdout:setvbuf "line"   -- what is unwritten at the fork is written twice
local base = libevent.base()
local pid

local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
  conn:setcb(function(c)
    local line = c:input():readln()
    if line then
      print("parent: my listener still listens, and hears: " .. line)
      c:write "welcome\n"
    end
  end)
  conn:enable "read"
end))
local address = listener:sockname()
-- Added before the fork, so that no end of the child's comes too early for it.
local chld = base:signal("CHLD", function()
  local _, how, status = wait(pid)
  print(("parent: my signal still comes: the child has %s, status %d"):format(
    how, status))
  base:loopexit()
end):add()

local function child()
  assert(base:reinit())
  chld:del()
  listener:close()
  print "child: I have ended my copies of the signal and the listener"

  local caller = base:bufferevent()
  caller:setcb(function(c)
    local line = c:input():readln()
    if line then
      print("child: I called the parent, and hear: " .. line)
      c:close()
    end
  end)
  assert(caller:connect(address))
  caller:write "hello\n":enable "read"
  base:dispatch()
  print "child: nothing is left for my loop"
end

print "parent: I wait for a connection and for a signal, and fork"
pid = assert(unistd.fork())
if pid == 0 then
  child()
else
  base:dispatch()
  print "parent: my loop has ended too"
end
