/**
 * Looks at the text that each event of a token stream adds, for what a sick engine makes of it: the same token over and over
 * (NaN logits decode to `!!!!`), or characters that no tokenizer could put together. It reads bytes where they lie and makes
 * no strings.
 */
const quote = 0x22;
const colon = 0x3a;
const space = 0x20;
const backslash = 0x5c;
const lowerU = 0x75;

/**
 * Members that hold what a model says, thinks or calls, by API: chat, completions, messages, responses, and the engines'
 * own. The first one in an event counts.
 */
const textKeys: readonly Uint8Array[] = [
  'content',
  'text',
  'delta',
  'reasoning_content',
  'reasoning',
  'arguments',
  'partial_json',
  'thinking',
  'refusal',
  'name',
  'transcript',
  'data',
].map((name) => Buffer.from(name));

/** How far into a line the member is looked for. */
const searchBytesMax = 4096;
/** Key, colon and quotes: `"reasoning_content": "` and some room. */
const leadBytesMax = 32;
/** After so many events without text there is none to be expected. */
const missesMax = 64;
/** Of one event; a longer text is not compared. */
const textBytesMax = 256;

/**
 * The same text so many times in a row is a loop. Models do repeat themselves with a reason: tables are drawn with dashes,
 * code is indented, matrices are full of zeros, so what only draws may go on for longer, and so may a cycle.
 */
const repeatsMax = 128;
const cycleEventsMax = 512;
const drawnEventsMax = 1024;
/** Longest cycle looked for, in events. A power of two. */
const lagMax = 4;

/** Bytes that draw: blanks, rules, table borders, leaders; and symbols from U+2000 to U+2FFF, among them box drawing. */
const drawing = new Uint8Array(256);
for (const byte of Buffer.from(' -=_*.#|~+/:<>\u2000')) drawing[byte] = 1;
drawing.fill(1, 0x80, 0xc0); // What follows the first byte of a character; other first bytes do not draw.
/** Escapes that stand for blanks: \n \r \t. */
const blankEscapes: ReadonlySet<number> = new Set(Buffer.from('nrt'));

const hashStart = 0x811c9dc5 | 0;
const hashPrime = 0x01000193;

export class EventText {
  /** Events that added text. */
  textCount = 0;
  /** Of these, events with U+FFFD in their text, as bytes or as an escape. */
  replacedCount = 0;
  /** Some text was repeated beyond reason. */
  repeatSeen = false;
  /** Where the last text began, from the start of its line, and the bytes that led to it: engines write event after event alike. */
  #textAt = -1;
  #leadLength = 0;
  readonly #lead: Buffer = Buffer.allocUnsafeSlow(leadBytesMax);
  #missCount = 0;
  /** Hashes of the last texts, by number modulo `lagMax`. */
  readonly #hashes = new Int32Array(lagMax);
  /** By lag - 1: how many texts in a row were what stood so many before them. */
  readonly #runs = new Int32Array(lagMax);

  reset(): void {
    this.textCount = 0;
    this.replacedCount = 0;
    this.repeatSeen = false;
    this.#textAt = -1;
    this.#missCount = 0;
    this.#hashes.fill(0);
    this.#runs.fill(0);
  }

  /** @hot per event. One data line, bytes [start, end), borrowed for the call. */
  note(bytes: Buffer, start: number, end: number): void {
    let at = start + this.#textAt;
    if (this.#textAt === -1 || !this.#isLead(bytes, start, at, end)) {
      if (this.#missCount >= missesMax) return;
      at = this.#search(bytes, start, end);
      if (at === -1) {
        this.#missCount++;
        return;
      }
      this.#missCount = 0;
    }
    this.#take(bytes, at, end);
  }

  #isLead(bytes: Buffer, start: number, textAt: number, end: number): boolean {
    const lead = this.#lead;
    const length = this.#leadLength;
    const from = textAt - length;
    if (from < start || textAt > end) return false;
    for (let index = 0; index < length; index++) if (bytes[from + index] !== lead[index]) return false;
    return true;
  }

  /** Where the first text of the line begins, behind its quote; -1 when there is none. Remembers the place. */
  #search(bytes: Buffer, start: number, end: number): number {
    const stop = Math.min(end, start + searchBytesMax);
    for (let at = start + 2; at < stop; at++) {
      if (bytes[at] !== colon || bytes[at - 1] !== quote) continue;
      let valueAt = at + 1;
      if (bytes[valueAt] === space) valueAt++;
      if (valueAt >= stop || bytes[valueAt] !== quote) continue;
      const keyAt = textKeyBefore(bytes, start, at - 1);
      if (keyAt === -1) continue;
      const textAt = valueAt + 1;
      this.#textAt = textAt - start;
      this.#leadLength = bytes.copy(this.#lead, 0, keyAt, textAt);
      return textAt;
    }
    return -1;
  }

  #take(bytes: Buffer, textAt: number, end: number): void {
    const stop = end - textAt > textBytesMax ? textAt + textBytesMax : end;
    let hash = hashStart;
    let draws = true;
    let isReplaced = false;
    let at = textAt;
    for (; at < stop; at++) {
      const byte = bytes[at]!;
      if (byte === quote) break;
      hash = Math.imul(hash ^ byte, hashPrime);
      if (byte === backslash) {
        const escape = bytes[++at]!;
        hash = Math.imul(hash ^ escape, hashPrime);
        if (!blankEscapes.has(escape)) draws = false;
        if (escape === lowerU && isReplacement(bytes, at + 1)) isReplaced = true;
      } else if (drawing[byte] === 0) {
        draws = false;
        if (byte === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd) isReplaced = true;
      }
    }
    if (at === textAt) return; // An empty one adds nothing: the first event of a chat, and the last.
    this.textCount++;
    if (isReplaced) this.replacedCount++;
    this.#compare(at < stop ? hash : this.textCount, draws);
  }

  /** A text too long to compare comes with its number, which repeats nothing. */
  #compare(hash: number, draws: boolean): void {
    const hashes = this.#hashes;
    const runs = this.#runs;
    for (let lag = 1; lag <= lagMax; lag++) {
      if (hashes[(this.textCount - lag) & (lagMax - 1)] !== hash) {
        runs[lag - 1] = 0;
        continue;
      }
      const run = ++runs[lag - 1]!;
      if (run >= (draws ? drawnEventsMax : lag === 1 ? repeatsMax : cycleEventsMax)) this.repeatSeen = true;
    }
    hashes[this.textCount & (lagMax - 1)] = hash;
  }
}

/** Start of the key, quote included, whose last quote is at `end`; -1 when it is none of ours, or stands in a string. */
function textKeyBefore(bytes: Buffer, start: number, end: number): number {
  for (const key of textKeys) {
    const at = end - key.length - 1;
    if (at < start || bytes[at] !== quote || bytes[end - 1] !== key[key.length - 1]) continue;
    let index = 0;
    while (index < key.length && bytes[at + 1 + index] === key[index]) index++;
    if (index === key.length) return at;
  }
  return -1;
}

/** `fffd`, behind `\u`. */
function isReplacement(bytes: Buffer, at: number): boolean {
  return (
    (bytes[at]! | 0x20) === 0x66 &&
    (bytes[at + 1]! | 0x20) === 0x66 &&
    (bytes[at + 2]! | 0x20) === 0x66 &&
    (bytes[at + 3]! | 0x20) === 0x64
  );
}
