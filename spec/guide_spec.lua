--- A guard: the programs in doc/*.md and README.md run and print what stands
--- below them; the files and methods that are named there exist; and the table
--- "C call -> Lua call" answers for every call that a C program may begin with.

local lfs = require "lfs"
local socket = require "socket"
local t = require "spec.helper"

local contents = t.contents

local DEADLINE = 5 * t.slow    -- seconds for one program

--- Whoever learned libevent from programs in C knows these.
local CALLS = [[
  event_base_new event_base_free event_base_dispatch event_base_loop
  event_base_loopexit event_base_loopbreak event_base_get_method
  event_base_priority_init event_base_once event_get_supported_methods
  event_reinit event_new event_assign event_add event_del event_free
  event_pending event_active event_priority_set event_initialized evtimer_new
  evsignal_new bufferevent_socket_new bufferevent_free bufferevent_setcb
  bufferevent_getcb bufferevent_read bufferevent_write bufferevent_read_buffer
  bufferevent_write_buffer bufferevent_enable bufferevent_disable
  bufferevent_get_enabled bufferevent_setwatermark bufferevent_set_timeouts
  bufferevent_flush bufferevent_get_input bufferevent_get_output
  bufferevent_socket_connect bufferevent_socket_connect_hostname
  BEV_OPT_CLOSE_ON_FREE BEV_OPT_THREADSAFE
  BEV_OPT_DEFER_CALLBACKS BEV_OPT_UNLOCK_CALLBACKS BEV_EVENT_READING
  BEV_EVENT_WRITING BEV_EVENT_ERROR BEV_EVENT_TIMEOUT BEV_EVENT_EOF
  BEV_EVENT_CONNECTED evconnlistener_new evconnlistener_new_bind
  evconnlistener_free evconnlistener_enable evconnlistener_disable
  evconnlistener_set_cb LEV_OPT_LEAVE_SOCKETS_BLOCKING LEV_OPT_CLOSE_ON_FREE
  LEV_OPT_CLOSE_ON_EXEC LEV_OPT_REUSEABLE LEV_OPT_THREADSAFE
  evutil_make_socket_nonblocking evutil_make_listen_socket_reuseable
  evbuffer_new evbuffer_free evbuffer_add evbuffer_add_printf evbuffer_pullup
  evhttp_new evhttp_start evhttp_bind_socket evhttp_set_timeout evhttp_set_cb
  evhttp_set_gencb evhttp_send_reply evhttp_free evhttp_request_get_command
  evhttp_request_get_uri evhttp_request_get_input_headers evhttp_find_header
  evhttp_request_get_input_buffer evhttp_request_get_output_headers
  evhttp_add_header evhttp_send_error evhttp_send_reply_start
  evhttp_send_reply_chunk_with_cb evhttp_send_reply_end
  evhttp_connection_set_closecb evhttp_connection_base_new
  evhttp_request_new evhttp_make_request evhttp_request_get_response_code
  evhttp_cancel_request evhttp_connection_free evhttp_parse_query_str
  evhttp_uri_parse evhttp_uridecode
  evdns_base_new evdns_base_free evdns_getaddrinfo evdns_getaddrinfo_cancel
  evdns_base_resolve_ipv4 evdns_base_resolve_reverse evdns_cancel_request
  evdns_err_to_string evdns_base_nameserver_ip_add evdns_base_set_option
  evdns_add_server_port_with_base evdns_close_server_port
  evdns_server_request_add_a_reply evdns_server_request_respond
  evthread_use_pthreads event_set_log_callback
]]


--- Fails with all of 'faults', one a line.
local function none(faults)
  if #faults > 0 then error(table.concat(faults, "\n"), 0) end
end

local documents = {"README.md"}
for name in lfs.dir "doc" do
  if name:match "%.md$" then documents[#documents + 1] = "doc/" .. name end
end
table.sort(documents)

--- Texts of the examples: a program that is one of them is run elsewhere.
local function examples()
  local set = {}
  for name in lfs.dir "examples" do
    if name:match "%.lua$" then set[contents("examples/" .. name)] = true end
  end
  return set
end

--- {line, code, output} for each block marked lua; output is the block marked
--- text right below it, or nil.
local function programs(path)
  local list, block, marker, last, number = {}, nil, nil, nil, 0
  for line in contents(path):gmatch "([^\n]*)\n" do
    number = number + 1
    if not block and line:match "^```" then
      block, marker = {line = number + 1}, line:sub(4)
    elseif block and line == "```" then
      local text = table.concat(block, "\n") .. (#block > 0 and "\n" or "")
      if marker == "lua" then
        last = {line = block.line, code = text}
        list[#list + 1] = last
      elseif marker == "text" and last then
        last.output = text
      end
      if marker ~= "lua" then last = nil end
      block = nil
    elseif block then
      block[#block + 1] = line
    elseif line ~= "" then
      last = nil
    end
  end
  assert(not block, path .. ": a block without an end")
  return list
end

--- The anchor that a heading gets: its words in lower case, joined by "-".
local function anchors(path)
  local set = {}
  for heading in ("\n" .. contents(path)):gmatch "\n#+ ([^\n]+)" do
    set[heading:lower():gsub("[^%w%s_-]", ""):gsub(" ", "-")] = true
  end
  return set
end

for _, path in ipairs(documents) do
  describe(path, function()
    local known = examples()
    for _, program in ipairs(programs(path)) do
      if not known[program.code] then
        it("line " .. program.line .. " runs", function()
          local start = socket.gettime()
          local output, status = t.lua(program.code)
          local seconds = socket.gettime() - start
          assert.equal(0, status, output)
          if program.output then assert.equal(program.output, output) end
          assert.is_true(seconds < DEADLINE, seconds .. " seconds")
        end)
      end
    end

    it("links to what is there", function()
      local faults = {}
      local prose = contents(path):gsub("\n```.-\n```", "")
      for link in prose:gmatch "%]%(([^%s)]+)%)" do
        local file, anchor = link:match "^([^#]*)#?(.*)$"
        local folder = path:match "^(.*/)[^/]*$" or ""
        local target = file == "" and path or folder .. file
        if not link:match "^%a+:" then
          if not lfs.attributes(target) then
            faults[#faults + 1] = link .. ": no such file"
          elseif anchor ~= "" and not anchors(target)[anchor] then
            faults[#faults + 1] = link .. ": no such heading"
          end
        end
      end
      none(faults)
    end)

    it("names examples that are there", function()
      local faults = {}
      for name in contents(path):gmatch "examples/[%w_]+%.lua" do
        if not lfs.attributes(name) then
          faults[#faults + 1] = name .. ": no such file"
        end
      end
      none(faults)
    end)

    it("names methods that are there", function()
      require "libevent"
      local classes = {base = "Base", event = "Event", buffer = "Buffer",
                       bev = "Bufferevent", listener = "Listener",
                       waker = "Waker", dns = "Dns", query = "DnsQuery",
                       request = "DnsRequest", http = "Http",
                       req = "HttpRequest"}
      local faults = {}
      for noun, name in contents(path):gmatch "%f[%w_](%l+):([%l_]+)" do
        local metatable = debug.getregistry()["libevent."
                                              .. (classes[noun] or "")]
        if classes[noun] and not metatable.__index[name] then
          faults[#faults + 1] = noun .. ":" .. name .. ": no such method"
        end
      end
      none(faults)
    end)

    it("keeps to 80 columns, but for tables", function()
      local faults = {}
      for line in contents(path):gmatch "[^\n]+" do
        if utf8.len(line) > 80 and not line:match "^|" then
          faults[#faults + 1] = line
        end
      end
      none(faults)
    end)
  end)
end

describe("The README's table of C calls", function()
  it("names every call that programs in C begin with", function()
    local faults = {}
    local rows = contents "README.md":match "\n## C call → Lua call\n(.-)\n## "
    for name in CALLS:gmatch "%S+" do
      if not rows:find("%f[%w_]" .. name .. "%f[^%w_]") then
        faults[#faults + 1] = name .. ": not in the table"
      end
    end
    none(faults)
  end)
end)
