import { bench, do_not_optimize, run } from 'mitata';
import { createPrefixMemory, PrefixIndex, type PrefixKeys } from './prefix-index.ts';

// What one pick costs in a table of the default size (a million slots, 64 MiB), for prompts of several sizes:
// 4 KB are 8 blocks, 64 KB 128, 1 MB 416, 3 MB 544, and of many messages 672.
const endpointCount = 64;
const index = new PrefixIndex(createPrefixMemory(2 ** 20, endpointCount, 3600 * 512));
let next = 1;

function keysOf(count: number): PrefixKeys {
  const keys = {
    count,
    lows: new Int32Array(count),
    highs: new Int32Array(count),
    ends: Int32Array.from({ length: count }, (_, block) => block * 512),
  };
  for (let block = 0; block < count; block++) {
    keys.lows[block] = Math.imul(next++, 0x9e3779b1) || 1;
    keys.highs[block] = Math.imul(next, 0x85ebca6b);
  }
  return keys;
}

// Half full, so that a miss looks at slots that hold something.
for (let count = 0; count < 2 ** 19; count += 512) index.insert(keysOf(512), count % endpointCount);

const matched = new Int32Array(endpointCount);
for (const count of [8, 128, 416, 672]) {
  const known = keysOf(count);
  for (let endpoint = 0; endpoint < 9; endpoint++) index.insert(known, endpoint);
  const unknown = keysOf(count);
  bench(`look-up, ${count} blocks, nine owners each`, () => {
    matched.fill(0);
    index.lookup(known, matched);
    do_not_optimize(matched[0]);
  });
  bench(`look-up, ${count} blocks, unknown`, () => {
    matched.fill(0);
    index.lookup(unknown, matched);
    do_not_optimize(matched[0]);
  });
  bench(`refresh, ${count} blocks`, () => index.insert(known, 3));
}
bench('insert, 672 new blocks', () => index.insert(keysOf(672), 5));
await run();
