/** Writes the few MessagePack types that KV events are made of (msgpack/spec.md). */
export type MsgpackValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly MsgpackValue[]
  | { readonly [key: string]: MsgpackValue };

/** Numbers with a fraction are float64, others the shortest integer; a bigint is uint64. */
export function encodeMsgpack(value: MsgpackValue): Buffer {
  const parts: Uint8Array[] = [];
  write(value, parts);
  return Buffer.concat(parts);
}

/** A float64, whatever its value: 5.0 would be written as an integer otherwise. */
export function msgpackFloat(value: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes[0] = 0xcb;
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

/** Array of values that are written already. */
export function msgpackArray(written: readonly Uint8Array[]): Buffer {
  return Buffer.concat([arrayHead(written.length), ...written]);
}

function write(value: MsgpackValue, parts: Uint8Array[]): void {
  if (value === null) parts.push(Buffer.of(0xc0));
  else if (typeof value === 'boolean') parts.push(Buffer.of(value ? 0xc3 : 0xc2));
  else if (typeof value === 'number') parts.push(Number.isInteger(value) ? integer(value) : msgpackFloat(value));
  else if (typeof value === 'bigint') parts.push(unsigned64(value));
  else if (typeof value === 'string') parts.push(text(value));
  else if (value instanceof Uint8Array) parts.push(sized(value.length, 0xc4, 0xc5, 0xc6), value);
  else if (isList(value)) {
    parts.push(arrayHead(value.length));
    for (const inner of value) write(inner, parts);
  } else {
    const entries = Object.entries(value);
    parts.push(entries.length < 16 ? Buffer.of(0x80 | entries.length) : withNumber(0xde, entries.length, 2));
    for (const [key, inner] of entries) {
      parts.push(text(key));
      write(inner, parts);
    }
  }
}

function isList(value: MsgpackValue): value is readonly MsgpackValue[] {
  return Array.isArray(value);
}

function arrayHead(count: number): Buffer {
  if (count < 16) return Buffer.of(0x90 | count);
  return count < 0x1_0000 ? withNumber(0xdc, count, 2) : withNumber(0xdd, count, 4);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  const head = bytes.length < 32 ? Buffer.of(0xa0 | bytes.length) : sized(bytes.length, 0xd9, 0xda, 0xdb);
  return Buffer.concat([head, bytes]);
}

function sized(length: number, type8: number, type16: number, type32: number): Buffer {
  if (length < 0x100) return withNumber(type8, length, 1);
  return length < 0x1_0000 ? withNumber(type16, length, 2) : withNumber(type32, length, 4);
}

function integer(value: number): Buffer {
  if (value < 0) {
    if (value >= -32) return Buffer.of(value & 0xff);
    const bytes = Buffer.alloc(9);
    bytes[0] = 0xd3;
    bytes.writeBigInt64BE(BigInt(value), 1);
    return bytes;
  }
  if (value < 0x80) return Buffer.of(value);
  if (value < 0x100) return withNumber(0xcc, value, 1);
  if (value < 0x1_0000) return withNumber(0xcd, value, 2);
  return value < 0x1_0000_0000 ? withNumber(0xce, value, 4) : unsigned64(BigInt(value));
}

function unsigned64(value: bigint): Buffer {
  const bytes = Buffer.alloc(9);
  bytes[0] = 0xcf;
  bytes.writeBigUInt64BE(value, 1);
  return bytes;
}

function withNumber(type: number, value: number, size: 1 | 2 | 4): Buffer {
  const bytes = Buffer.alloc(1 + size);
  bytes[0] = type;
  bytes.writeUIntBE(value, 1, size);
  return bytes;
}
