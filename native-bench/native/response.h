/* One response as the load reads it: the head, wherever it is cut, and the framing of the body. Trusts nothing. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include "http-scan.h"

struct response {
  bool has_head;
  bool is_last; /* The connection carries no further response. */
  int status;
  uint64_t body_bytes;
  struct body body;
  size_t head_length;
  char head[HEAD_BYTES_MAX];
};

static inline void response_reset(struct response *response)
{
  memset(response, 0, offsetof(struct response, head));
}

static inline bool response_is_done(const struct response *response)
{
  return response->has_head && body_is_done(&response->body);
}

/* Reads a whole head. False when it is malformed. */
static inline bool response_parse(struct response *response, struct slice head)
{
  struct slice line = head_line(&head);
  bool is_http10 = slice_starts(line, "HTTP/1.0 ");
  if (line.length < 12 || !(is_http10 || slice_starts(line, "HTTP/1.1 "))) return false;
  uint64_t status;
  if (!slice_number((struct slice){line.at + 9, 3}, &status)) return false;
  response->status = (int)status;
  memset(&response->body, 0, sizeof response->body);
  for (line = head_line(&head); line.length > 0; line = head_line(&head)) {
    struct slice name, value;
    if (!field_split(line, &name, &value) || !body_note_field(&response->body, name, value)) return false;
  }
  struct body *body = &response->body;
  if (status == 204 || status == 304) *body = (struct body){.has_length = true, .is_close = body->is_close};
  if (body->kind == BODY_LENGTH && !body->has_length) body->kind = BODY_UNTIL_CLOSE;
  response->is_last = is_http10 || body->is_close || body->kind == BODY_UNTIL_CLOSE;
  response->has_head = status >= 200;
  return true;
}

/* Takes the head off the front of `rest`; informational ones are skipped. Without a whole head all of `rest` is taken
 * and kept. False when the head is malformed or too long. */
static inline bool response_take_head(struct response *response, struct slice *rest)
{
  while (!response->has_head && rest->length > 0) {
    size_t before = response->head_length;
    size_t length = rest->length < HEAD_BYTES_MAX - before ? rest->length : HEAD_BYTES_MAX - before;
    memcpy(response->head + before, rest->at, length);
    const char *end = head_end(response->head, before + length);
    if (end == NULL && length < rest->length) return false;
    size_t taken = end == NULL ? length : (size_t)(end - response->head) - before;
    response->head_length = before + taken;
    rest->at += taken;
    rest->length -= taken;
    if (end == NULL) return true;
    if (!response_parse(response, (struct slice){response->head, response->head_length})) return false;
    response->head_length = 0;
  }
  return true;
}

#endif
