import { readFileSync } from 'node:fs';
import { arch, availableParallelism, release, type } from 'node:os';
import type { RowResult } from './row.ts';

export interface SuiteResult {
  readonly version: string;
  readonly date: string;
  readonly machine: string;
  readonly rows: readonly RowResult[];
}

/** Where and when: without it a result means nothing. */
export function environment(): Omit<SuiteResult, 'rows'> {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const kernel = release().split('.').slice(0, 2).join('.');
  return {
    version,
    date: new Date().toISOString().slice(0, 10),
    machine: `${availableParallelism()} shared ${arch() === 'x64' ? 'x86-64' : arch()} cores, Node ${process.versions.node}, ${type()} ${kernel}`,
  };
}
