/*
** dns_lookup.c: what is wanted to be known of a name, and the object that a
** script has for it.
**
** evdns_getaddrinfo tells no failure from another, no address of a name that
** one family lacks, and nothing at all where it has no memory: so the two
** questions are put here, and their answers joined.
*/
#include "lev_dns.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>

/* {==== Names and errors ==== */

/* A name as it is asked for: its labels have 1 to 63 bytes, and it has 253 at
   most; a dot at its end is taken off. */
bool levL_toname (const char *s, size_t len, char name[LEV_NAMESIZE]) {
  size_t label = 0;
  if (len > 0 && s[len - 1] == '.')
    len--;
  if (len == 0 || len > 253)
    return false;
  for (size_t i = 0; i < len; i++) {
    label = s[i] == '.' ? 0 : label + 1;
    if (s[i] == '\0' || label > 63 || (s[i] == '.' && (i == 0
                                                       || s[i - 1] == '.')))
      return false;
  }
  if (label == 0)
    return false;
  memcpy(name, s, len);
  name[len] = '\0';
  return true;
}

typedef struct Failure {
  int err;
  const char *code, *message;
} Failure;

static const Failure failures[] = {
  {DNS_ERR_FORMAT, "format", NULL},
  {DNS_ERR_SERVERFAILED, "serverfailed", NULL},
  {DNS_ERR_NOTEXIST, "notexist", NULL},
  {DNS_ERR_NOTIMPL, "notimpl", NULL},
  {DNS_ERR_REFUSED, "refused", NULL},
  {DNS_ERR_TRUNCATED, "truncated", "the answer is longer than libevent takes"},
  {DNS_ERR_UNKNOWN, "unknown", "the answer makes no sense"},
  {DNS_ERR_TIMEOUT, "timeout", NULL},
  {DNS_ERR_SHUTDOWN, "shutdown", "the resolver has been closed"},
  {DNS_ERR_CANCEL, "cancel", "cancelled"},
  {DNS_ERR_NODATA, "nodata", "there is no such record"},
  {LEV_DNSINVALID, "invalid", "this is not a name"},
  {LEV_DNSNOSERVER, "noserver", "there is no name server to ask"},
  {LEV_DNSNOMEMORY, "nomemory", "not enough memory"},
  {0, NULL, NULL}
};

static const Failure *failure (int err) {
  const Failure *f = failures;
  while (f->code && f->err != err)
    f++;
  return f->code ? f : failure(DNS_ERR_UNKNOWN);
}

const char *levL_dnsmessage (int err) {
  const Failure *f = failure(err);
  return f->message ? f->message : evdns_err_to_string(err);
}

/* ====} */

/* {==== The course of a lookup ==== */

static void forget (lev_Lookup *l) {
  for (int i = 0; i < 2; i++) {
    lev_Question *q = l->questions[i];
    l->questions[i] = NULL;
    if (q)
      levL_dismiss(q);
  }
}

/* It asks nothing any more. */
static void leave (lev_Lookup *l) {
  lev_Dns *dns = l->dns;
  if (dns == NULL)
    return;
  forget(l);
  *l->link = l->next;
  if (l->next)
    l->next->link = l->link;
  l->dns = NULL;
  levL_pumpdns(dns);
}

/* It is over: whoever waits hears of it in the loop. */
void levL_endlookup (lev_Lookup *l, int err) {
  if (l->over)
    return;
  l->over = true;
  l->err = err;
  event_del(&l->skew);
  event_del(&l->end);
  event_active(&l->end, EV_TIMEOUT, 1);
  leave(l);
}

/* Before the memory of it goes. */
void levL_freelookup (lev_Lookup *l) {
  if (!l->begun)
    return;
  l->over = true;
  event_del(&l->skew);
  event_del(&l->end);
  leave(l);
}

static void onend (evutil_socket_t fd, short what, void *arg) {
  lev_Lookup *l = arg;
  (void)fd; (void)what;
  if (l->over)
    l->done(l);
  else
    levL_endlookup(l, DNS_ERR_TIMEOUT);
}

static void conclude (lev_Lookup *l);

/* The other family has taken its time. */
static void onskew (evutil_socket_t fd, short what, void *arg) {
  lev_Lookup *l = arg;
  (void)fd; (void)what;
  forget(l);
  conclude(l);
}

static bool found (const lev_Lookup *l) {
  return l->families ? l->n4 + l->n6 > 0 : l->answer[0] != '\0';
}

/* The names that it may mean: the domains in their order, and itself, first if
   it has dots enough. False after the last one. */
static bool nextname (lev_Lookup *l, char name[LEV_NAMESIZE]) {
  const lev_Dns *dns = l->dns;
  int n = l->search ? dns->nsearch : 0;
  int i = l->step++ - (l->dotted ? 1 : 0);
  if (i == (l->dotted ? -1 : n)) {
    memcpy(name, l->name, LEV_NAMESIZE);
    return true;
  }
  return i < n
         && ((size_t)snprintf(name, LEV_NAMESIZE, "%s.%s", l->name,
                              dns->search[i]) < LEV_NAMESIZE - 2
             || nextname(l, name));
}

/* Puts the questions for the next name; false if there is none. */
static bool askname (lev_Lookup *l) {
  char name[LEV_NAMESIZE];
  bool ok = true;
  if (!nextname(l, name))
    return false;
  l->errs[0] = l->errs[1] = 0;
  if (l->families & LEV_IPV4)
    ok = levL_ask(l, 0, name, NULL, AF_INET);
  if (ok && (l->families & LEV_IPV6))
    ok = levL_ask(l, 1, name, NULL, AF_INET6);
  if (!ok)
    levL_endlookup(l, LEV_DNSNOMEMORY);
  return true;
}

static bool isabsent (int err) {
  return err == 0 || err == DNS_ERR_NOTEXIST || err == DNS_ERR_NODATA;
}

/* Both have answered, or the second one too late. Only "no" for an answer
   leads to the next name. */
static void conclude (lev_Lookup *l) {
  int err = !isabsent(l->errs[0]) ? l->errs[0] : l->errs[1];
  if (found(l))
    levL_endlookup(l, 0);
  else if (!isabsent(err))
    levL_endlookup(l, err);
  else {
    if (l->errs[0] == DNS_ERR_NODATA || l->errs[1] == DNS_ERR_NODATA)
      l->nodata = true;
    if (l->families == 0 || !askname(l))
      levL_endlookup(l, l->nodata ? DNS_ERR_NODATA : DNS_ERR_NOTEXIST);
  }
}

/* A server can say anything: only what could be asked for is a name, if it can
   be printed. */
static bool takename (lev_Lookup *l, const char *name) {
  for (const char *s = name; *s; s++)
    if ((unsigned char)*s <= 32 || *s == 127)
      return false;
  return levL_toname(name, strlen(name), l->answer);
}

static void take (lev_Lookup *l, int i, int n, int ttl, const void *data) {
  if (l->families == 0) {
    if (!takename(l, *(char *const *)data))
      l->errs[i] = DNS_ERR_UNKNOWN;
  }
  else if (i == 0) {
    l->n4 = n < LEV_MAXADDRESSES ? n : LEV_MAXADDRESSES;
    memcpy(l->v4, data, (size_t)l->n4 * sizeof(l->v4[0]));
  }
  else {
    l->n6 = n < LEV_MAXADDRESSES ? n : LEV_MAXADDRESSES;
    memcpy(l->v6, data, (size_t)l->n6 * sizeof(l->v6[0]));
  }
  if (l->ttl < 0 || ttl < l->ttl)
    l->ttl = ttl;
}

/* The answer to the question 'i', which is no more. */
void levL_answered (lev_Lookup *l, int i, int err, int n, int ttl,
                    const void *data) {
  l->questions[i] = NULL;
  l->errs[i] = err ? err : n > 0 ? 0 : DNS_ERR_NODATA;
  if (l->errs[i] == 0)
    take(l, i, n, ttl, data);
  if (l->questions[!i] == NULL)
    conclude(l);
  else if (found(l) && l->progress)
    l->progress(l);
  else if (found(l) && event_add(&l->skew, &l->dns->skew) < 0)
    onskew(-1, 0, l);         /* without memory to wait */
}

/* What needs no question: an address is its own, and the hosts file is as good
   as a server. */
static bool isknown (lua_State *L, int dns, lev_Lookup *l, const char *host,
                     size_t len) {
  struct sockaddr_storage ss;
  if (strlen(host) == len && levL_toip(host, &ss)) {
    size_t size;
    const void *bytes = levL_ipbytes(&ss, &size);
    levL_addip(l, bytes, size);
    if (ss.ss_family == AF_INET6)
      l->scope = ((struct sockaddr_in6 *)&ss)->sin6_scope_id;
  }
  else if (!levL_toname(host, len, l->name)) {
    snprintf(l->name, LEV_NAMESIZE, "%s", host);
    l->err = LEV_DNSINVALID;
  }
  else if (!levL_findhosts(L, dns, l))
    return false;
  if (l->err == 0 && !found(l))
    l->err = DNS_ERR_NODATA;
  return true;
}

static bool isdotted (const char *name, int ndots) {
  int n = 0;
  for (; *name; name++)
    n += *name == '.';
  return n >= ndots;
}

/* Looks a host up in what the Dns at 'dns' knows, or without families makes
   ready to ask for the name of the address that is there already. The lookup
   is zero but for what it is to find, and whether it may search. */
void levL_preparelookup (lua_State *L, int dns, lev_Lookup *l,
                         const char *host, size_t len) {
  const lev_Dns *d = lua_touserdata(L, dns);
  l->ttl = -1;
  if (l->families == 0)
    return;
  l->known = isknown(L, dns, l, host, len);
  l->search = l->search && !l->known && host[len - 1] != '.';
  l->dotted = !l->search || isdotted(l->name, d->ndots);
}

/* Begins it. From then on it is over some time, in the loop; false and an
   errno, if not. C only. */
bool levL_beginlookup (lev_Dns *dns, lev_Lookup *l,
                       const struct timeval *deadline) {
  struct event_base *event_base = dns->o.base->event_base;
  levL_freshen(dns->o.base);
  event_assign(&l->skew, event_base, -1, 0, onskew, l);
  event_assign(&l->end, event_base, -1, 0, onend, l);
  errno = 0;
  if (event_add(&l->end, deadline ? deadline : &dns->deadline) < 0)
    return false;
  l->begun = true;
  l->dns = dns;
  l->link = &dns->lookups;
  l->next = dns->lookups;
  if (l->next)
    l->next->link = &l->next;
  dns->lookups = l;
  if (l->known)
    levL_endlookup(l, l->err);
  else if (l->families)
    askname(l);
  else if (!levL_ask(l, 0, NULL, l->n4 ? (void *)l->v4 : (void *)l->v6,
                     l->n4 ? AF_INET : AF_INET6))
    levL_endlookup(l, LEV_DNSNOMEMORY);
  levL_pumpdns(dns);
  return true;
}

/* The i-th address that was found of a family. */
socklen_t levL_lookedup (const lev_Lookup *l, int family, int i, int port,
                         struct sockaddr_storage *ss) {
  memset(ss, 0, sizeof(*ss));
  if (family == AF_INET) {
    struct sockaddr_in *sin = (struct sockaddr_in *)ss;
    sin->sin_family = AF_INET;
    sin->sin_addr = l->v4[i];
    sin->sin_port = htons((uint16_t)port);
    return sizeof(*sin);
  }
  else {
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
    sin6->sin6_family = AF_INET6;
    sin6->sin6_addr = l->v6[i];
    sin6->sin6_port = htons((uint16_t)port);
    sin6->sin6_scope_id = l->scope;
    return sizeof(*sin6);
  }
}

/* ====} */

/* {==== DnsRequest ==== */

/* user values, after LEV_UVBASE */
enum { DNS = 2, CALLBACK, NUSERVALUES = CALLBACK };

typedef struct Request {
  lev_Object o;
  int port;                   /* of the addresses, or -1: none */
  lev_Lookup l;
} Request;

static bool isactive (const lev_Object *o) {
  return ((const Request *)o)->l.begun;
}

static void freerequest (lev_Object *o) {
  levL_freelookup(&((Request *)o)->l);
}

static const void *handle (const lev_Object *o) {
  return &((const Request *)o)->l;
}

static const lev_Kind kind = {
  .tname = LEV_DNSREQUEST, .active = isactive, .free = freerequest,
  .handle = handle
};

static void puship (lua_State *L, const Request *r, int family, int i) {
  struct sockaddr_storage ss;
  socklen_t len = levL_lookedup(&r->l, family, i, r->port, &ss);
  char text[INET6_ADDRSTRLEN];
  if (r->port >= 0)
    levL_pushaddress(L, (struct sockaddr *)&ss, len);
  else if (family == AF_INET)
    lua_pushstring(L, inet_ntop(family, &r->l.v4[i], text, sizeof(text)));
  else if (r->l.scope)
    lua_pushfstring(L, "%s%%%d", inet_ntop(family, &r->l.v6[i], text,
                                           sizeof(text)), (int)r->l.scope);
  else
    lua_pushstring(L, inet_ntop(family, &r->l.v6[i], text, sizeof(text)));
}

static void pushaddresses (lua_State *L, const Request *r) {
  lua_createtable(L, r->l.n4 + r->l.n6, 0);
  for (int i = 0; i < r->l.n4; i++) {
    puship(L, r, AF_INET, i);
    lua_rawseti(L, -2, i + 1);
  }
  for (int i = 0; i < r->l.n6; i++) {
    puship(L, r, AF_INET6, i);
    lua_rawseti(L, -2, r->l.n4 + i + 1);
  }
}

/* [1] request. It is closed when the script hears of it: there is nothing more
   to come. */
static int callresult (lua_State *L) {
  Request *r = lua_touserdata(L, 1);
  const lev_Lookup *l = &r->l;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, CALLBACK);
  lua_insert(L, 1);
  if (l->err) {
    lua_pushnil(L);
    if (l->name[0])
      lua_pushfstring(L, "%s: %s", l->name, levL_dnsmessage(l->err));
    else
      lua_pushstring(L, levL_dnsmessage(l->err));
    lua_pushstring(L, failure(l->err)->code);
  }
  else {
    if (l->families)
      pushaddresses(L, r);
    else
      lua_pushstring(L, l->answer);
    if (l->ttl >= 0)
      lua_pushinteger(L, l->ttl);
  }
  levL_free(&r->o);
  lua_call(L, lua_gettop(L) - 1, 0);
  return 0;
}

static void ondone (lev_Lookup *l) {
  Request *r = (Request *)((char *)l - offsetof(Request, l));
  levL_protect(&r->o, callresult, NULL, NULL);
  if (r->o.base)
    levL_drop(&r->o);         /* without memory to tell */
}

static const lev_Word familywords[] = {
  {"inet", LEV_IPV4}, {"inet6", LEV_IPV6}, {NULL, 0}
};

/* The option 'family' of the table at 'arg': both if it is not given. */
int levL_optfamilies (lua_State *L, int arg) {
  int families = LEV_IPV4 | LEV_IPV6;
  if (levL_option(L, arg, "family")) {
    int value = levL_words(L, lua_gettop(L), arg, familywords);
    families = value ? value : families;
  }
  lua_pop(L, 2);
  return families;
}

/* [1] dns, [2] what, [3] options, [4] callback: both forms of the arguments. */
static void checkarguments (lua_State *L) {
  levL_checkdns(L, 1);
  if (lua_gettop(L) < 4) {
    lua_settop(L, 3);
    if (!lua_istable(L, 3) || luaL_getmetafield(L, 3, "__call") != LUA_TNIL) {
      lua_settop(L, 3);
      levL_checkcallback(L, 3);
      lua_pushnil(L);
      lua_insert(L, 3);
      return;
    }
  }
  lua_settop(L, 4);
  levL_checkcallback(L, 4);
}

/* Pushes a request, and the deadline that it is given goes to 'tv'. */
static Request *newrequest (lua_State *L, const struct timeval **deadline,
                            struct timeval *tv) {
  Request *r;
  *deadline = NULL;
  if (levL_option(L, 3, "deadline"))
    *deadline = levL_time(L, lua_gettop(L), 3, tv);
  lua_settop(L, 4);
  lua_getiuservalue(L, 1, LEV_UVBASE);
  r = levL_newobject(L, 5, &kind, sizeof(*r), NUSERVALUES);       /* 6 */
  r->port = -1;
  r->l.done = ondone;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 6, DNS);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, 6, CALLBACK);
  return r;
}

/* [1] dns, [6] request */
static int begin (lua_State *L, Request *r, const char *host, size_t len,
                  const struct timeval *deadline) {
  lev_Dns *dns;
  levL_refreshdns(L, 1);
  levL_preparelookup(L, 1, &r->l, host, len);
  dns = levL_checkdns(L, 1);  /* again: a finalizer may have closed it */
  levL_anchor(L, 6, &r->o);
  levL_adopt(dns->o.base, &r->o);
  if (!levL_beginlookup(dns, &r->l, deadline)) {
    levL_free(&r->o);
    levL_settle(L, 6, &r->o);
    levL_unable(L);
  }
  return 1;
}

/* dns:resolve(host [, options], cb) -> request */
static int lev_dns_resolve (lua_State *L) {
  static const char *const names[] = {
    "family", "port", "deadline", "search", NULL
  };
  const struct timeval *deadline;
  struct timeval tv;
  const char *host;
  int families, port = -1;
  bool search = true;
  size_t len;
  Request *r;
  checkarguments(L);
  if (lua_type(L, 2) != LUA_TSTRING)
    levL_expected(L, 2, 2, "string");
  levL_checkoptions(L, 3, names);
  families = levL_optfamilies(L, 3);
  if (levL_option(L, 3, "port"))
    port = (int)levL_range(L, lua_gettop(L), 3, 0, 65535);
  if (levL_option(L, 3, "search")) {
    if (!lua_isboolean(L, -1))
      levL_expected(L, lua_gettop(L), 3, "boolean");
    search = lua_toboolean(L, -1);
  }
  lua_settop(L, 4);
  r = newrequest(L, &deadline, &tv);
  r->port = port;
  r->l.families = families;
  r->l.search = search;
  host = lua_tolstring(L, 2, &len);
  return begin(L, r, host, len, deadline);
}

/* dns:reverse(address [, options], cb) -> request */
static int lev_dns_reverse (lua_State *L) {
  static const char *const names[] = {"deadline", NULL};
  struct sockaddr_storage ss;
  const struct timeval *deadline;
  struct timeval tv;
  const char *s;
  size_t len;
  Request *r;
  checkarguments(L);
  s = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &len) : NULL;
  if (s == NULL || strlen(s) != len || levL_toip(s, &ss) == 0)
    return levL_expected(L, 2, 2, "address without a port (\"127.0.0.1\", "
                                  "\"::1\")");
  levL_checkoptions(L, 3, names);
  r = newrequest(L, &deadline, &tv);
  if (ss.ss_family == AF_INET)
    r->l.v4[r->l.n4++] = ((struct sockaddr_in *)&ss)->sin_addr;
  else
    r->l.v6[r->l.n6++] = ((struct sockaddr_in6 *)&ss)->sin6_addr;
  snprintf(r->l.name, LEV_NAMESIZE, "%s", s);
  return begin(L, r, "", 0, deadline);
}

/* dnsrequest:cancel() -> boolean */
static int lev_dnsrequest_cancel (lua_State *L) {
  Request *r = luaL_checkudata(L, 1, LEV_DNSREQUEST);
  bool open = r->o.base && !r->l.over && !levL_isgone(r->o.base);
  if (open)
    levL_endlookup(&r->l, DNS_ERR_CANCEL);
  lua_pushboolean(L, open);
  return 1;
}

/* dnsrequest:close() -> dnsrequest */
static int lev_dnsrequest_close (lua_State *L) {
  return levL_close(L, &kind);
}

static int lev_dnsrequest__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_DNSREQUEST);
  return levL_tostring(L, LEV_DNSREQUEST, o->base != NULL);
}

/* ====} */

static const luaL_Reg dnsmethods[] = {
  {"resolve", lev_dns_resolve},
  {"reverse", lev_dns_reverse},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"cancel", lev_dnsrequest_cancel},
  {"close", lev_dnsrequest_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_dnsrequest_close},
  {"__close", lev_dnsrequest_close},
  {"__tostring", lev_dnsrequest__tostring},
  {NULL, NULL}
};

void levL_opendnslookup (lua_State *L) {
  levL_newtype(L, LEV_DNSREQUEST, methods, metamethods);
  levL_addmethods(L, LEV_DNS, dnsmethods);
}
