/*
** dns.c: struct evdns_base, who is asked for names.
**
** It has no events of its own, and nothing but its lookups holds it: see
** dns_question.c for what is asked, dns_lookup.c for what for.
*/
#include "lev_dns.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>

/* The most that libevent knows of: a server that has failed is not probed
   before, see dns_question.c. */
#define PROBEAFTER "3600"

/* {==== Kind and accessors ==== */

static bool isactive (const lev_Object *o) {
  (void)o;
  return false;               /* its lookups hold it */
}

static void freedns (lev_Object *o) {
  lev_Dns *dns = (lev_Dns *)o;
  dns->suspended = true;
  while (dns->lookups)
    levL_endlookup(dns->lookups, DNS_ERR_SHUTDOWN);
  levL_forgetquestions(dns);
  evdns_base_free(dns->evdns, 1);
  free(dns->servers);
  free(dns->search);
  dns->evdns = NULL;
  dns->servers = NULL;
  dns->search = NULL;
}

/* The parent's sockets are the child's, too, and each would take the other's
   answers: the child asks again, from its own. */
static bool reinit (lev_Object *o, bool done) {
  return !done || levL_rewakedns((lev_Dns *)o);
}

static const lev_Kind kind = {
  .tname = LEV_DNS, .active = isactive, .free = freedns, .reinit = reinit
};

lev_Dns *levL_checkdns (lua_State *L, int arg) {
  return levL_checkopen(L, arg, &kind);
}

/* The option "dns" of the options at 'arg', at an index: open, and of that
   base. */
lev_Dns *levL_optiondns (lua_State *L, int idx, int arg, const lev_Base *base) {
  lev_Dns *dns = luaL_testudata(L, idx, LEV_DNS);
  if (dns == NULL) {
    luaL_argerror(L, arg, "option 'dns': Dns expected");
    return NULL;
  }
  luaL_argcheck(L, dns->o.base, arg, "option 'dns': Dns is closed");
  luaL_argcheck(L, dns->o.base == base, arg,
                "option 'dns': Dns is of another base");
  return dns;
}

/* ====} */

/* {==== Servers, domains and options ==== */

/* An address of a server: its port is 53 if it has none. 0 if it is none. */
socklen_t levL_toserver (const char *s, lev_Server *server) {
  memset(server, 0, sizeof(*server));
  server->len = levL_toip(s, &server->ss);
  if (server->len) {
    in_port_t port = htons(53);
    if (server->ss.ss_family == AF_INET)
      ((struct sockaddr_in *)&server->ss)->sin_port = port;
    else
      ((struct sockaddr_in6 *)&server->ss)->sin6_port = port;
  }
  else
    server->len = levL_toinet(s, &server->ss);
  return server->len;
}

/* Whatever allocates can run a finalizer, and that close the base. */
static void checkalive (lua_State *L, const lev_Dns *dns) {
  if (dns->o.base == NULL)
    luaL_error(L, "Dns is closed");
}

static void addserver (lua_State *L, lev_Dns *dns, const lev_Server *server) {
  checkalive(L, dns);
  if (!levL_addserver(dns, server))
    levL_nomemory(L);
}

void levL_cleardomains (lev_Dns *dns) {
  dns->nsearch = 0;
}

void levL_adddomain (lua_State *L, lev_Dns *dns, const char *domain) {
  char (*search)[LEV_NAMESIZE];
  checkalive(L, dns);
  search = realloc(dns->search, ((size_t)dns->nsearch + 1) * sizeof(*search));
  if (search == NULL) {
    levL_nomemory(L);
    return;
  }
  dns->search = search;
  snprintf(search[dns->nsearch++], LEV_NAMESIZE, "%s", domain);
}

/* The options that are numbers: their names in libevent, or NULL, and where
   they are kept here, or 0. */
typedef struct Option {
  const char *name, *evdns;
  size_t field;               /* of a lev_Dns: a timeval or an int */
  lua_Number min, max;
  bool time;
  unsigned given;
} Option;

#define FIELD(name) offsetof(lev_Dns, name)

static const Option options[] = {
  {"timeout", "timeout", FIELD(timeout), 0.001, INT_MAX, true,
   LEV_GIVENTIMEOUT},
  {"attempts", NULL, FIELD(attempts), 1, 255, false, LEV_GIVENATTEMPTS},
  {"max_inflight", NULL, FIELD(most), 1, 65000, false, 0},
  {"randomize_case", "randomize-case", 0, 0, 1, false, 0},
  {"so_rcvbuf", "so-rcvbuf", 0, 1, INT_MAX / 2, false, 0},
  {"so_sndbuf", "so-sndbuf", 0, 1, INT_MAX / 2, false, 0},
  {"ndots", NULL, FIELD(ndots), 0, 255, false, LEV_GIVENNDOTS},
  {"skew", NULL, FIELD(skew), 0, INT_MAX, true, 0},
  {"deadline", NULL, FIELD(deadline), 0.001, INT_MAX, true, 0},
  {NULL, NULL, 0, 0, 0, false, 0}
};

static const Option *findoption (const char *name) {
  const Option *o = options;
  while (o->name && strcmp(o->name, name) != 0)
    o++;
  return o->name ? o : NULL;
}

/* Sets what is ours, and tells libevent what is libevent's. False: libevent
   does not take it. The value is in its range. */
bool levL_setdnsoption (lev_Dns *dns, const char *name, lua_Number value) {
  const Option *o = findoption(name);
  char text[32];
  if (o == NULL)
    return false;
  if (o->field && o->time)
    *(struct timeval *)((char *)dns + o->field) = levL_totime(value);
  else if (o->field)
    *(int *)((char *)dns + o->field) = (int)value;
  if (o->evdns == NULL || dns->evdns == NULL)
    return true;
  snprintf(text, sizeof(text), o->time ? "%.6f" : "%.0f", (double)value);
  return evdns_base_set_option(dns->evdns, o->evdns, text) == 0;
}

static void setoption (lua_State *L, lev_Dns *dns, const Option *o,
                       lua_Number value) {
  checkalive(L, dns);
  if (!levL_setdnsoption(dns, o->name, value))
    levL_nomemory(L);
  dns->given |= o->given;
}

/* [idx] the value of an option, checked. */
static lua_Number checkvalue (lua_State *L, int idx, int arg,
                              const Option *o) {
  struct timeval tv;
  lua_Number n;
  if (o->min == 0 && o->max == 1) {
    if (!lua_isboolean(L, idx))
      levL_expected(L, idx, arg, "boolean");
    return lua_toboolean(L, idx);
  }
  if (!o->time)
    return (lua_Number)levL_range(L, idx, arg, (lua_Integer)o->min,
                                  (lua_Integer)o->max);
  if (lua_isnil(L, idx))
    levL_expected(L, idx, arg, "seconds");
  levL_time(L, idx, arg, &tv);
  n = (lua_Number)tv.tv_sec + (lua_Number)tv.tv_usec / 1e6;
  if (n < o->min)
    levL_expected(L, idx, arg, "seconds from 0.001 on");
  return n;
}

static void checkserver (lua_State *L, int idx, int arg, lev_Server *server) {
  size_t len;
  const char *s = lua_type(L, idx) == LUA_TSTRING ? lua_tolstring(L, idx, &len)
                                                  : NULL;
  memset(server, 0, sizeof(*server));
  if (s == NULL || strlen(s) != len || levL_toserver(s, server) == 0)
    levL_expected(L, idx, arg, "address of a name server (\"127.0.0.1\", "
                               "\"::1\" or \"[::1]:53\")");
}

static void checkdomain (lua_State *L, int idx, int arg,
                         char domain[LEV_NAMESIZE]) {
  size_t len;
  const char *s = lua_type(L, idx) == LUA_TSTRING ? lua_tolstring(L, idx, &len)
                                                  : NULL;
  if (s && *s == '.') {       /* libevent takes these, too */
    s++;
    len--;
  }
  if (s == NULL || !levL_toname(s, len, domain))
    levL_expected(L, idx, arg, "domain");
}

/* ====} */

/* {==== Constructor ==== */

static const char *const names[] = {
  "nameservers", "resolv_conf", "hosts", "search", "bind_to", "ndots",
  "timeout", "attempts", "max_inflight", "randomize_case", "so_rcvbuf",
  "so_sndbuf", "skew", "deadline", NULL
};

/* Calls f for each value of a list that is the option 'name'. */
static void eachof (lua_State *L, int arg, const char *name, lev_Dns *dns,
                    void (*f) (lua_State *L, int arg, lev_Dns *dns)) {
  if (levL_option(L, arg, name)) {
    int list = lua_gettop(L);
    if (!lua_istable(L, list))
      levL_expected(L, list, arg, "list");
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, list); i++) {
      lua_pushvalue(L, list - 1);             /* the name, for errors */
      lua_rawgeti(L, list, i);
      f(L, arg, dns);
      lua_settop(L, list);
    }
  }
  lua_settop(L, arg);
}

static void server (lua_State *L, int arg, lev_Dns *dns) {
  lev_Server s;
  checkserver(L, lua_gettop(L), arg, &s);
  if (dns)
    addserver(L, dns, &s);
}

static void domain (lua_State *L, int arg, lev_Dns *dns) {
  char name[LEV_NAMESIZE];
  checkdomain(L, lua_gettop(L), arg, name);
  if (dns)
    levL_adddomain(L, dns, name);
}

/* Pushes the path of a file that is to be read, or nil: the option is false. */
static void pushpath (lua_State *L, int arg, const char *name,
                      const char *def) {
  if (!levL_option(L, arg, name))
    lua_pushstring(L, def);
  else if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
    lua_pushnil(L);
  else if (lua_type(L, -1) == LUA_TSTRING)
    lua_pushvalue(L, -1);
  else
    levL_expected(L, lua_gettop(L), arg, "path or false");
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* All options: checked, if 'dns' is NULL, or set. */
static void setoptions (lua_State *L, int arg, lev_Dns *dns) {
  for (const Option *o = options; o->name; o++) {
    if (levL_option(L, arg, o->name)) {
      lua_Number value = checkvalue(L, lua_gettop(L), arg, o);
      if (dns)
        setoption(L, dns, o, value);
    }
    lua_settop(L, arg);
  }
  if (levL_option(L, arg, "bind_to")) {
    lev_Server s;
    checkserver(L, lua_gettop(L), arg, &s);
    if (dns)
      checkalive(L, dns);
    if (dns && evdns_base_set_option(dns->evdns, "bind-to",
                                     lua_tostring(L, -1)) != 0)
      levL_expected(L, lua_gettop(L), arg, "address of this machine");
  }
  lua_settop(L, arg);
}

static void setdefaults (lev_Dns *dns) {
  dns->last = &dns->waiting;
  dns->most = 64;
  dns->timeout.tv_sec = 5;
  dns->attempts = 3;
  dns->ndots = 1;
  dns->skew.tv_sec = 3;
  dns->deadline.tv_sec = 30;
  evdns_base_set_option(dns->evdns, "max-inflight", "65000");
  evdns_base_set_option(dns->evdns, "initial-probe-timeout", PROBEAFTER);
}

static lev_Dns *newdns (lua_State *L, int base) {
  lev_Base *owner = lua_touserdata(L, base);
  lev_Dns *dns = levL_newobject(L, base, &kind, sizeof(*dns), LEV_NUVDNS);
  if (owner->owned)
    levL_heed();
  dns->evdns = evdns_base_new(owner->event_base, 0);
  if (dns->evdns == NULL)
    levL_nomemory(L);
  setdefaults(dns);
  owner->timed = true;
  owner->forget = levL_dropquestions;
  levL_adopt(owner, &dns->o);
  return dns;
}

/* [2] dns, [path] of one of its files, which it keeps even if that is not there
   yet, [5] options. False, and nil, a message and an errno on the stack, if the
   script has named it, and it cannot be read. */
static bool load (lua_State *L, int path, const char *name, int uv,
                  int (*f) (lua_State *L, int dns, const char *path)) {
  int n;
  lua_pushvalue(L, path);
  lua_setiuservalue(L, 2, uv);
  if (lua_isnil(L, path))
    return true;
  n = f(L, 2, lua_tostring(L, path));
  if (n > 0 && levL_option(L, 5, name)) {
    lua_pop(L, 2);
    return false;
  }
  lua_settop(L, 5);
  return true;
}

/* [2] dns, [5] options: what the script has said itself. */
static void setgiven (lua_State *L, lev_Dns *dns) {
  if (levL_option(L, 5, "nameservers")) {
    dns->nservers = dns->server = 0;
    dns->given |= LEV_GIVENSERVERS;
  }
  lua_settop(L, 5);
  eachof(L, 5, "nameservers", dns, server);
  if (levL_option(L, 5, "search")) {
    levL_cleardomains(dns);
    dns->given |= LEV_GIVENSEARCH;
  }
  lua_settop(L, 5);
  eachof(L, 5, "search", dns, domain);
  setoptions(L, 5, dns);
}

/* base:dns([options]) -> dns | nil, message, errno */
static int lev_base_dns (lua_State *L) {
  lev_Dns *dns;
  bool given;
  levL_checkbase(L, 1);
  lua_settop(L, 2);
  levL_checkoptions(L, 2, names);
  eachof(L, 2, "nameservers", NULL, server);
  eachof(L, 2, "search", NULL, domain);
  setoptions(L, 2, NULL);
  given = levL_option(L, 2, "nameservers");
  lua_settop(L, 2);
  pushpath(L, 2, "resolv_conf", given ? NULL : "/etc/resolv.conf");  /* 3 */
  pushpath(L, 2, "hosts", "/etc/hosts");                             /* 4 */
  lua_pushvalue(L, 2);                                               /* 5 */
  dns = newdns(L, 1);
  lua_replace(L, 2);
  if (!load(L, 4, "hosts", LEV_UVHOSTSPATH, levL_loadhosts)
      || !load(L, 3, "resolv_conf", LEV_UVCONFPATH, levL_loadconf)) {
    levL_free(&dns->o);
    return 3;
  }
  if (!lua_isnil(L, 3) && dns->nservers == 0) {
    lev_Server local;
    levL_toserver("127.0.0.1", &local);
    addserver(L, dns, &local);
  }
  setgiven(L, dns);
  lua_settop(L, 2);
  return 1;
}

/* Pushes the Dns that the base at 'base' has of its own, from its first use
   on. */
void levL_pushbasedns (lua_State *L, int base) {
  base = lua_absindex(L, base);
  if (lua_getiuservalue(L, base, LEV_UVDNS) == LUA_TNIL
      || ((lev_Dns *)lua_touserdata(L, -1))->o.base == NULL) {
    lua_pop(L, 1);
    lua_pushcfunction(L, lev_base_dns);
    lua_pushvalue(L, base);
    lua_call(L, 1, 1);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, base, LEV_UVDNS);
  }
}

/* ====} */

/* {==== Methods ==== */

/* dns:nameserver_ip_add(address) -> dns */
static int lev_dns_nameserver_ip_add (lua_State *L) {
  lev_Dns *dns = levL_checkdns(L, 1);
  lev_Server s;
  checkserver(L, 2, 2, &s);
  addserver(L, dns, &s);
  dns->given |= LEV_GIVENSERVERS;
  lua_settop(L, 1);
  return 1;
}

/* dns:count_nameservers() -> number */
static int lev_dns_count_nameservers (lua_State *L) {
  lua_pushinteger(L, levL_checkdns(L, 1)->nservers);
  return 1;
}

/* dns:nameserver_addr(i) -> address | nil */
static int lev_dns_nameserver_addr (lua_State *L) {
  lev_Dns *dns = levL_checkdns(L, 1);
  lua_Integer i = luaL_checkinteger(L, 2);
  if (i < 1 || i > dns->nservers)
    lua_pushnil(L);
  else
    levL_pushaddress(L, (struct sockaddr *)&dns->servers[i - 1].ss,
                     dns->servers[i - 1].len);
  return 1;
}

/* dns:clear_nameservers_and_suspend() -> dns */
static int lev_dns_clear_nameservers_and_suspend (lua_State *L) {
  lev_Dns *dns = levL_checkdns(L, 1);
  levL_suspenddns(dns);
  dns->given |= LEV_GIVENSERVERS;
  lua_settop(L, 1);
  return 1;
}

/* dns:resume() -> dns | nil, message, errno */
static int lev_dns_resume (lua_State *L) {
  lev_Dns *dns = levL_checkdns(L, 1);
  lua_settop(L, 1);
  if (!dns->suspended)
    return 1;
  if (dns->nservers == 0)
    return levL_refuse(L, EDESTADDRREQ, levL_dnsmessage(LEV_DNSNOSERVER));
  if (!levL_resumedns(dns))
    return levL_refuse(L, errno, NULL);
  return 1;
}

/* dns:set_option(name, value) -> dns */
static int lev_dns_set_option (lua_State *L) {
  lev_Dns *dns = levL_checkdns(L, 1);
  const Option *o = findoption(luaL_checkstring(L, 2));
  lua_Number value;
  if (o == NULL) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (o = options; o->name; o++) {
      luaL_addstring(&b, o == options ? "" : ", ");
      luaL_addstring(&b, o->name);
    }
    luaL_pushresult(&b);
    return luaL_argerror(L, 2, lua_pushfstring(L, "unknown option (known: %s)",
                                               lua_tostring(L, -1)));
  }
  lua_settop(L, 3);
  value = checkvalue(L, 3, 3, o);
  setoption(L, dns, o, value);
  lua_settop(L, 1);
  return 1;
}

/* dns:search_add(domain) -> dns */
static int lev_dns_search_add (lua_State *L) {
  lev_Dns *dns = levL_checkdns(L, 1);
  char name[LEV_NAMESIZE];
  checkdomain(L, 2, 2, name);
  levL_adddomain(L, dns, name);
  dns->given |= LEV_GIVENSEARCH;
  lua_settop(L, 1);
  return 1;
}

/* dns:search_clear() -> dns */
static int lev_dns_search_clear (lua_State *L) {
  lev_Dns *dns = levL_checkdns(L, 1);
  levL_cleardomains(dns);
  dns->given |= LEV_GIVENSEARCH;
  lua_settop(L, 1);
  return 1;
}

/* dns:search_ndots_set(n) -> dns */
static int lev_dns_search_ndots_set (lua_State *L) {
  lev_Dns *dns = levL_checkdns(L, 1);
  dns->ndots = (int)levL_range(L, 2, 2, 0, 255);
  dns->given |= LEV_GIVENNDOTS;
  lua_settop(L, 1);
  return 1;
}

/* dns:resolv_conf_parse(path) -> dns | nil, message, errno */
static int lev_dns_resolv_conf_parse (lua_State *L) {
  int n;
  levL_checkdns(L, 1);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  n = levL_loadconf(L, 1, lua_tostring(L, 2));
  if (n > 0)
    return n;
  lua_settop(L, 1);
  return 1;
}

/* dns:load_hosts(path) -> dns | nil, message, errno */
static int lev_dns_load_hosts (lua_State *L) {
  int n;
  levL_checkdns(L, 1);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  n = levL_loadhosts(L, 1, lua_tostring(L, 2));
  if (n > 0)
    return n;
  lua_settop(L, 1);
  return 1;
}

/* dns:clear_host_addresses() -> dns */
static int lev_dns_clear_host_addresses (lua_State *L) {
  levL_checkdns(L, 1);
  lua_settop(L, 1);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, LEV_UVHOSTS);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, LEV_UVHOSTSPATH);
  return 1;
}

/* dns:base() -> base */
static int lev_dns_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* dns:close() -> dns */
static int lev_dns_close (lua_State *L) {
  return levL_close(L, &kind);
}

static int lev_dns__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_DNS);
  return levL_tostring(L, LEV_DNS, o->base != NULL);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"nameserver_ip_add", lev_dns_nameserver_ip_add},
  {"count_nameservers", lev_dns_count_nameservers},
  {"nameserver_addr", lev_dns_nameserver_addr},
  {"clear_nameservers_and_suspend", lev_dns_clear_nameservers_and_suspend},
  {"resume", lev_dns_resume},
  {"set_option", lev_dns_set_option},
  {"search_add", lev_dns_search_add},
  {"search_clear", lev_dns_search_clear},
  {"search_ndots_set", lev_dns_search_ndots_set},
  {"resolv_conf_parse", lev_dns_resolv_conf_parse},
  {"load_hosts", lev_dns_load_hosts},
  {"clear_host_addresses", lev_dns_clear_host_addresses},
  {"base", lev_dns_base},
  {"close", lev_dns_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_dns_close},
  {"__close", lev_dns_close},
  {"__tostring", lev_dns__tostring},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"dns", lev_base_dns},
  {NULL, NULL}
};

void levL_opendns (lua_State *L) {
  levL_newtype(L, LEV_DNS, methods, metamethods);
  levL_addmethods(L, LEV_BASE, constructors);
  levL_opendnslookup(L);
}
