--- Listeners.

return {
  {"a listener", function(s)
    local accepted = 0
    local listener = assert(s.base:listener("127.0.0.1:0", function() end,
      {flags = "disabled|reuseable_port", backlog = 5}))
    listener:set_cb(function(_, conn, peer)
      assert(peer:find "127.0.0.1:%d")
      accepted = accepted + 1
      conn:close()
    end):set_error_cb(function(_, message) error(message, 0) end)
    assert(listener:enabled() == false)
    assert(listener:enable())
    assert(listener:fd() and listener:base() == s.base)
    for _ = 1, 3 do
      assert(s.base:bufferevent():connect(listener:sockname()))
    end
    s:run(function() return accepted == 3 end)
    listener:disable():close()
  end},

  {"a listener with more than a turn to do", function(s)
    local accepted = 0
    local listener = assert(s.base:listener("127.0.0.1:0", function()
      accepted = accepted + 1
    end))
    local address, list = listener:sockname(), {}
    for i = 1, 70 do
      list[i] = s.base:bufferevent()
      assert(list[i]:connect(address))
    end
    s:run(function() return accepted == 70 end)
    listener:close()
  end},

  {"a listener on a path", function(s)
    local path, accepted = os.tmpname(), false
    os.remove(path)
    s.path = "unix:" .. path
    local listener = assert(s.base:listener(s.path, function()
      accepted = true
    end))
    assert(s.base:bufferevent():connect(s.path))
    s:run(function() return accepted end)
    listener:close()
  end},

  {"a listener on a descriptor", function(s)
    local fd = assert(s.base:listener("127.0.0.1:0", function() end))
    local listener = assert(s.base:listener({getfd = function()
      return fd:fd()
    end}, function() end))
    listener:close()
    fd:close()
  end},
}
