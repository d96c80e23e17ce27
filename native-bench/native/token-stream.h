/* Reads the engine's SSE stream out of pieces that may be cut anywhere, and checks that it is whole: every token has a
 * later stamp than the one before, and there are as many as the usage says; then the finish reason and `[DONE]`. */
#ifndef TOKEN_STREAM_H
#define TOKEN_STREAM_H

#include "histogram.h"
#include "http-scan.h"
#include <stdlib.h>

#define LINE_BYTES_MAX ((size_t)1 << 20)
#define CONTENT_KEY "\"content\":\""
#define USAGE_KEY "\"completion_tokens\":"

/* What all streams of a run are measured into, in nanoseconds. */
struct token_measures {
  struct histogram event_delay; /* From the engine's stamp to its receipt. */
  struct histogram gap;         /* Between two tokens of one stream. */
};

struct token_stream {
  uint64_t token_count, last_stamp_ns, last_token_ns, usage_count;
  bool is_finished, has_usage, is_done, expects_blank;
  /* A line whose end has not come; grows to LINE_BYTES_MAX, kept from stream to stream. */
  char *carry;
  size_t carry_length, carry_capacity;
};

static inline void token_stream_reset(struct token_stream *stream)
{
  char *carry = stream->carry;
  size_t capacity = stream->carry_capacity;
  *stream = (struct token_stream){.carry = carry, .carry_capacity = capacity};
}

/* The `digits` of an unsigned number in `base` at `at`. */
static inline bool digits_read(const char *at, const char *end, int base, size_t digits, uint64_t *number)
{
  *number = 0;
  if ((size_t)(end - at) < digits) return false;
  for (size_t i = 0; i < digits; i++) {
    int digit = hex_digit(at[i]);
    if (digit < 0 || digit >= base) return false;
    *number = *number * (uint64_t)base + (uint64_t)digit;
  }
  return true;
}

/* Where the value after `key` starts, or NULL. */
static inline const char *value_after(struct slice line, const char *key, size_t key_length)
{
  const char *found = memmem(line.at, line.length, key, key_length);
  return found == NULL ? NULL : found + key_length;
}

/* One `data` line. Returns NULL, or what is wrong with it. */
static inline const char *token_stream_data(struct token_stream *stream, struct slice line, uint64_t now,
                                            struct token_measures *measures)
{
  const char *end = line.at + line.length;
  uint64_t number;
  if (stream->is_done) return "event_after_done";
  const char *content = value_after(line, CONTENT_KEY, sizeof CONTENT_KEY - 1);
  if (content != NULL) {
    if (stream->is_finished || !digits_read(content, end, 16, 16, &number)) return "event_malformed";
    if (number <= stream->last_stamp_ns) return "event_order";
    histogram_add(&measures->event_delay, now > number ? now - number : 0);
    if (stream->token_count > 0) histogram_add(&measures->gap, now - stream->last_token_ns);
    stream->token_count++;
    stream->last_stamp_ns = number;
    stream->last_token_ns = now;
    return NULL;
  }
  if (slice_is(line, "data: [DONE]")) {
    stream->is_done = true;
    return NULL;
  }
  if (memmem(line.at, line.length, "\"finish_reason\":\"stop\"", 22) != NULL) {
    stream->is_finished = true;
    return NULL;
  }
  const char *usage = value_after(line, USAGE_KEY, sizeof USAGE_KEY - 1);
  if (usage == NULL) return "event_malformed";
  size_t digits = 0;
  while (usage + digits < end && usage[digits] >= '0' && usage[digits] <= '9') digits++;
  if (digits == 0 || !digits_read(usage, end, 10, digits, &stream->usage_count)) return "event_malformed";
  stream->has_usage = true;
  return NULL;
}

/* Reads the whole lines at the front of `rest`. Returns NULL, or what is wrong. */
static inline const char *token_stream_lines(struct token_stream *stream, struct slice *rest, uint64_t now,
                                             struct token_measures *measures)
{
  while (rest->length > 0 && memchr(rest->at, '\n', rest->length) != NULL) {
    struct slice line = head_line(rest);
    if (stream->expects_blank != (line.length == 0)) return "event_malformed";
    stream->expects_blank = line.length > 0;
    if (line.length == 0) continue;
    if (!slice_starts(line, "data: ")) return "event_malformed";
    const char *wrong = token_stream_data(stream, line, now, measures);
    if (wrong != NULL) return wrong;
  }
  return NULL;
}

static inline bool token_stream_keep(struct token_stream *stream, struct slice rest)
{
  size_t length = stream->carry_length + rest.length;
  if (length > LINE_BYTES_MAX) return false;
  if (length > stream->carry_capacity) {
    stream->carry_capacity = length < 1024 ? 1024 : length * 2;
    stream->carry = realloc(stream->carry, stream->carry_capacity);
    if (stream->carry == NULL) abort();
  }
  if (rest.length > 0) memcpy(stream->carry + stream->carry_length, rest.at, rest.length);
  stream->carry_length = length;
  return true;
}

/* One piece of payload, received at `now`. Returns NULL, or what is wrong. Whole lines are read where they are. */
static inline const char *token_stream_feed(struct token_stream *stream, struct slice piece, uint64_t now,
                                            struct token_measures *measures)
{
  if (stream->carry_length > 0) {
    if (!token_stream_keep(stream, piece)) return "event_too_long";
    struct slice kept = {stream->carry, stream->carry_length};
    const char *wrong = token_stream_lines(stream, &kept, now, measures);
    memmove(stream->carry, kept.at, kept.length);
    stream->carry_length = kept.length;
    return wrong;
  }
  const char *wrong = token_stream_lines(stream, &piece, now, measures);
  if (wrong == NULL && piece.length > 0 && !token_stream_keep(stream, piece)) return "event_too_long";
  return wrong;
}

/* The body has ended. Returns NULL when the stream was whole, or what is missing. */
static inline const char *token_stream_end(const struct token_stream *stream)
{
  if (!stream->is_done) return "done_missing";
  if (stream->expects_blank || stream->carry_length > 0) return "event_malformed";
  if (!stream->is_finished || !stream->has_usage) return "event_missing";
  return stream->token_count == stream->usage_count ? NULL : "token_count";
}

#endif
