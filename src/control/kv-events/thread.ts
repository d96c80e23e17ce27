/**
 * The thread that reads KV events. One for all engines, and apart from control: 16 engines with 1,000 new blocks a second each
 * take 4 % of a core, and one that sends nonsense may take more, none of it from health checks and the admin port.
 */
import { parentPort } from 'node:worker_threads';
import { Resolver } from '../../upstream/resolver.ts';
import type { ControlToReader, PublisherReport, ReaderToControl } from './protocol.ts';
import { ReadBudget } from './read-budget.ts';
import { Subscription } from './subscription.ts';

const reportPeriodMs = 250;

const port = parentPort!;
const budget = new ReadBudget();
/** A name is asked for once at a time, however many publishers it has: look-ups take threads that requests need too. */
const { lookup } = new Resolver(() => performance.now());
const followed = new Map<number, { readonly subscription: Subscription; reported: string }>();

function send(message: ReaderToControl): void {
  port.postMessage(message);
}

function watch({ publishers }: ControlToReader & { readonly kind: 'watch' }): void {
  const ids = new Set(publishers.map(({ id }) => id));
  for (const [id, { subscription }] of followed) {
    if (ids.has(id)) continue;
    subscription.stop();
    followed.delete(id);
  }
  for (const spec of publishers) {
    if (followed.has(spec.id)) continue;
    const subscription = new Subscription({
      ...spec,
      budget,
      lookup,
      onRemark: (remark) => send({ kind: 'said', id: spec.id, remark }),
      onEmptied: (cause) => send({ kind: 'emptied', cause, report: { id: spec.id, ...subscription.report() } }),
    });
    followed.set(spec.id, { subscription, reported: '' });
  }
}

function report(): void {
  const reports: PublisherReport[] = [];
  for (const [id, entry] of followed) {
    const current = { id, ...entry.subscription.report() };
    const text = JSON.stringify(current);
    if (text === entry.reported) continue;
    entry.reported = text;
    reports.push(current);
  }
  if (reports.length > 0) send({ kind: 'reports', reports });
}

port.on('message', (message: ControlToReader) => {
  if (message.kind === 'watch') watch(message);
  else for (const id of message.ids) followed.get(id)?.subscription.track.forgetLife();
});
setInterval(report, reportPeriodMs);
