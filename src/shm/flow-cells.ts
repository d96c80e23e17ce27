import type { SharedMemory } from './memory.ts';
import { flowBits, queueRowCount } from './queue-table.ts';

/**
 * What each flow of a queue (a tenant) has had, over all shards, so that turns can be fair. A flow is a number of 24 bits, a
 * keyed hash of its name. As in a count-min sketch it has one cell in each of two rows, and what it has had is the less of
 * the two: the memory is fixed however many flows there are, and with 100 of them busy one in two thousand is taken for
 * somebody who had more. Nobody can choose whom to meet, because the hash is keyed by a number drawn at the start.
 *
 * | Words of a queue row    | Unit                                                    | Writer               |
 * | ----------------------- | ------------------------------------------------------- | -------------------- |
 * | turns                   | taken, wraps                                            | every shard, Atomics |
 * | (rest of 128 bytes)     |                                                         | nobody               |
 * | cells, two rows of 4096 | round robin: the flow's last turn                       | every shard, Atomics |
 * |                         | service: half-life's number (8 bits), 16 tokens (24 bits) | every shard, Atomics |
 *
 * Service halves with every half-life that has begun since: a cell says to which one its value belongs, and is brought up
 * to date by whoever changes it. Half-lives are counted modulo 256, so control has to go over the cells in less than 128.
 */
const headWords = 32;
const cellBits = flowBits / 2;
const cellCount = 1 << cellBits;
const strideWords = headWords + 2 * cellCount;
export const flowCellCount = 2 * cellCount;

const tokensPerUnit = 16;
const unitBits = 24;
const unitsMax = (1 << unitBits) - 1;
const epochMask = 0xff;
/** Threads read the clock one after the other: one may see a half-life begin before another. */
const epochAheadMin = 128;
/** Of a turn: taken between our look at the count and our look at the cell. */
const turnsAheadMax = 1_000_000;

/** Zero pages until a flow is counted. */
export const flowMemoryBytes = queueRowCount * strideWords * 4;

export class FlowCells {
  readonly #words: Int32Array;

  constructor(memory: SharedMemory) {
    this.#words = new Int32Array(memory.flows);
  }

  /** The flow is served: its turn is the last one now. */
  takeTurn(row: number, flow: number): void {
    const turn = (Atomics.add(this.#words, row * strideWords, 1) + 1) | 0;
    Atomics.store(this.#words, firstCell(row, flow), turn);
    Atomics.store(this.#words, secondCell(row, flow), turn);
  }

  /** How many turns were taken since the flow's own. */
  turnsSince(row: number, flow: number): number {
    const now = Atomics.load(this.#words, row * strideWords);
    const first = (now - Atomics.load(this.#words, firstCell(row, flow))) | 0;
    const second = (now - Atomics.load(this.#words, secondCell(row, flow))) | 0;
    return Math.max(age(first), age(second));
  }

  /** `epoch`: the number of the present half-life. A negative amount takes back what was counted too much. */
  addService(row: number, flow: number, tokens: number, epoch: number): void {
    const units = Math.round(tokens / tokensPerUnit);
    if (units === 0) return;
    this.#addUnits(firstCell(row, flow), units, epoch);
    this.#addUnits(secondCell(row, flow), units, epoch);
  }

  /** In tokens. */
  service(row: number, flow: number, epoch: number): number {
    const first = unitsAt(Atomics.load(this.#words, firstCell(row, flow)), epoch);
    const second = unitsAt(Atomics.load(this.#words, secondCell(row, flow)), epoch);
    return Math.min(first, second) * tokensPerUnit;
  }

  /** Control: brings `count` cells from `from` on up to date, before their half-life could be taken for a later one. */
  refresh(row: number, from: number, count: number, epoch: number): void {
    const base = row * strideWords + headWords;
    for (let turn = 0; turn < count; turn++) this.#addUnits(base + ((from + turn) % flowCellCount), 0, epoch);
  }

  /** Control: the row has another queue now, or another kind of fairness. */
  clear(row: number): void {
    for (let word = 0; word < strideWords; word++) {
      const at = row * strideWords + word;
      if (Atomics.load(this.#words, at) !== 0) Atomics.store(this.#words, at, 0);
    }
  }

  #addUnits(cell: number, units: number, epoch: number): void {
    let word = Atomics.load(this.#words, cell);
    for (;;) {
      const isAhead = ((epoch - (word >>> unitBits)) & epochMask) >= epochAheadMin;
      const stamp = isAhead ? word >>> unitBits : epoch & epochMask;
      const sum = Math.min(unitsMax, Math.max(0, unitsAt(word, epoch) + units));
      const next = sum === 0 ? 0 : (stamp << unitBits) | sum;
      if (next === word) return;
      const seen = Atomics.compareExchange(this.#words, cell, word, next);
      if (seen === word) return;
      word = seen;
    }
  }
}

function firstCell(row: number, flow: number): number {
  return row * strideWords + headWords + (flow & (cellCount - 1));
}

function secondCell(row: number, flow: number): number {
  return row * strideWords + headWords + cellCount + ((flow >>> cellBits) & (cellCount - 1));
}

function unitsAt(word: number, epoch: number): number {
  const halvings = (epoch - (word >>> unitBits)) & epochMask;
  const units = word & unitsMax;
  if (halvings >= epochAheadMin) return units;
  return halvings >= unitBits ? 0 : units >>> halvings;
}

function age(turns: number): number {
  if (turns >= 0) return turns;
  return turns > -turnsAheadMax ? 0 : 2 ** 31; // Not served for 2^31 turns of others.
}
