/** Which version of a program is on this machine. */
import { spawnSync } from 'node:child_process';

/**
 * What `pattern` captures in the output of `command`; null when there is no such program.
 * @param {string} command
 * @param {readonly string[]} argv
 * @param {RegExp} pattern
 */
export function versionOf(command, argv, pattern) {
  const { error, stdout, stderr } = spawnSync(command, argv, { encoding: 'utf8', timeout: 10_000 });
  if (error !== undefined) return null;
  return pattern.exec(stdout + stderr)?.[1] ?? null;
}

/**
 * The first of `commands` that is there, with its version; null when none is. Debian puts some where only root's PATH looks.
 * @param {readonly string[]} commands
 * @param {readonly string[]} argv
 * @param {RegExp} pattern
 */
export function findProgram(commands, argv, pattern) {
  for (const command of commands) {
    const version = versionOf(command, argv, pattern);
    if (version !== null) return { command, version };
  }
  return null;
}
