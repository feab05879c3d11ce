--- An HTTP server on lua-http: /hello, and /mebibyte out of DIRECTORY.
---   lua5.4 lua-http.lua DIRECTORY PORT
--- Debian's lua-http is installed for Lua up to 5.3, some of what it needs up
--- to 5.2; all of that is Lua, and runs on 5.4 as well.

package.path = package.path
  .. ";/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua"

local headers = require "http.headers"
local server = require "http.server"
local util = require "http.util"

local directory, port = arg[#arg - 1], math.tointeger(arg[#arg])

local function head(length)
  local h = headers.new()
  h:append(":status", "200")
  h:append("content-type", "text/plain")
  h:append("content-length", length)
  h:append("date", util.imf_date())
  return h
end

local function serve(_, stream)
  local request = assert(stream:get_headers())
  if request:get ":path" == "/hello" then
    stream:write_headers(head "5", false)
    stream:write_chunk("hello", true)
  else
    local file <close> = assert(io.open(directory .. "/mebibyte", "rb"))
    stream:write_headers(head(("%d"):format(file:seek "end")), false)
    file:seek "set"
    stream:write_body_from_file(file)
  end
end

local s = assert(server.listen {
  host = "127.0.0.1", port = port, onstream = serve,
  onerror = function() end,             -- clients that are gone
})
assert(s:listen())
io.stdout:write "ready\n":flush()
assert(s:loop())
