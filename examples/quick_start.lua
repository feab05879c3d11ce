-- Quick start: one base with a timer, standard input with a timeout, standard
-- output and signals. What is typed comes back.
--   lua5.4 examples/quick_start.lua [timer] [timeout] [delay]      (5 2 1)
-- Try it: type something, wait, press Ctrl-C, which ends it after the delay;
-- kill -HUP $(pgrep -f quick_start) ends it at once
local libevent = require "libevent"

io.stdout:setvbuf "line"
local every = tonumber(arg[1] or 5)
local timeout = tonumber(arg[2] or 2)
local delay = tonumber(arg[3] or 1)

local function fail(...)
  io.stderr:write(...)
  io.stderr:write "\n"
  os.exit(1)
end

local base = libevent.base {features = "fds"}   -- stdin and stdout can be files
local input, output = libevent.buffer(), libevent.buffer()
local reading, writing
local ended = false

base:timer(function(event)
  print("timer: " .. every .. " s have passed")
  event:add(every)
end):add(every)

-- Reading and writing take turns: what was typed is written before more is
-- read.
reading = base:event(io.stdin, "read", function(_, what)
  if what == "timeout" then
    output:add("input: nothing for ", timeout, " s\n")
  else
    local count, message = input:read(io.stdin)
    if not count then fail("standard input: ", message) end
    ended = count == 0
    if ended and #input > 0 then input:add "\n" end     -- the last line's own
  end
  for line in function() return input:readln() end do
    output:add("typed: ", line, "\n")
  end
  if ended then output:add "input: no more\n" end
  writing:add()
end):add(timeout)

writing = base:event(io.stdout, "write", function()
  local count, message = output:write(io.stdout)
  if not count then fail("standard output: ", message) end
  if #output > 0 then
    writing:add()
  elseif not ended then
    reading:add(timeout)
  end
end)

base:signal("INT", function()
  print("SIGINT: the end in " .. delay .. " s")
  base:loopexit(delay)
end):add()
for _, name in ipairs {"HUP", "TERM"} do
  base:signal(name, function()
    print("SIG" .. name .. ": the end at once")
    base:loopbreak()
  end):add()
end
base:dispatch()
