/*
** waker.c: what wakes a loop from outside: from another thread, or from a
** signal handler of the host's. An event on an eventfd, or on a pipe where
** there is none.
**
** While it is open anybody may call, so it is anchored, and its loop runs on.
** What the host holds is apart from the userdata and counted: the descriptors
** are closed with the last reference, so that no wake is ever written to
** somebody else's descriptor of the same number.
*/
#include "lev.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__linux__) && !defined(LEV_NOEVENTFD)
#include <sys/eventfd.h>
#define LEV_EVENTFD
#endif

/* user values, after LEV_UVBASE */
enum { CALLBACK = 2, NUSERVALUES = CALLBACK };

struct lualibevent_Waker {
  unsigned references;        /* the userdata's, and the host's */
  int fds[2];                 /* to read, to write: one and the same eventfd */
  unsigned forks;             /* levL_forks when they were opened */
  bool woken;                 /* in a child, before it has opened its own */
};

typedef struct lev_Waker {
  lev_Object o;
  struct event ev;
  lualibevent_Waker *shared;
} lev_Waker;

/* {==== The descriptors ==== */

#ifdef LEV_EVENTFD

static bool openfds (int fds[2]) {
  fds[0] = fds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fds[0] >= 0;
}

#else

static bool openfds (int fds[2]) {
  if (pipe(fds) < 0)
    return false;
  for (int i = 0; i < 2; i++) {
    evutil_make_socket_nonblocking(fds[i]);
    evutil_make_socket_closeonexec(fds[i]);
  }
  return true;
}

#endif

static void closefds (const int fds[2]) {
  close(fds[0]);
  if (fds[1] != fds[0])
    close(fds[1]);
}

/* A full pipe, or a full count, is a wake that waits already. */
static void writewake (int fd) {
  static const uint64_t one = 1;    /* what an eventfd takes */
  while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
    ;
}

/* Takes all wakes; false if there were none. */
static bool takewakes (int fd) {
  char wakes[1024];
  ssize_t n = read(fd, wakes, sizeof(wakes));
  bool any = n > 0;
  while (n == sizeof(wakes))
    n = read(fd, wakes, sizeof(wakes));
  return any;
}

/* ====} */

/* {==== What the host holds ==== */

static lualibevent_Waker *newshared (int *err) {
  lualibevent_Waker *s = calloc(1, sizeof(*s));
  if (s && openfds(s->fds)) {
    s->references = 1;
    s->forks = levL_forks;
    return s;
  }
  *err = errno;
  free(s);
  return NULL;
}

/* False in a child process, whose descriptors are still the parent's. */
static bool isown (const lualibevent_Waker *s) {
  return __atomic_load_n(&s->forks, __ATOMIC_SEQ_CST) == levL_forks;
}

/* Gives a child descriptors of its own, under the numbers that are known. */
static void renew (lualibevent_Waker *s) {
  int fds[2];
  bool done = true;
  if (!openfds(fds))
    return;
  for (int i = 0; i < 2; i++) {
    done = done && dup2(fds[i], s->fds[i]) >= 0;
    evutil_make_socket_closeonexec(s->fds[i]);
  }
  closefds(fds);
  if (!done)
    return;
  __atomic_store_n(&s->forks, levL_forks, __ATOMIC_SEQ_CST);
  if (__atomic_exchange_n(&s->woken, false, __ATOMIC_SEQ_CST))
    writewake(s->fds[1]);
}

/* write alone, so that a signal handler may call it. A wake in a child that
   has not touched its base yet is kept for it: two looks at the count, since
   'renew' may come in between. */
LEV_EXPORT void lualibevent_wake (lualibevent_Waker *s) {
  int err = errno;
  if (!isown(s))
    __atomic_store_n(&s->woken, true, __ATOMIC_SEQ_CST);
  if (isown(s))
    writewake(s->fds[1]);
  errno = err;
}

LEV_EXPORT void lualibevent_dropwaker (lualibevent_Waker *s) {
  if (__atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL) == 0) {
    closefds(s->fds);
    free(s);
  }
}

/* ====} */

/* {==== Kind and accessors ==== */

static bool isactive (const lev_Object *o) {
  return o->base != NULL;
}

static void freewaker (lev_Object *o) {
  lev_Waker *w = (lev_Waker *)o;
  event_del(&w->ev);
  lualibevent_dropwaker(w->shared);
  w->shared = NULL;
}

/* The descriptors change before event_reinit adds them to the new back end.
   Where no other is left, the waker is mute in the child. */
static bool reinitwaker (lev_Object *o, bool done) {
  lev_Waker *w = (lev_Waker *)o;
  if (!done && !isown(w->shared))
    renew(w->shared);
  if (done && !isown(w->shared))
    event_del(&w->ev);
  return true;
}

static const lev_Kind kind = {
  .tname = LEV_WAKER, .active = isactive, .free = freewaker,
  .reinit = reinitwaker
};

static lev_Waker *checkwaker (lua_State *L) {
  return levL_checkopen(L, 1, &kind);
}

LEV_EXPORT lualibevent_Waker *lualibevent_towaker (lua_State *L, int idx) {
  lev_Waker *w = levL_checkopen(L, lua_absindex(L, idx), &kind);
  __atomic_add_fetch(&w->shared->references, 1, __ATOMIC_RELAXED);
  return w->shared;
}

/* ====} */

/* {==== From libevent to Lua ==== */

/* [1] waker */
static int callwaker (lua_State *L) {
  lua_getiuservalue(L, 1, CALLBACK);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
  return 0;
}

/* The wakes are taken first: one that comes during the callback is another
   call. After an event_reinit of the host's own they are still the parent's,
   until the base owns what is on it. */
static void onwake (evutil_socket_t fd, short what, void *arg) {
  lev_Waker *w = arg;
  (void)what;
  levL_own(w->o.base);
  if (isown(w->shared) && takewakes((int)fd))
    levL_protect(&w->o, callwaker, NULL, NULL);
}

/* ====} */

/* {==== Constructor ==== */

/* 0 or an errno */
static int start (lev_Waker *w, struct event_base *event_base) {
  int err = 0;
  w->shared = newshared(&err);
  if (w->shared == NULL)
    return err;
  event_assign(&w->ev, event_base, w->shared->fds[0], EV_READ | EV_PERSIST,
               onwake, w);
  errno = 0;
  if (event_add(&w->ev, NULL) < 0) {
    err = errno ? errno : ENOMEM;
    lualibevent_dropwaker(w->shared);
  }
  return err;
}

/* base:waker(cb) -> waker | nil, message, errno */
static int lev_base_waker (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  lev_Waker *w;
  int err;
  levL_checkcallback(L, 2);
  w = levL_newobject(L, 1, &kind, sizeof(*w), NUSERVALUES);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, CALLBACK);
  levL_anchor(L, -1, &w->o);
  err = start(w, base->event_base);
  if (err) {
    levL_settle(L, -1, &w->o);
    return levL_refuse(L, err, NULL);
  }
  levL_adopt(base, &w->o);
  return 1;
}

/* ====} */

/* {==== Methods ==== */

/* waker:wake() -> waker */
static int lev_waker_wake (lua_State *L) {
  lualibevent_wake(checkwaker(L)->shared);
  lua_settop(L, 1);
  return 1;
}

/* waker:callback() -> function */
static int lev_waker_callback (lua_State *L) {
  checkwaker(L);
  lua_getiuservalue(L, 1, CALLBACK);
  return 1;
}

/* waker:set_callback(cb) -> waker */
static int lev_waker_set_callback (lua_State *L) {
  checkwaker(L);
  levL_checkcallback(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, CALLBACK);
  return 1;
}

/* waker:base() -> base */
static int lev_waker_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* waker:close() -> waker */
static int lev_waker_close (lua_State *L) {
  return levL_close(L, &kind);
}

static int lev_waker__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_WAKER);
  return levL_tostring(L, LEV_WAKER, o->base != NULL);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"wake", lev_waker_wake},
  {"callback", lev_waker_callback},
  {"set_callback", lev_waker_set_callback},
  {"base", lev_waker_base},
  {"close", lev_waker_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_waker_close},
  {"__close", lev_waker_close},
  {"__tostring", lev_waker__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"waker", lev_base_waker},
  {NULL, NULL}
};

void levL_openwaker (lua_State *L) {
  levL_newtype(L, LEV_WAKER, methods, metamethods);
  levL_addmethods(L, LEV_BASE, constructors);
}
