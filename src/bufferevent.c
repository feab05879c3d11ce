/*
** bufferevent.c: struct bufferevent, a stream with a buffer each way: what
** sockets, pairs and filters have in common.
**
** It is anchored while it reads, connects or has something to send, or what
** it is joined with does: see lev_bufferevent.h. Callbacks come from the loop
** alone, never inside a call of the script's.
*/
#include "lev_bufferevent.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

const lev_Word levL_directions[] = {
  {"read", EV_READ}, {"write", EV_WRITE}, {NULL, 0}
};

/* {==== More user values ==== */

/* Makes room for all of them, so that setting one takes no memory. */
void levL_needmore (lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  if (lua_getiuservalue(L, idx, LEV_UVMORE) == LUA_TNIL) {
    lua_createtable(L, LEV_NMORE, 0);
    if (lua_getiuservalue(L, idx, LEV_UVMORE) == LUA_TNIL) {
      lua_pushvalue(L, -2);   /* no finalizer has made one meanwhile */
      lua_setiuservalue(L, idx, LEV_UVMORE);
    }
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

/* [-1] the value, nil if there is no room. It is popped. */
void levL_setmore (lua_State *L, int idx, int key) {
  idx = lua_absindex(L, idx);
  if (lua_getiuservalue(L, idx, LEV_UVMORE) == LUA_TTABLE) {
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, key);
  }
  lua_pop(L, 2);
}

/* Pushes the value, or nil, and returns its type. */
int levL_getmore (lua_State *L, int idx, int key) {
  if (lua_getiuservalue(L, idx, LEV_UVMORE) == LUA_TTABLE) {
    lua_rawgeti(L, -1, key);
    lua_replace(L, -2);
  }
  return lua_type(L, -1);
}

/* ====} */

/* {==== Kind and accessors ==== */

/* The bytes on their way to the peer, here and below. */
size_t levL_unsent (const lev_Bufferevent *b) {
  size_t n = 0;
  for (; b; b = b->below) {
    n += evbuffer_get_length(bufferevent_get_output(b->bev));
    if (b->tls)
      n += levL_tlsunsent(b);
  }
  return n;
}

const lev_Bufferevent *levL_bottom (const lev_Bufferevent *b) {
  while (b->below)
    b = b->below;
  return b;
}

/* What the script uses: what stands below has its callbacks for later. */
lev_Bufferevent *levL_top (lev_Bufferevent *b) {
  while (b->above)
    b = b->above;
  return b;
}

/* May one of those that stand on 'b' be called? A full one by any drain. */
static bool stackactive (const lev_Bufferevent *b) {
  for (; b; b = b->above)
    if (b->busy || b->full
        || (b->native ? b->native->hooks->active(b) : b->flavour->active(b))
        || (b->turn && event_pending(&b->turn->ev, EV_TIMEOUT, NULL)))
      return true;
  return false;
}

static bool isactive (const lev_Object *o) {
  const lev_Bufferevent *b = levL_bottom((const lev_Bufferevent *)o);
  return stackactive(b) || (b->partner && stackactive(b->partner));
}

/* [-1] a bufferevent becomes what it has there; false if that is none. */
static bool follow (lua_State *L, int key) {
  if (levL_getmore(L, -1, key) == LUA_TUSERDATA) {
    lua_remove(L, -2);
    return true;
  }
  lua_pop(L, 1);
  return false;
}

/* [-1] a bufferevent: visits it and all that stands on it. */
static void eachabove (lua_State *L, lev_Visit visit) {
  lua_pushvalue(L, -1);
  do
    visit(L, lua_gettop(L), lua_touserdata(L, -1));
  while (follow(L, LEV_ABOVE));
  lua_pop(L, 1);
}

/* Visits all that the bufferevent at 'idx' is joined with. It goes by the
   user values, which are there when it is closed as well. */
static void each (lua_State *L, int idx, lev_Visit visit) {
  lua_pushvalue(L, idx);
  while (levL_isfilter(lua_touserdata(L, -1)) && follow(L, LEV_BELOW))
    ;
  eachabove(L, visit);
  if (levL_ispair(lua_touserdata(L, -1)) && follow(L, LEV_BELOW))
    eachabove(L, visit);
  lua_pop(L, 1);
}

/* Nothing is enabled in libevent before it is ready: without a descriptor, or
   while that connects, libevent would wait for it all the same, and time
   out. */
void levL_park (lev_Bufferevent *b) {
  b->later |= bufferevent_get_enabled(b->bev) & LEV_DIRECTIONS;
  bufferevent_disable(b->bev, LEV_DIRECTIONS);
}

int levL_unpark (lev_Bufferevent *b) {
  short what = (short)b->later;
  errno = 0;
  b->later = 0;
  if (b->tls && (what & EV_WRITE) && levL_unsent(b) == 0) {
    what ^= EV_WRITE;         /* libevent would wait with nothing to send */
    b->bev->enabled |= EV_WRITE;
  }
  if (what && b->flavour->turn)
    levL_taketurn(b);
  if (what && bufferevent_enable(b->bev, what) < 0)
    return -1;
  if ((what & EV_READ) && b->tls && levL_tlspending(b))
    event_active(&b->bev->ev_read, EV_READ, 1);
  return 0;
}

void levL_disable (lev_Bufferevent *b, short what) {
  b->later &= ~what;
  b->failure = 0;
  if (what & EV_READ)
    b->full = false;
  if (what)
    bufferevent_disable(b->bev, what);
}

/* Reads again when the script has taken enough. The end of a pair that has not
   paused is filled up by being enabled once more: nobody else does it. */
static void resume (lev_Bufferevent *b) {
  size_t high = b->bev->wm_read.high;
  size_t len = evbuffer_get_length(bufferevent_get_input(b->bev));
  if (high > 0 && len >= high)
    return;
  if (b->full) {
    b->full = false;
    levL_unpark(b);
  }
  else if (levL_ispair(b))
    bufferevent_enable(b->bev, bufferevent_get_enabled(b->bev) & EV_READ);
}

/* evbuffer's callback, in the middle of a change: it touches no buffer */
static void ondrain (struct evbuffer *input,
                     const struct evbuffer_cb_info *info, void *arg) {
  (void)input;
  if (info->n_deleted > 0)
    resume(arg);
}

static void drain (struct evbuffer *buf) {
  evbuffer_unfreeze(buf, 1);
  evbuffer_drain(buf, evbuffer_get_length(buf));
}

/* Takes the marks of reading away. */
void levL_unmark (lev_Bufferevent *b) {
  evbuffer_remove_cb(bufferevent_get_input(b->bev), ondrain, b);
  bufferevent_setwatermark(b->bev, EV_READ, 0, 0);
  b->full = false;
}

/* Does it read, and all that stands on it? */
bool levL_reads (const lev_Bufferevent *b) {
  while (b && (b->bev->enabled & EV_READ))
    b = b->above;
  return b == NULL;
}

/* What stands on it ends first. libevent frees the buffers in a later turn of
   the loop. Output that is left would still be written after a callback of
   "connected", to a descriptor number that is no longer ours; and what refers
   to strings of Lua's could outlive them. So both are emptied. */
static void freebufferevent (lev_Object *o) {
  lev_Bufferevent *b = (lev_Bufferevent *)o;
  lev_Bufferevent *above = b->above;
  if (above) {
    above->flavour->leave(above);
    b->above = above->below = NULL;
    levL_free(&above->o);
  }
  if (b->tls)
    levL_clear(b);            /* it looks at what is unsent */
  levL_forget(b);
  if (b->native)
    b->native->hooks->leave(b);
  bufferevent_setcb(b->bev, NULL, NULL, NULL, NULL);
  evbuffer_remove_cb(bufferevent_get_input(b->bev), ondrain, b);
  levL_unlimit(b);
  b->flavour->leave(b);
  levL_tlsfree(b);
  for (int i = 0; i < 2; i++)
    if (b->buffers[i])
      levL_unwatch(b->buffers[i]);
  drain(bufferevent_get_output(b->bev));
  drain(bufferevent_get_input(b->bev));
  if (b->turn)
    event_del(&b->turn->ev);
  free(b->turn);
  bufferevent_free(b->bev);
  b->turn = NULL;
  b->bev = NULL;
  if (b->below) {
    b->below->above = NULL;
    levL_free(&b->below->o);
    b->below = NULL;
  }
}

/* libevent waits for the descriptor once something is to be sent, and says
   nothing when it cannot. So that comes first; and it ends again when there
   was nothing to add. */
static bool sends (lev_Object *o, bool done) {
  lev_Bufferevent *b = (lev_Bufferevent *)o;
  struct event *ev = &b->bev->ev_write;
  if (done ? levL_gathered(b) : levL_gather(b))
    return true;
  if (!levL_issocket(b) || !b->flavour->ready(b))
    return true;
  if (!done)
    errno = 0;
  if (done && evbuffer_get_length(bufferevent_get_output(b->bev)) == 0)
    event_del(ev);
  return done || event_pending(ev, EV_WRITE, NULL)
         || !(bufferevent_get_enabled(b->bev) & EV_WRITE)
         || bufferevent_enable(b->bev, EV_WRITE) == 0;
}

static const void *handle (const lev_Object *o) {
  const lev_Bufferevent *b = (const lev_Bufferevent *)o;
  return b->races ? (const void *)b->end.race
         : b->tls ? (const void *)b : (const void *)b->bev;
}

static void clear (lev_Object *o) {
  levL_clear((lev_Bufferevent *)o);
}

static size_t aside (const lev_Object *o, const struct evbuffer *buf) {
  return levL_aside((const lev_Bufferevent *)o, buf);
}

static const lev_Kind kind = {
  .tname = LEV_BUFFEREVENT, .active = isactive, .free = freebufferevent,
  .handle = handle, .sends = sends, .clear = clear, .aside = aside,
  .each = each
};

bool levL_isbufferevent (const lev_Object *o) {
  return o->kind == &kind;
}

/* What only sends its rest is closed to the script. */
static lev_Bufferevent *checkbev (lua_State *L, int arg) {
  lev_Bufferevent *b = levL_checkopen(L, arg, &kind);
  luaL_argcheck(L, b->ending == LEV_OPEN, arg, "Bufferevent is closed");
  return b;
}

/* One whose data nobody else is after. Not all of it need be in its buffers:
   levL_clear. */
static lev_Bufferevent *checkdirect (lua_State *L) {
  lev_Bufferevent *b = checkbev(L, 1);
  luaL_argcheck(L, b->above == NULL, 1, "Bufferevent belongs to a filter");
  luaL_argcheck(L, b->native == NULL, 1, "Bufferevent belongs to a stream");
  return b;
}

lev_Bufferevent *levL_checkbev (lua_State *L, int arg) {
  lev_Bufferevent *b = checkbev(L, arg);
  levL_clear(b);
  return b;
}

lev_Bufferevent *levL_checktop (lua_State *L, int arg) {
  lev_Bufferevent *b = levL_checkbev(L, arg);
  luaL_argcheck(L, b->above == NULL, arg, "Bufferevent belongs to a filter");
  return b;
}

/* One that the script itself hears of. */
lev_Bufferevent *levL_checkfree (lua_State *L, int arg) {
  lev_Bufferevent *b = levL_checktop(L, arg);
  luaL_argcheck(L, b->native == NULL, arg, "Bufferevent belongs to a stream");
  return b;
}

LEV_EXPORT struct bufferevent *lualibevent_tobufferevent (lua_State *L,
                                                          int idx) {
  return levL_checkbev(L, idx)->bev;
}

struct evbuffer *levL_checkinput (lua_State *L, int arg) {
  lev_Bufferevent *b = levL_checkopen(L, arg, &kind);
  levL_clear(b);
  return bufferevent_get_input(b->bev);
}

/* ====} */

/* {==== Constructing ==== */

/* Pushes a closed bufferevent of the base at 'base'. */
lev_Bufferevent *levL_newbev (lua_State *L, int base, size_t size, int nuv,
                              const lev_Flavour *flavour) {
  lev_Bufferevent *b = levL_newobject(L, base, &kind, size, nuv);
  b->flavour = flavour;
  return b;
}

/* What libevent has just made, unless errno, 0 before, tells that there was no
   memory for a part of it, which libevent does not say: then NULL. */
struct bufferevent *levL_whole (struct bufferevent *bev) {
  if (bev && errno == ENOMEM) {
    bufferevent_free(bev);
    return NULL;
  }
  return bev;
}

void levL_openbev (lev_Base *base, lev_Bufferevent *b,
                   struct bufferevent *bev) {
  b->bev = bev;
  levL_listen(b);
  if (!b->flavour->ready(b))
    levL_park(b);
  levL_adopt(base, &b->o);
}

/* ====} */

/* {==== Callbacks ==== */

/* bufferevent:setcb([read [, write [, event]]]) -> bufferevent */
static int lev_bufferevent_setcb (lua_State *L) {
  lev_Bufferevent *b = levL_checkfree(L, 1);
  bool read = levL_optcallback(L, 2);
  bool write = levL_optcallback(L, 3);
  bool event = levL_optcallback(L, 4);
  levL_checkfree(L, 1);
  lua_settop(L, 4);
  b->read = read;
  b->write = write;
  b->event = event;
  lua_setiuservalue(L, 1, LEV_UVEVENT);
  lua_setiuservalue(L, 1, LEV_UVWRITE);
  lua_setiuservalue(L, 1, LEV_UVREAD);
  return 1;
}

/* bufferevent:getcb() -> read, write, event */
static int lev_bufferevent_getcb (lua_State *L) {
  levL_checkfree(L, 1);
  lua_getiuservalue(L, 1, LEV_UVREAD);
  lua_getiuservalue(L, 1, LEV_UVWRITE);
  lua_getiuservalue(L, 1, LEV_UVEVENT);
  return 3;
}

/* ====} */

/* {==== In the place of the script ==== */

/* From now on 'native' hears of it, and it is anchored. Its callback of what
   was written comes if b->write is set. */
void levL_attach (lev_Bufferevent *b, lev_Native *native) {
  b->native = native;
  b->read = true;
  b->write = b->event = false;
}

/* The script again, which has set no callback yet. */
lev_Native *levL_unhook (lev_Bufferevent *b) {
  lev_Native *native = b->native;
  b->native = NULL;
  b->read = b->write = b->event = false;
  return native;
}

/* ====} */

/* {==== Reading and writing ==== */

/* bufferevent:read([n]) -> string */
static int lev_bufferevent_read (lua_State *L) {
  lev_Bufferevent *b = checkdirect(L);
  size_t n = levL_optsize(L, 2, SIZE_MAX);
  if (!levL_pushpiece(L, b, n))
    levL_pushdata(L, levL_checkinput, 1, n);
  return 1;
}

/* bufferevent:read_buffer(buffer) -> bufferevent */
static int lev_bufferevent_read_buffer (lua_State *L) {
  lev_Bufferevent *b = levL_checkfree(L, 1);
  int r = bufferevent_read_buffer(b->bev, levL_checksink(L, 2));
  levL_settlesink(L, 2);
  if (r < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* Adds data to the output of the bufferevent at 'bev'; more than one callback
   can send at a time. */
void levL_senddata (lua_State *L, int bev, int first, int last) {
  lev_Bufferevent *b;
  bool ok;
  levL_checkdata(L, first, last);
  b = levL_checktop(L, bev);
  luaL_argcheck(L, !b->shutwrite, 1, "Bufferevent is shut down for writing");
  levL_anchor(L, bev, &b->o);
  levL_freshen(b->o.base);
  ok = sends(&b->o, false)
       && levL_adddata(L, first, last, bufferevent_get_output(b->bev));
  sends(&b->o, true);
  levL_settle(L, bev, &b->o);
  if (!ok)
    levL_unable(L);
}

/* bufferevent:write(data...) -> bufferevent */
static int lev_bufferevent_write (lua_State *L) {
  lev_Bufferevent *b = checkdirect(L);
  int last = lua_gettop(L);
  if (!levL_stage(L, 2, last, b))
    levL_senddata(L, 1, 2, last);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:write_buffer(buffer) -> bufferevent */
static int lev_bufferevent_write_buffer (lua_State *L) {
  lua_settop(L, 2);
  checkdirect(L);
  luaL_checkudata(L, 2, LEV_BUFFER);
  return lev_bufferevent_write(L);
}

/* The wrapper of a borrowed buffer is made once. */
static int pushbuffer (lua_State *L, bool input) {
  lev_Bufferevent *b = checkbev(L, 1);
  int key = input ? LEV_INPUT : LEV_OUTPUT;
  lev_Buffer *wrapper;
  if (levL_getmore(L, 1, key) != LUA_TNIL)
    return 1;
  levL_needmore(L, 1);
  checkbev(L, 1);             /* again: a finalizer can have run */
  wrapper = levL_pushborrowed(L, 1, input ? bufferevent_get_input(b->bev)
                                          : bufferevent_get_output(b->bev),
                              input ? NULL : &b->shutwrite,
                              !input && levL_issocket(b));
  if (levL_getmore(L, 1, key) != LUA_TNIL)
    return 1;                 /* the finalizer has made it */
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  levL_setmore(L, 1, key);
  b->buffers[key - LEV_INPUT] = wrapper;
  return 1;
}

/* bufferevent:input() -> buffer */
static int lev_bufferevent_input (lua_State *L) {
  return pushbuffer(L, true);
}

/* bufferevent:output() -> buffer */
static int lev_bufferevent_output (lua_State *L) {
  return pushbuffer(L, false);
}

static const lev_Word flushwords[] = {
  {"normal", BEV_NORMAL}, {"flush", BEV_FLUSH}, {"finished", BEV_FINISHED},
  {NULL, 0}
};

/* bufferevent:flush([directions [, mode]]) -> flushed */
static int lev_bufferevent_flush (lua_State *L) {
  lev_Bufferevent *b = levL_checkfree(L, 1);
  int what = LEV_DIRECTIONS;
  int mode = BEV_NORMAL;
  if (!lua_isnoneornil(L, 2))
    what = levL_checkwords(L, 2, levL_directions);
  if (!lua_isnoneornil(L, 3))
    mode = levL_checkwords(L, 3, flushwords);
  levL_anchor(L, 1, &b->o);
  levL_freshen(b->o.base);
  lua_pushboolean(L, b->flavour->flush(b, (short)what,
                          (enum bufferevent_flush_mode)mode));
  levL_settle(L, 1, &b->o);
  return 1;
}

/* Ends directions of the bufferevent at 'bev'; 0 or an errno. */
int levL_shutdown (lua_State *L, int bev, int what) {
  lev_Bufferevent *b = lua_touserdata(L, bev);
  int err;
  levL_anchor(L, bev, &b->o);
  err = b->flavour->shutdown(b, what);
  if (err == 0 && (what & EV_WRITE)) {
    b->shutwrite = true;
    err = levL_shutwrite(b);  /* now, or when the output is sent */
    if (err)
      b->shutwrite = b->isshut = false;
  }
  levL_settle(L, bev, &b->o);
  return err;
}

/* bufferevent:shutdown([directions]) -> bufferevent | nil, message, errno */
static int lev_bufferevent_shutdown (lua_State *L) {
  int what = EV_WRITE;
  int err;
  levL_checkfree(L, 1);
  if (!lua_isnoneornil(L, 2))
    what = levL_checkwords(L, 2, levL_directions);
  err = levL_shutdown(L, 1, what);
  if (err)
    return levL_refuse(L, err, NULL);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== Switches ==== */

/* At the high mark libevent would call again and again until the script has
   read, and a loop "once" would never end. */
void levL_pauseatmark (lev_Bufferevent *b) {
  size_t high = b->bev->wm_read.high;
  if (high > 0 && evbuffer_get_length(bufferevent_get_input(b->bev)) >= high
      && (bufferevent_get_enabled(b->bev) & EV_READ)) {
    b->full = true;
    b->later |= EV_READ;
    bufferevent_disable(b->bev, EV_READ);
  }
}

/* Enables it and what it stands on, which libevent has disabled after a
   timeout or an end; what is not ready later. 0 or an errno. */
int levL_enable (lev_Bufferevent *b, short what) {
  int r = 0;
  for (; b; b = b->below) {
    b->later |= what;
    if (b->flavour->ready(b) && levL_unpark(b) < 0)
      r = errno ? errno : ENOMEM;
    levL_pauseatmark(b);
  }
  return r;
}

/* bufferevent:enable(directions) -> bufferevent | nil, message, errno */
static int lev_bufferevent_enable (lua_State *L) {
  lev_Bufferevent *b = levL_checkfree(L, 1);
  short what = (short)levL_checkwords(L, 2, levL_directions);
  int err;
  short was;
  levL_anchor(L, 1, &b->o);
  levL_freshen(b->o.base);
  was = bufferevent_get_enabled(b->bev) | b->later;
  err = levL_enable(b, what);
  if (err)
    levL_disable(b, what & ~was);
  levL_settle(L, 1, &b->o);
  if (err)
    return levL_refuse(L, err, NULL);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:disable(directions) -> bufferevent */
static int lev_bufferevent_disable (lua_State *L) {
  lev_Bufferevent *b = levL_checkfree(L, 1);
  short what = (short)levL_checkwords(L, 2, levL_directions);
  levL_disable(b, what);
  levL_settle(L, 1, &b->o);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:enabled() -> directions */
static int lev_bufferevent_enabled (lua_State *L) {
  lev_Bufferevent *b = levL_checkbev(L, 1);
  int what = bufferevent_get_enabled(b->bev) | b->later;
  levL_pushwords(L, what & LEV_DIRECTIONS, levL_directions);
  return 1;
}

/* What libevent does for the high mark of reading is done here, by
   levL_pauseatmark and resume: it would take memory for it, and write through
   a null pointer where there is none. It only has to know the mark, to read no
   more. */
static void setmarks (struct bufferevent *bev, short what, size_t low,
                      size_t high) {
  if (what & EV_WRITE)
    bufferevent_setwatermark(bev, EV_WRITE, low, high);
  if (what & EV_READ) {
    bufferevent_setwatermark(bev, EV_READ, low, 0);
    bev->wm_read.high = high;
  }
}

/* bufferevent:setwatermark(directions [, low [, high]]) -> bufferevent */
static int lev_bufferevent_setwatermark (lua_State *L) {
  lev_Bufferevent *b = levL_checkbev(L, 1);
  short what = (short)levL_checkwords(L, 2, levL_directions);
  size_t low = levL_optsize(L, 3, 0);
  size_t high = levL_optsize(L, 4, 0);
  luaL_argcheck(L, high == 0 || low <= high, 4,
                "a high mark below the low one");
  if (what & EV_READ) {
    struct evbuffer *input = bufferevent_get_input(b->bev);
    levL_checktop(L, 1);      /* a filter has marks of its own */
    evbuffer_remove_cb(input, ondrain, b);
    if (high > 0 && !evbuffer_add_cb(input, ondrain, b))
      return levL_nomemory(L);
  }
  levL_anchor(L, 1, &b->o);
  setmarks(b->bev, what, low, high);
  resume(b);
  levL_pauseatmark(b);
  levL_settle(L, 1, &b->o);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:getwatermark(direction) -> low, high */
static int lev_bufferevent_getwatermark (lua_State *L) {
  lev_Bufferevent *b = levL_checkbev(L, 1);
  short what = (short)levL_checkwords(L, 2, levL_directions);
  size_t low, high;
  if (bufferevent_getwatermark(b->bev, what, &low, &high) < 0)
    levL_expected(L, 2, 2, "one of read, write");
  lua_pushinteger(L, (lua_Integer)low);
  lua_pushinteger(L, (lua_Integer)high);
  return 2;
}

/* bufferevent:set_timeouts([read [, write]]) -> bufferevent */
static int lev_bufferevent_set_timeouts (lua_State *L) {
  lev_Bufferevent *b = levL_checkbev(L, 1);
  struct timeval read, write;
  const struct timeval *r = levL_time(L, 2, 2, &read);
  const struct timeval *w = levL_time(L, 3, 3, &write);
  levL_anchor(L, 1, &b->o);
  b->o.base->timed |= r || w;
  levL_freshen(b->o.base);
  bufferevent_set_timeouts(levL_bottom(b)->bev, levL_commontime(b->o.base, r),
                           levL_commontime(b->o.base, w));
  levL_settle(L, 1, &b->o);
  lua_settop(L, 1);
  return 1;
}

/* Puts a call off until the loop comes to it. */
static int trigger (lua_State *L, lev_Bufferevent *b, lev_Trigger t) {
  if (!levL_maketurn(b))
    return levL_nomemory(L);
  levL_anchor(L, 1, &b->o);
  b->turn->trigger.directions |= t.directions;
  b->turn->trigger.told.what |= t.told.what;
  if (t.told.what)
    b->turn->trigger.told.err = t.told.err;
  levL_taketurn(b);
  lua_settop(L, 1);
  return 1;
}

/* What of 'what' the watermarks let through. */
static short ripe (const lev_Bufferevent *b, int what) {
  const struct bufferevent *bev = b->bev;
  if (evbuffer_get_length(bev->input) < bev->wm_read.low)
    what &= ~EV_READ;
  if (evbuffer_get_length(bev->output) > bev->wm_write.low)
    what &= ~EV_WRITE;
  return (short)what;
}

/* bufferevent:trigger(directions [, options]) -> bufferevent */
static int lev_bufferevent_trigger (lua_State *L) {
  static const lev_Word words[] = {
    {"ignore_watermarks", BEV_TRIG_IGNORE_WATERMARKS},
    {"defer_callbacks", BEV_TRIG_DEFER_CALLBACKS},
    {NULL, 0}
  };
  lev_Bufferevent *b = levL_checkfree(L, 1);
  int what = levL_checkwords(L, 2, levL_directions);
  int options = lua_isnoneornil(L, 3) ? 0 : levL_checkwords(L, 3, words);
  lev_Trigger t = {0, {0, 0, NULL}};
  t.directions = options & BEV_TRIG_IGNORE_WATERMARKS ? (short)what
                                                      : ripe(b, what);
  return trigger(L, b, t);
}

/* bufferevent:trigger_event(what [, code]) -> bufferevent */
static int lev_bufferevent_trigger_event (lua_State *L) {
  static const lev_Word words[] = {
    {"reading", BEV_EVENT_READING}, {"writing", BEV_EVENT_WRITING},
    {"eof", BEV_EVENT_EOF}, {"error", BEV_EVENT_ERROR},
    {"timeout", BEV_EVENT_TIMEOUT}, {NULL, 0}
  };
  lev_Bufferevent *b = levL_checkfree(L, 1);
  lev_Trigger t = {0, {0, ECONNABORTED, NULL}};
  t.told.what = (short)levL_checkwords(L, 2, words);
  luaL_argcheck(L, t.told.what & (BEV_EVENT_EOF | BEV_EVENT_ERROR
                                  | BEV_EVENT_TIMEOUT), 2,
                "one of eof, error, timeout expected");
  if (!lua_isnoneornil(L, 3))
    t.told.err = (int)levL_range(L, 3, 3, 0, INT_MAX);
  return trigger(L, b, t);
}

/* ====} */

/* {==== The end ==== */

/* From here on nothing but sending the rest is left; a peer that takes none
   of it for that long, NULL for as long as before, ends it too. */
void levL_flush (lev_Bufferevent *b, const struct timeval *stall) {
  b->ending = LEV_FLUSHING;
  b->shutwrite = true;
  b->read = b->write = b->event = false;
  b->full = false;
  b->later = 0;
  bufferevent_disable(b->bev, EV_READ);
  bufferevent_setwatermark(b->bev, EV_WRITE, 0, 0);
  if (stall)
    bufferevent_set_timeouts(levL_bottom(b)->bev, NULL, stall);
  if (b->tls && b->connecting)
    b->later = EV_WRITE;      /* when the handshake is done */
  else if (!b->unsent || !(bufferevent_get_enabled(b->bev) & EV_WRITE))
    bufferevent_enable(b->bev, EV_WRITE);
  if (b->below) {
    levL_shutwrite(b);        /* the filter has a last word */
    levL_taketurn(b);         /* or has had it */
  }
}

/* bufferevent:base() -> base */
static int lev_bufferevent_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* bufferevent:close() -> bufferevent: the other end of a pair hears of it */
static int lev_bufferevent_close (lua_State *L) {
  lev_Bufferevent *b = luaL_checkudata(L, 1, LEV_BUFFEREVENT);
  if (levL_bottom(b)->partner)
    levL_anchor(L, 1, &b->o);
  return levL_close(L, &kind);
}

/* Garbage with all that it is joined with. */
static int lev_bufferevent__gc (lua_State *L) {
  return levL_close(L, &kind);
}

/* [1] bufferevent, [2] seconds or nothing: sends what there is, then closes. */
int levL_closeflushed (lua_State *L) {
  lev_Bufferevent *b = luaL_checkudata(L, 1, LEV_BUFFEREVENT);
  struct timeval stall = {LEV_FLUSHTIME, 0};
  if (b->o.base == NULL || b->ending) {
    lua_settop(L, 1);         /* like close, it may be called twice */
    return 1;
  }
  levL_checktop(L, 1);
  levL_time(L, 2, 2, &stall);
  if (b->tls && levL_unsent(b) == 0)
    levL_tlsfinish(b);        /* its last word is to be sent, too */
  if (!evutil_timerisset(&stall) || b->failure || b->flavour->idle(b))
    return lev_bufferevent_close(L);
  levL_anchor(L, 1, &b->o);
  levL_freshen(b->o.base);
  for (int uv = LEV_UVREAD; uv <= LEV_UVEVENT; uv++) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, uv);
  }
  levL_flush(b, &stall);
  lua_settop(L, 1);
  return 1;
}

/* bufferevent:close_after_flush([seconds]) -> bufferevent */
static int lev_bufferevent_close_after_flush (lua_State *L) {
  return levL_closeflushed(L);
}

static int lev_bufferevent__tostring (lua_State *L) {
  lev_Bufferevent *b = luaL_checkudata(L, 1, LEV_BUFFEREVENT);
  return levL_tostring(L, LEV_BUFFEREVENT, b->o.base && b->ending == LEV_OPEN);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"setcb", lev_bufferevent_setcb},
  {"getcb", lev_bufferevent_getcb},
  {"read", lev_bufferevent_read},
  {"read_buffer", lev_bufferevent_read_buffer},
  {"write", lev_bufferevent_write},
  {"write_buffer", lev_bufferevent_write_buffer},
  {"input", lev_bufferevent_input},
  {"output", lev_bufferevent_output},
  {"flush", lev_bufferevent_flush},
  {"shutdown", lev_bufferevent_shutdown},
  {"enable", lev_bufferevent_enable},
  {"disable", lev_bufferevent_disable},
  {"enabled", lev_bufferevent_enabled},
  {"setwatermark", lev_bufferevent_setwatermark},
  {"getwatermark", lev_bufferevent_getwatermark},
  {"set_timeouts", lev_bufferevent_set_timeouts},
  {"trigger", lev_bufferevent_trigger},
  {"trigger_event", lev_bufferevent_trigger_event},
  {"base", lev_bufferevent_base},
  {"close", lev_bufferevent_close},
  {"close_after_flush", lev_bufferevent_close_after_flush},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_bufferevent__gc},
  {"__close", lev_bufferevent_close},
  {"__tostring", lev_bufferevent__tostring},
  {NULL, NULL}
};

void levL_openbufferevent (lua_State *L) {
  levL_newtype(L, LEV_BUFFEREVENT, methods, metamethods);
  levL_openbufferevent_sock(L);
  levL_openbufferevent_hostname(L);
  levL_openbufferevent_pair(L);
  levL_openbufferevent_filter(L);
  levL_openbufferevent_ratelim(L);
  levL_openbufferevent_group(L);
  levL_openbufferevent_tls(L);
}
