/** Where a number was measured; without it the number means nothing. */
import { spawnSync } from 'node:child_process';
import { availableParallelism, cpus, release } from 'node:os';
import { fileURLToPath } from 'node:url';

/**
 * @param {string[]} argv
 * @param {string} program
 * @returns {import('./types.d.ts').Environment}
 */
export function environmentOf(argv, program = 'npm run loadtest --') {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    kernel: release(),
    node: process.version,
    commit: commit(),
    command: [program, ...argv].join(' '),
  };
}

/** Short hash, with a plus when the work tree differs from it. */
function commit() {
  const hash = git('rev-parse', '--short', 'HEAD');
  if (hash === null) return 'unknown';
  return git('status', '--porcelain') === '' ? hash : `${hash}+`;
}

/** @param {string[]} argv */
function git(...argv) {
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  // Without optional locks `status` does not write the index of a repository that someone works in.
  const { status, stdout } = spawnSync('git', ['--no-optional-locks', ...argv], { cwd, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}
