/* Durations in log-linear buckets: 128 to each power of two, so a value is off by less than 0.8 %. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#define MANTISSA_BITS 7
#define MANTISSA_COUNT (1u << MANTISSA_BITS)
#define BUCKET_COUNT ((64 - MANTISSA_BITS + 1) * MANTISSA_COUNT)
#define CDF_POINT_COUNT 60

struct histogram {
  uint64_t buckets[BUCKET_COUNT];
  uint64_t count;
  uint64_t max;
  double sum;
};

static inline unsigned bucket_of(uint64_t value)
{
  if (value < MANTISSA_COUNT) return (unsigned)value;
  unsigned shift = 63u - (unsigned)__builtin_clzll(value) - MANTISSA_BITS;
  return (shift + 1) * MANTISSA_COUNT + (unsigned)(value >> shift) - MANTISSA_COUNT;
}

/* Largest value that falls in the bucket. */
static inline uint64_t bucket_top(unsigned bucket)
{
  if (bucket < MANTISSA_COUNT) return bucket;
  unsigned shift = bucket / MANTISSA_COUNT - 1;
  return (((uint64_t)(bucket % MANTISSA_COUNT + MANTISSA_COUNT) + 1) << shift) - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
  histogram->buckets[bucket_of(value)]++;
  histogram->count++;
  histogram->sum += (double)value;
  if (value > histogram->max) histogram->max = value;
}

/* The value that a share `quantile` of all values does not exceed; 0 when there is none. */
static inline uint64_t histogram_at(const struct histogram *histogram, double quantile)
{
  uint64_t rank = (uint64_t)ceil(quantile * (double)histogram->count);
  uint64_t seen = 0;
  for (unsigned bucket = 0; bucket < BUCKET_COUNT; bucket++) {
    seen += histogram->buckets[bucket];
    if (seen < rank || seen == 0) continue;
    uint64_t top = bucket_top(bucket);
    return top < histogram->max ? top : histogram->max;
  }
  return histogram->max;
}

/* `,"name":{...}` in nanoseconds. The cdf is [quantile, ns], four points each time the tail halves, as far as there are
 * values in it. */
static inline void histogram_print(const struct histogram *histogram, const char *name)
{
  static const char *const names[] = {"p50", "p90", "p99", "p999"};
  static const double quantiles[] = {0.5, 0.9, 0.99, 0.999};
  printf(",\"%s\":{\"count\":%" PRIu64 ",\"mean\":%.0f", name, histogram->count,
         histogram->count == 0 ? 0 : histogram->sum / (double)histogram->count);
  for (int i = 0; i < 4; i++) printf(",\"%s\":%" PRIu64, names[i], histogram_at(histogram, quantiles[i]));
  printf(",\"max\":%" PRIu64 ",\"cdf\":[", histogram->max);
  for (int i = 0; i < CDF_POINT_COUNT; i++) {
    double tail = pow(0.5, i / 4.0);
    if (tail * (double)histogram->count < 1) break;
    printf("[%.6f,%" PRIu64 "],", 1 - tail, histogram_at(histogram, 1 - tail));
  }
  printf("[1,%" PRIu64 "]]}", histogram->max);
}

#endif
