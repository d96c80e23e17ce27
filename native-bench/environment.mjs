/** Where a number was measured; without it the number means nothing. */
import { environmentOf as loadtestEnvironmentOf } from '../loadtest/environment.mjs';
import { h2loadVersion } from './generators/h2load.mjs';
import { wrkVersion } from './generators/wrk.mjs';
import { peers } from './peers/index.mjs';
import { versionOf } from './peers/version.mjs';

/**
 * @param {readonly string[]} argv
 * @returns {import('./types.d.ts').Environment}
 */
export function environmentOf(argv) {
  const { cpu, cores, kernel, node, commit } = loadtestEnvironmentOf([]);
  const tools = { wrk: wrkVersion(), h2load: h2loadVersion(), cc: versionOf('cc', ['--version'], /^(.+)$/m) };
  const found = Object.fromEntries(peers.map((peer) => [peer.name, peer.find()]));
  const versions = Object.entries({ ...found, ...tools }).flatMap(([name, version]) =>
    version === null || version === '' ? [] : [[name, version]],
  );
  return {
    cpu,
    cores,
    kernel,
    node,
    versions: Object.fromEntries(versions),
    commit,
    command: ['npm run native-bench', ...(argv.length > 0 ? ['--', ...argv] : [])].join(' '),
  };
}
