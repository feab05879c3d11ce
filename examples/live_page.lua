-- A web page with live updates. Tasks of their own measure and count, each at
-- its pace; what they find, and what visitors write, goes to every browser that
-- looks at the page, by server-sent events.
--   lua5.4 examples/live_page.lua [address]      (127.0.0.1:8081)
-- Try it: open http://127.0.0.1:8081/ in two windows, or
--   curl -N http://127.0.0.1:8081/events
local co = require "libevent.co"
local http = require "libevent.http"

local PAGE = [[
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Live</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif }
  body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
  header { display: flex; align-items: baseline; gap: 1rem }
  h1 { margin: 0; flex: 1 }
  main { display: grid; gap: 1rem; margin: 1.5rem 0;
         grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)) }
  section { border: 1px solid #8885; border-radius: .6rem; padding: .8rem }
  h2 { margin: 0; font-size: .85rem; font-weight: normal; opacity: .7 }
  output { font-size: 1.8rem; font-variant-numeric: tabular-nums }
  svg { display: block; width: 100%; height: 3rem }
  polyline { fill: none; stroke: #47c; stroke-width: 2;
             vector-effect: non-scaling-stroke }
  form { display: flex; gap: .5rem }
  input { flex: 1; font: inherit; padding: .3rem .5rem }
  button { font: inherit; padding: .3rem 1rem }
  li { list-style: none; padding: .3rem 0; border-top: 1px solid #8883 }
  ul { padding: 0 }
</style>
<header><h1>Live</h1><span id="clock"></span><span id="state"></span></header>
<main></main>
<form><input name="text" placeholder="Say something" maxlength="100"
  autocomplete="off"><button>Send</button></form>
<ul></ul>
<script>
const get = s => document.querySelector(s)
const series = {cpu: "CPU of the server, %", memory: "Its memory, KiB",
                looking: "Browsers looking"}
const events = new EventSource("/events")       // connects again by itself
events.onopen = () => get("#state").textContent = "● live"
events.onerror = () => get("#state").textContent = "○ connecting"
events.addEventListener("clock", e => get("#clock").textContent = e.data)
events.addEventListener("say", e => {
  const item = document.createElement("li")
  item.textContent = e.data
  get("ul").prepend(item)
})
for (const [name, title] of Object.entries(series)) {
  const card = document.createElement("section"), values = []
  card.innerHTML = `<h2>${title}</h2><output>–</output>
    <svg viewBox="0 0 59 1" preserveAspectRatio="none"><polyline/></svg>`
  get("main").append(card)
  events.addEventListener(name, e => {
    card.querySelector("output").textContent = e.data
    values.push(Number(e.data))
    if (values.length > 60) values.shift()
    const most = Math.max(...values) * 1.1 || 1
    card.querySelector("polyline").setAttribute("points", values.map(
      (v, i) => `${i + 60 - values.length},${1 - v / most}`).join(" "))
  })
}
get("form").onsubmit = event => {
  event.preventDefault()
  fetch("/say", {method: "POST", body: new URLSearchParams(
    new FormData(event.target))})
  event.target.reset()
}
</script>
]]

local browsers, looking = {}, 0         -- a channel for each
local last = {}                         -- the event of each name

-- Tells all browsers, but for those that are 100 events behind.
local function publish(name, data)
  last[name] = ("event: %s\ndata: %s\n\n"):format(name, data)
  for updates in pairs(browsers) do
    if #updates < 100 then updates:put(last[name]) end
  end
end

-- Publishes what f returns, from now on.
local function every(seconds, name, f)
  while true do
    publish(name, f())
    co.sleep(seconds)
  end
end

-- Sends a browser what is published, until it leaves.
local function events(req)
  local updates <close> = co.channel(200)
  local task = co.current()
  req:set_closecb(function() task:cancel() end)
  browsers[updates], looking = true, looking + 1
  local _ <close> = setmetatable({}, {__close = function()
    browsers[updates], looking = nil, looking - 1
    publish("looking", looking)
  end})
  req:send_reply_start(200, nil, {["Content-Type"] = "text/event-stream",
                                  ["Cache-Control"] = "no-store"})
  for _, event in pairs(last) do updates:put(event) end
  publish("looking", looking)
  for event in updates:values() do
    if not req:send_reply_chunk(event) then return end
  end
end

local function say(req)
  local text = http.parse_query(req:body()).text
  if req:command() ~= "POST" or not text then return req:send_error(400) end
  publish("say", (text:sub(1, 400):gsub("%c", " ")))
  req:send_reply(204)
end

local function page(req)
  if req:path() ~= "/" then return req:send_error(404) end
  req:send_reply(200, nil, PAGE)
end

co.run(function()
  local server = assert(co.http.serve(arg[1] or "127.0.0.1:8081", page))
  server:set_cb("/events", events)
  server:set_cb("/say", say)
  io.stdout:write("live page on ", server:sockname(), "\n"):flush()

  co.spawn(every, 1, "clock", function() return os.date "%H:%M:%S" end)
  co.spawn(every, 0.5, "memory", function()
    return ("%.0f"):format(collectgarbage "count")
  end)
  local before = os.clock()
  co.spawn(every, 0.5, "cpu", function()
    local used = os.clock() - before
    before = before + used
    return ("%.1f"):format(100 * used / 0.5)
  end)

  co.signal "INT"
  co.base():loopexit()
end)
