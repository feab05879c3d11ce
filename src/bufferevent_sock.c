/*
** bufferevent_sock.c: the bufferevent on a socket.
**
** The descriptor is its own, unless an object was given, which then is kept
** alive and closes it, or a host gave the bufferevent. Closing takes the
** descriptor from libevent first and closes it at once; libevent would do so
** only in the next turn of the loop, when the number is already somebody's
** guess. A host's choice, though, nobody but libevent knows.
*/
#include "lev_bufferevent.h"
#include "lev_tls.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* Both are always so: the descriptor is closed here, and callbacks come from
   the loop alone, never inside a call of the script's. */
static const lev_Word optionwords[] = {
  {"close_on_free", BEV_OPT_CLOSE_ON_FREE},
  {"defer_callbacks", BEV_OPT_DEFER_CALLBACKS},
  {NULL, 0}
};

/* libevent's own most bytes of a turn, if nobody says other ones. */
#define MAXSINGLE 16384

/* {==== The flavour ==== */

/* One that a host gave. Whether it was made with BEV_OPT_CLOSE_ON_FREE libevent
   does not say: so it has the descriptor back in the end, to close or not. */
typedef struct Given {
  lev_Bufferevent b;
  int fd;                     /* -1: none, or somebody else closes it */
} Given;

static int fdof (const lev_Bufferevent *b) {
  return (int)b->bev->ev_read.ev_fd;
}

static size_t waiting (const lev_Bufferevent *b) {
  return levL_unsent(b);
}

static bool isactive (const lev_Bufferevent *b) {
  short enabled = b->bev->enabled;
  if (b->connecting || b->failure)
    return true;
  return fdof(b) >= 0
         && (levL_reads(b) || ((enabled & EV_WRITE) && waiting(b) > 0)
             || (event_pending(&b->bev->ev_write, EV_WRITE, NULL)
                 && !b->inconnected && !b->above));
}

static bool isready (const lev_Bufferevent *b) {
  return fdof(b) >= 0 && !b->connecting;
}

/* libevent leaves both buffers unfrozen when it changes the descriptor: the
   script could add to what it reads, and take back what it wrote. */
static void refreeze (lev_Bufferevent *b) {
  evbuffer_freeze(bufferevent_get_input(b->bev), 0);
  evbuffer_freeze(bufferevent_get_output(b->bev), 1);
}

void levL_setfd (lev_Bufferevent *b, int fd) {
  levL_stoprace(b);
  levL_tlsend(b);
  levL_park(b);
  bufferevent_setfd(b->bev, fd);
  levL_direct(b);
  refreeze(b);
  b->full = b->shutwrite = b->isshut = false;
}

/* Takes the descriptor from libevent and closes it, if it is ours. */
static void closefd (lev_Bufferevent *b) {
  int fd = fdof(b);
  levL_setfd(b, -1);
  if (fd >= 0 && b->ownfd)
    evutil_closesocket(fd);
  b->ownfd = false;
}

/* The end. libevent frees it with the descriptor that the host gave. */
static void leave (lev_Bufferevent *b) {
  closefd(b);
  if (b->given)
    bufferevent_setfd(b->bev, ((Given *)b)->fd);
}

/* The descriptor is the script's to close, or ours: not libevent's, too. */
static void reclaim (lev_Bufferevent *b, int fd) {
  if (b->given && ((Given *)b)->fd == fd)
    ((Given *)b)->fd = -1;
}

/* A socket has nothing of its own to flush: what is written is on its way. */
static bool flush (lev_Bufferevent *b, short what,
                   enum bufferevent_flush_mode mode) {
  return bufferevent_flush(b->bev, what, mode) > 0;
}

static int shutread (lev_Bufferevent *b, int what) {
  if (fdof(b) < 0)
    return ENOTCONN;
  return (what & EV_READ) && shutdown(fdof(b), SHUT_RD) < 0 ? errno : 0;
}

static int endwrite (lev_Bufferevent *b) {
  int err = 0;
  if (b->connecting || waiting(b) > 0)
    return 0;
  if (b->tls)
    err = levL_tlsfinish(b);
  if (err == 0 && waiting(b) > 0)
    levL_handover(b);         /* the last word of TLS, and then we again */
  if (err || waiting(b) > 0)
    return err;
  b->isshut = true;
  return shutdown(fdof(b), SHUT_WR) < 0 ? errno : 0;
}

/* sendfile that sent nothing: the socket was full after all, or the file has
   become shorter. libevent takes both for an end. The first one waits. */
static bool retry (lev_Bufferevent *b) {
  struct pollfd p = {fdof(b), POLLOUT, 0};
  bool first = b->end.stuck != waiting(b);
  b->end.stuck = waiting(b);
  return (first || poll(&p, 1, 0) == 0)
         && bufferevent_enable(b->bev, EV_WRITE) == 0;
}

static bool note (lev_Bufferevent *b, lev_Happening *h) {
  bool connected = (h->what & BEV_EVENT_CONNECTED) != 0, unparked = true;
  if (connected && !b->connecting)
    return false;             /* setfd came in between: nobody asked */
  if (h->what == (BEV_EVENT_EOF | BEV_EVENT_WRITING)) {
    if (retry(b))
      return false;
    h->what = BEV_EVENT_ERROR | BEV_EVENT_WRITING;
    h->err = EIO;
  }
  if (b->connecting && !connected)
    closefd(b);               /* the next connect starts from nothing */
  b->connecting = false;
  b->inconnected = connected;
  if (connected) {
    unparked = levL_unpark(b) == 0;
    levL_tlsstarted(b);
  }
  if (!unparked) {
    h->what = BEV_EVENT_ERROR | BEV_EVENT_READING;
    h->err = errno ? errno : ENOMEM;
  }
  else if (connected && b->ending == LEV_OPEN)
    levL_shutwrite(b);
  return true;
}

static time_t now (const lev_Bufferevent *b) {
  struct timeval tv;
  event_base_gettimeofday_cached(b->o.base->event_base, &tv);
  return tv.tv_sec;
}

/* The peer has more to say, but nobody hears it any more. */
void levL_linger (lev_Bufferevent *b) {
  evbuffer_drain(bufferevent_get_input(b->bev), SIZE_MAX);
  if (now(b) > b->end.until)
    levL_drop(&b->o);
}

/* Bytes of the peer's that libevent has not read. */
static int unread (const lev_Bufferevent *b) {
  int n = 0;
  return ioctl(fdof(b), FIONREAD, &n) < 0 ? 0 : n;
}

/* All is sent, but not all is received: closing with data of the peer's
   unread makes TCP throw away what is still on its way. So the rest of those
   is read, for nobody, until the peer closes or the time is over. */
static void flushed (lev_Bufferevent *b) {
  struct timeval wait = b->bev->timeout_write;
  if (b->tls && levL_tlsfinish(b) == 0 && waiting(b) > 0) {
    levL_handover(b);         /* its last word has to be sent, too */
    return;
  }
  if ((unread(b) == 0 && !b->lingers) || levL_shutwrite(b) != 0) {
    levL_drop(&b->o);
    return;
  }
  b->ending = LEV_LINGERING;
  b->end.until = now(b) + wait.tv_sec;
  bufferevent_setwatermark(b->bev, EV_READ, 0, 0);
  bufferevent_set_timeouts(b->bev, &wait, NULL);
  bufferevent_enable(b->bev, EV_READ);
}

static bool isidle (const lev_Bufferevent *b) {
  return fdof(b) < 0 || (waiting(b) == 0 && unread(b) == 0);
}

const lev_Flavour levL_sock = {
  false, isactive, isready, isidle, flush, shutread, endwrite, note, flushed,
  leave, NULL
};

bool levL_issocket (const lev_Bufferevent *b) {
  return b->flavour == &levL_sock;
}

/* A bufferevent that has a descriptor, or will. */
lev_Bufferevent *levL_checksocket (lua_State *L, int arg) {
  lev_Bufferevent *b = levL_checkbev(L, arg);
  luaL_argcheck(L, levL_issocket(b), arg, "Bufferevent is not on a socket");
  return b;
}

/* ====} */

/* {==== Constructor ==== */

/* Replies of a few bytes must not wait for the acknowledgement of the last
   ones. Says nothing on descriptors that are not TCP. */
void levL_nodelay (int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static lev_Bufferevent *newbev (lua_State *L, int base, int fd) {
  lev_Base *owner = lua_touserdata(L, base);
  lev_Bufferevent *b = levL_newbev(L, base, sizeof(*b), LEV_NUVBUFFEREVENT,
                                   &levL_sock);
  struct bufferevent *bev;
  errno = 0;
  bev = levL_whole(bufferevent_socket_new(owner->event_base, fd, 0));
  if (bev == NULL)
    levL_nomemory(L);
  levL_openbev(owner, b, bev);
  return b;
}

/* [-1] bufferevent: TLS begins on the descriptor that it has been made with. */
static void begintls (lua_State *L, lev_Bufferevent *b) {
  levL_anchor(L, -1, &b->o);
  levL_setfd(b, fdof(b));
  errno = levL_tlsbegin(b, false);
  if (errno) {
    int err = errno;
    b->ownfd = false;
    levL_free(&b->o);
    errno = err;
    levL_unable(L);
  }
  levL_settle(L, -1, &b->o);
}

/* Pushes a bufferevent that owns 'fd', of the base at 'base'; on an error fd
   is still the caller's. */
lev_Object *levL_newbufferevent (lua_State *L, int base, int fd,
                                 const lev_Context *tls) {
  static const lev_Name any = {NULL, true};
  lev_Bufferevent *b = newbev(L, base, fd);
  if (tls && !levL_secure(b, tls, &any))
    levL_nomemory(L);
  b->ownfd = true;
  if (tls)
    begintls(L, b);
  return &b->o;
}

/* Does libevent have it on a socket? It says so by what a new one of those
   has, too. */
static bool isonsocket (lua_State *L, const struct bufferevent *bev,
                        struct event_base *event_base) {
  struct bufferevent *plain;
  bool is;
  if (event_base == NULL)
    return false;
  errno = 0;
  plain = levL_whole(bufferevent_socket_new(event_base, -1, 0));
  is = plain && plain->be_ops == bev->be_ops;
  if (plain == NULL)
    levL_nomemory(L);
  bufferevent_free(plain);
  return is;
}

/* Limits that are the host's: the direct way knows nothing of them. */
static bool ispaced (struct bufferevent *bev) {
  return bufferevent_get_token_bucket_cfg(bev)
         || bufferevent_get_max_single_read(bev) != MAXSINGLE
         || bufferevent_get_max_single_write(bev) != MAXSINGLE;
}

static bool isconnecting (int fd) {
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  return getpeername(fd, (struct sockaddr *)&ss, &len) < 0
         && errno == ENOTCONN;
}

LEV_EXPORT void lualibevent_givebufferevent (lua_State *L,
                                             struct bufferevent *bev) {
  struct event_base *event_base = bufferevent_get_base(bev);
  lev_Bufferevent *b;
  if (!isonsocket(L, bev, event_base))
    luaL_error(L, "a bufferevent on a socket expected");
  lualibevent_pushbase(L, event_base);
  b = levL_newbev(L, -1, sizeof(Given), LEV_NUVBUFFEREVENT, &levL_sock);
  levL_anchor(L, -1, &b->o);
  b->given = true;
  ((Given *)b)->fd = (int)bufferevent_getfd(bev);
  b->paced = ispaced(bev) ? LEV_DIRECTIONS : 0;
  b->connecting = isconnecting(((Given *)b)->fd);
  levL_openbev(lua_touserdata(L, -2), b, bev);
  levL_settle(L, -1, &b->o);
  lua_remove(L, -2);
}

/* A descriptor that libevent can wait for; nil is -1: none yet. */
static int optfd (lua_State *L, int arg) {
  struct stat st;
  int fd;
  if (lua_isnoneornil(L, arg))
    return -1;
  fd = levL_checkfd(L, arg);
  luaL_argcheck(L, fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)
                   && !S_ISDIR(st.st_mode), arg,
                "a file on disk is always ready: nothing to wait for");
  return fd;
}

/* A number is ours from now on; an object is kept alive and keeps its own. */
static void takefd (lua_State *L, int bev, int arg, lev_Bufferevent *b,
                    int fd) {
  reclaim(b, fd);
  b->ownfd = lua_type(L, arg) == LUA_TNUMBER;
  if (b->ownfd)
    lua_pushnil(L);
  else
    lua_pushvalue(L, arg);
  levL_setmore(L, bev, LEV_BELOW);
  if (fd >= 0) {
    evutil_make_socket_nonblocking(fd);
    levL_nodelay(fd);
  }
}

/* base:bufferevent([fd [, options]]) -> bufferevent */
static int lev_base_bufferevent (lua_State *L) {
  static const char *const names[] = {"flags", "tls", "hostname", NULL};
  int fd, options = 0;
  lev_Bufferevent *b;
  lev_Context *c;
  lev_Name name;
  levL_checkbase(L, 1);
  fd = optfd(L, 2);
  lua_settop(L, 3);
  levL_checkoptions(L, 3, names);
  if (levL_option(L, 3, "flags"))
    options = levL_words(L, -1, 3, optionwords);
  c = levL_opttls(L, 3, LEV_TLSSERVER | LEV_TLSCLIENT, &name);
  if (c && fd >= 0)
    levL_checknamed(L, 3, c, &name);
  luaL_argcheck(L, !(options & BEV_OPT_CLOSE_ON_FREE) || fd < 0
                   || lua_type(L, 2) == LUA_TNUMBER, 3,
                "close_on_free: the object closes its own descriptor");
  b = newbev(L, 1, fd);
  if (lua_type(L, 2) > LUA_TNUMBER)
    levL_needmore(L, -1);
  if (c && !levL_secure(b, c, &name))
    return levL_nomemory(L);
  takefd(L, lua_gettop(L), 2, b, fd);
  if (c && fd >= 0)
    begintls(L, b);
  return 1;
}

/* ====} */

/* {==== Connecting ==== */

int levL_newsocket (int family) {
  int fd = socket(family, SOCK_STREAM, 0);
  if (fd < 0)
    return -1;
  evutil_make_socket_nonblocking(fd);
  evutil_make_socket_closeonexec(fd);
  levL_nodelay(fd);
  return fd;
}

/* Linux answers connect on a socket that has just been connected with yes,
   whatever the address. */
static bool isconnected (int fd) {
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  return fd >= 0 && getpeername(fd, (struct sockaddr *)&ss, &len) == 0;
}

/* Hands a descriptor that connects to libevent. Reading waits for the
   connection: a failing connect that is read from is an error first and a
   connection after it. */
static int await (lev_Bufferevent *b, int fd) {
  levL_setfd(b, fd);
  if (b->tls)
    return levL_tlsbegin(b, true);
  b->connecting = bufferevent_socket_connect(b->bev, NULL, 0) == 0;
  levL_direct(b);
  refreeze(b);
  return b->connecting ? 0 : errno ? errno : ENOMEM;
}

/* The same for one that others have connected, which closes it on an error: it
   is told of in the loop. 0 or an errno. */
int levL_takeconnected (lev_Bufferevent *b, int fd) {
  int err;
  b->ownfd = true;
  err = await(b, fd);
  if (err)
    closefd(b);
  return err;
}

/* A certificate must be for the address, unless the script has said another
   name; false without memory. */
static bool namepeer (lev_Bufferevent *b, const struct sockaddr_storage *ss) {
  char name[LEV_ADDRESSSIZE] = "";
  size_t len;
  const void *bytes = ss->ss_family == AF_UNIX ? NULL
                      : levL_ipbytes(ss, &len);
  if (bytes)
    inet_ntop(ss->ss_family, bytes, name, sizeof(name));
  return levL_tlspeer(b, bytes ? name : NULL);
}

/* bufferevent:connect(address) -> bufferevent | nil, message, errno */
static int lev_bufferevent_connect (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  struct sockaddr_storage ss;
  socklen_t salen = levL_checkaddress(L, 2, &ss);
  int fd = fdof(b);
  bool made = (fd < 0);
  int err = 0;
  luaL_argcheck(L, !b->connecting, 1, "Bufferevent is connecting already");
  if (isconnected(fd))
    return levL_refuse(L, EISCONN, NULL);
  if (!namepeer(b, &ss))
    return levL_nomemory(L);
  luaL_argcheck(L, levL_tlsnamed(b), 2, "for TLS by this address an option "
                "'hostname' of base:bufferevent expected (false: any)");
  levL_anchor(L, 1, &b->o);
  levL_freshen(b->o.base);
  if (made)
    fd = levL_newsocket(ss.ss_family);
  if (fd < 0 || (connect(fd, (struct sockaddr *)&ss, salen) < 0
                 && errno != EINPROGRESS && errno != EINTR))
    err = errno;
  else {
    b->ownfd = b->ownfd || made;
    err = await(b, fd);
  }
  if (err && made && fd >= 0) {
    levL_setfd(b, -1);
    evutil_closesocket(fd);
    b->ownfd = false;
  }
  levL_settle(L, 1, &b->o);
  if (err)
    return levL_refuse(L, err, NULL);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:setfd([fd]) -> bufferevent | nil, message, errno */
static int lev_bufferevent_setfd (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  int old, fd;
  int err = 0;
  bool ownold;
  lua_settop(L, 2);
  luaL_argcheck(L, !lua_rawequal(L, 1, 2), 2, "another descriptor expected");
  if (lua_type(L, 2) > LUA_TNUMBER)
    levL_needmore(L, 1);
  fd = optfd(L, 2);
  levL_checksocket(L, 1);     /* again, after getfd */
  luaL_argcheck(L, fd < 0 || levL_tlsnamed(b), 1, "for TLS on a descriptor an "
                "option 'hostname' of base:bufferevent expected (false: any)");
  luaL_argcheck(L, !b->inconnected, 1,
                "in the callback of \"connected\" libevent still writes to "
                "the old descriptor");
  old = fdof(b);
  ownold = b->ownfd;
  levL_anchor(L, 1, &b->o);
  levL_setfd(b, fd);
  takefd(L, 1, 2, b, fd);
  b->connecting = false;
  if (fd >= 0 && b->tls)
    err = levL_tlsbegin(b, false);
  else if (fd >= 0 && levL_unpark(b) < 0)
    err = errno ? errno : ENOMEM;
  if (ownold && old >= 0 && old != fd)
    evutil_closesocket(old);
  levL_settle(L, 1, &b->o);
  if (err)
    return levL_refuse(L, err, NULL);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:getfd() -> descriptor | nil */
static int lev_bufferevent_getfd (lua_State *L) {
  int fd = (int)bufferevent_getfd(levL_checkbev(L, 1)->bev);
  if (fd < 0)
    lua_pushnil(L);
  else
    lua_pushinteger(L, fd);
  return 1;
}

/* bufferevent:detach()
   -> descriptor or below, unread | nil, message, errno */
static int lev_bufferevent_detach (lua_State *L) {
  lev_Bufferevent *b = levL_checktop(L, 1);
  int fd;
  lua_settop(L, 1);
  if (levL_isfilter(b))
    return levL_detachfilter(L);
  levL_checksocket(L, 1);
  luaL_argcheck(L, b->tls == NULL, 1, "Bufferevent speaks TLS, which nobody "
                "could go on with");
  if (!isready(b))
    return levL_refuse(L, ENOTCONN, NULL);
  if (waiting(b) > 0)
    return levL_refuse(L, EBUSY, "there is unsent output");
  lua_pushnil(L);
  levL_pushdata(L, levL_checkinput, 1, SIZE_MAX);
  levL_checktop(L, 1);        /* again: a finalizer can have run */
  fd = fdof(b);
  if (!isready(b) || waiting(b) > 0)
    return levL_refuse(L, EBUSY, NULL);
  lua_pushinteger(L, fd);
  lua_replace(L, 2);
  reclaim(b, fd);
  b->ownfd = false;
  levL_close(L, b->o.kind);
  lua_pop(L, 1);
  return 2;
}

/* bufferevent:peername() -> address | nil, message, errno */
static int lev_bufferevent_peername (lua_State *L) {
  return levL_pushname(L, (int)bufferevent_getfd(levL_checkbev(L, 1)->bev),
                       getpeername);
}

/* bufferevent:sockname() -> address | nil, message, errno */
static int lev_bufferevent_sockname (lua_State *L) {
  return levL_pushname(L, (int)bufferevent_getfd(levL_checkbev(L, 1)->bev),
                       getsockname);
}

/* ====} */

/* {==== Options ==== */

typedef struct Option { const char *name; int level, option, max; } Option;

/* max 1: a boolean */
static const Option options[] = {
  {"nodelay", IPPROTO_TCP, TCP_NODELAY, 1},
  {"keepalive", SOL_SOCKET, SO_KEEPALIVE, 1},
#ifdef TCP_KEEPIDLE
  {"keepidle", IPPROTO_TCP, TCP_KEEPIDLE, 32767},
#elif defined(TCP_KEEPALIVE)
  {"keepidle", IPPROTO_TCP, TCP_KEEPALIVE, 32767},
#endif
#ifdef TCP_KEEPINTVL
  {"keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, 32767},
  {"keepcnt", IPPROTO_TCP, TCP_KEEPCNT, 127},
#endif
  {"sndbuf", SOL_SOCKET, SO_SNDBUF, INT_MAX / 2},
  {"rcvbuf", SOL_SOCKET, SO_RCVBUF, INT_MAX / 2},
  {NULL, 0, 0, 0}
};

static const Option *checkoption (lua_State *L, int arg) {
  static const char *const names[] = {
    "nodelay", "keepalive", "keepidle", "keepintvl", "keepcnt", "sndbuf",
    "rcvbuf", NULL
  };
  const char *name = names[luaL_checkoption(L, arg, NULL, names)];
  const Option *o = options;
  while (o->name && strcmp(o->name, name) != 0)
    o++;
  luaL_argcheck(L, o->name, arg, "this system has no such option");
  return o;
}

/* bufferevent:setsockopt(name, value)
   -> bufferevent | nil, message, errno */
static int lev_bufferevent_setsockopt (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  const Option *o = checkoption(L, 2);
  int value;
  if (o->max == 1) {
    luaL_checktype(L, 3, LUA_TBOOLEAN);
    value = lua_toboolean(L, 3);
  }
  else
    value = (int)levL_range(L, 3, 3, 1, o->max);
  if (fdof(b) < 0)
    return levL_refuse(L, ENOTCONN, NULL);
  if (setsockopt(fdof(b), o->level, o->option, &value, sizeof(value)) < 0)
    return levL_refuse(L, errno, NULL);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:getsockopt(name) -> value | nil, message, errno */
static int lev_bufferevent_getsockopt (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  const Option *o = checkoption(L, 2);
  int value = 0;
  socklen_t len = sizeof(value);
  if (fdof(b) < 0)
    return levL_refuse(L, ENOTCONN, NULL);
  if (getsockopt(fdof(b), o->level, o->option, &value, &len) < 0)
    return levL_refuse(L, errno, NULL);
  if (o->max == 1)
    lua_pushboolean(L, value);
  else
    lua_pushinteger(L, value);
  return 1;
}

/* bufferevent:priority_set(priority)
   -> bufferevent | nil, message, errno */
static int lev_bufferevent_priority_set (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  int n = event_base_get_npriorities(b->o.base->event_base);
  int priority = (int)levL_range(L, 2, 2, 0, n - 1);
  if ((b->turn && event_pending(&b->turn->ev, EV_TIMEOUT, NULL))
      || bufferevent_priority_set(b->bev, priority) < 0)
    return levL_refuse(L, EBUSY, "the bufferevent is active");
  if (b->turn)
    event_priority_set(&b->turn->ev, priority);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:priority() -> priority */
static int lev_bufferevent_priority (lua_State *L) {
  lua_pushinteger(L, bufferevent_get_priority(levL_checkbev(L, 1)->bev));
  return 1;
}

/* ====} */

static const luaL_Reg methods[] = {
  {"connect", lev_bufferevent_connect},
  {"setfd", lev_bufferevent_setfd},
  {"getfd", lev_bufferevent_getfd},
  {"detach", lev_bufferevent_detach},
  {"peername", lev_bufferevent_peername},
  {"sockname", lev_bufferevent_sockname},
  {"setsockopt", lev_bufferevent_setsockopt},
  {"getsockopt", lev_bufferevent_getsockopt},
  {"priority_set", lev_bufferevent_priority_set},
  {"priority", lev_bufferevent_priority},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"bufferevent", lev_base_bufferevent},
  {NULL, NULL}
};

void levL_openbufferevent_sock (lua_State *L) {
  levL_addmethods(L, LEV_BUFFEREVENT, methods);
  levL_addmethods(L, LEV_BASE, constructors);
}
