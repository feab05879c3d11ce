--- What LuaSocket does, in cases that are run with LuaSocket itself and with
--- libevent.socket, to be compared.
---
---   local cases = require "spec.socket_cases"
---   for _, case in ipairs(cases) do
---     local lines = cases.run(case, socket, unix)
---   end
---
--- A case is a name and a function of `c`, which has the module as c.socket,
--- show(...) for what a call has returned, and pairs of connected sockets. Both
--- ends are in one task: what is sent is small.

local lfs = require "lfs"

local cases = {}

local function case(name, f) cases[#cases + 1] = {name = name, f = f} end

-- {==== Values as text ====

local Case = {}
Case.__index = Case

--- A value without what differs from run to run: addresses and free ports.
local function text(c, value)
  if math.type(value) == "float" then
    value = math.tointeger(value) or ("%.3g"):format(value)
  end
  if c.ports[tonumber(value)] then return "PORT" end
  local s = tostring(value):gsub(": 0x%x+$", "")
  for path in pairs(c.paths) do s = s:gsub(path:gsub("%p", "%%%0"), "PATH") end
  return s
end

function Case:show(...)
  local list = table.pack(...)
  for i = 1, list.n do list[i] = text(self, list[i]) end
  while list[list.n] == "nil" and list.n > 1 do
    list[list.n] = nil
    list.n = list.n - 1
  end
  self.lines[#self.lines + 1] = table.concat(list, ", ")
end

--- Shows the message of an error, without its place.
function Case:fails(f)
  local ok, message = pcall(f)
  self:show(ok, (tostring(message):gsub("^[^\n]-:%d+: ", "")
                                  :gsub("got no value", "got nil")))
end

-- ====}

-- {==== Sockets for the cases ====

--- Closes it at the end of the case.
function Case:keep(sock)
  self.kept[#self.kept + 1] = sock
  return sock
end

--- Remembers a port, which is shown as PORT.
function Case:port(sock)
  local _, port = sock:getsockname()
  self.ports[math.tointeger(tonumber(port))] = true
  return port
end

function Case:server()
  local server = self:keep(assert(self.socket.bind("127.0.0.1", 0)))
  return server, self:port(server)
end

--- Two ends of a connection, with a second for each wait.
function Case:pair()
  local server, port = self:server()
  local one = self:keep(assert(self.socket.connect("127.0.0.1", port)))
  local other = self:keep(assert(server:accept()))
  self:port(one)
  one:settimeout(1)
  other:settimeout(1)
  return one, other
end

function Case:path()
  local path = os.tmpname()
  os.remove(path)
  self.paths[path] = true
  return path
end

function Case:udp()
  local sock = self:keep(assert(self.socket.udp4()))
  assert(sock:setsockname("127.0.0.1", 0))
  sock:settimeout(1)
  return sock, self:port(sock)
end

--- Runs a case: a list of lines.
function cases.run(one, socket, unix)
  local c = setmetatable({socket = socket, unix = unix, lines = {}, kept = {},
                          ports = {}, paths = {}}, Case)
  local ok, message = pcall(one.f, c)
  for _, sock in ipairs(c.kept) do sock:close() end
  for path in pairs(c.paths) do
    if lfs.attributes(path) then os.remove(path) end
  end
  if not ok then c.lines[#c.lines + 1] = "ERROR " .. tostring(message) end
  return c.lines
end

-- ====}

-- {==== Receiving ====

case("receives lines, without their ends", function(c)
  local a, b = c:pair()
  a:send "one\r\ntwo\n\n\r\nth\rree\r\n"
  for _ = 1, 5 do c:show(b:receive()) end
  a:send "x\ny\nz\n"
  c:show(b:receive "*l")
  c:show(b:receive "*line")
  c:show(b:receive(nil))
end)

case("receives so many bytes", function(c)
  local a, b = c:pair()
  a:send "abcdefghij"
  c:show(b:receive(3))
  c:show(b:receive "2")
  c:show(b:receive(2.0))
  c:show(b:receive(0))
  c:show(b:receive(3))
end)

case("receives all", function(c)
  local a, b = c:pair()
  a:send "abc\ndef"
  a:close()
  c:show(b:receive "*a")
  c:show(b:receive "*a")
end)

case("receives all of nothing", function(c)
  local a, b = c:pair()
  a:close()
  c:show(b:receive "*a")
  c:show(b:receive("*a", "prefix"))
end)

case("puts a prefix in front", function(c)
  local a, b = c:pair()
  a:send "line\r\n12345rest"
  c:show(b:receive("*l", "pre"))
  c:show(b:receive(5, "ab"))
  c:show(b:receive(2, "ab"))
  c:show(b:receive(1, "ab"))
  c:show(b:receive(0, "ab"))
  c:show(b:receive("*l", 7))
  a:close()
  c:show(b:receive("*a", "x"))
end)

case("gives what has come at the end", function(c)
  local a, b = c:pair()
  a:send "part\rly"
  a:close()
  c:show(b:receive "*l")
  c:show(b:receive "*l")
  c:show(b:receive(0))
  c:show(b:receive(1))
end)

case("gives what has come in time", function(c)
  local a, b = c:pair()
  a:send "part\rly"
  b:settimeout(0.02)
  c:show(b:receive "*l")
  a:send "12"
  c:show(b:receive(5))
  a:send "34"
  c:show(b:receive "*a")
  c:show(b:receive(1, "p"))
  c:show(b:receive(0))
  a:send "line\n"
  c:show(b:receive())
end)

case("refuses other patterns", function(c)
  local _, b = c:pair()
  c:fails(function() b:receive "*x" end)
  c:fails(function() b:receive "l" end)
  c:fails(function() b:receive(-1) end)
end)

case("receives at once without time", function(c)
  local a, b = c:pair()
  b:settimeout(0)
  c:show(b:receive())
  c:show(b:receive(1))
  a:send "x\n"
  c.socket.select({b}, nil, 1)
  c:show(b:receive())
  c:show(b:receive())
end)

case("receives any bytes", function(c)
  local a, b = c:pair()
  a:send "a\0b\255\n\0\0\n"
  c:show(("%q"):format(b:receive()))
  c:show(("%q"):format(b:receive()))
end)

-- ====}

-- {==== Sending ====

case("sends all, or a part", function(c)
  local a, b = c:pair()
  c:show(a:send "hello")
  c:show(a:send("hello", 2))
  c:show(a:send("hello", 2, 3))
  c:show(a:send("hello", -2))
  c:show(a:send("hello", -3, -2))
  c:show(a:send("hello", 0, 99))
  c:show(a:send("hello", 4, 2))
  c:show(a:send "")
  c:show(a:send(12))
  a:close()
  c:show(b:receive "*a")
end)

case("refuses to send what is no string", function(c)
  local a = c:pair()
  c:fails(function() a:send({}) end)
  c:fails(function() a:send() end)
end)

case("tells how much was sent without time", function(c)
  local a, b = c:pair()
  local data = ("x"):rep(20000000)
  a:settimeout(0.02)
  local last, message, index = a:send(data)
  c:show(last, message, index > 0 and index < #data)
  local n = 0
  b:settimeout(0.02)
  repeat
    local more, _, part = b:receive(65536)
    n = n + #(more or part)
  until not more
  c:show(n == index)
end)

case("tells of a peer that is gone", function(c)
  local a, b = c:pair()
  b:close()
  local message
  for _ = 1, 10 do
    local ok, why, index = a:send "x"
    message = message or not ok and why .. " " .. tostring(index // 1 | 0)
    c.socket.sleep(0.005)
  end
  c:show(message)
  c:show(a:receive())
end)

case("ends one direction", function(c)
  local a, b = c:pair()
  a:send "last\n"
  c:show(a:shutdown "send")
  c:show(b:receive())
  c:show(b:receive())
  b:send "answer\n"
  c:show(a:receive())
  c:show(a:send "x")
end)

case("ends both", function(c)
  local a, b = c:pair()
  c:show(a:shutdown())
  c:show(b:receive())
  c:show(a:receive())
  c:show(a:send "x")
  c:fails(function() a:shutdown "foo" end)
end)

case("ends receiving", function(c)
  local a = c:pair()
  c:show(a:shutdown "receive")
  c:show(a:receive())
end)

case("counts", function(c)
  local a, b = c:pair()
  a:send "12345\r\nabc"
  b:receive()
  local received, sent, age = b:getstats()
  c:show(received, sent, age < 1)
  received, sent = a:getstats()
  c:show(received, sent)
  c:show(b:setstats(10, 20, 30))
  received, sent, age = b:getstats()
  c:show(received, sent, age >= 30 and age < 31)
end)

-- ====}

-- {==== Time ====

case("has two timeouts", function(c)
  local s = c:keep(c.socket.tcp())
  c:show(s:gettimeout())
  c:show(s:settimeout(5))
  c:show(s:settimeout(6, "t"))
  c:show(s:gettimeout())
  c:show(s:settimeout(7, "r"))
  c:show(s:settimeout(nil, "b"))
  c:show(s:gettimeout())
  c:show(s:settimeout("8", "block"))
  c:show(s:settimeout(-1, "total"))
  c:show(s:gettimeout())
  c:fails(function() s:settimeout(1, "x") end)
  c:fails(function() s:settimeout({}) end)
end)

case("waits so long, in either mode", function(c)
  local _, b = c:pair()
  for _, mode in ipairs {"b", "t"} do
    b:settimeout(-1, "b")
    b:settimeout(-1, "t")
    b:settimeout(0.05, mode)
    local start = c.socket.gettime()
    c:show(b:receive())
    local time = c.socket.gettime() - start
    c:show(time >= 0.045 and time < 1)
  end
end)

case("sleeps", function(c)
  local start = c.socket.gettime()
  c:show(c.socket.sleep(0.03))
  c:show(c.socket.gettime() - start >= 0.029)
  c:show(c.socket.sleep(-1))
  c:fails(function() c.socket.sleep() end)
  c:show(math.abs(c.socket.gettime() - os.time()) < 2)
end)

-- ====}

-- {==== The life of a socket ====

case("changes its class", function(c)
  local s = c:keep(c.socket.tcp())
  c:show(s, s:getfd())
  c:show(s:bind("127.0.0.1", 0))
  c:show(s)
  c:show(s:listen())
  c:show(s, s:getfd() > 0)
  local client = c:keep(c.socket.tcp())
  c:show(client:connect("127.0.0.1", c:port(s)))
  c:show(client, client:getfd() > 0)
end)

case("has no method for the wrong class", function(c)
  local s = c:keep(c.socket.tcp4())
  c:fails(function() s:accept() end)
  c:fails(function() s:receive() end)
  c:fails(function() s:send "x" end)
  c:fails(function() s:shutdown() end)
  s:bind("127.0.0.1", 0)
  s:listen()
  c:fails(function() s:bind("127.0.0.1", 0) end)
  c:fails(function() s:listen() end)
  c:fails(function() s:receive() end)
  local a = c:pair()
  c:fails(function() a:accept() end)
  c:fails(function() a:listen() end)
end)

case("is closed once", function(c)
  local a = c:pair()
  c:show(a:close())
  c:show(a:close())
  c:show(a, a:getfd())
  c:show(a:receive())
  c:show(a:receive("*l", "p"))
  c:show(a:send "x")
  c:show(a:getpeername())
  c:show(a:getsockname())
  c:show(a:setoption("keepalive", true))
  c:show(a:getoption "keepalive")
  c:show(a:dirty())
  c:show(a:shutdown())
end)

case("knows its names", function(c)
  local a, b = c:pair()
  c:show(a:getpeername())
  c:show(a:getsockname())
  c:show(b:getpeername())
  local s = c:keep(c.socket.tcp4())
  c:show(s:getpeername())
  c:show(s:getsockname())
  c:show(s:getfamily())
  c:show(c:keep(c.socket.tcp6()):getfamily())
  c:show(c:keep(c.socket.tcp()):getsockname())
end)

case("is dirty with what was not received", function(c)
  local a, b = c:pair()
  c:show(b:dirty())
  a:send "one\ntwo\n"
  b:receive()
  c:show(b:dirty())
  b:receive()
  c:show(b:dirty())
end)

case("has options", function(c)
  local a = c:pair()
  for _, name in ipairs {"keepalive", "reuseaddr"} do
    c:show(a:getoption(name))
    c:show(a:setoption(name, true))
    c:show(a:getoption(name))
  end
  c:show(a:setoption("tcp-nodelay", false))
  c:show(a:getoption "tcp-nodelay")
  c:show(a:setoption("linger", {on = true, timeout = 3}))
  c:show(a:getoption "linger".timeout)
  c:show(a:getoption "error")
  c:fails(function() a:setoption("foo", 1) end)
  c:fails(function() a:getoption "foo" end)
  c:show(c:keep(c.socket.tcp()):setoption("keepalive", true))
  local s = c:keep(c.socket.tcp4())
  c:show(s:setoption("reuseport", true))
  c:show(s:getoption "reuseport")
end)

case("receives and sends after options", function(c)
  local a, b = c:pair()
  a:send "one\ntwo\n"
  c:show(b:receive())
  c:show(b:setoption("keepalive", true))
  c:show(b:receive())
  c:show(b:send "x")
end)

-- ====}

-- {==== Connecting ====

case("is refused", function(c)
  local server, port = c:server()
  server:close()
  c:show(c.socket.connect("127.0.0.1", port))
  local s = c:keep(c.socket.tcp())
  c:show(s:connect("127.0.0.1", port))
  c:show(s)
  c:show(s:send "x")
  c:show(s:receive())
end)

case("is not found", function(c)
  c:show(c.socket.connect("127.0.0.1", "nosuchservice"))
  c:fails(function() c.socket.connect() end)
  c:fails(function() c.socket.connect("127.0.0.1") end)
  c:fails(function() c.socket.connect("127.0.0.1", 1, nil, nil, "foo") end)
  local s = c:keep(c.socket.tcp())
  c:fails(function() s:connect() end)
end)

case("connects by name, and after a failure", function(c)
  local server, port = c:server()
  local s = c:keep(c.socket.tcp())
  c:show(s:connect("127.0.0.1", 1))
  c:show(s:connect("localhost", port))
  c:show(s:getpeername())
  local other = c:keep(assert(server:accept()))
  s:send "x\n"
  c:show(other:receive())
end)

case("connects from an address", function(c)
  local _, port = c:server()
  local s = c:keep(c.socket.connect("127.0.0.1", port, "127.0.0.2", 0))
  c:show((s:getsockname()))
  local t = c:keep(c.socket.tcp4())
  c:show(t:bind("127.0.0.3", 0))
  c:show(t:connect("127.0.0.1", port))
  c:show((t:getsockname()))
end)

case("connects without waiting", function(c)
  local server, port = c:server()
  local s = c:keep(c.socket.tcp4())
  s:settimeout(0)
  local ok, message = s:connect("127.0.0.1", port)
  c:show(ok or message == "timeout" and 1)
  local _, writable = c.socket.select(nil, {s}, 1)
  c:show(writable[1] == s, writable[s])
  c:show(s:connect("127.0.0.1", port))
  c:show(s:send "x\n")
  c:show(c:keep(server:accept()):receive())
end)

case("is refused without waiting", function(c)
  local server, port = c:server()
  server:close()
  local s = c:keep(c.socket.tcp4())
  s:settimeout(0)
  local ok, message = s:connect("127.0.0.1", port)
  c:show(ok, message == "timeout" and "connection refused" or message)
  if message == "timeout" then c.socket.select(nil, {s}, 1) end
  c:show((s:send "x"))
end)

case("binds", function(c)
  local _, port = c:server()
  local s = c:keep(c.socket.tcp())
  c:show(s:bind("*", 0))
  local address, _, family = s:getsockname()
  c:show(address, family)
  c:show(c:keep(c.socket.tcp()):bind("127.0.0.1", port))
  c:show(c:keep(c.socket.tcp()):bind("localhost", 0))
  c:show(c:keep(c.socket.tcp()):bind("192.0.2.1", 0))
  c:fails(function() c.socket.tcp():bind() end)
  c:fails(function() c.socket.tcp():bind("*") end)
  c:show((c:keep(c.socket.bind("*", 0)):getsockname()))
end)

case("accepts in time", function(c)
  local server, port = c:server()
  server:settimeout(0)
  c:show(server:accept())
  server:settimeout(0.02)
  c:show(server:accept())
  local s = c:keep(c.socket.connect("127.0.0.1", port))
  local other = c:keep(server:accept())
  c:show(other, s)
  c:show(other:gettimeout())
  server:close()
  c:show(server:accept())
end)

-- ====}

-- {==== select ====

--- Numbers and objects of a list, in the words of 'names'.
local function told(list, names)
  local found = {}
  for i, object in ipairs(list) do
    found[#found + 1] = names[object] .. tostring(list[object] == i)
  end
  table.sort(found)
  return table.concat(found, " ")
end

case("selects", function(c)
  local a, b = c:pair()
  local names = {[a] = "a", [b] = "b"}
  local function look(receivers, senders, time)
    local r, w, message = c.socket.select(receivers, senders, time)
    c:show(told(r, names), told(w, names), message)
  end
  look({a, b}, nil, 0)
  look({a, b}, nil, 0.02)
  look({a, b}, {a}, 0.02)
  look(nil, {a, b})
  a:send "one\ntwo\n"
  look({a, b}, nil)
  b:receive()
  look({a, b}, nil)
  look({a, b}, {b}, 0)
  b:receive()
  look({a, b}, {}, 0)
  a:close()
  look({b}, nil, 1)
  c:show(b:receive())
  look({b}, nil, 1)
  look({}, {}, 0)
  look(nil, nil, 0.01)
end)

case("selects servers and datagrams", function(c)
  local server, port = c:server()
  local udp, udpport = c:udp()
  local names = {[server] = "server", [udp] = "udp"}
  local function look(time)
    local r, w, message = c.socket.select({server, udp}, nil, time)
    c:show(told(r, names), told(w, names), message)
  end
  look(0)
  c:keep(c.socket.connect("127.0.0.1", port))
  look(1)
  c:udp():sendto("x", "127.0.0.1", udpport)
  c.socket.sleep(0.01)
  look(1)
  c:keep(server:accept())
  look(1)
  udp:receive()
  look(0)
end)

case("selects what has a getfd, and nothing else", function(c)
  local a, b = c:pair()
  a:send "x"
  local object = {getfd = function() return b:getfd() end}
  local r = c.socket.select({object, {}, {getfd = function() return -1 end}},
                            nil, 1)
  c:show(#r, r[object], r[1] == object)
  local dirty = {getfd = object.getfd, dirty = function() return true end}
  r = c.socket.select({dirty}, nil, 1)
  c:show(#r, r[dirty])
  c:fails(function() c.socket.select(1) end)
  c:fails(function() c.socket.select(nil, "x") end)
end)

-- ====}

-- {==== Datagrams ====

case("sends datagrams", function(c)
  local a, aport = c:udp()
  local b, bport = c:udp()
  c:show(a:sendto("one", "127.0.0.1", bport))
  c:show(b:receivefrom())
  c:show(b:sendto("", "127.0.0.1", aport))
  c:show(a:receive())
  c:show(b:sendto("12345", "127.0.0.1", aport))
  c:show(a:receive(3))
  a:settimeout(0.01)
  c:show(a:receive())
  c:show(a:receivefrom())
  a:settimeout(0)
  c:show(a:receive())
end)

case("sends datagrams to a peer", function(c)
  local a, aport = c:udp()
  local b, bport = c:udp()
  c:show(a)
  c:show(a:setpeername("localhost", bport))
  c:show(a)
  c:show(a:getpeername())
  c:show(a:send "x")
  c:show(b:receivefrom())
  c:fails(function() a:sendto("x", "127.0.0.1", bport) end)
  c:show(b:sendto("back", "127.0.0.1", aport))
  c:show(a:receive())
  c:show(a:setpeername "*")
  c:show(a)
  c:fails(function() a:send "x" end)
end)

case("tells that nobody receives datagrams", function(c)
  local a = c:udp()
  local b, bport = c:udp()
  b:close()
  a:setpeername("127.0.0.1", bport)
  c:show(a:send "x")
  c.socket.sleep(0.01)
  c:show(a:receive())
end)

case("has a life of datagrams", function(c)
  local s = c:keep(c.socket.udp())
  c:show(s, s:getfd())
  c:show(s:gettimeout())
  c:show(s:settimeout(3, "t"))
  c:show(s:gettimeout())
  c:show(s:dirty())
  c:show(s:setsockname("*", 0))
  c:show((s:getsockname()))
  c:show(s:getfamily())
  c:show(s:setoption("broadcast", true))
  c:show(s:getoption "broadcast")
  c:fails(function() s:setoption("foo", 1) end)
  c:show(s:sendto("x", "no address", 1))
  c:show(s:close())
  c:show(s:getfd())
  c:show(c.socket._DATAGRAMSIZE)
end)

-- ====}

-- {==== Unix sockets ====

case("speaks by unix sockets", function(c)
  local path = c:path()
  local server = c:keep(c.unix.stream())
  c:show(server)
  c:show(server:bind(path))
  c:show(server:listen())
  c:show(server, server:getsockname())
  local a = c:keep(c.unix())
  c:show(a:connect(path))
  c:show(a)
  local b = c:keep(server:accept())
  c:show(b)
  a:settimeout(1)
  b:settimeout(1)
  c:show(a:send "line\nrest")
  c:show(b:receive())
  c:show(b:dirty())
  a:close()
  c:show(b:receive "*a")
  c:show(b:receive())
  c:show(b.getpeername, b.gettimeout, b.getoption)
  c:show(b:setoption("keepalive", true))
end)

case("is refused by unix sockets", function(c)
  local path = c:path()
  local s = c:keep(c.unix.stream())
  c:show(s:connect(path))
  c:show(s, s:getfd())
  c:fails(function() s:receive() end)
  local server = c:keep(c.unix.stream())
  server:bind(path)
  c:show(c:keep(c.unix.stream()):connect(path))
  c:show(c:keep(c.unix.stream()):bind(path))
  c:show(c:keep(c.unix.stream()):connect(("x"):rep(200)))
  c:fails(function() c.unix.stream():connect() end)
end)

case("sends datagrams by unix sockets", function(c)
  local onepath, otherpath = c:path(), c:path()
  local a, b = c:keep(c.unix.dgram()), c:keep(c.unix.dgram())
  c:show(a)
  c:show(a:bind(onepath))
  c:show(b:bind(otherpath))
  c:show(a:sendto("x", otherpath))
  b:settimeout(1)
  c:show(b:receivefrom())
  c:show(b:connect(onepath))
  c:show(b)
  c:show(b:send "y")
  c:show(a:receive())
  a:settimeout(0.01)
  c:show(a:receive())
end)

-- ====}

-- {==== Names ====

case("looks names up", function(c)
  local dns = c.socket.dns
  local ip, all = dns.toip "localhost"
  c:show(ip, all.name, all.ip[1], #all.ip > 0)
  ip, all = dns.toip "127.0.0.1"
  c:show(ip, all.name, all.ip[1], #all.alias)
  local name
  name, all = dns.tohostname "127.0.0.1"
  c:show(name, all.name, all.ip[1])
  c:show((dns.tohostname "localhost"))
  for _, one in ipairs(dns.getaddrinfo "127.0.0.1") do
    c:show(one.family, one.addr)
  end
  for _, one in ipairs(dns.getaddrinfo "::1") do
    c:show(one.family, one.addr)
  end
  c:show(dns.gethostname())
  local names, service = dns.getnameinfo("127.0.0.1", "80")
  c:show(names[1], service)
  c:show(select(2, dns.getnameinfo(nil, "80")))
  c:fails(function() dns.toip() end)
end)

-- ====}

-- {==== Exceptions, sources and sinks ====

case("tries and protects", function(c)
  local socket = c.socket
  c:show(socket.try(1, 2, 3))
  c:show(socket.protect(function() return socket.try(false, "bad", 3) end)())
  c:show(socket.protect(function(...) return ... end)(1, nil, 3))
  local called = 0
  local try = socket.newtry(function() called = called + 1 end)
  c:show(socket.protect(function() try(nil, "bad") end)())
  c:show(called)
  c:fails(socket.protect(function() error("other", 0) end))
  c:show(pcall(socket.protect(function() error({}, 0) end)) == false)
  c:show(socket.protect(function()
    return socket.protect(function() try(nil, {1}) end)()
  end)())
  c:show(socket.skip(1, 2, 3), socket.skip(3, 1), socket.skip(0, 1))
  c:fails(function() socket.skip() end)
end)

case("waits in what is protected", function(c)
  local _, b = c:pair()
  b:settimeout(0.01)
  c:show(c.socket.protect(function() return c.socket.try(b:receive()) end)())
end)

case("has sources and sinks", function(c)
  local a, b = c:pair()
  local sink = c.socket.sink("keep-open", a)
  c:show(sink "one ")
  c:show(sink "two")
  c:show(sink(nil))
  local source = c.socket.source("by-length", b, 7)
  c:show(source())
  c:show(source())
  sink = c.socket.sink("close-when-done", a)
  c:show(sink "rest")
  c:show(sink(nil))
  source = c.socket.source("until-closed", b)
  c:show(source())
  c:show(source())
  c:fails(function() c.socket.source "foo" end)
  c:show(c.socket.BLOCKSIZE, c.socket._VERSION)
end)

case("has the same functions and methods", function(c)
  local function names(t)
    local list = {}
    for name, value in pairs(t) do
      if type(value) == "function" and name ~= "install" then
        list[#list + 1] = name
      end
    end
    table.sort(list)
    return table.concat(list, " ")
  end
  c:show(names(c.socket))
  c:show(names(c.socket.dns))
  for _, s in ipairs {c.socket.tcp(), c.socket.udp(), c.unix.stream(),
                      c.unix.dgram()} do
    c:show(names(getmetatable(s).__index))
    s:close()
  end
end)

-- ====}

return cases
