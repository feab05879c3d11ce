/*
** client.h: what load.c, http_load.c and tls_load.c have in common. One thread,
** one epoll set, loopback and unix sockets only. Where something goes wrong a
** line says what, and that is the end.
*/
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#define TICK 10               /* milliseconds between looks at the clock */
#define MAXEVENTS 512

typedef unsigned long long Count;

extern int epfd;
extern double limit;          /* -t, in seconds */
extern double deadline;

void usage (void);            /* each program has its own */

double now (void);

void fail (const char *format, ...)
  __attribute__((format(printf, 1, 2), noreturn));
void failsystem (const char *what) __attribute__((noreturn));

void *allocate (Count n, size_t each);

/* What a program can do. */
typedef struct Mode {
  const char *name;           /* NULL behind the last one */
  int nargs;                  /* numbers that it takes */
  void (*run) (const Count *args);
} Mode;

/* Reads the command line of 'program': options, where -u goes to 'flag' unless
   that is NULL; from argv[optind] on the mode, which is returned, an address,
   127.0.0.1:port or unix:/path, 'nfiles' files, and the numbers, to 'args'. */
const Mode *setup (const char *program, int argc, char *argv[], bool *flag,
                   const Mode *modes, int nfiles, Count *args);

/* A connection, the 'n'th one from 0, that does not block any more and that
   epoll watches for input with 'data'. */
int openfd (Count n, void *data);

/* Without a goodbye: the server gets a reset instead of an end. */
void resetfd (int fd);

/* Streams for echoes are pieces of one random sequence. Its period is a prime:
   a piece lost or doubled shifts the rest, whatever its round size. */
#define PERIOD 65521

/* PERIOD bytes of the 'n'th connection's stream, from 'offset' on. */
const char *slice (Count n, Count offset);

/* What has come on it when 'got' bytes of 'sent' were back: it has to be what
   comes next. */
void check (Count n, const char *data, size_t len, Count got, Count sent);

/* Times of answers: one more, in seconds; how many; three percentiles of them,
   and the end of the line. */
void addtrip (double seconds);
size_t counttrips (void);
void telltrips (void);

#endif
