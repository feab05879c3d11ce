/*
** lev_scheduler.h: what the files of tasks share.
**
** task.c has what scripts call; task_run.c runs tasks; task_wait.c is how they
** wait, and task_times.c how long; task_end.c how they end; task_wrap.c has
** coroutines inside of them. For who waits in a task: lev_task.h.
*/
#ifndef lev_scheduler_h
#define lev_scheduler_h

#include "lev_task.h"

#pragma GCC visibility push(hidden)

typedef struct lev_Scheduler lev_Scheduler;

#define LEV_POOL 64           /* coroutines that wait for another task */

enum { WAITING, DONE, FAILED, CANCELLED };      /* the state of a task */
enum { WOKEN, LATE, STOPPED };                  /* how a wait has ended */

/* A deadline around a part of a task. */
typedef struct lev_Limit {
  double due;
  struct lev_Limit *whose;    /* itself, or the outer one that comes first */
  struct lev_Limit *outer;
} lev_Limit;

/* user values of a task */
enum { UVSCHEDULER = 1,
       UVTHREAD,              /* before it begins, its function */
       UVUNDO,                /* while Lua waits, a function... */
       UVOBJECT,              /* ...and its argument */
       UVRESULT = UVUNDO,     /* then its result, or its error... */
       UVTRACE = UVOBJECT,    /* ...and where that was */
       UVMORE,                /* a table of these, or nil */
       NUVTASK = UVMORE };    /* then its arguments */
enum { NAME = 1, LAST, LIMIT, UNJOINED, WATCH, JOINERS };

struct lev_Task {
  unsigned stamp;             /* as every object begins, to be told by it */
  int place;                  /* among the times, from 1; or 0 */
  const lev_Kind *kind;
  lev_Scheduler *s;
  lua_State *thread;          /* NULL before it begins, and when nothing is left
                                 on it */
  lua_State *running;         /* of it, or of co.wrap's in it, what waits */
  lev_Task *next;             /* in the queue, or of those that join another */
  lev_Task *joiners;
  lev_Undo undo;              /* of its wait */
  void *object;
  double due;                 /* when its wait ends; HUGE_VAL: never */
  lev_Limit *limit;           /* the innermost deadline, or NULL */
  const void *stop;           /* what each wait raises: 'cancelled', or a Limit
                                 that has passed; or NULL */
  int n;                      /* arguments; values on its thread, to be told;
                                 results */
  unsigned char state, why;
  bool started;
  bool waiting;               /* it has yielded to us */
  bool ready;                 /* it is in the queue */
  bool detached;              /* nobody joins it: errors are told at once */
};

/* What the tasks of a state have in common. */
typedef struct lev_TaskState { lev_Task *current; } lev_TaskState;

typedef struct lev_Time { double at; lev_Task *t; } lev_Time;

/* user values, after LEV_UVBASE */
enum { UVTASKS = 2,           /* task -> its userdata, until it ends */
       UVERRORS,              /* to be told */
       UVFAILED,              /* who tells of what is joined by nobody: a set,
                                 weak */
       UVPOOL,                /* coroutines that have returned */
       NUVSCHEDULER = UVPOOL };

struct lev_Scheduler {
  lev_Object o;
  lev_TaskState *state;
  struct event turn;          /* runs the queue */
  struct event timer;         /* comes at 'armed', or is not set */
  struct event collector;     /* finds who can be joined no more */
  struct event quiet;         /* finds streams that were dropped */
  double armed;
  lev_Task *first, *last;     /* the queue */
  lev_Time *times;            /* a heap */
  int ntimes, size;
  size_t count;               /* of tasks that have not ended */
  int unjoined;               /* that have failed, and may still be joined */
  double collected;           /* not before this time once more */
  unsigned steps, seen;       /* of tasks; and when 'quiet' began */
  int errors;                 /* to be told */
  int idle;                   /* coroutines in the pool */
  bool busy;                  /* it runs the queue */
};

/* {==== task_times.c ==== */

double levL_seconds (void);
bool levL_armtimes (lev_Scheduler *s);
bool levL_notetime (lev_Scheduler *s, lev_Task *t);
void levL_forgettime (lev_Scheduler *s, lev_Task *t);
lev_Task *levL_nextdue (lev_Scheduler *s, double time);
void levL_freetimes (lev_Scheduler *s);

/* ====} */

/* {==== task_end.c ==== */

void levL_tellerror (lua_State *L, int scheduler);
void levL_releasetask (lua_State *L, int task);
void levL_awaitquiet (lev_Scheduler *s);
void levL_recycle (lua_State *L, int task);
void levL_finishtask (lua_State *L, int task, int state);
void levL_cuttask (lua_State *L, int task, bool off);
void levL_setjoined (lua_State *L, int task);
int levL_claim (lua_State *L, int scheduler);
void levL_newhidden (lua_State *L, const char *tname, const char *name,
                     lua_CFunction f);
void levL_opentaskend (lua_State *L);

/* ====} */

/* {==== task_run.c ==== */

lev_TaskState *levL_taskstate (lua_State *L);
lev_Scheduler *levL_needscheduler (lua_State *L, int idx);
void levL_pushscheduler (lua_State *L, const lev_Scheduler *s);
void levL_pushtask (lua_State *L, const lev_Task *t);
void levL_hasten (lev_Scheduler *s);
void levL_enqueue (lev_Task *t);
void levL_undolua (lua_State *L, lev_Task *t, void *object);
void levL_unwait (lua_State *L, int task);
void levL_opentaskrun (lua_State *L);

/* ====} */

/* {==== task_wait.c, task_wrap.c ==== */

extern const char levL_cancelled;     /* lev_Task.stop; registry: what it
                                         raises */
void levL_opentaskwait (lua_State *L);
bool levL_isinner (lua_State *L, const lua_State *thread);
void levL_opentaskwrap (lua_State *L);

/* ====} */

/* {==== task.c ==== */

lev_Task *levL_checktask (lua_State *L, int arg);
int levL_taskmore (lua_State *L, int task, int key);
void levL_settaskmore (lua_State *L, int task, int key);
void levL_addtaskfields (lua_State *L, const luaL_Reg *functions);

/* ====} */

#pragma GCC visibility pop

#endif
