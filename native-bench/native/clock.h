/* Time and CPU as both programs read them. One machine, one clock: load compares stamps of the engine with its own. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* Nanoseconds of CLOCK_MONOTONIC. */
static inline uint64_t now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* User and system time of this process so far, in microseconds. */
static inline uint64_t cpu_us(void)
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
         (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* How long to sleep until `at_ns`; nothing when that is past. */
static inline struct timespec time_until(uint64_t at_ns, uint64_t now)
{
  uint64_t left = at_ns > now ? at_ns - now : 0;
  return (struct timespec){.tv_sec = (time_t)(left / NS_PER_SECOND), .tv_nsec = (long)(left % NS_PER_SECOND)};
}

#endif
