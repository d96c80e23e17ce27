/** From measurements to pass or fail: what must never happen, and what may not get slower. */
import { readFileSync } from 'node:fs';

/** Others in the caches make the same code cost more: then the allowed growth is so many times the threshold. */
const disturbedFactor = 2;
/** Figures that a later run is not held against: the generator's timers, and what is their sum again. */
const notCompared = ['send_lag', 'stream', 'refusal', 'recovery_p'];

/**
 * The numbers a later run is held against; lower is better in each.
 * @param {import('./types.d.ts').Phase[]} phases those of all repeats
 */
export function headlineOf(phases) {
  /** @type {Record<string, number[]>} */
  const slices = {};
  for (const phase of phases) {
    for (const [figure, values] of Object.entries(phase.slices)) {
      if (notCompared.some((quantity) => figure.startsWith(quantity))) continue;
      (slices[`${phase.name}.${figure}`] ??= []).push(...values);
    }
  }
  return Object.fromEntries(Object.entries(slices).map(([name, values]) => [name, spreadOf(values)]));
}

/**
 * Median and quartiles.
 * @param {readonly number[]} values
 * @returns {import('./types.d.ts').Spread}
 */
function spreadOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (/** @type {number} */ index) => sorted[index] ?? 0;
  const last = sorted.length - 1;
  return {
    median: (at(Math.floor(last / 2)) + at(Math.ceil(last / 2))) / 2,
    low: at(Math.floor(last / 4)),
    high: at(Math.ceil((last * 3) / 4)),
  };
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
  if (Object.values(baseline.headline).some(({ median }) => typeof median !== 'number')) {
    throw new Error(`${path} was written by an older load test, which kept no spread; measure it again`);
  }
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
  /** @type {string[]} */
  const notes = [];
  const allowed = isDisturbed(result) || isDisturbed(baseline) ? threshold * disturbedFactor : threshold;
  if (allowed > threshold) notes.push(`others used the machine: growth of up to ${percent(allowed)} passes`);
  for (const [name, before] of Object.entries(baseline.headline)) {
    const after = result.headline[name];
    if (after === undefined) {
      if (isDisturbed(result)) notes.push(`${name} was not compared: others used the machine for too much of the time`);
      else failures.push(`${name} is in the baseline and was not measured`);
      continue;
    }
    // Whatever disturbs a run makes it slower, never faster: so the better slices have to be slower too, by as much. And
    // where the middle halves overlap, the difference is no larger than what one run differs from itself.
    const growth = growthOf(before.median, after.median);
    const isApart = after.low > before.high && growthOf(before.low, after.low) > allowed;
    lines.push(`${name.padEnd(44)} ${spreadText(before)} ${spreadText(after)} ${percent(growth)}`);
    if (growth > allowed && isApart) {
      failures.push(`${name} grew by ${percent(growth)}, more than ${percent(allowed)}`);
    }
  }
  // A guard that could not look must not say that all is well.
  if (lines.length === 0) failures.push('no figure could be compared: too short, or others used the machine');
  const unlike = [
    ...differences(baseline.environment, result.environment, ['cpu', 'cores', 'kernel', 'node']),
    ...differences(baseline.settings, result.settings, ['durationS', 'connections', 'rate']),
  ];
  return { lines, failures, notes: [...notes, ...unlike.map((text) => `the baseline is not like this run: ${text}`)] };
}

/** @param {import('./types.d.ts').Result} result */
function isDisturbed({ phases }) {
  return phases.some(({ disturbedSliceCount }) => disturbedSliceCount > 0);
}

/**
 * @param {number} before
 * @param {number} after
 */
function growthOf(before, after) {
  return before === 0 ? 0 : after / before - 1;
}

/** @param {import('./types.d.ts').Spread} spread */
function spreadText({ median, low, high }) {
  return `${median.toFixed(2).padStart(10)} (${low.toFixed(2)} to ${high.toFixed(2)})`.padEnd(32);
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
