import { setTimeout as sleep } from 'node:timers/promises';
import { sharedStream, Valkey, valkeyProgram } from '../../rig/valkey.ts';
import { Gateway } from '../gateway.ts';
import type { FaultRow } from '../row.ts';
import { isServed, tally } from '../tally.ts';

/** Of a request that waits for nothing but its engine, on a machine that does other things too. */
const servedWithinMs = 1000;

export const sharingRows: readonly FaultRow[] = [
  {
    id: 'F58',
    how: 'two gateways share a Valkey or Redis; it is killed and comes back empty 2 s later; stops for 7 s with its connections open (SIGSTOP); is filled with garbage. 40 requests/s for 14 s with prompts of 8 KB',
    tools: [valkeyProgram ?? 'valkey-server'],
    async run(stage) {
      const store = await Valkey.start();
      stage.after(() => store.down());
      const plan = { engines: 2, shards: 2, pool: 'picker: kv_aware', top: `sharing: { url: "${store.url}" }` };
      const gateway = await stage.start(plan);
      // Its log tells of no request, so it is not one of the three.
      const peer = await Gateway.start({ yaml: stage.yaml(plan), listener: 'filter_chains: [edge]' });
      stage.after(() => {
        peer.kill();
        peer.remove();
      });
      const isUp = async (): Promise<boolean> =>
        (await gateway.metric('penstock_sharing_up')) === 1 && (await gateway.metric('penstock_sharing_peers')) === 1;
      await stage.until(isUp, 'they know of each other');
      const load = stage.clients.load(40, 14_000, { promptBytes: 8192 });
      await store.down();
      await stage.until(async () => (await gateway.metric('penstock_sharing_up')) === 0, 'the loss is seen');
      await sleep(2000);
      await store.up();
      const backMs = await stage.until(isUp, 'they know of each other again', 7000);
      store.freeze(true);
      const seenMs = await stage.until(
        async () => (await gateway.metric('penstock_sharing_up')) === 0,
        'the silence is seen',
        8000,
      );
      store.freeze(false);
      const thawedMs = await stage.until(isUp, 'they know of each other after the silence', 7000);
      for (let count = 0; count < 200; count++)
        await store.ask('XADD', sharedStream('blocks'), '*', 'b', `PS${'x'.repeat(count)}`);
      await stage.until(
        async () => (await gateway.metric('penstock_sharing_batches_total', 'malformed')) === 200,
        'the garbage is counted',
      );
      const asked = await load;
      const slowestMs = Math.max(...asked.map(({ startMs, endMs }) => endMs - startMs));
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise(slowestMs < servedWithinMs, `the slowest took ${Math.round(slowestMs)} ms`);
      stage.promise((await gateway.ask('/ready')).status === 200, 'it is not ready');
      const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
      stage.note(
        `${tally(asked)}, the slowest in ${Math.round(slowestMs)} ms; shared again ${seconds(backMs)} after it was back and ${seconds(thawedMs)} after the silence, which was seen after ${seconds(seenMs)}; 200 malformed batches counted`,
      );
    },
  },
];
