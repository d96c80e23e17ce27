import { expect, test } from 'vitest';
import { answerText, chatRequest, rig, type Rig, type UpstreamPeer } from '../rig/index.ts';

const limit = 3;

async function pool(upstreamCount: number, ejection = ''): Promise<Rig> {
  const endpoints = Array.from({ length: upstreamCount }, (_, index) => `{ url: "$UPSTREAM${index}" }`).join(', ');
  return rig({
    upstreamCount,
    yaml: `pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 },
      ejection: { consecutive_failures: ${limit}, base_ms: 60s${ejection} }, endpoints: [${endpoints}] }]`,
  });
}

/** Sends chats, one after the other, each on a connection of its own, until `count` exchanges are over. */
async function serve(gateway: Rig, count: number): Promise<void> {
  for (let over = gateway.accessLog().length; over < count; over++) {
    const client = await gateway.client();
    client.send(chatRequest('{"model":"a"}'));
    await gateway.closeReason(over + 1);
    client.destroy();
  }
}

function isOut(gateway: Rig, index: number): boolean {
  return gateway.fleet.isEjected(gateway.slots[index]!, gateway.shard.state.parts.clock.refresh());
}

/** Answers each request on a fresh connection by `end`. */
function alwaysEnd(gateway: Rig, index: number, end: (peer: UpstreamPeer) => void): void {
  gateway.upstreams[index]!.onPeer = async (peer) => {
    await peer.request();
    end(peer);
  };
}

// FAULTS F28, F29, F33: a connect is not all that can fail.
const faults: Record<string, (peer: UpstreamPeer) => void> = {
  'resets the connection before its head': (peer) => peer.reset(),
  'answers something that is not HTTP': (peer) => peer.send('SSH-2.0-OpenSSH_9.2\r\n\r\n'),
  'answers 500': (peer) => peer.send('HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'),
  'ends its body early': (peer) => {
    peer.send('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc');
    peer.finish();
  },
  'ends its stream without [DONE]': (peer) =>
    peer.send(
      'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n',
    ),
};
for (const [what, end] of Object.entries(faults)) {
  test(`ejection: when one endpoint of two ${what} as often as the rule says, it is out and the other serves`, async () => {
    const gateway = await pool(2);
    alwaysEnd(gateway, 0, end);
    gateway.upstreams[1]!.answerAll(answerText('{}'));
    await serve(gateway, 2 * limit - 2);
    expect(isOut(gateway, 0)).toBe(false);
    await serve(gateway, 2 * limit);
    expect([isOut(gateway, 0), isOut(gateway, 1)]).toEqual([true, false]);
    await serve(gateway, 2 * limit + 4);
    expect(
      gateway
        .accessLog()
        .slice(-4)
        .map(({ reason }) => reason),
    ).toEqual(['done', 'done', 'done', 'done']);
  });
}

test('ejection: when a good answer comes between the faults, the endpoint stays', async () => {
  const gateway = await pool(2);
  let count = 0;
  gateway.upstreams[0]!.onPeer = async (peer) => {
    for (;;) {
      await peer.request();
      if (++count % limit === 0) peer.send(answerText('{}'));
      else peer.send('HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n');
    }
  };
  gateway.upstreams[1]!.answerAll(answerText('{}'));
  await serve(gateway, 20);
  expect(isOut(gateway, 0)).toBe(false);
});

test('ejection: when an endpoint is busy or the request is wrong, that is no fault of it', async () => {
  for (const status of [400, 429, 503]) {
    const gateway = await pool(2);
    for (const upstream of gateway.upstreams) {
      upstream.answerAll(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`);
    }
    await serve(gateway, 12);
    expect([isOut(gateway, 0), isOut(gateway, 1)], String(status)).toEqual([false, false]);
  }
});

// A request that kills whatever serves it must not empty the pool.
test('ejection: when every endpoint resets, no more than the share leaves', async () => {
  const gateway = await pool(3);
  for (const index of [0, 1, 2]) alwaysEnd(gateway, index, (peer) => peer.reset());
  await serve(gateway, 30);
  expect([0, 1, 2].filter((index) => isOut(gateway, index))).toHaveLength(1);
  const single = await pool(1);
  alwaysEnd(single, 0, (peer) => peer.reset());
  await serve(single, 6);
  expect(isOut(single, 0)).toBe(false);
});

const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n';
const token = 'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n';
const lastToken = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';

// FAULTS F33, F34: an answer with status 200 may be none.
test('ejection: when one endpoint streams something that is not JSON, it is out', async () => {
  const gateway = await pool(2);
  alwaysEnd(gateway, 0, (peer) => {
    peer.send(`${streamHead}${'data: \ufffd\ufffd\n\n'.repeat(5)}data: [DONE]\n\n`);
    peer.finish();
  });
  alwaysEnd(gateway, 1, (peer) => {
    peer.send(streamHead + token.repeat(5) + lastToken);
    peer.finish();
  });
  await serve(gateway, 2 * limit);
  expect([isOut(gateway, 0), isOut(gateway, 1)]).toEqual([true, false]);
});

/** A pace can only be shown by keeping it. */
async function paced(peer: UpstreamPeer, gapMs: number): Promise<void> {
  await peer.request();
  await peer.sendPieces([streamHead + token]);
  for (let sent = 1; sent < 10; sent++) {
    await new Promise((resolve) => setTimeout(resolve, gapMs));
    await peer.sendPieces([token]);
  }
  peer.send(lastToken);
  peer.finish();
}

test('ejection: when one endpoint sends tokens at a tenth of the pace of the other, it is out', async () => {
  const gateway = await pool(2);
  gateway.upstreams[0]!.onPeer = (peer) => paced(peer, 150);
  gateway.upstreams[1]!.onPeer = (peer) => paced(peer, 3);
  // The other one has to have streamed before there is a pace to compare with; on a busy machine its first one is none.
  for (let count = 2; count <= 24 && !isOut(gateway, 0); count += 2) await serve(gateway, count);
  expect([isOut(gateway, 0), isOut(gateway, 1)]).toEqual([true, false]);
});
