-- The examples that show one idea and end by themselves: each tells its story
-- word for word, whatever its standard input is.
local process = require "spec.process"
local socket = require "socket"
local t = require "spec.helper"

local start = process.start

local stories = {
  fork = [[
parent: I wait for a connection and for a signal, and fork
child: I have ended my copies of the signal and the listener
parent: my listener still listens, and hears: hello
child: I called the parent, and hear: welcome
child: nothing is left for my loop
parent: my signal still comes: the child has exited, status 0
parent: my loop has ended too
]],

  loop_control = [[
loopbreak in the first of three callbacks that are due:
  callback 1 of 3
  ended by loopbreak
the next loop calls the others:
  callback 2 of 3
  callback 3 of 3
  ended by itself: nothing was left
loopexit in the first of three:
  callback 1 of 3
  callback 2 of 3
  callback 3 of 3
  ended by loopexit
the next loop:
  ended by itself: nothing was left
loopexit after 0.2 seconds, timers of 0.1 and 60 seconds:
  0.1 seconds are over
  ended by loopexit
the timer of 60 seconds is pending: timeout
]],

  priorities = [[
due:    sweep
due:    paint
due:    alarm
called: alarm
called: sweep
due:    alarm
called: alarm
called: paint
]],

  event_life = [[
one-shot:
  made             pending() is nil       callbacks due: 0
  added            pending() is timeout   callbacks due: 0
  active           pending() is timeout   callbacks due: 1
  in its callback  pending() is nil       callbacks due: 0
  processed        pending() is nil       callbacks due: 0
  deleted          pending() is nil       callbacks due: 0
persistent:
  made             pending() is nil       callbacks due: 0
  added            pending() is timeout   callbacks due: 0
  active           pending() is timeout   callbacks due: 1
  in its callback  pending() is timeout   callbacks due: 0
  processed        pending() is timeout   callbacks due: 0
  deleted          pending() is nil       callbacks due: 0
]],

  watermarks = [[
read, low mark 10: no callback before that many bytes have come
  4 bytes are sent
  4 bytes are sent
  4 bytes are sent
  read callback: the input holds 12 bytes
read, high mark 1000: at that many, reading stops until some are taken
  2500 bytes are sent
  read callback: the input holds 1000 bytes
  600 bytes are taken
  read callback: the input holds 1000 bytes
  all are taken
  read callback: the input holds 900 bytes
write, low mark 4 MiB: the callback need not wait until all is sent
  8 MiB are written
  flush has moved data: false, on a socket it is the loop that sends
  write callback: time to write more, some is left
]],

  half_close = [[
client: my words are written, no more will come
server: got pear
server: got apple
server: got fig
server: eof, so these are all, and go back sorted
client: got apple
client: got fig
client: got pear
client: eof
]],

  ["listener_control ADDRESS"] = [[
listening on ADDRESS
first client: connected
first client hears: good morning
disabled: the system still connects, but nobody accepts
second client: connected
enabled
second client hears: good morning
another callback
third client: connected
third client hears: good evening
]],

  ["reusable_ports ADDRESS"] = [[
first listener, with reuseable_port: on ADDRESS
second listener, without: Address already in use
second listener, with it: on ADDRESS
50 connections: A to the first, B to the second
]],
}

local function run(command, stdin)
  return start("examples/" .. command:gsub("^%S+", "%0.lua", 1), stdin):finish()
end

-- What is not the same each time: the address, and how connections spread.
local function plain(text)
  local a, b = text:match "(%d+) to the first, (%d+) to the second"
  if a then
    assert.equal(50, a + b)
    assert.is_true(a + 0 > 0 and b + 0 > 0, a .. " and " .. b)
  end
  return (text:gsub("127%.0%.0%.1:%d+", "ADDRESS")
              :gsub("%d+ to the first, %d+ to", "A to the first, B to"))
end

describe("The example", function()
  after_each(process.killall)

  for command, story in pairs(stories) do
    local name = command:match "^%S+"
    it(name .. " tells its story, and ends", function()
      local call = command:gsub("ADDRESS", "127.0.0.1:0")
      for _, stdin in ipairs {false, "</dev/null", "<&-"} do
        local text, status = run(call, stdin or nil)
        assert.equal(story, plain(text))
        assert.equal(0, status)
      end
    end)
  end

  it("half_close takes other words", function()
    local text, status = run "half_close c b 'a b'"
    assert.truthy(text:find(
      "client: got a b\nclient: got b\nclient: got c\nclient: eof\n$"), text)
    assert.equal(0, status)
  end)

  it("listener_control listens on IPv6 and unix sockets too", function()
    for _, address in ipairs {"[::1]:0", "unix:" .. t.path()} do
      local text, status = run("listener_control " .. address)
      assert.truthy(text:find "third client hears: good evening\n$", text)
      assert.equal(0, status)
    end
  end)

  for _, name in ipairs {"listener_control", "reusable_ports"} do
    it(name .. " says in a line that it cannot listen", function()
      local other = assert(socket.bind("127.0.0.1", 0))
      local _, port = other:getsockname()
      local text, status = run(("%s 127.0.0.1:%d"):format(name, port))
      other:close()
      assert.equal(("cannot listen on 127.0.0.1:%d: %s\n"):format(port,
        "Address already in use"), text)
      assert.equal(1, status)
    end)
  end
end)
