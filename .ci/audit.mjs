// Asks the registry for known vulnerabilities of what the lock file pins: `npm run audit`. Exit 1 when there are any. Where the
// registry cannot be asked (no network, a mirror without that service) the step is reported as skipped, in words nobody
// takes for a pass; with --required it fails then.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const isRequired = process.argv.includes('--required');
const root = fileURLToPath(new URL('..', import.meta.url));
const { stdout } = spawnSync('npm', ['audit', '--json', '--package-lock-only'], {
  cwd: root,
  encoding: 'utf8',
  timeout: 120_000,
  maxBuffer: 64 * 2 ** 20,
  stdio: ['ignore', 'pipe', 'ignore'],
});

function reportOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const report = reportOf(stdout ?? '');
const counts = report?.metadata?.vulnerabilities;
if (counts === undefined) {
  console.log(`audit: SKIPPED, nothing was checked: ${report?.message ?? 'npm audit gave no report'}`);
  process.exit(isRequired ? 2 : 0);
}
for (const [name, { severity, via }] of Object.entries(report.vulnerabilities ?? {})) {
  const titles = via.map((each) => (typeof each === 'string' ? `by way of ${each}` : each.title));
  console.log(`audit: ${severity}: ${name}: ${titles.join('; ')}`);
}
const { dependencies } = report.metadata;
console.log(`audit: ${counts.total} known vulnerabilities in ${dependencies?.total ?? 'all'} packages`);
process.exit(counts.total === 0 ? 0 : 1);
