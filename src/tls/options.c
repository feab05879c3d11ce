/*
** options.c: what a script says of TLS, and what holds if it says nothing.
**
** All of it is checked and loaded at once: a Context that is there works. What
** is wrong raises: a listener that were given nil instead of a Context would
** serve in the clear.
*/
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

/* With forward secrecy, and encrypted and authenticated in one: of TLS 1.2; of
   1.3 all are. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS "X25519:P-256:P-384:P-521"
#define NEWGROUPS "X25519MLKEM768:" GROUPS    /* of OpenSSL 3.5 */

/* Seconds for a handshake. */
#define HANDSHAKE 30

static const char *const optionnames[] = {
  "role", "certificate", "key", "password", "trust", "verify", "min_version",
  "max_version", "ciphers", "ciphersuites", "groups", "alpn", "alpn_required",
  "names", "resume", "keylog", "handshake_timeout", "ssl_ctx", NULL
};

/* {==== Errors ==== */

/* What the system says of it, or else OpenSSL. */
static int refuse (lua_State *L, const char *option, const char *what) {
  unsigned long first = ERR_peek_error(), last = ERR_peek_last_error();
  const char *reason = ERR_GET_LIB(first) == ERR_LIB_SYS
                       ? strerror(ERR_GET_REASON(first))
                       : last ? ERR_reason_error_string(last) : NULL;
  ERR_clear_error();
  return luaL_error(L, "'%s': %s%s%s", option, what, reason ? ": " : "",
                    reason ? reason : "");
}

static SSL_CTX *ctxof (const lev_Context *c) {
  return c->settings->ctx;
}

/* ====} */

/* {==== PEM, given as such or by the name of its file ==== */

static bool ispem (const char *s) {
  return strstr(s, "-----BEGIN ") != NULL;
}

/* [idx] the option's value, as it is told in errors. */
static const char *nameof (lua_State *L, int idx) {
  const char *s = lua_tostring(L, idx);
  return ispem(s) ? "the given PEM" : s;
}

static BIO *source (lua_State *L, int arg, int idx, const char *option) {
  size_t n = 0;
  BIO *bio;
  const char *s;
  s = lua_type(L, idx) == LUA_TSTRING ? lua_tolstring(L, idx, &n) : NULL;
  if (s == NULL || strlen(s) != n) {
    levL_expected(L, idx, arg, "the name of a file, or PEM,");
    return NULL;
  }
  ERR_clear_error();
  bio = ispem(s) ? BIO_new_mem_buf(s, (int)n) : BIO_new_file(s, "r");
  if (bio == NULL)
    refuse(L, option, s);
  return bio;
}

/* For what is not encrypted in PEM: OpenSSL would ask on the terminal. */
static int nopassword (char *buf, int size, int rwflag, void *data) {
  (void)buf; (void)size; (void)rwflag; (void)data;
  return -1;
}

/* Has all been read? The end of PEM is an error, too, and the first one. */
static bool isend (void) {
  unsigned long e = ERR_peek_error();
  bool end = ERR_GET_LIB(e) == ERR_LIB_PEM
             && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
  if (end)
    ERR_clear_error();
  return end;
}

static bool usechain (SSL_CTX *ctx, BIO *bio) {
  X509 *x = PEM_read_bio_X509_AUX(bio, NULL, nopassword, NULL);
  bool ok = x && SSL_CTX_use_certificate(ctx, x);
  X509_free(x);
  while (ok && (x = PEM_read_bio_X509(bio, NULL, nopassword, NULL)) != NULL) {
    ok = SSL_CTX_add0_chain_cert(ctx, x);
    if (!ok)
      X509_free(x);
  }
  return ok && isend();
}

/* [idx] the option's value */
static void setcertificate (lua_State *L, int arg, int idx, SSL_CTX *ctx) {
  BIO *bio = source(L, arg, idx, "certificate");
  bool ok = usechain(ctx, bio);
  BIO_free(bio);
  if (!ok)
    refuse(L, "certificate", nameof(L, idx));
}

/* ====} */

/* {==== Keys ==== */

typedef struct Password {
  lua_State *L;
  int idx;                    /* of the option's value */
  bool asked;
  bool failed;                /* the function has: its error is on the stack */
} Password;

/* OpenSSL's, in the middle of its reading: nothing is raised. */
static int onpassword (char *buf, int size, int rwflag, void *data) {
  Password *p = data;
  lua_State *L = p->L;
  size_t n;
  const char *s;
  (void)rwflag;
  p->asked = true;
  lua_pushvalue(L, p->idx);
  if (lua_isfunction(L, -1) && lua_pcall(L, 0, 1, 0) != LUA_OK) {
    p->failed = true;
    return -1;
  }
  if (lua_type(L, -1) != LUA_TSTRING)
    return -1;
  s = lua_tolstring(L, -1, &n);
  if (n > (size_t)size)
    return -1;
  memcpy(buf, s, n);
  return (int)n;
}

/* [key] the option's value, or if it is not 'given' the certificate's;
   [password] of it, or nil */
static void setkey (lua_State *L, int arg, int key, bool given, int password,
                    SSL_CTX *ctx) {
  Password p = {L, password, false, false};
  EVP_PKEY *pkey;
  BIO *bio;
  bool ok;
  int type = lua_type(L, password);
  if (type != LUA_TNIL && type != LUA_TSTRING && type != LUA_TFUNCTION)
    levL_expected(L, password, arg, "string or function");
  luaL_checkstack(L, 4, NULL);
  bio = source(L, arg, key, "key");
  pkey = PEM_read_bio_PrivateKey(bio, NULL, onpassword, &p);
  BIO_free(bio);
  if (p.failed) {
    ERR_clear_error();
    lua_error(L);
  }
  if (pkey == NULL && p.asked && type == LUA_TNIL) {
    ERR_clear_error();
    luaL_error(L, "'password' expected: the key is encrypted");
  }
  if (pkey == NULL && p.asked) {
    ERR_clear_error();
    luaL_error(L, "'password': the key cannot be decrypted with it");
  }
  if (pkey == NULL && !given) {
    ERR_clear_error();
    luaL_error(L, "'key' expected: there is none in %s", nameof(L, key));
  }
  if (pkey == NULL)
    refuse(L, "key", nameof(L, key));
  ok = SSL_CTX_use_PrivateKey(ctx, pkey);
  EVP_PKEY_free(pkey);
  if (!ok || !SSL_CTX_check_private_key(ctx))
    refuse(L, "key", "it does not go with the certificate");
}

static void setidentity (lua_State *L, int arg, const lev_Context *c) {
  int top = lua_gettop(L), certificate = top + 2, key = top + 4;
  bool given = levL_option(L, arg, "certificate");
  bool haskey = levL_option(L, arg, "key");
  levL_option(L, arg, "password");
  luaL_argcheck(L, given || !c->server, arg,
                "'certificate' expected: a server has one");
  luaL_argcheck(L, given || !haskey, arg, "'key' without 'certificate'");
  if (given) {
    setcertificate(L, arg, certificate, ctxof(c));
    setkey(L, arg, haskey ? key : certificate, haskey, top + 6, ctxof(c));
  }
  lua_settop(L, top);
}

/* ====} */

/* {==== Whom it trusts ==== */

/* All certificates of a PEM: 0 none, -1 an error. */
static int trustpem (SSL_CTX *ctx, bool server, BIO *bio) {
  X509_STORE *store = SSL_CTX_get_cert_store(ctx);
  int n = 0;
  X509 *x;
  while ((x = PEM_read_bio_X509(bio, NULL, nopassword, NULL)) != NULL) {
    bool ok = X509_STORE_add_cert(store, x)
              && (!server || SSL_CTX_add_client_CA(ctx, x));
    X509_free(x);
    if (!ok)
      return -1;
    n++;
  }
  return isend() ? n : -1;
}

/* [-1] one of them */
static void trust (lua_State *L, int arg, const lev_Context *c) {
  int idx = lua_gettop(L), n;
  SSL_CTX *ctx = ctxof(c);
  struct stat st;
  const char *s;
  BIO *bio;
  if (lua_type(L, idx) != LUA_TSTRING)
    levL_expected(L, idx, arg, "\"system\", the name of a file or folder, or "
                               "PEM,");
  s = lua_tostring(L, idx);
  if (strlen(s) == lua_rawlen(L, idx) && strcmp(s, "system") == 0) {
    if (!SSL_CTX_set_default_verify_paths(ctx))
      refuse(L, "trust", s);
    return;
  }
  if (!ispem(s) && stat(s, &st) == 0 && S_ISDIR(st.st_mode)) {
    if (!SSL_CTX_load_verify_dir(ctx, s))
      refuse(L, "trust", s);
    return;
  }
  bio = source(L, arg, idx, "trust");
  n = trustpem(ctx, c->server, bio);
  BIO_free(bio);
  if (n <= 0)
    refuse(L, "trust", n == 0 ? "no certificate in it" : nameof(L, idx));
}

/* True if anything is trusted at all. */
static bool settrust (lua_State *L, int arg, const lev_Context *c) {
  bool given = levL_option(L, arg, "trust");
  if (!given && !c->server) {
    lua_pushliteral(L, "system");
    trust(L, arg, c);
    lua_pop(L, 3);
    return true;
  }
  if (given && lua_istable(L, -1)) {
    int list = lua_gettop(L);
    lua_Integer n = luaL_len(L, list);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_pushliteral(L, "trust");        /* for errors */
      lua_rawgeti(L, list, i);
      trust(L, arg, c);
      lua_pop(L, 2);
    }
    given = n > 0;
  }
  else if (given)
    trust(L, arg, c);
  lua_pop(L, 2);
  return given;
}

/* Of the peer's certificate: for clients, no or yes; for servers, no, if there
   is one, or yes. */
static int optverify (lua_State *L, int arg, bool server) {
  int mode = server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
  int required = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  if (levL_option(L, arg, "verify")) {
    const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    if (lua_isboolean(L, -1))
      mode = !lua_toboolean(L, -1) ? SSL_VERIFY_NONE
             : server ? required : SSL_VERIFY_PEER;
    else if (server && strcmp(s, "optional") == 0)
      mode = SSL_VERIFY_PEER;
    else if (server && strcmp(s, "required") == 0)
      mode = required;
    else
      levL_expected(L, lua_gettop(L), arg, server
                    ? "false, \"optional\" or \"required\"" : "boolean");
  }
  lua_pop(L, 2);
  return mode;
}

static void setverify (lua_State *L, int arg, lev_Context *c) {
  bool trusts = settrust(L, arg, c);
  int mode = optverify(L, arg, c->server);
  c->verifies = mode != SSL_VERIFY_NONE;
  luaL_argcheck(L, !c->verifies || trusts, arg,
                "'trust' expected: who has to have signed the peer's "
                "certificate");
  SSL_CTX_set_verify(ctxof(c), mode, NULL);
}

/* ====} */

/* {==== The protocol ==== */

static int optversion (lua_State *L, int arg, const char *option, int def) {
  static const struct { const char *name; int value; } versions[] = {
    {"1.0", TLS1_VERSION}, {"1.1", TLS1_1_VERSION}, {"1.2", TLS1_2_VERSION},
    {"1.3", TLS1_3_VERSION}
  };
  if (levL_option(L, arg, option)) {
    const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    def = -1;
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
      if (strcmp(s, versions[i].name) == 0)
        def = versions[i].value;
    if (def < 0)
      levL_expected(L, lua_gettop(L), arg,
                    "\"1.0\", \"1.1\", \"1.2\" or \"1.3\"");
  }
  lua_pop(L, 2);
  return def;
}

static void setversions (lua_State *L, int arg, SSL_CTX *ctx) {
  int min = optversion(L, arg, "min_version", TLS1_2_VERSION);
  int max = optversion(L, arg, "max_version", 0);
  luaL_argcheck(L, max == 0 || max >= min, arg,
                "'max_version' is below 'min_version'");
  SSL_CTX_set_min_proto_version(ctx, min);
  SSL_CTX_set_max_proto_version(ctx, max);
}

/* Pushes an option's string, or pops it; NULL: it is not given. */
static const char *optstring (lua_State *L, int arg, const char *option) {
  if (!levL_option(L, arg, option)) {
    lua_pop(L, 2);
    return NULL;
  }
  if (lua_type(L, -1) != LUA_TSTRING)
    levL_expected(L, lua_gettop(L), arg, "string");
  return lua_tostring(L, -1);
}

static void setciphers (lua_State *L, int arg, SSL_CTX *ctx) {
  int top = lua_gettop(L);
  const char *ciphers = optstring(L, arg, "ciphers");
  const char *suites = optstring(L, arg, "ciphersuites");
  const char *groups = optstring(L, arg, "groups");
  if (!SSL_CTX_set_cipher_list(ctx, ciphers ? ciphers : CIPHERS))
    refuse(L, "ciphers", ciphers);
  if (suites && !SSL_CTX_set_ciphersuites(ctx, suites))
    refuse(L, "ciphersuites", suites);
  if (groups && !SSL_CTX_set1_groups_list(ctx, groups))
    refuse(L, "groups", groups);
  if (groups == NULL && !SSL_CTX_set1_groups_list(ctx, NEWGROUPS))
    SSL_CTX_set1_groups_list(ctx, GROUPS);
  ERR_clear_error();
  lua_settop(L, top);
}

/* [list] names, as they are sent: each behind its length. */
static void addprotocols (lua_State *L, int arg, int list, lev_Settings *t) {
  lua_Integer n = luaL_len(L, list);
  luaL_argcheck(L, n > 0 && n < 256, arg, "'alpn': names expected");
  t->alpn = malloc((size_t)n * 256);
  if (t->alpn == NULL) {
    levL_nomemory(L);
    return;
  }
  for (lua_Integer i = 1; i <= n; i++) {
    size_t len;
    const char *name = lua_rawgeti(L, list, i) == LUA_TSTRING
                       ? lua_tolstring(L, -1, &len) : NULL;
    if (name == NULL || len == 0 || len > 255) {
      luaL_argerror(L, arg, "'alpn': names of 1 to 255 bytes expected");
      return;
    }
    t->alpn[t->nalpn++] = (unsigned char)len;
    memcpy(t->alpn + t->nalpn, name, len);
    t->nalpn += len;
    lua_pop(L, 1);
  }
}

static bool optboolean (lua_State *L, int arg, const char *option, bool def) {
  if (levL_option(L, arg, option)) {
    if (!lua_isboolean(L, -1))
      levL_expected(L, lua_gettop(L), arg, "boolean");
    def = lua_toboolean(L, -1);
  }
  lua_pop(L, 2);
  return def;
}

static void setalpn (lua_State *L, int arg, const lev_Context *c) {
  lev_Settings *t = c->settings;
  if (levL_option(L, arg, "alpn")) {
    if (!lua_istable(L, -1))
      levL_expected(L, lua_gettop(L), arg, "table of names");
    addprotocols(L, arg, lua_gettop(L), t);
    if (!c->server && SSL_CTX_set_alpn_protos(t->ctx, t->alpn,
                                              (unsigned)t->nalpn) != 0)
      refuse(L, "alpn", "the names");
  }
  lua_pop(L, 2);
  t->alpnrequired = optboolean(L, arg, "alpn_required", false);
  luaL_argcheck(L, t->alpn || !t->alpnrequired, arg,
                "'alpn_required' without 'alpn'");
}

/* ====} */

/* {==== What else there is ==== */

/* [-2] name, [-1] its context: to the end of the list if it stands for many. */
static void addname (lua_State *L, int arg, lev_Settings *t) {
  const lev_Context *c = luaL_testudata(L, -1, LEV_TLSCONTEXT);
  const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2)
                                                    : NULL;
  lev_Sni *n, **p = &t->names;
  if (name == NULL || c == NULL || c->settings == NULL || !c->server) {
    luaL_argerror(L, arg, "'names': contexts for servers by the names of hosts "
                          "expected");
    return;
  }
  n = malloc(sizeof(*n) + strlen(name) + 1);
  if (n == NULL) {
    levL_nomemory(L);
    return;
  }
  memcpy(n->name, name, strlen(name) + 1);
  n->settings = c->settings;
  levT_hold(n->settings, 1);
  while (name[0] == '*' && *p)
    p = &(*p)->next;
  n->next = *p;
  *p = n;
}

static void setnames (lua_State *L, int arg, const lev_Context *c) {
  if (levL_option(L, arg, "names")) {
    int list = lua_gettop(L);
    luaL_argcheck(L, c->server, arg, "'names' are for servers");
    if (!lua_istable(L, list))
      levL_expected(L, list, arg, "table");
    for (lua_pushnil(L); lua_next(L, list); lua_pop(L, 1))
      addname(L, arg, c->settings);
  }
  lua_pop(L, 2);
}

static void setresume (lua_State *L, int arg, const lev_Context *c) {
  static const unsigned char id[] = "lua-libevent";
  lev_Settings *t = c->settings;
  t->resumes = optboolean(L, arg, "resume", true);
  if (!t->server)
    return;
  /* tickets: nothing is kept here */
  SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_session_id_context(t->ctx, id, sizeof(id) - 1);
  if (!t->resumes) {
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(t->ctx, 0);
  }
}

static void setkeylog (lua_State *L, int arg, lev_Settings *t) {
  const char *name = optstring(L, arg, "keylog");
  int fd;
  if (name == NULL)
    return;
  if (strlen(name) != lua_rawlen(L, -1))
    levL_expected(L, lua_gettop(L), arg, "the name of a file");
  fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  t->keylog = fd < 0 ? NULL : fdopen(fd, "a");
  if (t->keylog == NULL) {
    const char *reason = strerror(errno);
    if (fd >= 0)
      close(fd);
    luaL_error(L, "'keylog': %s: %s", name, reason);
  }
  lua_pop(L, 2);
}

static void settimeout (lua_State *L, int arg, lev_Context *c) {
  c->handshake.tv_sec = HANDSHAKE;
  if (levL_option(L, arg, "handshake_timeout"))
    levL_timeout(L, arg, &c->handshake);
  lua_pop(L, 2);
}

static bool optserver (lua_State *L, int arg) {
  bool server = false;
  if (levL_option(L, arg, "role")) {
    const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    server = strcmp(s, "server") == 0;
    if (!server && strcmp(s, "client") != 0)
      levL_expected(L, lua_gettop(L), arg, "\"client\" or \"server\"");
  }
  lua_pop(L, 2);
  return server;
}

/* luaossl's: it is taken as it is. */
static bool takeforeign (lua_State *L, int arg, lev_Context *c) {
  static const char *const names[] = {
    "role", "ssl_ctx", "handshake_timeout", NULL
  };
  lev_Settings *t = c->settings;
  SSL_CTX **ctx;
  if (!levL_option(L, arg, "ssl_ctx")) {
    lua_pop(L, 2);
    return false;
  }
  ctx = luaL_testudata(L, -1, "SSL_CTX*");
  if (ctx == NULL || *ctx == NULL) {
    levL_expected(L, lua_gettop(L), arg, "a context of luaossl's");
    return false;
  }
  levL_checkoptions(L, arg, names);
  SSL_CTX_up_ref(*ctx);
  t->ctx = *ctx;
  t->foreign = true;
  c->verifies = SSL_CTX_get_verify_mode(t->ctx) != SSL_VERIFY_NONE;
  lua_pop(L, 2);
  return true;
}

static void newctx (lua_State *L, lev_Settings *t) {
  t->ctx = SSL_CTX_new(t->server ? TLS_server_method() : TLS_client_method());
  if (t->ctx == NULL) {
    ERR_clear_error();
    levL_nomemory(L);
  }
  SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION
                              | SSL_OP_CIPHER_SERVER_PREFERENCE
                              | SSL_OP_PRIORITIZE_CHACHA);
}

/* ====} */

/* From the table at 'arg'; raises, or all is set. */
void levT_setoptions (lua_State *L, int arg, lev_Context *c) {
  lev_Settings *t = c->settings;
  levL_checkoptions(L, arg, optionnames);
  luaL_checkstack(L, 20, NULL);
  t->server = c->server = optserver(L, arg);
  settimeout(L, arg, c);
  if (takeforeign(L, arg, c))
    return;
  newctx(L, t);
  setversions(L, arg, t->ctx);
  setciphers(L, arg, t->ctx);
  setidentity(L, arg, c);
  setverify(L, arg, c);
  setalpn(L, arg, c);
  setnames(L, arg, c);
  setresume(L, arg, c);
  setkeylog(L, arg, t);
  levT_sethooks(t);
}
