/*
** tls_bufferevent.c: an echo server on libevent's bufferevents for OpenSSL, as
** tutorials have it: read into an array, written from there, with a goodbye at
** the end. CERTIFICATE is a file, with its key in it.
**   tls_bufferevent CERTIFICATE PORT
*/
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static SSL_CTX *ctx;

static void onread (struct bufferevent *bev, void *arg) {
  char data[4096];
  size_t n;
  (void)arg;
  while ((n = bufferevent_read(bev, data, sizeof(data))) > 0)
    bufferevent_write(bev, data, n);
}

static void onevent (struct bufferevent *bev, short what, void *arg) {
  SSL *ssl = bufferevent_openssl_get_ssl(bev);
  (void)arg;
  if (what & BEV_EVENT_EOF) {
    SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN);
    SSL_shutdown(ssl);
  }
  if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
    bufferevent_free(bev);
}

static void onclient (struct evconnlistener *listener, evutil_socket_t fd,
                      struct sockaddr *peer, int peerlen, void *base) {
  int on = 1;
  struct bufferevent *bev = bufferevent_openssl_socket_new(base, fd,
    SSL_new(ctx), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
  (void)listener; (void)peer; (void)peerlen;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  bufferevent_setcb(bev, onread, NULL, onevent, NULL);
  bufferevent_enable(bev, EV_READ | EV_WRITE);
}

int main (int argc, char *argv[]) {
  struct event_base *base = event_base_new();
  struct sockaddr_in address = {.sin_family = AF_INET};
  const char *certificate = argv[argc - 2];
  address.sin_port = htons((uint16_t)atoi(argv[argc - 1]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  signal(SIGPIPE, SIG_IGN);
  ctx = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1
      || SSL_CTX_use_PrivateKey_file(ctx, certificate, SSL_FILETYPE_PEM) != 1) {
    ERR_print_errors_fp(stdout);
    return EXIT_FAILURE;
  }
  if (!evconnlistener_new_bind(base, onclient, base, LEV_OPT_REUSEABLE, 1024,
                               (struct sockaddr *)&address, sizeof(address))) {
    perror("tls_bufferevent");
    return EXIT_FAILURE;
  }
  puts("ready");
  fflush(stdout);
  return event_base_dispatch(base);
}
