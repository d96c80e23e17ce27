import { connectionTokens, isCleanFieldValue, isToken } from '../http/index.ts';

/**
 * Header fields in wire order: two reused arrays of which the first `count` entries are valid. Names are lower-case.
 * Order and repetition are kept, because both mean something (RFC 9110 section 5.3).
 *
 * The first `wireCount` fields are the peer's as they came; those behind them are ours or a filter's. What a peer may not
 * say a filter may: the rules for what goes on tell the two apart.
 */
export class FieldList {
  readonly names: string[] = [];
  readonly values: string[] = [];
  count = 0;
  wireCount = 0;

  /** A field off the wire: its name is lower-case, and both were checked by whoever parsed them. Before any `add`. */
  append(name: string, value: string): void {
    this.names[this.count] = name;
    this.values[this.count] = value;
    this.count++;
    this.wireCount++;
  }

  /** A field of our own or of a filter. Throws when it could end its line, which would let its author split the message. */
  add(name: string, value: string): void {
    checkField(name, value);
    this.names[this.count] = name.toLowerCase();
    this.values[this.count] = value;
    this.count++;
  }

  /** Value of the first field of that lower-case name, or null. */
  get(name: string): string | null {
    for (let index = 0; index < this.count; index++) if (this.names[index] === name) return this.values[index]!;
    return null;
  }

  /**
   * The lower-case names that Connection fields nominate: they end at this hop (RFC 9110 section 7.6.1). Null for none. A
   * list may be spread over several fields (section 5.3).
   */
  nominated(): readonly string[] | null {
    let nominated: string[] | null = null;
    for (let index = 0; index < this.count; index++) {
      if (this.names[index] !== 'connection') continue;
      const value = this.values[index]!;
      // The usual values are checked first: they cost one comparison, the split costs an array.
      if (value === 'keep-alive' || value === 'close') continue;
      nominated = nominated === null ? connectionTokens(value) : [...nominated, ...connectionTokens(value)];
    }
    return nominated;
  }

  /** Drops every field of that lower-case name. */
  remove(name: string): void {
    let kept = 0;
    let keptOfWire = 0;
    for (let index = 0; index < this.count; index++) {
      if (this.names[index] === name) continue;
      this.names[kept] = this.names[index]!;
      this.values[kept] = this.values[index]!;
      kept++;
      if (index < this.wireCount) keptOfWire++;
    }
    this.count = kept;
    this.wireCount = keptOfWire;
  }

  /** One field of that name, in place of any others. Throws as `add`, and then changes nothing. */
  set(name: string, value: string): void {
    checkField(name, value);
    this.remove(name.toLowerCase());
    this.add(name, value);
  }

  clear(): void {
    this.count = 0;
    this.wireCount = 0;
  }
}

function checkField(name: string, value: string): void {
  if (typeof name !== 'string' || !isToken(name)) throw new Error(`malformed field name ${JSON.stringify(name)}`);
  // The value stays out of the message: it may be a secret.
  if (typeof value !== 'string') throw new Error(`the value of field ${name} is no text`);
  if (!isCleanFieldValue(value)) throw new Error(`the value of field ${name} holds a control character`);
}
