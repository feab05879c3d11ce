--- Certificates for the specs of TLS, made by the openssl command when they are
--- asked for, once in a process, in a folder that goes with it.
---
---   local certificates = require "spec.certificates"
---   local server = certificates.good            -- any of the kinds below
---   server.certificate, server.key              -- files: chain and key
---   certificates.root.certificate               -- whom to trust
---
--- All of them but the roots are signed by the intermediate one, if nothing
--- else is said, and have it behind them in their file. Keys are of EC, P-256.

local lfs = require "lfs"
local t = require "spec.helper"

local kinds = {
  root = {name = "The root", authority = true, issuer = "root"},
  stranger = {name = "A stranger", authority = true, issuer = "stranger"},
  intermediate = {name = "The intermediate", authority = true,
                  issuer = "root"},
  good = {name = "good", alt = "DNS:localhost,DNS:*.good.test,IP:127.0.0.1,"
                               .. "IP:::1"},
  a = {name = "a", alt = "DNS:a.test"},
  b = {name = "b", alt = "DNS:*.b.test"},
  other = {name = "other", alt = "DNS:other.test"},
  address = {name = "address", alt = "IP:10.1.2.3"},
  partial = {name = "partial", alt = "DNS:l*calhost,DNS:*.test,DNS:*"},
  commonname = {name = "localhost"},
  expired = {name = "expired", alt = "DNS:localhost", from = "20010101000000Z",
             to = "20020101000000Z"},
  future = {name = "future", alt = "DNS:localhost", from = "20900101000000Z",
            to = "20910101000000Z"},
  alone = {name = "alone", alt = "DNS:localhost", issuer = "alone"},
  unknown = {name = "unknown", alt = "DNS:localhost", issuer = "stranger"},
  client = {name = "client", usage = "clientAuth", alt = "DNS:client.test"},
  old = {name = "old client", usage = "clientAuth", from = "20010101000000Z",
         to = "20020101000000Z"},
  strange = {name = "strange client", usage = "clientAuth",
             issuer = "stranger"},
}

local CONFIG = [[
[req]
prompt = no
distinguished_name = dn
[dn]
O = Specs
CN = %s
[ca]
default_ca = here
[here]
database = %s/index
new_certs_dir = %s
unique_subject = no
default_md = sha256
default_days = 3650
rand_serial = yes
policy = any
x509_extensions = extensions
[any]
organizationName = supplied
commonName = supplied
[extensions]
basicConstraints = critical,CA:%s
%s
]]

-- The folder goes when Lua does, or when nobody needs this module any more.
local folder = setmetatable({}, {__gc = function(self)
  if self.path then os.execute("rm -rf " .. self.path) end
end})

local function path(name)
  if not folder.path then
    folder.path = t.path()
    assert(lfs.mkdir(folder.path))
    t.write("", folder.path .. "/index")
  end
  return folder.path .. "/" .. name
end

--- The openssl command; the sanitizers are not its own.
local function openssl(format, ...)
  local log = path "log"
  local ok = os.execute(("env -u LD_PRELOAD openssl %s >%s 2>&1 </dev/null")
    :format(format:format(...), log))
  if not ok then error(t.contents(log), 2) end
end

local certificates = {openssl = openssl, path = path}

local function extensions(kind)
  if kind.authority then return "keyUsage = keyCertSign,cRLSign" end
  local list = {}
  if kind.alt then list[1] = "subjectAltName = " .. kind.alt end
  list[#list + 1] = "extendedKeyUsage = " .. (kind.usage or "serverAuth")
  return table.concat(list, "\n")
end

--- Makes a certificate of that kind: {certificate = file, key = file, pem =
--- the text of its own certificate alone}.
local function make(name, kind)
  local issuer = kind.issuer or "intermediate"
  local base = path(name:gsub("%W", "-"))
  local made = {certificate = base .. ".pem", key = base .. ".key"}
  local config, request = base .. ".conf", base .. ".request"
  t.write(CONFIG:format(kind.name, path "", path "",
    kind.authority and "TRUE" or "FALSE", extensions(kind)), config)
  openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
          .. " -config %s -keyout %s -out %s", config, made.key, request)
  local by = issuer == name and "-selfsign -keyfile " .. made.key
    or ("-cert %s.own -keyfile %s"):format(
      certificates[issuer].certificate, certificates[issuer].key)
  openssl("ca -batch -notext -config %s -in %s -out %s.own %s %s %s", config,
          request, made.certificate, by,
          kind.from and "-startdate " .. kind.from or "",
          kind.to and "-enddate " .. kind.to or "")
  made.pem = t.contents(made.certificate .. ".own")
  t.write(issuer == "intermediate" and made.pem .. certificates[issuer].pem
          or made.pem, made.certificate)
  return made
end

return setmetatable(certificates, {__index = function(self, name)
  local made = make(name, assert(kinds[name], name))
  self[name] = made
  return made
end})
