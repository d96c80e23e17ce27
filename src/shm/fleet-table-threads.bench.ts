// What the shared tables cost when another thread uses them at the same time: each case runs beside a second thread that
// does one thing over and over. Needs two cores of its own, or it measures the scheduler.
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { bench, do_not_optimize, run } from 'mitata';
import { EndpointState, FleetTable } from './fleet-table.ts';
import { createSharedMemory } from './memory.ts';
import type { SharedMemory } from './memory.ts';

/** What the other thread does. */
const Job = { none: 0, publish: 1, readScrape: 2, takeSame: 3, takeNeighbour: 4, noteTtft: 5 } as const;
type Job = (typeof Job)[keyof typeof Job];
const slot = 5;
const neighbour = 6;
/** Between two looks at what to do. */
const roundCount = 1000;
const scrape = { queueDepth: 1, runningRequests: 3, kvCacheUsageRatio: 0.5, scrapedAtMs: 1_000_000 };

interface Shared {
  readonly memory: SharedMemory;
  /** [0]: rounds done, in thousands. */
  readonly words: Int32Array;
  readonly job: Job;
}

function work({ memory, words, job }: Shared): void {
  const table = new FleetTable(memory, job === Job.publish ? -1 : 1);
  const out = { ...scrape };
  for (;;) {
    for (let round = 0; round < roundCount; round++) {
      switch (job) {
        case Job.publish:
          table.publishScrape(slot, scrape);
          break;
        case Job.readScrape:
          table.readScrape(slot, out);
          break;
        case Job.noteTtft:
          table.health.noteTtft(slot, 2, 120);
          break;
        case Job.takeSame:
        case Job.takeNeighbour: {
          const taken = job === Job.takeSame ? slot : neighbour;
          if (table.tryTakeInflight(taken, 0)) table.giveInflight(taken);
        }
      }
    }
    Atomics.add(words, 0, 1);
    Atomics.notify(words, 0);
  }
}

async function main(): Promise<void> {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 64, bufferedBytesMax: 2 ** 30 });
  const control = new FleetTable(memory, -1);
  const table = new FleetTable(memory, 0);
  for (let index = 0; index < 64; index++) {
    control.claim();
    control.setState(index, EndpointState.healthy);
    control.publishScrape(index, scrape);
  }
  const out = { ...scrape };

  const beside = (job: Job, name: string, step: () => unknown): void => {
    bench(name, function* () {
      if (job !== Job.none) {
        const words = new Int32Array(new SharedArrayBuffer(4));
        new Worker(new URL(import.meta.url), { workerData: { memory, words, job } satisfies Shared }).unref();
        // Measured is what happens once it is at work.
        Atomics.wait(words, 0, 0);
      }
      yield () => do_not_optimize(step());
    });
  };
  const take = (): void => {
    if (table.tryTakeInflight(slot, 0)) table.giveInflight(slot);
  };
  beside(Job.none, 'readScrape, alone', () => table.readScrape(slot, out));
  beside(Job.readScrape, 'readScrape, another thread reads it too', () => table.readScrape(slot, out));
  beside(Job.publish, 'readScrape, another thread publishes without a pause', () => table.readScrape(slot, out));
  beside(Job.takeSame, 'readScrape, another thread takes and gives the same endpoint', () =>
    table.readScrape(slot, out),
  );
  beside(Job.none, 'publishScrape, alone', () => control.publishScrape(slot, scrape));
  beside(Job.readScrape, 'publishScrape, another thread reads it', () => control.publishScrape(slot, scrape));
  beside(Job.none, 'inflight take and give, alone', take);
  beside(Job.takeNeighbour, 'inflight take and give, another thread at the next endpoint', take);
  beside(Job.takeSame, 'inflight take and give, another thread at the same endpoint', take);
  beside(Job.none, 'noteTtft, alone', () => table.health.noteTtft(slot, 2, 120));
  beside(Job.noteTtft, 'noteTtft, another thread at the same endpoint', () => table.health.noteTtft(slot, 2, 120));
  await run();
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what `beside` passed.
if (isMainThread) await main();
else work(workerData as Shared);
