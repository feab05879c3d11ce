/*
** parsers.c: what this library reads from bytes and numbers that it is given.
**
** A target is a function of parsers.lua that gets bytes, and raises if what
** comes of them is wrong. clang's libFuzzer makes up the bytes, for the target
** that the program is called like. Without it the program is given files:
**   parsers target file...
*/
#include "lev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "lualibevent.h"

int LLVMFuzzerInitialize (int *argc, char ***argv);
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static lua_State *state;      /* [1] the target */

/* {==== What no function of the module shows alone ==== */

static const lev_Word words[] = {
  {"read", 1}, {"write", 2}, {"readwrite", 4}, {"r", 8}, {NULL, 0}
};

/* address(value) -> the address as it is told */
static int parse_address (lua_State *L) {
  struct sockaddr_storage ss;
  socklen_t len;
  memset(&ss, 0xa5, sizeof(ss));      /* all that is told must be set */
  len = levL_checkaddress(L, 1, &ss);
  levL_pushaddress(L, (struct sockaddr *)&ss, len);
  return 1;
}

/* words(value) -> the words as they are told */
static int parse_words (lua_State *L) {
  levL_pushwords(L, levL_checkwords(L, 1, words), words);
  return 1;
}

/* seconds(value) -> seconds */
static int parse_seconds (lua_State *L) {
  struct timeval tv;
  levL_pushtime(L, levL_time(L, 1, 1, &tv));
  return 1;
}

/* integer(value, min, max) -> integer */
static int parse_integer (lua_State *L) {
  lua_pushinteger(L, levL_range(L, 1, 1, luaL_checkinteger(L, 2),
                                luaL_checkinteger(L, 3)));
  return 1;
}

/* signal(value) -> number */
static int parse_signal (lua_State *L) {
  lua_pushinteger(L, levL_checksignal(L, 1));
  return 1;
}

/* scope(string) -> number | nil */
static int parse_scope (lua_State *L) {
  uint32_t scope;
  if (levL_toscope(luaL_checkstring(L, 1), &scope))
    lua_pushinteger(L, scope);
  else
    luaL_pushfail(L);
  return 1;
}

static const luaL_Reg parse[] = {
  {"address", parse_address},
  {"words", parse_words},
  {"seconds", parse_seconds},
  {"integer", parse_integer},
  {"signal", parse_signal},
  {"scope", parse_scope},
  {NULL, NULL}
};

/* ====} */

static void fail (lua_State *L) {
  fprintf(stderr, "%s\n", lua_tostring(L, -1));
  abort();
}

/* [1] the target, and no more */
static void start (const char *name) {
  lua_State *L = state = luaL_newstate();
  luaL_openlibs(L);
  luaL_requiref(L, "libevent.core", luaopen_libevent_core, 0);
  if (luaL_loadfile(L, "spec/fuzz/parsers.lua"))
    fail(L);
  luaL_newlib(L, parse);
  if (lua_pcall(L, 1, 1, 0))
    fail(L);
  if (lua_getfield(L, -1, name) != LUA_TFUNCTION) {
    lua_pushfstring(L, "%s: no such target", name);
    fail(L);
  }
  lua_replace(L, 1);
  lua_settop(L, 1);
}

int LLVMFuzzerInitialize (int *argc, char ***argv) {
  const char *slash = strrchr(**argv, '/');
  (void)argc;
  start(slash ? slash + 1 : **argv);
  return 0;
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  lua_pushvalue(state, 1);
  lua_pushlstring(state, (const char *)data, size);
  if (lua_pcall(state, 1, 0, 0))
    fail(state);
  return 0;
}

#ifndef LIBFUZZER
static void replay (const char *path) {
  FILE *file = fopen(path, "rb");
  static uint8_t data[1 << 20];
  size_t size = file ? fread(data, 1, sizeof(data), file) : 0;
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  fclose(file);
  LLVMFuzzerTestOneInput(data, size);
}

int main (int argc, char **argv) {
  if (argc < 2)
    return 2;
  start(argv[1]);
  for (int i = 2; i < argc; i++)
    replay(argv[i]);
  printf("%d inputs\n", argc - 2);
  lua_close(state);
  return 0;
}
#endif
