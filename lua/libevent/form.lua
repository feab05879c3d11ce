--- libevent.form: what forms send, in a query or in a body, read and written.

local expect = require "libevent.expect"
local multipart = require "libevent.multipart"
local uri = require "libevent.uri"

--- Pairs {name, value} in their order at 1, 2, ..., and each first value under
--- its name. The pair of a file has a `filename` too, and a `content_type`, if
--- it was sent.
---@alias libevent.fields {[integer]: libevent.field, [string]: string}
---@class libevent.field
---@field [1] string name
---@field [2] string value
---@field filename? string
---@field content_type? string

--- What can be sent: such a list, or a table {name = value}, in which a value
--- may be a list of values; names are sorted then.
---@alias libevent.fieldsource libevent.fields
---| {[string]: string|number|(string|number)[]}

---@class libevent.form
local form = {}

local function add(list, pair)
  list[#list + 1] = pair
  list[pair[1]] = list[pair[1]] or pair[2]
end

-- {==== Reading ====

local function parse(s, max)
  local list = {}
  for piece in s:gmatch "[^&]+" do
    if #list >= max then return nil, "too many parts" end
    local name, value = piece:match "^([^=]*)=?(.*)$"
    add(list, {uri.decode(name, true), uri.decode(value, true)})
  end
  return list
end

--- Takes a query, "a=1&b=x+y&a=2", apart: names and values decoded, "+" is a
--- space. A name without "=" has the value "". Nothing is refused: a "%" that
--- begins no escape stays as it is, as in browsers.
---
--- C: `evhttp_parse_query_str`
---@param s? string without the "?"; nil, for a URI without a query, is empty
---@return libevent.fields fields
function form.parse_query(s)
  if s == nil then return {} end
  return parse(expect.text(s, 1, "parse_query"), math.huge)
end

local function collect(content_type, body, limits)
  local parser, message = multipart.open(content_type, limits)
  if not parser then return nil, message end
  local list, pair, pieces = {}, nil, nil
  parser, message = parser:feed(body, function(headers, name, filename)
    pair = {name, nil, filename = filename,
            content_type = headers["content-type"]}
    pieces = {}
  end, function(data)
    pieces[#pieces + 1] = data
  end, function()
    pair[2] = table.concat(pieces)
    add(list, pair)
  end)
  if parser then parser, message = parser:feed(nil) end
  if not parser then return nil, message end
  return list
end

--- The fields of a form that was sent as a body: "application/
--- x-www-form-urlencoded" (read like a query) or "multipart/form-data". A
--- `filename` is what the client says: it may be "../../etc/passwd", or empty.
--- nil and a message for another type, and for a body that is malformed,
--- incomplete, or beyond a limit (see `http.multipart`).
---
--- C: none
---@param content_type? string nil, for a header that is not there: refused
---@param body string
---@param options? {max_headers_size: integer|false, max_parts: integer|false}
---@return libevent.fields|nil fields
---@return string? message
function form.parse_form(content_type, body, options)
  if content_type ~= nil then
    content_type = expect.text(content_type, 1, "parse_form")
  end
  body = expect.text(body, 2, "parse_form")
  local limits, message = multipart.limits(options)
  expect.that(limits, 3, "parse_form", message)
  local kind = multipart.parameters(content_type or "")
  if kind == "application/x-www-form-urlencoded" then
    return parse(body, limits.max_parts)
  elseif kind and kind ~= "multipart/form-data" then
    return nil, "not a form"
  end
  return collect(content_type, body, limits)
end

-- ====}

-- {==== Writing ====

local KNOWN = {true, true, filename = true, content_type = true}

--- A string or a number as a string; nil otherwise.
local function text(value)
  return (type(value) == "string" or type(value) == "number")
         and tostring(value) or nil
end

--- A copy of one pair of a list, or nil and what is wrong with it.
local function checkpair(pair, i)
  if type(pair) ~= "table" or not (text(pair[1]) and text(pair[2])) then
    return nil, ("field %d: {name, value} expected"):format(i)
  end
  for key, value in pairs(pair) do
    if not KNOWN[key] then
      return nil, ("field %d: unknown key '%s' (known: filename, content_type)")
                    :format(i, key)
    elseif not text(value) then
      return nil, ("field %d: %s: string expected, got %s"):format(i, key,
                                                                 type(value))
    end
  end
  return {text(pair[1]), text(pair[2]), filename = text(pair.filename),
          content_type = text(pair.content_type)}
end

--- The pairs of {name = value}, or nil and what is wrong with it.
local function frommap(map)
  local names, list = {}, {}
  for name in pairs(map) do
    if type(name) ~= "string" then
      return nil, ("field '%s': name expected, got %s"):format(name, type(name))
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local values = map[name]
    if type(values) ~= "table" then values = {values} end
    for _, value in ipairs(values) do
      if not text(value) then
        return nil, ("field '%s': string expected, got %s"):format(name,
                                                                 type(value))
      end
      list[#list + 1] = {name, text(value)}
    end
  end
  return list
end

--- The pairs of what is to be sent, or nil and what is wrong with it.
local function check(fields)
  if type(fields) ~= "table" then
    return nil, "table expected, got " .. type(fields)
  end
  if fields[1] == nil then return frommap(fields) end
  local list = {}
  for i, pair in ipairs(fields) do
    local checked, message = checkpair(pair, i)
    if not checked then return nil, message end
    list[i] = checked
  end
  return list
end

--- Writes a query, "a=1&b=x+y", or the body of a form of the type
--- "application/x-www-form-urlencoded". Of a file its content is sent, as if it
--- were typed in.
---
--- C: none
---@param fields libevent.fieldsource
---@return string query
function form.build_query(fields)
  local list, message = check(fields)
  expect.that(list, 1, "build_query", message)
  for i, pair in ipairs(list) do
    list[i] = uri.uriencode(pair[1], true) .. "="
              .. uri.uriencode(pair[2], true)
  end
  return table.concat(list, "&")
end

local function quoted(s)
  return '"' .. s:gsub('["\\]', "\\%0") .. '"'
end

--- A line that stands nowhere in what is sent.
local function newboundary(list)
  local boundary, taken
  repeat
    boundary = ("lua-libevent-%016x%016x"):format(math.random(0),
                                                  math.random(0))
    taken = false
    for _, pair in ipairs(list) do
      taken = taken or pair[2]:find(boundary, 1, true)
    end
  until not taken
  return boundary
end

--- Writes a form as "multipart/form-data". A field with a `filename` is a file;
--- its `content_type` is "application/octet-stream" unless it is given. Raises
--- for control characters in names and types.
---
--- C: none
---@param fields libevent.fieldsource
---@return string body
---@return string content_type with the boundary
function form.build_multipart(fields)
  local list, message = check(fields)
  expect.that(list, 1, "build_multipart", message)
  local pieces, boundary = {}, newboundary(list)
  for i, pair in ipairs(list) do
    local kind = pair.content_type
    local header = "form-data; name=" .. quoted(pair[1])
    if pair.filename then
      header = header .. "; filename=" .. quoted(pair.filename)
      kind = kind or "application/octet-stream"
    end
    expect.that(not (header .. (kind or "")):find "[\0-\31\127]", 1,
      "build_multipart", "control character in the header of field " .. i)
    pieces[#pieces + 1] = "--" .. boundary .. "\r\nContent-Disposition: "
      .. header .. (kind and "\r\nContent-Type: " .. kind or "") .. "\r\n\r\n"
    pieces[#pieces + 1] = pair[2]
    pieces[#pieces + 1] = "\r\n"
  end
  pieces[#pieces + 1] = "--" .. boundary .. "--\r\n"
  return table.concat(pieces), "multipart/form-data; boundary=" .. boundary
end

-- ====}

return form
