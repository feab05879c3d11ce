/*
** buffer.c: struct evbuffer, bytes on their way.
**
** A buffer of the script's own is freed with its userdata. The input and
** output of a bufferevent are borrowed: their userdata keeps that one alive
** and is closed with it. libevent freezes the end of an input and the start
** of an output, and then refuses; here that is an error before anything
** moves.
*/
#include "lev.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* {==== Accessors ==== */

static bool isopen (const lev_Buffer *b) {
  return b->buf && (b->owner == NULL || b->owner->base);
}

static lev_Buffer *checkopen (lua_State *L, int arg) {
  lev_Buffer *b = luaL_checkudata(L, arg, LEV_BUFFER);
  if (!isopen(b))
    luaL_argerror(L, arg, b->owner ? "Bufferevent is closed"
                                   : "Buffer is closed");
  if (b->owner)
    levL_own(b->owner->base);
  return b;
}

lev_Buffer *levL_checkbuffer (lua_State *L, int arg) {
  lev_Buffer *b = checkopen(L, arg);
  if (b->owner && b->owner->kind->clear)
    b->owner->kind->clear(b->owner);
  return b;
}

static lev_Buffer *checkend (lua_State *L, int arg, int end) {
  lev_Buffer *b = levL_checkbuffer(L, arg);
  if (b->frozen & end)
    luaL_argerror(L, arg, lua_pushfstring(L, "the %s of %s is frozen",
        end == LEV_START ? "start" : "end",
        b->owner == NULL ? "the buffer" : b->sealed ? "an output"
                                                    : "an input"));
  return b;
}

/* A file that was added is gone when all is. */
static bool holdsfile (lev_Buffer *b) {
  b->file = b->file && evbuffer_get_length(b->buf) > 0;
  return b->file;
}

/* A buffer whose bytes are looked at. Those of a file are not in memory, but
   libevent would look for them there. */
struct evbuffer *levL_checkbytes (lua_State *L, int arg) {
  lev_Buffer *b = levL_checkbuffer(L, arg);
  luaL_argcheck(L, !holdsfile(b), arg,
                "this output holds a file, whose bytes are not in memory");
  return b->buf;
}

/* A buffer whose start is taken from. */
struct evbuffer *levL_checksource (lua_State *L, int arg) {
  return checkend(L, arg, LEV_START)->buf;
}

/* A buffer whose end is added to. What is in an output will be sent: its
   bufferevent is active from now on. */
struct evbuffer *levL_checksink (lua_State *L, int arg) {
  lev_Buffer *b = checkend(L, arg, LEV_END);
  if (b->owner) {
    luaL_argcheck(L, !*b->sealed, arg, "Bufferevent is shut down for writing");
    lua_getiuservalue(L, arg, LEV_UVOWNER);
    levL_anchor(L, -1, b->owner);
    lua_pop(L, 1);
    levL_freshen(b->owner->base);
    if (!b->owner->kind->sends(b->owner, false))
      levL_unable(L);
  }
  return b->buf;
}

/* After the adding: unless there was nothing to add. */
void levL_settlesink (lua_State *L, int arg) {
  lev_Buffer *b = lua_touserdata(L, arg);
  if (b->owner) {
    b->owner->kind->sends(b->owner, true);
    lua_getiuservalue(L, arg, LEV_UVOWNER);
    levL_settle(L, lua_gettop(L), b->owner);
    lua_pop(L, 1);
  }
}

static lev_Buffer *newbuffer (lua_State *L) {
  lev_Buffer *b = lua_newuserdatauv(L, sizeof(*b), LEV_NUVBUFFER);
  memset(b, 0, sizeof(*b));
  luaL_setmetatable(L, LEV_BUFFER);
  return b;
}

/* The buffer 'buf' of the object at 'owner', as a userdata: an output that
   takes data until 'sealed', or an input, where that is NULL. libevent
   freezes them itself. 'tofd': it writes the output to a descriptor. */
lev_Buffer *levL_pushborrowed (lua_State *L, int owner, struct evbuffer *buf,
                               const bool *sealed, bool tofd) {
  lev_Buffer *b = newbuffer(L);
  b->buf = buf;
  b->owner = lua_touserdata(L, owner);
  b->sealed = sealed;
  b->frozen = sealed ? LEV_START : LEV_END;
  b->tofd = tofd;
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, LEV_UVOWNER);
  return b;
}

/* ====} */

/* {==== Data: strings, numbers and buffers ==== */

/* Bytes that are joined on the stack before they are added. */
#define SHORT 1024

/* Numbers become their strings first, and large strings get room: that
   allocates, so it can run a finalizer, which is anybody's code. What is open
   is checked after it. */
void levL_checkdata (lua_State *L, int first, int last) {
  for (int arg = first; arg <= last; arg++) {
    if (lua_isstring(L, arg))
      lua_tostring(L, arg);
    else if (!luaL_testudata(L, arg, LEV_BUFFER))
      levL_expected(L, arg, arg, "string, number or Buffer");
  }
  levL_reserve(L, first, last);
  for (int arg = first; arg <= last; arg++)
    if (lua_type(L, arg) != LUA_TSTRING)
      levL_checksource(L, arg);
}

/* Strings, if they are short together: their length; else 0. */
static size_t shortlength (lua_State *L, int first, int last) {
  size_t n = 0;
  for (int arg = first; arg <= last && n <= SHORT; arg++)
    n += lua_type(L, arg) == LUA_TSTRING ? lua_rawlen(L, arg) : SHORT + 1;
  return n <= SHORT ? n : 0;
}

static int addshort (lua_State *L, int first, int last, struct evbuffer *to) {
  char all[SHORT];
  size_t n = 0;
  for (int arg = first; arg <= last; arg++) {
    memcpy(all + n, lua_tostring(L, arg), lua_rawlen(L, arg));
    n += lua_rawlen(L, arg);
  }
  return evbuffer_add(to, all, n);
}

/* A buffer with the string at 'arg', or NULL. */
static struct evbuffer *newpiece (lua_State *L, int arg) {
  struct evbuffer *piece = evbuffer_new();
  if (piece && levL_addstring(L, arg, piece) < 0) {
    evbuffer_free(piece);
    piece = NULL;
  }
  return piece;
}

/* Each string gets a buffer of its own before anything moves: moving takes no
   memory. */
static int addpieces (lua_State *L, int first, int last, struct evbuffer *to) {
  size_t n = (size_t)(last - first) + 1;
  struct evbuffer **pieces = calloc(n, sizeof(*pieces));
  bool ok = pieces != NULL;
  for (int arg = first; ok && arg <= last; arg++)
    if (lua_type(L, arg) == LUA_TSTRING)
      ok = (pieces[arg - first] = newpiece(L, arg)) != NULL;
  for (int arg = first; pieces && arg <= last; arg++) {
    struct evbuffer *piece = pieces[arg - first];
    if (ok)
      evbuffer_add_buffer(to, piece ? piece : levL_tobuffer(L, arg));
    if (piece)
      evbuffer_free(piece);
  }
  free(pieces);
  return ok ? 0 : -1;
}

/* Adds data that levL_checkdata has seen, all of it or, without memory, none:
   then it is false. */
bool levL_adddata (lua_State *L, int first, int last, struct evbuffer *to) {
  int r = 0;
  if (first == last && lua_type(L, first) == LUA_TSTRING)
    r = levL_addstring(L, first, to);
  else if (first == last)
    r = evbuffer_add_buffer(to, levL_tobuffer(L, first));
  else if (shortlength(L, first, last) > 0)
    r = addshort(L, first, last, to);
  else if (first <= last)
    r = addpieces(L, first, last, to);
  return r == 0;
}

/* The buffer of argument 'arg' once more, after something was allocated. */
static struct evbuffer *recheck (lua_State *L, lev_Get get, int arg,
                                 size_t n) {
  struct evbuffer *buf = get(L, arg);
  if (evbuffer_get_length(buf) < n)
    luaL_error(L, "a finalizer has taken from the buffer that is read");
  return buf;
}

/* Copies 'n' bytes from 'at'; they are there. Unlike evbuffer_copyout it
   minds no freezing: nothing is taken. */
static void copy (struct evbuffer *buf, size_t at, char *to, size_t n) {
  struct evbuffer_ptr p;
  struct evbuffer_iovec piece;
  evbuffer_ptr_set(buf, &p, at, EVBUFFER_PTR_SET);
  while (n > 0 && evbuffer_peek(buf, (ev_ssize_t)n, &p, &piece, 1) > 0) {
    size_t len = piece.iov_len < n ? piece.iov_len : n;
    memcpy(to, piece.iov_base, len);
    to += len;
    n -= len;
    evbuffer_ptr_set(buf, &p, len, EVBUFFER_PTR_ADD);
  }
}

/* Pushes a copy of 'n' bytes from 'at'; they are there. */
static void pushcopy (lua_State *L, lev_Get get, int arg, size_t at,
                      size_t n) {
  struct evbuffer *buf = get(L, arg);
  struct evbuffer_ptr p;
  struct evbuffer_iovec piece;
  evbuffer_ptr_set(buf, &p, at, EVBUFFER_PTR_SET);
  if (n == 0)
    lua_pushliteral(L, "");
  else if (evbuffer_peek(buf, (ev_ssize_t)n, &p, &piece, 1) >= 1
           && piece.iov_len >= n)
    lua_pushlstring(L, piece.iov_base, n);  /* in one piece: copied once */
  else {
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, n);
    copy(recheck(L, get, arg, at + n), at, to, n);
    luaL_pushresultsize(&b, n);
  }
}

/* Pushes 'n' bytes of the buffer that get(L, arg) gives, and takes them and
   'more' from it; not before they are a string, so that a lack of memory
   loses none. */
void levL_take (lua_State *L, lev_Get get, int arg, size_t n, size_t more) {
  pushcopy(L, get, arg, 0, n);
  evbuffer_drain(recheck(L, get, arg, n + more), n + more);
}

/* The same for up to 'n' bytes. */
void levL_pushdata (lua_State *L, lev_Get get, int arg, size_t n) {
  size_t len = evbuffer_get_length(get(L, arg));
  levL_take(L, get, arg, n < len ? n : len, 0);
}

/* ====} */

/* {==== In and out ==== */

/* Pushes an empty buffer of the script's own. */
struct evbuffer *levL_newbuffer (lua_State *L) {
  lev_Buffer *b = newbuffer(L);
  b->buf = evbuffer_new();
  if (b->buf == NULL)
    levL_nomemory(L);
  return b->buf;
}

/* The one at 'idx'; NULL if it is closed, or there is none. */
struct evbuffer *levL_tobuffer (lua_State *L, int idx) {
  lev_Buffer *b = luaL_testudata(L, idx, LEV_BUFFER);
  return b ? b->buf : NULL;
}

LEV_EXPORT struct evbuffer *lualibevent_tobuffer (lua_State *L, int idx) {
  return levL_checkbuffer(L, idx)->buf;
}

LEV_EXPORT void lualibevent_givebuffer (lua_State *L, struct evbuffer *buf) {
  luaL_requiref(L, "libevent.core", luaopen_libevent_core, 0);
  lua_pop(L, 1);
  newbuffer(L)->buf = buf;
}

/* libevent.buffer([data]) -> buffer */
static int lev_buffer_new (lua_State *L) {
  int last = lua_isnoneornil(L, 1) ? 0 : 1;
  struct evbuffer *buf = levL_newbuffer(L);
  levL_checkdata(L, 1, last);
  if (!levL_adddata(L, 1, last, buf))
    return levL_nomemory(L);
  return 1;
}

/* buffer:add(data...) -> buffer */
static int lev_buffer_add (lua_State *L) {
  int last = lua_gettop(L);
  bool ok;
  levL_checkbuffer(L, 1);
  levL_checkdata(L, 2, last);
  ok = levL_adddata(L, 2, last, levL_checksink(L, 1));
  levL_settlesink(L, 1);
  if (!ok)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* buffer:prepend(data) -> buffer */
static int lev_buffer_prepend (lua_State *L) {
  struct evbuffer *buf;
  int r;
  levL_checkbuffer(L, 1);
  levL_checkdata(L, 2, 2);
  buf = levL_checksource(L, 1);
  if (lua_type(L, 2) == LUA_TSTRING)
    r = levL_prependstring(L, 2, buf);
  else
    r = evbuffer_prepend_buffer(buf, levL_checksource(L, 2));
  if (r < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* buffer:remove([n]) -> string */
static int lev_buffer_remove (lua_State *L) {
  levL_checksource(L, 1);
  levL_pushdata(L, levL_checksource, 1, levL_optsize(L, 2, SIZE_MAX));
  return 1;
}

/* buffer:drain([n]) -> buffer */
static int lev_buffer_drain (lua_State *L) {
  struct evbuffer *buf = levL_checksource(L, 1);
  evbuffer_drain(buf, levL_optsize(L, 2, SIZE_MAX));
  lua_settop(L, 1);
  return 1;
}

/* A position, from 1 to one past the end, as an offset. */
size_t levL_optoffset (lua_State *L, int arg, size_t len) {
  if (lua_isnoneornil(L, arg))
    return 0;
  return (size_t)levL_range(L, arg, arg, 1, (lua_Integer)len + 1) - 1;
}

/* buffer:copyout([n [, from]]) -> string */
static int lev_buffer_copyout (lua_State *L) {
  size_t len = evbuffer_get_length(levL_checkbytes(L, 1));
  size_t n = levL_optsize(L, 2, len);
  size_t at = levL_optoffset(L, 3, len);
  pushcopy(L, levL_checkbytes, 1, at, n < len - at ? n : len - at);
  return 1;
}

/* ====} */

/* {==== From buffer to buffer ==== */

/* buffer:add_buffer(source) -> buffer */
static int lev_buffer_add_buffer (lua_State *L) {
  struct evbuffer *source;
  int r;
  levL_checkbuffer(L, 1);
  source = levL_checksource(L, 2);
  r = evbuffer_add_buffer(levL_checksink(L, 1), source);
  levL_settlesink(L, 1);
  if (r < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* buffer:prepend_buffer(source) -> buffer */
static int lev_buffer_prepend_buffer (lua_State *L) {
  struct evbuffer *buf = levL_checksource(L, 1);
  if (evbuffer_prepend_buffer(buf, levL_checksource(L, 2)) < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* How many of the first 'n' bytes, fewer than there are, fill pieces of the
   buffer that can be moved as they are. */
static size_t wholepieces (struct evbuffer *buf, size_t n) {
  struct evbuffer_ptr p;
  struct evbuffer_iovec piece;
  size_t at = 0;
  evbuffer_ptr_set(buf, &p, 0, EVBUFFER_PTR_SET);
  while (evbuffer_peek(buf, 1, &p, &piece, 1) > 0 && piece.iov_len <= n - at) {
    at += piece.iov_len;
    evbuffer_ptr_set(buf, &p, piece.iov_len, EVBUFFER_PTR_ADD);
  }
  return at;
}

/* Copies up to 'n' bytes that lie in one piece. */
static int copypiece (struct evbuffer *buf, size_t at, size_t n,
                      struct evbuffer *to) {
  struct evbuffer_ptr p;
  struct evbuffer_iovec piece;
  evbuffer_ptr_set(buf, &p, at, EVBUFFER_PTR_SET);
  evbuffer_peek(buf, (ev_ssize_t)n, &p, &piece, 1);
  return evbuffer_add(to, piece.iov_base, n);
}

/* Moves 'n' bytes, fewer than there are, or none: false without memory.
   libevent itself would lose those that it has to copy, the last ones. */
static bool movepart (struct evbuffer *buf, struct evbuffer *to, size_t n) {
  size_t whole = wholepieces(buf, n);
  struct evbuffer *last = whole > 0 ? evbuffer_new() : to;
  bool ok = last && (n == whole || copypiece(buf, whole, n - whole, last) == 0);
  if (ok && whole > 0) {
    evbuffer_remove_buffer(buf, to, whole);
    evbuffer_add_buffer(to, last);
  }
  if (ok)
    evbuffer_drain(buf, n - whole);
  if (last && last != to)
    evbuffer_free(last);
  return ok;
}

/* buffer:remove_buffer(to, n) -> count */
static int lev_buffer_remove_buffer (lua_State *L) {
  struct evbuffer *buf = levL_checksource(L, 1);
  size_t n = (size_t)levL_range(L, 3, 3, 0, LUA_MAXINTEGER);
  size_t len = evbuffer_get_length(buf);
  struct evbuffer *to;
  bool ok = true;
  luaL_argcheck(L, !lua_rawequal(L, 1, 2), 2, "another Buffer expected");
  to = levL_checksink(L, 2);
  if (n >= len)
    evbuffer_add_buffer(to, buf);
  else
    ok = movepart(buf, to, n);
  levL_settlesink(L, 2);
  if (!ok)
    return levL_nomemory(L);
  lua_pushinteger(L, (lua_Integer)(n < len ? n : len));
  return 1;
}

/* 0, EINVAL or ENOMEM. By way of another buffer: libevent frees an empty chain
   of the destination's and then uses it, and says nothing when it runs out of
   memory half way. */
static int addreference (struct evbuffer *to, struct evbuffer *source) {
  struct evbuffer *part = evbuffer_new();
  int err = 0;
  if (part == NULL)
    return ENOMEM;
  if (evbuffer_add_buffer_reference(part, source) < 0)
    err = EINVAL;
  else if (evbuffer_get_length(part) < evbuffer_get_length(source)
           || evbuffer_add_buffer(to, part) < 0)
    err = ENOMEM;
  evbuffer_free(part);
  return err;
}

/* buffer:add_buffer_reference(source) -> buffer */
static int lev_buffer_add_buffer_reference (lua_State *L) {
  struct evbuffer *source;
  int err;
  levL_checkbuffer(L, 1);
  source = levL_checkbytes(L, 2);
  luaL_argcheck(L, !lua_rawequal(L, 1, 2), 2, "another Buffer expected");
  err = addreference(levL_checksink(L, 1), source);
  levL_settlesink(L, 1);
  luaL_argcheck(L, err != EINVAL, 2, "its own bytes are another Buffer's");
  if (err)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* ====} */

/* {==== Room and its borders ==== */

/* buffer:expand(n) -> buffer */
static int lev_buffer_expand (lua_State *L) {
  lev_Buffer *b = checkend(L, 1, LEV_END);
  size_t n = (size_t)levL_range(L, 2, 2, 0, LUA_MAXINTEGER);
  if (evbuffer_expand(b->buf, n) < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* buffer:contiguous_space() -> count */
static int lev_buffer_contiguous_space (lua_State *L) {
  struct evbuffer *buf = levL_checkbytes(L, 1);
  lua_pushinteger(L, (lua_Integer)evbuffer_get_contiguous_space(buf));
  return 1;
}

static const lev_Word endwords[] = {
  {"start", LEV_START}, {"end", LEV_END}, {NULL, 0}
};

/* [1] buffer, [2] ends */
static lev_Buffer *checkends (lua_State *L, int *ends) {
  lev_Buffer *b = levL_checkbuffer(L, 1);
  luaL_argcheck(L, b->owner == NULL, 1,
                "the Bufferevent freezes its buffers itself");
  *ends = lua_isnoneornil(L, 2) ? LEV_START | LEV_END
                                : levL_checkwords(L, 2, endwords);
  lua_settop(L, 1);
  return b;
}

/* buffer:freeze([ends]) -> buffer */
static int lev_buffer_freeze (lua_State *L) {
  int ends;
  lev_Buffer *b = checkends(L, &ends);
  if (ends & LEV_START)
    evbuffer_freeze(b->buf, 1);
  if (ends & LEV_END)
    evbuffer_freeze(b->buf, 0);
  b->frozen |= ends;
  return 1;
}

/* buffer:unfreeze([ends]) -> buffer */
static int lev_buffer_unfreeze (lua_State *L) {
  int ends;
  lev_Buffer *b = checkends(L, &ends);
  if (ends & LEV_START)
    evbuffer_unfreeze(b->buf, 1);
  if (ends & LEV_END)
    evbuffer_unfreeze(b->buf, 0);
  b->frozen &= ~ends;
  return 1;
}

/* ====} */

/* buffer:length() -> count; #buffer too. Servers ask it of their output in
   each callback: what lies aside stays there. */
static int lev_buffer_length (lua_State *L) {
  lev_Buffer *b = checkopen(L, 1);
  size_t n = evbuffer_get_length(b->buf);
  if (b->owner && b->owner->kind->aside)
    n += b->owner->kind->aside(b->owner, b->buf);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/* libevent keeps all bytes of a buffer that others refer to, and for ever if it
   refers to itself: so they go first. */
static void freebuffer (lev_Buffer *b) {
  levL_unwatch(b);
  evbuffer_unfreeze(b->buf, 1);
  evbuffer_drain(b->buf, SIZE_MAX);
  evbuffer_free(b->buf);
  b->buf = NULL;
}

/* buffer:close() -> buffer: of the script's own; a borrowed one is closed by
   its bufferevent */
static int lev_buffer_close (lua_State *L) {
  lev_Buffer *b = luaL_checkudata(L, 1, LEV_BUFFER);
  lua_settop(L, 1);
  if (b->buf == NULL || b->owner)
    return 1;
  freebuffer(b);
  for (int uv = 1; uv <= LEV_NUVBUFFER; uv++) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, uv);
  }
  return 1;
}

/* tostring(buffer) -> its bytes, which stay in it. It never raises: of an
   output that holds a file it is only a name. */
static int lev_buffer__tostring (lua_State *L) {
  lev_Buffer *b = luaL_checkudata(L, 1, LEV_BUFFER);
  if (!isopen(b) || holdsfile(b))
    return levL_tostring(L, LEV_BUFFER, isopen(b));
  levL_checkbuffer(L, 1);
  pushcopy(L, levL_checkbytes, 1, 0, evbuffer_get_length(b->buf));
  return 1;
}

static const luaL_Reg methods[] = {
  {"add", lev_buffer_add},
  {"prepend", lev_buffer_prepend},
  {"remove", lev_buffer_remove},
  {"drain", lev_buffer_drain},
  {"copyout", lev_buffer_copyout},
  {"add_buffer", lev_buffer_add_buffer},
  {"prepend_buffer", lev_buffer_prepend_buffer},
  {"remove_buffer", lev_buffer_remove_buffer},
  {"add_buffer_reference", lev_buffer_add_buffer_reference},
  {"expand", lev_buffer_expand},
  {"contiguous_space", lev_buffer_contiguous_space},
  {"freeze", lev_buffer_freeze},
  {"unfreeze", lev_buffer_unfreeze},
  {"length", lev_buffer_length},
  {"close", lev_buffer_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_buffer_close},
  {"__close", lev_buffer_close},
  {"__len", lev_buffer_length},
  {"__tostring", lev_buffer__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"buffer", lev_buffer_new},
  {NULL, NULL}
};

/* [-1] the module */
void levL_openbuffer (lua_State *L) {
  levL_newtype(L, LEV_BUFFER, methods, metamethods);
  luaL_setfuncs(L, constructors, 0);
}
