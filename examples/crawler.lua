-- Crawler: asks for a page and for all on the same host that it leads to, and
-- prints what each answers and how long it is. A task for each page; so many of
-- them ask at a time.
--   lua5.4 examples/crawler.lua url [limit]      (8)
-- Try it: lua5.4 examples/static_server.lua some/directory &
--   lua5.4 examples/crawler.lua http://127.0.0.1:8081/
local co = require "libevent.co"
local http = require "libevent.http"

if not arg[1] then
  io.stderr:write "usage: crawler.lua url [limit]\n"
  os.exit(1)
end
local places = co.semaphore(tonumber(arg[2] or 8))
local origin = http.uri_parse(arg[1])
local seen, pages, bytes, broken = {}, 0, 0, 0

local visit

-- Where a link of a page leads to is visited, if that is on the host.
local function follow(from, link)
  local url = http.uri_resolve(from, (link:gsub("#.*", ""):gsub("&amp;", "&")))
  local to = url and http.uri_parse(url)
  if to and to.scheme == origin.scheme and to.host == origin.host
     and to.port == origin.port and not seen[url] then
    seen[url] = true
    co.spawn(visit, url)
  end
end

function visit(url)
  local _ <close> = places:place()              -- waits for one
  local response, message = co.http.get(url, {redirects = 0, timeout = 10})
  if not response then
    broken = broken + 1
    return print("   -", "-", url, message)
  end
  local status, headers, body = response.status, response.headers, response.body
  pages, bytes = pages + 1, bytes + #body
  if status >= 400 then broken = broken + 1 end
  print(("%4d"):format(status), #body, url)
  if headers.location then follow(url, headers.location) end
  if (headers["content-type"] or ""):find "^text/html" then
    for name, link in body:gmatch "(%a+)%s*=%s*[\"']([^\"']*)" do
      name = name:lower()
      if name == "href" or name == "src" then follow(url, link) end
    end
  end
end

io.stdout:setvbuf "line"
co.run(follow, arg[1], "")                      -- until no task is left
print(("%d answers, %d bytes, %d broken"):format(pages, bytes, broken))
