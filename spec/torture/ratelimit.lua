--- Rate limits, of one bufferevent and of a group.

return {
  {"the limits of a bufferevent", function(s)
    local server, client = s:connected()
    local n = 0
    server:setcb(function(b) n = n + #b:read() end, nil, s.onevent)
    server:set_rate_limit {read = 100000, write = 1000, tick = 0.001}
    assert(server:enable "read")
    client:write(("x"):rep(1000))
    s:run(function() return n == 1000 end)
    assert(server:read_limit() and server:write_limit())
    server:decrement_read_limit(10):decrement_write_limit(-10)
    assert(server:max_to_read() and server:max_to_write())
    server:set_max_single_read(100):set_max_single_write(100)
    assert(server:max_single_read() == 100 and server:max_single_write())
    server:set_rate_limit {read = 200000}
    server:set_rate_limit()
  end},

  {"limits that are reached", function(s)
    local server, client = s:connected()
    local n = 0
    server:setcb(function(b) n = n + #b:read() end, nil, s.onevent)
    server:set_rate_limit {read = 100000, read_burst = 100, tick = 0.001}
    client:set_rate_limit {write = 100000, write_burst = 100, tick = 0.001}
    assert(server:enable "read")
    client:write(("x"):rep(1000))
    s:run(function() return n == 1000 end)
  end},

  {"the limits of a group", function(s)
    local server, client = s:connected()
    local group = s.base:rate_limit_group {read = 100000, tick = 0.001}
    local n = 0
    server:setcb(function(b) n = n + #b:read() end, nil, s.onevent)
    server:add_to_rate_limit_group(group)
    assert(server:enable "read")
    client:write(("x"):rep(1000))
    s:run(function() return n == 1000 end)
    assert(group:totals() == 1000 and group:read_limit())
    assert(group:write_limit() == nil and group:base() == s.base)
    group:set_min_share(100):decrement_read(10)
    group:set_cfg {read = 200000, write = 1000}
    group:decrement_write(10):reset_totals()
    client:add_to_rate_limit_group(group):remove_from_rate_limit_group()
    client:write "more"
    s:run(function() return n == 1004 end)
    group:close()
  end},
}
