/** HAProxy: plain with one and with two threads, and with routing by the body. */
import { startProgram } from './native-peer.mjs';
import { render } from './template.mjs';
import { findProgram } from './version.mjs';

const commands = ['haproxy', '/usr/sbin/haproxy'];

/**
 * @param {string} name
 * @param {string} summary
 * @param {string} file
 * @param {number} threads
 * @returns {import('../types.d.ts').Peer}
 */
function haproxyWith(name, summary, file, threads) {
  const found = () => findProgram(commands, ['-v'], /version (\S+)/);
  return {
    name,
    summary,
    find: () => found()?.version ?? null,
    start: ({ enginePort, folder }) =>
      startProgram(name, (port) => {
        const config = render(file, folder, { PORT: port, ENGINE_PORT: enginePort, THREADS: threads });
        return { command: found()?.command ?? 'haproxy', argv: ['-db', '-q', '-f', config] };
      }),
  };
}

export const haproxy = haproxyWith('haproxy', 'plain; does not look into bodies', 'haproxy.cfg', 1);
export const haproxy2 = haproxyWith('haproxy-2', 'the same with two threads', 'haproxy.cfg', 2);
export const haproxyBody = haproxyWith(
  'haproxy-body',
  'holds the body and routes by $.model in it',
  'haproxy-body.cfg',
  1,
);
