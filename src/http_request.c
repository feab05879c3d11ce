/*
** http_request.c: the HttpRequest: a message that has come, and the one that
** answers it.
**
** It is not anchored as long as only a script can go on with it: one that is
** dropped unanswered is garbage, and its end is an answer, too. While its
** body comes for it the connection keeps it. It is found by its address
** in a weak table: a stream knows no more of it than that.
*/
#include "lev_http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CALLBACKS = 1, NUSERVALUES = CALLBACKS };

static const char key;        /* registry: requests by their addresses */

/* {==== Kind and accessors ==== */

static bool isactive (const lev_Object *o) {
  (void)o;
  return false;               /* its connection keeps it, if anybody does */
}

static const lev_Kind kind = {.tname = LEV_HTTPREQUEST, .active = isactive};

/* A request, over or not. */
lev_Request *levL_checkrequest (lua_State *L, int arg) {
  return levL_checkobject(L, arg, &kind);
}

/* One whose head is there. */
static lev_Request *checkarrived (lua_State *L) {
  lev_Request *r = levL_checkrequest(L, 1);
  luaL_argcheck(L, r->text, 1, "there is no answer yet");
  return r;
}

/* Pushes a request with room for 'n' bytes of text. It has no finalizer yet:
   most are over when their handler returns, and need none, which takes as much
   time as all else that is done for them. */
lev_Request *levL_newrequest (lua_State *L, size_t n) {
  lev_Request *r = lua_newuserdatauv(L, sizeof(*r) + n, NUSERVALUES);
  memset(r, 0, sizeof(*r));
  r->o.stamp = levL_secret;
  r->o.kind = &kind;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kind);
  lua_setmetatable(L, -2);
  levL_collect(L);
  return r;
}

/* Gives the one at 'req' its finalizer: somebody else is told when it is
   garbage, or has to free what it holds. Never raises. */
void levL_guardrequest (lua_State *L, int req) {
  req = lua_absindex(L, req);
  luaL_getmetatable(L, LEV_HTTPREQUEST);
  lua_setmetatable(L, req);
}

static void pushrequests (lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
}

/* Pushes it if the script can have it, else nil. */
bool levL_pushrequest (lua_State *L, const lev_Request *r) {
  bool is;
  pushrequests(L);
  is = lua_rawgetp(L, -1, r) == LUA_TUSERDATA;
  lua_remove(L, -2);
  return is;
}

/* Pushes a callback of it, and it; false if it has gone. */
bool levL_pushrequestcb (lua_State *L, const lev_Request *r, int k) {
  if (!levL_pushrequest(L, r))
    return false;
  levL_getrequestcb(L, -1, k);
  lua_insert(L, -2);
  return true;
}

/* From now on levL_pushrequest finds the one at 'req'. */
void levL_remember (lua_State *L, int req) {
  req = lua_absindex(L, req);
  pushrequests(L);
  lua_pushvalue(L, req);
  lua_rawsetp(L, -2, lua_touserdata(L, req));
  lua_pop(L, 1);
}

/* [cb] callback or nil, of the request at 'req' */
void levL_setrequestcb (lua_State *L, int req, int k, int cb) {
  req = lua_absindex(L, req);
  cb = lua_absindex(L, cb);
  if (lua_getiuservalue(L, req, CALLBACKS) != LUA_TTABLE) {
    if (lua_isnil(L, cb)) {
      lua_pop(L, 1);
      return;
    }
    lua_pop(L, 1);
    levL_guardrequest(L, req);
    levL_remember(L, req);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, req, CALLBACKS);
  }
  lua_pushvalue(L, cb);
  lua_rawseti(L, -2, k);
  lua_pop(L, 1);
}

int levL_getrequestcb (lua_State *L, int req, int k) {
  if (lua_getiuservalue(L, req, CALLBACKS) == LUA_TTABLE) {
    lua_rawgeti(L, -1, k);
    lua_replace(L, -2);
  }
  return lua_type(L, -1);
}

/* The world's refusal of what needs a connection. */
int levL_gone (lua_State *L) {
  return levL_refuse(L, ECONNRESET, NULL);
}

void levL_droppart (lev_Request *r) {
  if (r->part)
    evbuffer_free(r->part);
  r->part = NULL;
}

/* What came of it stays; the connection goes on without it. */
void levL_releaserequest (lev_Request *r) {
  if (r->stream)
    r->peer = r->stream->peer;
  if (r->stream && r->stream->req == r)
    r->stream->req = NULL;
  r->stream = NULL;
  r->o.base = NULL;
  levL_freetext(&r->fields);
  levL_droppart(r);
}

/* ====} */

/* {==== Lists of names and values ==== */

/* [-3] list, [-2] name, [-1] value: a pair at the end of the list, and the
   first value of a name under it */
static void addpair (lua_State *L, lua_Integer i) {
  int list = lua_gettop(L) - 2;
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, list + 1);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, list + 2);
  lua_rawseti(L, -2, 2);
  lua_rawseti(L, list, i);
  lua_pushvalue(L, list + 1);
  if (lua_rawget(L, list) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_rawset(L, list);
  }
  else
    lua_pop(L, 3);
}

void levL_pushlower (lua_State *L, const char *s, size_t n) {
  luaL_Buffer B;
  char *p = luaL_buffinitsize(L, &B, n);
  for (size_t i = 0; i < n; i++)
    p[i] = levL_lower(s[i]);
  luaL_pushresultsize(&B, n);
}

/* Pushes a list of fields. Header names are the same in any case: they are in
   lower case here. */
static int pushfields (lua_State *L, const char *p) {
  lev_Field f;
  lua_newtable(L);
  for (lua_Integer i = 1; p && levL_nextfield(&p, &f); i++) {
    levL_pushlower(L, f.name, f.nname);
    lua_pushlstring(L, f.value, f.nvalue);
    addpair(L, i);
  }
  return 1;
}

/* Decodes a part of a query: what is no escape stays as it is. */
static void pushdecoded (lua_State *L, const char *s, size_t n) {
  luaL_Buffer B;
  char *p = luaL_buffinitsize(L, &B, n);
  size_t len = 0;
  for (size_t i = 0; i < n; i++) {
    int c = levL_unescape(s + i, n - i);
    if (c >= 0)
      i += 2;
    else
      c = s[i] == '+' ? ' ' : (unsigned char)s[i];
    p[len++] = (char)c;
  }
  luaL_pushresultsize(&B, len);
}

/* The next part of a query that is not empty: its name, and its value, which
   begins where the name ends if it has none. */
static bool nextpair (const char **p, const char *end, lev_Field *f) {
  while (*p < end) {
    const char *amp = memchr(*p, '&', (size_t)(end - *p));
    const char *stop = amp ? amp : end;
    const char *from = *p;
    const char *eq = memchr(from, '=', (size_t)(stop - from));
    *p = amp ? amp + 1 : end;
    f->name = from;
    f->nname = (size_t)((eq ? eq : stop) - from);
    f->value = eq ? eq + 1 : stop;
    f->nvalue = (size_t)(stop - f->value);
    if (stop > from)
      return true;
  }
  return false;
}

static int pushquery (lua_State *L, const char *s, size_t n) {
  const char *end = s + n;
  lev_Field f;
  lua_newtable(L);
  for (lua_Integer i = 1; nextpair(&s, end, &f); i++) {
    pushdecoded(L, f.name, f.nname);
    pushdecoded(L, f.value, f.nvalue);
    addpair(L, i);
  }
  return 1;
}

/* ====} */

/* {==== What came ==== */

static int pushspan (lua_State *L, const lev_Request *r, lev_Span span) {
  lua_pushlstring(L, r->text + span.at, span.len);
  return 1;
}

/* httprequest:command() -> method */
static int lev_httprequest_command (lua_State *L) {
  const lev_Request *r = levL_checkrequest(L, 1);
  if (!r->method[0])
    return pushspan(L, r, r->head.method);
  lua_pushstring(L, r->method);
  return 1;
}

/* httprequest:uri() -> uri */
static int lev_httprequest_uri (lua_State *L) {
  const lev_Request *r = levL_checkrequest(L, 1);
  if (!r->method[0])
    return pushspan(L, r, r->head.target);
  levL_getrequestcb(L, 1, LEV_URI);
  return 1;
}

/* A request that has come to a server. */
lev_Request *levL_checkasked (lua_State *L) {
  lev_Request *r = levL_checkrequest(L, 1);
  luaL_argcheck(L, r->text && !r->head.response, 1,
                "a request to a server expected");
  return r;
}

/* Pushes the path of a request, decoded; false and nothing if it is none. */
bool levL_pushpath (lua_State *L, const char *text, const lev_Head *h) {
  const char *s = text + h->path.at;
  size_t n = h->path.len;
  luaL_Buffer B;
  long len;
  if (n > 0 && *s == '/' && memchr(s, '%', n) == NULL
      && memchr(s, '.', n) == NULL) {
    lua_pushlstring(L, s, n);
    return true;
  }
  len = levL_decodepath(s, n, luaL_buffinitsize(L, &B, n + 1));
  luaL_pushresultsize(&B, len < 0 ? 0 : (size_t)len);
  if (len < 0)
    lua_pop(L, 1);
  return len >= 0;
}

/* httprequest:path() -> path */
static int lev_httprequest_path (lua_State *L) {
  const lev_Request *r = levL_checkasked(L);
  levL_pushpath(L, r->text, &r->head);
  return 1;
}

/* httprequest:query_string() -> query | nil */
static int lev_httprequest_query_string (lua_State *L) {
  const lev_Request *r = levL_checkasked(L);
  if (r->head.query.at > 0)
    return pushspan(L, r, r->head.query);
  lua_pushnil(L);
  return 1;
}

/* Pushes the values that a name has in a query; nil if there are none. */
static int pushvalues (lua_State *L, int name, const char *s, size_t n) {
  int top = lua_gettop(L);
  const char *end = s + n;
  lev_Field f;
  while (nextpair(&s, end, &f)) {
    luaL_checkstack(L, 4, NULL);
    pushdecoded(L, f.name, f.nname);
    if (lua_rawequal(L, -1, name))
      pushdecoded(L, f.value, f.nvalue);
    else
      lua_pushnil(L);
    lua_remove(L, -2);
    if (lua_isnil(L, -1))
      lua_pop(L, 1);
  }
  if (lua_gettop(L) == top)
    lua_pushnil(L);
  return lua_gettop(L) - top;
}

/* httprequest:query([name]) -> list or value... */
static int lev_httprequest_query (lua_State *L) {
  const lev_Request *r = levL_checkasked(L);
  const char *s = r->text + r->head.query.at;
  if (lua_isnoneornil(L, 2))
    return pushquery(L, s, r->head.query.len);
  luaL_checktype(L, 2, LUA_TSTRING);
  return pushvalues(L, 2, s, r->head.query.len);
}

/* httprequest:version() -> version */
static int lev_httprequest_version (lua_State *L) {
  lua_pushstring(L, checkarrived(L)->head.minor > 0 ? "1.1" : "1.0");
  return 1;
}

/* httprequest:host() -> host | nil */
static int lev_httprequest_host (lua_State *L) {
  const lev_Request *r = levL_checkasked(L);
  if (r->head.host.len > 0)
    levL_pushlower(L, r->text + r->head.host.at, r->head.host.len);
  else
    lua_pushnil(L);
  return 1;
}

/* httprequest:find_header(name) -> value... */
static int lev_httprequest_find_header (lua_State *L) {
  const lev_Request *r = checkarrived(L);
  size_t n;
  const char *name = luaL_checklstring(L, 2, &n);
  const char *p = r->text + r->head.fields;
  lev_Field f;
  int count = 0;
  while (levL_findfield(&p, name, n, &f)) {
    luaL_checkstack(L, 1, NULL);
    lua_pushlstring(L, f.value, f.nvalue);
    count++;
  }
  if (count == 0)
    lua_pushnil(L);
  return count ? count : 1;
}

/* httprequest:headers() -> list */
static int lev_httprequest_headers (lua_State *L) {
  const lev_Request *r = checkarrived(L);
  return pushfields(L, r->text + r->head.fields);
}

/* httprequest:trailers() -> list */
static int lev_httprequest_trailers (lua_State *L) {
  return pushfields(L, checkarrived(L)->trailers);
}

/* httprequest:response_code() -> status */
static int lev_httprequest_response_code (lua_State *L) {
  const lev_Request *r = levL_checkrequest(L, 1);
  int status = r->text && r->head.response ? r->head.status : r->status;
  if (status)
    lua_pushinteger(L, status);
  else
    lua_pushnil(L);
  return 1;
}

/* httprequest:response_code_line() -> reason */
static int lev_httprequest_response_code_line (lua_State *L) {
  const lev_Request *r = checkarrived(L);
  luaL_argcheck(L, r->head.response, 1, "an answer to a client expected");
  return pushspan(L, r, r->head.reason);
}

/* httprequest:input_buffer() -> buffer */
static int lev_httprequest_input_buffer (lua_State *L) {
  lev_Request *r = levL_checkrequest(L, 1);
  struct evbuffer *buf;
  lua_settop(L, 1);
  if (levL_getrequestcb(L, 1, LEV_BODY) == LUA_TNIL) {
    lua_pop(L, 1);
    levL_newbuffer(L);
    levL_setrequestcb(L, 1, LEV_BODY, 2);
  }
  buf = levL_tobuffer(L, 2);
  if (r->body && buf && evbuffer_add_buffer(buf, r->body) < 0)
    levL_nomemory(L);
  return 1;
}

static struct evbuffer *checkbody (lua_State *L, int arg) {
  lev_Request *r = levL_checkrequest(L, arg);
  struct evbuffer *buf = NULL;
  if (levL_getrequestcb(L, arg, LEV_BODY) == LUA_TUSERDATA)
    buf = levL_tobuffer(L, -1);
  lua_pop(L, 1);
  return buf && evbuffer_get_length(buf) > 0 ? buf : r->body;
}

/* httprequest:body() -> string */
static int lev_httprequest_body (lua_State *L) {
  struct evbuffer *buf = checkbody(L, 1);
  size_t n = buf ? evbuffer_get_length(buf) : 0;
  luaL_Buffer B;
  char *p;
  if (n == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  p = luaL_buffinitsize(L, &B, n);
  buf = checkbody(L, 1);      /* again: a finalizer can have run */
  if (buf == NULL || evbuffer_copyout(buf, p, n) < (ev_ssize_t)n)
    luaL_error(L, "a finalizer has taken from the body");
  luaL_pushresultsize(&B, n);
  return 1;
}

/* httprequest:peername() -> address | nil, message, errno */
static int lev_httprequest_peername (lua_State *L) {
  const lev_Request *r = levL_checkrequest(L, 1);
  const lev_Peer *peer = r->stream ? &r->stream->peer : &r->peer;
  if (peer->sa.sa_family == AF_UNSPEC)
    return levL_refuse(L, ENOTCONN, NULL);
  if (peer->sa.sa_family == AF_UNIX)
    lua_pushliteral(L, "unix:");
  else
    levL_pushaddress(L, &peer->sa, sizeof(*peer));
  return 1;
}

static lev_Bufferevent *bufferevent (lua_State *L) {
  const lev_Request *r = levL_checkrequest(L, 1);
  return r->stream ? r->stream->b : NULL;
}

/* httprequest:tls() -> session | nil */
static int lev_httprequest_tls (lua_State *L) {
  return levL_pushtls(L, bufferevent);
}

/* httprequest:base() -> base | nil, message, errno */
static int lev_httprequest_base (lua_State *L) {
  const lev_Request *r = levL_checkrequest(L, 1);
  if (r->o.base == NULL)
    return levL_gone(L);
  levL_pushbase(L, r->o.base);
  return 1;
}

/* ====} */

/* {==== A body as it comes ==== */

/* Does anybody want the next piece of a body now? One of nobody's is read to
   come to what is behind it. */
bool levL_iswanted (const lev_Request *r) {
  return r == NULL || !r->streams || (r->chunked && !r->paused);
}

/* Does the connection have something for its callbacks yet? */
static bool keeps (const lev_Request *r) {
  const lev_Stream *s = r->stream;
  return s && s->req == r && s->in != LEV_INNOTHING && s->in != LEV_INHEAD
         && levL_iswanted(r);
}

/* Has the connection keep the request at 'req', or not, while its body comes.
   What can raise comes first. */
void levL_keeprequest (lua_State *L, int req) {
  lev_Request *r = lua_touserdata(L, req);
  int top = lua_gettop(L);
  req = lua_absindex(L, req);
  if (keeps(r) == r->held || r->stream == NULL || r->method[0])
    return;                   /* a client's connection keeps it anyway */
  if (keeps(r))
    levL_remember(L, req);
  if (r->stream && levL_find(L, &r->stream->b->o)) {    /* top+2 */
    levL_needmore(L, top + 2);
    r->held = keeps(r);
    if (r->held)
      lua_pushvalue(L, req);
    else
      lua_pushnil(L);
    levL_setmore(L, top + 2, LEV_REQUEST);
  }
  lua_settop(L, top);
}

/* A body that came whole and is let go of; no callback of it comes. */
static lev_Request *checkstreamed (lua_State *L) {
  lev_Request *r = levL_checkrequest(L, 1);
  luaL_argcheck(L, r->streams, 1, "its body is not streamed");
  return r;
}

/* Its connection reads on, or has something to give already. */
static void changed (lua_State *L, lev_Request *r) {
  lev_Stream *s = r->stream;
  levL_keeprequest(L, 1);
  if (s && r->stream == s) {
    s->role->wanted(s);
    if (r->stream == s)
      levL_again(s);
  }
  lua_settop(L, 1);
}

/* httprequest:set_chunked_cb([cb]) -> httprequest */
static int lev_httprequest_set_chunked_cb (lua_State *L) {
  lev_Request *r = checkstreamed(L);
  levL_optcallback(L, 2);
  lua_settop(L, 2);
  levL_setrequestcb(L, 1, LEV_CHUNKEDCB, 2);
  r->chunked = !lua_isnil(L, 2);
  changed(L, r);
  return 1;
}

/* httprequest:pause() -> httprequest */
static int lev_httprequest_pause (lua_State *L) {
  lev_Request *r = checkstreamed(L);
  lua_settop(L, 1);
  r->paused = true;
  levL_keeprequest(L, 1);
  if (r->stream && !r->stream->running)
    levL_pace(r->stream);
  return 1;
}

/* httprequest:resume() -> httprequest */
static int lev_httprequest_resume (lua_State *L) {
  lev_Request *r = checkstreamed(L);
  lua_settop(L, 1);
  r->paused = false;
  changed(L, r);
  return 1;
}

/* httprequest:set_closecb([cb]) -> httprequest */
static int lev_httprequest_set_closecb (lua_State *L) {
  lev_Request *r = levL_checkasked(L);
  levL_optcallback(L, 2);
  lua_settop(L, 2);
  levL_setrequestcb(L, 1, LEV_CLOSECB, 2);
  r->closes = !lua_isnil(L, 2);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== The end ==== */

static void freerequest (lev_Request *r) {
  levL_releaserequest(r);
  if (r->body)
    evbuffer_free(r->body);
  free(r->trailers);
  free(r->answer);
  r->body = NULL;
  r->text = r->trailers = r->answer = NULL;
}

/* httprequest:close() -> httprequest */
static int lev_httprequest_close (lua_State *L) {
  lev_Request *r = levL_checkrequest(L, 1);
  if (r->stream)
    r->stream->role->closed(r->stream);
  r->gone = true;
  levL_releaserequest(r);
  lua_settop(L, 1);
  return 1;
}

/* Nobody has it any more, and nobody has answered it. */
static int lev_httprequest__gc (lua_State *L) {
  lev_Request *r = luaL_checkudata(L, 1, LEV_HTTPREQUEST);
  if (r->stream)
    r->stream->role->failed(r->stream);
  freerequest(r);
  return 0;
}

static int lev_httprequest__tostring (lua_State *L) {
  lev_Request *r = levL_checkrequest(L, 1);
  return levL_tostring(L, LEV_HTTPREQUEST, r->stream != NULL);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"command", lev_httprequest_command},
  {"uri", lev_httprequest_uri},
  {"path", lev_httprequest_path},
  {"query_string", lev_httprequest_query_string},
  {"query", lev_httprequest_query},
  {"version", lev_httprequest_version},
  {"host", lev_httprequest_host},
  {"find_header", lev_httprequest_find_header},
  {"headers", lev_httprequest_headers},
  {"trailers", lev_httprequest_trailers},
  {"response_code", lev_httprequest_response_code},
  {"response_code_line", lev_httprequest_response_code_line},
  {"input_buffer", lev_httprequest_input_buffer},
  {"body", lev_httprequest_body},
  {"peername", lev_httprequest_peername},
  {"tls", lev_httprequest_tls},
  {"base", lev_httprequest_base},
  {"set_chunked_cb", lev_httprequest_set_chunked_cb},
  {"pause", lev_httprequest_pause},
  {"resume", lev_httprequest_resume},
  {"set_closecb", lev_httprequest_set_closecb},
  {"close", lev_httprequest_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_httprequest__gc},
  {"__close", lev_httprequest_close},
  {"__tostring", lev_httprequest__tostring},
  {NULL, NULL}
};

void levL_openrequest (lua_State *L) {
  static const char *const shared[] = {
    "__index", "__close", "__tostring", "__name", "__metatable", NULL
  };
  levL_newtype(L, LEV_HTTPREQUEST, methods, metamethods);
  lua_newtable(L);            /* the same without a finalizer */
  for (const char *const *name = shared; *name; name++) {
    luaL_getmetatable(L, LEV_HTTPREQUEST);
    lua_getfield(L, -1, *name);
    lua_setfield(L, -3, *name);
    lua_pop(L, 1);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kind);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
    levL_newweak(L, "v");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  }
  lua_pop(L, 1);
}
