/** docs/resilience.md, from the results that were kept. Never better than measured: it has no words of its own about outcomes. */
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { scenarios } from './scenarios/index.mjs';

const resultsFolder = fileURLToPath(new URL('results/', import.meta.url));
const page = fileURLToPath(new URL('../../docs/resilience.md', import.meta.url));

export async function writeSummary() {
  await writeFile(page, renderSummary(keptResults()));
  return page;
}

/** In the order of the scenarios. @returns {import('./types.d.ts').Result[]} */
export function keptResults() {
  const names = readdirSync(resultsFolder).filter((name) => name.endsWith('.json'));
  const order = scenarios.map(({ name }) => `${name}.json`);
  return names
    .sort((a, b) => order.indexOf(a) - order.indexOf(b))
    .map((name) => JSON.parse(readFileSync(`${resultsFolder}${name}`, 'utf8')));
}

/** @param {readonly import('./types.d.ts').Result[]} results */
export function renderSummary(results) {
  const lines = [
    '# Resilience, as measured',
    '',
    '<!-- Made from test/endurance/results/ by test/endurance/summary.mjs: do not edit. `npm run soak -- --docs` writes it. -->',
    '',
    'What `npm run soak` saw of the real program: one gateway process with two shards, scripted engines and clients in other processes of the',
    'same machine. A *promise* that is broken fails the run; a *target* that is missed is reported. Single runs; the clients and engines',
    'took their share of the same cores, and so did whatever else ran on the machine: how long the gateway waited for a processor is said with its delays.',
    '',
    '| Scenario | Promises kept | Targets met | Command | Took |',
    '| --- | --- | --- | --- | --- |',
    ...results.map((result) => {
      const cells = [
        `[${result.scenario}](#${result.scenario})`,
        tally(result, 'promise'),
        tally(result, 'target'),
        `\`${result.environment.command}\``,
        `${result.tookS.toFixed(0)} s`,
      ];
      return `| ${cells.join(' | ')} |`;
    }),
    '',
    ...results.flatMap(sectionOf),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

/** @param {import('./types.d.ts').Result} result @param {'promise' | 'target'} kind */
function tally({ checks }, kind) {
  const all = checks.filter((check) => check.kind === kind);
  return `${all.filter(({ isKept }) => isKept).length} of ${all.length}`;
}

/** @param {import('./types.d.ts').Result} result */
function sectionOf({ scenario, summary, environment: env, startedAt, checks, figures, notes, settings, samples }) {
  const verdict = (/** @type {import('./types.d.ts').Check} */ { kind, isKept }) =>
    kind === 'promise' ? (isKept ? 'kept' : '**broken**') : isKept ? 'met' : '**missed**';
  const plot = samples.length === 0 ? '' : ` [Plot](../test/endurance/results/${scenario}.svg).`;
  return [
    `## ${scenario}`,
    '',
    `${capital(cell(summary.replace(/^--\w+ N: /, '')))}.`,
    '',
    `${env.cores} cores (${env.cpu}), Linux ${env.kernel}, Node ${env.node}, commit ${env.commit}, ${startedAt.slice(0, 10)}, seed ${settings.seed}.${plot}`,
    '',
    '| | Promise or target | Seen |',
    '| --- | --- | --- |',
    ...checks.map((check) => `| ${verdict(check)} | ${cell(check.text)} | ${cell(check.seen)} |`),
    '',
    '| Figure | |',
    '| --- | --- |',
    ...Object.entries(figures)
      .filter(([name]) => name !== 'seed')
      .map(([name, value]) => `| ${name.replaceAll('_', ' ')} | ${cell(String(value))} |`),
    '',
    ...notes.map((note) => `- ${note}`),
    '',
  ];
}

/** @param {string} text */
function cell(text) {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

/** @param {string} text */
function capital(text) {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
