-- src/process.c: what a process has only once.
local t = require "spec.helper"

local LUA = os.getenv "LUA" or "lua5.4"

local function shell(command)
  return t.lua(("os.exit(select(3, os.execute(%q)))"):format(command))
end

describe("The process", function()
  it("does not die by SIGPIPE, nor do its children ignore it", function()
    local path = t.path()
    local file = io.open(path, "w")
    file:write [[
      local libevent = require "libevent"
      local pipe = io.popen("exec <&-; sleep 1", "w")
      local buffer = libevent.buffer "data"
      local message, errno
      repeat
        _, message, errno = buffer:add("x"):write(pipe)
      until message
      print(message, errno)
      os.execute "kill -PIPE $$; echo survived"
    ]]
    file:close()
    -- whoever started the specs may ignore it already
    local text = shell("perl -e '$SIG{PIPE} = \"DEFAULT\"; exec @ARGV' "
                       .. LUA .. " " .. path)
    os.remove(path)
    assert.equal("Broken pipe\t32\n", text)
  end)

  it("keeps a disposition of SIGPIPE that somebody has set", function()
    local text = shell("trap '' PIPE; " .. LUA .. [[ -e '
      require "libevent"
      os.execute "kill -PIPE $$; echo survived"']])
    assert.equal("survived\n", text)
  end)

  it("gives none of its own descriptors the number of a closed stream",
  function()
    for stream, code in pairs {
      ["<&-"] = [[local b = require "libevent".buffer()
                  print((select(2, b:read(io.stdin))))]],
      [">&-"] = [[io.stdout:setvbuf "no"
                  io.stderr:write((select(2, io.write "x")), "\n")]],
    } do
      local text = shell(([[%s -e '
        local base = require "libevent".base()
        base:signal("USR1", print):add()
        %s' %s]]):format(LUA, code, stream))
      assert.equal("Bad file descriptor\n", text)
    end
  end)

  it("keeps the module when a state is closed and another one opened",
  function()
    local text, status = t.lua [[
      local libevent = require "libevent"
      package.loaded["libevent"], package.loaded["libevent.core"] = nil, nil
      local again = require "libevent"
      print(libevent == again, libevent.base().add == again.base().add)
    ]]
    assert.equal("false\ttrue\n", text)
    assert.equal(0, status)
  end)
end)
