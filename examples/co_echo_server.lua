-- Echo server in five lines, with a task for each connection. It reads no
-- faster than its clients do: write waits for them.
--   lua5.4 examples/co_echo_server.lua [address]      (127.0.0.1:9999)
-- Try it: nc 127.0.0.1 9999
local co = require "libevent.co"

co.run(function()
  local server = assert(co.listen(arg[1] or "127.0.0.1:9999", function(stream)
    for data in stream:chunks() do stream:write(data) end
  end))

  io.stdout:write("echo server on ", server:sockname(), "\n"):flush()
  co.signal "INT"                               -- Ctrl-C
  co.base():loopexit()
end)
