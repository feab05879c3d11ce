/*
** bufferevent_ratelim.c: token buckets, what a group has in common with one
** bufferevent on a socket; those of one, and the sizes of its single reads and
** writes. A bufferevent owns libevent's form of its limits.
*/
#include "lev_bufferevent.h"

#include <limits.h>
#include <stdlib.h>

#define TICK 0.1                /* seconds, unless the script has others */
#define LONGTICK 1000           /* milliseconds that are exact for any rate */
#define LATE 5                  /* a tick can be late by 1/5 s without a loss */

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
static void setrate (lua_State *L, int arg, lev_Limits *l, int i,
                     lua_Integer rate, int ms) {
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
void levL_checklimits (lua_State *L, int arg, lev_Limits *l) {
  lua_Integer read, write;
  int ms;
  *l = (lev_Limits){{0, 0}, {0, 0}, {0, 0}, NULL};
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

struct ev_token_bucket_cfg *levL_newcfg (lua_State *L, const lev_Limits *l) {
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
ev_ssize_t levL_surplus (ev_ssize_t left, const lev_Limits *old,
                         const lev_Limits *new, int i) {
  if (old->rate[i] == 0 || new->rate[i] == 0)
    return 0;
  return new->rate[i] - (left < new->burst[i] ? left : new->burst[i]);
}

/* The bytes that may move in a direction now; nil where it has no limit. */
int levL_pushleft (lua_State *L, const lev_Limits *l, int i, ev_ssize_t left) {
  if (l && l->rate[i])
    lua_pushinteger(L, left);
  else
    luaL_pushfail(L);
  return 1;
}

/* The bytes at 2, to be counted. Those given back fill the bucket and no
   more: from an overfull one libevent would never again take anything away. */
ev_ssize_t levL_checkcount (lua_State *L, const lev_Limits *l, int i,
                            ev_ssize_t left) {
  lua_Integer n = levL_range(L, 2, 2, -INT_MAX, INT_MAX);
  luaL_argcheck(L, l && l->rate[i], 1, i == 0 ? "there is no read limit"
                                              : "there is no write limit");
  return n < left - l->burst[i] ? left - l->burst[i] : (ev_ssize_t)n;
}

/* ====} */

/* {==== Bufferevents ==== */

static void freelimits (lev_Limits *l) {
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
  levL_leavegroup(b);
  droplimits(b);
}

/* So many bytes have moved past libevent. */
void levL_countlimits (lev_Bufferevent *b, int i, size_t n) {
  if (b->limits && i == 0)
    bufferevent_decrement_read_limit(b->bev, (ev_ssize_t)n);
  else if (b->limits)
    bufferevent_decrement_write_limit(b->bev, (ev_ssize_t)n);
  if (b->group)
    levL_countgroup(b->group, i, n);
}

static lev_Limits *newlimits (lua_State *L, const lev_Limits *limits) {
  struct ev_token_bucket_cfg *cfg = levL_newcfg(L, limits);
  lev_Limits *l = malloc(sizeof(*l));
  if (l) {
    *l = *limits;
    l->cfg = cfg;
    return l;
  }
  ev_token_bucket_cfg_free(cfg);
  levL_nomemory(L);
  return NULL;
}

/* Buckets that are new, as those of a group (see renew there); false without
   memory, which can only be when there were no limits before. */
static bool setlimits (lev_Bufferevent *b, lev_Limits *l) {
  lev_Limits *old = b->limits;
  ev_ssize_t read = bufferevent_get_read_limit(b->bev);
  ev_ssize_t write = bufferevent_get_write_limit(b->bev);
  bufferevent_set_rate_limit(b->bev, NULL);
  if (bufferevent_set_rate_limit(b->bev, l->cfg) < 0)
    return false;
  b->limits = l;
  if (old) {
    bufferevent_decrement_read_limit(b->bev, levL_surplus(read, old, l, 0));
    bufferevent_decrement_write_limit(b->bev, levL_surplus(write, old, l, 1));
  }
  freelimits(old);
  return true;
}

/* bufferevent:set_rate_limit([limits]) -> bufferevent */
static int lev_bufferevent_set_rate_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  lev_Limits limits;
  lev_Limits *l = NULL;
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) {
    levL_checklimits(L, 2, &limits);
    l = newlimits(L, &limits);
  }
  b->o.base->timed = true;
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

/* bufferevent:read_limit() -> bytes | nil */
static int lev_bufferevent_read_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  return levL_pushleft(L, b->limits, 0, bufferevent_get_read_limit(b->bev));
}

/* bufferevent:write_limit() -> bytes | nil */
static int lev_bufferevent_write_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  return levL_pushleft(L, b->limits, 1, bufferevent_get_write_limit(b->bev));
}

/* bufferevent:decrement_read_limit(bytes) -> bufferevent */
static int lev_bufferevent_decrement_read_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  ev_ssize_t left = bufferevent_get_read_limit(b->bev);
  ev_ssize_t n = levL_checkcount(L, b->limits, 0, left);
  bufferevent_decrement_read_limit(b->bev, n);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:decrement_write_limit(bytes) -> bufferevent */
static int lev_bufferevent_decrement_write_limit (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  ev_ssize_t left = bufferevent_get_write_limit(b->bev);
  ev_ssize_t n = levL_checkcount(L, b->limits, 1, left);
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

static void pace (lev_Bufferevent *b, unsigned what, bool on) {
  b->paced = on ? b->paced | what : b->paced & ~what;
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
  size_t bytes = optsingle(L);
  bufferevent_set_max_single_read(b->bev, bytes);
  pace(b, EV_READ, bytes > 0);
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
  size_t bytes = optsingle(L);
  bufferevent_set_max_single_write(b->bev, bytes);
  pace(b, EV_WRITE, bytes > 0);
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
  {"set_rate_limit", lev_bufferevent_set_rate_limit},
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

void levL_openbufferevent_ratelim (lua_State *L) {
  levL_addmethods(L, LEV_BUFFEREVENT, methods);
}
