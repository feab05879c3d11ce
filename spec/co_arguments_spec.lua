-- libevent.co: a wrong argument is told of where it was given, and as what it
-- is there.
local co = require "libevent.co"
local t = require "spec.helper"
local tasks = require "spec.tasks"

local ADDRESS = "127.0.0.1:0"

-- What is given to whom, and what is said. A method stands with the function
-- that makes its object.
local cases = {
  spawn = {{{1}, "bad argument #1"}},
  sleep = {{{"x"}, "bad argument #1"}, {{}, "bad argument #1"}},
  wait = {
    {{"x", "read"}, "bad argument #1"}, {{0, "rd"}, "bad argument #2"},
    {{0, "read", -1}, "bad argument #3"},
  },
  signal = {{{"NONE"}, "bad argument #1"}, {{"HUP", "x"}, "bad argument #2"}},
  await = {{{1}, "bad argument #1"}, {{print, "x"}, "bad argument #2"}},
  deadline = {{{"x", print}, "bad argument #1"}, {{1, 2}, "bad argument #2"}},
  tasks = {{{1}, "bad argument #1 to 'tasks' (Base expected"}},
  channel = {
    {{-1}, "bad argument #1"}, {{1.5}, "bad argument #1"},
    put = {{{nil}, "bad argument #1"}, {{1, "x"}, "bad argument #2"}},
    get = {{{"x"}, "bad argument #1"}},
  },
  semaphore = {{{"x"}, "bad argument #1"}},
  condition = {wait = {{{"x"}, "bad argument #1"}}},
  waitgroup = {
    add = {{{"x"}, "bad argument #1"}, {{-1}, "bad argument #1"}},
    wait = {{{"x"}, "bad argument #1"}},
  },
  select = {
    {{1}, "bad argument #1"}, {{{1}}, "bad argument #1"},
    {{{}, "x"}, "bad argument #2"},
  },
  connect = {
    {{1, 1}, "bad argument #1"}, {{"127.0.0.1"}, "bad argument #1"},
    {{"x", 1.5}, "bad argument #2"},
    {{ADDRESS, {timeout = "x"}}, "bad argument #2 to 'connect' "
      .. "(option 'timeout': seconds expected, got string)"},
    {{"x", 1, {timeout = -1}}, "bad argument #3 to 'connect' (option 'tim"},
    {{"x", 1, {timeouts = 1}}, "bad argument #3 to 'connect' (unknown option"},
    {{"x", 1, {tls = 1}}, "bad argument #3 to 'connect' (option 'tls'"},
    {{"x", 1, {family = 1}}, "bad argument #3 to 'connect' (option 'family'"},
    {{"x", 1, {hostname = "x"}}, "bad argument #3 to 'connect' ('hostname'"},
    {{"x", 1, 1}, "bad argument #3 to 'connect' (table of options expected"},
  },
  listen = {
    {{{}}, "bad argument #1"}, {{ADDRESS, 1}, "bad argument #2"},
    {{ADDRESS, {backlog = "x"}}, "bad argument #2 to 'listen' (option 'back"},
    {{ADDRESS, print, {timeout = {}}}, "bad argument #3 to 'listen' (option "
      .. "'timeout': seconds expected, got table)"},
    {{ADDRESS, print, {flags = "x"}}, "bad argument #3 to 'listen' (option 'f"},
    {{ADDRESS, print, {max_connections = 0}}, "bad argument #3"},
  },
  stream = {{{1.5}, "bad argument #1"}, {{}, "bad argument #1"}},
  pair = {
    read = {
      {{-1}, "bad argument #1"}, {{"x"}, "bad argument #1"},
      {{"l", "x"}, "bad argument #2"},
    },
    read_some = {{{0}, "bad argument #1"}},
    read_until = {{{""}, "bad argument #1"}},
    write = {{{true}, "bad argument #1"}},
    set_timeout = {{{"x"}, "bad argument #1"}},
    starttls = {
      {{1}, "bad argument #1 to 'starttls' (libevent.tls.Context expected"},
    },
  },
  current = {
    join = {{{"x"}, "bad argument #1"}}, set_name = {{{{}}, "bad argument #1"}},
  },
  resolve = {
    {{1}, "bad argument #1"}, {{"x", 1}, "bad argument #2"},
    {{"x", {x = 1}}, "bad argument #2"},
  },
  reverse = {{{1}, "bad argument #1"}, {{"1.2.3"}, "bad argument #1"}},
  udp = {
    {{1}, "bad argument #1"},
    send = {{{{}}, "bad argument #1"}},
    set_timeout = {{{"x"}, "bad argument #1"}},
  },
  wrap = {{{1}, "bad argument #1"}},
  resume = {{{1}, "bad argument #1"}},
}

-- Gives each of them, in a call as scripts have it.
local function blamed(list, object, call)
  local make = assert(load(("local object, a, b, c = ... return function() "
    .. "local _ = object%s(a, b, c) end"):format(call)))
  for _, case in ipairs(list) do
    t.blames(case[2], make(object, table.unpack(case[1], 1, 3)))
  end
end

describe("A wrong argument is told of where it was given, by", function()
  before_each(t.start)
  after_each(t.finish)

  for name, list in pairs(cases) do
    if #list > 0 then
      it("co." .. name, function()
        tasks.play(function() blamed(list, co, "." .. name) end)
      end)
    end
    for method, wrong in pairs(list) do
      if type(method) == "string" then
        it("the method " .. method .. " of co." .. name .. "'s", function()
          tasks.play(function()
            local object, other = co[name]()
            blamed(wrong, object, ":" .. method)
            for _, made in ipairs {object, other} do
              if made ~= co.current() and made.close then made:close() end
            end
          end)
        end)
      end
    end
  end
end)
