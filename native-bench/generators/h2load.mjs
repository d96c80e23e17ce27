/** h2load in HTTP/1.1 mode: a second opinion on wrk. It logs each request, and the percentiles are taken from that. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { versionOf } from '../peers/version.mjs';
import { Process } from '../process.mjs';
import { quantile } from '../stats.mjs';

const graceMs = 15_000;

export const h2loadVersion = () => versionOf('h2load', ['--version'], /nghttp2\/(\S+)/);

/**
 * @param {import('../types.d.ts').RequestLoad} load
 * @returns {Promise<import('../types.d.ts').RequestLoadResult>}
 */
export async function runH2load({ port, path, headers, bodyPath, connections, seconds, folder }) {
  const logPath = join(folder, 'h2load.log');
  // It appends.
  rmSync(logPath, { force: true });
  const fields = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const load = ['--h1', `--clients=${connections}`, `--duration=${seconds}`, `--data=${bodyPath}`];
  const url = `http://127.0.0.1:${port}${path}`;
  // Its CPU time cannot be asked for once it has ended, so a shell's `times` says it.
  const child = new Process('h2load', 'bash', [
    '-c',
    'h2load "$@" && times',
    'h2load',
    ...load,
    `--log-file=${logPath}`,
    ...fields,
    url,
  ]);
  const output = await child.finished(seconds * 1000 + graceMs);
  return { ...parseH2load(output, readFileSync(logPath, 'utf8')), durationS: seconds };
}

/**
 * @param {string} output
 * @param {string} log start in microseconds, status (-1: failed), microseconds until the end of the response
 * @returns {Omit<import('../types.d.ts').RequestLoadResult, 'durationS'>}
 */
export function parseH2load(output, log) {
  const rows = log.split('\n').filter(Boolean);
  /** @type {number[]} */
  const latencies = [];
  let bad = 0;
  for (const row of rows) {
    const [, status, us] = row.split('\t').map(Number);
    if (status === 200 && us !== undefined) latencies.push(us);
    else bad += 1;
  }
  const bytes = /traffic: .*\((\d+)\) total/.exec(output)?.[1] ?? '0';
  // The second line of `times` is that of the children: user, then system.
  const cpu = /(\d+)m([\d.]+)s (\d+)m([\d.]+)s\s*$/.exec(output)?.slice(1).map(Number) ?? [0, 0, 0, 0];
  const at = (/** @type {number} */ q) => (latencies.length === 0 ? 0 : quantile(latencies, q));
  return {
    requests: latencies.length,
    bytesRead: Number(bytes),
    errors: bad === 0 ? {} : { status: bad },
    p50Us: at(0.5),
    p90Us: at(0.9),
    p99Us: at(0.99),
    p999Us: at(0.999),
    maxUs: at(1),
    generatorCpuS: (cpu[0] ?? 0) * 60 + (cpu[1] ?? 0) + (cpu[2] ?? 0) * 60 + (cpu[3] ?? 0),
  };
}
