/*
** bufferevent.c: an echo server on libevent's bufferevents, as tutorials have
** it: read into an array, written from there.
**   bufferevent PORT
*/
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void onread (struct bufferevent *bev, void *arg) {
  char data[4096];
  size_t n;
  (void)arg;
  while ((n = bufferevent_read(bev, data, sizeof(data))) > 0)
    bufferevent_write(bev, data, n);
}

static void onevent (struct bufferevent *bev, short what, void *arg) {
  (void)arg;
  if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
    bufferevent_free(bev);
}

static void onclient (struct evconnlistener *listener, evutil_socket_t fd,
                      struct sockaddr *peer, int peerlen, void *base) {
  int on = 1;
  struct bufferevent *bev = bufferevent_socket_new(base, fd,
                                                   BEV_OPT_CLOSE_ON_FREE);
  (void)listener; (void)peer; (void)peerlen;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  bufferevent_setcb(bev, onread, NULL, onevent, NULL);
  bufferevent_enable(bev, EV_READ | EV_WRITE);
}

int main (int argc, char *argv[]) {
  struct event_base *base = event_base_new();
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_port = htons((uint16_t)atoi(argv[argc - 1]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  signal(SIGPIPE, SIG_IGN);
  if (!evconnlistener_new_bind(base, onclient, base, LEV_OPT_REUSEABLE, 1024,
                               (struct sockaddr *)&address, sizeof(address))) {
    perror("bufferevent");
    return EXIT_FAILURE;
  }
  puts("ready");
  fflush(stdout);
  return event_base_dispatch(base);
}
