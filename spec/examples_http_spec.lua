-- The examples of HTTP: servers as real processes, asked by curl.
local lfs = require "lfs"
local curl = require "spec.curl"
local process = require "spec.process"
local sockets = require "spec.sockets"
local t = require "spec.helper"

local start, shell, wait = process.start, process.shell, process.wait

local cleanup, ends, folder = process.cleanup, process.ends, process.folder

-- A server on a free port, and where it is.
local function serve(script, arguments)
  local p = start(("%s %s 127.0.0.1:0"):format(
    script:find "/" and script or "examples/" .. script .. ".lua",
    arguments or ""))
  return p, (p:expect " on (127%.0%.0%.1:%d+)\n")
end

-- The same with an example in which something is different.
local function changed(name, pattern, text, arguments)
  local code, n = t.contents("examples/" .. name .. ".lua"):gsub(pattern, text)
  assert.equal(1, n)
  local path = t.write(code)
  local p, address = serve(path, arguments)
  os.remove(path)
  return p, address
end

-- What an answer is: status, type and body.
local function answer(arguments)
  local status, headers, body = curl(arguments)
  return {status, headers["content-type"], body}
end

-- The names in a folder, sorted.
local function names(path)
  local list = {}
  for name in lfs.dir(path) do
    if name ~= "." and name ~= ".." then list[#list + 1] = name end
  end
  table.sort(list)
  return table.concat(list, " ")
end

describe("Every HTTP example", function()
  after_each(cleanup)

  it("says in a line that it cannot listen", function()
    local _, address = serve "http_server"
    for name, arguments in pairs {
      http_server = "", http_gencb = "", static_server = ".",
      upload_server = ".", events_page = "", json_service = "",
    } do
      local text, status = start(("examples/%s.lua %s %s"):format(name,
        arguments, address)):finish()
      assert.equal(("cannot listen on %s: Address already in use\n"):format(
        address), text)
      assert.equal(1, status)
    end
  end)

  it("ends on both signals", function()
    for name, arguments in pairs {
      http_server = "", http_gencb = "", static_server = ".",
      upload_server = ".", events_page = "", json_service = "",
    } do
      ends(serve(name, arguments), "INT")
      ends(serve(name, arguments), "TERM")
    end
  end)
end)

describe("Example http_server", function()
  after_each(cleanup)

  local PLAIN = "text/plain; charset=utf-8"

  it("answers GET and POST, each on its path", function()
    local p, address = serve "http_server"
    assert.same({200, PLAIN, "hello\n"}, answer(address .. "/hello/get"))
    assert.same({200, PLAIN, "hello\n"},
                answer("--http1.0 " .. address .. "/hello/get?x=1"))
    assert.same({200, PLAIN, "hello, 10 bytes: some words\n"},
                answer("-d \"some words\" " .. address .. "/hello/post"))
    assert.same({200, PLAIN, "hello, 0 bytes: \n"},
                answer("-X POST " .. address .. "/hello/post"))
    local status, headers, body = curl("-I " .. address .. "/hello/get")
    assert.same({200, "6", ""}, {status, headers["content-length"], body})
    ends(p)
  end)

  it("knows nothing else", function()
    local p, address = serve "http_server"
    for _, path in ipairs {"/", "/hello", "/hello/get/", "/hello/gets",
                           "/Hello/get"} do
      assert.equal(404, (curl(address .. path)))
    end
    for method, path in pairs {POST = "/hello/get", GET = "/hello/post",
                               PUT = "/hello/post", DELETE = "/hello/get"} do
      local status, headers = curl(("-X %s %s%s"):format(method, address, path))
      assert.same({405, path:match "%l+$":upper()}, {status, headers.allow})
    end
    ends(p)
  end)

  it("asks for two paths on one connection, and for a large body", function()
    local p, address = serve "http_server"
    local text = shell(("env -u LD_PRELOAD curl -sS -w \"%%{num_connects}\\n\""
      .. " %s/hello/get %s/hello/get"):format(address, address))
    assert.equal("hello\n1\nhello\n0\n", text)
    local path = t.write(("x"):rep(500000))
    for _, how in ipairs {"", "-H \"Transfer-Encoding: chunked\"",
                          "-H \"Expect: 100-continue\""} do
      assert.same({200, PLAIN, "hello, 500000 bytes: " .. ("x"):rep(500000)
                   .. "\n"}, answer(("--data-binary @%s %s %s/hello/post")
                                    :format(path, how, address)))
    end
    t.write(("x"):rep(2^20 + 1), path)
    assert.equal(413, (curl(("--data-binary @%s %s/hello/post"):format(path,
                                                                     address))))
    os.remove(path)
    ends(p)
  end)

  it("gives up on those who dawdle", function()
    assert.truthy(t.contents "examples/http_server.lua"
                  :find("set_timeout(5)", 1, true))
    local p, address = changed("http_server", "set_timeout%(5%)",
                               "set_timeout(0.2)")
    local client = sockets.dial(address:match "%d+$")
    assert(client:send "GET /hello/get HTTP/1.1\r\nHost: x\r\n")
    assert.matches("^HTTP/1.1 408 ", client:receive "*a")
    client:close()
    client = sockets.dial(address:match "%d+$")
    assert(client:send "GET /hello/get HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.matches("^HTTP/1.1 200 OK\r\n.*\r\n\r\nhello\n$",
                   client:receive "*a")
    client:close()
    ends(p)
  end)

  it("lets requests in progress end after SIGTERM", function()
    local p, address = serve "http_server"
    local port = address:match "%d+$"
    local idle, client = sockets.dial(port), sockets.dial(port)
    assert(idle:send "GET /hello/get HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.equal("HTTP/1.1 200 OK", idle:receive())
    assert(client:send
      "POST /hello/post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
    assert.equal(200, (curl(address .. "/hello/get")))  -- so that has arrived
    p:kill "TERM"
    assert.matches("hello\n$", idle:receive "*a")
    assert.equal(0, (curl(address .. "/hello/get")))
    assert(client:send "cd")
    local text = client:receive "*a"
    assert.matches("\r\nConnection: close\r\n", text)
    assert.matches("\r\n\r\nhello, 4 bytes: abcd\n$", text)
    client:close()
    idle:close()
    assert.equal(0, select(2, p:finish()))
  end)
end)

describe("Example http_gencb", function()
  after_each(cleanup)

  it("answers with what it has been asked", function()
    local p, address = serve "http_gencb"
    local status, _, body = curl(("-A me -d \"some words\" "
      .. "\"%s/a%%20path/../b%%2B?k=v+w&k=%%26\""):format(address))
    assert.equal(200, status)
    assert.equal(("method: POST\npath: /b+\nversion: 1.1\nquery: k = v w\n"
      .. "query: k = &\nheader: host: %s\nheader: user-agent: me\n"
      .. "header: accept: */*\nheader: content-length: 10\nheader: "
      .. "content-type: application/x-www-form-urlencoded\n\nsome words")
      :format(address), body)
    p:expect "127%.0%.0%.1:%d+: POST /a%%20path/%.%./b%%2B%?k=v%+w&k=%%26\n"
    ends(p)
  end)

  it("is asked by every method that is allowed", function()
    local p, address = serve "http_gencb"
    for _, method in ipairs {"GET", "POST", "PUT", "DELETE", "OPTIONS",
                             "PATCH"} do
      local _, _, body = curl(("-X %s %s/"):format(method, address))
      assert.matches("^method: " .. method .. "\npath: /\n", body)
    end
    assert.equal(405, (curl("-X TRACE " .. address)))
    assert.equal(501, (curl("-X BREW " .. address)))
    assert.equal(400, (curl(address .. "/../etc/passwd")))
    ends(p)
  end)
end)

describe("Example static_server", function()
  after_each(cleanup)

  local NOW = os.time {year = 2024, month = 1, day = 2, hour = 3}
  local HTML = "text/html; charset=utf-8"

  local function serving()
    local root = folder()
    t.write("<h1>index</h1>\n", root .. "/index.html")
    t.write("0123456789", root .. "/ten.txt")
    t.write("", root .. "/empty.bin")
    lfs.mkdir(root .. "/sub")
    lfs.mkdir(root .. "/sub/none")
    t.write("<h1>sub</h1>\n", root .. "/sub/index.html")
    t.write("secret", root .. "/.secret")
    lfs.touch(root .. "/ten.txt", NOW, NOW)
    local p, address = serve("static_server", root)
    return p, address, root
  end

  it("sends files with their types, and indexes of directories", function()
    local p, address, root = serving()
    t.write("a name", root .. "/a b+ä.json")
    assert.same({200, HTML, "<h1>index</h1>\n"}, answer(address))
    assert.same({200, HTML, "<h1>sub</h1>\n"}, answer(address .. "/sub/?x=1"))
    assert.same({200, "text/plain; charset=utf-8", "0123456789"},
                answer(address .. "//ten.txt"))
    assert.same({200, "application/octet-stream", ""},
                answer(address .. "/empty.bin"))
    assert.same({200, "application/json", "a name"},
                answer(address .. "/a%20b+%C3%A4.json"))
    ends(p)
  end)

  it("sends a head without the file", function()
    local p, address = serving()
    local status, headers, body = curl("-I -r 1-2 " .. address .. "/ten.txt")
    assert.same({200, "10", "bytes", ""}, {status, headers["content-length"],
                headers["accept-ranges"], body})
    ends(p)
  end)

  it("sends who forgets the slash behind a directory there", function()
    local p, address = serving()
    for path, target in pairs {["/sub"] = "/sub/", ["/sub/none"] = "/sub/none/",
                               ["/sub?x=/y"] = "/sub/",
                               ["/none/../sub"] = "/sub/"} do
      local status, _, _, url = curl(("\"%s%s\""):format(address, path),
                                     "%{redirect_url}")
      assert.same({301, "http://" .. address .. target}, {status, url})
    end
    assert.same({200, HTML, "<h1>sub</h1>\n"}, answer("-L " .. address
                                                      .. "/sub"))
    ends(p)
  end)

  it("finds nothing elsewhere", function()
    local p, address, root = serving()
    os.execute(("ln -s /etc %s/etc; ln -s ten.txt %s/link.txt; mkfifo %s/fifo")
               :format(root, root, root))
    for _, path in ipairs {"/nothing", "/sub/none/", "/ten.txt/", "/ten.txt/x",
                           "/index.html/", "/.secret", "/etc/passwd", "/etc/",
                           "/link.txt", "/fifo", "/a%5C..%5C", "/sub/.."
                           .. "/.secret", "/%2Esecret"} do
      assert.same({404, path}, {(curl(address .. path)), path})
    end
    for _, path in ipairs {"/..", "/../../etc/passwd", "/sub/../../etc/passwd",
                           "/%2e%2e/%2e%2e/etc/passwd", "/..%2Fetc/passwd",
                           "/ten.txt%00.html"} do
      assert.same({400, path}, {(curl(address .. path)), path})
    end
    local status, headers = curl("-d x " .. address)
    assert.same({405, "GET, HEAD"}, {status, headers.allow})
    ends(p)
  end)

  it("sends a part", function()
    local p, address = serving()
    for range, expected in pairs {
      ["2-4"] = {206, "bytes 2-4/10", "234"},
      ["0-0"] = {206, "bytes 0-0/10", "0"},
      ["7-"] = {206, "bytes 7-9/10", "789"},
      ["-3"] = {206, "bytes 7-9/10", "789"},
      ["-99"] = {206, "bytes 0-9/10", "0123456789"},
      ["5-99999999999999999999"] = {206, "bytes 5-9/10", "56789"},
      ["10-"] = {416, "bytes */10", ""},
      ["-0"] = {416, "bytes */10", ""},
      ["99999999999999999999-"] = {416, "bytes */10", ""},
      ["5-3"] = {200, nil, "0123456789"},
      ["1-2,4-5"] = {200, nil, "0123456789"},
      ["x"] = {200, nil, "0123456789"},
    } do
      local status, headers, body = curl(("-H \"Range: bytes=%s\" %s/ten.txt")
                                         :format(range, address))
      assert.same({range, expected[1], expected[3]}, {range, status, body})
      assert.equal(expected[2], headers["content-range"])
    end
    ends(p)
  end)

  it("goes on where a download broke off, if it is still the same", function()
    local p, address, root = serving()
    local path = t.write "01234"
    assert.truthy(shell(("env -u LD_PRELOAD curl -sS -C - -o %s %s/ten.txt")
                        :format(path, address)))
    assert.equal("0123456789", t.contents(path))
    os.remove(path)
    local _, headers = curl(address .. "/ten.txt")
    for _, condition in ipairs {headers.etag, headers["last-modified"]} do
      local arguments = ("-r 8- -H \"If-Range: %s\" %s/ten.txt"):format(
        condition:gsub("\"", "\\\""), address)
      assert.equal(206, (curl(arguments)))
      t.write("9876543210", root .. "/ten.txt")
      local status, _, body = curl(arguments)
      assert.same({200, "9876543210"}, {status, body})
      lfs.touch(root .. "/ten.txt", NOW, NOW)
    end
    ends(p)
  end)

  it("does not send what a cache has", function()
    local p, address, root = serving()
    local _, headers = curl(address .. "/ten.txt")
    local tag = headers.etag:gsub("\"", "\\\"")
    local function get(header)
      local status, _, body = curl(("-H \"%s\" %s/ten.txt"):format(header,
                                                                   address))
      assert.equal(status == 304 and "" or "0123456789", body)
      return status
    end
    local since = "If-Modified-Since: "
    assert.equal(304, get("If-None-Match: " .. tag))
    assert.equal(304, get("If-None-Match: \\\"x\\\", W/" .. tag))
    assert.equal(304, get "If-None-Match: *")
    assert.equal(200, get "If-None-Match: \\\"x\\\"")
    assert.equal(304, get(since .. headers["last-modified"]))
    assert.equal(304, get(since .. "Fri, 01 Jan 2027 00:00:00 GMT"))
    assert.equal(200, get(since .. "Sun, 06 Nov 1994 08:49:37 GMT"))
    assert.equal(200, get(since .. "yesterday"))
    assert.equal(200, get("If-None-Match: \\\"x\\\"\" -H \"" .. since
                          .. headers["last-modified"]))
    lfs.touch(root .. "/ten.txt", NOW + 1, NOW + 1)
    assert.equal(200, get("If-None-Match: " .. tag))
    assert.equal(200, get(since .. headers["last-modified"]))
    ends(p)
  end)

  it("ends the connection when a file shrinks meanwhile, and serves on",
  function()
    local p, address, root = serving()
    os.execute(("truncate -s 100M %s/large"):format(root))
    local client = sockets.dial(address:match "%d+$")
    assert(client:send "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.equal("HTTP/1.1 200 OK", client:receive())
    os.execute(("truncate -s 10 %s/large"):format(root))
    local _, err, rest = client:receive(100 * 2^20 // 1)
    assert.equal("closed", err)
    assert.is_true(#rest < 50e6, #rest)
    client:close()
    assert.equal(200, (curl(address .. "/ten.txt")))
    ends(p)
  end)

  it("needs a directory", function()
    local text, status = start "examples/static_server.lua README.md":finish()
    assert.same({"README.md is no directory\n", 1}, {text, status})
  end)
end)

describe("Example upload_server", function()
  after_each(cleanup)

  local function serving()
    local root = folder()
    local p, address = serve("upload_server", root)
    return p, address, root
  end

  it("takes files by PUT, of a known length or not", function()
    local p, address, root = serving()
    assert.equal(201, (curl(("-T README.md %s/a.md"):format(address))))
    assert.equal(201, (curl(("-T - %s/b.md <README.md"):format(address))))
    assert.equal(201, (curl(("-H \"Expect: 100-continue\" -T README.md "
                             .. "%s/c%%20d.md"):format(address))))
    assert.equal(201, (curl(("-X PUT %s/empty"):format(address))))
    for _, name in ipairs {"a.md", "b.md", "c d.md"} do
      assert.equal(t.contents "README.md", t.contents(root .. "/" .. name))
    end
    assert.equal(201, (curl(("-T LICENSE %s/a.md"):format(address))))
    assert.equal(t.contents "LICENSE", t.contents(root .. "/a.md"))
    assert.equal(201, (curl(("-T LICENSE %s/%%C3%%A4"):format(address))))
    assert.equal("a.md b.md c d.md empty ä", names(root))
    ends(p)
  end)

  it("takes the files of a form", function()
    local p, address, root = serving()
    assert.matches("<form method=\"post\"", select(3, curl(address)))
    assert.equal(201, (curl(("-F a=b -F file=@README.md -F \"file=@LICENSE;"
      .. "filename=b.txt\" -F \"none=;filename=\" %s/"):format(address))))
    assert.equal(t.contents "README.md", t.contents(root .. "/README.md"))
    assert.equal(t.contents "LICENSE", t.contents(root .. "/b.txt"))
    assert.equal("README.md b.txt", names(root))
    ends(p)
  end)

  it("refuses what is no name, and no form", function()
    local p, address, root = serving()
    for _, path in ipairs {"", "/", "/.a", "/a/b", "/a%2Fb", "/%2Ea", "/a%0Ab",
                           "/-", "/x%5Cy"} do
      local status = curl(("-X PUT -d x \"%s%s\""):format(address, path))
      assert.same({path == "/-" and 201 or 400, path}, {status, path})
    end
    for _, name in ipairs {"../a", "/etc/a", ".a", "a/b", "c:\\\\a"} do
      local status = curl(("-F \"file=@README.md;filename=%s\" %s/"):format(
        name, address))
      assert.same({400, name}, {status, name})
    end
    assert.equal(400, (curl("-d a=b " .. address)))
    assert.equal(400, (curl(("-H \"Content-Type: multipart/form-data; "
      .. "boundary=x\" -d \"--x\" %s"):format(address))))
    assert.equal(404, (curl(("-F file=@README.md %s/a"):format(address))))
    assert.equal(405, (curl("-X DELETE " .. address .. "/a")))
    assert.equal("-", names(root))
    ends(p)
  end)

  it("leaves nothing of what breaks off", function()
    local p, address, root = serving()
    for _, head in ipairs {
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhello",
      "PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "5\r\nhello\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\nContent-Type: "
      .. "multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: "
      .. "form-data; name=f; filename=c\r\n\r\nhello",
    } do
      for _, leave in ipairs {sockets.vanish, function(c) c:close() end,
                              function(c)
                                c:shutdown "send"
                                assert(not c:receive "*l")
                                c:close()
                              end} do
        local client = sockets.dial(address:match "%d+$")
        assert(client:send(head))
        assert.truthy(wait(function() return names(root) ~= "" end))
        leave(client)
        assert.truthy(wait(function() return names(root) == "" end))
      end
    end
    local client = sockets.dial(address:match "%d+$")
    assert(client:send
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    assert.truthy(wait(function() return names(root) ~= "" end))
    ends(p)
    assert.equal("", names(root))
    client:close()
  end)

  it("says when there is no room", function()
    local p, address, root = serving()
    for i = 1, 2 do
      os.execute(("ln -s /dev/full %s/.a.%d"):format(root, i))
    end
    assert.equal(507, (curl(("-T README.md %s/a"):format(address))))
    assert.equal(507, (curl(("-F \"f=@README.md;filename=a\" %s"):format(
                            address))))
    lfs.mkdir(root .. "/a")
    assert.equal(507, (curl(("-T README.md %s/a"):format(address))))
    assert.equal("a", names(root))
    local _, many = p:output():gsub("refused: [^\n]+\n", "")
    assert.equal(3, many)
    ends(p)
  end)

  it("takes no more than its limit", function()
    local root = folder()
    local p, address = changed("upload_server", "2^34", "2^16", root)
    local path = t.write(("x"):rep(2^16))
    assert.equal(201, (curl(("-T %s %s/a"):format(path, address))))
    t.write(("x"):rep(2^16 + 1), path)
    assert.equal(413, (curl(("-T %s %s/b"):format(path, address))))
    assert.equal(413, (curl(("-T - %s/c <%s"):format(address, path))))
    assert.truthy(wait(function() return names(root) == "a" end), names(root))
    os.remove(path)
    ends(p)
  end)
end)

describe("Example events_page", function()
  after_each(cleanup)

  -- A listener to the events, and what it has heard.
  local function listen(address)
    return process.launch(("env -u LD_PRELOAD curl -sSN %s/events"):format(
      address), "</dev/null")
  end

  it("tells all who listen, and notices when they leave", function()
    local p, address = changed("events_page", "arg%[2%] or 1", "0.02")
    local first = listen(address)
    first:expect("^data: {\"time\": \"%d%d:%d%d:%d%d\", \"count\": 1}\n\n"
                 .. "data: {\"time\"")
    local second = listen(address)
    second:expect "^data: [^\n]+ 2}\n\n"
    first:expect "1}\n\ndata: [^\n]+ 2}\n\n"
    second:stop "TERM"
    first:expect " 2}\n\ndata: [^\n]+ 1}\n\n"
    p:expect "has left %(%l+%), 1 looking\n"
    first:stop "KILL"
    p:expect ", 0 looking\n$"
    ends(p)
  end)

  it("keeps nothing for those who do not read", function()
    local p, address = changed("events_page", "os.date \"%%H:%%M:%%S\"",
                               "(\"x\"):rep(2^17)", "127.0.0.1:0 0.002")
    local slow = sockets.dial(address:match "%d+$")
    assert(slow:send "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    local fast = sockets.dial(address:match "%d+$")
    assert(fast:send "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.equal(30e6, #fast:receive(30e6 // 1))
    local peak = t.memory("VmHWM", p.pid)
    assert.is_true(t.slow > 1 or peak < 16 * 1024, peak .. " KiB")
    fast:close()
    slow:close()
    p:expect ", 0 looking\n$"
    ends(p)
  end)

  it("tells what it sends, and to whom not", function()
    local p, address = serve "events_page"
    local status, headers, body = curl(address)
    assert.same({200, "text/html; charset=utf-8"},
                {status, headers["content-type"]})
    assert.matches("new EventSource%(\"/events\"%)", body)
    assert.equal(404, (curl(address .. "/favicon.ico")))
    local client = sockets.dial(address:match "%d+$")
    assert(client:send "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    p:expect "1 looking\n"
    client:close()
    ends(p)
  end)
end)

describe("Example json_service", function()
  after_each(cleanup)

  local JSON = "application/json"
  local PLANTS = "{\"id\":1,\"text\":\"plants\",\"done\":false}"

  -- Sends a body, which has no single quotes.
  local function send(method, url, body)
    local path = t.write(body)
    local result = answer(("-X %s --data-binary @%s %s"):format(method, path,
                                                                url))
    os.remove(path)
    return result
  end

  it("keeps a list of things to do", function()
    local p, address = serve "json_service"
    local all = address .. "/todos"
    assert.same({200, JSON, "[]\n"}, answer(all))
    assert.same({201, JSON, PLANTS .. "\n"}, send("POST", all,
      '{"text": "plants"}'))
    local ham = '{"id":2,"text":"ä \\"ham\\" \240\159\152\128","done":true}'
    assert.same({201, JSON, ham .. "\n"}, send("POST", all,
      '{"done": true, "text": "\\u00e4 \\"ham\\" \\ud83d\\ude00"}'))
    assert.same({200, JSON, ("[%s,%s]\n"):format(PLANTS, ham)}, answer(all))
    assert.same({200, JSON, ham .. "\n"}, answer(all .. "/2"))
    local watered = PLANTS:gsub("false", "true") .. "\n"
    assert.same({200, JSON, watered}, send("PATCH", all .. "/1",
      '{"done": true}'))
    assert.same({200, JSON, watered}, answer(all .. "/1"))
    assert.same({204, nil, ""}, answer("-X DELETE " .. all .. "/1"))
    assert.same({404, JSON, "{\"error\":\"not found\"}\n"}, answer(all .. "/1"))
    assert.same({200, JSON, ("[%s]\n"):format(ham)}, answer(all))
    ends(p)
  end)

  it("tells where a new thing is, and of one without sending it", function()
    local p, address = serve "json_service"
    local _, headers = curl(("-d \"{\\\"text\\\": \\\"a\\\"}\" %s/todos")
                            :format(address))
    assert.equal("/todos/1", headers.location)
    local status, head, body = curl(("-I %s/todos/1"):format(address))
    assert.same({200, "33", ""}, {status, head["content-length"], body})
    ends(p)
  end)

  it("says what it does not understand", function()
    local p, address = serve "json_service"
    local all = address .. "/todos"
    for body, expected in pairs {
      ["{"] = {400, "unterminated object"}, [""] = {400, "no valid JSON"},
      ["5"] = {400, "an object is expected"}, ["null"] = {400, "an object"},
      ['{"text": 5}'] = {400, "text: a string"},
      ['{"text": "a", "done": 1}'] = {400, "done: a boolean"},
      ["{}"] = {422, "text is missing"},
      [("["):rep(60000)] = {400, "unterminated array"},
    } do
      local result = send("POST", all, body)
      assert.same({expected[1], JSON}, {result[1], result[2]}, body)
      assert.truthy(result[3]:find(expected[2], 1, true), result[3])
    end
    assert.equal(413, send("POST", all, (" "):rep(65537))[1])
    assert.equal(404, answer(address)[1])
    assert.equal(404, answer(all .. "/99999999999999999999")[1])
    assert.equal(404, answer(all .. "/1.0")[1])
    local status, headers = curl("-X PUT " .. all)
    assert.same({405, "GET, POST"}, {status, headers.allow})
    send("POST", all, '{"text": "a"}')
    status, headers = curl("-X POST " .. all .. "/1")
    assert.same({405, "DELETE, GET, PATCH"}, {status, headers.allow})
    assert.equal(400, send("PATCH", all .. "/1", "nothing")[1])
    ends(p)
  end)
end)
