/** Streams that have had their first event and then nothing: memory after less memory before, over their number. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseLoad, resultOf, startLoad } from '../generators/load.mjs';
import { costOf, treeOf } from '../process-cost.mjs';

const rampS = 1;
/** Collectors of garbage and caches of freed memory come to rest. */
const settleMs = 2500;
const openTimeoutMs = 30_000;
const endTimeoutMs = 15_000;
/** Longer than all of that. */
const holdS = 120;

/**
 * @param {import('./requests.mjs').Context} context
 * @returns {Promise<import('../types.d.ts').RoundResult>}
 */
export async function measureOpenStreams({ spec, running, bodyPath }) {
  const pids = treeOf(running.pid);
  await sleep(settleMs);
  const before = costOf(pids);
  const headers = { ...running.headers, 'x-bench-stream': `hold,${holdS}` };
  const flags = ['--streams', String(spec.connections), '--ramp', String(rampS), '--duration', String(holdS)];
  const load = startLoad('hold', { port: running.port, bodyPath, headers, flags });
  try {
    await load.said(/^holding \d+$/m, openTimeoutMs);
    await sleep(settleMs);
    const after = costOf(pids);
    load.kill('SIGTERM');
    const found = resultOf(parseLoad(await load.finished(endTimeoutMs)));
    const metrics = {
      streams: spec.connections,
      rssBeforeKb: before.rssKb,
      rssAfterKb: after.rssKb,
      ...(pids.length === 0 ? {} : { rssPerStreamKb: (after.rssKb - before.rssKb) / spec.connections }),
    };
    return { metrics, problems: found.problems };
  } finally {
    await load.stop();
  }
}
