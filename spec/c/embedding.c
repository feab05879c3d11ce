/*
** A host program that does all that lualibevent.h offers, as the script of its
** argument says: 'base' is its base, and the functions below are global. Then
** it runs its base itself until nothing is left to do there, or for a second
** or more, calls the script's 'after', if there is one, closes Lua, and frees
** its base. Which of the descriptors that the script watches are open it tells
** after the loop, and at last.
*/
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include <lauxlib.h>
#include <lualib.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>

#include "lualibevent.h"

static struct event_base *base;
static int ticks;             /* of the host's own timer */
static int watched[8];        /* descriptors... */
static int nwatched;          /* ...as many */

/* bare() -> version: of the module in a state that has no library at all */
static int bare (lua_State *L) {
  lua_State *S = luaL_newstate();
  luaL_requiref(S, "libevent", luaopen_libevent, 0);
  lua_getfield(S, -1, "_VERSION");
  lua_pushstring(L, lua_tostring(S, -1));
  lua_close(S);
  return 1;
}

/* version() -> number of the library, number and text of the header */
static int version (lua_State *L) {
  lua_pushinteger(L, lualibevent_version());
  lua_pushinteger(L, LUALIBEVENT_VERSION_NUMBER);
  lua_pushliteral(L, LUALIBEVENT_VERSION);
  return 3;
}

static int later (lua_State *L) {
  lualibevent_checkversion_(L, LUALIBEVENT_VERSION_NUMBER + 0x10000);
  return 0;
}

/* {==== Calls, errors, hooks ==== */

/* call(f, ...): by lualibevent_pcall -> status, results */
static int call (lua_State *L) {
  int top = lua_gettop(L);
  int status = lualibevent_pcall(L, base, top - 1, LUA_MULTRET);
  lua_pushinteger(L, status);
  lua_insert(L, 1);
  return lua_gettop(L);
}

/* [1] error, [2] object */
static int onerror (lua_State *L) {
  printf("host's handler: %s, %s\n", luaL_tolstring(L, 1, NULL),
         luaL_typename(L, 2));
  return 0;
}

/* handle([f]): the host's own handler, or this one */
static int handle (lua_State *L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_pushcfunction(L, onerror);
    lua_replace(L, 1);
  }
  lualibevent_seterrorcb(L, base);
  lua_pushinteger(L, lua_gettop(L));
  return 1;
}

static int hooked;            /* callbacks, with their arguments... */
static int inside;            /* ...and how deep they are now */

static int hook (lua_State *L, int nargs, int nresults, int msgh,
                 void *data) {
  int status;
  hooked += data == &hooked ? 1 : 1000;
  inside++;
  status = lua_pcall(L, nargs, nresults, msgh);
  inside--;
  return status;
}

/* sethook(on) */
static int sethook (lua_State *L) {
  lualibevent_sethook(L, base, lua_toboolean(L, 1) ? hook : NULL, &hooked);
  return 0;
}

/* hooks() -> callbacks that were hooked, and run now */
static int hooks (lua_State *L) {
  lua_pushinteger(L, hooked);
  lua_pushinteger(L, inside);
  return 2;
}

/* ====} */

/* {==== Objects ==== */

/* lend(userdata, type) -> what libevent says of it */
static int lend (lua_State *L) {
  const char *type = luaL_checkstring(L, 2);
  if (strcmp(type, "base") == 0)
    lua_pushboolean(L, lualibevent_tobase(L, 1) == base);
  else if (strcmp(type, "event") == 0)
    lua_pushinteger(L, event_get_fd(lualibevent_toevent(L, 1)));
  else if (strcmp(type, "bufferevent") == 0)
    lua_pushinteger(L, bufferevent_getfd(lualibevent_tobufferevent(L, 1)));
  else if (strcmp(type, "buffer") == 0)
    lua_pushinteger(L,
      (lua_Integer)evbuffer_get_length(lualibevent_tobuffer(L, 1)));
  else
    lua_pushinteger(L, evconnlistener_get_fd(lualibevent_tolistener(L, 1)));
  return 1;
}

/* write(bufferevent, text): as the host would, past the userdata */
static int hostwrite (lua_State *L) {
  struct bufferevent *bev = lualibevent_tobufferevent(L, 1);
  bufferevent_write(bev, luaL_checkstring(L, 2), lua_rawlen(L, 2));
  return 0;
}

static void nothing (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what; (void)arg;
}

/* givebufferevent(fd, text, limited, keeps): with that text in its input
   already; what the host 'keeps' is the descriptor */
static int givebufferevent (lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 2, &len);
  struct bufferevent *bev = bufferevent_socket_new(base,
    (evutil_socket_t)luaL_checkinteger(L, 1),
    lua_toboolean(L, 4) ? 0 : BEV_OPT_CLOSE_ON_FREE);
  struct timeval tv = {9, 0};
  bufferevent_set_timeouts(bev, &tv, NULL);
  if (lua_toboolean(L, 3))
    bufferevent_set_max_single_read(bev, 3);
  bufferevent_enable(bev, EV_READ);
  evbuffer_unfreeze(bufferevent_get_input(bev), 0);
  evbuffer_add(bufferevent_get_input(bev), text, len);
  evbuffer_freeze(bufferevent_get_input(bev), 0);
  lualibevent_givebufferevent(L, bev);
  return 1;
}

/* giveconnecting(port) -> bufferevent, on its way to 127.0.0.1, and its
   descriptor */
static int giveconnecting (lua_State *L) {
  struct bufferevent *bev = bufferevent_socket_new(base, -1,
                                                   BEV_OPT_CLOSE_ON_FREE);
  struct sockaddr_in sin = {.sin_family = AF_INET};
  sin.sin_port = htons((unsigned short)luaL_checkinteger(L, 1));
  sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof(sin));
  lualibevent_givebufferevent(L, bev);
  lua_pushinteger(L, bufferevent_getfd(bev));
  return 2;
}

/* giveother(): what cannot be given -> ok, message */
static int giveend (lua_State *L) {
  lualibevent_givebufferevent(L, lua_touserdata(L, 1));
  return 0;
}

static int giveother (lua_State *L) {
  struct bufferevent *ends[2];
  int status;
  bufferevent_pair_new(base, 0, ends);
  lua_pushcfunction(L, giveend);
  lua_pushlightuserdata(L, ends[0]);
  status = lua_pcall(L, 1, 0, 0);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, -2);
  bufferevent_free(ends[0]);
  bufferevent_free(ends[1]);
  return 2;
}

static void refuse (struct evconnlistener *listener, evutil_socket_t fd,
                    struct sockaddr *sa, int len, void *arg) {
  (void)listener; (void)sa; (void)len; (void)arg;
  evutil_closesocket(fd);
}

/* givelistener(fd, cb) -> listener, values on the stack; its sockets would
   block */
static int givelistener (lua_State *L) {
  struct evconnlistener *listener = evconnlistener_new(base, refuse, NULL,
    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_LEAVE_SOCKETS_BLOCKING | LEV_OPT_DISABLED,
    4, dup((int)luaL_checkinteger(L, 1)));
  lua_settop(L, 2);
  lualibevent_givelistener(L, listener);
  lua_pushinteger(L, lua_gettop(L));
  return 2;
}

/* givebuffer(text) -> buffer */
static int givebuffer (lua_State *L) {
  struct evbuffer *buf = evbuffer_new();
  evbuffer_add(buf, luaL_checkstring(L, 1), lua_rawlen(L, 1));
  lualibevent_givebuffer(L, buf);
  return 1;
}

/* giveevent(what, milliseconds, active, cb) -> event, values on the stack */
static int giveevent (lua_State *L) {
  int ms = (int)luaL_checkinteger(L, 2);
  struct timeval tv = {0, ms * 1000};
  short what = strcmp(luaL_checkstring(L, 1), "persist") == 0 ? EV_PERSIST : 0;
  struct event *ev = event_new(base, -1, what, nothing, NULL);
  if (ms > 0)
    event_add(ev, &tv);
  if (lua_toboolean(L, 3))
    event_active(ev, EV_READ, 1);
  lua_settop(L, 4);
  lualibevent_giveevent(L, ev);
  lua_pushinteger(L, lua_gettop(L));
  return 2;
}

/* ====} */

/* {==== Descriptors ==== */

static int isopenfd (int fd) {
  return fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}

/* isopen(fd) */
static int isopen (lua_State *L) {
  lua_pushboolean(L, isopenfd((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* occupy(fd) -> whether the number was free: it is something else's now */
static int occupy (lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  lua_pushboolean(L, !isopenfd(fd) && dup2(STDERR_FILENO, fd) == fd);
  return 1;
}

/* watch(fd) */
static int watch (lua_State *L) {
  if (nwatched == sizeof(watched) / sizeof(watched[0]))
    return luaL_error(L, "too many of them");
  watched[nwatched++] = (int)luaL_checkinteger(L, 1);
  return 0;
}

static void tellwatched (const char *when) {
  if (nwatched == 0)
    return;
  printf("%s:", when);
  for (int i = 0; i < nwatched; i++)
    printf(" %s", isopenfd(watched[i]) ? "open" : "closed");
  printf("\n");
}

/* ====} */

/* {==== The base ==== */

static int detach (lua_State *L) {
  lualibevent_detach(L, base);
  return 0;
}

/* push() -> the base's userdata */
static int push (lua_State *L) {
  lualibevent_pushbase(L, base);
  return 1;
}

/* stop(): the host breaks its own loop */
static int stop (lua_State *L) {
  (void)L;
  event_base_loopbreak(base);
  return 0;
}

/* free(): the mistake; a new base comes in its place, at that address for the
   most part. */
static int freebase (lua_State *L) {
  (void)L;
  event_base_free(base);
  base = event_base_new();
  return 0;
}

static void ontick (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what;
  ticks++;
  if (event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED) == 0
      && ticks > 20)
    event_base_loopbreak(base);
  else if (ticks < 200)
    event_add(arg, &(struct timeval){0, 5000});
}

/* other(script): a state of its own on the same base, which is closed from the
   host's loop in the middle of the other one's traffic */
static lua_State *second;

static void onclose (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what;
  printf("closing the other one\n");
  lua_close(second);
  event_free(arg);
}

static lua_State *newstate (void);

static int other (lua_State *L) {
  struct event *ev = event_new(base, -1, 0, onclose, event_self_cbarg());
  struct timeval tv = {0, 50000};
  second = newstate();
  if (luaL_dostring(second, luaL_checkstring(L, 1)) != LUA_OK)
    return luaL_error(L, "%s", lua_tostring(second, -1));
  event_add(ev, &tv);
  return 0;
}

/* ====} */

static const luaL_Reg functions[] = {
  {"bare", bare}, {"version", version}, {"later", later}, {"call", call},
  {"handle", handle}, {"sethook", sethook}, {"hooks", hooks},
  {"lend", lend}, {"hostwrite", hostwrite},
  {"givebufferevent", givebufferevent}, {"giveconnecting", giveconnecting},
  {"giveother", giveother}, {"givelistener", givelistener},
  {"givebuffer", givebuffer}, {"giveevent", giveevent}, {"isopen", isopen},
  {"occupy", occupy}, {"watch", watch}, {"detach", detach},
  {"push", push}, {"stop", stop}, {"freebase", freebase}, {"other", other},
  {NULL, NULL}
};

/* A state without a file system as far as the module is concerned. */
static lua_State *newstate (void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "path");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "cpath");
  lualibevent_checkversion(L);
  luaL_requiref(L, "libevent", luaopen_libevent, 1);
  lua_pushglobaltable(L);
  luaL_setfuncs(L, functions, 0);
  lua_settop(L, 0);
  lualibevent_pushbase(L, base);
  lua_setglobal(L, "base");
  return L;
}

int main (int argc, char **argv) {
  lua_State *L;
  struct event *tick;
  int status = 0, left;
  setvbuf(stdout, NULL, _IOLBF, 0);
  base = event_base_new();
  L = newstate();
  if (argc != 2 || luaL_dofile(L, argv[1])) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return 1;
  }
  tick = event_new(base, -1, 0, ontick, event_self_cbarg());
  event_add(tick, &(struct timeval){0, 5000});
  event_base_dispatch(base);
  tellwatched("after the loop");
  if (lua_getglobal(L, "after") == LUA_TFUNCTION)
    status = lualibevent_pcall(L, base, 0, 0);
  lua_settop(L, 0);
  lua_close(L);
  event_free(tick);
  event_base_loop(base, EVLOOP_NONBLOCK);     /* libevent frees bufferevents */
  left = event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED);
  event_base_free(base);
  tellwatched("at last");
  printf("events left %d\n", left);
  return status;
}
