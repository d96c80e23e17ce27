import { KvLearned } from '../pick/index.ts';
import { RetryBudget, type RetryBudgetRule } from './retry-budget.ts';
import { WaitingRoom } from './waiting-room.ts';

/** What a shard keeps of each pool from one configuration to the next, by the pool's name. */
export class PoolLasting {
  readonly #rooms = new Map<string, WaitingRoom>();
  readonly #budgets = new Map<string, RetryBudget>();
  readonly #learned = new Map<string, KvLearned>();

  readonly waitingRoom = (poolName: string, countMax: number): WaitingRoom => {
    const room = this.#rooms.get(poolName) ?? new WaitingRoom(countMax);
    room.countMax = countMax;
    this.#rooms.set(poolName, room);
    return room;
  };

  readonly retryBudget = (poolName: string, rule: RetryBudgetRule): RetryBudget => {
    const budget = this.#budgets.get(poolName) ?? new RetryBudget(rule);
    budget.rule = rule;
    this.#budgets.set(poolName, budget);
    return budget;
  };

  readonly kvLearned = (poolName: string, urls: ReadonlySet<string>): KvLearned => {
    const learned = this.#learned.get(poolName) ?? new KvLearned();
    learned.rate.keep(urls);
    this.#learned.set(poolName, learned);
    return learned;
  };
}
