/** The result as Markdown: the table of targets first, then a table for each case. */
import { medianOf, spreadOf, valuesOf } from './stats.mjs';
import { overPenstock } from './verdict.mjs';

/** @typedef {import('./types.d.ts').Result} Result */
/** @typedef {import('./types.d.ts').CaseResult} CaseResult */
/** @typedef {import('./types.d.ts').PeerResult} PeerResult */
/** @typedef {{ title: string, cell: (result: PeerResult, spec: CaseResult) => string }} Column */

const outcomes = { met: 'met', missed: '**missed**', 'within-noise': 'no difference', 'not-measured': 'not measured' };
const none = '-';

/**
 * @param {string} title
 * @param {string} metric
 * @param {number} scale
 * @param {number} digits
 * @returns {Column}
 */
function column(title, metric, scale = 1, digits = 2) {
  return {
    title,
    cell: (result) => {
      const median = medianOf(result, metric);
      return median === null ? none : fixed(median * scale, digits);
    },
  };
}

/**
 * With the middle half of the rounds.
 * @param {string} title
 * @param {string} metric
 * @returns {Column}
 */
function spreadColumn(title, metric) {
  return {
    title,
    cell: (result) => {
      const values = valuesOf(result, metric);
      if (result.failure !== null || values.length === 0) return none;
      const { median, low, high } = spreadOf(values);
      return `${short(median)} (${short(low)}..${short(high)})`;
    },
  };
}

/** @param {string} title @param {string} metric @returns {Column} */
function timesColumn(title, metric) {
  return {
    title,
    cell: ({ peer }, spec) => {
      const times = overPenstock(spec, peer, metric);
      return times === null ? none : fixed(times, 2);
    },
  };
}

/** @type {Column} Busy is the share of one core: a closed loop is full when one of the three is near 100 %. */
const busy = {
  title: 'busy: proxy / engine / generator',
  cell: (result) =>
    ['proxyCpuRatio', 'engineCpuRatio', 'generatorCpuRatio']
      .map((metric) => {
        const median = medianOf(result, metric);
        return median === null ? none : `${Math.round(median * 100)} %`;
      })
      .join(' / '),
};
const memory = [
  column('RSS peak MB', 'rssPeakKb', 1 / 1024, 0),
  column('page faults each', 'minorFaultsPerUnit', 1, 2),
];
/** @type {Column} */
const note = { title: 'note', cell: ({ failure }) => failure ?? '' };

const requestColumns = [
  column('p50 ms', 'p50Us', 1e-3, 3),
  column('p99 ms', 'p99Us', 1e-3, 3),
  timesColumn('p50, x Penstock', 'p50Us'),
  spreadColumn('CPU us/request', 'cpuUs'),
  timesColumn('CPU, x Penstock', 'cpuUs'),
  ...memory,
  column('requests', 'requests', 1, 0),
  busy,
  note,
];
const slowColumns = [
  column('RSS growth MB', 'rssGrowthKb', 1 / 1024, 1),
  column('slow clients done', 'slowCompleted', 1, 0),
  column('others: p99 ms alone', 'othersAloneP99Us', 1e-3, 3),
  column('others: p99 ms meanwhile', 'othersP99Us', 1e-3, 3),
  spreadColumn('growth', 'othersP99Growth'),
  busy,
  note,
];
/** @type {Record<import('./types.d.ts').Measure, Column[]>} */
const columnsOf = {
  requests: requestColumns,
  churn: requestColumns,
  streams: [
    column('TTFT p50 ms', 'ttftP50Us', 1e-3),
    column('TTFT p99 ms', 'ttftP99Us', 1e-3),
    column('event delay p50 ms', 'delayP50Us', 1e-3),
    column('event delay p99 ms', 'delayP99Us', 1e-3),
    column('gap p99 ms', 'gapP99Us', 1e-3),
    spreadColumn('CPU us/event', 'cpuUs'),
    timesColumn('CPU, x Penstock', 'cpuUs'),
    ...memory,
    column('events', 'events', 1, 0),
    busy,
    note,
  ],
  'slow-readers': slowColumns,
  'slow-writers': slowColumns,
  'open-streams': [
    spreadColumn('RSS KB a stream', 'rssPerStreamKb'),
    column('RSS before MB', 'rssBeforeKb', 1 / 1024, 0),
    column('RSS after MB', 'rssAfterKb', 1 / 1024, 0),
    column('streams', 'streams', 1, 0),
    note,
  ],
};

/**
 * @param {Result} result
 * @param {readonly { file: string, title: string }[]} charts
 */
export function markdownOf(result, charts) {
  const { environment: env, settings, missing } = result;
  const versions = Object.entries(env.versions).map(([name, version]) => `${name} ${version}`);
  return [
    '# Penstock beside other proxies',
    '',
    `\`${env.command}\`, ${result.startedAt}, ${Math.round(result.durationS / 60)} min; commit ${env.commit}.`,
    `${env.cpu}, ${env.cores} cores, Linux ${env.kernel}, Node ${env.node}.`,
    `${versions.join(', ')}.`,
    ...(missing.length > 0 ? ['', `Missing on this machine: ${missing.join(', ')}.`] : []),
    '',
    `${settings.rounds} rounds of ${settings.seconds} s for each peer, interleaved (some cases need longer ones: each says so).`,
    `Figures are medians over the rounds, in brackets the middle half of them. Raw HTTP is counted by ${settings.generator}.`,
    'CPU is that of all processes and threads of a peer. Engine, generator and proxy share the cores of this machine:',
    'latencies are good to compare, not to plan with. How to read it: [native-bench/README.md](../README.md).',
    '',
    '## Targets',
    '',
    verdictTable(result),
    '',
    ...charts.map(({ file, title }) => `![${title}](${file})`),
    '',
    ...result.cases.flatMap((spec) => [...caseSection(spec), '']),
  ].join('\n');
}

/** @param {Result} result */
export function verdictTable({ verdicts }) {
  const rows = verdicts.map(({ target, what, limit, outcome, value, unit, note: said }) => [
    String(target),
    what,
    limit,
    value === null
      ? none
      : `${short(value.median)} (${short(value.low)}..${short(value.high)})${unit === '' ? '' : ` ${unit}`}`,
    outcomes[outcome],
    said,
  ]);
  return table(['#', 'what', 'target', 'measured', 'outcome', 'note'], rows);
}

/** @param {CaseResult} spec */
function caseSection(spec) {
  const columns = columnsOf[spec.measure];
  const rows = spec.peers.map((result) => [result.peer, ...columns.map(({ cell }) => cell(result, spec))]);
  return [
    `## ${spec.name}`,
    '',
    `${spec.summary}; rounds of ${spec.seconds} s.`,
    '',
    table(['peer', ...columns.map(({ title }) => title)], rows),
  ];
}

/**
 * @param {readonly string[]} titles
 * @param {readonly (readonly string[])[]} rows
 */
function table(titles, rows) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.map(escaped).join(' | ')} |`;
  return [line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('\n');
}

/** A message of a peer may hold anything. @param {string} cell */
function escaped(cell) {
  return cell.replace(/\s+/g, ' ').replace(/\|/g, '\\|').slice(0, 300);
}

/** Three digits that count. @param {number} value */
function short(value) {
  if (!Number.isFinite(value)) return none;
  const magnitude = Math.abs(value);
  return fixed(value, magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : 3);
}

/** @param {number} value @param {number} digits */
function fixed(value, digits) {
  return value.toFixed(digits);
}
