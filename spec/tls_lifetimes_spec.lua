--- What may happen in the middle of a handshake, between any two of its steps,
--- and to what a connection by TLS stands on: no end is left without a word,
--- nothing is left behind. What may happen in callbacks is in gc_spec.lua.

local secure = require "spec.selfsigned"
local t = require "spec.helper"
local tls = require "libevent.tls"

local PIECE = 200               -- bytes of a handshake that pass in one step
local STEPS = 40                -- of which a handshake has fewer
local RESETS = os.getenv "VALGRIND" and 7 or 1

--- Between what versions: 1.2 has more flights.
local versions = {"1.2", "1.3"}

--- What is done to c, which has base, server, client, contexts and between.
--- Who is closed is told of nothing; 'ends' is what both ends come to, if it is
--- not the end of the handshake: "closed" or an event.
local actions = {
  ["nothing"] = function() end,
  ["the client closes"] = function(c) c.client:close():close() end,
  ["the server closes"] = function(c) c.server:close():close() end,
  ["both close"] = function(c)
    c.client:close()
    c.server:close()
  end,
  ["the client closes when all is sent"] = function(c)
    c.client:write "data":close_after_flush()
  end,
  ["the server closes when all is sent"] = function(c)
    c.server:write "data":close_after_flush()
  end,
  ["both shut down"] = function(c)
    c.client:write "data":shutdown()
    c.server:write "data":shutdown()
  end,
  ["the client loses its descriptor"] = function(c) c.client:setfd(nil) end,
  ["the server loses its descriptor"] = function(c) c.server:setfd(nil) end,
  ["the base is closed"] = function(c) c.base:close() end,
  ["every reference is dropped"] = function(c)
    c.client, c.server, c.contexts = nil, nil, nil
    collectgarbage() collectgarbage()
  end,
  ["the contexts are gone"] = function(c)
    c.contexts = nil
    collectgarbage() collectgarbage()
  end,
  ["the contexts are loaded again"] = function(c)
    for _, context in ipairs(c.contexts) do assert(context:reload()) end
    collectgarbage() collectgarbage()
  end,
  ["the contexts are loaded again, and gone"] = function(c)
    for _, context in ipairs(c.contexts) do assert(context:reload()) end
    c.contexts = nil
    collectgarbage() collectgarbage()
  end,
  ["the wire is cut"] = function(c) c.between:close() end,
  ["half the wire is cut"] = function(c) c.between:hangup "client" end,
  ["the callbacks are gone"] = function(c)
    c.client:setcb()
    c.server:setcb()
  end,
  ["everything is asked and set"] = function(c)
    for _, bev in ipairs {c.client, c.server} do
      bev:tls()
      bev:getfd()
      bev:enabled()
      bev:getcb()
      bev:disable "read|write":enable "read|write"
      bev:set_timeouts(9, 9):setwatermark("read", 1, 2)
      bev:setwatermark("read", 0):priority_set(0)
      bev:set_rate_limit {read = 1000000, write = 1000000}
      bev:set_rate_limit()
      t.raises("TLS", bev.starttls, bev, c.contexts[1], false)
      t.raises("TLS", bev.detach, bev)
    end
  end,
  ["much is written"] = function(c)
    c.client:write(("x"):rep(100000))
    c.server:write(("y"):rep(100000))
  end,
  ["both are triggered"] = function(c)
    c.client:trigger "read|write"
    c.server:trigger "read|write"
  end,
  ["filters are put on both"] = function(c)
    for _, name in ipairs {"client", "server"} do
      local read, write, event = c[name]:getcb()
      local filter = c.base:filter(c[name], function(from, to) to:add(from) end)
      c[name] = filter:setcb(read, write, event)
      filter:enable "read"
    end
  end,
}

local function make(version)
  local c = {base = t.base(), told = {}}
  c.contexts = {secure.contexts {max_version = version}}
  c.server, c.client, c.between = secure.apart(c.base,
                                               table.unpack(c.contexts))
  for _, name in ipairs {"server", "client"} do
    c.told[name] = {}
    c[name]:setcb(function(b) b:read() end, nil, function(b, what, detail)
      table.insert(c.told[name], what .. ":" .. tostring(detail))
      if what ~= "connected" then b:close() end
    end)
    assert(c[name]:enable "read")
  end
  return c
end

local function step(c)
  if not t.isclosed(c.base) then c.base:loop "nonblock" end
  c.between:pass(PIECE)
  if not t.isclosed(c.base) then c.base:loop "nonblock" end
end

--- An event that is no end comes once and first; an end once and last.
local function inorder(list, words)
  for i, told in ipairs(list) do
    local connected = told:find "^connected"
    assert(not connected or i == 1, words)
    assert(connected or i == #list, words)
  end
end

local function play(action, version, at)
  local c = make(version)
  for _ = 1, at do step(c) end
  action(c)
  for _ = 1, 5 * STEPS do step(c) end
  local words = ("after step %d: the server %s; the client %s"):format(at,
    table.concat(c.told.server, ", "), table.concat(c.told.client, ", "))
  inorder(c.told.server, words)
  inorder(c.told.client, words)
  local over = #c.told.client > 0 or #c.told.server > 0
  c.between:close()
  for _ = 1, 5 do step(c) end
  for _, name in ipairs {"server", "client"} do
    local bev = c[name]
    if bev and not t.isclosed(bev) and bev:getcb() and not over then
      error(name .. " is told of nothing: " .. words)
    end
    if bev and not t.isclosed(bev) then bev:close() end
  end
  c.base:close()
  return words
end

for _, version in ipairs(versions) do
  describe("In the middle of a handshake of TLS " .. version, function()
    before_each(t.start)
    after_each(t.finish)

    for name, action in pairs(actions) do
      it("is safe: " .. name, function()
        for at = 0, STEPS, RESETS do play(action, version, at) end
      end)
    end

    it("os.exit(true, true) ends the process", function()
      for at = 0, STEPS, 4 * RESETS do
        local text, status = t.lua(([[
          local secure = require "spec.selfsigned"
          local base = require "libevent".base()
          local a, b, between = secure.apart(base,
            secure.contexts {max_version = %q})
          base:timer(function()
            between:pass(%d)
            at = (at or 0) + 1
            if at > %d then os.exit(true, true) end
          end, "persist"):add(0)
          base:dispatch()
        ]]):format(version, PIECE, at))
        assert.equal("", text)
        assert.equal(0, status)
      end
    end)

    it("a handshake takes fewer steps than are tried", function()
      local words = play(actions.nothing, version, STEPS)
      assert.match("server connected.*client connected", words)
    end)
  end)
end

--- What is done to c, which has base, server, listener, conn, bev and contexts.
local httpactions = {
  ["the server is closed"] = function(c) c.server:close() end,
  ["the server is told to stop"] = function(c) c.server:stop() end,
  ["the listener is closed"] = function(c) c.listener:close() end,
  ["the connection is closed"] = function(c) c.conn:close():close() end,
  ["both are closed"] = function(c)
    c.conn:close()
    c.server:close()
  end,
  ["the other connection is closed"] = function(c) c.bev:close() end,
  ["the base is closed"] = function(c) c.base:close() end,
  ["every reference is dropped"] = function(c)
    c.server, c.listener, c.conn, c.bev, c.contexts = nil, nil, nil, nil, nil
    collectgarbage() collectgarbage()
  end,
  ["the contexts are loaded again, and gone"] = function(c)
    for _, context in ipairs(c.contexts) do assert(context:reload()) end
    c.contexts = nil
    collectgarbage() collectgarbage()
  end,
  ["another request is made"] = function(c)
    c.conn:make_request("GET", "/again", nil, c.answer)
    c.wanted = c.wanted + 1
    c.conn:tls()
    c.conn:peername()
  end,
  ["an error is raised"] = function(c)
    c.base:timer(function() error "oh no" end):add(0)
    pcall(c.base.loop, c.base, "once")
  end,
}

--- The action after so many turns, then turns until each request has its end.
local function ask(action, at)
  local c = {base = t.base(), ended = 0, wanted = 1}
  c.contexts = {secure.contexts()}
  c.server = c.base:http {tls = c.contexts[1]}:set_gencb(function(req)
    assert(req:tls().version)
    req:send_reply(200, nil, "data")
  end)
  c.listener = assert(c.server:bind_socket "127.0.0.1:0")
  local address = c.listener:sockname()
  c.conn = c.base:http_connection("127.0.0.1", tonumber(address:match "%d+$"),
                                  {tls = c.contexts[2]})
  function c.answer(req, message)
    assert(req and req:body() == "data" or type(message) == "string")
    c.ended = c.ended + 1
  end
  c.conn:make_request("GET", "/", nil, c.answer)
  c.bev = c.base:bufferevent(nil, {tls = c.contexts[2]})
  c.bev:setcb(nil, nil, function() end)
  assert(c.bev:connect(address))
  t.turns(c.base, at)
  action(c)
  t.turns(c.base, 40)
  assert(c.ended <= c.wanted, "more than one end")
  if not t.isclosed(c.base) and c.conn and not t.isclosed(c.conn)
     and c.ended < c.wanted then
    t.runtill(c.base, function() return c.ended == c.wanted end)
  end
  c.base:close()
end

describe("In the middle of a handshake of HTTPS", function()
  before_each(t.start)
  after_each(t.finish)

  for name, action in pairs(httpactions) do
    it("is safe: " .. name, function()
      for at = 0, 16, RESETS do ask(action, at) end
    end)
  end
end)

describe("A connection by TLS", function()
  before_each(t.start)
  after_each(t.finish)

  it("outlives its contexts, and what they have made", function()
    local base = t.base()
    local server, client = secure.pair(base)
    for _ = 1, 3 do collectgarbage() end
    local list = t.collect(server)
    assert(server:tls().version and client:tls().verified)
    client:write "hello":close_after_flush()
    t.runtill(base, function() return list.data end)
    assert.equal("hello", list.data)
    base:close()
  end)

  it("keeps nothing of a context alive in Lua", function()
    local base = t.base()
    local weak = setmetatable({secure.contexts()}, {__mode = "v"})
    local server, client = secure.pair(base, weak[1], weak[2])
    collectgarbage() collectgarbage()
    assert.is_nil(weak[1])
    assert.is_nil(weak[2])
    server:close()
    client:close()
    base:close()
  end)

  it("is collected when nothing can be told of it any more", function()
    local base = t.base()
    local weak = setmetatable({}, {__mode = "v"})
    weak[1], weak[2] = secure.pair(base)
    t.turns(base, 3)
    collectgarbage() collectgarbage()
    assert.is_nil(next(weak))
    base:close()
  end)

  it("is collected that never had a descriptor", function()
    local base = t.base()
    local weak = setmetatable({}, {__mode = "v"})
    weak[1] = base:bufferevent(nil, {tls = secure.client()})
    collectgarbage() collectgarbage()
    assert.is_nil(weak[1])
    base:close()
  end)

  it("is freed with contexts that name themselves", function()
    local function name()
      local names = {}
      local a = secure.server {names = names}
      local b = secure.server {names = {["b.test"] = a}}
      names["a.test"], names["b.test"] = a, b
      assert(a:reload() and b:reload() and a:reload())
    end
    for _ = 1, 100 do name() end
    local before = t.heap()
    for _ = 1, 200 do name() end
    t.heapgrown(before, 8 << 10)
  end)

  it("may be closed by a finalizer while it is asked", function()
    local base = t.base()
    local server, client = secure.contexts()
    for i = 1, 60 // RESETS do
      local a, b = secure.pair(base, server, client)
      local n = 0
      local function arm()
        setmetatable({}, {__gc = function()
          n = n + 1
          if n == i then a:close() elseif n < 90 then arm() end
        end})
      end
      collectgarbage("incremental", 1, 10000)
      arm()
      for _ = 1, 3 do
        local ok, message = pcall(a.tls, a)
        assert(ok or message:find "closed", message)
      end
      collectgarbage("incremental", 200, 100)
      n = 90                    -- no finalizer after this one
      a:close()
      b:close()
    end
    base:close()
  end)

  it("survives a password function that does anything", function()
    for _, f in ipairs {
      function() error "oh no" end, function() error() end,
      function() coroutine.yield() end, function() return {} end,
      function() return ("x"):rep(100000) end, function() return 7 end,
      function() collectgarbage() return "secret" end,
      function() return tls.context {trust = "/absent"} end,
    } do
      local key = io.popen([[
        openssl ecparam -genkey -name prime256v1 -noout |
        openssl ec -aes128 -passout pass:other 2>/dev/null
      ]]):read "a"
      local ok = pcall(tls.context, {role = "server", key = key, password = f,
                                     certificate = secure.pem()})
      assert.is_false(ok)
    end
  end)
end)
