import { chatRequest } from '../bodies.mjs';
import { runSlowReaderPhases } from '../phases/slow-readers.mjs';

/**
 * Clients that do not read.
 * @type {import('../types.d.ts').Scenario}
 */
export const slowReaders = {
  name: 'slow-readers',
  summary: 'clients that read long answers at a trickle, beside normal ones: memory, and p99 with and without them',
  engines: { speed: 0 },
  durationS: 20,
  connections: 32,
  rate: 100,
  rateMin: 1,
  notes: [
    '--connections are slow readers; --rate is of the normal requests beside them.',
    "The growth of the resident set is of the whole process, heap included, against the end of the time without slow readers; the kernel's socket buffers are not in it.",
    'The slow readers have 2 s to fill the buffers of the kernel before the normal requests are measured beside them.',
    'With --url the long answers need an engine that knows x-sim-response-bytes, and memory is not measured.',
  ],
  buildRequests: (model) => [1, 2, 3, 4].map((seed) => chatRequest({ model, bytes: 3000, seed, tokens: 16 })),
  measure: runSlowReaderPhases,
};
