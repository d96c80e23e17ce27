/** One run of a load test scenario against an own gateway, with every thread of it sampled. */
import { copyFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Backend } from '../loadtest/backend.mjs';
import { runScenario } from '../loadtest/runner.mjs';
import { failuresOf } from '../loadtest/verdict.mjs';
import { threadKindOf, treeOf } from './cpu-profile.mjs';
import { perfNodeFlags, PerfRecording, removeMaps } from './perf.mjs';

/** Between two samples of a thread. */
const sampleUs = 500;

/**
 * @typedef {{ scenario: import('../loadtest/types.d.ts').Scenario, settings: import('../loadtest/types.d.ts').Settings }} Load
 * @typedef {{ threads: import('./frame.mjs').ThreadProfile[], windowUs: number, requests: number }} Recording `windowUs`:
 *   what the weights are a share of; start and warm-up are not in it
 * @typedef {import('../loadtest/types.d.ts').BackendPids} Pids
 */

/**
 * V8's profiler, in each thread from its start to its end; what lies outside the load is cut off afterwards.
 * @param {Load} load
 * @param {string} scratch an empty folder
 * @param {string} out gets each thread's .cpuprofile, for other viewers
 * @returns {Promise<Recording>}
 */
export async function recordV8(load, scratch, out) {
  const flags = ['--cpu-prof', `--cpu-prof-dir=${scratch}`, `--cpu-prof-interval=${sampleUs}`];
  const window = { fromUs: 0, toUs: 0 };
  let gatewayPid = 0;
  const requests = await runLoad(load, flags, {
    onStart: ({ gateway }) => {
      gatewayPid = gateway;
      window.fromUs = monotonicUs();
    },
    onEnd: () => {
      window.toUs = monotonicUs();
    },
  });
  const files = await profilesOf(gatewayPid, scratch);
  /** @type {import('./frame.mjs').ThreadProfile[]} */
  const threads = [];
  for (const file of files) {
    /** @type {import('./cpu-profile.mjs').CpuProfile} */
    const profile = JSON.parse(await readFile(join(scratch, file), 'utf8'));
    const kind = threadKindOf(profile);
    const seenCount = threads.filter(({ name }) => name.replace(/-\d+$/, '') === kind).length;
    const name = kind === 'shard' || seenCount > 0 ? `${kind}-${seenCount}` : kind;
    await copyFile(join(scratch, file), join(out, `${name}.cpuprofile`));
    threads.push({ name, ...treeOf(profile, window) });
  }
  return { threads, windowUs: window.toUs - window.fromUs, requests };
}

/**
 * Linux perf: kernel and native code too, busy time only.
 * @param {Load} load
 * @param {string} scratch
 * @returns {Promise<Recording>}
 */
export async function recordPerf(load, scratch) {
  /** @type {PerfRecording | null} */
  let recording = null;
  /** @type {import('./frame.mjs').ThreadProfile[]} */
  let threads = [];
  let startUs = 0;
  let windowUs = 0;
  const requests = await runLoad(load, perfNodeFlags, {
    onStart: ({ gateway }) => {
      recording = new PerfRecording(gateway, join(scratch, 'perf.data'));
      startUs = monotonicUs();
    },
    onEnd: async () => {
      windowUs = monotonicUs() - startUs;
      await recording?.stop();
      threads = (await recording?.threads()) ?? [];
    },
    onStopped: ({ gateway, supervisor }) => removeMaps([gateway, supervisor]),
  });
  for (const thread of threads) thread.idleUs = Math.max(0, windowUs - thread.root.totalUs);
  return { threads, windowUs, requests };
}

/**
 * Returns how many requests were answered. Throws when an answer was wrong, or something leaked: a profile of a gateway
 * that fails is of no use.
 * @param {Load} load
 * @param {readonly string[]} gatewayNodeFlags
 * @param {{ onStart: (pids: Pids) => void, onEnd: () => void | Promise<void>, onStopped?: (pids: Pids) => Promise<void> }} events
 *   before and after the measured part, and when every process has ended
 */
async function runLoad({ scenario, settings }, gatewayNodeFlags, { onStart, onEnd, onStopped }) {
  const backend = new Backend();
  try {
    await backend.start({ scenario, model: settings.model, gatewayNodeFlags });
    const { phases } = await runScenario({
      scenario,
      settings,
      origin: backend.origin,
      backend,
      onWarm: () => onStart(backend.pids),
    });
    await onEnd();
    const failures = failuresOf(phases, await backend.leftovers());
    if (failures.length > 0) throw new Error(`the load test failed:\n  ${failures.join('\n  ')}`);
    return phases.reduce((sum, phase) => sum + phase.requests, 0);
  } finally {
    await backend.stop();
    await onStopped?.(backend.pids);
  }
}

/**
 * Names are CPU.date.time.PID.THREAD.SEQUENCE.cpuprofile; in the order of the threads.
 * @param {number} pid
 * @param {string} folder
 */
async function profilesOf(pid, folder) {
  const field = (/** @type {string} */ file, /** @type {number} */ index) => Number(file.split('.')[index]);
  const files = (await readdir(folder)).filter((file) => file.endsWith('.cpuprofile') && field(file, 3) === pid);
  if (files.length === 0) throw new Error('the gateway wrote no profile: it did not end in good order');
  return files.sort((a, b) => field(a, 4) - field(b, 4));
}

/** The clock that V8 stamps samples with. */
function monotonicUs() {
  return Number(process.hrtime.bigint() / 1000n);
}
