/*
** faults.c: system calls that fail when they are told to.
**
** Preloaded, it stands before libc for the calls below. A script tells it:
**
**   local faults = package.loadlib(os.getenv "FAULTS", "luaopen_faults")()
**   faults.arm("accept4", 24, 3)     -- the third one fails with errno 24
**   faults.arm("writev", "short", 1) -- the first one moves a byte only
**   faults.arm("sendfile", "none", 1)  -- or says that it has moved none
**   local happened = faults.disarm()
*/
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <lua.h>
#include <lauxlib.h>

enum { SHORT = -1, NONE = -2 };

static char armed[32];          /* the name of the call, or "" */
static int with;                /* errno, SHORT or NONE */
static long due;                /* calls until it fails; 0: it has */

/* Is it this one? Then what is to happen: errno, SHORT or NONE; else 0. */
static int strikes (const char *call) {
  if (strcmp(call, armed) != 0 || due == 0 || --due > 0)
    return 0;
  if (with > 0)
    errno = with;
  return with;
}

#define NEXT(name) \
  static __typeof__(&name) next; \
  if (next == NULL) \
    *(void **)&next = dlsym(RTLD_NEXT, #name)

/* A call that succeeds or fails as a whole. */
#define WHOLE(type, name, params, args) \
  type name params { \
    NEXT(name); \
    return strikes(#name) ? -1 : next args; \
  }

/* One that moves up to 'n' bytes. */
#define MOVES(name, params, args, n) \
  ssize_t name params { \
    NEXT(name); \
    int what = strikes(#name); \
    if (what > 0 || what == NONE) \
      return what > 0 ? -1 : 0; \
    if (what == SHORT) \
      n = n > 0; \
    return next args; \
  }

WHOLE(int, socket, (int domain, int type, int protocol),
      (domain, type, protocol))
WHOLE(int, socketpair, (int domain, int type, int protocol, int fds[2]),
      (domain, type, protocol, fds))
/* Interrupted, it goes on. */
int connect (int fd, __CONST_SOCKADDR_ARG sa, socklen_t len) {
  NEXT(connect);
  int what = strikes("connect");
  if (what == EINTR) {
    next(fd, sa, len);
    errno = EINTR;
  }
  return what ? -1 : next(fd, sa, len);
}

WHOLE(int, accept4, (int fd, __SOCKADDR_ARG sa, socklen_t *len, int flags),
      (fd, sa, len, flags))
WHOLE(int, bind, (int fd, __CONST_SOCKADDR_ARG sa, socklen_t len),
      (fd, sa, len))
WHOLE(int, listen, (int fd, int backlog), (fd, backlog))
WHOLE(int, setsockopt, (int fd, int level, int name, const void *value,
                        socklen_t len), (fd, level, name, value, len))
WHOLE(int, getsockopt, (int fd, int level, int name, void *value,
                        socklen_t *len), (fd, level, name, value, len))
WHOLE(int, getsockname, (int fd, __SOCKADDR_ARG sa, socklen_t *len),
      (fd, sa, len))
WHOLE(int, getpeername, (int fd, __SOCKADDR_ARG sa, socklen_t *len),
      (fd, sa, len))
WHOLE(int, shutdown, (int fd, int how), (fd, how))
WHOLE(int, epoll_create1, (int flags), (flags))
WHOLE(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *event),
      (epfd, op, fd, event))
WHOLE(int, epoll_wait, (int epfd, struct epoll_event *events, int max,
                        int timeout), (epfd, events, max, timeout))
WHOLE(int, eventfd, (unsigned count, int flags), (count, flags))
WHOLE(int, pipe2, (int fds[2], int flags), (fds, flags))
WHOLE(int, pipe, (int fds[2]), (fds))
WHOLE(int, dup, (int fd), (fd))

MOVES(read, (int fd, void *to, size_t n), (fd, to, n), n)
MOVES(write, (int fd, const void *from, size_t n), (fd, from, n), n)
MOVES(sendfile, (int to, int from, off_t *at, size_t n), (to, from, at, n), n)
MOVES(recv, (int fd, void *to, size_t n, int flags), (fd, to, n, flags), n)
MOVES(send, (int fd, const void *from, size_t n, int flags),
      (fd, from, n, flags), n)

/* The same for vectors: a short one is the first piece's first byte. */
#define VECTOR(name) \
  ssize_t name (int fd, const struct iovec *v, int n) { \
    NEXT(name); \
    int what = strikes(#name); \
    struct iovec one; \
    if (what > 0 || what == NONE) \
      return what > 0 ? -1 : 0; \
    if (what == SHORT) { \
      one.iov_base = v[0].iov_base; \
      one.iov_len = v[0].iov_len > 0; \
      v = &one; \
      n = 1; \
    } \
    return next(fd, v, n); \
  }

VECTOR(readv)
VECTOR(writev)

static int arm (lua_State *L) {
  static const char *const words[] = {"short", "none", NULL};
  const char *call = luaL_checkstring(L, 1);
  if (lua_type(L, 2) == LUA_TNUMBER)
    with = (int)luaL_checkinteger(L, 2);
  else
    with = luaL_checkoption(L, 2, NULL, words) == 0 ? SHORT : NONE;
  luaL_argcheck(L, strlen(call) < sizeof(armed), 1, "a name that long");
  strcpy(armed, call);
  due = (long)luaL_checkinteger(L, 3);
  return 0;
}

static int disarm (lua_State *L) {
  lua_pushboolean(L, armed[0] && due == 0);
  armed[0] = '\0';
  return 1;
}

static int words (lua_State *L) {
  lua_pushstring(L, strerror((int)luaL_checkinteger(L, 1)));
  return 1;
}

int luaopen_faults (lua_State *L) {
  static const luaL_Reg functions[] = {
    {"arm", arm}, {"disarm", disarm}, {"strerror", words}, {NULL, NULL}
  };
  luaL_newlib(L, functions);
  return 1;
}
