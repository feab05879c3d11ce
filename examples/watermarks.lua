-- Watermarks: how much must have come, or gone, for a callback to be called,
-- and how much may wait in the input. Both ends are in this one process.
--   lua5.4 examples/watermarks.lua
local libevent = require "libevent"
local base = libevent.base()

local function runtill(done)
  while not done() do
    assert(base:loop "once", "nothing is left to wait for")
  end
end

local reader
local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
  reader = conn
  l:close()
end))
local writer = base:bufferevent()
assert(writer:connect(listener:sockname()))
runtill(function() return reader end)

local function input(n)
  return function() return #reader:input() == n end
end
reader:setcb(function(r)
  print(("  read callback: the input holds %d bytes"):format(#r:input()))
end)
reader:enable "read"

print "read, low mark 10: no callback before that many bytes have come"
reader:setwatermark("read", 10)
for i = 1, 3 do
  print "  4 bytes are sent"
  writer:write "1234"
  runtill(input(4 * i))
end
reader:input():drain()

print "read, high mark 1000: at that many, reading stops until some are taken"
reader:setwatermark("read", 0, 1000)
print "  2500 bytes are sent"
writer:write(("x"):rep(2500))
runtill(input(1000))
print "  600 bytes are taken"
reader:input():drain(600)
runtill(input(1000))
print "  all are taken"
reader:input():drain()
runtill(input(900))
reader:input():drain()

print "write, low mark 4 MiB: the callback need not wait until all is sent"
reader:setwatermark "read"
reader:setcb(function(r) r:input():drain() end)
writer:setwatermark("write", 4 << 20)
local called = false
writer:setcb(nil, function(w)
  called = true
  print("  write callback: " .. (#w:output() == 0 and "all is sent"
                                 or "time to write more, some is left"))
  w:setcb()
end)
print "  8 MiB are written"
writer:write(("x"):rep(8 << 20))
print("  flush has moved data: " .. tostring(writer:flush("write", "flush"))
      .. ", on a socket it is the loop that sends")
runtill(function() return called end)
