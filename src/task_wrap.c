/*
** task_wrap.c: coroutines inside of tasks, which can wait all the same.
**
** The waits of a coroutine that a task has resumed are the task's: what it
** yields to us goes on to the loop, and what the task is woken with comes back
** to it. Meanwhile nobody else can resume it.
*/
#include "lev_scheduler.h"

static const char inner;      /* registry: coroutines in which a task waits */

/* Notes which task waits in it: none if NULL. [thread] */
static void setwaits (lua_State *L, int thread, lev_Task *t) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &inner);
  lua_pushvalue(L, thread);
  if (t)
    lua_pushlightuserdata(L, t);
  else
    lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static lev_Task *whowaits (lua_State *L, int thread) {
  lev_Task *t;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &inner);
  lua_pushvalue(L, thread);
  lua_rawget(L, -2);
  t = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return t;
}

/* Does a task wait in a coroutine, which is there at that? */
bool levL_isinner (lua_State *L, const lua_State *thread) {
  bool found = false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &inner);
  lua_pushnil(L);
  while (!found && lua_next(L, -2)) {
    found = lua_tothread(L, -2) == thread;
    lua_pop(L, found ? 2 : 1);
  }
  lua_pop(L, 1);
  return found;
}

static int goon (lua_State *L, int n);

static int gone (lua_State *L, int status, lua_KContext ctx) {
  lev_Task *t = levL_taskstate(L)->current;
  (void)status;
  if (t == NULL || t != whowaits(L, 1))
    return luaL_error(L, "a task that waits is resumed by others");
  setwaits(L, 1, NULL);
  t->running = L;
  return goon(L, lua_gettop(L) - (int)ctx);
}

/* [1] coroutine, [2] is it to be as coroutine.resume? */
static int returned (lua_State *L, lua_State *thread, int n) {
  bool resumed = lua_toboolean(L, 2);
  luaL_checkstack(L, n + 1, "too many results to resume");
  if (resumed)
    lua_pushboolean(L, true);
  lua_xmove(thread, L, n);
  return resumed ? n + 1 : n;
}

static int raised (lua_State *L, lua_State *thread) {
  if (lua_toboolean(L, 2)) {
    lua_pushboolean(L, false);
    lua_pushvalue(thread, -1);
    lua_xmove(thread, L, 1);
    return 2;
  }
  if (lua_status(thread) > LUA_YIELD)
    lua_resetthread(thread);  /* closes its variables */
  lua_xmove(thread, L, 1);
  if (lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

/* Resumes it with n values. */
static int goon (lua_State *L, int n) {
  lua_State *thread = lua_tothread(L, 1);
  lev_Task *t = levL_taskstate(L)->current;
  int status, m;
  if (t && (t->running != L || !lua_isyieldable(L)))
    t = NULL;                 /* no task could wait here */
  if (!lua_checkstack(thread, n))
    return luaL_error(L, "too many arguments to resume");
  if (whowaits(L, 1)) {
    lua_settop(L, 2);
    lua_pushliteral(L, "cannot resume non-suspended coroutine");
    if (!lua_toboolean(L, 2))
      return lua_error(L);
    lua_pushboolean(L, false);
    lua_insert(L, 3);
    return 2;
  }
  lua_xmove(L, thread, n);
  if (t)
    t->running = thread;
  status = lua_resume(thread, L, n, &m);
  if (t && status == LUA_YIELD && t->waiting) {
    setwaits(L, 1, t);
    return lua_yieldk(L, 0, lua_gettop(L), gone);
  }
  if (t)
    t->running = L;
  return status == LUA_OK || status == LUA_YIELD ? returned(L, thread, m)
                                                 : raised(L, thread);
}

static int callwrapped (lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_pushboolean(L, false);
  lua_insert(L, 2);
  return goon(L, lua_gettop(L) - 2);
}

/* task.wrap(f) -> function */
static int lev_task_wrap (lua_State *L) {
  lua_State *thread;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  thread = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, thread, 1);
  lua_pushcclosure(L, callwrapped, 1);
  return 1;
}

/* task.resume(thread, ...) -> true, ... | false, error */
static int lev_task_resume (lua_State *L) {
  luaL_checktype(L, 1, LUA_TTHREAD);
  lua_pushboolean(L, true);
  lua_insert(L, 2);
  return goon(L, lua_gettop(L) - 2);
}

/* fields of libevent.core.task */
static const luaL_Reg functions[] = {
  {"wrap", lev_task_wrap},
  {"resume", lev_task_resume},
  {NULL, NULL}
};

/* [-1] libevent.core.task */
void levL_opentaskwrap (lua_State *L) {
  levL_newweak(L, "k");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &inner);
  levL_addtaskfields(L, functions);
}
