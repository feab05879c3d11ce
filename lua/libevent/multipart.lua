--- libevent.multipart: multipart bodies as they arrive (RFC 2046, RFC 7578).
---
--- Each byte is looked at a fixed number of times, however the body is cut into
--- pieces, and no more is kept of it than the header of one part, or a piece
--- that may become the line between two parts.

local expect = require "libevent.expect"
local uri = require "libevent.uri"

--- Pairs in their order at 1, 2, ..., and each first value under its name, here
--- in lower case. In `libevent.fields` names are as they were sent.
---@alias libevent.headers {[integer]: string[], [string]: string}

---@class libevent.multipart
local multipart = {}

local CHAR = "[!#$%%&'*+%-.^_`|~0-9A-Za-z]"
local TOKEN = CHAR .. "+"
local CONTROL = "[\0-\8\10-\31\127]"        -- but for the tab

-- {==== Header fields ====

--- One header field into 'headers'; false if it is none.
local function addheader(headers, line)
  local name, rest = line:match("^(" .. TOKEN .. "):[ \t]*(.*)$")
  if not name or rest:find(CONTROL) then return false end
  local key, value = name:lower(), rest:match "^.*[^ \t]" or ""
  if key == "content-disposition" and headers[key] then return false end
  headers[#headers + 1] = {name, value}
  headers[key] = headers[key] or value
  return true
end

--- The value of a parameter that begins at 'at', and where it ends. In quotes
--- a backslash is one, unless a quote or another one follows: browsers send
--- the paths of Windows as they are.
local function parameter(s, at)
  if s:sub(at, at) ~= '"' then
    return s:match("^([!#-:<-~]+)()", at)   -- more than a token: "----=_Part"
  end
  local stop = at + 1
  while true do
    stop = s:find('["\\]', stop)
    if not stop then return nil end
    if s:sub(stop, stop) == '"' then break end
    stop = stop + 2
  end
  return s:sub(at + 1, stop - 1):gsub('\\(["\\])', "%1"), stop + 1
end

--- 'form-data; name="a"' -> "form-data", {name = "a"}; nil if it is malformed,
--- or names something twice.
function multipart.parameters(s)
  local kind, at = s:match("^(" .. TOKEN .. "/?" .. CHAR .. "*)[ \t]*()")
  local list = {}
  if not kind then return nil end
  while not s:find("^;?[ \t]*$", at) do
    local name, value
    name, at = s:match("^;[ \t]*(" .. TOKEN .. ")=()", at)
    if not name then return nil end
    value, at = parameter(s, at)
    name = name:lower()
    if not value or list[name] then return nil end
    list[name] = value
    at = s:match("^[ \t]*()", at)
  end
  return kind:lower(), list
end

--- "UTF-8''na%C3%AFve" as UTF-8 (RFC 8187); nil if it is something else.
local function extended(s)
  local charset, escaped = s:match "^([^']*)'[^']*'(.*)$"
  local text = charset and uri.uridecode(escaped)
  if not text or text:find "[\0-\31\127]" then return nil end
  if charset:lower() == "iso-8859-1" then
    return (text:gsub("[\128-\255]", function(c)
      return utf8.char(c:byte())
    end))
  end
  return charset:lower() == "utf-8" and utf8.len(text) and text or nil
end

--- Name and file name of a part, or nil, nil and what is wrong with it.
local function disposition(headers, form)
  local value = headers["content-disposition"]
  if not value and not form then return nil end
  local kind, list = multipart.parameters(value or "")
  if not kind or form and (kind ~= "form-data" or not list.name) then
    return nil, nil, "bad Content-Disposition"
  end
  local filename = list.filename
  if list["filename*"] then
    filename = extended(list["filename*"])
    if not filename then return nil, nil, "bad Content-Disposition" end
  end
  return list.name, filename
end

-- ====}

-- {==== The parser ====

-- One function for each state: it looks at 's' from 'at' on, and returns with
-- what and where to go on, nil if it has used up all of it, or nil, nil and
-- what is wrong.
local states = {}

--- In a part, or before the first one: up to the line that ends it. Its first
--- byte, a CR, stands nowhere else in that line, so that there is one place
--- only where it may have begun in what is there so far.
function states.content(p, s, at, on)
  local first = at + p.borrowed
  local found, last = s:find(p.delimiter, at, true)
  local stop = found
  if not stop then
    stop = #s + 1
    local cr = s:match("^.*()\r", math.max(at, stop - #p.delimiter + 1))
    if cr and p.delimiter:find(s:sub(cr), 1, true) == 1 then stop = cr end
    p.held = s:sub(stop)
  end
  p.borrowed = math.max(0, first - stop)
  if p.headers and stop > first then on.data(s:sub(first, stop - 1)) end
  if not found then return nil end
  if p.headers then on.stop() end
  p.borrowed, p.state = 0, states.boundary
  return s, last + 1
end

--- Behind the boundary: the end of that line, or "--" after the last part.
function states.boundary(p, s, at)
  local stop = s:find("[^ \t]", at) or #s + 1
  p.padded = p.padded or stop > at
  local two = s:sub(stop, stop + 1)
  if two == "\r\n" then
    p.parts = p.parts + 1
    if p.parts > p.limits.max_parts then return nil, nil, "too many parts" end
    p.padded, p.state = false, states.header
    p.headers, p.size = {}, 0
    return s, stop + 2
  elseif two == "--" and not p.padded then
    p.state = states.epilogue
    return nil
  elseif two == "" or two == "\r" or two == "-" and not p.padded then
    p.held = two
    return nil
  end
  return nil, nil, "bad boundary line"
end

--- The header of a part, line by line.
function states.header(p, s, at, on)
  if at > #s then return nil end
  local newline = s:find("\n", at, true)
  local piece = s:sub(at, newline)
  p.size = p.size + #piece
  if p.size > p.limits.max_headers_size then
    return nil, nil, "headers too large"
  end
  p.line[#p.line + 1] = piece
  if not newline then return nil end
  local line = table.concat(p.line)
  p.line = {}
  if line ~= "\r\n" then
    if line:sub(-2) ~= "\r\n" or not addheader(p.headers, line:sub(1, -3)) then
      return nil, nil, "bad header"
    end
    return s, newline + 1
  end
  local name, filename, message = disposition(p.headers, p.form)
  if message then return nil, nil, message end
  on.part(p.headers, name, filename)
  -- An empty part may have no other CR LF before its boundary than this one.
  p.borrowed, p.state = 2, states.content
  if newline == 1 then s, newline = "\r" .. s, 2 end
  return s, newline - 1
end

--- Behind the last part: nothing counts any more.
function states.epilogue()
  return nil
end

--- Reads one multipart body.
---@class libevent.MultipartParser
local methods = {}
local NAME = "libevent.MultipartParser"
local Parser = {__index = methods, __name = NAME, __metatable = NAME}

local function nothing() end

--- Goes on with the next piece of the body, of any size. Calls `on_part` for
--- each part that begins, `on_data` for pieces of its content, which are not
--- empty, and `on_end` when it is complete. At the end of the body it is called
--- with nil, to see whether the last boundary has come. An error stays: it is
--- returned again for whatever follows. Raises if it is called by one of its
--- own callbacks, or after one has raised.
---
--- `filename` is what the client says: it may be "../../etc/passwd", or empty.
---
--- C: none
---@param data string|nil nil: that was all
---@param on_part? fun(headers: libevent.headers, name: string?,
--- filename: string?) with a name if it is multipart/form-data
---@param on_data? fun(data: string)
---@param on_end? fun()
---@return libevent.MultipartParser|nil parser
---@return string? message
function methods:feed(data, on_part, on_data, on_end)
  if getmetatable(self) ~= NAME then
    error(("calling 'feed' on bad self (%s expected, got %s)"):format(
      NAME, type(self)), 2)
  end
  if data ~= nil then data = expect.text(data, 1, "feed") end
  for n, f in pairs {[2] = on_part, [3] = on_data, [4] = on_end} do
    expect.that(type(f) == "function", n, "feed",
                "function expected, got " .. type(f))
  end
  if self.feeding then
    error("feed is called by its own callback, or after an error of one", 2)
  end
  if self.message then return nil, self.message end
  if data then
    local on = {part = on_part or nothing, data = on_data or nothing,
                stop = on_end or nothing}
    local s, at = self.held .. data, 1
    self.held, self.feeding = "", true
    while s do s, at, self.message = self.state(self, s, at, on) end
    self.feeding = false
  elseif self.state ~= states.epilogue then
    self.message = "the last boundary is missing"
  end
  if self.message then return nil, self.message end
  return self
end

-- ====}

-- {==== To begin with ====

local LIMITS = {max_headers_size = 16384, max_parts = 1000}

--- The limits that 'options' set, or nil and what is wrong with them.
function multipart.limits(options)
  local limits = {}
  for name, default in pairs(LIMITS) do limits[name] = default end
  if options ~= nil and type(options) ~= "table" then
    return nil, "table of options expected, got " .. type(options)
  end
  for name, value in pairs(options or {}) do
    if not LIMITS[name] then
      return nil, ("unknown option '%s' (known: max_headers_size, max_parts)")
                    :format(name)
    elseif value == false then
      value = math.huge
    elseif math.type(value) ~= "integer" or value < 0 then
      return nil, ("option '%s': integer from 0 on, or false, expected, got %s")
                    :format(name, type(value) == "number" and value
                                  or type(value))
    end
    limits[name] = value
  end
  return limits
end

--- A parser within these limits, or nil and a message.
function multipart.open(content_type, limits)
  if not content_type then return nil, "no Content-Type" end
  local kind, list = multipart.parameters(content_type)
  if not kind then return nil, "bad Content-Type" end
  if not kind:find "^multipart/." then return nil, "not multipart" end
  local boundary = list.boundary or ""
  if #boundary > 70 or not boundary:find "[^ ]$"
     or boundary:find "[^A-Za-z0-9'()+_,./:=? %-]" then
    return nil, "bad boundary"
  end
  -- As if a line ended before the body: the first boundary may begin it.
  return setmetatable({state = states.content, limits = limits, parts = 0,
    delimiter = "\r\n--" .. boundary, form = kind == "multipart/form-data",
    held = "\r\n", borrowed = 2, line = {}, padded = false}, Parser)
end

--- A parser for a body that arrives in pieces:
---
---     local parser = assert(http.multipart(content_type))
---     parser:feed(data, on_part, on_data, on_end)
---
--- Any multipart type will do; multipart/form-data must have a name for each
--- part. Options: `max_headers_size` (16384), the bytes of the header of one
--- part; `max_parts` (1000); false is no limit. nil and a message for another
--- type, or a boundary that cannot be.
---
--- C: none
---@param content_type? string nil, for a header that is not there: refused
---@param options? {max_headers_size: integer|false, max_parts: integer|false}
---@return libevent.MultipartParser|nil parser
---@return string? message
function multipart.multipart(content_type, options)
  if content_type ~= nil then
    content_type = expect.text(content_type, 1, "multipart")
  end
  local limits, message = multipart.limits(options)
  expect.that(limits, 2, "multipart", message)
  return multipart.open(content_type, limits)
end

-- ====}

return multipart
