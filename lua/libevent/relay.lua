--- libevent.relay: two bufferevents joined, what one reads the other writes.
---
--- No byte becomes a Lua string. Each direction stops reading while the other
--- end has HIGH bytes to send, and goes on when LOW are left of them: a peer
--- that takes nothing costs no more memory than that. The end of one direction
--- is passed on, and the other goes on until it ends too.

local HIGH, LOW = 256 * 1024, 64 * 1024

local function expect(ok, n, what)
  if not ok then
    error(("bad argument #%d to 'relay' (%s)"):format(n, what), 4)
  end
end

--- All that could be wrong, before anything changes.
local function check(a, b, done)
  for n = 1, 2 do
    local bev = ({a, b})[n]
    local ok, message = pcall(function() bev:getcb() end)
    expect(tostring(bev):find "^libevent.Bufferevent", n,
           "Bufferevent expected, got " .. type(bev))
    expect(ok, n, tostring(message):match "%((.*)%)$" or message)
  end
  expect(a ~= b, 2, "another Bufferevent expected")
  expect(a:base() == b:base(), 2, "Bufferevent is of another base")
  expect(done == nil or type(done) == "function", 3,
         "function expected, got " .. type(done))
end

return function(a, b, done)
  check(a, b, done)
  local open = 2                                      -- directions
  local waiting = {}                                  -- who does not read

  local function finish(what, detail, errno)
    a:close_after_flush()
    b:close_after_flush()
    if done then done(a, b, what, detail, errno) end
  end

  local function pass(from, to)
    local ok, message = pcall(to.write, to, from:input())
    if not ok then
      return finish("error", message:find "closed" and "closed"
                             or message:match "[^:]*$":gsub("^ ", ""))
    end
    waiting[from] = #to:output() >= HIGH or nil
    if waiting[from] then from:disable "read" end
    return true
  end

  local function begin(from)
    local ok, message, errno = from:enable "read"
    if not ok then finish("error", message, errno) end
    return ok
  end

  local function join(from, to)
    from:setwatermark("write", LOW)
    from:setcb(function() pass(from, to) end, function()
      if waiting[to] then
        waiting[to] = nil
        begin(to)
      end
    end, function(_, what, detail, errno)
      if what == "connected" then return end
      if detail == "writing" then from:close() end    -- it takes nothing
      if what ~= "eof" or detail ~= "reading" or open == 1 then
        return finish(what, detail, errno)
      end
      if pass(from, to) then
        open = open - 1
        waiting[from] = nil
        to:shutdown "write"
      end
    end)
  end

  join(a, b)
  join(b, a)
  if begin(a) then begin(b) end
  return a, b
end
