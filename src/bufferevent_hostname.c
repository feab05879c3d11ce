/*
** bufferevent_hostname.c: connecting to a host by its name.
**
** libevent's own way tries one address, crashes when a hosts file answers, and
** goes on after the bufferevent is freed. Here all addresses are tried, IPv6
** and IPv4 in turns, as RFC 8305 says: the next one after a short delay, while
** the ones before it still try. The first one that answers is the
** bufferevent's, and it is a connecting one until then.
*/
#include "lev_bufferevent.h"
#include "lev_dns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 8305: between two attempts, and for IPv6 when IPv4 has answered first. */
static const struct timeval attemptdelay = {0, 250000};
static const struct timeval resolutiondelay = {0, 50000};
/* Unless the script says otherwise. */
static const struct timeval mosttime = {60, 0};

typedef struct Attempt {
  struct Attempt *next;
  int fd;                     /* -1: it has failed */
  struct event ev;
  struct sockaddr_storage ss;
  socklen_t len;
  int err;                    /* why */
} Attempt;

/* A userdata that the bufferevent holds, and what all of its events carry. */
struct lev_Race {
  lev_Lookup l;               /* the first field */
  lev_Bufferevent *b;
  Attempt *attempts, **last;
  int n4, n6;                 /* addresses that have been tried */
  int port;
  bool started;
  struct event next;          /* the next attempt's time has come */
  struct event end;           /* the time is over */
  struct timeval delay;
  char host[LEV_NAMESIZE];    /* for messages */
};

/* {==== The end ==== */

/* The bufferevent has an end, another descriptor, or a connection. */
void levL_stoprace (lev_Bufferevent *b) {
  lev_Race *r = b->end.race;
  if (!b->races)
    return;
  b->races = false;
  b->end.race = NULL;
  levL_freelookup(&r->l);
  event_del(&r->next);
  event_del(&r->end);
  while (r->attempts) {
    Attempt *a = r->attempts;
    r->attempts = a->next;
    if (a->fd >= 0) {
      event_del(&a->ev);
      evutil_closesocket(a->fd);
    }
    free(a);
  }
}

/* The same in the loop: the bufferevent lets go of what it needs no more. */
static void finish (lev_Bufferevent *b) {
  lua_State *L = b->o.base->L;
  levL_stoprace(b);
  if (levL_find(L, &b->o)) {
    lua_pushnil(L);
    levL_setmore(L, -2, LEV_RACE);
    lua_pushnil(L);
    levL_setmore(L, -2, LEV_RESOLVER);
  }
  lua_pop(L, 2);
}

/* Appends to a message, as much as there is room for. */
static void append (char *message, size_t size, const char *text) {
  size_t len = strlen(message);
  snprintf(message + len, size - len, "%s", text);
}

static void describe (const lev_Race *r, char *message, size_t size,
                      const char *why) {
  const char *separator = ": ";
  snprintf(message, size, "no connection to %s:%d%s", r->host, r->port, why);
  for (const Attempt *a = r->attempts; a; a = a->next) {
    char text[LEV_ADDRESSSIZE];
    levL_addresstext((const struct sockaddr *)&a->ss, text);
    append(message, size, separator);
    append(message, size, text);
    append(message, size, ": ");
    append(message, size, a->fd >= 0 ? "no answer"
                          : evutil_socket_error_to_string(a->err));
    separator = ", ";
  }
}

/* All is in vain: 'why' says of what, beside the attempts. */
static void fail (lev_Race *r, int err, const char *why) {
  lev_Bufferevent *b = r->b;
  char message[1024];
  describe(r, message, sizeof(message), why);
  finish(b);
  levL_unconnected(b, err, message);
}

static int errnoof (int err) {
  switch (err) {
    case DNS_ERR_TIMEOUT: return ETIMEDOUT;
    case DNS_ERR_CANCEL: case DNS_ERR_SHUTDOWN: return ECANCELED;
    case LEV_DNSNOMEMORY: return ENOMEM;
    default: return EHOSTUNREACH;
  }
}

/* Nothing is on its way any more. */
static void failall (lev_Race *r) {
  char why[128] = "";
  int err = r->l.err ? r->l.err : LEV_DNSNOMEMORY, e = errnoof(err);
  for (const Attempt *a = r->attempts; a; a = a->next)
    e = a->err;
  if (r->attempts == NULL)
    snprintf(why, sizeof(why), ": %s", levL_dnsmessage(err));
  fail(r, e, why);
}

static void onrace (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what;
  fail(arg, ETIMEDOUT, ": the time is over");
}

/* ====} */

/* {==== Attempts ==== */

static void win (lev_Race *r, Attempt *a) {
  lev_Bufferevent *b = r->b;
  int fd = a->fd, err;
  event_del(&a->ev);
  a->fd = -1;
  finish(b);
  err = levL_takeconnected(b, fd);
  if (err)
    levL_unconnected(b, err, NULL);
}

static bool istrying (const lev_Race *r) {
  for (const Attempt *a = r->attempts; a; a = a->next)
    if (a->fd >= 0)
      return true;
  return false;
}

static bool isleft (const lev_Race *r) {
  return r->n4 < r->l.n4 || r->n6 < r->l.n6;
}

/* The next address: of the two families in turns, IPv6 first. */
static socklen_t nextaddress (lev_Race *r, struct sockaddr_storage *ss) {
  bool six = r->n6 < r->l.n6 && (r->n6 <= r->n4 || r->n4 == r->l.n4);
  return six ? levL_lookedup(&r->l, AF_INET6, r->n6++, r->port, ss)
             : levL_lookedup(&r->l, AF_INET, r->n4++, r->port, ss);
}

static void goon (lev_Race *r);

static void onattempt (evutil_socket_t fd, short what, void *arg) {
  lev_Race *r = arg;
  Attempt *a = r->attempts;
  socklen_t len = sizeof(a->err);
  (void)what;
  while (a->fd != (int)fd)
    a = a->next;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &a->err, &len) < 0)
    a->err = errno;
  if (a->err == 0) {
    win(r, a);
    return;
  }
  event_del(&a->ev);
  evutil_closesocket(a->fd);
  a->fd = -1;
  goon(r);
}

/* Begins to connect: 0 or an errno. */
static int try (lev_Race *r, Attempt *a) {
  a->fd = levL_newsocket(a->ss.ss_family);
  if (a->fd < 0)
    return errno;
  if (connect(a->fd, (struct sockaddr *)&a->ss, a->len) < 0
      && errno != EINPROGRESS && errno != EINTR)
    return errno;
  event_assign(&a->ev, r->b->o.base->event_base, a->fd, EV_WRITE, onattempt,
               r);
  errno = 0;
  if (event_add(&a->ev, NULL) < 0)
    return errno ? errno : ENOMEM;
  return 0;
}

enum { NONE, FAILED, TRYING };

/* Tries the next address, if there is one. */
static int trynext (lev_Race *r) {
  Attempt *a;
  if (!isleft(r) || (a = calloc(1, sizeof(*a))) == NULL)
    return NONE;
  a->len = nextaddress(r, &a->ss);
  *r->last = a;
  r->last = &a->next;
  a->err = try(r, a);
  if (a->err && a->fd >= 0) {
    evutil_closesocket(a->fd);
    a->fd = -1;
  }
  return a->err ? FAILED : TRYING;
}

/* The next attempt, and after it the next one that does not fail at once. All
   is in vain when nothing is left, on its way or still being looked up. */
static void goon (lev_Race *r) {
  int result;
  r->started = true;
  do
    result = trynext(r);
  while (result == FAILED);
  if (result == TRYING) {
    if (event_add(&r->next, &r->delay) < 0)
      event_active(&r->next, EV_TIMEOUT, 1);    /* without memory to wait */
  }
  else {
    event_del(&r->next);
    if (r->l.over && !istrying(r))
      failall(r);
  }
}

static void onnext (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what;
  goon(arg);
}

/* ====} */

/* {==== The lookup ==== */

static lev_Race *raceof (lev_Lookup *l) {
  return (lev_Race *)((char *)l - offsetof(lev_Race, l));
}

/* One family has answered: IPv6 is tried at once, IPv4 waits a little. */
static void onprogress (lev_Lookup *l) {
  lev_Race *r = raceof(l);
  if (l->n6 || event_add(&r->next, &resolutiondelay) < 0)
    event_active(&r->next, EV_TIMEOUT, 1);
}

/* All has answered. What comes late joins those that are left. */
static void ondone (lev_Lookup *l) {
  lev_Race *r = raceof(l);
  if (!r->started || !event_pending(&r->next, EV_TIMEOUT, NULL))
    goon(r);
}

/* ====} */

/* {==== Method ==== */

typedef struct Options {
  int families;
  const struct timeval *timeout, *delay;
  struct timeval tv[2];
} Options;

/* [4] options; pushes the Dns, or nil */
static void checkoptions (lua_State *L, Options *o) {
  static const char *const names[] = {
    "dns", "family", "timeout", "delay", NULL
  };
  levL_checkoptions(L, 4, names);
  o->families = levL_optfamilies(L, 4);
  o->timeout = &mosttime;
  o->delay = &attemptdelay;
  if (levL_option(L, 4, "timeout"))
    o->timeout = levL_time(L, lua_gettop(L), 4, &o->tv[0]);
  if (levL_option(L, 4, "delay"))
    o->delay = levL_time(L, lua_gettop(L), 4, &o->tv[1]);
  lua_settop(L, 4);
  levL_option(L, 4, "dns");
  lua_remove(L, -2);
}

static lev_Bufferevent *checkunconnected (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  luaL_argcheck(L, !b->connecting, 1, "Bufferevent is connecting already");
  luaL_argcheck(L, bufferevent_getfd(b->bev) < 0, 1,
                "Bufferevent has a descriptor already");
  return b;
}

static void initrace (lev_Race *r, lev_Bufferevent *b, const Options *o) {
  struct event_base *event_base = b->o.base->event_base;
  r->b = b;
  r->last = &r->attempts;
  r->delay = *o->delay;
  r->l.progress = onprogress;
  r->l.done = ondone;
  event_assign(&r->next, event_base, -1, 0, onnext, r);
  event_assign(&r->end, event_base, -1, 0, onrace, r);
}

static bool begin (lev_Race *r, lev_Dns *dns, const Options *o) {
  lev_Bufferevent *b = r->b;
  b->connecting = b->races = true;
  b->end.race = r;
  errno = 0;
  if (levL_beginlookup(dns, &r->l, o->timeout)
      && event_add(&r->end, o->timeout) == 0)
    return true;
  levL_stoprace(b);
  b->connecting = false;
  return false;
}

/* bufferevent:connect_hostname(host, port [, options]) -> bufferevent */
static int lev_bufferevent_connect_hostname (lua_State *L) {
  lev_Bufferevent *b = checkunconnected(L);
  const char *host;
  lev_Race *r;
  lev_Dns *dns;
  Options o;
  size_t len;
  if (lua_type(L, 2) != LUA_TSTRING)
    levL_expected(L, 2, 2, "string");
  host = lua_tolstring(L, 2, &len);
  levL_range(L, 3, 3, 1, 65535);
  lua_settop(L, 4);
  checkoptions(L, &o);                                            /* 5 */
  if (lua_isnil(L, 5)) {
    lua_getiuservalue(L, 1, LEV_UVBASE);
    levL_pushbasedns(L, -1);
    lua_replace(L, 5);
    lua_settop(L, 5);
  }
  levL_optiondns(L, 5, 4, b->o.base);
  levL_needmore(L, 1);
  levL_refreshdns(L, 5);
  r = lua_newuserdatauv(L, sizeof(*r), 0);                        /* 6 */
  memset(r, 0, sizeof(*r));
  r->port = (int)lua_tointeger(L, 3);
  r->l.families = o.families;
  r->l.search = true;
  levL_preparelookup(L, 5, &r->l, host, len);
  snprintf(r->host, sizeof(r->host), "%s", host);
  b = checkunconnected(L);    /* both again: finalizers are anybody's code */
  dns = levL_optiondns(L, 5, 4, b->o.base);
  if (!levL_tlspeer(b, r->host))
    return levL_nomemory(L);
  initrace(r, b, &o);
  levL_anchor(L, 1, &b->o);
  levL_setmore(L, 1, LEV_RACE);
  levL_setmore(L, 1, LEV_RESOLVER);
  if (!begin(r, dns, &o)) {
    levL_settle(L, 1, &b->o);
    levL_unable(L);
  }
  lua_settop(L, 1);
  return 1;
}

/* ====} */

static const luaL_Reg methods[] = {
  {"connect_hostname", lev_bufferevent_connect_hostname},
  {NULL, NULL}
};

void levL_openbufferevent_hostname (lua_State *L) {
  levL_addmethods(L, LEV_BUFFEREVENT, methods);
}
