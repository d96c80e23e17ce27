/* The backend of native-bench: an OpenAI-looking server that costs next to nothing, so that what is measured is the
 * proxy. One thread; answers are made from memory, request bodies are counted and dropped.
 *
 *   engine [--port 0]     prints `listening 127.0.0.1:PORT`, serves until SIGTERM
 *
 * Request headers choose the answer of /v1/chat/completions and /upload, because every proxy forwards fields that it
 * does not know:
 *   x-bench-response: <bytes>                               a document of exactly that many bytes
 *   x-bench-stream: <tokens>,<tokens a second>,<event bytes>  SSE; rate 0 is as fast as the socket takes it
 *   x-bench-stream: hold,<seconds>                          SSE: one token, silence, the end
 * Also GET /health, /v1/models, /stats and POST /stats/reset.
 *
 * A connection goes round `head` -> `body` -> `answer`; it ends from any of them, in `conn_close` and nowhere else. A
 * request that is not HTTP, or too long a head, ends it without an answer and counts as aborted. */
#define _GNU_SOURCE
#include "answers.h"
#include "clock.h"
#include "http-scan.h"
#include "program.h"
#include "timers.h"
#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#define SCRATCH_BYTES (1 << 20)
/* Events one stream may send before the others get their turn. */
#define EVENTS_PER_TURN 64
#define DEFAULT_DOCUMENT_BYTES 320

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_ANSWER };
enum route { ROUTE_NONE, ROUTE_CHAT, ROUTE_HEALTH, ROUTE_MODELS, ROUTE_STATS, ROUTE_RESET };
enum answer { ANSWER_DOCUMENT, ANSWER_STREAM, ANSWER_INVALID };

struct conn {
  struct timer timer; /* Next event of a stream. First, so that a due timer is its connection. */
  int fd;
  enum phase phase;
  enum route route;
  enum answer answer;
  bool is_http10;
  bool is_last;      /* No further request on this connection. */
  bool is_streaming; /* The end of the stream is not sent yet. */
  struct body body;
  size_t document_bytes;
  /* Stream. Event k is due at start_ns + k * interval_ns: an absolute schedule, a late event delays no other. */
  uint64_t token_count, sent_count, start_ns, last_stamp_ns, hold_ns;
  double interval_ns;
  size_t event_bytes;
  /* What the socket did not take yet, and the memory to free after it; NULL when it is a document's. */
  const char *out;
  size_t out_length;
  char *out_owned;
  size_t in_length;
  char in[HEAD_BYTES_MAX];
};

static int epoll_fd;
static struct timers timers;
static char scratch[SCRATCH_BYTES];
/* Since the last reset; `open_count` is a state and is not reset. */
static uint64_t request_count, body_bytes, aborted_count, open_count, cpu_us_before;

static void conn_close(struct conn *conn)
{
  timers_disarm(&timers, &conn->timer);
  close(conn->fd);
  free(conn->out_owned);
  free(conn);
  open_count--;
}

/* The peer left or broke the protocol in the middle of an exchange. */
static void conn_abort(struct conn *conn)
{
  if (conn->phase != PHASE_HEAD || conn->in_length > 0) aborted_count++;
  conn_close(conn);
}

/* Sends, and keeps what the socket does not take: a copy, or just the place when the bytes live as long as the process.
 * False when the connection is broken. Takes nothing while something is kept. */
static bool conn_send(struct conn *conn, const char *at, size_t length, bool is_static)
{
  ssize_t sent = send(conn->fd, at, length, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN) return false;
    sent = 0;
  }
  conn->out_length = length - (size_t)sent;
  if (conn->out_length == 0) return true;
  conn->out = at + sent;
  if (is_static) return true;
  conn->out = conn->out_owned = malloc(conn->out_length);
  if (conn->out_owned == NULL) abort();
  memcpy(conn->out_owned, at + sent, conn->out_length);
  return true;
}

static bool send_json(struct conn *conn, const char *status, const char *json)
{
  char text[1024];
  int length = snprintf(text, sizeof text,
                        "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n%s\r\n%s", status,
                        strlen(json), conn->is_last ? "connection: close\r\n" : "", json);
  return conn_send(conn, text, (size_t)length, false);
}

static bool send_stats(struct conn *conn)
{
  char json[256];
  snprintf(json, sizeof json,
           "{\"requests\":%llu,\"body_bytes\":%llu,\"aborted\":%llu,\"open\":%llu,\"cpu_us\":%llu}",
           (unsigned long long)request_count, (unsigned long long)body_bytes, (unsigned long long)aborted_count,
           (unsigned long long)open_count, (unsigned long long)(cpu_us() - cpu_us_before));
  return send_json(conn, "200 OK", json);
}

/* Sends the events that are due and arms the timer for the next. False when the connection is broken. */
static bool stream_step(struct conn *conn)
{
  static char event[EVENT_BYTES_MAX + FRAME_BYTES_MAX];
  for (int turn = 0; turn < EVENTS_PER_TURN; turn++) {
    if (conn->out_length > 0 || !conn->is_streaming) return true;
    uint64_t now = now_ns();
    uint64_t due_ns = conn->start_ns + (uint64_t)((double)conn->sent_count * conn->interval_ns);
    if (conn->sent_count == conn->token_count) due_ns += conn->hold_ns;
    if (due_ns > now) {
      timers_arm(&timers, &conn->timer, due_ns);
      return true;
    }
    size_t length;
    if (conn->sent_count == conn->token_count) {
      conn->is_streaming = false;
      length = stream_end_write(event, conn->token_count, !conn->is_http10);
    } else {
      conn->sent_count++;
      /* Strictly rising, so that the load can tell an event that came twice or out of order. */
      conn->last_stamp_ns = now > conn->last_stamp_ns ? now : conn->last_stamp_ns + 1;
      length = token_write(event, conn->last_stamp_ns, conn->event_bytes, !conn->is_http10);
    }
    if (!conn_send(conn, event, length, false)) return false;
  }
  timers_arm(&timers, &conn->timer, now_ns());
  return true;
}

static bool stream_start(struct conn *conn)
{
  char text[256];
  int length = snprintf(text, sizeof text,
                        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n%s\r\n",
                        conn->is_http10 ? "connection: close\r\n" : "transfer-encoding: chunked\r\n");
  conn->start_ns = now_ns();
  conn->sent_count = conn->last_stamp_ns = 0;
  conn->is_streaming = true;
  return conn_send(conn, text, (size_t)length, false) && stream_step(conn);
}

/* The whole request is read. False when the connection is broken. */
static bool answer(struct conn *conn)
{
  conn->phase = PHASE_ANSWER;
  switch (conn->route) {
  case ROUTE_HEALTH:
    return send_json(conn, "200 OK", "{\"status\":\"ok\"}");
  case ROUTE_MODELS:
    return send_json(conn, "200 OK", MODELS);
  case ROUTE_RESET:
    request_count = body_bytes = aborted_count = 0;
    cpu_us_before = cpu_us();
    return send_stats(conn);
  case ROUTE_STATS:
    return send_stats(conn);
  case ROUTE_NONE:
    return send_json(conn, "404 Not Found", "{\"error\":\"no such path\"}");
  case ROUTE_CHAT:
    break;
  }
  request_count++;
  if (conn->answer == ANSWER_STREAM) return stream_start(conn);
  const struct document *document = conn->answer == ANSWER_DOCUMENT ? document_of(conn->document_bytes) : NULL;
  if (document == NULL) return send_json(conn, "400 Bad Request", "{\"error\":\"x-bench field out of bounds\"}");
  return conn_send(conn, document->bytes, document->length, true);
}

/* `<tokens>,<rate>,<event bytes>` or `hold,<seconds>`. False when it is neither. */
static bool parse_stream(struct conn *conn, struct slice value)
{
  char text[64];
  if (value.length >= sizeof text) return false;
  memcpy(text, value.at, value.length);
  text[value.length] = '\0';
  double hold_s, tokens, rate;
  unsigned event_bytes;
  int used = 0;
  conn->event_bytes = EVENT_BYTES_MIN;
  conn->interval_ns = 0;
  conn->hold_ns = 0;
  if (sscanf(text, "hold,%lf%n", &hold_s, &used) == 1 && text[used] == '\0') {
    conn->token_count = 1;
    conn->hold_ns = (uint64_t)(hold_s * (double)NS_PER_SECOND);
    return hold_s >= 0 && hold_s < 1e6;
  }
  if (sscanf(text, "%lf,%lf,%u%n", &tokens, &rate, &event_bytes, &used) != 3 || text[used] != '\0') return false;
  if (!(tokens >= 1 && tokens < 1e9 && rate >= 0 && rate < 1e9) || event_bytes > EVENT_BYTES_MAX) return false;
  conn->token_count = (uint64_t)tokens;
  if (rate > 0) conn->interval_ns = (double)NS_PER_SECOND / rate;
  if (event_bytes > EVENT_BYTES_MIN) conn->event_bytes = event_bytes;
  return true;
}

static enum route route_of(struct slice method, struct slice target)
{
  struct slice path = slice_take(&target, '?');
  bool is_get = slice_is(method, "GET");
  if (!is_get && !slice_is(method, "POST")) return ROUTE_NONE;
  if (slice_starts(path, "/v1/chat/completions") || slice_starts(path, "/upload")) return ROUTE_CHAT;
  if (slice_is(path, "/stats/reset") && !is_get) return ROUTE_RESET;
  if (!is_get) return ROUTE_NONE;
  if (slice_is(path, "/health")) return ROUTE_HEALTH;
  if (slice_is(path, "/v1/models")) return ROUTE_MODELS;
  return slice_is(path, "/stats") ? ROUTE_STATS : ROUTE_NONE;
}

/* Reads a whole head into the connection. False when it is malformed. */
static bool parse_head(struct conn *conn, struct slice head, bool *expects_continue)
{
  struct slice line = head_line(&head);
  struct slice method = slice_take(&line, ' ');
  conn->route = route_of(method, slice_take(&line, ' '));
  conn->is_http10 = slice_is(line, "HTTP/1.0");
  conn->answer = ANSWER_DOCUMENT;
  conn->document_bytes = DEFAULT_DOCUMENT_BYTES;
  memset(&conn->body, 0, sizeof conn->body);
  if (!conn->is_http10 && !slice_is(line, "HTTP/1.1")) return false;
  for (line = head_line(&head); line.length > 0; line = head_line(&head)) {
    struct slice name, value;
    uint64_t bytes;
    if (!field_split(line, &name, &value) || !body_note_field(&conn->body, name, value)) return false;
    if (slice_is(name, "expect")) *expects_continue = slice_is(value, "100-continue");
    if (slice_is(name, "x-bench-response")) {
      if (!slice_number(value, &bytes)) conn->answer = ANSWER_INVALID;
      conn->document_bytes = bytes;
    }
    if (slice_is(name, "x-bench-stream")) conn->answer = parse_stream(conn, value) ? ANSWER_STREAM : ANSWER_INVALID;
  }
  conn->is_last = conn->body.is_close || conn->is_http10;
  return true;
}

/* Counts and drops body bytes; what comes after the body stays in `rest`. False when the framing is broken. */
static bool drop_body(struct conn *conn, struct slice *rest)
{
  size_t length;
  while ((length = body_next(&conn->body, rest).length) > 0)
    if (conn->route == ROUTE_CHAT) body_bytes += length;
  return !body_is_bad(&conn->body);
}

/* A head that is complete in `in`: reads it and what follows it. False when the connection is broken. */
static bool take_head(struct conn *conn, const char *end)
{
  bool expects_continue = false;
  struct slice head = {conn->in, (size_t)(end - conn->in)};
  struct slice rest = {end, conn->in_length - head.length};
  if (!parse_head(conn, head, &expects_continue)) return false;
  conn->phase = PHASE_BODY;
  if (!drop_body(conn, &rest)) return false;
  conn->in_length = rest.length;
  memmove(conn->in, rest.at, rest.length);
  if (body_is_done(&conn->body)) return answer(conn);
  static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
  return !expects_continue || conn_send(conn, text, sizeof text - 1, true);
}

/* After any step: ends what is complete and begins what has already arrived. False when the connection is to be
 * closed. */
static bool conn_proceed(struct conn *conn)
{
  for (;;) {
    if (conn->phase == PHASE_ANSWER) {
      if (conn->out_length > 0 || conn->is_streaming) return true;
      conn->phase = PHASE_HEAD;
      if (conn->is_last) return false;
    }
    if (conn->phase != PHASE_HEAD || conn->in_length == 0) return true;
    const char *end = head_end(conn->in, conn->in_length);
    if (end == NULL) return conn->in_length < sizeof conn->in;
    if (!take_head(conn, end)) return false;
  }
}

/* One recv of a body that is only counted. With a known length the kernel drops the bytes: MSG_TRUNC, tcp(7). */
static ssize_t read_body(struct conn *conn, size_t *asked)
{
  if (conn->body.kind == BODY_LENGTH) {
    *asked = conn->body.left < (1u << 30) ? (size_t)conn->body.left : 1u << 30;
    ssize_t got = recv(conn->fd, NULL, *asked, MSG_TRUNC);
    if (got <= 0) return got;
    conn->body.left -= (uint64_t)got;
    if (conn->route == ROUTE_CHAT) body_bytes += (uint64_t)got;
    return got;
  }
  *asked = sizeof scratch;
  ssize_t got = recv(conn->fd, scratch, *asked, 0);
  if (got <= 0) return got;
  struct slice rest = {scratch, (size_t)got};
  if (!drop_body(conn, &rest) || rest.length > sizeof conn->in) return 0;
  conn->in_length = rest.length;
  memcpy(conn->in, rest.at, rest.length);
  return got;
}

/* Reads until the socket has no more. False when the connection is to be closed. */
static bool conn_read(struct conn *conn, bool is_peer_gone)
{
  for (;;) {
    size_t asked = sizeof conn->in - conn->in_length;
    ssize_t got;
    if (conn->phase == PHASE_BODY) {
      got = read_body(conn, &asked);
    } else {
      if (asked == 0) return false;
      got = recv(conn->fd, conn->in + conn->in_length, asked, 0);
      if (got > 0) conn->in_length += (size_t)got;
    }
    if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
    if (got < 0) return true;
    if (conn->phase == PHASE_BODY && body_is_done(&conn->body) && !answer(conn)) return false;
    if (!conn_proceed(conn)) return false;
    if ((size_t)got < asked && !is_peer_gone) return true;
  }
}

/* The socket has room again. False when the connection is to be closed. */
static bool conn_write(struct conn *conn)
{
  if (conn->out_length == 0) return true;
  char *owned = conn->out_owned;
  conn->out_owned = NULL;
  bool is_alive = conn_send(conn, conn->out, conn->out_length, owned == NULL);
  free(owned);
  if (!is_alive || conn->out_length > 0) return is_alive;
  return stream_step(conn) && conn_proceed(conn);
}

static void on_timer(struct conn *conn)
{
  if (!stream_step(conn) || !conn_proceed(conn)) conn_abort(conn);
}

static void on_events(struct conn *conn, uint32_t events)
{
  bool is_peer_gone = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  bool is_alive = (events & EPOLLOUT) == 0 || conn_write(conn);
  if (is_alive && ((events & EPOLLIN) != 0 || is_peer_gone)) is_alive = conn_read(conn, is_peer_gone);
  if (!is_alive) conn_abort(conn);
}

static void on_connection(int listen_fd)
{
  for (int turn = 0; turn < EPOLL_EVENT_COUNT; turn++) {
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct conn *conn = malloc(sizeof *conn);
    if (conn == NULL) abort();
    memset(conn, 0, offsetof(struct conn, in));
    conn->fd = fd;
    open_count++;
    socket_flag(fd, IPPROTO_TCP, TCP_NODELAY);
    struct epoll_event event = {.events = EPOLL_SOCKET_EVENTS, .data.ptr = conn};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
  }
}

static int listen_on(int port)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  socket_flag(fd, SOL_SOCKET, SO_REUSEADDR);
  if (bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 4096) != 0)
    die("engine: cannot listen on port %d: %s", port, strerror(errno));
  getsockname(fd, (struct sockaddr *)&address, &length);
  printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

int main(int argc, char **argv)
{
  double port = 0;
  bool is_valid = argc == 1 || (argc == 3 && strcmp(argv[1], "--port") == 0 && text_number(argv[2], &port));
  if (!is_valid || port > 65535) die("usage: engine [--port PORT]");
  sigset_t waiting = program_start();
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  int listen_fd = listen_on((int)port);
  struct epoll_event ready[EPOLL_EVENT_COUNT] = {{.events = EPOLLIN, .data.ptr = NULL}};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ready[0]);
  while (!is_stopped) {
    uint64_t next_ns = timers_next_ns(&timers);
    struct timespec timeout = time_until(next_ns, next_ns == UINT64_MAX ? 0 : now_ns());
    int count = epoll_pwait2(epoll_fd, ready, EPOLL_EVENT_COUNT, next_ns == UINT64_MAX ? NULL : &timeout, &waiting);
    for (int i = 0; i < count; i++) {
      if (ready[i].data.ptr == NULL) on_connection(listen_fd);
      else on_events(ready[i].data.ptr, ready[i].events);
    }
    /* Read once: a stream that sends as fast as it can arms its timer for the turn after this one. */
    uint64_t now = timers.count > 0 ? now_ns() : 0;
    for (struct timer *due; (due = timers_take_due(&timers, now)) != NULL;) on_timer((struct conn *)due);
  }
  return 0;
}
