-- Port scanner of this machine: the TCP ports on which somebody listens, and
-- what those say by themselves. Several tasks take the ports from a channel.
--   lua5.4 examples/port_scanner.lua [first [last [tasks]]]      (1 65535 200)
local co = require "libevent.co"

local first, last = tonumber(arg[1] or 1), tonumber(arg[2] or 65535)

-- What a server says to who says nothing.
local function greeting(stream)
  local text, message = stream:set_timeout(0.2):read_some(60)
  if text then return (text:gsub("%c.*", "")) end
  return message == "timeout" and "(waits for us)" or "(" .. message .. ")"
end

local function scan(ports, found)
  for port in ports:values() do
    local address = "127.0.0.1:" .. port
    local stream <close> = co.connect(address, {timeout = 1})
    -- The system may have connected us to ourselves.
    if stream and stream:sockname() ~= address then
      local text = greeting(stream)             -- others go on meanwhile:
      found[#found + 1] = {port, text}          -- so #found is asked after it
    end
  end
end

co.run(function()
  local ports, found, tasks = co.channel(), {}, {}
  for i = 1, tonumber(arg[3] or 200) do
    tasks[i] = co.spawn(scan, ports, found)
  end
  for port = first, last do ports:put(port) end
  ports:close()
  for _, task in ipairs(tasks) do task:join() end

  table.sort(found, function(a, b) return a[1] < b[1] end)
  for _, entry in ipairs(found) do
    print(("%5d  %s"):format(entry[1], entry[2]))
  end
  print(("%d of %d ports are open"):format(#found, last - first + 1))
end)
