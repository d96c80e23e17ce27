/** nginx: buffered, and unbuffered with one and with two workers. The Debian package puts it where only root's PATH looks. */
import { startProgram } from './native-peer.mjs';
import { render } from './template.mjs';
import { findProgram } from './version.mjs';

const commands = ['nginx', '/usr/sbin/nginx'];

/**
 * @param {string} name
 * @param {string} summary
 * @param {string} file
 * @param {number} workers
 * @returns {import('../types.d.ts').Peer}
 */
function nginxWith(name, summary, file, workers) {
  const found = () => findProgram(commands, ['-v'], /nginx\/([\d.]+)/);
  return {
    name,
    summary,
    find: () => found()?.version ?? null,
    start: ({ enginePort, folder }) =>
      startProgram(name, (port) => {
        const config = render(file, folder, { PORT: port, ENGINE_PORT: enginePort, FOLDER: folder, WORKERS: workers });
        // Started by root it would give the worker to a user who may not write here.
        const user = process.getuid?.() === 0 ? ['-g', 'user root root;'] : [];
        return { command: found()?.command ?? 'nginx', argv: ['-p', folder, '-c', config, '-e', 'stderr', ...user] };
      }),
  };
}

export const nginx = nginxWith('nginx', 'buffered, as it comes; does not look into bodies', 'nginx.conf', 1);
export const nginxUnbuffered = nginxWith(
  'nginx-unbuffered',
  'streams both ways; does not look into bodies',
  'nginx-unbuffered.conf',
  1,
);
export const nginxUnbuffered2 = nginxWith(
  'nginx-unbuffered-2',
  'the same with two workers',
  'nginx-unbuffered.conf',
  2,
);
