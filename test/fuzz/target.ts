/** What a target found: the product and an oracle disagree about an input. */
export class Disagreement extends Error {
  override readonly name = 'Disagreement';
}

export interface FuzzTarget {
  readonly name: string;
  /** Inputs to start from, besides the files in seeds/. */
  readonly seeds: readonly Buffer[];
  /** Words that mutations insert, latin1. */
  readonly dictionary: readonly string[];
  /** Compares the product's reading of `input` with an oracle's; throws Disagreement, or whatever the product throws. */
  run(input: Buffer): void;
}

/** Throws unless both are the same as JSON. `what` says which reading disagrees with which. */
export function agree(what: string, ours: unknown, oracles: unknown): void {
  const left = JSON.stringify(ours);
  const right = JSON.stringify(oracles);
  if (left !== right) throw new Disagreement(`${what}:\n  ours:   ${left}\n  oracle: ${right}`);
}

export function hold(isHeld: boolean, what: string): void {
  if (!isHeld) throw new Disagreement(what);
}

export function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

const slab: Buffer = Buffer.alloc(1 << 17);

/**
 * Bytes of `input` cut before the given offsets, each piece at an odd place of one slab with `stale` bytes around it, as in
 * production; they are gone when `take` returns.
 */
export function eachPiece(
  input: Buffer,
  cuts: readonly number[],
  stale: string,
  take: (slab: Buffer, start: number, end: number) => void,
): void {
  const start = slab.write(stale, 0, 'latin1');
  let from = 0;
  for (let index = 0; index <= cuts.length; index++) {
    const to = cuts[index] ?? input.length;
    const end = start + input.copy(slab, start, from, to);
    slab.write(stale, end, 'latin1');
    take(slab, start, end);
    slab.fill(0, start, end);
    from = to;
  }
}

export function everyByte(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}
