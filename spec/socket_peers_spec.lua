--- Code that was written for LuaSocket, unchanged, in tasks: Debian's
--- lua-redis, LuaSocket's own http, smtp and ftp, LuaSec's https, OpenResty's
--- client for memcached; many at once, with servers that are not ours.

local certificates = require "spec.certificates"
local co = require "libevent.co"
local foreign = require "spec.foreign"
local lfs = require "lfs"
local ltn12 = require "ltn12"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local SIZE = 800000
local MANY = 20

local function run(f) tasks.within(20, f) end

--- Runs f(i) in n tasks at once.
local function many(n, f)
  local list = {}
  for i = 1, n do list[i] = co.spawn(f, i) end
  for _, task in ipairs(list) do task:join() end
end

describe("A client for LuaSocket, unchanged,", function()
  local clients, redis, memcached, nginx, smtp, ftp

  setup(function()
    redis, memcached = foreign.redis(), foreign.memcached()
    nginx = foreign.nginx(certificates.good, SIZE)
    smtp, ftp = foreign.smtp(), foreign.ftp()
    clients = foreign.load()
  end)

  teardown(function()
    foreign.unload()
    for _, server in ipairs {redis, memcached, nginx, smtp, ftp} do
      server:stop()
    end
  end)

  before_each(t.start)
  after_each(t.finish)

  -- {==== Each client ====

  local function dialredis()
    return clients.redis.connect("127.0.0.1", redis.port)
  end

  local function useredis(i)
    local client = dialredis()
    local key = "key" .. i
    assert.is_true(client:set(key, "value" .. i))
    assert.equal("value" .. i, client:get(key))
    local replies = client:pipeline(function(p)
      for _ = 1, 10 do p:ping() end
    end)
    assert.same({true, true, true, true, true, true, true, true, true, true},
                replies)
    for j = 1, 10 do client:rpush("list" .. i, j) end
    assert.equal("10", client:lrange("list" .. i, 0, -1)[10])
    client:del(key, "list" .. i)
    client:quit()
  end

  local function url(path, scheme)
    return ("%s://localhost:%d%s"):format(scheme or "http",
      scheme and nginx.secure or nginx.port, path)
  end

  local function usehttp(i)
    local body, code = clients.http.request(url("/echo?x=" .. i))
    assert.same({"GET " .. i, 200}, {body, code})
    body, code = clients.http.request(url "/file")
    assert.equal(200, code)
    assert.equal(t.pattern(SIZE), body)
  end

  local function usesmtp(i)
    local ok, message = clients.smtp.send {
      server = "127.0.0.1", port = smtp.port, from = "<a@example.com>",
      rcpt = {"<b@example.com>", "<c@example.com>"},
      source = clients.smtp.message {
        headers = {subject = "mail " .. i},
        body = ("line %d\r\n.dot\r\n"):format(i):rep(1000),
      },
    }
    assert.equal(1, ok, message)
  end

  local function useftp(i)
    local place = {host = "127.0.0.1", port = ftp.port, user = "anonymous",
                   path = "file" .. i, type = "i"}
    local data = t.pattern(80000) .. i
    place.source = ltn12.source.string(data)
    assert.equal(#data, clients.ftp.put(place))
    local list = {}
    place.source, place.sink = nil, ltn12.sink.table(list)
    assert.equal(1, clients.ftp.get(place))
    assert.equal(data, table.concat(list))
  end

  local function usememcached(i)
    local client = clients.memcached:new()
    client:set_timeout(1000 * t.slow)
    assert(client:connect("127.0.0.1", memcached.port))
    local key = "key " .. i
    assert(client:set(key, ("value"):rep(i)))
    assert.equal(("value"):rep(i), (client:get(key)))
    assert(client:delete(key))
    assert.is_nil((client:get(key)))
    assert.equal("1.6", client:version():match "^%d+%.%d+")
    client.sock:close()
  end

  -- ====}

  it("asks redis", function()
    run(function() useredis(0) end)
  end)

  it("asks redis by its unix socket", function()
    run(function()
      local client = clients.redis.connect("unix://" .. redis.dir .. "/redis")
      assert.is_true(client:ping())
      client:quit()
    end)
  end)

  it("asks redis in a transaction, a coroutine of the client's", function()
    run(function()
      local client = dialredis()
      local replies = client:transaction(function(queue)
        queue:ping()
        queue:ping()
      end)
      assert.same({true, true}, replies)
      client:quit()
    end)
  end)

  it("waits for redis while others speak with it", function()
    run(function()
      local order = {}
      local waiter = co.spawn(function()
        local client = dialredis()
        local got = client:blpop("queue", 10)
        table.insert(order, got[2])
        client:quit()
      end)
      local subscriber = co.spawn(function()
        local client = dialredis()
        for message, abort in client:pubsub {subscribe = "news"} do
          if message.kind == "message" then
            table.insert(order, message.payload)
            abort()
          end
        end
        client:quit()
      end)
      co.sleep(0.03)
      local client = dialredis()
      assert.equal(1, client:publish("news", "flash"))
      subscriber:join()
      client:rpush("queue", "job")
      waiter:join()
      client:quit()
      assert.same({"flash", "job"}, order)
    end)
  end)

  it("asks nginx, and follows a redirect", function()
    run(function()
      usehttp(0)
      assert.equal("GET moved", (clients.http.request(url "/moved")))
      assert.equal("POST 1", (clients.http.request(url "/echo?x=1", "body")))
      local _, code = clients.http.request(url "/nothing")
      assert.equal(404, code)
    end)
  end)

  it("is told that nobody is there, by http", function()
    run(function()
      assert.same({nil, "connection refused"},
                  {clients.http.request "http://127.0.0.1:1/"})
      clients.http.TIMEOUT = 0.02
      local server = clients.socket.bind("127.0.0.1", 0)
      local _, port = server:getsockname()
      assert.same({nil, "timeout"}, {clients.http.request(
        ("http://127.0.0.1:%d/"):format(port))})
      server:close()
      clients.http.TIMEOUT = 60
    end)
  end)

  it("asks nginx by TLS, with LuaSec's https", function()
    run(function()
      local https = require "ssl.https"
      local body, code = https.request(url("/echo?x=s", "https"))
      assert.same({"GET s", 200}, {body, code})
      assert.equal("GET t", (clients.http.request(url("/echo?x=t", "https"))))
      local list = {}
      local trusting = {
        url = url("/file", "https"), sink = ltn12.sink.table(list),
        verify = "peer", cafile = certificates.root.certificate,
      }
      assert.equal(1, (https.request(trusting)))
      assert.equal(t.pattern(SIZE), table.concat(list))
      local ok, message = https.request {url = url("/file", "https"),
                                         verify = "peer"}
      assert.is_nil(ok)
      assert.matches("certificate", message)
    end)
  end)

  it("sends a mail", function()
    run(function() usesmtp(0) end)
    local text
    for name in lfs.dir(smtp.dir .. "/mail/new") do
      if not name:find "^%." then
        local path = smtp.dir .. "/mail/new/" .. name
        text = t.contents(path)
        os.remove(path)
      end
    end
    assert.truthy(text:find("ubject: mail 0", 1, true))
    assert.truthy(text:find("\n.dot\nline 0\n", 1, true))
  end)

  it("puts a file, and gets it, by ftp", function()
    run(function() useftp(0) end)
    assert.equal(t.pattern(80000) .. 0, t.contents(ftp.dir .. "/file0"))
  end)

  it("asks memcached", function()
    run(function() usememcached(1) end)
  end)

  it("is one of many, of all kinds", function()
    local longest, last = 0, nil
    run(function()
      local clock = co.spawn(function()
        local gettime = clients.socket.gettime
        last = gettime()
        while true do
          co.sleep(0.001)
          local now = gettime()
          longest, last = math.max(longest, now - last), now
        end
      end)
      local kinds = {useredis, usehttp, usesmtp, useftp, usememcached}
      many(#kinds, function(kind) many(MANY, kinds[kind]) end)
      clock:cancel()
    end)
    local mails = 0
    for name in lfs.dir(smtp.dir .. "/mail/new") do
      if not name:find "^%." then mails = mails + 1 end
    end
    assert.equal(MANY, mails)
    assert.is_true(longest < 5 * t.slow, longest .. " seconds")
  end)

  it("takes no longer for ten than for one", function()
    local gettime = clients.socket.gettime
    run(function()
      local function slow() clients.http.request(url "/limited") end
      local start = gettime()
      local client = dialredis()
      many(10, function()
        local own = dialredis()
        assert.is_nil(own:blpop("nothing", 1))
        own:quit()
      end)
      client:quit()
      assert.is_true(gettime() - start < 2 * t.slow)
      local task = co.spawn(slow)
      co.sleep(0.05)
      task:cancel()
    end)
  end)
end)
