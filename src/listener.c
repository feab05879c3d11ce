/*
** listener.c: struct evconnlistener, a socket that accepts.
**
** It is anchored while it is enabled. Each connection is handed over as a
** Bufferevent of its own: one that the script drops is closed, not leaked.
** Without descriptors or memory for another one the listener pauses, says so
** once and comes back; libevent would call its error callback for ever.
*/
#include "lev.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/listener.h>

/* user values, after LEV_UVBASE */
enum { ACCEPTCB = 2, ERRORCB, DESCRIPTOR, CONTEXT, NUSERVALUES = CONTEXT };

typedef struct lev_Listener {
  lev_Object o;
  struct evconnlistener *listener;
  const struct lev_Context *tls;    /* of its connections, or NULL */
  struct event retry;         /* ends a pause */
  bool ownfd;                 /* a number that was given is ours to close */
  bool enabled;               /* by the script: a pause does not count */
  bool given;                 /* made by a host: perhaps with other flags */
  unsigned accepted;          /* connections so far */
  bool tells;                 /* the callback takes the peer's address */
  bool starved;               /* the lack of descriptors has been told */
  pid_t pid;                  /* who bound a unix socket, and removes it: */
  dev_t dev;                  /* ...this file... */
  ino_t ino;                  /* ...and no other one of its name */
} lev_Listener;

static const struct timeval atonce = {0, 0};
static const struct timeval starvedpause = {0, 100000};

/* Connections after which others have their turn. */
#define TURN 64

static const lev_Word optionwords[] = {
  {"leave_sockets_blocking", LEV_OPT_LEAVE_SOCKETS_BLOCKING},
  {"close_on_free", LEV_OPT_CLOSE_ON_FREE},
  {"close_on_exec", LEV_OPT_CLOSE_ON_EXEC},
  {"reuseable", LEV_OPT_REUSEABLE},
  {"threadsafe", LEV_OPT_THREADSAFE},
  {"disabled", LEV_OPT_DISABLED},
  {"deferred_accept", LEV_OPT_DEFERRED_ACCEPT},
  {"reuseable_port", LEV_OPT_REUSEABLE_PORT},
  {"bind_ipv6only", LEV_OPT_BIND_IPV6ONLY},
  {NULL, 0}
};

/* {==== Unix sockets ==== */

/* The path of a unix address, NULL for any other or an abstract one. */
static const char *pathof (const struct sockaddr_storage *ss) {
  const struct sockaddr_un *sun = (const struct sockaddr_un *)ss;
  return ss->ss_family == AF_UNIX && sun->sun_path[0] ? sun->sun_path : NULL;
}

/* A server that was killed leaves its socket's file behind, and nobody can
   bind there again. Nobody listens there either, then. */
static void removestale (const struct sockaddr_storage *ss, socklen_t len) {
  const char *path = pathof(ss);
  struct stat st;
  int fd;
  if (path == NULL || lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
    return;
  fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0)
    return;
  evutil_make_socket_nonblocking(fd);
  if (connect(fd, (const struct sockaddr *)ss, len) < 0
      && errno == ECONNREFUSED)
    unlink(path);
  evutil_closesocket(fd);
}

static void rememberfile (lev_Listener *l, const struct sockaddr_storage *ss) {
  const char *path = pathof(ss);
  struct stat st;
  if (path && lstat(path, &st) == 0) {
    l->pid = getpid();
    l->dev = st.st_dev;
    l->ino = st.st_ino;
  }
}

static void removefile (const lev_Listener *l) {
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  struct stat st;
  const char *path;
  memset(&ss, 0, sizeof(ss));
  if (l->pid == 0 || l->pid != getpid()
      || getsockname(evconnlistener_get_fd(l->listener),
                     (struct sockaddr *)&ss, &len) < 0)
    return;
  path = pathof(&ss);
  if (path && lstat(path, &st) == 0 && st.st_dev == l->dev
      && st.st_ino == l->ino)
    unlink(path);
}

/* ====} */

/* {==== Kind and accessors ==== */

static bool isactive (const lev_Object *o) {
  return ((const lev_Listener *)o)->enabled;
}

static void freelistener (lev_Object *o) {
  lev_Listener *l = (lev_Listener *)o;
  int fd = (int)evconnlistener_get_fd(l->listener);
  event_del(&l->retry);
  removefile(l);
  evconnlistener_free(l->listener);
  l->listener = NULL;
  if (l->ownfd)
    evutil_closesocket(fd);
}

static const void *handle (const lev_Object *o) {
  return ((const lev_Listener *)o)->listener;
}

static const lev_Kind kind = {
  .tname = LEV_LISTENER, .active = isactive, .free = freelistener,
  .handle = handle
};

static lev_Listener *checklistener (lua_State *L) {
  return levL_checkopen(L, 1, &kind);
}

/* [-1] callback, of the listener at 'idx'. An address takes time and memory to
   make: not for a function that has no parameter for it. */
static void setcallback (lua_State *L, int idx, lev_Listener *l) {
  lua_Debug ar = {.isvararg = true};          /* of what is only callable */
  if (lua_isfunction(L, -1)) {
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">u", &ar);
  }
  l->tells = ar.isvararg || ar.nparams > 2;
  lua_setiuservalue(L, idx, ACCEPTCB);
}

/* ====} */

/* {==== From libevent to Lua ==== */

/* libevent accepts until nothing is left and heeds no loopbreak, no error, and
   no other event: only a disabled listener stops. The timer enables it again
   in the next turn, whenever a loop runs that has one. */
static void retryin (lev_Listener *l, const struct timeval *tv) {
  if (event_add(&l->retry, tv) < 0)
    event_active(&l->retry, EV_TIMEOUT, 1);   /* without memory for a timer */
}

static void pausefor (lev_Listener *l, const struct timeval *tv) {
  evconnlistener_disable(l->listener);
  retryin(l, tv);
}

static void onretry (evutil_socket_t fd, short what, void *arg) {
  lev_Listener *l = arg;
  (void)fd; (void)what;
  if (l->enabled && evconnlistener_enable(l->listener) < 0)
    retryin(l, &starvedpause);
}

typedef struct Accepted {
  int fd;                     /* until the connection has it */
  const struct sockaddr *sa;
  int len;
  lev_Object *conn;
} Accepted;

/* [1] listener, [2] Accepted */
static int callaccept (lua_State *L) {
  const lev_Listener *l = lua_touserdata(L, 1);
  Accepted *a = lua_touserdata(L, 2);
  lua_getiuservalue(L, 1, LEV_UVBASE);                      /* 3 */
  a->conn = levL_newbufferevent(L, 3, a->fd, l->tls);       /* 4 */
  a->fd = -1;
  levL_anchor(L, 4, a->conn);
  lua_getiuservalue(L, 1, ACCEPTCB);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 4);
  if (l->tells)
    levL_pushaddress(L, a->sa, (socklen_t)a->len);
  lua_call(L, l->tells ? 3 : 2, 0);
  if (a->conn->base)
    levL_settle(L, 4, a->conn);
  return 0;
}

/* A connection whose callback failed has nobody to answer it. */
static void endconnection (void *call) {
  Accepted *a = call;
  if (a->fd >= 0)
    evutil_closesocket(a->fd);
  if (a->conn && a->conn->base)
    levL_drop(a->conn);
}

static void onaccept (struct evconnlistener *listener, evutil_socket_t fd,
                      struct sockaddr *sa, int len, void *arg) {
  lev_Listener *l = arg;
  lev_Base *base = l->o.base;
  Accepted a = {(int)fd, sa, len, NULL};
  (void)listener;
  l->starved = false;
  if (l->given)
    evutil_make_socket_nonblocking(fd);
  levL_protect(&l->o, callaccept, &a, endconnection);
  if (l->o.base && (++l->accepted % TURN == 0
                    || event_base_got_break(base->event_base)))
    pausefor(l, &atonce);
}

/* [1] listener, [2] errno. Garbage may hold descriptors, and a server that
   cannot accept makes too little of it for a collection to come by itself. */
static int callerror (lua_State *L) {
  int err = *(int *)lua_touserdata(L, 2);
  lev_Listener *l = lua_touserdata(L, 1);
  const char *message = evutil_socket_error_to_string(err);
  bool told = l->starved;
  l->starved = true;
  if (told) {
    lua_gc(L, LUA_GCSTEP, 1024);
    return 0;
  }
  lua_gc(L, LUA_GCCOLLECT);
  if (lua_getiuservalue(L, 1, ERRORCB) == LUA_TNIL) {
    lua_warning(L, "libevent: a listener pauses: ", 1);
    lua_warning(L, message, 0);
    return 0;
  }
  lua_pushvalue(L, 1);
  lua_pushstring(L, message);
  lua_pushinteger(L, err);
  lua_call(L, 3, 0);
  return 0;
}

static void onerror (struct evconnlistener *listener, void *arg) {
  int err = EVUTIL_SOCKET_ERROR();
  lev_Listener *l = arg;
  (void)listener;
  pausefor(l, &starvedpause);
  levL_protect(&l->o, callerror, &err, NULL);
}

/* ====} */

/* {==== Constructor ==== */

typedef struct Options {
  unsigned flags;
  int backlog;
  const struct lev_Context *tls;
} Options;

/* Pushes its context, or nil. */
static Options checkoptions (lua_State *L, int arg) {
  static const char *const names[] = {"flags", "backlog", "tls", NULL};
  Options o = {LEV_OPT_REUSEABLE, SOMAXCONN, NULL};
  levL_checkoptions(L, arg, names);
  if (levL_option(L, arg, "flags"))
    o.flags |= (unsigned)levL_words(L, -1, arg, optionwords);
  if (levL_option(L, arg, "backlog"))
    o.backlog = (int)levL_range(L, -1, arg, 1, INT_MAX);
  lua_settop(L, arg);
  o.tls = levL_optservertls(L, arg);
  o.flags |= LEV_OPT_CLOSE_ON_EXEC;
  /* a Bufferevent cannot block, and a listener stays on its state's thread */
  o.flags &= ~(unsigned)(LEV_OPT_LEAVE_SOCKETS_BLOCKING | LEV_OPT_THREADSAFE);
  return o;
}

static void checkplace (lua_State *L, int arg, lev_Place *p, Options *o) {
  levL_checkplace(L, arg, p);
  if (p->fd < 0) {
    o->flags |= LEV_OPT_CLOSE_ON_FREE;
    return;
  }
  luaL_argcheck(L, !(o->flags & LEV_OPT_CLOSE_ON_FREE)
                   || lua_type(L, arg) == LUA_TNUMBER, 4,
                "close_on_free: the object closes its own descriptor");
  o->flags &= ~(unsigned)LEV_OPT_CLOSE_ON_FREE;   /* libevent would do it */
}                                                 /* on a refusal, too */

static struct evconnlistener *newlistener (lev_Base *base, lev_Listener *l,
                                           const lev_Place *p,
                                           const Options *o) {
  unsigned flags = o->flags | LEV_OPT_DISABLED;   /* enabling may fail */
  errno = 0;
  if (p->fd >= 0) {
    evutil_make_socket_nonblocking(p->fd);
    return evconnlistener_new(base->event_base, onaccept, l, flags,
                              o->backlog, p->fd);
  }
  if (o->flags & LEV_OPT_REUSEABLE)
    removestale(&p->ss, p->len);
  return evconnlistener_new_bind(base->event_base, onaccept, l, flags,
                                 o->backlog, (struct sockaddr *)&p->ss,
                                 (int)p->len);
}

static void openlistener (lev_Base *base, lev_Listener *l) {
  evconnlistener_set_error_cb(l->listener, onerror);
  levL_nodelay(evconnlistener_get_fd(l->listener));   /* its sockets inherit */
  event_assign(&l->retry, base->event_base, -1, 0, onretry, l);
  levL_adopt(base, &l->o);
}

/* base:listener(address or fd, cb [, options])
   -> listener | nil, message, errno */
static int lev_base_listener (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  Options o;
  lev_Place place;
  lev_Listener *l;
  levL_checkcallback(L, 3);
  lua_settop(L, 4);
  o = checkoptions(L, 4);                                         /* 5 */
  checkplace(L, 2, &place, &o);
  l = levL_newobject(L, 1, &kind, sizeof(*l), NUSERVALUES);
  lua_insert(L, 5);
  lua_setiuservalue(L, 5, CONTEXT);
  l->tls = o.tls;
  lua_pushvalue(L, 3);
  setcallback(L, 5, l);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 5, DESCRIPTOR);      /* an object keeps its fd open */
  levL_anchor(L, 5, &l->o);
  l->listener = newlistener(base, l, &place, &o);
  if (l->listener == NULL) {
    int err = errno ? errno : ENOMEM;
    levL_settle(L, 5, &l->o);
    return levL_refuse(L, err, NULL);
  }
  if (place.fd < 0)
    rememberfile(l, &place.ss);
  openlistener(base, l);
  if (!(o.flags & LEV_OPT_DISABLED)) {
    errno = 0;
    l->enabled = evconnlistener_enable(l->listener) == 0;
    if (!l->enabled) {
      int err = errno;
      lua_settop(L, 5);
      lua_replace(L, 1);
      levL_close(L, &kind);
      return levL_refuse(L, err, NULL);
    }
  }
  l->ownfd = place.fd >= 0 && lua_type(L, 2) == LUA_TNUMBER;
  levL_settle(L, 5, &l->o);
  return 1;
}

/* ====} */

/* {==== Methods ==== */

/* listener:enable() -> listener | nil, message, errno */
static int lev_listener_enable (lua_State *L) {
  lev_Listener *l = checklistener(L);
  levL_anchor(L, 1, &l->o);
  event_del(&l->retry);
  errno = 0;
  l->enabled = evconnlistener_enable(l->listener) == 0;
  levL_settle(L, 1, &l->o);
  if (!l->enabled)
    return levL_refuse(L, errno, NULL);
  lua_settop(L, 1);
  return 1;
}

/* listener:disable() -> listener */
static int lev_listener_disable (lua_State *L) {
  lev_Listener *l = checklistener(L);
  event_del(&l->retry);
  evconnlistener_disable(l->listener);
  l->enabled = false;
  levL_settle(L, 1, &l->o);
  lua_settop(L, 1);
  return 1;
}

/* listener:enabled() -> boolean */
static int lev_listener_enabled (lua_State *L) {
  lua_pushboolean(L, checklistener(L)->enabled);
  return 1;
}

/* listener:set_cb(cb) -> listener */
static int lev_listener_set_cb (lua_State *L) {
  lev_Listener *l = checklistener(L);
  levL_checkcallback(L, 2);
  lua_settop(L, 2);
  setcallback(L, 1, l);
  return 1;
}

/* listener:set_error_cb([cb]) -> listener */
static int lev_listener_set_error_cb (lua_State *L) {
  checklistener(L);
  levL_optcallback(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, ERRORCB);
  return 1;
}

/* listener:fd() -> descriptor */
static int lev_listener_fd (lua_State *L) {
  lua_pushinteger(L, evconnlistener_get_fd(checklistener(L)->listener));
  return 1;
}

/* listener:sockname() -> address | nil, message, errno */
static int lev_listener_sockname (lua_State *L) {
  return levL_pushname(L, evconnlistener_get_fd(checklistener(L)->listener),
                       getsockname);
}

/* listener:base() -> base */
static int lev_listener_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* listener:close() -> listener */
static int lev_listener_close (lua_State *L) {
  return levL_close(L, &kind);
}

static int lev_listener__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_LISTENER);
  return levL_tostring(L, LEV_LISTENER, o->base != NULL);
}

/* ====} */

/* {==== The host's ==== */

LEV_EXPORT struct evconnlistener *lualibevent_tolistener (lua_State *L,
                                                          int idx) {
  return ((lev_Listener *)levL_checkopen(L, idx, &kind))->listener;
}

/* [-1] callback */
LEV_EXPORT void lualibevent_givelistener (lua_State *L,
                                          struct evconnlistener *listener) {
  int cb = lua_gettop(L);
  lev_Listener *l;
  levL_checkcallback(L, cb);
  lualibevent_pushbase(L, evconnlistener_get_base(listener));
  l = levL_newobject(L, cb + 1, &kind, sizeof(*l), NUSERVALUES);  /* cb + 2 */
  lua_pushvalue(L, cb);
  setcallback(L, cb + 2, l);
  levL_anchor(L, cb + 2, &l->o);
  errno = 0;
  if (evconnlistener_enable(listener) < 0) {
    levL_settle(L, cb + 2, &l->o);
    levL_unable(L);
  }
  l->listener = listener;
  l->given = true;
  openlistener(lua_touserdata(L, cb + 1), l);
  l->enabled = true;
  evconnlistener_set_cb(listener, onaccept, l);
  lua_replace(L, cb);
  lua_settop(L, cb);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"enable", lev_listener_enable},
  {"disable", lev_listener_disable},
  {"enabled", lev_listener_enabled},
  {"set_cb", lev_listener_set_cb},
  {"set_error_cb", lev_listener_set_error_cb},
  {"fd", lev_listener_fd},
  {"sockname", lev_listener_sockname},
  {"base", lev_listener_base},
  {"close", lev_listener_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_listener_close},
  {"__close", lev_listener_close},
  {"__tostring", lev_listener__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"listener", lev_base_listener},
  {NULL, NULL}
};

void levL_openlistener (lua_State *L) {
  levL_newtype(L, LEV_LISTENER, methods, metamethods);
  levL_addmethods(L, LEV_BASE, constructors);
}
