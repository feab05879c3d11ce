/*
** lev_tls.h: between the bufferevent and the module libevent.tls, which is a
** shared object of its own: the core never needs OpenSSL.
**
** The module knows nothing of sockets. A session takes what has arrived from
** the peer and gives what is to be sent to it; bufferevent_tls.c moves both. It
** finds the module's functions in the Context that a script gives it.
*/
#ifndef lev_tls_h
#define lev_tls_h

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>

#include <lua.h>

#define LEV_TLSCONTEXT "libevent.tls.Context"

/* Of this header: the module and the core must agree. */
#define LEV_TLSVERSION 1

/* Bytes for the peer, one behind the other; it grows. */
typedef struct lev_Wire {
  char *p;
  size_t n, room;
} lev_Wire;

/* What a call for a session comes to. */
enum { LEV_TLSOK,             /* done, or here are data */
       LEV_TLSMORE,           /* bytes of the peer's have to come first */
       LEV_TLSEND,            /* the peer has said that no more comes */
       LEV_TLSFAILED };       /* see 'why' */

typedef struct lev_Session {
  const char *in;             /* bytes of the peer's: all are used when... */
  size_t nin;                 /* ...more have to come */
  lev_Wire *wire;             /* where those for the peer go */
  char *why;                  /* what has failed, or NULL: no memory */
} lev_Session;

/* What sessions have in common; counted, as it may outlive its userdata. */
typedef struct lev_Settings lev_Settings;

typedef struct lev_Context {  /* a userdata begins with it */
  unsigned version;
  const struct lev_Engine *engine;
  lev_Settings *settings;     /* NULL while it is being made */
  bool server;
  bool verifies;              /* a peer's certificate, and by its name */
  struct timeval handshake;   /* the most time for one; 0: any */
} lev_Context;

/* Nothing of it touches Lua, but for 'prepare' and 'describe'. */
typedef struct lev_Engine {
  void (*hold) (lev_Settings *settings, int n);     /* n references more */
  /* A session with the peer of that name, or NULL: any. 'peer' tells one peer
     from others, to resume sessions, or is NULL. NULL without memory. */
  lev_Session *(*open) (lev_Settings *settings, const char *name,
                        const char *peer);
  int (*handshake) (lev_Session *s);
  /* up to 'room' bytes to 'to', *n of them: LEV_TLSOK says that there may be
     others; LEV_TLSMORE, that all that has come is used */
  int (*decrypt) (lev_Session *s, char *to, size_t room, size_t *n);
  int (*encrypt) (lev_Session *s, const char *from, size_t n);
  void (*finish) (lev_Session *s);    /* tells the peer that no more comes */
  void (*prepare) (lua_State *L);     /* pushes what 'describe' takes and... */
  void (*describe) (lua_State *L, lev_Session *s);  /* ...makes a table of */
  void (*free) (lev_Session *s);
} lev_Engine;

#endif
