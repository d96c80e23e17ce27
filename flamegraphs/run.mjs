/**
 * `npm run flamegraph -- <scenario>`: samples every thread of an own gateway under a load test scenario and draws one
 * flame graph a thread, beside a summary in numbers.
 *
 * To read: `record.mjs` runs the load, `cpu-profile.mjs` and `perf.mjs` make trees of samples (`frame.mjs`), `areas.mjs`
 * says whose code a frame is, `svg.mjs` draws, `summary.mjs` adds up.
 *
 * Exit code 0: drawn, or the usage shown. 1: the load failed, or the command line is wrong.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { environmentOf } from '../loadtest/environment.mjs';
import { scenarios } from '../loadtest/scenarios/index.mjs';
import { parseSettings } from '../loadtest/settings.mjs';
import { perfProblem } from './perf.mjs';
import { recordPerf, recordV8 } from './record.mjs';
import { summaryOf } from './summary.mjs';
import { flameSvg } from './svg.mjs';

const usage = `npm run flamegraph -- <scenario> [flags]

Scenarios: ${scenarios.map(({ name }) => name).join(', ')}

Flags:
  --duration S   seconds of load to sample (10)
  --rate R       as in npm run loadtest
  --out DIR      where the graphs go (flamegraphs/<scenario>)
  --perf         a second run under Linux perf, which sees the kernel and native code too
`;

/** @param {string[]} argv */
async function main(argv) {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      duration: { type: 'string', default: '10' },
      rate: { type: 'string' },
      out: { type: 'string' },
      perf: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const rate = values.rate === undefined ? [] : ['--rate', values.rate];
  const load = values.help === true ? null : parseSettings([...positionals, '--duration', values.duration, ...rate]);
  if (load === null) {
    process.stdout.write(usage);
    return;
  }
  const out = values.out ?? fileURLToPath(new URL(load.scenario.name, import.meta.url));
  await mkdir(out, { recursive: true });
  const scratch = await mkdtemp(join(tmpdir(), 'penstock-flamegraph-'));
  try {
    const problem = values.perf === true ? perfProblem(join(scratch, 'probe.data')) : null;
    if (problem !== null) throw new Error(problem);
    const recordings = [{ method: "V8's profiler", recording: await recordV8(load, scratch, out), suffix: '' }];
    if (values.perf === true) {
      const recording = await recordPerf(load, scratch);
      recordings.push({ method: 'Linux perf: kernel and native code too', recording, suffix: '-perf' });
    }
    await save(load.scenario.name, recordings, out, argv);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * @param {string} scenario
 * @param {{ method: string, recording: import('./record.mjs').Recording, suffix: string }[]} recordings
 * @param {string} out
 * @param {string[]} argv
 */
async function save(scenario, recordings, out, argv) {
  const environment = { ...environmentOf(argv), command: ['npm run flamegraph --', ...argv].join(' ') };
  const described = [];
  for (const { method, recording, suffix } of recordings) {
    const files = [];
    for (const { name, root, idleUs } of recording.threads) {
      const busy = (root.totalUs / 1e6).toFixed(2);
      const idle = ((idleUs / Math.max(1, idleUs + root.totalUs)) * 100).toFixed(1);
      const subtitle = `${method}; busy ${busy} s of ${(recording.windowUs / 1e6).toFixed(1)} s; idle ${idle} %, left out; Node ${environment.node}, commit ${environment.commit}`;
      const file = `${name}${suffix}.svg`;
      await writeFile(join(out, file), flameSvg(root, { title: `Penstock ${scenario}: ${name}`, subtitle }));
      files.push(file);
    }
    described.push({ method, recording, files });
  }
  await writeFile(join(out, 'summary.md'), summaryOf({ scenario, environment, recordings: described }));
  process.stdout.write(
    `${relative(process.cwd(), out) || '.'}/summary.md and ${described.flatMap(({ files }) => files).join(', ')}\n`,
  );
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`flamegraph: ${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  process.exitCode = 1;
}
// A request that the time cut off may still hold a socket open.
process.exit();
