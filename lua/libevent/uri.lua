--- libevent.uri: URIs as RFC 3986 has them, and nothing looser.
---
--- What comes from others is either a URI or refused; what a script joins is
--- checked part by part, so that no part can become another one. All of it
--- takes time in proportion to the length of the text.

local expect = require "libevent.expect"

--- The parts of a URI as they stand in it: what is escaped stays so. The host
--- is told without the brackets of an IPv6 address, as sockets want it; an
--- address of a version that is yet to come ("[v7.x]") keeps them. nil is a
--- part that is not there, and "" one that is empty.
---@class libevent.Uri
---@field scheme? string in lower case
---@field userinfo? string "user:password"; only with a host
---@field host? string a name, an IPv4 or IPv6 address, or ""
---@field port? integer 0 to 65535; only with a host
---@field path? string "" or nil if there is none
---@field query? string what follows "?"
---@field fragment? string what follows "#"

---@class libevent.uri
local uri = {}

local UNRESERVED = "A-Za-z0-9._~%-"
local NAME = UNRESERVED .. "!$&'()*+,;="
local SEGMENT = NAME .. ":@"

-- What must not stand in a part. The classes of Lua's patterns would ask the
-- locale what a letter is.
local FOREIGN = {
  userinfo = "[^" .. NAME .. ":]",
  host = "[^" .. NAME .. "]",
  path = "[^" .. SEGMENT .. "/]",
  query = "[^" .. SEGMENT .. "/?]",
  fragment = "[^" .. SEGMENT .. "/?]",
}
local FUTURE = "^%[[vV]%x+%.[" .. NAME .. ":]+%]$"
local PARTS = {"scheme", "userinfo", "host", "port", "path", "query",
               "fragment"}

-- {==== Escapes ====

local ENCODED = {}
for byte = 0, 255 do ENCODED[string.char(byte)] = ("%%%02X"):format(byte) end

--- What uridecode does, but that an escape that is none stays as it is.
function uri.decode(s, plus)
  if plus then s = s:gsub("+", " ") end
  return (s:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

--- Escapes all of `s` but letters, digits and "-._~", for a segment of a path
--- or a value of a query: "a b/c" is "a%20b%2Fc".
---
--- C: `evhttp_uriencode`
---@param s string of any bytes
---@param plus? boolean write a space as "+", as forms do
---@return string encoded
function uri.uriencode(s, plus)
  s = expect.text(s, 1, "uriencode"):gsub("[^" .. UNRESERVED .. " ]", ENCODED)
  return (s:gsub(" ", plus and "+" or "%%20"))
end

--- Takes the escapes of `s` away, once: "a%20b" is "a b". What comes out may be
--- any bytes, "\0" among them. nil and a message for a "%" without two
--- hexadecimal digits.
---
--- C: `evhttp_uridecode`
---@param s string
---@param plus? boolean read "+" as a space, as forms do
---@return string|nil decoded
---@return string? message
function uri.uridecode(s, plus)
  s = expect.text(s, 1, "uridecode")
  if s:find "%%%X" or s:find "%%%x%X" or s:find "%%%x?$" then
    return nil, "bad escape"
  end
  return uri.decode(s, plus)
end

-- ====}

-- {==== Parts ====

local function isipv4(s)
  local bytes = {s:match "^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$"}
  for _, byte in ipairs(bytes) do
    if tonumber(byte) > 255 or byte:find "^0." then return false end
  end
  return #bytes == 4
end

--- How many groups of an IPv6 address 's' is; nan if it is something else.
local function groups(s)
  local n = 0
  for group in (s == "" and s or s .. ":"):gmatch "([^:]*):" do
    n = group:find "^%x%x?%x?%x?$" and n + 1 or 0/0
  end
  return n
end

local function isipv6(s)
  if #s > 45 then return false end          -- the longest that there is
  s = s:gsub("[^:]+%.[^:]+$", function(tail) return isipv4(tail) and "0:0" end)
  local left, right = s:match "^(.-)::(.*)$"
  if left then return groups(left) + groups(right) <= 7 end
  return groups(s) == 8
end

--- The host without the brackets of an IPv6 address.
local function unbracketed(host)
  local address = host:match "^%[(.*)%]$"
  return address and isipv6(address) and address or host
end

local function wellformed(part, text)
  return not text:gsub("%%%x%x", ""):find(FOREIGN[part])
end

-- What makes each part possible beside the others.
local POSSIBLE = {
  scheme = function(s) return s:find "^[A-Za-z][A-Za-z0-9+.%-]*$" end,
  userinfo = function(s, parts)
    return parts.host and wellformed("userinfo", s)
  end,
  host = function(s)
    return isipv6(s) or s:find(FUTURE) or wellformed("host", s)
  end,
  port = function(n, parts) return n and parts.host end,
  path = function(s, parts)
    if parts.host then
      if s:find "^[^/]" then return false end
    elseif s:find "^//" or not parts.scheme and s:find "^[^/]*:" then
      return false              -- a host would be seen in it, or a scheme
    end
    return wellformed("path", s)
  end,
  query = function(s) return wellformed("query", s) end,
  fragment = function(s) return wellformed("fragment", s) end,
}

--- The name of a part that is not as it must be, if there is one.
local function fault(parts)
  for _, name in ipairs(PARTS) do
    local part = parts[name]
    if part ~= nil and not POSSIBLE[name](part, parts) then return name end
  end
end

-- ====}

-- {==== The whole ====

--- The two sides of the first 'mark'; nil for a second one that is not there.
local function split(s, mark)
  local at = s:find(mark, 1, true)
  if at then return s:sub(1, at - 1), s:sub(at + 1) end
  return s
end

--- 80 of ":80", nil of ":", false of what is no port.
local function portof(s)
  if s == "" or s == ":" then return nil end
  local digits = s:match "^:0*(%d*)$"
  if not digits or #digits > 5 then return false end
  local port = tonumber(digits) or 0
  return port <= 65535 and port
end

local function parse(s)
  local parts = {}
  s, parts.fragment = split(s, "#")
  s, parts.query = split(s, "?")
  local scheme = s:match "^([^:/]*):"
  if scheme then
    s = s:sub(#scheme + 2)
    parts.scheme = scheme:lower()
  end
  local authority, path = s:match "^//([^/]*)(.*)$"
  parts.path = path or s
  if authority then
    local userinfo, rest = split(authority, "@")
    if rest then parts.userinfo = userinfo else rest = userinfo end
    local host, port = rest:match "^(%[[^%]]*%])(.*)$"
    if not host then host, port = rest:match "^([^:]*)(.*)$" end
    parts.host = unbracketed(host)
    parts.port = portof(port)
  end
  local bad = fault(parts)
  if bad then return nil, "bad " .. bad end
  return parts
end

local function join(parts)
  local list = {}
  local function add(...)
    for _, text in ipairs {...} do list[#list + 1] = text end
  end
  if parts.scheme then add(parts.scheme:lower(), ":") end
  if parts.host then
    add "//"
    if parts.userinfo then add(parts.userinfo, "@") end
    local bare = parts.host:find ":" and not parts.host:find "^%["
    add(bare and "[" .. parts.host .. "]" or parts.host)
    if parts.port then add((":%d"):format(parts.port)) end
  end
  add(parts.path or "")
  if parts.query then add("?", parts.query) end
  if parts.fragment then add("#", parts.fragment) end
  return table.concat(list)
end

--- The parts that the table 'given' has; nil and what is wrong with them.
local function check(given)
  local parts = {}
  for name, part in pairs(given) do
    if not POSSIBLE[name] then
      return nil, ("unknown field '%s' (known: %s)"):format(name,
        table.concat(PARTS, ", "))
    elseif name == "port" then
      local port = type(part) == "number" and math.tointeger(part)
      if not port or port < 0 or port > 65535 then
        return nil, "field 'port': integer 0 to 65535 expected, got "
                    .. (type(part) == "number" and part or type(part))
      end
      parts.port = port
    elseif type(part) ~= "string" then
      return nil, ("field '%s': string expected, got %s"):format(
        name, type(part))
    else
      parts[name] = name == "host" and unbracketed(part) or part
    end
  end
  local bad = fault(parts)
  if bad then
    local alone = not parts.host and (bad == "port" or bad == "userinfo")
    return nil, ("field '%s': %s"):format(bad, alone and "there is no host"
                                               or "not possible in a URI")
  end
  return parts
end

--- Takes a URI, or a reference like "../a?b", apart, as RFC 3986 says and not
--- more generously: nil and a message ("bad host", "bad port"...) for what has
--- spaces, other bytes than ASCII, escapes that are none, or anything else that
--- no URI has. A port that is named but empty is none.
---
--- C: `evhttp_uri_parse`
---@param s string
---@return libevent.Uri|nil parts with a path, be it ""
---@return string? message
function uri.uri_parse(s)
  return parse(expect.text(s, 1, "uri_parse"))
end

--- Puts a URI together. Raises for a part that could not be read back as what
--- it was given for: with bytes that have to be escaped (`uriencode`), a path
--- without "/" behind a host, a port without a host, a field of another name.
---
--- C: `evhttp_uri_join`
---@param parts libevent.Uri a host may have the brackets of IPv6, or not
---@return string uri
function uri.uri_join(parts)
  expect.that(type(parts) == "table", 1, "uri_join",
              "table expected, got " .. type(parts))
  local checked, message = check(parts)
  expect.that(checked, 1, "uri_join", message)
  return join(checked)
end

--- Takes "." and ".." out of a path, never above its root: "/a/./b/../c" is
--- "/a/c" (RFC 3986, 5.2.4).
---
--- C: none
---@param path string
---@return string path
function uri.remove_dot_segments(path)
  path = expect.text(path, 1, "remove_dot_segments")
  local list, at = {}, 1
  while path:find("^%.%.?/", at) do at = path:find("/", at, true) + 1 end
  if path:find("^%.%.?$", at) then return "" end
  for segment, after in path:gmatch("(/?[^/]*)()", at) do
    local last = after > #path
    if segment == "/.." then list[#list] = nil end
    if segment ~= "/." and segment ~= "/.." then
      list[#list + 1] = segment
    elseif last then
      list[#list + 1] = "/"
    end
  end
  return table.concat(list)
end

--- What `reference` means where `base` is the URI of the page (RFC 3986, 5.2):
--- "http://a/b/c" and "../d" are "http://a/d". nil and a message if one of them
--- is no URI, or `base` has no scheme.
---
--- C: none
---@param base string
---@param reference string
---@return string|nil uri
---@return string? message
function uri.uri_resolve(base, reference)
  base = expect.text(base, 1, "uri_resolve")
  reference = expect.text(reference, 2, "uri_resolve")
  local from, message = parse(base)
  if not from then return nil, "base: " .. message end
  if not from.scheme then return nil, "base: no scheme" end
  local to
  to, message = parse(reference)
  if not to then return nil, "reference: " .. message end
  local path, own = to.path, to.scheme or to.host
  if not own then
    to.userinfo, to.host, to.port = from.userinfo, from.host, from.port
  end
  if not own and path == "" then
    to.path, to.query = from.path, to.query or from.query
  else
    if not own and not path:find "^/" then
      path = (from.path:match "^.*/" or from.host and "/" or "") .. path
    end
    to.path = uri.remove_dot_segments(path)
  end
  to.scheme = to.scheme or from.scheme
  if not to.host and to.path:find "^//" then
    to.path = "/." .. to.path               -- or it would begin with a host
  end
  return join(to)
end

-- ====}

return uri
