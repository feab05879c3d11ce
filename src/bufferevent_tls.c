/*
** bufferevent_tls.c: TLS on the bufferevent of a socket.
**
** Sessions are the module libevent.tls's (lev_tls.h); here their bytes are
** received and sent. libevent's own bufferevents for TLS are not used: they
** make a record of each piece of the output and two system calls of each that
** comes, say nothing at their end, and in the middle of a conversation begin as
** a second bufferevent on the first. Here TLS is a property of a socket that
** can come at any time, and all the rest of the bufferevent stays as it is.
**
** While the socket connects and shakes hands the bufferevent is a connecting
** one, and nothing of it is in libevent but two events of our own. After that
** libevent tells when the socket is ready, and bufferevent_direct.c reads and
** writes by the functions here.
*/
#include "lev_bufferevent.h"
#include "lev_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the peer's bytes in one turn: with a record that has come in part before,
   no more than 64 KiB of data come of them. */
#define TAKEN (47 * 1024)

/* What leaves at once, and a record. */
#define ATONCE (64 * 1024)
#define RECORD 16384

/* What waits to be sent is less, or the peer wants answers and takes none. */
#define HOARD (2 * LEV_BURST)

/* What lies between the sockets and the sessions of a base. */
struct lev_Counter {
  lev_Wire wire;
  int pipe[2];                /* by which bytes of files come, or -1 */
  char in[TAKEN];
};

typedef struct lev_Counter Counter;

/* Its events: as long as a session begins. */
typedef struct Start {
  struct event io, timer;
  bool connecting;            /* the socket does */
} Start;

struct lev_Tls {
  const lev_Engine *engine;
  lev_Settings *settings;     /* one reference */
  lev_Session *session;       /* NULL: not yet, or no longer */
  Start *start;               /* NULL: it does not begin just now */
  struct evbuffer *raw;       /* what the socket has not taken, or NULL */
  struct evbuffer *early;     /* the peer's bytes that are not used yet */
  char *name;                 /* of the peer, or NULL */
  const char *why;            /* it has failed; NULL: as its session says */
  struct timeval most;        /* time to begin */
  bool server;
  bool verifies;
  bool given;                 /* the script has named the peer, or... */
  bool any;                   /* ...says that any name will do */
  bool open;                  /* the handshake is done */
  bool finished;              /* the peer has been told that no more comes */
  bool files;                 /* there may be files in the output */
  int over;                   /* LEV_TLSEND or LEV_TLSFAILED: what comes after
                                 the data that have been read, or 0 */
};

typedef struct lev_Tls Tls;

/* {==== What lies between ==== */

/* Before the first session; false without memory. */
static bool makecounter (lev_Base *base) {
  Counter *c = base->counter;
  if (c == NULL && (c = malloc(sizeof(*c))) != NULL) {
    memset(&c->wire, 0, sizeof(c->wire));
    c->pipe[0] = c->pipe[1] = -1;
    base->counter = c;
  }
  return c != NULL;
}

static bool openpipe (Counter *c) {
  if (c->pipe[0] >= 0)
    return true;
  if (pipe(c->pipe) < 0)
    return false;
  for (int i = 0; i < 2; i++) {
    evutil_make_socket_nonblocking(c->pipe[i]);
    evutil_make_socket_closeonexec(c->pipe[i]);
  }
  return true;
}

static void closepipe (Counter *c) {
  if (c->pipe[0] >= 0) {
    close(c->pipe[0]);
    close(c->pipe[1]);
  }
  c->pipe[0] = c->pipe[1] = -1;
}

void levL_freecounter (lev_Base *base) {
  Counter *c = base->counter;
  base->counter = NULL;
  if (c == NULL)
    return;
  closepipe(c);
  free(c->wire.p);
  free(c);
}

static int fdof (const lev_Bufferevent *b) {
  return (int)b->bev->ev_read.ev_fd;
}

static size_t lengthof (const struct evbuffer *buf) {
  return buf ? evbuffer_get_length(buf) : 0;
}

/* Bytes on their way to the peer that no buffer of the script has. */
size_t levL_tlsunsent (const lev_Bufferevent *b) {
  return lengthof(b->tls->raw);
}

/* Puts bytes, or another buffer's, to the end of one that may have to be
   made. */
static bool store (struct evbuffer **to, const char *p, size_t n,
                   struct evbuffer *from) {
  if (*to == NULL && (*to = evbuffer_new()) == NULL)
    return false;
  return from ? evbuffer_add_buffer(*to, from) == 0
              : evbuffer_add(*to, p, n) == 0;
}

/* After bytes that the peer does not get it can read nothing more. */
static int lost (Tls *t, int err) {
  t->finished = true;
  return err;
}

/* 0, or an errno: EAGAIN is 0. */
static int sendraw (lev_Bufferevent *b) {
  Tls *t = b->tls;
  while (lengthof(t->raw) > 0) {
    int n = evbuffer_write_atmost(t->raw, fdof(b), -1);
    if (n < 0 && levL_isagain(errno))
      return 0;
    if (n <= 0)
      return lost(t, n == 0 ? EIO : errno);
  }
  if (t->raw) {
    evbuffer_free(t->raw);
    t->raw = NULL;
  }
  return 0;
}

/* Sends what lies on the wire; what the socket does not take is kept. 0 or an
   errno. */
static int sendwire (lev_Bufferevent *b) {
  Tls *t = b->tls;
  lev_Wire *w = t->session->wire;
  size_t len = w->n;
  ssize_t n = 0;
  w->n = 0;
  if (len == 0)
    return 0;
  if (t->raw == NULL)
    n = send(fdof(b), w->p, len, MSG_NOSIGNAL);
  if (n < 0 && !levL_isagain(errno))
    return lost(t, errno);
  n = n < 0 ? 0 : n;
  if ((size_t)n < len && !store(&t->raw, w->p + n, len - (size_t)n, NULL))
    return lost(t, ENOMEM);
  return lengthof(t->raw) > HOARD ? ENOBUFS : 0;
}

/* ====} */

/* {==== Its life ==== */

static void stopstart (Tls *t) {
  if (t->start == NULL)
    return;
  event_del(&t->start->io);
  event_del(&t->start->timer);
  free(t->start);
  t->start = NULL;
}

static void freebuffer (struct evbuffer **buf) {
  if (*buf)
    evbuffer_free(*buf);
  *buf = NULL;
}

/* The last word of a session that is well: 0 or an errno. */
int levL_tlsfinish (lev_Bufferevent *b) {
  Tls *t = b->tls;
  if (!t->open || t->finished || t->over == LEV_TLSFAILED)
    return 0;
  t->finished = true;
  t->engine->finish(t->session);
  return sendwire(b);
}

/* The session ends, with its descriptor, which is still open. A peer that does
   not get all of the output is not told that this is the end. */
void levL_tlsend (lev_Bufferevent *b) {
  Tls *t = b->tls;
  if (t == NULL)
    return;
  stopstart(t);
  if (t->session && sendraw(b) == 0 && t->raw == NULL
      && lengthof(b->bev->output) == 0)
    levL_tlsfinish(b);
  if (t->session)
    t->engine->free(t->session);
  t->session = NULL;
  freebuffer(&t->raw);
  freebuffer(&t->early);
  t->open = t->finished = t->files = false;
  t->over = 0;
}

/* After its end. */
void levL_tlsfree (lev_Bufferevent *b) {
  Tls *t = b->tls;
  if (t == NULL)
    return;
  b->tls = NULL;
  t->engine->hold(t->settings, -1);
  free(t->name);
  free(t);
}

lev_Context *levL_checkcontext (lua_State *L, int arg, int idx) {
  lev_Context *c = lua_touserdata(L, idx);
  if (!luaL_testudata(L, idx, LEV_TLSCONTEXT))
    levL_expected(L, idx, arg, LEV_TLSCONTEXT);
  luaL_argcheck(L, c->version == LEV_TLSVERSION && c->settings, arg,
                "a " LEV_TLSCONTEXT " of this version expected");
  return c;
}

/* Of hosts and addresses. OpenSSL would take ".a" for all that ends so. */
static bool isname (const char *s, size_t len) {
  static const char known[] = "abcdefghijklmnopqrstuvwxyz-_.:%0123456789"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return len > 0 && len < 256 && strspn(s, known) == len && s[0] != '.';
}

/* The name at 'idx': nil says nothing, false is any. */
lev_Name levL_checkname (lua_State *L, int arg, int idx) {
  lev_Name n = {NULL, levL_isfalse(L, idx)};
  if (lua_type(L, idx) == LUA_TSTRING) {
    size_t len;
    n.text = lua_tolstring(L, idx, &len);
    luaL_argcheck(L, isname(n.text, len), arg,
                  "'hostname': a host name or an IP address expected");
  }
  else if (!lua_isnil(L, idx) && !n.any)
    levL_expected(L, idx, arg, "'hostname': string or false");
  return n;
}

/* Is that enough for a client to know whom it speaks with? */
void levL_checknamed (lua_State *L, int arg, const lev_Context *c,
                      const lev_Name *n) {
  luaL_argcheck(L, c->server || !c->verifies || n->text || n->any, arg,
                "'hostname' expected, which the peer's certificate must have "
                "(false: any)");
}

/* Pushes the options 'tls' and 'hostname' of a table, which are for the ends
   that 'server' and 'client' name; NULL: no TLS. */
lev_Context *levL_opttls (lua_State *L, int arg, int ends, lev_Name *n) {
  lev_Context *c = NULL;
  int top = lua_gettop(L);
  if (levL_option(L, arg, "tls")) {
    c = levL_checkcontext(L, arg, top + 2);
    luaL_argcheck(L, ends & (c->server ? LEV_TLSSERVER : LEV_TLSCLIENT), arg,
                  c->server ? "'tls': a context for clients expected"
                            : "'tls': a context for servers expected");
  }
  lua_remove(L, top + 1);
  if (levL_option(L, arg, "hostname"))
    luaL_argcheck(L, c != NULL, arg, "'hostname' without 'tls'");
  lua_remove(L, top + 2);
  *n = levL_checkname(L, arg, top + 2);
  return c;
}

/* Pushes the option 'tls' of what takes connections, or nil. */
const lev_Context *levL_optservertls (lua_State *L, int arg) {
  lev_Name n;
  const lev_Context *c = levL_opttls(L, arg, LEV_TLSSERVER, &n);
  lua_pop(L, 1);
  return c;
}

/* With its descriptor, or the next one, TLS begins; false without memory. */
bool levL_secure (lev_Bufferevent *b, const lev_Context *c,
                  const lev_Name *n) {
  Tls *t = calloc(1, sizeof(*t));
  if (t == NULL || (n->text && (t->name = strdup(n->text)) == NULL)) {
    free(t);
    return false;
  }
  t->engine = c->engine;
  t->settings = c->settings;
  t->engine->hold(t->settings, 1);
  t->server = c->server;
  t->verifies = c->verifies && !c->server;
  t->most = c->handshake;
  t->any = n->any;
  t->given = n->text || n->any;
  b->tls = t;
  return true;
}

/* Whom it connects to, unless the script has said another name; false without
   memory. */
bool levL_tlspeer (lev_Bufferevent *b, const char *name) {
  Tls *t = b->tls;
  char *copy;
  if (t == NULL || t->server || t->given)
    return true;
  copy = name ? strdup(name) : NULL;
  if (name && copy == NULL)
    return false;
  free(t->name);
  t->name = copy;
  return true;
}

/* Does it know whom it speaks with, or need not know? */
bool levL_tlsnamed (const lev_Bufferevent *b) {
  const Tls *t = b->tls;
  return t == NULL || t->given || t->name || !t->verifies;
}

/* ====} */

/* {==== The beginning ==== */

/* What is told of an error, in better words than the system's, or NULL. */
const char *levL_tlswhy (const lev_Bufferevent *b, char *text, size_t size) {
  const Tls *t = b->tls;
  const char *why = t && t->why ? t->why
                    : t && t->session ? t->session->why : NULL;
  if (why)
    snprintf(text, size, "%s", why);
  return why ? text : NULL;
}

/* The session has failed: an errno. */
static int failure (const Tls *t) {
  return t->session->why ? EPROTO : ENOMEM;
}

static void giveup (lev_Bufferevent *b, int err) {
  b->tls->open = false;
  stopstart(b->tls);
  levL_ended(b, BEV_EVENT_ERROR | BEV_EVENT_READING, err);
}

/* Where sessions of this peer are kept: its name and port. */
static bool opensession (lev_Bufferevent *b, Counter *c) {
  Tls *t = b->tls;
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  char text[LEV_ADDRESSSIZE], peer[LEV_ADDRESSSIZE + 256];
  bool known = t->name && getpeername(fdof(b), (struct sockaddr *)&ss, &len)
                          == 0;
  if (known) {
    levL_addresstext((struct sockaddr *)&ss, text);
    snprintf(peer, sizeof(peer), "%s%s", t->name, strrchr(text, ':')
             ? strrchr(text, ':') : "");
  }
  t->session = t->engine->open(t->settings, t->any ? NULL : t->name,
                               known ? peer : NULL);
  if (t->session)
    t->session->wire = &c->wire;
  return t->session != NULL;
}

/* Gives the session what has come. 1; 0, nothing has; or -1 and an errno, or 0
   where the peer has closed. */
static int takein (lev_Bufferevent *b, Counter *c, size_t most) {
  Tls *t = b->tls;
  ssize_t n;
  if (lengthof(t->early) > 0)
    n = evbuffer_remove(t->early, c->in, most);
  else {
    freebuffer(&t->early);
    n = recv(fdof(b), c->in, most, 0);
  }
  if (n <= 0) {
    errno = n == 0 ? 0 : errno;
    return n < 0 && levL_isagain(errno) ? 0 : -1;
  }
  t->session->in = c->in;
  t->session->nin = (size_t)n;
  return 1;
}

/* The handshake is done: what has come behind it is used later. */
static void opened (lev_Bufferevent *b) {
  Tls *t = b->tls;
  lev_Session *s = t->session;
  struct evbuffer *rest = NULL;
  if ((s->nin > 0 && !store(&rest, s->in, s->nin, NULL))
      || (lengthof(t->early) > 0 && !store(&rest, NULL, 0, t->early))) {
    freebuffer(&rest);
    giveup(b, ENOMEM);
    return;
  }
  freebuffer(&t->early);
  t->early = rest;
  s->nin = 0;
  t->open = true;
  levL_ended(b, BEV_EVENT_CONNECTED, 0);
}

/* And libevent waits for the socket: no sooner do we stop, so that the system
   hears nothing of it. */
void levL_tlsstarted (lev_Bufferevent *b) {
  if (b->tls)
    stopstart(b->tls);
}

/* One step of it. LEV_TLSMORE: waits for the peer. */
static int step (lev_Bufferevent *b, Counter *c, int *err) {
  Tls *t = b->tls;
  int r, in = takein(b, c, sizeof(c->in));
  if (in < 0) {
    *err = errno ? errno : ECONNRESET;
    if (errno == 0)
      t->why = "the peer has closed the connection in the handshake";
    return LEV_TLSFAILED;
  }
  r = t->engine->handshake(t->session);
  *err = sendwire(b);
  if (r == LEV_TLSFAILED)
    *err = failure(t);
  return *err ? LEV_TLSFAILED : r;
}

static void onstart (evutil_socket_t fd, short what, void *arg);

/* Waits for the socket. */
static int await (lev_Bufferevent *b, short what) {
  Start *s = b->tls->start;
  what |= EV_PERSIST;
  if (s->io.ev_events == what)
    return 0;
  event_del(&s->io);
  event_assign(&s->io, b->o.base->event_base, fdof(b), what, onstart, b);
  event_priority_set(&s->io, bufferevent_get_priority(b->bev));
  errno = 0;
  return event_add(&s->io, NULL) == 0 ? 0 : errno ? errno : ENOMEM;
}

static int finishconnect (lev_Bufferevent *b) {
  int err = 0;
  socklen_t len = sizeof(err);
  b->tls->start->connecting = false;
  if (getsockopt(fdof(b), SOL_SOCKET, SO_ERROR, &err, &len) < 0)
    err = errno;
  return err;
}

static void onstart (evutil_socket_t fd, short what, void *arg) {
  lev_Bufferevent *b = arg;
  Tls *t = b->tls;
  Counter *c = b->o.base->counter;
  int r = LEV_TLSMORE, err = 0;
  (void)fd;
  if (what & EV_TIMEOUT) {
    stopstart(t);
    levL_ended(b, BEV_EVENT_TIMEOUT | BEV_EVENT_READING, ETIMEDOUT);
    return;
  }
  if (t->start->connecting)
    err = finishconnect(b);
  if (err == 0 && !t->session && !opensession(b, c))
    err = ENOMEM;
  if (err == 0)
    err = sendraw(b);
  while (err == 0 && r == LEV_TLSMORE) {
    r = step(b, c, &err);
    if (lengthof(t->early) == 0)
      break;
  }
  if (err == 0 && r == LEV_TLSOK)
    opened(b);
  else if (err || (err = await(b, t->raw ? LEV_DIRECTIONS : EV_READ)) != 0)
    giveup(b, err);
}

/* TLS begins on its descriptor, which may still be connecting: 0 or an errno.
   The script hears of it in the loop. */
int levL_tlsbegin (lev_Bufferevent *b, bool connecting) {
  Tls *t = b->tls;
  struct event_base *event_base = b->o.base->event_base;
  Start *s = makecounter(b->o.base) ? calloc(1, sizeof(*s)) : NULL;
  bool waits = t->server && t->raw == NULL && t->early == NULL;
  int err;
  if (s == NULL)
    return ENOMEM;
  t->why = NULL;
  s->connecting = connecting;
  event_assign(&s->io, event_base, -1, 0, onstart, b);
  event_assign(&s->timer, event_base, -1, 0, onstart, b);
  t->start = s;
  levL_freshen(b->o.base);
  errno = 0;
  err = evutil_timerisset(&t->most) && event_add(&s->timer, &t->most) < 0
        ? errno ? errno : ENOMEM : 0;
  if (err == 0)
    err = await(b, waits ? EV_READ : EV_WRITE);
  if (err) {
    stopstart(t);
    return err;
  }
  b->connecting = true;
  levL_park(b);
  return 0;
}

/* In the middle of a conversation: what is still to be sent goes out as it is,
   and what has been received already is taken for the peer's handshake. */
static int begininside (lev_Bufferevent *b) {
  Tls *t = b->tls;
  struct bufferevent *bev = b->bev;
  bool ok;
  levL_setfd(b, fdof(b));
  evbuffer_unfreeze(bev->input, 0);
  evbuffer_unfreeze(bev->output, 1);
  ok = (lengthof(bev->output) == 0 || store(&t->raw, NULL, 0, bev->output))
       && (lengthof(bev->input) == 0 || store(&t->early, NULL, 0, bev->input));
  evbuffer_freeze(bev->input, 0);
  evbuffer_freeze(bev->output, 1);
  return ok ? levL_tlsbegin(b, false) : ENOMEM;
}

/* ====} */

/* {==== Reading ==== */

/* Is there something to read that the descriptor does not tell of? */
bool levL_tlspending (const lev_Bufferevent *b) {
  return b->tls->open && (b->tls->over || lengthof(b->tls->early) > 0);
}

/* How many bytes of the peer's it may take now. */
static size_t mosttotake (const lev_Bufferevent *b) {
  size_t most = TAKEN, high = b->bev->wm_read.high;
  size_t len = evbuffer_get_length(b->bev->input);
  if (high > 0 && high < len + most)
    most = high > len ? high - len : 1;
  if (b->limits || b->group || b->paced) {
    ev_ssize_t n = bufferevent_get_max_to_read(b->bev);
    most = n <= 0 ? 0 : (size_t)n < most ? (size_t)n : most;
  }
  if (most == 0 && lengthof(b->tls->early) > 0)
    return TAKEN;             /* it is here, and nobody would tell again */
  return most;
}

/* What reading comes to that has no data: 0 is the end. */
static ssize_t result (Tls *t) {
  if (t->over == LEV_TLSEND)
    return 0;
  t->open = false;
  errno = t->why ? EPROTO : failure(t);
  return -1;
}

/* The data in what has come, to 'to': how many bytes. What comes after them is
   noted in 'over'. */
static size_t take (lev_Bufferevent *b, char *to, size_t room) {
  Tls *t = b->tls;
  size_t sum = 0, n;
  int r = LEV_TLSOK, err;
  while (r == LEV_TLSOK) {
    r = t->engine->decrypt(t->session, to + sum, room - sum, &n);
    sum += n;
  }
  err = sendwire(b);          /* answers of OpenSSL's own */
  if (r == LEV_TLSMORE && (err == ENOBUFS || err == ENOMEM)) {
    t->why = "the peer asks for answers and takes none";
    r = LEV_TLSFAILED;
  }
  if (r != LEV_TLSMORE)
    t->over = r;
  if (t->raw)
    levL_handover(b);
  return sum;
}

/* Like recv, but for the error's words. What it takes in one turn, with a
   record that has come in part before, are less than 64 KiB of data, and no
   less is 'room'. */
ssize_t levL_tlsread (lev_Bufferevent *b, char *to, size_t room) {
  Tls *t = b->tls;
  Counter *c = b->o.base->counter;
  size_t n, most = mosttotake(b);
  int in;
  if (t->over)
    return result(t);
  if (most == 0) {
    errno = EAGAIN;
    return -1;
  }
  in = takein(b, c, most);
  if (in < 0 && errno == 0) {
    t->why = "the connection was cut: its end is no end of TLS";
    errno = ECONNRESET;
  }
  else if (in == 0)
    errno = EAGAIN;
  if (in <= 0)
    return -1;
  levL_countlimits(b, 0, t->session->nin);
  n = take(b, to, room);
  if (n > 0 && levL_tlspending(b))
    event_active(&b->bev->ev_read, EV_READ, 1);
  else if (n == 0 && t->over)
    return result(t);
  errno = EAGAIN;
  return n > 0 ? (ssize_t)n : -1;
}

/* ====} */

/* {==== Writing ==== */

/* Onto the wire, behind what is there: 0, or an errno. */
static int seal (lev_Bufferevent *b, const char *from, size_t n) {
  Tls *t = b->tls;
  size_t len = t->session->wire->n;
  if (t->engine->encrypt(t->session, from, n) != LEV_TLSOK)
    return failure(t);
  levL_countlimits(b, 1, t->session->wire->n - len);
  return 0;
}

/* All of it is on its way, or there is an error. */
ssize_t levL_tlswrite (lev_Bufferevent *b, const char *from, size_t n) {
  int err = seal(b, from, n);
  int failed = sendwire(b);   /* in any case: nobody else's lies there */
  errno = err ? err : failed;
  return errno ? -1 : (ssize_t)n;
}

/* Bytes of the output, where files may be among them: those come by a pipe, and
   the system puts as many into it as there is room for, whatever it is told. */
static ssize_t sealpiped (lev_Bufferevent *b, Counter *c, size_t most) {
  ssize_t sum, left;
  if (!openpipe(c))
    return -1;
  errno = 0;
  sum = left = evbuffer_write_atmost(b->bev->output, c->pipe[1],
                                     (ev_ssize_t)most);
  if (sum <= 0 && levL_isagain(errno))
    return 0;
  if (sum == 0)
    errno = EIO;              /* a file is shorter than it was */
  while (left > 0) {
    ssize_t n = read(c->pipe[0], c->in, sizeof(c->in));
    int err = n > 0 ? seal(b, c->in, (size_t)n) : n < 0 ? errno : EIO;
    if (err && !levL_isagain(err)) {
      closepipe(c);           /* with what is left in it */
      errno = err;
      return -1;
    }
    left -= n > 0 ? n : 0;
  }
  return sum > 0 ? sum : -1;
}

static bool hasfiles (const lev_Bufferevent *b) {
  return b->tls->files || (b->buffers[1] && b->buffers[1]->file);
}

/* A piece of the output, of up to 'most' bytes, in one record whatever pieces
   it lies in: how many bytes, 0: none now, or -1 and an errno. */
static ssize_t sealpiece (lev_Bufferevent *b, Counter *c, size_t most) {
  struct evbuffer *output = b->bev->output;
  size_t n = lengthof(output) < most ? lengthof(output) : most;
  const char *from = c->in;
  if (hasfiles(b))
    return sealpiped(b, c, n);
  if (evbuffer_get_contiguous_space(output) >= n)
    from = (const char *)evbuffer_pullup(output, (ev_ssize_t)n);
  else
    evbuffer_copyout(output, c->in, n);
  errno = seal(b, from, n);
  if (errno)
    return -1;
  evbuffer_drain(output, n);
  return (ssize_t)n;
}

static size_t mosttowrite (const lev_Bufferevent *b) {
  ev_ssize_t n = RECORD;
  if (b->limits || b->group || b->paced)
    n = bufferevent_get_max_to_write(b->bev);
  return n <= 0 ? 0 : n < RECORD ? (size_t)n : RECORD;
}

/* Puts some of the output onto the wire, as many records as leave at once: 0,
   or an errno. */
static int sealsome (lev_Bufferevent *b, Counter *c) {
  ssize_t n = 1;
  size_t most;
  while (n > 0 && lengthof(b->bev->output) > 0 && c->wire.n < ATONCE
         && (most = mosttowrite(b)) > 0)
    n = sealpiece(b, c, most);
  return n < 0 ? errno : 0;
}

/* Sends the output, as far as the socket takes it: how many bytes, or -1 and an
   errno if there is an error. */
ssize_t levL_tlspour (lev_Bufferevent *b) {
  Tls *t = b->tls;
  struct evbuffer *output = b->bev->output;
  Counter *c = b->o.base->counter;
  size_t len = lengthof(output), left = len + 1;
  int err = sendraw(b), failed;
  evbuffer_unfreeze(output, 1);
  while (err == 0 && t->raw == NULL && lengthof(output) > 0
         && lengthof(output) < left && len - lengthof(output) < LEV_BURST) {
    left = lengthof(output);
    err = sealsome(b, c);
    failed = sendwire(b);
    err = err ? err : failed;
  }
  evbuffer_freeze(output, 1);
  if (lengthof(output) == 0)
    t->files = false;
  errno = err;
  return err ? -1 : (ssize_t)(len - lengthof(output));
}

/* There may be files in its output from now on. */
void levL_tlsfiles (lev_Bufferevent *b) {
  if (b->tls)
    b->tls->files = true;
}

bool levL_tlsopen (const lev_Bufferevent *b) {
  return b->tls->open;
}

/* ====} */

/* {==== Methods ==== */

/* bufferevent:starttls(context [, hostname])
   -> bufferevent | nil, message, errno */
static int lev_bufferevent_starttls (lua_State *L) {
  lev_Bufferevent *b = levL_checksocket(L, 1);
  lev_Context *c = levL_checkcontext(L, 2, 2);
  lev_Name n;
  int err;
  lua_settop(L, 3);
  n = levL_checkname(L, 3, 3);
  levL_checknamed(L, 3, c, &n);
  levL_checktop(L, 1);
  luaL_argcheck(L, b->tls == NULL, 1, "Bufferevent speaks TLS already");
  luaL_argcheck(L, !b->shutwrite, 1, "Bufferevent is shut down for writing");
  if (!b->flavour->ready(b))
    return levL_refuse(L, ENOTCONN, NULL);
  if (b->failure)             /* what has come could not be kept */
    return levL_refuse(L, b->failure, NULL);
  if (!levL_secure(b, c, &n))
    return levL_nomemory(L);
  levL_anchor(L, 1, &b->o);
  err = begininside(b);
  if (err)
    levL_drop(&b->o);         /* neither plain any more nor safe yet */
  else
    levL_settle(L, 1, &b->o);
  if (err)
    return levL_refuse(L, err, NULL);
  lua_settop(L, 1);
  return 1;
}

/* Is there a session that can be told of? */
static const Tls *tellable (const lev_Bufferevent *b) {
  const Tls *t = b ? levL_bottom(b)->tls : NULL;
  return t && t->open ? t : NULL;
}

/* Pushes what is known of the session of the bufferevent that 'get' gives, or
   nil. */
int levL_pushtls (lua_State *L, lev_Bufferevent *(*get) (lua_State *L)) {
  const Tls *t = tellable(get(L));
  if (t) {
    t->engine->prepare(L);
    t = tellable(get(L));     /* again: a finalizer can have run */
  }
  if (t)
    t->engine->describe(L, t->session);
  else
    luaL_pushfail(L);
  return 1;
}

static lev_Bufferevent *self (lua_State *L) {
  return levL_checkbev(L, 1);
}

/* bufferevent:tls() -> session | nil */
static int lev_bufferevent_tls (lua_State *L) {
  return levL_pushtls(L, self);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"starttls", lev_bufferevent_starttls},
  {"tls", lev_bufferevent_tls},
  {NULL, NULL}
};

void levL_openbufferevent_tls (lua_State *L) {
  levL_addmethods(L, LEV_BUFFEREVENT, methods);
}
