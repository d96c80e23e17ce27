/** Flame graphs: no weight gets lost between a profile and its drawing, and the drawing needs nothing from outside. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** The rig is plain JavaScript: what is used of it is said here. */
interface Frame {
  readonly name: string;
  readonly area: string;
  readonly totalUs: number;
  readonly selfUs: number;
  readonly children: ReadonlyMap<string, Frame>;
  selfBy(keyOf: (frame: Frame) => string): [string, number][];
}
interface Rig {
  treeOf: (profile: object, window: { fromUs: number; toUs: number }) => { root: Frame; idleUs: number };
  threadKindOf: (profile: object) => string;
  threadsOf: (lines: readonly string[], pid: number) => Promise<{ name: string; root: Frame }[]>;
  flameSvg: (root: Frame, heading: { title: string; subtitle: string }) => string;
}

async function rig(file: string): Promise<Rig> {
  return (await import(new URL(`../flamegraphs/${file}`, import.meta.url).href)) as Rig;
}

const node = (id: number, functionName: string, url = '', children: number[] = []): object => ({
  id,
  callFrame: { functionName, url, lineNumber: 9, columnNumber: 0, scriptId: '0' },
  children,
});

/** Ten samples, 1 ms apart, from the instant 1000: idle, idle, push ×3, writev ×2, gc, program, an odd name. */
const profile = {
  startTime: 1000,
  endTime: 11_000,
  nodes: [
    node(1, '(root)', '', [2, 3, 7, 8]),
    node(2, '(idle)'),
    node(3, 'onBody', 'file:///somewhere/dist/shard/thread.js', [4, 6]),
    node(4, 'push', 'file:///somewhere/dist/http/json-scanner.js', [5]),
    node(5, '<script>"&\u0001', 'file:///somewhere/node_modules/pino/lib/proto.js'),
    node(6, 'writev'),
    node(7, '(garbage collector)'),
    node(8, '(program)'),
  ],
  samples: [2, 2, 4, 4, 4, 6, 6, 7, 8, 5],
  timeDeltas: [1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000],
};

test('flamegraph: the weights of a profile add up to the time, idle apart', async () => {
  const { treeOf, threadKindOf } = await rig('cpu-profile.mjs');
  const { root, idleUs } = treeOf(profile, { fromUs: 0, toUs: 100_000 });
  expect(idleUs).toBeCloseTo(2000);
  expect(root.totalUs).toBeCloseTo(8000);
  const onBody = root.children.get('onBody shard/thread.js:10')!;
  expect(onBody).toMatchObject({ area: 'shard', selfUs: 0 });
  expect(onBody.totalUs).toBeCloseTo(6000);
  const areas = Object.fromEntries(root.selfBy(({ area }) => area).map(([area, us]) => [area, Math.round(us)]));
  expect(areas).toEqual({ http: 3000, native: 3000, gc: 1000, packages: 1000 });
  expect(threadKindOf(profile)).toBe('shard');
});

test('flamegraph: what lies outside the load is not in the tree', async () => {
  const { treeOf } = await rig('cpu-profile.mjs');
  // The samples at 4000, 5000 and 6000, of `push`.
  const { root, idleUs } = treeOf(profile, { fromUs: 3500, toUs: 6500 });
  expect(idleUs).toBe(0);
  expect(root.totalUs).toBeCloseTo(3000);
  expect(root.selfBy(({ area }) => area)).toEqual([['http', root.totalUs]]);
});

test('flamegraph: a drawing holds every frame, escaped, and names nothing outside of it', async () => {
  const { treeOf } = await rig('cpu-profile.mjs');
  const { flameSvg } = await rig('svg.mjs');
  const { root } = treeOf(profile, { fromUs: 0, toUs: 100_000 });
  const svg = flameSvg(root, { title: 'a < b', subtitle: '"c" & d' });
  expect(svg.match(/<g data-x/g)).toHaveLength(7); // All nodes but the root and the idle one, and `all`.
  expect(svg).toContain('a &lt; b');
  expect(svg).toContain('&lt;script&gt;&quot;&amp;? pino/lib/proto.js:10');
  expect(svg).not.toContain('<script>"');
  expect(svg.replace('xmlns="http://www.w3.org/2000/svg"', '')).not.toMatch(/https?:|href|@import|url\(|somewhere/);
  const widths = [...svg.matchAll(/data-w="([0-9.]+)" data-d="1"/g)].map(([, share]) => Number(share));
  expect(
    widths.reduce((sum, share) => sum + share, 0),
    'the frames below `all` fill it',
  ).toBeCloseTo(1);
});

test('flamegraph: stacks of perf go to the thread they are of, the kernel and native code named', async () => {
  const { threadsOf } = await rig('perf.mjs');
  const script = `  100/100    2000000:
\t          b09a7a uv__io_poll (/usr/bin/node)

  100/103    2000000:
\t ffffffff81000c82 tcp_sendmsg+0x22 ([kernel.kallsyms])
\t    7f61923bc1de writev (/usr/lib/libc.so.6)
\t    7f61923bc1df JS:*write file:///somewhere/dist/relay/reply.js:12:3 (/tmp/perf-100.map)
\t    7f61923bc1d0 [unknown] (/tmp/perf-100.map)

  100/103    1000000:
\t    7f61923bc1de us_socket_write (/somewhere/uws_linux_x64_115.node)

  100/104    2000000:
\t          b09a7a v8::internal::Heap::Scavenge (/usr/bin/node)
\t          b09a7b node::(anonymous namespace)::PlatformWorkerThread (/usr/bin/node)
`;
  const threads = await threadsOf(script.split('\n'), 100);
  expect(threads.map(({ name, root }) => [name, root.totalUs])).toEqual([
    ['control', 2000],
    ['shard-0', 3000],
    ['v8-platform', 2000],
  ]);
  const shard = threads[1]!.root;
  expect(shard.selfBy(({ area }) => area)).toEqual([
    ['kernel', 2000],
    ['listener', 1000],
  ]);
  expect([...shard.children.get('write relay/reply.js:12')!.children.keys()]).toEqual(['writev']);
});

test(
  'flamegraph: when chat-3kb is profiled for a second, there is a graph of each thread and a summary',
  { timeout: 50_000 },
  async () => {
    const out = mkdtempSync(join(tmpdir(), 'penstock-flamegraph-test-'));
    try {
      const run = fileURLToPath(new URL('../flamegraphs/run.mjs', import.meta.url));
      const child = spawn(process.execPath, [run, 'chat-3kb', '--duration', '1', '--rate', '50', '--out', out], {
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: 45_000,
      });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (text: Buffer) => (output += text.toString()));
      const [code] = (await once(child, 'close')) as [number];
      expect(code, output).toBe(0);
      const files = readdirSync(out).filter((file) => !file.endsWith('.cpuprofile'));
      expect(files.sort()).toEqual(['control.svg', 'log.svg', 'shard-0.svg', 'summary.md']);
      expect(readFileSync(join(out, 'summary.md'), 'utf8')).toMatch(/\| \[shard-0\]\(shard-0\.svg\) \| [0-9.]+ % \|/);
      expect(readFileSync(join(out, 'shard-0.svg'), 'utf8')).toMatch(/<title>[^<]* shard\/[a-z-]+\.js:/);
    } finally {
      rmSync(out, { recursive: true, force: true });
    }
  },
);
