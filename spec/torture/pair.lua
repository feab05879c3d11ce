--- Pairs of bufferevents, and filters on bufferevents.

local large = ("large "):rep(20000)

local function upper(source, sink)
  sink:add(source:remove():upper())
end

return {
  {"a pair", function(s)
    local a, b = s.base:pair()
    local heard, over = 0, false
    b:setcb(function(bev) heard = heard + #bev:read() end, nil,
      function(...)
        over = s.onevent(...) or select(2, ...)
      end)
    assert(b:enable "read")
    assert(a:partner() == b)
    a:write("data", large):flush("write", "flush")
    s:run(function() return heard == 4 + #large end)
    a:shutdown()
    s:run(function() return over end)
    assert(over == "eof")
  end},

  {"a pair with a high mark", function(s)
    local a, b = s.base:pair()
    local n = 0
    -- of more than that libevent would lose what it has to copy: doc/guide.md
    b:setwatermark("read", 0, 8000):setcb(function(bev) n = n + #bev:read() end)
    assert(b:enable "read")
    a:write(large:sub(1, 8000))
    s:run(function() return n == 8000 end)
  end},

  {"the ends of a pair", function(s)
    local a, b = s.base:pair()
    local told
    b:setcb(nil, nil, function(_, what) told = what end)
    assert(b:enable "read")
    a:write "data":close()
    s:run(function() return told end)
    assert(b:read() == "data" and b:partner() == nil)
    b:write "more"
    s:run(function() return told == "error" end)
  end},

  {"timeouts of a pair", function(s)
    local a, b = s.base:pair()
    local told = {}
    local function tell(_, what, how) told[how] = what end
    a:setcb(nil, nil, tell):set_timeouts(0.001, 0.001)
    assert(a:enable "read")
    a:write "data"
    s:run(function() return next(told) end)
    b:close()
  end},

  {"close_after_flush of a pair", function(s)
    local a, b = s.base:pair()
    local n, over = 0, false
    b:setcb(function(bev) n = n + #bev:read() end, nil,
      function(...)
        over = s.onevent(...) or select(2, ...)
      end)
    assert(b:enable "read")
    a:write(large):close_after_flush()
    s:run(function() return over end)
    assert(n == #large)
  end},

  {"a filter", function(s)
    local a, b = s.base:pair()
    local filter = s.base:filter(a, upper, upper)
    local heard, back = "", ""
    filter:setcb(function(bev) heard = heard .. bev:read() end, nil, s.onevent)
    b:setcb(function(bev) back = back .. bev:read() end, nil, s.onevent)
    assert(filter:enable "read")
    assert(b:enable "read")
    assert(filter:underlying() == a)
    b:write "up"
    filter:write "down"
    s:run(function() return heard == "UP" and back == "DOWN" end)
    filter:flush("read|write", "flush")
    s.base:loop "nonblock"
    local below = filter:detach()
    assert(below == a)
    below:close()
  end},

  {"filters on a socket", function(s)
    local server, client = s:connected()
    local low = s.base:filter(client, nil, function(source, sink, mode)
      sink:add(source)
      if mode == "finished" then sink:add "bye" end
    end)
    local top = s.base:filter(low, upper)
    local heard, over = {}, false
    server:setcb(function(b) heard[#heard + 1] = b:read() end, nil,
      function(...)
        over = s.onevent(...) or select(2, ...)
      end)
    assert(server:enable "read")
    top:setwatermark("write", 0, 100):write(large):close_after_flush()
    s:run(function() return over end)
    assert(table.concat(heard) == large .. "bye")
  end},

  {"a filter that refuses", function(s)
    local a, b = s.base:pair()
    local told
    local filter = s.base:filter(a, function() return nil, "no", 7 end)
    filter:setcb(nil, nil, function(_, what, why) told = what .. why end)
    assert(filter:enable "read")
    b:write "data"
    s:run(function() return told end)
    assert(told == "errorno" or told:find "memory", told)
  end},
}
