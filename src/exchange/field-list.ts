import { isCleanFieldValue, isToken } from '../http/index.ts';

/**
 * Header fields in wire order: two reused arrays of which the first `count` entries are valid. Names are lower-case.
 * Order and repetition are kept, because both mean something (RFC 9110 section 5.3).
 */
export class FieldList {
  readonly names: string[] = [];
  readonly values: string[] = [];
  count = 0;

  /** A field off the wire: its name is lower-case, and both were checked by whoever parsed them. */
  append(name: string, value: string): void {
    this.names[this.count] = name;
    this.values[this.count] = value;
    this.count++;
  }

  /** A field of our own or of a filter. Throws when it could end its line, which would let its author split the message. */
  add(name: string, value: string): void {
    if (!isToken(name) || !isCleanFieldValue(value)) throw new Error(`malformed field ${JSON.stringify(name)}`);
    this.append(name.toLowerCase(), value);
  }

  /** Value of the first field of that lower-case name, or null. */
  get(name: string): string | null {
    for (let index = 0; index < this.count; index++) if (this.names[index] === name) return this.values[index]!;
    return null;
  }

  /** Drops every field of that lower-case name. */
  remove(name: string): void {
    let kept = 0;
    for (let index = 0; index < this.count; index++) {
      if (this.names[index] === name) continue;
      this.names[kept] = this.names[index]!;
      this.values[kept] = this.values[index]!;
      kept++;
    }
    this.count = kept;
  }

  /** One field of that name, in place of any others. Throws as `add`. */
  set(name: string, value: string): void {
    this.remove(name.toLowerCase());
    this.add(name, value);
  }
}
