-- The benchmarks' own programs, with little to do, and how figures become text.
local cases = require "bench.cases"
local certificate = require "bench.certificate"
local plot = require "bench.plot"
local process = require "spec.process"
local report = require "bench.report"
local sockets = require "spec.sockets"
local stats = require "bench.stats"

local start, shell = process.start, process.shell

--- A client: what it says of a port.
local function client(program)
  return function(mode, port, ...)
    return shell(("%s/%s -t 9 %s 127.0.0.1:%d %s"):format(os.getenv "BUILD",
      program, mode, port, table.concat({...}, " ")))
  end
end

local load, http = client "load", client "http_load"
local tls = client "tls_load"

local names = {}                        -- of files that a test has made

local function file(name, content)
  names[#names + 1] = name
  local f <close> = assert(io.open(name, "wb"))
  assert(f:write(content))
  return name
end

--- The port of a server whose 'accept' is in these lines, with what is to be
--- put into them.
local function serve(lines, ...)
  local server = start(file(os.tmpname(), ([[
    local libevent = require "libevent"
    local base = libevent.base()
    %s
    local listener = base:listener("127.0.0.1:0", accept)
    print(listener:sockname())
    io.stdout:flush()
    base:dispatch()
  ]]):format(lines:format(...))))
  return math.tointeger(tonumber((server:expect "^[%d.]+:(%d+)\n")))
end

--- The port of one that has this answer for whatever it is asked, and then goes
--- on, or closes.
local function canned(answer, whatthen)
  return serve([[
    local function accept(_, conn)
      local rest = ""
      conn:setcb(function()
        local asked, done = rest .. conn:read(), 1
        for after in asked:gmatch "\r\n\r\n()" do
          conn:write(%q)
          done = after
        end
        rest = asked:sub(done)
        %s
      end):enable "read"
    end
  ]], answer, whatthen or "")
end

--- The port of an echo server that is asked for an upgrade first, and answers
--- so; and then goes on, or closes.
local function upgrading(answer, whatthen)
  return serve([[
    local function accept(_, conn)
      local asked = ""
      local function echo() conn:write(conn:read()) end
      conn:setcb(function()
        asked = asked .. conn:read()
        if not asked:find "\r\nUpgrade: echo\r\n\r\n$" then return end
        conn:write(%q)
        conn:setcb(echo)
        %s
      end):enable "read"
    end
  ]], answer, whatthen or "")
end

--- A server's certificate and key, for this test.
local function newcertificate()
  local name = file(os.tmpname(), "")
  certificate(name)
  return name
end

--- The port of a TLS server with this certificate and these options more, and
--- with these lines for whatever arrives.
local function secret(cert, options, answer)
  return serve([[
    local tls = require "libevent.tls"
    local function new()
      return tls.context {role = "server", certificate = %q, %s}
    end
    local context = new()
    local function accept(_, conn)
      conn:setcb(function() local data = conn:read() %s end):enable "read"
      conn:starttls(context)
    end
  ]], cert, options, answer)
end

--- What two rounds of each server might have given.
local function invented(servers)
  local result = {missing = {}}
  for i, server in ipairs(servers or cases.servers) do
    local function round(x)
      return {cpu = x, rate = 1000 / x, bytes = 100 * x, p50 = 1, p99 = 2,
              p999 = 3}
    end
    result[i] = {name = server[1], rounds = {round(2 * i), round(i)}}
  end
  return result
end

describe("Benchmarks", function()
  after_each(function()
    process.killall()
    while #names > 0 do os.remove(table.remove(names)) end
  end)

  for _, name in ipairs {"strings", "buffers", "tasks"} do
    it(name .. " answers messages under way, and lives on", function()
      local port = sockets.unused()
      local server = start(("bench/servers/%s.lua %d"):format(name, port))
      server:expect "^ready\n"
      assert.matches("^pipeline: 5 connections, 250 messages of 64 bytes, .*"
        .. "p99%.9 %d+ us\n$", load("pipeline", port, "5 50 64 16"))
      assert.matches("^pipeline: 2 connections, 10 messages of 70000 bytes, ",
        load("pipeline", port, "2 5 70000 3"))
      assert.matches("^pipeline: 1 connections, 2 messages of 9 bytes, ",
        load("pipeline", port, "1 2 9 16"))
      assert.matches("^cycle: 40 cycles", load("cycle", port, "40 64 5"))
    end)
  end

  it("count echoes after an upgrade", function()
    local port = upgrading "HTTP/1.1 101 Echo\r\nUpgrade: echo\r\n\r\n"
    assert.matches("^echo: 5 connections, 250 messages of 64 bytes, ",
      load("-u echo", port, "5 50 64"))
    assert.matches("^cycle: 40 cycles", load("-u cycle", port, "40 64 5"))
  end)

  for answer, complaint in pairs {
    ["HTTP/1.1 200 OK\r\n\r\n"] = "not upgraded: 'HTTP/1.1 200 OK",
    ["HTTP/1.1 101 Echo\r\n"] = "no head in answer to its request",
    [("x"):rep(300)] = "no head in answer to its request",
    ["HTTP/1.1 101 Echo\r\n\r\nx"] = "more came back than the 0 bytes sent",
  } do
    it(("do not count after an upgrade where %s%s"):format(complaint,
      #answer == 300 and ", however long" or ""), function()
      local port = upgrading(answer, "conn:close_after_flush()")
      local text = load("-u idle", port, "1 5")
      assert.truthy(text:find("connection 0: " .. complaint, 1, true), text)
    end)
  end

  for _, name in ipairs {"tls_strings", "tls_buffers"} do
    it(name .. " answers, and resumes sessions", function()
      local port, cert = sockets.unused(), newcertificate()
      start(("bench/servers/%s.lua %s %d"):format(name, cert, port))
        :expect "^ready\n"
      assert.matches("^echo: 5 connections, 250 messages of 64 bytes, .*"
        .. "p99%.9 %d+ us\n$", tls("echo", port, cert, "5 50 64"))
      assert.matches("^echo: 2 connections, 6 messages of 300000 bytes, ",
        tls("echo", port, cert, "2 3 300000"))
      for _, mode in ipairs {"full", "resumed"} do
        assert.matches(("^%s: 40 handshakes of 5 connections, [%%d.]+ s, %%d+ "
          .. "handshakes/s, p50 %%d+ us, p99 %%d+ us, p99%%.9 %%d+ us\n$")
          :format(mode), tls(mode, port, cert, "40 5"))
      end
    end)
  end

  for complaint, case in pairs {
    ["connection 0: byte 0 came back as 78 instead of"]
      = {"full", answer = "conn:write((data:gsub('.', 'x')))"},
    ["connection 0: more came back than the 1 bytes sent"]
      = {"full", answer = "conn:write(data, data)"},
    ["connection 0: closed by the server when 0 bytes of 1 were back"]
      = {"full", answer = "conn:close()"},
    ["connection 0: read: unexpected eof while reading"]
      = {"full", answer = "os.exit()"},
    ["connection 1: its session is a new one"]
      = {"resumed", answer = "context = new() conn:write(data)"},
    ["no session to be resumed has come"]
      = {"resumed", options = "resume = false"},
    ["connection 0: handshake: tlsv1 alert protocol version"]
      = {"full", options = "max_version = '1.2'"},
    ["connection 0: handshake: self-signed certificate"]
      = {"full", another = true},
  } do
    it("do not count over TLS where " .. complaint, function()
      local cert = newcertificate()
      local port = secret(cert, case.options or "",
                          case.answer or "conn:write(data)")
      local trusted = case.another and newcertificate() or cert
      local text = tls(case[1], port, trusted, "3 1")
      assert.truthy(text:find(complaint, 1, true), text)
    end)
  end

  it("libevent_http answers packets of requests, and with a file", function()
    local port, name = sockets.unused(), os.tmpname()
    local directory = name .. ".www"
    os.execute("mkdir " .. directory)
    names[#names + 1] = name
    names[#names + 1] = directory
    local hello = file(directory .. "/hello", "hello")
    local mebibyte = file(directory .. "/mebibyte", ("0123456"):rep(150000))
    local server = start(("bench/servers/libevent_http.lua %s %d"):format(
      directory, port))
    server:expect "^ready\n"
    for _, depth in ipairs {1, 16} do
      assert.matches(("^get: 5 connections, %%d+ requests of 5 bytes, %d at a "
        .. "time, "):format(depth), http("get", port, hello, "5 50 " .. depth))
    end
    assert.matches("^get: 3 connections, %d+ requests of 1050000 bytes, ",
      http("get", port, mebibyte, "3 50 2"))
    assert.equal("keep: 20 connections\n", http("keep", port, hello, "20 50"))
  end)

  it("count the answers of HTTP, whatever pieces they come in", function()
    local hello = file(os.tmpname(), "hello")
    local port = canned "HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello"
    assert.matches("^get: 3 connections, %d+ requests of 5 bytes, 4 at a time, "
      .. "[%d.]+ s, %d+ requests/s, [%d.]+ MB/s, heads of 37 bytes, "
      .. "p50 %d+ us, p99 %d+ us, p99%.9 %d+ us\n$",
      http("get", port, hello, "3 50 4"))
    assert.matches("^get: 1 connections, 20000 requests of 5 bytes, ",
      http("get", port, hello, "1 1 20000"))
    assert.equal("keep: 20 connections\n", http("keep", port, hello, "20 50"))
  end)

  local right = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
  for answer, complaint in pairs {
    [right:gsub("200 OK", "404 No")] = "answer 1 begins with 'HTTP/1.1 404 No'",
    [right:gsub("1.1", "1.0")] = "answer 1 begins with 'HTTP/1.0 200 OK'",
    [right:gsub(": 5", ": 6")] = "answer 1 has a length of 6 instead of 5",
    [right:gsub(": 5", ": +5")] = "answer 1 has a length that is none",
    [right:gsub(": 5", ": 5, 5")] = "answer 1 has a length that is none",
    [right:gsub("Content%-", "X-")] = "answer 1 has no length",
    [right:gsub("Con.-\n", "%0%0")] = "answer 1 has two lengths",
    [right:gsub("Con", "Transfer-Encoding: chunked\r\n%0")]
      = "answer 1 comes in chunks",
    [right:gsub("hello", "hallo")] = "answer 1 has another body",
    [right .. "x"] = "more came than 1 answers",
    [("x"):rep(4096)] = "answer 1 has a head without an end",
  } do
    it("do not count where " .. complaint, function()
      local port = canned(answer)
      local text = http("keep", port, file(os.tmpname(), "hello"), "1 5000")
      assert.truthy(text:find(complaint .. "\n", 1, true), text)
    end)
  end

  it("do not count what a server does not keep", function()
    local port = canned(right, "conn:close_after_flush()")
    assert.matches("connection 0: closed by the server after 1 answers, 0 were "
      .. "due\n$", http("keep", port, file(os.tmpname(), "hello"), "1 5000"))
  end)

  it("count their timers and callbacks", function()
    for _, command in ipairs {"timers/lua-libevent.lua timer 100",
                              "timers/lua-libevent.lua once 100",
                              "timers/lua-libevent.lua timer 0",
                              "dispatch/lua-libevent.lua 10 1000",
                              "dispatch/lua-libevent.lua 0 0"} do
      local text, status = start("bench/" .. command):finish()
      assert.equal("", text)
      assert.equal(0, status)
    end
  end)

  it("count their tasks, and tell what memory these have taken", function()
    for _, command in ipairs {"lua.lua spawn 100 10", "lua.lua spawn 0 0",
                              "lua.lua sleep 100",
                              "lua-libevent.lua join 100 10",
                              "lua-libevent.lua join 100 100",
                              "lua-libevent.lua join 0 0",
                              "lua-libevent.lua waitgroup 100 10",
                              "lua-libevent.lua sleep 100 0.03",
                              "lua-libevent.lua sleep 0"} do
      local text, status = start("bench/tasks/" .. command):finish()
      assert.matches("^peak %d+\n$", text)
      assert.equal(0, status)
    end
  end)

  it("have no tasks that sleep one after the other", function()
    local text, status = start(file(os.tmpname(), [[
      local sleepers = require "bench.tasks.sleepers"
      sleepers.start(3, function(f) f() end, function() end)
      sleepers.finish(3)
    ]])):finish()
    assert.equal("only 1 of 3 slept at once\n", text)
    assert.equal(1, status)
  end)

  it("take best, median and spread of what the rounds gave", function()
    local rounds = {{x = 3}, {x = 1}, {x = 2}, {x = 2}}
    assert.same({best = 1, median = 2, spread = 2},
                stats.summary(rounds, "x", math.min))
    assert.equal(rounds[1], stats.top(rounds, "x"))
    assert.equal(2.5, stats.median {4, 1, 2, 3})
  end)

  it("say how this library compares", function()
    local result = invented()
    result.key, result.title = "echo64", "Echo"
    local hello = invented(cases.httpservers)
    hello.key, hello.title = "http32", "HTTP"
    local shake = invented(cases.tlsservers)
    shake.key, shake.title = "tlsfull", "TLS"
    local tasks = invented {{"first"}, {cases.join}, {"cqueues, promises"}}
    tasks.key, tasks.title, tasks.unit = "taskmillion", "Tasks", "task"
    tasks.bytes = true
    local text = report {
      loads = {result}, http = {hello}, tls = {shake}, programs = {tasks},
      rounds = 2, busy = "0.00",
      missing = {{name = "luv", why = "no module `luv` here"}},
    }
    for _, part in ipairs {
      "CPU | raw epoll, C | 4.00 | 5.00 |\n",
      "\n| raw epoll, C | 1.00 | 1.50 | 100 % | 1.00 |",
      "\n| 5 B, 32 connections: CPU | nginx | 4.00 | ≤ 1.00 |",
      "\n| full handshakes: CPU | libevent bufferevents on OpenSSL, C | 2.00 | "
        .. "3.00 | ≤ 1.05 |\n",
      "\n| 64 B, 50 connections | 0.67 | 1.67 |",
      "\n| *goal* | ≥ 0.90 | > 1.00 |",
      "\n| Tasks | cqueues, promises | 0.67 | 0.67 | < 1.00 |\n",
      "\n| Tasks | first | 2.00 | 2.00 |  |\n",
      "\n| bytes/task | best | median | spread | ÷ first |\n",
      "\n| server CPU, µs/handshake | best |",
      "\n| nginx with Lua | 2.00 | 3.00 | 100 % | 2.00 |",
      "\nLeft out: luv (no module `luv` here).\n",
    } do
      assert.truthy(text:find(part, 1, true), part)
    end
  end)

  it("draw a bar for each server in both charts", function()
    local echo64, echo16k = invented(), invented()
    echo64.key, echo16k.key = "echo64", "echo16k"
    local picture = plot {loads = {echo64, echo16k}}
    assert.equal(1 + 2 * #cases.servers, select(2, picture:gsub("<rect", "")))
    assert.matches("</svg>\n$", picture)
  end)
end)
