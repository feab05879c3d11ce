--- libevent.ssl_context: LuaSec's configurations, as contexts of libevent.tls.
---
--- What is right by default there stays so: TLS is 1.2 or 1.3, unless
--- `protocol` names an older one, with libevent.tls' ciphers, unless others are
--- named.
--- Options of OpenSSL's that weaken it are not known here.

local tls = require "libevent.tls"

-- The versions, oldest and newest, that a protocol means.
local PROTOCOLS = {
  any = {}, sslv23 = {}, tlsv1_2 = {"1.2", "1.2"}, tlsv1_3 = {"1.3", "1.3"},
  tlsv1 = {"1.0", "1.0"}, tlsv1_1 = {"1.1", "1.1"},
}

-- Options that change nothing: they are so in any case, or for what TLS 1.2 and
-- the ciphers here do not have.
local VOID = {}
for name in ([[all cipher_server_preference cleanse_plaintext no_compression
  no_renegotiation no_session_resumption_on_renegotiation no_sslv2 no_sslv3
  no_tlsv1 no_tlsv1_1 prioritize_chacha single_dh_use single_ecdh_use
  ]]):gmatch "%S+" do VOID[name] = true end

local VERIFY = {none = true, peer = true, fail_if_no_peer_cert = true,
                client_once = true}

local Context = {__name = "SSL context"}
Context.__index = Context

function Context:__tostring() return ("SSL context: %p"):format(self) end

-- {==== The parts of a configuration ====

--- A word, a list of words or nothing, as a list.
local function words(value)
  return type(value) == "table" and value or {value}
end

--- Each of these fills some of 'options' in; it returns why it cannot.

local function setprotocol(options, cfg)
  local versions = PROTOCOLS[cfg.protocol]
  if not versions then return ("invalid protocol (%s)"):format(cfg.protocol) end
  options.min_version, options.max_version = versions[1], versions[2]
end

local function setoptions(options, cfg)
  for _, word in ipairs(words(cfg.options)) do
    if word == "no_ticket" then
      options.resume = false
    elseif word == "no_tlsv1_3" and cfg.protocol ~= "tlsv1_3" then
      options.max_version = options.max_version or "1.2"
    elseif word == "no_tlsv1_2" and cfg.protocol ~= "tlsv1_2" then
      options.min_version = options.min_version or "1.3"
    elseif not VOID[word] then
      return ("invalid option (%s)"):format(word)
    end
  end
end

local function setcertificate(options, cfg)
  local own = cfg
  if cfg.certificates then
    own = cfg.certificates[1] or {}
    if cfg.certificates[2] then return "more than one certificate" end
  end
  options.certificate, options.key = own.certificate, own.key
  options.password = own.password
end

local function setverify(options, cfg)
  local verify = {}
  for _, word in ipairs(words(cfg.verify)) do
    if not VERIFY[word] then
      return ("invalid verify option (%s)"):format(word)
    end
    verify[word] = true
  end
  if cfg.verifyext then return "verifyext is not supported" end
  if cfg.depth then return "depth is not supported" end
  if not verify.peer then
    options.verify = false
  elseif cfg.mode == "client" then
    options.verify = true
  else
    options.verify = verify.fail_if_no_peer_cert and "required" or "optional"
  end
  if cfg.cafile or cfg.capath then
    options.trust = {cfg.cafile or cfg.capath, cfg.cafile and cfg.capath}
  elseif verify.peer then
    options.trust = "system"
  end
end

local function setciphers(options, cfg)
  options.ciphers, options.ciphersuites = cfg.ciphers, cfg.ciphersuites
  options.groups = cfg.curveslist or cfg.curve
  if cfg.dane then return "dane is not supported" end
end

local function setalpn(options, cfg)
  local alpn = cfg.alpn
  if type(alpn) == "function" then
    return "a function as alpn is not supported"
  elseif alpn ~= nil and type(alpn) ~= "string" and type(alpn) ~= "table" then
    return "invalid ALPN parameter"
  end
  options.alpn = type(alpn) == "string" and {alpn} or alpn
end

local PARTS = {setprotocol, setoptions, setcertificate, setverify, setciphers,
               setalpn}

-- ====}

local ssl_context = {}

--- A context for connections, or nil and what is wrong.
function ssl_context.new(cfg)
  if type(cfg) ~= "table" then
    error(("bad argument #1 to 'newcontext' (table expected, got %s)"):format(
      type(cfg)), 2)
  elseif type(cfg.protocol) ~= "string" then
    error(("bad argument #1 to 'newcontext' (protocol: string expected, got "
           .. "%s)"):format(type(cfg.protocol)), 2)
  elseif cfg.mode ~= "client" and cfg.mode ~= "server" then
    return nil, ("invalid mode (%s)"):format(cfg.mode)
  end
  local options = {role = cfg.mode}
  for _, set in ipairs(PARTS) do
    local message = set(options, cfg)
    if message then return nil, message end
  end
  local ok, context = pcall(tls.context, options)
  if not ok then return nil, context end
  return setmetatable({context = context, mode = cfg.mode}, Context)
end

--- Is it one?
function ssl_context.is(value)
  return getmetatable(value) == Context
end

return ssl_context
