/*
** client.c: the clock, the connections, the streams and the times of a client.
*/
#define _GNU_SOURCE           /* IP_BIND_ADDRESS_NO_PORT */

#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SOURCES 250           /* 127.0.0.1 to .250, each with its own ports */

int epfd;
double limit = 600;
double deadline;

static const char *name = "load";       /* the program's */
static const char *server = "";         /* its address, as text */
static struct sockaddr_storage address;
static socklen_t addresslen;
static char pattern[2 * PERIOD];        /* twice: no piece ever wraps around */
static float *trips;          /* in microseconds */
static size_t ntrips, maxtrips;

double now (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* {==== What goes wrong ==== */

void fail (const char *format, ...) {
  va_list args;
  fprintf(stderr, "%s: %s: ", name, server);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(EXIT_FAILURE);
}

void failsystem (const char *what) {
  fail("%s: %s", what, strerror(errno));
}

void *allocate (Count n, size_t each) {
  void *p = calloc((size_t)n, each);
  if (p == NULL)
    fail("no memory for %llu times %zu bytes", n, each);
  return p;
}

/* ====} */

/* {==== Arguments ==== */

static Count number (const char *text) {
  char *end;
  Count n;
  errno = 0;
  n = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno || n == 0)
    usage();
  return n;
}

static void parseunix (const char *path) {
  struct sockaddr_un *sun = (struct sockaddr_un *)&address;
  if (*path == '\0' || strlen(path) >= sizeof(sun->sun_path))
    fail("no path for a unix socket");
  sun->sun_family = AF_UNIX;
  strcpy(sun->sun_path, path);
  addresslen = sizeof(*sun);
}

static void parsetcp (const char *text) {
  struct sockaddr_in *sin = (struct sockaddr_in *)&address;
  const char *colon = strchr(text, ':');
  char host[INET_ADDRSTRLEN] = "";
  Count port = colon ? number(colon + 1) : 0;
  if (colon && (size_t)(colon - text) < sizeof(host))
    memcpy(host, text, (size_t)(colon - text));
  if (port == 0 || port > 65535 || inet_pton(AF_INET, host, &sin->sin_addr) != 1
      || ntohl(sin->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
    fail("127.0.0.1:port or unix:/path expected");
  sin->sin_family = AF_INET;
  sin->sin_port = htons((uint16_t)port);
  addresslen = sizeof(*sin);
}

static void setpattern (void) {
  uint32_t x = 2463534242u;               /* Marsaglia's xorshift */
  for (size_t i = 0; i < PERIOD; i++) {
    x ^= x << 13; x ^= x >> 17; x ^= x << 5;
    pattern[i] = pattern[i + PERIOD] = (char)(x >> 24);
  }
}

static void prepare (const char *text) {
  struct rlimit files;
  server = text;
  if (strncmp(text, "unix:", 5) == 0)
    parseunix(text + 5);
  else
    parsetcp(text);
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  epfd = epoll_create1(0);
  if (epfd < 0)
    failsystem("epoll_create1");
  setpattern();
  deadline = now() + limit;
}

const Mode *setup (const char *program, int argc, char *argv[], bool *flag,
                   const Mode *modes, int nfiles, Count *args) {
  int option, first;
  name = program;
  while ((option = getopt(argc, argv, flag ? "+t:u" : "+t:")) != -1) {
    if (option == 't')
      limit = (double)number(optarg);
    else if (option == 'u')
      *flag = true;
    else
      usage();
  }
  first = optind + 2 + nfiles;
  if (argc < first)
    usage();
  while (modes->name && strcmp(modes->name, argv[optind]) != 0)
    modes++;
  if (modes->name == NULL || argc != first + modes->nargs)
    usage();
  for (int i = 0; i < modes->nargs; i++)
    args[i] = number(argv[first + i]);
  prepare(argv[optind + 1]);
  return modes;
}

/* ====} */

/* {==== Connections ==== */

/* One source address has no more than 28,000 ports, and each of them rests
   for a minute after use: the connections take turns with 250 addresses. */
static void choosesource (int fd, Count n) {
  struct sockaddr_in source = {0};
  int on = 1;
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(n % SOURCES));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0)
    failsystem("bind");
}

/* Connecting blocks. On loopback that costs nothing while the server's queue
   has room; each time it overflows, the kernel tries again a second later. */
int openfd (Count n, void *data) {
  double left = deadline - now();
  struct timeval tv = {left > 1 ? (time_t)left : 1, 0};
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = data};
  int fd = socket(address.ss_family, SOCK_STREAM, 0);
  if (fd < 0)
    failsystem("socket");
  if (address.ss_family == AF_INET)
    choosesource(fd, n);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
  if (connect(fd, (struct sockaddr *)&address, addresslen) < 0) {
    if (errno == EINPROGRESS || errno == EAGAIN)
      errno = ETIMEDOUT;
    failsystem("connect");
  }
  if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0
      || epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e) < 0)
    failsystem("epoll_ctl");
  return fd;
}

void resetfd (int fd) {
  struct linger none = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
  close(fd);
}

/* ====} */

/* {==== Streams ==== */

const char *slice (Count n, Count offset) {
  return pattern + (n * 7919 + offset) % PERIOD;
}

void check (Count n, const char *data, size_t len, Count got, Count sent) {
  const char *expected = slice(n, got);
  size_t i = 0;
  if (len > sent - got)
    fail("connection %llu: more came back than the %llu bytes sent", n, sent);
  if (memcmp(data, expected, len) == 0)
    return;
  while (data[i] == expected[i])
    i++;
  fail("connection %llu: byte %llu came back as %02x instead of %02x", n,
       got + i, data[i] & 0xff, expected[i] & 0xff);
}

/* ====} */

/* {==== Times ==== */

void addtrip (double seconds) {
  if (ntrips == maxtrips) {
    maxtrips = maxtrips > 0 ? 2 * maxtrips : 65536;
    trips = realloc(trips, maxtrips * sizeof(*trips));
    if (trips == NULL)
      fail("no memory for %zu times", maxtrips);
  }
  trips[ntrips++] = (float)(seconds * 1e6);
}

size_t counttrips (void) {
  return ntrips;
}

static int compare (const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double percentile (double part) {
  return trips[(size_t)(part * (double)ntrips)];
}

void telltrips (void) {
  qsort(trips, ntrips, sizeof(*trips), compare);
  printf("p50 %.0f us, p99 %.0f us, p99.9 %.0f us\n", percentile(0.5),
         percentile(0.99), percentile(0.999));
}

/* ====} */
