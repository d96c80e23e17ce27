/**
 * Slow clients, and what others notice of them: first the others alone, then both. The others come at a fixed rate that
 * leaves the machine room, so that a longer wait is the proxy's and not that of a full core.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bodyOf } from '../bodies.mjs';
import { parseLoad, percentilesOf, resultOf, runLoad, startLoad } from '../generators/load.mjs';
import { headersOf } from './headers.mjs';
import { Meter } from './meter.mjs';

const others = { connections: 8, ratePerS: 1000, seconds: 3 };
/** Slow clients start evenly over this long. */
const rampS = 0.5;
/** Beyond the time that their pace needs. */
const graceMs = 20_000;

/**
 * @param {import('./requests.mjs').Context} context
 * @returns {Promise<import('../types.d.ts').RoundResult>}
 */
export async function measureSlow(context) {
  const { spec, running, engine, bodyPath } = context;
  const bytesPerSecond = spec.bytesPerSecond ?? 1;
  const bytes = Math.max(spec.responseBytes, spec.body.bytes);
  const alone = await runOthers(context);
  const meter = new Meter(running, engine);
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
      String(rampS),
      ...(spec.responseBytes > 0 ? ['--expect-bytes', String(spec.responseBytes)] : []),
    ],
  });
  const [meanwhile, output] = await Promise.all([
    runOthers(context),
    slow.finished((bytes / bytesPerSecond) * 1000 + graceMs),
  ]);
  const found = resultOf(parseLoad(output));
  const cost = meter.read(found.requests, found.cpuS + meanwhile.cpuS);
  const metrics = {
    ...cost,
    ...(cost.rssPeakKb === undefined ? {} : { rssGrowthKb: cost.rssPeakKb - meter.rssBeforeKb }),
    slowCompleted: found.requests,
    othersAloneP99Us: alone.p99Us,
    othersP99Us: meanwhile.p99Us,
    othersP99Growth: meanwhile.p99Us / alone.p99Us,
  };
  const problems = [...alone.problems, ...found.problems, ...meanwhile.problems];
  if (found.requests < spec.connections)
    problems.push(`${found.requests} of ${spec.connections} slow clients were served`);
  return { metrics, problems };
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
