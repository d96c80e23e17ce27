/** Our own client, a C program, for what wrk cannot do; see native/load.c. It prints one JSON object. */
import { buildNative } from '../native/build.mjs';
import { Process } from '../process.mjs';

const graceMs = 20_000;

/** @typedef {{ port: number, bodyPath: string, path?: string, headers: Record<string, string>, flags: readonly string[] }} Wish */
/** @typedef {{ requests: number, events: number, cpuS: number, durationS: number, bytesRead: number, problems: string[],
 *   errors: Record<string, number>, printed: Record<string, any> }} LoadResult */

/**
 * One run of a mode.
 * @param {string} mode
 * @param {Wish & { seconds: number }} wish
 */
export async function runLoad(mode, wish) {
  return resultOf(parseLoad(await startLoad(mode, wish).finished(wish.seconds * 1000 + graceMs)));
}

/**
 * The same, not waited for.
 * @param {string} mode
 * @param {Wish} wish
 */
export function startLoad(mode, { port, bodyPath, path = '/v1/chat/completions', headers, flags }) {
  // It says the content type itself, and a second one is refused by careful servers.
  const fields = Object.entries(headers).flatMap(([name, value]) =>
    name === 'content-type' ? [] : ['--header', `${name}: ${value}`],
  );
  const target = ['--port', String(port), '--path', path, '--body', bodyPath];
  return new Process(`load ${mode}`, buildNative().load, [mode, ...target, ...fields, ...flags]);
}

/**
 * @param {string} output
 * @returns {Record<string, any>}
 */
export function parseLoad(output) {
  const line = output.split('\n').findLast((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`load said nothing of use: ${output.slice(0, 300)}`);
  return JSON.parse(line);
}

/**
 * What every mode prints, in the bench's units.
 * @param {Record<string, any>} printed
 * @returns {LoadResult}
 */
export function resultOf(printed) {
  /** @type {Record<string, number>} */
  const errors = printed.errors ?? {};
  return {
    requests: printed.completed ?? 0,
    events: printed.events ?? 0,
    cpuS: (printed.cpu_us ?? 0) / 1e6,
    durationS: (printed.elapsed_ns ?? 0) / 1e9,
    bytesRead: printed.received_bytes ?? 0,
    errors,
    problems: Object.entries(errors).flatMap(([kind, count]) => (count > 0 ? [`${count} x ${kind}`] : [])),
    printed,
  };
}

/**
 * One of its histograms, in microseconds.
 * @param {LoadResult} result
 * @param {string} name
 */
export function percentilesOf({ printed }, name) {
  /** @type {Record<string, number> & { cdf: [number, number][] }} */
  const found = printed[name] ?? { cdf: [] };
  const at = (/** @type {string} */ key) => (found[key] ?? 0) / 1000;
  return {
    p50Us: at('p50'),
    p90Us: at('p90'),
    p99Us: at('p99'),
    p999Us: at('p999'),
    maxUs: at('max'),
    /** @type {[number, number][]} [quantile, microseconds] */
    points: found.cdf.map(([quantile, ns]) => [quantile, ns / 1000]),
  };
}
