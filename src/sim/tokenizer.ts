/**
 * A toy tokenizer with the three properties the simulation needs: about four bytes of English a token, the same tokens for
 * the same text in every request (so shared prefixes share blocks), and exact detokenization without a table.
 *
 * A token id *is* its text. Layout of the 31 bits:
 *
 *     bits 30, 29   0: one to four ASCII characters of one class (word, blank, or mark), 7 bits each, first lowest
 *                   1: one code point outside ASCII (or NUL) in bits 0..20
 *                   2: special token, numbered by bits 0..20
 *                   3: five lower-case letters, 5 bits each, last letter lowest
 *     bit 28        a space stands before the piece
 *
 * Pieces are cut left to right, so text appended to a prompt changes at most the prompt's last token.
 */
const specialBit = 1 << 30;
const codePointBit = 1 << 29;
const spaceBit = 1 << 28;
const kindBits = specialBit | codePointBit;
const lettersKind = kindBits;
const pieceBits = 28;

/** a is 1, z is 26. */
const letterBase = 0x60;

/** Control tokens of the chat template; they have no text. */
export const special = {
  begin: specialBit | 0,
  headerStart: specialBit | 1,
  headerEnd: specialBit | 2,
  turnEnd: specialBit | 3,
  toolCall: specialBit | 4,
  separator: specialBit | 5,
} as const;

/** An image patch: `value` makes two different images differ. 20 bits are kept, above the control tokens' numbers. */
export function imageToken(value: number): number {
  return specialBit | (1 << 20) | (value & 0xfffff);
}

const wordClass = 1;
const classOf = new Uint8Array(128).fill(3);
for (let code = 0; code < 128; code++) {
  if (/[A-Za-z0-9]/.test(String.fromCharCode(code))) classOf[code] = wordClass;
  else if (/\s/.test(String.fromCharCode(code))) classOf[code] = 2;
}
classOf[0] = 0; // NUL marks an unused place of a piece, so it travels as a code point.

/** A growing array of token ids. */
export class TokenList {
  #ids: Int32Array;
  #count = 0;

  constructor(capacity = 64) {
    this.#ids = new Int32Array(capacity);
  }

  get count(): number {
    return this.#count;
  }

  push(id: number): void {
    if (this.#count === this.#ids.length) this.#grow(this.#count + 1);
    this.#ids[this.#count++] = id;
  }

  /** Appends the tokens of `text`: 3 to 5 ns a character. */
  pushText(text: string): void {
    const length = text.length;
    // A piece is at least one character; room for half of them is nearly always enough, and the loop checks.
    this.#grow(this.#count + (length >>> 1) + 8);
    let ids = this.#ids;
    let count = this.#count;
    let at = 0;
    while (at < length) {
      let code = text.charCodeAt(at);
      let id = 0;
      if (code === 0x20 && at + 1 < length) {
        const next = text.charCodeAt(at + 1);
        if (next < 128 && classOf[next] === wordClass) {
          id = spaceBit;
          code = next;
          at++;
        }
      }
      if (code >= 128 || code === 0) {
        const point = text.codePointAt(at)!;
        id = codePointBit | point;
        at += point > 0xffff ? 2 : 1;
      } else {
        const pieceClass = classOf[code];
        id |= code;
        at++;
        let letters = code - letterBase;
        let isLetters = letters > 0 && letters <= 26;
        for (let shift = 7; shift < pieceBits && at < length; shift += 7) {
          const next = text.charCodeAt(at);
          if (next >= 128 || classOf[next] !== pieceClass) break;
          id |= next << shift;
          isLetters &&= next > letterBase && next <= letterBase + 26;
          letters = (letters << 5) | (next - letterBase);
          at++;
        }
        // Four letters so far and a fifth: one more fits when all are lower case, which most English words are.
        if (isLetters && at < length && letters >= 1 << 15) {
          const next = text.charCodeAt(at) - letterBase;
          if (next > 0 && next <= 26) {
            id = (id & spaceBit) | lettersKind | (letters << 5) | next;
            at++;
          }
        }
      }
      if (count === ids.length) {
        this.#count = count;
        this.#grow(count + 1);
        ids = this.#ids;
      }
      ids[count++] = id;
    }
    this.#count = count;
  }

  /** The tokens so far; valid until the next push. */
  view(): Int32Array {
    return this.#ids.subarray(0, this.#count);
  }

  #grow(countMin: number): void {
    if (countMin <= this.#ids.length) return;
    const grown = new Int32Array(Math.max(countMin, this.#ids.length * 2));
    grown.set(this.#ids);
    this.#ids = grown;
  }
}

export function tokenize(text: string): Int32Array {
  const list = new TokenList((text.length >>> 1) + 8);
  list.pushText(text);
  return list.view();
}

/** The text of one token: empty for special tokens, U+FFFD for an id no tokenizer run can have produced. */
export function tokenText(id: number): string {
  if (!Number.isInteger(id) || id <= 0) return '\ufffd';
  const kind = id & kindBits;
  if (kind === specialBit) return '';
  if (kind === codePointBit) {
    const point = id & 0x1fffff;
    return point <= 0x10ffff ? String.fromCodePoint(point) : '\ufffd';
  }
  let text = id & spaceBit ? ' ' : '';
  if (kind === lettersKind) {
    for (let shift = 20; shift >= 0; shift -= 5) text += String.fromCharCode(letterBase + ((id >>> shift) & 31));
    return text;
  }
  for (let shift = 0; shift < pieceBits; shift += 7) {
    const code = (id >>> shift) & 127;
    if (code === 0) break;
    text += String.fromCharCode(code);
  }
  return text;
}

export function detokenize(ids: ArrayLike<number>): string {
  let text = '';
  for (let index = 0; index < ids.length; index++) text += tokenText(ids[index]!);
  return text;
}
