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
#include <string.h>

#define LEV_UVOWNER LEV_UVBASE      /* of a borrowed buffer: its bufferevent */

typedef struct lev_Buffer {
  struct evbuffer *buf;             /* NULL once closed */
  const lev_Object *owner;          /* who it is borrowed from, or NULL */
  bool input;                       /* borrowed: an input, else an output */
} lev_Buffer;

static const lev_Word eolwords[] = {
  {"any", EVBUFFER_EOL_ANY}, {"crlf", EVBUFFER_EOL_CRLF},
  {"crlf_strict", EVBUFFER_EOL_CRLF_STRICT}, {"lf", EVBUFFER_EOL_LF},
  {"nul", EVBUFFER_EOL_NUL}, {NULL, 0}
};

/* {==== Accessors ==== */

static bool isopen (const lev_Buffer *b) {
  return b->buf && (b->owner == NULL || b->owner->base);
}

static lev_Buffer *checkopen (lua_State *L, int arg) {
  lev_Buffer *b = luaL_checkudata(L, arg, LEV_BUFFER);
  if (!isopen(b))
    luaL_argerror(L, arg, b->owner ? "Bufferevent is closed"
                                   : "Buffer is closed");
  return b;
}

static struct evbuffer *checkbuffer (lua_State *L) {
  return checkopen(L, 1)->buf;
}

/* A buffer whose start is taken from. */
static struct evbuffer *checksource (lua_State *L, int arg) {
  lev_Buffer *b = checkopen(L, arg);
  luaL_argcheck(L, b->owner == NULL || b->input, arg,
                "the start of an output is frozen");
  return b->buf;
}

/* A buffer whose end is added to. */
static struct evbuffer *checksink (lua_State *L, int arg) {
  lev_Buffer *b = checkopen(L, arg);
  luaL_argcheck(L, b->owner == NULL || !b->input, arg,
                "the end of an input is frozen");
  return b->buf;
}

struct evbuffer *levL_checkbuffer (lua_State *L, int arg, bool taken) {
  return taken ? checksource(L, arg) : checksink(L, arg);
}

/* The buffer 'buf' of the object at 'owner', as a userdata. */
void levL_pushborrowed (lua_State *L, int owner, struct evbuffer *buf,
                        bool input) {
  lev_Buffer *b = lua_newuserdatauv(L, sizeof(*b), 1);
  b->buf = buf;
  b->owner = lua_touserdata(L, owner);
  b->input = input;
  luaL_setmetatable(L, LEV_BUFFER);
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, LEV_UVOWNER);
}

/* ====} */

/* {==== Data: strings, numbers and buffers ==== */

void levL_checkdata (lua_State *L, int arg) {
  if (lua_isstring(L, arg))
    lua_tostring(L, arg);     /* a number becomes its string here, or raises */
  else if (luaL_testudata(L, arg, LEV_BUFFER))
    checksource(L, arg);
  else
    levL_expected(L, arg, arg, "string, number or Buffer");
}

/* Adds data that levL_checkdata has seen; false without memory. */
bool levL_adddata (lua_State *L, int arg, struct evbuffer *to) {
  if (lua_type(L, arg) == LUA_TSTRING) {
    size_t len;
    const char *s = lua_tolstring(L, arg, &len);
    return evbuffer_add(to, s, len) == 0;
  }
  return evbuffer_add_buffer(to, ((lev_Buffer *)lua_touserdata(L, arg))->buf)
         == 0;
}

/* Pushes a copy of 'n' bytes from 'at'; they are there. */
static void pushcopy (lua_State *L, struct evbuffer *buf, size_t at,
                      size_t n) {
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
    evbuffer_copyout_from(buf, &p, to, n);
    luaL_pushresultsize(&b, n);
  }
}

/* Pushes up to 'n' bytes and takes them from the buffer; not before they are
   a string, so that a lack of memory loses none. */
void levL_pushdata (lua_State *L, struct evbuffer *from, size_t n) {
  size_t len = evbuffer_get_length(from);
  if (n > len)
    n = len;
  pushcopy(L, from, 0, n);
  evbuffer_drain(from, n);
}

/* ====} */

/* {==== In and out ==== */

/* libevent.buffer([data]) -> buffer */
static int lev_buffer_new (lua_State *L) {
  lev_Buffer *b;
  lua_settop(L, 1);
  if (!lua_isnil(L, 1))
    levL_checkdata(L, 1);
  b = lua_newuserdatauv(L, sizeof(*b), 1);
  memset(b, 0, sizeof(*b));
  luaL_setmetatable(L, LEV_BUFFER);
  b->buf = evbuffer_new();
  if (b->buf == NULL || (!lua_isnil(L, 1) && !levL_adddata(L, 1, b->buf)))
    return levL_nomemory(L);
  return 1;
}

/* buffer:add(data...) -> buffer */
static int lev_buffer_add (lua_State *L) {
  struct evbuffer *buf = checksink(L, 1);
  int n = lua_gettop(L);
  for (int arg = 2; arg <= n; arg++)
    levL_checkdata(L, arg);
  for (int arg = 2; arg <= n; arg++)
    if (!levL_adddata(L, arg, buf))
      return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* buffer:prepend(data) -> buffer */
static int lev_buffer_prepend (lua_State *L) {
  struct evbuffer *buf = checksource(L, 1);
  int r;
  levL_checkdata(L, 2);
  if (lua_type(L, 2) == LUA_TSTRING) {
    size_t len;
    const char *s = lua_tolstring(L, 2, &len);
    r = evbuffer_prepend(buf, s, len);
  }
  else
    r = evbuffer_prepend_buffer(buf, checksource(L, 2));
  if (r < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* buffer:remove([n]) -> string */
static int lev_buffer_remove (lua_State *L) {
  struct evbuffer *buf = checksource(L, 1);
  levL_pushdata(L, buf, levL_optsize(L, 2, SIZE_MAX));
  return 1;
}

/* buffer:drain([n]) -> buffer */
static int lev_buffer_drain (lua_State *L) {
  struct evbuffer *buf = checksource(L, 1);
  evbuffer_drain(buf, levL_optsize(L, 2, SIZE_MAX));
  lua_settop(L, 1);
  return 1;
}

/* A position, from 1 to one past the end, as an offset. */
static size_t optoffset (lua_State *L, int arg, size_t len, size_t def) {
  if (lua_isnoneornil(L, arg))
    return def;
  return (size_t)levL_range(L, arg, arg, 1, (lua_Integer)len + 1) - 1;
}

/* buffer:copyout([n [, from]]) -> string */
static int lev_buffer_copyout (lua_State *L) {
  struct evbuffer *buf = checkbuffer(L);
  size_t len = evbuffer_get_length(buf);
  size_t n = levL_optsize(L, 2, len);
  size_t at = optoffset(L, 3, len, 0);
  pushcopy(L, buf, at, n < len - at ? n : len - at);
  return 1;
}

/* ====} */

/* {==== From buffer to buffer ==== */

/* buffer:add_buffer(source) -> buffer */
static int lev_buffer_add_buffer (lua_State *L) {
  struct evbuffer *buf = checksink(L, 1);
  if (evbuffer_add_buffer(buf, checksource(L, 2)) < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* buffer:prepend_buffer(source) -> buffer */
static int lev_buffer_prepend_buffer (lua_State *L) {
  struct evbuffer *buf = checksource(L, 1);
  if (evbuffer_prepend_buffer(buf, checksource(L, 2)) < 0)
    return levL_nomemory(L);
  lua_settop(L, 1);
  return 1;
}

/* buffer:remove_buffer(to, n) -> count */
static int lev_buffer_remove_buffer (lua_State *L) {
  struct evbuffer *buf = checksource(L, 1);
  struct evbuffer *to = checksink(L, 2);
  size_t n = (size_t)levL_range(L, 3, 3, 0, LUA_MAXINTEGER);
  size_t moved = 0;
  luaL_argcheck(L, to != buf, 2, "another Buffer expected");
  while (moved < n && evbuffer_get_length(buf) > 0) {
    size_t part = n - moved < INT_MAX ? n - moved : INT_MAX;
    int r = evbuffer_remove_buffer(buf, to, part);
    if (r < 0)
      return levL_nomemory(L);
    moved += (size_t)r;
  }
  lua_pushinteger(L, (lua_Integer)moved);
  return 1;
}

/* ====} */

/* {==== Search ==== */

/* buffer:search(what [, from [, to]]) -> position | nil */
static int lev_buffer_search (lua_State *L) {
  struct evbuffer *buf = checkbuffer(L);
  size_t len = evbuffer_get_length(buf);
  size_t size, from, to;
  const char *what = luaL_checklstring(L, 2, &size);
  struct evbuffer_ptr start, end, found;
  from = optoffset(L, 3, len, 0);
  to = lua_isnoneornil(L, 4) ? len
                             : (size_t)levL_range(L, 4, 4, 0, LUA_MAXINTEGER);
  if (to > len)
    to = len;
  if (from > to || size > to - from) {
    luaL_pushfail(L);
    return 1;
  }
  if (size == 0) {
    lua_pushinteger(L, (lua_Integer)from + 1);
    return 1;
  }
  evbuffer_ptr_set(buf, &start, from, EVBUFFER_PTR_SET);
  evbuffer_ptr_set(buf, &end, to, EVBUFFER_PTR_SET);
  found = evbuffer_search_range(buf, what, size, &start, &end);
  if (found.pos < 0)
    luaL_pushfail(L);
  else
    lua_pushinteger(L, (lua_Integer)found.pos + 1);
  return 1;
}

static int opteol (lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg))
    return EVBUFFER_EOL_CRLF;
  for (const lev_Word *w = eolwords; w->name; w++)
    if (lua_type(L, arg) == LUA_TSTRING
        && strcmp(w->name, lua_tostring(L, arg)) == 0)
      return w->value;
  return levL_expected(L, arg, arg, "one of any, crlf, crlf_strict, lf, nul");
}

/* buffer:search_eol([style [, from]]) -> position, length | nil */
static int lev_buffer_search_eol (lua_State *L) {
  struct evbuffer *buf = checkbuffer(L);
  int style = opteol(L, 2);
  size_t from = optoffset(L, 3, evbuffer_get_length(buf), 0);
  struct evbuffer_ptr start, found;
  size_t eol;
  evbuffer_ptr_set(buf, &start, from, EVBUFFER_PTR_SET);
  found = evbuffer_search_eol(buf, &start, &eol,
                              (enum evbuffer_eol_style)style);
  if (found.pos < 0) {
    luaL_pushfail(L);
    return 1;
  }
  lua_pushinteger(L, (lua_Integer)found.pos + 1);
  lua_pushinteger(L, (lua_Integer)eol);
  return 2;
}

/* buffer:readln([style [, max]]) -> line | nil [, message] */
static int lev_buffer_readln (lua_State *L) {
  struct evbuffer *buf = checksource(L, 1);
  int style = opteol(L, 2);
  size_t max = levL_optsize(L, 3, SIZE_MAX);
  size_t eol;
  struct evbuffer_ptr end = evbuffer_search_eol(buf, NULL, &eol,
                                                (enum evbuffer_eol_style)style);
  size_t n = end.pos < 0 ? evbuffer_get_length(buf) : (size_t)end.pos;
  if (n > max) {
    luaL_pushfail(L);
    lua_pushliteral(L, "line too long");
    return 2;
  }
  if (end.pos < 0) {
    luaL_pushfail(L);
    return 1;
  }
  pushcopy(L, buf, 0, n);
  evbuffer_drain(buf, n + eol);
  return 1;
}

/* ====} */

/* {==== Descriptors ==== */

static int pushcount (lua_State *L, int n) {
  if (n < 0)
    return levL_refuse(L, errno, NULL);
  lua_pushinteger(L, n);
  return 1;
}

/* buffer:read(fd [, n]) -> count | nil, message, errno */
static int lev_buffer_read (lua_State *L) {
  struct evbuffer *buf = checksink(L, 1);
  int fd = levL_checkfd(L, 2);
  size_t n = levL_optsize(L, 3, INT_MAX);
  return pushcount(L, evbuffer_read(buf, fd, n < INT_MAX ? (int)n : INT_MAX));
}

/* buffer:write(fd [, n]) -> count | nil, message, errno */
static int lev_buffer_write (lua_State *L) {
  struct evbuffer *buf = checksource(L, 1);
  int fd = levL_checkfd(L, 2);
  size_t n = levL_optsize(L, 3, INT_MAX);
  if (evbuffer_get_length(buf) == 0)
    n = 0;
  return pushcount(L, n == 0 ? 0 : evbuffer_write_atmost(buf, fd,
                                       n < INT_MAX ? (int)n : INT_MAX));
}

/* ====} */

/* buffer:length() -> count; #buffer too */
static int lev_buffer_length (lua_State *L) {
  lua_pushinteger(L, (lua_Integer)evbuffer_get_length(checkbuffer(L)));
  return 1;
}

/* buffer:close() -> buffer: of the script's own; a borrowed one is closed by
   its bufferevent */
static int lev_buffer_close (lua_State *L) {
  lev_Buffer *b = luaL_checkudata(L, 1, LEV_BUFFER);
  if (b->buf && b->owner == NULL) {
    evbuffer_free(b->buf);
    b->buf = NULL;
  }
  lua_settop(L, 1);
  return 1;
}

/* tostring(buffer) -> its bytes, which stay in it */
static int lev_buffer__tostring (lua_State *L) {
  lev_Buffer *b = luaL_checkudata(L, 1, LEV_BUFFER);
  if (!isopen(b))
    return levL_tostring(L, LEV_BUFFER, false);
  pushcopy(L, b->buf, 0, evbuffer_get_length(b->buf));
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
  {"search", lev_buffer_search},
  {"search_eol", lev_buffer_search_eol},
  {"readln", lev_buffer_readln},
  {"read", lev_buffer_read},
  {"write", lev_buffer_write},
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
