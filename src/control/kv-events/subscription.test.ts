import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { zmtpCommand, zmtpGreeting, zmtpMessage, ZmtpReader, zmtpReady } from '../../core/index.ts';
import { Resolver } from '../../upstream/resolver.ts';
import { encodeMsgpack } from '../../sim/msgpack.ts';
import { until } from '../fixtures/until.ts';
import type { Remark } from './protocol.ts';
import { ReadBudget } from './read-budget.ts';
import { Subscription } from './subscription.ts';

// Publishers scripted byte by byte: what a broken or a malicious one sends costs its own events, and nothing else.

const ends: (() => void)[] = [];

afterEach(() => {
  for (const end of ends.splice(0)) end();
});

/** One side of a publisher: what was asked of it, and who is connected. */
interface Scripted {
  readonly port: number;
  readonly sockets: Set<Socket>;
  /** Messages that came in, frames in hex. */
  readonly asked: string[][];
  readonly commands: string[];
  send(bytes: Buffer): void;
}

async function scripted(
  socketType: string,
  onAsked: (frames: readonly Buffer[]) => Buffer[] = () => [],
): Promise<Scripted> {
  const sockets = new Set<Socket>();
  const asked: string[][] = [];
  const commands: string[] = [];
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    const reader = new ZmtpReader(
      {
        onGreeting: () => void socket.write(zmtpReady(socketType)),
        onCommand: (name, body) => void commands.push(`${name} ${body.toString('latin1')}`),
        onMessage: (frames) => {
          asked.push(frames.map((frame) => frame.toString('hex')));
          for (const answer of onAsked(frames)) socket.write(answer);
        },
      },
      1 << 20,
    );
    socket.write(zmtpGreeting());
    socket.on('data', (chunk) => void reader.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    asked,
    commands,
    send: (bytes) => {
      for (const socket of sockets) socket.write(bytes);
    },
  };
}

interface Followed {
  readonly subscription: Subscription;
  readonly remarks: Remark[];
  readonly emptied: string[];
}

function follow(
  publisher: Scripted,
  replayer: Scripted | null = null,
  topic = '',
  budget = new ReadBudget(),
): Followed {
  const remarks: Remark[] = [];
  const emptied: string[] = [];
  const addressOf = ({ port }: Scripted): { host: string; port: number } => ({ host: '127.0.0.1', port });
  const subscription = new Subscription({
    address: addressOf(publisher),
    replayAddress: replayer === null ? null : addressOf(replayer),
    topic,
    budget,
    lookup: new Resolver(() => performance.now()).lookup,
    onRemark: (remark) => void remarks.push(remark),
    onEmptied: (cause) => void emptied.push(cause),
  });
  ends.push(() => {
    subscription.stop();
    budget.stop();
  });
  return { subscription, remarks, emptied };
}

function number(sequence: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(sequence));
  return bytes;
}

/** A hundred blocks of 16 tokens. */
const payload = encodeMsgpack([1.5, [['BlockStored', Array.from({ length: 100 }, (_, hash) => hash), null, [], 16]]]);
const cleared = encodeMsgpack([1.5, [['AllBlocksCleared']]]);
const live = (sequence: number, body = payload, topic = 'kv@1'): Buffer =>
  zmtpMessage([Buffer.from(topic), number(sequence), body]);
const replayed = (sequence: number, body = payload): Buffer => zmtpMessage([Buffer.alloc(0), number(sequence), body]);
const replayEnd = zmtpMessage([Buffer.alloc(0), Buffer.alloc(8, 0xff), Buffer.alloc(0)]);

/** Its events are asked for: what is published from now on arrives. */
async function subscribed(publisher: Scripted): Promise<void> {
  await until('it is subscribed', () => publisher.asked.length > 0);
}

test('subscription: when a publisher is followed, it is asked for one topic, and told from others', async () => {
  const publisher = await scripted('PUB');
  const { subscription, remarks } = follow(publisher, null, 'kv@');
  await subscribed(publisher);
  expect(publisher.asked).toEqual([[Buffer.from('\x01kv@').toString('hex')]]);
  publisher.send(Buffer.concat([live(0, payload, 'other'), live(0), live(1)]));
  await until('both are counted', () => subscription.report().fillTokens === 3200);
  expect(subscription.report()).toMatchObject({
    isConnected: true,
    problem: null,
    counts: { stored: 2, malformed: 1 },
  });
  expect(remarks).toEqual([{ level: 'info', message: 'KV events are followed' }]);
});

test('subscription: when a batch is missing, it is asked for, and the clear that it was is heard', async () => {
  const publisher = await scripted('PUB');
  let kept: Buffer[] = [];
  const replayer = await scripted('ROUTER', ([, first]) => [
    ...kept.filter((_, index) => BigInt(index) >= first!.readBigUInt64BE()),
    replayEnd,
  ]);
  const { subscription, emptied } = follow(publisher, replayer);
  await subscribed(publisher);
  await until('there is no history', () => subscription.report().replays.complete === 1);
  kept = [replayed(0), replayed(1), replayed(2, cleared), replayed(3)];
  publisher.send(Buffer.concat([live(0), live(1), live(3)]));
  await until('it is heard', () => emptied.length > 0);
  expect(emptied).toEqual(['cleared']);
  await until('all is known', () => subscription.report().fillTokens === 1600);
  expect(replayer.asked.map(([delimiter, first]) => [delimiter, first])).toEqual([
    ['', number(0).toString('hex')],
    ['', number(2).toString('hex')],
  ]);
  expect(subscription.report()).toMatchObject({ gaps: 1, missedBatches: 0, replays: { complete: 2, failed: 0 } });
});

test('subscription: when a publisher clears without end, that is said at once, and then ten times a second', async () => {
  const publisher = await scripted('PUB');
  const { subscription, emptied } = follow(publisher);
  await subscribed(publisher);
  const startMs = performance.now();
  publisher.send(Buffer.concat(Array.from({ length: 5000 }, (_, sequence) => live(sequence, cleared))));
  await until('all are read', () => subscription.report().counts.cleared === 5000);
  const before = emptied.length;
  expect(before).toBeGreaterThan(0);
  await until('what came behind the first is said', () => emptied.length > 1);
  expect(emptied.length).toBeLessThanOrEqual(2 + (performance.now() - startMs) / 90);
});

test('subscription: when nobody answers for what is missing, the fill is unknown until the next clear', async () => {
  const publisher = await scripted('PUB');
  const { subscription } = follow(publisher);
  await subscribed(publisher);
  publisher.send(Buffer.concat([live(0), live(2)]));
  await until('it is counted', () => subscription.report().gaps === 1);
  expect(subscription.report()).toMatchObject({ fillTokens: null, missedBatches: 1, storedTokens: 3200 });
  publisher.send(live(3, cleared));
  await until('it is known', () => subscription.report().fillTokens === 0);
});

test('subscription: when a publisher gives cause for replays without end, it gets five', async () => {
  const publisher = await scripted('PUB');
  const replayer = await scripted('ROUTER', () => [replayEnd]);
  const { subscription } = follow(publisher, replayer);
  await subscribed(publisher);
  for (let sequence = 0; sequence < 40; sequence += 2) {
    await until('the last replay is over', () => !subscription.track.isReplaying);
    publisher.send(live(sequence));
    await until('it arrived', () => subscription.report().counts.stored === sequence / 2 + 1);
  }
  expect(subscription.report().replays.complete).toBe(5);
  expect(replayer.asked).toHaveLength(5);
});

test('subscription: when a publisher dies and comes back, it is followed again, and what it holds is unknown meanwhile', async () => {
  const publisher = await scripted('PUB');
  const { subscription, remarks, emptied } = follow(publisher);
  await subscribed(publisher);
  publisher.send(Buffer.concat([live(0), live(1)]));
  await until('it is known', () => subscription.report().fillTokens === 3200);
  for (const socket of publisher.sockets) socket.destroy();
  await until('that is seen', () => !subscription.report().isConnected);
  expect(subscription.report().fillTokens).toBeNull();
  await until('it is subscribed to again', () => publisher.asked.length === 2);
  publisher.send(live(0));
  await until('its new life is known', () => subscription.report().fillTokens === 1600);
  expect(emptied).toEqual(['restarted']);
  expect(remarks.map(({ message }) => message)).toEqual([
    'KV events are followed',
    'KV events are not followed',
    'KV events are followed',
  ]);
});

test('subscription: when messages are malformed, they are counted and dropped, and the rest is read', async () => {
  const publisher = await scripted('PUB');
  const { subscription } = follow(publisher);
  await subscribed(publisher);
  publisher.send(
    Buffer.concat([
      live(0),
      zmtpMessage([Buffer.from('kv@1')]),
      zmtpMessage([Buffer.from('kv@1'), Buffer.alloc(4), payload]),
      zmtpMessage([Buffer.from('kv@1'), Buffer.alloc(8, 0xff), payload]),
      live(1, Buffer.from('not msgpack')),
      live(2),
    ]),
  );
  await until('the last is read', () => subscription.report().counts.stored === 2);
  expect(subscription.report()).toMatchObject({
    isConnected: true,
    gaps: 1,
    fillTokens: null,
    counts: { malformed: 4 },
  });
});

test.each([
  ['the address is a replay socket', 'ROUTER', Buffer.alloc(0), 'it is a ROUTER socket, not a PUB'],
  ['the address is something that has no name', '\x1b[2J', Buffer.alloc(0), 'it is a ???J socket'],
  ['a frame is beyond 16 MiB', 'PUB', Buffer.of(2, 0, 0, 0, 0, 1, 0, 0, 1), 'a message is too large'],
  ['a frame has flags that nobody knows', 'PUB', Buffer.of(0x80, 0), 'a frame has unknown flags'],
  ['it refuses', 'PUB', zmtpCommand('ERROR', Buffer.from('\x02no')), 'it refuses the connection'],
])('subscription: when %s, that is said once, and it is tried again later', async (_, socketType, bytes, problem) => {
  const publisher = await scripted(socketType);
  const { subscription, remarks } = follow(publisher);
  for (let times = 0; times < 2; times++) {
    if (socketType === 'PUB') await until('it is subscribed', () => publisher.asked.length > times);
    publisher.send(bytes);
    await until('it is refused', () => subscription.report().counts.malformed > times);
    expect(subscription.report().problem).toContain(problem);
  }
  const refusals = remarks.filter(({ level }) => level === 'warn');
  expect(refusals.length).toBe(socketType === 'PUB' ? 2 : 1); // Once it was followed, its loss is news.
  expect(refusals[0]!.reason).toContain(problem);
});

test('subscription: when a publisher asks whether it is heard, it is told', async () => {
  const publisher = await scripted('PUB');
  follow(publisher);
  await subscribed(publisher);
  publisher.send(zmtpCommand('PING', Buffer.from('\0\x01context')));
  await until('it is told', () => publisher.commands.includes('PONG context'));
});

test('subscription: when a publisher asks without end and reads no answer, it is left', async () => {
  const publisher = await scripted('PUB');
  const { subscription } = follow(publisher);
  await subscribed(publisher);
  for (const socket of publisher.sockets) socket.pause();
  const pings = Buffer.concat(
    Array.from({ length: 10_000 }, () => zmtpCommand('PING', Buffer.from('\0\x01' + 'x'.repeat(16)))),
  );
  await until('it is left', () => {
    if (subscription.report().isConnected) publisher.send(pings);
    return !subscription.report().isConnected;
  });
  expect(subscription.report()).toMatchObject({
    problem: 'it asks, and does not read the answers',
    counts: { malformed: 1 },
  });
});

test('subscription: when a publisher sends more than the budget, it rests, and everything arrives in the end', async () => {
  const publisher = await scripted('PUB');
  const budget = new ReadBudget(100_000);
  const { subscription } = follow(publisher, null, '', budget);
  await subscribed(publisher);
  const filler = encodeMsgpack([1.5, [['BlockStored', [1], null, new Uint8Array(1000), 16]]]);
  publisher.send(Buffer.concat(Array.from({ length: 500 }, (_, sequence) => live(sequence, filler))));
  await until('everything is read', () => subscription.report().counts.stored === 500);
  expect(budget.restCount).toBeGreaterThanOrEqual(3);
  expect(subscription.report()).toMatchObject({ gaps: 0, fillTokens: 8000 });
});

test('subscription: when a replay does not end, it is left, and the publisher is followed on', async () => {
  const publisher = await scripted('PUB');
  const replayer = await scripted('ROUTER');
  const { subscription } = follow(publisher, replayer);
  await subscribed(publisher);
  await until('it is asked', () => replayer.asked.length === 1);
  publisher.send(Buffer.concat(Array.from({ length: 17_000 }, (_, sequence) => live(sequence, cleared))));
  await until('it is left', () => {
    replayer.send(replayed(0));
    return replayer.sockets.size === 0;
  });
  await until('the rest is counted', () => subscription.track.counts.cleared > 0);
  expect(subscription.report().replays).toEqual({ complete: 0, failed: 1 });
});

test('subscription: when a replay is broken off, the publisher is followed on', async () => {
  const publisher = await scripted('PUB');
  const replayer = await scripted('ROUTER', () => [replayed(0), Buffer.of(0x80, 0)]);
  const { subscription, remarks } = follow(publisher, replayer);
  await until('the replay is lost', () => subscription.report().replays.failed === 1);
  publisher.send(live(1));
  await until('it is followed', () => subscription.report().counts.stored === 1);
  expect(subscription.report().fillTokens).toBe(3200);
  expect(remarks.at(-1)).toMatchObject({ level: 'warn', reason: 'a frame has unknown flags' });
});
