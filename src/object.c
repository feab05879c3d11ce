/*
** object.c: the life of the objects.
**
** An object lives as long as libevent may still call it, or the script still
** holds it. The first half of that is the base's table of anchors: one slot
** for each active object, given and taken here and nowhere else, and the first
** one for the base itself. The table in turn is anchored in the registry while
** the loop of the base runs. Neither is found elsewhere, so a base that nobody
** can run any more is garbage with all that lives on it. Slots are numbers: to
** find a callback's object takes two looks into arrays, and no hashing.
*/
#include "lev.h"

#include <errno.h>
#include <string.h>

/* {==== What the objects ask of their base ==== */

/* event_reinit, which counts a base's signals once more than there are: so
   there are none while it works. */
int levL_reinit (lev_Base *base) {
  lev_Object *head = &base->objects;
  int r, err;
  base->forks = levL_forks;
  for (lev_Object *o = head->next; o != head; o = o->next)
    if (o->kind->reinit)
      o->kind->reinit(o, false);
  r = event_reinit(base->event_base);
  err = errno;
  for (lev_Object *o = head->next; o != head; o = o->next) {
    if (o->kind->reinit && !o->kind->reinit(o, true)) {
      r = -1;
      err = errno;
    }
  }
  errno = err;
  return r;
}

/* A child process shares its parent's epoll set until event_reinit: an event
   that it deletes, even by collecting garbage, is deleted for the parent. So
   the first touch after a fork makes the back end the child's own. */
void levL_own (lev_Base *base) {
  if (base->forks != levL_forks && base->event_base)
    levL_reinit(base);
}

/* Has the host freed its event_base under Lua's objects? It deletes all timers
   in that, this one, too, and says nothing. */
bool levL_isgone (const lev_Base *base) {
  return !base->owned && base->event_base
         && !(base->sentinel.ev_evcallback.evcb_flags & EVLIST_TIMEOUT);
}

/* libevent counts timeouts from a time that it reads once a turn. After a
   slow callback that time lies in the past, and timers would be too early
   when they are set, and too late when the loop sleeps. Costs 7 ns: callbacks
   on a base that has no timeouts do without. */
void levL_freshen (lev_Base *base) {
  if (base->event_base)
    event_base_update_cache_time(base->event_base);
}

/* 'tv', or the one by which libevent finds its queue, if init_common_timeout
   has made one: that carries the queue's number in this base, and must reach
   no other. NULL is NULL. */
const struct timeval *levL_commontime (const lev_Base *base,
                                       const struct timeval *tv) {
  const lev_Common *c = base->common;
  for (int i = 0; tv && i < base->ncommon; i++, c++)
    if (tv->tv_sec == c->duration.tv_sec && tv->tv_usec == c->duration.tv_usec)
      return c->queue;
  return tv;
}

/* What is left of the timeout of 'ev', 0 if it is late; false without one.
   event_pending alone would tell of a timeout that is over. */
bool levL_left (const lev_Base *base, const struct event *ev,
                struct timeval *left) {
  struct timeval now;
  if (!(ev->ev_evcallback.evcb_flags & EVLIST_TIMEOUT))
    return false;
  event_pending(ev, EV_TIMEOUT, left);
  event_base_gettimeofday_cached(base->event_base, &now);
  evutil_timersub(left, &now, left);
  if (left->tv_sec < 0)
    evutil_timerclear(left);
  return true;
}

static const char bases;      /* registry: bases by their addresses, weak */

/* [-1] a new base: it is found by its address, too. */
static void remember (lua_State *L, const lev_Base *base) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &bases) != LUA_TTABLE) {
    lua_pop(L, 1);
    levL_newweak(L, "v");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &bases);
  }
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, base);
  lua_pop(L, 1);
}

/* Pushes a base, whether it runs or not, or nil while it is finalized. */
static bool pushknown (lua_State *L, const lev_Base *base) {
  bool known = false;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &bases) == LUA_TTABLE)
    known = lua_rawgetp(L, -1, base) == LUA_TUSERDATA;
  else
    lua_pushnil(L);
  lua_replace(L, -2);
  return known;
}

/* [-1] a new base */
void levL_initanchors (lua_State *L, lev_Base *base) {
  remember(L, base);
  lua_newtable(L);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 1);
  base->nslots = 1;
  lua_setiuservalue(L, -2, LEV_UVANCHORS);
  lua_pushboolean(L, false);
  base->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Anchors the base at 'idx', which can run from now on, or lets go of it. The
   key is there: no allocation, no error. */
void levL_hold (lua_State *L, int idx, bool on) {
  const lev_Base *base = lua_touserdata(L, idx);
  if (on)
    lua_getiuservalue(L, idx, LEV_UVANCHORS);
  else
    lua_pushboolean(L, false);
  lua_rawseti(L, LUA_REGISTRYINDEX, base->ref);
}

void levL_dropref (lua_State *L, lev_Base *base) {
  luaL_unref(L, LUA_REGISTRYINDEX, base->ref);
  base->ref = LUA_NOREF;
}

/* Pushes a base. */
void levL_pushbase (lua_State *L, const lev_Base *base) {
  if (lua_rawgeti(L, LUA_REGISTRYINDEX, base->ref) == LUA_TTABLE) {
    lua_rawgeti(L, -1, 1);
    lua_replace(L, -2);
  }
  else {
    lua_pop(L, 1);
    pushknown(L, base);
  }
}

/* The Base of a host's event_base in this state, or NULL. */
lev_Base *levL_hostbase (lua_State *L, struct event_base *event_base) {
  lev_Base *base;
  lua_rawgetp(L, LUA_REGISTRYINDEX, event_base);
  base = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return base;
}

/* The end of a base, when no callback and no loop of it runs any more. */
void levL_freebase (lua_State *L, lev_Base *base) {
  struct event_base *event_base = base->event_base;
  if (!levL_isgone(base)) {
    event_del(&base->exit);
    if (!base->owned)
      event_del(&base->sentinel);
  }
  base->event_base = NULL;
  base->closing = false;
  levL_dropref(L, base);
  if (base->owned) {
    /* what bufferevents have deferred would keep their memory for ever */
    event_base_loop(event_base, EVLOOP_NONBLOCK);
    if (base->forget)
      base->forget(base, true);
    event_base_free(event_base);
  }
  if (base->forget)
    base->forget(base, false);
  if (!base->owned && levL_hostbase(L, event_base) == base) {
    lua_pushnil(L);           /* lualibevent_pushbase found it here */
    lua_rawsetp(L, LUA_REGISTRYINDEX, event_base);
  }
}

static const char *const gone = "its event_base has been freed by the host";

lev_Base *levL_checkbase (lua_State *L, int arg) {
  lev_Base *base = luaL_checkudata(L, arg, LEV_BASE);
  if (base->event_base == NULL || base->closing)
    luaL_argerror(L, arg, "Base is closed");
  if (levL_isgone(base))
    luaL_argerror(L, arg, gone);
  levL_own(base);
  return base;
}

/* ====} */

/* {==== Types and objects ==== */

/* Pushes a table with weak keys, "k", or values, "v". */
void levL_newweak (lua_State *L, const char *mode) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

/* A metatable whose __index holds the methods alone: no metamethod can be
   called as one, or taken away from a script's reach. */
void levL_newtype (lua_State *L, const char *tname, const luaL_Reg *methods,
                   const luaL_Reg *metamethods) {
  if (luaL_newmetatable(L, tname)) {
    luaL_setfuncs(L, metamethods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, tname);
    lua_setfield(L, -2, "__metatable");
  }
  lua_pop(L, 1);
}

/* Constructors are methods of the base they live on. */
void levL_addmethods (lua_State *L, const char *tname,
                      const luaL_Reg *methods) {
  luaL_getmetatable(L, tname);
  lua_getfield(L, -1, "__index");
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 2);
}

/* No userdata but an object begins with the secret. luaL_checkudata looks a
   metatable up in each call of a method, which takes five times as long. */
void *levL_checkobject (lua_State *L, int arg, const lev_Kind *kind) {
  lev_Object *o = lua_touserdata(L, arg);
  if (o && lua_rawlen(L, arg) >= sizeof(*o) && o->stamp == levL_secret
      && o->kind == kind)
    return o;
  return luaL_checkudata(L, arg, kind->tname);
}

/* Pushes a closed object of the base at 'base': its resource comes second, by
   levL_adopt, so that an error in between leaves nothing behind. Allocation
   can run a finalizer, which is anybody's code: the base is checked here. */
void *levL_newobject (lua_State *L, int base, const lev_Kind *kind,
                      size_t size, int nuv) {
  lev_Object *o;
  base = lua_absindex(L, base);
  o = lua_newuserdatauv(L, size, nuv);
  memset(o, 0, size);
  o->stamp = levL_secret;
  o->kind = kind;
  luaL_setmetatable(L, kind->tname);
  lua_pushvalue(L, base);
  lua_setiuservalue(L, -2, LEV_UVBASE);
  levL_collect(L);
  levL_checkbase(L, base);
  return o;
}

/* Opens 'o': its resource is there, and the base will close it in time. */
void levL_adopt (lev_Base *base, lev_Object *o) {
  lev_Object *head = &base->objects;
  o->base = base;
  o->prev = head;
  o->next = head->next;
  head->next->prev = o;
  head->next = o;
}

void *levL_checkopen (lua_State *L, int arg, const lev_Kind *kind) {
  lev_Object *o = levL_checkobject(L, arg, kind);
  if (o->base == NULL)
    luaL_argerror(L, arg, lua_pushfstring(L, "%s is closed",
                                          strchr(kind->tname, '.') + 1));
  if (levL_isgone(o->base))
    luaL_argerror(L, arg, gone);
  levL_own(o->base);
  return o;
}

int levL_tostring (lua_State *L, const char *tname, bool open) {
  if (open)
    lua_pushfstring(L, "%s (%p)", tname, lua_topointer(L, 1));
  else
    lua_pushfstring(L, "%s (closed)", tname);
  return 1;
}

/* object:base() -> base */
int levL_getbase (lua_State *L, const lev_Kind *kind) {
  levL_checkopen(L, 1, kind);
  lua_getiuservalue(L, 1, LEV_UVBASE);
  return 1;
}

/* ====} */

/* {==== Anchors ==== */

/* Pushes the anchors of the base of the object at 'idx', nil if it is closed;
   returns that base. */
static lev_Base *pushanchors (lua_State *L, int idx) {
  lev_Base *base;
  lua_getiuservalue(L, idx, LEV_UVBASE);
  base = lua_touserdata(L, -1);
  lua_getiuservalue(L, -1, LEV_UVANCHORS);
  lua_replace(L, -2);
  return base;
}

/* Calls f for the object at 'idx' and all that is anchored together with it. */
static void visit (lua_State *L, int idx, lev_Object *o, lev_Visit f) {
  idx = lua_absindex(L, idx);
  if (o->kind->each)
    o->kind->each(L, idx, f);
  else
    f(L, idx, o);
}

static void anchor (lua_State *L, int idx, lev_Object *o) {
  lev_Base *base;
  int slot;
  if (o->slot)
    return;
  base = pushanchors(L, idx);
  slot = base->freeslot;
  if (slot) {
    lua_rawgeti(L, -1, slot);
    base->freeslot = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  else
    slot = base->nslots + 1;
  lua_pushvalue(L, idx);
  lua_rawseti(L, -2, slot);   /* a new slot can raise: it is not ours before */
  lua_pop(L, 1);
  if (slot > base->nslots)
    base->nslots = slot;
  o->slot = slot;
}

static bool isactive (const lev_Object *o) {
  return o->base && o->kind->active(o);
}

static void settle (lua_State *L, int idx, lev_Object *o) {
  lev_Base *base;
  if (!o->slot || isactive(o))
    return;
  base = pushanchors(L, idx);
  if (lua_istable(L, -1)) {   /* the slot is there: no allocation, no error */
    lua_pushinteger(L, base->freeslot);
    lua_rawseti(L, -2, o->slot);
    base->freeslot = o->slot;
  }
  lua_pop(L, 1);
  o->slot = 0;
}

/* Before a call to libevent that may make 'o' active: all that can raise
   comes first. */
void levL_anchor (lua_State *L, int idx, lev_Object *o) {
  if (!o->slot)
    visit(L, idx, o, anchor);
}

/* After it: lets go of 'o' if it did not. Never raises. */
void levL_settle (lua_State *L, int idx, lev_Object *o) {
  if (o->slot && !isactive(o))
    visit(L, idx, o, settle);
}

/* Pushes two values: the second is the anchored object 'o'; if it is not
   anchored, or its base is being finalized, it is false. Never raises: all is
   there. */
bool levL_find (lua_State *L, const lev_Object *o) {
  if (lua_rawgeti(L, LUA_REGISTRYINDEX, o->base->ref) == LUA_TTABLE)
    return lua_rawgeti(L, -1, o->slot) == LUA_TUSERDATA;
  lua_pop(L, 1);              /* its loop does not run */
  if (pushknown(L, o->base)) {
    lua_getiuservalue(L, -1, LEV_UVANCHORS);
    lua_replace(L, -2);
    if (lua_istable(L, -1))
      return lua_rawgeti(L, -1, o->slot) == LUA_TUSERDATA;
  }
  lua_pushnil(L);
  return false;
}

/* levL_settle for a callback of libevent's that did not need Lua. */
void levL_rest (lev_Object *o) {
  lua_State *L = o->base->L;
  if (!o->slot || isactive(o))
    return;
  if (levL_find(L, o))
    levL_settle(L, -1, o);
  lua_pop(L, 2);
}

/* ====} */

/* {==== Closing ==== */

/* Frees what libevent holds, and takes 'o' out of its base's ring. The one
   place where an object ends, whoever ends it. C only: its anchor goes when
   Lua is at hand, in levL_settle. Where the base itself is gone, so is what
   libevent would need for it. */
void levL_free (lev_Object *o) {
  if (o->base == NULL)
    return;
  if (!levL_isgone(o->base)) {
    levL_own(o->base);
    o->kind->free(o);
  }
  o->prev->next = o->next;
  o->next->prev = o->prev;
  o->base = NULL;
}

/* object:close() -> object; __close and __gc too */
int levL_close (lua_State *L, const lev_Kind *kind) {
  lev_Object *o = luaL_checkudata(L, 1, kind->tname);
  levL_free(o);
  levL_settle(L, 1, o);
  lua_pushvalue(L, 1);
  return 1;
}

/* The same from a callback of libevent's. */
void levL_drop (lev_Object *o) {
  lua_State *L = o->base->L;
  bool found = levL_find(L, o);
  levL_free(o);
  if (found)
    levL_settle(L, -1, o);
  lua_pop(L, 2);
}

/* ====} */
