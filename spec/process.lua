--- Programs as real processes, for the specs of the examples.
---
---   local p = process.start "examples/upper_client.lua 127.0.0.1:9"
---   p:write "hello\n"
---   p:expect "HELLO"            -- waits for it, or fails
---   local text, status = p:stop "TERM"

local lfs = require "lfs"
local assert = require "luassert"
local socket = require "socket"
local t = require "spec.helper"

local process = {}
process.__index = process

local LUA = os.getenv "LUA" or "lua5.4"

local running = {}                    -- what was started and has not ended
local folders = {}

local function read(path)
  local file = io.open(path)
  local text = file and file:read "a" or ""
  if file then file:close() end
  return text
end

--- Waits up to some seconds (5) until f gives something true, and returns it.
function process.wait(f, seconds)
  local deadline = socket.gettime() + (seconds or 5) * t.slow
  repeat
    local result = f()
    if result then return result end
    socket.sleep(0.01)
  until socket.gettime() > deadline
  return nil
end

--- Starts the program (and arguments) of 'command'. Its standard input is an
--- empty pipe, or what 'stdin' says, in the words of a shell: "</dev/null". The
--- shell runs 'before' first.
function process.launch(command, stdin, before)
  local self = setmetatable({name = os.tmpname()}, process)
  self.input = self.name .. ".in"
  os.execute("mkfifo " .. self.input)
  local pipe = io.popen(([[
    %s
    %s %s >%s 2>&1 & pid=$!
    echo $pid
    exec >&- 2>&-
    wait $pid
    echo $? >%s.status &
  ]]):format(before or "", command, stdin or "<" .. self.input, self.name,
             self.name))
  if stdin == nil then self.stdin = io.open(self.input, "w") end
  self.pid = pipe:read "n"
  self.pipe = pipe
  running[self] = true
  return self
end

--- The same for a Lua script.
function process.start(command, stdin, before)
  return process.launch(LUA .. " " .. command, stdin, before)
end

function process:write(text)
  self.stdin:write(text)
  self.stdin:flush()
  return self
end

function process:closeinput()
  if self.stdin then self.stdin:close() end
  self.stdin = nil
  return self
end

--- All that the program has printed, on either stream.
function process:output()
  return read(self.name)
end

--- Waits until the output matches a pattern; returns the captures.
function process:expect(pattern, seconds)
  local found = process.wait(function()
    local captures = table.pack(self:output():match(pattern))
    return captures[1] and captures
  end, seconds)
  if not found then
    error(("%q is not in the output:\n%s"):format(pattern, self:output()), 2)
  end
  return table.unpack(found, 1, found.n)
end

function process:kill(signal)
  os.execute(("kill -%s %d 2>/dev/null"):format(signal, self.pid))
  return self
end

--- Waits for the end; returns the output and the exit status (128 + n for a
--- signal n).
function process:finish(seconds)
  if not running[self] then return self.text, self.status end
  local status = process.wait(function()
    return tonumber(read(self.name .. ".status"))
  end, seconds)
  self:closeinput()
  if not status then self:kill "KILL" end
  running[self] = nil
  self.pipe:close()
  local text = self:output()
  for _, suffix in ipairs {"", ".in", ".status"} do
    os.remove(self.name .. suffix)
  end
  self.text, self.status = text, status
  if not status then error("it did not end; its output:\n" .. text, 2) end
  return text, status
end

--- Sends a signal (INT), then waits for the end.
function process:stop(signal)
  return self:kill(signal or "INT"):finish()
end

--- The same, and it has ended well.
function process:ends(signal)
  local text, status = self:stop(signal)
  assert.equal(0, status, text)
end

--- Ends all that a test has left running: for after_each.
function process.killall()
  for p in pairs(running) do pcall(p.stop, p, "KILL") end
end

--- A new folder, also within one that is there, until the test ends...
function process.folder(parent)
  local path = parent and parent .. t.path():match "/[^/]+$" or t.path()
  assert(lfs.mkdir(path))
  folders[#folders + 1] = path
  return path
end

--- ...with this instead of killall.
function process.cleanup()
  process.killall()
  for i, path in ipairs(folders) do
    os.execute("rm -rf " .. path)
    folders[i] = nil
  end
end

--- The output of a shell command, which may take 10 seconds.
function process.shell(command)
  local pipe = io.popen(("timeout %d sh -c '%s' 2>&1"):format(10 * t.slow,
                                                              command))
  local text = pipe:read "a"
  pipe:close()
  return text
end

return process
