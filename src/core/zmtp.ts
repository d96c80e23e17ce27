/**
 * ZMTP 3.0, the wire protocol of ZeroMQ over TCP (rfc.zeromq.org/spec/23), as far as PUB, SUB, DEALER and ROUTER sockets speak it
 * without encryption: functions over bytes, for both ends of a connection.
 *
 *   greeting, 64 bytes ⇄ greeting     READY ⇄ READY     then frames: messages of one or more, now and then a command
 *
 * What a peer sends is input: a reader answers it with a complaint, it never throws.
 */
const greetingBytes = 64;
const mechanismOffset = 12;

/** First byte of a frame. */
const Flag = { more: 1, long: 2, command: 4 } as const;
const flagsKnown = Flag.more | Flag.long | Flag.command;

/** First byte of what a SUB socket sends: a message of one frame, the rest of which is the beginning of a topic. */
export const subscribeByte = 1;

/** Frames of one message; more than any protocol here has. */
const framesMax = 8;
/** PING, ERROR and READY are short; a command is no way around the bound of messages. */
const commandBytesMax = 4096;
const empty = Buffer.alloc(0);

/** Version 3.0, mechanism NULL. */
export function zmtpGreeting(): Buffer {
  const bytes = Buffer.alloc(greetingBytes);
  bytes[0] = 0xff;
  bytes[9] = 0x7f;
  bytes[10] = 3;
  bytes.write('NULL', mechanismOffset, 'latin1');
  return bytes;
}

export function zmtpMessage(frames: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    frames.flatMap((body, index) => [frameHead(index < frames.length - 1 ? Flag.more : 0, body.length), body]),
  );
}

export function zmtpCommand(name: string, body: Uint8Array): Buffer {
  const text = Buffer.from(name, 'latin1');
  const whole = Buffer.concat([Buffer.of(text.length), text, body]);
  return Buffer.concat([frameHead(Flag.command, whole.length), whole]);
}

/** `socketType`: PUB, SUB, DEALER or ROUTER. */
export function zmtpReady(socketType: string): Buffer {
  const name = Buffer.from('Socket-Type', 'latin1');
  const value = Buffer.from(socketType, 'latin1');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(value.length);
  return zmtpCommand('READY', Buffer.concat([Buffer.of(name.length), name, length, value]));
}

/** The peer's socket type, from the body of its READY; '' when it does not say. */
export function zmtpSocketType(body: Buffer): string {
  for (let at = 0; at < body.length;) {
    const nameEnd = at + 1 + body[at]!;
    if (nameEnd + 4 > body.length) return '';
    const name = body.toString('latin1', at + 1, nameEnd).toLowerCase();
    const valueEnd = nameEnd + 4 + body.readUInt32BE(nameEnd);
    if (valueEnd > body.length) return '';
    // Not a name of ours: it goes into logs.
    if (name === 'socket-type') return body.toString('latin1', nameEnd + 4, Math.min(valueEnd, nameEnd + 20));
    at = valueEnd;
  }
  return '';
}

function frameHead(flags: number, length: number): Buffer {
  if (length < 256) return Buffer.of(flags, length);
  const head = Buffer.alloc(9);
  head[0] = flags | Flag.long;
  head.writeBigUInt64BE(BigInt(length), 1);
  return head;
}

export interface ZmtpSink {
  onGreeting(): void;
  onCommand(name: string, body: Buffer): void;
  /** `frames`: at least one. They may share memory with other messages, which nobody writes to. */
  onMessage(frames: readonly Buffer[]): void;
}

/** Takes a connection's bytes as they come, and tells its sink what they are. Holds at most one message, of at most `bytesMax`. */
export class ZmtpReader {
  readonly #sink: ZmtpSink;
  readonly #bytesMax: number;
  /**
   * Beginning of a greeting or frame that came in pieces. They are copied into memory for all of it: a peer that sends byte by
   * byte would otherwise have an object kept for each.
   */
  #held: Buffer = empty;
  #heldBytes = 0;
  /** What is to be held before it can be understood, or understood better. */
  #wantedBytes = greetingBytes;
  #isGreeted = false;
  #frames: Buffer[] = [];
  #messageBytes = 0;
  /** The sink wants no more. */
  #isStopped = false;

  constructor(sink: ZmtpSink, bytesMax: number) {
    this.#sink = sink;
    this.#bytesMax = bytesMax;
  }

  /** What follows is dropped, also of what was pushed already: the connection is given up. */
  stop(): void {
    this.#isStopped = true;
    this.#release();
    this.#frames = [];
  }

  /** Null, or why the connection has to be given up. Of `chunk` only whole frames are kept as they are. */
  push(chunk: Buffer): string | null {
    for (let at = 0; at < chunk.length && !this.#isStopped;) {
      if (this.#heldBytes > 0) {
        at += this.#hold(chunk, at);
        if (this.#heldBytes < this.#wantedBytes) continue;
        const step = this.#read(this.#held.subarray(0, this.#heldBytes), 0);
        if (typeof step === 'string') return step;
        if (step > 0) this.#release(); // It was held to its last byte, and nothing behind it.
      } else {
        const step = this.#read(chunk, at);
        if (typeof step === 'string') return step;
        at += step === 0 ? this.#hold(chunk, at) : step;
      }
    }
    return null;
  }

  /** Takes what is still wanted, as far as it is there. Returns how much that is. */
  #hold(chunk: Buffer, at: number): number {
    if (this.#held.length < this.#wantedBytes) {
      const larger = Buffer.allocUnsafeSlow(this.#wantedBytes); // Pages that are not written to take no memory.
      this.#held.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    const taken = chunk.copy(this.#held, this.#heldBytes, at, at + this.#wantedBytes - this.#heldBytes);
    this.#heldBytes += taken;
    return taken;
  }

  #release(): void {
    this.#held = empty;
    this.#heldBytes = 0;
  }

  /** Bytes used, 0 when `#wantedBytes` are needed, or a complaint. */
  #read(bytes: Buffer, at: number): number | string {
    return this.#isGreeted ? this.#frame(bytes, at) : this.#greeting(bytes, at);
  }

  #greeting(bytes: Buffer, at: number): number | string {
    if (bytes.length - at < greetingBytes) return 0;
    if (bytes[at] !== 0xff || (bytes[at + 9]! & 1) === 0) return 'it does not speak ZMTP';
    if (bytes[at + 10]! < 3) return 'it speaks a ZMTP older than 3.0';
    const mechanism = bytes.toString('latin1', at + mechanismOffset, at + mechanismOffset + 20).replace(/\0+$/, '');
    if (mechanism !== 'NULL') return 'it wants a security mechanism';
    this.#isGreeted = true;
    this.#wantedBytes = 2;
    this.#sink.onGreeting();
    return greetingBytes;
  }

  #frame(bytes: Buffer, at: number): number | string {
    const available = bytes.length - at;
    this.#wantedBytes = 2;
    if (available < 2) return 0;
    const flags = bytes[at]!;
    if ((flags & ~flagsKnown) !== 0) return 'a frame has unknown flags';
    const isLong = (flags & Flag.long) !== 0;
    const headBytes = isLong ? 9 : 2;
    this.#wantedBytes = headBytes;
    if (available < headBytes) return 0;
    const bodyBytes = isLong ? Number(bytes.readBigUInt64BE(at + 1)) : bytes[at + 1]!;
    const isCommand = (flags & Flag.command) !== 0;
    if (bodyBytes > (isCommand ? commandBytesMax : this.#bytesMax - this.#messageBytes))
      return 'a message is too large';
    this.#wantedBytes = headBytes + bodyBytes;
    if (available < this.#wantedBytes) return 0;
    const body = bytes.subarray(at + headBytes, at + headBytes + bodyBytes);
    if (isCommand) {
      const nameEnd = 1 + (body[0] ?? 0);
      if (bodyBytes < nameEnd) return 'a command has no name';
      this.#sink.onCommand(body.toString('latin1', 1, nameEnd), body.subarray(nameEnd));
    } else {
      this.#frames.push(body);
      this.#messageBytes += bodyBytes;
      if (this.#frames.length > framesMax) return 'a message has too many frames';
      if ((flags & Flag.more) === 0) {
        const frames = this.#frames;
        this.#frames = [];
        this.#messageBytes = 0;
        this.#sink.onMessage(frames);
      }
    }
    this.#wantedBytes = 2;
    return headBytes + bodyBytes;
  }
}
