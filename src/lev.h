/*
** lev.h: what the files of lua-libevent share.
**
** An arrow points down only: core.c -> dump.c, util.c, http.c -> listener.c ->
** bufferevent.c -> dns.c, dns_server.c -> base.c, event.c, waker.c, buffer.c ->
** buffer_change.c, buffer_reference.c -> callback.c -> object.c, log.c ->
** values.c, process.c. What is named after another file, as buffer_search.c or
** http_client.c, is a part of it. tls/ is a module of its own: see lev_tls.h.
*/
#ifndef lev_h
#define lev_h

#ifndef _GNU_SOURCE
#define _GNU_SOURCE           /* dladdr, beside POSIX */
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <lua.h>
#include <lauxlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/buffer.h>

#include "lualibevent.h"

#define LEV_EXPORT __attribute__((visibility("default")))

#ifdef __clang_analyzer__     /* they do not return */
int luaL_argerror (lua_State *L, int arg, const char *message)
  __attribute__((analyzer_noreturn));
int luaL_error (lua_State *L, const char *format, ...)
  __attribute__((analyzer_noreturn));
#endif

#define LEV_BASE "libevent.Base"
#define LEV_EVENT "libevent.Event"
#define LEV_BUFFER "libevent.Buffer"
#define LEV_FILESEGMENT "libevent.FileSegment"
#define LEV_BUFFEREVENT "libevent.Bufferevent"
#define LEV_LISTENER "libevent.Listener"
#define LEV_RATELIMITGROUP "libevent.RateLimitGroup"
#define LEV_WAKER "libevent.Waker"
#define LEV_DNS "libevent.Dns"
#define LEV_DNSREQUEST "libevent.DnsRequest"
#define LEV_DNSSERVER "libevent.DnsServer"
#define LEV_DNSQUERY "libevent.DnsQuery"
#define LEV_HTTP "libevent.Http"
#define LEV_HTTPREQUEST "libevent.HttpRequest"
#define LEV_HTTPCONNECTION "libevent.HttpConnection"
#define LEV_TASK "libevent.Task"
#define LEV_STREAM "libevent.Stream"
#define LEV_CHANGES "libevent.Changes"      /* scripts never see one */

/* The first user value of an object is its base. */
#define LEV_UVBASE 1

/* The user values of a base. */
enum { LEV_UVANCHORS = 1,     /* slot -> object */
       LEV_UVTHREAD,          /* the thread that callbacks run on */
       LEV_UVERROR,           /* what the running loop is to raise */
       LEV_UVERRORCB,         /* set_error_cb */
       LEV_UVCHANGES,         /* what tells of changes of buffers */
       LEV_UVDNS,             /* the Dns of connect_hostname, or nil */
       LEV_UVTASKS,           /* the scheduler of its tasks, or nil */
       LEV_NUVBASE = LEV_UVTASKS };

#pragma GCC visibility push(hidden)

typedef struct lev_Base lev_Base;
typedef struct lev_Object lev_Object;

typedef void (*lev_Visit) (lua_State *L, int idx, lev_Object *o);
typedef void (*lev_Each) (lua_State *L, int idx, lev_Visit visit);

/* What the life of an object needs to know of its type. C only, but for
   'each': none of the others may touch Lua. */
typedef struct lev_Kind {
  const char *tname;                        /* its metatable's name */
  bool (*active) (const lev_Object *o);     /* may libevent still call it? */
  void (*free) (lev_Object *o);             /* frees what libevent holds */
  bool (*reinit) (lev_Object *o, bool done);  /* around event_reinit, or NULL;
                                 false and errno: something is lost */
  const void *(*handle) (const lev_Object *o);  /* the argument of libevent's
                                 own events for it, or NULL: all are ours */
  bool (*sends) (lev_Object *o, bool done);  /* around an adding to its output;
                                 false: without memory; NULL: it has none */
  void (*clear) (lev_Object *o);    /* puts all of its bytes into its buffers,
                                 or NULL: they always are there */
  size_t (*aside) (const lev_Object *o, const struct evbuffer *buf);  /* how
                                 many of buf's are not; goes with 'clear' */
  lev_Each each;              /* what is anchored with it, itself too, or NULL */
  void (*push) (lua_State *L, int object);  /* what set_error_cb's callback gets
                                               in place of it, or NULL */
} lev_Kind;

/* What every object that lives on a base begins with. */
struct lev_Object {
  unsigned stamp;             /* what tells it from any other userdata */
  int slot;                   /* in the base's table of anchors, or 0 */
  const lev_Kind *kind;
  lev_Base *base;             /* NULL once closed */
  lev_Object *prev, *next;    /* ring of the base's open objects */
};

/* A duration that libevent has a queue for. */
typedef struct lev_Common {
  struct timeval duration;
  const struct timeval *queue;  /* the duration and the queue's number */
} lev_Common;

struct lev_Base {
  struct event_base *event_base;  /* NULL once closed */
  lua_State *L;               /* the thread that callbacks run on */
  lev_Object objects;         /* head of the ring of open objects */
  int ref;                    /* registry: its anchors, while it can run */
  int nslots, freeslot;       /* of its anchors; each free one has the next */
  struct event exit;          /* the timer of loopexit(seconds) */
  lev_Common *common;         /* init_common_timeout's, or NULL... */
  int ncommon;                /* ...so many */
  unsigned forks;             /* levL_forks when the back end was made */
  bool owned;                 /* false: the host frees event_base... */
  struct event sentinel;      /* ...and with it this timer, which never fires */
  int calls;                  /* callbacks that run: nested, one each */
  bool looping;               /* a loop of ours is on the C stack */
  bool closing;               /* closed in its own loop: freed at its end */
  bool failed;                /* LEV_UVERROR waits for the loop's end */
  bool timed;                 /* it has timeouts, or had one */
  bool unsent;                /* something is to be sent when a callback... */
  void (*leave) (lev_Base *base);   /* ...returns, by this */
  struct lev_Desk *desk;      /* what lies between sockets and their buffers */
  struct lev_Counter *counter;    /* what lies between them and TLS */
  struct lev_Scheduler *scheduler;    /* of its tasks, or NULL */
  int streams;                /* of tasks, that are open */
  struct lev_Question *asked; /* what evdns has not yet answered, and... */
  void (*forget) (lev_Base *base, bool gone);     /* ...ends that, or NULL */
  lualibevent_Hook hook;      /* calls callbacks in lua_pcall's place, or NULL */
  void *hookdata;
};

/* An IP address as text, with its scope and port. */
#define LEV_ADDRESSSIZE 80

/* {==== values.c: Lua values from and to libevent's ==== */

typedef struct lev_Word { const char *name; int value; } lev_Word;

int levL_words (lua_State *L, int idx, int arg, const lev_Word *words);
int levL_checkwords (lua_State *L, int arg, const lev_Word *words);
int levL_checkword (lua_State *L, int arg, const lev_Word *words);
void levL_pushwords (lua_State *L, int flags, const lev_Word *words);
struct timeval levL_totime (double seconds);
const struct timeval *levL_time (lua_State *L, int idx, int arg,
                                 struct timeval *tv);
bool levL_isfalse (lua_State *L, int idx);
void levL_timeout (lua_State *L, int arg, struct timeval *tv);
void levL_pushtime (lua_State *L, const struct timeval *tv);
lua_Integer levL_range (lua_State *L, int idx, int arg, lua_Integer min,
                        lua_Integer max);
size_t levL_optsize (lua_State *L, int arg, size_t def);
int levL_checkfd (lua_State *L, int arg);
int levL_checksignal (lua_State *L, int arg);
bool levL_toscope (const char *s, uint32_t *scope);
socklen_t levL_toip (const char *s, struct sockaddr_storage *ss);
const void *levL_ipbytes (const struct sockaddr_storage *ss, size_t *len);
socklen_t levL_toinet (const char *s, struct sockaddr_storage *ss);
socklen_t levL_checkaddress (lua_State *L, int arg,
                             struct sockaddr_storage *ss);
void levL_addresstext (const struct sockaddr *sa, char text[LEV_ADDRESSSIZE]);
void levL_pushaddress (lua_State *L, const struct sockaddr *sa,
                       socklen_t len);

/* Where to wait: an address, or a descriptor that is bound already: a number
   is ours from then on, an object keeps its own. */
typedef struct lev_Place {
  int fd;                     /* -1: an address */
  struct sockaddr_storage ss;
  socklen_t len;
} lev_Place;

void levL_checkplace (lua_State *L, int arg, lev_Place *p);
typedef int (*lev_Getname) (int fd, struct sockaddr *sa, socklen_t *len);
int levL_pushname (lua_State *L, int fd, lev_Getname get);
bool levL_optcallback (lua_State *L, int arg);
void levL_checkcallback (lua_State *L, int arg);
void levL_checkoptions (lua_State *L, int arg, const char *const names[]);
bool levL_option (lua_State *L, int arg, const char *name);
int levL_expected (lua_State *L, int idx, int arg, const char *what);
int levL_refuse (lua_State *L, int err, const char *message);
int levL_nomemory (lua_State *L);
int levL_unable (lua_State *L);

/* ====} */

/* {==== process.c: what a process has only once ==== */

void levL_openprocess (void);
const char *const *levL_methods (void);
extern unsigned levL_forks;
extern unsigned levL_secret;
bool levL_takesignals (const struct event_base *event_base);
void levL_dropsignals (const struct event_base *event_base, unsigned n);
bool levL_random (void *bytes, size_t n);

/* ====} */

/* {==== log.c: what libevent has to say ==== */

extern unsigned levL_said;
extern unsigned levL_lost;
void levL_heed (void);
unsigned levL_logged (lua_State *L);
int levL_calllog (lua_State *L);

/* ====} */

/* {==== object.c: the life of the objects ==== */

int levL_reinit (lev_Base *base);
void levL_own (lev_Base *base);
bool levL_isgone (const lev_Base *base);
void levL_freshen (lev_Base *base);
const struct timeval *levL_commontime (const lev_Base *base,
                                       const struct timeval *tv);
bool levL_left (const lev_Base *base, const struct event *ev,
                struct timeval *left);
void levL_initanchors (lua_State *L, lev_Base *base);
void levL_hold (lua_State *L, int idx, bool on);
void levL_dropref (lua_State *L, lev_Base *base);
void levL_pushbase (lua_State *L, const lev_Base *base);
lev_Base *levL_hostbase (lua_State *L, struct event_base *event_base);
void levL_freebase (lua_State *L, lev_Base *base);
lev_Base *levL_checkbase (lua_State *L, int arg);
void *levL_newobject (lua_State *L, int base, const lev_Kind *kind,
                      size_t size, int nuv);
void levL_adopt (lev_Base *base, lev_Object *o);
void *levL_checkobject (lua_State *L, int arg, const lev_Kind *kind);
void *levL_checkopen (lua_State *L, int arg, const lev_Kind *kind);
void levL_anchor (lua_State *L, int idx, lev_Object *o);
void levL_settle (lua_State *L, int idx, lev_Object *o);
bool levL_find (lua_State *L, const lev_Object *o);
void levL_rest (lev_Object *o);
void levL_free (lev_Object *o);
int levL_close (lua_State *L, const lev_Kind *kind);
void levL_drop (lev_Object *o);
int levL_tostring (lua_State *L, const char *tname, bool open);
int levL_getbase (lua_State *L, const lev_Kind *kind);
void levL_newweak (lua_State *L, const char *mode);
void levL_newtype (lua_State *L, const char *tname, const luaL_Reg *methods,
                   const luaL_Reg *metamethods);
void levL_addmethods (lua_State *L, const char *tname,
                      const luaL_Reg *methods);

/* ====} */

/* {==== callback.c: the door from C into Lua ==== */

#ifdef LEV_COLLECT            /* a build for tests: what can be collected is */
void levL_collect (lua_State *L);
#else
#define levL_collect(L) ((void)(L))
#endif

bool levL_protect (lev_Object *o, lua_CFunction f, void *data,
                   void (*undo) (void *data));
typedef bool (*lev_Go) (lua_State *L, int msgh, void *data);
void levL_go (lev_Object *o, lua_CFunction f, lev_Go go, void *data);
void levL_call (lev_Object *o, int uv, int arg);
void levL_tell (lev_Base *base);

/* ====} */

/* {==== buffer_reference.c: large strings without a copy ==== */

void levL_reserve (lua_State *L, int first, int last);
int levL_addstring (lua_State *L, int arg, struct evbuffer *to);
int levL_prependstring (lua_State *L, int arg, struct evbuffer *to);

/* ====} */

/* {==== buffer.c: what its neighbours add, take and look at ==== */

enum { LEV_START = 1, LEV_END = 2 };      /* of a buffer */

/* The user values of a buffer. */
enum { LEV_UVOWNER = 1,       /* the bufferevent that it is borrowed from; else
                                 the base that its callbacks run on */
       LEV_UVCALLBACKS,       /* add_cb */
       LEV_NUVBUFFER = LEV_UVCALLBACKS };

typedef struct lev_Watch lev_Watch;

typedef struct lev_Buffer {
  struct evbuffer *buf;       /* NULL once closed */
  lev_Object *owner;          /* who it is borrowed from, or NULL */
  const bool *sealed;         /* of an output: takes no more data */
  int frozen;                 /* the ends that nothing passes */
  bool tofd;                  /* libevent writes it to a descriptor */
  bool file;                  /* and it holds a file, or did */
  lev_Watch *watch;           /* who is told of changes, or NULL */
} lev_Buffer;

/* gives the buffer of an argument, which must be open */
typedef struct evbuffer *(*lev_Get) (lua_State *L, int arg);

lev_Buffer *levL_checkbuffer (lua_State *L, int arg);
struct evbuffer *levL_checkbytes (lua_State *L, int arg);
struct evbuffer *levL_newbuffer (lua_State *L);
struct evbuffer *levL_tobuffer (lua_State *L, int idx);
void levL_checkdata (lua_State *L, int first, int last);
bool levL_adddata (lua_State *L, int first, int last, struct evbuffer *to);
void levL_take (lua_State *L, lev_Get get, int arg, size_t n, size_t more);
void levL_pushdata (lua_State *L, lev_Get get, int arg, size_t n);
size_t levL_optoffset (lua_State *L, int arg, size_t len);
struct evbuffer *levL_checksource (lua_State *L, int arg);
struct evbuffer *levL_checksink (lua_State *L, int arg);
void levL_settlesink (lua_State *L, int arg);
lev_Buffer *levL_pushborrowed (lua_State *L, int owner, struct evbuffer *buf,
                               const bool *sealed, bool tofd);

/* ====} */

/* {==== buffer_segment.c: files ==== */

bool levL_isfile (lua_State *L, int arg);
struct evbuffer *levL_newfilepart (lua_State *L, int arg, int *err);

/* ====} */

/* {==== buffer_change.c: callbacks of changes of a buffer ==== */

void levL_unwatch (lev_Buffer *b);

/* ====} */

/* {==== the other objects, as their neighbours see them ==== */

void levL_pushevents (lua_State *L, int events);

struct lev_Context;

const struct lev_Context *levL_optservertls (lua_State *L, int arg);
lev_Object *levL_newbufferevent (lua_State *L, int base, int fd,
                                 const struct lev_Context *tls);
void levL_freecounter (lev_Base *base);
void levL_nodelay (int fd);

void levL_openreference (lua_State *L);
void levL_openbase (lua_State *L);
void levL_openlog (lua_State *L);
void levL_openevent (lua_State *L);
void levL_openwaker (lua_State *L);
void levL_openbuffer (lua_State *L);
void levL_opensearch (lua_State *L);
void levL_opentransfer (lua_State *L);
void levL_opensegment (lua_State *L);
void levL_openbufferevent (lua_State *L);
void levL_openlistener (lua_State *L);
void levL_opendns (lua_State *L);
void levL_opendnsserver (lua_State *L);
void levL_openhttp (lua_State *L);
void levL_opentask (lua_State *L);
void levL_openutil (lua_State *L);
void levL_opendump (lua_State *L);
void levL_openchange (lua_State *L);

/* ====} */

#pragma GCC visibility pop

#endif
