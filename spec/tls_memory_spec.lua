--- Handshakes by the thousand need no more memory than a few hundred: full
--- ones, resumed ones, those that fail and those that a peer abandons.
---
--- HANDSHAKES=10000 is how many there are of each; 500 otherwise.

local secure = require "spec.selfsigned"
local t = require "spec.helper"

local MANY = tonumber(os.getenv "HANDSHAKES" or 500) // (t.slow > 1 and 5 or 1)
local MORE = 12 << 10           -- bytes, once the first ones have been done

--- Runs f so many times, and looks at the memory after a fifth and at the end.
local function flat(f)
  local early
  for i = 1, MANY do
    f(i)
    if i % 25 == 0 then collectgarbage() end    -- Lua sees nothing of OpenSSL's
    if i == MANY // 5 then early = t.heap() end
  end
  if os.getenv "HANDSHAKES" then
    print(("%d bytes after %d, %d after %d"):format(early, MANY // 5, t.heap(),
                                                    MANY))
  end
  t.heapgrown(early, MORE)
end

--- A listener that counts who comes and lets them go, and its address.
local function serve(base, context, ends)
  local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
    conn:setcb(function(c) c:write(c:read()) end, nil, function(c, what)
      if what == "connected" then return end
      ends(what)
      c:close()
    end)
    conn:enable "read"
  end, {tls = context}))
  return listener, listener:sockname()
end

describe("The memory of TLS is bounded, with", function()
  before_each(t.start)
  after_each(t.finish)

  --- Conversations, one after the other; 'wanted' of them resumed.
  local function converse(options, wanted)
    local base = t.base()
    local server, client = secure.contexts(options)
    local listener, address = serve(base, server, function() end)
    local resumed = 0
    flat(function()
      local over
      local bev = base:bufferevent(nil, {tls = client, hostname = "localhost"})
      bev:setcb(function(b)
        assert(b:read() == "hello")
        if b:tls().resumed then resumed = resumed + 1 end
        b:close()
        over = true
      end, nil, function(b, what, message)
        assert(what == "connected", message)
        b:write "hello"
      end)
      assert(bev:enable "read")
      assert(bev:connect(address))
      t.runtill(base, function() return over end)
    end)
    assert.equal(wanted * (MANY - 1), resumed)
    listener:close()
    base:close()
  end

  it("full handshakes", function() converse({resume = false}, 0) end)
  it("resumed handshakes", function() converse({}, 1) end)

  it("full handshakes of TLS 1.2", function()
    converse({resume = false, max_version = "1.2"}, 0)
  end)

  it("resumed handshakes of TLS 1.2", function()
    converse({max_version = "1.2"}, 1)
  end)

  it("handshakes that fail", function()
    local base = t.base()
    local server, client = secure.contexts()
    local ends = 0
    local listener, address = serve(base, server, function(what)
      assert.equal("error", what)
      ends = ends + 1
    end)
    flat(function(i)
      local bev = base:bufferevent(nil, {tls = client, hostname = "no.test"})
      bev:setcb(nil, nil, function(b, what)
        assert.equal("error", what)
        b:close()
      end)
      assert(bev:connect(address))
      t.runtill(base, function() return ends == i end)
    end)
    listener:close()
    base:close()
  end)

  it("half handshakes that the client abandons", function()
    local base = t.base()
    local server, client = secure.contexts {resume = false}
    local ends = 0
    local listener, address = serve(base, server, function()
      ends = ends + 1
    end)
    flat(function(i)
      local bev = base:bufferevent(nil, {tls = client, hostname = "localhost"})
      bev:setcb(nil, nil, function() end)
      assert(bev:connect(address))
      for _ = 1, i % 5 + 1 do base:loop "nonblock" end
      bev:close()
      t.runtill(base, function() return ends == i end)
    end)
    listener:close()
    base:close()
  end)

  it("half handshakes that nobody goes on with", function()
    local base = t.base()
    local server, client = secure.contexts {handshake_timeout = 0.005}
    local left = {}
    flat(function(i)
      local a, b, between = secure.apart(base, server, client)
      local ended = 0
      for _, bev in ipairs {a, b} do
        bev:setcb(nil, nil, function(c, what)
          assert(what ~= "connected")     -- by a "timeout", or by the other's
          ended = ended + 1
          c:close()
        end)
      end
      for _ = 1, i % 4 do
        base:loop "nonblock"
        if i % 8 < 4 then between:pass(100) end
      end
      left[between] = function() return ended == 2 end
      if i % 50 == 0 or i == MANY // 5 or i == MANY then
        for pair, over in pairs(left) do
          if not over() then t.runtill(base, over) end
          pair:close()
        end
        left = {}
      end
    end)
    base:close()
  end)

  it("contexts that come and go", function()
    local base = t.base()
    flat(function()
      local a, b = secure.pair(base)
      a:close()
      b:close()
    end)
    base:close()
  end)

  it("one context that is loaded again and again", function()
    local server, client = secure.contexts()
    server = secure.server {names = {["a.test"] = server}, alpn = {"a"}}
    flat(function() assert(server:reload() and client:reload()) end)
  end)

  it("idle connections, each with a few kilobytes", function()
    local base = t.base()
    local server, client = secure.contexts()
    local keep, n = {}, math.min(MANY, 400)
    for _ = 1, 20 do keep[#keep + 1] = {secure.pair(base, server, client)} end
    local before = t.heap()
    for _ = 1, n do keep[#keep + 1] = {secure.pair(base, server, client)} end
    local each = (t.heap() - before) // n
    if os.getenv "HANDSHAKES" then print(("%d bytes a pair"):format(each)) end
    if t.slow == 1 then assert(each < 100000, each .. " bytes") end
    base:close()
  end)
end)
