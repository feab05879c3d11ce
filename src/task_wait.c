/*
** task_wait.c: how a task waits, and what it raises when it is to end.
**
** Lua's own waits are made of `here`, `wait` and `wake`; deadlines are around
** any of them.
*/
#include "lev_scheduler.h"

#include <math.h>

/* scripts see these as errors only */
#define LEV_LIMIT "libevent.Limit"
#define LEV_CANCELLED "libevent.Cancelled"

const char levL_cancelled;

/* {==== Waiting ==== */

/* Pushes what a task that is stopped raises. */
static void pushstop (lua_State *L, const lev_Task *t) {
  if (t->stop == &levL_cancelled) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &levL_cancelled);
    return;
  }
  levL_pushtask(L, t);
  levL_taskmore(L, -1, LIMIT);
  lua_remove(L, -2);
  while (lua_isuserdata(L, -1) && lua_touserdata(L, -1) != t->stop) {
    lua_getiuservalue(L, -1, 1);
    lua_remove(L, -2);
  }
}

static int raisestop (lua_State *L, int status, lua_KContext ctx) {
  (void)status; (void)ctx;
  pushstop(L, levL_taskstate(L)->current);
  return lua_error(L);
}

static int complain (lua_State *L, int level, const char *name,
                     const char *what) {
  luaL_where(L, level);
  lua_pushfstring(L, "%s%s", name, what);
  lua_concat(L, 2);
  return lua_error(L);
}

/* The task that runs, which is about to wait in the function 'name', so many
   levels up. Raises where it cannot; and what ends it, if it is to end: then
   after a turn for others, as it may catch that for ever. */
static lev_Task *checkhere (lua_State *L, lev_Task *t, int level,
                            const char *name) {
  if (t == NULL)
    complain(L, level, name, " waits, in no task: see co.spawn");
  else if (t->running != L)
    complain(L, level, name, " waits, in a coroutine of a task's: see co.wrap");
  else if (!lua_isyieldable(L))
    complain(L, level, name,
             " waits: attempt to yield across a C-call boundary");
  else if (t->s->o.base == NULL)
    complain(L, level, name, " waits, but the base is closed");
  else if (t->stop) {
    levL_begin(L, t, NULL, NULL, 0);
    lua_yieldk(L, 0, 0, raisestop);
  }
  return t;
}

lev_Task *levL_here (lua_State *L, const char *name) {
  return checkhere(L, levL_taskstate(L)->current, 1, name);
}

/* The same for an object that has asked for the place of the task that runs,
   and is of a base. */
lev_Task *levL_hereon (lua_State *L, lev_Task *const *current,
                       const lev_Base *base, const char *name) {
  lev_Task *t = checkhere(L, *current, 1, name);
  if (t->s->o.base != base)
    luaL_error(L, "%s: the object is of another base than the task", name);
  return t;
}

lev_Task *const *levL_current (lua_State *L) {
  return &levL_taskstate(L)->current;
}

/* One more stream is open, or one less. */
void levL_countstream (lev_Base *base, int n) {
  base->streams += n;
  if (base->streams == 0 && base->scheduler)
    event_del(&base->scheduler->quiet);
}

/* The task waits from now on: the next thing is lua_yieldk. */
void levL_begin (lua_State *L, lev_Task *t, lev_Undo undo, void *object,
                 double timeout) {
  t->due = timeout >= 0 ? levL_seconds() + timeout : HUGE_VAL;
  if (t->limit && t->limit->due < t->due)
    t->due = t->limit->due;
  t->undo = undo;
  t->object = object;
  if (t->due < HUGE_VAL && !levL_notetime(t->s, t)) {
    levL_pushtask(L, t);
    levL_unwait(L, lua_gettop(L));
    levL_nomemory(L);
  }
  t->waiting = true;
}

/* In the continuation of a task: false if the time is over. Raises what ends
   the task. */
bool levL_woken (lua_State *L, const lev_Task *t) {
  if (t == NULL || t->running != L)
    return luaL_error(L, "a task that waits is resumed by others");
  if (t->why == STOPPED)
    raisestop(L, 0, 0);
  return t->why == WOKEN;
}

/* What a wait returns that has come to nothing. */
int levL_nothing (lua_State *L, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  return 2;
}

/* Seconds, or LEV_FOREVER for nil. */
double levL_optseconds (lua_State *L, int arg) {
  lua_Number n;
  if (lua_isnoneornil(L, arg))
    return LEV_FOREVER;
  n = luaL_checknumber(L, arg);
  luaL_argcheck(L, n >= 0 && n <= 2147483647, arg,
                "seconds from 0 to 2147483647 expected");
  return n;
}

/* ====} */

/* {==== Waits of Lua's ==== */

static int waited (lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  if (levL_woken(L, levL_taskstate(L)->current))
    return lua_gettop(L) - (int)ctx;
  return levL_nothing(L, "timeout");
}

/* task.here(name) -> task: for a function in Lua that waits */
static int lev_task_here (lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  levL_pushtask(L, checkhere(L, levL_taskstate(L)->current, 2, name));
  return 1;
}

/* task.wait(task [, undo [, object [, timeout]]]) -> values of wake */
static int lev_task_wait (lua_State *L) {
  lev_Task *t = levL_checktask(L, 1);
  double timeout = levL_optseconds(L, 4);
  bool undoes = !lua_isnoneornil(L, 2);
  luaL_argcheck(L, t == levL_taskstate(L)->current && t->running == L, 1,
                "task that runs expected");
  lua_settop(L, 3);
  if (undoes) {
    lua_setiuservalue(L, 1, UVOBJECT);
    lua_setiuservalue(L, 1, UVUNDO);
  }
  lua_settop(L, 0);
  levL_begin(L, t, undoes ? levL_undolua : NULL, NULL, timeout);
  return lua_yieldk(L, 0, 0, waited);
}

static int slept (lua_State *L, int status, lua_KContext ctx) {
  (void)status; (void)ctx;
  levL_woken(L, levL_taskstate(L)->current);
  return 0;
}

/* task.sleep(seconds) */
static int lev_task_sleep (lua_State *L) {
  lev_Task *t;
  luaL_checknumber(L, 1);
  t = levL_here(L, "co.sleep");
  levL_begin(L, t, NULL, NULL, levL_optseconds(L, 1));
  return lua_yieldk(L, 0, 0, slept);
}

/* task.wake(task, ...): ends its wait, which returns these values. */
static int lev_task_wake (lua_State *L) {
  lev_Task *t = levL_checktask(L, 1);
  int n = lua_gettop(L) - 1;
  if (!t->waiting || t->ready || (t->undo && t->undo != levL_undolua))
    return 0;                 /* it has ended, or waits for something else */
  if (t->s->o.base == NULL) {
    t->undo = NULL;           /* no loop will ever run it */
    return 0;
  }
  luaL_checkstack(t->thread, n, "too many values");
  lua_xmove(L, t->thread, n);
  t->n = n;
  levL_wake(t);
  return 0;
}

/* ====} */

/* {==== Deadlines ==== */

/* [1] Limit, [2] task, then what the function has returned, or its error */
static int limited (lua_State *L, int status, lua_KContext ctx) {
  lev_Limit *l = lua_touserdata(L, 1);
  lev_Task *t = lua_touserdata(L, 2);
  (void)ctx;
  t->limit = l->outer;
  if (t->stop == l)
    t->stop = NULL;
  lua_getiuservalue(L, 1, 1);
  levL_settaskmore(L, 2, LIMIT);
  if (status == LUA_OK || status == LUA_YIELD)
    return lua_gettop(L) - 2;
  if (lua_touserdata(L, -1) != l)
    return lua_error(L);
  return levL_nothing(L, "timeout");
}

/* task.deadline(seconds, f, ...) -> what f returns | nil, "timeout" */
static int lev_task_deadline (lua_State *L) {
  lev_Task *t = levL_here(L, "co.deadline");
  int n = lua_gettop(L) - 2;
  double seconds;
  lev_Limit *l;
  luaL_checkany(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  seconds = levL_optseconds(L, 1);
  l = lua_newuserdatauv(L, sizeof(*l), 1);
  l->due = seconds < 0 ? HUGE_VAL : levL_seconds() + seconds;
  l->whose = l;
  l->outer = t->limit;
  if (l->outer && l->outer->due <= l->due) {
    l->due = l->outer->due;
    l->whose = l->outer->whose;
  }
  luaL_setmetatable(L, LEV_LIMIT);
  lua_replace(L, 1);
  levL_pushtask(L, t);
  lua_insert(L, 2);
  levL_taskmore(L, 2, LIMIT);
  lua_setiuservalue(L, 1, 1);
  lua_pushvalue(L, 1);
  levL_settaskmore(L, 2, LIMIT);
  t->limit = l;
  return limited(L, lua_pcallk(L, n, LUA_MULTRET, 0, 0, limited), 0);
}

static int lev_limit__tostring (lua_State *L) {
  lua_pushliteral(L, "libevent.co: a deadline has passed");
  return 1;
}

static int lev_cancelled__tostring (lua_State *L) {
  lua_pushliteral(L, "libevent.co: the task is cancelled");
  return 1;
}

/* ====} */

/* fields of libevent.core.task */
static const luaL_Reg functions[] = {
  {"here", lev_task_here},
  {"wait", lev_task_wait},
  {"wake", lev_task_wake},
  {"sleep", lev_task_sleep},
  {"deadline", lev_task_deadline},
  {NULL, NULL}
};

/* [-1] libevent.core.task */
void levL_opentaskwait (lua_State *L) {
  levL_newhidden(L, LEV_LIMIT, "__tostring", lev_limit__tostring);
  lua_pop(L, 1);
  lua_newuserdatauv(L, 0, 0);
  levL_newhidden(L, LEV_CANCELLED, "__tostring", lev_cancelled__tostring);
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &levL_cancelled);
  levL_addtaskfields(L, functions);
}
