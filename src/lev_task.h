/*
** lev_task.h: what waits in a task, as its neighbours see it.
**
** A C function that a task calls waits so:
**
**   lev_Task *t = levL_here(L, "stream:read");     raises where nobody can wait
**   levL_begin(L, t, undo, object, timeout);       raises, or begins
**   return lua_yieldk(L, 0, 0, continuation);
**
** Whoever wakes it forgets it first, and calls levL_wake or levL_run; the
** continuation asks levL_woken. 'undo' has it forgotten when the wait ends in
** another way: by its time, a deadline or a cancel.
*/
#ifndef lev_task_h
#define lev_task_h

#include "lev.h"

#pragma GCC visibility push(hidden)

typedef struct lev_Task lev_Task;

typedef void (*lev_Undo) (lua_State *L, lev_Task *t, void *object);

#define LEV_FOREVER (-1.0)    /* the timeout of a wait that has none */

lev_Task *levL_here (lua_State *L, const char *name);
lev_Task *const *levL_current (lua_State *L);
void levL_countstream (lev_Base *base, int n);
lev_Task *levL_hereon (lua_State *L, lev_Task *const *current,
                       const lev_Base *base, const char *name);
void levL_begin (lua_State *L, lev_Task *t, lev_Undo undo, void *object,
                 double timeout);
bool levL_woken (lua_State *L, const lev_Task *t);
void levL_wake (lev_Task *t);
void levL_run (lev_Object *o, lev_Task *t);
int levL_nothing (lua_State *L, const char *message);
double levL_optseconds (lua_State *L, int arg);

void levL_opentaskstream (lua_State *L);

#pragma GCC visibility pop

#endif
