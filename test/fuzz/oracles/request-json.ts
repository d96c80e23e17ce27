import { isUtf8 } from 'node:buffer';

/**
 * The request scanner's rules, written a second time and as plainly as possible: the whole body, a recursive reader, nothing
 * that knows of pieces, captures or WebAssembly. It also says where the scanner reads more loosely than RFC 8259, by
 * writing the document anew with what it did not look at replaced: JSON.parse has to accept that one.
 *
 * Where the design differs from JSON.parse, on purpose:
 * - refused: a wanted member that comes twice, is of another type or too long; more than 128 open brackets; a byte order mark;
 *   a root that is no object, which is reported as such without reading on;
 * - not looked at: the spelling of numbers and literals, escapes, control bytes and UTF-8 in members nobody wants.
 */
export interface RequestReading {
  readonly verdict: 'complete' | 'invalid' | 'notObject';
  /** For a complete document. */
  readonly members: Readonly<Record<string, string | number | boolean | null>>;
  /** Offset of the model's token and behind it; -1 without one. */
  readonly modelStart: number;
  readonly modelEnd: number;
  /** The document in the spelling of RFC 8259. */
  readonly normal: string;
}

type Kind = 'string' | 'boolean' | 'integer' | 'object';

/** Bytes a wanted string may have between its quotes. */
const bytesMax: Readonly<Record<string, number>> = { model: 512, user: 1024, prompt_cache_key: 1024 };
const wanted: Readonly<Record<string, Kind>> = {
  model: 'string',
  stream: 'boolean',
  stream_options: 'object',
  max_tokens: 'integer',
  max_completion_tokens: 'integer',
  max_output_tokens: 'integer',
  n: 'integer',
  user: 'string',
  prompt_cache_key: 'string',
};
/** The longest wanted name with every letter escaped; an escape in a longer key is not looked at. */
const keyBytesMax = 'max_completion_tokens'.length * 6;
const scalarBytesMax = 32;
const depthMax = 128;

class Refused extends Error {}
/** Thrown often, and its stack is of no use. */
const refused = new Refused();

export function readRequest(bytes: Buffer): RequestReading {
  const reader = new Reader(bytes);
  const result = (verdict: RequestReading['verdict']): RequestReading => ({
    verdict,
    members: reader.members,
    modelStart: reader.modelStart,
    modelEnd: reader.modelEnd,
    normal: reader.normal,
  });
  try {
    return result(reader.document() ? 'complete' : 'notObject');
  } catch (error) {
    if (error instanceof Refused) return result('invalid');
    throw error;
  }
}

class Reader {
  readonly members: Record<string, string | number | boolean | null> = {};
  modelStart = -1;
  modelEnd = -1;
  normal = '';
  readonly #text: string;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#text = bytes.toString('latin1');
  }

  document(): boolean {
    this.#space();
    if (/^[["\-0-9tfn]/.test(this.#rest(1))) return false;
    this.#members(1, wanted);
    this.#space();
    if (this.#at !== this.#text.length) throw refused;
    return true;
  }

  #members(depth: number, kinds: Readonly<Record<string, Kind>> | null): void {
    this.#take('{');
    this.#space();
    if (this.#tryTake('}')) return;
    do {
      this.#space();
      const key = this.#key(kinds !== null);
      this.#space();
      this.#take(':');
      this.#space();
      if (kinds !== null && key !== null && Object.hasOwn(kinds, key)) this.#wanted(key, kinds[key]!, depth);
      else this.#value(depth);
      this.#space();
    } while (this.#tryTake(','));
    this.#take('}');
  }

  /** The name, where it could be that of a wanted member. */
  #key(isLookedAt: boolean): string | null {
    const raw = this.#string();
    const isShort = raw.length <= keyBytesMax;
    const decoded = decode(raw);
    // Of an escaped key the escapes have to be sound, whether or not the rest is UTF-8.
    const isEscaped = raw.includes('\\');
    if (isLookedAt && isShort && isEscaped && decode(raw.replace(/[\x80-\xff]/g, 'x')) === null) throw refused;
    // Not a name of ours, whatever it is: JSON.parse gets one it can read.
    this.normal += decoded === null || !isShort ? `"\\u0000${this.#at}"` : JSON.stringify(decoded);
    return isLookedAt && isShort ? decoded : null;
  }

  #wanted(name: string, kind: Kind, depth: number): void {
    if (Object.hasOwn(this.members, name)) throw refused;
    this.members[name] = null;
    const char = this.#text[this.#at];
    if (char === '{' && kind === 'object') {
      this.#members(depth + 1, { include_usage: 'boolean' });
      return;
    }
    if (char === '"' && kind === 'string') {
      const start = this.#at;
      const raw = this.#string();
      const decoded = decode(raw);
      if (decoded === null || raw.length > bytesMax[name]!) throw refused;
      this.members[name] = decoded;
      this.normal += JSON.stringify(decoded);
      if (name === 'model') [this.modelStart, this.modelEnd] = [start, this.#at];
      return;
    }
    const text = this.#scalar();
    this.normal += text;
    if (text === 'null' && name !== 'model') return;
    if (kind === 'boolean' && (text === 'true' || text === 'false')) {
      this.members[name] = text === 'true';
      return;
    }
    const isNumber =
      /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/.test(text) && text.length <= scalarBytesMax;
    const value = Number(text);
    const isUnlimited = value === -1 && name !== 'n';
    if (kind !== 'integer' || !isNumber || !Number.isSafeInteger(value) || (value < 0 && !isUnlimited)) throw refused;
    this.members[name] = value;
  }

  #value(depth: number): void {
    const char = this.#text[this.#at];
    if (char === '"') {
      const decoded = decode(this.#string());
      this.normal += decoded === null ? '""' : JSON.stringify(decoded);
    } else if (char === '{' || char === '[') {
      if (depth === depthMax) throw refused;
      if (char === '{') this.#members(depth + 1, null);
      else this.#list(depth + 1);
    } else {
      const text = this.#scalar();
      const isSound = /^(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/.test(text);
      this.normal += isSound ? text : '0';
    }
  }

  #list(depth: number): void {
    this.#take('[');
    this.#space();
    if (this.#tryTake(']')) return;
    do {
      this.#space();
      this.#value(depth);
      this.#space();
    } while (this.#tryTake(','));
    this.#take(']');
  }

  /** What stands between the quotes. */
  #string(): string {
    if (this.#text[this.#at] !== '"') throw refused;
    let end = this.#at + 1;
    while (this.#text[end] !== '"') {
      if (end >= this.#text.length) throw refused;
      end += this.#text[end] === '\\' ? 2 : 1;
    }
    const raw = this.#bytes.toString('latin1', this.#at + 1, end);
    this.#at = end + 1;
    return raw;
  }

  #scalar(): string {
    const pattern = /[-0-9tfn][-+.0-9a-zE]*/y;
    pattern.lastIndex = this.#at;
    const [text] = pattern.exec(this.#text) ?? [];
    if (text === undefined) throw refused;
    this.#at += text.length;
    return text;
  }

  #space(): void {
    while (' \t\r\n'.includes(this.#text[this.#at] ?? 'x')) this.normal += this.#text[this.#at++]!;
  }

  #take(char: string): void {
    if (!this.#tryTake(char)) throw refused;
  }

  #tryTake(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.normal += char;
    this.#at++;
    return true;
  }

  #rest(length: number): string {
    return this.#text.slice(this.#at, this.#at + length);
  }
}

/** The text of a JSON string from its bytes as latin1; null when it is not one of RFC 8259 in UTF-8. */
function decode(raw: string): string | null {
  const bytes = Buffer.from(raw, 'latin1');
  if (!isUtf8(bytes)) return null;
  try {
    return JSON.parse(`"${bytes.toString('utf8')}"`) as string;
  } catch {
    return null;
  }
}
