/*
** load.c: a client that puts an echo server under load and believes nothing:
** every byte that comes back is compared with the one that was sent.
**
**   load [-t SECONDS] echo     ADDRESS CONNECTIONS MESSAGES SIZE
**   load [-t SECONDS] pipeline ADDRESS CONNECTIONS MESSAGES SIZE DEPTH
**   load [-t SECONDS] cycle    ADDRESS COUNT SIZE PARALLEL
**   load [-t SECONDS] slow     ADDRESS BYTES RATE
**   load [-t SECONDS] idle     ADDRESS CONNECTIONS SECONDS
**
** ADDRESS is 127.0.0.1:port or unix:/path. With -u before the mode each
** connection begins as one of HTTP, and is upgraded as those of WebSockets are.
** One thread, one epoll set. What a mode does comes in phases; each ends when
** nothing is pending any more. Exit status 0 means that all went as it should;
** else a line says what not.
*/
#define _POSIX_C_SOURCE 200809L         /* MSG_NOSIGNAL */

#include "client.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define SLOWTIME 2.0          /* seconds that 'slow' reads slowly */

typedef struct Conn {
  int fd;                     /* -1: closed */
  bool leaving;               /* we have sent the end, and expect the peer's */
  unsigned waits;             /* what epoll has been asked for */
  Count number;               /* of all connections made, from 0 */
  Count sent, got;            /* bytes */
  Count goal;                 /* bytes to send, and to get back */
  Count back;                 /* messages that are */
  double begun;               /* when it was opened, or its last message */
} Conn;

static Conn *conns;
static size_t nconns;
static size_t pending;        /* connections that this phase waits for */
static Count nopened;
static Count size;            /* bytes in a message */
static Count depth = 1;       /* messages of a connection under way at a time */
static Count maxinflight;     /* most bytes of one connection not yet back */
static double rate;           /* bytes per second that 'slow' begins with */
static bool upgrades;         /* -u */

/* What a mode does when all that was sent is back (with several messages under
   way: some of it), and when the server has closed a connection that was
   left. */
static void (*onanswered) (Conn *c), (*onended) (Conn *c);

/* The first connection that waits tells most about a stall. */
static void faillate (void) {
  const Conn *c = conns;
  while (c < conns + nconns - 1 && c->got == c->goal && !c->leaving)
    c++;
  fail("not done after %g seconds, %zu connections wait; number %llu has sent "
       "%llu bytes of %llu%s and got %llu back", limit, pending, c->number,
       c->sent, c->goal, c->leaving ? " and the end" : "", c->got);
}

/* {==== One connection ==== */

/* How much 'c' may read now: what 'slow' is about. */
static size_t allowance (const Conn *c) {
  double elapsed, allowed;
  if (rate == 0 || (elapsed = now() - c->begun) >= SLOWTIME)
    return PERIOD;
  allowed = rate * elapsed - (double)c->got;
  return allowed < 1 ? 0 : allowed > PERIOD ? PERIOD : (size_t)allowed;
}

static void watch (Conn *c) {
  struct epoll_event e = {0};
  e.data.ptr = c;
  e.events = (allowance(c) > 0 ? EPOLLIN : 0)
             | (c->sent < c->goal ? EPOLLOUT : 0);
  if (e.events != c->waits && epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e) < 0)
    failsystem("epoll_ctl");
  c->waits = e.events;
}

/* Milliseconds up to the deadline. */
static int patience (void) {
  double left = (deadline - now()) * 1e3;
  return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Asks for something else than HTTP, and waits for the head that says so. What
   comes behind it counts as an echo. */
static void upgrade (const Conn *c) {
  static const char request[] = "GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n";
  struct pollfd readable = {.fd = c->fd, .events = POLLIN};
  char head[256] = "";
  if (send(c->fd, request, sizeof(request) - 1, MSG_NOSIGNAL)
      != sizeof(request) - 1)
    failsystem("send");
  for (size_t n = 0; n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0; n++) {
    if (poll(&readable, 1, patience()) <= 0)
      fail("connection %llu: no answer to its request", c->number);
    if (n == sizeof(head) - 1 || recv(c->fd, head + n, 1, 0) != 1)
      fail("connection %llu: no head in answer to its request", c->number);
  }
  if (strncmp(head, "HTTP/1.1 101 ", 13) != 0)
    fail("connection %llu: not upgraded: '%.16s'", c->number, head);
}

static void openconn (Conn *c) {
  memset(c, 0, sizeof(*c));
  c->number = nopened++;
  c->begun = now();
  c->waits = EPOLLIN;
  c->fd = openfd(c->number, c);
  if (upgrades)
    upgrade(c);
}

static void closeconn (Conn *c) {
  resetfd(c->fd);
  c->fd = -1;
}

/* Sends the end; the server is expected to close, and to send no more. */
static void leave (Conn *c) {
  c->leaving = true;
  if (shutdown(c->fd, SHUT_WR) < 0)
    failsystem("shutdown");
}

static void transmit (Conn *c) {
  Count n = c->goal - c->sent;
  ssize_t r = send(c->fd, slice(c->number, c->sent),
                   n < PERIOD ? (size_t)n : PERIOD, MSG_NOSIGNAL);
  if (r >= 0)
    c->sent += (Count)r;
  else if (errno != EAGAIN && errno != EINTR)
    failsystem("send");
  if (c->sent - c->got > maxinflight)
    maxinflight = c->sent - c->got;
}

/* The next message. */
static void say (Conn *c) {
  c->begun = now();
  c->goal += size;
  transmit(c);
  watch(c);
}

static void receive (Conn *c) {
  static char data[PERIOD];
  size_t room = allowance(c);
  ssize_t r;
  if (room == 0)
    return;
  r = recv(c->fd, data, room, 0);
  if (r < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (r < 0)
    failsystem("recv");
  if (r == 0 && !c->leaving)
    fail("connection %llu: closed by the server when %llu bytes of %llu were "
         "back", c->number, c->got, c->goal);
  check(c->number, data, (size_t)r, c->got, c->sent);
  c->got += (Count)r;
  if (r == 0)
    onended(c);
  else if (c->got == c->goal || depth > 1)
    onanswered(c);
}

/* ====} */

/* {==== All connections ==== */

/* Until nothing is pending any more, or until a time. */
static void run (double until) {
  struct epoll_event events[MAXEVENTS];
  while (pending > 0 && now() < until) {
    int n = epoll_wait(epfd, events, MAXEVENTS, TICK);
    for (int i = 0; i < n; i++) {
      Conn *c = events[i].data.ptr;
      if (events[i].events & EPOLLOUT)
        transmit(c);
      if (events[i].events & ~(unsigned)EPOLLOUT)
        receive(c);
      if (c->fd >= 0)
        watch(c);
    }
    if (rate > 0)
      watch(conns);           /* time alone has given it an allowance */
    if (now() > deadline)
      faillate();
  }
}

/* The phase need not wait for 'c' any more. */
static void done (Conn *c) {
  (void)c;
  pending--;
}

static void ended (Conn *c) {
  closeconn(c);
  done(c);
}

static void openall (Count n) {
  conns = allocate(n, sizeof(*conns));
  for (nconns = 0; nconns < n; nconns++)
    openconn(&conns[nconns]);
}

static void forall (void (*f) (Conn *c)) {
  pending = nconns;
  for (size_t i = 0; i < nconns; i++)
    f(&conns[i]);
  run(HUGE_VAL);
}

/* ====} */

/* {==== Modes ==== */

static Count total;           /* echo: bytes a connection; cycle: cycles */
static double *starts;        /* 'depth' for each connection, in turns */

static double *startof (const Conn *c, Count message) {
  return &starts[c->number * depth + message % depth];
}

/* One message more, if there is one. */
static void add (Conn *c, double begin) {
  if (c->goal < total) {
    *startof(c, c->goal / size) = begin;
    c->goal += size;
  }
}

static void fill (Conn *c) {
  double begin = now();
  for (Count i = 0; i < depth; i++)
    add(c, begin);
  transmit(c);
  watch(c);
}

/* Each message that is back makes room for the next one. */
static void pong (Conn *c) {
  double end = now();
  for (; c->back < c->got / size; c->back++) {
    addtrip(end - *startof(c, c->back));
    add(c, end);
  }
  if (c->got == total)
    done(c);
  else if (c->sent < c->goal)
    transmit(c);
}

static void tell (double seconds) {
  size_t n = counttrips();
  printf("%s: %zu connections, %zu messages of %llu bytes, %.3f s, "
         "%.0f messages/s, ", depth > 1 ? "pipeline" : "echo", nconns, n, size,
         seconds, (double)n / seconds);
  telltrips();
}

/* All connections are open before the first message. */
static void pipeline (const Count *args) {
  double begin, seconds;
  size = args[2];
  depth = args[3];
  total = args[1] * size;
  starts = allocate(args[0] * depth, sizeof(*starts));
  openall(args[0]);
  onanswered = pong;
  begin = now();
  forall(fill);
  seconds = now() - begin;
  forall(leave);
  tell(seconds);
}

static void echo (const Count *args) {
  const Count one[] = {args[0], args[1], args[2], 1};
  pipeline(one);
}

static void again (Conn *c) {
  if (nopened < total) {
    closeconn(c);
    openconn(c);
    say(c);
  }
  else
    ended(c);
}

/* One half says goodbye and waits for the server's, the other half is gone
   without a word. */
static void part (Conn *c) {
  if (c->number % 2 == 0)
    leave(c);
  else
    again(c);
}

static void cycle (const Count *args) {
  double begin = now(), seconds;
  total = args[0];
  size = args[1];
  onanswered = part;
  onended = again;
  openall(args[2] < total ? args[2] : total);
  forall(say);
  seconds = now() - begin;
  printf("cycle: %llu cycles of %llu bytes, %zu at once, %.3f s, "
         "%.0f cycles/s\n", nopened, size, nconns, seconds,
         (double)nopened / seconds);
}

/* The most that was in flight is what the server and the kernel hold for a
   client that hardly reads. */
static void slow (const Count *args) {
  double begin = now(), seconds;
  size = args[0];
  rate = (double)args[1];
  openall(1);
  forall(say);
  seconds = now() - begin;
  rate = 0;
  forall(leave);
  printf("slow: %llu bytes, %.3f s, %.1f MB/s, at most %llu bytes in flight\n",
         size, seconds, (double)size / seconds / 1e6, maxinflight);
}

/* Nothing is said: whatever the server sends or ends is a failure. */
static void idle (const Count *args) {
  double begin = now(), seconds;
  openall(args[0]);
  seconds = now() - begin;
  pending = nconns;
  run(now() + (double)args[1]);
  forall(leave);
  printf("idle: %zu connections, made in %.3f s, held for %llu s\n", nconns,
         seconds, args[1]);
}

/* ====} */

/* {==== Command line ==== */

static const Mode modes[] = {
  {"echo", 3, echo}, {"pipeline", 4, pipeline}, {"cycle", 3, cycle},
  {"slow", 2, slow}, {"idle", 2, idle}, {NULL, 0, NULL}
};

void usage (void) {
  fputs("usage: load [-t SECONDS] [-u]\n"
        "         echo ADDRESS CONNECTIONS MESSAGES SIZE\n"
        "       | pipeline ADDRESS CONNECTIONS MESSAGES SIZE DEPTH\n"
        "       | cycle ADDRESS COUNT SIZE PARALLEL\n"
        "       | slow ADDRESS BYTES RATE\n"
        "       | idle ADDRESS CONNECTIONS SECONDS\n", stderr);
  exit(EXIT_FAILURE);
}

int main (int argc, char *argv[]) {
  Count args[4];
  const Mode *mode = setup("load", argc, argv, &upgrades, modes, 0, args);
  onanswered = done;
  onended = ended;
  mode->run(args);
  return EXIT_SUCCESS;
}

/* ====} */
