/*
** The bytes that malloc has given out: what is in use, however the heap lies.
*/
#include <stdlib.h>

#include <lua.h>
#include <lauxlib.h>

#ifdef __GLIBC_PREREQ
#if __GLIBC_PREREQ(2, 33)
#define COUNTS
#endif
#endif

#ifdef COUNTS

#include <malloc.h>

#define CLASSES 64              /* of sizes, in each thread's cache */
#define KEPT 32                 /* more than it keeps of one of them */

/* What that cache keeps counts as given out: with all of it full that is the
   same each time. */
static void fill (void) {
  void *volatile list[CLASSES * KEPT];
  size_t i;
  for (i = 0; i < CLASSES * KEPT; i++)
    list[i] = malloc(16 * (i / KEPT) + 24);
  for (i = 0; i < CLASSES * KEPT; i++)
    free(list[i]);
}

static int bytes (lua_State *L) {
  struct mallinfo2 info;
  fill();
  info = mallinfo2();
  lua_pushinteger(L, (lua_Integer)(info.uordblks + info.hblkhd));
  return 1;
}

#else

static int bytes (lua_State *L) {
  lua_pushnil(L);               /* it does not count, or not beyond 4 GiB */
  return 1;
}

#endif

int luaopen_mallinfo (lua_State *L);
int luaopen_mallinfo (lua_State *L) {
  lua_pushcfunction(L, bytes);
  return 1;
}
