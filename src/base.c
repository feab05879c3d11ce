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
#include <string.h>

#define MAXLOOPS 32           /* loops inside callbacks of other loops */

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

/* {==== What the objects ask of their base ==== */

lev_Base *levL_checkbase (lua_State *L, int arg) {
  lev_Base *base = luaL_checkudata(L, arg, LEV_BASE);
  if (base->event_base == NULL || base->closing)
    luaL_argerror(L, arg, "Base is closed");
  levL_own(base);
  return base;
}

/* A child process shares its parent's epoll set until event_reinit: an event
   that it deletes, even by collecting garbage, is deleted for the parent. So
   the first touch after a fork makes the back end the child's own. */
void levL_own (lev_Base *base) {
  if (base->forks != levL_forks() && base->event_base) {
    base->forks = levL_forks();
    event_reinit(base->event_base);
  }
}

/* libevent counts timeouts from a time that it reads once a turn. After a
   slow callback that time lies in the past, and timers would be too early
   when they are set, and too late when the loop sleeps. Costs 7 ns. */
void levL_freshen (lev_Base *base) {
  if (base->event_base)
    event_base_update_cache_time(base->event_base);
}

/* ====} */

/* {==== Constructor ==== */

static const char *const optionnames[] = {
  "method", "avoid", "features", "flags", "priorities", "max_interval",
  "max_callbacks", "min_priority", NULL
};

typedef struct Options {
  struct event_config *config;
  int npriorities;
} Options;

static bool ismethod (const char *name) {
  for (const char **m = event_get_supported_methods(); *m; m++)
    if (strcmp(*m, name) == 0)
      return true;
  return false;
}

static const char *checkmethod (lua_State *L, const char *option) {
  if (lua_type(L, -1) != LUA_TSTRING || !ismethod(lua_tostring(L, -1)))
    levL_expected(L, -1, 1, lua_pushfstring(L,
        "option '%s': a name from libevent.methods()", option));
  return lua_tostring(L, -1);
}

/* method = "poll": all but this one are avoided */
static void usemethod (lua_State *L, struct event_config *config) {
  const char *name = checkmethod(L, "method");
  for (const char **m = event_get_supported_methods(); *m; m++)
    if (strcmp(*m, name) != 0)
      event_config_avoid_method(config, *m);
}

/* avoid = "epoll", or a list of names */
static void avoidmethods (lua_State *L, struct event_config *config) {
  if (!lua_istable(L, -1)) {
    event_config_avoid_method(config, checkmethod(L, "avoid"));
    return;
  }
  for (lua_Integer i = 1; lua_geti(L, -1, i) != LUA_TNIL; i++) {
    event_config_avoid_method(config, checkmethod(L, "avoid"));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void dispatchlimits (lua_State *L, struct event_config *config) {
  struct timeval tv;
  const struct timeval *interval = NULL;
  int callbacks = -1, priority = 0;
  if (levL_option(L, 1, "max_interval"))
    interval = levL_time(L, -1, 1, &tv);
  if (levL_option(L, 1, "max_callbacks"))
    callbacks = (int)levL_range(L, -1, 1, 1, INT_MAX);
  if (levL_option(L, 1, "min_priority"))
    priority = (int)levL_range(L, -1, 1, 0, EVENT_MAX_PRIORITIES - 1);
  if (interval || callbacks >= 0)
    event_config_set_max_dispatch_interval(config, interval, callbacks,
                                           priority);
}

/* Protected, so that the config is freed: [1] options, [2] Options */
static int configure (lua_State *L) {
  Options *o = lua_touserdata(L, 2);
  int flags = EVENT_BASE_FLAG_NOLOCK;       /* one thread for each base */
  if (levL_option(L, 1, "method"))
    usemethod(L, o->config);
  if (levL_option(L, 1, "avoid"))
    avoidmethods(L, o->config);
  if (levL_option(L, 1, "features"))
    event_config_require_features(o->config,
                                  levL_words(L, -1, 1, featurewords));
  if (levL_option(L, 1, "flags"))
    flags |= levL_words(L, -1, 1, flagwords);
  event_config_set_flag(o->config, flags);
  if (levL_option(L, 1, "priorities"))
    o->npriorities = (int)levL_range(L, -1, 1, 1, EVENT_MAX_PRIORITIES - 1);
  dispatchlimits(L, o->config);
  return 0;
}

static void onloopexit (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what;
  event_base_loopexit(((lev_Base *)arg)->event_base, NULL);
}

/* Pushes a closed Base. */
static lev_Base *newbase (lua_State *L) {
  lev_Base *base = lua_newuserdatauv(L, sizeof(*base), LEV_NUVBASE);
  memset(base, 0, sizeof(*base));
  base->objects.prev = base->objects.next = &base->objects;
  base->forks = levL_forks();
  luaL_setmetatable(L, LEV_BASE);
  lua_newtable(L);
  lua_setiuservalue(L, -2, LEV_UVANCHORS);
  base->L = lua_newthread(L);
  lua_setiuservalue(L, -2, LEV_UVTHREAD);
  return base;
}

static void openbase (lev_Base *base, struct event_base *event_base) {
  base->event_base = event_base;
  event_assign(&base->exit, event_base, -1, 0, onloopexit, base);
}

/* libevent.base([options]) -> base | nil, message */
static int lev_base_new (lua_State *L) {
  Options o = {NULL, 1};
  struct event_base *event_base;
  lev_Base *base;
  int status;
  lua_settop(L, 1);
  levL_checkoptions(L, 1, optionnames);
  base = newbase(L);
  o.config = event_config_new();
  if (o.config == NULL)
    return levL_nomemory(L);
  lua_pushcfunction(L, configure);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, &o);
  status = lua_pcall(L, 2, 0, 0);
  if (status != LUA_OK) {
    event_config_free(o.config);
    return lua_error(L);
  }
  event_base = event_base_new_with_config(o.config);
  event_config_free(o.config);
  if (event_base == NULL) {
    luaL_pushfail(L);
    lua_pushliteral(L, "no method of libevent's has these features");
    return 2;
  }
  if (event_base_priority_init(event_base, o.npriorities) < 0) {
    event_base_free(event_base);
    return levL_nomemory(L);
  }
  base->owned = true;
  openbase(base, event_base);
  return 1;
}

/* ====} */

/* {==== The loop ==== */

/* Loops in callbacks of other bases' loops are counted: each base has a
   thread of its own, where Lua's count of C calls begins anew. */
static const char loopskey = 0;

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

static void freebase (lev_Base *base);

static int runloop (lua_State *L, lev_Base *base, int flags) {
  int result, err;
  if (base->looping)
    return luaL_error(L, "the loop of this base runs already");
  if (loops(L) >= MAXLOOPS)
    return luaL_error(L, "too many loops inside callbacks of other loops");
  lua_pushvalue(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, base);  /* the anchor of a base that runs */
  setloops(L, loops(L) + 1);
  base->looping = true;
  result = event_base_loop(base->event_base, flags);
  err = errno;
  base->looping = false;
  if (base->owned) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, base);
  }
  setloops(L, loops(L) - 1);
  event_del(&base->exit);                   /* the next loop is not its own */
  if (base->closing)
    freebase(base);
  if (base->nomemory) {
    base->failed = base->nomemory = false;
    return levL_nomemory(L);
  }
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
  return runloop(L, base, flags);
}

/* base:loopexit([seconds]) -> base */
static int lev_base_loopexit (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  struct timeval tv, now, due;
  const struct timeval *after = levL_time(L, 2, 2, &tv);
  levL_freshen(base);
  if (after == NULL)
    event_base_loopexit(base->event_base, NULL);
  else if (!event_pending(&base->exit, EV_TIMEOUT, &due))
    event_add(&base->exit, after);
  else {                                    /* the earlier one counts */
    event_base_gettimeofday_cached(base->event_base, &now);
    evutil_timeradd(&now, after, &now);
    if (evutil_timercmp(&now, &due, <))
      event_add(&base->exit, after);
  }
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
  luaL_argcheck(L, base->event_base && !base->closing, 1, "Base is closed");
  base->forks = levL_forks();
  if (event_reinit(base->event_base) < 0)
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

/* base:gettimeofday_cached() -> seconds */
static int lev_base_gettimeofday_cached (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  struct timeval tv;
  event_base_gettimeofday_cached(base->event_base, &tv);
  lua_pushnumber(L, (lua_Number)tv.tv_sec + (lua_Number)tv.tv_usec / 1e6);
  return 1;
}

/* base:update_cache_time() -> base */
static int lev_base_update_cache_time (lua_State *L) {
  levL_freshen(levL_checkbase(L, 1));
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== Close ==== */

static void freebase (lev_Base *base) {
  struct event_base *event_base = base->event_base;
  event_del(&base->exit);
  base->event_base = NULL;
  base->closing = false;
  if (base->owned)
    event_base_free(event_base);
}

/* base:close() -> base; __close and __gc too */
static int lev_base_close (lua_State *L) {
  lev_Base *base = luaL_checkudata(L, 1, LEV_BASE);
  lua_settop(L, 1);
  if (base->event_base == NULL || base->closing)
    return 1;
  levL_own(base);
  while (base->objects.next != &base->objects)
    levL_free(base->objects.next);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, LEV_UVANCHORS);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, LEV_UVERRORCB);
  if (base->looping) {
    base->closing = true;
    event_base_loopbreak(base->event_base);
  }
  else
    freebase(base);
  return 1;
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
  luaL_setfuncs(L, constructors, 0);
}
