/** The parts of native-bench that decide what is said: no process is started here. */
import { expect, test } from 'vitest';
import type {
  CaseResult,
  Metrics,
  Outcome,
  PeerResult,
  RequestLoadResult,
  Result,
  Spread,
  Verdict,
} from '../native-bench/types.d.ts';

interface Check {
  target: number;
  what: string;
  kind: 'ratio' | 'difference' | 'value' | 'growth';
  case: string;
  base?: string;
  metric: string;
  subject: string;
  over?: string;
  max: number;
  unit: '' | 'ms' | 'MB' | 'KB';
  scale?: number;
}

/** The bench is JavaScript, so the shapes are said here. */
const moduleOf = async <Shape>(file: string): Promise<Shape> =>
  (await import(new URL(`../native-bench/${file}`, import.meta.url).href)) as Shape;

const { bodyOf } = await moduleOf<{ bodyOf: (spec: object) => Buffer }>('bodies.mjs');
const { quantile, spreadOf } = await moduleOf<{
  quantile: (values: readonly number[], q: number) => number;
  spreadOf: (values: readonly number[]) => Spread;
}>('stats.mjs');
const { contradictions, outcomeOf, standingsOf, verdictOf, verdictsOf } = await moduleOf<{
  contradictions: (before: Record<string, string>, now: Record<string, string>) => string[];
  outcomeOf: (value: Spread, max: number) => Outcome;
  standingsOf: (results: readonly CaseResult[]) => Record<string, string>;
  verdictOf: (check: Check, results: readonly CaseResult[]) => Verdict;
  verdictsOf: (results: readonly CaseResult[]) => Verdict[];
}>('verdict.mjs');
const { parseWrk } = await moduleOf<{ parseWrk: (output: string) => RequestLoadResult }>('generators/wrk.mjs');
const { parseH2load } = await moduleOf<{ parseH2load: (output: string, log: string) => RequestLoadResult }>(
  'generators/h2load.mjs',
);
const { markdownOf, verdictTable } = await moduleOf<{
  markdownOf: (result: Result, charts: readonly { file: string; title: string }[]) => string;
  verdictTable: (result: Result) => string;
}>('report.mjs');
const { chartsOf } = await moduleOf<{ chartsOf: (result: Result) => { file: string; svg: string }[] }>('charts.mjs');
const { parseSettings } = await moduleOf<{
  parseSettings: (argv: string[]) => {
    action: string;
    settings: { cases: { name: string; targets: number[] }[]; peers: string[] | null; rounds: number; seconds: number };
  };
}>('settings.mjs');

function peerResult(peer: string, rounds: readonly Metrics[], failure: string | null = null): PeerResult {
  return { peer, version: '1.0', failure, rounds: rounds.map((metrics) => ({ metrics, problems: [] })) };
}

function caseResult(name: string, peers: PeerResult[], bytes = 3072): CaseResult {
  return {
    name,
    family: 'upload',
    summary: 'a case',
    measure: 'requests',
    unit: 'request',
    bytes,
    connections: 1,
    seconds: 1,
    peers,
  };
}

function resultWith(cases: CaseResult[]): Result {
  return {
    startedAt: '2026-01-02T03:04:05.000Z',
    durationS: 60,
    environment: {
      cpu: 'a CPU',
      cores: 2,
      kernel: '6.1',
      node: 'v20',
      versions: { haproxy: '2.6' },
      commit: 'abc1234',
      command: 'npm run native-bench',
    },
    settings: { rounds: 3, seconds: 1, generator: 'wrk' },
    missing: ['envoy'],
    cases,
    verdicts: verdictsOf(cases),
  };
}

const cpu = (...values: number[]): Metrics[] => values.map((cpuUs) => ({ cpuUs, p50Us: cpuUs }));
const halfOfHaproxy: Check = {
  target: 1,
  what: 'CPU',
  kind: 'ratio',
  case: 'upload-3mb-c1',
  metric: 'cpuUs',
  subject: 'penstock',
  over: 'haproxy',
  max: 0.5,
  unit: '',
};

test('native-bench: when values are few, the median and the middle half are between them', () => {
  expect(quantile([3, 1, 2], 0.5)).toBe(2);
  expect(quantile([1, 2], 0.5)).toBe(1.5);
  expect(spreadOf([5, 1, 4, 2, 3])).toEqual({ median: 3, low: 2, high: 4 });
  expect(quantile([], 0.5)).toBeNaN();
});

test('native-bench: when the spread lies on one side of the limit it decides, and when around it nothing does', () => {
  expect(outcomeOf({ median: 0.4, low: 0.3, high: 0.5 }, 0.5)).toBe('met');
  expect(outcomeOf({ median: 0.6, low: 0.51, high: 0.7 }, 0.5)).toBe('missed');
  expect(outcomeOf({ median: 0.4, low: 0.3, high: 0.6 }, 0.5)).toBe('within-noise');
});

test('native-bench: when both sides ran, the ratio is taken round by round', () => {
  // Paired: each round is 0.4, although the machine was ten times slower in the second one.
  const results = [
    caseResult('upload-3mb-c1', [peerResult('penstock', cpu(4, 40, 8)), peerResult('haproxy', cpu(10, 100, 20))]),
  ];
  expect(verdictOf(halfOfHaproxy, results)).toMatchObject({
    outcome: 'met',
    value: { median: 0.4, low: 0.4, high: 0.4 },
  });
});

test.each(['haproxy', 'penstock'])('native-bench: when %s failed, nothing is met and nobody is ahead', (failed) => {
  const peers = [peerResult('penstock', cpu(1, 1, 1)), peerResult('haproxy', cpu(10, 10, 10))];
  const results = [
    caseResult(
      'upload-3mb-c1',
      peers.map((peer) => (peer.peer === failed ? { ...peer, failure: 'failed: status 502' } : peer)),
    ),
  ];
  const verdict = verdictOf(halfOfHaproxy, results);
  expect(verdict).toMatchObject({ outcome: 'not-measured', value: null });
  expect(verdict.note).toContain('failed: status 502');
  expect(standingsOf(results)).toEqual({});
});

test('native-bench: when a peer is missing or was not asked for, the verdict says so', () => {
  const missing = [caseResult('upload-3mb-c1', [peerResult('penstock', cpu(1)), peerResult('haproxy', [], 'missing')])];
  expect(verdictOf(halfOfHaproxy, missing).note).toContain('missing');
  expect(verdictOf(halfOfHaproxy, [caseResult('upload-3mb-c1', [peerResult('penstock', cpu(1))])])).toMatchObject({
    outcome: 'not-measured',
    note: 'haproxy was not measured in upload-3mb-c1',
  });
});

test('native-bench: when growth is asked, it is the growth of one over that of the other', () => {
  const results = [
    caseResult('upload-3kb-c1', [peerResult('penstock', cpu(2, 2)), peerResult('direct', cpu(1, 1))]),
    caseResult('upload-3mb-c1', [peerResult('penstock', cpu(24, 24)), peerResult('direct', cpu(10, 10))]),
  ];
  const check: Check = { ...halfOfHaproxy, kind: 'growth', base: 'upload-3kb-c1', over: 'direct', max: 1.3 };
  expect(verdictOf(check, results)).toMatchObject({ outcome: 'met', value: { median: 1.2 } });
});

test('native-bench: when Node proxies ran in several cases, the worst case decides', () => {
  const results = [
    caseResult('upload-3kb-c32', [peerResult('penstock', cpu(10)), peerResult('undici', cpu(100))]),
    caseResult('response-3mb-c8', [peerResult('penstock', cpu(10)), peerResult('undici', cpu(20))]),
  ];
  const verdict = verdictsOf(results).find(({ target, what }) => target === 9 && what.includes('undici'));
  expect(verdict).toMatchObject({ outcome: 'missed', value: { median: 0.5 } });
  expect(verdict?.note).toContain('response-3mb-c8');
});

test('native-bench: when two runs differ inside the noise they agree, and when the order turns they do not', () => {
  const run = (...own: number[]) =>
    standingsOf([caseResult('a', [peerResult('penstock', cpu(...own)), peerResult('haproxy', cpu(10, 10, 10))])]);
  expect(Object.values(run(5, 6, 5))).toEqual(['ahead', 'ahead']);
  expect(Object.values(run(9, 10, 11))).toEqual(['no difference', 'no difference']);
  expect(Object.values(run(5, 6, 11))).toEqual(['no difference', 'no difference']);
  expect(contradictions(run(5, 6, 5), run(9, 10, 11))).toEqual([]);
  expect(contradictions(run(5, 6, 5), run(15, 16, 15))).toHaveLength(2);
});

test('native-bench: when wrk ends, its figures and its errors are read', () => {
  const output = `Running 1s test @ http://127.0.0.1:1/
  1 threads and 8 connections
native-bench {"requests":200,"durationUs":1000000,"bytesRead":90000,"connect":0,"read":3,"write":0,"status":2,"timeout":0,"p50":120,"p90":200,"p99":900,"p999":1500,"max":1600,"cpuS":0.250}
`;
  expect(parseWrk(output)).toEqual({
    requests: 200,
    durationS: 1,
    bytesRead: 90_000,
    errors: { read: 3, status: 2 },
    p50Us: 120,
    p90Us: 200,
    p99Us: 900,
    p999Us: 1500,
    maxUs: 1600,
    generatorCpuS: 0.25,
  });
  expect(() => parseWrk('unable to connect')).toThrow('unable to connect');
});

test('native-bench: when h2load ends, failed requests count as errors and not as fast ones', () => {
  const output = `traffic: 5.00KB (5120) total, 1B (1) headers
0m0.001s 0m0.002s
0m1.500s 0m0.250s
`;
  const log = '1\t200\t100\n2\t200\t300\n3\t503\t1\n4\t-1\t1\n';
  expect(parseH2load(output, log)).toMatchObject({
    requests: 2,
    bytesRead: 5120,
    errors: { status: 2 },
    p50Us: 200,
    generatorCpuS: 1.75,
  });
});

test.each([
  ['messages', 'last'],
  ['messages', 'first'],
  ['image', 'last'],
  ['image', 'first'],
])(
  'native-bench: when a body of %s with the model %s is made, it is exact, valid and the same again',
  (content, modelAt) => {
    for (const bytes of [3072, 65_536, 3 * 1024 * 1024]) {
      const body = bodyOf({ bytes, content, modelAt });
      expect(body).toHaveLength(bytes);
      expect(bodyOf({ bytes, content, modelAt }).equals(body)).toBe(true);
      const parsed = JSON.parse(body.toString()) as { model: string; messages: unknown[] };
      expect(parsed.model).toBe('demo-model');
      expect(Object.keys(parsed).at(modelAt === 'first' ? 0 : -1)).toBe('model');
      if (bytes > 3_000_000 && content === 'messages') expect(parsed.messages.length).toBeGreaterThan(20_000);
    }
  },
);

test('native-bench: when a result is rendered, targets come first, failures keep their reason, missing peers are named', () => {
  const result = resultWith([
    caseResult('upload-3mb-c1', [
      peerResult('direct', [{ p50Us: 1000 }]),
      peerResult('penstock', cpu(400, 400, 400)),
      peerResult('haproxy', cpu(1000, 1000, 1000)),
      peerResult('portkey', [], 'failed: status 500: a | b'),
    ]),
  ]);
  const text = markdownOf(result, [{ file: 'a.svg', title: 'a chart' }]);
  expect(text.indexOf('## Targets')).toBeLessThan(text.indexOf('## upload-3mb-c1'));
  expect(text).toContain('Missing on this machine: envoy.');
  expect(text).toContain('failed: status 500: a \\| b');
  expect(text).toContain('![a chart](a.svg)');
  expect(text).toContain('abc1234');
  expect(text).toMatch(/\| haproxy \| 1\.000 .*\| 2\.50 \|/);
  expect(verdictTable(result)).toContain('| 0.400 (0.400..0.400) | met |');
});

test('native-bench: when several sizes were measured, latency and CPU are drawn against them', () => {
  const result = resultWith([
    caseResult('upload-3kb-c1', [peerResult('penstock', cpu(10))], 3072),
    caseResult('upload-3mb-c1', [peerResult('penstock', cpu(400))], 3_145_728),
  ]);
  expect(chartsOf(result).map(({ file }) => file)).toEqual(['latency-upload-c1.svg', 'cpu-upload-c1.svg']);
  for (const { svg } of chartsOf(result)) {
    expect(svg).toMatch(/^<svg [^]*<polyline [^]*<\/svg>\n$/);
    expect(svg).not.toContain('NaN');
  }
});

test('native-bench: when no case is named every target has one, and a target names its own', () => {
  const { settings } = parseSettings([]);
  expect(settings).toMatchObject({ rounds: 5, peers: null });
  // Target 9 is about all of them.
  const targets = new Set(settings.cases.flatMap((spec) => spec.targets));
  expect([...targets].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(parseSettings(['target-4']).settings.cases.map(({ name }) => name)).toEqual(['upload-3kb-c32']);
  expect(parseSettings(['--quick']).settings).toMatchObject({ rounds: 2, seconds: 1 });
  expect(parseSettings(['all', '--peers', 'nginx']).settings.peers).toEqual(['direct', 'penstock', 'nginx']);
});

test.each([[['target-99']], [['--peers', 'squid']], [['--rounds', '0']], [['--generator', 'ab']]])(
  'native-bench: when the command line is %j, it is refused with a reason',
  (argv) => {
    expect(() => parseSettings(argv)).toThrow(/there is no|must be/);
  },
);
