--- src/lualibevent.h: a base of the host's, and wakers.

local host = rawget(_G, "host")               -- spec/c/torture.c's

return {
  {"a base of the host's", function(s)
    local base, n = host.base(), 0
    assert(base == host.base())
    local waker = assert(base:waker(function() n = n + 1 end))
    local heard = "not enough memory"
    base:set_error_cb(function(message) heard = message end)
    assert(base:timer(function() n = n + 10 end):add(0))
    host.loop(waker)
    if n ~= 11 then error(heard, 0) end
    base:close()
    s.base:close()
  end, host = true},
}
