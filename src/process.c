/*
** process.c: what a process has only once, whatever the number of Lua
** states and threads in it: the disposition of SIGPIPE, the standard streams,
** the count of forks, the one base that libevent's signal handling serves, the
** generator of random bytes, the list of methods, which libevent makes anew,
** and frees, at each call, and this library's own code, which libevent and the
** C library point into.
*/
#include "lev.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/* Forks between the first process and us. A base whose count differs was made
   before one of them: its back end is still the parent's. Each call of a
   method looks at it: no function, which would cost more than the look. */
unsigned levL_forks = 0;

/* A number that nobody can guess. */
unsigned levL_secret = 0;

static const struct event_base *owner;  /* of the signals, or NULL */
static unsigned nsignals;          /* its added signal events */

static void onfork (void) {
  levL_forks++;
}

static void onsigpipe (int sig) {
  (void)sig;
}

/* libevent writes with writev and sendfile, which cannot ask for EPIPE
   instead of the signal. A handler that does nothing, not SIG_IGN: a program
   started by exec would inherit SIG_IGN. */
static void quietsigpipe (void) {
  struct sigaction old, new = {0};
  new.sa_handler = onsigpipe;
  new.sa_flags = SA_RESTART;
  sigemptyset(&new.sa_mask);
  if (sigaction(SIGPIPE, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO)
      && old.sa_handler == SIG_DFL)
    sigaction(SIGPIPE, &new, NULL);
}

/* Lua unloads its C libraries in lua_close, but the process goes on and may
   still call the two handlers above. */
static void stayloaded (void) {
#ifdef RTLD_NODELETE
  Dl_info info;
  if (dladdr((void *)&once, &info) && info.dli_fname)
    dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
#endif
}

#define MAXMETHODS 32         /* so that a set of them fits in an unsigned */

static const char *methods[MAXMETHODS + 1];

static void copymethods (void) {
  const char **m = event_get_supported_methods();
  for (int i = 0; m && m[i] && i < MAXMETHODS; i++)
    methods[i] = m[i];
}

/* The names of libevent's methods, the best first, up to a NULL. */
const char *const *levL_methods (void) {
  return methods;
}

/* A process that was started with a standard stream closed would get one of
   libevent's own descriptors under its number: what the script prints would
   go into the pipe of the signals. The numbers are taken, by something that
   cannot be used in that direction: reading and writing fail as before. */
static void takestandard (void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
      open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

static void setup (void) {
  copymethods();
  takestandard();
  stayloaded();
  quietsigpipe();
  pthread_atfork(NULL, NULL, onfork);
  levL_random(&levL_secret, sizeof(levL_secret));
}

void levL_openprocess (void) {
  pthread_once(&once, setup);
}

/* libevent tells only one base of signals and lets a second one take them
   away in silence. True if this one has them, each time to be dropped again,
   or all at once. */
bool levL_takesignals (const struct event_base *event_base) {
  bool mine;
  pthread_mutex_lock(&mutex);
  mine = (owner == NULL || owner == event_base);
  if (mine) {
    owner = event_base;
    nsignals++;
  }
  pthread_mutex_unlock(&mutex);
  return mine;
}

void levL_dropsignals (const struct event_base *event_base, unsigned n) {
  pthread_mutex_lock(&mutex);
  if (owner == event_base)
    nsignals = n < nsignals ? nsignals - n : 0;
  if (nsignals == 0)
    owner = NULL;
  pthread_mutex_unlock(&mutex);
}

/* 'n' bytes that nobody can guess; false without a source for them. Where
   libevent's own generator serves, it has no lock without evthread, and two
   threads could be given the same bytes. */
bool levL_random (void *bytes, size_t n) {
  static bool ready;
  bool ok;
  pthread_mutex_lock(&mutex);
  ready = ready || evutil_secure_rng_init() == 0;
  ok = ready;
  if (ok)
    evutil_secure_rng_get_bytes(bytes, n);
  pthread_mutex_unlock(&mutex);
  return ok;
}
