// Writes a CycloneDX SBOM of what is installed to run the gateway: `npm run sbom [-- FILE]`, default penstock.cdx.json. It is npm's
// own, made from the lock file without the network; the native files, which npm does not look into, are added with
// their SHA-256. Equal trees give equal files: the time and the serial number npm puts in are left out.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = process.argv[2] ?? join(root, 'penstock.cdx.json');
const { status, stdout, stderr } = spawnSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], {
  cwd: root,
  encoding: 'utf8',
  timeout: 120_000,
  maxBuffer: 64 * 2 ** 20,
});
if (status !== 0) {
  console.error(`sbom: npm sbom failed\n${stderr}`);
  process.exit(1);
}
const sbom = JSON.parse(stdout);
delete sbom.serialNumber;
delete sbom.metadata.timestamp;
// npm takes the name of the folder.
sbom.metadata.component.name = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).name;

// `npm sbom --omit dev` also leaves out what a tool and the gateway both use, so the lock file says which packages are tools'.
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
const kept = new Set([sbom.metadata.component['bom-ref']]);
for (const [path, { name, version, dev }] of Object.entries(packages)) {
  if (path !== '' && dev !== true) kept.add(`${name ?? path.slice(path.lastIndexOf('node_modules/') + 13)}@${version}`);
}
sbom.components = sbom.components.filter((component) => kept.has(component['bom-ref']));
sbom.dependencies = sbom.dependencies
  .filter(({ ref }) => kept.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((each) => kept.has(each)) }));

const folder = join(root, 'node_modules/uWebSockets.js/dist/bin');
const acceptor = sbom.components.find((component) => component.purl.startsWith('pkg:npm/uws-pack@'));
if (acceptor === undefined || !existsSync(folder)) {
  console.error('sbom: the acceptor is not installed; run npm ci first');
  process.exit(1);
}
acceptor.components = readdirSync(folder)
  .sort()
  .map((name) => ({
    'bom-ref': `${acceptor['bom-ref']}#${name}`,
    type: 'file',
    name: `dist/bin/${name}`,
    hashes: [
      {
        alg: 'SHA-256',
        content: createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex'),
      },
    ],
  }));
writeFileSync(target, `${JSON.stringify(sbom, null, 2)}\n`);
console.log(`sbom: ${sbom.components.length} packages and ${acceptor.components.length} native files in ${target}`);
