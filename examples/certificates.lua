-- Certificates for the examples of TLS: an authority of their own, and what it
-- signs, each with its key in one file: for servers called localhost,
-- one.localhost and two.localhost, and for a client called alice. Started again
-- it keeps the authority and makes new ones of the others.
--   lua5.4 examples/certificates.lua [folder]      (certificates)
-- Try it: openssl x509 -in certificates/localhost.pem -noout -text
local folder = arg[1] or "certificates"

-- The shell's word for it.
local function quoted(s)
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

-- By the shell, with a word of its own for each %s; nobody else may read what
-- comes of it.
local function run(command, ...)
  local words = {...}
  for i, word in ipairs(words) do words[i] = quoted(word) end
  local pipe = io.popen("umask 077; " .. command:format(table.unpack(words))
                        .. " 2>&1")
  local text = pipe:read "a"
  if not pipe:close() then
    io.stderr:write(text)
    os.exit(1)
  end
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local CONFIG = [[
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = %s
[extensions]
subjectKeyIdentifier = hash
%s
]]

-- A key and a certificate for it; 'signer' is what else the command is told.
local function make(name, days, extensions, signer)
  local path = folder .. "/" .. name
  local config = assert(io.open(path .. ".cnf", "w"))
  config:write(CONFIG:format(name, extensions))
  config:close()
  run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc "
      .. "-days " .. days .. " -config %s -keyout %s -out %s " .. signer,
      path .. ".cnf", path .. ".key", path .. ".new")
  os.remove(path .. ".cnf")
end

local function sign(name, extensions)
  local path = folder .. "/" .. name
  make(name, 90, "authorityKeyIdentifier = keyid\n"
       .. "basicConstraints = critical, CA:false\n"
       .. "keyUsage = critical, digitalSignature\n" .. extensions,
       ("-CA %s -CAkey %s"):format(quoted(folder .. "/ca.pem"),
                                   quoted(folder .. "/ca.key")))
  run("cat %s >>%s && rm %s", path .. ".key", path .. ".new", path .. ".key")
  os.rename(path .. ".new", path .. ".pem")      -- whole at any moment
end

run("mkdir -p %s", folder)
if not exists(folder .. "/ca.pem") then
  make("ca", 365, "basicConstraints = critical, CA:true\n"
       .. "keyUsage = critical, keyCertSign, cRLSign", "")
  os.rename(folder .. "/ca.new", folder .. "/ca.pem")
end
sign("localhost", "extendedKeyUsage = serverAuth\n"
     .. "subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1")
for _, name in ipairs {"one.localhost", "two.localhost"} do
  sign(name, "extendedKeyUsage = serverAuth\nsubjectAltName = DNS:" .. name)
end
sign("alice", "extendedKeyUsage = clientAuth")
print("certificates in " .. folder)
