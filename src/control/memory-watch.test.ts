import { pino } from 'pino';
import { expect, test } from 'vitest';
import { bodyBudgetBytes } from './memory-watch.ts';

const mib = 1024 * 1024;

// FAULTS F53.
test.each([
  ['there is no limit', 1024, 0, 100, 1024, 0],
  ['the limit is far away', 1024, 16_384, 100, 1024, 0],
  ['the limit is near', 1024, 600, 100, 200, 1],
  ['hardly anything is left', 1024, 120, 100, 16, 1],
])(
  'memory: when %s, %i MiB for bodies in a container of %i MiB with %i in use are %i',
  (_, wanted, limit, used, got, warnings) => {
    const lines: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
    expect(bodyBudgetBytes(wanted * mib, log, limit * mib, used * mib)).toBe(got * mib);
    expect(lines.length).toBe(warnings);
  },
);
