/*
** http_stream.c: a bufferevent's connection as HTTP sees it.
**
** It reads one message after the other and hands its parts to its role, a
** server's or a client's. Bytes lie where they were received until they are
** used: a head becomes the text of a request, a body is collected, given to
** the script piece by piece, or read for nobody. All of it happens in a call
** through the door on the owner of the stream; any part of that may end the
** stream, so after each one it is looked for again.
*/
#include "lev_http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Bytes of a body that are read for nobody, to answer the next request on the
   same connection. */
#define SURPLUS (256 * 1024)

/* Output from which on no other request is read; input that waits. */
#define HIGH (256 * 1024)
#define AHEAD (64 * 1024)

/* What a step comes to: there is more to do, more has to come first, or
   somebody has to do something first. */
enum { AGAIN, HUNGRY, HELD };

/* Is it still the stream of its bufferevent, which is still there? */
bool levL_streams (const lev_Bufferevent *b, const lev_Stream *s) {
  return b->native == &s->native;
}

/* {==== Reading ==== */

static const char *peek (lua_State *L, lev_Stream *s, size_t most, size_t *n) {
  const char *p = levL_peek(s->b, most, n);
  if (p == NULL && *n > 0)
    levL_nomemory(L);
  return p;
}

/* Takes the head that has been parsed from what has arrived, to 'text', which
   has room for it and a NUL. */
void levL_takehead (lua_State *L, lev_Stream *s, char *text) {
  size_t n, len = s->head.len;
  const char *p = levL_peek(s->b, len, &n);
  if (p == NULL || n < len) {
    luaL_error(L, "a finalizer has taken from the buffer that is read");
    return;
  }
  memcpy(text, p, len);
  text[len] = '\0';
  levL_skip(s->b, len);
}

/* A head, or trailers, as far as they have come. */
static int parsehead (lua_State *L, lev_Stream *s) {
  size_t n, most = s->limits->line + s->limits->fields + 64;
  const char *p = peek(L, s, most, &n);
  return p ? levL_parsehead(&s->head, p, n, s->limits) : LEV_HTTPMORE;
}

static int readhead (lua_State *L, lev_Stream *s) {
  int r = parsehead(L, s);
  if (r == LEV_HTTPMORE)
    return HUNGRY;
  if (r == LEV_HTTPDONE)
    s->role->head(L, s);
  else
    s->role->wrong(L, s, r, s->head.why);
  return AGAIN;
}

/* All of the message is there. */
static int done (lua_State *L, lev_Stream *s) {
  s->in = LEV_INNOTHING;
  s->role->done(L, s);
  return AGAIN;
}

/* Keeps them with the request: they come in one piece. */
static int readtrailers (lua_State *L, lev_Stream *s) {
  int r = parsehead(L, s);
  if (r == LEV_HTTPMORE)
    return HUNGRY;
  if (r != LEV_HTTPDONE) {
    s->role->wrong(L, s, r, s->head.why);
    return AGAIN;
  }
  if (s->req && s->head.count > 0) {
    s->req->trailers = malloc(s->head.len + 1);
    if (s->req->trailers == NULL)
      return levL_nomemory(L);
    levL_takehead(L, s, s->req->trailers);
  }
  else
    levL_skip(s->b, s->head.len);
  return done(L, s);
}

/* {==== Bodies ==== */

/* A piece to the script, as a string. */
static void give (lua_State *L, lev_Stream *s, const char *p, size_t n) {
  lev_Bufferevent *b = s->b;
  lev_Request *r = s->req;
  lua_pushlstring(L, p, n);
  if (!levL_streams(b, s) || s->req != r)
    return;                   /* a finalizer has ended it */
  levL_skip(b, n);
  if (levL_pushrequestcb(L, r, LEV_CHUNKEDCB)) {
    lua_pushvalue(L, 3);
    lua_call(L, 2, 0);
  }
}

/* Or to the rest of the body. */
static void collect (lua_State *L, lev_Stream *s, const char *p, size_t n) {
  struct evbuffer *input = s->b->bev->input;
  struct evbuffer *body = s->req->body;
  if (body == NULL)
    body = s->req->body = evbuffer_new();
  if (body == NULL)
    levL_nomemory(L);
  if (evbuffer_get_length(input) >= n && n >= 4096) {
    if (evbuffer_remove_buffer(input, body, n) < (int)n)
      levL_nomemory(L);
    return;
  }
  if (evbuffer_add(body, p, n) < 0)
    levL_nomemory(L);
  levL_skip(s->b, n);
}

/* 'n' bytes of the body lie at 'p'. */
static void piece (lua_State *L, lev_Stream *s, const char *p, size_t n) {
  if (s->req == NULL) {
    s->surplus += n;
    levL_skip(s->b, n);
    if (s->surplus > SURPLUS)
      levL_endstream(s, true);
  }
  else if (s->most < n)
    s->role->wrong(L, s, 413, "the body is too long");
  else {
    s->most -= n;
    if (s->req->streams)
      give(L, s, p, n);
    else
      collect(L, s, p, n);
  }
}

static int readbody (lua_State *L, lev_Stream *s) {
  size_t n;
  const char *p;
  if (s->left == 0)
    return done(L, s);
  p = peek(L, s, 0, &n);
  if (p == NULL)
    return HUNGRY;
  if (n > s->left)
    n = (size_t)s->left;
  s->left -= n;
  piece(L, s, p, n);
  return AGAIN;
}

static int readrest (lua_State *L, lev_Stream *s) {
  size_t n;
  const char *p = peek(L, s, 0, &n);
  if (p == NULL)
    return HUNGRY;
  piece(L, s, p, n);
  return AGAIN;
}

static int readchunks (lua_State *L, lev_Stream *s) {
  size_t n, used, data;
  const char *p = peek(L, s, 0, &n);
  int r;
  if (p == NULL)
    return HUNGRY;
  r = levL_parsechunk(&s->chunks, p, n, &used, &data);
  if (used > 0)
    levL_skip(s->b, used);
  if (r == LEV_HTTPDATA)
    piece(L, s, p + used, data);
  else if (r == LEV_HTTPDONE) {
    levL_inithead(&s->head, LEV_HTTPTRAILERS);
    s->in = LEV_INTRAILERS;
  }
  else if (r != LEV_HTTPMORE)
    s->role->wrong(L, s, r, "bad chunk");
  return AGAIN;
}

/* How the body of a message comes that has one. */
void levL_expectbody (lev_Stream *s, const lev_Head *h) {
  s->left = h->length > 0 ? (uint64_t)h->length : 0;
  s->surplus = 0;
  memset(&s->chunks, 0, sizeof(s->chunks));
  s->in = h->chunked ? LEV_INCHUNKS : h->length < 0 && h->response
          ? LEV_INREST : LEV_INBODY;
}

/* ====} */

static int step (lua_State *L, lev_Stream *s) {
  if (s->blocked || s->closing || s->in == LEV_INNOTHING)
    return HELD;
  if (s->in == LEV_INHEAD)
    return readhead(L, s);
  if (s->in == LEV_INTRAILERS)
    return readtrailers(L, s);
  if (!levL_iswanted(s->req))
    return HELD;
  return s->in == LEV_INBODY ? readbody(L, s)
         : s->in == LEV_INCHUNKS ? readchunks(L, s) : readrest(L, s);
}

/* What the door is entered with: the stream can end before its bufferevent,
   which is on the stack further down. */
typedef struct Call {
  lev_Stream *s;
  lev_Bufferevent *b;
  const lev_Happening *happening;
  bool goes;                  /* the stream goes on after it */
} Call;

/* After the last byte: the end of a body without a length, and of any other
   message too early. */
static void finish (lua_State *L, lev_Stream *s, int r) {
  if (s->eof && r == HUNGRY && s->in == LEV_INREST)
    done(L, s);
  else if (s->eof && (r == HUNGRY || s->in == LEV_INNOTHING))
    s->role->cut(L, s);
}

/* [1] owner, [2] Call */
static int callread (lua_State *L) {
  Call *c = lua_touserdata(L, 2);
  lev_Stream *s = c->s;
  int r;
  do {
    lua_settop(L, 2);
    r = step(L, s);
    if (!levL_streams(c->b, s))
      return 0;
    if (levL_unsent(c->b) > HIGH && s->req == NULL && !s->closing)
      s->blocked = c->b->write = true;
  } while (r == AGAIN);
  lua_settop(L, 2);
  s->running = false;         /* what is answered from here on has its turn */
  finish(L, s, r);
  return 0;
}

static void undo (void *data) {
  Call *c = data;
  if (levL_streams(c->b, c->s))
    c->s->role->failed(c->s);
}

/* Reads what it wants of what has arrived. */
static void onread (lev_Bufferevent *b) {
  lev_Stream *s = (lev_Stream *)b->native;
  Call c = {s, b, NULL, true};
  bool ok;
  s->running = true;
  ok = levL_protect(s->owner, callread, &c, undo);
  if (levL_streams(b, s)) {
    s->running = false;
    s->role->paced(s);
    if (!ok)
      levL_again(s);          /* for what it has not come to */
  }
  if (levL_streams(b, s))
    levL_pace(s);
}

/* A message may begin. */
void levL_nextmessage (lev_Stream *s) {
  levL_inithead(&s->head, s->role->what);
  s->in = LEV_INHEAD;
}

/* Its turn comes in the loop, for what has arrived already. */
void levL_again (lev_Stream *s) {
  lev_Bufferevent *b = s->b;
  if (s->running)
    return;
  if (!levL_maketurn(b)) {
    levL_drop(&b->o);
    return;
  }
  b->turn->trigger.directions |= EV_READ;
  levL_taketurn(b);
}

/* Reads on, or not: what nobody wants yet stays with the peer, but for so much
   as tells when that goes; a client's waits for ever, and no timeout runs. */
void levL_pace (lev_Stream *s) {
  struct bufferevent *bev = s->b->bev;
  bool paused = s->role->what == LEV_HTTPRESPONSE && s->req && s->req->paused;
  bool on = !s->eof && !s->closing && !paused && s->role->awaited(s)
            && evbuffer_get_length(bev->input) < AHEAD;
  if (on == ((bev->enabled & EV_READ) != 0))
    return;
  if (!on)
    bufferevent_disable(bev, EV_READ);
  else if (levL_enable(s->b, EV_READ) != 0)
    levL_drop(&s->b->o);
}

/* ====} */

/* {==== Writing ==== */

/* Adds it all to the output, as libevent has it: false and an errno, or 0, if
   it cannot be, mostly without memory. */
static bool add (lua_State *L, lev_Bufferevent *b, const char *head, size_t n,
                 int body, struct evbuffer *part, const char *tail) {
  struct evbuffer *output = b->bev->output;
  bool ok;
  int err;
  levL_clear(b);
  levL_freshen(b->o.base);
  if (part)
    levL_tlsfiles(b);
  errno = 0;
  ok = b->o.kind->sends(&b->o, false) && evbuffer_expand(output, n + 64) == 0;
  if (ok && n > 0)
    evbuffer_add(output, head, n);
  ok = ok && (body == 0 || levL_adddata(L, body, body, output))
       && (part == NULL || evbuffer_add_buffer(output, part) == 0)
       && evbuffer_add(output, tail, strlen(tail)) == 0;
  err = errno;
  b->o.kind->sends(&b->o, true);
  errno = err;
  return ok;
}

/* Sends a head, then the body at an index, or a part of a file, or neither,
   then a tail: false without memory, and the stream cannot go on. 'L' may be
   NULL without a body. Never raises, if the body has passed levL_checkdata. */
bool levL_send (lua_State *L, lev_Stream *s, const char *head, size_t n,
                int body, struct evbuffer *part, const char *tail) {
  lev_Piece pieces[3] = {{head, n}, {"", 0}, {tail, strlen(tail)}};
  if (body && lua_type(L, body) == LUA_TSTRING)
    pieces[1].at = lua_tolstring(L, body, &pieces[1].len);
  if (part || (body && lua_type(L, body) != LUA_TSTRING))
    return add(L, s->b, head, n, body, part, tail);
  return levL_stagebytes(s->b, pieces, 3)
         || add(L, s->b, head, n, body, part, tail);
}

/* Is there anything to be sent yet? */
bool levL_hasoutput (const lev_Stream *s) {
  return levL_unsent(s->b) > 0 || levL_aside(s->b, s->b->bev->output) > 0;
}

/* The callback at 'cb' is called with the request at 'req' when all is sent
   that has been written. It raises before anything else. */
void levL_tellsent (lua_State *L, lev_Stream *s, int req, int cb) {
  lev_Bufferevent *b = s->b;
  int top = lua_gettop(L), bev = top + 2, entry = top + 3;
  if (levL_find(L, &b->o)) {
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, cb);
    lua_rawseti(L, entry, 1);
    lua_pushvalue(L, req);
    lua_rawseti(L, entry, 2);
    levL_needmore(L, bev);
    if (levL_getmore(L, bev, LEV_SENT) != LUA_TTABLE) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -1);
      levL_setmore(L, bev, LEV_SENT);
    }
    lua_pushvalue(L, entry);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  lua_settop(L, top);
  if (!levL_streams(b, s))
    return;                   /* a finalizer has ended it */
  b->write = true;
  if (!levL_hasoutput(s) && levL_maketurn(b)) {       /* all is sent already */
    b->turn->trigger.directions |= EV_WRITE;
    levL_taketurn(b);
  }
}

/* [1] owner, [2] Call: those who wait for the output, in their order */
static int callsent (lua_State *L) {
  Call *c = lua_touserdata(L, 2);
  if (levL_find(L, &c->b->o)) {                           /* 4 */
    levL_getmore(L, 4, LEV_SENT);                         /* 5 */
    lua_pushnil(L);
    levL_setmore(L, 4, LEV_SENT);
    if (lua_istable(L, 5)) {
      for (lua_Integer i = 1; lua_rawgeti(L, 5, i) == LUA_TTABLE; i++) {
        lua_rawgeti(L, 6, 1);
        lua_rawgeti(L, 6, 2);
        lua_call(L, 1, 0);
        lua_settop(L, 5);
      }
    }
  }
  return 0;
}

static void onwritten (lev_Bufferevent *b) {
  lev_Stream *s = (lev_Stream *)b->native;
  Call c = {s, b, NULL, true};
  if (levL_unsent(b) > 0)
    return;
  b->write = false;
  levL_protect(s->owner, callsent, &c, undo);
  if (levL_streams(b, s) && s->closing && !b->write)
    levL_endstream(s, b->lingers);
  else if (levL_streams(b, s) && s->blocked) {
    s->blocked = false;
    levL_again(s);
  }
}

/* ====} */

/* {==== Ends ==== */

/* Somebody waits to hear that all is sent. */
static bool isawaited (const lev_Bufferevent *b) {
  return b->write;
}

/* Nothing more is read; the bufferevent closes when all is sent, after a word
   of the peer's if it 'lingers'. Until then it goes on if somebody wants to
   hear of it. */
void levL_endstream (lev_Stream *s, bool lingers) {
  lev_Bufferevent *b = s->b;
  struct timeval stall = b->bev->timeout_write;
  b->lingers = lingers && !s->eof;
  if (isawaited(b) && !s->closing) {
    s->closing = true;
    s->blocked = false;
    levL_pace(s);
    return;
  }
  levL_clear(b);
  if (b->failure) {           /* the peer has gone: nothing is left to do */
    levL_drop(&b->o);
    return;
  }
  levL_unhook(b);
  s->role->leave(s);
  if (b->flavour->idle(b) && !b->lingers)
    levL_drop(&b->o);
  else {
    if (!evutil_timerisset(&stall))
      stall.tv_sec = LEV_FLUSHTIME;
    levL_flush(b, &stall);
    if (levL_unsent(b) == 0)
      b->flavour->flushed(b);
  }
}

/* [1] owner, [2] Call */
static int callevent (lua_State *L) {
  Call *c = lua_touserdata(L, 2);
  c->goes = c->s->role->event(L, c->s, c->happening);
  return 0;
}

static void onevent (lev_Bufferevent *b, const lev_Happening *h) {
  lev_Stream *s = (lev_Stream *)b->native;
  Call c = {s, b, h, false};
  if ((h->what & BEV_EVENT_EOF) && (h->what & BEV_EVENT_READING)) {
    s->eof = true;
    onread(b);
    return;
  }
  levL_protect(s->owner, callevent, &c, undo);
  if (levL_streams(b, s) && !c.goes)
    levL_drop(&b->o);
}

static void onleave (lev_Bufferevent *b) {
  lev_Stream *s = (lev_Stream *)levL_unhook(b);
  s->role->leave(s);
}

/* ====} */

static bool isactive (const lev_Bufferevent *b) {
  const lev_Stream *s = (const lev_Stream *)b->native;
  return s->role->awaited(s);
}

static const lev_Hooks hooks = {
  onread, onwritten, onevent, onleave, isactive
};

/* {==== The time ==== */

/* Of a clock that nobody sets. */
uint64_t levL_milliseconds (void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t levL_span (const struct timeval *tv) {
  return (uint64_t)tv->tv_sec * 1000 + (uint64_t)(tv->tv_usec + 999) / 1000;
}

/* ====} */

void levL_notepeer (lev_Stream *s) {
  socklen_t len = sizeof(s->peer);
  memset(&s->peer, 0, sizeof(s->peer));
  if (getpeername((int)bufferevent_getfd(s->b->bev), &s->peer.sa, &len) < 0)
    s->peer.sa.sa_family = AF_UNSPEC;
}

/* A stream on a bufferevent, which is nobody else's. */
void levL_initstream (lev_Stream *s, const lev_Role *role, lev_Bufferevent *b,
                      lev_Object *owner) {
  s->native.hooks = &hooks;
  s->role = role;
  s->b = b;
  s->owner = owner;
  levL_notepeer(s);
  levL_nextmessage(s);
  levL_attach(b, &s->native);
}
