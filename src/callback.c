/*
** callback.c: the life of the objects, and the one door from C into Lua.
**
** An object lives as long as libevent may still call it, or the script still
** holds it. The first half of that is the base's table of anchors: struct
** address -> object, one entry for each active object, made and removed here
** and nowhere else. The base itself is anchored in the registry, under its
** struct's address, while its loop runs. Neither is found elsewhere, so a
** base that nobody can run any more is garbage with all that lives on it.
**
** libevent calls an object's on... function, which does nothing but enter
** levL_protect: no Lua error ever jumps across a frame of libevent's.
*/
#include "lev.h"

#include <string.h>

/* {==== Types and objects ==== */

/* A metatable whose __index holds the methods alone: no metamethod can be
   called as one. */
void levL_newtype (lua_State *L, const char *tname, const luaL_Reg *methods,
                   const luaL_Reg *metamethods) {
  if (luaL_newmetatable(L, tname)) {
    luaL_setfuncs(L, metamethods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
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

/* Pushes a closed object of the base at 'base': its resource comes second, by
   levL_adopt, so that an error in between leaves nothing behind. Allocation
   can run a finalizer, which is anybody's code: the base is checked here. */
void *levL_newobject (lua_State *L, int base, const lev_Kind *kind,
                      size_t size, int nuv) {
  lev_Object *o;
  base = lua_absindex(L, base);
  o = lua_newuserdatauv(L, size, nuv);
  memset(o, 0, size);
  o->kind = kind;
  luaL_setmetatable(L, kind->tname);
  lua_pushvalue(L, base);
  lua_setiuservalue(L, -2, LEV_UVBASE);
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
  lev_Object *o = luaL_checkudata(L, arg, kind->tname);
  if (o->base == NULL)
    luaL_argerror(L, arg, lua_pushfstring(L, "%s is closed",
                                          strchr(kind->tname, '.') + 1));
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

/* Pushes the base's table of anchors, given the object at 'idx'. */
static void pushanchors (lua_State *L, int idx) {
  lua_getiuservalue(L, idx, LEV_UVBASE);
  lua_getiuservalue(L, -1, LEV_UVANCHORS);
  lua_remove(L, -2);
}

/* Before a call to libevent that may make 'o' active: all that can raise
   comes first. */
void levL_anchor (lua_State *L, int idx, lev_Object *o) {
  if (o->anchored)
    return;
  idx = lua_absindex(L, idx);
  pushanchors(L, idx);
  lua_pushvalue(L, idx);
  lua_rawsetp(L, -2, o);
  lua_pop(L, 1);
  o->anchored = true;
}

static void unanchor (lua_State *L, int idx, lev_Object *o) {
  if (!o->anchored)
    return;
  pushanchors(L, idx);
  lua_pushnil(L);
  lua_rawsetp(L, -2, o);          /* to nil: no allocation, no error */
  lua_pop(L, 1);
  o->anchored = false;
}

/* After it: lets go of 'o' if it did not. Never raises. */
void levL_settle (lua_State *L, int idx, lev_Object *o) {
  if (o->anchored && !o->kind->active(o))
    unanchor(L, idx, o);
}

/* Pushes the anchored object 'o' on the thread of its base, whose loop runs;
   nil if either is not so. Never raises: all is there. */
static bool find (lua_State *L, const lev_Object *o) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, o->base) != LUA_TUSERDATA)
    return false;
  lua_getiuservalue(L, -1, LEV_UVANCHORS);
  lua_remove(L, -2);
  lua_rawgetp(L, -1, o);
  lua_remove(L, -2);
  return lua_isuserdata(L, -1);
}

/* levL_settle for a callback of libevent's that did not need Lua. */
void levL_rest (lev_Object *o) {
  lua_State *L = o->base->L;
  if (!o->anchored || o->kind->active(o) || !lua_checkstack(L, 8))
    return;
  if (find(L, o))
    unanchor(L, lua_gettop(L), o);
  lua_pop(L, 1);
}

/* ====} */

/* {==== Closing ==== */

/* Frees what libevent holds, and takes 'o' out of its base's ring. The one
   place where an object ends, whoever ends it. C only. */
void levL_free (lev_Object *o) {
  if (o->base == NULL)
    return;
  levL_own(o->base);
  o->kind->free(o);
  o->prev->next = o->next;
  o->next->prev = o->prev;
  o->base = NULL;
  o->anchored = false;
}

/* object:close() -> object; __close and __gc too */
int levL_close (lua_State *L, const lev_Kind *kind) {
  lev_Object *o = luaL_checkudata(L, 1, kind->tname);
  if (o->base) {
    unanchor(L, 1, o);
    levL_free(o);
  }
  lua_pushvalue(L, 1);
  return 1;
}

/* The same from a callback of libevent's. */
void levL_drop (lev_Object *o) {
  lua_State *L = o->base->L;
  if (o->anchored && lua_checkstack(L, 8)) {
    if (find(L, o))
      unanchor(L, lua_gettop(L), o);
    lua_pop(L, 1);
  }
  levL_free(o);
}

/* ====} */

/* {==== The door ==== */

/* Message handler: a string gets its traceback, any other error object stays
   what it is. */
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

/* [-2] object, [-1] error. To the base's error callback; else to whoever
   runs the loop, and the loop ends; else to warn. */
static void fail (lua_State *L, lev_Base *base, int object) {
  int error = lua_gettop(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, base);
  lua_pushcfunction(L, traceback);
  if (lua_getiuservalue(L, error + 1, LEV_UVERRORCB) != LUA_TNIL) {
    lua_pushvalue(L, error);
    lua_pushvalue(L, object);
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

/* Calls f(object, call) for libevent: finding the object, pushing what the
   script is told and calling it all happen inside a protected call. On an
   error 'undo', if any, ends what f had begun before anyone hears of it.
   False if the object is gone or f failed. */
bool levL_protect (lev_Object *o, lua_CFunction f, void *call,
                   void (*undo) (void *call)) {
  lev_Base *base = o->base;
  lua_State *L = base->L;
  int top = lua_gettop(L);
  bool ok = false;
  if (!lua_checkstack(L, LUA_MINSTACK)) {
    base->failed = base->nomemory = base->looping;
    event_base_loopbreak(base->event_base);
  }
  else if (find(L, o)) {                          /* top+1: object */
    lua_pushcfunction(L, traceback);              /* top+2 */
    lua_pushcfunction(L, f);
    lua_pushvalue(L, top + 1);
    lua_pushlightuserdata(L, call);
    ok = (lua_pcall(L, 2, 0, top + 2) == LUA_OK);
    if (!ok && undo)
      undo(call);
    if (!ok)
      fail(L, base, top + 1);
    if (o->base)
      levL_settle(L, top + 1, o);
  }
  else if (undo)
    undo(call);
  lua_settop(L, top);
  levL_own(base);             /* f may have forked */
  levL_freshen(base);
  return ok;
}

/* ====} */
