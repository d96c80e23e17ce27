/** Token streams, open loop: time to the first token from the intended start, each event's delay behind the engine. */
import { percentilesOf, runLoad } from '../generators/load.mjs';
import { headersOf } from './headers.mjs';
import { Meter } from './meter.mjs';

/** Paced streams start evenly over this long, as users do. */
const rampS = 1;

/**
 * @param {import('./requests.mjs').Context} context
 * @returns {Promise<import('../types.d.ts').RoundResult>}
 */
export async function measureStreams(context) {
  const { spec, running, engine, seconds, bodyPath } = context;
  const { stream } = spec;
  if (stream === undefined) throw new Error(`${spec.name} has no stream`);
  const repeat = stream.isRepeated ? ['--repeat', '--duration', String(seconds)] : [];
  await engine.reset();
  const meter = new Meter(running, engine);
  const found = await runLoad('streams', {
    port: running.port,
    bodyPath,
    headers: headersOf(context),
    flags: ['--streams', String(spec.connections), '--ramp', String(stream.tokensPerSecond > 0 ? rampS : 0), ...repeat],
    seconds,
  });
  const ttft = percentilesOf(found, 'ttft');
  const delay = percentilesOf(found, 'event_delay');
  const gap = percentilesOf(found, 'gap');
  const metrics = {
    events: found.events,
    streams: found.requests,
    ttftP50Us: ttft.p50Us,
    ttftP99Us: ttft.p99Us,
    delayP50Us: delay.p50Us,
    delayP99Us: delay.p99Us,
    gapP99Us: gap.p99Us,
    ...meter.read(found.events, found.cpuS),
  };
  const problems = [...found.problems];
  if (found.events === 0) problems.push('no event came');
  return { metrics, problems, delayPoints: delay.points };
}
