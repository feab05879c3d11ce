-- Looks names up: prints the addresses of each host, and the name of each
-- address. All are asked for at once, and printed as the answers come.
--   lua5.4 examples/resolve.lua [-s server] host or address ...
-- Try it: lua5.4 examples/resolve.lua localhost debian.org 9.9.9.9
local libevent = require "libevent"

local function fail(...)
  io.stderr:write(...)
  io.stderr:write "\n"
  os.exit(1)
end

-- With -s that server is asked, whatever the files of this machine say.
local first, options = 1, nil
if arg[1] == "-s" then
  first, options = 3, {nameservers = {arg[2]}, hosts = false}
end
if not arg[first] then
  fail "usage: resolve.lua [-s server] host or address ..."
end
local base = libevent.base()
local ok, dns = pcall(base.dns, base, options)
if not ok then fail(arg[2], " is not the address of a server") end
local failed = false

for i = first, #arg do
  local what = arg[i]
  local function show(_, answer, message)
    if not answer then
      io.stderr:write(message, "\n")
      failed = true
    elseif type(answer) == "table" then
      print(what .. "\t" .. table.concat(answer, " "))
    else
      print(what .. "\t" .. answer:gsub("%c", "?"))   -- who knows what it is
    end
  end
  if libevent.inet_pton(what) then
    dns:reverse(what, show)
  else
    dns:resolve(what, show)
  end
end
base:dispatch()
os.exit(not failed, true)
