/** A new connection for each request; the time to connect is part of the latency. */
import { percentilesOf, runLoad } from '../generators/load.mjs';
import { headersOf } from './headers.mjs';
import { Meter } from './meter.mjs';

/**
 * @param {import('./requests.mjs').Context} context
 * @returns {Promise<import('../types.d.ts').RoundResult>}
 */
export async function measureChurn(context) {
  const { spec, running, engine, seconds, bodyPath } = context;
  const meter = new Meter(running, engine);
  const found = await runLoad('churn', {
    port: running.port,
    bodyPath,
    headers: headersOf(context),
    flags: ['--connections', String(spec.connections), '--duration', String(seconds)],
    seconds,
  });
  const { points: _, ...latency } = percentilesOf(found, 'latency');
  const metrics = { requests: found.requests, ...latency, ...meter.read(found.requests, found.cpuS) };
  return { metrics, problems: found.requests === 0 ? ['no request was answered', ...found.problems] : found.problems };
}
