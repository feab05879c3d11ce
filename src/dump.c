/*
** dump.c: what keeps a loop alive: the events of a base, each with the object
** that it belongs to.
**
** While libevent goes through its events nobody may do anything but look: it
** holds its lock, and has no place for an error. So they are noted first, in
** memory that is there already, and told when it has finished. What is told
** is a picture of one moment; the script may change all of it meanwhile.
*/
#include "lev.h"

#include <stdio.h>

#define IO (EV_READ | EV_WRITE | EV_CLOSED)

/* The stack of both methods. */
enum { BASE = 1, FUNCTION, PICTURE, OWNERS, OBJECT };

/* One event, as it was when the picture was taken. */
typedef struct Seen {
  const struct event *ev;     /* while the picture is taken, no longer */
  const void *arg;            /* of its callback: tells whose it is */
  int fd;                     /* or the signal's number */
  int priority;
  int events;                 /* what it is made of... */
  int waits;                  /* ...what of that it waits for... */
  int res;                    /* ...and what it is active for */
  bool active;
  bool timed;
  struct timeval left;        /* until its timeout, if timed */
} Seen;

typedef struct Picture {
  size_t room;
  size_t n;                   /* of all events, more than 'room' or not */
  Seen seen[];
} Picture;

/* {==== Taking the picture ==== */

/* Of a bufferevent that was closed libevent keeps two events until the next
   turn: nothing comes of them any more. */
static int onevent (const struct event_base *event_base,
                    const struct event *ev, void *arg) {
  Picture *p = arg;
  (void)event_base;
  if (ev->ev_evcallback.evcb_flags & (EVLIST_INTERNAL | EVLIST_FINALIZING))
    return 0;
  if (p->n < p->room)
    p->seen[p->n].ev = ev;
  p->n++;
  return 0;
}

static void note (const lev_Base *base, Seen *s) {
  const struct event *ev = s->ev;
  int flags = ev->ev_evcallback.evcb_flags;
  s->arg = event_get_callback_arg(ev);
  s->fd = (int)event_get_fd(ev);
  s->priority = event_get_priority(ev);
  s->events = event_get_events(ev);
  s->timed = levL_left(base, ev, &s->left);
  s->waits = s->timed ? EV_TIMEOUT : 0;
  if (flags & EVLIST_INSERTED)
    s->waits |= s->events & (IO | EV_SIGNAL);
  s->active = flags & (EVLIST_ACTIVE | EVLIST_ACTIVE_LATER);
  s->res = ev->ev_res & (IO | EV_SIGNAL | EV_TIMEOUT);
}

static int countobjects (const lev_Base *base) {
  const lev_Object *head = &base->objects;
  int n = 0;
  for (const lev_Object *o = head->next; o != head; o = o->next)
    n++;
  return n;
}

/* [OWNERS] a pointer that an event carries -> whose it is. The table is large
   enough: no allocation, no finalizer. */
static void addowners (lua_State *L, const lev_Base *base) {
  const lev_Object *head = &base->objects;
  lua_pushvalue(L, BASE);
  lua_rawsetp(L, OWNERS, base);
  lua_getiuservalue(L, BASE, LEV_UVANCHORS);
  for (const lev_Object *o = head->next; o != head; o = o->next) {
    lua_rawgeti(L, -1, o->slot);
    if (o->kind->handle) {
      lua_pushvalue(L, -1);
      lua_rawsetp(L, OWNERS, o->kind->handle(o));
    }
    lua_rawsetp(L, OWNERS, o);
  }
  lua_pop(L, 1);
}

/* Pushes PICTURE and OWNERS, empty. That can run a finalizer, which is
   anybody's code: there may be more events then, or no base. */
static Picture *makeroom (lua_State *L, const lev_Base *base) {
  size_t room = (size_t)event_base_get_num_events(base->event_base,
                                                  EVENT_BASE_COUNT_ADDED);
  Picture *p = lua_newuserdatauv(L, sizeof(*p) + room * sizeof(Seen), 0);
  p->room = room;
  p->n = 0;
  lua_createtable(L, 0, 2 * countobjects(base) + 1);
  levL_checkbase(L, BASE);
  return p;
}

/* [BASE], [FUNCTION] */
static const Picture *take (lua_State *L) {
  lev_Base *base = levL_checkbase(L, BASE);
  Picture *p;
  do {
    lua_settop(L, FUNCTION);
    p = makeroom(L, base);
    event_base_foreach_event(base->event_base, onevent, p);
  } while (p->n > p->room);
  levL_freshen(base);
  for (size_t i = 0; i < p->n; i++)
    note(base, &p->seen[i]);
  addowners(L, base);
  return p;
}

/* ====} */

/* {==== Telling ==== */

static void setwords (lua_State *L, const char *field, int events) {
  levL_pushevents(L, events);
  lua_setfield(L, -2, field);
}

/* Pushes what foreach_event's function is told. */
static void pushinfo (lua_State *L, const Seen *s) {
  lua_createtable(L, 0, 8);
  lua_rawgetp(L, OWNERS, s->arg);
  lua_setfield(L, -2, "object");
  if (s->events & (IO | EV_SIGNAL)) {
    lua_pushinteger(L, s->fd);
    lua_setfield(L, -2, s->events & EV_SIGNAL ? "signal" : "fd");
  }
  setwords(L, "events", s->events);
  setwords(L, "pending", s->waits);
  if (s->active)
    setwords(L, "active", s->res);
  if (s->timed) {
    levL_pushtime(L, &s->left);
    lua_setfield(L, -2, "timeout");
  }
  lua_pushinteger(L, s->priority);
  lua_setfield(L, -2, "priority");
}

/* base:foreach_event(f) -> value | nil */
static int lev_base_foreach_event (lua_State *L) {
  const Picture *p;
  levL_checkbase(L, BASE);
  levL_checkcallback(L, FUNCTION);
  p = take(L);
  for (size_t i = 0; i < p->n; i++) {
    lua_pushvalue(L, FUNCTION);
    pushinfo(L, &p->seen[i]);
    lua_call(L, 1, 1);
    if (lua_toboolean(L, -1))
      return 1;
    lua_pop(L, 1);
  }
  lua_pushnil(L);
  return 1;
}

static void addwords (lua_State *L, luaL_Buffer *b, const char *before,
                      int events) {
  if (events == 0)
    return;
  luaL_addstring(b, before);
  levL_pushevents(L, events);
  luaL_addvalue(b);
}

/* "fd 5 read|persist", "signal 2", "timer persist", "user", "loopexit" */
static void addwhat (lua_State *L, luaL_Buffer *b, const Seen *s) {
  if (s->events & IO)
    lua_pushfstring(L, "fd %d", s->fd);
  else if (s->events & EV_SIGNAL)
    lua_pushfstring(L, "signal %d", s->fd);
  else if (lua_rawequal(L, OBJECT, BASE))
    lua_pushliteral(L, "loopexit");
  else
    lua_pushstring(L, s->timed || s->events & EV_TIMEOUT ? "timer" : "user");
  luaL_addvalue(b);
  if (!(s->events & EV_SIGNAL))
    addwords(L, b, " ", s->events & ~(EV_TIMEOUT | EV_FINALIZE));
}

static void addleft (luaL_Buffer *b, const struct timeval *left) {
  char text[48];
  double seconds = (double)left->tv_sec + (double)left->tv_usec / 1e6;
  snprintf(text, sizeof(text), ", %.*f s left", seconds < 10 ? 3 : 0, seconds);
  luaL_addstring(b, text);
}

/* Where the object's first callback was defined: all its callbacks are among
   its user values, and nothing else there is a function. */
static void addplace (lua_State *L, luaL_Buffer *b) {
  int uv = LEV_UVBASE;
  int type;
  lua_Debug ar;
  do {
    type = lua_getiuservalue(L, OBJECT, ++uv);
    if (type == LUA_TFUNCTION)
      break;
    lua_pop(L, 1);
  } while (type != LUA_TNONE);
  if (type == LUA_TNONE)
    return;
  lua_getinfo(L, ">S", &ar);
  if (ar.linedefined < 0)
    lua_pushfstring(L, ", callback in %s", ar.short_src);
  else
    lua_pushfstring(L, ", callback at %s:%d", ar.short_src, ar.linedefined);
  luaL_addvalue(b);
}

/* [OBJECT] whose event it is, or nil: nobody's here */
static void addline (lua_State *L, luaL_Buffer *b, const Seen *s) {
  luaL_addchar(b, '\n');
  if (lua_isnil(L, OBJECT))
    luaL_addstring(b, "no object");
  else {
    luaL_tolstring(L, OBJECT, NULL);
    luaL_addvalue(b);
  }
  luaL_addstring(b, ": ");
  addwhat(L, b, s);
  if (s->timed)
    addleft(b, &s->left);
  if (s->active)
    luaL_addstring(b, ", active");
  addwords(L, b, " ", s->active ? s->res : 0);
  if (lua_isuserdata(L, OBJECT) && !lua_rawequal(L, OBJECT, BASE))
    addplace(L, b);
}

/* base:dump_events() -> text */
static int lev_base_dump_events (lua_State *L) {
  const Picture *p;
  luaL_Buffer b;
  levL_checkbase(L, BASE);
  lua_settop(L, FUNCTION);
  p = take(L);
  lua_settop(L, OBJECT);
  luaL_buffinit(L, &b);
  lua_pushfstring(L, "%I event%s", (lua_Integer)p->n, p->n == 1 ? "" : "s");
  luaL_addvalue(&b);
  for (size_t i = 0; i < p->n; i++) {
    lua_rawgetp(L, OWNERS, p->seen[i].arg);
    lua_replace(L, OBJECT);
    addline(L, &b, &p->seen[i]);
  }
  luaL_pushresult(&b);
  return 1;
}

/* ====} */

static const luaL_Reg methods[] = {
  {"foreach_event", lev_base_foreach_event},
  {"dump_events", lev_base_dump_events},
  {NULL, NULL}
};

void levL_opendump (lua_State *L) {
  levL_addmethods(L, LEV_BASE, methods);
}
