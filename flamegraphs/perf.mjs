/**
 * Stacks of Linux perf: what V8's profiler cannot see, the kernel and native code. Half of what a proxy costs is there.
 * JavaScript frames have names because V8 writes /tmp/perf-PID.map (`--perf-basic-prof`).
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { scriptFrame } from './areas.mjs';
import { Frame } from './frame.mjs';

/** Of the gateway. The second one gives interpreted functions a frame with their own name. */
export const perfNodeFlags = ['--perf-basic-prof', '--interpreted-frames-native-stack'];
/** Not a divisor of anything that ticks at 1000 Hz. */
const samplesPerSecond = 499;

/** Null when perf can be used, else why not. @param {string} scratchFile */
export function perfProblem(scratchFile) {
  const { error, status, stderr } = spawnSync('perf', recordArguments(scratchFile, ['--', 'true']), {
    encoding: 'utf8',
  });
  if (error !== undefined) return `perf cannot be run: ${error.message}`;
  return status === 0 ? null : `perf may not record (kernel.perf_event_paranoid?): ${stderr.trim().split('\n')[0]}`;
}

export class PerfRecording {
  #file;
  #pid;
  #process;

  /**
   * @param {number} pid every thread of it, those to come as well
   * @param {string} file
   */
  constructor(pid, file) {
    this.#pid = pid;
    this.#file = file;
    this.#process = spawn('perf', recordArguments(file, ['-p', String(pid)]), { stdio: 'ignore' });
  }

  /** Ends the recording. Call it while the process still runs: its map is read by `threads`. */
  async stop() {
    if (this.#process.exitCode !== null) throw new Error('perf ended before the load did');
    const exit = once(this.#process, 'exit');
    this.#process.kill('SIGINT');
    await exit;
  }

  /** @returns {Promise<import('./frame.mjs').ThreadProfile[]>} */
  async threads() {
    const script = spawn('perf', ['script', '--no-inline', '-F', 'pid,tid,period,ip,sym,dso', '-i', this.#file], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return threadsOf(createInterface({ input: script.stdout }), this.#pid);
  }
}

/** V8 leaves them behind. @param {readonly number[]} pids every process that was started with `perfNodeFlags` */
export async function removeMaps(pids) {
  await Promise.all(pids.map((pid) => rm(`/tmp/perf-${pid}.map`, { force: true })));
}

/**
 * @param {string} file
 * @param {string[]} target
 */
function recordArguments(file, target) {
  // cpu-clock: a machine without counters has it too, and its period is nanoseconds.
  return ['record', '-q', '-e', 'cpu-clock', '-F', String(samplesPerSecond), '-g', '-o', file, ...target];
}

/**
 * Reads the text of `perf script`: a line with pid/tid and period, then the stack, innermost first, then an empty line.
 * Threads of the same kind become one, but for shards.
 * @param {AsyncIterable<string> | Iterable<string>} lines
 * @param {number} pid
 * @returns {Promise<import('./frame.mjs').ThreadProfile[]>}
 */
export async function threadsOf(lines, pid) {
  /** @type {Map<number, { us: number, stack: { name: string, area: string }[] }[]>} */
  const samples = new Map();
  /** @type {{ us: number, stack: { name: string, area: string }[] } | null} */
  let current = null;
  for await (const line of lines) {
    const [, tid, periodNs] = /^\s*\d+\/(\d+)\s+(\d+)/.exec(line) ?? [];
    if (tid !== undefined) {
      current = { us: Number(periodNs) / 1000, stack: [] };
      const ofThread = samples.get(Number(tid));
      if (ofThread === undefined) samples.set(Number(tid), [current]);
      else ofThread.push(current);
      continue;
    }
    const [, symbol, object] = /^\s+[0-9a-f]+ (.+) \((.+)\)$/.exec(line) ?? [];
    // A frame without a name comes from code without frame pointers; what lies around it is still true.
    if (symbol !== undefined && object !== undefined && symbol !== '[unknown]') {
      current?.stack.unshift(perfFrame(symbol.replace(/\+0x[0-9a-f]+$/, ''), object));
    }
  }
  /** @type {Map<string, Frame>} */
  const roots = new Map();
  let shardCount = 0;
  for (const [tid, ofThread] of [...samples].sort(([a], [b]) => a - b)) {
    const kind = tid === pid ? 'control' : kindOf(ofThread);
    const name = kind === 'shard' ? `shard-${shardCount++}` : kind;
    const root = roots.get(name) ?? new Frame('all', 'native');
    roots.set(name, root);
    for (const { us, stack } of ofThread) root.add(stack, us);
  }
  return [...roots].map(([name, root]) => ({ name, root, idleUs: 0 }));
}

/** @param {readonly { stack: readonly { name: string, area: string }[] }[]} samples */
function kindOf(samples) {
  const has = (/** @type {RegExp} */ name) => samples.some(({ stack }) => stack.some((frame) => name.test(frame.name)));
  if (has(/ thread-stream\//)) return 'log';
  if (has(/ piscina\//)) return 'worker';
  if (has(/ (shard|listener|relay|upstream)\//)) return 'shard';
  if (has(/^node::.*PlatformWorkerThread/)) return 'v8-platform';
  return has(/^uv__|^uv_/) ? 'libuv-pool' : 'other';
}

/**
 * @param {string} symbol
 * @param {string} object the file that it is in, or `[kernel.kallsyms]`
 */
function perfFrame(symbol, object) {
  if (/^\[(?!vdso)/.test(object)) return { name: symbol, area: 'kernel' };
  // `JS:*name file:///…/x.js:12:3`; the mark says how far the function was optimised.
  const [, functionName, url, line] = /^[A-Z]\w+:[*~^+']?(\S*) (.*):(\d+):\d+$/.exec(symbol) ?? [];
  if (url !== undefined) return scriptFrame(functionName ?? '', url, Number(line));
  if (symbol.startsWith('JS:wasm-function')) return { name: symbol.slice(3), area: 'wasm' };
  if (/^v8::internal::.*(Scavenge|MarkCompact|Marking|Sweep|Heap::|GCTask|Evacuat)/.test(symbol)) {
    return { name: symbol, area: 'gc' };
  }
  // The acceptor is the only addon that a shard calls into.
  if (object.endsWith('.node')) return { name: symbol, area: 'listener' };
  return { name: symbol, area: /^(v8::|Builtins_|RegExp:)/.test(symbol) ? 'v8' : 'native' };
}
