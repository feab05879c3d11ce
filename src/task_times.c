/*
** task_times.c: when the waits of tasks end.
**
** A heap, and one timer for the first of it. That a task waits no longer costs
** nothing: its place stays, and tells of nobody when its time has come; or
** serves its next wait, if that ends later. A task reads a thousand times with
** a timeout and moves once.
*/
#include "lev_scheduler.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

double levL_seconds (void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void put (lev_Scheduler *s, int i, lev_Time x) {
  s->times[i - 1] = x;
  x.t->place = i;
}

static void rise (lev_Scheduler *s, int i, lev_Time x) {
  for (; i > 1 && s->times[i / 2 - 1].at > x.at; i /= 2)
    put(s, i, s->times[i / 2 - 1]);
  put(s, i, x);
}

static void sink (lev_Scheduler *s, int i, lev_Time x) {
  int below;
  while ((below = 2 * i) <= s->ntimes) {
    if (below < s->ntimes && s->times[below].at < s->times[below - 1].at)
      below++;
    if (s->times[below - 1].at >= x.at)
      break;
    put(s, i, s->times[below - 1]);
    i = below;
  }
  put(s, i, x);
}

/* Has the timer come for the first one; false without memory. */
bool levL_armtimes (lev_Scheduler *s) {
  double left;
  struct timeval tv;
  if (s->ntimes == 0) {
    event_del(&s->timer);
    s->armed = HUGE_VAL;
    return true;
  }
  if (s->times[0].at >= s->armed)
    return true;
  left = s->times[0].at - levL_seconds();
  tv = levL_totime(left > 0 ? left < 1e9 ? left : 1e9 : 0);
  s->o.base->timed = true;
  levL_freshen(s->o.base);
  if (event_add(&s->timer, &tv) < 0)
    return false;
  s->armed = s->times[0].at;
  return true;
}

static void take (lev_Scheduler *s, int i) {
  lev_Time x = s->times[s->ntimes - 1];
  s->times[i - 1].t->place = 0;
  s->ntimes--;
  if (i > s->ntimes)
    return;
  if (i > 1 && x.at < s->times[i / 2 - 1].at)
    rise(s, i, x);
  else
    sink(s, i, x);
}

/* Notes that the wait of a task ends at t->due; false without memory. */
bool levL_notetime (lev_Scheduler *s, lev_Task *t) {
  lev_Time x = {t->due, t};
  if (t->place) {
    if (x.at < s->times[t->place - 1].at)
      rise(s, t->place, x);
  }
  else {
    if (s->ntimes == s->size) {
      int size = s->size ? 2 * s->size : 16;
      lev_Time *times = realloc(s->times, (size_t)size * sizeof(*times));
      if (times == NULL)
        return false;
      s->times = times;
      s->size = size;
    }
    rise(s, ++s->ntimes, x);
  }
  return levL_armtimes(s);
}

/* A task that never waits again. */
void levL_forgettime (lev_Scheduler *s, lev_Task *t) {
  if (t->place && s->o.base) {
    take(s, t->place);
    if (s->ntimes == 0)
      levL_armtimes(s);
  }
}

/* Takes out the first task whose wait has ended by then; NULL if there is
   none. */
lev_Task *levL_nextdue (lev_Scheduler *s, double time) {
  while (s->ntimes > 0 && s->times[0].at <= time) {
    lev_Task *t = s->times[0].t;
    if (t->due > time && t->due < HUGE_VAL) {
      lev_Time x = {t->due, t};
      sink(s, 1, x);
      continue;
    }
    take(s, 1);
    if (t->due <= time)
      return t;
  }
  return NULL;
}

/* The base is closed. */
void levL_freetimes (lev_Scheduler *s) {
  for (int i = 0; i < s->ntimes; i++)
    s->times[i].t->place = 0;
  free(s->times);
  s->times = NULL;
  s->ntimes = s->size = 0;
}
