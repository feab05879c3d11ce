/*
** buffer_change.c: the callbacks of an evbuffer, which hear of its changes.
**
** libevent calls them in the middle of a change, with pointers into the
** buffers: whoever touches one of those then ends in freed memory. So our one
** entry in a buffer only counts, and scripts are told in the loop, all at once
** what has changed since they were told before.
**
** The event for that is the base's own, in an object that scripts never see.
** It holds no buffer: a watch is C's, and ends with its buffer or the base,
** whichever ends first. Callbacks are user values of the buffer.
*/
#include "lev.h"

#include <stdlib.h>
#include <string.h>

/* a user value of the object, after LEV_UVBASE: a weak table, watch -> buffer */
enum { BUFFERS = 2, NUSERVALUES = BUFFERS };

typedef struct lev_Changes lev_Changes;

/* Who is to be told of a buffer's changes. */
struct lev_Watch {
  lev_Watch *prev, *next;     /* in one of the rings of lev_Changes */
  lev_Changes *changes;
  lev_Buffer *buffer;
  struct evbuffer_cb_entry *entry;
  size_t added, deleted;      /* not yet told */
  lua_Integer id;             /* the key of the buffer; never used again */
  int ncallbacks;
  lua_Integer lastnumber;     /* of the callback that came last */
};

struct lev_Changes {
  lev_Object o;
  struct event ev;            /* active while there is something to tell */
  lev_Watch idle;             /* heads of rings: nothing to tell... */
  lev_Watch changed;          /* ...something, in the next turn... */
  lev_Watch due;              /* ...in this one */
  bool telling;
  lua_Integer lastid;
  lua_Integer current;        /* whose callbacks run */
};

/* {==== Watches ==== */

static bool isempty (const lev_Watch *head) {
  return head->next == head;
}

static void unlinkwatch (lev_Watch *w) {
  w->prev->next = w->next;
  w->next->prev = w->prev;
}

static void linkwatch (lev_Watch *w, lev_Watch *head) {
  w->prev = head->prev;
  w->next = head;
  head->prev->next = w;
  head->prev = w;
}

/* evbuffer's callback, in the middle of a change: it touches no buffer. What
   changes while scripts are told waits for the next turn: an event that makes
   itself active again would be called at once. */
static void onchange (struct evbuffer *buf,
                      const struct evbuffer_cb_info *info, void *arg) {
  lev_Watch *w = arg;
  bool known = w->added > 0 || w->deleted > 0;
  (void)buf;
  w->added += info->n_added;
  w->deleted += info->n_deleted;
  if (known)
    return;
  unlinkwatch(w);
  linkwatch(w, &w->changes->changed);
  if (!w->changes->telling)
    event_active(&w->changes->ev, EV_TIMEOUT, 1);
}

/* Ends the watch of a buffer, which must still be there. C only. */
void levL_unwatch (lev_Buffer *b) {
  lev_Watch *w = b->watch;
  if (w == NULL)
    return;
  evbuffer_remove_cb_entry(b->buf, w->entry);
  unlinkwatch(w);
  free(w);
  b->watch = NULL;
}

/* NULL without memory */
static lev_Watch *watch (lev_Changes *c, lev_Buffer *b) {
  lev_Watch *w = calloc(1, sizeof(*w));
  if (w)
    w->entry = evbuffer_add_cb(b->buf, onchange, w);
  if (w == NULL || w->entry == NULL) {
    free(w);
    return NULL;
  }
  w->changes = c;
  w->buffer = b;
  w->id = ++c->lastid;
  linkwatch(w, &c->idle);
  b->watch = w;
  return w;
}

/* ====} */

/* {==== Kind ==== */

static bool isactive (const lev_Object *o) {
  (void)o;
  return true;                /* any change may call */
}

static void freechanges (lev_Object *o) {
  lev_Changes *c = (lev_Changes *)o;
  lev_Watch *const heads[] = {&c->idle, &c->changed, &c->due};
  event_del(&c->ev);
  for (int i = 0; i < 3; i++)
    while (!isempty(heads[i]))
      levL_unwatch(heads[i]->next->buffer);
}

/* Pushes the buffer whose callbacks run. */
static void pushcurrent (lua_State *L, int object) {
  lev_Changes *c = lua_touserdata(L, object);
  lua_getiuservalue(L, object, BUFFERS);
  lua_rawgeti(L, -1, c->current);
  lua_remove(L, -2);
}

static const lev_Kind kind = {
  .tname = LEV_CHANGES, .active = isactive, .free = freechanges,
  .push = pushcurrent
};

/* ====} */

/* {==== From libevent to Lua ==== */

/* One round of callbacks, each of which may change them: they have numbers
   that grow. */
typedef struct Round {
  lua_Integer id;             /* of the watch */
  size_t added, deleted;
  lua_Integer number;         /* of the callback that was called last */
  lua_Integer last;           /* those that come meanwhile are not called */
  bool more;
} Round;

/* [-1] callbacks: number, function, number, function... The index of the
   first function with a number above 'number', 0 if there is none. */
static int findnext (lua_State *L, int n, lua_Integer *number) {
  for (int i = 1; i < 2 * n; i += 2) {
    lua_Integer k;
    lua_rawgeti(L, -1, i);
    k = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (k > *number) {
      *number = k;
      return i + 1;
    }
  }
  return 0;
}

/* [1] changes, [2] Round */
static int callnext (lua_State *L) {
  lev_Changes *c = lua_touserdata(L, 1);
  Round *r = lua_touserdata(L, 2);
  const lev_Buffer *b;
  int i;
  c->current = r->id;
  pushcurrent(L, 1);                              /* 3: buffer */
  b = lua_touserdata(L, 3);
  if (b == NULL || b->watch == NULL || b->watch->id != r->id)
    return 0;
  lua_getiuservalue(L, 3, LEV_UVCALLBACKS);       /* 4 */
  i = findnext(L, b->watch->ncallbacks, &r->number);
  if (i == 0 || r->number > r->last)
    return 0;
  r->more = r->number < r->last;
  lua_rawgeti(L, 4, i);
  lua_pushvalue(L, 3);
  lua_pushinteger(L, (lua_Integer)r->added);
  lua_pushinteger(L, (lua_Integer)r->deleted);
  lua_call(L, 3, 0);
  return 0;
}

/* Each callback has a call of its own: one that fails stops no other. The
   watch may end in any of them. */
static void tell (lev_Changes *c, lev_Watch *w) {
  Round r = {w->id, w->added, w->deleted, 0, w->lastnumber, true};
  w->added = w->deleted = 0;
  unlinkwatch(w);
  linkwatch(w, &c->idle);
  while (r.more && c->o.base) {
    r.more = false;
    levL_protect(&c->o, callnext, &r, NULL);
  }
}

/* All that waits is due now; what changes meanwhile is not. A loop that is to
   break leaves the rest to the next one. */
static void onevent (evutil_socket_t fd, short what, void *arg) {
  static const struct timeval nextturn = {0, 0};
  lev_Changes *c = arg;
  (void)fd; (void)what;
  while (!isempty(&c->changed)) {
    lev_Watch *w = c->changed.next;
    unlinkwatch(w);
    linkwatch(w, &c->due);
  }
  c->telling = true;
  while (c->o.base && !isempty(&c->due)
         && !event_base_got_break(c->o.base->event_base))
    tell(c, c->due.next);
  if (c->o.base == NULL)
    return;
  c->telling = false;
  if ((!isempty(&c->due) || !isempty(&c->changed))
      && event_add(&c->ev, &nextturn) < 0)
    event_active(&c->ev, EV_TIMEOUT, 1);    /* without memory for a timer */
}

/* ====} */

/* {==== Methods ==== */

/* [3] base: pushes its object, which is made when it is first needed. */
static lev_Changes *pushchanges (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 3);
  lev_Changes *c;
  if (lua_getiuservalue(L, 3, LEV_UVCHANGES) != LUA_TNIL)
    return lua_touserdata(L, -1);
  lua_pop(L, 1);
  c = levL_newobject(L, 3, &kind, sizeof(*c), NUSERVALUES);
  levL_newweak(L, "v");
  lua_setiuservalue(L, -2, BUFFERS);
  c->idle.prev = c->idle.next = &c->idle;
  c->changed.prev = c->changed.next = &c->changed;
  c->due.prev = c->due.next = &c->due;
  levL_checkbase(L, 3);       /* again, and whether a finalizer made one */
  if (lua_getiuservalue(L, 3, LEV_UVCHANGES) != LUA_TNIL) {
    lua_remove(L, -2);
    return lua_touserdata(L, -1);
  }
  lua_pop(L, 1);
  levL_anchor(L, -1, &c->o);
  event_assign(&c->ev, base->event_base, -1, 0, onevent, c);
  levL_adopt(base, &c->o);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 3, LEV_UVCHANGES);
  return c;
}

/* [1] buffer that has a base: pushes it. */
static void pushbase (lua_State *L, const lev_Buffer *b) {
  lua_getiuservalue(L, 1, LEV_UVOWNER);     /* of the script's own: the base */
  if (b->owner) {
    lua_getiuservalue(L, -1, LEV_UVBASE);
    lua_remove(L, -2);
  }
}

static const char otherbase[] = "the buffer's callbacks run on another base";

/* [3] base or nil: the base on whose loop the callbacks are to run. */
static void checkbase (lua_State *L, const lev_Buffer *b) {
  bool hasbase = b->owner || b->watch;
  lua_settop(L, 3);
  if (!hasbase || !lua_isnil(L, 3))
    levL_checkbase(L, 3);
  if (hasbase) {
    pushbase(L, b);
    luaL_argcheck(L, lua_isnil(L, 3) || lua_rawequal(L, 3, 4), 3, otherbase);
    lua_replace(L, 3);
  }
}

/* [1] buffer, [2] callback, [3] base, [4] callbacks, [5] changes; false
   without memory. What can raise comes first, and counts for nothing yet. */
static bool addcallback (lua_State *L, lev_Buffer *b, lev_Changes *c) {
  lev_Watch *w = b->watch;
  int n = w ? w->ncallbacks : 0;
  lua_getiuservalue(L, 5, BUFFERS);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, w ? w->id : c->lastid + 1);
  lua_pushvalue(L, 2);
  lua_rawseti(L, 4, 2 * n + 2);
  lua_pushinteger(L, w ? w->lastnumber + 1 : 1);
  lua_rawseti(L, 4, 2 * n + 1);
  if (w == NULL)
    w = watch(c, b);
  if (w == NULL)
    return false;
  w->ncallbacks++;
  w->lastnumber++;
  return true;
}

/* buffer:add_cb(cb [, base]) -> buffer */
static int lev_buffer_add_cb (lua_State *L) {
  lev_Buffer *b = levL_checkbuffer(L, 1);
  lev_Changes *c;
  levL_checkcallback(L, 2);
  checkbase(L, b);
  lua_newtable(L);
  c = pushchanges(L);
  levL_checkbuffer(L, 1);     /* again, after all that was allocated */
  luaL_argcheck(L, b->watch == NULL || b->watch->changes == c, 3, otherbase);
  if (b->watch) {
    lua_getiuservalue(L, 1, LEV_UVCALLBACKS);
    lua_replace(L, 4);
  }
  if (!addcallback(L, b, c))
    return levL_nomemory(L);
  lua_settop(L, 4);
  lua_setiuservalue(L, 1, LEV_UVCALLBACKS);
  if (b->owner == NULL)
    lua_setiuservalue(L, 1, LEV_UVOWNER);
  lua_settop(L, 1);
  return 1;
}

/* [1] buffer: nobody is told any more, and no base is kept for it. */
static void endwatch (lua_State *L, lev_Buffer *b) {
  pushbase(L, b);
  lua_getiuservalue(L, -1, LEV_UVCHANGES);
  lua_getiuservalue(L, -1, BUFFERS);
  lua_pushnil(L);
  lua_rawseti(L, -2, b->watch->id);
  levL_unwatch(b);
  if (b->owner == NULL) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, LEV_UVOWNER);
  }
}

/* buffer:remove_cb(cb) -> buffer */
static int lev_buffer_remove_cb (lua_State *L) {
  lev_Buffer *b = levL_checkbuffer(L, 1);
  int last = b->watch ? 2 * b->watch->ncallbacks : 0;
  int i = 2;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, LEV_UVCALLBACKS);       /* 3 */
  for (; i <= last; i += 2) {
    lua_rawgeti(L, 3, i);
    if (lua_rawequal(L, 2, -1))
      break;
    lua_pop(L, 1);
  }
  luaL_argcheck(L, i <= last, 2, "not a callback of this buffer");
  for (i++; i <= last + 2; i++) {
    lua_rawgeti(L, 3, i);     /* nil behind the last one */
    lua_rawseti(L, 3, i - 2);
  }
  if (--b->watch->ncallbacks == 0)
    endwatch(L, b);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

static const luaL_Reg none[] = {
  {NULL, NULL}
};

static const luaL_Reg buffermethods[] = {
  {"add_cb", lev_buffer_add_cb},
  {"remove_cb", lev_buffer_remove_cb},
  {NULL, NULL}
};

void levL_openchange (lua_State *L) {
  levL_newtype(L, LEV_CHANGES, none, none);
  levL_addmethods(L, LEV_BUFFER, buffermethods);
}
