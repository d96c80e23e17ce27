/** Envoy, one worker: from PATH, or as --install-peers puts it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pythonFolder } from './installed.mjs';
import { startProgram } from './native-peer.mjs';
import { render } from './template.mjs';
import { versionOf } from './version.mjs';

const installed = join(pythonFolder, 'envoy', '_bin', 'envoy');
const command = () => (existsSync(installed) ? installed : 'envoy');

/** @type {import('../types.d.ts').Peer} */
export const envoy = {
  name: 'envoy',
  summary: 'one worker; does not look into bodies',
  find: () => versionOf(command(), ['--version'], /\/(\d+\.\d+\.\d+)/),
  start: ({ enginePort, folder }) =>
    startProgram('envoy', (port) => {
      const config = render('envoy.yaml', folder, { PORT: port, ENGINE_PORT: enginePort });
      return { command: command(), argv: ['-c', config, '--concurrency', '1', '--disable-hot-restart', '-l', 'error'] };
    }),
};
