import { expect, test } from 'vitest';
import { modelKeyOf } from '../../src/pick/index.ts';
import { ModelTable, ResidentTable } from '../../src/shm/index.ts';
import { chatRequest, fieldOf, rig, type Rig } from '../rig/index.ts';

// Requests for LoRA adapters go where these are in memory, through the whole gateway and from one shard to another.

const yaml = `
pools:
  - name: fleet
    engine: none
    debug_headers: true
    endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }, { url: "$UPSTREAM2" }, { url: "$UPSTREAM3" }]
`;
const adapters = ['law', 'sql', 'chat', 'code', 'math', 'poem'];

async function fleet(shardCount = 1): Promise<Rig> {
  const gateway = await rig({ upstreamCount: 4, yaml, shardCount });
  const table = new ModelTable(gateway.memory, -1);
  const list = adapters.map((name) => ({ key: modelKeyOf(name), contextTokens: 0, isAdapter: true, loads: true }));
  for (const slot of gateway.slots) table.publish(slot, list);
  for (const [index, upstream] of gateway.upstreams.entries()) {
    const text = JSON.stringify({ choices: [{ message: { content: `${index}` }, finish_reason: 'stop' }] });
    upstream.answerAll(
      `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
    );
  }
  return gateway;
}

/** Who answered, and why it was sent there. */
async function ask(gateway: Rig, model: string, content: string, shardIndex = 0): Promise<[string, string]> {
  const client = await gateway.client(shardIndex);
  const body = JSON.stringify({ model, messages: [{ role: 'user', content }] });
  const { head, text } = await client.ask(chatRequest(body));
  client.destroy();
  return [text.slice(0, 1) === '{' ? /"content":"(\d)"/.exec(text)![1]! : text, fieldOf(head, 'x-penstock-pick')!];
}

test('adapters: when one is used, all of its prompts go to one endpoint, from all shards, and it is loaded once', async () => {
  const gateway = await fleet(2);
  const homes = new Set<string>();
  for (const adapter of adapters) {
    const from = new Set<string>();
    for (let turn = 0; turn < 6; turn++) {
      const [endpoint, why] = await ask(gateway, adapter, `${adapter} ${turn}`.repeat(200 * turn + 1), turn % 2);
      from.add(endpoint);
      expect(why).toContain(turn === 0 ? 'reason=home' : 'reason=least');
      const [chosen, ...others] = why.split(', ');
      expect(chosen!.includes(';load='), why).toBe(turn === 0);
      for (const other of others) expect(other).toContain(';load=0.5');
    }
    expect(from.size, adapter).toBe(1);
    homes.add([...from][0]!);
  }
  expect(homes.size, 'and not all of them to the same').toBeGreaterThan(1);
  expect(gateway.counts('penstock_model_loads_total')).toEqual({ fleet: adapters.length });
  await gateway.assertIdle();
});

test('adapters: when an engine has it in memory by its own word, prompts go there, whatever its home', async () => {
  const gateway = await fleet();
  const control = new ResidentTable(gateway.memory, -1);
  for (const [index, slot] of gateway.slots.entries()) {
    const nowMs = gateway.shard.state.parts.clock.refresh();
    for (const other of gateway.slots) control.clear(other);
    control.note(slot, 4, [modelKeyOf('law')], nowMs);
    const [endpoint] = await ask(gateway, 'law', `${index}: what does it say?`);
    expect(endpoint).toBe(String(index));
  }
  expect(gateway.counts('penstock_model_loads_total')).toEqual({});
  await gateway.assertIdle();
});

test('adapters: when the endpoint that has it is down, another one loads it', async () => {
  const gateway = await fleet();
  const [home] = await ask(gateway, 'law', 'first');
  gateway.fleet.setState(gateway.slots[Number(home)]!, 2);
  const [next] = await ask(gateway, 'law', 'second');
  expect(next).not.toBe(home);
  const [again] = await ask(gateway, 'law', 'third');
  expect(again).toBe(next);
  expect(gateway.counts('penstock_model_loads_total')).toEqual({ fleet: 2 });
  await gateway.assertIdle();
});
