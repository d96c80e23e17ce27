import type { CalmReport, Stage } from './stage.ts';

/** One fault: how it is made, and what is looked at. The promise itself stands in catalogue.ts. */
export interface FaultRow {
  readonly id: string;
  /** How it is made here, with the numbers that are really used. */
  readonly how: string;
  /** Programs without which it cannot be made. */
  readonly tools?: readonly string[];
  /** It runs in a network and mount namespace of its own, where it may change what the machine's own need not know. */
  readonly isApart?: boolean;
  /** Longest it may take; the suite's own bound where it does not say. */
  readonly boundMs?: number;
  run(stage: Stage): Promise<void>;
}

/** A row that cannot be made yet, because the product lacks what it would break. */
export interface MissingRow {
  readonly id: string;
  readonly needs: string;
}

export type Verdict = 'kept' | 'broken' | 'not yet' | 'not run';

export interface RowResult {
  readonly id: string;
  readonly verdict: Verdict;
  readonly seconds: number;
  /** What was seen, or what is missing. */
  readonly seen: string;
  readonly broken: readonly string[];
  readonly calm: CalmReport | null;
}
