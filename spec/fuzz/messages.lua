--- Messages of HTTP, right ones and others, and how they come.

local random = math.random
local messages = {}

local function one(list) return list[random(#list)] end
messages.one = one

local function bytes(n)
  local list = {}
  for i = 1, n do list[i] = string.char(random(0, 255)) end
  return table.concat(list)
end

-- {==== Parts ====

local odd = {
  "X: y", "x:y ", "Cookie: a=b; c=d", "X: \t \tspaces\t", "X:", "A: \xff\x80",
  "Connection: close", "Connection: keep-alive", "Connection: upgrade, close",
  "Upgrade: x", "Expect: 100-continue", "Expect: more", "Content-Length: 0",
  "Content-Length: 3", "Content-Length: +3", "Content-Length: 3, 3",
  "Content-Length : 3", "Content-Length: 99999999999999999999",
  "Content-Length: 0x3", "Transfer-Encoding: chunked",
  "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity",
  "Transfer-Encoding:chunked\t", "Host: other", "Host: [::1]:80", "Host: a b",
  " folded", "no colon", ": empty", "X: a\0b", "X: a\rb", "X\n: y", "",
  "X: " .. ("long"):rep(600)
}

local function fields(list)
  for _ = 1, one {0, 0, 1, 2, 4, 120} do list[#list + 1] = one(odd) end
  return table.concat(list, "\r\n") .. "\r\n\r\n"
end

--- The body in chunks, with trailers.
local function chunked(body)
  local list, at = {}, 1
  while at <= #body do
    local n = random(#body - at + 1)
    local extension = random(5) == 1 and ";a=\"b\"" or ""
    list[#list + 1] = ("%x%s\r\n%s\r\n"):format(n, extension,
                                                body:sub(at, at + n - 1))
    at = at + n
  end
  return table.concat(list) .. "0\r\n" .. one {"", "", "Sum: 1\r\n"} .. "\r\n"
end

--- With its field, in one of the two framings.
local function framed(body)
  if random(2) == 1 then
    return "Content-Length: " .. #body .. "\r\n\r\n" .. body
  end
  return "Transfer-Encoding: chunked\r\n\r\n" .. chunked(body)
end

--- Text of any length that is kept whole by all that takes less than 2,000
--- bytes.
function messages.body()
  return bytes(one {0, 1, 5, 100, 1999})
end

--- More than one read, or one send, takes.
function messages.large()
  return ("large "):rep(random(10000, 60000))
end

-- ====}

-- {==== Messages ====

local methods = {"GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE",
                 "OPTIONS", "PATCH", "TRACE", "CONNECT", "MOVE", "get", "G@T",
                 "", ("M"):rep(30)}
local targets = {"*", "http://host/whole", "http://[::1]:1/echo?x", "host:80",
                 "/%77hole", "/a/../echo", "/../echo", "/echo/..", "/%00",
                 "/%", "//", "/down?a=b&a=%20+c&&=", "/?%61=%&b&=c&a=%zz",
                 "http:///", "ftp://a/",
                 "/a b", "/\xff", "/" .. ("long"):rep(600)}

--- A request, right or not, to one of the paths.
function messages.request(paths)
  local target = random(3) > 1 and one(paths) or one(targets)
  local version = random(9) > 1 and "HTTP/1.1"
                  or one {"HTTP/1.0", "HTTP/1.7", "HTTP/2.0", "HTTP/1.1 ", "X"}
  local list = {one(methods) .. " " .. target .. " " .. version}
  if random(20) > 1 then list[2] = "Host: host" end
  local body = messages.body()
  local r = random(4)
  if r == 1 then return fields(list) end
  local head = fields(list):sub(1, -3)
  if r == 2 then head = head .. "Expect: 100-continue\r\n" end
  return head .. framed(body)
end

local answers = {
  function(body) return "200 OK\r\n" .. framed(body) end,
  function(body) return "200 \r\nX: y\r\n" .. framed(body) end,
  function(body) return "200\r\nConnection: close\r\n\r\n" .. body end,
  function(body) return "200 OK\r\nConnection: close\r\n" .. framed(body) end,
  function() return "204 No Content\r\n\r\n" end,
  function() return "304 Not Modified\r\nContent-Length: 9\r\n\r\n" end,
  function(body) return "404 Not Found\r\n" .. framed(body) end,
}

--- The answer to a request, as a server gives it.
local function answer(body)
  local early = one {"", "", "HTTP/1.1 100 Continue\r\n\r\n",
                     "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"}
  return early .. "HTTP/1.1 " .. one(answers)(body)
end

--- An answer, right or not, or several.
function messages.answer()
  local r = random(8)
  if r == 1 then return answer(messages.body()) .. answer(messages.body()) end
  if r == 2 then
    return "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
           .. messages.body()
  end
  if r == 3 then
    return fields {"HTTP/1." .. random(0, 2) .. " " .. one {200, 99, 1000, "x"}}
  end
  if r == 4 then return bytes(random(0, 40)) end
  return answer(messages.body())
end

--- A right answer with that body.
function messages.honest(body)
  return "HTTP/1.1 200 OK\r\n" .. framed(body)
end

--- A right request, framed at random.
function messages.ask(method, path, body, last)
  local head = ("%s %s HTTP/1.1\r\nHost: h\r\n%s"):format(
    method, path, last and "Connection: close\r\n" or "")
  return head .. (body and framed(body) or "\r\n")
end

-- ====}

-- {==== Changes ====

local changes = {
  function(s, i) return s:sub(1, i - 1) .. bytes(1) .. s:sub(i + 1) end,
  function(s, i) return s:sub(1, i - 1) .. one {"\0", "\r", "\n", "\r\n", " ",
                        ":", "\r\n\r\n", "\t", "9", "f", "-"} .. s:sub(i) end,
  function(s, i) return s:sub(1, i) end,
  function(s, i) return s:sub(1, i) .. bytes(random(20)) .. s:sub(i + 1) end,
  function(s, i) return s:sub(1, i) .. s:sub(random(i), -1) end,
  function(s, i) return s:sub(1, i - 1) .. s:sub(i + random(10)) end,
}

function messages.mutate(s)
  for _ = 1, one {0, 0, 1, 1, 2, 5} do
    if #s > 0 then s = one(changes)(s, random(#s)) end
  end
  return s
end

--- The text in the pieces that it comes in.
function messages.pieces(s)
  local list, at = {}, 1
  local most = math.max(one {1, 30, 300, 3000, 100000}, #s // 100)
  while at <= #s do
    local n = random(most)
    list[#list + 1] = s:sub(at, at + n - 1)
    at = at + n
  end
  return list
end

-- ====}

-- {==== Answers, read plainly ====

local function readchunks(s, at)
  local list = {}
  while true do
    local digits, from = s:match("^(%x+)\r\n()", at)
    local n = assert(tonumber(digits, 16), "a chunk has no size")
    if n == 0 then
      local past = assert(s:match("^\r\n()", from)
                          or s:match("^Sum: 1\r\n\r\n()", from))
      return table.concat(list), past
    end
    list[#list + 1] = s:sub(from, from + n - 1)
    assert(#s >= from + n + 1, "a chunk is cut")
    assert(s:sub(from + n, from + n + 1) == "\r\n", "a chunk has no end")
    at = from + n + 2
  end
end

--- The next answer of a text that is all there -> status, body, and where the
--- one after it begins. To this method; "" if nobody knows.
function messages.read(s, at, method)
  local status, from = s:match("^HTTP/1%.1 (%d%d%d) [ -~]*\r\n()", at)
  assert(status, "no answer: " .. s:sub(at, at + 50))
  local past = assert(s:match("\r\n\r\n()", from - 2), "no end of a head")
  local head = s:sub(from, past - 3):lower()
  local length = tonumber(head:match "content%-length: (%d+)\r\n")
  if status:find "^1" then return messages.read(s, past, method) end
  if method == "HEAD" or status == "204" or status == "304" then
    return tonumber(status), "", past
  elseif length then
    assert(#s >= past + length - 1, "the body is cut")
    return tonumber(status), s:sub(past, past + length - 1), past + length
  elseif head:find "transfer%-encoding: chunked\r\n" then
    local body, after = readchunks(s, past)
    return tonumber(status), body, after
  end
  return tonumber(status), s:sub(past), #s + 1
end

-- ====}

return messages
