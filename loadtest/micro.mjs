/**
 * `npm run bench [-- <name part>]`: the micro-benchmarks beside the code (the `*.bench.ts` files), each case in a process of
 * its own, because the types that one case shows to a function change the code of the next one.
 *
 * A bench file is a plain mitata script. It is bundled into one file, with `micro/mitata.mjs` in mitata's place, which
 * runs one case of it and hands the numbers over.
 *
 * Exit code 0: all ran. 1: a case failed, or no name has that part.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { environmentOf } from './environment.mjs';
import { bundle } from './micro/bundle.mjs';
import { headLine, lineOf } from './micro/table.mjs';

const source = fileURLToPath(new URL('../src', import.meta.url));
const caseTimeoutMs = 60_000;

/**
 * @typedef {object} CaseResult times in ns an iteration
 * @property {string} file
 * @property {string} name
 * @property {number} bytes handled in one iteration; 0 when it handles none
 * @property {number} avg
 * @property {number} min
 * @property {number} p50
 * @property {number} p99
 * @property {number} max
 */

/** @param {string[]} argv */
async function main(argv) {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: { json: { type: 'string' }, list: { type: 'boolean' } },
  });
  const [part = ''] = positionals;
  const scratch = await mkdtemp(join(tmpdir(), 'penstock-bench-'));
  try {
    const cases = await casesOf(part, scratch);
    if (cases.length === 0) throw new Error(`no case has ${JSON.stringify(part)} in its file's name or its own`);
    const environment = { ...environmentOf([]), command: ['npm run bench --', ...argv].join(' ') };
    process.stdout.write(`${environment.cpu}, Node ${environment.node}, commit ${environment.commit}\n`);
    /** @type {CaseResult[]} */
    const results = [];
    let file = '';
    for (const { script, index, ...named } of cases) {
      if (named.file !== file)
        process.stdout.write(`\n${(file = named.file)}\n${values.list === true ? '' : headLine}`);
      if (values.list === true) {
        process.stdout.write(`  ${named.name}\n`);
        continue;
      }
      const result = { ...named, .../** @type {CaseResult} */ (await runBench(script, { only: index })) };
      results.push(result);
      process.stdout.write(lineOf(result));
    }
    if (values.json !== undefined) {
      await mkdir(dirname(values.json), { recursive: true });
      await writeFile(values.json, `${JSON.stringify({ environment, results }, null, 2)}\n`);
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * Every case of the files whose name has `part`; if there is no such file, the cases whose name has it.
 * @param {string} part
 * @param {string} scratch
 */
async function casesOf(part, scratch) {
  const cases = [];
  const paths = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.bench.ts'));
  const named = paths.filter((path) => path.includes(part));
  for (const path of (named.length > 0 ? named : paths).sort()) {
    const script = await bundle(join(source, path), join(scratch, `${basename(path, '.ts')}.mjs`));
    const names = /** @type {string[]} */ (await runBench(script, { only: -1 }));
    for (const [index, name] of names.entries()) {
      if (named.length === 0 && !name.includes(part)) continue;
      const [, bytes = '0'] = /, (\d+) bytes$/.exec(name) ?? [];
      cases.push({ script, index, file: path, name, bytes: Number(bytes) });
    }
  }
  return cases;
}

/**
 * @param {string} script
 * @param {{ only: number }} choice index of a case; -1 only tells the names
 * @returns {Promise<unknown>} what micro/mitata.mjs sent
 */
async function runBench(script, { only }) {
  const child = spawn(process.execPath, ['--expose-gc', script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, PENSTOCK_BENCH_ONLY: String(only) },
    timeout: caseTimeoutMs,
  });
  /** @type {unknown} */
  let answer;
  child.on('message', (message) => (answer = message));
  const [code] = await once(child, 'close');
  if (code !== 0 || answer === undefined)
    throw new Error(`case ${only} of ${basename(script)} ended with code ${code}`);
  return answer;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
