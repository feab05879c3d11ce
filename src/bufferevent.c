/*
** bufferevent.c: struct bufferevent on a socket: a descriptor with buffers.
**
** It is anchored while it reads, connects or has something to send. The
** descriptor is its own, unless an object was given, which then is kept
** alive and closes it. Closing takes the descriptor from libevent first and
** closes it at once; libevent would do so only in the next turn of the loop,
** when the number is already somebody's guess.
*/
#include "lev.h"

#include <errno.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_struct.h>

/* user values, after LEV_UVBASE */
enum { READCB = 2, WRITECB, EVENTCB, INPUT, OUTPUT, DESCRIPTOR,
       NUSERVALUES = DESCRIPTOR };

/* seconds that close_after_flush waits for a peer that takes nothing */
#define FLUSHTIME 30

#define DIRECTIONS (EV_READ | EV_WRITE)

typedef struct lev_Bufferevent {
  lev_Object o;
  struct bufferevent *bev;
  bool ownfd;                 /* the descriptor is ours to close */
  bool read, write, event;    /* the script has such a callback */
  bool connecting;            /* from connect to "connected" or "error" */
  bool inconnected;           /* in the callback of "connected" */
  short later;                /* enabled, but not yet in libevent */
  bool full;                  /* not reading: its input is at the high mark */
  bool flushing;              /* closes when its output is sent... */
  bool lingering;             /* ...or when the peer has closed as well... */
  time_t until;               /* ...or at this time */
  bool shutwrite;             /* no more data from the script... */
  bool isshut;                /* ...and the peer has been told */
} lev_Bufferevent;

static const lev_Word directionwords[] = {
  {"read", EV_READ}, {"write", EV_WRITE}, {NULL, 0}
};

/* Both are always so: the descriptor is closed here, and callbacks come from
   the loop alone, never inside a call of the script's. */
static const lev_Word optionwords[] = {
  {"close_on_free", BEV_OPT_CLOSE_ON_FREE},
  {"defer_callbacks", BEV_OPT_DEFER_CALLBACKS},
  {NULL, 0}
};

/* {==== Kind and accessors ==== */

static size_t unsent (const lev_Bufferevent *b) {
  return evbuffer_get_length(bufferevent_get_output(b->bev));
}

static bool isactive (const lev_Object *o) {
  const lev_Bufferevent *b = (const lev_Bufferevent *)o;
  short enabled = bufferevent_get_enabled(b->bev);
  bool hasfd = bufferevent_getfd(b->bev) >= 0;
  if (b->connecting || b->full)     /* full: any drain may end that */
    return true;
  return hasfd && ((enabled & EV_READ)
                   || ((enabled & EV_WRITE) && unsent(b) > 0)
                   || (event_pending(&b->bev->ev_write, EV_WRITE, NULL)
                       && !b->inconnected));
}

/* libevent leaves both buffers unfrozen when it changes the descriptor: the
   script could add to what it reads, and take back what it wrote. */
static void refreeze (lev_Bufferevent *b) {
  evbuffer_freeze(bufferevent_get_input(b->bev), 0);
  evbuffer_freeze(bufferevent_get_output(b->bev), 1);
}

/* Nothing is enabled in libevent without a descriptor, or before it is
   connected: it would wait for it all the same, and time out. */
static void park (lev_Bufferevent *b) {
  b->later |= bufferevent_get_enabled(b->bev) & DIRECTIONS;
  bufferevent_disable(b->bev, DIRECTIONS);
}

static int unpark (lev_Bufferevent *b) {
  short what = b->later;
  b->later = 0;
  return what ? bufferevent_enable(b->bev, what) : 0;
}

static void setfd (lev_Bufferevent *b, int fd) {
  park(b);
  bufferevent_setfd(b->bev, fd);
  refreeze(b);
  b->full = b->shutwrite = b->isshut = false;
}

/* Takes the descriptor from libevent and closes it, if it is ours. */
static void closefd (lev_Bufferevent *b) {
  int fd = (int)bufferevent_getfd(b->bev);
  setfd(b, -1);
  if (fd >= 0 && b->ownfd)
    evutil_closesocket(fd);
  b->ownfd = false;
}

/* Reads again when the script has taken enough. */
static void resume (lev_Bufferevent *b) {
  size_t high = b->bev->wm_read.high;
  size_t len = evbuffer_get_length(bufferevent_get_input(b->bev));
  if (b->full && (high == 0 || len < high)) {
    b->full = false;
    unpark(b);
  }
}

/* evbuffer's callback, in the middle of a change: it touches no buffer */
static void ondrain (struct evbuffer *input,
                     const struct evbuffer_cb_info *info, void *arg) {
  (void)input;
  if (info->n_deleted > 0)
    resume(arg);
}

/* Output that is left would still be written after a callback of
   "connected", to a descriptor number that is no longer ours: it goes first. */
static void freebufferevent (lev_Object *o) {
  lev_Bufferevent *b = (lev_Bufferevent *)o;
  struct evbuffer *output = bufferevent_get_output(b->bev);
  bufferevent_setcb(b->bev, NULL, NULL, NULL, NULL);
  evbuffer_remove_cb(bufferevent_get_input(b->bev), ondrain, b);
  closefd(b);
  evbuffer_unfreeze(output, 1);
  evbuffer_drain(output, evbuffer_get_length(output));
  bufferevent_free(b->bev);
  b->bev = NULL;
}

static const lev_Kind kind = {LEV_BUFFEREVENT, isactive, freebufferevent,
                              NULL};

/* What only sends its rest is closed to the script. */
static lev_Bufferevent *checkbev (lua_State *L) {
  lev_Bufferevent *b = levL_checkopen(L, 1, &kind);
  luaL_argcheck(L, !b->flushing, 1, "Bufferevent is closed");
  return b;
}

static struct evbuffer *checkinput (lua_State *L, int arg) {
  lev_Bufferevent *b = levL_checkopen(L, arg, &kind);
  return bufferevent_get_input(b->bev);
}

/* ====} */

/* {==== From libevent to Lua ==== */

/* [1] bufferevent, [2] the user value of its callback */
static int calldata (lua_State *L) {
  lua_getiuservalue(L, 1, *(const int *)lua_touserdata(L, 2));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
  return 0;
}

/* At the high mark libevent would call again and again until the script has
   read, and a loop "once" would never end. */
static void pauseatmark (lev_Bufferevent *b) {
  size_t high = b->bev->wm_read.high;
  if (high > 0 && evbuffer_get_length(bufferevent_get_input(b->bev)) >= high
      && (bufferevent_get_enabled(b->bev) & EV_READ)) {
    b->full = true;
    b->later |= EV_READ;
    bufferevent_disable(b->bev, EV_READ);
  }
}

static time_t now (const lev_Bufferevent *b) {
  struct timeval tv;
  event_base_gettimeofday_cached(b->o.base->event_base, &tv);
  return tv.tv_sec;
}

static void onread (struct bufferevent *bev, void *arg) {
  int uv = READCB;
  lev_Bufferevent *b = arg;
  if (b->lingering) {
    evbuffer_drain(bufferevent_get_input(bev), SIZE_MAX);
    if (now(b) > b->until)
      levL_drop(&b->o);
    return;
  }
  if (b->read)
    levL_protect(&b->o, calldata, &uv, NULL);
  if (b->o.base) {
    pauseatmark(b);
    levL_rest(&b->o);
  }
}

/* Tells the peer that no more data comes, once all is sent. */
static int shutwrite (lev_Bufferevent *b) {
  if (!b->shutwrite || b->isshut || b->connecting || unsent(b) > 0)
    return 0;
  b->isshut = true;
  return shutdown((int)bufferevent_getfd(b->bev), SHUT_WR) < 0 ? errno : 0;
}

/* Bytes of the peer's that libevent has not read. */
static int unread (const lev_Bufferevent *b) {
  int n = 0;
  return ioctl((int)bufferevent_getfd(b->bev), FIONREAD, &n) < 0 ? 0 : n;
}

/* All is sent, but not all is received: closing with data of the peer's
   unread makes TCP throw away what is still on its way. So the rest of those
   is read, for nobody, until the peer closes or the time is over. */
static void flushed (lev_Bufferevent *b) {
  struct timeval wait = b->bev->timeout_write;
  if (unread(b) == 0 || shutwrite(b) != 0) {
    levL_drop(&b->o);
    return;
  }
  b->lingering = true;
  b->until = now(b) + wait.tv_sec;
  bufferevent_setwatermark(b->bev, EV_READ, 0, 0);
  bufferevent_set_timeouts(b->bev, &wait, NULL);
  bufferevent_enable(b->bev, EV_READ);
}

static void onwrite (struct bufferevent *bev, void *arg) {
  int uv = WRITECB;
  lev_Bufferevent *b = arg;
  (void)bev;
  if (b->connecting)
    return;                   /* libevent's own trigger, nothing is written */
  if (!b->flushing)
    shutwrite(b);
  if (b->write)
    levL_protect(&b->o, calldata, &uv, NULL);
  if (b->o.base && b->flushing && unsent(b) == 0)
    flushed(b);
  else if (b->o.base)
    levL_rest(&b->o);
}

typedef struct Happening { short what; int err; } Happening;

/* [1] bufferevent, [2] Happening. Deferred events can come joined: the worst
   is told. */
static int callevent (lua_State *L) {
  Happening *h = lua_touserdata(L, 2);
  lua_getiuservalue(L, 1, EVENTCB);
  lua_pushvalue(L, 1);
  if (h->what & BEV_EVENT_ERROR) {
    lua_pushliteral(L, "error");
    lua_pushstring(L, evutil_socket_error_to_string(h->err));
    lua_pushinteger(L, h->err);
    lua_call(L, 4, 0);
  }
  else if (h->what & BEV_EVENT_CONNECTED) {
    lua_pushliteral(L, "connected");
    lua_call(L, 2, 0);
  }
  else {
    lua_pushstring(L, h->what & BEV_EVENT_EOF ? "eof" : "timeout");
    lua_pushstring(L, h->what & BEV_EVENT_READING ? "reading" : "writing");
    lua_call(L, 3, 0);
  }
  return 0;
}

/* From here on nothing but sending the rest is left; a peer that takes none
   of it for that long ends it too. */
static void flush (lev_Bufferevent *b, const struct timeval *stall) {
  b->flushing = b->shutwrite = true;
  b->read = b->write = b->event = false;
  b->full = false;
  b->later = 0;
  bufferevent_disable(b->bev, EV_READ);
  bufferevent_setwatermark(b->bev, EV_WRITE, 0, 0);
  bufferevent_set_timeouts(b->bev, NULL, stall);
  bufferevent_enable(b->bev, EV_WRITE);
}

/* Nobody listens: what is over ends the bufferevent. After the end of the
   peer's data our own still goes out. */
static void closeitself (lev_Bufferevent *b, short what) {
  bool readend = (what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING)
                 && !(what & (BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT));
  struct timeval stall = b->bev->timeout_write;
  if (!evutil_timerisset(&stall))
    stall.tv_sec = FLUSHTIME;
  if (readend && unsent(b) > 0)
    flush(b, &stall);
  else
    levL_drop(&b->o);
}

static void onevent (struct bufferevent *bev, short what, void *arg) {
  Happening h = {what, EVUTIL_SOCKET_ERROR()};
  lev_Bufferevent *b = arg;
  bool connected = (what & BEV_EVENT_CONNECTED) != 0;
  (void)bev;
  if (connected && !b->connecting)
    return;                   /* setfd came in between: nobody asked */
  if (b->connecting && !connected)
    closefd(b);               /* the next connect starts from nothing */
  b->connecting = false;
  if (connected) {
    unpark(b);
    if (!b->flushing)
      shutwrite(b);
  }
  b->inconnected = connected;
  if (b->flushing && connected && unsent(b) == 0)
    flushed(b);
  else if (b->flushing && !connected)
    levL_drop(&b->o);
  else if (b->event)
    levL_protect(&b->o, callevent, &h, NULL);
  else if (!connected)
    closeitself(b, what);
  if (b->o.base)
    levL_rest(&b->o);         /* libevent's own waiting for writing ends now */
  b->inconnected = false;
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
  lev_Bufferevent *b = levL_newobject(L, base, &kind, sizeof(*b),
                                      NUSERVALUES);
  b->bev = bufferevent_socket_new(owner->event_base, fd, 0);
  if (b->bev == NULL)
    levL_nomemory(L);
  bufferevent_setcb(b->bev, onread, onwrite, onevent, b);
  if (fd < 0)
    park(b);
  levL_adopt(owner, &b->o);
  return b;
}

/* Pushes a bufferevent that owns 'fd', of the base at 'base'; on an error fd
   is still the caller's. */
lev_Object *levL_newbufferevent (lua_State *L, int base, int fd) {
  lev_Bufferevent *b = newbev(L, base, fd);
  b->ownfd = true;
  return &b->o;
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
  b->ownfd = lua_type(L, arg) == LUA_TNUMBER;
  if (b->ownfd)
    lua_pushnil(L);
  else
    lua_pushvalue(L, arg);
  lua_setiuservalue(L, bev, DESCRIPTOR);
  if (fd >= 0) {
    evutil_make_socket_nonblocking(fd);
    levL_nodelay(fd);
  }
}

/* base:bufferevent([fd [, options]]) -> bufferevent */
static int lev_base_bufferevent (lua_State *L) {
  static const char *const names[] = {"flags", NULL};
  int fd, options = 0;
  lev_Bufferevent *b;
  levL_checkbase(L, 1);
  fd = optfd(L, 2);
  lua_settop(L, 3);
  levL_checkoptions(L, 3, names);
  if (levL_option(L, 3, "flags"))
    options = levL_words(L, -1, 3, optionwords);
  luaL_argcheck(L, !(options & BEV_OPT_CLOSE_ON_FREE) || fd < 0
                   || lua_type(L, 2) == LUA_TNUMBER, 3,
                "close_on_free: the object closes its own descriptor");
  b = newbev(L, 1, fd);
  takefd(L, lua_gettop(L), 2, b, fd);
  return 1;
}

/* ====} */

/* {==== Callbacks ==== */

/* bufferevent:setcb([read [, write [, event]]]) -> bufferevent */
static int lev_bufferevent_setcb (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  bool read = levL_optcallback(L, 2);
  bool write = levL_optcallback(L, 3);
  bool event = levL_optcallback(L, 4);
  checkbev(L);
  lua_settop(L, 4);
  b->read = read;
  b->write = write;
  b->event = event;
  lua_setiuservalue(L, 1, EVENTCB);
  lua_setiuservalue(L, 1, WRITECB);
  lua_setiuservalue(L, 1, READCB);
  return 1;
}

/* bufferevent:getcb() -> read, write, event */
static int lev_bufferevent_getcb (lua_State *L) {
  checkbev(L);
  lua_getiuservalue(L, 1, READCB);
  lua_getiuservalue(L, 1, WRITECB);
  lua_getiuservalue(L, 1, EVENTCB);
  return 3;
}

/* ====} */

/* {==== Connecting ==== */

static int newsocket (int family) {
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
  setfd(b, fd);
  b->connecting = bufferevent_socket_connect(b->bev, NULL, 0) == 0;
  refreeze(b);
  return b->connecting ? 0 : errno;
}

/* bufferevent:connect(address) -> bufferevent | nil, message, errno */
static int lev_bufferevent_connect (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  struct sockaddr_storage ss;
  socklen_t salen = levL_checkaddress(L, 2, &ss);
  int fd = (int)bufferevent_getfd(b->bev);
  bool made = (fd < 0);
  int err = 0;
  luaL_argcheck(L, !b->connecting, 1, "Bufferevent is connecting already");
  if (isconnected(fd))
    return levL_refuse(L, EISCONN, NULL);
  levL_anchor(L, 1, &b->o);
  levL_freshen(b->o.base);
  if (made)
    fd = newsocket(ss.ss_family);
  if (fd < 0 || (connect(fd, (struct sockaddr *)&ss, salen) < 0
                 && errno != EINPROGRESS && errno != EINTR))
    err = errno;
  else {
    b->ownfd = b->ownfd || made;
    err = await(b, fd);
  }
  if (err && made && fd >= 0) {
    setfd(b, -1);
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
  lev_Bufferevent *b = checkbev(L);
  int old, fd;
  int err = 0;
  bool ownold;
  lua_settop(L, 2);
  luaL_argcheck(L, !lua_rawequal(L, 1, 2), 2, "another descriptor expected");
  fd = optfd(L, 2);
  checkbev(L);                /* again, after getfd */
  luaL_argcheck(L, !b->inconnected, 1,
                "in the callback of \"connected\" libevent still writes to "
                "the old descriptor");
  old = (int)bufferevent_getfd(b->bev);
  ownold = b->ownfd;
  levL_anchor(L, 1, &b->o);
  setfd(b, fd);
  takefd(L, 1, 2, b, fd);
  b->connecting = false;
  if (fd >= 0 && unpark(b) < 0)
    err = errno;
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
  int fd = (int)bufferevent_getfd(checkbev(L)->bev);
  if (fd < 0)
    lua_pushnil(L);
  else
    lua_pushinteger(L, fd);
  return 1;
}

/* bufferevent:detach() -> descriptor, unread | nil, message, errno */
static int lev_bufferevent_detach (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  int fd;
  lua_settop(L, 1);
  if (bufferevent_getfd(b->bev) < 0 || b->connecting)
    return levL_refuse(L, ENOTCONN, NULL);
  if (unsent(b) > 0)
    return levL_refuse(L, EBUSY, "there is unsent output");
  lua_pushnil(L);
  levL_pushdata(L, checkinput, 1, SIZE_MAX);
  checkbev(L);                /* again: a finalizer can have run */
  fd = (int)bufferevent_getfd(b->bev);
  if (fd < 0 || b->connecting || unsent(b) > 0)
    return levL_refuse(L, EBUSY, NULL);
  lua_pushinteger(L, fd);
  lua_replace(L, 2);
  b->ownfd = false;
  levL_close(L, &kind);
  lua_pop(L, 1);
  return 2;
}

/* bufferevent:peername() -> address | nil, message, errno */
static int lev_bufferevent_peername (lua_State *L) {
  return levL_pushname(L, (int)bufferevent_getfd(checkbev(L)->bev),
                       getpeername);
}

/* bufferevent:sockname() -> address | nil, message, errno */
static int lev_bufferevent_sockname (lua_State *L) {
  return levL_pushname(L, (int)bufferevent_getfd(checkbev(L)->bev),
                       getsockname);
}

/* ====} */

/* {==== Reading and writing ==== */

/* bufferevent:read([n]) -> string */
static int lev_bufferevent_read (lua_State *L) {
  checkbev(L);
  levL_pushdata(L, checkinput, 1, levL_optsize(L, 2, SIZE_MAX));
  return 1;
}

/* bufferevent:read_buffer(buffer) -> bufferevent */
static int lev_bufferevent_read_buffer (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  int r = bufferevent_read_buffer(b->bev, levL_checksink(L, 2));
  levL_settlesink(L, 2);
  if (r < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:write(data...) -> bufferevent */
static int lev_bufferevent_write (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  int last = lua_gettop(L);
  bool ok;
  levL_checkdata(L, 2, last);
  checkbev(L);
  luaL_argcheck(L, !b->shutwrite, 1, "Bufferevent is shut down for writing");
  levL_anchor(L, 1, &b->o);
  levL_freshen(b->o.base);
  ok = levL_adddata(L, 2, last, bufferevent_get_output(b->bev));
  levL_settle(L, 1, &b->o);
  if (!ok)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:write_buffer(buffer) -> bufferevent */
static int lev_bufferevent_write_buffer (lua_State *L) {
  lua_settop(L, 2);
  checkbev(L);
  levL_checksource(L, 2);
  return lev_bufferevent_write(L);
}

/* The wrapper of a borrowed buffer is made once. */
static int pushbuffer (lua_State *L, bool input) {
  lev_Bufferevent *b = checkbev(L);
  int uv = input ? INPUT : OUTPUT;
  if (lua_getiuservalue(L, 1, uv) != LUA_TNIL)
    return 1;
  levL_pushborrowed(L, 1, input ? bufferevent_get_input(b->bev)
                                : bufferevent_get_output(b->bev),
                    input ? NULL : &b->shutwrite);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, uv);
  return 1;
}

/* bufferevent:input() -> buffer */
static int lev_bufferevent_input (lua_State *L) {
  return pushbuffer(L, true);
}

/* bufferevent:output() -> buffer */
static int lev_bufferevent_output (lua_State *L) {
  return pushbuffer(L, false);
}

static const lev_Word flushwords[] = {
  {"normal", BEV_NORMAL}, {"flush", BEV_FLUSH}, {"finished", BEV_FINISHED},
  {NULL, 0}
};

/* bufferevent:flush([directions [, mode]]) -> flushed */
static int lev_bufferevent_flush (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  int what = DIRECTIONS;
  int mode = BEV_NORMAL;
  if (!lua_isnoneornil(L, 2))
    what = levL_checkwords(L, 2, directionwords);
  if (!lua_isnoneornil(L, 3))
    mode = levL_checkwords(L, 3, flushwords);
  lua_pushboolean(L, bufferevent_flush(b->bev, (short)what,
                          (enum bufferevent_flush_mode)mode) > 0);
  return 1;
}

/* bufferevent:shutdown([directions]) -> bufferevent | nil, message, errno */
static int lev_bufferevent_shutdown (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  int what = lua_isnoneornil(L, 2) ? EV_WRITE
                                   : levL_checkwords(L, 2, directionwords);
  int fd = (int)bufferevent_getfd(b->bev);
  if (fd < 0)
    return levL_refuse(L, ENOTCONN, NULL);
  if ((what & EV_READ) && shutdown(fd, SHUT_RD) < 0)
    return levL_refuse(L, errno, NULL);
  if (what & EV_WRITE) {
    int err;
    b->shutwrite = true;
    err = shutwrite(b);       /* now, or when the output is sent */
    if (err) {
      b->shutwrite = b->isshut = false;
      return levL_refuse(L, err, NULL);
    }
  }
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== Switches ==== */

/* bufferevent:enable(directions) -> bufferevent | nil, message, errno */
static int lev_bufferevent_enable (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  short what = (short)levL_checkwords(L, 2, directionwords);
  int err = 0;
  levL_anchor(L, 1, &b->o);
  levL_freshen(b->o.base);
  b->later |= what;
  if (!b->connecting && bufferevent_getfd(b->bev) >= 0 && unpark(b) < 0) {
    err = errno;
    bufferevent_disable(b->bev, what);
  }
  levL_settle(L, 1, &b->o);
  if (err)
    return levL_refuse(L, err, NULL);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:disable(directions) -> bufferevent */
static int lev_bufferevent_disable (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  short what = (short)levL_checkwords(L, 2, directionwords);
  b->later &= ~what;
  if (what & EV_READ)
    b->full = false;
  if (what)
    bufferevent_disable(b->bev, what);
  levL_settle(L, 1, &b->o);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:enabled() -> directions */
static int lev_bufferevent_enabled (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  int what = bufferevent_get_enabled(b->bev) | b->later;
  levL_pushwords(L, what & DIRECTIONS, directionwords);
  return 1;
}

/* bufferevent:setwatermark(directions [, low [, high]]) -> bufferevent */
static int lev_bufferevent_setwatermark (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  short what = (short)levL_checkwords(L, 2, directionwords);
  size_t low = levL_optsize(L, 3, 0);
  size_t high = levL_optsize(L, 4, 0);
  luaL_argcheck(L, high == 0 || low <= high, 4,
                "a high mark below the low one");
  if (what & EV_READ) {
    struct evbuffer *input = bufferevent_get_input(b->bev);
    evbuffer_remove_cb(input, ondrain, b);
    if (high > 0 && !evbuffer_add_cb(input, ondrain, b))
      return levL_nomemory(L);
  }
  levL_anchor(L, 1, &b->o);
  bufferevent_setwatermark(b->bev, what, low, high);
  resume(b);
  levL_settle(L, 1, &b->o);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:getwatermark(direction) -> low, high */
static int lev_bufferevent_getwatermark (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  short what = (short)levL_checkwords(L, 2, directionwords);
  size_t low, high;
  if (bufferevent_getwatermark(b->bev, what, &low, &high) < 0)
    levL_expected(L, 2, 2, "one of read, write");
  lua_pushinteger(L, (lua_Integer)low);
  lua_pushinteger(L, (lua_Integer)high);
  return 2;
}

/* bufferevent:set_timeouts([read [, write]]) -> bufferevent */
static int lev_bufferevent_set_timeouts (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  struct timeval read, write;
  const struct timeval *r = levL_time(L, 2, 2, &read);
  const struct timeval *w = levL_time(L, 3, 3, &write);
  levL_freshen(b->o.base);
  bufferevent_set_timeouts(b->bev, r, w);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== The end ==== */

/* bufferevent:base() -> base */
static int lev_bufferevent_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* bufferevent:close() -> bufferevent */
static int lev_bufferevent_close (lua_State *L) {
  return levL_close(L, &kind);
}

/* bufferevent:close_after_flush([seconds]) -> bufferevent */
static int lev_bufferevent_close_after_flush (lua_State *L) {
  lev_Bufferevent *b = checkbev(L);
  struct timeval stall = {FLUSHTIME, 0};
  levL_time(L, 2, 2, &stall);
  if (bufferevent_getfd(b->bev) < 0 || !evutil_timerisset(&stall)
      || (unsent(b) == 0 && unread(b) == 0))
    return levL_close(L, &kind);
  levL_anchor(L, 1, &b->o);
  levL_freshen(b->o.base);
  for (int uv = READCB; uv <= EVENTCB; uv++) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, uv);
  }
  flush(b, &stall);
  lua_settop(L, 1);
  return 1;
}

static int lev_bufferevent__tostring (lua_State *L) {
  lev_Bufferevent *b = luaL_checkudata(L, 1, LEV_BUFFEREVENT);
  return levL_tostring(L, LEV_BUFFEREVENT, b->o.base && !b->flushing);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"setcb", lev_bufferevent_setcb},
  {"getcb", lev_bufferevent_getcb},
  {"connect", lev_bufferevent_connect},
  {"setfd", lev_bufferevent_setfd},
  {"getfd", lev_bufferevent_getfd},
  {"detach", lev_bufferevent_detach},
  {"peername", lev_bufferevent_peername},
  {"sockname", lev_bufferevent_sockname},
  {"read", lev_bufferevent_read},
  {"read_buffer", lev_bufferevent_read_buffer},
  {"write", lev_bufferevent_write},
  {"write_buffer", lev_bufferevent_write_buffer},
  {"input", lev_bufferevent_input},
  {"output", lev_bufferevent_output},
  {"flush", lev_bufferevent_flush},
  {"shutdown", lev_bufferevent_shutdown},
  {"enable", lev_bufferevent_enable},
  {"disable", lev_bufferevent_disable},
  {"enabled", lev_bufferevent_enabled},
  {"setwatermark", lev_bufferevent_setwatermark},
  {"getwatermark", lev_bufferevent_getwatermark},
  {"set_timeouts", lev_bufferevent_set_timeouts},
  {"base", lev_bufferevent_base},
  {"close", lev_bufferevent_close},
  {"close_after_flush", lev_bufferevent_close_after_flush},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_bufferevent_close},
  {"__close", lev_bufferevent_close},
  {"__tostring", lev_bufferevent__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"bufferevent", lev_base_bufferevent},
  {NULL, NULL}
};

void levL_openbufferevent (lua_State *L) {
  levL_newtype(L, LEV_BUFFEREVENT, methods, metamethods);
  levL_addmethods(L, LEV_BASE, constructors);
}
