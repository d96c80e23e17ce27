import { expect, test } from 'vitest';
import {
  answerText,
  chatAnswer,
  chatBody,
  chatRequest,
  codeOf,
  fieldOf,
  longPrompt,
  requestText,
  rig,
  type Rig,
  roleRig,
  type RoleRigOptions,
  turns,
  until,
  type UpstreamPeer,
} from '../rig/index.ts';

// vLLM's two steps (NIXL): the prompt at one endpoint, the answer from another, by the `kv_transfer_params` of the first.
// tests/v1/kv_connector/nixl_integration/toy_proxy_server.py of vLLM is who else speaks it.

const params =
  '{"do_remote_prefill": true, "do_remote_decode":false,"remote_block_ids":[[1,2, 3]],"remote_engine_id":"e-1","remote_request_id":"r","remote_host":"10.0.0.1","remote_port":5600,"tp_size":1,"remote_num_tokens":12345678901234567890}';
const prefillAnswer = (text = params): string =>
  answerText(
    `{"id":"x","choices":[{"text":"a"}],"kv_transfer_params": ${text} ,"usage":{"prompt_tokens":9,"completion_tokens":1}}`,
    ['content-type: application/json'],
  );
const prefillParams =
  '"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}';

interface Setup extends Partial<RoleRigOptions> {
  readonly prefills?: number;
  readonly decodes?: number;
}

/** Prefill endpoints come first. */
function vllm({ prefills = 1, decodes = 1, ...rest }: Setup = {}): Promise<Rig> {
  const roles = [...Array<string>(prefills).fill('prefill'), ...Array<string>(decodes).fill('decode')];
  return roleRig({ disaggregation: 'protocol: vllm', roles, upstreamModel: 'org/m', ...rest });
}

const upstreamBody = (text: string): string => text.replace('"model":"m"', '"model":"org/m"');
const withLast = (text: string, members: string): string => `${text.slice(0, -1)},${members}}`;

test('vllm: when a prompt is long, it is computed by one endpoint and answered by another, with the same bytes but for what has to differ', async () => {
  const gateway = await vllm();
  const client = await gateway.client();
  const body = chatBody({
    stream: true,
    stream_options: { include_usage: true },
    max_completion_tokens: 77,
    min_tokens: 3,
    seed: 1e3,
  });
  client.send(chatRequest(body, ['x-request-id: same', 'accept-encoding: gzip']));
  const prefill = await gateway.upstreams[0]!.accept();
  const first = await prefill.request();
  expect(first.text).toBe(
    withLast(
      upstreamBody(body)
        .replace('"stream":true', '"stream":false')
        .replace('{"include_usage":true}', 'null')
        .replace('"max_completion_tokens":77', '"max_completion_tokens":1')
        .replace('"min_tokens":3', '"min_tokens":0'),
      `"max_tokens":1,${prefillParams}`,
    ),
  );
  expect(fieldOf(first.head, 'accept-encoding'), 'the gateway reads the answer').toBeUndefined();
  expect(gateway.upstreams[1]!.peers.length, 'not before the prompt is computed').toBe(0);
  expect(gateway.inflight(), 'but its place is taken').toEqual([1, 1]);
  prefill.send(prefillAnswer());
  const decode = await gateway.upstreams[1]!.accept();
  const second = await decode.request();
  expect(second.text).toBe(withLast(upstreamBody(body), `"kv_transfer_params":${params}`));
  expect([fieldOf(first.head, 'x-request-id'), fieldOf(second.head, 'x-request-id')]).toEqual(['same', 'same']);
  expect(fieldOf(second.head, 'accept-encoding')).toBe('gzip');
  expect(gateway.inflight(), 'the place of the prompt is free').toEqual([0, 1]);
  decode.send(answerText(chatAnswer, ['x-who: decode', 'content-type: application/json']));
  const response = await client.response();
  expect([response.status, response.text, fieldOf(response.head, 'x-who')]).toEqual([200, chatAnswer, 'decode']);
  await gateway.closeReason();
  expect(gateway.accessLog()[0]).toMatchObject({
    reason: 'done',
    retries: 0,
    endpoint: gateway.upstreams[1]!.url,
    prefill_endpoint: gateway.upstreams[0]!.url,
  });
  expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split computed': 1 });
});

test('vllm: when a body has its own max_tokens, or odd spacing, values change where they stand and nothing else does', async () => {
  const gateway = await vllm();
  const client = await gateway.client();
  const body = ` {"max_tokens" : 5 , "m\\u0065ssages":[{"role":"user","content":"${longPrompt}"}],"tools":[{"b":1.0,"a":1e2}],"model":"m"}\n`;
  client.send(chatRequest(body));
  const prefill = await gateway.upstreams[0]!.accept();
  expect((await prefill.request()).text).toBe(
    upstreamBody(body).replace('"max_tokens" : 5 ,', '"max_tokens" :1,').replace('}\n', `,${prefillParams}}\n`),
  );
  prefill.send(prefillAnswer());
  const decode = await gateway.upstreams[1]!.accept();
  expect((await decode.request()).text).toBe(upstreamBody(body).replace('}\n', `,"kv_transfer_params":${params}}\n`));
  decode.send(answerText(chatAnswer));
  expect((await client.response()).text).toBe(chatAnswer);
});

test('vllm: when the prompt was not kept, because its first token was the last, the answer is asked for as it came', async () => {
  const gateway = await vllm();
  gateway.upstreams[0]!.answerAll(prefillAnswer('null'));
  gateway.upstreams[1]!.answerAll(({ text }) => answerText(text));
  const client = await gateway.client();
  expect((await client.ask(chatRequest(chatBody()))).text).toBe(upstreamBody(chatBody()));
  expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split not_kept': 1 });
});

const whole: readonly [what: string, path: string, body: string][] = [
  ['a short prompt', '/v1/chat/completions', '{"model":"m","messages":[]}'],
  ['several answers', '/v1/chat/completions', chatBody({ n: 2 })],
  // One token is no tool call, and engines answer 500 where there has to be one.
  ['a call of some tool', '/v1/chat/completions', chatBody({ tool_choice: 'required' })],
  [
    'a call of one tool',
    '/v1/chat/completions',
    chatBody({ tool_choice: { type: 'function', function: { name: 'f' } } }),
  ],
  ['several prompts', '/v1/completions', JSON.stringify({ model: 'm', prompt: [longPrompt, longPrompt] })],
  ['lists of tokens', '/v1/completions', JSON.stringify({ model: 'm', prompt: [Array(900).fill(7), [1]] })],
  ['the prompt again', '/v1/completions', JSON.stringify({ model: 'm', prompt: longPrompt, echo: true })],
  ['embeddings', '/v1/embeddings', JSON.stringify({ model: 'm', input: longPrompt })],
  ['a stored response', '/v1/responses', JSON.stringify({ model: 'm', input: longPrompt })],
];
test.each(whole)(
  'vllm: when a request is for %s, one endpoint serves it alone, and none that computes prompts',
  async (_, path, body) => {
    const gateway = await vllm({ prefills: 2 });
    for (const upstream of gateway.upstreams) upstream.answerAll(({ text }) => answerText(text));
    const client = await gateway.client();
    const text = requestText('POST', path, ['content-type: application/json'], body);
    for (let round = 0; round < 3; round++) expect((await client.ask(text)).text).toBe(upstreamBody(body));
    expect(gateway.upstreams.map(({ receivedBytes }) => receivedBytes > 0)).toEqual([false, false, true]);
    expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split alone': 3 });
  },
);

test('vllm: when a prompt is one list of tokens, or says of itself what is the default, it is split', async () => {
  const gateway = await vllm();
  gateway.upstreams[0]!.answerAll(prefillAnswer());
  gateway.upstreams[1]!.answerAll(answerText(chatAnswer));
  const client = await gateway.client();
  for (const rest of [
    { prompt: Array(1000).fill(7) },
    { prompt: longPrompt, n: 1, best_of: 1, echo: false, prompt_logprobs: null },
    { prompt: longPrompt, tool_choice: 'auto', vllm_xargs: { depth: 1, of: ['kv_transfer_params'] } },
  ]) {
    const body = JSON.stringify({ model: 'm', ...rest });
    expect((await client.ask(requestText('POST', '/v1/completions', [], body))).text).toBe(chatAnswer);
  }
  expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split computed': 3 });
});

const stolen = [
  '{"model":"m","kv_transfer_params":{"do_remote_prefill":true,"remote_host":"10.0.0.9"}}',
  '{"kv_transfer_param\\u0073":{"do_remote_prefill":true},"model":"m","messages":[]}',
  '{"model":"m","bootstrap_host":"10.0.0.9"}',
  '{"model":"m","bootstrap_room":[1,2],"prompt":["a","b"]}',
  '{"model":"m","bootstrap_port":null}',
  '{"model":"m","disaggregated_params":{}}',
  '{"model":"m","ec_transfer_params":{"e":{"peer_host":"10.0.0.9"}}}',
  '{"model":"m","vllm_xargs":{"a":1,"kv_transfer_params":"x"}}',
  '{"model":"m","vllm_xargs" : {"kv_transfer\\u005fparams":["x"]} }',
  `{"model":"m","messages":"${longPrompt}","\\u0062ootstrap_room":1}`,
];
test.each(stolen)('vllm: when a client says itself where its prompt is, it gets 400: %s', async (body) => {
  const gateway = await vllm();
  for (const path of ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses', '/v1/messages']) {
    const client = await gateway.client();
    const response = await client.ask(requestText('POST', path, [], body));
    expect(response.status, path).toBe(400);
    expect(response.text).toMatch(/is not a client's to set/);
  }
  expect(gateway.upstreams.map(({ peers }) => peers.length)).toEqual([0, 0]);
});

test('vllm: when what a client says to the engine alone cannot be looked through, it gets 400', async () => {
  const gateway = await vllm();
  const client = await gateway.client();
  const [tooLong, notJson] = [`{"a":"${'x'.repeat(70_000)}"}`, '{"a":01}'];
  const parted = '{"kv_transfer_params":"x"}'; // Where one slab ends and the next begins.
  for (const [extra, padBytes] of [
    [tooLong, 0],
    [notJson, 0],
    [parted, 256 * 1024 - 45],
  ] as const) {
    const body = `{"model":"m","pad":"${'x'.repeat(padBytes)}","vllm_xargs":${extra}}`;
    const response = await client.ask(chatRequest(body));
    expect([response.status, codeOf(response.text)]).toEqual([400, 'body_invalid']);
    expect(response.text).toContain('vllm_xargs');
  }
  gateway.upstreams[1]!.answerAll(answerText(chatAnswer));
  for (const extra of ['null', '{}', '7']) {
    expect((await client.ask(chatRequest(`{"model":"m","vllm_xargs":${extra}}`))).text).toBe(chatAnswer);
  }
});

// An engine could read what the gateway cannot: a path that is no API to us, a coding, another charset.
test('vllm: when a body for a pool with roles cannot be looked through, it is refused, on any path', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: `
pools:
  - { name: split, engine: none, picker: round_robin, disaggregation: { protocol: vllm }, endpoints: [{ url: "$UPSTREAM0", role: prefill }, { url: "$UPSTREAM1", role: decode }] }
`,
  });
  gateway.upstreams[1]!.answerAll(({ text }) => answerText(text));
  const ask = async (path: string, fields: string[], body: string): Promise<[number, string]> => {
    const { status, text } = await (await gateway.client()).ask(requestText('POST', path, fields, body));
    return [status, text];
  };
  const wide = Buffer.from('{"kv_transfer_params":{}}', 'utf16le').toString('latin1');
  for (const path of ['/v1/chat/completions', '/generate', '/inference/v1/generate']) {
    expect((await ask(path, [], '{"kv_transfer_params":{}}'))[0], path).toBe(400);
    expect((await ask(path, [], wide))[0], path).toBe(400);
    expect((await ask(path, [], '[{"kv_transfer_params":{}}]'))[0], path).toBe(400);
    const nested = '{"sampling_params":[{"extra_args":{"a":[{"kv_transfer_params":{"remote_host":"10.0.0.9"}}]}}]}';
    expect((await ask(path, [], nested))[0], path).toBe(400);
    expect((await ask(path, ['content-encoding: gzip'], 'x'))[0], path).toBe(501);
  }
  expect((await ask('/generate', ['content-type: multipart/form-data; boundary=b'], '{"bootstrap_room":1}'))[0]).toBe(
    400,
  );
  // Called a form, and none.
  expect((await ask('/v1/chat/completions', ['content-type: multipart/form-data; boundary=b'], stolen[0]!))[0]).toBe(
    400,
  );
  expect(gateway.upstreams.map(({ receivedBytes }) => receivedBytes)).toEqual([0, 0]);
  for (const body of ['{"prompt":"x"}', '{"token_ids":[1],"sampling_params":{"stop":["kv_transfer_params"]}}']) {
    expect(await ask('/tokenize', [], body)).toEqual([200, body]);
  }
  const client = await gateway.client();
  expect((await client.ask(requestText('GET', '/v1/models'))).status).toBe(200);
  expect(gateway.upstreams[0]!.receivedBytes, 'nothing of all that concerns who computes prompts').toBe(0);
});

test('vllm: when the pool with roles is not where a body goes, what cannot be looked through goes there as it is', async () => {
  const gateway = await rig({
    upstreamCount: 3,
    yaml: `
models: [{ name: m, targets: [{ pool: split }] }, { name: plain, targets: [{ pool: other }] }]
default_pool: other
pools:
  - { name: split, engine: none, picker: round_robin, disaggregation: { protocol: vllm }, endpoints: [{ url: "$UPSTREAM0", role: prefill }, { url: "$UPSTREAM1", role: decode }] }
  - { name: other, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM2" }] }
`,
  });
  gateway.upstreams[2]!.answerAll(({ text }) => answerText(text));
  const ask = async (path: string, fields: string[], body: string): Promise<string> =>
    (await (await gateway.client()).ask(requestText('POST', path, fields, body))).text;
  for (const body of [stolen[0]!.replace('"m"', '"plain"'), stolen[0]!.replace('"m"', '"unknown"')]) {
    expect(await ask('/v1/chat/completions', [], body)).toBe(body);
  }
  expect(await ask('/v1/chat/completions', ['content-encoding: gzip'], 'zipped')).toBe('zipped');
  expect(await ask('/generate', [], stolen[0]!)).toBe(stolen[0]!);
  expect(await ask('/v1/chat/completions', [], stolen[0]!)).toMatch(/is not a client's to set/);
});

test('vllm: when a pool has no roles, a client may say what it likes', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ text }) => answerText(text));
  const client = await gateway.client();
  expect((await client.ask(chatRequest(stolen[0]!))).text).toBe(stolen[0]!);
});

// What goes wrong.

async function decodeServes(gateway: Rig): Promise<string> {
  const decode = await gateway.upstreams.at(-1)!.accept();
  const { text } = await decode.request();
  decode.send(answerText(chatAnswer));
  return text;
}

function sendLast(peer: UpstreamPeer, bytes: string): void {
  peer.send(bytes);
  peer.finish();
}

const broken: readonly [what: string, how: (peer: UpstreamPeer) => void, faults: number][] = [
  ['answers 503', (peer) => peer.send(answerText('busy', [], '503 Busy')), 0],
  ['resets', (peer) => peer.reset(), 1],
  ['resets within its head', (peer) => sendLast(peer, 'HTTP/1.1 200 O'), 1],
  ['resets within its answer', (peer) => sendLast(peer, 'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"id"'), 1],
  ['answers no JSON', (peer) => peer.send(answerText('<html>')), 1],
  ['answers JSON that is cut', (peer) => peer.send(answerText('{"kv_transfer_params":{"a":1}')), 1],
  ['answers params that are none', (peer) => peer.send(prefillAnswer('[1]')), 1],
  [
    'answers params twice',
    (peer) => peer.send(answerText('{"kv_transfer_params":{},"kv_transfer_params":{"a":1}}')),
    1,
  ],
  ['answers without an end', (peer) => peer.send(answerText(`{"id":"${'x'.repeat(1_100_000)}"}`)), 1],
  ['answers no HTTP', (peer) => peer.send('nonsense\r\n\r\n'), 1],
];
test.each(broken)('vllm: when the endpoint of the prompt %s, another one computes it', async (_, how, faults) => {
  const gateway = await vllm({ prefills: 2, extra: ', retries: { attempts: 2 }' });
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  await until(() => gateway.upstreams.slice(0, 2).some(({ peers }) => peers.length > 0), 'a prompt is sent');
  const at = gateway.upstreams[0]!.peers.length > 0 ? 0 : 1;
  const bad = await gateway.upstreams[at]!.accept();
  const { text } = await bad.request();
  how(bad);
  const good = await gateway.upstreams[1 - at]!.accept();
  expect((await good.request()).text).toBe(text);
  good.send(prefillAnswer());
  expect(await decodeServes(gateway)).toBe(withLast(upstreamBody(chatBody()), `"kv_transfer_params":${params}`));
  expect((await client.response()).text).toBe(chatAnswer);
  await gateway.closeReason();
  expect(gateway.accessLog()[0]).toMatchObject({ retries: 1, prefill_endpoint: gateway.upstreams[1 - at]!.url });
  const blamed = Object.entries(gateway.counts('penstock_endpoint_faults_total'));
  expect(blamed.map(([labels, count]) => [labels.includes(gateway.upstreams[at]!.url), count])).toEqual(
    faults === 0 ? [] : [[true, faults]],
  );
});

test('vllm: when no endpoint computes the prompt, the one for the answer does it all', async () => {
  const gateway = await vllm({ extra: ', retries: { attempts: 2 }' });
  await gateway.upstreams[0]!.stopListening();
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  expect(await decodeServes(gateway)).toBe(upstreamBody(chatBody()));
  expect((await client.response()).text).toBe(chatAnswer);
  expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split failed': 1, 'split alone': 1 });
});

test('vllm: when the prompt fails and no retry is left, the endpoint of the answer does it all, with the place it has', async () => {
  const gateway = await vllm({ extra: ', retries: { attempts: 0 }' });
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  const pending = (): number[] => gateway.slots.map((slot) => gateway.fleet.pendingTokens(slot));
  const [tokens] = pending();
  expect(tokens).toBeGreaterThan(300);
  prefill.reset();
  const decode = await gateway.upstreams[1]!.accept();
  expect((await decode.request()).text).toBe(upstreamBody(chatBody()));
  expect(pending(), 'the prompt waits there now').toEqual([0, tokens]);
  decode.send(answerText(chatAnswer));
  expect((await client.response()).text).toBe(chatAnswer);
  await gateway.upstreams[0]!.stopListening();
  client.send(chatRequest(chatBody()));
  await gateway.upstreams[1]!.peers[0]!.request();
  gateway.upstreams[1]!.peers[0]!.send(answerText(chatAnswer));
  expect((await client.response()).text).toBe(chatAnswer);
  expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split failed': 2, 'split alone': 2 });
  await gateway.closeReason(2);
  expect(gateway.accessLog()[0]).not.toHaveProperty('prefill_endpoint');
});

test('vllm: when the prompt fails and as much waits already as can be counted, the request ends like any other', async () => {
  const gateway = await vllm({ extra: ', retries: { attempts: 0 }' });
  const { fleet } = gateway.shard.state.parts;
  const counted = fleet.addPending(gateway.slots[1]!, 2 ** 40);
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  prefill.reset();
  expect(await decodeServes(gateway)).toBe(upstreamBody(chatBody()));
  expect((await client.response()).text).toBe(chatAnswer);
  await gateway.closeReason();
  fleet.addPending(gateway.slots[1]!, -counted);
  await gateway.assertIdle();
});

test('vllm: when the only endpoint for prompts fails again and again, it is ejected, and requests no longer wait for it', async () => {
  const gateway = await vllm({ extra: ', ejection: { consecutive_failures: 3, base_ms: 60s }' });
  gateway.upstreams[0]!.onPeer = async (peer) => {
    await peer.request();
    peer.reset();
  };
  gateway.upstreams[1]!.answerAll(answerText(chatAnswer));
  const client = await gateway.client();
  for (let round = 0; round < 6; round++) expect((await client.ask(chatRequest(chatBody()))).text).toBe(chatAnswer);
  expect(gateway.upstreams[0]!.peers.length).toBe(3);
});

test('vllm: when the request is wrong, the client gets what the endpoint of the prompt says of it', async () => {
  const gateway = await vllm({ prefills: 2 });
  const text = '{"error":{"message":"too long","code":400}}';
  for (const upstream of gateway.upstreams) {
    upstream.answerAll(answerText(text, ['content-type: application/json'], '400 Bad Request'));
  }
  const client = await gateway.client();
  const response = await client.ask(chatRequest(chatBody()));
  expect([response.status, response.text, fieldOf(response.head, 'content-type')]).toEqual([
    400,
    text,
    'application/json',
  ]);
  expect(gateway.upstreams.filter(({ peers }) => peers.length > 0).length, 'asked once').toBe(1);
  expect(gateway.counts('penstock_endpoint_faults_total')).toEqual({});
  await gateway.closeReason();
  expect(gateway.accessLog()[0]).toMatchObject({ status: 400, reason: 'done' });
});

test('vllm: when retries are spent on prompts, the last refusal reaches the client', async () => {
  const gateway = await vllm({ prefills: 3, extra: ', retries: { attempts: 1 }' });
  for (const upstream of gateway.upstreams) upstream.answerAll(answerText('busy', [], '503 Busy'));
  const client = await gateway.client();
  const response = await client.ask(chatRequest(chatBody()));
  expect([response.status, response.text, fieldOf(response.head, 'x-should-retry')]).toEqual([503, 'busy', 'false']);
});

test('vllm: when the prompt takes too long, the client gets 504 and only its endpoint is blamed', async () => {
  const gateway = await vllm({ prefills: 2, top: 'timeouts: { first_byte_ms: 300ms }' });
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const response = await client.response();
  expect([response.status, codeOf(response.text)]).toEqual([504, 'first_byte_timeout']);
  expect(Object.keys(gateway.counts('penstock_endpoint_faults_total'))).toEqual([expect.stringMatching(/ late$/)]);
  expect(Object.keys(gateway.counts('penstock_endpoint_faults_total'))[0]).not.toContain(gateway.upstreams[2]!.url);
});

test('vllm: when the answer does not begin in what is left of the time, its endpoint is blamed', async () => {
  const gateway = await vllm({ top: 'timeouts: { first_byte_ms: 10s }' });
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  await gateway.pass(5000);
  prefill.send(prefillAnswer());
  await (await gateway.upstreams[1]!.accept()).request();
  await gateway.pass(5250);
  expect(gateway.phases(), 'it had not all of it anew').toEqual([]);
  const response = await client.response();
  expect([response.status, codeOf(response.text)]).toEqual([504, 'first_byte_timeout']);
  const [labels] = Object.keys(gateway.counts('penstock_endpoint_faults_total'));
  expect(labels).toContain(gateway.upstreams[1]!.url);
});

test('vllm: when the gateway stands still while the prompt is computed, that is not taken off the time of the answer', async () => {
  const gateway = await vllm({ top: 'timeouts: { first_byte_ms: 10s }' });
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  await gateway.standStill(15_000);
  prefill.send(prefillAnswer());
  const decode = await gateway.upstreams[1]!.accept();
  await decode.request();
  await gateway.pass(250);
  decode.send(answerText(chatAnswer));
  expect((await client.response()).text).toBe(chatAnswer);
});

test.each([
  ['refuses', (peer: UpstreamPeer) => peer.send(answerText('busy', [], '503 Busy'))],
  ['resets', (peer: UpstreamPeer) => peer.reset()],
  ['resets behind its head', (peer: UpstreamPeer) => sendLast(peer, 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n')],
])('vllm: when the endpoint of the answer %s, both steps are done again elsewhere', async (_, how) => {
  const gateway = await vllm({ prefills: 2, decodes: 2, extra: ', retries: { attempts: 2 }' });
  let prefillCount = 0;
  for (const upstream of gateway.upstreams.slice(0, 2)) {
    upstream.answerAll(() => prefillAnswer(`{"count":${++prefillCount}}`));
  }
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  await until(() => gateway.upstreams.slice(2).some(({ peers }) => peers.length > 0), 'an answer is asked for');
  const at = gateway.upstreams[2]!.peers.length > 0 ? 2 : 3;
  const bad = await gateway.upstreams[at]!.accept();
  expect((await bad.request()).text).toContain('"kv_transfer_params":{"count":1}');
  how(bad);
  const good = await gateway.upstreams[5 - at]!.accept();
  expect((await good.request()).text).toBe(withLast(upstreamBody(chatBody()), '"kv_transfer_params":{"count":2}'));
  good.send(answerText(chatAnswer));
  expect((await client.response()).text).toBe(chatAnswer);
  expect(prefillCount).toBe(2);
});

test('vllm: when the only endpoint for answers refuses, the client gets its refusal, and nobody is asked twice', async () => {
  const gateway = await vllm({ prefills: 2 });
  for (const upstream of gateway.upstreams.slice(0, 2)) upstream.answerAll(prefillAnswer());
  gateway.upstreams[2]!.answerAll(answerText('busy', ['x-who: decode'], '503 Busy'));
  const client = await gateway.client();
  const response = await client.ask(chatRequest(chatBody()));
  expect([response.status, response.text, fieldOf(response.head, 'x-who')]).toEqual([503, 'busy', 'decode']);
  expect(gateway.counts('penstock_retries_total')).toEqual({});
});

test('vllm: when the endpoint of the answer breaks off after the commit point, the client sees it, and nothing is repeated', async () => {
  const gateway = await vllm({ prefills: 2, decodes: 2 });
  for (const upstream of gateway.upstreams.slice(0, 2)) upstream.answerAll(prefillAnswer());
  for (const upstream of gateway.upstreams.slice(2)) {
    upstream.onPeer = async (peer) => {
      await peer.request();
      peer.send('HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"half"');
      await turns(5);
      peer.reset();
    };
  }
  const client = await gateway.client();
  const response = await client.ask(chatRequest(chatBody()));
  expect([response.status, response.isComplete]).toEqual([200, false]);
  expect(gateway.upstreams.slice(2).filter(({ peers }) => peers.length > 0).length).toBe(1);
  expect(await gateway.closeReason()).toBe('stream_truncated');
});

test('vllm: when a kept-alive connection for the answer was closed meanwhile, a fresh one is taken, and the prompt is not computed twice', async () => {
  const gateway = await vllm();
  const client = await gateway.client();
  for (let round = 0; round < 3; round++) {
    client.send(chatRequest(chatBody({ round })));
    const prefill = round === 0 ? await gateway.upstreams[0]!.accept() : gateway.upstreams[0]!.peers[0]!;
    await prefill.request();
    prefill.send(prefillAnswer());
    const decode = await gateway.upstreams[1]!.accept();
    await decode.request();
    decode.send(answerText(chatAnswer));
    expect((await client.response()).text).toBe(chatAnswer);
    decode.finish();
    if (round === 1) continue; // Seen as it is used again, or before.
    await until(() => gateway.fleet.connections(gateway.slots[1]!) === 0, 'the end was seen');
  }
  expect(gateway.upstreams[0]!.peers.length).toBe(1);
});

test('vllm: when a body is 3 MB, both endpoints get all of it, and its memory is free when the answer begins', async () => {
  const gateway = await vllm();
  const client = await gateway.client();
  const body = chatBody({ pad: 'x'.repeat(3_000_000), max_tokens: 9 });
  client.send(chatRequest(body));
  const prefill = await gateway.upstreams[0]!.accept();
  expect(
    (await prefill.request()).text ===
      withLast(upstreamBody(body).replace('"max_tokens":9', '"max_tokens":1'), prefillParams),
  ).toBe(true);
  const blocks = `{"remote_block_ids":[[${Array.from({ length: 90_000 }, (_, index) => index).join(',')}]]}`;
  prefill.send(prefillAnswer(blocks));
  const decode = await gateway.upstreams[1]!.accept();
  expect((await decode.request()).text === withLast(upstreamBody(body), `"kv_transfer_params":${blocks}`)).toBe(true);
  decode.send('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{"a"');
  await client.readUntil('{"a"');
  await until(() => gateway.shard.state.parts.slabs.inUse === 0, 'slabs are free');
  decode.send('');
  client.destroy();
});

// What is left fits one write, and lies at both ends of memory that does not.
test('vllm: when most of a body is what the first step leaves out, the rest of it is sent whole', async () => {
  const gateway = await vllm();
  const client = await gateway.client();
  const body = chatBody({ stream: true, stream_options: { pad: 'x'.repeat(400_000) } });
  client.send(chatRequest(body));
  const prefill = await gateway.upstreams[0]!.accept();
  const { text } = await prefill.request();
  const rest = upstreamBody(body)
    .replace('"stream":true', '"stream":false')
    .replace(/\{"pad":"x*"\}/, 'null');
  expect(text).toBe(withLast(rest, `"max_tokens":1,${prefillParams}`));
  prefill.send(prefillAnswer());
  expect((await decodeServes(gateway)).length).toBeGreaterThan(400_000);
  expect((await client.response()).text).toBe(chatAnswer);
});

// The client leaves.

test.each(['connecting', 'uploading', 'computing', 'answering', 'before the answer', 'streaming'] as const)(
  'vllm: when the client leaves while its request is %s, everything is free at once and no endpoint works on',
  async (when) => {
    const gateway = await vllm();
    const client = await gateway.client();
    const body = chatBody({ pad: when === 'uploading' ? 'x'.repeat(20_000_000) : '' });
    client.send(chatRequest(body));
    const prefill = await gateway.upstreams[0]!.accept();
    let decode: UpstreamPeer | null = null;
    if (when === 'uploading') {
      prefill.pause();
      await until(() => gateway.phases().includes('waiting'), 'the prompt is on its way');
    } else if (when !== 'connecting') {
      await prefill.request();
      if (when === 'answering') prefill.send('HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"id"');
      if (when === 'before the answer' || when === 'streaming') {
        prefill.send(prefillAnswer());
        decode = await gateway.upstreams[1]!.accept();
        await decode.request();
        if (when === 'streaming') {
          decode.send('HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"half"');
          await client.readUntil('{"half"');
        }
      }
    }
    client.destroy();
    await until(() => gateway.shard.state.open.length === 0, 'the exchange is over');
    expect(gateway.held()).toEqual({});
    prefill.resume();
    if (decode === null) await prefill.ended();
    else await decode.ended();
    expect(await gateway.closeReason()).toBe('client_gone');
    // What the endpoint says afterwards finds nobody.
    prefill.send(prefillAnswer());
    await turns(5);
    expect(gateway.upstreams[1]!.peers.length).toBe(decode === null ? 0 : 1);
  },
);

// Places.

test('vllm: when all places for prompts are taken, requests wait, and have no place for their answer meanwhile', async () => {
  const gateway = await vllm({ decodes: 2, extra: ', inflight_max: 1' });
  const clients = [await gateway.client(), await gateway.client()];
  clients[0]!.send(chatRequest(chatBody({ seed: 0 })));
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  clients[1]!.send(chatRequest(chatBody({ seed: 1 })));
  await gateway.inPhase('queued');
  expect(gateway.inflight().reduce((sum, count) => sum + count)).toBe(2);
  prefill.send(prefillAnswer());
  expect((await prefill.request()).text).toContain('"seed":1');
  prefill.send(prefillAnswer());
  for (const upstream of gateway.upstreams.slice(1)) {
    const decode = await upstream.accept();
    const { text } = await decode.request();
    decode.send(answerText(text));
  }
  for (const [index, client] of clients.entries()) expect((await client.response()).text).toContain(`"seed":${index}`);
});

test('vllm: when requests wait for a place for their prompts, one that needs none does not wait behind them', async () => {
  const gateway = await vllm({ decodes: 3, extra: ', inflight_max: 1' });
  const clients = await Promise.all([0, 1, 2].map(() => gateway.client()));
  clients[0]!.send(chatRequest(chatBody({ seed: 0 })));
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  clients[1]!.send(chatRequest(chatBody({ seed: 1 })));
  await gateway.inPhase('queued');
  for (const upstream of gateway.upstreams.slice(1)) upstream.answerAll(answerText(chatAnswer));
  expect((await clients[2]!.ask(chatRequest('{"model":"m","messages":[]}'))).text).toBe(chatAnswer);
  prefill.send(prefillAnswer());
  expect((await prefill.request()).text).toContain('"seed":1');
  prefill.send(prefillAnswer());
  for (const client of clients.slice(0, 2)) expect((await client.response()).text).toBe(chatAnswer);
});

test('vllm: when requests wait for a place for their prompts in one shard, one that needs none goes before them in another', async () => {
  const gateway = await vllm({ decodes: 3, extra: ', inflight_max: 1', shardCount: 2 });
  const clients = await Promise.all([0, 0, 1].map((shardIndex) => gateway.client(shardIndex)));
  clients[0]!.send(chatRequest(chatBody({ seed: 0 })));
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  clients[1]!.send(chatRequest(chatBody({ seed: 1 })));
  await gateway.inPhase('queued');
  for (const upstream of gateway.upstreams.slice(1)) upstream.answerAll(answerText(chatAnswer));
  expect((await clients[2]!.ask(chatRequest('{"model":"m","messages":[]}'))).text).toBe(chatAnswer);
  expect(gateway.counts('penstock_leases_taken_total')['queue_place'], 'only the other one has waited').toBe(1);
  for (const seed of [1, 0]) {
    prefill.send(prefillAnswer());
    if (seed === 1) expect((await prefill.request()).text).toContain('"seed":1');
  }
  for (const client of clients.slice(0, 2)) expect((await client.response()).text).toBe(chatAnswer);
});

test('vllm: when the endpoint of the answer has no connection to spare, requests wait for one, and then have their prompts computed', async () => {
  const gateway = await vllm({ extra: ', connections_max: 1', top: 'timeouts: { connect_ms: 300ms }' });
  let promptCount = 0;
  gateway.upstreams[0]!.answerAll(() => {
    promptCount++;
    return prefillAnswer();
  });
  const clients = [await gateway.client(), await gateway.client()];
  clients[0]!.send(chatRequest(chatBody({ seed: 0 })));
  const decode = await gateway.upstreams[1]!.accept();
  const first = await decode.request();
  clients[1]!.send(chatRequest(chatBody({ seed: 1 })));
  await until(() => gateway.phases().length === 2, 'the second has come');
  await gateway.pass(1000);
  expect([promptCount, ...gateway.phases().sort()]).toEqual([1, 'queued', 'waiting']);
  decode.send(answerText(first.text));
  decode.send(answerText((await decode.request()).text));
  for (const [index, client] of clients.entries()) expect((await client.response()).text).toContain(`"seed":${index}`);
  expect(promptCount).toBe(2);
  expect(gateway.upstreams[1]!.peers.length).toBe(1);
});

test('vllm: when a prompt is being computed, the connection that its answer will need is not given to another request', async () => {
  const gateway = await vllm({ extra: ', connections_max: 1' });
  const clients = [await gateway.client(), await gateway.client()];
  clients[0]!.send(chatRequest(chatBody()));
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  clients[1]!.send(chatRequest('{"model":"m","messages":[]}'));
  await gateway.inPhase('queued');
  prefill.send(prefillAnswer());
  const decode = await gateway.upstreams[1]!.accept();
  for (const client of clients) {
    expect((await decode.request()).text.includes(longPrompt)).toBe(client === clients[0]);
    decode.send(answerText(chatAnswer));
    expect((await client.response()).text).toBe(chatAnswer);
  }
});

test('vllm: when a request that needs no prefill step waits for a connection, it counts once', async () => {
  const roles = ['prefill', 'decode, weight: 100', 'decode'];
  const gateway = await vllm({ roles, extra: ', connections_max: 1' });
  const text = '{"model":"m","messages":[]}';
  const clients = [await gateway.client(), await gateway.client()];
  clients[0]!.send(chatRequest(text));
  const peer = await gateway.upstreams[1]!.accept();
  await peer.request();
  clients[1]!.send(chatRequest(text));
  await gateway.inPhase('queued');
  await gateway.pass(1000);
  peer.send(answerText(chatAnswer));
  await peer.request();
  peer.send(answerText(chatAnswer));
  for (const client of clients) expect((await client.response()).text).toBe(chatAnswer);
  expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split alone': 2 });
});

test('vllm: when a request goes on to a pool without roles, nothing of it was computed elsewhere', async () => {
  const gateway = await rig({
    upstreamCount: 3,
    yaml: `
models: [{ name: m, targets: [{ pool: split }, { pool: other }] }]
pools:
  - { name: split, engine: none, picker: round_robin, debug_headers: true, retries: { attempts: 0 }, disaggregation: { protocol: vllm }, endpoints: [{ url: "$UPSTREAM0", role: prefill }, { url: "$UPSTREAM1", role: decode }] }
  - { name: other, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM2" }] }
`,
  });
  gateway.upstreams[0]!.answerAll(answerText('busy', [], '503 Busy'));
  gateway.upstreams[2]!.answerAll(answerText(chatAnswer));
  const client = await gateway.client();
  const response = await client.ask(chatRequest(chatBody()));
  expect([response.text, fieldOf(response.head, 'x-penstock-prefill-pick')]).toEqual([chatAnswer, undefined]);
  await gateway.closeReason();
  expect(gateway.accessLog()[0]).toMatchObject({ retries: 1, endpoint: gateway.upstreams[2]!.url });
  expect(gateway.accessLog()[0]).not.toHaveProperty('prefill_endpoint');
});

// Where the prompt is computed is the pool's picker's to say.

const manyPrefills = 4;

function turnOf(number: number, count: number): string {
  const messages = Array.from({ length: count }, (_, at) => ({
    role: 'user',
    content: `${number}.${at} what does the gauge say? `.repeat(120),
  }));
  return JSON.stringify({ messages, model: 'm' });
}

function kvAware(picker = 'kv_aware'): Promise<Rig> {
  return vllm({ prefills: manyPrefills, decodes: 2, picker, extra: ', debug_headers: true' });
}

test('vllm: when conversations go on, their prompts are computed where their beginnings are cached', async () => {
  const gateway = await kvAware('sticky'); // Unlike kv_aware it does not go by how fast this machine happens to be.
  const conversations = Array.from({ length: 8 }, (_, number) => number);
  let receivedCount = 0;
  for (const upstream of gateway.upstreams.slice(0, manyPrefills)) {
    upstream.onPeer = async (peer) => {
      for (;;) {
        await peer.request();
        receivedCount++;
        await until(() => receivedCount >= conversations.length, 'all have come, so they went to different places');
        peer.send(answerText(`{"kv_transfer_params":${params}}`));
      }
    };
  }
  for (const upstream of gateway.upstreams.slice(manyPrefills)) upstream.answerAll(answerText(chatAnswer));
  const clients = await Promise.all(conversations.map(() => gateway.client()));
  const homes = await Promise.all(
    clients.map(async (client, number) => {
      const { head } = await client.ask(chatRequest(turnOf(number, 5)));
      return /^"([^"]*)";picker=sticky/.exec(fieldOf(head, 'x-penstock-prefill-pick') ?? '')?.[1];
    }),
  );
  expect(new Set(homes).size, 'not all in one place').toBeGreaterThan(1);
  for (let count = 6; count <= 8; count++) {
    for (const [number, home] of homes.entries()) {
      const { head } = await clients[number]!.ask(chatRequest(turnOf(number, count)));
      expect(fieldOf(head, 'x-penstock-prefill-pick')).toContain(`"${home}";picker=sticky;reason=cached`);
      expect(fieldOf(head, 'x-penstock-pick')).toMatch(/;picker=decode;reason=least/);
    }
  }
  await gateway.closeReason(32);
  const logged = gateway.accessLog().slice(8) as unknown as { prefill_endpoint: string; matched_tokens: number }[];
  expect(logged.map((line) => line.prefill_endpoint)).toEqual([...homes, ...homes, ...homes]);
  for (const line of logged) expect(line.matched_tokens).toBeGreaterThan(500);
  expect(gateway.counts('penstock_prefix_hits_total')).toEqual({ split: 24 });
});

test('vllm: when a turn adds little, the endpoint that answered the last one has the rest, and serves it alone', async () => {
  const gateway = await kvAware();
  for (const upstream of gateway.upstreams.slice(0, manyPrefills))
    upstream.answerAll(answerText(`{"kv_transfer_params":${params}}`));
  for (const [index, upstream] of gateway.upstreams.entries())
    if (index >= manyPrefills) upstream.answerAll(answerText(`{"by":${index}}`));
  const client = await gateway.client();
  const first = await client.ask(chatRequest(turnOf(1, 2)));
  const { messages } = JSON.parse(turnOf(1, 2)) as { messages: object[] };
  const more = JSON.stringify({ messages: [...messages, { role: 'user', content: 'And now?' }], model: 'm' });
  for (let round = 0; round < 3; round++) {
    const next = await client.ask(chatRequest(more));
    expect(next.text).toBe(first.text);
    expect(fieldOf(next.head, 'x-penstock-pick')).toMatch(/;picker=decode;reason=alone/);
    expect(fieldOf(next.head, 'x-penstock-prefill-pick')).toBeUndefined();
  }
  expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split computed': 1, 'split alone': 3 });
});

test('vllm: when a prompt is being computed, it counts as waiting where that is done, and nowhere else', async () => {
  const gateway = await kvAware();
  const client = await gateway.client();
  client.send(chatRequest(turnOf(1, 5)));
  await until(() => gateway.upstreams.some(({ receivedBytes }) => receivedBytes > 0), 'the prompt is sent');
  const at = gateway.upstreams.findIndex(({ receivedBytes }) => receivedBytes > 0);
  const pending = (): number[] => gateway.slots.map((slot) => gateway.fleet.pendingTokens(slot));
  expect(pending().findIndex((tokens) => tokens > 3000)).toBe(at);
  expect(pending().filter((tokens) => tokens > 0).length).toBe(1);
  const prefill = await gateway.upstreams[at]!.accept();
  await prefill.request();
  prefill.send(prefillAnswer());
  await until(() => pending().every((tokens) => tokens === 0), 'it is computed');
  client.destroy();
});
