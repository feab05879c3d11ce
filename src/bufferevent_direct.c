/*
** bufferevent_direct.c: from a socket to the script and back, without the
** detours of libevent's own way, which asks how many bytes there are before
** it reads 4096 of them, and tells the kernel of each reply that it waits to
** write it.
**
** What a callback writes is sent when it returns, all at once, and by libevent
** only as far as the socket does not take it. What arrives is handed to the
** read callback from where it was received, and put into the input as far as
** the callback leaves it. Both are for sockets as they mostly are: with marks,
** limits or a filter on them, while they connect, and as long as libevent
** itself is writing, all goes libevent's way.
*/
#include "lev_bufferevent.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <unistd.h>

#define ROOM (64 * 1024)        /* bytes that one turn reads, at the most */
#define SINGLE 16384            /* bytes that libevent writes in one */
#define LARGE 4096              /* from here on to move them takes longer than
                                   to make room for them where they belong */

/* libevent's own, for what is not plain data: the same for all, set by each
   thread. */
static event_callback_fn libeventread, libeventwrite;

static event_callback_fn getlibeventread (void) {
  return __atomic_load_n(&libeventread, __ATOMIC_RELAXED);
}

static event_callback_fn getlibeventwrite (void) {
  return __atomic_load_n(&libeventwrite, __ATOMIC_RELAXED);
}

/* What lies between the sockets of a base and their buffers: strings that are
   read and written so never were in one. */
struct lev_Desk {
  lev_Bufferevent *reader;    /* whose bytes were received, or NULL */
  const char *at;             /* those that are left, in 'in' */
  size_t len;
  lev_Bufferevent *writer;    /* whose bytes are to be sent, or NULL */
  const char *from;           /* where they are, in 'out' or still in 'in' */
  size_t staged;
  lev_Bufferevent *unsent;    /* the first whose output is to be sent */
  char in[ROOM], out[ROOM];
};

typedef struct lev_Desk Desk;

static Desk *getdesk (lev_Base *base) {
  if (base->desk == NULL && (base->desk = malloc(sizeof(Desk))) != NULL) {
    base->desk->reader = base->desk->writer = base->desk->unsent = NULL;
    base->desk->staged = base->desk->len = 0;
  }
  return base->desk;
}

/* A socket as sockets mostly are. */
static bool isplain (const lev_Bufferevent *b) {
#ifdef LEV_PLAIN                /* a build for tests: all goes libevent's way */
  return false;
#endif
  return b->flavour == &levL_sock && b->bev->ev_read.ev_fd >= 0
         && !b->connecting && !b->above && !b->limits && !b->group && !b->paced;
}

/* An error that libevent's own event is to tell of, in the loop. It is told as
   a timeout, which takes no memory: onevent knows better. */
static void fail (lev_Bufferevent *b, short what, int err) {
  struct bufferevent *bev = b->bev;
  levL_disable(b, what);
  b->failure = (short)err;
  event_active(what & EV_READ ? &bev->ev_read : &bev->ev_write, EV_TIMEOUT, 1);
}

/* A socket's own calls cost less than read and write, which serve the rest:
   pipes and terminals. */
static ssize_t receive (lev_Bufferevent *b, int fd, void *to, size_t n) {
  ssize_t got = b->tls ? levL_tlsread(b, to, n) : recv(fd, to, n, 0);
  return got < 0 && errno == ENOTSOCK ? read(fd, to, n) : got;
}

static ssize_t transmit (lev_Bufferevent *b, const void *from, size_t n) {
  int fd = (int)b->bev->ev_write.ev_fd;
  ssize_t sent = b->tls ? levL_tlswrite(b, from, n)
                        : send(fd, from, n, MSG_NOSIGNAL);
  return sent < 0 && errno == ENOTSOCK ? write(fd, from, n) : sent;
}

/* {==== Writing ==== */

/* libevent writes by itself while its event is pending. */
static bool iswriting (const lev_Bufferevent *b) {
  return b->bev->ev_write.ev_evcallback.evcb_flags & EVLIST_INSERTED;
}

static bool writesdirectly (const lev_Bufferevent *b) {
  return (b->bev->enabled & EV_WRITE) && !iswriting(b) && isplain(b);
}

static size_t waiting (const lev_Bufferevent *b) {
  return evbuffer_get_length(b->bev->output);
}

static void unlist (Desk *desk, lev_Bufferevent *b) {
  lev_Bufferevent **p = &desk->unsent;
  while (*p != b)
    p = &(*p)->nextunsent;
  *p = b->nextunsent;
  b->unsent = false;
}

/* The rest is libevent's to send. */
void levL_handover (lev_Bufferevent *b) {
  if (levL_unsent(b) > 0 && (b->bev->enabled & EV_WRITE)
      && b->flavour->ready(b)) {
    levL_freshen(b->o.base);
    errno = 0;
    if (bufferevent_enable(b->bev, EV_WRITE) < 0)
      fail(b, EV_WRITE, errno ? errno : ENOMEM);
  }
}

/* All is sent. */
static void done (lev_Bufferevent *b) {
  if (b->ending)
    b->flavour->flushed(b);
  else
    levL_shutwrite(b);
}

/* Something is sent, and no more than the low mark is left: libevent's own
   event tells of it, as if it had written. It needs no memory. */
static void tell (lev_Bufferevent *b) {
  if (b->write && !iswriting(b))
    event_active(&b->bev->ev_write, EV_WRITE, 1);
  if (!b->busy)
    levL_rest(&b->o);
}

/* 'n' bytes are sent. */
static void sent (lev_Bufferevent *b, ssize_t n) {
  size_t left = levL_unsent(b);
  if (left > 0)
    levL_handover(b);
  else
    done(b);
  if (b->o.base && n > 0 && left <= b->bev->wm_write.low)
    tell(b);
}

bool levL_isagain (int err) {
  return err == EAGAIN || err == EWOULDBLOCK || err == EINTR;
}

static bool isfailure (ssize_t n) {
  return n < 0 && !levL_isagain(errno);
}

/* What is sent in several calls leaves in full packets, all the same. */
static void cork (int fd, int on) {
#ifdef TCP_CORK
  setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
#else
  (void)fd; (void)on;
#endif
}

/* Sends the output but for 'rest' bytes, as far as the socket takes it: how
   many bytes, or -1 and an errno if it takes none. Pieces of files go one in a
   call, so there are several. */
static ssize_t pour (lev_Bufferevent *b, size_t rest) {
  struct bufferevent *bev = b->bev;
  int fd = (int)bev->ev_write.ev_fd;
  bool several = waiting(b) > LARGE
                 && evbuffer_get_contiguous_space(bev->output) < waiting(b);
  ssize_t sum = 0, n = 1;
  int err;
  if (b->tls)
    return levL_tlspour(b);
  if (several)
    cork(fd, 1);
  evbuffer_unfreeze(bev->output, 1);
  while (n > 0 && sum < LEV_BURST && waiting(b) > rest) {
    n = evbuffer_write_atmost(bev->output, fd, -1);
    sum += n > 0 ? n : 0;
  }
  err = errno;
  evbuffer_freeze(bev->output, 1);
  if (several)
    cork(fd, 0);
  errno = err;
  return sum > 0 ? sum : n;
}

/* libevent does not begin to wait for what is active just then, as an event is
   that only tells of something. Then it begins now. */
static void watch (lev_Bufferevent *b, const struct event *ev, short what,
                   bool needed) {
  if (needed && (b->bev->enabled & what)
      && !(ev->ev_evcallback.evcb_flags & EVLIST_INSERTED))
    bufferevent_enable(b->bev, what);
}

/* Something else than data, for whoever stands on it. */
static void ended (lev_Bufferevent *b, short what, int err) {
  if (b->above) {
    errno = err;
    bufferevent_trigger_event(b->bev, what, 0);
  }
  else
    levL_ended(b, what, err);
}

/* The same event of a socket that speaks TLS: all that libevent would do for
   it, whatever is set. It comes with the bufferevent itself: a filter on it has
   libevent's place for that. */
static void onsecretwritable (evutil_socket_t fd, short what, void *arg) {
  lev_Bufferevent *b = arg;
  struct bufferevent *bev = b->bev;
  watch(b, &bev->ev_write, EV_WRITE, levL_unsent(b) > 0);
  if (!(what & EV_WRITE))
    getlibeventwrite()(fd, EV_TIMEOUT, bev);
  else if (!levL_tlsopen(b))
    levL_park(b);
  else if (isfailure(levL_tlspour(b))) {
    int err = errno;
    bufferevent_disable(bev, EV_WRITE);
    ended(b, BEV_EVENT_WRITING | BEV_EVENT_ERROR, err);
  }
  else {
    size_t left = evbuffer_get_length(bev->output) + levL_tlsunsent(b);
    if (left == 0)
      event_del(&bev->ev_write);
    if (left <= bev->wm_write.low)
      bufferevent_trigger(bev, EV_WRITE, BEV_TRIG_IGNORE_WATERMARKS);
  }
}

/* libevent's event for writing: so much that it would take many turns is ours,
   the rest, and what there is to tell of it, is libevent's. */
static void onwritable (evutil_socket_t fd, short what, void *arg) {
  struct bufferevent *bev = arg;
  lev_Bufferevent *b = bev->cbarg;
  size_t low = bev->wm_write.low;
  size_t rest = low > SINGLE ? low : SINGLE;
  watch(b, &bev->ev_write, EV_WRITE, waiting(b) > 0);
  if (what == EV_WRITE && waiting(b) > rest && isplain(b) && !b->failure) {
    ssize_t n = pour(b, rest);
    if (waiting(b) > rest && n != 0 && !isfailure(n))
      return;                 /* 0: a file has become shorter */
  }
  getlibeventwrite()(fd, what, arg);
}

/* Sends the output. */
static void flush (lev_Bufferevent *b) {
  ssize_t n;
  unlist(b->o.base->desk, b);
  if (!writesdirectly(b)) {
    levL_handover(b);
    return;
  }
  n = pour(b, 0);
  if (isfailure(n))
    fail(b, EV_WRITE, errno);
  else
    sent(b, n);
}

/* Puts staged bytes, from 'at' on, into the output. */
static bool unstage (Desk *desk, size_t at) {
  lev_Bufferevent *b = desk->writer;
  size_t len = desk->staged - at;
  desk->writer = NULL;
  if (len == 0 || evbuffer_add(b->bev->output, desk->from + at, len) == 0)
    return true;
  fail(b, EV_WRITE, ENOMEM);
  return false;
}

/* Sends what is staged: nobody has touched the bufferevent since, or it would
   not be. */
static void flushstaged (Desk *desk) {
  lev_Bufferevent *b = desk->writer;
  ssize_t n = transmit(b, desk->from, desk->staged);
  if (n == (ssize_t)desk->staged) {
    desk->writer = NULL;
    sent(b, n);
  }
  else if (isfailure(n)) {
    int err = errno;
    bufferevent_disable(b->bev, EV_WRITE);
    if (unstage(desk, 0))
      fail(b, EV_WRITE, err);
  }
  else if (unstage(desk, n < 0 ? 0 : (size_t)n))
    sent(b, n);
}

/* The outermost callback returns. */
static void leave (lev_Base *base) {
  Desk *desk = base->desk;
  base->unsent = false;
  if (desk->writer)
    flushstaged(desk);
  while (desk->unsent)
    flush(desk->unsent);
}

static void list (Desk *desk, lev_Bufferevent *b) {
  lev_Base *base = b->o.base;
  if (!b->unsent) {
    b->nextunsent = desk->unsent;
    desk->unsent = b;
    b->unsent = true;
    base->unsent = true;
    base->leave = leave;
  }
}

/* Before the output grows, and after it: false if that is libevent's to send,
   as it is outside callbacks. Meanwhile libevent takes it for disabled, and
   does not begin to write. */
bool levL_gather (lev_Bufferevent *b) {
  if (b->o.base->calls == 0 || !writesdirectly(b) || !getdesk(b->o.base))
    return false;
  b->bev->enabled &= ~EV_WRITE;
  b->gathers = true;
  return true;
}

bool levL_gathered (lev_Bufferevent *b) {
  if (!b->gathers)
    return false;
  b->gathers = false;
  b->bev->enabled |= EV_WRITE;
  if (waiting(b) > 0)
    list(b->o.base->desk, b);
  return true;
}

/* Is anybody told of what happens to a buffer? */
static bool iswatched (const lev_Buffer *b) {
  return b && b->watch;
}

/* May its bytes be sent from the desk? In a callback, if it is anchored, and if
   nothing is before them in its output. */
static bool canstage (const lev_Bufferevent *b) {
  return b->o.base->calls > 0 && b->o.slot && !b->shutwrite
         && !iswatched(b->buffers[1]) && waiting(b) == 0 && writesdirectly(b);
}

/* The bytes that were received for the input at 'arg', if they are all of it:
   they stay where they are, and go out from there. */
static size_t takepiece (lua_State *L, int arg, Desk *desk) {
  const lev_Bufferevent *b = desk->reader;
  if (b == NULL || evbuffer_get_length(b->bev->input) > 0
      || lua_touserdata(L, arg) != b->buffers[0] || b->buffers[0] == NULL)
    return 0;
  desk->reader = NULL;
  desk->from = desk->at;
  return desk->len;
}

/* Copies strings behind the 'n' bytes that are staged; 0 if they do not fit,
   or are no strings. */
static size_t copystrings (lua_State *L, int first, int last, Desk *desk,
                           size_t n) {
  if (n > 0 && desk->from != desk->out)
    memmove(desk->out, desk->from, n);
  desk->from = desk->out;
  for (int arg = first; arg <= last; arg++) {
    size_t len;
    const char *s;
    if (lua_type(L, arg) != LUA_TSTRING)
      return 0;
    s = lua_tolstring(L, arg, &len);
    if (len > ROOM - n)
      return 0;
    memcpy(desk->out + n, s, len);
    n += len;
  }
  return n;
}

/* The desk, for this bufferevent's bytes: NULL if they must go into its
   output. */
static Desk *beginstage (lev_Bufferevent *b, size_t *n) {
  Desk *desk = canstage(b) ? getdesk(b->o.base) : NULL;
  if (desk == NULL)
    return NULL;
  if (desk->writer && desk->writer != b)
    levL_clear(desk->writer);
  *n = desk->writer ? desk->staged : 0;
  return desk;
}

static void endstage (Desk *desk, lev_Bufferevent *b, size_t n) {
  desk->writer = b;
  desk->staged = n;
  b->o.base->unsent = true;
  b->o.base->leave = leave;
}

/* Stages these arguments, for one bufferevent at a time; false if they must go
   into its output. */
bool levL_stage (lua_State *L, int first, int last, lev_Bufferevent *b) {
  size_t n = 0;
  Desk *desk = beginstage(b, &n);
  if (desk == NULL)
    return false;
  if (n == 0 && first == last && lua_type(L, first) == LUA_TUSERDATA)
    n = takepiece(L, first, desk);
  else
    n = copystrings(L, first, last, desk, n);
  if (n == 0)
    return false;
  endstage(desk, b, n);
  return true;
}

/* The same for bytes of C's. */
bool levL_stagebytes (lev_Bufferevent *b, const lev_Piece *pieces, int n) {
  size_t len = 0, sum = 0;
  Desk *desk = beginstage(b, &len);
  for (int i = 0; i < n; i++)
    sum += pieces[i].len;
  if (desk == NULL || sum > ROOM - len)
    return false;
  if (len > 0 && desk->from != desk->out)
    memmove(desk->out, desk->from, len);
  desk->from = desk->out;
  for (int i = 0; i < n; i++) {
    memcpy(desk->out + len, pieces[i].at, pieces[i].len);
    len += pieces[i].len;
  }
  endstage(desk, b, len);
  return true;
}

/* ====} */

/* {==== Reading ==== */

static bool readsdirectly (const lev_Bufferevent *b) {
  const struct bufferevent *bev = b->bev;
  return bev->wm_read.low == 0 && bev->wm_read.high == 0
         && b->ending == LEV_OPEN && isplain(b);
}

/* Puts what is left of the bytes that were received into the input. */
static void keep (Desk *desk) {
  lev_Bufferevent *b = desk->reader;
  struct evbuffer *input = b->bev->input;
  desk->reader = NULL;
  if (desk->len == 0)
    return;
  evbuffer_unfreeze(input, 0);
  if (evbuffer_add(input, desk->at, desk->len) < 0)
    fail(b, EV_READ, ENOMEM);
  evbuffer_freeze(input, 0);
}

/* Pushes up to 'n' of the bytes that were received; false if there are none
   on the desk. */
bool levL_pushpiece (lua_State *L, lev_Bufferevent *b, size_t n) {
  Desk *desk = b->o.base->desk;
  const char *at;
  if (desk == NULL || desk->reader != b || desk->len == 0)
    return false;
  at = desk->at;
  n = n < desk->len ? n : desk->len;
  lua_pushlstring(L, at, n);
  if (b->o.base == NULL || desk->reader != b || desk->at != at)
    luaL_error(L, "a finalizer has taken from the buffer that is read");
  desk->at += n;
  desk->len -= n;
  return true;
}

/* What has arrived, in one piece: up to 'most' bytes of it, or where that is 0
   what lies together anyway. NULL if there is nothing, or no memory: then *n is
   not 0. It lies there until anything else is done. */
const char *levL_peek (lev_Bufferevent *b, size_t most, size_t *n) {
  Desk *desk = b->o.base->desk;
  struct evbuffer *input = b->bev->input;
  size_t len = evbuffer_get_length(input);
  if (desk && desk->reader == b && len == 0) {
    *n = desk->len;
    return *n > 0 ? desk->at : NULL;
  }
  if (desk && desk->reader == b)
    keep(desk);
  len = most > 0 ? evbuffer_get_length(input)
                 : evbuffer_get_contiguous_space(input);
  *n = most > 0 && len > most ? most : len;
  return *n > 0 ? (const char *)evbuffer_pullup(input, (ev_ssize_t)*n) : NULL;
}

/* They have been used. */
void levL_skip (lev_Bufferevent *b, size_t n) {
  Desk *desk = b->o.base->desk;
  if (desk && desk->reader == b) {
    desk->at += n;
    desk->len -= n;
  }
  else
    evbuffer_drain(b->bev->input, n);
}

/* Receives into the input: -1 and ENOMEM, or what readv says. */
static ssize_t receiveinto (struct evbuffer *input, int fd, size_t room) {
  struct evbuffer_iovec pieces[2];
  ssize_t got = -1;
  int n;
  evbuffer_unfreeze(input, 0);
  n = evbuffer_reserve_space(input, (ev_ssize_t)room, pieces, 2);
  if (n <= 0)
    errno = ENOMEM;
  else
    got = readv(fd, pieces, n);
  if (got > 0) {
    size_t left = (size_t)got;
    for (int i = 0; i < n; i++) {
      pieces[i].iov_len = left < pieces[i].iov_len ? left : pieces[i].iov_len;
      left -= pieces[i].iov_len;
    }
    evbuffer_commit_space(input, pieces, n);
  }
  evbuffer_freeze(input, 0);
  return got;
}

/* Does the script get the bytes from the desk? */
static bool handsover (const lev_Bufferevent *b) {
  return b->read && !iswatched(b->buffers[0])
         && evbuffer_get_length(b->bev->input) == 0;
}

/* Receives to the desk, and leaves there what the script gets from it. */
static ssize_t receivefor (lev_Bufferevent *b, Desk *desk, int fd,
                           bool direct) {
  ssize_t n;
  if (!direct && b->expects >= LARGE && !b->tls)
    n = receiveinto(b->bev->input, fd, b->expects);
  else {
    n = receive(b, fd, desk->in, ROOM);
    desk->reader = n > 0 ? b : NULL;
    desk->at = desk->in;
    desk->len = n > 0 ? (size_t)n : 0;
    if (n > 0 && !direct)
      keep(desk);
  }
  if (n > 0)                  /* libevent's room is larger: it can grow */
    b->expects = n < USHRT_MAX ? (unsigned short)n : USHRT_MAX;
  return n;
}

/* libevent's event for reading: only what is plain data is ours. */
static void onreadable (evutil_socket_t fd, short what, void *arg) {
  struct bufferevent *bev = arg;
  lev_Bufferevent *b = bev->cbarg;
  Desk *desk;
  ssize_t n;
  if (what != EV_READ || !readsdirectly(b) || !(desk = getdesk(b->o.base))) {
    getlibeventread()(fd, what, arg);
    return;
  }
  n = receivefor(b, desk, fd, handsover(b));
  if (n > 0)
    levL_arrived(b);
  else if (n == 0 || isfailure(n)) {
    int err = errno;
    bufferevent_disable(bev, EV_READ);
    levL_ended(b, n == 0 ? BEV_EVENT_READING | BEV_EVENT_EOF
                         : BEV_EVENT_READING | BEV_EVENT_ERROR, err);
  }
}

/* The same of a socket that speaks TLS. What nobody may have from the desk goes
   libevent's way from the input on. */
static void onsecretreadable (evutil_socket_t fd, short what, void *arg) {
  lev_Bufferevent *b = arg;
  struct bufferevent *bev = b->bev;
  bool direct = readsdirectly(b);
  Desk *desk;
  ssize_t n = -1;
  if (!(what & EV_READ)) {
    getlibeventread()(fd, EV_TIMEOUT, bev);
    return;
  }
  if (!levL_tlsopen(b)) {
    levL_park(b);
    return;
  }
  watch(b, &bev->ev_read, EV_READ, true);
  errno = ENOMEM;
  if ((desk = getdesk(b->o.base)) != NULL)
    n = receivefor(b, desk, (int)fd, direct && handsover(b));
  if (n > 0 && direct)
    levL_arrived(b);
  else if (n > 0)
    bufferevent_trigger(bev, EV_READ, 0);
  else if (n == 0 || isfailure(n)) {
    int err = errno;
    bufferevent_disable(bev, EV_READ);
    ended(b, n == 0 ? BEV_EVENT_READING | BEV_EVENT_EOF
                    : BEV_EVENT_READING | BEV_EVENT_ERROR, err);
  }
}

static void takeover (struct event *ev, event_callback_fn *was,
                      event_callback_fn own, bool ours) {
  event_callback_fn *cb = &ev->ev_evcallback.evcb_cb_union.evcb_callback;
  if (*cb != own)
    __atomic_store_n(was, *cb, __ATOMIC_RELAXED);
  *cb = ours ? own : __atomic_load_n(was, __ATOMIC_RELAXED);
}

/* Takes libevent's events over, which every change of the descriptor makes
   anew; but not below a filter, which has the bufferevent's callbacks. */
void levL_direct (lev_Bufferevent *b) {
  if (!levL_issocket(b))
    return;
  if (b->tls && b->bev->ev_read.ev_fd >= 0) {
    takeover(&b->bev->ev_read, &libeventread, onsecretreadable, true);
    takeover(&b->bev->ev_write, &libeventwrite, onsecretwritable, true);
    b->bev->ev_read.ev_evcallback.evcb_arg = b;
    b->bev->ev_write.ev_evcallback.evcb_arg = b;
    return;
  }
  takeover(&b->bev->ev_read, &libeventread, onreadable, !b->above);
  takeover(&b->bev->ev_write, &libeventwrite, onwritable, !b->above);
}

/* ====} */

/* Puts all of its bytes that lie on the desk into its buffers, before anybody
   looks at those. */
void levL_clear (lev_Bufferevent *b) {
  Desk *desk = b->o.base->desk;
  if (desk == NULL)
    return;
  if (desk->reader == b)
    keep(desk);
  if (desk->writer == b && levL_gather(b)) {
    unstage(desk, 0);
    levL_gathered(b);
  }
  else if (desk->writer == b)
    unstage(desk, 0);
}

/* How many bytes of its buffer 'buf' lie on the desk. */
size_t levL_aside (const lev_Bufferevent *b, const struct evbuffer *buf) {
  const Desk *desk = b->o.base->desk;
  if (desk && desk->reader == b && buf == b->bev->input)
    return desk->len;
  if (desk && desk->writer == b && buf == b->bev->output)
    return desk->staged;
  return 0;
}

/* It is freed. */
void levL_forget (lev_Bufferevent *b) {
  Desk *desk = b->o.base->desk;
  if (desk == NULL)
    return;
  if (desk->reader == b)
    desk->reader = NULL;
  if (desk->writer == b)
    desk->writer = NULL;
  if (b->unsent)
    unlist(desk, b);
}
