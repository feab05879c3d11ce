/*
** task_run.c: the scheduler of a base, which runs its tasks.
**
** It is an object of the base, anchored while there are tasks, and keeps each
** of them until it has ended. What is ready runs in a turn of the loop, one
** after the other: a task that wakes another one goes on. A coroutine that has
** returned is used again.
*/
#include "lev_scheduler.h"

#include <math.h>

#define LEV_SCHEDULER "libevent.Scheduler"      /* scripts never see one */

#define BATCH 1000            /* tasks that run before others have a turn */
#define SHARE 20              /* the collector rests so many times as long as it
                                 has taken */

static const char states;     /* registry: what tasks have in common */

lev_TaskState *levL_taskstate (lua_State *L) {
  lev_TaskState *state;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &states);
  state = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return state;
}

/* {==== The scheduler ==== */

static bool isactive (const lev_Object *o) {
  const lev_Scheduler *s = (const lev_Scheduler *)o;
  return s->count > 0 || s->busy || s->errors > 0
         || event_pending(&s->collector, EV_TIMEOUT, NULL)
         || event_pending(&s->quiet, EV_TIMEOUT, NULL);
}

static void freescheduler (lev_Object *o) {
  lev_Scheduler *s = (lev_Scheduler *)o;
  o->base->scheduler = NULL;
  event_del(&s->turn);
  event_del(&s->timer);
  event_del(&s->collector);
  event_del(&s->quiet);
  levL_freetimes(s);
}

/* What a script is told whose callback it was. */
static void push (lua_State *L, int object) {
  lua_getiuservalue(L, object, LEV_UVBASE);
}

static const lev_Kind kind = {
  .tname = LEV_SCHEDULER, .active = isactive, .free = freescheduler,
  .push = push
};

/* Pushes a scheduler that is anchored, or false. */
void levL_pushscheduler (lua_State *L, const lev_Scheduler *s) {
  levL_find(L, &s->o);
  lua_remove(L, -2);
}

/* [-1] the scheduler of a task that has not ended becomes that */
static void totask (lua_State *L, const lev_Task *t) {
  lua_getiuservalue(L, -1, UVTASKS);
  lua_rawgetp(L, -1, t);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* Pushes a task that has not ended; its base is open. */
void levL_pushtask (lua_State *L, const lev_Task *t) {
  levL_pushscheduler(L, t->s);
  totask(L, t);
}

/* Something is to be done in a turn of the loop. It needs no memory. */
void levL_hasten (lev_Scheduler *s) {
  if (s->o.base)
    event_active(&s->turn, EV_TIMEOUT, 1);
}

void levL_enqueue (lev_Task *t) {
  lev_Scheduler *s = t->s;
  t->ready = true;
  t->next = NULL;
  if (s->first)
    s->last->next = t;
  else {
    s->first = t;
    if (!s->busy)
      levL_hasten(s);
  }
  s->last = t;
}

static lev_Task *dequeue (lev_Scheduler *s) {
  lev_Task *t = s->first;
  s->first = t->next;
  t->next = NULL;
  t->ready = false;
  return t;
}

/* ====} */

/* {==== Running ==== */

/* [task] has yielded or returned n values, or raised an error. */
static void after (lua_State *L, int task, int status, int n) {
  lev_Task *t = lua_touserdata(L, task);
  if (status == LUA_OK) {
    t->n = n;                 /* more than one stay on its thread */
    if (n == 1) {
      lua_xmove(t->thread, L, 1);
      lua_setiuservalue(L, task, UVRESULT);
    }
    if (n <= 1)
      levL_recycle(L, task);
    levL_finishtask(L, task, DONE);
    return;
  }
  t->running = t->thread;
  if (status == LUA_YIELD) {
    lua_pop(t->thread, n);
    lua_pushliteral(L, "coroutine.yield in a task, outside of any coroutine of "
                       "its own: nobody would resume it");
  }
  else {
    lua_pushvalue(t->thread, -1);
    lua_xmove(t->thread, L, 1);
  }
  levL_cuttask(L, task, false);
}

/* Pushes a task that has just run; it may have closed its base. */
static void pushran (lua_State *L, const lev_Task *t, const lev_Base *base) {
  if (t->s->o.base)
    levL_pushscheduler(L, t->s);
  else {
    levL_pushbase(L, base);
    lua_getiuservalue(L, -1, LEV_UVTASKS);
    lua_replace(L, -2);
  }
  totask(L, t);
}

/* [-1] a task that begins: gives it a coroutine, with its function and its
   arguments. All that needs memory comes first. False if it is cancelled. */
static bool begin (lua_State *L, lev_Task *t) {
  int task = lua_gettop(L);
  lev_Scheduler *s = t->s;
  lua_State *thread;
  lua_getiuservalue(L, task, UVSCHEDULER);
  lua_getiuservalue(L, -1, UVPOOL);
  if (s->idle > 0) {
    lua_rawgeti(L, -1, s->idle);
    thread = lua_tothread(L, -1);
  }
  else
    thread = lua_newthread(L);
  if (!lua_checkstack(thread, t->n + 1))
    levL_nomemory(L);
  if (t->state)               /* perhaps by a finalizer */
    return false;
  if (s->idle > 0) {
    lua_pushnil(L);
    lua_rawseti(L, task + 2, s->idle--);
  }
  lua_getiuservalue(L, task, UVTHREAD);
  for (int i = 1; i <= t->n; i++) {
    lua_getiuservalue(L, task, NUVTASK + i);
    lua_pushnil(L);
    lua_setiuservalue(L, task, NUVTASK + i);
  }
  lua_xmove(L, thread, t->n + 1);
  lua_setiuservalue(L, task, UVTHREAD);
  t->thread = t->running = thread;
  t->started = true;
  return true;
}

/* A task that has run. */
typedef struct Ran {
  lev_Task *t;
  const lev_Base *base;
  int status, n;              /* of lua_resume */
} Ran;

/* Runs a task that is ready: begins it, or ends its wait. True if it waits
   again; raises nothing. */
static bool resume (lua_State *L, lev_Task *t, Ran *r) {
  lev_TaskState *state = t->s->state;
  lev_Task *before = state->current;
  int n = t->n;
  r->t = t;
  r->base = t->s->o.base;
  t->n = 0;
  t->waiting = false;
  t->s->steps++;
  state->current = t;
  r->status = lua_resume(t->thread, L, n, &r->n);
  state->current = before;
  return r->status == LUA_YIELD && t->waiting;
}

/* It does not wait any more: that is the end of it. */
static void end (lua_State *L, const Ran *r) {
  int top = lua_gettop(L);
  pushran(L, r->t, r->base);
  after(L, top + 1, r->status, r->n);
  lua_settop(L, top);
}

static void step (lua_State *L, lev_Task *t) {
  Ran r;
  if (!resume(L, t, &r))
    end(L, &r);
}

/* Runs the first one of the queue. */
static void stepfirst (lua_State *L, lev_Scheduler *s) {
  int top = lua_gettop(L);
  lev_Task *t = s->first;
  if (!t->started) {
    bool begun;
    levL_pushtask(L, t);
    begun = begin(L, t);
    if (!begun) {
      dequeue(s);
      levL_releasetask(L, top + 1);
    }
    lua_settop(L, top);
    if (!begun)
      return;
  }
  step(L, dequeue(s));
}

/* Runs those that are ready, and what they make ready; but not so many that
   nothing else has its turn. */
static void drain (lua_State *L, lev_Scheduler *s) {
  int left = BATCH;
  s->busy = true;
  while (left-- > 0 && s->first && s->o.base)
    stepfirst(L, s);
  s->busy = false;
  if (s->first && s->o.base) {
    levL_hasten(s);
    event_base_loopcontinue(s->o.base->event_base);
  }
}

/* Something has been raised past a task: for lack of memory. */
static void recover (void *data) {
  lev_Scheduler *s = data;
  s->busy = false;
  s->state->current = NULL;
  if (s->first)
    levL_hasten(s);
}

/* [1] scheduler */
static int callturn (lua_State *L) {
  lev_Scheduler *s = lua_touserdata(L, 1);
  drain(L, s);
  if (s->errors == 0)
    return 0;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, UVERRORS);
  lua_rawgeti(L, 2, 1);
  for (int i = 1; i <= s->errors; i++) {
    lua_rawgeti(L, 2, i + 1);
    lua_rawseti(L, 2, i);
  }
  if (--s->errors > 0)
    levL_hasten(s);
  return lua_error(L);
}

static void onturn (evutil_socket_t fd, short what, void *arg) {
  lev_Scheduler *s = arg;
  (void)fd; (void)what;
  levL_protect(&s->o, callturn, s, recover);
}

/* Calls the undo(task, object) of a script's; an error in it is told by
   itself. */
static void undowait (lua_State *L, int task) {
  int top = lua_gettop(L);
  lua_getiuservalue(L, task, UVSCHEDULER);
  lua_getiuservalue(L, task, UVUNDO);
  lua_pushvalue(L, task);
  lua_getiuservalue(L, task, UVOBJECT);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK)
    levL_tellerror(L, top + 1);
  lua_settop(L, top);
}

/* Only a mark: see undowait. */
void levL_undolua (lua_State *L, lev_Task *t, void *object) {
  (void)L; (void)t; (void)object;
}

/* [task] does not wait any more: what it waits for forgets it. */
void levL_unwait (lua_State *L, int task) {
  lev_Task *t = lua_touserdata(L, task);
  lev_Undo f = t->undo;
  t->undo = NULL;
  t->due = HUGE_VAL;
  if (f == levL_undolua)
    undowait(L, task);
  else if (f)
    f(L, t, t->object);
}

/* [1] scheduler: the time of some waits has come. */
static int calltimer (lua_State *L) {
  lev_Scheduler *s = lua_touserdata(L, 1);
  lev_Task *t;
  double time = levL_seconds();
  lua_settop(L, 1);
  if (time < s->armed)
    time = s->armed;
  s->armed = HUGE_VAL;
  s->busy = true;
  while (s->o.base && (t = levL_nextdue(s, time)) != NULL) {
    t->why = LATE;
    if (t->limit && t->due >= t->limit->due) {
      if (t->stop == NULL)
        t->stop = t->limit->whose;
      t->why = STOPPED;
    }
    levL_pushtask(L, t);
    levL_unwait(L, 2);
    lua_settop(L, 1);
    levL_enqueue(t);
  }
  if (s->o.base) {
    levL_armtimes(s);
    drain(L, s);
  }
  return 0;
}

static void ontimer (evutil_socket_t fd, short what, void *arg) {
  lev_Scheduler *s = arg;
  (void)fd; (void)what;
  levL_protect(&s->o, calltimer, s, recover);
}

/* [1] scheduler */
static int callcollector (lua_State *L) {
  lev_Scheduler *s = lua_touserdata(L, 1);
  double began = levL_seconds();
  lua_gc(L, LUA_GCCOLLECT);
  s->collected = levL_seconds() + SHARE * (levL_seconds() - began);
  return 0;
}

static void oncollector (evutil_socket_t fd, short what, void *arg) {
  lev_Scheduler *s = arg;
  (void)fd; (void)what;
  levL_protect(&s->o, callcollector, s, NULL);
}

/* [1] scheduler */
static int callquiet (lua_State *L) {
  lev_Scheduler *s = lua_touserdata(L, 1);
  if (s->steps != s->seen || levL_seconds() < s->collected)
    levL_awaitquiet(s);
  else
    callcollector(L);
  return 0;
}

static void onquiet (evutil_socket_t fd, short what, void *arg) {
  lev_Scheduler *s = arg;
  (void)fd; (void)what;
  levL_protect(&s->o, callquiet, s, NULL);
}

/* Pushes the scheduler of the base at an index, made if there is none. */
lev_Scheduler *levL_needscheduler (lua_State *L, int idx) {
  lev_Base *base = levL_checkbase(L, idx);
  lev_Scheduler *s;
  if (lua_getiuservalue(L, idx, LEV_UVTASKS) == LUA_TUSERDATA)
    return lua_touserdata(L, -1);
  lua_pop(L, 1);
  s = levL_newobject(L, idx, &kind, sizeof(*s), NUVSCHEDULER);
  lua_newtable(L);
  lua_setiuservalue(L, -2, UVTASKS);
  lua_newtable(L);
  lua_setiuservalue(L, -2, UVERRORS);
  levL_newweak(L, "k");
  lua_setiuservalue(L, -2, UVFAILED);
  lua_createtable(L, LEV_POOL, 0);
  lua_setiuservalue(L, -2, UVPOOL);
  if (lua_getiuservalue(L, idx, LEV_UVTASKS) == LUA_TUSERDATA)
    return lua_touserdata(L, -1);     /* a finalizer has made one */
  lua_pop(L, 1);
  levL_checkbase(L, idx);
  s->state = levL_taskstate(L);
  s->armed = HUGE_VAL;
  event_assign(&s->turn, base->event_base, -1, 0, onturn, s);
  event_assign(&s->timer, base->event_base, -1, 0, ontimer, s);
  event_assign(&s->collector, base->event_base, -1, 0, oncollector, s);
  event_assign(&s->quiet, base->event_base, -1, 0, onquiet, s);
  levL_adopt(base, &s->o);
  base->scheduler = s;
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, idx, LEV_UVTASKS);
  return s;
}

/* Its wait ends as it should. */
static void woken (lev_Task *t) {
  t->undo = NULL;
  t->due = HUGE_VAL;
  t->why = WOKEN;
}

/* Ends its wait: it runs soon. C only. */
void levL_wake (lev_Task *t) {
  woken(t);
  levL_enqueue(t);
}

/* [1] Ran */
static int callend (lua_State *L) {
  end(L, lua_touserdata(L, 1));
  return 0;
}

/* lua_resume catches what a task raises: only its end needs protection. */
static bool go (lua_State *L, int msgh, void *data) {
  lev_Task *t = data;
  Ran r;
  if (t->s->busy || t->s->state->current) {
    levL_wake(t);
    return true;
  }
  woken(t);
  if (resume(L, t, &r))
    return true;
  lua_pushcfunction(L, callend);
  lua_pushlightuserdata(L, &r);
  return lua_pcall(L, 1, 0, msgh) == LUA_OK;
}

/* [2] task */
static int callgo (lua_State *L) {
  return go(L, 0, lua_touserdata(L, 2)) ? 0 : lua_error(L);
}

/* The same in a callback of the loop's, for an object: it runs at once. */
void levL_run (lev_Object *o, lev_Task *t) {
  levL_go(o, callgo, go, t);
}

/* ====} */

static int lev_scheduler__gc (lua_State *L) {
  return levL_close(L, &kind);
}

static const luaL_Reg methods[] = {
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_scheduler__gc},
  {NULL, NULL}
};

void levL_opentaskrun (lua_State *L) {
  lev_TaskState *state = lua_newuserdatauv(L, sizeof(*state), 0);
  state->current = NULL;
  lua_rawsetp(L, LUA_REGISTRYINDEX, &states);
  levL_newtype(L, LEV_SCHEDULER, methods, metamethods);
}
