import type { SlabShare } from '../shm/index.ts';

/** Bytes [start, end) of the pieces as if they were one. The last slab of a body is rarely full, so most jobs have one. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What is posted to a thread. A structured clone shares the slabs' memory and copies nothing but this. */
export interface Job {
  readonly pieces: readonly SlabShare[];
  readonly range: ByteRange;
}

export interface TokenCount {
  /** -1 when there is no count: not a JSON object in UTF-8, nested too deep to render its tools, or over the time bound. */
  readonly tokens: number;
  /** Time the job took in its thread. */
  readonly millis: number;
}

/** Short fixed codes, never text of the client's. `unfinished`: right as far as it goes. */
export type JsonProblem = 'not_utf8' | 'bom' | 'bad_syntax' | 'bad_string' | 'trailing_bytes' | 'unfinished';

export interface JsonCheck {
  readonly ok: boolean;
  /** Null when `ok`. */
  readonly problem: JsonProblem | null;
  /**
   * Byte offset, from the start of the range, of the first character that cannot stand where it does (of the start of a
   * misspelt number, literal or escape); the length when the end is missing; -1 when `ok`.
   */
  readonly position: number;
}
