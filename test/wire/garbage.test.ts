import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { faultNames, otherRow, wholeRow } from '../../src/shm/index.ts';
import { answerText, chatRequest, requestText, rig, type Rig, type UpstreamPeer } from '../rig/index.ts';
import { until } from '../rig/until.ts';

// FAULTS R5, F33, F34: an answer with status 200 may be none.
const good = answerText('{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}', [
  'content-type: application/json',
]);
const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n';
const tokenEvent = (text: string): string =>
  `data: {"choices":[{"delta":{"content":${JSON.stringify(text)}},"finish_reason":null}]}\n\n`;
const end = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
const words = (count: number): string =>
  Array.from({ length: count }, (_, number) => tokenEvent(` ${number}`)).join('');

async function pool(): Promise<Rig> {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: `pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 },
      ejection: { consecutive_failures: 2, base_ms: 60s }, endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }] }]`,
  });
  gateway.upstreams[1]!.answerAll(good);
  return gateway;
}

/** Every request gets its connection and this. */
function always(gateway: Rig, serve: (peer: UpstreamPeer) => void | Promise<void>, index = 0): void {
  gateway.upstreams[index]!.onPeer = async (peer) => {
    await peer.request();
    await serve(peer);
  };
}

const chat = chatRequest('{"model":"a","stream":true}');

async function serve(gateway: Rig, count: number, request = chat): Promise<void> {
  for (let over = gateway.accessLog().length; over < count; over++) {
    const client = await gateway.client();
    client.send(request);
    await gateway.closeReason(over + 1);
    client.destroy();
  }
}

function view(gateway: Rig, index = 0) {
  return gateway.fleet.health.view(gateway.slots[index]!, wholeRow, gateway.shard.state.parts.clock.refresh());
}

function verdict(gateway: Rig): string {
  const { isOut, reason } = view(gateway);
  return isOut ? faultNames[reason]! : 'in';
}

const json = ['content-type: application/json'];
const bad: Readonly<Record<string, readonly [fault: string, answer: string]>> = {
  'streams a page of HTML': ['garbage', `${streamHead}data: <html>\n\ndata: oops\n\ndata: [DONE]\n\n`],
  'answers a page of HTML': ['garbage', answerText('<html><body>It works!</body></html>', ['content-type: text/html'])],
  'answers something cut off at its start': ['garbage', answerText(' hoices":[]}', json)],
  'streams one token for ever': ['repeat', `${streamHead}${tokenEvent('!').repeat(200)}${end}`],
  'streams a cycle of tokens for ever': [
    'repeat',
    `${streamHead}${[' I', ' am', ' sorry'].map(tokenEvent).join('').repeat(200)}${end}`,
  ],
  'streams characters that are none': [
    'replaced',
    `${streamHead}${(words(2) + tokenEvent('x\\ufffd').replace('\\\\', '\\')).repeat(10)}${end}`,
  ],
  'streams an error': [
    'error',
    `${streamHead}${tokenEvent('a')}data: {"error":{"message":"CUDA error: device-side assert","type":"InternalServerError","code":500}}\n\ndata: [DONE]\n\n`,
  ],
  'streams no text at all': [
    'empty',
    `${streamHead}data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n${end}`,
  ],
  'streams no text, and reports no token': [
    'empty',
    `${streamHead}data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":0,"total_tokens":9}}\n\n${end}`,
  ],
  'answers without a body': ['empty', answerText('')],
  'answers without a token': [
    'empty',
    answerText('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":0}}', json),
  ],
};
for (const [what, [fault, answer]] of Object.entries(bad)) {
  test(`garbage: when one endpoint of two ${what}, it is out`, async () => {
    const gateway = await pool();
    always(gateway, (peer) => {
      peer.send(answer.startsWith(streamHead) ? answer : answer.replace('\r\n', '\r\nconnection: close\r\n'));
      peer.finish();
    });
    await serve(gateway, 6);
    expect(verdict(gateway)).toBe(fault);
    expect(view(gateway, 1)).toMatchObject({ isOut: false, faults: 0 });
  });
}

const fine: Readonly<Record<string, string>> = {
  'says that the request is wrong': `${streamHead}data: {"error":{"object":"error","message":"too long","type":"BadRequestError","code":400}}\n\ndata: [DONE]\n\n`,
  'says that it has no room': `${streamHead}event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\ndata: [DONE]\n\n`,
  'calls a tool without arguments': `${streamHead}data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"now","arguments":""}}]}}]}\n\n${end}`,
  'draws a table': `${streamHead}${tokenEvent('-').repeat(500)}${end}`,
  'ends at once, and reports a token': `${streamHead}data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}\n\n${end}`,
  'writes an emoji in two halves now and then': `${streamHead}${(words(9) + tokenEvent('\\ufffd').replace('\\\\', '\\')).repeat(4)}${end}`,
  'compresses its answer': answerText('\x1f\x8b\x08rest', ['content-encoding: gzip', 'connection: close']),
  'answers in several lines of JSON': answerText('\r\n {"choices":[]}', [...json, 'connection: close']),
};
for (const [what, answer] of Object.entries(fine)) {
  test(`garbage: when an endpoint ${what}, that is no fault of it`, async () => {
    const gateway = await pool();
    always(gateway, (peer) => {
      peer.send(answer);
      peer.finish();
    });
    await serve(gateway, 8);
    expect([verdict(gateway), view(gateway).faults]).toEqual(['in', 0]);
  });
}

test('garbage: when embeddings or any other path are answered, only what claims to be JSON is judged', async () => {
  const gateway = await pool();
  always(gateway, (peer) => {
    peer.send(answerText('plain text', ['connection: close']));
    peer.finish();
  });
  await serve(gateway, 8, requestText('GET', '/version'));
  expect([verdict(gateway), view(gateway).faults]).toEqual(['in', 0]);
  const more = requestText('POST', '/v1/embeddings', ['content-type: application/json'], '{"model":"a","input":"b"}');
  await serve(gateway, 14, more);
  expect(verdict(gateway)).toBe('garbage');
});

// A loop runs until max_tokens, which may take minutes.
test('garbage: when a stream loops, that counts while it still streams', async () => {
  const gateway = await pool();
  always(gateway, async (peer) => {
    peer.send(streamHead);
    await peer.sendPieces([tokenEvent('!').repeat(150)]);
  });
  const clients = await Promise.all([1, 2, 3, 4].map(() => gateway.client()));
  for (const client of clients) client.send(chat);
  await until(() => view(gateway).isOut, 'the endpoint is out');
  expect([verdict(gateway), view(gateway).ejections]).toEqual(['repeat', 1]);
  expect(gateway.phases()).toEqual(['streaming', 'streaming']);
  for (const client of clients) client.destroy();
});

/** Tokens at a pace, until the connection ends. */
async function paced(peer: UpstreamPeer, gapMs: number, count: number): Promise<void> {
  peer.send(streamHead);
  for (let number = 0; number < count && !peer.isEnded; number++) {
    await peer.sendPieces([tokenEvent(` ${number}`)]);
    await delay(gapMs);
  }
  peer.send(end);
  peer.finish();
}

// FAULTS F34: out within 10 s, although its streams would take minutes.
test('slow: when one endpoint streams at less than a tenth of the pace of the other, it is out before its streams end', async () => {
  const gateway = await pool();
  always(gateway, (peer) => paced(peer, 500, 100));
  always(gateway, (peer) => paced(peer, 5, 20), 1);
  await serve(gateway, 0);
  const clients = await Promise.all([1, 2, 3, 4, 5, 6].map(() => gateway.client()));
  for (const client of clients) client.send(chat);
  await until(() => view(gateway).isOut, 'the endpoint is out', 10_000);
  expect(verdict(gateway)).toBe('slow');
  expect(gateway.phases().filter((phase) => phase === 'streaming').length).toBeGreaterThan(0);
  for (const client of clients) client.destroy();
}, 20_000);

test('slow: when it is the client that reads slowly, the endpoint is not blamed', async () => {
  const gateway = await pool();
  const large = tokenEvent('x'.repeat(60_000));
  always(gateway, async (peer) => {
    peer.send(streamHead);
    for (let number = 0; number < 200; number++) await peer.sendPieces([large]);
    peer.send(end);
    peer.finish();
  });
  always(gateway, (peer) => paced(peer, 2, 20), 1);
  const fast = await gateway.client();
  const slow = [await gateway.client(), await gateway.client(), await gateway.client()];
  fast.send(chat); // To the first endpoint; every second request goes to the other.
  for (const client of slow) {
    client.pause();
    client.send(chat);
  }
  await until(() => gateway.fleet.health.tokenGapMs(gateway.slots[1]!, otherRow, true) > 0, 'the other has a pace');
  await delay(2500); // Longer than it takes to see a pace.
  expect(view(gateway).faults).toBe(0);
  for (const client of slow) client.resume();
  await gateway.closeReason(4);
  expect(verdict(gateway)).toBe('in');
}, 20_000);

test('slow: when answers come whole, the tokens they report tell the pace', async () => {
  const gateway = await pool();
  const answer = answerText(
    '{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":16}}',
    ['content-type: application/json', 'connection: close'],
  );
  for (const [index, waitMs] of [800, 20].entries()) {
    const late = async (peer: UpstreamPeer): Promise<void> => {
      await delay(waitMs);
      peer.send(answer);
      peer.finish();
    };
    always(gateway, late, index);
  }
  await serve(gateway, 6);
  expect(verdict(gateway)).toBe('slow');
});
