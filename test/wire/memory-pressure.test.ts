import { expect, test } from 'vitest';
import { answerText, blackHole, chatRequest, rig } from '../rig/index.ts';

const prompt = (model: string, bytes: number): string => chatRequest(`{"model":"${model}","p":"${'x'.repeat(bytes)}"}`);

// FAULTS F52. The record of an exchange is used again: what its last attempt had sent says nothing about the present one.
test('memory: when room is short while the endpoint is being connected to, no byte is given up that was not sent', async () => {
  const hole = await blackHole();
  const gateway = await rig({
    yaml: `
limits: { buffered_bytes_max: 2MiB, body_bytes_max: 2MiB }
timeouts: { connect_ms: 400 }
models:
  - { name: up, targets: [{ pool: up }] }
  - { name: both, targets: [{ pool: hole }, { pool: up }] }
pools:
  - { name: up, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }
  - { name: hole, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "${hole.url}" }] }
`,
  });
  // Two records that have sent several slabs each.
  const before = await Promise.all([gateway.client(), gateway.client()]);
  for (const client of before) client.send(prompt('up', 600_000));
  const peers = [await gateway.upstream.accept(), await gateway.upstream.accept()];
  for (const peer of peers) await peer.request();
  for (const peer of peers) peer.send(answerText('first', ['connection: close']));
  for (const client of before) expect((await client.response()).text).toBe('first');
  // Half of the memory is held by one that waits, and more than the other half is wanted by one that connects.
  const waiting = await gateway.client();
  waiting.send(prompt('up', 1_000_000));
  const held = await gateway.upstream.accept();
  await held.request();
  const client = await gateway.client();
  client.send(prompt('both', 1_300_000));
  const peer = await gateway.upstream.accept();
  const { text } = await peer.request();
  expect(text.length).toBe(1_300_000 + '{"model":"both","p":""}'.length);
  peer.send(answerText('second'));
  held.send(answerText('waited'));
  expect((await client.response()).text).toBe('second');
  expect((await waiting.response()).text).toBe('waited');
  hole.close();
});
