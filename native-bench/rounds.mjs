/**
 * One case: its peers are started, checked with one request, warmed, and then measured in turn, A B C A B C ..., so that a
 * machine that gets slower meanwhile does so for all of them.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bodyOf } from './bodies.mjs';
import { Engine } from './engine.mjs';
import { measureCase, unitOf, warmUp } from './measures/index.mjs';
import { preflight } from './preflight.mjs';
import { peers as allPeers } from './peers/index.mjs';

/** Connections that a load left behind are closed within this. */
const settleMs = 100;

/** @typedef {{ peer: import('./types.d.ts').Peer, result: import('./types.d.ts').PeerResult, folder: string,
 *   running: import('./types.d.ts').RunningPeer | null }} Entry */

/**
 * @param {import('./types.d.ts').Case} spec
 * @param {import('./types.d.ts').Settings} settings
 * @param {string} folder for files of this case
 * @param {(line: string) => void} print
 * @returns {Promise<import('./types.d.ts').CaseResult>}
 */
export async function runCase(spec, settings, folder, print) {
  const seconds = Math.max(settings.seconds, spec.secondsMin ?? 0);
  const bodyPath = join(folder, `${spec.name}.json`);
  writeFileSync(bodyPath, bodyOf(spec.body));
  const entries = entriesOf(spec, settings, folder);
  const engine = new Engine();
  try {
    await engine.start();
    /** @param {Entry} entry */
    const contextOf = ({ peer, running, folder: own }) => {
      if (running === null) throw new Error('is not running');
      return { spec, peer, running, engine, seconds, bodyPath, folder: own, generator: settings.generator };
    };
    /** @param {Entry} entry */
    const prepare = async (entry) => {
      entry.running = await entry.peer.start({ enginePort: engine.port, folder: entry.folder });
      await preflight(contextOf(entry));
      await warmUp(contextOf(entry));
    };
    for (const entry of entries)
      await attempt(entry, () => (spec.isFresh === true ? Promise.resolve() : prepare(entry)));
    for (let round = 1; round <= settings.rounds; round++) {
      for (const entry of entries) {
        await attempt(entry, async () => {
          if (spec.isFresh === true) await prepare(entry);
          await sleep(settleMs);
          const result = await measureCase(contextOf(entry));
          entry.result.rounds.push(result);
          if (result.problems.length > 0) throw new Error(result.problems.join('; '));
          if (spec.isFresh === true) await entry.running?.stop();
        });
      }
      print(`  round ${round} of ${settings.rounds}`);
    }
  } finally {
    await Promise.all(entries.map(async ({ running }) => running?.stop()));
    await engine.stop();
    rmSync(bodyPath, { force: true });
  }
  const { name, family, summary, measure, connections } = spec;
  return {
    name,
    family,
    summary,
    measure,
    unit: unitOf(spec),
    bytes: spec.responseBytes > 0 ? spec.responseBytes : spec.body.bytes,
    connections,
    seconds,
    peers: entries.map(({ result }) => result),
  };
}

/**
 * @param {import('./types.d.ts').Case} spec
 * @param {import('./types.d.ts').Settings} settings
 * @param {string} folder
 * @returns {Entry[]}
 */
function entriesOf(spec, settings, folder) {
  const wanted = spec.peers.filter((name) => settings.peers === null || settings.peers.includes(name));
  return allPeers
    .filter(({ name }) => wanted.includes(name))
    .map((peer) => {
      const version = peer.find();
      const own = join(folder, `${spec.name}-${peer.name}`);
      mkdirSync(own, { recursive: true });
      const failure = version === null ? 'missing' : null;
      return { peer, folder: own, running: null, result: { peer: peer.name, version, failure, rounds: [] } };
    });
}

/**
 * A peer that fails is out of this case, with the reason; it is ended, so that it does not disturb the others.
 * @param {Entry} entry
 * @param {() => Promise<void>} step
 */
async function attempt(entry, step) {
  if (entry.result.failure !== null) return;
  try {
    await step();
  } catch (error) {
    entry.result.failure = `failed: ${error instanceof Error ? error.message : String(error)}`;
    await entry.running?.stop();
  }
}
