-- bufferevent:starttls: TLS in the middle of a conversation.
local libevent = require "libevent"
local secure = require "spec.secure"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local ENOTCONN = 107

local server, client = secure.server(), secure.client()
local gather = secure.gather
local LARGE = t.pattern(1 << 20)

--- Both ends of a connection in the clear.
local function plain(base)
  local ends
  t.connected(base, function(s, c) ends = {s:setcb(), c:setcb()} end)
  t.runtill(base, function() return ends end)
  return table.unpack(ends)
end

--- A sentence about both ends of one, and their base.
local function tells(sentence, f)
  it(sentence, function()
    local base = t.base()
    f(base, plain(base))
    base:close()
  end)
end

--- Both begin with TLS.
local function begin(s, c)
  assert(s:starttls(server))
  assert(c:starttls(client, "localhost"))
end

--- Both ends speak TLS now.
local function speaks(base, s, c)
  local one, other = gather(s), gather(c)
  s:write "from the server"
  c:write "from the client"
  t.runtill(base, function()
    return #one.data == 15 and #other.data == 15
  end)
  assert.same({"connected", data = "from the client"}, one)
  assert.same({"connected", data = "from the server"}, other)
  assert.is_true(c:tls().verified)
  assert.equal(c:tls().cipher, s:tls().cipher)
end

describe("bufferevent:starttls", function()
  before_each(t.start)
  after_each(t.finish)

  tells("ends what is said in the clear", function(base, s, c)
    assert.equal(s, s:starttls(server))
    assert.equal(c, c:starttls(client, "localhost"))
    assert.is_nil(s:tls())
    speaks(base, s, c)
  end)

  tells("comes between an answer and a question", function(base, s, c)
    local log = {}
    s:setcb(function(b)
      local line = b:input():readln "crlf"
      log[#log + 1] = line
      if line == "STARTTLS" then
        b:write "220 go\r\n"
        assert(b:starttls(server))
      else
        b:write "250 done\r\n":close_after_flush()
      end
    end, nil, function() end):enable "read"
    c:setcb(function(b)
      log[#log + 1] = b:input():readln "crlf"
      if log[#log] == "220 go" then
        assert(b:starttls(client, "localhost"))
        b:write "QUIT\r\n"
      end
    end, nil, function(b, what, message)
      log[#log + 1] = message or what
      if what ~= "connected" then b:close() end
    end):enable "read":write "STARTTLS\r\n"
    t.runtill(base, function() return t.isclosed(c) end)
    assert.same({"STARTTLS", "220 go", "connected", "QUIT", "250 done",
                 "reading"}, log)
  end)

  describe("takes for the handshake", function()
    -- In each way that a script may take the line before it.
    local ways = {
      line = function(b) return b:input():readln "crlf" end,
      piece = function(b) return (b:read(10):gsub("\r\n", "")) end,
      drained = function(b)
        local line = b:input():copyout(8)
        b:input():drain(10)
        return line
      end,
      taken = function(b)
        local taken = libevent.buffer()
        b:input():remove_buffer(taken, 10)
        return (tostring(taken):gsub("\r\n", ""))
      end,
    }

    for way, take in pairs(ways) do
      tells("what a client has sent behind the command, as a " .. way,
            function(base, s, c)
        local heard = {data = ""}
        s:setcb(t.expect(function(b)
          assert.equal("STARTTLS", take(b))
          b:write "220 go\r\n"
          assert(b:starttls(server))
          assert.equal(0, #b:input())
          secure.listen(b, heard)
        end)):enable "read"
        local back = gather(c)
        c:write "STARTTLS\r\nRCPT TO:<evil>\r\n"
        t.runtill(base, function() return heard.over and back.over end)
        assert.equal("", heard.data)
        assert.matches("^error 71 ", heard[1])
        assert.equal("220 go\r\n", back.data)
        assert.equal(0, base:num_events())
      end)

      tells("what a server has sent behind its answer, as a " .. way,
            function(base, s, c)
        local heard = {data = ""}
        c:setcb(t.expect(function(b)
          assert.equal("220 okay", take(b))
          assert(b:starttls(client, "localhost"))
          b:write "secret"
          secure.listen(b, heard)
        end)):enable "read"
        local back = gather(s)
        s:write "220 okay\r\n250 injected\r\n"
        t.runtill(base, function() return heard.over and back.over end)
        assert.equal("", heard.data)
        assert.matches("^error 71 wrong version number", heard[1])
        assert.equal(22, back.data:byte())        -- a hello, and no secret
        assert.is_nil(back.data:find("secret", 1, true))
      end)
    end

    tells("what has come while nobody read", function(base, s, c)
      c:write "injected"
      t.runfor(base, 0.01)
      assert(s:starttls(server))
      local heard, back = gather(s), gather(c)
      t.runtill(base, function() return heard.over and back.over end)
      assert.equal("", heard.data)
      assert.matches("^error 71 ", heard[1])
    end)

    it("what came in pieces before it", function()
      local base = t.base()
      local hello = secure.hello(base)
      for _, size in ipairs {1, 5, 100, #hello} do
        local s, c = plain(base)
        s:setcb(function() end):enable "read"
        c:write(hello:sub(1, size))
        t.runtill(base, function() return #s:input() == size end)
        assert(s:starttls(server))
        assert.equal(0, #s:input())
        local heard, back = gather(s), gather(c)
        c:write(hello:sub(size + 1))
        t.runtill(base, function() return #back.data > 100 end)
        assert.equal("\22\3\3", back.data:sub(1, 3))
        c:close()
        t.runtill(base, function() return heard.over end)
        assert.matches("^error 104 ", heard[1])
      end
      base:close()
    end)

    it("a hello that came in one with the command", function()
      local base = t.base()
      local far
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        far = conn
        l:close()
      end))
      -- a client that does not wait for the answer: its command is put before
      -- its hello on the way
      local n = 0
      local proxy = secure.proxy(base, listener:sockname(), {
        up = function(data)
          n = n + 1
          return n == 1 and "STARTTLS\r\n" .. data or data
        end})
      local bev = base:bufferevent(nil, {tls = client, hostname = "localhost"})
      local list = gather(bev)
      assert(bev:connect(proxy.address))
      local heard = {data = ""}
      t.runtill(base, function() return far end)
      far:setcb(t.expect(function(b)
        assert.equal("STARTTLS", b:input():readln "crlf")
        assert(b:starttls(server))
        secure.listen(b, heard)
        b:write "welcome"
      end)):enable "read"
      t.runtill(base, function() return list.data == "welcome" end)
      assert.same({"connected", "connected"}, {list[1], heard[1]})
      base:close()
    end)
  end)

  describe("sends first what was written in the clear", function()
    it("in whatever way", function()
      local base = t.base()
      local file <close> = assert(io.tmpfile())
      file:write(LARGE):flush()
      for _, write in ipairs {
        function(b) b:write(LARGE) end,
        function(b) b:write(libevent.buffer(LARGE)) end,
        function(b) b:output():add_file(file) end,
        function(b)
          b:write(LARGE:sub(1, 1000))
          b:output():add_file(file, 1000, #LARGE - 2000)
          b:write(LARGE:sub(-1000))
        end,
      } do
        local s, c = plain(base)
        local got, n, heard = {}, 0, {data = ""}
        c:setcb(function(b)
          got[#got + 1] = b:read(#LARGE - n)
          n = n + #got[#got]
          if n == #LARGE then
            assert(b:starttls(client, "localhost"))
            secure.listen(b, heard)
          end
        end):enable "read"
        write(s)
        assert(s:starttls(server))
        assert.equal(0, #s:output())
        s:write "in secret":close_after_flush()
        t.runtill(base, function() return heard.over end)
        assert.is_true(table.concat(got) == LARGE)
        assert.same({"connected", "eof reading", data = "in secret",
                     over = true}, heard)
      end
      base:close()
    end)

    tells("also as a client", function(base, s, c)
      local n, heard = 0, {data = ""}
      s:setcb(function(b)
        n = n + #b:read(#LARGE - n)
        if n == #LARGE then
          assert(b:starttls(server))
          secure.listen(b, heard)
        end
      end):enable "read"
      c:write(LARGE)
      assert(c:starttls(client, "localhost"))
      c:write "in secret":close_after_flush()
      t.runtill(base, function() return heard.over end)
      assert.same({"connected", "eof reading", data = "in secret",
                   over = true}, heard)
    end)

    tells("but waits no longer than a handshake may take", function(base, s, c)
      s:write(LARGE:rep(8))
      assert(s:starttls(secure.server {handshake_timeout = 0.03}))
      local heard = gather(s)
      t.runtill(base, function() return heard.over end)
      assert.same({"timeout reading"}, {heard[1]})
      c:close()
    end)
  end)

  describe("can be called", function()
    it("in any callback", function()
      local base = t.base()
      for _, which in ipairs {"read", "write", "event", "timer"} do
        local s, c = plain(base)
        local function go(b)
          b:setcb()
          assert(b:starttls(server))
          assert(c:starttls(client, "localhost"))
          go = nil
        end
        if which == "read" then
          s:setcb(function(b)
            assert.equal("x", b:read())
            go(b)
          end):enable "read"
          c:write "x"
        elseif which == "write" then
          s:setcb(nil, function(b)
            c:setcb(function(x)
              assert.equal("x", x:read())
              go(b)
            end):enable "read"
          end):write "x"
        elseif which == "event" then
          s:set_timeouts(0.005)
          s:setcb(nil, nil, function(b, what)
            assert.equal("timeout", what)
            b:set_timeouts()
            go(b)
          end):enable "read"
        else
          base:timer(function() go(s) end):add(0)
        end
        t.runtill(base, function() return not go end)
        speaks(base, s, c)
      end
      base:close()
    end)

    it("when a connection has just been made", function()
      local base = t.base()
      local heard, list = {data = ""}, {data = ""}
      local s, c
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        s = conn
        assert(conn:starttls(server))
        secure.listen(conn, heard)
        l:close()
      end))
      c = base:bufferevent()
      c:setcb(nil, nil, t.expect(function(b, what)
        assert.equal("connected", what)
        secure.listen(b, list)
        assert(b:starttls(client, "localhost"))
        b:write "hello"
      end))
      assert(c:connect(listener:sockname()))
      t.runtill(base, function() return heard.data == "hello" end)
      assert.same({"connected", "connected"}, {heard[1], list[1]})
      assert.is_true(c:tls().verified)
      s:close()
      base:close()
    end)

    tells("by the end that has connected as a server", function(base, s, c)
      assert(s:starttls(client, "localhost"))
      assert(c:starttls(server))
      speaks(base, c, s)
    end)

    tells("with data for later", function(base, s, c)
      begin(s, c)
      local heard = gather(s)
      c:write(LARGE):shutdown()
      t.runtill(base, function() return heard.over end)
      assert.is_true(heard.data == LARGE)
    end)

    tells("while it does not read, or is at a mark", function(base, s, c)
      s:setwatermark("read", 0, 4)
      s:setcb(function() end):enable "read"
      c:write "full"
      t.runtill(base, function() return #s:input() == 4 end)
      s:input():drain()
      s:disable "read"
      begin(s, c)
      c:setcb(nil, nil, function(_, what) assert.equal("connected", what) end)
      t.runtill(base, function() return c:tls() and s:tls() end)
      c:write "more than four"
      t.runfor(base, 0.01)
      assert.equal(0, #s:input())
      local got = ""
      s:setcb(function(b) got = got .. b:read() end):enable "read"
      t.runtill(base, function() return got == "more than four" end)
    end)

    tells("at a mark with what is left there", function(base, s, c)
      s:setwatermark("read", 0, 6)
      s:setcb(function() end):enable "read"
      c:write "filled"
      t.runtill(base, function() return #s:input() == 6 end)
      assert(s:starttls(server))
      local heard, back = gather(s), gather(c)
      t.runtill(base, function() return heard.over and back.over end)
      assert.matches("^error %d+ ", heard[1])
      assert.equal("", heard.data)
    end)

    tells("with limits on it", function(base, s, c)
      s:set_rate_limit {read = 1e6, write = 1e6, tick = 0.01}
      c:set_rate_limit {read = 1e6, write = 1e6, tick = 0.01}
      begin(s, c)
      speaks(base, s, c)
    end)

    tells("to anybody", function(base, s, c)
      assert(s:starttls(secure.server({}, "unknown")))
      assert(c:starttls(secure.client {verify = false}))
      local heard = gather(c)
      t.runtill(base, function() return heard[1] end)
      assert.equal("connected", heard[1])
      s:close()
      s, c = plain(base)
      assert(s:starttls(secure.server({}, "other")))
      assert(c:starttls(client, false))
      heard = gather(c)
      t.runtill(base, function() return heard[1] end)
      assert.equal("connected", heard[1])
    end)
  end)

  tells("names the peer to it", function(base, s, c)
    assert(s:starttls(server))
    assert(c:starttls(client, "x.good.test"))
    t.runtill(base, function() return s:tls() and c:tls() end)
    assert.equal("x.good.test", s:tls().hostname)
  end)

  describe("refuses", function()
    tells("to speak with nobody knows whom", function(base, _, c)
      t.raises("'hostname' expected, which the peer's certificate must have",
               c.starttls, c, client)
      t.raises("'hostname'", c.starttls, c, client, true)
      t.raises("'hostname'", c.starttls, c, client, "")
      t.raises("libevent.tls.Context expected, got nil", c.starttls, c, nil)
      t.raises("libevent.tls.Context expected", c.starttls, c, base)
      c:write "in the clear still"
    end)

    tells("to begin again", function(base, s, c)
      begin(s, c)
      t.raises("speaks TLS already", c.starttls, c, client, "localhost")
      t.runtill(base, function() return s:tls() and c:tls() end)
      t.raises("speaks TLS already", s.starttls, s, server)
    end)

    tells("what is no connection yet, or no longer", function(base, s, c)
      local bev = base:bufferevent()
      t.refused(ENOTCONN, bev:starttls(server))
      local plainsocket = sockets.listen()
      assert(bev:connect("127.0.0.1:" .. select(2, plainsocket:getsockname())))
      t.refused(ENOTCONN, bev:starttls(server))
      bev:close()
      t.raises("Bufferevent is closed", bev.starttls, bev, server)
      c:shutdown()
      t.raises("shut down for writing", c.starttls, c, client, "localhost")
      s:write(LARGE):close_after_flush()
      t.raises("Bufferevent is closed", s.starttls, s, server)
      plainsocket:close()
    end)

    tells("what is no socket, or belongs to a filter", function(base, s, c)
      local a = base:pair()
      t.raises("Bufferevent is not on a socket", a.starttls, a, server)
      local f = base:filter(s)
      t.raises("Bufferevent is not on a socket", f.starttls, f, server)
      t.raises("Bufferevent belongs to a filter", s.starttls, s, server)
      f:detach()
      begin(s, c)
      speaks(base, s, c)
    end)
  end)

  describe("that fails", function()
    tells("leaves nothing in the clear", function(base, s, c)
      local seen = ""
      s:setcb(function(b)
        seen = seen .. b:read()
        b:write "220 what?\r\n"
      end, nil, function(b) b:close() end):enable "read"
      assert(c:starttls(client, "localhost"))
      c:write "secret"
      local heard
      c:setcb(t.never(), nil, t.expect(function(b, what, message, errno)
        heard = {what, message, errno}
        b:write "secret"
        assert.is_nil(b:getfd())
      end)):enable "read"
      t.runtill(base, function() return t.isclosed(s) and heard end)
      assert.same({"error", "wrong version number", 71}, heard)
      assert.is_nil(seen:find("secret", 1, true))
      -- nor when it is used again
      local again = ""
      local listener = assert(base:listener("127.0.0.1:0", function(l, conn)
        conn:setcb(function(b) again = again .. b:read() end):enable "read"
        l:close()
      end))
      c:setcb(nil, nil, function() end)
      assert(c:connect(listener:sockname()))
      t.runtill(base, function() return #again > 3 end)
      assert.equal(22, again:byte())
      assert.is_nil(again:find("secret", 1, true))
    end)

    it("says why", function()
      local base = t.base()
      for kind, why in pairs {expired = "certificate has expired",
                              other = "hostname mismatch"} do
        local s, c = plain(base)
        assert(s:starttls(secure.server({}, kind)))
        assert(c:starttls(client, "localhost"))
        local one, other = gather(s), gather(c)
        t.runtill(base, function() return one.over and other.over end)
        assert.equal("error 71 certificate verify failed: " .. why, other[1])
        assert.matches("^error 71 .*alert", one[1])
      end
      base:close()
    end)

    tells("for the peer is gone, says so", function(base, s, c)
      c:close()
      assert(s:starttls(server))
      local heard = gather(s)
      t.runtill(base, function() return heard.over end)
      assert.matches("^error 104 ", heard[1])
      s, c = plain(base)
      s:setcb(nil, nil, t.expect(function(b, what)
        assert.equal("eof", what)
        assert(b:starttls(server))
        heard = gather(b)
      end)):enable "read"
      c:shutdown()
      heard = {}
      t.runtill(base, function() return heard.over end)
      assert.matches("^error 104 ", heard[1])
      c:close()
    end)

    tells("ends when its time is over", function(base, s, c)
      assert(s:starttls(secure.server {handshake_timeout = 0.02}))
      local heard = gather(s)
      t.runtill(base, function() return heard.over end)
      assert.equal("timeout reading", heard[1])
      c:close()
    end)
  end)

  it("can be given up", function()
    local base = t.base()
    for _, close in ipairs {"close", "close_after_flush", "setfd"} do
      local s, c = plain(base)
      assert(s:starttls(server))
      s[close](s)
      local heard = gather(c)
      assert(c:starttls(client, "localhost"))
      t.runtill(base, function() return heard.over end)
      assert.matches("^error 104 ", heard[1])
      if close == "setfd" then s:close() end
    end
    base:close()
  end)

  it("lives on its own", function()
    local base = t.base()
    local got
    do
      local s, c = plain(base)
      s:setcb(function(b) got = b:read() end):enable "read"
      begin(s, c)
      c:write "all by itself"
    end
    repeat
      collectgarbage() collectgarbage()
      base:loop "once"
    until got
    assert.equal("all by itself", got)
    base:close()
  end)
end)
