import type { Asked } from './asking.ts';
import type { Execution } from './engine.ts';
import type { AccessRecord } from './gateway.ts';

// The verdict comes from what was written down on all three sides, not from nothing having crashed: what clients received,
// what engines executed, what the gateway says it did.

const connectFailures: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EADDRNOTAVAIL',
  'EPIPE',
]);

/** Contradictions between the three logs, in words; empty when they tell one story. */
export function contradictions(
  asked: readonly Asked[],
  executions: readonly Execution[],
  records: readonly AccessRecord[],
): string[] {
  const found: string[] = [];
  const executionsOf = groupBy(executions, ({ id }) => id);
  const recordsOf = groupBy(records, ({ request_id: id }) => id);
  for (const each of asked) {
    const own = executionsOf.get(each.id) ?? [];
    const [record, ...others] = recordsOf.get(each.id) ?? [];
    const say = (text: string): void => void found.push(`${each.id}: ${text}`);
    if (each.wrong !== null) say(`wrong bytes: ${each.wrong}`);
    if (others.length > 0) say(`${others.length + 1} access records`);
    if (own.filter(({ outcome }) => outcome === 'answered').length > 1) say('answered by more than one engine');
    if (record === undefined) {
      if (!each.isAbandoned && !each.mayBeLost && !connectFailures.has(each.failure)) say('no access record');
      if (own.length > 1) say(`executed ${own.length} times, without a record`);
      continue;
    }
    if (own.length > record.retries + 1) say(`executed ${own.length} times with ${record.retries} retries on record`);
    if (each.status !== 0 && each.status !== record.status)
      say(`status ${each.status}, but ${record.status} on record`);
    if (each.isWhole && each.status === 200 && record.reason !== 'done')
      say(`a whole answer with reason ${record.reason}`);
    const isCut = each.status === 200 && !each.isWhole && !each.isAbandoned && !each.mayBeLost;
    if (isCut && record.reason === 'done') say('a cut answer with reason done');
  }
  return found;
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
