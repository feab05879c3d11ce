/*
** tls.h: what the files of libevent.tls share: the only ones that know OpenSSL.
*/
#ifndef lev_openssl_h
#define lev_openssl_h

#include "../lev.h"
#include "../lev_tls.h"

#include <stdio.h>

#include <openssl/ssl.h>

#pragma GCC visibility push(hidden)

/* A server's certificate for a name, "*.example.org" for all below it. */
typedef struct lev_Sni {
  struct lev_Sni *next;
  lev_Settings *settings;     /* one reference */
  char name[];
} lev_Sni;

/* A client's session, to be resumed. */
typedef struct lev_Resumable {
  struct lev_Resumable *next;
  SSL_SESSION *session;
  char peer[];
} lev_Resumable;

struct lev_Settings {
  int refs;
  BIO_METHOD *method;         /* of its sessions */
  SSL_CTX *ctx;
  bool server;
  bool foreign;               /* another module's: nothing of it is ours */
  bool resumes;
  bool alpnrequired;
  unsigned char *alpn;        /* names, each behind its length; or NULL */
  size_t nalpn;
  lev_Sni *names;
  lev_Resumable *resumables;  /* the latest first */
  int nresumables;
  FILE *keylog;
};

typedef struct lev_Secret {
  lev_Session s;              /* the first field */
  SSL *ssl;
  lev_Settings *settings;     /* one reference */
  char *peer;                 /* for resuming, or NULL */
  bool noalpn;                /* no protocol has been agreed on */
} lev_Secret;

/* {==== settings.c: what many sessions have in common ==== */

lev_Settings *levT_newsettings (void);
void levT_hold (lev_Settings *t, int n);
void levT_keep (lev_Settings *t, const char *peer, SSL_SESSION *session);
SSL_SESSION *levT_take (lev_Settings *t, const char *peer);
void levT_forget (lev_Settings *t);
void levT_sethooks (const lev_Settings *t);

/* ====} */

/* {==== options.c: from a table of options ==== */

void levT_setoptions (lua_State *L, int idx, lev_Context *c);

/* ====} */

/* {==== session.c: one connection ==== */

extern const lev_Engine levT_engine;

BIO_METHOD *levT_newmethod (void);

/* ====} */

/* {==== describe.c: what a script may know of it ==== */

void levT_prepare (lua_State *L);
void levT_describe (lua_State *L, lev_Session *s);
void levT_opendescribe (lua_State *L);

/* ====} */

#pragma GCC visibility pop

#endif
