/** How each kind of case is measured; one file each. */
import { runLoad } from '../generators/load.mjs';
import { runWrk } from '../generators/wrk.mjs';
import { measureChurn } from './churn.mjs';
import { headersOf } from './headers.mjs';
import { measureOpenStreams } from './open-streams.mjs';
import { measureRequests } from './requests.mjs';
import { measureSlow } from './slow.mjs';
import { measureStreams } from './streams.mjs';

const measures = {
  requests: measureRequests,
  churn: measureChurn,
  streams: measureStreams,
  'slow-readers': measureSlow,
  'slow-writers': measureSlow,
  'open-streams': measureOpenStreams,
};

/** Node and its peers compile what is hot while they are warmed; nothing of it is counted. */
const warm = { seconds: 2, connectionsMax: 32, requests: 500, tokens: 200 };

/** @param {import('../types.d.ts').Case} spec */
export function unitOf({ measure }) {
  return measure === 'streams' ? 'event' : 'request';
}

/**
 * @param {import('./requests.mjs').Context} context
 * @returns {Promise<import('../types.d.ts').RoundResult>}
 */
export function measureCase(context) {
  return measures[context.spec.measure](context);
}

/** @param {import('./requests.mjs').Context} context */
export async function warmUp(context) {
  const { spec, running, bodyPath, folder } = context;
  const connections = Math.min(spec.connections, warm.connectionsMax);
  const target = { port: running.port, bodyPath, seconds: warm.seconds };
  const headers = headersOf(context);
  if (spec.measure === 'streams') {
    const flags = ['--streams', String(connections), '--repeat', '--duration', String(warm.seconds)];
    await runLoad('streams', { ...target, headers: { ...headers, 'x-bench-stream': `${warm.tokens},0,0` }, flags });
  } else if (spec.isFresh === true) {
    // A few, for memory is what counts: the heap of a process that has answered many has room for more.
    const flags = ['--connections', String(connections), '--count', String(warm.requests)];
    await runLoad('requests', { ...target, headers: running.headers, flags });
  } else {
    await runWrk({ ...target, path: '/v1/chat/completions', headers, connections, folder });
  }
}
