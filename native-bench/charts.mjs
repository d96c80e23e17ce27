/** What is drawn: latency and CPU against body size, CPU per request of each case, and how late tokens come. */
import { lineChartSvg } from './chart.mjs';
import { medianOf, quantile } from './stats.mjs';

/** @typedef {import('./types.d.ts').Result} Result */
/** @typedef {import('./types.d.ts').CaseResult} CaseResult */
/** @typedef {{ file: string, title: string, svg: string }} Chart */

const bytesAxis = { name: 'body', isLog: true, format: bytesText };
const msAxis = {
  name: 'p50',
  isLog: true,
  format: (/** @type {number} */ us) => `${Number((us / 1000).toPrecision(2))} ms`,
};
const cpuAxis = { name: 'CPU', isLog: true, format: (/** @type {number} */ us) => `${Number(us.toPrecision(2))} us` };

/**
 * A chart needs two points, so a run of one case has none.
 * @param {Result} result
 * @returns {Chart[]}
 */
export function chartsOf(result) {
  const { cases } = result;
  const subtitle = subtitleOf(result);
  const charts = ['upload', 'response'].flatMap((family) =>
    [1, 8, 32].flatMap((connections) => {
      // One body shape: the others are in the tables.
      const chosen = cases.filter(
        (spec) => spec.family === family && spec.connections === connections && /-c\d+$/.test(spec.name),
      );
      const which = `${family}, ${connections} connection${connections === 1 ? '' : 's'}`;
      const word = `${family}-c${connections}`;
      return [
        bySize(chosen, `latency-${word}.svg`, `p50 against body size: ${which}`, subtitle, 'p50Us', msAxis),
        bySize(chosen, `cpu-${word}.svg`, `CPU per request against body size: ${which}`, subtitle, 'cpuUs', cpuAxis),
      ];
    }),
  );
  return [...charts, ...cases.map((spec) => delayChart(spec, subtitle))].flatMap((chart) =>
    chart === null ? [] : [chart],
  );
}

/**
 * @param {readonly CaseResult[]} chosen
 * @param {string} file
 * @param {string} title
 * @param {string} subtitle
 * @param {string} metric
 * @param {import('./chart.mjs').Axis} yAxis
 * @returns {Chart | null}
 */
function bySize(chosen, file, title, subtitle, metric, yAxis) {
  if (chosen.length < 2) return null;
  const names = [...new Set(chosen.flatMap(({ peers }) => peers.map(({ peer }) => peer)))];
  const series = names.map((name) => ({
    name,
    points: chosen.flatMap((spec) => {
      const found = spec.peers.find(({ peer }) => peer === name);
      const median = found === undefined ? null : medianOf(found, metric);
      /** @type {[number, number][]} */
      const points = median === null ? [] : [[spec.bytes, median]];
      return points;
    }),
  }));
  return { file, title, svg: lineChartSvg({ title, subtitle, series, xAxis: bytesAxis, yAxis }) };
}

/**
 * How many of the tokens have come within so much time after the engine sent them.
 * @param {CaseResult} spec
 * @param {string} subtitle
 * @returns {Chart | null}
 */
function delayChart({ name, measure, peers }, subtitle) {
  if (measure !== 'streams') return null;
  const series = peers
    .filter(({ failure }) => failure === null)
    .map(({ peer, rounds }) => ({
      name: peer,
      points: medianPoints(rounds.map(({ delayPoints }) => delayPoints ?? [])),
    }));
  const title = `inter-token delay: ${name}`;
  const xAxis = { ...msAxis, name: 'delay behind the engine' };
  const yAxis = {
    name: 'share of tokens',
    isLog: false,
    format: (/** @type {number} */ q) => `${Math.round(q * 100)} %`,
  };
  return { file: `delay-${name}.svg`, title, svg: lineChartSvg({ title, subtitle, series, xAxis, yAxis }) };
}

/**
 * At each quantile the median over the rounds; as [microseconds, quantile].
 * @param {readonly (readonly [number, number][])[]} rounds
 * @returns {[number, number][]}
 */
function medianPoints(rounds) {
  const [first = []] = rounds;
  return first.map(([q], index) => {
    const values = rounds.flatMap((points) => points[index]?.[1] ?? []);
    return [Math.max(1, quantile(values, 0.5)), q];
  });
}

/** @param {Result} result */
function subtitleOf({ environment: env, startedAt, settings }) {
  return `${env.cpu}, ${env.cores} cores, commit ${env.commit}, ${settings.rounds} rounds, ${startedAt.slice(0, 10)}`;
}

/** @param {number} bytes */
function bytesText(bytes) {
  const [value, unit] = bytes >= 1024 ** 2 ? [bytes / 1024 ** 2, 'MB'] : [bytes / 1024, 'KB'];
  return `${Number(value.toPrecision(3))} ${unit}`;
}
