-- Guards: what is written in two places must agree.

local read = require "spec.helper".contents

local function lines(command)
  local list = {}
  for line in io.popen(command):lines() do list[#list + 1] = line end
  return list
end

local function rockspec()
  local spec = {}
  assert(loadfile(lines "ls rockspec/*.rockspec"[1], "t", spec))()
  return spec
end

describe("The package", function()
  it("has one version", function()
    local version = require "libevent"._VERSION:match "^lua%-libevent (%S+)$"
    assert.equal(version, read "Makefile":match "\nVERSION = (%S+)")
    assert.equal(version, read "CHANGELOG.md":match "\n## (%S+)")
    local header = read "src/lualibevent.h"
    assert.equal(version, header:match "LUALIBEVENT_VERSION \"(.-)\"")
    local number = tonumber(header:match "LUALIBEVENT_VERSION_NUMBER (%w+)")
    assert.equal(version, ("%d.%d.%d"):format(number >> 24, number >> 16 & 255,
                                              number >> 8 & 255))
    local spec = rockspec().version
    assert.truthy(spec == "scm-1" or spec == version .. "-1")
  end)

  it("has one rockspec, which names every source file", function()
    assert.equal(1, #lines "ls rockspec/*.rockspec")
    local build = rockspec().build
    assert.same(lines "ls src/*.c", build.modules["libevent.core"].sources)
    assert.same(lines "ls src/tls/*.c src/values.c",
                build.modules["libevent.tls"].sources)
    for _, path in ipairs(lines "ls lua/libevent/*.lua") do
      local name = path:match "^lua/(.*)%.lua$":gsub("/", ".")
                                               :gsub("%.init$", "")
      assert.equal(path, build.modules[name])
    end
  end)

  it("needs OpenSSL for libevent.tls alone", function()
    for _, path in ipairs(lines "ls src/*.* src/embedded/*") do
      assert.is_nil(read(path):find "openssl/", path)
    end
    local function needed(name)
      return table.concat(lines(("ldd %s/libevent/%s.so"):format(
        os.getenv "BUILD", name)), "\n")
    end
    assert.is_nil(needed "core":find "libssl", needed "core")
    assert.truthy(needed "tls":find "libssl", needed "tls")
  end)

  it("exports what hosts and Lua call, and nothing else", function()
    for module, least in pairs {core = 2, tls = 1} do
      local found = 0
      for _, line in ipairs(lines(("nm -D --defined-only %s/libevent/%s.so")
                                  :format(os.getenv "BUILD", module))) do
        local name = line:match "%S+$"
        if not name:find "^_" and not name:find "san" then
          assert.truthy(name:find "^luaopen_" or name:find "^lualibevent_",
                        name)
          found = found + 1
        end
      end
      assert.is_true(found >= least)
    end
  end)

  it("has a library that exports what its header declares", function()
    local exported = lines("nm -g --defined-only " .. os.getenv "BUILD"
                           .. "/liblualibevent.a | grep -o ' [A-Z] [^_].*'")
    local found = {}
    for _, line in ipairs(exported) do
      local name = line:match "%S+$"
      if not name:find "san" then found[#found + 1] = name end
    end
    table.sort(found)
    local declared = {}
    for name in read "src/lualibevent.h":gsub("/%*.-%*/", "")
                  :gmatch "\n[^#\n]-[ *](lua%w+_[%w_]+) %(%l" do
      declared[#declared + 1] = name
    end
    table.sort(declared)
    assert.same(declared, found)
  end)

  it("has a header for C++, too", function()
    local program = os.tmpname()
    local build = os.getenv "BUILD"
    local command = ([[printf '#include "lualibevent.h"\n%%s\n' ]]
      .. [['int main() { return !lualibevent_version() || !lua_version(0); }' ]]
      .. [[| g++ -Wall -Wextra -Werror %s -Isrc $(pkg-config --cflags lua5.4) ]]
      .. [[-x c++ - -x none -o %s %s/liblualibevent.a ]]
      .. [[$(pkg-config --libs lua5.4 libevent_extra libevent_core) ]]
      .. [[-lpthread -ldl]]):format(
      build:find "%-san" and "-fsanitize=address,undefined" or "", program,
      build)
    assert.truthy(os.execute(command), command)
    assert.truthy(os.execute(program))
    os.remove(program)
  end)

  it("shows the echo server whole in its README", function()
    assert.equal(read "examples/echo_server.lua",
                 read "README.md":match "```lua\n(.-)```")
  end)

  it("names every method in the README's table", function()
    require "libevent.tls"
    local readme = read "README.md":match "## API at a glance(.-)\n## "
    for _, class in ipairs {"Base", "Event", "Waker", "Buffer", "FileSegment",
                            "Bufferevent", "RateLimitGroup", "Listener", "Dns",
                            "DnsRequest", "DnsServer", "DnsQuery", "Http",
                            "HttpRequest", "HttpConnection",
                            "tls.Context"} do
      local row = readme:match("\n| " .. class .. " |([^\n]+)")
      for name in pairs(debug.getregistry()["libevent." .. class].__index) do
        local constructor = class == "Base" and readme:find("base:" .. name
                                                            .. "%(")
        assert.truthy(constructor or row:find("%f[%w_]" .. name .. "%f[^%w_]"),
                      class .. ":" .. name .. " is not in the README")
      end
    end
  end)

  it("names every function of the module there", function()
    local row = read "README.md":match "\n| `libevent` |([^\n]+)"
    for name, value in pairs(require "libevent") do
      if type(value) == "function" then
        assert.truthy(row:find("%f[%w_]" .. name .. "%f[^%w_]"),
                      "libevent." .. name .. " is not in the README")
      end
    end
  end)

  it("names every function of libevent.http and libevent.tls there", function()
    for _, module in ipairs {"libevent.http", "libevent.tls"} do
      local row = read "README.md":match("\n| `" .. module .. "` |([^\n]+)")
      for name in pairs(require(module)) do
        assert.truthy(row:find("%f[%w_]" .. name .. "%f[^%w_]"),
                      module .. "." .. name .. " is not in the README")
      end
    end
  end)

  it("has no private prototype that nobody defines", function()
    local sources = table.concat(lines "cat src/*.c src/tls/*.c", "\n")
    local headers = read "src/lev.h" .. read "src/lev_bufferevent.h"
                    .. read "src/tls/tls.h"
    for name in headers:gmatch "(lev[LT]_%w+) %(" do
      assert.truthy(sources:find("\n[^\n;]*%f[%w_]" .. name .. " %([^;{]*{")
                    , name)
    end
  end)
end)

describe("make install", function()
  it("installs a tree that works, and uninstall takes it away", function()
    local root = os.tmpname()
    os.remove(root)
    local make = ("make -s BUILD=%s DESTDIR=%s PREFIX=/p "):format(
      os.getenv "BUILD", root)
    assert.truthy(os.execute(make .. "install"))
    local pipe = io.popen(("cd / && LUA_PATH='%s/p/share/lua/5.4/?.lua;"
      .. "%s/p/share/lua/5.4/?/init.lua' LUA_CPATH='%s/p/lib/lua/5.4/?.so' "
      .. "%s -e 'require \"libevent.tls\".context() "
      .. "print(require \"libevent\"._VERSION)'"):format(root, root,
      root, os.getenv "LUA" or "lua5.4"))
    assert.equal(require "libevent"._VERSION .. "\n", pipe:read "a")
    pipe:close()
    for _, name in ipairs {"lualibevent.h", "liblualibevent.a",
                           "lualibevent.pc", "tls.so"} do
      assert.equal(1, #lines("find " .. root .. " -name " .. name))
    end
    assert.truthy(os.execute(make .. "uninstall"))
    assert.same({}, lines("find " .. root .. " -type f"))
    os.execute("rm -r " .. root)
  end)

  it("lets a host be built as the README says", function()
    local root = os.tmpname()
    os.remove(root)
    assert.truthy(os.execute(("make -s BUILD=%s PREFIX=%s install"):format(
      os.getenv "BUILD", root)))
    local command = read "README.md":match "\n(cc scripted_server.-)\n"
      :gsub("%-o ", "%0" .. root .. "/"):gsub("%$%(", "%0" ..
        "PKG_CONFIG_PATH=" .. root .. "/lib/pkgconfig ")
    if os.getenv "BUILD":find "%-san" then
      command = command .. " -fsanitize=address,undefined"
    end
    assert.truthy(os.execute("cd examples/embedding && " .. command), command)
    assert.equal("usage", lines(root .. "/server 2>&1")[1]:match "%l+")
    os.execute("rm -r " .. root)
  end)
end)
