/*
** http_load.c: a client that puts an HTTP/1.1 server under load. It asks for
** /NAME, NAME being that of FILE, and believes nothing: each answer has to be a
** 200 with a Content-Length, and its body byte for byte what FILE has.
**
**   http_load [-t SECONDS] get  ADDRESS FILE CONNECTIONS MILLISECONDS DEPTH
**   http_load [-t SECONDS] keep ADDRESS FILE CONNECTIONS MILLISECONDS
**
** ADDRESS is 127.0.0.1:port or unix:/path. Connections are kept. For 'get' all
** are open before the first request; DEPTH requests go in one packet, the next
** ones when all answers are there, until the time is over.
** Exit status 0 means that all went as it should; else a line says what not.
*/
#define _POSIX_C_SOURCE 200809L         /* optind, MSG_NOSIGNAL */

#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAXHEAD 4096          /* bytes of an answer before its body */
#define ROOM 262144           /* bytes read at a time */

typedef struct Conn {
  int fd;
  Count number;               /* from 0 */
  Count answers;              /* that have come */
  Count due;                  /* answers of this packet that have not */
  size_t sent;                /* bytes of the packet */
  double begun;               /* when its first byte was sent */
  size_t nhead;               /* bytes of a head that is not all there */
  bool inbody;
  size_t nbody;               /* bytes of the body that have come */
  char head[MAXHEAD];
} Conn;

static Conn *conns;
static size_t nconns;
static size_t pending;        /* connections that have answers to come */
static char *packet;          /* DEPTH requests */
static size_t packetlen;
static Count depth;
static char *body;            /* what each answer has to have */
static size_t bodylen;
static char known[MAXHEAD];   /* the last head that was read and found right */
static size_t knownlen;
static double over = -1;      /* the time when no more is asked for */
static double arrival;        /* of what is being read */
static Count nbytes;          /* that have come, heads and bodies */

static void failanswer (const Conn *c, const char *what) {
  fail("connection %llu: answer %llu %s", c->number, c->answers + 1, what);
}

/* The first connection that waits tells most about a stall. */
static void faillate (void) {
  const Conn *c = conns;
  while (c < conns + nconns - 1 && c->due == 0)
    c++;
  fail("not done after %g seconds, %zu connections wait; number %llu has had "
       "%llu answers, %llu are due", limit, pending, c->number, c->answers,
       c->due);
}

/* {==== Requests ==== */

static void watch (Conn *c, unsigned events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  if (epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e) < 0)
    failsystem("epoll_ctl");
}

/* A packet that does not fit waits until the server has read some of it. */
static void transmit (Conn *c) {
  bool waited = c->sent > 0;
  ssize_t n = send(c->fd, packet + c->sent, packetlen - c->sent, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR)
    failsystem("send");
  if (n > 0)
    c->sent += (size_t)n;
  if (c->sent < packetlen)
    watch(c, EPOLLIN | EPOLLOUT);
  else if (waited)
    watch(c, EPOLLIN);
}

static void ask (Conn *c) {
  c->begun = now();
  c->sent = 0;
  c->due = depth;
  transmit(c);
}

/* As curl would ask. */
static void setpacket (const char *path, const char *host) {
  static const char format[] = "GET /%s HTTP/1.1\r\nHost: %s\r\n"
                               "User-Agent: http_load\r\nAccept: */*\r\n\r\n";
  size_t room = sizeof(format) + strlen(path) + strlen(host);
  size_t n;
  packet = allocate(depth, room);
  n = (size_t)snprintf(packet, room, format, path, host);
  for (Count i = 1; i < depth; i++)
    memcpy(packet + i * n, packet, n);
  packetlen = (size_t)depth * n;
}

/* ====} */

/* {==== Answers ==== */

/* 'line' as a field of this name: its value, or NULL. */
static const char *field (const char *line, const char *name) {
  size_t n = strlen(name);
  if (strncasecmp(line, name, n) != 0 || line[n] != ':')
    return NULL;
  line += n + 1;
  return line + strspn(line, " \t");
}

static void checklength (const Conn *c, const char *value) {
  char *end;
  Count n = strtoull(value, &end, 10);
  if (*value < '0' || *value > '9' || *end != '\r')
    failanswer(c, "has a length that is none");
  if (n != bodylen)
    fail("connection %llu: answer %llu has a length of %llu instead of %zu",
         c->number, c->answers + 1, n, bodylen);
}

/* A head is a status line, fields and an empty line, and ends with '\0'. */
static void checkhead (const Conn *c) {
  const char *line = c->head, *value;
  unsigned lengths = 0;
  if (strncmp(line, "HTTP/1.1 200 ", 13) != 0)
    fail("connection %llu: answer %llu begins with '%.*s'", c->number,
         c->answers + 1, (int)strcspn(line, "\r\n"), line);
  while (line = strchr(line, '\n') + 1, *line != '\r') {
    if (field(line, "Transfer-Encoding") != NULL)
      failanswer(c, "comes in chunks");
    if ((value = field(line, "Content-Length")) == NULL)
      continue;
    checklength(c, value);
    lengths++;
  }
  if (lengths != 1)
    failanswer(c, lengths == 0 ? "has no length" : "has two lengths");
}

/* Bytes of a head: how many of 'data' belong to it. Almost all heads are the
   same as the one before, up to the second of their date. */
static size_t takehead (Conn *c, const char *data, size_t n) {
  size_t used = 0;
  if (c->nhead == 0 && knownlen > 0 && n >= knownlen
      && memcmp(data, known, knownlen) == 0) {
    c->inbody = true;
    return knownlen;
  }
  while (used < n && !c->inbody) {
    if (c->nhead == MAXHEAD - 1)
      failanswer(c, "has a head without an end");
    c->head[c->nhead++] = data[used++];
    c->inbody = c->nhead >= 4
                && memcmp(c->head + c->nhead - 4, "\r\n\r\n", 4) == 0;
  }
  if (c->inbody) {
    c->head[c->nhead] = '\0';
    checkhead(c);
    memcpy(known, c->head, c->nhead);
    knownlen = c->nhead;
    c->nhead = 0;
  }
  return used;
}

static void answered (Conn *c) {
  addtrip(arrival - c->begun);
  c->answers++;
  c->inbody = false;
  c->nbody = 0;
  if (--c->due > 0)
    return;
  if (arrival < over)
    ask(c);
  else
    pending--;
}

static size_t takebody (Conn *c, const char *data, size_t n) {
  size_t left = bodylen - c->nbody;
  if (n > left)
    n = left;
  if (memcmp(data, body + c->nbody, n) != 0)
    failanswer(c, "has another body");
  c->nbody += n;
  if (c->nbody == bodylen)
    answered(c);
  return n;
}

static void take (Conn *c, const char *data, size_t n) {
  nbytes += n;
  while (n > 0) {
    size_t used;
    if (c->due == 0)
      fail("connection %llu: more came than %llu answers", c->number,
           c->answers);
    used = c->inbody ? takebody(c, data, n) : takehead(c, data, n);
    data += used;
    n -= used;
  }
}

static void receive (Conn *c) {
  static char data[ROOM];
  ssize_t n = recv(c->fd, data, sizeof(data), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n < 0)
    failsystem("recv");
  if (n == 0)
    fail("connection %llu: closed by the server after %llu answers, %llu were "
         "due", c->number, c->answers, c->due);
  arrival = now();
  take(c, data, (size_t)n);
}

/* ====} */

/* {==== All connections ==== */

/* One time around the loop. */
static void turn (void) {
  struct epoll_event events[MAXEVENTS];
  int n = epoll_wait(epfd, events, MAXEVENTS, TICK);
  for (int i = 0; i < n; i++) {
    Conn *c = events[i].data.ptr;
    if (events[i].events & EPOLLOUT)
      transmit(c);
    if (events[i].events & ~(unsigned)EPOLLOUT)
      receive(c);
  }
  if (now() > deadline)
    faillate();
}

static Conn *openconn (void) {
  Conn *c = &conns[nconns];
  c->number = nconns++;
  c->fd = openfd(c->number, c);
  return c;
}

/* Asks on some connections, until all have been answered. */
static void askall (Conn *some, size_t n) {
  pending = n;
  for (size_t i = 0; i < n; i++)
    ask(&some[i]);
  while (pending > 0)
    turn();
}

/* ====} */

/* {==== Modes ==== */

static void get (const Count *args) {
  double begin, seconds;
  size_t n;
  while (nconns < args[0])
    openconn();
  begin = now();
  over = begin + (double)args[1] / 1e3;
  askall(conns, nconns);
  seconds = now() - begin;
  n = counttrips();
  printf("get: %zu connections, %zu requests of %zu bytes, %llu at a time, "
         "%.3f s, %.0f requests/s, %.1f MB/s, heads of %zu bytes, ", nconns, n,
         bodylen, depth, seconds, (double)n / seconds,
         (double)nbytes / seconds / 1e6, knownlen);
  telltrips();
}

/* One request on each connection, one after the other; then all are kept, and
   nothing more is said: whatever the server sends or ends is a failure. */
static void keep (const Count *args) {
  double end;
  while (nconns < args[0])
    askall(openconn(), 1);
  printf("keep: %zu connections\n", nconns);
  fflush(stdout);
  end = now() + (double)args[1] / 1e3;
  while (now() < end)
    turn();
}

/* ====} */

/* {==== Command line ==== */

static const Mode modes[] = {
  {"get", 3, get}, {"keep", 2, keep}, {NULL, 0, NULL}
};

void usage (void) {
  fputs("usage: http_load [-t SECONDS]\n"
        "         get ADDRESS FILE CONNECTIONS MILLISECONDS DEPTH\n"
        "       | keep ADDRESS FILE CONNECTIONS MILLISECONDS\n", stderr);
  exit(EXIT_FAILURE);
}

static void setbody (const char *path) {
  FILE *file = fopen(path, "rb");
  long n;
  if (file == NULL)
    failsystem(path);
  if (fseek(file, 0, SEEK_END) < 0 || (n = ftell(file)) < 0)
    failsystem(path);
  if (n == 0)
    fail("%s is empty", path);
  bodylen = (size_t)n;
  body = allocate(bodylen, 1);
  rewind(file);
  if (fread(body, 1, bodylen, file) < bodylen)
    fail("%s cannot be read", path);
  fclose(file);
}

int main (int argc, char *argv[]) {
  Count args[3] = {0, 0, 1};
  const Mode *mode = setup("http_load", argc, argv, NULL, modes, 1, args);
  const char *address = argv[optind + 1], *path = argv[optind + 2];
  const char *slash = strrchr(path, '/');
  depth = args[2];
  setbody(path);
  setpacket(slash ? slash + 1 : path,
            strncmp(address, "unix:", 5) == 0 ? "localhost" : address);
  conns = allocate(args[0], sizeof(*conns));
  mode->run(args);
  return EXIT_SUCCESS;
}

/* ====} */
