/*
** events.c: an echo server on libevent's plain events.
**   events PORT
** Reading goes on while nothing waits to be written.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct Conn {
  struct event *reads, *writes;
  char *rest;                 /* not sent yet, or NULL */
  size_t from, to;            /* the part of it that is left */
} Conn;

static void closeconn (Conn *c, evutil_socket_t fd) {
  event_free(c->reads);
  event_free(c->writes);
  close(fd);
  free(c->rest);
  free(c);
}

static ssize_t transmit (evutil_socket_t fd, const char *data, size_t n) {
  ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
  return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void keep (Conn *c, const char *data, size_t n) {
  c->rest = malloc(n);
  if (c->rest == NULL)
    abort();
  memcpy(c->rest, data, n);
  c->from = 0;
  c->to = n;
  event_del(c->reads);
  event_add(c->writes, NULL);
}

static void onreadable (evutil_socket_t fd, short what, void *arg) {
  static char data[65536];
  ssize_t sent, n = recv(fd, data, sizeof(data), 0);
  (void)what;
  if (n < 0 && errno == EAGAIN)
    return;
  if (n <= 0 || (sent = transmit(fd, data, (size_t)n)) < 0)
    closeconn(arg, fd);
  else if (sent < n)
    keep(arg, data + sent, (size_t)(n - sent));
}

static void onwritable (evutil_socket_t fd, short what, void *arg) {
  Conn *c = arg;
  ssize_t sent = transmit(fd, c->rest + c->from, c->to - c->from);
  (void)what;
  if (sent < 0) {
    closeconn(c, fd);
    return;
  }
  c->from += (size_t)sent;
  if (c->from < c->to)
    return;
  free(c->rest);
  c->rest = NULL;
  event_del(c->writes);
  event_add(c->reads, NULL);
}

static void onclient (struct evconnlistener *listener, evutil_socket_t fd,
                      struct sockaddr *peer, int peerlen, void *base) {
  int on = 1;
  Conn *c = calloc(1, sizeof(*c));
  (void)listener; (void)peer; (void)peerlen;
  if (c == NULL)
    abort();
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  c->reads = event_new(base, fd, EV_READ | EV_PERSIST, onreadable, c);
  c->writes = event_new(base, fd, EV_WRITE | EV_PERSIST, onwritable, c);
  event_add(c->reads, NULL);
}

int main (int argc, char *argv[]) {
  struct event_base *base = event_base_new();
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_port = htons((uint16_t)atoi(argv[argc - 1]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!evconnlistener_new_bind(base, onclient, base, LEV_OPT_REUSEABLE, 1024,
                               (struct sockaddr *)&address, sizeof(address))) {
    perror("events");
    return EXIT_FAILURE;
  }
  puts("ready");
  fflush(stdout);
  return event_base_dispatch(base);
}
