/*
** http_server.c: a server's side of a stream: what comes, what is answered in
** its script's place, and how long it waits.
**
** One clock serves the deadlines of all connections: to set one costs nothing,
** and one that is late by an eighth hurts nobody.
*/
#include "lev_http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* {==== Methods of requests ==== */

const lev_Word levL_methodwords[] = {
  {"GET", 1}, {"POST", 2}, {"HEAD", 4}, {"PUT", 8}, {"DELETE", 16},
  {"OPTIONS", 32}, {"PATCH", 64}, {"TRACE", 128}, {"CONNECT", 256},
  {"PROPFIND", 512}, {"PROPPATCH", 1024}, {"MKCOL", 2048}, {"LOCK", 4096},
  {"UNLOCK", 8192}, {"COPY", 16384}, {"MOVE", 32768}, {NULL, 0}
};

/* The flag of a method, or 0. */
static unsigned methodof (const lev_Head *h, const char *text) {
  const char *s = text + h->method.at;
  for (const lev_Word *w = levL_methodwords; w->name; w++)
    if (strlen(w->name) == h->method.len
        && memcmp(w->name, s, h->method.len) == 0)
      return (unsigned)w->value;
  return 0;
}

/* The answer to a method that is not allowed. */
static void refusemethod (lev_Stream *s, const lev_Http *http,
                          unsigned method) {
  char room[256];             /* all of them are shorter */
  lev_Text t;
  const char *comma = "";
  if (method == 0) {
    levL_replyerror(s, 501, "");
    return;
  }
  levL_begintext(&t, room, sizeof(room));
  levL_addword(&t, "Allow: ");
  for (const lev_Word *w = levL_methodwords; w->name; w++) {
    if (http->methods & (unsigned)w->value) {
      levL_addword(&t, comma);
      levL_addword(&t, w->name);
      comma = ", ";
    }
  }
  levL_addtext(&t, "\r\n", 3);        /* and a NUL */
  levL_replyerror(s, 405, t.p);
}

/* ====} */

/* {==== Deadlines ==== */

/* An eighth of the shortest time, but no less than 5 ms and no more than a
   second. */
static unsigned period (const lev_Http *http) {
  uint64_t least = 8000;
  for (int i = 0; i < LEV_WRITETIME; i++) {
    uint64_t time = levL_span(&http->times[i]);
    if (time > 0 && time < least)
      least = time;
  }
  return least < 40 ? 5 : (unsigned)(least / 8);
}

/* The next tick, when the clock runs. */
void levL_wind (lev_Http *http) {
  struct timeval tv;
  http->period = period(http);
  tv.tv_sec = http->period / 1000;
  tv.tv_usec = (suseconds_t)(http->period % 1000) * 1000;
  http->o.base->timed = true;
  if (event_add(&http->tick, &tv) < 0)
    event_active(&http->tick, EV_TIMEOUT, 1);   /* without memory: at once */
}

/* Time in which the loop did not come to its connections is none of theirs:
   the clock goes on by two periods at the most. */
static void advance (lev_Http *http) {
  uint64_t now = levL_milliseconds();
  uint64_t passed = now - http->ticked;
  http->clock += passed < 2 * http->period ? passed : 2 * http->period;
  http->ticked = now;
}

/* What it waits for, and until when. */
static void paced (lev_Stream *s) {
  const lev_Http *http = levL_serverof(s);
  int phase = LEV_NTIMES;
  if (s->in == LEV_INHEAD)
    phase = s->head.seen > 0 ? LEV_HEADTIME : LEV_IDLETIME;
  else if (s->in != LEV_INNOTHING && levL_iswanted(s->req))
    phase = LEV_BODYTIME;
  if (s->closing)
    phase = LEV_NTIMES;
  if (phase == s->phase && phase != LEV_BODYTIME)
    return;
  s->phase = phase;
  s->deadline = 0;
  if (phase < LEV_NTIMES && evutil_timerisset(&http->times[phase]))
    s->deadline = http->clock + levL_span(&http->times[phase]);
}

/* ====} */

/* {==== What comes ==== */

/* Pushes the request of a head that is there, or ends without one if a
   finalizer has ended the stream meanwhile. */
static lev_Request *newrequest (lua_State *L, lev_Stream *s) {
  lev_Bufferevent *b = s->b;
  lev_Request *r = levL_newrequest(L, s->head.len + 1);
  char *text = (char *)(r + 1);
  if (!levL_streams(b, s))
    return NULL;
  levL_takehead(L, s, text);
  r->head = s->head;
  r->text = text;
  r->stream = s;
  r->o.base = b->o.base;
  r->continues = r->head.expect;
  s->req = r;
  s->told = false;
  s->phase = LEV_NTIMES;
  s->deadline = 0;
  s->last = !levL_persists(&r->head);
  return r;
}

/* An error, after which the connection is closed. */
static void refuse (lev_Stream *s, int status) {
  s->last = true;
  levL_replyerror(s, status, "");
}

/* Asks for the body, if its sender waits for that. */
static void wanted (lev_Stream *s) {
  lev_Request *r = s->req;
  static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
  if (r == NULL || !r->continues || (r->streams && !r->chunked))
    return;
  r->continues = false;
  if (!levL_send(NULL, s, text, sizeof(text) - 1, 0, NULL, ""))
    levL_drop(&s->b->o);
}

/* Is a body of that length too long? */
static bool istoolong (const lev_Request *r, const lev_Route *route) {
  return r->head.length > 0 && (uint64_t)r->head.length > route->most;
}

/* [1] server, [-1] request: its head is there */
static void begin (lua_State *L, lev_Stream *s, lev_Request *r) {
  int req = lua_gettop(L);
  const lev_Http *http = levL_serverof(s);
  unsigned method = methodof(&r->head, r->text);
  bool body = r->head.chunked || r->head.length > 0;
  lev_Bufferevent *b = s->b;
  lev_Route route;
  levL_expectbody(s, &r->head);
  if (!body)
    s->in = LEV_INNOTHING;
  if (!(http->methods & method)) {
    refusemethod(s, http, method);
    return;
  }
  if (!levL_pushpath(L, r->text, &r->head)) {
    refuse(s, 400);
    return;
  }
  route = levL_findroute(L, r->text, &r->head);
  if (!levL_streams(b, s) || s->req != r)
    return;
  if (!route.found)
    levL_replyerror(s, 404, "");
  else if (istoolong(r, &route))
    refuse(s, 413);
  else if (body && !route.streams) {
    s->most = route.most;
    levL_guardrequest(L, req);
    levL_keeprequest(L, req);
    if (levL_streams(b, s) && s->req == r)
      wanted(s);
  }
  else {
    s->most = route.most;
    r->streams = route.streams;
    if (r->streams && !body)
      s->in = LEV_INBODY;     /* it ends as soon as it is asked for */
    lua_pushvalue(L, req);
    lua_call(L, 1, 0);
    if (r->stream)
      levL_guardrequest(L, req);    /* it is answered later, or never */
  }
}

static void onhead (lua_State *L, lev_Stream *s) {
  lev_Request *r = newrequest(L, s);
  if (r)
    begin(L, s, r);
}

/* [1] server: all of a request is there, or was read for nobody */
static void ondone (lua_State *L, lev_Stream *s) {
  lev_Request *r = s->req;
  int req = lua_gettop(L) + 1;
  if (r == NULL) {
    levL_endrequest(s);
    return;
  }
  if (!levL_pushrequest(L, r))
    return;
  levL_keeprequest(L, req);
  if (r->stream != s)
    return;
  if (r->streams) {
    levL_getrequestcb(L, req, LEV_CHUNKEDCB);
    lua_pushvalue(L, req);
    lua_pushnil(L);
    lua_call(L, 2, 0);
  }
  else if (levL_pushpath(L, r->text, &r->head)
           && levL_findroute(L, r->text, &r->head).found) {
    lua_pushvalue(L, req);
    lua_call(L, 1, 0);
  }
  else if (r->stream == s)
    levL_replyerror(s, 404, "");
}

/* Pushes the request if it has a callback for the end of its connection. */
static bool pushclosecb (lua_State *L, const lev_Request *r) {
  return r->closes && levL_pushrequestcb(L, r, LEV_CLOSECB);
}

/* Tells a request that its client is gone, after the end of the stream. */
static void callclosecb (lua_State *L, const char *what, const char *message,
                         int err) {
  lua_pushstring(L, what);
  if (message) {
    lua_pushstring(L, message);
    lua_pushinteger(L, err);
  }
  lua_call(L, message ? 4 : 2, 0);
}

/* The connection is of no use to its request any more. */
static void lose (lev_Stream *s) {
  if (s->req) {
    s->req->gone = true;
    levL_releaserequest(s->req);
  }
}

/* The client says nothing more. Its request may still be answered, if it is all
   there. */
static void oncut (lua_State *L, lev_Stream *s) {
  bool whole = s->in == LEV_INNOTHING;
  bool tells = s->req && !s->told && !s->closing && pushclosecb(L, s->req);
  if (s->closing)
    return;
  s->told = true;
  if (!whole) {
    lose(s);
    levL_endstream(s, false);
  }
  if (tells && whole)
    callclosecb(L, "eof", NULL, 0);
  else if (tells)
    callclosecb(L, "error", "the client has closed the connection",
                ECONNRESET);
}

/* What came is not HTTP, or too much of it. */
static void onwrong (lua_State *L, lev_Stream *s, int status,
                     const char *why) {
  lev_Request *r = s->req;
  bool tells = r && pushclosecb(L, r);
  s->last = true;
  if (r && r->out != LEV_OUTNOTHING) {
    lose(s);
    levL_drop(&s->b->o);
  }
  else
    levL_replyerror(s, status, "");
  if (tells)
    callclosecb(L, status == 408 ? "timeout" : "error", why,
                status == 408 ? ETIMEDOUT : status == 413 ? EMSGSIZE : EPROTO);
}

/* An error of the connection, or a client that takes nothing; or TLS begins. */
static bool onend (lua_State *L, lev_Stream *s, const lev_Happening *h) {
  lev_Bufferevent *b = s->b;
  bool timeout = !(h->what & BEV_EVENT_ERROR) && (h->what & BEV_EVENT_TIMEOUT);
  bool tells = s->req && pushclosecb(L, s->req);
  int err = timeout ? ETIMEDOUT : h->err;
  if (h->what & BEV_EVENT_CONNECTED)
    return true;
  lose(s);
  levL_drop(&b->o);
  if (tells)
    callclosecb(L, timeout ? "timeout" : "error", h->message && !timeout
                ? h->message : evutil_socket_error_to_string(err), err);
  return false;
}

/* Its handler has raised, or nobody has it any more. */
static void onfailed (lev_Stream *s) {
  lev_Request *r = s->req;
  if (r == NULL || s->closing)
    return;
  if (r->out == LEV_OUTNOTHING) {
    levL_freetext(&r->fields);
    levL_replyerror(s, 500, "");
    return;
  }
  lose(s);
  levL_endstream(s, false);   /* what is before it goes out */
}

static void onclosed (lev_Stream *s) {
  lose(s);
  levL_endstream(s, false);
}

static void onleave (lev_Stream *s) {
  lev_Http *http = levL_serverof(s);
  lose(s);
  s->prev->next = s->next;
  s->next->prev = s->prev;
  if (http->cursor == s)
    http->cursor = s->next;
  if (--http->nstreams == 0 || http->full)
    event_active(&http->tick, EV_TIMEOUT, 1);   /* somebody waits for that */
  free(s);
}

/* As long as it is open: a client can say something at any time. */
static bool isawaited (const lev_Stream *s) {
  (void)s;
  return true;
}

static const lev_Role role = {
  LEV_HTTPASKED, onhead, ondone, oncut, onwrong, onend, paced, wanted,
  onfailed, onclosed, onleave, isawaited
};

/* ====} */

/* {==== Connections ==== */

/* Pushes a method of the object at 'idx', and the object. */
void levL_pushmethod (lua_State *L, int idx, const char *name) {
  idx = lua_absindex(L, idx);
  luaL_getmetafield(L, idx, "__index");
  lua_getfield(L, -1, name);
  lua_replace(L, -2);
  lua_pushvalue(L, idx);
}

/* Calls a method of all its listeners, but of those that the script has closed,
   which refuse. */
void levL_eachlistener (lua_State *L, int http, const char *method) {
  int top = lua_gettop(L);
  if (lua_getiuservalue(L, http, LEV_UVLISTENERS) == LUA_TTABLE) {
    for (lua_Integer i = 1; lua_rawgeti(L, top + 1, i) != LUA_TNIL; i++) {
      levL_pushmethod(L, -1, method);
      lua_pcall(L, 1, 0, 0);
      lua_settop(L, top + 1);
    }
  }
  lua_settop(L, top);
}

static void link (lev_Http *http, lev_Stream *s) {
  s->prev = &http->streams;
  s->next = http->streams.next;
  s->next->prev = s;
  http->streams.next = s;
  if (http->nstreams++ == 0) {
    http->ticked = levL_milliseconds();
    levL_wind(http);
  }
}

/* A stream on a new connection; false without memory. */
static bool newstream (lev_Http *http, lev_Bufferevent *b) {
  lev_Stream *s = calloc(1, sizeof(*s));
  if (s == NULL)
    return false;
  s->limits = &http->limits;
  link(http, s);
  levL_initstream(s, &role, b, &http->o);
  s->phase = LEV_HEADTIME;
  if (evutil_timerisset(&http->times[LEV_HEADTIME]))
    s->deadline = http->clock + levL_span(&http->times[LEV_HEADTIME]);
  if (evutil_timerisset(&http->times[LEV_WRITETIME])) {
    http->o.base->timed = true;
    bufferevent_set_timeouts(b->bev, NULL,
      levL_commontime(http->o.base, &http->times[LEV_WRITETIME]));
  }
  return levL_enable(b, EV_READ) == 0;
}

/* [upvalue 1] http, [1] listener, [2] its new connection */
int levL_accepted (lua_State *L) {
  lev_Http *http = lua_touserdata(L, lua_upvalueindex(1));
  lev_Bufferevent *b = lua_touserdata(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  if (http->o.base)
    levL_anchor(L, 3, &http->o);
  if (http->o.base == NULL || !newstream(http, b)) {
    levL_free(&b->o);
    levL_settle(L, 2, &b->o);
    return 0;
  }
  if (http->maxstreams && http->nstreams >= http->maxstreams && !http->full) {
    http->full = true;
    levL_eachlistener(L, 3, "disable");
  }
  return 0;
}

/* One deadline is over. */
static void expire (lua_State *L, lev_Stream *s) {
  if (s->phase == LEV_IDLETIME || (s->in == LEV_INHEAD && s->head.seen == 0))
    levL_endstream(s, false);
  else
    onwrong(L, s, 408, "the request takes too long");
}

/* [1] server: what the time, or the end of a connection, brings */
static int calltick (lua_State *L) {
  lev_Http *http = lua_touserdata(L, 1);
  http->cursor = http->streams.next;
  while (http->cursor != &http->streams) {
    lev_Stream *s = http->cursor;
    http->cursor = s->next;
    if (s->deadline && s->deadline <= http->clock) {
      s->deadline = 0;
      expire(L, s);
      lua_settop(L, 1);
      if (http->o.base == NULL)
        return 0;
    }
  }
  if (http->full && http->nstreams < http->maxstreams && !http->stopping) {
    http->full = false;
    levL_eachlistener(L, 1, "enable");
  }
  if (http->waits && http->nstreams == 0) {
    http->waits = false;
    if (lua_getiuservalue(L, 1, LEV_UVSTOPCB) != LUA_TNIL) {
      lua_pushvalue(L, 1);
      lua_call(L, 1, 0);
    }
  }
  return 0;
}

/* Does any connection have to be looked at? */
static bool isdue (const lev_Http *http) {
  for (const lev_Stream *s = http->streams.next; s != &http->streams;
       s = s->next)
    if (s->deadline && s->deadline <= http->clock)
      return true;
  return http->full || http->nstreams == 0;
}

void levL_ontick (evutil_socket_t fd, short what, void *arg) {
  lev_Http *http = arg;
  (void)fd; (void)what;
  advance(http);
  if (http->nstreams > 0)
    levL_wind(http);
  if (!isdue(http))
    return;
  if (http->o.slot)
    levL_protect(&http->o, calltick, NULL, NULL);
}

/* Ends what waits for a request; the others end with their answers. */
void levL_stopstreams (lev_Http *http) {
  lev_Stream *next;
  for (lev_Stream *s = http->streams.next; s != &http->streams; s = next) {
    next = s->next;
    s->last = true;
    if (levL_hasoutput(s))
      s->b->write = true;     /* it counts until all is sent */
    if (s->in == LEV_INHEAD && s->head.seen == 0 && !s->running)
      levL_endstream(s, false);
  }
}

/* ====} */
