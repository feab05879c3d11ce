-- The examples of tasks, as real processes.
local lfs = require "lfs"
local curl = require "spec.curl"
local process = require "spec.process"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local start, shell = process.start, process.shell

local cleanup, ends, folder = process.cleanup, process.ends, process.folder

-- A server on a free port, and where it is.
local function serve(name, arguments)
  local p = start(("examples/%s.lua 127.0.0.1:0 %s"):format(name,
                                                            arguments or ""))
  return p, (p:expect " on (127%.0%.0%.1:%d+)")
end

local function dial(address)
  return sockets.dial(address:match "%d+$")
end

describe("Every server among the examples of tasks", function()
  after_each(cleanup)

  it("ends by Ctrl-C, whoever is connected", function()
    for _, name in ipairs {"co_echo_server", "chat_room", "co_proxy",
                           "live_page"} do
      local p, address = serve(name)
      local client = dial(address)
      client:send "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
      client:receive(1)
      ends(p)
      client:close()
    end
  end)

  it("says that it cannot listen", function()
    local _, address = serve "co_echo_server"
    for _, name in ipairs {"co_echo_server", "chat_room", "co_proxy",
                           "live_page"} do
      local text, status = start(("examples/%s.lua %s"):format(name, address))
                           :finish()
      assert.matches("Address already in use", text, 1, true)
      assert.equal(1, status)
    end
  end)
end)

describe("Example co_echo_server", function()
  after_each(cleanup)

  it("sends back what each client sends", function()
    local p, address = serve "co_echo_server"
    local one, two = dial(address), dial(address)
    one:send "one\n"
    two:send "two\n"
    assert.equal("two", two:receive())
    assert.equal("one", one:receive())
    one:close()
    two:send "still here"
    two:shutdown "send"
    assert.equal("still here", two:receive "*a")
    two:close()
    assert.equal("a\nb\n", shell(("printf \"a\\nb\\n\" | nc -N %s"):format(
      (address:gsub(":", " ")))))
    ends(p)
  end)

  it("is read slowly, and loses nothing", function()
    local p, address = serve "co_echo_server"
    local path = t.write(t.pattern(20000000))
    local text = shell(("nc -N %s <%s | (sleep 0.3; cat) | cmp - %s && "
      .. "echo the same"):format(address:gsub(":", " "), path, path))
    os.remove(path)
    assert.equal("the same\n", text)
    assert.is_true(t.slow > 1 or t.memory("VmHWM", p.pid) < 16 * 1024)
    ends(p)
  end)
end)

describe("Example chat_room", function()
  after_each(cleanup)

  -- A client that has told its name.
  local function enter(address, name, here)
    local client = dial(address)
    client:send(name .. "\n")
    assert.equal(("Your name? Hello, %s. Here: %s."):format(name, here),
                 client:receive())
    return client
  end

  it("tells all what one says", function()
    local p, address = serve "chat_room"
    local ada = enter(address, "Ada", "nobody")
    local bob = enter(address, "Bob", "Ada")
    assert.equal("Bob is here.", ada:receive())
    local eve = enter(address, "Eve", "Ada, Bob")
    assert.equal("Eve is here.", ada:receive())
    assert.equal("Eve is here.", bob:receive())
    ada:send "good morning\n"
    assert.equal("Ada: good morning", bob:receive())
    assert.equal("Ada: good morning", eve:receive())
    bob:send "and you\r\n"
    assert.equal("Bob: and you", ada:receive())
    eve:close()
    assert.equal("Eve has left.", ada:receive())
    enter(address, "Eve", "Ada, Bob"):close()
    ends(p)
    for _, client in ipairs {ada, bob} do client:close() end
  end)

  it("asks again for a name that is taken, or none", function()
    local p, address = serve "chat_room"
    local ada = enter(address, "Ada", "nobody")
    local other = dial(address)
    for _, name in ipairs {"Ada", "", "a b"} do
      other:send(name .. "\n")
      assert.equal("Your name? Letters and digits, please, and no one else's "
                   .. "name.", other:receive())
    end
    other:send "Bob\n"
    assert.equal("Your name? Hello, Bob. Here: Ada.", other:receive())
    other:close()
    other = dial(address)
    other:send(("x"):rep(100))
    assert.equal("Your name? ", (other:receive "*a"))
    other:close()
    ada:close()
    ends(p)
  end)

  it("throws out who never reads", function()
    local p, address = serve "chat_room"
    local ada = enter(address, "Ada", "nobody")
    local bob = enter(address, "Bob", "Ada")
    assert.equal("Bob is here.", ada:receive())
    local line = ("x"):rep(900) .. "\n"
    ada:settimeout(0)
    local left = process.wait(function()
      for _ = 1, 100 do ada:send(line) end
      return ada:receive()
    end)
    assert.equal("Bob has left.", left)
    bob:close()
    ada:close()
    ends(p)
  end)
end)

describe("Example co_proxy", function()
  after_each(cleanup)

  it("joins clients to a server, both ways and to the end", function()
    local _, target = serve "co_echo_server"
    local p, address = serve("co_proxy", target)
    local client, other = dial(address), dial(address)
    client:send "hello\n"
    assert.equal("hello", client:receive())
    other:close()
    client:send "the end"
    client:shutdown "send"
    assert.equal("the end", client:receive "*a")
    client:close()
    local path = t.write(t.pattern(20000000))
    local text = shell(("nc -N %s <%s | cmp - %s && echo the same"):format(
      address:gsub(":", " "), path, path))
    os.remove(path)
    assert.equal("the same\n", text)
    ends(p)
  end)

  it("says that there is nobody to join to", function()
    local p, address = serve("co_proxy", "127.0.0.1:1")
    local client = dial(address)
    assert.equal("closed", select(2, client:receive()))
    client:close()
    p:expect "127%.0%.0%.1:1: Connection refused\n"
    ends(p)
  end)
end)

describe("Example crawler", function()
  after_each(cleanup)

  it("visits all pages of a host, once", function()
    local root = folder()
    t.write("<a href=\"a.html\">a</a> <A HREF='sub/?x=1&amp;y=2#z'>b</A>"
            .. "<a href=\"http://other.test/\">c</a>", root .. "/index.html")
    t.write("<a href=/>top</a> <a href=\"/\">top</a><img src=\"no.png\">",
            root .. "/a.html")
    lfs.mkdir(root .. "/sub")
    t.write("<a href=\"../a.html\">a</a><a href=\"mailto:x\">mail</a>",
            root .. "/sub/index.html")
    local p = start(("examples/static_server.lua %s 127.0.0.1:0"):format(root))
    local address = p:expect " on (127%.0%.0%.1:%d+)\n"
    local text, status = start(("examples/crawler.lua http://%s/ 2"):format(
      address)):finish()
    assert.equal(0, status)
    local lines = {}
    for line in text:gmatch "([^\n]*)\n" do
      lines[#lines + 1] = line:gsub(address, "host"):gsub("^(.-\t).-\t", "%1")
    end
    assert.equal("4 answers, ", table.remove(lines):match "^.-, ")
    table.sort(lines)
    assert.same({" 200\thttp://host/", " 200\thttp://host/a.html",
                 " 200\thttp://host/sub/?x=1&y=2", " 404\thttp://host/no.png"},
                lines)
    ends(p)
  end)

  it("has no more requests at a time than it is told", function()
    local code = [[
      local co = require "libevent.co"
      co.run(function()
        local now, most = 0, 0
        local server = co.http.serve("127.0.0.1:0", function(req)
          now = now + 1
          most = math.max(most, now)
          co.sleep(0.01)
          now = now - 1
          local list = {}
          for i = 1, 30 do list[i] = ("<a href='/%d'>"):format(i) end
          req:send_reply(200, nil, table.concat(list))
          print(most)
        end)
        print("on " .. server:sockname())
        io.stdout:flush()
        co.signal "INT"
        print(("at most %d"):format(most))
        co.base():loopexit()
      end)
    ]]
    local path = t.write(code)
    local p = start(path)
    local address = p:expect "on (127%.0%.0%.1:%d+)\n"
    local text = start(("examples/crawler.lua http://%s/ 5"):format(address))
                 :finish()
    assert.matches("31 answers, ", text)
    ends(p)
    assert.matches("at most 5\n", p:output() .. (p.text or ""))
    os.remove(path)
  end)

  it("tells of what does not answer, and how it is called", function()
    local text, status = start "examples/crawler.lua http://127.0.0.1:1/"
                         :finish()
    assert.matches("Connection refused", text)
    assert.matches("0 answers, 0 bytes, 1 broken\n$", text)
    assert.equal(0, status)
    text, status = start "examples/crawler.lua":finish()
    assert.equal("usage: crawler.lua url [limit]\n", text)
    assert.equal(1, status)
  end)
end)

describe("Example port_scanner", function()
  after_each(cleanup)

  it("finds who listens, and what they say", function()
    local quiet, address = serve "co_echo_server"
    local chatty, other = serve "chat_room"
    local low, high = tonumber(address:match "%d+$"),
                      tonumber(other:match "%d+$")
    local text, status = start(("examples/port_scanner.lua %d %d 50"):format(
      math.min(low, high), math.max(low, high))):finish(20)
    assert.equal(0, status)
    assert.matches(("\n%%s*%d  %%(waits for us%%)\n"):format(low), "\n" .. text)
    assert.matches(("\n%%s*%d  Your name%%? \n"):format(high), "\n" .. text)
    local open, of = text:match "\n(%d+) of (%d+) ports are open\n$"
    assert.is_true(tonumber(open) >= 2)
    assert.equal(math.abs(high - low) + 1, tonumber(of))
    ends(quiet)
    ends(chatty)
  end)
end)

describe("Example redis_client", function()
  after_each(cleanup)

  it("speaks to a Redis server", function()
    local root = folder()
    local server
    local address = process.wait(function()
      -- The server wants to know its port: another one, if that is taken.
      local port = math.random(20000, 60000)
      server = process.launch(("redis-server --port %d --bind 127.0.0.1 "
        .. "--save '' --dir %s"):format(port, root), "</dev/null",
        "unset LD_PRELOAD")
      local ready = process.wait(function()
        local text = server:output()
        return text:find "Ready to accept" or text:find "Failed" and "failed"
      end)
      return ready ~= "failed" and ready and "127.0.0.1:" .. port
    end)
    local text, status = start("examples/redis_client.lua " .. address):finish()
    assert.equal(0, status, text)
    local first, news = text:match "^(.*LRANGE[^\n]*\n)(.*)$"
    assert.equal("PING\tPONG\nSET\tOK\nGET\tsome words | in two lines\n"
      .. "INCR\tERR value is not an integer or out of range\nDEL\t1\n"
      .. "GET\tfalse\n10001 commands at once\tthe last one: 10000\n"
      .. "LRANGE\t1 2 3 4 5\n", first)
    for _, who in ipairs {"one task", "another"} do
      local heard = {}
      for line in news:gmatch(who .. " hears\t([^\n]*)") do
        heard[#heard + 1] = line
      end
      assert.same({"first news", "more news", "the end"}, heard)
    end
    assert.equal("PUBLISH\t2\nPUBLISH\t2\nPUBLISH\t2\n",
                 (news:gsub("[^\n]*hears[^\n]*\n", "")))
    assert.equal("0\n", shell(("env -u LD_PRELOAD redis-cli -p %s DBSIZE")
                              :format(address:match "%d+$")))
    server:stop "TERM"
  end)

  it("says that there is no server", function()
    local text, status = start "examples/redis_client.lua 127.0.0.1:1":finish()
    assert.matches("Connection refused", text)
    assert.equal(1, status)
  end)
end)

describe("Example live_page", function()
  after_each(cleanup)

  it("answers what it has, and refuses the rest", function()
    local p, address = serve "live_page"
    local status, headers, body = curl(address)
    assert.equal(200, status)
    assert.equal("text/html; charset=utf-8", headers["content-type"])
    assert.matches("^<!DOCTYPE html>", body)
    assert.equal(404, (curl(address .. "/nowhere")))
    assert.equal(400, (curl(address .. "/say")))
    assert.equal(400, (curl("-d x=1 " .. address .. "/say")))
    assert.equal(204, (curl("-d text=x " .. address .. "/say")))
    ends(p)
  end)

  it("sends what its tasks and visitors say to all who look", function()
    local p, address = serve "live_page"
    local lookers = {}
    for i = 1, 2 do
      lookers[i] = process.launch(("env -u LD_PRELOAD curl -sSN %s/events")
                                  :format(address), "</dev/null")
      lookers[i]:expect "event: clock\ndata: %d%d:%d%d:%d%d\n\n"
    end
    assert.equal(204, (curl("-d \"text=good+morning%0a%0adata: x\" "
                            .. address .. "/say")))
    for _, looker in ipairs(lookers) do
      looker:expect "event: say\ndata: good morning  data: x\n\n"
      looker:expect "event: looking\ndata: 2\n\n"
      looker:expect "event: cpu\ndata: %d+%.%d\n\n"
      looker:expect "event: memory\ndata: %d+\n\n"
    end
    lookers[2]:stop "TERM"
    lookers[1]:expect "event: looking\ndata: 2\n\n.*event: looking\ndata: 1\n\n"
    lookers[1]:stop "TERM"
    ends(p)
  end)

  it("is kept up to date in a browser", function()
    -- What it prints is the page as it is when all of it has been loaded: here
    -- with an image that takes its time.
    local code = t.contents "examples/live_page.lua"
      :gsub("<main></main>", "%0<img src=\"/late\">")
      :gsub("  server:set_cb%(\"/say\", say%)\n", [[%0
        server:set_cb("/late", function(req)
          while looking == 0 do co.sleep(0.1) end
          publish("say", "<b>words</b>")
          co.sleep(1.5)
          req:send_reply(204)
        end)
      ]])
    local path, home = t.write(code), folder()
    local p = start(path .. " 127.0.0.1:0")
    local address = p:expect " on (127%.0%.0%.1:%d+)\n"
    os.remove(path)
    local text = shell(("env -u LD_PRELOAD HOME=%s timeout 9 "
      .. "$(command -v chromium || command -v chromium-browser) --headless "
      .. "--no-sandbox --disable-gpu --user-data-dir=%s --dump-dom http://%s/ "
      .. "2>/dev/null"):format(home, home, address))
    assert.matches("<span id=\"clock\">%d%d:%d%d:%d%d</span>", text)
    assert.matches("<span id=\"state\">● live</span>", text, 1, true)
    assert.matches("<li>&lt;b&gt;words&lt;/b&gt;</li>", text, 1, true)
    assert.matches("Browsers looking</h2><output>1</output>.-points=\"%d", text)
    ends(p)
  end)
end)
