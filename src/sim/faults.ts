/**
 * Faults on demand: what a test wants a model server to do wrong, how often, and to whom.
 *
 * A fault set is a plain object, the same in `setFaults`, in `POST /sim/faults` and, one kind at a time, in
 * `--fault kind=rate,key=value`. Whether a request is hit is drawn from the engine's seed, in order of arrival, once its
 * body has been read. `slow_factor` is drawn a step, `health_fail` a probe.
 */
import { isObject } from './json.ts';
import { Random } from './random.ts';

/** Kinds, and the parameters each takes besides `rate`, `path`, `model` and `count_max`. */
export const faultKinds = {
  /** The connection is reset before any byte of the response. */
  reset_before_head: {},
  /** The connection is reset after `after_tokens` tokens (a plain body: in its middle). `fin` 1: closed without last-chunk instead. */
  reset_mid_stream: { after_tokens: 4, fin: 0 },
  /** The response stops for `ms` after `after_tokens` tokens, then goes on. */
  stall: { after_tokens: 4, ms: 1000 },
  /** A data line that is not JSON appears after `after_tokens` tokens (a plain body: is replaced). */
  garbage: { after_tokens: 4 },
  /** The response is cut inside a multi-byte character after `after_tokens` tokens, then reset. */
  half_utf8: { after_tokens: 4 },
  /** An error event, as vLLM sends it when generating fails, then `[DONE]` (a plain body: none). */
  error_event: { after_tokens: 4 },
  /** The stream ends cleanly, but without `[DONE]` (Responses: `response.completed`; Messages: `message_stop`). */
  no_done: {},
  /** No usage is reported, not even when asked for. */
  no_usage: {},
  /** Answered with `status`. */
  error_rate: { status: 500 },
  /** Steps take `factor` times as long. */
  slow_factor: { factor: 4 },
  /** No answer until the client goes away. */
  hang_before_head: {},
  /** `/health` and `/ping` answer 503. */
  health_fail: {},
} as const satisfies Record<string, Record<string, number>>;

export type FaultKind = keyof typeof faultKinds;

/** One fault. Scope: requests whose path starts with `path` and that name `model`; at most `count_max` of them. */
export interface Fault {
  /** Share of the requests in scope that are hit, 0 .. 1. */
  readonly rate: number;
  readonly path?: string;
  readonly model?: string;
  readonly count_max?: number;
  readonly after_tokens?: number;
  readonly ms?: number;
  readonly fin?: number;
  readonly status?: number;
  readonly factor?: number;
}

/** A number stands for `{ rate }`. */
export type FaultSet = { readonly [Kind in FaultKind]?: Fault | number };

/** What will go wrong with one request; -1 and null mean not at all. */
export interface FaultDraw {
  readonly resetBeforeHead: boolean;
  readonly hang: boolean;
  readonly errorStatus: number;
  readonly resetAfterTokens: number;
  readonly resetWithFin: boolean;
  readonly halfUtf8AfterTokens: number;
  readonly garbageAfterTokens: number;
  readonly errorAfterTokens: number;
  readonly stallAfterTokens: number;
  readonly stallMs: number;
  readonly noDone: boolean;
  readonly noUsage: boolean;
}

export const noFaults: FaultDraw = {
  resetBeforeHead: false,
  hang: false,
  errorStatus: -1,
  resetAfterTokens: -1,
  resetWithFin: false,
  halfUtf8AfterTokens: -1,
  garbageAfterTokens: -1,
  errorAfterTokens: -1,
  stallAfterTokens: -1,
  stallMs: 0,
  noDone: false,
  noUsage: false,
};

function isKind(kind: string): kind is FaultKind {
  return Object.hasOwn(faultKinds, kind);
}

/** Checks a fault set from outside. Throws RangeError that names what is wrong. */
export function parseFaultSet(value: unknown): FaultSet {
  if (!isObject(value)) throw new RangeError('a fault set is an object of kind: {rate, ...} or kind: rate');
  for (const [kind, given] of Object.entries(value)) {
    if (!isKind(kind)) throw new RangeError(`unknown fault ${kind}; known: ${Object.keys(faultKinds).join(', ')}`);
    const fault: unknown = typeof given === 'number' ? { rate: given } : given;
    if (!isObject(fault)) throw new RangeError(`${kind} must be a rate or an object`);
    const { rate } = fault;
    if (typeof rate !== 'number' || !(rate >= 0 && rate <= 1)) throw new RangeError(`${kind}.rate must be 0 to 1`);
    for (const [key, parameter] of Object.entries(fault)) {
      const isText = key === 'path' || key === 'model';
      if (!isText && key !== 'rate' && key !== 'count_max' && !Object.hasOwn(faultKinds[kind], key)) {
        throw new RangeError(`${kind} has no parameter ${key}`);
      }
      if (typeof parameter !== (isText ? 'string' : 'number'))
        throw new RangeError(`${kind}.${key} has the wrong type`);
    }
  }
  return value;
}

/** Reads `kind=rate[,key=value]...` as given to `--fault`. Throws RangeError. */
export function parseFaultFlag(text: string): FaultSet {
  const [head = '', ...rest] = text.split(',');
  const [kind = '', rate = ''] = head.split('=');
  const fault: Record<string, unknown> = { rate: rate === '' ? 1 : Number(rate) };
  for (const pair of rest) {
    const [key = '', value = ''] = pair.split('=');
    fault[key] = key === 'path' || key === 'model' ? value : Number(value);
  }
  return parseFaultSet({ [kind]: fault });
}

export class Faults {
  /** Requests (or steps, or probes) hit, by kind, since the start. */
  readonly hits = new Map<FaultKind, number>();
  readonly #random: Random;
  #set: FaultSet = {};
  /** Hits left of a kind with `count_max`, since the set was given. */
  readonly #left = new Map<FaultKind, number>();
  #isEmpty = true;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  get set(): FaultSet {
    return this.#set;
  }

  /** Replaces the whole set; `{}` ends all faults. */
  replace(set: FaultSet): void {
    this.#set = set;
    this.#isEmpty = Object.keys(set).length === 0;
    this.#left.clear();
  }

  drawRequest(path: string, model: string): FaultDraw {
    if (this.#isEmpty) return noFaults;
    const draw = (kind: FaultKind): boolean => this.draw(kind, path, model);
    const after = (kind: FaultKind): number => (draw(kind) ? this.parameter(kind, 'after_tokens') : -1);
    return {
      resetBeforeHead: draw('reset_before_head'),
      hang: draw('hang_before_head'),
      errorStatus: draw('error_rate') ? this.parameter('error_rate', 'status') : -1,
      resetAfterTokens: after('reset_mid_stream'),
      resetWithFin: this.parameter('reset_mid_stream', 'fin') === 1,
      halfUtf8AfterTokens: after('half_utf8'),
      garbageAfterTokens: after('garbage'),
      errorAfterTokens: after('error_event'),
      stallAfterTokens: after('stall'),
      stallMs: this.parameter('stall', 'ms'),
      noDone: draw('no_done'),
      noUsage: draw('no_usage'),
    };
  }

  /** Whether a fault of this kind strikes now; counts it when it does. */
  draw(kind: FaultKind, path = '', model = ''): boolean {
    const given = this.#set[kind];
    if (given === undefined) return false;
    const fault = typeof given === 'number' ? { rate: given } : given;
    if (fault.path !== undefined && !path.startsWith(fault.path)) return false;
    if (fault.model !== undefined && fault.model !== model) return false;
    const left = this.#left.get(kind) ?? fault.count_max ?? Infinity;
    if (left <= 0 || this.#random.ratio() >= fault.rate) return false;
    this.#left.set(kind, left - 1);
    this.hits.set(kind, (this.hits.get(kind) ?? 0) + 1);
    return true;
  }

  /** The parameter's value in the set, or its default. */
  parameter(kind: FaultKind, key: 'after_tokens' | 'ms' | 'fin' | 'status' | 'factor'): number {
    const given = this.#set[kind];
    const defaults: { readonly [key: string]: number } = faultKinds[kind];
    return (typeof given === 'object' ? given[key] : undefined) ?? defaults[key] ?? 0;
  }
}
