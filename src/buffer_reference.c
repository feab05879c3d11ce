/*
** buffer_reference.c: large strings in an evbuffer by reference.
**
** Such a string is not copied: libevent sends it from where Lua has it. It
** must live until libevent lets go of it, which happens in a drain, in a
** free, in a write to a socket, in event_base_free, in lua_close: where
** nothing may raise or allocate. So each string has a slot in a table, made
** while an error may still be raised. The table lies on the stack of a thread
** that never runs anything: to empty a slot needs neither the registry nor
** anybody's stack.
*/
#include "lev.h"

#include <stdlib.h>
#include <string.h>

/* Bytes from which on a reference costs less than a copy. */
#define LARGE 16384

/* One for each state, in its registry; user value 1 is the thread. */
typedef struct References {
  lua_State *T;               /* on its stack: [1] slot -> string, or next */
  lua_Integer nslots;
  lua_Integer nfree;
  lua_Integer first;          /* of the free slots; each holds the next */
} References;

/* What libevent gives back with the string. */
typedef struct Held {
  References *references;
  lua_Integer slot;
} Held;

static const char key = 0;

static References *getreferences (lua_State *L) {
  References *r;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  r = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return r;
}

static bool islarge (lua_State *L, int arg) {
  return lua_type(L, arg) == LUA_TSTRING && lua_rawlen(L, arg) >= LARGE;
}

/* Makes slots for the large strings of these arguments, before the caller
   checks what is open: this allocates. */
void levL_reserve (lua_State *L, int first, int last) {
  References *r = NULL;
  lua_Integer n = 0;
  for (int arg = first; arg <= last; arg++)
    n += islarge(L, arg);
  if (n == 0 || (r = getreferences(L))->nfree >= n)
    return;
  lua_pushvalue(r->T, 1);
  lua_xmove(r->T, L, 1);
  for (; r->nfree < n; r->nfree++) {
    lua_pushinteger(L, r->first);
    lua_rawseti(L, -2, r->nslots + 1);
    r->first = ++r->nslots;
  }
  lua_pop(L, 1);
}

/* The string at 'arg' gets a slot; NULL without one. Both this and the next
   function set keys that are there: no allocation, no error. */
static Held *hold (lua_State *L, int arg) {
  References *r = getreferences(L);
  Held *held = r->nfree > 0 ? malloc(sizeof(*held)) : NULL;
  if (held == NULL)
    return NULL;
  held->references = r;
  held->slot = r->first;
  lua_rawgeti(r->T, 1, held->slot);
  r->first = lua_tointeger(r->T, -1);
  lua_pop(r->T, 1);
  r->nfree--;
  lua_pushvalue(L, arg);
  lua_xmove(L, r->T, 1);
  lua_rawseti(r->T, 1, held->slot);
  return held;
}

/* libevent lets go of the string. */
static void onrelease (const void *data, size_t len, void *arg) {
  Held *held = arg;
  References *r = held->references;
  (void)data; (void)len;
  lua_pushinteger(r->T, r->first);
  lua_rawseti(r->T, 1, held->slot);
  r->first = held->slot;
  r->nfree++;
  free(held);
}

/* Copies a byte into a chain that can be added to. libevent makes the next
   chain as long as the last one if that cannot be: a whole string. */
static int addend (struct evbuffer *buf, char byte) {
  struct evbuffer_iovec space;
  if (evbuffer_reserve_space(buf, 1, &space, 1) < 1)
    return -1;
  *(char *)space.iov_base = byte;
  space.iov_len = 1;
  return evbuffer_commit_space(buf, &space, 1);
}

/* A buffer with the large string at 'arg', all but its last byte by
   reference; NULL if it must be copied. */
static struct evbuffer *refer (lua_State *L, int arg) {
  size_t len;
  const char *s = lua_tolstring(L, arg, &len);
  struct evbuffer *buf = evbuffer_new();
  Held *held = buf ? hold(L, arg) : NULL;
  if (held && evbuffer_add_reference(buf, s, len - 1, onrelease, held) < 0)
    onrelease(s, len, held);
  else if (held && addend(buf, s[len - 1]) == 0)
    return buf;
  if (buf)
    evbuffer_free(buf);
  return NULL;
}

/* Adds the string at 'arg' to the end; -1 without memory. */
int levL_addstring (lua_State *L, int arg, struct evbuffer *to) {
  size_t len;
  const char *s = lua_tolstring(L, arg, &len);
  struct evbuffer *buf = islarge(L, arg) ? refer(L, arg) : NULL;
  int r;
  if (buf == NULL)
    return evbuffer_add(to, s, len);
  r = evbuffer_add_buffer(to, buf);
  evbuffer_free(buf);
  return r;
}

/* libevent leaves a part of the bytes there when memory ends. */
static int prepend (struct evbuffer *to, const char *s, size_t len) {
  size_t before = evbuffer_get_length(to);
  int r = evbuffer_prepend(to, s, len);
  if (r < 0)
    evbuffer_drain(to, evbuffer_get_length(to) - before);
  return r;
}

/* Puts the string at 'arg' before the start; -1 without memory. */
int levL_prependstring (lua_State *L, int arg, struct evbuffer *to) {
  size_t len;
  const char *s = lua_tolstring(L, arg, &len);
  struct evbuffer *buf = islarge(L, arg) ? refer(L, arg) : NULL;
  int r;
  if (buf == NULL)
    return prepend(to, s, len);
  r = evbuffer_prepend_buffer(to, buf);
  evbuffer_free(buf);
  return r;
}

/* Once in each state: what is held would be lost with the first table. */
void levL_openreference (lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
    References *r = lua_newuserdatauv(L, sizeof(*r), 1);
    memset(r, 0, sizeof(*r));
    r->T = lua_newthread(L);
    lua_newtable(L);
    lua_xmove(L, r->T, 1);
    lua_setiuservalue(L, -2, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  }
  lua_pop(L, 1);
}
