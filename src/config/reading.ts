/** What reading one scalar of the file gives: the value, or what is wrong with it, worded to follow the key's name. */
export type Reading<T> = { readonly value: T } | { readonly complaint: string };

/** A map of the file, as YAML gives it. */
export type RawMap = Record<string, unknown>;

export function isRawMap(value: unknown): value is RawMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Inclusive bounds of a number, and the same as the reader of the file would write them. */
export interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly minText: string;
  readonly maxText: string;
}

export function withinBounds(value: number, bounds: Bounds): Reading<number> {
  if (value < bounds.min) return { complaint: `must be at least ${bounds.minText}` };
  if (value > bounds.max) return { complaint: `must be at most ${bounds.maxText}` };
  return { value };
}
