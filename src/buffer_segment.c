/*
** buffer_segment.c: struct evbuffer_file_segment, a part of a file to be sent.
**
** It has a descriptor of its own, which is closed with the last use of it: the
** file may be closed at once. In the output of a socket the system sends the
** bytes from the file; in any other buffer, and at the end of a file, they are
** read at once. libevent would read them by moving the position that the
** descriptor shares with the script's, or map what another process can cut.
*/
#include "lev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

/* The end of a file is read: what follows it then leaves in the same packet,
   and finds a chain to be added to. After one that cannot be, libevent makes
   the next as long as the whole file. A chain's header is in its 16 KiB. */
#define TAIL (16384 - 64)

/* What is read at a time, a chain with its header. */
#define READ ((1 << 20) - 64)

/* The system sends a file in pieces, one in each turn of the loop: not so long
   that others have to wait, nor so many that they cost memory, 1 KiB each. */
#define PIECE (128 * 1024)
#define PIECES 1024

typedef struct lev_FileSegment {
  struct evbuffer_file_segment *segment;    /* NULL once closed */
  int fd;                     /* the segment's */
  off_t offset;               /* in the file */
  off_t length;
} lev_FileSegment;

static lev_FileSegment *checksegment (lua_State *L, int arg) {
  lev_FileSegment *s = luaL_checkudata(L, arg, LEV_FILESEGMENT);
  luaL_argcheck(L, s->segment, arg, "FileSegment is closed");
  return s;
}

/* {==== Arguments ==== */

/* A file on disk that can be read, and its size. */
static int checkfile (lua_State *L, int arg, off_t *size) {
  int fd = levL_checkfd(L, arg);
  struct stat st;
  luaL_argcheck(L, fstat(fd, &st) == 0 && S_ISREG(st.st_mode), arg,
                "a file on disk expected");
  luaL_argcheck(L, (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY, arg,
                "the file is not open for reading");
  *size = st.st_size;
  return fd;
}

/* Offset and length at 'arg': of what lies in the first 'size' bytes. */
static void checkpart (lua_State *L, int arg, off_t size, off_t *offset,
                       off_t *length) {
  *offset = 0;
  if (!lua_isnoneornil(L, arg))
    *offset = (off_t)levL_range(L, arg, arg, 0, size);
  *length = size - *offset;
  if (!lua_isnoneornil(L, arg + 1))
    *length = (off_t)levL_range(L, arg + 1, arg + 1, 0, *length);
}

/* ====} */

/* {==== Constructor ==== */

/* 0 or an errno */
static int opensegment (lev_FileSegment *s, int fd, off_t offset,
                        off_t length) {
  s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (s->fd < 0)
    return errno;
  s->offset = offset;
  s->length = length;
  s->segment = evbuffer_file_segment_new(s->fd, offset, length,
      EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_MMAP
      | EVBUF_FS_DISABLE_LOCKING);
  if (s->segment)
    return 0;
  close(s->fd);
  return ENOMEM;
}

/* libevent.file_segment(file [, offset [, length]])
   -> segment | nil, message, errno */
static int lev_file_segment (lua_State *L) {
  lev_FileSegment *s;
  off_t size, offset, length;
  int fd, err;
  lua_settop(L, 3);
  s = lua_newuserdatauv(L, sizeof(*s), 0);
  s->segment = NULL;
  luaL_setmetatable(L, LEV_FILESEGMENT);
  fd = checkfile(L, 1, &size);
  checkpart(L, 2, size, &offset, &length);
  err = opensegment(s, fd, offset, length);
  if (err)
    return levL_refuse(L, err, NULL);
  return 1;
}

/* ====} */

/* {==== Into a buffer ==== */

/* A file that is shorter than it was, or than it says. */
#define CUT (-1)

/* Reads 'n' bytes to the end of 'to'; 0, an errno or CUT. */
static int readbytes (struct evbuffer *to, int fd, off_t from, off_t n) {
  while (n > 0) {
    struct evbuffer_iovec space;
    size_t want = n < READ ? (size_t)n : READ;
    ssize_t got;
    if (evbuffer_reserve_space(to, (ev_ssize_t)want, &space, 1) < 1)
      return ENOMEM;
    got = pread(fd, space.iov_base, want, from);
    if (got == 0)
      return CUT;
    if (got < 0 && errno != EINTR)
      return errno;
    space.iov_len = got < 0 ? 0 : (size_t)got;
    evbuffer_commit_space(to, &space, 1);
    from += (off_t)space.iov_len;
    n -= (off_t)space.iov_len;
  }
  return 0;
}

/* Adds 'n' bytes, which the system is to send; 0 or an errno. libevent has
   dropped our reference when it finds no memory. */
static int addpieces (struct evbuffer *to, lev_FileSegment *s, off_t at,
                      off_t n) {
  off_t piece = n / PIECES > PIECE ? n / PIECES : PIECE;
  evbuffer_set_flags(to, EVBUFFER_FLAG_DRAINS_TO_FD);
  for (; n > 0; at += piece, n -= piece) {
    if (evbuffer_add_file_segment(to, s->segment, at,
                                  n < piece ? n : piece) < 0) {
      s->segment = NULL;
      return ENOMEM;
    }
  }
  return 0;
}

/* 'n' bytes in a buffer of their own, of which the last 'tail' are read; or
   NULL and an errno or CUT. */
static struct evbuffer *newpart (lev_FileSegment *s, off_t at, off_t n,
                                 off_t tail, int *err) {
  struct evbuffer *part = evbuffer_new();
  *err = part ? addpieces(part, s, at, n - tail) : ENOMEM;
  if (*err == 0)
    *err = readbytes(part, s->fd, s->offset + at + n - tail, tail);
  if (*err == 0)
    return part;
  if (part)
    evbuffer_free(part);
  return NULL;
}

/* Adds 'n' bytes to the end of a buffer, or none; 0, an errno or CUT. They
   come by way of another buffer: nothing can be cut off at the end of one. */
static int addpart (lev_Buffer *b, lev_FileSegment *s, off_t at, off_t n) {
  off_t tail = b->tofd && n > TAIL ? TAIL : n;
  int err;
  struct evbuffer *part = newpart(s, at, n, tail, &err);
  if (part == NULL)
    return err;
  if (evbuffer_add_buffer(b->buf, part) < 0)
    err = ENOMEM;
  evbuffer_free(part);
  if (err == 0 && n > tail)
    b->file = true;
  return err;
}

static void freesegment (lev_FileSegment *s) {
  if (s->segment)
    evbuffer_file_segment_free(s->segment);
  s->segment = NULL;
}

/* Is there a file at 'arg', or a part of one? */
bool levL_isfile (lua_State *L, int arg) {
  return lua_type(L, arg) == LUA_TUSERDATA
         && (luaL_testudata(L, arg, LEV_FILESEGMENT)
             || luaL_testudata(L, arg, LUA_FILEHANDLE));
}

/* All of it, in a buffer of its own for the output of a socket; or NULL and an
   errno, EIO if the file ends early. */
struct evbuffer *levL_newfilepart (lua_State *L, int arg, int *err) {
  lev_FileSegment own = {NULL, -1, 0, 0}, *s = &own;
  struct evbuffer *part = NULL;
  *err = 0;
  if (luaL_testudata(L, arg, LEV_FILESEGMENT))
    s = checksegment(L, arg);
  else {
    off_t size;
    int fd = checkfile(L, arg, &size);
    *err = opensegment(s, fd, 0, size);
  }
  if (*err == 0)
    part = newpart(s, 0, s->length, s->length > TAIL ? TAIL : s->length, err);
  if (*err == CUT)
    *err = EIO;
  freesegment(&own);
  return part;
}

/* [1] buffer */
static int pushresult (lua_State *L, int err) {
  levL_settlesink(L, 1);
  if (err == ENOMEM)
    return levL_nomemory(L);
  if (err)
    return levL_refuse(L, err == CUT ? EIO : err,
                       err == CUT ? "the file ends early" : NULL);
  lua_settop(L, 1);
  return 1;
}

/* buffer:add_file(file [, offset [, length]])
   -> buffer | nil, message, errno */
static int lev_buffer_add_file (lua_State *L) {
  lev_FileSegment s = {NULL, -1, 0, 0};
  lev_Buffer *b = levL_checkbuffer(L, 1);
  off_t size, length;
  int err = 0;
  s.fd = checkfile(L, 2, &size);
  checkpart(L, 3, size, &s.offset, &length);
  levL_checksink(L, 1);
  if (b->tofd && length > TAIL)
    err = opensegment(&s, s.fd, s.offset, length);
  if (err == 0)
    err = addpart(b, &s, 0, length);
  freesegment(&s);
  return pushresult(L, err);
}

/* buffer:add_file_segment(segment [, offset [, length]])
   -> buffer | nil, message, errno */
static int lev_buffer_add_file_segment (lua_State *L) {
  lev_Buffer *b = levL_checkbuffer(L, 1);
  lev_FileSegment *s = checksegment(L, 2);
  off_t offset, length;
  checkpart(L, 3, s->length, &offset, &length);
  levL_checksink(L, 1);
  return pushresult(L, addpart(b, s, offset, length));
}

/* ====} */

/* {==== Methods ==== */

/* filesegment:length() -> count; #filesegment too */
static int lev_filesegment_length (lua_State *L) {
  lua_pushinteger(L, (lua_Integer)checksegment(L, 1)->length);
  return 1;
}

/* filesegment:close() -> filesegment */
static int lev_filesegment_close (lua_State *L) {
  freesegment(luaL_checkudata(L, 1, LEV_FILESEGMENT));
  lua_settop(L, 1);
  return 1;
}

static int lev_filesegment__tostring (lua_State *L) {
  lev_FileSegment *s = luaL_checkudata(L, 1, LEV_FILESEGMENT);
  return levL_tostring(L, LEV_FILESEGMENT, s->segment != NULL);
}

/* ====} */

static const luaL_Reg methods[] = {
  {"length", lev_filesegment_length},
  {"close", lev_filesegment_close},
  {NULL, NULL}
};

static const luaL_Reg metamethods[] = {
  {"__gc", lev_filesegment_close},
  {"__close", lev_filesegment_close},
  {"__len", lev_filesegment_length},
  {"__tostring", lev_filesegment__tostring},
  {NULL, NULL}
};

static const luaL_Reg buffermethods[] = {
  {"add_file", lev_buffer_add_file},
  {"add_file_segment", lev_buffer_add_file_segment},
  {NULL, NULL}
};

static const luaL_Reg constructors[] = {
  {"file_segment", lev_file_segment},
  {NULL, NULL}
};

/* [-1] the module */
void levL_opensegment (lua_State *L) {
  levL_newtype(L, LEV_FILESEGMENT, methods, metamethods);
  levL_addmethods(L, LEV_BUFFER, buffermethods);
  luaL_setfuncs(L, constructors, 0);
}
