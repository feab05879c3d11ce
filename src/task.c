/*
** task.c: tasks, coroutines that wait for the loop.
**
** A task runs in callbacks of its base, one at a time, until it waits: then it
** yields, and whoever it waits for has it run again. Each wait says how it is
** undone, so that a timeout, a deadline or a cancel ends any of them in the
** same way, and nothing is left of it. It is kept until it has ended, whoever
** holds it; lua/libevent/co.lua has what needs no C.
*/
#include "lev_scheduler.h"

#include <math.h>
#include <string.h>

static const lev_Kind taskkind = {.tname = LEV_TASK};

lev_Task *levL_checktask (lua_State *L, int arg) {
  return levL_checkobject(L, arg, &taskkind);
}

int levL_taskmore (lua_State *L, int task, int key) {
  if (lua_getiuservalue(L, task, UVMORE) == LUA_TTABLE) {
    lua_rawgeti(L, -1, key);
    lua_replace(L, -2);
  }
  return lua_type(L, -1);
}

/* [-1] the value, which is popped. */
void levL_settaskmore (lua_State *L, int task, int key) {
  task = lua_absindex(L, task);
  if (lua_getiuservalue(L, task, UVMORE) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, task, UVMORE);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, key);
  lua_pop(L, 1);
}

/* {==== Tasks ==== */

/* Pushes a new task of the scheduler at an index, for a function and its
   arguments, from index 'f' on, which are popped. */
static lev_Task *newtask (lua_State *L, int scheduler, int f) {
  lev_Scheduler *s = lua_touserdata(L, scheduler);
  int n = lua_gettop(L) - f;
  lev_Task *t = lua_newuserdatauv(L, sizeof(*t), NUVTASK + n);
  memset(t, 0, sizeof(*t));
  t->stamp = levL_secret;
  t->kind = &taskkind;
  t->s = s;
  t->due = HUGE_VAL;
  t->n = n;
  luaL_setmetatable(L, LEV_TASK);
  lua_insert(L, f);           /* then the function */
  for (int i = n; i > 0; i--)
    lua_setiuservalue(L, f, NUVTASK + i);
  lua_setiuservalue(L, f, UVTHREAD);
  lua_pushvalue(L, scheduler);
  lua_setiuservalue(L, f, UVSCHEDULER);
  lua_getiuservalue(L, scheduler, UVTASKS);
  lua_pushvalue(L, f);
  lua_rawsetp(L, -2, t);
  lua_pop(L, 1);
  if (s->o.base == NULL || s->o.base->closing)
    luaL_error(L, "Base is closed");    /* by a finalizer */
  s->count++;
  return t;
}

/* Pushes the scheduler of the base at index 1, or else of the task that
   runs. */
static lev_Scheduler *getscheduler (lua_State *L, bool base) {
  const lev_Task *t = levL_taskstate(L)->current;
  lev_Scheduler *s;
  if (base)
    s = levL_needscheduler(L, 1);
  else if (t == NULL || t->s->o.base == NULL) {
    luaL_error(L, "no task runs: name the base");
    return NULL;
  }
  else {
    s = t->s;
    levL_pushscheduler(L, s);
  }
  if (s->o.slot == 0)
    levL_anchor(L, -1, &s->o);
  return s;
}

static bool isbase (lua_State *L, int arg) {
  return luaL_testudata(L, arg, LEV_BASE) != NULL;
}

/* task.spawn([base,] f, ...) -> task */
static int lev_task_spawn (lua_State *L) {
  bool base = isbase(L, 1);
  int f = base ? 2 : 1;
  lev_Task *t;
  luaL_checktype(L, f, LUA_TFUNCTION);
  getscheduler(L, base);
  lua_insert(L, f);
  t = newtask(L, f, f + 1);
  levL_enqueue(t);
  return 1;
}

/* task.start(base, name, last, f, ...) -> task: nobody joins it; last() is
   called when it has ended. */
static int lev_task_start (lua_State *L) {
  lev_Task *t;
  luaL_checktype(L, 4, LUA_TFUNCTION);
  getscheduler(L, true);
  lua_insert(L, 4);
  t = newtask(L, 4, 5);
  t->detached = true;
  lua_pushvalue(L, 2);
  levL_settaskmore(L, -2, NAME);
  lua_pushvalue(L, 3);
  levL_settaskmore(L, -2, LAST);
  levL_enqueue(t);
  return 1;
}

/* task.current() -> task | nil */
static int lev_task_current (lua_State *L) {
  const lev_Task *t = levL_taskstate(L)->current;
  if (t && t->s->o.base)
    levL_pushtask(L, t);
  else
    lua_pushnil(L);
  return 1;
}

/* task.base() -> base | nil */
static int lev_task_base (lua_State *L) {
  const lev_Task *t = levL_taskstate(L)->current;
  if (t && t->s->o.base)
    levL_pushbase(L, t->s->o.base);
  else
    lua_pushnil(L);
  return 1;
}

/* task.runs(base) -> boolean: is its loop running? */
static int lev_task_runs (lua_State *L) {
  const lev_Base *base = levL_checkbase(L, 1);
  lua_pushboolean(L, base->looping || base->calls > 0);
  return 1;
}

/* task.tasks([base]) -> list of those that have not ended; of a closed base,
   too */
static int lev_task_tasks (lua_State *L) {
  lua_Integer n = 0;
  if (!isbase(L, 1))
    getscheduler(L, false);
  else if (lua_getiuservalue(L, 1, LEV_UVTASKS) != LUA_TUSERDATA) {
    lua_newtable(L);
    return 1;
  }
  lua_getiuservalue(L, -1, UVTASKS);
  lua_newtable(L);
  lua_pushnil(L);
  while (lua_next(L, -3)) {
    const lev_Task *t = lua_touserdata(L, -1);
    if (t->state)
      lua_pop(L, 1);
    else
      lua_rawseti(L, -3, ++n);
  }
  return 1;
}

/* task.claim(base) -> true, error: one that nobody has joined; or nothing. */
static int lev_task_claim (lua_State *L) {
  luaL_checkudata(L, 1, LEV_BASE);
  lua_settop(L, 1);
  if (lua_getiuservalue(L, 1, LEV_UVTASKS) != LUA_TUSERDATA)
    return 0;
  return levL_claim(L, 2);
}

static int setfunction (lua_State *L, int key) {
  levL_checktask(L, 1);
  lua_settop(L, 2);
  levL_settaskmore(L, 1, key);
  return 0;
}

/* task.last(task, f): has f(task) called when it has ended: for who makes it */
static int lev_task_last (lua_State *L) {
  return setfunction(L, LAST);
}

/* task.watch(task, f): the same for co.select, which may watch any */
static int lev_task_watch (lua_State *L) {
  return setfunction(L, WATCH);
}

/* [task] what its function has returned; or raises its error, of which nobody
   else is told any more. */
static int result (lua_State *L, int task) {
  lev_Task *t = lua_touserdata(L, task);
  if (t->state == DONE && t->n == 1) {
    lua_getiuservalue(L, task, UVRESULT);
    return 1;
  }
  if (t->state == DONE) {
    luaL_checkstack(L, 2 * t->n, "too many results");
    for (int i = 1; i <= t->n; i++) {
      lua_checkstack(t->thread, 1);
      lua_pushvalue(t->thread, i);
      lua_xmove(t->thread, L, 1);
    }
    return t->n;
  }
  if (t->state == CANCELLED)
    return levL_nothing(L, "cancelled");
  levL_setjoined(L, task);
  lua_getiuservalue(L, task, UVRESULT);
  return lua_error(L);
}

static void unjoin (lua_State *L, lev_Task *t, void *object) {
  lev_Task **p = &((lev_Task *)object)->joiners;
  (void)L;
  while (*p && *p != t)
    p = &(*p)->next;
  if (*p)
    *p = t->next;
  t->next = NULL;
}

static int joined (lua_State *L, int status, lua_KContext ctx) {
  (void)status; (void)ctx;
  if (levL_woken(L, levL_taskstate(L)->current))
    return result(L, 1);
  return levL_nothing(L, "timeout");
}

/* [1] a task keeps one that joins it from another base, which may be garbage
   before it ends. */
static void keepjoiner (lua_State *L, const lev_Task *t) {
  if (levL_taskmore(L, 1, JOINERS) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    levL_settaskmore(L, 1, JOINERS);
  }
  levL_pushtask(L, t);
  lua_pushboolean(L, true);
  lua_rawset(L, -3);
  lua_settop(L, 1);
}

/* task:join([timeout]) -> what f returned | nil, "cancelled" | "timeout" */
static int lev_task_join (lua_State *L) {
  lev_Task *target = levL_checktask(L, 1);
  double timeout = levL_optseconds(L, 2);
  lev_Task *t;
  lua_settop(L, 1);
  if (target->state)
    return result(L, 1);
  t = levL_here(L, "task:join");
  if (t == target)
    return luaL_error(L, "a task cannot join itself");
  if (t->s != target->s)
    keepjoiner(L, t);
  if (target->state)          /* ended by a finalizer */
    return result(L, 1);
  t->next = target->joiners;
  target->joiners = t;
  levL_begin(L, t, unjoin, target, timeout);
  return lua_yieldk(L, 0, 0, joined);
}

/* task:cancel() -> task: it raises where it waits, now and in each wait to
   come. */
static int lev_task_cancel (lua_State *L) {
  lev_Task *t = levL_checktask(L, 1);
  lev_TaskState *state = levL_taskstate(L);
  lua_settop(L, 1);
  if (t->state || (t->stop == &levL_cancelled && t->s->o.base))
    return 1;
  t->stop = &levL_cancelled;
  if (t == state->current) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &levL_cancelled);
    return lua_error(L);
  }
  if (!t->started) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, UVTHREAD);
    levL_finishtask(L, 1, CANCELLED);
  }
  else if (t->s->o.base == NULL) {      /* no loop will ever run it */
    if (lua_status(t->thread) == LUA_YIELD) {
      levL_unwait(L, 1);
      lua_pushnil(L);
      levL_cuttask(L, 1, true);
    }
  }
  else if (t->waiting && !t->ready) {
    levL_unwait(L, 1);
    t->why = STOPPED;
    levL_enqueue(t);
  }
  return 1;
}

static const char *statusof (const lev_Task *t, const lev_TaskState *state) {
  static const char *const names[] = {"waiting", "done", "failed", "cancelled"};
  return t == state->current ? "running" : names[t->state];
}

/* task:status() -> word */
static int lev_task_status (lua_State *L) {
  lua_pushstring(L, statusof(levL_checktask(L, 1), levL_taskstate(L)));
  return 1;
}

/* task:traceback() -> string */
static int lev_task_traceback (lua_State *L) {
  const lev_Task *t = levL_checktask(L, 1);
  if (t->state == FAILED)
    lua_getiuservalue(L, 1, UVTRACE);
  else if (t->state || t->thread == NULL)
    lua_pushliteral(L, "");
  else
    luaL_traceback(L, levL_isinner(L, t->running) ? t->running : t->thread,
                   NULL, 0);
  return 1;
}

/* task:name() -> string | nil */
static int lev_task_name (lua_State *L) {
  levL_checktask(L, 1);
  levL_taskmore(L, 1, NAME);
  return 1;
}

/* task:set_name([name]) -> task */
static int lev_task_set_name (lua_State *L) {
  levL_checktask(L, 1);
  if (!lua_isnoneornil(L, 2))
    luaL_checkstring(L, 2);
  lua_settop(L, 2);
  levL_settaskmore(L, 1, NAME);
  return 1;
}

static int lev_task__tostring (lua_State *L) {
  const lev_Task *t = levL_checktask(L, 1);
  const char *status = statusof(t, levL_taskstate(L));
  if (levL_taskmore(L, 1, NAME) == LUA_TSTRING)
    lua_pushfstring(L, "%s (%s, %s)", LEV_TASK, lua_tostring(L, -1), status);
  else
    lua_pushfstring(L, "%s (%p, %s)", LEV_TASK, lua_topointer(L, 1), status);
  return 1;
}

/* ====} */

static const luaL_Reg methods[] = {
  {"join", lev_task_join},
  {"cancel", lev_task_cancel},
  {"status", lev_task_status},
  {"traceback", lev_task_traceback},
  {"name", lev_task_name},
  {"set_name", lev_task_set_name},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__close", lev_task_cancel},
  {"__tostring", lev_task__tostring},
  {NULL, NULL}
};

/* fields of libevent.core.task, what libevent.co is made of */
static const luaL_Reg functions[] = {
  {"spawn", lev_task_spawn},
  {"start", lev_task_start},
  {"current", lev_task_current},
  {"base", lev_task_base},
  {"runs", lev_task_runs},
  {"tasks", lev_task_tasks},
  {"claim", lev_task_claim},
  {"last", lev_task_last},
  {"watch", lev_task_watch},
  {NULL, NULL}
};

/* [-1] a table, which gets these fields */
void levL_addtaskfields (lua_State *L, const luaL_Reg *f) {
  for (; f->name; f++) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
}

/* [-1] the module, which gets a field "task" */
void levL_opentask (lua_State *L) {
  levL_newtype(L, LEV_TASK, methods, metamethods);
  levL_opentaskrun(L);
  levL_opentaskend(L);
  lua_newtable(L);
  levL_addtaskfields(L, functions);
  levL_opentaskwait(L);
  levL_opentaskwrap(L);
  levL_opentaskstream(L);
  lua_setfield(L, -2, "task");
}
