/*
** event.c: struct event: descriptors, timers, signals, events of the script.
**
** The struct is part of the userdata. It is anchored while it is pending or
** active, which libevent says itself; fired, deleted or closed, it is the
** script's alone.
*/
#include "lev.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* user values, after LEV_UVBASE */
enum { CALLBACK = 2,
       WORD,                  /* what its callback is told, mostly */
       DESCRIPTOR,
       NUSERVALUES = DESCRIPTOR };

typedef struct lev_Event {
  lev_Object o;
  struct event ev;
  short word;                 /* what stands for it in libevent */
  bool signals;               /* has taken the process's signals */
  bool again;                 /* during event_reinit: is to be added again... */
  bool timed;                 /* ...with a timeout... */
  struct timeval left;        /* ...of this, from now on */
} lev_Event;

#define IO (EV_READ | EV_WRITE | EV_CLOSED)

/* what base:active_by_fd can say */
static const lev_Word fdwords[] = {
  {"read", EV_READ}, {"write", EV_WRITE}, {"closed", EV_CLOSED},
  {"timeout", EV_TIMEOUT}, {NULL, 0}
};

/* what an event on a descriptor can be made of */
static const lev_Word iowords[] = {
  {"read", EV_READ}, {"write", EV_WRITE}, {"closed", EV_CLOSED},
  {"persist", EV_PERSIST}, {"et", EV_ET}, {"timeout", EV_TIMEOUT}, {NULL, 0}
};

static const lev_Word timerwords[] = {
  {"persist", EV_PERSIST}, {"timeout", EV_TIMEOUT}, {NULL, 0}
};

/* what a callback is told, and event:active and event:pending can be */
static const lev_Word whatwords[] = {
  {"timeout", EV_TIMEOUT}, {"read", EV_READ}, {"write", EV_WRITE},
  {"signal", EV_SIGNAL}, {"closed", EV_CLOSED}, {NULL, 0}
};

static const lev_Word eventwords[] = {
  {"timeout", EV_TIMEOUT}, {"read", EV_READ}, {"write", EV_WRITE},
  {"signal", EV_SIGNAL}, {"closed", EV_CLOSED}, {"persist", EV_PERSIST},
  {"et", EV_ET}, {NULL, 0}
};

/* {==== Kind and accessors ==== */

static bool isadded (const lev_Event *e) {
  return e->ev.ev_evcallback.evcb_flags & (EVLIST_INSERTED | EVLIST_TIMEOUT);
}

/* event_pending does not see an event made active with no word at all. */
static bool isactive (const lev_Object *o) {
  const lev_Event *e = (const lev_Event *)o;
  return isadded(e) || (e->ev.ev_evcallback.evcb_flags
                        & (EVLIST_ACTIVE | EVLIST_ACTIVE_LATER));
}

static void dropsignals (lev_Event *e) {
  if (e->signals)
    levL_dropsignals(e->o.base->event_base, 1);
  e->signals = false;
}

/* A signal event that is deleted between two calls for one signal keeps a
   pointer into the stack of libevent's loop, and the next event_del would
   write through it. */
static void delevent (lev_Event *e) {
  event_del(&e->ev);
  if (e->ev.ev_events & EV_SIGNAL) {
    e->ev.ev_.ev_signal.ev_ncalls = 0;
    e->ev.ev_.ev_signal.ev_pncalls = NULL;
  }
}

static void freeevent (lev_Object *o) {
  lev_Event *e = (lev_Event *)o;
  delevent(e);
  dropsignals(e);
}

/* A signal event is deleted while event_reinit works, and added again with
   what is left of its timeout. */
static bool reinitevent (lev_Object *o, bool done) {
  lev_Event *e = (lev_Event *)o;
  if (!done) {
    e->again = e->signals && isadded(e);
    if (e->again) {
      e->timed = levL_left(e->o.base, &e->ev, &e->left);
      delevent(e);
    }
    return true;
  }
  if (!e->again || event_add(&e->ev, e->timed ? &e->left : NULL) == 0)
    return true;
  dropsignals(e);
  return false;
}

static const lev_Kind kind = {
  .tname = LEV_EVENT, .active = isactive, .free = freeevent,
  .reinit = reinitevent
};

static lev_Event *checkevent (lua_State *L) {
  return levL_checkopen(L, 1, &kind);
}

/* ====} */

/* {==== From libevent to Lua ==== */

/* The words of what an event is made of, waits for or is active for. */
void levL_pushevents (lua_State *L, int events) {
  levL_pushwords(L, events & (IO | EV_TIMEOUT | EV_SIGNAL | EV_PERSIST | EV_ET),
                 eventwords);
}

/* [1] event, [2] what */
static int callevent (lua_State *L) {
  short what = *(short *)lua_touserdata(L, 2);
  lua_getiuservalue(L, 1, CALLBACK);
  lua_pushvalue(L, 1);
  levL_pushwords(L, what & (IO | EV_TIMEOUT | EV_SIGNAL), whatwords);
  lua_call(L, 2, 0);
  return 0;
}

static void onevent (evutil_socket_t fd, short what, void *arg) {
  lev_Event *e = arg;
  (void)fd;
  if (e->o.base == NULL)
    return;                   /* closed between two calls for one signal */
  if (!isadded(e))
    dropsignals(e);           /* a signal event ends with its timeout */
  if (what == e->word)
    levL_call(&e->o, CALLBACK, WORD);
  else
    levL_protect(&e->o, callevent, &what, NULL);
}

/* ====} */

/* {==== Constructors ==== */

/* The one word that tells of most events of this sort, or 0. */
static short usual (short what) {
  short word = what & (IO | EV_SIGNAL | EV_TIMEOUT);
  return word & (word - 1) ? 0 : word;
}

/* Pushes a new event of the base at index 'base'; the callback is at 'cb'. */
static lev_Event *newevent (lua_State *L, int base, int fd, short what,
                            int cb) {
  lev_Base *owner = lua_touserdata(L, base);
  short word = usual(what);
  lev_Event *e;
  levL_pushwords(L, word, whatwords);
  e = levL_newobject(L, base, &kind, sizeof(*e), NUSERVALUES);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, WORD);
  lua_pushvalue(L, cb);
  lua_setiuservalue(L, -2, CALLBACK);
  e->word = word;
  event_assign(&e->ev, owner->event_base, fd, what, onevent, e);
  levL_adopt(owner, &e->o);
  return e;
}

static void checkfeature (lua_State *L, lev_Base *base, bool wanted,
                          int feature, const char *word) {
  if (wanted && !(event_base_get_features(base->event_base) & feature))
    luaL_argerror(L, 3, lua_pushfstring(L,
        "method '%s' does not know '%s'",
        event_base_get_method(base->event_base), word));
}

/* base:event(fd, what, cb) at 1..4, pushed */
static lev_Event *pushevent (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  int fd = levL_checkfd(L, 2);
  short what = (short)levL_checkwords(L, 3, iowords);
  lev_Event *e;
  levL_checkbase(L, 1);       /* again, after getfd */
  luaL_argcheck(L, what & IO, 3, "one of read, write, closed expected");
  checkfeature(L, base, what & EV_ET, EV_FEATURE_ET, "et");
  checkfeature(L, base, what & EV_CLOSED, EV_FEATURE_EARLY_CLOSE, "closed");
  levL_checkcallback(L, 4);
  e = newevent(L, 1, fd, what, 4);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, DESCRIPTOR);     /* an object keeps its fd open */
  return e;
}

/* base:event(fd, what, cb) -> event */
static int lev_base_event (lua_State *L) {
  pushevent(L);
  return 1;
}

/* base:timer(cb [, "persist"]) -> event */
static int lev_base_timer (lua_State *L) {
  int what = 0;
  levL_checkbase(L, 1);
  levL_checkcallback(L, 2);
  if (!lua_isnoneornil(L, 3))
    what = levL_checkwords(L, 3, timerwords);
  newevent(L, 1, -1, (short)(what | EV_TIMEOUT), 2);
  return 1;
}

/* base:signal(signal, cb) -> event */
static int lev_base_signal (lua_State *L) {
  int sig;
  levL_checkbase(L, 1);
  sig = levL_checksignal(L, 2);
  levL_checkcallback(L, 3);
  newevent(L, 1, sig, EV_SIGNAL | EV_PERSIST, 3);
  return 1;
}

/* base:user(cb) -> event */
static int lev_base_user (lua_State *L) {
  levL_checkbase(L, 1);
  levL_checkcallback(L, 2);
  newevent(L, 1, -1, 0, 2);
  return 1;
}

/* ====} */

/* {==== Events by their number ==== */

/* To libevent a number is a number: the timeout of a signal event would be
   taken for one of the descriptor of that number. */
static void renumber (lev_Base *base, int from, int to) {
  lev_Object *head = &base->objects;
  for (lev_Object *o = head->next; o != head; o = o->next) {
    lev_Event *e = (lev_Event *)o;
    if (o->kind == &kind && (e->ev.ev_events & EV_SIGNAL)
        && e->ev.ev_fd == from)
      e->ev.ev_fd = to;
  }
}

/* base:active_by_fd(fd, what) -> base */
static int lev_base_active_by_fd (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  int fd = levL_checkfd(L, 2);
  short what = (short)levL_checkwords(L, 3, fdwords);
  levL_checkbase(L, 1);       /* again, after getfd */
  luaL_argcheck(L, what, 3, "one of read, write, closed, timeout expected");
  if (what & IO)              /* libevent would heed "timeout" alone */
    event_base_active_by_fd(base->event_base, fd, what & IO);
  if (what & EV_TIMEOUT) {
    renumber(base, fd, -1);
    event_base_active_by_fd(base->event_base, fd, EV_TIMEOUT);
    renumber(base, -1, fd);
  }
  lua_settop(L, 1);
  return 1;
}

/* The signal event in the middle of several calls for one signal, or NULL. */
static lev_Event *running (lev_Base *base) {
  lev_Object *head = &base->objects;
  for (lev_Object *o = head->next; o != head; o = o->next) {
    lev_Event *e = (lev_Event *)o;
    if (o->kind == &kind && (e->ev.ev_events & EV_SIGNAL)
        && e->ev.ev_.ev_signal.ev_pncalls)
      return e;
  }
  return NULL;
}

/* For the running event libevent would forget the new call, and that event_del
   ends the calls that are left: so these come later, with the new one. */
static void activesignal (lev_Base *base, int sig) {
  lev_Event *e = running(base);
  short *left = e ? e->ev.ev_.ev_signal.ev_pncalls : NULL;
  event_base_active_by_signal(base->event_base, sig);
  if (left && e->ev.ev_.ev_signal.ev_pncalls == NULL) {
    e->ev.ev_.ev_signal.ev_ncalls += *left;
    *left = 0;
  }
}

/* base:active_by_signal(signal) -> base */
static int lev_base_active_by_signal (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  activesignal(base, levL_checksignal(L, 2));
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== Methods ==== */

/* What libevent would find out itself, but tell stderr. */
static int refusal (const lev_Event *e) {
  struct stat st;
  int features = event_base_get_features(e->o.base->event_base);
  if (!(e->ev.ev_events & IO) || isadded(e))
    return 0;
  if (fstat(event_get_fd(&e->ev), &st) == -1)
    return errno;
  if ((S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
      && !(features & EV_FEATURE_FDS))
    return EPERM;
  return 0;
}

/* [event] add for 'tv', NULL for no timeout; 0 or an errno */
static int add (lua_State *L, int event, lev_Event *e,
                const struct timeval *tv) {
  static const struct timeval soon = {0, 1};
  int err = refusal(e);
  bool wassignals = e->signals;
  if (err)
    return err;
  if (tv && !evutil_timerisset(tv) && (e->ev.ev_events & EV_PERSIST))
    tv = &soon;               /* an interval of 0 would fire only once */
  levL_anchor(L, event, &e->o);
  if (tv) {
    e->o.base->timed = true;
    levL_freshen(e->o.base);
  }
  if ((e->ev.ev_events & EV_SIGNAL) && !e->signals) {
    e->signals = levL_takesignals(e->o.base->event_base);
    err = e->signals ? 0 : EBUSY;
  }
  errno = 0;
  if (err == 0 && event_add(&e->ev, levL_commontime(e->o.base, tv)) < 0) {
    err = errno ? errno : EOVERFLOW;   /* libevent's own count is at its end */
    if (!wassignals)
      dropsignals(e);
  }
  levL_settle(L, event, &e->o);
  return err;
}

static int refuseadd (lua_State *L, const lev_Event *e, int err) {
  const char *message = NULL;
  if (err == EBUSY && (e->ev.ev_events & EV_SIGNAL))
    message = "another base has the process's signals";
  else if (err == EOVERFLOW && (e->ev.ev_events & IO))
    message = "too many events on one descriptor";
  return levL_refuse(L, err, message);
}

/* event:add([seconds]) -> event | nil, message, errno */
static int lev_event_add (lua_State *L) {
  lev_Event *e = checkevent(L);
  struct timeval tv;
  const struct timeval *timeout = levL_time(L, 2, 2, &tv);
  int err;
  if (timeout == NULL && !(e->ev.ev_events & (IO | EV_SIGNAL)))
    return levL_expected(L, 2, 2, "seconds");
  err = add(L, 1, e, timeout);
  if (err)
    return refuseadd(L, e, err);
  lua_settop(L, 1);
  return 1;
}

/* base:once(fd, what, cb [, seconds]) -> event | nil, message, errno */
static int lev_base_once (lua_State *L) {
  struct timeval tv;
  const struct timeval *timeout;
  lev_Event *e;
  int err;
  levL_checkbase(L, 1);
  timeout = levL_time(L, 5, 5, &tv);
  lua_settop(L, 4);
  if (lua_isnil(L, 2)) {      /* no descriptor: a timer */
    levL_checkwords(L, 3, timerwords + 1);
    levL_checkcallback(L, 4);
    if (timeout == NULL)
      levL_expected(L, 5, 5, "seconds");
    e = newevent(L, 1, -1, EV_TIMEOUT, 4);
  }
  else {
    luaL_argcheck(L, !(levL_checkwords(L, 3, iowords) & EV_PERSIST), 3,
                  "'persist' is not once");
    e = pushevent(L);
  }
  err = add(L, 5, e, timeout);
  if (err)
    return refuseadd(L, e, err);
  return 1;
}

/* libevent keeps the interval of a persistent event that is deleted, or whose
   timer is removed while it is active, and goes on with it. A signal event
   has other things in that place. */
static void forgetinterval (lev_Event *e) {
  if (!(e->ev.ev_events & EV_SIGNAL))
    evutil_timerclear(&e->ev.ev_.ev_io.ev_timeout);
}

/* event:del() -> event */
static int lev_event_del (lua_State *L) {
  lev_Event *e = checkevent(L);
  delevent(e);
  forgetinterval(e);
  dropsignals(e);
  levL_settle(L, 1, &e->o);
  lua_settop(L, 1);
  return 1;
}

/* event_remove_timer forgets it itself, without a look at what is there. */
static void removetimer (lev_Event *e) {
  short ncalls = e->ev.ev_.ev_signal.ev_ncalls;
  short *pncalls = e->ev.ev_.ev_signal.ev_pncalls;
  event_remove_timer(&e->ev);
  forgetinterval(e);
  if (e->ev.ev_events & EV_SIGNAL) {
    e->ev.ev_.ev_signal.ev_ncalls = ncalls;
    e->ev.ev_.ev_signal.ev_pncalls = pncalls;
  }
}

/* event:remove_timer() -> event */
static int lev_event_remove_timer (lua_State *L) {
  lev_Event *e = checkevent(L);
  removetimer(e);
  levL_settle(L, 1, &e->o);
  lua_settop(L, 1);
  return 1;
}

/* event:active([what]) -> event */
static int lev_event_active (lua_State *L) {
  lev_Event *e = checkevent(L);
  int what = lua_isnoneornil(L, 2) ? 0 : levL_checkwords(L, 2, whatwords);
  levL_anchor(L, 1, &e->o);
  if ((e->ev.ev_events & EV_SIGNAL) && e->ev.ev_.ev_signal.ev_pncalls)
    ++*e->ev.ev_.ev_signal.ev_pncalls;  /* it runs: event_active would keep */
  else                                  /* event_del from ending that */
    event_active(&e->ev, what, 1);
  lua_settop(L, 1);
  return 1;
}

/* event:pending([what]) -> words [, seconds] | nil */
static int lev_event_pending (lua_State *L) {
  lev_Event *e = checkevent(L);
  int mask = IO | EV_TIMEOUT | EV_SIGNAL;
  struct timeval left;
  bool timed;
  int what;
  if (!lua_isnoneornil(L, 2))
    mask = levL_checkwords(L, 2, whatwords);
  levL_freshen(e->o.base);
  what = event_pending(&e->ev, (short)mask, NULL);
  timed = (what & EV_TIMEOUT) && levL_left(e->o.base, &e->ev, &left);
  if (what == 0)
    lua_pushnil(L);
  else
    levL_pushevents(L, what);
  if (!timed)
    return 1;
  levL_pushtime(L, &left);
  return 2;
}

/* event:priority_set(priority) -> event | nil, message, errno */
static int lev_event_priority_set (lua_State *L) {
  lev_Event *e = checkevent(L);
  int n = event_base_get_npriorities(e->o.base->event_base);
  int priority = (int)levL_range(L, 2, 2, 0, n - 1);
  if (event_priority_set(&e->ev, priority) < 0)
    return levL_refuse(L, EBUSY, "the event is active");
  lua_settop(L, 1);
  return 1;
}

/* event:priority() -> priority */
static int lev_event_priority (lua_State *L) {
  lua_pushinteger(L, event_get_priority(&checkevent(L)->ev));
  return 1;
}

/* event:fd() -> descriptor | nil */
static int lev_event_fd (lua_State *L) {
  lev_Event *e = checkevent(L);
  if (e->ev.ev_events & IO)
    lua_pushinteger(L, event_get_fd(&e->ev));
  else
    lua_pushnil(L);
  return 1;
}

/* event:signal() -> number | nil */
static int lev_event_signal (lua_State *L) {
  lev_Event *e = checkevent(L);
  if (e->ev.ev_events & EV_SIGNAL)
    lua_pushinteger(L, event_get_signal(&e->ev));
  else
    lua_pushnil(L);
  return 1;
}

/* event:events() -> words */
static int lev_event_events (lua_State *L) {
  levL_pushevents(L, event_get_events(&checkevent(L)->ev));
  return 1;
}

/* event:callback() -> function */
static int lev_event_callback (lua_State *L) {
  checkevent(L);
  lua_getiuservalue(L, 1, CALLBACK);
  return 1;
}

/* event:set_callback(cb) -> event */
static int lev_event_set_callback (lua_State *L) {
  checkevent(L);
  levL_checkcallback(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, CALLBACK);
  return 1;
}

/* event:base() -> base */
static int lev_event_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* event:close() -> event */
static int lev_event_close (lua_State *L) {
  return levL_close(L, &kind);
}

static int lev_event__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_EVENT);
  return levL_tostring(L, LEV_EVENT, o->base != NULL);
}

/* ====} */

/* {==== The host's ==== */

LEV_EXPORT struct event *lualibevent_toevent (lua_State *L, int idx) {
  return &((lev_Event *)levL_checkopen(L, idx, &kind))->ev;
}

/* Waits as 'ev' does. libevent keeps the interval of a persistent one apart
   from what is left of it. 0 or an errno */
static int takeover (lua_State *L, lev_Event *e, const struct event *ev) {
  struct timeval left;
  bool timed = levL_left(e->o.base, ev, &left);
  int err = 0;
  if (ev->ev_evcallback.evcb_flags & (EVLIST_INSERTED | EVLIST_TIMEOUT))
    err = add(L, lua_gettop(L), e, timed ? &left : NULL);
  if (err == 0 && timed && !(ev->ev_events & EV_SIGNAL))
    e->ev.ev_.ev_io.ev_timeout = ev->ev_.ev_io.ev_timeout;
  return err;
}

/* [-1] callback */
LEV_EXPORT void lualibevent_giveevent (lua_State *L, struct event *ev) {
  int cb = lua_gettop(L);
  bool active = ev->ev_evcallback.evcb_flags
                & (EVLIST_ACTIVE | EVLIST_ACTIVE_LATER);
  lev_Event *e;
  int err;
  levL_checkcallback(L, cb);
  lualibevent_pushbase(L, event_get_base(ev));
  e = newevent(L, cb + 1, (int)event_get_fd(ev), event_get_events(ev), cb);
  event_priority_set(&e->ev, event_get_priority(ev));
  levL_anchor(L, -1, &e->o);
  err = takeover(L, e, ev);
  if (err) {
    errno = err;
    levL_unable(L);           /* nothing is pending: it is garbage */
  }
  if (active)
    event_active(&e->ev, ev->ev_res, 1);
  event_free(ev);
  levL_settle(L, -1, &e->o);
  lua_replace(L, cb);
  lua_settop(L, cb);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"add", lev_event_add},
  {"del", lev_event_del},
  {"remove_timer", lev_event_remove_timer},
  {"active", lev_event_active},
  {"pending", lev_event_pending},
  {"priority_set", lev_event_priority_set},
  {"priority", lev_event_priority},
  {"fd", lev_event_fd},
  {"signal", lev_event_signal},
  {"events", lev_event_events},
  {"callback", lev_event_callback},
  {"set_callback", lev_event_set_callback},
  {"base", lev_event_base},
  {"close", lev_event_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_event_close},
  {"__close", lev_event_close},
  {"__tostring", lev_event__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"event", lev_base_event},
  {"timer", lev_base_timer},
  {"signal", lev_base_signal},
  {"user", lev_base_user},
  {"once", lev_base_once},
  {NULL, NULL}
};

static const luaL_Reg basemethods[] = {
  {"active_by_fd", lev_base_active_by_fd},
  {"active_by_signal", lev_base_active_by_signal},
  {NULL, NULL}
};

void levL_openevent (lua_State *L) {
  levL_newtype(L, LEV_EVENT, methods, metamethods);
  levL_addmethods(L, LEV_BASE, constructors);
  levL_addmethods(L, LEV_BASE, basemethods);
}
