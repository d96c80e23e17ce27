/* What the engine answers with: documents of an exact size, and the events of a stream. Knows no connection. */
#ifndef ANSWERS_H
#define ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODELS "{\"object\":\"list\",\"data\":[{\"id\":\"demo-model\",\"object\":\"model\",\"owned_by\":\"engine\"}]}"
#define DOCUMENT_START \
  "{\"id\":\"x\",\"object\":\"chat.completion\",\"created\":0,\"model\":\"demo-model\",\"choices\":[{\"index\":0," \
  "\"message\":{\"role\":\"assistant\",\"content\":\""
#define DOCUMENT_END \
  "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":10,\"total_tokens\":20}}"
#define DOCUMENT_BYTES_MIN (sizeof DOCUMENT_START + sizeof DOCUMENT_END - 2)
#define DOCUMENT_BYTES_MAX ((size_t)64 << 20)
#define DOCUMENT_COUNT_MAX 64

/* A whole response, head included, kept for every later request of that size. */
struct document {
  struct document *next;
  size_t body_bytes;
  size_t length;
  char bytes[];
};

/* The document whose body is exactly that long; NULL when that is too short, too long or one size too many. Lives until
 * the process ends. */
static inline const struct document *document_of(size_t body_bytes)
{
  static struct document *first;
  static size_t count;
  for (struct document *known = first; known != NULL; known = known->next)
    if (known->body_bytes == body_bytes) return known;
  if (body_bytes < DOCUMENT_BYTES_MIN || body_bytes > DOCUMENT_BYTES_MAX || count == DOCUMENT_COUNT_MAX) return NULL;
  struct document *document = malloc(sizeof *document + 256 + body_bytes);
  if (document == NULL) return NULL;
  char *at = document->bytes;
  at += sprintf(at, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", body_bytes,
                DOCUMENT_START);
  memset(at, 'x', body_bytes - DOCUMENT_BYTES_MIN);
  at = mempcpy(at + body_bytes - DOCUMENT_BYTES_MIN, DOCUMENT_END, sizeof DOCUMENT_END - 1);
  document->body_bytes = body_bytes;
  document->length = (size_t)(at - document->bytes);
  document->next = first;
  first = document;
  count++;
  return document;
}

#define CHUNK_EVENT_START \
  "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"demo-model\",\"choices\":["
#define TOKEN_START CHUNK_EVENT_START "{\"index\":0,\"delta\":{\"content\":\""
#define TOKEN_TEXT " tok"
#define TOKEN_END "\"},\"finish_reason\":null}]}\n\n"
#define STAMP_DIGITS 16
#define EVENT_BYTES_MIN (sizeof TOKEN_START + STAMP_DIGITS + sizeof TOKEN_TEXT + sizeof TOKEN_END - 3)
#define EVENT_BYTES_MAX 65536
/* Longest chunk head and tail beside an event. */
#define FRAME_BYTES_MAX 16

/* Writes one event with its chunk frame, when it has one. Returns one past it. */
static inline char *frame_write(char *at, const char *event, size_t length, bool is_chunked)
{
  if (is_chunked) at += sprintf(at, "%zx\r\n", length);
  at = mempcpy(at, event, length);
  return is_chunked ? mempcpy(at, "\r\n", 2) : at;
}

/* One token: an event of `event_bytes` that carries its send time. `into` holds EVENT_BYTES_MAX + FRAME_BYTES_MAX.
 * Returns the length. */
static inline size_t token_write(char *into, uint64_t stamp_ns, size_t event_bytes, bool is_chunked)
{
  char *at = into;
  if (is_chunked) at += sprintf(at, "%zx\r\n", event_bytes);
  at = mempcpy(at, TOKEN_START, sizeof TOKEN_START - 1);
  for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[(stamp_ns >> shift) & 15];
  at = mempcpy(at, TOKEN_TEXT, sizeof TOKEN_TEXT - 1);
  memset(at, 'x', event_bytes - EVENT_BYTES_MIN);
  at = mempcpy(at + event_bytes - EVENT_BYTES_MIN, TOKEN_END, sizeof TOKEN_END - 1);
  if (is_chunked) at = mempcpy(at, "\r\n", 2);
  return (size_t)(at - into);
}

/* What follows the last token: finish reason, usage, `[DONE]`, last chunk. `into` holds 1,024 bytes. Returns the
 * length. */
static inline size_t stream_end_write(char *into, uint64_t token_count, bool is_chunked)
{
  static const char finish[] = CHUNK_EVENT_START "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
  static const char usage[] = CHUNK_EVENT_START
    "],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":%llu,\"total_tokens\":%llu}}\n\n";
  char event[512];
  unsigned long long count = token_count;
  int length = snprintf(event, sizeof event, usage, count, count + 10);
  char *at = frame_write(into, finish, sizeof finish - 1, is_chunked);
  at = frame_write(at, event, (size_t)length, is_chunked);
  at = frame_write(at, "data: [DONE]\n\n", 14, is_chunked);
  if (is_chunked) at = mempcpy(at, "0\r\n\r\n", 5);
  return (size_t)(at - into);
}

#endif
