--- DNS as bytes, and name servers for the specs: of ours, which know a few
--- names, and of others, which say what they please.

local socket = require "socket"
local t = require "spec.helper"

local dns = {}

dns.A, dns.CNAME, dns.SOA, dns.PTR, dns.TXT, dns.AAAA = 1, 5, 6, 12, 16, 28

--- The bits of a header: an answer, truncated, recursion available.
dns.QR, dns.TC, dns.RA = 0x8000, 0x0200, 0x0080

--- A name as labels.
function dns.labels(name)
  return (name:gsub("([^.]*)%.?", function(label)
    return #label > 0 and string.pack("s1", label) or ""
  end)) .. "\0"
end

--- A question as a client sends it.
function dns.question(id, name, type, flags)
  return string.pack(">I2I2I2I2I2I2", id, flags or 0x0100, 1, 0, 0, 0)
         .. dns.labels(name) .. string.pack(">I2I2", type, 1)
end

--- What is asked: id, flags, name, type, and the bytes of the question.
function dns.parse(packet)
  local q = {}
  local labels, at = {}, 13
  q.id, q.flags = string.unpack(">I2I2", packet)
  repeat
    labels[#labels + 1], at = string.unpack("s1", packet, at)
  until labels[#labels] == ""
  q.name = table.concat(labels, ".", 1, #labels - 1)
  q.type, at = string.unpack(">I2", packet, at)
  q.question = packet:sub(13, at + 1)
  return q
end

--- A record for what was asked.
function dns.record(type, data, ttl)
  return "\xc0\x0c" .. string.pack(">I2I2I4s2", type, 1, ttl or 60, data)
end

--- The bytes of an address "1.2.3.4".
function dns.ip(address)
  return (address:gsub("(%d+)%.?", function(n) return string.char(n) end))
end

--- An answer: records as bytes, and bits beside those of every answer.
function dns.answer(q, records, flags)
  return string.pack(">I2I2I2I2I2I2", q.id, dns.QR | dns.RA | (flags or 0), 1,
                     #(records or {}), 0, 0)
         .. q.question .. table.concat(records or {})
end

--- A UDP socket on a free port, and its address. No child inherits it.
function dns.socket(host)
  local s = assert(host == "::1" and socket.udp6() or socket.udp4())
  assert(s:setsockname(host or "127.0.0.1", 0))
  require "libevent".make_socket_closeonexec(s)
  s:settimeout(0)
  local port = math.tointeger(select(2, s:getsockname()))
  return s, (host == "::1" and "[::1]:%d" or "127.0.0.1:%d"):format(port)
end

--- Sends a datagram and waits for one.
function dns.exchange(base, address, packet)
  local s = dns.socket()
  local host, port = address:match "^(.*):(%d+)$"
  local answer
  s:sendto(packet, host, tonumber(port))
  t.runtill(base, function()
    answer = s:receive()
    return answer
  end)
  s:close()
  return answer
end

--- A server that is none of ours: f is called with what it is asked and with a
--- function that sends bytes back; returns an object with its address, the
--- questions so far, and close.
function dns.raw(base, f)
  local self = {asked = {}}
  local s, address = dns.socket()
  self.address = address
  self.event = base:event(s, "read|persist", function()
    repeat
      local packet, host, port = s:receivefrom()
      if packet then
        local q = dns.parse(packet)
        self.asked[#self.asked + 1] = q
        if f then f(q, function(bytes) s:sendto(bytes, host, port) end) end
      end
    until not packet or self.closed
  end):add()
  function self.close()
    self.closed = true
    self.event:close()
    s:close()
  end
  return self
end

--- A server of ours. It knows zone[name][type], a list, a name or an error, and
--- counts the questions for each name.
function dns.zone(base, zone, address)
  local counts = {}
  local server = assert(base:dns_server(address or "127.0.0.1:0", function(q)
    local name = q:name():lower()
    counts[name] = (counts[name] or 0) + 1
    local known = zone[name]
    if type(known) == "string" then return q:respond(known) end
    local value = known and known[q:type()]
    if value and q:type() == "A" then
      q:add_a_reply(nil, value, 60)
    elseif value and q:type() == "AAAA" then
      q:add_aaaa_reply(nil, value, 30)
    elseif value then
      q:add_ptr_reply(nil, value, 90)
    end
    q:respond(known and "none" or "notexist")
  end))
  return server, counts
end

--- A Dns that asks these servers, and nothing but them.
function dns.resolver(base, servers, options)
  local all = {nameservers = type(servers) == "table" and servers or {servers},
               hosts = false}
  for name, value in pairs(options or {}) do all[name] = value end
  return assert(base:dns(all))
end

--- A callback that is expected once, and the list of what it is given.
function dns.outcome()
  local list = {}
  return list, t.expect(function(request, ...)
    assert(t.isclosed(request))
    list.n = select("#", ...)
    for i = 1, list.n do list[i] = select(i, ...) end
  end)
end

--- Looks a name up, or by 'method' an address, and returns what the callback
--- gets after the request.
function dns.ask(resolver, name, options, method)
  local result
  resolver[method or "resolve"](resolver, name, options or {}, function(_, ...)
    result = table.pack(...)
  end)
  t.runtill(resolver:base(), function() return result end)
  return table.unpack(result, 1, result.n)
end

--- The code of a failed look-up.
function dns.code(resolver, name, options, method)
  local result, message, code = dns.ask(resolver, name, options, method)
  assert(result == nil and type(message) == "string", result)
  return code
end

--- The loop comes to its end, and nothing is left in it.
function dns.idle(base)
  if base:num_events() > 0 then t.run(base) end
  assert(base:num_events() == 0, "events are left: " .. base:num_events())
  assert(base:dispatch() == false)
end

--- The servers that a Dns asks.
function dns.servers(of)
  local addresses = {}
  for i = 1, of:count_nameservers() do
    addresses[i] = of:nameserver_addr(i)
  end
  return addresses
end

return dns
