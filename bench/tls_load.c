/*
** tls_load.c: a client that puts an echo server on TLS 1.3 under load, and
** compares every byte that comes back with the one that was sent. It trusts
** CERTIFICATE, a file, and nothing else, and speaks to 127.0.0.1 by that name.
**
**   tls_load [-t SECONDS] echo ADDRESS CERTIFICATE CONNECTIONS MESSAGES SIZE
**   tls_load [-t SECONDS] full ADDRESS CERTIFICATE COUNT PARALLEL
**   tls_load [-t SECONDS] resumed ADDRESS CERTIFICATE COUNT PARALLEL
**
** ADDRESS is 127.0.0.1:port or unix:/path. For 'echo' all connections are open
** before the first message. The others connect, shake hands, send a byte, wait
** for its echo, say goodbye and wait for the server's goodbye, COUNT times.
** Cipher and group are the same with every server.
** Exit status 0 means that all went as it should; else a line says what not.
*/
#define _POSIX_C_SOURCE 200809L         /* optind, SIGPIPE */

#include "client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define SUITE "TLS_AES_256_GCM_SHA384"
#define GROUP "X25519"
#define HOST "127.0.0.1"

typedef struct Conn {
  int fd;
  SSL *ssl;                   /* NULL: closed */
  bool open;                  /* the handshake is done */
  bool leaving;               /* we have said goodbye, and expect the peer's */
  unsigned waits;             /* what epoll has been asked for */
  Count number;               /* of all connections made, from 0 */
  Count sent, got;            /* bytes */
  Count goal;                 /* bytes to send, and to get back */
  double begun;               /* when it was opened, or its last message */
} Conn;

static SSL_CTX *ctx;
static SSL_SESSION *session;  /* the last one that a server gave, or NULL */
static bool resumes;          /* connections take it */
static Conn *conns;
static size_t nconns;
static size_t pending;        /* connections that this phase waits for */
static Count nopened;
static Count size;            /* bytes in a message */
static Count total;           /* echo: bytes a connection; else: connections */

/* What a mode does when a handshake is done, when all that was sent is back,
   and when the server has said goodbye. */
static void (*onopen) (Conn *c), (*onanswered) (Conn *c), (*onended) (Conn *c);

/* The first connection that waits tells most about a stall. */
static void faillate (void) {
  const Conn *c = conns;
  while (c < conns + nconns - 1 && c->open && c->got == c->goal && !c->leaving)
    c++;
  fail("not done after %g seconds, %zu connections wait; number %llu %s, has "
       "sent %llu bytes of %llu%s and got %llu back", limit, pending, c->number,
       c->open ? "is open" : "shakes hands", c->sent, c->goal,
       c->leaving ? " and the end" : "", c->got);
}

/* {==== One connection ==== */

static void failconn (const Conn *c, const char *what) {
  unsigned long e = ERR_peek_error();
  long verified = SSL_get_verify_result(c->ssl);
  fail("connection %llu: %s: %s", c->number, what,
       verified != X509_V_OK ? X509_verify_cert_error_string(verified)
       : e ? ERR_reason_error_string(e) : "the connection is cut");
}

static void watch (Conn *c) {
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  if (c->sent < c->goal)
    e.events |= EPOLLOUT;
  if (e.events != c->waits && epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e) < 0)
    failsystem("epoll_ctl");
  c->waits = e.events;
}

/* What has not been done yet is for later, or that was the end. */
static void postpone (const Conn *c, const char *what) {
  int error = SSL_get_error(c->ssl, 0);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
    failconn(c, what);
}

static void shakehands (Conn *c) {
  if (SSL_do_handshake(c->ssl) <= 0) {
    postpone(c, "handshake");
    return;
  }
  if (SSL_session_reused(c->ssl) != resumes)
    fail("connection %llu: its session is %s", c->number,
         resumes ? "a new one" : "one of before");
  c->open = true;
  onopen(c);
}

/* A session may be used once; a copy of it is as good to the server. */
static void resume (const Conn *c) {
  SSL_SESSION *copy = SSL_SESSION_dup(session);
  if (copy == NULL || !SSL_set_session(c->ssl, copy))
    failconn(c, "resumption");
  SSL_SESSION_free(copy);
}

static void openconn (Conn *c) {
  *c = (Conn){.number = nopened++, .begun = now(), .waits = EPOLLIN};
  c->fd = openfd(c->number, c);
  c->ssl = SSL_new(ctx);
  if (c->ssl == NULL || !SSL_set_fd(c->ssl, c->fd))
    fail("connection %llu: no memory", c->number);
  if (resumes)
    resume(c);
  SSL_set_connect_state(c->ssl);
}

static void closeconn (Conn *c) {
  SSL_free(c->ssl);
  c->ssl = NULL;
  c->leaving = false;
  resetfd(c->fd);
}

/* Says goodbye; the server is expected to do the same, and to send no more. */
static void leave (Conn *c) {
  c->leaving = true;
  if (SSL_shutdown(c->ssl) < 0)
    failconn(c, "goodbye");
}

static void transmit (Conn *c) {
  size_t n = 1;
  while (c->sent < c->goal && n > 0) {
    Count left = c->goal - c->sent;
    if (!SSL_write_ex(c->ssl, slice(c->number, c->sent),
                      left < PERIOD ? (size_t)left : PERIOD, &n)) {
      postpone(c, "write");
      n = 0;
    }
    c->sent += n;
  }
  watch(c);
}

/* The next message. */
static void say (Conn *c) {
  c->begun = now();
  c->goal += size;
  transmit(c);
}

/* Nothing is there: not yet, or no more. */
static void receivenothing (Conn *c) {
  if (SSL_get_error(c->ssl, 0) != SSL_ERROR_ZERO_RETURN)
    postpone(c, "read");
  else if (c->leaving)
    onended(c);
  else
    fail("connection %llu: closed by the server when %llu bytes of %llu were "
         "back", c->number, c->got, c->goal);
}

/* Until a message is back there may always be more; after that only what has
   come together with it. */
static void receive (Conn *c) {
  static char data[PERIOD];
  size_t n;
  do {
    if (!SSL_read_ex(c->ssl, data, sizeof(data), &n)) {
      receivenothing(c);
      return;
    }
    check(c->number, data, n, c->got, c->sent);
    c->got += n;
  } while (c->got < c->goal || SSL_has_pending(c->ssl));
  onanswered(c);
}

static void progress (Conn *c, unsigned events) {
  if (!c->open) {
    shakehands(c);
    return;
  }
  if (events & EPOLLOUT)
    transmit(c);
  if (events & ~(unsigned)EPOLLOUT)
    receive(c);
}

/* ====} */

/* {==== All connections ==== */

/* Until nothing is pending any more. */
static void run (void) {
  struct epoll_event events[MAXEVENTS];
  while (pending > 0) {
    int n = epoll_wait(epfd, events, MAXEVENTS, TICK);
    for (int i = 0; i < n; i++)
      progress(events[i].data.ptr, events[i].events);
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

static void begin (Conn *c) {
  openconn(c);
  shakehands(c);
}

static void forall (void (*f) (Conn *c)) {
  pending = nconns;
  for (size_t i = 0; i < nconns; i++)
    f(&conns[i]);
  run();
}

static void openall (Count n) {
  free(conns);
  conns = allocate(n, sizeof(*conns));
  nconns = (size_t)n;
  forall(begin);
}

/* ====} */

/* {==== Modes ==== */

static void pong (Conn *c) {
  addtrip(now() - c->begun);
  if (c->goal < total)
    say(c);
  else
    done(c);
}

/* All connections are open before the first message. */
static void echo (const Count *args) {
  double start, seconds;
  size_t n;
  size = args[2];
  total = args[1] * size;
  onopen = done;
  onanswered = pong;
  onended = ended;
  openall(args[0]);
  start = now();
  forall(say);
  seconds = now() - start;
  forall(leave);
  n = counttrips();
  printf("echo: %zu connections, %zu messages of %llu bytes, %.3f s, "
         "%.0f messages/s, ", nconns, n, size, seconds, (double)n / seconds);
  telltrips();
}

/* A byte, since the handshake began when the connection was opened. */
static void greet (Conn *c) {
  c->goal = size;
  transmit(c);
}

static void part (Conn *c) {
  addtrip(now() - c->begun);
  leave(c);
}

static void again (Conn *c) {
  closeconn(c);
  if (nopened < total)
    begin(c);
  else
    done(c);
}

/* Makes so many connections, one after the other ends. */
static void visit (Count n, Count parallel, void (*answered) (Conn *c)) {
  size = 1;
  total = nopened + n;
  onopen = greet;
  onanswered = answered;
  onended = again;
  openall(parallel < n ? parallel : n);
}

static void handshakes (const Count *args, const char *kind) {
  double start = now(), seconds;
  visit(args[0], args[1], part);
  seconds = now() - start;
  printf("%s: %llu handshakes of %zu connections, %.3f s, %.0f handshakes/s, ",
         kind, args[0], nconns, seconds, (double)args[0] / seconds);
  telltrips();
}

static void full (const Count *args) {
  handshakes(args, "full");
}

static int onsession (SSL *ssl, SSL_SESSION *new) {
  (void)ssl;
  SSL_SESSION_free(session);
  session = new;
  return 1;                   /* it is ours */
}

/* All resume the session of a first connection: not every server gives a new
   one to who resumes. */
static void resumed (const Count *args) {
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT
                                      | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, onsession);
  visit(1, 1, leave);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  if (session == NULL)
    fail("no session to be resumed has come");
  resumes = true;
  handshakes(args, "resumed");
}

/* ====} */

/* {==== Command line ==== */

static const Mode modes[] = {
  {"echo", 3, echo}, {"full", 2, full}, {"resumed", 2, resumed},
  {NULL, 0, NULL}
};

void usage (void) {
  fputs("usage: tls_load [-t SECONDS]\n"
        "         echo ADDRESS CERTIFICATE CONNECTIONS MESSAGES SIZE\n"
        "       | full ADDRESS CERTIFICATE COUNT PARALLEL\n"
        "       | resumed ADDRESS CERTIFICATE COUNT PARALLEL\n", stderr);
  exit(EXIT_FAILURE);
}

/* What has been read ahead saves a call for each record. */
static void prepare (const char *certificate) {
  X509_VERIFY_PARAM *param;
  ctx = SSL_CTX_new(TLS_client_method());
  if (ctx == NULL || !SSL_CTX_load_verify_locations(ctx, certificate, NULL)
      || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION)
      || !SSL_CTX_set_ciphersuites(ctx, SUITE)
      || !SSL_CTX_set1_groups_list(ctx, GROUP))
    fail("%s: %s", certificate, ERR_reason_error_string(ERR_peek_error()));
  param = SSL_CTX_get0_param(ctx);
  X509_VERIFY_PARAM_set1_ip_asc(param, HOST);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                        | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  signal(SIGPIPE, SIG_IGN);
}

int main (int argc, char *argv[]) {
  Count args[3];
  const Mode *mode = setup("tls_load", argc, argv, NULL, modes, 1, args);
  prepare(argv[optind + 2]);
  mode->run(args);
  return EXIT_SUCCESS;
}

/* ====} */
