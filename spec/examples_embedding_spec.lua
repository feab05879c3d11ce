--- The host programs of examples/embedding, as real processes.
local lfs = require "lfs"
local process = require "spec.process"
local socket = require "socket"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local build = os.getenv "BUILD"
local folder = "examples/embedding/"

local function launch(command)
  return process.launch(("%s %s/examples/%s"):format(
    os.getenv "VALGRIND" or "", build, command))
end

--- What a peer is answered to a line.
local function ask(sock, line)
  sock:send(line .. "\n")
  return (sock:receive())
end

describe("The scripted server", function()
  local server, script, port

  before_each(function()
    script = t.write(t.contents(folder .. "protocol.lua"))
    server = launch("scripted_server " .. script)
    port = tonumber(server:expect "^scripted server on 127%.0%.0%.1:(%d+)\n")
  end)

  after_each(function()
    process.killall()
    os.remove(script)
  end)

  it("answers as its script says", function()
    local sock = sockets.dial(port)
    assert.equal("HELLO", ask(sock, "upper hello"))
    assert.equal("hello", ask(sock, "echo hello"))
    assert.equal("3", ask(sock, "lines"))
    assert.equal("unknown: what", ask(sock, "what"))
    sock:close()
    local text, status = server:stop "TERM"
    assert.equal("4 lines\n", text:match "\n(.*)$")
    assert.equal(0, status)
  end)

  it("reads it again, and drops no connection", function()
    local sock = sockets.dial(port)
    assert.equal("a b", ask(sock, "echo a b"))
    t.write("return {line = function(line) return '2: ' .. line end}", script)
    server:kill "HUP"
    server:expect "\nread again, 1 connections open\n"
    assert.equal("2: echo a b", ask(sock, "echo a b"))
    t.write("this is no Lua", script)
    server:kill "HUP"
    server:expect "\nscript: [^\n]*syntax error[^\n]*\n"
    server:expect "\nkept, 1 connections open\n"
    assert.equal("2: still there", ask(sock, "still there"))
    sock:close()
    assert.equal(0, select(2, server:stop "INT"))
  end)

  it("outlives an error of its script", function()
    t.write([[return {line = function(line)
      if line == "bad" then error "oh no" end
      return line
    end}]], script)
    server:kill "HUP"
    server:expect "\nread again"
    local sock = sockets.dial(port)
    sock:send "bad\n"
    assert.equal("good", ask(sock, "good"))
    server:expect "\nscript: [^\n]*oh no\nstack traceback:\n"
    sock:close()
    assert.equal(0, select(2, server:stop "TERM"))
  end)

  it("says what is wrong with its arguments", function()
    local text, status = launch "scripted_server":finish()
    assert.truthy(text:find "^usage: ")
    assert.equal(2, status)
    text, status = launch "scripted_server /nowhere.lua":finish()
    assert.truthy(text:find "^script: cannot open /nowhere.lua", text)
    assert.equal(1, status)
  end)
end)

describe("The server of several threads", function()
  after_each(process.killall)

  --- Connections, from which two threads at least answer.
  local function check(server)
    local port = tonumber(server:expect "^3 threads on 127%.0%.0%.1:(%d+)\n")
    local threads, n = {}, 0
    for i = 1, 40 do
      local sock = sockets.dial(port)
      local thread = sock:receive():match "^thread (%d)$"
      if not threads[thread] then n = n + 1 end
      threads[thread] = true
      local text = ("x"):rep(1000 * i)
      sock:send(text)
      assert.equal(text, (sock:receive(#text)))
      sock:close()
    end
    assert.is_true(n >= 2)
    local text, status = server:stop "TERM"
    assert.equal("", text:match "\n(.*)$")
    assert.equal(0, status)
  end

  it("answers from each of them", function()
    check(launch("threads " .. folder .. "worker.lua 3"))
  end)

  -- ThreadSanitizer goes with no other tool, and not with every layout of
  -- addresses that a kernel makes at random.
  local races = build .. "/examples/threads_races"
  if lfs.attributes(races) and not os.getenv "VALGRIND" then
    it("has no data race", function()
      local fixed = os.execute "setarch -R true 2>/dev/null" and "setarch -R "
      check(process.launch(("%s%s %sworker.lua 3"):format(fixed or "", races,
                                                          folder)))
    end)
  end

  it("ends if its script fails", function()
    local name = t.write "error 'no'"
    local text, status = launch("threads " .. name .. " 2"):finish()
    os.remove(name)
    assert.truthy(text:find "worker 1: [^\n]*no\nworker 2: [^\n]*no\n", text)
    assert.equal(1, status)
  end)
end)

describe("Several states on one base", function()
  after_each(process.killall)

  it("go on when one of them is closed", function()
    local server = [[
      local base, name = ...
      listener = base:listener("127.0.0.1:0", function(_, conn)
        conn:setcb(function(c) %s end, nil, function() end):enable "read"
      end)
      print(name .. " on " .. listener:sockname():match ":(%%d+)$")
      io.stdout:flush()
    ]]
    local good = t.write(server:format "c:write(c:input())")
    local bad = t.write(server:format "error('on purpose ' .. #c:input())")
    local host = launch(("states %s %s"):format(good, bad))
    local goodport = host:expect(good .. " on (%d+)\n")
    local badport = host:expect(bad .. " on (%d+)\n")
    local one, other = sockets.dial(goodport), sockets.dial(badport)
    for i = 1, 3 do
      assert.equal("line " .. i, ask(one, "line " .. i))
      other:send(("x"):rep(i))
      host:expect(bad .. ": [^\n]*on purpose[^\n]*\n")
      socket.sleep(0.02 * t.slow)
    end
    host:expect(bad .. ": closed\n")
    assert.equal("closed", (select(2, other:receive())))
    assert.is_nil(socket.connect("127.0.0.1", badport))
    assert.equal("still there", ask(one, "still there"))
    one:close()
    other:close()
    local text, status = host:stop "TERM"
    assert.equal(3, select(2, text:gsub("on purpose", "")))
    assert.equal(0, status)
    os.remove(good)
    os.remove(bad)
  end)
end)

describe("One executable", function()
  after_each(process.killall)

  it("is an echo server that needs no file", function()
    local server = process.launch(([[env -i sh -c 'cd / && exec %s %s]]
      .. [[/examples/one_executable 127.0.0.1:0']]):format(
      os.getenv "VALGRIND" or "", build))
    local port = server:expect "^echo server on 127%.0%.0%.1:(%d+)"
    local sock = sockets.dial(port)
    assert.equal("hello", ask(sock, "hello"))
    sock:close()
    assert.equal(0, select(2, server:stop "INT"))
    local needed = process.shell("ldd " .. build .. "/examples/one_executable")
    assert.truthy(needed:find "libc%.so")
    assert.is_nil(needed:find "liblua")
    assert.is_nil(needed:find "libevent")
  end)

  it("says what is wrong", function()
    local text, status = launch "one_executable nowhere":finish()
    assert.truthy(text:find "nowhere", text)
    assert.equal(1, status)
  end)
end)
