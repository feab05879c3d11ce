/*
** libevent.c: plain events of libevent on descriptors that stay readable.
**   libevent DESCRIPTORS CALLBACKS
*/
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static long left;

static void onreadable (evutil_socket_t fd, short what, void *base) {
  (void)fd; (void)what;
  if (--left == 0)
    event_base_loopbreak(base);
}

int main (int argc, char *argv[]) {
  struct event_base *base = event_base_new();
  long n = argc == 3 ? atol(argv[1]) : 0;
  left = argc == 3 ? atol(argv[2]) : 0;
  for (long i = 0; i < n; i++) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0
        || write(pair[1], "x", 1) != 1)
      return EXIT_FAILURE;
    event_add(event_new(base, pair[0], EV_READ | EV_PERSIST, onreadable, base),
              NULL);
  }
  event_base_dispatch(base);
  return left == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
