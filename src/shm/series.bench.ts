import { bench, do_not_optimize, run } from 'mitata';
import { createSharedMemory } from './memory.ts';
import { SeriesReader, SeriesWriter } from './series.ts';

const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 1, bufferedBytesMax: 1024 });
const writer = new SeriesWriter(memory, 0);
const reader = new SeriesReader(memory);
const cell = writer.counter(0, ['model', 'pool']);
const histogram = writer.histogram(1, ['model', 'pool']);
// Values like gaps between tokens; made before, so that the generator is not measured.
const values = Array.from({ length: 1024 }, (_, index) => 5000 + ((index * 7919) % 40_000));
let at = 0;

bench('add', () => writer.add(cell, 1));
bench('record', () => writer.record(histogram, values[at++ & 1023]!));
bench('record, value above 2^32', () => writer.record(histogram, 2 ** 33 + (at++ & 1023)));
bench('counter: find (cold path)', () => do_not_optimize(writer.counter(0, ['model', 'pool'])));

const fleet = createSharedMemory({ shardCount: 2, endpointCountMax: 1, bufferedBytesMax: 1024 });
for (const shard of [0, 1]) {
  const shardWriter = new SeriesWriter(fleet, shard);
  for (let index = 0; index < 400; index++) shardWriter.add(shardWriter.counter(0, [`model-${index}`, 'pool']), 1);
  for (let index = 0; index < 100; index++) shardWriter.record(shardWriter.histogram(1, [`model-${index}`]), 100);
}
const fleetReader = new SeriesReader(fleet);
bench('collect: 1 counter, 1 histogram', () => do_not_optimize(reader.collect()));
bench('collect: 400 counters, 100 histograms in each of 2 shards', () => do_not_optimize(fleetReader.collect()));
await run();
