/*
** libevent.c: a number of one-shot timers in libevent, made, fired and freed.
**   libevent new|once COUNT
** 'new' makes an event for each, 'once' leaves that to libevent.
*/
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long left;

static struct timeval delay (long i, long n) {
  struct timeval tv = {0, 0};
  tv.tv_usec = i * 7919 % n * 900000 / n;
  return tv;
}

static void ononce (evutil_socket_t fd, short what, void *arg) {
  (void)fd; (void)what; (void)arg;
  left--;
}

static void onnew (evutil_socket_t fd, short what, void *arg) {
  ononce(fd, what, arg);
  event_free(*(struct event **)arg);
}

static void makeone (struct event_base *base, struct event **timer,
                     struct timeval tv) {
  *timer = evtimer_new(base, onnew, timer);
  evtimer_add(*timer, &tv);
}

int main (int argc, char *argv[]) {
  struct event_base *base = event_base_new();
  long n = left = argc == 3 ? atol(argv[2]) : 0;
  struct event **timers = calloc((size_t)n + 1, sizeof(*timers));
  for (long i = 0; i < n; i++) {
    struct timeval tv = delay(i, n);
    if (strcmp(argv[1], "once") == 0)
      event_base_once(base, -1, EV_TIMEOUT, ononce, NULL, &tv);
    else
      makeone(base, &timers[i], tv);
  }
  event_base_dispatch(base);
  event_base_free(base);
  free(timers);
  return left == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
