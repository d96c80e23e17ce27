/** What each request of a case says to the engine, through whatever proxy. */

/**
 * @param {Pick<import('./requests.mjs').Context, 'spec' | 'running' | 'seconds'>} context
 * @returns {Record<string, string>}
 */
export function headersOf({ spec, running, seconds }) {
  /** @type {Record<string, string>} */
  const headers = { 'content-type': 'application/json', ...running.headers };
  if (spec.responseBytes > 0) headers['x-bench-response'] = String(spec.responseBytes);
  if (spec.stream !== undefined) {
    const { tokensPerSecond, tokens } = spec.stream;
    headers['x-bench-stream'] = `${tokens === 0 ? tokensPerSecond * seconds : tokens},${tokensPerSecond},0`;
  }
  return headers;
}
