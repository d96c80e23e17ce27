import { expect, test } from 'vitest';
import { answerText, chatRequest, fieldOf, fieldsOf, requestText, rig, type Rig, until } from '../rig/index.ts';

// `debug_headers`: a response says which endpoint it came from and what the candidates were compared by. docs/routing.md.

const fieldName = 'x-penstock-pick';

const yamlOf = (picker: string, debugHeaders = true): string => `
pools:
  - name: fleet
    engine: none
    picker: ${picker}
    debug_headers: ${debugHeaders}
    ejection: { consecutive_failures: 100 }
    endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }, { url: "$UPSTREAM2" }]
`;

/** Every upstream answers with its number. */
async function fleet(yaml: string): Promise<Rig> {
  const gateway = await rig({ upstreamCount: 3, yaml });
  for (const [index, upstream] of gateway.upstreams.entries()) upstream.answerAll(answerText(`${index}`));
  return gateway;
}

const conversation = (number: number, turnCount: number): string => {
  const messages: object[] = [{ role: 'system', content: 'You are the assistant of a water works. '.repeat(60) }];
  for (let turn = 0; turn < turnCount; turn++) {
    messages.push({ role: 'user', content: `${number}.${turn} what does the gauge say? `.repeat(80) });
    messages.push({ role: 'assistant', content: `${number}.${turn} it says seven. `.repeat(80) });
  }
  return chatRequest(JSON.stringify({ model: 'm', messages }));
};

interface Member {
  readonly url: string;
  readonly [key: string]: string;
}

/** As RFC 9651 section 4.2 reads a list of strings with parameters; anything else throws. */
function membersOf(value: string | undefined): Member[] {
  return (value ?? '').split(', ').map((member) => {
    const [, url, rest] = /^"([^"\\]+)"((?:;[a-z]+=[a-z0-9_.-]+)+)$/.exec(member) ?? [];
    if (url === undefined) throw new Error(`no member: ${member}`);
    return Object.fromEntries([
      ['url', url],
      ...rest!
        .slice(1)
        .split(';')
        .map((each) => each.split('=')),
    ]) as Member;
  });
}

test('pick header: when it is not asked for, there is none, whoever serves', async () => {
  const gateway = await fleet(yamlOf('kv_aware', false));
  const client = await gateway.client();
  const { head } = await client.ask(conversation(1, 1));
  expect(fieldsOf(head, fieldName)).toEqual([]);
});

test('pick header: when a conversation goes on, it names who holds it, how much of it, and what the others would cost', async () => {
  const gateway = await fleet(yamlOf('kv_aware'));
  const client = await gateway.client();
  const first = await client.ask(conversation(1, 2));
  const [home, ...others] = membersOf(fieldOf(first.head, fieldName));
  expect(home).toMatchObject({
    url: gateway.upstreams[Number(first.text)]!.url,
    picker: 'kv_aware',
    reason: 'home',
    candidates: '3',
    matched: '0',
    inflight: '0',
  });
  expect(others.map(({ url }) => url).toSorted()).toEqual(
    gateway.upstreams
      .map(({ url }) => url)
      .filter((url) => url !== home!.url)
      .toSorted(),
  );
  await gateway.pass(1000); // Before, no second copy would be begun, and the others not be compared.
  const second = await client.ask(conversation(1, 3));
  const [holder, ...rest] = membersOf(fieldOf(second.head, fieldName));
  expect(holder).toMatchObject({ url: home!.url, reason: 'least' });
  expect(Number(holder!['matched'])).toBeGreaterThan(Number(home!['prompt']) * 0.9);
  expect(Number(holder!['prompt'])).toBeGreaterThan(Number(holder!['matched']));
  for (const other of rest) {
    expect(other['matched']).toBe('0');
    expect(Number(other['score'])).toBeGreaterThan(Number(holder!['score']));
  }
});

test('pick header: when an attempt fails and another serves, it tells of the one that served', async () => {
  const gateway = await fleet(yamlOf('lmetric'));
  gateway.upstreams[0]!.onPeer = async (peer) => {
    await peer.request();
    peer.reset();
  };
  const client = await gateway.client();
  const { head, text } = await client.ask(conversation(1, 1));
  const [chosen, ...others] = membersOf(fieldOf(head, fieldName));
  expect(text).not.toBe('0');
  expect(chosen).toMatchObject({ url: gateway.upstreams[Number(text)]!.url, picker: 'lmetric', candidates: '2' });
  expect(others.length, 'who failed is no candidate').toBe(1);
  expect(fieldsOf(head, fieldName).length).toBe(1);
});

test('pick header: when requests are in flight, least_request shows them, over all kinds of requests', async () => {
  const gateway = await rig({ upstreamCount: 3, yaml: yamlOf('least_request') });
  const holding = await gateway.client();
  holding.send(requestText('GET', '/slow'));
  await until(() => gateway.phases().includes('waiting'), 'it waits');
  const busy = gateway.upstreams.findIndex(({ peers }) => peers.length > 0);
  for (const [index, upstream] of gateway.upstreams.entries()) {
    if (index !== busy) upstream.answerAll(answerText(`${index}`));
  }
  const client = await gateway.client();
  for (let round = 0; round < 4; round++) {
    const { head } = await client.ask(requestText('GET', '/fast'));
    const members = membersOf(fieldOf(head, fieldName));
    expect(members[0]).toMatchObject({ picker: 'least_request', reason: 'least', score: '0', inflight: '0' });
    expect(members.at(-1)).toMatchObject({ url: gateway.upstreams[busy]!.url, inflight: '1', score: '1' });
  }
  holding.destroy();
});

test('pick header: when the first target fails and its pool would tell, an answer of the next pool says nothing of it', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: `
models: [{ name: m, targets: [{ pool: first }, { pool: next }] }]
pools:
  - { name: first, engine: none, picker: kv_aware, debug_headers: true, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM0" }] }
  - { name: next, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM1" }] }
`,
  });
  await gateway.upstreams[0]!.stopListening();
  gateway.upstreams[1]!.answerAll(answerText('next'));
  const client = await gateway.client();
  const { head, text } = await client.ask(conversation(1, 1));
  expect(text).toBe('next');
  expect(fieldsOf(head, fieldName)).toEqual([]);
});

test('pick header: when the gateway answers itself, there is none', async () => {
  const gateway = await fleet(yamlOf('round_robin'));
  for (const upstream of gateway.upstreams) await upstream.stopListening();
  const client = await gateway.client();
  const { status, head } = await client.ask(conversation(1, 1));
  expect(status).toBe(502);
  expect(fieldsOf(head, fieldName)).toEqual([]);
});

test('pick header: when a prompt waits for its answer, the list of open exchanges has the same figures', async () => {
  const gateway = await rig({ upstreamCount: 3, yaml: yamlOf('kv_aware') });
  const client = await gateway.client();
  client.send(conversation(1, 3));
  await gateway.inPhase('waiting');
  const index = gateway.upstreams.findIndex(({ peers }) => peers.length > 0);
  const peer = await gateway.upstreams[index]!.accept();
  await peer.request();
  const [view] = gateway.shard.exchanges();
  peer.send(answerText('it'));
  const { head } = await client.response();
  const [chosen] = membersOf(fieldOf(head, fieldName));
  expect(view).toMatchObject({
    endpoint: chosen!.url,
    estimated_tokens: Number(chosen!['prompt']),
    matched_tokens: Number(chosen!['matched']),
  });
  expect(view!.score).toBeCloseTo(Number(chosen!['score']), 2);
});

test('pick header: when a request has no prompt, neither figure nor score is made up', async () => {
  const gateway = await rig({ upstreamCount: 3, yaml: yamlOf('sticky') });
  const client = await gateway.client();
  client.send(requestText('GET', '/slow'));
  await gateway.inPhase('waiting');
  expect(gateway.shard.exchanges()[0]).toMatchObject({ estimated_tokens: -1, matched_tokens: -1, score: null });
  client.destroy();
});

// The tree of SGLang's router: new prompts by turns, known ones where they are, for as long as loads are not far apart.
test('sglang: when conversations go on, each turn goes where the turns before it went, and new ones take turns', async () => {
  const gateway = await fleet(yamlOf('sglang'));
  const ask = async (number: number, turns: number): Promise<{ readonly text: string; readonly reason: string }> => {
    const client = await gateway.client();
    const { head, text } = await client.ask(conversation(number, turns));
    client.destroy();
    return { text, reason: membersOf(fieldOf(head, fieldName))[0]!['reason']! };
  };
  const homes: string[] = [];
  for (let number = 0; number < 6; number++) {
    const { text, reason } = await ask(number, 4);
    expect(reason, 'the assistant they share is less than 0.3 of it').toBe('short_match');
    homes.push(text);
  }
  expect([...new Set(homes)].toSorted()).toEqual(['0', '1', '2']);
  for (let turns = 5; turns <= 7; turns++) {
    for (const [number, home] of homes.entries())
      expect(await ask(number, turns)).toEqual({ text: home, reason: 'match' });
  }
  expect(gateway.counts('penstock_prefix_hits_total')).toEqual({ fleet: 23 });
  expect(gateway.slots.map((slot) => gateway.fleet.pendingTokens(slot))).toEqual([0, 0, 0]);
});
