/*
** torture.c: runs a scenario again and again, and has one allocation fail
** each time: the first one, the second, and so on, of Lua's and of libevent's
** alike, until it gets through with all of them.
**
**   torture script.lua [from [to]]
**
** The script returns two functions. The first is the scenario: it ends well,
** or with an error that tells of memory, in Lua's words or the system's. The
** second is called after it, with memory for all, and must end well: what the
** scenario left behind is usable. Then the state is closed, and no byte may be
** left.
**
** Each round is a state and a process of its own. A round that goes wrong is
** told with its number, and can be run alone.
*/
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>
#include <event2/event.h>

#include "lualibevent.h"

#define SECONDS 20            /* after which a round hangs */

enum { THROUGH = 10, DONE, FAULT };     /* how a child ends */

static long count;            /* allocations since it was armed */
static long failing;          /* the one that fails; 0: none */
static int failed;            /* it has failed */
static long blocks;           /* of libevent's, not freed */
static size_t bytes;          /* of Lua's, not freed */

static int fails (void) {
  if (failing == 0 || ++count != failing)
    return 0;
  failed = 1;
  errno = ENOMEM;
  return 1;
}

static void *luaalloc (void *ud, void *block, size_t old, size_t size) {
  void *new;
  (void)ud;
  old = block ? old : 0;
  if (size == 0) {
    free(block);
    bytes -= old;
    return NULL;
  }
  if (size > old && fails())
    return NULL;
  new = realloc(block, size);
  if (new)
    bytes += size - old;
  return new;
}

static void *eventmalloc (size_t size) {
  void *new = fails() ? NULL : malloc(size);
  blocks += new != NULL;
  return new;
}

static void *eventrealloc (void *block, size_t size) {
  void *new = fails() ? NULL : realloc(block, size);
  blocks += block == NULL && new != NULL;
  return new;
}

static void eventfree (void *block) {
  blocks -= block != NULL;
  free(block);
}

static int isclean (const char *message) {
  return strstr(message, "not enough memory")
         || strstr(message, strerror(ENOMEM));
}

static int traceback (lua_State *L) {
  const char *message = luaL_tolstring(L, 1, NULL);
  if (!isclean(message))
    luaL_traceback(L, L, message, 1);
  return 1;
}

static lua_State *newstate (void) {
  lua_State *L = lua_newstate(luaalloc, NULL);
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_libevent_core);
  lua_setfield(L, -2, "libevent.core");
  lua_settop(L, 0);
  return L;
}

static int fault (lua_State *L, long n, const char *what) {
  fprintf(stderr, "allocation %ld: %s: %s\n", n, what,
          L ? lua_tostring(L, -1) : "");
  return 1;
}

/* One round, in which the n-th allocation fails: 0, or 1 for a fault. */
static int play (const char *script, long n) {
  lua_State *L = newstate();
  int bad = 0;
  lua_pushcfunction(L, traceback);
  if (luaL_loadfile(L, script) || lua_pcall(L, 0, 2, 1))
    return fault(L, n, "script");
  count = 0;
  failed = 0;
  failing = n;
  lua_pushvalue(L, 2);
  if (lua_pcall(L, 0, 0, 1)) {
    failing = 0;
    if (!isclean(lua_tostring(L, -1)))
      bad = fault(L, n, "error");
  }
  failing = 0;
  lua_pushvalue(L, 3);
  if (lua_pcall(L, 0, 0, 1))
    bad = fault(L, n, "afterwards");
  lua_close(L);
  if (bytes != 0) {
    fprintf(stderr, "allocation %ld: %lu bytes of Lua's left\n", n,
            (unsigned long)bytes);
    bytes = 0;
    bad = 1;
  }
  return bad;
}

/* A round in a process of its own, which may crash or hang: how it ended. */
static int child (const char *script, long n) {
  long before;
  int bad, status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    alarm(SECONDS);
    before = blocks;
    bad = play(script, n);
    if (blocks != before) {
      fprintf(stderr, "allocation %ld: %ld blocks of libevent's left\n", n,
              blocks - before);
      bad = 1;
    }
    _exit(bad ? FAULT : failed ? DONE : THROUGH);
  }
  waitpid(pid, &status, 0);
  if (!WIFSIGNALED(status))
    return WEXITSTATUS(status);
  fprintf(stderr, "allocation %ld: signal %d\n", n, WTERMSIG(status));
  return FAULT;
}

int main (int argc, char **argv) {
  long n = argc > 2 ? atol(argv[2]) : 1;
  long to = argc > 3 ? atol(argv[3]) : 1000000;
  long faults = 0;
  int end = DONE;
  if (argc < 2)
    return 2;
  event_set_mem_functions(eventmalloc, eventrealloc, eventfree);
  if (play(argv[1], 0))           /* what libevent keeps for the process */
    return 1;
  for (; n <= to && end != THROUGH; n++) {
    end = child(argv[1], n);
    faults += end == FAULT;
  }
  printf("%ld allocations, %ld faults\n", n - 1, faults);
  return faults != 0;
}
