/* HTTP/1.1 heads and body framing, over bytes in memory (RFC 9112). Shared by both programs; knows no socket.
 *
 * Order to read: slices of a head, then `struct body`, which finds the payload in what follows the head. */
#ifndef HTTP_SCAN_H
#define HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define HEAD_BYTES_MAX 16384

/* Bytes that belong to someone else. */
struct slice {
  const char *at;
  size_t length;
};

/* One past the blank line that ends a head, or NULL while it is not there. */
static inline const char *head_end(const char *at, size_t length)
{
  const char *blank = memmem(at, length, "\r\n\r\n", 4);
  return blank == NULL ? NULL : blank + 4;
}

/* Equal without regard to case. */
static inline bool slice_is(struct slice slice, const char *text)
{
  return slice.length == strlen(text) && strncasecmp(slice.at, text, slice.length) == 0;
}

static inline bool slice_starts(struct slice slice, const char *text)
{
  size_t length = strlen(text);
  return slice.length >= length && memcmp(slice.at, text, length) == 0;
}

/* Digits and nothing else, at most 18 of them, so that no sum overflows. */
static inline bool slice_number(struct slice slice, uint64_t *number)
{
  *number = 0;
  if (slice.length == 0 || slice.length > 18) return false;
  for (size_t i = 0; i < slice.length; i++) {
    if (slice.at[i] < '0' || slice.at[i] > '9') return false;
    *number = *number * 10 + (uint64_t)(slice.at[i] - '0');
  }
  return true;
}

/* Takes what is before `separator` off the front of `rest`, and the separator with it. */
static inline struct slice slice_take(struct slice *rest, char separator)
{
  const char *found = rest->length == 0 ? NULL : memchr(rest->at, separator, rest->length);
  size_t length = found == NULL ? rest->length : (size_t)(found - rest->at);
  size_t skipped = found == NULL ? length : length + 1;
  struct slice taken = {rest->at, length};
  rest->at += skipped;
  rest->length -= skipped;
  return taken;
}

/* Takes one line off a head, without its CRLF. Empty for the blank line that ends it. */
static inline struct slice head_line(struct slice *rest)
{
  struct slice line = slice_take(rest, '\n');
  if (line.length > 0 && line.at[line.length - 1] == '\r') line.length--;
  return line;
}

/* Splits a field line. False when it is not one. */
static inline bool field_split(struct slice line, struct slice *name, struct slice *value)
{
  *value = line;
  *name = slice_take(value, ':');
  if (name->length == 0 || name->length == line.length) return false;
  while (value->length > 0 && (value->at[0] == ' ' || value->at[0] == '\t')) value->at++, value->length--;
  while (value->length > 0 && (value->at[value->length - 1] == ' ' || value->at[value->length - 1] == '\t'))
    value->length--;
  return true;
}

enum body_kind { BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

enum chunk_state {
  CHUNK_SIZE_FIRST, /* A digit has to be next. */
  CHUNK_SIZE,
  CHUNK_EXTENSION,
  CHUNK_SIZE_LF,
  CHUNK_DATA,
  CHUNK_DATA_CR,
  CHUNK_DATA_LF,
  CHUNK_TRAILER_FIRST, /* Start of a trailer line, or of the last CRLF. */
  CHUNK_TRAILER,
  CHUNK_LAST_LF,
  CHUNK_DONE,
  CHUNK_BAD,
};

/* How a body is framed, and how far it has been read. Zero is a body of length 0. */
struct body {
  enum body_kind kind;
  enum chunk_state chunk;
  bool has_length;
  bool is_close; /* `connection: close` was seen. */
  uint64_t left; /* Of the whole body, or of the chunk. */
};

/* Notes what a field says about framing. False when it contradicts itself or an earlier one: RFC 9112 section 6.3. */
static inline bool body_note_field(struct body *body, struct slice name, struct slice value)
{
  if (slice_is(name, "content-length")) {
    if (body->has_length || body->kind == BODY_CHUNKED) return false;
    body->has_length = true;
    return slice_number(value, &body->left);
  }
  if (slice_is(name, "transfer-encoding")) {
    if (body->has_length || body->kind == BODY_CHUNKED) return false;
    body->kind = BODY_CHUNKED;
    return slice_is(value, "chunked");
  }
  if (slice_is(name, "connection")) body->is_close = body->is_close || slice_is(value, "close");
  return true;
}

static inline bool body_is_done(const struct body *body)
{
  if (body->kind == BODY_CHUNKED) return body->chunk == CHUNK_DONE;
  return body->kind == BODY_LENGTH && body->left == 0;
}

static inline bool body_is_bad(const struct body *body)
{
  return body->kind == BODY_CHUNKED && body->chunk == CHUNK_BAD;
}

static inline int hex_digit(char digit)
{
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

/* One byte that is not chunk data. */
static inline enum chunk_state chunk_after(struct body *body, char byte)
{
  switch (body->chunk) {
  case CHUNK_SIZE_FIRST:
  case CHUNK_SIZE: {
    int digit = hex_digit(byte);
    if (digit >= 0) {
      if (body->left >> 48 != 0) return CHUNK_BAD;
      body->left = body->left * 16 + (uint64_t)digit;
      return CHUNK_SIZE;
    }
    if (body->chunk == CHUNK_SIZE_FIRST) return CHUNK_BAD;
    if (byte == '\r') return CHUNK_SIZE_LF;
    return byte == ';' || byte == ' ' ? CHUNK_EXTENSION : CHUNK_BAD;
  }
  case CHUNK_EXTENSION:
    return byte == '\r' ? CHUNK_SIZE_LF : CHUNK_EXTENSION;
  case CHUNK_SIZE_LF:
    if (byte != '\n') return CHUNK_BAD;
    return body->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_FIRST;
  case CHUNK_DATA_CR:
    return byte == '\r' ? CHUNK_DATA_LF : CHUNK_BAD;
  case CHUNK_DATA_LF:
    return byte == '\n' ? CHUNK_SIZE_FIRST : CHUNK_BAD;
  case CHUNK_TRAILER_FIRST:
    return byte == '\r' ? CHUNK_LAST_LF : CHUNK_TRAILER;
  case CHUNK_TRAILER:
    return byte == '\n' ? CHUNK_TRAILER_FIRST : CHUNK_TRAILER;
  case CHUNK_LAST_LF:
    return byte == '\n' ? CHUNK_DONE : CHUNK_BAD;
  default:
    return CHUNK_BAD;
  }
}

/* Takes the next piece of payload off the front of `rest`. An empty piece: more input is needed, or the body is done or
 * bad; what is still in `rest` then comes after the body. */
static inline struct slice body_next(struct body *body, struct slice *rest)
{
  struct slice piece = {rest->at, 0};
  if (body->kind == BODY_CHUNKED) {
    while (rest->length > 0 && body->chunk < CHUNK_DONE && body->chunk != CHUNK_DATA) {
      body->chunk = chunk_after(body, *rest->at);
      rest->at++;
      rest->length--;
    }
    if (body->chunk != CHUNK_DATA) return piece;
  }
  piece.at = rest->at;
  piece.length = rest->length;
  if (body->kind != BODY_UNTIL_CLOSE) {
    if (piece.length > body->left) piece.length = (size_t)body->left;
    body->left -= piece.length;
    if (body->kind == BODY_CHUNKED && body->left == 0) body->chunk = CHUNK_DATA_CR;
  }
  rest->at += piece.length;
  rest->length -= piece.length;
  return piece;
}

#endif
