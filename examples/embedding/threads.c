/*
** A server on all cores: each thread has a base and a Lua state of its own,
** and all listen on one port by reuseable_port: the kernel shares the
** connections out among them. No thread knows of another; only the main one
** wakes them all when the program is to end.
**   make examples
**   build/examples/threads examples/embedding/worker.lua [THREADS [PORT]]
*/
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>

#include <lauxlib.h>
#include <lualib.h>
#include <lualibevent.h>

typedef struct Worker {
  pthread_t thread;
  int number;
  int port;
  int failed;
  pthread_mutex_t mutex;      /* guards what follows */
  pthread_cond_t ready;
  int isready;
  lualibevent_Waker *waker;   /* ends it, from any thread; NULL if it failed */
} Worker;

static const char *path;      /* of the script */

/* The main thread may go on. */
static void tell (Worker *w, lualibevent_Waker *waker) {
  pthread_mutex_lock(&w->mutex);
  w->waker = waker;
  w->isready = 1;
  pthread_cond_signal(&w->ready);
  pthread_mutex_unlock(&w->mutex);
}

/* [1] Waker: [upvalue 1] the base of the thread */
static int onwake (lua_State *L) {
  event_base_loopbreak(lua_touserdata(L, lua_upvalueindex(1)));
  return 0;
}

/* Leaves a Waker that ends the loop on the stack. */
static void makewaker (lua_State *L, struct event_base *base) {
  lualibevent_pushbase(L, base);
  lua_getfield(L, -1, "waker");
  lua_insert(L, -2);
  lua_pushlightuserdata(L, base);
  lua_pushcclosure(L, onwake, 1);
  lua_call(L, 2, 1);
}

/* [1] Worker, [2] base. Runs the script with the base, its own number and the
   port; it returns the port that it listens on. */
static int begin (lua_State *L) {
  Worker *w = lua_touserdata(L, 1);
  struct event_base *base = lua_touserdata(L, 2);
  luaL_openlibs(L);
  luaL_requiref(L, "libevent", luaopen_libevent, 1);
  if (luaL_loadfile(L, path) != LUA_OK)
    return lua_error(L);
  lualibevent_pushbase(L, base);
  lua_pushinteger(L, w->number);
  lua_pushinteger(L, w->port);
  lua_call(L, 3, 1);
  w->port = (int)luaL_checkinteger(L, -1);
  makewaker(L, base);
  return 1;
}

static void *work (void *arg) {
  Worker *w = arg;
  struct event_base *base = event_base_new();
  lua_State *L = luaL_newstate();
  lua_pushcfunction(L, begin);
  lua_pushlightuserdata(L, w);
  lua_pushlightuserdata(L, base);
  if (lua_pcall(L, 2, 1, 0) == LUA_OK) {
    lualibevent_Waker *waker = lualibevent_towaker(L, -1);
    tell(w, waker);
    event_base_dispatch(base);
  }
  else {
    fprintf(stderr, "worker %d: %s\n", w->number, lua_tostring(L, -1));
    w->failed = 1;
    tell(w, NULL);
  }
  lua_close(L);
  event_base_free(base);
  return NULL;
}

/* Returns when the worker listens, or has failed. */
static void start (Worker *w, int number, int port) {
  w->number = number;
  w->port = port;
  w->failed = w->isready = 0;
  pthread_mutex_init(&w->mutex, NULL);
  pthread_cond_init(&w->ready, NULL);
  pthread_create(&w->thread, NULL, work, w);
  pthread_mutex_lock(&w->mutex);
  while (!w->isready)
    pthread_cond_wait(&w->ready, &w->mutex);
  pthread_mutex_unlock(&w->mutex);
}

static int end (Worker *w) {
  if (w->waker) {
    lualibevent_wake(w->waker);
    lualibevent_dropwaker(w->waker);
  }
  pthread_join(w->thread, NULL);
  return w->failed;
}

int main (int argc, char **argv) {
  int n = argc > 2 ? atoi(argv[2]) : 2;
  int port = argc > 3 ? atoi(argv[3]) : 0;
  int failed = 0;
  sigset_t signals;
  int sig;
  Worker *workers;
  if (argc < 2 || n < 1) {
    fprintf(stderr, "usage: %s SCRIPT [THREADS [PORT]]\n", argv[0]);
    return 2;
  }
  path = argv[1];
  sigemptyset(&signals);      /* for the main thread alone */
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  workers = calloc((size_t)n, sizeof(*workers));
  for (int i = 0; i < n; i++) {
    start(&workers[i], i + 1, port);
    port = workers[i].port;   /* the first one may have chosen it */
    failed |= workers[i].failed;
  }
  if (!failed) {
    printf("%d threads on 127.0.0.1:%d\n", n, port);
    fflush(stdout);
    sigwait(&signals, &sig);
  }
  for (int i = 0; i < n; i++)
    failed |= end(&workers[i]);
  free(workers);
  return failed;
}
