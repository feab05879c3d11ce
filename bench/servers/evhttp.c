/*
** evhttp.c: an HTTP server on libevent's evhttp. /hello says hello, /mebibyte
** is the file of that name in DIRECTORY, opened for each request.
**   evhttp DIRECTORY PORT
*/
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct evbuffer *reply;          /* empty between two requests */

static void onhello (struct evhttp_request *req, void *arg) {
  (void)arg;
  evbuffer_add(reply, "hello", 5);
  evhttp_send_reply(req, HTTP_OK, "OK", reply);
}

static void onfile (struct evhttp_request *req, void *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat file;
  if (fd < 0 || fstat(fd, &file) < 0
      || evbuffer_add_file(reply, fd, 0, file.st_size) < 0) {
    if (fd >= 0)
      close(fd);
    evhttp_send_error(req, HTTP_NOTFOUND, NULL);
    return;
  }
  evhttp_send_reply(req, HTTP_OK, "OK", reply);
}

/* evhttp has no word for either: its clients inherit the one, and listening
   again makes the queue longer. */
static int bindto (struct evhttp *http, uint16_t port) {
  struct evhttp_bound_socket *s = evhttp_bind_socket_with_handle(http,
                                    "127.0.0.1", port);
  int on = 1, fd = s ? evhttp_bound_socket_get_fd(s) : -1;
  return fd < 0 || listen(fd, 1024) < 0 ? -1
    : setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int main (int argc, char *argv[]) {
  struct event_base *base = event_base_new();
  struct evhttp *http = evhttp_new(base);
  char path[4096];
  snprintf(path, sizeof(path), "%s/mebibyte", argv[argc - 2]);
  signal(SIGPIPE, SIG_IGN);
  reply = evbuffer_new();
  evhttp_set_default_content_type(http, "text/plain");
  evhttp_set_cb(http, "/hello", onhello, NULL);
  evhttp_set_cb(http, "/mebibyte", onfile, path);
  if (bindto(http, (uint16_t)atoi(argv[argc - 1])) < 0) {
    perror("evhttp");
    return EXIT_FAILURE;
  }
  puts("ready");
  fflush(stdout);
  return event_base_dispatch(base);
}
