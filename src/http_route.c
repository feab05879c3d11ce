/*
** http_route.c: who answers a request: the handler of its path, on the virtual
** host of its name.
**
** Paths are compared as Lua strings, decoded once: no escape and no NUL leads
** to another handler than it says. As in evhttp a name goes before any
** pattern, and what no path has goes to the general handler.
*/
#include "lev_http.h"

#include <string.h>

/* {==== Hosts of requests ==== */

/* Does a host fit a pattern, in which '*' is any text? What follows the last
   star that was met may begin later; what precedes it need not. */
static bool fits (const char *pattern, const char *host, size_t n) {
  const char *star = NULL, *end = host + n, *from = host;
  while (host < end) {
    if (*pattern == '*') {
      star = pattern++;
      from = host;
    }
    else if (*pattern == levL_lower(*host)) {
      pattern++;
      host++;
    }
    else if (star) {
      pattern = star + 1;
      host = ++from;
    }
    else
      return false;
  }
  while (*pattern == '*')
    pattern++;
  return *pattern == '\0';
}

/* [-1] server: is that one of its names? */
static bool isalias (lua_State *L, const char *host, size_t n) {
  int top = lua_gettop(L);
  bool is = false;
  if (lua_getiuservalue(L, top, LEV_UVALIASES) == LUA_TTABLE) {
    levL_pushlower(L, host, n);
    is = lua_rawget(L, -2) != LUA_TNIL;
  }
  lua_settop(L, top);
  return is;
}

/* Pushes a pattern and a server, the i-th virtual host of the one at 'http';
   one that is closed has none. False if there are no more. */
static bool pushvhost (lua_State *L, int http, lua_Integer i) {
  const lev_Http *vhost;
  if (lua_getiuservalue(L, http, LEV_UVHOSTED) != LUA_TTABLE
      || lua_rawgeti(L, -1, i) != LUA_TTABLE)
    return false;
  lua_replace(L, -2);
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  lua_remove(L, -3);
  vhost = lua_touserdata(L, -1);
  if (vhost->o.base == NULL) {
    lua_pushliteral(L, "");
    lua_replace(L, -3);
  }
  return true;
}

/* [-1] server: the one in its place that has this name itself, of it and all of
   its virtual hosts; false if there is none. */
static bool findalias (lua_State *L, const char *host, size_t n) {
  int http = lua_gettop(L);
  luaL_checkstack(L, 8, NULL);
  if (isalias(L, host, n))
    return true;
  for (lua_Integer i = 1; pushvhost(L, http, i); i++) {
    if (findalias(L, host, n)) {
      lua_replace(L, http);
      lua_settop(L, http);
      return true;
    }
    lua_settop(L, http);
  }
  lua_settop(L, http);
  return false;
}

/* [-1] server: a virtual host of it in its place whose pattern fits. */
static bool descend (lua_State *L, const char *host, size_t n) {
  int http = lua_gettop(L);
  for (lua_Integer i = 1; pushvhost(L, http, i); i++) {
    if (fits(lua_tostring(L, -2), host, n)) {
      lua_replace(L, http);
      lua_settop(L, http);
      return true;
    }
    lua_settop(L, http);
  }
  lua_settop(L, http);
  return false;
}

/* The server at 'http' becomes the one of its virtual hosts that is asked. */
static void findhost (lua_State *L, int http, const char *host, size_t n) {
  lua_pushvalue(L, http);
  if (!findalias(L, host, n))
    while (descend(L, host, n))
      ;
  lua_replace(L, http);
}

/* ====} */

/* {==== Routes ==== */

/* What is said of a route in LEV_UVROUTES: twice the bytes, -1 if none are
   said, and one more if its body is streamed. */
static void details (lev_Route *route, lua_Integer said) {
  route->streams = said & 1;
  if (said >> 1 >= 0)
    route->most = (uint64_t)(said >> 1);
  else if (route->streams)
    route->most = UINT64_MAX;
}

/* [1] server, [-1] path. Pushes the callback for a request in the place of its
   path, or nothing. */
lev_Route levL_findroute (lua_State *L, const char *text, const lev_Head *h) {
  int top = lua_gettop(L) - 1;
  const lev_Http *http = lua_touserdata(L, 1);
  lev_Route route = {false, false, 0};
  lua_pushvalue(L, 1);
  lua_insert(L, top + 1);                       /* top+1, the path is top+2 */
  if (http->hosted)
    findhost(L, top + 1, text + h->host.at, h->host.len);
  http = lua_touserdata(L, top + 1);
  route.most = http->most;
  lua_getiuservalue(L, top + 1, LEV_UVHANDLERS);          /* top+3 */
  lua_pushvalue(L, top + 2);
  if (lua_rawget(L, top + 3) == LUA_TNIL) {               /* top+4 */
    lua_pushinteger(L, 1);
    lua_replace(L, top + 2);
    lua_pop(L, 1);
    lua_getiuservalue(L, top + 1, LEV_UVGENCB);
  }
  route.found = !lua_isnil(L, top + 4);
  if (lua_getiuservalue(L, top + 1, LEV_UVROUTES) == LUA_TTABLE) {
    lua_pushvalue(L, top + 2);
    if (lua_rawget(L, -2) == LUA_TNUMBER)
      details(&route, lua_tointeger(L, -1));
  }
  lua_settop(L, top + 4);
  lua_replace(L, top + 1);
  lua_settop(L, route.found ? top + 1 : top);
  return route;
}

/* ====} */

/* {==== Callbacks ==== */

/* Options of a route at 'arg', as LEV_UVROUTES has them: -2 says nothing. */
static lua_Integer checkroute (lua_State *L, int arg) {
  static const char *const names[] = {"stream", "max_body_size", NULL};
  lua_Integer most = -1, streams = 0;
  levL_checkoptions(L, arg, names);
  if (levL_option(L, arg, "stream")) {
    if (!lua_isboolean(L, -1))
      levL_expected(L, -1, arg, "boolean");
    streams = lua_toboolean(L, -1);
  }
  if (levL_option(L, arg, "max_body_size")) {
    if (levL_isfalse(L, -1))
      most = INT64_MAX / 4;
    else
      most = levL_range(L, -1, arg, 0, INT64_MAX / 4);
  }
  lua_settop(L, arg);
  return most * 2 + streams;
}

/* [-1] key: what is said of it, in the table of such things */
static void setroute (lua_State *L, lua_Integer said) {
  int k = lua_gettop(L);
  if (lua_getiuservalue(L, 1, LEV_UVROUTES) != LUA_TTABLE) {
    if (said == -2) {
      lua_settop(L, k - 1);
      return;
    }
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, LEV_UVROUTES);
  }
  lua_pushvalue(L, k);
  if (said == -2)
    lua_pushnil(L);
  else
    lua_pushinteger(L, said);
  lua_rawset(L, k + 1);
  lua_settop(L, k - 1);
}

static int done (lua_State *L) {
  lua_settop(L, 1);
  return 1;
}

/* http:set_cb(path [, cb [, options]]) -> http */
static int lev_http_set_cb (lua_State *L) {
  lua_Integer said;
  levL_checkhttp(L, 1);
  luaL_checktype(L, 2, LUA_TSTRING);
  levL_optcallback(L, 3);
  lua_settop(L, 4);
  said = checkroute(L, 4);
  lua_pushvalue(L, 2);
  setroute(L, lua_isnil(L, 3) ? -2 : said);
  lua_getiuservalue(L, 1, LEV_UVHANDLERS);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_rawset(L, -3);
  return done(L);
}

/* http:del_cb(path) -> boolean */
static int lev_http_del_cb (lua_State *L) {
  bool had;
  levL_checkhttp(L, 1);
  luaL_checktype(L, 2, LUA_TSTRING);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, LEV_UVHANDLERS);                /* 3 */
  lua_pushvalue(L, 2);
  had = lua_rawget(L, 3) != LUA_TNIL;
  lua_pushvalue(L, 2);
  lua_pushnil(L);
  lua_rawset(L, 3);
  lua_pushvalue(L, 2);
  setroute(L, -2);
  lua_pushboolean(L, had);
  return 1;
}

/* http:set_gencb([cb [, options]]) -> http */
static int lev_http_set_gencb (lua_State *L) {
  lua_Integer said;
  levL_checkhttp(L, 1);
  levL_optcallback(L, 2);
  lua_settop(L, 3);
  said = checkroute(L, 3);
  lua_pushinteger(L, 1);
  setroute(L, said);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, LEV_UVGENCB);
  return done(L);
}

/* ====} */

/* {==== Hosts ==== */

/* A name or pattern of hosts, in lower case, in the place of the argument. */
static void checkname (lua_State *L, int arg) {
  size_t n;
  const char *s = luaL_checklstring(L, arg, &n);
  luaL_argcheck(L, n > 0 && n < 256 && memchr(s, '\0', n) == NULL, arg,
                "host name expected");
  levL_pushlower(L, s, n);
  lua_replace(L, arg);
}

/* Pushes a table that is one of the user values of [1]. */
static void needtable (lua_State *L, int uv) {
  if (lua_getiuservalue(L, 1, uv) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, uv);
  }
}

/* Is the server at [-1] the one at [1], or one of its virtual hosts? */
static bool contains (lua_State *L) {
  int http = lua_gettop(L);
  bool found = lua_rawequal(L, 1, http);
  luaL_checkstack(L, 8, NULL);
  if (lua_getiuservalue(L, http, LEV_UVHOSTED) == LUA_TTABLE) {
    for (lua_Integer i = 1;
         !found && lua_rawgeti(L, http + 1, i) == LUA_TTABLE; i++) {
      lua_rawgeti(L, -1, 2);
      found = contains(L);
      lua_settop(L, http + 1);
    }
  }
  lua_settop(L, http);
  return found;
}

/* http:add_virtual_host(pattern, vhost) -> http */
static int lev_http_add_virtual_host (lua_State *L) {
  lev_Http *http = levL_checkhttp(L, 1);
  lev_Http *vhost = levL_checkhttp(L, 3);
  lua_settop(L, 3);
  checkname(L, 2);
  luaL_argcheck(L, vhost->o.base == http->o.base, 3, "Http is of another base");
  luaL_argcheck(L, !contains(L), 3, "Http is its own virtual host");
  needtable(L, LEV_UVHOSTED);                             /* 4 */
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, 2);
  lua_rawseti(L, 5, 1);
  lua_pushvalue(L, 3);
  lua_rawseti(L, 5, 2);
  lua_rawseti(L, 4, (lua_Integer)lua_rawlen(L, 4) + 1);
  http->hosted = true;
  return done(L);
}

/* http:remove_virtual_host(vhost) -> boolean */
static int lev_http_remove_virtual_host (lua_State *L) {
  lua_Integer to = 0, n;
  levL_checkhttp(L, 1);
  luaL_checkudata(L, 2, LEV_HTTP);
  lua_settop(L, 2);
  needtable(L, LEV_UVHOSTED);                             /* 3 */
  n = (lua_Integer)lua_rawlen(L, 3);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 3, i);
    lua_rawgeti(L, 4, 2);
    if (!lua_rawequal(L, 5, 2)) {
      lua_pop(L, 1);
      lua_rawseti(L, 3, ++to);
    }
    lua_settop(L, 3);
  }
  for (lua_Integer i = to + 1; i <= n; i++) {
    lua_pushnil(L);
    lua_rawseti(L, 3, i);
  }
  lua_pushboolean(L, to < n);
  return 1;
}

/* http:add_server_alias(name) -> http */
static int lev_http_add_server_alias (lua_State *L) {
  levL_checkhttp(L, 1);
  lua_settop(L, 2);
  checkname(L, 2);
  needtable(L, LEV_UVALIASES);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, true);
  lua_rawset(L, 3);
  return done(L);
}

/* http:remove_server_alias(name) -> boolean */
static int lev_http_remove_server_alias (lua_State *L) {
  levL_checkhttp(L, 1);
  lua_settop(L, 2);
  checkname(L, 2);
  needtable(L, LEV_UVALIASES);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, lua_rawget(L, 3) != LUA_TNIL);
  lua_pushvalue(L, 2);
  lua_pushnil(L);
  lua_rawset(L, 3);
  return 1;
}

/* ====} */

static const luaL_Reg methods[] = {
  {"set_cb", lev_http_set_cb},
  {"del_cb", lev_http_del_cb},
  {"set_gencb", lev_http_set_gencb},
  {"add_virtual_host", lev_http_add_virtual_host},
  {"remove_virtual_host", lev_http_remove_virtual_host},
  {"add_server_alias", lev_http_add_server_alias},
  {"remove_server_alias", lev_http_remove_server_alias},
  {NULL, NULL}
};

void levL_openroute (lua_State *L) {
  levL_addmethods(L, LEV_HTTP, methods);
}
