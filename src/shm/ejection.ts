/** When an endpoint leaves the pick, and for how long. `pools[].ejection` of the config. */
export interface EjectionRule {
  readonly consecutiveFailures: number;
  readonly baseMs: number;
  readonly maxMs: number;
}

/** The period of an ejection that `count` others precede: base * 2^count, at most `maxMs`. */
export function ejectionPeriodMs(count: number, rule: EjectionRule): number {
  return Math.min(rule.maxMs, rule.baseMs * 2 ** count);
}

/** The count after one more ejection. It stops where the period does, so that forgetting does not take ever longer. */
export function nextEjectionCount(count: number, rule: EjectionRule): number {
  return ejectionPeriodMs(count, rule) < rule.maxMs ? count + 1 : count;
}

/**
 * How many earlier ejections still count after `quietMs` back in the pick: one is forgotten for each time the endpoint
 * lasted as long as that ejection did. So one that is up for a second and down for a second backs off to `maxMs`,
 * where a reset at the first success would never let the period grow; one that recovered starts again at `baseMs`.
 */
export function remainingEjections(count: number, quietMs: number, rule: EjectionRule): number {
  let remaining = count;
  let quiet = quietMs;
  while (remaining > 0) {
    quiet -= ejectionPeriodMs(remaining - 1, rule);
    if (quiet < 0) break;
    remaining--;
  }
  return remaining;
}
