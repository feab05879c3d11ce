/*
** A stand-in for the few functions of luaposix that the examples call, for
** machines that have no luaposix for this Lua (Debian 12 is one): same names,
** arguments and results. Where luaposix is installed it is found first.
*/
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lua.h>
#include <lauxlib.h>

static int result (lua_State *L, int n) {
  if (n == -1) {
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    lua_pushinteger(L, errno);
    return 3;
  }
  lua_pushinteger(L, n);
  return 1;
}

/* The message of a call on a path begins with it. */
static int pathresult (lua_State *L, int n) {
  if (n != -1)
    return result(L, n);
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", lua_tostring(L, 1), strerror(errno));
  lua_pushinteger(L, errno);
  return 3;
}

static int integer (lua_State *L, int arg) {
  return (int)luaL_checkinteger(L, arg);
}

static int Pfork (lua_State *L) {
  return result(L, fork());
}

static int Pgetpid (lua_State *L) {
  return result(L, getpid());
}

static int Pclose (lua_State *L) {
  return result(L, close(integer(L, 1)));
}

static int Pdup (lua_State *L) {
  return result(L, dup(integer(L, 1)));
}

static int Pexit (lua_State *L) {
  _exit(integer(L, 1));
}

static int Pwait (lua_State *L) {
  int status;
  pid_t pid = waitpid((pid_t)luaL_optinteger(L, 1, -1), &status, 0);
  if (pid == -1)
    return result(L, -1);
  lua_pushinteger(L, pid);
  lua_pushstring(L, WIFEXITED(status) ? "exited" : "killed");
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status)
                                       : WTERMSIG(status));
  return 3;
}

static int Pmkfifo (lua_State *L) {
  return pathresult(L, mkfifo(luaL_checkstring(L, 1),
                              (mode_t)luaL_optinteger(L, 2, 0777)));
}

static int Pstat (lua_State *L) {
  struct stat s;
  if (stat(luaL_checkstring(L, 1), &s) == -1)
    return pathresult(L, -1);
  lua_createtable(L, 0, 1);
  lua_pushinteger(L, s.st_mode);
  lua_setfield(L, -2, "st_mode");
  return 1;
}

static int Pisfifo (lua_State *L) {
  lua_pushinteger(L, S_ISFIFO((mode_t)luaL_checkinteger(L, 1)));
  return 1;
}

static int Popen (lua_State *L) {
  return pathresult(L, open(luaL_checkstring(L, 1), integer(L, 2),
                            (mode_t)luaL_optinteger(L, 3, 0777)));
}

static int Pfcntl (lua_State *L) {
  return result(L, fcntl(integer(L, 1), integer(L, 2),
                         (int)luaL_optinteger(L, 3, 0)));
}

static int Psetsockopt (lua_State *L) {
  int value = integer(L, 4);
  return result(L, setsockopt(integer(L, 1), integer(L, 2), integer(L, 3),
                              &value, sizeof(value)));
}

static const struct {const char *name; short bit;} pollevents[] = {
  {"IN", POLLIN}, {"PRI", POLLPRI}, {"OUT", POLLOUT},
  {"ERR", POLLERR}, {"HUP", POLLHUP}, {"NVAL", POLLNVAL}
};
#define NPOLLEVENTS (sizeof(pollevents) / sizeof(pollevents[0]))

/* {[fd] = {events = {IN = true, ...}}, ...}: each gets its 'revents'. */
static int Ppoll (lua_State *L) {
  struct pollfd *list;
  nfds_t n = 0, i = 0;
  size_t e;
  int ready;
  luaL_checktype(L, 1, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
    n++;
  list = (struct pollfd *)lua_newuserdatauv(L, (n + 1) * sizeof(*list), 0);
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 2), i++) {
    list[i].fd = (int)luaL_checkinteger(L, -2);
    list[i].events = 0;
    lua_getfield(L, -1, "events");
    for (e = 0; e < NPOLLEVENTS; e++, lua_pop(L, 1))
      if (lua_getfield(L, -1, pollevents[e].name) && lua_toboolean(L, -1))
        list[i].events |= pollevents[e].bit;
  }
  ready = poll(list, n, (int)luaL_optinteger(L, 2, -1));
  i = 0;
  for (lua_pushnil(L); ready > 0 && lua_next(L, 1); lua_pop(L, 1), i++) {
    lua_newtable(L);
    for (e = 0; e < NPOLLEVENTS; e++) {
      lua_pushboolean(L, list[i].revents & pollevents[e].bit);
      lua_setfield(L, -2, pollevents[e].name);
    }
    lua_setfield(L, -2, "revents");
  }
  return result(L, ready);
}

static void constant (lua_State *L, const char *name, int value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

int luaopen_posix_unistd (lua_State *L);
int luaopen_posix_unistd (lua_State *L) {
  static const luaL_Reg functions[] = {
    {"fork", Pfork}, {"getpid", Pgetpid}, {"close", Pclose},
    {"dup", Pdup}, {"_exit", Pexit}, {NULL, NULL}
  };
  luaL_newlib(L, functions);
  return 1;
}

int luaopen_posix_sys_wait (lua_State *L);
int luaopen_posix_sys_wait (lua_State *L) {
  static const luaL_Reg functions[] = {{"wait", Pwait}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

int luaopen_posix_sys_stat (lua_State *L);
int luaopen_posix_sys_stat (lua_State *L) {
  static const luaL_Reg functions[] = {
    {"mkfifo", Pmkfifo}, {"stat", Pstat}, {"S_ISFIFO", Pisfifo}, {NULL, NULL}
  };
  luaL_newlib(L, functions);
  return 1;
}

int luaopen_posix_fcntl (lua_State *L);
int luaopen_posix_fcntl (lua_State *L) {
  static const luaL_Reg functions[] = {
    {"open", Popen}, {"fcntl", Pfcntl}, {NULL, NULL}
  };
  luaL_newlib(L, functions);
  constant(L, "O_RDONLY", O_RDONLY);
  constant(L, "O_WRONLY", O_WRONLY);
  constant(L, "O_NONBLOCK", O_NONBLOCK);
  constant(L, "F_SETOWN", F_SETOWN);
  return 1;
}

int luaopen_posix_errno (lua_State *L);
int luaopen_posix_errno (lua_State *L) {
  lua_newtable(L);
  constant(L, "EAGAIN", EAGAIN);
  return 1;
}

int luaopen_posix_poll (lua_State *L);
int luaopen_posix_poll (lua_State *L) {
  static const luaL_Reg functions[] = {{"poll", Ppoll}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

int luaopen_posix_sys_socket (lua_State *L);
int luaopen_posix_sys_socket (lua_State *L) {
  static const luaL_Reg functions[] = {
    {"setsockopt", Psetsockopt}, {NULL, NULL}
  };
  luaL_newlib(L, functions);
  constant(L, "SOL_SOCKET", SOL_SOCKET);
  constant(L, "SO_OOBINLINE", SO_OOBINLINE);
  return 1;
}
