/**
 * What an endpoint did wrong, as one exchange saw it. Numbers are stored in shared memory; names are label values and go
 * into `/status` and the log. docs/health.md says what each one is.
 */
export const Fault = {
  none: 0,
  // Before the response head.
  connect: 1,
  reset: 2,
  invalid: 3,
  late: 4,
  status: 5,
  // After it.
  broken: 6,
  stalled: 7,
  truncated: 8,
  // In a response that looks like success. Only answers of a model say that these are over; of `slow`, only long ones.
  error: 9,
  garbage: 10,
  replaced: 11,
  repeat: 12,
  empty: 13,
  slow: 14,
} as const;
export type Fault = (typeof Fault)[keyof typeof Fault];

/** By number. */
export const faultNames: readonly string[] = Object.keys(Fault);
