/** Closed loop: each connection sends its next request when it has the answer. A native generator counts. */
import { runGenerator } from '../generators/index.mjs';
import { headersOf } from './headers.mjs';
import { Meter } from './meter.mjs';

const path = '/v1/chat/completions';
/** Of the bytes that ought to be there; a gateway that writes JSON anew may leave out blanks and fields. */
const rewritingTolerance = 0.1;

/** @typedef {{ spec: import('../types.d.ts').Case, peer: import('../types.d.ts').Peer,
 *   running: import('../types.d.ts').RunningPeer, engine: import('../engine.mjs').Engine, seconds: number,
 *   bodyPath: string, folder: string, generator: import('../types.d.ts').GeneratorName }} Context */

/**
 * @param {Context} context
 * @returns {Promise<import('../types.d.ts').RoundResult>}
 */
export async function measureRequests(context) {
  const { spec, running, engine, seconds, bodyPath, folder, generator } = context;
  await engine.reset();
  const meter = new Meter(running, engine);
  const found = await runGenerator(generator, {
    port: running.port,
    path,
    headers: headersOf(context),
    bodyPath,
    connections: spec.connections,
    seconds,
    folder,
  });
  const metrics = {
    requests: found.requests,
    perSecond: found.requests / found.durationS,
    p50Us: found.p50Us,
    p90Us: found.p90Us,
    p99Us: found.p99Us,
    p999Us: found.p999Us,
    maxUs: found.maxUs,
    ...meter.read(found.requests, found.generatorCpuS),
  };
  const problems = Object.entries(found.errors).map(([kind, count]) => `${count} x ${kind}`);
  problems.push(...byteProblems(context, found, await engine.count()));
  return { metrics, problems };
}

/**
 * Every answered request must have reached the engine whole, and its answer the client.
 * @param {Context} context
 * @param {import('../types.d.ts').RequestLoadResult} found
 * @param {import('../engine.mjs').EngineCount} counted
 */
function byteProblems({ spec, peer }, found, counted) {
  const tolerance = peer.isRewriting === true ? rewritingTolerance : 0;
  const problems = [];
  if (found.requests === 0) problems.push('no request was answered');
  if (counted.requests < found.requests) {
    problems.push(`${found.requests} answers, but the engine saw ${counted.requests} requests`);
  }
  // Those cut off by the end of the load may have arrived in part.
  const low = found.requests * spec.body.bytes * (1 - tolerance);
  const high = (found.requests + 2 * spec.connections) * spec.body.bytes * (1 + tolerance);
  if (counted.bodyBytes < low || counted.bodyBytes > high) {
    problems.push(
      `the engine got ${counted.bodyBytes} body bytes for ${found.requests} requests of ${spec.body.bytes}`,
    );
  }
  if (found.bytesRead < found.requests * spec.responseBytes * (1 - tolerance)) {
    problems.push(`${found.bytesRead} bytes read in ${found.requests} responses of ${spec.responseBytes}`);
  }
  return problems;
}
