/** What was wanted, beside what was found: each figure over the rounds, each ratio within a round, where both had the same requests. */
import { quantile } from '../../stats.mjs';
import { predictedOf } from './prediction.mjs';

/** Measured and predicted may differ by so much. */
const toleranceRatio = 0.1;
/** Of the hit rate of one shard. */
const shardsRatioMin = 0.99;
/** Of the hit rate of one gateway: how much those that share may have less, in points. */
const sharingPointsMax = 0.02;

/** @typedef {{ median: number, low: number, high: number }} Range over the rounds, lowest and highest */
/** @typedef {{ name: string, what: string, value: number, wanted: string, isMet: boolean }} Verdict */

/** @param {readonly number[]} values @returns {Range} */
export function rangeOf(values) {
  return { median: quantile(values, 0.5), low: Math.min(...values), high: Math.max(...values) };
}

/** @param {import('./bench.mjs').VariantResult} result @param {keyof import('./measures.mjs').HttpMeasures} measure */
export function measuredRange({ rounds }, measure) {
  return rangeOf(rounds.map(({ measured }) => measured[measure]));
}

/**
 * Over rounds and namings.
 * @param {import('./bench.mjs').VariantResult} result
 * @param {'hit' | 'ttftP50' | 'ttftP90' | 'ttftP99'} measure
 */
export function predictedRange({ rounds }, measure) {
  const all = rounds.map(({ predicted }) => predictedOf(predicted, measure));
  return {
    median: quantile(
      all.map(({ median }) => median),
      0.5,
    ),
    low: Math.min(...all.map(({ low }) => low)),
    high: Math.max(...all.map(({ high }) => high)),
  };
}

/**
 * One variant over another, round by round.
 * @param {import('./bench.mjs').VariantResult} one
 * @param {import('./bench.mjs').VariantResult} other
 * @param {'hit' | 'ttftP50' | 'ttftP90' | 'ttftP99'} measure
 */
export function ratios(one, other, measure) {
  const pairs = one.rounds.map((round, index) => [round, other.rounds[index]]);
  return {
    measured: rangeOf(pairs.map(([a, b]) => a.measured[measure] / b.measured[measure])),
    predicted: rangeOf(
      pairs.map(([a, b]) => predictedOf(a.predicted, measure).median / predictedOf(b.predicted, measure).median),
    ),
  };
}

/** @param {import('./bench.mjs').HttpCaseResult} result @returns {Verdict[]} */
export function verdictsOf({ name, variants }) {
  const of = (/** @type {string} */ picker, shards = 1) =>
    variants.find(
      ({ variant }) => variant.picker === picker && variant.shards === shards && (variant.gateways ?? 1) === 1,
    );
  const verdicts = /** @type {Verdict[]} */ ([]);
  /** @param {string} what @param {number} value @param {string} wanted @param {boolean} isMet */
  const add = (what, value, wanted, isMet) => verdicts.push({ name, what, value, wanted, isMet });
  const near = (/** @type {string} */ what, /** @type {number} */ value) =>
    add(what, value, '0.9 to 1.1', Math.abs(value - 1) <= toleranceRatio);
  const aftermaths = variants.flatMap(({ rounds }) =>
    rounds.flatMap(({ aftermath }) => (aftermath === null ? [] : [aftermath])),
  );
  if (aftermaths.length > 0) {
    const unexplained = aftermaths.reduce((sum, one) => sum + one.unexplained, 0);
    add('failed, and was not with who was killed', unexplained, '0', unexplained === 0);
    const slowest = Math.max(...aftermaths.map(({ backAfter }) => (backAfter < 0 ? Infinity : backAfter)));
    add('requests until caches are hit as before', slowest, 'it ends', slowest < Infinity);
    return verdicts;
  }
  const failures = variants.flatMap(({ rounds }) => rounds).reduce((sum, { measured }) => sum + measured.failures, 0);
  add('failed requests', failures, '0', failures === 0);
  const [kv, roundRobin] = [of('kv_aware'), of('round_robin')];
  if (kv !== undefined && roundRobin !== undefined) {
    near(
      'hit of kv_aware, measured over predicted',
      measuredRange(kv, 'hit').median / predictedRange(kv, 'hit').median,
    );
    const hit = ratios(kv, roundRobin, 'hit');
    near('hit over that of round_robin, measured over predicted', hit.measured.median / hit.predicted.median);
    const ttft = ratios(kv, roundRobin, 'ttftP90');
    near('TTFT p90 over that of round_robin, measured over predicted', ttft.measured.median / ttft.predicted.median);
  }
  for (const several of variants) {
    if (kv === undefined || several.variant.picker !== 'kv_aware' || several.variant.shards === 1) continue;
    const { median } = ratios(several, kv, 'hit').measured;
    add(`hit of ${several.variant.shards} shards over one`, median, `>= ${shardsRatioMin}`, median >= shardsRatioMin);
  }
  for (const several of variants) {
    const { gateways = 1, isSharing = false } = several.variant;
    if (kv === undefined || gateways === 1) continue;
    const hit = measuredRange(several, 'hit').median;
    const less = measuredRange(kv, 'hit').median - hit;
    if (isSharing)
      add(`hit of ${gateways} that share, less than one`, less, `<= ${sharingPointsMax}`, less <= sharingPointsMax);
    else near(`hit of ${gateways} alone, measured over predicted`, hit / predictedRange(several, 'hit').median);
  }
  return verdicts;
}
