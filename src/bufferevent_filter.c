/*
** bufferevent_filter.c: a bufferevent on another one, with a Lua function
** each way that turns bytes into others.
**
** libevent's filter carries the callbacks and stops the one below from
** reading. The filter functions are called from the loop, in the filter's own
** turn: never inside a write of the script's, and never with libevent in the
** middle of a move. They see buffers of their own; what they leave in the
** source stays where it came from.
**
** It owns the bufferevent below: closing one closes the other.
*/
#include "lev_bufferevent.h"

#include <errno.h>

/* user values, after those of every bufferevent */
enum { INFILTER = LEV_NUVBUFFEREVENT + 1, OUTFILTER, SOURCE, SINK,
       NUSERVALUES = SINK };

/* Filters on each other: each adds to the C stack when they close. */
#define MAXFILTERS 16

/* What waits below for the socket before the filter stops handing down, where
   its write high mark does not say. */
#define HIGHMARK 0x10000

/* One of the two ways through a filter. */
typedef struct Way {
  bool lua;                   /* through a Lua function */
  enum bufferevent_flush_mode mode;   /* of the next call */
  size_t seen;                /* bytes that the function has seen and left */
  bool broken;                /* it has failed: nothing more goes this way */
} Way;

typedef struct lev_Filter {
  lev_Bufferevent b;
  Way in, out;
  bool passing;               /* in one of its functions, or told of it */
  bool written;               /* the script has not heard that it is sent */
} lev_Filter;

/* {==== Passing ==== */

static struct evbuffer *inputof (const lev_Bufferevent *b) {
  return bufferevent_get_input(b->bev);
}

static struct evbuffer *outputof (const lev_Bufferevent *b) {
  return bufferevent_get_output(b->bev);
}

static size_t highmark (const lev_Bufferevent *b) {
  size_t high = b->bev->wm_write.high;
  return high > 0 ? high : HIGHMARK;
}

/* One call of a filter function. */
typedef struct Pass {
  lev_Filter *f;
  Way *way;
  struct evbuffer *source, *sink;   /* libevent's */
  short direction;            /* BEV_EVENT_READING or _WRITING */
  enum bufferevent_flush_mode mode;
  bool told;                  /* the event callback knows of its refusal */
} Pass;

static const char *const modes[] = {"normal", "flush", "finished"};

/* Pushes the filter's buffer 'uv', empty. The script may have closed it, or
   kept it and added to it, or frozen it. */
static struct evbuffer *pushown (lua_State *L, int filter, int uv) {
  struct evbuffer *buf;
  lua_getiuservalue(L, filter, uv);
  buf = levL_tobuffer(L, -1);
  if (buf == NULL) {
    lua_pop(L, 1);
    buf = levL_newbuffer(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, filter, uv);
  }
  evbuffer_unfreeze(buf, 1);
  evbuffer_drain(buf, evbuffer_get_length(buf));
  return buf;
}

static int move (struct evbuffer *to, struct evbuffer *from) {
  evbuffer_unfreeze(from, 1);
  evbuffer_unfreeze(to, 0);
  return evbuffer_add_buffer(to, from);
}

/* [1] filter: pushes the one that the script uses. */
static void pushtop (lua_State *L, const lev_Bufferevent *b) {
  lua_pushvalue(L, 1);
  for (; b->above; b = b->above) {
    levL_getmore(L, -1, LEV_ABOVE);
    lua_remove(L, -2);
  }
}

/* [1] filter, [message] and errno above it: the stream ends with an error. */
static void callrefused (lua_State *L, Pass *p, int message) {
  lev_Bufferevent *b = levL_top(&p->f->b);
  lev_Happening h = {BEV_EVENT_ERROR | p->direction, 0, NULL};
  p->way->broken = true;
  p->told = b->event;
  if (!p->told)
    return;
  b->flavour->note(b, &h);
  pushtop(L, &p->f->b);
  lua_getiuservalue(L, -1, LEV_UVEVENT);
  lua_insert(L, -2);
  lua_pushliteral(L, "error");
  lua_pushvalue(L, message);
  lua_pushvalue(L, message + 1);
  lua_call(L, 4, 0);
}

/* [1] filter, [2] Pass. What the function does to the filter shows after it:
   both of libevent's buffers are gone if it is closed. Making ours can run a
   finalizer, so what is there is asked afterwards. */
static int callfilter (lua_State *L) {
  Pass *p = lua_touserdata(L, 2);
  struct evbuffer *source, *sink;
  lua_getiuservalue(L, 1, p->way == &p->f->in ? INFILTER : OUTFILTER);  /* 3 */
  lua_pushstring(L, modes[p->mode]);                   /* 4 */
  pushown(L, 1, SINK);                                      /* 5 */
  source = pushown(L, 1, SOURCE);                           /* 6 */
  if (p->f->b.o.base == NULL)
    return 0;
  move(source, p->source);
  lua_pushvalue(L, 3);
  lua_pushvalue(L, 6);
  lua_pushvalue(L, 5);
  lua_pushvalue(L, 4);
  lua_call(L, 3, 3);                                        /* 7, 8, 9 */
  if (p->f->b.o.base == NULL)
    return 0;
  sink = levL_tobuffer(L, 5);
  source = levL_tobuffer(L, 6);
  if (sink)
    move(p->sink, sink);
  if (source) {
    p->way->seen = evbuffer_get_length(source);
    evbuffer_unfreeze(source, 1);
    evbuffer_prepend_buffer(p->source, source);
  }
  if (lua_isnil(L, 7) && !lua_isnil(L, 8))
    callrefused(L, p, 8);
  return 0;
}

/* Runs all that waits one way through the filter. */
static void pass (Pass *p) {
  lev_Filter *f = p->f;
  bool ok = true;
  f->passing = true;
  p->way->seen = 0;
  if (p->way->lua)
    ok = levL_protect(&f->b.o, callfilter, p, NULL);
  else
    move(p->sink, p->source);
  p->way->broken = p->way->broken || !ok;
  if (f->b.o.base && p->way->broken && !p->told)    /* half a stream is none */
    levL_happened(&f->b, BEV_EVENT_ERROR | p->direction, EPROTO);
  f->passing = false;
}

/* Does the function get what waits below? In other modes it is called without
   anything. */
static bool isindue (const lev_Filter *f) {
  const lev_Bufferevent *b = &f->b;
  size_t n = evbuffer_get_length(inputof(b->below));
  if (f->in.broken)
    return false;
  return f->in.mode != BEV_NORMAL
         || (n > 0 && n != f->in.seen && !b->full
             && (bufferevent_get_enabled(b->bev) & EV_READ));
}

/* From below to the script; in mode "flush" from the bottom up. */
static void passin (lev_Filter *f) {
  lev_Bufferevent *b = &f->b;
  lev_Bufferevent *below = b->below;
  Pass p = {f, &f->in, inputof(below), inputof(b), BEV_EVENT_READING,
            f->in.mode, false};
  size_t before = evbuffer_get_length(p.sink);
  if (f->in.broken)
    levL_disable(b, EV_READ); /* or what comes would only pile up */
  if (!isindue(f))
    return;
  f->in.mode = BEV_NORMAL;
  if (p.mode == BEV_FLUSH && levL_isfilter(below)) {
    ((lev_Filter *)below)->in.mode = BEV_FLUSH;
    passin((lev_Filter *)below);
  }
  else if (p.mode == BEV_FLUSH)
    below->flavour->flush(below, EV_READ, BEV_FLUSH);
  if (b->o.base)
    pass(&p);
  if (b->o.base && evbuffer_get_length(inputof(b)) > before
      && evbuffer_get_length(inputof(b)) >= b->bev->wm_read.low)
    levL_read(b);
}

/* The same for what waits to be sent. */
static bool isoutdue (const lev_Filter *f) {
  const lev_Bufferevent *b = &f->b;
  size_t n = evbuffer_get_length(outputof(b));
  if (f->out.broken)
    return false;
  return f->out.mode != BEV_NORMAL
         || (n > 0 && n != f->out.seen
             && (bufferevent_get_enabled(b->bev) & EV_WRITE)
             && evbuffer_get_length(outputof(b->below)) < highmark(b->below));
}

/* From the script to below. */
static void passout (lev_Filter *f) {
  lev_Bufferevent *b = &f->b;
  lev_Object *below = &b->below->o;
  Pass p = {f, &f->out, outputof(b), outputof(b->below), BEV_EVENT_WRITING,
            f->out.mode, false};
  bool due = isoutdue(f);
  f->out.mode = BEV_NORMAL;
  if (due && !below->kind->sends(below, false)) {
    levL_happened(b, BEV_EVENT_ERROR | BEV_EVENT_WRITING, errno);
    return;
  }
  if (due) {
    f->written = f->written || evbuffer_get_length(p.source) > 0;
    pass(&p);
    if (below->base)
      below->kind->sends(below, true);
  }
  if (b->o.base && p.mode == BEV_FINISHED)
    b->isshut = true;
  if (b->o.base && p.mode == BEV_FLUSH)
    b->below->flavour->flush(b->below, EV_WRITE, BEV_FLUSH);
}

/* ====} */

/* {==== The flavour ==== */

/* What is below is asked itself. */
static bool isactive (const lev_Bufferevent *b) {
  (void)b;
  return false;
}

static bool isready (const lev_Bufferevent *b) {
  (void)b;
  return true;
}

/* The function may have a last word. */
static bool isidle (const lev_Bufferevent *b) {
  (void)b;
  return false;
}

static bool flush (lev_Bufferevent *b, short what,
                   enum bufferevent_flush_mode mode) {
  lev_Filter *f = (lev_Filter *)b;
  if ((what & EV_READ) && mode > f->in.mode)
    f->in.mode = mode;
  if ((what & EV_WRITE) && mode > f->out.mode)
    f->out.mode = mode;
  if ((what & EV_WRITE) && mode == BEV_FINISHED)
    b->shutwrite = true;
  levL_taketurn(b);
  return true;
}

static int shutread (lev_Bufferevent *b, int what) {
  return b->below->flavour->shutdown(b->below, what);
}

static int endwrite (lev_Bufferevent *b) {
  flush(b, EV_WRITE, BEV_FINISHED);
  return 0;
}

/* Before the end of the data comes what the function still has. To one that
   only sends its rest it means nothing, and the script may have answered it
   with close_after_flush. */
static bool note (lev_Bufferevent *b, lev_Happening *h) {
  lev_Filter *f = (lev_Filter *)b;
  bool end = (h->what & BEV_EVENT_READING) && (h->what & BEV_EVENT_EOF);
  if (!b->below->flavour->note(b->below, h))
    return false;
  if (end && b->ending == LEV_OPEN) {
    f->in.mode = BEV_FINISHED;
    passin(f);
    if (b->o.base == NULL || f->in.broken)
      return false;
  }
  if (h->what & BEV_EVENT_READING)
    levL_disable(b, EV_READ);
  if (h->what & BEV_EVENT_WRITING)
    levL_disable(b, EV_WRITE);
  return !end || b->ending == LEV_OPEN
         || (h->what & (BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT));
}

/* evbuffer's callback on the output below: it touches no buffer. Those above
   may have all their output sent now. */
static void onbelow (struct evbuffer *output,
                     const struct evbuffer_cb_info *info, void *arg) {
  (void)output;
  if (info->n_deleted > 0)
    for (lev_Bufferevent *b = arg; b; b = b->above) {
      ((lev_Filter *)b)->written = true;
      levL_taketurn(b);
    }
}

/* Gives up the one below, which is not closed then. */
static lev_Bufferevent *cut (lev_Bufferevent *b) {
  lev_Bufferevent *below = b->below;
  evbuffer_remove_cb(outputof(below), onbelow, b);
  b->below = below->above = NULL;
  return below;
}

/* The last bytes are handed down: from here on it is a matter of the one
   below, which knows how to end. */
static void flushed (lev_Bufferevent *b) {
  lev_Bufferevent *below = b->below;
  if (!b->isshut)
    return;
  below->busy = true;
  cut(b);
  levL_drop(&b->o);
  levL_listen(below);
  levL_flush(below, NULL);
  if (below->flavour->idle(below))
    levL_drop(&below->o);
  else if (levL_unsent(below) == 0)
    below->flavour->flushed(below);
  levL_rested(below);
}

static void leave (lev_Bufferevent *b) {
  if (b->below)
    evbuffer_remove_cb(outputof(b->below), onbelow, b);
  bufferevent_disable(b->bev, LEV_DIRECTIONS);
}

static void turn (lev_Bufferevent *b) {
  lev_Filter *f = (lev_Filter *)b;
  passin(f);
  if (b->o.base)
    passout(f);
  if (b->o.base && b->isshut && b->ending)
    flushed(b);
  else if (b->o.base && b->isshut) {
    b->below->shutwrite = true;
    levL_shutwrite(b->below);
  }
  if (b->o.base && f->written && levL_unsent(b) <= b->bev->wm_write.low) {
    f->written = false;
    levL_written(b);
  }
}

static const lev_Flavour filter = {
  false, isactive, isready, isidle, flush, shutread, endwrite, note, flushed,
  leave, turn
};

bool levL_isfilter (const lev_Bufferevent *b) {
  return b->flavour == &filter;
}

/* libevent's filter functions: there is something to do in our turn. */
static enum bufferevent_filter_result onpass (struct evbuffer *source,
    struct evbuffer *sink, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg) {
  (void)source; (void)sink; (void)limit; (void)mode;
  levL_taketurn(arg);
  return BEV_NEED_MORE;
}

/* ====} */

/* {==== Constructor ==== */

static lev_Bufferevent *checkbelow (lua_State *L, const lev_Base *base,
                                    int arg) {
  lev_Bufferevent *below = levL_checktop(L, arg);
  int n = 0;
  luaL_argcheck(L, below->o.base == base, arg,
                "Bufferevent is of another base");
  for (const lev_Bufferevent *b = below; b; b = b->below)
    n++;
  luaL_argcheck(L, n <= MAXFILTERS, arg, "too many filters on each other");
  return below;
}

/* Joins the two: libevent enables the one below. */
static bool join (lev_Base *base, lev_Filter *f, lev_Bufferevent *below) {
  struct bufferevent *bev;
  errno = 0;
  bev = levL_whole(bufferevent_filter_new(below->bev, onpass, onpass, 0, NULL,
                                          f));
  if (bev == NULL)
    return false;
  f->b.below = below;
  below->above = &f->b;
  levL_direct(below);
  levL_openbev(base, &f->b, bev);
  if (!below->flavour->ready(below))
    levL_park(below);
  return levL_maketurn(&f->b)
         && evbuffer_add_cb(outputof(below), onbelow, f);
}

/* base:filter(below [, input [, output]]) -> bufferevent */
static int lev_base_filter (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  bool in = levL_optcallback(L, 3);
  bool out = levL_optcallback(L, 4);
  lev_Bufferevent *below;
  lev_Filter *f;
  short enabled, later;
  lua_settop(L, 4);
  checkbelow(L, base, 2);
  f = (lev_Filter *)levL_newbev(L, 1, sizeof(*f), NUSERVALUES, &filter); /* 5 */
  levL_needmore(L, 2);
  levL_needmore(L, 5);
  below = checkbelow(L, base, 2);       /* again, after an allocation */
  f->in.lua = in;
  f->out.lua = out;
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, 5, INFILTER);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, 5, OUTFILTER);
  levL_anchor(L, 2, &below->o);         /* enabled, it may send */
  levL_anchor(L, 5, &f->b.o);
  enabled = bufferevent_get_enabled(below->bev);
  later = below->later;
  if (!join(base, f, below)) {
    if (f->b.below)
      cut(&f->b);
    levL_free(&f->b.o);
    levL_listen(below);
    bufferevent_disable(below->bev, LEV_DIRECTIONS & ~enabled);
    below->later = later;
    levL_settle(L, 5, &f->b.o);
    levL_settle(L, 2, &below->o);
    return levL_nomemory(L);
  }
  levL_unmark(below);         /* or libevent would call again and again with
                                 what the function has left */
  lua_pushvalue(L, 2);
  levL_setmore(L, 5, LEV_BELOW);
  lua_pushvalue(L, 5);
  levL_setmore(L, 2, LEV_ABOVE);
  levL_settle(L, 5, &f->b.o);
  return 1;
}

/* ====} */

/* Why it cannot be detached now; NULL if it can. In a function of its stack
   that would take away what libevent is in the middle of. */
static const char *undetachable (const lev_Bufferevent *b) {
  const lev_Bufferevent *s = b;
  for (; s->below; s = s->below)
    if (((const lev_Filter *)s)->passing)
      return "a function of the filter runs";
  if (s->inconnected)
    return "the callback of \"connected\" runs";
  if (evbuffer_get_length(outputof(b)) > 0)
    return "there is unsent output";
  return NULL;
}

/* [1] a filter: closes it and pushes the one below and what was unread. */
int levL_detachfilter (lua_State *L) {
  lev_Bufferevent *b = levL_checktop(L, 1);
  lev_Bufferevent *below;
  const char *why = undetachable(b);
  if (why)
    return levL_refuse(L, EBUSY, why);
  levL_getmore(L, 1, LEV_BELOW);                            /* 2 */
  levL_pushdata(L, levL_checkinput, 1, SIZE_MAX);           /* 3 */
  levL_checktop(L, 1);        /* again: a finalizer can have run */
  why = undetachable(b);
  if (why)
    return levL_refuse(L, EBUSY, why);
  below = cut(b);
  lua_pushnil(L);
  levL_setmore(L, 1, LEV_BELOW);
  lua_pushnil(L);
  levL_setmore(L, 2, LEV_ABOVE);
  levL_close(L, b->o.kind);
  lua_settop(L, 3);
  levL_listen(below);
  bufferevent_disable(below->bev, EV_READ);
  below->later &= ~EV_READ;
  levL_settle(L, 2, &below->o);
  return 2;
}

/* bufferevent:underlying() -> bufferevent | nil */
static int lev_bufferevent_underlying (lua_State *L) {
  lev_Bufferevent *b = levL_checkbev(L, 1);
  if (bufferevent_get_underlying(b->bev) == NULL)
    luaL_pushfail(L);
  else
    levL_getmore(L, 1, LEV_BELOW);
  return 1;
}

static const luaL_Reg methods[] = {
  {"underlying", lev_bufferevent_underlying},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"filter", lev_base_filter},
  {NULL, NULL}
};

void levL_openbufferevent_filter (lua_State *L) {
  levL_addmethods(L, LEV_BUFFEREVENT, methods);
  levL_addmethods(L, LEV_BASE, constructors);
}
