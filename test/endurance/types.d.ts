/** Shapes that the files of the endurance tests hand to each other. */
import type { Environment } from '../../loadtest/types.d.ts';

export interface Settings {
  scenario: string;
  /** Of `chaos`. */
  exchanges: number;
  /** Of `mixed`. */
  minutes: number;
  /** Of `reload`, `upgrade` and `restart`. */
  seconds: number;
  /** Samples of each phase of `aborts`; clients of `slow-readers`; connections of `idle`. 0: the scenario's own. */
  count: number;
  seed: number;
  jsonPath: string;
}

/** A promise that is broken fails the run; a target that is missed is only reported. */
export interface Check {
  kind: 'promise' | 'target';
  /** What is promised, as a sentence without its figure. */
  text: string;
  isKept: boolean;
  /** What was seen. */
  seen: string;
}

/** The gateway at one moment. */
export interface Sample {
  /** Seconds since the run began. */
  s: number;
  /** Exchanges closed so far. */
  exchanges: number;
  rssMb: number;
  /** Used heap of all threads together. */
  heapMb: number;
  fds: number;
  /** Over all kinds but body slabs. */
  leases: number;
  slabs: number;
  connections: number;
  /** Longest delay of a shard's timer since the last sample. */
  lagMs: number;
}

export interface Outcome {
  /** In order of importance; numbers and short words. */
  figures: Record<string, number | string>;
  checks: Check[];
  samples: Sample[];
  /** Said beside the figures, so that nobody reads more into them than they hold. */
  notes: string[];
}

export interface Result extends Outcome {
  scenario: string;
  summary: string;
  startedAt: string;
  environment: Environment;
  settings: Omit<Settings, 'jsonPath'>;
  tookS: number;
}

export interface Scenario {
  name: string;
  /** One line for the list. */
  summary: string;
  run(context: { settings: Settings; print: (line: string) => void }): Promise<Outcome>;
}

/** Ordinary least squares over samples, with what is needed to doubt it. */
export interface Slope {
  /** Of y for one of x. */
  slope: number;
  /** Half the width of the 95 % interval. */
  halfWidth: number;
  blockCount: number;
}
