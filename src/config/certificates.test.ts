import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { certificateFacts, listenerTls } from './certificates.ts';
import { loadConfig } from './load.ts';
import type { LoadResult } from './load.ts';
import { formatProblem } from './problem.ts';

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-certificates-'));
  const names = ['cert', 'key', 'second', 'second-key', 'second-key-locked', 'client-ca'];
  for (const name of names) {
    await copyFile(new URL(`../../test/fixtures/tls/${name}.pem`, import.meta.url), join(folder, `${name}.pem`));
  }
  await writeFile(join(folder, 'half.pem'), '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n');
  await writeFile(join(folder, 'empty.pem'), '');
});

afterAll(() => rm(folder, { recursive: true }));

async function load(tls: string): Promise<LoadResult> {
  const path = join(folder, 'f.yaml');
  await writeFile(
    path,
    `listeners: [{ name: l, address: "127.0.0.1:0", tls: ${tls} }]\npools: [{ name: p, endpoints: [{ url: "http://h:1" }] }]\n`,
  );
  return loadConfig(path, {});
}

/** Problems without their places. */
async function problems(tls: string): Promise<string[]> {
  const { problems: found } = await load(tls);
  return found.map((problem) => formatProblem(problem).replace(/^.*?: listeners\[0\]\.tls\./, ''));
}

const pair = (cert: string, key: string, more = ''): string =>
  `{ cert_path: ${cert}.pem, key_path: ${key}.pem${more} }`;

// FAULTS F42, F44: what would fail at first use is found when the file is read.
test.each([
  [
    'the key is of another certificate',
    pair('cert', 'second-key'),
    /key_path: does not belong to the certificate of .*cert\.pem/,
  ],
  ['the certificate is half-written', pair('half', 'key'), /cert_path: its certificate 1 cannot be read/],
  ['the certificate is empty', pair('empty', 'key'), /cert_path: holds no certificate in PEM form/],
  ['the key is a certificate', pair('cert', 'cert'), /key_path: holds no private key in PEM form/],
  ['the key is locked', pair('second', 'second-key-locked'), /key_path: needs another passphrase/],
  [
    'the passphrase is wrong',
    pair('second', 'second-key-locked', ', passphrase: no'),
    /key_path: needs another passphrase/,
  ],
])('certificates: when %s, that is a problem of the file', async (_, certificate, message) => {
  expect(await problems(`{ certificates: [${certificate}] }`)).toEqual([expect.stringMatching(message)]);
});

test('certificates: when the passphrase is right, a locked key is taken', async () => {
  expect(
    await problems(`{ certificates: [${pair('second', 'second-key-locked', ', passphrase: opensesame')}] }`),
  ).toEqual([]);
});

test('certificates: when client authorities and client_auth do not fit, both are named', async () => {
  const certificates = `certificates: [${pair('cert', 'key')}]`;
  expect(await problems(`{ ${certificates}, client_ca_path: client-ca.pem }`)).toEqual([
    'client_ca_path: has no effect with client_auth none: make that optional or required',
  ]);
  expect(await problems(`{ ${certificates}, client_auth: required }`)).toEqual([
    'client_auth: needs client_ca_path, the authorities to verify with',
  ]);
  expect(await problems(`{ ${certificates}, client_auth: optional, client_ca_path: key.pem }`)).toEqual([
    'client_ca_path: holds no certificate in PEM form',
  ]);
  expect(await problems(`{ ${certificates}, client_auth: optional, client_ca_path: client-ca.pem }`)).toEqual([]);
});

test('certificates: when two claim one server name by hand, the second is a problem', async () => {
  const first = pair('cert', 'key', ', server_names: [a.test]');
  const second = pair('second', 'second-key', ', server_names: [A.test, "*.b.*"]');
  expect(await problems(`{ certificates: [${first}, ${second}] }`)).toEqual([
    'certificates[1].server_names[0]: server name a.test is already taken by listeners[0].tls.certificates[0].server_names[0]',
    'certificates[1].server_names[1]: must be a host name, or one with `*` for its first label',
  ]);
});

test('certificates: when no server names are given, they are the DNS names of the certificate; of two the earlier has one', async () => {
  const loaded = await load(
    `{ certificates: [${pair('cert', 'key')}, ${pair('second', 'second-key')}, ${pair('second', 'second-key')}, ${pair('cert', 'key', ', server_names: [Localhost]')}] }`,
  );
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const tls = listenerTls(loaded.config.listeners[0]!, loaded.texts);
  expect(tls!.certificates.map(({ serverNames }) => serverNames)).toEqual([
    ['penstock.test'],
    ['second.test', '*.second.test'],
    [],
    ['localhost'],
  ]);
  expect(tls).toMatchObject({ clientCaPem: null, requiresClientCertificate: false });
  const [first] = certificateFacts(loaded.config, loaded.texts);
  expect(first).toMatchObject({
    listener: 'l',
    certPath: join(folder, 'cert.pem'),
    fingerprint: expect.stringMatching(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/),
  });
  expect(first!.notAfterMs).toBeGreaterThan(Date.UTC(2120, 0));
});
