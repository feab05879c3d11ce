/*
** dns_packet.c: DNS as it is sent: requests are taken apart, and answers put
** together. No Lua and no socket in it.
**
** Names are shortened to where they stand already in the question or as the
** target of a CNAME, which is where answers repeat them.
*/
#include "lev_dns.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_OPT 41

/* The bytes of an answer without EDNS, and the most that are sent with it. */
#define PLAINSIZE 512

/* a pointer to the name of the question */
#define QUESTION (0xc000 | LEV_HEADERSIZE)

/* of the second word of a packet */
#define QR 0x8000
#define OPCODE 0x7800
#define TC 0x0200
#define RD 0x0100
#define CD 0x0010

/* What tells a client that knows EDNS that the server does, too. */
static const unsigned char opt[] = {
  0, 0, TYPE_OPT, LEV_REPLYSIZE >> 8, LEV_REPLYSIZE & 0xff, 0, 0, 0, 0, 0, 0
};

/* {==== Requests ==== */

static unsigned get16 (const unsigned char *p) {
  return (unsigned)p[0] << 8 | p[1];
}

static unsigned char *put16 (unsigned char *p, unsigned n) {
  *p++ = (unsigned char)(n >> 8);
  *p++ = (unsigned char)n;
  return p;
}

/* The name at 'at' as text: a dot or a backslash in a label, and what cannot be
   printed, is written as zone files do. Returns what comes behind it; 0 if it
   is none. A question has nothing to point to. */
static size_t readname (const unsigned char *p, size_t len, size_t at,
                        char text[LEV_TEXTSIZE]) {
  size_t start = at, n = 0;
  while (at < len && p[at] != 0) {
    size_t label = p[at++];
    if (label > 63 || at + label > len || at + label - start > 254)
      return 0;
    if (n > 0)
      text[n++] = '.';
    for (; label > 0; label--) {
      unsigned char c = p[at++];
      if (c == '.' || c == '\\')
        n += (size_t)sprintf(text + n, "\\%c", c);
      else if (c > ' ' && c < 127)
        text[n++] = (char)c;
      else
        n += (size_t)sprintf(text + n, "\\%03d", c);
    }
  }
  text[n] = '\0';
  return at < len ? at + 1 : 0;
}

/* Behind a name of any kind; 0 if that is none. */
static size_t skipname (const unsigned char *p, size_t len, size_t at) {
  while (at < len && p[at] != 0) {
    if (p[at] >= 0xc0)
      return at + 2 <= len ? at + 2 : 0;
    if (p[at] > 63)
      return 0;
    at += (size_t)p[at] + 1;
  }
  return at < len ? at + 1 : 0;
}

/* How much the client takes: an OPT record behind the question says so. */
static void readedns (lev_Reply *q, const unsigned char *p, size_t len,
                      size_t at) {
  unsigned n = get16(p + 6) + get16(p + 8) + get16(p + 10);
  q->most = PLAINSIZE;
  for (; n > 0; n--) {
    at = skipname(p, len, at);
    if (at == 0 || at + 10 > len)
      return;
    if (get16(p + at) == TYPE_OPT) {
      unsigned size = get16(p + at + 2);
      q->edns = true;
      q->most = size < PLAINSIZE ? PLAINSIZE
                : size > LEV_REPLYSIZE ? LEV_REPLYSIZE : size;
      return;
    }
    at += 10 + get16(p + at + 8);
  }
}

/* Takes a request apart: 0, or the error that is the answer to it; -1 if there
   is no answer to it. The reply is zero but for its name. */
int levL_readrequest (lev_Reply *q, const unsigned char *p, size_t len) {
  unsigned flags;
  size_t at;
  if (len < LEV_HEADERSIZE || (get16(p + 2) & QR))
    return -1;
  flags = get16(p + 2);
  q->id = get16(p);
  q->flags = QR | (flags & (OPCODE | RD | CD));
  q->most = PLAINSIZE;
  if (flags & OPCODE)
    return DNS_ERR_NOTIMPL;
  if (get16(p + 4) != 1)
    return DNS_ERR_FORMAT;
  at = readname(p, len, LEV_HEADERSIZE, q->name);
  if (at == 0 || at + 4 > len)
    return DNS_ERR_FORMAT;
  q->type = get16(p + at);
  q->class = get16(p + at + 2);
  q->questionlen = at + 4 - LEV_HEADERSIZE;
  memcpy(q->question, p + LEV_HEADERSIZE, q->questionlen);
  readedns(q, p, len, at + 4);
  return 0;
}

/* ====} */

/* {==== Answers ==== */

static bool issame (const char *a, const char *b) {
  while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b))
    a++, b++;
  return *a == *b;
}

/* Where the same name stands already, or 0: in the question, the end of it
   included, or as the target of a CNAME. Of the question only labels of plain
   bytes are looked at, as only those are as long as their text. */
static size_t find (const lev_Reply *q, const char *name) {
  bool plain = strlen(q->name) + 2 == q->questionlen - 4;
  if (plain)
    for (const char *s = q->name; s; s = strchr(s, '.')) {
      s += *s == '.';
      if (issame(s, name))
        return LEV_HEADERSIZE + (size_t)(s - q->name);
    }
  return q->alias && issame(q->target, name) ? q->alias : 0;
}

/* Writes a name, the ends of which may stand somewhere else already. */
static unsigned char *writename (const lev_Reply *q, unsigned char *p,
                                 const char *name) {
  while (name && *name) {
    const char *dot = strchr(name, '.');
    size_t at = find(q, name), len = dot ? (size_t)(dot - name) : strlen(name);
    if (at)
      return put16(p, 0xc000 | (unsigned)at);
    *p++ = (unsigned char)len;
    memcpy(p, name, len);
    p += len;
    name = dot ? dot + 1 : NULL;
  }
  *p++ = 0;
  return p;
}

/* The bytes of all records so far. */
static size_t sizeofrecords (const lev_Reply *q) {
  size_t n = 0;
  for (int i = 0; i < 3; i++)
    for (size_t at = 0; at < q->sections[i].len;) {
      size_t len = get16(q->sections[i].bytes + at);
      n += len;
      at += 2 + len;
    }
  return n;
}

/* Writes a record; 'target' is where the name stands in it that is its data. */
static unsigned char *writerecord (const lev_Reply *q, unsigned char *p,
                                   const lev_Record *r,
                                   unsigned char **target) {
  unsigned char *length;
  p = r->name ? writename(q, p, r->name) : put16(p, QUESTION);
  p = put16(put16(p, r->type), r->class);
  p = put16(put16(p, r->ttl >> 16), r->ttl & 0xffff);
  length = p;
  p += 2;
  *target = p;
  if (r->len >= 0) {
    memcpy(p, r->data, (size_t)r->len);
    p += r->len;
  }
  else
    p = r->data ? writename(q, p, r->data) : put16(p, QUESTION);
  put16(length, (unsigned)(p - length - 2));
  return p;
}

/* Adds a record: 0 or an errno. */
int levL_addrecord (lev_Reply *q, const lev_Record *r) {
  size_t old = LEV_HEADERSIZE + q->questionlen + sizeofrecords(q);
  lev_Section *s = &q->sections[r->section];
  unsigned char *bytes, *start, *end, *target;
  if (r->len > LEV_REPLYSIZE)
    return EMSGSIZE;
  bytes = realloc(s->bytes, s->len + 2 + LEV_NAMESIZE + 10
                            + (r->len < 0 ? LEV_NAMESIZE : (size_t)r->len));
  if (bytes == NULL)
    return ENOMEM;
  s->bytes = bytes;
  start = bytes + s->len + 2;
  end = writerecord(q, start, r, &target);
  if (old + (size_t)(end - start) > LEV_REPLYSIZE - sizeof(opt))
    return EMSGSIZE;
  put16(start - 2, (unsigned)(end - start));
  s->len += (size_t)(end - start) + 2;
  if (r->len < 0 && r->data && r->section == EVDNS_ANSWER_SECTION
      && q->alias == 0 && q->sections[1].len + q->sections[2].len == 0) {
    q->alias = old + (size_t)(target - start);
    snprintf(q->target, LEV_NAMESIZE, "%s", (const char *)r->data);
  }
  return 0;
}

/* Copies the records of a section that fit; returns how many. */
static unsigned writerecords (const lev_Section *s, unsigned char **p,
                              const unsigned char *end, bool *all) {
  unsigned n = 0;
  for (size_t at = 0; at < s->len; n++) {
    size_t len = get16(s->bytes + at);
    if (len > (size_t)(end - *p)) {
      *all = false;
      return n;
    }
    memcpy(*p, s->bytes + at + 2, len);
    *p += len;
    at += 2 + len;
  }
  return n;
}

/* Puts the answer together; returns its length. What does not fit is left out,
   and of the first two sections the client is told so. */
size_t levL_writereply (const lev_Reply *q, unsigned err,
                        unsigned char packet[LEV_REPLYSIZE]) {
  const unsigned char *end = packet + q->most - (q->edns ? sizeof(opt) : 0);
  unsigned char *p = packet + LEV_HEADERSIZE;
  unsigned n[3] = {0, 0, 0}, flags = q->flags | err;
  bool all = true, more = true;
  memcpy(p, q->question, q->questionlen);
  p += q->questionlen;
  for (int i = 0; i < 3 && all; i++)
    n[i] = writerecords(&q->sections[i], &p, end, i < 2 ? &all : &more);
  if (!all)
    flags |= TC;
  if (q->edns) {
    memcpy(p, opt, sizeof(opt));
    p += sizeof(opt);
    n[2]++;
  }
  put16(put16(put16(packet, q->id), flags), q->questionlen > 0);
  put16(put16(put16(packet + 6, n[0]), n[1]), n[2]);
  return (size_t)(p - packet);
}

void levL_freereply (lev_Reply *q) {
  for (int i = 0; i < 3; i++)
    free(q->sections[i].bytes);
  memset(q->sections, 0, sizeof(q->sections));
}

/* ====} */
