/*
** buffer_search.c: what is where in an evbuffer: pieces, bytes, ends of lines.
**
** libevent's own positions end with the next change of the buffer. Here they
** are counts, which become libevent's inside of one call.
*/
#include "lev.h"

#include <stdint.h>
#include <string.h>

static const lev_Word eolwords[] = {
  {"any", EVBUFFER_EOL_ANY}, {"crlf", EVBUFFER_EOL_CRLF},
  {"crlf_strict", EVBUFFER_EOL_CRLF_STRICT}, {"lf", EVBUFFER_EOL_LF},
  {"nul", EVBUFFER_EOL_NUL}, {NULL, 0}
};

/* {==== Pieces ==== */

/* Pushes the bytes that lie in one piece from 'at' on; nil at the end. */
static void pushpiece (lua_State *L, struct evbuffer *buf, size_t at) {
  struct evbuffer_ptr p;
  struct evbuffer_iovec piece;
  if (at < evbuffer_get_length(buf)) {
    evbuffer_ptr_set(buf, &p, at, EVBUFFER_PTR_SET);
    evbuffer_peek(buf, 1, &p, &piece, 1);
    lua_pushlstring(L, piece.iov_base, piece.iov_len);
  }
  else
    lua_pushnil(L);
}

/* buffer:peek([from]) -> string | nil */
static int lev_buffer_peek (lua_State *L) {
  struct evbuffer *buf = levL_checkbytes(L, 1);
  pushpiece(L, buf, levL_optoffset(L, 2, evbuffer_get_length(buf)));
  return 1;
}

/* upvalues: the buffer; where the next piece begins, whatever has changed */
static int nextchunk (lua_State *L) {
  lua_Integer at = lua_tointeger(L, lua_upvalueindex(2));
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  pushpiece(L, levL_checkbytes(L, 1), (size_t)at);
  lua_pushinteger(L, at + (lua_Integer)lua_rawlen(L, 2));
  lua_replace(L, lua_upvalueindex(2));
  return 1;
}

/* buffer:chunks() -> iterator */
static int lev_buffer_chunks (lua_State *L) {
  levL_checkbytes(L, 1);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, nextchunk, 2);
  return 1;
}

/* ====} */

/* {==== Bytes and lines ==== */

/* buffer:search(what [, from [, to]]) -> position | nil */
static int lev_buffer_search (lua_State *L) {
  struct evbuffer *buf;
  struct evbuffer_ptr start, end, found;
  size_t size, len, from, to;
  const char *what;
  levL_checkbytes(L, 1);
  what = luaL_checklstring(L, 2, &size);
  buf = levL_checkbytes(L, 1);    /* again, after a number became a string */
  len = evbuffer_get_length(buf);
  from = levL_optoffset(L, 3, len);
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
  return lua_isnoneornil(L, arg) ? EVBUFFER_EOL_CRLF
                                 : levL_checkword(L, arg, eolwords);
}

/* buffer:search_eol([style [, from]]) -> position, length | nil */
static int lev_buffer_search_eol (lua_State *L) {
  struct evbuffer *buf = levL_checkbytes(L, 1);
  int style = opteol(L, 2);
  size_t from = levL_optoffset(L, 3, evbuffer_get_length(buf));
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

/* The line whose end is not there yet may have half of it: a last CR. */
static size_t unended (struct evbuffer *buf, int style) {
  size_t n = evbuffer_get_length(buf);
  struct evbuffer_ptr p;
  struct evbuffer_iovec last;
  if (n == 0 || (style != EVBUFFER_EOL_CRLF
                 && style != EVBUFFER_EOL_CRLF_STRICT))
    return n;
  evbuffer_ptr_set(buf, &p, n - 1, EVBUFFER_PTR_SET);
  evbuffer_peek(buf, 1, &p, &last, 1);
  return *(char *)last.iov_base == '\r' ? n - 1 : n;
}

/* buffer:readln([style [, max]]) -> line | nil [, message] */
static int lev_buffer_readln (lua_State *L) {
  struct evbuffer *buf = levL_checksource(L, 1);
  int style = opteol(L, 2);
  size_t max = levL_optsize(L, 3, SIZE_MAX);
  size_t eol;
  struct evbuffer_ptr end = evbuffer_search_eol(buf, NULL, &eol,
                                                (enum evbuffer_eol_style)style);
  size_t n = end.pos < 0 ? unended(buf, style) : (size_t)end.pos;
  if (n > max) {
    luaL_pushfail(L);
    lua_pushliteral(L, "line too long");
    return 2;
  }
  if (end.pos < 0) {
    luaL_pushfail(L);
    return 1;
  }
  levL_take(L, levL_checksource, 1, n, eol);
  return 1;
}

/* ====} */

static const luaL_Reg methods[] = {
  {"peek", lev_buffer_peek},
  {"chunks", lev_buffer_chunks},
  {"search", lev_buffer_search},
  {"search_eol", lev_buffer_search_eol},
  {"readln", lev_buffer_readln},
  {NULL, NULL}
};

void levL_opensearch (lua_State *L) {
  levL_addmethods(L, LEV_BUFFER, methods);
}
