/** Shapes that the files of native-bench hand to each other. */

/** A proxy that can be measured. One file in peers/ each. */
export interface Peer {
  name: string;
  /** One line for the list and the report: what it is, and what it does with a body. */
  summary: string;
  /** It parses bodies and writes them anew, so byte counts may differ a little. */
  isRewriting?: boolean;
  /** Version, or null when it is not on this machine. */
  find(): string | null;
  start(options: StartOptions): Promise<RunningPeer>;
}

export interface StartOptions {
  enginePort: number;
  /** For its configuration and its temporary files; an own one for each start, removed by the caller. */
  folder: string;
}

export interface RunningPeer {
  /** Where clients connect to, on 127.0.0.1. */
  port: number;
  /** Its first process; 0: there is none, as with `direct`. Children are found through it. */
  pid: number;
  /** Header fields that every request to it needs. */
  headers: Record<string, string>;
  stop(): Promise<void>;
}

export interface BodySpec {
  /** Exact size of the JSON document. */
  bytes: number;
  content: 'messages' | 'image';
  modelAt: 'first' | 'last';
  isStream?: boolean;
}

/** How a case is measured; measures/ has a file for each. */
export type Measure = 'requests' | 'churn' | 'streams' | 'slow-readers' | 'slow-writers' | 'open-streams';

export interface Case {
  name: string;
  /** Cases that are read together: `upload`, `response`, `stream`, ... */
  family: string;
  summary: string;
  measure: Measure;
  /** Numbers of the targets it is measured for; none: only with `all` or by name. */
  targets: readonly number[];
  /** Part of --quick. */
  isQuick: boolean;
  /** Names; the order of a round. */
  peers: readonly string[];
  body: BodySpec;
  connections: number;
  /** Size of the response body; 0: a short completion. */
  responseBytes: number;
  /** `x-bench-stream` of the engine. {tokens} stands for as many as the time of a round takes. */
  stream?: { tokensPerSecond: number; tokens: number; isRepeated: boolean };
  /** Of each slow client. */
  bytesPerSecond?: number;
  /** Slow clients start evenly over this many seconds; 0.5 unless given. */
  rampS?: number;
  /** A round is at least this long, whatever --seconds says. */
  secondsMin?: number;
  /** A round needs a process that has done nothing else. */
  isFresh?: boolean;
}

export interface Settings {
  cases: readonly Case[];
  /** Null: those of each case. */
  peers: readonly string[] | null;
  rounds: number;
  seconds: number;
  generator: GeneratorName;
  outFolder: string;
  /** An earlier result to agree with about who is ahead; null: none. */
  baselinePath: string | null;
}

export type GeneratorName = 'wrk' | 'h2load' | 'load';

/** What a closed-loop generator is asked for. */
export interface RequestLoad {
  port: number;
  path: string;
  headers: Record<string, string>;
  bodyPath: string;
  connections: number;
  seconds: number;
  folder: string;
}

/** What it found. Times in microseconds. */
export interface RequestLoadResult {
  requests: number;
  durationS: number;
  /** Bytes read, heads included. */
  bytesRead: number;
  errors: Record<string, number>;
  p50Us: number;
  p90Us: number;
  p99Us: number;
  p999Us: number;
  maxUs: number;
  generatorCpuS: number;
}

/** One measurement of one peer. Names end in their unit; see `metricNotes` in report.mjs. */
export type Metrics = Record<string, number>;

export interface RoundResult {
  metrics: Metrics;
  /** Empty: the round counts. */
  problems: string[];
  /** [quantile 0..1, microseconds] of inter-token delay, for the chart. */
  delayPoints?: [number, number][];
}

export interface PeerResult {
  peer: string;
  version: string | null;
  /** Null: it ran. Otherwise why there are no figures; it is never compared then. */
  failure: string | null;
  rounds: RoundResult[];
}

export interface CaseResult {
  name: string;
  family: string;
  summary: string;
  measure: Measure;
  /** What `cpuUs` is for one of. */
  unit: 'request' | 'event';
  /** Of the body that is large: response when there is one, else request. */
  bytes: number;
  connections: number;
  seconds: number;
  peers: PeerResult[];
}

export interface Environment {
  cpu: string;
  cores: number;
  kernel: string;
  node: string;
  versions: Record<string, string>;
  commit: string;
  command: string;
}

export interface Result {
  startedAt: string;
  durationS: number;
  environment: Environment;
  settings: { rounds: number; seconds: number; generator: GeneratorName };
  missing: string[];
  cases: CaseResult[];
  verdicts: Verdict[];
}

/** `within-noise`: the limit lies inside the spread of the rounds, so they do not decide. */
export type Outcome = 'met' | 'missed' | 'within-noise' | 'not-measured';

export interface Verdict {
  target: number;
  what: string;
  limit: string;
  outcome: Outcome;
  /** Null when not measured. */
  value: Spread | null;
  unit: '' | 'ms' | 'MB' | 'KB';
  note: string;
}

export interface Spread {
  median: number;
  /** Middle half of the values. */
  low: number;
  high: number;
}
