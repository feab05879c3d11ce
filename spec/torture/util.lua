--- The functions of the module that have no object.

local libevent = require "libevent"

return {
  {"sockets", function(s)
    s.fd, s.fd2 = libevent.socketpair "dgram"
    assert(libevent.make_socket_nonblocking(s.fd))
    assert(libevent.make_socket_closeonexec(s.fd))
    assert(libevent.closesocket(s.fd))
    s.fd = false
  end},

  {"times", function()
    assert(libevent.date_rfc1123(0) == "Thu, 01 Jan 1970 00:00:00 GMT")
    assert(libevent.gettime_monotonic())
    assert(libevent.gettime_monotonic "precise")
  end},

  {"addresses", function()
    assert(libevent.inet_ntop(libevent.inet_pton "::1") == "::1")
    local packed, scope = libevent.inet_pton_scope "fe80::1%2"
    assert(#packed == 16 and scope == 2)
    local list, message = libevent.getaddrinfo("127.0.0.1", 80)
    if not list then error(message, 0) end
    assert(list[1] == "127.0.0.1:80")
  end},

  {"random bytes", function()
    assert(#libevent.secure_rng_bytes(2000) == 2000)
  end},

  {"libevent.relay", function(s)
    local a, b = s.base:pair()
    local c, d = s.base:pair()
    local large, n, over = ("large "):rep(80000), 0, false
    libevent.relay(b, c, function(...) over = select(4, ...) end)
    d:setcb(function(bev) n = n + #bev:read() end, nil, s.onevent)
    assert(d:enable "read")
    a:setcb(nil, nil, function() end):write(large)
    assert(a:enable "read")
    s:run(function() return n == #large or over end)
    if over then error(over, 0) end
    a:shutdown()
    d:shutdown()
    s:run(function() return over end)
    if over ~= "reading" then error(over, 0) end
  end},
}
