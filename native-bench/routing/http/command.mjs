/**
 * `--http`: what the simulation says of policies, measured on the program.
 *
 * To read: `workloads` and `engine-settings` are what is sent and to whom, `prompt-text` is a Spec as text, `fleet` the processes,
 * `traffic` the client, `bench` one case, `prediction` what the simulation says of it, `verdict` whether they agree.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environmentOf } from '../../../loadtest/environment.mjs';
import { stopAll } from '../../process.mjs';
import { runHttpCase } from './bench.mjs';
import { httpCases, quickCases } from './cases.mjs';
import { chartsOf, markdownOf, verdictTable } from './report.mjs';

/**
 * Exit code 0: everything ran and no request failed without a cause. Cases that were not run stay as they are in the last result.
 * @param {{ names: readonly string[], isQuick: boolean, isList: boolean, rounds: number | null, firstSeed: number, outFolder: string,
 *   argv: readonly string[], print: (line: string) => void }} options
 */
export async function runHttp({ names, isQuick, isList, rounds, firstSeed, outFolder, argv, print }) {
  const cases = isQuick ? quickCases : httpCases;
  const unknown = names.find((name) => !cases.some((each) => each.name === name));
  if (isList || unknown !== undefined) {
    if (unknown !== undefined) print(`there is no case ${unknown}; there are:`);
    for (const { name, title } of cases) print(`${name.padEnd(15)} ${title}`);
    return unknown === undefined ? 0 : 1;
  }
  // Before anything runs: it says which commit was run.
  const environment = environmentOf([...argv], 'npm run routing-bench --');
  const chosen = cases.filter(({ name, isDefault }) => (names.length === 0 ? isDefault : names.includes(name)));
  const found = [];
  const stop = () => void stopAll().finally(() => process.exit(1));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    for (const one of chosen) {
      const wanted = rounds === null || one.disturbance !== null ? one.rounds : rounds;
      found.push(await runHttpCase({ ...one, rounds: wanted }, firstSeed, print));
    }
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await stopAll();
  }
  const kept = isQuick ? [] : lastOf(outFolder);
  const result = {
    environment,
    isQuick,
    cases: cases.flatMap(({ name }) => [...found, ...kept].find((each) => each.name === name) ?? []),
  };
  mkdirSync(outFolder, { recursive: true });
  for (const { file, svg } of chartsOf(result)) writeFileSync(join(outFolder, file), svg);
  writeFileSync(join(outFolder, 'http.json'), `${JSON.stringify(result, shortened, 1)}\n`);
  writeFileSync(join(outFolder, 'http.md'), markdownOf(result));
  print(`\n${verdictTable(result)}`);
  return found.some(failed) ? 1 : 0;
}

/** @param {import('./bench.mjs').HttpCaseResult} result */
function failed({ variants }) {
  return variants.some(({ rounds }) =>
    rounds.some(({ measured, aftermath }) => (aftermath === null ? measured.failures : aftermath.unexplained) > 0),
  );
}

/** Cases of the result before, unless that one was quick. @param {string} folder @returns {import('./bench.mjs').HttpCaseResult[]} */
function lastOf(folder) {
  const path = join(folder, 'http.json');
  if (!existsSync(path)) return [];
  const { isQuick, cases } = JSON.parse(readFileSync(path, 'utf8'));
  return isQuick ? [] : cases;
}

/** Five digits are more than a clock can mean. @param {string} _ @param {unknown} value */
function shortened(_, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
}
