import { type FlowCells, isTicketBefore, type QueueFirst } from '../shm/index.ts';

/** How turns are given within one priority. */
export type Fairness = 'none' | 'round_robin' | 'least_attained_service';

/**
 * Whose turn it is in one pool's queue, by what all shards know: higher priority first, then the flow that has had less,
 * then the one that came first. A total order, the same in every shard at the same instant.
 */
export class QueueOrder {
  readonly row: number;
  fairness: Fairness = 'none';
  halfLifeMs = 60_000;
  readonly #cells: FlowCells;

  constructor(row: number, cells: FlowCells) {
    this.row = row;
    this.#cells = cells;
  }

  /** What the flow has had, by the measure of the policy: the less, the sooner its turn. */
  rank(flow: number, nowMs: number): number {
    if (this.fairness === 'round_robin') return -this.#cells.turnsSince(this.row, flow);
    if (this.fairness === 'none') return 0;
    return this.#cells.service(this.row, flow, this.#epoch(nowMs));
  }

  /** `one` goes before `other`. */
  isBefore(one: Readonly<QueueFirst>, other: Readonly<QueueFirst>, nowMs: number): boolean {
    if (one.level !== other.level) return one.level > other.level;
    if (one.flow !== other.flow) {
      const difference = this.rank(one.flow, nowMs) - this.rank(other.flow, nowMs);
      if (difference !== 0) return difference < 0;
    }
    return isTicketBefore(one.ticket, other.ticket);
  }

  /** An attempt begins, which was a turn of its flow. Returns the tokens counted as service for now. */
  charge(flow: number, tokens: number, nowMs: number): number {
    if (this.fairness === 'round_robin') this.#cells.takeTurn(this.row, flow);
    if (this.fairness !== 'least_attained_service') return 0;
    this.#cells.addService(this.row, flow, tokens, this.#epoch(nowMs));
    return tokens;
  }

  /** It was `tokens` and not `charged`. */
  correct(flow: number, charged: number, tokens: number, nowMs: number): void {
    if (this.fairness !== 'least_attained_service') return;
    this.#cells.addService(this.row, flow, tokens - charged, this.#epoch(nowMs));
  }

  #epoch(nowMs: number): number {
    return Math.floor(nowMs / this.halfLifeMs);
  }
}
