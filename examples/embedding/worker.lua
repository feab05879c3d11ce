--- What each thread of threads.c runs: an echo server that greets with its
--- thread's number.

local base, number, port = ...

local function echo(conn) conn:write(conn:input()) end

local listener = assert(base:listener("127.0.0.1:" .. port, function(_, conn)
  conn:setcb(echo, nil, conn.close):enable "read"
  conn:write(("thread %d\n"):format(number))
end, {flags = "reuseable_port"}))

return math.tointeger(listener:sockname():match ":(%d+)$")
