/** What is read off a run: from the client, from the gateway's metrics and access log, and from /proc. */
import { quantile } from '../../stats.mjs';
import { warmShare } from '../measures.mjs';

/**
 * @typedef {object} HttpMeasures
 * @property {number} hit prompt tokens found in the cache, of all, by the engines' usage
 * @property {number} ttftP50 seconds, from the instant a request was due
 * @property {number} ttftP90
 * @property {number} ttftP99
 * @property {number} requests counted: all but the first tenth
 * @property {number} failures of all
 * @property {number} mispredicted prompt tokens by which gateway and engine differed, of all; 0 where no index is asked
 * @property {number} lookupHits of the gateway's look-ups, those that found anything
 * @property {number} lagP99 seconds, of the gateway's event loops: upper bound of the bucket
 * @property {number} lateP99 seconds that the client sent too late
 * @property {number} busiestShard share of the requests that the busiest shard had
 * @property {number} gatewayCpuMs per request
 * @property {number} gatewayCpu share of one core
 * @property {number} enginesCpu
 * @property {number} clientCpu
 */

/**
 * @param {object} run
 * @param {readonly import('./traffic.mjs').Exchange[]} run.exchanges
 * @param {readonly import('./fleet.mjs').AccessLine[]} run.lines
 * @param {string} run.metrics
 * @param {{ gatewayS: number, enginesS: number, clientS: number, wallS: number }} run.cpu
 * @returns {HttpMeasures}
 */
export function measuresOfRun({ exchanges, lines, metrics, cpu }) {
  const whole = exchanges.filter(({ failure }) => failure === '');
  const counted = whole.slice(Math.floor(exchanges.length * warmShare));
  const ttft = counted.map(({ ttftMs }) => ttftMs / 1000);
  const promptTokens = sum(counted, ({ promptTokens: tokens }) => tokens);
  const matched = new Map(lines.map(({ request_id: id, matched_tokens: tokens }) => [id, tokens]));
  const lookups = sumOf(metrics, 'penstock_prefix_lookups_total');
  const byShard = new Map();
  for (const { shard } of lines) byShard.set(shard, (byShard.get(shard) ?? 0) + 1);
  return {
    hit: sum(counted, ({ cachedTokens }) => cachedTokens) / promptTokens,
    ttftP50: quantile(ttft, 0.5),
    ttftP90: quantile(ttft, 0.9),
    ttftP99: quantile(ttft, 0.99),
    requests: counted.length,
    failures: exchanges.length - whole.length,
    mispredicted:
      lookups === 0
        ? 0
        : sum(counted, ({ id, cachedTokens }) => Math.abs((matched.get(id) ?? 0) - cachedTokens)) / promptTokens,
    lookupHits: lookups === 0 ? 0 : sumOf(metrics, 'penstock_prefix_hits_total') / lookups,
    lagP99: histogramQuantile(metrics, 'penstock_event_loop_lag_seconds', 0.99),
    lateP99: quantile(
      exchanges.map(({ dueMs, sentMs }) => (sentMs - dueMs) / 1000),
      0.99,
    ),
    busiestShard: Math.max(0, ...byShard.values()) / Math.max(1, lines.length),
    gatewayCpuMs: (cpu.gatewayS * 1000) / Math.max(1, exchanges.length),
    gatewayCpu: cpu.gatewayS / cpu.wallS,
    enginesCpu: cpu.enginesS / cpu.wallS,
    clientCpu: cpu.clientS / cpu.wallS,
  };
}

/** @template T @param {readonly T[]} all @param {(one: T) => number} of */
function sum(all, of) {
  return all.reduce((total, one) => total + of(one), 0);
}

/** All series of a counter. @param {string} metrics Prometheus text @param {string} name */
export function sumOf(metrics, name) {
  return sum(
    metrics.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `)),
    (line) => Number(line.slice(line.lastIndexOf(' ') + 1)),
  );
}

/**
 * Of all series of a histogram together: the upper bound of the bucket that the quantile lies in. NaN when it is empty.
 * @param {string} metrics
 * @param {string} name
 * @param {number} q
 */
export function histogramQuantile(metrics, name, q) {
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const line of metrics.split('\n')) {
    if (!line.startsWith(`${name}_bucket{`)) continue;
    const bound = /le="([^"]+)"/.exec(line)?.[1] ?? '';
    const at = bound === '+Inf' ? Infinity : Number(bound);
    counts.set(at, (counts.get(at) ?? 0) + Number(line.slice(line.lastIndexOf(' ') + 1)));
  }
  const total = counts.get(Infinity) ?? 0;
  const reached = [...counts].sort(([one], [other]) => one - other).find(([, count]) => count >= q * total);
  return total === 0 || reached === undefined ? Number.NaN : reached[0];
}
