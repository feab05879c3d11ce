-- Filters: lines for the script, frames with a length on the wire. Both ends
-- of a TCP connection stand on the same pair of filter functions.
--   lua5.4 examples/filter.lua [line...]
local libevent = require "libevent"
local base = libevent.base()

-- From the script to the wire: each whole line becomes a frame.
local function pack(source, sink)
  for line in function() return source:readln "lf" end do
    if #line > 0xffff then return nil, "line too long" end
    sink:add(string.pack(">s2", line))
  end
end

-- From the wire to the script. What is not whole yet stays in the source.
local function unpack(source, sink, mode)
  while #source >= 2 do
    local size = string.unpack(">I2", source:copyout(2))
    if #source < 2 + size then break end
    source:drain(2)
    source:remove_buffer(sink, size)
    sink:add "\n"
  end
  if mode == "finished" and #source > 0 then return nil, "frame cut short" end
end

local function framed(conn)
  return base:filter(conn, unpack, pack):enable "read"
end

local listener = assert(base:listener("127.0.0.1:0", function(listener, conn)
  listener:close()
  local server = framed(conn)
  server:setcb(function()
    for line in function() return server:input():readln "lf" end do
      print("server got: " .. line)
      server:write(line:upper(), "\n")
    end
  end)
end))

local conn = base:bufferevent()
local client = framed(conn)
client:setcb(function()
  for line in function() return client:input():readln "lf" end do
    print("client got: " .. line)
  end
end, nil, function(_, what, detail)
  print("client: " .. what .. (detail and ", " .. detail or ""))
end)
assert(conn:connect(listener:sockname()))
for _, line in ipairs(#arg > 0 and arg or {"hello", "", "frames"}) do
  client:write(line, "\n")
end
client:shutdown "write"
base:dispatch()
