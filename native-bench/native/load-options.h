/* The command line of load, and the one request that it sends over and over. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include "program.h"
#include <arpa/inet.h>
#include <stdbool.h>

#define HEADER_BYTES_MAX 8192

struct mode {
  const char *name;
  const char *lanes_flag; /* How its users call a lane. */
  bool is_repeated;       /* A lane that is done starts again. */
  bool is_fresh;          /* A connection for each request. */
  bool is_stream;         /* The response is a token stream. */
  bool is_read_paced, is_write_paced;
  bool is_held;           /* Says when every stream has its first token, and stays. */
};

static const struct mode modes[] = {
  {.name = "requests", .lanes_flag = "connections", .is_repeated = true},
  {.name = "churn", .lanes_flag = "connections", .is_repeated = true, .is_fresh = true},
  {.name = "streams", .lanes_flag = "streams", .is_stream = true},
  {.name = "hold", .lanes_flag = "streams", .is_stream = true, .is_held = true},
  {.name = "slow-readers", .lanes_flag = "clients", .is_read_paced = true},
  {.name = "slow-writers", .lanes_flag = "clients", .is_write_paced = true},
};

struct options {
  const struct mode *mode;
  struct sockaddr_in address;
  const char *host;
  const char *path;
  const char *body_path;
  double port, lanes, duration_s, drain_s, ramp_s, count, rate, expect_bytes, bytes_per_second;
  bool is_repeated;
  char fields[HEADER_BYTES_MAX];
  /* Head and body in one piece. */
  char *request;
  size_t request_bytes;
};

static const char usage[] =
  "usage: load requests|churn|streams|hold|slow-readers|slow-writers --port PORT [flags]\n"
  "  --host ADDRESS          IPv4 address of the target (127.0.0.1)\n"
  "  --path PATH             (/v1/chat/completions)\n"
  "  --body FILE             request body (a small chat request)\n"
  "  --header 'NAME: VALUE'  may be repeated\n"
  "  --connections N, --streams N, --clients N   exchanges at once (1)\n"
  "  --duration S            no exchange starts after this long (10; 600 with --count or when each lane runs once)\n"
  "  --drain S               then what is open may take this long to end (5; hold: 0)\n"
  "  --count N               exchanges in all\n"
  "  --rate R                requests: arrivals a second, whether or not a connection is free; 0 is a closed loop (0)\n"
  "  --ramp S                the first exchanges start evenly over this long (0)\n"
  "  --repeat                a stream or slow client that ended starts again\n"
  "  --expect-bytes N        length that every response body has to have\n"
  "  --bytes-per-second B    pace of slow readers and writers (65536)";

static inline void options_flag(struct options *options, const char *flag, const char *value)
{
  const struct { const char *name; const char **text; } texts[] = {
    {"host", &options->host}, {"path", &options->path}, {"body", &options->body_path},
  };
  const struct { const char *name; double *number; } numbers[] = {
    {"port", &options->port}, {options->mode->lanes_flag, &options->lanes},
    {"duration", &options->duration_s}, {"drain", &options->drain_s},
    {"ramp", &options->ramp_s}, {"count", &options->count},
    {"rate", &options->rate}, {"expect-bytes", &options->expect_bytes},
    {"bytes-per-second", &options->bytes_per_second},
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (strcmp(flag, texts[i].name) == 0) {
      *texts[i].text = value;
      return;
    }
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (strcmp(flag, numbers[i].name) == 0) {
      if (!text_number(value, numbers[i].number)) die("load: --%s must be a number, not %s", flag, value);
      return;
    }
  if (strcmp(flag, "header") != 0) die("load: there is no flag --%s for %s\n%s", flag, options->mode->name, usage);
  size_t length = strlen(options->fields);
  if (length + strlen(value) + 3 > sizeof options->fields) die("load: the headers are too long");
  sprintf(options->fields + length, "%s\r\n", value);
}

/* Head and file in one piece of memory: one send for a small request, no copy for each of a large one. */
static inline void options_request(struct options *options)
{
  static const char small[] = "{\"model\":\"demo-model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
  static const char small_stream[] =
    "{\"model\":\"demo-model\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
  const char *own = options->mode->is_stream ? small_stream : small;
  size_t length = strlen(own);
  FILE *file = NULL;
  if (options->body_path != NULL) {
    file = fopen(options->body_path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) die("load: cannot read %s", options->body_path);
    length = (size_t)ftell(file);
    rewind(file);
  }
  size_t capacity = HEADER_BYTES_MAX + strlen(options->path) + 512 + length;
  options->request = malloc(capacity);
  if (options->request == NULL) abort();
  int head = snprintf(options->request, capacity,
                      "POST %s HTTP/1.1\r\nhost: %s:%d\r\ncontent-type: application/json\r\n"
                      "content-length: %zu\r\n%s%s\r\n",
                      options->path, options->host, (int)options->port, length,
                      options->mode->is_fresh ? "connection: close\r\n" : "", options->fields);
  char *body = options->request + head;
  if (file == NULL) memcpy(body, own, length);
  else if (fread(body, 1, length, file) != length || fclose(file) != 0) die("load: cannot read %s", options->body_path);
  options->request_bytes = (size_t)head + length;
}

/* Ends the process with a message when the command line cannot be understood. */
static inline void options_parse(struct options *options, int argc, char **argv)
{
  *options = (struct options){.host = "127.0.0.1", .path = "/v1/chat/completions", .lanes = 1, .duration_s = -1,
                              .drain_s = -1, .expect_bytes = -1, .bytes_per_second = 65536};
  for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
    if (strcmp(argv[1], modes[i].name) == 0) options->mode = &modes[i];
  if (options->mode == NULL) die("%s", usage);
  options->is_repeated = options->mode->is_repeated;
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[i], "--repeat") == 0) {
      options->is_repeated = true;
      continue;
    }
    if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc) die("load: %s needs a value\n%s", argv[i], usage);
    options_flag(options, argv[i] + 2, argv[i + 1]);
    i++;
  }
  if (!(options->port >= 1 && options->port <= 65535)) die("load: --port must be a port\n%s", usage);
  if (!(options->lanes >= 1 && options->lanes <= 1e6))
    die("load: --%s must be 1 to 1,000,000", options->mode->lanes_flag);
  if (options->bytes_per_second < 1) die("load: --bytes-per-second must be at least 1");
  if (options->mode->is_held && options->is_repeated) die("load: hold does not repeat");
  if (options->rate > 0 && !options->mode->is_repeated) die("load: --rate is for requests and churn");
  bool is_long = options->count > 0 || !options->is_repeated;
  if (options->duration_s < 0) options->duration_s = is_long ? 600 : 10;
  if (options->drain_s < 0) options->drain_s = options->mode->is_held ? 0 : 5;
  options->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
  if (inet_pton(AF_INET, options->host, &options->address.sin_addr) != 1) die("load: --host must be an IPv4 address");
  options_request(options);
}

#endif
