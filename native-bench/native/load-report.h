/* What a run counted, and the one JSON object that says so. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "clock.h"
#include "load-options.h"
#include "token-stream.h"

#define ERROR_KIND_COUNT 32

struct error_kind {
  char name[32];
  uint64_t count;
};

struct report {
  uint64_t start_ns, last_end_ns;
  uint64_t started_count, completed_count, failed_count, unfinished_count, unsent_count, connect_count, backlog_max;
  uint64_t sent_bytes, received_bytes, body_bytes, held_count;
  struct error_kind errors[ERROR_KIND_COUNT];
  struct histogram latency, ttft;
  struct token_measures tokens;
};

/* The last place collects what no longer has one of its own. */
static inline void report_error(struct report *report, const char *name)
{
  struct error_kind *kind = report->errors;
  struct error_kind *last = &report->errors[ERROR_KIND_COUNT - 1];
  while (kind < last && kind->count > 0 && strcmp(kind->name, name) != 0) kind++;
  if (kind->count++ == 0) snprintf(kind->name, sizeof kind->name, "%s", name);
  report->failed_count++;
}

static inline void report_print(const struct report *report, const struct options *options)
{
  uint64_t end_ns = report->last_end_ns > report->start_ns ? report->last_end_ns : now_ns();
  uint64_t elapsed_ns = end_ns - report->start_ns;
  const struct { const char *name; uint64_t value; } counts[] = {
    {"elapsed_ns", elapsed_ns}, {"started", report->started_count},
    {"completed", report->completed_count}, {"failed", report->failed_count},
    {"unfinished", report->unfinished_count}, {"unsent", report->unsent_count},
    {"backlog_max", report->backlog_max}, {"connects", report->connect_count},
    {"sent_bytes", report->sent_bytes}, {"received_bytes", report->received_bytes},
    {"body_bytes", report->body_bytes}, {"cpu_us", cpu_us()},
  };
  printf("{\"mode\":\"%s\"", options->mode->name);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    printf(",\"%s\":%" PRIu64, counts[i].name, counts[i].value);
  double elapsed_s = (double)elapsed_ns / (double)NS_PER_SECOND;
  printf(",\"completed_per_second\":%.2f", (double)report->completed_count / elapsed_s);
  printf(",\"errors\":{");
  for (int i = 0; i < ERROR_KIND_COUNT && report->errors[i].count > 0; i++)
    printf("%s\"%s\":%" PRIu64, i > 0 ? "," : "", report->errors[i].name, report->errors[i].count);
  printf("}");
  histogram_print(&report->latency, "latency");
  if (options->mode->is_stream) {
    printf(",\"events\":%" PRIu64, report->tokens.event_delay.count);
    histogram_print(&report->ttft, "ttft");
    histogram_print(&report->tokens.event_delay, "event_delay");
    histogram_print(&report->tokens.gap, "gap");
  }
  if (options->mode->is_held) printf(",\"held\":%" PRIu64, report->held_count);
  printf("}\n");
}

#endif
