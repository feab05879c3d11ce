--- Buffers: a call that fails changes none of them.

local libevent = require "libevent"

local large = ("large "):rep(4000)            -- is added by reference
local huge = ("huge "):rep(20000)

return {
  {"a buffer with data in it", function()
    libevent.buffer "data":close()
    libevent.buffer(12):close()
    libevent.buffer(large):close()
    libevent.buffer(libevent.buffer "other"):close()
  end},

  {"buffer:add", function(s)
    local a = libevent.buffer "first"
    s:watch(a)
    s:try(a, "add", large)
    s:try(a, "add", "more")
    s:try(a, "add", huge:sub(1, 16000))
    s:try(a, "add", 12)
    assert(a:length() == 5 + #large + 4 + 16000 + 2 and #a == a:length())
  end},

  {"buffer:add of several things", function(s)
    local a, b, c = libevent.buffer "one", libevent.buffer "two",
                    libevent.buffer "three"
    s:watch(a, b, c)
    s:try(a, "add", "x", b, 12, large, c, huge)
    s:try(a, "add", "short", " and ", "shorter")
    assert(#a == 3 + 1 + 3 + 2 + #large + 5 + #huge + 17)
  end},

  {"buffer:prepend", function(s)
    local a, b = libevent.buffer(), libevent.buffer "other"
    s:watch(a, b)
    s:try(a, "prepend", "a")
    s:try(a, "prepend", ("b"):rep(1000))
    s:try(a, "prepend", large)
    s:try(a, "prepend", b)
    s:try(a, "prepend", huge:sub(1, 16000))
    assert(#a == 1 + 1000 + #large + 5 + 16000)
  end},

  {"what a buffer gives away", function(s)
    local a = libevent.buffer(huge):add "end"
    s:watch(a)
    assert(#s:try(a, "copyout") == #huge + 3 and a:copyout(5, 6) == "huge ")
    assert(a:peek() and a:peek(3))
    local n = 0
    for piece in a:chunks() do n = n + #piece end
    assert(n == #a)
    assert(s:try(a, "remove", 5) == "huge ")
    s:try(a, "drain", 5)
    assert(#s:try(a, "remove") == #huge + 3 - 10)
  end},

  {"lines of a buffer", function(s)
    local a = libevent.buffer "one\r\ntwo\nthree\0"
    assert(a:search "two" == 6 and a:search("o", 2, 9) == 8)
    assert(a:search_eol() == 4 and a:search_eol("nul") == 15)
    s:watch(a)
    assert(s:try(a, "readln") == "one")
    assert(s:try(a, "readln", "lf") == "two")
    assert(s:try(a, "readln", "nul", 2) == nil)
    assert(a:readln "nul" == "three")
  end},

  {"from buffer to buffer", function(s)
    local a, b = libevent.buffer "a", libevent.buffer(huge)
    b:add(("tail "):rep(100))
    s:watch(a, b)
    assert(s:try(b, "remove_buffer", a, 10) == 10)
    assert(s:try(b, "remove_buffer", a, #huge + 50) == #huge + 50)
    s:try(a, "add_buffer", b)
    s:try(b, "prepend_buffer", a)
    s:try(a, "add_buffer_reference", b)
    s:try(a, "add_buffer_reference", libevent.buffer "more")
    assert(#a == #b + 4)
  end},

  {"buffer:remove_buffer of copied bytes", function(s)
    local a, b = libevent.buffer(("a"):rep(500)), libevent.buffer()
    for i = 1, 4 do b:add(("%d"):format(i):rep(300 * i)) end
    s:watch(a, b)
    assert(s:try(b, "remove_buffer", a, 100) == 100)
    assert(s:try(b, "remove_buffer", a, 2500) == 2500)
    assert(#a == 3100 and #b == 400)
  end},

  {"room in a buffer", function(s)
    local a = libevent.buffer "data"
    s:watch(a)
    s:try(a, "expand", 100)
    s:try(a, "expand", 100000)
    assert(s:try(a, "contiguous_space") >= 0)
    a:freeze():unfreeze "start":unfreeze "end"
    assert(tostring(a) == "data")
  end},

  {"a buffer and a descriptor", function(s)
    s.fd, s.fd2 = libevent.socketpair()
    local a, b = libevent.buffer(huge:sub(1, 10000)), libevent.buffer "b"
    s:watch(a, b)
    assert(s:try(a, "write", s.fd, 8000))
    assert(s:try(b, "read", s.fd2, 6000))
    assert(s:try(b, "read", s.fd2))
    assert(#b == 8001 and #a == 2000)
  end},

  {"a file in a buffer", function(s)
    local file = assert(io.open("README.md"))
    local a = libevent.buffer "a"
    s:watch(a)
    assert(s:try(a, "add_file", file, 0, 10000))
    local segment = assert(libevent.file_segment(file, 0, 9000))
    assert(#segment == 9000 and segment:length() == 9000)
    assert(s:try(a, "add_file_segment", segment, 1, 5000))
    segment:close()
    file:close()
    assert(#a == 15001)
  end},

  {"a file in the output of a socket", function(s)
    local file <close> = assert(io.open "README.md")
    s.fd, s.fd2 = libevent.socketpair()
    local bev = s.base:bufferevent(s.fd)
    s.fd = false
    local output, b = bev:output(), libevent.buffer()
    assert(output:add_file(file, 0, 17000))
    assert(#output == 17000)
    local segment = assert(libevent.file_segment(file, 0, 18000))
    assert(output:add_file_segment(segment))
    assert(#output == 35000)
    s:run(function()
      b:read(s.fd2)
      return #b == 35000
    end)
  end},

  {"callbacks of a buffer", function(s)
    local a, added, deleted = libevent.buffer "a", 0, 0
    local function count(_, n, m)
      added, deleted = added + n, deleted + m
    end
    local function other() end
    a:add_cb(count, s.base)
    a:add_cb(other)
    a:add "bc":drain(1)
    s:run(function() return deleted == 1 end)
    assert(added == 2)
    a:add "d":remove_cb(other)
    s:run(function() return added == 3 end)
    a:remove_cb(count)
    local b = libevent.buffer():add_cb(count, s.base):add "x"
    s:run(function() return added == 4 end)
    b:close()
  end},
}
