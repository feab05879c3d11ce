/*
** libevent.c: the whole module from memory, for hosts and executables that
** have no files of it: what is in C, and the parts in Lua as parts.h has them.
*/
#include "lev.h"

#include "parts.h"            /* made by scripts/embed.lua */

static const char envkey = 0;

/* require, for the parts alone: it needs no library 'package'. */
static int require (lua_State *L) {
  luaL_checkstring(L, 1);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);       /* 2 */
  lua_pushvalue(L, 1);
  if (lua_gettable(L, 2) != LUA_TNIL)
    return 1;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);      /* 4 */
  lua_pushvalue(L, 1);
  lua_gettable(L, 4);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);                                              /* 5 */
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 5);
  lua_settable(L, 2);
  return 1;
}

/* Pushes what the parts see as their globals: all others', but that require. */
static void pushenvironment (lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &envkey) == LUA_TTABLE)
    return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushcfunction(L, require);
  lua_setfield(L, -2, "require");
  lua_newtable(L);
  lua_pushglobaltable(L);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &envkey);
}

/* Loader of the part whose number is its upvalue. */
static int load (lua_State *L) {
  const Part *part = &parts[lua_tointeger(L, lua_upvalueindex(1))];
  if (luaL_loadbufferx(L, part->text, part->len, part->file, "t") != LUA_OK)
    return lua_error(L);
  pushenvironment(L);
  lua_setupvalue(L, -2, 1);
  lua_pushstring(L, part->name);
  lua_call(L, 1, 1);
  return 1;
}

LEV_EXPORT int luaopen_libevent (lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_libevent_core);
  lua_setfield(L, -2, "libevent.core");
  for (lua_Integer i = 0; parts[i].name; i++) {
    lua_pushinteger(L, i);
    lua_pushcclosure(L, load, 1);
    lua_setfield(L, -2, parts[i].name);
  }
  lua_getfield(L, -1, "libevent");
  lua_call(L, 0, 1);
  return 1;
}
