/*
** bufferevent_ratelim.c: token buckets, for one bufferevent on a socket or
** for a group of them, and the sizes of single reads and writes.
**
** A bufferevent owns libevent's form of its limits. A group lives as long as
** the script or a member holds it; its refilling timer runs while it has
** members, so that a group alone keeps no loop running.
*/
#include "lev_bufferevent.h"

#include <limits.h>

/* A rate is so many bytes a tick: short ticks make an even stream, long ones
   an exact one. */
#define SHORTTICK 0.1
#define LONGTICK 1.0
#define SLOW 1000               /* bytes a second that take long ticks */

struct lev_Group {
  lev_Object o;
  struct bufferevent_rate_limit_group *group;
  struct event *refill;         /* libevent's timer in it... */
  struct timeval tick;          /* ...and its interval */
  unsigned members;
};

/* {==== Limits ==== */

static const char *const limitnames[] = {
  "read", "write", "read_burst", "write_burst", "tick", NULL
};

/* The two directions as libevent has them: bytes a tick. */
typedef struct Limits {
  size_t rate[2], burst[2];
  struct timeval tv;
} Limits;

/* An option in bytes, or 'def' */
static lua_Integer optbytes (lua_State *L, int arg, const char *name,
                             lua_Integer def) {
  lua_Integer n = def;
  if (levL_option(L, arg, name))
    n = levL_range(L, -1, arg, 1, LUA_MAXINTEGER);
  lua_pop(L, 2);
  return n;
}

/* The tick that is asked for, or the best one for that rate. */
static lua_Number checktick (lua_State *L, int arg, lua_Integer slowest,
                             struct timeval *tv) {
  bool given = levL_option(L, arg, "tick");
  if (!given) {
    lua_pop(L, 1);
    lua_pushnumber(L, slowest < SLOW ? LONGTICK : SHORTTICK);
  }
  levL_time(L, -1, arg, tv);
  if (tv->tv_sec == 0 && tv->tv_usec < 1000)
    levL_expected(L, -1, arg, "seconds from 0.001");
  lua_pop(L, 2);
  return (lua_Number)tv->tv_sec + (lua_Number)tv->tv_usec / 1e6;
}

/* One direction. A burst of two ticks, unless given: a tick that comes late
   is not lost. */
static void setrate (lua_State *L, int arg, Limits *l, int i, lua_Integer rate,
                     lua_Number tick) {
  lua_Number bytes = (lua_Number)rate * tick;
  lua_Integer burst = optbytes(L, arg, limitnames[i + 2], 0);
  l->rate[i] = l->burst[i] = EV_RATE_LIMIT_MAX;
  if (rate == 0 || bytes >= (lua_Number)(EV_RATE_LIMIT_MAX / 2)) {
    luaL_argcheck(L, burst == 0 || rate > 0, arg, "a burst without a rate");
    return;
  }
  luaL_argcheck(L, bytes >= 1, arg, "less than a byte a tick");
  l->rate[i] = (size_t)bytes;
  l->burst[i] = burst > 0 ? (size_t)burst : 2 * l->rate[i];
  luaL_argcheck(L, l->burst[i] >= l->rate[i]
                   && l->burst[i] <= EV_RATE_LIMIT_MAX, arg,
                "a burst of less than a tick's bytes");
}

/* {read =, write =, read_burst =, write_burst =, tick =} */
static void checklimits (lua_State *L, int arg, Limits *l) {
  lua_Integer read, write, slowest;
  lua_Number tick;
  if (!lua_istable(L, arg))
    levL_expected(L, arg, arg, "table of limits");
  levL_checkoptions(L, arg, limitnames);
  read = optbytes(L, arg, "read", 0);
  write = optbytes(L, arg, "write", 0);
  luaL_argcheck(L, read > 0 || write > 0, arg,
                "options 'read' or 'write' expected");
  slowest = (read == 0 || (write > 0 && write < read)) ? write : read;
  tick = checktick(L, arg, slowest, &l->tv);
  setrate(L, arg, l, 0, read, tick);
  setrate(L, arg, l, 1, write, tick);
}

static struct ev_token_bucket_cfg *newcfg (lua_State *L, const Limits *l) {
  struct ev_token_bucket_cfg *cfg =
    ev_token_bucket_cfg_new(l->rate[0], l->burst[0], l->rate[1], l->burst[1],
                            &l->tv);
  if (cfg == NULL)
    levL_nomemory(L);
  return cfg;
}

/* ====} */

/* {==== Groups ==== */

/* A group never calls. */
static bool isactive (const lev_Object *o) {
  (void)o;
  return false;
}

/* C only, like all that ends a membership. */
static void leavegroup (lev_Bufferevent *b) {
  lev_Group *g = b->group;
  if (g == NULL)
    return;
  bufferevent_remove_from_rate_limit_group(b->bev);
  b->group = NULL;
  if (--g->members == 0 && g->refill)
    event_del(g->refill);
}

static void freegroup (lev_Object *o) {
  lev_Group *g = (lev_Group *)o;
  lev_Object *head = &o->base->objects;
  for (lev_Object *m = head->next; m != head && g->members > 0; m = m->next)
    if (levL_isbufferevent(m) && ((lev_Bufferevent *)m)->group == g)
      leavegroup((lev_Bufferevent *)m);
  bufferevent_rate_limit_group_free(g->group);
  g->group = NULL;
}

static const lev_Kind kind = {
  .tname = LEV_RATELIMITGROUP, .active = isactive, .free = freegroup
};

static lev_Group *checkgroup (lua_State *L, int arg) {
  return levL_checkopen(L, arg, &kind);
}

/* libevent's group tells nobody of its timer. */
static int findrefill (const struct event_base *base, const struct event *ev,
                       void *arg) {
  lev_Group *g = arg;
  (void)base;
  if (event_get_callback_arg(ev) != g->group)
    return 0;
  g->refill = (struct event *)ev;
  return 1;
}

/* base:rate_limit_group(limits) -> group */
static int lev_base_rate_limit_group (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  struct ev_token_bucket_cfg *cfg;
  Limits limits;
  lev_Group *g;
  lua_settop(L, 2);
  checklimits(L, 2, &limits);
  g = levL_newobject(L, 1, &kind, sizeof(*g), LEV_UVBASE);
  cfg = newcfg(L, &limits);
  g->group = bufferevent_rate_limit_group_new(base->event_base, cfg);
  ev_token_bucket_cfg_free(cfg);
  if (g->group == NULL)
    return levL_nomemory(L);
  g->tick = limits.tv;
  event_base_foreach_event(base->event_base, findrefill, g);
  if (g->refill)
    event_del(g->refill);
  levL_adopt(base, &g->o);
  return 1;
}

/* ratelimitgroup:set_cfg(limits) -> group */
static int lev_ratelimitgroup_set_cfg (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  struct ev_token_bucket_cfg *cfg;
  Limits limits;
  lua_settop(L, 2);
  checklimits(L, 2, &limits);
  cfg = newcfg(L, &limits);
  bufferevent_rate_limit_group_set_cfg(g->group, cfg);
  ev_token_bucket_cfg_free(cfg);
  g->tick = limits.tv;
  if (g->members == 0 && g->refill)
    event_del(g->refill);               /* libevent has started it again */
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:set_min_share(bytes) -> group */
static int lev_ratelimitgroup_set_min_share (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  size_t share = (size_t)levL_range(L, 2, 2, 0, INT_MAX);
  bufferevent_rate_limit_group_set_min_share(g->group, share);
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:read_limit() -> bytes */
static int lev_ratelimitgroup_read_limit (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  lua_pushinteger(L, bufferevent_rate_limit_group_get_read_limit(g->group));
  return 1;
}

/* ratelimitgroup:write_limit() -> bytes */
static int lev_ratelimitgroup_write_limit (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  lua_pushinteger(L, bufferevent_rate_limit_group_get_write_limit(g->group));
  return 1;
}

static ev_ssize_t checkdecrement (lua_State *L) {
  return (ev_ssize_t)levL_range(L, 2, 2, -INT_MAX, INT_MAX);
}

/* ratelimitgroup:decrement_read(bytes) -> group */
static int lev_ratelimitgroup_decrement_read (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  bufferevent_rate_limit_group_decrement_read(g->group, checkdecrement(L));
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:decrement_write(bytes) -> group */
static int lev_ratelimitgroup_decrement_write (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  bufferevent_rate_limit_group_decrement_write(g->group, checkdecrement(L));
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:totals() -> read, written */
static int lev_ratelimitgroup_totals (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  ev_uint64_t read, written;
  bufferevent_rate_limit_group_get_totals(g->group, &read, &written);
  lua_pushinteger(L, (lua_Integer)read);
  lua_pushinteger(L, (lua_Integer)written);
  return 2;
}

/* ratelimitgroup:reset_totals() -> group */
static int lev_ratelimitgroup_reset_totals (lua_State *L) {
  bufferevent_rate_limit_group_reset_totals(checkgroup(L, 1)->group);
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:base() -> base */
static int lev_ratelimitgroup_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* ratelimitgroup:close() -> group */
static int lev_ratelimitgroup_close (lua_State *L) {
  return levL_close(L, &kind);
}

static int lev_ratelimitgroup__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_RATELIMITGROUP);
  return levL_tostring(L, LEV_RATELIMITGROUP, o->base != NULL);
}

/* ====} */

/* {==== Bufferevents ==== */

static void dropcfg (lev_Bufferevent *b) {
  if (b->limit) {
    bufferevent_set_rate_limit(b->bev, NULL);
    ev_token_bucket_cfg_free(b->limit);
    b->limit = NULL;
  }
}

/* A closed member would stay one until libevent finalizes it. */
void levL_unlimit (lev_Bufferevent *b) {
  leavegroup(b);
  dropcfg(b);
}

/* bufferevent:set_rate_limit([limits]) -> bufferevent */
static int lev_bufferevent_set_rate_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  struct ev_token_bucket_cfg *cfg = NULL;
  Limits limits;
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) {
    checklimits(L, 2, &limits);
    cfg = newcfg(L, &limits);
  }
  levL_freshen(b->o.base);
  if (cfg && bufferevent_set_rate_limit(b->bev, cfg) < 0) {
    ev_token_bucket_cfg_free(cfg);
    return levL_nomemory(L);
  }
  if (cfg == NULL)
    dropcfg(b);
  else if (b->limit)
    ev_token_bucket_cfg_free(b->limit);
  b->limit = cfg;
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:add_to_rate_limit_group(group) -> bufferevent */
static int lev_bufferevent_add_to_rate_limit_group (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  lev_Group *g = checkgroup(L, 2);
  luaL_argcheck(L, g->o.base == b->o.base, 2, "group is of another base");
  lua_settop(L, 2);
  if (b->group != g) {
    leavegroup(b);
    if (bufferevent_add_to_rate_limit_group(b->bev, g->group) < 0)
      return levL_nomemory(L);
    b->group = g;
    if (g->members++ == 0 && g->refill)
      event_add(g->refill, &g->tick);
    lua_setiuservalue(L, 1, LEV_UVGROUP);
  }
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:remove_from_rate_limit_group() -> bufferevent */
static int lev_bufferevent_remove_from_rate_limit_group (lua_State *L) {
  leavegroup(levL_checksocket(L, 1));
  lua_settop(L, 1);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, LEV_UVGROUP);
  return 1;
}

static int pushlimit (lua_State *L, const lev_Bufferevent *b, ev_ssize_t n) {
  if (b->limit)
    lua_pushinteger(L, n);
  else
    luaL_pushfail(L);
  return 1;
}

/* bufferevent:read_limit() -> bytes | nil */
static int lev_bufferevent_read_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  return pushlimit(L, b, bufferevent_get_read_limit(b->bev));
}

/* bufferevent:write_limit() -> bytes | nil */
static int lev_bufferevent_write_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  return pushlimit(L, b, bufferevent_get_write_limit(b->bev));
}

/* libevent asserts that there is a limit. */
static lev_Bufferevent *checklimited (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  luaL_argcheck(L, bufferevent_get_token_bucket_cfg(b->bev), 1,
                "Bufferevent has no rate limit");
  return b;
}

/* bufferevent:decrement_read_limit(bytes) -> bufferevent */
static int lev_bufferevent_decrement_read_limit (lua_State *L) {
  lev_Bufferevent *b = checklimited(L);
  bufferevent_decrement_read_limit(b->bev, checkdecrement(L));
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:decrement_write_limit(bytes) -> bufferevent */
static int lev_bufferevent_decrement_write_limit (lua_State *L) {
  lev_Bufferevent *b = checklimited(L);
  bufferevent_decrement_write_limit(b->bev, checkdecrement(L));
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:max_to_read() -> bytes */
static int lev_bufferevent_max_to_read (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  lua_pushinteger(L, bufferevent_get_max_to_read(b->bev));
  return 1;
}

/* bufferevent:max_to_write() -> bytes */
static int lev_bufferevent_max_to_write (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  lua_pushinteger(L, bufferevent_get_max_to_write(b->bev));
  return 1;
}

/* 0 is libevent's default. */
static size_t optsingle (lua_State *L) {
  if (lua_isnoneornil(L, 2))
    return 0;
  return (size_t)levL_range(L, 2, 2, 1, INT_MAX);
}

/* bufferevent:set_max_single_read([bytes]) -> bufferevent */
static int lev_bufferevent_set_max_single_read (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  bufferevent_set_max_single_read(b->bev, optsingle(L));
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:max_single_read() -> bytes */
static int lev_bufferevent_max_single_read (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  lua_pushinteger(L, bufferevent_get_max_single_read(b->bev));
  return 1;
}

/* bufferevent:set_max_single_write([bytes]) -> bufferevent */
static int lev_bufferevent_set_max_single_write (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  bufferevent_set_max_single_write(b->bev, optsingle(L));
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:max_single_write() -> bytes */
static int lev_bufferevent_max_single_write (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  lua_pushinteger(L, bufferevent_get_max_single_write(b->bev));
  return 1;
}

/* ====} */

static const luaL_Reg methods[] = {
  {"set_cfg", lev_ratelimitgroup_set_cfg},
  {"set_min_share", lev_ratelimitgroup_set_min_share},
  {"read_limit", lev_ratelimitgroup_read_limit},
  {"write_limit", lev_ratelimitgroup_write_limit},
  {"decrement_read", lev_ratelimitgroup_decrement_read},
  {"decrement_write", lev_ratelimitgroup_decrement_write},
  {"totals", lev_ratelimitgroup_totals},
  {"reset_totals", lev_ratelimitgroup_reset_totals},
  {"base", lev_ratelimitgroup_base},
  {"close", lev_ratelimitgroup_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_ratelimitgroup_close},
  {"__close", lev_ratelimitgroup_close},
  {"__tostring", lev_ratelimitgroup__tostring},
  {NULL, NULL}
};

static const luaL_Reg limitmethods[] = {
  {"set_rate_limit", lev_bufferevent_set_rate_limit},
  {"add_to_rate_limit_group", lev_bufferevent_add_to_rate_limit_group},
  {"remove_from_rate_limit_group",
   lev_bufferevent_remove_from_rate_limit_group},
  {"read_limit", lev_bufferevent_read_limit},
  {"write_limit", lev_bufferevent_write_limit},
  {"decrement_read_limit", lev_bufferevent_decrement_read_limit},
  {"decrement_write_limit", lev_bufferevent_decrement_write_limit},
  {"max_to_read", lev_bufferevent_max_to_read},
  {"max_to_write", lev_bufferevent_max_to_write},
  {"set_max_single_read", lev_bufferevent_set_max_single_read},
  {"max_single_read", lev_bufferevent_max_single_read},
  {"set_max_single_write", lev_bufferevent_set_max_single_write},
  {"max_single_write", lev_bufferevent_max_single_write},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"rate_limit_group", lev_base_rate_limit_group},
  {NULL, NULL}
};

void levL_openbufferevent_ratelim (lua_State *L) {
  levL_newtype(L, LEV_RATELIMITGROUP, methods, metamethods);
  levL_addmethods(L, LEV_BUFFEREVENT, limitmethods);
  levL_addmethods(L, LEV_BASE, constructors);
}
