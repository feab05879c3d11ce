/* fork() for the specs: pushes what it returned. */
#include <lua.h>
#include <lauxlib.h>
#include <unistd.h>

static int forkit (lua_State *L) {
  lua_pushinteger(L, fork());
  return 1;
}

int luaopen_fork (lua_State *L) {
  lua_pushcfunction(L, forkit);
  return 1;
}
