--- Targets of parsers.c for HTTP. parse.head and the others have looked whether
--- cuts change anything, and that nothing lies outside the text. What is
--- accepted, and what it says, is found here once more by patterns, in a text
--- that is there as a whole.

local parse = ...               -- functions of parsers.c

local targets = {}

-- {==== Heads ====

local MORE, DONE = 0, 1         -- as lev_http.h has them
local ASKED, ANSWER, TRAILERS = 0, 1, 2
local TOKEN = "[%w!#$%%&'*+%-.^_`|~]"
local HOST = "[%w%-._~!$&'()*+,;=%%:%[%]]"

--- A host with or without a port -> the host; nil if it is none.
local function readhost(s)
  if s:find("^" .. HOST .. "*$") == nil then return nil end
  local host, port = s:match "^(%[[^%]]*%])(.*)$"
  if not host then host, port = s:match "^([^:%[%]]*)(.*)$" end
  return host and (port == "" or port:find "^:%d?%d?%d?%d?%d?$") and host
end

--- The path, the query, and the host if the target has one; nil if it is none.
local function readtarget(method, s)
  local host, rest
  if method == "CONNECT" then
    host = readhost(s)
    return host and host ~= "" and #s > #host + 1 and s, "", host
  elseif s:find "^/" then
    rest = s
  elseif s == "*" then
    rest = method == "OPTIONS" and s
  else
    local scheme, authority, path = s:match "^(%a+)://([^/?]+)(.*)$"
    scheme = scheme and scheme:lower()
    host = (scheme == "http" or scheme == "https") and readhost(authority)
    rest = host and path
  end
  if not rest then return nil end
  local path, query = rest:match "^([^?]*)%??(.*)$"
  return path, query, host
end

--- The lines of a head that is all there, and its bytes. A request may begin
--- with an empty one.
local function lines(s, asked)
  local list = {}
  local from = asked and s:find "^\r\n" and 3 or 1
  for line, after in s:gmatch("([^\n]*)\n()", from) do
    if not line:find "\r$" then return nil end
    if line == "\r" then return list, after - 1 end
    list[#list + 1] = line:sub(1, -2)
  end
end

--- "Name: value" -> name, value.
local function readfield(line)
  local name, value = line:match("^(" .. TOKEN .. "+):[ \t]*(.-)[ \t]*$")
  if name and not value:find "[%z\1-\8\10-\31\127]" then return name, value end
end

--- What all fields say about the message, by their names in lower case; nil if
--- one is wrong.
local function readfields(list, first)
  local fields, said = {}, {}
  for i = first, #list do
    local name, value = readfield(list[i])
    if not name then return nil end
    local key = name:lower()
    fields[#fields + 1] = {name, value}
    said[key] = said[key] or {}
    table.insert(said[key], value)
  end
  return fields, said
end

local function one(values, fits)
  return not values or #values == 1 and not not fits(values[1])
end

local function each(values, fits)
  for _, value in ipairs(values or {}) do
    if not fits(value) then return false end
  end
  return true
end

--- Does the framing fit, and for a request the host?
local function isframed(said, minor, asked)
  local coded = said["transfer-encoding"]
  return one(said["content-length"], function(s)
      local n = s:find "^%d+$" and tonumber(s)
      return math.type(n) == "integer" and n < 9223372036854775800
    end)
    and one(coded, function(s) return s:lower() == "chunked" end)
    and not (coded and (said["content-length"] or minor == 0))
    and each(minor > 0 and said.expect or nil, function(s)
      return s:lower() == "100-continue"
    end)
    and (not asked or one(said.host, readhost) and (said.host or minor == 0))
end

local function words(said, word)
  for _, value in ipairs(said.connection or {}) do
    for w in value:gmatch(TOKEN .. "+") do
      if w:lower() == word then return true end
    end
  end
end

local function same(a, b, what)
  if a ~= b then
    error(("%s: %s, but plainly %s"):format(what, tostring(a), tostring(b)), 2)
  end
end

local function samefields(fields, plain)
  same(#fields, #plain, "fields")
  for i, pair in ipairs(plain) do
    same(fields[i][1], pair[1], "name")
    same(fields[i][2], pair[2], "value")
  end
end

--- What holds for every head that has been accepted.
local function acceptable(text)
  assert(not text:find "\0", "a NUL")
  assert(not text:find "[^\r]\n", "a bare line feed")
  assert(not text:find "\n[ \t]", "a folded line")
  assert(text:find "\r\n\r\n$" or text == "\r\n", "no end")
end

--- Bytes: where to cut, how little it may be, and the text.
local function head(what, data)
  local small = data:byte(2) or 0
  local limits = small < 128 and {1 << 20, 1 << 20, 1 << 20}
                 or {small % 64, small % 32 * 4, small % 8}
  local text = data:sub(3)
  local r, h = parse.head(what, text, data:byte(1) or 0,
                          table.unpack(limits))
  assert(r == DONE or r == MORE or r >= 400 and r < 600 and h)
  local list, len = lines(text, what == ASKED)
  if r ~= DONE then return list and small < 128, nil, list end
  assert(list, "it has no end")
  same(h.len, len, "length")
  acceptable(text:sub(1, len))
  return true, h, list
end

function targets.httprequest(data)
  local all, h, list = head(ASKED, data)
  if not all then return end
  local line = list[1] or ""
  local method, target, minor = line:match(
    "^(" .. TOKEN .. "+) ([!\"$-~]+) HTTP/1%.([01])$")
  local path, query, host
  if method then path, query, host = readtarget(method, target) end
  local fields, said = readfields(list, 2)
  local fits = path and fields and isframed(said, tonumber(minor), true)
  assert(not h == not fits, line)
  if not h then return end
  samefields(h, fields)
  same(h.method, method, "method")
  same(h.target, target, "target")
  same(h.path, path, "path")
  same(h.query, query, "query")
  same(h.host, host or readhost((said.host or {""})[1]), "host")
  same(h.hosts, said.host and 1 or 0, "hosts")
  same(h.length, tonumber((said["content-length"] or {-1})[1]), "length")
  same(h.chunked, said["transfer-encoding"] ~= nil, "chunked")
  same(h.expect, minor == "1" and said.expect ~= nil, "expect")
  same(h.persists, not words(said, "close")
       and (minor == "1" or words(said, "keep-alive") or false), "persists")
  targets.httppath(h.path)
end

function targets.httpresponse(data)
  local all, h, list = head(ANSWER, data)
  if not all then return end
  local line = list[1] or ""
  local minor, status, reason = line:match "^HTTP/1%.([01]) (%d%d%d)(.*)$"
  local fields, said = readfields(list, 2)
  local fits = minor and tonumber(status) >= 100
               and (reason == "" or reason:find "^ [\t -~\128-\255]*$")
               and fields and isframed(said, tonumber(minor))
  assert(not h == not fits, line)
  if not h then return end
  samefields(h, fields)
  same(h.status, tonumber(status), "status")
  same(h.reason, reason:sub(2), "reason")
  same(h.length, tonumber((said["content-length"] or {-1})[1]), "length")
  same(h.chunked, said["transfer-encoding"] ~= nil, "chunked")
end

function targets.httptrailers(data)
  local all, h, list = head(TRAILERS, data)
  if not all then return end
  local fields = readfields(list, 1)
  assert(not h == not fields, list[1])
  if h then samefields(h, fields) end
end

-- ====}

-- {==== Bodies ====

--- The data of a whole body, and where its trailers begin; nil if it is not
--- one.
local function plainchunks(s)
  local list, at = {}, 1
  while true do
    local digits, extension, from = s:match("^(%x+)([^\r]*)\r\n()", at)
    if not digits or #digits > 15
       or extension:find "^[^;]" or extension:find "[%z\1-\8\10-\31\127]" then
      return nil
    end
    local n = tonumber(digits, 16)
    if n == 0 then return table.concat(list), from end
    if #s - from < n + 1 or s:sub(from + n, from + n + 1) ~= "\r\n" then
      return nil
    end
    list[#list + 1] = s:sub(from, from + n - 1)
    at = from + n + 2
  end
end

--- Bytes: where to cut, the size of the pieces after that, and the text.
function targets.httpchunks(data)
  local text = data:sub(3)
  local r, used, list = parse.chunks(text, #text, 0)
  local body = table.concat(list)
  for _, step in ipairs {1, data:byte(2) or 0} do
    local other, bytes, pieces = parse.chunks(text, data:byte(1) or 0, step)
    same(other, r, "result")
    same(bytes, used, "bytes")
    same(table.concat(pieces), body, "body")
  end
  local plain, at = plainchunks(text)
  same(r == DONE, plain ~= nil, "done")
  if plain then
    same(body, plain, "body")
    same(used, at - 1, "bytes")
  end
end

-- ====}

-- {==== Paths, and fields that go out ====

--- Decodes it, then goes from segment to segment.
local function plainpath(s)
  if not s:find "^/" then return s == "" and "/" or s end
  if s:gsub("%%%x%x", ""):find "%%" then return nil end
  local decoded = s:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end)
  local segments, last = {}, nil
  if decoded:find "\0" then return nil end
  for segment in decoded:gmatch "/([^/]*)" do
    if segment == ".." and #segments == 0 then return nil end
    if segment == ".." then
      table.remove(segments)
    elseif segment ~= "." then
      segments[#segments + 1] = segment
    end
    last = segment
  end
  if last == "." or last == ".." then segments[#segments + 1] = "" end
  return "/" .. table.concat(segments, "/")
end

function targets.httppath(data)
  local path = parse.path(data)
  same(path, plainpath(data), "path")
  if path and data:find "^/" then
    assert(path:find "^/" and not path:find "\0")
    assert(not (path .. "/"):find "/%.%.?/", path)
  end
end

--- Bytes: lines "name: value" with any bytes. What goes out is what is meant,
--- and can be read again.
function targets.httpfields(data)
  local list, fits = {}, true
  for line in (data .. "\n\n"):gmatch "(.-)\n\n" do
    local name, value = line:match "^(.-): (.*)$"
    name, value = name or line, value or ""
    local key = name:lower()
    list[#list + 1] = {name, value}
    fits = fits and name:find("^" .. TOKEN .. "+$")
      and not value:find "[%z\1-\8\10-\31\127]" and key ~= "transfer-encoding"
      and (key ~= "connection" or value:lower() == "close"
           or value:lower() == "keep-alive")
      and (key ~= "content-length" or value:find "^%d+$" and #value < 19)
  end
  local ok, text = pcall(parse.fields, list)
  same(ok, not not fits, "fits")
  if not ok then return end
  local r, h = parse.head(TRAILERS, text .. "\r\n", 0, 9999, 9999, 9999)
  same(r, DONE, "head")
  same(#h, #list, "fields")
  for i, pair in ipairs(list) do
    same(h[i][1], pair[1], "name")
    same(h[i][2], pair[2]:match "^[ \t]*(.-)[ \t]*$", "value")
  end
end

-- ====}

return targets
