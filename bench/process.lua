--- Processes that are measured: each on a core of its own, its CPU time in
--- nanoseconds, as the kernel's scheduler counts it.

local process = {}

--- The whole of a file.
function process.slurp(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- What a shell command prints.
function process.output(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

--- The cores that this process may use: "0,2-3" is {0, 2, 3}.
local function allowed()
  local status = process.slurp "/proc/self/status"
  local list = {}
  for range in status:match "Cpus_allowed_list:%s*(%S+)":gmatch "[^,]+" do
    local first, last = range:match "(%d+)%-?(%d*)"
    for core = first, tonumber(last) or first do list[#list + 1] = core end
  end
  return list
end

local cores = allowed()

--- The core of a role: "server" the last one, "load" the one before it.
function process.core(role)
  if #cores < 2 then return end
  return math.tointeger(cores[role == "server" and #cores or #cores - 1])
end

--- Ends it. nginx overlooks a signal that comes right before it waits.
function process.stop(p)
  os.execute(([[for signal in TERM TERM KILL; do
      kill -$signal %d 2>/dev/null || exit
      for _ in 1 2 3 4 5 6 7 8 9 10; do
        grep -qs 'State:.[^ZX]' /proc/%d/status || exit
        sleep 0.05
      done
    done]]):format(p.pid, p.pid))
  p.pipe:close()
end

--- `local p <close> = process.start(...)` ends with its block, errors or not.
local meta = {__close = process.stop}

--- Starts a command on the core of its role, perhaps with a limit of CPU time
--- in seconds. The shell tells its number before it becomes the command.
function process.start(command, role, limit)
  local core = process.core(role)
  local pin = core and ("taskset -c %d "):format(core) or ""
  local timed = limit and ("ulimit -S -t %d; "):format(limit) or ""
  local pipe = assert(io.popen(("echo $$; ulimit -n 20000 2>/dev/null; "
    .. "%sexec %s%s 2>&1"):format(timed, pin, command)))
  return setmetatable({pid = tonumber(pipe:read "l"), pipe = pipe}, meta)
end

--- Seconds of CPU time of all its threads; also when it has ended and nobody
--- has waited for it yet.
function process.cpu(p)
  local sum = 0
  local list = process.output(("cat /proc/%d/task/*/schedstat"):format(p.pid))
  for time in list:gmatch "(%d+) %d+ %d+\n" do sum = sum + time end
  return sum / 1e9
end

--- Its resident memory, in bytes.
function process.rss(p)
  local status = process.slurp(("/proc/%d/status"):format(p.pid))
  return tonumber(status:match "VmRSS:%s*(%d+)" or 0) * 1024
end

function process.descriptors(p)
  return tonumber(process.output(("ls /proc/%d/fd | wc -l"):format(p.pid)))
end

function process.sleep(seconds)
  os.execute("sleep " .. seconds)
end

--- Runs a command to its end. What it has printed, and its CPU time; nil, what
--- it has printed and the number of its exit or its signal if it failed.
function process.run(command, role, limit)
  local p = process.start(command, role, limit)
  local text = p.pipe:read "a"
  local cpu = process.cpu(p)
  local ok, _, number = p.pipe:close()
  if not ok then return nil, text, number end
  return text, cpu
end

return process
