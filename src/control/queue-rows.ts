import type { Config } from '../config/index.ts';
import { FlowCells, flowCellCount, queueRowCount, QueueTable, type SharedMemory } from '../shm/index.ts';

/** Half a minute for all cells of a row; half-lives are counted modulo 256, and none is shorter than a second. */
const refreshPeriodMs = 1000;
const cellsPerRefresh = Math.ceil(flowCellCount / 30);

interface Row {
  readonly index: number;
  /** What the cells of its flows hold: another kind begins with none. */
  kind: string;
  halfLifeMs: number;
  isConfigured: boolean;
}

/**
 * Which row of the queue table is which pool's. A pool keeps its row for as long as it is configured; one that comes takes a
 * row nobody has had, or else that of a pool that has gone, one where nobody waits any more if there is one.
 */
export class QueueRows {
  readonly #rows = new Map<string, Row>();
  readonly #queues: QueueTable;
  readonly #flows: FlowCells;
  readonly #timer: NodeJS.Timeout;
  #hand = 0;

  constructor(memory: SharedMemory, nowMs: () => number) {
    this.#queues = new QueueTable(memory, -1);
    this.#flows = new FlowCells(memory);
    this.#timer = setInterval(() => this.#refresh(nowMs()), refreshPeriodMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** By pool. */
  plan({ pools }: Config): readonly number[] {
    const names = new Set(pools.map(({ name }) => name));
    for (const [name, row] of this.#rows) row.isConfigured = names.has(name);
    return pools.map(({ name, queue }) => {
      const kind = queue.fairBy.source === 'none' ? 'none' : queue.fairness;
      const row = this.#rows.get(name) ?? this.#take(name);
      if (row.kind !== kind) this.#flows.clear(row.index);
      row.kind = kind;
      row.halfLifeMs = queue.serviceHalfLifeMs;
      return row.index;
    });
  }

  #take(name: string): Row {
    let index = this.#rows.size;
    if (index >= queueRowCount) {
      // There are twice as many rows as a configuration has pools, so one has gone.
      const gone = [...this.#rows].filter(([, row]) => !row.isConfigured);
      const [goneName, { index: freed }] = gone.find(([, row]) => this.#queues.requests(row.index) === 0) ?? gone[0]!;
      this.#rows.delete(goneName);
      index = freed;
      this.#flows.clear(index);
    }
    const row = { index, kind: 'none', halfLifeMs: 0, isConfigured: true };
    this.#rows.set(name, row);
    return row;
  }

  #refresh(nowMs: number): void {
    for (const { index, kind, halfLifeMs } of this.#rows.values()) {
      if (kind === 'least_attained_service')
        this.#flows.refresh(index, this.#hand, cellsPerRefresh, Math.floor(nowMs / halfLifeMs));
    }
    this.#hand = (this.#hand + cellsPerRefresh) % flowCellCount;
  }
}
