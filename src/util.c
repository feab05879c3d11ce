/*
** util.c: event2/util.h: what a program on sockets needs beside the loop.
** Functions of the module; nothing here lives longer than its call.
*/
#include "lev.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

static const lev_Word typewords[] = {
  {"stream", SOCK_STREAM}, {"dgram", SOCK_DGRAM},
  {"seqpacket", SOCK_SEQPACKET}, {NULL, 0}
};

/* EV_MONOT_FALLBACK has libevent do without a monotonic clock: for tests of
   its own. */
static const lev_Word clockwords[] = {
  {"precise", EV_MONOT_PRECISE}, {NULL, 0}
};

static const lev_Word familywords[] = {
  {"inet", AF_INET}, {"inet6", AF_INET6}, {NULL, 0}
};

/* {==== Descriptors ==== */

static int result (lua_State *L, int r) {
  if (r < 0)
    return levL_refuse(L, errno, NULL);
  lua_pushboolean(L, true);
  return 1;
}

/* libevent.socketpair([type]) -> fd, fd | nil, message, errno */
static int lev_socketpair (lua_State *L) {
  int type = lua_isnoneornil(L, 1) ? SOCK_STREAM
                                   : levL_checkword(L, 1, typewords);
  evutil_socket_t fds[2];
  if (evutil_socketpair(AF_UNIX, type, 0, fds) < 0)
    return levL_refuse(L, errno, NULL);
  for (int i = 0; i < 2; i++) {
    evutil_make_socket_nonblocking(fds[i]);
    evutil_make_socket_closeonexec(fds[i]);
    lua_pushinteger(L, fds[i]);
  }
  return 2;
}

/* libevent.make_socket_nonblocking(fd) -> true | nil, message, errno */
static int lev_make_socket_nonblocking (lua_State *L) {
  return result(L, evutil_make_socket_nonblocking(levL_checkfd(L, 1)));
}

/* libevent.make_socket_closeonexec(fd) -> true | nil, message, errno */
static int lev_make_socket_closeonexec (lua_State *L) {
  return result(L, evutil_make_socket_closeonexec(levL_checkfd(L, 1)));
}

/* libevent.closesocket(fd) -> true | nil, message, errno */
static int lev_closesocket (lua_State *L) {
  if (lua_type(L, 1) != LUA_TNUMBER)        /* an object closes its own */
    levL_expected(L, 1, 1, "number of a descriptor");
  return result(L, evutil_closesocket(levL_checkfd(L, 1)));
}

/* ====} */

/* {==== Time ==== */

/* The first second of the year 0, and of the year 10000; or what a small
   time_t can hold of that. */
#define FIRSTDATE (sizeof(time_t) < 8 ? INT32_MIN : -62167219200.0)
#define ENDDATE (sizeof(time_t) < 8 ? INT32_MAX : 253402300800.0)

static const struct tm *optdate (lua_State *L, int arg, struct tm *tm) {
  lua_Number n = lua_tonumber(L, arg);
  time_t t;
  if (lua_isnoneornil(L, arg))
    return NULL;
  if (lua_type(L, arg) != LUA_TNUMBER || !(n >= FIRSTDATE && n < ENDDATE))
    levL_expected(L, arg, arg, "time of the years 0 to 9999");
  t = (time_t)n;
  if ((lua_Number)t > n)
    t--;                      /* a fraction before 1970 */
  return gmtime_r(&t, tm);
}

/* libevent.date_rfc1123([time]) -> date */
static int lev_date_rfc1123 (lua_State *L) {
  struct tm tm;
  char date[40];
  evutil_date_rfc1123(date, sizeof(date), optdate(L, 1, &tm));
  for (char *year = date + strlen("Thu, 01 Jan "); *year == ' '; year++)
    *year = '0';              /* it has four digits: libevent leaves blanks */
  lua_pushstring(L, date);
  return 1;
}

/* By a timer of this call's own, so that none outlives a state. It keeps the
   choice of a clock and, where no clock of the system's is monotonic, the last
   time that it told. All systems that are supported have such a clock. */
static bool readclock (int flags, struct timeval *tv) {
  struct evutil_monotonic_timer *timer = evutil_monotonic_timer_new();
  bool ok = timer && evutil_configure_monotonic_time(timer, flags) == 0
                  && evutil_gettime_monotonic(timer, tv) == 0;
  evutil_monotonic_timer_free(timer);
  return ok;
}

/* libevent.gettime_monotonic([flags]) -> seconds */
static int lev_gettime_monotonic (lua_State *L) {
  int flags = lua_isnoneornil(L, 1) ? 0 : levL_checkwords(L, 1, clockwords);
  struct timeval tv;
  if (!readclock(flags, &tv))
    return levL_nomemory(L);  /* nothing else fails */
  lua_pushnumber(L, (lua_Number)tv.tv_sec + (lua_Number)tv.tv_usec / 1e6);
  return 1;
}

/* ====} */

/* {==== Addresses ==== */

/* Neither empty, which glibc takes for port 0, nor cut short by a zero byte
   once it is C's. */
static bool istext (lua_State *L, int arg) {
  size_t len;
  const char *s = lua_tolstring(L, arg, &len);
  return len > 0 && strlen(s) == len;
}

static void checkstring (lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TSTRING)
    levL_expected(L, arg, arg, "string");
}

/* By the system's inet_pton, like all addresses of this library: libevent's
   takes "0x1::", "::1:", " 1.2.3.4" and numbers modulo 2^32. */
static int pushpacked (lua_State *L, const char *s, bool four) {
  unsigned char packed[16];
  if (four && inet_pton(AF_INET, s, packed) == 1)
    lua_pushlstring(L, (char *)packed, 4);
  else if (inet_pton(AF_INET6, s, packed) == 1)
    lua_pushlstring(L, (char *)packed, 16);
  else
    luaL_pushfail(L);
  return 1;
}

/* libevent.inet_pton(address) -> packed | nil */
static int lev_inet_pton (lua_State *L) {
  checkstring(L, 1);
  return pushpacked(L, istext(L, 1) ? lua_tostring(L, 1) : "", true);
}

/* libevent.inet_pton_scope(address) -> packed, scope | nil */
static int lev_inet_pton_scope (lua_State *L) {
  const char *s, *percent;
  uint32_t scope = 0;
  checkstring(L, 1);
  s = lua_tostring(L, 1);
  percent = istext(L, 1) ? strchr(s, '%') : NULL;
  if (percent == NULL)
    lev_inet_pton(L);
  else if (!levL_toscope(percent + 1, &scope))
    luaL_pushfail(L);
  else {
    s = lua_pushlstring(L, s, (size_t)(percent - s));
    pushpacked(L, s, false);
  }
  if (lua_isnil(L, -1))
    return 1;
  lua_pushinteger(L, scope);
  return 2;
}

/* libevent.inet_ntop(packed) -> address */
static int lev_inet_ntop (lua_State *L) {
  char text[INET6_ADDRSTRLEN];
  size_t len = 0;
  if (lua_type(L, 1) == LUA_TSTRING)
    len = lua_rawlen(L, 1);
  if (len != 4 && len != 16)
    levL_expected(L, 1, 1, "string of 4 or 16 bytes");
  inet_ntop(len == 4 ? AF_INET : AF_INET6, lua_tostring(L, 1), text,
            sizeof(text));
  lua_pushstring(L, text);
  return 1;
}

/* ====} */

/* {==== Names ==== */

/* A number in decimal, or the name of a service, which nothing is that Lua
   takes for a number: glibc takes "65616" for port 80. */
static const char *checkport (lua_State *L, int arg) {
  int isint;
  lua_Integer n = lua_tointegerx(L, arg, &isint);
  if (isint && n >= 0 && n <= 65535)
    return lua_pushfstring(L, "%d", (int)n);
  if (lua_isnumber(L, arg) || lua_type(L, arg) != LUA_TSTRING
      || !istext(L, arg))
    levL_expected(L, arg, arg, "port from 0 to 65535 or name of a service");
  return lua_tostring(L, arg);
}

/* The resolver tells an address twice that the hosts file has twice. */
static bool isnew (const struct evutil_addrinfo *list,
                   const struct evutil_addrinfo *ai) {
  for (; list != ai; list = list->ai_next)
    if (list->ai_addrlen == ai->ai_addrlen
        && memcmp(list->ai_addr, ai->ai_addr, ai->ai_addrlen) == 0)
      return false;
  return true;
}

/* [1] pointer to a list of addresses */
static int pushlist (lua_State *L) {
  const struct evutil_addrinfo *list =
    *(struct evutil_addrinfo **)lua_touserdata(L, 1);
  lua_Integer n = 0;
  lua_newtable(L);
  for (const struct evutil_addrinfo *ai = list; ai; ai = ai->ai_next) {
    if (isnew(list, ai)) {
      levL_pushaddress(L, ai->ai_addr, (socklen_t)ai->ai_addrlen);
      lua_rawseti(L, -2, ++n);
    }
  }
  return 1;
}

static int refusename (lua_State *L, int code) {
  return levL_refuse(L, code, code == EVUTIL_EAI_SYSTEM
                              ? evutil_socket_error_to_string(errno)
                              : evutil_gai_strerror(code));
}

/* Memory may end while the list is pushed: it is freed all the same. */
static int lookup (lua_State *L, const char *host, const char *port,
                   const struct evutil_addrinfo *hints) {
  struct evutil_addrinfo *list = NULL;
  int code, status;
  lua_pushcfunction(L, pushlist);
  lua_pushlightuserdata(L, &list);
  code = evutil_getaddrinfo(host, port, hints, &list);
  if (code != 0)
    return refusename(L, code);
  status = lua_pcall(L, 1, 1, 0);
  if (list)
    evutil_freeaddrinfo(list);
  return status == LUA_OK ? 1 : lua_error(L);
}

/* libevent.getaddrinfo(host, port [, family])
   -> addresses | nil, message, code */
static int lev_getaddrinfo (lua_State *L) {
  struct evutil_addrinfo hints = {0};
  const char *port;
  lua_settop(L, 3);
  checkstring(L, 1);
  port = checkport(L, 2);
  if (!lua_isnil(L, 3))
    hints.ai_family = levL_checkword(L, 3, familywords);
  hints.ai_socktype = SOCK_STREAM;          /* or three times each address */
  if (!istext(L, 1))
    return refusename(L, EVUTIL_EAI_NONAME);
  return lookup(L, lua_tostring(L, 1), port, &hints);
}

/* ====} */

/* {==== Random bytes ==== */

/* libevent.secure_rng_bytes(n) -> bytes | nil, message */
static int lev_secure_rng_bytes (lua_State *L) {
  size_t n = (size_t)levL_range(L, 1, 1, 0, INT_MAX);
  luaL_Buffer b;
  if (!levL_random(luaL_buffinitsize(L, &b, n), n)) {
    luaL_pushfail(L);
    lua_pushliteral(L, "there is no source of random bytes");
    return 2;
  }
  luaL_pushresultsize(&b, n);
  return 1;
}

/* ====} */

static const luaL_Reg functions[] = {
  {"socketpair", lev_socketpair},
  {"make_socket_nonblocking", lev_make_socket_nonblocking},
  {"make_socket_closeonexec", lev_make_socket_closeonexec},
  {"closesocket", lev_closesocket},
  {"date_rfc1123", lev_date_rfc1123},
  {"gettime_monotonic", lev_gettime_monotonic},
  {"inet_pton", lev_inet_pton},
  {"inet_pton_scope", lev_inet_pton_scope},
  {"inet_ntop", lev_inet_ntop},
  {"getaddrinfo", lev_getaddrinfo},
  {"secure_rng_bytes", lev_secure_rng_bytes},
  {NULL, NULL}
};

/* [-1] the module */
void levL_openutil (lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
