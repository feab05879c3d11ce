/*
** dns_question.c: what libevent is asked, and whom it asks.
**
** libevent keeps its name servers' sockets, and timers that look after those
** that have failed, for as long as it knows of them, and a loop with them never
** ends. So it knows of them only while there are questions: when the last one
** is answered they are taken away, and the next one brings them back, on new
** ports that nobody can have guessed.
**
** And it knows of one of them at a time. By itself it asks all in turns and
** forgets which one is silent, so that every other question has to wait for its
** timeout. Here the next one is asked when one has failed, and stays the first.
**
** Questions wait for their turn here, not in libevent, where nothing tells how
** long they have waited. C only.
*/
#include "lev_dns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds after which a Dns that always has questions takes none, until it has
   rested. libevent sends probes to servers that have failed after an hour, see
   dns.c, and freeing a server whose probe has just been answered crashes. */
#define RESTAFTER 1800

struct lev_Question {
  lev_Question **link, *next; /* of those that wait, or of the base's asked */
  lev_Dns *dns;               /* NULL: it is closed, or has given it up */
  lev_Lookup *lookup;         /* NULL: nobody waits for the answer */
  int i;                      /* which of the lookup's it is */
  struct evdns_request *handle;   /* NULL: libevent has not been asked */
  unsigned lost;              /* answers so far, when it was */
  struct timeval since;       /* when it was */
  int server;                 /* who was */
  int tries, most;            /* so far; those that libevent makes each time */
  int family;                 /* of what is asked for, or of 'address' */
  bool reverse;
  union {
    char name[LEV_NAMESIZE];
    struct in_addr v4;
    struct in6_addr v6;
  } what;
};

/* {==== Lists of questions ==== */

static void insert (lev_Question **link, lev_Question *q) {
  q->link = link;
  q->next = *link;
  if (q->next)
    q->next->link = &q->next;
  *link = q;
}

static void unlinkquestion (lev_Question *q) {
  if (q->link)
    *q->link = q->next;
  if (q->next)
    q->next->link = q->link;
  q->link = NULL;
  q->next = NULL;
}

/* One that waits, no longer. */
static void unwait (lev_Dns *dns, lev_Question *q) {
  if (dns->last == &q->next)
    dns->last = q->link;
  unlinkquestion(q);
}

/* The one that has waited longest. */
static lev_Question *takefirst (lev_Dns *dns) {
  lev_Question *q = dns->waiting;
  dns->waiting = q->next;
  if (q->next)
    q->next->link = &dns->waiting;
  else
    dns->last = &dns->waiting;
  q->link = NULL;
  q->next = NULL;
  return q;
}

/* The end of a base: libevent has called for all that it has been asked, but
   for what it had no memory to call for. A host's base goes on: there it may
   still call. */
void levL_dropquestions (lev_Base *base, bool gone) {
  lev_Question *q = base->asked, *next;
  base->asked = NULL;
  for (; q; q = next) {
    next = q->next;
    q->link = NULL;
    q->next = NULL;
    q->dns = NULL;
    q->lookup = NULL;
    if (gone)
      free(q);
  }
}

/* ====} */

/* {==== Waking and resting ==== */

static void rest (lev_Dns *dns) {
  if (dns->awake && dns->asked == 0) {
    evdns_base_clear_nameservers_and_suspend(dns->evdns);
    dns->awake = false;
  }
}

/* A single server is asked again by libevent: it takes late answers, too. */
static void settries (lev_Dns *dns) {
  char text[16];
  dns->tries = dns->nservers > 1 ? 1 : dns->attempts;
  snprintf(text, sizeof(text), "%d", dns->tries);
  evdns_base_set_option(dns->evdns, "attempts", text);
  for (lev_Question *q = dns->o.base->asked; q; q = q->next)
    if (q->dns == dns && q->most > dns->tries)
      q->most = dns->tries;
}

/* Is there anybody to ask? With an errno, if nobody can be. */
static bool wake (lev_Dns *dns) {
  if (!dns->awake)
    settries(dns);
  errno = 0;
  for (int i = 0; i < dns->nservers && !dns->awake; i++) {
    const lev_Server *s = &dns->servers[dns->server];
    if (evdns_base_nameserver_sockaddr_add(dns->evdns,
          (const struct sockaddr *)&s->ss, s->len, 0) == 0) {
      dns->awake = true;
      evutil_gettimeofday(&dns->woke, NULL);
    }
    else
      dns->server = (dns->server + 1) % dns->nservers;
  }
  return dns->awake;
}

/* Tells libevent of another one, if it knows of any: what it has been asked
   goes there now. */
bool levL_rewakedns (lev_Dns *dns) {
  if (!dns->awake)
    return true;
  evdns_base_clear_nameservers_and_suspend(dns->evdns);
  dns->awake = false;
  errno = 0;
  if (!wake(dns))
    return false;
  levL_freshen(dns->o.base);
  evdns_base_resume(dns->evdns);
  return true;
}

/* It never comes to rest by itself: then it is made to. */
static bool istired (const lev_Dns *dns) {
  struct timeval now;
  if (!dns->awake)
    return false;
  evutil_gettimeofday(&now, NULL);
  return now.tv_sec < dns->woke.tv_sec
         || now.tv_sec - dns->woke.tv_sec > RESTAFTER;
}

/* ====} */

/* {==== Questions ==== */

/* The clock of libevent's timers: no other one tells what they took. */
static void clockof (const lev_Dns *dns, struct timeval *now) {
  event_gettime_monotonic(dns->o.base->event_base, now);
}

/* libevent takes "the server has failed" for a try that has timed out: but that
   came too early. */
static int truth (const lev_Dns *dns, const lev_Question *q, int err) {
  struct timeval now, used;
  double most = (double)dns->timeout.tv_sec
                + (double)dns->timeout.tv_usec / 1e6;
  if (err != DNS_ERR_TIMEOUT)
    return err;
  clockof(dns, &now);
  evutil_timersub(&now, &q->since, &used);
  return (double)used.tv_sec + (double)used.tv_usec / 1e6
         < 0.98 * most * q->most ? DNS_ERR_SERVERFAILED : err;
}

/* Is it worth another try? A server that is silent may have lost a packet; one
   that has said that it cannot answer has said so. */
static bool istrying (const lev_Dns *dns, const lev_Question *q, int err) {
  switch (err) {
    case DNS_ERR_TIMEOUT:
      return q->tries * q->most < dns->attempts;
    case DNS_ERR_SERVERFAILED: case DNS_ERR_NOTIMPL: case DNS_ERR_REFUSED:
      return q->tries < dns->nservers;
    default:
      return false;
  }
}

/* Puts it first in the queue, for the next server: all others go there, too,
   unless they do so already. */
static void tryagain (lev_Dns *dns, lev_Question *q) {
  q->handle = NULL;
  if (dns->waiting == NULL)
    dns->last = &q->next;
  insert(&dns->waiting, q);
  if (q->server == dns->server && dns->nservers > 1) {
    dns->server = (dns->server + 1) % dns->nservers;
    levL_rewakedns(dns);
  }
}

/* libevent calls once for each question, from the loop. */
static void onanswer (int err, char type, int n, int ttl, void *data,
                      void *arg) {
  lev_Question *q = arg;
  lev_Dns *dns = q->dns;
  lev_Lookup *l = q->lookup;
  (void)type;
  unlinkquestion(q);
  if (dns == NULL) {
    free(q);
    return;
  }
  dns->asked--;
  err = truth(dns, q, err);
  if (l && istrying(dns, q, err))
    tryagain(dns, q);
  else {
    int i = q->i;
    free(q);
    if (l)
      levL_answered(l, i, err, n, ttl, data);
  }
  levL_pumpdns(dns);
}

/* Hands it to libevent: 0 or how it failed. */
static int ask (lev_Dns *dns, lev_Question *q) {
  struct evdns_base *evdns = dns->evdns;
  int flags = DNS_QUERY_NO_SEARCH;
  if (!wake(dns))
    return errno == ENOMEM ? LEV_DNSNOMEMORY : LEV_DNSNOSERVER;
  q->lost = __atomic_load_n(&levL_lost, __ATOMIC_RELAXED);
  levL_freshen(dns->o.base);  /* its time begins now, not with the turn */
  clockof(dns, &q->since);
  q->server = dns->server;
  q->most = dns->tries;
  q->tries++;
  if (q->reverse)
    q->handle = q->family == AF_INET
      ? evdns_base_resolve_reverse(evdns, &q->what.v4, flags, onanswer, q)
      : evdns_base_resolve_reverse_ipv6(evdns, &q->what.v6, flags, onanswer, q);
  else
    q->handle = q->family == AF_INET
      ? evdns_base_resolve_ipv4(evdns, q->what.name, flags, onanswer, q)
      : evdns_base_resolve_ipv6(evdns, q->what.name, flags, onanswer, q);
  return q->handle ? 0 : LEV_DNSNOMEMORY;
}

/* Asks what waits, as long as there is room; or rests. */
void levL_pumpdns (lev_Dns *dns) {
  if (dns->pumping)
    return;
  dns->pumping = true;
  if (istired(dns))
    rest(dns);
  while (dns->waiting && dns->asked < dns->most && !dns->suspended
         && !istired(dns)) {
    lev_Question *q = takefirst(dns);
    int err = ask(dns, q);
    if (err == 0) {
      insert(&dns->o.base->asked, q);
      dns->asked++;
    }
    else {
      lev_Lookup *l = q->lookup;
      int i = q->i;
      free(q);
      levL_answered(l, i, err, 0, 0, NULL);
    }
  }
  dns->pumping = false;
  rest(dns);
}

/* Asks for the addresses of a name, or the name of an address; false without
   memory. The answer comes later. */
bool levL_ask (lev_Lookup *l, int i, const char *name, const void *address,
               int family) {
  lev_Dns *dns = l->dns;
  lev_Question *q = calloc(1, sizeof(*q));
  if (q == NULL)
    return false;
  q->dns = dns;
  q->lookup = l;
  q->i = i;
  q->family = family;
  q->reverse = address != NULL;
  if (q->reverse)
    memcpy(&q->what, address, family == AF_INET ? 4 : 16);
  else
    snprintf(q->what.name, LEV_NAMESIZE, "%s", name);
  l->questions[i] = q;
  insert(dns->last, q);
  dns->last = &q->next;
  return true;
}

/* Nobody waits for it any more. Where libevent had no memory to tell of an
   answer it has freed what it knows of a question, of which one it does not
   say: none from before is touched. */
void levL_dismiss (lev_Question *q) {
  lev_Dns *dns = q->dns;
  q->lookup = NULL;
  if (q->handle == NULL) {
    unwait(dns, q);
    free(q);
  }
  else if (q->lost == __atomic_load_n(&levL_lost, __ATOMIC_RELAXED))
    evdns_cancel_request(dns->evdns, q->handle);
  else {
    q->dns = NULL;
    dns->asked--;
  }
}

/* Answers that come now are nobody's. */
void levL_forgetquestions (lev_Dns *dns) {
  for (lev_Question *q = dns->o.base->asked; q; q = q->next)
    if (q->dns == dns)
      q->dns = NULL;
}

/* ====} */

/* {==== Servers ==== */

static bool has (const lev_Dns *dns, const lev_Server *server) {
  for (int i = 0; i < dns->nservers; i++)
    if (evutil_sockaddr_cmp((struct sockaddr *)&dns->servers[i].ss,
                            (struct sockaddr *)&server->ss, 1) == 0)
      return true;
  return false;
}

/* Has it room for so many? */
static bool makeroom (lev_Dns *dns, int n) {
  lev_Server *list = realloc(dns->servers, (size_t)n * sizeof(*list));
  if (list)
    dns->servers = list;
  return list != NULL;
}

/* The servers from now on; false without memory, and they are what they were.
   What has been asked goes to the new ones. */
bool levL_setservers (lev_Dns *dns, const lev_Server *servers, int n) {
  if (!makeroom(dns, n))
    return false;
  memcpy(dns->servers, servers, (size_t)n * sizeof(*servers));
  dns->nservers = n;
  dns->server = 0;
  return levL_rewakedns(dns);
}

/* One more, unless it is one already; likewise. */
bool levL_addserver (lev_Dns *dns, const lev_Server *server) {
  if (has(dns, server))
    return true;
  if (!makeroom(dns, dns->nservers + 1))
    return false;
  dns->servers[dns->nservers++] = *server;
  settries(dns);
  return true;
}

/* Nobody is asked any more; questions wait. */
void levL_suspenddns (lev_Dns *dns) {
  if (dns->awake)
    evdns_base_clear_nameservers_and_suspend(dns->evdns);
  dns->awake = false;
  dns->nservers = dns->server = 0;
  dns->suspended = true;
}

/* Those that there are now are; false and an errno if none can be. */
bool levL_resumedns (lev_Dns *dns) {
  if (dns->asked > 0) {
    if (!wake(dns))
      return false;
    levL_freshen(dns->o.base);
    evdns_base_resume(dns->evdns);
  }
  dns->suspended = false;
  levL_pumpdns(dns);
  return true;
}

/* ====} */
