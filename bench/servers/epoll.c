/*
** epoll.c: an echo server on nothing but the system's calls.
**   epoll PORT
** What the kernel does not take at once is kept until it does, and meanwhile
** nothing more is read from that client.
*/
#define _GNU_SOURCE           /* accept4 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct Conn {
  int fd;
  char *rest;                 /* not sent yet, or NULL */
  size_t from, to;            /* the part of it that is left */
} Conn;

static int epfd;

static void watch (Conn *c, int how, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(epfd, how, c->fd, &e);
}

static void closeconn (Conn *c) {
  close(c->fd);
  free(c->rest);
  free(c);
}

static ssize_t transmit (const Conn *c, const char *data, size_t n) {
  ssize_t sent = send(c->fd, data, n, MSG_NOSIGNAL);
  return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void keep (Conn *c, const char *data, size_t n) {
  c->rest = malloc(n);
  if (c->rest == NULL)
    abort();
  memcpy(c->rest, data, n);
  c->from = 0;
  c->to = n;
  watch(c, EPOLL_CTL_MOD, EPOLLOUT);
}

static void onreadable (Conn *c) {
  static char data[65536];
  ssize_t sent, n = recv(c->fd, data, sizeof(data), 0);
  if (n < 0 && errno == EAGAIN)
    return;
  if (n <= 0 || (sent = transmit(c, data, (size_t)n)) < 0)
    closeconn(c);
  else if (sent < n)
    keep(c, data + sent, (size_t)(n - sent));
}

static void onwritable (Conn *c) {
  ssize_t sent = transmit(c, c->rest + c->from, c->to - c->from);
  if (sent < 0) {
    closeconn(c);
    return;
  }
  c->from += (size_t)sent;
  if (c->from < c->to)
    return;
  free(c->rest);
  c->rest = NULL;
  watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void onclient (const Conn *listener) {
  int on = 1, fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
  Conn *c = fd < 0 ? NULL : calloc(1, sizeof(*c));
  if (c == NULL)
    return;
  c->fd = fd;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static int listenon (int port) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  address.sin_port = htons((uint16_t)port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0
      || listen(fd, 1024) < 0) {
    perror("epoll");
    exit(EXIT_FAILURE);
  }
  puts("ready");
  fflush(stdout);
  return fd;
}

int main (int argc, char *argv[]) {
  struct epoll_event events[512];
  Conn listener = {.fd = listenon(atoi(argv[argc - 1]))};
  epfd = epoll_create1(0);
  watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
  for (;;) {
    int n = epoll_wait(epfd, events, 512, -1);
    for (int i = 0; i < n; i++) {
      Conn *c = events[i].data.ptr;
      if (c == &listener)
        onclient(c);
      else if (c->rest == NULL)
        onreadable(c);
      else
        onwritable(c);
    }
  }
}
