/*
** values.c: the forms that values have in Lua, each in one place: words for
** flags, seconds for times, strings for addresses, numbers or objects for
** descriptors, tables for options.
**
** 'arg' is the argument that an error names, 'idx' where the value is: the
** same, or behind the name of the option that it is the value of.
*/
#include "lev.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

/* "option 'name': " for the value of an option */
static const char *where (lua_State *L, int idx, int arg) {
  if (idx == arg || lua_type(L, idx - 1) != LUA_TSTRING)
    return "";
  return lua_pushfstring(L, "option '%s': ", lua_tostring(L, idx - 1));
}

/* Raises "<what> expected, got <value>". */
int levL_expected (lua_State *L, int idx, int arg, const char *what) {
  const char *option, *got;
  idx = lua_absindex(L, idx);
  option = where(L, idx, arg);
  if (lua_type(L, idx) == LUA_TSTRING)
    got = lua_pushfstring(L, "\"%s\"", lua_tostring(L, idx));
  else if (lua_type(L, idx) == LUA_TNUMBER)
    got = luaL_tolstring(L, idx, NULL);
  else if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING)
    got = lua_tostring(L, -1);
  else
    got = luaL_typename(L, idx);
  return luaL_argerror(L, arg,
                       lua_pushfstring(L, "%s%s expected, got %s", option,
                                       what, got));
}

/* The world's refusal: nil, message, errno; NULL is the system's message.
   libevent leaves errno alone where it is short of memory: 0, if the caller
   has cleared it before. */
int levL_refuse (lua_State *L, int err, const char *message) {
  if (err == 0)
    err = ENOMEM;
  luaL_pushfail(L);
  lua_pushstring(L, message ? message : evutil_socket_error_to_string(err));
  lua_pushinteger(L, err);
  return 3;
}

int levL_nomemory (lua_State *L) {
  return luaL_error(L, "not enough memory");
}

/* Raises what errno tells: mostly that, too. */
int levL_unable (lua_State *L) {
  int err = errno;
  if (err == 0 || err == ENOMEM)
    return levL_nomemory(L);
  return luaL_error(L, "%s", evutil_socket_error_to_string(err));
}

/* A value's place once more values are pushed: a missing argument gets one. */
static int argument (lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  if (lua_gettop(L) < idx)
    lua_settop(L, idx);
  return idx;
}

/* {==== Words ==== */

static const char *known (lua_State *L, const lev_Word *words) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (const lev_Word *w = words; w->name; w++) {
    luaL_addstring(&b, w->name);
    if (w[1].name)
      luaL_addstring(&b, ", ");
  }
  luaL_pushresult(&b);
  return lua_tostring(L, -1);
}

static const lev_Word *findword (const char *s, size_t len,
                                 const lev_Word *words) {
  for (; words->name; words++)
    if (strlen(words->name) == len && memcmp(words->name, s, len) == 0)
      return words;
  return NULL;
}

/* "read|persist" -> EV_READ|EV_PERSIST; the empty string is no flag. */
int levL_words (lua_State *L, int idx, int arg, const lev_Word *words) {
  int flags = 0;
  const char *s;
  idx = argument(L, idx);
  if (lua_type(L, idx) != LUA_TSTRING
      || strlen(lua_tostring(L, idx)) != lua_rawlen(L, idx))
    levL_expected(L, idx, arg,
        lua_pushfstring(L, "words of (%s) joined by '|'", known(L, words)));
  s = lua_tostring(L, idx);
  while (*s) {
    size_t len = strcspn(s, "|");
    const lev_Word *w = findword(s, len, words);
    if (w == NULL) {
      const char *word = lua_pushlstring(L, s, len);
      return luaL_argerror(L, arg, lua_pushfstring(L,
          "%sunknown word '%s' (known: %s)", where(L, idx, arg), word,
          known(L, words)));
    }
    flags |= w->value;
    s += len + (s[len] == '|' && s[len + 1] != '\0');
    if (*s == '|' && s[1] == '\0')
      return luaL_argerror(L, arg, "a word is missing after '|'");
  }
  return flags;
}

int levL_checkwords (lua_State *L, int arg, const lev_Word *words) {
  return levL_words(L, arg, arg, words);
}

/* One word alone, of those that exclude each other. */
int levL_checkword (lua_State *L, int arg, const lev_Word *words) {
  const lev_Word *w = NULL;
  arg = argument(L, arg);
  if (lua_type(L, arg) == LUA_TSTRING)
    w = findword(lua_tostring(L, arg), lua_rawlen(L, arg), words);
  if (w == NULL)
    return levL_expected(L, arg, arg, lua_pushfstring(L, "one of %s",
                                                      known(L, words)));
  return w->value;
}

/* One word is pushed by its constant address, which Lua's cache of API
   strings knows: no allocation in the usual callback. */
void levL_pushwords (lua_State *L, int flags, const lev_Word *words) {
  char text[128];
  size_t len = 0;
  for (const lev_Word *w = words; w->name; w++) {
    if (flags == w->value) {
      lua_pushstring(L, w->name);
      return;
    }
  }
  for (const lev_Word *w = words; w->name; w++) {
    if (flags & w->value)
      len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
                              len ? "|" : "", w->name);
  }
  lua_pushlstring(L, text, len);
}

/* ====} */

/* {==== Numbers ==== */

struct timeval levL_totime (double seconds) {
  struct timeval tv;
  tv.tv_sec = (time_t)seconds;
  tv.tv_usec = (suseconds_t)((seconds - (double)tv.tv_sec) * 1e6 + 0.5);
  if (tv.tv_usec >= 1000000) {
    tv.tv_usec -= 1000000;
    tv.tv_sec++;
  }
  return tv;
}

/* Seconds to a timeval; nil is NULL: no time. Far above any use and far
   below an overflow of the sums that libevent forms: 2^31-1 seconds. */
const struct timeval *levL_time (lua_State *L, int idx, int arg,
                                 struct timeval *tv) {
  lua_Number n;
  if (lua_isnoneornil(L, idx))
    return NULL;
  idx = argument(L, idx);
  n = lua_tonumber(L, idx);
  if (lua_type(L, idx) != LUA_TNUMBER || !(n >= 0 && n <= INT32_MAX))
    levL_expected(L, idx, arg, "seconds from 0 to 2147483647");
  *tv = levL_totime(n);
  return tv;
}

/* Is it false, where nil says nothing? */
bool levL_isfalse (lua_State *L, int idx) {
  return lua_isboolean(L, idx) && !lua_toboolean(L, idx);
}

/* [-1] the seconds of a timeout, or false: none, which is zero here. */
void levL_timeout (lua_State *L, int arg, struct timeval *tv) {
  struct timeval value = {0, 0};
  if (!levL_isfalse(L, -1)) {
    levL_time(L, -1, arg, &value);
    luaL_argcheck(L, evutil_timerisset(&value), arg,
                  "a timeout of 0 seconds: false is none");
  }
  *tv = value;
}

/* And back. */
void levL_pushtime (lua_State *L, const struct timeval *tv) {
  lua_pushnumber(L, (lua_Number)tv->tv_sec + (lua_Number)tv->tv_usec / 1e6);
}

lua_Integer levL_range (lua_State *L, int idx, int arg, lua_Integer min,
                        lua_Integer max) {
  int isint;
  lua_Integer n = lua_tointegerx(L, idx, &isint);
  idx = argument(L, idx);
  if (lua_type(L, idx) != LUA_TNUMBER || !isint || n < min || n > max)
    levL_expected(L, idx, arg, lua_pushfstring(L, "integer from %I to %I",
                                               min, max));
  return n;
}

/* A count of bytes. libevent's own counts are ssize_t or int, but it is
   asked for no more than there is, so any non-negative number will do. */
size_t levL_optsize (lua_State *L, int arg, size_t def) {
  if (lua_isnoneornil(L, arg))
    return def;
  return (size_t)levL_range(L, arg, arg, 0, LUA_MAXINTEGER);
}

/* ====} */

/* {==== Descriptors and signals ==== */

static bool fdof (lua_State *L, int arg, lua_Integer *fd) {
  luaL_Stream *file = luaL_testudata(L, arg, LUA_FILEHANDLE);
  int type = lua_type(L, arg);
  int isint;
  if (file) {
    luaL_argcheck(L, file->closef != NULL, arg, "file is closed");
    *fd = fileno(file->f);
    return true;
  }
  if (type == LUA_TNUMBER) {
    *fd = lua_tointegerx(L, arg, &isint);
    return isint;
  }
  if (type != LUA_TUSERDATA && type != LUA_TTABLE)
    return false;
  if (type == LUA_TUSERDATA && luaL_getmetafield(L, arg, "__index") == LUA_TNIL)
    return false;
  lua_getfield(L, arg, "getfd");
  if (lua_isnil(L, -1))
    return false;
  lua_pushvalue(L, arg);
  lua_call(L, 1, 1);
  *fd = lua_tointegerx(L, -1, &isint);      /* LuaSocket's is a float */
  return isint && lua_type(L, -1) == LUA_TNUMBER;
}

/* An integer, a Lua file, or an object with a method getfd (LuaSocket,
   LuaSec, a Bufferevent). It must be open: libevent would make its tables as
   long as the number that it is given, and then hear of EBADF. The method is
   anybody's code: what was checked before must be checked again. */
int levL_checkfd (lua_State *L, int arg) {
  int top = lua_gettop(L);
  lua_Integer fd = -1;
  if (!fdof(L, arg, &fd))
    levL_expected(L, arg, arg, "descriptor, file or object with getfd");
  if (fd < 0 || fd > INT_MAX || fcntl((int)fd, F_GETFD) == -1)
    luaL_argerror(L, arg, lua_pushfstring(L, "descriptor %I is not open", fd));
  lua_settop(L, top);
  return (int)fd;
}

static const lev_Word signals[] = {
  {"HUP", SIGHUP}, {"INT", SIGINT}, {"QUIT", SIGQUIT}, {"ILL", SIGILL},
  {"TRAP", SIGTRAP}, {"ABRT", SIGABRT}, {"BUS", SIGBUS}, {"FPE", SIGFPE},
  {"USR1", SIGUSR1}, {"SEGV", SIGSEGV}, {"USR2", SIGUSR2}, {"PIPE", SIGPIPE},
  {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"CHLD", SIGCHLD}, {"CONT", SIGCONT},
  {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}, {"URG", SIGURG},
  {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM},
  {"PROF", SIGPROF}, {"WINCH", SIGWINCH}, {"IO", SIGIO}, {"SYS", SIGSYS},
  {NULL, 0}
};

/* A number, or a name with or without "SIG". */
int levL_checksignal (lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TSTRING) {
    size_t len;
    const char *name = lua_tolstring(L, arg, &len);
    int prefix = strncmp(name, "SIG", 3) == 0 ? 3 : 0;
    const lev_Word *w;
    name += prefix;
    w = findword(name, len - (size_t)prefix, signals);
    if (w == NULL)
      return luaL_argerror(L, arg, lua_pushfstring(L,
          "unknown signal '%s' (known: %s)", name, known(L, signals)));
    return w->value;
  }
  else {
    struct sigaction old;     /* the C library keeps some for itself */
    int sig = (int)levL_range(L, arg, arg, 1, NSIG - 1);
    luaL_argcheck(L, sig != SIGKILL && sig != SIGSTOP
                     && sigaction(sig, NULL, &old) == 0, arg,
                  "this signal cannot be caught");
    return sig;
  }
}

/* ====} */

/* {==== Addresses ==== */

#define UNIXPATH offsetof(struct sockaddr_un, sun_path)

/* "unix:/run/x.sock"; "unix:@name" is Linux's abstract name space. */
static socklen_t tounix (const char *path, size_t len,
                         struct sockaddr_un *sun) {
  memset(sun, 0, sizeof(*sun));
  if (len == 0 || len >= sizeof(sun->sun_path))
    return 0;
  sun->sun_family = AF_UNIX;
  memcpy(sun->sun_path, path, len);
  if (path[0] == '@') {
    sun->sun_path[0] = '\0';
    return (socklen_t)(UNIXPATH + len);
  }
  if (memchr(path, '\0', len))
    return 0;
  return (socklen_t)(UNIXPATH + len + 1);
}

static bool toport (const char *s, in_port_t *port) {
  long n = 0;
  if (*s == '\0' || strlen(s) > 5 || s[strspn(s, "0123456789")] != '\0')
    return false;
  n = strtol(s, NULL, 10);
  *port = htons((uint16_t)n);
  return n <= 65535;
}

/* "eth0" or "2" behind the % of a link-local address; "0" says nothing. */
bool levL_toscope (const char *s, uint32_t *scope) {
  *scope = if_nametoindex(s);
  if (*scope != 0)
    return true;
  *scope = (uint32_t)strtoul(s, NULL, 10);
  return *s != '\0' && strlen(s) < 9 && s[strspn(s, "0123456789")] == '\0';
}

static socklen_t toin (const char *host, struct sockaddr_storage *ss) {
  struct sockaddr_in *sin = (struct sockaddr_in *)ss;
  memset(ss, 0, sizeof(*ss));
  sin->sin_family = AF_INET;
  return inet_pton(AF_INET, host, &sin->sin_addr) == 1 ? sizeof(*sin) : 0;
}

static socklen_t toin6 (const char *text, struct sockaddr_storage *ss) {
  struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
  const char *scope = strchr(text, '%');
  size_t len = scope ? (size_t)(scope - text) : strlen(text);
  char host[INET6_ADDRSTRLEN];
  memset(ss, 0, sizeof(*ss));
  if (len >= sizeof(host))
    return 0;
  memcpy(host, text, len);
  host[len] = '\0';
  sin6->sin6_family = AF_INET6;
  if (inet_pton(AF_INET6, host, &sin6->sin6_addr) != 1
      || (scope && !levL_toscope(scope + 1, &sin6->sin6_scope_id)))
    return 0;
  return sizeof(*sin6);
}

/* An address without a port, "127.0.0.1" or "fe80::1%eth0"; 0 if it is none. */
socklen_t levL_toip (const char *s, struct sockaddr_storage *ss) {
  return strchr(s, ':') ? toin6(s, ss) : toin(s, ss);
}

/* The bytes of an IP address, without its port: 4 or 16. */
const void *levL_ipbytes (const struct sockaddr_storage *ss, size_t *len) {
  bool six = ss->ss_family == AF_INET6;
  *len = six ? 16 : 4;
  return six ? (const void *)&((const struct sockaddr_in6 *)ss)->sin6_addr
             : (const void *)&((const struct sockaddr_in *)ss)->sin_addr;
}

/* "127.0.0.1:80" or "[::1]:80". evutil_parse_sockaddr_port does not know port
   0, and takes "80x", "127.0.0.1 " and numbers modulo 2^32. */
socklen_t levL_toinet (const char *s, struct sockaddr_storage *ss) {
  char host[128];
  const char *colon = strrchr(s, ':');
  bool six = (s[0] == '[');
  socklen_t salen;
  size_t len;
  if (colon == NULL || (six && (colon == s || colon[-1] != ']')))
    return 0;
  len = (size_t)(colon - s) - (six ? 2 : 0);
  if (len >= sizeof(host))
    return 0;
  memcpy(host, six ? s + 1 : s, len);
  host[len] = '\0';
  salen = six ? toin6(host, ss) : toin(host, ss);
  if (!toport(colon + 1, six ? &((struct sockaddr_in6 *)ss)->sin6_port
                             : &((struct sockaddr_in *)ss)->sin_port))
    return 0;
  return salen;
}

socklen_t levL_checkaddress (lua_State *L, int arg,
                             struct sockaddr_storage *ss) {
  socklen_t salen = 0;
  if (lua_type(L, arg) == LUA_TSTRING) {
    size_t len;
    const char *s = lua_tolstring(L, arg, &len);
    if (strncmp(s, "unix:", 5) == 0)
      salen = tounix(s + 5, len - 5, (struct sockaddr_un *)ss);
    else if (strlen(s) == len)
      salen = levL_toinet(s, ss);
  }
  if (salen == 0)
    levL_expected(L, arg, arg, "address (\"127.0.0.1:80\", \"[::1]:80\" or "
                               "\"unix:/path\", no host names)");
  return salen;
}

static void pushunix (lua_State *L, const struct sockaddr_un *sun,
                      socklen_t len) {
  size_t n = len > UNIXPATH ? len - UNIXPATH : 0;
  if (n == 0)                               /* an unnamed peer */
    lua_pushliteral(L, "unix:");
  else if (sun->sun_path[0] != '\0') {
    lua_pushliteral(L, "unix:");
    lua_pushlstring(L, sun->sun_path, strnlen(sun->sun_path, n));
    lua_concat(L, 2);
  }
  else {
    lua_pushliteral(L, "unix:@");
    lua_pushlstring(L, sun->sun_path + 1, n - 1);
    lua_concat(L, 2);
  }
}

void levL_checkplace (lua_State *L, int arg, lev_Place *p) {
  memset(p, 0, sizeof(*p));
  p->fd = -1;
  if (lua_type(L, arg) == LUA_TSTRING)
    p->len = levL_checkaddress(L, arg, &p->ss);
  else
    p->fd = levL_checkfd(L, arg);
}

/* An IP address with its port; no more than is needed of an unknown one. */
void levL_addresstext (const struct sockaddr *sa, char text[LEV_ADDRESSSIZE]) {
  char host[INET6_ADDRSTRLEN];
  if (sa->sa_family == AF_INET6) {
    const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
    char scope[16] = "";
    inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof(host));
    if (sin6->sin6_scope_id)
      snprintf(scope, sizeof(scope), "%%%u", (unsigned)sin6->sin6_scope_id);
    snprintf(text, LEV_ADDRESSSIZE, "[%s%s]:%d", host, scope,
             (int)ntohs(sin6->sin6_port));
  }
  else if (sa->sa_family == AF_INET) {
    const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
    inet_ntop(AF_INET, &sin->sin_addr, host, sizeof(host));
    snprintf(text, LEV_ADDRESSSIZE, "%s:%d", host, (int)ntohs(sin->sin_port));
  }
  else
    snprintf(text, LEV_ADDRESSSIZE, "family %d", (int)sa->sa_family);
}

void levL_pushaddress (lua_State *L, const struct sockaddr *sa,
                       socklen_t len) {
  char text[LEV_ADDRESSSIZE];
  if (sa->sa_family == AF_UNIX) {
    pushunix(L, (const struct sockaddr_un *)sa, len);
    return;
  }
  levL_addresstext(sa, text);
  lua_pushstring(L, text);
}

/* What getsockname or getpeername say of 'fd'. */
int levL_pushname (lua_State *L, int fd, lev_Getname get) {
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  if (fd < 0)
    return levL_refuse(L, ENOTCONN, NULL);
  if (get(fd, (struct sockaddr *)&ss, &len) < 0)
    return levL_refuse(L, errno, NULL);
  levL_pushaddress(L, (struct sockaddr *)&ss, len);
  return 1;
}

/* ====} */

/* {==== Callbacks and options ==== */

/* A function, or any value that can be called; nil is false: none. */
bool levL_optcallback (lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg))
    return false;
  if (!lua_isfunction(L, arg)) {
    if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL)
      levL_expected(L, arg, arg, "function");
    lua_pop(L, 1);
  }
  return true;
}

void levL_checkcallback (lua_State *L, int arg) {
  if (!levL_optcallback(L, arg))
    levL_expected(L, arg, arg, "function");
}

/* A table, or nothing, whose keys are all in 'names'. */
void levL_checkoptions (lua_State *L, int arg, const char *const names[]) {
  if (lua_isnoneornil(L, arg)) {
    lua_settop(L, arg > lua_gettop(L) ? arg : lua_gettop(L));
    return;
  }
  if (!lua_istable(L, arg))
    levL_expected(L, arg, arg, "table of options");
  for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
    bool found = false;
    if (lua_type(L, -2) == LUA_TSTRING)
      for (int i = 0; names[i] && !found; i++)
        found = (strcmp(names[i], lua_tostring(L, -2)) == 0);
    if (!found) {
      luaL_Buffer b;
      const char *key = luaL_tolstring(L, -2, NULL);
      luaL_buffinit(L, &b);
      for (int i = 0; names[i]; i++) {
        luaL_addstring(&b, i ? ", " : "");
        luaL_addstring(&b, names[i]);
      }
      luaL_pushresult(&b);
      luaL_argerror(L, arg, lua_pushfstring(L,
          "unknown option '%s' (known: %s)", key, lua_tostring(L, -1)));
    }
  }
}

/* Pushes the option's name and its value; false where it is not given. No
   metamethod: that would be anybody's code. */
bool levL_option (lua_State *L, int arg, const char *name) {
  lua_pushstring(L, name);
  lua_pushvalue(L, -1);
  if (lua_istable(L, arg))
    lua_rawget(L, arg);
  else {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  return !lua_isnil(L, -1);
}

/* ====} */
