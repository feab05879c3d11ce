/*
** describe.c: what a script may know of a session: bufferevent:tls().
*/
#include "tls.h"

#include <time.h>
#include <arpa/inet.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define SCRATCH "libevent.tls.Scratch"

/* What is OpenSSL's meanwhile: Lua may run out of memory at any time. */
typedef struct Scratch {
  SSL *ssl;                   /* a finalizer may close its connection... */
  lev_Settings *settings;     /* ...and there may be no other one of these */
  BIO *bio;
  X509 *x;
  GENERAL_NAMES *names;
} Scratch;

static void clear (Scratch *s) {
  SSL_free(s->ssl);
  if (s->settings)
    levT_hold(s->settings, -1);
  BIO_free(s->bio);
  X509_free(s->x);
  GENERAL_NAMES_free(s->names);
  *s = (Scratch){NULL, NULL, NULL, NULL, NULL};
}

static int lev_scratch__gc (lua_State *L) {
  clear(luaL_checkudata(L, 1, SCRATCH));
  return 0;
}

/* What has been written, if it has been: a field of the table on top of the
   stack. */
static void setwritten (lua_State *L, Scratch *s, bool written,
                        const char *name) {
  char *p;
  long n = BIO_get_mem_data(s->bio, &p);
  if (!written)
    levL_nomemory(L);
  lua_pushlstring(L, n > 0 ? p : "", (size_t)n);
  lua_setfield(L, -2, name);
  (void)BIO_reset(s->bio);
}

static void setname (lua_State *L, Scratch *s, const X509_NAME *name,
                     const char *field) {
  int n = X509_NAME_print_ex(s->bio, name, 0,
                             XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  setwritten(L, s, n >= 0, field);
}

/* Seconds since 1970, as os.time has them. */
static void settime (lua_State *L, const ASN1_TIME *t, const char *field) {
  struct tm tm;
  if (ASN1_TIME_to_tm(t, &tm)) {
    lua_pushinteger(L, (lua_Integer)timegm(&tm));
    lua_setfield(L, -2, field);
  }
}

static void setfingerprint (lua_State *L, const X509 *x) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  luaL_Buffer b;
  if (!X509_digest(x, EVP_sha256(), digest, &n))
    levL_nomemory(L);
  luaL_buffinit(L, &b);
  for (unsigned i = 0; i < n; i++) {
    static const char digits[] = "0123456789abcdef";
    luaL_addchar(&b, digits[digest[i] >> 4]);
    luaL_addchar(&b, digits[digest[i] & 15]);
  }
  luaL_pushresult(&b);
  lua_setfield(L, -2, "fingerprint");
}

/* Pushes a host's name or address, or nothing: false. */
static bool pushname (lua_State *L, const GENERAL_NAME *name) {
  int type;
  const ASN1_STRING *s = GENERAL_NAME_get0_value(name, &type);
  const unsigned char *p;
  char text[INET6_ADDRSTRLEN];
  int n;
  if (type != GEN_DNS && type != GEN_IPADD)
    return false;
  p = ASN1_STRING_get0_data(s);
  n = ASN1_STRING_length(s);
  if (type == GEN_DNS)
    lua_pushlstring(L, (const char *)p, (size_t)n);
  else if ((n != 4 && n != 16)
           || !inet_ntop(n == 4 ? AF_INET : AF_INET6, p, text, sizeof(text)))
    return false;
  else
    lua_pushstring(L, text);
  return true;
}

/* Did OpenSSL lack memory, and not only find nothing? */
static bool lacked (void) {
  bool lack = false;
  unsigned long e;
  while ((e = ERR_get_error()) != 0)
    lack |= ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;
  return lack;
}

static void setnames (lua_State *L, Scratch *s) {
  lua_Integer n = 0;
  lua_newtable(L);
  ERR_clear_error();
  s->names = X509_get_ext_d2i(s->x, NID_subject_alt_name, NULL, NULL);
  if (s->names == NULL && lacked())
    levL_nomemory(L);
  for (int i = 0; i < sk_GENERAL_NAME_num(s->names); i++)
    if (pushname(L, sk_GENERAL_NAME_value(s->names, i)))
      lua_rawseti(L, -2, ++n);
  lua_setfield(L, -2, "names");
}

/* [-1] the session's table, [scratch] with the certificate */
static void setcertificate (lua_State *L, Scratch *s) {
  lua_newtable(L);
  setname(L, s, X509_get_subject_name(s->x), "subject");
  setname(L, s, X509_get_issuer_name(s->x), "issuer");
  setnames(L, s);
  settime(L, X509_get0_notBefore(s->x), "not_before");
  settime(L, X509_get0_notAfter(s->x), "not_after");
  setwritten(L, s, i2a_ASN1_INTEGER(s->bio, X509_get0_serialNumber(s->x)) > 0,
             "serial");
  setfingerprint(L, s->x);
  setwritten(L, s, PEM_write_bio_X509(s->bio, s->x), "pem");
  lua_setfield(L, -2, "peer");
}

static void setstring (lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void setalpn (lua_State *L, const SSL *ssl) {
  const unsigned char *name;
  unsigned n;
  SSL_get0_alpn_selected(ssl, &name, &n);
  if (n > 0) {
    lua_pushlstring(L, (const char *)name, n);
    lua_setfield(L, -2, "alpn");
  }
}

/* What came of the peer's certificate: true, or in which way it is none. */
static void setverified (lua_State *L, const SSL *ssl, bool has) {
  long result = SSL_get_verify_result(ssl);
  bool verifies = SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE;
  lua_pushboolean(L, has && verifies && result == X509_V_OK);
  lua_setfield(L, -2, "verified");
  if (has && result != X509_V_OK)
    setstring(L, "verify_error", X509_verify_cert_error_string(result));
}

/* Pushes what it takes, before a session is looked at: a finalizer can run. */
void levT_prepare (lua_State *L) {
  Scratch *s;
  luaL_checkstack(L, 10, NULL);
  s = lua_newuserdatauv(L, sizeof(*s), 0);
  *s = (Scratch){NULL, NULL, NULL, NULL, NULL};
  luaL_setmetatable(L, SCRATCH);
}

/* [-1] of levT_prepare: a table in its place */
void levT_describe (lua_State *L, lev_Session *session) {
  const lev_Secret *secret = (lev_Secret *)session;
  SSL *ssl = secret->ssl;
  int scratch = lua_gettop(L);
  Scratch *s = lua_touserdata(L, scratch);
  SSL_up_ref(ssl);
  s->ssl = ssl;
  s->settings = secret->settings;
  levT_hold(s->settings, 1);
  s->bio = BIO_new(BIO_s_mem());
  s->x = SSL_get1_peer_certificate(ssl);
  if (s->bio == NULL)
    levL_nomemory(L);
  lua_newtable(L);
  setstring(L, "version", SSL_get_version(ssl));
  setstring(L, "cipher", SSL_get_cipher_name(ssl));
  setalpn(L, ssl);
  lua_pushboolean(L, SSL_session_reused(ssl));
  lua_setfield(L, -2, "resumed");
  setstring(L, "hostname", SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
  setverified(L, ssl, s->x != NULL);
  if (s->x)
    setcertificate(L, s);
  clear(s);
  lua_replace(L, scratch);
  ERR_clear_error();
}

void levT_opendescribe (lua_State *L) {
  if (luaL_newmetatable(L, SCRATCH)) {
    lua_pushcfunction(L, lev_scratch__gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_pop(L, 1);
}
