import { mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConfigWatch } from './config-watch.ts';
import { until } from './fixtures/until.ts';

const periodMs = 20;
let folder = '';
let watch: ConfigWatch | null = null;
let reloadCount = 0;
let lookCount = 0;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-watch-'));
  reloadCount = 0;
  lookCount = 0;
});

afterEach(async () => {
  watch?.stop();
  await rm(folder, { recursive: true });
});

async function start(paths: () => readonly string[], onReload = (): void => {}): Promise<void> {
  watch = new ConfigWatch({
    paths: () => {
      lookCount++;
      return paths();
    },
    reload: () => {
      reloadCount++;
      onReload();
      return Promise.resolve();
    },
    log: pino({ level: 'silent' }),
    periodMs,
  });
  await watch.start();
}

/** What has been changed by now is seen in the first of them, has settled in the second, and is over with the third. */
async function severalLooks(): Promise<void> {
  const target = lookCount + 5;
  await until('several looks', () => lookCount >= target);
}

test('watch: when nothing changes, nothing is reloaded; when a file is rewritten or renamed over, it is, once', async () => {
  const path = join(folder, 'a.yaml');
  await writeFile(path, 'a');
  await start(() => [path]);
  await severalLooks();
  expect(reloadCount).toBe(0);
  await writeFile(path, 'in place');
  await until('rewrite is seen', () => reloadCount === 1);
  await writeFile(join(folder, 'a.new'), 'renamed');
  await rename(join(folder, 'a.new'), path);
  await until('rename is seen', () => reloadCount === 2);
  await severalLooks();
  expect(reloadCount, 'a state is tried once, good or bad').toBe(2);
});

// FAULTS F44: an editor that truncates and then writes, a copy under way.
test('watch: when a file keeps changing, it is reloaded when it has settled', async () => {
  const path = join(folder, 'a.yaml');
  await writeFile(path, 'a');
  await start(() => [path]);
  await truncate(path);
  const endMs = performance.now() + 10 * periodMs;
  for (let size = 1; performance.now() < endMs; size++) {
    await writeFile(path, 'x'.repeat(size));
    expect(reloadCount).toBeLessThanOrEqual(1); // A look may fall into a stall of the machine between two writes.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const during = reloadCount;
  await until('settled state is loaded', () => reloadCount > during);
  await severalLooks();
  expect(reloadCount).toBe(during + 1);
});

// https://kubernetes.io/docs/concepts/configuration/configmap/: key -> ..data/key, ..data -> ..timestamp, swapped by rename.
test('watch: when a volume of links is swapped as Kubernetes does, that is one change', async () => {
  const make = async (name: string): Promise<void> => {
    await mkdir(join(folder, name));
    for (const key of ['tls.crt', 'tls.key']) await writeFile(join(folder, name, key), name);
    await symlink(name, join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  };
  await make('..1');
  const paths = ['tls.crt', 'tls.key'].map((key) => join(folder, key));
  for (const key of ['tls.crt', 'tls.key']) await symlink(`..data/${key}`, join(folder, key));
  await start(() => paths);
  await make('..2');
  await rm(join(folder, '..1'), { recursive: true });
  await until('swap is seen', () => reloadCount === 1);
  await severalLooks();
  expect(reloadCount).toBe(1);
});

test('watch: when a file vanishes and comes back, both are changes; when a reload names a new file, that is not', async () => {
  const [first, second] = [join(folder, 'a'), join(folder, 'b')];
  await writeFile(first, '1');
  await writeFile(second, '1');
  const paths = [first];
  await start(
    () => paths,
    () => {
      if (paths.length === 1) paths.push(second);
    },
  );
  await rm(first);
  await until('loss is seen', () => reloadCount === 1);
  await severalLooks();
  expect(reloadCount).toBe(1);
  await writeFile(first, '2');
  await until('return is seen', () => reloadCount === 2);
  await writeFile(second, '2');
  await until('the new file is watched', () => reloadCount === 3);
});
