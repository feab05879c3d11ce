/*
** dns_files.c: resolv.conf and the hosts file.
**
** libevent reads both once and tells of no error in them; it keeps hosts in a
** list, answers nothing at all for a name that has addresses of the other
** family alone, and ends the process when it lacks memory for a domain. Here
** both are read again when they have changed.
*/
#include "lev_dns.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The most bytes of a file that are read, and name servers of one. */
#define MAXFILE (64 << 20)
#define MAXSERVERS 32

#define SPACE " \t\r\f\v"

/* {==== Files ==== */

static bool stamp (const char *path, lev_Stamp *s) {
  struct stat st;
  memset(s, 0, sizeof(*s));
  if (stat(path, &st) < 0)
    return false;
  s->changed = st.st_mtim;
  s->size = st.st_size;
  s->ino = st.st_ino;
  return true;
}

static bool haschanged (const char *path, const lev_Stamp *old) {
  lev_Stamp now;
  return stamp(path, &now)
         && (now.changed.tv_sec != old->changed.tv_sec
             || now.changed.tv_nsec != old->changed.tv_nsec
             || now.size != old->size || now.ino != old->ino);
}

/* Pushes the bytes of a file, with a zero behind them, and returns them; NULL
   and an errno if it cannot be read. */
static char *pushfile (lua_State *L, const char *path, lev_Stamp *s) {
  size_t size, n = 0;
  ssize_t r = 0;
  char *text;
  int fd, err;
  if (!stamp(path, s))
    return NULL;
  if (s->size > MAXFILE) {
    errno = EFBIG;
    return NULL;
  }
  size = s->size < 4096 ? 4096 : (size_t)s->size;
  text = lua_newuserdatauv(L, size + 1, 0);
  fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return NULL;
  while (n < size && (r = read(fd, text + n, size - n)) > 0)
    n += (size_t)r;
  err = errno;
  close(fd);
  errno = err;
  text[n] = '\0';
  for (size_t i = 0; i < n; i++)
    if (text[i] == '\0')
      text[i] = '#';            /* it ends its line, and no more */
  return r < 0 ? NULL : text;
}

/* The next line, without what follows a character of 'comments'. */
static char *nextline (char **text, const char *comments) {
  char *line = *text;
  char *end = line + strcspn(line, "\n");
  if (*line == '\0')
    return NULL;
  *text = *end ? end + 1 : end;
  *end = '\0';
  line[strcspn(line, comments)] = '\0';
  return line;
}

static char *nextword (char **line) {
  char *word = *line + strspn(*line, SPACE);
  char *end = word + strcspn(word, SPACE);
  *line = *end ? end + 1 : end;
  *end = '\0';
  return *word ? word : NULL;
}

/* [idx] dns; [-1] path: the file that it has from now on. */
static void setfile (lua_State *L, int idx, int uv, lev_Stamp *to,
                     const lev_Stamp *from) {
  lua_setiuservalue(L, idx, uv);
  *to = *from;
}

/* ====} */

/* {==== The hosts file ==== */

static void lower (char *s) {
  for (; *s; s++)
    *s = (char)tolower((unsigned char)*s);
}

/* [-1] hosts: adds an address to what a name has. */
static void addhost (lua_State *L, const char *name, const void *address,
                     size_t len) {
  lua_pushstring(L, name);
  if (lua_rawget(L, -2) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushstring(L, name);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
  }
  lua_pushlstring(L, address, len);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static void parsehosts (lua_State *L, char *text) {
  char *line, *word;
  while ((line = nextline(&text, "#")) != NULL) {
    struct sockaddr_storage ss;
    const void *address;
    size_t len;
    word = nextword(&line);
    if (word == NULL || levL_toip(word, &ss) == 0)
      continue;
    address = levL_ipbytes(&ss, &len);
    while ((word = nextword(&line)) != NULL) {
      lower(word);
      addhost(L, word, address, len);
    }
  }
}

/* Reads the hosts file for the Dns at 'idx', in place of the one before: 0, or
   the number of values that tell why it cannot be read. */
int levL_loadhosts (lua_State *L, int idx, const char *path) {
  lev_Dns *dns = lua_touserdata(L, idx);
  lev_Stamp s;
  char *text = pushfile(L, path, &s);
  if (text == NULL)
    return levL_refuse(L, errno, NULL);
  lua_newtable(L);
  parsehosts(L, text);
  lua_pushstring(L, path);
  levL_checkdns(L, idx);      /* a finalizer may have closed it */
  setfile(L, idx, LEV_UVHOSTSPATH, &dns->hosts, &s);
  lua_setiuservalue(L, idx, LEV_UVHOSTS);
  lua_pop(L, 1);
  return 0;
}

/* An address that needs no question, if it is of a family that is wanted. */
void levL_addip (lev_Lookup *l, const void *bytes, size_t len) {
  if (len == 4 && (l->families & LEV_IPV4) && l->n4 < LEV_MAXADDRESSES)
    memcpy(&l->v4[l->n4++], bytes, len);
  else if (len == 16 && (l->families & LEV_IPV6) && l->n6 < LEV_MAXADDRESSES)
    memcpy(&l->v6[l->n6++], bytes, len);
}

static bool islocalhost (const char *name) {
  static const char local[] = "localhost";
  size_t len = strlen(name), n = sizeof(local) - 1;
  return len >= n && strcmp(name + len - n, local) == 0
         && (len == n || name[len - n - 1] == '.');
}

/* The addresses that the hosts file has for a name; "localhost" is this
   machine, whatever the file says of others. False if it does not know the
   name. */
bool levL_findhosts (lua_State *L, int idx, lev_Lookup *l) {
  char name[LEV_NAMESIZE];
  bool found = false;
  memcpy(name, l->name, sizeof(name));
  lower(name);
  if (lua_getiuservalue(L, idx, LEV_UVHOSTS) == LUA_TTABLE) {
    lua_pushstring(L, name);
    found = lua_rawget(L, -2) == LUA_TTABLE;
    for (lua_Integer i = 1; found && i <= (lua_Integer)lua_rawlen(L, -1); i++) {
      lua_rawgeti(L, -1, i);
      levL_addip(l, lua_tostring(L, -1), lua_rawlen(L, -1));
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (!found && islocalhost(name)) {
    static const char four[] = {127, 0, 0, 1};
    levL_addip(l, four, 4);
    levL_addip(l, &in6addr_loopback, 16);
    found = true;
  }
  return found;
}

/* ====} */

/* {==== resolv.conf ==== */

/* What a resolv.conf says; on the stack of Lua, which frees it. */
typedef struct Conf {
  lev_Server servers[MAXSERVERS];
  int nservers;
  int ndots, timeout, attempts;     /* -1: says nothing */
} Conf;

static int number (const char *s, int max) {
  long n = strtol(s, NULL, 10);
  return !isdigit((unsigned char)*s) ? -1 : n > max ? max : (int)n;
}

static void parseoption (Conf *c, const char *word) {
  if (strncmp(word, "ndots:", 6) == 0)
    c->ndots = number(word + 6, 15);
  else if (strncmp(word, "timeout:", 8) == 0)
    c->timeout = number(word + 8, 30);
  else if (strncmp(word, "attempts:", 9) == 0)
    c->attempts = number(word + 9, 5);
}

/* The last line of "search" or "domain" counts: [-1] the words of it. */
static void parseline (lua_State *L, Conf *c, char *line) {
  char *key = nextword(&line), *word;
  if (key == NULL)
    return;
  if (strcmp(key, "nameserver") == 0) {
    word = nextword(&line);
    if (word && c->nservers < MAXSERVERS
        && levL_toserver(word, &c->servers[c->nservers]))
      c->nservers++;
  }
  else if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0) {
    word = *key == 's' ? line : nextword(&line);  /* "domain" has one */
    lua_pushstring(L, word ? word : "");
    lua_replace(L, -2);
  }
  else if (strcmp(key, "options") == 0)
    while ((word = nextword(&line)) != NULL)
      parseoption(c, word);
}

/* Without a word of domains it is the one that this machine is in. */
static void pushowndomain (lua_State *L) {
  char host[LEV_NAMESIZE];
  const char *dot = NULL;
  if (gethostname(host, sizeof(host)) == 0) {
    host[sizeof(host) - 1] = '\0';
    dot = strchr(host, '.');
  }
  lua_pushstring(L, dot ? dot + 1 : "");
}

/* [-1] the domains as text */
static void setdomains (lua_State *L, lev_Dns *dns) {
  size_t size = lua_rawlen(L, -1) + 1;
  char *text = lua_newuserdatauv(L, size, 0);
  char *word;
  memcpy(text, lua_tostring(L, -2), size);
  levL_cleardomains(dns);
  while ((word = nextword(&text)) != NULL) {
    char name[LEV_NAMESIZE];
    const char *start = word + (*word == '.');
    if (levL_toname(start, strlen(start), name))
      levL_adddomain(L, dns, name);
  }
  lua_pop(L, 1);
}

static void apply (lua_State *L, lev_Dns *dns, Conf *c) {
  if (!(dns->given & LEV_GIVENSERVERS)) {
    if (c->nservers == 0)
      levL_toserver("127.0.0.1", &c->servers[c->nservers++]);
    if (!levL_setservers(dns, c->servers, c->nservers))
      levL_unable(L);
  }
  if (!(dns->given & LEV_GIVENSEARCH))
    setdomains(L, dns);
  if (!(dns->given & LEV_GIVENNDOTS))
    levL_setdnsoption(dns, "ndots", c->ndots < 0 ? 1 : c->ndots);
  if (!(dns->given & LEV_GIVENTIMEOUT))
    levL_setdnsoption(dns, "timeout", c->timeout < 1 ? 5 : c->timeout);
  if (!(dns->given & LEV_GIVENATTEMPTS))
    levL_setdnsoption(dns, "attempts", c->attempts < 1 ? 3 : c->attempts);
}

/* Reads resolv.conf for the Dns at 'idx', but for what the script has said
   itself: 0, or the number of values that tell why it cannot be read. */
int levL_loadconf (lua_State *L, int idx, const char *path) {
  lev_Dns *dns = lua_touserdata(L, idx);
  int top = lua_gettop(L);
  lev_Stamp s;
  char *line, *text = pushfile(L, path, &s);
  Conf *c;
  if (text == NULL)
    return levL_refuse(L, errno, NULL);
  c = lua_newuserdatauv(L, sizeof(*c), 0);
  memset(c, 0, sizeof(*c));
  c->ndots = c->timeout = c->attempts = -1;
  pushowndomain(L);
  while ((line = nextline(&text, "#;")) != NULL)
    parseline(L, c, line);
  lua_pushstring(L, path);
  levL_checkdns(L, idx);      /* a finalizer may have closed it */
  setfile(L, idx, LEV_UVCONFPATH, &dns->conf, &s);
  apply(L, dns, c);
  lua_settop(L, top);
  return 0;
}

/* ====} */

/* Reads again what has changed; resolv.conf when nobody is being asked. A file
   that is gone, or cannot be read now, is what it was. */
void levL_refreshdns (lua_State *L, int idx) {
  const lev_Dns *dns = lua_touserdata(L, idx);
  int top = lua_gettop(L);
  if (lua_getiuservalue(L, idx, LEV_UVHOSTSPATH) == LUA_TSTRING
      && haschanged(lua_tostring(L, -1), &dns->hosts))
    levL_loadhosts(L, idx, lua_tostring(L, -1));
  lua_settop(L, top);
  if (!dns->awake && lua_getiuservalue(L, idx, LEV_UVCONFPATH) == LUA_TSTRING
      && haschanged(lua_tostring(L, -1), &dns->conf))
    levL_loadconf(L, idx, lua_tostring(L, -1));
  lua_settop(L, top);
}
