/** From measurements to pass or fail: what must never happen, and what may not get slower. */
import { readFileSync } from 'node:fs';

/** Six 8 s runs of `chat-3kb`, every one against every other; over 20 %: p50 6, p99 8, CPU 2, any of them 8. */
const singleRunNote =
  'one run against one run: on a shared machine with 2 cores, 8 of 30 such comparisons of unchanged code exceeded 20 %. ' +
  'Repeat both sides before believing a difference.';

/**
 * The numbers a later run is held against; lower is better in each.
 * @param {import('./types.d.ts').Phase[]} phases
 */
export function headlineOf(phases) {
  /** @type {Record<string, number>} */
  const headline = {};
  for (const { name, distributions, gatewayCpuUsPerRequest } of phases) {
    for (const [quantity, { p50, p99 }] of Object.entries(distributions)) {
      // How late the generator's timers were says nothing about the gateway; a stream's length is its gaps again.
      if (quantity === 'send_lag' || quantity === 'stream') continue;
      headline[`${name}.${quantity}_p50_ms`] = p50;
      headline[`${name}.${quantity}_p99_ms`] = p99;
    }
    if (gatewayCpuUsPerRequest !== null) headline[`${name}.gateway_cpu_us_per_request`] = gatewayCpuUsPerRequest;
  }
  return headline;
}

/**
 * What failed, in words; empty when the run passed.
 * @param {import('./types.d.ts').Phase[]} phases
 * @param {import('./types.d.ts').Result['gatewayAfter']} gatewayAfter
 */
export function failuresOf(phases, gatewayAfter) {
  /** @type {string[]} */
  const failures = [];
  for (const phase of phases) {
    if (phase.requests === 0) failures.push(`${phase.name}: no request was answered`);
    for (const kind of /** @type {const} */ (['errors', 'non2xx', 'mismatches', 'unanswered'])) {
      if (phase[kind] > 0) failures.push(`${phase.name}: ${phase[kind]} ${kind}`);
    }
    failures.push(...phase.firstFailures.map((text) => `${phase.name}: ${text}`));
  }
  if (gatewayAfter === null) return failures;
  for (const [kind, count] of Object.entries(gatewayAfter.leasesOutstanding)) {
    if (count !== 0) failures.push(`${count} leases of kind ${kind} outstanding after the run`);
  }
  if (gatewayAfter.bugTotal !== 0) failures.push(`penstock_bug_total is ${gatewayAfter.bugTotal}`);
  return failures;
}

/**
 * Reads an earlier result. Throws when it is of another scenario: read it before the run, not after.
 * @param {string} path
 * @param {string} scenario
 * @returns {import('./types.d.ts').Result}
 */
export function readBaseline(path, scenario) {
  /** @type {import('./types.d.ts').Result} */
  const baseline = JSON.parse(readFileSync(path, 'utf8'));
  if (baseline.scenario !== scenario) throw new Error(`${path} is of ${baseline.scenario}, not of ${scenario}`);
  return baseline;
}

/**
 * @param {import('./types.d.ts').Result} result
 * @param {import('./types.d.ts').Result} baseline
 * @param {number} threshold
 * @returns {{ lines: string[], failures: string[], notes: string[] }}
 */
export function compare(result, baseline, threshold) {
  /** @type {string[]} */
  const lines = [];
  /** @type {string[]} */
  const failures = [];
  for (const [name, before] of Object.entries(baseline.headline)) {
    const after = result.headline[name];
    if (after === undefined) {
      failures.push(`${name} is in the baseline and was not measured`);
      continue;
    }
    const growth = before === 0 ? 0 : after / before - 1;
    lines.push(
      `${name.padEnd(44)} ${before.toFixed(2).padStart(10)} ${after.toFixed(2).padStart(10)} ${percent(growth)}`,
    );
    if (growth > threshold) failures.push(`${name} grew by ${percent(growth)}, more than ${percent(threshold)}`);
  }
  const notes = [...differences(baseline.environment, result.environment, ['cpu', 'cores', 'kernel', 'node'])];
  notes.push(...differences(baseline.settings, result.settings, ['durationS', 'connections', 'rate']));
  return {
    lines,
    failures,
    notes: [singleRunNote, ...notes.map((text) => `the baseline is not like this run: ${text}`)],
  };
}

/**
 * @template {object} T
 * @param {T} before
 * @param {T} after
 * @param {(keyof T & string)[]} keys
 */
function differences(before, after, keys) {
  return keys
    .filter((key) => before[key] !== after[key])
    .map((key) => `${key} ${String(before[key])}, now ${String(after[key])}`);
}

/** @param {number} ratio */
function percent(ratio) {
  return `${ratio >= 0 ? '+' : ''}${(ratio * 100).toFixed(1)} %`;
}
