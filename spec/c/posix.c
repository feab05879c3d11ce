/*
** A stand-in for the few functions of luaposix that the examples call, for
** machines that have no luaposix for this Lua (Debian 12 is one): same names,
** arguments and results. Where luaposix is installed it is found first.
*/
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
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
  return result(L, mkfifo(luaL_checkstring(L, 1),
                          (mode_t)luaL_optinteger(L, 2, 0666)));
}

static int Popen (lua_State *L) {
  return result(L, open(luaL_checkstring(L, 1), integer(L, 2),
                        (mode_t)luaL_optinteger(L, 3, 0666)));
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

static void constant (lua_State *L, const char *name, int value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

int luaopen_posix_unistd (lua_State *L);
int luaopen_posix_unistd (lua_State *L) {
  static const luaL_Reg functions[] = {
    {"fork", Pfork}, {"getpid", Pgetpid}, {"close", Pclose},
    {"_exit", Pexit}, {NULL, NULL}
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
  static const luaL_Reg functions[] = {{"mkfifo", Pmkfifo}, {NULL, NULL}};
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
