--- libevent.http: a guard that it has all of its parts, and that each function
--- is documented where it is written.

local http = require "libevent.http"
local t = require "spec.helper"

--- What stands in a file of a module: name -> {its parameters, the comment}.
local function functions(path)
  local found, comment = {}, {}
  for line in t.contents(path):gmatch "([^\n]*)\n" do
    local name, params = line:match "^function %w+[.:]([%w_]+)%((.-)%)$"
    if name then found[name] = {params = params, comment = comment} end
    if line:match "^%-%-%-" then
      comment[#comment + 1] = line
    else
      comment = {}
    end
  end
  return found
end

describe("libevent.http", function()
  local documented = {}
  for _, file in ipairs {"uri", "form", "multipart", "html", "httpdate",
                         "http_request", "http"} do
    for name, entry in pairs(functions("lua/libevent/" .. file .. ".lua")) do
      documented[name] = entry
    end
  end

  it("has functions alone, each documented where it is written", function()
    local names = {feed = true}                   -- of what one of them makes
    for name, value in pairs(http) do
      assert.equal("function", type(value), name)
      names[name] = true
    end
    for name in pairs(names) do
      local entry = documented[name]
      assert.is_table(entry, name)
      local text = table.concat(entry.comment, "\n")
      assert.matches("%-%-%- C: [%w`]", text, 1, false, name)
      assert.matches("%-%-%-@return %S", text, 1, false, name)
      local params = {}
      for param in text:gmatch "%-%-%-@param ([%w_]+)%?? %S" do
        params[#params + 1] = param
      end
      assert.equal(entry.params, table.concat(params, ", "), name)
    end
  end)

  it("is in host programs, too, and needs nothing in C", function()
    local text = t.host("embedding", [[
      assert(package.preload["libevent.http"])
      print(require "libevent.http".uri_parse "http://[::1]:80/".host)
    ]])
    assert.equal("::1\nevents left 0\n", text)
    local pipe = io.popen(("LUA_CPATH= %s -e 'print(require \"libevent.http\""
      .. ".date(0))'"):format(os.getenv "LUA" or "lua5.4"))
    assert.equal("Thu, 01 Jan 1970 00:00:00 GMT\n", pipe:read "a")
    pipe:close()
  end)
end)
