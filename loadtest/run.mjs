/**
 * `npm run loadtest -- <scenario>`: drives the gateway, checks every answer, and says what it cost. It guards against
 * regressions; ceilings need a native generator, because a Node client is full first.
 *
 * To read: `scenarios/` say what is sent, `runner.mjs` in which phases, `phases/` how it is
 * measured (`client/` is the open-loop client), `answers.mjs` what counts as right, `verdict.mjs` what counts as passed.
 *
 * Exit code 0: passed, or scenarios listed. 1: failed, slower than the baseline, or the command line is wrong.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Backend } from './backend.mjs';
import { environmentOf } from './environment.mjs';
import { percentileSvg } from './plot.mjs';
import { reportOf, runNotes } from './report.mjs';
import { runScenario } from './runner.mjs';
import { parseSettings, usage, UsageError } from './settings.mjs';
import { compare, failuresOf, headlineOf, readBaseline } from './verdict.mjs';

/** @param {string} line */
const print = (line) => process.stdout.write(`${line}\n`);

// A reader that has seen enough (`| head`) must not keep the processes from being ended.
process.stdout.on('error', () => {});

/** @type {Promise<void>} Settles on Ctrl-C or SIGTERM. */
const interrupted = new Promise((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => resolve());
});

/** @param {string[]} argv */
async function main(argv) {
  const parsed = parseSettings(argv);
  if (parsed === null) {
    print(usage);
    return 0;
  }
  const { scenario, settings } = parsed;
  const baseline = settings.baselinePath === null ? null : readBaseline(settings.baselinePath, scenario.name);
  const backend = settings.url === null ? new Backend() : null;
  const interruption = interrupted.then(() => {
    throw new Error('interrupted');
  });
  let isPassed = false;
  let isDrained = true;
  try {
    const result = await Promise.race([measure(scenario, settings, backend, argv), interruption]);
    if (baseline !== null) printComparison(result, baseline, settings);
    print(reportOf(result));
    await save(result, settings.jsonPath);
    if (backend !== null && settings.isKept) {
      print(`Kept up until Ctrl-C: ${backend.description}`);
      await interrupted;
    }
    isPassed = result.failures.length === 0;
  } finally {
    isDrained = (await backend?.stop()) ?? true;
  }
  if (!isDrained) print('FAILED: the gateway did not drain and exit with code 0 on SIGTERM');
  return isPassed && isDrained ? 0 : 1;
}

/**
 * @param {import('./types.d.ts').Scenario} scenario
 * @param {import('./types.d.ts').Settings} settings
 * @param {Backend | null} backend
 * @param {string[]} argv
 * @returns {Promise<import('./types.d.ts').Result>}
 */
async function measure(scenario, settings, backend, argv) {
  const startedAt = new Date().toISOString();
  await backend?.start({ scenario, model: settings.model });
  const origin = settings.url ?? backend?.origin ?? '';
  const { phases, gatewayIdleCpuRatio } = await runScenario({ scenario, settings, origin, backend });
  const gatewayAfter = (await backend?.leftovers()) ?? null;
  const { model, durationS, connections, rate, repeatCount } = settings;
  return {
    scenario: scenario.name,
    startedAt,
    environment: environmentOf(argv),
    settings: {
      target: settings.url ?? 'own gateway, 1 shard, 3 engines',
      model,
      durationS,
      connections,
      rate,
      repeatCount,
    },
    phases,
    gatewayIdleCpuRatio,
    headline: headlineOf(phases),
    gatewayAfter,
    notes: [...scenario.notes, ...runNotes(phases)],
    failures: failuresOf(phases, gatewayAfter),
  };
}

/**
 * Adds what the comparison found to the result.
 * @param {import('./types.d.ts').Result} result
 * @param {import('./types.d.ts').Result} baseline
 * @param {import('./types.d.ts').Settings} settings
 */
function printComparison(result, baseline, { baselinePath, threshold }) {
  const { lines, failures, notes } = compare(result, baseline, threshold);
  result.failures.push(...failures);
  result.notes.push(...notes);
  print(
    [`against ${baselinePath} (${baseline.startedAt}, commit ${baseline.environment.commit}):`, ...lines, ''].join(
      '\n',
    ),
  );
}

/**
 * @param {import('./types.d.ts').Result} result
 * @param {string} jsonPath
 */
async function save(result, jsonPath) {
  const { environment: env } = result;
  const series = result.phases.flatMap(({ name, distributions }) =>
    Object.entries(distributions).map(([quantity, { points }]) => ({ name: `${name} ${quantity}`, points })),
  );
  const subtitle = `${env.cpu}, ${env.cores} cores, Node ${env.node}, commit ${env.commit}, ${result.startedAt}`;
  const svgPath = `${jsonPath.replace(/\.json$/, '')}.svg`;
  await mkdir(dirname(jsonPath), { recursive: true });
  await writeFile(jsonPath, `${JSON.stringify(result, null, 2)}\n`);
  await writeFile(svgPath, percentileSvg(`Penstock loadtest ${result.scenario}`, subtitle, series));
  print(`result ${jsonPath}\nplot   ${svgPath}`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`loadtest: ${message}\n${error instanceof UsageError ? `\n${usage}` : ''}`);
  process.exitCode = 1;
}
// A request that the time cut off may still hold a socket open.
process.exit();
