import { expect, test } from 'vitest';
import { answerText, chatRequest, rig, type Rig } from '../rig/index.ts';
import { until } from '../rig/until.ts';

// Requests go where the engine has their prompt, through the whole gateway: hash, index, score, ledger.

const yaml = `
models: [{ name: m, targets: [{ pool: fleet }] }]
pools:
  - name: fleet
    engine: none
    picker: kv_aware
    ejection: { consecutive_failures: 100 }
    endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }, { url: "$UPSTREAM2" }, { url: "$UPSTREAM3" }]
`;
const assistant = 'You are the assistant of a water works. '.repeat(60);

interface Turn {
  readonly role: string;
  readonly content: string;
}

function conversation(number: number, turnCount: number): Turn[] {
  const turns: Turn[] = [{ role: 'system', content: assistant }];
  for (let turn = 0; turn < turnCount; turn++) {
    turns.push({ role: 'user', content: `${number}.${turn} what does the gauge say? `.repeat(80) });
    turns.push({ role: 'assistant', content: `${number}.${turn} it says seven. `.repeat(80) });
  }
  return turns;
}

const bodyOf = (messages: readonly Turn[], rest: object = {}): string =>
  JSON.stringify({ messages, ...rest, model: 'm' });

/** Every upstream answers with its number. */
async function fleet(): Promise<Rig> {
  const gateway = await rig({ upstreamCount: 4, yaml });
  for (const [index, upstream] of gateway.upstreams.entries()) upstream.answerAll(answerText(`${index}`));
  return gateway;
}

async function ask(gateway: Rig, body: string): Promise<string> {
  const client = await gateway.client();
  const { text } = await client.ask(chatRequest(body));
  client.destroy();
  return text;
}

const pending = (gateway: Rig): number =>
  gateway.slots.reduce((sum, slot) => sum + gateway.fleet.pendingTokens(slot), 0);

test('kv_aware: when conversations go on, each turn goes where the turns before it went', async () => {
  const gateway = await fleet();
  const homes: string[] = [];
  for (let number = 0; number < 12; number++) homes.push(await ask(gateway, bodyOf(conversation(number, 1))));
  expect(new Set(homes).size, 'not all in one place, though all have the assistant in common').toBeGreaterThan(1);
  for (let turns = 2; turns <= 4; turns++) {
    for (const [number, home] of homes.entries()) {
      expect(await ask(gateway, bodyOf(conversation(number, turns), { temperature: turns }))).toBe(home);
    }
  }
  expect(gateway.counts('penstock_prefix_lookups_total')).toEqual({ fleet: 48 });
  expect(gateway.counts('penstock_prefix_hits_total')).toEqual({ fleet: 47 });
  expect(pending(gateway)).toBe(0);
  await gateway.assertIdle();
});

test('kv_aware: when a prompt waits for its first byte, its uncached tokens count where it waits, and no longer', async () => {
  const gateway = await rig({ upstreamCount: 4, yaml });
  const client = await gateway.client();
  client.send(chatRequest(bodyOf(conversation(1, 8))));
  await until(() => gateway.upstreams.some(({ peers }) => peers.length > 0), 'it is sent');
  const peer = await gateway.upstreams.find(({ peers }) => peers.length > 0)!.accept();
  await peer.request();
  expect(pending(gateway)).toBeGreaterThan(5000);
  peer.send('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n');
  const event = 'data: {"choices":[{"delta":{"content":"x"}}]}\n\n';
  peer.send(`${event.length.toString(16)}\r\n${event}\r\n`);
  await until(() => pending(gateway) === 0, 'the prompt is computed');
  expect(gateway.fleet.inflight(gateway.slots[0]!) + gateway.fleet.inflight(gateway.slots[1]!)).toBeLessThanOrEqual(1);
  client.destroy();
  await gateway.assertIdle();
});

test('kv_aware: when the client leaves before the first byte, nothing counts as waiting any more', async () => {
  const gateway = await rig({ upstreamCount: 4, yaml });
  const client = await gateway.client();
  client.send(chatRequest(bodyOf(conversation(1, 8))));
  await until(() => pending(gateway) > 0, 'it waits');
  client.destroy();
  await gateway.assertIdle();
  expect(pending(gateway)).toBe(0);
});

test('kv_aware: when an endpoint fails before it answers, the next attempt counts elsewhere, and the next turn follows it', async () => {
  const gateway = await fleet();
  const home = await ask(gateway, bodyOf(conversation(3, 1)));
  gateway.upstreams[Number(home)]!.onPeer = async (peer) => {
    await peer.request();
    peer.reset();
  };
  for (const peer of gateway.upstreams[Number(home)]!.peers) peer.destroy();
  const next = await ask(gateway, bodyOf(conversation(3, 2)));
  expect(next).not.toBe(home);
  gateway.upstreams[Number(home)]!.answerAll(answerText(home));
  expect(pending(gateway)).toBe(0);
  await gateway.assertIdle();
});

test('kv_aware: when a body is no prompt, or one read in two ways, it goes by load and is served', async () => {
  const gateway = await fleet();
  for (const body of ['{"model":"m"}', '{"model":"m","messages":[],"messages":[1]}', '{"model":"m","input":7}']) {
    expect(['0', '1', '2', '3']).toContain(await ask(gateway, body));
  }
  expect(gateway.counts('penstock_prefix_lookups_total')).toEqual({});
  await gateway.assertIdle();
});

test('kv_aware: when many with one new prompt come at once, they meet in few places', async () => {
  const gateway = await fleet();
  const body = bodyOf(conversation(9, 20));
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask(gateway, body)));
  expect(new Set(answers).size).toBeLessThanOrEqual(2);
  await gateway.assertIdle();
});
