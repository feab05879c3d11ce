/*
** keyupdates.c: a client of TLS 1.3 that changes its keys without end, asks the
** server for new ones each time, and never reads the answers.
**
**   keyupdates PATH         until the server ends the connection
**   keyupdates PATH COUNT   so often; then it says "hello", and reads after all
**
** PATH is a unix socket's: such a one takes little that nobody reads.
** It tells how often it has asked. Exit status 0 means that the connection was
** ended, or "hello" came back; else a line says what went wrong.
*/
#define _POSIX_C_SOURCE 200809L         /* SIGPIPE, alarm */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define PATIENCE 60           /* seconds, after which a signal ends it */

static void fail (const char *what) {
  printf("%s\n", what);
  ERR_print_errors_fp(stdout);
  exit(1);
}

static int dial (const char *path) {
  struct sockaddr_un sun = {0};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sun.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof(sun.sun_path))
    fail("no path");
  strcpy(sun.sun_path, path);
  if (fd == -1 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0)
    fail("no connection");
  return fd;
}

static SSL *shake (int fd) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  SSL *ssl = ctx ? SSL_new(ctx) : NULL;
  if (ssl == NULL || !SSL_set_min_proto_version(ssl, TLS1_3_VERSION)
      || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1)
    fail("no handshake");
  SSL_CTX_free(ctx);
  return ssl;
}

static int update (SSL *ssl) {
  return SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED)
         && SSL_do_handshake(ssl) == 1;
}

static void converse (SSL *ssl) {
  char text[8];
  if (SSL_write(ssl, "hello", 5) != 5)
    fail("nothing can be said");
  if (SSL_read(ssl, text, sizeof(text)) != 5 || memcmp(text, "hello", 5) != 0)
    fail("no answer");
  SSL_shutdown(ssl);
}

int main (int argc, char **argv) {
  long most = argc > 2 ? atol(argv[2]) : -1, n = 0;
  SSL *ssl;
  if (argc < 2)
    fail("usage: keyupdates PATH [COUNT]");
  signal(SIGPIPE, SIG_IGN);
  alarm(PATIENCE);
  ssl = shake(dial(argv[1]));
  while (n != most && update(ssl))
    n++;
  if (most >= 0)
    converse(ssl);
  printf("asked %ld times\n", n);
  SSL_free(ssl);
  return 0;
}
