/*
** torture.c: runs a scenario again and again, and has allocations fail: the
** first one, the second, and so on, until it gets through with all of them.
**
**   torture [-s stride] script.lua            all rounds, two at a time
**   torture script.lua mode n                 one of them, in this process
**
** The script is run once, with memory for all, and returns two functions. The
** first is the scenario: it ends well, or with an error that tells of memory,
** in Lua's words or the system's. The second is called after it, with memory
** for all, and must end well: what the scenario left behind is usable. Then
** the state is closed, and neither memory nor a descriptor may be left.
**
** Lua's allocations are counted, libevent's, and those of our own C code: the
** linker sends that code's malloc to the functions below. Lua asks a second
** time after a collection, and is refused again.
**
** OpenSSL's are counted by themselves: what it says of one that fails may be
** anything, and what it loses then is not ours.
**
** Each round is a process of its own. A round that goes wrong is told with
** its mode and number, and can be run alone.
*/
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <openssl/crypto.h>

#include "lualibevent.h"

int luaopen_libevent_tls (lua_State *L);

#ifdef LEV_COVERAGE
void __gcov_dump (void);
#endif

#define SECONDS 10            /* after which a round hangs */
#define JOBS 2                /* rounds at a time */
#define DESCRIPTORS 256       /* that are looked at */
#define METHOD 2              /* blocks that src/tls keeps for the process */
#define SELDOM 15             /* of OpenSSL's allocations, which are many */

/* How a child ends. */
enum { THROUGH = 10, DONE, FAULT };

/* Which allocations fail. */
typedef struct Mode {
  const char *name;
  int whose;
  int forever;                /* from the n-th on */
} Mode;

enum { LUA = 1, LIBEVENT = 2, OPENSSL = 4 };

static const Mode modes[] = {
  {"allocation %ld alone", LUA | LIBEVENT, 0},
  {"allocation %ld and all after it", LUA | LIBEVENT, 1},
  {"libevent's allocation %ld and all after it", LIBEVENT, 1},
  {"OpenSSL's allocation %ld alone", OPENSSL, 0},
  {"OpenSSL's allocation %ld and all after it", OPENSSL, 1},
  {NULL, 0, 0}
};

static const Mode *mode;
static long failing;          /* the one that fails; 0: none */
static long playing;          /* the n of this round */
static long count;            /* allocations since it was armed */
static int failed;            /* it has failed */
static int collecting;        /* Lua collects before each allocation */
static long blocks;           /* of libevent's and of ours, not freed */
static long secrets;          /* of OpenSSL's, not freed */
static int secure;            /* OpenSSL has been used */
static size_t bytes;          /* of Lua's, not freed */

/* {==== Memory ==== */

void *__real_malloc (size_t size);
void *__real_calloc (size_t n, size_t size);
void *__real_realloc (void *block, size_t size);
void __real_free (void *block);

static int fails (int whose) {
  if (failing == 0 || !(mode->whose & whose))
    return 0;
  count++;
  if (count != failing && !(mode->forever && count > failing))
    return 0;
  failed = 1;
  errno = ENOMEM;
  return 1;
}

/* What Lua was refused: it asks for the same once more. 'type' is that of a
   new object, or 0: then it may be a luaL_Buffer that asks, and that does so
   only once. */
static struct { int now; const void *block; size_t size; } asked;

static int refuses (const void *block, size_t type, size_t size) {
  int again = asked.now && asked.block == block && asked.size == size;
  asked.now = !again && ((collecting && type > 0) || fails(LUA));
  asked.block = block;
  asked.size = size;
  return asked.now || (again && !collecting);
}

static void *luaalloc (void *ud, void *block, size_t old, size_t size) {
  void *new;
  size_t type = block ? 0 : old;
  (void)ud;
  old = block ? old : 0;
  if (size == 0) {
    __real_free(block);
    bytes -= old;
    return NULL;
  }
  if (size > old && refuses(block, type, size))
    return NULL;
  new = __real_realloc(block, size);
  if (new)
    bytes += size - old;
  return new;
}

void *__wrap_malloc (size_t size) {
  void *new = fails(LIBEVENT) ? NULL : __real_malloc(size);
  blocks += new != NULL;
  return new;
}

void *__wrap_calloc (size_t n, size_t size) {
  void *new = fails(LIBEVENT) ? NULL : __real_calloc(n, size);
  blocks += new != NULL;
  return new;
}

void *__wrap_realloc (void *block, size_t size) {
  void *new = fails(LIBEVENT) ? NULL : __real_realloc(block, size);
  blocks += block == NULL && new != NULL;
  return new;
}

void __wrap_free (void *block) {
  blocks -= block != NULL;
  __real_free(block);
}

char *__wrap_strdup (const char *s) {
  size_t size = strlen(s) + 1;
  char *new = __wrap_malloc(size);
  return new ? memcpy(new, s, size) : NULL;
}

static void *sslmalloc (size_t size, const char *file, int line) {
  void *new = size == 0 || fails(OPENSSL) ? NULL : __real_malloc(size);
  (void)file; (void)line;
  secure = 1;
  secrets += new != NULL;
  return new;
}

static void sslfree (void *block, const char *file, int line) {
  (void)file; (void)line;
  secrets -= block != NULL;
  __real_free(block);
}

static void *sslrealloc (void *block, size_t size, const char *file,
                         int line) {
  void *new;
  if (size == 0)
    sslfree(block, file, line);
  new = size == 0 || fails(OPENSSL) ? NULL : __real_realloc(block, size);
  secrets += block == NULL && new != NULL;
  return new;
}

/* ====} */

/* {==== What libevent cannot do without memory ==== */

/* libevent writes through a null pointer when memory ends in the middle of
   this: doc/guide.md tells. */
struct bufferevent *__real_bufferevent_filter_new (struct bufferevent *below,
    bufferevent_filter_cb in, bufferevent_filter_cb out, int options,
    void (*freectx) (void *), void *ctx);

struct bufferevent *__wrap_bufferevent_filter_new (struct bufferevent *below,
    bufferevent_filter_cb in, bufferevent_filter_cb out, int options,
    void (*freectx) (void *), void *ctx) {
  long n = failing;
  struct bufferevent *bev;
  failing = 0;
  bev = __real_bufferevent_filter_new(below, in, out, options, freectx, ctx);
  failing = n;
  return bev;
}

/* And in the middle of this one it ends the process. */
int __real_event_reinit (struct event_base *base);

int __wrap_event_reinit (struct event_base *base) {
  long n = failing;
  int r;
  failing = 0;
  r = __real_event_reinit(base);
  failing = n;
  return r;
}

/* ====} */

/* {==== The host's side, for scenarios of src/lualibevent.h ==== */

static struct event_base *hostbase;

static int hosted (lua_State *L) {
  if (hostbase == NULL)
    hostbase = event_base_new();
  if (hostbase == NULL)
    return luaL_error(L, "not enough memory");
  lualibevent_pushbase(L, hostbase);
  return 1;
}

static void nothing (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what; (void)arg;
}

/* The host's own loop, with a wake from outside Lua. */
static int hostloop (lua_State *L) {
  lualibevent_Waker *waker = lualibevent_towaker(L, 1);
  lualibevent_wake(waker);
  lualibevent_dropwaker(waker);
  event_base_loop(hostbase, EVLOOP_NONBLOCK);
  return 0;
}

static int openall (lua_State *S) {
  if (lualibevent_version() != LUALIBEVENT_VERSION_NUMBER)
    return luaL_error(S, "another version");
  lualibevent_checkversion(S);
  luaL_requiref(S, "libevent", luaopen_libevent, 0);
  return 0;
}

/* open(): the whole module, in another state; one that is not whole yet cannot
   collect */
static int hostopen (lua_State *L) {
  int was = collecting;
  void *ud;
  lua_Alloc f = lua_getallocf(L, &ud);
  lua_State *S;
  collecting = 0;
  S = lua_newstate(f, ud);
  collecting = was;
  if (S == NULL)
    return luaL_error(L, "not enough memory");
  lua_pushcfunction(S, openall);
  if (lua_pcall(S, 0, 0, 0) != LUA_OK)
    lua_pushstring(L, lua_tostring(S, -1));
  lua_close(S);
  return lua_gettop(L) > 0 ? lua_error(L) : 0;
}

static int hook (lua_State *L, int nargs, int nresults, int msgh,
                 void *data) {
  ++*(int *)data;
  return lua_pcall(L, nargs, nresults, msgh);
}

/* call(f, handler) -> status, results: with a hook and a handler of errors */
static int hostcall (lua_State *L) {
  static int hooked;
  int before = hooked;
  int status;
  lua_settop(L, 2);
  lualibevent_sethook(L, hostbase, hook, &hooked);
  lualibevent_seterrorcb(L, hostbase);
  status = lualibevent_pcall(L, hostbase, 0, LUA_MULTRET);
  lualibevent_sethook(L, hostbase, NULL, NULL);
  if (hooked != before + 1)
    return luaL_error(L, "no hook");
  lua_pushinteger(L, status);
  lua_insert(L, 1);
  return lua_gettop(L);
}

static int detach (lua_State *L) {
  lualibevent_detach(L, hostbase);
  return 0;
}

/* lend(base, event, bufferevent, buffer, listener) */
static int lend (lua_State *L) {
  lua_pushboolean(L, lualibevent_tobase(L, 1) == hostbase
    && event_get_base(lualibevent_toevent(L, 2)) == hostbase
    && bufferevent_get_base(lualibevent_tobufferevent(L, 3)) == hostbase
    && evbuffer_get_length(lualibevent_tobuffer(L, 4)) == 5
    && evconnlistener_get_base(lualibevent_tolistener(L, 5)) == hostbase);
  return 1;
}

/* What the host makes, and gives to Lua. */
typedef enum Sort { EVENT, BUFFEREVENT, BUFFER, LISTENER } Sort;

static const char *const sorts[] = {
  "event", "bufferevent", "buffer", "listener", NULL
};

static void *make (Sort sort) {
  static const struct timeval second = {1, 0};
  struct sockaddr_in sin = {.sin_family = AF_INET};
  struct bufferevent *bev;
  struct event *ev;
  sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  switch (sort) {
    case EVENT:
      ev = event_new(hostbase, -1, EV_PERSIST, nothing, NULL);
      if (ev && event_add(ev, &second) < 0) {
        event_free(ev);
        ev = NULL;
      }
      return ev;
    case BUFFEREVENT:         /* which does not say what it lacks */
      errno = 0;
      bev = bufferevent_socket_new(hostbase, -1, 0);
      if (bev && errno == ENOMEM) {
        bufferevent_free(bev);
        bev = NULL;
      }
      return bev;
    case BUFFER:
      return evbuffer_new();
    default:
      return evconnlistener_new_bind(hostbase, NULL, NULL,
        LEV_OPT_CLOSE_ON_FREE, 1, (struct sockaddr *)&sin, sizeof(sin));
  }
}

static void unmake (Sort sort, void *object) {
  switch (sort) {
    case EVENT: event_free(object); break;
    case BUFFEREVENT: bufferevent_free(object); break;
    case BUFFER: evbuffer_free(object); break;
    default: evconnlistener_free(object);
  }
}

/* [1] sort, [2] object, [3] callback */
static int dogive (lua_State *L) {
  void *object = lua_touserdata(L, 2);
  switch (lua_tointeger(L, 1)) {
    case EVENT: lualibevent_giveevent(L, object); break;
    case BUFFEREVENT: lualibevent_givebufferevent(L, object); break;
    case BUFFER: lualibevent_givebuffer(L, object); break;
    default: lualibevent_givelistener(L, object);
  }
  return 1;
}

/* give(sort, callback) -> userdata; what cannot be given stays the host's */
static int give (lua_State *L) {
  Sort sort = luaL_checkoption(L, 1, NULL, sorts);
  void *object = make(sort);
  if (object == NULL)
    return luaL_error(L, "not enough memory");
  lua_pushcfunction(L, dogive);
  lua_pushinteger(L, sort);
  lua_pushlightuserdata(L, object);
  lua_pushvalue(L, 2);
  if (lua_pcall(L, 3, 1, 0) == LUA_OK)
    return 1;
  unmake(sort, object);
  return lua_error(L);
}

static const luaL_Reg host[] = {
  {"base", hosted},
  {"loop", hostloop},
  {"open", hostopen},
  {"call", hostcall},
  {"detach", detach},
  {"lend", lend},
  {"give", give},
  {NULL, NULL}
};

static void endhost (void) {
  if (hostbase)
    event_base_free(hostbase);
  hostbase = NULL;
}

/* ====} */

/* {==== Rounds ==== */

/* OpenSSL has many words for it. */
static int isclean (const char *message) {
  if (playing && mode->whose == OPENSSL)
    return !strstr(message, "attempt to") && !strstr(message, "assertion")
           && !strstr(message, "deadline");
  return strstr(message, "not enough memory")
         || strstr(message, strerror(ENOMEM));
}

static int traceback (lua_State *L) {
  const char *message = luaL_tolstring(L, 1, NULL);
  if (!isclean(message))
    luaL_traceback(L, L, message, 1);
  return 1;
}

/* Lua has no memory to call a finalizer, and never calls it again: what it
   would have freed is lost, and not by us. */
static int unfinished;

static void onwarning (void *ud, const char *message, int more) {
  (void)ud; (void)more;
  unfinished |= strstr(message, "__gc") != NULL;
}

/* [1] traceback, [2] the scenario, [3] what comes after it; NULL if the
   script fails. */
static lua_State *newstate (const char *script) {
  lua_State *L = lua_newstate(luaalloc, NULL);
  lua_setwarnf(L, onwarning, NULL);
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_libevent_core);
  lua_setfield(L, -2, "libevent.core");
  lua_pushcfunction(L, luaopen_libevent_tls);
  lua_setfield(L, -2, "libevent.tls");
  luaL_newlib(L, host);
  lua_setglobal(L, "host");
  lua_settop(L, 0);
  lua_pushcfunction(L, traceback);
  if (luaL_loadfile(L, script) == LUA_OK && lua_pcall(L, 0, 2, 1) == LUA_OK)
    return L;
  fprintf(stderr, "script: %s\n", lua_tostring(L, -1));
  return NULL;
}

static int fault (const char *what, const char *message) {
  char name[80];
  snprintf(name, sizeof(name), playing ? mode->name : "no failure", playing);
  fprintf(stderr, "%s: %s: %s\n", name, what, message);
  return 1;
}

static int descriptors (void) {
  int n = 0;
  for (int fd = 0; fd < DESCRIPTORS; fd++)
    n += fcntl(fd, F_GETFD) != -1;
  return n;
}

/* Calls the function at 'f': 0, or 1 for a fault. */
static int call (lua_State *L, int f, const char *what, int mayfail) {
  const char *message;
  lua_pushvalue(L, f);
  if (lua_pcall(L, 0, 0, 1) == LUA_OK)
    return 0;
  message = lua_tostring(L, -1);
  return mayfail && isclean(message) ? 0 : fault(what, message);
}

static int left (const char *what, long n) {
  char text[24];
  snprintf(text, sizeof(text), "%ld", n);
  return n == 0 || unfinished ? 0 : fault(what, text);
}

/* One round, in which the n-th allocation fails, 0 for none: 0, or 1 for a
   fault. 'kept': blocks of before the state. */
static int play (lua_State *L, long n, long kept) {
  int fds = descriptors();
  int bad;
  failing = playing = n;
  bad = call(L, 2, "error", n > 0);
  failing = 0;
  collecting = 0;
  bad |= call(L, 3, "afterwards", 0);
  lua_close(L);
  endhost();
  bad |= left("bytes of Lua's left", (long)bytes);
  bad |= left("blocks left", blocks - kept);
  bad |= left("descriptors left", descriptors() - fds);
  return bad;
}

/* Begins a round in a process of its own, which may crash or hang. */
static pid_t start (lua_State *L, long n, long kept) {
  pid_t pid = fork();
  if (pid == 0) {
    int bad;
    alarm(SECONDS);
    bad = play(L, n, kept);
    OPENSSL_cleanup();
    if (mode->whose != OPENSSL)
      bad |= left("blocks of OpenSSL's left",
                  secrets > METHOD ? secrets - METHOD : 0);
#ifdef LEV_COVERAGE
    __gcov_dump();
#endif
    _exit(bad ? FAULT : failed ? DONE : THROUGH);
  }
  return pid;
}

/* How it ended. */
static int finish (pid_t pid, long n) {
  int status = 0;
  char text[40];
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) >= THROUGH)
    return WEXITSTATUS(status);
  snprintf(text, sizeof(text), WIFSIGNALED(status) ? "signal %d" : "exit %d",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  playing = n;
  fault("ended", text);
  return FAULT;
}

typedef struct Result { long rounds, faults; } Result;

/* All rounds of a mode: until nothing fails any more. */
static void playall (lua_State *L, long stride, long kept, Result *result) {
  int going = 1;
  for (long n = 1; going; n += JOBS * stride) {
    pid_t pids[JOBS];
    for (int i = 0; i < JOBS; i++)
      pids[i] = start(L, n + i * stride, kept);
    going = 0;
    for (int i = 0; i < JOBS; i++) {
      int end = finish(pids[i], n + i * stride);
      result->rounds += end != THROUGH;
      result->faults += end == FAULT;
      going += end != THROUGH;
    }
  }
}

/* No failure: as it is, or with a collection before each of Lua's allocations,
   by which all that is not held is gone. */
static int playplain (const char *script, long kept, int collect) {
  lua_State *L = newstate(script);
  collecting = collect;
  return L == NULL || play(L, 0, kept);
}

/* What libevent keeps for the process, once the module is open. */
static long keptblocks (const char *script) {
  lua_State *L = newstate(script);
  if (L)
    lua_close(L);
  return blocks;
}

int main (int argc, char **argv) {
  Result result = {0, 0};
  long stride = 1, kept;
  lua_State *L;
  if (argc > 3 && strcmp(argv[1], "-s") == 0) {
    stride = atol(argv[2]);
    argv += 2;
    argc -= 2;
  }
  if (argc < 2)
    return 2;
  mode = modes;
  event_set_mem_functions(__wrap_malloc, __wrap_realloc, __wrap_free);
  CRYPTO_set_mem_functions(sslmalloc, sslrealloc, sslfree);
  kept = keptblocks(argv[1]);
  if (argc > 3) {
    mode = modes + atol(argv[2]);
    return play(newstate(argv[1]), atol(argv[3]), kept);
  }
  if (playplain(argv[1], kept, 0) || playplain(argv[1], kept, 1))
    return 1;
  L = newstate(argv[1]);
  for (; mode->name; mode++)
    if (mode->whose != OPENSSL || secure)
      playall(L, stride * (mode->whose == OPENSSL ? SELDOM : 1), kept, &result);
  lua_close(L);
  printf("%ld allocations, %ld faults\n", result.rounds, result.faults);
  return result.faults != 0;
}

/* ====} */
