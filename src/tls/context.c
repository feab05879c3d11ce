/*
** context.c: the module libevent.tls: Context, what many connections have in
** common. The core gets at its session.c by it, and needs nothing else of this
** library.
**
** A Context is as good as it was made: nothing of it changes but by reload.
** Connections keep what they need of it, and outlive it.
*/
#include "tls.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

enum { OPTIONS = 1, NUSERVALUES = OPTIONS };

static lev_Context *checkcontext (lua_State *L, int arg) {
  return luaL_checkudata(L, arg, LEV_TLSCONTEXT);
}

/* [1] options; pushes a new Context. */
static int newcontext (lua_State *L) {
  lev_Context *c = lua_newuserdatauv(L, sizeof(*c), NUSERVALUES);
  *c = (lev_Context){LEV_TLSVERSION, &levT_engine, NULL, false, false, {0, 0}};
  luaL_setmetatable(L, LEV_TLSCONTEXT);
  c->settings = levT_newsettings();
  if (c->settings == NULL)
    return levL_nomemory(L);
  levT_setoptions(L, 1, c);
  return 1;
}

/* [-1] table: a copy of it and of the tables in it, as the script may change
   its own. */
static void copy (lua_State *L, int depth) {
  int from = lua_gettop(L);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, from); ) {
    if (depth > 0 && lua_istable(L, -1))
      copy(L, depth - 1);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, from + 1);
  }
  lua_replace(L, from);
}

/* tls.context([options]) -> context */
static int lev_context (lua_State *L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_newtable(L);
    lua_replace(L, 1);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  copy(L, 1);
  newcontext(L);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, OPTIONS);
  return 1;
}

/* So that tickets of before are good ones still. */
static void passtickets (SSL_CTX *from, SSL_CTX *to) {
  unsigned char keys[128];
  long n = SSL_CTX_set_tlsext_ticket_keys(to, NULL, 0);
  if (n > 0 && n <= (long)sizeof(keys)
      && SSL_CTX_get_tlsext_ticket_keys(from, keys, n))
    SSL_CTX_set_tlsext_ticket_keys(to, keys, n);
  OPENSSL_cleanse(keys, sizeof(keys));
  ERR_clear_error();
}

static void release (lev_Context *c) {
  lev_Settings *t = c->settings;
  c->settings = NULL;
  if (t)
    levT_hold(t, -1);
}

/* Gives one the settings of the other, but for what sessions and other contexts
   refer to. */
static void exchange (lev_Settings *a, lev_Settings *b) {
  lev_Settings old = *a, new = *b;
  *a = new;
  *b = old;
  a->refs = old.refs;
  a->method = old.method;
  b->refs = new.refs;
  b->method = new.method;
}

/* context:reload() -> context | nil, message */
static int lev_context_reload (lua_State *L) {
  lev_Context *c = checkcontext(L, 1), *new;
  lua_settop(L, 1);
  luaL_argcheck(L, !c->settings->foreign, 1, "the context is luaossl's");
  lua_pushcfunction(L, newcontext);
  lua_getiuservalue(L, 1, OPTIONS);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    luaL_pushfail(L);
    lua_insert(L, 2);
    return 2;
  }
  new = lua_touserdata(L, 2);
  if (c->server && !c->verifies)  /* other clients may be trusted now */
    passtickets(c->settings->ctx, new->settings->ctx);
  exchange(c->settings, new->settings);
  release(new);               /* Lua does not see how much it is */
  lua_settop(L, 1);
  return 1;
}

static int lev_context__gc (lua_State *L) {
  release(checkcontext(L, 1));
  return 0;
}

static int lev_context__tostring (lua_State *L) {
  const lev_Context *c = checkcontext(L, 1);
  lua_pushfstring(L, "%s (%s): %p", LEV_TLSCONTEXT,
                  c->server ? "server" : "client", (const void *)c);
  return 1;
}

/* tls.version() -> version */
static int lev_version (lua_State *L) {
  lua_pushstring(L, OpenSSL_version(OPENSSL_VERSION));
  return 1;
}

static const luaL_Reg methods[] = {
  {"reload", lev_context_reload},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_context__gc},
  {"__tostring", lev_context__tostring},
  {NULL, NULL}
};

static const luaL_Reg functions[] = {
  {"context", lev_context},
  {"version", lev_version},
  {NULL, NULL}
};

LEV_EXPORT int luaopen_libevent_tls (lua_State *L);

LEV_EXPORT int luaopen_libevent_tls (lua_State *L) {
  luaL_checkversion(L);
  if (luaL_newmetatable(L, LEV_TLSCONTEXT)) {
    luaL_setfuncs(L, metamethods, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, LEV_TLSCONTEXT);
    lua_setfield(L, -2, "__metatable");
  }
  levT_opendescribe(L);
  luaL_newlib(L, functions);
  return 1;
}
