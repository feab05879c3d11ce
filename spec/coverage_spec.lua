--- A guard: every function that libevent's installed headers declare is used
--- by src/, or listed with a reason in doc/unbound.md; none is both.

local lfs = require "lfs"
local contents = require "spec.helper".contents

local function popen(command)
  local pipe = io.popen(command)
  local text = pipe:read "a"
  pipe:close()
  return text
end

local function includedir()
  local dir = popen "pkg-config --variable=includedir libevent_core"
  return dir:match "%S+" or "/usr/include"
end

local function uncommented(text)
  return (text:gsub("/%*.-%*/", " "):gsub("//[^\n]*", " "))
end

--- Function name -> the header that declares it.
local function declared(dir)
  local found = {}
  for file in lfs.dir(dir) do
    local text = file:match "%.h$" and uncommented(contents(dir .. "/" .. file))
    for declaration in (text or ""):gmatch "EVENT2_EXPORT_SYMBOL([^;{]*)" do
      local name = declaration:match "([%w_]+)%s*%("
      if name and not declaration:find "##" then found[name] = file end
    end
  end
  return found
end

--- Every word of the C sources that is not in a comment -> true.
local function words()
  local found = {}
  for file in lfs.dir "src" do
    if file:match "%.[ch]$" then
      for word in uncommented(contents("src/" .. file)):gmatch "[%a_][%w_]*" do
        found[word] = true
      end
    end
  end
  return found
end

--- Function name -> the reason why it is not bound.
local function listed()
  local found, twice = {}, {}
  for row in contents "doc/unbound.md":gmatch "[^\n]+" do
    local functions, reason = row:match "^| (`.*`) | (.+) |$"
    for name in (functions or ""):gmatch "`([%w_]+)`" do
      if found[name] then twice[#twice + 1] = name end
      found[name] = reason
    end
  end
  return found, twice
end

local function none(names)
  table.sort(names)
  assert(#names == 0, table.concat(names, "\n"))
end

local function each(map, f)
  local names = {}
  for name, value in pairs(map) do
    local fault = f(name, value)
    if fault then names[#names + 1] = name .. ": " .. fault end
  end
  none(names)
end

describe("libevent's public functions", function()
  local headers = declared(includedir() .. "/event2")
  local used = words()
  local unbound, twice = listed()

  it("are found in its headers", function()
    for _, name in ipairs {"event_base_new", "evbuffer_add", "event_reinit",
                           "bufferevent_pair_new", "evconnlistener_new",
                           "evutil_socketpair", "evhttp_new", "evdns_base_new",
                           "bufferevent_openssl_socket_new"} do
      assert.truthy(headers[name], name)
    end
  end)

  it("are used in src, or listed in doc/unbound.md", function()
    each(headers, function(name, header)
      return not used[name] and not unbound[name] and header
    end)
  end)

  it("are not both", function()
    each(headers, function(name)
      return used[name] and unbound[name]
    end)
  end)

  it("are each listed once, with a reason", function()
    none(twice)
    each(unbound, function(_, reason)
      return #reason < 10 and reason
    end)
  end)

  it("are all that is listed", function()
    each(unbound, function(name)
      return not headers[name] and "no header declares it"
    end)
  end)
end)
