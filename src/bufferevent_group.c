/*
** bufferevent_group.c: limits that bufferevents on sockets share.
**
** A group lives as long as the script or a member holds it. Its bucket is
** filled by a timer of ours, as libevent's own would keep the loop running for
** ever: ours runs while the members move bytes, and at any other time the next
** use fills up what has come together meanwhile.
*/
#include "lev_bufferevent.h"

#include <limits.h>

#define MINSHARE 64             /* libevent's own */

struct lev_Group {
  lev_Object o;
  struct bufferevent_rate_limit_group *group;
  struct event *refill;         /* libevent's timer in it: never added, but...*/
  struct event timer;           /* ...called by this one */
  lev_Limits limits;
  size_t share;                 /* of set_min_share */
  uint64_t read, written;       /* totals that libevent has not: from before the
                                   last set_cfg, and past it */
  unsigned members;
  bool moved;                   /* bytes, since the last tick */
};

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
void levL_leavegroup (lev_Bufferevent *b) {
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

/* So many bytes have moved past libevent. */
void levL_countgroup (lev_Group *g, int i, size_t n) {
  if (i == 0) {
    bufferevent_rate_limit_group_decrement_read(g->group, (ev_ssize_t)n);
    g->read += n;
  }
  else {
    bufferevent_rate_limit_group_decrement_write(g->group, (ev_ssize_t)n);
    g->written += n;
  }
}

static void eachmember (lev_Group *g, void (*f) (lev_Bufferevent *b)) {
  lev_Object *head = &g->o.base->objects;
  for (lev_Object *o = head->next; o != head; o = o->next)
    if (levL_isbufferevent(o) && ((lev_Bufferevent *)o)->group == g)
      f((lev_Bufferevent *)o);
}

static void freegroup (lev_Object *o) {
  lev_Group *g = (lev_Group *)o;
  eachmember(g, levL_leavegroup);
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
                      const lev_Limits *l) {
  struct ev_token_bucket_cfg *cfg = levL_newcfg(L, l);
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
  lev_Limits limits;
  lev_Group *g;
  lua_settop(L, 2);
  levL_checklimits(L, 2, &limits);
  base->timed = true;
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
static void renew (lua_State *L, lev_Group *g, const lev_Limits *limits) {
  struct bufferevent_rate_limit_group *old = g->group;
  lev_Limits before = g->limits;
  ev_ssize_t read = bufferevent_rate_limit_group_get_read_limit(old);
  ev_ssize_t write = bufferevent_rate_limit_group_get_write_limit(old);
  newgroup(L, g, g->o.base->event_base, limits);
  bufferevent_rate_limit_group_decrement_read(g->group,
      levL_surplus(read, &before, limits, 0));
  bufferevent_rate_limit_group_decrement_write(g->group,
      levL_surplus(write, &before, limits, 1));
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
  lev_Limits limits;
  uint64_t read, written;
  lua_settop(L, 2);
  levL_checklimits(L, 2, &limits);
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
  return levL_pushleft(L, &g->limits, 0,
                  bufferevent_rate_limit_group_get_read_limit(g->group));
}

/* ratelimitgroup:write_limit() -> bytes | nil */
static int lev_ratelimitgroup_write_limit (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  return levL_pushleft(L, &g->limits, 1,
                  bufferevent_rate_limit_group_get_write_limit(g->group));
}

/* ratelimitgroup:decrement_read(bytes) -> group */
static int lev_ratelimitgroup_decrement_read (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  ev_ssize_t left = bufferevent_rate_limit_group_get_read_limit(g->group);
  ev_ssize_t n = levL_checkcount(L, &g->limits, 0, left);
  bufferevent_rate_limit_group_decrement_read(g->group, n);
  work(g);
  lua_settop(L, 1);
  return 1;
}

/* ratelimitgroup:decrement_write(bytes) -> group */
static int lev_ratelimitgroup_decrement_write (lua_State *L) {
  lev_Group *g = checkgroup(L, 1);
  ev_ssize_t left = bufferevent_rate_limit_group_get_write_limit(g->group);
  ev_ssize_t n = levL_checkcount(L, &g->limits, 1, left);
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

/* bufferevent:add_to_rate_limit_group(group) -> bufferevent */
static int lev_bufferevent_add_to_rate_limit_group (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  lev_Group *g = checkgroup(L, 2);
  levL_needmore(L, 1);
  luaL_argcheck(L, g->o.base == levL_checksocket(L, 1)->o.base, 2,
                "group is of another base");
  checkgroup(L, 2);           /* again, after an allocation */
  lua_settop(L, 2);
  if (b->group != g) {
    levL_leavegroup(b);
    if (!joingroup(b, g))
      return levL_nomemory(L);
    levL_setmore(L, 1, LEV_GROUP);
  }
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:remove_from_rate_limit_group() -> bufferevent */
static int lev_bufferevent_remove_from_rate_limit_group (lua_State *L) {
  levL_leavegroup(levL_checksocket(L, 1));
  lua_settop(L, 1);
  lua_pushnil(L);
  levL_setmore(L, 1, LEV_GROUP);
  return 1;
}

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

static const luaL_Reg membermethods[] = {
  {"add_to_rate_limit_group", lev_bufferevent_add_to_rate_limit_group},
  {"remove_from_rate_limit_group",
   lev_bufferevent_remove_from_rate_limit_group},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"rate_limit_group", lev_base_rate_limit_group},
  {NULL, NULL}
};

void levL_openbufferevent_group (lua_State *L) {
  levL_newtype(L, LEV_RATELIMITGROUP, methods, metamethods);
  levL_addmethods(L, LEV_BUFFEREVENT, membermethods);
  levL_addmethods(L, LEV_BASE, constructors);
}
