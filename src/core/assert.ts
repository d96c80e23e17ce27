/**
 * Two ways to say "our own logic is wrong". None of them judges what a peer sent: that is input.
 *
 * `assert` and `fail` guard ownership and memory: bytes could cross between exchanges, so the shard stops.
 * `bug` is contained: it is counted, and the caller ends the one exchange.
 */

export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Throws InvariantError. Details are joined here, so that callers on hot paths build no string when all is well. */
export function fail(text: string, ...details: readonly (string | number | boolean | null | undefined)[]): never {
  throw new InvariantError(details.length === 0 ? text : `${text}: ${details.join(', ')}`);
}

export function assert(condition: boolean, text: string): asserts condition {
  if (!condition) fail(text);
}

/** Occurrences of each contained defect in this thread, by code; `penstock_bug_total` is made from it. */
export const bugCounts = new Map<string, number>();
let bugListener: ((code: string) => void) | null = null;

/** Registers the thread's one listener for contained defects (the shard's counter and log line). */
export function onBug(listener: ((code: string) => void) | null): void {
  bugListener = listener;
}

/** Returns `condition`; when it is false the defect is counted, and the caller must end the exchange it is working on. */
export function bug(condition: boolean, code: string): boolean {
  if (!condition) {
    bugCounts.set(code, (bugCounts.get(code) ?? 0) + 1);
    bugListener?.(code);
  }
  return condition;
}
