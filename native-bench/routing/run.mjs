/**
 * `node native-bench/routing/run.mjs [experiment...] [--seeds N] [--first-seed N] [--quick]`: routing policies on a simulated fleet.
 * With `--http [case...] [--rounds N]`: the program itself, before simulated engines, against what the simulation predicts.
 * With `--cost`: what it costs a body in CPU.
 *
 * To read: `profiles` and `kv-blocks` and `engine` are a model server, `workloads/` what is sent, `view` and `routers` what a
 * gateway knows, `policies/` who is compared, `simulation` one run, `experiments/` what is asked.
 *
 * Exit code 0: all was simulated, whatever the outcomes. The experiments named replace those of the last result.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { environmentOf } from '../../loadtest/environment.mjs';
import { runCost } from './cost.mjs';
import { experiments } from './experiments/index.mjs';
import { runHttp } from './http/command.mjs';
import { chartsOf, isMet, markdownOf, verdictTable } from './report.mjs';

/** @param {string} line */
const print = (line) => process.stdout.write(`${line}\n`);

/** @param {string[]} argv @returns {number | Promise<number>} exit code */
function main(argv) {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      seeds: { type: 'string', default: '3' },
      'first-seed': { type: 'string', default: '1' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: fileURLToPath(new URL('results', import.meta.url)) },
      list: { type: 'boolean', default: false },
      http: { type: 'boolean', default: false },
      cost: { type: 'boolean', default: false },
      rounds: { type: 'string' },
    },
  });
  const firstSeed = wholeFlag('first-seed', values['first-seed']);
  if (values.http) {
    const rounds = values.rounds === undefined ? null : wholeFlag('rounds', values.rounds);
    const { quick: isQuick, list: isList, out: outFolder } = values;
    return runHttp({ names: positionals, isQuick, isList, rounds, firstSeed, outFolder, argv, print });
  }
  if (values.cost) return runCost({ isQuick: values.quick, outFolder: values.out, argv, print });
  const unknown = positionals.find((name) => !experiments.some((each) => each.name === name));
  if (values.list || unknown !== undefined) {
    if (unknown !== undefined) print(`there is no experiment ${unknown}; there are:`);
    for (const { name, title } of experiments) print(`${name.padEnd(8)} ${title}`);
    return unknown === undefined ? 0 : 1;
  }
  const seeds = wholeFlag('seeds', values.seeds);
  const scope = { seeds: Array.from({ length: seeds }, (_, index) => firstSeed + index), isQuick: values.quick };
  const chosen = experiments.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  // Before anything runs: it says which commit was run. Experiments not named are those of the last result.
  const command = `node native-bench/routing/run.mjs --seeds ${seeds}${firstSeed === 1 ? '' : ` --first-seed ${firstSeed}`}${values.quick ? ' --quick' : ''}`;
  const environment = { ...environmentOf([]), command };
  const found = chosen.map(({ name, title, run }) => {
    const outcome = { name, title, ...run(scope) };
    print(`${name}: ${title}`);
    for (const check of outcome.checks) {
      const { what, value, relation, limit } = check;
      print(`  ${isMet(check) ? 'pass' : 'MISS'}  ${what}: ${Number(value.toPrecision(3))} (${relation} ${limit})`);
    }
    return outcome;
  });
  const kept = positionals.length === 0 ? [] : lastOf(values.out);
  const result = {
    environment,
    seeds,
    isQuick: values.quick,
    experiments: experiments.flatMap(({ name }) => [...found, ...kept].find((each) => each.name === name) ?? []),
  };
  mkdirSync(values.out, { recursive: true });
  for (const { file, svg } of chartsOf(result)) writeFileSync(join(values.out, file), svg);
  writeFileSync(join(values.out, 'latest.json'), `${JSON.stringify(result, shortened, 1)}\n`);
  writeFileSync(join(values.out, 'latest.md'), markdownOf(result));
  print(`\n${verdictTable(result)}`);
  return 0;
}

/** @param {string} flag @param {string} text */
function wholeFlag(flag, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${flag} is a positive integer`);
  return value;
}

/** Experiments of the result before. @param {string} folder @returns {import('./report.mjs').Result['experiments']} */
function lastOf(folder) {
  const path = join(folder, 'latest.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).experiments : [];
}

/** Five digits are more than a simulation can mean. @param {string} _ @param {unknown} value */
function shortened(_, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`routing: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
