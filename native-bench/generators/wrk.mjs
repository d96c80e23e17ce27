/** wrk 4: the closed-loop generator whose numbers strangers trust. One thread. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { versionOf } from '../peers/version.mjs';
import { Process } from '../process.mjs';

/** Beyond the time of the load: for the start, and for the last answers. */
const graceMs = 15_000;
const timeoutS = 30;
const marker = 'native-bench ';

export const wrkVersion = () => versionOf('wrk', ['-v'], /wrk (?:debian\/)?(\S+)/);

/**
 * @param {import('../types.d.ts').RequestLoad} load
 * @returns {Promise<import('../types.d.ts').RequestLoadResult>}
 */
export async function runWrk({ port, path, headers, bodyPath, connections, seconds, folder }) {
  const scriptPath = join(folder, 'wrk.lua');
  writeFileSync(scriptPath, scriptOf(headers, bodyPath));
  const argv = ['-t1', `-c${connections}`, `-d${Math.max(1, Math.round(seconds))}s`, `--timeout`, `${timeoutS}s`];
  const child = new Process('wrk', 'wrk', [...argv, '-s', scriptPath, `http://127.0.0.1:${port}${path}`]);
  return parseWrk(await child.finished(seconds * 1000 + graceMs));
}

/**
 * The request is static, so wrk formats it once; what it found is printed as JSON. `cpu` is what wrk itself took.
 * @param {Record<string, string>} headers
 * @param {string} bodyPath
 */
function scriptOf(headers, bodyPath) {
  const fields = Object.entries(headers).map(([name, value]) => `wrk.headers[${luaText(name)}] = ${luaText(value)}`);
  return `local file = assert(io.open(${luaText(bodyPath)}, "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
${fields.join('\n')}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('${marker}{"requests":%d,"durationUs":%d,"bytesRead":%.0f,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,' ..
    '"p50":%.0f,"p90":%.0f,"p99":%.0f,"p999":%.0f,"max":%.0f,"cpuS":%.3f}\\n',
    summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max,
    os.clock()))
end
`;
}

/** @param {string} value */
function luaText(value) {
  return JSON.stringify(value);
}

/**
 * Throws when the line of the script is not there.
 * @param {string} output
 * @returns {import('../types.d.ts').RequestLoadResult}
 */
export function parseWrk(output) {
  const line = output.split('\n').find((text) => text.startsWith(marker));
  if (line === undefined) throw new Error(`wrk said nothing of use: ${output.slice(0, 300)}`);
  /** @type {Record<string, number>} */
  const found = JSON.parse(line.slice(marker.length));
  const at = (/** @type {string} */ name) => found[name] ?? 0;
  const names = ['connect', 'read', 'write', 'status', 'timeout'];
  return {
    requests: at('requests'),
    durationS: at('durationUs') / 1e6,
    bytesRead: at('bytesRead'),
    errors: Object.fromEntries(names.filter((name) => at(name) > 0).map((name) => [name, at(name)])),
    p50Us: at('p50'),
    p90Us: at('p90'),
    p99Us: at('p99'),
    p999Us: at('p999'),
    maxUs: at('max'),
    generatorCpuS: at('cpuS'),
  };
}
