/*
** base.c: struct event_base, the loop.
**
** A base lives as long as the script holds it, an object on it, or it runs.
** Closing it closes every object on it first; closed inside its own loop,
** libevent's part goes when the loop has ended. A base of the host's
** (lualibevent.h) is never freed here, only everything that Lua put on it.
*/
#include "lev.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Loops inside callbacks of other loops, and bytes of C stack below the
   first of them. */
#define MAXLOOPS 32
#define MAXSTACK 0x40000

/* Callbacks before libevent looks for new events again. It would look when
   all are done, never if one makes its own event active again. */
#define MAXCALLBACKS 1000

/* Common timeouts of a base: libevent would warn on stderr of one more. */
#define MAXCOMMON 256

static const lev_Word flagwords[] = {
  {"nolock", EVENT_BASE_FLAG_NOLOCK},
  {"ignore_env", EVENT_BASE_FLAG_IGNORE_ENV},
  {"no_cache_time", EVENT_BASE_FLAG_NO_CACHE_TIME},
  {"epoll_use_changelist", EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST},
  {"precise_timer", EVENT_BASE_FLAG_PRECISE_TIMER},
  {NULL, 0}
};

static const lev_Word featurewords[] = {
  {"et", EV_FEATURE_ET}, {"o1", EV_FEATURE_O1}, {"fds", EV_FEATURE_FDS},
  {"early_close", EV_FEATURE_EARLY_CLOSE}, {NULL, 0}
};

static const lev_Word loopwords[] = {
  {"once", EVLOOP_ONCE}, {"nonblock", EVLOOP_NONBLOCK},
  {"no_exit_on_empty", EVLOOP_NO_EXIT_ON_EMPTY}, {NULL, 0}
};

static const lev_Word countwords[] = {
  {"active", EVENT_BASE_COUNT_ACTIVE}, {"virtual", EVENT_BASE_COUNT_VIRTUAL},
  {"added", EVENT_BASE_COUNT_ADDED}, {NULL, 0}
};

/* {==== Constructor ==== */

static const char *const optionnames[] = {
  "method", "avoid", "features", "flags", "priorities", "max_interval",
  "max_callbacks", "min_priority", NULL
};

/* What the options say, before libevent hears of it. */
typedef struct Options {
  unsigned avoided;           /* bit n: the n-th supported method */
  int features;
  int flags;
  int npriorities;
  struct timeval tv;
  const struct timeval *interval;
  int callbacks;
  int priority;
} Options;

/* The number of the method whose name is on top. */
static int checkmethod (lua_State *L) {
  const char *const *methods = levL_methods();
  int idx = lua_gettop(L);
  if (lua_type(L, idx) == LUA_TSTRING)
    for (int i = 0; methods[i]; i++)
      if (strcmp(methods[i], lua_tostring(L, idx)) == 0)
        return i;
  return levL_expected(L, idx, 1, "a name from libevent.methods()");
}

/* avoid = "epoll", or a list of names */
static unsigned checkavoided (lua_State *L) {
  int idx = lua_gettop(L);
  unsigned avoided = 0;
  if (!lua_istable(L, idx))
    return 1u << checkmethod(L);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, idx); i++) {
    lua_pushvalue(L, idx - 1);              /* the option's name */
    lua_rawgeti(L, idx, i);
    avoided |= 1u << checkmethod(L);
    lua_settop(L, idx);
  }
  return avoided;
}

/* [1] options */
static void getoptions (lua_State *L, Options *o) {
  memset(o, 0, sizeof(*o));
  levL_checkoptions(L, 1, optionnames);
  if (levL_option(L, 1, "method"))
    o->avoided = ~(1u << checkmethod(L));
  if (levL_option(L, 1, "avoid"))
    o->avoided |= checkavoided(L);
  if (levL_option(L, 1, "features"))
    o->features = levL_words(L, -1, 1, featurewords);
  o->flags = EVENT_BASE_FLAG_NOLOCK;        /* one thread for each base */
  if (levL_option(L, 1, "flags"))
    o->flags |= levL_words(L, -1, 1, flagwords);
  o->npriorities = 1;
  if (levL_option(L, 1, "priorities"))
    o->npriorities = (int)levL_range(L, -1, 1, 1, EVENT_MAX_PRIORITIES - 1);
  if (levL_option(L, 1, "max_interval"))
    o->interval = levL_time(L, -1, 1, &o->tv);
  o->callbacks = MAXCALLBACKS;
  if (levL_option(L, 1, "max_callbacks"))
    o->callbacks = (int)levL_range(L, -1, 1, 1, INT_MAX);
  if (levL_option(L, 1, "min_priority"))
    o->priority = (int)levL_range(L, -1, 1, 0, EVENT_MAX_PRIORITIES - 1);
  lua_settop(L, 1);
}

/* libevent's form of the options, or NULL. */
static struct event_config *newconfig (const Options *o) {
  const char *const *methods = levL_methods();
  struct event_config *config = event_config_new();
  for (int i = 0; config && methods[i]; i++) {
    if ((o->avoided & (1u << i))
        && event_config_avoid_method(config, methods[i]) < 0) {
      event_config_free(config);
      config = NULL;
    }
  }
  return config;
}

/* The event_base that the options describe; NULL if there is none such.
   Without memory for a method libevent takes the next one, and says nothing:
   only errno does. */
static struct event_base *newwithconfig (lua_State *L, const Options *o) {
  struct event_config *config = newconfig(o);
  struct event_base *event_base;
  bool ok;
  if (config == NULL)
    levL_nomemory(L);
  event_config_require_features(config, o->features);
  event_config_set_flag(config, o->flags);
  event_config_set_max_dispatch_interval(config, o->interval, o->callbacks,
                                         o->priority);
  errno = 0;
  event_base = event_base_new_with_config(config);
  ok = errno != ENOMEM;
  event_config_free(config);
  if (event_base && ok)
    ok = event_base_priority_init(event_base, o->npriorities) == 0;
  if (event_base && !ok)
    event_base_free(event_base);
  if (!ok)
    levL_nomemory(L);
  return event_base;
}

/* libevent takes memory for an exit. Without it the loop ends at once, before
   the callbacks that are due: they wait for the next one. */
static void onloopexit (evutil_socket_t fd, short what, void *arg) {
  struct event_base *event_base = ((lev_Base *)arg)->event_base;
  (void)fd; (void)what;
  if (event_base_loopexit(event_base, NULL) < 0)
    event_base_loopbreak(event_base);
}

/* Pushes a closed Base. */
static lev_Base *newbase (lua_State *L) {
  lev_Base *base = lua_newuserdatauv(L, sizeof(*base), LEV_NUVBASE);
  memset(base, 0, sizeof(*base));
  base->objects.prev = base->objects.next = &base->objects;
  base->forks = levL_forks;
  luaL_setmetatable(L, LEV_BASE);
  base->ref = LUA_NOREF;
  levL_initanchors(L, base);
  base->L = lua_newthread(L);
  lua_setiuservalue(L, -2, LEV_UVTHREAD);
  return base;
}

static void openbase (lev_Base *base, struct event_base *event_base) {
  base->event_base = event_base;
  event_assign(&base->exit, event_base, -1, 0, onloopexit, base);
}

static void never (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what; (void)arg;
}

/* Internal, it does not keep a loop running, and is counted nowhere; libevent
   wakes for no timer more often than twice an hour. */
static bool addsentinel (lev_Base *base, struct event_base *event_base) {
  static const struct timeval years = {0x10000000, 0};
  event_assign(&base->sentinel, event_base, -1, 0, never, NULL);
  base->sentinel.ev_evcallback.evcb_flags |= EVLIST_INTERNAL;
  return event_add(&base->sentinel, &years) == 0;
}

/* A base of the host's can run at any time: it is anchored until it is
   closed, and found again under the host's own pointer. */
LEV_EXPORT void lualibevent_pushbase (lua_State *L,
                                      struct event_base *event_base) {
  lev_Base *base = levL_hostbase(L, event_base);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (base && levL_isgone(base))
    lualibevent_detach(L, event_base);      /* an earlier one at its address */
  else if (base && !base->closing) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, event_base);
    return;
  }
  luaL_requiref(L, "libevent.core", luaopen_libevent_core, 0);
  lua_pop(L, 1);
  base = newbase(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, event_base);
  if (!addsentinel(base, event_base)) {
    lua_pushnil(L);           /* the key is there: no allocation */
    lua_rawsetp(L, LUA_REGISTRYINDEX, event_base);
    levL_nomemory(L);
  }
  levL_hold(L, -1, true);
  base->timed = true;         /* the host's own events may be */
  openbase(base, event_base);
}

/* [-1] callback or nil */
LEV_EXPORT void lualibevent_seterrorcb (lua_State *L,
                                        struct event_base *event_base) {
  levL_optcallback(L, lua_gettop(L));
  lualibevent_pushbase(L, event_base);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, LEV_UVERRORCB);
  lua_pop(L, 1);
}

LEV_EXPORT void lualibevent_sethook (lua_State *L,
                                     struct event_base *event_base,
                                     lualibevent_Hook hook, void *data) {
  lev_Base *base;
  lualibevent_pushbase(L, event_base);
  base = lua_touserdata(L, -1);
  base->hook = hook;
  base->hookdata = data;
  lua_pop(L, 1);
}

LEV_EXPORT struct event_base *lualibevent_tobase (lua_State *L, int idx) {
  return levL_checkbase(L, idx)->event_base;
}

/* libevent ends the process when it finds no descriptor for the pipe of its
   signals. A base takes up to four: these. */
static int lackofdescriptors (void) {
  int first[2], second[2];
  int err = 0;
  if (pipe(first) < 0)
    return errno;
  if (pipe(second) < 0)
    err = errno;
  else {
    close(second[0]);
    close(second[1]);
  }
  close(first[0]);
  close(first[1]);
  return err;
}

/* libevent.base([options]) -> base | nil, message, errno */
static int lev_base_new (lua_State *L) {
  Options o;
  lev_Base *base;
  struct event_base *event_base;
  int err;
  lua_settop(L, 1);
  getoptions(L, &o);
  err = lackofdescriptors();
  if (err)
    return levL_refuse(L, err, NULL);
  base = newbase(L);
  event_base = newwithconfig(L, &o);
  if (event_base == NULL)
    return levL_refuse(L, ENOTSUP, "no method is left that has all features");
  base->owned = true;
  openbase(base, event_base);
  return 1;
}

/* ====} */

/* {==== The loop ==== */

/* Loops in callbacks of other bases' loops are counted: each base has a
   thread of its own, where Lua's count of C calls begins anew. And so is the
   stack that they take, from the first of them on. */
static const char loopskey = 0, stackkey = 0;

static int loops (lua_State *L) {
  int n;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loopskey);
  n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n;
}

static void setloops (lua_State *L, int n) {
  lua_pushinteger(L, n);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &loopskey);
}

static void checkstack (lua_State *L) {
  char here;
  const char *first;
  if (loops(L) == 0) {
    lua_pushlightuserdata(L, &here);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &stackkey);
    return;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &stackkey);
  first = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (loops(L) >= MAXLOOPS || labs((long)(first - &here)) > MAXSTACK)
    luaL_error(L, "too many loops inside callbacks of other loops");
}

/* event_base_loop, and what libevent says before it, in it and at its end. */
static int run (lev_Base *base, int flags) {
  int result = 0;
  int err;
  levL_tell(base);
  if (!base->failed && !base->closing)
    result = event_base_loop(base->event_base, flags);
  err = errno;
  levL_tell(base);
  errno = err;
  return result;
}

static int runloop (lua_State *L, lev_Base *base, int flags) {
  int result, err;
  if (base->looping || base->calls > 0)
    return luaL_error(L, "the loop of this base runs already");
  checkstack(L);
  levL_hold(L, 1, true);
  setloops(L, loops(L) + 1);
  base->looping = true;
  result = run(base, flags);
  err = errno;
  base->looping = false;
  if (base->owned)
    levL_hold(L, 1, false);
  setloops(L, loops(L) - 1);
  event_del(&base->exit);                   /* the next loop is not its own */
  if (base->closing)
    levL_freebase(L, base);
  if (base->failed) {
    base->failed = false;
    lua_getiuservalue(L, 1, LEV_UVERROR);
    lua_pushnil(L);
    lua_setiuservalue(L, 1, LEV_UVERROR);
    return lua_error(L);
  }
  if (result < 0)
    return levL_refuse(L, err, NULL);
  lua_pushboolean(L, result == 0);
  return 1;
}

/* base:dispatch() -> stopped | nil, message, errno */
static int lev_base_dispatch (lua_State *L) {
  return runloop(L, levL_checkbase(L, 1), 0);
}

/* base:loop([flags]) -> stopped | nil, message, errno */
static int lev_base_loop (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  int flags = lua_isnoneornil(L, 2) ? 0 : levL_checkwords(L, 2, loopwords);
  if (flags & EVLOOP_NONBLOCK)    /* or it would stay while any is ready */
    flags |= EVLOOP_ONCE;
  return runloop(L, base, flags);
}

/* Does the timer of loopexit fire before 'after' has passed? */
static bool exitsbefore (lev_Base *base, const struct timeval *after) {
  struct timeval left;
  if (!levL_left(base, &base->exit, &left))
    return false;
  return left.tv_sec < after->tv_sec
         || (left.tv_sec == after->tv_sec && left.tv_usec <= after->tv_usec);
}

/* base:loopexit([seconds]) -> base */
static int lev_base_loopexit (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  struct timeval tv;
  const struct timeval *after = levL_time(L, 2, 2, &tv);
  int r = 0;
  base->timed |= after != NULL;
  levL_freshen(base);
  if (after == NULL)
    r = event_base_loopexit(base->event_base, NULL);
  else if (!exitsbefore(base, after))       /* the earliest counts */
    r = event_add(&base->exit, after);
  if (r < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* base:loopbreak() -> base */
static int lev_base_loopbreak (lua_State *L) {
  event_base_loopbreak(levL_checkbase(L, 1)->event_base);
  lua_settop(L, 1);
  return 1;
}

/* base:loopcontinue() -> base */
static int lev_base_loopcontinue (lua_State *L) {
  event_base_loopcontinue(levL_checkbase(L, 1)->event_base);
  lua_settop(L, 1);
  return 1;
}

/* base:got_exit() -> boolean */
static int lev_base_got_exit (lua_State *L) {
  lua_pushboolean(L, event_base_got_exit(levL_checkbase(L, 1)->event_base));
  return 1;
}

/* base:got_break() -> boolean */
static int lev_base_got_break (lua_State *L) {
  lua_pushboolean(L, event_base_got_break(levL_checkbase(L, 1)->event_base));
  return 1;
}

/* base:set_error_cb([f]) -> base */
static int lev_base_set_error_cb (lua_State *L) {
  levL_checkbase(L, 1);
  levL_optcallback(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, LEV_UVERRORCB);
  return 1;
}

/* base:reinit() -> base | nil, message, errno */
static int lev_base_reinit (lua_State *L) {
  lev_Base *base = luaL_checkudata(L, 1, LEV_BASE);
  luaL_argcheck(L, base->event_base && !base->closing && !levL_isgone(base), 1,
                "Base is closed");
  if (levL_reinit(base) < 0)
    return levL_refuse(L, errno, NULL);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== What there is to know ==== */

/* base:method() -> name */
static int lev_base_method (lua_State *L) {
  lua_pushstring(L, event_base_get_method(levL_checkbase(L, 1)->event_base));
  return 1;
}

/* base:features() -> words */
static int lev_base_features (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  levL_pushwords(L, event_base_get_features(base->event_base), featurewords);
  return 1;
}

/* base:npriorities() -> count */
static int lev_base_npriorities (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  lua_pushinteger(L, event_base_get_npriorities(base->event_base));
  return 1;
}

/* base:num_events([kinds]) -> count */
static int lev_base_num_events (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  unsigned kinds = EVENT_BASE_COUNT_ADDED;
  if (!lua_isnoneornil(L, 2))
    kinds = (unsigned)levL_checkwords(L, 2, countwords);
  lua_pushinteger(L, event_base_get_num_events(base->event_base, kinds));
  return 1;
}

/* base:max_events([kinds [, clear]]) -> count */
static int lev_base_max_events (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  unsigned kinds = EVENT_BASE_COUNT_ADDED;
  if (!lua_isnoneornil(L, 2))
    kinds = (unsigned)levL_checkwords(L, 2, countwords);
  lua_pushinteger(L, event_base_get_max_events(base->event_base, kinds,
                                               lua_toboolean(L, 3)));
  return 1;
}

/* ====} */

/* {==== Time ==== */

/* base:gettimeofday_cached() -> seconds */
static int lev_base_gettimeofday_cached (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  struct timeval tv;
  event_base_gettimeofday_cached(base->event_base, &tv);
  levL_pushtime(L, &tv);
  return 1;
}

/* base:update_cache_time() -> base */
static int lev_base_update_cache_time (lua_State *L) {
  levL_freshen(levL_checkbase(L, 1));
  lua_settop(L, 1);
  return 1;
}

/* base:gettime_monotonic() -> seconds */
static int lev_base_gettime_monotonic (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  struct timeval tv;
  event_gettime_monotonic(base->event_base, &tv);
  levL_pushtime(L, &tv);
  return 1;
}

/* 0 or an errno */
static int addcommon (lev_Base *base, const struct timeval *duration) {
  size_t size = ((size_t)base->ncommon + 1) * sizeof(lev_Common);
  lev_Common *c;
  if (levL_commontime(base, duration) != duration)
    return 0;
  if (base->ncommon == MAXCOMMON)
    return ENOSPC;
  c = realloc(base->common, size);
  if (c == NULL)
    return ENOMEM;
  base->common = c;
  c += base->ncommon;
  c->duration = *duration;
  c->queue = event_base_init_common_timeout(base->event_base, duration);
  if (c->queue == NULL)
    return ENOMEM;
  base->ncommon++;
  return 0;
}

/* base:init_common_timeout(seconds) -> base | nil, message, errno */
static int lev_base_init_common_timeout (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  struct timeval tv;
  const struct timeval *duration = levL_time(L, 2, 2, &tv);
  int err;
  if (duration == NULL || !evutil_timerisset(duration))
    return levL_expected(L, 2, 2, "seconds above 0");
  err = addcommon(base, duration);
  if (err)
    return levL_refuse(L, err, err == ENOSPC
                       ? "no room for another common timeout" : NULL);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== Close ==== */

/* [1] base. All that it could touch is gone, but for the signals, which
   another base can have now. */
static void reportgone (lua_State *L, const lev_Base *base) {
  levL_dropsignals(base->event_base, UINT_MAX);
  lua_warning(L, "libevent: a host has freed an event_base with objects of "
                 "Lua's on it: lualibevent_detach comes first", 0);
}

/* base:close() -> base; __close and __gc too */
static int lev_base_close (lua_State *L) {
  lev_Base *base = luaL_checkudata(L, 1, LEV_BASE);
  lua_settop(L, 1);
  if (base->event_base == NULL)
    levL_dropref(L, base);    /* it may never have been opened */
  if (base->event_base == NULL || base->closing)
    return 1;
  if (levL_isgone(base))
    reportgone(L, base);
  else
    levL_own(base);
  while (base->objects.next != &base->objects)
    levL_free(base->objects.next);
  free(base->common);         /* here: a loop that runs may never end */
  base->common = NULL;
  base->ncommon = 0;
  free(base->desk);
  base->desk = NULL;
  levL_freecounter(base);
  base->unsent = false;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, LEV_UVANCHORS);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, LEV_UVERRORCB);
  if (base->looping)
    event_base_loopbreak(base->event_base);
  if (base->looping || base->calls > 0)
    base->closing = true;
  else
    levL_freebase(L, base);
  return 1;
}

LEV_EXPORT void lualibevent_detach (lua_State *L,
                                    struct event_base *event_base) {
  if (levL_hostbase(L, event_base)) {
    lua_pushcfunction(L, lev_base_close);
    lua_rawgetp(L, LUA_REGISTRYINDEX, event_base);
    lua_call(L, 1, 0);
  }
}

static int lev_base__tostring (lua_State *L) {
  lev_Base *base = luaL_checkudata(L, 1, LEV_BASE);
  return levL_tostring(L, LEV_BASE, base->event_base && !base->closing);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"dispatch", lev_base_dispatch},
  {"loop", lev_base_loop},
  {"loopexit", lev_base_loopexit},
  {"loopbreak", lev_base_loopbreak},
  {"loopcontinue", lev_base_loopcontinue},
  {"got_exit", lev_base_got_exit},
  {"got_break", lev_base_got_break},
  {"set_error_cb", lev_base_set_error_cb},
  {"reinit", lev_base_reinit},
  {"method", lev_base_method},
  {"features", lev_base_features},
  {"npriorities", lev_base_npriorities},
  {"num_events", lev_base_num_events},
  {"max_events", lev_base_max_events},
  {"gettimeofday_cached", lev_base_gettimeofday_cached},
  {"update_cache_time", lev_base_update_cache_time},
  {"gettime_monotonic", lev_base_gettime_monotonic},
  {"init_common_timeout", lev_base_init_common_timeout},
  {"close", lev_base_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_base_close},
  {"__close", lev_base_close},
  {"__tostring", lev_base__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"base", lev_base_new},
  {NULL, NULL}
};

/* [-1] the module */
void levL_openbase (lua_State *L) {
  levL_newtype(L, LEV_BASE, methods, metamethods);
  setloops(L, loops(L));          /* the key is there: no allocation later */
  if (loops(L) == 0)
    checkstack(L);
  luaL_setfuncs(L, constructors, 0);
}
