/**
 * Walks over MessagePack (msgpack/spec.md) without making values of it: most of an event batch are token ids and hashes, of
 * which only the number is wanted. Every read is within the bytes, or throws MalformedError; a count that a peer only claims
 * costs nothing, since its elements have to be there.
 */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
}

function malformed(what: string): never {
  throw new MalformedError(what);
}

/** Bytes of a value of fixed size, by its first byte; 0 for those that say how long they are. */
const fixedBytes = new Uint8Array(256);
fixedBytes.fill(1, 0x00, 0x80); // Positive fixint.
for (let length = 0; length < 32; length++) fixedBytes[0xa0 | length] = 1 + length; // Fixstr.
fixedBytes.fill(1, 0xe0); // Negative fixint.
for (const type of [0xc0, 0xc2, 0xc3]) fixedBytes[type] = 1; // Nil, booleans.
for (const [type, bytes] of [
  [0xcc, 2],
  [0xcd, 3],
  [0xce, 5],
  [0xcf, 9],
  [0xd0, 2],
  [0xd1, 3],
  [0xd2, 5],
  [0xd3, 9],
  [0xca, 5],
  [0xcb, 9],
  [0xd4, 3],
  [0xd5, 4],
  [0xd6, 6],
  [0xd7, 10],
  [0xd8, 18],
] as const) {
  fixedBytes[type] = bytes;
}

/** Of the keys, tags and names that are looked at; a longer text is none of them. */
const textBytesMax = 64;

export class MsgpackCursor {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  begin(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#at = 0;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  get isArray(): boolean {
    const type = this.#type();
    return (type & 0xf0) === 0x90 || type === 0xdc || type === 0xdd;
  }

  get isMap(): boolean {
    const type = this.#type();
    return (type & 0xf0) === 0x80 || type === 0xde || type === 0xdf;
  }

  /** Elements of the array that begins here. */
  enterArray(): number {
    const type = this.#type();
    if ((type & 0xf0) === 0x90) return this.#head(1, type & 0x0f);
    if (type === 0xdc) return this.#head(3, this.#unsigned(1, 2));
    if (type === 0xdd) return this.#head(5, this.#unsigned(1, 4));
    return malformed('no array');
  }

  /** Pairs of the map that begins here. */
  enterMap(): number {
    const type = this.#type();
    if ((type & 0xf0) === 0x80) return this.#head(1, type & 0x0f);
    if (type === 0xde) return this.#head(3, this.#unsigned(1, 2));
    if (type === 0xdf) return this.#head(5, this.#unsigned(1, 4));
    return malformed('no map');
  }

  /** The number here; NaN for a value that is none, which is stepped over. */
  number(): number {
    const type = this.#type();
    if (type < 0x80) return this.#head(1, type);
    if (type >= 0xe0) return this.#head(1, type - 0x100);
    const bytes = this.#bytes;
    const at = this.#at + 1;
    const size = fixedBytes[type]!;
    if (type < 0xca || type > 0xd3) {
      this.skip();
      return NaN;
    }
    this.#needs(size);
    this.#at += size;
    if (type === 0xca) return bytes.readFloatBE(at);
    if (type === 0xcb) return bytes.readDoubleBE(at);
    if (type === 0xcf) return Number(bytes.readBigUInt64BE(at));
    if (type === 0xd3) return Number(bytes.readBigInt64BE(at));
    return type < 0xd0 ? bytes.readUIntBE(at, size - 1) : bytes.readIntBE(at, size - 1);
  }

  /** The text here; '' for a value that is none, or one too long to be wanted. */
  text(): string {
    const type = this.#type();
    let head = 0;
    let length = 0;
    if ((type & 0xe0) === 0xa0) {
      head = 1;
      length = type & 0x1f;
    } else if (type === 0xd9) {
      head = 2;
      length = this.#unsigned(1, 1);
    }
    if (head === 0 || length > textBytesMax) {
      this.skip();
      return '';
    }
    this.#needs(head + length);
    const start = this.#at + head;
    this.#at = start + length;
    return this.#bytes.latin1Slice(start, start + length);
  }

  /** Steps over an array and returns how many elements it has; 0 for anything else. */
  countAndSkip(): number {
    const count = this.isArray ? this.enterArray() : -1;
    this.skip(count === -1 ? 1 : count);
    return Math.max(0, count);
  }

  /** Steps over `count` values, with all that is in them. Without recursion: nesting is the peer's choice. */
  skip(count = 1): void {
    const bytes = this.#bytes;
    const end = bytes.length;
    let at = this.#at;
    for (let left = count; left > 0; left--) {
      // Behind the end there is nothing to read, and the check below fails.
      if (at >= end) malformed('it ends too early');
      const type = bytes[at]!;
      const size = fixedBytes[type]!;
      if (size !== 0) {
        at += size;
        continue;
      }
      this.#at = at;
      if ((type & 0xf0) === 0x90 || type === 0xdc || type === 0xdd) left += this.enterArray();
      else if ((type & 0xf0) === 0x80 || type === 0xde || type === 0xdf) left += this.enterMap() * 2;
      else this.#skipSized(type);
      at = this.#at;
    }
    if (at > end) malformed('it ends too early');
    this.#at = at;
  }

  /** Texts, binaries and extensions that say how long they are. */
  #skipSized(type: number): void {
    const isExtension = type >= 0xc7 && type <= 0xc9;
    const isBinary = type >= 0xc4 && type <= 0xc6;
    const isText = type >= 0xd9 && type <= 0xdb;
    if (!isExtension && !isBinary && !isText) malformed('0xc1 is no value');
    const lengthBytes = 1 << (type - (isExtension ? 0xc7 : isBinary ? 0xc4 : 0xd9));
    const length = this.#unsigned(1, lengthBytes);
    this.#needs(1 + lengthBytes + (isExtension ? 1 : 0) + length);
    this.#at += 1 + lengthBytes + (isExtension ? 1 : 0) + length;
  }

  #type(): number {
    return this.#at < this.#bytes.length ? this.#bytes[this.#at]! : malformed('it ends too early');
  }

  #needs(size: number): void {
    if (this.#at + size > this.#bytes.length) malformed('it ends too early');
  }

  #unsigned(offset: number, size: number): number {
    this.#needs(offset + size);
    return this.#bytes.readUIntBE(this.#at + offset, size);
  }

  #head(size: number, value: number): number {
    this.#at += size;
    return value;
  }
}
