import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

// FAULTS S12: what is installed is what was looked at.

interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
  readonly link?: boolean;
}

const root = fileURLToPath(new URL('../', import.meta.url));
const read = <T>(name: string): T => JSON.parse(readFileSync(join(root, name), 'utf8')) as T;
const lock = read<{ lockfileVersion: number; packages: Record<string, LockedPackage> }>('package-lock.json');
const locked = Object.entries(lock.packages).filter(([path]) => path !== '');

test('supply chain: when the lock file is read, every package has its SHA-512 and comes from the registry', () => {
  expect(lock.lockfileVersion).toBe(3);
  expect(locked.length).toBeGreaterThan(50);
  const loose = locked.filter(([, { integrity }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ''));
  expect(loose.map(([path]) => path)).toEqual([]);
  const elsewhere = locked.filter(
    ([, { resolved, link }]) => link === true || /^(?:git|file|http:)/.test(resolved ?? ''),
  );
  expect(elsewhere.map(([path]) => path)).toEqual([]);
});

test('supply chain: when packages are installed, none runs a script', () => {
  expect(locked.filter(([, { hasInstallScript }]) => hasInstallScript === true).map(([path]) => path)).toEqual([]);
});

test('supply chain: when the manifest names what the gateway runs on, each is one version', () => {
  const { dependencies } = read<{ dependencies: Record<string, string> }>('package.json');
  const ranges = Object.entries(dependencies).filter(([, wanted]) => !/^(?:npm:[\w.-]+@)?\d+\.\d+\.\d+$/.test(wanted));
  expect(ranges).toEqual([]);
});

test('supply chain: when an SBOM is written, it is CycloneDX, names what runs, and is the same twice', () => {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-sbom-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const texts = ['a', 'b'].map((name) => {
    const target = join(folder, `${name}.cdx.json`);
    const { status, stderr } = spawnSync(process.execPath, ['.ci/sbom.mjs', target], { cwd: root, encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    return readFileSync(target, 'utf8');
  });
  expect(texts[0] === texts[1]).toBe(true);
  const sbom = JSON.parse(texts[0]!) as {
    bomFormat: string;
    metadata: { component: { name: string } };
    components: { name: string; purl: string; hashes: { content: string }[]; components?: { hashes: unknown[] }[] }[];
  };
  expect([sbom.bomFormat, sbom.metadata.component.name]).toEqual(['CycloneDX', 'penstock']);
  const { dependencies } = read<{ dependencies: Record<string, string> }>('package.json');
  const purls = sbom.components.map(({ purl }) => purl);
  for (const [name, wanted] of Object.entries(dependencies)) {
    // A scope's @ is written as %40: package-url, purl-spec.
    const full = wanted.startsWith('npm:') ? wanted.slice(4) : `${name.replace('@', '%40')}@${wanted}`;
    expect(purls).toContain(`pkg:npm/${full}`);
  }
  expect(sbom.components.every(({ hashes }) => hashes.length > 0)).toBe(true);
  const native = sbom.components.find(({ purl }) => purl.startsWith('pkg:npm/uws-pack@'));
  expect(native?.components?.length).toBeGreaterThan(10);
}, 60_000);
