/*
** lev_http.h: what the files of HTTP share.
**
** A stream is a bufferevent's connection as HTTP sees it, of a server's or of a
** client's. It reads one message after the other, each for a request: that
** is the one of Lua's objects that a handler gets. The stream belongs to the
** bufferevent, and ends with it; a request is told so.
*/
#ifndef lev_http_h
#define lev_http_h

#include "lev_bufferevent.h"

#include <string.h>
#include <netinet/in.h>

/* What to parse. */
enum { LEV_HTTPASKED, LEV_HTTPRESPONSE, LEV_HTTPTRAILERS };

/* What comes of it; else it is the status of an error. */
enum { LEV_HTTPMORE, LEV_HTTPDONE, LEV_HTTPDATA };

#pragma GCC visibility push(hidden)

/* {==== http_parse.c: C only ==== */

typedef struct lev_Span { uint32_t at, len; } lev_Span;

/* Bytes of the first line and of all fields, and how many of those. */
typedef struct lev_HeadLimits { size_t line, fields; unsigned count; }
  lev_HeadLimits;

typedef struct lev_Head {
  size_t seen;                /* bytes looked at */
  size_t line;                /* where the line begins that comes next */
  size_t fields;              /* where the fields begin, or 0 */
  size_t len;                 /* of all of it, with the empty line */
  unsigned count;             /* fields */
  bool response, trailers;    /* it is one, not a request's head */
  lev_Span method, target;    /* of a request... */
  lev_Span path, query;       /* ...parts of its target... */
  lev_Span host;              /* ...and the host, without a port */
  lev_Span reason;            /* of a response */
  int status;
  int minor;                  /* of HTTP/1 */
  unsigned hosts;             /* fields of that name */
  int64_t length;             /* of the body, or -1 */
  bool absolute;              /* the target has the host */
  bool chunked, expect;
  bool close, keepalive;      /* words of "Connection" */
  const char *why;            /* of an error */
} lev_Head;

typedef struct lev_Field {
  const char *name, *value;
  size_t nname, nvalue;
} lev_Field;

typedef struct lev_Chunks {
  int state;
  uint64_t left;              /* bytes of this chunk */
  unsigned digits, extensions;
} lev_Chunks;

void levL_initparser (void);
bool levL_istoken (const char *s, size_t n);
bool levL_isvalue (const char *s, size_t n);
bool levL_istarget (const char *s, size_t n);
char levL_lower (char c);
bool levL_same (const char *a, const char *b, size_t n);
bool levL_isword (const char *s, size_t n, const char *word);
int levL_unescape (const char *s, size_t n);
void levL_inithead (lev_Head *h, int what);
int levL_parsehead (lev_Head *h, const char *s, size_t n,
                    const lev_HeadLimits *limits);
bool levL_persists (const lev_Head *h);
bool levL_nextfield (const char **p, lev_Field *f);
bool levL_findfield (const char **p, const char *name, size_t n, lev_Field *f);
int levL_parsechunk (lev_Chunks *c, const char *s, size_t n, size_t *used,
                     size_t *data);
long levL_decodepath (const char *s, size_t n, char *path);
const char *levL_reason (int code);

/* ====} */

/* {==== http_text.c: what goes out ==== */

/* Text that grows; it is whole unless 'failed'. */
typedef struct lev_Text {
  char *p;
  size_t n, size;
  bool failed;                /* without memory for more */
  bool borrowed;              /* 'p' is the caller's */
} lev_Text;

void levL_begintext (lev_Text *t, char *room, size_t size);
void levL_growtext (lev_Text *t, const char *s, size_t n);

/* Most of it fits: nothing is called for that. */
static inline void levL_addtext (lev_Text *t, const char *s, size_t n) {
  if (t->p && n <= t->size - t->n && n > 0) {
    memcpy(t->p + t->n, s, n);
    t->n += n;
  }
  else if (n > 0)
    levL_growtext(t, s, n);
}

static inline void levL_addword (lev_Text *t, const char *s) {
  levL_addtext(t, s, strlen(s));
}

void levL_addnumber (lev_Text *t, uint64_t value);
void levL_freetext (lev_Text *t);
void levL_addfield (lua_State *L, int arg, lev_Text *t);
void levL_addfields (lua_State *L, int arg, lev_Text *t);

/* What the fields of a script say. */
typedef struct lev_Said {
  bool date, type, length, close, host;
  uint64_t bytes;             /* if they give a length */
} lev_Said;

lev_Said levL_look (const lev_Text *fields);
bool levL_eachfield (const lev_Text *t, const char **p, lev_Field *f);
bool levL_removefields (lev_Text *t, const char *name, size_t n);

/* ====} */

/* {==== Streams and requests ==== */

typedef struct lev_Stream lev_Stream;
typedef struct lev_Request lev_Request;

/* A server's side or a client's. What has an L is called with the owner of the
   stream at 1; all of them may end the stream. */
typedef struct lev_Role {
  int what;                   /* that it reads */
  void (*head) (lua_State *L, lev_Stream *s);     /* of a message is there */
  void (*done) (lua_State *L, lev_Stream *s);     /* all of it is there */
  void (*cut) (lua_State *L, lev_Stream *s);      /* it ends before that */
  void (*wrong) (lua_State *L, lev_Stream *s, int status, const char *why);
  bool (*event) (lua_State *L, lev_Stream *s, const lev_Happening *h);
                              /* something else has happened, mostly its end:
                                 false */
  void (*paced) (lev_Stream *s);    /* what has come is read */
  void (*wanted) (lev_Stream *s);   /* the script wants the body */
  void (*failed) (lev_Stream *s);   /* a callback has raised, or the request is
                                       garbage */
  void (*closed) (lev_Stream *s);   /* the script has closed its request */
  void (*leave) (lev_Stream *s);    /* the bufferevent is somebody else's, or
                                       freed: the stream ends */
  bool (*awaited) (const lev_Stream *s);    /* may it call back? */
} lev_Role;

/* What it reads. */
enum { LEV_INHEAD, LEV_INBODY, LEV_INCHUNKS, LEV_INTRAILERS,
       LEV_INREST,            /* a body that ends with the connection */
       LEV_INNOTHING };       /* until the answer is complete */

/* Who is at the other end; of a path only that it is one. */
typedef union lev_Peer {
  struct sockaddr sa;
  struct sockaddr_in sin;
  struct sockaddr_in6 sin6;
} lev_Peer;

struct lev_Stream {
  lev_Native native;
  const lev_Role *role;
  lev_Bufferevent *b;
  lev_Object *owner;          /* an Http or an HttpConnection */
  lev_Request *req;           /* whose message it reads or answers, or NULL */
  const lev_HeadLimits *limits;
  int in;
  lev_Head head;              /* or trailers, while they come */
  lev_Chunks chunks;
  uint64_t left;              /* of a body whose length is known */
  uint64_t most;              /* bytes of it that are taken */
  uint64_t surplus;           /* bytes read for nobody */
  bool running;               /* it reads, further down the C stack */
  bool blocked;               /* it takes no more requests: a full output */
  bool closing;               /* nor does it when all is sent: it ends */
  bool eof;                   /* nothing more comes */
  bool last;                  /* no other message after this one */
  bool told;                  /* its request has been told of the end */
  lev_Peer peer;
  int phase;                  /* of the owner's deadlines */
  uint64_t deadline;          /* on the clock of the owner, or 0 */
  lev_Stream *prev, *next;    /* ring of the owner's */
};

/* How far the answer is, or what a client sends. */
enum { LEV_OUTNOTHING, LEV_OUTSTARTED, LEV_OUTDONE };

/* The user value of a request: a table of these, or nil. */
enum { LEV_CHUNKEDCB = 1, LEV_CLOSECB, LEV_COMPLETECB, LEV_BODY, LEV_DONECB,
       LEV_HEADERCB, LEV_STREAMCB, LEV_OUTBODY, LEV_URI };

struct lev_Request {
  lev_Object o;               /* not in the ring of its base */
  lev_Stream *stream;         /* NULL: it has none yet, or no longer */
  lev_Peer peer;              /* of the stream that it had */
  lev_Head head;
  const char *text;           /* of the head that came, with a NUL, or NULL */
  char *answer;               /* the same, of a client's, in its own memory */
  char method[24];            /* of a client's, or "" */
  char *trailers;             /* likewise, or NULL */
  struct evbuffer *body;      /* collected, or NULL */
  lev_Text fields;            /* that go out with it */
  struct evbuffer *part;      /* of a file, to be sent, or NULL */
  int out;
  int status;                 /* that goes out */
  uint64_t outleft;           /* bytes of a body whose length was given... */
  bool counted;               /* ...if it was... */
  bool outchunked;            /* ...or it goes out in chunks */
  bool nobody;                /* no body goes with the answer */
  bool streams;               /* the body goes to the script as it comes */
  bool chunked, closes;       /* it has such callbacks */
  bool complete;              /* and wants to know when all is sent */
  bool paused;
  bool held;                  /* its connection keeps it */
  bool continues;             /* the peer waits for "100 Continue" */
  bool gone;                  /* the peer is, or the script has closed it */
  bool idempotent;            /* a client's can be sent twice */
  bool isfinal;               /* it is the last one of its connection */
};

/* ====} */

/* {==== http_stream.c ==== */

void levL_initstream (lev_Stream *s, const lev_Role *role, lev_Bufferevent *b,
                      lev_Object *owner);
void levL_notepeer (lev_Stream *s);
uint64_t levL_milliseconds (void);
uint64_t levL_span (const struct timeval *tv);
bool levL_streams (const lev_Bufferevent *b, const lev_Stream *s);
void levL_takehead (lua_State *L, lev_Stream *s, char *text);
void levL_nextmessage (lev_Stream *s);
void levL_expectbody (lev_Stream *s, const lev_Head *h);
void levL_pace (lev_Stream *s);
void levL_again (lev_Stream *s);
bool levL_send (lua_State *L, lev_Stream *s, const char *head, size_t n,
                int body, struct evbuffer *part, const char *tail);
bool levL_hasoutput (const lev_Stream *s);
void levL_tellsent (lua_State *L, lev_Stream *s, int req, int cb);
void levL_endstream (lev_Stream *s, bool lingers);

/* ====} */

/* {==== http_request.c ==== */

lev_Request *levL_newrequest (lua_State *L, size_t n);
void levL_guardrequest (lua_State *L, int req);
lev_Request *levL_checkrequest (lua_State *L, int arg);
lev_Request *levL_checkasked (lua_State *L);
void levL_remember (lua_State *L, int req);
bool levL_pushrequest (lua_State *L, const lev_Request *r);
bool levL_pushrequestcb (lua_State *L, const lev_Request *r, int key);
bool levL_iswanted (const lev_Request *r);
void levL_setrequestcb (lua_State *L, int req, int key, int cb);
int levL_getrequestcb (lua_State *L, int req, int key);
void levL_releaserequest (lev_Request *r);
void levL_droppart (lev_Request *r);
void levL_pushlower (lua_State *L, const char *s, size_t n);
bool levL_pushpath (lua_State *L, const char *text, const lev_Head *h);
void levL_keeprequest (lua_State *L, int req);
int levL_gone (lua_State *L);
void levL_openrequest (lua_State *L);

/* ====} */

/* {==== http.c: the server ==== */

/* How long it waits, at the most. */
enum { LEV_HEADTIME, LEV_BODYTIME, LEV_IDLETIME, LEV_WRITETIME, LEV_NTIMES };

/* user values of an Http, after LEV_UVBASE */
enum { LEV_UVHANDLERS = 2,    /* path -> callback */
       LEV_UVROUTES,          /* path -> what else is said of it, or nil */
       LEV_UVGENCB,
       LEV_UVLISTENERS,       /* list */
       LEV_UVHOSTED,          /* list of pairs: pattern, Http; or nil */
       LEV_UVALIASES,         /* name -> true, or nil */
       LEV_UVCONTENTTYPE,     /* string or nil */
       LEV_UVSTOPCB,
       LEV_UVTLS,             /* Context or nil: of all its sockets */
       LEV_NUVHTTP = LEV_UVTLS };

typedef struct lev_Http {
  lev_Object o;
  lev_HeadLimits limits;
  uint64_t most;              /* bytes of a body */
  unsigned methods;           /* allowed, as flags */
  struct timeval times[LEV_NTIMES];     /* zero: none */
  lev_Stream streams;         /* head of the ring of its connections */
  lev_Stream *cursor;         /* the next one that the clock comes to */
  int nstreams, maxstreams;   /* so many now, at the most, or 0 */
  bool full;                  /* its listeners wait for one to end */
  bool stopping;
  bool waits;                 /* to tell that all of them are gone */
  bool hosted;                /* it has virtual hosts */
  struct event tick;          /* of its clock */
  uint64_t clock;             /* milliseconds, while it has connections */
  uint64_t ticked;            /* on the system's clock */
  unsigned period;            /* between ticks */
  const char *type;           /* the default content type, or NULL */
  size_t ntype;
  time_t dated;               /* the time of the date below */
  size_t ndate;
  char date[48];              /* "Date: ...", with the end of the line */
} lev_Http;

static inline lev_Http *levL_serverof (const lev_Stream *s) {
  return (lev_Http *)s->owner;
}

lev_Http *levL_checkhttp (lua_State *L, int arg);
void levL_openhttp (lua_State *L);

/* ====} */

/* {==== http_route.c ==== */

typedef struct lev_Route {
  bool found, streams;
  uint64_t most;              /* bytes of its body */
} lev_Route;

lev_Route levL_findroute (lua_State *L, const char *text, const lev_Head *h);
void levL_openroute (lua_State *L);

/* ====} */

/* {==== http_server.c ==== */

extern const lev_Word levL_methodwords[];

void levL_wind (lev_Http *http);
void levL_pushmethod (lua_State *L, int idx, const char *name);
void levL_eachlistener (lua_State *L, int http, const char *method);
int levL_accepted (lua_State *L);
void levL_ontick (evutil_socket_t fd, short what, void *arg);
void levL_stopstreams (lev_Http *http);

/* ====} */

/* {==== http_reply.c: its answers ==== */

void levL_openreply (lua_State *L);
void levL_replyerror (lev_Stream *s, int status, const char *fields);
void levL_endrequest (lev_Stream *s);

/* ====} */

/* {==== http_client.c, http_make.c ==== */

/* user values of an HttpConnection, after LEV_UVBASE */
enum { LEV_CLIENTQUEUE = 2,   /* requests that wait, from 'first' to 'last' */
       LEV_CLIENTCURRENT,     /* the one in flight, or nil */
       LEV_CLIENTBUFFEREVENT, /* it is connected by, or nil */
       LEV_CLIENTHOST, LEV_CLIENTDNS, LEV_CLIENTFAMILY,
       LEV_CLIENTMESSAGE,     /* of what has failed at once, or nil */
       LEV_CLIENTTLS,         /* its Context, or nil */
       LEV_CLIENTNAME,        /* what the server's certificate must be for */
       LEV_NUVCLIENT = LEV_CLIENTNAME };

typedef struct lev_Client {
  lev_Object o;
  lev_Stream *stream;         /* NULL: it is not connected */
  lev_HeadLimits limits;      /* of the heads of answers */
  uint64_t most;              /* bytes of a body that is collected */
  struct timeval connecttime, readtime, writetime, idletime;   /* 0: none */
  int port;                   /* 0: the host is a path */
  const struct lev_Context *tls;    /* or NULL */
  lua_Integer first, last;    /* of the queue */
  bool busy;                  /* a request is in flight */
  bool connecting;
  bool reused;                /* it has answered a request before */
  uint64_t rested;            /* since when it has nothing to do */
  struct event timer;         /* of connecting */
  struct event turn;          /* for what is not told inside a call */
  int err;                    /* of the request in flight, for that turn */
} lev_Client;

lev_Client *levL_checkclient (lua_State *L);
void levL_schedule (lev_Client *c);
void levL_openclient (lua_State *L);
void levL_openmake (lua_State *L);

/* ====} */

#pragma GCC visibility pop

#endif
