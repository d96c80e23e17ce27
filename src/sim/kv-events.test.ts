import { connect } from 'node:net';
import { onTestFinished, expect, test } from 'vitest';
import { zmtpGreeting, zmtpMessage, ZmtpReader, zmtpReady } from '../core/index.ts';
import { BatchDecoder } from '../control/kv-events/event-batch.ts';
import type { SimOptions } from './options.ts';
import { startSim } from './server.ts';
import type { Sim } from './server.ts';

interface Peer {
  /** Messages that came, frames in order. */
  readonly messages: (readonly Buffer[])[];
  send(frames: readonly Uint8Array[]): void;
}

/** A ZeroMQ socket of our own, connected when this resolves. */
function peer(port: number, socketType: string): Promise<Peer> {
  return new Promise((resolve) => {
    const messages: (readonly Buffer[])[] = [];
    const socket = connect(port, '127.0.0.1');
    const reader = new ZmtpReader(
      {
        onGreeting: () => void socket.write(zmtpReady(socketType)),
        onCommand: () => resolve({ messages, send: (frames) => void socket.write(zmtpMessage(frames)) }),
        onMessage: (frames) => void messages.push(frames),
      },
      1 << 24,
    );
    socket.write(zmtpGreeting());
    socket.on('data', (chunk) => void reader.push(chunk));
    onTestFinished(() => void socket.destroy());
  });
}

async function engine(options: SimOptions): Promise<Sim> {
  const sim = await startSim({
    speed: 0,
    blockSize: 4,
    kvBlocks: 64,
    kvEvents: 'tcp://127.0.0.1:0',
    kvEventsReplay: 'tcp://127.0.0.1:0',
    unixMs: () => 1_753_900_000_250,
    ...options,
  });
  onTestFinished(() => sim.close());
  return sim;
}

async function complete(sim: Sim, prompt: readonly number[], tokens = 1): Promise<void> {
  const response = await fetch(`${sim.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'meta-llama/Llama-3.1-8B-Instruct',
      prompt,
      max_tokens: tokens,
      ignore_eos: true,
    }),
  });
  expect(response.status, await response.text()).toBe(200);
}

const ids = (first: number, count: number): number[] => Array.from({ length: count }, (_, index) => first + index);
const from = (sequence: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(sequence);
  return bytes;
};

test.each(['map', 'array'] as const)(
  'sim: when its cache changes, what it publishes (%s) adds up to what the cache holds',
  async (kvEventsForm) => {
    const sim = await engine({ kvEventsForm });
    const subscriber = await peer(sim.kvEvents!.port, 'SUB');
    subscriber.send([Buffer.of(1)]);
    await expect.poll(() => sim.kvEvents!.subscriberCount).toBe(1);
    for (let request = 0; request < 20; request++) await complete(sim, ids(request * 100, 40), 10);
    await complete(sim, ids(1900, 44)); // Its beginning is there.
    const decoder = new BatchDecoder();
    let heldTokens = 0;
    let removedTokens = 0;
    await expect
      .poll(() => {
        for (const [topic, sequence, payload] of subscriber.messages.splice(0)) {
          expect([topic!.length, sequence!.length]).toEqual([0, 8]);
          const tally = decoder.decode(payload!)!;
          expect(tally.timestamp).toBe(1_753_900_000.25);
          heldTokens += tally.storedTokens - tally.removedTokens;
          removedTokens += tally.removedTokens;
        }
        return heldTokens / 4;
      })
      .toBe(sim.stats().kvBlocksCached);
    expect(removedTokens / 4).toBe(sim.stats().kvBlocksEvicted);
    expect(removedTokens).toBeGreaterThan(0);
    await fetch(`${sim.url}/reset_prefix_cache`, { method: 'POST' });
    await expect.poll(() => subscriber.messages.length).toBe(1);
    expect(decoder.decode(subscriber.messages[0]![2]!)).toMatchObject({ isCleared: true, clearedCount: 1 });
  },
);

test('sim: when a block is stored, its event has the tokens of prompt and answer, and what came before it', async () => {
  const sim = await engine({ kvEventsForm: 'array' });
  const asking = await peer(sim.kvEvents!.replayPort, 'DEALER');
  await complete(sim, ids(1000, 6), 8);
  asking.send([Buffer.alloc(0), from(0n)]);
  await expect.poll(() => asking.messages.at(-1)?.[1]).toEqual(Buffer.alloc(8, 0xff));
  const texts = asking.messages.map(([, , payload]) => payload!.toString('latin1'));
  // ["BlockStored", [hash], nil, [1000, 1001, 1002, 1003], 4, ...
  expect(texts[0]).toContain('BlockStored');
  expect(texts[0]).toContain('\xc0\x94\xcd\x03\xe8\xcd\x03\xe9\xcd\x03\xea\xcd\x03\xeb\x04');
  const tallies = asking.messages.slice(0, -1).map(([, , payload]) => new BatchDecoder().decode(payload!)!);
  expect(tallies.map(({ storedTokens }) => storedTokens)).toEqual([4, 4, 4]);
  // 1004 and 1005 begin the second, two tokens of the answer end it.
  expect(texts[1]).toContain('\x94\xcd\x03\xec\xcd\x03\xed');
});

test('sim: when batches are asked for, those that are kept come from the number on, and then the end', async () => {
  const sim = await engine({ kvEventsKept: 5, kvEventsTopic: 'kv@1@m' });
  for (let request = 0; request < 8; request++) await complete(sim, ids(request * 100, 8));
  const asking = await peer(sim.kvEvents!.replayPort, 'DEALER');
  const numbers = (): string[] => asking.messages.map(([, sequence]) => sequence!.readBigInt64BE().toString());
  asking.send([Buffer.alloc(0), from(6n)]);
  await expect.poll(numbers).toEqual(['6', '7', '-1']);
  asking.messages.length = 0;
  asking.send([Buffer.alloc(0), from(0n)]);
  await expect.poll(numbers).toEqual(['3', '4', '5', '6', '7', '-1']);
  asking.messages.length = 0;
  asking.send([from(0n)]); // No question: nobody answers.
  asking.send([Buffer.alloc(0), from(100n)]);
  await expect.poll(numbers).toEqual(['-1']);
  const subscribers = [await peer(sim.kvEvents!.port, 'SUB'), await peer(sim.kvEvents!.port, 'SUB')];
  subscribers[0]!.send([Buffer.from('\x01kv@')]);
  subscribers[1]!.send([Buffer.from('\x01other')]);
  await expect.poll(() => sim.kvEvents!.subscriberCount).toBe(2);
  await complete(sim, ids(900, 8));
  await expect.poll(() => subscribers[0]!.messages.map(([topic]) => topic!.toString())).toEqual(['kv@1@m']);
  expect(subscribers[1]!.messages).toEqual([]);
});

test('sim: when an address is wrong, it does not start', async () => {
  await expect(startSim({ kvEvents: '127.0.0.1:1' })).rejects.toThrow('must be tcp://host:port');
});
