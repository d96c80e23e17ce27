/**
 * `npm run native-bench [-- <case>...]`: Penstock beside other proxies, on one machine, in paired rounds.
 *
 * To read: `cases/` say what is sent, `peers/` through what, `generators/` by whom, `measures/` what is read off,
 * `rounds.mjs` in which order, `targets.mjs` and `verdict.mjs` what is wanted and whether it was reached.
 *
 * Exit code 0: measured, whatever the verdicts are. 1: could not measure, or contradicts the --baseline.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cases } from './cases/index.mjs';
import { chartsOf } from './charts.mjs';
import { environmentOf } from './environment.mjs';
import { buildNative } from './native/build.mjs';
import { installPeers } from './peers/installed.mjs';
import { peers } from './peers/index.mjs';
import { stopAll } from './process.mjs';
import { markdownOf, verdictTable } from './report.mjs';
import { runCase } from './rounds.mjs';
import { parseSettings, usage, UsageError } from './settings.mjs';
import { contradictions, standingsOf, verdictsOf } from './verdict.mjs';

/** @param {string} line */
const print = (line) => process.stdout.write(`${line}\n`);

// A reader that has seen enough (`| head`) must not keep the processes from being ended.
process.stdout.on('error', () => {});

/** @type {Promise<true>} Settles on Ctrl-C or SIGTERM. */
const interrupted = new Promise((resolve) => {
  // Not once: a second signal (`timeout` sends two) must not end this process before it has ended its children.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => resolve(true));
});

/** @param {string[]} argv */
async function main(argv) {
  const { action, settings } = parseSettings(argv);
  if (action === 'help') print(usage);
  if (action === 'list') print(listOf());
  if (action === 'install') return installed();
  if (action !== 'run') return 0;
  // Read first: it may be the very file that is written at the end.
  const baseline = settings.baselinePath === null ? null : readResult(settings.baselinePath);
  const folder = mkdtempSync(join(tmpdir(), 'penstock-native-bench-'));
  try {
    /** @type {import('./types.d.ts').CaseResult[]} */
    const results = [];
    const startedAt = new Date();
    const stopped = await Promise.race([measure(settings, folder, results), interrupted]);
    // Cases that were not finished are not in it.
    const result = resultOf(settings, argv, startedAt, results);
    save(result, settings.outFolder);
    if (stopped) throw new Error('interrupted: the results are those of the cases before');
    print(verdictTable(result));
    return baseline === null ? 0 : agreement(baseline, result);
  } finally {
    await stopAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * One case after another; each is added to `results` when it is complete. Returns false: nobody stopped it.
 * @param {import('./types.d.ts').Settings} settings
 * @param {string} folder
 * @param {import('./types.d.ts').CaseResult[]} results
 */
async function measure(settings, folder, results) {
  // Said at once when there is no compiler.
  buildNative();
  for (const name of missingPeers()) print(`${name}: missing`);
  for (const [index, spec] of settings.cases.entries()) {
    print(`${spec.name} (${index + 1} of ${settings.cases.length}): ${spec.summary}`);
    const result = await runCase(spec, settings, folder, print);
    for (const { peer, failure } of result.peers) if (failure !== null) print(`  ${peer}: ${failure}`);
    results.push(result);
  }
  return false;
}

/**
 * @param {import('./types.d.ts').Settings} settings
 * @param {string[]} argv
 * @param {Date} startedAt
 * @param {import('./types.d.ts').CaseResult[]} results
 * @returns {import('./types.d.ts').Result}
 */
function resultOf({ rounds, seconds, generator }, argv, startedAt, results) {
  return {
    startedAt: startedAt.toISOString(),
    durationS: Math.round((Date.now() - startedAt.getTime()) / 1000),
    environment: environmentOf(argv),
    settings: { rounds, seconds, generator },
    missing: missingPeers(),
    cases: results,
    verdicts: verdictsOf(results),
  };
}

function missingPeers() {
  return peers.filter((peer) => peer.find() === null).map(({ name }) => name);
}

/**
 * @param {import('./types.d.ts').Result} result
 * @param {string} outFolder
 */
function save(result, outFolder) {
  mkdirSync(outFolder, { recursive: true });
  const charts = chartsOf(result);
  for (const { file, svg } of charts) writeFileSync(join(outFolder, file), svg);
  writeFileSync(join(outFolder, 'latest.json'), jsonOf(result));
  writeFileSync(join(outFolder, 'latest.md'), markdownOf(result, charts));
  print(`results in ${outFolder}\n`);
}

/**
 * A line for each value, but the points of a curve all in one.
 * @param {import('./types.d.ts').Result} result
 */
function jsonOf(result) {
  const text = JSON.stringify(result, null, 1).replace(/\[\s*([-\d.e+]+),\s*([-\d.e+]+)\s*\]/g, '[$1,$2]');
  return `${text.replace(/\],\s+\[/g, '],[')}\n`;
}

/**
 * Two runs need not find the same figures, but the same order.
 * @param {import('./types.d.ts').Result} baseline
 * @param {import('./types.d.ts').Result} result
 */
function agreement(baseline, result) {
  const found = contradictions(standingsOf(baseline.cases), standingsOf(result.cases));
  print(found.length === 0 ? 'agrees with the baseline about who is ahead' : found.join('\n'));
  return found.length === 0 ? 0 : 1;
}

/** @param {string} path @returns {import('./types.d.ts').Result} */
function readResult(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function installed() {
  const problems = installPeers(print);
  for (const problem of problems) print(problem);
  return problems.length === 0 ? 0 : 1;
}

function listOf() {
  const lines = ['Cases (* in the default run):'];
  for (const { name, targets, summary } of cases) {
    const mark = targets.length > 0 ? '*' : ' ';
    lines.push(`${mark} ${name.padEnd(30)} ${summary}${targets.length > 0 ? ` [targets ${targets.join(' ')}]` : ''}`);
  }
  lines.push('', 'Peers:');
  for (const peer of peers)
    lines.push(`  ${peer.name.padEnd(20)} ${(peer.find() ?? 'missing').padEnd(22)} ${peer.summary}`);
  return lines.join('\n');
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`native-bench: ${message}\n${error instanceof UsageError ? `\n${usage}` : ''}`);
  process.exitCode = 1;
}
// A request that the time cut off may still hold a socket open.
process.exit();
