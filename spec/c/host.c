/*
** A host program with an event_base and a timer of its own. Runs the script
** of its argument, in which 'base' is its base and 'hosted(name)' counts;
** then it runs the base itself for 50 ms, closes Lua, runs it again, and
** tells what its own timer saw.
*/
#include <stdio.h>

#include <lauxlib.h>
#include <lualib.h>
#include <event2/event.h>

#include "lualibevent.h"

static int ticks;

static void ontick (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what; (void)arg;
  ticks++;
}

/* For 50 ms, or longer where the machine is busy: does the timer go on? */
static int run (struct event_base *base) {
  int before = ticks;
  for (int i = 0; i < 100 && ticks <= before + 2; i++) {
    struct timeval tv = {0, 50000};
    event_base_loopexit(base, &tv);
    event_base_dispatch(base);
  }
  return ticks > before + 2;
}

int main (int argc, char **argv) {
  struct event_base *base = event_base_new();
  struct event *tick = event_new(base, -1, EV_PERSIST, ontick, NULL);
  struct timeval tv = {0, 5000};
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  event_add(tick, &tv);
  lualibevent_pushbase(L, base);
  lualibevent_pushbase(L, base);
  printf("same %d\n", lua_rawequal(L, -1, -2));
  lua_setglobal(L, "base");
  lua_pop(L, 1);
  if (argc != 2 || luaL_dofile(L, argv[1])) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return 1;
  }
  lua_gc(L, LUA_GCCOLLECT);
  printf("running %d\n", run(base));
  lua_close(L);
  printf("after lua_close %d\n", run(base));
  printf("events left %d\n", event_base_get_num_events(base,
                                               EVENT_BASE_COUNT_ADDED));
  event_free(tick);
  event_base_free(base);
  return 0;
}
