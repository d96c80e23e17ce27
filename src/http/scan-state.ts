// What a scanner is in the middle of.

/** `notObject` and `invalid` are final; `complete` turns `invalid` when anything but white space follows the document. */
export const ScanState = { scanning: 0, complete: 1, invalid: 2, notObject: 3 } as const;
export type ScanState = (typeof ScanState)[keyof typeof ScanState];

/** What may come next, between tokens. `first` forms are right behind the opening bracket, where it may also close. */
export const Expect = { value: 0, firstValue: 1, key: 2, firstKey: 3, colon: 4, separator: 5, end: 6 } as const;
export type Expect = (typeof Expect)[keyof typeof Expect];

/** What a piece ended in. `kept` ones are wanted, and their bytes so far lie in the capture; `string` is a key too long. */
export const Token = { none: 0, nested: 1, string: 2, keptString: 3, scalar: 4, keptScalar: 5 } as const;
export type Token = (typeof Token)[keyof typeof Token];
