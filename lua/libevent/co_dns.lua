--- libevent.co_dns: names and addresses, looked up while a task waits.

local co = require "libevent.co"
local expect = require "libevent.expect"

-- The Dns of each base that was asked for one.
local known = setmetatable({}, {__mode = "k"})

---@class libevent.co_dns
local co_dns = {}

--- The Dns to ask: the one of the options, or the base's; and the options
--- without it.
local function choose(base, options)
  local how = {}
  for name, value in pairs(options or {}) do how[name] = value end
  local dns, message, errno = how.dns or known[base], nil, nil
  how.dns = nil
  if not dns then
    dns, message, errno = base:dns()
    known[base] = dns
  end
  return dns, dns and how or message, errno
end

--- The look-up of a Dns that has this name, which calls it as its last.
local function look(name, what, options)
  expect.that(type(what) == "string", 1, name,
              "string expected, got " .. type(what))
  expect.that(options == nil or type(options) == "table", 2, name,
              "table of options expected, got " .. type(options))
  local own = options and options.dns
  expect.that(own == nil or getmetatable(own) == "libevent.Dns", 2, name,
              "option 'dns': Dns expected, got " .. type(own))
  if not co.current() then
    error(("co.%s waits, and can be called in a task only, see co.spawn")
          :format(name), 2)
  end
  local dns, how, errno = choose(co.base(), options)
  if not dns then return nil, how, errno end
  local finish
  local ok, request = pcall(dns[name], dns, what, how, function(_, ...)
    finish(...)
  end)
  if not ok then expect.again(request, name, {[1] = 2}) end
  local _ <close> = request             -- for an error of co.await itself
  return co.await(function(done)
    finish = done
    return function() request:close() end
  end)
end

--- Looks up the addresses of a host, as `dns:resolve` does. The base has a Dns
--- of its own for this, from the first time on.
---
---     local addresses = assert(co.resolve "localhost")
---
--- C: `evdns_base_resolve_ipv4`, `evdns_base_resolve_ipv6`
---@param name string
---@param options? libevent.ResolveOptions and `dns`, a Dns to ask
---@return string[]|nil addresses
---@return integer|string ttl seconds, or what went wrong
---@return string? code "timeout", "nonexistent", ...
function co_dns.resolve(name, options)
  return look("resolve", name, options)
end

--- Looks up the name of an address, as `dns:reverse` does.
---
--- C: `evdns_base_resolve_reverse`, `evdns_base_resolve_reverse_ipv6`
---@param address string without a port: "127.0.0.1", "::1"
---@param options? libevent.ReverseOptions and `dns`, a Dns to ask
---@return string|nil name
---@return integer|string ttl seconds, or what went wrong
---@return string? code
function co_dns.reverse(address, options)
  return look("reverse", address, options)
end

return co_dns
