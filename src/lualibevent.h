/*
** lualibevent.h: lua-libevent for a C program that has a loop of its own.
**
** The program's event_base stays the program's: Lua hangs its objects on it,
** and the program runs it as it always did. Everything here is called on the
** thread that runs the base, but for what says otherwise: lualibevent_wake
** and lualibevent_dropwaker.
*/
#ifndef lualibevent_h
#define lualibevent_h

#include <lua.h>

struct event_base;

#ifdef __cplusplus
extern "C" {
#endif

/*
** The C part of the module, for luaL_requiref or package.preload.
** [-0, +1, may raise] pushes the module table.
*/
int luaopen_libevent_core (lua_State *L);

/*
** Pushes the Base userdata of 'base' in this state: the same one each time.
** [-0, +1, may raise] It opens the module's types if they are not yet there.
**
** Ownership: 'base' stays the caller's and is never freed by Lua. It must
** outlive the userdata's use: call its method close (from C or Lua), or
** lua_close, before event_base_free. Both free everything that Lua put on
** the base and leave the rest of it untouched.
**
** Errors: an error in a callback goes to the base's set_error_cb; without
** one, to Lua's warn. The loop goes on.
*/
void lualibevent_pushbase (lua_State *L, struct event_base *base);

/*
** What other threads, and signal handlers, hold of a Waker that base:waker
** has made.
*/
typedef struct lualibevent_Waker lualibevent_Waker;

/*
** Takes a reference to the Waker at 'idx'. It does not keep the userdata
** open, or the state: a wake after their end does nothing.
** [-0, +0, may raise] It raises for anything but an open Waker.
*/
lualibevent_Waker *lualibevent_towaker (lua_State *L, int idx);

/*
** Has the loop call the Waker's callback: once, for all wakes until it gets
** there. From any thread, and from a signal handler; errno stays as it is.
*/
void lualibevent_wake (lualibevent_Waker *waker);

/*
** Gives a reference back, from any thread, not from a signal handler. Two
** descriptors at most are closed with the last of them.
*/
void lualibevent_dropwaker (lualibevent_Waker *waker);

#ifdef __cplusplus
}
#endif

#endif
