/**
 * Header fields in wire order: two reused arrays of which the first `count` entries are valid. Names are lower-case.
 * Order and repetition are kept, because both mean something (RFC 9110 section 5.3).
 */
export class FieldList {
  readonly names: string[] = [];
  readonly values: string[] = [];
  count = 0;

  add(name: string, value: string): void {
    this.names[this.count] = name;
    this.values[this.count] = value;
    this.count++;
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

  /** One field of that lower-case name, in place of any others. */
  set(name: string, value: string): void {
    this.remove(name);
    this.add(name, value);
  }
}
