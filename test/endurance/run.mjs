/**
 * `npm run soak -- <scenario>`: the gateway under what it was built to bear, for as long as it takes to believe it. Each
 * scenario is a module of its own that starts the real program (two shards), engines and clients in processes of their
 * own, and holds what it saw against what is promised.
 *
 * To read: `scenarios/` say what is done and promised, `traffic/` who does it (clients that leave, engines that break),
 * `gateway.mjs` what is read of the gateway meanwhile, `slope.mjs` when something grows, `summary.mjs` what docs/resilience.md
 * says of it.
 *
 * Exit code 0: every promise was kept, or nothing was to be run. 1: one was broken, or the command line is wrong.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { environmentOf } from '../../loadtest/environment.mjs';
import { parseSettings, usage, UsageError } from './settings.mjs';
import { writeSummary } from './summary.mjs';
import { timeSvg } from './time-plot.mjs';

/** @param {string} line */
const print = (line) => process.stdout.write(`${line}\n`);
process.stdout.on('error', () => {});

/** @param {string[]} argv */
async function main(argv) {
  const parsed = parseSettings(argv);
  if (parsed === 'list') {
    print(usage);
    return 0;
  }
  if (parsed === 'docs') {
    print(`wrote ${await writeSummary()}`);
    return 0;
  }
  const { scenario, settings } = parsed;
  const { jsonPath, ...saved } = settings;
  print(`${scenario.name}: seed ${settings.seed}`);
  const startedAt = new Date().toISOString();
  const startedMs = performance.now();
  const outcome = await scenario.run({ settings, print });
  /** @type {import('./types.d.ts').Result} */
  const result = {
    scenario: scenario.name,
    summary: scenario.summary,
    startedAt,
    environment: environmentOf(
      argv.filter((flag) => flag !== '--save'),
      'npm run soak --',
    ),
    settings: saved,
    tookS: Number(((performance.now() - startedMs) / 1000).toFixed(1)),
    ...outcome,
  };
  for (const [name, value] of Object.entries(result.figures)) print(`  ${name.padEnd(30)} ${value}`);
  for (const { kind, text, isKept, seen } of result.checks)
    print(`${verdictOf(kind, isKept).padEnd(9)} ${text} (${seen})`);
  for (const note of result.notes) print(`note: ${note}`);
  await save(result, jsonPath);
  return result.checks.every(({ kind, isKept }) => isKept || kind === 'target') ? 0 : 1;
}

/** @param {'promise' | 'target'} kind @param {boolean} isKept */
function verdictOf(kind, isKept) {
  if (kind === 'promise') return isKept ? 'ok' : 'BROKEN';
  return isKept ? 'met' : 'missed';
}

/** @param {import('./types.d.ts').Result} result @param {string} jsonPath */
async function save(result, jsonPath) {
  const svgPath = `${jsonPath.replace(/\.json$/, '')}.svg`;
  await mkdir(dirname(jsonPath), { recursive: true });
  await writeFile(jsonPath, `${JSON.stringify(result, null, 1)}\n`);
  print(`result ${jsonPath}`);
  if (result.samples.length === 0) return;
  const { cores, node, commit } = result.environment;
  const subtitle = `${cores} cores, Node ${node}, commit ${commit}, ${result.startedAt}`;
  await writeFile(svgPath, timeSvg(`Penstock soak ${result.scenario}`, subtitle, result.samples));
  print(`plot   ${svgPath}`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const text =
    error instanceof UsageError ? `${error.message}\n\n${usage}` : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`soak: ${text}\n`);
  process.exitCode = 1;
}
// Sockets of clients that were left standing must not keep the process.
process.exit();
