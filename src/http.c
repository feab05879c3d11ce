/*
** http.c: a server of HTTP/1.1, in evhttp's words.
**
** libevent's own takes a whole body into memory before its handler runs, waits
** for ever for the rest of a request, and can be led to read two requests where
** there is one. So this one is ours: its connections are streams on
** bufferevents, its handlers get a request when its head is there, or all of
** it.
**
** It is anchored while it has connections; its listeners are objects of their
** own, which hold it.
*/
#include "lev_http.h"

#include <limits.h>
#include <string.h>

/* {==== Kind and accessors ==== */

static bool isactive (const lev_Object *o) {
  const lev_Http *http = (const lev_Http *)o;
  return http->nstreams > 0 || http->waits || http->full;
}

/* Its connections end with it. */
static void freehttp (lev_Object *o) {
  lev_Http *http = (lev_Http *)o;
  while (http->streams.next != &http->streams)
    levL_free(&http->streams.next->b->o);
  event_del(&http->tick);
}

static const lev_Kind kind = {
  .tname = LEV_HTTP, .active = isactive, .free = freehttp
};

lev_Http *levL_checkhttp (lua_State *L, int arg) {
  return levL_checkopen(L, arg, &kind);
}

/* ====} */

/* {==== Options ==== */

#define MAXSIZE (1 << 30)
#define USUAL 127             /* the methods from GET to PATCH */

/* A number of bytes or things in a field of an option's value; false is 0. */
static lua_Integer optnumber (lua_State *L, int arg, lua_Integer min) {
  if (levL_isfalse(L, -1))
    return 0;
  return levL_range(L, -1, arg, min, MAXSIZE);
}

/* The same, as a limit that is always there. */
static size_t optlimit (lua_State *L, int arg) {
  lua_Integer n = optnumber(L, arg, 1);
  return n ? (size_t)n : (size_t)MAXSIZE;
}

static const char *const timenames[] = {
  "header_timeout", "body_timeout", "idle_timeout", "write_timeout", NULL
};

static void settimes (lua_State *L, int arg, lev_Http *http) {
  for (int i = 0; i < LEV_NTIMES; i++) {
    if (levL_option(L, arg, timenames[i]))
      levL_timeout(L, arg, &http->times[i]);
    lua_pop(L, 2);
  }
}

/* [-1] string, or false: none, which stays with the server at 'http' */
static void settype (lua_State *L, int arg, int idx, lev_Http *http) {
  size_t n = 0;
  const char *s = NULL;
  if (!levL_isfalse(L, -1)) {
    if (lua_type(L, -1) != LUA_TSTRING)
      levL_expected(L, -1, arg, "string or false");
    s = lua_tolstring(L, -1, &n);
    luaL_argcheck(L, levL_isvalue(s, n), arg,
                  "a header value has no control characters");
  }
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, idx, LEV_UVCONTENTTYPE);
  http->type = s;
  http->ntype = n;
}

static void setsizes (lua_State *L, int arg, lev_Http *http) {
  if (levL_option(L, arg, "max_line_size"))
    http->limits.line = optlimit(L, arg);
  if (levL_option(L, arg, "max_headers_size"))
    http->limits.fields = optlimit(L, arg);
  if (levL_option(L, arg, "max_headers")) {
    lua_Integer n = optnumber(L, arg, 1);
    http->limits.count = n ? (unsigned)n : UINT_MAX;
  }
  if (levL_option(L, arg, "max_body_size")) {
    if (levL_isfalse(L, -1))
      http->most = UINT64_MAX;
    else
      http->most = (uint64_t)levL_range(L, -1, arg, 0, INT64_MAX / 2);
  }
  if (levL_option(L, arg, "max_connections"))
    http->maxstreams = (int)optnumber(L, arg, 1);
  if (levL_option(L, arg, "allowed_methods"))
    http->methods = (unsigned)levL_words(L, -1, arg, levL_methodwords);
}

/* [2] options: a new server's */
static void setoptions (lua_State *L, int idx, lev_Http *http) {
  static const char *const names[] = {
    "max_line_size", "max_headers_size", "max_headers", "max_body_size",
    "header_timeout", "body_timeout", "idle_timeout", "write_timeout",
    "max_connections", "allowed_methods", "default_content_type", "tls", NULL
  };
  levL_checkoptions(L, 2, names);
  luaL_checkstack(L, 24, NULL);
  setsizes(L, 2, http);
  settimes(L, 2, http);
  if (!levL_option(L, 2, "default_content_type"))
    lua_pushliteral(L, "text/html; charset=utf-8");
  settype(L, 2, idx, http);
  levL_optservertls(L, 2);
  lua_setiuservalue(L, idx, LEV_UVTLS);
  lua_settop(L, idx);
}

/* ====} */

/* {==== Constructor ==== */

/* base:http([options]) -> http */
static int lev_base_http (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  static const struct timeval times[LEV_NTIMES] = {
    {30, 0}, {30, 0}, {60, 0}, {30, 0}
  };
  lev_Http *http;
  lua_settop(L, 2);
  http = levL_newobject(L, 1, &kind, sizeof(*http), LEV_NUVHTTP);   /* 3 */
  http->limits.line = 8192;
  http->limits.fields = 16384;
  http->limits.count = 100;
  http->most = 1 << 20;
  http->methods = USUAL;
  memcpy(http->times, times, sizeof(times));
  http->streams.prev = http->streams.next = &http->streams;
  setoptions(L, 3, http);
  lua_newtable(L);
  lua_setiuservalue(L, 3, LEV_UVHANDLERS);
  lua_newtable(L);
  lua_setiuservalue(L, 3, LEV_UVLISTENERS);
  levL_checkbase(L, 1);
  event_assign(&http->tick, base->event_base, -1, 0, levL_ontick, http);
  levL_adopt(base, &http->o);
  return 1;
}

/* ====} */

/* {==== Sockets ==== */

/* [3] options: pushes them, with the server's TLS unless they have one. */
static void pushoptions (lua_State *L) {
  if (lua_getiuservalue(L, 1, LEV_UVTLS) == LUA_TNIL || levL_option(L, 3, "tls")
      || !(lua_isnil(L, 3) || lua_istable(L, 3))) {
    lua_pushvalue(L, 3);
    return;
  }
  lua_newtable(L);
  if (lua_istable(L, 3)) {
    int copy = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, 3); ) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, copy);
    }
  }
  lua_getiuservalue(L, 1, LEV_UVTLS);
  lua_setfield(L, -2, "tls");
}

/* http:bind_socket(address or fd [, options])
   -> listener | nil, message, errno */
static int lev_http_bind_socket (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  lua_settop(L, 3);
  pushoptions(L);
  lua_replace(L, 3);
  lua_settop(L, 3);
  lua_getiuservalue(L, 1, LEV_UVBASE);                    /* 4 */
  levL_pushmethod(L, 4, "listener");
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, levL_accepted, 1);
  lua_pushvalue(L, 3);
  lua_call(L, 4, LUA_MULTRET);
  if (lua_isnil(L, 5))
    return lua_gettop(L) - 4;
  http->stopping = false;
  lua_getiuservalue(L, 1, LEV_UVLISTENERS);
  lua_pushvalue(L, 5);
  lua_rawseti(L, 6, (lua_Integer)lua_rawlen(L, 6) + 1);
  if (http->full)
    levL_eachlistener(L, 1, "disable");
  lua_settop(L, 5);
  return 1;
}

/* ====} */

static int done (lua_State *L) {
  lua_settop(L, 1);
  return 1;
}

/* {==== Settings ==== */

/* http:set_allowed_methods(methods) -> http */
static int lev_http_set_allowed_methods (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  http->methods = (unsigned)levL_checkwords(L, 2, levL_methodwords);
  return done(L);
}

/* The clock goes by the new times from now on. */
static int retimed (lua_State *L, lev_Http *http) {
  if (http->nstreams > 0)
    levL_wind(http);
  return done(L);
}

/* Is there none, in one of its ways to say so? */
static bool isnone (lua_State *L, int arg) {
  return lua_isnoneornil(L, arg) || levL_isfalse(L, arg);
}

/* http:set_timeout([seconds]) -> http */
static int lev_http_set_timeout (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  struct timeval tv = {0, 0};
  lua_settop(L, 2);
  if (!isnone(L, 2))
    levL_timeout(L, 2, &tv);
  for (int i = 0; i < LEV_NTIMES; i++)
    http->times[i] = tv;
  return retimed(L, http);
}

/* http:set_timeouts(options) -> http */
static int lev_http_set_timeouts (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  lev_Http copy = *http;
  luaL_checktype(L, 2, LUA_TTABLE);
  levL_checkoptions(L, 2, timenames);
  settimes(L, 2, &copy);
  memcpy(http->times, copy.times, sizeof(copy.times));
  return retimed(L, http);
}

/* http:set_max_headers_size(bytes) -> http */
static int lev_http_set_max_headers_size (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  http->limits.fields = (size_t)levL_range(L, 2, 2, 1, MAXSIZE);
  return done(L);
}

/* http:set_max_body_size([bytes]) -> http */
static int lev_http_set_max_body_size (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  http->most = isnone(L, 2) ? UINT64_MAX
               : (uint64_t)levL_range(L, 2, 2, 0, INT64_MAX / 2);
  return done(L);
}

/* http:set_default_content_type([type]) -> http */
static int lev_http_set_default_content_type (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  lua_settop(L, 2);
  if (isnone(L, 2)) {
    lua_pushboolean(L, false);
    lua_replace(L, 2);
  }
  settype(L, 2, 1, http);
  return done(L);
}

/* http:set_max_connections([n]) -> http */
static int lev_http_set_max_connections (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  http->maxstreams = isnone(L, 2) ? 0
                     : (int)levL_range(L, 2, 2, 1, MAXSIZE);
  if (http->full)
    event_active(&http->tick, EV_TIMEOUT, 1);
  return done(L);
}

/* ====} */

/* {==== The end ==== */

/* http:connection_count() -> count */
static int lev_http_connection_count (lua_State *L) {
  lua_pushinteger(L, levL_checkhttp(L, 1)->nstreams);
  return 1;
}

/* http:stop([cb]) -> http */
static int lev_http_stop (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  levL_optcallback(L, 2);
  lua_settop(L, 2);
  levL_anchor(L, 1, &http->o);
  lua_setiuservalue(L, 1, LEV_UVSTOPCB);
  http->stopping = http->waits = true;
  http->full = false;
  levL_eachlistener(L, 1, "close");
  lua_newtable(L);
  lua_setiuservalue(L, 1, LEV_UVLISTENERS);
  levL_stopstreams(http);
  if (http->nstreams == 0)
    event_active(&http->tick, EV_TIMEOUT, 1);
  return done(L);
}

/* http:base() -> base */
static int lev_http_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* http:close() -> http */
static int lev_http_close (lua_State *L) {
  lev_Http *http = luaL_checkudata(L, 1, LEV_HTTP);
  lua_settop(L, 1);
  if (http->o.base) {
    levL_eachlistener(L, 1, "close");
    while (http->o.base && http->streams.next != &http->streams)
      levL_drop(&http->streams.next->b->o);
  }
  return levL_close(L, &kind);
}

static int lev_http__gc (lua_State *L) {
  return levL_close(L, &kind);
}

static int lev_http__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_HTTP);
  return levL_tostring(L, LEV_HTTP, o->base != NULL);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"bind_socket", lev_http_bind_socket},
  {"set_allowed_methods", lev_http_set_allowed_methods},
  {"set_timeout", lev_http_set_timeout},
  {"set_timeouts", lev_http_set_timeouts},
  {"set_max_headers_size", lev_http_set_max_headers_size},
  {"set_max_body_size", lev_http_set_max_body_size},
  {"set_default_content_type", lev_http_set_default_content_type},
  {"set_max_connections", lev_http_set_max_connections},
  {"connection_count", lev_http_connection_count},
  {"stop", lev_http_stop},
  {"base", lev_http_base},
  {"close", lev_http_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_http__gc},
  {"__close", lev_http_close},
  {"__tostring", lev_http__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"http", lev_base_http},
  {NULL, NULL}
};

/* [-1] the module */
void levL_openhttp (lua_State *L) {
  levL_initparser();
  levL_openrequest(L);
  levL_openreply(L);
  levL_openclient(L);
  levL_newtype(L, LEV_HTTP, methods, metamethods);
  levL_openroute(L);
  levL_addmethods(L, LEV_BASE, constructors);
}

