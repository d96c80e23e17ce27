import type { PoolConfig } from '../config/index.ts';
import { KvLearned } from '../pick/index.ts';
import type { FlowCells, QueueTable } from '../shm/index.ts';
import { BusyClock } from './busy-clock.ts';
import { QueueOrder } from './queue-order.ts';
import { RetryBudget, type RetryBudgetRule } from './retry-budget.ts';
import { WaitingRoom } from './waiting-room.ts';

/** What a shard keeps of each pool from one configuration to the next, by the pool's name. */
export class PoolLasting {
  readonly #rooms = new Map<string, WaitingRoom>();
  readonly #budgets = new Map<string, RetryBudget>();
  readonly #learned = new Map<string, KvLearned>();

  readonly #clocks = new Map<string, ReadonlyMap<string, BusyClock>>();
  readonly #queues: QueueTable;
  readonly #flows: FlowCells;

  constructor(queues: QueueTable, flows: FlowCells) {
    this.#queues = queues;
    this.#flows = flows;
  }

  /** `row`: the pool's of the queue table. It changes only for a pool that was away: who waits there still, waits apart. */
  readonly waitingRoom = ({ name, queue }: PoolConfig, row: number): WaitingRoom => {
    const known = this.#rooms.get(name);
    const room = known?.order.row === row ? known : new WaitingRoom(new QueueOrder(row, this.#flows), this.#queues);
    room.countMax = queue.requestsMax;
    room.bytesMax = queue.bytesMax;
    room.order.fairness = queue.fairBy.source === 'none' ? 'none' : queue.fairness;
    room.order.halfLifeMs = queue.serviceHalfLifeMs;
    this.#rooms.set(name, room);
    return room;
  };

  readonly retryBudget = (poolName: string, rule: RetryBudgetRule): RetryBudget => {
    const budget = this.#budgets.get(poolName) ?? new RetryBudget(rule);
    budget.rule = rule;
    this.#budgets.set(poolName, budget);
    return budget;
  };

  /** One for each of `urls`. */
  readonly busyClocks = (poolName: string, urls: readonly string[]): readonly BusyClock[] => {
    const known = this.#clocks.get(poolName);
    const clocks = new Map(urls.map((url) => [url, known?.get(url) ?? new BusyClock()]));
    this.#clocks.set(poolName, clocks);
    return [...clocks.values()];
  };

  readonly kvLearned = (poolName: string, urls: ReadonlySet<string>): KvLearned => {
    const learned = this.#learned.get(poolName) ?? new KvLearned();
    learned.rate.keep(urls);
    learned.eventTokens.keep(urls);
    this.#learned.set(poolName, learned);
    return learned;
  };
}
