/*
** Several scripts on one base, each in a Lua state of its own: what one does
** cannot reach another. One whose callbacks have failed three times is
** closed, with all that it had on the base; the others go on.
**   make examples
**   build/examples/states SCRIPT...
** A script is called with the base and its own path.
*/
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>

#include <lauxlib.h>
#include <lualib.h>
#include <lualibevent.h>

#define PATIENCE 3            /* errors before a script is closed */

typedef struct Tenant {
  const char *name;
  lua_State *L;               /* NULL once closed */
  int errors;
  struct event *close;        /* closes it, from the loop: not in a callback */
} Tenant;

static struct event_base *base;

static void onclose (evutil_socket_t fd, short what, void *arg) {
  Tenant *t = arg;
  (void)fd; (void)what;
  if (t->L == NULL)
    return;
  lua_close(t->L);
  t->L = NULL;
  printf("%s: closed\n", t->name);
  fflush(stdout);
}

/* The base's error callback: [1] error; [upvalue 1] the Tenant */
static int onerror (lua_State *L) {
  Tenant *t = lua_touserdata(L, lua_upvalueindex(1));
  fprintf(stderr, "%s: %s\n", t->name, luaL_tolstring(L, 1, NULL));
  if (++t->errors == PATIENCE)
    event_active(t->close, EV_TIMEOUT, 1);
  return 0;
}

/* False if its script fails at once. */
static int start (Tenant *t, const char *name) {
  int status;
  t->name = name;
  t->errors = 0;
  t->close = event_new(base, -1, 0, onclose, t);
  t->L = luaL_newstate();
  luaL_openlibs(t->L);
  luaL_requiref(t->L, "libevent", luaopen_libevent, 0);
  lua_pushlightuserdata(t->L, t);
  lua_pushcclosure(t->L, onerror, 1);
  lualibevent_seterrorcb(t->L, base);
  status = luaL_loadfile(t->L, name);
  if (status == LUA_OK) {
    lualibevent_pushbase(t->L, base);
    lua_pushstring(t->L, name);
    status = lua_pcall(t->L, 2, 0, 0);
  }
  if (status == LUA_OK)
    return 1;
  fprintf(stderr, "%s\n", lua_tostring(t->L, -1));
  return 0;
}

static void end (Tenant *t) {
  if (t->L)
    lua_close(t->L);
  event_free(t->close);
}

static void onend (evutil_socket_t sig, short what, void *arg) {
  (void)sig; (void)what; (void)arg;
  event_base_loopbreak(base);
}

int main (int argc, char **argv) {
  int n = argc - 1;
  Tenant *tenants = calloc((size_t)n + 1, sizeof(*tenants));
  struct event *interrupt, *term;
  int ok = 1;
  base = event_base_new();
  interrupt = evsignal_new(base, SIGINT, onend, NULL);
  term = evsignal_new(base, SIGTERM, onend, NULL);
  event_add(interrupt, NULL);
  event_add(term, NULL);
  for (int i = 0; i < n; i++)
    ok &= start(&tenants[i], argv[i + 1]);
  if (ok)
    event_base_dispatch(base);
  for (int i = 0; i < n; i++)
    end(&tenants[i]);
  event_free(interrupt);
  event_free(term);
  event_base_free(base);
  free(tenants);
  return !ok;
}
