-- The first examples, each started as a real process: back ends, timers,
-- FIFOs, the upper-case pair, and everything on one base.
local lfs = require "lfs"
local libevent = require "libevent"
local process = require "spec.process"
local socket = require "socket"
local sockets = require "spec.sockets"
local stat = require "posix.sys.stat"
local t = require "spec.helper"

local start, shell, wait = process.start, process.shell, process.wait
local lua = os.getenv "LUA" or "lua5.4"

local CLOSED = "standard input: Bad file descriptor\n"

local function check(text, status, p)
  local output, result = p:finish()
  assert.same({text, status}, {output, result})
end

-- Ends quietly: nothing is printed any more, and the status is 0.
local function ends(p, signal)
  local before = p:output()
  local output, status = p:stop(signal)
  assert.same({before, 0}, {output, status})
end

-- Waits until the process sleeps for a while instead of going round.
local function idle(p)
  local quiet = 0
  assert.truthy(wait(function()
    local file = assert(io.open(("/proc/%d/stat"):format(p.pid)))
    local state = file:read "a":match "%) (%a)"
    file:close()
    quiet = state == "S" and quiet + 1 or 0
    return quiet == 10
  end), "it does not sleep")
end

describe("Example methods", function()
  after_each(process.killall)

  it("lists the back ends and tells the one in use", function()
    local text, status = start "examples/methods.lua":finish()
    assert.equal(0, status)
    local names = text:match "^libevent 2%.1%.[^\n]* has these back ends:\n(.*)"
    assert.equal("  " .. table.concat(libevent.methods(), "\n  ")
                 .. "\nin use: " .. libevent.base():method() .. " ("
                 .. libevent.base():features() .. ")\n", names)
  end)

  it("obeys the environment", function()
    local text = shell("EVENT_NOEPOLL=1 " .. lua .. " examples/methods.lua")
    assert.truthy(text:find "in use: poll %(")
  end)

  it("needs no standard input", function()
    assert.equal(0, select(2, start("examples/methods.lua", "<&-"):finish()))
  end)
end)

describe("Example ticker", function()
  after_each(process.killall)

  for _, signal in ipairs {"INT", "TERM"} do
    it("ticks with both timers until SIG" .. signal, function()
      local p = start "examples/ticker.lua 0.02"
      for _, name in ipairs {"added again", "persistent"} do
        p:expect(("\n" .. name .. " +%d+%.%d+ s"):rep(3, ".-"))
      end
      local text, status = p:stop(signal)
      assert.equal(0, status)
      for line in text:gmatch "[^\n]+" do
        assert.truthy(line:find "^added again +%d+%.%d%d%d%d s$"
                      or line:find "^persistent +%d+%.%d%d%d%d s$", line)
      end
    end)
  end

  it("needs no standard input", function()
    local p = start("examples/ticker.lua 0.02", "<&-")
    p:expect "persistent.-persistent"
    assert.equal(0, select(2, p:stop()))
  end)
end)

describe("Example fifo_reader", function()
  after_each(process.killall)

  local GONE = "the writer is gone, waiting for the next one\n"

  for _, signal in ipairs {"INT", "TERM"} do
    it("reads one writer after another until SIG" .. signal, function()
      local path = t.path()
      local p = start("examples/fifo_reader.lua " .. path)
      local first = p:expect "^(reading [^\n]*\n)"
      assert.equal(("reading %s, try: echo hello >%s\n"):format(path, path),
                   first)
      idle(p)
      shell("echo hello >" .. path)
      p:expect "HELLO\nthe writer is gone.*\n"
      idle(p)
      shell("echo and again >" .. path)
      p:expect "AND AGAIN\nthe writer is gone.*\n"
      idle(p)
      assert.equal(first .. "HELLO\n" .. GONE .. "AND AGAIN\n" .. GONE,
                   p:output())
      ends(p, signal)
      assert.is_nil(lfs.attributes(path))
    end)
  end

  it("shows half a line at once, and loses nothing of two writers", function()
    local path = t.path()
    local p = start("examples/fifo_reader.lua " .. path)
    p:expect "\n"
    local one = assert(io.open(path, "w"))
    local two = assert(io.open(path, "w"))
    one:write "half a":flush()
    p:expect "HALF A$"
    one:close()
    two:write " line\n":close()
    p:expect("HALF A LINE\n" .. GONE .. "$")
    ends(p)
  end)

  it("takes a FIFO that was left over", function()
    local path = t.path()
    assert(stat.mkfifo(path))
    local p = start("examples/fifo_reader.lua " .. path)
    p:expect "\n"
    shell("echo hello >" .. path)
    p:expect "HELLO\n"
    p:stop()
    assert.is_nil(lfs.attributes(path))
  end)

  it("leaves alone what is not a FIFO", function()
    local path = t.write "precious"
    check(path .. ": File exists\n", 1,
          start("examples/fifo_reader.lua " .. path))
    assert.equal("precious", t.contents(path))
    -- nor does it remove what has taken the place of its FIFO
    os.remove(path)
    local p = start("examples/fifo_reader.lua " .. path)
    p:expect "\n"
    os.remove(path)
    t.write("precious", path)
    ends(p)
    assert.equal("precious", t.contents(path))
    os.remove(path)
  end)

  it("says in a line why there is no FIFO", function()
    local path = t.path()
    check(path .. "/fifo: No such file or directory\n", 1,
          start("examples/fifo_reader.lua " .. path .. "/fifo"))
    local p = start("examples/fifo_reader.lua " .. path)
    p:expect "\n"
    local writer = assert(io.open(path, "w"))
    os.remove(path)
    writer:close()
    local text, status = p:finish()
    assert.equal(1, status)
    assert.truthy(text:find(path .. ": No such file or directory\n", 1, true))
  end)

  it("needs no standard input", function()
    local path = t.path()
    local p = start("examples/fifo_reader.lua " .. path, "<&-")
    p:expect "\n"
    shell("echo hello >" .. path)
    p:expect("HELLO\n" .. GONE)
    ends(p)
  end)
end)

describe("Example fifo_writer", function()
  after_each(process.killall)

  local path, reader

  before_each(function()
    path = t.path()
    reader = start("examples/fifo_reader.lua " .. path)
    reader:expect "\n"
  end)

  after_each(function()
    if reader then reader:kill "CONT":stop() end
    os.remove(path)
  end)

  local function writer(stdin)
    return start("examples/fifo_writer.lua " .. path, stdin)
  end

  it("sends each line when it is typed, and the last without an end",
  function()
    local p = writer()
    p:write "hello\n"
    reader:expect "\nHELLO\n$"
    p:write "again\n"
    reader:expect "\nHELLO\nAGAIN\n$"
    idle(p)
    p:write "no end":closeinput()
    reader:expect "\nHELLO\nAGAIN\nNO ENDthe writer is gone[^\n]*\n$"
    check("", 0, p)
  end)

  it("speaks to a reader that is not ours", function()
    reader:stop()
    reader = nil
    assert(stat.mkfifo(path))
    local pipe = io.popen(("exec 3<>%s; echo open; timeout %d head -n 2 <&3")
                          :format(path, 5 * t.slow))
    assert.equal("open", pipe:read())
    local p = writer()
    p:write "one\ntwo\n"
    assert.equal("one\ntwo\n", pipe:read "a")
    pipe:close()
    p:closeinput()
    p:finish()
  end)

  it("waits while the FIFO is full, and loses nothing", function()
    local lines = {}
    for i = 1, 50000 do lines[i] = "line " .. i end
    local text = table.concat(lines, "\n") .. "\n"
    local name = t.write(text)
    reader:kill "STOP"
    local p = writer("<" .. name)
    idle(p)
    assert.is_nil(lfs.attributes(p.name .. ".status"))
    reader:kill "CONT"
    check("", 0, p)
    reader:expect "the writer is gone[^\n]*\n$"
    assert.equal(text:upper(), reader:output():match "^[^\n]*\n(.*)the writer")
    os.remove(name)
  end)

  it("says in a line that the reader is gone", function()
    local p = writer()
    p:write "hello\n"
    reader:expect "HELLO\n"
    reader:stop()
    reader = nil
    p:write "again\n"
    check("the reader of " .. path .. " is gone\n", 1, p)
  end)

  it("says in a line that there is no reader, or no FIFO", function()
    reader:stop()
    reader = nil
    check("there is no FIFO " .. path .. ", start the reader first\n", 1,
          writer())
    assert(stat.mkfifo(path))
    check("no reader: " .. path .. ": No such device or address\n", 1,
          writer())
    os.remove(path)
    t.write("precious", path)
    check("there is no FIFO " .. path .. ", start the reader first\n", 1,
          writer())
    assert.equal("precious", t.contents(path))
  end)

  it("ends with its input", function()
    check("", 0, writer "</dev/null")
    check(CLOSED, 1, writer "<&-")
  end)

  for _, signal in ipairs {"INT", "TERM"} do
    it("ends by SIG" .. signal, function()
      local p = writer()
      p:write "hello\n"
      reader:expect "HELLO\n"
      ends(p, signal)
    end)
  end
end)

describe("Example upper_server", function()
  after_each(process.killall)

  local server, port

  before_each(function()
    server = start "examples/upper_server.lua 127.0.0.1:0"
    port = server:expect "^upper%-case server on 127%.0%.0%.1:(%d+)\n"
  end)

  after_each(function()
    if server then server:stop() end
  end)

  local function connect()
    local s = assert(socket.connect("127.0.0.1", port))
    s:settimeout(5 * t.slow)
    return s
  end

  it("answers nc and socat, and reports each answer", function()
    assert.equal("HELLO\n", shell("echo hello | nc -N 127.0.0.1 " .. port))
    assert.equal("HELLO\n", shell("echo hello | socat - TCP:127.0.0.1:"
                                  .. port))
    local one, two = "127%.0%.0%.1:%d+ has come\n",
                     "answer sent to 127%.0%.0%.1:%d+\n"
    server:expect("\n" .. one .. two .. one .. two .. "$")
  end)

  it("reports an answer when it is sent, not before", function()
    local s = connect()
    local _, own = s:getsockname()
    for i = 1, 3 do
      s:send "hello\n"
      assert.equal("HELLO", s:receive())
      server:expect(("\nanswer sent to 127.0.0.1:" .. own):rep(i) .. "\n$")
    end
    s:close()
  end)

  it("reads no more from a client that takes no answer", function()
    local s = connect()
    local chunk = ("x"):rep(2^16)
    local sent, limit = 0, 2^26
    s:settimeout(0.05)
    repeat
      local n, _, part = s:send(chunk)
      sent = sent + (n or part)
    until not n or sent >= limit
    assert.is_true(sent < limit)
    s:shutdown "send"
    s:settimeout(5 * t.slow)
    assert.is_true(s:receive "*a" == ("X"):rep(sent))
    s:close()
  end)

  it("survives a client that vanishes", function()
    for _ = 1, 3 do
      local s = connect()
      s:send(("x"):rep(100000))
      s:setoption("linger", {on = true, timeout = 0})
      s:close()
    end
    assert.equal("HELLO\n", shell("echo hello | nc -N 127.0.0.1 " .. port))
    idle(server)
    ends(server)
    server = nil
  end)

  it("says in a line that the port is in use", function()
    check(("cannot listen on 127.0.0.1:%d: Address already in use\n")
            :format(port), 1,
          start("examples/upper_server.lua 127.0.0.1:" .. port))
  end)

  it("listens on a unix socket, and removes it", function()
    local path = t.path()
    local p = start("examples/upper_server.lua unix:" .. path, "<&-")
    p:expect("^upper%-case server on unix:" .. path)
    assert.equal("HELLO\n", shell("echo hello | nc -N -U " .. path))
    ends(p)
    assert.is_nil(lfs.attributes(path))
  end)

  for _, signal in ipairs {"INT", "TERM"} do
    it("ends by SIG" .. signal .. ", with a client or without", function()
      local s = connect()
      s:send "hello\n"
      assert.equal("HELLO", s:receive())
      server:expect "sent to [^\n]*\n$"
      ends(server, signal)
      assert.is_nil(s:receive())
      s:close()
      server = start "examples/upper_server.lua 127.0.0.1:0"
      server:expect "\n"
      ends(server, signal)
      server = nil
    end)
  end
end)

describe("Example upper_client", function()
  after_each(process.killall)

  local server, port

  before_each(function()
    server = start "examples/upper_server.lua 127.0.0.1:0"
    port = server:expect ":(%d+)\n"
  end)

  after_each(function()
    if server then server:stop() end
  end)

  local function client(stdin)
    return start("examples/upper_client.lua 127.0.0.1:" .. port, stdin)
  end

  -- A server of the spec's own, and its end of the client's connection.
  local function accept()
    local listener = assert(socket.bind("127.0.0.1", 0))
    listener:settimeout(5 * t.slow)
    local _, own = listener:getsockname()
    local p = start("examples/upper_client.lua 127.0.0.1:" .. own)
    local s = assert(listener:accept())
    s:settimeout(5 * t.slow)
    listener:close()
    return p, s, own
  end

  it("sends what is typed and prints the answers", function()
    local p = client()
    p:write "hello\n"
    p:expect "^HELLO\n$"
    p:write "again\n"
    p:expect "^HELLO\nAGAIN\n$"
    idle(p)
    p:write "no end":closeinput()
    check("HELLO\nAGAIN\nNO END", 0, p)
  end)

  it("ends with its input, after the last answer", function()
    check("", 0, client "</dev/null")
    check(CLOSED, 1, client "<&-")
    local lines = {}
    for i = 1, 50000 do lines[i] = "line " .. i end
    local text = table.concat(lines, "\n")
    local name = t.write(text)
    local output, status = client("<" .. name):finish()
    os.remove(name)
    assert.equal(0, status)
    assert.is_true(output == text:upper())
  end)

  it("speaks to a server that is not ours, and waits for its answer",
  function()
    local p, s = accept()
    p:write "hello\n"
    assert.equal("hello", s:receive())
    p:write "no end":closeinput()
    assert.equal("no end", (s:receive "*a"))
    s:send "half "
    p:expect "^half $"
    s:send "an answer\n"
    s:close()
    check("half an answer\n", 0, p)
  end)

  it("says in a line that the server is gone", function()
    local p, s = accept()
    s:close()
    check("the server is gone\n", 1, p)
    local own
    p, s, own = accept()
    p:write "hello\n"
    assert.equal("hello", s:receive())
    s:setoption("linger", {on = true, timeout = 0})
    s:close()
    check(("no connection to 127.0.0.1:%d: Connection reset by peer\n")
            :format(own), 1, p)
    p = client()
    p:write "hello\n"
    p:expect "HELLO\n"
    server:expect "\nanswer sent to [^\n]+\n$"
    ends(server)
    server = nil
    check("HELLO\nthe server is gone\n", 1, p)
  end)

  it("says in a line that there is no server", function()
    port = sockets.unused()
    check(("no connection to 127.0.0.1:%d: Connection refused\n")
            :format(port), 1, client())
    local path = t.path()
    check(("no connection to unix:%s: No such file or directory\n")
            :format(path), 1, start("examples/upper_client.lua unix:" .. path))
  end)

  for _, signal in ipairs {"INT", "TERM"} do
    it("ends by SIG" .. signal, function()
      local p = client()
      p:write "hello\n"
      p:expect "HELLO\n"
      ends(p, signal)
    end)
  end
end)

describe("Example quick_start", function()
  after_each(process.killall)

  it("has a timer that goes on", function()
    local p = start "examples/quick_start.lua 0.05 60 0"
    p:expect(("timer: 0.05 s have passed\n"):rep(3))
    p:stop()
  end)

  it("says that nothing was typed, and goes on", function()
    local p = start "examples/quick_start.lua 60 0.05 0"
    p:expect(("input: nothing for 0.05 s\n"):rep(3))
    p:write "hello\n"
    p:expect "typed: hello\n.-input: nothing for 0.05 s\n"
    p:stop()
  end)

  it("writes what was typed, the last line without an end too", function()
    local p = start "examples/quick_start.lua 60 60 0"
    p:write "one\ntwo\nth"
    p:expect "^typed: one\ntyped: two\n$"
    p:write "ree\nno end"
    p:expect "^typed: one\ntyped: two\ntyped: three\n$"
    p:closeinput()
    p:expect "three\ntyped: no end\ninput: no more\n$"
    idle(p)
    p:stop()
  end)

  it("stays for its timer when the input ends", function()
    local p = start("examples/quick_start.lua 0.05 0.05 0", "</dev/null")
    p:expect "input: no more\n"
    p:expect "timer: .-\ntimer: "
    local text, status = p:stop()
    assert.equal(0, status)
    assert.is_nil(text:find "nothing")
    check(CLOSED, 1, start("examples/quick_start.lua", "<&-"))
  end)

  it("ends some time after SIGINT", function()
    local p = start "examples/quick_start.lua 60 60 0.1"
    p:write "hello\n"
    p:expect "hello\n"
    check("typed: hello\nSIGINT: the end in 0.1 s\n", 0, p:kill "INT")
  end)

  it("ends at once by SIGHUP and SIGTERM, also after SIGINT", function()
    for _, signal in ipairs {"HUP", "TERM"} do
      local p = start "examples/quick_start.lua 60 60 60"
      p:write "hello\n"
      p:expect "hello\n"
      p:kill "INT":expect "SIGINT: the end in 60 s\n"
      p:kill(signal)
      check("typed: hello\nSIGINT: the end in 60 s\nSIG" .. signal
            .. ": the end at once\n", 0, p)
    end
  end)

  it("takes files for input and output, and says that the output is gone",
  function()
    local name = t.write(("line\n"):rep(20000))
    local p = start("examples/quick_start.lua 60 60 0", "<" .. name)
    p:expect "input: no more\n"
    local text = p:stop()
    assert.equal(20000, select(2, text:gsub("typed: line\n", "")))
    text = shell(("{ %s examples/quick_start.lua 60 60 0 <%s;"
      .. " echo status $? >&2; } | head -n 1 >/dev/null"):format(lua, name))
    os.remove(name)
    assert.truthy(text:find("standard output: Broken pipe\nstatus 1\n", 1,
                            true), text)
  end)
end)
