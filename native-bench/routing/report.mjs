/** A result as Markdown, as JSON and as charts. */
import { lineChartSvg } from '../chart.mjs';

/**
 * @typedef {object} Result
 * @property {import('../../loadtest/types.d.ts').Environment} environment
 * @property {number} seeds
 * @property {boolean} isQuick
 * @property {({ name: string, title: string } & import('./experiments/index.mjs').Outcome)[]} experiments
 */

/** @param {import('./experiments/index.mjs').Check} check */
export function isMet({ value, relation, limit }) {
  return relation === '<=' ? value <= limit : value >= limit;
}

/** @param {Result} result */
export function verdictTable({ experiments }) {
  const rows = experiments.flatMap(({ name, checks }) =>
    checks.map((check) => {
      const outcome = isMet(check) ? 'pass' : '**miss**';
      return `| ${name} | ${check.what} | ${number(check.value)} | ${check.relation} ${check.limit} | ${outcome} |`;
    }),
  );
  return ['| | What | Found | Wanted | |', '| --- | --- | ---: | ---: | --- |', ...rows].join('\n');
}

/** @param {Result} result */
export function markdownOf(result) {
  const { environment: env, experiments, seeds, isQuick } = result;
  const parts = [
    '# Routing policies on a simulated fleet',
    '',
    `Written by \`${env.command}\`: ${seeds} seed${seeds === 1 ? '' : 's'}${isQuick ? ', quick' : ''}, Node ${env.node}, ${env.cpu}, commit ${env.commit}.`,
    'Time is simulated, so another machine finds the same figures. What is simulated, and what that cannot tell: [README](../README.md).',
    '',
    verdictTable(result),
  ];
  for (const { name, title, rows, bounds, curve } of experiments) {
    parts.push('', `## ${name}: ${title}`, '');
    if ('infinite' in bounds) {
      parts.push(
        `One cache without an end would hit ${percent(bounds.infinite)}, one pooled LRU of all sizes ${percent(bounds.pooled)}.`,
        '',
      );
    }
    parts.push(tableOf(rows));
    if (curve !== null) parts.push('', `![${curve.title}](${chartFile(name)})`);
  }
  return `${parts.join('\n')}\n`;
}

/** @param {Result} result @returns {{ file: string, svg: string }[]} */
export function chartsOf({ experiments, environment, seeds }) {
  const subtitle = `simulated, commit ${environment.commit}, ${seeds} seeds`;
  const seconds = (/** @type {number} */ value) => `${Number(value.toPrecision(2))} s`;
  return experiments.flatMap(({ name, curve }) => {
    if (curve === null) return [];
    const { title, series } = curve;
    const xAxis = { name: curve.x, isLog: false, format: (/** @type {number} */ value) => String(Math.round(value)) };
    const yAxis = { name: curve.y, isLog: true, format: seconds };
    return [{ file: chartFile(name), svg: lineChartSvg({ title, subtitle, series, xAxis, yAxis }) }];
  });
}

/** @param {string} name */
function chartFile(name) {
  return `${name.toLowerCase()}.svg`;
}

/** @param {readonly import('./experiments/index.mjs').Row[]} rows */
function tableOf(rows) {
  const extra = Object.keys(rows[0].extra);
  const head = ['', 'hit', 'TTFT mean', 'p50', 'p90', 'p99', 'mispredicted', 'preempted', ...extra];
  const lines = rows.map(({ label, measures: m, extra: values }) => [
    label,
    percent(m.hit),
    ...[m.ttftMean, m.ttftP50, m.ttftP90, m.ttftP99].map((value) => `${number(value)} s`),
    percent(m.mispredicted),
    `${number(m.preemptions)} ‰`,
    ...extra.map((name) => number(values[name])),
  ]);
  const rule = ['---', ...head.slice(1).map(() => '---:')];
  return [head, rule, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** @param {number} ratio */
function percent(ratio) {
  return `${(ratio * 100).toFixed(1)} %`;
}

/** @param {number} value */
function number(value) {
  return String(Number(value.toPrecision(3)));
}
