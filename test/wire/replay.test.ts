import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { answerText, chatRequest, rig, type UpstreamPeer } from '../rig/index.ts';

// A body is replayed out of the slabs it was received into: whole, to whoever is next, without asking the client again.

/** Not the same anywhere, so that a piece in the wrong place shows. */
function bodyOf(bytes: number): string {
  const words: string[] = [];
  for (let length = 0, index = 0; length < bytes; index++) {
    const word = `${(index * 2_654_435_761) % 0x1_0000_0000} `;
    words.push(word);
    length += word.length;
  }
  return `{"model":"a","prompt":"${words.join('').slice(0, bytes)}"}`;
}

function digest(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

const failures: Record<string, (peer: UpstreamPeer) => Promise<void>> = {
  'resets the connection with the body half read': async (peer) => {
    await peer.read(1_000_000);
    peer.reset();
  },
  'refuses with 503 when it has all of it': async (peer) => {
    await peer.request();
    peer.send('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n');
  },
  'refuses with 429 in the middle of it': async (peer) => {
    await peer.read(1_000_000);
    peer.send('HTTP/1.1 429 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
  },
};

const twoTargets = `
models: [{ name: a, targets: [{ pool: near }, { pool: far }] }]
pools:
  - { name: near, engine: none, picker: round_robin, retries: { attempts: 1 }, endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }] }
  - { name: far, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM2" }] }
`;

for (const megabytes of [3, 30]) {
  for (const [how, failOn] of Object.entries(failures)) {
    test(`replay: when each endpoint of a pool ${how}, the next target gets the same ${megabytes} MB`, async () => {
      const gateway = await rig({ upstreamCount: 3, yaml: twoTargets });
      for (const upstream of gateway.upstreams.slice(0, 2)) upstream.onPeer = failOn;
      const seen: string[] = [];
      gateway.upstreams[2]!.answerAll(({ text }) => {
        seen.push(digest(text));
        return answerText('far');
      });
      const body = bodyOf(megabytes * 1_000_000);
      const client = await gateway.client();
      const response = await client.ask(chatRequest(body));
      expect([response.status, response.text]).toEqual([200, 'far']);
      expect(seen).toEqual([digest(body)]);
      expect(gateway.upstreams.slice(0, 2).map(({ peers }) => peers.length)).toEqual([1, 1]);
      expect(await gateway.closeReason()).toBe('done');
      expect(gateway.accessLog()[0]!.retries).toBe(2);
    });
  }
}

test('replay: when memory runs short, what only another attempt would need is given up for those who have no room', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: `
limits: { buffered_bytes_max: 1500KiB, body_bytes_max: 1MiB }
pools:
  - { name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }] }
`,
  });
  const [first, second] = [await gateway.client(), await gateway.client()];
  const body = bodyOf(1_000_000);
  // It waits for its answer, and keeps its memory as long as it could be sent again.
  first.send(chatRequest(body));
  const waiting = await gateway.upstreams[0]!.accept();
  await waiting.request();
  second.send(chatRequest(body));
  const serving = await gateway.upstreams[1]!.accept();
  expect(digest((await serving.request()).text)).toBe(digest(body));
  serving.send(answerText('ok'));
  expect((await second.response()).text).toBe('ok');
  expect(gateway.counts('penstock_replay_skipped_total')).toEqual({ 'only memory': 1 });

  waiting.reset();
  const response = await first.response();
  // The gateway cannot try it again, the client can.
  expect([response.status, response.head.raw.includes('x-should-retry')]).toEqual([502, false]);
  expect(gateway.counts('penstock_replay_skipped_total')).toEqual({ 'only memory': 1, 'only reset': 1 });
  await gateway.closeReason(2);
  expect(gateway.accessLog()[1]).toMatchObject({ reason: 'upstream_reset', replay_skipped: 'reset' });
});
