/** Shapes that the load test's files hand to each other. */

/** What one request must be answered with; see answers.mjs. */
export interface Reference {
  /** Text of the answer, or null when the engine is not a simulated one and may say anything. */
  content: string | null;
  /** SHA-256 of the request body as the engine got it, or null when the engine does not tell. */
  bodySha256: string | null;
  /** Of the completion, as its usage tells; absent: not checked. */
  tokens?: number;
  /** The first complete answer becomes the reference for the rest. */
  isLearned?: boolean;
}

export interface LoadRequest {
  path: string;
  headers: Record<string, string>;
  body: Buffer;
  isStream: boolean;
}

export interface CheckedRequest extends LoadRequest {
  reference: Reference;
}

/** Processes of an own backend. */
export interface BackendPids {
  gateway: number;
  supervisor: number;
  engines: number[];
}

/** What a run asks of the backend that it started. */
export interface OwnBackend {
  pids: BackendPids;
  /** An engine to take right answers from. */
  engineOrigin: string;
  /** Over all engines: generations whose client went away since the start, and generations under way or waiting. */
  engineTotals(): Promise<{ aborted: number; running: number }>;
}

export interface Settings {
  scenario: string;
  /** Target without a path; null starts an own backend. */
  url: string | null;
  model: string;
  durationS: number;
  connections: number;
  /** Requests a second; 0: as fast as answers come. */
  rate: number;
  jsonPath: string;
  baselinePath: string | null;
  /** Relative growth over the baseline that fails. */
  threshold: number;
  isKept: boolean;
  /** How often the measured part is done. */
  repeatCount: number;
}

export interface Scenario {
  name: string;
  /** One line for the list. */
  summary: string;
  /** Of an own backend. `speed`: 0 answers at once, 1 is real time; `flags`: more of `penstock sim`. */
  engines: { speed: number; flags?: readonly string[] };
  /** Lines of YAML for the pool of an own gateway. */
  poolSettings?: string;
  /** Defaults of the flags. */
  durationS: number;
  connections: number;
  rate: number;
  rateMin: number;
  /** Said beside the numbers, so that nobody reads more into them than they hold. */
  notes: readonly string[];
  /** Distinct requests. Deterministic. The warm-up sends these, too. */
  buildRequests(model: string): LoadRequest[];
  /** What counts; at the end no request is under way. */
  measure(context: MeasureContext): Promise<Phase[]>;
}

export interface MeasureContext {
  origin: string;
  /** Those of `buildRequests`. */
  requests: CheckedRequest[];
  settings: Settings;
  /** Null when the backend is not ours. */
  pids: BackendPids | null;
  backend: OwnBackend | null;
}

export interface Percentiles {
  p50: number;
  p90: number;
  p97_5: number;
  p99: number;
  p99_9: number;
  max: number;
}

/** Distribution of one quantity in milliseconds. */
export interface Distribution extends Percentiles {
  /** Values behind it, those added for coordinated omission included. */
  count: number;
  /** [percentile 0..100, ms], for the plot. */
  points: [number, number][];
}

export interface Phase {
  name: string;
  /** Seconds in which requests were sent. */
  durationS: number;
  requests: number;
  requestsPerSecond: number;
  /** Request bodies sent, and responses received, in 10^6 bytes a second. */
  sentMBps: number;
  receivedMBps: number;
  errors: number;
  timeouts: number;
  non2xx: number;
  mismatches: number;
  /** Requests whose connection the other side ended, without an error, before the answer was whole. */
  unanswered: number;
  /** The first few, in words. */
  firstFailures: string[];
  /** By name: `latency`, or `ttft`, `gap`, `stream`, `send_lag` and the like. */
  distributions: Record<string, Distribution>;
  /** Figures to compare, one for each slice of the time. */
  slices: Record<string, number[]>;
  /** What only this scenario tells. */
  figures: Record<string, number>;
  /** Null when the gateway is not ours to look at. */
  gatewayCpuUsPerRequest: number | null;
  /** Share of one core. */
  gatewayCpuRatio: number | null;
  /** All engines together; null when they are not ours. */
  enginesCpuRatio: number | null;
  /** This process, share of one core. */
  generatorCpuRatio: number;
  /** Everybody else on the machine; null when it is not known what is ours. */
  othersCpuRatio: number | null;
  /** Slices whose latency is not in `slices`, because others were in the way. */
  disturbedSliceCount: number;
}

/** Median and quartiles over all slices of all repeats. */
export interface Spread {
  median: number;
  low: number;
  high: number;
}

export interface Environment {
  cpu: string;
  cores: number;
  kernel: string;
  node: string;
  commit: string;
  command: string;
}

export interface Result {
  scenario: string;
  startedAt: string;
  environment: Environment;
  settings: {
    target: string;
    model: string;
    durationS: number;
    connections: number;
    rate: number;
    repeatCount: number;
  };
  phases: Phase[];
  /** Share of one core that the gateway uses without load, to read `gatewayCpuUsPerRequest` with. */
  gatewayIdleCpuRatio: number | null;
  /** What a later run is compared with; lower is better in each. */
  headline: Record<string, Spread>;
  /** Null with --url. */
  gatewayAfter: { leasesOutstanding: Record<string, number>; bugTotal: number } | null;
  notes: string[];
  /** Empty: passed. */
  failures: string[];
}
