/*
** http_text.c: what HTTP sends: text that grows, and header fields that are
** checked before they are a part of it.
**
** A name or a value that held the end of a line would be a field, an answer
** or a request of its own: none gets past here.
*/
#include "lev_http.h"

#include <stdlib.h>
#include <string.h>

/* {==== Text ==== */

/* Text in memory of the caller's, until it needs more. */
void levL_begintext (lev_Text *t, char *room, size_t size) {
  memset(t, 0, sizeof(*t));
  t->p = room;
  t->size = size;
  t->borrowed = true;
}

static bool grow (lev_Text *t, size_t n) {
  size_t size = t->size ? t->size : 256;
  char *p;
  while (size - t->n < n)
    size *= 2;
  if (t->p && size == t->size)
    return true;
  p = realloc(t->borrowed ? NULL : t->p, size);
  if (p == NULL)
    return false;
  if (t->p && t->borrowed)
    memcpy(p, t->p, t->n);
  t->p = p;
  t->size = size;
  t->borrowed = false;
  return true;
}

/* Adds what may not fit. */
void levL_growtext (lev_Text *t, const char *s, size_t n) {
  if (t->failed || !grow(t, n)) {
    t->failed = true;
    return;
  }
  memcpy(t->p + t->n, s, n);
  t->n += n;
}

void levL_addnumber (lev_Text *t, uint64_t value) {
  char digits[20];
  size_t i = sizeof(digits);
  do
    digits[--i] = (char)('0' + value % 10);
  while (value /= 10);
  levL_addtext(t, digits + i, sizeof(digits) - i);
}

void levL_freetext (lev_Text *t) {
  if (!t->borrowed)
    free(t->p);
  memset(t, 0, sizeof(*t));
}

/* ====} */

/* {==== Fields that a script gives ==== */

/* A name and a value of the script's, at these indices, for 'arg'. */
static void checkfield (lua_State *L, int arg, int name, int value) {
  size_t n, nv;
  const char *s, *v;
  s = lua_type(L, name) == LUA_TSTRING ? lua_tolstring(L, name, &n) : NULL;
  if (s == NULL || !levL_istoken(s, n)) {
    levL_expected(L, name, arg, "header name");
    return;
  }
  if (lua_type(L, value) != LUA_TSTRING && lua_type(L, value) != LUA_TNUMBER)
    levL_expected(L, value, arg, "header value");
  lua_pushvalue(L, value);
  v = lua_tolstring(L, -1, &nv);
  luaL_argcheck(L, levL_isvalue(v, nv), arg,
                "a header value has no control characters");
  luaL_argcheck(L, !levL_isword(s, n, "transfer-encoding"), arg,
                "Transfer-Encoding is set by the library");
  luaL_argcheck(L, !levL_isword(s, n, "connection")
                   || levL_isword(v, nv, "close")
                   || levL_isword(v, nv, "keep-alive")
                   || levL_isword(v, nv, "upgrade"), arg,
                "Connection is close, keep-alive or upgrade");
  luaL_argcheck(L, !levL_isword(s, n, "content-length")
                   || (nv > 0 && nv < 19 && strspn(v, "0123456789") == nv),
                arg, "Content-Length is a number of bytes");
  lua_pop(L, 1);
}

/* Fields on their way into a text: no part of it before the last of them is
   there, as any of them can be wrong. */
typedef struct Draft {
  lev_Text *t;
  size_t before, n;           /* bytes without and with them */
  int arg;
} Draft;

/* What has been checked. A number as its text; nothing here runs other code. */
static void addfield (lua_State *L, int name, int value, lev_Text *t) {
  size_t n;
  const char *s = lua_tolstring(L, name, &n);
  levL_addtext(t, s, n);
  levL_addtext(t, ": ", 2);
  s = lua_tolstring(L, value, &n);
  levL_addtext(t, s, n);
  levL_addtext(t, "\r\n", 2);
}

static void field (lua_State *L, int name, int value, Draft *d) {
  checkfield(L, d->arg, name, value);
  lua_pushvalue(L, value);
  lua_tostring(L, -1);
  if (d->t->n != d->before)
    luaL_error(L, "a finalizer has added headers");
  d->t->n = d->n;
  addfield(L, name, lua_gettop(L), d->t);
  d->n = d->t->n;
  d->t->n = d->before;
  lua_pop(L, 1);
}

/* [-1] what a name has: a value or a list of them */
static void values (lua_State *L, int name, Draft *d) {
  int top = lua_gettop(L);
  if (!lua_istable(L, top)) {
    field(L, name, top, d);
    return;
  }
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, top); i++) {
    lua_rawgeti(L, top, i);
    field(L, name, top + 1, d);
    lua_pop(L, 1);
  }
}

/* [-1] a pair of a list: name and value */
static void pair (lua_State *L, Draft *d) {
  int top = lua_gettop(L);
  if (!lua_istable(L, top))
    levL_expected(L, top, d->arg, "table of a name and a value");
  lua_rawgeti(L, top, 1);
  lua_rawgeti(L, top, 2);
  field(L, top + 1, top + 2, d);
  lua_pop(L, 2);
}

/* All of the table at 'arg': the pairs of its list, then the others. */
static void eachfield (lua_State *L, int arg, Draft *d) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, arg);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, arg, i);
    pair(L, d);
    lua_pop(L, 1);
  }
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    lua_Integer i = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
    if (i < 1 || i > n)
      values(L, lua_gettop(L) - 1, d);
    lua_pop(L, 1);
  }
}

/* The draft is a part of its text from now on, if there was memory for it. */
static void commit (lua_State *L, Draft *d) {
  bool failed = d->t->failed;
  d->t->failed = false;
  if (failed)
    levL_nomemory(L);
  d->t->n = d->n;
}

/* Adds the fields of the table at 'arg', or none if one of them is wrong; nil
   has none. */
void levL_addfields (lua_State *L, int arg, lev_Text *t) {
  Draft d = {t, t->n, t->n, arg};
  if (lua_isnoneornil(L, arg))
    return;
  luaL_checktype(L, arg, LUA_TTABLE);
  luaL_checkstack(L, 10, NULL);
  eachfield(L, arg, &d);
  commit(L, &d);
}

/* Adds one field, of the arguments at 'arg' and after it. */
void levL_addfield (lua_State *L, int arg, lev_Text *t) {
  Draft d = {t, t->n, t->n, arg};
  field(L, arg, arg + 1, &d);
  commit(L, &d);
}

/* The next field of a text; what lies behind its end is no part of it. */
bool levL_eachfield (const lev_Text *t, const char **p, lev_Field *f) {
  return *p < t->p + t->n && levL_nextfield(p, f);
}

static uint64_t number (const char *s, size_t n) {
  uint64_t value = 0;
  for (size_t i = 0; i < n; i++)
    value = value * 10 + (uint64_t)(s[i] - '0');
  return value;
}

lev_Said levL_look (const lev_Text *fields) {
  lev_Said said = {false, false, false, false, false, 0};
  const char *p = fields->p;
  lev_Field f;
  if (fields->n == 0)
    return said;
  while (levL_eachfield(fields, &p, &f)) {
    said.date |= levL_isword(f.name, f.nname, "date");
    said.type |= levL_isword(f.name, f.nname, "content-type");
    said.host |= levL_isword(f.name, f.nname, "host");
    said.close |= levL_isword(f.name, f.nname, "connection")
                  && levL_isword(f.value, f.nvalue, "close");
    if (levL_isword(f.name, f.nname, "content-length")) {
      said.length = true;
      said.bytes = number(f.value, f.nvalue);
    }
  }
  return said;
}

/* Takes away the fields of that name: was there one? */
bool levL_removefields (lev_Text *t, const char *name, size_t n) {
  const char *p = t->p, *from = p;
  char *to = t->p;
  size_t before = t->n;
  lev_Field f;
  for (; levL_eachfield(t, &p, &f); from = p) {
    if (f.nname == n && levL_same(f.name, name, n))
      continue;
    memmove(to, from, (size_t)(p - from));
    to += p - from;
  }
  t->n = (size_t)(to - t->p);
  return t->n < before;
}

/* ====} */
