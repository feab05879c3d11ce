--- The targets of parsers.c: each gets bytes and looks at what the library
--- makes of them, beside a second, plain way to say the same.

local parse = ...               -- functions of parsers.c

local libevent = require "libevent.core"
local base = libevent.base()

local targets = {}

-- {==== Text ====

--- What is told of an address is the address.
function targets.address(data)
  local ok, text = pcall(parse.address, data)
  if ok then assert(parse.address(text) == text, text) end
end

function targets.words(data)
  local known = {read = true, write = true, readwrite = true, r = true}
  local fits = not data:find "\0"
  for word in (data .. "|"):gmatch "([^|]*)|" do
    fits = fits and (known[word] or data == "")
  end
  local ok, text = pcall(parse.words, data)
  assert(ok == not not fits, text)
  if ok then assert(parse.words(text) == text, text) end
end

function targets.signal(data)
  local ok, number = pcall(parse.signal, data)
  local name = data:gsub("^SIG", "")
  assert(not ok or name:find "^%u+[12]?$")
  if ok then assert(parse.signal("SIG" .. name) == number) end
end

--- "::1", and "fe80::1%2" with the number of an interface or its name.
function targets.inet(data)
  local host, scope = data:match "^([^%%]*)%%(.*)$"
  local packed = libevent.inet_pton(data)
  local scoped, number = libevent.inet_pton_scope(data)
  if packed then
    assert(scoped == packed and number == 0)
    local text = libevent.inet_ntop(packed)
    assert(libevent.inet_pton(text) == packed, text)
  elseif scoped then
    assert(#scoped == 16 and libevent.inet_pton(host) == scoped)
    assert(parse.scope(scope) == number)
    assert(math.tointeger(scope) == number or not scope:find "^%d")
  end
  local address = #data < 99 and (data:find ":" and "[%s]:1" or "%s:1")
  if address and not data:find "^unix" then
    local ok = pcall(parse.address, address:format(data:gsub("\0.*", "%%")))
    assert(ok == (scoped ~= nil) or data:find "[\0%]]" or host)
  end
end

-- ====}

-- {==== Numbers ====

--- The next number of the bytes: integer or float, small or any.
local function number(data, at)
  local kind = data:byte(at) or 0
  local format = ({"B", "<h", "<i4", "<j", "<n", "<f"})[kind % 6 + 1]
  local size = string.packsize(format)
  return (string.unpack(format, (data:sub(at + 1) .. ("\0"):rep(8)))),
         at + 1 + size
end

function targets.seconds(data)
  local n = number(data, 1)
  local ok, seconds = pcall(parse.seconds, n)
  assert(ok == (n >= 0 and n <= 2147483647), n)
  assert(not ok or math.abs(seconds - n) < 1e-6, n)
end

function targets.integer(data)
  local n, at = number(data, 1)
  local min, max
  min, at = number(data, at)
  max = number(data, at)
  min = math.type(min) == "integer" and min or 0
  max = math.type(max) == "integer" and max or math.maxinteger
  local whole = math.tointeger(n)
  local ok, result = pcall(parse.integer, n, min, max)
  assert(ok == (whole ~= nil and whole >= min and whole <= max), n)
  assert(not ok or result == whole, n)
end

function targets.limits(data)
  local names = {"read", "write", "read_burst", "write_burst", "tick"}
  local limits, at = {}, 2
  for i, name in ipairs(names) do
    if (data:byte() or 0) >> i & 1 == 1 then
      limits[name], at = number(data, at)
    end
  end
  local ok, group = pcall(base.rate_limit_group, base, limits)
  if not ok then return end
  for _, name in ipairs {"read", "write"} do
    local left = group[name .. "_limit"](group)
    assert((left == nil) == (limits[name] == nil))
    assert(not left or left >= 1
           and left <= (limits[name .. "_burst"] or 1 << 31))
  end
  group:set_cfg(limits):close()
end

function targets.date(data)
  local n = number(data, 1)
  local ok, date = pcall(libevent.date_rfc1123, n)
  assert(ok == (n >= -62167219200 and n < 253402300800), n)
  if not ok then return end
  assert(#date == 29, date)
  if n >= -30610224000 then     -- os.date writes the year 999 in three digits
    assert(date == os.date("!%a, %d %b %Y %H:%M:%S GMT", n // 1 | 0), date)
  end
end

-- ====}

-- {==== Bytes in a buffer, beside the same bytes in a string ====

--- A buffer whose bytes lie in pieces of this size.
local function inpieces(bytes, size)
  local buffer = libevent.buffer()
  for at = 1, #bytes, size do
    buffer:add_buffer(libevent.buffer(bytes:sub(at, at + size - 1)))
  end
  return buffer
end

local styles = {"crlf", "crlf_strict", "lf", "nul", "any"}

--- The first end of a line in s at 'from' or later: its first and last byte.
local function findeol(s, style, from)
  if style == "crlf" then
    local at = s:find("\n", from, true)
    local cr = at and at > from and s:sub(at - 1, at - 1) == "\r"
    return cr and at - 1 or at, at
  elseif style == "any" then
    return s:find("[\r\n]+", from)
  end
  return s:find(({crlf_strict = "\r\n", lf = "\n", nul = "\0"})[style], from,
                true)
end

--- Bytes: the style, the longest line, the size of a piece, and the lines.
function targets.lines(data)
  local style = styles[(data:byte(1) or 0) % 5 + 1]
  local max = data:byte(2)
  local rest = data:sub(4)
  local buffer = inpieces(rest, math.max(data:byte(3) or 1, 1))
  repeat
    local first, last = findeol(rest, style, 1)
    local line, message = buffer:readln(style, max)
    local length = first and first - 1
                   or #rest:gsub(style:find "crlf" and "\r$" or "$", "", 1)
    if max and length > max then
      assert(line == nil and message == "line too long")
    elseif first then
      assert(line == rest:sub(1, first - 1))
      rest = rest:sub(last + 1)
    else
      assert(line == nil and message == nil)
    end
    assert(tostring(buffer) == rest)
  until line == nil
end

--- What one call of a buffer does, by a byte: the buffer and the string s with
--- the same bytes, and the bytes to use; the new string.
local calls = {
  function(buffer, s, bytes) buffer:add(bytes) return s .. bytes end,
  function(buffer, s, bytes) buffer:prepend(bytes) return bytes .. s end,
  function(buffer, s, bytes)
    assert(buffer:remove(#bytes) == s:sub(1, #bytes))
    return s:sub(#bytes + 1)
  end,
  function(buffer, s, bytes)
    buffer:drain(#bytes)
    return s:sub(#bytes + 1)
  end,
  function(buffer, s, bytes)
    local from, to = bytes:byte(-1) or 1, bytes:byte(-2)
    local what = bytes:sub(1, -3)
    local ok, at = pcall(buffer.search, buffer, what, from, to)
    assert(ok == (from >= 1 and from <= #s + 1))
    local found = ok and s:sub(1, to or #s):find(what, from, true)
    assert(not ok or at == found)
    return s
  end,
  function(buffer, s, bytes)
    local style = styles[(bytes:byte() or 0) % 5 + 1]
    local from = bytes:byte(2) or 1
    local ok, at, length = pcall(buffer.search_eol, buffer, style, from)
    assert(ok == (from >= 1 and from <= #s + 1))
    local first, last = nil, nil
    if ok then first, last = findeol(s, style, from) end
    assert(not ok or at == first and (at == nil or length == last - at + 1))
    return s
  end,
  function(buffer, s, bytes)
    local n, from = bytes:byte(1) or 0, bytes:byte(2) or 1
    local ok, copy = pcall(buffer.copyout, buffer, n, from)
    assert(ok == (from >= 1 and from <= #s + 1))
    assert(not ok or copy == s:sub(from, from + n - 1))
    return s
  end,
  function(buffer, s, bytes)
    local from = bytes:byte() or 1
    local ok, piece = pcall(buffer.peek, buffer, from)
    assert(ok == (from >= 1 and from <= #s + 1))
    assert(not piece or not ok or #piece > 0
           and piece == s:sub(from, from + #piece - 1))
    return s
  end,
  function(buffer, s, bytes)
    local other = inpieces(bytes, 3)
    buffer:add_buffer_reference(other)
    return s .. bytes
  end,
  function(buffer, s, bytes)
    local other = libevent.buffer()
    assert(buffer:remove_buffer(other, #bytes) == math.min(#bytes, #s))
    assert(tostring(other) == s:sub(1, #bytes))
    buffer:prepend_buffer(other)
    return s
  end,
  function(buffer, s, bytes)
    buffer:expand(#bytes * 99)
    return s
  end
}

--- Bytes: one for the call, one for how many it uses, and those.
function targets.buffer(data)
  local buffer, s = libevent.buffer(), ""
  local at = 1
  while at <= #data do
    local call = calls[data:byte(at) % #calls + 1]
    local n = (data:byte(at + 1) or 0) % 32
    s = call(buffer, s, data:sub(at + 2, at + 1 + n))
    assert(tostring(buffer) == s and #buffer == #s)
    local pieces = {}
    for piece in buffer:chunks() do pieces[#pieces + 1] = piece end
    assert(table.concat(pieces) == s)
    at = at + 2 + n
  end
end

-- ====}

for name, target in pairs(loadfile "spec/fuzz/http_parsers.lua"(parse)) do
  targets[name] = target
end

return targets
