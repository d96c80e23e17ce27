import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { type Engine, speak } from '../engine.ts';
import type { FaultRow } from '../row.ts';
import type { Stage } from '../stage.ts';
import { isServed, tally } from '../tally.ts';

const cli = fileURLToPath(new URL('../../../dist/cli.js', import.meta.url));

interface Certificate {
  readonly certPath: string;
  readonly keyPath: string;
}

/** A self-signed certificate of that name. */
function makeCertificate(folder: string, name: string): Certificate {
  const certPath = join(folder, `${name}.pem`);
  const keyPath = join(folder, `${name}.key`);
  const args = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=${name} -keyout ${keyPath} -out ${certPath}`;
  const { status, stderr } = spawnSync('openssl', args.split(' '), { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return { certPath, keyPath };
}

/** The name on the certificate that a new connection is shown. */
function nameShown(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', (error) => resolve(error.message));
  });
}

async function version(stage: Stage): Promise<number> {
  return (await stage.gateway.status()).config_version;
}

export const configRows: readonly FaultRow[] = [
  {
    id: 'F42',
    how: 'POST /reload of bad YAML, an unknown key, a pool that does not exist and a model given twice; `penstock check` of each',
    async run(stage) {
      await stage.start();
      const good = `${readFileSync(stage.gateway.configPath, 'utf8').trimEnd()}\n...\n`;
      writeFileSync(stage.gateway.configPath, good);
      await stage.gateway.post('/reload');
      const before = await version(stage);
      const load = stage.clients.load(30, 2000);
      const bad: Record<string, string> = {
        'bad YAML': `${good}\npools: [`,
        'an unknown key': `${good}polls: []\n`,
        'no such pool': good.replace('[{ pool: m }]', '[{ pool: n }]'),
        'a model twice': good.replace('name: calm, targets', 'name: m, targets'),
      };
      for (const [what, text] of Object.entries(bad)) {
        writeFileSync(stage.gateway.configPath, text);
        const answer = await stage.gateway.post('/reload');
        const page = await answer.text();
        stage.promise(answer.status === 422, `${what}: ${answer.status}`);
        stage.promise(/:\d+:\d+|"line":\d+/.test(page), `${what}: no line number in ${page.slice(0, 200)}`);
        const check = spawnSync(process.execPath, [cli, 'check', '-c', stage.gateway.configPath], { encoding: 'utf8' });
        stage.promise(check.status === 1, `${what}: check exits with ${check.status}`);
        stage.promise(/:\d+:\d+: /.test(check.stdout + check.stderr), `${what}: check names no line`);
      }
      stage.promise((await version(stage)) === before, 'the version in force changed');
      const asked = await load;
      stage.promise(asked.every(isServed), tally(asked));
      stage.note(`4 x 422 with line numbers, check exits with 1, version ${before} stays; ${tally(asked)}`);
    },
  },
  {
    id: 'F43',
    how: '40 reloads in 4 s that change pools, filters and limits, 2 shards, 100 requests/s',
    async run(stage) {
      await stage.start({ engines: 2, shards: 2 });
      const load = stage.clients.load(100, 4200);
      const before = await version(stage);
      const took: number[] = [];
      for (let count = 0; count < 40; count++) {
        stage.configure({
          pool: `picker: ${count % 2 === 0 ? 'random' : 'least_load'}`,
          filters: count % 3 === 0 ? ['{ filter: forwarded_headers }'] : [],
          top: `limits: { body_bytes_max: ${count + 1}MiB }`,
        });
        const startMs = performance.now();
        const answer = await stage.gateway.post('/reload');
        took.push(performance.now() - startMs);
        stage.promise(answer.status === 200, `reload ${count}: ${answer.status}`);
        await sleep(Math.max(0, 100 - (performance.now() - startMs)));
      }
      const asked = await load;
      const worstMs = Math.max(...took);
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise((await version(stage)) >= before + 40, 'not every reload made a version');
      stage.note(`${tally(asked)}; every shard had a reload after at most ${Math.round(worstMs)} ms`);
    },
  },
  {
    id: 'F44',
    how: 'reload while the file, which ends with `...`, is cut off at 24 places; then the whole file',
    async run(stage) {
      await stage.start({ top: 'limits: { body_bytes_max: 8MiB }' });
      const good = `${readFileSync(stage.gateway.configPath, 'utf8').trimEnd()}\n...\n`;
      writeFileSync(stage.gateway.configPath, good);
      await stage.gateway.post('/reload');
      const before = await version(stage);
      const accepted: number[] = [];
      for (let piece = 1; piece <= 24; piece++) {
        const cut = Math.floor((good.trimEnd().length * piece) / 25);
        writeFileSync(stage.gateway.configPath, good.slice(0, cut));
        const { status } = await stage.gateway.post('/reload');
        if (status === 200) accepted.push(cut);
      }
      stage.promise(
        accepted.length === 0,
        `cut off behind ${accepted.join(', ')} of ${good.length} bytes it was accepted`,
      );
      const asked = await stage.clients.load(20, 500);
      stage.promise(asked.every(isServed), tally(asked));
      writeFileSync(stage.gateway.configPath, good);
      const whole = await stage.gateway.post('/reload');
      stage.promise(whole.status === 200, `the whole file: ${whole.status}`);
      stage.note(`${24 - accepted.length} of 24 refused, version ${before} stays; ${tally(asked)}`);
    },
  },
  {
    id: 'F45',
    how: 'a reload takes 1 of 2 engines out while 10 streams run on it; 30 requests/s',
    async run(stage) {
      await stage.start({ engines: 2 });
      const [removed, kept] = stage.engines as [Engine, Engine];
      removed.behave = speak(40);
      kept.behave = speak(1);
      const streams = Array.from({ length: 20 }, () => stage.clients.ask({ isStream: true, tokens: 50 }));
      await stage.until(() => removed.activeCount === 10, '10 streams run on it');
      const text = readFileSync(stage.gateway.configPath, 'utf8').replace(`{ url: "${removed.url}" }, `, '');
      writeFileSync(stage.gateway.configPath, text);
      const reload = await stage.gateway.post('/reload');
      stage.promise(reload.status === 200, `reload: ${reload.status}`);
      const sinceMs = performance.now();
      const load = stage.clients.load(30, 1000);
      const asked = [...(await Promise.all(streams)), ...(await load)];
      const later = removed.executions.filter(({ atMs }) => atMs > sinceMs).length;
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise(later === 0, `${later} new requests went to it`);
      stage.note(`${tally(asked)}; ${later} new requests went to the removed one`);
    },
  },
  {
    id: 'F46',
    how: 'the certificate’s file holds garbage, reload; then another certificate, reload; TLS connections before and after',
    tools: ['openssl'],
    async run(stage) {
      const folder = stage.folder();
      const { certPath, keyPath } = makeCertificate(folder, 'first');
      await stage.start({ tls: `{ certificates: [{ cert_path: "${certPath}", key_path: "${keyPath}" }] }` });
      const { tlsPort } = stage.gateway;
      stage.promise((await nameShown(tlsPort)) === 'first', 'the first certificate is not shown');
      writeFileSync(certPath, 'garbage');
      const refused = await stage.gateway.post('/reload');
      const meanwhile = await nameShown(tlsPort);
      stage.promise(meanwhile === 'first', `with an unreadable file: ${meanwhile}`);
      stage.promise(refused.status === 422, `reload of garbage: ${refused.status}`);
      const second = makeCertificate(folder, 'second');
      writeFileSync(certPath, readFileSync(second.certPath));
      writeFileSync(keyPath, readFileSync(second.keyPath));
      const reload = await stage.gateway.post('/reload');
      stage.promise(reload.status === 200, `reload of the new one: ${reload.status}`);
      await stage.until(async () => (await nameShown(tlsPort)) === 'second', 'the new certificate is shown', 2000);
      stage.note(
        `garbage: reload ${refused.status}, ${meanwhile} is shown; then reload ${reload.status}, ${await nameShown(tlsPort)} is shown`,
      );
    },
  },
];
