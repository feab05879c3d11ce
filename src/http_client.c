/*
** http_client.c: a client's connection to one host.
**
** It sends one request after the other, and connects when there is one to send.
** Between two of them nothing of it waits in the loop: a program that has
** nothing else to do ends. Whether the server has closed it meanwhile is found
** out when it is used again; and a request that meets a closing server
** is sent once more, if that does no harm.
**
** While a request is in flight the connection keeps it, and is anchored itself.
** Whatever ends it, its callback is called once, from the loop; but not when
** the script has closed the request, the connection or the base.
*/
#include "lev_dns.h"
#include "lev_http.h"
#include "lev_tls.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static lev_Client *clientof (const lev_Stream *s) {
  return (lev_Client *)s->owner;
}

/* {==== Kind and accessors ==== */

static bool isactive (const lev_Object *o) {
  const lev_Client *c = (const lev_Client *)o;
  return c->busy || c->first <= c->last;
}

static void freeclient (lev_Object *o) {
  lev_Client *c = (lev_Client *)o;
  if (c->stream)
    levL_free(&c->stream->b->o);
  event_del(&c->timer);
  event_del(&c->turn);
}

static const lev_Kind kind = {
  .tname = LEV_HTTPCONNECTION, .active = isactive, .free = freeclient
};

lev_Client *levL_checkclient (lua_State *L) {
  return levL_checkopen(L, 1, &kind);
}

/* ====} */

/* {==== The ends of requests ==== */

/* Its turn comes in the loop. */
void levL_schedule (lev_Client *c) {
  event_active(&c->turn, EV_TIMEOUT, 1);
}

/* Ends the connection as such; the next request makes another one. */
static void disconnect (lev_Client *c) {
  event_del(&c->timer);
  c->connecting = false;
  if (c->stream)
    levL_drop(&c->stream->b->o);
}

/* [1] client: no longer has one of its user values. */
static void forget (lua_State *L, lev_Client *c, int uv) {
  lua_pushnil(L);
  lua_setiuservalue(L, 1, uv);
  if (uv == LEV_CLIENTCURRENT) {
    c->busy = false;
    c->err = 0;
  }
}

/* [1] client. The request in flight is in flight no longer: pushes it. */
static lev_Request *takecurrent (lua_State *L, lev_Client *c) {
  lev_Request *r;
  lua_getiuservalue(L, 1, LEV_CLIENTCURRENT);
  r = lua_touserdata(L, -1);
  forget(L, c, LEV_CLIENTCURRENT);
  if (r)
    levL_releaserequest(r);
  return r;
}

/* [1] client: the request in flight has failed. */
static void fail (lua_State *L, lev_Client *c, const char *message, int err) {
  lev_Request *r;
  lua_settop(L, 1);
  lua_pushstring(L, message);                             /* 2 */
  r = takecurrent(L, c);                                  /* 3 */
  disconnect(c);
  if (c->first <= c->last)
    levL_schedule(c);
  if (r == NULL || r->gone)
    return;                   /* the script has closed it */
  r->gone = true;
  r->out = LEV_OUTDONE;
  levL_getrequestcb(L, 3, LEV_DONECB);
  lua_pushnil(L);
  lua_pushvalue(L, 2);
  lua_pushinteger(L, err);
  lua_call(L, 3, 0);
}

static void failwith (lua_State *L, lev_Client *c, int err) {
  fail(L, c, evutil_socket_error_to_string(err), err);
}

/* ====} */

/* {==== Sending ==== */

static const lev_Role role;

/* A stream on a bufferevent at the top of the stack; false without memory. */
static bool newstream (lev_Client *c, lev_Bufferevent *b) {
  lev_Stream *s = calloc(1, sizeof(*s));
  if (s == NULL)
    return false;
  s->limits = &c->limits;
  c->stream = s;
  levL_initstream(s, &role, b, &c->o);
  bufferevent_set_timeouts(b->bev,
    evutil_timerisset(&c->readtime) ? &c->readtime : NULL,
    evutil_timerisset(&c->writetime) ? &c->writetime : NULL);
  c->o.base->timed = true;
  return true;
}

/* [1] client. Calls a bufferevent's method of connecting: pushes its three
   results. What it refuses is an answer, too: a Dns that is closed by now. */
static void callconnect (lua_State *L, const lev_Client *c, int bev) {
  int top = lua_gettop(L);
  luaL_getmetafield(L, bev, "__index");
  lua_getfield(L, -1, c->port ? "connect_hostname" : "connect");
  lua_replace(L, -2);
  lua_pushvalue(L, bev);
  lua_getiuservalue(L, 1, LEV_CLIENTHOST);
  if (c->port) {
    lua_pushinteger(L, c->port);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, INT32_MAX);    /* there is a timer of ours */
    lua_setfield(L, -2, "timeout");
    lua_getiuservalue(L, 1, LEV_CLIENTDNS);
    lua_setfield(L, -2, "dns");
    lua_getiuservalue(L, 1, LEV_CLIENTFAMILY);
    lua_setfield(L, -2, "family");
  }
  if (lua_pcall(L, c->port ? 4 : 2, 3, 0) != LUA_OK) {
    lua_pushnil(L);
    lua_insert(L, top + 1);
    lua_pushinteger(L, EINVAL);
  }
}

/* [1] client. The request in flight goes by the connection, or will. */
static lev_Request *attach (lua_State *L, lev_Client *c) {
  lev_Request *r;
  lua_getiuservalue(L, 1, LEV_CLIENTCURRENT);
  r = lua_touserdata(L, -1);
  lua_pop(L, 1);
  r->stream = c->stream;
  r->o.base = c->o.base;
  c->stream->req = r;
  return r;
}

/* [1] client. False without memory. */
static bool secure (lua_State *L, const lev_Client *c, lev_Bufferevent *b) {
  lev_Name name;
  if (c->tls == NULL)
    return true;
  lua_getiuservalue(L, 1, LEV_CLIENTNAME);
  name = levL_checkname(L, 1, -1);
  lua_pop(L, 1);
  return levL_secure(b, c->tls, &name);
}

/* [1] client. Begins to connect. What does not even begin fails in the loop. */
static void begin (lua_State *L, lev_Client *c) {
  lev_Bufferevent *b;
  int bev;
  lua_getiuservalue(L, 1, LEV_UVBASE);
  b = (lev_Bufferevent *)levL_newbufferevent(L, -1, -1, NULL);
  bev = lua_gettop(L);
  lua_pushvalue(L, bev);
  lua_setiuservalue(L, 1, LEV_CLIENTBUFFEREVENT);
  levL_anchor(L, bev, &b->o);
  if (c->stream || !secure(L, c, b) || !newstream(c, b))
    levL_nomemory(L);
  c->connecting = true;
  c->reused = false;
  attach(L, c);
  if (evutil_timerisset(&c->connecttime)
      && event_add(&c->timer, &c->connecttime) < 0)
    levL_nomemory(L);
  callconnect(L, c, bev);
  if (lua_isnil(L, -3)) {
    c->err = (int)lua_tointeger(L, -1);
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, 1, LEV_CLIENTMESSAGE);
    levL_schedule(c);
  }
}

/* Is the connection, which nobody has looked at for a while, still one? */
static bool isalive (const lev_Client *c) {
  const lev_Stream *s = c->stream;
  char byte;
  int fd = (int)s->b->bev->ev_read.ev_fd;
  if (s->last || s->eof
      || (evutil_timerisset(&c->idletime)
          && levL_milliseconds() - c->rested > levL_span(&c->idletime)))
    return false;
  return recv(fd, &byte, 1, MSG_PEEK) < 0
         && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* [1] client. Sends the request in flight, by a connection that is there. */
static void transmit (lua_State *L, lev_Client *c) {
  lev_Stream *s = c->stream;
  lev_Request *r;
  int body = 0, err;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, LEV_CLIENTCURRENT);                       /* 2 */
  r = attach(L, c);
  if (levL_getrequestcb(L, 2, LEV_OUTBODY) != LUA_TNIL) { /* 3 */
    body = 3;
    levL_checkdata(L, 3, 3);
  }
  if (c->stream != s)
    return;                   /* a finalizer has closed it */
  levL_nextmessage(s);
  if (levL_send(L, s, r->fields.p, r->fields.n, body, NULL, ""))
    err = levL_enable(s->b, EV_READ);
  else
    err = errno ? errno : ENOMEM;
  if (err) {
    failwith(L, c, err);
    return;
  }
  r->out = LEV_OUTDONE;
  if (levL_getrequestcb(L, 2, LEV_STREAMCB) != LUA_TNIL) {
    r->out = LEV_OUTSTARTED;
    lua_pushvalue(L, 2);
    lua_call(L, 1, 0);
  }
}

/* [1] client. Takes the next request of the queue that nobody has closed. */
static void dequeue (lua_State *L, lev_Client *c) {
  while (!c->busy && c->first <= c->last) {
    const lev_Request *r;
    lua_getiuservalue(L, 1, LEV_CLIENTQUEUE);                       /* 2 */
    lua_rawgeti(L, 2, c->first);                          /* 3 */
    r = lua_touserdata(L, 3);
    lua_pushnil(L);
    lua_rawseti(L, 2, c->first++);
    if (!r->gone) {
      c->busy = true;
      lua_setiuservalue(L, 1, LEV_CLIENTCURRENT);
    }
    lua_settop(L, 1);
  }
}

/* [1] client. Sends the next request. */
static void next (lua_State *L, lev_Client *c) {
  dequeue(L, c);
  if (!c->busy)
    return;
  if (c->stream && isalive(c)) {
    lua_getiuservalue(L, 1, LEV_CLIENTBUFFEREVENT);
    levL_anchor(L, 2, &c->stream->b->o);
    transmit(L, c);
  }
  else {
    disconnect(c);
    begin(L, c);
  }
}

/* [1] client. Once more by another connection, if the server has closed this
   one as we used it again, and nobody can tell how far it has come. */
static bool again (lua_State *L, lev_Client *c) {
  lev_Stream *s = c->stream;
  lev_Request *r = s ? s->req : NULL;
  if (r == NULL || !c->reused || !r->idempotent || s->in != LEV_INHEAD
      || s->head.seen > 0)
    return false;
  s->req = NULL;
  r->stream = NULL;
  disconnect(c);
  lua_settop(L, 1);
  begin(L, c);
  return true;
}

/* ====} */

/* {==== What comes ==== */

/* An answer that is none yet: only words on the way. */
static bool isinterim (const lev_Head *h) {
  return h->status < 200 && h->status != 101;
}

static bool isword (const lev_Request *r, const char *method) {
  return strcmp(r->method, method) == 0;
}

/* Does the connection become something else with this answer? */
static bool isupgrade (const lev_Request *r) {
  return r->head.status == 101
         || (isword(r, "CONNECT") && r->head.status / 100 == 2);
}

static bool hasbody (const lev_Request *r) {
  int status = r->head.status;
  return !isupgrade(r) && status != 204 && status != 304
         && !isword(r, "HEAD") && r->head.length != 0;
}

/* [1] client: the head of an answer is there */
static void onhead (lua_State *L, lev_Stream *s) {
  lev_Client *c = clientof(s);
  lev_Request *r = s->req;
  if (isinterim(&s->head)) {
    levL_skip(s->b, s->head.len);
    levL_nextmessage(s);
    return;
  }
  r->answer = malloc(s->head.len + 1);
  if (r->answer == NULL) {
    levL_nomemory(L);
    return;
  }
  levL_takehead(L, s, r->answer);
  r->text = r->answer;
  r->head = s->head;
  s->last = r->isfinal || !levL_persists(&r->head);
  s->most = r->streams ? UINT64_MAX : c->most;
  levL_expectbody(s, &r->head);
  if (!hasbody(r)) {
    s->in = LEV_INBODY;
    s->left = 0;
  }
  s->last |= s->in == LEV_INREST;
  if (levL_pushrequest(L, r)
      && levL_getrequestcb(L, -1, LEV_HEADERCB) != LUA_TNIL) {
    lua_insert(L, -2);
    lua_call(L, 1, 0);
  }
}

/* The connection has nothing to do any more: it leaves the loop until the next
   request, or is closed, if it is of no use for that. */
static void rest (lev_Client *c, bool whole) {
  lev_Stream *s = c->stream;
  size_t n;
  if (s == NULL)
    return;
  levL_peek(s->b, 1, &n);
  if (!whole || s->last || s->eof || n > 0 || levL_unsent(s->b) > 0) {
    disconnect(c);
    return;
  }
  levL_nextmessage(s);
  bufferevent_disable(s->b->bev, EV_READ);
  c->reused = true;
  c->rested = levL_milliseconds();
}

/* [1] client: all of an answer is there. */
static void ondone (lua_State *L, lev_Stream *s) {
  lev_Client *c = clientof(s);
  lev_Request *r = s->req;
  bool upgrade = isupgrade(r);
  int req;
  lua_getiuservalue(L, 1, LEV_CLIENTCURRENT);
  req = lua_gettop(L);
  if (r->streams) {
    levL_getrequestcb(L, req, LEV_CHUNKEDCB);
    lua_pushvalue(L, req);
    lua_pushnil(L);
    lua_call(L, 2, 0);
    if (r->stream == NULL)
      return;                 /* closed there */
  }
  if (upgrade) {              /* the connection waits for being taken over */
    forget(L, c, LEV_CLIENTCURRENT);
    forget(L, c, LEV_CLIENTBUFFEREVENT);
  }
  else {
    bool whole = r->out == LEV_OUTDONE;
    takecurrent(L, c);
    rest(c, whole);
    r->gone = !whole;         /* nobody takes the rest of its body */
  }
  levL_schedule(c);
  r->out = LEV_OUTDONE;
  levL_getrequestcb(L, req, LEV_DONECB);
  lua_pushvalue(L, req);
  lua_call(L, 1, 0);
  if (upgrade && r->stream)
    disconnect(c);            /* nobody has */
}

static void oncut (lua_State *L, lev_Stream *s) {
  lev_Client *c = clientof(s);
  if (!again(L, c))
    fail(L, c, "the server has closed the connection", ECONNRESET);
}

static void onwrong (lua_State *L, lev_Stream *s, int status,
                     const char *why) {
  lua_pushfstring(L, "bad answer: %s",
                  status == 413 ? "the body is too long" : why);
  fail(L, clientof(s), lua_tostring(L, -1), status == 413 ? EMSGSIZE : EPROTO);
}

/* [1] client: the connection is there, or ends. A server that says nothing
   while we send does not let us wait for it yet. */
static bool onevent (lua_State *L, lev_Stream *s, const lev_Happening *h) {
  lev_Client *c = clientof(s);
  int err = h->err;
  if (h->what & BEV_EVENT_CONNECTED) {
    event_del(&c->timer);
    c->connecting = false;
    levL_notepeer(s);
    transmit(L, c);
    return true;
  }
  if (!(h->what & BEV_EVENT_ERROR)) {
    if ((h->what & BEV_EVENT_READING) && s->req
        && (s->req->out != LEV_OUTDONE || levL_unsent(s->b) > 0)
        && levL_enable(s->b, EV_READ) == 0)
      return true;
    err = ETIMEDOUT;
  }
  else if (again(L, c))
    return false;
  fail(L, c, h->message && err == h->err ? h->message
             : evutil_socket_error_to_string(err), err);
  return false;
}

static void paced (lev_Stream *s) {
  (void)s;
}

static void wanted (lev_Stream *s) {
  (void)s;
}

/* A callback has raised: its request is over. */
static void onfailed (lev_Stream *s) {
  lev_Client *c = clientof(s);
  c->err = c->busy ? ECANCELED : 0;
  disconnect(c);
  levL_schedule(c);
}

static void onleave (lev_Stream *s) {
  lev_Client *c = clientof(s);
  if (s->req) {
    s->req->gone = true;
    levL_releaserequest(s->req);
  }
  c->stream = NULL;
  free(s);
}

static bool isawaited (const lev_Stream *s) {
  return clientof(s)->busy;
}

static const lev_Role role = {
  LEV_HTTPRESPONSE, onhead, ondone, oncut, onwrong, onevent, paced, wanted,
  onfailed, onfailed, onleave, isawaited
};

/* [1] client: connecting takes too long, something has failed at once, or the
   next request is to be sent. */
static int callturn (lua_State *L) {
  lev_Client *c = lua_touserdata(L, 1);
  int err = c->err;
  lua_settop(L, 1);
  if (err == ECANCELED)
    takecurrent(L, c);
  else if (err) {
    lua_getiuservalue(L, 1, LEV_CLIENTMESSAGE);
    lua_pushnil(L);
    lua_setiuservalue(L, 1, LEV_CLIENTMESSAGE);
    fail(L, c, lua_isstring(L, 2) ? lua_tostring(L, 2)
               : evutil_socket_error_to_string(err), err);
  }
  lua_settop(L, 1);
  if (c->o.base && !c->busy)
    next(L, c);
  return 0;
}

/* [1] client: connecting takes too long */
static int calltimer (lua_State *L) {
  failwith(L, lua_touserdata(L, 1), ETIMEDOUT);
  return 0;
}

/* What has no memory to begin fails; those that wait do not wait for ever. */
static void undo (void *data) {
  lev_Client *c = data;
  if (c->o.base == NULL)
    return;
  if (c->busy) {
    c->err = c->stream && !c->connecting ? ECANCELED : ENOMEM;
    disconnect(c);
  }
  levL_schedule(c);
}

static void onturn (evutil_socket_t fd, short what, void *arg) {
  lev_Client *c = arg;
  (void)fd; (void)what;
  if (c->o.slot)
    levL_protect(&c->o, callturn, c, undo);
}

static void ontimer (evutil_socket_t fd, short what, void *arg) {
  lev_Client *c = arg;
  (void)fd; (void)what;
  if (c->o.slot)
    levL_protect(&c->o, calltimer, c, undo);
}

/* ====} */

/* {==== Constructor ==== */

#define MAXSIZE (1 << 30)

static void gettime (lua_State *L, const char *name, struct timeval *tv) {
  if (levL_option(L, 4, name))
    levL_timeout(L, 4, tv);
  lua_pop(L, 2);
}

static void setoptions (lua_State *L, lev_Client *c) {
  static const char *const names[] = {
    "dns", "connect_timeout", "read_timeout", "write_timeout", "idle_timeout",
    "max_headers_size", "max_body_size", "family", "tls", "hostname", NULL
  };
  lev_Name name;
  levL_checkoptions(L, 4, names);
  gettime(L, "connect_timeout", &c->connecttime);
  gettime(L, "read_timeout", &c->readtime);
  gettime(L, "write_timeout", &c->writetime);
  gettime(L, "idle_timeout", &c->idletime);
  if (levL_option(L, 4, "max_headers_size"))
    c->limits.fields = c->limits.line = levL_isfalse(L, -1) ? MAXSIZE
        : (size_t)levL_range(L, -1, 4, 1, MAXSIZE);
  if (levL_option(L, 4, "max_body_size"))
    c->most = levL_isfalse(L, -1) ? UINT64_MAX
              : (uint64_t)levL_range(L, -1, 4, 0, INT64_MAX / 2);
  lua_settop(L, 5);
  if (levL_option(L, 4, "dns")) {
    levL_optiondns(L, lua_gettop(L), 4, lua_touserdata(L, 1));
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 5, LEV_CLIENTDNS);
  }
  levL_optfamilies(L, 4);
  levL_option(L, 4, "family");
  lua_setiuservalue(L, 5, LEV_CLIENTFAMILY);
  c->tls = levL_opttls(L, 4, LEV_TLSCLIENT, &name);
  if (c->tls && c->port == 0)
    levL_checknamed(L, 4, c->tls, &name);
  lua_setiuservalue(L, 5, LEV_CLIENTNAME);
  lua_setiuservalue(L, 5, LEV_CLIENTTLS);
  lua_settop(L, 5);
}

/* The host, and its port, which a path has not: "unix:/run/x.sock". */
static int checkhost (lua_State *L) {
  size_t n;
  const char *host = luaL_checklstring(L, 2, &n);
  bool path = strncmp(host, "unix:", 5) == 0;
  struct sockaddr_storage ss;
  luaL_argcheck(L, levL_istarget(host, n) && (path || !strpbrk(host, "/@?")),
                2, "host name, IP address or unix:path expected");
  if (!path)
    return (int)levL_range(L, 3, 3, 1, 65535);
  levL_checkaddress(L, 2, &ss);
  luaL_argcheck(L, lua_isnoneornil(L, 3), 3, "a path has no port");
  return 0;
}

/* base:http_connection(host [, port [, options]]) -> httpconnection */
static int lev_base_http_connection (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  int port = checkhost(L);
  lev_Client *c;
  lua_settop(L, 4);
  c = levL_newobject(L, 1, &kind, sizeof(*c), LEV_NUVCLIENT);         /* 5 */
  c->port = port;
  c->first = 1;
  c->limits.line = c->limits.fields = 65536;
  c->limits.count = 256;
  c->most = 16 << 20;
  c->connecttime.tv_sec = 45;
  c->readtime.tv_sec = c->writetime.tv_sec = 50;
  c->idletime.tv_sec = 60;
  setoptions(L, c);
  lua_newtable(L);
  lua_setiuservalue(L, 5, LEV_CLIENTQUEUE);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 5, LEV_CLIENTHOST);
  levL_checkbase(L, 1);
  event_assign(&c->timer, base->event_base, -1, 0, ontimer, c);
  event_assign(&c->turn, base->event_base, -1, 0, onturn, c);
  levL_adopt(base, &c->o);
  return 1;
}

/* ====} */

/* {==== Methods ==== */

/* httpconnection:peername() -> address | nil, message, errno */
static int lev_httpconnection_peername (lua_State *L) {
  const lev_Client *c = levL_checkclient(L);
  if (c->stream == NULL || c->connecting)
    return levL_refuse(L, ENOTCONN, NULL);
  return levL_pushname(L, (int)bufferevent_getfd(c->stream->b->bev),
                       getpeername);
}

static lev_Bufferevent *bufferevent (lua_State *L) {
  const lev_Client *c = levL_checkclient(L);
  return c->stream ? c->stream->b : NULL;
}

/* httpconnection:tls() -> session | nil */
static int lev_httpconnection_tls (lua_State *L) {
  return levL_pushtls(L, bufferevent);
}

/* httpconnection:base() -> base */
static int lev_httpconnection_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* httpconnection:close() -> httpconnection */
static int lev_httpconnection_close (lua_State *L) {
  lev_Client *c = luaL_checkudata(L, 1, LEV_HTTPCONNECTION);
  lua_settop(L, 1);
  if (c->o.base) {
    disconnect(c);
    c->busy = false;
    c->first = c->last + 1;
    for (int uv = LEV_CLIENTQUEUE; uv <= LEV_CLIENTBUFFEREVENT; uv++) {
      lua_pushnil(L);
      lua_setiuservalue(L, 1, uv);
    }
  }
  return levL_close(L, &kind);
}

static int lev_httpconnection__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_HTTPCONNECTION);
  return levL_tostring(L, LEV_HTTPCONNECTION, o->base != NULL);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"peername", lev_httpconnection_peername},
  {"tls", lev_httpconnection_tls},
  {"base", lev_httpconnection_base},
  {"close", lev_httpconnection_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_httpconnection_close},
  {"__close", lev_httpconnection_close},
  {"__tostring", lev_httpconnection__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"http_connection", lev_base_http_connection},
  {NULL, NULL}
};

void levL_openclient (lua_State *L) {
  levL_newtype(L, LEV_HTTPCONNECTION, methods, metamethods);
  levL_openmake(L);
  levL_addmethods(L, LEV_BASE, constructors);
}
