import { expect, test } from 'vitest';
import { answerText, chatRequest, EndedEarly, rig, type Rig, turns, type UpstreamPeer } from '../rig/index.ts';

// Everything goes wrong at random, on both sides, while clients come and leave: whoever gets an answer gets their own, for their
// own prompt, and nothing is held in the end (the rig asserts that). The seed is in the name of the test.

/** mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

const requestCount = 160;
const clientCount = 16;
const markOf = (text: string): string => /"mark":"(\d+)"/.exec(text)![1]!;

/** What an endpoint may do instead of answering. True: it did, and the connection is over. */
async function misbehave(peer: UpstreamPeer, random: () => number): Promise<boolean> {
  await turns(Math.floor(random() * 4));
  const draw = random();
  if (draw < 0.05) peer.reset();
  else if (draw < 0.08) peer.send('nonsense\r\n\r\n');
  else if (draw < 0.12) peer.send('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"half');
  else if (draw < 0.15) peer.finish();
  else return false;
  if (draw >= 0.08 && draw < 0.12) {
    await turns(3);
    peer.reset();
  }
  return true;
}

function serve(gateway: Rig, protocol: 'vllm' | 'sglang', random: () => number, problems: string[]): void {
  const marks = new Map<string, string>();
  for (const [index, upstream] of gateway.upstreams.entries()) {
    upstream.onPeer = async (peer) => {
      for (;;) {
        if (random() < 0.03) {
          await peer.head(); // And none of the body.
          peer.reset();
          return;
        }
        const { text, head } = await peer.request();
        const mark = markOf(text);
        // An endpoint for both computes prompts for others too (vllm), or serves alone (sglang).
        const isPrefill = index < 3 || text.includes('"do_remote_decode":true');
        if (!head.raw.includes(`x-request-id: r${mark}\r\n`)) problems.push(`head of another request than ${mark}`);
        if (protocol === 'sglang') {
          const room = /"bootstrap_room":(\d+)\}$/.exec(text)?.[1] ?? '';
          if (index < 6 && (marks.get(room) ?? mark) !== mark) problems.push(`two prompts in room ${room}`);
          marks.set(room, mark);
        } else if (
          !isPrefill &&
          text.includes('kv_transfer_params') &&
          !text.endsWith(`"kv_transfer_params":{"of":"${mark}"}}`)
        ) {
          problems.push(`prompt ${mark} is decoded with the blocks of another`);
        }
        if (await misbehave(peer, random)) return;
        const isBusy = random() < 0.05;
        if (isBusy) peer.send(answerText('busy', [], '503 Busy'));
        else if (!isPrefill)
          peer.send(answerText(JSON.stringify({ of: mark, pad: 'z'.repeat(Math.floor(random() * 60_000)) })));
        else if (random() < 0.05) peer.send(answerText('<html>'));
        else peer.send(answerText(`{"kv_transfer_params":{"of":"${mark}"}}`));
      }
    };
  }
}

const cases = (['vllm', 'sglang'] as const).flatMap((protocol) => [1, 2, 3].map((seed) => [protocol, seed] as const));
test.each(cases)(
  '%s: when everything goes wrong at random (seed %d), answers are those of their own prompts',
  async (protocol, seed) => {
    const random = seeded(seed);
    const roles = ['prefill', 'prefill', 'prefill', 'decode', 'decode', 'decode', 'both'];
    const endpoints = roles.map((role, index) => `{ url: "$UPSTREAM${index}", role: ${role} }`);
    const gateway = await rig({
      upstreamCount: roles.length,
      shardCount: 2,
      yaml: `
pools:
  - name: split
    engine: none
    picker: kv_aware
    disaggregation: { protocol: ${protocol} }
    inflight_max: 3
    connections_max: 2
    queue: { wait_ms: 10s }
    ejection: { consecutive_failures: 1000 }
    retries: { attempts: 3, budget_percent: 100 }
    endpoints: [${endpoints.join(', ')}]
filter_chains: [{ name: edge, filters: [{ filter: request_id }] }]
`,
      listener: 'filter_chains: [edge]',
    });
    const problems: string[] = [];
    serve(gateway, protocol, random, problems);
    const outcomes = { served: 0, failed: 0, cut: 0, left: 0 };
    let next = 0;
    const runClient = async (): Promise<void> => {
      for (let mark = next++; mark < requestCount; mark = next++) {
        const client = await gateway.client(mark % 2);
        const pad = 'x'.repeat(random() < 0.1 ? 700_000 : Math.floor(random() * 4000));
        const messages = [
          { role: 'user', content: `${mark % 20} how high is the water? `.repeat(random() < 0.2 ? 3 : 120) },
        ];
        client.send(chatRequest(JSON.stringify({ mark: String(mark), messages, pad }), [`x-request-id: r${mark}`]));
        if (random() < 0.2) {
          await turns(Math.floor(random() * 12));
          client.destroy();
          outcomes.left++;
          continue;
        }
        try {
          const { status, text, isComplete } = await client.response();
          if (status >= 500) outcomes.failed++;
          else if (!isComplete) outcomes.cut++;
          else {
            outcomes.served++;
            if ((JSON.parse(text) as { of: string }).of !== String(mark))
              problems.push(`${mark} got ${text.slice(0, 40)}`);
          }
        } catch (error) {
          if (!(error instanceof EndedEarly)) throw error;
          outcomes.cut++;
        }
        client.destroy();
      }
    };
    await Promise.all(Array.from({ length: clientCount }, runClient));
    expect(problems).toEqual([]);
    expect(outcomes.served, JSON.stringify(outcomes)).toBeGreaterThan(requestCount / 3);
    await gateway.assertIdle();
  },
  60_000,
);
