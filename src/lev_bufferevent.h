/*
** lev_bufferevent.h: what the files of the bufferevent share.
**
** One userdata for all flavours of libevent's: bufferevent.c has what they
** have in common, each other file its flavour. Bufferevents stand on each
** other: a filter on the one below it, and the two ends of a pair side by
** side. What is joined so is anchored together, as a call for one can be a
** call for all.
*/
#ifndef lev_bufferevent_h
#define lev_bufferevent_h

#include "lev.h"

#include <time.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_struct.h>

/* user values, after LEV_UVBASE; filters have more of them */
enum { LEV_UVREAD = 2, LEV_UVWRITE, LEV_UVEVENT,
       LEV_UVMORE,            /* a table of those below, or nil: most have none
                                 of them, and each would cost 16 bytes */
       LEV_NUVBUFFEREVENT = LEV_UVMORE };
enum { LEV_INPUT = 1, LEV_OUTPUT,     /* their userdata */
       LEV_BELOW,             /* the descriptor's object, the bufferevent
                                 below a filter, or the other end of a pair */
       LEV_ABOVE,             /* the filter on this one */
       LEV_GROUP,             /* whose limits it shares */
       LEV_RACE, LEV_RESOLVER,    /* while it connects to a host by name */
       LEV_REQUEST,           /* the HttpRequest whose body it reads */
       LEV_SENT,              /* whom to call when its output is sent */
       LEV_NMORE = LEV_SENT };

#define LEV_DIRECTIONS (EV_READ | EV_WRITE)

/* seconds that close_after_flush waits for a peer that takes nothing */
#define LEV_FLUSHTIME 30

#pragma GCC visibility push(hidden)

typedef struct lev_Bufferevent lev_Bufferevent;
typedef struct lev_Group lev_Group;

typedef struct lev_Race lev_Race;
typedef struct lev_Tls lev_Tls;

/* What an event callback is told. */
typedef struct lev_Happening {
  short what;
  int err;
  const char *message;        /* of an error, or NULL: the system's */
} lev_Happening;

/* What the script has asked to be called for. */
typedef struct lev_Trigger {
  short directions;
  lev_Happening told;
} lev_Trigger;

/* A turn of the loop for callbacks that libevent does not make; few
   bufferevents ever take one. */
typedef struct lev_Turn {
  struct event ev;
  lev_Trigger trigger;        /* what it is to call */
  bool again;                 /* another one after the one that comes now */
} lev_Turn;

/* Bytes a tick, of reading and of writing; a rate of 0 is no limit. libevent
   takes numbers of reading for an int: none is larger. */
typedef struct lev_Limits {
  int rate[2], burst[2];
  struct timeval tick;
  struct ev_token_bucket_cfg *cfg;    /* the same for libevent, or NULL */
} lev_Limits;

/* How the flavours differ. C only. */
typedef struct lev_Flavour {
  bool deferred;              /* libevent puts its callbacks off */
  /* may libevent still call it, as far as it alone is concerned? */
  bool (*active) (const lev_Bufferevent *b);
  /* can it be enabled in libevent, or has it nothing to wait for yet? */
  bool (*ready) (const lev_Bufferevent *b);
  /* is nothing on its way that closing would lose? */
  bool (*idle) (const lev_Bufferevent *b);
  bool (*flush) (lev_Bufferevent *b, short what,
                 enum bufferevent_flush_mode mode);
  /* before a shutdown: takes the reading part; 0 or an errno */
  int (*shutdown) (lev_Bufferevent *b, int what);
  /* tells the peer that no more data comes, when all is sent; likewise */
  int (*endwrite) (lev_Bufferevent *b);
  /* what an event means for it; false: nothing that a script is told */
  bool (*note) (lev_Bufferevent *b, lev_Happening *h);
  /* all that was to be sent is sent: closes it, now or later */
  void (*flushed) (lev_Bufferevent *b);
  /* gives up what it holds, before bufferevent_free */
  void (*leave) (lev_Bufferevent *b);
  /* its turn has come, or NULL */
  void (*turn) (lev_Bufferevent *b);
} lev_Flavour;

typedef struct lev_Piece { const char *at; size_t len; } lev_Piece;

/* Who hears of a bufferevent in the script's place, in C. */
typedef struct lev_Hooks {
  void (*read) (lev_Bufferevent *b);
  void (*written) (lev_Bufferevent *b);     /* if b->write is set */
  void (*event) (lev_Bufferevent *b, const lev_Happening *h);
  void (*leave) (lev_Bufferevent *b);       /* it is freed: no Lua */
  bool (*active) (const lev_Bufferevent *b);    /* may it be called? */
} lev_Hooks;

typedef struct lev_Native { const lev_Hooks *hooks; } lev_Native;

enum { LEV_OPEN,
       LEV_FLUSHING,          /* closes when its output is sent... */
       LEV_LINGERING };       /* ...and the peer has closed as well */

/* There are many of them at a time: their size counts. */
struct lev_Bufferevent {
  lev_Object o;
  const lev_Flavour *flavour;
  struct bufferevent *bev;
  lev_Bufferevent *below;     /* of a filter: what it stands on, or NULL */
  lev_Bufferevent *above;     /* the filter that stands on it, or NULL */
  lev_Bufferevent *partner;   /* the other end of a pair, or NULL */
  lev_Buffer *buffers[2];     /* input and output in Lua, once asked for */
  lev_Turn *turn;             /* callbacks can come until it fires, or NULL */
  lev_Limits *limits;         /* its own limits, or NULL */
  lev_Group *group;           /* whose limits it shares, or NULL */
  lev_Native *native;         /* who hears of it in Lua's place, or NULL */
  lev_Tls *tls;               /* of a socket that speaks it, or will; or NULL */
  lev_Bufferevent *nextunsent;
  union {
    size_t stuck;             /* unsent when a write sent nothing at all */
    time_t until;             /* lingers until then */
    lev_Race *race;           /* connects it, see 'races' */
  } end;
  unsigned short expects;     /* bytes, as many as the last turn has read */
  short failure;              /* an errno to be told in libevent's place, or 0 */
  bool shutwrite;             /* no more data from the script... */
  bool isshut : 1;            /* ...and the peer has been told */
  unsigned ending : 2;        /* LEV_OPEN, or how it ends */
  unsigned later : 3;         /* enabled, but not yet in libevent */
  unsigned paced : 3;         /* a turn moves no more than the script says */
  bool unsent : 1;            /* sends its output when the callback returns */
  bool gathers : 1;           /* is being added to */
  bool busy : 1;              /* libevent is in a call for it: is not let go */
  bool read : 1, write : 1, event : 1;  /* the script has such a callback */
  bool ownfd : 1;             /* the descriptor is ours to close */
  bool given : 1;             /* by a host: more of it in bufferevent_sock.c */
  bool connecting : 1;        /* from connect to "connected" or "error" */
  bool races : 1;             /* by the name of a host */
  bool inconnected : 1;       /* in the callback of "connected" */
  bool full : 1;              /* not reading: its input is at the high mark */
  bool lingers : 1;           /* the peer may still be sending: wait for it */
};

/* {==== bufferevent.c ==== */

extern const lev_Word levL_directions[];

void levL_needmore (lua_State *L, int idx);
void levL_setmore (lua_State *L, int idx, int key);
int levL_getmore (lua_State *L, int idx, int key);
lev_Bufferevent *levL_newbev (lua_State *L, int base, size_t size, int nuv,
                              const lev_Flavour *flavour);
void levL_openbev (lev_Base *base, lev_Bufferevent *b,
                   struct bufferevent *bev);
struct bufferevent *levL_whole (struct bufferevent *bev);
bool levL_isbufferevent (const lev_Object *o);
lev_Bufferevent *levL_checkbev (lua_State *L, int arg);
lev_Bufferevent *levL_checktop (lua_State *L, int arg);
lev_Bufferevent *levL_checkfree (lua_State *L, int arg);
void levL_senddata (lua_State *L, int bev, int first, int last);
int levL_shutdown (lua_State *L, int bev, int what);
int levL_closeflushed (lua_State *L);
struct evbuffer *levL_checkinput (lua_State *L, int arg);
lev_Bufferevent *levL_top (lev_Bufferevent *b);
const lev_Bufferevent *levL_bottom (const lev_Bufferevent *b);
void levL_pauseatmark (lev_Bufferevent *b);
size_t levL_unsent (const lev_Bufferevent *b);
void levL_unmark (lev_Bufferevent *b);
bool levL_reads (const lev_Bufferevent *b);
void levL_park (lev_Bufferevent *b);
int levL_unpark (lev_Bufferevent *b);
int levL_enable (lev_Bufferevent *b, short what);
void levL_disable (lev_Bufferevent *b, short what);
void levL_flush (lev_Bufferevent *b, const struct timeval *stall);
void levL_attach (lev_Bufferevent *b, lev_Native *native);
lev_Native *levL_unhook (lev_Bufferevent *b);

/* ====} */

/* {==== bufferevent_call.c ==== */

void levL_listen (lev_Bufferevent *b);
void levL_rested (lev_Bufferevent *b);
void levL_read (lev_Bufferevent *b);
void levL_written (lev_Bufferevent *b);
void levL_happened (lev_Bufferevent *b, short what, int err);
void levL_arrived (lev_Bufferevent *b);
void levL_ended (lev_Bufferevent *b, short what, int err);
void levL_unconnected (lev_Bufferevent *b, int err, const char *message);
int levL_shutwrite (lev_Bufferevent *b);
bool levL_maketurn (lev_Bufferevent *b);
void levL_taketurn (lev_Bufferevent *b);

/* ====} */

/* {==== bufferevent_direct.c ==== */

#define LEV_BURST (256 * 1024)  /* bytes that one turn writes, at the most */

bool levL_isagain (int err);
bool levL_gather (lev_Bufferevent *b);
bool levL_gathered (lev_Bufferevent *b);
bool levL_stage (lua_State *L, int first, int last, lev_Bufferevent *b);
bool levL_stagebytes (lev_Bufferevent *b, const lev_Piece *pieces, int n);
bool levL_pushpiece (lua_State *L, lev_Bufferevent *b, size_t n);
const char *levL_peek (lev_Bufferevent *b, size_t most, size_t *n);
void levL_skip (lev_Bufferevent *b, size_t n);
void levL_direct (lev_Bufferevent *b);
void levL_clear (lev_Bufferevent *b);
void levL_handover (lev_Bufferevent *b);
size_t levL_aside (const lev_Bufferevent *b, const struct evbuffer *buf);
void levL_forget (lev_Bufferevent *b);

/* ====} */

/* {==== bufferevent_tls.c ==== */

#define LEV_WHYSIZE 512

struct lev_Context;

/* Whom a client wants to speak with. */
typedef struct lev_Name {
  const char *text;           /* NULL: it is not said... */
  bool any;                   /* ...or it does not matter */
} lev_Name;

enum { LEV_TLSSERVER = 1, LEV_TLSCLIENT = 2 };

struct lev_Context *levL_checkcontext (lua_State *L, int arg, int idx);
lev_Name levL_checkname (lua_State *L, int arg, int idx);
void levL_checknamed (lua_State *L, int arg, const struct lev_Context *c,
                      const lev_Name *n);
struct lev_Context *levL_opttls (lua_State *L, int arg, int ends, lev_Name *n);
bool levL_secure (lev_Bufferevent *b, const struct lev_Context *c,
                  const lev_Name *n);
bool levL_tlspeer (lev_Bufferevent *b, const char *name);
bool levL_tlsnamed (const lev_Bufferevent *b);
const char *levL_tlswhy (const lev_Bufferevent *b, char *text, size_t size);
int levL_tlsbegin (lev_Bufferevent *b, bool connecting);
void levL_tlsstarted (lev_Bufferevent *b);
bool levL_tlsopen (const lev_Bufferevent *b);
bool levL_tlspending (const lev_Bufferevent *b);
size_t levL_tlsunsent (const lev_Bufferevent *b);
ssize_t levL_tlsread (lev_Bufferevent *b, char *to, size_t room);
ssize_t levL_tlswrite (lev_Bufferevent *b, const char *from, size_t n);
ssize_t levL_tlspour (lev_Bufferevent *b);
void levL_tlsfiles (lev_Bufferevent *b);
int levL_tlsfinish (lev_Bufferevent *b);
void levL_tlsend (lev_Bufferevent *b);
void levL_tlsfree (lev_Bufferevent *b);
int levL_pushtls (lua_State *L, lev_Bufferevent *(*get) (lua_State *L));
void levL_openbufferevent_tls (lua_State *L);

/* ====} */

/* {==== the flavours ==== */

extern const lev_Flavour levL_sock;

void levL_linger (lev_Bufferevent *b);
int levL_newsocket (int family);
void levL_setfd (lev_Bufferevent *b, int fd);
int levL_takeconnected (lev_Bufferevent *b, int fd);
void levL_stoprace (lev_Bufferevent *b);
bool levL_issocket (const lev_Bufferevent *b);
bool levL_ispair (const lev_Bufferevent *b);
bool levL_isfilter (const lev_Bufferevent *b);
int levL_detachfilter (lua_State *L);
lev_Bufferevent *levL_checksocket (lua_State *L, int arg);
void levL_unlimit (lev_Bufferevent *b);
void levL_leavegroup (lev_Bufferevent *b);

void levL_countlimits (lev_Bufferevent *b, int i, size_t n);
void levL_countgroup (lev_Group *g, int i, size_t n);
void levL_checklimits (lua_State *L, int arg, lev_Limits *l);
struct ev_token_bucket_cfg *levL_newcfg (lua_State *L, const lev_Limits *l);
ev_ssize_t levL_surplus (ev_ssize_t left, const lev_Limits *old,
                         const lev_Limits *new, int i);
int levL_pushleft (lua_State *L, const lev_Limits *l, int i, ev_ssize_t left);
ev_ssize_t levL_checkcount (lua_State *L, const lev_Limits *l, int i,
                            ev_ssize_t left);

void levL_openbufferevent_sock (lua_State *L);
void levL_openbufferevent_hostname (lua_State *L);
void levL_openbufferevent_pair (lua_State *L);
void levL_openbufferevent_filter (lua_State *L);
void levL_openbufferevent_ratelim (lua_State *L);
void levL_openbufferevent_group (lua_State *L);

/* ====} */

#pragma GCC visibility pop

#endif
