/*
** http_make.c: what a client asks: the request that make_request puts into the
** queue of its connection, whole before it is there.
*/
#include "lev_http.h"

#include <stdlib.h>
#include <string.h>

/* [4] options: how the body comes, if it does not come with them. */
static void checkbody (lua_State *L, lev_Request *r, int req) {
  if (levL_option(L, 4, "body")) {
    levL_checkdata(L, lua_gettop(L), lua_gettop(L));
    levL_setrequestcb(L, req, LEV_OUTBODY, lua_gettop(L));
    r->idempotent = r->idempotent && lua_type(L, -1) == LUA_TSTRING;
  }
  if (levL_option(L, 4, "stream")) {
    levL_checkcallback(L, lua_gettop(L));
    levL_setrequestcb(L, req, LEV_STREAMCB, lua_gettop(L));
    r->idempotent = false;
  }
  luaL_argcheck(L, lua_isnil(L, -1) || lua_isnil(L, -3), 4,
                "either body or stream");
  lua_pop(L, 4);
}

static void optcb (lua_State *L, const char *name, int req, int k) {
  if (levL_option(L, 4, name)) {
    levL_checkcallback(L, lua_gettop(L));
    levL_setrequestcb(L, req, k, lua_gettop(L));
  }
  lua_pop(L, 2);
}

static void addhost (lua_State *L, const lev_Client *c, lev_Text *t) {
  const char *host;
  lua_getiuservalue(L, 1, LEV_CLIENTHOST);
  host = c->port ? lua_tostring(L, -1) : "localhost";
  levL_addword(t, strchr(host, ':') ? "Host: [" : "Host: ");
  levL_addword(t, host);
  if (strchr(host, ':'))
    levL_addword(t, "]");
  if (c->port && c->port != (c->tls ? 443 : 80)) {
    levL_addword(t, ":");
    levL_addnumber(t, (unsigned)c->port);
  }
  levL_addword(t, "\r\n");
  lua_pop(L, 1);
}

/* How many bytes of body go out with the request: -1 if a stream does. */
static int64_t outlength (lua_State *L, int req) {
  int top = lua_gettop(L);
  int64_t n = 0;
  if (levL_getrequestcb(L, req, LEV_STREAMCB) != LUA_TNIL)
    n = -1;
  else if (levL_getrequestcb(L, req, LEV_OUTBODY) != LUA_TNIL) {
    struct evbuffer *buf = levL_tobuffer(L, -1);
    n = (int64_t)(buf ? evbuffer_get_length(buf) : lua_rawlen(L, -1));
  }
  lua_settop(L, top);
  return n;
}

static bool hascontent (const char *method) {
  return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0
         || strcmp(method, "PATCH") == 0;
}

/* [1] client, [3] uri: the head of a request, from the script's fields. The
   length that they give must be the body's. */
static void makehead (lua_State *L, const lev_Client *c, lev_Request *r,
                      int req) {
  int64_t length = outlength(L, req);
  lev_Said said = levL_look(&r->fields);
  lev_Text t = {NULL, 0, 0, false, false};
  luaL_argcheck(L, !said.length || length < 0 || said.bytes == (uint64_t)length,
                4, "the body has not its Content-Length");
  r->isfinal = said.close;
  r->counted = said.length && length < 0;
  r->outleft = said.bytes;
  r->outchunked = length < 0 && !said.length;
  levL_addword(&t, r->method);
  levL_addword(&t, " ");
  levL_addtext(&t, lua_tostring(L, 3), lua_rawlen(L, 3));
  levL_addword(&t, " HTTP/1.1\r\n");
  if (!said.host)
    addhost(L, c, &t);
  levL_addtext(&t, r->fields.p, r->fields.n);
  if (r->outchunked)
    levL_addword(&t, "Transfer-Encoding: chunked\r\n");
  else if (!said.length && (length > 0 || hascontent(r->method))) {
    levL_addword(&t, "Content-Length: ");
    levL_addnumber(&t, (uint64_t)length);
    levL_addword(&t, "\r\n");
  }
  levL_addword(&t, "\r\n");
  levL_freetext(&r->fields);
  r->fields = t;
  if (t.failed)
    levL_nomemory(L);
}

static void checkmethod (lua_State *L, lev_Request *r) {
  static const char *const again[] = {
    "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", NULL
  };
  size_t n;
  const char *method = luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, levL_istoken(method, n) && n < sizeof(r->method), 2,
                "method expected");
  memcpy(r->method, method, n + 1);
  for (int i = 0; again[i]; i++)
    r->idempotent |= strcmp(method, again[i]) == 0;
}

/* httpconnection:make_request(method, uri, options or nil, cb)
   -> httprequest */
static int lev_httpconnection_make_request (lua_State *L) {
  static const char *const names[] = {
    "headers", "body", "stream", "header_cb", "chunked_cb", NULL
  };
  lev_Client *c = levL_checkclient(L);
  lev_Request *r;
  lua_settop(L, 5);
  luaL_checktype(L, 3, LUA_TSTRING);
  luaL_argcheck(L, levL_istarget(lua_tostring(L, 3), lua_rawlen(L, 3)), 3,
                "request target expected, with its spaces encoded");
  levL_checkoptions(L, 4, names);
  levL_checkcallback(L, 5);
  r = levL_newrequest(L, 0);                              /* 6 */
  checkmethod(L, r);
  levL_setrequestcb(L, 6, LEV_DONECB, 5);
  levL_setrequestcb(L, 6, LEV_URI, 3);
  optcb(L, "header_cb", 6, LEV_HEADERCB);
  optcb(L, "chunked_cb", 6, LEV_CHUNKEDCB);
  r->streams = r->chunked = levL_option(L, 4, "chunked_cb");
  checkbody(L, r, 6);
  if (levL_option(L, 4, "headers")) {
    if (!lua_istable(L, -1))
      levL_expected(L, -1, 4, "table of headers");
    lua_replace(L, 5);
    lua_settop(L, 6);
    levL_addfields(L, 5, &r->fields);
  }
  lua_settop(L, 6);
  makehead(L, c, r, 6);
  lua_getiuservalue(L, 1, LEV_CLIENTQUEUE);                         /* 7 */
  levL_checkclient(L);             /* again: a finalizer can have run */
  levL_anchor(L, 1, &c->o);
  lua_pushvalue(L, 6);
  lua_rawseti(L, 7, c->last + 1);
  c->last++;
  if (!c->busy)
    levL_schedule(c);
  lua_settop(L, 6);
  return 1;
}

static const luaL_Reg methods[] = {
  {"make_request", lev_httpconnection_make_request},
  {NULL, NULL}
};

void levL_openmake (lua_State *L) {
  levL_addmethods(L, LEV_HTTPCONNECTION, methods);
}
