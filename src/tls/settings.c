/*
** settings.c: SSL_CTX and what belongs to it.
**
** It lives as long as the Context of a script or a session needs it. OpenSSL
** calls for names, protocols, keys and sessions in the middle of a handshake:
** what is answered there is in C, as no Lua may run.
*/
#include "tls.h"

#include <stdlib.h>
#include <string.h>

/* Sessions that a client keeps, of all its peers. */
#define MOSTRESUMABLES 256

static void freeresumable (lev_Resumable *r) {
  SSL_SESSION_free(r->session);
  free(r);
}

/* Resumes none of those that there are. */
void levT_forget (lev_Settings *t) {
  while (t->resumables) {
    lev_Resumable *r = t->resumables;
    t->resumables = r->next;
    freeresumable(r);
  }
  t->nresumables = 0;
}

static void freesettings (lev_Settings *t) {
  levT_forget(t);
  while (t->names) {
    lev_Sni *n = t->names;
    t->names = n->next;
    levT_hold(n->settings, -1);
    free(n);
  }
  SSL_CTX_free(t->ctx);
  if (t->keylog)
    fclose(t->keylog);
  BIO_meth_free(t->method);
  free(t->alpn);
  free(t);
}

/* 'n' references more, or less: without any it ends. */
void levT_hold (lev_Settings *t, int n) {
  t->refs += n;
  if (t->refs == 0)
    freesettings(t);
}

lev_Settings *levT_newsettings (void) {
  lev_Settings *t = calloc(1, sizeof(*t));
  if (t == NULL)
    return NULL;
  t->refs = 1;
  t->method = levT_newmethod();
  if (t->method)
    return t;
  levT_hold(t, -1);
  return NULL;
}

/* {==== Sessions to be resumed ==== */

/* Takes a reference of the caller's to the session. Without memory it is not
   kept, and nobody misses it. */
void levT_keep (lev_Settings *t, const char *peer, SSL_SESSION *session) {
  size_t len = strlen(peer) + 1;
  lev_Resumable *r = malloc(sizeof(*r) + len), **last = &t->resumables;
  if (r == NULL) {
    SSL_SESSION_free(session);
    return;
  }
  r->session = session;
  memcpy(r->peer, peer, len);
  r->next = t->resumables;
  t->resumables = r;
  if (++t->nresumables <= MOSTRESUMABLES)
    return;
  while ((*last)->next)
    last = &(*last)->next;
  freeresumable(*last);
  *last = NULL;
  t->nresumables--;
}

/* The latest of that peer's: one reference, or NULL. Of TLS 1.3 each is for one
   connection only, so that nobody can tell that two are the same client's. */
SSL_SESSION *levT_take (lev_Settings *t, const char *peer) {
  for (lev_Resumable **p = &t->resumables; *p; p = &(*p)->next) {
    lev_Resumable *r = *p;
    if (strcmp(r->peer, peer) == 0) {
      SSL_SESSION *session = r->session;
      SSL_SESSION_up_ref(session);
      if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
        *p = r->next;
        t->nresumables--;
        freeresumable(r);
      }
      return session;
    }
  }
  return NULL;
}

static int onsession (SSL *ssl, SSL_SESSION *session) {
  const lev_Secret *s = SSL_get_app_data(ssl);
  if (s == NULL || s->peer == NULL || !SSL_SESSION_is_resumable(session))
    return 0;
  levT_keep(s->settings, s->peer, session);
  return 1;
}

/* ====} */

/* {==== Calls of OpenSSL's ==== */

static int onalpn (SSL *ssl, const unsigned char **out, unsigned char *len,
                   const unsigned char *in, unsigned n, void *arg) {
  const lev_Secret *s = SSL_get_app_data(ssl);
  const lev_Settings *t = s->settings;
  unsigned char *chosen;
  (void)arg;
  if (t->alpn == NULL)
    return SSL_TLSEXT_ERR_NOACK;
  if (SSL_select_next_proto(&chosen, len, t->alpn, (unsigned)t->nalpn, in, n)
      != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

/* Where a protocol has to be agreed on a client names some. */
static int onhello (SSL *ssl, int *alert, void *arg) {
  lev_Secret *s = SSL_get_app_data(ssl);
  const unsigned char *names;
  size_t n;
  (void)arg;
  if (SSL_client_hello_get0_ext(ssl,
        TLSEXT_TYPE_application_layer_protocol_negotiation, &names, &n))
    return SSL_CLIENT_HELLO_SUCCESS;
  s->noalpn = true;
  *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  return SSL_CLIENT_HELLO_ERROR;
}

/* Does a certificate for 'pattern' stand for that name? */
static bool covers (const char *pattern, const char *name) {
  const char *dot = strchr(name, '.');
  return evutil_ascii_strcasecmp(pattern, name) == 0
         || (strncmp(pattern, "*.", 2) == 0 && dot && dot > name
             && evutil_ascii_strcasecmp(pattern + 1, dot) == 0);
}

/* Of the other context only the certificate counts; whom we trust is set after
   it, or would be lost. */
static int onname (SSL *ssl, int *alert, void *arg) {
  const lev_Secret *s = SSL_get_app_data(ssl);
  const lev_Settings *t = s->settings;
  const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  (void)alert; (void)arg;
  for (const lev_Sni *n = t->names; n && name; n = n->next) {
    if (covers(n->name, name)) {
      SSL_set_SSL_CTX(ssl, n->settings->ctx);
      SSL_set1_verify_cert_store(ssl, SSL_CTX_get_cert_store(t->ctx));
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return name ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static void onkeylog (const SSL *ssl, const char *line) {
  const lev_Secret *s = SSL_get_app_data(ssl);
  if (s && s->settings->keylog) {
    fprintf(s->settings->keylog, "%s\n", line);
    fflush(s->settings->keylog);
  }
}

/* After the options. They find the settings by the session, which keeps
   them. */
void levT_sethooks (const lev_Settings *t) {
  if (t->server)
    SSL_CTX_set_alpn_select_cb(t->ctx, onalpn, NULL);
  if (t->server && t->alpnrequired)
    SSL_CTX_set_client_hello_cb(t->ctx, onhello, NULL);
  if (t->names)
    SSL_CTX_set_tlsext_servername_callback(t->ctx, onname);
  if (t->keylog)
    SSL_CTX_set_keylog_callback(t->ctx, onkeylog);
  if (!t->server && t->resumes) {
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT
                                           | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, onsession);
  }
}

/* ====} */
