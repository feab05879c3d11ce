/*
** parsers.c: what this library reads from bytes and numbers that it is given.
**
** A target is a function of parsers.lua that gets bytes, and raises if what
** comes of them is wrong. clang's libFuzzer makes up the bytes, for the target
** that the program is called like. Without it the program is given files:
**   parsers target file...
*/
#include "lev_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "lualibevent.h"

int LLVMFuzzerInitialize (int *argc, char ***argv);
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static lua_State *state;      /* [1] the target */

/* {==== What no function of the module shows alone ==== */

static const lev_Word words[] = {
  {"read", 1}, {"write", 2}, {"readwrite", 4}, {"r", 8}, {NULL, 0}
};

/* address(value) -> the address as it is told */
static int parse_address (lua_State *L) {
  struct sockaddr_storage ss;
  socklen_t len;
  memset(&ss, 0xa5, sizeof(ss));      /* all that is told must be set */
  len = levL_checkaddress(L, 1, &ss);
  levL_pushaddress(L, (struct sockaddr *)&ss, len);
  return 1;
}

/* words(value) -> the words as they are told */
static int parse_words (lua_State *L) {
  levL_pushwords(L, levL_checkwords(L, 1, words), words);
  return 1;
}

/* seconds(value) -> seconds */
static int parse_seconds (lua_State *L) {
  struct timeval tv;
  levL_pushtime(L, levL_time(L, 1, 1, &tv));
  return 1;
}

/* integer(value, min, max) -> integer */
static int parse_integer (lua_State *L) {
  lua_pushinteger(L, levL_range(L, 1, 1, luaL_checkinteger(L, 2),
                                luaL_checkinteger(L, 3)));
  return 1;
}

/* signal(value) -> number */
static int parse_signal (lua_State *L) {
  lua_pushinteger(L, levL_checksignal(L, 1));
  return 1;
}

/* scope(string) -> number | nil */
static int parse_scope (lua_State *L) {
  uint32_t scope;
  if (levL_toscope(luaL_checkstring(L, 1), &scope))
    lua_pushinteger(L, scope);
  else
    luaL_pushfail(L);
  return 1;
}

/* ====} */

/* {==== HTTP, whole and in parts ==== */

/* A copy that ends where its memory does, for the sanitizers. */
static char *copied (const char *s, size_t n) {
  char *copy = malloc(n ? n : 1);
  if (copy == NULL)
    abort();
  if (n > 0)
    memcpy(copy, s, n);
  return copy;
}

/* Gives a head the first 'n' bytes, in a place of their own. */
static int feed (lev_Head *h, const char *s, size_t n,
                 const lev_HeadLimits *limits) {
  char *copy = copied(s, n);
  int r = levL_parsehead(h, copy, n, limits);
  free(copy);
  return r;
}

static void breaks (const char *what) {
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

static void hold (bool ok, const char *what) {
  if (!ok)
    breaks(what);
}

static void samespan (lev_Span a, lev_Span b, size_t len) {
  hold(a.at == b.at && a.len == b.len, "the cut moves a span");
  hold(a.at <= len && a.len <= len - a.at, "a span leaves the head");
}

/* However it is cut, the same comes of it. */
static void samehead (int r, const lev_Head *a, int other, const lev_Head *b) {
  hold(r == other, "the cut changes the result");
  if (r >= 100)
    hold(strcmp(a->why, b->why) == 0, "the cut changes the error");
  if (r != LEV_HTTPDONE)
    return;
  hold(a->len == b->len && a->line == b->line && a->fields == b->fields
       && a->count == b->count, "the cut moves the end");
  samespan(a->method, b->method, a->len);
  samespan(a->target, b->target, a->len);
  samespan(a->path, b->path, a->len);
  samespan(a->query, b->query, a->len);
  samespan(a->host, b->host, a->len);
  samespan(a->reason, b->reason, a->len);
  hold(a->status == b->status && a->minor == b->minor && a->hosts == b->hosts
       && a->length == b->length && a->absolute == b->absolute
       && a->chunked == b->chunked && a->expect == b->expect
       && a->close == b->close && a->keepalive == b->keepalive,
       "the cut changes what is read");
}

/* Byte by byte: it is never done before its end, nor after it. */
static void feedbytes (int r, const lev_Head *whole, int what, const char *s,
                       size_t n, const lev_HeadLimits *limits) {
  lev_Head h;
  size_t i = 0;
  int now;
  levL_inithead(&h, what);
  do
    now = feed(&h, s, i, limits);
  while (now == LEV_HTTPMORE && i++ < n);
  samehead(r, whole, now, &h);
  hold(r != LEV_HTTPDONE || i == whole->len, "it is done at another byte");
}

static void setspan (lua_State *L, const char *name, const char *s,
                     lev_Span span) {
  lua_pushlstring(L, s + span.at, span.len);
  lua_setfield(L, -2, name);
}

static void setnumber (lua_State *L, const char *name, lua_Integer n) {
  lua_pushinteger(L, n);
  lua_setfield(L, -2, name);
}

static void setflag (lua_State *L, const char *name, bool is) {
  lua_pushboolean(L, is);
  lua_setfield(L, -2, name);
}

/* [-1] table: the fields, as they are found in the text of a request */
static void setfields (lua_State *L, const char *s, const lev_Head *h) {
  char *text = malloc(h->len + 1);
  const char *p = text + h->fields;
  lev_Field f;
  if (text == NULL)
    abort();
  memcpy(text, s, h->len);
  text[h->len] = '\0';
  for (lua_Integer i = 1; levL_nextfield(&p, &f); i++) {
    lua_createtable(L, 2, 0);
    lua_pushlstring(L, f.name, f.nname);
    lua_rawseti(L, -2, 1);
    lua_pushlstring(L, f.value, f.nvalue);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, i);
  }
  hold(p == text + h->len - 2, "the fields end before the head");
  free(text);
}

static void pushhead (lua_State *L, const char *s, const lev_Head *h) {
  lua_newtable(L);
  setspan(L, "method", s, h->method);
  setspan(L, "target", s, h->target);
  setspan(L, "path", s, h->path);
  setspan(L, "query", s, h->query);
  setspan(L, "host", s, h->host);
  setspan(L, "reason", s, h->reason);
  setnumber(L, "len", (lua_Integer)h->len);
  setnumber(L, "status", h->status);
  setnumber(L, "minor", h->minor);
  setnumber(L, "hosts", h->hosts);
  setnumber(L, "length", h->length);
  setflag(L, "chunked", h->chunked);
  setflag(L, "expect", h->expect);
  setflag(L, "persists", levL_persists(h));
  setfields(L, s, h);
}

/* head(what, text, cut, line, fields, count) -> result, head or why */
static int parse_head (lua_State *L) {
  int what = (int)luaL_checkinteger(L, 1);
  size_t n, cut;
  const char *s = luaL_checklstring(L, 2, &n);
  lev_HeadLimits limits = {(size_t)luaL_checkinteger(L, 4),
                           (size_t)luaL_checkinteger(L, 5),
                           (unsigned)luaL_checkinteger(L, 6)};
  lev_Head whole, h;
  int r, now;
  cut = (size_t)luaL_checkinteger(L, 3) % (n + 1);
  levL_inithead(&whole, what);
  levL_inithead(&h, what);
  r = feed(&whole, s, n, &limits);
  now = feed(&h, s, cut, &limits);
  if (now == LEV_HTTPMORE)
    now = feed(&h, s, n, &limits);
  samehead(r, &whole, now, &h);
  feedbytes(r, &whole, what, s, n, &limits);
  lua_pushinteger(L, r);
  if (r == LEV_HTTPDONE)
    pushhead(L, s, &whole);
  else
    lua_pushstring(L, whole.why);
  return 2;
}

/* Adds to [-1], a list, the data of a body that comes in pieces of 'step'
   bytes after a first one of 'cut': what it comes to, after '*used' bytes. */
static int dechunk (lua_State *L, const char *s, size_t n, size_t cut,
                    size_t step, size_t *used) {
  lev_Chunks c;
  size_t i = 0, end = cut;
  int r = LEV_HTTPMORE;
  memset(&c, 0, sizeof(c));
  for (;;) {
    char *copy = copied(s + i, end - i);
    size_t before, data;
    r = levL_parsechunk(&c, copy, end - i, &before, &data);
    hold(before <= end - i && data <= end - i - before, "data that is not there");
    hold((r == LEV_HTTPDATA) == (data > 0), "data without bytes");
    if (data > 0) {
      lua_pushlstring(L, copy + before, data);
      lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    free(copy);
    i += before + data;
    if (r == LEV_HTTPDONE || r >= 100)
      break;
    hold(r == LEV_HTTPDATA || i == end, "bytes that nobody has looked at");
    if (i == n)
      break;
    if (i == end)
      end = step < n - end ? end + step : n;
  }
  *used = i;
  return r >= 100 || r == LEV_HTTPDONE ? r : LEV_HTTPMORE;
}

/* chunks(text, cut, step) -> result, bytes used, list of data */
static int parse_chunks (lua_State *L) {
  size_t n, used;
  const char *s = luaL_checklstring(L, 1, &n);
  size_t cut = (size_t)luaL_checkinteger(L, 2);
  size_t step = (size_t)luaL_checkinteger(L, 3);
  lua_newtable(L);
  lua_pushinteger(L, dechunk(L, s, n, cut < n ? cut : n, step ? step : n + 1,
                             &used));
  lua_pushinteger(L, (lua_Integer)used);
  lua_rotate(L, -3, 2);
  return 3;
}

/* path(text) -> path | nil */
static int parse_path (lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  char *copy = copied(s, n), *path = malloc(n + 1);
  long len;
  if (path == NULL)
    abort();
  len = levL_decodepath(copy, n, path);
  hold(len <= (long)(n ? n : 1), "a path grows");
  if (len < 0)
    luaL_pushfail(L);
  else
    lua_pushlstring(L, path, (size_t)len);
  free(copy);
  free(path);
  return 1;
}

/* fields(table) -> text: as they go out */
static int parse_fields (lua_State *L) {
  static char room[64];
  static lev_Text t;          /* of the last call, too, if that has raised */
  levL_freetext(&t);
  levL_begintext(&t, room, sizeof(room));
  levL_addfields(L, 1, &t);
  lua_pushlstring(L, t.p, t.n);
  return 1;
}

/* ====} */

static const luaL_Reg parse[] = {
  {"address", parse_address},
  {"words", parse_words},
  {"seconds", parse_seconds},
  {"integer", parse_integer},
  {"signal", parse_signal},
  {"scope", parse_scope},
  {"head", parse_head},
  {"chunks", parse_chunks},
  {"path", parse_path},
  {"fields", parse_fields},
  {NULL, NULL}
};

static void fail (lua_State *L) {
  fprintf(stderr, "%s\n", lua_tostring(L, -1));
  abort();
}

/* [1] the target, and no more */
static void start (const char *name) {
  lua_State *L = state = luaL_newstate();
  luaL_openlibs(L);
  luaL_requiref(L, "libevent.core", luaopen_libevent_core, 0);
  if (luaL_loadfile(L, "spec/fuzz/parsers.lua"))
    fail(L);
  luaL_newlib(L, parse);
  if (lua_pcall(L, 1, 1, 0))
    fail(L);
  if (lua_getfield(L, -1, name) != LUA_TFUNCTION) {
    lua_pushfstring(L, "%s: no such target", name);
    fail(L);
  }
  lua_replace(L, 1);
  lua_settop(L, 1);
}

int LLVMFuzzerInitialize (int *argc, char ***argv) {
  const char *slash = strrchr(**argv, '/');
  (void)argc;
  start(slash ? slash + 1 : **argv);
  return 0;
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  lua_pushvalue(state, 1);
  lua_pushlstring(state, (const char *)data, size);
  if (lua_pcall(state, 1, 0, 0))
    fail(state);
  return 0;
}

#ifndef LIBFUZZER
static void replay (const char *path) {
  FILE *file = fopen(path, "rb");
  static uint8_t data[1 << 20];
  size_t size = file ? fread(data, 1, sizeof(data), file) : 0;
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  fclose(file);
  LLVMFuzzerTestOneInput(data, size);
}

int main (int argc, char **argv) {
  if (argc < 2)
    return 2;
  start(argv[1]);
  for (int i = 2; i < argc; i++)
    replay(argv[i]);
  printf("%d inputs\n", argc - 2);
  lua_close(state);
  return 0;
}
#endif
