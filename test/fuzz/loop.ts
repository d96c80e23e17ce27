import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Coverage } from './coverage.ts';
import { mutate } from './mutate.ts';
import { Random } from './random.ts';
import type { FuzzTarget } from './target.ts';

/** From the root of the repository, where npm runs scripts. */
const seedFolder = 'test/fuzz/seeds';
const findingFolder = 'test/fuzz/findings';

/** Inputs between two looks at the coverage. */
const batchCount = 256;
/** Time of the processor an input may take: the largest are 4 KB. */
const inputBoundMs = 1000;

export function seedsOf(target: FuzzTarget): Buffer[] {
  const folder = join(seedFolder, target.name);
  let files: string[] = [];
  try {
    files = readdirSync(folder);
  } catch {
    // No finding yet.
  }
  return [...target.seeds, ...files.sort().map((file) => readFileSync(join(folder, file)))];
}

/** Null, or what is wrong with the input. */
function faultOf(target: FuzzTarget, input: Buffer): string | null {
  const startMs = performance.now();
  try {
    target.run(input);
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  if (performance.now() - startMs < inputBoundMs) return null;
  // It may be the machine that took the time.
  const start = process.cpuUsage();
  target.run(input);
  const { user, system } = process.cpuUsage(start);
  const tookMs = (user + system) / 1000;
  return tookMs > inputBoundMs ? `took ${Math.round(tookMs)} ms` : null;
}

/** Takes bytes away as long as something is still wrong. */
function reduced(target: FuzzTarget, input: Buffer): Buffer {
  let best = input;
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.length;) {
      const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (faultOf(target, shorter) === null) at += size;
      else best = shorter;
    }
  }
  return best;
}

/** Runs one input and says how it went; the exit code becomes 1 when it went wrong. */
export function replay(target: FuzzTarget, input: Buffer, name: string): void {
  const fault = faultOf(target, input);
  if (fault !== null) process.exitCode = 1;
  process.stdout.write(`${name}: ${fault ?? 'no disagreement'}\n`);
}

/** Returns false when a disagreement was found and saved. */
export function fuzz(target: FuzzTarget, boundMs: number, seed: number): boolean {
  const random = new Random(seed);
  const coverage = new Coverage((url) => /\/\.build\/(?:src|test\/fuzz\/oracles)\//.test(url));
  const startMs = performance.now();
  const corpus: Buffer[] = [];
  let inputCount = 0;
  let found: Buffer | null = null;
  const isBad = (input: Buffer): boolean => {
    inputCount++;
    if (faultOf(target, input) === null) return false;
    found = input;
    return true;
  };
  for (const input of seedsOf(target)) {
    corpus.push(input);
    if (isBad(input)) break;
  }
  coverage.look();
  const batch: Buffer[] = [];
  while (found === null && performance.now() - startMs < boundMs) {
    batch.length = 0;
    // Half of the time from what was found last, which is what has been tried least.
    const recent = corpus.slice(-16);
    while (batch.length < batchCount && found === null) {
      const input = mutate(random.pick(random.below(2) === 0 ? recent : corpus), corpus, target.dictionary, random);
      batch.push(input);
      if (isBad(input)) break;
    }
    const fresh = found === null ? coverage.look() : [];
    if (fresh.length > 0) corpus.push(...contributing(target, batch, coverage, new Set(fresh)));
  }
  coverage.close();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const line = `${target.name}: ${inputCount} inputs in ${seconds} s, ${coverage.count} blocks, ${corpus.length} kept, seed ${seed}`;
  if (found === null) {
    process.stdout.write(`${line}: no disagreement\n`);
    return true;
  }
  const input = reduced(target, found);
  mkdirSync(findingFolder, { recursive: true });
  const file = join(findingFolder, `${target.name}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}`);
  writeFileSync(file, input);
  process.stdout.write(
    `${line}\n  ${faultOf(target, input)}\n  input: ${JSON.stringify(input.toString('latin1'))}\n  again: npm run fuzz -- ${target.name} ${file}\n`,
  );
  return false;
}

/** Of a batch that reached the `fresh` blocks, the inputs that did it, each run again by itself. */
function contributing(target: FuzzTarget, batch: readonly Buffer[], coverage: Coverage, fresh: Set<string>): Buffer[] {
  const kept: Buffer[] = [];
  for (const input of batch) {
    if (fresh.size === 0) break;
    faultOf(target, input);
    let isKept = false;
    for (const block of coverage.ran()) if (fresh.delete(block)) isKept = true;
    if (isKept) kept.push(input);
  }
  return kept;
}
