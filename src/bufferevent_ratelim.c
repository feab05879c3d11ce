/*
** bufferevent_ratelim.c: token buckets, for one bufferevent on a socket or
** for a group of them, and the sizes of single reads and writes.
**
** A bufferevent owns libevent's form of its limits. A group lives as long as
** the script or a member holds it. Its bucket is filled by a timer of ours,
** as libevent's own would keep the loop running for ever: ours runs while the
** members move bytes, and at any other time the next use fills up what has
** come together meanwhile.
*/
#include "lev_bufferevent.h"

#include <limits.h>
#include <stdlib.h>

#define TICK 0.1                /* seconds, unless the script has others */
#define LONGTICK 1000           /* milliseconds that are exact for any rate */
#define LATE 5                  /* a tick can be late by 1/5 s without a loss */
#define MINSHARE 64             /* libevent's own */

/* Bytes a tick, of reading and of writing; a rate of 0 is no limit. libevent
   takes numbers of reading for an int: none is larger. */
typedef struct lev_Limits {
  int rate[2], burst[2];
  struct timeval tick;
  struct ev_token_bucket_cfg *cfg;    /* the same for libevent, or NULL */
} Limits;

struct lev_Group {
  lev_Object o;
  struct bufferevent_rate_limit_group *group;
  struct event *refill;         /* libevent's timer in it: never added, but...*/
  struct event timer;           /* ...called by this one */
  Limits limits;
  size_t share;                 /* of set_min_share */
  uint64_t read, written;       /* totals from before the last set_cfg */
  unsigned members;
  bool moved;                   /* bytes, since the last tick */
};

/* {==== Limits ==== */

static const char *const limitnames[] = {
  "read", "write", "read_burst", "write_burst", "tick", NULL
};

/* An option in bytes; 0 where it is not given. */
static lua_Integer optbytes (lua_State *L, int arg, const char *name) {
  lua_Integer n = 0;
  if (levL_option(L, arg, name))
    n = levL_range(L, -1, arg, 1, INT_MAX);
  lua_pop(L, 2);
  return n;
}

/* The tick that is asked for, in milliseconds: libevent divides by them. */
static int opttick (lua_State *L, int arg) {
  lua_Number n = TICK;
  if (levL_option(L, arg, "tick")) {
    n = lua_tonumber(L, -1);
    if (lua_type(L, -1) != LUA_TNUMBER || !(n >= 0.001 && n <= 1))
      levL_expected(L, lua_gettop(L), arg, "seconds from 0.001 to 1");
  }
  lua_pop(L, 2);
  return (int)(n * 1000 + 0.5);
}

/* A tick has whole bytes: is what that cuts off more than 1 %? */
static bool isuneven (lua_Integer rate, int ms) {
  return rate * ms % 1000 * 100 > rate * ms;
}

/* One direction: 'rate' bytes a second. */
static void setrate (lua_State *L, int arg, Limits *l, int i, lua_Integer rate,
                     int ms) {
  lua_Integer bytes = rate * ms / 1000;
  lua_Integer burst = optbytes(L, arg, limitnames[i + 2]);
  luaL_argcheck(L, burst == 0 || rate > 0, arg, "a burst without a rate");
  luaL_argcheck(L, burst == 0 || burst >= bytes, arg,
                "a burst of less than a tick's bytes");
  if (burst == 0)
    burst = 2 * bytes > rate / LATE ? 2 * bytes : rate / LATE;
  l->rate[i] = (int)bytes;
  l->burst[i] = burst < INT_MAX ? (int)burst : INT_MAX;
}

/* {read =, write =, read_burst =, write_burst =, tick =} */
static void checklimits (lua_State *L, int arg, Limits *l) {
  lua_Integer read, write;
  int ms;
  if (!lua_istable(L, arg))
    levL_expected(L, arg, arg, "table of limits");
  levL_checkoptions(L, arg, limitnames);
  read = optbytes(L, arg, "read");
  write = optbytes(L, arg, "write");
  luaL_argcheck(L, read > 0 || write > 0, arg,
                "options 'read' or 'write' expected");
  ms = opttick(L, arg);
  while (ms < LONGTICK && (isuneven(read, ms) || isuneven(write, ms)))
    ms++;
  setrate(L, arg, l, 0, read, ms);
  setrate(L, arg, l, 1, write, ms);
  l->tick.tv_sec = ms / 1000;
  l->tick.tv_usec = ms % 1000 * 1000;
}

static struct ev_token_bucket_cfg *newcfg (lua_State *L, const Limits *l) {
  size_t rate[2], burst[2];
  struct ev_token_bucket_cfg *cfg;
  for (int i = 0; i < 2; i++) {
    rate[i] = l->rate[i] ? (size_t)l->rate[i] : EV_RATE_LIMIT_MAX;
    burst[i] = l->rate[i] ? (size_t)l->burst[i] : EV_RATE_LIMIT_MAX;
  }
  cfg = ev_token_bucket_cfg_new(rate[0], burst[0], rate[1], burst[1],
                                &l->tick);
  if (cfg == NULL)
    levL_nomemory(L);
  return cfg;
}

/* A new bucket has a tick's bytes. How many of them are too many, where the
   old one had 'left'? */
static ev_ssize_t surplus (ev_ssize_t left, const Limits *old,
                           const Limits *new, int i) {
  if (old->rate[i] == 0 || new->rate[i] == 0)
    return 0;
  return new->rate[i] - (left < new->burst[i] ? left : new->burst[i]);
}

/* The bytes that may move in a direction now; nil where it has no limit. */
static int pushleft (lua_State *L, const Limits *l, int i, ev_ssize_t left) {
  if (l && l->rate[i])
    lua_pushinteger(L, left);
  else
    luaL_pushfail(L);
  return 1;
}

/* The bytes at 2, to be counted. Those given back fill the bucket and no
   more: from an overfull one libevent would never again take anything away. */
static ev_ssize_t checkcount (lua_State *L, const Limits *l, int i,
                              ev_ssize_t left) {
  lua_Integer n = levL_range(L, 2, 2, -INT_MAX, INT_MAX);
  luaL_argcheck(L, l && l->rate[i], 1, i == 0 ? "there is no read limit"
                                              : "there is no write limit");
  return n < left - l->burst[i] ? left - l->burst[i] : (ev_ssize_t)n;
}

/* ====} */

/* {==== Groups ==== */

/* A group never calls. */
static bool isactive (const lev_Object *o) {
  (void)o;
  return false;
}

/* Hands out the bytes of the ticks since the last time. */
static void refill (lev_Group *g) {
  event_get_callback(g->refill)(-1, EV_TIMEOUT, g->group);
}

/* May the members be waiting? They go on with the least share. */
static bool isshort (const lev_Group *g) {
  ev_ssize_t least = (ev_ssize_t)g->share;
  for (int i = 0; i < 2; i++)
    if (g->limits.rate[i] && least > g->limits.rate[i])
      least = g->limits.rate[i];
  return bufferevent_rate_limit_group_get_read_limit(g->group) < least
         || bufferevent_rate_limit_group_get_write_limit(g->group) < least;
}

static void ontick (evutil_socket_t fd, short what, void *arg) {
  lev_Group *g = arg;
  (void)fd; (void)what;
  refill(g);
  if (!g->moved && !isshort(g))
    event_del(&g->timer);
  g->moved = false;
}

/* The members move bytes: the timer goes on. */
static void work (lev_Group *g) {
  g->moved = true;
  if (g->members > 0 && !event_pending(&g->timer, EV_TIMEOUT, NULL)) {
    refill(g);
    event_add(&g->timer, &g->limits.tick);
  }
}

/* evbuffer's callback, for the input and the output of a member */
static void onmove (struct evbuffer *buf, const struct evbuffer_cb_info *info,
                    void *arg) {
  (void)buf; (void)info;
  work(arg);
}

static void unwatch (lev_Bufferevent *b, lev_Group *g) {
  evbuffer_remove_cb(bufferevent_get_input(b->bev), onmove, g);
  evbuffer_remove_cb(bufferevent_get_output(b->bev), onmove, g);
}

/* C only, like all that ends a membership. */
static void leavegroup (lev_Bufferevent *b) {
  lev_Group *g = b->group;
  if (g == NULL)
    return;
  unwatch(b, g);
  bufferevent_remove_from_rate_limit_group(b->bev);
  b->group = NULL;
  if (--g->members == 0)
    event_del(&g->timer);
}

static bool joingroup (lev_Bufferevent *b, lev_Group *g) {
  if (!evbuffer_add_cb(bufferevent_get_input(b->bev), onmove, g)
      || !evbuffer_add_cb(bufferevent_get_output(b->bev), onmove, g)
      || bufferevent_add_to_rate_limit_group(b->bev, g->group) < 0) {
    unwatch(b, g);
    return false;
  }
  b->group = g;
  g->members++;
  work(g);
  return true;
}

static void eachmember (lev_Group *g, void (*f) (lev_Bufferevent *b)) {
  lev_Object *head = &g->o.base->objects;
  for (lev_Object *o = head->next; o != head; o = o->next)
    if (levL_isbufferevent(o) && ((lev_Bufferevent *)o)->group == g)
      f((lev_Bufferevent *)o);
}

static void freegroup (lev_Object *o) {
  lev_Group *g = (lev_Group *)o;
  eachmember(g, leavegroup);
  bufferevent_rate_limit_group_free(g->group);
  g->group = NULL;
}

static const lev_Kind kind = {
  .tname = LEV_RATELIMITGROUP, .active = isactive, .free = freegroup
};

/* Its bucket is up to date. */
static lev_Group *checkgroup (lua_State *L, int arg) {
  lev_Group *g = levL_checkopen(L, arg, &kind);
  levL_freshen(g->o.base);
  refill(g);
  return g;
}

typedef struct Search { const void *arg; struct event *found; } Search;

static int findevent (const struct event_base *base, const struct event *ev,
                      void *arg) {
  Search *search = arg;
  (void)base;
  if (event_get_callback_arg(ev) == search->arg)
    search->found = (struct event *)ev;
  return search->found != NULL;
}

/* Gives 'g' a group of libevent's with these limits. That tells nobody of its
   timer, which is found among the events of the base. */
static void newgroup (lua_State *L, lev_Group *g, struct event_base *base,
                      const Limits *l) {
  struct ev_token_bucket_cfg *cfg = newcfg(L, l);
  struct bufferevent_rate_limit_group *group =
    bufferevent_rate_limit_group_new(base, cfg);
  Search search = {group, NULL};
  ev_token_bucket_cfg_free(cfg);
  if (group)
    event_base_foreach_event(base, findevent, &search);
  if (search.found == NULL) {
    if (group)
      bufferevent_rate_limit_group_free(group);
    levL_nomemory(L);
  }
  event_del(search.found);
  g->group = group;
  g->refill = search.found;
  g->limits = *l;
}

/* base:rate_limit_group(limits) -> group */
static int lev_base_rate_limit_group (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  Limits limits = {{0, 0}, {0, 0}, {0, 0}, NULL};
  lev_Group *g;
  lua_settop(L, 2);
  checklimits(L, 2, &limits);
  levL_freshen(base);
  g = levL_newobject(L, 1, &kind, sizeof(*g), LEV_UVBASE);
  newgroup(L, g, base->event_base, &limits);
  g->share = MINSHARE;
  event_assign(&g->timer, base->event_base, -1, EV_PERSIST, ontick, g);
  levL_adopt(base, &g->o);
  return 1;
}

static void rejoin (lev_Bufferevent *b) {
  bufferevent_add_to_rate_limit_group(b->bev, b->group->group);
}

/* libevent counts ticks from 1970 on: after a change of their length its
   bucket would be far ahead of the time, or behind it. So the members move to
   a new one, which gets what the old one had left. */
static void renew (lua_State *L, lev_Group *g, const Limits *limits) {
  struct bufferevent_rate_limit_group *old = g->group;
  Limits before = g->limits;
  ev_ssize_t read = bufferevent_rate_limit_group_get_read_limit(old);
  ev_ssize_t write = bufferevent_rate_limit_group_get_write_limit(old);
  newgroup(L, g, g->o.base->event_base, limits);
  bufferevent_rate_limit_group_decrement_read(g->group,
      surplus(read, &before, limits, 0));
  bufferevent_rate_limit_group_decrement_write(g->group,
      surplus(write, &before, limits, 1));
  bufferevent_rate_limit_group_set_min_share(g->group, g->share);
  eachmember(g, rejoin);
  bufferevent_rate_limit_group_free(old);
  event_del(&g->timer);
  work(g);
}

static void gettotals (lev_Group *g, uint64_t *read, uint64_t *written) {
  ev_uint64_t r, w;
  bufferevent_rate_limit_group_get_totals(g->group, &r, &w);
  *read = g->read + r;
  *written = g->written + w;
}

/* ratelimitgroup:set_cfg(limits) -> group */
static int lev_ratelimitgroup_set_cfg (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  Limits limits = {{0, 0}, {0, 0}, {0, 0}, NULL};
  uint64_t read, written;
  lua_settop(L, 2);
  checklimits(L, 2, &limits);
  gettotals(g, &read, &written);
  renew(L, g, &limits);
  g->read = read;
  g->written = written;
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:set_min_share(bytes) -> group; with 0 libevent would read no
   bytes, and take that for the end */
static int lev_ratelimitgroup_set_min_share (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  g->share = (size_t)levL_range(L, 2, 2, 1, INT_MAX);
  bufferevent_rate_limit_group_set_min_share(g->group, g->share);
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:read_limit() -> bytes | nil */
static int lev_ratelimitgroup_read_limit (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  return pushleft(L, &g->limits, 0,
                  bufferevent_rate_limit_group_get_read_limit(g->group));
}

/* ratelimitgroup:write_limit() -> bytes | nil */
static int lev_ratelimitgroup_write_limit (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  return pushleft(L, &g->limits, 1,
                  bufferevent_rate_limit_group_get_write_limit(g->group));
}

/* ratelimitgroup:decrement_read(bytes) -> group */
static int lev_ratelimitgroup_decrement_read (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  ev_ssize_t left = bufferevent_rate_limit_group_get_read_limit(g->group);
  ev_ssize_t n = checkcount(L, &g->limits, 0, left);
  bufferevent_rate_limit_group_decrement_read(g->group, n);
  work(g);
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:decrement_write(bytes) -> group */
static int lev_ratelimitgroup_decrement_write (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  ev_ssize_t left = bufferevent_rate_limit_group_get_write_limit(g->group);
  ev_ssize_t n = checkcount(L, &g->limits, 1, left);
  bufferevent_rate_limit_group_decrement_write(g->group, n);
  work(g);
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:totals() -> read, written */
static int lev_ratelimitgroup_totals (lua_State *L) {
  uint64_t read, written;
  gettotals(checkgroup(L, 1), &read, &written);
  lua_pushinteger(L, (lua_Integer)read);
  lua_pushinteger(L, (lua_Integer)written);
  return 2;
}

/* ratelimitgroup:reset_totals() -> group */
static int lev_ratelimitgroup_reset_totals (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  bufferevent_rate_limit_group_reset_totals(g->group);
  g->read = g->written = 0;
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

static void freelimits (Limits *l) {
  if (l)
    ev_token_bucket_cfg_free(l->cfg);
  free(l);
}

static void droplimits (lev_Bufferevent *b) {
  bufferevent_set_rate_limit(b->bev, NULL);
  freelimits(b->limits);
  b->limits = NULL;
}

/* What waits for its bytes must not begin again now, when the descriptor may
   not be open any more. And a closed member would stay one until libevent
   finalizes it. */
void levL_unlimit (lev_Bufferevent *b) {
  if (b->group == NULL && b->limits == NULL)
    return;
  bufferevent_disable(b->bev, LEV_DIRECTIONS);
  leavegroup(b);
  droplimits(b);
}

static Limits *newlimits (lua_State *L, const Limits *limits) {
  struct ev_token_bucket_cfg *cfg = newcfg(L, limits);
  Limits *l = malloc(sizeof(*l));
  if (l) {
    *l = *limits;
    l->cfg = cfg;
    return l;
  }
  ev_token_bucket_cfg_free(cfg);
  levL_nomemory(L);
  return NULL;
}

/* Buckets that are new, for the reason that renew has; false without memory,
   which can only be when there were no limits before. */
static bool setlimits (lev_Bufferevent *b, Limits *l) {
  Limits *old = b->limits;
  ev_ssize_t read = bufferevent_get_read_limit(b->bev);
  ev_ssize_t write = bufferevent_get_write_limit(b->bev);
  bufferevent_set_rate_limit(b->bev, NULL);
  if (bufferevent_set_rate_limit(b->bev, l->cfg) < 0)
    return false;
  b->limits = l;
  if (old) {
    bufferevent_decrement_read_limit(b->bev, surplus(read, old, l, 0));
    bufferevent_decrement_write_limit(b->bev, surplus(write, old, l, 1));
  }
  freelimits(old);
  return true;
}

/* bufferevent:set_rate_limit([limits]) -> bufferevent */
static int lev_bufferevent_set_rate_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  Limits limits = {{0, 0}, {0, 0}, {0, 0}, NULL};
  Limits *l = NULL;
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) {
    checklimits(L, 2, &limits);
    l = newlimits(L, &limits);
  }
  levL_freshen(b->o.base);
  if (l == NULL)
    droplimits(b);
  else if (!setlimits(b, l)) {
    freelimits(l);
    return levL_nomemory(L);
  }
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
    if (!joingroup(b, g))
      return levL_nomemory(L);
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

/* bufferevent:read_limit() -> bytes | nil */
static int lev_bufferevent_read_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  return pushleft(L, b->limits, 0, bufferevent_get_read_limit(b->bev));
}

/* bufferevent:write_limit() -> bytes | nil */
static int lev_bufferevent_write_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  return pushleft(L, b->limits, 1, bufferevent_get_write_limit(b->bev));
}

/* bufferevent:decrement_read_limit(bytes) -> bufferevent */
static int lev_bufferevent_decrement_read_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  ev_ssize_t left = bufferevent_get_read_limit(b->bev);
  ev_ssize_t n = checkcount(L, b->limits, 0, left);
  bufferevent_decrement_read_limit(b->bev, n);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:decrement_write_limit(bytes) -> bufferevent */
static int lev_bufferevent_decrement_write_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  ev_ssize_t left = bufferevent_get_write_limit(b->bev);
  ev_ssize_t n = checkcount(L, b->limits, 1, left);
  bufferevent_decrement_write_limit(b->bev, n);
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
