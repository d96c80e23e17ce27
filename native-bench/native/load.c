/* The client of native-bench, for what wrk cannot do: uploads of megabytes, token streams with the delay of every
 * event, slow peers, arrivals on a schedule. One thread; prints one JSON object. `load` alone prints the flags.
 *
 * Every mode is the same machine with other settings (load-options.h): a fixed number of lanes, each with at most one
 * connection and one exchange at a time.
 *
 *   free --lane_start--> busy: connect, lane_send, lane_read --lane_end--> free or started again, in lane_next
 *
 * A lane ends its exchange in `lane_end` and nowhere else; the response is checked there.
 * Order to read: load-options.h, response.h, token-stream.h, this file, load-report.h. */
#define _GNU_SOURCE
#include "load-report.h"
#include "response.h"
#include "timers.h"
#include <errno.h>
#include <unistd.h>

#define SCRATCH_BYTES (256 << 10)
/* How often a slow peer sends or reads its share. */
#define PACE_TICK_NS (20 * NS_PER_MS)
/* Before a lane whose exchange failed starts the next, so that a dead target is not hammered. */
#define RETRY_PAUSE_NS (10 * NS_PER_MS)
/* More than this from one address meet the end of its ephemeral ports. */
#define LANES_PER_SOURCE 20000

struct lane {
  struct timer timer; /* Start, restart or pace. First, so that a due timer is its lane. */
  int fd;             /* -1: none. */
  bool is_connected;
  bool is_busy;
  bool is_peer_gone; /* The peer has closed: no further exchange on this connection. */
  uint64_t intended_ns;
  uint64_t pace_from_ns;
  size_t sent_bytes;
  uint64_t read_bytes;
  struct token_stream stream;
  struct response response;
};

static struct options options;
static struct report report;
static struct timers timers;
static struct lane *lanes;
static struct lane **free_lanes;
static size_t free_count;
static uint64_t active_count; /* Exchanges in progress. */
static uint64_t total_count;  /* Exchanges to start; UINT64_MAX: as many as the time allows. */
static uint64_t settled_count; /* hold: streams that have their first token or failed before it. */
static uint64_t deadline_ns;
static struct timer arrival; /* Open loop: when the next exchange is due. */
static int epoll_fd;
static char scratch[SCRATCH_BYTES];

static void lane_next(struct lane *lane, bool has_failed);

static bool may_start(uint64_t now)
{
  return report.started_count < total_count && (options.rate > 0 || now < deadline_ns);
}

/* Open loop: when exchange `index` is to be sent, whatever became of those before it. */
static uint64_t arrival_ns(uint64_t index)
{
  return report.start_ns + (uint64_t)((double)index * (double)NS_PER_SECOND / options.rate);
}

/* Open loop: how many exchanges are due by now. */
static uint64_t arrival_count(uint64_t now)
{
  uint64_t count = (uint64_t)((double)(now - report.start_ns) / (double)NS_PER_SECOND * options.rate) + 1;
  return count < total_count ? count : total_count;
}

static void lane_close(struct lane *lane)
{
  if (lane->fd >= 0) close(lane->fd);
  lane->fd = -1;
  lane->is_connected = lane->is_peer_gone = false;
}

/* What is wrong with a response whose framing says that it is complete, or NULL. */
static const char *lane_check(const struct lane *lane)
{
  static char status[16];
  if (lane->response.status != 200) {
    snprintf(status, sizeof status, "status_%d", lane->response.status);
    return status;
  }
  if (lane->sent_bytes < options.request_bytes) return "early_response";
  if (options.expect_bytes >= 0 && (double)lane->response.body_bytes != options.expect_bytes) return "body_length";
  return options.mode->is_stream ? token_stream_end(&lane->stream) : NULL;
}

/* hold: one more stream is where it stays. With the last one, says so at once: the reader waits for this line. */
static void lane_settled(bool is_held)
{
  settled_count++;
  report.held_count += is_held;
  if (!options.mode->is_held || settled_count != total_count) return;
  printf("holding %llu\n", (unsigned long long)report.held_count);
  fflush(stdout);
}

/* The exchange is over. `wrong` says why it failed; NULL: the response is complete and still to be checked. */
static void lane_end(struct lane *lane, const char *wrong)
{
  uint64_t now = now_ns();
  if (wrong == NULL) wrong = lane_check(lane);
  lane->is_busy = false;
  timers_disarm(&timers, &lane->timer);
  active_count--;
  report.last_end_ns = now;
  if (wrong == NULL) {
    report.completed_count++;
    histogram_add(&report.latency, now - lane->intended_ns);
  } else {
    report_error(&report, wrong);
    if (lane->stream.token_count == 0) lane_settled(false);
  }
  if (wrong != NULL || options.mode->is_fresh || lane->response.is_last || lane->is_peer_gone) lane_close(lane);
  lane_next(lane, wrong != NULL);
}

/* What slow peers may have moved by now, less what they have. */
static size_t pace_budget(const struct lane *lane, uint64_t moved_bytes)
{
  double allowed = (double)(now_ns() - lane->pace_from_ns) / (double)NS_PER_SECOND * options.bytes_per_second;
  return allowed > (double)moved_bytes ? (size_t)(allowed - (double)moved_bytes) : 0;
}

/* Sends what the socket takes of the request. */
static void lane_send(struct lane *lane)
{
  while (lane->sent_bytes < options.request_bytes) {
    size_t length = options.request_bytes - lane->sent_bytes;
    if (options.mode->is_write_paced) {
      size_t budget = pace_budget(lane, lane->sent_bytes);
      if (budget < length) length = budget;
      if (length == 0) return;
    }
    ssize_t sent = send(lane->fd, options.request + lane->sent_bytes, length, MSG_NOSIGNAL);
    if (sent < 0) {
      /* The peer may have answered before it closed: whoever reads next finds out. */
      if (errno != EAGAIN && errno != EPIPE && errno != ECONNRESET) lane_end(lane, "send_failed");
      return;
    }
    lane->sent_bytes += (size_t)sent;
    report.sent_bytes += (uint64_t)sent;
  }
}

/* Bytes of the response. Returns NULL, or what is wrong with them. */
static const char *lane_take(struct lane *lane, struct slice rest)
{
  struct response *response = &lane->response;
  bool is_stream = options.mode->is_stream;
  uint64_t now = is_stream ? now_ns() : 0;
  if (!response_take_head(response, &rest)) return "head_malformed";
  if (!response->has_head) return NULL;
  for (;;) {
    struct slice piece = body_next(&response->body, &rest);
    if (piece.length == 0) break;
    response->body_bytes += piece.length;
    report.body_bytes += piece.length;
    if (!is_stream || response->status != 200) continue;
    bool had_token = lane->stream.token_count > 0;
    const char *wrong = token_stream_feed(&lane->stream, piece, now, &report.tokens);
    if (!had_token && lane->stream.token_count > 0) {
      histogram_add(&report.ttft, now - lane->intended_ns);
      lane_settled(true);
    }
    if (wrong != NULL) return wrong;
  }
  if (body_is_bad(&response->body)) return "chunk_malformed";
  return rest.length > 0 ? "bytes_after_response" : NULL;
}

/* No more bytes will come. */
static void lane_hung_up(struct lane *lane, bool is_reset)
{
  const struct response *response = &lane->response;
  lane->is_peer_gone = true;
  if (is_reset) lane_end(lane, response->has_head ? "reset_in_body" : "reset_before_head");
  else if (!response->has_head) lane_end(lane, lane->read_bytes > 0 ? "closed_in_head" : "closed_before_head");
  else lane_end(lane, response->body.kind == BODY_UNTIL_CLOSE ? NULL : "closed_in_body");
}

/* Reads until the socket has no more, the response is complete, or, for a slow reader, its share is used. */
static void lane_read(struct lane *lane)
{
  for (;;) {
    const struct body *body = &lane->response.body;
    /* With a known length the kernel drops the bytes of a body that is only counted: MSG_TRUNC, tcp(7). */
    bool is_dropped = lane->response.has_head && body->kind == BODY_LENGTH && !options.mode->is_stream;
    size_t asked = is_dropped && body->left < (1u << 30) ? (size_t)body->left : sizeof scratch;
    if (options.mode->is_read_paced) {
      size_t budget = pace_budget(lane, lane->read_bytes);
      if (budget < asked) asked = budget;
      if (asked == 0) return;
    }
    ssize_t got = recv(lane->fd, is_dropped ? NULL : scratch, asked, is_dropped ? MSG_TRUNC : 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      lane_hung_up(lane, got < 0);
      return;
    }
    lane->read_bytes += (uint64_t)got;
    report.received_bytes += (uint64_t)got;
    const char *wrong = NULL;
    if (is_dropped) {
      lane->response.body.left -= (uint64_t)got;
      lane->response.body_bytes += (uint64_t)got;
      report.body_bytes += (uint64_t)got;
    } else {
      wrong = lane_take(lane, (struct slice){scratch, (size_t)got});
    }
    if (wrong != NULL || response_is_done(&lane->response)) {
      lane_end(lane, wrong);
      return;
    }
    if ((size_t)got < asked && !lane->is_peer_gone) return;
  }
}

/* False when it fails at once. */
static bool lane_connect(struct lane *lane)
{
  lane->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (lane->fd < 0) return false;
  socket_flag(lane->fd, IPPROTO_TCP, TCP_NODELAY);
  bool is_loopback = ntohl(options.address.sin_addr.s_addr) >> 24 == 127;
  if (is_loopback && options.lanes > LANES_PER_SOURCE) {
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)((lane - lanes) / LANES_PER_SOURCE));
    socket_flag(lane->fd, SOL_SOCKET, SO_REUSEADDR);
    socket_flag(lane->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    if (bind(lane->fd, (struct sockaddr *)&source, sizeof source) != 0) return false;
  }
  struct epoll_event event = {.events = EPOLL_SOCKET_EVENTS, .data.ptr = lane};
  const struct sockaddr *target = (const struct sockaddr *)&options.address;
  if (connect(lane->fd, target, sizeof options.address) != 0 && errno != EINPROGRESS) return false;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, lane->fd, &event) == 0;
}

/* Begins an exchange; its latency counts from `intended_ns`. */
static void lane_start(struct lane *lane, uint64_t intended_ns)
{
  report.started_count++;
  active_count++;
  lane->is_busy = true;
  lane->intended_ns = intended_ns;
  lane->sent_bytes = 0;
  lane->read_bytes = 0;
  response_reset(&lane->response);
  token_stream_reset(&lane->stream);
  if (options.mode->is_read_paced || options.mode->is_write_paced) {
    lane->pace_from_ns = now_ns();
    timers_arm(&timers, &lane->timer, lane->pace_from_ns + PACE_TICK_NS);
  }
  if (lane->fd >= 0) {
    lane_send(lane);
    return;
  }
  report.connect_count++;
  if (!lane_connect(lane)) lane_end(lane, "connect_failed");
}

/* A lane without an exchange: what it does now. A failure is paused after; a lane that has nothing to do keeps its
 * connection only when it may be used again. */
static void lane_next(struct lane *lane, bool has_failed)
{
  uint64_t now = now_ns();
  if (!options.is_repeated || !may_start(now)) lane_close(lane);
  else if (has_failed) timers_arm(&timers, &lane->timer, now + RETRY_PAUSE_NS);
  else if (options.rate == 0) lane_start(lane, now);
  else if (report.started_count < arrival_count(now)) lane_start(lane, arrival_ns(report.started_count));
  else free_lanes[free_count++] = lane;
}

static void on_arrival(void)
{
  uint64_t due_count = arrival_count(now_ns());
  while (report.started_count < due_count && free_count > 0)
    lane_start(free_lanes[--free_count], arrival_ns(report.started_count));
  if (report.started_count < due_count && due_count - report.started_count > report.backlog_max)
    report.backlog_max = due_count - report.started_count;
  if (due_count < total_count) timers_arm(&timers, &arrival, arrival_ns(due_count));
}

static void on_timer(struct timer *timer)
{
  if (timer == &arrival) {
    on_arrival();
    return;
  }
  struct lane *lane = (struct lane *)timer;
  if (!lane->is_busy) {
    if (options.rate > 0) lane_next(lane, false);
    else if (may_start(now_ns())) lane_start(lane, timer->at_ns);
    return;
  }
  timers_arm(&timers, timer, timer->at_ns + PACE_TICK_NS);
  if (!lane->is_connected) return;
  if (lane->sent_bytes < options.request_bytes) lane_send(lane);
  else if (options.mode->is_read_paced) lane_read(lane);
}

static void on_events(struct lane *lane, uint32_t events)
{
  lane->is_peer_gone = lane->is_peer_gone || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (!lane->is_busy) {
    /* A kept connection that nobody uses: closed, or with bytes that nobody asked for. */
    if (lane->is_peer_gone || (events & EPOLLIN) != 0) lane_close(lane);
    return;
  }
  if (!lane->is_connected) {
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
      lane_end(lane, "connect_failed");
      return;
    }
    lane->is_connected = true;
    /* A slow reader waits for bytes, not for the connection. */
    lane->pace_from_ns = now_ns();
  }
  if ((events & EPOLLOUT) != 0) lane_send(lane);
  bool is_readable = (events & EPOLLIN) != 0 || lane->is_peer_gone;
  if (lane->is_busy && is_readable && !options.mode->is_read_paced) lane_read(lane);
}

/* Sets up the lanes: on a schedule of arrivals, or each with its own start. */
static void lanes_begin(void)
{
  size_t lane_count = (size_t)options.lanes;
  lanes = calloc(lane_count, sizeof *lanes);
  free_lanes = calloc(lane_count, sizeof *free_lanes);
  if (lanes == NULL || free_lanes == NULL) abort();
  total_count = options.is_repeated ? UINT64_MAX : lane_count;
  if (options.rate > 0) total_count = (uint64_t)(options.rate * options.duration_s);
  if (options.count > 0 && (uint64_t)options.count < total_count) total_count = (uint64_t)options.count;
  report.start_ns = now_ns();
  deadline_ns = report.start_ns + (uint64_t)(options.duration_s * (double)NS_PER_SECOND);
  double ramp_step_ns = options.ramp_s * (double)NS_PER_SECOND / (double)lane_count;
  for (size_t i = 0; i < lane_count; i++) {
    lanes[i].fd = -1;
    if (options.rate > 0) free_lanes[free_count++] = &lanes[i];
    else timers_arm(&timers, &lanes[i].timer, report.start_ns + (uint64_t)((double)i * ramp_step_ns));
  }
  if (options.rate > 0) timers_arm(&timers, &arrival, report.start_ns);
}

int main(int argc, char **argv)
{
  sigset_t waiting = program_start();
  options_parse(&options, argc, argv);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  lanes_begin();
  uint64_t end_ns = deadline_ns + (uint64_t)(options.drain_s * (double)NS_PER_SECOND);
  struct epoll_event ready[EPOLL_EVENT_COUNT];
  for (uint64_t now = now_ns(); !is_stopped && now < end_ns && (active_count > 0 || may_start(now)); now = now_ns()) {
    uint64_t next_ns = timers_next_ns(&timers);
    struct timespec timeout = time_until(next_ns < end_ns ? next_ns : end_ns, now);
    int count = epoll_pwait2(epoll_fd, ready, EPOLL_EVENT_COUNT, &timeout, &waiting);
    for (int i = 0; i < count; i++) on_events(ready[i].data.ptr, ready[i].events);
    uint64_t turn_ns = now_ns();
    for (struct timer *due; (due = timers_take_due(&timers, turn_ns)) != NULL;) on_timer(due);
  }
  report.unfinished_count = active_count;
  report.unsent_count = total_count == UINT64_MAX ? 0 : total_count - report.started_count;
  report_print(&report, &options);
  return 0;
}
