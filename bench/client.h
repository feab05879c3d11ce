/*
** client.h: what load.c and http_load.c have in common. One thread, one epoll
** set, loopback and unix sockets only. Where something goes wrong a line says
** what, and that is the end.
*/
#ifndef CLIENT_H
#define CLIENT_H

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

Count number (const char *text);

/* For 'program', and the address in 'text', 127.0.0.1:port or unix:/path. */
void setup (const char *program, const char *text);

/* A connection, the 'n'th one from 0, that does not block any more and that
   epoll watches for input with 'data'. */
int openfd (Count n, void *data);

/* Without a goodbye: the server gets a reset instead of an end. */
void resetfd (int fd);

/* Times of answers: one more, in seconds; how many; three percentiles of them,
   and the end of the line. */
void addtrip (double seconds);
size_t counttrips (void);
void telltrips (void);

#endif
