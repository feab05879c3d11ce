--- libevent.socket_dns: LuaSocket's socket.dns, which waits for the loop.

local co = require "libevent.co"
local expect = require "libevent.expect"
local inet_pton = require "libevent.core".inet_pton
local luasocket = require "socket.core"
local waits = require "libevent.socket_wait"

local HOSTS = "/etc/hosts"

local NOBODY = "host or service not provided, or not known"
local AGAIN = "temporary failure in name resolution"
local NEVER = "non-recoverable failure in name resolution"

-- What LuaSocket says where libevent.dns has another code than "refused" and
-- the like, which are NEVER.
local WORDS = {
  notexist = NOBODY, nodata = NOBODY, invalid = NOBODY,
  timeout = AGAIN, serverfailed = AGAIN, noserver = AGAIN,
}

local dns = {gethostname = luasocket.dns.gethostname}

--- The addresses of a host, of one family if that is "inet" or "inet6"; or nil
--- and why. Nobody waits for an address.
function dns.addresses(host, family)
  if inet_pton(host) or host:find "%%" then return {host} end
  waits.intask "a look-up of names"
  local list, message, code = co.resolve(host, {family = family})
  if not list then return nil, WORDS[code] or code and NEVER or message end
  return list
end

local function familyof(address)
  return address:find(":", 1, true) and "inet6" or "inet"
end

--- All addresses of a host: {family = "inet" or "inet6", addr = "127.0.0.1"}.
function dns.getaddrinfo(host)
  local list, message = dns.addresses(expect.text(host, 1, "getaddrinfo"))
  if not list then return nil, message end
  for i, address in ipairs(list) do
    list[i] = {family = familyof(address), addr = address}
  end
  return list
end

--- The names that the file of hosts has for an address, in its first line.
local function known(address)
  local names, file <close> = {}, io.open(HOSTS)
  for line in file and file:lines() or function() end do
    local from, rest = line:match "^%s*([^%s#]+)%s+([^#]*)"
    if from == address then
      for name in rest:gmatch "%S+" do names[#names + 1] = name end
      break
    end
  end
  return names
end

--- The first IPv4 address of a host, and a table of all: `name`, `ip`, `alias`.
--- Nobody tells of aliases: those are only what the file of hosts has.
function dns.toip(host)
  host = expect.text(host, 1, "toip")
  local list = dns.addresses(host, "inet")
  if not list or familyof(list[1]) ~= "inet" then
    return nil, "host not found"
  end
  local names = host == list[1] and known(host) or {}
  return list[1], {name = table.remove(names, 1) or host, ip = list,
                   alias = names}
end

--- The name of an address, or of a host, and the same table.
function dns.tohostname(address)
  address = expect.text(address, 1, "tohostname")
  if not inet_pton(address) then
    local _, all = dns.toip(address)
    if type(all) ~= "table" then return nil, all end
    return all.name, all
  end
  local names = known(address)
  if #names == 0 then
    waits.intask "a look-up of names"
    names[1] = co.reverse(address)
    if not names[1] then return nil, "host not found" end
  end
  local name = table.remove(names, 1)
  return name, {name = name, ip = {address}, alias = names}
end

--- The names of all addresses of a host, nil without one; and of a service.
function dns.getnameinfo(host, service)
  if host == nil then return luasocket.dns.getnameinfo(host, service) end
  local list, message = dns.addresses(expect.text(host, 1, "getnameinfo"))
  if not list then return nil, message end
  for i, address in ipairs(list) do
    list[i] = dns.tohostname(address) or address
  end
  if service == nil then return list end
  local ok, name = luasocket.dns.getnameinfo(nil, service)
  if not ok then return nil, name end
  return list, name
end

return dns
