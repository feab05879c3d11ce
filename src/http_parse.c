/*
** http_parse.c: what a message of HTTP/1.1 looks like, as RFC 9110 and RFC 9112
** say, and no other way.
**
** Two that read the same bytes differently let a third smuggle a request past
** one of them: what is not exactly so is refused. Nothing here knows of Lua or
** of sockets, and nothing is allocated: text comes in at any byte, and what is
** found in it are places in it. A head must lie in one piece, and each of its
** bytes is looked at as it comes, once.
*/
#include "lev_http.h"

#include <string.h>

enum { TOKEN = 1, TARGET = 2, VALUE = 4, HOST = 8, DIGIT = 16, HEX = 32 };

static unsigned char classes[256];

/* Once in the process; each time with the same result. */
void levL_initparser (void) {
  static const char tokens[] = "!#$%&'*+-.^_`|~";
  static const char hosts[] = "-._~!$&'()*+,;=%:[]";
  for (int c = 0; c < 256; c++) {
    bool digit = c >= '0' && c <= '9';
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool hex = digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    int is = digit ? DIGIT : 0;
    if (hex)
      is |= HEX;
    if (digit || letter || (c && strchr(tokens, c)))
      is |= TOKEN;
    if (digit || letter || (c && strchr(hosts, c)))
      is |= HOST;
    if (c > ' ' && c < 127 && c != '#')
      is |= TARGET;
    if (c == '\t' || (c >= ' ' && c != 127))
      is |= VALUE;
    __atomic_store_n(&classes[c], (unsigned char)is, __ATOMIC_RELAXED);
  }
}

static bool isa (char c, int class) {
  return (classes[(unsigned char)c] & class) != 0;
}

/* How many of the bytes are of the class. */
static size_t run (const char *s, size_t n, int class) {
  size_t i = 0;
  while (i < n && isa(s[i], class))
    i++;
  return i;
}

bool levL_istoken (const char *s, size_t n) {
  return n > 0 && run(s, n, TOKEN) == n;
}

bool levL_isvalue (const char *s, size_t n) {
  return run(s, n, VALUE) == n;
}

bool levL_istarget (const char *s, size_t n) {
  return n > 0 && run(s, n, TARGET) == n;
}

/* In lower case, whatever the locale says. */
char levL_lower (char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
}

/* Are they the same in any case? */
bool levL_same (const char *a, const char *b, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (levL_lower(a[i]) != levL_lower(b[i]))
      return false;
  return true;
}

bool levL_isword (const char *s, size_t n, const char *word) {
  return n == strlen(word) && levL_same(s, word, n);
}

static int unhex (char c) {
  return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* The byte of an escape "%41" in 'n' bytes, or -1. */
int levL_unescape (const char *s, size_t n) {
  if (n < 3 || *s != '%' || !isa(s[1], HEX) || !isa(s[2], HEX))
    return -1;
  return unhex(s[1]) * 16 + unhex(s[2]);
}

/* A head has less than 4 GiB. */
static lev_Span span (size_t at, size_t len) {
  lev_Span s = {(uint32_t)at, (uint32_t)len};
  return s;
}

static int wrong (lev_Head *h, int status, const char *why) {
  h->why = why;
  return status;
}

/* {==== Hosts ==== */

/* The length of a host without its port, or -1 if it is none: a name, an IPv4
   address or an IPv6 address in brackets. */
static int hostlength (const char *s, size_t n) {
  size_t len = run(s, n, HOST), colon = len, end = len;
  if (len != n)
    return -1;
  if (n > 0 && *s == '[') {
    const char *close = memchr(s, ']', n);
    if (close == NULL)
      return -1;
    colon = (size_t)(close - s) + 1;
  }
  else {
    const char *at = memchr(s, ':', n);
    if (at)
      colon = (size_t)(at - s);
    if (memchr(s, '[', colon) || memchr(s, ']', colon))
      return -1;
  }
  if (colon < n)
    end = s[colon] == ':' ? colon + 1 + run(s + colon + 1, n - colon - 1, DIGIT)
                          : 0;
  return end == n && n - colon <= 6 ? (int)colon : -1;
}

static bool sethost (lev_Head *h, const char *s, size_t at, size_t n) {
  int len = hostlength(s + at, n);
  h->host = span(at, len < 0 ? 0 : (size_t)len);
  return len >= 0;
}

/* ====} */

/* {==== The first line ==== */

/* "http://host/path": the host in it is the one that counts. */
static int absolute (lev_Head *h, const char *s) {
  static const char *const schemes[] = {"http://", "https://", NULL};
  const char *t = s + h->target.at;
  size_t n = h->target.len;
  for (const char *const *scheme = schemes; *scheme; scheme++) {
    size_t len = strlen(*scheme);
    size_t end = len;
    if (n < len || !levL_same(t, *scheme, len))
      continue;
    while (end < n && t[end] != '/' && t[end] != '?')
      end++;
    if (end == len || !sethost(h, s, h->target.at + len, end - len))
      return wrong(h, 400, "bad host in the request target");
    h->absolute = true;
    h->path = span(h->target.at + end, n - end);
    return 0;
  }
  return wrong(h, 400, "bad request target");
}

static bool ismethod (const lev_Head *h, const char *s, const char *method) {
  return h->method.len == strlen(method)
         && memcmp(s + h->method.at, method, h->method.len) == 0;
}

/* Which of its four forms the target has. */
static int parsetarget (lev_Head *h, const char *s) {
  const char *t = s + h->target.at;
  const char *query;
  int err = 0;
  h->path = h->target;
  if (ismethod(h, s, "CONNECT")) {
    size_t n = h->target.len;
    if (!sethost(h, s, h->target.at, n) || h->host.len == 0
        || h->host.len + 1 >= n)
      return wrong(h, 400, "CONNECT wants a host and a port");
    h->absolute = true;
    return 0;
  }
  else if (h->target.len == 1 && *t == '*') {
    if (!ismethod(h, s, "OPTIONS"))
      return wrong(h, 400, "bad request target");
  }
  else if (*t != '/')
    err = absolute(h, s);
  if (err)
    return err;
  query = memchr(s + h->path.at, '?', h->path.len);
  if (query) {
    size_t at = (size_t)(query - s);
    h->query = span(at + 1, h->path.at + h->path.len - at - 1);
    h->path = span(h->path.at, at - h->path.at);
  }
  return 0;
}

/* "HTTP/1.1": 0 or what to answer. */
static int parseversion (lev_Head *h, const char *s, size_t n) {
  if (n != 8 || memcmp(s, "HTTP/", 5) != 0 || !isa(s[5], DIGIT) || s[6] != '.'
      || !isa(s[7], DIGIT))
    return wrong(h, 400, "bad version");
  if (s[5] != '1' || s[7] > '1')
    return wrong(h, 505, "neither HTTP/1.1 nor HTTP/1.0");
  h->minor = s[7] - '0';
  return 0;
}

/* method SP target SP version */
static int requestline (lev_Head *h, const char *s, size_t at, size_t n) {
  const char *line = s + at;
  size_t method = run(line, n, TOKEN);
  size_t target;
  int err;
  if (method == 0 || method == n || line[method] != ' ')
    return wrong(h, 400, "bad method");
  h->method = span(at, method);
  line += method + 1;
  n -= method + 1;
  target = run(line, n, TARGET);
  if (target == 0 || target == n || line[target] != ' ')
    return wrong(h, 400, "bad request target");
  h->target = span(at + method + 1, target);
  err = parseversion(h, line + target + 1, n - target - 1);
  return err ? err : parsetarget(h, s);
}

/* version SP status SP reason */
static int statusline (lev_Head *h, const char *s, size_t at, size_t n) {
  const char *line = s + at;
  if (n < 12 || parseversion(h, line, 8) || line[8] != ' '
      || run(line + 9, n - 9, DIGIT) != 3 || (n > 12 && line[12] != ' '))
    return wrong(h, 400, "bad status line");
  h->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + line[11] - '0';
  if (h->status < 100)
    return wrong(h, 400, "bad status");
  if (n > 12)
    h->reason = span(at + 13, n - 13);
  if (!levL_isvalue(s + h->reason.at, h->reason.len))
    return wrong(h, 400, "bad reason");
  return 0;
}

/* ====} */

/* {==== Fields ==== */

/* Decimal digits and nothing else; -1 if it is no such number, or one that
   nobody can count. */
static int64_t number (const char *s, size_t n) {
  int64_t value = 0;
  if (n == 0 || run(s, n, DIGIT) != n)
    return -1;
  for (size_t i = 0; i < n; i++) {
    if (value > (INT64_MAX - 9) / 10)
      return -1;
    value = value * 10 + (s[i] - '0');
  }
  return value;
}

/* The words of "Connection". */
static void connection (lev_Head *h, const char *s, size_t n) {
  size_t i = 0;
  while (i < n) {
    size_t len;
    while (i < n && (s[i] == ',' || s[i] == ' ' || s[i] == '\t'))
      i++;
    len = run(s + i, n - i, TOKEN);
    if (levL_isword(s + i, len, "close"))
      h->close = true;
    else if (levL_isword(s + i, len, "keep-alive"))
      h->keepalive = true;
    i += len ? len : 1;
  }
}

static int contentlength (lev_Head *h, const char *s, size_t n) {
  if (h->length >= 0)
    return wrong(h, 400, "two lengths");
  h->length = number(s, n);
  return h->length < 0 ? wrong(h, 400, "bad Content-Length") : 0;
}

static int encoding (lev_Head *h, const char *s, size_t n) {
  if (h->chunked)
    return wrong(h, 400, "two transfer codings");
  if (!levL_isword(s, n, "chunked"))
    return wrong(h, 501, "a transfer coding that is not \"chunked\"");
  h->chunked = true;
  return 0;
}

static int host (lev_Head *h, const char *s, size_t at, size_t n) {
  lev_Span target = h->host;
  if (h->hosts++ > 0)
    return wrong(h, 400, "two hosts");
  if (!sethost(h, s, at, n))
    return wrong(h, 400, "bad host");
  if (h->absolute)
    h->host = target;
  return 0;
}

/* What a field means for the message itself. */
static int meaning (lev_Head *h, const char *s, const lev_Field *f) {
  const char *v = f->value;
  switch (f->nname) {
    case 4:
      if (!h->response && levL_isword(f->name, 4, "host"))
        return host(h, s, (size_t)(v - s), f->nvalue);
      break;
    case 6:
      if (levL_isword(f->name, 6, "expect") && h->minor > 0) {
        h->expect = true;
        if (!levL_isword(v, f->nvalue, "100-continue"))
          return wrong(h, 417, "an unknown expectation");
      }
      break;
    case 10:
      if (levL_isword(f->name, 10, "connection"))
        connection(h, v, f->nvalue);
      break;
    case 14:
      if (levL_isword(f->name, 14, "content-length"))
        return contentlength(h, v, f->nvalue);
      break;
    case 17:
      if (levL_isword(f->name, 17, "transfer-encoding"))
        return encoding(h, v, f->nvalue);
      break;
    default:
      break;
  }
  return 0;
}

/* A line of 'n' bytes: name, colon, value. */
static bool splitfield (const char *line, size_t n, lev_Field *f) {
  size_t name = run(line, n, TOKEN);
  const char *v = line + name + 1, *end = line + n;
  if (name == 0 || name == n || line[name] != ':')
    return false;
  while (v < end && (*v == ' ' || *v == '\t'))
    v++;
  while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
    end--;
  f->name = line;
  f->nname = name;
  f->value = v;
  f->nvalue = (size_t)(end - v);
  return true;
}

static int fieldline (lev_Head *h, const char *s, size_t at, size_t n,
                      const lev_HeadLimits *limits) {
  lev_Field f;
  if (++h->count > limits->count)
    return wrong(h, 431, "too many header fields");
  if (at + n + 2 - h->fields > limits->fields)
    return wrong(h, 431, "the header fields are too long");
  if (!splitfield(s + at, n, &f))
    return wrong(h, 400, "bad header field");
  if (!levL_isvalue(f.value, f.nvalue))
    return wrong(h, 400, "bad value of a header field");
  return h->trailers ? 0 : meaning(h, s, &f);
}

/* The next field of fields that have been parsed; false at their end. */
bool levL_nextfield (const char **p, lev_Field *f) {
  const char *end = strchr(*p, '\r');
  if (end == NULL || !splitfield(*p, (size_t)(end - *p), f))
    return false;
  *p = end + 2;
  return true;
}

/* The value that the field has after 'f', which is zero at first. */
bool levL_findfield (const char **p, const char *name, size_t n,
                     lev_Field *f) {
  while (levL_nextfield(p, f))
    if (f->nname == n && levL_same(f->name, name, n))
      return true;
  return false;
}

/* ====} */

/* {==== Heads ==== */

/* The fields are all there. */
static int check (lev_Head *h) {
  if (h->trailers)
    return LEV_HTTPDONE;
  if (h->chunked && h->length >= 0)
    return wrong(h, 400, "a length beside a transfer coding");
  if (h->chunked && h->minor == 0)
    return wrong(h, 400, "a transfer coding in HTTP/1.0");
  if (!h->response && h->minor > 0 && h->hosts == 0)
    return wrong(h, 400, "no host");
  return LEV_HTTPDONE;
}

/* One line, of 'n' bytes without its end. */
static int parseline (lev_Head *h, const char *s, size_t n,
                      const lev_HeadLimits *limits) {
  size_t at = h->line;
  int err;
  if (h->fields > 0 || h->trailers)
    return n == 0 ? check(h) : fieldline(h, s, at, n, limits);
  if (n == 0 && at == 0 && !h->response)
    return 0;                 /* one empty line before a request is ignored */
  if (n > limits->line)
    return wrong(h, 414, "the request line is too long");
  err = h->response ? statusline(h, s, at, n) : requestline(h, s, at, n);
  h->fields = at + n + 2;
  return err;
}

/* Is what has come of a line too long already? */
static int checksize (lev_Head *h, size_t n, const lev_HeadLimits *limits) {
  if (h->fields > 0 || h->trailers)
    return n - h->fields <= limits->fields + 2 ? LEV_HTTPMORE
           : wrong(h, 431, "the header fields are too long");
  return n - h->line <= limits->line + 2 ? LEV_HTTPMORE
         : wrong(h, 414, "the request line is too long");
}

/* A head, or trailers, of the 'n' bytes that have come so far, of which the
   ones that it has seen are the same as before: LEV_HTTPMORE, LEV_HTTPDONE, or
   the status to answer, with h->why. */
int levL_parsehead (lev_Head *h, const char *s, size_t n,
                    const lev_HeadLimits *limits) {
  if (n > 0 && h->seen == 0 && !isa(*s, TOKEN) && *s != '\r')
    return wrong(h, 400, "not HTTP");
  for (;;) {
    const char *end = n > h->seen ? memchr(s + h->seen, '\n', n - h->seen)
                                  : NULL;
    size_t at = end ? (size_t)(end - s) : n;
    int r = checksize(h, at, limits);
    if (r != LEV_HTTPMORE || end == NULL) {
      h->seen = n;
      return r;
    }
    if (at == h->line || s[at - 1] != '\r')
      return wrong(h, 400, "a line feed without a carriage return");
    r = parseline(h, s, at - 1 - h->line, limits);
    h->line = h->seen = h->len = at + 1;
    if (r != LEV_HTTPMORE)
      return r;
  }
}

void levL_inithead (lev_Head *h, int what) {
  memset(h, 0, sizeof(*h));
  h->length = -1;
  h->response = what == LEV_HTTPRESPONSE;
  h->trailers = what == LEV_HTTPTRAILERS;
}

/* May there be another message after this one? */
bool levL_persists (const lev_Head *h) {
  return !h->close && (h->minor > 0 || h->keepalive);
}

/* ====} */

/* {==== Chunks ==== */

/* Bytes of extensions, which nobody reads, of all chunks of a body. */
#define EXTENSIONS 4096

enum { SIZE, DIGITS, EXTENSION, SIZEEND, DATA, DATACR, DATALF, LAST };

static int sizeend (lev_Chunks *c) {
  c->state = c->left > 0 ? DATA : LAST;
  c->digits = 0;
  return c->state == LAST ? LEV_HTTPDONE : LEV_HTTPMORE;
}

/* One byte of what is between the data. */
static int chunkbyte (lev_Chunks *c, char byte) {
  switch (c->state) {
    case SIZE: case DIGITS:
      if (isa(byte, HEX)) {
        c->left = c->left * 16 + (unsigned)unhex(byte);
        c->state = DIGITS;
        return ++c->digits <= 15 ? LEV_HTTPMORE : 400;
      }
      if (c->state == SIZE || (byte != '\r' && byte != ';'))
        return 400;
      c->state = byte == ';' ? EXTENSION : SIZEEND;
      return LEV_HTTPMORE;
    case EXTENSION:
      if (byte == '\r')
        c->state = SIZEEND;
      else if (!isa(byte, VALUE) || ++c->extensions > EXTENSIONS)
        return 400;
      return LEV_HTTPMORE;
    case SIZEEND:
      return byte == '\n' ? sizeend(c) : 400;
    case DATACR:
      c->state = DATALF;
      return byte == '\r' ? LEV_HTTPMORE : 400;
    default:
      c->state = SIZE;
      return byte == '\n' ? LEV_HTTPMORE : 400;
  }
}

/* Up to the next piece of data in the 'n' bytes that have come: '*used' of them
   come before it, and are over. LEV_HTTPDATA: '*data' bytes of it are here;
   LEV_HTTPMORE: none yet; LEV_HTTPDONE: it was the last one, and trailers come;
   else it is wrong. */
int levL_parsechunk (lev_Chunks *c, const char *s, size_t n, size_t *used,
                     size_t *data) {
  size_t i = 0;
  int r = LEV_HTTPMORE;
  while (r == LEV_HTTPMORE && i < n && c->state != DATA)
    r = chunkbyte(c, s[i++]);
  *used = i;
  *data = 0;
  if (r == LEV_HTTPMORE && c->state == DATA && i < n) {
    *data = n - i < c->left ? n - i : (size_t)c->left;
    c->left -= *data;
    if (c->left == 0)
      c->state = DATACR;
    r = LEV_HTTPDATA;
  }
  return r;
}

/* ====} */

/* {==== Paths ==== */

/* Takes away the last segment of "/a/b": false if there is none. */
static bool dropsegment (const char *path, size_t *n) {
  if (*n == 0)
    return false;
  while (path[--*n] != '/')
    ;
  return true;
}

/* Ends a segment of 'path' that began at 'from': "." is none, and ".." takes
   the one before it away, too. False above the root. */
static bool endsegment (char *path, size_t from, size_t *n) {
  size_t len = *n - from;
  bool up = len == 2 && path[from] == '.' && path[from + 1] == '.';
  if (!up && !(len == 1 && path[from] == '.'))
    return true;
  *n = from - 1;
  return !up || dropsegment(path, n);
}

/* Decodes the path of a target, once, into 'path', which has room for as many
   bytes and one more: its length, or -1 if it has a bad escape, a NUL, or leads
   above the root. */
long levL_decodepath (const char *s, size_t n, char *path) {
  size_t len = 0, from = 1;
  if (n == 0 || *s != '/') {
    memcpy(path, n ? s : "/", n ? n : 1);     /* "*", or none at all */
    return n ? (long)n : 1;
  }
  for (size_t i = 0; i <= n; i++) {
    int c = i < n ? (unsigned char)s[i] : '/';
    if (c == '%') {
      c = levL_unescape(s + i, n - i);
      i += 2;
    }
    if (c <= 0)
      return -1;
    if (c == '/' && len > 0) {
      size_t before = len;
      if (!endsegment(path, from, &len))
        return -1;
      if (i == n && len == before)
        break;
    }
    path[len++] = (char)c;
    if (c == '/')
      from = len;
  }
  return (long)len;
}

/* ====} */

/* {==== Statuses ==== */

typedef struct Status { int code; const char *reason; } Status;

static const Status statuses[] = {
  {100, "Continue"}, {101, "Switching Protocols"}, {102, "Processing"},
  {103, "Early Hints"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"},
  {203, "Non-Authoritative Information"}, {204, "No Content"},
  {205, "Reset Content"}, {206, "Partial Content"}, {207, "Multi-Status"},
  {300, "Multiple Choices"}, {301, "Moved Permanently"}, {302, "Found"},
  {303, "See Other"}, {304, "Not Modified"}, {305, "Use Proxy"},
  {307, "Temporary Redirect"}, {308, "Permanent Redirect"},
  {400, "Bad Request"}, {401, "Unauthorized"}, {402, "Payment Required"},
  {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
  {406, "Not Acceptable"}, {407, "Proxy Authentication Required"},
  {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"},
  {411, "Length Required"}, {412, "Precondition Failed"},
  {413, "Content Too Large"}, {414, "URI Too Long"},
  {415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"},
  {417, "Expectation Failed"}, {421, "Misdirected Request"},
  {422, "Unprocessable Content"}, {423, "Locked"},
  {424, "Failed Dependency"}, {425, "Too Early"}, {426, "Upgrade Required"},
  {428, "Precondition Required"}, {429, "Too Many Requests"},
  {431, "Request Header Fields Too Large"},
  {451, "Unavailable For Legal Reasons"}, {500, "Internal Server Error"},
  {501, "Not Implemented"}, {502, "Bad Gateway"},
  {503, "Service Unavailable"}, {504, "Gateway Timeout"},
  {505, "HTTP Version Not Supported"}, {507, "Insufficient Storage"},
  {511, "Network Authentication Required"}, {0, NULL}
};

/* The standard words for a status, or those for its hundred. */
const char *levL_reason (int code) {
  static const char *const hundreds[] = {
    "Informational", "Success", "Redirection", "Client Error", "Server Error"
  };
  for (const Status *s = statuses; s->reason; s++)
    if (s->code == code)
      return s->reason;
  return code >= 100 && code < 600 ? hundreds[code / 100 - 1] : "Unknown";
}

/* ====} */
