/*
** lualibevent.h: lua-libevent for a C program that has a loop of its own.
**
** The program's event_base stays the program's: Lua hangs its objects on it,
** and the program runs it as it always did. Nothing needs Lua's own loop.
**
** Who owns what is in the names: what is pushed stays the caller's, a 'to'
** function only lends what stays the userdata's, and what is given is the
** userdata's from then on, to free with it.
**
** All of it is called on the thread that runs the base, in a state that this
** thread alone uses; but for lualibevent_version, and for lualibevent_wake
** and lualibevent_dropwaker, which any thread may call. Several threads may
** each have their bases and states, and one base may have several states.
**
** [-o, +p, e]: what a function takes from the stack, what it pushes, and
** whether it raises Lua errors: 'm' without memory, 'e' for wrong arguments
** too, '-' never. An error that is raised leaves everything with its owner.
*/
#ifndef lualibevent_h
#define lualibevent_h

#ifdef __cplusplus
extern "C" {
#endif

#include <lua.h>              /* which leaves C++ to its user */

struct event_base;
struct event;
struct bufferevent;
struct evbuffer;
struct evconnlistener;

/* {==== Version ==== */

/* Of this header: major, minor and patch, as 0xMMmmpp00. */
#define LUALIBEVENT_VERSION "0.1.0"
#define LUALIBEVENT_VERSION_NUMBER 0x00010000

/*
** The number of the library that runs. Programs work with one of the same
** major version and the same or a later minor one; before 1.0 the minor one
** must be the same.
** Any thread; needs no state.
*/
unsigned lualibevent_version (void);

/*
** Raises an error if this header and the library that runs are not of a kind.
** [-0, +0, e]
*/
#define lualibevent_checkversion(L) \
  lualibevent_checkversion_(L, LUALIBEVENT_VERSION_NUMBER)
void lualibevent_checkversion_ (lua_State *L, unsigned number);

/* ====} */

/* {==== Opening ==== */

/*
** The whole module, for luaL_requiref(L, "libevent", luaopen_libevent, 0). It
** needs no files, and no library of Lua's: the parts in Lua are within it,
** and where there is 'package', in package.preload.
** In the static library only: 'require' finds the parts of an installed module
** by itself.
** [-0, +1, m] pushes the module table.
*/
int luaopen_libevent (lua_State *L);

/*
** The part of it in C, for luaL_requiref or package.preload, under the name
** "libevent.core".
** [-0, +1, m] pushes the module table.
*/
int luaopen_libevent_core (lua_State *L);

/* ====} */

/* {==== The host's base ==== */

/*
** Pushes the Base userdata of 'base' in this state: the same one each time,
** until it is closed. Opens libevent.core if it is not yet.
** [-0, +1, m]
**
** Ownership: 'base' stays the caller's and is never freed by Lua. Before
** event_base_free comes lualibevent_detach, its method close, or lua_close:
** each of them frees everything that this state has put on the base, and
** leaves the rest of it untouched. event_base_free first is a mistake that is
** noticed: nothing of libevent's is touched any more, or freed, methods raise
** an error, and lua_close, or the next base at that address, tells of it by
** Lua's warn. What Lua then still has of the base's bufferevents and
** descriptors is lost.
**
** Errors: an error in a callback goes to the base's error callback; without
** one, to Lua's warn. The loop goes on.
*/
void lualibevent_pushbase (lua_State *L, struct event_base *base);

/*
** Frees everything that this state has on 'base', as the method close does;
** in a callback of that state, when the callback returns. No callback of it
** runs any more. Does nothing if the state has no Base of it.
** [-0, +0, -]
*/
void lualibevent_detach (lua_State *L, struct event_base *base);

/*
** Calls a function as libevent's callbacks are called: what it writes is sent
** when it returns, an error goes where theirs go, the hook is asked. The stack
** is as for lua_pcall: the function, and 'nargs' arguments above it.
** [-(nargs + 1), +nresults or 0, -] returns LUA_OK, or what lua_pcall has
** returned: then it pushes nothing, as the error has been dealt with. The state
** must have a Base of 'base' (lualibevent_pushbase): if it has none, this is
** an error as well.
*/
int lualibevent_pcall (lua_State *L, struct event_base *base, int nargs,
                       int nresults);

/*
** Takes a function, in C or Lua, or nil, as the base's error callback: it is
** called with the error and with the object whose callback it was, or nil, as
** by the method set_error_cb.
** [-1, +0, e]
*/
void lualibevent_seterrorcb (lua_State *L, struct event_base *base);

/*
** A hook is called in the place of each lua_pcall of a callback, and must do
** it: return lua_pcall(L, nargs, nresults, msgh). Before and after it may
** count, measure, limit by lua_sethook; it must raise no error and leave the
** stack as lua_pcall does. 'data' is its own.
*/
typedef int (*lualibevent_Hook) (lua_State *L, int nargs, int nresults,
                                 int msgh, void *data);

/*
** Sets the hook of the callbacks that this state has on 'base', NULL for none.
** At any time: in a callback too, from the next one on.
** [-0, +0, m]
*/
void lualibevent_sethook (lua_State *L, struct event_base *base,
                          lualibevent_Hook hook, void *data);

/* ====} */

/* {==== libevent's objects behind userdata ==== */

/*
** What is at 'idx', lent: it stays the userdata's, which must be open. Neither
** free it, nor set its callbacks, nor keep it: it ends when the userdata is
** closed or collected. Before a bufferevent's or buffer's bytes are read or
** added to, it is asked for anew: until then some of them may be elsewhere.
** Strings of 16384 bytes and more lie there by reference to Lua: what is moved
** on into evbuffers of the host's must be gone before lua_close.
** [-0, +0, e] raises for anything but an open userdata of that type.
*/
struct event_base *lualibevent_tobase (lua_State *L, int idx);
struct event *lualibevent_toevent (lua_State *L, int idx);
struct bufferevent *lualibevent_tobufferevent (lua_State *L, int idx);
struct evbuffer *lualibevent_tobuffer (lua_State *L, int idx);
struct evconnlistener *lualibevent_tolistener (lua_State *L, int idx);

/*
** Gives a bufferevent on a socket to Lua: pushes a Bufferevent that frees it.
** It keeps its descriptor, buffers, timeouts, watermarks, priority and what is
** enabled; its callbacks are those of the script, of which there are none yet.
** Bytes that are in the input already are told of by the next ones, or by the
** method trigger. No other thread may use it.
** Made with BEV_OPT_CLOSE_ON_FREE, it has its descriptor closed by libevent:
** not at once when the userdata is closed or collected, but in the next turn of
** the loop, or by event_base_free. Without, the descriptor stays open, and the
** host closes it. It is the same after the method setfd has put another one in
** its place, and after a connect that fails. The method detach makes it the
** script's either way, and so does setfd with its number.
** [-0, +1, e] raises for filters, pairs and OpenSSL's.
*/
void lualibevent_givebufferevent (lua_State *L, struct bufferevent *bev);

/*
** Gives a listener to Lua: pushes a Listener that frees it and calls the
** function that was on top of the stack for each connection. It is enabled.
** Its socket is closed with it if it was made with LEV_OPT_CLOSE_ON_FREE.
** [-1, +1, e]
*/
void lualibevent_givelistener (lua_State *L, struct evconnlistener *listener);

/*
** Gives an evbuffer to Lua: pushes a Buffer that frees it.
** [-0, +1, m]
*/
void lualibevent_givebuffer (lua_State *L, struct evbuffer *buf);

/*
** Gives an event of event_new's to Lua: pushes an Event that calls the function
** that was on top of the stack. It waits for the same, with the same priority,
** is pending if 'ev' was, with what was left of its timeout, and active if it
** was. The struct of an Event is a part of its userdata: 'ev' itself is freed.
** [-1, +1, e]
*/
void lualibevent_giveevent (lua_State *L, struct event *ev);

/* ====} */

/* {==== From other threads ==== */

/*
** What other threads, and signal handlers, hold of a Waker that base:waker
** has made.
*/
typedef struct lualibevent_Waker lualibevent_Waker;

/*
** Takes a reference to the Waker at 'idx'. It does not keep the userdata
** open, or the state: a wake after their end does nothing.
** [-0, +0, e] raises for anything but an open Waker.
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

/* ====} */

#ifdef __cplusplus
}
#endif

#endif
