/*
** task_end.c: how tasks end, and who hears of it.
**
** Those that join a task are woken. An error that nobody joins is told where
** errors of callbacks go: at once, if nobody ever can; else when the task is
** garbage, for which the collector is hurried along.
*/
#include "lev_scheduler.h"

#define LEV_UNJOINED "libevent.Unjoined"        /* scripts never see one */

#define QUIET 0.1             /* seconds in which no task runs */
#define PAUSE 0.002           /* seconds until the collector looks who can still
                                 be joined */

/* Tells the error at the top of the stack, popped, where errors of callbacks
   go: in a turn of its own, so that all others go on. [s] the scheduler */
void levL_tellerror (lua_State *L, int scheduler) {
  lev_Scheduler *s = lua_touserdata(L, scheduler);
  lua_getiuservalue(L, scheduler, UVERRORS);
  lua_insert(L, -2);
  lua_rawseti(L, -2, s->errors + 1);
  lua_pop(L, 1);
  if (s->errors++ == 0)
    levL_hasten(s);
}

typedef struct Unjoined { bool joined; } Unjoined;

/* Somebody has joined it, or nobody can. */
static void settle (lev_Scheduler *s, Unjoined *u) {
  u->joined = true;
  if (--s->unjoined == 0 && s->o.base)
    event_del(&s->collector);
}

/* What has failed is garbage: nobody can join it any more. Its user values:
   the error, the scheduler. */
static int lev_unjoined__gc (lua_State *L) {
  Unjoined *u = luaL_checkudata(L, 1, LEV_UNJOINED);
  lua_getiuservalue(L, 1, 2);
  if (!u->joined && lua_touserdata(L, 2)) {
    lev_Scheduler *s = lua_touserdata(L, 2);
    lua_getiuservalue(L, 1, 1);
    settle(s, u);
    if (s->o.base) {
      levL_anchor(L, 2, &s->o);
      levL_tellerror(L, 2);
    }
  }
  return 0;
}

/* [1] task, [2] error -> error with its traceback, traceback; and notes who
   tells of it when nobody joins. In a call of its own: it needs memory. */
static int explain (lua_State *L) {
  const lev_Task *t = lua_touserdata(L, 1);
  bool text = lua_type(L, 2) == LUA_TSTRING;
  luaL_traceback(L, t->running, text ? lua_tostring(L, 2) : NULL, 0);
  if (levL_taskmore(L, 1, NAME) == LUA_TSTRING)
    lua_pushfstring(L, "%s\n\t(in task '%s')", lua_tostring(L, 3),
                    lua_tostring(L, 4));
  else
    lua_pushvalue(L, 3);
  lua_replace(L, 3);
  lua_settop(L, 3);
  lua_pushvalue(L, 2);        /* what the task has failed with... */
  if (text)
    lua_copy(L, 3, 4);        /* ...and where */
  if (!t->detached) {
    Unjoined *u = lua_newuserdatauv(L, sizeof(*u), 2);
    u->joined = true;         /* until it has failed */
    lua_pushvalue(L, 4);
    lua_setiuservalue(L, -2, 1);
    lua_getiuservalue(L, 1, UVSCHEDULER);
    lua_getiuservalue(L, -1, UVFAILED);
    lua_pushvalue(L, -3);
    lua_pushboolean(L, true);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    lua_setiuservalue(L, -2, 2);
    luaL_setmetatable(L, LEV_UNJOINED);
    levL_settaskmore(L, 1, UNJOINED);
  }
  lua_pushvalue(L, 3);
  return 2;
}

static void wakejoiners (lev_Task *t) {
  lev_Task *joiner = t->joiners;
  t->joiners = NULL;
  while (joiner) {
    lev_Task *next = joiner->next;
    levL_wake(joiner);
    joiner = next;
  }
}

/* Lets go of a task that has ended. */
void levL_releasetask (lua_State *L, int task) {
  lev_Task *t = lua_touserdata(L, task);
  lua_getiuservalue(L, task, UVSCHEDULER);
  lua_getiuservalue(L, -1, UVTASKS);
  lua_pushnil(L);
  lua_rawsetp(L, -2, t);
  lua_pop(L, 2);
  t->s->count--;
}

/* A task that has ended may have dropped streams, which would keep the loop
   running until they are collected. So that is done when no task runs for a
   while: where one runs all the time, the collector works anyway. */
void levL_awaitquiet (lev_Scheduler *s) {
  static const struct timeval quiet = {0, (suseconds_t)(QUIET * 1e6)};
  if (s->o.base && s->o.base->streams > 0
      && !event_pending(&s->quiet, EV_TIMEOUT, NULL)) {
    s->seen = s->steps;
    event_add(&s->quiet, &quiet);
  }
}

/* Calls what is to be called when a task has ended. */
static void callmore (lua_State *L, int task, int key) {
  if (levL_taskmore(L, task, key) == LUA_TFUNCTION) {
    lua_pushvalue(L, task);
    lua_call(L, 1, 0);
  }
  else
    lua_pop(L, 1);
}

void levL_finishtask (lua_State *L, int task, int state) {
  lev_Task *t = lua_touserdata(L, task);
  levL_awaitquiet(t->s);
  t->state = (unsigned char)state;
  t->waiting = false;
  levL_forgettime(t->s, t);
  if (!t->ready)              /* else the queue lets go of it */
    levL_releasetask(L, task);
  wakejoiners(t);
  callmore(L, task, LAST);
  callmore(L, task, WATCH);
}

/* Its coroutine, if it has one, is not its own any more. */
static void dropthread (lua_State *L, int task) {
  lev_Task *t = lua_touserdata(L, task);
  t->thread = t->running = NULL;
  lua_pushnil(L);
  lua_setiuservalue(L, task, UVTHREAD);
}

/* Keeps its coroutine for another task. What is on it has been taken. */
void levL_recycle (lua_State *L, int task) {
  lev_Task *t = lua_touserdata(L, task);
  lev_Scheduler *s = t->s;
  lua_settop(t->thread, 0);
  if (s->idle < LEV_POOL) {       /* there is room: it takes no memory */
    lua_getiuservalue(L, task, UVSCHEDULER);
    lua_getiuservalue(L, -1, UVPOOL);
    lua_getiuservalue(L, task, UVTHREAD);
    lua_rawseti(L, -2, ++s->idle);
    lua_pop(L, 2);
  }
  dropthread(L, task);
}

/* Has the collector find out soon who can be joined no more; it takes no more
   than a small part of all time. */
static void hurry (lev_Scheduler *s) {
  double wait = s->collected - levL_seconds();
  struct timeval tv;
  if (s->o.base == NULL || event_pending(&s->collector, EV_TIMEOUT, NULL))
    return;
  wait = wait > PAUSE ? wait : PAUSE;
  tv = levL_totime(wait);
  if (event_add(&s->collector, &tv) < 0)
    event_active(&s->collector, EV_TIMEOUT, 1);
}

/* [-1] the error that has ended a task, popped. */
static void fail (lua_State *L, int task) {
  lev_Task *t = lua_touserdata(L, task);
  int error = lua_gettop(L);
  bool joined = t->joiners != NULL;
  bool held = levL_taskmore(L, task, UNJOINED) == LUA_TUSERDATA;
  if (held && !joined) {
    ((Unjoined *)lua_touserdata(L, -1))->joined = false;
    t->s->unjoined++;
  }
  lua_settop(L, error);
  lua_pushvalue(L, error);
  lua_setiuservalue(L, task, UVRESULT);
  dropthread(L, task);
  levL_finishtask(L, task, FAILED);
  if (!joined && held)
    hurry(t->s);
  else if (!joined) {
    lua_getiuservalue(L, task, UVSCHEDULER);
    lua_insert(L, error);
    levL_tellerror(L, error);
  }
  lua_settop(L, error - 1);
}

/* [-1] what is raised in a task that has been cancelled? */
static bool iscancel (lua_State *L) {
  bool equal;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &levL_cancelled);
  equal = lua_rawequal(L, -1, -2);
  lua_pop(L, 1);
  return equal;
}

/* Ends a coroutine that has not returned: its variables are closed. [-1] what
   it has raised, popped; nothing if it is only cut 'off'. */
void levL_cuttask (lua_State *L, int task, bool off) {
  lev_Task *t = lua_touserdata(L, task);
  int error = lua_gettop(L);
  bool stopped = off || (t->stop == &levL_cancelled && iscancel(L));
  lua_pushvalue(L, error);    /* error + 1: for others to see */
  if (!stopped) {
    lua_pushcfunction(L, explain);
    lua_pushvalue(L, task);
    lua_pushvalue(L, error);
    if (lua_pcall(L, 2, 2, 0) == LUA_OK) {
      lua_setiuservalue(L, task, UVTRACE);
      lua_copy(L, -1, error + 1);
    }
  }
  if (off && levL_isinner(L, t->running))
    lua_resetthread(t->running);
  if (lua_resetthread(t->thread) != LUA_OK) {
    lua_xmove(t->thread, L, 1);
    if (!lua_rawequal(L, -1, error)) {
      lua_copy(L, -1, error + 1);     /* one of the variables has failed */
      stopped = false;
    }
  }
  lua_copy(L, error + 1, error);
  lua_settop(L, error);
  if (!stopped)
    fail(L, task);
  else {
    lua_pop(L, 1);
    dropthread(L, task);
    levL_finishtask(L, task, CANCELLED);
  }
}

/* Somebody joins a task that has failed: nobody else is told of it. */
void levL_setjoined (lua_State *L, int task) {
  const lev_Task *t = lua_touserdata(L, task);
  if (levL_taskmore(L, task, UNJOINED) == LUA_TUSERDATA) {
    Unjoined *u = lua_touserdata(L, -1);
    if (!u->joined)
      settle(t->s, u);
  }
  lua_pop(L, 1);
}

/* [scheduler] pushes true and an error that nobody has joined, or nothing. */
int levL_claim (lua_State *L, int scheduler) {
  lua_getiuservalue(L, scheduler, UVFAILED);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    Unjoined *u = lua_touserdata(L, -2);
    lua_pop(L, 1);
    if (!u->joined) {
      settle(lua_touserdata(L, scheduler), u);
      lua_pushboolean(L, true);
      lua_getiuservalue(L, -2, 1);
      return 2;
    }
  }
  return 0;
}

/* Objects that scripts never call: a finalizer, or a text as an error. */
void levL_newhidden (lua_State *L, const char *tname, const char *name,
                     lua_CFunction f) {
  luaL_newmetatable(L, tname);
  lua_pushcfunction(L, f);
  lua_setfield(L, -2, name);
  lua_pushstring(L, tname);
  lua_setfield(L, -2, "__metatable");
}

void levL_opentaskend (lua_State *L) {
  levL_newhidden(L, LEV_UNJOINED, "__gc", lev_unjoined__gc);
  lua_pop(L, 1);
}
