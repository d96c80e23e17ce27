import { fail } from '../core/assert.ts';
import type { Exchange } from './exchange.ts';

/**
 * Everything an exchange holds, by kind. A kind is taken by one folder and given back by one function, at the latest in
 * `close`; docs/life-of-an-exchange.md has the table of who and when.
 *
 * Single claims are bits of `exchange.heldLeases`; body slabs, of which there may be many, are counted by the body itself
 * and booked here in bulk. Totals go to shared-memory cells, so `/leases` needs no message to the shard.
 */
export const Lease = {
  exchange: 0,
  bodySlab: 1,
  queuePlace: 2,
  endpoint: 3,
  tokens: 4,
  connection: 5,
  deadline: 6,
  logLine: 7,
  workerJob: 8,
  probe: 9,
  prefillEndpoint: 10,
  prefillTokens: 11,
  prefillConnection: 12,
  prefillProbe: 13,
} as const;
export type Lease = (typeof Lease)[keyof typeof Lease];

/** Label values of `penstock_leases_open{kind}`, by lease number. */
export const leaseNames: readonly string[] = [
  'exchange',
  'body_slab',
  'queue_place',
  'endpoint',
  'tokens',
  'connection',
  'deadline',
  'log_line',
  'worker_job',
  'probe',
  'prefill_endpoint',
  'prefill_tokens',
  'prefill_connection',
  'prefill_probe',
];

/** Where totals are kept: cells of the shard's series region. */
export interface LeaseCells {
  taken(kind: Lease, count: number): void;
  given(kind: Lease, count: number): void;
}

export class LeaseBook {
  readonly #cells: LeaseCells;
  readonly #open = new Int32Array(leaseNames.length);

  constructor(cells: LeaseCells) {
    this.#cells = cells;
  }

  open(kind: Lease): number {
    return this.#open[kind]!;
  }

  get isIdle(): boolean {
    return this.#open.every((count) => count === 0);
  }

  holds(exchange: Exchange, kind: Lease): boolean {
    return (exchange.heldLeases & (1 << kind)) !== 0;
  }

  take(exchange: Exchange, kind: Lease): void {
    if ((exchange.heldLeases & (1 << kind)) !== 0) fail('lease is held already', leaseNames[kind]);
    exchange.heldLeases |= 1 << kind;
    this.#open[kind]! += 1;
    this.#cells.taken(kind, 1);
  }

  give(exchange: Exchange, kind: Lease): void {
    if ((exchange.heldLeases & (1 << kind)) === 0) fail('lease is not held', leaseNames[kind]);
    exchange.heldLeases &= ~(1 << kind);
    this.#open[kind]! -= 1;
    this.#cells.given(kind, 1);
  }

  /** @hot per chunk. Of a kind an exchange may hold many of, or that outlives it: slabs, worker jobs. */
  takeMany(kind: Lease, count: number): void {
    this.#open[kind]! += count;
    this.#cells.taken(kind, count);
  }

  giveMany(kind: Lease, count: number): void {
    if ((this.#open[kind]! -= count) < 0) fail('more leases given than taken', leaseNames[kind], count);
    this.#cells.given(kind, count);
  }

  /** Names of the single claims an exchange holds, for `/exchanges`. */
  namesHeld(exchange: Exchange): string[] {
    return leaseNames.filter((_, kind) => (exchange.heldLeases & (1 << kind)) !== 0);
  }
}
