/*
** buffer_transfer.c: between an evbuffer and a descriptor, once, without a loop.
**
** evbuffer_read takes no more than 4096 bytes in libevent 2.1, so reading
** makes room for what has come and reads into it; a datagram comes whole.
*/
#include "lev.h"

#include <errno.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

/* Bytes to make room for: at most; when nothing has come, or nobody knows; for
   the datagram that comes meanwhile. */
#define MOST (256 * 1024)
#define SOME 4096
#define DATAGRAM 65536

static int pushcount (lua_State *L, ssize_t n, int err) {
  if (n < 0)
    return levL_refuse(L, err, NULL);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

static bool isdatagram (int fd) {
  int type = 0;
  socklen_t len = sizeof(type);
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0
         && type == SOCK_DGRAM;
}

/* What one call reads, unless the script wants less. */
static size_t readable (int fd) {
  int n = 0;
  if (ioctl(fd, FIONREAD, &n) < 0 || n <= 0)
    return isdatagram(fd) ? DATAGRAM : SOME;
  return n < MOST ? (size_t)n : MOST;
}

/* Makes the pieces 'n' bytes long together; returns how many that takes. */
static int trim (struct evbuffer_iovec *space, size_t n) {
  if (n <= space[0].iov_len) {
    space[0].iov_len = n;
    return 1;
  }
  space[1].iov_len = n - space[0].iov_len;
  return 2;
}

/* Reads up to 'n' bytes to the end of 'to'; -1 and errno. */
static ssize_t readbytes (struct evbuffer *to, int fd, size_t n) {
  struct evbuffer_iovec space[2];
  ssize_t got;
  if (evbuffer_reserve_space(to, (ev_ssize_t)n, space, 2) < 1) {
    errno = ENOMEM;
    return -1;
  }
  got = readv(fd, space, trim(space, n));
  if (got > 0)
    evbuffer_commit_space(to, space, trim(space, (size_t)got));
  return got;
}

/* buffer:read(fd [, n]) -> count | nil, message, errno */
static int lev_buffer_read (lua_State *L) {
  size_t n = MOST;
  size_t most;
  ssize_t count;
  int fd, err;
  levL_checkbuffer(L, 1);
  if (!lua_isnoneornil(L, 3))
    n = (size_t)levL_range(L, 3, 3, 1, LUA_MAXINTEGER);
  fd = levL_checkfd(L, 2);
  most = readable(fd);
  count = readbytes(levL_checksink(L, 1), fd, n < most ? n : most);
  err = errno;
  levL_settlesink(L, 1);
  if (count < 0 && err == ENOMEM)
    return levL_nomemory(L);
  return pushcount(L, count, err);
}

/* buffer:write(fd [, n]) -> count | nil, message, errno */
static int lev_buffer_write (lua_State *L) {
  struct evbuffer *buf;
  size_t n;
  int fd, count = 0;
  levL_checkbuffer(L, 1);
  n = levL_optsize(L, 3, INT_MAX);
  fd = levL_checkfd(L, 2);
  buf = levL_checksource(L, 1);
  if (n > 0 && evbuffer_get_length(buf) > 0)
    count = evbuffer_write_atmost(buf, fd, n < INT_MAX ? (int)n : INT_MAX);
  return pushcount(L, count, errno);
}

static const luaL_Reg methods[] = {
  {"read", lev_buffer_read},
  {"write", lev_buffer_write},
  {NULL, NULL}
};

void levL_opentransfer (lua_State *L) {
  levL_addmethods(L, LEV_BUFFER, methods);
}
