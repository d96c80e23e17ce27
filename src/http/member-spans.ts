import { assert } from '../core/assert.ts';
import type { MemberKey } from './member-key.ts';
import { keyBytesMax } from './request-fields.ts';

/**
 * Where members of a JSON object stand in its text, and whether some are there that must not be. Told by the scanner, so
 * names are compared as parsers read them, without escapes.
 *
 * A value's span is all between its colon and the comma or brace behind it, white space included: what replaces it leaves a
 * document that is read in one way only.
 */
export class MemberSpans {
  readonly #names: readonly string[];
  readonly #forbidden: readonly string[];
  /** By name, in the order of `names`: offsets of the value; -1 where the member is absent. */
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  /** Which of the names the present member has; -1: none. */
  #at = -1;
  #isEmpty = true;
  #rootEnd = -1;
  #forbiddenName = '';
  #isAmbiguous = false;

  /** `names` and `forbidden` are ASCII. */
  constructor(names: readonly string[], forbidden: readonly string[] = []) {
    // Of longer keys the scanner says nothing: they cannot spell these names, even with every character escaped (6 bytes each).
    for (const name of [...names, ...forbidden])
      assert(name.length * 6 <= keyBytesMax, 'name.length * 6 <= keyBytesMax');
    this.#names = names;
    this.#forbidden = forbidden;
    this.#starts = new Int32Array(names.length).fill(-1);
    this.#ends = new Int32Array(names.length).fill(-1);
  }

  reset(): void {
    this.#starts.fill(-1);
    this.#ends.fill(-1);
    this.#at = -1;
    this.#isEmpty = true;
    this.#rootEnd = -1;
    this.#forbiddenName = '';
    this.#isAmbiguous = false;
  }

  /** Offset of the brace that closes the object; -1 until it was met. */
  get rootEnd(): number {
    return this.#rootEnd;
  }

  get isEmpty(): boolean {
    return this.#isEmpty;
  }

  /** The first forbidden name met; '' when there is none. */
  get forbiddenName(): string {
    return this.#forbiddenName;
  }

  /** One of the names was met twice: parsers differ in which one they read. */
  get isAmbiguous(): boolean {
    return this.#isAmbiguous;
  }

  /** Offset of the first byte behind the colon of that name's member, or -1. */
  startOf(name: string): number {
    return this.#starts[this.#names.indexOf(name)]!;
  }

  endOf(name: string): number {
    return this.#ends[this.#names.indexOf(name)]!;
  }

  // Called by the scanner, for members of the root only.

  onKey(key: MemberKey): void {
    for (const name of this.#forbidden) if (isName(key, name)) this.#forbiddenName ||= name;
    this.#at = -1;
    for (let index = 0; index < this.#names.length; index++) {
      if (!isName(key, this.#names[index]!)) continue;
      this.#at = index;
      if (this.#starts[index] !== -1) this.#isAmbiguous = true;
    }
  }

  onColon(end: number): void {
    this.#isEmpty = false;
    if (this.#at >= 0) this.#starts[this.#at] = end;
  }

  onValueEnd(start: number): void {
    if (this.#at >= 0) this.#ends[this.#at] = start;
    this.#at = -1;
  }

  onRootEnd(start: number): void {
    this.onValueEnd(start);
    this.#rootEnd = start;
  }
}

function isName({ bytes, start, end }: MemberKey, name: string): boolean {
  if (end - start !== name.length) return false;
  for (let index = 0; index < name.length; index++) if (bytes[start + index] !== name.charCodeAt(index)) return false;
  return true;
}
