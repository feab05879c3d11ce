/*
** bufferevent_call.c: what libevent tells of a bufferevent, and when the script
** hears of it.
**
** libevent's three callbacks become the script's: data, all sent, and events.
** What the script asks to be called for, and what libevent defers, comes in a
** turn of its own.
*/
#include "lev_bufferevent.h"

#include <stdlib.h>
#include <string.h>

/* {==== From libevent to Lua ==== */

/* There is something to read: for the filter on it, if there is one. */
void levL_read (lev_Bufferevent *b) {
  if (b->above) {
    levL_taketurn(b->above);
    return;
  }
  if (b->ending == LEV_LINGERING) {
    levL_linger(b);
    return;
  }
  if (b->native)
    b->native->hooks->read(b);
  else if (b->read)
    levL_call(&b->o, LEV_UVREAD, 0);
  if (b->o.base)
    levL_pauseatmark(b);
}

/* One call of libevent's can be several of the script's, and what it defers
   can come in company: nobody lets go of the bufferevent before the last one
   of them. Closed and forgotten in the first one, it is still there for us:
   it is on the stack of its base's thread, which this returns. */
static lua_State *begin (lev_Bufferevent *b) {
  lua_State *L = b->o.base->L;
  levL_find(L, &b->o);
  b->busy = true;
  return L;
}

/* Most of them are: a quick answer for what isactive finds out as well. */
static bool isreading (const lev_Bufferevent *b) {
  return b->flavour == &levL_sock && b->bev->ev_read.ev_fd >= 0 && !b->above
         && (b->bev->enabled & EV_READ);
}

void levL_rested (lev_Bufferevent *b) {
  b->busy = false;
  if (b->o.base && !isreading(b))
    levL_rest(&b->o);         /* libevent's own waiting for writing ends, too */
  for (; b; b = b->below)
    b->inconnected = false;
}

static void end (lua_State *L, lev_Bufferevent *b) {
  levL_rested(b);
  lua_pop(L, 2);
}

/* begin for a call of libevent's own, not the last one if it defers them. */
static lua_State *called (lev_Bufferevent *b) {
  if (b->flavour->deferred)
    levL_taketurn(b);
  return begin(b);
}

/* A deferred call can come when the script has read it all, and libevent's
   pairs call with nothing at their end. */
static void onread (struct bufferevent *bev, void *arg) {
  lev_Bufferevent *b = arg;
  lua_State *L = called(b);
  if (evbuffer_get_length(bufferevent_get_input(bev)) > 0)
    levL_read(b);
  end(L, b);
}

/* The same for bytes that were received past libevent. */
void levL_arrived (lev_Bufferevent *b) {
  lua_State *L = begin(b);
  levL_read(b);
  if (b->o.base)
    levL_clear(b);            /* what the script has left */
  end(L, b);
}

/* Tells the peer that no more data comes: now, or when all is sent. */
int levL_shutwrite (lev_Bufferevent *b) {
  return b->shutwrite && !b->isshut ? b->flavour->endwrite(b) : 0;
}

/* What was to be sent is sent, up to the low mark. A filter on it finds that
   out itself; while it connects, libevent calls with nothing written. */
void levL_written (lev_Bufferevent *b) {
  if (b->above || b->connecting)
    return;
  if (b->ending == LEV_OPEN)
    levL_shutwrite(b);
  if (b->write && b->native)
    b->native->hooks->written(b);
  else if (b->write)
    levL_call(&b->o, LEV_UVWRITE, 0);
  if (b->o.base && b->ending && levL_unsent(b) == 0)
    b->flavour->flushed(b);
}

static void onwrite (struct bufferevent *bev, void *arg) {
  lev_Bufferevent *b = arg;
  lua_State *L = called(b);
  (void)bev;
  levL_written(b);
  end(L, b);
}

/* [1] bufferevent, [2] lev_Happening. Deferred events can come joined: the
   worst is told. */
static int callevent (lua_State *L) {
  lev_Happening *h = lua_touserdata(L, 2);
  lua_getiuservalue(L, 1, LEV_UVEVENT);
  lua_pushvalue(L, 1);
  if (h->what & BEV_EVENT_ERROR) {
    lua_pushliteral(L, "error");
    lua_pushstring(L, h->message ? h->message
                                 : evutil_socket_error_to_string(h->err));
    lua_pushinteger(L, h->err);
    lua_call(L, 4, 0);
  }
  else if (h->what & BEV_EVENT_CONNECTED) {
    lua_pushliteral(L, "connected");
    lua_call(L, 2, 0);
  }
  else {
    lua_pushstring(L, h->what & BEV_EVENT_EOF ? "eof" : "timeout");
    lua_pushstring(L, h->what & BEV_EVENT_READING ? "reading" : "writing");
    lua_call(L, 3, 0);
  }
  return 0;
}

/* Nobody listens: what is over ends the bufferevent. After the end of the
   peer's data our own still goes out. */
static void closeitself (lev_Bufferevent *b, short what) {
  bool readend = (what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING)
                 && !(what & (BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT));
  struct timeval stall = levL_bottom(b)->bev->timeout_write;
  if (!evutil_timerisset(&stall))
    stall.tv_sec = LEV_FLUSHTIME;
  if (readend && !b->flavour->idle(b))
    levL_flush(b, &stall);
  else
    levL_drop(&b->o);
}

static void tell (lev_Bufferevent *b, lev_Happening h) {
  bool connected = (h.what & BEV_EVENT_CONNECTED) != 0;
  if (b->ending && connected && levL_unsent(b) == 0)
    b->flavour->flushed(b);
  else if (b->ending && !connected)
    levL_drop(&b->o);
  else if (b->native)
    b->native->hooks->event(b, &h);
  else if (b->event)
    levL_protect(&b->o, callevent, &h, NULL);
  else if (!connected)
    closeitself(b, h.what);
}

/* Something else has happened than data. */
static void happened (lev_Bufferevent *b, lev_Happening h) {
  char why[LEV_WHYSIZE];
  if (h.message == NULL && (h.what & BEV_EVENT_ERROR))
    h.message = levL_tlswhy(levL_bottom(b), why, sizeof(why));
  b = levL_top(b);
  if (b->flavour->note(b, &h))
    tell(b, h);
}

void levL_happened (lev_Bufferevent *b, short what, int err) {
  lev_Happening h = {what, err, NULL};
  happened(b, h);
}

static void onevent (struct bufferevent *bev, short what, void *arg) {
  int err = EVUTIL_SOCKET_ERROR();
  lev_Bufferevent *b = arg;
  lua_State *L = called(b);
  (void)bev;
  if (b->failure && (what & BEV_EVENT_TIMEOUT)) {     /* past libevent */
    what ^= BEV_EVENT_TIMEOUT | BEV_EVENT_ERROR;
    err = b->failure;
    b->failure = 0;
  }
  levL_happened(b, what, err);
  end(L, b);
}

/* The same for an end that was found past libevent. */
void levL_ended (lev_Bufferevent *b, short what, int err) {
  lua_State *L = begin(b);
  levL_happened(b, what, err);
  end(L, b);
}

/* There will be no connection: in other words than the system's, or NULL. */
void levL_unconnected (lev_Bufferevent *b, int err, const char *message) {
  lev_Happening h = {BEV_EVENT_ERROR, err, message};
  lua_State *L = begin(b);
  happened(b, h);
  end(L, b);
}

void levL_listen (lev_Bufferevent *b) {
  bufferevent_setcb(b->bev, onread, onwrite, onevent, b);
  levL_direct(b);
}

/* ====} */

/* {==== Turns ==== */

static bool isopen (const lev_Bufferevent *b) {
  return b->o.base && b->ending == LEV_OPEN;
}

static void onturn (evutil_socket_t fd, short what, void *arg) {
  lev_Bufferevent *b = arg;
  lua_State *L = begin(b);
  lev_Trigger t = b->turn->trigger;
  (void)fd; (void)what;
  memset(&b->turn->trigger, 0, sizeof(t));
  if (b->turn->again)
    levL_taketurn(b);
  b->turn->again = false;
  if (b->flavour->turn)
    b->flavour->turn(b);
  if (isopen(b) && (t.directions & EV_READ))
    levL_read(b);
  if (isopen(b) && (t.directions & EV_WRITE))
    levL_written(b);
  if (isopen(b) && t.told.what)
    tell(levL_top(b), t.told);
  end(L, b);
}

/* Makes its event, before levL_taketurn; false without memory. */
bool levL_maketurn (lev_Bufferevent *b) {
  int priority = bufferevent_get_priority(b->bev);
  if (b->turn == NULL && (b->turn = calloc(1, sizeof(*b->turn))) != NULL) {
    event_assign(&b->turn->ev, bufferevent_get_base(b->bev), -1, 0, onturn, b);
    if (!b->flavour->turn)
      event_priority_set(&b->turn->ev, priority);
  }
  return b->turn != NULL;
}

/* Its turn comes in the loop: in this one if it runs; after the callbacks
   that libevent has deferred, if the flavour says that there are such. To put
   off a turn that comes now would put it off for ever where data come all the
   time: then there is another one. */
void levL_taketurn (lev_Bufferevent *b) {
  static const struct timeval next = {0, 0};
  struct event *ev = &b->turn->ev;
  short flags = ev->ev_evcallback.evcb_flags;
  if (!b->flavour->deferred)
    event_active(ev, EV_TIMEOUT, 1);
  else if (flags & EVLIST_ACTIVE)
    b->turn->again = true;
  else if (!(flags & EVLIST_TIMEOUT) && event_add(ev, &next) < 0)
    event_active(ev, EV_TIMEOUT, 1);   /* better early than never */
}

/* ====} */
