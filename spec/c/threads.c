/*
** A host program with a thread, a signal handler and child processes of its
** own. Runs the script of its argument, in which 'base' is its base and the
** functions below are global. Then it closes Lua, wakes once more by the
** reference that 'hold' took, from the thread and the handler, gives it back
** in the thread, and tells how many descriptors are still open.
*/
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>
#include <event2/event.h>

#include "lualibevent.h"

static struct event_base *base;
static lualibevent_Waker *held;
static pthread_t thread;
static int sent;              /* wakes of the thread, counted before each */

static int descriptors (void) {
  int n = 0;
  for (int fd = 0; fd < 256; fd++)
    n += fcntl(fd, F_GETFD) != -1;
  return n;
}

static int countopen (lua_State *L) {
  lua_pushinteger(L, descriptors());
  return 1;
}

/* {==== Wakers ==== */

/* hold(waker): takes the one reference that all others use */
static int hold (lua_State *L) {
  held = lualibevent_towaker(L, 1);
  return 0;
}

static int drop (lua_State *L) {
  (void)L;
  lualibevent_dropwaker(held);
  held = NULL;
  return 0;
}

static int wake (lua_State *L) {
  (void)L;
  lualibevent_wake(held);
  return 0;
}

static void *wakes (void *n) {
  for (int i = *(int *)n; i > 0; i--) {
    __atomic_add_fetch(&sent, 1, __ATOMIC_SEQ_CST);
    lualibevent_wake(held);
  }
  return NULL;
}

/* start(n): a thread that wakes n times */
static int start (lua_State *L) {
  static int n;
  n = (int)luaL_checkinteger(L, 1);
  pthread_create(&thread, NULL, wakes, &n);
  return 0;
}

static int join (lua_State *L) {
  (void)L;
  pthread_join(thread, NULL);
  return 0;
}

static int countsent (lua_State *L) {
  lua_pushinteger(L, __atomic_load_n(&sent, __ATOMIC_SEQ_CST));
  return 1;
}

static void onsignal (int sig) {
  (void)sig;
  lualibevent_wake(held);
}

/* raise() -> errno: the handler wakes, and errno was 1234 */
static int raisesignal (lua_State *L) {
  struct sigaction action = {0};
  action.sa_handler = onsignal;
  sigaction(SIGUSR1, &action, NULL);
  errno = 1234;
  raise(SIGUSR1);
  lua_pushinteger(L, errno);
  return 1;
}

/* ====} */

/* {==== Child processes ==== */

static int forkself (lua_State *L) {
  lua_pushinteger(L, fork());
  return 1;
}

/* wait(pid): until that child has ended */
static int waitchild (lua_State *L) {
  waitpid((pid_t)luaL_checkinteger(L, 1), NULL, 0);
  return 0;
}

/* reinit(): the host's own, of which Lua hears nothing */
static int reinit (lua_State *L) {
  (void)L;
  event_reinit(base);
  return 0;
}

/* turn(): one of the loop, run by the host */
static int turn (lua_State *L) {
  (void)L;
  event_base_loop(base, EVLOOP_NONBLOCK);
  return 0;
}

/* ====} */

/* {==== What libevent says ==== */

static void onlog (int severity, const char *message) {
  printf("the host's: %d %s\n", severity, message);
}

/* hostlog(): the host has a callback of its own */
static int hostlog (lua_State *L) {
  (void)L;
  event_set_log_callback(onlog);
  return 0;
}

static void *warns (void *arg) {
  struct event_config *config = event_config_new();
  (void)arg;
  event_config_require_features(config, 0x7fffffff);
  event_base_new_with_config(config);
  event_config_free(config);
  return NULL;
}

/* elsewhere(): libevent warns in a thread that knows nothing of Lua */
static int elsewhere (lua_State *L) {
  (void)L;
  pthread_create(&thread, NULL, warns, NULL);
  return join(L);
}

/* fatal(): libevent finds no way to go on */
static int fatal (lua_State *L) {
  (void)L;
  event_enable_debug_mode();
  event_enable_debug_mode();
  return 0;
}

static lua_State *newstate (void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  luaL_requiref(L, "libevent.core", luaopen_libevent_core, 0);
  lua_pop(L, 1);
  return L;
}

/* state(code): runs it in a state of its own, which is closed then */
static int state (lua_State *L) {
  lua_State *S = newstate();
  if (luaL_dostring(S, luaL_checkstring(L, 1)))
    fprintf(stderr, "%s\n", lua_tostring(S, -1));
  lua_close(S);
  return 0;
}

/* ====} */

static const luaL_Reg functions[] = {
  {"hold", hold}, {"drop", drop}, {"wake", wake}, {"start", start},
  {"join", join}, {"sent", countsent}, {"raise", raisesignal},
  {"fork", forkself}, {"wait", waitchild}, {"reinit", reinit},
  {"turn", turn}, {"descriptors", countopen}, {"hostlog", hostlog},
  {"elsewhere", elsewhere}, {"fatal", fatal}, {"state", state}, {NULL, NULL}
};

static void *wakeanddrop (void *arg) {
  lualibevent_wake(held);
  lualibevent_dropwaker(held);
  return arg;
}

int main (int argc, char **argv) {
  int before = descriptors();
  lua_State *L = newstate();
  setvbuf(stdout, NULL, _IONBF, 0);
  base = event_base_new();
  lualibevent_pushbase(L, base);
  lua_setglobal(L, "base");
  lua_pushglobaltable(L);
  luaL_setfuncs(L, functions, 0);
  if (argc != 2 || luaL_dofile(L, argv[1])) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return 1;
  }
  lua_close(L);
  if (held) {
    raise(SIGUSR1);           /* the script's raise() has set the handler */
    pthread_create(&thread, NULL, wakeanddrop, NULL);
    pthread_join(thread, NULL);
  }
  event_base_free(base);
  printf("open %d\n", descriptors() - before);
  return 0;
}
