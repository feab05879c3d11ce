/*
** core.c: the module libevent.core: what belongs to no object.
*/
#include "lev.h"

/* libevent.methods() -> names, the best first */
static int lev_methods (lua_State *L) {
  const char *const *methods = levL_methods();
  lua_newtable(L);
  for (int i = 0; methods[i]; i++) {
    lua_pushstring(L, methods[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* libevent.version() -> version, number */
static int lev_version (lua_State *L) {
  lua_pushstring(L, event_get_version());
  lua_pushinteger(L, event_get_version_number());
  return 2;
}

static const luaL_Reg functions[] = {
  {"methods", lev_methods},
  {"version", lev_version},
  {NULL, NULL}
};

/* struct event is part of our userdata: as long as its header said. */
static void checkversion (lua_State *L) {
  if (event_get_struct_event_size() != sizeof(struct event))
    luaL_error(L, "built for libevent %s, but this is libevent %s",
               LIBEVENT_VERSION, event_get_version());
}

LEV_EXPORT unsigned lualibevent_version (void) {
  return LUALIBEVENT_VERSION_NUMBER;
}

/* Of before 1.0: the minor version counts, and must be the same. */
LEV_EXPORT void lualibevent_checkversion_ (lua_State *L, unsigned number) {
  if (number >> 16 != LUALIBEVENT_VERSION_NUMBER >> 16)
    luaL_error(L, "built for lua-libevent %d.%d, but this is %s",
               (int)(number >> 24), (int)(number >> 16 & 0xff),
               LUALIBEVENT_VERSION);
}

LEV_EXPORT int luaopen_libevent_core (lua_State *L) {
  luaL_checkversion(L);
  checkversion(L);
  levL_openprocess();
  luaL_newlib(L, functions);
  levL_openreference(L);
  levL_openlog(L);
  levL_openbase(L);
  levL_openbuffer(L);
  levL_opensearch(L);
  levL_opentransfer(L);
  levL_opensegment(L);
  levL_openevent(L);
  levL_openwaker(L);
  levL_openbufferevent(L);
  levL_openlistener(L);
  levL_opendns(L);
  levL_opendnsserver(L);
  levL_openhttp(L);
  levL_opentask(L);
  levL_openutil(L);
  levL_opendump(L);
  levL_openchange(L);
  return 1;
}
