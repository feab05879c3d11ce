--- Names: looked up, answered, connected to.

--- A server that knows one name, and a Dns that asks it. What memory lacks for
--- is asked once more only, and soon.
local function both(s, answer)
  local server = assert(s.base:dns_server("127.0.0.1:0", answer or function(q)
    if q:type() == "A" then
      assert(q:add_a_reply(nil, {"127.0.0.1", "127.0.0.2"}, 60))
    else
      assert(q:add_aaaa_reply(nil, "::1", 60))
    end
    assert(q:respond())
  end))
  local dns = assert(s.base:dns {nameservers = {server:sockname()},
    resolv_conf = false, hosts = false, search = {}, timeout = 0.02,
    attempts = 2, deadline = 0.1})
  return server, dns
end

--- Nobody says what a packet was lost for.
local function fail(message)
  error(message .. ": perhaps not enough memory", 0)
end

--- Waits for what a look-up tells; raises what it fails with.
local function wait(s, dns, method, ...)
  local result, message
  local args = table.pack(...)
  args[args.n + 1] = function(_, ...) result, message = ... end
  local request = dns[method](dns, table.unpack(args, 1, args.n + 1))
  s:run(function() return result or message end)
  assert(tostring(request):find "closed")
  return result or fail(message)
end

local function file(text)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  return path
end

-- made before memory ends
local hosts = file "127.0.0.9 one.test ONE # a comment\n::9 one.test\n"
local conf = file "nameserver 127.0.0.1\nsearch a.test b.test\n"

return {
  {"a look-up", function(s)
    local server, dns = both(s)
    local list = wait(s, dns, "resolve", "some.test", {port = 80})
    assert(#list == 3 or #list == 1 or #list == 2)
    dns:close()
    server:close()
  end},

  {"a look-up in a list of domains", function(s)
    local server, dns = both(s, function(q)
      if q:name():lower() == "www.b.test" then
        assert(q:add_a_reply(nil, "127.0.0.1", 1)):respond()
      else
        q:respond "notexist"
      end
    end)
    dns:search_clear():search_add "a.test":search_add "b.test"
    dns:search_ndots_set(2)
    local list = wait(s, dns, "resolve", "www", {family = "inet"})
    assert(list[1] == "127.0.0.1")
    server:close()
  end},

  {"a reverse look-up", function(s)
    local server, dns = both(s, function(q)
      assert(q:type() == "PTR" and q:class() == 1 and q:server())
      assert(q:requesting_addr())
      assert(q:set_flags "aa":add_ptr_reply("127.0.0.1", "one.test", 5))
      q:respond()
    end)
    assert(wait(s, dns, "reverse", "127.0.0.1") == "one.test")
    server:close()
  end},

  {"answers of all kinds", function(s)
    local server, dns = both(s, function(q)
      assert(q:add_cname_reply(nil, "other.test", 5))
      assert(q:add_a_reply("other.test", "127.0.0.1", 5))
      assert(q:add_reply("additional", nil, "TXT", 1, 5, "\4text"))
      assert(q:respond())
    end)
    local list = wait(s, dns, "resolve", "some.test", {family = "inet"})
    assert(list[1] == "127.0.0.1")
    server:set_cb(function(q) q:close() end)
    assert(server:fd() and server:base() == s.base)
    local gone = dns:resolve("gone.test", {deadline = 0.02}, function() end)
    s:run(function() return tostring(gone):find "closed" end)
    server:set_cb(function(q) q:drop() end)
    gone = dns:resolve("gone.test", {deadline = 0.02}, function() end)
    s:run(function() return tostring(gone):find "closed" end)
    server:close()
  end},

  {"files of names", function(s)
    local dns = assert(s.base:dns {resolv_conf = conf, hosts = hosts})
    assert(dns:count_nameservers() == 1 and dns:nameserver_addr(1))
    local list = wait(s, dns, "resolve", "ONE.test")
    assert(list[1] == "127.0.0.9" and list[2] == "::9")
    assert(dns:load_hosts(hosts):clear_host_addresses())
    assert(dns:resolv_conf_parse(conf))
    dns:set_option("timeout", 1):nameserver_ip_add "127.0.0.2"
    assert(dns:count_nameservers() == 2 and dns:base() == s.base)
  end},

  {"the end of a look-up", function(s)
    local server, dns = both(s, function(q) q:drop() end)
    local told = 0
    local function tell() told = told + 1 end
    local a = dns:resolve("a.test", tell)
    local b = dns:resolve("b.test", tell)
    local c = dns:resolve("c.test", {deadline = 0.01}, tell)
    dns:resolve("d.test", tell):close()
    dns:clear_nameservers_and_suspend()
    dns:nameserver_ip_add(server:sockname())
    assert(dns:resume())
    s:run(function() return tostring(c):find "closed" end)
    a:cancel()
    s:run(function() return tostring(a):find "closed" end)
    dns:close()
    s:run(function() return tostring(b):find "closed" end)
    server:close()
  end},

  {"connecting by name", function(s)
    local server, dns = both(s)
    local told
    local listener = assert(s.base:listener("127.0.0.1:0", function() end))
    local port = tonumber(listener:sockname():match ":(%d+)$")
    local bev = s.base:bufferevent()
    bev:setcb(nil, nil, function(_, what, message)
      told = message or what
    end)
    bev:connect_hostname("some.test", port, {dns = dns, timeout = 0.1,
                                             delay = 0.01})
    s:run(function() return told end)
    if told ~= "connected" then fail(told) end
    listener:close()
    server:close()
  end},

  {"connecting by a name to nobody", function(s)
    local told
    local bev = s.base:bufferevent()
    bev:setcb(nil, nil, function(_, what, message)
      told = what == "error" and message
    end)
    bev:connect_hostname("127.0.0.1", 1, {timeout = 0.1})
    s:run(function() return told end)
    if not told:find "refused" then fail(told) end
  end},
}
