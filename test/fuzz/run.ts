/**
 * Coverage-guided fuzzing with oracles: `npm run fuzz -- [target...] [options]`.
 *
 * Inputs are mutated; those that reach code no other reached are kept and mutated on. Each run compares what the product reads
 * with what an independent reader does (oracles/), whole and in pieces. The first input they disagree about is made smaller and
 * saved, and the exit code is 1. `npm run fuzz -- scanner FILE` runs that file alone, which is how a finding is reproduced;
 * a finding that was fixed goes to seeds/ under its target's name, where the tests run it for good.
 *
 * Read in this order: target (what a target is), targets/ and oracles/, mutate, coverage, loop, run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fuzz, replay } from './loop.ts';
import { targets } from './targets/index.ts';

const usage = `npm run fuzz -- [target...] [--seconds N] [--seed N] [FILE...]
  target     ${targets.map(({ name }) => name).join(', ')} or wire; without one, all but wire
  --seconds  for each target (10)
  --seed     of the mutations (1); a run with the same seed makes the same inputs in the same order
  --count    of mutated requests, for wire (20000)
  FILE       runs the files instead, with the one target named
`;

/** Not a function of bytes but a running shard, so it is not guided by coverage: see wire.fuzz.ts. */
const wire = 'wire';

function replayOnWire(count: number, seed: number): boolean {
  const vitest = fileURLToPath(new URL('vitest.mjs', import.meta.resolve('vitest/package.json')));
  const args = [vitest, 'run', '--config', 'test/fuzz/vitest.config.ts', '--root', '.'];
  const env = { ...process.env, FUZZ_COUNT: String(count), FUZZ_SEED: String(seed) };
  return spawnSync(process.execPath, args, { stdio: 'inherit', env }).status === 0;
}

function fail(text: string): never {
  process.stderr.write(`fuzz: ${text}\n${usage}`);
  process.exit(2);
}

const names: string[] = [];
const files: string[] = [];
const numbers = { seconds: 10, seed: 1, count: 20_000 };
for (let args = process.argv.slice(2); args.length > 0;) {
  const [arg, value, ...rest] = args as [string, ...string[]];
  const option = arg.startsWith('--') ? arg.slice(2) : '';
  if (option === 'help') {
    process.stdout.write(usage);
    process.exit(0);
  }
  if (option !== '') {
    if (option !== 'seconds' && option !== 'seed' && option !== 'count') fail(`unknown option ${arg}`);
    if (!/^[0-9]+$/.test(value ?? '')) fail(`${arg} wants a number`);
    numbers[option] = Number(value);
    args = rest;
    continue;
  }
  if (arg === wire || targets.some(({ name }) => name === arg)) names.push(arg);
  else if (existsSync(arg)) files.push(arg);
  else fail(`no target and no file: ${arg}`);
  args = args.slice(1);
}

const chosen = targets.filter(({ name }) => names.length === 0 || names.includes(name));
if (files.length > 0) {
  if (chosen.length !== 1) fail('a file is run with one target');
  for (const file of files) replay(chosen[0]!, readFileSync(file), file);
} else {
  for (const target of chosen) if (!fuzz(target, numbers.seconds * 1000, numbers.seed)) process.exitCode = 1;
  if (names.includes(wire) && !replayOnWire(numbers.count, numbers.seed)) process.exitCode = 1;
}
