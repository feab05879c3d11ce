-- Static files over HTTP: with types, ranges and conditional requests, so that
-- downloads go on where they broke off and caches need not fetch twice. The
-- system sends the bytes: they never are in this program's memory. Nothing is
-- served from outside the directory: names that begin with a dot and symbolic
-- links, wherever they lead, are not found. Needs luafilesystem.
--   lua5.4 examples/static_server.lua [directory [address]]
--                                     (., 127.0.0.1:8081)
-- Try it: curl -r 0-99 http://127.0.0.1:8081/examples/static_server.lua
local libevent = require "libevent"
local lfs = require "lfs"
local parse_date = require "libevent.http".parse_date

local types = {
  css = "text/css; charset=utf-8", gif = "image/gif",
  html = "text/html; charset=utf-8", ico = "image/x-icon", jpg = "image/jpeg",
  js = "text/javascript; charset=utf-8", json = "application/json",
  md = "text/markdown; charset=utf-8", mp4 = "video/mp4",
  pdf = "application/pdf", png = "image/png", svg = "image/svg+xml",
  txt = "text/plain; charset=utf-8", wasm = "application/wasm",
  webp = "image/webp", xml = "application/xml",
}

local root = arg[1] or "."
local base = libevent.base()
local http = base:http {allowed_methods = "GET|HEAD"}

-- The file that a path means, and what the system knows of it.
local function find(path)
  local file, found = root, {mode = "directory"}
  for name in path:gmatch "[^/]+" do
    if found.mode ~= "directory" or name:find "^%." then return nil end
    file = file .. "/" .. name
    found = lfs.symlinkattributes(file)
    if not found then return nil end
  end
  return file, found
end

-- First byte and length of what is asked for; nil if that is all of it, or
-- nothing that is understood, and 0, 0 if there are no such bytes.
local function range(req, size, tag, modified)
  local condition = req:find_header "If-Range"
  if condition and condition ~= tag and condition ~= modified then return end
  local first, last = (req:find_header "Range" or "")
                      :match "^bytes=(%d*)%-(%d*)$"
  first, last = tonumber(first), tonumber(last)
  if not first and not last then return end
  if not first then first, last = math.max(size - last, 0), nil end
  if last and last < first then return end
  if first >= size then return 0, 0 end
  return first, math.min(last or size - 1, size - 1) - first + 1
end

-- Does the client have it already?
local function isfresh(req, tag, time)
  local tags = table.concat({req:find_header "If-None-Match"}, ",")
  if tags ~= "" then return tags == "*" or tags:find(tag, 1, true) end
  local since = req:find_header "If-Modified-Since"
  since = since and parse_date(since)
  return since and time <= since
end

local function send(req, path, time)
  local file, _, errno = io.open(path, "rb")
  local whole <close> = file and libevent.file_segment(file)
  if file then file:close() end                -- the segment has its own
  if not whole then return req:send_error(errno == 13 and 403 or 503) end
  local size = #whole
  local tag = ('"%x-%x"'):format(time, size)
  local modified = libevent.date_rfc1123(time)
  req:add_header("ETag", tag):add_header("Last-Modified", modified)
  if isfresh(req, tag, time) then return req:send_reply(304) end
  req:add_header("Accept-Ranges", "bytes")
  req:add_header("Content-Type", types[path:match "%.(%w+)$" or ""]
                                 or "application/octet-stream")
  local first, length
  if req:command() == "GET" then
    first, length = range(req, size, tag, modified)
  end
  if not first then
    req:send_reply(200, nil, whole)
  elseif length == 0 then
    req:add_header("Content-Range", ("bytes */%d"):format(size))
    req:send_reply(416)
  else
    req:add_header("Content-Range", ("bytes %d-%d/%d"):format(
      first, first + length - 1, size))
    req:send_reply(206, nil, libevent.buffer():add_file_segment(whole, first,
                                                                length))
  end
end

http:set_gencb(function(req)
  local path = req:path()
  if path:find "/$" then path = path .. "index.html" end
  local file, found = find(path)
  if not found or found.mode ~= "file" and found.mode ~= "directory" then
    req:send_error(404)
  elseif found.mode == "file" then
    send(req, file, found.modification)
  else                                        -- links in it are relative to it
    local name = req:uri():match "^[^?]*":match "[^/]*$"
    req:send_reply(301, nil, nil, {Location = "./" .. name .. "/"})
  end
end)

if lfs.attributes(root, "mode") ~= "directory" then
  io.stderr:write(root, " is no directory\n")
  os.exit(1)
end
local address = arg[2] or "127.0.0.1:8081"
local listener, message = http:bind_socket(address)
if not listener then
  io.stderr:write("cannot listen on ", address, ": ", message, "\n")
  os.exit(1)
end
io.stdout:setvbuf "line"
for _, name in ipairs {"INT", "TERM"} do
  base:signal(name, function() base:loopexit() end):add()
end
print("serving " .. root .. " on " .. listener:sockname())
base:dispatch()
