/* Deadlines in a binary heap. A timer is part of the thing that waits, so arming never allocates for it and a thing
 * that ends takes its timer out. */
#ifndef TIMERS_H
#define TIMERS_H

#include <stdint.h>
#include <stdlib.h>

struct timer {
  uint64_t at_ns;
  size_t place; /* In the heap, from 1; 0 while not armed. */
};

struct timers {
  struct timer **heap; /* From 1, so that the parent of i is i / 2. */
  size_t count;
  size_t capacity;
};

static inline void timers_put(struct timers *timers, size_t place, struct timer *timer)
{
  timers->heap[place] = timer;
  timer->place = place;
}

static inline void timers_sift(struct timers *timers, size_t place, struct timer *timer)
{
  for (; place > 1 && timers->heap[place / 2]->at_ns > timer->at_ns; place /= 2)
    timers_put(timers, place, timers->heap[place / 2]);
  for (;;) {
    size_t child = place * 2;
    if (child > timers->count) break;
    if (child < timers->count && timers->heap[child + 1]->at_ns < timers->heap[child]->at_ns) child++;
    if (timers->heap[child]->at_ns >= timer->at_ns) break;
    timers_put(timers, place, timers->heap[child]);
    place = child;
  }
  timers_put(timers, place, timer);
}

/* Arms the timer, or moves it when it is armed already. */
static inline void timers_arm(struct timers *timers, struct timer *timer, uint64_t at_ns)
{
  timer->at_ns = at_ns;
  if (timer->place == 0) {
    if (timers->count + 1 >= timers->capacity) {
      timers->capacity = timers->capacity == 0 ? 1024 : timers->capacity * 2;
      timers->heap = realloc(timers->heap, timers->capacity * sizeof *timers->heap);
      if (timers->heap == NULL) abort();
    }
    timer->place = ++timers->count;
  }
  timers_sift(timers, timer->place, timer);
}

/* Takes the timer out; one that is not armed stays as it is. */
static inline void timers_disarm(struct timers *timers, struct timer *timer)
{
  size_t place = timer->place;
  if (place == 0) return;
  timer->place = 0;
  struct timer *last = timers->heap[timers->count--];
  if (last != timer) timers_sift(timers, place, last);
}

/* Takes out and returns a timer whose time has come, or NULL. */
static inline struct timer *timers_take_due(struct timers *timers, uint64_t now)
{
  if (timers->count == 0 || timers->heap[1]->at_ns > now) return NULL;
  struct timer *due = timers->heap[1];
  timers_disarm(timers, due);
  return due;
}

/* When the next timer is due; UINT64_MAX when none is armed. */
static inline uint64_t timers_next_ns(const struct timers *timers)
{
  return timers->count == 0 ? UINT64_MAX : timers->heap[1]->at_ns;
}

#endif
