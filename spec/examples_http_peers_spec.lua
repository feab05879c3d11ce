-- The examples of HTTP and what they meet outside: nginx before them, Node.js,
-- a browser, and files of gibibytes.
local lfs = require "lfs"
local curl = require "spec.curl"
local nginx = require "spec.nginx"
local process = require "spec.process"
local t = require "spec.helper"

local start, shell = process.start, process.shell
local cleanup, folder = process.cleanup, process.folder

-- The sanitizers are not theirs.
local PLAIN = "env -u LD_PRELOAD "

local function serve(name, arguments)
  local p = start(("examples/%s.lua %s 127.0.0.1:0"):format(name,
                                                           arguments or ""))
  return p, (p:expect " on (127%.0%.0%.1:%d+)\n")
end

local function ends(p) p:ends "TERM" end

describe("Behind nginx", function()
  after_each(cleanup)

  local NGINX = [[
    client_max_body_size 0;
    upstream server {
      server SERVER;
      keepalive 1;
    }
    server {
      listen unix:DIR/socket;
      location / {
        proxy_pass http://server;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_request_buffering off;
        proxy_buffering off;
      }
    }
  ]]

  -- nginx before a server; what curl is told to reach it.
  local function proxy(address)
    return ("--unix-socket %s/socket "):format(
      nginx(NGINX, {SERVER = address}).dir)
  end

  it("a server keeps the connection", function()
    local p, address = serve "http_gencb"
    local by = proxy(address)
    local path = t.write(("x"):rep(300000))
    for _, arguments in ipairs {
      "x/a", "-d hello x/b", "-X DELETE x/c",
      ("--data-binary @%s x/d"):format(path),
      ("-H \"Transfer-Encoding: chunked\" --data-binary @%s x/e"):format(path),
      "--http1.0 x/f",
    } do
      local status, _, body = curl(by .. arguments)
      assert.equal(200, status)
      assert.matches("\npath: /" .. arguments:match "x/(%l)$" .. "\n", body)
      local size = arguments:find "hello" and 5 or arguments:find "@"
                   and 300000 or 0
      assert.equal(size, #body:match "\n\n(.*)$")
    end
    assert.equal(200, (curl(by .. "-I x/g")))
    os.remove(path)
    local ports, n = {}, 0
    for port, what in p:output():gmatch "127.0.0.1:(%d+): %u+ /(%l)\n" do
      ports[port] = (ports[port] or "") .. what
      n = n + 1
    end
    assert.equal(7, n)
    local _, all = next(ports)
    assert.equal("abcdefg", all)
    ends(p)
  end)

  it("files come in parts, and caches need not fetch twice", function()
    local root = folder()
    t.write("0123456789", root .. "/ten.txt")
    os.execute(("head -c 20000000 /dev/urandom >%s/large"):format(root))
    local p, address = serve("static_server", root)
    local by = proxy(address)
    local status, headers, body = curl(by .. "-r 2-4 x/ten.txt")
    assert.same({206, "bytes 2-4/10", "234"},
                {status, headers["content-range"], body})
    assert.equal(304, (curl(("%s -H \"If-None-Match: %s\" x/ten.txt"):format(
      by, headers.etag:gsub("\"", "\\\"")))))
    assert.equal(416, (curl(by .. "-r 10- x/ten.txt")))
    assert.equal(404, (curl(by .. "x/nothing")))
    local large = select(3, curl(by .. "x/large"))
    assert.is_true(large == t.contents(root .. "/large"))
    ends(p)
  end)

  it("uploads arrive whole, of a known length or not", function()
    local root = folder()
    local path = root .. "/random"
    os.execute("head -c 20000000 /dev/urandom >" .. path)
    local p, address = serve("upload_server", root)
    local by = proxy(address)
    assert.equal(201, (curl(("%s -T %s x/a"):format(by, path))))
    assert.equal(201, (curl(("%s -T - x/b <%s"):format(by, path))))
    assert.equal(201, (curl(("%s -F \"f=@%s;filename=c\" x/"):format(by,
                                                                     path))))
    for _, name in ipairs {"a", "b", "c"} do
      assert.is_true(t.contents(path) == t.contents(root .. "/" .. name))
    end
    ends(p)
  end)

  it("events come at once", function()
    local p, address = serve "events_page"
    local by = proxy(address)
    local client = process.launch(("%scurl -sSN %s x/events"):format(PLAIN, by),
                                  "</dev/null")
    client:expect "^data: [^\n]+\n\n"
    client:stop "TERM"
    p:expect "has left"
    ends(p)
  end)
end)

describe("Node.js", function()
  after_each(cleanup)

  it("asks, sends and gets the same back, on one connection", function()
    local p, address = serve "http_gencb"
    local path = t.write(([=[
      const http = require("http")
      const agent = new http.Agent({keepAlive: true, maxSockets: 1})
      function ask(method, path, pieces, options) {
        return new Promise((resolve, reject) => {
          const request = http.request("http://ADDRESS" + path,
            {method, agent, ...options}, response => {
              let text = ""
              response.setEncoding("latin1")
              response.on("data", data => text += data)
              response.on("end", () => resolve([response.statusCode, text]))
            })
          request.on("error", reject)
          if (options && options.headers) {
            request.on("continue", () => request.end(pieces[0]))
            request.flushHeaders()
          } else {
            for (const piece of pieces) request.write(piece, "latin1")
            request.end()
          }
        })
      }
      async function run() {
        const bytes = String.fromCharCode(...Array(256).keys()).repeat(400)
        for (const [method, path, pieces, options] of [
          ["GET", "/a", []], ["HEAD", "/b", []],
          ["POST", "/c", ["one", "two"]],               // in chunks
          ["PUT", "/d", [bytes, bytes]],
          ["POST", "/e", ["later"], {headers: {Expect: "100-continue"}}],
        ]) {
          const [status, text] = await ask(method, path, pieces, options)
          const body = text.split("\n\n").slice(1).join("\n\n")
          console.log(method, path, status, method == "HEAD"
            ? text == "" : body == pieces.join(""))
        }
        agent.destroy()
      }
      run().catch(error => console.log(error))
    ]=]):gsub("ADDRESS", address))
    assert.equal("GET /a 200 true\nHEAD /b 200 true\nPOST /c 200 true\n"
      .. "PUT /d 200 true\nPOST /e 200 true\n", shell(PLAIN .. "node " .. path))
    os.remove(path)
    local ports = {}
    for port in p:output():gmatch "127.0.0.1:(%d+): " do ports[port] = true end
    assert.truthy(next(ports))
    assert.is_nil(next(ports, (next(ports))))
    ends(p)
  end)
end)

describe("A browser", function()
  after_each(cleanup)

  it("shows the events of events_page", function()
    -- What it prints is the page as it is when all of it has been loaded: here
    -- with an image that takes its time.
    local code, n = t.contents "examples/events_page.lua"
      :gsub("<script>", "<img src=\"/late\">\n%0")
      :gsub("http:set_cb%(\"/events\", join%)\n", [[%0
        http:set_cb("/late", function(req)
          base:timer(function()
            if count == 2 then req:send_reply(204) end
          end, "persist"):add(0.3)
        end)
      ]])
    assert.equal(1, n)
    local path, home = t.write(code), folder()
    local p = start(path .. " 127.0.0.1:0 0.05")
    local address = p:expect " on (127%.0%.0%.1:%d+)\n"
    os.remove(path)
    local other = process.launch(("%scurl -sSN %s/events"):format(PLAIN,
      address), "</dev/null")
    other:expect "data: "
    local text = shell(("%sHOME=%s timeout 9 $(command -v chromium || "
      .. "command -v chromium-browser) --headless --no-sandbox --disable-gpu "
      .. "--user-data-dir=%s --dump-dom http://%s/ 2>/dev/null"):format(
      PLAIN, home, home, address))
    assert.matches("<h1 id=\"time\">%d%d:%d%d:%d%d</h1>", text)
    assert.matches("<span id=\"count\">2</span> looking, "
                   .. "<span id=\"state\">connected</span>", text)
    p:expect "2 looking\n.* has left %(%l+%), 1 looking\n$"
    other:stop "TERM"
    ends(p)
  end)
end)

describe("Two gibibytes", function()
  after_each(cleanup)

  -- Less where everything is slower.
  local SIZE = t.slow > 1 and 1 << 26 or 1 << 31

  -- A file of zeros that takes no room: in memory if the system has files
  -- there, elsewhere it takes longer for them than all others for the rest.
  local function zeros()
    local root = folder(lfs.attributes "/dev/shm" and "/dev/shm")
    os.execute(("truncate -s %d %s/zeros"):format(SIZE, root))
    return root
  end

  local function small(p)
    local peak = t.memory("VmHWM", p.pid)
    assert.is_true(t.slow > 1 or peak < 16 * 1024, peak .. " KiB")
  end

  it("are sent with less than 16 MiB of memory", function()
    local p, address = serve("static_server", zeros())
    local text = shell(("%scurl -sS -o /dev/null -w \"%%{http_code} "
      .. "%%{size_download}\" %s/zeros"):format(PLAIN, address))
    assert.equal("200 " .. SIZE, text)
    small(p)
    ends(p)
  end)

  for how, arguments in pairs {["of a known length"] = "-T %s/zeros %s/zeros",
                               ["in chunks"] = "-T - <%s/zeros %s/zeros"} do
    it(how .. " are received with less than 16 MiB", function()
      local root, from = folder(), zeros()
      local p, address = serve("upload_server", root)
      -- What it writes is counted, and kept nowhere.
      os.execute(("mkfifo %s/.zeros.1"):format(root))
      local count = process.launch("wc -c", ("<%s/.zeros.1"):format(root))
      assert.equal(201, (curl(arguments:format(from, address))))
      assert.equal(SIZE, tonumber((count:finish())))
      small(p)
      ends(p)
    end)
  end
end)
