-- The examples that exchange messages: servers and clients in all pairs, and
-- each of them with peers that are not ours, that misbehave or that are gone.
local process = require "spec.process"
local socket = require "socket"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local shell, wait = process.shell, process.wait

local servers = {"event_server", "bufferevent_server", "message_server"}
local clients = {"event_client", "bufferevent_client", "message_client"}

local start = process.start

local function serve(name)
  local p = start(("examples/%s.lua 127.0.0.1:0"):format(name))
  return p, tonumber((p:expect " on 127.0.0.1:(%d+)\n"))
end

local function connect(name, port, stdin)
  return start(("examples/%s.lua 127.0.0.1:%d"):format(name, port), stdin)
end

local dial, listen = sockets.dial, sockets.listen
local unused, vanish = sockets.unused, sockets.vanish

local function ends(p, signal)
  local text, status = p:stop(signal)
  assert.equal(0, status, text)
  assert.is_nil(text:find "traceback", text)
  return text
end

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

-- That is all that it says, on one line.
local function fails(p, pattern)
  local text, status = p:finish()
  assert.equal(1, status, text)
  assert.truthy(text:find("^" .. pattern .. "\n$"), text)
end

local function answer(line)
  return "I have received the msg: " .. line .. "\n"
end

local function perl(code, port)
  local path = t.write(code)
  local text = shell(("perl %s %d"):format(path, port))
  os.remove(path)
  return text
end

describe("Example", function()
  after_each(process.killall)

  for _, server in ipairs(servers) do
    for _, client in ipairs(clients) do
      it(server .. " and " .. client .. " understand each other", function()
        local p, port = serve(server)
        local c = connect(client, port)
        c:expect("^connected to 127.0.0.1:" .. port .. "\n")
        c:write "hello\n"
        c:expect("\nserver says: " .. answer "hello")
        c:write "on":write "e\ntwo\r\n\nhal"
        c:expect("\nserver says: " .. answer "two")
        c:write("f"):closeinput()
        local text, status = c:finish()
        assert.equal(0, status)
        assert.equal(("connected to 127.0.0.1:%d\n"):format(port)
          .. answer "hello" .. answer "one" .. answer "two" .. answer ""
          .. answer "half" .. "connection closed\n",
          (text:gsub("server says: ", "")))
        p:expect "connection closed\n"
        text = ends(p)
        assert.equal(5, count(text, " says: "))
        assert.equal(1, count(text, " accepted\n"))
        assert.truthy(text:find " says: half\n")
      end)
    end
  end

  for _, name in ipairs(servers) do
    it(name .. " answers nc, socat and several at once", function()
      local p, port = serve(name)
      local silent, other = dial(port), dial(port)
      assert.equal(answer "one" .. answer "two" .. answer "half", shell(
        [[printf "one\ntwo\r\nhalf" | nc -N 127.0.0.1 ]] .. port))
      assert.equal(answer "hello", shell(
        "echo hello | socat - TCP:127.0.0.1:" .. port))
      other:send "me too\n"
      assert.equal(answer "me too", other:receive() .. "\n")
      other:close()
      silent:close()
      p:expect "connection closed.*connection closed.*connection closed.*closed"
      ends(p, "TERM")
    end)

    it(name .. " reads lines, however they are cut", function()
      local p, port = serve(name)
      local peer = dial(port)
      peer:send "one\nhel"
      assert.equal(answer "one", peer:receive() .. "\n")
      peer:send "lo\r"
      socket.sleep(0.02)
      peer:send "\nlast"
      assert.equal(answer "hello", peer:receive() .. "\n")
      peer:close()                       -- both directions, half a line sent
      p:expect " says: last\n"
      p:expect ": connection closed\n"
      peer = dial(port)
      local lines, answers = {}, {}
      for i = 1, 1000 do
        lines[i] = i .. "\n"
        answers[i] = answer(i)
      end
      peer:send(table.concat(lines))
      peer:shutdown "send"
      assert.equal(table.concat(answers), (peer:receive "*a"))
      peer:close()
      ends(p)
    end)

    it(name .. " closes on a line without an end, and on nobody else",
    function()
      local p, port = serve(name)
      local peer = dial(port)
      peer:send(("x"):rep(5000))
      p:expect ": line too long\n"
      assert.equal("", (select(3, peer:receive "*l")))
      peer:close()
      assert.equal(answer "hello", shell(
        "echo hello | nc -N 127.0.0.1 " .. port))
      local text = ends(p)
      assert.equal(1, count(text, " says: "))
    end)

    it(name .. " does not read who does not read", function()
      local p, port = serve(name)
      local peer = dial(port)
      peer:settimeout(0.3 * t.slow)
      local chunk = (("x"):rep(3999) .. "\n"):rep(16)
      local sent = 0
      repeat
        local n, _, partial = peer:send(chunk)
        sent = sent + (n or partial)
      until not n or sent > 2^27
      assert.is_true(sent <= 2^27)
      peer:settimeout(5 * t.slow)
      local lines = sent // 4000
      for _ = 1, lines do
        assert.equal(3999 + #answer "", #peer:receive() + 1)
      end
      peer:close()
      p:expect ": connection closed\n"
      ends(p)
    end)

    it(name .. " says in a line that a peer has vanished", function()
      local p, port = serve(name)
      local peer = dial(port)
      peer:send "hello\n"
      peer:receive()
      vanish(peer)
      p:expect ": Connection reset by peer\n"
      vanish(dial(port))
      p:expect "reset by peer\n.*reset by peer\n"
      assert.equal(answer "hello", shell(
        "echo hello | nc -N 127.0.0.1 " .. port))
      ends(p)
    end)

    it(name .. " says in a line that its port is in use", function()
      local p, port = serve(name)
      local address = "127.0.0.1:" .. port
      fails(start(("examples/%s.lua %s"):format(name, address)),
            "cannot listen on " .. address .. ": [Aa]ddress already in use")
      ends(p, "TERM")
    end)

    it(name .. " ends by a signal in the middle of a connection", function()
      for _, signal in ipairs {"INT", "TERM"} do
        local p, port = serve(name)
        local peer = dial(port)
        peer:send "half"
        p:expect " accepted\n"
        ends(p, signal)
        peer:close()
      end
    end)
  end

  for _, name in ipairs {"event_server", "bufferevent_server"} do
    it(name .. " pauses without descriptors, and comes back", function()
      local p, port = serve(name)
      local peers = {dial(port)}
      -- Descriptors are given out from the lowest: this was the last one.
      local fd = p:expect "client (%d+) accepted\n"
      os.execute(("prlimit --pid %d --nofile=%d"):format(p.pid, fd + 1))
      for i = 2, 8 do peers[i] = dial(port) end
      p:expect "cannot accept: Too many open files\n"
      for i = 1, 8 do
        peers[i]:send "hello\n"
        peers[i]:shutdown "send"
        assert.equal(answer "hello", (peers[i]:receive "*a"))
        peers[i]:close()
      end
      local text = ends(p)
      assert.is_true(count(text, "cannot accept") < 100, text)
    end)
  end

  for _, name in ipairs(clients) do
    it(name .. " prints what any server says, line by line", function()
      local server, port = listen()
      local c = connect(name, port)
      local peer = server:accept()
      peer:settimeout(5 * t.slow)
      peer:send "one\ntw"
      c:expect "\nserver says: one\n"
      c:write "hello\nhalf"
      assert.equal("hello", (peer:receive()))
      peer:send "o\r\nlast"
      c:expect "\nserver says: two\n"
      c:closeinput()
      assert.equal("half", (peer:receive "*a"))
      peer:close()
      server:close()
      local text, status = c:finish()
      assert.equal(0, status)
      assert.equal(("connected to 127.0.0.1:%d\n"):format(port)
        .. "server says: one\nserver says: two\nserver says: last\n"
        .. "connection closed\n", text)
    end)

    it(name .. " ends with the connection while stdin is open", function()
      local p, port = serve "message_server"
      local c = connect(name, port)
      c:expect "^connected"
      p:expect " accepted\n"
      ends(p)
      local text, status = c:finish()
      assert.equal(0, status)
      assert.truthy(text:find "\nconnection closed\n$")
    end)

    it(name .. " sends all of a file", function()
      local p, port = serve "message_server"
      local path = t.path()
      local file = assert(io.open(path, "w"))
      for i = 1, 20000 do file:write(i, "\n") end
      file:write "the end"
      file:close()
      local text, status = connect(name, port, "<" .. path):finish(20)
      os.remove(path)
      assert.equal(0, status)
      assert.equal(20001, count(text, "server says: "))
      assert.truthy(text:find(answer "the end" .. "connection closed\n$"))
      ends(p)
    end)

    it(name .. " has nothing to send from /dev/null", function()
      local p, port = serve "message_server"
      local text, status = connect(name, port, "</dev/null"):finish()
      assert.equal(0, status)
      assert.equal(("connected to 127.0.0.1:%d\nconnection closed\n")
                     :format(port), text)
      ends(p)
    end)

    it(name .. " says in a line that stdin cannot be read", function()
      local p, port = serve "message_server"
      local line = "connected to [%d.:]+\ncannot read standard input: "
      fails(connect(name, port, "<&-"), line .. "Bad file descriptor")
      fails(connect(name, port, "<spec"), line .. "Is a directory")
      ends(p)
    end)

    it(name .. " says in a line that there is no server", function()
      local port = unused()
      fails(connect(name, port), ("cannot connect to 127.0.0.1:%d: %s"):format(
        port, "[Cc]onnection refused"))
    end)

    it(name .. " says in a line that the server has vanished", function()
      local server, port = listen()
      local c = connect(name, port)
      local peer = server:accept()
      c:expect "^connected"
      vanish(peer)
      server:close()
      fails(c, "connected to [%d.:]+\nconnection lost: "
               .. "Connection reset by peer")
    end)

    it(name .. " ends by a signal", function()
      local p, port = serve "message_server"
      for _, signal in ipairs {"INT", "TERM"} do
        local c = connect(name, port)
        c:write "hello\n"
        c:expect "server says"
        ends(c, signal)
      end
      ends(p)
    end)
  end

  it("sigpipe_server survives writing to who has shut down", function()
    local p, port = serve "sigpipe_server"
    for i = 1, 2 do
      local text, status = connect("sigpipe_client", port):finish()
      assert.equal(0, status)
      assert.equal(("connected to 127.0.0.1:%d\nshut down both directions\n")
                     :format(port), text)
      assert(wait(function()
        return count(p:output(), ": second write: [^\n]+\n") == i
      end), p:output())
    end
    local text = ends(p)
    assert.equal(2, count(text, ": the peer has shut down\n"))
    assert.equal(2, count(text, ": first write: sent\n"))
    assert.equal(2, count(text, ": second write: Broken pipe %(errno 32%)\n")
      + count(text, ": second write: Connection reset by peer %(errno %d+%)\n"))
  end)

  it("sigpipe_server writes twice to who still reads", function()
    local p, port = serve "sigpipe_server"
    assert.equal("first message\nsecond message\n", shell(
      "echo hello | nc -N 127.0.0.1 " .. port))
    p:expect ": first write: sent\n.*: second write: sent\n"
    vanish(dial(port))
    p:expect ": waiting for the end: Connection reset by peer %(errno %d+%)\n"
    ends(p, "TERM")
  end)

  it("sigpipe_server and sigpipe_client tell of an address in a line",
  function()
    local p, port = serve "sigpipe_server"
    fails(connect("sigpipe_server", port), ("cannot listen on 127.0.0.1:%d: %s")
      :format(port, "Address already in use"))
    ends(p)
    fails(connect("sigpipe_client", port),
          ("cannot connect to 127.0.0.1:%d: Connection refused"):format(port))
  end)

  it("urgent_server notices urgent data, and reads it", function()
    local p, port = serve "urgent_server"
    perl([[
      use IO::Socket;
      my $s = IO::Socket::INET->new("127.0.0.1:$ARGV[0]") or die;
      <$s>;
      $s->send("slow ");
      $s->send("!", MSG_OOB);
      $s->send("more");
    ]], port)
    p:expect ": connection closed\n"
    local text = ends(p)
    assert.equal(1, count(text, "SIGURG: urgent data is coming\n"))
    assert.truthy(text:find '"slow ".* urgent: "!"\n.*"more"\n')
    assert.equal(1, count(text, " urgent: "))
  end)

  it("urgent_server knows what is not urgent, and whose it is", function()
    local p, port = serve "urgent_server"
    local peer = dial(port)
    assert.equal("ready", (peer:receive()))
    local _, name = peer:getsockname()
    peer:send "!"
    p:expect(":" .. math.tointeger(tonumber(name)) .. ': "!"\n')
    perl([[
      use IO::Socket;
      my $s = IO::Socket::INET->new("127.0.0.1:$ARGV[0]") or die;
      <$s>;
      $s->send("!", MSG_OOB);
    ]], port)
    p:expect ' urgent: "!"\n.*: connection closed\n'
    vanish(peer)
    p:expect ": Connection reset by peer\n"
    fails(connect("urgent_server", port), ("cannot listen on 127.0.0.1:%d: %s")
      :format(port, "Address already in use"))
    assert.equal(1, count(ends(p, "TERM"), "SIGURG"))
  end)
end)
