/*
** dns_server.c: who is asked for names, over UDP.
**
** The server of libevent ends the process with the first packet of less than
** twelve bytes, writes past its buffer for a request with many questions, knows
** of no packet of more than 512 bytes, and cannot be closed in its own
** callback. None of that can be caught from outside, so this one reads, takes
** apart and puts together by itself; the words are libevent's.
**
** No client waits for nothing: a request that a script forgets, and one whose
** callback fails, is answered "server failed".
*/
#include "lev_dns.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>

/* Requests after which others have their turn. */
#define TURN 64

#define MAXREQUEST 4096
#define TYPE_CNAME 5

/* of the flags of an answer */
#define AA 0x0400
#define RA 0x0080

typedef struct Query Query;

/* user values, after LEV_UVBASE */
enum { CALLBACK = 2, DESCRIPTOR, NUSERVALUES = DESCRIPTOR };

typedef struct Server {
  lev_Object o;
  struct event ev;            /* something has come */
  int fd;
  bool ownfd;                 /* it is ours to close */
  Query *queries;             /* not yet answered */
} Server;

enum { SERVER = 2, NQUERYVALUES = SERVER };

struct Query {
  lev_Object o;
  Server *server;             /* NULL once it is answered */
  Query **link, *next;        /* in the list of its server */
  struct sockaddr_storage ss;
  socklen_t salen;
  unsigned forks;             /* levL_forks when it came: the parent answers */
  lev_Reply r;                /* last: no longer in memory than its name is */
};

/* {==== Requests ==== */

/* Sends the answer: 0 or an errno. */
static int transmit (const Query *q, int fd, int err) {
  unsigned char packet[LEV_REPLYSIZE];
  size_t len = levL_writereply(&q->r, (unsigned)err, packet);
  return sendto(fd, packet, len, 0, (const struct sockaddr *)&q->ss,
                q->salen) < 0 ? errno : 0;
}

/* It is over: 'err' is sent, or nothing if that is negative. 0 or an errno. */
static int finish (Query *q, int err) {
  int result = err < 0 ? 0 : transmit(q, q->server->fd, err);
  *q->link = q->next;
  if (q->next)
    q->next->link = q->link;
  q->server = NULL;
  levL_freereply(&q->r);
  return result;
}

static bool isactivequery (const lev_Object *o) {
  (void)o;
  return false;               /* whoever answers it holds it */
}

static void freequery (lev_Object *o) {
  Query *q = (Query *)o;
  if (q->server)
    finish(q, q->forks == levL_forks ? DNS_ERR_SERVERFAILED : -1);
}

static const lev_Kind querykind = {
  .tname = LEV_DNSQUERY, .active = isactivequery, .free = freequery
};

/* ====} */

/* {==== From libevent to Lua ==== */

typedef struct Packet {
  Server *server;
  Query *q;                   /* on the C stack: what is known of it */
  Query *object;              /* the Query of Lua's that has it, or NULL */
} Packet;

/* [1] server, [2] Packet */
static int callrequest (lua_State *L) {
  Packet *packet = lua_touserdata(L, 2);
  Server *s = lua_touserdata(L, 1);
  Query *q;
  lev_Object o;
  size_t size;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, LEV_UVBASE);                            /* 3 */
  lua_getiuservalue(L, 1, CALLBACK);                              /* 4 */
  size = offsetof(Query, r.name) + strlen(packet->q->r.name) + 1;
  q = levL_newobject(L, 3, &querykind, size, NQUERYVALUES);       /* 5 */
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 5, SERVER);
  if (s->o.base == NULL)
    return 0;                 /* closed by a finalizer */
  o = q->o;
  memcpy(q, packet->q, size);
  q->o = o;
  q->server = s;
  q->forks = levL_forks;
  q->link = &s->queries;
  q->next = s->queries;
  if (q->next)
    q->next->link = &q->next;
  s->queries = q;
  packet->object = q;
  levL_adopt(s->o.base, &q->o);
  lua_call(L, 1, 0);
  return 0;
}

/* A callback that has failed does not answer any more. Its query may be over,
   or even collected: else it is the newest one. */
static void undo (void *data) {
  const Packet *packet = data;
  if (packet->object && packet->server->queries == packet->object)
    levL_drop(&packet->object->o);
}

/* One packet: what is no request is not answered. */
static void receive (Server *s, Query *q, const unsigned char *p, size_t len) {
  Packet packet = {s, q, NULL};
  int err = levL_readrequest(&q->r, p, len);
  if (err == 0) {
    err = DNS_ERR_SERVERFAILED;
    levL_protect(&s->o, callrequest, &packet, undo);
  }
  if (packet.object == NULL && err > 0 && s->o.base)
    transmit(q, s->fd, err);
}

static void onreadable (evutil_socket_t fd, short what, void *arg) {
  Server *s = arg;
  struct event_base *event_base = s->o.base->event_base;
  unsigned char packet[MAXREQUEST];
  (void)what;
  for (int i = 0; i < TURN; i++) {
    Query q;
    ssize_t n;
    memset(&q, 0, offsetof(Query, r.name));
    q.salen = sizeof(q.ss);
    n = recvfrom((int)fd, packet, sizeof(packet), 0, (struct sockaddr *)&q.ss,
                 &q.salen);
    if (n < 0)
      return;
    receive(s, &q, packet, (size_t)n);
    if (s->o.base == NULL || event_base_got_break(event_base))
      return;
  }
}

/* ====} */

/* {==== DnsServer ==== */

static bool isactive (const lev_Object *o) {
  (void)o;
  return true;                /* as long as it is open */
}

static void freeserver (lev_Object *o) {
  Server *s = (Server *)o;
  while (s->queries)
    levL_free(&s->queries->o);
  event_del(&s->ev);
  if (s->ownfd)
    evutil_closesocket(s->fd);
}

static const lev_Kind kind = {
  .tname = LEV_DNSSERVER, .active = isactive, .free = freeserver
};

static Server *checkserver (lua_State *L) {
  return levL_checkopen(L, 1, &kind);
}

/* A socket that is bound there; -1 and an errno. */
static int opensocket (const lev_Place *p) {
  int fd = p->fd >= 0 ? p->fd : socket(p->ss.ss_family, SOCK_DGRAM, 0);
  if (fd < 0)
    return -1;
  evutil_make_socket_nonblocking(fd);
  if (p->fd >= 0)
    return fd;
  evutil_make_socket_closeonexec(fd);
  if (bind(fd, (const struct sockaddr *)&p->ss, p->len) < 0) {
    int err = errno;
    evutil_closesocket(fd);
    errno = err;
    return -1;
  }
  return fd;
}

/* Waits for requests there: 0 or an errno. */
static int begin (lev_Base *base, Server *s, const lev_Place *p) {
  int err;
  s->fd = opensocket(p);
  if (s->fd < 0)
    return errno;
  event_assign(&s->ev, base->event_base, s->fd, EV_READ | EV_PERSIST,
               onreadable, s);
  errno = 0;
  if (event_add(&s->ev, NULL) == 0)
    return 0;
  err = errno ? errno : ENOMEM;
  if (p->fd < 0)
    evutil_closesocket(s->fd);
  return err;
}

/* base:dns_server(address or fd, cb) -> dnsserver | nil, message, errno */
static int lev_base_dns_server (lua_State *L) {
  lev_Base *base = levL_checkbase(L, 1);
  lev_Place place;
  Server *s;
  int err;
  levL_checkcallback(L, 3);
  lua_settop(L, 3);
  levL_checkplace(L, 2, &place);
  luaL_argcheck(L, place.ss.ss_family != AF_UNIX, 2, "DNS needs an IP address");
  s = levL_newobject(L, 1, &kind, sizeof(*s), NUSERVALUES);       /* 4 */
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, 4, CALLBACK);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 4, DESCRIPTOR);
  levL_anchor(L, 4, &s->o);
  err = begin(base, s, &place);
  if (err) {
    levL_settle(L, 4, &s->o);
    return levL_refuse(L, err, NULL);
  }
  s->ownfd = place.fd < 0 || lua_type(L, 2) == LUA_TNUMBER;
  levL_adopt(base, &s->o);
  return 1;
}

/* dnsserver:set_cb(cb) -> dnsserver */
static int lev_dnsserver_set_cb (lua_State *L) {
  checkserver(L);
  levL_checkcallback(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, CALLBACK);
  return 1;
}

/* dnsserver:fd() -> descriptor */
static int lev_dnsserver_fd (lua_State *L) {
  lua_pushinteger(L, checkserver(L)->fd);
  return 1;
}

/* dnsserver:sockname() -> address | nil, message, errno */
static int lev_dnsserver_sockname (lua_State *L) {
  return levL_pushname(L, checkserver(L)->fd, getsockname);
}

/* dnsserver:base() -> base */
static int lev_dnsserver_base (lua_State *L) {
  return levL_getbase(L, &kind);
}

/* dnsserver:close() -> dnsserver */
static int lev_dnsserver_close (lua_State *L) {
  return levL_close(L, &kind);
}

static int lev_dnsserver__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_DNSSERVER);
  return levL_tostring(L, LEV_DNSSERVER, o->base != NULL);
}

/* ====} */

/* {==== What a request asks ==== */

static const lev_Word types[] = {
  {"A", EVDNS_TYPE_A}, {"NS", EVDNS_TYPE_NS}, {"CNAME", TYPE_CNAME},
  {"SOA", EVDNS_TYPE_SOA}, {"PTR", EVDNS_TYPE_PTR}, {"MX", EVDNS_TYPE_MX},
  {"TXT", EVDNS_TYPE_TXT}, {"AAAA", EVDNS_TYPE_AAAA}, {"SRV", 33},
  {"CAA", 257}, {"AXFR", EVDNS_QTYPE_AXFR}, {"ANY", EVDNS_QTYPE_ALL},
  {NULL, 0}
};

static const lev_Word sections[] = {
  {"answer", EVDNS_ANSWER_SECTION}, {"authority", EVDNS_AUTHORITY_SECTION},
  {"additional", EVDNS_ADDITIONAL_SECTION}, {NULL, 0}
};

/* libevent's EVDNS_FLAGS_RD is this bit "ra", whatever its name says. */
static const lev_Word flagwords[] = {{"aa", AA}, {"ra", RA}, {NULL, 0}};

static const lev_Word errors[] = {
  {"none", DNS_ERR_NONE}, {"format", DNS_ERR_FORMAT},
  {"serverfailed", DNS_ERR_SERVERFAILED}, {"notexist", DNS_ERR_NOTEXIST},
  {"notimpl", DNS_ERR_NOTIMPL}, {"refused", DNS_ERR_REFUSED}, {NULL, 0}
};

/* One that is not yet answered. */
static Query *checkquery (lua_State *L) {
  return levL_checkopen(L, 1, &querykind);
}

/* dnsquery:name() -> name */
static int lev_dnsquery_name (lua_State *L) {
  lua_pushstring(L, checkquery(L)->r.name);
  return 1;
}

/* dnsquery:type() -> word or number */
static int lev_dnsquery_type (lua_State *L) {
  int type = (int)checkquery(L)->r.type;
  for (const lev_Word *w = types; w->name; w++) {
    if (w->value == type) {
      lua_pushstring(L, w->name);
      return 1;
    }
  }
  lua_pushinteger(L, type);
  return 1;
}

/* dnsquery:class() -> number */
static int lev_dnsquery_class (lua_State *L) {
  lua_pushinteger(L, checkquery(L)->r.class);
  return 1;
}

/* dnsquery:requesting_addr() -> address */
static int lev_dnsquery_requesting_addr (lua_State *L) {
  const Query *q = checkquery(L);
  levL_pushaddress(L, (const struct sockaddr *)&q->ss, q->salen);
  return 1;
}

/* dnsquery:server() -> dnsserver */
static int lev_dnsquery_server (lua_State *L) {
  checkquery(L);
  lua_getiuservalue(L, 1, SERVER);
  return 1;
}

/* ====} */

/* {==== What it is answered ==== */

/* The name of a record: NULL, the question's, if it is nil; the root's is "" or
   ".". */
static const char *checkname (lua_State *L, int arg, const Query *q,
                              char name[LEV_NAMESIZE]) {
  size_t len;
  const char *s;
  name[0] = '\0';
  if (lua_isnil(L, arg))
    return NULL;
  s = lua_type(L, arg) == LUA_TSTRING ? lua_tolstring(L, arg, &len) : NULL;
  if (s && strcmp(s, q->r.name) == 0)
    return NULL;
  if (s && (len == 0 || (len == 1 && *s == '.')))
    return name;
  if (s == NULL || !levL_toname(s, len, name))
    levL_expected(L, arg, arg, "name");
  return name;
}

static unsigned checkttl (lua_State *L, int arg) {
  return (unsigned)levL_range(L, arg, arg, 0, INT32_MAX);
}

static int done (lua_State *L, int err) {
  if (err)
    return levL_refuse(L, err, err == EMSGSIZE ? "the answer is too long"
                                               : NULL);
  lua_settop(L, 1);
  return 1;
}

/* The address at the top of the stack, as bytes of its family. */
static void checkip (lua_State *L, int arg, int family, void *bytes) {
  const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (strlen(s) != lua_rawlen(L, -1) || inet_pton(family, s, bytes) != 1)
    levL_expected(L, lua_gettop(L), arg, family == AF_INET
                  ? "IPv4 address, or a list of them,"
                  : "IPv6 address, or a list of them,");
}

/* [2] name or nil, [3] address or list of them, [4] ttl: a record for each, as
   libevent's own way of several in one is none that a client understands. All
   are added or none is. */
static int addaddresses (lua_State *L, int family, unsigned type) {
  Query *q = checkquery(L);
  char name[LEV_NAMESIZE], bytes[16];
  lev_Record r = {EVDNS_ANSWER_SECTION, type, EVDNS_CLASS_INET, 0, NULL, bytes,
              family == AF_INET ? 4 : 16};
  size_t before = q->r.sections[r.section].len;
  lua_Integer n = 1;
  bool list;
  lua_settop(L, 4);
  r.name = checkname(L, 2, q, name);
  list = lua_istable(L, 3);
  if (list)
    n = (lua_Integer)lua_rawlen(L, 3);
  r.ttl = checkttl(L, 4);
  for (int pass = 0; pass < 2; pass++) {      /* first they are checked */
    for (lua_Integer i = 1; i <= n; i++) {
      int err;
      if (list)
        lua_rawgeti(L, 3, i);
      else
        lua_pushvalue(L, 3);
      checkip(L, 3, family, bytes);
      lua_pop(L, 1);
      err = pass == 1 ? levL_addrecord(&q->r, &r) : 0;
      if (err) {
        q->r.sections[r.section].len = before;
        return done(L, err);
      }
    }
  }
  return done(L, 0);
}

/* dnsquery:add_a_reply(name, addresses, ttl)
   -> dnsquery | nil, message, errno */
static int lev_dnsquery_add_a_reply (lua_State *L) {
  return addaddresses(L, AF_INET, EVDNS_TYPE_A);
}

/* dnsquery:add_aaaa_reply(name, addresses, ttl)
   -> dnsquery | nil, message, errno */
static int lev_dnsquery_add_aaaa_reply (lua_State *L) {
  return addaddresses(L, AF_INET6, EVDNS_TYPE_AAAA);
}

/* [2] name or nil, [3] name, [4] ttl */
static int addname (lua_State *L, const char *name, unsigned type) {
  Query *q = checkquery(L);
  char own[LEV_NAMESIZE], other[LEV_NAMESIZE];
  lev_Record r = {EVDNS_ANSWER_SECTION, type, EVDNS_CLASS_INET, 0, name, NULL,
                  -1};
  if (lua_isnil(L, 3))
    levL_expected(L, 3, 3, "name");
  if (name == NULL)
    r.name = checkname(L, 2, q, own);
  r.data = checkname(L, 3, q, other);
  r.ttl = checkttl(L, 4);
  return done(L, levL_addrecord(&q->r, &r));
}

/* The name that an address has in reverse; false if it is none. */
static bool toreverse (const char *s, char name[LEV_NAMESIZE]) {
  struct sockaddr_storage ss;
  const unsigned char *b;
  char *p = name;
  size_t len;
  if (levL_toip(s, &ss) == 0)
    return false;
  b = levL_ipbytes(&ss, &len);
  if (len == 4) {
    snprintf(name, LEV_NAMESIZE, "%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1],
             b[0]);
    return true;
  }
  for (int i = 15; i >= 0; i--)
    p += sprintf(p, "%x.%x.", b[i] & 15, b[i] >> 4);
  sprintf(p, "ip6.arpa");
  return true;
}

/* dnsquery:add_ptr_reply(name, hostname, ttl)
   -> dnsquery | nil, message, errno */
static int lev_dnsquery_add_ptr_reply (lua_State *L) {
  char reverse[LEV_NAMESIZE];
  bool address;
  checkquery(L);
  lua_settop(L, 4);
  address = lua_type(L, 2) == LUA_TSTRING
            && toreverse(lua_tostring(L, 2), reverse);
  return addname(L, address ? reverse : NULL, EVDNS_TYPE_PTR);
}

/* dnsquery:add_cname_reply(name, cname, ttl)
   -> dnsquery | nil, message, errno */
static int lev_dnsquery_add_cname_reply (lua_State *L) {
  checkquery(L);
  lua_settop(L, 4);
  return addname(L, NULL, TYPE_CNAME);
}

static unsigned checktype (lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TNUMBER)
    return (unsigned)levL_range(L, arg, arg, 0, 0xffff);
  return (unsigned)levL_checkword(L, arg, types);
}

/* dnsquery:add_reply(section, name, type, class, ttl, data [, is_name])
   -> dnsquery | nil, message, errno */
static int lev_dnsquery_add_reply (lua_State *L) {
  Query *q = checkquery(L);
  char name[LEV_NAMESIZE], other[LEV_NAMESIZE];
  lev_Record r;
  size_t len;
  lua_settop(L, 8);
  r.section = levL_checkword(L, 2, sections);
  r.name = checkname(L, 3, q, name);
  r.type = checktype(L, 4);
  r.class = (unsigned)levL_range(L, 5, 5, 0, 0xffff);
  r.ttl = checkttl(L, 6);
  if (lua_type(L, 7) != LUA_TSTRING)
    levL_expected(L, 7, 7, "string");
  if (lua_toboolean(L, 8)) {
    r.data = checkname(L, 7, q, other);
    r.len = -1;
  }
  else {
    r.data = lua_tolstring(L, 7, &len);
    r.len = len > INT_MAX ? INT_MAX : (int)len;
  }
  return done(L, levL_addrecord(&q->r, &r));
}

/* dnsquery:set_flags(flags) -> dnsquery */
static int lev_dnsquery_set_flags (lua_State *L) {
  Query *q = checkquery(L);
  q->r.flags &= ~(unsigned)(AA | RA);
  q->r.flags |= (unsigned)levL_checkwords(L, 2, flagwords);
  lua_settop(L, 1);
  return 1;
}

/* dnsquery:respond([error]) -> dnsquery | nil, message, errno */
static int lev_dnsquery_respond (lua_State *L) {
  Query *q = checkquery(L);
  int err = 0;
  if (lua_type(L, 2) == LUA_TNUMBER)
    err = (int)levL_range(L, 2, 2, 0, 15);
  else if (!lua_isnoneornil(L, 2))
    err = levL_checkword(L, 2, errors);
  err = finish(q, err);
  levL_free(&q->o);
  return done(L, err);
}

/* dnsquery:drop() -> dnsquery */
static int lev_dnsquery_drop (lua_State *L) {
  Query *q = checkquery(L);
  finish(q, -1);
  levL_free(&q->o);
  return done(L, 0);
}

/* dnsquery:close() -> dnsquery */
static int lev_dnsquery_close (lua_State *L) {
  return levL_close(L, &querykind);
}

static int lev_dnsquery__tostring (lua_State *L) {
  lev_Object *o = luaL_checkudata(L, 1, LEV_DNSQUERY);
  return levL_tostring(L, LEV_DNSQUERY, o->base != NULL);
}

/* ====} */

static const luaL_Reg constructors[] = {
  {"dns_server", lev_base_dns_server},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"set_cb", lev_dnsserver_set_cb},
  {"fd", lev_dnsserver_fd},
  {"sockname", lev_dnsserver_sockname},
  {"base", lev_dnsserver_base},
  {"close", lev_dnsserver_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_dnsserver_close},
  {"__close", lev_dnsserver_close},
  {"__tostring", lev_dnsserver__tostring},
  {NULL, NULL}
};

static const luaL_Reg querymethods[] = {
  {"name", lev_dnsquery_name},
  {"type", lev_dnsquery_type},
  {"class", lev_dnsquery_class},
  {"requesting_addr", lev_dnsquery_requesting_addr},
  {"server", lev_dnsquery_server},
  {"add_a_reply", lev_dnsquery_add_a_reply},
  {"add_aaaa_reply", lev_dnsquery_add_aaaa_reply},
  {"add_ptr_reply", lev_dnsquery_add_ptr_reply},
  {"add_cname_reply", lev_dnsquery_add_cname_reply},
  {"add_reply", lev_dnsquery_add_reply},
  {"set_flags", lev_dnsquery_set_flags},
  {"respond", lev_dnsquery_respond},
  {"drop", lev_dnsquery_drop},
  {"close", lev_dnsquery_close},
  {NULL, NULL}
};

static const luaL_Reg querymetamethods[] = {
  {"__gc", lev_dnsquery_close},
  {"__close", lev_dnsquery_close},
  {"__tostring", lev_dnsquery__tostring},
  {NULL, NULL}
};

void levL_opendnsserver (lua_State *L) {
  levL_newtype(L, LEV_DNSSERVER, methods, metamethods);
  levL_newtype(L, LEV_DNSQUERY, querymethods, querymetamethods);
  levL_addmethods(L, LEV_BASE, constructors);
}
