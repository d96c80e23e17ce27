/** Our own client as a closed-loop generator, in the shape of the others. */
import { percentilesOf, runLoad } from './load.mjs';

/**
 * @param {import('../types.d.ts').RequestLoad} load
 * @returns {Promise<import('../types.d.ts').RequestLoadResult>}
 */
export async function runLoadRequests({ connections, seconds, ...load }) {
  const flags = ['--connections', String(connections), '--duration', String(seconds)];
  const found = await runLoad('requests', { ...load, seconds, flags });
  const { points: _, ...latency } = percentilesOf(found, 'latency');
  const { requests, durationS, bytesRead, errors, cpuS } = found;
  return { requests, durationS, bytesRead, errors, ...latency, generatorCpuS: cpuS };
}
