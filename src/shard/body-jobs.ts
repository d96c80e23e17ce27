import { Lease } from '../exchange/index.ts';
import type { JsonCheck, TokenCount, WorkerPool } from '../worker/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { ShardParts } from './shard-state.ts';

/** Worker threads reading a body in place. It may outlive the exchange, and then owns the slabs that has let go of. */
export interface BodyReading {
  jobCount: number;
  readonly slabs: number[];
}

/**
 * Work on a whole body that takes more than about 2 ms, done on a worker thread: a 3 MB prompt is counted in most of a
 * second and parsed in ten milliseconds, and the shard's loop does neither. The thread reads the slabs where they lie, so
 * they are held until it is done.
 */
export class BodyJobs {
  readonly #workers: WorkerPool;
  readonly #parts: ShardParts;

  constructor(workers: WorkerPool, parts: ShardParts) {
    this.#workers = workers;
    this.#parts = parts;
  }

  /** Sets the exchange's prompt tokens when the count is here; nobody waits. Refused jobs leave the estimate. */
  countPrompt(exchange: GatewayExchange): void {
    const { generation } = exchange;
    this.#run(
      exchange,
      (pieces, range) => this.#workers.countPromptTokens(pieces, range),
      (count: TokenCount | null) => {
        if (exchange.generation === generation && count !== null && count.tokens >= 0)
          exchange.promptTokens = count.tokens;
      },
    );
  }

  /** Calls `done` on a later turn, unless the exchange is over by then. Null: the workers have too much to do. */
  checkJson(exchange: GatewayExchange, done: (check: JsonCheck | null) => void): void {
    const { generation } = exchange;
    this.#run(
      exchange,
      (pieces, range) => this.#workers.checkJson(pieces, range),
      (check: JsonCheck | null) => {
        if (exchange.generation === generation) done(check);
      },
    );
  }

  #run<Result>(
    exchange: GatewayExchange,
    start: (
      pieces: ReturnType<ShardParts['slabs']['share']>[],
      range: { start: number; end: number },
    ) => Promise<Result>,
    done: (result: Result) => void,
  ): void {
    const { slabs, leases } = this.#parts;
    const { body, generation } = exchange;
    const pieces = Array.from({ length: body.slabCount }, (_, index) => slabs.share(body.slab(index)));
    const reading = (exchange.reading ??= { jobCount: 0, slabs: [] });
    reading.jobCount++;
    leases.takeMany(Lease.workerJob, 1);
    void start(pieces, { start: 0, end: body.receivedBytes }).then((result) => {
      this.#parts.clock.refresh();
      leases.giveMany(Lease.workerJob, 1);
      if (--reading.jobCount === 0) {
        for (const slab of reading.slabs) slabs.give(slab);
        if (reading.slabs.length > 0) leases.giveMany(Lease.bodySlab, reading.slabs.length);
        if (exchange.generation === generation) exchange.reading = null;
      }
      done(result);
    });
  }
}
