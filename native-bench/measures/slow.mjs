/**
 * Slow clients, and what others notice of them. The others come at a fixed rate that leaves the machine room, so that a
 * longer wait is the proxy's and not that of a full core. Both come twice: the memory of a process that has never had slow
 * clients before is what counts, and so are the latencies of one that is warm.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bodyOf } from '../bodies.mjs';
import { parseLoad, percentilesOf, resultOf, runLoad, startLoad } from '../generators/load.mjs';
import { headersOf } from './headers.mjs';
import { Meter } from './meter.mjs';

const others = { connections: 8, ratePerS: 1000, seconds: 3 };
/** Slow clients start evenly over this long, unless the case says otherwise. */
const rampSDefault = 0.5;
/** Beyond the time that their pace needs. */
const graceMs = 20_000;

/**
 * @param {import('./requests.mjs').Context} context
 * @returns {Promise<import('../types.d.ts').RoundResult>}
 */
export async function measureSlow(context) {
  const { spec, running, engine } = context;
  const before = await runOthers(context);
  const meter = new Meter(running, engine);
  const fresh = await runBoth(context);
  const cost = meter.read(fresh.slow.requests, fresh.slow.cpuS + fresh.others.cpuS);
  const alone = await runOthers(context);
  const both = await runBoth(context);
  const metrics = {
    ...cost,
    ...(cost.rssPeakKb === undefined ? {} : { rssGrowthKb: cost.rssPeakKb - meter.rssBeforeKb }),
    slowCompleted: Math.min(fresh.slow.requests, both.slow.requests),
    othersAloneP99Us: alone.p99Us,
    othersP99Us: both.others.p99Us,
    othersP99Growth: both.others.p99Us / alone.p99Us,
  };
  const runs = [before, fresh.slow, fresh.others, alone, both.slow, both.others];
  const problems = runs.flatMap((run) => run.problems);
  if (metrics.slowCompleted < spec.connections)
    problems.push(`${metrics.slowCompleted} of ${spec.connections} slow clients were served`);
  return { metrics, problems };
}

/** @param {import('./requests.mjs').Context} context */
async function runBoth(context) {
  const { spec, running, bodyPath } = context;
  const bytesPerSecond = spec.bytesPerSecond ?? 1;
  const bytes = Math.max(spec.responseBytes, spec.body.bytes);
  const slow = startLoad(spec.measure, {
    port: running.port,
    bodyPath,
    headers: headersOf(context),
    flags: [
      '--clients',
      String(spec.connections),
      '--bytes-per-second',
      String(bytesPerSecond),
      '--ramp',
      String(spec.rampS ?? rampSDefault),
      ...(spec.responseBytes > 0 ? ['--expect-bytes', String(spec.responseBytes)] : []),
    ],
  });
  const [others, output] = await Promise.all([
    runOthers(context),
    slow.finished((bytes / bytesPerSecond) * 1000 + graceMs),
  ]);
  return { slow: resultOf(parseLoad(output)), others };
}

/** @param {import('./requests.mjs').Context} context */
async function runOthers({ running, folder }) {
  const bodyPath = join(folder, 'others.json');
  writeFileSync(bodyPath, bodyOf({ bytes: 3 * 1024, content: 'messages', modelAt: 'last' }));
  const { connections, ratePerS, seconds } = others;
  const found = await runLoad('requests', {
    port: running.port,
    bodyPath,
    headers: running.headers,
    flags: ['--connections', String(connections), '--rate', String(ratePerS), '--duration', String(seconds)],
    seconds,
  });
  return { ...percentilesOf(found, 'latency'), problems: found.problems, cpuS: found.cpuS };
}
