/**
 * Stands for mitata inside a bench file that micro.mjs runs: of all cases only the wanted one is measured, and the numbers
 * go to the parent process instead of the terminal.
 */
// @ts-expect-error -- bundle.mjs says what this is.
import * as real from 'real-mitata';

const only = Number(process.env['PENSTOCK_BENCH_ONLY']);
/** @type {string[]} */
const names = [];

/** What `bench` returns for a case that is not run: takes every option and does nothing. @type {object} */
const nothing = new Proxy({}, { get: () => () => nothing });

/**
 * @param {string} name
 * @param {() => unknown} fn
 */
export function bench(name, fn) {
  names.push(name);
  return names.length - 1 === only ? real.bench(name, fn) : nothing;
}

/** Cases run apart, so there is nothing to compare here. @param {() => void} define */
export function summary(define) {
  define();
}

export const { do_not_optimize } = /** @type {typeof import('mitata')} */ (real);

export async function run() {
  if (only === -1) {
    process.send?.(names);
    return;
  }
  const { benchmarks } = await /** @type {typeof import('mitata')} */ (real).run({ format: 'quiet', throw: true });
  const stats = benchmarks[0]?.runs[0]?.stats;
  if (stats === undefined) throw new Error(`there is no case ${only}`);
  const { avg, min, p50, p99, max } = stats;
  process.send?.({ avg, min, p50, p99, max });
}
