import { expect, test } from 'vitest';
import { answerText, chatRequest, rig, type Rig, until } from '../rig/index.ts';

// Endpoints that say of themselves that they have enough: requests spill to the next target, or wait here.

const pools = (queue: string): string => `
models: [{ name: a, targets: [{ pool: own }, { pool: spare, model: b }] }, { name: only, targets: [{ pool: own }] }]
pools:
  - { name: own, engine: vllm, picker: round_robin, queue: { ${queue} }, endpoints: [{ url: "$UPSTREAM0" }] }
  - { name: spare, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM1" }] }`;

/** What the scraper would have read of the first endpoint. */
function say(gateway: Rig, runningRequests: number, queueDepth: number, kvCacheUsageRatio: number): void {
  const scrapedAtMs = gateway.shard.state.parts.clock.refresh();
  gateway.fleet.publishScrape(gateway.slots[0]!, { runningRequests, queueDepth, kvCacheUsageRatio, scrapedAtMs });
}

for (const [what, queue, waiting, usage] of [
  ['as many wait in the engine as may', 'saturated_at: { waiting: 2 }', 2, 0.1],
  ['its KV cache is as full as it may be', 'saturated_at: { kv_usage: 0.9 }', 0, 0.95],
] as const) {
  test(`saturation: when ${what}, a request spills to the next target, and waits where there is none`, async () => {
    const gateway = await rig({ upstreamCount: 2, yaml: pools(queue) });
    for (const [index, upstream] of gateway.upstreams.entries()) upstream.answerAll(answerText(`${index}`));
    const client = await gateway.client();
    expect((await client.ask(chatRequest('{"model":"a"}'))).text, 'nothing is known yet').toBe('0');
    say(gateway, 8, waiting, usage);
    expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('1');
    client.send(chatRequest('{"model":"only"}'));
    await gateway.inPhase('queued');
    say(gateway, 4, 0, 0.1);
    expect((await client.response()).text, 'there is room again').toBe('0');
    expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('0');
  });
}

// Numbers of the engine come a few times a second: a queue must not empty itself into it meanwhile.
test('saturation: when many wait and one place is free, that is filled and one waits in the engine, the others here', async () => {
  const gateway = await rig({ upstreamCount: 2, yaml: pools('saturated_at: { waiting: 1 }') });
  say(gateway, 8, 1, 0.1);
  const queued = (): number => gateway.phases().filter((phase) => phase === 'queued').length;
  const clients = [];
  for (let count = 1; count <= 5; count++) {
    const client = await gateway.client();
    client.send(chatRequest('{"model":"only"}'));
    await until(() => queued() === count, 'it waits');
    clients.push(client);
  }
  say(gateway, 7, 0, 0.1);
  const peers = [await gateway.upstreams[0]!.accept(), await gateway.upstreams[0]!.accept()];
  for (const peer of peers) await peer.request();
  await gateway.pass(250);
  expect(queued(), 'no word came meanwhile').toBe(3);
  peers[0]!.send(answerText('ok'));
  expect((await clients[0]!.response()).text, 'one is done, so another goes').toBe('ok');
  await peers[0]!.request();
  await gateway.pass(250);
  expect(queued()).toBe(2);
  for (const client of clients) client.destroy();
});
