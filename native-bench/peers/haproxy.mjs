/** HAProxy, one thread: plain, and with routing by the body. */
import { startProgram } from './native-peer.mjs';
import { render } from './template.mjs';
import { findProgram } from './version.mjs';

const commands = ['haproxy', '/usr/sbin/haproxy'];

/**
 * @param {string} name
 * @param {string} summary
 * @param {string} file
 * @returns {import('../types.d.ts').Peer}
 */
function haproxyWith(name, summary, file) {
  const found = () => findProgram(commands, ['-v'], /version (\S+)/);
  return {
    name,
    summary,
    find: () => found()?.version ?? null,
    start: ({ enginePort, folder }) =>
      startProgram(name, (port) => {
        const config = render(file, folder, { PORT: port, ENGINE_PORT: enginePort });
        return { command: found()?.command ?? 'haproxy', argv: ['-db', '-q', '-f', config] };
      }),
  };
}

export const haproxy = haproxyWith('haproxy', 'plain; does not look into bodies', 'haproxy.cfg');
export const haproxyBody = haproxyWith(
  'haproxy-body',
  'holds the body and routes by $.model in it',
  'haproxy-body.cfg',
);
