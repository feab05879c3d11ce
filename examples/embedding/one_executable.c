/*
** One executable: Lua, libevent, this library and a script, here the echo
** server, all linked in. It needs no file of theirs when it runs.
**   make examples
**   build/examples/one_executable [ADDRESS]
*/
#include <stdio.h>

#include <lauxlib.h>
#include <lualib.h>
#include <lualibevent.h>

#include "script.h"           /* made of examples/echo_server.lua */

/* As in lua.c: arg[0] is the program. */
static void setarg (lua_State *L, int argc, char **argv) {
  lua_createtable(L, argc - 1, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
  lua_setglobal(L, "arg");
}

int main (int argc, char **argv) {
  lua_State *L = luaL_newstate();
  int status;
  luaL_openlibs(L);
  luaL_requiref(L, "libevent", luaopen_libevent, 0);
  lua_pop(L, 1);
  setarg(L, argc, argv);
  status = luaL_loadbufferx(L, parts[0].text, parts[0].len, parts[0].file,
                            "t");
  if (status == LUA_OK) {
    for (int i = 1; i < argc; i++)
      lua_pushstring(L, argv[i]);
    status = lua_pcall(L, argc - 1, 0, 0);
  }
  if (status != LUA_OK)
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return status != LUA_OK;
}
