import { fail } from '../../core/index.ts';
import { noDeadline } from '../../exchange/index.ts';
import type { ResponseParser } from '../../http/index.ts';
import { type KvPickRequest, Loading, type PromptKeys, Serves, TriedEndpoints } from '../../pick/index.ts';
import type { RequestRelay } from '../../relay/index.ts';
import { Probe } from '../../shm/index.ts';
import type { UpstreamConnection, UpstreamFailure, UpstreamUser } from '../../upstream/index.ts';
import type { GatewayExchange, OnThrow } from '../gateway-exchange.ts';
import type { JudgedAttempt } from '../passive-health.ts';
import type { PoolRuntime } from '../runtime.ts';

/**
 * Where the prompt's side of an attempt stands. The answer's side is the exchange itself, as in any other attempt.
 *
 *   none ──▶ connecting ──▶ waiting ──▶ answering ──▶ over
 *    ▲           │             │            │           │      over: its endpoint is free again, the attempt goes on
 *    └───────────┴─────────────┴────────────┴───────────┘      none: the attempt has ended, or needs no other endpoint
 */
export const LegState = { none: 0, connecting: 1, waiting: 2, answering: 3, over: 4 } as const;
export type LegState = (typeof LegState)[keyof typeof LegState];

function setOf(...states: readonly LegState[]): number {
  return states.reduce<number>((set, state) => set | (1 << state), 0);
}

/** successors[from] is the bit set of legal next states. */
const successors: readonly number[] = [
  /* none       */ setOf(LegState.connecting),
  // Again: a kept-alive connection turned out to be closed.
  /* connecting */ setOf(LegState.connecting, LegState.waiting, LegState.over, LegState.none),
  /* waiting    */ setOf(LegState.answering, LegState.over, LegState.none),
  /* answering  */ setOf(LegState.over, LegState.none),
  /* over       */ setOf(LegState.none),
];

/** The stages a leg reports to. */
export interface LegEvents {
  onReady(exchange: GatewayExchange, leg: PrefillLeg): void;
  onHead(exchange: GatewayExchange, leg: PrefillLeg, response: ResponseParser): void;
  onBody(exchange: GatewayExchange, leg: PrefillLeg, bytes: Buffer, start: number, end: number): void;
  onEnd(exchange: GatewayExchange, leg: PrefillLeg): void;
  onFailed(exchange: GatewayExchange, leg: PrefillLeg, failure: UpstreamFailure, detail: string): void;
  onFlushed(exchange: GatewayExchange): void;
}

/** The second endpoint of an exchange: as much of an attempt as computing its prompt takes. Made once for a record. */
export class PrefillLeg implements UpstreamUser, KvPickRequest, JudgedAttempt {
  readonly requestRelay: RequestRelay;
  readonly #exchange: GatewayExchange;
  readonly #events: LegEvents;
  readonly #onThrow: OnThrow;
  #state: LegState = LegState.none;
  endpointIndex = -1;
  endpointUrl = '';
  connection: UpstreamConnection | null = null;
  dispatchedMs = 0;
  /** With two steps: when the answer has to have begun, as both together have the time of one. */
  answerDueMs = noDeadline;
  reservedTokens = 0;
  status = 0;
  contentType = '';
  retryAfter = '';
  /** What its answer is made of so far, where it is read. */
  pieces: Buffer[] = [];
  pieceBytes = 0;
  /** What both requests of the attempt say more than the client's, or the second one; null: nothing. */
  members: Buffer | null = null;
  pickText = '';
  /** Some endpoint held some of the prompt. */
  isKnown = false;
  // JudgedAttempt.
  probes: number = Probe.none;
  isJudged = false;
  // KvPickRequest. What failed for the exchange, and where the answer will come from.
  readonly tried = new TriedEndpoints();
  readonly wants: number = Serves.prefill;
  estimatedTokens = -1;
  matchedTokens = -1;
  pendingTokens = 0;
  aheadTokens = 0;
  computedMs = 0;
  computedTokens = 0;
  /** WorkMeter: tokens to be computed, how long that took (-1 = not known), and the reading of the endpoint's clock it counts from. */
  promptWork = 0;
  promptMs = -1;
  tokenMsAtStart = 0;
  score = Number.NaN;
  loading: Loading = Loading.none;

  constructor(exchange: GatewayExchange, relay: RequestRelay, events: LegEvents, onThrow: OnThrow) {
    this.#exchange = exchange;
    this.requestRelay = relay;
    this.#events = events;
    this.#onThrow = onThrow;
  }

  get state(): LegState {
    return this.#state;
  }

  /** It holds an endpoint. */
  get isRunning(): boolean {
    return this.#state !== LegState.none && this.#state !== LegState.over;
  }

  /** The only writer of `state`. */
  become(next: LegState): void {
    if ((successors[this.#state]! & (1 << next)) === 0) fail('illegal transition of a leg', this.#state, next);
    this.#state = next;
  }

  /** The socket refers to slabs of the body, or will. */
  get needsBody(): boolean {
    if (!this.isRunning) return false;
    return this.connection === null || !this.requestRelay.isFinished || !this.connection.isFlushed;
  }

  get hashKey(): number {
    return this.#exchange.hashKey;
  }

  get fits(): Uint8Array | null {
    return this.#exchange.fits;
  }

  get modelRow(): number {
    return this.#exchange.modelRow;
  }

  get modelKey(): number {
    return this.#exchange.modelKey;
  }

  get contextTokens(): number {
    return this.#exchange.contextTokens;
  }

  get mayProbe(): boolean {
    return this.#exchange.mayProbe;
  }

  get prompt(): PromptKeys | null {
    return this.#exchange.prompt;
  }

  get modelLabel(): string {
    return this.#exchange.modelLabel;
  }

  get flow(): number {
    return this.#exchange.flow;
  }

  get poolName(): string {
    return this.#exchange.poolName;
  }

  get pool(): PoolRuntime | null {
    return this.#exchange.pool;
  }

  /** Of an attempt whose answer comes from endpoint `decodeIndex`. */
  begin(decodeIndex: number): void {
    this.tried.copyFrom(this.#exchange.tried);
    this.tried.add(decodeIndex); // No endpoint hands a prompt to itself.
    this.estimatedTokens = this.#exchange.estimatedTokens;
    this.matchedTokens = -1;
    this.score = Number.NaN;
    this.loading = Loading.none;
    this.isJudged = false;
    this.dispatchedMs = 0;
    this.answerDueMs = noDeadline;
    this.pickText = '';
    this.isKnown = false;
    this.members = null;
    this.expectAnswer(0);
  }

  expectAnswer(status: number): void {
    this.status = status;
    this.contentType = '';
    this.retryAfter = '';
    this.pieces.length = 0;
    this.pieceBytes = 0;
  }

  // UpstreamUser. As with the exchange's own connection, what is thrown ends the exchange.

  onUpstreamReady(): void {
    try {
      this.#events.onReady(this.#exchange, this);
    } catch (error) {
      this.#onThrow(this.#exchange, error);
    }
  }

  onUpstreamHead(response: ResponseParser): void {
    try {
      this.#events.onHead(this.#exchange, this, response);
    } catch (error) {
      this.#onThrow(this.#exchange, error);
    }
  }

  onUpstreamBody(bytes: Buffer, start: number, end: number): void {
    try {
      this.#events.onBody(this.#exchange, this, bytes, start, end);
    } catch (error) {
      this.#onThrow(this.#exchange, error);
    }
  }

  onUpstreamEnd(): void {
    try {
      this.#events.onEnd(this.#exchange, this);
    } catch (error) {
      this.#onThrow(this.#exchange, error);
    }
  }

  onUpstreamFailed(failure: UpstreamFailure, detail: string): void {
    try {
      this.#events.onFailed(this.#exchange, this, failure, detail);
    } catch (error) {
      this.#onThrow(this.#exchange, error);
    }
  }

  onUpstreamFlushed(): void {
    try {
      this.#events.onFlushed(this.#exchange);
    } catch (error) {
      this.#onThrow(this.#exchange, error);
    }
  }
}
