/*
** http_reply.c: what a server answers: whole, piece by piece, or with a
** connection that is no longer HTTP's.
**
** A request is answered once. All that can be wrong with an answer is found
** before a byte of it is sent, and without memory to go on the connection ends:
** nobody gets a half of an answer and the beginning of the next one.
*/
#include "lev_http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The page of an error: its status, and twice the reason. */
#define PAGE "<!DOCTYPE html>\n<title>%d %s</title>\n<h1>%s</h1>\n"

#define FAMILIAR 1024         /* bytes of a head that is sent without malloc */

/* {==== Heads ==== */

/* Is the connection over with this answer? Nothing more may come, not even what
   has come already; or a body that its sender has not been asked for. */
static bool islast (const lev_Stream *s) {
  size_t n;
  return levL_serverof(s)->stopping
         || (s->req && s->req->continues && s->in != LEV_INNOTHING)
         || (s->eof && levL_peek(s->b, 1, &n) == NULL);
}

/* The field "Date", made once a second. */
static void adddate (lev_Text *t, lev_Http *http) {
  time_t now = time(NULL);
  if (now != http->dated) {
    struct tm tm;
    char date[40];
    gmtime_r(&now, &tm);
    evutil_date_rfc1123(date, sizeof(date), &tm);
    http->ndate = (size_t)snprintf(http->date, sizeof(http->date),
                                   "Date: %s\r\n", date);
    http->dated = now;
  }
  levL_addtext(t, http->date, http->ndate);
}

static bool is (const lev_Field *f, const char *name) {
  return levL_isword(f->name, f->nname, name);
}

/* The fields of the script, but those that are the library's to say. */
static void addown (lev_Text *t, const lev_Text *fields) {
  const char *p = fields->p, *from = p;
  lev_Field f;
  for (; levL_eachfield(fields, &p, &f); from = p)
    if ((!is(&f, "connection") || f.nvalue == 7)      /* upgrade */
        && !is(&f, "content-length"))
      levL_addtext(t, from, (size_t)(p - from));
}

/* Is there a body in an answer with that status to that request? */
static bool hasbody (const lev_Request *r, int status) {
  return status >= 200 && status != 204 && status != 304
         && !(r && r->head.method.len == 4
              && memcmp(r->text + r->head.method.at, "HEAD", 4) == 0);
}

static void addstatus (lev_Text *t, int status, const char *reason,
                       size_t nreason) {
  char code[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                 (char)('0' + status % 10), ' '};
  levL_addtext(t, "HTTP/1.1 ", 9);
  levL_addtext(t, code, 4);
  levL_addtext(t, reason, nreason);
  levL_addtext(t, "\r\n", 2);
}

/* Begins a head with the script's fields, and with those that it has not; of a
   body if there is one. */
static void beginhead (lev_Text *t, const lev_Request *r, const lev_Said *said,
                       const char *reason, size_t nreason, bool body) {
  lev_Http *http = levL_serverof(r->stream);
  addstatus(t, r->status, reason, nreason);
  if (!said->date)
    adddate(t, http);
  addown(t, &r->fields);
  if (body && !said->type && http->type) {
    levL_addtext(t, "Content-Type: ", 14);
    levL_addtext(t, http->type, http->ntype);
    levL_addtext(t, "\r\n", 2);
  }
}

/* Ends a head: how long the connection lasts. */
static void addend (lev_Text *t, const lev_Stream *s, const lev_Request *r) {
  if (s->last)
    levL_addword(t, "Connection: close\r\n");
  else if (r && r->head.minor == 0)
    levL_addword(t, "Connection: keep-alive\r\n");
  levL_addtext(t, "\r\n", 2);
}

static void addlength (lev_Text *t, uint64_t n) {
  levL_addtext(t, "Content-Length: ", 16);
  levL_addnumber(t, n);
  levL_addtext(t, "\r\n", 2);
}

/* ====} */

/* {==== After an answer ==== */

/* The request is over; the next one comes, or the end. If its body is not all
   there yet, it is read for nobody, unless that is what its sender waits for
   being asked for. */
void levL_endrequest (lev_Stream *s) {
  lev_Request *r = s->req;
  bool unread = s->in != LEV_INNOTHING && s->in != LEV_INHEAD;
  bool waits = r && r->continues;
  size_t n;
  if (r) {
    r->out = LEV_OUTDONE;
    levL_releaserequest(r);
  }
  if (s->last || (unread && waits)) {
    if (levL_serverof(s)->stopping && levL_hasoutput(s))
      s->b->write = true;     /* it counts until all is sent */
    levL_endstream(s, s->in != LEV_INNOTHING);
    return;
  }
  if (!unread)
    levL_nextmessage(s);
  if (s->running)
    return;
  s->role->paced(s);
  if (s->eof || levL_peek(s->b, 1, &n) || !(s->b->bev->enabled & EV_READ))
    levL_again(s);
}

/* The answer cannot go on: for want of memory, or of what the system has too
   little of. */
static int give_up (lua_State *L, lev_Request *r) {
  lev_Stream *s = r->stream;
  int err = errno;
  if (s)
    levL_drop(&s->b->o);
  if (err == 0 || err == ENOMEM)
    return levL_nomemory(L);
  return levL_refuse(L, err, NULL);
}

/* ====} */

/* {==== Errors ==== */

/* An answer of the library's own, and the end of the connection if the request
   was not understood. 'fields' are lines for its head, or "". C only. */
void levL_replyerror (lev_Stream *s, int status, const char *fields) {
  const char *reason = levL_reason(status);
  char body[160], room[FAMILIAR];
  lev_Text t;
  bool ok;
  int n = snprintf(body, sizeof(body), PAGE, status, reason, reason);
  s->last |= islast(s);
  levL_begintext(&t, room, sizeof(room));
  addstatus(&t, status, reason, strlen(reason));
  adddate(&t, levL_serverof(s));
  levL_addword(&t, fields);
  levL_addword(&t, "Content-Type: text/html; charset=utf-8\r\n");
  addlength(&t, (uint64_t)n);
  addend(&t, s, s->req);
  if (hasbody(s->req, status))
    levL_addtext(&t, body, (size_t)n);
  ok = !t.failed && levL_send(NULL, s, t.p, t.n, 0, NULL, "");
  levL_freetext(&t);
  if (s->req)
    s->req->gone = true;      /* for the script there is nothing to answer */
  if (ok)
    levL_endrequest(s);
  else
    levL_drop(&s->b->o);
}

/* ====} */

/* {==== Arguments ==== */

/* A request to a server whose answer has come so far, or whose client has gone:
   that is no mistake of the script's. */
static lev_Request *checkanswer (lua_State *L, int out) {
  static const char *const words[] = {
    "its answer has not begun", "its answer has begun already",
    "HttpRequest is answered already"
  };
  lev_Request *r = levL_checkasked(L);
  if (r->out != out && !r->gone)
    luaL_argerror(L, 1, words[r->out]);
  return r;
}

static int checkstatus (lua_State *L, int arg) {
  return (int)levL_range(L, arg, arg, 200, 599);
}

/* The words for the status at 'status', or the script's own ones. */
static const char *optreason (lua_State *L, int arg, int status, size_t *n) {
  const char *reason;
  if (lua_isnoneornil(L, arg)) {
    reason = levL_reason(status);
    *n = strlen(reason);
    return reason;
  }
  reason = luaL_checklstring(L, arg, n);
  luaL_argcheck(L, levL_isvalue(reason, *n), arg,
                "a reason has no control characters");
  return reason;
}

/* ====} */

/* {==== Whole answers ==== */

/* What there is to be sent: at an index, or a part of a file, which the request
   has until it is. */
typedef struct Body {
  int arg;                    /* or 0 */
  uint64_t n;
} Body;

/* 0 or an errno */
static int getbody (lua_State *L, int arg, lev_Request *r, Body *body) {
  struct evbuffer *buf = NULL;
  int err = 0;
  body->arg = 0;
  body->n = 0;
  if (levL_isfile(L, arg)) {
    levL_guardrequest(L, 1);
    levL_droppart(r);
    buf = r->part = levL_newfilepart(L, arg, &err);
  }
  else if (!lua_isnil(L, arg)) {
    body->arg = arg;
    buf = levL_tobuffer(L, arg);
    body->n = buf ? 0 : lua_rawlen(L, arg);
  }
  if (buf)
    body->n = evbuffer_get_length(buf);
  return err;
}

/* Sends it, or only what it would have been. */
static bool sendwhole (lua_State *L, lev_Request *r, const lev_Text *t,
                       const Body *body) {
  struct evbuffer *buf = body->arg ? levL_tobuffer(L, body->arg) : NULL;
  if (hasbody(r, r->status))
    return levL_send(L, r->stream, t->p, t->n, body->arg, r->part, "");
  if (buf)
    evbuffer_drain(buf, SIZE_MAX);
  return levL_send(L, r->stream, t->p, t->n, 0, NULL, "");
}

/* [1] request; all is checked: nothing raises from here on but for memory */
static bool answer (lua_State *L, lev_Request *r, const char *reason,
                    size_t nreason, const Body *body) {
  lev_Stream *s = r->stream;
  lev_Said said = levL_look(&r->fields);
  char room[FAMILIAR];
  lev_Text t;
  bool ok;
  s->last |= said.close || islast(s);
  levL_begintext(&t, room, sizeof(room));
  beginhead(&t, r, &said, reason, nreason, body->n > 0);
  if (hasbody(r, r->status))
    addlength(&t, body->n);
  else if (r->status != 204 && (r->status != 304 || said.length))
    addlength(&t, body->n == 0 && said.length ? said.bytes : body->n);
  addend(&t, s, r);
  ok = !t.failed && sendwhole(L, r, &t, body);
  levL_freetext(&t);
  return ok;
}

/* Whoever wants to hear that all is sent does. */
static void tellcomplete (lua_State *L, lev_Request *r) {
  if (!r->complete || r->stream == NULL)
    return;
  levL_getrequestcb(L, 1, LEV_COMPLETECB);
  levL_tellsent(L, r->stream, 1, lua_gettop(L));
  lua_pop(L, 1);
}

static int done (lua_State *L) {
  lua_settop(L, 1);
  return 1;
}

/* [1] request, [4] body: what can be wrong with an answer. 0 or an errno. */
static int prepare (lua_State *L, lev_Request *r, int status, Body *body) {
  size_t before = r->fields.n;
  lev_Said said;
  int err;
  levL_addfields(L, 5, &r->fields);
  err = getbody(L, 4, r, body);
  said = levL_look(&r->fields);
  if (err == 0 && (!said.length || said.bytes == body->n
                   || !hasbody(r, status)))
    return 0;
  r->fields.n = before;
  luaL_argcheck(L, err, 5, "the body has not its Content-Length");
  return err;
}

/* httprequest:send_reply(status [, reason [, body [, headers]]])
   -> httprequest | nil, message, errno */
static int lev_httprequest_send_reply (lua_State *L) {
  lev_Request *r = checkanswer(L, LEV_OUTNOTHING);
  int status = checkstatus(L, 2);
  size_t nreason;
  const char *reason = optreason(L, 3, status, &nreason);
  Body body;
  int err;
  lua_settop(L, 5);
  if (!lua_isnil(L, 4) && !levL_isfile(L, 4))
    levL_checkdata(L, 4, 4);
  if (r->stream == NULL)
    return levL_gone(L);
  err = prepare(L, r, status, &body);
  if (err)
    return levL_refuse(L, err, NULL);
  tellcomplete(L, r);
  checkanswer(L, LEV_OUTNOTHING);   /* again: a finalizer can have run */
  if (r->stream == NULL)
    return levL_gone(L);
  r->status = status;
  if (!answer(L, r, reason, nreason, &body))
    return give_up(L, r);
  levL_endrequest(r->stream);
  return done(L);
}

/* Pushes text for HTML. */
static void pushescaped (lua_State *L, const char *s, size_t n) {
  luaL_Buffer B;
  luaL_buffinit(L, &B);
  for (size_t i = 0; i < n; i++) {
    if (s[i] == '<')
      luaL_addstring(&B, "&lt;");
    else if (s[i] == '&')
      luaL_addstring(&B, "&amp;");
    else
      luaL_addchar(&B, s[i]);
  }
  luaL_pushresult(&B);
}

/* httprequest:send_error(status [, reason])
   -> httprequest | nil, message, errno */
static int lev_httprequest_send_error (lua_State *L) {
  lev_Request *r;
  int status;
  size_t n;
  const char *reason;
  checkanswer(L, LEV_OUTNOTHING);
  status = (int)levL_range(L, 2, 2, 300, 599);
  reason = optreason(L, 3, status, &n);
  lua_settop(L, 3);
  pushescaped(L, reason, n);                              /* 4 */
  lua_pushfstring(L, PAGE, status, lua_tostring(L, 4), lua_tostring(L, 4));
  lua_replace(L, 4);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "text/html; charset=utf-8");
  lua_setfield(L, 5, "Content-Type");
  r = checkanswer(L, LEV_OUTNOTHING);
  levL_removefields(&r->fields, "Content-Type", 12);
  levL_removefields(&r->fields, "Content-Length", 14);
  return lev_httprequest_send_reply(L);
}

/* ====} */

/* {==== Answers piece by piece ==== */

/* httprequest:send_reply_start(status [, reason [, headers]])
   -> httprequest | nil, message, errno */
static int lev_httprequest_send_reply_start (lua_State *L) {
  lev_Request *r = checkanswer(L, LEV_OUTNOTHING);
  int status = checkstatus(L, 2);
  size_t nreason;
  const char *reason = optreason(L, 3, status, &nreason);
  char room[FAMILIAR];
  lev_Stream *s;
  lev_Text t;
  lev_Said said;
  bool ok;
  lua_settop(L, 4);
  if (r->stream == NULL)
    return levL_gone(L);
  levL_addfields(L, 4, &r->fields);
  checkanswer(L, LEV_OUTNOTHING);
  s = r->stream;
  if (s == NULL)
    return levL_gone(L);
  said = levL_look(&r->fields);
  r->status = status;
  r->nobody = !hasbody(r, status);
  r->counted = said.length && !r->nobody;
  r->outleft = said.bytes;
  r->outchunked = !r->nobody && !said.length && r->head.minor > 0;
  s->last |= said.close || islast(s)
             || (!r->nobody && !said.length && !r->outchunked);
  levL_begintext(&t, room, sizeof(room));
  beginhead(&t, r, &said, reason, nreason, !r->nobody);
  if (said.length && status != 204)
    addlength(&t, said.bytes);
  if (r->outchunked)
    levL_addword(&t, "Transfer-Encoding: chunked\r\n");
  addend(&t, s, r);
  r->out = LEV_OUTSTARTED;
  ok = !t.failed && levL_send(NULL, s, t.p, t.n, 0, NULL, "");
  levL_freetext(&t);
  levL_freetext(&r->fields);
  return ok ? done(L) : give_up(L, r);
}

static size_t datalength (lua_State *L, int arg) {
  struct evbuffer *buf = levL_tobuffer(L, arg);
  return buf ? evbuffer_get_length(buf) : lua_rawlen(L, arg);
}

/* [2] data: sends it as a chunk, or as it is. False without memory. */
static bool sendpiece (lua_State *L, lev_Request *r, size_t n) {
  char size[20];
  if (n == 0)
    return true;
  if (r->nobody) {
    if (levL_tobuffer(L, 2))
      evbuffer_drain(levL_tobuffer(L, 2), n);
    return true;
  }
  if (r->counted)
    r->outleft -= n;
  if (!r->outchunked)
    return levL_send(L, r->stream, "", 0, 2, NULL, "");
  snprintf(size, sizeof(size), "%zx\r\n", n);
  return levL_send(L, r->stream, size, strlen(size), 2, NULL, "\r\n");
}

/* A request of a client's that sends its body. */
static lev_Request *checkupload (lua_State *L) {
  lev_Request *r = levL_checkrequest(L, 1);
  luaL_argcheck(L, r->method[0], 1, "a request of a client expected");
  luaL_argcheck(L, r->gone || r->out == LEV_OUTSTARTED, 1,
                "its body is not sent piece by piece, or not yet, or no more");
  return r;
}

/* [1] request, [2] data, [3] cb or nil */
static int sendchunk (lua_State *L, lev_Request *r,
                      lev_Request *(*check) (lua_State *L)) {
  bool tells = levL_optcallback(L, 3);
  size_t n;
  lua_settop(L, 3);
  levL_checkdata(L, 2, 2);
  check(L);
  if (r->stream == NULL)
    return levL_gone(L);
  n = datalength(L, 2);
  luaL_argcheck(L, !r->counted || n <= r->outleft, 2,
                "more than its Content-Length");
  if (!sendpiece(L, r, n))
    return give_up(L, r);
  if (tells)
    levL_tellsent(L, r->stream, 1, 3);
  return done(L);
}

/* The last chunk, with the trailers; false without memory. */
static bool sendlast (const lev_Request *r) {
  char room[FAMILIAR];
  lev_Text t;
  bool ok;
  if (!r->outchunked)
    return true;
  levL_begintext(&t, room, sizeof(room));
  levL_addword(&t, "0\r\n");
  levL_addtext(&t, r->fields.p, r->fields.n);
  levL_addtext(&t, "\r\n", 2);
  ok = !t.failed && levL_send(NULL, r->stream, t.p, t.n, 0, NULL, "");
  levL_freetext(&t);
  return ok;
}

/* The trailers at 2, for a body that is whole. */
static void checkend (lua_State *L, lev_Request *r) {
  lua_settop(L, 2);
  luaL_argcheck(L, !r->counted || r->outleft == 0, 1,
                "bytes of its Content-Length are missing");
  if (r->stream)
    levL_addfields(L, 2, &r->fields);
  tellcomplete(L, r);
}

static lev_Request *checkstarted (lua_State *L) {
  return checkanswer(L, LEV_OUTSTARTED);
}

/* httprequest:send_reply_chunk(data [, cb])
   -> httprequest | nil, message, errno */
static int lev_httprequest_send_reply_chunk (lua_State *L) {
  return sendchunk(L, checkstarted(L), checkstarted);
}

/* httprequest:send_reply_end([trailers])
   -> httprequest | nil, message, errno */
static int lev_httprequest_send_reply_end (lua_State *L) {
  lev_Request *r = checkstarted(L);
  checkend(L, r);
  checkstarted(L);
  if (r->stream == NULL)
    return levL_gone(L);
  if (!sendlast(r))
    return give_up(L, r);
  levL_endrequest(r->stream);
  return done(L);
}

/* httprequest:send_chunk(data [, cb])
   -> httprequest | nil, message, errno */
static int lev_httprequest_send_chunk (lua_State *L) {
  return sendchunk(L, checkupload(L), checkupload);
}

/* httprequest:send_end([trailers]) -> httprequest | nil, message, errno */
static int lev_httprequest_send_end (lua_State *L) {
  lev_Request *r = checkupload(L);
  if (r->out == LEV_OUTSTARTED)
    levL_freetext(&r->fields);      /* its head, which is sent */
  checkend(L, r);
  checkupload(L);
  if (r->stream == NULL)
    return levL_gone(L);
  if (!sendlast(r))
    return give_up(L, r);
  r->out = LEV_OUTDONE;
  return done(L);
}

/* ====} */

/* {==== Fields, callbacks, other protocols ==== */

/* httprequest:add_header(name, value) -> httprequest */
static int lev_httprequest_add_header (lua_State *L) {
  lev_Request *r = checkanswer(L, LEV_OUTNOTHING);
  lua_settop(L, 3);
  if (r->stream == NULL)
    return done(L);           /* there is nobody to send it to */
  levL_addfield(L, 2, &r->fields);
  return done(L);
}

/* httprequest:remove_header(name) -> boolean */
static int lev_httprequest_remove_header (lua_State *L) {
  lev_Request *r = checkanswer(L, LEV_OUTNOTHING);
  size_t n;
  const char *name = luaL_checklstring(L, 2, &n);
  lua_pushboolean(L, levL_removefields(&r->fields, name, n));
  return 1;
}

/* httprequest:clear_headers() -> httprequest */
static int lev_httprequest_clear_headers (lua_State *L) {
  levL_freetext(&checkanswer(L, LEV_OUTNOTHING)->fields);
  return done(L);
}

/* httprequest:set_on_complete_cb([cb]) -> httprequest */
static int lev_httprequest_set_on_complete_cb (lua_State *L) {
  lev_Request *r = levL_checkasked(L);
  luaL_argcheck(L, r->out != LEV_OUTDONE, 1,
                "HttpRequest is answered already");
  levL_optcallback(L, 2);
  lua_settop(L, 2);
  levL_setrequestcb(L, 1, LEV_COMPLETECB, 2);
  r->complete = !lua_isnil(L, 2);
  return done(L);
}

/* The head that changes the protocol, or NULL of a CONNECT; false without
   memory. */
static bool sendupgrade (const lev_Request *r, const char *protocol) {
  int status = protocol ? 101 : 200;
  const char *reason = levL_reason(status);
  char room[FAMILIAR];
  lev_Text t;
  bool ok;
  levL_begintext(&t, room, sizeof(room));
  addstatus(&t, status, reason, strlen(reason));
  if (protocol) {
    levL_addword(&t, "Connection: Upgrade\r\nUpgrade: ");
    levL_addword(&t, protocol);
    levL_addtext(&t, "\r\n", 2);
  }
  addown(&t, &r->fields);
  levL_addtext(&t, "\r\n", 2);
  ok = !t.failed && levL_send(NULL, r->stream, t.p, t.n, 0, NULL, "");
  levL_freetext(&t);
  return ok;
}

/* What has come already, and what can only be told in the loop, must not be
   lost for want of memory: 0 or an errno, which may be the connection's. */
static int makeready (lev_Bufferevent *b) {
  levL_clear(b);
  return b->failure ? b->failure : levL_maketurn(b) ? 0 : ENOMEM;
}

/* It cannot be handed over. */
static int refuse (lua_State *L, lev_Request *r, int err) {
  if (err == ENOMEM)
    return give_up(L, r);
  return levL_refuse(L, err, NULL);
}

/* The connection of a request, at the top of the stack: the script's from now
   on, as any other one. What stays of the request is what came. */
static void handover (lev_Request *r) {
  lev_Stream *s = r->stream;
  lev_Bufferevent *b = s->b;
  r->out = LEV_OUTDONE;
  levL_releaserequest(r);
  levL_unhook(b);
  s->role->leave(s);
  bufferevent_set_timeouts(b->bev, NULL, NULL);
  levL_disable(b, EV_READ);
  if (evbuffer_get_length(b->bev->input) > 0) {
    b->turn->trigger.directions |= EV_READ;     /* it has come already */
    levL_taketurn(b);
  }
}

/* Pushes the connection, which is handed over. */
static int pushconnection (lua_State *L, lev_Request *r) {
  lev_Bufferevent *b = r->stream->b;
  if (!levL_find(L, &b->o))
    return levL_gone(L);
  handover(r);
  levL_settle(L, lua_gettop(L), &b->o);
  return 1;
}

/* [1] request of a client's whose answer changes the protocol */
static int takeover (lua_State *L, lev_Request *r) {
  int err;
  luaL_argcheck(L, r->text && r->stream && r->stream->in == LEV_INNOTHING, 1,
                "its answer does not change the protocol");
  err = makeready(r->stream->b);
  return err ? refuse(L, r, err) : pushconnection(L, r);
}

/* httprequest:upgrade([protocol [, headers]])
   -> bufferevent | nil, message, errno */
static int lev_httprequest_upgrade (lua_State *L) {
  lev_Request *r = levL_checkrequest(L, 1);
  const char *protocol = luaL_optstring(L, 2, NULL);
  int err;
  if (r->method[0])
    return takeover(L, r);
  checkanswer(L, LEV_OUTNOTHING);
  lua_settop(L, 3);
  luaL_argcheck(L, protocol == NULL
                   || levL_isvalue(protocol, lua_rawlen(L, 2)), 2,
                "a protocol has no control characters");
  if (r->stream == NULL)
    return levL_gone(L);
  levL_addfields(L, 3, &r->fields);
  checkanswer(L, LEV_OUTNOTHING);
  if (r->stream == NULL)
    return levL_gone(L);
  luaL_argcheck(L, r->stream->in == LEV_INNOTHING, 1,
                "its body has not all come");
  err = makeready(r->stream->b);
  if (err)
    return refuse(L, r, err);
  if (!sendupgrade(r, protocol))
    return give_up(L, r);
  return pushconnection(L, r);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"add_header", lev_httprequest_add_header},
  {"remove_header", lev_httprequest_remove_header},
  {"clear_headers", lev_httprequest_clear_headers},
  {"send_reply", lev_httprequest_send_reply},
  {"send_error", lev_httprequest_send_error},
  {"send_reply_start", lev_httprequest_send_reply_start},
  {"send_reply_chunk", lev_httprequest_send_reply_chunk},
  {"send_reply_end", lev_httprequest_send_reply_end},
  {"send_chunk", lev_httprequest_send_chunk},
  {"send_end", lev_httprequest_send_end},
  {"set_on_complete_cb", lev_httprequest_set_on_complete_cb},
  {"upgrade", lev_httprequest_upgrade},
  {NULL, NULL}
};

void levL_openreply (lua_State *L) {
  levL_addmethods(L, LEV_HTTPREQUEST, methods);
}
