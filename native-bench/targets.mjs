/**
 * What Penstock wants to reach, as data. A check compares one number of `subject` with the same number of a peer, round by
 * round, in the same case; verdict.mjs judges it.
 *
 * kind `ratio`: subject / over. `difference`: subject - over. `value`: subject alone. `growth`: (subject here / subject in
 * `base`) / (over here / over in `base`).
 * @typedef {{ target: number, what: string, kind: 'ratio' | 'difference' | 'value' | 'growth', case: string, base?: string,
 *   metric: string, subject: string, over?: string, max: number, unit: '' | 'ms' | 'MB' | 'KB', scale?: number }} Check
 */

const cpu = 'cpuUs';
/** The application-level gateway and the proxy on undici, and how much less CPU than theirs Penstock wants to take. */
export const nodeGoals = /** @type {const} */ ([
  ['undici', 2.5],
  ['portkey', 20],
]);
/** Without a target of its own, "unchanged" means: not over a tenth more than what the load alone does to direct. */
const unchanged = 1.1;

/**
 * @param {number} target
 * @param {string} what
 * @param {string} name
 * @param {string} metric
 * @param {string} over
 * @param {number} max
 * @returns {Check}
 */
function ratio(target, what, name, metric, over, max) {
  return { target, what, kind: 'ratio', case: name, metric, subject: 'penstock', over, max, unit: '' };
}

/**
 * @param {number} target
 * @param {string} what
 * @param {string} name
 * @param {string} metric
 * @param {number} max
 */
function addedMs(target, what, name, metric, max) {
  /** @type {Check} */
  const check = {
    target,
    what,
    kind: 'difference',
    case: name,
    metric,
    subject: 'penstock',
    over: 'direct',
    max,
    unit: 'ms',
    scale: 1e-3,
  };
  return check;
}

const uploads = ['upload-3mb-c1', 'upload-3mb-c8', 'upload-3mb-c8-image'];
const responses = ['response-3mb-c1', 'response-3mb-c8'];
const streams = ['stream-paced-c1000', 'stream-flatout-c100'];

/** @type {readonly Check[]} */
export const checks = [
  ...uploads.flatMap((name) => [
    ratio(1, `${name}: CPU/request over HAProxy`, name, cpu, 'haproxy', 0.5),
    ratio(1, `${name}: CPU/request over nginx unbuffered`, name, cpu, 'nginx-unbuffered', 0.25),
    ratio(1, `${name}: p50 over HAProxy`, name, 'p50Us', 'haproxy', 0.8),
  ]),
  ...responses.flatMap((name) => [
    ratio(2, `${name}: CPU/request over HAProxy`, name, cpu, 'haproxy', 0.5),
    ratio(2, `${name}: p50 over direct`, name, 'p50Us', 'direct', 1.15),
  ]),
  ...[
    ['direct', 1.3],
    ['nginx', 1],
    ['nginx-unbuffered', 1],
    ['haproxy', 1],
    ['envoy', 1],
  ].map(([over, max]) => {
    /** @type {Check} */
    const check = {
      target: 3,
      what: `growth of p50 from 3 KB to 3 MB uploads, over that of ${over}`,
      kind: 'growth',
      case: 'upload-3mb-c1',
      base: 'upload-3kb-c1',
      metric: 'p50Us',
      subject: 'penstock',
      over: String(over),
      max: Number(max),
      unit: '',
    };
    return check;
  }),
  ratio(4, 'upload-3kb-c32: CPU/request over HAProxy', 'upload-3kb-c32', cpu, 'haproxy', 1.2),
  ratio(4, 'upload-3kb-c32: p99 over HAProxy', 'upload-3kb-c32', 'p99Us', 'haproxy', 1.5),
  ...streams.flatMap((name) => [
    ratio(5, `${name}: CPU/event over HAProxy`, name, cpu, 'haproxy', 1.3),
    ratio(5, `${name}: CPU/event over nginx unbuffered`, name, cpu, 'nginx-unbuffered', 1),
  ]),
  addedMs(5, 'stream-paced-c1000: added p99 inter-token delay', 'stream-paced-c1000', 'delayP99Us', 5),
  addedMs(6, 'prompt-220kb-c100: added TTFT p50', 'prompt-220kb-c100', 'ttftP50Us', 5),
  {
    target: 7,
    what: 'slow-readers-c200: RSS growth',
    kind: 'value',
    case: 'slow-readers-c200',
    metric: 'rssGrowthKb',
    subject: 'penstock',
    max: 64,
    unit: 'MB',
    scale: 1 / 1024,
  },
  ratio(
    7,
    "slow-readers-c200: growth of other clients' p99, over that of direct",
    'slow-readers-c200',
    'othersP99Growth',
    'direct',
    unchanged,
  ),
  {
    target: 8,
    what: 'open-streams-c5000: RSS of an open stream',
    kind: 'value',
    case: 'open-streams-c5000',
    metric: 'rssPerStreamKb',
    subject: 'penstock',
    max: 24,
    unit: 'KB',
  },
  ...['upload-3kb-c32', 'upload-3mb-c8'].map((name) => {
    /** @type {Check} */
    const check = {
      target: 10,
      what: `${name}: CPU/request, two shards over one`,
      kind: 'ratio',
      case: name,
      metric: cpu,
      subject: 'penstock-2',
      over: 'penstock',
      max: 1.1,
      unit: '',
    };
    return check;
  }),
];
