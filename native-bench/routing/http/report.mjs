/** A result as Markdown and as a chart. */
import { availableParallelism } from 'node:os';
import { barsSvg } from './bars.mjs';
import { measuredRange, predictedRange, verdictsOf } from './verdict.mjs';

/**
 * @typedef {object} HttpResult
 * @property {import('../../../loadtest/types.d.ts').Environment} environment
 * @property {boolean} isQuick
 * @property {import('./bench.mjs').HttpCaseResult[]} cases
 */

/** @param {HttpResult} result */
export function verdictTable({ cases }) {
  const rows = cases.flatMap(verdictsOf).map(({ name, what, value, wanted, isMet }) => {
    return `| ${name} | ${what} | ${number(value)} | ${wanted} | ${isMet ? 'pass' : '**miss**'} |`;
  });
  return ['| | What | Found | Wanted | |', '| --- | --- | ---: | --- | --- |', ...rows].join('\n');
}

/** @param {HttpResult} result */
export function markdownOf(result) {
  const { environment: env, cases, isQuick } = result;
  const parts = [
    '# Routing over HTTP',
    '',
    `Written by \`${env.command}\`${isQuick ? ' (quick: proves nothing)' : ''}: ${env.cpu}, ${env.cores} cores, Linux ${env.kernel}, Node ${env.node}, commit ${env.commit}.`,
    'A real gateway before four `penstock sim` engines, and what the simulation predicts of the same requests: [README](../README.md).',
    '',
    verdictTable(result),
    '',
    'Medians over the rounds, in brackets the lowest and the highest. Predicted: of the rounds, and of nine namings of the blocks in each, by which',
    'cold prompts find their homes. CPU: shares of one core; late: how long after its time the client sent a request.',
  ];
  for (const one of cases) {
    const { name, title, seconds, variants } = one;
    const rounds = variants[0]?.rounds.length ?? 0;
    parts.push(
      '',
      `## ${name}`,
      '',
      `${title}: ${seconds} s of arrivals, ${rounds} round${rounds === 1 ? '' : 's'}.`,
      '',
    );
    if (variants.some((result) => result.rounds.some(({ aftermath }) => aftermath !== null))) {
      parts.push(aftermathTable(variants));
      continue;
    }
    parts.push(tableOf(variants), '', costTable(variants));
    parts.push('', `![hit rate and TTFT of ${name}](${chartFile(name)})`);
  }
  return `${parts.join('\n')}\n`;
}

/** @param {HttpResult} result @returns {{ file: string, svg: string }[]} */
export function chartsOf({ cases, environment }) {
  return cases
    .filter(({ variants }) => variants.every(({ rounds }) => rounds.every(({ aftermath }) => aftermath === null)))
    .map(({ name, title, variants }) => ({
      file: chartFile(name),
      svg: barsSvg({
        title: `Over HTTP: ${title}`,
        subtitle: `commit ${environment.commit}, ${environment.cpu}, ${availableParallelism()} cores; bar: measured, line: all rounds, mark: predicted`,
        groups: [
          { title: 'hit rate', unit: '%', scale: 100, rows: rowsOf(variants, 'hit') },
          { title: 'TTFT p90', unit: 'ms', scale: 1000, rows: rowsOf(variants, 'ttftP90') },
        ],
      }),
    }));
}

/** @param {readonly import('./bench.mjs').VariantResult[]} variants @param {'hit' | 'ttftP90'} measure */
function rowsOf(variants, measure) {
  return variants.map((result) => ({
    name: result.variant.name,
    measured: measuredRange(result, measure),
    predicted: predictedRange(result, measure).median,
  }));
}

/** @param {string} name */
function chartFile(name) {
  return `http-${name}.svg`;
}

/** @param {readonly import('./bench.mjs').VariantResult[]} variants */
function tableOf(variants) {
  /** @param {import('./verdict.mjs').Range} range @param {(value: number) => string} format */
  const cell = ({ median, low, high }, format) => `${format(median)} (${format(low)}..${format(high)})`;
  const rows = variants.map((result) => {
    const measures = /** @type {const} */ (['hit', 'ttftP50', 'ttftP90', 'ttftP99']);
    return [
      result.variant.name,
      ...measures.flatMap((measure) => {
        const format = measure === 'hit' ? percent : ms;
        return [cell(measuredRange(result, measure), format), cell(predictedRange(result, measure), format)];
      }),
      String(result.rounds.reduce((sum, { measured }) => sum + measured.requests, 0)),
    ];
  });
  const head = [
    '',
    'hit',
    'predicted',
    'TTFT p50 ms',
    'predicted',
    'p90 ms',
    'predicted',
    'p99 ms',
    'predicted',
    'counted',
  ];
  return table(head, rows);
}

/** @param {readonly import('./bench.mjs').VariantResult[]} variants */
function costTable(variants) {
  const rows = variants.map((result) => {
    const of = (/** @type {keyof import('./measures.mjs').HttpMeasures} */ measure) =>
      measuredRange(result, measure).median;
    const asksIndex = result.variant.picker === 'kv_aware';
    return [
      result.variant.name,
      asksIndex ? percent(of('mispredicted')) : '-',
      asksIndex ? percent(of('lookupHits')) : '-',
      `${of('gatewayCpuMs').toFixed(2)} ms`,
      [of('gatewayCpu'), of('enginesCpu'), of('clientCpu')].map((share) => `${Math.round(share * 100)} %`).join(' / '),
      `${ms(of('lagP99'))} ms`,
      `${ms(of('lateP99'))} ms`,
      percent(of('busiestShard')),
    ];
  });
  const head = [
    '',
    'mispredicted tokens',
    'look-ups that hit',
    'gateway CPU a request',
    'CPU: gateway / engines / client',
    'loop lag p99 <=',
    'late p99',
    'busiest shard has',
  ];
  return table(head, rows);
}

/** @param {readonly import('./bench.mjs').VariantResult[]} variants */
function aftermathTable(variants) {
  const rows = variants.flatMap(({ variant, rounds }) =>
    rounds.flatMap(({ aftermath }) =>
      aftermath === null
        ? []
        : [
            [
              variant.name,
              String(aftermath.exposed),
              String(aftermath.failures),
              String(aftermath.unexplained),
              percent(aftermath.hitBefore),
              percent(aftermath.hitAfter),
              percent(aftermath.hitLowest),
              aftermath.backAfter < 0 ? 'not' : String(aftermath.backAfter),
            ],
          ],
    ),
  );
  const head = [
    '',
    'were with it',
    'failed',
    'failed elsewhere',
    'hit before',
    'first 40 after',
    'least in 20',
    'as before after',
  ];
  return table(head, rows);
}

/** @param {readonly string[]} head @param {readonly (readonly string[])[]} rows */
function table(head, rows) {
  const rule = ['---', ...head.slice(1).map(() => '---:')];
  return [head, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** @param {number} ratio */
function percent(ratio) {
  return `${(ratio * 100).toFixed(1)} %`;
}

/** @param {number} seconds */
function ms(seconds) {
  return (seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0);
}

/** @param {number} value */
function number(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : 'never';
}
