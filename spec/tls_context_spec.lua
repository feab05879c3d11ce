-- libevent.tls: what a context is made of, and what it cannot be made of.
local lfs = require "lfs"
local certificates = require "spec.certificates"
local libevent = require "libevent"
local secure = require "spec.secure"
local tls = require "libevent.tls"
local t = require "spec.helper"

local good, root = certificates.good, certificates.root
local context = tls.context

--- The options of a server, with others.
local function server(options)
  local all = {role = "server", certificate = good.certificate, key = good.key}
  for name, value in pairs(options or {}) do all[name] = value end
  return all
end

--- The context is one that can shake hands with a client, or a server.
local function works(ctx, other, name)
  local base = t.base()
  local isserver = tostring(ctx):find "server"
  local s, c = secure.pair(base, isserver and ctx or other,
                           isserver and other or ctx, name)
  local session = c:tls()
  base:close()
  return session, s
end

local function copy(from, to)
  t.write(t.contents(from), to)
  return to
end

describe("libevent.tls", function()
  before_each(t.start)
  after_each(t.finish)

  it("tells its version", function()
    assert.matches("SSL %d+%.%d+%.%d+", tls.version())
  end)

  it("makes clients and servers", function()
    assert.matches("^libevent.tls.Context %(client%): 0x%x+$",
                   tostring(context()))
    assert.matches("^libevent.tls.Context %(client%): 0x%x+$",
                   tostring(context {role = "client"}))
    assert.matches("^libevent.tls.Context %(server%): 0x%x+$",
                   tostring(context(server())))
    assert.equal("libevent.tls.Context", getmetatable(context()))
  end)

  describe("refuses", function()
    for name, case in pairs {
      ["what is no table"] = {"table expected, got number", 5},
      ["an option that it does not know"] = {"unknown option 'cert'",
                                             {cert = ""}},
      ["a role that there is not"] = {"\"client\" or \"server\" expected",
                                      {role = "peer"}},
      ["a role that is no string"] = {"\"client\" or \"server\" expected",
                                      {role = true}},
      ["a server without a certificate"] = {
        "'certificate' expected: a server has one", {role = "server"}},
      ["a key without a certificate"] = {"'key' without 'certificate'",
                                         {key = good.key}},
      ["a certificate that is no string"] = {
        "option 'certificate': the name of a file, or PEM, expected, got 5",
        server {certificate = 5}},
      ["a certificate's file that is not there"] = {
        "'certificate': /no/such: ", server {certificate = "/no/such"}},
      ["a folder as a certificate"] = {"'certificate': /tmp: ",
                                       server {certificate = "/tmp"}},
      ["a certificate's file without one"] = {
        "'certificate': " .. good.key .. ": no start line",
        server {certificate = good.key}},
      ["a certificate that is broken"] = {
        "'certificate': the given PEM: ", server {certificate =
          (good.pem:gsub("\n....", "\n!!!!", 3))}},
      ["a certificate that is cut"] = {
        "'certificate': the given PEM: ", server {certificate =
          good.pem:sub(1, -30)}},
      ["a chain whose second one is cut"] = {
        "'certificate': the given PEM: ", server {certificate =
          good.pem .. root.pem:sub(1, -30)}},
      ["a chain in the wrong order"] = {
        "'key': it does not go with the certificate", server {certificate =
          certificates.intermediate.pem .. good.pem}},
      ["a key that is no string"] = {
        "option 'key': the name of a file, or PEM, expected, got table",
        server {key = {}}},
      ["a key's file that is not there"] = {"'key': /no/such: ",
                                            server {key = "/no/such"}},
      ["a key's file without one"] = {"'key': " .. good.certificate,
                                      server {key = good.certificate}},
      ["a certificate's file without its key"] = {
        "'key' expected: there is none in " .. good.certificate,
        {certificate = good.certificate}},
      ["the key of another certificate"] = {
        "'key': it does not go with the certificate: key values mismatch",
        server {key = certificates.a.key}},
      ["a password of another type"] = {
        "'password': string or function expected, got 5",
        server {password = 5}},
      ["trust in a number"] = {"'trust': \"system\", the name of a file or "
                               .. "folder, or PEM, expected, got 5",
                               {trust = 5}},
      ["trust in a number in a list"] = {
        "or PEM, expected, got boolean", {trust = {root.certificate, false}}},
      ["trust in a file that is not there"] = {"'trust': /no/such: ",
                                               {trust = "/no/such"}},
      ["trust in nothing"] = {"'trust': no certificate in it",
                              {trust = good.key}},
      ["trust in nobody, if it is to verify"] = {
        "'trust' expected: who has to have signed the peer's certificate",
        {trust = {}}},
      ["trust in what is broken"] = {"'trust': the given PEM: ",
                                     {trust = root.pem:sub(1, -30)}},
      ["to verify in a way that there is not"] = {
        "'verify': boolean expected, got \"required\"", {verify = "required"}},
      ["to verify clients in a way that there is not"] = {
        "'verify': false, \"optional\" or \"required\" expected, got \"x\"",
        server {verify = "x"}},
      ["to verify clients that nobody vouches for"] = {
        "'trust' expected: who has to have signed the peer's certificate",
        server {verify = "optional"}},
      ["a version that there is not"] = {
        "'min_version': \"1.0\", \"1.1\", \"1.2\" or \"1.3\" expected, got "
        .. "\"1.4\"", {min_version = "1.4"}},
      ["a version that is a number"] = {
        "'max_version': \"1.0\", \"1.1\", \"1.2\" or \"1.3\" expected, got 1.2",
        {max_version = 1.2}},
      ["a range of versions without any"] = {
        "'max_version' is below 'min_version'", {max_version = "1.1"}},
      ["ciphers that there are not"] = {"'ciphers': ROT13: no cipher match",
                                        {ciphers = "ROT13"}},
      ["ciphers that are no string"] = {"'ciphers': string expected, got 1",
                                        {ciphers = 1}},
      ["suites that there are not"] = {"'ciphersuites': ROT13: ",
                                       {ciphersuites = "ROT13"}},
      ["groups that there are not"] = {"'groups': P-1: ", {groups = "P-1"}},
      ["no groups"] = {"'groups': ", {groups = ""}},
      ["ALPN that is no table"] = {
        "'alpn': table of names expected, got \"h2\"", {alpn = "h2"}},
      ["ALPN without names"] = {"'alpn': names expected", {alpn = {}}},
      ["ALPN with a name of nothing"] = {
        "'alpn': names of 1 to 255 bytes expected", {alpn = {"h2", ""}}},
      ["ALPN with a name that is too long"] = {
        "'alpn': names of 1 to 255 bytes expected", {alpn = {("x"):rep(256)}}},
      ["ALPN with what is no name"] = {
        "'alpn': names of 1 to 255 bytes expected", {alpn = {"h2", 7}}},
      ["to require ALPN without names"] = {"'alpn_required' without 'alpn'",
                                           {alpn_required = true}},
      ["to require ALPN with a word"] = {
        "'alpn_required': boolean expected", {alpn = {"h2"},
                                              alpn_required = "yes"}},
      ["names of a client"] = {"'names' are for servers", {names = {}}},
      ["names that are no table"] = {"'names': table expected, got 1",
                                     server {names = 1}},
      ["a name without a context"] = {
        "'names': contexts for servers by the names of hosts expected",
        server {names = {["a.test"] = good.certificate}}},
      ["a name with a client's context"] = {
        "'names': contexts for servers by the names of hosts expected",
        server {names = {["a.test"] = context()}}},
      ["contexts without a name"] = {
        "'names': contexts for servers by the names of hosts expected",
        server {names = {context(server())}}},
      ["a certificate's name with a byte 0"] = {
        "'certificate'", server {certificate = good.certificate .. "\0x"}},
      ["a key's name with a byte 0"] = {
        "'key'", server {key = good.key .. "\0x"}},
      ["a name of trust with a byte 0"] = {"'trust'",
                                          {trust = root.certificate .. "\0x"}},
      ["a keylog's name with a byte 0"] = {"'keylog'",
                                          {keylog = "/dev/null\0x"}},
      ["to resume now and then"] = {"'resume': boolean expected",
                                    {resume = 1}},
      ["a keylog that cannot be written"] = {
        "'keylog': /no/such: No such file or directory", {keylog = "/no/such"}},
      ["a keylog that is no name"] = {"'keylog': string expected",
                                      {keylog = 1}},
      ["no time at all for a handshake"] = {
        "a timeout of 0 seconds: false is none", {handshake_timeout = 0}},
      ["less time for a handshake"] = {"option 'handshake_timeout'",
                                       {handshake_timeout = -1}},
      ["any time for a handshake"] = {"option 'handshake_timeout'",
                                      {handshake_timeout = true}},
      ["a context of anybody's"] = {
        "'ssl_ctx': a context of luaossl's expected", {ssl_ctx = io.stdout}},
    } do
      it(name, function() t.raises(case[1], context, case[2]) end)
    end
  end)

  describe("takes a certificate and its key", function()
    it("from files, as PEM, or both from one", function()
      local pem, key = t.contents(good.certificate), t.contents(good.key)
      local both = t.write(key .. pem, certificates.path "both.pem")
      for _, options in ipairs {
        {certificate = good.certificate, key = good.key},
        {certificate = pem, key = key},
        {certificate = good.certificate, key = key},
        {certificate = both},
        {certificate = pem .. key},
      } do
        options.role = "server"
        local session = works(context(options), secure.client())
        assert.equal(good.pem, session.peer.pem)
      end
    end)

    it("with what a file says beside them", function()
      local session = works(context(server {
        certificate = "Bag Attributes\n" .. good.pem .. "and then\n"
                      .. certificates.intermediate.pem .. "no more"}),
        secure.client())
      assert.is_true(session.verified)
    end)

    it("of a client, too", function()
      local own = certificates.client
      local base = t.base()
      local s = secure.pair(base, secure.server {verify = "required",
        trust = root.certificate}, secure.known "client")
      assert.equal(own.pem, s:tls().peer.pem)
      assert.is_true(s:tls().verified)
      base:close()
    end)

    it("as they are just now", function()
      local path = certificates.path "moving.pem"
      copy(good.certificate, path)
      local ctx = context(server {certificate = path})
      os.remove(path)
      works(ctx, secure.client())
    end)

    it("whose file nobody may read, not at all", function()
      local path = certificates.path "secret.key"
      copy(good.key, path)
      os.execute("chmod 000 " .. path)
      local file = io.open(path)
      if file then file:close() end              -- root may read all
      local ok, message = pcall(context, server {key = path})
      assert.equal(file ~= nil, ok)
      if not ok then assert.matches("Permission denied", message) end
    end)
  end)

  describe("asks for the password of a key", function()
    local locked

    setup(function()
      locked = {certificates.path "locked.key", certificates.path "locked8.key"}
      certificates.openssl("ec -aes128 -passout pass:secret -in %s -out %s",
                           good.key, locked[1])
      certificates.openssl("pkcs8 -topk8 -passout pass:secret -in %s -out %s",
                           good.key, locked[2])
    end)

    local function with(key, password)
      return context(server {key = key, password = password})
    end

    it("a string or a function", function()
      for _, key in ipairs(locked) do
        works(with(key, "secret"), secure.client())
        works(with(t.contents(key), "secret"), secure.client())
        works(with(key, t.expect(function(...)
          assert.equal(0, select("#", ...))
          return "secret"
        end)), secure.client())
      end
    end)

    it("and nobody at the terminal", function()
      for _, key in ipairs(locked) do
        t.raises("'password' expected: the key is encrypted", with, key)
      end
    end)

    it("and is told a wrong one", function()
      for _, key in ipairs(locked) do
        for _, password in ipairs {"wrong", "", ("x"):rep(100000),
                                   function() end,
                                   function() return 5 end,
                                   function() return "wrong" end} do
          t.raises("'password': the key cannot be decrypted with it", with, key,
                   password)
        end
      end
    end)

    it("and is answered with an error", function()
      local err = {}
      for _, key in ipairs(locked) do
        local ok, got = pcall(with, key, function() error(err) end)
        assert.is_false(ok)
        assert.equal(err, got)
      end
    end)

    it("and cannot wait for the answer", function()
      for _, key in ipairs(locked) do
        local ok, message = coroutine.wrap(function()
          return pcall(with, key, function() return coroutine.yield() end)
        end)()
        assert.is_false(ok)
        assert.matches("attempt to yield", message)
      end
    end)

    it("in a function that makes contexts itself", function()
      works(with(locked[1], t.expect(function()
        t.raises("cannot be decrypted", with, locked[2], "wrong")
        works(with(locked[1], "secret"), secure.client())
        collectgarbage()
        return "secret"
      end)), secure.client())
    end)

    it("and of no other one", function()
      works(with(good.key, t.never()), secure.client())
    end)

    it("again when it reloads", function()
      local ctx = with(locked[1], t.expect(function() return "secret" end, 2))
      assert.equal(ctx, ctx:reload())
      works(ctx, secure.client())
    end)
  end)

  describe("trusts", function()
    local folder

    setup(function()
      folder = certificates.path "trusted"
      assert(lfs.mkdir(folder))
      copy(root.certificate, folder .. "/root.pem")
      certificates.openssl("rehash %s", folder)
    end)

    it("a file, a folder, PEM, or a list of them", function()
      for _, trust in ipairs {
        root.certificate, root.pem, folder,
        {root.certificate}, {certificates.stranger.pem, root.pem},
        {folder, root.certificate, root.certificate},
        {"system", root.certificate}, certificates.stranger.pem .. root.pem,
      } do
        assert.is_true(works(context {trust = trust}, secure.server()).verified)
      end
    end)

    it("the system, if nothing is said", function()
      local base = t.base()
      for _, ctx in ipairs {context(), context {trust = "system"},
                            context {trust = {"system"}}} do
        local _, client = secure.meet(base, secure.server(), ctx)
        assert.matches("certificate verify failed: unable to get local issuer",
                       client[1])
      end
      base:close()
    end)

    it("anybody who is not verified", function()
      for _, options in ipairs {{verify = false}, {verify = false, trust = {}},
                                {verify = false, trust = root.pem}} do
        local session = works(context(options), secure.server({}, "unknown"))
        assert.is_false(session.verified)
        assert.equal("unknown", session.peer.subject:match "CN=(%w+)")
      end
    end)

    it("clients that have no certificate, or a good one", function()
      local base = t.base()
      local ctx = secure.server {verify = "optional", trust = folder}
      local s = secure.pair(base, ctx)
      assert.is_false(s:tls().verified)
      assert.is_nil(s:tls().peer)
      s = secure.pair(base, ctx, secure.known "client")
      assert.is_true(s:tls().verified)
      assert.same({"client.test"}, s:tls().peer.names)
      base:close()
    end)
  end)

  describe("speaks", function()
    it("the versions that both ends know", function()
      for _, case in ipairs {
        {{}, {}, "TLSv1.3"}, {{max_version = "1.2"}, {}, "TLSv1.2"},
        {{}, {max_version = "1.2"}, "TLSv1.2"},
        {{min_version = "1.3"}, {min_version = "1.2"}, "TLSv1.3"},
        {{min_version = "1.2", max_version = "1.2"},
         {min_version = "1.0"}, "TLSv1.2"},
      } do
        local session = works(secure.server(case[1]), secure.client(case[2]))
        assert.equal(case[3], session.version)
      end
    end)

    it("old ones only where that is said twice", function()
      local base = t.base()
      local old = {min_version = "1.0", max_version = "1.1",
                   ciphers = "DEFAULT@SECLEVEL=0"}
      local one, other = secure.meet(base, secure.server(old),
                                     secure.client {min_version = "1.0"})
      assert.matches("^error 71", one[1])
      assert.matches("^error 71", other[1])
      local session = works(secure.server(old), secure.client(old))
      assert.equal("TLSv1.1", session.version)
      base:close()
    end)

    it("ciphers, suites and groups as they are said", function()
      local session = works(secure.server(), secure.client {
        max_version = "1.2", ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"})
      assert.equal("ECDHE-ECDSA-CHACHA20-POLY1305", session.cipher)
      session = works(secure.server {ciphersuites = "TLS_AES_128_GCM_SHA256"},
                      secure.client())
      assert.equal("TLS_AES_128_GCM_SHA256", session.cipher)
      works(secure.server {groups = "P-256:P-384"},
            secure.client {groups = "P-384"})
      local base = t.base()
      for _, case in ipairs {
        {{ciphersuites = "TLS_AES_128_GCM_SHA256"},
         {ciphersuites = "TLS_AES_256_GCM_SHA384"}, "no shared cipher"},
        {{groups = "P-256"}, {groups = "P-384"}, "no suitable key share"},
      } do
        local one, other = secure.meet(base, secure.server(case[1]),
                                       secure.client(case[2]))
        assert.matches("^error 71 " .. case[3], one[1])
        assert.matches("alert handshake failure", other[1])
      end
      base:close()
    end)

    it("of TLS 1.2 nothing that can be read with the key one day", function()
      local base = t.base()
      for _, ciphers in ipairs {"AES128-SHA", "ECDHE-ECDSA-AES128-SHA"} do
        local one = secure.meet(base, secure.server(), secure.client {
          max_version = "1.2", ciphers = ciphers})
        assert.matches("^error 71 no shared cipher", one[1])
      end
      base:close()
    end)
  end)

  describe("reloads", function()
    local path, key

    before_each(function()
      path, key = certificates.path "r.pem", certificates.path "r.key"
      copy(good.certificate, path)
      copy(good.key, key)
    end)

    local function subject(ctx, client)
      return works(ctx, client or secure.client {verify = false})
        .peer.subject:match "CN=(%w+)"
    end

    it("what is in its files", function()
      local ctx = context(server {certificate = path, key = key})
      assert.equal("good", subject(ctx))
      copy(certificates.a.certificate, path)
      copy(certificates.a.key, key)
      assert.equal("good", subject(ctx))
      assert.equal(ctx, ctx:reload())
      assert.equal("a", subject(ctx))
    end)

    it("not, if anything is wrong with them", function()
      local ctx = context(server {certificate = path, key = key,
                                  trust = root.pem, verify = "optional"})
      copy(certificates.a.certificate, path)
      local result, message = ctx:reload()
      assert.is_nil(result)
      assert.matches("'key': it does not go with the certificate", message)
      assert.equal("good", subject(ctx))
      os.remove(path)
      result, message = ctx:reload()
      assert.is_nil(result)
      assert.matches("'certificate': " .. path .. ": ", message, 1, true)
      assert.equal("good", subject(ctx))
      t.write("", path)
      assert.is_nil((ctx:reload()))
      assert.equal("good", subject(ctx))
      copy(good.certificate, path)
      assert.equal(ctx, ctx:reload())
    end)

    it("whom it trusts", function()
      local trusted = certificates.path "trusted.pem"
      copy(certificates.stranger.certificate, trusted)
      local ctx = context {trust = trusted}
      local base = t.base()
      local _, client = secure.meet(base, secure.server(), ctx)
      assert.matches("certificate verify failed", client[1])
      copy(root.certificate, trusted)
      assert(ctx:reload())
      assert.is_true(works(ctx, secure.server()).verified)
      base:close()
    end)

    it("under connections that go on", function()
      local base = t.base()
      local ctx = context(server {certificate = path, key = key})
      local client = secure.client()
      local s, c = secure.pair(base, ctx, client)
      copy(certificates.a.certificate, path)
      copy(certificates.a.key, key)
      for _ = 1, 3 do
        assert(ctx:reload())
        assert(client:reload())
      end
      ctx, client = nil, nil -- luacheck: ignore
      collectgarbage() collectgarbage()
      local data = t.pattern(100000)
      local back = t.collect(c)
      s:write(data):close_after_flush()
      t.runtill(base, function() return back.data end)
      assert.is_true(back.data == data)
      base:close()
    end)

    it("in the middle of a handshake", function()
      local base = t.base()
      local ctx, client = secure.server(), secure.client()
      local done
      secure.connected(base, ctx, client, t.expect(function(s, c)
        assert.is_true(c:tls().verified)
        s:close()
        c:close()
        done = true
      end))
      repeat
        base:loop "once"
        assert(ctx:reload())
        assert(client:reload())
      until done
      base:close()
    end)

    it("what names have", function()
      local inner = context(server {certificate = path, key = key})
      local outer = context(server {names = {["a.test"] = inner}})
      copy(certificates.a.certificate, path)
      copy(certificates.a.key, key)
      assert(inner:reload())
      assert(outer:reload())
      assert(inner:reload())
      local session = works(outer, secure.client(), "a.test")
      assert.equal(certificates.a.pem, session.peer.pem)
      works(outer, secure.client())
    end)

    it("as it was told, whatever became of the tables", function()
      local alpn, trust = {"one"}, {root.certificate}
      local names = {["a.test"] = secure.server({}, "a")}
      local ctx = context(server {alpn = alpn, trust = trust, names = names,
                                  verify = "required"})
      alpn[1], trust[1] = "two", certificates.stranger.certificate
      names["a.test"] = nil
      assert(ctx:reload())
      local session = works(ctx, secure.known("client", {
        alpn = {"two", "one"}}), "a.test")
      assert.equal("one", session.alpn)
      assert.equal(certificates.a.pem, session.peer.pem)
    end)

    it("with tickets of before that are good still", function()
      local base = t.base()
      for _, version in ipairs {"1.2", "1.3"} do
        local ctx = secure.server {max_version = version}
        local client = secure.client()
        local listener = assert(base:listener("127.0.0.1:0", function(_, conn)
          conn:write "x"
        end, {tls = ctx}))
        local function resumed()
          local result
          local bev = base:bufferevent(nil, {tls = client,
                                             hostname = "localhost"})
          bev:setcb(function(b)
            result = b:tls()
            b:close()
          end):enable "read":connect(listener:sockname())
          t.runtill(base, function() return result end)
          return result.resumed
        end
        assert.is_false(resumed())
        assert.is_true(resumed())
        assert(ctx:reload())
        assert.is_true(resumed())
        assert(client:reload())                 -- which forgets its own
        assert.is_false(resumed())
        listener:close()
      end
      base:close()
    end)

    it("nothing of luaossl's", function()
      local ctx = context {ssl_ctx = require "openssl.ssl.context".new()}
      t.raises("the context is luaossl's", ctx.reload, ctx)
    end)

    it("contexts alone", function()
      local reload = context().reload
      t.raises("libevent.tls.Context expected", reload)
      t.raises("libevent.tls.Context expected", reload, io.stdout)
    end)
  end)

  describe("takes luaossl's context", function()
    local ossl = require "openssl.ssl.context"
    local x509, pkey = require "openssl.x509", require "openssl.pkey"

    it("for servers", function()
      local own = certificates.alone
      local ctx = ossl.new("TLS", true)
      ctx:setCertificate(x509.new(own.pem))
      ctx:setPrivateKey(pkey.new(t.contents(own.key)))
      local mine = context {ssl_ctx = ctx, role = "server",
                            handshake_timeout = 5}
      ctx = nil -- luacheck: ignore
      collectgarbage() collectgarbage()
      assert.is_true(works(mine, secure.client {trust = own.pem}).verified)
    end)

    it("for clients", function()
      local ctx = ossl.new "TLS"
      local store = require "openssl.x509.store".new()
      store:add(root.certificate)
      ctx:setStore(store)
      ctx:setVerify(ossl.VERIFY_PEER)
      local base = t.base()
      local mine = context {ssl_ctx = ctx}
      assert.is_true(works(mine, secure.server()).verified)
      local _, client = secure.meet(base, secure.server({}, "unknown"), mine)
      assert.matches("certificate verify failed", client[1])
      _, client = secure.meet(base, secure.server({}, "other"), mine)
      assert.matches("hostname mismatch", client[1])
      base:close()
    end)

    it("for a client that has to name its peer", function()
      local ctx = ossl.new "TLS"
      local base = t.base()
      ctx:setVerify(ossl.VERIFY_PEER)
      local a, b = libevent.socketpair()
      t.raises("'hostname' expected", base.bufferevent, base, a, {
        tls = context {ssl_ctx = ctx}})
      libevent.closesocket(a)
      libevent.closesocket(b)
      base:close()
    end)

    it("with no option of its own", function()
      t.raises("unknown option 'certificate'", context, {
        ssl_ctx = ossl.new("TLS", true), certificate = good.certificate})
    end)
  end)

  it("leaves nothing behind that the script has dropped", function()
    local list = setmetatable({}, {__mode = "k"})
    for i = 1, 20 do
      local inner = secure.server({}, "a")
      local outer = secure.server {names = {["a.test"] = inner}}
      list[inner], list[outer] = i, i
      list[secure.client {keylog = "/dev/null"}] = i
      local names = {}
      local own = secure.server {names = names}
      names["own.test"] = own
      assert(own:reload())
      list[own] = i
    end
    collectgarbage() collectgarbage()
    assert.is_nil(next(list))
  end)
end)
