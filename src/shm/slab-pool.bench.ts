import { bench, do_not_optimize, run } from 'mitata';
import { SharedBudget } from './budget.ts';
import { createSharedMemory } from './memory.ts';
import { SlabPool } from './slab-pool.ts';

const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 2 ** 30 });
const pool = new SlabPool(new SharedBudget(memory, 0));
const held = pool.takeSmall();
const chunk = Buffer.alloc(4096, 1);

bench('take and give a small slab', () => pool.give(pool.takeSmall()));
bench('take and give a large slab', () => pool.give(pool.takeLarge()));
bench('bytes of a held slab', () => do_not_optimize(pool.bytes(held)));
bench('take, copy 4 KiB in, give', () => {
  const slab = pool.takeSmall();
  pool.bytes(slab).set(chunk, 0);
  pool.give(slab);
});
bench('first slab of a new small segment (allocates 4 MiB and 256 views)', () => {
  const fresh = new SlabPool(new SharedBudget(memory, 0));
  fresh.give(fresh.takeSmall());
}).gc('inner');
await run();
