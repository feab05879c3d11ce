/*
** lev_dns.h: what the files of DNS share.
**
** A Dns is libevent's evdns_base and the name servers that it asks. A lookup
** is what somebody wants to know of one name: it asks questions of the Dns,
** one for each family of addresses, and again for each domain that the name
** may be in. A question is libevent's: it ends when libevent says so, even if
** nobody waits for its answer any more.
*/
#ifndef lev_dns_h
#define lev_dns_h

#include "lev.h"

#include <netinet/in.h>
#include <sys/stat.h>
#include <event2/dns.h>

/* A name as text, with its end: 253 characters are the most of one. */
#define LEV_NAMESIZE 256

/* Addresses of one family that libevent takes from an answer. */
#define LEV_MAXADDRESSES 32

/* How a lookup can end, beside libevent's DNS_ERR_... */
enum { LEV_DNSINVALID = 1000,     /* not a name */
       LEV_DNSNOSERVER,           /* there is nobody to ask */
       LEV_DNSNOMEMORY };

/* The families of addresses, as flags; without one it is a reverse lookup. */
enum { LEV_IPV4 = 1, LEV_IPV6 = 2 };

/* The user values of a Dns, after LEV_UVBASE. */
enum { LEV_UVHOSTS = 2,       /* lower name -> list of packed addresses */
       LEV_UVHOSTSPATH,       /* the file they are from, or nil */
       LEV_UVCONFPATH,        /* resolv.conf, or nil */
       LEV_NUVDNS = LEV_UVCONFPATH };

/* What a script has said itself. */
enum { LEV_GIVENSERVERS = 1, LEV_GIVENSEARCH = 2, LEV_GIVENNDOTS = 4,
       LEV_GIVENTIMEOUT = 8, LEV_GIVENATTEMPTS = 16 };

#pragma GCC visibility push(hidden)

typedef struct lev_Dns lev_Dns;
typedef struct lev_Question lev_Question;
typedef struct lev_Lookup lev_Lookup;

/* A file as it was when it was read. */
typedef struct lev_Stamp {
  struct timespec changed;
  off_t size;
  ino_t ino;
} lev_Stamp;

typedef struct lev_Server {
  struct sockaddr_storage ss;
  socklen_t len;
} lev_Server;

struct lev_Dns {
  lev_Object o;
  struct evdns_base *evdns;
  lev_Server *servers;        /* who can be asked... */
  int nservers, server;       /* ...and which of them is */
  bool awake;                 /* libevent knows of it: it waits */
  bool suspended;             /* nobody is, until resume */
  int asked, most;            /* questions that libevent has; so many at once */
  lev_Question *waiting, **last;  /* those that it has not yet */
  lev_Lookup *lookups;
  struct timeval woke;        /* when it was last put to rest and woken */
  struct timeval timeout;     /* of one try... */
  int attempts;               /* ...of so many... */
  int tries;                  /* ...of which libevent makes so many itself */
  struct timeval skew;        /* one family waits for the other so long */
  struct timeval deadline;    /* of a whole lookup that has none itself */
  char (*search)[LEV_NAMESIZE];   /* the domains that names may be in */
  int nsearch, ndots;
  lev_Stamp hosts, conf;      /* of its two files */
  unsigned given;             /* what resolv.conf has no say in */
  bool pumping;
};

/* It is set to zero, its two functions are set, and it is begun. */
struct lev_Lookup {
  lev_Dns *dns;               /* NULL: not begun, or nothing is asked */
  lev_Lookup **link, *next;   /* in the list of the Dns */
  void (*progress) (lev_Lookup *l);   /* one family is there, or NULL: then it
                                         waits for the other one */
  void (*done) (lev_Lookup *l);       /* it is over, in the loop */
  lev_Question *questions[2]; /* unanswered: IPv4 or reverse, IPv6 */
  int errs[2];                /* how they ended */
  bool over;
  int err;                    /* how all ended: 0, DNS_ERR_... or LEV_DNS... */
  bool begun, known;          /* known: there is nothing to ask */
  bool search;                /* it may be in one of the domains... */
  bool dotted;                /* ...but is tried as it is first */
  bool nodata;                /* there was such a name, without an address */
  int step;                   /* names tried so far */
  int families;
  struct event skew;
  struct event end;           /* the deadline, and the way to 'done' */
  int ttl;                    /* seconds, or -1: it is from no server */
  int n4, n6;
  struct in_addr v4[LEV_MAXADDRESSES];
  struct in6_addr v6[LEV_MAXADDRESSES];
  uint32_t scope;             /* of a numeric address */
  char name[LEV_NAMESIZE];    /* what is looked up... */
  char answer[LEV_NAMESIZE];  /* ...and its name, in reverse */
};

/* {==== dns_packet.c ==== */

#define LEV_HEADERSIZE 12
#define LEV_REPLYSIZE 1232    /* the most bytes that are sent */

/* Text of a name of 255 bytes, each of which may take four. */
#define LEV_TEXTSIZE 1024

typedef struct lev_Record {
  int section;
  unsigned type, class, ttl;
  const char *name;           /* NULL: the question's */
  const void *data;
  int len;                    /* -1: data is a name, NULL the question's */
} lev_Record;

/* Records, one after the other, each behind its length in two bytes. */
typedef struct lev_Section {
  unsigned char *bytes;
  size_t len;
} lev_Section;

/* A request, and the answer to it so far. */
typedef struct lev_Reply {
  unsigned id, flags;         /* of the answer */
  unsigned type, class;
  bool edns;
  size_t most;                /* bytes that the client takes */
  lev_Section sections[3];
  size_t alias;               /* where the target of a CNAME stands, or 0... */
  char target[LEV_NAMESIZE];  /* ...and which it is */
  size_t questionlen;
  unsigned char question[LEV_NAMESIZE + 4];   /* as it came */
  char name[LEV_TEXTSIZE];    /* the name in it; the last field */
} lev_Reply;

int levL_readrequest (lev_Reply *q, const unsigned char *p, size_t len);
int levL_addrecord (lev_Reply *q, const lev_Record *r);
size_t levL_writereply (const lev_Reply *q, unsigned err,
                        unsigned char packet[LEV_REPLYSIZE]);
void levL_freereply (lev_Reply *q);

/* ====} */

/* {==== dns.c ==== */

lev_Dns *levL_checkdns (lua_State *L, int arg);
lev_Dns *levL_optiondns (lua_State *L, int idx, int arg, const lev_Base *base);
void levL_pushbasedns (lua_State *L, int base);
void levL_adddomain (lua_State *L, lev_Dns *dns, const char *domain);
void levL_cleardomains (lev_Dns *dns);
socklen_t levL_toserver (const char *s, lev_Server *server);
bool levL_setdnsoption (lev_Dns *dns, const char *name, lua_Number value);

/* ====} */

/* {==== dns_question.c ==== */

void levL_dropquestions (lev_Base *base, bool gone);
bool levL_ask (lev_Lookup *l, int i, const char *name, const void *address,
               int family);
void levL_dismiss (lev_Question *q);
void levL_pumpdns (lev_Dns *dns);
void levL_forgetquestions (lev_Dns *dns);
bool levL_setservers (lev_Dns *dns, const lev_Server *servers, int n);
bool levL_addserver (lev_Dns *dns, const lev_Server *server);
bool levL_rewakedns (lev_Dns *dns);
void levL_suspenddns (lev_Dns *dns);
bool levL_resumedns (lev_Dns *dns);

/* ====} */

/* {==== dns_files.c ==== */

int levL_loadhosts (lua_State *L, int dns, const char *path);
int levL_loadconf (lua_State *L, int dns, const char *path);
void levL_refreshdns (lua_State *L, int dns);
void levL_addip (lev_Lookup *l, const void *bytes, size_t len);
bool levL_findhosts (lua_State *L, int dns, lev_Lookup *l);

/* ====} */

/* {==== dns_lookup.c ==== */

bool levL_toname (const char *s, size_t len, char name[LEV_NAMESIZE]);
const char *levL_dnsmessage (int err);
void levL_preparelookup (lua_State *L, int dns, lev_Lookup *l,
                         const char *host, size_t len);
bool levL_beginlookup (lev_Dns *dns, lev_Lookup *l,
                       const struct timeval *deadline);
void levL_answered (lev_Lookup *l, int i, int err, int n, int ttl,
                    const void *data);
void levL_endlookup (lev_Lookup *l, int err);
void levL_freelookup (lev_Lookup *l);
socklen_t levL_lookedup (const lev_Lookup *l, int family, int i, int port,
                         struct sockaddr_storage *ss);
int levL_optfamilies (lua_State *L, int arg);
void levL_opendnslookup (lua_State *L);

/* ====} */

#pragma GCC visibility pop

#endif
