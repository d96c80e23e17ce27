import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { freePort, type RunningGateway, startGateway } from '../rig/gateway-process.ts';
import { answerChat, ModelServer } from '../rig/model-server.ts';
import { sharedStream, Valkey, valkeyHint, valkeyProgram } from '../rig/valkey.ts';
import { eventuallyWithin } from '../rig/until.ts';

const eventually = eventuallyWithin(10_000);

// Several gateways that share a store: what one learns the others know, and no request needs it.

// Up to three gateways are started, in processes of their own, on a machine that may do other things.
vi.setConfig({ testTimeout: 60_000 });

const engineCount = 4;
const engines: ModelServer[] = [];
const gateways: RunningGateway[] = [];
let store: Valkey;
/** Answers that wait to be sent. */
let held: ServerResponse[] = [];
/** `process_start_time_seconds` of every engine. */
let startedAt = 1_700_000_000;
let promptCount = 0;

interface Started {
  readonly urls?: readonly string[];
  readonly engine?: string;
  readonly sharing?: string;
  readonly pool?: string;
}

/** `urls`: in the order of its configuration. */
async function start({ urls, engine = 'none', sharing, pool = '' }: Started = {}): Promise<RunningGateway> {
  const endpoints = (urls ?? engines.map(({ url }) => url)).map((url) => `{ url: "${url}" }`);
  const gateway = await startGateway(`runtime: { shards: 2 }
sharing: { ${sharing ?? `url: "${store.url}"`} }
pools:
  - { name: fleet, engine: ${engine}, picker: kv_aware, debug_headers: true, endpoints: [${endpoints.join(', ')}]${pool} }
`);
  gateways.push(gateway);
  return gateway;
}

/** Of prompts below 64 KiB (src/http/wasm/prefix-hash). */
const blockBytes = 512;

/** What nobody has asked before: 20 KB. */
function newPrompt(): string {
  return `${promptCount++} how high is the water in basin ${promptCount}? `.repeat(600);
}

interface Answer {
  readonly status: number;
  readonly endpoint: string;
  /** Part of the prompt that the endpoint is believed to hold. */
  readonly matched: number;
  /** At the endpoint, without this one. */
  readonly inflight: number;
  /** Why it went there (src/pick/explain). */
  readonly pick: string;
}

async function ask(gateway: RunningGateway, prompt: string): Promise<Answer> {
  const response = await fetch(`${gateway.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ model: 'm', prompt }),
  });
  await response.arrayBuffer();
  const pick = response.headers.get('x-penstock-pick') ?? '';
  const [first = ''] = pick.split(', ');
  const number = (name: string): number => Number(new RegExp(`;${name}=([\\d.]+)`).exec(first)?.[1] ?? Number.NaN);
  return {
    status: response.status,
    endpoint: /^"([^"]+)"/.exec(first)?.[1] ?? '',
    matched: number('matched') / number('prompt'),
    inflight: number('inflight'),
    pick,
  };
}

interface SharingPage {
  readonly sharing: { readonly up: boolean; readonly peers: number; readonly lag_ms: number | null } | null;
}

async function sharingOf(gateway: RunningGateway): Promise<SharingPage['sharing']> {
  return (await gateway.admin<SharingPage>('/status')).sharing;
}

const areTogether = async (): Promise<boolean> => {
  const pages = await Promise.all(gateways.map(sharingOf));
  return pages.every((page) => page?.up === true && page.peers === gateways.length - 1);
};

async function metric(gateway: RunningGateway, name: string): Promise<number> {
  const page = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  const line = page.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(line.lastIndexOf(' ') + 1) ?? Number.NaN);
}

const received = 'penstock_sharing_keys_total{event="received"}';

/** What others have in flight is told five times a second: for so long one goes round what is answered already. */
async function untilIdle(gateway: RunningGateway): Promise<void> {
  await eventually('it knows of nothing in flight', async () => {
    const { pick } = await ask(gateway, 'idle?');
    return !/;(inflight|pending)=[1-9]/.test(pick);
  });
}

/** Asks `from` for what nobody has asked before; then `to`, when it has been told, for what goes on from it. */
async function askBoth(
  from: RunningGateway,
  to: RunningGateway,
  prompt = newPrompt(),
): Promise<readonly [sent: Answer, next: Answer]> {
  const before = await metric(to, received);
  const sent = await ask(from, prompt);
  expect(sent).toMatchObject({ status: 200, matched: 0 });
  // It may take two batches, and the end of the prompt comes first.
  const blocks = Math.floor(prompt.length / blockBytes);
  await eventually('it is told', async () => (await metric(to, received)) >= before + blocks);
  await untilIdle(to);
  return [sent, await ask(to, `${prompt} and now?`)];
}

/** One goes where the other went, because it knows that the prompt is there. */
function expectTogether([sent, next]: readonly [Answer, Answer]): void {
  expect(next.endpoint, next.pick).toBe(sent.endpoint);
  expect(next.matched, next.pick).toBeGreaterThan(0.9);
}

describe.skipIf(valkeyProgram === null)(`with a store${valkeyHint}`, () => {
  beforeAll(async () => {
    for (let count = 0; count < engineCount; count++) {
      engines.push(
        await ModelServer.listen((response, request) => {
          if (request.url === '/metrics') {
            const lines = ['vllm:num_requests_waiting', 'vllm:num_requests_running', 'vllm:kv_cache_usage_perc'];
            response.end(
              `${lines.map((name) => `${name}{model_name="m"} 0`).join('\n')}\nprocess_start_time_seconds ${startedAt}\n`,
            );
          } else if (request.headers['x-hold'] !== undefined) held.push(response);
          else answerChat(response);
        }),
      );
    }
  });

  beforeEach(async () => {
    store = await Valkey.start();
  });

  afterEach(async () => {
    for (const response of held.splice(0)) response.destroy();
    await Promise.all(gateways.splice(0).map((gateway) => gateway.stop()));
    await store.down();
  });

  afterAll(() => {
    for (const engine of engines) engine.close();
  });

  test('sharing: when one gateway has sent a prompt somewhere, the other sends what goes on from it there', async () => {
    const urls = engines.map(({ url }) => url);
    const first = await start();
    const second = await start({ urls: urls.toReversed() });
    await eventually('they know of each other', areTogether);
    for (let count = 0; count < 6; count++) expectTogether(await askBoth(first, second));
    expectTogether(await askBoth(second, first));
    expect((await sharingOf(first))!.lag_ms).toBeGreaterThan(0);
    expect(await metric(second, 'penstock_sharing_up')).toBe(1);
    expect(await metric(second, 'penstock_sharing_lag_seconds_count')).toBeGreaterThan(0);
    expect(await metric(second, 'penstock_sharing_batches_total{event="malformed"}')).toBe(0);
    expect(await metric(second, 'penstock_sharing_keys_total{event="lost"}')).toBe(0);
    expect(await metric(first, 'penstock_sharing_keys_total{event="unknown"}')).toBe(0);
  });

  test('sharing: when gateways share nothing, they still send a prompt that is new to them to the same endpoint', async () => {
    const urls = engines.map(({ url }) => url);
    const first = await start({ sharing: '' });
    const second = await start({ sharing: '', urls: urls.toReversed() });
    for (let count = 0; count < 12; count++) {
      const prompt = newPrompt();
      const [one, other] = [await ask(first, prompt), await ask(second, prompt)];
      expect([other.endpoint, other.matched]).toEqual([one.endpoint, 0]);
    }
    expect(await sharingOf(first)).toBeNull();
  });

  test('sharing: when the store dies, every request is served as before; when it is back, they share again', async () => {
    const first = await start();
    const second = await start();
    await eventually('they know of each other', areTogether);
    const prompt = newPrompt();
    const home = await ask(first, prompt);
    await store.down();
    await eventually('it is missed', async () => !(await sharingOf(first))!.up);
    await eventually('the other is not heard of any more', async () => (await sharingOf(first))!.peers === 0);
    const kept = await ask(first, `${prompt} and then?`);
    expect(kept.endpoint).toBe(home.endpoint);
    expect(kept.matched, 'what was learned stays').toBeGreaterThan(0.9);
    const alone = await Promise.all(Array.from({ length: 40 }, (_, n) => ask([first, second][n % 2]!, newPrompt())));
    expect(alone.map(({ status }) => status)).toEqual(alone.map(() => 200));
    expect((await fetch(`${first.adminUrl}/ready`)).status).toBe(200);
    await store.up();
    await eventually('they know of each other again', areTogether);
    expectTogether(await askBoth(first, second));
  });

  test('sharing: when the store is away at the start, a gateway serves at once, and takes the common secret over later', async () => {
    const first = await start();
    await store.down();
    const second = await start();
    expect(await ask(second, newPrompt())).toMatchObject({ status: 200 });
    await store.up();
    await eventually('they know of each other', areTogether);
    // Whichever came first, one had a secret of its own until now.
    expect(
      gateways.filter((gateway) => gateway.log().includes('keys of prompts are made with the shared secret')).length,
    ).toBe(1);
    expectTogether(await askBoth(first, second));
    expectTogether(await askBoth(second, first));
  });

  test('sharing: when a gateway starts, it knows what the others sent before', async () => {
    const first = await start();
    const prompts = Array.from({ length: 5 }, newPrompt);
    const homes: string[] = [];
    for (const prompt of prompts) homes.push((await ask(first, prompt)).endpoint);
    await eventually(
      'it is told',
      async () => (await metric(first, 'penstock_sharing_batches_total{event="sent"}')) > 0,
    );
    await eventually('all of it is', async () => (await sharingOf(first))!.lag_ms !== null);
    await askBoth(first, await start());
    const third = await start();
    await untilIdle(third);
    for (const [at, prompt] of prompts.entries()) {
      expect(await ask(third, prompt)).toMatchObject({ endpoint: homes[at], matched: expect.closeTo(1, 1) as number });
    }
  });

  test('sharing: when an endpoint is restarted and one gateway notices, the other forgets what it held', async () => {
    const watching = await start({ engine: 'vllm' });
    const other = await start();
    await eventually('they know of each other', areTogether);
    expectTogether(await askBoth(watching, other));
    const prompt = newPrompt();
    const before = await metric(other, received);
    const { endpoint } = await ask(watching, prompt);
    await eventually('it is told', async () => (await metric(other, received)) > before);
    startedAt += 100;
    await eventually('the other heard of it', () =>
      Promise.resolve(
        other.log().split('endpoint was restarted').length - 1 >= 1 &&
          other.log().includes(`"endpoint":"${endpoint}","msg":"endpoint was restarted`),
      ),
    );
    expect((await ask(other, prompt)).matched).toBe(0);
  });

  test('sharing: when requests wait at an endpoint, the other gateway counts them there for as long as they do', async () => {
    const first = await start();
    const second = await start();
    await eventually('they know of each other', areTogether);
    const prompt = newPrompt();
    const both = await askBoth(first, second, prompt);
    expectTogether(both);
    const [{ endpoint }] = both;
    await untilIdle(first);
    const waiting = fetch(`${first.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-hold': '1' },
      body: JSON.stringify({ model: 'm', prompt }),
    });
    await eventually('the endpoint has it', () => Promise.resolve(held.length === 1));
    await eventually('the other counts it', async () => {
      const answer = await ask(second, prompt);
      return answer.endpoint === endpoint && answer.inflight === 1;
    });
    answerChat(held.pop()!);
    expect((await waiting).status).toBe(200);
    await eventually('no more', async () => {
      const answer = await ask(second, prompt);
      return answer.endpoint === endpoint && answer.inflight === 0;
    });
  });

  test('sharing: when the store wants a user and gives it few rights, gateways with its password share, and one without does not', async () => {
    const rights = '~{penstock}:* +xadd +xread +xrange +xrevrange +set +get +time +ping'.split(' ');
    const guarded = await Valkey.start(['--user', 'default', 'off', '--user', 'edge', 'on', '>hush hush', ...rights]);
    onTestFinished(() => guarded.down());
    const address = guarded.url.replace('redis://', '');
    const first = await start({ sharing: `url: "redis://edge:hush%20hush@${address}"` });
    const second = await start({ sharing: `url: "redis://edge@${address}", password: "hush hush"` });
    await eventually('they know of each other', areTogether);
    expectTogether(await askBoth(first, second));
    const stranger = await start({ sharing: `url: "redis://edge@${address}", password: "wrong wrong"` });
    expect((await sharingOf(stranger))!.up).toBe(false);
    expect(await ask(stranger, newPrompt())).toMatchObject({ status: 200 });
    expect(stranger.log()).toContain('WRONGPASS');
    for (const gateway of gateways) {
      const config = JSON.stringify(await gateway.admin('/config'));
      expect(gateway.output() + config).not.toMatch(/hush( |%20)hush|wrong wrong/);
    }
  });

  test('sharing: when the store speaks TLS, its certificate is checked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'penstock-sharing-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const names = ['-subj', '/CN=store.test', '-addext', 'subjectAltName=DNS:store.test'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const made = spawnSync('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', cert], {
      encoding: 'utf8',
    });
    expect(made.status, made.stderr).toBe(0);
    const tlsPort = await freePort();
    const files = [
      '--tls-cert-file',
      cert,
      '--tls-key-file',
      key,
      '--tls-ca-cert-file',
      cert,
      '--tls-auth-clients',
      'no',
    ];
    const secure = await Valkey.start(['--tls-port', `${tlsPort}`, ...files]);
    onTestFinished(() => secure.down());
    const url = `url: "rediss://127.0.0.1:${tlsPort}"`;
    const first = await start({ sharing: `${url}, tls: { ca_path: "${cert}", server_name: store.test }` });
    await eventually('it is reached', async () => (await sharingOf(first))!.up);
    const another = await start({ sharing: `${url}, tls: { ca_path: "${cert}" }` });
    expect((await sharingOf(another))!.up, 'not the name on the certificate').toBe(false);
    const doubtful = await start({ sharing: `${url}, tls: { server_name: store.test }` });
    expect((await sharingOf(doubtful))!.up, 'nobody vouches for it').toBe(false);
    expect(await ask(doubtful, newPrompt())).toMatchObject({ status: 200 });
  });

  test('sharing: when the store is full of what no gateway wrote, nothing of it is taken, and nothing is harmed', async () => {
    const first = await start();
    const second = await start();
    await eventually('they know of each other', areTogether);
    for (let count = 0; count < 50; count++) {
      const stream = sharedStream(count % 2 === 0 ? 'blocks' : 'loads');
      await store.ask('XADD', stream, '*', 'b', 'PS\u0001'.repeat(count));
      await store.ask('XADD', stream, '*', 'other', '', 'b', 'x');
    }
    await eventually(
      'it is counted',
      async () => (await metric(first, 'penstock_sharing_batches_total{event="malformed"}')) >= 100,
    );
    expectTogether(await askBoth(first, second));
    await store.ask('DEL', sharedStream('blocks'));
    await store.ask('SET', sharedStream('blocks'), 'no stream');
    await eventually('it cannot be shared', async () => !(await sharingOf(first))!.up);
    expect(await ask(first, newPrompt())).toMatchObject({ status: 200 });
    await store.ask('DEL', sharedStream('blocks'));
    await eventually('they know of each other again', areTogether);
    expectTogether(await askBoth(first, second));
  });
});
