/*
** callback.c: the one door from C into Lua.
**
** libevent calls an object's on... function, which does nothing but enter
** levL_protect: no Lua error ever jumps across a frame of libevent's. What
** is raised inside goes to the base's error callback, or to whoever runs the
** loop; the host's loop goes on.
*/
#include "lev.h"

#include <string.h>

/* Message handler: a string gets its traceback, unless it has one; any other
   error object stays what it is. */
static int traceback (lua_State *L) {
  static const char *const yields[] = {
    "attempt to yield across a C-call boundary",
    "attempt to yield from outside a coroutine"
  };
  if (lua_type(L, 1) != LUA_TSTRING)
    return 1;
  for (int i = 0; i < 2; i++) {
    if (strcmp(lua_tostring(L, 1), yields[i]) == 0)
      lua_pushfstring(L, "%s (a callback of libevent's cannot yield: "
                         "start a coroutine in it, see libevent.co)",
                         yields[i]);
  }
  if (strstr(lua_tostring(L, -1), "\nstack traceback:\n") == NULL)
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
  return 1;
}

/* [1] error, with nobody left who could take it */
static int warn (lua_State *L) {
  const char *text = luaL_tolstring(L, 1, NULL);
  lua_warning(L, "libevent: error in a callback: ", 1);
  lua_warning(L, text, 0);
  return 0;
}

/* What a script is told that the object is. */
static void pushobject (lua_State *L, int object) {
  const lev_Object *o = lua_touserdata(L, object);
  if (o && o->kind->push)
    o->kind->push(L, object);
  else
    lua_pushvalue(L, object);
}

/* [-1] error, at 'object' whose callback it was, or nil. To the base's error
   callback; else to whoever runs the loop, and the loop ends; else to warn. */
static void fail (lua_State *L, lev_Base *base, int object) {
  int error = lua_gettop(L);
  levL_pushbase(L, base);                         /* error+1 */
  lua_pushcfunction(L, traceback);
  if (lua_getiuservalue(L, error + 1, LEV_UVERRORCB) != LUA_TNIL) {
    lua_pushvalue(L, error);
    pushobject(L, object);
    if (lua_pcall(L, 2, 0, error + 2) == LUA_OK)
      return;
    lua_replace(L, error);        /* the error callback's own error */
  }
  lua_settop(L, error + 1);
  if (base->looping && !base->failed) {
    lua_pushvalue(L, error);
    lua_setiuservalue(L, error + 1, LEV_UVERROR);
    base->failed = true;
    event_base_loopbreak(base->event_base);
  }
  else {
    lua_pushcfunction(L, warn);
    lua_pushvalue(L, error);
    lua_pcall(L, 1, 0, 0);
  }
}

/* Tells the state what libevent has said, where any callback may run. What is
   said meanwhile waits for the next time. */
void levL_tell (lev_Base *base) {
  lua_State *L = base->L;
  int top = lua_gettop(L);
  for (unsigned n = levL_logged(L); n > 0; n--) {
    lua_pushnil(L);                               /* top+1: nobody's callback */
    lua_pushcfunction(L, traceback);              /* top+2 */
    lua_pushcfunction(L, levL_calllog);
    if (lua_pcall(L, 0, 0, top + 2) != LUA_OK)
      fail(L, base, top + 1);
    lua_settop(L, top);
    levL_own(base);           /* it may have forked */
  }
}

#ifdef LEV_COLLECT
/* All garbage, or where that would take its time, the young one. */
void levL_collect (lua_State *L) {
  if (lua_gc(L, LUA_GCCOUNT) < 2048)
    lua_gc(L, LUA_GCCOLLECT);
  else
    lua_gc(L, LUA_GCSTEP, 0);
}
#endif

/* What is called through the door: f(object, data), or without an f the user
   value 'uv' of the object, with it and with its user value 'arg', if any; or
   'go', if it needs no protection. */
typedef struct Call {
  lua_CFunction f;
  void *data;
  void (*undo) (void *data);
  int uv, arg;
  lev_Go go;
} Call;

/* Pushes it for the object at an index; returns the number of arguments. */
static int push (lua_State *L, int object, const Call *c) {
  if (c->f) {
    lua_pushcfunction(L, c->f);
    lua_pushvalue(L, object);
    lua_pushlightuserdata(L, c->data);
    return 2;
  }
  lua_getiuservalue(L, object, c->uv);
  lua_pushvalue(L, object);
  if (c->arg == 0)
    return 1;
  lua_getiuservalue(L, object, c->arg);
  return 2;
}

static int call (lua_State *L, const lev_Base *base, int nargs, int nresults,
                 int msgh) {
  if (base->hook)
    return base->hook(L, nargs, nresults, msgh, base->hookdata);
  return lua_pcall(L, nargs, nresults, msgh);
}

/* What a callback leaves behind: an error, with its object at an index or nil
   there, things to tell, and data to send. */
static void finish (lua_State *L, lev_Base *base, int object, bool ok) {
  if (!ok)
    fail(L, base, object);
  levL_collect(L);
  if (__atomic_load_n(&levL_said, __ATOMIC_RELAXED))
    levL_tell(base);
  if (base->unsent && base->calls == 1)
    base->leave(base);
}

static void leave (lua_State *L, lev_Base *base) {
  levL_own(base);             /* the callback may have forked */
  if (base->timed)
    levL_freshen(base);       /* it may have been slow */
  if (--base->calls == 0 && base->closing && !base->looping)
    levL_freebase(L, base);   /* closed in the host's loop */
}

/* Through the door: [object - 1] anchors, [object] the object itself, unless
   it is on top of the stack already, where somebody keeps it, [object + 1]
   message handler. */
static bool pass (lev_Object *o, const Call *c) {
  lev_Base *base = o->base;
  lua_State *L = base->L;
  int top = lua_gettop(L);
  bool kept = top > 0 && lua_touserdata(L, -1) == o;
  int object = kept ? top : top + 2;
  bool found, ok = false;
  base->calls++;
  levL_collect(L);
  found = kept || (o->base == base && levL_find(L, o));
  if (found) {
    lua_pushcfunction(L, traceback);
    ok = c->go && base->hook == NULL
         ? c->go(L, object + 1, c->data)
         : call(L, base, push(L, object, c), 0, object + 1) == LUA_OK;
  }
  if (!ok && c->undo)
    c->undo(c->data);
  if (found)
    finish(L, base, object, ok);
  if (found && !kept)
    levL_settle(L, object, o);  /* perhaps nothing will ever call it again */
  lua_settop(L, top);
  leave(L, base);
  return ok;
}

/* Calls f(object, data) for libevent: finding the object, pushing what the
   script is told and calling it all happen inside a protected call. On an
   error 'undo', if any, ends what f had begun before anyone hears of it.
   False if the object is gone or f failed. The thread of a base is idle or in
   a C function whenever libevent calls: it has room for LUA_MINSTACK values. */
bool levL_protect (lev_Object *o, lua_CFunction f, void *data,
                   void (*undo) (void *data)) {
  Call c = {f, data, undo, 0, 0, NULL};
  return pass(o, &c);
}

/* The same without a protected call around it: go(L, message handler, data)
   raises nothing itself, but returns false with an error on the stack. For a
   host that has its own way of calling, f(object, data) as above. */
void levL_go (lev_Object *o, lua_CFunction f, lev_Go go, void *data) {
  Call c = {f, data, NULL, 0, 0, go};
  pass(o, &c);
}

/* Calls the user value 'uv' of the object with it, and with its user value
   'arg', if that is not 0: there is nothing to make, and nothing that could
   fail before the call. */
void levL_call (lev_Object *o, int uv, int arg) {
  Call c = {NULL, NULL, NULL, uv, arg, NULL};
  pass(o, &c);
}

/* {==== The host's own calls ==== */

/* [1] nil, [2] message handler, then the function and its arguments */
LEV_EXPORT int lualibevent_pcall (lua_State *L, struct event_base *event_base,
                                  int nargs, int nresults) {
  lev_Base *base = levL_hostbase(L, event_base);
  int object = lua_gettop(L) - nargs;
  int status;
  if (base == NULL || base->closing || levL_isgone(base)
      || !lua_checkstack(L, LUA_MINSTACK)) {
    lua_settop(L, object - 1);
    return LUA_ERRRUN;
  }
  base->calls++;
  levL_own(base);
  levL_collect(L);
  lua_pushnil(L);             /* nobody's callback */
  lua_insert(L, object);
  lua_pushcfunction(L, traceback);
  lua_insert(L, object + 1);
  status = call(L, base, nargs, nresults, object + 1);
  if (status == LUA_OK) {
    lua_remove(L, object + 1);
    lua_remove(L, object);
  }
  finish(L, base, object, status == LUA_OK);
  if (status != LUA_OK)
    lua_settop(L, object - 1);
  leave(L, base);
  return status;
}

/* ====} */
