/*
** log.c: what libevent has to say.
**
** It speaks with its locks held, in any thread, even in a signal handler: no
** place to call Lua. So what it says on a thread where a state listens is
** kept there, in a ring of fixed size, until callback.c tells it to the
** state. On any other thread it is printed, as libevent itself would.
*/
#include "lev.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 32           /* a power of two: 'first' and 'last' overflow */
#define LENGTH 256

typedef struct Message {
  int severity;
  char text[LENGTH];
} Message;

/* A signal handler that speaks between two lines of these functions can cost
   a message, no more: it ends before the next line. */
typedef struct Ring {
  int states;                 /* that listen on this thread */
  unsigned first, last;       /* message n is messages[n % MESSAGES] */
  unsigned lost;              /* since the ring was full, not yet told */
  Message messages[MESSAGES];
} Ring;

static __thread Ring ring;    /* no pointer to a thread, or to Lua */

/* Has anything ever been kept in this process, by any thread? Each callback
   asks. */
unsigned levL_said = 0;

/* Answers of evdns that it had no memory to hand on: that is all it tells. */
unsigned levL_lost = 0;

/* What makes a state listen: a userdata of its registry, which ends with it;
   user value 1 is the callback. */
typedef struct Ear {
  const Ring *ring;           /* of the thread where it listens, or NULL */
} Ear;

static const char earkey = 0;

/* {==== What was said ==== */

static const char *nameof (int severity) {
  switch (severity) {
    case EVENT_LOG_DEBUG: return "debug";
    case EVENT_LOG_MSG: return "msg";
    case EVENT_LOG_WARN: return "warn";
    case EVENT_LOG_ERR: return "err";
    default: return "???";    /* so does libevent */
  }
}

static void print (int severity, const char *text) {
  fprintf(stderr, "[%s] %s\n", nameof(severity), text);
}

/* The first ones stay: the cause comes before its consequences. */
static void keep (int severity, const char *text) {
  Message *m;
  __atomic_store_n(&levL_said, 1, __ATOMIC_RELAXED);
  if (ring.last - ring.first == MESSAGES) {
    ring.lost++;
    return;
  }
  m = &ring.messages[ring.last++ % MESSAGES];
  m->severity = severity;
  snprintf(m->text, LENGTH, "%s", text);
}

/* The oldest one, if there is any; after the last one, how many were lost. */
static bool take (Message *m) {
  if (ring.last != ring.first)
    *m = ring.messages[ring.first++ % MESSAGES];
  else if (ring.lost > 0) {
    m->severity = EVENT_LOG_WARN;
    snprintf(m->text, LENGTH, "%u more messages were lost", ring.lost);
    ring.lost = 0;
  }
  else
    return false;
  return true;
}

static void printall (void) {
  Message m;
  while (take(&m))
    print(m.severity, m.text);
}

/* After an "err" libevent ends the process: there is no later. That a name
   server has failed is no news where nobody listens. */
static void onlog (int severity, const char *text) {
  static const char lost[] = "reply_schedule_callback: ";
  if (strncmp(text, lost, sizeof(lost) - 1) == 0)
    __atomic_add_fetch(&levL_lost, 1, __ATOMIC_RELAXED);
  if (ring.states == 0 && severity == EVENT_LOG_MSG)
    return;
  if (ring.states > 0 && severity != EVENT_LOG_ERR)
    keep(severity, text);
  else {
    printall();
    print(severity, text);
  }
}

/* ====} */

/* {==== Who is told ==== */

/* The number of messages that wait for this state. Mostly it is none, and
   costs a look at the thread's storage. */
unsigned levL_logged (lua_State *L) {
  unsigned n = ring.last - ring.first + (ring.lost > 0);
  const Ear *ear;
  if (n == 0)
    return 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &earkey);
  ear = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return ear->ring == &ring ? n : 0;
}

/* Calls the state's callback, if it still has one, with the oldest message. */
int levL_calllog (lua_State *L) {
  Message m;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &earkey);
  if (lua_getiuservalue(L, -1, 1) != LUA_TNIL && take(&m)) {
    lua_pushstring(L, nameof(m.severity));
    lua_pushstring(L, m.text);
    lua_call(L, 2, 0);
  }
  return 0;
}

/* A state that has changed threads since then leaves its old one a ring that
   fills, nothing more. */
static void listento (Ear *ear, bool on) {
  if (ear->ring == &ring)
    ring.states--;
  ear->ring = on ? &ring : NULL;
  if (on)
    ring.states++;
  if (ring.states == 0)
    printall();
}

/* os.exit closes no state, unless it is asked to. */
static void install (void) {
  event_set_log_callback(onlog);
  atexit(printall);
}

/* From now on what libevent says comes here. */
void levL_heed (void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install);
}

/* libevent.set_log_callback([f]) -> true */
static int lev_set_log_callback (lua_State *L) {
  bool on = levL_optcallback(L, 1);
  lua_settop(L, 1);
  if (on)
    levL_heed();
  lua_rawgetp(L, LUA_REGISTRYINDEX, &earkey);
  listento(lua_touserdata(L, 2), on);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, 1);
  lua_pushboolean(L, true);
  return 1;
}

static int endear (lua_State *L) {
  listento(lua_touserdata(L, 1), false);
  return 0;
}

/* ====} */

static const luaL_Reg functions[] = {
  {"set_log_callback", lev_set_log_callback},
  {NULL, NULL}
};

/* [-1] the module. The ear is there from now on: no allocation later. */
void levL_openlog (lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &earkey) == LUA_TNIL) {
    Ear *ear = lua_newuserdatauv(L, sizeof(*ear), 1);
    ear->ring = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, endear);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &earkey);
  }
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
