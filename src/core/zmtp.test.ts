import { expect, test } from 'vitest';
import { publisherBytes } from '../control/kv-events/fixtures/recorded.ts';
import { zmtpCommand, zmtpGreeting, zmtpMessage, ZmtpReader, zmtpReady, zmtpSocketType } from './index.ts';

// rfc.zeromq.org/spec/23. The recorded bytes are a real library's.

interface Seen {
  readonly reader: ZmtpReader;
  readonly log: string[];
}

function reading(bytesMax = 1 << 20): Seen {
  const log: string[] = [];
  const reader = new ZmtpReader(
    {
      onGreeting: () => void log.push('greeting'),
      onCommand: (name, body) => void log.push(`${name} ${name === 'READY' ? zmtpSocketType(body) : body.toString()}`),
      onMessage: (frames) => void log.push(frames.map((frame) => frame.toString('latin1')).join('|')),
    },
    bytesMax,
  );
  return { reader, log };
}

const recorded = Buffer.from(publisherBytes, 'hex');
const recordedLog = [
  'greeting',
  'READY PUB',
  `kv@1|${'\0'.repeat(7)}\x07|hello`,
  `kv@1|${'\0'.repeat(7)}\x08|${'y'.repeat(300)}`,
];

test('zmtp: when the bytes of a real publisher are cut anywhere, they say the same', () => {
  for (let cut = 0; cut <= recorded.length; cut++) {
    const { reader, log } = reading();
    expect(reader.push(recorded.subarray(0, cut))).toBeNull();
    expect(reader.push(recorded.subarray(cut))).toBeNull();
    expect(log, `cut at ${cut}`).toEqual(recordedLog);
  }
  const { reader, log } = reading();
  for (const byte of recorded) expect(reader.push(Buffer.of(byte))).toBeNull();
  expect(log).toEqual(recordedLog);
});

test('zmtp: when bytes come one at a time, in memory that is used again, nothing is kept of it', () => {
  const { reader, log } = reading();
  const one = Buffer.alloc(1);
  for (const byte of recorded) {
    one[0] = byte;
    expect(reader.push(one)).toBeNull();
  }
  expect(log).toEqual(recordedLog);
});

test('zmtp: when one end writes, the other reads it, however long the frames are', () => {
  const { reader, log } = reading();
  const frames = [Buffer.alloc(0), Buffer.alloc(255, 'a'), Buffer.alloc(256, 'b'), Buffer.alloc(70_000, 'c')];
  for (const bytes of [
    zmtpGreeting(),
    zmtpReady('DEALER'),
    zmtpMessage(frames),
    zmtpCommand('PING', Buffer.from('x')),
  ]) {
    expect(reader.push(bytes)).toBeNull();
  }
  expect(log).toEqual([
    'greeting',
    'READY DEALER',
    frames.map((frame) => frame.toString('latin1')).join('|'),
    'PING x',
  ]);
});

const greeted = zmtpGreeting();
const changed = (at: number, value: number): Buffer => {
  const bytes = Buffer.from(greeted);
  bytes[at] = value;
  return bytes;
};
const longHead = (length: bigint): Buffer => {
  const head = Buffer.alloc(9);
  head[0] = 2;
  head.writeBigUInt64BE(length, 1);
  return head;
};

test.each([
  ['HTTP', [Buffer.from('HTTP/1.1 400 Bad Request\r\n'.padEnd(64, 'x'))], 'it does not speak ZMTP'],
  ['ZMTP 2', [changed(10, 2)], 'it speaks a ZMTP older than 3.0'],
  ['encryption', [changed(12, 'C'.charCodeAt(0))], 'it wants a security mechanism'],
  ['flags that nobody knows', [greeted, Buffer.of(8, 0)], 'a frame has unknown flags'],
  ['a frame beyond the bound', [greeted, longHead(1025n)], 'a message is too large'],
  ['a frame of 2^64 - 1', [greeted, longHead(0xffff_ffff_ffff_ffffn)], 'a message is too large'],
  [
    'frames that are too much together',
    [greeted, zmtpMessage([Buffer.alloc(600), Buffer.alloc(600)])],
    'a message is too large',
  ],
  [
    'nine frames',
    [greeted, zmtpMessage(Array.from({ length: 9 }, () => Buffer.alloc(1)))],
    'a message has too many frames',
  ],
  ['a command as long as a message', [greeted, zmtpCommand('PING', Buffer.alloc(5000))], 'a message is too large'],
  ['a command without a name', [greeted, Buffer.of(4, 2, 9, 65)], 'a command has no name'],
])('zmtp: when a peer sends %s, it is refused', (_, pieces, complaint) => {
  const { reader } = reading(1024);
  const answers = pieces.map((piece) => reader.push(piece));
  expect(answers.at(-1)).toBe(complaint);
});

test('zmtp: when its owner has stopped it, a reader says nothing more of what it was given', () => {
  const log: string[] = [];
  const reader: ZmtpReader = new ZmtpReader(
    {
      onGreeting: () => {},
      onCommand: () => {},
      onMessage: ([frame]) => {
        log.push(frame!.toString());
        reader.stop();
      },
    },
    1024,
  );
  const two = Buffer.concat([greeted, zmtpMessage([Buffer.from('one')]), zmtpMessage([Buffer.from('two')])]);
  expect(reader.push(two)).toBeNull();
  expect(reader.push(zmtpMessage([Buffer.from('three')]))).toBeNull();
  expect(log).toEqual(['one']);
});

test('zmtp: when READY is cut off, or names no socket type, that is no type', () => {
  const body = Buffer.from('\x0bSocket-Type\0\0\0\x03PUB', 'latin1');
  expect(zmtpSocketType(body)).toBe('PUB');
  for (let length = 0; length < body.length; length++) expect(zmtpSocketType(body.subarray(0, length))).toBe('');
  expect(zmtpSocketType(Buffer.from('\x08Identity\xff\xff\xff\xffPUB', 'latin1'))).toBe('');
});
