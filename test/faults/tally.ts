import type { Asked } from './asking.ts';

export function isServed({ status, isWhole }: Asked): boolean {
  return status === 200 && isWhole;
}

/** `3 x 502 connect_failed, 1 x cut stream_truncated`. */
export function tally(asked: readonly Asked[]): string {
  const counts = new Map<string, number>();
  for (const each of asked) {
    const what = whatOf(each);
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  return [...counts].map(([what, count]) => `${count} x ${what}`).join(', ') || 'none';
}

function whatOf(asked: Asked): string {
  if (isServed(asked)) return 'served';
  if (asked.failure !== '') return asked.failure;
  return `${asked.status === 200 ? 'cut' : asked.status} ${asked.code}`.trim();
}
