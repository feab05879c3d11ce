--- System calls fail, one after the other: spec/c/faults.c stands before libc.
--- What is for a moment passes unnoticed; anything else is told, in the words
--- and by the number of the system. Nothing is lost, left open, or waited for
--- in vain, no loop spins, and the base can be used afterwards. Under valgrind
--- each call fails in one way only.

local t = require "spec.helper"

local EPERM, EINTR, EIO, EAGAIN, ENOMEM, EACCES = 1, 4, 5, 11, 12, 13
local ENFILE, EMFILE, ENOSPC, EPIPE = 23, 24, 28, 32
local EADDRINUSE, ENETUNREACH, ECONNABORTED, ECONNRESET = 98, 101, 103, 104
local ENOBUFS, ENOTCONN, ETIMEDOUT, ECONNREFUSED = 105, 107, 110, 111

--- By scenario and call what may happen to it, each errno one that the kernel
--- gives. "short" moves one byte, "none" none.
local making = {
  socket = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES},
  bind = {EADDRINUSE, EACCES},
  listen = {EADDRINUSE},
  setsockopt = {ENOMEM},
  getsockname = {ENOBUFS},
  accept4 = {EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED, EINTR, EAGAIN,
             EPERM},
  connect = {EINTR, ECONNREFUSED, ETIMEDOUT, ENETUNREACH, ENOBUFS},
  getsockopt = {ENOBUFS},
  epoll_ctl = {ENOMEM, ENOSPC},
  epoll_wait = {EINTR},
}
local moving = {
  recv = {EINTR, EAGAIN, ECONNRESET, ETIMEDOUT, "short"},
  send = {EINTR, EAGAIN, ECONNRESET, EPIPE, ENOBUFS, "short"},
  readv = {EINTR, EAGAIN, ECONNRESET, ETIMEDOUT, "short"},
  writev = {EINTR, EAGAIN, ECONNRESET, EPIPE, ENOBUFS, "short"},
}
if t.plain then moving.recv, moving.send = nil, nil end

local scenarios = {
  base = {epoll_create1 = {EMFILE, ENFILE, ENOMEM}, epoll_wait = {EINTR},
          eventfd = {EMFILE}, pipe2 = {EMFILE}, epoll_ctl = {ENOMEM, ENOSPC}},
  echo = {making, moving, shutdown = {ENOTCONN}},
  filter = {making, moving},
  unix = {making, moving},
  file = {moving, epoll_ctl = {ENOMEM, ENOSPC},
          sendfile = {EINTR, EAGAIN, EIO, ENOMEM, "short", "none"}},
  buffer = {moving, socketpair = {EMFILE}},
  waker = {eventfd = {EMFILE, ENFILE, ENOMEM}, epoll_ctl = {ENOMEM, ENOSPC},
           epoll_wait = {EINTR}},
  signal = {socketpair = {EMFILE}, pipe2 = {EMFILE}, epoll_wait = {EINTR},
            epoll_ctl = {ENOMEM, ENOSPC}},
  reinit = {epoll_wait = {EINTR}, epoll_create1 = {EMFILE, ENOMEM},
            pipe2 = {EMFILE}},
  relay = {making, moving},
  tls = {making, moving, shutdown = {ENOTCONN}, getpeername = {ENOTCONN}},
  httpstls = {making, moving},
  starttls = {moving, epoll_ctl = {ENOMEM, ENOSPC}, epoll_wait = {EINTR}},
  tlsfile = {moving, epoll_ctl = {ENOMEM, ENOSPC}, pipe = {EMFILE, ENFILE},
             read = {EINTR, EIO},
             sendfile = {EINTR, EAGAIN, EIO, ENOMEM, "short", "none"}},
  http = {making, moving},
}

--- "unix bind 98" and so on, in order.
local function pairsof(scenario)
  local list = {}
  local function add(calls)
    for call, kinds in pairs(calls) do
      if math.type(call) then
        add(kinds)
      else
        for i = 1, os.getenv "VALGRIND" and 1 or #kinds do
          list[#list + 1] = ("%s %s %s"):format(scenario, call, kinds[i])
        end
      end
    end
  end
  add(scenarios[scenario])
  table.sort(list)
  return list
end

local injected = {}                             -- call -> faults

local function survives(words)
  local pipe = io.popen(([[
    FAULTS=$BUILD/faults.so LD_PRELOAD="$LD_PRELOAD $BUILD/faults.so" \
      timeout 60 %s spec/faults.lua %s 2>&1
  ]]):format(os.getenv "LUA" or "lua5.4", words))
  local text = pipe:read "a"
  local ok = pipe:close()
  local n = tonumber(text:match "(%d+)\n$")
  assert.is_true(ok == true and n ~= nil, words .. "\n" .. text)
  local call = words:match " (%S+) "
  injected[call] = (injected[call] or 0) + n
end

describe("A system call that fails", function()
  for scenario in pairs(scenarios) do
    it("is survived by " .. scenario, function()
      for _, words in ipairs(pairsof(scenario)) do survives(words) end
    end)
  end

  it("has been each of those above", function()
    for _, calls in pairs(scenarios) do
      for call in pairs(calls) do
        if type(call) == "string" then
          assert.is_true((injected[call] or 0) > 0, call)
        end
      end
    end
    for _, calls in ipairs {making, moving} do
      for call in pairs(calls) do
        assert.is_true((injected[call] or 0) > 0, call)
      end
    end
  end)
end)
