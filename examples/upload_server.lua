-- Uploads into a directory, by PUT or by a form in a browser. A file is written
-- as it arrives, whatever its size, and gets its name when all of it has come;
-- what breaks off leaves nothing.
--   lua5.4 examples/upload_server.lua directory [address]    (127.0.0.1:8081)
-- Try it: curl -T README.md http://127.0.0.1:8081/copy.md
--   curl -F file=@README.md http://127.0.0.1:8081/
local libevent = require "libevent"
local multipart = require "libevent.http".multipart

local FORM = [[
<!DOCTYPE html>
<title>Upload</title>
<form method="post" enctype="multipart/form-data">
<input type="file" name="file" multiple> <input type="submit">
</form>
]]

local directory = assert(arg[1], "which directory?")
local base = libevent.base()
local http = base:http {allowed_methods = "GET|HEAD|PUT|POST"}
local whole = {stream = true, max_body_size = 2^34 // 1}              -- 16 GiB
local uploads, begun = {}, 0                      -- what each request writes

-- What the system refuses is our failure (it has an errno), all else theirs.
local function check(ok, message, errno)
  if not ok then
    error {status = errno and 507 or 400, message = message}
  end
  return ok
end

local function begin(req, name)
  check(name:find "^[%w_\128-\255-][%w_\128-\255. -]*$", "bad name")
  begun = begun + 1
  local temporary = ("%s/.%s.%d"):format(directory, name, begun)
  uploads[req] = {file = check(io.open(temporary, "wb")),
                  temporary = temporary, path = directory .. "/" .. name}
end

local function write(req, data)
  check(uploads[req].file:write(data))
end

local function drop(req)
  local upload = uploads[req]
  uploads[req] = nil
  if upload then
    upload.file:close()
    os.remove(upload.temporary)                   -- if it has not its name yet
  end
end

local function finish(req)
  local upload = uploads[req]
  check(upload.file:flush())
  check(os.rename(upload.temporary, upload.path))
  drop(req)
  print(upload.path)
end

-- Calls f; if it fails, so does the request.
local function attempt(req, f, ...)
  local ok, failure = pcall(f, ...)
  if ok then return true end
  drop(req)
  req:set_chunked_cb(nil)
  if not failure.status then error(failure, 0) end
  print("refused: " .. failure.message)
  req:send_error(failure.status)
end

-- Gives each piece of the body to take, and nil at its end.
local function stream(req, take)
  req:set_closecb(function()
    drop(req)
    req:close()
  end)
  req:set_chunked_cb(function(_, data)
    if attempt(req, take, data) and not data then req:send_reply(201) end
  end)
end

local function put(req)
  if not attempt(req, begin, req, req:path():sub(2)) then return end
  stream(req, function(data)
    if data then write(req, data) else finish(req) end
  end)
end

local function post(req)
  local parser, message = multipart(req:find_header "Content-Type")
  if not attempt(req, check, parser, message) then return end
  local function part(_, _, filename)
    if filename and filename ~= "" then begin(req, filename) end
  end
  local function piece(data)
    if uploads[req] then write(req, data) end
  end
  local function stop()
    if uploads[req] then finish(req) end
  end
  stream(req, function(data)
    check(parser:feed(data, part, piece, stop))
  end)
end

http:set_gencb(function(req)
  local command = req:command()
  if command == "PUT" then return put(req) end
  if req:path() ~= "/" then return req:send_error(404) end
  if command == "POST" then return post(req) end
  req:send_reply(200, nil, FORM)
end, whole)

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
print("uploads into " .. directory .. " on " .. listener:sockname())
base:dispatch()
for req in pairs(uploads) do drop(req) end
