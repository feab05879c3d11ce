/*
** task_stream.c: a bufferevent for tasks, read and written in straight lines.
**
** It hears of its bufferevent in the script's place, and wakes the task that
** waits for what has come. Bytes stay where they were received until they are
** taken: a call that ends without them, by a timeout or an error, takes none.
** While nobody reads, no more than HIGH of them are taken from the peer.
**
** The bufferevent, its user value, does not keep the stream: who drops a stream
** has closed it. A task that waits for one holds it on its stack.
*/
#include "lev_task.h"
#include "lev_bufferevent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define HIGH (64 * 1024)      /* bytes that nobody reads, or nobody takes */
#define LOW (16 * 1024)       /* of output, where a task writes on */
#define LINE (64 * 1024)      /* of a line, if nothing else is said */
#define LINGER 1              /* seconds that a peer has to end what it sends */

enum { UVBEV = 1, NUVSTREAM = UVBEV };    /* user values */

typedef struct Stream {
  unsigned stamp;             /* as every object begins, to be told by it */
  int err;                    /* an errno: how it has ended; or 0 */
  const lev_Kind *kind;
  lev_Native native;
  lev_Bufferevent *b;         /* NULL once closed */
  lev_Task *const *current;   /* the place of the task that runs */
  lev_Task *reader, *writer;  /* who waits, or NULL */
  size_t need;                /* bytes that the reader waits for */
  size_t from;                /* so many have no end of a line in them */
  size_t low;                 /* unsent bytes that the writer waits for */
  double timeout;             /* of each wait, or LEV_FOREVER */
  char *why;                  /* the message of err, or NULL: the system's */
  bool connecting;            /* or shakes hands */
  bool eof;                   /* nothing more comes */
  bool paused;                /* not reading: there is enough */
} Stream;

static const lev_Kind kind = {.tname = LEV_STREAM};

static size_t inputlength (const lev_Bufferevent *b) {
  struct evbuffer *input = bufferevent_get_input(b->bev);
  return evbuffer_get_length(input) + levL_aside(b, input);
}

static size_t outputlength (const lev_Bufferevent *b) {
  return levL_unsent(b) + levL_aside(b, bufferevent_get_output(b->bev));
}

/* {==== From the loop ==== */

static Stream *tostream (const lev_Bufferevent *b) {
  return (Stream *)((char *)b->native - offsetof(Stream, native));
}

static lev_Task *takereader (Stream *s) {
  lev_Task *t = s->reader;
  s->reader = NULL;
  return t;
}

static lev_Task *takewriter (Stream *s) {
  lev_Task *t = s->writer;
  s->writer = NULL;
  if (s->b)
    s->b->write = false;
  return t;
}

static void onread (lev_Bufferevent *b) {
  Stream *s = tostream(b);
  if (s->reader) {
    if (s->need == 1 || inputlength(b) >= s->need)
      levL_run(&b->o, takereader(s));
  }
  else if (inputlength(b) >= HIGH) {
    s->paused = true;
    levL_disable(b, EV_READ);
  }
}

static void onwritten (lev_Bufferevent *b) {
  Stream *s = tostream(b);
  if (s->writer && !s->connecting && outputlength(b) <= s->low)
    levL_run(&b->o, takewriter(s));
}

/* Both wait for the same end of it. They run in a turn of the loop. */
static void stir (Stream *s) {
  if (s->reader)
    levL_wake(takereader(s));
  if (s->writer)
    levL_wake(takewriter(s));
}

static void onevent (lev_Bufferevent *b, const lev_Happening *h) {
  Stream *s = tostream(b);
  if (h->what & BEV_EVENT_CONNECTED) {
    s->connecting = false;
    if (s->writer)
      levL_run(&b->o, takewriter(s));
  }
  else if ((h->what & BEV_EVENT_EOF) && (h->what & BEV_EVENT_READING)
           && !s->connecting) {
    s->eof = true;
    if (s->reader)
      levL_run(&b->o, takereader(s));
  }
  else {
    s->err = h->what & BEV_EVENT_TIMEOUT ? ETIMEDOUT
             : (h->what & BEV_EVENT_ERROR) && h->err ? h->err : ECONNRESET;
    if (h->message && s->why == NULL)
      s->why = strdup(h->message);      /* without memory, the system's words */
    s->connecting = false;
    stir(s);
  }
}

static void onleave (lev_Bufferevent *b) {
  Stream *s = tostream(b);
  s->b = NULL;
  levL_countstream(b->o.base, -1);
  stir(s);
}

/* The script's bufferevent again. */
static void unhook (Stream *s) {
  levL_unhook(s->b);
  levL_countstream(s->b->o.base, -1);
  s->b = NULL;
}

static bool isactive (const lev_Bufferevent *b) {
  return b->flavour->active(b);
}

static const lev_Hooks hooks = {onread, onwritten, onevent, onleave, isactive};

/* ====} */

/* {==== Waiting ==== */

static Stream *checkstream (lua_State *L, int arg) {
  return levL_checkobject(L, arg, &kind);
}

static int pushfault (lua_State *L, const Stream *s) {
  if (s->b == NULL)
    return levL_nothing(L, "closed");
  return levL_refuse(L, s->err, s->why);
}

static void unread (lua_State *L, lev_Task *t, void *object) {
  (void)L; (void)t;
  takereader(object);
}

static void unwrite (lua_State *L, lev_Task *t, void *object) {
  (void)L; (void)t;
  takewriter(object);
}

static lev_Task *here (lua_State *L, const Stream *s, const char *name) {
  return levL_hereon(L, s->current, s->b->o.base, name);
}

/* Reads from the peer, as far as it is wanted; an errno. */
static int enable (lua_State *L, Stream *s) {
  int err;
  lua_getiuservalue(L, 1, UVBEV);
  levL_anchor(L, -1, &s->b->o);
  levL_freshen(s->b->o.base);
  err = levL_enable(s->b, EV_READ);
  levL_settle(L, -1, &s->b->o);
  lua_pop(L, 1);
  return err;
}

/* Waits for input, or the end of it. */
static int awaitinput (lua_State *L, Stream *s, size_t need,
                       lua_KFunction k, lua_KContext ctx) {
  lev_Task *t;
  if (s->reader)
    return levL_nothing(L, "busy");
  t = here(L, s, "stream:read");
  if (s->paused) {
    int err = enable(L, s);
    if (err)
      return levL_refuse(L, err, NULL);
    s->paused = false;
  }
  s->reader = t;
  s->need = need;
  levL_begin(L, t, unread, s, s->timeout);
  return lua_yieldk(L, 0, ctx, k);
}

/* Waits until no more than 'low' bytes are unsent, or for the connection. */
static int awaitoutput (lua_State *L, Stream *s, size_t low, lua_KFunction k) {
  lev_Task *t;
  if (s->writer)
    return levL_nothing(L, "busy");
  t = here(L, s, "stream:write");
  s->writer = t;
  s->low = low;
  s->b->write = true;
  bufferevent_setwatermark(s->b->bev, EV_WRITE, low, 0);
  levL_begin(L, t, unwrite, s, s->timeout);
  return lua_yieldk(L, 0, 0, k);
}

/* [1] stream */
static int awaited (lua_State *L, int status, lua_KContext ctx) {
  const Stream *s = lua_touserdata(L, 1);
  (void)status; (void)ctx;
  if (!levL_woken(L, *s->current))
    return levL_nothing(L, "timeout");
  if (s->b == NULL || s->err)
    return pushfault(L, s);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== Reading ==== */

enum { SOME, BYTES, ALL, LINEONLY, WHOLELINE, UNTIL };

static struct evbuffer *getinput (lua_State *L, int arg) {
  Stream *s = checkstream(L, arg);
  if (s->b == NULL)
    luaL_error(L, "a finalizer has closed the stream that is read");
  levL_clear(s->b);
  return bufferevent_get_input(s->b->bev);
}

/* Takes so many bytes that are there. */
static int take (lua_State *L, Stream *s, size_t n) {
  s->from = 0;
  if (!levL_pushpiece(L, s->b, n))
    levL_pushdata(L, getinput, 1, n);
  return 1;
}

/* Throws bytes away that are there. */
static int drop (lua_State *L, Stream *s, size_t n) {
  if (s->b == NULL || inputlength(s->b) < n)
    return luaL_error(L, "a finalizer has taken from the stream that is read");
  levL_skip(s->b, n);
  return 1;
}

/* Takes 'n' bytes that lie at 'p', and 'rest' behind them for nobody. */
static int takeat (lua_State *L, Stream *s, const char *p, size_t n,
                   size_t rest) {
  size_t len;
  lua_pushlstring(L, p, n);
  if (s->b == NULL || levL_peek(s->b, 0, &len) != p)
    return luaL_error(L, "a finalizer has taken from the stream that is read");
  s->from = 0;
  return drop(L, s, n + rest);
}

/* Where something is in the input, at s->from or behind it; -1: nowhere. */
static ev_ssize_t find (Stream *s, const char *what, size_t len) {
  struct evbuffer *input = bufferevent_get_input(s->b->bev);
  struct evbuffer_ptr p;
  levL_clear(s->b);
  if (s->from > evbuffer_get_length(input)
      || evbuffer_ptr_set(input, &p, s->from, EVBUFFER_PTR_SET) < 0)
    return -1;
  return evbuffer_search_range(input, what, len, &p, NULL).pos;
}

static char byteat (const Stream *s, size_t i) {
  struct evbuffer *input = bufferevent_get_input(s->b->bev);
  struct evbuffer_ptr p;
  struct evbuffer_iovec piece;
  evbuffer_ptr_set(input, &p, i, EVBUFFER_PTR_SET);
  evbuffer_peek(input, 1, &p, &piece, 1);
  return *(const char *)piece.iov_base;
}

/* A line and its end, of 'len' bytes of input; 0: it has to be waited for. */
static int readline (lua_State *L, Stream *s, size_t len, int what,
                     size_t max) {
  size_t n = 0, line;
  const char *p = len > 0 ? levL_peek(s->b, 0, &n) : NULL;
  const char *end = p && s->from < n ? memchr(p + s->from, '\n', n - s->from)
                                     : NULL;
  ev_ssize_t at = end ? end - p : -1;
  if (len > 0 && p == NULL)
    return levL_nomemory(L);
  if (at < 0 && n < len)
    at = find(s, "\n", 1);
  if (at < 0) {
    if (len > max + (s->eof ? 0 : 1))   /* its end can be two bytes */
      return levL_nothing(L, "line too long");
    s->from = len;
    return s->eof && len > 0 ? take(L, s, len) : 0;
  }
  line = (size_t)at;
  if (line > 0 && (end ? end[-1] : byteat(s, line - 1)) == '\r')
    line--;
  if (line > max)
    return levL_nothing(L, "line too long");
  if (what == WHOLELINE)
    return take(L, s, (size_t)at + 1);
  if (end)
    return takeat(L, s, p, line, (size_t)at + 1 - line);
  take(L, s, line);
  return drop(L, s, (size_t)at + 1 - line);
}

/* All before a delimiter, which goes, too. */
static int readuntil (lua_State *L, Stream *s, size_t len, const char *what,
                      size_t size, size_t max) {
  ev_ssize_t at = find(s, what, size);
  if (at > 0 && (size_t)at > max)
    return levL_nothing(L, "too long");
  if (at >= 0) {
    take(L, s, (size_t)at);
    return drop(L, s, size);
  }
  s->from = len >= size ? len - size + 1 : 0;
  return len >= size && len - size + 1 > max ? levL_nothing(L, "too long") : 0;
}

static int readbytes (lua_State *L, Stream *s, size_t len, size_t n) {
  if (len >= n && len > 0)
    return take(L, s, n);
  return s->eof && len > 0 ? take(L, s, len) : 0;
}

static int readall (lua_State *L, Stream *s, size_t len, size_t max) {
  if (len > max)
    return levL_nothing(L, "too long");
  return s->eof ? take(L, s, len) : 0;
}

/* What is to be read: see the arguments of each method. */
typedef struct Want {
  int what;
  size_t n;                   /* bytes, or the most of them */
  const char *delimiter;
  size_t size;                /* of the delimiter */
} Want;

/* [2] format or bytes, [3] max */
static void checkformat (lua_State *L, Want *w) {
  const char *format;
  if (lua_isinteger(L, 2)) {
    lua_Integer n = lua_tointeger(L, 2);
    luaL_argcheck(L, n >= 0, 2, "a negative number of bytes");
    w->what = BYTES;
    w->n = (size_t)n;
    return;
  }
  format = luaL_optstring(L, 2, "l");
  w->what = strcmp(format, "l") == 0 ? LINEONLY
            : strcmp(format, "L") == 0 ? WHOLELINE
            : strcmp(format, "a") == 0 ? ALL : -1;
  if (w->what < 0)
    levL_expected(L, 2, 2, "a number of bytes, 'l', 'L' or 'a'");
  w->n = levL_optsize(L, 3, w->what == ALL ? SIZE_MAX - 1 : LINE);
}

static void checkwant (lua_State *L, int what, Want *w) {
  w->what = what;
  w->delimiter = NULL;
  w->size = 0;
  if (what == SOME) {
    w->n = levL_optsize(L, 2, SIZE_MAX);
    luaL_argcheck(L, w->n > 0, 2, "at least 1 byte expected");
  }
  else if (what == UNTIL) {
    w->delimiter = luaL_checklstring(L, 2, &w->size);
    luaL_argcheck(L, w->size > 0, 2, "an empty delimiter");
    w->n = levL_optsize(L, 3, LINE);
  }
  else if (what == LINEONLY)
    w->n = levL_optsize(L, 2, LINE);
  else
    checkformat(L, w);
}

/* Reads what is there; 0 if that is not enough. */
static int try (lua_State *L, Stream *s, const Want *w, size_t len) {
  switch (w->what) {
    case SOME: return len > 0 ? take(L, s, len < w->n ? len : w->n) : 0;
    case BYTES: return readbytes(L, s, len, w->n);
    case ALL: return readall(L, s, len, w->n);
    case UNTIL: return readuntil(L, s, len, w->delimiter, w->size, w->n);
    default: return readline(L, s, len, w->what, w->n);
  }
}

/* How much has to come before it is worth looking again. */
static size_t needed (const Want *w, size_t len) {
  if (w->what == BYTES && w->n > len)
    return w->n;
  return w->what == ALL ? w->n + 1 : len + 1;
}

static int readmore (lua_State *L, int status, lua_KContext ctx);

/* [1] stream, and what is wanted */
static int readon (lua_State *L, Stream *s, int what) {
  Want w;
  size_t len;
  int r;
  checkwant(L, what, &w);
  if (s->b == NULL)
    return levL_nothing(L, "closed");
  levL_own(s->b->o.base);
  if (s->reader)
    return levL_nothing(L, "busy");
  if (what == SOME && levL_pushpiece(L, s->b, w.n))
    return 1;
  len = inputlength(s->b);
  r = try(L, s, &w, len);
  if (r > 0)
    return r;
  if (s->err)
    return pushfault(L, s);
  if (s->eof)
    return levL_nothing(L, "eof");
  return awaitinput(L, s, needed(&w, len), readmore, what);
}

static int readmore (lua_State *L, int status, lua_KContext ctx) {
  Stream *s = lua_touserdata(L, 1);
  (void)status;
  if (!levL_woken(L, *s->current))
    return levL_nothing(L, "timeout");
  return readon(L, s, (int)ctx);
}

/* What begins to be searched may have changed since the last time. */
static int beginread (lua_State *L, int what) {
  Stream *s = checkstream(L, 1);
  lua_settop(L, 3);
  if (s->reader == NULL)
    s->from = 0;
  return readon(L, s, what);
}

/* stream:read([format [, max]]) -> string | nil, message, errno */
static int lev_stream_read (lua_State *L) {
  return beginread(L, -1);
}

/* stream:read_some([max]) -> string | nil, message, errno */
static int lev_stream_read_some (lua_State *L) {
  return beginread(L, SOME);
}

/* stream:read_until(delimiter [, max]) -> string | nil, message, errno */
static int lev_stream_read_until (lua_State *L) {
  return beginread(L, UNTIL);
}

/* [1] stream; upvalue: max */
static int nextline (lua_State *L) {
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  return beginread(L, LINEONLY);
}

static int nextchunk (lua_State *L) {
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  return beginread(L, SOME);
}

static int iterate (lua_State *L, lua_CFunction f) {
  checkstream(L, 1);
  levL_optsize(L, 2, 0);
  lua_settop(L, 2);
  lua_pushcclosure(L, f, 1);
  lua_insert(L, 1);
  return 2;
}

/* stream:lines([max]) -> iterator, stream */
static int lev_stream_lines (lua_State *L) {
  return iterate(L, nextline);
}

/* stream:chunks([max]) -> iterator, stream */
static int lev_stream_chunks (lua_State *L) {
  return iterate(L, nextchunk);
}

/* ====} */

/* {==== Writing ==== */

/* stream:write(data...) -> stream | nil, message, errno */
static int lev_stream_write (lua_State *L) {
  Stream *s = checkstream(L, 1);
  int last = lua_gettop(L);
  if (s->b == NULL || s->err)
    return pushfault(L, s);
  if (s->writer)
    return levL_nothing(L, "busy");
  if (levL_stage(L, 2, last, s->b)) {   /* HIGH at the most, and all of it */
    lua_settop(L, 1);
    return 1;
  }
  lua_getiuservalue(L, 1, UVBEV);
  levL_senddata(L, last + 1, 2, last);
  lua_settop(L, 1);
  if (s->b == NULL || outputlength(s->b) <= HIGH)
    return 1;
  return awaitoutput(L, s, LOW, awaited);
}

/* stream:flush() -> stream | nil, message, errno */
static int lev_stream_flush (lua_State *L) {
  Stream *s = checkstream(L, 1);
  lua_settop(L, 1);
  if (s->b == NULL || s->err)
    return pushfault(L, s);
  if (outputlength(s->b) == 0)
    return 1;
  return awaitoutput(L, s, 0, awaited);
}

/* stream:shutdown() -> stream | nil, message, errno */
static int lev_stream_shutdown (lua_State *L) {
  Stream *s = checkstream(L, 1);
  int err;
  lua_settop(L, 1);
  if (s->b == NULL || s->err)
    return pushfault(L, s);
  levL_clear(s->b);
  lua_getiuservalue(L, 1, UVBEV);
  err = levL_shutdown(L, 2, EV_WRITE);
  if (err)
    return levL_refuse(L, err, NULL);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== The rest ==== */

/* task.connected(stream) -> stream | nil, message, errno: waits for its
   connection, or handshake. */
static int lev_task_connected (lua_State *L) {
  Stream *s = checkstream(L, 1);
  lua_settop(L, 1);
  if (s->b == NULL || s->err)
    return pushfault(L, s);
  s->connecting = s->b->connecting;
  return s->connecting ? awaitoutput(L, s, 0, awaited) : 1;
}

/* The end of a pipe that is written to: there is nothing to read. */
static bool iswriteonly (const lev_Bufferevent *b) {
  int fd = (int)bufferevent_getfd(b->bev);
  int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) == O_WRONLY;
}

/* task.stream(bufferevent) -> stream | nil, message, errno */
static int lev_task_stream (lua_State *L) {
  lev_Bufferevent *b = levL_checkfree(L, 1);
  Stream *s;
  int err;
  lua_settop(L, 1);
  s = lua_newuserdatauv(L, sizeof(*s), NUVSTREAM);
  memset(s, 0, sizeof(*s));
  s->stamp = levL_secret;
  s->kind = &kind;
  s->native.hooks = &hooks;
  s->current = levL_current(L);
  s->timeout = LEV_FOREVER;
  luaL_setmetatable(L, LEV_STREAM);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, UVBEV);
  levL_checkfree(L, 1);
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, LEV_UVEVENT);
  lua_setiuservalue(L, 1, LEV_UVWRITE);
  lua_setiuservalue(L, 1, LEV_UVREAD);
  lua_remove(L, 1);
  s->b = b;
  levL_countstream(b->o.base, 1);
  s->connecting = b->connecting;
  s->eof = iswriteonly(b);
  levL_attach(b, &s->native);
  err = s->eof ? 0 : enable(L, s);
  if (err) {
    unhook(s);
    return levL_refuse(L, err, NULL);
  }
  lua_settop(L, 1);
  return 1;
}

/* stream:set_timeout([seconds]) -> stream */
static int lev_stream_set_timeout (lua_State *L) {
  Stream *s = checkstream(L, 1);
  s->timeout = levL_optseconds(L, 2);
  lua_settop(L, 1);
  return 1;
}

/* stream:bufferevent() -> bufferevent */
static int lev_stream_bufferevent (lua_State *L) {
  checkstream(L, 1);
  lua_getiuservalue(L, 1, UVBEV);
  return 1;
}

/* Calls the method of the bufferevent, with the arguments that are there. */
static int forward (lua_State *L, const char *name) {
  Stream *s = checkstream(L, 1);
  if (s->b == NULL)
    return levL_nothing(L, "closed");
  lua_getiuservalue(L, 1, UVBEV);
  lua_replace(L, 1);
  lua_getfield(L, 1, name);
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static int forwardtls (lua_State *L) {
  return forward(L, "starttls");
}

/* stream:starttls(context [, hostname]) -> stream | nil, message, errno */
static int lev_stream_starttls (lua_State *L) {
  Stream *s = checkstream(L, 1);
  const struct lev_Context *c = levL_checkcontext(L, 2, 2);
  lev_Name name;
  int n;
  lua_settop(L, 3);
  name = levL_checkname(L, 3, 3);
  levL_checknamed(L, 3, c, &name);
  if (s->writer)
    return levL_nothing(L, "busy");
  if (s->b == NULL)
    return levL_nothing(L, "closed");
  here(L, s, "stream:starttls");
  lua_pushvalue(L, 1);
  lua_insert(L, 1);           /* it stays where it is found */
  lua_pushcfunction(L, forwardtls);
  lua_insert(L, 2);
  lua_call(L, 3, 3);
  n = lua_isnil(L, 2) ? 3 : 0;
  if (n > 0)
    return n;
  s->from = 0;
  return lev_task_connected(L);
}

/* stream:tls() -> session | nil */
static int lev_stream_tls (lua_State *L) {
  return forward(L, "tls");
}

/* stream:peername() -> address | nil, message, errno */
static int lev_stream_peername (lua_State *L) {
  return forward(L, "peername");
}

/* stream:sockname() -> address | nil, message, errno */
static int lev_stream_sockname (lua_State *L) {
  return forward(L, "sockname");
}

/* stream:getfd() -> fd | nil */
static int lev_stream_getfd (lua_State *L) {
  return forward(L, "getfd");
}

/* stream:detach() -> bufferevent | nil, message, errno */
static int lev_stream_detach (lua_State *L) {
  Stream *s = checkstream(L, 1);
  lev_Bufferevent *b = s->b;
  if (b == NULL || s->err)
    return pushfault(L, s);
  if (s->reader || s->writer)
    return levL_nothing(L, "busy");
  lua_getiuservalue(L, 1, UVBEV);
  levL_clear(b);
  unhook(s);
  levL_disable(b, EV_READ);
  bufferevent_setwatermark(b->bev, EV_WRITE, 0, 0);
  levL_settle(L, -1, &b->o);
  return 1;
}

/* stream:close() -> stream; __close and __gc too */
static int lev_stream_close (lua_State *L) {
  Stream *s = checkstream(L, 1);
  lev_Bufferevent *b = s->b;
  bool sent;
  lua_settop(L, 1);
  free(s->why);
  s->why = NULL;
  if (b == NULL)
    return 1;
  b->write = false;
  sent = outputlength(b) == 0;
  unhook(s);
  stir(s);
  lua_pushcfunction(L, levL_closeflushed);
  lua_getiuservalue(L, 1, UVBEV);
  if (sent)
    lua_pushinteger(L, LINGER);
  if (lua_pcall(L, lua_gettop(L) - 2, 0, 0) != LUA_OK) {      /* no memory */
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, UVBEV);
    levL_free(&b->o);
    levL_settle(L, 2, &b->o);
  }
  lua_settop(L, 1);
  return 1;
}

static int lev_stream__tostring (lua_State *L) {
  return levL_tostring(L, LEV_STREAM, checkstream(L, 1)->b != NULL);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"read", lev_stream_read},
  {"read_some", lev_stream_read_some},
  {"read_until", lev_stream_read_until},
  {"lines", lev_stream_lines},
  {"chunks", lev_stream_chunks},
  {"write", lev_stream_write},
  {"flush", lev_stream_flush},
  {"shutdown", lev_stream_shutdown},
  {"starttls", lev_stream_starttls},
  {"tls", lev_stream_tls},
  {"peername", lev_stream_peername},
  {"sockname", lev_stream_sockname},
  {"getfd", lev_stream_getfd},
  {"set_timeout", lev_stream_set_timeout},
  {"bufferevent", lev_stream_bufferevent},
  {"detach", lev_stream_detach},
  {"close", lev_stream_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_stream_close},
  {"__close", lev_stream_close},
  {"__tostring", lev_stream__tostring},
  {NULL, NULL}
};

/* [-1] libevent.core.task */
void levL_opentaskstream (lua_State *L) {
  levL_newtype(L, LEV_STREAM, methods, metamethods);
  lua_pushcfunction(L, lev_task_stream);
  lua_setfield(L, -2, "stream");
  lua_pushcfunction(L, lev_task_connected);
  lua_setfield(L, -2, "connected");
}
