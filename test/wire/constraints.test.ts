import { expect, test } from 'vitest';
import { answerText, chatRequest, codeOf, rig, type Rig, until } from '../rig/index.ts';

// Targets that ask for kinds of endpoints: which of a pool's may serve a model, and what the others then wait for.

const kinds = `
models:
  - { name: large, targets: [{ pool: mixed, skus: [h100] }] }
  - { name: small, targets: [{ pool: mixed, skus: [l40s], quantizations: [fp8] }] }
  - { name: any, targets: [{ pool: mixed }] }
  - { name: spilling, targets: [{ pool: mixed, skus: [b200] }, { pool: paid }] }
  - { name: nowhere, targets: [{ pool: mixed, skus: [b200] }] }
pools:
  - name: mixed
    engine: none
    picker: PICKER
    inflight_max: MAX
    ejection: { consecutive_failures: 1000 }
    endpoints:
      - { url: "$UPSTREAM0", sku: h100, quantization: bf16 }
      - { url: "$UPSTREAM1", sku: l40s, quantization: fp8 }
      - { url: "$UPSTREAM2", sku: l40s }
  - { name: paid, engine: none, endpoints: [{ url: "$UPSTREAM3" }] }
`;

async function mixed(picker: string, inflightMax = 0, shardCount = 1): Promise<Rig> {
  const gateway = await rig({
    upstreamCount: 4,
    shardCount,
    yaml: kinds.replace('PICKER', picker).replace('MAX', String(inflightMax)),
  });
  return gateway;
}

const bodyOf = (model: string): string => JSON.stringify({ model, messages: [{ role: 'user', content: 'x' }] });

async function ask(
  gateway: Rig,
  model: string,
  shardIndex = 0,
): Promise<{ readonly status: number; readonly text: string }> {
  const client = await gateway.client(shardIndex);
  const answer = await client.ask(chatRequest(bodyOf(model)));
  client.destroy();
  return answer;
}

for (const picker of ['round_robin', 'kv_aware', 'consistent_hash', 'least_load']) {
  test(`constraints: when a target asks for a kind, ${picker} picks among the endpoints of that kind alone`, async () => {
    const gateway = await mixed(picker);
    for (const [index, upstream] of gateway.upstreams.entries()) upstream.answerAll(answerText(`${index}`));
    for (let count = 0; count < 6; count++) {
      expect((await ask(gateway, 'large')).text).toBe('0');
      expect((await ask(gateway, 'small')).text, 'the other l40s does not say what it holds').toBe('1');
      expect(['0', '1', '2']).toContain((await ask(gateway, 'any')).text);
    }
  });
}

test('constraints: when no endpoint fits, the next target serves, and without one it is 503 no_endpoint', async () => {
  const gateway = await mixed('round_robin');
  for (const [index, upstream] of gateway.upstreams.entries()) upstream.answerAll(answerText(`${index}`));
  expect((await ask(gateway, 'spilling')).text).toBe('3');
  const { status, text } = await ask(gateway, 'nowhere');
  expect([status, codeOf(text)]).toEqual([503, 'no_endpoint']);
});

test('constraints: when the endpoint that fits fails, no retry goes to one that does not', async () => {
  const gateway = await mixed('round_robin');
  for (const [index, upstream] of gateway.upstreams.entries()) upstream.answerAll(answerText(`${index}`));
  await gateway.upstreams[0]!.stopListening();
  const { status, text } = await ask(gateway, 'large');
  expect([status, codeOf(text)]).toEqual([502, 'connect_failed']);
  expect(gateway.upstreams[1]!.peers.length + gateway.upstreams[2]!.peers.length).toBe(0);
});

// One that waits for an endpoint of its kind would otherwise hold up everybody behind it.
test('constraints: when the first in the queue waits for its kind, those behind it get the places that are free', async () => {
  const gateway = await mixed('round_robin', 1);
  gateway.upstreams[1]!.answerAll(answerText('1'));
  gateway.upstreams[2]!.answerAll(answerText('2'));
  const clients = [];
  for (let count = 1; count <= 3; count++) {
    const client = await gateway.client();
    client.send(chatRequest(bodyOf('large')));
    await until(() => gateway.shard.state.open.length === count, 'it is here');
    clients.push(client);
  }
  const large = await gateway.upstreams[0]!.accept();
  await large.request();
  expect(gateway.phases().filter((phase) => phase === 'queued').length).toBe(2);
  for (let count = 0; count < 4; count++) expect((await ask(gateway, 'small')).text).toBe('1');
  expect(['1', '2']).toContain((await ask(gateway, 'any')).text);
  expect(gateway.phases().filter((phase) => phase === 'queued').length, 'they wait still').toBe(2);
  for (const client of clients) {
    large.send(answerText('0'));
    expect((await client.response()).text).toBe('0');
    if (client !== clients.at(-1)) await large.request();
  }
});

// A place is otherwise left to another shard's first for 0.1 s, whoever that is.
test('constraints: when the first of another shard waits for its kind, who comes to this one is served at once', async () => {
  const gateway = await mixed('round_robin', 1, 2);
  gateway.upstreams[1]!.answerAll(answerText('1'));
  gateway.upstreams[2]!.answerAll(answerText('2'));
  const clients = [];
  for (let count = 0; count < 2; count++) {
    const client = await gateway.client(0);
    client.send(chatRequest(bodyOf('large')));
    clients.push(client);
  }
  await gateway.inPhase('queued');
  const phases = (): string[] => gateway.shards[1]!.exchanges().map(({ phase }) => phase);
  for (let count = 0; count < 5; count++) {
    const client = await gateway.client(1);
    client.send(chatRequest(bodyOf(count % 2 === 0 ? 'small' : 'any')));
    await until(() => phases().length > 0, 'it is here');
    expect(phases(), 'no turn is left to anybody').not.toContain('queued');
    expect(['1', '2']).toContain((await client.response()).text);
    client.destroy();
    await until(() => phases().length === 0, 'it is over');
  }
  const large = await gateway.upstreams[0]!.accept();
  for (let count = 0; count < 2; count++) {
    await large.request();
    large.send(answerText('0'));
  }
  for (const client of clients) expect((await client.response()).text).toBe('0');
});
