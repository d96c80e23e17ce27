import pino from 'pino';
import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import type { Config } from '../config/index.ts';
import { connectionsFor, connectionsMaxOf, openFilesMax } from './file-limit.ts';

function configOf(connectionsMax: string): Config {
  const text = `listeners: [{ name: l, address: "127.0.0.1:0" }]
limits: { connections_max: ${connectionsMax} }
pools: [{ name: p, endpoints: [{ url: "http://h:1" }] }]`;
  const loaded = parseConfig(text, '/etc/penstock/f.yaml', {});
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.config;
}

function warningsOf(connectionsMax: string, filesMax: number | null): { count: number; warnings: string[] } {
  const warnings: string[] = [];
  const log = pino({}, { write: (line: string) => void warnings.push(line) });
  return { count: connectionsMaxOf(configOf(connectionsMax), 2, log, filesMax), warnings };
}

test('file limit: when clients have all their connections, as many are left for endpoints', () => {
  for (const files of [256, 1024, 65_536, 1_048_576]) {
    const count = connectionsFor(files, 2);
    expect(count, `of ${files}`).toBeGreaterThanOrEqual(16);
    expect(count * 2 + 64 + 2 * 16, `of ${files}`).toBeLessThanOrEqual(files);
  }
  expect(connectionsFor(Number.POSITIVE_INFINITY, 2)).toBe(1_000_000);
});

test('file limit: when there are few files, or fewer than was asked for, the log says so', () => {
  expect(warningsOf('auto', 1024)).toMatchObject({
    count: connectionsFor(1024, 2),
    warnings: [expect.stringContaining('ulimit -n')],
  });
  expect(warningsOf('auto', 1_048_576).warnings).toEqual([]);
  expect(warningsOf('1000', 1024)).toMatchObject({
    count: 1000,
    warnings: [expect.stringContaining('limits.connections_max')],
  });
  expect(warningsOf('1000', 65_536)).toMatchObject({ count: 1000, warnings: [] });
  expect(warningsOf('auto', null)).toMatchObject({ count: 65_536, warnings: [] });
});

test.runIf(process.platform === 'linux')('file limit: when the system is asked, it has a limit', () => {
  expect(openFilesMax()).toBeGreaterThan(100);
});
