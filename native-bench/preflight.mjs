/** One request before anything is measured: does this peer really do the work of the case? */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { headersOf } from './measures/headers.mjs';

const timeoutMs = 20_000;

/**
 * Throws with the reason when it does not.
 * @param {import('./measures/requests.mjs').Context} context
 */
export async function preflight(context) {
  const { spec, peer, running, engine, bodyPath } = context;
  await engine.reset();
  const { status, body } = await post(running.port, headersOf(context), readFileSync(bodyPath));
  if (status !== 200) throw new Error(`status ${status}: ${body.toString('utf8', 0, 200)}`);
  const { requests, bodyBytes } = await engine.count();
  if (requests !== 1) throw new Error(`the engine saw ${requests} requests for one`);
  if (peer.isRewriting !== true) {
    if (bodyBytes !== spec.body.bytes) throw new Error(`the engine got ${bodyBytes} of ${spec.body.bytes} body bytes`);
    if (spec.responseBytes > 0 && body.length !== spec.responseBytes) {
      throw new Error(`${body.length} of ${spec.responseBytes} response bytes came back`);
    }
  }
  if (spec.stream !== undefined && !body.includes('data: [DONE]')) throw new Error('the stream has no [DONE]');
}

/**
 * @param {number} port
 * @param {Record<string, string>} headers
 * @param {Buffer} content
 * @returns {Promise<{ status: number, body: Buffer }>}
 */
function post(port, headers, content) {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', method: 'POST', path: '/v1/chat/completions', timeout: timeoutMs };
    const sent = request({ ...options, headers: { ...headers, 'content-length': content.length } }, (response) => {
      /** @type {Buffer[]} */
      const chunks = [];
      response.on('data', (/** @type {Buffer} */ chunk) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
    });
    sent.once('timeout', () => sent.destroy(new Error(`no answer in ${timeoutMs} ms`)));
    sent.once('error', reject);
    sent.end(content);
  });
}
