/*
** bufferevent_pair.c: two bufferevents joined to each other, no socket
** between them: what one writes the other reads.
**
** libevent defers all their callbacks. The turn that follows each move lets
** go of both again, once those callbacks have been. Closing one end hands its
** output over and is an end of data for the other.
*/
#include "lev_bufferevent.h"

#include <errno.h>

/* {==== The flavour ==== */

static struct evbuffer *outputof (const lev_Bufferevent *b) {
  return bufferevent_get_output(b->bev);
}

static size_t waiting (const lev_Bufferevent *b) {
  return evbuffer_get_length(outputof(b));
}

/* Only libevent's timers call when nothing moves. */
static bool isactive (const lev_Bufferevent *b) {
  return event_pending(&b->bev->ev_read, EV_TIMEOUT, NULL)
         || event_pending(&b->bev->ev_write, EV_TIMEOUT, NULL);
}

static bool isready (const lev_Bufferevent *b) {
  (void)b;
  return true;
}

/* Closing hands over what is left. */
static bool isidle (const lev_Bufferevent *b) {
  (void)b;
  return true;
}

static void taketurns (lev_Bufferevent *b) {
  levL_taketurn(b);
  if (b->partner)
    levL_taketurn(b->partner);
}

/* libevent starts the timer of reading with each move. */
static void stoptimer (lev_Bufferevent *b) {
  if (!(bufferevent_get_enabled(b->bev) & EV_READ))
    event_del(&b->bev->ev_read);
}

/* libevent's flush fills the reader up to its high mark, and only the next one
   goes over it. The partner hears of the end once. */
static bool flush (lev_Bufferevent *b, short what,
                   enum bufferevent_flush_mode mode) {
  if (b->partner == NULL || mode == BEV_NORMAL)
    return false;
  if (b->isshut)
    what &= ~EV_WRITE;
  if (what == 0)
    return false;
  if (mode == BEV_FINISHED && (what & EV_WRITE))
    b->shutwrite = b->isshut = true;
  bufferevent_flush(b->bev, what, BEV_FLUSH);
  bufferevent_flush(b->bev, what, mode);
  stoptimer(b);
  stoptimer(b->partner);
  taketurns(b);
  return true;
}

static int shutread (lev_Bufferevent *b, int what) {
  if (b->partner == NULL)
    return EPIPE;
  if (what & EV_READ) {
    bufferevent_trigger_event(b->bev, BEV_EVENT_EOF | BEV_EVENT_READING, 0);
    levL_taketurn(b);
  }
  return 0;
}

static int endwrite (lev_Bufferevent *b) {
  if (waiting(b) == 0)
    flush(b, EV_WRITE, BEV_FINISHED);
  return 0;
}

/* As on a socket, a direction is over after its end, error or timeout. */
static bool note (lev_Bufferevent *b, lev_Happening *h) {
  if (h->what & BEV_EVENT_READING)
    levL_disable(b, EV_READ);
  if (h->what & BEV_EVENT_WRITING)
    levL_disable(b, EV_WRITE);
  return true;
}

static void flushed (lev_Bufferevent *b) {
  levL_drop(&b->o);
}

/* Nobody is left to read what it writes. */
static void turn (lev_Bufferevent *b) {
  if (b->partner == NULL && waiting(b) > 0
      && (bufferevent_get_enabled(b->bev) & EV_WRITE))
    levL_happened(b, BEV_EVENT_ERROR | BEV_EVENT_WRITING, EPIPE);
}

/* libevent starts the timer of writing only when it is enabled. evbuffer's
   callback, in the middle of a change: it touches no buffer. */
static void onmove (struct evbuffer *output,
                    const struct evbuffer_cb_info *info, void *arg) {
  lev_Bufferevent *b = arg;
  struct bufferevent *bev = b->bev;
  (void)info;
  if (evbuffer_get_length(output) == 0)
    event_del(&bev->ev_write);
  else if (evutil_timerisset(&bev->timeout_write)
           && (bufferevent_get_enabled(bev) & EV_WRITE))
    event_add(&bev->ev_write, &bev->timeout_write);
  taketurns(b);
}

static void leave (lev_Bufferevent *b) {
  lev_Bufferevent *partner = b->partner;
  evbuffer_remove_cb(outputof(b), onmove, b);
  if (partner) {
    flush(b, EV_WRITE, BEV_FINISHED);
    levL_taketurn(partner);   /* its output goes nowhere */
    partner->partner = NULL;
    b->partner = NULL;
  }
  bufferevent_disable(b->bev, LEV_DIRECTIONS);
}

static const lev_Flavour pair = {
  true, isactive, isready, isidle, flush, shutread, endwrite, note, flushed,
  leave, turn
};

bool levL_ispair (const lev_Bufferevent *b) {
  return b->flavour == &pair;
}

/* ====} */

/* {==== Constructor ==== */

/* What bufferevent_free does at once, for an end that has no userdata yet. */
static bool isbuilt (lev_Bufferevent *b) {
  return levL_maketurn(b) && evbuffer_add_cb(outputof(b), onmove, b);
}

static void onmark (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what; (void)arg;
}

/* Without memory for the callback of an end libevent gives that end up before
   it has made its events: the one that is to end it is active, but does not
   know for whom. It is in the queue behind 'mark'. */
static void nameends (const struct event *mark) {
  struct event_callback *c = mark->ev_evcallback.evcb_active_next.tqe_next;
  for (; c; c = c->evcb_active_next.tqe_next)
    if (c->evcb_arg == NULL)
      c->evcb_arg = (char *)c - offsetof(struct bufferevent, ev_read);
}

static bool newends (struct event_base *event_base,
                     struct bufferevent *ends[2]) {
  struct event mark;
  bool ok;
  event_assign(&mark, event_base, -1, 0, onmark, NULL);
  event_priority_set(&mark, 0);
  event_active(&mark, EV_TIMEOUT, 1);
  ok = bufferevent_pair_new(event_base, 0, ends) == 0;
  if (!ok)
    nameends(&mark);
  event_del(&mark);
  return ok;
}

/* base:pair() -> bufferevent, bufferevent */
static int lev_base_pair (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  lev_Bufferevent *a, *b;
  struct bufferevent *ends[2];
  lua_settop(L, 1);
  a = levL_newbev(L, 1, sizeof(*a), LEV_NUVBUFFEREVENT, &pair);   /* 2 */
  b = levL_newbev(L, 1, sizeof(*b), LEV_NUVBUFFEREVENT, &pair);   /* 3 */
  levL_needmore(L, 2);
  levL_needmore(L, 3);
  levL_checkbase(L, 1);       /* again, after an allocation */
  if (!newends(base->event_base, ends))
    return levL_nomemory(L);
  levL_openbev(base, a, ends[0]);
  levL_openbev(base, b, ends[1]);
  if (!isbuilt(a) || !isbuilt(b)) {
    levL_free(&a->o);
    levL_free(&b->o);
    return levL_nomemory(L);
  }
  a->partner = b;
  b->partner = a;
  lua_pushvalue(L, 3);
  levL_setmore(L, 2, LEV_BELOW);
  lua_pushvalue(L, 2);
  levL_setmore(L, 3, LEV_BELOW);
  return 2;
}

/* bufferevent:partner() -> bufferevent | nil */
static int lev_bufferevent_partner (lua_State *L) {
  lev_Bufferevent *b = levL_checkbev(L, 1);
  if (b->partner == NULL)
    luaL_pushfail(L);
  else
    levL_getmore(L, 1, LEV_BELOW);
  return 1;
}

/* ====} */

static const luaL_Reg methods[] = {
  {"partner", lev_bufferevent_partner},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"pair", lev_base_pair},
  {NULL, NULL}
};

void levL_openbufferevent_pair (lua_State *L) {
  levL_addmethods(L, LEV_BUFFEREVENT, methods);
  levL_addmethods(L, LEV_BASE, constructors);
}
