/*
** session.c: SSL, one connection's.
**
** It reads from bytes that are there and writes to where there always is room:
** so OpenSSL never waits for anything but the peer, and nothing has to be
** tried again with the same bytes.
*/
#include "tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* {==== Its end of the wire ==== */

static int onread (BIO *bio, char *to, int n) {
  lev_Session *s = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (s->nin == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  n = (size_t)n < s->nin ? n : (int)s->nin;
  memcpy(to, s->in, (size_t)n);
  s->in += n;
  s->nin -= (size_t)n;
  return n;
}

static int onwrite (BIO *bio, const char *from, int n) {
  lev_Session *s = BIO_get_data(bio);
  lev_Wire *w = s->wire;
  BIO_clear_retry_flags(bio);
  if (w->room - w->n < (size_t)n) {
    size_t room = w->room + (size_t)n > 2 * w->room ? w->room + (size_t)n
                                                    : 2 * w->room;
    char *p = realloc(w->p, room);
    if (p == NULL)
      return -1;
    w->p = p;
    w->room = room;
  }
  memcpy(w->p + w->n, from, (size_t)n);
  w->n += (size_t)n;
  return n;
}

static long onctrl (BIO *bio, int cmd, long num, void *ptr) {
  (void)bio; (void)num; (void)ptr;
  return cmd == BIO_CTRL_FLUSH;
}

/* Of the sessions of one Context, and freed with it; or NULL. */
BIO_METHOD *levT_newmethod (void) {
  BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "lua-libevent");
  if (m) {
    BIO_meth_set_read(m, onread);
    BIO_meth_set_write(m, onwrite);
    BIO_meth_set_ctrl(m, onctrl);
  }
  return m;
}

static BIO *newbio (lev_Secret *s) {
  BIO *bio = BIO_new(s->settings->method);
  if (bio) {
    BIO_set_data(bio, &s->s);
    BIO_set_init(bio, 1);
  }
  return bio;
}

/* ====} */

/* {==== Errors ==== */

/* Of a certificate that has been refused: in which way. */
static const char *verification (const SSL *ssl, unsigned long e) {
  long result = SSL_get_verify_result(ssl);
  bool verify = ERR_GET_LIB(e) == ERR_LIB_SSL
                && ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  return verify && result != X509_V_OK ? X509_verify_cert_error_string(result)
                                       : NULL;
}

static char *join (const char *a, const char *b) {
  size_t n = strlen(a) + (b ? strlen(b) + 2 : 0) + 1;
  char *text = malloc(n);
  if (text)
    snprintf(text, n, "%s%s%s", a, b ? ": " : "", b ? b : "");
  return text;
}

/* Errors of anybody's, of before: SSL_get_error goes by the queue. */
static void forget (void) {
  if (ERR_peek_error())
    ERR_clear_error();
}

/* The error that tells most: that there is no memory, or one of TLS, but for
   those that only say that something inside has failed. */
static unsigned long geterror (void) {
  unsigned long best = ERR_peek_error(), e;
  while ((e = ERR_get_error()) != 0) {
    if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
      return e;
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_LIB(best) != ERR_LIB_SSL
        && ERR_GET_REASON(e) != ERR_R_INTERNAL_ERROR)
      best = e;
  }
  return best;
}

/* What OpenSSL says of it, in words. It says nothing where the wire cannot
   grow. */
static int fail (lev_Secret *s) {
  unsigned long e = geterror();
  const char *reason = e ? ERR_reason_error_string(e) : NULL;
  free(s->s.why);
  s->s.why = NULL;
  if (s->noalpn)
    s->s.why = join("no common protocol of ALPN", NULL);
  else if (e && ERR_GET_REASON(e) != ERR_R_MALLOC_FAILURE)
    s->s.why = join(reason ? reason : "TLS has failed",
                    verification(s->ssl, e));
  ERR_clear_error();
  return LEV_TLSFAILED;
}

/* ====} */

/* {==== The engine ==== */

static void freesession (lev_Session *session) {
  lev_Secret *s = (lev_Secret *)session;
  SSL_free(s->ssl);
  levT_hold(s->settings, -1);
  free(s->peer);
  free(s->s.why);
  free(s);
}

/* Whom a client speaks with: sent to the server, and looked for in its
   certificate, where a subject's name does not count. */
static bool setname (SSL *ssl, const char *name) {
  X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
  char text[256];
  size_t len = strlen(name);
  if (len >= sizeof(text))
    return false;
  memcpy(text, name, len + 1);
  text[strcspn(text, "%")] = '\0';    /* an address's scope */
  if (X509_VERIFY_PARAM_set1_ip_asc(param, text))
    return true;
  ERR_clear_error();
  memcpy(text, name, len + 1);
  if (len > 1 && text[len - 1] == '.')
    text[len - 1] = '\0';
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
                                         | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  return X509_VERIFY_PARAM_set1_host(param, text, 0)
         && SSL_set_tlsext_host_name(ssl, text);
}

static bool initclient (lev_Secret *s, const char *name, const char *peer) {
  SSL_SESSION *session;
  SSL_set_connect_state(s->ssl);
  if (name && !setname(s->ssl, name))
    return false;
  if (peer == NULL || !s->settings->resumes)
    return true;
  s->peer = join(peer, NULL);
  session = levT_take(s->settings, peer);
  if (session) {
    SSL_set_session(s->ssl, session);
    SSL_SESSION_free(session);
  }
  return s->peer != NULL;
}

static lev_Session *opensession (lev_Settings *t, const char *name,
                                 const char *peer) {
  lev_Secret *s = calloc(1, sizeof(*s));
  BIO *bio;
  bool ok;
  if (s == NULL)
    return NULL;
  s->settings = t;
  levT_hold(t, 1);
  s->ssl = SSL_new(t->ctx);
  bio = s->ssl && SSL_set_app_data(s->ssl, s) ? newbio(s) : NULL;
  ok = bio != NULL;
  if (ok) {
    SSL_set_bio(s->ssl, bio, bio);
    SSL_set_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
    if (t->server)
      SSL_set_accept_state(s->ssl);
    else
      ok = initclient(s, name, peer);
  }
  ERR_clear_error();
  if (ok)
    return &s->s;
  freesession(&s->s);
  return NULL;
}

static bool hasalpn (const SSL *ssl) {
  const unsigned char *name;
  unsigned len;
  SSL_get0_alpn_selected(ssl, &name, &len);
  return len > 0;
}

static int handshake (lev_Session *session) {
  lev_Secret *s = (lev_Secret *)session;
  int r;
  forget();
  r = SSL_do_handshake(s->ssl);
  if (r != 1)
    return SSL_get_error(s->ssl, r) == SSL_ERROR_WANT_READ ? LEV_TLSMORE
                                                           : fail(s);
  s->noalpn = s->settings->alpnrequired && !hasalpn(s->ssl);
  return s->noalpn ? fail(s) : LEV_TLSOK;
}

static int decrypt (lev_Session *session, char *to, size_t room, size_t *n) {
  lev_Secret *s = (lev_Secret *)session;
  forget();
  if (SSL_read_ex(s->ssl, to, room, n))
    return session->nin > 0 || SSL_has_pending(s->ssl) ? LEV_TLSOK
                                                       : LEV_TLSMORE;
  *n = 0;
  switch (SSL_get_error(s->ssl, 0)) {
    case SSL_ERROR_WANT_READ: return LEV_TLSMORE;
    case SSL_ERROR_ZERO_RETURN: return LEV_TLSEND;
    default: return fail(s);
  }
}

static int encrypt (lev_Session *session, const char *from, size_t n) {
  lev_Secret *s = (lev_Secret *)session;
  size_t written;
  forget();
  while (n > 0) {
    if (!SSL_write_ex(s->ssl, from, n, &written))
      return fail(s);
    from += written;
    n -= written;
  }
  return LEV_TLSOK;
}

static void finish (lev_Session *session) {
  SSL_shutdown(((lev_Secret *)session)->ssl);
  ERR_clear_error();
}

const lev_Engine levT_engine = {
  levT_hold, opensession, handshake, decrypt, encrypt, finish, levT_prepare,
  levT_describe, freesession
};

/* ====} */
