/**
 * Whether targets are met, and who is ahead. A peer that failed has no figures, so it cannot lose and nobody wins against
 * it; what lies inside the spread of the rounds is no difference.
 */
import { medianOf, spreadOf, valuesOf } from './stats.mjs';
import { checks, nodeGoals } from './targets.mjs';

/** @typedef {import('./types.d.ts').CaseResult} CaseResult */
/** @typedef {import('./types.d.ts').Verdict} Verdict */

/**
 * One verdict for each check of which the case was measured.
 * @param {readonly CaseResult[]} results
 * @returns {Verdict[]}
 */
export function verdictsOf(results) {
  const names = new Set(results.map(({ name }) => name));
  const asked = checks.filter((check) => names.has(check.case));
  const verdicts = [...asked.map((check) => verdictOf(check, results)), ...nodeVerdicts(results)];
  return verdicts.sort((a, b) => a.target - b.target);
}

/**
 * @param {import('./targets.mjs').Check} check
 * @param {readonly CaseResult[]} results
 * @returns {Verdict}
 */
export function verdictOf(check, results) {
  const { target, what, unit, max, scale = 1 } = check;
  const limit = `<= ${max}${unit === '' ? '' : ` ${unit}`}`;
  const found = valuesFor(check, results);
  if (typeof found === 'string')
    return { target, what, limit, outcome: 'not-measured', value: null, unit, note: found };
  const value = spreadOf(found.map((number) => number * scale));
  return { target, what, limit, outcome: outcomeOf(value, max), value, unit, note: '' };
}

/**
 * @param {import('./types.d.ts').Spread} value
 * @param {number} max
 * @returns {import('./types.d.ts').Outcome}
 */
export function outcomeOf({ low, high }, max) {
  if (high <= max) return 'met';
  return low > max ? 'missed' : 'within-noise';
}

/**
 * The number of each round; a reason when there are none.
 * @param {import('./targets.mjs').Check} check
 * @param {readonly CaseResult[]} results
 * @returns {number[] | string}
 */
function valuesFor({ kind, case: name, base, metric, subject, over }, results) {
  /** @param {string | undefined} caseName @param {string} peer */
  const of = (caseName, peer) => seriesOf(results, caseName, peer, metric);
  const own = of(name, subject);
  if (typeof own === 'string' || kind === 'value') return own;
  const other = of(name, over ?? '');
  if (typeof other === 'string') return other;
  if (kind === 'difference') return paired(own, other, (a, b) => a - b);
  const ratios = paired(own, other, (a, b) => a / b);
  if (kind === 'ratio') return ratios;
  const ownBase = of(base, subject);
  const otherBase = of(base, over ?? '');
  if (typeof ownBase === 'string') return ownBase;
  if (typeof otherBase === 'string') return otherBase;
  return paired(
    ratios,
    paired(ownBase, otherBase, (a, b) => a / b),
    (a, b) => a / b,
  );
}

/**
 * Values of a metric over the rounds; a reason when there are none that may be compared.
 * @param {readonly CaseResult[]} results
 * @param {string | undefined} caseName
 * @param {string} peer
 * @param {string} metric
 * @returns {number[] | string}
 */
function seriesOf(results, caseName, peer, metric) {
  const result = results.find(({ name }) => name === caseName)?.peers.find((candidate) => candidate.peer === peer);
  if (result === undefined) return `${peer} was not measured in ${caseName}`;
  if (result.failure !== null) return `${peer} in ${caseName}: ${result.failure}`;
  const values = valuesOf(result, metric);
  return values.length === 0 ? `${peer} has no ${metric} in ${caseName}` : values;
}

/**
 * Round by round.
 * @param {readonly number[]} a
 * @param {readonly number[]} b
 * @param {(a: number, b: number) => number} combine
 */
function paired(a, b, combine) {
  const count = Math.min(a.length, b.length);
  return Array.from({ length: count }, (_, index) => combine(a[index] ?? Number.NaN, b[index] ?? Number.NaN));
}

/**
 * Target 9 is about every case: the worst one decides.
 * @param {readonly CaseResult[]} results
 * @returns {Verdict[]}
 */
function nodeVerdicts(results) {
  return nodeGoals.flatMap(([over, goal]) => {
    const asked = results.filter(({ peers }) => peers.some(({ peer }) => peer === over));
    const verdicts = asked
      .filter(({ measure }) => measure !== 'open-streams')
      .map(({ name }) =>
        verdictOf(
          {
            target: 9,
            what: name,
            kind: 'ratio',
            case: name,
            metric: 'cpuUs',
            subject: 'penstock',
            over,
            max: 1 / goal,
            unit: '',
          },
          results,
        ),
      );
    const measured = verdicts.filter(({ value }) => value !== null);
    const worst = measured.sort((a, b) => (b.value?.median ?? 0) - (a.value?.median ?? 0))[0];
    if (worst === undefined) return verdicts.slice(0, 1).map((verdict) => ({ ...verdict, what: `CPU over ${over}` }));
    const failed = verdicts.length - measured.length;
    const note = `worst of ${measured.length} cases: ${worst.what}${failed > 0 ? `; ${over} failed in ${failed} more` : ''}`;
    return [{ ...worst, what: `CPU over ${over} (1/${goal})`, note }];
  });
}

/** @typedef {'ahead' | 'behind' | 'no difference'} Standing */

/**
 * Where Penstock stands against every peer that has figures, by case, peer and metric. Lower is better in each. Ahead is
 * who was ahead in every round: of two equals, one has the better middle half of five rounds in three runs of eight.
 * @param {readonly CaseResult[]} results
 * @returns {Record<string, Standing>}
 */
export function standingsOf(results) {
  /** @type {Record<string, Standing>} */
  const standings = {};
  for (const { name, peers } of results) {
    for (const { peer } of peers) {
      if (peer === 'penstock' || peer === 'direct') continue;
      for (const metric of ['cpuUs', 'p50Us', 'delayP50Us']) {
        const own = seriesOf(results, name, 'penstock', metric);
        const other = seriesOf(results, name, peer, metric);
        if (typeof own === 'string' || typeof other === 'string') continue;
        const ratios = paired(own, other, (a, b) => a / b);
        standings[`${name} ${peer} ${metric}`] = standingOf(Math.min(...ratios), Math.max(...ratios));
      }
    }
  }
  return standings;
}

/** @param {number} least @param {number} most @returns {Standing} */
function standingOf(least, most) {
  if (most < 1) return 'ahead';
  return least > 1 ? 'behind' : 'no difference';
}

/**
 * Where two runs contradict each other: ahead in one, behind in the other.
 * @param {Record<string, Standing>} before
 * @param {Record<string, Standing>} now
 */
export function contradictions(before, now) {
  return Object.entries(now).flatMap(([key, standing]) => {
    const earlier = before[key];
    const isContrary = [earlier, standing].sort().join() === 'ahead,behind';
    return isContrary ? [`${key}: ${earlier} before, ${standing} now`] : [];
  });
}

/**
 * A peer's median over Penstock's; null when one of them has none.
 * @param {CaseResult} result
 * @param {string} peer
 * @param {string} metric
 */
export function overPenstock({ peers }, peer, metric) {
  const own = peers.find((candidate) => candidate.peer === 'penstock');
  const other = peers.find((candidate) => candidate.peer === peer);
  const a = own === undefined ? null : medianOf(own, metric);
  const b = other === undefined ? null : medianOf(other, metric);
  return a === null || b === null || a === 0 ? null : b / a;
}
