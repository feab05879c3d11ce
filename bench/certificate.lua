--- A certificate for 127.0.0.1 and its key, in one file, by openssl.

local command = "openssl req -x509 -nodes -days 30 -subj /CN=localhost "
  .. "-newkey ec -pkeyopt ec_paramgen_curve:P-256 "
  .. "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
  .. "-keyout - -out - >%s 2>/dev/null"

return function(path) assert(os.execute(command:format(path))) end
