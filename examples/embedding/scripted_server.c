/*
** A server in C whose protocol is a script. The listener, the connections and
** a timer are the program's own, on its own base; each line that comes goes
** to Lua, and what Lua makes of it goes back. SIGHUP reads the script again, in
** a state of its own: no connection is dropped, and a script that fails to
** load leaves the old one in its place.
**   make examples
**   build/examples/scripted_server examples/embedding/protocol.lua [PORT]
*/
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <lauxlib.h>
#include <lualib.h>
#include <lualibevent.h>

static struct event_base *base;
static const char *path;        /* of the script */
static lua_State *L;            /* that it runs in: [1] the protocol */
static int nconnections, nlines;

/* {==== The script ==== */

/* The base's error callback: [1] error, [2] object or nil */
static int onerror (lua_State *S) {
  fprintf(stderr, "script: %s\n", luaL_tolstring(S, 1, NULL));
  return 0;
}

/* A state with the script in it; NULL if that fails. The script gets the base
   and may use it, too: what it puts there goes with the state. */
static lua_State *load (void) {
  lua_State *S = luaL_newstate();
  int status;
  luaL_openlibs(S);
  lualibevent_checkversion(S);
  luaL_requiref(S, "libevent", luaopen_libevent, 0);
  lua_pop(S, 1);
  lua_pushcfunction(S, onerror);
  lualibevent_seterrorcb(S, base);
  status = luaL_loadfile(S, path);
  if (status == LUA_OK) {
    lualibevent_pushbase(S, base);
    status = lua_pcall(S, 1, 1, 0);
  }
  if (status == LUA_OK && lua_istable(S, 1))
    return S;
  fprintf(stderr, "script: %s\n", lua_isstring(S, -1) ? lua_tostring(S, -1)
                                                      : "no table");
  lua_close(S);
  return NULL;
}

/* Pushes what the script answers to a line; nothing if it fails. */
static int answer (const char *line) {
  lua_getfield(L, 1, "line");
  lua_pushstring(L, line);
  return lualibevent_pcall(L, base, 1, 1) == LUA_OK;
}

static void onhup (evutil_socket_t sig, short what, void *arg) {
  lua_State *S = load();
  (void)sig; (void)what; (void)arg;
  if (S) {
    lua_close(L);
    L = S;
  }
  printf("%s, %d connections open\n", S ? "read again" : "kept", nconnections);
  fflush(stdout);
}

/* ====} */

/* {==== The connections ==== */

static void onread (struct bufferevent *bev, void *arg) {
  char *line;
  (void)arg;
  while ((line = evbuffer_readln(bufferevent_get_input(bev), NULL,
                                 EVBUFFER_EOL_CRLF)) != NULL) {
    nlines++;
    if (answer(line)) {
      if (lua_isstring(L, -1))
        evbuffer_add_printf(bufferevent_get_output(bev), "%s\n",
                            lua_tostring(L, -1));
      lua_pop(L, 1);
    }
    free(line);
  }
}

static void onevent (struct bufferevent *bev, short what, void *arg) {
  (void)arg;
  if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
    bufferevent_free(bev);
    nconnections--;
  }
}

static void onaccept (struct evconnlistener *listener, evutil_socket_t fd,
                      struct sockaddr *sa, int len, void *arg) {
  struct bufferevent *bev = bufferevent_socket_new(base, fd,
                                                   BEV_OPT_CLOSE_ON_FREE);
  (void)listener; (void)sa; (void)len; (void)arg;
  bufferevent_setcb(bev, onread, NULL, onevent, NULL);
  bufferevent_enable(bev, EV_READ | EV_WRITE);
  nconnections++;
}

static int portof (struct evconnlistener *listener) {
  struct sockaddr_in sin;
  socklen_t len = sizeof(sin);
  getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &len);
  return ntohs(sin.sin_port);
}

/* ====} */

static void onminute (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what; (void)arg;
  printf("%d lines so far\n", nlines);
}

static void onend (evutil_socket_t sig, short what, void *arg) {
  (void)sig; (void)what; (void)arg;
  event_base_loopbreak(base);
}

int main (int argc, char **argv) {
  static const struct timeval minute = {60, 0};
  struct sockaddr_in sin = {.sin_family = AF_INET};
  struct evconnlistener *listener;
  struct event *tick, *hup, *end[2];
  if (argc < 2) {
    fprintf(stderr, "usage: %s SCRIPT [PORT]\n", argv[0]);
    return 2;
  }
  path = argv[1];
  base = event_base_new();
  sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sin.sin_port = htons((unsigned short)(argc > 2 ? atoi(argv[2]) : 0));
  listener = evconnlistener_new_bind(base, onaccept, NULL,
    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, -1, (struct sockaddr *)&sin,
    sizeof(sin));
  if (listener == NULL || (L = load()) == NULL) {
    if (listener == NULL)
      perror("listen");
    return 1;
  }
  tick = event_new(base, -1, EV_PERSIST, onminute, NULL);
  hup = evsignal_new(base, SIGHUP, onhup, NULL);
  end[0] = evsignal_new(base, SIGINT, onend, NULL);
  end[1] = evsignal_new(base, SIGTERM, onend, NULL);
  event_add(tick, &minute);
  event_add(hup, NULL);
  event_add(end[0], NULL);
  event_add(end[1], NULL);
  printf("scripted server on 127.0.0.1:%d\n", portof(listener));
  fflush(stdout);
  event_base_dispatch(base);
  lua_close(L);               /* before event_base_free */
  evconnlistener_free(listener);
  event_free(tick);
  event_free(hup);
  event_free(end[0]);
  event_free(end[1]);
  event_base_free(base);
  printf("%d lines\n", nlines);
  return 0;
}
